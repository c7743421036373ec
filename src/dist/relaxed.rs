//! RelaxedBernoulli and GumbelSoftmax: draws of classes made smooth, which come to their corners as the temperature t
//! goes to 0.
//!
//! RelaxedBernoulli is sigmoid((l + Logistic)/t): with s = l - t logit(x),
//! log_prob(x) = ln t + ln sigmoid(s) + ln sigmoid(-s) - ln x - ln(1 - x).   GumbelSoftmax is softmax((l + Gumbel)/t):
//! log_prob(x) = ln (K - 1)! + (K - 1) ln t + sum_k (l_k - (t + 1) ln x_k) - K ln sum_k e^(l_k - t ln x_k), with respect
//! to the first K - 1 coordinates.
//! Source: Maddison, Mnih & Teh 2017, arXiv:1611.00712, app. B and C; Jang, Gu & Poole 2017, arXiv:1611.01144.

use super::exponential::{exp1, unit_exponential};
use super::implicit::{SMALLEST_DRAW, open_unit};
use super::pieces::{all_last, expand_last, guard, is_positive, last_size, log_or_impossible, logit, or_impossible};
use super::support::is_simplex;
use super::{DistDef, Reparam, Sampler, SupportKind, scalar, vector};
use crate::ir::{Builder, Shape, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::NoiseKind;
use rand::{Rng, RngExt};
use rand_distr::Open01;

const BERNOULLI: DistDef = DistDef {
    name: "RelaxedBernoulli",
    summary: "A Bernoulli made smooth: a number between 0 and 1, near the ends when the temperature is low.",
    support: SupportKind::UnitInterval,
    ..DistDef::BASE
};

pub(super) static BERNOULLI_PROBS: DistDef = DistDef {
    formula: "ln temperature + ln sigmoid(s) + ln sigmoid(-s) - ln x - ln(1 - x),   s = logit(probs) - temperature logit(x)",
    params: &[scalar("temperature", SupportKind::Positive), scalar("probs", SupportKind::UnitInterval)],
    log_prob: |g, x, p| {
        let logits = logit(g, p[1]);
        bernoulli_log_prob(g, x, p[0], logits)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let logits = logit(g, p[1]);
        bernoulli_rsample(g, p[0], logits, shape)
    }),
    sample: Sampler::Scalar(|rng, p| bernoulli_draw(rng, p[0], p[1].ln() - (-p[1]).ln_1p())),
    cdf: Some(|g, x, p| {
        let logits = logit(g, p[1]);
        bernoulli_cdf(g, x, p[0], logits)
    }),
    icdf: Some(|g, q, p| {
        let logits = logit(g, p[1]);
        bernoulli_quantile(g, q, p[0], logits)
    }),
    ..BERNOULLI
};

pub(super) static BERNOULLI_LOGITS: DistDef = DistDef {
    formula: "ln temperature + ln sigmoid(s) + ln sigmoid(-s) - ln x - ln(1 - x),   s = logits - temperature logit(x)",
    params: &[scalar("temperature", SupportKind::Positive), scalar("logits", SupportKind::Real)],
    log_prob: |g, x, p| bernoulli_log_prob(g, x, p[0], p[1]),
    rsample: Reparam::Noise(|g, p, shape| bernoulli_rsample(g, p[0], p[1], shape)),
    sample: Sampler::Scalar(|rng, p| bernoulli_draw(rng, p[0], p[1])),
    cdf: Some(|g, x, p| bernoulli_cdf(g, x, p[0], p[1])),
    icdf: Some(|g, q, p| bernoulli_quantile(g, q, p[0], p[1])),
    ..BERNOULLI
};

const SOFTMAX: DistDef = DistDef {
    name: "GumbelSoftmax",
    summary: "A one-hot class made smooth: a simplex, near a corner when the temperature is low. Also called Concrete.",
    support: SupportKind::Simplex,
    event_rank: 1,
    ..DistDef::BASE
};

pub(super) static SOFTMAX_PROBS: DistDef = DistDef {
    formula: "ln (K - 1)! + (K - 1) ln temperature + sum_k (ln probs[k] - (temperature + 1) ln x[k]) \
              - K ln sum_k probs[k] x[k]^-temperature",
    params: &[scalar("temperature", SupportKind::Positive), vector("probs", SupportKind::Simplex)],
    log_prob: |g, x, p| {
        let logits = log_or_impossible(g, p[1]);
        softmax_log_prob(g, x, p[0], logits)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let logits = log_or_impossible(g, p[1]);
        softmax_rsample(g, p[0], logits, shape)
    }),
    sample: Sampler::Event(|rng, p, out| softmax_draw(rng, p[0][0], p[1].iter().map(|p| p.ln()), out)),
    ..SOFTMAX
};

