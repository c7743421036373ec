//! ContinuousBernoulli: the density on [0, 1] proportional to p^x (1 - p)^(1 - x), for pixels and other fractions.
//!
//! With l = ln(p / (1 - p)):  log_prob(x) = l x - ln((e^l - 1)/l) = l (x - 1/2) + ln(h / sinh h),  h = l/2.
//! Source: Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845.

use super::pieces::{guard, in_unit_interval, logit, or_impossible};
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, scalar};
use crate::ir::{Builder, Shape, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::NoiseKind;
use rand::{Rng, RngExt};

const BASE: DistDef = DistDef {
    name: "ContinuousBernoulli",
    summary: "A fraction between 0 and 1 with the log density of a Bernoulli, normalized.",
    support: SupportKind::UnitInterval,
    ..DistDef::BASE
};

pub(super) static PROBS: DistDef = DistDef {
    formula: "x ln probs + (1 - x) ln(1 - probs) + ln(2 atanh(1 - 2 probs) / (1 - 2 probs))   for 0 <= x <= 1",
    params: &[scalar("probs", SupportKind::UnitInterval)],
    log_prob: |g, x, p| {
        let logits = logit(g, p[0]);
        log_prob(g, x, logits)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let logits = logit(g, p[0]);
        rsample(g, logits, shape)
    }),
    sample: Sampler::Scalar(|rng, p| draw(rng, p[0].ln() - (-p[0]).ln_1p())),
    mean: Some(|g, p| {
        let logits = logit(g, p[0]);
        mean(g, logits)
    }),
    variance: Some(|g, p| {
        let logits = logit(g, p[0]);
        variance(g, logits)
    }),
    entropy: Some(|g, p| {
        let logits = logit(g, p[0]);
        entropy(g, logits)
    }),
    cdf: Some(|g, x, p| {
        let logits = logit(g, p[0]);
        cdf(g, x, logits)
    }),
    icdf: Some(|g, q, p| {
        let logits = logit(g, p[0]);
        quantile(g, q, logits)
    }),
    kl: &[
        (DistId::CONTINUOUS_BERNOULLI_PROBS, |g, p, q| {
            let (p, q) = (logit(g, p[0]), logit(g, q[0]));
            kl(g, p, q)
        }),
        (DistId::CONTINUOUS_BERNOULLI_LOGITS, |g, p, q| {
            let p = logit(g, p[0]);
            kl(g, p, q[0])
        }),
    ],
    ..BASE
};

pub(super) static LOGITS: DistDef = DistDef {
    formula: "logits x - ln((e^logits - 1) / logits)   for 0 <= x <= 1",
    params: &[scalar("logits", SupportKind::Real)],
    log_prob: |g, x, p| log_prob(g, x, p[0]),
    rsample: Reparam::Noise(|g, p, shape| rsample(g, p[0], shape)),
    sample: Sampler::Scalar(|rng, p| draw(rng, p[0])),
    mean: Some(|g, p| mean(g, p[0])),
    variance: Some(|g, p| variance(g, p[0])),
    entropy: Some(|g, p| entropy(g, p[0])),
    cdf: Some(|g, x, p| cdf(g, x, p[0])),
    icdf: Some(|g, q, p| quantile(g, q, p[0])),
    kl: &[
        (DistId::CONTINUOUS_BERNOULLI_LOGITS, |g, p, q| kl(g, p[0], q[0])),
        (DistId::CONTINUOUS_BERNOULLI_PROBS, |g, p, q| {
            let q = logit(g, q[0]);
            kl(g, p[0], q)
        }),
    ],
    ..BASE
};

/// By the inverse cdf `ln(1 + u (e^l - 1))/l`, from the side where e^l is at most 1.
fn draw(rng: &mut dyn Rng, logits: f64) -> f64 {
    let u: f64 = rng.random();
    let steep = -logits.abs();
    let x = if steep > -1e-8 { u } else { (u * steep.exp_m1()).ln_1p() / steep };
    if logits > 0.0 { 1.0 - x } else { x + 0.0 * logits }
}

