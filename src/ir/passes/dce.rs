//! Removes nodes that no output depends on. Inputs stay in the graph's list of inputs, so their ids hold.

use crate::index::IndexVec;
use crate::ir::graph::{Graph, ValueId};

/// Keeps what the outputs need.
pub fn run(graph: Graph) -> Graph {
    let mut live: IndexVec<ValueId, bool> = graph.nodes.iter().map(|_| false).collect();
    for &(_, value) in &graph.outputs {
        live[value] = true;
    }
    for id in graph.nodes.indices().rev() {
        if live[id] {
            for &operand in &graph.nodes[id].operands {
                live[operand] = true;
            }
        }
    }
    let mut map: IndexVec<ValueId, Option<ValueId>> = IndexVec::new();
    let mut kept = Graph { inputs: graph.inputs, constants: graph.constants, ..Graph::default() };
    for ((id, origin), mut node) in graph.origins.iter_enumerated().zip(graph.nodes.into_vec()) {
        let new = live[id].then(|| {
            for operand in &mut node.operands {
                *operand = map[*operand].expect("what a live node reads is live");
            }
            kept.origins.push(*origin);
            kept.nodes.push(node)
        });
        map.push(new);
    }
    kept.outputs =
        graph.outputs.into_iter().map(|(name, value)| (name, map[value].expect("outputs are live"))).collect();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Builder, DType, InputKind, Shape};

    #[test]
    fn what_nobody_reads_goes_and_inputs_keep_their_ids() {
        let mut g = Builder::new();
        let _unused = g.input("unused", Shape::scalar(), DType::Real, InputKind::Param);
        let x = g.input("x", Shape::scalar(), DType::Real, InputKind::Param);
        let y = g.exp(x);
        let _dead = g.log(y);
        g.output("y", y);
        let graph = run(g.finish());
        assert_eq!(graph.len(), 2);
        assert_eq!(graph.inputs.len(), 2);
        assert_eq!(graph.outputs[0].1, graph.last());
    }
}
