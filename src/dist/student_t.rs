//! Student's t and the Cauchy, whole and folded at 0: tails that fall as a power of x.
//!
//! StudentT(df v, loc m, scale s):  log_prob(x) = -(v + 1)/2 ln(1 + z^2/v) - ln s - ln(v)/2 - ln B(v/2, 1/2),
//! z = (x - m)/s.   Cauchy is v = 1:  -ln(1 + z^2) - ln s - ln pi.
//! Writing the norm with B keeps it exact for large v, where two log-gammas cancel.
//! Source: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions, vol. 2, ch. 16 and 28.

use super::pieces::{LN_PI, destandardize, is_nonnegative, is_positive, log1p_square, or_impossible, standardize};
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, Tails, implicit, scalar};
use crate::ir::{Builder, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::NoiseKind;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Open01};
use std::f64::consts::{FRAC_1_PI, FRAC_2_PI, FRAC_PI_2, LN_2, PI};

pub(super) static STUDENT_T: DistDef = DistDef {
    name: "StudentT",
    summary: "A bell with heavy tails: df degrees of freedom, the Cauchy at 1 and the Normal as df grows.",
    formula: "-(df + 1) / 2 ln(1 + ((x - loc) / scale)^2 / df) - ln scale - ln(df) / 2 - ln B(df / 2, 1 / 2)",
    params: &[
        scalar("df", SupportKind::Positive),
        scalar("loc", SupportKind::Real),
        scalar("scale", SupportKind::Positive),
    ],
    log_prob: |g, x, p| {
        let z = standardize(g, x, p[1], p[2]);
        student_kernel(g, z, p[0], p[2], 0.0)
    },
    rsample: Reparam::Implicit(|g, p, shape| {
        let noise = g.noise(NoiseKind::Normal, shape.clone());
        let z = student_stretch(g, noise, p[0], shape);
        destandardize(g, z, p[1], p[2])
    }),
    sample: Sampler::Scalar(|rng, p| p[1] + p[2] * student_t(rng, p[0])),
    mean: Some(|g, p| {
        let exists = g.compare_scalar(Binary::Gt, p[0], 1.0);
        let nan = g.scalar(f64::NAN);
        g.select(exists, p[1], nan)
    }),
    variance: Some(|g, p| {
        let second = second_moment(g, p[0], p[2]);
        let exists = g.compare_scalar(Binary::Gt, p[0], 1.0);
        let nan = g.scalar(f64::NAN);
        g.select(exists, second, nan)
    }),
    entropy: Some(|g, p| student_entropy(g, p[0], p[2])),
    cdf: Some(|g, x, p| {
        let z = standardize(g, x, p[1], p[2]);
        student_below(g, z, p[0])
    }),
    tails: Tails::Above(|g, x, p| {
        let z = standardize(g, x, p[1], p[2]);
        let minus = g.neg(z);
        student_below(g, minus, p[0])
    }),
    ..DistDef::BASE
};

pub(super) static HALF_STUDENT_T: DistDef = DistDef {
    name: "HalfStudentT",
    summary: "The absolute value of a StudentT(df, 0, scale); a heavy-tailed prior for scales.",
    formula: "ln 2 - (df + 1) / 2 ln(1 + (x / scale)^2 / df) - ln scale - ln(df) / 2 - ln B(df / 2, 1 / 2)   for x >= 0",
    params: &[scalar("df", SupportKind::Positive), scalar("scale", SupportKind::Positive)],
    support: SupportKind::NonNegative,
    log_prob: |g, x, p| {
        let inside = is_nonnegative(g, x);
        let z = g.div(x, p[1]);
        let lp = student_kernel(g, z, p[0], p[1], LN_2);
        or_impossible(g, inside, lp)
    },
    rsample: Reparam::Implicit(|g, p, shape| {
        let noise = g.noise(NoiseKind::Normal, shape.clone());
        let noise = g.abs(noise);
        let z = student_stretch(g, noise, p[0], shape);
        g.mul(z, p[1])
    }),
    sample: Sampler::Scalar(|rng, p| p[1] * student_t(rng, p[0]).abs()),
    mean: Some(|g, p| half_student_mean(g, p[0], p[1])),
    variance: Some(|g, p| {
        let second = second_moment(g, p[0], p[1]);
        let mean = half_student_mean(g, p[0], p[1]);
        let square = g.square(mean);
        g.sub(second, square)
    }),
    entropy: Some(|g, p| {
        let whole = student_entropy(g, p[0], p[1]);
        g.add_scalar(whole, -LN_2)
    }),
    cdf: Some(|g, x, p| {
        let z = g.div(x, p[1]);
        let z = g.relu(z);
        let (middle, tail) = student_masses(g, z, p[0]);
        let near = g.compare_scalar(Binary::Ge, middle, 0.0);
        let inner = g.mul_scalar(middle, 2.0);
        let tails = g.mul_scalar(tail, 2.0);
        let outer = g.scalar_sub(1.0, tails);
        g.select(near, inner, outer)
    }),
    tails: Tails::Above(|g, x, p| {
        let z = g.div(x, p[1]);
        let z = g.relu(z);
        let (middle, tail) = student_masses(g, z, p[0]);
        let near = g.compare_scalar(Binary::Ge, middle, 0.0);
        let within = g.mul_scalar(middle, 2.0);
        let inner = g.scalar_sub(1.0, within);
        let outer = g.mul_scalar(tail, 2.0);
        g.select(near, inner, outer)
    }),
    ..DistDef::BASE
};

