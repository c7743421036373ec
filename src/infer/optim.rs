//! Gradient descent over one flat slice of parameters: SGD, RMSProp, Adam, AdamW.
//!
//! An [`Optimizer`] holds a rule, its moment arrays and groups of parameters with learning rates of their own. It
//! *minimises*: gradients are those of the loss (the negative ELBO). Nothing is allocated by a step. Moments are plain
//! arrays that a checkpoint stores and restores, so a resumed fit takes the same steps to the last bit.

use crate::kernels::Scalar;
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
        }
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
}

impl<F: Scalar> Optimizer<F> {
    /// `rule` for `len` parameters in one group.
    pub fn new(rule: Rule, len: usize) -> Self {
        let moments = rule.moments().iter().map(|_| vec![F::ZERO; len]).collect();
        Self { rule, groups: vec![Group { range: 0..len, multiplier: 1.0 }], step: 0, moments, len }
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
        self.step += 1;
        let (rule, time) = (self.rule, self.step as f64);
        for Group { range, multiplier } in &self.groups {
            if *multiplier == 0.0 {
                continue;
            }
            let rate = learning_rate * multiplier;
            let (x, g) = (&mut params[range.clone()], &gradient[range.clone()]);
            match (rule, self.moments.as_mut_slice()) {
                (Rule::Sgd { .. }, []) => sgd(x, g, rate),
                (Rule::Sgd { momentum, nesterov }, [b]) => {
                    sgd_momentum(x, g, &mut b[range.clone()], rate, momentum, nesterov)
                }
                (Rule::RmsProp { decay, epsilon, .. }, [v]) => {
                    rmsprop(x, g, &mut v[range.clone()], rate, decay, epsilon)
                }
                (Rule::RmsProp { decay, epsilon, momentum }, [v, b]) => {
                    let state = (&mut v[range.clone()], &mut b[range.clone()]);
                    rmsprop_momentum(x, g, state, rate, decay, epsilon, momentum)
                }
                (Rule::Adam { beta1, beta2, epsilon }, [m, v]) => {
                    let state = (&mut m[range.clone()], &mut v[range.clone()]);
                    adam(x, g, state, AdamStep { rate, shrink: 0.0, beta1, beta2, epsilon, time })
                }
                (Rule::AdamW { beta1, beta2, epsilon, weight_decay }, [m, v]) => {
                    let state = (&mut m[range.clone()], &mut v[range.clone()]);
                    let shrink = rate * weight_decay;
                    adam(x, g, state, AdamStep { rate, shrink, beta1, beta2, epsilon, time })
                }
                _ => unreachable!("`new` makes as many moments as the rule names"),
            }
        }
    }
}

fn sgd<F: Scalar>(x: &mut [F], g: &[F], rate: f64) {
    let rate = F::from_f64(rate);
    for (x, &g) in x.iter_mut().zip(g) {
        *x = *x - rate * g;
    }
}

fn sgd_momentum<F: Scalar>(x: &mut [F], g: &[F], b: &mut [F], rate: f64, momentum: f64, nesterov: bool) {
    let (rate, momentum) = (F::from_f64(rate), F::from_f64(momentum));
    for ((x, &g), b) in x.iter_mut().zip(g).zip(b) {
        *b = momentum * *b + g;
        let direction = if nesterov { g + momentum * *b } else { *b };
        *x = *x - rate * direction;
    }
}

fn rmsprop<F: Scalar>(x: &mut [F], g: &[F], v: &mut [F], rate: f64, decay: f64, epsilon: f64) {
    let (rate, epsilon) = (F::from_f64(rate), F::from_f64(epsilon));
    let (keep, take) = (F::from_f64(decay), F::from_f64(1.0 - decay));
    for ((x, &g), v) in x.iter_mut().zip(g).zip(v) {
        *v = keep * *v + take * g * g;
        *x = *x - rate * (g / (v.sqrt() + epsilon));
    }
}

fn rmsprop_momentum<F: Scalar>(
    x: &mut [F],
    g: &[F],
    (v, b): (&mut [F], &mut [F]),
    rate: f64,
    decay: f64,
    epsilon: f64,
    momentum: f64,
) {
    let (rate, epsilon, momentum) = (F::from_f64(rate), F::from_f64(epsilon), F::from_f64(momentum));
    let (keep, take) = (F::from_f64(decay), F::from_f64(1.0 - decay));
    for (((x, &g), v), b) in x.iter_mut().zip(g).zip(v).zip(b) {
        *v = keep * *v + take * g * g;
        *b = momentum * *b + g / (v.sqrt() + epsilon);
        *x = *x - rate * *b;
    }
}

struct AdamStep {
    rate: f64,
    shrink: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    time: f64,
}

/// The bias corrections are scalars of the step, worked out in double precision.
fn adam<F: Scalar>(x: &mut [F], g: &[F], (m, v): (&mut [F], &mut [F]), step: AdamStep) {
    let AdamStep { rate, shrink, beta1, beta2, epsilon, time } = step;
    let rate = F::from_f64(rate / (1.0 - beta1.powf(time)));
    let unbias = F::from_f64(1.0 / (1.0 - beta2.powf(time)).sqrt());
    let (keep1, take1) = (F::from_f64(beta1), F::from_f64(1.0 - beta1));
    let (keep2, take2) = (F::from_f64(beta2), F::from_f64(1.0 - beta2));
    let (epsilon, stay) = (F::from_f64(epsilon), F::from_f64(1.0 - shrink));
    for (((x, &g), m), v) in x.iter_mut().zip(g).zip(m).zip(v) {
        *m = keep1 * *m + take1 * g;
        *v = keep2 * *v + take2 * g * g;
        *x = stay * *x - rate * (*m / (v.sqrt() * unbias + epsilon));
    }
}

/// The Euclidean norm of a gradient, summed in double precision; NaN or infinite when an entry is.
pub fn global_norm<F: Scalar>(gradient: &[F]) -> f64 {
    gradient.iter().map(|g| g.to_f64() * g.to_f64()).sum::<f64>().sqrt()
}

/// Shrinks `gradient` to the norm `limit` when it is longer, and returns the norm that it had.
///
/// A gradient that is not finite is left alone: the caller must see it.   Pascanu et al. 2013, arXiv:1211.5063, alg. 1.
pub fn clip_by_global_norm<F: Scalar>(gradient: &mut [F], limit: f64) -> f64 {
    let norm = global_norm(gradient);
    if norm.is_finite() && norm > limit {
        let factor = F::from_f64(limit / norm);
        for g in gradient {
            *g = *g * factor;
        }
    }
    norm
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
        let mut g = [3.0f32, 4.0];
        assert_eq!(clip_by_global_norm(&mut g, 10.0), 5.0);
        assert_eq!(g, [3.0, 4.0]);
        assert_eq!(clip_by_global_norm(&mut g, 1.0), 5.0);
        assert!((g[0] - 0.6).abs() < 1e-6 && (g[1] - 0.8).abs() < 1e-6);
        let mut bad = [f32::NAN, 4.0];
        assert!(clip_by_global_norm(&mut bad, 1.0).is_nan() && bad[1] == 4.0);
    }
}
