//! Matrix products: C = alpha A B + beta C, any strides, packed panels and register tiles.
//!
//! The loops are numbered 5..1 from the outside as in BLIS (Van Zee & van de Geijn 2015): 5 over NC columns of B, 4 over
//! KC terms, 3 over MC rows of A, 2 over NR columns and 1 over MR rows of a packed block. Operands arrive through
//! `PackA` and `PackB`, so that a convolution packs patches straight from an image. Every element of C is summed in
//! the same order whatever the cut between threads: over k within blocks of KC, block after block.
use super::{Scalar, simd, threads};

/// Terms per packed block: an A panel of KC x MR and a B panel of KC x NR stay in the first-level cache.
pub(crate) const KC: usize = 256;
/// Rows per packed block of A (a multiple of every MR): MC x KC elements stay in the second-level cache.
pub(crate) const MC: usize = 72;
/// Columns per packed block of B (a multiple of every NR).
pub(crate) const NC: usize = 512;
/// The largest register tile, MR x NR.
const TILE: usize = 6 * 16;
/// Products with so few rows (or columns) do not repay packing.
const THIN: usize = 3;

/// A matrix in a slice: element (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, F> {
    /// The elements, from (0, 0) on.
    pub data: &'a [F],
    /// Steps from one row to the next.
    pub row_stride: usize,
    /// Steps from one column to the next.
    pub col_stride: usize,
}

impl<'a, F: Scalar> Matrix<'a, F> {
    /// A matrix with contiguous rows of `cols` elements.
    pub fn row_major(data: &'a [F], cols: usize) -> Self {
        Self { data, row_stride: cols, col_stride: 1 }
    }

    /// The transposed matrix.
    #[must_use]
    pub fn t(self) -> Self {
        Self { data: self.data, row_stride: self.col_stride, col_stride: self.row_stride }
    }

    pub(crate) fn from(self, start: usize) -> Self {
        Self { data: &self.data[start.min(self.data.len())..], ..self }
    }

    fn covers(&self, rows: usize, cols: usize) -> bool {
        rows * cols == 0 || (rows - 1) * self.row_stride + (cols - 1) * self.col_stride < self.data.len()
    }
}

/// A source of packed blocks of the left operand.
pub(crate) trait PackA<F: Scalar>: Sync {
    /// Writes rows `i..i + m` and terms `k..k + kc` as panels [m / MR]\[kc][MR], the last one filled up with zeros.
    fn pack_a(&self, i: usize, m: usize, k: usize, kc: usize, out: &mut [F]);
}

/// A source of packed blocks of the right operand.
pub(crate) trait PackB<F: Scalar>: Sync {
    /// Writes terms `k..k + kc` and columns `j..j + n` as panels [n / NR]\[kc][NR], the last one filled up with zeros.
    fn pack_b(&self, k: usize, kc: usize, j: usize, n: usize, out: &mut [F]);
}

/// Packs lines `i..i + m` of a matrix into panels of `width` lines, terms `k..k + kc` along `along`.
#[inline(always)]
fn pack_lines<F: Scalar>(
    data: &[F],
    (across, along): (usize, usize),
    (i, m): (usize, usize),
    (k, kc): (usize, usize),
    width: usize,
    out: &mut [F],
) {
    for (panel, out) in out[..m.div_ceil(width) * width * kc].chunks_exact_mut(width * kc).enumerate() {
        let first = i + panel * width;
        let lines = (i + m - first).min(width);
        if lines < width {
            out.fill(F::ZERO);
        }
        if across == 1 {
            for (t, out) in out.chunks_exact_mut(width).enumerate() {
                let at = (k + t) * along + first;
                out[..lines].copy_from_slice(&data[at..at + lines]);
            }
        } else if along == 1 {
            for line in 0..lines {
                let at = (first + line) * across + k;
                for (out, &x) in out[line..].iter_mut().step_by(width).zip(&data[at..at + kc]) {
                    *out = x;
                }
            }
        } else {
            for line in 0..lines {
                let at = (first + line) * across + k * along;
                for (out, &x) in out[line..].iter_mut().step_by(width).zip(data[at..].iter().step_by(along)).take(kc) {
                    *out = x;
                }
            }
        }
    }
}

