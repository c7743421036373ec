//! Wishart(df v, scale V): symmetric positive definite matrices of p rows, the distribution of v times a covariance
//! estimated from normal vectors; and its inverse.
//!
//! With X = L L' and V = M M', v > p - 1:
//! log_prob(X) = (v - p - 1) sum_i ln L_ii - |M^-1 L|^2 / 2 - v sum_i ln M_ii - v p/2 ln 2 - lnGamma_p(v/2).
//! InverseWishart(v, V) is the inverse of Wishart(v, V^-1).
//!
//! Draws: Bartlett's decomposition X = M A A' M', A lower triangular with A_ii^2 ~ ChiSquared(v - i + 1), i = 1..p, and
//! normals below. Source: Anderson, An Introduction to Multivariate Statistical Analysis, 3rd ed., sec. 7.2 and 7.7.

use super::gamma::standard_gamma;
use super::multivariate_normal::cholesky;
use super::normal::standard_normal;
use super::pieces::{
    LN_PI, constant_vector, expand_last, expand_lasts, expand_row, guard, half_log_det, last_size, or_impossible,
    safe_cholesky, square_norm,
};
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, implicit, matrix, scalar};
use crate::ir::{Builder, Shape, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::NoiseKind;
use rand::Rng;
use std::f64::consts::LN_2;

pub(super) static WISHART: DistDef = DistDef {
    name: "Wishart",
    summary: "A covariance matrix with mean df scale: the sum of df squares of normal vectors of covariance scale.",
    formula: "(df - p - 1) / 2 ln det(x) - tr(scale^-1 x) / 2 - df / 2 ln det(scale) - df p / 2 ln 2 - ln Gamma_p(df / 2)   \
              for df > p - 1",
    params: &[scalar("df", SupportKind::Positive), matrix("scale", SupportKind::PositiveDefinite)],
    support: SupportKind::PositiveDefinite,
    event_rank: 2,
    log_prob: |g, x, p| {
        let n = last_size(g, x) as f64;
        let (factor, valid) = safe_cholesky(g, x);
        let scale = g.cholesky(p[1]);
        let turned = g.solve_triangular(scale, factor, true, false);
        let log_x = half_log_det(g, factor);
        let less = g.add_scalar(p[0], -n - 1.0);
        let rise = g.mul(less, log_x);
        let lp = assemble(g, rise, turned, p[0], scale, -1.0);
        or_impossible(g, valid, lp)
    },
    rsample: Reparam::Implicit(|g, p, shape| {
        let scale = g.cholesky(p[1]);
        let bartlett = bartlett(g, p[0], shape);
        let factor = g.matmul(scale, false, bartlett, false);
        g.matmul(factor, false, factor, true)
    }),
    sample: Sampler::Event(|rng, p, out| {
        let n = p[1].len().isqrt();
        let scale = cholesky(p[1], n);
        let a = draw_bartlett(rng, p[0][0], n);
        let factor = product(&scale, &a, n);
        squares(&factor, n, out);
    }),
    mean: Some(|g, p| {
        let df = expand_lasts(g, p[0], 2);
        g.mul(df, p[1])
    }),
    variance: Some(|g, p| {
        let (square, cross) = square_and_cross(g, p[1]);
        let sum = g.add(square, cross);
        let df = expand_lasts(g, p[0], 2);
        g.mul(df, sum)
    }),
    entropy: Some(|g, p| {
        // (p + 1) sum ln M_ii + p (p + 1)/2 ln 2 + lnGamma_p(v/2) - (v - p - 1)/2 psi_p(v/2) + v p/2
        let n = last_size(g, p[1]) as f64;
        let scale = g.cholesky(p[1]);
        let log_scale = half_log_det(g, scale);
        let log_scale = g.mul_scalar(log_scale, n + 1.0);
        let (norm, psi) = (multi_lgamma(g, p[0], n as usize), multi_digamma(g, p[0], n as usize));
        let less = g.add_scalar(p[0], -n - 1.0);
        let slope = g.mul(less, psi);
        let slope = g.mul_scalar(slope, -0.5);
        let linear = g.mul_scalar(p[0], 0.5 * n);
        let sum = g.add_all(&[log_scale, norm, slope, linear]);
        g.add_scalar(sum, 0.5 * n * (n + 1.0) * LN_2)
    }),
    kl: &[(DistId::WISHART, |g, p, q| {
        let (l, m) = (g.cholesky(p[1]), g.cholesky(q[1]));
        let turned = g.solve_triangular(m, l, true, false);
        let (log_l, log_m) = (half_log_det(g, l), half_log_det(g, m));
        let logs = g.sub(log_m, log_l);
        kl(g, p[0], q[0], turned, logs)
    })],
    ..DistDef::BASE
};

pub(super) static INVERSE_WISHART: DistDef = DistDef {
    name: "InverseWishart",
    summary: "The inverse of a Wishart: the conjugate prior of a covariance, with mean scale / (df - p - 1).",
    formula: "df / 2 ln det(scale) - (df + p + 1) / 2 ln det(x) - tr(scale x^-1) / 2 - df p / 2 ln 2 - ln Gamma_p(df / 2)   \
              for df > p - 1",
    params: &[scalar("df", SupportKind::Positive), matrix("scale", SupportKind::PositiveDefinite)],
    support: SupportKind::PositiveDefinite,
    event_rank: 2,
    log_prob: |g, x, p| {
        let n = last_size(g, x) as f64;
        let (factor, valid) = safe_cholesky(g, x);
        let scale = g.cholesky(p[1]);
        let turned = g.solve_triangular(factor, scale, true, false);
        let log_x = half_log_det(g, factor);
        let more = g.add_scalar(p[0], n + 1.0);
        let fall = g.mul(more, log_x);
        let rise = g.neg(fall);
        let lp = assemble(g, rise, turned, p[0], scale, 1.0);
        or_impossible(g, valid, lp)
    },
    // X = T' T with T = A^-1 M'
    rsample: Reparam::Implicit(|g, p, shape| {
        let scale = g.cholesky(p[1]);
        let bartlett = bartlett(g, p[0], shape);
        let columns = g.matrix_transpose(scale);
        let turned = g.solve_triangular(bartlett, columns, true, false);
        g.matmul(turned, true, turned, false)
    }),
    sample: Sampler::Event(|rng, p, out| {
        let n = p[1].len().isqrt();
        let scale = cholesky(p[1], n);
        let a = draw_bartlett(rng, p[0][0], n);
        // rows of T' = M A^-T, from the last column of A' back
        let mut turned = scale;
        for i in 0..n {
            for j in 0..n {
                let rest: f64 = (0..j).map(|k| a[j * n + k] * turned[i * n + k]).sum();
                turned[i * n + j] = (turned[i * n + j] - rest) / a[j * n + j];
            }
        }
        squares(&turned, n, out);
    }),
    mean: Some(|g, p| {
        let n = last_size(g, p[1]) as f64;
        let less = g.add_scalar(p[0], -n - 1.0);
        let exists = g.compare_scalar(Binary::Gt, less, 0.0);
        let less = guard(g, exists, less, f64::NAN);
        let less = expand_lasts(g, less, 2);
        g.div(p[1], less)
    }),
    variance: Some(|g, p| {
        // ((d + 2) V_ij^2 + d V_ii V_jj) / ((d + 1) d^2 (d - 2)),  d = v - p - 1
        let n = last_size(g, p[1]) as f64;
        let d = g.add_scalar(p[0], -n - 1.0);
        let exists = g.compare_scalar(Binary::Gt, d, 2.0);
        let d = guard(g, exists, d, f64::NAN);
        let d = expand_lasts(g, d, 2);
        let (square, cross) = square_and_cross(g, p[1]);
        let (more, one, less) = (g.add_scalar(d, 2.0), g.add_scalar(d, 1.0), g.add_scalar(d, -2.0));
        let square = g.mul(more, square);
        let cross = g.mul(d, cross);
        let top = g.add(square, cross);
        let d2 = g.square(d);
        let bottom = g.mul(one, d2);
        let bottom = g.mul(bottom, less);
        g.div(top, bottom)
    }),
    // Inversion changes no divergence: that of Wisharts with the inverse scales.
    kl: &[(DistId::INVERSE_WISHART, |g, p, q| {
        let (l, m) = (g.cholesky(p[1]), g.cholesky(q[1]));
        let turned = g.solve_triangular(l, m, true, false);
        let (log_l, log_m) = (half_log_det(g, l), half_log_det(g, m));
        let logs = g.sub(log_l, log_m);
        kl(g, p[0], q[0], turned, logs)
    })],
    ..DistDef::BASE
};

/// `rise - |turned|^2/2 + sign v sum ln M_ii - v p/2 ln 2 - lnGamma_p(v/2)`
fn assemble(g: &mut Builder, rise: ValueId, turned: ValueId, df: ValueId, scale: ValueId, sign: f64) -> ValueId {
    let n = last_size(g, scale);
    let trace = square_norm(g, turned, 2);
    let trace = g.mul_scalar(trace, -0.5);
    let log_scale = half_log_det(g, scale);
    let log_scale = g.mul_scalar(log_scale, sign);
    let log_scale = g.add_scalar(log_scale, -0.5 * LN_2 * n as f64);
    let linear = g.mul(df, log_scale);
    let norm = multi_lgamma(g, df, n);
    let lp = g.add_all(&[rise, trace, linear]);
    g.sub(lp, norm)
}

/// `(v - j)/2` for j = 0..p, [.., p]
fn halves(g: &mut Builder, df: ValueId, n: usize) -> ValueId {
    let less = constant_vector(g, n, |j| -0.5 * j);
    let half = g.mul_scalar(df, 0.5);
    let half = expand_last(g, half);
    g.add(half, less)
}

/// `ln Gamma_p(v/2) = p (p - 1)/4 ln pi + sum_j ln Gamma((v - j)/2)`
fn multi_lgamma(g: &mut Builder, df: ValueId, n: usize) -> ValueId {
    let halves = halves(g, df, n);
    let each = g.lgamma(halves);
    let sum = g.sum_last(each, 1);
    g.add_scalar(sum, 0.25 * LN_PI * (n * (n - 1)) as f64)
}

/// `sum_j psi((v - j)/2)`
fn multi_digamma(g: &mut Builder, df: ValueId, n: usize) -> ValueId {
    let halves = halves(g, df, n);
    let each = g.digamma(halves);
    g.sum_last(each, 1)
}

/// `V_ij^2` and `V_ii V_jj`.
fn square_and_cross(g: &mut Builder, scale: ValueId) -> (ValueId, ValueId) {
    let square = g.square(scale);
    let diagonal = g.diagonal(scale);
    let (column, row) = (expand_last(g, diagonal), expand_row(g, diagonal));
    (square, g.mul(column, row))
}

/// `w (ln det V_q - ln det V_p)/2 + v (|turned|^2 - p)/2 + lnGamma_p(w/2) - lnGamma_p(v/2) + (v - w)/2 psi_p(v/2)` with
/// `logs` half the difference of the logarithms.
fn kl(g: &mut Builder, v: ValueId, w: ValueId, turned: ValueId, logs: ValueId) -> ValueId {
    let n = last_size(g, turned);
    let rise = g.mul(w, logs);
    let trace = square_norm(g, turned, 2);
    let trace = g.add_scalar(trace, -(n as f64));
    let trace = g.mul(v, trace);
    let trace = g.mul_scalar(trace, 0.5);
    let (norm_v, norm_w) = (multi_lgamma(g, v, n), multi_lgamma(g, w, n));
    let norms = g.sub(norm_w, norm_v);
    let psi = multi_digamma(g, v, n);
    let gap = g.sub(v, w);
    let slope = g.mul(gap, psi);
    let slope = g.mul_scalar(slope, 0.5);
    g.add_all(&[rise, trace, norms, slope])
}

/// Bartlett's factor A of Wishart(v, I), differentiable in v.
fn bartlett(g: &mut Builder, df: ValueId, shape: &Shape) -> ValueId {
    let n = shape[shape.rank() - 1];
    let halves = halves(g, df, n);
    let gammas = implicit::standard_gamma(g, halves, &shape.drop_last(1));
    let twice = g.mul_scalar(gammas, 2.0);
    let diagonal = g.sqrt(twice);
    let diagonal = g.diag(diagonal);
    let noise = g.noise(NoiseKind::Normal, shape.clone());
    let below = g.tril(noise, true);
    g.add(below, diagonal)
}

fn draw_bartlett(rng: &mut dyn Rng, df: f64, n: usize) -> Vec<f64> {
    let mut a = vec![0.0; n * n];
    for i in 0..n {
        (0..i).for_each(|j| a[i * n + j] = standard_normal(rng));
        a[i * n + i] = (2.0 * standard_gamma(rng, 0.5 * (df - i as f64))).sqrt();
    }
    a
}

/// The product of two lower triangular matrices.
fn product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let mut c = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            c[i * n + j] = (j..=i).map(|k| a[i * n + k] * b[k * n + j]).sum();
        }
    }
    c
}

/// `out = f f'`
fn squares(f: &[f64], n: usize, out: &mut [f64]) {
    for i in 0..n {
        for j in 0..n {
            out[i * n + j] = (0..n).map(|k| f[i * n + k] * f[j * n + k]).sum();
        }
    }
}
