//! Truncated(D, lower, upper): D given that it lies between two ends, both included.
//!
//! log_prob(x) = log_D(x) - ln P(lower <= X <= upper).   Draws by inversion, `between.rs`; those of a continuous D follow
//! the quantiles of their parameters and ends.

use super::between::{Between, attach, is_smooth};
use super::{Wrap, meet, stretch};
use crate::dist::pieces::{broadcast_shapes, guard, or_impossible};
use crate::dist::{Dist, SupportKind};
use crate::ir::{Builder, DType, Shape, ValueId};
use crate::kernels::elementwise::Binary;

/// A truncated distribution.
#[derive(Clone, PartialEq, Debug)]
pub struct Truncated {
    /// The distribution that is truncated: of numbers, with a cdf.
    pub base: Dist,
    /// The lower end, -inf where there is none.
    pub lower: ValueId,
    /// The upper end, inf where there is none.
    pub upper: ValueId,
    /// Where draws lie.
    pub support: SupportKind,
}

impl Truncated {
    fn between(&self, g: &mut Builder) -> Between<'_> {
        Between::new(g, &self.base, self.lower, self.upper)
    }
    fn inside(&self, g: &mut Builder, x: ValueId) -> ValueId {
        let low = g.ge(x, self.lower);
        let high = g.le(x, self.upper);
        g.and(low, high)
    }
    fn clamp(&self, g: &mut Builder, x: ValueId) -> ValueId {
        let x = g.maximum(x, self.lower);
        g.minimum(x, self.upper)
    }
    /// `log_part - ln P(lower <= X <= upper)` where that is something.
    fn share(&self, g: &mut Builder, between: &Between<'_>, inside: ValueId, log_part: ValueId) -> ValueId {
        let mass = between.log_mass(g);
        let possible = g.compare_scalar(Binary::Gt, mass, f64::NEG_INFINITY);
        let mass = guard(g, possible, mass, 0.0);
        let share = g.sub(log_part, mass);
        let inside = g.and(inside, possible);
        or_impossible(g, inside, share)
    }
}

impl Wrap for Truncated {
    fn name(&self) -> &'static str {
        "Truncated"
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
        let ends = self.base.ends(g);
        Some(meet(g, ends, (self.lower, self.upper)))
    }
    fn batch_shape(&self, g: &Builder) -> Shape {
        let shape = broadcast_shapes(&self.base.batch_shape(g), &g.shape(self.lower));
        broadcast_shapes(&shape, &g.shape(self.upper))
    }
    fn log_prob(&self, g: &mut Builder, x: ValueId) -> ValueId {
        let inside = self.inside(g, x);
        let log_prob = self.base.log_prob(g, x);
        let between = self.between(g);
        self.share(g, &between, inside, log_prob)
    }
    fn sample(&self, g: &mut Builder, shape: &Shape) -> ValueId {
        let between = self.between(g);
        let x = between.sample(g, shape);
        let x = self.clamp(g, x);
        g.stop_gradient(x)
    }
    fn is_reparameterized(&self) -> bool {
        is_smooth(&self.base)
    }
    fn rsample(&self, g: &mut Builder, shape: &Shape) -> Option<ValueId> {
        if !self.is_reparameterized() {
            return None;
        }
        let x = self.sample(g, shape);
        let log_below = self.log_cdf(g, x)?;
        let below = g.exp(log_below);
        let log_prob = self.log_prob(g, x);
        Some(attach(g, x, below, log_prob))
    }
    fn log_cdf(&self, g: &mut Builder, x: ValueId) -> Option<ValueId> {
        let inside = g.ge(x, self.lower);
        let between = self.between(g);
        let at = g.minimum(x, self.upper);
        let below = between.log_below(g, at);
        Some(self.share(g, &between, inside, below))
    }
    fn log_sf(&self, g: &mut Builder, x: ValueId) -> Option<ValueId> {
        let inside = g.lt(x, self.upper);
        let between = self.between(g);
        let started = g.ge(x, self.lower);
        // left of the lower end everything is above
        let at = if self.base.dtype() == DType::Real { g.maximum(x, self.lower) } else { x };
        let above = between.log_above(g, at);
        let share = self.share(g, &between, inside, above);
        Some(guard(g, started, share, 0.0))
    }
    fn params(&self) -> Vec<ValueId> {
        self.base.params().into_iter().chain([self.lower, self.upper]).collect()
    }
    fn stretched(&self, g: &mut Builder) -> Dist {
        let base = self.base.stretched(g);
        let (lower, upper) = (stretch(g, self.lower, 0), stretch(g, self.upper, 0));
        Truncated { base, lower, upper, support: self.support }.into()
    }
}
