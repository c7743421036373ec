//! NEON: the register tiles of the matrix product, transpositions, and words for the tiles in lanes.
//!
//! Every function here may be called only after [`super::has_neon`] said yes. A tile of 6 x 4 vectors has 24 accumulators, 4
//! vectors of B and what it takes of A in 32 registers: enough in flight for four pipes with a latency of 4. Four vectors a row,
//! 64 bytes, are also what packing copies at once. Numbers of A are multiplied where they lie in their vector, by lane: 24
//! multiply-adds need no more than 4 loads of B and 2 or 3 of A, and no instruction that repeats a number.
#![allow(unsafe_code)]

use super::Tiles;

/// The words of `lanes.rs` for vectors of four singles.
pub(super) mod vectors {
    pub(in super::super) use std::arch::aarch64::*;

    /// Zeros.
    #[target_feature(enable = "neon")]
    #[inline]
    pub(in super::super) fn zero() -> float32x4_t {
        vdupq_n_f32(0.0)
    }

    /// a b + sum.
    #[target_feature(enable = "neon")]
    #[inline]
    pub(in super::super) fn fma(a: float32x4_t, b: float32x4_t, sum: float32x4_t) -> float32x4_t {
        vfmaq_f32(sum, a, b)
    }

    /// The bits of three vectors, exclusively or.
    #[target_feature(enable = "neon")]
    #[inline]
    pub(in super::super) fn xor3(x: float32x4_t, y: float32x4_t, z: float32x4_t) -> float32x4_t {
        let bits = vreinterpretq_u32_f32;
        vreinterpretq_f32_u32(veorq_u32(bits(x), veorq_u32(bits(y), bits(z))))
    }
}

/// See [`super::transpose_f32`]; at least 4 lines and 4 elements. Blocks of 4 x 4 go through registers; the last ones reach
/// back over those before when sizes are no multiples of 4.
pub(super) fn transpose_f32(lines: &[f32], stride: usize, n: usize, len: usize, width: usize, out: &mut [f32]) {
    use std::arch::aarch64::*;
    #[target_feature(enable = "neon")]
    fn compiled(lines: &[f32], stride: usize, n: usize, len: usize, width: usize, out: &mut [f32]) {
        assert!(n >= 4 && len >= 4);
        assert!(n <= width && lines.len() >= (n - 1) * stride + len && out.len() >= (len - 1) * width + n);
        let pair = |a: float32x4_t, b: float32x4_t| {
            (vreinterpretq_f64_f32(vtrn1q_f32(a, b)), vreinterpretq_f64_f32(vtrn2q_f32(a, b)))
        };
        for i in (0..n).step_by(4).map(|i| i.min(n - 4)) {
            for t in (0..len).step_by(4).map(|t| t.min(len - 4)) {
                // SAFETY: rows i..i + 4 hold elements t..t + 4 of `lines`, which has (n - 1) stride + len of them.
                let r: [float32x4_t; 4] =
                    std::array::from_fn(|k| unsafe { vld1q_f32(lines.as_ptr().add((i + k) * stride + t)) });
                // Even and odd elements of two rows each.
                let ((even, odd), (even2, odd2)) = (pair(r[0], r[1]), pair(r[2], r[3]));
                let columns =
                    [vtrn1q_f64(even, even2), vtrn1q_f64(odd, odd2), vtrn2q_f64(even, even2), vtrn2q_f64(odd, odd2)];
                for (k, column) in columns.into_iter().enumerate() {
                    // SAFETY: column t + k < len has elements i..i + 4 <= n of `out`.
                    unsafe { vst1q_f32(out.as_mut_ptr().add((t + k) * width + i), vreinterpretq_f32_f64(column)) };
                }
            }
        }
    }
    // SAFETY: the caller has checked that the processor has the feature.
    unsafe { compiled(lines, stride, n, len, width, out) }
}

macro_rules! tiles {
    (
        $name:ident, $module:ident, $t:ty, lanes $lanes:literal, rows [$($rows:literal)*],
        $load:ident, $store:ident, $splat:ident, $add:ident, $fma_number:ident, $fma_lane:ident [$($lane:literal)*]
    ) => {
        mod $module {
            use super::super::{Start, TileFn};
            use std::arch::aarch64::*;

            const LANES: usize = $lanes;
            /// Vectors of a row.
            const VECTORS: usize = 4;
            const COLS: usize = VECTORS * LANES;

            /// A tile of R rows and V vectors.
            #[target_feature(enable = "neon")]
            fn compiled<const R: usize, const V: usize>(
                kc: usize,
                a: &[$t],
                b: &[$t],
                c: &mut [$t],
                stride: usize,
                start: Start,
            ) {
                assert!(a.len() >= kc * R && b.len() >= kc * COLS && c.len() >= (R - 1) * stride + V * LANES);
                let mut tile = [[$splat(0.0); V]; R];
                let (mut pa, mut pb) = (a.as_ptr(), b.as_ptr());
                for _ in 0..kc {
                    // SAFETY: step k reads a[R k..R (k+1)] and b[COLS k..COLS k + V LANES], inside the lengths asserted
                    // above; the pointers end one past the last row of a panel at most.
                    unsafe {
                        let mut row = [$splat(0.0); V];
                        for v in 0..V {
                            row[v] = $load(pb.add(v * LANES));
                        }
                        for whole in 0..R / LANES {
                            let a = $load(pa.add(whole * LANES));
                            $(
                                let sums = &mut tile[whole * LANES + $lane];
                                for v in 0..V {
                                    sums[v] = $fma_lane::<$lane>(sums[v], row[v], a);
                                }
                            )*
                        }
                        for r in R / LANES * LANES..R {
                            let a = *pa.add(r);
                            for v in 0..V {
                                tile[r][v] = $fma_number(tile[r][v], row[v], a);
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
                // SAFETY: `super::super` gives this table out only where the processor has the feature.
                unsafe { compiled::<R, V>(kc, a, b, c, stride, start) }
            }

            pub(super) static WHOLE: &[TileFn<$t>] = &[$(tile::<$rows, VECTORS>),*];
            pub(super) static HALF: &[TileFn<$t>] = &[$(tile::<$rows, { VECTORS / 2 }>),*];
        }

        pub(super) static $name: Tiles<$t> =
            Tiles { name: "neon", cols: 4 * $lanes, whole: $module::WHOLE, half: $module::HALF };
    };
}

tiles!(
    NEON_F32, neon_f32, f32, lanes 4, rows [1 2 3 4 5 6],
    vld1q_f32, vst1q_f32, vdupq_n_f32, vaddq_f32, vfmaq_n_f32, vfmaq_laneq_f32 [0 1 2 3]
);
tiles!(
    NEON_F64, neon_f64, f64, lanes 2, rows [1 2 3 4 5 6],
    vld1q_f64, vst1q_f64, vdupq_n_f64, vaddq_f64, vfmaq_n_f64, vfmaq_laneq_f64 [0 1]
);
