//! An operation made ready for its shapes: which loops run, with which sizes and strides.
//!
//! In: an operation with the shapes of its operands. Out: a [`Kernel`], made once when a graph is planned, run many times.
//! Running allocates nothing; scratch is passed in.

use super::local_reparam::LocalReparam;
use super::random::DrawKernel;
use super::row_dense::FlipoutProduct;
use super::row_weights::{Role, RowConv};
use super::{NoiseKind, PoolAttrs, Reduction};
use crate::ir::Shape;
use crate::kernels::elementwise::{self, Binary, Operand, Ternary, Unary};
use crate::kernels::finish::Finish;
use crate::kernels::gemm::{Matrix, gemm_batched, gemm_batched_scratch};
use crate::kernels::linalg::{Triangle, cholesky, triangular_solve};
use crate::kernels::pool::{self, Pool2dShape};
use crate::kernels::reduce::{self, Extreme};
use crate::kernels::{Scalar, conv, gather};
use crate::rng::{self, Key};
use std::ops::Range;

/// Loops with all sizes known.
pub(crate) enum Kernel {
    /// One number everywhere.
    Fill(f64),
    /// Counting from 0.
    Iota,
    /// Noise of a stream.
    Noise(NoiseKind, u32),
    /// Draws from a distribution.
    Draw(DrawKernel),
    /// `out = x[offset + strides]` over positions of `dims`.
    Copy {
        /// The shape of the result.
        dims: Vec<usize>,
        /// The first element.
        offset: usize,
        /// Steps in the operand.
        strides: Vec<usize>,
    },
    /// Zeros, then `out[offset + strides] = x` over positions of `dims`.
    Place {
        /// The shape of the operand.
        dims: Vec<usize>,
        /// The first element.
        offset: usize,
        /// Steps in the result.
        strides: Vec<usize>,
    },
    /// Parts side by side.
    Concat {
        /// Positions before the axis.
        outer: usize,
        /// The parts' sizes along the axis.
        parts: Vec<usize>,
        /// Positions after the axis.
        inner: usize,
    },
    /// Rows by index.
    Gather {
        /// Elements of a row.
        width: usize,
    },
    /// Rows added by index.
    ScatterAdd {
        /// Elements of a row.
        width: usize,
    },
    /// One element of each row.
    Pick {
        /// Elements of a row.
        width: usize,
    },
    /// One element into each row.
    PlaceAt {
        /// Elements of a row.
        width: usize,
    },
    /// Reductions `[outer, axis, inner]`, one after the other.
    Reduce {
        /// How elements combine.
        kind: reduce::Reduce,
        /// From the innermost axes to the outermost.
        stages: Vec<[usize; 3]>,
    },
    /// Running sums.
    CumSum {
        /// `[outer, axis, inner]`
        sizes: [usize; 3],
        /// From the end.
        reverse: bool,
    },
    /// Positions of the largest elements.
    ArgMax {
        /// `[outer, axis, inner]`
        sizes: [usize; 3],
    },
    /// Positions in ascending order along rows of `width`.
    ArgSort {
        /// The length of a row.
        width: usize,
    },
    /// Matrix products.
    MatMul(MatMulKernel),
    /// Cholesky factors of n x n matrices.
    Cholesky(usize),
    /// Triangular systems.
    Solve(SolveKernel),
    /// Matrices with one triangle kept.
    Tril {
        /// Rows and columns.
        size: [usize; 2],
        /// Without the diagonal.
        strict: bool,
    },
    /// A convolution, and what it ends with.
    Conv2d(Box<conv::Conv2d>, Ending),
    /// Its input gradient.
    Conv2dInputGrad(Box<conv::Conv2d>),
    /// Its weight gradient.
    Conv2dWeightGrad(Box<conv::Conv2d>),
    /// A convolution with weights for every image, or an adjoint.
    RowConv(RowConv, Role),
    /// Flipout in a dense layer, or an adjoint.
    FlipoutDense(FlipoutProduct),
    /// Draws of a layer's outputs.
    LocalReparam(LocalReparam),
    /// The largest cells of windows, and what it ends with.
    MaxPool2d(Pool2dShape, Ending),
    /// Cotangents to the largest cells.
    MaxPool2dGrad(Pool2dShape),
    /// Elements where the largest cells are.
    MaxPool2dTake(Pool2dShape),
    /// Means of windows, and whether padding counts.
    AvgPool2d(Pool2dShape, bool),
    /// Cotangents spread over windows.
    AvgPool2dGrad(Pool2dShape, bool),
    /// A map.
    Unary(Unary),
    /// A map.
    Binary(Binary, Vec<usize>, [Vec<usize>; 2]),
    /// A map.
    Ternary(Ternary, Vec<usize>, [Vec<usize>; 3]),
}

