//! Lopsided families on the line: AsymmetricLaplace and SkewNormal.
//!
//! With z = (x - m)/s.  AsymmetricLaplace(loc m, scale s, asymmetry k): -k z for z >= 0 and z/k below, less ln s(k + 1/k);
//! the difference of two exponentials, E1/k - k E2 (Kotz, Kozubowski & Podgorski 2001, ch. 3).
//! SkewNormal(loc m, scale s, skewness a): ln 2 + ln phi(z) + ln Phi(a z) - ln s; with d = a/sqrt(1 + a^2) it is
//! d |N1| + sqrt(1 - d^2) N2 (Azzalini 1985, Scand. J. Statist. 12:171).

use super::exponential::{exp1, unit_exponential};
use super::normal::standard_normal;
use super::pieces::{HALF_LN_2PI, destandardize, is_nonnegative, standardize};
use super::{DistDef, Reparam, Sampler, SupportKind, Tails, scalar};
use crate::ir::{Builder, ValueId};
use crate::ops::NoiseKind;
use std::f64::consts::{LN_2, PI};

pub(super) static ASYMMETRIC_LAPLACE: DistDef = DistDef {
    name: "AsymmetricLaplace",
    summary: "Two exponentials back to back, of different lengths: asymmetry above 1 makes the left one longer.",
    formula: "-ln scale - ln(asymmetry + 1 / asymmetry) - (asymmetry z if z >= 0 else -z / asymmetry),   \
              z = (x - loc) / scale",
    params: &[
        scalar("loc", SupportKind::Real),
        scalar("scale", SupportKind::Positive),
        scalar("asymmetry", SupportKind::Positive),
    ],
    log_prob: |g, x, p| {
        let z = standardize(g, x, p[0], p[1]);
        let steps = steps(g, z, p[2]);
        let norm = log_norm(g, p);
        let sum = g.add(steps, norm);
        g.neg(sum)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let (up, down) = (unit_exponential(g, shape), unit_exponential(g, shape));
        let up = g.div(up, p[2]);
        let down = g.mul(down, p[2]);
        let z = g.sub(up, down);
        destandardize(g, z, p[0], p[1])
    }),
    sample: Sampler::Scalar(|rng, p| p[0] + p[1] * (exp1(rng) / p[2] - p[2] * exp1(rng))),
    mean: Some(|g, p| {
        let inverse = g.recip(p[2]);
        let z = g.sub(inverse, p[2]);
        destandardize(g, z, p[0], p[1])
    }),
    variance: Some(|g, p| {
        let inverse = g.recip(p[2]);
        let (up, down) = (g.square(inverse), g.square(p[2]));
        let sum = g.add(up, down);
        let scale2 = g.square(p[1]);
        g.mul(scale2, sum)
    }),
    entropy: Some(|g, p| {
        let norm = log_norm(g, p);
        g.add_scalar(norm, 1.0)
    }),
    cdf: Some(|g, x, p| {
        // the mass beyond z on its own side is e^-steps times that side's share
        let z = standardize(g, x, p[0], p[1]);
        let right = is_nonnegative(g, z);
        let steps = steps(g, z, p[2]);
        let minus = g.neg(steps);
        let decay = g.exp(minus);
        let square = g.square(p[2]);
        let total = g.add_scalar(square, 1.0);
        let share_above = g.recip(total);
        let share_below = g.div(square, total);
        let above = g.mul(share_above, decay);
        let not_above = g.scalar_sub(1.0, above);
        let below = g.mul(share_below, decay);
        g.select(right, not_above, below)
    }),
    tails: Tails::Logs {
        below: |g, x, p| {
            let sides = log_sides(g, x, p);
            let beyond = g.exp(sides.above);
            let minus = g.neg(beyond);
            let not_above = g.log1p(minus);
            g.select(sides.right, not_above, sides.below)
        },
        above: |g, x, p| {
            let sides = log_sides(g, x, p);
            let beyond = g.exp(sides.below);
            let minus = g.neg(beyond);
            let not_below = g.log1p(minus);
            g.select(sides.right, sides.above, not_below)
        },
        quantiles: None,
    },
    ..DistDef::BASE
};

