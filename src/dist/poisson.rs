//! Counts without an upper end: Poisson, NegativeBinomial (a Poisson whose rate is a Gamma), Geometric.
//!
//! Poisson:  log_prob(k) = k ln r - r - ln k!.
//! NegativeBinomial(mean m, concentration c):  -ln B(c, k + 1) - ln(c + k) - c ln(1 + m/c) - k ln(1 + c/m);
//! variance m + m^2/c.   Geometric(p), failures before the first success:  k ln(1 - p) + ln p.

use super::gamma::standard_gamma;
use super::pieces::{count_times_log, count_times_log1m, guard, is_count, is_nonnegative, or_impossible, weigh_log};
use super::tails::{log_complement, log_gammainc, log_gammaincc};
use super::{DistDef, DistId, Sampler, SupportKind, Tails, exponential, scalar};
use crate::ir::{Builder, DType, ValueId};
use rand::Rng;
use rand_distr::Distribution;

const BASE: DistDef = DistDef { support: SupportKind::Count, dtype: DType::Int, ..DistDef::BASE };

const POISSON: DistDef = DistDef {
    name: "Poisson",
    summary: "The number of independent events in a unit of time, rate on average.",
    ..BASE
};

pub(super) static RATE: DistDef = DistDef {
    formula: "x ln rate - rate - ln x!   for x = 0, 1, 2, ...",
    params: &[scalar("rate", SupportKind::NonNegative)],
    log_prob: |g, x, p| {
        with_count(g, x, |g, k| {
            let rise = count_times_log(g, k, p[0]);
            let lp = g.sub(rise, p[0]);
            less_log_factorial(g, lp, k)
        })
    },
    sample: Sampler::Scalar(|rng, p| poisson(rng, p[0])),
    mean: Some(|_, p| p[0]),
    variance: Some(|_, p| p[0]),
    cdf: Some(|g, x, p| poisson_cdf(g, x, p[0])),
    tails: Tails::Logs {
        below: |g, x, p| poisson_log_below(g, x, p[0]),
        above: |g, x, p| poisson_log_above(g, x, p[0]),
        quantiles: None,
    },
    kl: &[
        (DistId::POISSON_RATE, |g, p, q| {
            let (log_r, log_s) = (g.log(p[0]), g.log(q[0]));
            kl_poisson(g, (p[0], log_r), (q[0], log_s))
        }),
        (DistId::POISSON_LOG_RATE, |g, p, q| {
            let (log_r, s) = (g.log(p[0]), g.exp(q[0]));
            kl_poisson(g, (p[0], log_r), (s, q[0]))
        }),
    ],
    ..POISSON
};

pub(super) static LOG_RATE: DistDef = DistDef {
    formula: "x log_rate - e^log_rate - ln x!   for x = 0, 1, 2, ...",
    params: &[scalar("log_rate", SupportKind::Real)],
    log_prob: |g, x, p| {
        with_count(g, x, |g, k| {
            let rise = g.mul(k, p[0]);
            let rate = g.exp(p[0]);
            let lp = g.sub(rise, rate);
            less_log_factorial(g, lp, k)
        })
    },
    sample: Sampler::Scalar(|rng, p| poisson(rng, p[0].exp())),
    mean: Some(|g, p| g.exp(p[0])),
    variance: Some(|g, p| g.exp(p[0])),
    cdf: Some(|g, x, p| {
        let rate = g.exp(p[0]);
        poisson_cdf(g, x, rate)
    }),
    tails: Tails::Logs {
        below: |g, x, p| {
            let rate = g.exp(p[0]);
            poisson_log_below(g, x, rate)
        },
        above: |g, x, p| {
            let rate = g.exp(p[0]);
            poisson_log_above(g, x, rate)
        },
        quantiles: None,
    },
    kl: &[
        (DistId::POISSON_LOG_RATE, |g, p, q| {
            let (r, s) = (g.exp(p[0]), g.exp(q[0]));
            kl_poisson(g, (r, p[0]), (s, q[0]))
        }),
        (DistId::POISSON_RATE, |g, p, q| {
            let (r, log_s) = (g.exp(p[0]), g.log(q[0]));
            kl_poisson(g, (r, p[0]), (q[0], log_s))
        }),
    ],
    ..POISSON
};

