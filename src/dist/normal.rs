//! The normal family on the line, folded at 0 and in log space.
//!
//! Normal(loc m, scale s):  log_prob(x) = -((x - m)/s)^2 / 2 - ln s - ln(2 pi)/2.
//! HalfNormal(scale) is |X| of Normal(0, scale); LogNormal(loc, scale) is e^X of Normal(loc, scale).
//! Source: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions, vol. 1, ch. 13-14.

use super::pieces::{
    HALF_LN_2PI, destandardize, guard, is_nonnegative, is_positive, log_or_impossible, or_impossible, standardize,
};
use super::tails::{Tails, log_ndtri};
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, scalar};
use crate::ir::{Builder, Shape, ValueId};
use crate::ops::NoiseKind;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use std::f64::consts::{LN_2, PI, SQRT_2};

pub(super) static NORMAL: DistDef = DistDef {
    name: "Normal",
    summary: "The bell curve: symmetric around loc, with standard deviation scale.",
    formula: "-((x - loc) / scale)^2 / 2 - ln scale - ln(2 pi) / 2",
    params: &[scalar("loc", SupportKind::Real), scalar("scale", SupportKind::Positive)],
    log_prob,
    rsample: Reparam::Noise(rsample),
    sample: Sampler::Scalar(|rng, p| p[0] + p[1] * standard_normal(rng)),
    mean: Some(|_, p| p[0]),
    variance: Some(|g, p| g.square(p[1])),
    entropy: Some(|g, p| log_plus(g, p[1], HALF_LN_2PI + 0.5)),
    cdf: Some(|g, x, p| {
        let z = standardize(g, x, p[0], p[1]);
        g.ndtr(z)
    }),
    tails: Tails::Logs {
        below: |g, x, p| {
            let z = standardize(g, x, p[0], p[1]);
            g.log_ndtr(z)
        },
        above: |g, x, p| {
            let z = standardize(g, x, p[0], p[1]);
            let minus = g.neg(z);
            g.log_ndtr(minus)
        },
        quantiles: Some((
            |g, log_below, p| {
                let z = log_ndtri(g, log_below);
                destandardize(g, z, p[0], p[1])
            },
            |g, log_above, p| {
                let z = log_ndtri(g, log_above);
                let z = g.neg(z);
                destandardize(g, z, p[0], p[1])
            },
        )),
    },
    icdf: Some(|g, q, p| {
        let z = g.ndtri(q);
        destandardize(g, z, p[0], p[1])
    }),
    kl: &[(DistId::NORMAL, kl_normal_normal), (DistId::LAPLACE, kl_normal_laplace)],
    ..DistDef::BASE
};

pub(super) static HALF_NORMAL: DistDef = DistDef {
    name: "HalfNormal",
    summary: "The absolute value of a Normal(0, scale); a weakly informative prior for scales.",
    formula: "ln 2 - (x / scale)^2 / 2 - ln scale - ln(2 pi) / 2   for x >= 0",
    params: &[scalar("scale", SupportKind::Positive)],
    support: SupportKind::NonNegative,
    log_prob: |g, x, p| {
        let inside = is_nonnegative(g, x);
        let z = g.div(x, p[0]);
        let lp = normal_kernel(g, z, p[0], HALF_LN_2PI - LN_2);
        or_impossible(g, inside, lp)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let noise = g.noise(NoiseKind::Normal, shape.clone());
        let size = g.abs(noise);
        g.mul(size, p[0])
    }),
    sample: Sampler::Scalar(|rng, p| p[0] * standard_normal(rng).abs()),
    mean: Some(|g, p| g.mul_scalar(p[0], (2.0 / PI).sqrt())),
    variance: Some(|g, p| {
        let square = g.square(p[0]);
        g.mul_scalar(square, 1.0 - 2.0 / PI)
    }),
    entropy: Some(|g, p| log_plus(g, p[0], HALF_LN_2PI + 0.5 - LN_2)),
    cdf: Some(|g, x, p| {
        let z = g.div(x, p[0]);
        let z = g.mul_scalar(z, 1.0 / SQRT_2);
        let z = g.relu(z);
        g.erf(z)
    }),
    tails: Tails::Logs {
        below: |g, x, p| {
            let z = g.div(x, p[0]);
            let z = g.mul_scalar(z, 1.0 / SQRT_2);
            let z = g.relu(z);
            let below = g.erf(z);
            log_or_impossible(g, below)
        },
        above: |g, x, p| {
            let z = g.div(x, p[0]);
            let z = g.relu(z);
            let minus = g.neg(z);
            let half = g.log_ndtr(minus);
            g.add_scalar(half, LN_2)
        },
        quantiles: Some((
            |g, log_below, p| {
                let below = g.exp(log_below);
                let z = g.erfinv(below);
                let z = g.mul_scalar(z, SQRT_2);
                g.mul(z, p[0])
            },
            |g, log_above, p| {
                let half = g.add_scalar(log_above, -LN_2);
                let z = log_ndtri(g, half);
                let z = g.neg(z);
                g.mul(z, p[0])
            },
        )),
    },
    icdf: Some(|g, q, p| {
        let z = g.erfinv(q);
        let z = g.mul_scalar(z, SQRT_2);
        g.mul(z, p[0])
    }),
    kl: &[(DistId::HALF_NORMAL, |g, p, q| kl_scales(g, p[0], q[0]))],
    ..DistDef::BASE
};

