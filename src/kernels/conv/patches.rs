//! Where the elements of patches are: frames around images, and rows of patches that are packed from them.

use crate::kernels::Scalar;
use crate::kernels::gemm::PackB;
use crate::kernels::simd::{Chunk, chunk_len, pack_chunks};

/// A zero-padded copy of an image, laid out so that what a row of outputs reads with one kernel tap lies side by side:
/// columns with the same residue modulo the stride are neighbours.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Height and width of the image.
    pub size: [usize; 2],
    /// Zero rows above, zero columns to the left.
    pub before: [usize; 2],
    /// Height and width with the padding.
    pub padded: [usize; 2],
    /// The stride of the columns.
    pub step: usize,
}

impl Frame {
    /// Columns of one residue.
    pub fn columns(&self) -> usize {
        self.padded[1].div_ceil(self.step)
    }
    /// Elements of one channel.
    pub fn plane(&self) -> usize {
        self.padded[0] * self.columns() * self.step
    }
    /// Whether the image serves itself.
    pub fn is_plain(&self) -> bool {
        self.size == self.padded && self.step == 1
    }
    /// The place of a cell of the padded image in its channel.
    pub fn at(&self, row: usize, column: usize) -> usize {
        (column % self.step * self.padded[0] + row) * self.columns() + column / self.step
    }
    /// Writes the channels of an image into their frames; what is around them has been zeroed before.
    pub fn fill<F: Scalar>(&self, image: &[F], frames: &mut [F]) {
        let [height, width] = self.size;
        for (from, to) in image.chunks_exact(height * width).zip(frames.chunks_exact_mut(self.plane())) {
            for (row, from) in from.chunks_exact(width).enumerate() {
                if self.step == 1 {
                    let at = self.at(row + self.before[0], self.before[1]);
                    to[at..at + width].copy_from_slice(from);
                    continue;
                }
                for residue in 0..self.step.min(width) {
                    let at = self.at(row + self.before[0], self.before[1] + residue);
                    to[at..].iter_mut().zip(from[residue..].iter().step_by(self.step)).for_each(|(t, &f)| *t = f);
                }
            }
        }
    }
    /// Takes the channels of an image out of their frames.
    pub fn take<F: Scalar>(&self, frames: &[F], image: &mut [F]) {
        let [height, width] = self.size;
        for (to, from) in image.chunks_exact_mut(height * width).zip(frames.chunks_exact(self.plane())) {
            for (row, to) in to.chunks_exact_mut(width).enumerate() {
                for residue in 0..self.step.min(width) {
                    let at = self.at(row + self.before[0], self.before[1] + residue);
                    to[residue..].iter_mut().step_by(self.step).zip(&from[at..]).for_each(|(t, &f)| *t = f);
                }
            }
        }
    }
    /// Writes an image of `channels` channels with its channels innermost, [height, width, channels], into a frame of the
    /// same order; a step has no meaning there.
    pub fn fill_channels_last<F: Scalar>(&self, channels: usize, image: &[F], frame: &mut [F]) {
        let [height, width] = self.size;
        for row in 0..height {
            let at = ((row + self.before[0]) * self.padded[1] + self.before[1]) * channels;
            let to = &mut frame[at..at + width * channels];
            if channels == 1 {
                to.copy_from_slice(&image[row * width..(row + 1) * width]);
            } else {
                F::transpose(&image[row * width..], height * width, channels, width, channels, to);
            }
        }
    }
}

/// Positions in three nested loops, those of the innermost side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs {
    /// The length of a run.
    pub len: usize,
    /// Number and distance of the runs of a block.
    pub rows: (usize, usize),
    /// The distance of blocks.
    pub block: usize,
}

impl Runs {
    /// Runs of `len`, some (number, distance) to a block; those that touch each other are one.
    pub fn new(len: usize, rows: (usize, usize), block: usize) -> Self {
        if rows.1 == len { Runs { len: len * rows.0, rows: (1, 0), block } } else { Runs { len, rows, block } }
    }
    /// Cuts positions `j..j + n` into chunks of at most `most`; returns how many.
    fn chunks(&self, j: usize, n: usize, most: usize, chunks: &mut [Chunk; MAX_CHUNKS]) -> usize {
        let (mut column, row) = (j % self.len, j / self.len);
        let (mut row, mut block) = (row % self.rows.0, row / self.rows.0);
        let (mut to, mut count) = (0, 0);
        while to < n {
            let len = (self.len - column).min(n - to).min(most);
            let from = block * self.block + row * self.rows.1 + column;
            chunks[count] = Chunk { from: narrow(from), to: to as u32, len: len as u32 };
            (to, count, column) = (to + len, count + 1, column + len);
            if column == self.len {
                (column, row) = (0, row + 1);
            }
            if row == self.rows.0 {
                (row, block) = (0, block + 1);
            }
        }
        count
    }
}

/// The most chunks of a packed row: one an element.
const MAX_CHUNKS: usize = 32;

/// Element (k, j) = data[starts[k] + position j of the runs], packed without writing the whole matrix.
pub(super) struct Patches<'a, F> {
    pub data: &'a [F],
    pub starts: &'a [u32],
    /// The largest of the starts.
    pub most: usize,
    pub runs: Runs,
}

impl<F: Scalar> PackB<F> for Patches<'_, F> {
    fn pack_b(&self, k: usize, kc: usize, j: usize, n: usize, cols: usize, out: &mut [F]) {
        let mut chunks = [Chunk::default(); MAX_CHUNKS];
        let count = self.runs.chunks(j, n, chunk_len::<F>(), &mut chunks);
        pack_chunks(self.data, &self.starts[k..k + kc], self.most, &chunks[..count], cols, out);
    }
}

/// An offset in a table.
pub(super) fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).expect("the images of a group have fewer than 2^32 elements")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_the_columns_in_order() {
        let runs = Runs { len: 14, rows: (3, 20), block: 100 };
        let position = |j: usize| j / 42 * 100 + j / 14 % 3 * 20 + j % 14;
        for (j, n) in [(0, 32), (32, 32), (13, 1), (41, 16), (5, 7)] {
            let mut chunks = [Chunk::default(); MAX_CHUNKS];
            let count = runs.chunks(j, n, 16, &mut chunks);
            let mut next = 0;
            for c in &chunks[..count] {
                assert_eq!(c.to as usize, next);
                (0..c.len as usize).for_each(|i| assert_eq!(c.from as usize + i, position(j + next + i)));
                next += c.len as usize;
            }
            assert_eq!(next, n);
        }
    }

    #[test]
    fn packed_rows_are_exact_where_they_count() {
        let data: Vec<f32> = (0..400).map(|i| i as f32).collect();
        let runs = Runs { len: 7, rows: (4, 11), block: 60 };
        let position = |j: usize| j / 28 * 60 + j / 7 % 4 * 11 + j % 7;
        // The starts reach the end of the data, so that both ways of copying are used.
        for starts in [vec![0u32, 3, 100], vec![5, 250, 17, 299]] {
            for (j, n) in [(0, 32), (30, 20), (9, 16)] {
                let most = *starts.iter().max().expect("some") as usize;
                let mut out = vec![f32::NAN; starts.len() * 32];
                Patches { data: &data, starts: &starts, most, runs }.pack_b(0, starts.len(), j, n, 32, &mut out);
                for (k, &start) in starts.iter().enumerate() {
                    for i in 0..n {
                        assert_eq!(out[k * 32 + i], data[start as usize + position(j + i)], "{starts:?} {j} {k} {i}");
                    }
                }
            }
        }
    }
}
