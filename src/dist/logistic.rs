//! The logistic distribution, and the Gumbel: location-scale families with a closed quantile.
//!
//! With z = (x - m)/s.  Logistic:  ln sigmoid(z) + ln sigmoid(-z) - ln s.
//! Gumbel (of maxima; cdf exp(-e^-z)):  -z - e^-z - ln s.
//! Source: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions, vol. 2, ch. 22-23.

use super::exponential::{exp1, unit_exponential};
use super::pieces::{EULER_GAMMA, destandardize, guard, logit, standardize};
use super::tails::log_complement;
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, Tails, scalar};
use crate::ir::{Builder, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::NoiseKind;
use rand::RngExt;
use rand_distr::Open01;
use std::f64::consts::PI;

pub(super) static LOGISTIC: DistDef = DistDef {
    name: "Logistic",
    summary: "A bell with somewhat heavier tails than a Normal's; its cdf is the logistic function.",
    formula: "ln sigmoid(z) + ln sigmoid(-z) - ln scale,   z = (x - loc) / scale",
    params: &[scalar("loc", SupportKind::Real), scalar("scale", SupportKind::Positive)],
    log_prob: |g, x, p| {
        let z = standardize(g, x, p[0], p[1]);
        let minus = g.neg(z);
        let (below, above) = (g.log_sigmoid(z), g.log_sigmoid(minus));
        let bell = g.add(below, above);
        let log_scale = g.log(p[1]);
        g.sub(bell, log_scale)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let u = g.noise(NoiseKind::Uniform, shape.clone());
        let z = logit(g, u);
        destandardize(g, z, p[0], p[1])
    }),
    sample: Sampler::Scalar(|rng, p| {
        let u: f64 = rng.sample(Open01);
        p[0] + p[1] * (u.ln() - (-u).ln_1p())
    }),
    mean: Some(|_, p| p[0]),
    variance: Some(|g, p| {
        let square = g.square(p[1]);
        g.mul_scalar(square, PI * PI / 3.0)
    }),
    entropy: Some(|g, p| {
        let log = g.log(p[1]);
        g.add_scalar(log, 2.0)
    }),
    cdf: Some(|g, x, p| {
        let z = standardize(g, x, p[0], p[1]);
        g.sigmoid(z)
    }),
    tails: Tails::Logs {
        below: |g, x, p| {
            let z = standardize(g, x, p[0], p[1]);
            g.log_sigmoid(z)
        },
        above: |g, x, p| {
            let z = standardize(g, x, p[0], p[1]);
            let minus = g.neg(z);
            g.log_sigmoid(minus)
        },
        quantiles: Some((
            |g, log_below, p| {
                let log_above = log_complement(g, log_below);
                let z = g.sub(log_below, log_above);
                destandardize(g, z, p[0], p[1])
            },
            |g, log_above, p| {
                let log_below = log_complement(g, log_above);
                let z = g.sub(log_below, log_above);
                destandardize(g, z, p[0], p[1])
            },
        )),
    },
    icdf: Some(|g, q, p| {
        let z = logit(g, q);
        destandardize(g, z, p[0], p[1])
    }),
    ..DistDef::BASE
};

pub(super) static GUMBEL: DistDef = DistDef {
    name: "Gumbel",
    summary: "The largest of many: extreme values, skewed to the right.",
    formula: "-z - e^-z - ln scale,   z = (x - loc) / scale",
    params: &[scalar("loc", SupportKind::Real), scalar("scale", SupportKind::Positive)],
    log_prob: |g, x, p| {
        let z = standardize(g, x, p[0], p[1]);
        let minus = g.neg(z);
        let e = g.exp(minus);
        let log_scale = g.log(p[1]);
        let rest = g.add(e, log_scale);
        g.sub(minus, rest)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let unit = unit_exponential(g, shape);
        let log = g.log(unit);
        let z = g.neg(log);
        destandardize(g, z, p[0], p[1])
    }),
    sample: Sampler::Scalar(|rng, p| p[0] - p[1] * exp1(rng).ln()),
    mean: Some(|g, p| {
        let shift = g.mul_scalar(p[1], EULER_GAMMA);
        g.add(p[0], shift)
    }),
    variance: Some(|g, p| {
        let square = g.square(p[1]);
        g.mul_scalar(square, PI * PI / 6.0)
    }),
    entropy: Some(|g, p| {
        let log = g.log(p[1]);
        g.add_scalar(log, 1.0 + EULER_GAMMA)
    }),
    cdf: Some(|g, x, p| {
        let z = standardize(g, x, p[0], p[1]);
        let minus = g.neg(z);
        let e = g.exp(minus);
        let e = g.neg(e);
        g.exp(e)
    }),
    tails: Tails::Logs {
        below: gumbel_log_below,
        above: |g, x, p| {
            let log_below = gumbel_log_below(g, x, p);
            log_complement(g, log_below)
        },
        quantiles: Some((gumbel_of_log_below, |g, log_above, p| {
            // -ln(1 - e^l) is e^l in the tail, where the exponential has no digits left
            let tail = g.compare_scalar(Binary::Lt, log_above, -36.0);
            let near = guard(g, tail, log_above, 0.0);
            let far = {
                let z = g.neg(near);
                destandardize(g, z, p[0], p[1])
            };
            let clamped = g.scalar(-36.0);
            let clamped = g.maximum(log_above, clamped);
            let log_below = g.log1m_exp(clamped);
            let inner = gumbel_of_log_below(g, log_below, p);
            g.select(tail, far, inner)
        })),
    },
    icdf: Some(|g, q, p| {
        let log = g.log(q);
        let minus = g.neg(log);
        let log = g.log(minus);
        let z = g.neg(log);
        destandardize(g, z, p[0], p[1])
    }),
    kl: &[(DistId::GUMBEL, kl_gumbel_gumbel)],
    ..DistDef::BASE
};

/// `-e^-z`
fn gumbel_log_below(g: &mut Builder, x: ValueId, p: &[ValueId]) -> ValueId {
    let z = standardize(g, x, p[0], p[1]);
    let minus = g.neg(z);
    let e = g.exp(minus);
    g.neg(e)
}
/// `loc - scale ln(-l)`
fn gumbel_of_log_below(g: &mut Builder, log_below: ValueId, p: &[ValueId]) -> ValueId {
    let unit = g.neg(log_below);
    let log = g.log(unit);
    let z = g.neg(log);
    destandardize(g, z, p[0], p[1])
}

/// KL(Gumbel(m, s) || Gumbel(n, t)) = ln(t/s) + gamma (s/t - 1) + d + e^-d Gamma(1 + s/t) - 1, d = (m - n)/t.
fn kl_gumbel_gumbel(g: &mut Builder, p: &[ValueId], q: &[ValueId]) -> ValueId {
    let (log_s, log_t) = (g.log(p[1]), g.log(q[1]));
    let logs = g.sub(log_t, log_s);
    let ratio = g.div(p[1], q[1]);
    let euler = g.mul_scalar(ratio, EULER_GAMMA);
    let d = standardize(g, p[0], q[0], q[1]);
    let ratio1 = g.add_scalar(ratio, 1.0);
    let lgamma = g.lgamma(ratio1);
    let log_term = g.sub(lgamma, d);
    let term = g.exp(log_term);
    let sum = g.add_all(&[logs, euler, d, term]);
    g.add_scalar(sum, -1.0 - EULER_GAMMA)
}
