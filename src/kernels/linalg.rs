//! Cholesky factors and triangular systems, one matrix or a batch.
//!
//! Small matrices use a plain loop, larger ones faer (blocked, one thread: the result does not depend on the number of
//! threads).
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltError, LltParams, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::traits::RealField;
use faer::{Auto, MatMut, MatRef, Par, Side, Spec};

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

/// The eigenvalues of the symmetric `a [n, n]`, ascending; `a` becomes the orthogonal matrix whose columns are the
/// eigenvectors. Only the lower half of `a` is read. `None` when an element is not finite, or the iteration does not end.
pub fn symmetric_eigen(n: usize, a: &mut [f64]) -> Option<Vec<f64>> {
    assert_eq!(a.len(), n * n, "a is [n, n]");
    if !a.iter().all(|x| x.is_finite()) {
        return None;
    }
    let found = MatRef::from_row_major_slice(a, n, n).self_adjoint_eigen(Side::Lower).ok()?;
    let (vectors, values) = (found.U(), found.S().column_vector());
    for (i, row) in a.chunks_exact_mut(n.max(1)).enumerate() {
        row.iter_mut().enumerate().for_each(|(j, x)| *x = vectors[(i, j)]);
    }
    Some((0..n).map(|i| values[i]).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::values;

    /// A well-conditioned symmetric positive definite matrix.
    fn spd(seed: u64, n: usize) -> Vec<f64> {
        let x = values::<f64>(seed, n * n);
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                let sum: f64 = (0..n).map(|k| x[i * n + k] * x[j * n + k]).sum();
                a[i * n + j] = sum / n as f64 + if i == j { 1.0 } else { 0.0 };
            }
        }
        a
    }

    #[test]
    fn factors_multiply_back() {
        for n in [1, 2, 5, 16, 17, 40, 130] {
            let batch = 3;
            let a: Vec<f64> = (0..batch).flat_map(|s| spd(s, n)).collect();
            let mut l = a.clone();
            assert_eq!(cholesky(n, &mut l), Ok(()));
            let mut single: Vec<f32> = a.iter().map(|&x| x as f32).collect();
            assert_eq!(cholesky(n, &mut single), Ok(()));
            for m in 0..batch as usize {
                let (a, l) = (&a[m * n * n..], &l[m * n * n..]);
                for i in 0..n {
                    for j in 0..n {
                        let back: f64 = (0..n).map(|k| l[i * n + k] * l[j * n + k]).sum();
                        assert!((back - a[i * n + j]).abs() < 1e-12, "{n}: [{i}, {j}]");
                        assert!(j <= i || l[i * n + j] == 0.0, "zeros above the diagonal");
                        assert!((f64::from(single[m * n * n + i * n + j]) - l[i * n + j]).abs() < 1e-4);
                    }
                }
            }
        }
    }

    #[test]
    fn only_the_lower_half_is_read() {
        for n in [4, 30] {
            let mut a = spd(1, n);
            let mut whole = a.clone();
            for i in 0..n {
                a[i * n + i + 1..(i + 1) * n].fill(f64::NAN);
            }
            cholesky(n, &mut a).expect("positive definite");
            cholesky(n, &mut whole).expect("positive definite");
            assert_eq!(a, whole);
        }
    }

    #[test]
    fn indefinite_matrices_are_reported() {
        for n in [3, 40] {
            for bad in [-1.0, 0.0, f64::NAN] {
                let mut a: Vec<f64> = (0..3).flat_map(|s| spd(s, n)).collect();
                let pivot = n - 2;
                // The second matrix fails at the last but one pivot.
                let second = &mut a[n * n..2 * n * n];
                for k in 0..n {
                    second[pivot * n + k] = 0.0;
                }
                second[pivot * n + pivot] = bad;
                assert_eq!(cholesky(n, &mut a), Err(NotPositiveDefinite { matrix: 1, pivot }), "{n} {bad}");
                assert!(a[..n * n].iter().all(|x| x.is_finite()) && a[2 * n * n..].iter().all(|x| x.is_finite()));
                assert!(a[n * n..2 * n * n].iter().all(|x| x.is_nan()));
            }
        }
    }

    #[test]
    fn solutions_solve() {
        for (n, rhs) in [(1, 1), (4, 3), (16, 1), (17, 5), (60, 2)] {
            let batch = 2;
            let full: Vec<f64> = (0..batch as u64).flat_map(|s| spd(s, n)).collect();
            let b = values::<f64>(9, batch * n * rhs);
            for triangle in [Triangle::Lower, Triangle::Upper] {
                for transposed in [false, true] {
                    for shared in [false, true] {
                        let a = if shared { &full[..n * n] } else { &full[..] };
                        let mut x = b.clone();
                        triangular_solve(triangle, transposed, n, rhs, a, &mut x);
                        for m in 0..batch {
                            let a = if shared { a } else { &a[m * n * n..(m + 1) * n * n] };
                            let at = |i: usize, j: usize| {
                                let (i, j) = if transposed { (j, i) } else { (i, j) };
                                let kept = if triangle == Triangle::Lower { j <= i } else { j >= i };
                                if kept { a[i * n + j] } else { 0.0 }
                            };
                            for i in 0..n {
                                for r in 0..rhs {
                                    let cell = |i: usize| m * n * rhs + i * rhs + r;
                                    let back: f64 = (0..n).map(|j| at(i, j) * x[cell(j)]).sum();
                                    assert!((back - b[cell(i)]).abs() < 1e-10, "{triangle:?} {transposed} {n}");
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
