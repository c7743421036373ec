//! Runs a plan.
//!
//! In: a graph, then inputs and a key for each run. Out: the numbers of the graph's outputs. Nothing is allocated while a
//! model runs, and results are the same to the bit for every number of threads.

use super::looped::{space, write_constants};
use super::plan::{ALIGN, Options, Plan, Step};
use super::profile::{self, Clock, StepTime, Watch};
use super::remat::{Recomputed, plan_within};
use super::small::{self, Small};
use crate::index::{Idx, IndexVec};
use crate::ir::graph::{Graph, InputId, InputKind, ValueId};
use crate::ir::passes;
use crate::kernels::{Scalar, threads};
use crate::ops::Op;
use crate::ops::kernel::Inputs;
use crate::rng::Key;
use crate::source::Span;
use std::marker::PhantomData;
use std::ops::Range;

/// A graph that is ready to run in the precision `F`.
pub struct Executable<F> {
    graph: Graph,
    options: Options,
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
    /// The times of the steps, when somebody wants them.
    watch: Option<Box<Watch>>,
    /// Whether several steps share out their work among threads.
    shares: bool,
}

/// A plan that has not taken its memory yet.
pub struct Prepared<F> {
    graph: Graph,
    options: Options,
    plan: Plan,
    small: Option<Small>,
    recomputed: Option<Recomputed>,
    number: PhantomData<F>,
}

/// What a plan needs.
#[derive(Clone, PartialEq, Debug)]
pub struct Needs {
    /// Memory for values, scratch and registers [bytes].
    pub bytes: usize,
    /// The largest values that it stores: bytes, operation with shape, place; largest first.
    pub largest: Vec<(u64, String, Option<Span>)>,
    /// What is computed again to save memory, if anything is.
    pub recomputed: Option<Recomputed>,
}

impl<F: Scalar> Prepared<F> {
    /// What the plan needs, with its `n` largest values.
    pub fn needs(&self, n: usize) -> Needs {
        let (scratch, registers) = space::<F>(&self.plan);
        let len = self.small.as_ref().map_or(self.plan.len, Small::len);
        let bytes = (len + ALIGN + scratch + registers) * size_of::<F>();
        let largest = profile::largest(&self.graph, &self.plan, n, size_of::<F>());
        Needs { bytes, largest, recomputed: self.recomputed.clone() }
    }
    /// What kind of plan it is.
    pub fn options(&self) -> Options {
        self.options
    }
    /// Takes the memory.
    pub fn build(self) -> Executable<F> {
        Executable::new(self.graph, self.options, self.plan, self.small)
    }
    /// The plan as text, with the arena's size and what is computed again.
    pub fn print(&self) -> String {
        let mut text = print::<F>(&self.graph, &self.plan, self.small.as_ref());
        if let Some(recomputed) = &self.recomputed {
            text += &recomputed.print();
        }
        text
    }
}

/// A plan, and what it computes again to keep within its room.
fn planned<F: Scalar>(graph: Graph, options: Options) -> (Graph, Plan, Option<Recomputed>) {
    match options.room {
        Some(room) => plan_within::<F>(graph, options, room),
        None => {
            let plan = Plan::new(&graph, options);
            (graph, plan, None)
        }
    }
}

