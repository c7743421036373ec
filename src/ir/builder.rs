//! Appends nodes to a graph: one method per operation, shapes inferred by the operation's own rule.
//!
//! Elementwise methods broadcast their operands as NumPy does (the language's stricter rule is checked before).
//! Everything that makes graph nodes uses this: lowering, distributions, guides, vector-Jacobian products.
//! A shape that does not fit is a defect of the compiler here, never of a program, so methods panic on it.

use super::graph::{Constant, DType, Graph, Input, InputKind, Node, Shape, ValueId};
use crate::kernels::elementwise::{Binary, Ternary, Unary};
use crate::ops::{ConvAttrs, Loop, LoopBody, NoiseKind, Op, PoolAttrs, Reduction, rules};
use crate::source::Span;

/// A graph under construction.
#[derive(Debug, Default)]
pub struct Builder {
    graph: Graph,
    origin: Option<Span>,
    next_stream: u32,
    mirror: Option<ValueId>,
}

macro_rules! unary_methods {
    ($($(#[$meta:meta])* $method:ident = $op:ident;)*) => {
        impl Builder {
            $($(#[$meta])* pub fn $method(&mut self, x: ValueId) -> ValueId { self.push(Op::Unary(Unary::$op), &[x]) })*
        }
    };
}
macro_rules! binary_methods {
    ($($(#[$meta:meta])* $method:ident = $op:ident;)*) => {
        impl Builder {
            $($(#[$meta])* pub fn $method(&mut self, a: ValueId, b: ValueId) -> ValueId {
                self.push(Op::Binary(Binary::$op), &[a, b])
            })*
        }
    };
}

impl Builder {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }
    /// Goes on with `graph`.
    pub fn from_graph(graph: Graph) -> Self {
        let stream = |op: &Op| match op {
            Op::Scan(Loop(body)) => body.stream + 1,
            op => op.stream().map_or(0, |stream| stream + 1),
        };
        let next_stream = graph.nodes.iter().map(|n| stream(&n.op)).max().unwrap_or(0);
        Self { graph, origin: None, next_stream, mirror: None }
    }
    /// The graph so far.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
    /// The finished graph.
    pub fn finish(self) -> Graph {
        self.graph
    }
    /// Sets the source place that the following nodes come from; returns the one before.
    pub fn set_origin(&mut self, origin: Option<Span>) -> Option<Span> {
        std::mem::replace(&mut self.origin, origin)
    }
    /// The shape of `value`.
    pub fn shape(&self, value: ValueId) -> Shape {
        self.graph.nodes[value].shape.clone()
    }
    /// The rank of `value`.
    pub fn rank(&self, value: ValueId) -> usize {
        self.graph.nodes[value].shape.rank()
    }
    /// What the numbers of `value` mean.
    pub fn dtype(&self, value: ValueId) -> DType {
        self.graph.nodes[value].dtype
    }
    /// The number that `value` is everywhere, if the graph says so.
    pub fn as_full(&self, value: ValueId) -> Option<f64> {
        match self.graph.nodes[value].op {
            Op::Full { value, .. } => Some(value),
            _ => None,
        }
    }
    /// Names `value` as a result of the graph.
    pub fn output(&mut self, name: impl Into<String>, value: ValueId) {
        self.graph.outputs.push((name.into(), value));
    }

    /// Appends a node; its shape and dtype come from the operation's definition.
    pub fn push(&mut self, op: Op, operands: &[ValueId]) -> ValueId {
        let shapes: Vec<&Shape> = operands.iter().map(|&o| &self.graph.nodes[o].shape).collect();
        let dtypes: Vec<DType> = operands.iter().map(|&o| self.graph.nodes[o].dtype).collect();
        let shape = match op.shape(&shapes) {
            Ok(shape) => shape,
            Err(error) => panic!("bayesc defect: {} on {shapes:?}: {error}", op.name()),
        };
        let dtype = op.dtype(&dtypes);
        self.push_node(Node { op, operands: operands.to_vec(), shape, dtype })
    }
    /// Appends `node` as it is: its shape and dtype are those of the graph that it comes from.
    pub(crate) fn push_node(&mut self, node: Node) -> ValueId {
        self.graph.origins.push(self.origin);
        self.graph.nodes.push(node)
    }

    // --- sources -----------------------------------------------------------------------------------------------

    /// An input that is given at every run.
    pub fn input(&mut self, name: impl Into<String>, shape: Shape, dtype: DType, kind: InputKind) -> ValueId {
        let id = self.graph.inputs.push(Input { name: name.into(), shape: shape.clone(), kind });
        self.push_node(Node { op: Op::Input(id), operands: Vec::new(), shape, dtype })
    }
    /// A scalar constant.
    pub fn scalar(&mut self, value: f64) -> ValueId {
        self.full(value, Shape::scalar())
    }
    /// An array filled with `value`.
    pub fn full(&mut self, value: f64, shape: Shape) -> ValueId {
        self.push(Op::Full { value, shape }, &[])
    }
    /// A constant array, row-major.
    pub fn constant(&mut self, data: Vec<f64>, shape: Shape, dtype: DType) -> ValueId {
        assert_eq!(data.len(), shape.count(), "constant data must fill its shape");
        let id = self.graph.constants.push(Constant { shape: shape.clone(), data: data.into() });
        self.push_node(Node { op: Op::Constant(id), operands: Vec::new(), shape, dtype })
    }
    /// `0, 1, …, n - 1` as ints.
    pub fn iota(&mut self, n: usize) -> ValueId {
        self.push(Op::Iota { n }, &[])
    }
    /// Independent noise, drawn anew at every run from a stream of its own; see [`Self::set_mirror`].
    pub fn noise(&mut self, kind: NoiseKind, shape: Shape) -> ValueId {
        let stream = self.fresh_stream();
        let noise = self.push(Op::Noise { kind, stream, shape }, &[]);
        let Some(sign) = self.mirror else { return noise };
        match kind {
            NoiseKind::Normal | NoiseKind::Sign => self.mul(noise, sign),
            NoiseKind::Uniform => {
                let centred = self.add_scalar(noise, -0.5);
                let signed = self.mul(centred, sign);
                self.add_scalar(signed, 0.5)
            }
        }
    }
    /// From now on noise is multiplied by `sign` about its centre: with 1 it is as it was, with -1 its mirror image.
    pub fn set_mirror(&mut self, sign: Option<ValueId>) {
        self.mirror = sign;
    }
    /// A number that no other random node of this graph has.
    pub fn fresh_stream(&mut self) -> u32 {
        self.next_stream += 1;
        self.next_stream - 1
    }
    /// Draws from a distribution without a gradient; `params` broadcast against the batch part of `shape`.
    pub fn draw(&mut self, dist: crate::dist::DistId, params: &[ValueId], shape: Shape) -> ValueId {
        let stream = self.fresh_stream();
        self.push(Op::Draw { dist, stream, shape }, params)
    }

    // --- arithmetic with numbers -------------------------------------------------------------------------------

    /// `x + c`
    pub fn add_scalar(&mut self, x: ValueId, c: f64) -> ValueId {
        let c = self.scalar(c);
        self.add(x, c)
    }
    /// `x * c`
    pub fn mul_scalar(&mut self, x: ValueId, c: f64) -> ValueId {
        let c = self.scalar(c);
        self.mul(x, c)
    }
    /// `c - x`
    pub fn scalar_sub(&mut self, c: f64, x: ValueId) -> ValueId {
        let c = self.scalar(c);
        self.sub(c, x)
    }
    /// `c / x`
    pub fn scalar_div(&mut self, c: f64, x: ValueId) -> ValueId {
        let c = self.scalar(c);
        self.div(c, x)
    }
    /// `x ^ c`
    pub fn pow_scalar(&mut self, x: ValueId, c: f64) -> ValueId {
        let c = self.scalar(c);
        self.pow(x, c)
    }
    /// `x < c` and so on: a boolean from comparing with a number.
    pub fn compare_scalar(&mut self, op: Binary, x: ValueId, c: f64) -> ValueId {
        let c = self.scalar(c);
        self.push(Op::Binary(op), &[x, c])
    }
    /// The sum of all `terms`; a scalar 0 when there is none.
    pub fn add_all(&mut self, terms: &[ValueId]) -> ValueId {
        match terms.split_first() {
            None => self.scalar(0.0),
            Some((&first, rest)) => rest.iter().fold(first, |acc, &t| self.add(acc, t)),
        }
    }
    /// `c ? a : b`, elementwise with broadcasting; the branch that is not taken never reaches the gradient.
    pub fn select(&mut self, c: ValueId, a: ValueId, b: ValueId) -> ValueId {
        self.push(Op::Ternary(Ternary::Select), &[c, a, b])
    }
    /// The same value, with no gradient through it.
    pub fn stop_gradient(&mut self, x: ValueId) -> ValueId {
        self.push(Op::StopGradient, &[x])
    }
    /// Ints and booleans read as reals.
    pub fn to_real(&mut self, x: ValueId) -> ValueId {
        if self.dtype(x) == DType::Real { x } else { self.push(Op::ToReal, &[x]) }
    }

    /// Reals that are known to be whole, or booleans, read as ints.
    pub fn to_int(&mut self, x: ValueId) -> ValueId {
        if self.dtype(x) == DType::Int { x } else { self.push(Op::ToInt, &[x]) }
    }

    // --- loops -------------------------------------------------------------------------------------------------

    /// Runs `body` for every iteration. `operands`: its elements (each with a leading dimension of `body.len`), captures
    /// and carries at the start, in the order of the body's inputs. Gives the results of all iterations, each with a
    /// leading dimension of `body.len`, without the kept carries; and the carries after the last iteration.
    pub fn scan(&mut self, body: LoopBody, operands: &[ValueId]) -> (Vec<ValueId>, Vec<ValueId>) {
        let body = std::sync::Arc::new(body);
        let flat = self.push(Op::Scan(Loop(body.clone())), operands);
        let typed = |g: &mut Self, v: ValueId, dtype: DType| match dtype {
            DType::Real => v,
            _ => g.to_int(v),
        };
        let outputs: Vec<ValueId> = body.graph.outputs.iter().map(|&(_, v)| v).collect();
        let results: Vec<Shape> = body.results().cloned().collect();
        let results = (0..results.len() - body.kept)
            .map(|i| {
                let part = self.slice(flat, 0, body.result_offset(i), body.len * results[i].count());
                let part = self.reshape(part, Shape::from([body.len]).concat(&results[i]));
                typed(self, part, body.graph.nodes[outputs[body.carries + i]].dtype)
            })
            .collect();
        let carries: Vec<Shape> = body.carry_shapes().cloned().collect();
        let carries = (0..body.carries)
            .map(|i| {
                let part = self.slice(flat, 0, body.carry_offset(i), carries[i].count());
                let part = self.reshape(part, carries[i].clone());
                typed(self, part, body.graph.nodes[outputs[i]].dtype)
            })
            .collect();
        (results, carries)
    }

    // --- shape -------------------------------------------------------------------------------------------------

    /// The same elements in another shape.
    pub fn reshape(&mut self, x: ValueId, shape: impl Into<Shape>) -> ValueId {
        let shape = shape.into();
        if self.shape(x) == shape { x } else { self.push(Op::Reshape { shape }, &[x]) }
    }
    /// Stretched to `shape` as NumPy's `broadcast_to`.
    pub fn broadcast_to(&mut self, x: ValueId, shape: impl Into<Shape>) -> ValueId {
        let shape = shape.into();
        if self.shape(x) == shape { x } else { self.push(Op::Broadcast { shape }, &[x]) }
    }
    /// Summed down to `shape`, the adjoint of [`Builder::broadcast_to`].
    pub fn sum_to(&mut self, x: ValueId, shape: &Shape) -> ValueId {
        let from = self.shape(x);
        if from == *shape {
            return x;
        }
        let lead = from.rank() - shape.rank();
        let axes: Vec<usize> =
            (0..from.rank()).filter(|&i| i < lead || (shape[i - lead] == 1 && from[i] != 1)).collect();
        let summed = if axes.is_empty() { x } else { self.reduce(Reduction::Sum, x, &axes) };
        self.reshape(summed, shape.clone())
    }
    /// Dimension `i` of the result is dimension `perm[i]` of `x`.
    pub fn transpose(&mut self, x: ValueId, perm: &[usize]) -> ValueId {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return x;
        }
        self.push(Op::Transpose { perm: perm.to_vec() }, &[x])
    }
    /// The last two dimensions exchanged.
    pub fn matrix_transpose(&mut self, x: ValueId) -> ValueId {
        let rank = self.rank(x);
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(rank - 1, rank - 2);
        self.transpose(x, &perm)
    }
    /// `len` entries of `axis` from `start`.
    pub fn slice(&mut self, x: ValueId, axis: usize, start: usize, len: usize) -> ValueId {
        if start == 0 && self.shape(x)[axis] == len {
            return x;
        }
        self.push(Op::Slice { axis, start, len }, &[x])
    }
    /// Entry `index` of `axis`, which disappears.
    pub fn index_axis(&mut self, x: ValueId, axis: usize, index: usize) -> ValueId {
        let one = self.slice(x, axis, index, 1);
        let mut shape = self.shape(one).to_vec();
        shape.remove(axis);
        self.reshape(one, shape)
    }
    /// Zeros added before and after along `axis`.
    pub fn pad(&mut self, x: ValueId, axis: usize, before: usize, after: usize) -> ValueId {
        if before == 0 && after == 0 {
            return x;
        }
        self.push(Op::Pad { axis, before, after }, &[x])
    }
    /// Joined along `axis`.
    pub fn concat(&mut self, parts: &[ValueId], axis: usize) -> ValueId {
        if let [only] = parts {
            return *only;
        }
        self.push(Op::Concat { axis }, parts)
    }
    /// A new dimension of size 1 at `axis`.
    pub fn expand_dim(&mut self, x: ValueId, axis: usize) -> ValueId {
        let mut shape = self.shape(x).to_vec();
        shape.insert(axis, 1);
        self.reshape(x, shape)
    }
    /// Rows of `x` by int `index`: shape `index.shape + x.shape[1..]`.
    pub fn gather(&mut self, x: ValueId, index: ValueId) -> ValueId {
        self.push(Op::Gather, &[x, index])
    }
    /// Zeros of `rows` rows, with row `i` of `values` added at `index[i]`; the adjoint of [`Builder::gather`].
    pub fn scatter_add(&mut self, values: ValueId, index: ValueId, rows: usize) -> ValueId {
        self.push(Op::ScatterAdd { rows }, &[values, index])
    }
    /// `x[…, index[…]]`: one element of the last axis for each leading position; `index` has the leading shape.
    pub fn pick(&mut self, x: ValueId, index: ValueId) -> ValueId {
        self.push(Op::Pick, &[x, index])
    }
    /// Zeros of shape `index.shape + [n]` with `values` at `index`; the adjoint of [`Builder::pick`].
    pub fn place(&mut self, values: ValueId, index: ValueId, n: usize) -> ValueId {
        self.push(Op::Place { n }, &[values, index])
    }

    // --- reductions --------------------------------------------------------------------------------------------

    /// Reduces over `axes` (ascending), which disappear.
    pub fn reduce(&mut self, kind: Reduction, x: ValueId, axes: &[usize]) -> ValueId {
        if axes.is_empty() {
            return x;
        }
        self.push(Op::Reduce { kind, axes: axes.to_vec() }, &[x])
    }
    /// The sum over `axes`.
    pub fn sum(&mut self, x: ValueId, axes: &[usize]) -> ValueId {
        self.reduce(Reduction::Sum, x, axes)
    }
    /// The sum of all elements.
    pub fn sum_all(&mut self, x: ValueId) -> ValueId {
        let axes: Vec<usize> = (0..self.rank(x)).collect();
        self.sum(x, &axes)
    }
    /// The sum over the last `n` dimensions.
    pub fn sum_last(&mut self, x: ValueId, n: usize) -> ValueId {
        let rank = self.rank(x);
        let axes: Vec<usize> = (rank - n..rank).collect();
        self.sum(x, &axes)
    }
    /// `ln sum exp` over `axes`.
    pub fn logsumexp(&mut self, x: ValueId, axes: &[usize]) -> ValueId {
        self.reduce(Reduction::LogSumExp, x, axes)
    }
    /// Running sums along `axis`; from the end when `reverse`.
    pub fn cumsum(&mut self, x: ValueId, axis: usize, reverse: bool) -> ValueId {
        self.push(Op::CumSum { axis, reverse }, &[x])
    }
    /// The position of the largest element along `axis`, the first at ties, as an int.
    pub fn argmax(&mut self, x: ValueId, axis: usize) -> ValueId {
        self.push(Op::ArgMax { axis }, &[x])
    }
    /// The positions of the elements of the last axis in ascending order.
    pub fn argsort(&mut self, x: ValueId) -> ValueId {
        self.push(Op::ArgSort, &[x])
    }
    /// The elements of the last axis in ascending order; the gradient follows each element to its place.
    pub fn sort(&mut self, x: ValueId) -> ValueId {
        let shape = self.shape(x);
        let order = self.argsort(x);
        if shape.rank() == 1 {
            return self.gather(x, order);
        }
        let (n, rows) = (shape[shape.rank() - 1], shape.count() / shape[shape.rank() - 1].max(1));
        let flat = self.reshape(x, [rows * n]);
        let order = self.reshape(order, [rows, n]);
        let starts = self.iota(rows);
        let width = self.constant(vec![n as f64], Shape::scalar(), DType::Int);
        let starts = self.mul(starts, width);
        let starts = self.expand_dim(starts, 1);
        let index = self.add(order, starts);
        let sorted = self.gather(flat, index);
        self.reshape(sorted, shape)
    }
    /// `x - logsumexp(x)` along the last axis.
    pub fn log_softmax(&mut self, x: ValueId) -> ValueId {
        let last = self.rank(x) - 1;
        let norm = self.logsumexp(x, &[last]);
        let norm = self.expand_dim(norm, last);
        self.sub(x, norm)
    }

    // --- linear algebra ----------------------------------------------------------------------------------------

    /// `op(a) @ op(b)`, leading dimensions broadcasting; `t?` transposes the last two.
    /// A batch of rows times one matrix is one product of all rows.
    pub fn matmul(&mut self, a: ValueId, ta: bool, b: ValueId, tb: bool) -> ValueId {
        let (left, right) = (self.shape(a), self.shape(b));
        if !ta && left.rank() > 2 && right.rank() == 2 {
            let k = left[left.rank() - 1];
            let rows: usize = left[..left.rank() - 1].iter().product();
            let flat = self.reshape(a, [rows, k]);
            let product = self.push(Op::MatMul { ta, tb }, &[flat, b]);
            let columns = right[if tb { 0 } else { 1 }];
            return self.reshape(product, left.drop_last(1).concat(&[columns]));
        }
        self.push(Op::MatMul { ta, tb }, &[a, b])
    }
    /// The lower Cholesky factor of the last two dimensions.
    pub fn cholesky(&mut self, a: ValueId) -> ValueId {
        self.push(Op::Cholesky, &[a])
    }
    /// Solves `op(l) y = b` for triangular `l [.., n, n]` and `b [.., n, m]`.
    pub fn solve_triangular(&mut self, l: ValueId, b: ValueId, lower: bool, transposed: bool) -> ValueId {
        self.push(Op::SolveTriangular { lower, transposed }, &[l, b])
    }
    /// The diagonal of the last two dimensions.
    pub fn diagonal(&mut self, a: ValueId) -> ValueId {
        self.push(Op::Diagonal, &[a])
    }
    /// A diagonal matrix from the last dimension.
    pub fn diag(&mut self, x: ValueId) -> ValueId {
        self.push(Op::Diag, &[x])
    }
    /// The lower triangle (diagonal included unless `strict`) of the last two dimensions, zeros elsewhere.
    pub fn tril(&mut self, a: ValueId, strict: bool) -> ValueId {
        self.push(Op::Tril { strict }, &[a])
    }

    // --- networks ----------------------------------------------------------------------------------------------

    /// Cross-correlation of `x [N,C,H,W]` with `w [O,C/groups,KH,KW]`.
    pub fn conv2d(&mut self, x: ValueId, w: ValueId, attrs: ConvAttrs) -> ValueId {
        self.push(Op::Conv2d(attrs), &[x, w])
    }
    /// The adjoint of [`Builder::conv2d`] in `x`, whose spatial size is `input`.
    pub fn conv2d_input_grad(&mut self, dy: ValueId, w: ValueId, attrs: ConvAttrs, input: [usize; 2]) -> ValueId {
        self.push(Op::Conv2dInputGrad { attrs, input }, &[dy, w])
    }
    /// The transposed convolution of `x [N,I,H,W]` with `w [I,O/groups,KH,KW]`: `attrs.pad` is cropped from the full result,
    /// then `extra` rows and columns are added at the end (what was cropped there, then zeros). Size along each axis:
    /// `(n - 1) stride + dilation (k - 1) + 1 - before - after + extra`.
    pub fn conv_transpose2d(&mut self, x: ValueId, w: ValueId, attrs: ConvAttrs, extra: [usize; 2]) -> ValueId {
        self.conv_transpose2d_with(x, w, attrs, extra, |g, attrs, size| g.conv2d_input_grad(x, w, attrs, size))
    }
    /// As [`Builder::conv_transpose2d`], the result of spatial size `size` before the zeros made by `make(attrs, size)`.
    pub fn conv_transpose2d_with(
        &mut self,
        x: ValueId,
        w: ValueId,
        mut attrs: ConvAttrs,
        extra: [usize; 2],
        make: impl FnOnce(&mut Self, ConvAttrs, [usize; 2]) -> ValueId,
    ) -> ValueId {
        let (xs, ws) = (self.shape(x), self.shape(w));
        let (mut size, mut zeros) = ([0; 2], [0; 2]);
        for i in 0..2 {
            let uncropped = extra[i].min(attrs.pad[i][1]);
            attrs.pad[i][1] -= uncropped;
            zeros[i] = extra[i] - uncropped;
            let (stride, dilation) = (attrs.stride[i], attrs.dilation[i]);
            size[i] = rules::conv_transpose_size(&xs[2 + i], &ws[2 + i], stride, attrs.pad[i], dilation, 0);
        }
        let y = make(self, attrs, size);
        let y = self.pad(y, 2, 0, zeros[0]);
        self.pad(y, 3, 0, zeros[1])
    }
    /// The adjoint of [`Builder::conv2d`] in `w`, whose spatial size is `kernel`.
    pub fn conv2d_weight_grad(&mut self, x: ValueId, dy: ValueId, attrs: ConvAttrs, kernel: [usize; 2]) -> ValueId {
        self.push(Op::Conv2dWeightGrad { attrs, kernel }, &[x, dy])
    }
    /// The two arrays that stand one after the other along the first axis of `pair [2, …]`.
    pub fn halves(&mut self, pair: ValueId) -> [ValueId; 2] {
        let shape = Shape::from(&self.shape(pair)[1..]);
        [0, 1].map(|i| {
            let half = self.slice(pair, 0, i, 1);
            self.reshape(half, shape.clone())
        })
    }
    /// The largest cell of each window of `x [N,C,H,W]`.
    pub fn max_pool2d(&mut self, x: ValueId, attrs: PoolAttrs) -> ValueId {
        self.push(Op::MaxPool2d(attrs), &[x])
    }
    /// The mean of each window of `x [N,C,H,W]`.
    pub fn avg_pool2d(&mut self, x: ValueId, attrs: PoolAttrs) -> ValueId {
        self.push(Op::AvgPool2d(attrs), &[x])
    }
    /// `BetaInc`: the regularized incomplete beta function `I_x(a, b)`.
    pub fn betainc(&mut self, a: ValueId, b: ValueId, x: ValueId) -> ValueId {
        self.push(Op::Ternary(Ternary::BetaInc), &[a, b, x])
    }
}

unary_methods! {
    /// `-x`
    neg = Neg;
    /// `|x|`
    abs = Abs;
    /// -1, 0 or 1
    sign = Sign;
    /// `x^2`
    square = Square;
    /// `1 / x`
    recip = Recip;
    /// The square root.
    sqrt = Sqrt;
    /// `1 / sqrt x`
    rsqrt = Rsqrt;
    /// `e^x`
    exp = Exp;
    /// `e^x - 1`
    expm1 = Expm1;
    /// The natural logarithm.
    log = Log;
    /// `ln(1 + x)`
    log1p = Log1p;
    /// `ln(1 - e^x)` for `x < 0`
    log1m_exp = Log1mExp;
    /// `1 / (1 + e^-x)`
    sigmoid = Sigmoid;
    /// `ln sigmoid x`
    log_sigmoid = LogSigmoid;
    /// `ln(1 + e^x)`
    softplus = Softplus;
    /// The inverse of softplus, for `x > 0`.
    softplus_inv = SoftplusInv;
    /// `max(x, 0)`
    relu = Relu;
    /// The Gaussian error linear unit, `x Phi(x)`.
    gelu = Gelu;
    /// The hyperbolic tangent.
    tanh = Tanh;
    /// The sine.
    sin = Sin;
    /// The cosine.
    cos = Cos;
    /// The tangent.
    tan = Tan;
    /// The inverse sine.
    asin = Asin;
    /// The inverse cosine.
    acos = Acos;
    /// The inverse tangent.
    atan = Atan;
    /// The hyperbolic sine.
    sinh = Sinh;
    /// The hyperbolic cosine.
    cosh = Cosh;
    /// The largest integer not above `x`.
    floor = Floor;
    /// The smallest integer not below `x`.
    ceil = Ceil;
    /// The nearest integer, halves to the even one.
    round = Round;
    /// `ln |Gamma(x)|`
    lgamma = Lgamma;
    /// The derivative of lgamma.
    digamma = Digamma;
    /// The derivative of digamma.
    trigamma = Trigamma;
    /// The error function.
    erf = Erf;
    /// `1 - erf x`
    erfc = Erfc;
    /// The inverse of erf.
    erfinv = Erfinv;
    /// The standard normal cdf.
    ndtr = Ndtr;
    /// Its logarithm.
    log_ndtr = LogNdtr;
    /// Its inverse.
    ndtri = Ndtri;
    /// The scaled Bessel function `e^-|x| I_0(x)`.
    i0e = I0e;
    /// The scaled Bessel function `e^-|x| I_1(x)`.
    i1e = I1e;
    /// Logical not.
    not = Not;
}

binary_methods! {
    /// `a + b`
    add = Add;
    /// `a - b`
    sub = Sub;
    /// `a * b`
    mul = Mul;
    /// `a / b`
    div = Div;
    /// The remainder with the sign of `b`.
    rem = Rem;
    /// `a ^ b`
    pow = Pow;
    /// The larger one; `a` at ties.
    maximum = Maximum;
    /// The smaller one; `a` at ties.
    minimum = Minimum;
    /// The angle of the point `(b, a)`.
    atan2 = Atan2;
    /// `a ln b`, 0 where `a` is 0.
    xlogy = Xlogy;
    /// `ln(e^a + e^b)`
    log_add_exp = LogAddExp;
    /// `ln(e^a - e^b)`
    log_sub_exp = LogSubExp;
    /// `ln B(a, b)`
    lbeta = Lbeta;
    /// The regularized lower incomplete gamma function `P(a, x)`.
    gammainc = GammaIncP;
    /// The regularized upper incomplete gamma function `Q(a, x)`.
    gammaincc = GammaIncQ;
    /// `a == b`
    eq = Eq;
    /// `a != b`
    ne = Ne;
    /// `a < b`
    lt = Lt;
    /// `a <= b`
    le = Le;
    /// `a > b`
    gt = Gt;
    /// `a >= b`
    ge = Ge;
    /// Both.
    and = And;
    /// Either.
    or = Or;
}
