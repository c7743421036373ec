//! Where a plan spends its time: one reading of the clock for each step, and what the step computes and moves.
//!
//! The clock is handed in by the shells. A plan that nobody watches reads none. Bytes are those that a step must move
//! at least: every operand once, every result once, whatever the caches keep.

use super::draft::Work;
use super::plan::{Plan, Step};
use super::tile::{Arg, Code, Instr, Program};
use crate::ir::graph::{Graph, ValueId};
use crate::kernels::threads::MIN_PARALLEL_WORK;
use crate::ops::cost;
use crate::ops::kernel::Kernel;
use crate::source::Span;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Gives seconds since an arbitrary fixed moment.
pub type Clock = fn() -> f64;

/// One step of a plan and what it has cost so far.
#[derive(Clone, PartialEq, Debug)]
pub struct StepTime {
    /// Its operation; of a fused group those whose results are stored, without repetition.
    pub ops: Vec<&'static str>,
    /// The maps of a fused group; 0 for a single operation.
    pub maps: usize,
    /// The places that it comes from, in order, without repetition.
    pub origins: Vec<Span>,
    /// How often it has run.
    pub calls: u64,
    /// Time over all calls [seconds].
    pub secs: f64,
    /// Floating point operations over all calls.
    pub flops: f64,
    /// Bytes that it had to read and write over all calls.
    pub bytes: f64,
}

/// What one step has cost so far.
#[derive(Clone, Copy, Default, Debug)]
struct Spent {
    calls: u64,
    secs: f64,
}

/// The times of all steps of a plan, those for each set of data first.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    clock: Clock,
    spent: Vec<Spent>,
}

impl Watch {
    pub(super) fn new(clock: Clock, n_steps: usize) -> Self {
        Watch { clock, spent: vec![Spent::default(); n_steps] }
    }

    /// Runs `steps`, the first of which has number `first`.
    pub(super) fn time<S>(&mut self, first: usize, steps: &[S], mut run: impl FnMut(&S)) {
        let mut last = (self.clock)();
        for (step, spent) in steps.iter().zip(&mut self.spent[first..]) {
            run(step);
            let now = (self.clock)();
            spent.calls += 1;
            spent.secs += now - last;
            last = now;
        }
    }

    /// The steps of a plan with what they have cost; with `flat` the steps for each run are one. `size` is the number of
    /// bytes of a number.
    pub(super) fn times(&self, graph: &Graph, plan: &Plan, flat: bool, size: usize) -> Vec<StepTime> {
        let (once, every) = self.spent.split_at(plan.once.len());
        let of = |(step, spent): (&Step, &Spent)| -> StepTime {
            let (flops, elements) = cost(graph, step);
            let calls = spent.calls as f64;
            let (ops, maps, values) = describe(graph, step);
            let mut origins: Vec<Span> = values.iter().filter_map(|&v| graph.origins[v]).collect();
            origins.sort();
            origins.dedup();
            let bytes = calls * (elements * size) as f64;
            StepTime { ops, maps, origins, calls: spent.calls, secs: spent.secs, flops: calls * flops, bytes }
        };
        let mut times: Vec<StepTime> = plan.once.iter().zip(once).map(of).collect();
        if flat {
            let whole = every.first().copied().unwrap_or_default();
            let steps: Vec<StepTime> = plan.every.iter().map(|step| of((step, &whole))).collect();
            let mut origins: Vec<Span> = steps.iter().flat_map(|s| s.origins.iter().copied()).collect();
            origins.sort();
            origins.dedup();
            times.push(StepTime {
                ops: vec!["flat program"],
                maps: 0,
                origins,
                calls: whole.calls,
                secs: whole.secs,
                flops: steps.iter().map(|s| s.flops).sum(),
                bytes: steps.iter().map(|s| s.bytes).sum(),
            });
        } else {
            times.extend(plan.every.iter().zip(every).map(of));
        }
        times.retain(|t| t.calls > 0);
        times
    }
}

/// The operations that name a step, its number of maps, and the values that it stores.
fn describe<'s>(graph: &Graph, step: &'s Step) -> (Vec<&'static str>, usize, &'s [ValueId]) {
    match step {
        // The copy of a view is made for a later operation; the view's own name would mislead.
        Step::Kernel { value, kernel: Work::Kernel(Kernel::Copy { .. }), .. } => {
            (vec!["copy"], 0, std::slice::from_ref(value))
        }
        Step::Kernel { value, .. } => (vec![graph.nodes[*value].op.name()], 0, std::slice::from_ref(value)),
        Step::Tiles { program, values } => {
            let mut ops: Vec<&'static str> = Vec::new();
            for &value in values {
                let name = graph.nodes[value].op.name();
                if !ops.contains(&name) {
                    ops.push(name);
                }
            }
            let is_map = |i: &&Instr| matches!(i, Instr::Compute { code, .. } if !matches!(code, Code::Load(_)));
            (ops, program.code.iter().filter(is_map).count(), values)
        }
    }
}

