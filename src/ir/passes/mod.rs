//! What is done to a graph before it is planned: small functions in one visible list.

pub mod cse;
pub mod dce;
pub mod fold;
mod logs;
pub mod pools;
pub(crate) mod repeat;
pub mod stable;

use super::graph::{Graph, ValueId};
use super::verify::verify;
use super::{Builder, Node};
use crate::index::IndexVec;

/// A rewriting of graphs that keeps what they compute.
pub struct Pass {
    /// Its name, for `emit` and for messages about a broken graph.
    pub name: &'static str,
    /// The rewriting.
    pub run: fn(Graph) -> Graph,
}

/// All passes in order. They are for graphs that are complete: what is to be differentiated has its gradient by now
/// (`fold` forgets what was to be held constant). Before that, only [`stable::settle`] may be applied.
pub const PIPELINE: &[Pass] = &[
    Pass { name: "stable", run: stable::run }, // before fold, which would hide the forms that it looks for
    Pass { name: "pools", run: pools::run },   // before fold and cse, which see the smaller maps
    Pass { name: "fold", run: fold::run },     // first of the rest: later passes match on constants
    Pass { name: "cse", run: cse::run },       // draws are never merged: a stream is part of the node
    Pass { name: "dce", run: dce::run },       // last: removes what the others left
];

/// Runs all of [`PIPELINE`]. Inputs and outputs keep their ids, order and names.
pub fn run(graph: Graph) -> Graph {
    PIPELINE.iter().fold(graph, |graph, pass| apply(pass, graph))
}

/// Runs `pass`, and checks what it made in tests and debug builds.
pub fn apply(pass: &Pass, graph: Graph) -> Graph {
    let graph = (pass.run)(graph);
    if cfg!(debug_assertions)
        && let Err(invalid) = verify(&graph)
    {
        panic!("bayesc defect: pass `{}` broke the graph: {invalid}", pass.name);
    }
    graph
}

/// Rebuilds `graph` node by node: `rewrite` gets the builder and the node with its new operands, and returns the value
/// that stands for it; `None` leaves the node as it is.
pub(crate) fn rewrite(graph: Graph, rewrite: impl FnMut(&mut Builder, &Node) -> Option<ValueId>) -> Graph {
    rewrite_all(graph, rewrite).0
}

/// As [`rewrite`]; also says what stands for each value of the old graph.
pub(crate) fn rewrite_all(
    graph: Graph,
    mut rewrite: impl FnMut(&mut Builder, &Node) -> Option<ValueId>,
) -> (Graph, IndexVec<ValueId, ValueId>) {
    let Graph { nodes, origins, inputs, constants, outputs } = graph;
    let mut g = Builder::from_graph(Graph { inputs, constants, ..Graph::default() });
    let mut map: IndexVec<ValueId, ValueId> = IndexVec::new();
    for (mut node, origin) in nodes.into_vec().into_iter().zip(origins.into_vec()) {
        for operand in &mut node.operands {
            *operand = map[*operand];
        }
        g.set_origin(origin);
        let value = match rewrite(&mut g, &node) {
            Some(value) => value,
            None => g.push_node(node),
        };
        map.push(value);
    }
    let mut graph = g.finish();
    graph.outputs = outputs.into_iter().map(|(name, value)| (name, map[value])).collect();
    (graph, map)
}
