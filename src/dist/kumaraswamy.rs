//! Kumaraswamy(a, b) on [0, 1]: close to a Beta, with a cdf and quantiles in closed form.
//!
//! log_prob(x) = ln a + ln b + (a - 1) ln x + (b - 1) ln(1 - x^a).   cdf 1 - (1 - x^a)^b
//! Source: Jones 2009, Statistical Methodology 6:70.

use super::pieces::{EULER_GAMMA, guard, is_positive, or_impossible};
use super::{DistDef, Reparam, Sampler, SupportKind, Tails, exponential::exp1, exponential::unit_exponential, scalar};
use crate::ir::{Builder, ValueId};
use crate::kernels::elementwise::Binary;

pub(super) static KUMARASWAMY: DistDef = DistDef {
    name: "Kumaraswamy",
    summary: "Like a Beta(a, b), with a cdf in closed form.",
    formula: "ln a + ln b + (a - 1) ln x + (b - 1) ln(1 - x^a)   for 0 < x < 1",
    params: &[scalar("a", SupportKind::Positive), scalar("b", SupportKind::Positive)],
    support: SupportKind::UnitInterval,
    log_prob,
    rsample: Reparam::Noise(|g, p, shape| {
        // 1 - (1 - q)^(1/b) with -ln(1 - q) an exponential
        let unit = unit_exponential(g, shape);
        let log_above = g.neg(unit);
        quantile(g, log_above, p)
    }),
    sample: Sampler::Scalar(|rng, p| (-(-exp1(rng) / p[1]).exp_m1()).powf(1.0 / p[0])),
    mean: Some(|g, p| raw_moment(g, p, 1.0)),
    variance: Some(|g, p| {
        let (first, second) = (raw_moment(g, p, 1.0), raw_moment(g, p, 2.0));
        let square = g.square(first);
        g.sub(second, square)
    }),
    entropy: Some(|g, p| {
        // 1 - 1/b + (1 - 1/a) (psi(b + 1) + gamma) - ln a b
        let (inverse_a, inverse_b) = (g.recip(p[0]), g.recip(p[1]));
        let less_a = g.scalar_sub(1.0, inverse_a);
        let less_b = g.scalar_sub(1.0, inverse_b);
        let b1 = g.add_scalar(p[1], 1.0);
        let psi = g.digamma(b1);
        let harmonic = g.add_scalar(psi, EULER_GAMMA);
        let term = g.mul(less_a, harmonic);
        let (log_a, log_b) = (g.log(p[0]), g.log(p[1]));
        let logs = g.add(log_a, log_b);
        let sum = g.add(less_b, term);
        g.sub(sum, logs)
    }),
    cdf: Some(|g, x, p| {
        let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
        let x = g.maximum(x, zero);
        let x = g.minimum(x, one);
        let log_x = g.log(x);
        let log_power = g.mul(p[0], log_x);
        let log_rest = g.log1m_exp(log_power);
        let log_above = g.mul(p[1], log_rest);
        let minus = g.expm1(log_above);
        g.neg(minus)
    }),
    tails: Tails::Above(|g, x, p| {
        let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
        let x = g.maximum(x, zero);
        let x = g.minimum(x, one);
        let log_x = g.log(x);
        let log_power = g.mul(p[0], log_x);
        let log_rest = g.log1m_exp(log_power);
        let log_above = g.mul(p[1], log_rest);
        g.exp(log_above)
    }),
    icdf: Some(|g, q, p| {
        let minus = g.neg(q);
        let log_above = g.log1p(minus);
        quantile(g, log_above, p)
    }),
    ..DistDef::BASE
};

fn log_prob(g: &mut Builder, x: ValueId, p: &[ValueId]) -> ValueId {
    let above = is_positive(g, x);
    let below = g.compare_scalar(Binary::Lt, x, 1.0);
    let inside = g.and(above, below);
    let x = guard(g, inside, x, 0.5);
    let log_x = g.log(x);
    let log_power = g.mul(p[0], log_x);
    let log_rest = g.log1m_exp(log_power);
    let less_b = g.add_scalar(p[1], -1.0);
    let fall = g.mul(less_b, log_rest);
    let rise = g.sub(log_power, log_x);
    let (log_a, log_b) = (g.log(p[0]), g.log(p[1]));
    let norm = g.add(log_a, log_b);
    let lp = g.add(rise, fall);
    let lp = g.add(lp, norm);
    or_impossible(g, inside, lp)
}

/// `(1 - (1 - q)^(1/b))^(1/a)`, `ln(1 - q)` given.
fn quantile(g: &mut Builder, log_above: ValueId, p: &[ValueId]) -> ValueId {
    let log_rest = g.div(log_above, p[1]);
    let log_power = g.log1m_exp(log_rest);
    let log_x = g.div(log_power, p[0]);
    g.exp(log_x)
}

/// `b B(1 + n/a, b)`
fn raw_moment(g: &mut Builder, p: &[ValueId], n: f64) -> ValueId {
    let share = g.scalar_div(n, p[0]);
    let first = g.add_scalar(share, 1.0);
    let beta = g.lbeta(first, p[1]);
    let log_b = g.log(p[1]);
    let log = g.add(beta, log_b);
    g.exp(log)
}