pub(super) static CAUCHY: DistDef = DistDef {
    name: "Cauchy",
    summary: "StudentT with one degree of freedom: so heavy-tailed that it has no mean.",
    formula: "-ln(1 + ((x - loc) / scale)^2) - ln scale - ln pi",
    params: &[scalar("loc", SupportKind::Real), scalar("scale", SupportKind::Positive)],
    log_prob: |g, x, p| {
        let z = standardize(g, x, p[0], p[1]);
        cauchy_kernel(g, z, p[1], LN_PI)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let u = g.noise(NoiseKind::Uniform, shape.clone());
        let z = cauchy_quantile(g, u);
        destandardize(g, z, p[0], p[1])
    }),
    sample: Sampler::Scalar(|rng, p| p[0] + p[1] * (PI * (open01(rng) - 0.5)).tan()),
    entropy: Some(|g, p| {
        let log = g.log(p[1]);
        g.add_scalar(log, 2.0 * LN_2 + LN_PI)
    }),
    cdf: Some(|g, x, p| {
        let z = standardize(g, x, p[0], p[1]);
        let minus = g.neg(z);
        let one = g.scalar(1.0);
        let angle = g.atan2(one, minus);
        g.mul_scalar(angle, FRAC_1_PI)
    }),
    tails: Tails::Above(|g, x, p| {
        let z = standardize(g, x, p[0], p[1]);
        let one = g.scalar(1.0);
        let angle = g.atan2(one, z);
        g.mul_scalar(angle, FRAC_1_PI)
    }),
    icdf: Some(|g, q, p| {
        let z = cauchy_quantile(g, q);
        destandardize(g, z, p[0], p[1])
    }),
    kl: &[(DistId::CAUCHY, kl_cauchy_cauchy)],
    ..DistDef::BASE
};

pub(super) static HALF_CAUCHY: DistDef = DistDef {
    name: "HalfCauchy",
    summary: "The absolute value of a Cauchy(0, scale); the scale prior of the horseshoe.",
    formula: "ln 2 - ln(1 + (x / scale)^2) - ln scale - ln pi   for x >= 0",
    params: &[scalar("scale", SupportKind::Positive)],
    support: SupportKind::NonNegative,
    log_prob: |g, x, p| {
        let inside = is_nonnegative(g, x);
        let z = g.div(x, p[0]);
        let lp = cauchy_kernel(g, z, p[0], LN_PI - LN_2);
        or_impossible(g, inside, lp)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let u = g.noise(NoiseKind::Uniform, shape.clone());
        let z = half_cauchy_quantile(g, u);
        g.mul(z, p[0])
    }),
    sample: Sampler::Scalar(|rng, p| p[0] * (FRAC_PI_2 * open01(rng)).tan()),
    mean: Some(|g, _| g.scalar(f64::INFINITY)),
    entropy: Some(|g, p| {
        let log = g.log(p[0]);
        g.add_scalar(log, LN_2 + LN_PI)
    }),
    cdf: Some(|g, x, p| {
        let z = g.div(x, p[0]);
        let z = g.relu(z);
        let angle = g.atan(z);
        g.mul_scalar(angle, FRAC_2_PI)
    }),
    tails: Tails::Above(|g, x, p| {
        let z = g.div(x, p[0]);
        let z = g.relu(z);
        let one = g.scalar(1.0);
        let angle = g.atan2(one, z);
        g.mul_scalar(angle, FRAC_2_PI)
    }),
    icdf: Some(|g, q, p| {
        let z = half_cauchy_quantile(g, q);
        g.mul(z, p[0])
    }),
    // Folding two densities that are even in x changes neither's ratio.
    kl: &[(DistId::HALF_CAUCHY, |g, p, q| {
        let zero = g.scalar(0.0);
        kl_cauchy_cauchy(g, &[zero, p[0]], &[zero, q[0]])
    })],
    ..DistDef::BASE
};

