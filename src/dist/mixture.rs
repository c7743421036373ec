//! Mixtures: a component drawn by weight, for every element of the batch anew.

use super::pieces::{broadcast_shapes, log_or_impossible};
use super::{Dist, DistId};
use crate::ir::{Builder, Shape, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::Reduction;

/// `ln sum_k w_k f_k`, where `log_term` gives each `ln f_k`.
pub(super) fn log_mix(
    g: &mut Builder,
    weights: ValueId,
    components: &[Dist],
    mut log_term: impl FnMut(&mut Builder, &Dist) -> Option<ValueId>,
) -> Option<ValueId> {
    let log_weights = log_or_impossible(g, weights);
    let axis = g.rank(log_weights) - 1;
    let mut terms = Vec::with_capacity(components.len());
    for (k, component) in components.iter().enumerate() {
        let term = log_term(g, component)?;
        let log_weight = g.index_axis(log_weights, axis, k);
        terms.push(g.add(term, log_weight));
    }
    Some(log_sum_exp_of(g, &terms))
}

/// A forward draw of `shape` (batch + event).
pub(super) fn sample(g: &mut Builder, weights: ValueId, components: &[Dist], shape: &Shape) -> ValueId {
    let event_rank = components[0].event_rank();
    let batch = shape.drop_last(event_rank);
    let chosen = g.draw(DistId::CATEGORICAL_PROBS, &[weights], batch.clone());
    let ones = vec![1; event_rank];
    let mut draw = components[0].sample(g, shape);
    for (k, component) in components.iter().enumerate().skip(1) {
        let other = component.sample(g, shape);
        let here = g.compare_scalar(Binary::Eq, chosen, k as f64);
        let here = g.reshape(here, batch.concat(&ones));
        draw = g.select(here, other, draw);
    }
    draw
}

/// Within and between the components, the latter around the common mean.
pub(super) fn variance(g: &mut Builder, weights: ValueId, components: &[Dist]) -> Option<ValueId> {
    let event_rank = components[0].event_rank();
    let means: Option<Vec<ValueId>> = components.iter().map(|c| c.mean(g)).collect();
    let means = means?;
    let mean = weighted_sum(g, weights, &means, event_rank);
    let spreads: Option<Vec<ValueId>> = components
        .iter()
        .zip(means)
        .map(|(c, centre)| {
            let within = c.variance(g)?;
            let gap = g.sub(centre, mean);
            let square = g.square(gap);
            Some(g.add(within, square))
        })
        .collect();
    Some(weighted_sum(g, weights, &spreads?, event_rank))
}

/// `sum_k weights[.., k] values[k]`; the values have `event_rank` dimensions that the weights lack.
pub(super) fn weighted_sum(g: &mut Builder, weights: ValueId, values: &[ValueId], event_rank: usize) -> ValueId {
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
