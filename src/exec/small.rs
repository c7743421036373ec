//! Plans of few numbers as one flat program.
//!
//! Where a value has one element or a few dozen, what a step costs is not its arithmetic but getting there: a call, a
//! question for vector instructions, checks of slices. A [`Small`] holds all maps of a plan in one array of
//! instructions with all addresses known, and one loop runs them: single numbers as single numbers, arrays eight
//! elements at a time, normal noise of all streams side by side. Whatever is no map, sum or noise is run as the step that
//! it is.
//!
//! It needs a plan in which no place is used twice ([`Options::flat`]): noise is drawn first, whenever it is read. Values
//! of more than one element start at multiples of [`ALIGN`] and own the elements up to the next one, so that the last
//! eight may be written whole. Results are those of the plan's own steps, to the bit.

use super::plan::{ALIGN, Plan, Step};
use super::run::run_step;
use super::schedule::Work;
use super::tile::{self, Arg, Load, Program};
use crate::ir::graph::Graph;
use crate::kernels::elementwise::{Binary, Ternary, Unary, binary_table, unary_table};
use crate::kernels::reduce::{self, Reduce};
use crate::kernels::{Scalar, simd, special};
use crate::ops::kernel::Kernel;
use crate::ops::{NoiseKind, Op};
use crate::rng::{self, Key, Lane};

/// Elements computed side by side.
const LANES: usize = 8;
/// Elements past the end of memory that the last values may be read with.
const SLACK: usize = 16;
/// Arrays longer than this are as fast tile by tile.
const MAX_COUNT: usize = 512;
/// Elements of all values together: no place is used twice, and all of them should stay in a near cache.
const MAX_TOTAL: usize = 1 << 14;
/// Longer noise is drawn by itself.
const MAX_NOISE: usize = 64;

/// An operand: where it is; with [`FIXED`] it is one number, without it moves on with the result.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place(u32);

/// The bit of a [`Place`] that no address has.
const FIXED: u32 = 1 << 31;

