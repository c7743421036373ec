//! What the scheduler hands to the planner: steps over buffers that have no place yet.

use super::looped::LoopKernel;
use crate::index::IndexVec;
use crate::index_type;
use crate::ir::graph::ValueId;
use crate::kernels::Scalar;
use crate::kernels::elementwise::{Binary, Ternary, Unary};
use crate::ops::NoiseKind;
use crate::ops::kernel::{Inputs, Kernel, row_major};
use crate::rng::Key;

index_type!(
    /// A place for numbers; has an address once it is planned.
    BufferId, "b"
);

/// What a buffer holds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Content {
    /// An input, written from outside.
    Input,
    /// A constant array, written when the plan is made.
    Constant,
    /// One number, likewise.
    Number(f64),
    /// The result of a step.
    Computed,
}

/// A place for numbers.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    /// The number of elements.
    pub len: usize,
    /// What it holds.
    pub content: Content,
    /// The value that it was made for.
    pub value: ValueId,
    /// Whether anybody reads it from memory; values that only pass through registers are not stored.
    pub stored: bool,
}

/// A window on a buffer.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct View {
    pub buffer: BufferId,
    pub offset: usize,
    pub dims: Vec<usize>,
    pub strides: Vec<usize>,
}

impl View {
    pub fn whole(buffer: BufferId, shape: &[usize]) -> Self {
        View { buffer, offset: 0, dims: shape.to_vec(), strides: row_major(shape) }
    }
    /// The number of elements.
    pub fn count(&self) -> usize {
        self.dims.iter().product()
    }
    /// Whether the elements lie side by side in order.
    pub fn is_contiguous(&self) -> bool {
        let mut step = 1;
        self.count() == 0
            || self.dims.iter().zip(&self.strides).rev().all(|(&dim, &stride)| {
                let fits = dim == 1 || stride == step;
                step *= dim;
                fits
            })
    }
    /// Whether all elements are one and the same.
    pub fn is_one_number(&self) -> bool {
        self.dims.iter().zip(&self.strides).all(|(&dim, &stride)| dim == 1 || stride == 0)
    }
    /// Whether element `i` of the view is element `i` of its buffer, for `count` elements.
    pub fn is_in_step(&self, count: usize) -> bool {
        self.offset == 0 && self.count() == count && self.is_contiguous()
    }
    /// As an operand of a map with a result of shape `dims`.
    pub fn stretched(&self, dims: &[usize]) -> View {
        let lead = dims.len() - self.dims.len();
        let strides = (0..dims.len())
            .map(|i| if i < lead || self.dims[i - lead] != dims[i] { 0 } else { self.strides[i - lead] })
            .collect();
        View { buffer: self.buffer, offset: self.offset, dims: dims.to_vec(), strides }
    }
}

/// What a member of a group computes.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Rule {
    /// A map.
    Unary(Unary),
    /// A map.
    Binary(Binary),
    /// A map.
    Ternary(Ternary),
    /// Noise of a stream: made where it is read, without an operand.
    Noise(NoiseKind, u32),
    /// The products of the rows of operand 0 `[count, terms]` with operand 1 `[terms]`, both in memory.
    RowProducts,
    /// Sums of operand 0, whose shape is `dims`, into a result with these strides over it: 0 along what is summed.
    Sum { dims: Vec<usize>, strides: Vec<usize> },
    /// The products of the columns of operand 0 `[count, columns]`, in memory, with operand 1.
    ColumnProducts,
}

impl Rule {
    /// Whether the result is complete only when the group has seen all its elements.
    pub fn is_sink(&self) -> bool {
        matches!(self, Rule::Sum { .. } | Rule::ColumnProducts)
    }
    /// Whether computing the result again costs no more than storing and reading it.
    pub fn is_cheap(&self) -> bool {
        match self {
            Rule::Unary(map) => {
                use Unary::{Abs, Neg, Not, Recip, Relu, Sign, Square};
                matches!(map, Neg | Abs | Sign | Square | Recip | Relu | Not)
            }
            Rule::Binary(map) => {
                use Binary::{Add, And, Div, Eq, Ge, Gt, Le, Lt, Maximum, Minimum, Mul, MulAbsorbing, Ne, Or, Sub};
                matches!(
                    map,
                    Add | Sub | Mul | MulAbsorbing | Div | Maximum | Minimum | Eq | Ne | Lt | Le | Gt | Ge | And | Or
                )
            }
            Rule::Ternary(map) => *map == Ternary::Select,
            _ => false,
        }
    }
}

/// An operand of a member of a group.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Operand {
    /// The result of an earlier member.
    Member(usize),
    /// Memory.
    View(View),
}

/// One value of a group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub value: ValueId,
    pub rule: Rule,
    pub operands: Vec<Operand>,
    pub buffer: BufferId,
}

/// Loops over operands.
pub(crate) enum Work {
    /// Those of an operation.
    Kernel(Kernel),
    /// A loop whose body has a plan of its own.
    Loop(Box<LoopKernel>),
}

impl Work {
    /// The elements of scratch that [`Work::run`] needs.
    pub fn scratch<F: Scalar>(&self) -> usize {
        match self {
            Work::Kernel(kernel) => kernel.scratch::<F>(),
            Work::Loop(looped) => looped.scratch::<F>(),
        }
    }
    /// Computes `out` from the operands.
    pub fn run<F: Scalar>(&self, x: &Inputs<F>, out: &mut [F], scratch: &mut [F], key: Key) {
        match self {
            Work::Kernel(kernel) => kernel.run(x, out, scratch, key),
            Work::Loop(looped) => looped.run(x, out, scratch, key),
        }
    }
}

/// A step over buffers.
pub(crate) enum Draft {
    /// A kernel; its operands are contiguous.
    Kernel { value: ValueId, kernel: Work, operands: Vec<View>, out: BufferId },
    /// Maps that run together, with their sources and sums.
    Group { count: usize, members: Vec<Member> },
}

/// What the scheduler decides.
pub(crate) struct Schedule {
    pub buffers: IndexVec<BufferId, Buffer>,
    /// Steps for each set of data.
    pub once: Vec<Draft>,
    /// Steps for each run.
    pub every: Vec<Draft>,
    /// Where each value can be read after its step, if it is stored; `None` for values that nobody asks for.
    pub views: IndexVec<ValueId, Option<View>>,
}

impl Schedule {
    /// All buffers that a draft reads.
    pub fn reads(draft: &Draft) -> Vec<BufferId> {
        match draft {
            Draft::Kernel { operands, .. } => operands.iter().map(|v| v.buffer).collect(),
            Draft::Group { members, .. } => members
                .iter()
                .flat_map(|m| &m.operands)
                .filter_map(|o| if let Operand::View(v) = o { Some(v.buffer) } else { None })
                .collect(),
        }
    }
    /// All buffers that a draft stores.
    pub fn writes(&self, draft: &Draft) -> Vec<BufferId> {
        match draft {
            Draft::Kernel { out, .. } => vec![*out],
            Draft::Group { members, .. } => {
                members.iter().map(|m| m.buffer).filter(|&b| self.buffers[b].stored).collect()
            }
        }
    }
}