pub(super) static SOFTMAX_LOGITS: DistDef = DistDef {
    formula: "ln (K - 1)! + (K - 1) ln temperature + sum_k (logits[k] - (temperature + 1) ln x[k]) \
              - K ln sum_k e^logits[k] x[k]^-temperature",
    params: &[scalar("temperature", SupportKind::Positive), vector("logits", SupportKind::Real)],
    log_prob: |g, x, p| softmax_log_prob(g, x, p[0], p[1]),
    rsample: Reparam::Noise(|g, p, shape| softmax_rsample(g, p[0], p[1], shape)),
    sample: Sampler::Event(|rng, p, out| softmax_draw(rng, p[0][0], p[1].iter().copied(), out)),
    ..SOFTMAX
};

fn inside_unit(g: &mut Builder, x: ValueId) -> ValueId {
    let low = is_positive(g, x);
    let high = g.compare_scalar(Binary::Lt, x, 1.0);
    g.and(low, high)
}

fn bernoulli_log_prob(g: &mut Builder, x: ValueId, temperature: ValueId, logits: ValueId) -> ValueId {
    let inside = inside_unit(g, x);
    let x = guard(g, inside, x, 0.5);
    let log_x = g.log(x);
    let minus = g.neg(x);
    let log_rest = g.log1p(minus);
    let y = g.sub(log_x, log_rest);
    let steep = g.mul(temperature, y);
    let s = g.sub(logits, steep);
    let minus = g.neg(s);
    let (below, above) = (g.log_sigmoid(s), g.log_sigmoid(minus));
    let log_t = g.log(temperature);
    let lp = g.add_all(&[log_t, below, above]);
    let lp = g.sub(lp, log_x);
    let lp = g.sub(lp, log_rest);
    or_impossible(g, inside, lp)
}

fn bernoulli_quantile(g: &mut Builder, q: ValueId, temperature: ValueId, logits: ValueId) -> ValueId {
    let noise = logit(g, q);
    let sum = g.add(logits, noise);
    let z = g.div(sum, temperature);
    g.sigmoid(z)
}

fn bernoulli_rsample(g: &mut Builder, temperature: ValueId, logits: ValueId, shape: &Shape) -> ValueId {
    let u = g.noise(NoiseKind::Uniform, shape.clone());
    let x = bernoulli_quantile(g, u, temperature, logits);
    open_unit(g, x)
}

fn bernoulli_draw(rng: &mut dyn Rng, temperature: f64, logits: f64) -> f64 {
    let u: f64 = rng.sample(Open01);
    let z = (logits + u.ln() - (-u).ln_1p()) / temperature;
    1.0 / (1.0 + (-z).exp())
}

fn bernoulli_cdf(g: &mut Builder, x: ValueId, temperature: ValueId, logits: ValueId) -> ValueId {
    let inside = inside_unit(g, x);
    let safe = guard(g, inside, x, 0.5);
    let y = logit(g, safe);
    let steep = g.mul(temperature, y);
    let z = g.sub(steep, logits);
    let below = g.sigmoid(z);
    let high = g.compare_scalar(Binary::Ge, x, 1.0);
    let outside = g.to_real(high);
    g.select(inside, below, outside)
}

fn softmax_log_prob(g: &mut Builder, x: ValueId, temperature: ValueId, logits: ValueId) -> ValueId {
    let k = last_size(g, x);
    let simplex = is_simplex(g, x);
    let positive = is_positive(g, x);
    let all = all_last(g, positive, 1);
    let inside = g.and(simplex, all);
    let safe = guard(g, positive, x, 1.0);
    let log_x = g.log(safe);
    let t = expand_last(g, temperature);
    let steep = g.mul(t, log_x);
    let scores = g.sub(logits, steep);
    let last = g.rank(scores) - 1;
    let norm = g.logsumexp(scores, &[last]);
    let norm = g.mul_scalar(norm, k as f64);
    let terms = g.sub(scores, log_x);
    let sum = g.sum_last(terms, 1);
    let log_t = g.log(temperature);
    let scale = g.mul_scalar(log_t, k as f64 - 1.0);
    let lp = g.add(sum, scale);
    let lp = g.sub(lp, norm);
    let log_factorial: f64 = (1..k).map(|i| (i as f64).ln()).sum();
    let lp = g.add_scalar(lp, log_factorial);
    or_impossible(g, inside, lp)
}

/// No entry is exactly 0, whose logarithm the density needs.
fn softmax_rsample(g: &mut Builder, temperature: ValueId, logits: ValueId, shape: &Shape) -> ValueId {
    let unit = unit_exponential(g, shape);
    let log = g.log(unit);
    let z = g.sub(logits, log);
    let t = expand_last(g, temperature);
    let z = g.div(z, t);
    let log_x = g.log_softmax(z);
    let x = g.exp(log_x);
    let smallest = g.scalar(SMALLEST_DRAW);
    g.maximum(x, smallest)
}

fn softmax_draw(rng: &mut dyn Rng, temperature: f64, logits: impl Iterator<Item = f64>, out: &mut [f64]) {
    out.iter_mut().zip(logits).for_each(|(x, l)| *x = (l - exp1(rng).ln()) / temperature);
    let top = out.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    out.iter_mut().for_each(|x| *x = (*x - top).exp());
    let sum: f64 = out.iter().sum();
    out.iter_mut().for_each(|x| *x = (*x / sum).max(SMALLEST_DRAW));
}
