//! Multinomial: how often each of K classes came up in `total` independent draws.
//!
//! log_prob(x) = ln total! - sum_k ln x_k! + sum_k x_k ln p_k.   mean total p_k,  variance total p_k (1 - p_k)

use super::binomial::binomial;
use super::pieces::{count_times_log, expand_last, guard, is_count, is_positive, or_impossible};
use super::{DistDef, Sampler, SupportKind, scalar, vector};
use crate::ir::{Builder, DType, ValueId};
use crate::ops::Reduction;
use rand::Rng;

const BASE: DistDef = DistDef {
    name: "Multinomial",
    summary: "How often each of K classes came up in total independent draws.",
    support: SupportKind::CountVector,
    dtype: DType::Int,
    event_rank: 1,
    ..DistDef::BASE
};

pub(super) static PROBS: DistDef = DistDef {
    formula: "ln total! - sum_k ln x[k]! + sum_k x[k] ln probs[k]   for counts x that sum to total",
    params: &[scalar("total", SupportKind::Count), vector("probs", SupportKind::Simplex)],
    log_prob: |g, x, p| with_counts(g, x, p[0], |g, counts| count_times_log(g, counts, p[1])),
    sample: Sampler::Event(|rng, p, out| draw(rng, p[0][0], p[1], out)),
    mean: Some(|g, p| {
        let total = expand_last(g, p[0]);
        g.mul(total, p[1])
    }),
    variance: Some(|g, p| variance(g, p[0], p[1])),
    ..BASE
};

pub(super) static LOGITS: DistDef = DistDef {
    formula: "ln total! - sum_k ln x[k]! + sum_k x[k] log_softmax(logits)[k]   for counts x that sum to total",
    params: &[scalar("total", SupportKind::Count), vector("logits", SupportKind::Real)],
    log_prob: |g, x, p| {
        with_counts(g, x, p[0], |g, counts| {
            let log_p = g.log_softmax(p[1]);
            // a class of logit -inf that never came up
            let some = is_positive(g, counts);
            let log_p = guard(g, some, log_p, 0.0);
            g.mul(counts, log_p)
        })
    },
    sample: Sampler::Event(|rng, p, out| {
        let top = p[1].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = p[1].iter().map(|l| (l - top).exp()).collect();
        draw(rng, p[0][0], &weights, out);
    }),
    mean: Some(|g, p| {
        let probs = softmax(g, p[1]);
        let total = expand_last(g, p[0]);
        g.mul(total, probs)
    }),
    variance: Some(|g, p| {
        let probs = softmax(g, p[1]);
        variance(g, p[0], probs)
    }),
    ..BASE
};

/// Class by class: each is binomial given the classes before it. NaN unless the weights have a positive finite sum.
pub(super) fn draw(rng: &mut dyn Rng, total: f64, weights: &[f64], out: &mut [f64]) {
    let mut weight_left: f64 = weights.iter().sum();
    let mut left = if weight_left > 0.0 && weight_left.is_finite() { total } else { f64::NAN };
    let last = weights.iter().rposition(|&w| w > 0.0).unwrap_or(0);
    for (k, (count, &weight)) in out.iter_mut().zip(weights).enumerate() {
        // Rounding may leave the last possible class with a share next to 1.
        let share = if k == last { 1.0 } else { (weight / weight_left).min(1.0) };
        *count = if left == 0.0 || weight == 0.0 { 0.0 * left } else { binomial(rng, left, share) };
        left -= *count;
        weight_left -= weight;
    }
}

fn with_counts(
    g: &mut Builder,
    x: ValueId,
    total: ValueId,
    log_weights: impl FnOnce(&mut Builder, ValueId) -> ValueId,
) -> ValueId {
    let axis = g.rank(x) - 1;
    let counts = is_count(g, x);
    let all_counts = g.reduce(Reduction::Min, counts, &[axis]);
    let sum = g.sum(x, &[axis]);
    let right_sum = g.eq(sum, total);
    let valid = g.and(all_counts, right_sum);
    let x = guard(g, counts, x, 0.0);
    let weights = log_weights(g, x);
    let x1 = g.add_scalar(x, 1.0);
    let log_factorials = g.lgamma(x1);
    let terms = g.sub(weights, log_factorials);
    let terms = g.sum_last(terms, 1);
    let total1 = g.add_scalar(total, 1.0);
    let ways = g.lgamma(total1);
    let lp = g.add(terms, ways);
    or_impossible(g, valid, lp)
}

fn softmax(g: &mut Builder, logits: ValueId) -> ValueId {
    let log_p = g.log_softmax(logits);
    g.exp(log_p)
}

fn variance(g: &mut Builder, total: ValueId, probs: ValueId) -> ValueId {
    let rest = g.scalar_sub(1.0, probs);
    let each = g.mul(probs, rest);
    let total = expand_last(g, total);
    g.mul(total, each)
}