/// Floating point operations of one run of a step, and elements that it must read and write.
fn cost(graph: &Graph, step: &Step) -> (f64, usize) {
    match step {
        Step::Kernel { kernel: Work::Kernel(Kernel::Copy { .. }), out, .. } => (0.0, 2 * out.len()),
        Step::Kernel { value, out, .. } => {
            let node = &graph.nodes[*value];
            let shapes: Vec<_> = node.operands.iter().map(|&o| graph.shape(o)).collect();
            let reads = cost::reads(&node.op, &shapes, &node.shape);
            (cost::flops(&node.op, &shapes, &node.shape), reads + out.len())
        }
        Step::Tiles { program, .. } => tiles(program),
    }
}

/// Whether a step is so large that its kernels share it out among threads, where there are several.
pub(super) fn is_shared(graph: &Graph, step: &Step) -> bool {
    let (flops, elements) = cost(graph, step);
    flops.max(elements as f64) >= MIN_PARALLEL_WORK as f64
}

/// Floating point operations of a fused group, and elements that it must read and write.
fn tiles(program: &Program) -> (f64, usize) {
    let mut each = 0;
    // By address: how much is read from there. What the group stores itself it need not read.
    let mut read: BTreeMap<usize, usize> = BTreeMap::new();
    let mut stores = 0;
    let mut memory = |args: &[Arg]| {
        for arg in args {
            if let Arg::Memory(start) = arg {
                read.insert(*start, program.count);
            }
        }
    };
    let mut loads = Vec::new();
    // Address and number of elements.
    let mut arrays: Vec<(usize, usize)> = Vec::new();
    for instr in &program.code {
        match instr {
            Instr::Store { .. } => stores += 1,
            Instr::Sum { .. } => each += 1,
            Instr::Columns { matrix, .. } => {
                each += 2 * matrix.len;
                arrays.push((matrix.start, program.count * matrix.len));
            }
            Instr::Compute { code, .. } => match code {
                Code::Load(load) => loads.push(load),
                Code::Noise(kind, _) => each += cost::noise(*kind),
                Code::Products(matrix, vector) => {
                    each += 2 * matrix.len;
                    arrays.push((matrix.start, program.count * matrix.len));
                    arrays.push((*vector, matrix.len));
                }
                Code::Unary(map, x) => {
                    each += cost::unary(*map);
                    memory(&[*x]);
                }
                Code::Binary(map, args) => {
                    each += cost::binary(*map);
                    memory(args);
                }
                Code::Ternary(map, args) => {
                    each += cost::ternary(*map);
                    memory(args);
                }
            },
        }
    }
    for load in loads {
        let elements: usize = load.dims.iter().zip(&load.strides).filter(|(_, s)| **s != 0).map(|(d, _)| d).product();
        let known = read.entry(load.start).or_default();
        *known = elements.max(*known);
    }
    for (start, elements) in arrays {
        let known = read.entry(start).or_default();
        *known = elements.max(*known);
    }
    let elements = read.values().sum::<usize>() + program.constants.len() + stores * program.count;
    (each as f64 * program.count as f64, elements)
}

/// The `n` largest values that the steps of a plan store: bytes, operation with shape, place; largest first.
pub(super) fn largest(graph: &Graph, plan: &Plan, n: usize, size: usize) -> Vec<(u64, String, Option<Span>)> {
    let mut found: Vec<(usize, ValueId)> = Vec::new();
    for step in plan.once.iter().chain(&plan.every) {
        match step {
            Step::Kernel { value, out, .. } => found.push((out.len(), *value)),
            Step::Tiles { values, .. } => found.extend(values.iter().map(|&v| (graph.shape(v).count(), v))),
        }
    }
    found.sort_by_key(|&(elements, value)| (Reverse(elements), value));
    let of = |&(elements, value): &(usize, ValueId)| {
        let node = &graph.nodes[value];
        ((elements * size) as u64, format!("`{}` of shape {}", node.op.name(), node.shape), graph.origins[value])
    };
    found.iter().take(n).map(of).collect()
}
