//! Logarithms that are known without taking them: `ln e^u = u`, `ln sigmoid u`, and what products, sums and moves make of
//! them.
//!
//! [`of`] says how the logarithm of a value is computed from what the value was made of, or `None`. It says so only for
//! values that are positive by construction, so that `ln(a b) = ln a + ln b` and its relatives hold for all inputs: two
//! negative factors, whose product has a logarithm although they have none, never get here. Nothing is appended to the
//! graph before [`Log::emit`].

use crate::ir::Builder;
use crate::ir::graph::{Node, Shape, ValueId};
use crate::kernels::elementwise::{Binary, Ternary, Unary};
use crate::ops::{Op, Reduction};
use std::f64::consts::{LN_2, SQRT_2};

/// How deep a value is looked into. What people write by hand is far shallower; a shared subexpression that doubles at
/// every level must not be walked exponentially often.
const MAX_DEPTH: usize = 10;
/// Constants of more elements are not compared element by element.
const MAX_NUMBER: usize = 64;

/// The logarithm of a value.
#[derive(Clone, Debug)]
pub(super) enum Log {
    /// It is a number.
    Number(f64),
    /// It is this value: the value was `e^u`.
    Value(ValueId),
    /// It is `-u`.
    Minus(ValueId),
    /// It is `map(u)`.
    Map(Unary, ValueId),
    /// It is `map(-u)`.
    MapMinus(Unary, ValueId),
    /// It is `ln erfc u = ln 2 + ln Phi(-sqrt(2) u)`.
    Erfc(ValueId),
    /// Positive, but nothing better is known than to take the logarithm.
    Plain(ValueId),
    /// The sum of two.
    Add(Box<Log>, Box<Log>),
    /// The difference of two.
    Sub(Box<Log>, Box<Log>),
    /// A number times another.
    Times(f64, Box<Log>),
    /// An exponent times the logarithm of its base.
    Power(ValueId, Box<Log>),
    /// `ln(e^a + e^b)`
    Joined(Box<Log>, Box<Log>),
    /// `ln sum`, `ln prod`, `ln max`, `ln min` over axes of an array of this shape.
    Reduced(Reduction, Vec<usize>, Box<Log>, Shape),
    /// Elements of an array of this shape moved by an operation with further operands.
    Moved(Op, Box<Log>, Shape, Vec<ValueId>),
    /// Arrays of these shapes joined along an axis.
    Concat(usize, Vec<(Log, Shape)>),
    /// Chosen by a condition.
    Select(ValueId, Box<Log>, Box<Log>),
}

/// The number that `v` is everywhere, however it is written.
pub(super) fn number(g: &Builder, v: ValueId) -> Option<f64> {
    let node = &g.graph().nodes[v];
    match &node.op {
        Op::Full { value, .. } => Some(*value),
        Op::Constant(id) => {
            let data = &g.graph().constants[*id].data;
            let first = *data.first()?;
            (data.len() <= MAX_NUMBER && data.iter().all(|&x| x == first)).then_some(first)
        }
        Op::ToReal | Op::Reshape { .. } | Op::Broadcast { .. } => number(g, node.operands[0]),
        Op::Unary(Unary::Neg) => number(g, node.operands[0]).map(|x| -x),
        _ => None,
    }
}

/// The operand of `v`, if `v` is `map` of something.
pub(super) fn under(g: &Builder, v: ValueId, map: Unary) -> Option<ValueId> {
    match &g.graph().nodes[v] {
        Node { op: Op::Unary(m), operands, .. } if *m == map => Some(operands[0]),
        _ => None,
    }
}

/// The `u` of `1 - u`, by whichever way it is written.
pub(super) fn complement(g: &Builder, v: ValueId) -> Option<ValueId> {
    let node = &g.graph().nodes[v];
    match (&node.op, &node.operands[..]) {
        (Op::Binary(Binary::Sub), &[a, b]) if number(g, a) == Some(1.0) => Some(b),
        (Op::Binary(Binary::Add), &[a, b]) if number(g, a) == Some(1.0) => under(g, b, Unary::Neg),
        (Op::Binary(Binary::Add), &[a, b]) if number(g, b) == Some(1.0) => under(g, a, Unary::Neg),
        _ => None,
    }
}

