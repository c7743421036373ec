//! Normalizing flows over the joint coordinates of the sites of a step: an invertible network, then an affine map.
//!
//!   e ~ Normal(0, 1)^n,   z = blocks(e),   u = loc + L z,   ln q(u) = ln N(e; 0, 1) - ln |det dz/de| - ln det L
//!
//! L is lower triangular up to [`TRIANGULAR`] coordinates and diagonal beyond, so that a flow contains `full_rank` or
//! `mean_field`. A block moves every coordinate once. With `(shift, r) = V tanh(W x + b) + c` and `s = B tanh(r / B)`:
//!
//! - `realnvp` (Dinh, Sohl-Dickstein & Bengio 2017, arXiv:1605.08803): two affine couplings `y' = e^s y + shift`, the
//!   second part moves by a network of the first, then the first by one of the second. The parts of block b are the
//!   coordinates whose index has bit b (mod the number of bits) unset and set: any two coordinates are parted by some block.
//! - `iaf` (Kingma et al. 2016, arXiv:1606.04934): coordinate i moves by a network of those before it, whose weights are
//!   masked (Germain et al. 2015, arXiv:1502.03509); every second block goes through the coordinates from the end.
//!
//! V and c start at 0, where the blocks are the identity; s is bounded by B = [`BOUND`], so that no block scales by more
//! than e^B. The density is asked for at the flow's own draws alone. For its path derivative, with the parameters held
//! constant, couplings are inverted. The inverse of an autoregressive network takes n passes; there the derivative of ln q
//! in the draw is carried along, block by block, through the triangular matrix of derivatives J of each:
//!
//!   d ln q / dz' = J^-T (d ln q / dz - d sum(s) / dz)
//!
//! (compare Vaitl, Nicoli, Nakajima & Kessel 2022, arXiv:2206.09016). Beyond [`TRIANGULAR`] coordinates, where J is large,
//! the gradient is the whole one, of the same expectation.

use super::params::{Init, Owner, Part, Slots};
use super::{Lowering, Mode};
use crate::check::typed::*;
use crate::dist::{Dist, DistId};
use crate::ir::{Builder, DType, Shape, ValueId};
use crate::ops::NoiseKind;

/// Coordinates up to which the affine map is triangular: 16,384 numbers.
const TRIANGULAR: usize = 128;
/// The largest logarithm of a scale of one layer: e^2 = 7.4.
const BOUND: f64 = 2.0;
/// Hidden units of a network unless the program says otherwise: twice the coordinates within these.
const HIDDEN: [usize; 2] = [16, 64];
/// The scale of the first biases: features that are neither odd nor even from the start.
const BIAS: f64 = 0.5;

/// What the networks of a flow take and give.
struct Layout {
    kind: FlowKind,
    n: usize,
    depth: usize,
    hidden: usize,
}

impl Layout {
    fn new(flow: Flow, n: usize) -> Self {
        let hidden = flow.hidden.unwrap_or_else(|| (2 * n).clamp(HIDDEN[0], HIDDEN[1]));
        Self { kind: flow.kind, n, depth: flow.depth, hidden }
    }
    /// The coordinates whose index has a bit of block `block` unset, then those where it is set.
    fn parts(&self, block: usize) -> [Vec<usize>; 2] {
        let bits = (usize::BITS - (self.n - 1).leading_zeros()) as usize;
        let bit = block % bits;
        let (set, unset) = (0..self.n).partition(|i| i >> bit & 1 == 1);
        [unset, set]
    }
    /// The number of inputs and outputs of each network, in order.
    fn networks(&self) -> Vec<[usize; 2]> {
        match self.kind {
            FlowKind::Iaf => vec![[self.n, self.n]; self.depth],
            FlowKind::RealNvp => (0..self.depth)
                .flat_map(|block| {
                    let [a, b] = self.parts(block).map(|p| p.len());
                    [[a, b], [b, a]]
                })
                .collect(),
        }
    }
}

