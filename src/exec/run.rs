//! Runs a plan.
//!
//! In: a graph, then inputs and a key for each run. Out: the numbers of the graph's outputs. Nothing is allocated while a
//! model runs, and results are the same to the bit for every number of threads.

use super::plan::{ALIGN, Options, Plan, Step};
use crate::index::{Idx, IndexVec};
use crate::ir::graph::{Graph, InputId, InputKind, ValueId};
use crate::ir::passes;
use crate::kernels::Scalar;
use crate::ops::Op;
use crate::ops::kernel::Inputs;
use crate::rng::Key;
use crate::source::Span;
use std::ops::Range;

/// A graph that is ready to run in the precision `F`.
pub struct Executable<F> {
    graph: Graph,
    plan: Plan,
    arena: Vec<F>,
    /// Where the arena's aligned part begins.
    base: usize,
    scratch: Vec<F>,
    registers: Vec<F>,
    given: IndexVec<InputId, bool>,
    /// Whether the steps for this set of data have run.
    ready: bool,
}

/// Where a computation left the finite numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NonFinite {
    /// The value, in the executable's own graph (see [`Executable::graph`]).
    pub value: ValueId,
    /// The source place that it comes from.
    pub origin: Option<Span>,
    /// The name of its operation.
    pub op: &'static str,
    /// Whether it is NaN rather than infinite.
    pub is_nan: bool,
}

impl<F: Scalar> Executable<F> {
    /// Simplifies and plans `graph`. Inputs and outputs keep their ids and order.
    pub fn compile(graph: &Graph) -> Self {
        Self::plan(passes::run(graph.clone()), Options::default())
    }

    /// Plans `graph` as it is.
    pub fn plan(graph: Graph, options: Options) -> Self {
        let plan = Plan::new(&graph, options);
        let (mut scratch, mut registers) = (0, 0);
        for step in plan.once.iter().chain(&plan.every) {
            match step {
                Step::Kernel { kernel, .. } => scratch = scratch.max(kernel.scratch::<F>()),
                Step::Tiles { program, .. } => registers = registers.max(program.all_register_space()),
            }
        }
        let mut arena = vec![F::ZERO; plan.len + ALIGN];
        let base = arena.as_ptr().align_offset(64).min(ALIGN);
        for &(address, value) in &plan.numbers {
            arena[base + address] = F::from_f64(value);
        }
        for (value, range) in &plan.constants {
            let Op::Constant(constant) = graph.nodes[*value].op else { unreachable!("the plan says so") };
            let data = &graph.constants[constant].data;
            arena[base..][range.clone()].iter_mut().zip(data.iter()).for_each(|(to, &x)| *to = F::from_f64(x));
        }
        let given = graph.inputs.iter().map(|_| false).collect();
        let (scratch, registers) = (vec![F::ZERO; scratch], vec![F::ZERO; registers]);
        Self { graph, plan, arena, base, scratch, registers, given, ready: false }
    }

    /// The graph that runs, after all passes.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The plan as text, with the arena's size.
    pub fn print_plan(&self) -> String {
        let bytes = self.plan.len * size_of::<F>();
        format!("{}peak: {bytes} bytes\n", self.plan.print(&self.graph))
    }

    /// Memory for values, scratch and registers [bytes].
    pub fn memory_bytes(&self) -> usize {
        (self.arena.len() + self.scratch.len() + self.registers.len()) * size_of::<F>()
    }

    fn at(&self, range: &Range<usize>) -> Range<usize> {
        self.base + range.start..self.base + range.end
    }

    /// Writes an input of any kind. It keeps its value until it is written again.
    pub fn set_data(&mut self, input: InputId, data: &[F]) {
        let place = self.input_mut(input);
        if !place.is_empty() {
            place.copy_from_slice(data);
        }
    }

    /// The place of an input, to be written; empty when the graph does not read it.
    pub fn input_mut(&mut self, input: InputId) -> &mut [F] {
        self.given[input] = true;
        if self.graph.inputs[input].kind == InputKind::Data {
            self.ready = false;
        }
        match &self.plan.inputs[input] {
            Some(range) => {
                let range = self.at(range);
                &mut self.arena[range]
            }
            None => &mut [],
        }
    }

    /// The present value of an input; empty when the graph does not read it.
    pub fn input(&self, input: InputId) -> &[F] {
        self.plan.inputs[input].as_ref().map_or(&[], |range| &self.arena[self.at(range)])
    }

