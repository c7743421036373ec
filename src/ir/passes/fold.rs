//! Constants are computed, and algebraic identities applied.
//!
//! Rules are small functions in one list, each with the identity it applies and where that identity does *not* hold
//! (NaN, infinities, signed zeros), which is why it is guarded or left out. They run on each node once, operands first.
//! Values may change in the sign of a zero, never otherwise.

use super::rewrite;
use crate::ir::Builder;
use crate::ir::graph::{DType, Graph, Node, Shape, ValueId};
use crate::kernels::elementwise::{Binary, Ternary, Unary};
use crate::ops::{Op, Reduction};

/// Arrays of more elements are left to the executor, which computes what is constant once.
const MAX_CONSTANT: usize = 4096;

/// A rule: the value that stands for the node, if the rule applies.
type Rule = fn(&mut Builder, &Node) -> Option<ValueId>;

/// All rules in order; the first that applies wins, and its result is not rewritten again.
const RULES: &[Rule] = &[
    constants,
    add_zero,
    sub_zero,
    mul_one,
    mul_zero,
    div_one,
    powers,
    double_negation,
    held_constant,
    select_known,
    nested_shapes,
    fills,
    needless_broadcast,
    sum_of_broadcast,
];

/// Applies the rules to every node.
pub fn run(graph: Graph) -> Graph {
    rewrite(graph, |g, node| {
        for rule in RULES {
            let before = g.graph().len();
            let Some(value) = rule(g, node) else {
                debug_assert_eq!(g.graph().len(), before, "a rule that does not apply adds nothing");
                continue;
            };
            debug_assert_eq!(g.shape(value), node.shape, "{} keeps its shape", node.op.name());
            return match (g.dtype(value), node.dtype) {
                (found, wanted) if found == wanted => Some(value),
                (_, DType::Real) => Some(g.to_real(value)),
                // An int where a bool stood, or the like: not worth a rule.
                _ => None,
            };
        }
        None
    })
}

/// The operand, where it has the result's shape.
fn whole(g: &Builder, node: &Node, operand: ValueId) -> Option<ValueId> {
    (g.shape(operand) == node.shape).then_some(operand)
}

fn operands2(node: &Node) -> Option<(ValueId, ValueId)> {
    match node.operands[..] {
        [a, b] => Some((a, b)),
        _ => None,
    }
}

/// `x + 0 = x` for every x (but -0 + 0 = 0).
fn add_zero(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let Op::Binary(Binary::Add) = node.op else { return None };
    let (a, b) = operands2(node)?;
    if g.as_full(b) == Some(0.0) {
        whole(g, node, a)
    } else if g.as_full(a) == Some(0.0) {
        whole(g, node, b)
    } else {
        None
    }
}

/// `x - 0 = x` for every x; `0 - x = -x` for every x (but 0 - 0 = 0).
fn sub_zero(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let Op::Binary(Binary::Sub) = node.op else { return None };
    let (a, b) = operands2(node)?;
    if g.as_full(b) == Some(0.0) {
        return whole(g, node, a);
    }
    if g.as_full(a) == Some(0.0) && g.dtype(b) == DType::Real {
        let b = whole(g, node, b)?;
        return Some(g.neg(b));
    }
    None
}

/// `x * 1 = x`, `x * -1 = -x` for every x.
fn mul_one(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let Op::Binary(Binary::Mul | Binary::MulAbsorbing) = node.op else { return None };
    let (a, b) = operands2(node)?;
    for (x, factor) in [(a, b), (b, a)] {
        // As the second factor of an absorbing product, x may be infinite: -1 is no 0, so it is the product.
        match g.as_full(factor) {
            Some(1.0) => return whole(g, node, x),
            Some(-1.0) if g.dtype(x) == DType::Real => {
                let x = whole(g, node, x)?;
                return Some(g.neg(x));
            }
            _ => {}
        }
    }
    None
}

