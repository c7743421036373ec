//! Elementwise maps: shapes broadcast as NumPy's, cotangents are summed back. `unary.rs` and `binary.rs` hold a row for
//! each map: its name and derivative.

use super::kernel::Kernel;
#[cfg(test)]
use super::tests::{Fill, Sample, sample};
use super::vjp::Vjp;
use super::{Op, Operation, ShapeError, attributes, binary, decided, exactly, rules, unary};
use crate::ir::{DType, Shape};

/// The least meaning that holds for all: bool below int below real.
pub(super) fn join(dtypes: &[DType]) -> DType {
    if dtypes.contains(&DType::Real) {
        DType::Real
    } else if dtypes.contains(&DType::Int) {
        DType::Int
    } else {
        DType::Bool
    }
}

/// As [`join`], with booleans counted as ints.
pub(super) fn join_numbers(dtypes: &[DType]) -> DType {
    if join(dtypes) == DType::Real { DType::Real } else { DType::Int }
}

fn broadcast_all(operands: &[&Shape]) -> Result<Shape, ShapeError> {
    let mut shape = operands[0].to_vec();
    for other in &operands[1..] {
        shape = decided(|p| rules::broadcast(&shape, other, p))?;
    }
    Ok(shape.into())
}

/// A map of one operand.
pub(super) struct UnaryMap;
impl Operation for UnaryMap {
    fn name(op: &Op) -> &'static str {
        attributes!(&Op::Unary(map) = op);
        unary::row(map).name
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x] = exactly(operands)?;
        Ok(x.clone())
    }
    fn dtype(op: &Op, operands: &[DType]) -> DType {
        attributes!(&Op::Unary(map) = op);
        unary::dtype(map, operands[0])
    }
    fn kernel(op: &Op, _: &[&Shape], _: &Shape) -> Kernel {
        attributes!(&Op::Unary(map) = op);
        Kernel::Unary(map)
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::Unary(map) = v.op);
        (unary::row(map).vjp)(v);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        unary::ALL
            .iter()
            .map(|&map| {
                let [low, high] = unary::row(map).domain;
                sample(Op::Unary(map), [Fill::range([3, 5], low, high)])
            })
            .collect()
    }
}

/// A map of two operands.
pub(super) struct BinaryMap;
impl Operation for BinaryMap {
    fn name(op: &Op) -> &'static str {
        attributes!(&Op::Binary(map) = op);
        binary::row(map).name
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        broadcast_all(&exactly::<2>(operands)?)
    }
    fn dtype(op: &Op, operands: &[DType]) -> DType {
        attributes!(&Op::Binary(map) = op);
        binary::dtype(map, operands)
    }
    fn kernel(op: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        attributes!(&Op::Binary(map) = op);
        Kernel::binary(map, operands, result)
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::Binary(map) = v.op);
        (binary::row(map).vjp)(v);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        binary::samples()
    }
}

/// A map of three operands.
pub(super) struct TernaryMap;
impl Operation for TernaryMap {
    fn name(op: &Op) -> &'static str {
        attributes!(&Op::Ternary(map) = op);
        binary::ternary_row(map).name
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        broadcast_all(&exactly::<3>(operands)?)
    }
    fn dtype(op: &Op, operands: &[DType]) -> DType {
        attributes!(&Op::Ternary(map) = op);
        binary::ternary_dtype(map, operands)
    }
    fn kernel(op: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        attributes!(&Op::Ternary(map) = op);
        Kernel::ternary(map, operands, result)
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::Ternary(map) = v.op);
        (binary::ternary_row(map).vjp)(v);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        binary::ternary_samples()
    }
}
