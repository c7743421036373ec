//! The one place that asks which vector instructions this machine has.
//!
//! A loop is written once, in plain Rust, and handed to [`dispatch`] as a closure marked `#[inline(always)]`; it is
//! compiled twice, for the base instruction set and for AVX2 with fused multiply-add, and the better one runs. Loops that
//! compute more than they load and store go through [`dispatch_wide`], which compiles them for AVX-512 too. On AArch64 the base
//! instruction set has the vectors and multiply-adds of NEON, and such a loop is compiled once. Only the register tiles of the
//! matrix product ([`Tiles`]) and of products in [`lanes`], transpositions and the [`peak`] are written with intrinsics.
#[cfg(target_arch = "aarch64")]
mod aarch64;
mod chunks;
pub mod lanes;
pub mod peak;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use chunks::{Chunk, chunk_len, pack_chunks};

/// Whether the AVX2 and FMA code runs on this machine.
#[inline]
pub fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        // The standard library asks the processor once and caches the answer.
        std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Whether the AVX-512 code runs on this machine.
#[inline]
pub fn has_avx512() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        has_avx2()
            && std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx512dq")
            && std::is_x86_feature_detected!("avx512bw")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Whether the NEON code runs on this machine.
#[inline]
pub fn has_neon() -> bool {
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("neon")
    }
    #[cfg(not(target_arch = "aarch64"))]
    {
        false
    }
}

/// Runs `f`, compiled for the best instruction set present. Mark the closure `#[inline(always)]`.
#[inline(always)]
pub fn dispatch<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        return x86_64::with_avx2(f);
    }
    f()
}

/// As [`dispatch`], with AVX-512 among the instruction sets: twice the rate for elementary functions, nothing for loops that
/// wait for memory.
#[inline(always)]
pub fn dispatch_wide<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if has_avx512() {
        return x86_64::with_avx512(f);
    }
    dispatch(f)
}

/// out[t * width + line] = lines[line * stride + t] for the first `n` lines and `len` elements of each: lines become columns.
pub fn transpose_f32(lines: &[f32], stride: usize, n: usize, len: usize, width: usize, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() && n >= 8 && len >= 8 {
        return x86_64::transpose_f32(lines, stride, n, len, width, out);
    }
    #[cfg(target_arch = "aarch64")]
    if has_neon() && n >= 4 && len >= 4 {
        return aarch64::transpose_f32(lines, stride, n, len, width, out);
    }
    transpose_part(lines, stride, 0..n, 0..len, width, out);
}

/// As [`transpose_f32`].
pub fn transpose_f64(lines: &[f64], stride: usize, n: usize, len: usize, width: usize, out: &mut [f64]) {
    transpose_part(lines, stride, 0..n, 0..len, width, out);
}

/// Some lines and some elements of each of a transposition.
#[inline(always)]
fn transpose_part<F: Copy>(
    lines: &[F],
    stride: usize,
    which: std::ops::Range<usize>,
    elements: std::ops::Range<usize>,
    width: usize,
    out: &mut [F],
) {
    for line in which {
        let from = &lines[line * stride..][..elements.end];
        for (t, &x) in from.iter().enumerate().skip(elements.start) {
            out[t * width + line] = x;
        }
    }
}

/// What a register tile is added to before it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// The numbers that are there.
    Present,
    /// Zero; what is there may be anything.
    Zero,
}

/// One tile: `(kc, a, b, c, stride, start)`.
type TileFn<F> = fn(usize, &[F], &[F], &mut [F], usize, Start);

/// The register tiles of a matrix product for one instruction set: one function for each number of rows.
///
/// Vectors lie along the columns, so that a tile of R rows and 2 vectors holds 2 R accumulators; with a number for each R
/// the rows of a matrix are shared out evenly and none is wasted.
#[derive(Clone, Copy, Debug)]
pub struct Tiles<F: 'static> {
    /// The instruction set.
    pub name: &'static str,
    /// Columns of a packed panel.
    pub cols: usize,
    whole: &'static [TileFn<F>],
    half: &'static [TileFn<F>],
}

impl<F: super::Scalar> Tiles<F> {
    /// The most rows of a tile.
    pub fn rows(&self) -> usize {
        self.whole.len()
    }
    /// The number of rows, at most [`Tiles::rows`], that shares `m` rows out most evenly, blocks of 8 first, which are
    /// packed fastest; 0 for none.
    pub fn even_rows(&self, m: usize) -> usize {
        if self.rows() >= 8 && m > 0 && m.is_multiple_of(8) {
            return 8;
        }
        m.div_ceil(m.div_ceil(self.rows()).max(1))
    }
    /// The columns that [`Tiles::run`] writes when `n` of them matter: all, or half.
    pub fn width(&self, n: usize) -> usize {
        if 2 * n <= self.cols { self.cols / 2 } else { self.cols }
    }
    /// c = start + a [kc, rows]^T b [kc, cols] in rows of c that are `stride` apart.
    ///
    /// Writes [`Tiles::width`] columns of the `n` that matter.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "a product and its sizes")]
    pub fn run(&self, rows: usize, n: usize, kc: usize, a: &[F], b: &[F], c: &mut [F], stride: usize, start: Start) {
        let tiles = if 2 * n <= self.cols { self.half } else { self.whole };
        tiles[rows - 1](kc, a, b, c, stride, start);
    }
}