/// The operands of a step: ranges of an arena out of which the result has been cut.
pub(crate) struct Inputs<'a, F> {
    /// The arena before the result.
    pub low: &'a [F],
    /// The arena after the result.
    pub high: &'a [F],
    /// Where `high` starts.
    pub high_start: usize,
    /// Where the operands lie; none overlaps the result.
    pub ranges: &'a [Range<usize>],
}

impl<'a, F> Inputs<'a, F> {
    /// The elements of operand `i`.
    #[inline]
    pub fn get(&self, i: usize) -> &'a [F] {
        let range = &self.ranges[i];
        if range.end <= self.low.len() {
            &self.low[range.clone()]
        } else {
            &self.high[range.start - self.high_start..range.end - self.high_start]
        }
    }
}

/// What a kernel does with its results where it writes them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ending {
    /// Adds a number for each channel, which is its last operand.
    pub bias: bool,
    /// Makes zeros of numbers below zero.
    pub relu: bool,
}

impl Ending {
    /// The same with the operands of a step; the bias would be operand `at`.
    fn finish<'a, F: Scalar>(self, x: &Inputs<'a, F>, at: usize) -> Finish<'a, F> {
        Finish { bias: self.bias.then(|| x.get(at)), relu: self.relu }
    }
}

/// Batched products of matrices, leading dimensions broadcasting.
pub(crate) struct MatMulKernel {
    m: usize,
    n: usize,
    k: usize,
    a_strides: [usize; 2],
    b_strides: [usize; 2],
    /// Products that one call makes, and the steps of the operands between them.
    batch: usize,
    steps: [usize; 2],
    /// Where the operands of each call start.
    starts: Vec<[usize; 2]>,
}

impl MatMulKernel {
    pub(crate) fn new(a: &Shape, ta: bool, b: &Shape, tb: bool) -> Self {
        let matrix = |s: &Shape, t: bool| {
            let (rows, columns) = (s[s.rank() - 2], s[s.rank() - 1]);
            if t { ([columns, rows], [1, columns]) } else { ([rows, columns], [columns, 1]) }
        };
        let ([m, k], a_strides) = matrix(a, ta);
        let ([_, n], b_strides) = matrix(b, tb);
        let (lead_a, lead_b) = (a.drop_last(2), b.drop_last(2));
        let lead = lead_a.broadcast(&lead_b).expect("the shape rule has checked the batch");
        let (mut stride_a, mut stride_b) = (vec![0; lead.rank()], vec![0; lead.rank()]);
        elementwise::broadcast_strides(&lead_a, &lead, &mut stride_a);
        elementwise::broadcast_strides(&lead_b, &lead, &mut stride_b);
        // The innermost dimensions along which both operands move evenly are one batch.
        let (mut batch, mut steps, mut outer) = (1, [0, 0], lead.rank());
        while outer > 0 {
            let next = [stride_a[outer - 1], stride_b[outer - 1]];
            if lead[outer - 1] != 1 && batch != 1 && next != [steps[0] * batch, steps[1] * batch] {
                break;
            }
            outer -= 1;
            if lead[outer] != 1 {
                if batch == 1 {
                    steps = next;
                }
                batch *= lead[outer];
            }
        }
        let (a_len, b_len) = (m * k, k * n);
        let mut starts = vec![[0, 0]];
        for axis in 0..outer {
            starts = starts
                .iter()
                .flat_map(|&[x, y]| {
                    let (sa, sb) = (stride_a[axis] * a_len, stride_b[axis] * b_len);
                    (0..lead[axis]).map(move |i| [x + i * sa, y + i * sb])
                })
                .collect();
        }
        Self { m, n, k, a_strides, b_strides, batch, steps: [steps[0] * a_len, steps[1] * b_len], starts }
    }

    fn run<F: Scalar>(&self, a: &[F], b: &[F], out: &mut [F], scratch: &mut [F]) {
        let each = self.batch * self.m * self.n;
        if each == 0 {
            return;
        }
        for (&[at_a, at_b], out) in self.starts.iter().zip(out.chunks_exact_mut(each)) {
            let a = Matrix { data: &a[at_a..], row_stride: self.a_strides[0], col_stride: self.a_strides[1] };
            let b = Matrix { data: &b[at_b..], row_stride: self.b_strides[0], col_stride: self.b_strides[1] };
            let [step_a, step_b] = self.steps;
            let (m, n, k) = (self.m, self.n, self.k);
            gemm_batched(self.batch, m, n, k, a, step_a, b, step_b, out, scratch);
        }
    }
}

