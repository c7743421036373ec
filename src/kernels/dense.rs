//! Products of a dense layer whose weights are random: with signs for each row (Flipout), and means with variances.
//!
//! x [N, I], weights [I, O], y [N, O], all row-major.
use super::conv::{over_items, over_pairs};
use super::gemm::{Into, Matrix, PackA, PackB, product, product_and_square, product_scratch};
use super::{Scalar, threads};

/// The sizes of a dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseShape {
    /// Rows N of the batch.
    pub rows: usize,
    /// Inputs I.
    pub inputs: usize,
    /// Outputs O.
    pub outputs: usize,
}

/// Signs for each row and channel.
pub trait Signs: Sync {
    /// Fills `out` with the signs, -1 or 1, of the channels from `start` on in row `row`.
    fn fill<F: Scalar>(&self, row: usize, start: usize, out: &mut [F]);
}

/// Signs that are made at a time.
const PIECE: usize = 256;

/// Flips the elements of `line`, those of channels `start..` in row `row`.
fn flip<F: Scalar>(signs: &impl Signs, row: usize, start: usize, line: &mut [F]) {
    let mut piece = [F::ONE; PIECE];
    for (i, line) in line.chunks_mut(PIECE).enumerate() {
        let piece = &mut piece[..line.len()];
        signs.fill(row, start + i * PIECE, piece);
        line.iter_mut().zip(&*piece).for_each(|(x, &s)| *x *= s);
    }
}

/// Data [rows, channels] with flipped signs; element (n, c) is `data[n * width + c]`.
struct Flipped<'a, F, S> {
    data: &'a [F],
    width: usize,
    signs: &'a S,
    /// The row of the batch that stands first.
    first: usize,
    /// The channel that stands first.
    channel: usize,
}

impl<F: Scalar, S: Signs> Flipped<'_, F, S> {
    /// Writes lines of consecutive elements of rows, `lines` of them from (row, channel) on, into panels of `width` lanes
    /// in which the lanes are rows.
    fn pack_rows(&self, (row, rows): (usize, usize), (channel, n): (usize, usize), width: usize, out: &mut [F]) {
        let mut piece = [F::ZERO; PIECE];
        for (panel, out) in out[..rows.div_ceil(width) * width * n].chunks_exact_mut(width * n).enumerate() {
            for lane in 0..width {
                let r = row + panel * width + lane;
                if r >= row + rows {
                    out[lane..].iter_mut().step_by(width).for_each(|x| *x = F::ZERO);
                    continue;
                }
                for start in (0..n).step_by(PIECE) {
                    let piece = &mut piece[..PIECE.min(n - start)];
                    let from = r * self.width + channel + start;
                    self.signs.fill(self.first + r, self.channel + channel + start, piece);
                    let out = out[start * width + lane..].iter_mut().step_by(width);
                    for ((out, &sign), &x) in out.zip(&*piece).zip(&self.data[from..]) {
                        *out = sign * x;
                    }
                }
            }
        }
    }

    /// Likewise into panels in which the lanes are channels.
    fn pack_channels(&self, (row, rows): (usize, usize), (channel, n): (usize, usize), width: usize, out: &mut [F]) {
        let mut piece = [F::ZERO; PIECE];
        let step = PIECE / width * width;
        for t in 0..rows {
            for start in (0..n).step_by(step) {
                let piece = &mut piece[..step.min(n - start)];
                self.signs.fill(self.first + row + t, self.channel + channel + start, piece);
                let from = (row + t) * self.width + channel + start;
                for (i, (signs, x)) in piece.chunks(width).zip(self.data[from..].chunks(width)).enumerate() {
                    let at = ((start / width + i) * rows + t) * width;
                    let out = &mut out[at..at + width];
                    for ((out, &sign), &x) in out.iter_mut().zip(signs).zip(x) {
                        *out = sign * x;
                    }
                    out[signs.len()..].fill(F::ZERO);
                }
            }
        }
    }
}

/// As the left operand of a product: element (n, c).
struct Rows<'a, F, S>(Flipped<'a, F, S>);
impl<F: Scalar, S: Signs> PackA<F> for Rows<'_, F, S> {
    fn pack_a(&self, i: usize, m: usize, k: usize, kc: usize, out: &mut [F]) {
        self.0.pack_rows((i, m), (k, kc), F::MR, out);
    }
}

/// As the left operand, transposed: element (c, n).
struct Channels<'a, F, S>(Flipped<'a, F, S>);
impl<F: Scalar, S: Signs> PackA<F> for Channels<'_, F, S> {
    fn pack_a(&self, i: usize, m: usize, k: usize, kc: usize, out: &mut [F]) {
        self.0.pack_channels((k, kc), (i, m), F::MR, out);
    }
}
/// As the right operand: element (n, c).
impl<F: Scalar, S: Signs> PackB<F> for Channels<'_, F, S> {
    fn pack_b(&self, k: usize, kc: usize, j: usize, n: usize, out: &mut [F]) {
        self.0.pack_channels((k, kc), (j, n), F::NR, out);
    }
}

