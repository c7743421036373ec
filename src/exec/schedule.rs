//! Decides what runs in which order, and what is a value of its own in memory.
//!
//! In: a verified graph. Out: drafts of steps over buffers that have no place yet; `plan.rs` gives them one.
//! - Reshapes, broadcasts, transposes, slices and fills are views. A view that a kernel reads is copied when it is not
//!   contiguous; elementwise maps read any view.
//! - Elementwise maps over the same number of elements run together as a group, tile by tile. Noise and the products of a
//!   matrix's rows with a vector are made inside the group that reads them. Sums, and the products of a matrix's columns
//!   with a value of the group, are taken while the group runs.
//! - Kernels keep the order of the graph. Maps, noise and sums wait until somebody asks for them. When a value of a group
//!   is needed from memory, the group first takes in all sums that can be had from its values, with what they need, and
//!   is emitted; so open groups never depend on each other, and nothing is read again for its sum.
//! - Convolutions and max pools end with the bias and the relu that follow them (`endings.rs`).
//! - A cheap map that a later group needs is computed again there, if what it reads is in memory anyway.
//! - What depends on no parameter, batch or noise runs once for each set of data.

use super::draft::{Buffer, BufferId, Content, Draft, Member, Operand, Rule, Schedule, View, Work};
use super::endings::{Ended, Endings, endings};
use super::looped::LoopKernel;
use super::plan::Options;
use super::signs::nonnegative;
use crate::index::IndexVec;
use crate::ir::graph::{Graph, InputKind, Node, ValueId};
use crate::kernels::conv::Method;
use crate::ops::kernel::{Kernel, row_major};
use crate::ops::{Op, Reduction};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Larger groups bring nothing more.
const MAX_GROUP: usize = 512;
/// Results of sums and column products up to this many elements have a partial sum for each part of a group.
const MAX_SUMS: usize = 4096;
/// Below this many rows, a product with a vector is left to the kernel of products.
const MIN_ROWS: usize = 8;
/// So many maps at most are computed again for one operand.
const MAX_AGAIN: usize = 4;

struct Open {
    count: usize,
    members: Vec<Member>,
    /// Values of closed groups that this one computes again.
    again: HashMap<BufferId, usize>,
    /// Whether it is about to be emitted: it takes in its sums, and nothing else may depend on it.
    closing: bool,
}

/// How a value of a closed group was made.
struct Recipe {
    rule: Rule,
    operands: Vec<View>,
    value: ValueId,
    count: usize,
}

/// A product of a matrix with a vector.
struct MatVec {
    matrix: ValueId,
    /// Whether its columns are the rows of the product.
    transposed: bool,
    vector: ValueId,
    /// The elements of the result, and of the vector.
    rows: usize,
    terms: usize,
}

struct Scheduler<'a> {
    graph: &'a Graph,
    options: Options,
    buffers: IndexVec<BufferId, Buffer>,
    views: IndexVec<ValueId, Option<View>>,
    is_once: IndexVec<ValueId, bool>,
    nonnegative: IndexVec<ValueId, bool>,
    /// Who reads each value.
    users: IndexVec<ValueId, Vec<ValueId>>,
    /// Kernels that end with maps.
    endings: Endings,
    /// What waits until somebody asks for it.
    is_lazy: IndexVec<ValueId, bool>,
    once: Vec<Draft>,
    every: Vec<Draft>,
    open: Vec<Open>,
    /// For buffers of members of open groups: the group's count (no two open groups have the same) and the member.
    pending: HashMap<BufferId, (usize, usize)>,
    numbers: HashMap<u64, BufferId>,
    /// For buffers of closed groups that may be computed again.
    recipes: HashMap<BufferId, Recipe>,
}

/// What depends on no parameter, batch or noise, and runs once for each set of data.
pub(super) fn runs_once(graph: &Graph) -> IndexVec<ValueId, bool> {
    let mut is_once: IndexVec<ValueId, bool> = IndexVec::new();
    for node in &graph.nodes {
        let own = match node.op {
            Op::Input(input) => graph.inputs[input].kind == InputKind::Data,
            _ => !node.op.is_random(),
        };
        is_once.push(own && node.operands.iter().all(|&o| is_once[o]));
    }
    is_once
}

