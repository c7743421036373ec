//! The 2-D convolution whose weights are drawn anew for every image of the batch, and its adjoints.
//!
//!   y[n] = conv2d(x[n], W_n),   W_n = loc + spread * M_n   (element by element)
//!   x [N,C,H,W]   loc, spread [O,C/groups,KH,KW]   y [N,O,P,Q]
//!
//! M_n is drawn inside the loops, by the law of [`RowNoise`]: signs of the channels for Flipout, normals for a draw of the
//! weights for each image. Flipout's two convolutions, of x with loc and of flipped x with spread, are one convolution
//! with W_n, and so is their adjoint in x; both adjoints in the weights come from the one gradient G_n of an image:
//! d loc = sum of G_n, d spread = sum of M_n * G_n. Each operation is linear in its data and in (loc, spread) together,
//! and the adjoints of any one are the other two under the same noise. Element e of M_n is number e of the stream folded
//! with n; of Flipout's signs, the C signs before the layer come first and the O after it follow.

#[cfg(test)]
use super::RowLaw;
use super::kernel::Kernel;
#[cfg(test)]
use super::tests::{Fill, Sample, sample};
use super::vjp::Vjp;
use super::{Op, Operation, RowNoise, ShapeError, attributes, conv::prepare, decided, exactly, rules};
use crate::ir::{DType, Shape};
use crate::kernels::Scalar;
use crate::kernels::conv::rows::{Multipliers, RowWeights};
use crate::kernels::conv::{Conv2d, Method};
use crate::rng::Key;

/// A convolution made ready, with the noise of its weights.
pub(crate) struct RowConv {
    conv: Box<Conv2d>,
    noise: RowNoise,
}

/// Which of the three operations of a layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// The layer.
    Forward,
    /// Its adjoint in the data.
    InputGrad,
    /// Its adjoints in the weights.
    WeightGrad,
}

impl RowConv {
    fn new(x: &Shape, w: &Shape, attrs: &super::ConvAttrs, noise: RowNoise) -> Self {
        Self { conv: Box::new(prepare(x, w, attrs).for_rows(noise.kind)), noise }
    }

    /// The same by another method than the direct one.
    pub(super) fn with_method(self, method: Method) -> Self {
        Self { conv: Box::new(self.conv.with_row_method(method, self.noise.kind)), noise: self.noise }
    }

    /// The elements of scratch of [`RowConv::run`].
    pub(super) fn scratch<F: Scalar>(&self, role: Role) -> usize {
        let m = Multipliers { shape: self.conv.shape(), law: self.noise.kind, key: Key::new(0) };
        match role {
            Role::Forward => self.conv.forward_rows_scratch::<F>(self.noise.kind),
            Role::InputGrad => self.conv.input_grad_rows_scratch::<F>(self.noise.kind),
            Role::WeightGrad => self.conv.weight_grad_rows_scratch::<F>(&m),
        }
    }

    /// Computes `out` from the operands of the operation.
    pub(super) fn run<F: Scalar>(
        &self,
        role: Role,
        x: &super::kernel::Inputs<F>,
        out: &mut [F],
        scratch: &mut [F],
        key: Key,
    ) {
        let key = key.fold_in(u64::from(self.noise.stream));
        let multipliers = Multipliers { shape: self.conv.shape(), law: self.noise.kind, key };
        match role {
            Role::WeightGrad => self.conv.weight_grad_rows(x.get(0), x.get(1), &multipliers, out, scratch),
            Role::Forward => {
                let weights = RowWeights { multipliers, loc: x.get(1), spread: x.get(2) };
                self.conv.forward_rows(x.get(0), &weights, out, scratch);
            }
            Role::InputGrad => {
                let weights = RowWeights { multipliers, loc: x.get(1), spread: x.get(2) };
                self.conv.input_grad_rows(x.get(0), &weights, out, scratch);
            }
        }
    }
}

fn spatial(shape: &Shape) -> [usize; 2] {
    [shape[2], shape[3]]
}

/// `loc` and `spread` have one shape.
pub(super) fn same_weights(loc: &Shape, spread: &Shape) -> Result<(), ShapeError> {
    match (0..loc.rank().max(spread.rank())).find(|&i| loc.get(i) != spread.get(i)) {
        None => Ok(()),
        Some(i) => {
            let size = |s: &Shape| s.get(i).copied().unwrap_or(0);
            Err(ShapeError::Mismatch { what: "means and spreads", lhs: size(loc), rhs: size(spread) })
        }
    }
}

