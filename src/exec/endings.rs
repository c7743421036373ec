//! Finds the maps that a kernel does where it writes its result: a bias for each channel, then a relu, after a convolution
//! or a max pool.
//!
//! They cost nothing there, where the result is in registers or in the first caches; as a group they would read it and write
//! it once more. The numbers are the same to the bit.

use super::schedule::{is_identity, waits};
use crate::index::IndexVec;
use crate::ir::graph::{Graph, ValueId};
use crate::kernels::elementwise::{Binary, Unary};
use crate::ops::Op;
use crate::ops::kernel::Ending;
use std::collections::{HashMap, HashSet};

/// A kernel that makes a later value at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// The convolution or pool.
    pub kernel: ValueId,
    /// A number for each channel.
    pub bias: Option<ValueId>,
    /// The maps.
    pub ending: Ending,
}

/// By the values that kernels make instead of their own, and the values that nobody makes then.
#[derive(Default)]
pub(super) struct Endings {
    pub ends: HashMap<ValueId, Ended>,
    pub skipped: HashSet<ValueId>,
}

/// The kernels of `graph` that end with maps; `users` are the readers of each value, `is_once` says in which phase it is made.
pub(super) fn endings(
    graph: &Graph,
    users: &IndexVec<ValueId, Vec<ValueId>>,
    is_once: &IndexVec<ValueId, bool>,
) -> Endings {
    let outputs: HashSet<ValueId> = graph.outputs.iter().map(|o| o.1).collect();
    let mut found = Endings::default();
    for (kernel, node) in graph.nodes.iter_enumerated() {
        if !matches!(node.op, Op::Conv2d(_) | Op::MaxPool2d(_)) {
            continue;
        }
        let (mut ended, mut end) = (Ended { kernel, bias: None, ending: Ending::default() }, kernel);
        let (mut last, mut between) = (kernel, Vec::new());
        // The one reader of a value that nobody else wants, in the same phase.
        while let (&[next], false) = (&users[last][..], outputs.contains(&last))
            && is_once[next] == is_once[kernel]
        {
            between.push(last);
            let reader = &graph.nodes[next];
            match (&reader.op, &reader.operands[..]) {
                (Op::Reshape { shape }, _) if shape.iter().take(2).eq(node.shape.iter().take(2)) => last = next,
                (Op::Binary(Binary::Add), &[a, b]) if ended.ending == Ending::default() => {
                    let bias = if a == last { b } else { a };
                    if reader.shape != *graph.shape(last) || !is_per_channel(graph.shape(bias), &reader.shape) {
                        break;
                    }
                    (ended.bias, ended.ending.bias) = (Some(bias), true);
                    (last, end) = (next, next);
                }
                (Op::Unary(Unary::Relu), _) => {
                    ended.ending.relu = true;
                    end = next;
                    break;
                }
                _ => break,
            }
        }
        if end != kernel && is_stored_as_it_is(graph, users, &outputs, end) {
            between.retain(|&v| v < end);
            found.skipped.extend(between);
            found.ends.insert(end, ended);
        }
    }
    found
}

/// Whether an operand has one number for each channel of `whole` [N,C,...].
fn is_per_channel(operand: &[usize], whole: &[usize]) -> bool {
    let lead = whole.len() - operand.len();
    let at = |axis: usize| if axis < lead { 1 } else { operand[axis - lead] };
    whole.len() >= 2 && at(1) == whole[1] && (0..whole.len()).all(|axis| axis == 1 || at(axis) == 1)
}

/// Whether `value` must be in memory anyway, and is not a source of sums, which its group takes while it runs.
fn is_stored_as_it_is(
    graph: &Graph,
    users: &IndexVec<ValueId, Vec<ValueId>>,
    outputs: &HashSet<ValueId>,
    value: ValueId,
) -> bool {
    let mut stored = outputs.contains(&value);
    let mut readers = users[value].clone();
    while let Some(reader) = readers.pop() {
        match &graph.nodes[reader].op {
            op if is_identity(op) => {
                stored |= outputs.contains(&reader);
                readers.extend(&users[reader]);
            }
            Op::Reduce { .. } | Op::MatMul { .. } if waits(graph, reader) => return false,
            _ => stored |= !waits(graph, reader),
        }
    }
    stored
}

