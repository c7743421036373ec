//! What people naturally write, in forms that neither overflow nor lose digits.
//!
//! `log(sum(exp(x)))` becomes `logsumexp`, `log(1 - sigmoid(x))` becomes `log_sigmoid(-x)`, and so on: the two sides are equal
//! in exact arithmetic wherever the left one is defined, and the right one is finite and accurate where the left one has
//! lost everything. The pass runs twice. Before differentiation ([`settle`]), since the derivative of an unstable form is
//! unstable too: `inf * 0` in the adjoint of `log(sum(exp(x)))` is NaN even where its value could be mended. And first of
//! all passes, for graphs that nobody differentiates.
//!
//! Left alone because they are *not* equal: `ln(a b)` where neither factor is positive by construction (two negative
//! factors have a logarithm of their product), `sqrt(x)^2 = x` and `e^(ln x) = x` (NaN below 0), `ln x^c` but for squares (the
//! sign of x), `x / x = 1` (0, infinities). What is positive by construction is said in `logs.rs`.

use super::logs::{self, Log, complement, number, under};
use super::{pools, rewrite_all};
use crate::ir::Builder;
use crate::ir::graph::{DType, Graph, Node, ValueId};
use crate::kernels::elementwise::{Binary, Ternary, Unary};
use crate::ops::{Op, Reduction};

/// A rule: the value that stands for the node, if the rule applies.
type Rule = fn(&mut Builder, &Node) -> Option<ValueId>;

/// All rules; each looks at other operations than the rest.
const RULES: &[Rule] = &[logarithm, log1p, weighted_log, difference, sum, quotient, power, root, guard];

/// Applies the rules to every node, operands first.
pub fn run(graph: Graph) -> Graph {
    rewrite_all(graph, apply).0
}

/// Applies the rules, and those of [`pools`], to what has been built so far, before it is differentiated. Nodes move:
/// every one of `values` is replaced by what stands for it now; outputs and inputs keep their places.
pub fn settle<'a>(g: &mut Builder, values: impl IntoIterator<Item = &'a mut ValueId>) {
    let origin = g.set_origin(None);
    let (graph, map) =
        rewrite_all(std::mem::take(g).finish(), |g, node| pools::commute(g, node).or_else(|| apply(g, node)));
    *g = Builder::from_graph(graph);
    g.set_origin(origin);
    for value in values {
        *value = map[*value];
    }
}

fn apply(g: &mut Builder, node: &Node) -> Option<ValueId> {
    if node.dtype != DType::Real {
        return None;
    }
    let value = RULES.iter().find_map(|rule| rule(g, node))?;
    let value = g.to_real(value);
    Some(g.broadcast_to(value, node.shape.clone()))
}

fn operands2(node: &Node, map: Binary) -> Option<(ValueId, ValueId)> {
    match (&node.op, &node.operands[..]) {
        (Op::Binary(found), &[a, b]) if *found == map => Some((a, b)),
        _ => None,
    }
}
fn operand(node: &Node, map: Unary) -> Option<ValueId> {
    match (&node.op, &node.operands[..]) {
        (Op::Unary(found), &[x]) if *found == map => Some(x),
        _ => None,
    }
}

/// `ln x`
fn logarithm(g: &mut Builder, node: &Node) -> Option<ValueId> {
    log_of(g, operand(node, Unary::Log)?)
}

