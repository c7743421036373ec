//! Gradient descent over one flat slice of parameters: SGD, RMSProp, Adam, AdamW; normal families by [`super::gaussian`].
//!
//! An [`Optimizer`] holds a rule, its moment arrays and groups of parameters with learning rates of their own. It
//! *minimises*: gradients are those of the loss (the negative ELBO). Nothing is allocated by a step. Moments are plain
//! arrays that a checkpoint stores and restores, so a resumed fit takes the same steps to the last bit.

use super::gaussian::{Block, Rates};
use crate::kernels::{Scalar, reduce, simd, threads};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A rule for turning gradients into steps.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// `b = momentum b + g`, `x -= rate d` with `d = b`, or `g + momentum b` when `nesterov`.
    /// Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning", in the form that
    /// keeps the learning rate out of the buffer.
    Sgd {
        /// How much of the last direction is kept; 0 for plain descent.
        momentum: f64,
        /// Look ahead along the new direction.
        nesterov: bool,
    },
    /// `v = decay v + (1 - decay) g^2`, `b = momentum b + g / (sqrt v + epsilon)`, `x -= rate b`.
    /// Tieleman & Hinton 2012, Coursera "Neural Networks for Machine Learning", lecture 6.5.
    RmsProp {
        /// How much of the mean square is kept.
        decay: f64,
        /// Keeps the divisor from 0.
        epsilon: f64,
        /// How much of the last direction is kept.
        momentum: f64,
    },
    /// `m = beta1 m + (1 - beta1) g`, `v = beta2 v + (1 - beta2) g^2`,
    /// `x -= rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)`.   Kingma & Ba 2015, arXiv:1412.6980, alg. 1.
    Adam {
        /// How much of the mean is kept.
        beta1: f64,
        /// How much of the mean square is kept.
        beta2: f64,
        /// Keeps the divisor from 0.
        epsilon: f64,
    },
    /// Adam, with `x -= rate weight_decay x` beside it.   Loshchilov & Hutter 2019, arXiv:1711.05101, alg. 2.
    AdamW {
        /// How much of the mean is kept.
        beta1: f64,
        /// How much of the mean square is kept.
        beta2: f64,
        /// Keeps the divisor from 0.
        epsilon: f64,
        /// The rate at which parameters shrink.
        weight_decay: f64,
    },
    /// Natural-gradient steps of normal families; see [`super::gaussian`].
    Natural,
    /// Improved variational online Newton for independent normals; see [`super::gaussian`].
    Ivon {
        /// How much of the mean gradient is kept.
        beta1: f64,
        /// How much of the precision is kept.
        beta2: f64,
    },
}

impl Rule {
    /// Adam with the constants of its paper: 0.9, 0.999, 1e-8.
    pub fn adam() -> Self {
        Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
    /// AdamW with Adam's constants.
    pub fn adamw(weight_decay: f64) -> Self {
        Rule::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay }
    }
    /// Plain gradient descent.
    pub fn sgd() -> Self {
        Rule::Sgd { momentum: 0.0, nesterov: false }
    }
    /// RMSProp with decay 0.9 as in the lecture, epsilon 1e-8, no momentum.
    pub fn rmsprop() -> Self {
        Rule::RmsProp { decay: 0.9, epsilon: 1e-8, momentum: 0.0 }
    }
    /// The rule's name as programs write it.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Sgd { .. } => "sgd",
            Rule::RmsProp { .. } => "rmsprop",
            Rule::Adam { .. } => "adam",
            Rule::AdamW { .. } => "adamw",
            Rule::Natural => "natural",
            Rule::Ivon { .. } => "ivon",
        }
    }
    /// The names of the arrays that it keeps between steps, each as long as the parameters.
    pub fn moments(self) -> &'static [&'static str] {
        match self {
            Rule::Sgd { momentum: 0.0, .. } => &[],
            Rule::Sgd { .. } => &["direction"],
            Rule::RmsProp { momentum: 0.0, .. } => &["mean_square"],
            Rule::RmsProp { .. } => &["mean_square", "direction"],
            Rule::Adam { .. } | Rule::AdamW { .. } => &["mean", "mean_square"],
            Rule::Natural => &[],
            Rule::Ivon { .. } => &["mean"],
        }
    }
    /// Whether it steps whole normal families rather than one parameter after the other.
    pub fn is_gaussian(self) -> bool {
        matches!(self, Rule::Natural | Rule::Ivon { .. })
    }
}

