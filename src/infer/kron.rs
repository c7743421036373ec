//! Kronecker-factored curvature of networks: a normal at the mode where weights are too many for a whole matrix.
//!
//! A layer multiplies its inputs a by weights and adds up r rows of them: examples, or the cells of images. With the
//! derivatives g of the log likelihood by its outputs, where the data are drawn from the model itself, the Fisher information
//! of the weights is
//!
//!   F = E sum over rows of (a a^T) x (g g^T)  ~  A x G / r,   A = sum a a^T,   G = E sum g g^T,
//!
//! as if inputs and derivatives did not depend on each other, nor on those of other cells of an image. With the eigenvectors
//! of A and G and the curvature d of the prior, the precision A x G / r + d I has the eigenvalues a_i g_j / r + d: draws and
//! determinants need no larger matrix than A and G. A bias that is added to the outputs of a layer is a weight whose input is
//! 1, with F = G. All of these are independent of each other, and of everything else, whose curvature is exact; the Fisher
//! information has no negative direction, also where the search for the mode has ended short of it. Source: Martens & Grosse 2015, arXiv:1503.05671; Grosse & Martens 2016,
//! arXiv:1602.01407, for convolutions; Ritter, Botev & Barber 2018, ICLR, for the normal.

use super::RunError;
use super::data::{BoundData, Store};
use super::hessian::{Factor, PrecisionFactor};
use crate::autodiff;
use crate::check::typed::*;
use crate::dist::SupportKind;
use crate::exec::Executable;
use crate::exec::plan::Options;
use crate::ir::passes::stable;
use crate::ir::{DType, Graph, InputId, ValueId};
use crate::kernels::conv::Conv2dShape;
use crate::kernels::elementwise::Binary;
use crate::kernels::gemm::{Matrix, gemm, gemm_scratch};
use crate::kernels::linalg::symmetric_eigen;
use crate::lower::{DataInput, Lowering, Mode, SiteSource, Slots};
use crate::ops::Op;
use crate::rng::Key;
use std::ops::Range;

/// Rows that the mean over the model's own data takes, at least, if that needs no more draws than `DRAWS` allows: the error of
/// a variance is then a percent.
const ENOUGH: usize = 20_000;
/// Fewest and most draws of the data from the model.
const DRAWS: [usize; 2] = [4, 400];
/// The largest factor: 200 MB, and minutes for its eigenvectors.
const LARGEST: usize = 5_000;
/// An eigenvalue below this part of the largest one is zero but for rounding.
const ROUNDING: f64 = 1e-14;
/// Elements of patches that are put together at a time.
const AT_ONCE: usize = 1 << 20;

/// The graph whose runs make the factors: one draw of the data from the model each.
#[derive(Debug)]
pub struct KronGraph {
    /// Outputs: for each layer its inputs, the derivatives by its outputs, and the curvature of its prior.
    pub graph: Graph,
    inputs: Vec<DataInput>,
    /// The input and the place of the coordinates of each site.
    sites: Vec<(InputId, Range<usize>)>,
    layers: Vec<Layer>,
}

/// A site that is the weight of one layer, or its bias.
#[derive(Clone, Debug)]
struct Layer {
    name: String,
    range: Range<usize>,
    kind: Kind,
    /// Whether it is added to the outputs.
    bias: bool,
    /// Rows that are summed over.
    rows: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Weights `[inputs, outputs]`, or the other way round.
    Dense { inputs: usize, outputs: usize, inputs_first: bool },
    /// Weights `[outputs, channels, height, width]`.
    Conv(Conv2dShape),
}

impl Kind {
    /// The sizes of the factors of inputs and outputs.
    fn sizes(self) -> [usize; 2] {
        match self {
            Kind::Dense { inputs, outputs, .. } => [inputs, outputs],
            Kind::Conv(s) => [s.in_channels * s.kernel[0] * s.kernel[1], s.out_channels],
        }
    }
}

impl Layer {
    /// The sizes of the factors of inputs and outputs.
    fn sizes(&self) -> [usize; 2] {
        let [inputs, outputs] = self.kind.sizes();
        [if self.bias { 1 } else { inputs }, outputs]
    }
    fn inputs_first(&self) -> bool {
        self.bias || matches!(self.kind, Kind::Dense { inputs_first: true, .. })
    }
    /// Adds `sum a a^T` over the rows of the inputs `x`.
    fn add_inputs(&self, x: &[f64], sum: &mut [f64]) {
        if self.bias { sum[0] += self.rows as f64 } else { self.kind.add_inputs(x, sum) }
    }
}

