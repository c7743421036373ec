//! Every operation of the graph, defined once: name, shape rule, dtype rule, vector-Jacobian product, kernel and samples
//! for the tests, one file per family.
//!
//! To add one: a type that implements [`Operation`] in the file of its family, and one line in the table below.
//! `ops/tests.rs` walks the table.

mod attrs;
mod binary;
mod conv;
pub(crate) mod cost;
mod elementwise;
pub mod extent;
mod gather;
pub(crate) mod kernel;
mod linalg;
mod pool;
mod random;
mod reduce;
pub mod rules;
mod scan;
mod shape;
mod source;
#[cfg(test)]
mod tests;
mod unary;
pub(crate) mod vjp;

pub use attrs::{ConvAttrs, NoiseKind, PoolAttrs, Reduction};
pub use extent::ShapeError;
pub use scan::{Loop, LoopBody};

use crate::dist::DistId;
use crate::ir::graph::ConstantId;
use crate::ir::{DType, InputId, Shape};
use crate::kernels::elementwise::{Binary, Ternary, Unary};
use extent::Pending;
use kernel::Kernel;
use vjp::Vjp;

/// What an operation is. Implemented by one unit type per operation; the table ties it to a variant of [`Op`].
pub(crate) trait Operation {
    /// Its name in printed graphs and messages.
    fn name(op: &Op) -> &'static str;
    /// The shape of the result, or what does not fit.
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError>;
    /// What the result's numbers mean.
    fn dtype(op: &Op, operands: &[DType]) -> DType;
    /// The loops for operands of these shapes.
    fn kernel(op: &Op, operands: &[&Shape], result: &Shape) -> Kernel;
    /// Appends the cotangents of the operands that need one. An operand that is given none has derivative zero.
    fn vjp(v: &mut Vjp);
    /// Small operands for the tests, awkward sizes included.
    #[cfg(test)]
    fn samples() -> Vec<tests::Sample>;
}

