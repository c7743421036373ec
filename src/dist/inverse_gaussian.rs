//! InverseGaussian(mean m, concentration l) on x > 0: when a Brownian motion with drift first reaches a level.
//!
//! log_prob(x) = (ln l - ln 2 pi - 3 ln x)/2 - l (x - m)^2 / (2 m^2 x).   variance m^3/l
//! Draws: Michael, Schucany & Haas 1976, The American Statistician 30:88.

use super::pieces::{HALF_LN_2PI, guard, is_positive, or_impossible};
use super::{DistDef, Sampler, SupportKind, scalar};
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
        // Phi(r (x/m - 1)) + e^(2 l/m) Phi(-r (x/m + 1)),  r = sqrt(l/x)
        let inside = is_positive(g, x);
        let x = guard(g, inside, x, 1.0);
        let share = g.div(p[1], x);
        let root = g.sqrt(share);
        let ratio = g.div(x, p[0]);
        let (less, more) = (g.add_scalar(ratio, -1.0), g.add_scalar(ratio, 1.0));
        let near = g.mul(root, less);
        let far = g.mul(root, more);
        let far = g.neg(far);
        let first = g.ndtr(near);
        let log_second = g.log_ndtr(far);
        let steep = g.div(p[1], p[0]);
        let steep = g.mul_scalar(steep, 2.0);
        let log_second = g.add(log_second, steep);
        let second = g.exp(log_second);
        let below = g.add(first, second);
        guard(g, inside, below, 0.0)
    }),
    ..DistDef::BASE
};
