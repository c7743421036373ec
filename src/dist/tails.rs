//! Masses on either side of a point, in logarithms that keep their digits far out.
//!
//! A cdf of 1 - 1e-20 is 1, and its complement is nothing. Truncated and censored distributions need `ln P(X <= x)` and
//! `ln P(X > x)` both, so a row says how its tails are found: [`Tails`].
//! Source of the continued fractions: Abramowitz & Stegun 1964, 6.5.31; DLMF 8.9.1.

use super::pieces::{HALF_LN_2PI, guard, is_positive, log_or_impossible, or_impossible};
use super::{DistDef, GraphFnAt};
use crate::ir::{Builder, ValueId};
use crate::kernels::elementwise::Binary;

/// How the masses below and above a point are found.
#[derive(Clone, Copy)]
pub enum Tails {
    /// From the cdf alone: masses above have no more digits than `1 - cdf`.
    Cdf,
    /// The mass above, P(X > x), has a function of its own with all its digits.
    Above(GraphFnAt),
    /// Both have stable logarithms.
    Logs {
        /// `ln P(X <= x)`
        below: GraphFnAt,
        /// `ln P(X > x)`
        above: GraphFnAt,
        /// The values with a given `ln P(X <= x)` and with a given `ln P(X > x)`, both in (-inf, 0).
        quantiles: Option<(GraphFnAt, GraphFnAt)>,
    },
}

impl DistDef {
    /// Whether P(X <= x) is known.
    pub fn has_cdf(&self) -> bool {
        self.event_rank == 0 && self.cdf.is_some()
    }
    /// `ln P(X <= x)` at finite `x`; `None` for a family without a cdf.
    pub(super) fn log_cdf(&self, g: &mut Builder, x: ValueId, params: &[ValueId]) -> Option<ValueId> {
        match self.tails {
            Tails::Logs { below, .. } => Some(below(g, x, params)),
            Tails::Cdf | Tails::Above(_) => {
                let below = self.cdf?(g, x, params);
                Some(log_or_impossible(g, below))
            }
        }
    }
    /// `ln P(X > x)` at finite `x`; `None` for a family without a cdf.
    pub(super) fn log_sf(&self, g: &mut Builder, x: ValueId, params: &[ValueId]) -> Option<ValueId> {
        match self.tails {
            Tails::Logs { above, .. } => Some(above(g, x, params)),
            Tails::Above(above) => {
                let above = above(g, x, params);
                Some(log_or_impossible(g, above))
            }
            Tails::Cdf => {
                let below = self.cdf?(g, x, params);
                Some(log_rest(g, below))
            }
        }
    }
}

/// `ln(1 - p)`, -inf at 1 with a gradient of 0 there.
pub(super) fn log_rest(g: &mut Builder, p: ValueId) -> ValueId {
    let some = g.compare_scalar(Binary::Lt, p, 1.0);
    let p = guard(g, some, p, 0.0);
    let minus = g.neg(p);
    let log = g.log1p(minus);
    or_impossible(g, some, log)
}

/// `ln(1 - e^l)` for `l <= 0`, -inf at 0 with a gradient of 0 there.
pub(super) fn log_complement(g: &mut Builder, l: ValueId) -> ValueId {
    let some = g.compare_scalar(Binary::Lt, l, 0.0);
    let l = guard(g, some, l, -1.0);
    let log = g.log1m_exp(l);
    or_impossible(g, some, log)
}

/// The standard normal quantile of the probability `e^l`. Where single precision has no `e^l`, three Newton steps on
/// ln Phi from its asymptote `-z^2/2 - ln(-z) - ln(2 pi)/2`, with the slope of its next term.
pub(super) fn log_ndtri(g: &mut Builder, l: ValueId) -> ValueId {
    let far = g.compare_scalar(Binary::Lt, l, -80.0);
    let near = g.exp(l);
    let near = g.ndtri(near);
    let size = g.neg(l);
    let size = guard(g, far, size, 80.0);
    let twice = g.mul_scalar(size, 2.0);
    let log = g.log(twice);
    let square = g.sub(twice, log);
    let square = g.add_scalar(square, -2.0 * HALF_LN_2PI);
    let root = g.sqrt(square);
    let mut z = g.neg(root);
    let wanted = g.neg(size);
    for _ in 0..3 {
        let log_phi = g.log_ndtr(z);
        let error = g.sub(log_phi, wanted);
        let inverse = g.recip(z);
        let slope = g.add(z, inverse);
        let step = g.div(error, slope);
        z = g.add(z, step);
    }
    g.select(far, z, near)
}

