//! MultivariateNormal with a covariance of low rank plus a diagonal: S = F F' + diag(d), F of K rows and R columns.
//!
//! With A = diag(d)^-1/2 F and C = I + A' A (R by R), Woodbury's identity gives
//! (x - m)' S^-1 (x - m) = |z|^2 - |L_C^-1 A' z|^2 for z = d^-1/2 (x - m), C = L_C L_C', and det S = det C prod_k d_k.
//! Nothing of K by K is ever made.
//! Source: Press et al., Numerical Recipes, 3rd ed., sec. 2.7.3.

use super::multivariate_normal::{mahalanobis, normals};
use super::pieces::{HALF_LN_2PI, expand_last, expand_row, half_log_det, identity, last_size, square_norm};
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, matrix, vector};
use crate::ir::{Builder, ValueId};
use crate::ops::NoiseKind;

pub(super) static LOW_RANK: DistDef = DistDef {
    name: "MultivariateNormal",
    summary: "A normal vector with mean loc and the given covariance.",
    formula: "-(x - loc)' S^-1 (x - loc) / 2 - ln det(S) / 2 - d ln(2 pi) / 2,   S = factor factor' + diagonal matrix of diag",
    params: &[
        vector("loc", SupportKind::Real),
        matrix("factor", SupportKind::Real).over(&["K", "R"]),
        vector("diag", SupportKind::Positive),
    ],
    event_rank: 1,
    log_prob: |g, x, p| {
        let s = Woodbury::new(g, p[1], p[2]);
        let gap = g.sub(x, p[0]);
        let distance = s.distance(g, gap);
        let half = g.mul_scalar(distance, -0.5);
        let log_det = s.half_log_det(g);
        let lp = g.sub(half, log_det);
        let k = last_size(g, p[2]) as f64;
        g.add_scalar(lp, -HALF_LN_2PI * k)
    },
    rsample: Reparam::Noise(|g, p, shape| {
        let rank = last_size(g, p[1]);
        let own = g.noise(NoiseKind::Normal, shape.clone());
        let root = g.sqrt(p[2]);
        let own = g.mul(own, root);
        let common = g.noise(NoiseKind::Normal, shape.drop_last(1).concat(&[1, rank]));
        let common = g.matmul(common, false, p[1], true);
        let common = g.reshape(common, shape.clone());
        let sum = g.add(own, common);
        g.add(sum, p[0])
    }),
    sample: Sampler::Event(|rng, p, out| {
        let rank = p[1].len() / out.len().max(1);
        let common = normals(rng, rank);
        let own = normals(rng, out.len());
        for (k, x) in out.iter_mut().enumerate() {
            let row = &p[1][k * rank..(k + 1) * rank];
            *x = p[0][k] + p[2][k].sqrt() * own[k] + row.iter().zip(&common).map(|(f, e)| f * e).sum::<f64>();
        }
    }),
    mean: Some(|_, p| p[0]),
    variance: Some(|g, p| {
        let squares = square_norm(g, p[1], 1);
        g.add(squares, p[2])
    }),
    entropy: Some(|g, p| {
        let s = Woodbury::new(g, p[1], p[2]);
        let log_det = s.half_log_det(g);
        let k = last_size(g, p[2]) as f64;
        g.add_scalar(log_det, (HALF_LN_2PI + 0.5) * k)
    }),
    kl: &[
        (DistId::MULTIVARIATE_NORMAL_LOW_RANK, |g, p, q| {
            let (s, t) = (Woodbury::new(g, p[1], p[2]), Woodbury::new(g, q[1], q[2]));
            // tr(T^-1 S) in coordinates scaled by the other's diagonal: B = d^-1/2 F, delta the ratio of diagonals
            let wide = expand_last(g, t.root);
            let b = g.div(p[1], wide);
            let delta = g.div(p[2], q[2]);
            let (own, ratio) = (square_norm(g, b, 2), g.sum_last(delta, 1));
            let turned = t.turn(g);
            let common = g.matmul(turned, false, b, false);
            let common = square_norm(g, common, 2);
            let row = expand_row(g, delta);
            let square = g.square(turned);
            let less = g.mul(square, row);
            let less = g.sum_last(less, 2);
            let trace = g.add(own, ratio);
            let trace = g.sub(trace, common);
            let trace = g.sub(trace, less);
            let gap = g.sub(p[0], q[0]);
            let distance = t.distance(g, gap);
            let (log_s, log_t) = (s.half_log_det(g), t.half_log_det(g));
            divergence(g, trace, distance, log_s, log_t, last_size(g, p[2]))
        }),
        (DistId::MULTIVARIATE_NORMAL_TRIL, |g, p, q| kl_to_factor(g, p, q[0], q[1])),
        (DistId::MULTIVARIATE_NORMAL_COV, |g, p, q| {
            let factor = g.cholesky(q[1]);
            kl_to_factor(g, p, q[0], factor)
        }),
    ],
    ..DistDef::BASE
};

