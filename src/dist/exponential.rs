//! Waiting times and power tails: Exponential, Weibull, Pareto.
//!
//! Exponential(rate b):  log_prob(x) = ln b - b x.   Weibull(concentration k, scale s):  ln(k/s) + (k-1) ln(x/s) - (x/s)^k.
//! Pareto(concentration a, scale m) on x >= m:  ln a - ln x - a ln(x/m).
//! Source: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions, vol. 1, ch. 19-21.

use super::pieces::{EULER_GAMMA, guard, is_nonnegative, is_positive, or_impossible};
use super::tails::log_complement;
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, Tails, gamma, scalar};
use crate::ir::{Builder, Shape, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::NoiseKind;
use rand::{Rng, RngExt};
use rand_distr::Exp1;

pub(super) static EXPONENTIAL: DistDef = DistDef {
    name: "Exponential",
    summary: "The waiting time for an event that happens rate times per unit; its mean is 1 / rate.",
    formula: "ln rate - rate x   for x >= 0",
    params: &[scalar("rate", SupportKind::Positive)],
    support: SupportKind::NonNegative,
    log_prob: |g, x, p| {
        let inside = is_nonnegative(g, x);
        let log_rate = g.log(p[0]);
        let fall = g.mul(p[0], x);
        let lp = g.sub(log_rate, fall);
        or_impossible(g, inside, lp)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let unit = unit_exponential(g, shape);
        g.div(unit, p[0])
    }),
    sample: Sampler::Scalar(|rng, p| exp1(rng) / p[0]),
    mean: Some(|g, p| g.recip(p[0])),
    variance: Some(|g, p| {
        let mean = g.recip(p[0]);
        g.square(mean)
    }),
    entropy: Some(|g, p| {
        let log = g.log(p[0]);
        g.scalar_sub(1.0, log)
    }),
    cdf: Some(|g, x, p| {
        let x = g.relu(x);
        let log_above = g.mul(p[0], x);
        let log_above = g.neg(log_above);
        let minus = g.expm1(log_above);
        g.neg(minus)
    }),
    tails: Tails::Logs {
        below: |g, x, p| {
            let log_above = exponential_log_above(g, x, p);
            log_complement(g, log_above)
        },
        above: exponential_log_above,
        quantiles: Some((
            |g, log_below, p| {
                let log_above = log_complement(g, log_below);
                let unit = g.neg(log_above);
                g.div(unit, p[0])
            },
            |g, log_above, p| {
                let unit = g.neg(log_above);
                g.div(unit, p[0])
            },
        )),
    },
    icdf: Some(|g, q, p| {
        let unit = unit_quantile(g, q);
        g.div(unit, p[0])
    }),
    kl: &[
        (DistId::EXPONENTIAL, |g, p, q| {
            // ln(b/c) + c/b - 1
            let ratio = g.div(q[0], p[0]);
            let log_p = g.log(p[0]);
            let log_q = g.log(q[0]);
            let logs = g.sub(log_p, log_q);
            let sum = g.add(ratio, logs);
            g.add_scalar(sum, -1.0)
        }),
        (DistId::GAMMA, |g, p, q| {
            let one = g.scalar(1.0);
            gamma::kl_gamma_gamma(g, &[one, p[0]], q)
        }),
    ],
    ..DistDef::BASE
};

