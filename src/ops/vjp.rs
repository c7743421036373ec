//! What a vector-Jacobian product sees, and the products that respect a zero cotangent.
//!
//! **Zero cotangents absorb.** `select` gives the branch that is not taken a cotangent of exactly 0, and what feeds that
//! branch may have an infinite or undefined derivative there (`log` at 0). `0 * inf` would bring NaN into the gradient of
//! what is shared with the other branch, so products of a cotangent with a derivative that can be infinite or NaN use
//! [`Vjp::scale`]: 0 where the cotangent is 0, whatever the derivative is. Its own derivatives are again such products,
//! so this holds for higher derivatives too.

use super::Op;
use crate::ir::{Builder, Shape, ValueId};
use crate::kernels::elementwise::Binary;

/// One application of a vector-Jacobian product: `y = op(x…)`, cotangent `dy` of `y`.
pub(crate) struct Vjp<'a> {
    /// Where the cotangents are built.
    pub g: &'a mut Builder,
    /// The operation.
    pub op: &'a Op,
    /// Its operands.
    pub x: &'a [ValueId],
    /// Its result.
    pub y: ValueId,
    /// The cotangent of its result.
    pub dy: ValueId,
    needs: &'a [bool],
    given: Vec<Option<ValueId>>,
    refused: Option<usize>,
}

impl<'a> Vjp<'a> {
    /// For the operands that `needs` marks.
    pub fn new(g: &'a mut Builder, op: &'a Op, x: &'a [ValueId], y: ValueId, dy: ValueId, needs: &'a [bool]) -> Self {
        Self { g, op, x, y, dy, needs, given: vec![None; x.len()], refused: None }
    }
    /// The cotangents, one per operand; or the operand for which the operation has a derivative that it cannot give.
    pub fn finish(self) -> Result<Vec<Option<ValueId>>, usize> {
        match self.refused {
            Some(operand) => Err(operand),
            None => Ok(self.given),
        }
    }
    /// Whether anyone wants the cotangent of operand `i`.
    pub fn needs(&self, i: usize) -> bool {
        self.needs[i]
    }
    /// Sets the cotangent of operand `i`, in the operand's shape.
    pub fn give(&mut self, i: usize, cotangent: ValueId) {
        debug_assert_eq!(self.g.shape(cotangent), self.g.shape(self.x[i]), "{} operand {i}", self.op.name());
        self.given[i] = Some(cotangent);
    }
    /// Sets the cotangent of a broadcasting operand: summed down to the operand's shape.
    pub fn give_summed(&mut self, i: usize, cotangent: ValueId) {
        let shape = self.shape(i);
        let summed = self.g.sum_to(cotangent, &shape);
        self.give(i, summed);
    }
    /// Says that operand `i` has a derivative that is not implemented.
    pub fn refuse(&mut self, i: usize) {
        if self.needs[i] && self.refused.is_none() {
            self.refused = Some(i);
        }
    }
    /// The shape of operand `i`.
    pub fn shape(&self, i: usize) -> Shape {
        self.g.shape(self.x[i])
    }
    /// `dy * derivative`, and 0 where `dy` is 0.
    pub fn scale(&mut self, derivative: ValueId) -> ValueId {
        absorbing_mul(self.g, self.dy, derivative)
    }
}

/// `a * b`, and 0 where `a` is 0 even if `b` is infinite or NaN.
pub(crate) fn absorbing_mul(g: &mut Builder, a: ValueId, b: ValueId) -> ValueId {
    g.push(Op::Binary(Binary::MulAbsorbing), &[a, b])
}
