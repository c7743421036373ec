//! Products of a dense layer whose weights are random: with signs for each row (Flipout), and means with variances.
//!
//! x [N, I], weights [I, O], y [N, O], all row-major. Flipped data and squares live in scratch.
use super::gemm::{Matrix, gemm, gemm_scratch};
use super::{Scalar, simd, threads};

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

/// Elementary operations for the sign of an element.
const SIGN_WORK: usize = 2;

/// Calls `f(position, elements of to, signs)` for pieces of rows of `width` elements.
fn with_signs<F: Scalar>(
    signs: &impl Signs,
    width: usize,
    to: &mut [F],
    f: impl Fn(usize, &mut [F], &[F]) + Sync + Copy,
) {
    let work = SIGN_WORK * to.len();
    threads::for_each_chunk(to, width, work, |at, to| {
        let mut piece = [F::ONE; PIECE];
        for (i, to) in to.chunks_mut(width.max(1)).enumerate() {
            let row = at + i * width;
            for (j, to) in to.chunks_mut(PIECE).enumerate() {
                let piece = &mut piece[..to.len()];
                signs.fill(row / width, j * PIECE, piece);
                let piece = &*piece;
                simd::dispatch(
                    #[inline(always)]
                    || f(row + j * PIECE, to, piece),
                );
            }
        }
    });
}

/// to = signs * x
fn flip<F: Scalar>(signs: &impl Signs, width: usize, x: &[F], to: &mut [F]) {
    with_signs(
        signs,
        width,
        to,
        #[inline(always)]
        |at, to, signs| to.iter_mut().zip(&x[at..]).zip(signs).for_each(|((to, &x), &s)| *to = s * x),
    );
}

impl DenseShape {
    /// Scratch of [`Self::flipped`] in elements, for the number of threads in use now.
    pub fn flipped_scratch<F: Scalar>(&self) -> usize {
        self.rows * (self.inputs + self.outputs) + gemm_scratch::<F>(self.rows, self.outputs, self.inputs)
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
        let &Self { rows, inputs, outputs } = self;
        let weights = |w| if transposed { Matrix::row_major(w, inputs).t() } else { Matrix::row_major(w, outputs) };
        let (x_flipped, scratch) = scratch.split_at_mut(rows * inputs);
        let (noise, scratch) = scratch.split_at_mut(rows * outputs);
        gemm(rows, outputs, inputs, Matrix::row_major(x, inputs), weights(loc), y, outputs, scratch);
        flip(before, inputs, x, x_flipped);
        let x_flipped = Matrix::row_major(x_flipped, inputs);
        gemm(rows, outputs, inputs, x_flipped, weights(spread), noise, outputs, scratch);
        let noise = &*noise;
        with_signs(
            after,
            outputs,
            y,
            #[inline(always)]
            |at, y, signs| y.iter_mut().zip(&noise[at..]).zip(signs).for_each(|((y, &e), &s)| *y = s.mul_add(e, *y)),
        );
    }

    /// Scratch of [`Self::flipped_grad`] in elements, for the number of threads in use now.
    pub fn flipped_grad_scratch<F: Scalar>(&self) -> usize {
        self.rows * (self.inputs + self.outputs) + gemm_scratch::<F>(self.inputs, self.outputs, self.rows)
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
        let &Self { rows, inputs, outputs } = self;
        let (plain, flipped) = dw.split_at_mut(inputs * outputs);
        let (x_flipped, scratch) = scratch.split_at_mut(rows * inputs);
        let (dy_flipped, scratch) = scratch.split_at_mut(rows * outputs);
        flip(before, inputs, x, x_flipped);
        flip(after, outputs, dy, dy_flipped);
        for (x, dy, dw) in [(x, dy, plain), (&*x_flipped, &*dy_flipped, flipped)] {
            let (x, dy) = (Matrix::row_major(x, inputs).t(), Matrix::row_major(dy, outputs));
            gemm(inputs, outputs, rows, x, dy, dw, outputs, scratch);
        }
    }

    /// Scratch of [`Self::moments`] in elements, for the number of threads in use now.
    pub fn moments_scratch<F: Scalar>(&self) -> usize {
        self.rows * self.inputs + gemm_scratch::<F>(self.rows, self.outputs, self.inputs)
    }

    /// Means x loc and variances x^2 square of the outputs for independent weights with means `loc` and variances
    /// `square`.
    pub fn moments<F: Scalar>(
        &self,
        x: &[F],
        loc: &[F],
        square: &[F],
        mean: &mut [F],
        variance: &mut [F],
        scratch: &mut [F],
    ) {
        let &Self { rows, inputs, outputs } = self;
        let (squares, scratch) = scratch.split_at_mut(rows * inputs);
        gemm(
            rows,
            outputs,
            inputs,
            Matrix::row_major(x, inputs),
            Matrix::row_major(loc, outputs),
            mean,
            outputs,
            scratch,
        );
        simd::dispatch(
            #[inline(always)]
            || squares.iter_mut().zip(x).for_each(|(s, &x)| *s = x * x),
        );
        let squares = Matrix::row_major(squares, inputs);
        gemm(rows, outputs, inputs, squares, Matrix::row_major(square, outputs), variance, outputs, scratch);
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
                *out = if (row * 7 + (start + i) * self.0).is_multiple_of(3) { -F::ONE } else { F::ONE };
            }
        }
    }

    #[test]
    fn flipping_does_not_depend_on_the_cut() {
        // Large enough for threads, with rows longer than one piece of signs.
        let (rows, width) = (150, 1000);
        let x = values::<f32>(1, rows * width);
        let mut all = vec![f32::NAN; x.len()];
        flip(&Table(5), width, &x, &mut all);
        let mut one = vec![f32::NAN; width];
        for row in 0..rows {
            Table(5).fill(row, 0, &mut one);
            let want: Vec<f32> = one.iter().zip(&x[row * width..]).map(|(s, x)| s * x).collect();
            assert_eq!(all[row * width..][..width], want);
        }
    }
}
