//! Independent(D, n): the last n batch dimensions of D taken together as one event.

use super::Wrap;
use crate::dist::{Dist, SupportKind};
use crate::ir::{Builder, Shape, ValueId};

/// Independent draws taken as one event.
#[derive(Clone, PartialEq, Debug)]
pub struct Independent {
    /// The distribution of each draw.
    pub base: Dist,
    /// How many of its last batch dimensions become part of an event.
    pub dims: usize,
}

impl Wrap for Independent {
    fn name(&self) -> &'static str {
        "Independent"
    }
    fn base(&self) -> &Dist {
        &self.base
    }
    fn support(&self) -> SupportKind {
        self.base.support()
    }
    fn bounds(&self, g: &mut Builder) -> Option<(ValueId, ValueId)> {
        self.base.bounds(g)
    }
    fn event_rank(&self) -> usize {
        self.base.event_rank() + self.dims
    }
    fn batch_shape(&self, g: &Builder) -> Shape {
        self.base.batch_shape(g).drop_last(self.dims)
    }
    fn event_shape(&self, g: &Builder) -> Shape {
        let batch = self.base.batch_shape(g);
        let own = Shape::from(&batch[batch.rank() - self.dims..]);
        own.concat(&self.base.event_shape(g))
    }
    fn log_prob(&self, g: &mut Builder, x: ValueId) -> ValueId {
        let each = self.base.log_prob(g, x);
        g.sum_last(each, self.dims)
    }
    fn sample(&self, g: &mut Builder, shape: &Shape) -> ValueId {
        self.base.sample(g, shape)
    }
    fn is_reparameterized(&self) -> bool {
        self.base.is_reparameterized()
    }
    fn rsample(&self, g: &mut Builder, shape: &Shape) -> Option<ValueId> {
        self.base.rsample(g, shape)
    }
    fn mean(&self, g: &mut Builder) -> Option<ValueId> {
        self.base.mean(g)
    }
    fn variance(&self, g: &mut Builder) -> Option<ValueId> {
        self.base.variance(g)
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
