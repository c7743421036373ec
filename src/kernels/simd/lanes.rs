//! Matrix products over matrices whose columns lie in blocks of 16 lanes.
//!
//! A matrix [rows, columns] is kept as [columns / 16]\[rows][16]: one [`Lane`] holds 16 columns of one row. Products of
//! such matrices read and write them in place, nothing is packed: the right operand and the result are loaded by lanes,
//! the left one is broadcast number by number. The sum over k of every element runs in order from 0 on.
//! Tile shapes: 12 rows x 32 columns in AVX-512 (24 of 32 registers), 6 x 16 in AVX2 (12 of 16) and in NEON (24 of 32).
//!
//! Flipout multiplies with B + s_k t_j B2, whose signs s and t differ from image to image ([`Second`]). It is put together in
//! registers on the way to the products, two cheap instructions for a lane of each term: a second product would be twelve.
//! Its gradient adds one product to two sums with and without signs ([`SecondSum`]).
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

/// What a product with signs adds to its right operand: B + diag(terms) B2 diag(columns).
#[derive(Clone, Copy, Debug)]
pub struct Second<'a, F> {
    /// B2, laid out as B.
    pub b: &'a [Lane<F>],
    /// 1 or -1 for each term.
    pub terms: &'a [F],
    /// 1 or -1 for each column, as many lanes as blocks.
    pub columns: &'a [Lane<F>],
}

/// Where a product P goes once more with signs: C2 (+)= diag(rows) P diag(columns).
#[derive(Debug)]
pub struct SecondSum<'a, F> {
    /// C2, laid out as C.
    pub c: &'a mut [Lane<F>],
    /// 1 or -1 for each row.
    pub rows: &'a [F],
    /// 1 or -1 for each column, as many lanes as blocks.
    pub columns: &'a [Lane<F>],
}

/// What a product has beside A, B and C.
#[derive(Debug)]
pub enum Signed<'a, F> {
    /// Nothing.
    No,
    /// A second right operand; not for a transposed A.
    Operand(Second<'a, F>),
    /// A second result; for a transposed A alone.
    Sum(SecondSum<'a, F>),
}

impl<F> Signed<'_, F> {
    /// Panics unless there is a sign for each row, term and column, and a place for every lane.
    fn check(&self, shape: &Blocked, b: usize, c: usize) {
        match self {
            Signed::No => {}
            Signed::Operand(second) => {
                assert!(!shape.transposed && second.b.len() >= b, "B2 is laid out as B");
                assert!(second.terms.len() >= shape.terms && second.columns.len() >= shape.blocks, "signs of B2");
            }
            Signed::Sum(second) => {
                assert!(shape.transposed && second.c.len() >= c, "C2 is laid out as C");
                assert!(second.rows.len() >= shape.rows && second.columns.len() >= shape.blocks, "signs of C2");
            }
        }
    }
}

/// The product in single precision, by the best instructions present.
pub fn product_f32(shape: &Blocked, a: &[Lane<f32>], b: &[Lane<f32>], signed: Signed<'_, f32>, c: &mut [Lane<f32>]) {
    #[cfg(target_arch = "x86_64")]
    if super::has_avx2() {
        shape.check(a.len(), b.len(), c.len());
        signed.check(shape, b.len(), c.len());
        let with = With::new(signed);
        let (a, b, c) = (a.as_ptr().cast(), b.as_ptr().cast(), c.as_mut_ptr().cast());
        if super::has_avx512() {
            // SAFETY: the processor has the feature, and `check` has found every lane and sign inside its slice.
            unsafe { avx512::product(shape, a, b, with, c) };
        } else {
            // SAFETY: as above, for AVX2 and FMA.
            unsafe { avx2::product(shape, a, b, with, c) };
        }
        return;
    }
    #[cfg(target_arch = "aarch64")]
    if super::has_neon() {
        shape.check(a.len(), b.len(), c.len());
        signed.check(shape, b.len(), c.len());
        let with = With::new(signed);
        // SAFETY: the processor has the feature, and `check` has found every lane and sign inside its slice.
        unsafe { neon::product(shape, a.as_ptr().cast(), b.as_ptr().cast(), with, c.as_mut_ptr().cast()) };
        return;
    }
    product_portable(shape, a, b, signed, c);
}

