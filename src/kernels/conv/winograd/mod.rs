//! Convolutions of stride 1 with fewer multiplications: Winograd's minimal filtering in tiles of the plane.
//!
//! The output is cut into tiles of m x m cells. A tile needs t x t cells of the input, t = m + r - 1, and one product for
//! each of t x t points instead of m x m x r x r ([`transforms`]):
//!
//! ```text
//! V[ξ, tile, c] = B^T x B        U[ξ, c, o] = G w G^T        W[ξ, tile, o] = A dy A^T
//! y  = A^T (sum over c of V U) A          dw = G^T (sum over tiles of W V) G
//! ```
//!
//! At every point ξ that is a matrix product: over channels for y, over the tiles of the whole batch for dw. The input
//! gradient is the correlation of dy with the kernel turned around. Tiles are taken in blocks whose V and products stay
//! in the second-level cache. Matrices lie in lanes of 16 channels ([`Blocked`]), so that transforms work on whole vectors.
//!
//! In Flipout the kernel differs from image to image by signs: y_n = x_n * loc + after_n (x_n before_n) * perturbation.
//! Signs are constant over the plane and commute with the transforms, so both products share those of input and output.
//! Source: Lavin & Gray 2016, arXiv:1509.09308; Wen et al. 2018, arXiv:1803.04386 (Flipout).
mod transforms;

use std::ops::Range;

use self::transforms::{Axis, Filter, MAX, input, outputs, spread, weight_grads, weights};
use super::Conv2dShape;
use crate::kernels::simd::lanes::{Blocked, LANES, Lane};
use crate::kernels::{Scalar, simd, threads};

/// The weights of a product.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a, F> {
    /// One kernel w [O,C,R,S] for all images.
    Shared(&'a [F]),
    /// Image n has the kernel loc\[o,c] + after\[n,o] before\[n,c] perturbation\[o,c].
    Flipout {
        /// [O,C,R,S]
        loc: &'a [F],
        /// [O,C,R,S]
        perturbation: &'a [F],
        /// Signs of input channels [N,C].
        before: &'a [F],
        /// Signs of output channels [N,O].
        after: &'a [F],
    },
}

/// Where the gradients in [`Weights`] go.
#[derive(Debug)]
pub enum WeightGrads<'a, F> {
    /// dw [O,C,R,S].
    Shared(&'a mut [F]),
    /// Of both kernels, and the signs as in [`Weights::Flipout`].
    Flipout {
        /// [O,C,R,S]
        loc: &'a mut [F],
        /// [O,C,R,S]
        perturbation: &'a mut [F],
        /// [N,C]
        before: &'a [F],
        /// [N,O]
        after: &'a [F],
    },
}

/// Outputs of a tile along an axis and taps of its filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tile {
    /// F(4x4, 3x3)
    F4x3,
    /// F(6x6, 3x3)
    F6x3,
    /// F(2x2, 5x5)
    F2x5,
    /// F(4x4, 5x5)
    F4x5,
    /// F(1x4, 1x3)
    Row4x3,
    /// F(1x4, 1x5)
    Row4x5,
}

/// Calls a function that is generic over both axes with those of a tile.
macro_rules! with_axes {
    ($tile:expr, $object:ident.$function:ident::<$f:ident>($($argument:expr),*)) => {
        match $tile {
            Tile::F4x3 => $object.$function::<$f, Filter<4, 3>, Filter<4, 3>>($($argument),*),
            Tile::F6x3 => $object.$function::<$f, Filter<6, 3>, Filter<6, 3>>($($argument),*),
            Tile::F2x5 => $object.$function::<$f, Filter<2, 5>, Filter<2, 5>>($($argument),*),
            Tile::F4x5 => $object.$function::<$f, Filter<4, 5>, Filter<4, 5>>($($argument),*),
            Tile::Row4x3 => $object.$function::<$f, Filter<1, 1>, Filter<4, 3>>($($argument),*),
            Tile::Row4x5 => $object.$function::<$f, Filter<1, 1>, Filter<4, 5>>($($argument),*),
        }
    };
}

