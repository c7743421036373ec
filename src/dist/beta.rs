//! Beta(alpha a, beta b) on [0, 1].   mean a/(a + b),  variance a b / ((a + b)^2 (a + b + 1))
//!
//! log_prob(x) = (a - 1) ln x + (b - 1) ln(1 - x) - ln B(a, b).
//! Draws: rand_distr's (Cheng 1978, CACM 21:317).   Their gradient: implicit, Figurnov et al. 2018, arXiv:1805.08498.

use super::pieces::{guard, is_positive, or_impossible};
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, Tails, implicit, scalar};
use crate::ir::{Builder, ValueId};
use crate::kernels::elementwise::Binary;
use rand::Rng;
use rand_distr::Distribution;

pub(super) static BETA: DistDef = DistDef {
    name: "Beta",
    summary: "A probability about which alpha - 1 successes and beta - 1 failures are known.",
    formula: "(alpha - 1) ln x + (beta - 1) ln(1 - x) - ln B(alpha, beta)   for 0 <= x <= 1",
    params: &[scalar("alpha", SupportKind::Positive), scalar("beta", SupportKind::Positive)],
    support: SupportKind::UnitInterval,
    log_prob,
    rsample: Reparam::Implicit(|g, p, shape| implicit::beta(g, p[0], p[1], shape)),
    sample: Sampler::Scalar(|rng, p| draw(rng, p[0], p[1])),
    mean: Some(|g, p| {
        let total = g.add(p[0], p[1]);
        g.div(p[0], total)
    }),
    variance: Some(|g, p| {
        let total = g.add(p[0], p[1]);
        let (up, down) = (g.div(p[0], total), g.div(p[1], total));
        let product = g.mul(up, down);
        let more = g.add_scalar(total, 1.0);
        g.div(product, more)
    }),
    entropy: Some(|g, p| {
        // ln B - (a - 1) psi(a) - (b - 1) psi(b) + (a + b - 2) psi(a + b)
        let total = g.add(p[0], p[1]);
        let psi_total = g.digamma(total);
        let side = |g: &mut Builder, x: ValueId| {
            let psi = g.digamma(x);
            let gap = g.sub(psi_total, psi);
            let less = g.add_scalar(x, -1.0);
            g.mul(less, gap)
        };
        let (a, b) = (side(g, p[0]), side(g, p[1]));
        let norm = g.lbeta(p[0], p[1]);
        g.add_all(&[norm, a, b])
    }),
    cdf: Some(|g, x, p| {
        let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
        let x = g.maximum(x, zero);
        let x = g.minimum(x, one);
        g.betainc(p[0], p[1], x)
    }),
    tails: Tails::Above(|g, x, p| {
        let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
        let rest = g.scalar_sub(1.0, x);
        let rest = g.maximum(rest, zero);
        let rest = g.minimum(rest, one);
        g.betainc(p[1], p[0], rest)
    }),
    kl: &[
        (DistId::BETA, kl_beta_beta),
        (DistId::UNIFORM, |g, p, q| {
            // inside its range the uniform's log density is -ln(upper - lower)
            let low = g.compare_scalar(Binary::Le, q[0], 0.0);
            let high = g.compare_scalar(Binary::Ge, q[1], 1.0);
            let inside = g.and(low, high);
            let width = g.sub(q[1], q[0]);
            let log_width = g.log(width);
            let one = g.scalar(1.0);
            let kl = kl_beta_beta(g, p, &[one, one]);
            let kl = g.add(kl, log_width);
            guard(g, inside, kl, f64::INFINITY)
        }),
    ],
    ..DistDef::BASE
};

/// One draw; NaN unless both parameters are positive.
pub(super) fn draw(rng: &mut dyn Rng, alpha: f64, beta: f64) -> f64 {
    rand_distr::Beta::new(alpha, beta).map_or(f64::NAN, |b| b.sample(rng))
}

fn log_prob(g: &mut Builder, x: ValueId, p: &[ValueId]) -> ValueId {
    // An end belongs to the support where the power there is 0; for lower powers the density is infinite.
    let side = |g: &mut Builder, distance: ValueId, power: ValueId| {
        let off = is_positive(g, distance);
        let at = g.compare_scalar(Binary::Eq, distance, 0.0);
        let level = g.compare_scalar(Binary::Eq, power, 1.0);
        let corner = g.and(at, level);
        let inside = g.or(off, corner);
        (inside, off)
    };
    let rest = g.scalar_sub(1.0, x);
    let (inside_low, off_low) = side(g, x, p[0]);
    let (inside_high, off_high) = side(g, rest, p[1]);
    let inside = g.and(inside_low, inside_high);
    let up = guard(g, off_low, x, 1.0);
    let down = guard(g, off_high, x, 0.0);
    let log_x = g.log(up);
    let minus = g.neg(down);
    let log_rest = g.log1p(minus);
    let less_a = g.add_scalar(p[0], -1.0);
    let less_b = g.add_scalar(p[1], -1.0);
    let rise = g.mul(less_a, log_x);
    let fall = g.mul(less_b, log_rest);
    let norm = g.lbeta(p[0], p[1]);
    let lp = g.add(rise, fall);
    let lp = g.sub(lp, norm);
    or_impossible(g, inside, lp)
}

/// KL(Beta(a, b) || Beta(c, d)) = ln B(c, d) - ln B(a, b) + (a - c) (psi(a) - psi(a + b)) + (b - d) (psi(b) - psi(a + b)).
fn kl_beta_beta(g: &mut Builder, p: &[ValueId], q: &[ValueId]) -> ValueId {
    let total = g.add(p[0], p[1]);
    let psi_total = g.digamma(total);
    let side = |g: &mut Builder, mine: ValueId, other: ValueId| {
        let psi = g.digamma(mine);
        let mean_log = g.sub(psi, psi_total);
        let gap = g.sub(mine, other);
        g.mul(gap, mean_log)
    };
    let (a, b) = (side(g, p[0], q[0]), side(g, p[1], q[1]));
    let (norm_p, norm_q) = (g.lbeta(p[0], p[1]), g.lbeta(q[0], q[1]));
    let norms = g.sub(norm_q, norm_p);
    g.add_all(&[norms, a, b])
}
