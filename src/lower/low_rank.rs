//! The joint normal with a covariance of low rank plus a diagonal: `u = loc + factor e + scale * d`, with `e` of k and
//! `d` of n standard normal numbers.
//!
//! Its log density goes through a k by k matrix (Woodbury): with `V = factor' diag(scale)^-2 factor + 1`,
//!   ln det(factor factor' + diag(scale)^2) = ln det V + 2 sum ln scale,
//!   r' cov^-1 r = |r / scale|^2 - |L^-1 factor' (r / scale^2)|^2   with  V = L L'.
//! Source: Ong, Nott & Smith 2018, "Gaussian variational approximation with a factor covariance structure".

use super::params::Owner;
use super::{Lowering, Mode};
use crate::check::typed::SiteId;
use crate::dist::{Dist, DistId};
use crate::ir::{Builder, Shape, ValueId};
use crate::ops::NoiseKind;

impl<'p> Lowering<'p> {
    /// The draw of step `at` of the guide: value, log density, and the latter with its parameters held constant.
    pub(super) fn low_rank_draw(&mut self, at: usize, site: SiteId) -> (ValueId, ValueId, ValueId) {
        let [live, fixed] = [Mode::Live, Mode::Detached].map(|mode| {
            [Owner::JointLoc(at), Owner::JointFactor(at), Owner::JointScale(at)].map(|o| self.learnable(o, mode))
        });
        let [loc, factor, scale] = live;
        let shape = self.g.shape(factor);
        let (n, k) = (shape[0], shape[1]);
        let common = self.g.noise(NoiseKind::Normal, Shape::from([k, 1]));
        let own = self.g.noise(NoiseKind::Normal, Shape::from([n]));
        let step = self.g.matmul(factor, false, common, false);
        let step = self.g.reshape(step, [n]);
        let own = self.g.mul(scale, own);
        let step = self.g.add(step, own);
        let u = self.g.add(loc, step);
        let u = self.held(site, u);
        let [log_prob, path] = [live, fixed].map(|[loc, factor, scale]| log_prob(&mut self.g, u, loc, factor, scale));
        (u, log_prob, path)
    }
}

/// The number of columns of a factor over `n` coordinates: without a rank the square root of the dimension, rounded up.
pub(super) fn rank(rank: Option<usize>, n: usize) -> usize {
    rank.unwrap_or_else(|| (n as f64).sqrt().ceil() as usize).clamp(1, n.max(1))
}

/// ln of the density at `u [n]`, with `loc [n]`, `factor [n, k]` and `scale [n]` [nats].
pub(super) fn log_prob(g: &mut Builder, u: ValueId, loc: ValueId, factor: ValueId, scale: ValueId) -> ValueId {
    let shape = g.shape(factor);
    let (n, k) = (shape[0], shape[1]);
    let independent = Dist::row(DistId::NORMAL, [loc, scale]).log_prob(g, u);
    let independent = g.sum_all(independent);
    let column = g.reshape(scale, [n, 1]);
    let scaled = g.div(factor, column);
    let product = g.matmul(scaled, true, scaled, false);
    let ones = g.full(1.0, Shape::from([k]));
    let identity = g.diag(ones);
    let v = g.add(product, identity);
    let l = g.cholesky(v);
    let gap = g.sub(u, loc);
    let gap = g.div(gap, scale);
    let gap = g.reshape(gap, [n, 1]);
    let projected = g.matmul(scaled, true, gap, false);
    let w = g.solve_triangular(l, projected, true, false);
    let square = g.square(w);
    let square = g.sum_all(square);
    let half = g.mul_scalar(square, 0.5);
    let diagonal = g.diagonal(l);
    let log = g.log(diagonal);
    let half_log_det = g.sum_all(log);
    let sum = g.add(independent, half);
    g.sub(sum, half_log_det)
}
