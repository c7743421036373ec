//! Reductions along one axis of an array seen as [outer, axis, inner], and running sums.
//!
//! Sums are blocked: the order of additions depends on the shape alone, so that results are bit-identical for every
//! number of threads; singles are added up in double precision from block to block, so that long sums keep their
//! accuracy.
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

/// Length of a block that is summed in the precision of the elements.
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
                total += fold_lanes(lanes);
            }
            F::from_f64(total)
        },
    )
}

#[inline(always)]
fn fold_lanes<F: Scalar>(lanes: [F; LANES]) -> f64 {
    let mut wide = lanes.map(F::to_f64);
    let mut n = LANES / 2;
    while n > 0 {
        for i in 0..n {
            wide[i] += wide[i + n];
        }
        n /= 2;
    }
    wide[0]
}

/// The sum in double precision: blocks of [`BLOCK`] in lanes of the element type, their sums in two levels.
fn sum_wide<F: Scalar>(x: &[F]) -> f64 {
    simd::dispatch(
        #[inline(always)]
        || {
            let mut total = 0.0;
            for x in x.chunks(BLOCK * BLOCK) {
                let mut part = 0.0;
                for x in x.chunks(BLOCK) {
                    let mut lanes = [F::ZERO; LANES];
                    let chunks = x.chunks_exact(LANES);
                    let rest = chunks.remainder();
                    for x in chunks {
                        for (l, &x) in lanes.iter_mut().zip(x) {
                            *l += x;
                        }
                    }
                    for (l, &x) in lanes.iter_mut().zip(rest) {
                        *l += x;
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
                    let mut lanes = [F::ZERO; LANES];
                    let chunks = x.chunks_exact(LANES);
                    let rest = chunks.remainder();
                    for x in chunks {
                        for (l, &x) in lanes.iter_mut().zip(x) {
                            *l += (x - max).exp();
                        }
                    }
                    for (l, &x) in lanes.iter_mut().zip(rest) {
                        *l += (x - max).exp();
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
