//! Matrix products over matrices whose columns lie in blocks of 16 lanes.
//!
//! A matrix [rows, columns] is kept as [columns / 16]\[rows][16]: one [`Lane`] holds 16 columns of one row. Products of
//! such matrices read and write them in place, nothing is packed: the right operand and the result are loaded by lanes,
//! the left one is broadcast number by number. The sum over k of every element runs in order from 0 on.
//! Tile shapes: 12 rows x 32 columns in AVX-512 (24 of 32 registers), 6 x 16 in AVX2 (12 of 16).
#![allow(unsafe_code)]

use super::super::Scalar;

/// Columns of one block.
pub const LANES: usize = 16;

/// One row of one block of columns.
pub type Lane<F> = [F; LANES];

/// Where the operands of a product C = A B or C = A^T B lie, in lanes.
#[derive(Clone, Copy, Debug)]
pub struct Blocked {
    /// Rows of C.
    pub rows: usize,
    /// Terms of each sum.
    pub terms: usize,
    /// Blocks of columns of B and C.
    pub blocks: usize,
    /// Lanes from one block of columns to the next in A, B and C.
    pub steps: [usize; 3],
    /// A is [terms, rows] instead of [rows, terms].
    pub transposed: bool,
    /// Adds to C instead of overwriting it.
    pub add: bool,
}

impl Blocked {
    /// Panics unless every lane of the product is inside its slice.
    fn check(&self, a: usize, b: usize, c: usize) {
        let last = |blocks: usize, rows: usize, step: usize| (blocks - 1) * step + rows;
        if self.rows * self.blocks == 0 {
            return;
        }
        assert!(last(self.blocks, self.rows, self.steps[2]) <= c, "C holds the product");
        if self.terms == 0 {
            return;
        }
        let (columns, lines) = if self.transposed { (self.rows, self.terms) } else { (self.terms, self.rows) };
        assert!(last(columns.div_ceil(LANES), lines, self.steps[0]) <= a, "A holds its operand");
        assert!(last(self.blocks, self.terms, self.steps[1]) <= b, "B holds its operand");
    }
}

/// The product in single precision, by the best instructions present.
pub fn product_f32(shape: &Blocked, a: &[Lane<f32>], b: &[Lane<f32>], c: &mut [Lane<f32>]) {
    #[cfg(target_arch = "x86_64")]
    {
        if super::has_avx512() {
            shape.check(a.len(), b.len(), c.len());
            // SAFETY: the processor has the feature, and `check` has found every lane inside its slice.
            unsafe { avx512::product(shape, a.as_ptr().cast(), b.as_ptr().cast(), c.as_mut_ptr().cast()) };
            return;
        }
        if super::has_avx2() {
            shape.check(a.len(), b.len(), c.len());
            // SAFETY: as above, for AVX2 and FMA.
            unsafe { avx2::product(shape, a.as_ptr().cast(), b.as_ptr().cast(), c.as_mut_ptr().cast()) };
            return;
        }
    }
    product_portable(shape, a, b, c);
}

/// The product in plain Rust.
pub fn product_portable<F: Scalar>(shape: &Blocked, a: &[Lane<F>], b: &[Lane<F>], c: &mut [Lane<F>]) {
    shape.check(a.len(), b.len(), c.len());
    super::dispatch(
        #[inline(always)]
        || {
            for block in 0..shape.blocks {
                let b = &b[block * shape.steps[1]..][..shape.terms];
                let c = &mut c[block * shape.steps[2]..][..shape.rows];
                let (tiles, rest) = c.as_chunks_mut::<4>();
                for (i, c) in tiles.iter_mut().enumerate() {
                    tile_portable(shape, 4 * i, a, b, c);
                }
                for (i, c) in rest.iter_mut().enumerate() {
                    tile_portable::<F, 1>(shape, shape.rows / 4 * 4 + i, a, b, std::array::from_mut(c));
                }
            }
        },
    );
}

