//! Transformed(D, f): f of a draw of D, for a function f that is monotone on the support of D.
//!
//! log_prob(x) = log_D(u) - ln |f'(u)| with f(u) = x. The function is a chain of maps that each have an inverse, so the
//! density is graph code like all others; outside the image of f it is -inf with gradients of 0.

use super::{Wrap, stretch};
use crate::dist::pieces::{HALF_LN_2PI, broadcast_shapes, or_impossible};
use crate::dist::{Dist, SupportKind};
use crate::ir::{Builder, Shape, ValueId};
use crate::kernels::elementwise::Binary;
use std::f64::consts::LN_2;

/// One map of a chain, with what it takes besides its argument.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Map<T> {
    /// `-u`
    Neg,
    /// `u + c`
    Add(T),
    /// `u c`, c not 0
    Mul(T),
    /// `e^u`
    Exp,
    /// `e^u - 1`
    Expm1,
    /// `ln u`, u > 0
    Log,
    /// `ln(1 + u)`, u > -1
    Log1p,
    /// `1 / (1 + e^-u)`
    Sigmoid,
    /// `ln(u / (1 - u))`, 0 < u < 1
    Logit,
    /// `ln(1 + e^u)`
    Softplus,
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / u`, u > 0
    Recip,
    /// The square root, u >= 0.
    Sqrt,
    /// `u^c` with a known c, u > 0
    Pow(f64),
    /// The standard normal cdf.
    NormalCdf,
    /// Its inverse, 0 < u < 1.
    NormalIcdf,
}

impl<T: Copy> Map<T> {
    /// The same with another kind of operand.
    pub fn with<U>(self, operand: impl FnOnce(T) -> U) -> Map<U> {
        match self {
            Map::Add(c) => Map::Add(operand(c)),
            Map::Mul(c) => Map::Mul(operand(c)),
            Map::Neg => Map::Neg,
            Map::Exp => Map::Exp,
            Map::Expm1 => Map::Expm1,
            Map::Log => Map::Log,
            Map::Log1p => Map::Log1p,
            Map::Sigmoid => Map::Sigmoid,
            Map::Logit => Map::Logit,
            Map::Softplus => Map::Softplus,
            Map::Tanh => Map::Tanh,
            Map::Recip => Map::Recip,
            Map::Sqrt => Map::Sqrt,
            Map::Pow(c) => Map::Pow(c),
            Map::NormalCdf => Map::NormalCdf,
            Map::NormalIcdf => Map::NormalIcdf,
        }
    }
    /// What it takes besides its argument.
    pub fn operand(self) -> Option<T> {
        match self {
            Map::Add(c) | Map::Mul(c) => Some(c),
            _ => None,
        }
    }
}

/// A distribution seen through a function.
#[derive(Clone, PartialEq, Debug)]
pub struct Transformed {
    /// The distribution of the argument, of reals.
    pub base: Dist,
    /// The function, the innermost map first.
    pub maps: Vec<Map<ValueId>>,
    /// Where draws lie.
    pub support: SupportKind,
}

/// A value seen from the argument's side.
struct Inverse {
    u: ValueId,
    /// `ln |f'(u)|`
    log_slope: Option<ValueId>,
    /// Where the value lies beyond the image of f, on the side of the lower (higher) arguments.
    below: Option<ValueId>,
    above: Option<ValueId>,
    /// Where f falls; `None` for nowhere.
    falls: Option<ValueId>,
}

fn either(g: &mut Builder, a: Option<ValueId>, b: ValueId) -> ValueId {
    match a {
        Some(a) => g.push(crate::ops::Op::Binary(Binary::Or), &[a, b]),
        None => b,
    }
}