/// `ln x` by another way than taking the logarithm of `x`; `None` where there is no better one.
fn log_of(g: &mut Builder, x: ValueId) -> Option<ValueId> {
    if let Some(log) = logs::of(g, x).filter(Log::gains) {
        return Some(log.emit(g));
    }
    let inner = g.graph().nodes[x].clone();
    match (&inner.op, &inner.operands[..]) {
        // ln(e^u - 1), NaN on both sides for u < 0
        (Op::Unary(Unary::Expm1), &[u]) => Some(g.softplus_inv(u)),
        // ln(1 - e^u), NaN on both sides for u > 0
        (Op::Unary(Unary::Neg), &[e]) => under(g, e, Unary::Expm1).map(|u| g.log1m_exp(u)),
        // ln x^2 = 2 ln |x|
        (Op::Unary(Unary::Square), &[u]) => Some(log_of_square(g, u)),
        (Op::Binary(Binary::Pow), &[u, c]) if number(g, c) == Some(2.0) => Some(log_of_square(g, u)),
        (Op::Binary(Binary::Sub), &[a, b]) => {
            if let Some(u) = complement(g, x) {
                return Some(log_of_complement(g, u));
            }
            log_of_difference(g, a, b)
        }
        (Op::Binary(Binary::Add), &[a, b]) => {
            if let Some(u) = complement(g, x) {
                return Some(log_of_complement(g, u));
            }
            // ln(1 + u); where u is an exponential, it has been dealt with above.
            let u = match (number(g, a), number(g, b)) {
                (Some(1.0), _) => b,
                (_, Some(1.0)) => a,
                _ => return None,
            };
            Some(g.log1p(u))
        }
        // One factor that is positive by construction: the other one decides on the sign alone.
        (Op::Binary(Binary::Mul), &[a, b]) => {
            for (known, other) in [(a, b), (b, a)] {
                let Some(log) = logs::of(g, known) else { continue };
                let rest = log_of(g, other);
                if rest.is_none() && !log.gains() {
                    continue;
                }
                let rest = rest.unwrap_or_else(|| g.log(other));
                return Some(Log::Add(Box::new(log), Box::new(Log::Value(rest))).emit(g));
            }
            None
        }
        (Op::Binary(Binary::Div), &[a, b]) => {
            if let Some(log) = logs::of(g, b) {
                let rest = log_of(g, a);
                if rest.is_none() && !log.gains() {
                    return None;
                }
                let rest = rest.unwrap_or_else(|| g.log(a));
                return Some(Log::Sub(Box::new(Log::Value(rest)), Box::new(log)).emit(g));
            }
            let log = logs::of(g, a).filter(Log::gains)?;
            let rest = g.log(b);
            Some(Log::Sub(Box::new(log), Box::new(Log::Value(rest))).emit(g))
        }
        // ln sqrt x, ln 1/x where ln x has a better form
        (Op::Unary(Unary::Sqrt), &[u]) => log_of(g, u).map(|l| g.mul_scalar(l, 0.5)),
        (Op::Unary(Unary::Recip), &[u]) => log_of(g, u).map(|l| g.neg(l)),
        (Op::Reduce { kind: Reduction::Sum, axes }, &[s]) => log_of_weighted_sum(g, s, axes),
        (Op::Reshape { .. } | Op::Broadcast { .. }, &[u]) => {
            let log = log_of(g, u)?;
            Some(g.push(inner.op.clone(), &[log]))
        }
        _ => None,
    }
}

fn log_of_square(g: &mut Builder, u: ValueId) -> ValueId {
    let abs = g.abs(u);
    let log = log_of(g, abs).unwrap_or_else(|| g.log(abs));
    g.mul_scalar(log, 2.0)
}

/// `ln(1 - u)`; at worst `log1p(-u)`, which keeps the digits of a small u.
fn log_of_complement(g: &mut Builder, u: ValueId) -> ValueId {
    if let Some(log) = logs::of_complement(g, u).filter(Log::gains) {
        return log.emit(g);
    }
    // ln(1 - e^l) for a product of probabilities, say. NaN on both sides for l > 0.
    if let Some(log) = logs::of(g, u).filter(Log::gains) {
        let log = log.emit(g);
        return g.log1m_exp(log);
    }
    let minus = g.neg(u);
    g.log1p(minus)
}

/// `ln(a - b)` for two exponentials, two normal and two logistic cdfs.
fn log_of_difference(g: &mut Builder, a: ValueId, b: ValueId) -> Option<ValueId> {
    let both = |g: &Builder, map: Unary| Some((under(g, a, map)?, under(g, b, map)?));
    if let Some((u, v)) = both(g, Unary::Exp) {
        return Some(g.log_sub_exp(u, v));
    }
    // sigmoid(u) - sigmoid(v) = sigmoid(u) sigmoid(-v) (1 - e^(v - u))
    if let Some((u, v)) = both(g, Unary::Sigmoid) {
        let gap = g.sub(v, u);
        let gap = g.log1m_exp(gap);
        let minus = g.neg(v);
        let (p, q) = (g.log_sigmoid(u), g.log_sigmoid(minus));
        let sum = g.add(p, q);
        return Some(g.add(sum, gap));
    }
    // Phi(u) - Phi(v) = Phi(-v) - Phi(-u): the tail in which both are small.
    if let Some((u, v)) = both(g, Unary::Ndtr) {
        let upper = g.compare_scalar(Binary::Gt, v, 0.0);
        let (minus_u, minus_v) = (g.neg(u), g.neg(v));
        let high = g.select(upper, minus_v, u);
        let low = g.select(upper, minus_u, v);
        let (high, low) = (g.log_ndtr(high), g.log_ndtr(low));
        return Some(g.log_sub_exp(high, low));
    }
    None
}

