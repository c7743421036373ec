//! Reductions, running sums and `argmax`. The first element wins a tie.

use super::binary::share;
use super::elementwise::join_numbers;
use super::kernel::{Kernel, around};
#[cfg(test)]
use super::tests::{Fill, Sample, sample};
use super::vjp::Vjp;
use super::{Op, Operation, Reduction, ShapeError, attributes, exactly};
use crate::ir::{Builder, DType, Shape, ValueId};
use crate::kernels::elementwise::Binary;

fn check_axes(x: &Shape, axes: &[usize]) -> Result<(), ShapeError> {
    let ascending = axes.windows(2).all(|w| w[0] < w[1]);
    match axes.last() {
        Some(&last) if last >= x.rank() || !ascending => Err(ShapeError::Axis { axis: last, rank: x.rank() }),
        _ => Ok(()),
    }
}

fn without(x: &Shape, axes: &[usize]) -> Shape {
    (0..x.rank()).filter(|i| !axes.contains(i)).map(|i| x[i]).collect::<Vec<_>>().into()
}

/// `x` with `axes` of size 1.
fn kept(x: &Shape, axes: &[usize]) -> Shape {
    (0..x.rank()).map(|i| if axes.contains(&i) { 1 } else { x[i] }).collect::<Vec<_>>().into()
}

/// Axes combined and dropped.
pub(super) struct Reduce;
impl Operation for Reduce {
    fn name(op: &Op) -> &'static str {
        attributes!(Op::Reduce { kind, .. } = op);
        match kind {
            Reduction::Sum => "sum",
            Reduction::Prod => "prod",
            Reduction::Max => "max",
            Reduction::Min => "min",
            Reduction::LogSumExp => "logsumexp",
        }
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x] = exactly(operands)?;
        attributes!(Op::Reduce { kind, axes } = op);
        check_axes(x, axes)?;
        if matches!(kind, Reduction::Max | Reduction::Min) && axes.iter().any(|&a| x[a] == 0) {
            return Err(ShapeError::Empty { operand: "x" });
        }
        Ok(without(x, axes))
    }
    fn dtype(op: &Op, operands: &[DType]) -> DType {
        attributes!(Op::Reduce { kind, .. } = op);
        match kind {
            Reduction::Sum | Reduction::Prod => join_numbers(operands),
            Reduction::Max | Reduction::Min => operands[0],
            Reduction::LogSumExp => DType::Real,
        }
    }
    fn kernel(op: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        attributes!(Op::Reduce { kind, axes } = op);
        Kernel::reduce(*kind, operands[0], axes)
    }
    fn vjp(v: &mut Vjp) {
        attributes!(Op::Reduce { kind, axes } = v.op);
        let (kind, shape) = (*kind, v.shape(0));
        let kept = kept(&shape, axes);
        let dy = v.g.reshape(v.dy, kept.clone());
        let y = v.g.reshape(v.y, kept.clone());
        let dx = match kind {
            Reduction::Sum => v.g.broadcast_to(dy, shape),
            Reduction::LogSumExp => {
                let share = share(v.g, v.x[0], y);
                super::vjp::absorbing_mul(v.g, dy, share)
            }
            Reduction::Prod => {
                let others = product_of_others(v.g, v.x[0], axes, &kept);
                super::vjp::absorbing_mul(v.g, dy, others)
            }
            Reduction::Max => to_winner(v.g, v.x[0], v.dy, axes),
            Reduction::Min => {
                let minus = v.g.neg(v.x[0]);
                to_winner(v.g, minus, v.dy, axes)
            }
        };
        v.give(0, dx);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        let kinds = [Reduction::Sum, Reduction::Prod, Reduction::Max, Reduction::Min, Reduction::LogSumExp];
        let axes: [&[usize]; 5] = [&[0], &[1, 2], &[0, 2], &[0, 1, 2, 3], &[1, 3]];
        kinds
            .iter()
            .flat_map(|&kind| axes.map(|axes| (kind, axes.to_vec())))
            .map(|(kind, axes)| sample(Op::Reduce { kind, axes }, [Fill::real([3, 2, 5, 2])]))
            .collect()
    }
}

