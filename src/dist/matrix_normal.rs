//! MatrixNormal: a matrix of N rows and M columns whose entries are correlated along both.
//!
//! With Z = L_r^-1 (X - loc) L_c^-T, the factors those of the covariances of rows and of columns:
//! log_prob(X) = -|Z|^2 / 2 - M sum_i ln L_r[i, i] - N sum_j ln L_c[j, j] - N M / 2 ln(2 pi).
//! The covariance of entries (i, j) and (k, l) is (L_r L_r')[i, k] (L_c L_c')[j, l].
//! Source: Gupta & Nagar, Matrix Variate Distributions, ch. 2.

use super::multivariate_normal::normals;
use super::pieces::{HALF_LN_2PI, expand_last, expand_row, half_log_det, last_size, square_norm};
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, matrix};
use crate::ir::{Builder, ValueId};
use crate::ops::NoiseKind;

pub(super) static MATRIX_NORMAL: DistDef = DistDef {
    name: "MatrixNormal",
    summary: "A normal matrix with mean loc, correlated along its rows and along its columns.",
    formula: "-|Z|^2 / 2 - M sum_i ln scale_tril_row[i, i] - N sum_j ln scale_tril_column[j, j] - N M ln(2 pi) / 2,   \
              Z = scale_tril_row^-1 (x - loc) scale_tril_column^-T",
    params: &[
        matrix("loc", SupportKind::Real).over(&["N", "M"]),
        matrix("scale_tril_row", SupportKind::LowerCholesky).over(&["N", "N"]),
        matrix("scale_tril_column", SupportKind::LowerCholesky).over(&["M", "M"]),
    ],
    event_rank: 2,
    event_dims: &["N", "M"],
    log_prob: |g, x, p| {
        let distance = distance(g, x, p);
        let half = g.mul_scalar(distance, -0.5);
        let log_det = log_det(g, p);
        let norm = g.add_scalar(log_det, HALF_LN_2PI * entries(g, p));
        g.sub(half, norm)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let noise = g.noise(NoiseKind::Normal, shape.clone());
        let left = g.matmul(p[1], false, noise, false);
        let both = g.matmul(left, false, p[2], true);
        g.add(both, p[0])
    }),
    sample: Sampler::Event(|rng, p, out| {
        let (n, m) = (p[1].len().isqrt(), p[2].len().isqrt());
        let noise = normals(rng, out.len());
        let mut left = vec![0.0; out.len()];
        for i in 0..n {
            for j in 0..m {
                left[i * m + j] = (0..=i).map(|k| p[1][i * n + k] * noise[k * m + j]).sum();
            }
        }
        for i in 0..n {
            for j in 0..m {
                let z: f64 = (0..=j).map(|k| left[i * m + k] * p[2][j * m + k]).sum();
                out[i * m + j] = p[0][i * m + j] + z;
            }
        }
    }),
    mean: Some(|_, p| p[0]),
    variance: Some(|g, p| {
        let (rows, columns) = (square_norm(g, p[1], 1), square_norm(g, p[2], 1));
        let (rows, columns) = (expand_last(g, rows), expand_row(g, columns));
        g.mul(rows, columns)
    }),
    entropy: Some(|g, p| {
        let log_det = log_det(g, p);
        g.add_scalar(log_det, (HALF_LN_2PI + 0.5) * entries(g, p))
    }),
    // The covariance is a Kronecker product, and so is the trace of two of them.
    kl: &[(DistId::MATRIX_NORMAL, |g, p, q| {
        let rows = g.solve_triangular(q[1], p[1], true, false);
        let columns = g.solve_triangular(q[2], p[2], true, false);
        let (rows, columns) = (square_norm(g, rows, 2), square_norm(g, columns, 2));
        let trace = g.mul(rows, columns);
        let distance = distance(g, p[0], q);
        let sum = g.add(trace, distance);
        let half = g.mul_scalar(sum, 0.5);
        let (log_p, log_q) = (log_det(g, p), log_det(g, q));
        let logs = g.sub(log_q, log_p);
        let kl = g.add(half, logs);
        g.add_scalar(kl, -0.5 * entries(g, p))
    })],
    ..DistDef::BASE
};

/// `|Z|^2`, batch shaped.
fn distance(g: &mut Builder, x: ValueId, p: &[ValueId]) -> ValueId {
    let gap = g.sub(x, p[0]);
    let left = g.solve_triangular(p[1], gap, true, false);
    let left = g.matrix_transpose(left);
    let both = g.solve_triangular(p[2], left, true, false);
    square_norm(g, both, 2)
}

/// Half the logarithm of the determinant of the covariance of all entries.
fn log_det(g: &mut Builder, p: &[ValueId]) -> ValueId {
    let (n, m) = (last_size(g, p[1]) as f64, last_size(g, p[2]) as f64);
    let (rows, columns) = (half_log_det(g, p[1]), half_log_det(g, p[2]));
    let (rows, columns) = (g.mul_scalar(rows, m), g.mul_scalar(columns, n));
    g.add(rows, columns)
}

/// The number of entries of a draw.
fn entries(g: &Builder, p: &[ValueId]) -> f64 {
    (last_size(g, p[1]) * last_size(g, p[2])) as f64
}