/// Schedules `graph`.
pub(crate) fn schedule(graph: &Graph, options: Options) -> Schedule {
    let mut users: IndexVec<ValueId, Vec<ValueId>> = graph.nodes.iter().map(|_| Vec::new()).collect();
    for (id, node) in graph.nodes.iter_enumerated() {
        for &operand in &node.operands {
            users[operand].push(id);
        }
    }
    let mut s = Scheduler {
        graph,
        options,
        buffers: IndexVec::new(),
        views: graph.nodes.iter().map(|_| None).collect(),
        is_once: runs_once(graph),
        nonnegative: nonnegative(graph),
        users,
        endings: Endings::default(),
        is_lazy: IndexVec::new(),
        once: Vec::new(),
        every: Vec::new(),
        open: Vec::new(),
        pending: HashMap::new(),
        numbers: HashMap::new(),
        recipes: HashMap::new(),
    };
    if options.fuse && options.endings {
        s.endings = endings(graph, &s.users, &s.is_once);
    }
    for id in graph.nodes.indices() {
        let ends = s.endings.ends.contains_key(&id) || s.endings.skipped.contains(&id);
        s.is_lazy.push(options.fuse && !ends && waits(graph, id));
    }
    for phase in [true, false] {
        for id in graph.nodes.indices() {
            if s.is_once[id] == phase && !s.is_lazy[id] && !s.endings.skipped.contains(&id) {
                s.demand([id]);
            }
        }
        // What the steps of each run need must be there before them.
        let outputs: Vec<ValueId> = graph.outputs.iter().map(|o| o.1).filter(|&v| s.is_once[v] == phase).collect();
        let between = graph
            .nodes
            .indices()
            .filter(|&v| phase && s.is_once[v] && s.users[v].iter().any(|&user| !s.is_once[user]))
            .chain(outputs.iter().copied())
            .collect::<Vec<_>>();
        s.demand(between);
        for value in outputs {
            s.contiguous(value);
        }
        while let Some(group) = s.open.first() {
            s.finish(group.count);
        }
        s.recipes.clear();
    }
    Schedule { buffers: s.buffers, once: s.once, every: s.every, views: s.views }
}

/// The shape of the operand of a sum, and the strides of the result over it, if groups can take it.
fn sum_in_group(graph: &Graph, node: &Node) -> Option<(Vec<usize>, Vec<usize>)> {
    let Op::Reduce { kind: Reduction::Sum, axes } = &node.op else { return None };
    let dims = graph.shape(node.operands[0]).to_vec();
    let (count, sums) = (dims.iter().product::<usize>(), node.shape.count());
    if count == 0 || sums > MAX_SUMS || (sums > 1 && 4 * sums > count) {
        return None;
    }
    let mut strides = vec![0; dims.len()];
    let mut step = 1;
    for axis in (0..dims.len()).rev().filter(|axis| !axes.contains(axis)) {
        strides[axis] = step;
        step *= dims[axis];
    }
    Some((dims, strides))
}

fn mat_vec(graph: &Graph, node: &Node) -> Option<MatVec> {
    let (&Op::MatMul { ta, tb }, &[a, b]) = (&node.op, &node.operands[..]) else { return None };
    let (left, right) = (graph.shape(a), graph.shape(b));
    if left.rank() != 2 || right.rank() != 2 {
        return None;
    }
    let (&[m, n], terms) = (&node.shape[..], left[usize::from(!ta)]) else { return None };
    let product = match (m, n) {
        (_, 1) => MatVec { matrix: a, transposed: ta, vector: b, rows: m, terms },
        (1, _) => MatVec { matrix: b, transposed: !tb, vector: a, rows: n, terms },
        _ => return None,
    };
    (product.rows > 0 && terms > 0).then_some(product)
}

/// Whether an operation shows the elements of its operand in the same order.
pub(super) fn is_identity(op: &Op) -> bool {
    matches!(op, Op::StopGradient | Op::ToReal | Op::ToInt | Op::Reshape { .. })
}