impl Inverse {
    fn add_slope(&mut self, g: &mut Builder, slope: ValueId) {
        self.log_slope = Some(self.log_slope.map_or(slope, |sum| g.add(sum, slope)));
    }
    /// Only values above `edge` are in the image of the next map; `safe` stands for the others.
    fn image_above(&mut self, g: &mut Builder, edge: f64, safe: f64) {
        let outside = g.compare_scalar(Binary::Le, self.u, edge);
        let safe = g.scalar(safe);
        self.u = g.select(outside, safe, self.u);
        self.below = Some(either(g, self.below, outside));
    }
    fn image_below(&mut self, g: &mut Builder, edge: f64, safe: f64) {
        let outside = g.compare_scalar(Binary::Ge, self.u, edge);
        let safe = g.scalar(safe);
        self.u = g.select(outside, safe, self.u);
        self.above = Some(either(g, self.above, outside));
    }
    /// What was above is below where `falls`, or everywhere.
    fn turn(&mut self, g: &mut Builder, falls: Option<ValueId>) {
        let Some(falls) = falls else {
            std::mem::swap(&mut self.below, &mut self.above);
            let all = g.scalar(1.0);
            let falls = self.falls.take().unwrap_or_else(|| g.compare_scalar(Binary::Lt, all, 0.0));
            self.falls = Some(g.compare_scalar(Binary::Eq, falls, 0.0));
            return;
        };
        if self.below.is_some() || self.above.is_some() {
            let zero = g.scalar(0.0);
            let none = g.compare_scalar(Binary::Gt, zero, 0.0);
            let (below, above) = (self.below.unwrap_or(none), self.above.unwrap_or(none));
            self.below = Some(g.select(falls, above, below));
            self.above = Some(g.select(falls, below, above));
        }
        self.falls = Some(match self.falls {
            Some(before) => g.push(crate::ops::Op::Binary(Binary::Ne), &[before, falls]),
            None => falls,
        });
    }

    /// Takes `map` off; `last` asks for no slope.
    fn undo(&mut self, g: &mut Builder, map: Map<ValueId>) {
        match map {
            Map::Neg => {
                self.u = g.neg(self.u);
                self.turn(g, None);
            }
            Map::Add(c) => self.u = g.sub(self.u, c),
            Map::Mul(c) => {
                self.u = g.div(self.u, c);
                let size = g.abs(c);
                let slope = g.log(size);
                self.add_slope(g, slope);
                match g.as_full(c) {
                    Some(c) if c > 0.0 => {}
                    _ => {
                        let falls = g.compare_scalar(Binary::Lt, c, 0.0);
                        self.turn(g, Some(falls));
                    }
                }
            }
            Map::Exp => {
                self.image_above(g, 0.0, 1.0);
                self.u = g.log(self.u);
                self.add_slope(g, self.u);
            }
            Map::Expm1 => {
                self.image_above(g, -1.0, 0.0);
                self.u = g.log1p(self.u);
                self.add_slope(g, self.u);
            }
            Map::Log => {
                let minus = g.neg(self.u);
                self.u = g.exp(self.u);
                self.add_slope(g, minus);
            }
            Map::Log1p => {
                let minus = g.neg(self.u);
                self.u = g.expm1(self.u);
                self.add_slope(g, minus);
            }
            Map::Sigmoid => {
                self.image_above(g, 0.0, 0.5);
                self.image_below(g, 1.0, 0.5);
                let log = g.log(self.u);
                let minus = g.neg(self.u);
                let log_rest = g.log1p(minus);
                self.u = g.sub(log, log_rest);
                let slope = g.add(log, log_rest);
                self.add_slope(g, slope);
            }
            Map::Logit => {
                let minus = g.neg(self.u);
                let (below, above) = (g.log_sigmoid(self.u), g.log_sigmoid(minus));
                let slope = g.add(below, above);
                let slope = g.neg(slope);
                self.u = g.sigmoid(self.u);
                self.add_slope(g, slope);
            }
            Map::Softplus => {
                self.image_above(g, 0.0, 1.0);
                self.u = g.softplus_inv(self.u);
                let slope = g.log_sigmoid(self.u);
                self.add_slope(g, slope);
            }
            Map::Tanh => {
                self.image_above(g, -1.0, 0.0);
                self.image_below(g, 1.0, 0.0);
                let minus = g.neg(self.u);
                let (up, down) = (g.log1p(self.u), g.log1p(minus));
                let slope = g.add(up, down);
                let gap = g.sub(up, down);
                self.u = g.mul_scalar(gap, 0.5);
                self.add_slope(g, slope);
            }
            Map::Recip => {
                // arguments far out come from values next to 0, so below the image is above the arguments
                self.turn(g, None);
                let outside = g.compare_scalar(Binary::Le, self.u, 0.0);
                self.u = guard_out(g, outside, self.u, 1.0);
                self.above = Some(either(g, self.above, outside));
                let log = g.log(self.u);
                let slope = g.mul_scalar(log, 2.0);
                self.u = g.recip(self.u);
                self.add_slope(g, slope);
            }
            Map::Sqrt => {
                self.image_above(g, 0.0, 1.0);
                let log = g.log(self.u);
                let slope = g.neg(log);
                let slope = g.add_scalar(slope, -LN_2);
                self.u = g.square(self.u);
                self.add_slope(g, slope);
            }
            Map::Pow(c) => {
                let outside = g.compare_scalar(Binary::Le, self.u, 0.0);
                self.u = guard_out(g, outside, self.u, 1.0);
                if c < 0.0 {
                    self.turn(g, None);
                    self.above = Some(either(g, self.above, outside));
                } else {
                    self.below = Some(either(g, self.below, outside));
                }
                let log = g.log(self.u);
                let log_u = g.mul_scalar(log, 1.0 / c);
                self.u = g.exp(log_u);
                let slope = g.mul_scalar(log_u, c - 1.0);
                let slope = g.add_scalar(slope, c.abs().ln());
                self.add_slope(g, slope);
            }
            Map::NormalCdf => {
                self.image_above(g, 0.0, 0.5);
                self.image_below(g, 1.0, 0.5);
                self.u = g.ndtri(self.u);
                let square = g.square(self.u);
                let slope = g.mul_scalar(square, -0.5);
                let slope = g.add_scalar(slope, -HALF_LN_2PI);
                self.add_slope(g, slope);
            }
            Map::NormalIcdf => {
                let square = g.square(self.u);
                let slope = g.mul_scalar(square, 0.5);
                let slope = g.add_scalar(slope, HALF_LN_2PI);
                self.u = g.ndtr(self.u);
                self.add_slope(g, slope);
            }
        }
    }
}