/// Builds the graph; the sites of `noncentered` are written with standard variables.
///
/// # Errors
/// When the likelihood is not one of observations that can be drawn, when an operation has no derivative, when no site is the
/// weight of a layer, and when a factor would be too large.
pub fn build(program: &Program, bound: &BoundData, noncentered: &[SiteId]) -> Result<KronGraph, RunError> {
    let none = Slots::default();
    let source = SiteSource::Free { noncentered: noncentered.to_vec() };
    let mut lo = Lowering::new(program, &none, bound.sizes.clone(), None, source);
    lo.draw_all();
    let model = lo.model;
    let mut likelihood = Vec::new();
    for step in &model.steps {
        match step {
            Step::Site(_) => {}
            Step::Observe(at) => {
                let o = &model.observations[*at];
                let dist = lo.dist(&o.dist, Mode::Live);
                if !dist.is_proper() {
                    return Err(unsupported(&format!("`{}` has a distribution without draws", o.name)));
                }
                let shape = lo.shape(&program.ty(o.value).shape);
                let draw = dist.sample(&mut lo.g, &shape);
                let draw = if lo.g.dtype(draw) == DType::Real { lo.g.stop_gradient(draw) } else { draw };
                let log_prob = dist.log_prob(&mut lo.g, draw);
                likelihood.push(lo.g.sum_all(log_prob));
            }
            Step::Marginal(_) => return Err(unsupported("the model has discrete latents")),
            Step::Factor(_) => return Err(unsupported("the model has a `factor`, which draws no data")),
        }
    }
    let mut total = lo.g.add_all(&likelihood);
    let mut sites = Vec::new();
    let mut plain = Vec::new();
    let mut offset = 0;
    for (id, site) in model.sites.iter_enumerated() {
        let value = lo.free_sites[id].expect("all sites are drawn").input;
        let range = offset..offset + lo.g.shape(value).count();
        offset = range.end;
        sites.push((lo.g.graph().input_of(value), range.clone()));
        if site.dist.support() == SupportKind::Real && site.dist.event_rank() == 0 && !noncentered.contains(&id) {
            plain.push((id, value, range));
        }
    }
    // Sites with the layer that takes them: its inputs and its outputs.
    let mut layers = Vec::new();
    let mut places: Vec<[ValueId; 3]> = Vec::new();
    let mut of_priors = Vec::new();
    let weights: Vec<_> = plain.iter().map(|(_, value, _)| layer_of(lo.g.graph(), *value)).collect();
    for ((id, value, range), weight) in plain.into_iter().zip(&weights) {
        let own = weight.or_else(|| bias_of(lo.g.graph(), value, &weights));
        let Some((kind, x, y)) = own else { continue };
        let rows = match kind {
            Kind::Dense { .. } => lo.g.shape(x)[0],
            Kind::Conv(s) => s.batch * s.output().iter().product::<usize>(),
        };
        let layer = Layer { name: model.sites[id].name.clone(), range, kind, bias: weight.is_none(), rows };
        if let Some(&large) = layer.sizes().iter().find(|&&n| n > LARGEST) {
            return Err(unsupported(&format!(
                "a factor of `{}` would be a matrix of {large} rows, and {LARGEST} are the most",
                layer.name
            )));
        }
        places.push([x, y, value]);
        layers.push(layer);
        of_priors.push(id);
    }
    let mut curvatures = Vec::new();
    for ((id, layer), place) in of_priors.into_iter().zip(&layers).zip(&places) {
        let (site, value) = (&model.sites[id], place[2]);
        let prior = lo.dist(&site.dist, Mode::Live);
        let log_prior = prior.log_prob(&mut lo.g, value);
        let log_prior = lo.g.sum_all(log_prior);
        let slope = autodiff::reverse::gradient(&mut lo.g, log_prior, &[value]).map_err(no_derivative)?[0];
        let slope = lo.g.sum_all(slope);
        let second = autodiff::reverse::gradient(&mut lo.g, slope, &[value]).map_err(no_derivative)?[0];
        let sum = lo.g.sum_all(second);
        curvatures.push(lo.g.mul_scalar(sum, -1.0 / layer.range.len().max(1) as f64));
    }
    if layers.is_empty() {
        return Err(unsupported("no site is the weight of one layer"));
    }
    // The adjoint of an unstable form would be as unstable.
    let kept = places.iter_mut().flatten().chain(&mut curvatures).chain([&mut total]);
    stable::settle(&mut lo.g, kept);
    let outputs: Vec<ValueId> = places.iter().map(|p| p[1]).collect();
    let slopes = autodiff::reverse::gradient(&mut lo.g, total, &outputs).map_err(no_derivative)?;
    for (((layer, place), slope), curvature) in layers.iter().zip(&places).zip(slopes).zip(curvatures) {
        lo.g.output(format!("inputs of {}", layer.name), place[0]);
        lo.g.output(format!("d outputs of {}", layer.name), slope);
        lo.g.output(format!("curvature of the prior of {}", layer.name), curvature);
    }
    let inputs = std::mem::take(&mut lo.inputs);
    Ok(KronGraph { graph: lo.g.finish(), inputs, sites, layers })
}

