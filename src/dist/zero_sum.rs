//! ZeroSumNormal(scale): K normals with their mean taken off, so that they sum to 0: effects around a common intercept.
//!
//! log_prob(x) = -|x|^2 / (2 scale^2) - (K - 1) (ln scale + ln(2 pi)/2), a density on the plane of sum 0, with respect to
//! its area.   variance scale^2 (1 - 1/K)

use super::normal::standard_normal;
use super::pieces::{HALF_LN_2PI, expand_last, last_size, or_impossible, square_norm};
use super::support::SIMPLEX_TOLERANCE;
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, VECTOR_EVENT, scalar};
use crate::ops::NoiseKind;

pub(super) static ZERO_SUM_NORMAL: DistDef = DistDef {
    name: "ZeroSumNormal",
    summary: "Normal effects that sum to 0, beside an intercept of their own. Their number comes from the declared type.",
    formula: "-sum_k x[k]^2 / (2 scale^2) - (K - 1) (ln scale + ln(2 pi) / 2)   for x of sum 0",
    params: &[scalar("scale", SupportKind::Positive), VECTOR_EVENT],
    support: SupportKind::SumToZero,
    event_rank: 1,
    log_prob: |g, x, p| {
        let k = last_size(g, x) as f64;
        let sum = g.sum_last(x, 1);
        let sum = g.abs(sum);
        let size = g.abs(x);
        let size = g.sum_last(size, 1);
        let room = g.add_scalar(size, 1.0);
        let room = g.mul_scalar(room, SIMPLEX_TOLERANCE);
        let inside = g.le(sum, room);
        let scale = expand_last(g, p[0]);
        let z = g.div(x, scale);
        let squares = square_norm(g, z, 1);
        let half = g.mul_scalar(squares, -0.5);
        let log = g.log(p[0]);
        let norm = g.add_scalar(log, HALF_LN_2PI);
        let norm = g.mul_scalar(norm, k - 1.0);
        let lp = g.sub(half, norm);
        or_impossible(g, inside, lp)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let noise = g.noise(NoiseKind::Normal, shape.clone());
        let sum = g.sum_last(noise, 1);
        let mean = g.mul_scalar(sum, 1.0 / shape[shape.rank() - 1] as f64);
        let mean = expand_last(g, mean);
        let centred = g.sub(noise, mean);
        let scale = expand_last(g, p[0]);
        g.mul(centred, scale)
    }),
    sample: Sampler::Event(|rng, p, out| {
        out.iter_mut().for_each(|x| *x = standard_normal(rng));
        let mean = out.iter().sum::<f64>() / out.len() as f64;
        out.iter_mut().for_each(|x| *x = p[0][0] * (*x - mean));
    }),
    mean: Some(|g, _| g.scalar(0.0)),
    variance: Some(|g, p| {
        let k = last_size(g, p[1]) as f64;
        let square = g.square(p[0]);
        let each = g.mul_scalar(square, 1.0 - 1.0 / k);
        expand_last(g, each)
    }),
    entropy: Some(|g, p| {
        let k = last_size(g, p[1]) as f64;
        let log = g.log(p[0]);
        let each = g.add_scalar(log, HALF_LN_2PI + 0.5);
        g.mul_scalar(each, k - 1.0)
    }),
    // K - 1 times that of two normals of mean 0
    kl: &[(DistId::ZERO_SUM_NORMAL, |g, p, q| {
        let k = last_size(g, p[1]) as f64;
        let ratio = g.div(p[0], q[0]);
        let log = g.log(ratio);
        let square = g.square(ratio);
        let half = g.mul_scalar(square, 0.5);
        let each = g.sub(half, log);
        let each = g.add_scalar(each, -0.5);
        g.mul_scalar(each, k - 1.0)
    })],
    ..DistDef::BASE
};