/// A range of the parameters with a learning rate of its own.
#[derive(Clone, PartialEq, Debug)]
pub struct Group {
    /// Which parameters.
    pub range: Range<usize>,
    /// What the learning rate is multiplied by; 0 freezes them.
    pub multiplier: f64,
}

/// A rule with its state for one slice of parameters.
#[derive(Clone, Debug)]
pub struct Optimizer<F> {
    rule: Rule,
    groups: Vec<Group>,
    step: u64,
    moments: Vec<Vec<F>>,
    len: usize,
    /// After these steps the bias corrections of Adam are 1 to the last bit.
    settled: [f64; 2],
    /// The present step.
    update: Update,
    /// Room for the partial sums of a sweep.
    squares: Vec<f64>,
    /// For rules of normal families: the families.
    blocks: Vec<Block>,
    /// Room for a step of the largest of them.
    scratch: Vec<f64>,
}

/// The most arrays that a rule keeps.
const MAX_MOMENTS: usize = 2;

impl<F: Scalar> Optimizer<F> {
    /// `rule` for `len` parameters in one group.
    pub fn new(rule: Rule, len: usize) -> Self {
        let moments = rule.moments().iter().map(|_| vec![F::ZERO; len]).collect();
        // beta^t < e^-40 < 2^-57: 1 minus it rounds to 1.
        let settled = match rule {
            Rule::Adam { beta1, beta2, .. } | Rule::AdamW { beta1, beta2, .. } => {
                [beta1, beta2].map(|b| -40.0 / b.ln())
            }
            _ => [0.0; 2],
        };
        let groups = vec![Group { range: 0..len, multiplier: 1.0 }];
        let update = Update { rule, rate: 0.0, unbias: [1.0; 2] };
        Self {
            rule,
            groups,
            step: 0,
            moments,
            len,
            settled,
            update,
            squares: vec![0.0; len.div_ceil(PIECE)],
            blocks: Vec::new(),
            scratch: Vec::new(),
        }
    }
    /// Gives ranges their own learning rates; parameters in no group keep the common one.
    ///
    /// # Panics
    /// When groups overlap or reach past the end.
    pub fn with_groups(mut self, mut groups: Vec<Group>) -> Self {
        groups.retain(|group| !group.range.is_empty());
        groups.sort_by_key(|group| group.range.start);
        let mut all = Vec::with_capacity(2 * groups.len() + 1);
        let mut next = 0;
        for group in groups {
            assert!(group.range.start >= next && group.range.end <= self.len, "parameter groups overlap or overreach");
            if group.range.start > next {
                all.push(Group { range: next..group.range.start, multiplier: 1.0 });
            }
            next = group.range.end;
            all.push(group);
        }
        if next < self.len {
            all.push(Group { range: next..self.len, multiplier: 1.0 });
        }
        self.groups = all;
        self
    }
    /// Says which parameters are those of normal families, for rules that step these.
    pub fn with_blocks(mut self, blocks: Vec<Block>) -> Self {
        self.scratch = vec![0.0; blocks.iter().map(Block::scratch).max().unwrap_or(0)];
        self.blocks = blocks;
        self
    }
    /// The rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }
    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }
    /// What a checkpoint has to keep beside [`Self::steps`]: each moment array with its name.
    pub fn moments(&self) -> impl Iterator<Item = (&'static str, &[F])> {
        self.rule.moments().iter().copied().zip(self.moments.iter().map(Vec::as_slice))
    }
    /// Goes back to a stored state. Returns false, and changes nothing, when the arrays are not those of this rule and
    /// this number of parameters.
    #[must_use]
    pub fn restore(&mut self, step: u64, moments: &[(&str, &[F])]) -> bool {
        let fits = moments.len() == self.moments.len()
            && self.rule.moments().iter().zip(moments).all(|(name, (n, m))| name == n && m.len() == self.len);
        if fits {
            self.step = step;
            for (mine, (_, stored)) in self.moments.iter_mut().zip(moments) {
                mine.copy_from_slice(stored);
            }
        }
        fits
    }

    /// One step downhill: changes `params` by `gradient` of the loss at `learning_rate`.
    ///
    /// # Panics
    /// When the slices have not the stated length.
    pub fn step(&mut self, params: &mut [F], gradient: &[F], learning_rate: f64) {
        assert_eq!((params.len(), gradient.len()), (self.len, self.len), "parameters and gradient differ in length");
        self.begin(learning_rate);
        self.sweep(0, params, gradient, 1.0);
    }

    /// Begins a step that is taken in pieces: one call of [`Self::sweep`] for every range of parameters.
    pub fn begin(&mut self, learning_rate: f64) {
        self.step += 1;
        self.update = Update::new(self.rule, self.step, self.settled, learning_rate);
    }

    /// Takes the present step for `params`, which are those from `offset` on, by `scale` times `gradient`. Returns the sum
    /// of squares of the unscaled gradient, in double precision; NaN or infinite when an entry is.
    ///
    /// Parameters, gradient and moments are read once. Large ranges are cut between threads at fixed places, so that the
    /// threads change no bit.
    ///
    /// # Panics
    /// When the slices differ in length or reach past the end.
    pub fn sweep(&mut self, offset: usize, params: &mut [F], gradient: &[F], scale: f64) -> f64 {
        assert_eq!(params.len(), gradient.len(), "parameters and gradient differ in length");
        assert!(offset + params.len() <= self.len, "the parameters are those of this optimizer");
        if self.rule.is_gaussian() {
            return self.step_blocks(params, gradient, scale);
        }
        let mut squares = 0.0;
        for Group { range, multiplier } in &self.groups {
            let from = range.start.clamp(offset, offset + params.len());
            let range = from..range.end.clamp(from, offset + params.len());
            if range.is_empty() {
                continue;
            }
            let update = Update { rate: self.update.rate * multiplier, ..self.update };
            let own = range.start - offset..range.end - offset;
            let mut state = self.moments.iter_mut().map(|m| &mut m[range.clone()]);
            let pieces = Pieces {
                x: &mut params[own.clone()],
                g: &gradient[own],
                state: std::array::from_fn(|_| state.next().unwrap_or_default()),
            };
            squares += pieces.sweep(&update, *multiplier == 0.0, F::from_f64(scale), &mut self.squares);
        }
        squares
    }
}

