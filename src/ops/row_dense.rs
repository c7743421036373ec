//! Flipout in a dense layer, and its adjoints (Wen et al. 2018, arXiv:1803.04386).
//!
//!   y = x loc + after * ((before * x) spread),   x [N,I]   loc, spread [I,O]   before [N,I]   after [N,O]
//!
//! Both products run in one operation; the signs are bits of the stream, flipped in while x is packed and added to y, and
//! never stored for all rows. Those of row n are the bits of the stream folded with n: first the I before, then the O after.

use super::kernel::{Inputs, Kernel};
#[cfg(test)]
use super::tests::{Fill, Sample, sample};
use super::vjp::Vjp;
use super::{Op, Operation, ShapeError, attributes, exactly};
use crate::ir::{DType, Shape, ValueId};
use crate::kernels::Scalar;
use crate::kernels::dense::{DenseShape, Signs};
use crate::rng::{Key, fill_sign_bits};

/// A layer or an adjoint made ready.
pub(crate) struct FlipoutProduct {
    /// Of the layer, whichever of its operations this is.
    sizes: DenseShape,
    stream: u32,
    role: super::row_weights::Role,
}

/// The signs on one side of the layer.
struct Bits {
    key: Key,
    offset: usize,
}

impl Signs for Bits {
    fn fill<F: Scalar>(&self, row: usize, start: usize, out: &mut [F]) {
        fill_sign_bits(self.key.fold_in(row as u64), (self.offset + start) as u64, out);
    }
}

impl FlipoutProduct {
    /// The sizes of the product that this operation is.
    fn product(&self) -> DenseShape {
        let DenseShape { rows, inputs, outputs } = self.sizes;
        match self.role {
            super::row_weights::Role::InputGrad => DenseShape { rows, inputs: outputs, outputs: inputs },
            _ => self.sizes,
        }
    }

    /// The elements of scratch of [`FlipoutProduct::run`].
    pub(super) fn scratch<F: Scalar>(&self) -> usize {
        match self.role {
            super::row_weights::Role::WeightGrad => self.sizes.flipped_grad_scratch::<F>(),
            _ => self.product().flipped_scratch::<F>(),
        }
    }

    /// Computes `out` from the operands of the operation.
    pub(super) fn run<F: Scalar>(&self, x: &Inputs<F>, out: &mut [F], scratch: &mut [F], key: Key) {
        use super::row_weights::Role;
        let key = key.fold_in(u64::from(self.stream));
        let (before, after) = (Bits { key, offset: 0 }, Bits { key, offset: self.sizes.inputs });
        let sizes = self.product();
        match self.role {
            Role::Forward => sizes.flipped(x.get(0), x.get(1), x.get(2), false, (&before, &after), out, scratch),
            Role::InputGrad => sizes.flipped(x.get(0), x.get(1), x.get(2), true, (&after, &before), out, scratch),
            Role::WeightGrad => sizes.flipped_grad(x.get(0), x.get(1), (&before, &after), out, scratch),
        }
    }
}

/// The sizes of a layer with data `x [N, I]` and weights `w [I, O]`.
pub(super) fn sizes(x: &Shape, w: &Shape) -> DenseShape {
    DenseShape { rows: x[0], inputs: w[0], outputs: w[1] }
}

/// `[N, O]`
pub(super) fn product_shape(x: &Shape, w: &Shape) -> Result<[usize; 2], ShapeError> {
    match (&x[..], &w[..]) {
        (&[n, i], &[j, o]) if i == j => Ok([n, o]),
        (&[_, i], &[j, _]) => Err(ShapeError::Mismatch { what: "inner sizes", lhs: i, rhs: j }),
        _ => Err(ShapeError::Mismatch { what: "ranks of matrices", lhs: x.rank(), rhs: w.rank() }),
    }
}

