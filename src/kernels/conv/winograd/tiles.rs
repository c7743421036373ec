//! Tiles of cells to values at the points and back, 16 channels at a time.
use std::ops::Range;

use super::transforms::{Axis, MAX, input, outputs, spread};
use crate::kernels::Scalar;
use crate::kernels::finish::Finish;
use crate::kernels::simd::lanes::{LANES, Lane};

/// Tiles of one image side by side.
pub(super) struct Run {
    /// Image, counted from the first of the task.
    pub(super) image: usize,
    /// Row of tiles.
    pub(super) row: usize,
    /// Columns of tiles.
    pub(super) columns: Range<usize>,
    /// Where the first one is in its block.
    pub(super) at: usize,
}

/// The runs of the tiles `start..end`, counted over images of `tiles` rows and columns.
pub(super) fn runs(tiles: [usize; 2], start: usize, end: usize) -> impl Iterator<Item = Run> {
    let mut next = start;
    std::iter::from_fn(move || {
        if next >= end {
            return None;
        }
        let (row, column) = (next / tiles[1], next % tiles[1]);
        let len = (tiles[1] - column).min(end - next);
        let run = Run { image: row / tiles[0], row: row % tiles[0], columns: column..column + len, at: next - start };
        next += len;
        Some(run)
    })
}

/// out\[k][l] = f(source\[0..][l])\[k] for k < n: one transform in all lanes.
#[inline(always)]
pub(super) fn lanes<F: Scalar>(n: usize, source: [&Lane<F>; MAX], f: impl Fn([F; MAX]) -> [F; MAX]) -> [Lane<F>; MAX] {
    let mut out = [[F::ZERO; LANES]; MAX];
    for l in 0..LANES {
        let values = f(std::array::from_fn(|k| source[k][l]));
        for k in 0..n {
            out[k][l] = values[k];
        }
    }
    out
}

/// One block of 16 planes of an image.
pub(super) struct Planes<'a, F> {
    /// The first plane, and as many of the others as there are.
    pub(super) data: &'a [F],
    pub(super) count: usize,
    pub(super) size: [usize; 2],
}

impl<F: Scalar> Planes<'_, F> {
    /// Copies rows from `top` and columns from `left` on into `band` [columns][step], one lane for each cell and zeros
    /// outside of the plane.
    #[inline(always)]
    pub(super) fn load(&self, [top, left]: [isize; 2], [rows, columns]: [usize; 2], step: usize, band: &mut [Lane<F>]) {
        let [height, width] = self.size;
        let first = left.clamp(0, width as isize) as usize;
        let last = (left + columns as isize).clamp(first as isize, width as isize) as usize;
        let skip = (first as isize - left) as usize;
        let whole = self.count == LANES && last - first == columns;
        for row in 0..rows {
            let h = top + row as isize;
            let inside = h >= 0 && h < height as isize;
            if !inside || !whole {
                for cell in band[row..].iter_mut().step_by(step).take(columns) {
                    *cell = [F::ZERO; LANES];
                }
            }
            if !inside || first == last {
                continue;
            }
            let start = h as usize * width + first;
            let cells = band[skip * step + row..].as_flattened_mut();
            F::transpose(&self.data[start..], height * width, self.count, last - first, step * LANES, cells);
        }
    }
}

/// Where transformed tiles go: the first lane of point 0, lanes from one point to the next.
pub(super) struct Points<'a, F> {
    pub(super) data: &'a mut [Lane<F>],
    pub(super) step: usize,
}

impl<F: Scalar> Points<'_, F> {
    #[inline(always)]
    pub(super) fn store(&mut self, point: usize, tile: usize, values: Lane<F>) {
        self.data[point * self.step + tile] = values;
    }
}

/// The tiles of each image among `start..end`, `of_image` tiles each: the image and its tiles, counted from `start`.
pub(super) fn images_of(of_image: usize, start: usize, end: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let last = if start < end { end.div_ceil(of_image) } else { 0 };
    (start / of_image..last).map(move |image| {
        let tiles = start.max(image * of_image)..end.min((image + 1) * of_image);
        (image, tiles.start - start..tiles.end - start)
    })
}

