//! Delta(value): all mass at one point, a component of mixtures and a guide without spread.
//!
//! log_prob(x) = 0 where x = value, -inf elsewhere: a mass, not a density. It has no spread and no entropy.

use super::pieces::or_impossible;
use super::{DistDef, Reparam, Sampler, SupportKind, scalar};

pub(super) static DELTA: DistDef = DistDef {
    name: "Delta",
    summary: "Always value: a point mass, for mixtures and as a guide without spread.",
    formula: "0   for x = value",
    params: &[scalar("value", SupportKind::Real)],
    log_prob: |g, x, p| {
        let here = g.eq(x, p[0]);
        let zero = g.scalar(0.0);
        or_impossible(g, here, zero)
    },
    rsample: Reparam::Noise(|g, p, shape| g.broadcast_to(p[0], shape.clone())),
    sample: Sampler::Scalar(|_, p| p[0]),
    mean: Some(|_, p| p[0]),
    variance: Some(|g, _| g.scalar(0.0)),
    cdf: Some(|g, x, p| {
        let reached = g.ge(x, p[0]);
        g.to_real(reached)
    }),
    icdf: Some(|g, q, p| {
        let zero = g.mul_scalar(q, 0.0);
        g.add(p[0], zero)
    }),
    ..DistDef::BASE
};