pub(super) static NEGATIVE_BINOMIAL: DistDef = DistDef {
    name: "NegativeBinomial",
    summary: "Counts more spread than a Poisson's: variance mean + mean^2 / concentration.",
    formula: "-ln B(concentration, x + 1) - ln(concentration + x) - concentration ln(1 + mean / concentration) \
              - x ln(1 + concentration / mean)   for x = 0, 1, 2, ...",
    params: &[scalar("mean", SupportKind::Positive), scalar("concentration", SupportKind::Positive)],
    log_prob: |g, x, p| {
        with_count(g, x, |g, k| {
            let k1 = g.add_scalar(k, 1.0);
            let beta = g.lbeta(p[1], k1);
            let sum = g.add(p[1], k);
            let log_sum = g.log(sum);
            let up = g.div(p[0], p[1]);
            let failures = g.log1p(up);
            let failures = g.mul(p[1], failures);
            let down = g.div(p[1], p[0]);
            let successes = g.log1p(down);
            let successes = g.mul(k, successes);
            let total = g.add_all(&[failures, beta, log_sum, successes]);
            g.neg(total)
        })
    },
    sample: Sampler::Scalar(|rng, p| {
        let rate = standard_gamma(rng, p[1]) * (p[0] / p[1]);
        poisson(rng, rate)
    }),
    mean: Some(|_, p| p[0]),
    variance: Some(|g, p| {
        let ratio = g.div(p[0], p[1]);
        let more = g.add_scalar(ratio, 1.0);
        g.mul(p[0], more)
    }),
    cdf: Some(|g, x, p| {
        // I_p(c, k + 1) with p = c / (c + m)
        let (k1, some) = count_above(g, x);
        let sum = g.add(p[0], p[1]);
        let share = g.div(p[1], sum);
        let below = g.betainc(p[1], k1, share);
        guard(g, some, below, 0.0)
    }),
    tails: Tails::Above(|g, x, p| {
        let (k1, some) = count_above(g, x);
        let sum = g.add(p[0], p[1]);
        let share = g.div(p[0], sum);
        let above = g.betainc(k1, p[1], share);
        guard(g, some, above, 1.0)
    }),
    ..BASE
};

pub(super) static GEOMETRIC: DistDef = DistDef {
    name: "Geometric",
    summary: "The number of failures before the first success.",
    formula: "x ln(1 - probs) + ln probs   for x = 0, 1, 2, ...",
    params: &[scalar("probs", SupportKind::UnitInterval)],
    log_prob: |g, x, p| {
        with_count(g, x, |g, k| {
            let failures = count_times_log1m(g, k, p[0]);
            let log_p = g.log(p[0]);
            g.add(failures, log_p)
        })
    },
    sample: Sampler::Scalar(|rng, p| match p[0] {
        1.0 => 0.0,
        p if p > 0.0 && p < 1.0 => (exponential::exp1(rng) / -(-p).ln_1p()).floor(),
        _ => f64::NAN,
    }),
    mean: Some(|g, p| {
        let rest = g.scalar_sub(1.0, p[0]);
        g.div(rest, p[0])
    }),
    variance: Some(|g, p| {
        let rest = g.scalar_sub(1.0, p[0]);
        let mean = g.div(rest, p[0]);
        g.div(mean, p[0])
    }),
    entropy: Some(|g, p| {
        // -ln p - (1 - p)/p ln(1 - p)
        let (odds, log_rest) = odds_and_log_rest(g, p[0]);
        let term = weigh_log(g, odds, log_rest);
        let log_p = g.log(p[0]);
        let sum = g.add(log_p, term);
        g.neg(sum)
    }),
    cdf: Some(|g, x, p| {
        let (k1, some) = count_above(g, x);
        let minus = g.neg(p[0]);
        let log_rest = g.log1p(minus);
        let log_above = g.mul(k1, log_rest);
        let below = g.expm1(log_above);
        let below = g.neg(below);
        guard(g, some, below, 0.0)
    }),
    tails: Tails::Logs {
        below: |g, x, p| {
            let log_above = geometric_log_above(g, x, p);
            log_complement(g, log_above)
        },
        above: geometric_log_above,
        quantiles: None,
    },
    kl: &[(DistId::GEOMETRIC, |g, p, q| {
        // ln(p/q) + (1 - p)/p ln((1 - p)/(1 - q))
        let (odds, log_rest) = odds_and_log_rest(g, p[0]);
        let (_, other_rest) = odds_and_log_rest(g, q[0]);
        let gap = g.sub(log_rest, other_rest);
        let failures = weigh_log(g, odds, gap);
        let (log_p, log_q) = (g.log(p[0]), g.log(q[0]));
        let success = g.sub(log_p, log_q);
        g.add(success, failures)
    })],
    ..BASE
};