/// `0 *abs x = 0` for every x; `x * 0 = 0` for finite x only (inf and NaN give NaN), known of ints and booleans.
fn mul_zero(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let (a, b) = operands2(node)?;
    let finite = |x: ValueId| g.dtype(x) != DType::Real || g.as_full(x).is_some_and(f64::is_finite);
    let zero = |x: ValueId| g.as_full(x) == Some(0.0);
    let holds = match node.op {
        Op::Binary(Binary::MulAbsorbing) => zero(a) || (zero(b) && finite(a)),
        Op::Binary(Binary::Mul) => (zero(a) && finite(b)) || (zero(b) && finite(a)),
        _ => false,
    };
    holds.then(|| g.full(0.0, node.shape.clone()))
}

/// `x / 1 = x` for every x; `x / c = x * (1/c)` for c a power of two, exactly.
fn div_one(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let Op::Binary(Binary::Div) = node.op else { return None };
    let (a, b) = operands2(node)?;
    let c = g.as_full(b)?;
    if c == 1.0 {
        return whole(g, node, a);
    }
    let reciprocal = 1.0 / c;
    let is_power_of_two = c.to_bits() & ((1 << 52) - 1) == 0 && (1e-30..1e30).contains(&c.abs());
    if is_power_of_two && g.shape(a) == node.shape {
        return Some(g.mul_scalar(a, reciprocal)).filter(|&v| g.dtype(v) == DType::Real);
    }
    None
}

/// `x^0 = 1`, `x^1 = x`, `x^2 = x x`, `x^-1 = 1/x` for every x. Not `x^(1/2) = sqrt x`: differs at -inf and -0.
fn powers(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let Op::Binary(Binary::Pow) = node.op else { return None };
    let (x, exponent) = operands2(node)?;
    let exponent = g.as_full(exponent)?;
    if exponent == 0.0 {
        return Some(g.full(1.0, node.shape.clone()));
    }
    let x = whole(g, node, x)?;
    match exponent {
        1.0 => Some(x),
        2.0 if g.dtype(x) == DType::Real => Some(g.square(x)),
        -1.0 => Some(g.recip(x)),
        _ => None,
    }
}

/// `-(-x) = x`, `a + -b = a - b`, `a - -b = a + b`, `1/(1/x) = x` for every x but subnormals (left out).
fn double_negation(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let under = |g: &Builder, x: ValueId, map: Unary| match &g.graph().nodes[x] {
        Node { op: Op::Unary(m), operands, .. } if *m == map => Some(operands[0]),
        _ => None,
    };
    match (&node.op, &node.operands[..]) {
        (Op::Unary(Unary::Neg), &[x]) => under(g, x, Unary::Neg),
        (Op::Binary(Binary::Add), &[a, b]) => match (under(g, a, Unary::Neg), under(g, b, Unary::Neg)) {
            (_, Some(b)) => Some(g.sub(a, b)),
            (Some(a), None) => Some(g.sub(b, a)),
            _ => None,
        },
        (Op::Binary(Binary::Sub), &[a, b]) => under(g, b, Unary::Neg).map(|b| g.add(a, b)),
        _ => None,
    }
}

/// What was to be held constant in a derivative is an ordinary value once the derivative is there: copies of one
/// computation, live and held, become equal and are computed once.
fn held_constant(_: &mut Builder, node: &Node) -> Option<ValueId> {
    matches!(node.op, Op::StopGradient).then(|| node.operands[0])
}

/// `true ? a : b = a`, `c ? a : a = a`.
fn select_known(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let Op::Ternary(Ternary::Select) = node.op else { return None };
    let &[c, a, b] = &node.operands[..] else { return None };
    let taken = match g.as_full(c) {
        Some(c) => {
            if c != 0.0 {
                a
            } else {
                b
            }
        }
        None if a == b => a,
        None => return None,
    };
    (g.dtype(taken) == node.dtype).then(|| g.broadcast_to(taken, node.shape.clone()))
}

