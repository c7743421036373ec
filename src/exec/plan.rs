//! Plans where every value lives and what runs in which order.
//!
//! In: a verified graph. Out: a [`Plan`]: steps for each set of data, steps for each run, and one arena in which every
//! stored value has a range, aligned to 64 bytes. Inputs, constants and what runs once keep their places; the others
//! share theirs as their lives allow, and an elementwise group may overwrite an operand that dies in it.

use super::schedule::{Buffer, BufferId, Content, Draft, Map, Member, Operand, Schedule, View, Work, schedule};
use super::tile::{Arg, Code, Instr, Load, Program};
use crate::index::IndexVec;
use crate::ir::graph::{Graph, InputId, ValueId};
use crate::kernels::conv::Method;
use crate::ops::Op;
use std::fmt::Write;
use std::ops::Range;

/// Elements to which buffers are aligned: 64 bytes of f32, 128 of f64.
pub(crate) const ALIGN: usize = 16;

/// What a plan may do. A plan for finding out where numbers go wrong does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Elementwise maps run together, without storing what passes between them.
    pub fuse: bool,
    /// Buffers whose value is dead are used again.
    pub reuse: bool,
    /// How convolutions are computed in single precision.
    pub convolution: Method,
}

impl Options {
    /// The same with a place of its own for every value.
    pub(crate) fn flat(self) -> Options {
        Options { fuse: false, reuse: false, ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options { fuse: true, reuse: true, convolution: Method::Auto }
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

impl Plan {
    /// Plans `graph`.
    pub fn new(graph: &Graph, options: Options) -> Plan {
        let schedule = schedule(graph, options);
        let lives = lives(graph, &schedule, options);
        let (starts, len, kept) = allocate(&schedule, &lives);
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
            plan.outputs.push(at(schedule.views[value].as_ref().expect("every value is scheduled")));
        }
        for view in &schedule.views {
            let view = view.as_ref().expect("every value is scheduled");
            let readable = schedule.buffers[view.buffer].stored && view.is_contiguous();
            plan.places.push(readable.then(|| at(view)));
        }
        let Schedule { buffers, once, every, .. } = schedule;
        let place = |draft: Draft| match draft {
            Draft::Kernel { value, kernel, operands, out } => Step::Kernel {
                value,
                kernel,
                operands: operands.iter().map(at).collect(),
                out: starts[out]..starts[out] + buffers[out].len,
            },
            Draft::Group { count, members } => assemble(count, &members, &buffers, &starts),
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
                        let operands: Vec<String> = operands.iter().map(|r| format!("{r:?}")).collect();
                        let _ = writeln!(text, "  {out:?} = {name} {}  // {value}", operands.join(" "));
                        if let Work::Loop(looped) = kernel {
                            looped.print().lines().for_each(|line| {
                                let _ = writeln!(text, "    | {line}");
                            });
                        }
                    }
                    Step::Tiles { program, values } => {
                        let stored: Vec<String> = values.iter().map(ValueId::to_string).collect();
                        let (count, registers) = (program.count, program.registers);
                        let _ = writeln!(
                            text,
                            "  {count} elements, {registers} registers, {} instructions  // {}",
                            program.code.len(),
                            stored.join(" ")
                        );
                        for &(address, register) in &program.constants {
                            let _ = writeln!(text, "    r{register} = number at {address}");
                        }
                        for instr in &program.code {
                            let _ = writeln!(text, "    {}", instruction(instr));
                        }
                    }
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

fn instruction(instr: &Instr) -> String {
    let arg = |arg: &Arg| match arg {
        Arg::Memory(address) => format!("{address}.."),
        Arg::Register(register) => format!("r{register}"),
    };
    let list = |args: &[Arg]| args.iter().map(arg).collect::<Vec<_>>().join(" ");
    match instr {
        Instr::Store { from, to } => format!("{to}.. = r{from}"),
        Instr::Compute { code, to } => match code {
            Code::Load(load) => format!("r{to} = load {} dims {:?} strides {:?}", load.start, load.dims, load.strides),
            Code::Unary(map, x) => format!("r{to} = {} {}", Op::Unary(*map).name(), arg(x)),
            Code::Binary(map, args) => format!("r{to} = {} {}", Op::Binary(*map).name(), list(args)),
            Code::Ternary(map, args) => format!("r{to} = {} {}", Op::Ternary(*map).name(), list(args)),
        },
    }
}

/// How long a buffer is needed.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Life {
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
        let buffer = schedule.views[value].as_ref().expect("every value is scheduled").buffer;
        lives[buffer] = match lives[buffer] {
            Life::Every(from, _) => Life::Every(from, usize::MAX),
            Life::Once(..) => Life::Kept,
            life => life,
        };
    }
    lives
}

/// Free ranges of the arena, in order, none touching another; the last one has no end.
struct Free(Vec<Range<usize>>);

impl Free {
    fn from(start: usize) -> Self {
        Free(std::iter::once(start..usize::MAX).collect())
    }
    /// The first place that is large enough.
    fn take(&mut self, len: usize) -> usize {
        let i = self.0.iter().position(|r| r.end - r.start >= len).expect("the last range has no end");
        let start = self.0[i].start;
        self.0[i].start += len;
        if self.0[i].is_empty() {
            self.0.remove(i);
        }
        start
    }
    fn give(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let i = self.0.partition_point(|r| r.start < range.start);
        self.0.insert(i, range);
        if i + 1 < self.0.len() && self.0[i].end == self.0[i + 1].start {
            self.0[i].end = self.0[i + 1].end;
            self.0.remove(i + 1);
        }
        if i > 0 && self.0[i - 1].end == self.0[i].start {
            self.0[i - 1].end = self.0[i].end;
            self.0.remove(i);
        }
    }
}

/// Start of each buffer, size of the arena, size of its kept part.
fn allocate(schedule: &Schedule, lives: &IndexVec<BufferId, Life>) -> (IndexVec<BufferId, usize>, usize, usize) {
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
    let mut len = kept;
    for (once, drafts) in [(true, &schedule.once), (false, &schedule.every)] {
        let mut free = Free::from(kept);
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
                if lives[buffer] == Life::Kept {
                    continue;
                }
                match dying.iter().position(|&b| may_take_over(schedule, draft, b, buffer)) {
                    Some(i) => starts[buffer] = starts[dying.remove(i)],
                    None => starts[buffer] = free.take(padded(buffer)),
                }
                len = len.max(starts[buffer] + padded(buffer));
                if ends_at(buffer, step) {
                    dying.push(buffer);
                }
            }
            for buffer in dying {
                free.give(starts[buffer]..starts[buffer] + padded(buffer));
            }
        }
    }
    (starts, len, kept)
}