/// `outside ? safe : x`
fn guard_out(g: &mut Builder, outside: ValueId, x: ValueId, safe: f64) -> ValueId {
    let safe = g.scalar(safe);
    g.select(outside, safe, x)
}

fn apply(g: &mut Builder, map: Map<ValueId>, u: ValueId) -> ValueId {
    match map {
        Map::Neg => g.neg(u),
        Map::Add(c) => g.add(u, c),
        Map::Mul(c) => g.mul(u, c),
        Map::Exp => g.exp(u),
        Map::Expm1 => g.expm1(u),
        Map::Log => g.log(u),
        Map::Log1p => g.log1p(u),
        Map::Sigmoid => g.sigmoid(u),
        Map::Logit => {
            let log = g.log(u);
            let minus = g.neg(u);
            let log_rest = g.log1p(minus);
            g.sub(log, log_rest)
        }
        Map::Softplus => g.softplus(u),
        Map::Tanh => g.tanh(u),
        Map::Recip => g.recip(u),
        Map::Sqrt => g.sqrt(u),
        Map::Pow(c) => g.pow_scalar(u, c),
        Map::NormalCdf => g.ndtr(u),
        Map::NormalIcdf => g.ndtri(u),
    }
}

impl Transformed {
    fn forward(&self, g: &mut Builder, u: ValueId) -> ValueId {
        self.maps.iter().fold(u, |u, &map| apply(g, map, u))
    }
    fn inverse(&self, g: &mut Builder, x: ValueId) -> Inverse {
        let mut inverse = Inverse { u: x, log_slope: None, below: None, above: None, falls: None };
        for &map in self.maps.iter().rev() {
            inverse.undo(g, map);
        }
        inverse
    }
    /// The masses of the base on the side of the lower values of f, or on the other one.
    fn log_mass(&self, g: &mut Builder, x: ValueId, of_lower: bool) -> Option<ValueId> {
        let inverse = self.inverse(g, x);
        let mut side = |below: bool| {
            let inner = if below { self.base.log_cdf(g, inverse.u) } else { self.base.log_sf(g, inverse.u) }?;
            let (none, all) = if below { (inverse.below, inverse.above) } else { (inverse.above, inverse.below) };
            let inner = match all {
                Some(all) => guard_out(g, all, inner, 0.0),
                None => inner,
            };
            Some(match none {
                Some(none) => guard_out(g, none, inner, f64::NEG_INFINITY),
                None => inner,
            })
        };
        let rising = side(of_lower)?;
        match inverse.falls {
            None => Some(rising),
            Some(falls) => {
                let falling = side(!of_lower)?;
                Some(g.select(falls, falling, rising))
            }
        }
    }
}