/// Whether `id` is a view, or may be a member of a group: such values are made when somebody asks for them.
pub(super) fn waits(graph: &Graph, id: ValueId) -> bool {
    let node = &graph.nodes[id];
    match &node.op {
        Op::Input(_) | Op::Constant(_) | Op::Full { .. } | Op::Broadcast { .. } => true,
        Op::Transpose { .. } | Op::Slice { .. } | Op::Noise { .. } => true,
        op if is_identity(op) || op.is_elementwise() => true,
        Op::Reduce { .. } => {
            // What a kernel makes is summed at once; what a group makes, with the group.
            let mut source = node.operands[0];
            while is_identity(&graph.nodes[source].op) {
                source = graph.nodes[source].operands[0];
            }
            let source = &graph.nodes[source];
            let in_group = source.op.is_elementwise() || matches!(source.op, Op::Noise { .. });
            (in_group || mat_vec(graph, source).is_some()) && sum_in_group(graph, node).is_some()
        }
        Op::MatMul { .. } => mat_vec(graph, node).is_some(),
        _ => false,
    }
}

impl Scheduler<'_> {
    fn new_buffer(&mut self, value: ValueId, len: usize, content: Content) -> BufferId {
        let stored = content != Content::Computed || !self.options.fuse;
        self.buffers.push(Buffer { len, content, value, stored })
    }

    fn emit(&mut self, once: bool, draft: Draft) {
        if once { &mut self.once } else { &mut self.every }.push(draft);
    }

    /// Places values, and first what they need.
    fn demand(&mut self, values: impl IntoIterator<Item = ValueId>) {
        let mut missing = BTreeSet::new();
        let mut stack: Vec<ValueId> = values.into_iter().collect();
        while let Some(value) = stack.pop() {
            if self.views[value].is_none() && missing.insert(value) {
                match self.endings.ends.get(&value) {
                    Some(end) => stack.extend(self.graph.nodes[end.kernel].operands.iter().chain(&end.bias)),
                    None => stack.extend(&self.graph.nodes[value].operands),
                }
            }
        }
        for value in missing {
            if self.views[value].is_none() {
                let view = self.place(value);
                debug_assert!(self.views[value].is_none(), "what is being placed is not placed by others");
                self.views[value] = Some(view);
            }
        }
    }

    /// Where a value is, whose operands are placed; adds it to a group or emits its kernel.
    fn place(&mut self, id: ValueId) -> View {
        if let Some(&end) = self.endings.ends.get(&id) {
            return self.ended(id, end);
        }
        let node = &self.graph.nodes[id];
        let fuse = self.options.fuse;
        match &node.op {
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
            &Op::Unary(map) => self.map(id, node, Rule::Unary(map)),
            &Op::Binary(map) => self.map(id, node, Rule::Binary(map)),
            &Op::Ternary(map) => self.map(id, node, Rule::Ternary(map)),
            &Op::Noise { kind, stream, .. } if fuse => {
                self.join(id, node.shape.count(), Rule::Noise(kind, stream), Vec::new(), &node.shape)
            }
            Op::Reduce { .. } if fuse => match sum_in_group(self.graph, node) {
                Some((dims, strides)) => self.sum(id, node, Rule::Sum { dims, strides }),
                None => self.kernel(id, node),
            },
            Op::MatMul { .. } if fuse => match mat_vec(self.graph, node) {
                Some(product) => self.mat_vec(id, node, &product),
                None => self.kernel(id, node),
            },
            _ => self.kernel(id, node),
        }
    }

    fn kernel(&mut self, id: ValueId, node: &Node) -> View {
        let operands: Vec<View> = node.operands.iter().map(|&o| self.contiguous(o)).collect();
        let kernel = match &node.op {
            Op::Scan(looped) => Work::Loop(Box::new(LoopKernel::new(looped, self.options))),
            _ => Work::Kernel(self.loops(node)),
        };
        let out = self.new_buffer(id, node.shape.count(), Content::Computed);
        self.emit(self.is_once[id], Draft::Kernel { value: id, kernel, operands, out });
        View::whole(out, &node.shape)
    }

    /// The kernel of an operation.
    fn loops(&self, node: &Node) -> Kernel {
        let shapes: Vec<_> = node.operands.iter().map(|&o| self.graph.shape(o)).collect();
        // Sums of terms of one sign, such as variances, keep their sign and their zeros.
        let one_sign = node.operands.iter().all(|&o| self.nonnegative[o]);
        let method = if one_sign { Method::Direct } else { self.options.convolution };
        node.op.kernel(&shapes, &node.shape).with_convolution(method)
    }

    /// Emits the kernel that makes `id` together with a value before it.
    fn ended(&mut self, id: ValueId, Ended { kernel, bias, ending }: Ended) -> View {
        let node = &self.graph.nodes[kernel];
        let operands: Vec<View> = node.operands.iter().chain(&bias).map(|&o| self.contiguous(o)).collect();
        let work = Work::Kernel(self.loops(node).with_ending(ending));
        let shape = self.graph.shape(id);
        let out = self.new_buffer(id, shape.count(), Content::Computed);
        self.emit(self.is_once[id], Draft::Kernel { value: kernel, kernel: work, operands, out });
        View::whole(out, shape)
    }

    /// Where `value` is, stored or not.
    fn view(&self, value: ValueId) -> View {
        self.views[value].clone().expect("operands are placed first")
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
        if let Some(&(count, _)) = self.pending.get(&buffer) {
            self.finish(count);
        }
    }

    fn open(&mut self, count: usize) -> Option<&mut Open> {
        self.open.iter_mut().find(|g| g.count == count)
    }

    fn is_closing(&self, count: usize) -> bool {
        self.open.iter().any(|g| g.count == count && g.closing)
    }

    /// Emits the open group of `count` elements, with all sums that it can take.
    fn finish(&mut self, count: usize) {
        let Some(group) = self.open(count) else { return };
        assert!(!group.closing, "nothing that a group takes in depends on the group");
        group.closing = true;
        if self.options.fuse {
            self.pull(count);
        }
        let at = self.open.iter().position(|g| g.count == count).expect("a group that closes is open");
        let Open { count, members, .. } = self.open.remove(at);
        for member in &members {
            self.pending.remove(&member.buffer);
            if member.rule.is_cheap() {
                let whole = |m: usize| View::whole(members[m].buffer, &[count]);
                let operands = member.operands.iter().map(|operand| match operand {
                    Operand::Member(m) => whole(*m),
                    Operand::View(view) => view.clone(),
                });
                let (operands, rule) = (operands.collect(), member.rule.clone());
                self.recipes.insert(member.buffer, Recipe { rule, operands, value: member.value, count });
            }
        }
        let once = self.is_once[members[0].value];
        self.emit(once, Draft::Group { count, members });
    }

    /// Adds to the group of `count` elements, which is about to be emitted, the sums that its values are summed to
    /// sooner or later, as far as nothing outside stands in the way.
    fn pull(&mut self, count: usize) {
        let Some(group) = self.open(count) else { return };
        let mut waiting: BTreeSet<ValueId> = group.members.iter().map(|m| m.value).collect();
        let once = self.is_once[*waiting.first().expect("a group has a member")];
        let (mut inside, mut sums) = (HashSet::new(), Vec::new());
        while let Some(id) = waiting.pop_first() {
            let node = &self.graph.nodes[id];
            if let Some(view) = &self.views[id] {
                let is_member = self.pending.get(&view.buffer).is_some_and(|p| p.0 == count);
                if !is_member || !view.is_in_step(count) || self.is_sink(view.buffer) {
                    continue;
                }
            } else {
                if !self.is_lazy[id] || self.is_once[id] != once {
                    continue;
                }
                let is_inside = |v: ValueId| inside.contains(&v);
                match &node.op {
                    op if is_identity(op) => {}
                    op if op.is_elementwise() && node.shape.count() == count => {
                        if !node.operands.iter().all(|&o| is_inside(o) || self.can_be_read(o, count)) {
                            continue;
                        }
                    }
                    Op::Reduce { .. } => {
                        sums.push(id);
                        continue;
                    }
                    Op::MatMul { .. } => {
                        let product = mat_vec(self.graph, node).expect("it waits");
                        if self.sums_columns(&product)
                            && is_inside(product.vector)
                            && !is_inside(product.matrix)
                            && self.can_be_read(product.matrix, 0)
                        {
                            sums.push(id);
                        }
                        continue;
                    }
                    _ => continue,
                }
            }
            inside.insert(id);
            waiting.extend(&self.users[id]);
        }
        for sum in sums {
            if self.open(count).is_some_and(|g| g.members.len() < MAX_GROUP) {
                self.demand([sum]);
            }
        }
    }

    /// Whether a member of the closing group of `count` elements can read `value`, which no value of the group leads to
    /// (a number of elements of 0 stands for a reader outside of groups).
    fn can_be_read(&self, value: ValueId, count: usize) -> bool {
        let mut stack = vec![(value, count)];
        let mut seen = HashSet::new();
        while let Some((id, count)) = stack.pop() {
            if let Some(view) = &self.views[id] {
                if self.pending.get(&view.buffer).is_some_and(|p| self.is_closing(p.0)) {
                    return false;
                }
                continue;
            }
            if !self.is_lazy[id] {
                return false;
            }
            if !seen.insert((id, count)) {
                continue;
            }
            let node = &self.graph.nodes[id];
            let own = node.shape.count();
            let reader = match &node.op {
                op if is_identity(op) => count,
                Op::Broadcast { .. } | Op::Transpose { .. } | Op::Slice { .. } => 0,
                Op::Reduce { .. } => return false,
                // A member of a group that closes is never read from memory.
                op if (op.is_elementwise() || matches!(op, Op::MatMul { .. } | Op::Noise { .. }))
                    && self.is_closing(own)
                    && own != count =>
                {
                    return false;
                }
                Op::MatMul { .. } => 0,
                _ => own,
            };
            stack.extend(node.operands.iter().map(|&o| (o, reader)));
        }
        true
    }

    /// Whether a buffer of an open group is a sum over it.
    fn is_sink(&self, buffer: BufferId) -> bool {
        self.pending.get(&buffer).is_some_and(|&(count, member)| {
            self.open.iter().any(|g| g.count == count && g.members[member].rule.is_sink())
        })
    }

    /// The member of the open group of `count` elements that a view shows, element by element.
    fn in_step(&self, view: &View, count: usize) -> Option<usize> {
        let &(group, member) = self.pending.get(&view.buffer)?;
        (group == count && view.is_in_step(count) && !self.is_sink(view.buffer)).then_some(member)
    }

    /// Puts a value into the open group of its size, or into a new one.
    fn join(&mut self, id: ValueId, count: usize, rule: Rule, operands: Vec<Operand>, shape: &[usize]) -> View {
        let buffer = self.new_buffer(id, shape.iter().product(), Content::Computed);
        self.buffers[buffer].stored |= rule.is_sink();
        self.enter(count, Member { value: id, rule, operands, buffer });
        let full = self.open(count).is_some_and(|g| g.members.len() >= MAX_GROUP && !g.closing);
        if !self.options.fuse || full {
            self.finish(count);
        }
        View::whole(buffer, shape)
    }

    fn enter(&mut self, count: usize, member: Member) -> usize {
        let buffer = member.buffer;
        let at = match self.open(count) {
            Some(group) => {
                group.members.push(member);
                group.members.len() - 1
            }
            None => {
                self.open.push(Open { count, members: vec![member], again: HashMap::new(), closing: false });
                0
            }
        };
        self.pending.insert(buffer, (count, at));
        at
    }

    fn map(&mut self, id: ValueId, node: &Node, rule: Rule) -> View {
        let count = node.shape.count();
        let views: Vec<View> = node.operands.iter().map(|&o| self.view(o).stretched(&node.shape)).collect();
        // An operand of another open group, or one that is not read element by element, must be in memory first.
        for view in &views {
            if self.pending.contains_key(&view.buffer) && self.in_step(view, count).is_none() {
                self.settle(view.buffer);
            }
        }
        let operands = views.into_iter().map(|view| self.operand(view, count)).collect();
        self.join(id, count, rule, operands, &node.shape)
    }

    /// An operand of a member of the open group of `count` elements.
    fn operand(&mut self, view: View, count: usize) -> Operand {
        if let Some(member) = self.in_step(&view, count) {
            return Operand::Member(member);
        }
        if view.is_in_step(count) {
            if let Some(&member) = self.open(count).and_then(|g| g.again.get(&view.buffer)) {
                return Operand::Member(member);
            }
            let mut budget = MAX_AGAIN;
            if self.can_repeat(view.buffer, count, &mut budget, &mut None) {
                return Operand::Member(self.repeat(view.buffer, count));
            }
        }
        self.buffers[view.buffer].stored = true;
        Operand::View(view)
    }

    /// Whether a value of a closed group that is not stored can be computed again from what is in memory: inputs, numbers,
    /// and one array of the group's size at most.
    fn can_repeat(&self, buffer: BufferId, count: usize, budget: &mut usize, array: &mut Option<BufferId>) -> bool {
        let Some(recipe) = self.recipes.get(&buffer) else { return false };
        if self.buffers[buffer].stored || recipe.count != count || *budget == 0 {
            return false;
        }
        *budget -= 1;
        recipe.operands.iter().all(|view| {
            let source = &self.buffers[view.buffer];
            if source.content != Content::Computed || (source.stored && source.len < count) {
                return true;
            }
            if source.stored {
                return *array.get_or_insert(view.buffer) == view.buffer;
            }
            view.is_in_step(count) && self.can_repeat(view.buffer, count, budget, array)
        })
    }

    fn repeat(&mut self, buffer: BufferId, count: usize) -> usize {
        if let Some(&member) = self.open(count).and_then(|g| g.again.get(&buffer)) {
            return member;
        }
        let recipe = &self.recipes[&buffer];
        let (rule, value, views) = (recipe.rule.clone(), recipe.value, recipe.operands.clone());
        let operands = views
            .into_iter()
            .map(|view| match self.buffers[view.buffer].stored {
                true => Operand::View(view),
                false => Operand::Member(self.repeat(view.buffer, count)),
            })
            .collect();
        let copy = self.new_buffer(value, count, Content::Computed);
        let member = self.enter(count, Member { value, rule, operands, buffer: copy });
        self.open(count).expect("the member has just entered").again.insert(buffer, member);
        member
    }

    /// A sum joins the group that computes its operand.
    fn sum(&mut self, id: ValueId, node: &Node, rule: Rule) -> View {
        let x = self.view(node.operands[0]);
        match self.in_step(&x, x.count()) {
            Some(member) => self.join(id, x.count(), rule, vec![Operand::Member(member)], &node.shape),
            None => self.kernel(id, node),
        }
    }

    /// Whether a product may be a sum over the elements of its vector; otherwise it is a map over its rows.
    fn sums_columns(&self, product: &MatVec) -> bool {
        product.terms > product.rows && product.rows <= MAX_SUMS
    }

    fn mat_vec(&mut self, id: ValueId, node: &Node, product: &MatVec) -> View {
        let mut matrix = self.view(product.matrix);
        if matrix.strides.iter().zip(&matrix.dims).all(|(&stride, &dim)| stride != 1 && dim != 1) {
            matrix = self.contiguous(product.matrix);
        }
        self.settle(matrix.buffer);
        let vector = self.view(product.vector);
        let exchanged = |by_rows: bool| {
            let mut matrix = matrix.clone();
            if by_rows == product.transposed {
                matrix.dims.reverse();
                matrix.strides.reverse();
            }
            Operand::View(matrix)
        };
        if self.sums_columns(product)
            && let Some(member) = self.in_step(&vector, product.terms)
        {
            let operands = vec![exchanged(false), Operand::Member(member)];
            return self.join(id, product.terms, Rule::ColumnProducts, operands, &node.shape);
        }
        if product.rows < MIN_ROWS {
            return self.kernel(id, node);
        }
        let vector = Operand::View(self.contiguous(product.vector));
        self.join(id, product.rows, Rule::RowProducts, vec![exchanged(true), vector], &node.shape)
    }
}
