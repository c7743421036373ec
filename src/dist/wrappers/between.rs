//! The part of a distribution between two ends: its mass, and its quantiles.
//!
//! Everything is in logarithms of the masses on either side of a point, taken from the side where they are small, so that
//! nothing cancels in a tail. Of a discrete distribution both ends belong to the part: the lower masses are those strictly
//! below it.

use crate::dist::pieces::{guard, is_positive};
use crate::dist::{Dist, DistId};
use crate::ir::{Builder, DType, Shape, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::NoiseKind;

/// The logarithms of the masses below and above a point.
#[derive(Clone, Copy)]
pub(super) struct Masses {
    below: ValueId,
    above: ValueId,
}

/// An interval of a distribution that has a cdf.
pub(super) struct Between<'a> {
    base: &'a Dist,
    low: Masses,
    high: Masses,
}

fn log_cdf(base: &Dist, g: &mut Builder, x: ValueId) -> ValueId {
    base.log_cdf(g, x).expect("the checker asks for a cdf")
}
fn log_sf(base: &Dist, g: &mut Builder, x: ValueId) -> ValueId {
    base.log_sf(g, x).expect("the checker asks for a cdf")
}

impl Masses {
    /// At a finite point.
    fn at(base: &Dist, g: &mut Builder, x: ValueId) -> Self {
        Masses { below: log_cdf(base, g, x), above: log_sf(base, g, x) }
    }
    /// At an end, of which some or all elements may be infinite.
    fn at_end(base: &Dist, g: &mut Builder, end: ValueId) -> Self {
        let (none, all) = (g.scalar(f64::NEG_INFINITY), g.scalar(0.0));
        match g.as_full(end) {
            Some(x) if x == f64::NEG_INFINITY => Masses { below: none, above: all },
            Some(x) if x == f64::INFINITY => Masses { below: all, above: none },
            Some(_) => Masses::at(base, g, end),
            None => {
                let size = g.abs(end);
                let finite = g.compare_scalar(Binary::Lt, size, f64::INFINITY);
                let right = is_positive(g, end);
                let inner = guard(g, finite, end, 0.0);
                let inner = Masses::at(base, g, inner);
                let (below, above) = (g.select(right, all, none), g.select(right, none, all));
                Masses { below: g.select(finite, inner.below, below), above: g.select(finite, inner.above, above) }
            }
        }
    }
}

/// The point whose lower mass is what lies strictly below `lower`.
fn exclusive(base: &Dist, g: &mut Builder, lower: ValueId) -> ValueId {
    if base.dtype() == DType::Real {
        return lower;
    }
    match g.as_full(lower) {
        Some(x) => g.scalar(x.ceil() - 1.0),
        None => {
            let ceil = g.ceil(lower);
            g.add_scalar(ceil, -1.0)
        }
    }
}

/// `ln` of the mass between two points. From the side where the first point is in a tail the difference does not cancel:
/// both masses are small there.
fn log_between(g: &mut Builder, low: Masses, high: Masses) -> ValueId {
    let known = |g: &Builder, v: ValueId| g.as_full(v) == Some(f64::NEG_INFINITY);
    if known(g, low.below) {
        return high.below;
    }
    if known(g, high.above) {
        return low.above;
    }
    let right = g.lt(low.above, low.below);
    let whole = g.select(right, low.above, high.below);
    let part = g.select(right, high.above, low.below);
    // ends in the wrong order have nothing between them
    let some = g.lt(part, whole);
    let (zero, none) = (g.scalar(0.0), g.scalar(f64::NEG_INFINITY));
    let whole = g.select(some, whole, zero);
    let part = g.select(some, part, none);
    let log = g.push(crate::ops::Op::Binary(Binary::LogSubExp), &[whole, part]);
    g.select(some, log, none)
}

impl<'a> Between<'a> {
    pub(super) fn new(g: &mut Builder, base: &'a Dist, lower: ValueId, upper: ValueId) -> Self {
        let lower = exclusive(base, g, lower);
        let (low, high) = (Masses::at_end(base, g, lower), Masses::at_end(base, g, upper));
        Between { base, low, high }
    }
    /// `ln P(lower <= X <= upper)`, -inf where there is nothing.
    pub(super) fn log_mass(&self, g: &mut Builder) -> ValueId {
        log_between(g, self.low, self.high)
    }
    /// `ln P(lower <= X <= x)` for a finite `x` between the ends.
    pub(super) fn log_below(&self, g: &mut Builder, x: ValueId) -> ValueId {
        let at = Masses::at(self.base, g, x);
        log_between(g, self.low, at)
    }
    /// `ln P(x < X <= upper)` for a finite `x` between the ends.
    pub(super) fn log_above(&self, g: &mut Builder, x: ValueId) -> ValueId {
        let at = Masses::at(self.base, g, x);
        log_between(g, at, self.high)
    }