fn open01(rng: &mut dyn Rng) -> f64 {
    rng.sample(Open01)
}

/// One draw of Student's t; NaN unless `df > 0`.
pub(super) fn student_t(rng: &mut dyn Rng, df: f64) -> f64 {
    rand_distr::StudentT::new(df).map_or(f64::NAN, |t| t.sample(rng))
}

/// The log density at the standardized `z`, `log_factor` added.
fn student_kernel(g: &mut Builder, z: ValueId, df: ValueId, scale: ValueId, log_factor: f64) -> ValueId {
    let root = g.sqrt(df);
    let ratio = g.div(z, root);
    let growth = log1p_square(g, ratio);
    let df1 = g.add_scalar(df, 1.0);
    let power = g.mul_scalar(df1, 0.5);
    let fall = g.mul(power, growth);
    let norm = student_norm(g, df);
    let log_scale = g.log(scale);
    let norm = g.add(norm, log_scale);
    let norm = g.add_scalar(norm, -log_factor);
    let sum = g.add(fall, norm);
    g.neg(sum)
}

/// `ln(df)/2 + ln B(df/2, 1/2)`
fn student_norm(g: &mut Builder, df: ValueId) -> ValueId {
    let half_df = g.mul_scalar(df, 0.5);
    let half = g.scalar(0.5);
    let beta = g.lbeta(half_df, half);
    let log = g.log(df);
    let log = g.mul_scalar(log, 0.5);
    g.add(beta, log)
}

/// The entropy of the whole t: `(v+1)/2 (psi((v+1)/2) - psi(v/2)) + ln(v)/2 + ln B(v/2, 1/2) + ln s`.
fn student_entropy(g: &mut Builder, df: ValueId, scale: ValueId) -> ValueId {
    let low = g.mul_scalar(df, 0.5);
    let high = g.add_scalar(low, 0.5);
    let psi_high = g.digamma(high);
    let psi_low = g.digamma(low);
    let gap = g.sub(psi_high, psi_low);
    let growth = g.mul(high, gap);
    let norm = student_norm(g, df);
    let log_scale = g.log(scale);
    g.add_all(&[growth, norm, log_scale])
}

/// `s^2 v/(v - 2)`, inf for `v <= 2`.
fn second_moment(g: &mut Builder, df: ValueId, scale: ValueId) -> ValueId {
    let exists = g.compare_scalar(Binary::Gt, df, 2.0);
    let less = g.add_scalar(df, -2.0);
    let ratio = g.div(df, less);
    let square = g.square(scale);
    let value = g.mul(square, ratio);
    let infinite = g.scalar(f64::INFINITY);
    g.select(exists, value, infinite)
}

/// `2 s sqrt(v) / ((v - 1) B(v/2, 1/2))`, inf for `v <= 1`.
fn half_student_mean(g: &mut Builder, df: ValueId, scale: ValueId) -> ValueId {
    let exists = g.compare_scalar(Binary::Gt, df, 1.0);
    let half_df = g.mul_scalar(df, 0.5);
    let half = g.scalar(0.5);
    let beta = g.lbeta(half_df, half);
    let minus = g.neg(beta);
    let inverse_beta = g.exp(minus);
    let root = g.sqrt(df);
    let less = g.add_scalar(df, -1.0);
    let ratio = g.div(root, less);
    let value = g.mul(ratio, inverse_beta);
    let value = g.mul(value, scale);
    let value = g.mul_scalar(value, 2.0);
    let infinite = g.scalar(f64::INFINITY);
    g.select(exists, value, infinite)
}