/// One draw; NaN unless the rate is 0 or greater and finite.
pub(super) fn poisson(rng: &mut dyn Rng, rate: f64) -> f64 {
    if rate == 0.0 { 0.0 } else { rand_distr::Poisson::new(rate).map_or(f64::NAN, |p| p.sample(rng)) }
}

/// `log_mass(k)` where `x` is a count.
fn with_count(g: &mut Builder, x: ValueId, log_mass: impl FnOnce(&mut Builder, ValueId) -> ValueId) -> ValueId {
    let valid = is_count(g, x);
    let k = guard(g, valid, x, 0.0);
    let lp = log_mass(g, k);
    or_impossible(g, valid, lp)
}

fn less_log_factorial(g: &mut Builder, lp: ValueId, k: ValueId) -> ValueId {
    let k1 = g.add_scalar(k, 1.0);
    let log_factorial = g.lgamma(k1);
    g.sub(lp, log_factorial)
}

/// `floor(x) + 1`, at least 1, and whether `x >= 0`.
fn count_above(g: &mut Builder, x: ValueId) -> (ValueId, ValueId) {
    let floor = g.floor(x);
    let some = is_nonnegative(g, floor);
    let k = guard(g, some, floor, 0.0);
    (g.add_scalar(k, 1.0), some)
}

/// `P(X <= k) = Q(k + 1, rate)`
fn poisson_cdf(g: &mut Builder, x: ValueId, rate: ValueId) -> ValueId {
    let (k1, some) = count_above(g, x);
    let below = g.gammaincc(k1, rate);
    guard(g, some, below, 0.0)
}

fn poisson_log_below(g: &mut Builder, x: ValueId, rate: ValueId) -> ValueId {
    let (k1, some) = count_above(g, x);
    let below = log_gammaincc(g, k1, rate);
    or_impossible(g, some, below)
}
fn poisson_log_above(g: &mut Builder, x: ValueId, rate: ValueId) -> ValueId {
    let (k1, some) = count_above(g, x);
    let above = log_gammainc(g, k1, rate);
    guard(g, some, above, 0.0)
}
/// `(k + 1) ln(1 - probs)`
fn geometric_log_above(g: &mut Builder, x: ValueId, p: &[ValueId]) -> ValueId {
    let (k1, some) = count_above(g, x);
    let minus = g.neg(p[0]);
    let log_rest = g.log1p(minus);
    let above = g.mul(k1, log_rest);
    guard(g, some, above, 0.0)
}

/// `r ln(r/s) - r + s`, each rate with its logarithm.
fn kl_poisson(g: &mut Builder, (r, log_r): (ValueId, ValueId), (s, log_s): (ValueId, ValueId)) -> ValueId {
    let gap = g.sub(log_r, log_s);
    let term = weigh_log(g, r, gap);
    let less = g.sub(s, r);
    g.add(term, less)
}

/// `(1 - p)/p` and `ln(1 - p)`
fn odds_and_log_rest(g: &mut Builder, p: ValueId) -> (ValueId, ValueId) {
    let rest = g.scalar_sub(1.0, p);
    let odds = g.div(rest, p);
    let minus = g.neg(p);
    (odds, g.log1p(minus))
}