fn unsupported(why: &str) -> RunError {
    RunError::Unsupported(format!("`hessian = kron` has no Fisher information to factor: {why}; use `full` or `diag`"))
}
fn no_derivative(e: autodiff::reverse::NoGradient) -> RunError {
    unsupported(&e.to_string())
}

/// The only operation that reads `weight`, when it is a layer: with its inputs and outputs.
fn layer_of(graph: &Graph, weight: ValueId) -> Option<(Kind, ValueId, ValueId)> {
    let mut at = weight;
    loop {
        let mut readers = graph.nodes.iter_enumerated().filter(|(_, n)| n.operands.contains(&at));
        let (reader, node) = readers.next()?;
        if readers.next().is_some() {
            return None;
        }
        let [x, w] = match node.operands[..] {
            [_] if matches!(node.op, Op::Reshape { .. }) => {
                at = reader;
                continue;
            }
            [x, w] if w == at && x != at => [graph.shape(x), graph.shape(w)],
            _ => return None,
        };
        let kind = match node.op {
            Op::MatMul { ta: false, tb } if x.rank() == 2 && w.rank() == 2 => {
                let [inputs, outputs] = if tb { [w[1], w[0]] } else { [w[0], w[1]] };
                Kind::Dense { inputs, outputs, inputs_first: !tb }
            }
            Op::Conv2d(attrs) if attrs.groups == 1 => Kind::Conv(Conv2dShape {
                batch: x[0],
                in_channels: x[1],
                out_channels: w[0],
                input: [x[2], x[3]],
                kernel: [w[2], w[3]],
                stride: attrs.stride,
                padding: attrs.pad,
                dilation: attrs.dilation,
                groups: 1,
            }),
            _ => return None,
        };
        return Some((kind, node.operands[0], reader));
    }
}

/// The layer to whose outputs `bias` is added, a number for each output, if nothing else reads it.
fn bias_of(
    graph: &Graph,
    bias: ValueId,
    layers: &[Option<(Kind, ValueId, ValueId)>],
) -> Option<(Kind, ValueId, ValueId)> {
    let mut at = bias;
    loop {
        let mut readers = graph.nodes.iter_enumerated().filter(|(_, n)| n.operands.contains(&at));
        let (reader, node) = readers.next()?;
        if readers.next().is_some() {
            return None;
        }
        let y = match node.operands[..] {
            [_] if matches!(node.op, Op::Reshape { .. }) => {
                at = reader;
                continue;
            }
            [a, b] if matches!(node.op, Op::Binary(Binary::Add)) && a != b => {
                if a == at {
                    b
                } else {
                    a
                }
            }
            _ => return None,
        };
        let layer = layers.iter().flatten().find(|(_, _, outputs)| *outputs == y)?;
        // The outputs of a convolution are the dimension after that of the images, those of a product the last one.
        let (own, whole) = (graph.shape(at), graph.shape(y));
        let along = whole.rank() - if matches!(layer.0, Kind::Conv(_)) { 3 } else { 1 };
        let first = whole.rank().checked_sub(own.rank())?;
        let fits = (0..own.rank()).all(|d| own[d] == if first + d == along { layer.0.sizes()[1] } else { 1 });
        return (fits && first <= along).then_some(*layer);
    }
}