/// P(T <= z)
fn student_below(g: &mut Builder, z: ValueId, df: ValueId) -> ValueId {
    let (middle, tail) = student_masses(g, z, df);
    let near = g.compare_scalar(Binary::Ge, middle, 0.0);
    let right = is_positive(g, z);
    let signed = g.neg(middle);
    let signed = g.select(right, middle, signed);
    let inner = g.add_scalar(signed, 0.5);
    let above = g.scalar_sub(1.0, tail);
    let outer = g.select(right, above, tail);
    g.select(near, inner, outer)
}

/// The mass between 0 and |z| where `z^2 < df` (otherwise -1), and the mass beyond |z|. Each is an incomplete beta
/// function; the first of the two keeps its digits near 0, the other one in the tail.
fn student_masses(g: &mut Builder, z: ValueId, df: ValueId) -> (ValueId, ValueId) {
    let root = g.sqrt(df);
    let t = g.div(z, root);
    let t = g.abs(t);
    let near = g.compare_scalar(Binary::Lt, t, 1.0);
    // x = t^2 / (1 + t^2) and 1 - x, without overflow
    let inverse = g.recip(t);
    let small = g.select(near, t, inverse);
    let square = g.square(small);
    let below = g.add_scalar(square, 1.0);
    let x = g.div(square, below);
    let half = g.scalar(0.5);
    let half_df = g.mul_scalar(df, 0.5);
    let middle = g.betainc(half, half_df, x);
    let middle = g.mul_scalar(middle, 0.5);
    let tail = g.betainc(half_df, half, x);
    let tail = g.mul_scalar(tail, 0.5);
    let none = g.scalar(-1.0);
    let middle = g.select(near, middle, none);
    (middle, tail)
}

/// `noise / sqrt(Gamma(df/2, 1) / (df/2))`: Student's t from normal noise, differentiable in df.
fn student_stretch(g: &mut Builder, noise: ValueId, df: ValueId, shape: &crate::ir::Shape) -> ValueId {
    let half_df = g.mul_scalar(df, 0.5);
    let gamma = implicit::standard_gamma(g, half_df, shape);
    let ratio = g.div(half_df, gamma);
    let stretch = g.sqrt(ratio);
    g.mul(noise, stretch)
}

/// `-ln(1 + z^2) - ln scale - c`
fn cauchy_kernel(g: &mut Builder, z: ValueId, scale: ValueId, c: f64) -> ValueId {
    let growth = log1p_square(g, z);
    let log_scale = g.log(scale);
    let norm = g.add_scalar(log_scale, c);
    let sum = g.add(growth, norm);
    g.neg(sum)
}

/// `tan(pi (q - 1/2))`
fn cauchy_quantile(g: &mut Builder, q: ValueId) -> ValueId {
    let centred = g.add_scalar(q, -0.5);
    let angle = g.mul_scalar(centred, PI);
    g.tan(angle)
}

/// `tan(pi q / 2)`
fn half_cauchy_quantile(g: &mut Builder, q: ValueId) -> ValueId {
    let angle = g.mul_scalar(q, FRAC_PI_2);
    g.tan(angle)
}

/// KL(Cauchy(m, s) || Cauchy(n, t)) = ln(((s + t)^2 + (m - n)^2) / (4 s t)) (Chyzak & Nielsen 2019, arXiv:1905.10965),
/// written as `ln(1 + ((m - n)/(s + t))^2) + ln(1 + (s - t)^2 / (4 s t))`.
fn kl_cauchy_cauchy(g: &mut Builder, p: &[ValueId], q: &[ValueId]) -> ValueId {
    let sum = g.add(p[1], q[1]);
    let gap = g.sub(p[0], q[0]);
    let ratio = g.div(gap, sum);
    let shift = log1p_square(g, ratio);
    let change = g.sub(p[1], q[1]);
    let by_p = g.div(change, p[1]);
    let by_q = g.div(change, q[1]);
    let product = g.mul(by_p, by_q);
    let product = g.mul_scalar(product, 0.25);
    let stretch = g.log1p(product);
    g.add(shift, stretch)
}
