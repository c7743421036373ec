//! Categorical: one of the classes 0, ..., K - 1. By `probs`, or by `logits` = ln probs + any constant.
//!
//! log_prob(k) = ln probs_k = logits_k - logsumexp(logits).   The last axis of the parameter is the class.

use super::pieces::{guard, int, is_count_up_to, log_or_impossible, or_impossible, pick_last, weigh_log};
use super::{DistDef, DistId, Sampler, SupportKind, vector};
use crate::ir::{Builder, DType, ValueId};
use rand::{Rng, RngExt};

const BASE: DistDef = DistDef {
    name: "Categorical",
    summary: "One of K classes, numbered from 0, with the given probabilities.",
    support: SupportKind::IntegerRange,
    dtype: DType::Int,
    bounds: Some(|g, p| {
        let last = classes(g, p[0]) - 1;
        (int(g, 0.0), int(g, last as f64))
    }),
    ..DistDef::BASE
};

pub(super) static PROBS: DistDef = DistDef {
    formula: "ln probs[x]   for x = 0, ..., K - 1",
    params: &[vector("probs", SupportKind::Simplex)],
    log_prob: |g, x, p| {
        // The logarithm is taken of the one entry that counts.
        let (index, valid) = class_index(g, x, p[0]);
        let picked = pick_last(g, p[0], index);
        let lp = log_or_impossible(g, picked);
        or_impossible(g, valid, lp)
    },
    sample: Sampler::Event(|rng, p, out| out[0] = class_by_weights(rng, p[0])),
    entropy: Some(|g, p| {
        let log_p = log_or_impossible(g, p[0]);
        entropy(g, p[0], log_p)
    }),
    probs: Some(|_, p| p[0]),
    kl: &[
        (DistId::CATEGORICAL_PROBS, |g, p, q| {
            let (log_p, log_q) = (log_or_impossible(g, p[0]), log_or_impossible(g, q[0]));
            kl(g, p[0], log_p, log_q)
        }),
        (DistId::CATEGORICAL_LOGITS, |g, p, q| {
            let (log_p, log_q) = (log_or_impossible(g, p[0]), g.log_softmax(q[0]));
            kl(g, p[0], log_p, log_q)
        }),
    ],
    ..BASE
};

pub(super) static LOGITS: DistDef = DistDef {
    formula: "logits[x] - ln sum_k e^logits[k]   for x = 0, ..., K - 1",
    params: &[vector("logits", SupportKind::Real)],
    log_prob: |g, x, p| {
        let (index, valid) = class_index(g, x, p[0]);
        let picked = pick_last(g, p[0], index);
        let last = g.rank(p[0]) - 1;
        let norm = g.logsumexp(p[0], &[last]);
        let lp = g.sub(picked, norm);
        or_impossible(g, valid, lp)
    },
    sample: Sampler::Event(|rng, p, out| {
        let top = p[0].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = p[0].iter().map(|l| (l - top).exp()).collect();
        out[0] = class_by_weights(rng, &weights);
    }),
    entropy: Some(|g, p| {
        let log_p = g.log_softmax(p[0]);
        let probs = g.exp(log_p);
        entropy(g, probs, log_p)
    }),
    probs: Some(|g, p| {
        let log_p = g.log_softmax(p[0]);
        g.exp(log_p)
    }),
    kl: &[
        (DistId::CATEGORICAL_LOGITS, |g, p, q| {
            let (log_p, log_q) = (g.log_softmax(p[0]), g.log_softmax(q[0]));
            let probs = g.exp(log_p);
            kl(g, probs, log_p, log_q)
        }),
        (DistId::CATEGORICAL_PROBS, |g, p, q| {
            let (log_p, log_q) = (g.log_softmax(p[0]), log_or_impossible(g, q[0]));
            let probs = g.exp(log_p);
            kl(g, probs, log_p, log_q)
        }),
    ],
    ..BASE
};

/// The number of classes.
fn classes(g: &Builder, param: ValueId) -> usize {
    *g.shape(param).last().expect("the parameter of a categorical distribution is a vector")
}

/// `x` as an index that is safe to use, and whether it is a class.
fn class_index(g: &mut Builder, x: ValueId, param: ValueId) -> (ValueId, ValueId) {
    let last = int(g, classes(g, param) as f64 - 1.0);
    let valid = is_count_up_to(g, x, last);
    let zero = int(g, 0.0);
    (g.select(valid, x, zero), valid)
}

/// A class drawn in proportion to `weights`; NaN when they have no positive finite sum.
pub(super) fn class_by_weights(rng: &mut dyn Rng, weights: &[f64]) -> f64 {
    let total: f64 = weights.iter().sum();
    if !(total > 0.0 && total.is_finite()) {
        return f64::NAN;
    }
    let mut left = rng.random::<f64>() * total;
    let mut class = 0;
    for (k, &weight) in weights.iter().enumerate() {
        // Rounding may leave a little over at the end: the last possible class takes it.
        if weight > 0.0 {
            class = k;
            if left < weight {
                break;
            }
            left -= weight;
        }
    }
    class as f64
}

pub(super) fn entropy(g: &mut Builder, probs: ValueId, log_p: ValueId) -> ValueId {
    let terms = weigh_log(g, probs, log_p);
    let sum = g.sum_last(terms, 1);
    g.neg(sum)
}

/// `sum_k p_k (ln p_k - ln q_k)`
pub(super) fn kl(g: &mut Builder, probs: ValueId, log_p: ValueId, log_q: ValueId) -> ValueId {
    // Both may be -inf where p is 0: neither counts there.
    let some = super::pieces::is_positive(g, probs);
    let log_p = guard(g, some, log_p, 0.0);
    let gap = g.sub(log_p, log_q);
    let terms = weigh_log(g, probs, gap);
    g.sum_last(terms, 1)
}