/// The layer.
pub(super) struct RowConv2d;
impl Operation for RowConv2d {
    fn name(_: &Op) -> &'static str {
        "row_conv2d"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x, loc, spread] = exactly(operands)?;
        attributes!(Op::RowConv2d { attrs, .. } = op);
        same_weights(loc, spread)?;
        Ok(decided(|p| rules::conv2d(x, loc, attrs, p))?.into())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        attributes!(Op::RowConv2d { attrs, noise } = op);
        Kernel::RowConv(RowConv::new(operands[0], operands[1], attrs, *noise), Role::Forward)
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::RowConv2d { attrs, noise } = v.op);
        let (input, kernel) = (spatial(&v.shape(0)), spatial(&v.shape(1)));
        if v.needs(0) {
            let dx = v.g.push(Op::RowConv2dInputGrad { attrs, input, noise }, &[v.dy, v.x[1], v.x[2]]);
            v.give(0, dx);
        }
        weights(v, Op::RowConv2dWeightGrad { attrs, kernel, noise }, v.x[0], v.dy);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        samples(|attrs, x, w, _, noise| {
            sample(Op::RowConv2d { attrs, noise }, [Fill::real(x), Fill::real(w), Fill::real(w)])
        })
    }
}

/// Gives the cotangents of operands 1 and 2 from their operation on data and the result's cotangent.
fn weights(v: &mut Vjp, op: Op, x: crate::ir::ValueId, dy: crate::ir::ValueId) {
    if !v.needs(1) && !v.needs(2) {
        return;
    }
    let both = v.g.push(op, &[x, dy]);
    let halves = v.g.halves(both);
    for (i, half) in halves.into_iter().enumerate() {
        if v.needs(1 + i) {
            v.give(1 + i, half);
        }
    }
}

/// The adjoint in `x`.
pub(super) struct RowConv2dInputGrad;
impl Operation for RowConv2dInputGrad {
    fn name(_: &Op) -> &'static str {
        "row_conv2d_input_grad"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [dy, loc, spread] = exactly(operands)?;
        attributes!(Op::RowConv2dInputGrad { attrs, input, .. } = op);
        same_weights(loc, spread)?;
        Ok(decided(|p| rules::conv2d_input_grad(dy, loc, attrs, input, p))?.into())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        attributes!(Op::RowConv2dInputGrad { attrs, noise, .. } = op);
        Kernel::RowConv(RowConv::new(result, operands[1], attrs, *noise), Role::InputGrad)
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::RowConv2dInputGrad { attrs, noise, .. } = v.op);
        let kernel = spatial(&v.shape(1));
        if v.needs(0) {
            let d = v.g.push(Op::RowConv2d { attrs, noise }, &[v.dy, v.x[1], v.x[2]]);
            v.give(0, d);
        }
        weights(v, Op::RowConv2dWeightGrad { attrs, kernel, noise }, v.dy, v.x[0]);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        samples(|attrs, x, w, y, noise| {
            let op = Op::RowConv2dInputGrad { attrs, input: [x[2], x[3]], noise };
            sample(op, [Fill::real(y), Fill::real(w), Fill::real(w)])
        })
    }
}

/// The adjoints in `loc` and `spread`.
pub(super) struct RowConv2dWeightGrad;
impl Operation for RowConv2dWeightGrad {
    fn name(_: &Op) -> &'static str {
        "row_conv2d_weight_grad"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x, dy] = exactly(operands)?;
        attributes!(Op::RowConv2dWeightGrad { attrs, kernel, .. } = op);
        let w = decided(|p| rules::conv2d_weight_grad(x, dy, attrs, kernel, p))?;
        Ok([&[2], &w[..]].concat().into())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        attributes!(Op::RowConv2dWeightGrad { attrs, noise, .. } = op);
        let w = Shape::from(&result[1..]);
        Kernel::RowConv(RowConv::new(operands[0], &w, attrs, *noise), Role::WeightGrad)
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::RowConv2dWeightGrad { attrs, noise, .. } = v.op);
        let input = spatial(&v.shape(0));
        let [loc, spread] = v.g.halves(v.dy);
        if v.needs(0) {
            let dx = v.g.push(Op::RowConv2dInputGrad { attrs, input, noise }, &[v.x[1], loc, spread]);
            v.give(0, dx);
        }
        if v.needs(1) {
            let d = v.g.push(Op::RowConv2d { attrs, noise }, &[v.x[0], loc, spread]);
            v.give(1, d);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        samples(|attrs, x, w, y, noise| {
            let op = Op::RowConv2dWeightGrad { attrs, kernel: [w[2], w[3]], noise };
            sample(op, [Fill::real(x), Fill::real(y)])
        })
    }
}

/// The shapes of the plain convolution under both laws.
#[cfg(test)]
fn samples(make: impl Fn(super::ConvAttrs, [usize; 4], [usize; 4], [usize; 4], RowNoise) -> Sample) -> Vec<Sample> {
    let laws = [RowLaw::Signs, RowLaw::Normal];
    let make = &make;
    super::conv::SHAPES
        .iter()
        .flat_map(|&(x, w, y, attrs)| laws.map(|kind| make(attrs, x, w, y, RowNoise { kind, stream: 5 })))
        .collect()
}
