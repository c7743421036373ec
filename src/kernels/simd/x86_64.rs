//! AVX2 with FMA, and AVX-512: the entry into code compiled for them, and the register tiles of the matrix product.
//!
//! Every function here may be called only after [`super::has_avx2`] or [`super::has_avx512`] said yes. Source of the tile
//! shapes: Goto & van de Geijn 2008. With AVX2, 6 x 2 accumulators fill 12 of 16 registers; with AVX-512, 14 x 2 fill 28
//! of 32. Either has more accumulators in flight than the multiply-add's latency times its throughput (8).
#![allow(unsafe_code)]

use super::Tiles;

/// Runs `f` compiled for AVX2 and FMA.
#[inline(always)]
pub(super) fn with_avx2<R>(f: impl FnOnce() -> R) -> R {
    #[target_feature(enable = "avx2,fma")]
    fn compiled<R>(f: impl FnOnce() -> R) -> R {
        f()
    }
    debug_assert!(super::has_avx2());
    // SAFETY: the caller, `super::dispatch`, has checked that the processor has both features.
    unsafe { compiled(f) }
}

/// Runs `f` compiled for AVX-512.
#[inline(always)]
pub(super) fn with_avx512<R>(f: impl FnOnce() -> R) -> R {
    #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512dq,avx512bw")]
    fn compiled<R>(f: impl FnOnce() -> R) -> R {
        f()
    }
    debug_assert!(super::has_avx512());
    // SAFETY: the caller, `super::dispatch_wide`, has checked that the processor has the features.
    unsafe { compiled(f) }
}

/// See [`super::transpose_f32`]; at least 8 lines and 8 elements. Blocks of 8 x 8 go through registers; the last ones reach
/// back over those before when sizes are no multiples of 8.
pub(super) fn transpose_f32(lines: &[f32], stride: usize, n: usize, len: usize, width: usize, out: &mut [f32]) {
    use std::arch::x86_64::*;
    #[target_feature(enable = "avx2")]
    fn compiled(lines: &[f32], stride: usize, n: usize, len: usize, width: usize, out: &mut [f32]) {
        assert!(n >= 8 && len >= 8);
        assert!(n <= width && lines.len() >= (n - 1) * stride + len && out.len() >= (len - 1) * width + n);
        for i in (0..n).step_by(8).map(|i| i.min(n - 8)) {
            for t in (0..len).step_by(8).map(|t| t.min(len - 8)) {
                // SAFETY: rows i..i + 8 hold elements t..t + 8 of `lines`, which has (n - 1) stride + len of them.
                let r: [__m256; 8] =
                    std::array::from_fn(|k| unsafe { _mm256_loadu_ps(lines.as_ptr().add((i + k) * stride + t)) });
                let pairs: [__m256; 8] = std::array::from_fn(|k| {
                    let (a, b) = (r[k / 2 * 2], r[k / 2 * 2 + 1]);
                    if k % 2 == 0 { _mm256_unpacklo_ps(a, b) } else { _mm256_unpackhi_ps(a, b) }
                });
                // pairs[2q], pairs[2q + 1]: rows 2q and 2q + 1, low and high halves of each group of four.
                let quads: [__m256; 8] = std::array::from_fn(|k| {
                    let (half, which) = (k / 4 * 4, k % 4);
                    let (a, b) = (pairs[half + which / 2], pairs[half + 2 + which / 2]);
                    if which % 2 == 0 { _mm256_shuffle_ps::<0x44>(a, b) } else { _mm256_shuffle_ps::<0xee>(a, b) }
                });
                for k in 0..8 {
                    let (a, b) = (quads[k % 4], quads[4 + k % 4]);
                    let column =
                        if k < 4 { _mm256_permute2f128_ps::<0x20>(a, b) } else { _mm256_permute2f128_ps::<0x31>(a, b) };
                    // SAFETY: column t + k < len has elements i..i + 8 <= n of `out`.
                    unsafe { _mm256_storeu_ps(out.as_mut_ptr().add((t + k) * width + i), column) };
                }
            }
        }
    }
    // SAFETY: the caller has checked that the processor has the feature.
    unsafe { compiled(lines, stride, n, len, width, out) }
}

