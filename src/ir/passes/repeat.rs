//! Computes values a second time, where they are read late, instead of keeping them until then.
//!
//! Not in the pipeline: `exec/remat.rs` decides what is worth it. A copy of a random node keeps its stream, so it draws
//! the same numbers again. Merging common subexpressions afterwards would undo it.

use crate::index::{Idx, IndexVec};
use crate::ir::graph::{Graph, ValueId};
use std::collections::BTreeSet;

/// Puts copies of `values`, all of which come before `from`, in front of `from`. What comes later reads the copies;
/// what comes before, and the outputs, read the values themselves. Also says what each node was before.
pub(crate) fn repeat(graph: &Graph, values: &BTreeSet<ValueId>, from: ValueId) -> (Graph, IndexVec<ValueId, ValueId>) {
    debug_assert!(values.iter().all(|&v| v < from), "what is computed again was computed before");
    let mut map: IndexVec<ValueId, ValueId> = graph.nodes.indices().collect();
    let mut again = Graph { inputs: graph.inputs.clone(), constants: graph.constants.clone(), ..Graph::default() };
    let mut was: IndexVec<ValueId, ValueId> = IndexVec::new();
    let (early, late) = (0..from.index(), from.index()..graph.len());
    let late = late.map(ValueId::new);
    for id in early.map(ValueId::new).chain(values.iter().copied()).chain(late) {
        let mut node = graph.nodes[id].clone();
        for operand in &mut node.operands {
            *operand = map[*operand];
        }
        again.origins.push(graph.origins[id]);
        map[id] = again.nodes.push(node);
        was.push(id);
    }
    // A value that is computed again comes before `from` the first time.
    let first = |value: ValueId| if values.contains(&value) { value } else { map[value] };
    again.outputs = graph.outputs.iter().map(|(name, value)| (name.clone(), first(*value))).collect();
    (again, was)
}

/// The nodes of `graph` in another order, in which every node comes after what it reads; those that are not in `order`
/// are left out.
pub(crate) fn arrange(graph: &Graph, order: &[ValueId]) -> Graph {
    let mut map: IndexVec<ValueId, Option<ValueId>> = graph.nodes.iter().map(|_| None).collect();
    let mut arranged = Graph { inputs: graph.inputs.clone(), constants: graph.constants.clone(), ..Graph::default() };
    for &id in order {
        let mut node = graph.nodes[id].clone();
        for operand in &mut node.operands {
            *operand = map[*operand].expect("a node comes after what it reads");
        }
        arranged.origins.push(graph.origins[id]);
        map[id] = Some(arranged.nodes.push(node));
    }
    let place = |value: ValueId| map[value].expect("outputs are in the order");
    arranged.outputs = graph.outputs.iter().map(|(name, value)| (name.clone(), place(*value))).collect();
    arranged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::verify::verify;
    use crate::ir::{Builder, DType, InputKind, Shape};
    use crate::ops::NoiseKind;

    #[test]
    fn late_readers_read_the_copy() {
        let mut g = Builder::new();
        let x = g.input("x", Shape::from([3]), DType::Real, InputKind::Param);
        let noise = g.noise(NoiseKind::Normal, Shape::from([3]));
        let y = g.mul(x, noise);
        let early = g.exp(y);
        let late = g.mul(early, y);
        g.output("y", y);
        g.output("late", late);
        let graph = g.finish();
        let (again, was) = repeat(&graph, &BTreeSet::from([noise, y]), late);
        assert_eq!(verify(&again), Ok(()));
        assert_eq!(again.len(), graph.len() + 2);
        assert_eq!(again.outputs[0].1, y);
        let last = again.outputs[1].1;
        assert_eq!(was[last], late);
        let copy = again.nodes[last].operands[1];
        assert!(copy > early && was[copy] == y && was[again.nodes[copy].operands[1]] == noise);
        assert_eq!(again.nodes[again.nodes[copy].operands[1]].op, graph.nodes[noise].op);
    }
}
