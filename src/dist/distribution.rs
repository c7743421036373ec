//! Distributions whose parameters are values of a graph.
//!
//! A [`Dist`] is a row of the table with its parameters, or a composition of such. Every method appends graph code.
//! What a row's own functions leave to broadcasting is broadcast here: results have the full batch shape.

use super::joined;
use super::mixture::{self, weighted_sum};
use super::pieces::broadcast_shapes;
use super::{DistDef, DistId, End, GraphFn, Reparam, SupportKind, Tails, Wrapped, get, wrappers};
use crate::ir::{Builder, DType, Shape, ValueId};

/// A distribution over values of a graph.
#[derive(Clone, PartialEq, Debug)]
pub enum Dist {
    /// A row of the table with its parameters, in the row's order.
    Row {
        /// The row.
        def: DistId,
        /// Its parameters; their batch dimensions broadcast from the right.
        params: Vec<ValueId>,
    },
    /// A component drawn by weight, for every element of the batch anew.
    Mixture {
        /// The probabilities of the components, `[.., K]`; leading dimensions broadcast with the batch.
        weights: ValueId,
        /// K distributions of one support, dtype and event shape.
        components: Vec<Dist>,
    },
    /// Another distribution, changed: truncated, censored, …
    Wrapped(Wrapped),
    /// Parts side by side along a dimension of independent elements.
    Joined {
        /// The dimension, which is the same in `x`, counted from the first.
        axis: usize,
        /// How many entries each part has, and their distribution; of one support, dtype and event shape.
        parts: Vec<(usize, Dist)>,
    },
}