impl<F: Scalar> Optimizer<F> {
    /// The present step for all normal families.
    fn step_blocks(&mut self, params: &mut [F], gradient: &[F], scale: f64) -> f64 {
        assert_eq!(params.len(), self.len, "families are stepped as a whole");
        let rate = self.update.rate;
        let rates = match self.rule {
            Rule::Ivon { beta1, beta2 } => {
                let unbias = 1.0 / (1.0 - beta1.powf(self.step as f64));
                Rates { loc: rate, precision: 1.0 - beta2, keep: beta1, unbias }
            }
            _ => Rates { loc: rate, precision: rate, keep: 0.0, unbias: 1.0 },
        };
        let mean = self.moments.first_mut().map_or(&mut [][..], Vec::as_mut_slice);
        for block in &self.blocks {
            block.step(params, gradient, scale, mean, &mut self.scratch, rates);
        }
        sum_squares(gradient)
    }
}

/// Elements that one call of the loops takes: gradient, parameters and moments stay in cache between update and norm.
const PIECE: usize = 1 << 11;
/// What an element costs, in units of an addition; decides on threads only.
const COST: usize = 8;

/// The same range of parameters, gradient and moments.
struct Pieces<'a, F> {
    x: &'a mut [F],
    g: &'a [F],
    state: [&'a mut [F]; MAX_MOMENTS],
}

