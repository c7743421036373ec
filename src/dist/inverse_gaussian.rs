//! InverseGaussian(mean m, concentration l) on x > 0: when a Brownian motion with drift first reaches a level.
//!
//! log_prob(x) = (ln l - ln 2 pi - 3 ln x)/2 - l (x - m)^2 / (2 m^2 x).   variance m^3/l
//! Draws: Michael, Schucany & Haas 1976, The American Statistician 30:88.   Their gradient: implicit, Figurnov et al. 2018,
//! arXiv:1805.08498.

use super::pieces::{HALF_LN_2PI, guard, is_positive, or_impossible};
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, implicit, scalar};
use crate::ir::{Builder, Shape, ValueId};
use rand_distr::Distribution;

pub(super) static INVERSE_GAUSSIAN: DistDef = DistDef {
    name: "InverseGaussian",
    summary: "The time at which a Brownian motion with drift first reaches a level; also called Wald.",
    formula: "(ln concentration - ln(2 pi) - 3 ln x) / 2 - concentration (x - mean)^2 / (2 mean^2 x)   for x > 0",
    params: &[scalar("mean", SupportKind::Positive), scalar("concentration", SupportKind::Positive)],
    support: SupportKind::Positive,
    log_prob: |g, x, p| {
        let inside = is_positive(g, x);
        let x = guard(g, inside, x, 1.0);
        let log_x = g.log(x);
        let fall = g.mul_scalar(log_x, 1.5);
        let log_l = g.log(p[1]);
        let half = g.mul_scalar(log_l, 0.5);
        let norm = g.add_scalar(half, -HALF_LN_2PI);
        let ratio = g.div(x, p[0]);
        let off = g.add_scalar(ratio, -1.0);
        let square = g.square(off);
        let share = g.div(p[1], x);
        let distance = g.mul(square, share);
        let distance = g.mul_scalar(distance, 0.5);
        let lp = g.sub(norm, fall);
        let lp = g.sub(lp, distance);
        or_impossible(g, inside, lp)
    },
    rsample: Reparam::Implicit(rsample),
    sample: Sampler::Scalar(|rng, p| {
        rand_distr::InverseGaussian::new(p[0], p[1]).map_or(f64::NAN, |wald| wald.sample(rng))
    }),
    mean: Some(|_, p| p[0]),
    variance: Some(|g, p| {
        let square = g.square(p[0]);
        let ratio = g.div(p[0], p[1]);
        g.mul(square, ratio)
    }),
    cdf: Some(|g, x, p| {
        let inside = is_positive(g, x);
        let x = guard(g, inside, x, 1.0);
        let (near, _, log_far) = cdf_terms(g, x, p);
        let first = g.ndtr(near);
        let second = g.exp(log_far);
        let below = g.add(first, second);
        guard(g, inside, below, 0.0)
    }),
    ..DistDef::BASE
};

/// `P(X <= x) = Phi(a) + E`: a, `sqrt(l/x)` and ln E with `a = sqrt(l/x) (x/m - 1)`, `E = e^(2 l/m) Phi(-sqrt(l/x) (x/m + 1))`.
fn cdf_terms(g: &mut Builder, x: ValueId, p: &[ValueId]) -> (ValueId, ValueId, ValueId) {
    let share = g.div(p[1], x);
    let root = g.sqrt(share);
    let ratio = g.div(x, p[0]);
    let (less, more) = (g.add_scalar(ratio, -1.0), g.add_scalar(ratio, 1.0));
    let near = g.mul(root, less);
    let far = g.mul(root, more);
    let far = g.neg(far);
    let log_far = g.log_ndtr(far);
    let steep = g.div(p[1], p[0]);
    let steep = g.mul_scalar(steep, 2.0);
    (near, root, g.add(log_far, steep))
}

/// dP/dm = -(2 l/m^2) E and dP/dl = (2/m) E - phi(a)/sqrt(l x), as e^(2 l/m) phi(-sqrt(l/x) (x/m + 1)) = phi(a).
fn rsample(g: &mut Builder, p: &[ValueId], shape: &Shape) -> ValueId {
    let fixed = [g.stop_gradient(p[0]), g.stop_gradient(p[1])];
    let draw = g.draw(DistId::INVERSE_GAUSSIAN, &fixed, shape.clone());
    let (near, root, log_far) = cdf_terms(g, draw, &fixed);
    let far = g.exp(log_far);
    let twice = g.div(far, fixed[0]);
    let twice = g.mul_scalar(twice, 2.0);
    let steep = g.div(fixed[1], fixed[0]);
    let by_mean = g.mul(steep, twice);
    let by_mean = g.neg(by_mean);
    let square = g.square(near);
    let half = g.mul_scalar(square, -0.5);
    let bell = g.add_scalar(half, -HALF_LN_2PI);
    let bell = g.exp(bell);
    let bell = g.mul(bell, root);
    let bell = g.div(bell, fixed[1]);
    let by_concentration = g.sub(twice, bell);
    let log_density = (INVERSE_GAUSSIAN.log_prob)(g, draw, &fixed);
    implicit::attach(g, draw, &[(p[0], by_mean), (p[1], by_concentration)], log_density)
}
