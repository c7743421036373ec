//! Censored(D, lower, upper): values beyond an end are recorded as that end.
//!
//! A datum at an end has the mass beyond it, `ln P(X <= lower)` or `ln P(X >= upper)`; others have the density. It is a
//! distribution of data: a latent with masses at its ends has no unconstrained coordinates.

use super::{Wrap, meet, stretch};
use crate::dist::pieces::{broadcast_shapes, guard, or_impossible};
use crate::dist::{Dist, SupportKind};
use crate::ir::{Builder, DType, Shape, ValueId};

/// A censored distribution.
#[derive(Clone, PartialEq, Debug)]
pub struct Censored {
    /// The distribution that is censored: of numbers, with a cdf.
    pub base: Dist,
    /// The lower end, -inf where there is none.
    pub lower: ValueId,
    /// The upper end, inf where there is none.
    pub upper: ValueId,
    /// Where data lie.
    pub support: SupportKind,
}

impl Censored {
    fn clamp(&self, g: &mut Builder, x: ValueId) -> ValueId {
        let x = if self.has_lower(g) { g.maximum(x, self.lower) } else { x };
        if self.has_upper(g) { g.minimum(x, self.upper) } else { x }
    }
    fn has_lower(&self, g: &Builder) -> bool {
        g.as_full(self.lower) != Some(f64::NEG_INFINITY)
    }
    fn has_upper(&self, g: &Builder) -> bool {
        g.as_full(self.upper) != Some(f64::INFINITY)
    }
}

impl Wrap for Censored {
    fn name(&self) -> &'static str {
        "Censored"
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
    /// The masses are taken at the datum, which is the end there: so the ends may be infinite elsewhere, and nothing
    /// infinite is computed with.
    fn log_prob(&self, g: &mut Builder, x: ValueId) -> ValueId {
        let mut value = self.base.log_prob(g, x);
        if self.has_lower(g) {
            let at_lower = g.eq(x, self.lower);
            let below = self.base.log_cdf(g, x).expect("the checker asks for a cdf");
            value = g.select(at_lower, below, value);
            let inside = g.ge(x, self.lower);
            value = or_impossible(g, inside, value);
        }
        if self.has_upper(g) {
            let at_upper = g.eq(x, self.upper);
            // the mass at the end itself belongs to it
            let before = if self.base.dtype() == DType::Real { x } else { g.add_scalar(x, -1.0) };
            let above = self.base.log_sf(g, before).expect("the checker asks for a cdf");
            value = g.select(at_upper, above, value);
            let inside = g.le(x, self.upper);
            value = or_impossible(g, inside, value);
        }
        value
    }
    fn sample(&self, g: &mut Builder, shape: &Shape) -> ValueId {
        let x = self.base.sample(g, shape);
        self.clamp(g, x)
    }
    fn log_cdf(&self, g: &mut Builder, x: ValueId) -> Option<ValueId> {
        let below = self.base.log_cdf(g, x)?;
        let started = g.ge(x, self.lower);
        let below = or_impossible(g, started, below);
        let inside = g.lt(x, self.upper);
        Some(guard(g, inside, below, 0.0))
    }
    fn log_sf(&self, g: &mut Builder, x: ValueId) -> Option<ValueId> {
        let above = self.base.log_sf(g, x)?;
        let started = g.ge(x, self.lower);
        let above = guard(g, started, above, 0.0);
        let inside = g.lt(x, self.upper);
        Some(or_impossible(g, inside, above))
    }
    fn params(&self) -> Vec<ValueId> {
        self.base.params().into_iter().chain([self.lower, self.upper]).collect()
    }
    fn stretched(&self, g: &mut Builder) -> Dist {
        let base = self.base.stretched(g);
        let (lower, upper) = (stretch(g, self.lower, 0), stretch(g, self.upper, 0));
        Censored { base, lower, upper, support: self.support }.into()
    }
}