impl<F: Scalar> Pieces<'_, F> {
    /// Updates everything; the sum of squares of the gradient. `sums` has room for one number for each [`PIECE`].
    fn sweep(self, update: &Update, frozen: bool, scale: F, sums: &mut [f64]) -> f64 {
        let n = self.x.len().div_ceil(PIECE);
        let tasks = threads::tasks(n, COST * self.x.len());
        if n == 1 {
            return self.piece(update, frozen, scale);
        }
        let sums = &mut sums[..n];
        if tasks == 1 {
            self.run(update, frozen, scale, sums);
        } else {
            rayon::scope(|scope| {
                let (mut rest, mut rest_sums) = (self, &mut *sums);
                for task in 0..tasks {
                    let part = threads::part(n, tasks, task);
                    let len = (part.len() * PIECE).min(rest.x.len());
                    let (own, others) = rest.split_at(len);
                    let (own_sums, other_sums) = rest_sums.split_at_mut(part.len());
                    (rest, rest_sums) = (others, other_sums);
                    scope.spawn(move |_| own.run(update, frozen, scale, own_sums));
                }
            });
        }
        sums.iter().sum()
    }

    fn run(self, update: &Update, frozen: bool, scale: F, sums: &mut [f64]) {
        let mut rest = self;
        for sum in sums {
            let len = PIECE.min(rest.x.len());
            let (own, others) = rest.split_at(len);
            rest = others;
            *sum = own.piece(update, frozen, scale);
        }
    }

    fn split_at(self, at: usize) -> (Self, Self) {
        let (x, x_rest) = self.x.split_at_mut(at);
        let (g, g_rest) = self.g.split_at(at);
        let mut rest = [const { None }; MAX_MOMENTS];
        let mut rests = rest.iter_mut();
        let state = self.state.map(|m| {
            let (m, m_rest) = m.split_at_mut(at.min(m.len()));
            *rests.next().expect("one for each") = Some(m_rest);
            m
        });
        let rest = rest.map(Option::unwrap_or_default);
        (Pieces { x, g, state }, Pieces { x: x_rest, g: g_rest, state: rest })
    }

    fn piece(self, update: &Update, frozen: bool, scale: F) -> f64 {
        simd::dispatch(
            #[inline(always)]
            || {
                let sum = sum_of_squares(self.g);
                if !frozen {
                    update.apply(self.x, self.g, scale, self.state);
                }
                sum
            },
        )
    }
}

/// A rule with the numbers of one step: in double precision until they are used.
#[derive(Clone, Copy, Debug)]
struct Update {
    rule: Rule,
    rate: f64,
    /// One over the bias of the mean, and of the root of the mean square.
    unbias: [f64; 2],
}

impl Update {
    fn new(rule: Rule, step: u64, settled: [f64; 2], rate: f64) -> Self {
        let unbias = match rule {
            Rule::Adam { beta1, beta2, .. } | Rule::AdamW { beta1, beta2, .. } => {
                let time = step as f64;
                let bias = |beta: f64, settled: f64| if time > settled { 1.0 } else { 1.0 - beta.powf(time) };
                [bias(beta1, settled[0]), 1.0 / bias(beta2, settled[1]).sqrt()]
            }
            _ => [1.0, 1.0],
        };
        Update { rule, rate, unbias }
    }

