//! GaussianRandomWalk and AR: normal vectors in which each entry follows from those before it.
//!
//! Walk: x_t = x_(t-1) + drift + scale e_t from x_(-1) = start.   AR: x_t - loc = sum_i c_i (x_(t-i) - loc) + scale e_t,
//! where what stands before the first entry is loc. Both have log_prob(x) = sum_t ln N(e_t) - T ln scale, as the map from
//! noise to series is triangular with determinant scale^T.
//! Source: Hamilton, Time Series Analysis, ch. 3.

use super::normal::standard_normal;
use super::pieces::{HALF_LN_2PI, constant_vector, expand_last, last_size, square_norm};
use super::support::arrange;
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, VECTOR_EVENT, scalar, vector};
use crate::ir::{Builder, ValueId};
use crate::ops::NoiseKind;

pub(super) static GAUSSIAN_RANDOM_WALK: DistDef = DistDef {
    name: "GaussianRandomWalk",
    summary: "A series of normal steps from start, each with mean drift. Its length comes from the declared type.",
    formula: "sum_t -(x[t] - x[t - 1] - drift)^2 / (2 scale^2) - T ln scale - T ln(2 pi) / 2,   x[-1] = start",
    params: &[
        scalar("scale", SupportKind::Positive),
        scalar("drift", SupportKind::Real).or(0.0),
        scalar("start", SupportKind::Real).or(0.0),
        VECTOR_EVENT,
    ],
    event_rank: 1,
    log_prob: |g, x, p| {
        let start = expand_last(g, p[2]);
        let y = g.sub(x, start);
        let before = lag(g, y, 1);
        let step = g.sub(y, before);
        let drift = expand_last(g, p[1]);
        let gap = g.sub(step, drift);
        normal_noise(g, gap, p[0])
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let noise = g.noise(NoiseKind::Normal, shape.clone());
        let (scale, drift, start) = (expand_last(g, p[0]), expand_last(g, p[1]), expand_last(g, p[2]));
        let steps = g.mul(noise, scale);
        let steps = g.add(steps, drift);
        let walk = g.cumsum(steps, shape.rank() - 1, false);
        g.add(walk, start)
    }),
    sample: Sampler::Event(|rng, p, out| {
        let mut at = p[2][0];
        for x in out {
            at += p[1][0] + p[0][0] * standard_normal(rng);
            *x = at;
        }
    }),
    mean: Some(|g, p| {
        let steps = constant_vector(g, last_size(g, p[3]), |t| t + 1.0);
        let (drift, start) = (expand_last(g, p[1]), expand_last(g, p[2]));
        let way = g.mul(drift, steps);
        g.add(start, way)
    }),
    variance: Some(|g, p| {
        let steps = constant_vector(g, last_size(g, p[3]), |t| t + 1.0);
        let square = g.square(p[0]);
        let square = expand_last(g, square);
        g.mul(square, steps)
    }),
    entropy: Some(|g, p| noise_entropy(g, p[0], last_size(g, p[3]))),
    // step by step, each with the drifts' difference; the first also with the starts'
    kl: &[(DistId::GAUSSIAN_RANDOM_WALK, |g, p, q| {
        let steps = last_size(g, p[3]) as f64;
        let ratio = g.div(p[0], q[0]);
        let log = g.log(ratio);
        let square = g.square(ratio);
        let half = g.mul_scalar(square, 0.5);
        let each = g.sub(half, log);
        let each = g.add_scalar(each, -0.5);
        let spread = g.mul_scalar(each, steps);
        let (drifts, starts) = (g.sub(p[1], q[1]), g.sub(p[2], q[2]));
        let first = g.add(drifts, starts);
        let (drifts, first) = (g.square(drifts), g.square(first));
        let drifts = g.mul_scalar(drifts, steps - 1.0);
        let gaps = g.add(drifts, first);
        let q_square = g.square(q[0]);
        let gaps = g.div(gaps, q_square);
        let gaps = g.mul_scalar(gaps, 0.5);
        g.add(spread, gaps)
    })],
    ..DistDef::BASE
};