pub(super) static WEIBULL: DistDef = DistDef {
    name: "Weibull",
    summary: "Lifetimes whose failure rate grows (concentration > 1) or falls (< 1) as a power of time.",
    formula: "ln(concentration / scale) + (concentration - 1) ln(x / scale) - (x / scale)^concentration   for x > 0",
    params: &[scalar("concentration", SupportKind::Positive), scalar("scale", SupportKind::Positive)],
    support: SupportKind::Positive,
    log_prob: |g, x, p| {
        let inside = is_positive(g, x);
        let x = guard(g, inside, x, 1.0);
        let log_x = g.log(x);
        let log_scale = g.log(p[1]);
        let log_ratio = g.sub(log_x, log_scale);
        let power = g.mul(p[0], log_ratio);
        let hazard = g.exp(power);
        let log_k = g.log(p[0]);
        let rise = g.sub(power, log_x);
        let rise = g.add(rise, log_k);
        let lp = g.sub(rise, hazard);
        or_impossible(g, inside, lp)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let unit = unit_exponential(g, shape);
        weibull_of(g, unit, p)
    }),
    sample: Sampler::Scalar(|rng, p| p[1] * exp1(rng).powf(1.0 / p[0])),
    mean: Some(|g, p| {
        let first = weibull_raw_moment(g, p[0], 1.0);
        g.mul(first, p[1])
    }),
    variance: Some(|g, p| {
        let first = weibull_raw_moment(g, p[0], 1.0);
        let second = weibull_raw_moment(g, p[0], 2.0);
        let square = g.square(first);
        let spread = g.sub(second, square);
        let scale2 = g.square(p[1]);
        g.mul(spread, scale2)
    }),
    entropy: Some(|g, p| {
        // gamma (1 - 1/k) + ln(s/k) + 1
        let inverse = g.recip(p[0]);
        let rest = g.scalar_sub(1.0, inverse);
        let rest = g.mul_scalar(rest, EULER_GAMMA);
        let log_scale = g.log(p[1]);
        let log_k = g.log(p[0]);
        let logs = g.sub(log_scale, log_k);
        let sum = g.add(rest, logs);
        g.add_scalar(sum, 1.0)
    }),
    cdf: Some(|g, x, p| {
        let inside = is_positive(g, x);
        let x = guard(g, inside, x, 1.0);
        let ratio = g.div(x, p[1]);
        let hazard = g.pow(ratio, p[0]);
        let hazard = g.neg(hazard);
        let minus = g.expm1(hazard);
        let below = g.neg(minus);
        guard(g, inside, below, 0.0)
    }),
    tails: Tails::Logs {
        below: |g, x, p| {
            let log_above = weibull_log_above(g, x, p);
            log_complement(g, log_above)
        },
        above: weibull_log_above,
        quantiles: Some((
            |g, log_below, p| {
                let log_above = log_complement(g, log_below);
                let unit = g.neg(log_above);
                weibull_of(g, unit, p)
            },
            |g, log_above, p| {
                let unit = g.neg(log_above);
                weibull_of(g, unit, p)
            },
        )),
    },
    icdf: Some(|g, q, p| {
        let unit = unit_quantile(g, q);
        weibull_of(g, unit, p)
    }),
    kl: &[(DistId::WEIBULL, kl_weibull_weibull)],
    ..DistDef::BASE
};

pub(super) static PARETO: DistDef = DistDef {
    name: "Pareto",
    summary: "A power law above scale: the mass beyond x is (scale / x)^concentration.",
    formula: "ln concentration - ln x - concentration ln(x / scale)   for x >= scale",
    params: &[scalar("concentration", SupportKind::Positive), scalar("scale", SupportKind::Positive)],
    support: SupportKind::GreaterThan,
    log_prob: |g, x, p| {
        let inside = g.ge(x, p[1]);
        let one = g.scalar(1.0);
        let x = g.select(inside, x, one);
        let log_x = g.log(x);
        let log_scale = g.log(p[1]);
        let log_ratio = g.sub(log_x, log_scale);
        let fall = g.mul(p[0], log_ratio);
        let log_a = g.log(p[0]);
        let rest = g.sub(log_a, log_x);
        let lp = g.sub(rest, fall);
        or_impossible(g, inside, lp)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let unit = unit_exponential(g, shape);
        pareto_of(g, unit, p)
    }),
    sample: Sampler::Scalar(|rng, p| p[1] * (exp1(rng) / p[0]).exp()),
    mean: Some(|g, p| {
        let exists = g.compare_scalar(Binary::Gt, p[0], 1.0);
        let less = g.add_scalar(p[0], -1.0);
        let ratio = g.div(p[0], less);
        let value = g.mul(ratio, p[1]);
        guard(g, exists, value, f64::INFINITY)
    }),
    variance: Some(|g, p| {
        let exists = g.compare_scalar(Binary::Gt, p[0], 2.0);
        let less = g.add_scalar(p[0], -1.0);
        let share = g.div(p[1], less);
        let square = g.square(share);
        let less2 = g.add_scalar(p[0], -2.0);
        let ratio = g.div(p[0], less2);
        let value = g.mul(square, ratio);
        guard(g, exists, value, f64::INFINITY)
    }),
    entropy: Some(|g, p| {
        // ln(m/a) + 1/a + 1
        let log_scale = g.log(p[1]);
        let log_a = g.log(p[0]);
        let logs = g.sub(log_scale, log_a);
        let inverse = g.recip(p[0]);
        let sum = g.add(logs, inverse);
        g.add_scalar(sum, 1.0)
    }),
    cdf: Some(|g, x, p| {
        let x = g.maximum(x, p[1]);
        let log_x = g.log(x);
        let log_scale = g.log(p[1]);
        let log_ratio = g.sub(log_scale, log_x);
        let log_above = g.mul(p[0], log_ratio);
        let minus = g.expm1(log_above);
        g.neg(minus)
    }),
    tails: Tails::Logs {
        below: |g, x, p| {
            let log_above = pareto_log_above(g, x, p);
            log_complement(g, log_above)
        },
        above: pareto_log_above,
        quantiles: Some((
            |g, log_below, p| {
                let log_above = log_complement(g, log_below);
                let unit = g.neg(log_above);
                pareto_of(g, unit, p)
            },
            |g, log_above, p| {
                let unit = g.neg(log_above);
                pareto_of(g, unit, p)
            },
        )),
    },
    icdf: Some(|g, q, p| {
        let unit = unit_quantile(g, q);
        pareto_of(g, unit, p)
    }),
    bounds: Some(|g, p| {
        let infinite = g.scalar(f64::INFINITY);
        (p[1], infinite)
    }),
    kl: &[(DistId::PARETO, |g, p, q| {
        // ln(a/c) + c ln(m/n) + c/a - 1, inf where m < n
        let inside = g.ge(p[1], q[1]);
        let (log_a, log_c) = (g.log(p[0]), g.log(q[0]));
        let (log_m, log_n) = (g.log(p[1]), g.log(q[1]));
        let shift = g.sub(log_m, log_n);
        let shift = g.mul(q[0], shift);
        let ratio = g.div(q[0], p[0]);
        let logs = g.sub(log_a, log_c);
        let sum = g.add_all(&[logs, shift, ratio]);
        let kl = g.add_scalar(sum, -1.0);
        guard(g, inside, kl, f64::INFINITY)
    })],
    ..DistDef::BASE
};

