//! Decides what runs in which order, and what is a value of its own in memory.
//!
//! In: a verified graph. Out: drafts of steps over buffers that have no place yet; `plan.rs` gives them one.
//! - Reshapes, broadcasts, transposes, slices and fills are views. A view that a kernel reads is copied when it is not
//!   contiguous; elementwise maps read any view.
//! - Elementwise maps over the same number of elements that can run together form a group. A group is emitted when
//!   somebody needs one of its values from memory, so open groups never depend on each other.
//! - What depends on no parameter, batch or noise runs once for each set of data.

use super::looped::LoopKernel;
use super::plan::Options;
use super::signs::nonnegative;
use crate::index::IndexVec;
use crate::index_type;
use crate::ir::graph::{Graph, InputKind, Node, ValueId};
use crate::kernels::Scalar;
use crate::kernels::conv::Method;
use crate::kernels::elementwise::{Binary, Ternary, Unary};
use crate::ops::Op;
use crate::ops::kernel::{Inputs, Kernel, row_major};
use crate::rng::Key;
use std::collections::HashMap;

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
    fn whole(buffer: BufferId, shape: &[usize]) -> Self {
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
    /// As an operand of a map with a result of shape `dims`.
    fn stretched(&self, dims: &[usize]) -> View {
        let lead = dims.len() - self.dims.len();
        let strides = (0..dims.len())
            .map(|i| if i < lead || self.dims[i - lead] != dims[i] { 0 } else { self.strides[i - lead] })
            .collect();
        View { buffer: self.buffer, offset: self.offset, dims: dims.to_vec(), strides }
    }
}

/// An elementwise map of any arity.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Map {
    Unary(Unary),
    Binary(Binary),
    Ternary(Ternary),
}

/// An operand of a member of a group.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Operand {
    /// The result of an earlier member.
    Member(usize),
    /// Memory.
    View(View),
}

/// One map of a group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub value: ValueId,
    pub map: Map,
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
    /// Maps that run together.
    Group { count: usize, members: Vec<Member> },
}

/// What the scheduler decides.
pub(crate) struct Schedule {
    pub buffers: IndexVec<BufferId, Buffer>,
    /// Steps for each set of data.
    pub once: Vec<Draft>,
    /// Steps for each run.
    pub every: Vec<Draft>,
    /// Where each value can be read after its step, if it is stored.
    pub views: IndexVec<ValueId, Option<View>>,
}

/// Larger groups bring nothing more.
const MAX_GROUP: usize = 512;

struct Open {
    count: usize,
    members: Vec<Member>,
}

struct Scheduler<'a> {
    graph: &'a Graph,
    options: Options,
    buffers: IndexVec<BufferId, Buffer>,
    views: IndexVec<ValueId, Option<View>>,
    is_once: IndexVec<ValueId, bool>,
    nonnegative: IndexVec<ValueId, bool>,
    once: Vec<Draft>,
    every: Vec<Draft>,
    open: Vec<Open>,
    /// For buffers of members of open groups: the group's count (no two open groups have the same) and the member.
    pending: HashMap<BufferId, (usize, usize)>,
    numbers: HashMap<u64, BufferId>,
}

/// Schedules `graph`.
pub(crate) fn schedule(graph: &Graph, options: Options) -> Schedule {
    let mut is_once: IndexVec<ValueId, bool> = IndexVec::new();
    for node in &graph.nodes {
        let own = match node.op {
            Op::Input(input) => graph.inputs[input].kind == InputKind::Data,
            _ => !node.op.is_random(),
        };
        is_once.push(own && node.operands.iter().all(|&o| is_once[o]));
    }
    let mut s = Scheduler {
        graph,
        options,
        buffers: IndexVec::new(),
        views: graph.nodes.iter().map(|_| None).collect(),
        is_once,
        nonnegative: nonnegative(graph),
        once: Vec::new(),
        every: Vec::new(),
        open: Vec::new(),
        pending: HashMap::new(),
        numbers: HashMap::new(),
    };
    for phase in [true, false] {
        for id in graph.nodes.indices() {
            if s.is_once[id] == phase {
                s.node(id, &graph.nodes[id]);
            }
        }
        for &(_, value) in &graph.outputs {
            if s.is_once[value] == phase {
                s.contiguous(value);
            }
        }
        s.close_all();
    }
    Schedule { buffers: s.buffers, once: s.once, every: s.every, views: s.views }
}