/// Triangular systems, leading dimensions broadcasting.
pub(crate) struct SolveKernel {
    triangle: Triangle,
    transposed: bool,
    n: usize,
    rhs: usize,
    /// The result's shape and the right side's strides in it.
    dims: Vec<usize>,
    strides: Vec<usize>,
    /// Which matrix each call uses; one call for the whole batch when there is one matrix or one for each.
    matrices: Option<Vec<usize>>,
}

impl SolveKernel {
    pub(crate) fn new(l: &Shape, b: &Shape, result: &Shape, lower: bool, transposed: bool) -> Self {
        let (n, rhs) = (b[b.rank() - 2], b[b.rank() - 1]);
        let lead = result.drop_last(2);
        let batch = lead.count();
        let matrices = l.drop_last(2).count();
        let mut strides = vec![0; result.rank()];
        elementwise::broadcast_strides(b, result, &mut strides);
        let matrices = (matrices != 1 && matrices != batch).then(|| {
            let mut stride = vec![0; lead.rank()];
            elementwise::broadcast_strides(&l.drop_last(2), &lead, &mut stride);
            let position = |mut i: usize| {
                (0..lead.rank()).rev().fold(0, |at, axis| {
                    let index = i % lead[axis];
                    i /= lead[axis];
                    at + index * stride[axis]
                })
            };
            (0..batch).map(position).collect()
        });
        let triangle = if lower { Triangle::Lower } else { Triangle::Upper };
        Self { triangle, transposed, n, rhs, dims: result.to_vec(), strides, matrices }
    }

    fn run<F: Scalar>(&self, l: &[F], b: &[F], out: &mut [F]) {
        gather::copy_strided(&self.dims, b, 0, &self.strides, out);
        let (n, rhs) = (self.n, self.rhs);
        match &self.matrices {
            None => triangular_solve(self.triangle, self.transposed, n, rhs, l, out),
            Some(matrices) => {
                for (&matrix, out) in matrices.iter().zip(out.chunks_exact_mut((n * rhs).max(1))) {
                    let l = &l[matrix * n * n..(matrix + 1) * n * n];
                    triangular_solve(self.triangle, self.transposed, n, rhs, l, out);
                }
            }
        }
    }
}

/// Row-major strides of `shape`.
pub(crate) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// `[outer, axis, inner]` of one axis.
pub(crate) fn around(shape: &[usize], axis: usize) -> [usize; 3] {
    [shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product()]
}

/// The shape of a pool over `x [N,C,H,W]`.
pub(crate) fn pool_shape(x: &Shape, attrs: &PoolAttrs) -> Pool2dShape {
    Pool2dShape {
        planes: x[0] * x[1],
        input: [x[2], x[3]],
        window: attrs.window,
        stride: attrs.stride,
        padding: attrs.pad,
        dilation: [1, 1],
    }
}

