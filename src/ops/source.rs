//! Operations without operands: inputs, constants, fills, counting.

use super::kernel::Kernel;
#[cfg(test)]
use super::tests::{Fill, Sample, sample};
use super::vjp::Vjp;
use super::{Op, Operation, ShapeError, attributes, exactly};
use crate::ir::{DType, Shape};

/// Reads an input.
pub(super) struct Input;
impl Operation for Input {
    fn name(_: &Op) -> &'static str {
        "input"
    }
    fn shape(_: &Op, _: &[&Shape]) -> Result<Shape, ShapeError> {
        unreachable!("the graph's list of inputs has the shape")
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        unreachable!("the node of an input has its dtype")
    }
    fn kernel(_: &Op, _: &[&Shape], _: &Shape) -> Kernel {
        unreachable!("the executor places inputs")
    }
    fn vjp(_: &mut Vjp) {}
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![]
    }
}

/// Reads a constant array.
pub(super) struct Constant;
impl Operation for Constant {
    fn name(_: &Op) -> &'static str {
        "constant"
    }
    fn shape(_: &Op, _: &[&Shape]) -> Result<Shape, ShapeError> {
        unreachable!("the graph's list of constants has the shape")
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        unreachable!("the node of a constant has its dtype")
    }
    fn kernel(_: &Op, _: &[&Shape], _: &Shape) -> Kernel {
        unreachable!("the executor places constants")
    }
    fn vjp(_: &mut Vjp) {}
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![]
    }
}

/// One number everywhere.
pub(super) struct Full;
impl Operation for Full {
    fn name(_: &Op) -> &'static str {
        "full"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [] = exactly(operands)?;
        attributes!(Op::Full { shape, .. } = op);
        Ok(shape.clone())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, _: &[&Shape], _: &Shape) -> Kernel {
        attributes!(&Op::Full { value, .. } = op);
        Kernel::Fill(value)
    }
    fn vjp(_: &mut Vjp) {}
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![sample(Op::Full { value: 1.5, shape: [3, 2].into() }, [])]
    }
}

/// `0, 1, …, n - 1`
pub(super) struct Iota;
impl Operation for Iota {
    fn name(_: &Op) -> &'static str {
        "iota"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [] = exactly(operands)?;
        attributes!(Op::Iota { n } = op);
        Ok(Shape::from([*n]))
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Int
    }
    fn kernel(_: &Op, _: &[&Shape], _: &Shape) -> Kernel {
        Kernel::Iota
    }
    fn vjp(_: &mut Vjp) {}
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![sample(Op::Iota { n: 5 }, [])]
    }
}
