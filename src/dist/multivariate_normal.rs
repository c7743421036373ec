//! MultivariateNormal and MultivariateStudentT: real vectors with correlated entries.
//!
//! With S = L L' and w = L^-1 (x - m), the normal's log_prob(x) is -w'w/2 - sum_i ln L_ii - d/2 ln(2 pi); that of the t
//! with v degrees of freedom is lnGamma((v+d)/2) - lnGamma(v/2) - d/2 ln(v pi) - sum_i ln L_ii - (v+d)/2 ln(1 + w'w/v).
//! By covariance (S), its lower Cholesky factor (L), or its inverse (precision).
//! Source: Gelman et al., Bayesian Data Analysis, 3rd ed., app. A.

use super::normal::standard_normal;
use super::pieces::{HALF_LN_2PI, LN_PI, broadcast_shapes, expand_last, expand_row, half_log_det};
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, gamma::standard_gamma, implicit, matrix, scalar, vector};
use crate::ir::{Builder, Shape, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::NoiseKind;
use rand::Rng;

const BASE: DistDef = DistDef {
    name: "MultivariateNormal",
    summary: "A normal vector with mean loc and the given covariance.",
    event_rank: 1,
    mean: Some(|_, p| p[0]),
    ..DistDef::BASE
};

pub(super) static COV: DistDef = DistDef {
    formula: "-(x - loc)' cov^-1 (x - loc) / 2 - ln det(cov) / 2 - d ln(2 pi) / 2",
    params: &[vector("loc", SupportKind::Real), matrix("cov", SupportKind::PositiveDefinite)],
    log_prob: |g, x, p| {
        let factor = g.cholesky(p[1]);
        log_prob(g, x, p[0], factor)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let factor = g.cholesky(p[1]);
        rsample(g, p[0], factor, shape)
    }),
    sample: Sampler::Event(|rng, p, out| {
        let factor = cholesky(p[1], out.len());
        let noise = normals(rng, out.len());
        place(p[0], &factor, &noise, 1.0, out);
    }),
    variance: Some(|g, p| g.diagonal(p[1])),
    entropy: Some(|g, p| {
        let factor = g.cholesky(p[1]);
        entropy(g, factor)
    }),
    kl: &[
        (DistId::MULTIVARIATE_NORMAL_COV, |g, p, q| {
            let (l, m) = (g.cholesky(p[1]), g.cholesky(q[1]));
            kl(g, (p[0], l), (q[0], m))
        }),
        (DistId::MULTIVARIATE_NORMAL_TRIL, |g, p, q| {
            let l = g.cholesky(p[1]);
            kl(g, (p[0], l), (q[0], q[1]))
        }),
    ],
    ..BASE
};

pub(super) static TRIL: DistDef = DistDef {
    formula: "-w' w / 2 - sum_i ln scale_tril[i, i] - d ln(2 pi) / 2,   w = scale_tril^-1 (x - loc)",
    params: &[vector("loc", SupportKind::Real), matrix("scale_tril", SupportKind::LowerCholesky)],
    log_prob: |g, x, p| log_prob(g, x, p[0], p[1]),
    rsample: Reparam::Noise(|g, p, shape| rsample(g, p[0], p[1], shape)),
    sample: Sampler::Event(|rng, p, out| {
        let noise = normals(rng, out.len());
        place(p[0], p[1], &noise, 1.0, out);
    }),
    variance: Some(|g, p| row_squares(g, p[1])),
    entropy: Some(|g, p| entropy(g, p[1])),
    kl: &[
        (DistId::MULTIVARIATE_NORMAL_TRIL, |g, p, q| kl(g, (p[0], p[1]), (q[0], q[1]))),
        (DistId::MULTIVARIATE_NORMAL_COV, |g, p, q| {
            let m = g.cholesky(q[1]);
            kl(g, (p[0], p[1]), (q[0], m))
        }),
    ],
    ..BASE
};

