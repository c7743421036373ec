//! Moving elements: rows by index, transposition, slices, padding, concatenation.
//!
//! Indices are elements of the array type holding whole numbers, as everywhere in the kernels. What an index outside its
//! range (or NaN) selects is NaN, and what it should receive is dropped: no other element is ever taken in silence.
use super::elementwise::{Layout, MAX_RANK};
use super::{Scalar, threads};

/// The position that `index` means, if it is a whole number in 0..limit.
#[inline(always)]
fn position<F: Scalar>(index: F, limit: usize) -> Option<usize> {
    let index = index.to_f64();
    let at = index as usize;
    (at < limit && at as f64 == index).then_some(at)
}

/// out [n, width] = rows of table [rows, width] by index \[n].
pub fn gather_rows<F: Scalar>(width: usize, table: &[F], index: &[F], out: &mut [F]) {
    assert_eq!(out.len(), index.len() * width, "out is [n, width]");
    if width == 0 {
        return;
    }
    threads::for_each_chunk(out, width, index.len() * width, |start, out| {
        for (out, &i) in out.chunks_exact_mut(width).zip(&index[start / width..]) {
            match position(i, table.len() / width) {
                Some(at) => out.copy_from_slice(&table[at * width..][..width]),
                None => out.fill(F::NAN),
            }
        }
    });
}

/// table [rows, width] += rows of x [n, width] at index \[n], in the order of the rows; the adjoint of [`gather_rows`].
pub fn scatter_add_rows<F: Scalar>(width: usize, x: &[F], index: &[F], table: &mut [F]) {
    assert_eq!(x.len(), index.len() * width, "x is [n, width]");
    if width == 0 {
        return;
    }
    let add = |first: usize, last: usize, table: &mut [F]| {
        for (x, &i) in x.chunks_exact(width).zip(index) {
            if let Some(row) = position(i, last).filter(|&row| row >= first) {
                let at = (row - first) * width;
                for (t, &x) in table[at..at + width].iter_mut().zip(x) {
                    *t += x;
                }
            }
        }
    };
    // Threads share out the rows of the table; each walks all indices in order, so that no sum is reordered.
    threads::for_each_chunk(table, width, index.len() * width, |start, table| {
        add(start / width, (start + table.len()) / width, table);
    });
}

/// out \[n] = x [n, width] at column index \[n] of each row.
pub fn pick<F: Scalar>(width: usize, x: &[F], index: &[F], out: &mut [F]) {
    assert!(out.len() == index.len() && x.len() == index.len() * width, "x is [n, width], out is [n]");
    for ((row, &i), out) in x.chunks_exact(width.max(1)).zip(index).zip(out) {
        *out = position(i, width).map_or(F::NAN, |at| row[at]);
    }
}

/// dx [n, width] = dy \[n] at column index \[n] of each row, 0 elsewhere; the adjoint of [`pick`].
pub fn pick_grad<F: Scalar>(width: usize, dy: &[F], index: &[F], dx: &mut [F]) {
    assert!(dy.len() == index.len() && dx.len() == index.len() * width, "dx is [n, width], dy is [n]");
    dx.fill(F::ZERO);
    for ((row, &i), &dy) in dx.chunks_exact_mut(width.max(1)).zip(index).zip(dy) {
        if let Some(at) = position(i, width) {
            row[at] = dy;
        }
    }
}

/// out = the elements of x at `offset` plus strides, over the positions of an array of shape `dims`, row-major.
///
/// Broadcasting (strides of 0), slicing (an offset, larger strides) and permuting axes are all this.
pub fn copy_strided<F: Scalar>(dims: &[usize], x: &[F], offset: usize, strides: &[usize], out: &mut [F]) {
    assert_eq!(out.len(), dims.iter().product::<usize>(), "out has the shape of the copy");
    if out.is_empty() {
        return;
    }
    let layout = Layout::new(dims, [strides]);
    let (inner, [step]) = layout.inner();
    let x = &x[offset..];
    let work = out.len();
    threads::for_each_chunk(out, inner, work, |start, out| {
        layout.rows(start, out, |[at], row| match step {
            0 => row.fill(x[at]),
            1 => row.copy_from_slice(&x[at..at + row.len()]),
            _ => {
                for (o, &x) in row.iter_mut().zip(x[at..].iter().step_by(step)) {
                    *o = x;
                }
            }
        });
    });
}