macro_rules! tiles {
    (
        $name:ident, $module:ident, $label:literal, $features:literal, $t:ty, lanes $lanes:literal, rows [$($rows:literal)*],
        $load:ident, $store:ident, $splat:ident, $zero:ident, $fma:ident, $add:ident
    ) => {
        mod $module {
            use super::super::{Start, TileFn};
            use std::arch::x86_64::*;

            const LANES: usize = $lanes;
            const COLS: usize = 2 * LANES;

            /// A tile of R rows and V vectors.
            #[target_feature(enable = $features)]
            fn compiled<const R: usize, const V: usize>(
                kc: usize,
                a: &[$t],
                b: &[$t],
                c: &mut [$t],
                stride: usize,
                start: Start,
            ) {
                assert!(a.len() >= kc * R && b.len() >= kc * COLS && c.len() >= (R - 1) * stride + V * LANES);
                let mut tile = [[$zero(); V]; R];
                let (mut pa, mut pb) = (a.as_ptr(), b.as_ptr());
                for _ in 0..kc {
                    // SAFETY: step k reads a[R k..R (k+1)] and b[COLS k..COLS k + V LANES], inside the lengths asserted
                    // above; the pointers end one past the last row of a panel at most.
                    unsafe {
                        let mut row = [$zero(); V];
                        for v in 0..V {
                            row[v] = $load(pb.add(v * LANES));
                        }
                        for r in 0..R {
                            let a = $splat(*pa.add(r));
                            for v in 0..V {
                                tile[r][v] = $fma(a, row[v], tile[r][v]);
                            }
                        }
                        pa = pa.add(R);
                        pb = pb.add(COLS);
                    }
                }
                for (r, tile) in tile.iter().enumerate() {
                    for (v, &sum) in tile.iter().enumerate() {
                        // SAFETY: row r is c[r stride..r stride + V LANES], inside the length asserted above.
                        unsafe {
                            let c = c.as_mut_ptr().add(r * stride + v * LANES);
                            let sum = match start {
                                Start::Present => $add($load(c), sum),
                                Start::Zero => sum,
                            };
                            $store(c, sum);
                        }
                    }
                }
            }

            /// The safe entry: the table that holds it is handed out after the processor was asked.
            fn tile<const R: usize, const V: usize>(
                kc: usize,
                a: &[$t],
                b: &[$t],
                c: &mut [$t],
                stride: usize,
                start: Start,
            ) {
                // SAFETY: `super::super` gives this table out only where the processor has the features.
                unsafe { compiled::<R, V>(kc, a, b, c, stride, start) }
            }

            pub(super) static WHOLE: &[TileFn<$t>] = &[$(tile::<$rows, 2>),*];
            pub(super) static HALF: &[TileFn<$t>] = &[$(tile::<$rows, 1>),*];
        }

        pub(super) static $name: Tiles<$t> =
            Tiles { name: $label, cols: 2 * $lanes, whole: $module::WHOLE, half: $module::HALF };
    };
}

tiles!(
    AVX2_F32, avx2_f32, "avx2", "avx2,fma", f32, lanes 8, rows [1 2 3 4 5 6],
    _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_fmadd_ps, _mm256_add_ps
);
tiles!(
    AVX2_F64, avx2_f64, "avx2", "avx2,fma", f64, lanes 4, rows [1 2 3 4 5 6],
    _mm256_loadu_pd, _mm256_storeu_pd, _mm256_set1_pd, _mm256_setzero_pd, _mm256_fmadd_pd, _mm256_add_pd
);
tiles!(
    AVX512_F32, avx512_f32, "avx512", "avx512f", f32, lanes 16, rows [1 2 3 4 5 6 7 8 9 10 11 12 13 14],
    _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_fmadd_ps, _mm512_add_ps
);
tiles!(
    AVX512_F64, avx512_f64, "avx512", "avx512f", f64, lanes 8, rows [1 2 3 4 5 6 7 8 9 10 11 12 13 14],
    _mm512_loadu_pd, _mm512_storeu_pd, _mm512_set1_pd, _mm512_setzero_pd, _mm512_fmadd_pd, _mm512_add_pd
);