fn log_prob(g: &mut Builder, x: ValueId, logits: ValueId) -> ValueId {
    let inside = in_unit_interval(g, x);
    let centred = g.add_scalar(x, -0.5);
    let tilt = g.mul(logits, centred);
    let norm = log_norm(g, logits);
    let lp = g.add(tilt, norm);
    or_impossible(g, inside, lp)
}

/// `ln(h / sinh h)` for h = l/2: by its series `-h^2/6 + h^4/180 - h^6/2835` where |h| < 0.05 (the next term is below
/// 1e-15), else `ln 2|h| - |h| - ln(1 - e^(-2|h|))`.
fn log_norm(g: &mut Builder, logits: ValueId) -> ValueId {
    let size = g.abs(logits);
    let small = g.compare_scalar(Binary::Lt, size, 0.1);
    let near = guard(g, small, size, 0.0);
    let square = g.square(near);
    let square = g.mul_scalar(square, 0.25);
    let third = g.mul_scalar(square, -1.0 / 2835.0);
    let second = g.add_scalar(third, 1.0 / 180.0);
    let second = g.mul(second, square);
    let first = g.add_scalar(second, -1.0 / 6.0);
    let series = g.mul(first, square);
    let one = g.scalar(1.0);
    let far = g.select(small, one, size);
    let log = g.log(far);
    let minus = g.neg(far);
    let rest = g.log1m_exp(minus);
    let half = g.mul_scalar(far, 0.5);
    let closed = g.sub(log, half);
    let closed = g.sub(closed, rest);
    g.select(small, series, closed)
}

/// `1/(1 - e^-l) - 1/l`, by its series `1/2 + l/12 - l^3/720 + l^5/30240` near 0.
fn mean(g: &mut Builder, logits: ValueId) -> ValueId {
    let size = g.abs(logits);
    let small = g.compare_scalar(Binary::Lt, size, 0.1);
    let near = guard(g, small, logits, 0.0);
    let square = g.square(near);
    let third = g.mul_scalar(square, 1.0 / 30240.0);
    let second = g.add_scalar(third, -1.0 / 720.0);
    let second = g.mul(second, square);
    let first = g.add_scalar(second, 1.0 / 12.0);
    let series = g.mul(first, near);
    let series = g.add_scalar(series, 0.5);
    let one = g.scalar(1.0);
    let far = g.select(small, one, logits);
    let minus = g.neg(far);
    let e = g.expm1(minus);
    let inverse = g.recip(far);
    let share = g.recip(e);
    let sum = g.add(share, inverse);
    let closed = g.neg(sum);
    g.select(small, series, closed)
}

/// `1/l^2 - 1/(4 sinh^2(l/2))`, by its series `1/12 - l^2/240 + l^4/6048` near 0 (the next term is below 1e-11).
fn variance(g: &mut Builder, logits: ValueId) -> ValueId {
    let size = g.abs(logits);
    let small = g.compare_scalar(Binary::Lt, size, 0.1);
    let near = guard(g, small, logits, 0.0);
    let square = g.square(near);
    let second = g.mul_scalar(square, 1.0 / 6048.0);
    let first = g.add_scalar(second, -1.0 / 240.0);
    let first = g.mul(first, square);
    let series = g.add_scalar(first, 1.0 / 12.0);
    let one = g.scalar(1.0);
    let far = g.select(small, one, size);
    let inverse = g.recip(far);
    let inverse = g.square(inverse);
    // 1/(4 sinh^2(l/2)) = e^-l / (1 - e^-l)^2
    let minus = g.neg(far);
    let top = g.exp(minus);
    let bottom = g.expm1(minus);
    let bottom = g.square(bottom);
    let share = g.div(top, bottom);
    let closed = g.sub(inverse, share);
    g.select(small, series, closed)
}

