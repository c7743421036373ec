//! Fused elementwise maps: a short program that runs tile by tile, its intermediate values in registers that stay in
//! cache.
//!
//! A register holds one tile of a value. Instructions read arena memory or registers and write registers; `Store` copies a
//! register to memory. A group may overwrite an operand in place, since the stores that do so stand last in the program.

use crate::kernels::Scalar;
use crate::kernels::elementwise::{Binary, MAX_RANK, Ternary, Unary, binary_tile, ternary_tile, unary_tile};

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

    /// Writes elements `from..from + out.len()` of the view to `out`.
    fn read<F: Scalar>(&self, memory: &[F], from: usize, out: &mut [F]) {
        let last = self.dims.len() - 1;
        let (inner, step) = (self.dims[last], self.strides[last]);
        let mut index = [0; MAX_RANK];
        let mut rest = from / inner;
        let mut column = from % inner;
        let mut at = self.start;
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

impl Program {
    /// Elements of a register.
    pub fn register_len(&self) -> usize {
        self.count.min(TILE)
    }
    /// Elements of all registers.
    pub fn register_space(&self) -> usize {
        self.registers * self.register_len()
    }

    /// Runs over all elements; `registers` has at least [`Program::register_space`] elements.
    pub fn run<F: Scalar>(&self, memory: &mut [F], registers: &mut [F]) {
        let size = self.register_len();
        for &(address, register) in &self.constants {
            registers[register * size..(register + 1) * size].fill(memory[address]);
        }
        let mut from = 0;
        while from < self.count {
            let len = size.min(self.count - from);
            for instr in &self.code {
                match instr {
                    Instr::Compute { code, to } => compute(code, *to, memory, registers, size, from, len),
                    Instr::Store { from: register, to } => {
                        let at = register * size;
                        memory[to + from..to + from + len].copy_from_slice(&registers[at..at + len]);
                    }
                }
            }
            from += len;
        }
    }
}

#[inline(always)]
fn compute<F: Scalar>(code: &Code, to: usize, memory: &[F], registers: &mut [F], size: usize, from: usize, len: usize) {
    let (low, rest) = registers.split_at_mut(to * size);
    let (out, high) = rest.split_at_mut(size);
    let out = &mut out[..len];
    let (low, high) = (&*low, &*high);
    let get = |arg: Arg| match arg {
        Arg::Memory(start) => &memory[start + from..start + from + len],
        Arg::Register(r) if r < to => &low[r * size..r * size + len],
        Arg::Register(r) => &high[(r - to - 1) * size..(r - to - 1) * size + len],
    };
    match code {
        Code::Load(load) => load.read(memory, from, out),
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
                load.read(&memory, i * piece, out);
            }
            assert_eq!(out, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn merged_dimensions_read_the_same() {
        assert_eq!(Load::new(0, &[2, 1, 3, 4], &[12, 7, 4, 1]).dims, [24]);
        assert_eq!(Load::new(0, &[1, 1], &[3, 0]).dims, [1]);
    }
}
