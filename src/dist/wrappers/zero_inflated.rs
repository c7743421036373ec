//! ZeroInflated(p, D): zero with probability p, otherwise D; and Hurdle(p, D), where the rest is positive.
//!
//! Discrete:  log_prob(0) = ln(p + (1 - p) e^log_D(0)),  log_prob(x) = ln(1 - p) + log_D(x).
//! A continuous D has no mass at 0, so there log_prob(0) = ln p.   A hurdle is this around D truncated to x > 0.

use super::Wrap;
use super::between::coin;
use crate::dist::pieces::{broadcast_shapes, guard, int, is_nonnegative, log_or_impossible};
use crate::dist::tails::log_rest;
use crate::dist::{Dist, SupportKind};
use crate::ir::{Builder, DType, Shape, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::Op;

/// A distribution with additional mass at 0.
#[derive(Clone, PartialEq, Debug)]
pub struct ZeroInflated {
    /// The probability of the additional zero.
    pub probs: ValueId,
    /// What is drawn otherwise: numbers.
    pub base: Dist,
    /// Whether the base is positive, so that `probs` is the probability of zero.
    pub hurdle: bool,
    /// Where draws lie.
    pub support: SupportKind,
}

impl ZeroInflated {
    /// `ln(p [0 is on this side] + (1 - p) e^part)`
    fn mix(&self, g: &mut Builder, zero_here: ValueId, part: ValueId) -> ValueId {
        let log_rest = log_rest(g, self.probs);
        let rest = g.add(log_rest, part);
        let log_p = log_or_impossible(g, self.probs);
        let both = g.push(Op::Binary(Binary::LogAddExp), &[log_p, rest]);
        g.select(zero_here, both, rest)
    }
}

impl Wrap for ZeroInflated {
    fn name(&self) -> &'static str {
        if self.hurdle { "Hurdle" } else { "ZeroInflated" }
    }
    fn base(&self) -> &Dist {
        &self.base
    }
    fn support(&self) -> SupportKind {
        self.support
    }
    fn bounds(&self, g: &mut Builder) -> Option<(ValueId, ValueId)> {
        if !self.support.needs_bounds() {
            return None;
        }
        let (lower, upper) = self.base.ends(g);
        let zero = g.scalar(0.0);
        Some((g.minimum(lower, zero), g.maximum(upper, zero)))
    }
    fn batch_shape(&self, g: &Builder) -> Shape {
        broadcast_shapes(&self.base.batch_shape(g), &g.shape(self.probs))
    }
    fn log_prob(&self, g: &mut Builder, x: ValueId) -> ValueId {
        let zero = g.compare_scalar(Binary::Eq, x, 0.0);
        let inner = self.base.log_prob(g, x);
        if self.dtype() != DType::Real {
            return self.mix(g, zero, inner);
        }
        let log_rest = log_rest(g, self.probs);
        let rest = g.add(log_rest, inner);
        let log_p = log_or_impossible(g, self.probs);
        g.select(zero, log_p, rest)
    }
    fn sample(&self, g: &mut Builder, shape: &Shape) -> ValueId {
        let extra = coin(g, self.probs, shape);
        let x = self.base.sample(g, shape);
        let zero = if g.dtype(x) == DType::Real { g.scalar(0.0) } else { int(g, 0.0) };
        g.select(extra, zero, x)
    }
    fn mean(&self, g: &mut Builder) -> Option<ValueId> {
        let mean = self.base.mean(g)?;
        let rest = g.scalar_sub(1.0, self.probs);
        Some(g.mul(rest, mean))
    }
    fn variance(&self, g: &mut Builder) -> Option<ValueId> {
        // (1 - p) (v + p m^2)
        let (mean, variance) = (self.base.mean(g)?, self.base.variance(g)?);
        let square = g.square(mean);
        let between = g.mul(self.probs, square);
        let sum = g.add(variance, between);
        let rest = g.scalar_sub(1.0, self.probs);
        Some(g.mul(rest, sum))
    }
    fn log_cdf(&self, g: &mut Builder, x: ValueId) -> Option<ValueId> {
        let below = self.base.log_cdf(g, x)?;
        let zero_below = is_nonnegative(g, x);
        Some(self.mix(g, zero_below, below))
    }
    fn log_sf(&self, g: &mut Builder, x: ValueId) -> Option<ValueId> {
        let above = self.base.log_sf(g, x)?;
        let zero_above = g.compare_scalar(Binary::Lt, x, 0.0);
        let log = self.mix(g, zero_above, above);
        // rounding must not make it more than everything
        let some = g.compare_scalar(Binary::Lt, log, 0.0);
        Some(guard(g, some, log, 0.0))
    }
    fn params(&self) -> Vec<ValueId> {
        self.base.params().into_iter().chain([self.probs]).collect()
    }
    fn stretched(&self, g: &mut Builder) -> Dist {
        let base = self.base.stretched(g);
        let probs = super::stretch(g, self.probs, 0);
        ZeroInflated { probs, base, hurdle: self.hurdle, support: self.support }.into()
    }
}
