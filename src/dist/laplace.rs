//! Laplace(loc m, scale b): two exponentials back to back.
//!
//! log_prob(x) = -|x - m|/b - ln 2b.   mean m,  variance 2 b^2.
//! Source: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions, vol. 2, ch. 24.

use super::pieces::{HALF_LN_2PI, destandardize, standardize};
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, Tails, scalar};
use crate::ir::{Builder, ValueId};
use crate::ops::NoiseKind;
use rand::RngExt;
use rand_distr::Exp1;
use std::f64::consts::LN_2;

pub(super) static LAPLACE: DistDef = DistDef {
    name: "Laplace",
    summary: "Two exponentials back to back: a sharp peak at loc, tails heavier than a Normal's.",
    formula: "-|x - loc| / scale - ln(2 scale)",
    params: &[scalar("loc", SupportKind::Real), scalar("scale", SupportKind::Positive)],
    log_prob: |g, x, p| {
        let z = standardize(g, x, p[0], p[1]);
        let size = g.abs(z);
        let norm = log_plus_ln2(g, p[1]);
        let sum = g.add(size, norm);
        g.neg(sum)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let u = g.noise(NoiseKind::Uniform, shape.clone());
        let log_u = g.log(u);
        let sign = g.noise(NoiseKind::Sign, shape.clone());
        let z = g.mul(log_u, sign);
        destandardize(g, z, p[0], p[1])
    }),
    sample: Sampler::Scalar(|rng, p| {
        let size: f64 = rng.sample(Exp1);
        if rng.random::<bool>() { p[0] + p[1] * size } else { p[0] - p[1] * size }
    }),
    mean: Some(|_, p| p[0]),
    variance: Some(|g, p| {
        let square = g.square(p[1]);
        g.mul_scalar(square, 2.0)
    }),
    entropy: Some(|g, p| {
        let norm = log_plus_ln2(g, p[1]);
        g.add_scalar(norm, 1.0)
    }),
    cdf: Some(|g, x, p| {
        // half e^-|z| is the mass beyond z on its own side
        let z = standardize(g, x, p[0], p[1]);
        let size = g.abs(z);
        let minus = g.neg(size);
        let tail = g.exp(minus);
        let tail = g.mul_scalar(tail, 0.5);
        let above = g.scalar_sub(1.0, tail);
        let right = super::pieces::is_positive(g, z);
        g.select(right, above, tail)
    }),
    tails: Tails::Logs {
        below: |g, x, p| {
            let z = standardize(g, x, p[0], p[1]);
            log_below(g, z)
        },
        above: |g, x, p| {
            let z = standardize(g, x, p[0], p[1]);
            let minus = g.neg(z);
            log_below(g, minus)
        },
        quantiles: Some((
            |g, log_below, p| {
                let z = log_quantile(g, log_below);
                destandardize(g, z, p[0], p[1])
            },
            |g, log_above, p| {
                let z = log_quantile(g, log_above);
                let z = g.neg(z);
                destandardize(g, z, p[0], p[1])
            },
        )),
    },
    icdf: Some(|g, q, p| {
        // with t the smaller of q and 1 - q, |z| = -ln 2t
        let other = g.scalar_sub(1.0, q);
        let tail = g.minimum(q, other);
        let tail = g.mul_scalar(tail, 2.0);
        let log = g.log(tail);
        let minus = g.neg(log);
        let right = g.gt(q, other);
        let z = g.select(right, minus, log);
        destandardize(g, z, p[0], p[1])
    }),
    kl: &[(DistId::LAPLACE, kl_laplace_laplace), (DistId::NORMAL, kl_laplace_normal)],
    ..DistDef::BASE
};

/// `ln F(z)`: `z - ln 2` left of 0, `ln(1 - e^-z / 2)` right of it.
fn log_below(g: &mut Builder, z: ValueId) -> ValueId {
    let right = super::pieces::is_positive(g, z);
    let left = g.add_scalar(z, -LN_2);
    let size = g.abs(z);
    let minus = g.neg(size);
    let tail = g.exp(minus);
    let tail = g.mul_scalar(tail, -0.5);
    let near = g.log1p(tail);
    g.select(right, near, left)
}
/// The inverse of [`log_below`].
fn log_quantile(g: &mut Builder, log_below: ValueId) -> ValueId {
    let left = g.add_scalar(log_below, LN_2);
    let log_above = g.log1m_exp(log_below);
    let log_above = g.add_scalar(log_above, LN_2);
    let right = g.neg(log_above);
    let is_right = super::pieces::is_positive(g, left);
    g.select(is_right, right, left)
}

/// `ln 2x`
fn log_plus_ln2(g: &mut Builder, x: ValueId) -> ValueId {
    let log = g.log(x);
    g.add_scalar(log, LN_2)
}

/// KL(Laplace(m, b) || Laplace(n, c)) = ln(c/b) + (b e^(-d/b) + d)/c - 1 with d = |m - n|.
fn kl_laplace_laplace(g: &mut Builder, p: &[ValueId], q: &[ValueId]) -> ValueId {
    let gap = g.sub(p[0], q[0]);
    let gap = g.abs(gap);
    let steps = g.div(gap, p[1]);
    let minus = g.neg(steps);
    let decay = g.exp(minus);
    let mean_distance = g.add(decay, steps);
    let ratio = g.div(p[1], q[1]);
    let distance = g.mul(mean_distance, ratio);
    let log_b = g.log(p[1]);
    let log_c = g.log(q[1]);
    let logs = g.sub(log_c, log_b);
    let sum = g.add(distance, logs);
    g.add_scalar(sum, -1.0)
}

/// KL(Laplace(m, b) || Normal(n, s)) = ln s + ln(2 pi)/2 - ln 2b - 1 + (2 b^2 + (m - n)^2) / (2 s^2).
fn kl_laplace_normal(g: &mut Builder, p: &[ValueId], q: &[ValueId]) -> ValueId {
    let ratio = g.div(p[1], q[1]);
    let spread = g.square(ratio);
    let z = standardize(g, p[0], q[0], q[1]);
    let square = g.square(z);
    let half = g.mul_scalar(square, 0.5);
    let moments = g.add(spread, half);
    let log_b = g.log(p[1]);
    let log_s = g.log(q[1]);
    let log_s = g.add_scalar(log_s, HALF_LN_2PI - LN_2 - 1.0);
    let logs = g.sub(log_s, log_b);
    g.add(moments, logs)
}
