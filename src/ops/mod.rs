//! Every operation of the graph, defined once: name, shape rule, kernel, vector-Jacobian product, samples for the tests.

use crate::dist::DistId;
use crate::ir::graph::ConstantId;
use crate::ir::{DType, InputId, Shape};
use crate::kernels::elementwise::{Binary, Ternary, Unary};

/// How a reduction combines.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their product.
    Prod,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// `ln sum exp`.
    LogSumExp,
}

/// Noise that the tape draws itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NoiseKind {
    /// Standard normal.
    Normal,
    /// Uniform on the open interval (0, 1).
    Uniform,
    /// -1 or 1 with equal probability.
    Sign,
}

/// Stride, padding, dilation and groups of a 2-D convolution; `[vertical, horizontal]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConvAttrs {
    /// Step of the window.
    pub stride: [usize; 2],
    /// Zero rows and columns before and after: `[[top, bottom], [left, right]]`.
    pub pad: [[usize; 2]; 2],
    /// Distance between kernel cells.
    pub dilation: [usize; 2],
    /// Groups of channels that do not mix.
    pub groups: usize,
}

/// Window, stride and padding of a 2-D pool; `[vertical, horizontal]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PoolAttrs {
    /// Size of the window.
    pub window: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Padding before and after: `[[top, bottom], [left, right]]`.
    pub pad: [[usize; 2]; 2],
    /// Whether padded cells count in an average; they never win a maximum.
    pub count_pad: bool,
}

/// An operation with its attributes.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    /// An input of the graph.
    Input(InputId),
    /// A constant array of the graph.
    Constant(ConstantId),
    /// One number everywhere.
    Full {
        value: f64,
        shape: Shape,
    },
    /// `0..n`.
    Iota {
        n: usize,
    },
    /// Noise from the stream `stream` of the run's key.
    Noise {
        kind: NoiseKind,
        stream: u32,
        shape: Shape,
    },
    /// Draws from a distribution, parameters as operands; no gradient.
    Draw {
        dist: DistId,
        stream: u32,
        shape: Shape,
    },
    /// An elementwise map.
    Unary(Unary),
    /// An elementwise map of two operands, broadcasting.
    Binary(Binary),
    /// An elementwise map of three operands, broadcasting.
    Ternary(Ternary),
    /// The identity without a gradient.
    StopGradient,
    /// Ints and booleans as reals: the identity on the tape.
    ToReal,
    /// See [`crate::ir::Builder`] for the meaning of these.
    Reshape {
        shape: Shape,
    },
    Broadcast {
        shape: Shape,
    },
    Transpose {
        perm: Vec<usize>,
    },
    Slice {
        axis: usize,
        start: usize,
        len: usize,
    },
    Pad {
        axis: usize,
        before: usize,
        after: usize,
    },
    Concat {
        axis: usize,
    },
    Gather,
    ScatterAdd {
        rows: usize,
    },
    Pick,
    Place {
        n: usize,
    },
    Reduce {
        kind: Reduction,
        axes: Vec<usize>,
    },
    CumSum {
        axis: usize,
        reverse: bool,
    },
    ArgMax {
        axis: usize,
    },
    MatMul {
        ta: bool,
        tb: bool,
    },
    Cholesky,
    SolveTriangular {
        lower: bool,
        transposed: bool,
    },
    Diagonal,
    Diag,
    Tril {
        strict: bool,
    },
    Conv2d(ConvAttrs),
    Conv2dInputGrad {
        attrs: ConvAttrs,
        input: [usize; 2],
    },
    Conv2dWeightGrad {
        attrs: ConvAttrs,
        kernel: [usize; 2],
    },
    MaxPool2d(PoolAttrs),
    MaxPool2dGrad(PoolAttrs),
    AvgPool2d(PoolAttrs),
    AvgPool2dGrad {
        attrs: PoolAttrs,
        input: [usize; 2],
    },
}
impl Op {
    /// Its name.
    pub fn name(&self) -> &'static str {
        unreachable!("set by the table of operations")
    }
    /// The shape of its result.
    pub fn shape(&self, _operands: &[&Shape]) -> Result<Shape, String> {
        unreachable!("set by the table of operations")
    }
    /// What its result's numbers mean.
    pub fn dtype(&self, _operands: &[DType]) -> DType {
        unreachable!("set by the table of operations")
    }
}
