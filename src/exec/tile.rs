//! Fused elementwise maps: a short program that runs tile by tile, its intermediate values in registers that stay in
//! cache.
//!
//! A register holds one tile of a value. Instructions read arena memory or registers and write registers; `Store` copies a
//! register to memory. A group may overwrite an operand in place, since the stores that do so stand last in the program.

use crate::kernels::elementwise::{Binary, MAX_RANK, Ternary, Unary, binary_tile, ternary_tile, unary_tile};
use crate::kernels::{Scalar, threads};
use std::ops::Range;

/// Elements of a tile: a dozen registers of doubles fill half a first-level cache.
pub(crate) const TILE: usize = 512;

/// An operand of an instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arg {
    /// Elements of memory from here on, one for each position.
    Memory(usize),
    /// A register.
    Register(usize),
}

/// What an instruction computes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Code {
    /// A strided view of memory.
    Load(Load),
    /// A map.
    Unary(Unary, Arg),
    /// A map.
    Binary(Binary, [Arg; 2]),
    /// A map.
    Ternary(Ternary, [Arg; 3]),
}

/// One instruction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Instr {
    /// Computes a tile into a register.
    Compute {
        /// What.
        code: Code,
        /// Into which register.
        to: usize,
    },
    /// Copies a register to memory.
    Store {
        /// The register.
        from: usize,
        /// Where element 0 of the value lies.
        to: usize,
    },
}

/// A view that is read tile by tile.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Load {
    /// Where the view starts in memory.
    pub start: usize,
    /// Its shape, neighbouring dimensions merged where possible; at most `MAX_RANK` long, never empty.
    pub dims: Vec<usize>,
    /// Steps in memory.
    pub strides: Vec<usize>,
}

impl Load {
    /// Merges dimensions along which the view moves evenly.
    pub fn new(start: usize, dims: &[usize], strides: &[usize]) -> Self {
        let mut load = Load { start, dims: Vec::new(), strides: Vec::new() };
        for (&dim, &stride) in dims.iter().zip(strides) {
            match (load.dims.last_mut(), load.strides.last_mut()) {
                _ if dim == 1 => {}
                (Some(last_dim), Some(last)) if *last == stride * dim => {
                    *last_dim *= dim;
                    *last = stride;
                }
                _ => {
                    load.dims.push(dim);
                    load.strides.push(stride);
                }
            }
        }
        if load.dims.is_empty() {
            load.dims.push(1);
            load.strides.push(0);
        }
        load
    }

    /// Writes elements `from..from + out.len()` of the view to `out`; `memory` starts at address `base`.
    pub fn read<F: Scalar>(&self, memory: &[F], base: usize, from: usize, out: &mut [F]) {
        let last = self.dims.len() - 1;
        let (inner, step) = (self.dims[last], self.strides[last]);
        let mut index = [0; MAX_RANK];
        let mut rest = from / inner;
        let mut column = from % inner;
        let mut at = self.start - base;
        for axis in (0..last).rev() {
            index[axis] = rest % self.dims[axis];
            rest /= self.dims[axis];
            at += index[axis] * self.strides[axis];
        }
        let mut out = out;
        loop {
            let n = (inner - column).min(out.len());
            let (row, next) = out.split_at_mut(n);
            let start = at + column * step;
            match step {
                0 => row.fill(memory[start]),
                1 => row.copy_from_slice(&memory[start..start + n]),
                _ => row.iter_mut().zip(memory[start..].iter().step_by(step)).for_each(|(o, &x)| *o = x),
            }
            if next.is_empty() {
                return;
            }
            out = next;
            column = 0;
            for axis in (0..last).rev() {
                index[axis] += 1;
                at += self.strides[axis];
                if index[axis] < self.dims[axis] {
                    break;
                }
                at -= self.dims[axis] * self.strides[axis];
                index[axis] = 0;
            }
        }
    }
}

/// A program over `count` elements.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The number of elements.
    pub count: usize,
    /// Loads of single numbers, done once: they fill whole registers.
    pub constants: Vec<(usize, usize)>,
    /// What is done for every tile.
    pub code: Vec<Instr>,
    /// The number of registers.
    pub registers: usize,
}

/// More stored values than this in one group, and it runs on one thread.
const MAX_STORES: usize = 8;

impl Program {
    /// Elements of a register.
    pub fn register_len(&self) -> usize {
        self.count.min(TILE)
    }
    /// Elements of all registers of one thread.
    pub fn register_space(&self) -> usize {
        self.registers * self.register_len()
    }
    /// Elements of the registers of all threads that may run this.
    pub fn all_register_space(&self) -> usize {
        self.register_space() * threads::tasks(self.tiles(), self.work())
    }
    fn tiles(&self) -> usize {
        self.count.div_ceil(TILE)
    }
    /// The cost in units of an addition.
    fn work(&self) -> usize {
        let cost = |instr: &Instr| match instr {
            Instr::Compute { code: Code::Unary(..), .. } => 8,
            _ => 1,
        };
        self.count * self.code.iter().map(cost).sum::<usize>()
    }
    /// Where the values lie that the program stores, ascending; `None` when they are too many.
    fn stores(&self) -> Option<([usize; MAX_STORES], usize)> {
        let (mut starts, mut n) = ([0; MAX_STORES], 0);
        for instr in &self.code {
            if let Instr::Store { to, .. } = instr {
                *starts.get_mut(n)? = *to;
                n += 1;
            }
        }
        starts[..n].sort_unstable();
        Some((starts, n))
    }

