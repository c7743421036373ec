//! ContinuousBernoulli: the density on [0, 1] proportional to p^x (1 - p)^(1 - x), for pixels and other fractions.
//!
//! With l = ln(p / (1 - p)):  log_prob(x) = l x - ln((e^l - 1)/l) = l (x - 1/2) + ln(h / sinh h),  h = l/2.
//! Source: Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845.

use super::pieces::{guard, in_unit_interval, logit, or_impossible};
use super::{DistDef, Sampler, SupportKind, scalar};
use crate::ir::{Builder, ValueId};
use crate::kernels::elementwise::Binary;
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
    sample: Sampler::Scalar(|rng, p| draw(rng, p[0].ln() - (-p[0]).ln_1p())),
    mean: Some(|g, p| {
        let logits = logit(g, p[0]);
        mean(g, logits)
    }),
    ..BASE
};

pub(super) static LOGITS: DistDef = DistDef {
    formula: "logits x - ln((e^logits - 1) / logits)   for 0 <= x <= 1",
    params: &[scalar("logits", SupportKind::Real)],
    log_prob: |g, x, p| log_prob(g, x, p[0]),
    sample: Sampler::Scalar(|rng, p| draw(rng, p[0])),
    mean: Some(|g, p| mean(g, p[0])),
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
