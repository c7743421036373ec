//! The weight gradient: sums over the tiles of the whole batch.
use super::tiles::{Planes, Points, images_of, input_tiles, lanes, output_tiles, rows_of, runs, signs_of};
use super::transforms::Filter;
use super::transforms::{Axis, MAX, weight_grads};
use super::{Tile, WeightGrads, Winograd, with_axes};
use crate::kernels::simd::dispatch_wide;
use crate::kernels::simd::lanes::{Blocked, LANES, Lane, SecondSum, Signed};
use crate::kernels::{Scalar, threads};

impl Winograd {
    /// Tiles of a block of the weight gradient.
    pub(super) fn weight_block(&self) -> usize {
        let s = &self.shape;
        let lanes = s.in_channels.div_ceil(LANES) + s.out_channels.div_ceil(LANES);
        let [rows, columns] = self.tiles(self.output);
        self.block(lanes, s.batch * rows * columns)
    }

    /// Lanes of one sum of products W V.
    pub(super) fn sum_lanes(&self) -> usize {
        self.tile.points() * self.shape.in_channels.div_ceil(LANES) * self.shape.out_channels
    }

    /// Partial sums of the weight gradient: a number that depends on the shape alone. A part has some blocks, so that the
    /// sums cost little to add up.
    pub(super) fn weight_parts(&self, kernels: usize) -> usize {
        let [rows, columns] = self.tiles(self.output);
        let blocks = (self.shape.batch * rows * columns).div_ceil(self.weight_block());
        threads::parts(blocks.div_ceil(4), kernels * self.sum_lanes() * LANES)
    }

    pub(super) fn weight_task_lanes(&self) -> usize {
        let s = &self.shape;
        let [[m0, r0], [m1, r1]] = self.tile.sizes();
        let block = self.weight_block();
        let blocks = s.in_channels.div_ceil(LANES) + s.out_channels.div_ceil(LANES);
        let band = (m0 + r0 - 1) * (block.min(self.tiles(self.output)[1]) * m1 + r1 - 1);
        self.tile.points() * rows_of(block) * blocks + self.weight_sign_lanes() + band
    }

    /// Lanes of the signs of the input channels, for all images of a block.
    fn weight_sign_lanes(&self) -> usize {
        let [rows, columns] = self.tiles(self.output);
        (self.weight_block().div_ceil(rows * columns) + 1) * self.shape.in_channels.div_ceil(LANES)
    }

    /// Scratch of [`Self::weight_grad`] in elements, for the number of threads in use now and one or two kernels.
    pub fn weight_grad_scratch(&self, kernels: usize) -> usize {
        let parts = self.weight_parts(kernels);
        let tasks = threads::tasks(parts, self.work());
        LANES * (parts * kernels * self.sum_lanes() + tasks * self.weight_task_lanes())
    }

    /// The gradients of sum(dy * y) in the weights: partial sums over fixed parts of the tiles, added up in order.
    pub fn weight_grad<F: Scalar>(&self, x: &[F], dy: &[F], grads: WeightGrads<'_, F>, scratch: &mut [F]) {
        with_axes!(self.tile, self.weight_grad_of::<F>(x, dy, grads, scratch));
    }

    pub(super) fn weight_grad_of<F: Scalar, A: Axis, B: Axis>(
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
        let per_task = self.weight_task_lanes();
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
    pub(super) fn weight_part<F: Scalar, A: Axis, B: Axis>(
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
        let (channels, outputs) = (s.in_channels, s.out_channels);
        let (in_blocks, out_blocks) = (channels.div_ceil(LANES), outputs.div_ceil(LANES));
        let (in_plane, out_plane) = (s.input[0] * s.input[1], self.output[0] * self.output[1]);
        let tiles = self.tiles(self.output);
        let block = self.weight_block();
        let rows = rows_of(block);
        let of_image = tiles[0] * tiles[1];
        let (v, scratch) = scratch.split_at_mut(points * in_blocks * rows);
        let (w, scratch) = scratch.split_at_mut(points * out_blocks * rows);
        let (columns, band) = scratch.split_at_mut(self.weight_sign_lanes());
        let all = threads::part(s.batch * tiles[0] * tiles[1], parts, index);
        for start in all.clone().step_by(block) {
            let end = (start + block).min(all.end);
            for run in runs(tiles, start, end) {
                let origin = [(run.row * A::M) as isize, (run.columns.start * B::M) as isize];
                let padded = [origin[0] - s.padding[0][0] as isize, origin[1] - s.padding[1][0] as isize];
                for block in 0..in_blocks {
                    let count = (channels - block * LANES).min(LANES);
                    let plane = run.image * channels + block * LANES;
                    let planes = Planes { data: &x[plane * in_plane..], count, size: s.input };
                    let at = block * rows + run.at;
                    let out = Points { data: &mut v[at..], step: in_blocks * rows };
                    dispatch_wide(
                        #[inline(always)]
                        || input_tiles::<F, A, B>(&planes, padded, run.columns.len(), band, out),
                    );
                }
                for block in 0..out_blocks {
                    let count = (outputs - block * LANES).min(LANES);
                    let plane = run.image * outputs + block * LANES;
                    let planes = Planes { data: &dy[plane * out_plane..], count, size: self.output };
                    let at = block * rows + run.at;
                    let out = Points { data: &mut w[at..], step: out_blocks * rows };
                    dispatch_wide(
                        #[inline(always)]
                        || output_tiles::<F, A, B>(&planes, origin, run.columns.len(), band, out),
                    );
                }
            }
            let shape = |terms: usize, add: bool| Blocked {
                rows: outputs,
                terms,
                blocks: in_blocks,
                steps: [rows, rows, outputs],
                transposed: true,
                add,
            };
            let (sums, others) = sums.split_at_mut(self.sum_lanes());
            if let Some((before, _)) = signs {
                for ((image, _), lanes) in images_of(of_image, start, end).zip(columns.chunks_mut(in_blocks)) {
                    signs_of(&before[image * channels..][..channels], lanes);
                }
            }
            for point in 0..points {
                let (w, v) = (&w[point * out_blocks * rows..], &v[point * in_blocks * rows..]);
                let at = point * in_blocks * outputs;
                let sums = &mut sums[at..];
                let Some((_, after)) = signs else {
                    F::blocked_product(&shape(end - start, start > all.start), w, v, Signed::No, sums);
                    continue;
                };
                for ((image, tiles), columns) in images_of(of_image, start, end).zip(columns.chunks(in_blocks)) {
                    let second = SecondSum { c: &mut others[at..], rows: &after[image * outputs..], columns };
                    let add = start + tiles.start > all.start;
                    let (w, v) = (&w[tiles.start..], &v[tiles.start..]);
                    F::blocked_product(&shape(tiles.len(), add), w, v, Signed::Sum(second), sums);
                }
            }
        }
        if all.is_empty() {
            sums.fill([F::ZERO; LANES]);
        }
    }

    /// dw = G^T (the partial sums, `step` lanes apart, added up) G.
    pub(super) fn finish_weights<F: Scalar, A: Axis, B: Axis>(&self, sums: &[Lane<F>], step: usize, dw: &mut [F]) {
        let (channels, outputs) = (self.shape.in_channels, self.shape.out_channels);
        let (in_blocks, taps) = (channels.div_ceil(LANES), A::R * B::R);
        let work = sums.len() * LANES;
        threads::for_each_chunk(dw, channels * taps, work, |start, dw| {
            let first = start / (channels * taps);
            dispatch_wide(
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
