//! The 2-D convolution and its two adjoints. Each is bilinear, and the adjoints of any one are the other two, so the
//! family is closed under differentiation.
//!
//!   y[n,o,p,q] = sum over c,r,s of x[n, c, p*stride + r*dilation - pad, …] * w[o, c, r, s], channels in groups
//!   x [N,C,H,W]   w [O,C/groups,KH,KW]   y [N,O,P,Q],  P = floor((H + before + after - dilation (KH-1) - 1)/stride) + 1
//!   Source: Dumoulin & Visin 2016, arXiv:1603.07285, ch. 4.

use super::kernel::{Ending, Kernel};
#[cfg(test)]
use super::tests::{Fill, Sample, sample};
use super::vjp::Vjp;
use super::{ConvAttrs, Op, Operation, ShapeError, attributes, decided, exactly, rules};
use crate::ir::{DType, Shape};
use crate::kernels::conv;

fn spatial(shape: &Shape) -> [usize; 2] {
    [shape[2], shape[3]]
}

/// The kernels of all three, with their index tables.
pub(super) fn prepare(x: &Shape, w: &Shape, attrs: &ConvAttrs) -> Box<conv::Conv2d> {
    Box::new(conv::Conv2d::new(conv::Conv2dShape {
        batch: x[0],
        in_channels: x[1],
        out_channels: w[0],
        input: spatial(x),
        kernel: spatial(w),
        stride: attrs.stride,
        padding: attrs.pad,
        dilation: attrs.dilation,
        groups: attrs.groups,
    }))
}

/// Cross-correlation; operands `x`, `w`.
pub(super) struct Conv2d;
impl Operation for Conv2d {
    fn name(_: &Op) -> &'static str {
        "conv2d"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x, w] = exactly(operands)?;
        attributes!(Op::Conv2d(attrs) = op);
        Ok(decided(|p| rules::conv2d(x, w, attrs, p))?.into())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        attributes!(Op::Conv2d(attrs) = op);
        Kernel::Conv2d(prepare(operands[0], operands[1], attrs), Ending::default())
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::Conv2d(attrs) = v.op);
        let (input, kernel) = (spatial(&v.shape(0)), spatial(&v.shape(1)));
        if v.needs(0) {
            let dx = v.g.conv2d_input_grad(v.dy, v.x[1], attrs, input);
            v.give(0, dx);
        }
        if v.needs(1) {
            let dw = v.g.conv2d_weight_grad(v.x[0], v.dy, attrs, kernel);
            v.give(1, dw);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        SHAPES.iter().map(|(x, w, _, attrs)| sample(Op::Conv2d(*attrs), [Fill::real(*x), Fill::real(*w)])).collect()
    }
}

/// The adjoint in `x`; operands `dy`, `w`. Also the transposed convolution.
pub(super) struct Conv2dInputGrad;
impl Operation for Conv2dInputGrad {
    fn name(_: &Op) -> &'static str {
        "conv2d_input_grad"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [dy, w] = exactly(operands)?;
        attributes!(Op::Conv2dInputGrad { attrs, input } = op);
        Ok(decided(|p| rules::conv2d_input_grad(dy, w, attrs, input, p))?.into())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        attributes!(Op::Conv2dInputGrad { attrs, .. } = op);
        Kernel::Conv2dInputGrad(prepare(result, operands[1], attrs))
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::Conv2dInputGrad { attrs, .. } = v.op);
        let kernel = spatial(&v.shape(1));
        if v.needs(0) {
            let d = v.g.conv2d(v.dy, v.x[1], attrs);
            v.give(0, d);
        }
        if v.needs(1) {
            let dw = v.g.conv2d_weight_grad(v.dy, v.x[0], attrs, kernel);
            v.give(1, dw);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        SHAPES
            .iter()
            .map(|(x, w, y, attrs)| {
                let op = Op::Conv2dInputGrad { attrs: *attrs, input: [x[2], x[3]] };
                sample(op, [Fill::real(*y), Fill::real(*w)])
            })
            .collect()
    }
}

/// The adjoint in `w`; operands `x`, `dy`.
pub(super) struct Conv2dWeightGrad;
impl Operation for Conv2dWeightGrad {
    fn name(_: &Op) -> &'static str {
        "conv2d_weight_grad"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x, dy] = exactly(operands)?;
        attributes!(Op::Conv2dWeightGrad { attrs, kernel } = op);
        Ok(decided(|p| rules::conv2d_weight_grad(x, dy, attrs, kernel, p))?.into())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        attributes!(Op::Conv2dWeightGrad { attrs, .. } = op);
        Kernel::Conv2dWeightGrad(prepare(operands[0], result, attrs))
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::Conv2dWeightGrad { attrs, .. } = v.op);
        let input = spatial(&v.shape(0));
        if v.needs(0) {
            let dx = v.g.conv2d_input_grad(v.x[1], v.dy, attrs, input);
            v.give(0, dx);
        }
        if v.needs(1) {
            let d = v.g.conv2d(v.x[0], v.dy, attrs);
            v.give(1, d);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        SHAPES
            .iter()
            .map(|(x, w, y, attrs)| {
                let op = Op::Conv2dWeightGrad { attrs: *attrs, kernel: [w[2], w[3]] };
                sample(op, [Fill::real(*x), Fill::real(*y)])
            })
            .collect()
    }
}

/// `x`, `w`, `y` and attributes.
#[cfg(test)]
pub(super) type Shapes = ([usize; 4], [usize; 4], [usize; 4], ConvAttrs);

/// Odd sizes, strides that leave cells over, one-sided padding, groups, dilation.
#[cfg(test)]
pub(super) const SHAPES: [Shapes; 4] = [
    (
        [2, 3, 5, 4],
        [4, 3, 3, 3],
        [2, 4, 5, 4],
        ConvAttrs { stride: [1, 1], pad: [[1, 1], [1, 1]], dilation: [1, 1], groups: 1 },
    ),
    (
        [3, 4, 7, 5],
        [6, 2, 3, 3],
        [3, 6, 3, 3],
        ConvAttrs { stride: [2, 1], pad: [[0, 1], [1, 1]], dilation: [1, 2], groups: 2 },
    ),
    (
        [1, 2, 6, 8],
        [2, 1, 2, 1],
        [1, 2, 2, 3],
        ConvAttrs { stride: [3, 3], pad: [[0, 0], [0, 1]], dilation: [2, 1], groups: 2 },
    ),
    (
        [2, 1, 1, 1],
        [1, 1, 1, 1],
        [2, 1, 1, 1],
        ConvAttrs { stride: [1, 1], pad: [[0, 0], [0, 0]], dilation: [1, 1], groups: 1 },
    ),
];