#[cfg(test)]
mod tests {
    use crate::autodiff::gradient;
    use crate::exec::fusion::{compare, outputs};
    use crate::exec::plan::{Options, Plan};
    use crate::ir::{Builder, DType, Graph, InputKind, Shape, ValueId, passes};
    use crate::ops::{ConvAttrs, PoolAttrs};

    const POOL: PoolAttrs = PoolAttrs { window: [2, 2], stride: [2, 2], pad: [[0, 0]; 2], count_pad: false };

    /// What stands between the last convolution and the sum.
    #[derive(Clone, Copy, PartialEq)]
    enum Tail {
        Plain,
        Pool,
        Sum,
        Shown,
    }

    /// Two convolutions with biases and relus, the second with `stride` and `groups`, and the gradient.
    fn network(batch: usize, stride: usize, groups: usize, flat: bool, tail: Tail) -> Graph {
        let mut g = Builder::new();
        let input = |g: &mut Builder, name: &str, shape: &[usize], kind| {
            g.input(name.to_string(), Shape::from(shape.to_vec()), DType::Real, kind)
        };
        let x = input(&mut g, "x", &[batch, 3, 9, 11], InputKind::Data);
        let w1 = input(&mut g, "w1", &[8, 3, 3, 3], InputKind::Param);
        let b1 = input(&mut g, "b1", &[8, 1, 1], InputKind::Param);
        let w2 = input(&mut g, "w2", &[16, 8 / groups, 3, 3], InputKind::Param);
        let b2 = input(&mut g, "b2", &[16], InputKind::Param);
        let scale = input(&mut g, "scale", &[16], InputKind::Param);
        let attrs =
            |stride: usize, groups| ConvAttrs { stride: [stride; 2], pad: [[1, 1], [1, 1]], dilation: [1, 1], groups };
        let y = g.conv2d(x, w1, attrs(1, 1));
        let y = g.add(b1, y);
        let y = g.relu(y);
        let mut y = g.conv2d(y, w2, attrs(stride, groups));
        // A bias that is made by a group, after the convolution in the order of the graph.
        let noise = g.exp(scale);
        let bias = g.mul(b2, noise);
        if flat {
            let [n, c, h, w] = g.shape(y)[..] else { unreachable!("an image") };
            y = g.reshape(y, [n, c, h * w]);
            let bias = g.reshape(bias, [16, 1]);
            y = g.add(y, bias);
            y = g.relu(y);
            y = g.reshape(y, [n, c, h, w]);
        } else {
            let bias = g.reshape(bias, [1, 16, 1, 1]);
            y = g.add(y, bias);
            y = g.relu(y);
        }
        if tail == Tail::Pool {
            y = g.max_pool2d(y, POOL);
        }
        let n = g.shape(y).count();
        let total = if tail == Tail::Sum {
            g.sum_all(y)
        } else {
            let flat = g.reshape(y, [batch, n / batch]);
            let square = g.matmul(flat, false, flat, true);
            g.sum_all(square)
        };
        g.output("total", total);
        if tail == Tail::Shown {
            g.output("y", y);
        }
        let gradients: Vec<ValueId> = gradient(&mut g, total, &[w1, b1, w2, b2, scale]).expect("all have gradients");
        gradients.into_iter().for_each(|d| g.output("d", d));
        passes::run(g.finish())
    }

    #[test]
    fn convolutions_and_pools_end_with_bias_and_relu_to_the_bit() {
        for (batch, stride, groups, flat, tail, ends) in [
            (5, 1, 1, false, Tail::Plain, 2),
            (40, 1, 1, false, Tail::Pool, 2),
            (40, 2, 1, true, Tail::Plain, 2),
            (3, 2, 8, false, Tail::Shown, 2),
            (3, 1, 2, true, Tail::Sum, 1),
        ] {
            let graph = network(batch, stride, groups, flat, tail);
            let plan = Plan::new(&graph, Options::default()).print(&graph);
            let found = plan.matches(" + bias + relu").count();
            assert_eq!(found, ends, "{plan}");
            let without = Options { endings: false, ..Options::default() };
            assert!(!Plan::new(&graph, without).print(&graph).contains(" + bias"));
            assert!(outputs::<f32>(&graph, Options::default()) == outputs::<f32>(&graph, without), "{plan}");
            assert!(outputs::<f64>(&graph, Options::default()) == outputs::<f64>(&graph, without), "{plan}");
            compare::<f64>(&graph, 1e-10);
        }
    }
}