impl<F: Scalar> PackA<F> for Matrix<'_, F> {
    fn pack_a(&self, i: usize, m: usize, k: usize, kc: usize, out: &mut [F]) {
        simd::dispatch(
            #[inline(always)]
            || pack_lines(self.data, (self.row_stride, self.col_stride), (i, m), (k, kc), F::MR, out),
        );
    }
}

impl<F: Scalar> PackB<F> for Matrix<'_, F> {
    fn pack_b(&self, k: usize, kc: usize, j: usize, n: usize, out: &mut [F]) {
        simd::dispatch(
            #[inline(always)]
            || pack_lines(self.data, (self.col_stride, self.row_stride), (j, n), (k, kc), F::NR, out),
        );
    }
}

/// Where the tiles of a product go.
pub(crate) trait Sink<F: Scalar> {
    /// Adds rows `i..i + m`, columns `j..j + n` of the tile [MR, NR] to the output.
    fn add(&mut self, i: usize, m: usize, j: usize, n: usize, tile: &[F]);
}

/// Adds alpha times the tiles to a matrix in a slice.
pub(crate) struct Into<'a, F> {
    pub(crate) data: &'a mut [F],
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
    pub(crate) alpha: F,
}

impl<F: Scalar> Sink<F> for Into<'_, F> {
    #[inline(always)]
    fn add(&mut self, i: usize, m: usize, j: usize, n: usize, tile: &[F]) {
        for (r, tile) in tile.chunks_exact(F::NR).take(m).enumerate() {
            let at = (i + r) * self.row_stride + j * self.col_stride;
            if self.col_stride == 1 {
                for (c, &t) in self.data[at..at + n].iter_mut().zip(tile) {
                    *c = self.alpha.mul_add(t, *c);
                }
            } else {
                for (c, &t) in self.data[at..].iter_mut().step_by(self.col_stride).zip(&tile[..n]) {
                    *c = self.alpha.mul_add(t, *c);
                }
            }
        }
    }
}

/// Scratch of [`product`] in elements: one packed block of each operand.
pub(crate) fn product_scratch<F: Scalar>(m: usize, n: usize, k: usize) -> usize {
    let kc = k.min(KC);
    m.min(MC).next_multiple_of(F::MR) * kc + n.min(NC).next_multiple_of(F::NR) * kc
}

/// Adds A B to `sink` on this thread, rows 0..m, columns `j0..j1`.
#[expect(clippy::too_many_arguments, reason = "the sizes of a product")]
pub(crate) fn product<F: Scalar>(
    m: usize,
    j0: usize,
    j1: usize,
    k: usize,
    a: &impl PackA<F>,
    b: &impl PackB<F>,
    sink: &mut impl Sink<F>,
    scratch: &mut [F],
) {
    let (a_block, b_block) = scratch.split_at_mut(m.min(MC).next_multiple_of(F::MR) * k.min(KC));
    let mut jc = j0;
    while jc < j1 {
        // loop 5
        let nc = (j1 - jc).min(NC);
        for kk in (0..k).step_by(KC) {
            // loop 4
            let kc = (k - kk).min(KC);
            b.pack_b(kk, kc, jc, nc, b_block);
            packed(m, (jc, nc), (kk, kc), a, b_block, sink, a_block);
        }
        jc += nc;
    }
}

