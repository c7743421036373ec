//! Plans where every value lives and what runs in which order.
//!
//! In: a verified graph. Out: a [`Plan`]: steps for each set of data, steps for each run, and one arena in which every
//! stored value has a range, aligned to 64 bytes. Inputs, constants and what runs once keep their places; the others
//! share theirs as their lives allow, and an elementwise group may overwrite an operand that dies in it.

use super::draft::{BufferId, Content, Draft, Operand, Rule, Schedule, View, Work};
use super::program::{assemble, describe};
use super::schedule::schedule;
use super::tile::Program;
use crate::index::IndexVec;
use crate::ir::graph::{Graph, InputId, ValueId};
use crate::kernels::conv::Method;
use crate::ops::Op;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;

/// Elements to which buffers are aligned: 64 bytes of f32, 128 of f64.
pub(crate) const ALIGN: usize = 16;

/// What a plan may do. A plan for finding out where numbers go wrong does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Elementwise maps run together, without storing what passes between them.
    pub fuse: bool,
    /// Convolutions and pools end with the bias and the relu that follow them (with `fuse`).
    pub endings: bool,
    /// Buffers whose value is dead are used again.
    pub reuse: bool,
    /// How convolutions are computed in single precision.
    pub convolution: Method,
    /// What the plan should need at most [bytes]: where it would need more, values are computed again instead of kept.
    pub room: Option<usize>,
}

impl Options {
    /// The same with a place of its own for every value.
    pub(crate) fn flat(self) -> Options {
        Options { fuse: false, endings: false, reuse: false, room: None, ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options { fuse: true, endings: true, reuse: true, convolution: Method::Auto, room: None }
    }
}

/// A step with all its addresses.
pub(crate) enum Step {
    /// Loops over operands and a result that do not overlap.
    Kernel { value: ValueId, kernel: Work, operands: Vec<Range<usize>>, out: Range<usize> },
    /// A fused group of elementwise maps; the values that it stores.
    Tiles { program: Program, values: Vec<ValueId> },
}

/// What runs, and where everything lives.
pub struct Plan {
    /// Steps for each set of data.
    pub(crate) once: Vec<Step>,
    /// Steps for each run.
    pub(crate) every: Vec<Step>,
    /// The arena's size [elements].
    pub(crate) len: usize,
    /// The part of it that keeps its values from run to run [elements].
    pub(crate) kept: usize,
    /// Where each input is written; `None` when nobody reads it.
    pub(crate) inputs: IndexVec<InputId, Option<Range<usize>>>,
    /// Numbers that are written once, when the plan is made.
    pub(crate) numbers: Vec<(usize, f64)>,
    /// Constant arrays that are written once, when the plan is made: the value that reads the constant.
    pub(crate) constants: Vec<(ValueId, Range<usize>)>,
    /// Where the outputs are, in order.
    pub(crate) outputs: Vec<Range<usize>>,
    /// Where each value is when its step has run, if it is stored and contiguous.
    pub(crate) places: IndexVec<ValueId, Option<Range<usize>>>,
}

/// Order and places, before the steps are put together.
pub(super) struct Outline {
    pub schedule: Schedule,
    pub lives: IndexVec<BufferId, Life>,
    /// Start of each buffer.
    pub starts: IndexVec<BufferId, usize>,
    /// The size of the arena, and of what the steps for each set of data and those for each run use of it [elements].
    pub len: usize,
    pub reach: [usize; 2],
    /// The part that keeps its values from run to run [elements].
    pub kept: usize,
    /// Elements in use at each of the steps for each run, with those that are kept.
    pub used: Vec<usize>,
}

impl Outline {
    pub fn new(graph: &Graph, options: Options) -> Outline {
        let schedule = schedule(graph, options);
        let lives = lives(graph, &schedule, options);
        allocate(schedule, lives)
    }
}

impl Plan {
    /// Plans `graph`.
    pub fn new(graph: &Graph, options: Options) -> Plan {
        Plan::of(graph, Outline::new(graph, options))
    }

