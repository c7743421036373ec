//! Computes equal things once. Random nodes are equal only when they name the same stream.

use super::rewrite;
use crate::ir::graph::{Graph, Node, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::Op;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Merges nodes with the same operation and operands.
pub fn run(graph: Graph) -> Graph {
    let mut seen: HashMap<u64, Vec<ValueId>> = HashMap::new();
    rewrite(graph, |g, node| {
        let node = in_order(node.clone());
        let candidates = seen.entry(fingerprint(&node)).or_default();
        if let Some(&earlier) = candidates.iter().find(|&&c| same(&g.graph().nodes[c], &node)) {
            return Some(earlier);
        }
        let value = g.push_node(node);
        candidates.push(value);
        Some(value)
    })
}

/// Operands of commutative maps in ascending order.
fn in_order(mut node: Node) -> Node {
    if let Op::Binary(Binary::Add | Binary::Mul | Binary::Eq | Binary::Ne | Binary::And | Binary::Or) = node.op {
        node.operands.sort();
    }
    node
}

fn fingerprint(node: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::mem::discriminant(&node.op).hash(&mut hasher);
    match &node.op {
        Op::Full { value, .. } => value.to_bits().hash(&mut hasher),
        Op::Unary(map) => map.hash(&mut hasher),
        Op::Binary(map) => map.hash(&mut hasher),
        Op::Ternary(map) => map.hash(&mut hasher),
        Op::Input(input) => input.hash(&mut hasher),
        Op::Constant(constant) => constant.hash(&mut hasher),
        Op::Slice { axis, start, .. } => (axis, start).hash(&mut hasher),
        op => op.stream().hash(&mut hasher),
    }
    node.operands.hash(&mut hasher);
    node.shape.hash(&mut hasher);
    hasher.finish()
}

/// Equal to the bit: 0 and -0 are different fills, NaN is equal to itself.
fn same(a: &Node, b: &Node) -> bool {
    let ops = match (&a.op, &b.op) {
        (Op::Full { value: x, .. }, Op::Full { value: y, .. }) => x.to_bits() == y.to_bits(),
        (x, y) => x == y,
    };
    ops && a.operands == b.operands && a.shape == b.shape && a.dtype == b.dtype
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::passes::dce;
    use crate::ir::{Builder, DType, InputKind, Shape};
    use crate::ops::NoiseKind;

    #[test]
    fn equal_values_are_computed_once() {
        let mut g = Builder::new();
        let x = g.input("x", Shape::from([3]), DType::Real, InputKind::Param);
        let y = g.input("y", Shape::from([3]), DType::Real, InputKind::Param);
        let (a, b) = (g.add(x, y), g.add(y, x));
        let (a, b) = (g.exp(a), g.exp(b));
        let c = g.sub(a, b);
        g.output("c", c);
        let graph = run(g.finish());
        let c = graph.outputs[0].1;
        assert_eq!(graph.nodes[c].operands[0], graph.nodes[c].operands[1]);
        assert_eq!(dce::run(graph).len(), 5);
    }

    #[test]
    fn draws_of_different_streams_stay_apart() {
        let mut g = Builder::new();
        let a = g.noise(NoiseKind::Normal, Shape::from([3]));
        let b = g.noise(NoiseKind::Normal, Shape::from([3]));
        let again = g.push(g.graph().nodes[a].op.clone(), &[]);
        let (zero, minus_zero) = (g.scalar(0.0), g.scalar(-0.0));
        for (name, value) in [("a", a), ("b", b), ("again", again), ("zero", zero), ("minus", minus_zero)] {
            g.output(name, value);
        }
        let graph = run(g.finish());
        let out = |i: usize| graph.outputs[i].1;
        assert_ne!(out(0), out(1));
        assert_eq!(out(0), out(2));
        assert_ne!(out(3), out(4));
    }
}