/// Adds A B to `sinks[0]` and A' (B squared, element by element) to `sinks[1]` on this thread, rows 0..m, columns
/// `j0..j1`; B is packed once. Scratch as for [`product`].
#[expect(clippy::too_many_arguments, reason = "the sizes of a product")]
pub(crate) fn product_and_square<F: Scalar, S: Sink<F>>(
    m: usize,
    (j0, j1): (usize, usize),
    k: usize,
    a: &impl PackA<F>,
    a_of_squares: &impl PackA<F>,
    b: &impl PackB<F>,
    sinks: [&mut S; 2],
    scratch: &mut [F],
) {
    let (a_block, b_block) = scratch.split_at_mut(m.min(MC).next_multiple_of(F::MR) * k.min(KC));
    let [sink, squares] = sinks;
    for jc in (j0..j1).step_by(NC) {
        let nc = (j1 - jc).min(NC);
        for kk in (0..k).step_by(KC) {
            let kc = (k - kk).min(KC);
            b.pack_b(kk, kc, jc, nc, b_block);
            packed(m, (jc, nc), (kk, kc), a, b_block, sink, a_block);
            simd::dispatch(
                #[inline(always)]
                || b_block[..nc.next_multiple_of(F::NR) * kc].iter_mut().for_each(|b| *b = *b * *b),
            );
            packed(m, (jc, nc), (kk, kc), a_of_squares, b_block, squares, a_block);
        }
    }
}

/// Loops 3 to 1: all rows of A times one packed block of B.
fn packed<F: Scalar>(
    m: usize,
    (jc, nc): (usize, usize),
    (kk, kc): (usize, usize),
    a: &impl PackA<F>,
    b_block: &[F],
    sink: &mut impl Sink<F>,
    a_block: &mut [F],
) {
    for ic in (0..m).step_by(MC) {
        // loop 3
        let mc = (m - ic).min(MC);
        a.pack_a(ic, mc, kk, kc, a_block);
        for (jr, b) in b_block.chunks_exact(kc * F::NR).take(nc.div_ceil(F::NR)).enumerate() {
            // loop 2
            let j = jr * F::NR;
            for (ir, a) in a_block.chunks_exact(kc * F::MR).take(mc.div_ceil(F::MR)).enumerate() {
                // loop 1
                let i = ir * F::MR;
                let mut tile = [F::ZERO; TILE];
                let tile = &mut tile[..F::MR * F::NR];
                F::microkernel(kc, a, b, tile);
                sink.add(ic + i, (mc - i).min(F::MR), jc + j, (nc - j).min(F::NR), tile);
            }
        }
    }
}

/// Scratch of [`gemm`] in elements, for the number of threads in use now.
pub fn gemm_scratch<F: Scalar>(m: usize, n: usize, k: usize) -> usize {
    if m <= THIN || n <= THIN {
        return 0;
    }
    threads::tasks(m.div_ceil(F::MR), m * n * k) * product_scratch::<F>(m, n, k)
}

