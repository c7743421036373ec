//! The graph: operations in topological order, each with one result of a known shape.
//!
//! Nodes refer only backwards, so index order is execution order. There is one numeric type on the tape, `F` (f32 or
//! f64, chosen when the graph is planned); ints and booleans are exact in it (booleans are 0 and 1), which the binding
//! of data checks. [`DType`] keeps what a value means, for printing and verification.

use crate::index::{Idx, IndexVec};
use crate::index_type;
use crate::ops::Op;
use crate::source::Span;
use std::fmt;
use std::ops::Deref;

index_type!(
    /// A value: the result of one node.
    ValueId, "%"
);
index_type!(
    /// An input of the graph, given anew at every run.
    InputId, "in"
);
index_type!(
    /// A constant array held by the graph.
    ConstantId, "const"
);

/// The extents of an array, outermost first; empty for a scalar. Row-major.
#[derive(Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// A scalar's shape.
    pub fn scalar() -> Self {
        Self(Vec::new())
    }
    /// The number of elements.
    pub fn count(&self) -> usize {
        self.0.iter().product()
    }
    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }
    /// The extents as a vector.
    pub fn to_vec(&self) -> Vec<usize> {
        self.0.clone()
    }
    /// All but the last `n` dimensions: the batch shape when `n` is the event rank.
    pub fn drop_last(&self, n: usize) -> Shape {
        Shape(self.0[..self.0.len().saturating_sub(n)].to_vec())
    }
    /// `self` followed by `other`.
    pub fn concat(&self, other: &[usize]) -> Shape {
        Shape(self.0.iter().chain(other).copied().collect())
    }
    /// The shape that both broadcast to, aligned from the right, 1 stretching; `None` when they do not fit.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let at = |s: &Shape, i: usize| if i + s.rank() >= rank { s.0[i + s.rank() - rank] } else { 1 };
        (0..rank)
            .map(|i| match (at(self, i), at(other, i)) {
                (a, b) if a == b => Some(a),
                (1, b) => Some(b),
                (a, 1) => Some(a),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(Shape)
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}
impl From<Vec<usize>> for Shape {
    fn from(v: Vec<usize>) -> Self {
        Shape(v)
    }
}
impl From<&[usize]> for Shape {
    fn from(v: &[usize]) -> Self {
        Shape(v.to_vec())
    }
}
impl<const N: usize> From<[usize; N]> for Shape {
    fn from(v: [usize; N]) -> Self {
        Shape(v.to_vec())
    }
}
impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What the numbers of a value mean.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DType {
    /// Real numbers.
    Real,
    /// Whole numbers, exact in `F`.
    Int,
    /// 0 or 1.
    Bool,
}

/// What an input is for; says how often it changes and whether anyone differentiates by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum InputKind {
    /// A trainable parameter, or a coordinate of a sampler.
    Param,
    /// Data: the same at every run.
    Data,
    /// Data of the current minibatch (rows, row indices), or a number that changes from step to step.
    Batch,
}

/// An input of the graph.
#[derive(Clone, PartialEq, Debug)]
pub struct Input {
    /// Its name, for messages and printing.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// What it is for.
    pub kind: InputKind,
}

/// One operation and its result.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// The operation with its attributes.
    pub op: Op,
    /// What it reads; all earlier in the graph.
    pub operands: Vec<ValueId>,
    /// The shape of its result.
    pub shape: Shape,
    /// What the result's numbers mean.
    pub dtype: DType,
}

/// A constant array.
#[derive(Clone, PartialEq, Debug)]
pub struct Constant {
    /// Its shape.
    pub shape: Shape,
    /// Its elements, row-major.
    pub data: std::sync::Arc<Vec<f64>>,
}

/// Operations in topological order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Graph {
    /// The nodes.
    pub nodes: IndexVec<ValueId, Node>,
    /// The source place that each node comes from; beside the nodes, so that equality of nodes ignores it.
    pub origins: IndexVec<ValueId, Option<Span>>,
    /// The inputs; the node that reads input `i` is `Op::Input(i)`.
    pub inputs: IndexVec<InputId, Input>,
    /// The constant arrays.
    pub constants: IndexVec<ConstantId, Constant>,
    /// The results that a run hands out, in order, with their names.
    pub outputs: Vec<(String, ValueId)>,
}

impl Graph {
    /// The shape of `value`.
    pub fn shape(&self, value: ValueId) -> &Shape {
        &self.nodes[value].shape
    }
    /// The input that `value` reads; panics when it is computed.
    pub fn input_of(&self, value: ValueId) -> InputId {
        match self.nodes[value].op {
            Op::Input(input) => input,
            ref op => unreachable!("{op:?} is no input"),
        }
    }
    /// For every value, whether it depends (through any operand) on one of `roots`.
    pub fn depends_on(&self, roots: &[ValueId]) -> IndexVec<ValueId, bool> {
        let mut depends: IndexVec<ValueId, bool> = self.nodes.iter().map(|_| false).collect();
        for (id, node) in self.nodes.iter_enumerated() {
            depends[id] = roots.contains(&id) || node.operands.iter().any(|&o| depends[o]);
        }
        depends
    }
    /// For every value, how many operand places read it; outputs count as one reader each.
    pub fn use_counts(&self) -> IndexVec<ValueId, usize> {
        let mut uses: IndexVec<ValueId, usize> = self.nodes.iter().map(|_| 0).collect();
        for node in &self.nodes {
            for &operand in &node.operands {
                uses[operand] += 1;
            }
        }
        for &(_, value) in &self.outputs {
            uses[value] += 1;
        }
        uses
    }
    /// The same graph with its inputs in another order: input `order[i]` becomes input `i`.
    pub fn with_inputs_in_order(mut self, order: &[usize]) -> Graph {
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(i, &old)| place[old] = i);
        self.inputs = order.iter().map(|&old| self.inputs[InputId::new(old)].clone()).collect();
        for node in self.nodes.iter_mut() {
            if let Op::Input(input) = &mut node.op {
                *input = InputId::new(place[input.index()]);
            }
        }
        self
    }
    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }
    /// True when there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
    /// The last value. Panics on an empty graph.
    pub fn last(&self) -> ValueId {
        ValueId::new(self.nodes.len() - 1)
    }
}