/// `ln sum w e^u = m + ln sum w e^(u - m)` for weights of any sign, `m` the largest `u`, held constant: the sum's value does
/// not depend on it.
fn log_of_weighted_sum(g: &mut Builder, product: ValueId, axes: &[usize]) -> Option<ValueId> {
    let node = g.graph().nodes[product].clone();
    let (a, b) = operands2(&node, Binary::Mul)?;
    let (weights, log) = match (logs::of(g, a).filter(Log::overflows), logs::of(g, b).filter(Log::overflows)) {
        (None, Some(log)) => (a, log),
        (Some(log), None) => (b, log),
        _ => return None,
    };
    let log = log.emit(g);
    let u = g.broadcast_to(log, node.shape.clone());
    // What counts nothing does not set the scale.
    let (zero, nothing) = (g.scalar(0.0), g.scalar(f64::NEG_INFINITY));
    let left_out = g.eq(weights, zero);
    let counted = g.select(left_out, nothing, u);
    let top = g.reduce(Reduction::Max, counted, axes);
    let top = g.stop_gradient(top);
    // Nothing is shifted by an infinity.
    let size = g.abs(top);
    let infinite = g.compare_scalar(Binary::Eq, size, f64::INFINITY);
    let shift = g.select(infinite, zero, top);
    let kept: Vec<usize> = (0..node.shape.rank()).map(|i| if axes.contains(&i) { 1 } else { node.shape[i] }).collect();
    let wide = g.reshape(shift, kept);
    let shifted = g.sub(u, wide);
    let e = g.exp(shifted);
    let terms = g.mul(weights, e);
    let sum = g.sum(terms, axes);
    let log = g.log(sum);
    Some(g.add(log, shift))
}

/// `ln(1 + u)` and `ln(1 - u)` for exponentials, probabilities and what is made of them; `log1p(expm1 u) = u`.
fn log1p(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let x = operand(node, Unary::Log1p)?;
    if let Some(u) = under(g, x, Unary::Expm1) {
        return Some(u);
    }
    if let Some(u) = under(g, x, Unary::Neg) {
        if let Some(log) = logs::of_complement(g, u).filter(Log::gains) {
            return Some(log.emit(g));
        }
        let log = logs::of(g, u).filter(Log::gains)?.emit(g);
        return Some(g.log1m_exp(log));
    }
    let log = logs::of(g, x).filter(Log::overflows)?.emit(g);
    Some(g.softplus(log))
}

/// `a ln v`, 0 where `a` is 0.
fn weighted_log(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let (a, v) = operands2(node, Binary::Xlogy)?;
    let log = logs::of(g, v).filter(Log::gains)?.emit(g);
    Some(g.push(Op::Binary(Binary::MulAbsorbing), &[a, log]))
}

/// `1 - sigmoid u = sigmoid(-u)`, `1 - Phi(u) = Phi(-u)`, `1 - erf u = erfc u`, `1 - erfc u = erf u`, `1 - e^u = -expm1 u`.
fn one_minus(g: &mut Builder, u: ValueId) -> Option<ValueId> {
    let &Node { op: Op::Unary(map), ref operands, .. } = &g.graph().nodes[u] else { return None };
    let x = operands[0];
    match map {
        Unary::Sigmoid => {
            let minus = g.neg(x);
            Some(g.sigmoid(minus))
        }
        Unary::Ndtr => {
            let minus = g.neg(x);
            Some(g.ndtr(minus))
        }
        Unary::Erf => Some(g.erfc(x)),
        Unary::Erfc => Some(g.erf(x)),
        Unary::Exp => {
            let e = g.expm1(x);
            Some(g.neg(e))
        }
        _ => None,
    }
}

