//! Reductions along one axis of an array seen as [outer, axis, inner], and running sums.
//!
//! Sums are blocked: the order of additions depends on the shape alone, so that results are bit-identical for every
//! number of threads; singles are added up in double precision, so that long sums keep their accuracy.
use super::{Scalar, simd, threads};

/// Reductions of an axis to one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduce {
    /// The sum; 0 for an empty axis.
    Sum,
    /// The product; 1 for an empty axis.
    Prod,
    /// The largest element, NaN when one is; -inf for an empty axis.
    Max,
    /// The smallest element, NaN when one is; inf for an empty axis.
    Min,
    /// ln of the sum of e^x; -inf for an empty axis.
    LogSumExp,
}

/// Length of a block of a sum.
const BLOCK: usize = 256;
/// Accumulators side by side.
const LANES: usize = 16;
/// Columns that one pass of a strided reduction carries.
const COLUMNS: usize = 64;
/// Elements per piece of a long sum that several threads share.
const PIECE: usize = 1 << 15;

/// out [outer, inner] = the reduction of x [outer, axis, inner] along its middle axis.
pub fn reduce<F: Scalar>(op: Reduce, outer: usize, axis: usize, inner: usize, x: &[F], out: &mut [F]) {
    assert_eq!(x.len(), outer * axis * inner, "x is [outer, axis, inner]");
    assert_eq!(out.len(), outer * inner, "out is [outer, inner]");
    if inner == 1 {
        if outer == 1 {
            out[0] = reduce_slice(op, x);
            return;
        }
        threads::for_each_chunk(out, 1, x.len(), |start, out| {
            for (i, out) in out.iter_mut().enumerate() {
                *out = reduce_row(op, &x[(start + i) * axis..(start + i + 1) * axis]);
            }
        });
    } else {
        // Rows of the output may be cut between threads: columns do not depend on each other.
        threads::for_each_chunk(out, COLUMNS, x.len(), |start, out| {
            let mut at = start;
            let mut rest = out;
            while !rest.is_empty() {
                let (row, column) = (at / inner, at % inner);
                let n = (inner - column).min(COLUMNS).min(rest.len());
                let (head, tail) = rest.split_at_mut(n);
                let x = &x[row * axis * inner..(row + 1) * axis * inner];
                simd::dispatch(
                    #[inline(always)]
                    || reduce_columns(op, x, inner, column, head),
                );
                rest = tail;
                at += n;
            }
        });
    }
}

/// The reduction of a whole slice, by several threads when it is long.
pub fn reduce_slice<F: Scalar>(op: Reduce, x: &[F]) -> F {
    if op == Reduce::LogSumExp || x.len() <= 2 * PIECE {
        return reduce_row(op, x);
    }
    // At most 64 pieces, cut by the length alone.
    let mut partial = [0.0f64; 64];
    let piece = x.len().div_ceil(64).max(PIECE);
    let n = x.len().div_ceil(piece);
    threads::for_each_chunk(&mut partial[..n], 1, x.len(), |start, partial| {
        for (i, p) in partial.iter_mut().enumerate() {
            let from = (start + i) * piece;
            let x = &x[from..(from + piece).min(x.len())];
            *p = match op {
                Reduce::Sum => sum_wide(x),
                _ => reduce_row(op, x).to_f64(),
            };
        }
    });
    F::from_f64(match op {
        Reduce::Sum => partial[..n].iter().sum(),
        _ => reduce_row(op, &partial[..n]),
    })
}

/// The sum of a slice, accurate and in a fixed order.
pub fn sum<F: Scalar>(x: &[F]) -> F {
    reduce_slice(Reduce::Sum, x)
}