impl Tile {
    /// m and r of both axes.
    fn sizes(self) -> [[usize; 2]; 2] {
        match self {
            Tile::F4x3 => [[4, 3], [4, 3]],
            Tile::F6x3 => [[6, 3], [6, 3]],
            Tile::F2x5 => [[2, 5], [2, 5]],
            Tile::F4x5 => [[4, 5], [4, 5]],
            Tile::Row4x3 => [[1, 1], [4, 3]],
            Tile::Row4x5 => [[1, 1], [4, 5]],
        }
    }

    /// Points of a tile.
    fn points(self) -> usize {
        self.sizes().iter().map(|[m, r]| m + r - 1).product()
    }
}

/// A convolution with minimal filtering, ready to run.
#[derive(Clone, Debug)]
pub struct Winograd {
    shape: Conv2dShape,
    output: [usize; 2],
    tile: Tile,
}

/// Bytes of transformed tiles and products that a block may hold: with the weights that stream by, they stay in the
/// second-level cache.
const BLOCK_BYTES: usize = 384 << 10;

/// Blocks of 16 output channels that are multiplied and transformed back together.
const GROUP: usize = 2;

/// A correlation of planes by tiles: the forward pass, or the input gradient with the roles of x and dy exchanged.
struct Correlation {
    /// Planes of an input image and of an output image.
    channels: [usize; 2],
    /// Height and width of both.
    size: [[usize; 2]; 2],
    /// Zeros before the first row and column of the input; fewer than none where the output starts inside.
    pad: [isize; 2],
    /// Rows and columns of tiles.
    tiles: [usize; 2],
    /// Tiles of a block.
    block: usize,
}

/// Tiles of one image side by side.
struct Run {
    /// Image, counted from the first of the task.
    image: usize,
    /// Row of tiles.
    row: usize,
    /// Columns of tiles.
    columns: Range<usize>,
    /// Where the first one is in its block.
    at: usize,
}

