//! Gamma(concentration a, rate b) on x > 0, its inverse, and the chi-squared as a special case.
//!
//! log_prob(x) = a ln b - lnGamma(a) + (a - 1) ln x - b x.   mean a/b,  variance a/b^2   (x carries the unit of 1/b)
//! InverseGamma(a, scale b) is 1/X of Gamma(a, rate b); ChiSquared(df) is Gamma(df/2, 1/2).
//! Draws: Marsaglia & Tsang 2000, ACM TOMS 26:363.   Their gradient: implicit, Figurnov et al. 2018, arXiv:1805.08498.

use super::pieces::{guard, is_positive, or_impossible};
use super::tails::{log_gammainc, log_gammaincc};
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, Tails, implicit, scalar};
use crate::ir::{Builder, ValueId};
use crate::kernels::elementwise::Binary;
use rand::Rng;
use rand_distr::Distribution;

pub(super) static GAMMA: DistDef = DistDef {
    name: "Gamma",
    summary: "A sum of concentration waiting times with the given rate; positive, of any skewness.",
    formula: "concentration ln rate - ln Gamma(concentration) + (concentration - 1) ln x - rate x   for x > 0",
    params: &[scalar("concentration", SupportKind::Positive), scalar("rate", SupportKind::Positive)],
    support: SupportKind::Positive,
    log_prob: |g, x, p| gamma_log_prob(g, x, p[0], p[1]),
    rsample: Reparam::Implicit(|g, p, shape| {
        let unit = implicit::standard_gamma(g, p[0], shape);
        g.div(unit, p[1])
    }),
    sample: Sampler::Scalar(|rng, p| standard_gamma(rng, p[0]) / p[1]),
    mean: Some(|g, p| g.div(p[0], p[1])),
    variance: Some(|g, p| {
        let mean = g.div(p[0], p[1]);
        g.div(mean, p[1])
    }),
    entropy: Some(|g, p| {
        let unit = unit_entropy(g, p[0]);
        let log_rate = g.log(p[1]);
        g.sub(unit, log_rate)
    }),
    cdf: Some(|g, x, p| {
        let x = g.relu(x);
        let y = g.mul(p[1], x);
        g.gammainc(p[0], y)
    }),
    tails: Tails::Logs {
        below: |g, x, p| {
            let y = g.mul(p[1], x);
            log_gammainc(g, p[0], y)
        },
        above: |g, x, p| {
            let y = g.mul(p[1], x);
            log_gammaincc(g, p[0], y)
        },
        quantiles: None,
    },
    kl: &[
        (DistId::GAMMA, kl_gamma_gamma),
        (DistId::EXPONENTIAL, |g, p, q| {
            let one = g.scalar(1.0);
            kl_gamma_gamma(g, p, &[one, q[0]])
        }),
    ],
    ..DistDef::BASE
};

