//! VonMises(loc m, concentration k): an angle in [-pi, pi], the circle's bell.
//!
//! log_prob(x) = k (cos(x - m) - 1) - ln 2 pi - ln(e^-k I_0(k)), with cos(t) - 1 = -2 sin^2(t/2).
//! Draws: Best & Fisher 1979, Applied Statistics 28:152.   Their gradient: in the concentration implicit (Figurnov et al.
//! 2018, arXiv:1805.08498), in the location by turning the circle, so right for functions that agree at -pi and pi.

use super::pieces::{HALF_LN_2PI, or_impossible};
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, implicit, scalar};
use crate::ir::{Builder, Shape, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::Op;
use rand::{Rng, RngExt};
use rand_distr::Open01;
use std::f64::consts::{PI, TAU};

pub(super) static VON_MISES: DistDef = DistDef {
    name: "VonMises",
    summary: "An angle between -pi and pi around loc; uniform as concentration goes to 0.",
    formula: "concentration cos(x - loc) - ln(2 pi I_0(concentration))   for -pi <= x <= pi",
    params: &[scalar("loc", SupportKind::Real), scalar("concentration", SupportKind::Positive)],
    support: SupportKind::Interval,
    log_prob: |g, x, p| {
        let low = g.compare_scalar(Binary::Ge, x, -PI);
        let high = g.compare_scalar(Binary::Le, x, PI);
        let inside = g.and(low, high);
        let gap = g.sub(x, p[0]);
        let less = less_cosine(g, gap);
        let bell = g.mul(p[1], less);
        let norm = log_norm(g, p[1]);
        let sum = g.add(bell, norm);
        let lp = g.neg(sum);
        or_impossible(g, inside, lp)
    },
    rsample: Reparam::Implicit(rsample),
    sample: Sampler::Scalar(|rng, p| wrap(p[0] + draw(rng, p[1]))),
    entropy: Some(|g, p| {
        let norm = log_norm(g, p[1]);
        let lost = lost_length(g, p[1]);
        let term = g.mul(p[1], lost);
        g.add(norm, term)
    }),
    cdf: Some(|g, x, p| {
        let (low, high) = (g.scalar(-PI), g.scalar(PI));
        let x = g.maximum(x, low);
        let x = g.minimum(x, high);
        let (end, start) = (g.sub(x, p[0]), g.sub(low, p[0]));
        let end = g.push(Op::Binary(Binary::VonMisesMass), &[p[1], end]);
        let start = g.push(Op::Binary(Binary::VonMisesMass), &[p[1], start]);
        g.sub(end, start)
    }),
    bounds: Some(|g, _| (g.scalar(-PI), g.scalar(PI))),
    // ln I_0(l)/I_0(k) + A(k) (k - l cos(m - n)), A = I_1/I_0; with scaled Bessel functions the exponents cancel
    kl: &[(DistId::VON_MISES, |g, p, q| {
        let (norm_p, norm_q) = (log_norm(g, p[1]), log_norm(g, q[1]));
        let norms = g.sub(norm_q, norm_p);
        let lost = lost_length(g, p[1]);
        let gap = g.sub(p[0], q[0]);
        let less = less_cosine(g, gap);
        // l (1 - A cos) - k (1 - A), where 1 - A cos = lost + (1 - lost) less
        let length = g.scalar_sub(1.0, lost);
        let turned = g.mul(length, less);
        let cross = g.add(lost, turned);
        let cross = g.mul(q[1], cross);
        let own = g.mul(p[1], lost);
        let sum = g.add(norms, cross);
        g.sub(sum, own)
    })],
    ..DistDef::BASE
};

/// `1 - cos t = 2 sin^2(t/2)`
fn less_cosine(g: &mut Builder, t: ValueId) -> ValueId {
    let half = g.mul_scalar(t, 0.5);
    let sine = g.sin(half);
    let square = g.square(sine);
    g.mul_scalar(square, 2.0)
}

/// `ln(2 pi e^-k I_0(k))`
fn log_norm(g: &mut Builder, concentration: ValueId) -> ValueId {
    let bessel = g.i0e(concentration);
    let log = g.log(bessel);
    g.add_scalar(log, 2.0 * HALF_LN_2PI)
}

/// `1 - I_1(k)/I_0(k)`: what the mean resultant lacks to length 1.
fn lost_length(g: &mut Builder, concentration: ValueId) -> ValueId {
    let (i0, i1) = (g.i0e(concentration), g.i1e(concentration));
    let gap = g.sub(i0, i1);
    g.div(gap, i0)
}

/// A draw around 0 that moves with the concentration, turned by the location and taken back to [-pi, pi].
fn rsample(g: &mut Builder, p: &[ValueId], shape: &Shape) -> ValueId {
    let zero = g.scalar(0.0);
    let fixed = g.stop_gradient(p[1]);
    let draw = g.draw(DistId::VON_MISES, &[zero, fixed], shape.clone());
    let change = g.push(Op::Binary(Binary::VonMisesMassDk), &[fixed, draw]);
    let log_density = (VON_MISES.log_prob)(g, draw, &[zero, fixed]);
    let draw = implicit::attach(g, draw, &[(p[1], change)], log_density);
    let angle = g.add(draw, p[0]);
    let shifted = g.add_scalar(angle, PI);
    let turns = g.mul_scalar(shifted, 1.0 / TAU);
    let turns = g.floor(turns);
    let turns = g.stop_gradient(turns);
    let whole = g.mul_scalar(turns, TAU);
    let angle = g.sub(angle, whole);
    let (low, high) = (g.scalar(-PI), g.scalar(PI));
    let angle = g.maximum(angle, low);
    g.minimum(angle, high)
}

/// An angle around 0; NaN unless the concentration is positive.
fn draw(rng: &mut dyn Rng, concentration: f64) -> f64 {
    if !(concentration > 0.0 && concentration.is_finite()) {
        return f64::NAN;
    }
    // Below this the wrapped Cauchy envelope of the method is a uniform up to rounding, and its formula cancels.
    if concentration < 1e-5 {
        return PI * (2.0 * rng.random::<f64>() - 1.0);
    }
    let tau = 1.0 + (1.0 + 4.0 * concentration * concentration).sqrt();
    let rho = (tau - (2.0 * tau).sqrt()) / (2.0 * concentration);
    let r = (1.0 + rho * rho) / (2.0 * rho);
    loop {
        let (u, v): (f64, f64) = (rng.random(), rng.sample(Open01));
        let z = (PI * u).cos();
        let f = (1.0 + r * z) / (r + z);
        let c = concentration * (r - f);
        if c * (2.0 - c) > v || (c / v).ln() + 1.0 >= c {
            let angle = f.clamp(-1.0, 1.0).acos();
            return if rng.random::<bool>() { angle } else { -angle };
        }
    }
}

/// The same angle in [-pi, pi].
fn wrap(angle: f64) -> f64 {
    (angle + PI).rem_euclid(TAU) - PI
}
