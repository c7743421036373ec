//! Constant densities: on an interval, on a range of integers, and the improper ones without ends.

use super::pieces::{is_nonnegative, is_whole, or_impossible};
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, Tails, scalar};
use crate::ir::{Builder, DType, ValueId};
use crate::ops::NoiseKind;
use rand::RngExt;

pub(super) static UNIFORM: DistDef = DistDef {
    name: "Uniform",
    summary: "Every number between lower and upper is equally likely.",
    formula: "-ln(upper - lower)   for lower <= x <= upper",
    params: &[scalar("lower", SupportKind::Real), scalar("upper", SupportKind::Real)],
    support: SupportKind::Interval,
    log_prob: |g, x, p| {
        let inside = between(g, x, p[0], p[1]);
        let entropy = log_width(g, p);
        let lp = g.neg(entropy);
        or_impossible(g, inside, lp)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let u = g.noise(NoiseKind::Uniform, shape.clone());
        at_fraction(g, u, p)
    }),
    sample: Sampler::Scalar(|rng, p| p[0] + (p[1] - p[0]) * rng.random::<f64>()),
    mean: Some(|g, p| {
        let half = g.scalar(0.5);
        at_fraction(g, half, p)
    }),
    variance: Some(|g, p| {
        let width = g.sub(p[1], p[0]);
        let square = g.square(width);
        g.mul_scalar(square, 1.0 / 12.0)
    }),
    entropy: Some(log_width),
    cdf: Some(|g, x, p| {
        let above = g.sub(x, p[0]);
        let width = g.sub(p[1], p[0]);
        let share = g.div(above, width);
        let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
        let share = g.maximum(share, zero);
        g.minimum(share, one)
    }),
    tails: Tails::Above(|g, x, p| {
        let below = g.sub(p[1], x);
        let width = g.sub(p[1], p[0]);
        let share = g.div(below, width);
        let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
        let share = g.maximum(share, zero);
        g.minimum(share, one)
    }),
    icdf: Some(at_fraction),
    bounds: Some(|_, p| (p[0], p[1])),
    kl: &[(DistId::UNIFORM, |g, p, q| {
        let low = g.ge(p[0], q[0]);
        let high = g.le(p[1], q[1]);
        let inside = g.and(low, high);
        let (narrow, wide) = (log_width(g, p), log_width(g, q));
        let kl = g.sub(wide, narrow);
        let infinite = g.scalar(f64::INFINITY);
        g.select(inside, kl, infinite)
    })],
    ..DistDef::BASE
};

pub(super) static DISCRETE_UNIFORM: DistDef = DistDef {
    name: "DiscreteUniform",
    summary: "Every integer from lower to upper, both included, is equally likely.",
    formula: "-ln(upper - lower + 1)   for x = lower, ..., upper",
    params: &[scalar("lower", SupportKind::Integer), scalar("upper", SupportKind::Integer)],
    support: SupportKind::IntegerRange,
    dtype: DType::Int,
    log_prob: |g, x, p| {
        let within = between(g, x, p[0], p[1]);
        let whole = is_whole(g, x);
        let inside = g.and(within, whole);
        let entropy = log_count(g, p);
        let lp = g.neg(entropy);
        or_impossible(g, inside, lp)
    },
    sample: Sampler::Scalar(|rng, p| p[0] + (rng.random::<f64>() * (p[1] - p[0] + 1.0)).floor()),
    mean: Some(|g, p| {
        let sum = g.add(p[0], p[1]);
        g.mul_scalar(sum, 0.5)
    }),
    variance: Some(|g, p| {
        let count = count(g, p);
        let square = g.square(count);
        let less = g.add_scalar(square, -1.0);
        g.mul_scalar(less, 1.0 / 12.0)
    }),
    entropy: Some(log_count),
    cdf: Some(|g, x, p| {
        let floor = g.floor(x);
        let below = g.sub(floor, p[0]);
        let below = g.add_scalar(below, 1.0);
        let count = count(g, p);
        let share = g.div(below, count);
        let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
        let share = g.maximum(share, zero);
        g.minimum(share, one)
    }),
    bounds: Some(|_, p| (p[0], p[1])),
    ..DistDef::BASE
};

pub(super) static FLAT: DistDef = DistDef {
    name: "Flat",
    summary: "The improper prior with density 1 on the whole line; it cannot be drawn from.",
    formula: "0",
    log_prob: |g, x, _| {
        let shape = g.shape(x);
        g.full(0.0, shape)
    },
    ..DistDef::BASE
};

pub(super) static HALF_FLAT: DistDef = DistDef {
    name: "HalfFlat",
    summary: "The improper prior with density 1 on the positive numbers; it cannot be drawn from.",
    formula: "0   for x >= 0",
    support: SupportKind::NonNegative,
    log_prob: |g, x, _| {
        let inside = is_nonnegative(g, x);
        let zero = g.scalar(0.0);
        or_impossible(g, inside, zero)
    },
    ..DistDef::BASE
};

fn between(g: &mut Builder, x: ValueId, lower: ValueId, upper: ValueId) -> ValueId {
    let low = g.ge(x, lower);
    let high = g.le(x, upper);
    g.and(low, high)
}
fn at_fraction(g: &mut Builder, fraction: ValueId, p: &[ValueId]) -> ValueId {
    let width = g.sub(p[1], p[0]);
    let way = g.mul(width, fraction);
    g.add(p[0], way)
}
fn log_width(g: &mut Builder, p: &[ValueId]) -> ValueId {
    let width = g.sub(p[1], p[0]);
    g.log(width)
}
fn count(g: &mut Builder, p: &[ValueId]) -> ValueId {
    let gap = g.sub(p[1], p[0]);
    g.add_scalar(gap, 1.0)
}
fn log_count(g: &mut Builder, p: &[ValueId]) -> ValueId {
    let count = count(g, p);
    g.log(count)
}
