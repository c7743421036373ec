//! Products of a few rows of a matrix with vectors, on the calling thread: the rows of a tile that stays in cache, read
//! once for the products with a vector and once more for the sums of its columns.
use super::gemm::Matrix;
use super::{Scalar, simd};

/// Accumulators side by side.
const LANES: usize = 8;
/// Columns of one pass over the rows, whose sums stay in the first-level cache.
const WIDE: usize = 64;

/// out[i] = sum over k of a[i, k] x[k].
pub fn row_products<F: Scalar>(a: Matrix<'_, F>, x: &[F], out: &mut [F]) {
    simd::dispatch(
        #[inline(always)]
        || {
            if a.col_stride == 1 || x.len() == 1 {
                let row = |i: usize| &a.data[i * a.row_stride..i * a.row_stride + x.len()];
                let (blocks, rest) = out.as_chunks_mut::<4>();
                for (block, out) in blocks.iter_mut().enumerate() {
                    *out = four_products([0, 1, 2, 3].map(|i| row(4 * block + i)), x);
                }
                for (i, out) in rest.iter_mut().enumerate() {
                    *out = inner_product(row(4 * blocks.len() + i), x);
                }
            } else {
                out.fill(F::ZERO);
                for (k, &x) in x.iter().enumerate() {
                    let column = &a.data[k * a.col_stride..];
                    if a.row_stride == 1 {
                        for (out, &a) in out.iter_mut().zip(column) {
                            *out = a.mul_add(x, *out);
                        }
                    } else {
                        for (i, out) in out.iter_mut().enumerate() {
                            *out = column[i * a.row_stride].mul_add(x, *out);
                        }
                    }
                }
            }
        },
    );
}

/// The inner products of four rows with `x`. The lanes of each row are an array of its own, which compilers keep in
/// registers; an array of arrays is not.
#[inline(always)]
fn four_products<F: Scalar>([a, b, c, d]: [&[F]; 4], x: &[F]) -> [F; 4] {
    let (x, rest) = x.as_chunks::<LANES>();
    let (a, rest_a) = a.as_chunks::<LANES>();
    let (b, rest_b) = b.as_chunks::<LANES>();
    let (c, rest_c) = c.as_chunks::<LANES>();
    let (d, rest_d) = d.as_chunks::<LANES>();
    let (mut p, mut q, mut r, mut s) = ([F::ZERO; LANES], [F::ZERO; LANES], [F::ZERO; LANES], [F::ZERO; LANES]);
    for ((((x, a), b), c), d) in x.iter().zip(a).zip(b).zip(c).zip(d) {
        add_lanes(&mut p, a, x);
        add_lanes(&mut q, b, x);
        add_lanes(&mut r, c, x);
        add_lanes(&mut s, d, x);
    }
    let mut out = [fold(p), fold(q), fold(r), fold(s)];
    for ((((&x, &a), &b), &c), &d) in rest.iter().zip(rest_a).zip(rest_b).zip(rest_c).zip(rest_d) {
        out[0] = a.mul_add(x, out[0]);
        out[1] = b.mul_add(x, out[1]);
        out[2] = c.mul_add(x, out[2]);
        out[3] = d.mul_add(x, out[3]);
    }
    out
}

#[inline(always)]
fn inner_product<F: Scalar>(a: &[F], x: &[F]) -> F {
    let ((a, rest_a), (x, rest)) = (a.as_chunks::<LANES>(), x.as_chunks::<LANES>());
    let mut lanes = [F::ZERO; LANES];
    for (a, x) in a.iter().zip(x) {
        add_lanes(&mut lanes, a, x);
    }
    rest_a.iter().zip(rest).fold(fold(lanes), |sum, (&a, &x)| a.mul_add(x, sum))
}

#[inline(always)]
fn add_lanes<F: Scalar>(lanes: &mut [F; LANES], a: &[F; LANES], x: &[F; LANES]) {
    for i in 0..LANES {
        lanes[i] = a[i].mul_add(x[i], lanes[i]);
    }
}

/// The sum of lanes, in halves.
#[inline(always)]
fn fold<F: Scalar>(lanes: [F; LANES]) -> F {
    let mut lanes = lanes;
    let mut n = LANES / 2;
    while n > 0 {
        for i in 0..n {
            lanes[i] += lanes[i + n];
        }
        n /= 2;
    }
    lanes[0]
}