/// C [m, n] = alpha A [m, k] B [k, n] + beta C, C row-major with rows `c_stride` apart.
///
/// With beta = 0, C is overwritten and may hold anything, NaN included. `scratch` has at least [`gemm_scratch`]
/// elements; with less than that for all threads, fewer threads run.
#[expect(clippy::too_many_arguments, reason = "the signature of BLAS")]
pub fn gemm<F: Scalar>(
    m: usize,
    n: usize,
    k: usize,
    alpha: F,
    a: Matrix<'_, F>,
    b: Matrix<'_, F>,
    beta: F,
    c: &mut [F],
    c_stride: usize,
    scratch: &mut [F],
) {
    if m * n == 0 {
        return;
    }
    assert!(a.covers(m, k) && b.covers(k, n), "operands hold the elements of the product");
    assert!(c_stride >= n && (m - 1) * c_stride + n <= c.len(), "C holds the elements of the product");
    for row in c.chunks_mut(c_stride) {
        let row = &mut row[..n];
        if beta == F::ZERO {
            row.fill(F::ZERO);
        } else if beta != F::ONE {
            row.iter_mut().for_each(|c| *c *= beta);
        }
    }
    if k == 0 || alpha == F::ZERO {
        return;
    }
    if m <= THIN {
        thin_rows(m, n, k, alpha, a, b, c, c_stride);
        return;
    }
    if n <= THIN {
        thin_columns(n, k, alpha, a, b, &mut c[..(m - 1) * c_stride + n], c_stride);
        return;
    }
    let per_task = product_scratch::<F>(m, n, k);
    assert!(scratch.len() >= per_task, "scratch of `gemm_scratch` elements");
    // Threads share out the rows of C, in whole register tiles: contiguous pieces, and no sum is cut.
    let tiles = m.div_ceil(F::MR);
    let n_tasks = threads::tasks(tiles, m * n * k).min(scratch.len() / per_task).max(1);
    if n_tasks == 1 {
        let mut sink = Into { data: c, row_stride: c_stride, col_stride: 1, alpha };
        product(m, 0, n, k, &a, &b, &mut sink, scratch);
        return;
    }
    rayon::scope(|scope| {
        let mut rest = c;
        let mut scratch = scratch;
        for index in 0..n_tasks {
            let range = threads::part(tiles, n_tasks, index);
            let (i0, i1) = (range.start * F::MR, (range.end * F::MR).min(m));
            let len = if i1 == m { rest.len() } else { (i1 - i0) * c_stride };
            let (head, tail) = rest.split_at_mut(len);
            let (mine, others) = scratch.split_at_mut(per_task);
            (rest, scratch) = (tail, others);
            scope.spawn(move |_| {
                let a = a.from(i0 * a.row_stride);
                let mut sink = Into { data: head, row_stride: c_stride, col_stride: 1, alpha };
                product(i1 - i0, 0, n, k, &a, &b, &mut sink, mine);
            });
        }
    });
}

/// A few rows: each is a product of a row with B.
#[expect(clippy::too_many_arguments, reason = "the sizes of a product")]
fn thin_rows<F: Scalar>(
    m: usize,
    n: usize,
    k: usize,
    alpha: F,
    a: Matrix<'_, F>,
    b: Matrix<'_, F>,
    c: &mut [F],
    c_stride: usize,
) {
    for (i, c) in c.chunks_mut(c_stride).take(m).enumerate() {
        let a = a.from(i * a.row_stride);
        threads::for_each_chunk(&mut c[..n], WIDE, n * k, |start, c| {
            thin_line(k, alpha, a, b.from(start * b.col_stride), c, 1, c.len());
        });
    }
}

/// A few columns: each is a product of the transposed A with a column of B.
fn thin_columns<F: Scalar>(
    n: usize,
    k: usize,
    alpha: F,
    a: Matrix<'_, F>,
    b: Matrix<'_, F>,
    c: &mut [F],
    c_stride: usize,
) {
    let work = c.len().div_ceil(c_stride) * n * k;
    threads::for_each_chunk(c, WIDE * c_stride, work, |start, c| {
        let rows = c.len().div_ceil(c_stride);
        let a = a.from(start / c_stride * a.row_stride);
        for j in 0..n {
            thin_line(k, alpha, b.t().from(j * b.col_stride), a.t(), &mut c[j..], c_stride, rows);
        }
    });
}

/// Columns of one pass of [`thin_line`]: their sums fit in half of the vector registers.
const WIDE: usize = 64;

/// c[j * stride] += alpha (a B)[j] for j < n: one row `a` [1, k] times B [k, n].
fn thin_line<F: Scalar>(k: usize, alpha: F, a: Matrix<'_, F>, b: Matrix<'_, F>, c: &mut [F], stride: usize, n: usize) {
    simd::dispatch(
        #[inline(always)]
        || {
            let mut acc = [F::ZERO; WIDE];
            for j0 in (0..n).step_by(WIDE) {
                let width = (n - j0).min(WIDE);
                if b.col_stride == 1 && width == WIDE {
                    acc = [F::ZERO; WIDE];
                    for t in 0..k {
                        let x = a.data[t * a.col_stride];
                        let row = &b.data[t * b.row_stride + j0..][..WIDE];
                        for (s, &b) in acc.iter_mut().zip(row) {
                            *s = x.mul_add(b, *s);
                        }
                    }
                } else if b.row_stride == 1 && a.col_stride == 1 {
                    for (j, s) in acc[..width].iter_mut().enumerate() {
                        let at = (j0 + j) * b.col_stride;
                        *s = inner_product(&a.data[..k], &b.data[at..at + k]);
                    }
                } else {
                    acc = [F::ZERO; WIDE];
                    for t in 0..k {
                        let x = a.data[t * a.col_stride];
                        for (j, s) in acc[..width].iter_mut().enumerate() {
                            *s = x.mul_add(b.data[t * b.row_stride + (j0 + j) * b.col_stride], *s);
                        }
                    }
                }
                for (j, &s) in acc[..width].iter().enumerate() {
                    let c = &mut c[(j0 + j) * stride];
                    *c = alpha.mul_add(s, *c);
                }
            }
        },
    );
}