    /// Puts the steps together.
    pub(super) fn of(graph: &Graph, outline: Outline) -> Plan {
        let Outline { schedule, starts, len, kept, .. } = outline;
        let at = |view: &View| starts[view.buffer] + view.offset..starts[view.buffer] + view.offset + view.count();
        let mut plan = Plan {
            once: Vec::new(),
            every: Vec::new(),
            len,
            kept,
            inputs: graph.inputs.iter().map(|_| None).collect(),
            numbers: Vec::new(),
            constants: Vec::new(),
            outputs: Vec::new(),
            places: IndexVec::new(),
        };
        for (id, buffer) in schedule.buffers.iter_enumerated() {
            let range = starts[id]..starts[id] + buffer.len;
            match buffer.content {
                Content::Input => {
                    if let Op::Input(input) = graph.nodes[buffer.value].op {
                        plan.inputs[input] = Some(range);
                    }
                }
                Content::Constant => plan.constants.push((buffer.value, range)),
                Content::Number(value) => plan.numbers.push((starts[id], value)),
                Content::Computed => {}
            }
        }
        for &(_, value) in &graph.outputs {
            plan.outputs.push(at(schedule.views[value].as_ref().expect("outputs are scheduled")));
        }
        for view in &schedule.views {
            let readable = view.as_ref().filter(|v| schedule.buffers[v.buffer].stored && v.is_contiguous());
            plan.places.push(readable.map(at));
        }
        let Schedule { buffers, once, every, .. } = schedule;
        let place = |draft: Draft| match draft {
            Draft::Kernel { value, kernel, operands, out } => Step::Kernel {
                value,
                kernel,
                operands: operands.iter().map(at).collect(),
                out: starts[out]..starts[out] + buffers[out].len,
            },
            Draft::Group { count, members } => {
                let (program, values) = assemble(count, &members, &buffers, &starts);
                Step::Tiles { program, values }
            }
        };
        plan.once = once.into_iter().map(place).collect();
        plan.every = every.into_iter().map(place).collect();
        plan
    }

    /// The size of the arena [elements].
    pub fn peak_elements(&self) -> usize {
        self.len
    }

    /// The plan as text: steps in order with their addresses, and the arena's size.
    pub fn print(&self, graph: &Graph) -> String {
        let mut text = String::new();
        for (title, steps) in [("once", &self.once), ("every run", &self.every)] {
            let _ = writeln!(text, "{title}: {} steps", steps.len());
            for step in steps {
                match step {
                    Step::Kernel { value, kernel, operands, out } => {
                        let name = crate::ir::print::operation(graph, *value);
                        let ending = if let Work::Kernel(kernel) = kernel { kernel.ending() } else { "" };
                        let operands: Vec<String> = operands.iter().map(|r| format!("{r:?}")).collect();
                        let _ = writeln!(text, "  {out:?} = {name}{ending} {}  // {value}", operands.join(" "));
                        if let Work::Loop(looped) = kernel {
                            looped.print().lines().for_each(|line| {
                                let _ = writeln!(text, "    | {line}");
                            });
                        }
                    }
                    Step::Tiles { program, values } => text += &describe(program, values),
                }
            }
        }
        for ((name, _), range) in graph.outputs.iter().zip(&self.outputs) {
            let _ = writeln!(text, "output {name} = {range:?}");
        }
        let _ = writeln!(text, "arena: {} elements, {} of them kept from run to run", self.len, self.kept);
        text
    }
}

/// How long a buffer is needed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Life {
    /// From before the first step to after the last, over all runs.
    Kept,
    /// From one step to another of the steps for each set of data.
    Once(usize, usize),
    /// Likewise, of the steps for each run.
    Every(usize, usize),
    /// Never: the value passes through registers.
    None,
}

fn lives(graph: &Graph, schedule: &Schedule, options: Options) -> IndexVec<BufferId, Life> {
    let mut lives: IndexVec<BufferId, Life> = schedule
        .buffers
        .iter()
        .map(|b| match b.content {
            Content::Computed => Life::None,
            _ => Life::Kept,
        })
        .collect();
    for (once, drafts) in [(true, &schedule.once), (false, &schedule.every)] {
        for (step, draft) in drafts.iter().enumerate() {
            for buffer in schedule.writes(draft) {
                lives[buffer] = match (options.reuse, once) {
                    (false, _) => Life::Kept,
                    (true, true) => Life::Once(step, step),
                    (true, false) => Life::Every(step, step),
                };
            }
            for buffer in Schedule::reads(draft) {
                lives[buffer] = match (lives[buffer], once) {
                    (Life::Once(from, _), true) => Life::Once(from, step),
                    (Life::Every(from, _), false) => Life::Every(from, step),
                    // Made once, read in every run.
                    (Life::Once(..), false) => Life::Kept,
                    (life, _) => life,
                };
            }
        }
    }
    for &(_, value) in &graph.outputs {
        let buffer = schedule.views[value].as_ref().expect("outputs are scheduled").buffer;
        lives[buffer] = match lives[buffer] {
            Life::Every(from, _) => Life::Every(from, usize::MAX),
            Life::Once(..) => Life::Kept,
            life => life,
        };
    }
    lives
}

/// Buffers that follow each other in one place: a group may store its result over an operand that dies in it.
struct Place {
    buffers: Vec<BufferId>,
    /// Elements, a multiple of [`ALIGN`].
    len: usize,
    /// The first and the last step in which it is in use.
    steps: [usize; 2],
}

/// Where the places start, from `first` on; the largest get theirs first, each the lowest that nothing else needs at the
/// time, so that small ones fill the holes. Also says where the last one ends.
fn arrange(places: &[Place], first: usize) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|&i| (Reverse(places[i].len), places[i].steps));
    let mut starts = vec![first; places.len()];
    // Those that have their place, by their starts.
    let mut placed: Vec<usize> = Vec::new();
    let mut end = first;
    for i in order {
        let Place { len, steps, .. } = places[i];
        let mut start = first;
        for &other in &placed {
            let Place { steps: others, len: taken, .. } = places[other];
            if steps[0] > others[1] || others[0] > steps[1] {
                continue;
            }
            if starts[other] >= start + len {
                break;
            }
            start = start.max(starts[other] + taken);
        }
        starts[i] = start;
        end = end.max(start + len);
        placed.insert(placed.partition_point(|&other| starts[other] <= start), i);
    }
    (starts, end)
}

