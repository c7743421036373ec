//! Left operands and results of the products of a convolution.

use super::input_grad::Phase;
use crate::kernels::Scalar;
use crate::kernels::gemm::{PackA, Sink, add_row};
use crate::kernels::simd::Start;

/// Weights as the left operand of the input gradient: element (c, k) = w[c * taps + weight[k]].
pub(super) struct PhaseWeights<'a, F> {
    pub w: &'a [F],
    pub taps: usize,
    pub weight: &'a [u32],
}

impl<F: Scalar> PackA<F> for PhaseWeights<'_, F> {
    fn pack_a(&self, i: usize, m: usize, k: usize, kc: usize, rows: usize, out: &mut [F]) {
        for (out, &at) in out.chunks_exact_mut(rows).zip(&self.weight[k..k + kc]) {
            let from = self.w[at as usize + i * self.taps..].iter().step_by(self.taps);
            out[..m].iter_mut().zip(from).for_each(|(o, &w)| *o = w);
        }
    }
}

/// Images side by side as the left operand of the weight gradient: element (o, (n, cell)) = dy[n * image + o * cells + cell].
pub(super) struct Cells<'a, F> {
    pub dy: &'a [F],
    pub image: usize,
    pub cells: usize,
}

impl<F: Scalar> PackA<F> for Cells<'_, F> {
    fn pack_a(&self, i: usize, m: usize, k: usize, kc: usize, rows: usize, out: &mut [F]) {
        let mut done = 0;
        while done < kc {
            let (n, cell) = ((k + done) / self.cells, (k + done) % self.cells);
            let len = (self.cells - cell).min(kc - done);
            let from = &self.dy[n * self.image + i * self.cells + cell..];
            F::transpose(from, self.cells, m, len, rows, &mut out[done * rows..]);
            done += len;
        }
    }
}

/// Writes the cells of several images: element (o, (n, cell)) is data[n * image + o * cells + cell].
pub(super) struct Images<'a, F> {
    pub data: &'a mut [F],
    pub image: usize,
    pub cells: usize,
}

impl<F: Scalar> Sink<F> for Images<'_, F> {
    #[inline(always)]
    fn place(&mut self, i: usize, m: usize, j: usize, n: usize) -> Option<(&mut [F], usize, Start)> {
        let (image, cell) = (j / self.cells, j % self.cells);
        if cell + n > self.cells {
            return None;
        }
        let at = image * self.image + i * self.cells + cell;
        Some((&mut self.data[at..at + (m - 1) * self.cells + n], self.cells, Start::Zero))
    }
    #[inline(always)]
    fn add(&mut self, (i, m): (usize, usize), (j, n): (usize, usize), tile: &[F], cols: usize, first: bool) {
        let mut done = 0;
        while done < n {
            let (image, cell) = ((j + done) / self.cells, (j + done) % self.cells);
            let len = (self.cells - cell).min(n - done);
            for (r, tile) in tile.chunks_exact(cols).take(m).enumerate() {
                let at = image * self.image + (i + r) * self.cells + cell;
                add_row(&mut self.data[at..at + len], &tile[done..], first);
            }
            done += len;
        }
    }
}

/// Writes the cells of one phase of several images.
pub(super) struct PhaseCells<'a, F> {
    pub data: &'a mut [F],
    pub image: usize,
    pub plane: usize,
    pub width: usize,
    pub stride: [usize; 2],
    pub phase: &'a Phase,
}

impl<F: Scalar> Sink<F> for PhaseCells<'_, F> {
    #[inline(always)]
    fn place(&mut self, _: usize, _: usize, _: usize, _: usize) -> Option<(&mut [F], usize, Start)> {
        None
    }
    #[inline(always)]
    fn add(&mut self, (i, m): (usize, usize), (j, n): (usize, usize), tile: &[F], cols: usize, first: bool) {
        let Phase { cells: [rows, columns], first: [top, left], .. } = *self.phase;
        for c in 0..n {
            let (image, row, column) = ((j + c) / (rows * columns), (j + c) / columns % rows, (j + c) % columns);
            let cell = (top + row * self.stride[0]) * self.width + left + column * self.stride[1];
            for (r, tile) in tile.chunks_exact(cols).take(m).enumerate() {
                let at = &mut self.data[image * self.image + (i + r) * self.plane + cell];
                *at = if first { tile[c] } else { *at + tile[c] };
            }
        }
    }
}
