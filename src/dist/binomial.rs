//! Successes among `total` trials: with one probability (Binomial), or with one drawn from a Beta (BetaBinomial).
//!
//! Binomial:  log_prob(k) = ln C(n, k) + k ln p + (n - k) ln(1 - p).
//! BetaBinomial:  log_prob(k) = ln C(n, k) + ln B(k + a, n - k + b) - ln B(a, b).
//! ln C(n, k) = -ln(n + 1) - ln B(k + 1, n - k + 1), which does not cancel as three log-gammas do.

use super::bernoulli::{Parts, kl as kl_of_trial, sigmoid};
use super::pieces::{
    count_times_log, count_times_log1m, guard, int, is_count_up_to, is_positive, log_choose, or_impossible,
};
use super::{DistDef, DistId, Sampler, SupportKind, Tails, beta, scalar};
use crate::ir::{Builder, DType, ValueId};
use rand::Rng;
use rand_distr::Distribution;

const BASE: DistDef = DistDef {
    name: "Binomial",
    summary: "The number of successes among total independent trials.",
    support: SupportKind::IntegerRange,
    dtype: DType::Int,
    bounds: Some(|g, p| (int(g, 0.0), p[0])),
    ..DistDef::BASE
};

pub(super) static PROBS: DistDef = DistDef {
    formula: "ln C(total, x) + x ln probs + (total - x) ln(1 - probs)   for x = 0, ..., total",
    params: &[scalar("total", SupportKind::Count), scalar("probs", SupportKind::UnitInterval)],
    log_prob: |g, x, p| {
        with_successes(g, x, p[0], |g, successes, failures| {
            let up = count_times_log(g, successes, p[1]);
            let down = count_times_log1m(g, failures, p[1]);
            g.add(up, down)
        })
    },
    sample: Sampler::Scalar(|rng, p| binomial(rng, p[0], p[1])),
    mean: Some(|g, p| g.mul(p[0], p[1])),
    variance: Some(|g, p| {
        let rest = g.scalar_sub(1.0, p[1]);
        let each = g.mul(p[1], rest);
        g.mul(p[0], each)
    }),
    cdf: Some(|g, x, p| cdf(g, x, p[0], p[1])),
    tails: Tails::Above(|g, x, p| above(g, x, p[0], p[1])),
    kl: &[
        (DistId::BINOMIAL_PROBS, |g, p, q| {
            let (a, b) = (Parts::of_probs(g, p[1]), Parts::of_probs(g, q[1]));
            kl(g, p[0], &a, &b)
        }),
        (DistId::BINOMIAL_LOGITS, |g, p, q| {
            let (a, b) = (Parts::of_probs(g, p[1]), Parts::of_logits(g, q[1]));
            kl(g, p[0], &a, &b)
        }),
    ],
    ..BASE
};

pub(super) static LOGITS: DistDef = DistDef {
    formula: "ln C(total, x) + x ln sigmoid(logits) + (total - x) ln sigmoid(-logits)   for x = 0, ..., total",
    params: &[scalar("total", SupportKind::Count), scalar("logits", SupportKind::Real)],
    log_prob: |g, x, p| {
        with_successes(g, x, p[0], |g, successes, failures| {
            let minus = g.neg(p[1]);
            let (log_p, log_q) = (g.log_sigmoid(p[1]), g.log_sigmoid(minus));
            let up = g.mul(successes, log_p);
            let down = g.mul(failures, log_q);
            g.add(up, down)
        })
    },
    sample: Sampler::Scalar(|rng, p| binomial(rng, p[0], sigmoid(p[1]))),
    mean: Some(|g, p| {
        let probs = g.sigmoid(p[1]);
        g.mul(p[0], probs)
    }),
    variance: Some(|g, p| {
        let parts = Parts::of_logits(g, p[1]);
        let each = g.mul(parts.p, parts.q);
        g.mul(p[0], each)
    }),
    cdf: Some(|g, x, p| {
        let probs = g.sigmoid(p[1]);
        cdf(g, x, p[0], probs)
    }),
    tails: Tails::Above(|g, x, p| {
        let probs = g.sigmoid(p[1]);
        above(g, x, p[0], probs)
    }),
    kl: &[
        (DistId::BINOMIAL_LOGITS, |g, p, q| {
            let (a, b) = (Parts::of_logits(g, p[1]), Parts::of_logits(g, q[1]));
            kl(g, p[0], &a, &b)
        }),
        (DistId::BINOMIAL_PROBS, |g, p, q| {
            let (a, b) = (Parts::of_logits(g, p[1]), Parts::of_probs(g, q[1]));
            kl(g, p[0], &a, &b)
        }),
    ],
    ..BASE
};

