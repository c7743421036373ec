//! Bernoulli: one trial, 1 with probability p. By `probs`, or by `logits` = ln(p / (1 - p)), which keeps both tails.
//!
//! log_prob(1) = ln p = ln sigmoid(l),   log_prob(0) = ln(1 - p) = ln sigmoid(-l).

use super::pieces::{guard, int, or_impossible, stack_last, weigh_log};
use super::{DistDef, DistId, Sampler, SupportKind, scalar};
use crate::ir::{Builder, DType, ValueId};
use crate::kernels::elementwise::Binary;
use rand::{Rng, RngExt};

const BASE: DistDef = DistDef {
    name: "Bernoulli",
    summary: "One trial with two outcomes: 1 with probability probs, else 0.",
    support: SupportKind::Boolean,
    dtype: DType::Int,
    bounds: Some(|g, _| (int(g, 0.0), int(g, 1.0))),
    ..DistDef::BASE
};

pub(super) static PROBS: DistDef = DistDef {
    formula: "x ln probs + (1 - x) ln(1 - probs)   for x = 0, 1",
    params: &[scalar("probs", SupportKind::UnitInterval)],
    log_prob: |g, x, p| {
        let (one, valid) = outcome(g, x);
        // Each logarithm sees p only where it counts, so that p = 0 and p = 1 leave no NaN in a gradient.
        let if_one = guard(g, one, p[0], 1.0);
        let zero = g.scalar(0.0);
        let if_zero = g.select(one, zero, p[0]);
        let log = g.log(if_one);
        let log1m = log1m(g, if_zero);
        let lp = g.add(log, log1m);
        or_impossible(g, valid, lp)
    },
    sample: Sampler::Scalar(|rng, p| draw(rng, p[0])),
    mean: Some(|_, p| p[0]),
    variance: Some(|g, p| {
        let q = g.scalar_sub(1.0, p[0]);
        g.mul(p[0], q)
    }),
    entropy: Some(|g, p| {
        let parts = Parts::of_probs(g, p[0]);
        entropy(g, &parts)
    }),
    cdf: Some(|g, x, p| {
        let parts = Parts::of_probs(g, p[0]);
        cdf(g, x, &parts)
    }),
    probs: Some(|g, p| {
        let parts = Parts::of_probs(g, p[0]);
        stack_last(g, &[parts.q, parts.p])
    }),
    kl: &[
        (DistId::BERNOULLI_PROBS, |g, p, q| {
            let (p, q) = (Parts::of_probs(g, p[0]), Parts::of_probs(g, q[0]));
            kl(g, &p, &q)
        }),
        (DistId::BERNOULLI_LOGITS, |g, p, q| {
            let (p, q) = (Parts::of_probs(g, p[0]), Parts::of_logits(g, q[0]));
            kl(g, &p, &q)
        }),
    ],
    ..BASE
};

pub(super) static LOGITS: DistDef = DistDef {
    formula: "ln sigmoid(logits) for x = 1,   ln sigmoid(-logits) for x = 0",
    params: &[scalar("logits", SupportKind::Real)],
    log_prob: |g, x, p| {
        let (one, valid) = outcome(g, x);
        let minus = g.neg(p[0]);
        let toward = g.select(one, p[0], minus);
        let lp = g.log_sigmoid(toward);
        or_impossible(g, valid, lp)
    },
    sample: Sampler::Scalar(|rng, p| draw(rng, sigmoid(p[0]))),
    mean: Some(|g, p| g.sigmoid(p[0])),
    variance: Some(|g, p| {
        let parts = Parts::of_logits(g, p[0]);
        g.mul(parts.p, parts.q)
    }),
    entropy: Some(|g, p| {
        let parts = Parts::of_logits(g, p[0]);
        entropy(g, &parts)
    }),
    cdf: Some(|g, x, p| {
        let parts = Parts::of_logits(g, p[0]);
        cdf(g, x, &parts)
    }),
    probs: Some(|g, p| {
        let parts = Parts::of_logits(g, p[0]);
        stack_last(g, &[parts.q, parts.p])
    }),
    kl: &[
        (DistId::BERNOULLI_LOGITS, |g, p, q| {
            let (p, q) = (Parts::of_logits(g, p[0]), Parts::of_logits(g, q[0]));
            kl(g, &p, &q)
        }),
        (DistId::BERNOULLI_PROBS, |g, p, q| {
            let (p, q) = (Parts::of_logits(g, p[0]), Parts::of_probs(g, q[0]));
            kl(g, &p, &q)
        }),
    ],
    ..BASE
};

/// `1 / (1 + e^-x)` on the host.
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn draw(rng: &mut dyn Rng, p: f64) -> f64 {
    if (0.0..=1.0).contains(&p) { f64::from(rng.random::<f64>() < p) } else { f64::NAN }
}

/// Whether `x` is 1, and whether it is an outcome at all.
fn outcome(g: &mut Builder, x: ValueId) -> (ValueId, ValueId) {
    let one = g.compare_scalar(Binary::Eq, x, 1.0);
    let zero = g.compare_scalar(Binary::Eq, x, 0.0);
    (one, g.or(one, zero))
}

/// `ln(1 - p)`
fn log1m(g: &mut Builder, p: ValueId) -> ValueId {
    let minus = g.neg(p);
    g.log1p(minus)
}

/// p, 1 - p and their logarithms, whichever way they are known best.
pub(super) struct Parts {
    pub(super) p: ValueId,
    pub(super) q: ValueId,
    pub(super) log_p: ValueId,
    pub(super) log_q: ValueId,
}

impl Parts {
    pub(super) fn of_probs(g: &mut Builder, p: ValueId) -> Self {
        let q = g.scalar_sub(1.0, p);
        let log_p = g.log(p);
        let log_q = log1m(g, p);
        Self { p, q, log_p, log_q }
    }
    pub(super) fn of_logits(g: &mut Builder, logits: ValueId) -> Self {
        let minus = g.neg(logits);
        let (p, q) = (g.sigmoid(logits), g.sigmoid(minus));
        let (log_p, log_q) = (g.log_sigmoid(logits), g.log_sigmoid(minus));
        Self { p, q, log_p, log_q }
    }
}

/// `-p ln p - (1 - p) ln(1 - p)`
fn entropy(g: &mut Builder, parts: &Parts) -> ValueId {
    let one = weigh_log(g, parts.p, parts.log_p);
    let zero = weigh_log(g, parts.q, parts.log_q);
    let sum = g.add(one, zero);
    g.neg(sum)
}

fn cdf(g: &mut Builder, x: ValueId, parts: &Parts) -> ValueId {
    let some = g.compare_scalar(Binary::Ge, x, 0.0);
    let all = g.compare_scalar(Binary::Ge, x, 1.0);
    let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
    let inner = g.select(all, one, parts.q);
    g.select(some, inner, zero)
}

/// `p (ln p - ln r) + (1 - p) (ln(1 - p) - ln(1 - r))`
pub(super) fn kl(g: &mut Builder, p: &Parts, r: &Parts) -> ValueId {
    let ones = g.sub(p.log_p, r.log_p);
    let zeros = g.sub(p.log_q, r.log_q);
    let one = weigh_log(g, p.p, ones);
    let zero = weigh_log(g, p.q, zeros);
    g.add(one, zero)
}
