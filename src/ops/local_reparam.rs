//! Layers whose outputs are drawn instead of their weights (local reparameterization; Kingma, Salimans & Welling 2015,
//! arXiv:1506.02557).
//!
//!   y = mean + sd * e,   mean = layer(x, loc),   sd = sqrt(layer(x^2, square) + tiny)
//!
//! `loc` and `square` are the means and variances of independent normal weights, e standard normals. The result is
//! [2, shape of y]: y, then its slope in the variance, e / (2 sd), which is all that the derivative needs of the noise and of
//! the variance. The patches of x are gathered once for both products. The numbers e are those of [`Op::Noise`] with the
//! same stream and the shape of y.

use super::kernel::{Inputs, Kernel};
#[cfg(test)]
use super::tests::{Fill, Sample, sample};
use super::vjp::{Vjp, absorbing_mul};
use super::{NoiseKind, Op, Operation, ShapeError, attributes, conv::prepare, decided, exactly, rules};
use crate::ir::{Builder, DType, Shape, ValueId};
use crate::kernels::conv::{Conv2d, Method};
use crate::kernels::{Scalar, dense, simd};
use crate::rng::{Key, each_normal};

/// Added to a variance under a root, so that a row of zeros has a finite gradient; far below any variance that matters.
pub const TINY: f64 = 1e-12;

/// A layer made ready.
pub(crate) struct LocalReparam {
    layer: Layer,
    stream: u32,
}

enum Layer {
    Conv(Box<Conv2d>),
    Dense(dense::DenseShape),
}

impl LocalReparam {
    /// The same, a convolution by another method than the direct one.
    pub(super) fn with_method(self, method: Method) -> Self {
        let layer = match self.layer {
            Layer::Conv(conv) => Layer::Conv(Box::new(conv.with_method(method))),
            dense => dense,
        };
        Self { layer, ..self }
    }

    /// The elements of scratch of [`LocalReparam::run`].
    pub(super) fn scratch<F: Scalar>(&self) -> usize {
        match &self.layer {
            Layer::Conv(conv) => conv.forward_moments_scratch::<F>(),
            Layer::Dense(shape) => shape.moments_scratch::<F>(),
        }
    }

    /// Computes both halves of `out`.
    pub(super) fn run<F: Scalar>(&self, x: &Inputs<F>, out: &mut [F], scratch: &mut [F], key: Key) {
        let key = key.fold_in(u64::from(self.stream));
        let (y, slope) = out.split_at_mut(out.len() / 2);
        let finish = |start: usize, mean: &mut [F], variance: &mut [F]| {
            each_normal(key, start as u64, mean.len(), |at, noise| {
                let range = at..at + noise.len();
                let (mean, variance) = (&mut mean[range.clone()], &mut variance[range]);
                simd::dispatch_wide(
                    #[inline(always)]
                    || {
                        let tiny = F::from_f64(TINY);
                        for ((y, variance), &e) in mean.iter_mut().zip(variance).zip(noise) {
                            let sd = (*variance + tiny).sqrt();
                            *y = sd.mul_add(e, *y);
                            *variance = F::HALF * e / sd;
                        }
                    },
                );
            });
        };
        let (x, loc, square) = (x.get(0), x.get(1), x.get(2));
        match &self.layer {
            Layer::Conv(conv) => conv.forward_moments(x, loc, square, y, slope, finish, scratch),
            Layer::Dense(shape) => {
                shape.moments(x, loc, square, y, slope, scratch);
                finish(0, y, slope);
            }
        }
    }
}

/// The cotangents of `mean` and `variance` for that of the result; `forward` is the layer.
fn of_moments(v: &mut Vjp, stream: u32, forward: impl Fn(&mut Builder, ValueId, ValueId) -> ValueId) -> [ValueId; 2] {
    let [dy, dslope] = v.g.halves(v.dy);
    let [_, slope] = v.g.halves(v.y);
    let by_y = v.g.mul(dy, slope);
    // d slope / d variance = -e / (4 sd^3). Only a second derivative asks for it, which finds noise and variance again; the
    // zeros that a first derivative has here absorb all of it.
    let &[x, _, square] = v.x else { unreachable!("three operands") };
    let shape = v.g.shape(dslope);
    let noise = v.g.push(Op::Noise { kind: NoiseKind::Normal, stream, shape }, &[]);
    let x = v.g.square(x);
    let variance = forward(v.g, x, square);
    let variance = v.g.add_scalar(variance, TINY);
    let power = v.g.pow_scalar(variance, -1.5);
    let bend = v.g.mul(noise, power);
    let bend = v.g.mul_scalar(bend, -0.25);
    let by_slope = absorbing_mul(v.g, dslope, bend);
    [dy, v.g.add(by_y, by_slope)]
}

