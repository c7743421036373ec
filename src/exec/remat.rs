//! Computes values again instead of keeping them, where memory is the limit.
//!
//! In: a graph whose plan needs more memory than there is room. Out: a graph that computes the same, to the bit, with
//! copies of some nodes next to what reads them late, so that the first ones die early.
//!
//! A plan shows when each value is stored and read. Between two readings it lies idle; where the plan is too large
//! there, it is a candidate: computed again from what is in memory anyway, or with more that is then kept longer or
//! computed again too. Candidates are tried in the order of the memory that they save over time, for each operation
//! that they add, each in a plan of its own; the first that helps is taken, until the plan fits or nothing helps.
//!
//! Copies change what runs together in groups, and sums are cut by the size of their group. A copy after which a sum
//! would be cut in another way is not made.

use super::draft::{BufferId, Draft, Member, Schedule};
use super::looped::space;
use super::plan::{ALIGN, Life, Options, Outline, Plan};
use super::program::assemble;
use super::schedule::{runs_once, waits};
use crate::index::{Idx, IndexVec};
use crate::ir::graph::{Graph, ValueId};
use crate::ir::passes::repeat::{arrange, repeat};
use crate::kernels::Scalar;
use crate::ops::{Op, cost};
use crate::source::Span;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes of all plans that are tried: hundreds of plans for a small graph, some dozen for the largest.
const MAX_PLANNED_NODES: usize = 200_000;
/// Operations may grow by this share of those without copies, and a single candidate by half of it.
const MAX_SHARE: f64 = 1.0;
/// Nodes that one candidate computes again, at most.
const MAX_NODES: usize = 256;
/// What writing or reading an element costs beside its arithmetic [floating point operations].
const MOVE: f64 = 16.0;

/// What a plan computes again.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Recomputed {
    /// The values, views aside: operation with shape, place.
    pub values: Vec<(String, Option<Span>)>,
    /// Floating point operations of a run for each one that it would have without.
    pub work: f64,
    /// What the plan would need without [bytes].
    pub without: usize,
}

impl Recomputed {
    /// One line for each value, and what it costs.
    pub(super) fn print(&self) -> String {
        let mut text = format!(
            "computed again: {} values, {:.1} % more operations; without: {} bytes with scratch and registers\n",
            self.values.len(),
            100.0 * (self.work - 1.0),
            self.without
        );
        for (value, _) in &self.values {
            text += &format!("  {value}\n");
        }
        text
    }
}

/// Plans `graph` within `room` bytes, or as near to it as can be reached. Says what is computed again, if anything is.
pub(super) fn plan_within<F: Scalar>(graph: Graph, options: Options, room: usize) -> (Graph, Plan, Option<Recomputed>) {
    let plan = Plan::new(&graph, options);
    let without = bytes::<F>(&plan);
    if without <= room {
        return (graph, plan, None);
    }
    let room = room / size_of::<F>();
    // Maps that are computed again are steps of their own.
    let options = Options { endings: false, ..options };
    let as_is = Trial::new::<F>(graph.clone(), graph.nodes.indices().collect(), options, room);
    let order = order(&graph);
    let first = Trial::new::<F>(arrange(&graph, &order), order.into_iter().collect(), options, room);
    if first.cuts != as_is.cuts {
        return (graph, plan, None);
    }
    let best = search::<F>(first, options, room).filter(|best| best.size() < as_is.size());
    let Some(best) = best else { return (graph, plan, None) };
    let work = work(&best.graph) / work(&graph).max(1.0);
    let mut seen: BTreeSet<ValueId> = BTreeSet::new();
    let mut values: Vec<ValueId> = best.roots.iter().copied().filter(|&root| !seen.insert(root)).collect();
    values.retain(|&v| !is_view(&graph.nodes[v].op));
    let name = |&v: &ValueId| {
        let node = &graph.nodes[v];
        (format!("`{}` of shape {}", node.op.name(), node.shape), graph.origins[v])
    };
    let recomputed = Recomputed { values: values.iter().map(name).collect(), work, without };
    let plan = Plan::of(&best.graph, best.outline);
    (best.graph, plan, Some(recomputed))
}

/// What a plan needs [bytes].
fn bytes<F: Scalar>(plan: &Plan) -> usize {
    let (scratch, registers) = space::<F>(plan);
    (plan.len + ALIGN + scratch + registers) * size_of::<F>()
}

