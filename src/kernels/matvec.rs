//! Products of a few rows of a matrix with vectors, on the calling thread: the rows of a tile that stays in cache, read
//! once for the products with a vector and once more for the sums of its columns.
use super::gemm::Matrix;
use super::{Scalar, simd};

/// Accumulators side by side.
const LANES: usize = 8;
/// Columns of one pass over the rows: their sums fit in half of the vector registers.
const WIDE: usize = 32;

/// out[i] = sum over k of a[i, k] x[k].
pub fn row_products<F: Scalar>(a: Matrix<'_, F>, x: &[F], out: &mut [F]) {
    simd::dispatch(
        #[inline(always)]
        || {
            if a.col_stride == 1 || x.len() == 1 {
                let row = |i: usize| &a.data[i * a.row_stride..i * a.row_stride + x.len()];
                let mut blocks = out.chunks_exact_mut(4);
                let mut i = 0;
                for out in &mut blocks {
                    let products = inner_products([row(i), row(i + 1), row(i + 2), row(i + 3)], x);
                    out.copy_from_slice(&products);
                    i += 4;
                }
                for out in blocks.into_remainder() {
                    [*out] = inner_products([row(i)], x);
                    i += 1;
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

/// The inner products of several rows with `x`, each in lanes.
#[inline(always)]
fn inner_products<F: Scalar, const N: usize>(rows: [&[F]; N], x: &[F]) -> [F; N] {
    let mut lanes = [[F::ZERO; LANES]; N];
    let whole = x.len() / LANES * LANES;
    for k in (0..whole).step_by(LANES) {
        let x = &x[k..k + LANES];
        for (lanes, row) in lanes.iter_mut().zip(rows) {
            for ((l, &a), &x) in lanes.iter_mut().zip(&row[k..k + LANES]).zip(x) {
                *l = a.mul_add(x, *l);
            }
        }
    }
    for (lanes, row) in lanes.iter_mut().zip(rows) {
        for ((l, &a), &x) in lanes.iter_mut().zip(&row[whole..]).zip(&x[whole..]) {
            *l = a.mul_add(x, *l);
        }
    }
    lanes.map(fold)
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
            let n = high.len();
            let mut j = 0;
            while j < n {
                let a = Matrix { data: &a.data[j * a.col_stride..], ..a };
                let (high, low) = (&mut high[j..], &mut low[j..]);
                j += if a.col_stride != 1 && a.row_stride == 1 {
                    let column = &a.data[..r.len()];
                    add_wide(&mut high[..1], &mut low[..1], &inner_products([column], r));
                    1
                } else {
                    match n - j {
                        WIDE.. => columns::<F, WIDE, 1>(a, r, high, low),
                        16.. => columns::<F, 16, 1>(a, r, high, low),
                        8.. => columns::<F, 8, 2>(a, r, high, low),
                        4.. => columns::<F, 4, 4>(a, r, high, low),
                        2.. => columns::<F, 2, 4>(a, r, high, low),
                        _ => columns::<F, 1, 4>(a, r, high, low),
                    }
                };
            }
        },
    );
}

/// sums[k] += a[i, k] r
#[inline(always)]
fn add_row<F: Scalar, const N: usize>(a: Matrix<'_, F>, i: usize, r: F, sums: &mut [F; N]) {
    let row = &a.data[i * a.row_stride..];
    if a.col_stride == 1 {
        for (s, &a) in sums.iter_mut().zip(&row[..N]) {
            *s = a.mul_add(r, *s);
        }
    } else {
        for (k, s) in sums.iter_mut().enumerate() {
            *s = row[k * a.col_stride].mul_add(r, *s);
        }
    }
}

/// `N` columns, every `R`-th row in accumulators of its own; returns `N`.
#[inline(always)]
fn columns<F: Scalar, const N: usize, const R: usize>(
    a: Matrix<'_, F>,
    r: &[F],
    high: &mut [F],
    low: &mut [F],
) -> usize {
    let mut sums = [[F::ZERO; N]; R];
    let blocks = r.chunks_exact(R);
    let rest = blocks.remainder();
    for (block, r) in blocks.enumerate() {
        for (q, sums) in sums.iter_mut().enumerate() {
            add_row(a, block * R + q, r[q], sums);
        }
    }
    for (q, (sums, &last)) in sums.iter_mut().zip(rest).enumerate() {
        add_row(a, r.len() - rest.len() + q, last, sums);
    }
    let mut total = sums[0];
    for sums in &sums[1..] {
        for (t, &s) in total.iter_mut().zip(sums) {
            *t += s;
        }
    }
    add_wide(&mut high[..N], &mut low[..N], &total);
    N
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