macro_rules! ops {
    ($(
        $(#[$meta:meta])*
        $name:ident $(($arg:ty))? $({ $($(#[$field_meta:meta])* $field:ident: $field_type:ty),* $(,)? })? = $home:path;
    )*) => {
        /// The samples of all operations.
        #[cfg(test)]
        fn samples() -> Vec<tests::Sample> {
            [$(<$home as Operation>::samples()),*].into_iter().flatten().collect()
        }
        /// An operation with its attributes.
        #[derive(Clone, PartialEq, Debug)]
        pub enum Op {
            $($(#[$meta])* $name $(($arg))? $({ $($(#[$field_meta])* $field: $field_type),* })?,)*
        }
        impl Op {
            /// Its name in printed graphs and messages.
            pub fn name(&self) -> &'static str {
                match self { $(Op::$name { .. } => <$home as Operation>::name(self),)* }
            }
            /// The shape of its result, or what does not fit.
            pub fn shape(&self, operands: &[&Shape]) -> Result<Shape, ShapeError> {
                match self { $(Op::$name { .. } => <$home as Operation>::shape(self, operands),)* }
            }
            /// What its result's numbers mean.
            pub fn dtype(&self, operands: &[DType]) -> DType {
                match self { $(Op::$name { .. } => <$home as Operation>::dtype(self, operands),)* }
            }
            pub(crate) fn kernel(&self, operands: &[&Shape], result: &Shape) -> Kernel {
                match self { $(Op::$name { .. } => <$home as Operation>::kernel(self, operands, result),)* }
            }
            pub(crate) fn vjp(&self, v: &mut Vjp) {
                match self { $(Op::$name { .. } => <$home as Operation>::vjp(v),)* }
            }
        }
    };
}

ops! {
    /// An input of the graph; `Builder::input` gives its shape.
    Input(InputId) = source::Input;
    /// A constant array of the graph; `Builder::constant` gives its shape.
    Constant(ConstantId) = source::Constant;
    /// One number everywhere.
    Full {
        /// The number.
        value: f64,
        /// The shape.
        shape: Shape,
    } = source::Full;
    /// `0, 1, …, n - 1`
    Iota {
        /// The number of elements.
        n: usize,
    } = source::Iota;
    /// Noise from the stream `stream` of the run's key.
    Noise {
        /// Its law.
        kind: NoiseKind,
        /// A number that no other random node of the graph has, unless the two are meant to agree.
        stream: u32,
        /// The shape.
        shape: Shape,
    } = random::Noise;
    /// Draws from a distribution, parameters as operands; no gradient.
    Draw {
        /// The distribution.
        dist: DistId,
        /// As of [`Op::Noise`].
        stream: u32,
        /// Batch and event shape.
        shape: Shape,
    } = random::Draw;
    /// An elementwise map.
    Unary(Unary) = elementwise::UnaryMap;
    /// An elementwise map of two operands, broadcasting.
    Binary(Binary) = elementwise::BinaryMap;
    /// An elementwise map of three operands, broadcasting.
    Ternary(Ternary) = elementwise::TernaryMap;
    /// The identity without a gradient.
    StopGradient = shape::StopGradient;
    /// Ints and booleans as reals: the identity on the tape.
    ToReal = shape::ToReal;
    /// Reals that are known to be whole, as ints: the identity on the tape.
    ToInt = shape::ToInt;
    /// A loop with a carry; its result is flat.
    Scan(Loop) = scan::Scan;
    /// The same elements, row-major, in another shape.
    Reshape {
        /// The shape.
        shape: Shape,
    } = shape::Reshape;
    /// Stretched as NumPy's `broadcast_to`.
    Broadcast {
        /// The shape.
        shape: Shape,
    } = shape::Broadcast;
    /// `y[i_0, …] = x[…]` with dimension `k` of `y` being dimension `perm[k]` of `x`.
    Transpose {
        /// The permutation.
        perm: Vec<usize>,
    } = shape::Transpose;
    /// `len` entries of `axis` from `start`.
    Slice {
        /// The axis.
        axis: usize,
        /// The first entry.
        start: usize,
        /// The number of entries.
        len: usize,
    } = shape::Slice;
    /// Zeros added along `axis`.
    Pad {
        /// The axis.
        axis: usize,
        /// Zeros before.
        before: usize,
        /// Zeros after.
        after: usize,
    } = shape::Pad;
    /// Operands joined along `axis`.
    Concat {
        /// The axis.
        axis: usize,
    } = shape::Concat;
    /// `y[i…, :] = x[index[i…], :]`
    Gather = gather::Gather;
    /// `y[index[i…], :] += values[i…, :]`, from zeros of `rows` rows.
    ScatterAdd {
        /// The number of rows.
        rows: usize,
    } = gather::ScatterAdd;
    /// `y[i…] = x[i…, index[i…]]`
    Pick = gather::Pick;
    /// `y[i…, index[i…]] = values[i…]`, zero elsewhere, `n` long.
    Place {
        /// The size of the new last axis.
        n: usize,
    } = gather::Place;
    /// `axes`, ascending, combined and dropped.
    Reduce {
        /// How they combine.
        kind: Reduction,
        /// The axes.
        axes: Vec<usize>,
    } = reduce::Reduce;
    /// Running sums.
    CumSum {
        /// The axis.
        axis: usize,
        /// From the end.
        reverse: bool,
    } = reduce::CumSum;
    /// The position of the largest element of `axis`, which is dropped; the first one at ties.
    ArgMax {
        /// The axis.
        axis: usize,
    } = reduce::ArgMax;
    /// Positions along the last axis in ascending order of the elements; ties keep their order, NaN comes last.
    ArgSort = reduce::ArgSort;
    /// `y[…, m, n] = sum over k of a[…, m, k] b[…, k, n]`, leading dimensions broadcasting.
    MatMul {
        /// The last two dimensions of `a` are exchanged before.
        ta: bool,
        /// The last two dimensions of `b` are exchanged before.
        tb: bool,
    } = linalg::MatMul;
    /// The lower Cholesky factor of the last two dimensions; reads the lower triangle.
    Cholesky = linalg::Cholesky;
    /// `y` with `op(l) y = b`.
    SolveTriangular {
        /// Which triangle of `l` is read.
        lower: bool,
        /// Whether `op` transposes.
        transposed: bool,
    } = linalg::SolveTriangular;
    /// `y[…, i] = a[…, i, i]`
    Diagonal = linalg::Diagonal;
    /// `y[…, i, i] = x[…, i]`, zero elsewhere.
    Diag = linalg::Diag;
    /// The lower triangle of the last two dimensions, zeros above.
    Tril {
        /// Zeros on the diagonal too.
        strict: bool,
    } = linalg::Tril;
    /// Cross-correlation of `x [N,C,H,W]` with `w [O,C/groups,KH,KW]`.
    Conv2d(ConvAttrs) = conv::Conv2d;
    /// Its adjoint in `x`; operands `dy`, `w`.
    Conv2dInputGrad {
        /// Those of the convolution.
        attrs: ConvAttrs,
        /// The spatial size of `x`.
        input: [usize; 2],
    } = conv::Conv2dInputGrad;
    /// Its adjoint in `w`; operands `x`, `dy`.
    Conv2dWeightGrad {
        /// Those of the convolution.
        attrs: ConvAttrs,
        /// The spatial size of `w`.
        kernel: [usize; 2],
    } = conv::Conv2dWeightGrad;
    /// The largest cell of each window of `x [N,C,H,W]`.
    MaxPool2d(PoolAttrs) = pool::MaxPool2d;
    /// `dy` brought to the (first) largest cell of each window of `x`; operands `x`, `dy`.
    MaxPool2dGrad(PoolAttrs) = pool::MaxPool2dGrad;
    /// `v` at the (first) largest cell of each window of `x`; operands `x`, `v`.
    MaxPool2dTake(PoolAttrs) = pool::MaxPool2dTake;
    /// The mean of each window of `x [N,C,H,W]`.
    AvgPool2d(PoolAttrs) = pool::AvgPool2d;
    /// Its adjoint; operand `dy`.
    AvgPool2dGrad {
        /// Those of the pool.
        attrs: PoolAttrs,
        /// The spatial size of `x`.
        input: [usize; 2],
    } = pool::AvgPool2dGrad;
}

impl Op {
    /// Whether the operation draws random numbers: never merged, hoisted or folded.
    pub fn is_random(&self) -> bool {
        match self {
            Op::Noise { .. } | Op::Draw { .. } => true,
            Op::Scan(Loop(body)) => body.is_random(),
            _ => false,
        }
    }
    /// Whether the result at an element depends on the operands at that element alone, operands broadcasting.
    pub fn is_elementwise(&self) -> bool {
        matches!(self, Op::Unary(_) | Op::Binary(_) | Op::Ternary(_))
    }
}

/// Takes the attributes of the variant that the table ties to the operation.
macro_rules! attributes {
    ($pattern:pat = $op:expr) => {
        let $pattern = $op else { unreachable!("the table of operations ties this rule to its variant") };
    };
}
pub(crate) use attributes;

/// The result of an elementwise map at one element, in double precision.
pub(crate) fn evaluate_at(op: &Op, operands: &[f64]) -> Option<f64> {
    use crate::kernels::elementwise as maps;
    let operand = |i: usize| maps::Operand { data: &operands[i..=i], strides: &[] };
    let mut out = [0.0];
    match *op {
        Op::Unary(map) => maps::unary(map, &operands[..1], &mut out),
        Op::Binary(map) => maps::binary(map, &[], operand(0), operand(1), &mut out),
        Op::Ternary(map) => maps::ternary(map, &[], operand(0), operand(1), operand(2), &mut out),
        _ => return None,
    }
    Some(out[0])
}

/// The result of an operation on arrays, in double precision; not for operations that draw.
pub(crate) fn evaluate(op: &Op, operands: &[&[f64]], shapes: &[&Shape], result: &Shape) -> Vec<f64> {
    let kernel = op.kernel(shapes, result);
    let arena = operands.concat();
    let mut start = 0;
    let ranges: Vec<_> = operands
        .iter()
        .map(|x| {
            start += x.len();
            start - x.len()..start
        })
        .collect();
    let mut out = vec![0.0; result.count()];
    let mut scratch = vec![0.0; kernel.scratch::<f64>()];
    let inputs = kernel::Inputs { low: &arena, high: &[], high_start: arena.len(), ranges: &ranges };
    kernel.run(&inputs, &mut out, &mut scratch, crate::rng::Key::new(0));
    out
}

/// The operands' shapes, of which there are exactly `N`.
fn exactly<'a, const N: usize>(operands: &[&'a Shape]) -> Result<[&'a Shape; N], ShapeError> {
    operands.try_into().map_err(|_| ShapeError::Arity { needed: N, found: operands.len() })
}

/// A generic rule at known sizes, which leave nothing open.
fn decided<T>(rule: impl FnOnce(&mut Pending<usize>) -> T) -> T {
    let mut pending = Pending::default();
    let result = rule(&mut pending);
    debug_assert!(pending.0.is_empty(), "known sizes decide every question");
    result
}
