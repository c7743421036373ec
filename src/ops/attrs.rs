//! Attributes of operations: what an operation needs to know beside its operands.

pub use crate::kernels::conv::rows::RowLaw;

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

/// How every row of a batch gets weights of its own, `W_n = loc + spread * M_n` element by element, from a stream of the
/// run's key. The multipliers are drawn where they are used and never stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RowNoise {
    /// The law of the multipliers.
    pub kind: RowLaw,
    /// As of [`super::Op::Noise`]; operations on one layer and its derivatives agree on it.
    pub stream: u32,
}
