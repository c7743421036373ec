//! Fused multiply-adds in registers, as fast as the machine does them: what other loops are measured against.
//!
//! Twelve independent sums hide the latency of two units (latency 4 each on today's processors) and fit, with their two
//! constants, into 16 registers. AArch64 has 32, and processors with four units.
#![allow(unsafe_code)]

use std::hint::black_box;

/// Sums that grow side by side.
const SUMS: usize = if cfg!(target_arch = "aarch64") { 24 } else { 12 };

macro_rules! intrinsics {
    ($name:ident, $arch:ident $target:literal, $features:literal, $t:ty, $lanes:literal, $splat:ident, |$sum:ident, $factor:ident, $term:ident| $fma:expr, $store:ident) => {
        #[cfg(target_arch = $target)]
        fn $name(rounds: usize) -> (f64, f64) {
            use std::arch::$arch::*;
            #[target_feature(enable = $features)]
            fn compiled(rounds: usize) -> f64 {
                let ($factor, $term) = ($splat(black_box(0.999)), $splat(black_box(0.001)));
                let mut sums = [$splat(black_box(0.5)); SUMS];
                for _ in 0..rounds {
                    for sum in &mut sums {
                        let $sum = *sum;
                        *sum = $fma;
                    }
                }
                let mut total = 0.0;
                for sum in sums {
                    let mut lanes: [$t; $lanes] = [0.0; $lanes];
                    // SAFETY: the array has as many elements as the register.
                    unsafe { $store(lanes.as_mut_ptr(), sum) };
                    total += lanes.iter().map(|&x| f64::from(x)).sum::<f64>();
                }
                total
            }
            // SAFETY: the callers below have asked whether the processor has these features.
            (unsafe { compiled(rounds) }, (2 * SUMS * $lanes * rounds) as f64)
        }
    };
}
macro_rules! x86_64 {
    ($name:ident, $features:literal, $t:ty, $lanes:literal, $splat:ident, $fma:ident, $store:ident) => {
        intrinsics!($name, x86_64 "x86_64", $features, $t, $lanes, $splat, |s, f, t| $fma(s, f, t), $store);
    };
}
x86_64!(avx512_f32, "avx512f", f32, 16, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_storeu_ps);
x86_64!(avx512_f64, "avx512f", f64, 8, _mm512_set1_pd, _mm512_fmadd_pd, _mm512_storeu_pd);
x86_64!(avx2_f32, "avx2,fma", f32, 8, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps);
x86_64!(avx2_f64, "avx2,fma", f64, 4, _mm256_set1_pd, _mm256_fmadd_pd, _mm256_storeu_pd);
// These overwrite the term that they add to: a sum that grows needs no other instruction.
intrinsics!(neon_f32, aarch64 "aarch64", "neon", f32, 4, vdupq_n_f32, |s, f, t| vfmaq_f32(s, f, t), vst1q_f32);
intrinsics!(neon_f64, aarch64 "aarch64", "neon", f64, 2, vdupq_n_f64, |s, f, t| vfmaq_f64(s, f, t), vst1q_f64);

/// As the compiler makes it for the base instruction set; without fused multiply-adds there the two are apart.
fn portable<F: super::super::Scalar, const LANES: usize>(rounds: usize) -> (f64, f64) {
    let (factor, term) = (F::from_f64(black_box(0.999)), F::from_f64(black_box(0.001)));
    let mut sums = [[F::from_f64(black_box(0.5)); LANES]; SUMS];
    for _ in 0..rounds {
        for sum in sums.as_flattened_mut() {
            *sum = *sum * factor + term;
        }
    }
    (sums.as_flattened().iter().map(|x| x.to_f64()).sum(), (2 * SUMS * LANES * rounds) as f64)
}

/// `rounds` rounds of multiply-adds in single precision: a sum that depends on all of them, and their number of
/// operations, a multiply-add counted as two.
pub fn rounds_f32(rounds: usize) -> (f64, f64) {
    #[cfg(target_arch = "x86_64")]
    if super::has_avx512() {
        return avx512_f32(rounds);
    } else if super::has_avx2() {
        return avx2_f32(rounds);
    }
    #[cfg(target_arch = "aarch64")]
    if super::has_neon() {
        return neon_f32(rounds);
    }
    portable::<f32, 4>(rounds)
}

/// As [`rounds_f32`] in double precision.
pub fn rounds_f64(rounds: usize) -> (f64, f64) {
    #[cfg(target_arch = "x86_64")]
    if super::has_avx512() {
        return avx512_f64(rounds);
    } else if super::has_avx2() {
        return avx2_f64(rounds);
    }
    #[cfg(target_arch = "aarch64")]
    if super::has_neon() {
        return neon_f64(rounds);
    }
    portable::<f64, 2>(rounds)
}

#[cfg(test)]
mod tests {
    use super::super::has_neon;
    use super::*;

    #[test]
    fn all_rounds_are_done() {
        for rounds in [1, 7, 1000] {
            let mut one = 0.5;
            (0..rounds).for_each(|_| one = one * 0.999 + 0.001);
            let native = if has_neon() { 0.5 + rounds as f64 * 0.999 * 0.001 } else { one };
            for ((sum, operations), expected) in [
                (rounds_f32(rounds), native),
                (rounds_f64(rounds), native),
                (portable::<f32, 4>(rounds), one),
                (portable::<f64, 2>(rounds), one),
            ] {
                let sums = operations / (2 * rounds) as f64;
                assert!((sum / sums - expected).abs() < 1e-4, "{rounds} rounds give {sum} over {sums} sums");
            }
        }
    }
}
