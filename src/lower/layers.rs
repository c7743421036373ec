//! Layers whose weight's noise is not shared by all rows: Flipout and local reparameterization.
//!
//! See [`crate::lower::estimators`] for which layer gets which.

use super::Lowering;
use crate::builtins::ConcreteAttrs;
use crate::builtins::nn::{add_bias, conv_attrs_for};
use crate::check::typed::*;
use crate::dist::Dist;
use crate::ir::{Shape, ValueId};
use crate::lower::estimators::Estimator;
use crate::ops::{ConvAttrs, NoiseKind};

/// Added to a variance under a root, so that a row of zeros has a finite gradient; far below any variance that matters.
const TINY: f64 = 1e-12;

/// The two layers that have estimators of their own.
#[derive(Clone, Copy)]
enum Layer {
    Dense,
    Conv(ConvAttrs),
}

impl<'p> Lowering<'p> {
    /// The result of a layer whose weight has an estimator of its own; `None` for everything else.
    pub(super) fn layer(&mut self, e: ExprId) -> Option<ValueId> {
        let ExprKind::Call { def, args, attrs } = &self.program.exprs[e].kind else { return None };
        if !matches!(def.name, "conv2d" | "dense") {
            return None;
        }
        let estimator = self.estimator_of(args[1]).unwrap_or(Estimator::Shared);
        let own_bias = args.get(2).is_some_and(|&b| self.estimator_of(b).is_some());
        if estimator == Estimator::Shared && !own_bias {
            return None;
        }
        let x = self.expr(args[0]);
        let x = self.g.to_real(x);
        let layer = if def.name == "dense" {
            Layer::Dense
        } else {
            let attrs = ConcreteAttrs { sizes: Vec::new(), ints: attrs.ints.clone() };
            let w = self.expr(args[1]);
            Layer::Conv(conv_attrs_for(&self.g, x, w, &attrs))
        };
        let y = match estimator {
            Estimator::Shared => {
                let w = self.expr(args[1]);
                let w = self.g.to_real(w);
                self.apply(layer, x, w)
            }
            Estimator::Flipout => {
                let (w, loc, _) = self.location_scale(args[1])?;
                let mean = self.apply(layer, x, loc);
                let perturbation = self.g.sub(w, loc);
                let (rows, channels) = (self.g.shape(x)[0], self.g.shape(x)[1]);
                let outputs = self.g.shape(mean)[1];
                let signs = |n: usize| match layer {
                    Layer::Dense => Shape::from([rows, n]),
                    Layer::Conv(_) => Shape::from([rows, n, 1, 1]),
                };
                let before = self.g.noise(NoiseKind::Sign, signs(channels));
                let after = self.g.noise(NoiseKind::Sign, signs(outputs));
                let flipped = self.g.mul(x, before);
                let noise = self.apply(layer, flipped, perturbation);
                let noise = self.g.mul(noise, after);
                self.g.add(mean, noise)
            }
            Estimator::LocalReparam => {
                let (_, loc, scale) = self.location_scale(args[1])?;
                let mean = self.apply(layer, x, loc);
                let (x2, s2) = (self.g.square(x), self.g.square(scale));
                let variance = self.apply(layer, x2, s2);
                let variance = self.g.add_scalar(variance, TINY);
                let sd = self.g.sqrt(variance);
                let shape = self.g.shape(mean);
                let noise = self.g.noise(NoiseKind::Normal, shape);
                let noise = self.g.mul(sd, noise);
                self.g.add(mean, noise)
            }
        };
        let Some(&b) = args.get(2) else { return Some(y) };
        if !own_bias {
            let bias = self.expr(b);
            return Some(add_bias(&mut self.g, y, Some(&bias)));
        }
        // One draw of the bias for each row, constant over space.
        let (_, loc, scale) = self.location_scale(b)?;
        let (rows, outputs) = (self.g.shape(y)[0], self.g.shape(y)[1]);
        let noise = self.g.noise(NoiseKind::Normal, Shape::from([rows, outputs]));
        let noise = self.g.mul(scale, noise);
        let bias = self.g.add(loc, noise);
        let bias = match layer {
            Layer::Dense => bias,
            Layer::Conv(_) => self.g.reshape(bias, [rows, outputs, 1, 1]),
        };
        Some(self.g.add(y, bias))
    }
    /// The estimator of the site that `e` is, if it is not the shared draw.
    fn estimator_of(&self, e: ExprId) -> Option<Estimator> {
        let ExprKind::Site(site) = self.program.exprs[e].kind else { return None };
        self.estimators.get(&site).copied().filter(|&e| e != Estimator::Shared)
    }
    /// Draw, location and scale of the site that `e` is, under a location-scale guide.
    fn location_scale(&mut self, e: ExprId) -> Option<(ValueId, ValueId, ValueId)> {
        let ExprKind::Site(site) = self.program.exprs[e].kind else { return None };
        let draw = self.site_value(site);
        match self.guide_draws[site].as_ref()?.dist.as_ref()? {
            Dist::Row { params, .. } => Some((draw, params[0], params[1])),
            Dist::Mixture { .. } | Dist::Joined { .. } | Dist::Wrapped(_) => None,
        }
    }
    fn apply(&mut self, layer: Layer, x: ValueId, w: ValueId) -> ValueId {
        match layer {
            Layer::Dense => self.g.matmul(x, false, w, false),
            Layer::Conv(attrs) => self.g.conv2d(x, w, attrs),
        }
    }
}