impl Dist {
    /// The row `def` with `params`.
    pub fn row(def: DistId, params: impl Into<Vec<ValueId>>) -> Self {
        let params = params.into();
        assert_eq!(params.len(), get(def).params.len(), "{} takes other parameters", get(def).name);
        Dist::Row { def, params }
    }
    /// The family's name in the language.
    pub fn name(&self) -> &'static str {
        match self {
            Dist::Row { def, .. } => get(*def).name,
            Dist::Mixture { .. } => "Mixture",
            Dist::Wrapped(w) => w.get().name(),
            Dist::Joined { parts, .. } => parts[0].1.name(),
        }
    }
    /// Where draws lie.
    pub fn support(&self) -> SupportKind {
        match self {
            Dist::Row { def, .. } => get(*def).support,
            Dist::Mixture { components, .. } => components[0].support(),
            Dist::Joined { parts, .. } => parts[0].1.support(),
            Dist::Wrapped(w) => w.get().support(),
        }
    }
    /// The ends of the support where [`SupportKind::needs_bounds`]; `None` elsewhere. Those of a mixture are the
    /// outermost of its components.
    pub fn bounds(&self, g: &mut Builder) -> Option<(ValueId, ValueId)> {
        match self {
            Dist::Row { def, params } => get(*def).bounds.map(|bounds| bounds(g, params)),
            Dist::Mixture { components, .. } => {
                let ends: Option<Vec<_>> = components.iter().map(|c| c.bounds(g)).collect();
                ends?.into_iter().reduce(|(a, b), (c, d)| (g.minimum(a, c), g.maximum(b, d)))
            }
            Dist::Wrapped(w) => w.get().bounds(g),
            Dist::Joined { axis, parts } => {
                let whole = self.batch_shape(g);
                let none = Shape::scalar();
                let low = joined::join(g, *axis, &whole, &none, parts, |g, _, d, _| d.bounds(g).map(|b| b.0))?;
                let high = joined::join(g, *axis, &whole, &none, parts, |g, _, d, _| d.bounds(g).map(|b| b.1))?;
                Some((low, high))
            }
        }
    }
    /// The ends of a support of numbers, infinite where it has none.
    pub fn ends(&self, g: &mut Builder) -> (ValueId, ValueId) {
        if let Some(bounds) = self.bounds(g) {
            return bounds;
        }
        let (lower, upper) = self.support().ends().unwrap_or((End::Open, End::Open));
        let mut number = |end, open| match end {
            End::At(x) => g.scalar(x),
            End::Open | End::Given => g.scalar(open),
        };
        (number(lower, f64::NEG_INFINITY), number(upper, f64::INFINITY))
    }
    /// Whether draws are reals or ints.
    pub fn dtype(&self) -> DType {
        match self {
            Dist::Row { def, .. } => get(*def).dtype,
            Dist::Mixture { components, .. } => components[0].dtype(),
            Dist::Joined { parts, .. } => parts[0].1.dtype(),
            Dist::Wrapped(w) => w.get().dtype(),
        }
    }
    /// How many trailing dimensions one draw has.
    pub fn event_rank(&self) -> usize {
        match self {
            Dist::Row { def, .. } => get(*def).event_rank,
            Dist::Mixture { components, .. } => components[0].event_rank(),
            Dist::Joined { parts, .. } => parts[0].1.event_rank(),
            Dist::Wrapped(w) => w.get().event_rank(),
        }
    }
    /// The shape of independent elements.
    pub fn batch_shape(&self, g: &Builder) -> Shape {
        match self {
            Dist::Row { def, params } => {
                let shapes: Vec<Shape> = params.iter().map(|&p| g.shape(p)).collect();
                get(*def).batch_shape(&shapes).expect("parameters of a distribution broadcast")
            }
            Dist::Mixture { weights, components } => components
                .iter()
                .map(|c| c.batch_shape(g))
                .fold(g.shape(*weights).drop_last(1), |acc, batch| broadcast_shapes(&acc, &batch)),
            Dist::Wrapped(w) => w.get().batch_shape(g),
            Dist::Joined { axis, parts } => joined::batch_shape(g, *axis, parts),
        }
    }
    /// The shape of one draw of one element, for families whose parameters tell.
    pub fn event_shape(&self, g: &Builder) -> Shape {
        match self {
            Dist::Row { def, params } => {
                let shapes: Vec<Shape> = params.iter().map(|&p| g.shape(p)).collect();
                get(*def).event_shape(&shapes)
            }
            Dist::Mixture { components, .. } => components[0].event_shape(g),
            Dist::Wrapped(w) => w.get().event_shape(g),
            Dist::Joined { parts, .. } => parts[0].1.event_shape(g),
        }
    }
    /// Whether it integrates to 1 and can be drawn from.
    pub fn is_proper(&self) -> bool {
        match self {
            Dist::Row { def, .. } => get(*def).is_proper(),
            Dist::Mixture { components, .. } => components.iter().all(Dist::is_proper),
            Dist::Wrapped(w) => w.get().is_proper(),
            Dist::Joined { parts, .. } => parts.iter().all(|(_, d)| d.is_proper()),
        }
    }
    /// Whether draws can carry the gradient of the parameters.
    pub fn is_reparameterized(&self) -> bool {
        match self {
            Dist::Row { def, .. } => get(*def).is_reparameterized(),
            Dist::Mixture { .. } | Dist::Joined { .. } => false,
            Dist::Wrapped(w) => w.get().is_reparameterized(),
        }
    }

    /// The log density [nats] at `x`, in the shape of the batch of `x` and the parameters. -inf outside the support.
    pub fn log_prob(&self, g: &mut Builder, x: ValueId) -> ValueId {
        match self {
            Dist::Row { def, params } => (get(*def).log_prob)(g, x, params),
            Dist::Mixture { weights, components } => {
                mixture::log_mix(g, *weights, components, |g, c| Some(c.log_prob(g, x))).expect("all have a density")
            }
            Dist::Wrapped(w) => w.get().log_prob(g, x),
            Dist::Joined { axis, parts } => joined::log_prob(g, *axis, parts, x),
        }
    }

    /// A differentiable draw of `shape` (batch + event); `None` where draws carry no gradient.
    pub fn rsample(&self, g: &mut Builder, shape: &Shape) -> Option<ValueId> {
        match self {
            Dist::Row { def, params } => match get(*def).rsample {
                Reparam::None => None,
                Reparam::Noise(draw) | Reparam::CostlyNoise(draw) | Reparam::Implicit(draw) => {
                    Some(draw(g, params, shape))
                }
            },
            Dist::Mixture { .. } | Dist::Joined { .. } => None,
            Dist::Wrapped(w) => w.get().rsample(g, shape),
        }
    }

    /// A forward draw of `shape` (batch + event); its gradient is not to be relied on. The distribution must be proper.
    pub fn sample(&self, g: &mut Builder, shape: &Shape) -> ValueId {
        match self {
            Dist::Row { def, params } => {
                assert!(get(*def).is_proper(), "{} is improper: there are no draws", get(*def).name);
                match get(*def).rsample {
                    Reparam::Noise(draw) => draw(g, params, shape),
                    Reparam::None | Reparam::CostlyNoise(_) | Reparam::Implicit(_) => {
                        g.draw(*def, params, shape.clone())
                    }
                }
            }
            Dist::Mixture { weights, components } => mixture::sample(g, *weights, components, shape),
            Dist::Wrapped(w) => w.get().sample(g, shape),
            Dist::Joined { axis, parts } => {
                let whole = shape.drop_last(self.event_rank());
                let event = Shape::from(&shape[whole.rank()..]);
                let joined = joined::join(g, *axis, &whole, &event, parts, |g, _, d, shape| Some(d.sample(g, shape)));
                joined.expect("every part is drawn")
            }
        }
    }

    /// The mean, batch + event shaped; `None` where there is no closed form.
    pub fn mean(&self, g: &mut Builder) -> Option<ValueId> {
        match self {
            Dist::Row { .. } => self.row_value(g, |def| def.mean, self.event_rank()),
            Dist::Mixture { weights, components } => {
                let means: Option<Vec<ValueId>> = components.iter().map(|c| c.mean(g)).collect();
                Some(weighted_sum(g, *weights, &means?, self.event_rank()))
            }
            Dist::Wrapped(w) => w.get().mean(g),
            Dist::Joined { axis, parts } => {
                let (whole, event) = (self.batch_shape(g), self.event_shape(g));
                joined::join(g, *axis, &whole, &event, parts, |g, _, d, _| d.mean(g))
            }
        }
    }
    /// The variance of each coordinate, batch + event shaped; `None` where there is no closed form.
    pub fn variance(&self, g: &mut Builder) -> Option<ValueId> {
        match self {
            Dist::Row { .. } => self.row_value(g, |def| def.variance, self.event_rank()),
            Dist::Mixture { weights, components } => mixture::variance(g, *weights, components),
            Dist::Wrapped(w) => w.get().variance(g),
            Dist::Joined { axis, parts } => {
                let (whole, event) = (self.batch_shape(g), self.event_shape(g));
                joined::join(g, *axis, &whole, &event, parts, |g, _, d, _| d.variance(g))
            }
        }
    }
    /// The entropy [nats], batch shaped; `None` where there is no closed form.
    pub fn entropy(&self, g: &mut Builder) -> Option<ValueId> {
        self.row_value(g, |def| def.entropy, 0)
    }
    /// The probabilities of the classes `0..K` of a nominal outcome, `[batch.., K]` (K = 2 for a Bernoulli);
    /// `None` for other families.
    pub fn probs(&self, g: &mut Builder) -> Option<ValueId> {
        match self {
            Dist::Row { def, params } => {
                let probs = get(*def).probs?(g, params);
                let classes = g.shape(probs)[g.rank(probs) - 1];
                let full = self.batch_shape(g).concat(&[classes]);
                Some(g.broadcast_to(probs, full))
            }
            Dist::Mixture { weights, components } => {
                let probs: Option<Vec<ValueId>> = components.iter().map(|c| c.probs(g)).collect();
                Some(weighted_sum(g, *weights, &probs?, 1))
            }
            Dist::Wrapped(_) | Dist::Joined { .. } => None,
        }
    }
    /// Whether P(X <= x) is known, so that it can be truncated and censored.
    pub fn has_cdf(&self) -> bool {
        match self {
            Dist::Row { def, .. } => get(*def).has_cdf(),
            Dist::Mixture { components, .. } => components.iter().all(Dist::has_cdf),
            Dist::Wrapped(w) => w.get().has_cdf(),
            Dist::Joined { .. } => false,
        }
    }
    /// P(X <= x), in the shape of the batch of `x` and the parameters; `None` where there is no closed form.
    pub fn cdf(&self, g: &mut Builder, x: ValueId) -> Option<ValueId> {
        match self {
            Dist::Row { def, params } => get(*def).cdf.map(|cdf| cdf(g, x, params)),
            Dist::Mixture { weights, components } => {
                let below: Option<Vec<ValueId>> = components.iter().map(|c| c.cdf(g, x)).collect();
                Some(weighted_sum(g, *weights, &below?, 0))
            }
            Dist::Joined { .. } => None,
            Dist::Wrapped(_) => {
                let log_below = self.log_cdf(g, x)?;
                Some(g.exp(log_below))
            }
        }
    }
    /// `ln P(X <= x)` at finite `x`, with its digits far left; -inf, with gradients of 0, where that is impossible.
    pub fn log_cdf(&self, g: &mut Builder, x: ValueId) -> Option<ValueId> {
        match self {
            Dist::Row { def, params } => get(*def).log_cdf(g, x, params),
            Dist::Mixture { weights, components } => mixture::log_mix(g, *weights, components, |g, c| c.log_cdf(g, x)),
            Dist::Joined { .. } => None,
            Dist::Wrapped(w) => w.get().log_cdf(g, x),
        }
    }
    /// `ln P(X > x)` at finite `x`, with its digits far right; -inf, with gradients of 0, where that is impossible.
    pub fn log_sf(&self, g: &mut Builder, x: ValueId) -> Option<ValueId> {
        match self {
            Dist::Row { def, params } => get(*def).log_sf(g, x, params),
            Dist::Mixture { weights, components } => mixture::log_mix(g, *weights, components, |g, c| c.log_sf(g, x)),
            Dist::Joined { .. } => None,
            Dist::Wrapped(w) => w.get().log_sf(g, x),
        }
    }
    /// The value below which a draw lies with probability `q` in (0, 1); `None` where there is no closed form.
    pub fn icdf(&self, g: &mut Builder, q: ValueId) -> Option<ValueId> {
        match self {
            Dist::Row { def, params } => get(*def).icdf.map(|icdf| icdf(g, q, params)),
            Dist::Mixture { .. } | Dist::Joined { .. } | Dist::Wrapped(_) => None,
        }
    }
    /// The values with `ln P(X <= x)` and with `ln P(X > x)` as given; `None` where there is no closed form.
    pub(super) fn log_quantiles(
        &self,
        g: &mut Builder,
        log_below: ValueId,
        log_above: ValueId,
    ) -> Option<(ValueId, ValueId)> {
        let Dist::Row { def, params } = self else { return None };
        let Tails::Logs { quantiles: Some((from_below, from_above)), .. } = get(*def).tails else { return None };
        Some((from_below(g, log_below, params), from_above(g, log_above, params)))
    }
    /// KL(self || other) [nats], in the shape of the common batch; `None` where there is no closed form.
    pub fn kl(&self, other: &Dist, g: &mut Builder) -> Option<ValueId> {
        let (Dist::Row { def, params }, Dist::Row { def: other_def, params: other_params }) = (self, other) else {
            return None;
        };
        let (_, kl) = get(*def).kl.iter().find(|(id, _)| id == other_def)?;
        if !same_total(g, (*def, params), (*other_def, other_params)) {
            return None;
        }
        let value = kl(g, params, other_params);
        let batch = broadcast_shapes(&self.batch_shape(g), &other.batch_shape(g));
        Some(g.broadcast_to(value, batch))
    }

    /// All parameters, those of distributions inside too.
    pub fn params(&self) -> Vec<ValueId> {
        match self {
            Dist::Row { params, .. } => params.clone(),
            Dist::Mixture { weights, components } => {
                std::iter::once(*weights).chain(components.iter().flat_map(Dist::params)).collect()
            }
            Dist::Joined { parts, .. } => parts.iter().flat_map(|(_, d)| d.params()).collect(),
            Dist::Wrapped(w) => w.get().params(),
        }
    }
    /// The same with a new last batch dimension of size 1, for draws that share their parameters along it.
    pub(super) fn stretched(&self, g: &mut Builder) -> Dist {
        match self {
            Dist::Row { def, params } => {
                let stretch = |(&v, p): (&ValueId, &super::ParamDef)| wrappers::stretch(g, v, p.event_rank);
                let params = params.iter().zip(get(*def).params).map(stretch).collect();
                Dist::Row { def: *def, params }
            }
            Dist::Mixture { weights, components } => Dist::Mixture {
                weights: wrappers::stretch(g, *weights, 1),
                components: components.iter().map(|c| c.stretched(g)).collect(),
            },
            Dist::Joined { .. } => unreachable!("wrappers are around what the program writes"),
            Dist::Wrapped(w) => w.get().stretched(g),
        }
    }

    /// What `field` of the row gives, broadcast to batch + event of `rank` dimensions.
    fn row_value(&self, g: &mut Builder, field: impl Fn(&DistDef) -> Option<GraphFn>, rank: usize) -> Option<ValueId> {
        let Dist::Row { def, params } = self else { return None };
        let value = field(get(*def))?(g, params);
        let mut shape = self.batch_shape(g);
        if rank > 0 {
            shape = shape.concat(&self.event_shape(g));
        }
        Some(g.broadcast_to(value, shape))
    }
}

/// Divergences of counts out of `total` have a closed form if both have the same total, known to be so.
fn same_total(g: &Builder, p: (DistId, &[ValueId]), q: (DistId, &[ValueId])) -> bool {
    let total = |(def, params): (DistId, &[ValueId])| get(def).param("total").map(|at| params[at]);
    match (total(p), total(q)) {
        (Some(a), Some(b)) => a == b || same_constant(g, a, b),
        _ => true,
    }
}
fn same_constant(g: &Builder, a: ValueId, b: ValueId) -> bool {
    use crate::ops::Op;
    let node = |v| &g.graph().nodes[v];
    match (&node(a).op, &node(b).op) {
        (Op::Full { value: x, .. }, Op::Full { value: y, .. }) => x == y,
        (Op::Constant(x), Op::Constant(y)) => g.graph().constants[*x] == g.graph().constants[*y],
        _ => false,
    }
}