/// The logarithm of `v`, where `v` is positive by construction (or 0 by underflow).
pub(super) fn of(g: &Builder, v: ValueId) -> Option<Log> {
    log(g, v, MAX_DEPTH)
}

/// The logarithm of `1 - v`, where both `v` and `1 - v` are positive by construction.
pub(super) fn of_complement(g: &Builder, v: ValueId) -> Option<Log> {
    log_complement(g, v, MAX_DEPTH)
}

fn log(g: &Builder, v: ValueId, depth: usize) -> Option<Log> {
    let depth = depth.checked_sub(1)?;
    if let Some(c) = number(g, v) {
        return (c > 0.0 && c.is_finite()).then(|| Log::Number(c.ln()));
    }
    let node = &g.graph().nodes[v];
    let boxed = |v: ValueId| log(g, v, depth).map(Box::new);
    let x = node.operands.first().copied();
    Some(match (&node.op, &node.operands[..]) {
        (Op::Unary(map), &[x]) => match map {
            Unary::Exp => Log::Value(x),
            Unary::Sigmoid => Log::Map(Unary::LogSigmoid, x),
            Unary::Ndtr => Log::Map(Unary::LogNdtr, x),
            Unary::Erfc => Log::Erfc(x),
            Unary::Softplus => Log::Plain(v),
            // cosh x = (e^x + e^-x) / 2
            Unary::Cosh => {
                let joined = Log::Joined(Box::new(Log::Value(x)), Box::new(Log::Minus(x)));
                Log::Sub(Box::new(joined), Box::new(Log::Number(LN_2)))
            }
            Unary::Sqrt => Log::Times(0.5, boxed(x)?),
            Unary::Rsqrt => Log::Times(-0.5, boxed(x)?),
            Unary::Recip => Log::Times(-1.0, boxed(x)?),
            Unary::Square => Log::Times(2.0, boxed(x)?),
            // -(e^u - 1) for u < 0
            Unary::Neg => {
                let u = under(g, x, Unary::Expm1).filter(|&u| is_negative(g, u, depth))?;
                Log::Map(Unary::Log1mExp, u)
            }
            _ => return None,
        },
        (Op::Binary(map), &[a, b]) => match map {
            Binary::Mul => Log::Add(boxed(a)?, boxed(b)?),
            Binary::Div => Log::Sub(boxed(a)?, boxed(b)?),
            Binary::Add => match complement(g, v) {
                Some(u) => return log_complement(g, u, depth),
                None => Log::Joined(boxed(a)?, boxed(b)?),
            },
            Binary::Sub => return log_complement(g, complement(g, v)?, depth),
            Binary::Pow => match number(g, b) {
                Some(c) => Log::Times(c, boxed(a)?),
                None => Log::Power(b, boxed(a)?),
            },
            Binary::Maximum | Binary::Minimum => return None,
            _ => return None,
        },
        (Op::Ternary(Ternary::Select), &[c, a, b]) => Log::Select(c, boxed(a)?, boxed(b)?),
        (Op::Reduce { kind, axes }, &[x]) if *kind != Reduction::LogSumExp => {
            Log::Reduced(*kind, axes.clone(), boxed(x)?, g.shape(x))
        }
        // Entries of a Cholesky factor's diagonal are positive.
        (Op::Diagonal, &[l]) if g.graph().nodes[l].op == Op::Cholesky => Log::Plain(v),
        (Op::Concat { axis }, parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(|&p| Some((log(g, p, depth)?, g.shape(p)))).collect();
            Log::Concat(*axis, parts?)
        }
        (
            Op::Reshape { .. }
            | Op::Broadcast { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Gather
            | Op::Pick
            | Op::StopGradient,
            _,
        ) => {
            let x = x.expect("these operations have an operand");
            Log::Moved(node.op.clone(), boxed(x)?, g.shape(x), node.operands[1..].to_vec())
        }
        _ => return None,
    })
}

fn log_complement(g: &Builder, v: ValueId, depth: usize) -> Option<Log> {
    let depth = depth.checked_sub(1)?;
    if let Some(c) = number(g, v) {
        return (0.0..1.0).contains(&c).then(|| Log::Number((-c).ln_1p()));
    }
    if let Some(u) = complement(g, v) {
        return log(g, u, depth);
    }
    let node = &g.graph().nodes[v];
    let boxed = |v: ValueId| log_complement(g, v, depth).map(Box::new);
    Some(match (&node.op, &node.operands[..]) {
        (Op::Unary(Unary::Sigmoid), &[u]) => Log::MapMinus(Unary::LogSigmoid, u),
        (Op::Unary(Unary::Ndtr), &[u]) => Log::MapMinus(Unary::LogNdtr, u),
        (Op::Unary(Unary::Exp), &[u]) if is_negative(g, u, depth) => Log::Map(Unary::Log1mExp, u),
        // 1 - -(e^u - 1) = e^u
        (Op::Unary(Unary::Neg), &[u]) => Log::Value(under(g, u, Unary::Expm1)?),
        (Op::Ternary(Ternary::Select), &[c, a, b]) => Log::Select(c, boxed(a)?, boxed(b)?),
        (Op::Concat { axis }, parts) => {
            let parts: Option<Vec<_>> =
                parts.iter().map(|&p| Some((log_complement(g, p, depth)?, g.shape(p)))).collect();
            Log::Concat(*axis, parts?)
        }
        (
            Op::Reshape { .. }
            | Op::Broadcast { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Gather
            | Op::Pick
            | Op::StopGradient,
            &[x, ..],
        ) => Log::Moved(node.op.clone(), boxed(x)?, g.shape(x), node.operands[1..].to_vec()),
        _ => return None,
    })
}

/// Whether `v` is negative by construction (or 0 by underflow).
fn is_negative(g: &Builder, v: ValueId, depth: usize) -> bool {
    let node = &g.graph().nodes[v];
    match (&node.op, &node.operands[..]) {
        (Op::Unary(Unary::Neg), &[x]) => log(g, x, depth).is_some(),
        (Op::Unary(Unary::LogSigmoid | Unary::LogNdtr | Unary::Log1mExp), _) => true,
        (Op::Binary(Binary::Mul), &[a, b]) => {
            let (minus_a, minus_b) = (number(g, a).is_some_and(|c| c < 0.0), number(g, b).is_some_and(|c| c < 0.0));
            (minus_a && log(g, b, depth).is_some()) || (minus_b && log(g, a, depth).is_some())
        }
        _ => number(g, v).is_some_and(|c| c < 0.0),
    }
}

impl Log {
    /// Whether something is gained over taking the logarithm of the value: digits, or range.
    pub(super) fn gains(&self) -> bool {
        match self {
            Log::Number(_) | Log::Plain(_) => false,
            Log::Value(_) | Log::Minus(_) | Log::Map(..) | Log::MapMinus(..) | Log::Erfc(_) => true,
            Log::Power(..) | Log::Reduced(Reduction::Prod, ..) => true,
            Log::Add(a, b) | Log::Sub(a, b) | Log::Joined(a, b) | Log::Select(_, a, b) => a.gains() || b.gains(),
            Log::Times(_, a) | Log::Reduced(_, _, a, _) | Log::Moved(_, a, ..) => a.gains(),
            Log::Concat(_, parts) => parts.iter().any(|(p, _)| p.gains()),
        }
    }
    /// Whether the value itself overflows for ordinary inputs: an exponential or a power is in it.
    pub(super) fn overflows(&self) -> bool {
        match self {
            Log::Value(_) | Log::Minus(_) | Log::Power(..) => true,
            Log::Number(_) | Log::Plain(_) | Log::Map(..) | Log::MapMinus(..) | Log::Erfc(_) => false,
            Log::Add(a, b) | Log::Sub(a, b) | Log::Joined(a, b) | Log::Select(_, a, b) => {
                a.overflows() || b.overflows()
            }
            Log::Times(_, a) | Log::Reduced(_, _, a, _) | Log::Moved(_, a, ..) => a.overflows(),
            Log::Concat(_, parts) => parts.iter().any(|(p, _)| p.overflows()),
        }
    }

    /// Appends it; its shape is at most that of the value, to which it broadcasts.
    pub(super) fn emit(&self, g: &mut Builder) -> ValueId {
        match self {
            Log::Number(c) => g.scalar(*c),
            Log::Value(u) => *u,
            Log::Minus(u) => g.neg(*u),
            Log::Map(map, u) => g.push(Op::Unary(*map), &[*u]),
            Log::MapMinus(map, u) => {
                let minus = g.neg(*u);
                g.push(Op::Unary(*map), &[minus])
            }
            Log::Erfc(u) => {
                let z = g.mul_scalar(*u, -SQRT_2);
                let log_cdf = g.log_ndtr(z);
                g.add_scalar(log_cdf, LN_2)
            }
            Log::Plain(v) => g.log(*v),
            Log::Add(a, b) => match (&**a, &**b) {
                (Log::Number(c), x) | (x, Log::Number(c)) => {
                    let x = x.emit(g);
                    if *c == 0.0 { x } else { g.add_scalar(x, *c) }
                }
                _ => {
                    let (a, b) = (a.emit(g), b.emit(g));
                    g.add(a, b)
                }
            },
            Log::Sub(a, b) => match (&**a, &**b) {
                (x, Log::Number(c)) => {
                    let x = x.emit(g);
                    g.add_scalar(x, -c)
                }
                (Log::Number(0.0), x) => {
                    let x = x.emit(g);
                    g.neg(x)
                }
                _ => {
                    let (a, b) = (a.emit(g), b.emit(g));
                    g.sub(a, b)
                }
            },
            Log::Times(c, a) => {
                let a = a.emit(g);
                if *c == -1.0 { g.neg(a) } else { g.mul_scalar(a, *c) }
            }
            Log::Power(exponent, a) => {
                let a = a.emit(g);
                g.mul(*exponent, a)
            }
            Log::Joined(a, b) => match (&**a, &**b) {
                (Log::Number(0.0), x) | (x, Log::Number(0.0)) => {
                    let x = x.emit(g);
                    g.softplus(x)
                }
                _ => {
                    let (a, b) = (a.emit(g), b.emit(g));
                    g.log_add_exp(a, b)
                }
            },
            Log::Reduced(kind, axes, a, shape) => {
                let a = whole(g, a, shape);
                let kind = match kind {
                    Reduction::Sum => Reduction::LogSumExp,
                    Reduction::Prod => Reduction::Sum,
                    // The logarithm is increasing.
                    Reduction::Max => Reduction::Max,
                    Reduction::Min => Reduction::Min,
                    Reduction::LogSumExp => unreachable!("left out above: it may be negative"),
                };
                g.reduce(kind, a, axes)
            }
            Log::Moved(op, a, shape, rest) => {
                let a = whole(g, a, shape);
                let operands: Vec<ValueId> = std::iter::once(a).chain(rest.iter().copied()).collect();
                g.push(op.clone(), &operands)
            }
            Log::Concat(axis, parts) => {
                let parts: Vec<ValueId> = parts.iter().map(|(p, shape)| whole(g, p, shape)).collect();
                g.concat(&parts, *axis)
            }
            Log::Select(c, a, b) => {
                let (a, b) = (a.emit(g), b.emit(g));
                g.select(*c, a, b)
            }
        }
    }
}

/// `log` in the shape of the value that it is the logarithm of.
fn whole(g: &mut Builder, log: &Log, shape: &Shape) -> ValueId {
    let value = log.emit(g);
    g.broadcast_to(value, shape.clone())
}