/// Gives every buffer its place.
fn allocate(schedule: Schedule, lives: IndexVec<BufferId, Life>) -> Outline {
    let padded = |b: BufferId| schedule.buffers[b].len.next_multiple_of(ALIGN);
    let mut starts: IndexVec<BufferId, usize> = schedule.buffers.iter().map(|_| 0).collect();
    let mut kept = 0;
    // Arrays first, each from a multiple of `ALIGN` on; then single numbers side by side.
    for single in [false, true] {
        for (id, &life) in lives.iter_enumerated() {
            if life == Life::Kept && (schedule.buffers[id].len == 1) == single {
                starts[id] = kept;
                kept += if single { 1 } else { padded(id) };
            }
        }
    }
    kept = kept.next_multiple_of(ALIGN);
    let mut reach = [kept; 2];
    let mut used = Vec::with_capacity(schedule.every.len());
    for (once, drafts) in [(true, &schedule.once), (false, &schedule.every)] {
        let mut places: Vec<Place> = Vec::new();
        let mut place_of: HashMap<BufferId, usize> = HashMap::new();
        let mut present = kept;
        let ends_at = |b: BufferId, step: usize| match lives[b] {
            Life::Once(_, end) => once && end == step,
            Life::Every(_, end) => !once && end == step,
            _ => false,
        };
        for (step, draft) in drafts.iter().enumerate() {
            let mut dying: Vec<BufferId> = Schedule::reads(draft).into_iter().filter(|&b| ends_at(b, step)).collect();
            dying.sort();
            dying.dedup();
            for buffer in schedule.writes(draft) {
                let (Life::Once(_, end) | Life::Every(_, end)) = lives[buffer] else { continue };
                let place = match dying.iter().position(|&b| may_take_over(&schedule, draft, b, buffer)) {
                    Some(i) => place_of[&dying.remove(i)],
                    None => {
                        present += padded(buffer);
                        places.push(Place { buffers: Vec::new(), len: padded(buffer), steps: [step, end] });
                        places.len() - 1
                    }
                };
                places[place].buffers.push(buffer);
                places[place].steps[1] = end;
                place_of.insert(buffer, place);
                if ends_at(buffer, step) {
                    dying.push(buffer);
                }
            }
            if !once {
                used.push(present);
            }
            present -= dying.into_iter().map(padded).sum::<usize>();
        }
        let (found, end) = arrange(&places, kept);
        reach[usize::from(!once)] = end;
        for (place, start) in places.iter().zip(found) {
            place.buffers.iter().for_each(|&buffer| starts[buffer] = start);
        }
    }
    Outline { len: reach[0].max(reach[1]), reach, schedule, lives, starts, kept, used }
}

/// Whether the group may store `to` over its operand `from`: all of it is read element by element only.
fn may_take_over(schedule: &Schedule, draft: &Draft, from: BufferId, to: BufferId) -> bool {
    let Draft::Group { count, members } = draft else { return false };
    let is_result = members.iter().any(|m| m.buffer == from || (m.buffer == to && m.rule.is_sink()));
    !is_result
        && schedule.buffers[from].len == schedule.buffers[to].len
        && members.iter().all(|member| {
            let whole = matches!(member.rule, Rule::RowProducts | Rule::ColumnProducts);
            member.operands.iter().all(|operand| match operand {
                Operand::View(view) if view.buffer == from => !whole && view.is_in_step(*count),
                _ => true,
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::values;

    #[test]
    fn places_in_use_together_do_not_overlap() {
        for seed in 0..20 {
            let numbers: Vec<usize> = values::<f64>(seed, 300).iter().map(|x| (x.abs() * 1e6) as usize).collect();
            let place = |n: &[usize]| Place {
                buffers: Vec::new(),
                len: n[0] % 9 * ALIGN,
                steps: [n[1] % 30, n[1] % 30 + n[2] % 12],
            };
            let places: Vec<Place> = numbers.chunks_exact(3).map(place).collect();
            let (starts, end) = arrange(&places, ALIGN);
            for (i, a) in places.iter().enumerate() {
                assert!(starts[i] >= ALIGN && starts[i] + a.len <= end && starts[i].is_multiple_of(ALIGN));
                for (j, b) in places.iter().enumerate().skip(i + 1) {
                    let together = a.steps[0] <= b.steps[1] && b.steps[0] <= a.steps[1];
                    let apart = starts[i] + a.len <= starts[j] || starts[j] + b.len <= starts[i];
                    assert!(!together || apart || a.len * b.len == 0, "{i} and {j} of seed {seed}");
                }
            }
        }
    }
}
