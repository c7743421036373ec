//! OneHotCategorical: one of K classes, as a vector of zeros with a 1 in its place.
//!
//! log_prob(x) = ln sum_k x_k p_k.   mean p_k,  variance p_k (1 - p_k).   Entropy and divergences are a categorical's.

use super::categorical::{class_by_weights, entropy, kl};
use super::pieces::{all_last, guard, is_count, is_positive, log_or_impossible, or_impossible};
use super::{DistDef, DistId, Sampler, SupportKind, vector};
use crate::ir::{Builder, DType, ValueId};
use crate::kernels::elementwise::Binary;
use rand::Rng;

const BASE: DistDef = DistDef {
    name: "OneHotCategorical",
    summary: "One of K classes with the given probabilities, as a vector of zeros with a single 1.",
    support: SupportKind::OneHot,
    dtype: DType::Int,
    event_rank: 1,
    ..DistDef::BASE
};

pub(super) static PROBS: DistDef = DistDef {
    formula: "sum_k x[k] ln probs[k]   for x of zeros and a single 1",
    params: &[vector("probs", SupportKind::Simplex)],
    log_prob: |g, x, p| {
        let (x, valid) = one_hot(g, x);
        let picked = g.mul(x, p[0]);
        let picked = g.sum_last(picked, 1);
        let lp = log_or_impossible(g, picked);
        or_impossible(g, valid, lp)
    },
    sample: Sampler::Event(|rng, p, out| draw(rng, p[0], out)),
    mean: Some(|_, p| p[0]),
    variance: Some(|g, p| variance(g, p[0])),
    entropy: Some(|g, p| {
        let log_p = log_or_impossible(g, p[0]);
        entropy(g, p[0], log_p)
    }),
    kl: &[
        (DistId::ONE_HOT_CATEGORICAL_PROBS, |g, p, q| {
            let (log_p, log_q) = (log_or_impossible(g, p[0]), log_or_impossible(g, q[0]));
            kl(g, p[0], log_p, log_q)
        }),
        (DistId::ONE_HOT_CATEGORICAL_LOGITS, |g, p, q| {
            let (log_p, log_q) = (log_or_impossible(g, p[0]), g.log_softmax(q[0]));
            kl(g, p[0], log_p, log_q)
        }),
    ],
    ..BASE
};

pub(super) static LOGITS: DistDef = DistDef {
    formula: "sum_k x[k] logits[k] - ln sum_k e^logits[k]   for x of zeros and a single 1",
    params: &[vector("logits", SupportKind::Real)],
    log_prob: |g, x, p| {
        let (x, valid) = one_hot(g, x);
        // a class of logit -inf that did not come up
        let some = is_positive(g, x);
        let logits = guard(g, some, p[0], 0.0);
        let picked = g.mul(x, logits);
        let picked = g.sum_last(picked, 1);
        let last = g.rank(p[0]) - 1;
        let norm = g.logsumexp(p[0], &[last]);
        let lp = g.sub(picked, norm);
        or_impossible(g, valid, lp)
    },
    sample: Sampler::Event(|rng, p, out| {
        let top = p[0].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = p[0].iter().map(|l| (l - top).exp()).collect();
        draw(rng, &weights, out);
    }),
    mean: Some(|g, p| softmax(g, p[0])),
    variance: Some(|g, p| {
        let probs = softmax(g, p[0]);
        variance(g, probs)
    }),
    entropy: Some(|g, p| {
        let log_p = g.log_softmax(p[0]);
        let probs = g.exp(log_p);
        entropy(g, probs, log_p)
    }),
    kl: &[
        (DistId::ONE_HOT_CATEGORICAL_LOGITS, |g, p, q| {
            let (log_p, log_q) = (g.log_softmax(p[0]), g.log_softmax(q[0]));
            let probs = g.exp(log_p);
            kl(g, probs, log_p, log_q)
        }),
        (DistId::ONE_HOT_CATEGORICAL_PROBS, |g, p, q| {
            let (log_p, log_q) = (g.log_softmax(p[0]), log_or_impossible(g, q[0]));
            let probs = g.exp(log_p);
            kl(g, probs, log_p, log_q)
        }),
    ],
    ..BASE
};

/// `x` with zeros for what is no count, and whether it is zeros with a single 1: counts of sum 1.
fn one_hot(g: &mut Builder, x: ValueId) -> (ValueId, ValueId) {
    let counts = is_count(g, x);
    let all = all_last(g, counts, 1);
    let sum = g.sum_last(x, 1);
    let single = g.compare_scalar(Binary::Eq, sum, 1.0);
    let valid = g.and(all, single);
    (guard(g, counts, x, 0.0), valid)
}

fn draw(rng: &mut dyn Rng, weights: &[f64], out: &mut [f64]) {
    let class = class_by_weights(rng, weights);
    // NaN weights give NaN everywhere.
    out.iter_mut()
        .enumerate()
        .for_each(|(k, x)| *x = if class.is_nan() { class } else { f64::from(k as f64 == class) });
}

fn softmax(g: &mut Builder, logits: ValueId) -> ValueId {
    let log_p = g.log_softmax(logits);
    g.exp(log_p)
}

fn variance(g: &mut Builder, probs: ValueId) -> ValueId {
    let rest = g.scalar_sub(1.0, probs);
    g.mul(probs, rest)
}