impl KronGraph {
    /// The names of the weights and biases that have factors.
    pub fn names(&self) -> Vec<String> {
        self.layers.iter().map(|layer| layer.name.clone()).collect()
    }
    /// Numbers that the factors take.
    pub fn numbers(&self) -> usize {
        let of = |layer: &Layer| layer.sizes().iter().map(|n| 2 * n * n).sum::<usize>() + 2 * layer.range.len();
        self.layers.iter().map(of).sum()
    }
    /// The coordinates that are neither weights nor biases of layers.
    pub fn others(&self) -> Vec<usize> {
        let own = |at: &usize| !self.layers.iter().any(|layer| layer.range.contains(at));
        (0..self.sites.last().map_or(0, |s| s.1.end)).filter(own).collect()
    }
    /// The factors at `u`, with `rest` for the coordinates of [`KronGraph::others`].
    ///
    /// # Errors
    /// When a direction of the weights has no curvature: the site.
    pub fn factor(
        &self,
        program: &Program,
        bound: &BoundData,
        options: Options,
        (u, rest): (&[f64], Factor),
        key: Key,
    ) -> Result<KronFactor, RunError> {
        let mut exe = Executable::<f64>::compile_with(&self.graph, options);
        Store::<f64>::new(program, bound, None).give_whole(program, &self.inputs, &mut exe);
        for (input, range) in &self.sites {
            exe.set_data(*input, &u[range.clone()]);
        }
        let mut sums: Vec<[Vec<f64>; 2]> =
            self.layers.iter().map(|layer| layer.sizes().map(|n| vec![0.0; n * n])).collect();
        let rows = self.layers.iter().map(|layer| layer.rows).min().unwrap_or(1);
        let draws = (ENOUGH / rows.max(1)).clamp(DRAWS[0], DRAWS[1]);
        let mut priors = vec![0.0; self.layers.len()];
        for draw in 0..draws {
            exe.run(&[], key.fold_in(draw as u64));
            for (at, (layer, [a, g])) in self.layers.iter().zip(&mut sums).enumerate() {
                if draw == 0 {
                    layer.add_inputs(exe.output(3 * at), a);
                    priors[at] = exe.output(3 * at + 2)[0];
                }
                layer.kind.add_outputs(exe.output(3 * at + 1), g);
            }
        }
        let no_peak = |layer: &Layer| RunError::NoPeak { name: format!("`{}`", layer.name) };
        let mut blocks = Vec::new();
        for ((layer, [mut a, mut g]), prior) in self.layers.iter().zip(sums).zip(priors) {
            let [m, n] = layer.sizes();
            g.iter_mut().for_each(|x| *x /= draws as f64);
            let (Some(of_a), Some(of_g)) = (symmetric_eigen(m, &mut a), symmetric_eigen(n, &mut g)) else {
                return Err(no_peak(layer));
            };
            let first = layer.inputs_first();
            let (left, right) = if first { (&of_a, &of_g) } else { (&of_g, &of_a) };
            let rows = layer.rows.max(1) as f64;
            let product = |l: &f64, r: &f64| l.max(0.0) * r.max(0.0) / rows + prior;
            let values: Vec<f64> = left.iter().flat_map(|l| right.iter().map(move |r| product(l, r))).collect();
            let least = ROUNDING * values.iter().copied().fold(0.0, f64::max);
            if !values.iter().all(|x| *x > least) {
                return Err(no_peak(layer));
            }
            let (left, right) = if first { (a, g) } else { (g, a) };
            blocks.push(Block { range: layer.range.clone(), left, right, values });
        }
        Ok(KronFactor { blocks, rest, others: self.others() })
    }
}

impl Kind {
    /// Adds `sum a a^T` over the rows of the inputs `x`.
    fn add_inputs(self, x: &[f64], sum: &mut [f64]) {
        match self {
            Kind::Dense { inputs, .. } => {
                add_products(Matrix::row_major(x, inputs).t(), inputs, x.len() / inputs.max(1), sum)
            }
            Kind::Conv(s) => {
                let (taps, cells) = (self.sizes()[0], s.output().iter().product::<usize>());
                let image = s.in_channels * s.input[0] * s.input[1];
                let mut patches = vec![0.0; taps * cells];
                // Images one after the other, a few at a time where they are small.
                let some = (AT_ONCE / (taps * cells).max(1)).clamp(1, s.batch.max(1));
                patches.resize(some * taps * cells, 0.0);
                for images in x.chunks(some * image) {
                    let n = images.len() / image;
                    for (i, own) in images.chunks_exact(image).enumerate() {
                        patches_of(&s, own, &mut patches[i * cells * taps..(i + 1) * cells * taps]);
                    }
                    let rows = &patches[..n * cells * taps];
                    add_products(Matrix::row_major(rows, taps).t(), taps, n * cells, sum);
                }
            }
        }
    }
    /// Adds `sum g g^T` over the rows of the derivatives by the outputs.
    fn add_outputs(self, g: &[f64], sum: &mut [f64]) {
        match self {
            Kind::Dense { outputs, .. } => {
                add_products(Matrix::row_major(g, outputs).t(), outputs, g.len() / outputs.max(1), sum);
            }
            Kind::Conv(s) => {
                let cells = s.output().iter().product::<usize>();
                for image in g.chunks_exact((s.out_channels * cells).max(1)) {
                    add_products(Matrix::row_major(image, cells), s.out_channels, cells, sum);
                }
            }
        }
    }
}