/// The runs of the tiles `start..end`, counted over images of `tiles` rows and columns.
fn runs(tiles: [usize; 2], start: usize, end: usize) -> impl Iterator<Item = Run> {
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
fn lanes<F: Scalar>(n: usize, source: [&Lane<F>; MAX], f: impl Fn([F; MAX]) -> [F; MAX]) -> [Lane<F>; MAX] {
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
struct Planes<'a, F> {
    /// The first plane, and as many of the others as there are.
    data: &'a [F],
    count: usize,
    size: [usize; 2],
}

impl<F: Scalar> Planes<'_, F> {
    /// Copies rows from `top` and columns from `left` on into `band` [columns][step], one lane for each cell and zeros
    /// outside of the plane.
    #[inline(always)]
    fn load(&self, [top, left]: [isize; 2], [rows, columns]: [usize; 2], step: usize, band: &mut [Lane<F>]) {
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
struct Points<'a, F> {
    data: &'a mut [Lane<F>],
    step: usize,
    /// A copy with signs, for Flipout.
    signed: Option<(&'a mut [Lane<F>], Lane<F>)>,
}

impl<F: Scalar> Points<'_, F> {
    #[inline(always)]
    fn store(&mut self, point: usize, tile: usize, values: Lane<F>) {
        self.data[point * self.step + tile] = values;
        if let Some((data, sign)) = &mut self.signed {
            data[point * self.step + tile] = std::array::from_fn(|l| values[l] * sign[l]);
        }
    }
}

/// The lanes of 16 numbers from `at` on, of which there are `count`.
fn lane_of<F: Scalar>(data: &[F], at: usize, count: usize) -> Lane<F> {
    std::array::from_fn(|l| if l < count { data[at + l] } else { F::ZERO })
}

/// B^T x B of a run of tiles.
#[inline(always)]
fn input_tiles<F: Scalar, A: Axis, B: Axis>(
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
fn output_tiles<F: Scalar, A: Axis, B: Axis>(
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

/// A^T m A of a tile at `m[point * step]`, plus the bias, into `band` [M][columns].
#[inline(always)]
fn collect_tile<F: Scalar, A: Axis, B: Axis>(
    m: &[Lane<F>],
    step: usize,
    bias: Lane<F>,
    columns: usize,
    band: &mut [Lane<F>],
) {
    let mut rows = [[[F::ZERO; LANES]; MAX]; MAX];
    for k in 0..B::T {
        let source = std::array::from_fn(|row| &m[(row.min(A::T - 1) * B::T + k) * step]);
        rows[k] = lanes(A::M, source, outputs::<F, A>);
    }
    for row in 0..A::M {
        let values = lanes(B::M, std::array::from_fn(|k| &rows[k][row]), outputs::<F, B>);
        for (cell, values) in band[row * columns..].iter_mut().zip(&values).take(B::M) {
            *cell = std::array::from_fn(|l| values[l] + bias[l]);
        }
    }
}

/// Which weights one pass reads: steps between its input and output channels, and whether the kernel is turned around.
#[derive(Clone, Copy)]
struct Reading {
    input: usize,
    output: usize,
    turned: bool,
}

impl Correlation {
    /// Blocks of 16 planes of an input image and of an output image.
    fn blocks(&self) -> [usize; 2] {
        self.channels.map(|c| c.div_ceil(LANES))
    }

    /// Lanes of transformed weights.
    fn weight_lanes(&self, points: usize) -> usize {
        self.blocks()[1] * points * self.channels[0]
    }

    /// Lanes of one task: V and products of a block, and a band of cells.
    fn task_lanes(&self, tile: Tile, products: usize) -> usize {
        let [[m0, r0], [m1, r1]] = tile.sizes();
        let (points, rows) = (tile.points(), rows_of(self.block));
        let band = (m0 + r0 - 1) * (self.block.min(self.tiles[1]) * m1 + r1 - 1);
        products * points * rows * (self.blocks()[0] + GROUP.min(self.blocks()[1])) + band
    }

    /// G w G^T into `u` [output blocks]\[points][input channels].
    fn transform_weights<F: Scalar, A: Axis, B: Axis>(&self, w: &[F], reading: Reading, u: &mut [Lane<F>]) {
        let (taps, points) = (A::R * B::R, A::T * B::T);
        let [channels, outputs] = self.channels;
        let work = channels * outputs * points * 4;
        threads::for_each_chunk(u, points * channels, work, |start, u| {
            let first = start / (points * channels);
            simd::dispatch(
                #[inline(always)]
                || {
                    for (block, u) in u.chunks_exact_mut(points * channels).enumerate() {
                        let from = (first + block) * LANES;
                        let count = (outputs - from).min(LANES);
                        for c in 0..channels {
                            let mut kernel = [[F::ZERO; LANES]; MAX * MAX];
                            for l in 0..count {
                                let w = &w[(from + l) * reading.output + c * reading.input..][..taps];
                                for (tap, &w) in w.iter().enumerate() {
                                    kernel[if reading.turned { taps - 1 - tap } else { tap }][l] = w;
                                }
                            }
                            let mut columns = [[[F::ZERO; LANES]; MAX]; MAX];
                            for s in 0..B::R {
                                let source = std::array::from_fn(|r| &kernel[r.min(A::R - 1) * B::R + s]);
                                columns[s] = lanes(A::T, source, weights::<F, A>);
                            }
                            for row in 0..A::T {
                                let source = std::array::from_fn(|s| &columns[s.min(B::R - 1)][row]);
                                let values = lanes(B::T, source, weights::<F, B>);
                                for (k, &values) in values.iter().enumerate().take(B::T) {
                                    u[(row * B::T + k) * channels + c] = values;
                                }
                            }
                        }
                    }
                },
            );
        });
    }

    /// Correlates images `x` into `y`, with the signs of these images.
    fn images<F: Scalar, A: Axis, B: Axis>(
        &self,
        x: &[F],
        u: &[Lane<F>],
        bias: Option<&[F]>,
        signs: Option<(&[F], &[F])>,
        y: &mut [F],
        scratch: &mut [Lane<F>],
    ) {
        let points = A::T * B::T;
        let products = 1 + usize::from(signs.is_some());
        let [in_blocks, out_blocks] = self.blocks();
        let [channels, outputs] = self.channels;
        let [in_plane, out_plane] = self.size.map(|[h, w]| h * w);
        let images = y.len() / (outputs * out_plane);
        let tiles = images * self.tiles[0] * self.tiles[1];
        let rows = rows_of(self.block);
        let (v, scratch) = scratch.split_at_mut(products * points * in_blocks * rows);
        let group = GROUP.min(out_blocks);
        let (m, band) = scratch.split_at_mut(products * points * group * rows);
        for start in (0..tiles).step_by(self.block) {
            let end = (start + self.block).min(tiles);
            let (plain, signed) = v.split_at_mut(points * in_blocks * rows);
            for run in runs(self.tiles, start, end) {
                let origin =
                    [(run.row * A::M) as isize - self.pad[0], (run.columns.start * B::M) as isize - self.pad[1]];
                for block in 0..in_blocks {
                    let count = (channels - block * LANES).min(LANES);
                    let plane = run.image * channels + block * LANES;
                    let planes = Planes { data: &x[plane * in_plane..], count, size: self.size[0] };
                    let at = block * rows + run.at;
                    let signed = signs.map(|(before, _)| (&mut signed[at..], lane_of(before, plane, count)));
                    let out = Points { data: &mut plain[at..], step: in_blocks * rows, signed };
                    simd::dispatch(
                        #[inline(always)]
                        || input_tiles::<F, A, B>(&planes, origin, run.columns.len(), band, out),
                    );
                }
            }
            for first in (0..out_blocks).step_by(group) {
                let blocks = group.min(out_blocks - first);
                for product in 0..products {
                    let v = &v[product * points * in_blocks * rows..];
                    let u = &u[(product * out_blocks + first) * points * channels..];
                    let m = &mut m[product * points * group * rows..];
                    let shape = Blocked {
                        rows: end - start,
                        terms: channels,
                        blocks,
                        steps: [rows, points * channels, rows],
                        transposed: false,
                        add: false,
                    };
                    for point in 0..points {
                        F::blocked_product(
                            &shape,
                            &v[point * in_blocks * rows..],
                            &u[point * channels..],
                            &mut m[point * group * rows..],
                        );
                    }
                }
                let (plain, signed) = m.split_at_mut(points * group * rows);
                for run in runs(self.tiles, start, end) {
                    let tile_row = run.row * A::M;
                    let n_rows = A::M.min(self.size[1][0] - tile_row);
                    let (from, columns) = (run.columns.start * B::M, run.columns.len() * B::M);
                    let width = columns.min(self.size[1][1] - from);
                    for block in 0..blocks {
                        let output = (first + block) * LANES;
                        let count = (outputs - output).min(LANES);
                        let plane = run.image * outputs + output;
                        let at = block * rows + run.at;
                        if let Some((_, after)) = signs {
                            let sign = lane_of(after, plane, count);
                            add_signed(&mut plain[at..], &signed[at..], group * rows, points, run.columns.len(), sign);
                        }
                        let bias = bias.map_or([F::ZERO; LANES], |bias| lane_of(bias, output, count));
                        let y = &mut y[plane * out_plane..][..count * out_plane];
                        simd::dispatch(
                            #[inline(always)]
                            || {
                                for tile in 0..run.columns.len() {
                                    let m = &plain[at + tile..];
                                    let band = &mut band[tile * B::M..];
                                    collect_tile::<F, A, B>(m, group * rows, bias, columns, band);
                                }
                            },
                        );
                        for row in 0..n_rows {
                            let y = &mut y[(tile_row + row) * self.size[1][1] + from..];
                            let cells = band[row * columns..].as_flattened();
                            F::transpose(cells, LANES, width, count, out_plane, y);
                        }
                    }
                }
            }
        }
    }

    /// The pass over the whole batch: weights transformed once, images cut between threads.
    #[expect(clippy::too_many_arguments, reason = "operands and scratch of a pass")]
    fn run<F: Scalar, A: Axis, B: Axis>(
        &self,
        tile: Tile,
        n_tasks: usize,
        x: &[F],
        weights: Weights<'_, F>,
        reading: Reading,
        bias: Option<&[F]>,
        y: &mut [F],
        scratch: &mut [F],
    ) {
        let (scratch, _) = scratch.as_chunks_mut::<LANES>();
        let per_product = self.weight_lanes(tile.points());
        let (kernels, signs) = match weights {
            Weights::Shared(w) => ([Some(w), None], None),
            // The signs of the input of this pass first.
            Weights::Flipout { loc, perturbation, before, after } => {
                ([Some(loc), Some(perturbation)], Some(if reading.turned { (after, before) } else { (before, after) }))
            }
        };
        let products = 1 + usize::from(signs.is_some());
        let (u, scratch) = scratch.split_at_mut(products * per_product);
        for (w, u) in kernels.into_iter().flatten().zip(u.chunks_exact_mut(per_product)) {
            self.transform_weights::<F, A, B>(w, reading, u);
        }
        let [in_image, out_image] = [0, 1].map(|side| self.channels[side] * self.size[side][0] * self.size[side][1]);
        let per_task = self.task_lanes(tile, products);
        let images = y.len() / out_image;
        let n_tasks = n_tasks.min(scratch.len() / per_task).max(1);
        let u = &*u;
        let work = move |range: Range<usize>, y: &mut [F], scratch: &mut [Lane<F>]| {
            let signs = signs.map(|(before, after)| {
                (
                    &before[range.start * self.channels[0]..range.end * self.channels[0]],
                    &after[range.start * self.channels[1]..range.end * self.channels[1]],
                )
            });
            let x = &x[range.start * in_image..range.end * in_image];
            self.images::<F, A, B>(x, u, bias, signs, y, scratch);
        };
        if n_tasks == 1 {
            return work(0..images, y, scratch);
        }
        rayon::scope(|scope| {
            let (mut rest, mut scratch) = (y, scratch);
            for index in 0..n_tasks {
                let range = threads::part(images, n_tasks, index);
                let (head, tail) = rest.split_at_mut(range.len() * out_image);
                let (mine, others) = scratch.split_at_mut(per_task);
                (rest, scratch) = (tail, others);
                let work = &work;
                scope.spawn(move |_| work(range, head, mine));
            }
        });
    }
}

/// Rows that a block of tiles takes in memory: an odd number, so that the points of one tile do not fall into the same
/// sets of the first-level cache.
fn rows_of(block: usize) -> usize {
    block | 1
}

/// plain += sign signed, at all points of a run of tiles.
fn add_signed<F: Scalar>(
    plain: &mut [Lane<F>],
    signed: &[Lane<F>],
    step: usize,
    points: usize,
    tiles: usize,
    sign: Lane<F>,
) {
    simd::dispatch(
        #[inline(always)]
        || {
            for point in 0..points {
                let (to, from) = (&mut plain[point * step..][..tiles], &signed[point * step..][..tiles]);
                for (to, from) in to.iter_mut().zip(from) {
                    for l in 0..LANES {
                        to[l] = sign[l].mul_add(from[l], to[l]);
                    }
                }
            }
        },
    );
}

impl Winograd {
    /// The plan of a convolution with this output, if the method covers it: stride 1, no dilation, no groups and a kernel
    /// of 3x3, 5x5, 1x3 or 1x5.
    pub fn new(shape: &Conv2dShape, output: [usize; 2]) -> Option<Self> {
        if shape.stride != [1, 1] || shape.dilation != [1, 1] || shape.groups != 1 {
            return None;
        }
        let tile = match shape.kernel {
            [3, 3] => Tile::F4x3,
            [5, 5] => Tile::F4x5,
            [1, 3] => Tile::Row4x3,
            [1, 5] => Tile::Row4x5,
            _ => return None,
        };
        Some(Self { shape: *shape, output, tile })
    }

    /// Whether this is faster than the direct loops.
    pub fn pays(&self) -> bool {
        self.shape.in_channels >= 16 && self.shape.out_channels >= 16
    }

    /// Multiplications of one pass over the batch.
    fn work(&self) -> usize {
        let s = &self.shape;
        let [rows, columns] = self.tiles(self.output);
        s.batch * rows * columns * self.tile.points() * s.in_channels * s.out_channels
    }

    fn tasks(&self) -> usize {
        threads::tasks(self.shape.batch, self.work())
    }

    /// Rows and columns of tiles of a plane.
    fn tiles(&self, size: [usize; 2]) -> [usize; 2] {
        let m = self.tile.sizes().map(|[m, _]| m);
        std::array::from_fn(|axis| size[axis].div_ceil(m[axis]))
    }

    /// Tiles of a block of `lanes` lanes for each tile and point, out of `tiles`.
    fn block(&self, lanes: usize, tiles: usize) -> usize {
        (BLOCK_BYTES / (lanes * self.tile.points() * LANES * 4)).clamp(12, 96).min(tiles.max(1))
    }

    /// The forward pass, or the input gradient.
    fn correlation(&self, turned: bool, products: usize) -> Correlation {
        let s = &self.shape;
        let mut channels = [s.in_channels, s.out_channels];
        let mut size = [s.input, self.output];
        let mut pad = [s.padding[0][0] as isize, s.padding[1][0] as isize];
        if turned {
            channels.reverse();
            size.reverse();
            pad = std::array::from_fn(|axis| s.kernel[axis] as isize - 1 - pad[axis]);
        }
        let tiles = self.tiles(size[1]);
        let blocks = channels.map(|c| c.div_ceil(LANES));
        let block = self.block(products * (blocks[0] + GROUP.min(blocks[1])), s.batch * tiles[0] * tiles[1]);
        Correlation { channels, size, pad, tiles, block }
    }

    fn scratch(&self, turned: bool, products: usize) -> usize {
        let pass = self.correlation(turned, products);
        let weights = products * pass.weight_lanes(self.tile.points());
        LANES * (weights + self.tasks() * pass.task_lanes(self.tile, products))
    }

    /// Scratch of [`Self::forward`] in elements, for the number of threads in use now and one or two kernels.
    pub fn forward_scratch(&self, kernels: usize) -> usize {
        self.scratch(false, kernels)
    }

    /// y [N,O,P,Q] = x [N,C,H,W] cross-correlated with the weights, plus the bias [O].
    pub fn forward<F: Scalar>(
        &self,
        x: &[F],
        weights: Weights<'_, F>,
        bias: Option<&[F]>,
        y: &mut [F],
        scratch: &mut [F],
    ) {
        if y.is_empty() {
            return;
        }
        let s = &self.shape;
        let taps = s.kernel[0] * s.kernel[1];
        let reading = Reading { input: taps, output: s.in_channels * taps, turned: false };
        let pass = self.correlation(false, weights.kernels());
        with_axes!(self.tile, pass.run::<F>(self.tile, self.tasks(), x, weights, reading, bias, y, scratch));
    }

    /// Scratch of [`Self::input_grad`] in elements, for the number of threads in use now and one or two kernels.
    pub fn input_grad_scratch(&self, kernels: usize) -> usize {
        self.scratch(true, kernels)
    }

    /// dx = the gradient of sum(dy * y) in x.
    pub fn input_grad<F: Scalar>(&self, dy: &[F], weights: Weights<'_, F>, dx: &mut [F], scratch: &mut [F]) {
        if dx.is_empty() {
            return;
        }
        let s = &self.shape;
        let taps = s.kernel[0] * s.kernel[1];
        let reading = Reading { input: s.in_channels * taps, output: taps, turned: true };
        let pass = self.correlation(true, weights.kernels());
        with_axes!(self.tile, pass.run::<F>(self.tile, self.tasks(), dy, weights, reading, None, dx, scratch));
    }

    /// Tiles of a block of the weight gradient.
    fn weight_block(&self, products: usize) -> usize {
        let s = &self.shape;
        let lanes = products * (s.in_channels.div_ceil(LANES) + s.out_channels.div_ceil(LANES));
        let [rows, columns] = self.tiles(self.output);
        self.block(lanes, s.batch * rows * columns)
    }

    /// Lanes of one sum of products W V.
    fn sum_lanes(&self) -> usize {
        self.tile.points() * self.shape.in_channels.div_ceil(LANES) * self.shape.out_channels
    }

    /// Partial sums of the weight gradient: a number that depends on the shape alone. A part has some blocks, so that the
    /// sums cost little to add up.
    fn weight_parts(&self, products: usize) -> usize {
        let [rows, columns] = self.tiles(self.output);
        let blocks = (self.shape.batch * rows * columns).div_ceil(self.weight_block(products));
        threads::parts(blocks.div_ceil(4), products * self.sum_lanes() * LANES)
    }

    fn weight_task_lanes(&self, products: usize) -> usize {
        let s = &self.shape;
        let [[m0, r0], [m1, r1]] = self.tile.sizes();
        let block = self.weight_block(products);
        let blocks = s.in_channels.div_ceil(LANES) + s.out_channels.div_ceil(LANES);
        let band = (m0 + r0 - 1) * (block.min(self.tiles(self.output)[1]) * m1 + r1 - 1);
        products * self.tile.points() * rows_of(block) * blocks + band
    }

    /// Scratch of [`Self::weight_grad`] in elements, for the number of threads in use now and one or two kernels.
    pub fn weight_grad_scratch(&self, kernels: usize) -> usize {
        let parts = self.weight_parts(kernels);
        let tasks = threads::tasks(parts, self.work());
        LANES * (parts * kernels * self.sum_lanes() + tasks * self.weight_task_lanes(kernels))
    }

    /// The gradients of sum(dy * y) in the weights: partial sums over fixed parts of the tiles, added up in order.
    pub fn weight_grad<F: Scalar>(&self, x: &[F], dy: &[F], grads: WeightGrads<'_, F>, scratch: &mut [F]) {
        with_axes!(self.tile, self.weight_grad_of::<F>(x, dy, grads, scratch));
    }

    fn weight_grad_of<F: Scalar, A: Axis, B: Axis>(
        &self,
        x: &[F],
        dy: &[F],
        grads: WeightGrads<'_, F>,
        scratch: &mut [F],
    ) {
        let (mut dw, signs) = match grads {
            WeightGrads::Shared(dw) => ([Some(dw), None], None),
            WeightGrads::Flipout { loc, perturbation, before, after } => {
                ([Some(loc), Some(perturbation)], Some((before, after)))
            }
        };
        if dy.is_empty() {
            dw.iter_mut().flatten().for_each(|dw| dw.fill(F::ZERO));
            return;
        }
        let products = 1 + usize::from(signs.is_some());
        let (scratch, _) = scratch.as_chunks_mut::<LANES>();
        let (parts, sum) = (self.weight_parts(products), self.sum_lanes());
        let (sums, scratch) = scratch.split_at_mut(parts * products * sum);
        let per_task = self.weight_task_lanes(products);
        let n_tasks = threads::tasks(parts, self.work()).min(scratch.len() / per_task).max(1);
        let part = |index: usize, sums: &mut [Lane<F>], scratch: &mut [Lane<F>]| {
            self.weight_part::<F, A, B>(x, dy, signs, (parts, index), sums, scratch);
        };
        if n_tasks == 1 {
            for (index, sums) in sums.chunks_exact_mut(products * sum).enumerate() {
                part(index, sums, scratch);
            }
        } else {
            rayon::scope(|scope| {
                let (mut rest, mut scratch) = (&mut *sums, scratch);
                for index in 0..n_tasks {
                    let range = threads::part(parts, n_tasks, index);
                    let (head, tail) = rest.split_at_mut(range.len() * products * sum);
                    let (mine, others) = scratch.split_at_mut(per_task);
                    (rest, scratch) = (tail, others);
                    let part = &part;
                    scope.spawn(move |_| {
                        for (index, sums) in range.zip(head.chunks_exact_mut(products * sum)) {
                            part(index, sums, mine);
                        }
                    });
                }
            });
        }
        for (product, dw) in dw.into_iter().flatten().enumerate() {
            self.finish_weights::<F, A, B>(&sums[product * sum..], products * sum, dw);
        }
    }

    /// Sums W V over one part of the tiles into `sums` [products]\[points]\[input blocks][O].
    fn weight_part<F: Scalar, A: Axis, B: Axis>(
        &self,
        x: &[F],
        dy: &[F],
        signs: Option<(&[F], &[F])>,
        (parts, index): (usize, usize),
        sums: &mut [Lane<F>],
        scratch: &mut [Lane<F>],
    ) {
        let s = &self.shape;
        let points = A::T * B::T;
        let products = 1 + usize::from(signs.is_some());
        let (channels, outputs) = (s.in_channels, s.out_channels);
        let (in_blocks, out_blocks) = (channels.div_ceil(LANES), outputs.div_ceil(LANES));
        let (in_plane, out_plane) = (s.input[0] * s.input[1], self.output[0] * self.output[1]);
        let tiles = self.tiles(self.output);
        let block = self.weight_block(products);
        let rows = rows_of(block);
        let (v, scratch) = scratch.split_at_mut(products * points * in_blocks * rows);
        let (w, band) = scratch.split_at_mut(products * points * out_blocks * rows);
        let all = threads::part(s.batch * tiles[0] * tiles[1], parts, index);
        for start in all.clone().step_by(block) {
            let end = (start + block).min(all.end);
            for run in runs(tiles, start, end) {
                let origin = [(run.row * A::M) as isize, (run.columns.start * B::M) as isize];
                let padded = [origin[0] - s.padding[0][0] as isize, origin[1] - s.padding[1][0] as isize];
                let (plain, signed) = v.split_at_mut(points * in_blocks * rows);
                for block in 0..in_blocks {
                    let count = (channels - block * LANES).min(LANES);
                    let plane = run.image * channels + block * LANES;
                    let planes = Planes { data: &x[plane * in_plane..], count, size: s.input };
                    let at = block * rows + run.at;
                    let signed = signs.map(|(before, _)| (&mut signed[at..], lane_of(before, plane, count)));
                    let out = Points { data: &mut plain[at..], step: in_blocks * rows, signed };
                    simd::dispatch(
                        #[inline(always)]
                        || input_tiles::<F, A, B>(&planes, padded, run.columns.len(), band, out),
                    );
                }
                let (plain, signed) = w.split_at_mut(points * out_blocks * rows);
                for block in 0..out_blocks {
                    let count = (outputs - block * LANES).min(LANES);
                    let plane = run.image * outputs + block * LANES;
                    let planes = Planes { data: &dy[plane * out_plane..], count, size: self.output };
                    let at = block * rows + run.at;
                    let signed = signs.map(|(_, after)| (&mut signed[at..], lane_of(after, plane, count)));
                    let out = Points { data: &mut plain[at..], step: out_blocks * rows, signed };
                    simd::dispatch(
                        #[inline(always)]
                        || output_tiles::<F, A, B>(&planes, origin, run.columns.len(), band, out),
                    );
                }
            }
            let shape = Blocked {
                rows: outputs,
                terms: end - start,
                blocks: in_blocks,
                steps: [rows, rows, outputs],
                transposed: true,
                add: start > all.start,
            };
            for product in 0..products {
                for point in 0..points {
                    let at = product * points + point;
                    F::blocked_product(
                        &shape,
                        &w[at * out_blocks * rows..],
                        &v[at * in_blocks * rows..],
                        &mut sums[at * in_blocks * outputs..],
                    );
                }
            }
        }
        if all.is_empty() {
            sums.fill([F::ZERO; LANES]);
        }
    }

    /// dw = G^T (the partial sums, `step` lanes apart, added up) G.
    fn finish_weights<F: Scalar, A: Axis, B: Axis>(&self, sums: &[Lane<F>], step: usize, dw: &mut [F]) {
        let (channels, outputs) = (self.shape.in_channels, self.shape.out_channels);
        let (in_blocks, taps) = (channels.div_ceil(LANES), A::R * B::R);
        let work = sums.len() * LANES;
        threads::for_each_chunk(dw, channels * taps, work, |start, dw| {
            let first = start / (channels * taps);
            simd::dispatch(
                #[inline(always)]
                || {
                    for (o, dw) in dw.chunks_exact_mut(channels * taps).enumerate() {
                        for (block, dw) in dw.chunks_mut(LANES * taps).enumerate() {
                            let at = block * outputs + first + o;
                            let mut total = [[[F::ZERO; LANES]; MAX]; MAX];
                            for sums in sums.chunks(step) {
                                for row in 0..A::T {
                                    for k in 0..B::T {
                                        let sum = &sums[(row * B::T + k) * in_blocks * outputs + at];
                                        for l in 0..LANES {
                                            total[k][row][l] += sum[l];
                                        }
                                    }
                                }
                            }
                            let mut columns = [[[F::ZERO; LANES]; MAX]; MAX];
                            for k in 0..B::T {
                                columns[k] =
                                    lanes(A::R, std::array::from_fn(|row| &total[k][row]), weight_grads::<F, A>);
                            }
                            for r in 0..A::R {
                                let values = lanes(B::R, std::array::from_fn(|k| &columns[k][r]), weight_grads::<F, B>);
                                for (l, dw) in dw.chunks_exact_mut(taps).enumerate() {
                                    for (s, values) in values.iter().enumerate().take(B::R) {
                                        dw[r * B::R + s] = values[l];
                                    }
                                }
                            }
                        }
                    }
                },
            );
        });
    }
}

impl<F> Weights<'_, F> {
    /// Kernels that are multiplied with: 1 or 2.
    pub fn kernels(&self) -> usize {
        match self {
            Weights::Shared(_) => 1,
            Weights::Flipout { .. } => 2,
        }
    }
}

#[cfg(test)]
mod tests;