/// The layer, or its adjoint in `x`.
pub(super) struct FlipoutDense;
impl Operation for FlipoutDense {
    fn name(op: &Op) -> &'static str {
        if matches!(op, Op::FlipoutDense { adjoint: true, .. }) { "flipout_dense_input_grad" } else { "flipout_dense" }
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x, loc, spread] = exactly(operands)?;
        attributes!(&Op::FlipoutDense { adjoint, .. } = op);
        super::row_weights::same_weights(loc, spread)?;
        match (&loc[..], adjoint) {
            (&[i, o], true) => Ok(product_shape(x, &[o, i].into())?.into()),
            _ => Ok(product_shape(x, loc)?.into()),
        }
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        use super::row_weights::Role;
        attributes!(&Op::FlipoutDense { stream, adjoint } = op);
        let role = if adjoint { Role::InputGrad } else { Role::Forward };
        Kernel::FlipoutDense(FlipoutProduct { sizes: sizes(operands[0], operands[1]), stream, role })
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::FlipoutDense { stream, adjoint } = v.op);
        if v.needs(0) {
            let d = v.g.push(Op::FlipoutDense { stream, adjoint: !adjoint }, &[v.dy, v.x[1], v.x[2]]);
            v.give(0, d);
        }
        if v.needs(1) || v.needs(2) {
            let operands = if adjoint { [v.dy, v.x[0]] } else { [v.x[0], v.dy] };
            let both = v.g.push(Op::FlipoutDenseWeightGrad { stream }, &operands);
            let halves = v.g.halves(both);
            give_weights(v, halves);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        let make = |&(x, w, y): &([usize; 2], [usize; 2], [usize; 2])| {
            [(x, false), (y, true)].map(|(data, adjoint)| {
                sample(Op::FlipoutDense { stream: 5, adjoint }, [Fill::real(data), Fill::real(w), Fill::real(w)])
            })
        };
        SHAPES.iter().flat_map(make).collect()
    }
}

fn give_weights(v: &mut Vjp, halves: [ValueId; 2]) {
    for (i, half) in halves.into_iter().enumerate() {
        if v.needs(1 + i) {
            v.give(1 + i, half);
        }
    }
}

/// The adjoints in `loc` and `spread`: `[x^T dy, (before x)^T (after dy)]`.
pub(super) struct FlipoutDenseWeightGrad;
impl Operation for FlipoutDenseWeightGrad {
    fn name(_: &Op) -> &'static str {
        "flipout_dense_weight_grad"
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x, dy] = exactly(operands)?;
        let transposed = match x[..] {
            [n, i] => Shape::from([i, n]),
            _ => x.clone(),
        };
        let [i, o] = product_shape(&transposed, dy)?;
        Ok([2, i, o].into())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        use super::row_weights::Role;
        attributes!(&Op::FlipoutDenseWeightGrad { stream } = op);
        let w = Shape::from(&result[1..]);
        Kernel::FlipoutDense(FlipoutProduct { sizes: sizes(operands[0], &w), stream, role: Role::WeightGrad })
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::FlipoutDenseWeightGrad { stream } = v.op);
        let [loc, spread] = v.g.halves(v.dy);
        if v.needs(0) {
            let dx = v.g.push(Op::FlipoutDense { stream, adjoint: true }, &[v.x[1], loc, spread]);
            v.give(0, dx);
        }
        if v.needs(1) {
            let d = v.g.push(Op::FlipoutDense { stream, adjoint: false }, &[v.x[0], loc, spread]);
            v.give(1, d);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        let op = Op::FlipoutDenseWeightGrad { stream: 5 };
        SHAPES.iter().map(|&(x, _, y)| sample(op.clone(), [Fill::real(x), Fill::real(y)])).collect()
    }
}

/// `x`, `w`, `y`: larger than a register tile, one row, one column.
#[cfg(test)]
pub(super) const SHAPES: [([usize; 2], [usize; 2], [usize; 2]); 3] =
    [([9, 5], [5, 19], [9, 19]), ([1, 3], [3, 2], [1, 2]), ([4, 130], [130, 1], [4, 1])];