pub(super) static INVERSE_GAMMA: DistDef = DistDef {
    name: "InverseGamma",
    summary: "The reciprocal of a Gamma: the conjugate prior of a variance.",
    formula: "concentration ln scale - ln Gamma(concentration) - (concentration + 1) ln x - scale / x   for x > 0",
    params: &[scalar("concentration", SupportKind::Positive), scalar("scale", SupportKind::Positive)],
    support: SupportKind::Positive,
    log_prob: |g, x, p| {
        let inside = is_positive(g, x);
        let x = guard(g, inside, x, 1.0);
        let log_x = g.log(x);
        let more = g.add_scalar(p[0], 1.0);
        let fall = g.mul(more, log_x);
        let inverse = g.div(p[1], x);
        let norm = gamma_norm(g, p[0], p[1]);
        let lp = g.sub(norm, fall);
        let lp = g.sub(lp, inverse);
        or_impossible(g, inside, lp)
    },
    rsample: Reparam::Implicit(|g, p, shape| {
        let unit = implicit::standard_gamma(g, p[0], shape);
        g.div(p[1], unit)
    }),
    sample: Sampler::Scalar(|rng, p| p[1] / standard_gamma(rng, p[0])),
    mean: Some(|g, p| {
        let exists = g.compare_scalar(Binary::Gt, p[0], 1.0);
        let less = g.add_scalar(p[0], -1.0);
        let value = g.div(p[1], less);
        guard(g, exists, value, f64::INFINITY)
    }),
    variance: Some(|g, p| {
        let exists = g.compare_scalar(Binary::Gt, p[0], 2.0);
        let less = g.add_scalar(p[0], -1.0);
        let mean = g.div(p[1], less);
        let square = g.square(mean);
        let less2 = g.add_scalar(p[0], -2.0);
        let value = g.div(square, less2);
        guard(g, exists, value, f64::INFINITY)
    }),
    entropy: Some(|g, p| {
        // a + ln b + lnGamma(a) - (1 + a) psi(a)
        let psi = g.digamma(p[0]);
        let more = g.add_scalar(p[0], 1.0);
        let slope = g.mul(more, psi);
        let lgamma = g.lgamma(p[0]);
        let log_scale = g.log(p[1]);
        let sum = g.add_all(&[p[0], log_scale, lgamma]);
        g.sub(sum, slope)
    }),
    cdf: Some(|g, x, p| {
        let inside = is_positive(g, x);
        let x = guard(g, inside, x, 1.0);
        let y = g.div(p[1], x);
        let below = g.gammaincc(p[0], y);
        guard(g, inside, below, 0.0)
    }),
    tails: Tails::Logs {
        below: |g, x, p| {
            let inside = is_positive(g, x);
            let x = guard(g, inside, x, 1.0);
            let y = g.div(p[1], x);
            let below = log_gammaincc(g, p[0], y);
            or_impossible(g, inside, below)
        },
        above: |g, x, p| {
            let inside = is_positive(g, x);
            let x = guard(g, inside, x, 1.0);
            let y = g.div(p[1], x);
            let above = log_gammainc(g, p[0], y);
            guard(g, inside, above, 0.0)
        },
        quantiles: None,
    },
    // A bijection changes no divergence.
    kl: &[(DistId::INVERSE_GAMMA, kl_gamma_gamma)],
    ..DistDef::BASE
};

pub(super) static CHI_SQUARED: DistDef = DistDef {
    name: "ChiSquared",
    summary: "The sum of the squares of df standard normals.",
    formula: "(df / 2 - 1) ln x - x / 2 - ln Gamma(df / 2) - df / 2 ln 2   for x > 0",
    params: &[scalar("df", SupportKind::Positive)],
    support: SupportKind::Positive,
    log_prob: |g, x, p| {
        let q = as_gamma(g, p);
        gamma_log_prob(g, x, q[0], q[1])
    },
    rsample: Reparam::Implicit(|g, p, shape| {
        let half = g.mul_scalar(p[0], 0.5);
        let unit = implicit::standard_gamma(g, half, shape);
        g.mul_scalar(unit, 2.0)
    }),
    sample: Sampler::Scalar(|rng, p| 2.0 * standard_gamma(rng, 0.5 * p[0])),
    mean: Some(|_, p| p[0]),
    variance: Some(|g, p| g.mul_scalar(p[0], 2.0)),
    entropy: Some(|g, p| {
        let half = g.mul_scalar(p[0], 0.5);
        let unit = unit_entropy(g, half);
        g.add_scalar(unit, std::f64::consts::LN_2)
    }),
    cdf: Some(|g, x, p| {
        let x = g.relu(x);
        let half_x = g.mul_scalar(x, 0.5);
        let half = g.mul_scalar(p[0], 0.5);
        g.gammainc(half, half_x)
    }),
    tails: Tails::Logs {
        below: |g, x, p| {
            let (half, half_x) = (g.mul_scalar(p[0], 0.5), g.mul_scalar(x, 0.5));
            log_gammainc(g, half, half_x)
        },
        above: |g, x, p| {
            let (half, half_x) = (g.mul_scalar(p[0], 0.5), g.mul_scalar(x, 0.5));
            log_gammaincc(g, half, half_x)
        },
        quantiles: None,
    },
    kl: &[(DistId::CHI_SQUARED, |g, p, q| {
        let p = as_gamma(g, p);
        let q = as_gamma(g, q);
        kl_gamma_gamma(g, &p, &q)
    })],
    ..DistDef::BASE
};

