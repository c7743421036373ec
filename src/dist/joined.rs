//! Distributions of the parts of an array, side by side along a dimension of independent elements.

use super::Dist;
use super::pieces::broadcast_shapes;
use crate::ir::{Builder, Shape, ValueId};

/// The batch shape of parts along `axis`: each part broadcast to its own entries.
pub(super) fn batch_shape(g: &Builder, axis: usize, parts: &[(usize, Dist)]) -> Shape {
    let mut shape = Shape::from(vec![1; axis + 1]);
    for (_, part) in parts {
        let mut own = part.batch_shape(g).to_vec();
        let rank = own.len();
        if rank > axis {
            own[axis] = 1;
        }
        shape = broadcast_shapes(&shape, &Shape::from(own));
    }
    let mut shape = shape.to_vec();
    shape[axis] = parts.iter().map(|(n, _)| n).sum();
    shape.into()
}

/// Something of each part, whose trailing dimensions beyond the batch are `event`, joined along `axis`. `whole` is the
/// batch shape of all parts together.
pub(super) fn join(
    g: &mut Builder,
    axis: usize,
    whole: &Shape,
    event: &Shape,
    parts: &[(usize, Dist)],
    mut of: impl FnMut(&mut Builder, usize, &Dist, &Shape) -> Option<ValueId>,
) -> Option<ValueId> {
    let mut start = 0;
    let mut values = Vec::new();
    for (n, part) in parts {
        let mut shape = whole.to_vec();
        shape[axis] = *n;
        let shape = Shape::from(shape).concat(event);
        let value = of(g, start, part, &shape)?;
        values.push(g.broadcast_to(value, shape));
        start += n;
    }
    Some(g.concat(&values, axis))
}

/// The log density at `x`: every part at its entries.
pub(super) fn log_prob(g: &mut Builder, axis: usize, parts: &[(usize, Dist)], x: ValueId) -> ValueId {
    let rank = parts[0].1.event_rank();
    let whole = g.shape(x).drop_last(rank);
    let event = Shape::scalar();
    let joined = join(g, axis, &whole, &event, parts, |g, start, part, shape| {
        let own = g.slice(x, axis, start, shape[axis]);
        Some(part.log_prob(g, own))
    });
    joined.expect("every part has a density")
}
