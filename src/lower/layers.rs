//! Layers whose weight's noise is not shared by all rows: Flipout, local reparameterization, a draw for each row.
//!
//! See [`crate::lower::estimators`] for which layer gets which.

use super::Lowering;
use crate::builtins::ConcreteAttrs;
use crate::builtins::nn::{Convolution, add_bias, lower_convolution};
use crate::check::typed::*;
use crate::dist::Dist;
use crate::ir::{Builder, Shape, ValueId};
use crate::lower::estimators::{Estimator, rearranged};
use crate::ops::{ConvAttrs, NoiseKind, Op, RowLaw, RowNoise, TINY};

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
        let attrs = ConcreteAttrs { sizes: Vec::new(), ints: attrs.ints.clone() };
        let y = match estimator {
            Estimator::Shared | Estimator::Score => {
                let w = self.expr(args[1]);
                let w = self.g.to_real(w);
                (def.lower)(&mut self.g, &[x, w], &attrs)
            }
            Estimator::Dropout => {
                let (site, _) = rearranged(self.program, args[1])?;
                let (x, w) = self.masked(site, x);
                (def.lower)(&mut self.g, &[x, w], &attrs)
            }
            Estimator::Flipout => {
                let (w, loc, _) = self.location_scale(args[1])?;
                let spread = self.g.sub(w, loc);
                row_weights(&mut self.g, def.name, x, [loc, spread], &attrs, RowLaw::Signs)
            }
            Estimator::Exact => {
                let (_, loc, scale) = self.location_scale(args[1])?;
                row_weights(&mut self.g, def.name, x, [loc, scale], &attrs, RowLaw::Normal)
            }
            Estimator::LocalReparam => {
                let (_, loc, scale) = self.location_scale(args[1])?;
                let square = self.g.square(scale);
                drawn_outputs(&mut self.g, def.name, x, [loc, square], &attrs)
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
        // A number for each row and channel, the same everywhere in space.
        let mut per_channel = vec![1; rank];
        per_channel[..2].copy_from_slice(&[rows, outputs]);
        let bias = self.g.reshape(bias, per_channel);
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
}

/// A layer in which every row has the weights `loc + spread * M_n`.
fn row_weights(
    g: &mut Builder,
    name: &str,
    x: ValueId,
    [loc, spread]: [ValueId; 2],
    attrs: &ConcreteAttrs,
    kind: RowLaw,
) -> ValueId {
    let stream = g.fresh_stream();
    let noise = RowNoise { kind, stream };
    if name != "dense" {
        return lower_convolution(g, name, x, &[loc, spread], attrs, |g, x, w, convolution| {
            let op = match convolution {
                Convolution::Plain(attrs) => Op::RowConv2d { attrs, noise },
                Convolution::Transposed { attrs, input } => Op::RowConv2dInputGrad { attrs, input, noise },
            };
            g.push(op, &[x, w[0], w[1]])
        });
    }
    if kind == RowLaw::Signs {
        return g.push(Op::FlipoutDense { stream, adjoint: false }, &[x, loc, spread]);
    }
    // A transposed convolution of one cell has its weights in the order of a dense layer.
    let attrs = ConvAttrs { stride: [1, 1], pad: [[0, 0]; 2], dilation: [1, 1], groups: 1 };
    let cells = [x, loc, spread].map(|v| {
        let shape = g.shape(v);
        g.reshape(v, [shape[0], shape[1], 1, 1])
    });
    let y = g.push(Op::RowConv2dInputGrad { attrs, input: [1, 1], noise }, &cells);
    let shape = g.shape(y);
    g.reshape(y, [shape[0], shape[1]])
}

/// A layer whose outputs are drawn, from the means and variances of its weights.
fn drawn_outputs(
    g: &mut Builder,
    name: &str,
    x: ValueId,
    [loc, square]: [ValueId; 2],
    attrs: &ConcreteAttrs,
) -> ValueId {
    if name == "dense" {
        let stream = g.fresh_stream();
        let both = g.push(Op::LocalReparamDense { stream }, &[x, loc, square]);
        return g.halves(both)[0];
    }
    lower_convolution(g, name, x, &[loc, square], attrs, |g, x, w, convolution| match convolution {
        Convolution::Plain(attrs) => {
            let stream = g.fresh_stream();
            let both = g.push(Op::LocalReparamConv2d { attrs, stream }, &[x, w[0], w[1]]);
            g.halves(both)[0]
        }
        Convolution::Transposed { attrs, input } => {
            let mean = g.conv2d_input_grad(x, w[0], attrs, input);
            let squared = g.square(x);
            let variance = g.conv2d_input_grad(squared, w[1], attrs, input);
            let variance = g.add_scalar(variance, TINY);
            let sd = g.sqrt(variance);
            let shape = g.shape(mean);
            let noise = g.noise(NoiseKind::Normal, shape);
            let noise = g.mul(sd, noise);
            g.add(mean, noise)
        }
    })
}