pub(super) static SKEW_NORMAL: DistDef = DistDef {
    name: "SkewNormal",
    summary: "A Normal bent to one side: to the right for positive skewness, not at all for 0.",
    formula: "ln 2 - z^2 / 2 - ln(2 pi) / 2 + ln Phi(skewness z) - ln scale,   z = (x - loc) / scale",
    params: &[
        scalar("loc", SupportKind::Real),
        scalar("scale", SupportKind::Positive),
        scalar("skewness", SupportKind::Real),
    ],
    log_prob: |g, x, p| {
        let z = standardize(g, x, p[0], p[1]);
        let square = g.square(z);
        let bell = g.mul_scalar(square, -0.5);
        let bent = g.mul(p[2], z);
        let side = g.log_ndtr(bent);
        let log_scale = g.log(p[1]);
        let norm = g.add_scalar(log_scale, HALF_LN_2PI - LN_2);
        let lp = g.add(bell, side);
        g.sub(lp, norm)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let (folded, free) = (g.noise(NoiseKind::Normal, shape.clone()), g.noise(NoiseKind::Normal, shape.clone()));
        let folded = g.abs(folded);
        // d = a c and sqrt(1 - d^2) = c with c = 1/sqrt(1 + a^2)
        let cosine = cosine(g, p[2]);
        let bent = g.mul(p[2], folded);
        let sum = g.add(bent, free);
        let z = g.mul(cosine, sum);
        destandardize(g, z, p[0], p[1])
    }),
    sample: Sampler::Scalar(|rng, p| {
        let (folded, free) = (standard_normal(rng).abs(), standard_normal(rng));
        p[0] + p[1] * (p[2] * folded + free) / p[2].hypot(1.0)
    }),
    mean: Some(|g, p| {
        let cosine = cosine(g, p[2]);
        let d = g.mul(p[2], cosine);
        let z = g.mul_scalar(d, (2.0 / PI).sqrt());
        destandardize(g, z, p[0], p[1])
    }),
    variance: Some(|g, p| {
        let cosine = cosine(g, p[2]);
        let d = g.mul(p[2], cosine);
        let square = g.square(d);
        let lost = g.mul_scalar(square, 2.0 / PI);
        let left = g.scalar_sub(1.0, lost);
        let scale2 = g.square(p[1]);
        g.mul(scale2, left)
    }),
    ..DistDef::BASE
};

/// On which side of `loc` a point is, and the logarithms of the masses that would lie beyond it there: below it if it is
/// left of `loc`, above it if it is right.
struct LogSides {
    right: ValueId,
    below: ValueId,
    above: ValueId,
}
fn log_sides(g: &mut Builder, x: ValueId, p: &[ValueId]) -> LogSides {
    let z = standardize(g, x, p[0], p[1]);
    let right = is_nonnegative(g, z);
    let steps = steps(g, z, p[2]);
    let square = g.square(p[2]);
    let log_total = g.log1p(square);
    let fall = g.add(steps, log_total);
    let above = g.neg(fall);
    let log_square = g.log(square);
    let below = g.add(above, log_square);
    LogSides { right, below, above }
}

/// `k z` for `z >= 0`, `-z/k` below.
fn steps(g: &mut Builder, z: ValueId, asymmetry: ValueId) -> ValueId {
    let right = is_nonnegative(g, z);
    let up = g.mul(asymmetry, z);
    let down = g.div(z, asymmetry);
    let down = g.neg(down);
    g.select(right, up, down)
}

/// `ln s + ln(k + 1/k)`
fn log_norm(g: &mut Builder, p: &[ValueId]) -> ValueId {
    let inverse = g.recip(p[2]);
    let sides = g.add(p[2], inverse);
    let log_sides = g.log(sides);
    let log_scale = g.log(p[1]);
    g.add(log_scale, log_sides)
}

/// `1 / sqrt(1 + a^2)`
fn cosine(g: &mut Builder, a: ValueId) -> ValueId {
    let square = g.square(a);
    let sum = g.add_scalar(square, 1.0);
    g.rsqrt(sum)
}