/// The parameters of a flow over `n` coordinates, the arrays of step `at` of the guide.
pub(super) fn slots(slots: &mut Slots, at: usize, prefix: &str, flow: Flow, sites: &[SiteId], loc: Init, n: usize) {
    let layout = Layout::new(flow, n);
    slots.push(format!("{prefix}.loc"), Owner::JointLoc(at), [n].into(), Constraint::Real, loc, false);
    let (name, shape, constraint) = match n <= TRIANGULAR {
        true => ("scale_tril", Shape::from([n, n]), Constraint::LowerCholesky),
        false => ("scale", Shape::from([n]), Constraint::Positive),
    };
    let scale = Init::PriorScale(sites.to_vec());
    slots.push(format!("{prefix}.{name}"), Owner::JointFactor(at), shape, constraint, scale, false);
    for (k, [inputs, outputs]) in layout.networks().into_iter().enumerate() {
        let h = layout.hidden;
        let first = Init::Normal((1.0 / inputs as f64).sqrt());
        let parts = [
            (Part::WeightIn, "weight_in", Shape::from([h, inputs]), first),
            (Part::BiasIn, "bias_in", Shape::from([h]), Init::Normal(BIAS)),
            (Part::WeightOut, "weight_out", Shape::from([2 * outputs, h]), Init::Constant(0.0)),
            (Part::BiasOut, "bias_out", Shape::from([2 * outputs]), Init::Constant(0.0)),
        ];
        for (part, name, shape, init) in parts {
            let name = format!("{prefix}.{k}.{name}");
            slots.push(name, Owner::Network(at, k, part), shape, Constraint::Real, init, false);
        }
    }
}

/// One network, live or held constant, its weights masked where they must be.
struct Network {
    weights: [ValueId; 4],
    outputs: usize,
}

impl Network {
    /// The shift and the logarithm of the scale that it gives for `x`.
    fn at(&self, g: &mut Builder, x: ValueId) -> [ValueId; 2] {
        let [w, b, v, c] = self.weights;
        let x = affine(g, w, x, b);
        let x = g.tanh(x);
        let both = affine(g, v, x, c);
        let shift = g.slice(both, 0, 0, self.outputs);
        let raw = g.slice(both, 0, self.outputs, self.outputs);
        let raw = g.mul_scalar(raw, 1.0 / BOUND);
        let bounded = g.tanh(raw);
        [shift, g.mul_scalar(bounded, BOUND)]
    }
}

/// `W x + b` for a vector.
fn affine(g: &mut Builder, w: ValueId, x: ValueId, b: ValueId) -> ValueId {
    let n = g.shape(x)[0];
    let column = g.reshape(x, [n, 1]);
    let product = g.matmul(w, false, column, false);
    let rows = g.shape(b)[0];
    let product = g.reshape(product, [rows]);
    g.add(product, b)
}
/// `L^-1 x` or `L^-T x` for a triangular or diagonal `L`.
fn solve(g: &mut Builder, l: ValueId, x: ValueId, transposed: bool) -> ValueId {
    if g.rank(l) < 2 {
        return g.div(x, l);
    }
    let n = g.shape(x)[0];
    let column = g.reshape(x, [n, 1]);
    let column = g.solve_triangular(l, column, true, transposed);
    g.reshape(column, [n])
}
/// The elements of a vector at `places`.
fn take(g: &mut Builder, x: ValueId, places: &[usize]) -> ValueId {
    if places.iter().copied().eq(0..g.shape(x)[0]) {
        return x;
    }
    let index = g.constant(places.iter().map(|&i| i as f64).collect(), Shape::from([places.len()]), DType::Int);
    g.gather(x, index)
}
/// The two parts of a vector put back where they were.
fn put(g: &mut Builder, parts: [ValueId; 2], places: &[Vec<usize>; 2]) -> ValueId {
    let whole = g.concat(&parts, 0);
    let mut back = vec![0; places[0].len() + places[1].len()];
    places.iter().flatten().enumerate().for_each(|(at, &place)| back[place] = at);
    take(g, whole, &back)
}