fn print<F>(graph: &Graph, plan: &Plan, small: Option<&Small>) -> String {
    let bytes = plan.len * size_of::<F>();
    let small = small.map_or_else(String::new, Small::print);
    format!("{}{small}peak: {bytes} bytes\n", plan.print(graph))
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
        Self::compile_with(graph, Options::default())
    }

    /// As [`Self::compile`], with a plan of the given kind.
    pub fn compile_with(graph: &Graph, options: Options) -> Self {
        Self::prepare(graph, options).build()
    }

    /// Plans `graph` as it is, but for what is computed again to keep within the room that `options` give.
    pub fn plan(graph: Graph, options: Options) -> Self {
        let (graph, plan, _) = planned::<F>(graph, options);
        Executable::new(graph, options, plan, None)
    }

    /// As [`Executable::compile_with`], up to where memory is taken.
    pub fn prepare(graph: &Graph, options: Options) -> Prepared<F> {
        let graph = passes::run(graph.clone());
        let is_small = small::fits(&graph);
        let options = if is_small { options.flat() } else { options };
        let (graph, plan, recomputed) = planned::<F>(graph, options);
        let small = is_small.then(|| Small::new(&plan, &plan.every));
        Prepared { graph, options, plan, small, recomputed, number: PhantomData }
    }

    fn new(graph: Graph, options: Options, plan: Plan, small: Option<Small>) -> Self {
        let (scratch, registers) = space::<F>(&plan);
        let len = small.as_ref().map_or(plan.len, Small::len);
        let mut arena = vec![F::ZERO; len + ALIGN];
        let base = arena.as_ptr().align_offset(64).min(ALIGN);
        write_constants(&plan, &graph, &mut arena[base..]);
        let given = graph.inputs.iter().map(|_| false).collect();
        let (scratch, registers) = (vec![F::ZERO; scratch], vec![F::ZERO; registers]);
        let shares = small.is_none() && plan.every.iter().filter(|step| profile::is_shared(&graph, step)).count() > 1;
        Self {
            graph,
            options,
            plan,
            small,
            arena,
            base,
            scratch,
            registers,
            given,
            complete: false,
            ready: false,
            watch: None,
            shares,
        }
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
        print::<F>(&self.graph, &self.plan, self.small.as_ref())
    }

    /// Memory for values, scratch and registers [bytes].
    pub fn memory_bytes(&self) -> usize {
        (self.arena.len() + self.scratch.len() + self.registers.len()) * size_of::<F>()
    }

    /// From now on the time of every step is taken with `clock`.
    pub fn watch(&mut self, clock: Clock) {
        self.watch = Some(Box::new(Watch::new(clock, self.plan.once.len() + self.plan.every.len())));
    }

    /// The steps that have run since [`Executable::watch`], in order; empty when nobody watches. The steps for each run of
    /// a small plan are one.
    pub fn step_times(&self) -> Vec<StepTime> {
        let times = |watch: &Watch| watch.times(&self.graph, &self.plan, self.small.is_some(), size_of::<F>());
        self.watch.as_deref().map_or(Vec::new(), times)
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
        if self.shares { threads::inside(|| self.run_steps(key)) } else { self.run_steps(key) }
    }

    fn run_steps(&mut self, key: Key) {
        let Self { plan, small, arena, base, scratch, registers, ready, watch, .. } = self;
        let arena = &mut arena[*base..];
        let once = if *ready { &[] } else { &plan.once[..] };
        *ready = true;
        if let Some(watch) = watch {
            watch.time(0, once, |step| run_step(step, arena, scratch, registers, key));
            let every = plan.once.len();
            match small {
                Some(small) => watch.time(every, &[()], |()| small.run(&plan.every, arena, scratch, registers, key)),
                None => watch.time(every, &plan.every, |step| run_step(step, arena, scratch, registers, key)),
            }
            return;
        }
        once.iter().for_each(|step| run_step(step, arena, scratch, registers, key));
        match small {
            Some(small) => small.run(&plan.every, arena, scratch, registers, key),
            None => plan.every.iter().for_each(|step| run_step(step, arena, scratch, registers, key)),
        }
    }

    /// Runs again with every value kept, and finds where an output that is not finite got it from: the first value that
    /// is not finite although all it reads is, among those that such an output depends on through such values.
    /// `None` when all outputs are finite.
    pub fn first_non_finite(&mut self, inputs: &[(InputId, &[F])], key: Key) -> Option<NonFinite> {
        for &(input, data) in inputs {
            self.set_data(input, data);
        }
        let mut plain = Self::plan(self.graph.clone(), self.options.flat());
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
        Step::Tiles { program, .. } => program.run(arena, registers, key),
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
        // Few numbers are not fused: the square and the sum are steps of their own.
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
    fn watched_steps_have_times_and_costs() {
        // Every reading is one second after the last.
        fn clock() -> f64 {
            thread_local!(static NOW: std::cell::Cell<f64> = const { std::cell::Cell::new(0.0) });
            NOW.with(|now| now.replace(now.get() + 1.0))
        }
        let mut g = Builder::new();
        let data = g.input("data", Shape::from([4, 3]), DType::Real, InputKind::Data);
        let w = g.input("w", Shape::from([3, 5]), DType::Real, InputKind::Param);
        let once = g.sum(data, &[0]);
        let y = g.matmul(data, false, w, false);
        let z = g.add_scalar(y, 1.0);
        let z = g.mul(z, z);
        g.output("once", once);
        g.output("z", z);
        // Tile by tile: as one flat program, these few numbers would be one step.
        let mut executable = Executable::<f32>::plan(passes::run(g.finish()), Options::default());
        let inputs: [(InputId, &[f32]); 2] = [(InputId::new(0), &[1.0; 12]), (InputId::new(1), &[2.0; 15])];
        executable.run(&inputs, Key::new(0));
        assert!(executable.step_times().is_empty(), "nobody watches");
        executable.watch(clock);
        (0..3).for_each(|_| executable.run(&inputs[1..], Key::new(0)));
        let times = executable.step_times();
        let [product, maps] = &times[..] else { panic!("the sum has run before: {times:?}") };
        assert_eq!((product.ops.as_slice(), product.calls, product.secs), (&["matmul"][..], 3, 3.0));
        assert_eq!(product.flops, 3.0 * 2.0 * 4.0 * 3.0 * 5.0);
        assert_eq!(product.bytes, 3.0 * 4.0 * (12.0 + 15.0 + 20.0));
        // One map adds, one multiplies; the number that is added is read too.
        assert_eq!((maps.maps, maps.flops, maps.bytes), (2, 3.0 * 2.0 * 20.0, 3.0 * 4.0 * 41.0), "{:?}", maps.ops);
        executable.run(&inputs, Key::new(0));
        assert_eq!(executable.step_times().len(), 3, "new data, and the sum runs again");
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