/// Below this an incomplete gamma function is found from its continued fraction: far from where the fraction converges
/// slowly, and a normal number in single precision too.
const SMALL: f64 = 1e-30;
/// Levels of the continued fractions: each gains a factor of 100 where the function is below [`SMALL`].
const LEVELS: usize = 8;

/// `ln P(a, x)`, the regularized lower incomplete gamma function; -inf for `x <= 0`.
pub(super) fn log_gammainc(g: &mut Builder, a: ValueId, x: ValueId) -> ValueId {
    let inside = is_positive(g, x);
    let x = guard(g, inside, x, 1.0);
    let value = g.gammainc(a, x);
    // P(a, x) = x^a e^-x / Gamma(a + 1) / (1 - x b_1 / (1 + x b_2 / (1 - x b_3 / …))), DLMF 8.9.1 with
    // b_(2n-1) = (a + n - 1) / ((a + 2n - 2) (a + 2n - 1)),  b_(2n) = n / ((a + 2n - 1) (a + 2n))
    let mut fraction = g.scalar(1.0);
    for level in (1..=2 * LEVELS).rev() {
        let n = level.div_ceil(2) as f64;
        let (first, second) = (g.add_scalar(a, level as f64 - 1.0), g.add_scalar(a, level as f64));
        let share = g.div(x, second);
        let (top, sign) = if level % 2 == 1 { (g.add_scalar(a, n - 1.0), -1.0) } else { (g.scalar(n), 1.0) };
        let ratio = g.div(top, first);
        let term = g.mul(share, ratio);
        let term = g.div(term, fraction);
        let term = g.mul_scalar(term, sign);
        fraction = g.add_scalar(term, 1.0);
    }
    let a1 = g.add_scalar(a, 1.0);
    let far = log_power_over(g, a, x, a1, fraction);
    let log = small_or_log(g, value, far);
    or_impossible(g, inside, log)
}

/// `ln Q(a, x)`, the regularized upper incomplete gamma function; 0 for `x <= 0`.
pub(super) fn log_gammaincc(g: &mut Builder, a: ValueId, x: ValueId) -> ValueId {
    let inside = is_positive(g, x);
    let x = guard(g, inside, x, 1.0);
    let value = g.gammaincc(a, x);
    // Q(a, x) = x^a e^-x / Gamma(a) / (x + 1 - a - 1 (1 - a) / (x + 3 - a - 2 (2 - a) / (x + 5 - a - …)))
    let gap = g.sub(x, a);
    let mut fraction = g.add_scalar(gap, 2.0 * LEVELS as f64 + 1.0);
    for n in (1..=LEVELS).rev() {
        let n = n as f64;
        let top = g.scalar_sub(n, a);
        let top = g.mul_scalar(top, -n);
        let term = g.div(top, fraction);
        let term = g.add(term, gap);
        fraction = g.add_scalar(term, 2.0 * n - 1.0);
    }
    let far = log_power_over(g, a, x, a, fraction);
    let log = small_or_log(g, value, far);
    guard(g, inside, log, 0.0)
}

/// `a ln x - x - lnGamma(b) - ln d`; 0 where `d` is not positive, which is far from where this is used.
fn log_power_over(g: &mut Builder, a: ValueId, x: ValueId, b: ValueId, d: ValueId) -> ValueId {
    let log_x = g.log(x);
    let rise = g.mul(a, log_x);
    let lgamma = g.lgamma(b);
    let valid = is_positive(g, d);
    let d = guard(g, valid, d, 1.0);
    let log_d = g.log(d);
    let fall = g.add_all(&[x, lgamma, log_d]);
    g.sub(rise, fall)
}

/// `ln value`, and `far` where the value is too small for that.
fn small_or_log(g: &mut Builder, value: ValueId, far: ValueId) -> ValueId {
    let normal = g.compare_scalar(Binary::Gt, value, SMALL);
    let value = guard(g, normal, value, 1.0);
    let log = g.log(value);
    g.select(normal, log, far)
}