pub(super) static BETA_BINOMIAL: DistDef = DistDef {
    name: "BetaBinomial",
    summary: "Successes among total trials whose probability is drawn from a Beta(alpha, beta).",
    formula: "ln C(total, x) + ln B(x + alpha, total - x + beta) - ln B(alpha, beta)   for x = 0, ..., total",
    params: &[
        scalar("total", SupportKind::Count),
        scalar("alpha", SupportKind::Positive),
        scalar("beta", SupportKind::Positive),
    ],
    log_prob: |g, x, p| {
        with_successes(g, x, p[0], |g, successes, failures| {
            let up = g.add(successes, p[1]);
            let down = g.add(failures, p[2]);
            let posterior = g.lbeta(up, down);
            let prior = g.lbeta(p[1], p[2]);
            g.sub(posterior, prior)
        })
    },
    sample: Sampler::Scalar(|rng, p| {
        let probs = beta::draw(rng, p[1], p[2]);
        binomial(rng, p[0], probs)
    }),
    mean: Some(|g, p| {
        let total = g.add(p[1], p[2]);
        let share = g.div(p[1], total);
        g.mul(p[0], share)
    }),
    variance: Some(|g, p| {
        // n p q (a + b + n) / (a + b + 1)
        let total = g.add(p[1], p[2]);
        let (up, down) = (g.div(p[1], total), g.div(p[2], total));
        let each = g.mul(up, down);
        let binomial = g.mul(p[0], each);
        let high = g.add(total, p[0]);
        let low = g.add_scalar(total, 1.0);
        let ratio = g.div(high, low);
        g.mul(binomial, ratio)
    }),
    ..BASE
};

/// One draw; NaN unless `total` is a count and `probs` a probability.
pub(super) fn binomial(rng: &mut dyn Rng, total: f64, probs: f64) -> f64 {
    if total < 0.0 || total != total.floor() || !total.is_finite() {
        return f64::NAN;
    }
    rand_distr::Binomial::new(total as u64, probs).map_or(f64::NAN, |b| b.sample(rng) as f64)
}

/// `ln C(n, x) + log_weight(x, n - x)` where x is one of 0..=n.
fn with_successes(
    g: &mut Builder,
    x: ValueId,
    total: ValueId,
    log_weight: impl FnOnce(&mut Builder, ValueId, ValueId) -> ValueId,
) -> ValueId {
    let valid = is_count_up_to(g, x, total);
    let successes = guard(g, valid, x, 0.0);
    let failures = g.sub(total, successes);
    let ways = log_choose(g, total, successes);
    let weight = log_weight(g, successes, failures);
    let lp = g.add(ways, weight);
    or_impossible(g, valid, lp)
}

/// `P(X <= k) = I_{1-p}(n - k, k + 1)`
fn cdf(g: &mut Builder, x: ValueId, total: ValueId, probs: ValueId) -> ValueId {
    let floor = g.floor(x);
    let all = g.ge(floor, total);
    let some = super::pieces::is_nonnegative(g, floor);
    let least = g.scalar(0.0);
    let k = g.maximum(floor, least);
    let rest = g.sub(total, k);
    let inner = is_positive(g, rest);
    let rest = guard(g, inner, rest, 1.0);
    let k1 = g.add_scalar(k, 1.0);
    let q = g.scalar_sub(1.0, probs);
    let below = g.betainc(rest, k1, q);
    let below = guard(g, some, below, 0.0);
    let one = g.scalar(1.0);
    g.select(all, one, below)
}

/// `P(X > k) = I_p(k + 1, n - k)`
fn above(g: &mut Builder, x: ValueId, total: ValueId, probs: ValueId) -> ValueId {
    let floor = g.floor(x);
    let all = g.ge(floor, total);
    let some = super::pieces::is_nonnegative(g, floor);
    let least = g.scalar(0.0);
    let k = g.maximum(floor, least);
    let rest = g.sub(total, k);
    let inner = is_positive(g, rest);
    let rest = guard(g, inner, rest, 1.0);
    let k1 = g.add_scalar(k, 1.0);
    let above = g.betainc(k1, rest, probs);
    let above = guard(g, some, above, 1.0);
    let none = g.scalar(0.0);
    g.select(all, none, above)
}

/// `n` times the divergence of one trial; both have the same `total`.
fn kl(g: &mut Builder, total: ValueId, p: &Parts, q: &Parts) -> ValueId {
    let trial = kl_of_trial(g, p, q);
    g.mul(total, trial)
}