/// For each element the product of the other ones, from the product of those that are not zero and the number of zeros.
/// Its derivative is right where there is no zero.
fn product_of_others(g: &mut Builder, x: ValueId, axes: &[usize], kept: &Shape) -> ValueId {
    let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
    let is_zero = g.eq(x, zero);
    let safe = g.select(is_zero, one, x);
    let product = g.reduce(Reduction::Prod, safe, axes);
    let product = g.reshape(product, kept.clone());
    let zeros = g.sum(is_zero, axes);
    let zeros = g.reshape(zeros, kept.clone());
    // Without the element itself: only zeros among the others count.
    let other_zeros = g.sub(zeros, is_zero);
    let ratio = g.div(product, safe);
    let none = g.compare_scalar(Binary::Eq, other_zeros, 0.0);
    g.select(none, ratio, zero)
}

/// `dy` at the first largest element along `axes`, zero elsewhere.
fn to_winner(g: &mut Builder, x: ValueId, dy: ValueId, axes: &[usize]) -> ValueId {
    let shape = g.shape(x);
    let mut perm: Vec<usize> = (0..shape.rank()).filter(|i| !axes.contains(i)).collect();
    let lead = perm.len();
    perm.extend(axes);
    let moved = g.transpose(x, &perm);
    let moved_shape = g.shape(moved);
    let n: usize = moved_shape[lead..].iter().product();
    let flat_shape = Shape::from(&moved_shape[..lead]).concat(&[n]);
    let flat = g.reshape(moved, flat_shape);
    let winner = g.argmax(flat, lead);
    let placed = g.place(dy, winner, n);
    let unflat = g.reshape(placed, moved_shape);
    let mut inverse = vec![0; perm.len()];
    for (to, &from) in perm.iter().enumerate() {
        inverse[from] = to;
    }
    g.transpose(unflat, &inverse)
}

/// Running sums along an axis.
pub(super) struct CumSum;
impl Operation for CumSum {
    fn name(_: &Op) -> &'static str {
        "cumsum"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x] = exactly(operands)?;
        attributes!(&Op::CumSum { axis, .. } = op);
        check_axes(x, &[axis])?;
        Ok(x.clone())
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        join_numbers(operands)
    }
    fn kernel(op: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        attributes!(&Op::CumSum { axis, reverse } = op);
        Kernel::CumSum { sizes: around(operands[0], axis), reverse }
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::CumSum { axis, reverse } = v.op);
        let dx = v.g.cumsum(v.dy, axis, !reverse);
        v.give(0, dx);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![
            sample(Op::CumSum { axis: 1, reverse: false }, [Fill::real([2, 5, 3])]),
            sample(Op::CumSum { axis: 0, reverse: true }, [Fill::real([7])]),
        ]
    }
}

/// Positions in ascending order.
pub(super) struct ArgSort;
impl Operation for ArgSort {
    fn name(_: &Op) -> &'static str {
        "argsort"
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x] = exactly(operands)?;
        match x.rank() {
            0 => Err(ShapeError::Rank { operand: "x", shape: x.to_vec(), needed: 1 }),
            _ => Ok(x.clone()),
        }
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Int
    }
    fn kernel(_: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        Kernel::ArgSort { width: operands[0][operands[0].rank() - 1] }
    }
    fn vjp(_: &mut Vjp) {}
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![sample(Op::ArgSort, [Fill::real([2, 5])]), sample(Op::ArgSort, [Fill::real([7])])]
    }
}

/// The position of the largest element.
pub(super) struct ArgMax;
impl Operation for ArgMax {
    fn name(_: &Op) -> &'static str {
        "argmax"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x] = exactly(operands)?;
        attributes!(&Op::ArgMax { axis } = op);
        check_axes(x, &[axis])?;
        if x[axis] == 0 {
            return Err(ShapeError::Empty { operand: "x" });
        }
        Ok(without(x, &[axis]))
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Int
    }
    fn kernel(op: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        attributes!(&Op::ArgMax { axis } = op);
        Kernel::ArgMax { sizes: around(operands[0], axis) }
    }
    fn vjp(_: &mut Vjp) {}
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![sample(Op::ArgMax { axis: 1 }, [Fill::real([2, 5, 3])])]
    }
}
