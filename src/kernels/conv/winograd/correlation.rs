//! The forward pass and the input gradient.
use std::ops::Range;

use super::tiles::{Planes, Points, collect_tile, images_of, input_tiles, lane_of, lanes, rows_of, runs, signs_of};
use super::transforms::{Axis, MAX, weights};
use super::{GROUP, Tile, Weights};
use crate::kernels::finish::Finish;
use crate::kernels::simd::dispatch_wide;
use crate::kernels::simd::lanes::{Blocked, LANES, Lane, Second, Signed};
use crate::kernels::{Scalar, threads};

/// A correlation of planes by tiles: the forward pass, or the input gradient with the roles of x and dy exchanged.
pub(super) struct Correlation {
    /// Planes of an input image and of an output image.
    pub(super) channels: [usize; 2],
    /// Height and width of both.
    pub(super) size: [[usize; 2]; 2],
    /// Zeros before the first row and column of the input; fewer than none where the output starts inside.
    pub(super) pad: [isize; 2],
    /// Rows and columns of tiles.
    pub(super) tiles: [usize; 2],
    /// Tiles of a block.
    pub(super) block: usize,
}

/// Which weights one pass reads: steps between its input and output channels, and whether the kernel is turned around.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) turned: bool,
}

impl Correlation {
    /// Blocks of 16 planes of an input image and of an output image.
    pub(super) fn blocks(&self) -> [usize; 2] {
        self.channels.map(|c| c.div_ceil(LANES))
    }

    /// Lanes of transformed weights.
    pub(super) fn weight_lanes(&self, points: usize) -> usize {
        self.blocks()[1] * points * self.channels[0]
    }

    /// Lanes of one task: V and products of a block, signs of the outputs of its images, and a band of cells.
    pub(super) fn task_lanes(&self, tile: Tile) -> usize {
        let [[m0, r0], [m1, r1]] = tile.sizes();
        let (points, rows) = (tile.points(), rows_of(self.block));
        let band = (m0 + r0 - 1) * (self.block.min(self.tiles[1]) * m1 + r1 - 1);
        points * rows * (self.blocks()[0] + GROUP.min(self.blocks()[1])) + self.sign_lanes() + band
    }

    /// Lanes of the signs of a group of outputs, for all images of a block.
    fn sign_lanes(&self) -> usize {
        (self.block.div_ceil(self.tiles[0] * self.tiles[1]) + 1) * GROUP
    }