pub(super) static AR: DistDef = DistDef {
    name: "AR",
    summary: "An autoregressive series around loc, which it has before its first entry. Its length comes from the declared type.",
    formula: "sum_t -(y[t] - sum_i coefficients[i] y[t - 1 - i])^2 / (2 scale^2) - T ln scale - T ln(2 pi) / 2,   y = x - loc, \
              0 before the first",
    params: &[
        vector("coefficients", SupportKind::Real).over(&["P"]),
        scalar("scale", SupportKind::Positive),
        scalar("loc", SupportKind::Real).or(0.0),
        VECTOR_EVENT,
    ],
    event_rank: 1,
    log_prob: |g, x, p| {
        let loc = expand_last(g, p[2]);
        let y = g.sub(x, loc);
        let (order, length) = (last_size(g, p[0]), last_size(g, x));
        let axis = g.rank(p[0]) - 1;
        let mut gap = y;
        for i in 0..order.min(length - 1) {
            let coefficient = g.slice(p[0], axis, i, 1);
            let before = lag(g, y, i + 1);
            let part = g.mul(coefficient, before);
            gap = g.sub(gap, part);
        }
        normal_noise(g, gap, p[1])
    },
    // The noise solves a triangular system of T rows; forward draws take the recursion on the host instead.
    rsample: Reparam::CostlyNoise(|g, p, shape| {
        let (order, length) = (last_size(g, p[0]), shape[shape.rank() - 1]);
        let minus = g.neg(p[0]);
        let axis = g.rank(minus) - 1;
        // (0, -c_1, …, -c_P, 0) + (1, 0, …): entry t - s of row t and column s, 0 beyond
        let lags = g.pad(minus, axis, 1, 1);
        let first = constant_vector(g, order + 2, |i| f64::from(i == 0.0));
        let lags = g.add(lags, first);
        let entry = |t: usize, s: usize| if s > t { order + 1 } else { (t - s).min(order + 1) };
        let matrix = arrange(g, lags, length, entry);
        let noise = g.noise(NoiseKind::Normal, shape.clone());
        let scale = expand_last(g, p[1]);
        let noise = g.mul(noise, scale);
        let column = expand_last(g, noise);
        let y = g.solve_triangular(matrix, column, true, false);
        let y = g.reshape(y, shape.clone());
        let loc = expand_last(g, p[2]);
        g.add(y, loc)
    }),
    sample: Sampler::Event(|rng, p, out| {
        let (coefficients, scale, loc) = (p[0], p[1][0], p[2][0]);
        for t in 0..out.len() {
            let before = out[..t].iter().rev().zip(coefficients);
            let mean: f64 = before.map(|(x, c)| c * (x - loc)).sum();
            out[t] = loc + mean + scale * standard_normal(rng);
        }
    }),
    mean: Some(|g, p| expand_last(g, p[2])),
    entropy: Some(|g, p| noise_entropy(g, p[1], last_size(g, p[3]))),
    ..DistDef::BASE
};

/// The last axis moved by `n`, with zeros in front.
fn lag(g: &mut Builder, y: ValueId, n: usize) -> ValueId {
    let axis = g.rank(y) - 1;
    let length = g.shape(y)[axis];
    let early = g.slice(y, axis, 0, length - n);
    g.pad(early, axis, n, 0)
}

/// The log density of noise `gap` [.., T], each Normal(0, scale).
fn normal_noise(g: &mut Builder, gap: ValueId, scale: ValueId) -> ValueId {
    let length = last_size(g, gap) as f64;
    let wide = expand_last(g, scale);
    let z = g.div(gap, wide);
    let squares = square_norm(g, z, 1);
    let half = g.mul_scalar(squares, -0.5);
    let log = g.log(scale);
    let norm = g.add_scalar(log, HALF_LN_2PI);
    let norm = g.mul_scalar(norm, length);
    g.sub(half, norm)
}

fn noise_entropy(g: &mut Builder, scale: ValueId, length: usize) -> ValueId {
    let log = g.log(scale);
    let each = g.add_scalar(log, HALF_LN_2PI + 0.5);
    g.mul_scalar(each, length as f64)
}