impl Lowering<'_> {
    /// The draw of step `at` of the guide: value, log density, and the latter with its parameters held constant.
    pub(super) fn flow_draw(&mut self, at: usize, flow: Flow) -> (ValueId, ValueId, ValueId) {
        let loc = self.learnable(Owner::JointLoc(at), Mode::Live);
        let factor = self.learnable(Owner::JointFactor(at), Mode::Live);
        let layout = Layout::new(flow, self.g.shape(loc)[0]);
        let networks = self.networks(at, &layout, Mode::Live);
        let e = self.g.noise(NoiseKind::Normal, Shape::from([layout.n]));
        let (z, log_det) = match flow.kind {
            FlowKind::RealNvp => couplings(&mut self.g, &layout, &networks, e),
            FlowKind::Iaf => autoregressive(&mut self.g, &layout, &networks, e),
        };
        let u = match self.g.rank(factor) {
            2 => affine(&mut self.g, factor, z, loc),
            _ => {
                let step = self.g.mul(factor, z);
                self.g.add(loc, step)
            }
        };
        let log_prob = self.flow_density(e, log_det, factor);
        let path = match flow.kind {
            FlowKind::Iaf if layout.n > TRIANGULAR => log_prob,
            FlowKind::Iaf => {
                let factor = self.learnable(Owner::JointFactor(at), Mode::Detached);
                let networks = self.networks(at, &layout, Mode::Detached);
                let slope = slope(&mut self.g, &layout, &networks, e);
                let slope = solve(&mut self.g, factor, slope, true);
                // The value of ln q, with the slope as its derivative.
                let (value, here) = (self.g.stop_gradient(log_prob), self.g.stop_gradient(u));
                let way = self.g.sub(u, here);
                let rise = self.g.mul(slope, way);
                let rise = self.g.sum_all(rise);
                self.g.add(value, rise)
            }
            FlowKind::RealNvp => {
                let loc = self.learnable(Owner::JointLoc(at), Mode::Detached);
                let factor = self.learnable(Owner::JointFactor(at), Mode::Detached);
                let networks = self.networks(at, &layout, Mode::Detached);
                let gap = self.g.sub(u, loc);
                let z = solve(&mut self.g, factor, gap, false);
                let (e, log_det) = couplings_back(&mut self.g, &layout, &networks, z);
                self.flow_density(e, log_det, factor)
            }
        };
        (u, log_prob, path)
    }
    fn flow_density(&mut self, e: ValueId, log_det: ValueId, factor: ValueId) -> ValueId {
        let (zero, one) = (self.g.scalar(0.0), self.g.scalar(1.0));
        let log_normal = Dist::row(DistId::NORMAL, [zero, one]).log_prob(&mut self.g, e);
        let log_normal = self.g.sum_all(log_normal);
        let scale = if self.g.rank(factor) == 2 { self.g.diagonal(factor) } else { factor };
        let log_scale = self.g.log(scale);
        let log_scale = self.g.sum_all(log_scale);
        let log_det = self.g.add(log_det, log_scale);
        self.g.sub(log_normal, log_det)
    }
    fn networks(&mut self, at: usize, layout: &Layout, mode: Mode) -> Vec<Network> {
        let masks = (layout.kind == FlowKind::Iaf).then(|| masks(&mut self.g, layout));
        let networks = layout.networks();
        let network = |(k, [_, outputs]): (usize, [usize; 2])| {
            let parts = [Part::WeightIn, Part::BiasIn, Part::WeightOut, Part::BiasOut];
            let mut weights = parts.map(|part| self.learnable(Owner::Network(at, k, part), mode));
            if let Some([first, second]) = masks {
                weights[0] = self.g.mul(weights[0], first);
                weights[2] = self.g.mul(weights[2], second);
            }
            Network { weights, outputs }
        };
        networks.into_iter().enumerate().map(network).collect()
    }
}