pub(super) static LOG_NORMAL: DistDef = DistDef {
    name: "LogNormal",
    summary: "The exponential of a Normal(loc, scale): positive, skewed to the right.",
    formula: "-((ln x - loc) / scale)^2 / 2 - ln scale - ln x - ln(2 pi) / 2   for x > 0",
    params: &[scalar("loc", SupportKind::Real), scalar("scale", SupportKind::Positive)],
    support: SupportKind::Positive,
    log_prob: |g, x, p| {
        let inside = is_positive(g, x);
        let x = guard(g, inside, x, 1.0);
        let log_x = g.log(x);
        let lp = log_prob(g, log_x, p);
        let lp = g.sub(lp, log_x);
        or_impossible(g, inside, lp)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let x = rsample(g, p, shape);
        g.exp(x)
    }),
    sample: Sampler::Scalar(|rng, p| (p[0] + p[1] * standard_normal(rng)).exp()),
    mean: Some(|g, p| {
        let half = log_normal_half_square(g, p);
        let log = g.add(p[0], half);
        g.exp(log)
    }),
    variance: Some(|g, p| {
        let square = g.square(p[1]);
        let loc2 = g.mul_scalar(p[0], 2.0);
        let log = g.add(loc2, square);
        let mean_square = g.exp(log);
        let spread = g.expm1(square);
        g.mul(spread, mean_square)
    }),
    entropy: Some(|g, p| {
        let normal = log_plus(g, p[1], HALF_LN_2PI + 0.5);
        g.add(normal, p[0])
    }),
    cdf: Some(|g, x, p| {
        let inside = is_positive(g, x);
        let x = guard(g, inside, x, 1.0);
        let log_x = g.log(x);
        let z = standardize(g, log_x, p[0], p[1]);
        let below = g.ndtr(z);
        guard(g, inside, below, 0.0)
    }),
    tails: Tails::Logs {
        below: |g, x, p| {
            let (z, inside) = log_normal_z(g, x, p);
            let below = g.log_ndtr(z);
            or_impossible(g, inside, below)
        },
        above: |g, x, p| {
            let (z, inside) = log_normal_z(g, x, p);
            let minus = g.neg(z);
            let above = g.log_ndtr(minus);
            guard(g, inside, above, 0.0)
        },
        quantiles: Some((
            |g, log_below, p| {
                let z = log_ndtri(g, log_below);
                let log_x = destandardize(g, z, p[0], p[1]);
                g.exp(log_x)
            },
            |g, log_above, p| {
                let z = log_ndtri(g, log_above);
                let z = g.neg(z);
                let log_x = destandardize(g, z, p[0], p[1]);
                g.exp(log_x)
            },
        )),
    },
    icdf: Some(|g, q, p| {
        let z = g.ndtri(q);
        let log_x = destandardize(g, z, p[0], p[1]);
        g.exp(log_x)
    }),
    kl: &[(DistId::LOG_NORMAL, kl_normal_normal), (DistId::GAMMA, kl_log_normal_gamma)],
    ..DistDef::BASE
};

/// `(ln x - loc) / scale`, and whether `x > 0`.
fn log_normal_z(g: &mut Builder, x: ValueId, p: &[ValueId]) -> (ValueId, ValueId) {
    let inside = is_positive(g, x);
    let x = guard(g, inside, x, 1.0);
    let log_x = g.log(x);
    (standardize(g, log_x, p[0], p[1]), inside)
}

pub(super) fn standard_normal(rng: &mut dyn Rng) -> f64 {
    rng.sample(StandardNormal)
}