/// The lanes of 16 numbers from `at` on, of which there are `count`; the rest is `rest`.
pub(super) fn lane_of<F: Scalar>(data: &[F], at: usize, count: usize, rest: F) -> Lane<F> {
    std::array::from_fn(|l| if l < count { data[at + l] } else { rest })
}

/// All lanes of `data`, padded with 1, into `lanes`: signs of the planes of an image.
pub(super) fn signs_of<F: Scalar>(data: &[F], lanes: &mut [Lane<F>]) {
    for (lane, data) in lanes.iter_mut().zip(data.chunks(LANES)) {
        *lane = lane_of(data, 0, data.len(), F::ONE);
    }
}

/// B^T x B of a run of tiles.
#[inline(always)]
pub(super) fn input_tiles<F: Scalar, A: Axis, B: Axis>(
    planes: &Planes<'_, F>,
    origin: [isize; 2],
    tiles: usize,
    band: &mut [Lane<F>],
    mut out: Points<'_, F>,
) {
    let columns = tiles * B::M + B::R - 1;
    planes.load(origin, [A::T, columns], A::T, band);
    if A::T > 1 {
        for column in band[..columns * A::T].chunks_exact_mut(A::T) {
            let values = lanes(A::T, std::array::from_fn(|k| &column[k.min(A::T - 1)]), input::<F, A>);
            column.copy_from_slice(&values[..A::T]);
        }
    }
    for tile in 0..tiles {
        let cells = &band[tile * B::M * A::T..][..A::T * B::T];
        for row in 0..A::T {
            let values = lanes(B::T, std::array::from_fn(|k| &cells[k.min(B::T - 1) * A::T + row]), input::<F, B>);
            for (k, &values) in values.iter().enumerate().take(B::T) {
                out.store(row * B::T + k, tile, values);
            }
        }
    }
}

/// A dy A^T of a run of tiles.
#[inline(always)]
pub(super) fn output_tiles<F: Scalar, A: Axis, B: Axis>(
    planes: &Planes<'_, F>,
    origin: [isize; 2],
    tiles: usize,
    band: &mut [Lane<F>],
    mut out: Points<'_, F>,
) {
    let columns = tiles * B::M;
    planes.load(origin, [A::M, columns], A::T, band);
    if A::T > 1 {
        for column in band[..columns * A::T].chunks_exact_mut(A::T) {
            let values = lanes(A::T, std::array::from_fn(|k| &column[k.min(A::M - 1)]), spread::<F, A>);
            column.copy_from_slice(&values[..A::T]);
        }
    }
    for tile in 0..tiles {
        let cells = &band[tile * B::M * A::T..][..A::T * B::M];
        for row in 0..A::T {
            let values = lanes(B::T, std::array::from_fn(|k| &cells[k.min(B::M - 1) * A::T + row]), spread::<F, B>);
            for (k, &values) in values.iter().enumerate().take(B::T) {
                out.store(row * B::T + k, tile, values);
            }
        }
    }
}

/// A^T m A of a tile at `m[point * step]`, finished with these channels' bias, into `band` [M]\[columns]; `rows` may hold anything.
#[inline(always)]
pub(super) fn collect_tile<F: Scalar, A: Axis, B: Axis>(
    m: &[Lane<F>],
    step: usize,
    (finish, bias): (Finish<'_, F>, Lane<F>),
    rows: &mut [[Lane<F>; MAX]; MAX],
    columns: usize,
    band: &mut [Lane<F>],
) {
    for k in 0..B::T {
        let source = std::array::from_fn(|row| &m[(row.min(A::T - 1) * B::T + k) * step]);
        rows[k] = lanes(A::M, source, outputs::<F, A>);
    }
    for row in 0..A::M {
        let values = lanes(B::M, std::array::from_fn(|k| &rows[k][row]), outputs::<F, B>);
        for (cell, values) in band[row * columns..].iter_mut().zip(&values).take(B::M) {
            *cell = std::array::from_fn(|l| finish.one(values[l], bias[l]));
        }
    }
}

/// Rows that a block of tiles takes in memory: an odd number, so that the points of one tile do not fall into the same
/// sets of the first-level cache.
pub(super) fn rows_of(block: usize) -> usize {
    block | 1
}
