//! Ordered(D): K independent draws of D put in ascending order.
//!
//! log_prob(x) = ln K! + sum_k log_D(x_k) for ascending x: each of the K! orders of the draws gives the same vector.

use super::Wrap;
use crate::dist::pieces::or_impossible;
use crate::dist::{Dist, SupportKind};
use crate::ir::{Builder, DType, Shape, ValueId};
use crate::ops::Reduction;

/// Draws put in order.
#[derive(Clone, PartialEq, Debug)]
pub struct Ordered {
    /// The distribution of each draw: continuous numbers.
    pub base: Dist,
    /// Ascending vectors of reals, or of positive numbers.
    pub support: SupportKind,
}

/// The last axis of `x` in ascending order. Each element is put at its rank, the number of elements before it; elements
/// that are equal keep their order.
fn sort_last(g: &mut Builder, x: ValueId) -> ValueId {
    let shape = g.shape(x);
    let axis = shape.rank() - 1;
    let n = shape[axis];
    let (own, other) = (g.expand_dim(x, axis + 1), g.expand_dim(x, axis));
    let less = g.lt(other, own);
    let equal = g.eq(other, own);
    let earlier = (0..n * n).map(|at| f64::from(u8::from(at % n < at / n))).collect();
    let earlier = g.constant(earlier, Shape::from([n, n]), DType::Bool);
    let tie = g.and(equal, earlier);
    let before = g.push(crate::ops::Op::Binary(crate::kernels::elementwise::Binary::Or), &[less, tie]);
    let rank = g.sum(before, &[axis + 1]);
    let rank = g.stop_gradient(rank);
    let placed = g.place(x, rank, n);
    g.reduce(Reduction::Sum, placed, &[axis])
}

impl Wrap for Ordered {
    fn name(&self) -> &'static str {
        "Ordered"
    }
    fn base(&self) -> &Dist {
        &self.base
    }
    fn support(&self) -> SupportKind {
        self.support
    }
    fn bounds(&self, _: &mut Builder) -> Option<(ValueId, ValueId)> {
        None
    }
    fn event_rank(&self) -> usize {
        1
    }
    fn batch_shape(&self, g: &Builder) -> Shape {
        self.base.batch_shape(g)
    }
    fn event_shape(&self, _: &Builder) -> Shape {
        unreachable!("the parameters do not say how many draws there are")
    }
    fn log_prob(&self, g: &mut Builder, x: ValueId) -> ValueId {
        let axis = g.rank(x) - 1;
        let n = g.shape(x)[axis];
        let each = self.base.stretched(g).log_prob(g, x);
        let axis_of_sum = g.rank(each) - 1;
        let sum = g.sum(each, &[axis_of_sum]);
        let log_orders: f64 = (1..=n).map(|k| (k as f64).ln()).sum();
        let value = g.add_scalar(sum, log_orders);
        if n < 2 {
            return value;
        }
        let (high, low) = (g.slice(x, axis, 1, n - 1), g.slice(x, axis, 0, n - 1));
        let steps = g.sub(high, low);
        let least = g.reduce(Reduction::Min, steps, &[axis]);
        let ascending = crate::dist::pieces::is_nonnegative(g, least);
        or_impossible(g, ascending, value)
    }
    fn sample(&self, g: &mut Builder, shape: &Shape) -> ValueId {
        let x = self.base.stretched(g).sample(g, shape);
        sort_last(g, x)
    }
    fn is_reparameterized(&self) -> bool {
        self.base.is_reparameterized()
    }
    fn rsample(&self, g: &mut Builder, shape: &Shape) -> Option<ValueId> {
        let x = self.base.stretched(g).rsample(g, shape)?;
        Some(sort_last(g, x))
    }
    fn has_cdf(&self) -> bool {
        false
    }
    fn log_cdf(&self, _: &mut Builder, _: ValueId) -> Option<ValueId> {
        None
    }
    fn log_sf(&self, _: &mut Builder, _: ValueId) -> Option<ValueId> {
        None
    }
    fn params(&self) -> Vec<ValueId> {
        self.base.params()
    }
    fn stretched(&self, _: &mut Builder) -> Dist {
        unreachable!("only distributions of numbers are stretched")
    }
}