/// The inner product in 32 lanes.
#[inline(always)]
fn inner_product<F: Scalar>(x: &[F], y: &[F]) -> F {
    const LANES: usize = 32;
    let mut lanes = [F::ZERO; LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let (xr, yr) = (xs.remainder(), ys.remainder());
    for (x, y) in xs.zip(ys) {
        for ((l, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *l = x.mul_add(y, *l);
        }
    }
    for ((l, &x), &y) in lanes.iter_mut().zip(xr).zip(yr) {
        *l = x.mul_add(y, *l);
    }
    let mut n = LANES / 2;
    while n > 0 {
        for i in 0..n {
            lanes[i] += lanes[i + n];
        }
        n /= 2;
    }
    lanes[0]
}

/// Scratch of [`gemm_batched`] in elements, for the number of threads in use now.
pub fn gemm_batched_scratch<F: Scalar>(batch: usize, m: usize, n: usize, k: usize) -> usize {
    if m <= THIN || n <= THIN {
        return 0;
    }
    threads::tasks(batch.max(m.div_ceil(F::MR)), batch * m * n * k) * product_scratch::<F>(m, n, k)
}

/// `batch` products: C\[i] = alpha A\[i] B\[i] + beta C\[i], operand i starting `a_step`, `b_step` or `m n` elements after
/// the one before (a step of 0 repeats an operand); every C\[i] is row-major and contiguous.
#[expect(clippy::too_many_arguments, reason = "the signature of BLAS")]
pub fn gemm_batched<F: Scalar>(
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    alpha: F,
    a: Matrix<'_, F>,
    a_step: usize,
    b: Matrix<'_, F>,
    b_step: usize,
    beta: F,
    c: &mut [F],
    scratch: &mut [F],
) {
    assert_eq!(c.len(), batch * m * n, "C is [batch, m, n]");
    if c.is_empty() {
        return;
    }
    let thin = m <= THIN || n <= THIN;
    let per_task = if thin { 0 } else { product_scratch::<F>(m, n, k) };
    let fits = if thin { usize::MAX } else { scratch.len() / per_task.max(1) };
    let n_tasks = threads::tasks(batch, batch * m * n * k).min(fits).max(1);
    // One product at a time uses the threads inside; many products share them out.
    if n_tasks == 1 || batch < threads::count() {
        for (i, c) in c.chunks_exact_mut(m * n).enumerate() {
            gemm(m, n, k, alpha, a.from(i * a_step), b.from(i * b_step), beta, c, n, scratch);
        }
        return;
    }
    rayon::scope(|scope| {
        let (mut rest, mut scratch) = (c, scratch);
        for index in 0..n_tasks {
            let range = threads::part(batch, n_tasks, index);
            let (head, tail) = rest.split_at_mut(range.len() * m * n);
            let (mine, others) = scratch.split_at_mut(per_task);
            (rest, scratch) = (tail, others);
            scope.spawn(move |_| {
                for (i, c) in range.zip(head.chunks_exact_mut(m * n)) {
                    gemm(m, n, k, alpha, a.from(i * a_step), b.from(i * b_step), beta, c, n, mine);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, values};

    fn naive<F: Scalar>(m: usize, n: usize, k: usize, a: Matrix<'_, F>, b: Matrix<'_, F>) -> Vec<f64> {
        let mut c = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                c[i * n + j] = (0..k)
                    .map(|t| {
                        a.data[i * a.row_stride + t * a.col_stride].to_f64()
                            * b.data[t * b.row_stride + j * b.col_stride].to_f64()
                    })
                    .sum();
            }
        }
        c
    }

    fn check<F: Scalar>(m: usize, n: usize, k: usize, tol: f64) {
        let (a, b) = (values::<F>(1, m * k), values::<F>(2, k * n));
        let start = values::<F>(3, m * (n + 2));
        for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
            let a = if ta { Matrix::row_major(&a, m).t() } else { Matrix::row_major(&a, k) };
            let b = if tb { Matrix::row_major(&b, k).t() } else { Matrix::row_major(&b, n) };
            let expected = naive(m, n, k, a, b);
            let mut scratch = vec![F::NAN; gemm_scratch::<F>(m, n, k)];
            for (alpha, beta) in [(1.0, 0.0), (-0.5, 1.0), (2.0, 0.5)] {
                let mut c = start.clone();
                if beta == 0.0 {
                    c.iter_mut().for_each(|c| *c = F::NAN);
                }
                gemm(m, n, k, F::from_f64(alpha), a, b, F::from_f64(beta), &mut c, n + 2, &mut scratch);
                for i in 0..m {
                    let want: Vec<f64> = (0..n)
                        .map(|j| {
                            alpha * expected[i * n + j]
                                + if beta == 0.0 { 0.0 } else { beta * start[i * (n + 2) + j].to_f64() }
                        })
                        .collect();
                    assert_close(&c[i * (n + 2)..][..n], &want, tol, &format!("{m}x{n}x{k} {ta} {tb} row {i}"));
                }
            }
        }
    }

    #[test]
    fn products_agree_with_the_plain_loop() {
        for (m, n, k) in [
            (1, 1, 1),
            (1, 130, 40),
            (3, 65, 7),
            (70, 1, 33),
            (65, 3, 9),
            (6, 16, 4),
            (7, 17, 5),
            (13, 40, 300),
            (80, 530, 20),
            (100, 90, 70),
            (4, 4, 0),
        ] {
            check::<f32>(m, n, k, 2e-5);
            check::<f64>(m, n, k, 1e-13);
        }
    }

    #[test]
    fn batches_agree_with_single_products() {
        let (batch, m, n, k) = (5, 9, 21, 13);
        let (a, b) = (values::<f64>(1, batch * m * k), values::<f64>(2, k * n));
        let mut c = vec![0.0; batch * m * n];
        let mut scratch = vec![0.0; gemm_batched_scratch::<f64>(batch, m, n, k)];
        let (am, bm) = (Matrix::row_major(&a, k), Matrix::row_major(&b, n));
        gemm_batched(batch, m, n, k, 1.0, am, m * k, bm, 0, 0.0, &mut c, &mut scratch);
        for i in 0..batch {
            let want = naive(m, n, k, am.from(i * m * k), bm);
            assert_close(&c[i * m * n..][..m * n], &want, 1e-13, "batched");
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        for (m, n, k) in [(97, 65, 300), (1, 4000, 60), (2000, 2, 90)] {
            let (a, b) = (values::<f32>(1, m * k), values::<f32>(2, k * n));
            let (am, bm) = (Matrix::row_major(&a, k), Matrix::row_major(&b, n));
            let per_task = product_scratch::<f32>(m, n, k);
            let run = |tasks: usize| {
                let mut c = vec![0.0; m * n];
                // The scratch bounds the number of tasks.
                gemm(m, n, k, 1.0, am, bm, 0.0, &mut c, n, &mut vec![0.0; per_task * tasks]);
                c
            };
            assert_eq!(run(1), run(2), "{m}x{n}x{k}");
        }
    }
}