/// The inner product of two slices of one length, accurate and in a fixed order.
pub fn dot<F: Scalar>(x: &[F], y: &[F]) -> F {
    assert_eq!(x.len(), y.len(), "vectors of one length");
    simd::dispatch(
        #[inline(always)]
        || {
            let mut total = 0.0;
            for (x, y) in x.chunks(BLOCK).zip(y.chunks(BLOCK)) {
                let mut lanes = [0.0f64; LANES];
                let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
                let (xr, yr) = (xs.remainder(), ys.remainder());
                for (x, y) in xs.zip(ys) {
                    for ((l, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
                        *l = x.to_f64().mul_add(y.to_f64(), *l);
                    }
                }
                for ((l, &x), &y) in lanes.iter_mut().zip(xr).zip(yr) {
                    *l = x.to_f64().mul_add(y.to_f64(), *l);
                }
                total += fold_lanes(lanes);
            }
            F::from_f64(total)
        },
    )
}

/// The sum of the lanes, the far half added to the near one until one is left.
#[inline(always)]
pub(crate) fn fold_lanes(lanes: [f64; LANES]) -> f64 {
    let mut wide = lanes;
    let mut n = LANES / 2;
    while n > 0 {
        for i in 0..n {
            wide[i] += wide[i + n];
        }
        n /= 2;
    }
    wide[0]
}

/// Elements of a sum that is not worth vector code.
const SHORT: usize = 4;

/// The sum in double precision: in lanes over blocks of [`BLOCK`], whose sums are added in two levels.
pub fn sum_wide<F: Scalar>(x: &[F]) -> f64 {
    if x.len() <= SHORT {
        // The same sum: the lanes that have nothing drop out.
        let mut lanes = [0.0; SHORT];
        lanes.iter_mut().zip(x).for_each(|(l, x)| *l = x.to_f64());
        return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
    }
    simd::dispatch(
        #[inline(always)]
        || {
            let mut total = 0.0;
            for x in x.chunks(BLOCK * BLOCK) {
                let mut part = 0.0;
                for x in x.chunks(BLOCK) {
                    let mut lanes = [0.0f64; LANES];
                    let chunks = x.chunks_exact(LANES);
                    let rest = chunks.remainder();
                    for x in chunks {
                        for (l, &x) in lanes.iter_mut().zip(x) {
                            *l += x.to_f64();
                        }
                    }
                    for (l, &x) in lanes.iter_mut().zip(rest) {
                        *l += x.to_f64();
                    }
                    part += fold_lanes(lanes);
                }
                total += part;
            }
            total
        },
    )
}

#[inline(always)]
fn larger<F: Scalar>(a: F, b: F) -> F {
    if a > b || a.is_nan() { a } else { b }
}

#[inline(always)]
fn smaller<F: Scalar>(a: F, b: F) -> F {
    if a < b || a.is_nan() { a } else { b }
}

/// Folds a slice in lanes with an operation whose order does not matter.
#[inline(always)]
fn fold<F: Scalar>(x: &[F], start: F, f: impl Fn(F, F) -> F) -> F {
    let mut lanes = [start; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for x in chunks {
        for (l, &x) in lanes.iter_mut().zip(x) {
            *l = f(*l, x);
        }
    }
    for (l, &x) in lanes.iter_mut().zip(rest) {
        *l = f(*l, x);
    }
    let mut acc = lanes[0];
    for &l in &lanes[1..] {
        acc = f(acc, l);
    }
    acc
}

/// The reduction of one contiguous row, on one thread.
fn reduce_row<F: Scalar>(op: Reduce, x: &[F]) -> F {
    match op {
        Reduce::Sum => F::from_f64(sum_wide(x)),
        Reduce::Prod => F::from_f64(x.iter().map(|x| x.to_f64()).product()),
        Reduce::Max => simd::dispatch(
            #[inline(always)]
            || fold(x, F::NEG_INFINITY, larger),
        ),
        Reduce::Min => simd::dispatch(
            #[inline(always)]
            || fold(x, F::INFINITY, smaller),
        ),
        Reduce::LogSumExp => simd::dispatch(
            #[inline(always)]
            || {
                let max = fold(x, F::NEG_INFINITY, larger);
                if !max.is_finite() {
                    return max;
                }
                let mut total = 0.0;
                for x in x.chunks(BLOCK) {
                    let mut lanes = [0.0f64; LANES];
                    let chunks = x.chunks_exact(LANES);
                    let rest = chunks.remainder();
                    for x in chunks {
                        for (l, &x) in lanes.iter_mut().zip(x) {
                            *l += (x - max).exp().to_f64();
                        }
                    }
                    for (l, &x) in lanes.iter_mut().zip(rest) {
                        *l += (x - max).exp().to_f64();
                    }
                    total += fold_lanes(lanes);
                }
                max + F::from_f64(total.ln())
            },
        ),
    }
}

/// The reduction of columns `column..column + out.len()` of x [axis, inner]; at most [`COLUMNS`] of them.
#[inline(always)]
fn reduce_columns<F: Scalar>(op: Reduce, x: &[F], inner: usize, column: usize, out: &mut [F]) {
    let n = out.len();
    let rows = x.chunks_exact(inner).map(|row| &row[column..column + n]);
    match op {
        Reduce::Sum => {
            let mut total = [0.0f64; COLUMNS];
            for block in x.chunks(inner * BLOCK) {
                let mut part = [0.0f64; COLUMNS];
                for row in block.chunks_exact(inner) {
                    for (p, &x) in part.iter_mut().zip(&row[column..column + n]) {
                        *p += x.to_f64();
                    }
                }
                for (t, p) in total.iter_mut().zip(part) {
                    *t += p;
                }
            }
            for (o, t) in out.iter_mut().zip(total) {
                *o = F::from_f64(t);
            }
        }
        Reduce::Prod => {
            let mut total = [1.0f64; COLUMNS];
            for row in rows {
                for (t, &x) in total.iter_mut().zip(row) {
                    *t *= x.to_f64();
                }
            }
            for (o, t) in out.iter_mut().zip(total) {
                *o = F::from_f64(t);
            }
        }
        Reduce::Max => {
            out.fill(F::NEG_INFINITY);
            for row in rows {
                for (o, &x) in out.iter_mut().zip(row) {
                    *o = larger(*o, x);
                }
            }
        }
        Reduce::Min => {
            out.fill(F::INFINITY);
            for row in rows {
                for (o, &x) in out.iter_mut().zip(row) {
                    *o = smaller(*o, x);
                }
            }
        }
        Reduce::LogSumExp => {
            out.fill(F::NEG_INFINITY);
            for row in rows.clone() {
                for (o, &x) in out.iter_mut().zip(row) {
                    *o = larger(*o, x);
                }
            }
            let mut total = [0.0f64; COLUMNS];
            for row in rows {
                for ((t, &x), &max) in total.iter_mut().zip(row).zip(out.iter()) {
                    *t += (x - max).exp().to_f64();
                }
            }
            for (o, t) in out.iter_mut().zip(total) {
                if o.is_finite() {
                    *o += F::from_f64(t.ln());
                }
            }
        }
    }
}

/// Which extreme [`arg_extreme`] looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extreme {
    /// The largest element.
    Max,
    /// The smallest element.
    Min,
}

/// out [outer, inner] = the position along the axis of x's largest or smallest element, the first one at ties; a NaN
/// counts as the extreme. The axis is not empty.
pub fn arg_extreme<F: Scalar>(which: Extreme, outer: usize, axis: usize, inner: usize, x: &[F], out: &mut [F]) {
    assert_eq!(x.len(), outer * axis * inner, "x is [outer, axis, inner]");
    assert_eq!(out.len(), outer * inner, "out is [outer, inner]");
    assert!(axis > 0 || out.is_empty(), "an extreme of something");
    threads::for_each_chunk(out, 1, x.len(), |start, out| {
        for (i, out) in out.iter_mut().enumerate() {
            let (row, column) = ((start + i) / inner, (start + i) % inner);
            let at = |k: usize| x[(row * axis + k) * inner + column];
            let mut best = 0;
            for k in 1..axis {
                let (a, b) = (at(k), at(best));
                let wins = match which {
                    Extreme::Max => a > b,
                    Extreme::Min => a < b,
                };
                if wins || (a.is_nan() && !b.is_nan()) {
                    best = k;
                }
            }
            *out = F::from_usize(best);
        }
    });
}

/// out = running sums of x [outer, axis, inner] along its middle axis, each including its own element; from the end
/// backwards if `reverse`. Sums are carried in double precision.
pub fn cumsum<F: Scalar>(outer: usize, axis: usize, inner: usize, reverse: bool, x: &[F], out: &mut [F]) {
    assert_eq!(x.len(), outer * axis * inner, "x is [outer, axis, inner]");
    assert_eq!(out.len(), x.len(), "out has the shape of x");
    if axis * inner == 0 {
        return;
    }
    threads::for_each_chunk(out, axis * inner, 2 * x.len(), |start, out| {
        for (x, out) in x[start..].chunks_exact(axis * inner).zip(out.chunks_exact_mut(axis * inner)) {
            for first in (0..inner).step_by(COLUMNS) {
                let n = (inner - first).min(COLUMNS);
                let mut total = [0.0f64; COLUMNS];
                for k in 0..axis {
                    let k = if reverse { axis - 1 - k } else { k };
                    let at = k * inner + first;
                    for ((t, &x), o) in total.iter_mut().zip(&x[at..at + n]).zip(&mut out[at..at + n]) {
                        *t += x.to_f64();
                        *o = F::from_f64(*t);
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, values};

    fn plain(op: Reduce, x: &[f64]) -> f64 {
        match op {
            Reduce::Sum => x.iter().sum(),
            Reduce::Prod => x.iter().product(),
            Reduce::Max => x.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Reduce::Min => x.iter().copied().fold(f64::INFINITY, f64::min),
            Reduce::LogSumExp => x.iter().map(|x| x.exp()).sum::<f64>().ln(),
        }
    }

    const ALL: [Reduce; 5] = [Reduce::Sum, Reduce::Prod, Reduce::Max, Reduce::Min, Reduce::LogSumExp];

    #[test]
    fn reductions_agree_with_the_plain_loop() {
        for (outer, axis, inner) in [
            (1, 1, 1),
            (3, 5, 1),
            (3, 5, 7),
            (1, 1000, 1),
            (2, 600, 3),
            (4, 3, 130),
            (1, 300_000, 1),
            (2, 0, 3),
            (0, 4, 2),
            (900, 300, 1),
            (5, 9, 9000),
        ] {
            let x = values::<f64>(1, outer * axis * inner);
            let single: Vec<f32> = x.iter().map(|&x| x as f32).collect();
            for op in ALL {
                let mut expected = Vec::new();
                for o in 0..outer {
                    for i in 0..inner {
                        let column: Vec<f64> = (0..axis).map(|k| x[(o * axis + k) * inner + i]).collect();
                        expected.push(plain(op, &column));
                    }
                }
                let mut y = vec![f64::NAN; outer * inner];
                reduce(op, outer, axis, inner, &x, &mut y);
                assert_close(&y, &expected, 1e-11, &format!("{op:?} {outer} {axis} {inner}"));
                let mut y = vec![f32::NAN; outer * inner];
                reduce(op, outer, axis, inner, &single, &mut y);
                assert_close(&y, &expected, 2e-4, &format!("{op:?} {outer} {axis} {inner}, single"));
            }
        }
    }

    #[test]
    fn awkward_values() {
        let inf = f64::INFINITY;
        let cases: [(Reduce, &[f64], f64); 9] = [
            (Reduce::Max, &[1.0, f64::NAN, 2.0], f64::NAN),
            (Reduce::Min, &[f64::NAN, 1.0], f64::NAN),
            (Reduce::Max, &[-inf, -inf], -inf),
            (Reduce::LogSumExp, &[-inf, -inf], -inf),
            (Reduce::LogSumExp, &[inf, 0.0], inf),
            (Reduce::LogSumExp, &[f64::NAN, 0.0], f64::NAN),
            (Reduce::LogSumExp, &[1000.0, 1000.0], 1000.0 + std::f64::consts::LN_2),
            (Reduce::LogSumExp, &[-1000.0], -1000.0),
            (Reduce::Sum, &[], 0.0),
        ];
        for (op, x, expected) in cases {
            assert_close(&[reduce_slice(op, x)], &[expected], 1e-14, &format!("{op:?} {x:?}"));
            // The same as a column next to others.
            let wide: Vec<f64> = x.iter().flat_map(|&x| [x, 1.0]).collect();
            let mut y = [0.0; 2];
            reduce(op, 1, x.len(), 2, &wide, &mut y);
            assert_close(&y[..1], &[expected], 1e-14, &format!("{op:?} {x:?} in a column"));
        }
    }

    #[test]
    fn long_single_precision_sums_keep_their_accuracy() {
        let n = 3_000_000;
        let x = vec![0.1f32; n];
        let exact = f64::from(0.1f32) * n as f64;
        assert_close(&[sum(&x)], &[exact], 1e-7, "one row");
        let mut y = vec![0.0f32; 3];
        reduce(Reduce::Sum, 1, n / 3, 3, &x, &mut y);
        assert_close(&y, &[exact / 3.0; 3], 1e-7, "columns");
        assert_close(&[dot(&x, &x)], &[exact * f64::from(0.1f32)], 1e-6, "inner product");
    }

    #[test]
    fn first_extreme_wins() {
        let x = [1.0, 3.0, 3.0, -1.0, 2.0, 2.0, f64::NAN, 0.0];
        let mut at = [9.0; 2];
        arg_extreme(Extreme::Max, 2, 4, 1, &x, &mut at);
        assert_eq!(at, [1.0, 2.0]);
        arg_extreme(Extreme::Min, 1, 4, 2, &[0.0, 1.0, 0.0, 2.0, -1.0, 1.0, -1.0, 3.0], &mut at);
        assert_eq!(at, [2.0, 0.0]);
    }

    #[test]
    fn running_sums() {
        let (outer, axis, inner) = (3, 5, 70);
        let x = values::<f64>(5, outer * axis * inner);
        for reverse in [false, true] {
            let mut y = vec![0.0; x.len()];
            cumsum(outer, axis, inner, reverse, &x, &mut y);
            for o in 0..outer {
                for k in 0..axis {
                    for i in 0..inner {
                        let at = |k: usize| x[(o * axis + k) * inner + i];
                        let expected: f64 = if reverse { (k..axis).map(at).sum() } else { (0..=k).map(at).sum() };
                        assert!((y[(o * axis + k) * inner + i] - expected).abs() < 1e-13);
                    }
                }
            }
        }
    }
}