    #[inline(always)]
    fn apply<F: Scalar>(&self, x: &mut [F], g: &[F], scale: F, [m, v]: [&mut [F]; MAX_MOMENTS]) {
        let Self { rule, rate, unbias } = *self;
        let f = F::from_f64;
        match rule {
            Rule::Sgd { momentum: 0.0, .. } => {
                let rate = f(rate);
                for (x, &g) in x.iter_mut().zip(g) {
                    *x -= rate * (scale * g);
                }
            }
            Rule::Sgd { momentum, nesterov } => {
                let (rate, momentum) = (f(rate), f(momentum));
                for ((x, &g), b) in x.iter_mut().zip(g).zip(m) {
                    let g = scale * g;
                    *b = momentum * *b + g;
                    let direction = if nesterov { g + momentum * *b } else { *b };
                    *x -= rate * direction;
                }
            }
            Rule::RmsProp { decay, epsilon, momentum: 0.0 } => {
                let (rate, epsilon, keep, take) = (f(rate), f(epsilon), f(decay), f(1.0 - decay));
                for ((x, &g), v) in x.iter_mut().zip(g).zip(m) {
                    let g = scale * g;
                    *v = keep * *v + take * g * g;
                    *x -= rate * (g / (v.sqrt() + epsilon));
                }
            }
            Rule::RmsProp { decay, epsilon, momentum } => {
                let (rate, epsilon, momentum) = (f(rate), f(epsilon), f(momentum));
                let (keep, take) = (f(decay), f(1.0 - decay));
                for (((x, &g), v), b) in x.iter_mut().zip(g).zip(m).zip(v) {
                    let g = scale * g;
                    *v = keep * *v + take * g * g;
                    *b = momentum * *b + g / (v.sqrt() + epsilon);
                    *x -= rate * *b;
                }
            }
            Rule::Adam { beta1, beta2, epsilon } => {
                adam(x, g, scale, (m, v), AdamStep { rate, shrink: 0.0, beta1, beta2, epsilon, unbias });
            }
            Rule::Natural | Rule::Ivon { .. } => unreachable!("these rules step whole families"),
            Rule::AdamW { beta1, beta2, epsilon, weight_decay } => {
                let shrink = rate * weight_decay;
                adam(x, g, scale, (m, v), AdamStep { rate, shrink, beta1, beta2, epsilon, unbias });
            }
        }
    }
}

struct AdamStep {
    rate: f64,
    shrink: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    unbias: [f64; 2],
}

/// The bias corrections are scalars of the step, worked out in double precision.
#[inline(always)]
fn adam<F: Scalar>(x: &mut [F], g: &[F], scale: F, (m, v): (&mut [F], &mut [F]), step: AdamStep) {
    let AdamStep { rate, shrink, beta1, beta2, epsilon, unbias } = step;
    let rate = F::from_f64(rate / unbias[0]);
    let unbias = F::from_f64(unbias[1]);
    let (keep1, take1) = (F::from_f64(beta1), F::from_f64(1.0 - beta1));
    let (keep2, take2) = (F::from_f64(beta2), F::from_f64(1.0 - beta2));
    let (epsilon, stay) = (F::from_f64(epsilon), F::from_f64(1.0 - shrink));
    for (((x, &g), m), v) in x.iter_mut().zip(g).zip(m).zip(v) {
        let g = scale * g;
        *m = keep1 * *m + take1 * g;
        *v = keep2 * *v + take2 * g * g;
        *x = stay * *x - rate * (*m / (v.sqrt() * unbias + epsilon));
    }
}

/// Accumulators side by side.
const LANES: usize = 16;

/// In double precision, in an order that depends on the length alone.
#[inline(always)]
fn sum_of_squares<F: Scalar>(x: &[F]) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for x in chunks {
        for (lane, x) in lanes.iter_mut().zip(x) {
            *lane += x.to_f64() * x.to_f64();
        }
    }
    if x.len() < LANES {
        return rest.iter().map(|x| x.to_f64() * x.to_f64()).sum();
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += x.to_f64() * x.to_f64();
    }
    reduce::fold_lanes(lanes)
}

/// The Euclidean norm of a gradient, summed in double precision; NaN or infinite when an entry is.
pub fn global_norm<F: Scalar>(gradient: &[F]) -> f64 {
    sum_squares(gradient).sqrt()
}

/// The sum of squares, in double precision and an order that depends on the length alone.
pub fn sum_squares<F: Scalar>(gradient: &[F]) -> f64 {
    simd::dispatch(
        #[inline(always)]
        || gradient.chunks(PIECE).map(sum_of_squares).sum(),
    )
}