/// Moves of moves: `reshape(reshape x)`, `broadcast(broadcast x)`, `transpose(transpose x)`, `slice(slice x)`, and those
/// that move nothing.
fn nested_shapes(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let &[x] = &node.operands[..] else { return None };
    let inner = g.graph().nodes[x].clone();
    match (&node.op, &inner.op) {
        (Op::Reshape { .. } | Op::Broadcast { .. }, _) if inner.shape == node.shape => Some(x),
        (Op::ToReal, _) if inner.dtype == DType::Real => Some(x),
        (Op::Slice { axis, .. }, _) if inner.shape[*axis] == node.shape[*axis] => Some(x),
        (Op::Pad { axis, .. }, _) if inner.shape[*axis] == node.shape[*axis] => Some(x),
        (Op::Transpose { perm }, _) if perm.iter().enumerate().all(|(i, &p)| i == p) => Some(x),
        // Dimensions of size 1 move freely: such a transpose is a reshape, which costs nothing.
        (Op::Transpose { perm }, _) => {
            let order: Vec<usize> = perm.iter().copied().filter(|&p| inner.shape[p] != 1).collect();
            if order.is_sorted() {
                return Some(g.reshape(x, node.shape.clone()));
            }
            let Op::Transpose { perm: first } = &inner.op else { return None };
            let perm: Vec<usize> = perm.iter().map(|&p| first[p]).collect();
            Some(g.transpose(inner.operands[0], &perm))
        }
        (Op::Reshape { .. }, Op::Reshape { .. }) => Some(g.reshape(inner.operands[0], node.shape.clone())),
        (Op::Broadcast { .. }, Op::Broadcast { .. }) => Some(g.broadcast_to(inner.operands[0], node.shape.clone())),
        // A broadcast that only adds dimensions of size 1 in front.
        (Op::Broadcast { .. }, _) if inner.shape.count() == node.shape.count() => {
            Some(g.reshape(x, node.shape.clone()))
        }
        (&Op::Slice { axis, start, len }, &Op::Slice { axis: inner_axis, start: inner_start, .. })
            if axis == inner_axis =>
        {
            Some(g.slice(inner.operands[0], axis, inner_start + start, len))
        }
        _ => None,
    }
}