    /// G w G^T into `u` [output blocks]\[points][input channels].
    pub(super) fn transform_weights<F: Scalar, A: Axis, B: Axis>(&self, w: &[F], reading: Reading, u: &mut [Lane<F>]) {
        let (taps, points) = (A::R * B::R, A::T * B::T);
        let [channels, outputs] = self.channels;
        let work = channels * outputs * points * 4;
        threads::for_each_chunk(u, points * channels, work, |start, u| {
            let first = start / (points * channels);
            dispatch_wide(
                #[inline(always)]
                || {
                    for (block, u) in u.chunks_exact_mut(points * channels).enumerate() {
                        let from = (first + block) * LANES;
                        let count = (outputs - from).min(LANES);
                        // Lanes beyond the last output channel stay zero.
                        let mut kernel = [[F::ZERO; LANES]; MAX * MAX];
                        let mut columns = [[[F::ZERO; LANES]; MAX]; MAX];
                        for c in 0..channels {
                            let w = &w[from * reading.output + c * reading.input..];
                            F::transpose(w, reading.output, count, taps, LANES, kernel.as_flattened_mut());
                            for (s, column) in columns.iter_mut().enumerate().take(B::R) {
                                let source = std::array::from_fn(|r| {
                                    let tap = r.min(A::R - 1) * B::R + s;
                                    &kernel[if reading.turned { taps - 1 - tap } else { tap }]
                                });
                                *column = lanes(A::T, source, weights::<F, A>);
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
    pub(super) fn images<F: Scalar, A: Axis, B: Axis>(
        &self,
        x: &[F],
        u: &[Lane<F>],
        finish: Finish<'_, F>,
        signs: Option<(&[F], &[F])>,
        y: &mut [F],
        scratch: &mut [Lane<F>],
    ) {
        let points = A::T * B::T;
        let [in_blocks, out_blocks] = self.blocks();
        let [channels, outputs] = self.channels;
        let [in_plane, out_plane] = self.size.map(|[h, w]| h * w);
        let images = y.len() / (outputs * out_plane);
        let of_image = self.tiles[0] * self.tiles[1];
        let tiles = images * of_image;
        let rows = rows_of(self.block);
        let (v, scratch) = scratch.split_at_mut(points * in_blocks * rows);
        let group = GROUP.min(out_blocks);
        let (m, scratch) = scratch.split_at_mut(points * group * rows);
        let (columns, band) = scratch.split_at_mut(self.sign_lanes());
        for start in (0..tiles).step_by(self.block) {
            let end = (start + self.block).min(tiles);
            for run in runs(self.tiles, start, end) {
                let origin =
                    [(run.row * A::M) as isize - self.pad[0], (run.columns.start * B::M) as isize - self.pad[1]];
                for block in 0..in_blocks {
                    let count = (channels - block * LANES).min(LANES);
                    let plane = run.image * channels + block * LANES;
                    let planes = Planes { data: &x[plane * in_plane..], count, size: self.size[0] };
                    let at = block * rows + run.at;
                    let out = Points { data: &mut v[at..], step: in_blocks * rows };
                    dispatch_wide(
                        #[inline(always)]
                        || input_tiles::<F, A, B>(&planes, origin, run.columns.len(), band, out),
                    );
                }
            }
            for first in (0..out_blocks).step_by(group) {
                let blocks = group.min(out_blocks - first);
                let shape = |count: usize| Blocked {
                    rows: count,
                    terms: channels,
                    blocks,
                    steps: [rows, points * channels, rows],
                    transposed: false,
                    add: false,
                };
                let (u, u2) = u.split_at(out_blocks * points * channels);
                if let Some((_, after)) = signs {
                    for ((image, _), lanes) in images_of(of_image, start, end).zip(columns.chunks_mut(GROUP)) {
                        signs_of(&after[image * outputs + first * LANES..(image + 1) * outputs], &mut lanes[..blocks]);
                    }
                }
                for point in 0..points {
                    let (v, m) = (&v[point * in_blocks * rows..], &mut m[point * group * rows..]);
                    let at = (first * points + point) * channels;
                    let Some((before, _)) = signs else {
                        F::blocked_product(&shape(end - start), v, &u[at..], Signed::No, m);
                        continue;
                    };
                    // Each image has a kernel of its own.
                    for ((image, tiles), columns) in images_of(of_image, start, end).zip(columns.chunks(GROUP)) {
                        let terms = &before[image * channels..];
                        let second = Second { b: &u2[at..], terms, columns };
                        let (v, m) = (&v[tiles.start..], &mut m[tiles.start..]);
                        F::blocked_product(&shape(tiles.len()), v, &u[at..], Signed::Operand(second), m);
                    }
                }
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
                        let bias = finish.bias.map_or([F::ZERO; LANES], |bias| lane_of(bias, output, count, F::ZERO));
                        let y = &mut y[plane * out_plane..][..count * out_plane];
                        dispatch_wide(
                            #[inline(always)]
                            || {
                                let step = group * rows;
                                let mut rows = [[[F::ZERO; LANES]; MAX]; MAX];
                                for tile in 0..run.columns.len() {
                                    let m = &m[at + tile..];
                                    let band = &mut band[tile * B::M..];
                                    collect_tile::<F, A, B>(m, step, (finish, bias), &mut rows, columns, band);
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
    pub(super) fn run<F: Scalar, A: Axis, B: Axis>(
        &self,
        tile: Tile,
        n_tasks: usize,
        x: &[F],
        weights: Weights<'_, F>,
        reading: Reading,
        finish: Finish<'_, F>,
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
        let (u, scratch) = scratch.split_at_mut(weights.kernels() * per_product);
        for (w, u) in kernels.into_iter().flatten().zip(u.chunks_exact_mut(per_product)) {
            self.transform_weights::<F, A, B>(w, reading, u);
        }
        let [in_image, out_image] = [0, 1].map(|side| self.channels[side] * self.size[side][0] * self.size[side][1]);
        let per_task = self.task_lanes(tile);
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
            self.images::<F, A, B>(x, u, finish, signs, y, scratch);
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