/// `E ln p = l (mean - 1/2) + ln norm` under the mean of another.
fn mean_log(g: &mut Builder, logits: ValueId, mean: ValueId) -> ValueId {
    let centred = g.add_scalar(mean, -0.5);
    let tilt = g.mul(logits, centred);
    let norm = log_norm(g, logits);
    g.add(tilt, norm)
}

fn entropy(g: &mut Builder, logits: ValueId) -> ValueId {
    let mean = mean(g, logits);
    let log = mean_log(g, logits, mean);
    g.neg(log)
}

fn kl(g: &mut Builder, p: ValueId, q: ValueId) -> ValueId {
    let mean = mean(g, p);
    let (own, other) = (mean_log(g, p, mean), mean_log(g, q, mean));
    g.sub(own, other)
}

/// `(1 - e^(-s x))/(1 - e^-s)` for s = -l > 0; from the other end for l > 0. Near l = 0 it is `x - l x (1 - x)/2`.
fn cdf(g: &mut Builder, x: ValueId, logits: ValueId) -> ValueId {
    let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
    let x = g.maximum(x, zero);
    let x = g.minimum(x, one);
    let size = g.abs(logits);
    let small = g.compare_scalar(Binary::Lt, size, 1e-6);
    let rest = g.scalar_sub(1.0, x);
    let product = g.mul(x, rest);
    let bend = g.mul(product, logits);
    let bend = g.mul_scalar(bend, 0.5);
    let near = g.sub(x, bend);
    let steep = g.select(small, one, size);
    let steep = g.neg(steep);
    let right = g.compare_scalar(Binary::Gt, logits, 0.0);
    let way = g.select(right, rest, x);
    let way = g.mul(steep, way);
    let (top, bottom) = (g.expm1(way), g.expm1(steep));
    let share = g.div(top, bottom);
    let above = g.scalar_sub(1.0, share);
    let far = g.select(right, above, share);
    g.select(small, near, far)
}

/// `ln(1 + q (e^l - 1))/l`, from the side where e^l is at most 1. Near l = 0 by its series, the cumulants of a Bernoulli(q):
/// `q + l v/2 + l^2 v (1 - 2 q)/6 + l^3 v (1 - 6 v)/24`, v = q (1 - q).
fn quantile(g: &mut Builder, q: ValueId, logits: ValueId) -> ValueId {
    let size = g.abs(logits);
    let small = g.compare_scalar(Binary::Lt, size, 0.01);
    let rest = g.scalar_sub(1.0, q);
    let l = guard(g, small, logits, 0.0);
    let v = g.mul(q, rest);
    let third = g.mul_scalar(v, -6.0);
    let third = g.add_scalar(third, 1.0);
    let third = g.mul(third, l);
    let third = g.mul_scalar(third, 1.0 / 24.0);
    let skew = g.sub(rest, q);
    let skew = g.mul_scalar(skew, 1.0 / 6.0);
    let second = g.add(third, skew);
    let second = g.mul(second, l);
    let first = g.add_scalar(second, 0.5);
    let first = g.mul(first, l);
    let bend = g.mul(first, v);
    let near = g.add(q, bend);
    let one = g.scalar(1.0);
    let steep = g.select(small, one, size);
    let steep = g.neg(steep);
    let right = g.compare_scalar(Binary::Gt, logits, 0.0);
    let from = g.select(right, rest, q);
    let shrink = g.expm1(steep);
    let lost = g.mul(from, shrink);
    let log = g.log1p(lost);
    let way = g.div(log, steep);
    let above = g.scalar_sub(1.0, way);
    let far = g.select(right, above, way);
    g.select(small, near, far)
}

fn rsample(g: &mut Builder, logits: ValueId, shape: &Shape) -> ValueId {
    let u = g.noise(NoiseKind::Uniform, shape.clone());
    quantile(g, u, logits)
}
