//! Moving elements: rows by index, transposition, slices, padding, concatenation.
//!
//! Indices are elements of the array type holding whole numbers, as everywhere in the kernels. An index outside its
//! range is an error of the caller's that [`check_indices`] finds beforehand; the loops panic on it.
use super::elementwise::{Layout, MAX_RANK};
use super::{Scalar, threads};

/// The position of the first index that is no whole number in 0..limit.
pub fn check_indices<F: Scalar>(index: &[F], limit: usize) -> Result<(), usize> {
    let valid = |i: &F| *i >= F::ZERO && *i < F::from_usize(limit) && i.floor() == *i;
    index.iter().position(|i| !valid(i)).map_or(Ok(()), Err)
}

#[inline(always)]
fn position<F: Scalar>(index: F) -> usize {
    index.to_f64() as usize
}

/// out [n, width] = rows of table [rows, width] by index [n].
pub fn gather_rows<F: Scalar>(width: usize, table: &[F], index: &[F], out: &mut [F]) {
    assert_eq!(out.len(), index.len() * width, "out is [n, width]");
    if width == 0 {
        return;
    }
    threads::for_each_chunk(out, width, index.len() * width, |start, out| {
        for (out, &i) in out.chunks_exact_mut(width).zip(&index[start / width..]) {
            let at = position(i) * width;
            out.copy_from_slice(&table[at..at + width]);
        }
    });
}

/// table [rows, width] += rows of x [n, width] at index [n], in the order of the rows; the adjoint of [`gather_rows`].
pub fn scatter_add_rows<F: Scalar>(width: usize, x: &[F], index: &[F], table: &mut [F]) {
    assert_eq!(x.len(), index.len() * width, "x is [n, width]");
    if width == 0 {
        return;
    }
    let add = |first: usize, last: usize, table: &mut [F]| {
        for (x, &i) in x.chunks_exact(width).zip(index) {
            let row = position(i);
            if row >= first && row < last {
                let at = (row - first) * width;
                for (t, &x) in table[at..at + width].iter_mut().zip(x) {
                    *t += x;
                }
            }
        }
    };
    assert!(index.iter().all(|&i| position(i) * width + width <= table.len()), "indices inside the table");
    // Threads share out the rows of the table; each walks all indices in order, so that no sum is reordered.
    threads::for_each_chunk(table, width, index.len() * width, |start, table| {
        add(start / width, (start + table.len()) / width, table);
    });
}

/// out [n] = x [n, width] at column index [n] of each row.
pub fn pick<F: Scalar>(width: usize, x: &[F], index: &[F], out: &mut [F]) {
    assert!(out.len() == index.len() && x.len() == index.len() * width, "x is [n, width], out is [n]");
    for ((row, &i), out) in x.chunks_exact(width.max(1)).zip(index).zip(out) {
        *out = row[position(i)];
    }
}

/// dx [n, width] = dy [n] at column index [n] of each row, 0 elsewhere; the adjoint of [`pick`].
pub fn pick_grad<F: Scalar>(width: usize, dy: &[F], index: &[F], dx: &mut [F]) {
    assert!(dy.len() == index.len() && dx.len() == index.len() * width, "dx is [n, width], dy is [n]");
    dx.fill(F::ZERO);
    for ((row, &i), &dy) in dx.chunks_exact_mut(width.max(1)).zip(index).zip(dy) {
        row[position(i)] = dy;
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

/// out = x with its axes in the order `axes`: out[i_0, i_1, ..] = x with index i_k at axis axes[k].
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

/// out = `fill` everywhere except x, of shape `dims`, at `before` [rank] in an array of shape `padded`.
pub fn pad<F: Scalar>(dims: &[usize], before: &[usize], padded: &[usize], x: &[F], fill: F, out: &mut [F]) {
    out.fill(fill);
    let (offset, strides) = window(before, padded);
    write_strided(dims, x, out, offset, &strides[..dims.len()]);
}

/// out, of shape `dims`, = the part of x, of shape `shape`, that starts at `before` [rank].
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
