//! Distributions whose parameters are values of a graph.
//!
//! A [`Dist`] is a row of the table with its parameters, or a composition of such. Every method appends graph code.
//! What a row's own functions leave to broadcasting is broadcast here: results have the full batch shape.

use super::joined;
use super::pieces::{broadcast_shapes, log_or_impossible};
use super::{DistDef, DistId, GraphFn, Reparam, SupportKind, get};
use crate::ir::{Builder, DType, Shape, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::Reduction;

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
    fn def(&self) -> &'static DistDef {
        match self {
            Dist::Row { def, .. } => get(*def),
            Dist::Mixture { components, .. } => components[0].def(),
            Dist::Joined { parts, .. } => parts[0].1.def(),
        }
    }
    /// The family's name in the language.
    pub fn name(&self) -> &'static str {
        match self {
            Dist::Row { def, .. } => get(*def).name,
            Dist::Mixture { .. } => "Mixture",
            Dist::Joined { parts, .. } => parts[0].1.name(),
        }
    }
    /// Where draws lie.
    pub fn support(&self) -> SupportKind {
        self.def().support
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
            Dist::Joined { axis, parts } => {
                let whole = self.batch_shape(g);
                let none = Shape::scalar();
                let low = joined::join(g, *axis, &whole, &none, parts, |g, _, d, _| d.bounds(g).map(|b| b.0))?;
                let high = joined::join(g, *axis, &whole, &none, parts, |g, _, d, _| d.bounds(g).map(|b| b.1))?;
                Some((low, high))
            }
        }
    }
    /// Whether draws are reals or ints.
    pub fn dtype(&self) -> DType {
        self.def().dtype
    }
    /// How many trailing dimensions one draw has.
    pub fn event_rank(&self) -> usize {
        self.def().event_rank
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
            Dist::Joined { axis, parts } => joined::batch_shape(g, *axis, parts),
        }
    }
    /// The shape of one draw of one element.
    pub fn event_shape(&self, g: &Builder) -> Shape {
        match self {
            Dist::Row { def, params } => {
                let shapes: Vec<Shape> = params.iter().map(|&p| g.shape(p)).collect();
                get(*def).event_shape(&shapes)
            }
            Dist::Mixture { components, .. } => components[0].event_shape(g),
            Dist::Joined { parts, .. } => parts[0].1.event_shape(g),
        }
    }
    /// Whether it integrates to 1 and can be drawn from.
    pub fn is_proper(&self) -> bool {
        match self {
            Dist::Row { def, .. } => get(*def).is_proper(),
            Dist::Mixture { components, .. } => components.iter().all(Dist::is_proper),
            Dist::Joined { parts, .. } => parts.iter().all(|(_, d)| d.is_proper()),
        }
    }
    /// Whether draws can carry the gradient of the parameters.
    pub fn is_reparameterized(&self) -> bool {
        match self {
            Dist::Row { def, .. } => get(*def).is_reparameterized(),
            Dist::Mixture { .. } | Dist::Joined { .. } => false,
        }
    }

    /// The log density [nats] at `x`, in the shape of the batch of `x` and the parameters. -inf outside the support.
    pub fn log_prob(&self, g: &mut Builder, x: ValueId) -> ValueId {
        match self {
            Dist::Row { def, params } => (get(*def).log_prob)(g, x, params),
            Dist::Mixture { weights, components } => {
                let log_weights = log_or_impossible(g, *weights);
                let axis = g.rank(log_weights) - 1;
                let terms: Vec<ValueId> = components
                    .iter()
                    .enumerate()
                    .map(|(k, component)| {
                        let log_prob = component.log_prob(g, x);
                        let log_weight = g.index_axis(log_weights, axis, k);
                        g.add(log_prob, log_weight)
                    })
                    .collect();
                log_sum_exp_of(g, &terms)
            }
            Dist::Joined { axis, parts } => joined::log_prob(g, *axis, parts, x),
        }
    }

    /// A differentiable draw of `shape` (batch + event); `None` where draws carry no gradient.
    pub fn rsample(&self, g: &mut Builder, shape: &Shape) -> Option<ValueId> {
        match self {
            Dist::Row { def, params } => match get(*def).rsample {
                Reparam::None => None,
                Reparam::Noise(draw) | Reparam::Implicit(draw) => Some(draw(g, params, shape)),
            },
            Dist::Mixture { .. } | Dist::Joined { .. } => None,
        }
    }

    /// A forward draw of `shape` (batch + event); its gradient is not to be relied on. The distribution must be proper.
    pub fn sample(&self, g: &mut Builder, shape: &Shape) -> ValueId {
        match self {
            Dist::Row { def, params } => {
                assert!(get(*def).is_proper(), "{} is improper: there are no draws", get(*def).name);
                match get(*def).rsample {
                    Reparam::Noise(draw) => draw(g, params, shape),
                    Reparam::None | Reparam::Implicit(_) => g.draw(*def, params, shape.clone()),
                }
            }
            Dist::Mixture { weights, components } => {
                let batch = shape.drop_last(self.event_rank());
                let chosen = g.draw(DistId::CATEGORICAL_PROBS, &[*weights], batch.clone());
                let ones = vec![1; self.event_rank()];
                let mut draw = components[0].sample(g, shape);
                for (k, component) in components.iter().enumerate().skip(1) {
                    let other = component.sample(g, shape);
                    let here = g.compare_scalar(Binary::Eq, chosen, k as f64);
                    let here = g.reshape(here, batch.concat(&ones));
                    draw = g.select(here, other, draw);
                }
                draw
            }
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
            Dist::Mixture { weights, components } => {
                // within + between components, the latter around the common mean
                let mean = self.mean(g)?;
                let spreads: Option<Vec<ValueId>> = components
                    .iter()
                    .map(|c| {
                        let (within, centre) = (c.variance(g)?, c.mean(g)?);
                        let gap = g.sub(centre, mean);
                        let square = g.square(gap);
                        Some(g.add(within, square))
                    })
                    .collect();
                Some(weighted_sum(g, *weights, &spreads?, self.event_rank()))
            }
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
            Dist::Joined { .. } => None,
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
        }
    }
    /// The value below which a draw lies with probability `q` in (0, 1); `None` where there is no closed form.
    pub fn icdf(&self, g: &mut Builder, q: ValueId) -> Option<ValueId> {
        match self {
            Dist::Row { def, params } => get(*def).icdf.map(|icdf| icdf(g, q, params)),
            Dist::Mixture { .. } | Dist::Joined { .. } => None,
        }
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

/// `ln sum exp` of values that broadcast to one shape; -inf, with gradients of 0, where all are -inf.
fn log_sum_exp_of(g: &mut Builder, terms: &[ValueId]) -> ValueId {
    let shape = terms.iter().fold(Shape::scalar(), |acc, &t| broadcast_shapes(&acc, &g.shape(t)));
    let rows: Vec<ValueId> = terms
        .iter()
        .map(|&t| {
            let row = g.broadcast_to(t, shape.clone());
            g.expand_dim(row, 0)
        })
        .collect();
    let stacked = g.concat(&rows, 0);
    let impossible = g.scalar(f64::NEG_INFINITY);
    let top = g.reduce(Reduction::Max, stacked, &[0]);
    let some = g.gt(top, impossible);
    let zero = g.scalar(0.0);
    let safe = g.select(some, stacked, zero);
    let sum = g.logsumexp(safe, &[0]);
    g.select(some, sum, impossible)
}

/// `sum_k weights[.., k] values[k]`; the values have `event_rank` dimensions that the weights lack.
fn weighted_sum(g: &mut Builder, weights: ValueId, values: &[ValueId], event_rank: usize) -> ValueId {
    let axis = g.rank(weights) - 1;
    let batch = g.shape(weights).drop_last(1);
    let terms: Vec<ValueId> = values
        .iter()
        .enumerate()
        .map(|(k, &value)| {
            let weight = g.index_axis(weights, axis, k);
            let weight = g.reshape(weight, batch.concat(&vec![1; event_rank]));
            g.mul(weight, value)
        })
        .collect();
    g.add_all(&terms)
}