/// Adds X X^T to `sum [n, n]`, X [n, terms].
fn add_products(x: Matrix<'_, f64>, n: usize, terms: usize, sum: &mut [f64]) {
    let mut product = vec![0.0; n * n];
    let mut scratch = vec![0.0; gemm_scratch::<f64>(n, n, terms)];
    gemm(n, n, terms, x, x.t(), &mut product, n, &mut scratch);
    sum.iter_mut().zip(product).for_each(|(s, p)| *s += p);
}

/// The patches of an image, `[cell, channel x tap]`.
fn patches_of(s: &Conv2dShape, image: &[f64], patches: &mut [f64]) {
    let [height, width] = s.input;
    let [_, columns] = s.output();
    let [kh, kw] = s.kernel;
    for (cell, patch) in patches.chunks_exact_mut(s.in_channels * kh * kw).enumerate() {
        let (row, column) = (cell / columns, cell % columns);
        for (at, to) in patch.iter_mut().enumerate() {
            let (channel, i, j) = (at / (kh * kw), at / kw % kh, at % kw);
            let y = (row * s.stride[0] + i * s.dilation[0]).checked_sub(s.padding[0][0]).filter(|y| *y < height);
            let x = (column * s.stride[1] + j * s.dilation[1]).checked_sub(s.padding[1][0]).filter(|x| *x < width);
            *to = y.zip(x).map_or(0.0, |(y, x)| image[(channel * height + y) * width + x]);
        }
    }
}

/// The precision of one layer's weights `[p, q]`: (L x R) diag(values) (L x R)^T.
#[derive(Clone, PartialEq, Debug)]
struct Block {
    range: Range<usize>,
    /// Eigenvectors as columns, `[p, p]`.
    left: Vec<f64>,
    /// The same, `[q, q]`.
    right: Vec<f64>,
    /// Eigenvalues `[p, q]`.
    values: Vec<f64>,
}

impl Block {
    /// L X R^T, or L^T X R with `inverse`.
    fn rotate(&self, x: &mut [f64], inverse: bool) {
        let [p, q] = [&self.left, &self.right].map(|m| m.len().isqrt());
        let (left, right) = (Matrix::row_major(&self.left, p), Matrix::row_major(&self.right, q));
        let (left, right) = if inverse { (left.t(), right) } else { (left, right.t()) };
        let mut half = vec![0.0; p * q];
        let mut scratch = vec![0.0; gemm_scratch::<f64>(p, q, p).max(gemm_scratch::<f64>(p, q, q))];
        gemm(p, q, p, left, Matrix::row_major(x, q), &mut half, q, &mut scratch);
        gemm(p, q, q, Matrix::row_major(&half, q), right, x, q, &mut scratch);
    }
}

/// A precision matrix of independent blocks: one with two factors for the weights of each layer, and one for the rest.
#[derive(Clone, PartialEq, Debug)]
pub struct KronFactor {
    blocks: Vec<Block>,
    rest: Factor,
    others: Vec<usize>,
}

impl KronFactor {
    fn at_others(&self, x: &mut [f64], f: impl FnOnce(&mut Vec<f64>)) {
        let mut own: Vec<f64> = self.others.iter().map(|&at| x[at]).collect();
        f(&mut own);
        self.others.iter().zip(own).for_each(|(&at, own)| x[at] = own);
    }
}