/// Takes candidates until the plan fits or nothing helps; `None` when nothing helps at all.
fn search<F: Scalar>(first: Trial, options: Options, room: usize) -> Option<Trial> {
    let (cuts, allowed) = (first.cuts.clone(), work(&first.graph) * (1.0 + MAX_SHARE));
    let mut plans = (MAX_PLANNED_NODES / first.graph.len().max(1)).clamp(20, 1000);
    let mut now = first;
    // What fits in the end may be no smaller on the way; what never fits is left where it was smallest.
    let mut best: Option<Trial> = None;
    // What cannot be moved is more than there is room for.
    while now.excess > 0 && now.overhead + now.outline.kept <= room && now.outline.reach[0] + now.overhead <= room {
        let mut next = None;
        for candidate in now.candidates(room) {
            if plans == 0 {
                break;
            }
            plans -= 1;
            let trial = now.with::<F>(&candidate, options, room);
            let is_same = trial.cuts.is_subset(&cuts);
            if is_same && trial.excess < now.excess && work(&trial.graph) <= allowed {
                next = Some(trial);
                break;
            }
        }
        let Some(next) = next else { break };
        let last = std::mem::replace(&mut now, next);
        let is_copied = last.roots.iter().collect::<BTreeSet<_>>().len() < last.roots.len();
        if is_copied && best.as_ref().is_none_or(|b| last.size() < b.size()) {
            best = Some(last);
        }
    }
    let is_copied = now.roots.iter().collect::<BTreeSet<_>>().len() < now.roots.len();
    match best {
        Some(best) if now.excess > 0 && best.size() <= now.size() => Some(best),
        _ => is_copied.then_some(now),
    }
}

/// Floating point operations of all nodes that run each time.
fn work(graph: &Graph) -> f64 {
    let once = runs_once(graph);
    graph.nodes.indices().filter(|&v| !once[v]).map(|v| flops(graph, v)).sum()
}

fn flops(graph: &Graph, value: ValueId) -> f64 {
    let node = &graph.nodes[value];
    let shapes: Vec<_> = node.operands.iter().map(|&o| graph.shape(o)).collect();
    cost::flops(&node.op, &shapes, &node.shape)
}