/// A register tile in plain Rust.
fn tile_portable<F: super::Scalar, const R: usize, const W: usize, const COLS: usize>(
    kc: usize,
    a: &[F],
    b: &[F],
    c: &mut [F],
    stride: usize,
    start: Start,
) {
    let mut tile = [[F::ZERO; W]; R];
    for (a, b) in a[..kc * R].chunks_exact(R).zip(b[..kc * COLS].chunks_exact(COLS)) {
        for (row, &a) in tile.iter_mut().zip(a) {
            for (t, &b) in row.iter_mut().zip(&b[..W]) {
                *t = a.fused_or_not(b, *t);
            }
        }
    }
    for (r, row) in tile.iter().enumerate() {
        let c = &mut c[r * stride..r * stride + W];
        match start {
            Start::Present => c.iter_mut().zip(row).for_each(|(c, &t)| *c += t),
            Start::Zero => c.copy_from_slice(row),
        }
    }
}

macro_rules! portable {
    ($name:ident, $t:ty, $cols:literal, $half:literal) => {
        /// The tiles in plain Rust.
        pub static $name: Tiles<$t> = Tiles {
            name: "portable",
            cols: $cols,
    whole: portable!(@list $t, $cols, $cols),
    half: portable!(@list $t, $half, $cols),
        };
    };
    (@list $t:ty, $width:literal, $cols:literal) => {
        &[
            tile_portable::<$t, 1, $width, $cols>,
            tile_portable::<$t, 2, $width, $cols>,
            tile_portable::<$t, 3, $width, $cols>,
            tile_portable::<$t, 4, $width, $cols>,
            tile_portable::<$t, 5, $width, $cols>,
            tile_portable::<$t, 6, $width, $cols>,
        ]
    };
}
portable!(PORTABLE_F32, f32, 16, 8);
portable!(PORTABLE_F64, f64, 8, 4);

macro_rules! choose {
    ($all:ident, $best:ident, $t:ty, $portable:ident, $avx2:ident, $avx512:ident, $neon:ident) => {
        /// The tiles that run on this machine, the best one first.
        pub fn $all() -> impl Iterator<Item = &'static Tiles<$t>> {
            #[cfg(target_arch = "x86_64")]
            let native = [has_avx512().then_some(&x86_64::$avx512), has_avx2().then_some(&x86_64::$avx2)];
            #[cfg(target_arch = "aarch64")]
            let native = [has_neon().then_some(&aarch64::$neon)];
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            let native: [Option<&'static Tiles<$t>>; 0] = [];
            native.into_iter().flatten().chain([&$portable])
        }
        /// The best tiles that run on this machine.
        pub fn $best() -> &'static Tiles<$t> {
            static BEST: std::sync::OnceLock<&'static Tiles<$t>> = std::sync::OnceLock::new();
            BEST.get_or_init(|| $all().next().expect("plain Rust runs everywhere"))
        }
    };
}
choose!(all_tiles_f32, tiles_f32, f32, PORTABLE_F32, AVX2_F32, AVX512_F32, NEON_F32);
choose!(all_tiles_f64, tiles_f64, f64, PORTABLE_F64, AVX2_F64, AVX512_F64, NEON_F64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Scalar;
    use crate::kernels::testing::{assert_close, values};

    fn check<F: Scalar>(tiles: &Tiles<F>, tol: f64) {
        let cols = tiles.cols;
        for rows in 1..=tiles.rows() {
            for kc in [0, 1, 2, 3, 7, 64, 257] {
                let (a, b) = (values::<F>(1, kc * rows), values::<F>(2, kc * cols));
                for n in [cols, cols / 2] {
                    let stride = cols + 3;
                    let before = values::<F>(3, rows * stride);
                    for start in [Start::Present, Start::Zero] {
                        let mut c = before.clone();
                        if start == Start::Zero {
                            c.iter_mut().enumerate().filter(|(i, _)| i % stride < n).for_each(|(_, c)| *c = F::NAN);
                        }
                        let mut expected: Vec<f64> = before.iter().map(|x| x.to_f64()).collect();
                        for r in 0..rows {
                            for j in 0..n {
                                let at = r * stride + j;
                                let sum: f64 =
                                    (0..kc).map(|k| a[k * rows + r].to_f64() * b[k * cols + j].to_f64()).sum();
                                expected[at] = sum
                                    + match start {
                                        Start::Present => before[at].to_f64(),
                                        Start::Zero => 0.0,
                                    };
                            }
                        }
                        tiles.run(rows, n, kc, &a, &b, &mut c, stride, start);
                        assert_close(&c, &expected, tol, &format!("{} {rows}x{n}x{kc} {start:?}", tiles.name));
                    }
                }
            }
        }
    }

    #[test]
    fn tiles_agree_with_the_plain_loop() {
        all_tiles_f32().for_each(|tiles| check(tiles, 2e-5));
        all_tiles_f64().for_each(|tiles| check(tiles, 1e-13));
    }

    #[test]
    fn transposition_agrees_with_the_plain_loop() {
        for (n, len) in (1..20).flat_map(|n| (1..20).map(move |len| (n, len))) {
            let (stride, width) = (len + n % 3, n + len % 2);
            let lines = values::<f32>(1, n * stride);
            let before = values::<f32>(2, len * width);
            let (mut out, mut expected) = (before.clone(), before);
            transpose_f32(&lines, stride, n, len, width, &mut out);
            transpose_part(&lines, stride, 0..n, 0..len, width, &mut expected);
            assert_eq!(out, expected, "{n} lines of {len}");
        }
    }

    #[test]
    fn rows_are_shared_out_evenly() {
        let tiles = all_tiles_f32().last().expect("plain Rust runs everywhere");
        assert_eq!([0, 1, 6, 7, 13, 64].map(|m| tiles.even_rows(m)), [0, 1, 6, 4, 5, 6]);
    }
}