/// Adds x, of shape `dims`, to the elements of `out` at `offset` plus strides; the adjoint of [`copy_strided`].
///
/// Elements that share a target (strides of 0) are added in row-major order.
pub fn add_strided<F: Scalar>(dims: &[usize], x: &[F], out: &mut [F], offset: usize, strides: &[usize]) {
    assert_eq!(x.len(), dims.iter().product::<usize>(), "x has the shape of the copy");
    visit(dims, strides, |from, at, n, step| {
        for (i, &x) in x[from..from + n].iter().enumerate() {
            out[offset + at + i * step] += x;
        }
    });
}

/// Overwrites the elements of `out` at `offset` plus strides with x, of shape `dims`.
pub fn write_strided<F: Scalar>(dims: &[usize], x: &[F], out: &mut [F], offset: usize, strides: &[usize]) {
    assert_eq!(x.len(), dims.iter().product::<usize>(), "x has the shape of the copy");
    visit(dims, strides, |from, at, n, step| {
        let x = &x[from..from + n];
        let at = offset + at;
        if step == 1 {
            out[at..at + n].copy_from_slice(x);
        } else {
            for (i, &x) in x.iter().enumerate() {
                out[at + i * step] = x;
            }
        }
    });
}

/// Calls `f(flat position, strided position, length, step)` for every row of an array of shape `dims`.
fn visit(dims: &[usize], strides: &[usize], mut f: impl FnMut(usize, usize, usize, usize)) {
    if dims.contains(&0) {
        return;
    }
    let layout = Layout::new(dims, [strides]);
    let (inner, [step]) = layout.inner();
    layout.offsets(|row, [at]| f(row * inner, at, inner, step));
}

/// out = x with its axes in the order `axes`: out[i_0, i_1, ..] = x with index i_k at axis `axes[k]`.
pub fn transpose<F: Scalar>(shape: &[usize], axes: &[usize], x: &[F], out: &mut [F]) {
    let rank = shape.len();
    assert!(axes.len() == rank && rank <= MAX_RANK, "a permutation of the axes");
    let mut steps = [1; MAX_RANK];
    for axis in (0..rank.saturating_sub(1)).rev() {
        steps[axis] = steps[axis + 1] * shape[axis + 1];
    }
    let (mut dims, mut strides) = ([0; MAX_RANK], [0; MAX_RANK]);
    for (k, &axis) in axes.iter().enumerate() {
        dims[k] = shape[axis];
        strides[k] = steps[axis];
    }
    copy_strided(&dims[..rank], x, 0, &strides[..rank], out);
}

/// out = `fill` everywhere except x, of shape `dims`, at `before` \[rank] in an array of shape `padded`.
pub fn pad<F: Scalar>(dims: &[usize], before: &[usize], padded: &[usize], x: &[F], fill: F, out: &mut [F]) {
    out.fill(fill);
    let (offset, strides) = window(before, padded);
    write_strided(dims, x, out, offset, &strides[..dims.len()]);
}

/// out, of shape `dims`, = the part of x, of shape `shape`, that starts at `before` \[rank].
pub fn slice<F: Scalar>(dims: &[usize], before: &[usize], shape: &[usize], x: &[F], out: &mut [F]) {
    if out.is_empty() {
        return;
    }
    let (offset, strides) = window(before, shape);
    copy_strided(dims, x, offset, &strides[..dims.len()], out);
}