/// Whether the group may store `to` over its operand `from`: all of it is read element by element only.
fn may_take_over(schedule: &Schedule, draft: &Draft, from: BufferId, to: BufferId) -> bool {
    let Draft::Group { members, .. } = draft else { return false };
    let is_result = members.iter().any(|m| m.buffer == from);
    !is_result
        && schedule.buffers[from].len == schedule.buffers[to].len
        && members.iter().flat_map(|m| &m.operands).all(|operand| match operand {
            Operand::View(view) if view.buffer == from => view.is_contiguous() && view.offset == 0,
            _ => true,
        })
}

/// Turns a group into a program: loads, maps, stores; then registers by the lives of the values.
fn assemble(
    count: usize,
    members: &[Member],
    buffers: &IndexVec<BufferId, Buffer>,
    starts: &IndexVec<BufferId, usize>,
) -> Step {
    // Virtual registers: one for each constant, load and member.
    let mut constants: Vec<(usize, usize)> = Vec::new();
    let mut code: Vec<(Code, usize)> = Vec::new();
    let mut n_virtual = 0;
    let mut fresh = || {
        n_virtual += 1;
        n_virtual - 1
    };
    let mut of_member: Vec<usize> = Vec::new();
    let mut loaded: Vec<(Load, usize)> = Vec::new();
    for member in members {
        let args: Vec<Arg> = member
            .operands
            .iter()
            .map(|operand| match operand {
                Operand::Member(m) => Arg::Register(of_member[*m]),
                Operand::View(view) => {
                    let start = starts[view.buffer] + view.offset;
                    if view.is_contiguous() {
                        return Arg::Memory(start);
                    }
                    if view.is_one_number() {
                        let known = constants.iter().find(|c| c.0 == start).map(|c| c.1);
                        let register = known.unwrap_or_else(|| {
                            let register = fresh();
                            constants.push((start, register));
                            register
                        });
                        return Arg::Register(register);
                    }
                    let load = Load::new(start, &view.dims, &view.strides);
                    let known = loaded.iter().find(|l| l.0 == load).map(|l| l.1);
                    Arg::Register(known.unwrap_or_else(|| {
                        let register = fresh();
                        code.push((Code::Load(load.clone()), register));
                        loaded.push((load, register));
                        register
                    }))
                }
            })
            .collect();
        let register = fresh();
        code.push((
            match (member.map, &args[..]) {
                (Map::Unary(map), &[x]) => Code::Unary(map, x),
                (Map::Binary(map), &[a, b]) => Code::Binary(map, [a, b]),
                (Map::Ternary(map), &[a, b, c]) => Code::Ternary(map, [a, b, c]),
                _ => unreachable!("a map has its number of operands"),
            },
            register,
        ));
        of_member.push(register);
    }
    // Stores over memory that the group also reads stand at the end.
    let read: Vec<usize> = members
        .iter()
        .flat_map(|m| &m.operands)
        .filter_map(|o| if let Operand::View(v) = o { Some(starts[v.buffer]) } else { None })
        .collect();
    let stored: Vec<&Member> = members.iter().filter(|m| buffers[m.buffer].stored).collect();
    let late = |m: &Member| read.contains(&starts[m.buffer]);
    let mut instrs: Vec<Instr> = Vec::new();
    for (code, to) in code {
        instrs.push(Instr::Compute { code, to });
        if let Some(member) = of_member.iter().position(|&r| r == to).map(|m| &members[m])
            && buffers[member.buffer].stored
            && !late(member)
        {
            instrs.push(Instr::Store { from: to, to: starts[member.buffer] });
        }
    }
    for (register, member) in of_member.iter().zip(members) {
        if buffers[member.buffer].stored && late(member) {
            instrs.push(Instr::Store { from: *register, to: starts[member.buffer] });
        }
    }
    let registers = assign_registers(&mut instrs, &mut constants, n_virtual);
    let values = stored.iter().map(|m| m.value).collect();
    Step::Tiles { program: Program { count, constants, code: instrs, registers }, values }
}