pub(super) static PRECISION: DistDef = DistDef {
    formula: "-(x - loc)' precision (x - loc) / 2 + ln det(precision) / 2 - d ln(2 pi) / 2",
    params: &[vector("loc", SupportKind::Real), matrix("precision", SupportKind::PositiveDefinite)],
    log_prob: |g, x, p| {
        let factor = g.cholesky(p[1]);
        let gap = g.sub(x, p[0]);
        let row = expand_row(g, gap);
        // w = L' (x - m), as a row: (x - m)' L
        let w = g.matmul(row, false, factor, false);
        let square = g.square(w);
        let distance = g.sum_last(square, 2);
        let half = g.mul_scalar(distance, -0.5);
        let log_det = half_log_det(g, factor);
        let lp = g.add(half, log_det);
        let d = dimension(g, factor);
        g.add_scalar(lp, -HALF_LN_2PI * d)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let factor = g.cholesky(p[1]);
        let noise = g.noise(NoiseKind::Normal, shape.clone());
        let column = expand_last(g, noise);
        let z = g.solve_triangular(factor, column, true, true);
        let z = g.reshape(z, shape.clone());
        g.add(z, p[0])
    }),
    sample: Sampler::Event(|rng, p, out| {
        let n = out.len();
        let factor = cholesky(p[1], n);
        let noise = normals(rng, n);
        // solves L' z = noise from the last row up
        for i in (0..n).rev() {
            let rest: f64 = (i + 1..n).map(|j| factor[j * n + i] * out[j]).sum();
            out[i] = (noise[i] - rest) / factor[i * n + i];
        }
        out.iter_mut().zip(p[0]).for_each(|(x, m)| *x += m);
    }),
    variance: Some(|g, p| {
        // diag of (L L')^-1: the squared columns of L^-1 summed
        let factor = g.cholesky(p[1]);
        let identity = identity_like(g, factor);
        let inverse = g.solve_triangular(factor, identity, true, false);
        let square = g.square(inverse);
        let axis = g.rank(square) - 2;
        g.sum(square, &[axis])
    }),
    entropy: Some(|g, p| {
        let factor = g.cholesky(p[1]);
        let log_det = half_log_det(g, factor);
        let minus = g.neg(log_det);
        let d = dimension(g, factor);
        g.add_scalar(minus, (HALF_LN_2PI + 0.5) * d)
    }),
    ..BASE
};