/// Whether a value is a window on another, and nothing is computed for it.
fn is_view(op: &Op) -> bool {
    matches!(
        op,
        Op::Reshape { .. }
            | Op::Broadcast { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::StopGradient
            | Op::ToReal
            | Op::ToInt
    )
}

/// Whether a value is there from the beginning.
fn is_given(op: &Op) -> bool {
    matches!(op, Op::Input(_) | Op::Constant(_) | Op::Full { .. })
}

/// The nodes that outputs need, each right before the first that has it made: the order in which they are scheduled.
fn order(graph: &Graph) -> Vec<ValueId> {
    let mut live: IndexVec<ValueId, bool> = graph.nodes.iter().map(|_| false).collect();
    let mut stack: Vec<ValueId> = graph.outputs.iter().map(|o| o.1).collect();
    while let Some(value) = stack.pop() {
        if !std::mem::replace(&mut live[value], true) {
            stack.extend(&graph.nodes[value].operands);
        }
    }
    let mut done: IndexVec<ValueId, bool> = graph.nodes.iter().map(|_| false).collect();
    let mut order = Vec::new();
    let eager = graph.nodes.indices().filter(|&v| live[v] && !waits(graph, v));
    for root in eager.chain(graph.outputs.iter().map(|o| o.1)) {
        let mut missing = BTreeSet::new();
        let mut stack = vec![root];
        while let Some(value) = stack.pop() {
            if !done[value] && missing.insert(value) {
                stack.extend(&graph.nodes[value].operands);
            }
        }
        for value in missing {
            done[value] = true;
            order.push(value);
        }
    }
    order
}

/// How a sum, or a product with a vector, is cut: elements, elements of a tile, parts; `None` by a kernel.
type Cut = Option<[usize; 3]>;

/// A graph with its plan.
struct Trial {
    graph: Graph,
    /// What each value was in the graph without copies.
    roots: IndexVec<ValueId, ValueId>,
    outline: Outline,
    /// Each sum, by what it was in the graph without copies, with how it is cut.
    cuts: BTreeSet<(ValueId, Cut)>,
    /// What a plan needs beside the arena [elements].
    overhead: usize,
    /// Elements beyond the room, over all steps.
    excess: usize,
}

/// Values to be computed again in front of `from`.
struct Candidate {
    values: BTreeSet<ValueId>,
    from: ValueId,
    /// Elements saved over steps for each operation added.
    gain: f64,
}

impl Trial {
    /// Plans `graph`.
    fn new<F: Scalar>(graph: Graph, roots: IndexVec<ValueId, ValueId>, options: Options, room: usize) -> Trial {
        let outline = Outline::new(&graph, options);
        let (mut scratch, mut registers) = (0, 0);
        let mut cuts: BTreeSet<(ValueId, Cut)> = BTreeSet::new();
        for draft in outline.schedule.once.iter().chain(&outline.schedule.every) {
            match draft {
                Draft::Kernel { value, kernel, .. } => {
                    scratch = scratch.max(kernel.scratch::<F>());
                    if matches!(graph.nodes[*value].op, Op::Reduce { .. } | Op::MatMul { .. }) {
                        cuts.insert((roots[*value], None));
                    }
                }
                Draft::Group { count, members } => {
                    let (program, _) = assemble(*count, members, &outline.schedule.buffers, &outline.starts);
                    registers = registers.max(program.all_register_space());
                    for Member { value, .. } in members {
                        if matches!(graph.nodes[*value].op, Op::Reduce { .. } | Op::MatMul { .. }) {
                            cuts.insert((roots[*value], Some([*count, program.tile, program.parts])));
                        }
                    }
                }
            }
        }
        let mut trial = Trial { graph, roots, outline, cuts, overhead: ALIGN + scratch + registers, excess: 0 };
        trial.excess = (0..trial.outline.used.len()).map(|step| trial.beyond(step, 0, room)).sum();
        trial
    }

    /// The same with the copies of a candidate.
    fn with<F: Scalar>(&self, candidate: &Candidate, options: Options, room: usize) -> Trial {
        let (graph, was) = repeat(&self.graph, &candidate.values, candidate.from);
        let order = order(&graph);
        let roots = order.iter().map(|&v| self.roots[was[v]]).collect();
        Trial::new::<F>(arrange(&graph, &order), roots, options, room)
    }

    /// What the plan needs [elements].
    fn size(&self) -> usize {
        self.outline.len + self.overhead
    }

    /// What a step needs beyond `room`, with `change` elements more. Holes in the arena count for every step.
    fn beyond(&self, step: usize, change: isize, room: usize) -> usize {
        let used = &self.outline.used;
        let holes = self.outline.reach[1] - used.iter().max().copied().unwrap_or(0).min(self.outline.reach[1]);
        (used[step] + holes + self.overhead).saturating_add_signed(change).saturating_sub(room)
    }

    /// What may be computed again where the plan is too large, the best first.
    fn candidates(&self, room: usize) -> Vec<Candidate> {
        let Outline { schedule, lives, .. } = &self.outline;
        let steps = &schedule.every;
        let beyond: Vec<usize> = (0..steps.len()).map(|step| self.beyond(step, 0, room)).collect();
        let mut accesses: IndexVec<BufferId, Vec<usize>> = schedule.buffers.iter().map(|_| Vec::new()).collect();
        let mut step_of: IndexVec<ValueId, Option<usize>> = self.graph.nodes.iter().map(|_| None).collect();
        for (step, draft) in steps.iter().enumerate() {
            for buffer in schedule.writes(draft).into_iter().chain(Schedule::reads(draft)) {
                if accesses[buffer].last() != Some(&step) {
                    accesses[buffer].push(step);
                }
            }
            match draft {
                Draft::Kernel { value, .. } => step_of[*value] = step_of[*value].or(Some(step)),
                Draft::Group { members, .. } => {
                    for member in members {
                        step_of[member.value] = step_of[member.value].or(Some(step));
                    }
                }
            }
        }
        let looking = Looking { trial: self, step_of, once: runs_once(&self.graph), allowed: work(&self.graph) };
        let mut found = Vec::new();
        for (buffer, accesses) in accesses.iter_enumerated() {
            if !matches!(lives[buffer], Life::Every(..)) {
                continue;
            }
            for pair in accesses.windows(2) {
                // A reader that computes the value itself need not find it in memory, nor need it be stored for others.
                if beyond[pair[0]..=pair[1]].iter().all(|&b| b == 0) {
                    continue;
                }
                let last = accesses.last() == Some(&pair[1]);
                let [kept, whole] =
                    [true, false].map(|keep| looking.candidate(buffer, [pair[0], pair[1]], keep, last, room));
                let differ = !matches!((&kept, &whole), (Some(a), Some(b)) if a.values == b.values);
                found.extend(kept);
                found.extend(whole.filter(|_| differ));
            }
        }
        found.sort_by(|a, b| b.gain.total_cmp(&a.gain));
        found
    }
}

/// The search for candidates in a plan.
struct Looking<'t> {
    trial: &'t Trial,
    /// In which of the steps for each run a value is computed.
    step_of: IndexVec<ValueId, Option<usize>>,
    once: IndexVec<ValueId, bool>,
    /// Operations that a candidate may add, twice.
    allowed: f64,
}

