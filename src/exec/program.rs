//! Turns a group of the schedule into a program of tiles: loads, sources, maps, stores and sums, then registers by the
//! lives of the values; and prints programs.

use super::draft::{Buffer, BufferId, Member, Operand, Rule, View};
use super::tile::{Arg, Code, Instr, Load, Program, Rows, Sums, TILE};
use crate::index::IndexVec;
use crate::ir::graph::ValueId;
use crate::kernels::threads;
use crate::ops::Op;
use std::fmt::Write;

/// Bytes of a matrix that the rows of one tile take: they are read twice, and stay in the second-level cache.
const MATRIX_BYTES: usize = 1 << 18;
/// Rows of a tile at least, whatever they take.
const MIN_TILE: usize = 16;

/// The program of a group, and the values that it stores.
pub(super) fn assemble(
    count: usize,
    members: &[Member],
    buffers: &IndexVec<BufferId, Buffer>,
    starts: &IndexVec<BufferId, usize>,
) -> (Program, Vec<ValueId>) {
    let start = |view: &View| starts[view.buffer] + view.offset;
    let mut a = Assembler { constants: Vec::new(), loaded: Vec::new(), instrs: Vec::new(), registers: 0 };
    // Stores over memory that the group also reads stand at the end.
    let views = members.iter().flat_map(|m| &m.operands).filter_map(|o| match o {
        Operand::View(view) => Some(view),
        Operand::Member(_) => None,
    });
    let read: Vec<usize> = views.map(|view| starts[view.buffer]).collect();
    let mut of_member: Vec<usize> = Vec::new();
    let mut late: Vec<Instr> = Vec::new();
    let mut sums: Vec<Sums> = Vec::new();
    let (mut partial, mut row_len) = (0, 0);
    for member in members {
        let address = starts[member.buffer];
        let rows = |operand: &Operand| match operand {
            Operand::View(view) => Rows::new(start(view), &view.dims, &view.strides),
            Operand::Member(_) => unreachable!("matrices are in memory"),
        };
        if member.rule.is_sink() {
            let len = buffers[member.buffer].len;
            let (x, what) = match (&member.rule, &member.operands[..]) {
                (Rule::Sum { dims, strides }, [x]) => (x, Err(Load::new(0, dims, strides))),
                (_, [matrix, x]) => (x, Ok(rows(matrix))),
                _ => unreachable!("a sum has its operands"),
            };
            let Operand::Member(x) = x else { unreachable!("a group sums what it computes") };
            let (from, sum) = (of_member[*x], sums.len());
            a.instrs.push(match what {
                Err(over) => Instr::Sum { from, over, sum },
                Ok(matrix) => {
                    row_len = row_len.max(matrix.len);
                    Instr::Columns { from, matrix, sum }
                }
            });
            sums.push(Sums { to: address, len, at: partial });
            partial += 2 * len;
            of_member.push(usize::MAX);
            continue;
        }
        let args: Vec<Arg> = match member.rule {
            Rule::RowProducts => Vec::new(),
            _ => member
                .operands
                .iter()
                .map(|operand| match operand {
                    Operand::Member(m) => Arg::Register(of_member[*m]),
                    Operand::View(view) => a.memory(start(view), view),
                })
                .collect(),
        };
        let code = match (&member.rule, &args[..], &member.operands[..]) {
            (&Rule::Unary(map), &[x], _) => Code::Unary(map, x),
            (&Rule::Binary(map), &[a, b], _) => Code::Binary(map, [a, b]),
            (&Rule::Ternary(map), &[a, b, c], _) => Code::Ternary(map, [a, b, c]),
            (&Rule::Noise(kind, stream), ..) => Code::Noise(kind, stream),
            (Rule::RowProducts, _, [matrix, Operand::View(vector)]) => {
                let matrix = rows(matrix);
                row_len = row_len.max(matrix.len);
                Code::Products(matrix, start(vector))
            }
            _ => unreachable!("a member has its number of operands"),
        };
        let to = a.fresh();
        a.instrs.push(Instr::Compute { code, to });
        of_member.push(to);
        if buffers[member.buffer].stored {
            let store = Instr::Store { from: to, to: address };
            if read.contains(&address) { &mut late } else { &mut a.instrs }.push(store);
        }
    }
    a.instrs.append(&mut late);
    let registers = a.assign_registers();
    let tile = match row_len {
        0 => TILE,
        len => (MATRIX_BYTES / (size_of::<f64>() * len)).clamp(MIN_TILE, TILE) / MIN_TILE * MIN_TILE,
    };
    // Partial sums cost little beside what they are sums of.
    let enough = (count * (1 + row_len) / (4 * partial).max(1)).max(1);
    let parts = if sums.is_empty() { 0 } else { threads::parts(count.div_ceil(tile), partial).min(enough) };
    let program = Program { count, tile, constants: a.constants, code: a.instrs, registers, sums, parts };
    (program, members.iter().filter(|m| buffers[m.buffer].stored).map(|m| m.value).collect())
}

/// A program in the making; registers are virtual at first: one for each constant, load and member.
struct Assembler {
    constants: Vec<(usize, usize)>,
    loaded: Vec<(Load, usize)>,
    instrs: Vec<Instr>,
    registers: usize,
}