    /// Output `i` of the last run.
    pub fn output(&self, i: usize) -> &[F] {
        &self.arena[self.at(&self.plan.outputs[i])]
    }

    /// Runs: `inputs` are written first, the others keep their values; `key` decides all random numbers.
    ///
    /// Panics when an input that the graph reads was never given.
    pub fn run(&mut self, inputs: &[(InputId, &[F])], key: Key) {
        for &(input, data) in inputs {
            self.set_data(input, data);
        }
        for (input, place) in self.plan.inputs.iter_enumerated() {
            assert!(
                place.is_none() || self.given[input],
                "input `{}` has not been given",
                self.graph.inputs[input].name
            );
        }
        let arena = &mut self.arena[self.base..];
        if !self.ready {
            self.plan.once.iter().for_each(|step| run_step(step, arena, &mut self.scratch, &mut self.registers, key));
            self.ready = true;
        }
        self.plan.every.iter().for_each(|step| run_step(step, arena, &mut self.scratch, &mut self.registers, key));
    }

    /// Runs again with every value kept, and finds where an output that is not finite got it from: the first value that
    /// is not finite although all it reads is, among those that such an output depends on through such values.
    /// `None` when all outputs are finite.
    pub fn first_non_finite(&mut self, inputs: &[(InputId, &[F])], key: Key) -> Option<NonFinite> {
        for &(input, data) in inputs {
            self.set_data(input, data);
        }
        let mut plain = Self::plan(self.graph.clone(), Options { fuse: false, reuse: false });
        for input in self.graph.inputs.indices() {
            if self.given[input] {
                plain.set_data(input, self.input(input));
            }
        }
        plain.run(&[], key);
        let broken = |value: ValueId| {
            let range = plain.plan.places[value].as_ref()?;
            plain.arena[plain.at(range)].iter().find(|x| !x.is_finite())
        };
        let mut suspects: Vec<ValueId> =
            plain.graph.outputs.iter().map(|&(_, value)| value).filter(|&v| broken(v).is_some()).collect();
        let mut seen: IndexVec<ValueId, bool> = plain.graph.nodes.iter().map(|_| false).collect();
        let mut first: Option<ValueId> = None;
        while let Some(value) = suspects.pop() {
            if std::mem::replace(&mut seen[value], true) {
                continue;
            }
            let sources: Vec<ValueId> = plain.graph.nodes[value]
                .operands
                .iter()
                .map(|&operand| source(&plain, operand))
                .filter(|&o| broken(o).is_some())
                .collect();
            if sources.is_empty() {
                first = Some(first.map_or(value, |f| f.min(value)));
            }
            suspects.extend(sources);
        }
        first.map(|value| NonFinite {
            value,
            origin: plain.graph.origins[value],
            op: plain.graph.nodes[value].op.name(),
            is_nan: broken(value).is_some_and(|x| x.is_nan()),
        })
    }
}

/// What a strided view, which has no place of its own, is a view of.
fn source<F>(plain: &Executable<F>, value: ValueId) -> ValueId {
    match (&plain.plan.places[value], &plain.graph.nodes[value].operands[..]) {
        (None, &[x]) => source(plain, x),
        _ => value,
    }
}

fn run_step<F: Scalar>(step: &Step, arena: &mut [F], scratch: &mut [F], registers: &mut [F], key: Key) {
    match step {
        Step::Tiles { program, .. } => program.run(arena, registers),
        Step::Kernel { kernel, operands, out, .. } => {
            let (low, rest) = arena.split_at_mut(out.start);
            let (result, high) = rest.split_at_mut(out.len());
            let inputs = Inputs { low, high, high_start: out.end, ranges: operands };
            kernel.run(&inputs, result, scratch, key);
        }
    }
}

/// Compiles and runs `graph` in double precision: all outputs, for tests and small computations on the host.
/// `inputs` are in the order of the graph's inputs.
pub fn eval_f64(graph: &Graph, inputs: &[&[f64]], key: Key) -> Vec<Vec<f64>> {
    let mut executable = Executable::<f64>::compile(graph);
    for (i, data) in inputs.iter().enumerate() {
        executable.set_data(InputId::new(i), data);
    }
    executable.run(&[], key);
    (0..graph.outputs.len()).map(|i| executable.output(i).to_vec()).collect()
}
