//! MC dropout as a guide: point values whose layers lose inputs at random.
//!
//!   W = M * z / keep,   z_i ~ Bernoulli(keep) for every input i of the layer,   keep = 1 - rate
//!
//! Inputs are units of a dense layer and channels of a convolution (of a group, the same ones in every group); M is the mean
//! of W. Everything else under `dropout` is a point. Gal & Ghahramani 2016, arXiv:1506.02142, take q(W) as a mixture of two
//! narrow normals at M / keep and at 0 for every input. Its divergence from the prior is, but for a constant that grows
//! without bound as the normals narrow,
//!
//!   - E[ln p(W)] = - sum over elements of (keep ln p(M / keep) + rate ln p(0)),
//!
//! which for a normal prior of scale s is the paper's `M^2 / (2 keep s^2)` (in its own terms `keep M'^2 / (2 s^2)` with
//! M' = M / keep). So the objective is a lower bound of the evidence but for that constant; it has no importance ratios.
//! Where a layer uses the weight once, a step draws a mask for every row: it multiplies the layer's inputs, which is the same.

use super::params::Owner;
use super::sites::GuideDraw;
use super::{Lowering, Mode};
use crate::check::typed::*;
use crate::check::weights::input_axis;
use crate::dist::Dist;
use crate::ir::{Builder, Shape, ValueId};
use crate::ops::NoiseKind;

/// A weight that loses inputs.
#[derive(Clone, Copy, Debug)]
pub struct Dropped {
    /// The mean of the weight.
    pub loc: ValueId,
    /// The axis of its inputs.
    pub axis: usize,
    /// The probability of losing one.
    pub rate: f64,
}

impl Lowering<'_> {
    pub(super) fn dropout_draw(&mut self, site: SiteId, rate: f64) -> GuideDraw {
        let Some(axis) = input_axis(self.program, self.model, site) else { return self.delta_draw(site) };
        let loc = self.learnable(Owner::Loc(site), Mode::Live);
        let whole = self.g.shape(loc);
        let shape: Vec<usize> = (0..whole.rank()).map(|a| if a == axis { whole[a] } else { 1 }).collect();
        let mask = mask(&mut self.g, shape.into(), rate);
        let value = self.g.mul(loc, mask);
        self.dropped.insert(site, Dropped { loc, axis, rate });
        GuideDraw { value, dist: None, log_prob: None, log_prob_path: None, joint: None }
    }

    /// The expectation of a log prior over the masks of `site`; `None` where the site loses nothing or its prior is not one
    /// of independent elements.
    pub fn expected_log_prior(&mut self, site: SiteId, prior: &Dist) -> Option<ValueId> {
        let Dropped { loc, rate, .. } = *self.dropped.get(&site)?;
        if prior.event_rank() > 0 {
            return None;
        }
        let shape = self.g.shape(loc);
        let kept = self.g.mul_scalar(loc, 1.0 / (1.0 - rate));
        let lost = self.g.full(0.0, shape.clone());
        let sums = [(kept, 1.0 - rate), (lost, rate)].map(|(value, share)| {
            let log_prob = prior.log_prob(&mut self.g, value);
            let log_prob = self.g.broadcast_to(log_prob, shape.clone());
            let sum = self.g.sum_all(log_prob);
            self.g.mul_scalar(sum, share)
        });
        Some(self.g.add(sums[0], sums[1]))
    }

    /// The inputs `x [N, C, ..]` of a layer with a mask for every row, and the mean of its weight.
    pub(super) fn masked(&mut self, site: SiteId, x: ValueId) -> (ValueId, ValueId) {
        self.site_value(site);
        let Dropped { loc, axis, rate } = self.dropped[&site];
        let (shape, inputs) = (self.g.shape(x), self.g.shape(loc)[axis]);
        let (rows, channels) = (shape[0], shape[1]);
        let own = mask(&mut self.g, Shape::from([rows, 1, inputs]), rate);
        let groups = self.g.broadcast_to(own, Shape::from([rows, channels / inputs, inputs]));
        let mut per_channel = vec![1; shape.rank()];
        per_channel[..2].copy_from_slice(&[rows, channels]);
        let own = self.g.reshape(groups, per_channel);
        (self.g.mul(x, own), loc)
    }
}

/// 0 with probability `rate`, else `1 / (1 - rate)`.
fn mask(g: &mut Builder, shape: Shape, rate: f64) -> ValueId {
    let uniform = g.noise(NoiseKind::Uniform, shape);
    let share = g.scalar(1.0 - rate);
    let kept = g.lt(uniform, share);
    let (scale, zero) = (g.scalar(1.0 / (1.0 - rate)), g.scalar(0.0));
    g.select(kept, scale, zero)
}