impl Assembler {
    fn fresh(&mut self) -> usize {
        self.registers += 1;
        self.registers - 1
    }

    /// A view that starts at `start` as an operand.
    fn memory(&mut self, start: usize, view: &View) -> Arg {
        if view.is_contiguous() {
            return Arg::Memory(start);
        }
        if view.is_one_number() {
            let known = self.constants.iter().find(|c| c.0 == start).map(|c| c.1);
            return Arg::Register(known.unwrap_or_else(|| {
                let register = self.fresh();
                self.constants.push((start, register));
                register
            }));
        }
        let load = Load::new(start, &view.dims, &view.strides);
        let known = self.loaded.iter().find(|l| l.0 == load).map(|l| l.1);
        Arg::Register(known.unwrap_or_else(|| {
            let to = self.fresh();
            self.instrs.push(Instr::Compute { code: Code::Load(load.clone()), to });
            self.loaded.push((load, to));
            to
        }))
    }

    /// Replaces virtual registers by as few as their lives allow; returns their number.
    fn assign_registers(&mut self) -> usize {
        let mut last_use = vec![0; self.registers];
        for (i, instr) in self.instrs.iter().enumerate() {
            for_each_register(instr, |r| last_use[r] = i);
        }
        let mut physical = vec![usize::MAX; self.registers];
        let mut n = 0;
        for (_, register) in &mut self.constants {
            physical[*register] = n;
            last_use[*register] = usize::MAX;
            *register = n;
            n += 1;
        }
        let mut free: Vec<usize> = Vec::new();
        for (i, instr) in self.instrs.iter_mut().enumerate() {
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
}

/// The registers that an instruction reads.
fn for_each_register(instr: &Instr, mut f: impl FnMut(usize)) {
    let mut arg = |arg: &Arg| {
        if let Arg::Register(r) = arg {
            f(*r);
        }
    };
    match instr {
        Instr::Store { from, .. } | Instr::Sum { from, .. } | Instr::Columns { from, .. } => f(*from),
        Instr::Compute { code, .. } => match code {
            Code::Load(_) | Code::Noise(..) | Code::Products(..) => {}
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
        Instr::Store { from, .. } | Instr::Sum { from, .. } | Instr::Columns { from, .. } => *from = f(*from),
        Instr::Compute { code, to } => {
            *to = f(*to);
            match code {
                Code::Load(_) | Code::Noise(..) | Code::Products(..) => {}
                Code::Unary(_, x) => arg(x),
                Code::Binary(_, args) => args.iter_mut().for_each(arg),
                Code::Ternary(_, args) => args.iter_mut().for_each(arg),
            }
        }
    }
}

/// A program as text; `values` are those that it stores.
pub(super) fn describe(program: &Program, values: &[ValueId]) -> String {
    let mut text = String::new();
    let stored: Vec<String> = values.iter().map(ValueId::to_string).collect();
    let Program { count, tile, registers, .. } = program;
    let _ = write!(text, "  {count} elements, {registers} registers, {} instructions", program.code.len());
    if program.parts > 0 && count > tile {
        let _ = write!(text, ", tiles of {tile}, sums in {} parts", program.parts);
    }
    let _ = writeln!(text, "  // {}", stored.join(" "));
    for &(address, register) in &program.constants {
        let _ = writeln!(text, "    r{register} = number at {address}");
    }
    for instr in &program.code {
        let _ = writeln!(text, "    {}", instruction(program, instr));
    }
    text
}

fn instruction(program: &Program, instr: &Instr) -> String {
    let arg = |arg: &Arg| match arg {
        Arg::Memory(address) => format!("{address}.."),
        Arg::Register(register) => format!("r{register}"),
    };
    let list = |args: &[Arg]| args.iter().map(arg).collect::<Vec<_>>().join(" ");
    let rows = |m: &Rows| format!("rows {} of {} strides {:?}", m.start, m.len, [m.row_stride, m.stride]);
    let place = |sum: usize| {
        let Sums { to, len, .. } = program.sums[sum];
        format!("{to}..{} +=", to + len)
    };
    match instr {
        Instr::Store { from, to } => format!("{to}.. = r{from}"),
        Instr::Sum { from, sum, .. } if program.sums[*sum].len == 1 => format!("{} sum r{from}", place(*sum)),
        Instr::Sum { from, over, sum } => {
            format!("{} sum r{from} dims {:?} strides {:?}", place(*sum), over.dims, over.strides)
        }
        Instr::Columns { from, matrix, sum } => format!("{} r{from} times {}", place(*sum), rows(matrix)),
        Instr::Compute { code, to } => match code {
            Code::Load(load) => format!("r{to} = load {} dims {:?} strides {:?}", load.start, load.dims, load.strides),
            Code::Unary(map, x) => format!("r{to} = {} {}", Op::Unary(*map).name(), arg(x)),
            Code::Binary(map, args) => format!("r{to} = {} {}", Op::Binary(*map).name(), list(args)),
            Code::Ternary(map, args) => format!("r{to} = {} {}", Op::Ternary(*map).name(), list(args)),
            Code::Noise(kind, stream) => format!("r{to} = noise[{kind:?}, stream={stream}]").to_lowercase(),
            Code::Products(m, vector) => format!("r{to} = {} times {vector}..{}", rows(m), vector + m.len),
        },
    }
}