/// `ln x + c`
fn log_plus(g: &mut Builder, x: ValueId, c: f64) -> ValueId {
    let log = g.log(x);
    g.add_scalar(log, c)
}

/// `-z^2 / 2 - ln scale - c`, the logarithm taken at the scale's own shape.
fn normal_kernel(g: &mut Builder, z: ValueId, scale: ValueId, c: f64) -> ValueId {
    let square = g.square(z);
    let half = g.mul_scalar(square, -0.5);
    let norm = match g.as_full(scale) {
        Some(scale) => g.scalar(scale.ln() + c),
        None => log_plus(g, scale, c),
    };
    g.sub(half, norm)
}

fn log_prob(g: &mut Builder, x: ValueId, p: &[ValueId]) -> ValueId {
    let z = standardize(g, x, p[0], p[1]);
    normal_kernel(g, z, p[1], HALF_LN_2PI)
}

fn rsample(g: &mut Builder, p: &[ValueId], shape: &Shape) -> ValueId {
    let noise = g.noise(NoiseKind::Normal, shape.clone());
    destandardize(g, noise, p[0], p[1])
}

fn log_normal_half_square(g: &mut Builder, p: &[ValueId]) -> ValueId {
    let square = g.square(p[1]);
    g.mul_scalar(square, 0.5)
}

/// `(r^2 - 1)/2 - ln r` with `r = s/t`: the divergence of two normals that differ in scale only.
fn kl_scales(g: &mut Builder, s: ValueId, t: ValueId) -> ValueId {
    let ratio = g.div(s, t);
    let square = g.square(ratio);
    let half = g.mul_scalar(square, 0.5);
    let log_s = g.log(s);
    let log_t = log_plus(g, t, -0.5);
    let log = g.sub(log_t, log_s);
    g.add(half, log)
}

/// KL(Normal(m, s) || Normal(n, t)) = (s/t)^2 / 2 + ((m - n)/t)^2 / 2 - 1/2 - ln(s/t); the same for two log-normals.
fn kl_normal_normal(g: &mut Builder, p: &[ValueId], q: &[ValueId]) -> ValueId {
    let scales = kl_scales(g, p[1], q[1]);
    let z = standardize(g, p[0], q[0], q[1]);
    let square = g.square(z);
    let half = g.mul_scalar(square, 0.5);
    g.add(scales, half)
}

/// KL(Normal(m, s) || Laplace(n, b)) = ln 2b - ln s - ln(2 pi e)/2 + E|X - n| / b, where the expectation is that of a
/// folded normal: `s sqrt(2/pi) e^(-d^2/2) + s d erf(d/sqrt 2)`, `d = (m - n)/s`.
fn kl_normal_laplace(g: &mut Builder, p: &[ValueId], q: &[ValueId]) -> ValueId {
    let d = standardize(g, p[0], q[0], p[1]);
    let square = g.square(d);
    let half = g.mul_scalar(square, -0.5);
    let bell = g.exp(half);
    let bell = g.mul_scalar(bell, (2.0 / PI).sqrt());
    let root = g.mul_scalar(d, 1.0 / SQRT_2);
    let erf = g.erf(root);
    let tail = g.mul(d, erf);
    let distance = g.add(bell, tail);
    let ratio = g.div(p[1], q[1]);
    let distance = g.mul(distance, ratio);
    let log_s = g.log(p[1]);
    let log_b = log_plus(g, q[1], LN_2 - HALF_LN_2PI - 0.5);
    let logs = g.sub(log_b, log_s);
    g.add(distance, logs)
}

/// KL(LogNormal(m, s) || Gamma(a, b)) = -H - E log Gamma = lnGamma(a) - a ln b - a m + b e^(m + s^2/2) - ln s
/// - ln(2 pi e)/2, since E ln X = m.
fn kl_log_normal_gamma(g: &mut Builder, p: &[ValueId], q: &[ValueId]) -> ValueId {
    let half = log_normal_half_square(g, p);
    let log_mean = g.add(p[0], half);
    let mean = g.exp(log_mean);
    let rate_term = g.mul(q[1], mean);
    let lgamma = g.lgamma(q[0]);
    let log_rate = g.log(q[1]);
    let slope = g.add(log_rate, p[0]);
    let slope = g.mul(q[0], slope);
    let entropy = log_plus(g, p[1], HALF_LN_2PI + 0.5);
    let sum = g.add(rate_term, lgamma);
    let sum = g.sub(sum, slope);
    g.sub(sum, entropy)
}