/// high[k] + low[k] += sum over i of a[i, k] r[i], for a few hundred rows at most: their sum is taken in `F`, what it is
/// added to has twice the digits (see [`add_wide`]).
pub fn column_products<F: Scalar>(a: Matrix<'_, F>, r: &[F], high: &mut [F], low: &mut [F]) {
    simd::dispatch(
        #[inline(always)]
        || {
            let mut sums = [F::ZERO; WIDE];
            for (block, (high, low)) in high.chunks_mut(WIDE).zip(low.chunks_mut(WIDE)).enumerate() {
                let sums = &mut sums[..high.len()];
                let data = &a.data[block * WIDE * a.col_stride..];
                if a.col_stride == 1 {
                    sums.fill(F::ZERO);
                    add_rows(data, a.row_stride, r, sums);
                } else if a.row_stride == 1 {
                    for (k, sum) in sums.iter_mut().enumerate() {
                        *sum = inner_product(&data[k * a.col_stride..][..r.len()], r);
                    }
                } else {
                    for (k, sum) in sums.iter_mut().enumerate() {
                        let column = data[k * a.col_stride..].iter().step_by(a.row_stride.max(1));
                        *sum = column.zip(r).fold(F::ZERO, |sum, (&a, &r)| a.mul_add(r, sum));
                    }
                }
                add_wide(high, low, sums);
            }
        },
    );
}

/// sums[k] += sum over i of data[i * stride + k] r[i], four rows at a time.
#[inline(always)]
fn add_rows<F: Scalar>(data: &[F], stride: usize, r: &[F], sums: &mut [F]) {
    let n = sums.len();
    let row = |i: usize| &data[i * stride..i * stride + n];
    let (blocks, rest) = r.as_chunks::<4>();
    for (block, r) in blocks.iter().enumerate() {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| row(4 * block + i));
        for ((((sum, &a), &b), &c), &d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *sum = a.mul_add(r[0], b.mul_add(r[1], c.mul_add(r[2], d.mul_add(r[3], *sum))));
        }
    }
    for (i, &r) in rest.iter().enumerate() {
        for (sum, &a) in sums.iter_mut().zip(row(4 * blocks.len() + i)) {
            *sum = a.mul_add(r, *sum);
        }
    }
}

/// Adds `x` to sums in double precision, each kept as two numbers: `high` is the sum as an `F`, `low` what that leaves out.
#[inline(always)]
pub fn add_wide<F: Scalar, X: Scalar>(high: &mut [F], low: &mut [F], x: &[X]) {
    for ((high, low), &x) in high.iter_mut().zip(low).zip(x) {
        let total = high.to_f64() + low.to_f64() + x.to_f64();
        *high = F::from_f64(total);
        let rest = total - high.to_f64();
        *low = if rest.is_finite() { F::from_f64(rest) } else { F::ZERO };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, values};

    fn check<F: Scalar>(tolerance: f64) {
        for rows in [1, 2, 3, 4, 5, 17, 130] {
            for len in [1, 2, 3, 7, 8, 9, 16, 31, 32, 50, 65] {
                let convert = |x: Vec<f64>| x.into_iter().map(F::from_f64).collect::<Vec<F>>();
                let data = convert(values::<f64>(1, 2 * rows * len));
                let (x, r) = (convert(values::<f64>(2, len)), convert(values::<f64>(3, rows)));
                for (row_stride, col_stride) in [(len, 1), (1, rows), (2 * len, 2), (2 * len, 1)] {
                    let a = Matrix { data: &data, row_stride, col_stride };
                    let at = |i: usize, k: usize| data[i * row_stride + k * col_stride].to_f64();
                    let what = format!("{rows} {len} {row_stride} {col_stride}");
                    let mut out = vec![F::NAN; rows];
                    row_products(a, &x, &mut out);
                    let expected: Vec<f64> =
                        (0..rows).map(|i| (0..len).map(|k| at(i, k) * x[k].to_f64()).sum()).collect();
                    let found: Vec<f64> = out.iter().map(|x| x.to_f64()).collect();
                    assert_close(&found, &expected, tolerance, &what);
                    let (mut high, mut low) = (vec![F::ONE; len], vec![F::ZERO; len]);
                    column_products(a, &r, &mut high, &mut low);
                    let expected: Vec<f64> =
                        (0..len).map(|k| 1.0 + (0..rows).map(|i| at(i, k) * r[i].to_f64()).sum::<f64>()).collect();
                    let found: Vec<f64> = high.iter().zip(&low).map(|(h, l)| h.to_f64() + l.to_f64()).collect();
                    assert_close(&found, &expected, tolerance, &what);
                }
            }
        }
    }

    #[test]
    fn products_agree_with_the_plain_loop() {
        check::<f64>(1e-12);
        check::<f32>(2e-4);
    }

    #[test]
    fn sums_in_two_singles_keep_their_digits() {
        let (mut high, mut low) = ([0.0f32], [0.0f32]);
        for _ in 0..1_000_000 {
            add_wide(&mut high, &mut low, &[0.1f32]);
        }
        let sum = f64::from(high[0]) + f64::from(low[0]);
        assert!((sum - 1e6 * f64::from(0.1f32)).abs() < 1e-4, "{sum}");
        add_wide(&mut high, &mut low, &[f32::INFINITY]);
        assert_eq!((high[0], low[0]), (f32::INFINITY, 0.0));
    }
}
