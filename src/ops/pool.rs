//! 2-D pools over `x [N,C,H,W]` and their adjoints. The first cell of a window in row-major order wins a tie.

#[cfg(test)]
use super::PoolAttrs;
use super::kernel::{Ending, Kernel, pool_shape};
#[cfg(test)]
use super::tests::{Fill, Sample, sample};
use super::vjp::Vjp;
use super::{Op, Operation, ShapeError, attributes, decided, exactly, rules};
use crate::ir::{DType, Shape};

/// The largest cell of each window.
pub(super) struct MaxPool2d;
impl Operation for MaxPool2d {
    fn name(_: &Op) -> &'static str {
        "max_pool2d"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x] = exactly(operands)?;
        attributes!(Op::MaxPool2d(attrs) = op);
        Ok(decided(|p| rules::pool2d(x, attrs, p))?.into())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        attributes!(Op::MaxPool2d(attrs) = op);
        Kernel::MaxPool2d(pool_shape(operands[0], attrs), Ending::default())
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::MaxPool2d(attrs) = v.op);
        let dx = v.g.push(Op::MaxPool2dGrad(attrs), &[v.x[0], v.dy]);
        v.give(0, dx);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        SHAPES.iter().map(|(x, _, attrs)| sample(Op::MaxPool2d(*attrs), [Fill::real(*x)])).collect()
    }
}

/// Its adjoint at `x`; operands `x`, `dy`.
pub(super) struct MaxPool2dGrad;
impl Operation for MaxPool2dGrad {
    fn name(_: &Op) -> &'static str {
        "max_pool2d_grad"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x, dy] = exactly(operands)?;
        attributes!(Op::MaxPool2dGrad(attrs) = op);
        let y = decided(|p| rules::pool2d(x, attrs, p))?;
        match (0..4).find(|&i| dy.get(i) != y.get(i)) {
            None if dy.rank() == 4 => Ok(x.clone()),
            Some(i) if dy.rank() == 4 => Err(ShapeError::Mismatch { what: "sizes of the pool", lhs: y[i], rhs: dy[i] }),
            _ => Err(ShapeError::Rank { operand: "dy", shape: dy.to_vec(), needed: 4 }),
        }
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        attributes!(Op::MaxPool2dGrad(attrs) = op);
        Kernel::MaxPool2dGrad(pool_shape(operands[0], attrs))
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::MaxPool2dGrad(attrs) = v.op);
        if v.needs(1) {
            let d = v.g.push(Op::MaxPool2dTake(attrs), &[v.x[0], v.dy]);
            v.give(1, d);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        SHAPES.iter().map(|(x, y, attrs)| sample(Op::MaxPool2dGrad(*attrs), [Fill::real(*x), Fill::real(*y)])).collect()
    }
}

/// Elements where the largest cells are, the adjoint of [`MaxPool2dGrad`] in `dy`; operands `x`, `v`.
pub(super) struct MaxPool2dTake;
impl Operation for MaxPool2dTake {
    fn name(_: &Op) -> &'static str {
        "max_pool2d_take"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x, v] = exactly(operands)?;
        attributes!(Op::MaxPool2dTake(attrs) = op);
        let y = decided(|p| rules::pool2d(x, attrs, p))?;
        match x.iter().zip(v.iter()).find(|(a, b)| a != b) {
            None if x.rank() == v.rank() => Ok(y.into()),
            Some((&lhs, &rhs)) => Err(ShapeError::Mismatch { what: "sizes of x and v", lhs, rhs }),
            None => Err(ShapeError::Rank { operand: "v", shape: v.to_vec(), needed: 4 }),
        }
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        attributes!(Op::MaxPool2dTake(attrs) = op);
        Kernel::MaxPool2dTake(pool_shape(operands[0], attrs))
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::MaxPool2dTake(attrs) = v.op);
        if v.needs(1) {
            let d = v.g.push(Op::MaxPool2dGrad(attrs), &[v.x[0], v.dy]);
            v.give(1, d);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        SHAPES.iter().map(|(x, _, attrs)| sample(Op::MaxPool2dTake(*attrs), [Fill::real(*x), Fill::real(*x)])).collect()
    }
}

/// The mean of each window.
pub(super) struct AvgPool2d;
impl Operation for AvgPool2d {
    fn name(_: &Op) -> &'static str {
        "avg_pool2d"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x] = exactly(operands)?;
        attributes!(Op::AvgPool2d(attrs) = op);
        Ok(decided(|p| rules::pool2d(x, attrs, p))?.into())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        attributes!(Op::AvgPool2d(attrs) = op);
        Kernel::AvgPool2d(pool_shape(operands[0], attrs), attrs.count_pad)
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::AvgPool2d(attrs) = v.op);
        let x = v.shape(0);
        let dx = v.g.push(Op::AvgPool2dGrad { attrs, input: [x[2], x[3]] }, &[v.dy]);
        v.give(0, dx);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        SHAPES.iter().map(|(x, _, attrs)| sample(Op::AvgPool2d(*attrs), [Fill::real(*x)])).collect()
    }
}

/// Its adjoint; operand `dy`.
pub(super) struct AvgPool2dGrad;
impl Operation for AvgPool2dGrad {
    fn name(_: &Op) -> &'static str {
        "avg_pool2d_grad"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [dy] = exactly(operands)?;
        attributes!(Op::AvgPool2dGrad { attrs, input } = op);
        let &[n, c, p, q] = &dy[..] else {
            return Err(ShapeError::Rank { operand: "dy", shape: dy.to_vec(), needed: 4 });
        };
        let x = [n, c, input[0], input[1]];
        let y = decided(|pending| rules::pool2d(&x, attrs, pending))?;
        match [p, q].iter().zip(&y[2..]).find(|(a, b)| a != b) {
            None => Ok(Shape::from(x)),
            Some((&rhs, &lhs)) => Err(ShapeError::Mismatch { what: "sizes of the pool", lhs, rhs }),
        }
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, _: &[&Shape], result: &Shape) -> Kernel {
        attributes!(Op::AvgPool2dGrad { attrs, .. } = op);
        Kernel::AvgPool2dGrad(pool_shape(result, attrs), attrs.count_pad)
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::AvgPool2dGrad { attrs, .. } = v.op);
        let d = v.g.avg_pool2d(v.dy, attrs);
        v.give(0, d);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        SHAPES
            .iter()
            .map(|(x, y, attrs)| sample(Op::AvgPool2dGrad { attrs: *attrs, input: [x[2], x[3]] }, [Fill::real(*y)]))
            .collect()
    }
}

/// `x`, `y` and attributes: overlapping windows, rows left over, padding.
#[cfg(test)]
const SHAPES: [([usize; 4], [usize; 4], PoolAttrs); 3] = [
    ([2, 3, 5, 4], [2, 3, 2, 2], PoolAttrs { window: [2, 2], stride: [2, 2], pad: [[0, 0], [0, 0]], count_pad: false }),
    ([1, 2, 6, 7], [1, 2, 6, 4], PoolAttrs { window: [3, 2], stride: [1, 2], pad: [[1, 1], [0, 1]], count_pad: false }),
    ([1, 1, 4, 5], [1, 1, 2, 3], PoolAttrs { window: [3, 3], stride: [2, 2], pad: [[1, 0], [1, 1]], count_pad: true }),
];
