//! Random numbers on the tape: noise for reparameterized draws, and forward draws from distributions.
//!
//! A random node is a function of the run's key and its stream number alone; element `i` comes from counter `i`, so the
//! numbers do not depend on the thread count or on what else the graph holds.

use super::vjp::Vjp;
use super::{Op, Operation, ShapeError, attributes, exactly};
use crate::ir::{DType, Shape};

/// Standard noise.
pub(super) struct Noise;
impl Operation for Noise {
    fn name(_: &Op) -> &'static str {
        "noise"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [] = exactly(operands)?;
        attributes!(Op::Noise { shape, .. } = op);
        Ok(shape.clone())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn vjp(_: &mut Vjp) {}
}

/// Draws from a distribution.
pub(super) struct Draw;
impl Operation for Draw {
    fn name(_: &Op) -> &'static str {
        "draw"
    }
    fn shape(op: &Op, _: &[&Shape]) -> Result<Shape, ShapeError> {
        attributes!(Op::Draw { shape, .. } = op);
        Ok(shape.clone())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn vjp(_: &mut Vjp) {}
}