/// Offset and strides of a window that starts at `before` in a row-major array.
fn window(before: &[usize], shape: &[usize]) -> (usize, [usize; MAX_RANK]) {
    let (mut offset, mut strides, mut step) = (0, [0; MAX_RANK], 1);
    for axis in (0..shape.len()).rev() {
        strides[axis] = step;
        offset += before[axis] * step;
        step *= shape[axis];
    }
    (offset, strides)
}

/// Writes x [outer, axis, inner] into out [outer, total, inner] from position `at` of the middle axis on; one call per
/// part concatenates.
pub fn concat_part<F: Scalar>(
    outer: usize,
    axis: usize,
    inner: usize,
    total: usize,
    at: usize,
    x: &[F],
    out: &mut [F],
) {
    assert!(x.len() == outer * axis * inner && out.len() == outer * total * inner, "x fits into out");
    if axis * inner == 0 {
        return;
    }
    for (x, out) in x.chunks_exact(axis * inner).zip(out.chunks_exact_mut(total * inner)) {
        out[at * inner..(at + axis) * inner].copy_from_slice(x);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::reduce::dot;
    use crate::kernels::testing::values;

    #[test]
    fn rows_by_index_and_back() {
        let (rows, width) = (7, 5);
        let table = values::<f64>(1, rows * width);
        let index = [3.0, 0.0, 6.0, 3.0, 3.0];
        let mut out = vec![0.0; index.len() * width];
        gather_rows(width, &table, &index, &mut out);
        for (i, row) in out.chunks(width).enumerate() {
            assert_eq!(row, &table[index[i] as usize * width..][..width]);
        }
        let x = values::<f64>(2, out.len());
        let mut back = vec![0.0; table.len()];
        scatter_add_rows(width, &x, &index, &mut back);
        assert!((dot(&x, &out) - dot(&back, &table)).abs() < 1e-13, "adjoint of the gather");
        assert_eq!(back[width..3 * width], [0.0; 10]);
    }

    #[test]
    fn many_rows_on_many_threads() {
        let (rows, width, n) = (1000, 64, 5000);
        let index: Vec<f32> = (0..n).map(|i| ((i * 7919) % rows) as f32).collect();
        let x = values::<f32>(1, n * width);
        let (mut fast, mut slow) = (vec![0.0; rows * width], vec![0.0; rows * width]);
        scatter_add_rows(width, &x, &index, &mut fast);
        for (x, &i) in x.chunks(width).zip(&index) {
            for (t, x) in slow[i as usize * width..][..width].iter_mut().zip(x) {
                *t += x;
            }
        }
        assert_eq!(fast, slow);
        let mut out = vec![0.0; n * width];
        gather_rows(width, &fast, &index, &mut out);
        assert!(out.chunks(width).zip(&index).all(|(o, &i)| o == &fast[i as usize * width..][..width]));
    }

    #[test]
    fn an_index_outside_its_range_selects_nothing() {
        for wrong in [-1.0, 3.0, 0.5, f64::NAN, f64::INFINITY] {
            let table = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
            let mut out = [0.0; 4];
            gather_rows(2, &table, &[1.0, wrong], &mut out);
            assert!(out[..2] == [3.0, 4.0] && out[2..].iter().all(|x: &f64| x.is_nan()), "{wrong}: {out:?}");
            let mut back = [0.0; 6];
            scatter_add_rows(2, &[1.0, 2.0, 8.0, 9.0], &[1.0, wrong], &mut back);
            assert_eq!(back, [0.0, 0.0, 1.0, 2.0, 0.0, 0.0]);
            let mut out = [0.0; 2];
            pick(3, &table, &[2.0, wrong], &mut out);
            assert!(out[0] == 3.0 && out[1].is_nan(), "{wrong}: {out:?}");
            let mut back = [7.0; 6];
            pick_grad(3, &[1.5, 2.5], &[2.0, wrong], &mut back);
            assert_eq!(back, [0.0, 0.0, 1.5, 0.0, 0.0, 0.0]);
        }
    }

    #[test]
    fn one_element_per_row() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut y = [0.0; 2];
        pick(3, &x, &[2.0, 0.0], &mut y);
        assert_eq!(y, [3.0, 4.0]);
        let mut dx = [9.0; 6];
        pick_grad(3, &y, &[2.0, 0.0], &mut dx);
        assert_eq!(dx, [0.0, 0.0, 3.0, 4.0, 0.0, 0.0]);
    }

    proptest! {
        #[test]
        fn transposition_moves_every_element(
            shape in prop::collection::vec(0usize..5, 1..5), seed in 0u64..24,
        ) {
            let rank = shape.len();
            let mut axes: Vec<usize> = (0..rank).collect();
            let mut s = seed as usize;
            for i in (1..rank).rev() {
                axes.swap(i, s % (i + 1));
                s /= i + 1;
            }
            let len: usize = shape.iter().product();
            let x = values::<f32>(seed, len);
            let mut y = vec![f32::NAN; len];
            transpose(&shape, &axes, &x, &mut y);
            let dims: Vec<usize> = axes.iter().map(|&a| shape[a]).collect();
            for (flat, &y) in y.iter().enumerate() {
                let (mut rest, mut index) = (flat, vec![0; rank]);
                for k in (0..rank).rev() {
                    index[axes[k]] = rest % dims[k];
                    rest /= dims[k];
                }
                let at = index.iter().zip(&shape).fold(0, |at, (i, n)| at * n + i);
                prop_assert_eq!(y, x[at]);
            }
        }

        #[test]
        fn padding_and_slicing_are_inverse(
            dims in prop::collection::vec(1usize..5, 1..5),
            before in prop::collection::vec(0usize..3, 4), after in prop::collection::vec(0usize..3, 4),
        ) {
            let before = &before[..dims.len()];
            let padded: Vec<usize> = (0..dims.len()).map(|i| before[i] + dims[i] + after[i]).collect();
            let x = values::<f64>(1, dims.iter().product());
            let mut wide = vec![0.0; padded.iter().product()];
            pad(&dims, before, &padded, &x, 7.0, &mut wide);
            prop_assert_eq!(wide.iter().filter(|&&w| w == 7.0).count(), wide.len() - x.len());
            let mut back = vec![0.0; x.len()];
            slice(&dims, before, &padded, &wide, &mut back);
            prop_assert_eq!(&back, &x);
            // The adjoint of the slice adds to the same cells.
            let (offset, strides) = window(before, &padded);
            let mut sum = wide.clone();
            add_strided(&dims, &x, &mut sum, offset, &strides[..dims.len()]);
            slice(&dims, before, &padded, &sum, &mut back);
            prop_assert!(back.iter().zip(&x).all(|(b, x)| *b == 2.0 * x));
        }
    }

    #[test]
    fn strides_of_zero_repeat_and_add_up() {
        let mut out = [0.0; 6];
        copy_strided(&[2, 3], &[9.0, 1.0, 2.0, 3.0], 1, &[0, 1], &mut out);
        assert_eq!(out, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
        let mut sum = [0.0; 3];
        add_strided(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut sum, 0, &[0, 1]);
        assert_eq!(sum, [5.0, 7.0, 9.0]);
    }

    #[test]
    fn parts_make_a_whole() {
        let mut out = [0.0; 10];
        concat_part(2, 2, 1, 5, 0, &[1.0, 2.0, 3.0, 4.0], &mut out);
        concat_part(2, 3, 1, 5, 2, &[5.0, 6.0, 7.0, 8.0, 9.0, 10.0], &mut out);
        assert_eq!(out, [1.0, 2.0, 5.0, 6.0, 7.0, 3.0, 4.0, 8.0, 9.0, 10.0]);
    }
}