/// The factor that shrinks a gradient of norm `norm` to the norm `limit` when it is longer; 1 when it is not, or is not
/// finite: the caller must see that.   Pascanu et al. 2013, arXiv:1211.5063, alg. 1.
pub fn clip_factor(norm: f64, limit: f64) -> f64 {
    if norm.is_finite() && norm > limit { limit / norm } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps along the given gradients from 1.0 at rate 0.1.
    fn walk(rule: Rule, gradients: &[f64]) -> Vec<f64> {
        let mut optimizer = Optimizer::<f64>::new(rule, 1);
        let mut x = [1.0];
        gradients
            .iter()
            .map(|&g| {
                optimizer.step(&mut x, &[g], 0.1);
                x[0]
            })
            .collect()
    }

    fn check(rule: Rule, gradients: &[f64], expect: &[f64]) {
        let got = walk(rule, gradients);
        for (g, e) in got.iter().zip(expect) {
            assert!((g - e).abs() < 1e-12, "{rule:?}: {got:?} instead of {expect:?}");
        }
        assert_eq!(got.len(), expect.len());
    }

    #[test]
    fn sgd_follows_the_gradient() {
        check(Rule::sgd(), &[1.0, -2.0], &[0.9, 1.1]);
        // directions 1, 2.5, 2.25
        check(Rule::Sgd { momentum: 0.5, nesterov: false }, &[1.0, 2.0, 1.0], &[0.9, 0.65, 0.425]);
        // directions 1 + 0.5, 2 + 1.25, 1 + 1.125
        check(Rule::Sgd { momentum: 0.5, nesterov: true }, &[1.0, 2.0, 1.0], &[0.85, 0.525, 0.3125]);
    }

    #[test]
    fn rmsprop_divides_by_the_root_mean_square() {
        let plain = Rule::RmsProp { decay: 0.75, epsilon: 0.5, momentum: 0.0 };
        // v = 1, 3/4 + 1/4 * 13 = 4: divisors 1.5 and 2.5
        check(plain, &[2.0, 13f64.sqrt()], &[1.0 - 0.2 / 1.5, 1.0 - 0.2 / 1.5 - 0.1 * 13f64.sqrt() / 2.5]);
        let heavy = Rule::RmsProp { decay: 0.75, epsilon: 0.5, momentum: 0.5 };
        let (b1, b2) = (2.0 / 1.5, 1.0 / 1.5 + 13f64.sqrt() / 2.5);
        check(heavy, &[2.0, 13f64.sqrt()], &[1.0 - 0.1 * b1, 1.0 - 0.1 * (b1 + b2)]);
    }

    #[test]
    fn adam_steps_as_worked_by_hand() {
        let rule = Rule::Adam { beta1: 0.5, beta2: 0.75, epsilon: 0.1 };
        // t = 1: m = 1, v = 1, unbiased 2 and 4;  t = 2: m = -0.5, v = 1.75, unbiased -0.5 / 0.75 and 1.75 / 0.4375 = 4
        let first = 1.0 - 0.1 * 2.0 / 2.1;
        check(rule, &[2.0, -2.0], &[first, first + 0.1 * (0.5 / 0.75) / 2.1]);
        // the first step has the length of the learning rate, whatever the gradient's scale
        check(Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 0.0 }, &[1e-6], &[0.9]);
    }

    #[test]
    fn adamw_shrinks_beside_the_step() {
        let rule = Rule::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 0.0, weight_decay: 0.5 };
        check(rule, &[3.0, 3.0], &[0.95 - 0.1, 0.85 * 0.95 - 0.1]);
    }

    #[test]
    fn groups_have_rates_of_their_own() {
        let groups = vec![Group { range: 2..3, multiplier: 0.0 }, Group { range: 1..2, multiplier: 0.1 }];
        let mut optimizer = Optimizer::<f32>::new(Rule::sgd(), 4).with_groups(groups);
        let mut x = [1.0f32; 4];
        optimizer.step(&mut x, &[1.0; 4], 0.5);
        assert_eq!(x, [0.5, 0.95, 1.0, 0.5]);
    }

    #[test]
    fn a_restored_state_takes_the_same_steps() {
        let rule = Rule::adamw(0.01);
        let mut a = Optimizer::<f32>::new(rule, 3);
        let mut x = [0.3f32, -1.0, 2.0];
        for i in 0..5 {
            a.step(&mut x, &[0.1 * i as f32, -0.7, 3.0], 0.05);
        }
        let kept: Vec<(&str, Vec<f32>)> = a.moments().map(|(name, m)| (name, m.to_vec())).collect();
        let views: Vec<(&str, &[f32])> = kept.iter().map(|(name, m)| (*name, m.as_slice())).collect();
        let mut b = Optimizer::<f32>::new(rule, 3);
        assert!(b.restore(a.steps(), &views));
        let mut y = x;
        a.step(&mut x, &[0.2, 0.3, 0.4], 0.05);
        b.step(&mut y, &[0.2, 0.3, 0.4], 0.05);
        assert_eq!(x, y);
        assert!(!Optimizer::<f32>::new(Rule::sgd(), 3).restore(1, &views));
        assert!(!Optimizer::<f32>::new(rule, 2).restore(1, &views));
    }

    #[test]
    fn clipping_keeps_the_direction() {
        let g = [3.0f32, 4.0];
        assert_eq!((global_norm(&g), clip_factor(5.0, 10.0)), (5.0, 1.0));
        let mut optimizer = Optimizer::<f32>::new(Rule::sgd(), 2);
        let mut x = [0.0; 2];
        optimizer.begin(1.0);
        assert_eq!(optimizer.sweep(0, &mut x, &g, clip_factor(5.0, 1.0)), 25.0);
        assert!((x[0] + 0.6).abs() < 1e-6 && (x[1] + 0.8).abs() < 1e-6);
        assert!(global_norm(&[f32::NAN, 4.0]).is_nan() && clip_factor(f64::NAN, 1.0) == 1.0);
    }

    /// Steps of all parameters at once, in pieces, on one thread and on two are the same.
    #[test]
    fn pieces_and_threads_change_no_bit() {
        let _alone = threads::alone();
        let rules = [
            Rule::sgd(),
            Rule::Sgd { momentum: 0.9, nesterov: true },
            Rule::rmsprop(),
            Rule::RmsProp { decay: 0.9, epsilon: 1e-8, momentum: 0.5 },
            Rule::adamw(0.01),
        ];
        let n = 100 * PIECE + 77;
        let gradients: Vec<Vec<f32>> = (0..3).map(|i| crate::kernels::testing::values(i, n)).collect();
        for rule in rules {
            let walk = |cut: usize, n_threads: usize| {
                threads::set_threads(n_threads);
                let mut optimizer = Optimizer::<f32>::new(rule, n);
                let mut x: Vec<f32> = crate::kernels::testing::values(9, n);
                let mut squares = 0.0;
                for g in &gradients {
                    optimizer.begin(0.1);
                    let (low, high) = x.split_at_mut(cut);
                    squares += optimizer.sweep(0, low, &g[..cut], 0.5);
                    squares += optimizer.sweep(cut, high, &g[cut..], 0.5);
                }
                (x, squares)
            };
            let whole = walk(0, 1);
            assert_eq!(walk(0, 2), whole, "{rule:?}");
            let halves = walk(n / 2 / PIECE * PIECE, 2);
            assert_eq!(halves.0, whole.0, "{rule:?}");
            assert!((halves.1 / whole.1 - 1.0).abs() < 1e-12);
            threads::set_threads(0);
        }
    }

    /// From some step on the corrections are left out; they are 1 by then.
    #[test]
    fn corrections_end_where_they_are_one() {
        for (beta1, beta2) in [(0.9, 0.999), (0.5, 0.99), (0.0, 0.9)] {
            let rule = Rule::Adam { beta1, beta2, epsilon: 1e-8 };
            let settled = Optimizer::<f64>::new(rule, 1).settled;
            for step in [1, 10, 300, 379, 380, 4000, 39_000, 40_000, 1_000_000] {
                let (a, b) = (Update::new(rule, step, settled, 0.1), Update::new(rule, step, [f64::INFINITY; 2], 0.1));
                assert_eq!(a.unbias, b.unbias, "{beta1} {beta2} {step}");
            }
        }
    }
}