/// Replaces virtual registers by as few as their lives allow; returns their number.
fn assign_registers(instrs: &mut [Instr], constants: &mut [(usize, usize)], n_virtual: usize) -> usize {
    let mut last_use = vec![0; n_virtual];
    for (i, instr) in instrs.iter().enumerate() {
        for_each_register(instr, |r| last_use[r] = i);
    }
    let mut physical = vec![usize::MAX; n_virtual];
    let mut n = 0;
    for (_, register) in constants.iter_mut() {
        physical[*register] = n;
        last_use[*register] = usize::MAX;
        *register = n;
        n += 1;
    }
    let mut free: Vec<usize> = Vec::new();
    for (i, instr) in instrs.iter_mut().enumerate() {
        let mut dead: Vec<usize> = Vec::new();
        for_each_register(instr, |r| {
            if last_use[r] == i && !dead.contains(&r) {
                dead.push(r);
            }
        });
        // The result takes its register while the operands still hold theirs.
        let defined = if let Instr::Compute { to, .. } = instr { Some(*to) } else { None };
        if let Some(to) = defined {
            physical[to] = free.pop().unwrap_or_else(|| {
                n += 1;
                n - 1
            });
        }
        map_registers(instr, |r| physical[r]);
        free.extend(dead.into_iter().map(|r| physical[r]));
        if let Some(to) = defined.filter(|&to| last_use[to] <= i) {
            free.push(physical[to]);
        }
    }
    n
}

/// The registers that an instruction reads.
fn for_each_register(instr: &Instr, mut f: impl FnMut(usize)) {
    let mut arg = |arg: &Arg| {
        if let Arg::Register(r) = arg {
            f(*r);
        }
    };
    match instr {
        Instr::Store { from, .. } => f(*from),
        Instr::Compute { code, .. } => match code {
            Code::Load(_) => {}
            Code::Unary(_, x) => arg(x),
            Code::Binary(_, args) => args.iter().for_each(arg),
            Code::Ternary(_, args) => args.iter().for_each(arg),
        },
    }
}

fn map_registers(instr: &mut Instr, f: impl Fn(usize) -> usize) {
    let arg = |arg: &mut Arg| {
        if let Arg::Register(r) = arg {
            *r = f(*r);
        }
    };
    match instr {
        Instr::Store { from, .. } => *from = f(*from),
        Instr::Compute { code, to } => {
            *to = f(*to);
            match code {
                Code::Load(_) => {}
                Code::Unary(_, x) => arg(x),
                Code::Binary(_, args) => args.iter_mut().for_each(arg),
                Code::Ternary(_, args) => args.iter_mut().for_each(arg),
            }
        }
    }
}