pub(super) static STUDENT_T: DistDef = DistDef {
    name: "MultivariateStudentT",
    summary: "A vector with the heavy tails of Student's t and correlated entries.",
    formula: "ln Gamma((df + d) / 2) - ln Gamma(df / 2) - d ln(df pi) / 2 - sum_i ln scale_tril[i, i] \
              - (df + d) / 2 ln(1 + w' w / df),   w = scale_tril^-1 (x - loc)",
    params: &[
        scalar("df", SupportKind::Positive),
        vector("loc", SupportKind::Real),
        matrix("scale_tril", SupportKind::LowerCholesky),
    ],
    event_rank: 1,
    log_prob: |g, x, p| {
        let d = dimension(g, p[2]);
        let distance = mahalanobis(g, x, p[1], p[2]);
        let ratio = g.div(distance, p[0]);
        let growth = g.log1p(ratio);
        let low = g.mul_scalar(p[0], 0.5);
        let high = g.add_scalar(low, 0.5 * d);
        let fall = g.mul(high, growth);
        let (lgamma_high, lgamma_low) = (g.lgamma(high), g.lgamma(low));
        let norm = g.sub(lgamma_high, lgamma_low);
        let log_df = g.log(p[0]);
        let log_df = g.mul_scalar(log_df, 0.5 * d);
        let log_det = half_log_det(g, p[2]);
        let lp = g.sub(norm, log_df);
        let lp = g.sub(lp, log_det);
        let lp = g.sub(lp, fall);
        g.add_scalar(lp, -0.5 * d * LN_PI)
    },
    rsample: Reparam::Implicit(|g, p, shape| {
        let half_df = g.mul_scalar(p[0], 0.5);
        let gamma = implicit::standard_gamma(g, half_df, &shape.drop_last(1));
        let ratio = g.div(half_df, gamma);
        let stretch = g.sqrt(ratio);
        let stretch = expand_last(g, stretch);
        let noise = g.noise(NoiseKind::Normal, shape.clone());
        let noise = g.mul(noise, stretch);
        push_forward(g, noise, p[1], p[2])
    }),
    sample: Sampler::Event(|rng, p, out| {
        let half_df = 0.5 * p[0][0];
        let stretch = (half_df / standard_gamma(rng, half_df)).sqrt();
        let noise = normals(rng, out.len());
        place(p[1], p[2], &noise, stretch, out);
    }),
    mean: Some(|g, p| {
        let exists = g.compare_scalar(Binary::Gt, p[0], 1.0);
        let exists = expand_last(g, exists);
        let nan = g.scalar(f64::NAN);
        g.select(exists, p[1], nan)
    }),
    variance: Some(|g, p| {
        let second = row_squares(g, p[2]);
        let exists = g.compare_scalar(Binary::Gt, p[0], 2.0);
        let less = g.add_scalar(p[0], -2.0);
        let ratio = g.div(p[0], less);
        let infinite = g.scalar(f64::INFINITY);
        let ratio = g.select(exists, ratio, infinite);
        let defined = g.compare_scalar(Binary::Gt, p[0], 1.0);
        let nan = g.scalar(f64::NAN);
        let ratio = g.select(defined, ratio, nan);
        let ratio = expand_last(g, ratio);
        g.mul(second, ratio)
    }),
    entropy: Some(|g, p| {
        // sum ln L_ii + ln Gamma(v/2) - ln Gamma((v + d)/2) + d ln(v pi)/2 + (v + d)/2 (psi((v + d)/2) - psi(v/2))
        let d = dimension(g, p[2]);
        let log_det = half_log_det(g, p[2]);
        let low = g.mul_scalar(p[0], 0.5);
        let high = g.add_scalar(low, 0.5 * d);
        let (lgamma_low, lgamma_high) = (g.lgamma(low), g.lgamma(high));
        let norm = g.sub(lgamma_low, lgamma_high);
        let log_df = g.log(p[0]);
        let log_df = g.mul_scalar(log_df, 0.5 * d);
        let (psi_low, psi_high) = (g.digamma(low), g.digamma(high));
        let gap = g.sub(psi_high, psi_low);
        let fall = g.mul(high, gap);
        let sum = g.add_all(&[log_det, norm, log_df, fall]);
        g.add_scalar(sum, 0.5 * d * LN_PI)
    }),
    ..DistDef::BASE
};

/// The number of entries of a vector.
fn dimension(g: &Builder, factor: ValueId) -> f64 {
    *g.shape(factor).last().expect("a factor is a matrix") as f64
}

/// The identity, a constant of one matrix.
fn identity_like(g: &mut Builder, factor: ValueId) -> ValueId {
    let shape = g.shape(factor);
    let ones = g.full(1.0, Shape::from([shape[shape.rank() - 1]]));
    let identity = g.diag(ones);
    g.broadcast_to(identity, shape)
}

/// `|L^-1 (x - m)|^2`, batch shaped. One factor for many vectors is one solve with many right-hand sides.
pub(super) fn mahalanobis(g: &mut Builder, x: ValueId, loc: ValueId, factor: ValueId) -> ValueId {
    let gap = g.sub(x, loc);
    let shape = g.shape(gap);
    let d = shape[shape.rank() - 1];
    if g.rank(factor) == 2 {
        let batch = shape.drop_last(1);
        let rows = g.reshape(gap, [batch.count(), d]);
        let columns = g.matrix_transpose(rows);
        let w = g.solve_triangular(factor, columns, true, false);
        let square = g.square(w);
        let sum = g.sum(square, &[0]);
        return g.reshape(sum, batch);
    }
    let column = expand_last(g, gap);
    let w = g.solve_triangular(factor, column, true, false);
    let square = g.square(w);
    g.sum_last(square, 2)
}