impl Scheduler<'_> {
    fn new_buffer(&mut self, value: ValueId, len: usize, content: Content) -> BufferId {
        let stored = content != Content::Computed || !self.options.fuse;
        self.buffers.push(Buffer { len, content, value, stored })
    }

    fn emit(&mut self, once: bool, draft: Draft) {
        if once { &mut self.once } else { &mut self.every }.push(draft);
    }

    fn node(&mut self, id: ValueId, node: &Node) {
        let view = match &node.op {
            Op::Input(_) => View::whole(self.new_buffer(id, node.shape.count(), Content::Input), &node.shape),
            Op::Constant(_) => View::whole(self.new_buffer(id, node.shape.count(), Content::Constant), &node.shape),
            &Op::Full { value, .. } => {
                let buffer = match self.numbers.get(&value.to_bits()) {
                    Some(&buffer) => buffer,
                    None => self.new_buffer(id, 1, Content::Number(value)),
                };
                self.numbers.insert(value.to_bits(), buffer);
                View { buffer, offset: 0, dims: node.shape.to_vec(), strides: vec![0; node.shape.rank()] }
            }
            Op::StopGradient | Op::ToReal | Op::ToInt => self.view(node.operands[0]),
            Op::Reshape { shape } => {
                let x = self.view(node.operands[0]);
                let strides = match x.is_contiguous() {
                    true => row_major(shape),
                    false if x.is_one_number() => vec![0; shape.rank()],
                    false => {
                        self.contiguous(node.operands[0]);
                        row_major(shape)
                    }
                };
                View { dims: shape.to_vec(), strides, ..self.view(node.operands[0]) }
            }
            Op::Broadcast { shape } => self.view(node.operands[0]).stretched(shape),
            Op::Transpose { perm } => {
                let x = self.view(node.operands[0]);
                View {
                    dims: perm.iter().map(|&p| x.dims[p]).collect(),
                    strides: perm.iter().map(|&p| x.strides[p]).collect(),
                    ..x
                }
            }
            &Op::Slice { axis, start, len } => {
                let mut x = self.view(node.operands[0]);
                x.offset += start * x.strides[axis];
                x.dims[axis] = len;
                x
            }
            &Op::Unary(map) => self.map(id, node, Map::Unary(map)),
            &Op::Binary(map) => self.map(id, node, Map::Binary(map)),
            &Op::Ternary(map) => self.map(id, node, Map::Ternary(map)),
            op => {
                let operands: Vec<View> = node.operands.iter().map(|&o| self.contiguous(o)).collect();
                let shapes: Vec<_> = node.operands.iter().map(|&o| self.graph.shape(o)).collect();
                let kernel = match op {
                    Op::Scan(looped) => Work::Loop(Box::new(LoopKernel::new(looped, self.options))),
                    op => {
                        // Sums of terms of one sign, such as variances, keep their sign and their zeros.
                        let one_sign = node.operands.iter().all(|&o| self.nonnegative[o]);
                        let method = if one_sign { Method::Direct } else { self.options.convolution };
                        Work::Kernel(op.kernel(&shapes, &node.shape).with_convolution(method))
                    }
                };
                let out = self.new_buffer(id, node.shape.count(), Content::Computed);
                self.emit(self.is_once[id], Draft::Kernel { value: id, kernel, operands, out });
                View::whole(out, &node.shape)
            }
        };
        self.views[id] = Some(view);
    }

    /// Where `value` is, stored or not.
    fn view(&self, value: ValueId) -> View {
        self.views[value].clone().expect("operands come first, and what runs once depends on nothing else")
    }

    /// Makes sure that the elements of `value` lie side by side in memory.
    fn contiguous(&mut self, value: ValueId) -> View {
        let view = self.view(value);
        self.settle(view.buffer);
        if view.is_contiguous() {
            return view;
        }
        let whole = View::whole(view.buffer, &[self.buffers[view.buffer].len]);
        let out = self.new_buffer(value, view.count(), Content::Computed);
        self.buffers[out].stored = true;
        let copied = View::whole(out, &view.dims);
        let View { offset, dims, strides, .. } = view;
        let kernel = Work::Kernel(Kernel::Copy { dims, offset, strides });
        self.emit(self.is_once[value], Draft::Kernel { value, kernel, operands: vec![whole], out });
        self.views[value] = Some(copied.clone());
        copied
    }

    /// Makes sure that `buffer` is in memory before what is emitted next.
    fn settle(&mut self, buffer: BufferId) {
        self.buffers[buffer].stored = true;
        if let Some(group) = self.open_group(buffer) {
            self.close(group);
        }
    }

    /// The open group that computes `buffer`.
    fn open_group(&self, buffer: BufferId) -> Option<usize> {
        let &(count, _) = self.pending.get(&buffer)?;
        self.open.iter().position(|g| g.count == count)
    }

    fn close(&mut self, group: usize) {
        let Open { count, members } = self.open.remove(group);
        for member in &members {
            self.pending.remove(&member.buffer);
        }
        let once = self.is_once[members[0].value];
        self.emit(once, Draft::Group { count, members });
    }

    fn close_all(&mut self) {
        while !self.open.is_empty() {
            self.close(0);
        }
    }

    /// Puts a map into the open group of its size, or into a new one.
    fn map(&mut self, id: ValueId, node: &Node, map: Map) -> View {
        let count = node.shape.count();
        let views: Vec<View> = node.operands.iter().map(|&o| self.view(o).stretched(&node.shape)).collect();
        // An operand of another open group, or one that is not read element by element, must be in memory first.
        for view in &views {
            let Some(group) = self.open_group(view.buffer) else { continue };
            let in_step = self.open[group].count == count && view.is_contiguous() && view.offset == 0;
            if !in_step {
                self.settle(view.buffer);
            }
        }
        let operands: Vec<Operand> = views
            .into_iter()
            .map(|view| match self.pending.get(&view.buffer) {
                Some(&(_, member)) => Operand::Member(member),
                None => {
                    self.buffers[view.buffer].stored = true;
                    Operand::View(view)
                }
            })
            .collect();
        let buffer = self.new_buffer(id, count, Content::Computed);
        let member = Member { value: id, map, operands, buffer };
        let group = match self.open.iter().position(|g| g.count == count) {
            Some(group) => group,
            None => {
                self.open.push(Open { count, members: Vec::new() });
                self.open.len() - 1
            }
        };
        self.pending.insert(buffer, (count, self.open[group].members.len()));
        self.open[group].members.push(member);
        if !self.options.fuse || self.open[group].members.len() >= MAX_GROUP {
            self.close(group);
        }
        View::whole(buffer, &node.shape)
    }
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