/// Rows `first..first + M` of one block.
#[inline(always)]
fn tile_portable<F: Scalar, const M: usize>(
    shape: &Blocked,
    first: usize,
    a: &[Lane<F>],
    b: &[Lane<F>],
    c: &mut [Lane<F>; M],
) {
    let mut tile = [[F::ZERO; LANES]; M];
    for (k, b) in b.iter().enumerate() {
        for (i, row) in tile.iter_mut().enumerate() {
            let i = first + i;
            let a = if shape.transposed {
                a[i / LANES * shape.steps[0] + k][i % LANES]
            } else {
                a[k / LANES * shape.steps[0] + i][k % LANES]
            };
            for (t, &b) in row.iter_mut().zip(b) {
                *t = a.fused_or_not(b, *t);
            }
        }
    }
    for (c, row) in c.iter_mut().zip(&tile) {
        for (c, &t) in c.iter_mut().zip(row) {
            *c = if shape.add { *c + t } else { t };
        }
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! product {
    ($name:ident, $vector:ident, $features:literal, $rows:literal, $blocks:literal, $vectors:literal, $zero:ident, $splat:ident, $load:ident, $store:ident, $fma:ident, $plus:ident, $($m:literal)*) => {
        mod $name {
            use super::{Blocked, LANES};
            use std::arch::x86_64::*;

            type Vector = $vector;

            /// The product; A, B and C hold all lanes that `shape` names, and the processor has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn product(shape: &Blocked, a: *const f32, b: *const f32, c: *mut f32) {
                let mut block = 0;
                while block < shape.blocks {
                    let n = (shape.blocks - block).min($blocks);
                    // SAFETY: both offsets are those of blocks that the operands hold.
                    let (b, c) = unsafe {
                        (b.add(block * shape.steps[1] * LANES), c.add(block * shape.steps[2] * LANES))
                    };
                    // A is taken by blocks of its columns when those are the rows of C, else as one; each piece is cut into
                    // tiles of nearly equal height.
                    let piece = if shape.transposed { LANES } else { shape.rows };
                    for start in (0..shape.rows).step_by(piece) {
                        let height = piece.min(shape.rows - start);
                        let tiles = height.div_ceil($rows);
                        // SAFETY: block start / LANES of the columns of A, or its first.
                        let a = if shape.transposed { unsafe { a.add(start / LANES * shape.steps[0] * LANES) } } else { a };
                        for i in 0..tiles {
                            let (first, end) = (height * i / tiles, height * (i + 1) / tiles);
                            // SAFETY: the columns or rows `first..end` of this piece of A, and rows of C.
                            unsafe {
                                let c = c.add((start + first) * LANES);
                                let a = a.add(if shape.transposed { first } else { first * LANES });
                                run(shape, end - first, n, a, b, c);
                            }
                        }
                    }
                    block += n;
                }
            }

            /// One tile of `m` rows and `n` blocks.
            #[target_feature(enable = $features)]
            unsafe fn run(shape: &Blocked, m: usize, n: usize, a: *const f32, b: *const f32, c: *mut f32) {
                // SAFETY: the caller's.
                unsafe {
                    match (m, n == 1, shape.transposed) {
                        $(
                            ($m, true, false) => tile::<$m, 1>(shape, a, b, c),
                            ($m, false, false) => tile::<$m, $blocks>(shape, a, b, c),
                            ($m, true, true) => tile_transposed::<$m, 1>(shape, a, b, c),
                            ($m, false, true) => tile_transposed::<$m, $blocks>(shape, a, b, c),
                        )*
                        _ => unreachable!("a tile has at most {} rows", $rows),
                    }
                }
            }

            /// C[m, blocks] (+)= A B, rows of A one lane apart.
            #[target_feature(enable = $features)]
            unsafe fn tile<const M: usize, const N: usize>(
                shape: &Blocked, mut a: *const f32, mut b: *const f32, c: *mut f32,
            ) {
                let mut acc = [[[$zero(); $vectors]; N]; M];
                let (step, b_step) = (shape.steps[0] * LANES, shape.steps[1] * LANES);
                let mut left = shape.terms;
                while left > 0 {
                    let some = left.min(LANES);
                    for k in 0..some {
                        // SAFETY: terms and rows are inside the operands.
                        unsafe {
                            multiply::<M, N>(&mut acc, a.add(k), LANES, b, b_step);
                            b = b.add(LANES);
                        }
                    }
                    left -= some;
                    a = a.wrapping_add(step);
                }
                // SAFETY: the rows are inside C.
                unsafe { finish::<M, N>(shape, &acc, c) };
            }

            /// C[m, blocks] (+)= A^T B, columns of A side by side.
            #[target_feature(enable = $features)]
            unsafe fn tile_transposed<const M: usize, const N: usize>(
                shape: &Blocked, mut a: *const f32, mut b: *const f32, c: *mut f32,
            ) {
                let mut acc = [[[$zero(); $vectors]; N]; M];
                let b_step = shape.steps[1] * LANES;
                for _ in 0..shape.terms {
                    // SAFETY: terms and columns are inside the operands.
                    unsafe {
                        multiply::<M, N>(&mut acc, a, 1, b, b_step);
                        a = a.add(LANES);
                        b = b.add(LANES);
                    }
                }
                // SAFETY: the rows are inside C.
                unsafe { finish::<M, N>(shape, &acc, c) };
            }

            /// Adds one term: M numbers of A, `apart` from each other, times N lanes of B.
            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn multiply<const M: usize, const N: usize>(
                acc: &mut [[[Vector; $vectors]; N]; M], a: *const f32, apart: usize, b: *const f32, b_step: usize,
            ) {
                // SAFETY: the caller's.
                unsafe {
                    let b: [[Vector; $vectors]; N] = std::array::from_fn(|n| {
                        std::array::from_fn(|v| $load(b.add(n * b_step + v * (LANES / $vectors))))
                    });
                    for (m, row) in acc.iter_mut().enumerate() {
                        let a = $splat(*a.add(m * apart));
                        for n in 0..N {
                            for v in 0..$vectors {
                                row[n][v] = $fma(a, b[n][v], row[n][v]);
                            }
                        }
                    }
                }
            }

            /// Writes a tile.
            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn finish<const M: usize, const N: usize>(
                shape: &Blocked, acc: &[[[Vector; $vectors]; N]; M], c: *mut f32,
            ) {
                for (m, row) in acc.iter().enumerate() {
                    for (n, lane) in row.iter().enumerate() {
                        for (v, &t) in lane.iter().enumerate() {
                            // SAFETY: the caller's.
                            unsafe {
                                let c = c.add((n * shape.steps[2] + m) * LANES + v * (LANES / $vectors));
                                $store(c, if shape.add { $plus($load(c), t) } else { t });
                            }
                        }
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
product!(avx512, __m512, "avx512f", 12, 2, 1, _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps,
    _mm512_fmadd_ps, _mm512_add_ps, 1 2 3 4 5 6 7 8 9 10 11 12);
#[cfg(target_arch = "x86_64")]
product!(avx2, __m256, "avx2,fma", 6, 1, 2, _mm256_setzero_ps, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps,
    _mm256_fmadd_ps, _mm256_add_ps, 1 2 3 4 5 6);