    /// Runs over all elements; `registers` has at least [`Program::register_space`] elements, and more threads run when it
    /// has more. Elements do not depend on each other, so the threads change no bit of the result.
    pub fn run<F: Scalar>(&self, memory: &mut [F], registers: &mut [F]) {
        let space = self.register_space();
        let fits = registers.len() / space.max(1);
        let n_tasks = threads::tasks(self.tiles(), self.work()).min(fits);
        match self.stores() {
            Some((starts, n)) if n_tasks > 1 => {
                let mut parts = Parts::cut(memory, &starts[..n], self.count);
                rayon::scope(|scope| {
                    let mut registers = registers;
                    for task in 0..n_tasks {
                        let tiles = threads::part(self.tiles(), n_tasks, task);
                        let elements = tiles.start * TILE..(tiles.end * TILE).min(self.count);
                        let mut own = parts.take(elements.len());
                        let (mine, others) = std::mem::take(&mut registers).split_at_mut(space);
                        registers = others;
                        scope.spawn(move |_| self.run_range(elements, &mut own, mine));
                    }
                });
            }
            _ => self.run_range(0..self.count, &mut Whole(memory), &mut registers[..space]),
        }
    }

    fn run_range<F: Scalar>(&self, elements: Range<usize>, memory: &mut impl Memory<F>, registers: &mut [F]) {
        let size = self.register_len();
        for &(address, register) in &self.constants {
            let number = memory.read(address, 0, 1)[0];
            registers[register * size..(register + 1) * size].fill(number);
        }
        let mut from = elements.start;
        while from < elements.end {
            let len = size.min(elements.end - from);
            for instr in &self.code {
                match instr {
                    Instr::Compute { code, to } => compute(code, *to, memory, registers, size, from, len),
                    Instr::Store { from: register, to } => {
                        memory.write(*to, from, &registers[register * size..register * size + len]);
                    }
                }
            }
            from += len;
        }
    }
}

/// Memory by address.
trait Memory<F> {
    /// Elements `from..from + len` of what starts at `start`.
    fn read(&self, start: usize, from: usize, len: usize) -> &[F];
    /// The memory around an address that the program does not write, and where it begins.
    fn around(&self, address: usize) -> (&[F], usize);
    /// Overwrites elements `from..` of what starts at `start`.
    fn write(&mut self, start: usize, from: usize, data: &[F]);
}

/// All of it.
struct Whole<'a, F>(&'a mut [F]);

impl<F: Scalar> Memory<F> for Whole<'_, F> {
    fn read(&self, start: usize, from: usize, len: usize) -> &[F] {
        &self.0[start + from..start + from + len]
    }
    fn around(&self, _: usize) -> (&[F], usize) {
        (self.0, 0)
    }
    fn write(&mut self, start: usize, from: usize, data: &[F]) {
        self.0[start + from..start + from + data.len()].copy_from_slice(data);
    }
}

/// What one thread sees: a range of the elements of every stored value, and all memory between the stored values.
struct Parts<'a, F> {
    shared: [&'a [F]; MAX_STORES + 1],
    shared_starts: [usize; MAX_STORES + 1],
    stores: [&'a mut [F]; MAX_STORES],
    store_starts: [usize; MAX_STORES],
    n: usize,
    /// The first of the elements.
    first: usize,
}

impl<'a, F: Scalar> Parts<'a, F> {
    /// Cuts the values that start at `starts`, of `count` elements each, out of `memory`.
    fn cut(memory: &'a mut [F], starts: &[usize], count: usize) -> Self {
        let mut parts = Parts {
            shared: [&[]; MAX_STORES + 1],
            shared_starts: [0; MAX_STORES + 1],
            stores: std::array::from_fn(|_| &mut [][..]),
            store_starts: [0; MAX_STORES],
            n: starts.len(),
            first: 0,
        };
        let (mut rest, mut at) = (memory, 0);
        for (i, &start) in starts.iter().enumerate() {
            let (between, tail) = rest.split_at_mut(start - at);
            let (store, tail) = tail.split_at_mut(count);
            parts.shared[i] = between;
            parts.shared_starts[i] = at;
            parts.stores[i] = store;
            parts.store_starts[i] = start;
            rest = tail;
            at = start + count;
        }
        parts.shared[starts.len()] = rest;
        parts.shared_starts[starts.len()] = at;
        parts
    }
    /// Takes the next `len` elements away.
    fn take(&mut self, len: usize) -> Parts<'a, F> {
        let stores = std::array::from_fn(|i| {
            let (mine, rest) = std::mem::take(&mut self.stores[i]).split_at_mut(if i < self.n { len } else { 0 });
            self.stores[i] = rest;
            mine
        });
        let first = self.first;
        self.first += len;
        Parts { stores, first, ..*self }
    }
    /// The store that starts at an address.
    fn store(&self, start: usize) -> Option<usize> {
        self.store_starts[..self.n].iter().position(|&s| s == start)
    }
}