/// Differences: complements, `e^u - 1 = expm1 u`, and `ln sigmoid(u) - ln sigmoid(-u) = u`, the log odds of a probability.
fn difference(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let (a, b) = operands2(node, Binary::Sub)?;
    if number(g, a) == Some(1.0) {
        return one_minus(g, b);
    }
    if number(g, b) == Some(1.0) {
        return under(g, a, Unary::Exp).map(|u| g.expm1(u));
    }
    let (u, v) = (under(g, a, Unary::LogSigmoid)?, under(g, b, Unary::LogSigmoid)?);
    (under(g, v, Unary::Neg) == Some(u)).then_some(u)
}

/// Sums: complements, `e^u + (-1) = expm1 u`, `1 + erf u = erfc(-u)`.
fn sum(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let (a, b) = operands2(node, Binary::Add)?;
    let (c, u) = match (number(g, a), number(g, b)) {
        (Some(c), None) => (c, b),
        (None, Some(c)) => (c, a),
        _ => return None,
    };
    if c == -1.0 {
        return under(g, u, Unary::Exp).map(|u| g.expm1(u));
    }
    if c != 1.0 {
        return None;
    }
    if let Some(u) = under(g, u, Unary::Neg) {
        return one_minus(g, u);
    }
    let x = under(g, u, Unary::Erf)?;
    let minus = g.neg(x);
    Some(g.erfc(minus))
}

/// `1 / (1 + e^u) = sigmoid(-u)`, `e^u / (1 + e^u) = sigmoid u`, and `a / b = e^(ln a - ln b)` where both overflow: a softmax
/// written out.
fn quotient(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let (over, under_) = match (&node.op, &node.operands[..]) {
        (Op::Unary(Unary::Recip), &[b]) => (None, b),
        (Op::Binary(Binary::Div), &[a, b]) => (Some(a), b),
        _ => return None,
    };
    let denominator = logs::of(g, under_).filter(Log::overflows)?;
    let numerator = match over {
        None => Log::Number(0.0),
        Some(a) => logs::of(g, a)?,
    };
    if let Log::Joined(a, b) = &denominator
        && let (Log::Number(0.0), rest) | (rest, Log::Number(0.0)) = (&**a, &**b)
    {
        match numerator {
            Log::Number(0.0) => {
                let u = rest.emit(g);
                let minus = g.neg(u);
                return Some(g.sigmoid(minus));
            }
            Log::Value(v) if matches!(rest, Log::Value(u) if *u == v) => return Some(g.sigmoid(v)),
            _ => {}
        }
    }
    if !numerator.overflows() {
        return None;
    }
    let log = Log::Sub(Box::new(numerator), Box::new(denominator)).emit(g);
    Some(g.exp(log))
}

/// `(e^u)^c = e^(c u)`: the power of what has overflowed is lost.
fn power(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let (base, exponent) = operands2(node, Binary::Pow)?;
    let u = under(g, base, Unary::Exp)?;
    let product = g.mul(exponent, u);
    Some(g.exp(product))
}

/// `sqrt(x^2) = |x|`
fn root(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let x = operand(node, Unary::Sqrt)?;
    if let Some(u) = under(g, x, Unary::Square) {
        return Some(g.abs(u));
    }
    let square = g.graph().nodes[x].clone();
    let (u, c) = operands2(&square, Binary::Pow)?;
    (number(g, c) == Some(2.0)).then(|| g.abs(u))
}

/// `p > 0 ? p : c = p` and `p > 0 ? l : -inf = l` for a `p` that is positive by construction. Densities guard their
/// logarithms so; a probability that has only underflowed to 0 must not count as impossible.
fn guard(g: &mut Builder, node: &Node) -> Option<ValueId> {
    let Op::Ternary(Ternary::Select) = node.op else { return None };
    let &[c, a, b] = &node.operands[..] else { return None };
    let condition = g.graph().nodes[c].clone();
    let (p, zero) = operands2(&condition, Binary::Gt)?;
    if number(g, zero) != Some(0.0) || !(a == p || number(g, b) == Some(f64::NEG_INFINITY)) {
        return None;
    }
    logs::of(g, p).filter(Log::gains).map(|_| a)
}

#[cfg(test)]
mod tests;