/// The masks of an autoregressive network: hidden unit k sees the first `degree` coordinates, degrees from 1 to n - 1 in
/// turn, and moves those after them.
fn masks(g: &mut Builder, layout: &Layout) -> [ValueId; 2] {
    let (n, h) = (layout.n, layout.hidden);
    let degree = |unit: usize| 1 + unit % (n - 1).max(1);
    let truth = |b: bool| f64::from(u8::from(b));
    let first = (0..h).flat_map(|k| (0..n).map(move |i| truth(i < degree(k)))).collect();
    let second = (0..2 * n).flat_map(|i| (0..h).map(move |k| truth(i % n >= degree(k)))).collect();
    [g.constant(first, Shape::from([h, n]), DType::Real), g.constant(second, Shape::from([2 * n, h]), DType::Real)]
}

/// Affine couplings, block after block, and ln |det| of their derivative.
fn couplings(g: &mut Builder, layout: &Layout, networks: &[Network], mut z: ValueId) -> (ValueId, ValueId) {
    let mut log_det = Vec::new();
    for (block, networks) in networks.chunks_exact(2).enumerate() {
        let places = layout.parts(block);
        let mut parts = [take(g, z, &places[0]), take(g, z, &places[1])];
        for (fixed, network) in networks.iter().enumerate() {
            let moved = 1 - fixed;
            let [shift, s] = network.at(g, parts[fixed]);
            let scale = g.exp(s);
            let scaled = g.mul(scale, parts[moved]);
            parts[moved] = g.add(scaled, shift);
            log_det.push(g.sum_all(s));
        }
        z = put(g, parts, &places);
    }
    (z, g.add_all(&log_det))
}
/// What the couplings made `z` from, and ln |det| of their derivative there.
fn couplings_back(g: &mut Builder, layout: &Layout, networks: &[Network], mut z: ValueId) -> (ValueId, ValueId) {
    let mut log_det = Vec::new();
    for (block, networks) in networks.chunks_exact(2).enumerate().rev() {
        let places = layout.parts(block);
        let mut parts = [take(g, z, &places[0]), take(g, z, &places[1])];
        for (fixed, network) in networks.iter().enumerate().rev() {
            let moved = 1 - fixed;
            let [shift, s] = network.at(g, parts[fixed]);
            let gap = g.sub(parts[moved], shift);
            let minus = g.neg(s);
            let scale = g.exp(minus);
            parts[moved] = g.mul(gap, scale);
            log_det.push(g.sum_all(s));
        }
        z = put(g, parts, &places);
    }
    (z, g.add_all(&log_det))
}
/// Inverse autoregressive layers, and ln |det| of their derivative.
fn autoregressive(g: &mut Builder, layout: &Layout, networks: &[Network], mut z: ValueId) -> (ValueId, ValueId) {
    let mut log_det = Vec::new();
    let reversed: Vec<usize> = (0..layout.n).rev().collect();
    for (block, network) in networks.iter().enumerate() {
        if block > 0 {
            z = take(g, z, &reversed);
        }
        let [shift, s] = network.at(g, z);
        let scale = g.exp(s);
        let scaled = g.mul(scale, z);
        z = g.add(scaled, shift);
        log_det.push(g.sum_all(s));
    }
    if networks.len().is_multiple_of(2) {
        z = take(g, z, &reversed);
    }
    (z, g.add_all(&log_det))
}

