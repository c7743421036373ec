//! Max pools before the increasing maps whose result they pool: fewer elements are mapped, forward and backward.
//!
//! - `max_pool(relu(x)) = relu(max_pool(x))`
//! - `max_pool(x ± b) = max_pool(x) ± b`, `b` the same over each image (a bias for each channel)
//!
//! Both maps are increasing, as computed too, so the values are the same to the bit. So are the derivatives, but where
//! elements of a window tie: after the map the first one of the largest takes all, before it the first of the largest
//! that are there then. A window without a positive element has derivative 0 on either side. The one exception are
//! infinite biases, whose sums with infinite elements are NaN. Like `stable`, the pass runs before differentiation and
//! again afterwards, for graphs that nobody differentiates.

use super::rewrite;
use crate::ir::Builder;
use crate::ir::graph::{Graph, Node, ValueId};
use crate::kernels::elementwise::{Binary, Unary};
use crate::ops::{Op, PoolAttrs};

/// Applies the rule to every pool.
pub fn run(graph: Graph) -> Graph {
    rewrite(graph, commute)
}

/// What stands for a max pool of such a map.
pub(super) fn commute(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let Op::MaxPool2d(attrs) = node.op else { return None };
    // Windows that overlap leave nothing to gain.
    let smaller = 2 * node.shape.count() <= g.shape(node.operands[0]).count();
    (smaller && inner(g, node.operands[0]).is_some()).then(|| pool(g, node.operands[0], attrs))
}

/// The operand of a map that may wait until after a pool.
fn inner(g: &Builder, x: ValueId) -> Option<ValueId> {
    let node = &g.graph().nodes[x];
    let fits = |whole: ValueId, other: ValueId| {
        let over_image = g.shape(other).iter().rev().take(2).all(|&n| n == 1);
        (g.shape(whole) == node.shape && over_image).then_some(whole)
    };
    match (&node.op, &node.operands[..]) {
        (Op::Unary(Unary::Relu), &[x]) => Some(x),
        (Op::Binary(Binary::Add), &[a, b]) => fits(a, b).or_else(|| fits(b, a)),
        (Op::Binary(Binary::Sub), &[a, b]) => fits(a, b),
        _ => None,
    }
}

/// The pool of `x`, under the maps of `x`.
fn pool(g: &mut Builder, x: ValueId, attrs: PoolAttrs) -> ValueId {
    let Some(operand) = inner(g, x) else { return g.max_pool2d(x, attrs) };
    let Node { op, operands, .. } = g.graph().nodes[x].clone();
    let pooled = pool(g, operand, attrs);
    let at = operands.iter().position(|&o| o == operand).expect("one of its operands");
    let operands: Vec<ValueId> = operands.iter().enumerate().map(|(i, &o)| if i == at { pooled } else { o }).collect();
    g.push(op, &operands)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::gradient;
    use crate::exec::eval_f64;
    use crate::ir::passes::{dce, stable};
    use crate::ir::{DType, InputKind, Shape};
    use crate::kernels::testing::values;
    use crate::rng::Key;

    const ATTRS: PoolAttrs = PoolAttrs { window: [2, 2], stride: [2, 2], pad: [[1, 0], [0, 1]], count_pad: false };

    #[test]
    fn the_same_values_and_derivatives_from_fewer_elements() {
        let build = |early: bool| {
            let mut g = Builder::new();
            let x = g.input("x", Shape::from([3, 4, 7, 6]), DType::Real, InputKind::Param);
            let b = g.input("b", Shape::from([4, 1, 1]), DType::Real, InputKind::Param);
            let weights = g.input("weights", Shape::from([3, 4, 4, 3]), DType::Real, InputKind::Data);
            let y = g.add(b, x);
            let y = g.relu(y);
            let mut y = g.max_pool2d(y, ATTRS);
            let product = g.mul(y, weights);
            let mut sum = g.sum_all(product);
            let (mut x, mut b) = (x, b);
            if early {
                stable::settle(&mut g, [&mut x, &mut b, &mut y, &mut sum]);
            }
            let gradients = gradient(&mut g, sum, &[x, b]).expect("all have gradients");
            g.output("y", y);
            gradients.into_iter().for_each(|d| g.output("d", d));
            dce::run(g.finish())
        };
        let (late, early) = (build(false), build(true));
        let large = |graph: &Graph| {
            let maps = graph.nodes.iter().filter(|n| n.op.is_elementwise());
            maps.filter(|n| n.shape.count() == 3 * 4 * 7 * 6).count()
        };
        assert!(large(&late) > 0 && large(&early) == 0);
        let (x, b, weights) = (values::<f64>(1, 504), values::<f64>(2, 4), values::<f64>(3, 144));
        let [late, early] = [late, early].map(|g| eval_f64(&g, &[&x, &b, &weights], Key::new(0)));
        assert_eq!(late[..2], early[..2]);
        for (a, b) in late[2].iter().zip(&early[2]) {
            assert!((a - b).abs() < 1e-12);
        }
    }

    #[test]
    fn what_does_not_commute_stays() {
        let mut g = Builder::new();
        let x = g.input("x", Shape::from([1, 2, 4, 4]), DType::Real, InputKind::Param);
        let neg = g.neg(x);
        let negative = g.max_pool2d(neg, ATTRS);
        let image = g.input("image", Shape::from([4, 4]), DType::Real, InputKind::Param);
        let sum = g.add(x, image);
        let sum = g.max_pool2d(sum, ATTRS);
        let one = g.scalar(1.0);
        let less = g.sub(one, x);
        let less = g.max_pool2d(less, ATTRS);
        for y in [negative, sum, less] {
            g.output("y", y);
        }
        let graph = g.finish();
        assert_eq!(run(graph.clone()), graph);
    }
}