/// What a candidate needs.
#[derive(Default)]
struct Closure {
    values: BTreeSet<ValueId>,
    /// Buffers that are kept longer, and until when they were.
    kept: BTreeMap<BufferId, usize>,
}

impl Looking<'_> {
    /// Computes what `buffer` holds again for step `reader`, rather than keeping it since step `idle`. With `keep`, what
    /// it is computed from is kept longer; without, that is computed again too. `is_last` says whether anybody reads the
    /// buffer later.
    fn candidate(
        &self,
        buffer: BufferId,
        [idle, reader]: [usize; 2],
        keep: bool,
        is_last: bool,
        room: usize,
    ) -> Option<Candidate> {
        let Trial { graph, outline, .. } = self.trial;
        let (schedule, lives) = (&outline.schedule, &outline.lives);
        let value = schedule.buffers[buffer].value;
        let from = self.front(buffer, reader);
        if value >= from {
            return None;
        }
        // What shows the value, or is computed from it wherever it is read.
        let mut shown = BTreeSet::from([value]);
        for id in (value.index() + 1..from.index()).map(ValueId::new) {
            let node = &graph.nodes[id];
            let is_window = is_view(&node.op) || schedule.views[id].as_ref().is_some_and(|v| !self.is_stored(v.buffer));
            if is_window && node.operands.iter().any(|o| shown.contains(o)) {
                shown.insert(id);
            }
        }
        let late = (from.index()..graph.len()).flat_map(|i| graph.nodes[ValueId::new(i)].operands.iter().copied());
        let roots: BTreeSet<ValueId> = late.filter(|o| shown.contains(o)).collect();
        let mut closure = Closure::default();
        for &root in &roots {
            if !self.need(root, reader, keep, &shown, &mut closure) {
                return None;
            }
        }
        let Closure { values, kept } = closure;
        if values.is_empty() {
            return None;
        }
        let (mut work, mut fused) = (0.0, true);
        for &v in &values {
            let node = &graph.nodes[v];
            work += flops(graph, v);
            if !is_view(&node.op) {
                work += MOVE * node.shape.count() as f64;
            }
            fused &= is_view(&node.op) || node.op.is_elementwise() || matches!(node.op, Op::Noise { .. });
        }
        if work > (0.5 * MAX_SHARE) * self.allowed.max(1.0) + MOVE * graph.shape(value).count() as f64 {
            return None;
        }
        let len = schedule.buffers[buffer].len as isize;
        let written = matches!(lives[buffer], Life::Every(first, _) if first == idle);
        let is_group = |step: usize| matches!(schedule.every[step], Draft::Group { .. });
        let starts = if written && is_group(idle) { idle } else { idle + 1 };
        let ends = if fused && is_last && is_group(reader) { reader + 1 } else { reader };
        let mut saved = 0.0;
        for step in 0..outline.used.len() {
            let mut change = 0;
            if (starts..ends).contains(&step) {
                change -= len;
            }
            for (&other, &until) in &kept {
                if (until + 1..=reader).contains(&step) {
                    change += schedule.buffers[other].len as isize;
                }
            }
            saved += self.trial.beyond(step, 0, room) as f64 - self.trial.beyond(step, change, room) as f64;
        }
        (saved > 0.0).then(|| Candidate { values, from, gain: saved / work.max(1.0) })
    }

    fn is_stored(&self, buffer: BufferId) -> bool {
        self.trial.outline.schedule.buffers[buffer].stored
    }

    /// The node in front of which copies for step `reader` stand: behind what runs earlier, before what reads `buffer` then.
    fn front(&self, buffer: BufferId, reader: usize) -> ValueId {
        let Trial { graph, outline, .. } = self.trial;
        let schedule = &outline.schedule;
        let earlier = |v: ValueId| self.step_of[v].is_some_and(|s| s < reader) && !waits(graph, v);
        let behind = graph.nodes.indices().rev().find(|&v| earlier(v)).map_or(0, |v| v.index() + 1);
        let reads = |v: ValueId| {
            let shows = |o: &ValueId| schedule.views[*o].as_ref().is_some_and(|view| view.buffer == buffer);
            self.step_of[v].is_some_and(|s| s >= reader) && graph.nodes[v].operands.iter().any(shows)
        };
        let before = graph.nodes.indices().find(|&v| reads(v)).map_or(behind, Idx::index);
        ValueId::new(behind.min(before))
    }

    /// Adds to `closure` what must be computed again, or kept longer, so that `value` can be read at step `reader`; false
    /// when it cannot be.
    fn need(
        &self,
        value: ValueId,
        reader: usize,
        keep: bool,
        shown: &BTreeSet<ValueId>,
        closure: &mut Closure,
    ) -> bool {
        let Trial { graph, outline, .. } = self.trial;
        let node = &graph.nodes[value];
        if closure.values.contains(&value) || is_given(&node.op) {
            return true;
        }
        if !shown.contains(&value) {
            let buffer = outline.schedule.views[value].as_ref().map(|v| v.buffer).filter(|&b| self.is_stored(b));
            match buffer.map(|b| (b, outline.lives[b])) {
                Some((_, Life::Kept)) => return true,
                Some((_, Life::Every(_, until))) if until >= reader => return true,
                Some((buffer, Life::Every(_, until))) if keep => {
                    closure.kept.insert(buffer, until);
                    return true;
                }
                _ => {}
            }
        }
        if self.once[value] && !is_view(&node.op) {
            return false;
        }
        if matches!(node.op, Op::Draw { .. } | Op::Scan(_)) || closure.values.len() >= MAX_NODES {
            return false;
        }
        closure.values.insert(value);
        node.operands.iter().all(|&o| self.need(o, reader, keep, shown, closure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::gradient;
    use crate::exec::Executable;
    use crate::ir::{Builder, DType, InputKind, Shape};
    use crate::kernels::testing::values;
    use crate::kernels::threads;
    use crate::ops::{ConvAttrs, NoiseKind, PoolAttrs};
    use crate::rng::Key;

    fn finish(mut g: Builder, elbo: ValueId, params: &[ValueId]) -> Graph {
        let gradients = gradient(&mut g, elbo, params).expect("all of these have gradients");
        g.output("elbo", elbo);
        gradients.into_iter().for_each(|d| g.output("d", d));
        g.finish()
    }

    /// A normal draw of weights of `shape`, whose parameters are appended.
    fn weights(g: &mut Builder, shape: &[usize], params: &mut Vec<ValueId>) -> ValueId {
        let [loc, scale] = ["loc", "scale"].map(|name| g.input(name, shape.into(), DType::Real, InputKind::Param));
        params.extend([loc, scale]);
        let noise = g.noise(NoiseKind::Normal, shape.into());
        let spread = g.softplus(scale);
        let spread = g.mul(spread, noise);
        g.add(loc, spread)
    }

    /// A convolutional network whose weights are drawn, with the gradient of its likelihood.
    fn network(rows: usize) -> Graph {
        let mut g = Builder::new();
        let mut params = Vec::new();
        let images = g.input("images", Shape::from([rows, 1, 16, 16]), DType::Real, InputKind::Batch);
        let labels = g.input("labels", Shape::from([rows]), DType::Int, InputKind::Batch);
        let same = ConvAttrs { stride: [1, 1], pad: [[1, 1]; 2], dilation: [1, 1], groups: 1 };
        let halves = PoolAttrs { window: [2, 2], stride: [2, 2], pad: [[0, 0]; 2], count_pad: false };
        let mut y = images;
        for shape in [[8, 1, 3, 3], [8, 8, 3, 3], [8, 8, 3, 3], [8, 8, 3, 3]] {
            let w = weights(&mut g, &shape, &mut params);
            y = g.conv2d(y, w, same);
            y = g.relu(y);
        }
        y = g.max_pool2d(y, halves);
        let w = weights(&mut g, &[512, 10], &mut params);
        let flat = g.reshape(y, [rows, 512]);
        let logits = g.matmul(flat, false, w, false);
        let log_probs = g.log_softmax(logits);
        let picked = g.pick(log_probs, labels);
        let elbo = g.sum_all(picked);
        finish(g, elbo, &params)
    }

    /// An autoencoder whose codes are drawn for each row.
    fn autoencoder(rows: usize) -> Graph {
        let mut g = Builder::new();
        let mut params = Vec::new();
        let x = g.input("x", Shape::from([rows, 90]), DType::Real, InputKind::Batch);
        let mut layer = |g: &mut Builder, x: ValueId, from: usize, to: usize| {
            let w = g.input("w", Shape::from([from, to]), DType::Real, InputKind::Param);
            let b = g.input("b", Shape::from([to]), DType::Real, InputKind::Param);
            params.extend([w, b]);
            let y = g.matmul(x, false, w, false);
            g.add(y, b)
        };
        let h = layer(&mut g, x, 90, 64);
        let h = g.tanh(h);
        let h = layer(&mut g, h, 64, 64);
        let h = g.softplus(h);
        let (loc, scale) = (layer(&mut g, h, 64, 20), layer(&mut g, h, 64, 20));
        let noise = g.noise(NoiseKind::Normal, Shape::from([rows, 20]));
        let scale = g.softplus(scale);
        let z = g.mul(scale, noise);
        let z = g.add(loc, z);
        let h = layer(&mut g, z, 20, 64);
        let h = g.tanh(h);
        let h = layer(&mut g, h, 64, 64);
        let h = g.softplus(h);
        let logits = layer(&mut g, h, 64, 90);
        let softplus = g.softplus(logits);
        let product = g.mul(logits, x);
        let log_prob = g.sub(product, softplus);
        let log_prob = g.sum_all(log_prob);
        let square = g.square(z);
        let prior = g.sum_all(square);
        let elbo = g.sub(log_prob, prior);
        finish(g, elbo, &params)
    }

    fn outputs<F: Scalar>(mut exe: Executable<F>, graph: &Graph) -> Vec<Vec<F>> {
        for (i, input) in graph.inputs.iter_enumerated() {
            let x: Vec<f64> = match input.name.as_str() {
                "labels" => (0..input.shape.count()).map(|i| (i % 10) as f64).collect(),
                _ => values::<f64>(3 + i.index() as u64, input.shape.count()).iter().map(|x| 0.3 * x).collect(),
            };
            let x: Vec<F> = x.into_iter().map(F::from_f64).collect();
            exe.set_data(i, &x);
        }
        exe.run(&[], Key::new(1));
        exe.run(&[], Key::new(2));
        (0..graph.outputs.len()).map(|i| exe.output(i).to_vec()).collect()
    }

    /// The share of the memory that is left within `room` tenths, and of the operations that are done.
    fn squeezed<F: Scalar>(graph: &Graph, tenths: usize) -> (f64, f64) {
        let _alone = threads::alone();
        let whole = Executable::<F>::prepare(graph, Options::default());
        let needs = whole.needs(0);
        assert!(needs.recomputed.is_none());
        let room = needs.bytes * tenths / 10;
        let options = Options { room: Some(room), ..Options::default() };
        let less = Executable::<F>::prepare(graph, options);
        let less_needs = less.needs(0);
        let expected = outputs(whole.build(), graph);
        assert!(expected == outputs(less.build(), graph), "the same numbers");
        assert!(expected.iter().flatten().all(|x| x.is_finite()));
        // With room enough, nothing is computed twice.
        let options = Options { room: Some(needs.bytes), ..Options::default() };
        assert!(Executable::<F>::prepare(graph, options).needs(0) == needs, "room enough");
        let work = less_needs.recomputed.map_or(1.0, |r| r.work);
        (less_needs.bytes as f64 / needs.bytes as f64, work)
    }

    #[test]
    fn networks_fit_where_they_did_not() {
        for graph in [network(64), autoencoder(400)] {
            for (share, work) in [squeezed::<f32>(&graph, 9), squeezed::<f64>(&graph, 9)] {
                assert!(share <= 0.9 && work > 1.0 && work < 1.5, "{share} of the memory, {work} work");
            }
        }
    }

    #[test]
    fn what_cannot_be_reached_is_left_near_it() {
        // What a single step needs is more than half of it.
        let (share, work) = squeezed::<f32>(&network(64), 6);
        assert!(share < 0.9 && (1.0..=1.0 + MAX_SHARE).contains(&work), "{share} of the memory, {work} work");
        // What cannot be moved is more than a tenth.
        assert_eq!(squeezed::<f32>(&autoencoder(400), 1), (1.0, 1.0));
    }
}