/// Moves and sums of one number everywhere.
fn fills(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let &[x] = &node.operands[..] else { return None };
    let value = g.as_full(x)?;
    match &node.op {
        Op::Reshape { .. } | Op::Broadcast { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::StopGradient => {}
        Op::Pad { .. } if value == 0.0 => {}
        Op::Reduce { kind: Reduction::Max | Reduction::Min, .. } => {}
        Op::Reduce { kind: Reduction::Sum, .. } if value.is_finite() => {
            let count = g.shape(x).count() / node.shape.count().max(1);
            return Some(g.full(value * count as f64, node.shape.clone()));
        }
        _ => return None,
    }
    Some(g.full(value, node.shape.clone()))
}

/// An elementwise map stretches its operands itself.
fn needless_broadcast(g: &mut Builder, node: &Node) -> Option<ValueId> {
    if !node.op.is_elementwise() {
        return None;
    }
    let source = |g: &Builder, x: ValueId| match &g.graph().nodes[x] {
        Node { op: Op::Broadcast { .. }, operands, .. } => operands[0],
        Node { op: Op::Full { .. }, .. } => x,
        _ => x,
    };
    let mut operands = node.operands.clone();
    let mut changed = false;
    for i in 0..operands.len() {
        let narrow = source(g, operands[i]);
        if narrow == operands[i] {
            continue;
        }
        let wide = std::mem::replace(&mut operands[i], narrow);
        let joint = operands.iter().try_fold(Shape::scalar(), |s, &o| s.broadcast(&g.shape(o)));
        if joint.as_ref() == Some(&node.shape) {
            changed = true;
        } else {
            operands[i] = wide;
        }
    }
    changed.then(|| g.push(node.op.clone(), &operands))
}

/// `sum over a stretched axis of x = n x` (in another order of rounding).
fn sum_of_broadcast(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let Op::Reduce { kind: Reduction::Sum, axes } = &node.op else { return None };
    let wide = g.graph().nodes[node.operands[0]].clone();
    let Op::Broadcast { .. } = wide.op else { return None };
    let x = wide.operands[0];
    let narrow = g.shape(x);
    let lead = wide.shape.rank() - narrow.rank();
    let (stretched, real): (Vec<usize>, Vec<usize>) =
        axes.iter().partition(|&&a| a < lead || (narrow[a - lead] == 1 && wide.shape[a] != 1));
    if stretched.is_empty() || g.dtype(x) != DType::Real {
        return None;
    }
    let times: usize = stretched.iter().map(|&a| wide.shape[a]).product();
    let real: Vec<usize> = real.iter().map(|a| a - lead).collect();
    let sum = g.reduce(Reduction::Sum, x, &real);
    // What is left of x: its dimensions without the summed ones; the stretched ones that were summed have size 1.
    let kept: Vec<usize> = (0..wide.shape.rank()).filter(|a| !axes.contains(a)).collect();
    let shape: Vec<usize> = kept.iter().map(|&a| if a < lead { 1 } else { narrow[a - lead] }).collect();
    let sum = g.reshape(sum, shape);
    let scaled = g.mul_scalar(sum, times as f64);
    Some(g.broadcast_to(scaled, node.shape.clone()))
}

/// Elementwise maps of fills are fills; small arrays of constants are computed, in double precision. What gathers by
/// constant indices is left to the executor, which reports a wrong index.
fn constants(g: &mut Builder, node: &Node) -> Option<ValueId> {
    if node.operands.is_empty() || node.op.is_random() {
        return None;
    }
    if node.op.is_elementwise()
        && let Some(values) = node.operands.iter().map(|&o| g.as_full(o)).collect::<Option<Vec<f64>>>()
    {
        let value = crate::ops::evaluate_at(&node.op, &values)?;
        return (node.dtype == DType::Real).then(|| g.full(value, node.shape.clone()));
    }
    // What is written as an int and used as a real is a number like any other.
    if node.op == Op::ToReal
        && let Some((&first, rest)) = known(g, node.operands[0]).as_deref().and_then(<[f64]>::split_first)
        && rest.iter().all(|x| *x == first)
    {
        return Some(g.full(first, node.shape.clone()));
    }
    let is_copy = matches!(
        node.op,
        Op::StopGradient | Op::ToReal | Op::ToInt | Op::Reshape { .. } | Op::Broadcast { .. } | Op::Scan(_)
    );
    let by_index = matches!(node.op, Op::Gather | Op::ScatterAdd { .. } | Op::Pick | Op::Place { .. });
    if is_copy || by_index || node.shape.count() > MAX_CONSTANT {
        return None;
    }
    let data: Vec<Vec<f64>> = node.operands.iter().map(|&o| known(g, o)).collect::<Option<_>>()?;
    let data: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
    let shapes: Vec<Shape> = node.operands.iter().map(|&o| g.shape(o)).collect();
    let shapes: Vec<&Shape> = shapes.iter().collect();
    let result = crate::ops::evaluate(&node.op, &data, &shapes, &node.shape);
    Some(g.constant(result, node.shape.clone(), node.dtype))
}

/// The elements of a small constant.
fn known(g: &Builder, value: ValueId) -> Option<Vec<f64>> {
    let node = &g.graph().nodes[value];
    if node.shape.count() > MAX_CONSTANT {
        return None;
    }
    match node.op {
        Op::Constant(id) => Some(g.graph().constants[id].data.to_vec()),
        Op::Full { value, .. } => Some(vec![value; node.shape.count()]),
        Op::Iota { n } => Some((0..n).map(|i| i as f64).collect()),
        Op::Reshape { .. } | Op::ToReal | Op::ToInt | Op::StopGradient => known(g, node.operands[0]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::InputKind;
    use crate::ir::passes::dce;

    /// What is left of `build(g, x)` for an input x [2, 3].
    fn folded(build: impl FnOnce(&mut Builder, ValueId) -> ValueId) -> String {
        let mut g = Builder::new();
        let x = g.input("x", Shape::from([2, 3]), DType::Real, InputKind::Param);
        let y = build(&mut g, x);
        g.output("y", y);
        crate::ir::print::print(&dce::run(run(g.finish())), None)
    }

    #[test]
    fn identities_leave_the_operand() {
        let x = "%0 = param `x` : real[2, 3]\noutput y = %0\n";
        assert_eq!(folded(|g, x| g.mul_scalar(x, 1.0)), x);
        assert_eq!(folded(|g, x| g.add_scalar(x, 0.0)), x);
        assert_eq!(folded(|g, x| g.pow_scalar(x, 1.0)), x);
        let twice = folded(|g, x| {
            let y = g.neg(x);
            g.neg(y)
        });
        assert_eq!(twice, x);
        let moved = folded(|g, x| {
            let y = g.reshape(x, [3, 2]);
            g.reshape(y, [2, 3])
        });
        assert_eq!(moved, x);
    }

    #[test]
    fn zero_times_something_that_may_be_infinite_stays() {
        assert!(folded(|g, x| g.mul_scalar(x, 0.0)).contains("mul"));
    }

    #[test]
    fn held_copies_merge_with_live_ones() {
        let mut g = Builder::new();
        let x = g.input("x", Shape::from([3]), DType::Real, InputKind::Param);
        let held = g.stop_gradient(x);
        let (a, b) = (g.exp(x), g.exp(held));
        let (a, b) = (g.sin(a), g.sin(b));
        let y = g.mul(a, b);
        let y = g.sum_all(y);
        let d = crate::autodiff::gradient(&mut g, y, &[x]).expect("smooth").remove(0);
        g.output("y", y);
        g.output("d", d);
        let graph = dce::run(crate::ir::passes::cse::run(run(g.finish())));
        let count = |op: Unary| graph.nodes.iter().filter(|n| n.op == Op::Unary(op)).count();
        assert_eq!((count(Unary::Exp), count(Unary::Sin)), (1, 1));
        assert!(graph.nodes.iter().all(|n| n.op != Op::StopGradient));
        // The derivative is still the one with b held: cos(e^x) e^x sin(e^x), not twice that.
        let d = crate::exec::eval_f64(&graph, &[&[0.1, 0.2, 0.3]], crate::rng::Key::new(0)).remove(1);
        let e = 0.1f64.exp();
        assert!((d[0] - e * e.cos() * e.sin()).abs() < 1e-14, "{d:?}");
    }

    #[test]
    fn constants_are_computed() {
        let text = folded(|g, x| {
            let c = g.constant(vec![1.0, 2.0, 3.0], Shape::from([3]), DType::Real);
            let c = g.exp(c);
            let total = g.sum(c, &[0]);
            let two = g.scalar(2.0);
            let four = g.square(two);
            let c = g.mul(total, four);
            g.mul(x, c)
        });
        assert!(!text.contains("exp") && !text.contains("sum") && !text.contains("square"), "{text}");
    }

    #[test]
    fn whole_numbers_are_numbers() {
        let text = folded(|g, x| {
            let two = g.constant(vec![2.0], Shape::from([]), DType::Int);
            let two = g.to_real(two);
            g.pow(x, two)
        });
        assert!(text.contains("square") && !text.contains("pow"), "{text}");
    }

    #[test]
    fn broadcasts_vanish_into_maps_and_sums() {
        let text = folded(|g, x| {
            let c = g.input("c", Shape::from([3]), DType::Real, InputKind::Param);
            let wide = g.broadcast_to(c, [2, 3]);
            g.mul(x, wide)
        });
        assert!(!text.contains("broadcast"), "{text}");
        let text = folded(|g, x| {
            let wide = g.broadcast_to(x, [5, 2, 3]);
            g.sum(wide, &[0, 2])
        });
        assert!(text.contains("sum[axes=[1]] %0 : real[2]") && !text.contains("broadcast"), "{text}");
    }
}