/// The product in plain Rust.
pub fn product_portable<F: Scalar>(
    shape: &Blocked,
    a: &[Lane<F>],
    b: &[Lane<F>],
    mut signed: Signed<'_, F>,
    c: &mut [Lane<F>],
) {
    shape.check(a.len(), b.len(), c.len());
    signed.check(shape, b.len(), c.len());
    super::dispatch(
        #[inline(always)]
        || {
            for block in 0..shape.blocks {
                let from = block * shape.steps[1];
                let b = &b[from..][..shape.terms];
                let b2 = match &signed {
                    Signed::Operand(second) => {
                        Some((&second.b[from..][..shape.terms], second.terms, &second.columns[block]))
                    }
                    _ => None,
                };
                let to = block * shape.steps[2];
                for first in (0..shape.rows).step_by(4) {
                    let n = (shape.rows - first).min(4);
                    let mut tile = [[F::ZERO; LANES]; 4];
                    if n == 4 {
                        tile_portable(shape, first, a, b, b2, &mut tile);
                    } else {
                        for (i, row) in tile.iter_mut().enumerate().take(n) {
                            tile_portable(shape, first + i, a, b, b2, std::array::from_mut(row));
                        }
                    }
                    for (i, row) in (first..).zip(&tile[..n]) {
                        put(&mut c[to + i], row, shape.add);
                        if let Signed::Sum(second) = &mut signed {
                            let columns = &second.columns[block];
                            let flipped = std::array::from_fn(|l| row[l] * (second.rows[i] * columns[l]));
                            put(&mut second.c[to + i], &flipped, shape.add);
                        }
                    }
                }
            }
        },
    );
}

/// c (+)= row.
#[inline(always)]
fn put<F: Scalar>(c: &mut Lane<F>, row: &Lane<F>, add: bool) {
    for (c, &t) in c.iter_mut().zip(row) {
        *c = if add { *c + t } else { t };
    }
}

/// The sums of rows `first..first + M` of one block.
#[inline(always)]
fn tile_portable<F: Scalar, const M: usize>(
    shape: &Blocked,
    first: usize,
    a: &[Lane<F>],
    b: &[Lane<F>],
    second: Option<(&[Lane<F>], &[F], &Lane<F>)>,
    tile: &mut [Lane<F>; M],
) {
    for (k, b) in b.iter().enumerate() {
        let b: Lane<F> = match second {
            None => *b,
            Some((b2, terms, columns)) => std::array::from_fn(|l| b[l] + b2[k][l] * (terms[k] * columns[l])),
        };
        for (i, row) in tile.iter_mut().enumerate() {
            let i = first + i;
            let a = if shape.transposed {
                a[i / LANES * shape.steps[0] + k][i % LANES]
            } else {
                a[k / LANES * shape.steps[0] + i][k % LANES]
            };
            for (t, &b) in row.iter_mut().zip(&b) {
                *t = a.fused_or_not(b, *t);
            }
        }
    }
}

/// [`Signed`] as pointers that move with the tiles: to B2 or C2 and to the signs of terms or rows, and of columns.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[derive(Clone, Copy)]
enum With {
    Nothing,
    Operand { b: *const f32, terms: *const f32, columns: *const f32 },
    Sum { c: *mut f32, rows: *const f32, columns: *const f32 },
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
impl With {
    fn new(signed: Signed<'_, f32>) -> Self {
        match signed {
            Signed::No => With::Nothing,
            Signed::Operand(s) => {
                With::Operand { b: s.b.as_ptr().cast(), terms: s.terms.as_ptr(), columns: s.columns.as_ptr().cast() }
            }
            Signed::Sum(s) => {
                With::Sum { c: s.c.as_mut_ptr().cast(), rows: s.rows.as_ptr(), columns: s.columns.as_ptr().cast() }
            }
        }
    }