impl Wrap for Transformed {
    fn name(&self) -> &'static str {
        "Transformed"
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
        let (a, b) = (self.forward(g, lower), self.forward(g, upper));
        // The side without an end stays open whatever the function does to infinity.
        let (low, high) = (g.minimum(a, b), g.maximum(a, b));
        Some(match self.support {
            SupportKind::GreaterThan => (low, g.scalar(f64::INFINITY)),
            SupportKind::LessThan => (g.scalar(f64::NEG_INFINITY), high),
            _ => (low, high),
        })
    }
    fn batch_shape(&self, g: &Builder) -> Shape {
        let constants = self.maps.iter().filter_map(|map| map.operand());
        constants.fold(self.base.batch_shape(g), |shape, c| broadcast_shapes(&shape, &g.shape(c)))
    }
    fn log_prob(&self, g: &mut Builder, x: ValueId) -> ValueId {
        let inverse = self.inverse(g, x);
        let base = self.base.log_prob(g, inverse.u);
        let rank = self.base.event_rank();
        let mut value = base;
        if let Some(slope) = inverse.log_slope {
            let slope = if rank > 0 {
                let shape = broadcast_shapes(&g.shape(slope), &g.shape(x));
                let slope = g.broadcast_to(slope, shape);
                g.sum_last(slope, rank)
            } else {
                slope
            };
            value = g.sub(base, slope);
        }
        for outside in [inverse.below, inverse.above].into_iter().flatten() {
            let zero = g.compare_scalar(Binary::Eq, outside, 0.0);
            let inside = match rank {
                0 => zero,
                _ => {
                    let (one, none) = (g.scalar(1.0), g.scalar(0.0));
                    let beyond = g.select(outside, one, none);
                    let count = g.sum_last(beyond, rank);
                    g.compare_scalar(Binary::Eq, count, 0.0)
                }
            };
            value = or_impossible(g, inside, value);
        }
        value
    }
    fn sample(&self, g: &mut Builder, shape: &Shape) -> ValueId {
        let u = self.base.sample(g, shape);
        self.forward(g, u)
    }
    fn is_reparameterized(&self) -> bool {
        self.base.is_reparameterized()
    }
    fn rsample(&self, g: &mut Builder, shape: &Shape) -> Option<ValueId> {
        let u = self.base.rsample(g, shape)?;
        Some(self.forward(g, u))
    }
    fn log_cdf(&self, g: &mut Builder, x: ValueId) -> Option<ValueId> {
        self.log_mass(g, x, true)
    }
    fn log_sf(&self, g: &mut Builder, x: ValueId) -> Option<ValueId> {
        self.log_mass(g, x, false)
    }
    fn params(&self) -> Vec<ValueId> {
        let constants = self.maps.iter().filter_map(|map| map.operand());
        self.base.params().into_iter().chain(constants).collect()
    }
    fn stretched(&self, g: &mut Builder) -> Dist {
        let base = self.base.stretched(g);
        let maps = self.maps.iter().map(|map| map.with(|c| stretch(g, c, 0))).collect();
        Transformed { base, maps, support: self.support }.into()
    }
}