/// One draw of Gamma(concentration, 1), never 0; NaN unless the concentration is positive.
pub(super) fn standard_gamma(rng: &mut dyn Rng, concentration: f64) -> f64 {
    rand_distr::Gamma::new(concentration, 1.0).map_or(f64::NAN, |gamma| {
        // f64::max would turn a NaN into a draw
        let x: f64 = gamma.sample(rng);
        if x < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { x }
    })
}

/// The parameters of ChiSquared as those of a Gamma.
fn as_gamma(g: &mut Builder, p: &[ValueId]) -> [ValueId; 2] {
    [g.mul_scalar(p[0], 0.5), g.scalar(0.5)]
}

/// `a ln b - lnGamma(a)`
fn gamma_norm(g: &mut Builder, concentration: ValueId, rate: ValueId) -> ValueId {
    let log_rate = g.log(rate);
    let rate_part = g.mul(concentration, log_rate);
    let lgamma = g.lgamma(concentration);
    g.sub(rate_part, lgamma)
}

fn gamma_log_prob(g: &mut Builder, x: ValueId, concentration: ValueId, rate: ValueId) -> ValueId {
    // At x = 0 the density is finite for concentration 1 only; for less it is infinite, which nobody can use.
    let positive = is_positive(g, x);
    let zero = g.compare_scalar(Binary::Eq, x, 0.0);
    let exponential = g.compare_scalar(Binary::Eq, concentration, 1.0);
    let corner = g.and(zero, exponential);
    let inside = g.or(positive, corner);
    let for_log = guard(g, positive, x, 1.0);
    let log_x = g.log(for_log);
    let less = g.add_scalar(concentration, -1.0);
    let rise = g.mul(less, log_x);
    let fall = g.mul(rate, x);
    let norm = gamma_norm(g, concentration, rate);
    let lp = g.sub(rise, fall);
    let lp = g.add(lp, norm);
    or_impossible(g, inside, lp)
}

/// `a + lnGamma(a) + (1 - a) psi(a)`: the entropy at rate 1.
fn unit_entropy(g: &mut Builder, a: ValueId) -> ValueId {
    let psi = g.digamma(a);
    let less = g.scalar_sub(1.0, a);
    let slope = g.mul(less, psi);
    let lgamma = g.lgamma(a);
    g.add_all(&[a, lgamma, slope])
}

/// KL(Gamma(a, b) || Gamma(c, d)) = (a - c) psi(a) - lnGamma(a) + lnGamma(c) + c ln(b/d) + a (d/b - 1).
pub(super) fn kl_gamma_gamma(g: &mut Builder, p: &[ValueId], q: &[ValueId]) -> ValueId {
    let psi = g.digamma(p[0]);
    let gap = g.sub(p[0], q[0]);
    let slope = g.mul(gap, psi);
    let (lgamma_p, lgamma_q) = (g.lgamma(p[0]), g.lgamma(q[0]));
    let norms = g.sub(lgamma_q, lgamma_p);
    let (log_b, log_d) = (g.log(p[1]), g.log(q[1]));
    let logs = g.sub(log_b, log_d);
    let rates = g.mul(q[0], logs);
    let ratio = g.div(q[1], p[1]);
    let less = g.add_scalar(ratio, -1.0);
    let means = g.mul(p[0], less);
    g.add_all(&[slope, norms, rates, means])
}