    /// From this block and row of C on.
    fn at(self, shape: &Blocked, block: usize, row: usize) -> Self {
        match self {
            With::Nothing => With::Nothing,
            With::Operand { b, terms, columns } => With::Operand {
                b: b.wrapping_add(block * shape.steps[1] * LANES),
                terms,
                columns: columns.wrapping_add(block * LANES),
            },
            With::Sum { c, rows, columns } => With::Sum {
                c: c.wrapping_add((block * shape.steps[2] + row) * LANES),
                rows: rows.wrapping_add(row),
                columns: columns.wrapping_add(block * LANES),
            },
        }
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! product {
    ($name:ident, {$($words:tt)*}, $vector:ident, $features:literal, $rows:literal $signed_rows:literal, $blocks:literal, $vectors:literal, $zero:ident, $splat:ident, $load:ident, $store:ident, $fma:ident, $plus:ident, |$x:ident, $y:ident, $z:ident| $flip:expr, $($m:literal)*) => {
        mod $name {
            use super::{Blocked, LANES, With};
            use $($words)*;

            type Vector = $vector;

            /// The product; A, B, C and `with` hold all lanes that `shape` names, and the processor has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn product(shape: &Blocked, a: *const f32, b: *const f32, with: With, c: *mut f32) {
                // Signs of columns and a second operand take registers.
                let most = if matches!(with, With::Operand { .. }) { $signed_rows } else { $rows };
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
                        let tiles = height.div_ceil(most);
                        // SAFETY: block start / LANES of the columns of A, or its first.
                        let a = if shape.transposed { unsafe { a.add(start / LANES * shape.steps[0] * LANES) } } else { a };
                        for i in 0..tiles {
                            let (first, end) = (height * i / tiles, height * (i + 1) / tiles);
                            // SAFETY: the columns or rows `first..end` of this piece of A, and rows of C.
                            unsafe {
                                let c = c.add((start + first) * LANES);
                                let a = a.add(if shape.transposed { first } else { first * LANES });
                                run(shape, end - first, n, a, b, with.at(shape, block, start + first), c);
                            }
                        }
                    }
                    block += n;
                }
            }

            /// One tile of `m` rows and `n` blocks.
            #[target_feature(enable = $features)]
            unsafe fn run(shape: &Blocked, m: usize, n: usize, a: *const f32, b: *const f32, with: With, c: *mut f32) {
                // SAFETY: the caller's.
                unsafe {
                    match (m, n == 1, shape.transposed) {
                        $(
                            ($m, true, false) => tile::<$m, 1>(shape, a, b, with, c),
                            ($m, false, false) => tile::<$m, $blocks>(shape, a, b, with, c),
                            ($m, true, true) => tile_transposed::<$m, 1>(shape, a, b, with, c),
                            ($m, false, true) => tile_transposed::<$m, $blocks>(shape, a, b, with, c),
                        )*
                        _ => unreachable!("a tile has at most {} rows", $rows),
                    }
                }
            }

            /// C[m, blocks] (+)= A B, rows of A one lane apart.
            #[target_feature(enable = $features)]
            unsafe fn tile<const M: usize, const N: usize>(
                shape: &Blocked, mut a: *const f32, mut b: *const f32, with: With, c: *mut f32,
            ) {
                let mut acc = [[[$zero(); $vectors]; N]; M];
                let (step, b_step) = (shape.steps[0] * LANES, shape.steps[1] * LANES);
                let mut left = shape.terms;
                // SAFETY: terms, rows and signs are inside the operands.
                unsafe {
                    if let With::Operand { b: mut second, mut terms, columns } = with {
                        let columns = load::<N>(columns, LANES);
                        while left > 0 {
                            let some = left.min(LANES);
                            for k in 0..some {
                                let sign = $splat(*terms);
                                let mut lanes = load::<N>(b, b_step);
                                let others = load::<N>(second, b_step);
                                for n in 0..N {
                                    for v in 0..$vectors {
                                        lanes[n][v] = $plus(lanes[n][v], flip(others[n][v], sign, columns[n][v]));
                                    }
                                }
                                multiply::<M, N>(&mut acc, a.add(k), LANES, &lanes);
                                (b, second, terms) = (b.add(LANES), second.add(LANES), terms.add(1));
                            }
                            left -= some;
                            a = a.wrapping_add(step);
                        }
                    } else {
                        while left > 0 {
                            let some = left.min(LANES);
                            for k in 0..some {
                                multiply::<M, N>(&mut acc, a.add(k), LANES, &load::<N>(b, b_step));
                                b = b.add(LANES);
                            }
                            left -= some;
                            a = a.wrapping_add(step);
                        }
                    }
                    finish::<M, N>(shape, &acc, c);
                }
            }

            /// C[m, blocks] (+)= A^T B, columns of A side by side.
            #[target_feature(enable = $features)]
            unsafe fn tile_transposed<const M: usize, const N: usize>(
                shape: &Blocked, mut a: *const f32, mut b: *const f32, with: With, c: *mut f32,
            ) {
                let mut acc = [[[$zero(); $vectors]; N]; M];
                let b_step = shape.steps[1] * LANES;
                // SAFETY: terms, rows, columns and signs are inside the operands.
                unsafe {
                    for _ in 0..shape.terms {
                        multiply::<M, N>(&mut acc, a, 1, &load::<N>(b, b_step));
                        a = a.add(LANES);
                        b = b.add(LANES);
                    }
                    finish::<M, N>(shape, &acc, c);
                    if let With::Sum { c, rows, columns } = with {
                        let columns = load::<N>(columns, LANES);
                        for (m, row) in acc.iter_mut().enumerate() {
                            let sign = $splat(*rows.add(m));
                            for n in 0..N {
                                for v in 0..$vectors {
                                    row[n][v] = flip(row[n][v], sign, columns[n][v]);
                                }
                            }
                        }
                        finish::<M, N>(shape, &acc, c);
                    }
                }
            }

            /// x times two numbers that are 1 or -1: their exponents cancel, what remains is the sign.
            #[target_feature(enable = $features)]
            #[inline]
            fn flip($x: Vector, $y: Vector, $z: Vector) -> Vector {
                $flip
            }

            /// N lanes, `step` numbers apart.
            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn load<const N: usize>(from: *const f32, step: usize) -> [[Vector; $vectors]; N] {
                std::array::from_fn(|n| {
                    // SAFETY: the caller's.
                    std::array::from_fn(|v| unsafe { $load(from.add(n * step + v * (LANES / $vectors))) })
                })
            }

            /// Adds one term: M numbers of A, `apart` from each other, times N lanes of B.
            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn multiply<const M: usize, const N: usize>(
                acc: &mut [[[Vector; $vectors]; N]; M], a: *const f32, apart: usize, b: &[[Vector; $vectors]; N],
            ) {
                for (m, row) in acc.iter_mut().enumerate() {
                    // SAFETY: the caller's.
                    let a = $splat(unsafe { *a.add(m * apart) });
                    for n in 0..N {
                        for v in 0..$vectors {
                            row[n][v] = $fma(a, b[n][v], row[n][v]);
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
product!(avx512, {std::arch::x86_64::*}, __m512, "avx512f", 12 12, 2, 1, _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps,
    _mm512_fmadd_ps, _mm512_add_ps,
    |x, y, z| {
        let (x, y, z) = (_mm512_castps_si512(x), _mm512_castps_si512(y), _mm512_castps_si512(z));
        // x ^ y ^ z
        _mm512_castsi512_ps(_mm512_ternarylogic_epi32::<0x96>(x, y, z))
    },
    1 2 3 4 5 6 7 8 9 10 11 12);
#[cfg(target_arch = "x86_64")]
product!(avx2, {std::arch::x86_64::*}, __m256, "avx2,fma", 6 6, 1, 2, _mm256_setzero_ps, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps,
    _mm256_fmadd_ps, _mm256_add_ps, |x, y, z| _mm256_xor_ps(x, _mm256_xor_ps(y, z)), 1 2 3 4 5 6);
#[cfg(target_arch = "aarch64")]
product!(neon, {super::super::aarch64::vectors::*}, float32x4_t, "neon", 6 5, 1, 4, zero, vdupq_n_f32, vld1q_f32, vst1q_f32,
    fma, vaddq_f32, |x, y, z| xor3(x, y, z), 1 2 3 4 5 6);
