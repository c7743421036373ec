//! Reverse mode: one sweep from a scalar back to what it depends on.
//!
//! In: a graph under construction, a scalar of it, values to differentiate by. Out: one cotangent per value, as further
//! nodes of the same graph, so that they are verified, simplified and planned like all others, and can be differentiated
//! again. Only nodes that depend on `wrt` are visited: the input gradient of a first layer is never built.

use crate::index::Idx;
use crate::ir::{Builder, ValueId};
use crate::ops::Op;
use crate::ops::vjp::Vjp;
use crate::source::Span;
use std::fmt;

/// An operation stands between the output and a value to differentiate by, and has a derivative that it cannot give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoGradient {
    /// The operation's name.
    pub op: &'static str,
    /// Which operand.
    pub operand: usize,
    /// The operation's result.
    pub value: ValueId,
    /// Where it comes from.
    pub origin: Option<Span>,
}

impl fmt::Display for NoGradient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` has no derivative in its operand {}", self.op, self.operand + 1)
    }
}

impl std::error::Error for NoGradient {}

/// The gradient of the scalar `output` by each of `wrt`, in the shape of each; zeros where `output` does not depend on it.
/// A value of `wrt` may itself depend on another one: derivatives are total.
///
/// # Errors
/// When an operation on the way has a derivative that it cannot give.
pub fn gradient(g: &mut Builder, output: ValueId, wrt: &[ValueId]) -> Result<Vec<ValueId>, NoGradient> {
    assert!(g.shape(output).is_empty(), "only scalars are differentiated");
    let n = output.index() + 1;
    let active = active(g, n, wrt);
    let mut cotangents: Vec<Option<ValueId>> = vec![None; n];
    cotangents[output.index()] = Some(g.scalar(1.0));
    let outer = g.set_origin(None);
    let result = sweep(g, n, &active, &mut cotangents);
    g.set_origin(outer);
    result?;
    Ok(wrt
        .iter()
        .map(|&w| match cotangents.get(w.index()).copied().flatten() {
            Some(cotangent) => cotangent,
            None => {
                let shape = g.shape(w);
                g.full(0.0, shape)
            }
        })
        .collect())
}

/// For the first `n` values, whether a derivative by one of `wrt` can flow through them.
fn active(g: &Builder, n: usize, wrt: &[ValueId]) -> Vec<bool> {
    let mut active = vec![false; n];
    for &w in wrt {
        if w.index() < n {
            active[w.index()] = true;
        }
    }
    for (id, node) in g.graph().nodes.iter_enumerated().take(n) {
        let through = !matches!(node.op, Op::StopGradient) && node.operands.iter().any(|o| active[o.index()]);
        active[id.index()] |= through;
    }
    active
}

fn sweep(g: &mut Builder, n: usize, active: &[bool], cotangents: &mut [Option<ValueId>]) -> Result<(), NoGradient> {
    for id in (0..n).rev().map(ValueId::new) {
        let Some(dy) = cotangents[id.index()].filter(|_| active[id.index()]) else { continue };
        let node = &g.graph().nodes[id];
        let needs: Vec<bool> = node.operands.iter().map(|o| active[o.index()]).collect();
        if !needs.contains(&true) {
            continue;
        }
        let (op, operands) = (node.op.clone(), node.operands.clone());
        let origin = g.graph().origins[id];
        g.set_origin(origin);
        let given = match &op {
            Op::Scan(looped) => super::looped::vjp(g, looped, &operands, (id, dy), &needs)?,
            op => {
                let mut vjp = Vjp::new(g, op, &operands, id, dy, &needs);
                op.vjp(&mut vjp);
                vjp.finish().map_err(|operand| NoGradient { op: op.name(), operand, value: id, origin })?
            }
        };
        for ((&operand, given), needed) in operands.iter().zip(given).zip(needs) {
            if let Some(cotangent) = given.filter(|_| needed) {
                let slot = &mut cotangents[operand.index()];
                *slot = Some(match *slot {
                    None => cotangent,
                    Some(sum) => g.add(sum, cotangent),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{DType, InputKind, Shape};
    use crate::ops::ConvAttrs;

    fn param(g: &mut Builder, name: &str, shape: impl Into<Shape>) -> ValueId {
        g.input(name, shape.into(), DType::Real, InputKind::Param)
    }

    #[test]
    fn independent_values_have_zero_gradient() {
        let mut g = Builder::new();
        let (x, y) = (param(&mut g, "x", []), param(&mut g, "y", [2, 3]));
        let out = g.exp(x);
        let grads = gradient(&mut g, out, &[x, y]).unwrap();
        assert_eq!(g.as_full(grads[1]), Some(0.0));
        assert_eq!(g.shape(grads[1]), Shape::from([2, 3]));
    }

    #[test]
    fn the_input_gradient_of_the_first_layer_is_not_built() {
        let mut g = Builder::new();
        let (x, w) = (param(&mut g, "x", [1, 1, 4, 4]), param(&mut g, "w", [2, 1, 3, 3]));
        let y = g.conv2d(x, w, ConvAttrs { stride: [1, 1], pad: [[0, 0]; 2], dilation: [1, 1], groups: 1 });
        let out = g.sum_all(y);
        gradient(&mut g, out, &[w]).unwrap();
        assert!(g.graph().nodes.iter().all(|n| !matches!(n.op, Op::Conv2dInputGrad { .. })));
        assert!(g.graph().nodes.iter().any(|n| matches!(n.op, Op::Conv2dWeightGrad { .. })));
    }

    #[test]
    fn an_operation_without_its_derivative_is_named() {
        let mut g = Builder::new();
        let x = param(&mut g, "x", []);
        let y = g.trigamma(x);
        let error = gradient(&mut g, y, &[x]).unwrap_err();
        assert_eq!((error.op, error.value), ("trigamma", y));
        let stopped = g.stop_gradient(y);
        assert!(gradient(&mut g, stopped, &[x]).is_ok());
    }
}