/// `-rate x`, 0 left of 0.
fn exponential_log_above(g: &mut Builder, x: ValueId, p: &[ValueId]) -> ValueId {
    let x = g.relu(x);
    let hazard = g.mul(p[0], x);
    g.neg(hazard)
}
/// `-(x / scale)^concentration`, 0 left of 0.
fn weibull_log_above(g: &mut Builder, x: ValueId, p: &[ValueId]) -> ValueId {
    let inside = is_positive(g, x);
    let x = guard(g, inside, x, 1.0);
    let (log_x, log_scale) = (g.log(x), g.log(p[1]));
    let log_ratio = g.sub(log_x, log_scale);
    let power = g.mul(p[0], log_ratio);
    let hazard = g.exp(power);
    let log_above = g.neg(hazard);
    guard(g, inside, log_above, 0.0)
}
/// `concentration ln(scale / x)`, 0 left of the scale.
fn pareto_log_above(g: &mut Builder, x: ValueId, p: &[ValueId]) -> ValueId {
    let x = g.maximum(x, p[1]);
    let (log_x, log_scale) = (g.log(x), g.log(p[1]));
    let log_ratio = g.sub(log_scale, log_x);
    g.mul(p[0], log_ratio)
}

pub(super) fn exp1(rng: &mut dyn Rng) -> f64 {
    rng.sample(Exp1)
}

/// Exponential(1) noise.
pub(super) fn unit_exponential(g: &mut Builder, shape: &Shape) -> ValueId {
    let u = g.noise(NoiseKind::Uniform, shape.clone());
    let log = g.log(u);
    g.neg(log)
}

/// The quantile of Exponential(1): `-ln(1 - q)`.
pub(super) fn unit_quantile(g: &mut Builder, q: ValueId) -> ValueId {
    let minus = g.neg(q);
    let log = g.log1p(minus);
    g.neg(log)
}

fn weibull_of(g: &mut Builder, unit: ValueId, p: &[ValueId]) -> ValueId {
    let log = g.log(unit);
    let log = g.div(log, p[0]);
    let ratio = g.exp(log);
    g.mul(ratio, p[1])
}

/// `Gamma(1 + n/k)`
fn weibull_raw_moment(g: &mut Builder, k: ValueId, n: f64) -> ValueId {
    let share = g.scalar_div(n, k);
    let arg = g.add_scalar(share, 1.0);
    let log = g.lgamma(arg);
    g.exp(log)
}

fn pareto_of(g: &mut Builder, unit: ValueId, p: &[ValueId]) -> ValueId {
    let log = g.div(unit, p[0]);
    let ratio = g.exp(log);
    g.mul(ratio, p[1])
}

/// KL(Weibull(k, s) || Weibull(l, t)) = ln(k/l) + gamma (l/k - 1) + l ln(t/s) + (s/t)^l Gamma(1 + l/k) - 1
/// (Bauckhage 2013, arXiv:1310.3713).
fn kl_weibull_weibull(g: &mut Builder, p: &[ValueId], q: &[ValueId]) -> ValueId {
    let (log_k, log_l) = (g.log(p[0]), g.log(q[0]));
    let shapes = g.sub(log_k, log_l);
    let share = g.div(q[0], p[0]);
    let share1 = g.add_scalar(share, 1.0);
    let euler = g.mul_scalar(share, EULER_GAMMA);
    let (log_s, log_t) = (g.log(p[1]), g.log(q[1]));
    let shift = g.sub(log_t, log_s);
    let shift = g.mul(q[0], shift);
    let lgamma = g.lgamma(share1);
    let log_power = g.sub(lgamma, shift);
    let power = g.exp(log_power);
    let sum = g.add_all(&[shapes, euler, shift, power]);
    g.add_scalar(sum, -1.0 - EULER_GAMMA)
}