impl PrecisionFactor for KronFactor {
    fn log_det(&self) -> f64 {
        self.blocks.iter().flat_map(|b| &b.values).map(|v| v.ln()).sum::<f64>() + self.rest.log_det()
    }
    fn spread(&self, z: &mut [f64]) {
        for block in &self.blocks {
            let z = &mut z[block.range.clone()];
            z.iter_mut().zip(&block.values).for_each(|(z, v)| *z /= v.sqrt());
            block.rotate(z, false);
        }
        self.at_others(z, |own| self.rest.spread(own));
    }
    fn solve(&self, gradient: &[f64]) -> Vec<f64> {
        let mut x = gradient.to_vec();
        for block in &self.blocks {
            let x = &mut x[block.range.clone()];
            block.rotate(x, true);
            x.iter_mut().zip(&block.values).for_each(|(x, v)| *x /= v);
            block.rotate(x, false);
        }
        self.at_others(&mut x, |own| *own = self.rest.solve(own));
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::hessian::Precision;

    /// Against the whole matrix: A x G / r + d I for one layer, a diagonal for the rest.
    #[test]
    fn factors_are_those_of_the_product() {
        let (p, q) = (2, 3);
        let a = [2.0, 0.5, 0.5, 1.0];
        let g = [3.0, 1.0, 0.2, 1.0, 2.0, -0.4, 0.2, -0.4, 1.5];
        let (rows, prior) = (4.0, 0.7);
        let (mut left, mut right) = (a.to_vec(), g.to_vec());
        let of_a = symmetric_eigen(p, &mut left).expect("finite");
        let of_g = symmetric_eigen(q, &mut right).expect("finite");
        let values = of_a.iter().flat_map(|l| of_g.iter().map(move |r| l * r / rows + prior)).collect();
        let rest = Precision { n: 1, values: vec![9.0], full: false }.factor().expect("positive");
        let kron = KronFactor { blocks: vec![Block { range: 1..7, left, right, values }], rest, others: vec![0] };
        let n = 1 + p * q;
        let mut whole = vec![0.0; n * n];
        whole[0] = 9.0;
        for (i, k) in (0..p).flat_map(|i| (0..p).map(move |k| (i, k))) {
            for (j, l) in (0..q).flat_map(|j| (0..q).map(move |l| (j, l))) {
                let (row, column) = (1 + i * q + j, 1 + k * q + l);
                whole[row * n + column] = a[i * p + k] * g[j * q + l] / rows + if row == column { prior } else { 0.0 };
            }
        }
        let whole = Precision { n, values: whole, full: true }.factor().expect("positive definite");
        assert!((kron.log_det() - whole.log_det()).abs() < 1e-12);
        let gradient: Vec<f64> = (0..n).map(|i| (i as f64 * 1.3).sin()).collect();
        for (x, y) in kron.solve(&gradient).iter().zip(whole.solve(&gradient)) {
            assert!((x - y).abs() < 1e-12);
        }
        // Spread unit vectors: their products sum to the covariance.
        let mut covariance = vec![0.0; n * n];
        for at in 0..n {
            let mut z = vec![0.0; n];
            z[at] = 1.0;
            kron.spread(&mut z);
            for i in 0..n {
                (0..n).for_each(|j| covariance[i * n + j] += z[i] * z[j]);
            }
        }
        for at in 0..n {
            let mut unit = vec![0.0; n];
            unit[at] = 1.0;
            for (i, want) in whole.solve(&unit).into_iter().enumerate() {
                assert!((covariance[i * n + at] - want).abs() < 1e-12);
            }
        }
    }

    /// Patches times weights are the convolution.
    #[test]
    fn patches_are_those_of_the_convolution() {
        let s = Conv2dShape {
            batch: 1,
            in_channels: 2,
            out_channels: 1,
            input: [5, 4],
            kernel: [3, 2],
            stride: [2, 1],
            padding: [[1, 0], [0, 2]],
            dilation: [1, 2],
            groups: 1,
        };
        let image: Vec<f64> = (0..40).map(|i| f64::from(i) * 0.3 - 2.0).collect();
        let weight: Vec<f64> = (0..12).map(|i| (f64::from(i) * 0.9).cos()).collect();
        let cells = s.output().iter().product::<usize>();
        let mut patches = vec![0.0; cells * 12];
        patches_of(&s, &image, &mut patches);
        let mut want = vec![0.0; cells];
        let conv = crate::kernels::conv::Conv2d::new(s);
        let mut scratch = vec![0.0; conv.forward_scratch::<f64>()];
        conv.forward(
            &image,
            &weight,
            crate::kernels::finish::Finish { bias: None, relu: false },
            &mut want,
            &mut scratch,
        );
        for (patch, want) in patches.chunks_exact(12).zip(want) {
            let got: f64 = patch.iter().zip(&weight).map(|(p, w)| p * w).sum();
            assert!((got - want).abs() < 1e-12);
        }
    }
}