impl Kernel {
    /// The same, convolutions by `method`.
    pub(crate) fn with_convolution(self, method: conv::Method) -> Self {
        let with = |c: Box<conv::Conv2d>| Box::new(c.with_method(method));
        match self {
            Kernel::Conv2d(c, ending) => Kernel::Conv2d(with(c), ending),
            Kernel::Conv2dInputGrad(c) => Kernel::Conv2dInputGrad(with(c)),
            Kernel::Conv2dWeightGrad(c) => Kernel::Conv2dWeightGrad(with(c)),
            Kernel::RowConv(c, role) => Kernel::RowConv(c.with_method(method), role),
            Kernel::LocalReparam(layer) => Kernel::LocalReparam(layer.with_method(method)),
            other => other,
        }
    }
    /// The same kernel with another ending; only of those that have one.
    pub(crate) fn with_ending(self, ending: Ending) -> Self {
        match self {
            Kernel::Conv2d(c, _) => Kernel::Conv2d(c, ending),
            Kernel::MaxPool2d(shape, _) => Kernel::MaxPool2d(shape, ending),
            _ => unreachable!("a kernel without an ending"),
        }
    }
    /// What the kernel ends with, in words for a plan; empty for nothing.
    pub(crate) fn ending(&self) -> &'static str {
        let (Kernel::Conv2d(_, ending) | Kernel::MaxPool2d(_, ending)) = self else { return "" };
        match (ending.bias, ending.relu) {
            (false, false) => "",
            (true, false) => " + bias",
            (false, true) => " + relu",
            (true, true) => " + bias + relu",
        }
    }
    /// The kernel that copies its operand.
    pub fn identity(shape: &Shape) -> Self {
        Kernel::Copy { dims: vec![shape.count()], offset: 0, strides: vec![1] }
    }
    /// A reduction over `axes` of `shape`: neighbouring axes at once, the innermost first.
    pub fn reduce(kind: Reduction, shape: &Shape, axes: &[usize]) -> Self {
        let kind = match kind {
            Reduction::Sum => reduce::Reduce::Sum,
            Reduction::Prod => reduce::Reduce::Prod,
            Reduction::Max => reduce::Reduce::Max,
            Reduction::Min => reduce::Reduce::Min,
            Reduction::LogSumExp => reduce::Reduce::LogSumExp,
        };
        let mut stages = Vec::new();
        let mut inner = 1;
        let mut end = shape.rank();
        while let Some(last) = (0..end).rev().find(|a| axes.contains(a)) {
            let first = (0..last).rev().take_while(|a| axes.contains(a)).last().unwrap_or(last);
            inner *= shape[last + 1..end].iter().product::<usize>();
            stages.push([shape[..first].iter().product(), shape[first..=last].iter().product(), inner]);
            end = first;
        }
        if stages.is_empty() {
            stages.push([shape.count(), 1, 1]);
        }
        Kernel::Reduce { kind, stages }
    }
    /// A map whose operands broadcast to `result`.
    pub fn binary(map: Binary, operands: &[&Shape], result: &Shape) -> Self {
        Kernel::Binary(map, result.to_vec(), std::array::from_fn(|i| strides(operands[i], result)))
    }
    /// A map whose operands broadcast to `result`.
    pub fn ternary(map: Ternary, operands: &[&Shape], result: &Shape) -> Self {
        Kernel::Ternary(map, result.to_vec(), std::array::from_fn(|i| strides(operands[i], result)))
    }

    /// The elements of scratch that [`Kernel::run`] needs, for the number of threads in use now.
    pub fn scratch<F: Scalar>(&self) -> usize {
        match self {
            Kernel::MatMul(p) => gemm_batched_scratch::<F>(p.batch, p.m, p.n, p.k),
            Kernel::Conv2d(c, _) => c.forward_scratch::<F>(),
            Kernel::Conv2dInputGrad(c) => c.input_grad_scratch::<F>(),
            Kernel::Conv2dWeightGrad(c) => c.weight_grad_scratch::<F>(),
            Kernel::RowConv(c, role) => c.scratch::<F>(*role),
            Kernel::FlipoutDense(product) => product.scratch::<F>(),
            Kernel::LocalReparam(layer) => layer.scratch::<F>(),
            // Two buffers in turn for what lies between the stages.
            Kernel::Reduce { stages, .. } if stages.len() > 1 => 2 * stages[0][0] * stages[0][2],
            _ => 0,
        }
    }

    /// Computes `out` from the operands.
    pub fn run<F: Scalar>(&self, x: &Inputs<F>, out: &mut [F], scratch: &mut [F], key: Key) {
        match self {
            Kernel::Fill(value) => out.fill(F::from_f64(*value)),
            Kernel::Iota => out.iter_mut().enumerate().for_each(|(i, out)| *out = F::from_usize(i)),
            Kernel::Noise(kind, stream) => {
                let key = key.fold_in(u64::from(*stream));
                match kind {
                    NoiseKind::Normal => rng::fill_normal(key, 0, out),
                    NoiseKind::Uniform => rng::fill_uniform(key, 0, out),
                    NoiseKind::Sign => rng::fill_sign(key, 0, out),
                }
            }
            Kernel::Draw(draw) => draw.run(x, out, key),
            Kernel::Copy { dims, offset, strides } => gather::copy_strided(dims, x.get(0), *offset, strides, out),
            Kernel::Place { dims, offset, strides } => {
                out.fill(F::ZERO);
                gather::write_strided(dims, x.get(0), out, *offset, strides);
            }
            Kernel::Concat { outer, parts, inner } => {
                let total = parts.iter().sum();
                let mut at = 0;
                for (i, &axis) in parts.iter().enumerate() {
                    gather::concat_part(*outer, axis, *inner, total, at, x.get(i), out);
                    at += axis;
                }
            }
            Kernel::Gather { width } => gather::gather_rows(*width, x.get(0), x.get(1), out),
            Kernel::ScatterAdd { width } => {
                out.fill(F::ZERO);
                gather::scatter_add_rows(*width, x.get(0), x.get(1), out);
            }
            Kernel::Pick { width } => gather::pick(*width, x.get(0), x.get(1), out),
            Kernel::PlaceAt { width } => gather::pick_grad(*width, x.get(0), x.get(1), out),
            Kernel::Reduce { kind, stages } => reduce_stages(*kind, stages, x.get(0), out, scratch),
            Kernel::CumSum { sizes: [outer, axis, inner], reverse } => {
                reduce::cumsum(*outer, *axis, *inner, *reverse, x.get(0), out);
            }
            Kernel::ArgMax { sizes: [outer, axis, inner] } => {
                reduce::arg_extreme(Extreme::Max, *outer, *axis, *inner, x.get(0), out);
            }
            Kernel::ArgSort { width } => crate::kernels::sort::argsort(*width, x.get(0), out),
            Kernel::MatMul(product) => product.run(x.get(0), x.get(1), out, scratch),
            Kernel::Cholesky(n) => {
                out.copy_from_slice(x.get(0));
                // A matrix that is not positive definite becomes NaN, which the diagnosis of a run finds.
                let _ = cholesky(*n, out);
            }
            Kernel::Solve(solve) => solve.run(x.get(0), x.get(1), out),
            Kernel::Tril { size: [rows, columns], strict } => {
                let zeros = usize::from(!*strict);
                for (x, out) in
                    x.get(0).chunks_exact(*columns.max(&1)).zip(out.chunks_exact_mut(*columns.max(&1))).enumerate().map(
                        |(i, (x, out))| {
                            let keep = (i % rows + zeros).min(*columns);
                            out[keep..].fill(F::ZERO);
                            (&x[..keep], &mut out[..keep])
                        },
                    )
                {
                    out.copy_from_slice(x);
                }
            }
            Kernel::Conv2d(c, ending) => c.forward(x.get(0), x.get(1), ending.finish(x, 2), out, scratch),
            Kernel::Conv2dInputGrad(c) => c.input_grad(x.get(0), x.get(1), out, scratch),
            Kernel::Conv2dWeightGrad(c) => c.weight_grad(x.get(0), x.get(1), out, scratch),
            Kernel::RowConv(c, role) => c.run(*role, x, out, scratch, key),
            Kernel::FlipoutDense(product) => product.run(x, out, scratch, key),
            Kernel::LocalReparam(layer) => layer.run(x, out, scratch, key),
            Kernel::MaxPool2d(shape, ending) => pool::max_pool2d(shape, x.get(0), ending.finish(x, 1), out),
            Kernel::MaxPool2dGrad(shape) => pool::max_pool2d_grad(shape, x.get(0), x.get(1), out),
            Kernel::MaxPool2dTake(shape) => pool::max_pool2d_take(shape, x.get(0), x.get(1), out),
            Kernel::AvgPool2d(shape, count_pad) => pool::avg_pool2d(shape, *count_pad, x.get(0), out),
            Kernel::AvgPool2dGrad(shape, count_pad) => pool::avg_pool2d_grad(shape, *count_pad, x.get(0), out),
            Kernel::Unary(map) => elementwise::unary(*map, x.get(0), out),
            Kernel::Binary(map, dims, strides) => {
                let operand = |i: usize| Operand { data: x.get(i), strides: &strides[i] };
                elementwise::binary(*map, dims, operand(0), operand(1), out);
            }
            Kernel::Ternary(map, dims, strides) => {
                let operand = |i: usize| Operand { data: x.get(i), strides: &strides[i] };
                elementwise::ternary(*map, dims, operand(0), operand(1), operand(2), out);
            }
        }
    }
}

fn strides(shape: &Shape, result: &Shape) -> Vec<usize> {
    let mut strides = vec![0; result.rank()];
    elementwise::broadcast_strides(shape, result, &mut strides);
    strides
}

fn reduce_stages<F: Scalar>(kind: reduce::Reduce, stages: &[[usize; 3]], x: &[F], out: &mut [F], scratch: &mut [F]) {
    let (&[outer, axis, inner], rest) = stages.split_first().expect("a reduction has a stage");
    if rest.is_empty() {
        return reduce::reduce(kind, outer, axis, inner, x, out);
    }
    let (mut from, mut to) = scratch.split_at_mut(outer * inner);
    reduce::reduce(kind, outer, axis, inner, x, from);
    let mut len = outer * inner;
    for (i, &[outer, axis, inner]) in rest.iter().enumerate() {
        if i + 1 == rest.len() {
            return reduce::reduce(kind, outer, axis, inner, &from[..len], out);
        }
        reduce::reduce(kind, outer, axis, inner, &from[..len], &mut to[..outer * inner]);
        len = outer * inner;
        std::mem::swap(&mut from, &mut to);
    }
}