/// Gives the cotangents of x, loc and square; `input(graph, dy, w)` and `weight(graph, x, dy)` are the adjoints of the layer
/// `forward(graph, x, w)`.
fn adjoint(
    v: &mut Vjp,
    stream: u32,
    forward: impl Fn(&mut Builder, ValueId, ValueId) -> ValueId,
    input: impl Fn(&mut Builder, ValueId, ValueId) -> ValueId,
    weight: impl Fn(&mut Builder, ValueId, ValueId) -> ValueId,
) {
    let &[x, loc, square] = v.x else { unreachable!("three operands") };
    let [dmean, dvariance] = of_moments(v, stream, forward);
    if v.needs(0) {
        // d x^2 / d x = 2 x
        let first = input(v.g, dmean, loc);
        let second = input(v.g, dvariance, square);
        let twice = v.g.mul_scalar(x, 2.0);
        let second = v.g.mul(twice, second);
        let dx = v.g.add(first, second);
        v.give(0, dx);
    }
    if v.needs(1) {
        let d = weight(v.g, x, dmean);
        v.give(1, d);
    }
    if v.needs(2) {
        let x = v.g.square(x);
        let d = weight(v.g, x, dvariance);
        v.give(2, d);
    }
}

fn spatial(shape: &Shape) -> [usize; 2] {
    [shape[2], shape[3]]
}

/// Of a convolution.
pub(super) struct LocalReparamConv2d;
impl Operation for LocalReparamConv2d {
    fn name(_: &Op) -> &'static str {
        "local_reparam_conv2d"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x, loc, square] = exactly(operands)?;
        attributes!(Op::LocalReparamConv2d { attrs, .. } = op);
        super::row_weights::same_weights(loc, square)?;
        let y = decided(|p| rules::conv2d(x, loc, attrs, p))?;
        Ok([&[2], &y[..]].concat().into())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        attributes!(Op::LocalReparamConv2d { attrs, stream } = op);
        let layer = Layer::Conv(prepare(operands[0], operands[1], attrs));
        Kernel::LocalReparam(LocalReparam { layer, stream: *stream })
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::LocalReparamConv2d { attrs, stream } = v.op);
        let (input, kernel) = (spatial(&v.shape(0)), spatial(&v.shape(1)));
        adjoint(
            v,
            stream,
            |g, x, w| g.conv2d(x, w, attrs),
            |g, dy, w| g.conv2d_input_grad(dy, w, attrs, input),
            |g, x, dy| g.conv2d_weight_grad(x, dy, attrs, kernel),
        );
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        super::conv::SHAPES
            .iter()
            .map(|&(x, w, _, attrs)| {
                let op = Op::LocalReparamConv2d { attrs, stream: 5 };
                sample(op, [Fill::real(x), Fill::real(w), Fill::range(w, 0.5, 2.0)])
            })
            .collect()
    }
}

/// Of a dense layer: x [N, I], loc and square [I, O].
pub(super) struct LocalReparamDense;
impl Operation for LocalReparamDense {
    fn name(_: &Op) -> &'static str {
        "local_reparam_dense"
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x, loc, square] = exactly(operands)?;
        super::row_weights::same_weights(loc, square)?;
        let [n, o] = super::row_dense::product_shape(x, loc)?;
        Ok([2, n, o].into())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        attributes!(Op::LocalReparamDense { stream } = op);
        let layer = Layer::Dense(super::row_dense::sizes(operands[0], operands[1]));
        Kernel::LocalReparam(LocalReparam { layer, stream: *stream })
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::LocalReparamDense { stream } = v.op);
        adjoint(
            v,
            stream,
            |g, x, w| g.matmul(x, false, w, false),
            |g, dy, w| g.matmul(dy, false, w, true),
            |g, x, dy| g.matmul(x, true, dy, false),
        );
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        super::row_dense::SHAPES
            .iter()
            .map(|&(x, w, _)| {
                sample(Op::LocalReparamDense { stream: 5 }, [Fill::real(x), Fill::real(w), Fill::range(w, 0.5, 2.0)])
            })
            .collect()
    }
}