/// The derivative of ln q in what autoregressive layers make of `e`.
fn slope(g: &mut Builder, layout: &Layout, networks: &[Network], e: ValueId) -> ValueId {
    let n = layout.n;
    let reversed: Vec<usize> = (0..n).rev().collect();
    let (mut z, mut slope) = (e, g.neg(e));
    for (block, network) in networks.iter().enumerate() {
        if block > 0 {
            (z, slope) = (take(g, z, &reversed), take(g, slope, &reversed));
        }
        let [w, b, v, c] = network.weights;
        let x = affine(g, w, z, b);
        let x = g.tanh(x);
        let both = affine(g, v, x, c);
        let square = g.square(x);
        let through = g.scalar_sub(1.0, square);
        let through = g.reshape(through, [1, layout.hidden]);
        let d = g.mul(v, through);
        let d = g.matmul(d, false, w, false);
        let (shift, raw) = (g.slice(both, 0, 0, n), g.slice(both, 0, n, n));
        let raw = g.mul_scalar(raw, 1.0 / BOUND);
        let bounded = g.tanh(raw);
        let scale = g.mul_scalar(bounded, BOUND);
        let scale = g.exp(scale);
        let square = g.square(bounded);
        let through = g.scalar_sub(1.0, square);
        let through = g.reshape(through, [n, 1]);
        let (d_shift, d_raw) = (g.slice(d, 0, 0, n), g.slice(d, 0, n, n));
        let d_s = g.mul(d_raw, through);
        // J = diag(e^s) + diag(e^s z) ds/dz + d shift/dz
        let scaled = g.mul(scale, z);
        let rows = g.reshape(scaled, [n, 1]);
        let j = g.mul(rows, d_s);
        let j = g.add(j, d_shift);
        let diagonal = g.diag(scale);
        let j = g.add(j, diagonal);
        let d_log_det = g.sum(d_s, &[0]);
        let rest = g.sub(slope, d_log_det);
        slope = solve(g, j, rest, true);
        z = g.add(scaled, shift);
    }
    if networks.len().is_multiple_of(2) {
        slope = take(g, slope, &reversed);
    }
    slope
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Executable;
    use crate::rng::{Key, fill_normal};

    /// Networks with random weights, small enough that differences of the whole flow keep their digits.
    fn random(g: &mut Builder, layout: &Layout, key: Key) -> Vec<Network> {
        let masks = (layout.kind == FlowKind::Iaf).then(|| masks(g, layout));
        let mut stream = 0;
        let mut array = |g: &mut Builder, shape: &[usize]| {
            let mut values = vec![0.0; shape.iter().product()];
            fill_normal(key.fold_in(stream), 0, &mut values);
            values.iter_mut().for_each(|x| *x *= 0.4);
            stream += 1;
            g.constant(values, Shape::from(shape.to_vec()), DType::Real)
        };
        let network = |[inputs, outputs]: [usize; 2]| {
            let h = layout.hidden;
            let mut weights =
                [array(g, &[h, inputs]), array(g, &[h]), array(g, &[2 * outputs, h]), array(g, &[2 * outputs])];
            if let Some([first, second]) = masks {
                weights[0] = g.mul(weights[0], first);
                weights[2] = g.mul(weights[2], second);
            }
            Network { weights, outputs }
        };
        layout.networks().into_iter().map(network).collect()
    }
    fn run(g: Builder) -> Vec<Vec<f64>> {
        let graph = g.finish();
        let mut exe = Executable::<f64>::compile(&graph);
        exe.run(&[], Key::new(0));
        (0..graph.outputs.len()).map(|k| exe.output(k).to_vec()).collect()
    }
    /// ln |det| of a matrix by elimination with pivots.
    fn log_abs_det(mut a: Vec<Vec<f64>>) -> f64 {
        let n = a.len();
        let mut sum = 0.0;
        for i in 0..n {
            let pivot = (i..n).max_by(|&p, &q| a[p][i].abs().total_cmp(&a[q][i].abs())).expect("there are rows");
            a.swap(i, pivot);
            sum += a[i][i].abs().ln();
            let row = a[i].clone();
            for below in &mut a[i + 1..] {
                let factor = below[i] / row[i];
                below.iter_mut().zip(&row).skip(i).for_each(|(b, r)| *b -= factor * r);
            }
        }
        sum
    }

    #[test]
    fn determinants_are_those_of_the_derivative_and_couplings_go_back() {
        for kind in [FlowKind::RealNvp, FlowKind::Iaf] {
            for n in [2, 3, 5, 8] {
                let layout = Layout { kind, n, depth: 3, hidden: 6 };
                let mut start = vec![0.0; n];
                fill_normal(Key::new(n as u64), 0, &mut start);
                let forward = |e: &[f64]| {
                    let mut g = Builder::new();
                    let networks = random(&mut g, &layout, Key::new(7));
                    let e = g.constant(e.to_vec(), Shape::from([n]), DType::Real);
                    let (z, log_det) = match kind {
                        FlowKind::RealNvp => couplings(&mut g, &layout, &networks, e),
                        FlowKind::Iaf => autoregressive(&mut g, &layout, &networks, e),
                    };
                    g.output("z", z);
                    g.output("log_det", log_det);
                    if kind == FlowKind::RealNvp {
                        let (back, log_det) = couplings_back(&mut g, &layout, &networks, z);
                        g.output("back", back);
                        g.output("log_det", log_det);
                    } else {
                        let slope = slope(&mut g, &layout, &networks, e);
                        g.output("slope", slope);
                    }
                    run(g)
                };
                let here = forward(&start);
                let h = 1e-6;
                let columns: Vec<Vec<f64>> = (0..n)
                    .map(|j| {
                        let moved = |sign: f64| {
                            let mut e = start.clone();
                            e[j] += sign * h;
                            forward(&e).swap_remove(0)
                        };
                        let (up, down) = (moved(1.0), moved(-1.0));
                        up.iter().zip(down).map(|(a, b)| (a - b) / (2.0 * h)).collect()
                    })
                    .collect();
                let want = log_abs_det(columns.clone());
                assert!((here[1][0] - want).abs() < 1e-6, "{kind:?} {n}: {}, expected {want}", here[1][0]);
                if kind == FlowKind::RealNvp {
                    here[2].iter().zip(&start).for_each(|(a, b)| assert!((a - b).abs() < 1e-9, "{a} came from {b}"));
                    assert!((here[3][0] - here[1][0]).abs() < 1e-9);
                    continue;
                }
                // d ln q / dz times dz / de is d ln q / de.
                for j in 0..n {
                    let log_q = |e: &[f64], out: &[Vec<f64>]| -0.5 * e.iter().map(|x| x * x).sum::<f64>() - out[1][0];
                    let moved = |sign: f64| {
                        let mut e = start.clone();
                        e[j] += sign * h;
                        let out = forward(&e);
                        log_q(&e, &out)
                    };
                    let want = (moved(1.0) - moved(-1.0)) / (2.0 * h);
                    let got: f64 = here[2].iter().zip(&columns[j]).map(|(a, b)| a * b).sum();
                    assert!((got - want).abs() < 1e-5 * (1.0 + want.abs()), "{n} {j}: {got}, expected {want}");
                }
            }
        }
    }

    #[test]
    fn every_pair_of_coordinates_is_parted_by_some_block() {
        for n in 2..20 {
            let flow = Flow { kind: FlowKind::RealNvp, depth: 5, hidden: None };
            let layout = Layout::new(flow, n);
            let parted = |i: usize, j: usize| {
                (0..layout.depth).any(|b| layout.parts(b).iter().any(|p| p.contains(&i) != p.contains(&j)))
            };
            for i in 0..n {
                assert!((0..i).all(|j| parted(i, j)), "{n}");
            }
            assert!((0..9).all(|b| layout.parts(b).iter().all(|p| !p.is_empty())), "no part is empty");
        }
    }
}