fn log_prob(g: &mut Builder, x: ValueId, loc: ValueId, factor: ValueId) -> ValueId {
    let distance = mahalanobis(g, x, loc, factor);
    let half = g.mul_scalar(distance, -0.5);
    let log_det = half_log_det(g, factor);
    let d = dimension(g, factor);
    let norm = g.add_scalar(log_det, HALF_LN_2PI * d);
    g.sub(half, norm)
}

/// `m + L noise`, the noise as rows: `noise' L'`.
fn push_forward(g: &mut Builder, noise: ValueId, loc: ValueId, factor: ValueId) -> ValueId {
    let shape = g.shape(noise);
    if g.rank(factor) == 2 {
        let rows = g.reshape(noise, [shape.drop_last(1).count(), shape[shape.rank() - 1]]);
        let z = g.matmul(rows, false, factor, true);
        let z = g.reshape(z, shape);
        return g.add(z, loc);
    }
    let row = expand_row(g, noise);
    let z = g.matmul(row, false, factor, true);
    let z = g.reshape(z, shape);
    g.add(z, loc)
}

fn rsample(g: &mut Builder, loc: ValueId, factor: ValueId, shape: &Shape) -> ValueId {
    let noise = g.noise(NoiseKind::Normal, shape.clone());
    push_forward(g, noise, loc, factor)
}

/// The diagonal of `L L'`.
fn row_squares(g: &mut Builder, factor: ValueId) -> ValueId {
    let square = g.square(factor);
    g.sum_last(square, 1)
}

fn entropy(g: &mut Builder, factor: ValueId) -> ValueId {
    let log_det = half_log_det(g, factor);
    let d = dimension(g, factor);
    g.add_scalar(log_det, (HALF_LN_2PI + 0.5) * d)
}

/// KL(N(m, L L') || N(n, M M')) = (|M^-1 L|^2 + |M^-1 (m - n)|^2 - d)/2 + sum_i ln M_ii - ln L_ii, the first norm being
/// Frobenius'.
fn kl(g: &mut Builder, (m, l): (ValueId, ValueId), (n, other): (ValueId, ValueId)) -> ValueId {
    let batch = broadcast_shapes(&g.shape(l), &g.shape(other));
    let l_full = g.broadcast_to(l, batch);
    let turned = g.solve_triangular(other, l_full, true, false);
    let square = g.square(turned);
    let spread = g.sum_last(square, 2);
    let distance = mahalanobis(g, m, n, other);
    let sum = g.add(spread, distance);
    let half = g.mul_scalar(sum, 0.5);
    let (log_l, log_m) = (half_log_det(g, l), half_log_det(g, other));
    let logs = g.sub(log_m, log_l);
    let kl = g.add(half, logs);
    let d = dimension(g, l);
    g.add_scalar(kl, -0.5 * d)
}

pub(super) fn normals(rng: &mut dyn Rng, n: usize) -> Vec<f64> {
    (0..n).map(|_| standard_normal(rng)).collect()
}

/// `out = m + stretch L noise`
fn place(loc: &[f64], factor: &[f64], noise: &[f64], stretch: f64, out: &mut [f64]) {
    let n = out.len();
    for (i, x) in out.iter_mut().enumerate() {
        let z: f64 = (0..=i).map(|j| factor[i * n + j] * noise[j]).sum();
        *x = loc[i] + stretch * z;
    }
}

/// The lower Cholesky factor on the host; NaN from the first pivot on that is not positive.
pub(super) fn cholesky(a: &[f64], n: usize) -> Vec<f64> {
    let mut l = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
            let rest = a[i * n + j] - dot;
            l[i * n + j] = if i == j { rest.sqrt() } else { rest / l[j * n + j] };
        }
    }
    l
}
