//! Positions in sorted order, row by row.

use super::Scalar;
use std::cmp::Ordering;

/// Ascending order with ties in the order of their positions; NaN comes last.
fn order<F: Scalar>(x: &[F], a: F, b: F) -> Ordering {
    let (i, j) = (a.to_f64() as usize, b.to_f64() as usize);
    let by_value = match x[i].partial_cmp(&x[j]) {
        Some(order) => order,
        None => x[i].to_f64().is_nan().cmp(&x[j].to_f64().is_nan()),
    };
    by_value.then(i.cmp(&j))
}

/// For each row of `width` elements of `x`, the positions of its elements in ascending order, as numbers. Positions are
/// exact in single precision up to 2^24.
pub fn argsort<F: Scalar>(width: usize, x: &[F], out: &mut [F]) {
    if width == 0 {
        return;
    }
    for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        for (i, place) in out.iter_mut().enumerate() {
            *place = F::from_f64(i as f64);
        }
        // Unstable sorting allocates nothing; the positions make the order total.
        out.sort_unstable_by(|&a, &b| order(row, a, b));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_on_their_own_and_ties_keep_their_order() {
        let x = [3.0, 1.0, 2.0, 1.0, 5.0, f64::NAN, -1.0, f64::NEG_INFINITY];
        let mut out = [0.0; 8];
        argsort(4, &x, &mut out);
        assert_eq!(out, [1.0, 3.0, 2.0, 0.0, 3.0, 2.0, 0.0, 1.0]);
        let mut none: [f32; 0] = [];
        argsort(0, &[], &mut none);
    }
}