impl<F: Scalar> Memory<F> for Parts<'_, F> {
    fn read(&self, start: usize, from: usize, len: usize) -> &[F] {
        match self.store(start) {
            Some(store) => &self.stores[store][from - self.first..from - self.first + len],
            None => {
                let (memory, base) = self.around(start);
                &memory[start - base + from..start - base + from + len]
            }
        }
    }
    fn around(&self, address: usize) -> (&[F], usize) {
        let i = self.store_starts[..self.n].iter().position(|&s| address < s).unwrap_or(self.n);
        (self.shared[i], self.shared_starts[i])
    }
    fn write(&mut self, start: usize, from: usize, data: &[F]) {
        let store = self.store(start).expect("a program writes to its stores");
        let at = from - self.first;
        self.stores[store][at..at + data.len()].copy_from_slice(data);
    }
}

#[inline(always)]
fn compute<F: Scalar>(
    code: &Code,
    to: usize,
    memory: &impl Memory<F>,
    registers: &mut [F],
    size: usize,
    from: usize,
    len: usize,
) {
    let (low, rest) = registers.split_at_mut(to * size);
    let (out, high) = rest.split_at_mut(size);
    let out = &mut out[..len];
    let (low, high) = (&*low, &*high);
    let get = |arg: Arg| match arg {
        Arg::Memory(start) => memory.read(start, from, len),
        Arg::Register(r) if r < to => &low[r * size..r * size + len],
        Arg::Register(r) => &high[(r - to - 1) * size..(r - to - 1) * size + len],
    };
    match code {
        Code::Load(load) => {
            let (memory, base) = memory.around(load.start);
            load.read(memory, base, from, out);
        }
        Code::Unary(map, x) => unary_tile(*map, get(*x), out),
        Code::Binary(map, [a, b]) => binary_tile(*map, get(*a), get(*b), out),
        Code::Ternary(map, [a, b, c]) => ternary_tile(*map, get(*a), get(*b), get(*c), out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_read_in_pieces_as_in_one() {
        let memory: Vec<f64> = (0..60).map(f64::from).collect();
        // A transposed [3, 4] block repeated 5 times, from 7 on.
        let load = Load::new(7, &[4, 5, 3], &[1, 0, 4]);
        let n = 60;
        let expected: Vec<f64> = (0..n).map(|i| memory[7 + (i / 15) + (i % 3) * 4]).collect();
        for piece in [1, 2, 7, 60] {
            let mut out = vec![0.0; n];
            for (i, out) in out.chunks_mut(piece).enumerate() {
                load.read(&memory, 0, i * piece, out);
            }
            assert_eq!(out, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn merged_dimensions_read_the_same() {
        assert_eq!(Load::new(0, &[2, 1, 3, 4], &[12, 7, 4, 1]).dims, [24]);
        assert_eq!(Load::new(0, &[1, 1], &[3, 0]).dims, [1]);
    }

    #[test]
    fn threads_change_no_bit() {
        // x y + exp(y) over x itself, and y transposed to a value of its own, in a memory with gaps.
        let count = 300_000;
        let program = Program {
            count,
            constants: vec![(0, 0)],
            code: vec![
                Instr::Compute { code: Code::Load(Load::new(count + 64, &[3, count / 3], &[1, 3])), to: 1 },
                Instr::Store { from: 1, to: 2 * count + 96 },
                Instr::Compute { code: Code::Unary(Unary::Exp, Arg::Memory(count + 64)), to: 2 },
                Instr::Compute { code: Code::Binary(Binary::Mul, [Arg::Memory(16), Arg::Register(0)]), to: 3 },
                Instr::Compute { code: Code::Binary(Binary::Add, [Arg::Register(3), Arg::Register(2)]), to: 1 },
                Instr::Store { from: 1, to: 16 },
            ],
            registers: 4,
        };
        let memory: Vec<f64> = crate::kernels::testing::values(3, 3 * count + 128);
        let [one, several] = [1, 4].map(|n| {
            let mut memory = memory.clone();
            let mut registers = vec![0.0; n * program.register_space()];
            if n == 1 {
                program.run_range(0..count, &mut Whole(&mut memory), &mut registers);
            } else {
                program.run(&mut memory, &mut registers);
            }
            memory
        });
        assert!(one.iter().zip(&several).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert!((one[16] - (memory[16] * memory[0] + memory[count + 64].exp())).abs() < 1e-14);
    }
}
