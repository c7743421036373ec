//! A loop with a carry as one operation: its body is a graph of its own, run once for every iteration.
//!
//! The operands are arrays that give each iteration one entry (*elements*), values that every iteration sees whole
//! (*captures*), and where the *carries* start. The result is one flat vector: for each result of the body its values of
//! all iterations, then every carry as the last iteration left it. `Builder::scan` takes it apart.
//!
//! The body's loops are planned by `exec/`, its reverse sweep is written by `autodiff/`: neither is known here.

use super::kernel::Kernel;
#[cfg(test)]
use super::tests::Sample;
use super::vjp::Vjp;
use super::{Op, Operation, ShapeError, attributes};
use crate::ir::{DType, Graph, Shape};
use std::sync::Arc;

/// A loop: its body and how it is fed.
#[derive(Clone, PartialEq, Debug)]
pub struct LoopBody {
    /// The body. Inputs in order: elements (without their leading dimension), captures, carries. Outputs: the next
    /// carries, then the results.
    pub graph: Graph,
    /// The number of iterations.
    pub len: usize,
    /// Iterations run from the last to the first.
    pub reverse: bool,
    /// How many inputs are elements.
    pub elements: usize,
    /// How many inputs are captures.
    pub captures: usize,
    /// How many inputs are carries.
    pub carries: usize,
    /// How many of the last results are the carries as each iteration found them: kept for the reverse sweep.
    pub kept: usize,
    /// As of [`Op::Noise`]: iteration `i` draws from this stream folded with `i`.
    pub stream: u32,
}

impl LoopBody {
    /// The shapes of the body's results.
    pub fn results(&self) -> impl Iterator<Item = &Shape> {
        self.graph.outputs[self.carries..].iter().map(|&(_, value)| self.graph.shape(value))
    }
    /// The shapes of the carries.
    pub fn carry_shapes(&self) -> impl Iterator<Item = &Shape> {
        self.graph.inputs.iter().skip(self.elements + self.captures).map(|input| &input.shape)
    }
    /// The elements of the whole operation's result.
    pub fn count(&self) -> usize {
        let results: usize = self.results().map(Shape::count).sum();
        let carries: usize = self.carry_shapes().map(Shape::count).sum();
        self.len * results + carries
    }
    /// Where the values of result `i` begin in the flat result.
    pub fn result_offset(&self, i: usize) -> usize {
        self.len * self.results().take(i).map(Shape::count).sum::<usize>()
    }
    /// Where the last value of carry `i` begins in the flat result.
    pub fn carry_offset(&self, i: usize) -> usize {
        let results: usize = self.results().map(Shape::count).sum();
        self.len * results + self.carry_shapes().take(i).map(Shape::count).sum::<usize>()
    }
    /// Whether the body draws random numbers.
    pub fn is_random(&self) -> bool {
        self.graph.nodes.iter().any(|node| node.op.is_random())
    }
}

/// A shared [`LoopBody`].
#[derive(Clone)]
pub struct Loop(pub Arc<LoopBody>);

impl PartialEq for Loop {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}
impl std::fmt::Debug for Loop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let b = &self.0;
        write!(f, "Loop {{ len: {}, reverse: {}, nodes: {}, carries: {} }}", b.len, b.reverse, b.graph.len(), b.carries)
    }
}

/// A loop.
pub(super) struct Scan;
impl Operation for Scan {
    fn name(_: &Op) -> &'static str {
        "scan"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        attributes!(Op::Scan(Loop(body)) = op);
        let needed = body.elements + body.captures + body.carries;
        if operands.len() != needed {
            return Err(ShapeError::Arity { needed, found: operands.len() });
        }
        for (i, (input, operand)) in body.graph.inputs.iter().zip(operands).enumerate() {
            let fits = match i < body.elements {
                true => operand.rank() > 0 && operand[0] == body.len && operand[1..] == input.shape[..],
                false => **operand == input.shape,
            };
            if !fits {
                let needed = input.shape.rank() + usize::from(i < body.elements);
                return Err(ShapeError::Rank { operand: "operand of a loop", shape: operand.to_vec(), needed });
            }
        }
        Ok(Shape::from([body.count()]))
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(_: &Op, _: &[&Shape], _: &Shape) -> Kernel {
        unreachable!("loops are planned by exec")
    }
    fn vjp(_: &mut Vjp) {
        unreachable!("loops are differentiated by autodiff")
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        // Tested with their executor and their reverse sweep.
        Vec::new()
    }
}