impl Place {
    #[inline(always)]
    fn at(self) -> usize {
        (self.0 & !FIXED) as usize
    }
    #[inline(always)]
    fn moves(self) -> bool {
        self.0 & FIXED == 0
    }
}

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Code {
    /// A map of single numbers.
    Unary1(Unary),
    Binary1(Binary),
    Ternary1(Ternary),
    /// A map of arrays.
    Unary(Unary),
    Binary(Binary),
    Ternary(Ternary),
    /// `n` elements side by side.
    Copy,
    /// The sum of `n` elements.
    Sum,
    /// A strided view, by its number `n`.
    Load,
    /// A step of the plan, by its number `n`.
    Step,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Instr {
    code: Code,
    /// Elements, or the number of a view or step.
    n: u32,
    /// Where the result goes.
    to: u32,
    args: [Place; 3],
}

/// A flat program.
#[derive(Debug)]
pub(crate) struct Small {
    code: Vec<Instr>,
    /// Blocks of normal noise where one gives two numbers (f64), and where it gives four (f32).
    noise: [Vec<Lane>; 2],
    loads: Vec<Load>,
    /// The memory that it runs in: the plan's arena and what follows it [elements].
    len: usize,
}

/// Whether all values of a graph are so small that a flat program is the best way to run it.
pub(crate) fn fits(graph: &Graph) -> bool {
    let mut total = 0;
    graph.nodes.iter().all(|node| {
        let count = node.shape.count();
        let (stored, longest) = match node.op {
            Op::Reshape { .. } | Op::Broadcast { .. } | Op::Transpose { .. } | Op::Slice { .. } => (0, MAX_TOTAL),
            Op::StopGradient | Op::ToReal | Op::ToInt | Op::Full { .. } => (0, MAX_TOTAL),
            Op::Input(_) | Op::Constant(_) | Op::Scan(_) => (count, MAX_TOTAL),
            _ => (count, MAX_COUNT),
        };
        total += stored;
        total <= MAX_TOTAL && count <= longest
    })
}

fn narrow(address: usize) -> u32 {
    let narrow = u32::try_from(address).ok().filter(|a| a & FIXED == 0);
    narrow.expect("small plans have small addresses")
}

impl Small {
    /// Compiles `steps` of `plan`, in which no place is used twice.
    pub fn new(plan: &Plan, steps: &[Step]) -> Self {
        let mut small = Small { code: Vec::new(), noise: [Vec::new(), Vec::new()], loads: Vec::new(), len: plan.len };
        let mut temporary = 0;
        for (i, step) in steps.iter().enumerate() {
            match step {
                Step::Tiles { program, .. } if program.count <= MAX_COUNT => {
                    temporary = temporary.max(small.program(program, plan.len));
                }
                Step::Kernel { kernel: Work::Kernel(kernel), operands, out, .. } => match kernel {
                    &Kernel::Noise(NoiseKind::Normal, stream) if out.len() <= MAX_NOISE => {
                        for (lanes, each) in small.noise.iter_mut().zip([2, 4]) {
                            lanes.extend(Lane::cut(stream, narrow(out.start), out.len(), each));
                        }
                    }
                    Kernel::Reduce { kind: Reduce::Sum, stages } if matches!(stages[..], [[1, _, 1]]) => {
                        small.emit(Code::Sum, operands[0].len(), out.start, &[place(operands[0].start)]);
                    }
                    Kernel::Copy { dims, offset, strides } if is_even(dims, strides) => {
                        small.emit(Code::Copy, out.len(), out.start, &[place(operands[0].start + offset)]);
                    }
                    _ => small.emit(Code::Step, i, 0, &[]),
                },
                _ => small.emit(Code::Step, i, 0, &[]),
            }
        }
        small.len = plan.len.next_multiple_of(ALIGN) + temporary + SLACK;
        small
    }

    fn emit(&mut self, code: Code, n: usize, to: usize, args: &[Place]) {
        let args = std::array::from_fn(|i| args.get(i).copied().unwrap_or(Place(0)));
        self.code.push(Instr { code, n: narrow(n), to: narrow(to), args });
    }

    /// Appends a group of maps; returns the elements of memory after the arena that it uses.
    fn program(&mut self, program: &Program, arena: usize) -> usize {
        let n = program.count;
        if n == 0 {
            return 0;
        }
        let width = n.next_multiple_of(ALIGN);
        let own = |register: usize| arena.next_multiple_of(ALIGN) + register * width;
        // Where the value of each register is: in a place of its own, or where it has been stored.
        let mut registers = vec![place(0); program.registers];
        for &(address, register) in &program.constants {
            registers[register] = Place(narrow(address) | if n == 1 { 0 } else { FIXED });
        }
        for (i, instr) in program.code.iter().enumerate() {
            match instr {
                &tile::Instr::Store { from, to } => {
                    if registers[from] != place(to) {
                        self.emit(Code::Copy, n, to, &[registers[from]]);
                    }
                }
                tile::Instr::Compute { code, to } => {
                    let at = match program.code.get(i + 1) {
                        Some(&tile::Instr::Store { from, to: address }) if from == *to => address,
                        _ => own(*to),
                    };
                    let get = |arg: &Arg| match *arg {
                        Arg::Memory(address) => place(address),
                        Arg::Register(register) => registers[register],
                    };
                    match code {
                        tile::Code::Load(load) => {
                            self.emit(Code::Load, self.loads.len(), at, &[]);
                            self.loads.push(load.clone());
                        }
                        tile::Code::Unary(map, x) => {
                            let code = if n == 1 { Code::Unary1(*map) } else { Code::Unary(*map) };
                            self.emit(code, n, at, &[get(x)]);
                        }
                        tile::Code::Binary(map, args) => {
                            let code = if n == 1 { Code::Binary1(*map) } else { Code::Binary(*map) };
                            self.emit(code, n, at, &args.each_ref().map(get));
                        }
                        tile::Code::Ternary(map, args) => {
                            let code = if n == 1 { Code::Ternary1(*map) } else { Code::Ternary(*map) };
                            self.emit(code, n, at, &args.each_ref().map(get));
                        }
                    }
                    registers[*to] = place(at);
                }
            }
        }
        program.registers * width
    }

    /// The memory that it runs in [elements]; the plan's arena comes first.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The instructions and what they are, for `emit`.
    pub fn print(&self) -> String {
        let maps = self.code.iter().filter(|i| i.code != Code::Step).count();
        let (blocks, steps) = (self.noise[0].len(), self.code.len() - maps);
        format!("one flat program: {maps} instructions, {steps} steps beside them, {blocks} blocks of noise\n")
    }

    /// Runs the program. `memory` has [`Small::len`] elements; `steps` are those that it was made of.
    pub fn run<F: Scalar>(&self, steps: &[Step], memory: &mut [F], scratch: &mut [F], registers: &mut [F], key: Key) {
        let memory = &mut memory[..self.len];
        simd::dispatch(
            #[inline(always)]
            || self.interpret(steps, memory, scratch, registers, key),
        );
    }

    #[inline(always)]
    fn interpret<F: Scalar>(&self, steps: &[Step], memory: &mut [F], scratch: &mut [F], registers: &mut [F], key: Key) {
        rng::fill_normal_lanes(key, &self.noise[usize::from(F::PER_BLOCK == 4)], memory);
        for instr in &self.code {
            let n = instr.n as usize;
            let to = instr.to as usize;
            let [a, b, c] = instr.args;
            match instr.code {
                Code::Unary1(map) => {
                    macro_rules! go {
                        ($cost:expr, |$x:ident| $body:expr) => {{
                            let $x = memory[a.0 as usize];
                            memory[to] = $body;
                        }};
                    }
                    unary_table!(map, go, F);
                }
                Code::Binary1(map) => {
                    macro_rules! go {
                        ($cost:expr, |$x:ident, $y:ident| $body:expr) => {{
                            let ($x, $y) = (memory[a.0 as usize], memory[b.0 as usize]);
                            memory[to] = $body;
                        }};
                    }
                    binary_table!(map, go, F);
                }
                Code::Ternary1(map) => {
                    let (a, b, c) = (memory[a.0 as usize], memory[b.0 as usize], memory[c.0 as usize]);
                    memory[to] = ternary(map, a, b, c);
                }
                Code::Unary(map) => {
                    macro_rules! go {
                        (SPECIAL, |$x:ident| $body:expr) => {
                            for i in 0..n {
                                let $x = element(memory, a, i);
                                memory[to + i] = $body;
                            }
                        };
                        ($cost:expr, |$x:ident| $body:expr) => {
                            for i in (0..n).step_by(LANES) {
                                let x = lanes(memory, a, i);
                                let mut y = [F::ZERO; LANES];
                                for (y, $x) in y.iter_mut().zip(x) {
                                    *y = $body;
                                }
                                write(memory, to + i, y);
                            }
                        };
                    }
                    unary_table!(map, go, F);
                }
                Code::Binary(map) => {
                    macro_rules! go {
                        (SPECIAL, |$x:ident, $y:ident| $body:expr) => {
                            for i in 0..n {
                                let ($x, $y) = (element(memory, a, i), element(memory, b, i));
                                memory[to + i] = $body;
                            }
                        };
                        ($cost:expr, |$x:ident, $y:ident| $body:expr) => {
                            for i in (0..n).step_by(LANES) {
                                let (x, y) = (lanes(memory, a, i), lanes(memory, b, i));
                                let mut z = [F::ZERO; LANES];
                                for ((z, $x), $y) in z.iter_mut().zip(x).zip(y) {
                                    *z = $body;
                                }
                                write(memory, to + i, z);
                            }
                        };
                    }
                    binary_table!(map, go, F);
                }
                Code::Ternary(Ternary::Select) => {
                    for i in (0..n).step_by(LANES) {
                        let (a, b, c) = (lanes(memory, a, i), lanes(memory, b, i), lanes(memory, c, i));
                        let mut y = [F::ZERO; LANES];
                        for (((y, a), b), c) in y.iter_mut().zip(a).zip(b).zip(c) {
                            *y = if a != F::ZERO { b } else { c };
                        }
                        write(memory, to + i, y);
                    }
                }
                Code::Ternary(map) => {
                    for i in 0..n {
                        let (a, b, c) = (element(memory, a, i), element(memory, b, i), element(memory, c, i));
                        memory[to + i] = ternary(map, a, b, c);
                    }
                }
                Code::Sum if n <= SLACK => memory[to] = sum(memory, a.at(), n),
                _ => self.rare(instr, steps, memory, scratch, registers, key),
            }
        }
    }

    /// What takes longer than to get here.
    #[inline(never)]
    fn rare<F: Scalar>(
        &self,
        instr: &Instr,
        steps: &[Step],
        memory: &mut [F],
        scratch: &mut [F],
        registers: &mut [F],
        key: Key,
    ) {
        let Instr { code, n, to, args: [a, ..] } = *instr;
        let (n, to) = (n as usize, to as usize);
        match code {
            Code::Copy if a.moves() => memory.copy_within(a.at()..a.at() + n, to),
            Code::Copy => {
                let x = memory[a.at()];
                memory[to..to + n].fill(x);
            }
            Code::Sum => memory[to] = reduce::sum(&memory[a.at()..a.at() + n]),
            Code::Load => strided(&self.loads[n], memory, to),
            Code::Step => run_step(&steps[n], memory, scratch, registers, key),
            _ => unreachable!("maps are in the loop"),
        }
    }
}

fn place(address: usize) -> Place {
    Place(narrow(address))
}

/// Whether a view's elements lie side by side in order.
fn is_even(dims: &[usize], strides: &[usize]) -> bool {
    let load = Load::new(0, dims, strides);
    load.dims.len() == 1 && (load.dims[0] == 1 || load.strides[0] == 1)
}

/// Copies a view to `to`; none of its elements lies there.
fn strided<F: Scalar>(load: &Load, memory: &mut [F], to: usize) {
    let n = load.dims.iter().product();
    let (low, rest) = memory.split_at_mut(to);
    let (out, high) = rest.split_at_mut(n);
    match load.start < to {
        true => load.read(low, 0, 0, out),
        false => load.read(high, to + n, 0, out),
    }
}

/// Element `i` of an operand.
#[inline(always)]
fn element<F: Scalar>(memory: &[F], place: Place, i: usize) -> F {
    memory[place.at() + if place.moves() { i } else { 0 }]
}

/// Elements `i..` of an operand.
#[inline(always)]
fn lanes<F: Scalar>(memory: &[F], place: Place, i: usize) -> [F; LANES] {
    let at = place.at();
    if place.moves() {
        *memory[at + i..].first_chunk().expect("memory goes on after the last value")
    } else {
        [memory[at]; LANES]
    }
}

#[inline(always)]
fn write<F: Scalar>(memory: &mut [F], at: usize, lanes: [F; LANES]) {
    *memory[at..].first_chunk_mut().expect("memory goes on after the last value") = lanes;
}

#[inline(always)]
fn ternary<F: Scalar>(map: Ternary, a: F, b: F, c: F) -> F {
    let wide = |f: fn(f64, f64, f64) -> f64| F::from_f64(f(a.to_f64(), b.to_f64(), c.to_f64()));
    match map {
        Ternary::Select if a != F::ZERO => b,
        Ternary::Select => c,
        Ternary::BetaInc => wide(special::betainc),
        Ternary::BetaIncDa => wide(special::betainc_da),
        Ternary::BetaIncDb => wide(special::betainc_db),
    }
}

/// The sum of at most [`SLACK`] elements, as `reduce::sum` adds them.
#[inline(always)]
fn sum<F: Scalar>(memory: &[F], at: usize, n: usize) -> F {
    let x: &[F; SLACK] = memory[at..].first_chunk().expect("memory goes on after the last value");
    let mut lanes = [0.0f64; SLACK];
    for (i, (lane, x)) in lanes.iter_mut().zip(x).enumerate() {
        *lane = 0.0 + if i < n { x.to_f64() } else { 0.0 };
    }
    F::from_f64(0.0 + reduce::fold_lanes(lanes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Executable;
    use crate::exec::plan::Options;
    use crate::index::Idx;
    use crate::ir::passes;
    use crate::ir::{Builder, DType, InputId, InputKind, Shape, ValueId};
    use crate::kernels::testing::values;
    use crate::ops::Reduction;
    use proptest::prelude::*;

    const UNARY: &[Unary] = &[
        Unary::Neg,
        Unary::Abs,
        Unary::Sign,
        Unary::Square,
        Unary::Recip,
        Unary::Sqrt,
        Unary::Rsqrt,
        Unary::Exp,
        Unary::Expm1,
        Unary::Log,
        Unary::Log1p,
        Unary::Log1mExp,
        Unary::Sigmoid,
        Unary::LogSigmoid,
        Unary::Softplus,
        Unary::Relu,
        Unary::Tanh,
        Unary::Sin,
        Unary::Cos,
        Unary::Floor,
        Unary::Round,
        Unary::Lgamma,
        Unary::Erf,
        Unary::LogNdtr,
        Unary::SoftplusInv,
        Unary::Not,
    ];
    const BINARY: &[Binary] = &[
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::MulAbsorbing,
        Binary::Div,
        Binary::Rem,
        Binary::Pow,
        Binary::Maximum,
        Binary::Minimum,
        Binary::Atan2,
        Binary::Xlogy,
        Binary::LogAddExp,
        Binary::LogSubExp,
        Binary::Lbeta,
        Binary::Eq,
        Binary::Lt,
        Binary::Ge,
        Binary::And,
        Binary::Or,
        Binary::GammaIncP,
    ];

    /// One node of a random graph: what it is, and which earlier values it reads.
    type Choice = (usize, usize, usize, usize);

    fn random_graph(choices: &[Choice]) -> (Graph, usize) {
        let mut g = Builder::new();
        let shapes = [vec![], vec![1], vec![3], vec![8], vec![17], vec![3, 8], vec![2, 3, 5], vec![8, 1]];
        let mut all: Vec<ValueId> = shapes
            .iter()
            .enumerate()
            .map(|(i, shape)| {
                let kind = if i % 3 == 0 { InputKind::Data } else { InputKind::Param };
                g.input(format!("x{i}"), Shape::from(&shape[..]), DType::Real, kind)
            })
            .collect();
        all.push(g.scalar(0.5));
        all.push(g.scalar(-2.0));
        for shape in [vec![], vec![8], vec![3, 5], vec![70]] {
            all.push(g.noise(NoiseKind::Normal, Shape::from(&shape[..])));
        }
        all.push(g.noise(NoiseKind::Uniform, Shape::from([5])));
        for &(what, i, j, k) in choices {
            let pick = |i: usize| all[i % all.len()];
            let (x, y, z) = (pick(i), pick(j), pick(k));
            let shape = g.shape(x);
            let rank = shape.rank();
            let pair = shape.broadcast(&g.shape(y)).filter(|s| s.count() <= MAX_COUNT);
            let value = match what % 16 {
                0..4 => g.push(Op::Unary(UNARY[j % UNARY.len()]), &[x]),
                4..10 if pair.is_some() => g.push(Op::Binary(BINARY[k % BINARY.len()]), &[x, y]),
                10 if pair.as_ref().and_then(|s| s.broadcast(&g.shape(z))).is_some_and(|s| s.count() <= MAX_COUNT) => {
                    g.push(Op::Ternary(Ternary::Select), &[x, y, z])
                }
                11 if rank > 0 => {
                    let kinds = [Reduction::Sum, Reduction::Sum, Reduction::Max, Reduction::LogSumExp];
                    g.reduce(kinds[k % kinds.len()], x, &[j % rank])
                }
                12 => g.sum_all(x),
                13 if rank > 1 => g.transpose(x, &(0..rank).rev().collect::<Vec<_>>()),
                14 if rank > 0 && shape[0] > 1 => g.slice(x, 0, 1, shape[0] - 1),
                15 if rank > 0 && shape.count() * 2 <= MAX_COUNT => g.concat(&[x, x], j % rank),
                _ => continue,
            };
            all.push(value);
        }
        let n = all.len();
        for (i, &value) in all[n.saturating_sub(12)..].iter().enumerate() {
            g.output(format!("y{i}"), value);
        }
        (g.finish(), shapes.len())
    }

    fn check<F: Scalar>(choices: &[Choice]) {
        let (graph, inputs) = random_graph(choices);
        let mut flat = Executable::<F>::compile(&graph);
        let mut steps = Executable::<F>::plan(passes::run(graph.clone()), Options::default().flat());
        assert!(flat.is_flat() == fits(flat.graph()) && !steps.is_flat());
        for run in 0..2 {
            let key = Key::new(run);
            for exe in [&mut flat, &mut steps] {
                for i in 0..inputs {
                    let input = InputId::new(i);
                    let n = graph.inputs[input].shape.count();
                    exe.set_data(input, &values::<F>(run + 10 * i as u64, n));
                }
                exe.run(&[], key);
            }
            for i in 0..graph.outputs.len() {
                let (a, b) = (flat.output(i), steps.output(i));
                let same = a.iter().zip(b).all(|(a, b)| a == b || a.is_nan() && b.is_nan());
                assert!(same, "output {i}: {a:?} instead of {b:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn flat_programs_compute_what_their_steps_do(
            choices in prop::collection::vec((0..64usize, 0..97usize, 0..97usize, 0..97usize), 1..60),
        ) {
            check::<f64>(&choices);
            check::<f32>(&choices);
        }
    }

    #[test]
    fn what_is_large_keeps_its_tiles() {
        let graph = |n: usize| {
            let mut g = Builder::new();
            let x = g.input("x", Shape::from([n]), DType::Real, InputKind::Param);
            let y = g.exp(x);
            let y = g.sum_all(y);
            g.output("y", y);
            g.finish()
        };
        assert!(fits(&graph(8)) && fits(&graph(MAX_COUNT)) && !fits(&graph(MAX_COUNT + 1)));
    }
}