/// How `lines` lines of a result are cut: lines of a piece, whole register tiles of `width` lines, and the number of
/// pieces for which there is scratch.
fn cut<F: Scalar>(lines: usize, width: usize, work: usize, scratch: &[F], per_task: usize) -> (usize, usize) {
    assert!(scratch.len() >= per_task, "scratch of the planned size");
    let tiles = lines.div_ceil(width).max(1);
    let n_tasks = threads::tasks(tiles, work).min(scratch.len() / per_task.max(1)).max(1);
    (tiles.div_ceil(n_tasks) * width, n_tasks)
}

impl DenseShape {
    fn work(&self) -> usize {
        2 * self.rows * self.inputs * self.outputs
    }

    /// Scratch of one product of `lines` lines, cut into register tiles of `width` lines.
    fn scratch(&self, lines: usize, width: usize, per_task: usize) -> usize {
        threads::tasks(lines.div_ceil(width).max(1), self.work()) * per_task
    }

    /// Scratch of [`Self::flipped`] in elements, for the number of threads in use now.
    pub fn flipped_scratch<F: Scalar>(&self) -> usize {
        self.scratch(self.rows, F::MR, product_scratch::<F>(self.rows, self.outputs, self.inputs))
    }

    /// y = x loc + after * ((before * x) spread), with both weights transposed ([O, I]) where `transposed`.
    #[expect(clippy::too_many_arguments, reason = "operands of two products")]
    pub fn flipped<F: Scalar>(
        &self,
        x: &[F],
        loc: &[F],
        spread: &[F],
        transposed: bool,
        (before, after): (&impl Signs, &impl Signs),
        y: &mut [F],
        scratch: &mut [F],
    ) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let weights = |w| if transposed { Matrix::row_major(w, inputs).t() } else { Matrix::row_major(w, outputs) };
        let per_task = product_scratch::<F>(self.rows, outputs, inputs);
        let (rows, n_tasks) = cut(self.rows, F::MR, self.work(), scratch, per_task);
        over_items(y, rows * outputs, n_tasks, scratch, per_task, |index, y, scratch| {
            let first = index * rows;
            let m = y.len() / outputs;
            let x = &x[first * inputs..(first + m) * inputs];
            let flip_all = |y: &mut [F]| {
                for (n, y) in y.chunks_exact_mut(outputs).enumerate() {
                    flip(after, first + n, 0, y);
                }
            };
            y.fill(F::ZERO);
            // after * (after * (x loc) + (before * x) spread): flipping changes no digit.
            let plain = Matrix::row_major(x, inputs);
            let mut sink = Into { data: y, row_stride: outputs, col_stride: 1, alpha: F::ONE };
            product(m, 0, outputs, inputs, &plain, &weights(loc), &mut sink, scratch);
            flip_all(sink.data);
            let flipped = Rows(Flipped { data: x, width: inputs, signs: before, first, channel: 0 });
            product(m, 0, outputs, inputs, &flipped, &weights(spread), &mut sink, scratch);
            flip_all(sink.data);
        });
    }

    /// Scratch of [`Self::flipped_grad`] in elements, for the number of threads in use now.
    pub fn flipped_grad_scratch<F: Scalar>(&self) -> usize {
        self.scratch(self.inputs, F::MR, product_scratch::<F>(self.inputs, self.outputs, self.rows))
    }

    /// dw [2, I, O] = x^T dy, then (before * x)^T (after * dy).
    pub fn flipped_grad<F: Scalar>(
        &self,
        x: &[F],
        dy: &[F],
        (before, after): (&impl Signs, &impl Signs),
        dw: &mut [F],
        scratch: &mut [F],
    ) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let per_task = product_scratch::<F>(inputs, outputs, self.rows);
        let (lines, n_tasks) = cut(inputs, F::MR, self.work(), scratch, per_task);
        let (plain, flipped) = dw.split_at_mut(inputs * outputs);
        let right = Channels(Flipped { data: dy, width: outputs, signs: after, first: 0, channel: 0 });
        for (flips, dw) in [(false, plain), (true, flipped)] {
            over_items(dw, lines * outputs, n_tasks, scratch, per_task, |index, dw, scratch| {
                let first = index * lines;
                let m = dw.len() / outputs;
                dw.fill(F::ZERO);
                let x = &x[first.min(x.len())..];
                let mut sink = Into { data: dw, row_stride: outputs, col_stride: 1, alpha: F::ONE };
                if flips {
                    let left = Channels(Flipped { data: x, width: inputs, signs: before, first: 0, channel: first });
                    product(m, 0, outputs, self.rows, &left, &right, &mut sink, scratch);
                } else {
                    let left = Matrix::row_major(x, inputs).t();
                    let right = Matrix::row_major(dy, outputs);
                    product(m, 0, outputs, self.rows, &left, &right, &mut sink, scratch);
                }
            });
        }
    }

    /// Scratch of [`Self::moments`] in elements, for the number of threads in use now.
    pub fn moments_scratch<F: Scalar>(&self) -> usize {
        self.scratch(self.rows, F::NR, product_scratch::<F>(self.outputs, self.rows, self.inputs))
    }

    /// Means x loc and variances x^2 square of the outputs for independent weights with means `loc` and variances
    /// `square`, x packed once; then `finish(start, mean, variance)` on whole rows, `start` being the position of the
    /// first element.
    #[expect(clippy::too_many_arguments, reason = "operands and results of two products")]
    pub fn moments<F: Scalar>(
        &self,
        x: &[F],
        loc: &[F],
        square: &[F],
        mean: &mut [F],
        variance: &mut [F],
        finish: impl Fn(usize, &mut [F], &mut [F]) + Sync,
        scratch: &mut [F],
    ) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let per_task = product_scratch::<F>(outputs, self.rows, inputs);
        let (rows, n_tasks) = cut(self.rows, F::NR, self.work(), scratch, per_task);
        let piece = |index: usize, mean: &mut [F], variance: &mut [F], scratch: &mut [F]| {
            let first = index * rows;
            let m = mean.len() / outputs.max(1);
            mean.fill(F::ZERO);
            variance.fill(F::ZERO);
            // Transposed, so that x is the operand that both products share: y^T = w^T x^T.
            let x = Matrix::row_major(&x[first * inputs..(first + m) * inputs], inputs).t();
            let [loc, square] = [loc, square].map(|w| Matrix::row_major(w, outputs).t());
            let into = |data| Into { data, row_stride: 1, col_stride: outputs, alpha: F::ONE };
            let (mut first_sink, mut second_sink) = (into(&mut *mean), into(&mut *variance));
            let sinks = [&mut first_sink, &mut second_sink];
            product_and_square(outputs, (0, m), inputs, &loc, &square, &x, sinks, scratch);
            finish(first * outputs, mean, variance);
        };
        over_pairs(mean, variance, rows * outputs, n_tasks, scratch, per_task, piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::values;

    /// Signs from a table.
    struct Table(usize);
    impl Signs for Table {
        fn fill<F: Scalar>(&self, row: usize, start: usize, out: &mut [F]) {
            for (i, out) in out.iter_mut().enumerate() {
                *out = if (row * 7 + (start + i) * self.0) % 3 == 0 { -F::ONE } else { F::ONE };
            }
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let s = DenseShape { rows: 67, inputs: 90, outputs: 41 };
        let (x, dy) = (values::<f32>(1, s.rows * s.inputs), values::<f32>(2, s.rows * s.outputs));
        let (loc, spread) = (values::<f32>(3, s.inputs * s.outputs), values::<f32>(4, s.inputs * s.outputs));
        assert!(threads::tasks(8, s.work()) == threads::count().min(8), "large enough for threads");
        // The scratch bounds the number of tasks.
        let run = |tasks: usize| {
            let signs = (&Table(5), &Table(2));
            let scratch = |lines, columns, terms| vec![0.0; tasks * product_scratch::<f32>(lines, columns, terms)];
            let (mut y, mut dw) = (vec![f32::NAN; dy.len()], vec![f32::NAN; 2 * loc.len()]);
            s.flipped(&x, &loc, &spread, false, signs, &mut y, &mut scratch(s.rows, s.outputs, s.inputs));
            s.flipped_grad(&x, &dy, signs, &mut dw, &mut scratch(s.inputs, s.outputs, s.rows));
            let (mut mean, mut variance) = (vec![f32::NAN; dy.len()], vec![f32::NAN; dy.len()]);
            let finish = |start: usize, mean: &mut [f32], variance: &mut [f32]| {
                mean.iter_mut().zip(variance).enumerate().for_each(|(i, (m, v))| *m += *v * (start + i) as f32);
            };
            let mut space = scratch(s.outputs, s.rows, s.inputs);
            s.moments(&x, &loc, &spread, &mut mean, &mut variance, finish, &mut space);
            [y, dw, mean, variance]
        };
        let one = run(1);
        assert!(one.iter().flatten().all(|x| x.is_finite()));
        assert_eq!(one, run(threads::count().max(2)));
    }
}
