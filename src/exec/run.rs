//! Runs a plan.
//!
//! In: a graph, then inputs and a key for each run. Out: the numbers of the graph's outputs. Nothing is allocated while a
//! model runs, and results are the same to the bit for every number of threads.

use super::looped::{space, write_constants};
use super::plan::{ALIGN, Options, Plan, Step};
use super::small::{self, Small};
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
    /// The steps for each run as one program, where they are small.
    small: Option<Small>,
    arena: Vec<F>,
    /// Where the arena's aligned part begins.
    base: usize,
    scratch: Vec<F>,
    registers: Vec<F>,
    given: IndexVec<InputId, bool>,
    /// Whether all inputs that are read have been given.
    complete: bool,
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
        let graph = passes::run(graph.clone());
        if !small::fits(&graph) {
            return Self::plan(graph, Options::default());
        }
        let plan = Plan::new(&graph, Options::FLAT);
        let small = Small::new(&plan, &plan.every);
        Self::new(graph, plan, Some(small))
    }

    /// Plans `graph` as it is.
    pub fn plan(graph: Graph, options: Options) -> Self {
        let plan = Plan::new(&graph, options);
        Self::new(graph, plan, None)
    }

    fn new(graph: Graph, plan: Plan, small: Option<Small>) -> Self {
        let (scratch, registers) = space::<F>(&plan);
        let len = small.as_ref().map_or(plan.len, Small::len);
        let mut arena = vec![F::ZERO; len + ALIGN];
        let base = arena.as_ptr().align_offset(64).min(ALIGN);
        write_constants(&plan, &graph, &mut arena[base..]);
        let given = graph.inputs.iter().map(|_| false).collect();
        let (scratch, registers) = (vec![F::ZERO; scratch], vec![F::ZERO; registers]);
        Self { graph, plan, small, arena, base, scratch, registers, given, complete: false, ready: false }
    }

    /// The graph that runs, after all passes.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Whether the steps for each run are one flat program.
    #[cfg(test)]
    pub(super) fn is_flat(&self) -> bool {
        self.small.is_some()
    }

    /// The plan as text, with the arena's size.
    pub fn print_plan(&self) -> String {
        let bytes = self.plan.len * size_of::<F>();
        let small = self.small.as_ref().map_or_else(String::new, Small::print);
        format!("{}{small}peak: {bytes} bytes\n", self.plan.print(&self.graph))
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
        if !self.complete {
            for (input, place) in self.plan.inputs.iter_enumerated() {
                assert!(
                    place.is_none() || self.given[input],
                    "input `{}` has not been given",
                    self.graph.inputs[input].name
                );
            }
            self.complete = true;
        }
        let arena = &mut self.arena[self.base..];
        if !self.ready {
            self.plan.once.iter().for_each(|step| run_step(step, arena, &mut self.scratch, &mut self.registers, key));
            self.ready = true;
        }
        match &self.small {
            Some(small) => small.run(&self.plan.every, arena, &mut self.scratch, &mut self.registers, key),
            None => {
                let every = self.plan.every.iter();
                every.for_each(|step| run_step(step, arena, &mut self.scratch, &mut self.registers, key));
            }
        }
    }

    /// Runs again with every value kept, and finds where an output that is not finite got it from: the first value that
    /// is not finite although all it reads is, among those that such an output depends on through such values.
    /// `None` when all outputs are finite.
    pub fn first_non_finite(&mut self, inputs: &[(InputId, &[F])], key: Key) -> Option<NonFinite> {
        for &(input, data) in inputs {
            self.set_data(input, data);
        }
        let mut plain = Self::plan(self.graph.clone(), Options::FLAT);
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
                .filter(|&o| broken(o).is_some() && !is_constant(&plain.graph, o))
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

/// Whether the program wrote the number down: an infinite bound is nobody's fault.
fn is_constant(graph: &Graph, value: ValueId) -> bool {
    matches!(graph.nodes[value].op, Op::Full { .. } | Op::Constant(_))
}

/// What a strided view, which has no place of its own, is a view of.
fn source<F>(plain: &Executable<F>, value: ValueId) -> ValueId {
    match (&plain.plan.places[value], &plain.graph.nodes[value].operands[..]) {
        (None, &[x]) => source(plain, x),
        _ => value,
    }
}

pub(super) fn run_step<F: Scalar>(step: &Step, arena: &mut [F], scratch: &mut [F], registers: &mut [F], key: Key) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Builder, DType, Shape};
    use crate::ops::NoiseKind;

    #[test]
    fn what_depends_on_data_alone_runs_once() {
        let mut g = Builder::new();
        let data = g.input("data", Shape::from([4]), DType::Real, InputKind::Data);
        let param = g.input("param", Shape::from([]), DType::Real, InputKind::Param);
        let square = g.square(data);
        let sum = g.sum_all(square);
        let y = g.mul(sum, param);
        g.output("y", y);
        let mut executable = Executable::<f64>::compile(&g.finish());
        assert_eq!((executable.plan.once.len(), executable.plan.every.len()), (2, 1));
        let (data, param) = (InputId::new(0), InputId::new(1));
        executable.set_data(data, &[1.0, 2.0, 3.0, 4.0]);
        executable.run(&[(param, &[2.0])], Key::new(0));
        assert_eq!(executable.output(0), [60.0]);
        executable.run(&[(param, &[3.0])], Key::new(0));
        assert_eq!(executable.output(0), [90.0]);
        executable.set_data(data, &[0.0, 0.0, 0.0, 1.0]);
        executable.run(&[], Key::new(0));
        assert_eq!(executable.output(0), [3.0]);
    }

    #[test]
    fn buffers_are_used_again() {
        let build = || {
            let mut g = Builder::new();
            let x = g.input("x", Shape::from([64, 64]), DType::Real, InputKind::Param);
            let mut y = x;
            for _ in 0..10 {
                y = g.matmul(y, false, x, false);
                y = g.tanh(y);
            }
            let y = g.sum_all(y);
            g.output("y", y);
            g.finish()
        };
        let n = Plan::new(&build(), Options::default()).peak_elements();
        assert!(n < 4 * 64 * 64, "{n} elements for the input and two values at a time");
    }

    #[test]
    fn fused_maps_are_one_step() {
        let mut g = Builder::new();
        let x = g.input("x", Shape::from([100, 7]), DType::Real, InputKind::Param);
        let b = g.input("b", Shape::from([7]), DType::Real, InputKind::Param);
        let y = g.add(x, b);
        let y = g.sigmoid(y);
        let y = g.mul_scalar(y, 3.0);
        let z = g.exp(y);
        let y = g.add(y, z);
        g.output("y", y);
        let plan = Plan::new(&g.finish(), Options::default());
        assert_eq!(plan.every.len(), 1);
    }

    #[test]
    fn random_numbers_follow_the_key() {
        let mut g = Builder::new();
        let a = g.noise(NoiseKind::Normal, Shape::from([5]));
        let b = g.noise(NoiseKind::Normal, Shape::from([5]));
        g.output("a", a);
        g.output("b", b);
        let mut executable = Executable::<f64>::compile(&g.finish());
        let mut run = |seed| {
            executable.run(&[], Key::new(seed));
            (executable.output(0).to_vec(), executable.output(1).to_vec())
        };
        let (a, b) = run(1);
        assert_ne!(a, b);
        assert_ne!(run(2).0, a);
        assert_eq!(run(1), (a, b));
    }

    #[test]
    fn the_source_of_a_nan_is_found() {
        let mut g = Builder::new();
        let x = g.input("x", Shape::from([3]), DType::Real, InputKind::Param);
        let zero = g.scalar(0.0);
        let hidden = g.scalar(f64::NEG_INFINITY);
        let positive = g.gt(x, zero);
        let masked = g.select(positive, x, hidden);
        let harmless = g.logsumexp(masked, &[0]);
        let log = g.log(x);
        let later = g.exp(log);
        let later = g.mul(later, later);
        let sum = g.sum_all(later);
        let y = g.add(sum, harmless);
        g.output("y", y);
        let mut executable = Executable::<f32>::compile(&g.finish());
        let x = InputId::new(0);
        assert_eq!(executable.first_non_finite(&[(x, &[1.0, 2.0, 3.0])], Key::new(0)), None);
        let found = executable.first_non_finite(&[(x, &[1.0, -2.0, 3.0])], Key::new(0)).expect("a NaN");
        assert_eq!((found.op, found.is_nan), ("log", true));
        let found = executable.first_non_finite(&[(x, &[1.0, f32::NAN, 3.0])], Key::new(0)).expect("a NaN");
        assert_eq!(found.op, "input");
    }
}
