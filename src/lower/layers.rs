//! Layers whose weight's noise is not shared by all rows: Flipout and local reparameterization.
//!
//! See [`crate::lower::estimators`] for which layer gets which.

use super::Lowering;
use crate::builtins::nn::add_bias;
use crate::builtins::{ConcreteAttrs, FnDef};
use crate::check::typed::*;
use crate::dist::Dist;
use crate::ir::{Shape, ValueId};
use crate::lower::estimators::{Estimator, rearranged};
use crate::ops::NoiseKind;

/// Added to a variance under a root, so that a row of zeros has a finite gradient; far below any variance that matters.
const TINY: f64 = 1e-12;

/// A layer without its bias: linear in its weight, rows first, channels second.
struct Layer {
    def: &'static FnDef,
    attrs: ConcreteAttrs,
}

impl<'p> Lowering<'p> {
    /// The result of a layer whose weight has an estimator of its own; `None` for everything else.
    pub(super) fn layer(&mut self, e: ExprId) -> Option<ValueId> {
        let ExprKind::Call { def, args, attrs } = &self.program.exprs[e].kind else { return None };
        if !matches!(def.name, "conv1d" | "conv2d" | "conv_transpose1d" | "conv_transpose2d" | "dense") {
            return None;
        }
        let estimator = self.estimator_of(args[1]).unwrap_or(Estimator::Shared);
        let own_bias = args.get(2).is_some_and(|&b| self.estimator_of(b).is_some());
        if estimator == Estimator::Shared && !own_bias {
            return None;
        }
        let x = self.expr(args[0]);
        let x = self.g.to_real(x);
        let layer = Layer { def, attrs: ConcreteAttrs { sizes: Vec::new(), ints: attrs.ints.clone() } };
        // A number for each row and channel, the same everywhere in space.
        let per_channel = |rows: usize, n: usize, rank: usize| {
            let mut shape = vec![1; rank];
            shape[..2].copy_from_slice(&[rows, n]);
            Shape::from(shape)
        };
        let y = match estimator {
            Estimator::Shared => {
                let w = self.expr(args[1]);
                let w = self.g.to_real(w);
                self.apply(&layer, x, w)
            }
            Estimator::Flipout => {
                let (w, loc, _) = self.location_scale(args[1])?;
                let mean = self.apply(&layer, x, loc);
                let perturbation = self.g.sub(w, loc);
                let (rows, channels, rank) = (self.g.shape(x)[0], self.g.shape(x)[1], self.g.rank(x));
                let outputs = self.g.shape(mean)[1];
                let before = self.g.noise(NoiseKind::Sign, per_channel(rows, channels, rank));
                let after = self.g.noise(NoiseKind::Sign, per_channel(rows, outputs, rank));
                let flipped = self.g.mul(x, before);
                let noise = self.apply(&layer, flipped, perturbation);
                let noise = self.g.mul(noise, after);
                self.g.add(mean, noise)
            }
            Estimator::LocalReparam => {
                let (_, loc, scale) = self.location_scale(args[1])?;
                let mean = self.apply(&layer, x, loc);
                let (x2, s2) = (self.g.square(x), self.g.square(scale));
                let variance = self.apply(&layer, x2, s2);
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
        let (rows, outputs, rank) = (self.g.shape(y)[0], self.g.shape(y)[1], self.g.rank(y));
        let noise = self.g.noise(NoiseKind::Normal, Shape::from([rows, outputs]));
        let noise = self.g.mul(scale, noise);
        let bias = self.g.add(loc, noise);
        let bias = self.g.reshape(bias, per_channel(rows, outputs, rank));
        Some(self.g.add(y, bias))
    }
    /// The estimator of the site whose elements `e` holds, if it is not the shared draw.
    fn estimator_of(&self, e: ExprId) -> Option<Estimator> {
        let (site, _) = rearranged(self.program, e)?;
        self.estimators.get(&site).copied().filter(|&e| e != Estimator::Shared)
    }
    /// Draw, location and scale of the site whose elements `e` holds, rearranged as they are in `e`, under a
    /// location-scale guide.
    fn location_scale(&mut self, e: ExprId) -> Option<(ValueId, ValueId, ValueId)> {
        let (site, calls) = rearranged(self.program, e)?;
        let draw = self.site_value(site);
        let (loc, scale) = match self.guide_draws[site].as_ref()?.dist.as_ref()? {
            Dist::Row { params, .. } => (params[0], params[1]),
            _ => return None,
        };
        let moved = [draw, loc, scale].map(|v| {
            calls.iter().rev().fold(v, |v, &call| match &self.program.exprs[call].kind {
                ExprKind::Call { def, attrs, .. } => {
                    let sizes = attrs.sizes.iter().map(|s| self.size(s)).collect();
                    (def.lower)(&mut self.g, &[v], &ConcreteAttrs { sizes, ints: attrs.ints.clone() })
                }
                _ => unreachable!("a chain of calls"),
            })
        });
        Some((moved[0], moved[1], moved[2]))
    }
    fn apply(&mut self, layer: &Layer, x: ValueId, w: ValueId) -> ValueId {
        (layer.def.lower)(&mut self.g, &[x, w], &layer.attrs)
    }
}
