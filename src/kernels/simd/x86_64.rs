//! AVX2 and FMA: the entry into code compiled for them, and the register tiles of the matrix product.
//!
//! Every function here may be called only after [`super::has_avx2`] said yes; the safe wrappers check that in debug
//! builds. Source of the tile shapes: Goto & van de Geijn 2008 (6 x 16 singles fill 12 of 16 registers).
#![allow(unsafe_code)]

use std::arch::x86_64::*;

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

macro_rules! microkernel {
    ($name:ident, $t:ty, $nr:literal, $lanes:literal, $load:ident, $store:ident, $splat:ident, $zero:ident, $fma:ident, $add:ident) => {
        /// acc [6, NR] += a [kc, 6]^T b [kc, NR], in registers.
        #[inline(always)]
        pub(super) fn $name(kc: usize, a: &[$t], b: &[$t], acc: &mut [$t]) {
            #[target_feature(enable = "avx2,fma")]
            fn compiled(kc: usize, a: &[$t], b: &[$t], acc: &mut [$t]) {
                assert!(a.len() >= kc * 6 && b.len() >= kc * $nr && acc.len() >= 6 * $nr);
                let mut tile = [[$zero(); 2]; 6];
                let (mut pa, mut pb) = (a.as_ptr(), b.as_ptr());
                for _ in 0..kc {
                    // SAFETY: step k reads a[6k..6k+6] and b[NR k..NR (k+1)], inside the lengths asserted above; the
                    // pointers end one past the last panel column at most.
                    unsafe {
                        let b0 = $load(pb);
                        let b1 = $load(pb.add($lanes));
                        for (i, row) in tile.iter_mut().enumerate() {
                            let a = $splat(*pa.add(i));
                            row[0] = $fma(a, b0, row[0]);
                            row[1] = $fma(a, b1, row[1]);
                        }
                        pa = pa.add(6);
                        pb = pb.add($nr);
                    }
                }
                for (i, row) in tile.iter().enumerate() {
                    // SAFETY: row i is acc[NR i..NR (i+1)], inside the length asserted above.
                    unsafe {
                        let c = acc.as_mut_ptr().add(i * $nr);
                        $store(c, $add($load(c), row[0]));
                        $store(c.add($lanes), $add($load(c.add($lanes)), row[1]));
                    }
                }
            }
            debug_assert!(super::has_avx2());
            // SAFETY: the caller has checked that the processor has both features.
            unsafe { compiled(kc, a, b, acc) }
        }
    };
}

microkernel!(
    microkernel_f32,
    f32,
    16,
    8,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_set1_ps,
    _mm256_setzero_ps,
    _mm256_fmadd_ps,
    _mm256_add_ps
);
microkernel!(
    microkernel_f64,
    f64,
    8,
    4,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_set1_pd,
    _mm256_setzero_pd,
    _mm256_fmadd_pd,
    _mm256_add_pd
);