    /// Draws of `shape` by inversion: uniform between the masses of the ends, then the quantile, in closed form where the
    /// family has one and by bisection elsewhere. No gradient.
    pub(super) fn sample(&self, g: &mut Builder, shape: &Shape) -> ValueId {
        let u = g.noise(NoiseKind::Uniform, shape.clone());
        let log_u = g.log(u);
        let minus = g.neg(u);
        let log_rest = g.log1p(minus);
        let mix = |g: &mut Builder, low: ValueId, high: ValueId| {
            let (a, b) = (g.add(low, log_rest), g.add(high, log_u));
            g.push(crate::ops::Op::Binary(Binary::LogAddExp), &[a, b])
        };
        let below = mix(g, self.low.below, self.high.below);
        let above = mix(g, self.low.above, self.high.above);
        // The side on which the draw lies has its digits.
        let right = g.lt(above, below);
        let x = match self.base.log_quantiles(g, below, above) {
            Some((from_left, from_right)) => g.select(right, from_right, from_left),
            None => bisect(g, self.base, (below, above), right, shape),
        };
        g.stop_gradient(x)
    }
}

/// Where the search ends: `sinh` of it is about 1e36, a number in single precision.
const REACH: f64 = 83.0;
/// Halvings of the reach, to the last digit of a double.
const HALVINGS: usize = 60;

/// The smallest x (a whole number for discrete distributions) whose masses reach the given ones, by bisection in
/// `asinh x`, which has as many steps between 1e-9 and 1e-8 as between 1e8 and 1e9. It has no gradient.
fn bisect(g: &mut Builder, base: &Dist, (below, above): (ValueId, ValueId), right: ValueId, shape: &Shape) -> ValueId {
    let mut low = g.full(-REACH, shape.clone());
    let mut high = g.full(REACH, shape.clone());
    let wanted = g.select(right, above, below);
    for _ in 0..HALVINGS {
        let sum = g.add(low, high);
        let middle = g.mul_scalar(sum, 0.5);
        let x = g.sinh(middle);
        let (left_mass, right_mass) = (log_cdf(base, g, x), log_sf(base, g, x));
        let reached_left = g.ge(left_mass, wanted);
        let reached_right = g.le(right_mass, wanted);
        let reached = g.select(right, reached_right, reached_left);
        high = g.select(reached, middle, high);
        low = g.select(reached, low, middle);
    }
    let x = g.sinh(high);
    if base.dtype() == DType::Real {
        return x;
    }
    let whole = g.floor(x);
    g.to_int(whole)
}

/// `x` with the gradient that keeps it at its quantile: `dx/da = -(dF/da) / f(x)` (Figurnov, Mohamed & Mnih 2018,
/// arXiv:1805.08498). `x` must be without a gradient, `cdf` and `log_prob` its own with live parameters.
pub(super) fn attach(g: &mut Builder, x: ValueId, cdf: ValueId, log_prob: ValueId) -> ValueId {
    let minus = g.neg(log_prob);
    let inverse = g.exp(minus);
    let inverse = g.stop_gradient(inverse);
    let fixed = g.stop_gradient(cdf);
    let zero = g.sub(fixed, cdf);
    let term = g.mul(zero, inverse);
    g.add(x, term)
}

/// Whether draws of a distribution can follow its quantiles.
pub(super) fn is_smooth(base: &Dist) -> bool {
    base.dtype() == DType::Real && base.event_rank() == 0 && base.has_cdf()
}

/// One draw where `probs` says so, as a mask of `shape`.
pub(super) fn coin(g: &mut Builder, probs: ValueId, shape: &Shape) -> ValueId {
    let side = g.draw(DistId::BERNOULLI_PROBS, &[probs], shape.clone());
    g.compare_scalar(Binary::Eq, side, 1.0)
}
