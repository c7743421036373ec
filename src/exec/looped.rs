//! Runs loops: the plan of the body, its iterations, and how values pass from one to the next.

use super::plan::{Options, Plan, Step};
use super::run::run_step;
use super::small::{self, Small};
use crate::index::Idx;
use crate::ir::graph::{Graph, InputId, InputKind};
use crate::ir::passes;
use crate::kernels::Scalar;
use crate::ops::kernel::Inputs;
use crate::ops::{Loop, LoopBody, Op};
use crate::rng::Key;
use std::ops::Range;
use std::sync::Arc;

/// A loop with the plan of its body.
pub(crate) struct LoopKernel {
    body: Arc<LoopBody>,
    /// The body after all passes.
    graph: Graph,
    plan: Plan,
    /// The steps for each run of the loop and those for each iteration as programs, where they are small.
    small: Option<[Small; 2]>,
}

/// Scratch and registers that the steps of `plan` need [elements].
pub(crate) fn space<F: Scalar>(plan: &Plan) -> (usize, usize) {
    let (mut scratch, mut registers) = (0, 0);
    for step in plan.once.iter().chain(&plan.every) {
        match step {
            Step::Kernel { kernel, .. } => scratch = scratch.max(kernel.scratch::<F>()),
            Step::Tiles { program, .. } => registers = registers.max(program.all_register_space()),
        }
    }
    (scratch, registers)
}

/// Writes numbers and constant arrays of `plan` to their places.
pub(crate) fn write_constants<F: Scalar>(plan: &Plan, graph: &Graph, arena: &mut [F]) {
    for &(address, value) in &plan.numbers {
        arena[address] = F::from_f64(value);
    }
    for (value, range) in &plan.constants {
        let Op::Constant(constant) = graph.nodes[*value].op else { unreachable!("the plan says so") };
        let data = &graph.constants[constant].data;
        arena[range.clone()].iter_mut().zip(data.iter()).for_each(|(to, &x)| *to = F::from_f64(x));
    }
}

impl LoopKernel {
    /// Plans the body of a loop.
    pub fn new(Loop(body): &Loop, options: Options) -> Self {
        let mut graph = passes::run(body.graph.clone());
        // Captures are the data of a body: what needs nothing else runs once.
        for (i, input) in graph.inputs.iter_mut().enumerate() {
            let captured = (body.elements..body.elements + body.captures).contains(&i);
            input.kind = if captured { InputKind::Data } else { InputKind::Batch };
        }
        let is_small = small::fits(&graph);
        let plan = Plan::new(&graph, if is_small { options.flat() } else { options });
        let small = is_small.then(|| [&plan.once, &plan.every].map(|steps| Small::new(&plan, steps)));
        Self { body: body.clone(), graph, plan, small }
    }

    /// The elements of the body's arena.
    fn arena_len(&self) -> usize {
        self.small.as_ref().map_or(self.plan.len, |[once, every]| once.len().max(every.len()))
    }

    /// The elements that pass from one iteration to the next.
    fn carried(&self) -> usize {
        self.body.carry_shapes().map(|s| s.count()).sum()
    }

    /// The elements of scratch that [`LoopKernel::run`] needs.
    pub fn scratch<F: Scalar>(&self) -> usize {
        let (scratch, registers) = space::<F>(&self.plan);
        self.arena_len() + self.carried() + registers + scratch
    }

    /// The body's plan.
    pub fn print(&self) -> String {
        self.plan.print(&self.graph)
    }

    /// Computes the flat result.
    pub fn run<F: Scalar>(&self, x: &Inputs<F>, out: &mut [F], scratch: &mut [F], key: Key) {
        let body = &*self.body;
        let (arena, rest) = scratch.split_at_mut(self.arena_len());
        let (carried, rest) = rest.split_at_mut(self.carried());
        let (registers, scratch) = rest.split_at_mut(space::<F>(&self.plan).1);
        let is_random = body.is_random();
        let key = if is_random { key.fold_in(u64::from(body.stream)) } else { key };
        write_constants(&self.plan, &self.graph, arena);
        let place = |i: usize| -> Option<Range<usize>> { self.plan.inputs[InputId::new(i)].clone() };
        let first_carry = body.elements + body.captures;
        let inputs = first_carry + body.carries;
        for i in body.elements..inputs {
            if let Some(place) = place(i) {
                arena[place].copy_from_slice(x.get(i));
            }
        }
        match &self.small {
            Some([once, _]) => once.run(&self.plan.once, arena, scratch, registers, key),
            None => self.plan.once.iter().for_each(|step| run_step(step, arena, scratch, registers, key)),
        }
        let (results, last) = out.split_at_mut(body.carry_offset(0));
        // Without an iteration the carries stay as they start.
        let mut at = 0;
        for i in first_carry..inputs {
            carried[at..at + x.get(i).len()].copy_from_slice(x.get(i));
            at += x.get(i).len();
        }
        for iteration in 0..body.len {
            let i = if body.reverse { body.len - 1 - iteration } else { iteration };
            for e in 0..body.elements {
                if let Some(place) = place(e) {
                    let width = place.len();
                    copy(&mut arena[place], &x.get(e)[i * width..(i + 1) * width]);
                }
            }
            let key = if is_random { key.fold_in(i as u64) } else { key };
            match &self.small {
                Some([_, every]) => every.run(&self.plan.every, arena, scratch, registers, key),
                None => self.plan.every.iter().for_each(|step| run_step(step, arena, scratch, registers, key)),
            }
            let mut offset = 0;
            for output in &self.plan.outputs[body.carries..] {
                let width = output.len();
                copy(&mut results[offset + i * width..][..width], &arena[output.clone()]);
                offset += body.len * width;
            }
            // All carries are read before one is written: the next one may be another's present value.
            let mut at = 0;
            for output in &self.plan.outputs[..body.carries] {
                copy(&mut carried[at..at + output.len()], &arena[output.clone()]);
                at += output.len();
            }
            let mut at = 0;
            for (c, output) in self.plan.outputs[..body.carries].iter().enumerate() {
                if let Some(place) = place(first_carry + c) {
                    copy(&mut arena[place], &carried[at..at + output.len()]);
                }
                at += output.len();
            }
        }
        last.copy_from_slice(carried);
    }
}

/// Copies `from`; the values of loops are often single numbers, for which a call of `memcpy` would be long.
#[inline(always)]
fn copy<F: Scalar>(to: &mut [F], from: &[F]) {
    match (&mut *to, from) {
        ([to], [from]) => *to = *from,
        _ => to.copy_from_slice(from),
    }
}
