//! Cholesky factors and triangular systems, one matrix or a batch.
//!
//! Small matrices use a plain loop, larger ones faer (blocked, one thread: the result does not depend on the number of
//! threads).
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltError, LltParams, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::traits::RealField;
use faer::{Auto, MatMut, MatRef, Par, Spec};

use super::{Scalar, threads};

/// Up to this size the plain loops are as fast as faer's.
const SMALL: usize = 16;

/// Which half of a triangular matrix holds its elements; the other half is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Triangle {
    /// On and below the diagonal.
    Lower,
    /// On and above the diagonal.
    Upper,
}

/// A matrix that is not positive definite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotPositiveDefinite {
    /// The number of the matrix in the batch.
    pub matrix: usize,
    /// The first pivot that is not positive.
    pub pivot: usize,
}

/// Replaces every matrix of a [batch, n, n] by its lower Cholesky factor, zeros above the diagonal.
///
/// Only the lower halves are read. A matrix that is not positive definite becomes NaN, and the first of them is
/// reported after all others have been factored.
pub fn cholesky<F: Scalar>(n: usize, a: &mut [F]) -> Result<(), NotPositiveDefinite> {
    if n == 0 {
        return Ok(());
    }
    assert_eq!(a.len() % (n * n), 0, "a is [batch, n, n]");
    let first = std::sync::Mutex::new(None::<NotPositiveDefinite>);
    let work = a.len() * n / 3;
    threads::for_each_chunk(a, n * n, work, |start, a| {
        for (i, a) in a.chunks_exact_mut(n * n).enumerate() {
            let factored = if n <= SMALL { cholesky_small(n, a) } else { F::cholesky_large(n, a) };
            match factored {
                Ok(()) => {
                    for row in 0..n {
                        a[row * n + row + 1..(row + 1) * n].fill(F::ZERO);
                    }
                }
                Err(pivot) => {
                    a.fill(F::NAN);
                    let failure = NotPositiveDefinite { matrix: start / (n * n) + i, pivot };
                    let mut first = first.lock().expect("no thread panics while it holds the lock");
                    if first.is_none_or(|f| failure.matrix < f.matrix) {
                        *first = Some(failure);
                    }
                }
            }
        }
    });
    first.into_inner().expect("no thread panics while it holds the lock").map_or(Ok(()), Err)
}

/// Row by row (Cholesky-Banachiewicz); the error is the first pivot that is not positive.
fn cholesky_small<F: Scalar>(n: usize, a: &mut [F]) -> Result<(), usize> {
    for i in 0..n {
        let (above, row) = a.split_at_mut(i * n);
        for j in 0..=i {
            let mut sum = row[j];
            if j < i {
                let other = &above[j * n..j * n + j + 1];
                for k in 0..j {
                    sum = (-row[k]).mul_add(other[k], sum);
                }
                row[j] = sum / other[j];
            } else {
                for &l in &row[..j] {
                    sum = (-l).mul_add(l, sum);
                }
                // NaN is not positive either.
                if sum.partial_cmp(&F::ZERO) != Some(std::cmp::Ordering::Greater) || !sum.is_finite() {
                    return Err(i);
                }
                row[j] = sum.sqrt();
            }
        }
    }
    Ok(())
}

/// The factorisation of one larger matrix; the error is the first pivot that is not positive.
pub(crate) fn cholesky_large<F: RealField + Scalar>(n: usize, a: &mut [F]) -> Result<(), usize> {
    let params: Spec<LltParams, F> = Spec::new(<LltParams as Auto<F>>::auto());
    let mut memory = MemBuffer::new(cholesky_in_place_scratch::<F>(n, Par::Seq, params));
    let view = MatMut::from_row_major_slice_mut(a, n, n);
    match cholesky_in_place(view, Default::default(), Par::Seq, MemStack::new(&mut memory), params) {
        Ok(_) => match (0..n).find(|&i| !Scalar::is_finite(a[i * n + i])) {
            Some(pivot) => Err(pivot),
            None => Ok(()),
        },
        Err(LltError::NonPositivePivot { index }) => Err(index),
    }
}

/// Replaces each B [n, rhs] of a batch by the solution X of A X = B, or of A^T X = B if `transposed`.
///
/// `a` is [batch, n, n], or one [n, n] for the whole batch; `b` is [batch, n, rhs]. A zero on the diagonal gives
/// infinities or NaN.
pub fn triangular_solve<F: Scalar>(triangle: Triangle, transposed: bool, n: usize, rhs: usize, a: &[F], b: &mut [F]) {
    if n * rhs == 0 {
        return;
    }
    let batch = b.len() / (n * rhs);
    assert!(b.len() == batch * n * rhs, "b is [batch, n, rhs]");
    assert!(a.len() == n * n || a.len() == batch * n * n, "a is [batch, n, n] or [n, n]");
    let step = if a.len() == n * n { 0 } else { n * n };
    let work = b.len() * n / 2;
    threads::for_each_chunk(b, n * rhs, work, |start, b| {
        for (i, b) in b.chunks_exact_mut(n * rhs).enumerate() {
            let at = (start / (n * rhs) + i) * step;
            let a = &a[at..at + n * n];
            if n <= SMALL {
                solve_small(triangle, transposed, n, rhs, a, b);
            } else {
                F::solve_large(triangle == Triangle::Lower, transposed, n, rhs, a, b);
            }
        }
    });
}

/// Substitution, row by row.
fn solve_small<F: Scalar>(triangle: Triangle, transposed: bool, n: usize, rhs: usize, a: &[F], b: &mut [F]) {
    let at = |i: usize, j: usize| if transposed { a[j * n + i] } else { a[i * n + j] };
    let forwards = (triangle == Triangle::Lower) != transposed;
    for step in 0..n {
        let i = if forwards { step } else { n - 1 - step };
        for done in 0..step {
            let j = if forwards { done } else { n - 1 - done };
            let factor = -at(i, j);
            let (low, high) = b.split_at_mut(i.max(j) * rhs);
            let (target, source) = if i > j {
                (&mut high[..rhs], &low[j * rhs..][..rhs])
            } else {
                (&mut low[i * rhs..][..rhs], &high[..rhs])
            };
            for (t, &s) in target.iter_mut().zip(source) {
                *t = factor.mul_add(s, *t);
            }
        }
        let pivot = at(i, i);
        for x in &mut b[i * rhs..(i + 1) * rhs] {
            *x /= pivot;
        }
    }
}

/// The solution of one larger system.
pub(crate) fn solve_large<F: RealField + Scalar>(
    lower: bool,
    transposed: bool,
    n: usize,
    rhs: usize,
    a: &[F],
    b: &mut [F],
) {
    let a = MatRef::from_row_major_slice(a, n, n);
    let b = MatMut::from_row_major_slice_mut(b, n, rhs);
    match (lower, transposed) {
        (true, false) => solve_lower_triangular_in_place(a, b, Par::Seq),
        (true, true) => solve_upper_triangular_in_place(a.transpose(), b, Par::Seq),
        (false, false) => solve_upper_triangular_in_place(a, b, Par::Seq),
        (false, true) => solve_lower_triangular_in_place(a.transpose(), b, Par::Seq),
    }
}
