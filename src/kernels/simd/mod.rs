//! The one place that asks which vector instructions this machine has.
//!
//! A loop is written once, in plain Rust, and handed to [`dispatch`] as a closure marked `#[inline(always)]`; it is
//! compiled twice, for the base instruction set and for AVX2 with fused multiply-add, and the better one runs. Only
//! the register tiles of the matrix product are written with intrinsics.
#[cfg(target_arch = "x86_64")]
mod x86_64;

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

/// Runs `f`, compiled for the best instruction set present. Mark the closure `#[inline(always)]`.
#[inline(always)]
pub fn dispatch<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        return x86_64::with_avx2(f);
    }
    f()
}

/// acc [6, 16] += a [kc, 6]^T b [kc, 16].
#[inline(always)]
pub fn microkernel_f32(kc: usize, a: &[f32], b: &[f32], acc: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        return x86_64::microkernel_f32(kc, a, b, acc);
    }
    microkernel_portable::<f32, 6, 16>(kc, a, b, acc);
}

/// acc [6, 8] += a [kc, 6]^T b [kc, 8].
#[inline(always)]
pub fn microkernel_f64(kc: usize, a: &[f64], b: &[f64], acc: &mut [f64]) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        return x86_64::microkernel_f64(kc, a, b, acc);
    }
    microkernel_portable::<f64, 6, 8>(kc, a, b, acc);
}

/// The register tile in plain Rust: acc [MR, NR] += a [kc, MR]^T b [kc, NR].
pub fn microkernel_portable<F: super::Scalar, const MR: usize, const NR: usize>(
    kc: usize,
    a: &[F],
    b: &[F],
    acc: &mut [F],
) {
    let mut tile = [[F::ZERO; NR]; MR];
    for (a, b) in a[..kc * MR].chunks_exact(MR).zip(b[..kc * NR].chunks_exact(NR)) {
        for (row, &a) in tile.iter_mut().zip(a) {
            for (t, &b) in row.iter_mut().zip(b) {
                *t = a.mul_add(b, *t);
            }
        }
    }
    for (acc, row) in acc[..MR * NR].chunks_exact_mut(NR).zip(&tile) {
        for (c, &t) in acc.iter_mut().zip(row) {
            *c += t;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::values;

    #[test]
    fn tiles_agree_with_the_portable_loop() {
        for kc in [0, 1, 2, 3, 7, 64, 257] {
            let (a, b) = (values::<f32>(1, kc * 6), values::<f32>(2, kc * 16));
            let (mut fast, mut slow) = (values::<f32>(3, 96), values::<f32>(3, 96));
            microkernel_f32(kc, &a, &b, &mut fast);
            microkernel_portable::<f32, 6, 16>(kc, &a, &b, &mut slow);
            assert_eq!(fast, slow);
            let (a, b) = (values::<f64>(1, kc * 6), values::<f64>(2, kc * 8));
            let (mut fast, mut slow) = (values::<f64>(3, 48), values::<f64>(3, 48));
            microkernel_f64(kc, &a, &b, &mut fast);
            microkernel_portable::<f64, 6, 8>(kc, &a, &b, &mut slow);
            assert_eq!(fast, slow);
        }
    }
}