/// A covariance in the form that its inverse and its determinant are cheap in.
struct Woodbury {
    /// `d^1/2`
    root: ValueId,
    /// `A = d^-1/2 F`
    scaled: ValueId,
    /// The Cholesky factor of `C = I + A' A`.
    small: ValueId,
}

impl Woodbury {
    fn new(g: &mut Builder, factor: ValueId, diag: ValueId) -> Self {
        let root = g.sqrt(diag);
        let wide = expand_last(g, root);
        let scaled = g.div(factor, wide);
        let square = g.matmul(scaled, true, scaled, false);
        let identity = identity(g, last_size(g, factor));
        let sum = g.add(square, identity);
        Self { root, scaled, small: g.cholesky(sum) }
    }
    /// `gap' S^-1 gap`, batch shaped.
    fn distance(&self, g: &mut Builder, gap: ValueId) -> ValueId {
        let z = g.div(gap, self.root);
        let row = expand_row(g, z);
        let y = g.matmul(row, false, self.scaled, false);
        let column = g.matrix_transpose(y);
        let w = g.solve_triangular(self.small, column, true, false);
        let (whole, less) = (square_norm(g, z, 1), square_norm(g, w, 2));
        g.sub(whole, less)
    }
    /// `ln det(S) / 2`
    fn half_log_det(&self, g: &mut Builder) -> ValueId {
        let small = half_log_det(g, self.small);
        let logs = g.log(self.root);
        let logs = g.sum_last(logs, 1);
        g.add(small, logs)
    }
    /// `L_C^-1 A'`, [.., R, K]
    fn turn(&self, g: &mut Builder) -> ValueId {
        let columns = g.matrix_transpose(self.scaled);
        g.solve_triangular(self.small, columns, true, false)
    }
}

/// KL to a normal whose covariance has the Cholesky factor M: the trace is |M^-1 F|^2 + |M^-1 d^1/2|^2.
fn kl_to_factor(g: &mut Builder, p: &[ValueId], loc: ValueId, factor: ValueId) -> ValueId {
    let s = Woodbury::new(g, p[1], p[2]);
    let common = g.solve_triangular(factor, p[1], true, false);
    let own = g.diag(s.root);
    let own = g.solve_triangular(factor, own, true, false);
    let (common, own) = (square_norm(g, common, 2), square_norm(g, own, 2));
    let trace = g.add(common, own);
    let distance = mahalanobis(g, p[0], loc, factor);
    let (log_s, log_t) = (s.half_log_det(g), half_log_det(g, factor));
    divergence(g, trace, distance, log_s, log_t, last_size(g, p[2]))
}

/// `(trace + distance - K)/2 + ln det(T)/2 - ln det(S)/2`
fn divergence(g: &mut Builder, trace: ValueId, distance: ValueId, log_s: ValueId, log_t: ValueId, k: usize) -> ValueId {
    let sum = g.add(trace, distance);
    let half = g.mul_scalar(sum, 0.5);
    let logs = g.sub(log_t, log_s);
    let kl = g.add(half, logs);
    g.add_scalar(kl, -0.5 * k as f64)
}
