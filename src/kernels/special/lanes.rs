//! The gamma and normal families without branches: loops over these functions become vector code.
//!
//! Accuracy is relative unless said otherwise, measured against 40-digit references over each range (`tests.rs`); the
//! functions beside them in this folder take all real arguments where these take positive ones.

use super::gamma::{DIGAMMA, STIRLING, TRIGAMMA};
use crate::kernels::math::double;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// (1 - euler), then (-1)^k (zeta(k) - 1) / k.
const ZETA: [f64; 27] = [
    0.422_784_335_098_467_13,
    0.322_467_033_424_113_2,
    -0.067_352_301_053_198_1,
    0.020_580_808_427_784_546,
    -0.007_385_551_028_673_986,
    0.002_890_510_330_741_523_4,
    -0.001_192_753_911_703_261,
    0.000_509_669_524_743_042_5,
    -0.000_223_154_758_453_579_39,
    9.945_751_278_180_853e-5,
    -4.492_623_673_813_314e-5,
    2.050_721_277_567_069e-5,
    -9.439_488_275_268_397e-6,
    4.374_866_789_907_488e-6,
    -2.039_215_753_801_366e-6,
    9.551_412_130_407_42e-7,
    -4.492_469_198_764_566e-7,
    2.120_718_480_555_466_5e-7,
    -1.004_322_482_396_809_9e-7,
    4.769_810_169_363_980_4e-8,
    -2.271_109_460_894_316_4e-8,
    1.083_865_921_489_695_5e-8,
    -5.183_475_041_970_047e-9,
    2.483_674_543_802_478_5e-9,
    -1.192_140_140_586_091_2e-9,
    5.731_367_241_678_862e-10,
    -2.759_522_885_124_233_4e-10,
];
/// (1 + 2 x) e^(x^2) erfc(x) in powers of u = (x - 4) / (x + 4), a Chebyshev interpolant.
const TAIL: [f64; 25] = [
    1.232_995_118_625_552_6,
    -0.139_621_116_840_562_3,
    0.015_379_652_102_619_604,
    0.068_097_054_254_669_08,
    -0.101_039_066_036_300_56,
    0.093_732_834_999_094_4,
    -0.066_330_365_812_186_99,
    0.037_167_515_526_555_68,
    -0.016_197_734_059_799_237,
    0.005_031_970_067_657_426,
    -0.000_757_773_261_373_282_1,
    -0.000_199_257_146_610_643,
    0.000_150_621_490_013_125_57,
    -2.439_774_642_316_747_3e-5,
    -1.122_128_701_417_248_2e-5,
    5.706_604_416_188_554e-6,
    2.919_733_408_337_992e-7,
    -8.210_939_057_362_325e-7,
    7.746_992_394_450_409e-8,
    1.063_385_572_434_568_9e-7,
    -2.056_064_698_186_216_4e-8,
    -1.234_686_647_216_981_6e-8,
    3.169_587_288_035_797_7e-9,
    9.311_745_729_130_026e-10,
    -2.659_598_141_256_055_5e-10,
];
/// erf(x) / x in powers of x^2 for |x| <= 1, a Chebyshev interpolant.
const ERF: [f64; 13] = [
    FRAC_2_SQRT_PI,
    -0.376_126_389_031_837_5,
    0.112_837_916_709_548_82,
    -0.026_866_170_645_077_334,
    0.005_223_977_624_823_223,
    -0.000_854_832_698_112_966_6,
    0.000_120_553_311_222_992_66,
    -1.492_559_551_950_604_3e-5,
    1.646_100_448_096_203_4e-6,
    -1.635_035_446_195_965_5e-7,
    1.466_005_199_839_484_8e-8,
    -1.137_390_229_643_091_1e-9,
    5.958_930_743_134_941e-11,
];

#[inline(always)]
fn horner<const N: usize>(z: f64, terms: &[f64; N]) -> f64 {
    let mut sum = terms[N - 1];
    let mut i = N - 1;
    while i > 0 {
        i -= 1;
        sum = sum.mul_add(z, terms[i]);
    }
    sum
}

/// As [`horner`], as four polynomials in z^4 side by side: long ones need not wait for each multiplication.
#[inline(always)]
fn interleaved<const N: usize>(z: f64, terms: &[f64; N]) -> f64 {
    let z2 = z * z;
    let z4 = z2 * z2;
    let mut sums = [0.0f64; 4];
    let mut i = N.next_multiple_of(4);
    while i > 0 {
        i -= 4;
        let mut part = 0;
        while part < 4 {
            let term = if i + part < N { terms[i + part] } else { 0.0 };
            sums[part] = sums[part].mul_add(z4, term);
            part += 1;
        }
    }
    sums[3].mul_add(z, sums[2]).mul_add(z2, sums[1].mul_add(z, sums[0]))
}

/// ln Gamma(x), x > 0; 2e-15.
///
/// From 3.5 on Stirling's series, after five steps of the recurrence below 8; below that the Taylor series at 2, which
/// keeps the zeros at 1 and 2. Source: Abramowitz & Stegun 1964, 6.1.33 and 6.1.41.
#[inline(always)]
pub fn lgamma(x: f64) -> f64 {
    let large = x >= 8.0;
    let t = if large { x } else { x + 5.0 };
    let rising = x * (x + 1.0) * (x + 2.0) * (x + 3.0) * (x + 4.0);
    let z = 1.0 / (t * t);
    let ln_sqrt_tau = 0.918_938_533_204_672_7;
    let stirling = (t - 0.5).mul_add(double::ln(t) - 1.0, ln_sqrt_tau - 0.5) + horner(z, &STIRLING) / t;
    // Of the Taylor series: the distance to the nearest of 0 (once more), 1, 2, 3 and the factor that the recurrence gives.
    let centre = if x < 0.5 {
        0.0
    } else if x < 1.5 {
        1.0
    } else if x < 2.5 {
        2.0
    } else {
        3.0
    };
    let d = x - centre;
    let factor = if x < 0.5 {
        x * (x + 1.0)
    } else if x < 1.5 {
        x
    } else if x < 2.5 {
        1.0
    } else {
        x - 1.0
    };
    let far = x >= 3.5;
    let series = d * interleaved(d, &ZETA);
    let factor = if far { if large { 1.0 } else { rising } } else { factor };
    let log = double::ln(factor);
    let log = if !far & (x >= 2.5) { log } else { -log };
    let y = if far { stirling } else { series } + log;
    if x == f64::INFINITY { x } else { y }
}

/// A function of positive arguments where it may be used, that of all arguments elsewhere: the same numbers one by one as
/// side by side.
#[inline(always)]
pub fn anywhere(x: f64, positive: impl Fn(f64) -> f64, all: impl Fn(f64) -> f64) -> f64 {
    if x > 0.0 { positive(x) } else { all(x) }
}

/// p(x), p'(x) and p''(x)/2 of p = x (x + 1) ... (x + 7).
#[inline(always)]
fn rising(x: f64) -> (f64, f64, f64) {
    let (mut p, mut d, mut h) = (x, 1.0, 0.0);
    let mut i = 1;
    while i < 8 {
        let factor = x + f64::from(i);
        h = factor.mul_add(h, d);
        d = factor.mul_add(d, p);
        p *= factor;
        i += 1;
    }
    (p, d, h)
}

/// The logarithmic derivative of Gamma, x > 0; 2e-15, absolute next to its zero.
///
/// Eight steps of the recurrence below 8, then the asymptotic series. Source: Abramowitz & Stegun 1964, 6.3.18.
#[inline(always)]
pub fn digamma(x: f64) -> f64 {
    let large = x >= 8.0;
    let t = if large { x } else { x + 8.0 };
    let (p, d, _) = rising(x);
    let shift = if large { 0.0 } else { d / p };
    let z = 1.0 / (t * t);
    double::ln(t) - 0.5 / t - z * horner(z, &DIGAMMA) - shift
}

/// The second derivative of ln Gamma, x > 0; 4e-15. As [`digamma`]. Source: Abramowitz & Stegun 1964, 6.4.12.
#[inline(always)]
pub fn trigamma(x: f64) -> f64 {
    let large = x >= 8.0;
    let t = if large { x } else { x + 8.0 };
    let (p, d, h) = rising(x);
    let q = d / p;
    // The sum of 1 / (x + i)^2 is the square of the sum of 1 / (x + i) without its mixed products.
    let shift = if large { 0.0 } else { q.mul_add(q, -2.0 * (h / p)) };
    let z = 1.0 / (t * t);
    let y = shift + (1.0 / t + 0.5 * z + z / t * horner(z, &TRIGAMMA));
    // Next to the pole the products of the shift overflow, and nothing else matters.
    if x < 1e-100 { 1.0 / (x * x) } else { y }
}

/// e^(x^2) erfc(x), x >= 0; 1e-15. Source of the variable: Shepherd & Laframboise 1981.
#[inline(always)]
fn scaled_tail(x: f64) -> f64 {
    let u = if x < 1e300 { (x - 4.0) / (x + 4.0) } else { 1.0 };
    interleaved(u, &TAIL) / x.mul_add(2.0, 1.0)
}

/// e^(-scale x^2) with the square in two parts, so that its rounding is not multiplied by x.
#[inline(always)]
fn exp_minus_square(x: f64, scale: f64) -> f64 {
    let high = x * x;
    let low = x.mul_add(x, -high);
    let low = if high < 1e300 { low } else { 0.0 };
    double::exp(-scale * high) * (1.0 - scale * low)
}

/// 1 - erf(x); 1e-15.
#[inline(always)]
pub fn erfc(x: f64) -> f64 {
    let a = x.abs();
    let tail = exp_minus_square(a, 1.0) * scaled_tail(a);
    let y = if x < 0.0 { 2.0 - tail } else { tail };
    if x.is_nan() { x } else { y }
}

/// The error function; 1e-15.
#[inline(always)]
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    let near = a * interleaved(a * a, &ERF);
    let far = 1.0 - exp_minus_square(a, 1.0) * scaled_tail(a);
    let y = if a < 1.0 { near } else { far };
    if x.is_nan() { x } else { y.copysign(x) }
}

/// The standard normal distribution function; 2e-15.
#[inline(always)]
pub fn ndtr(x: f64) -> f64 {
    let a = x.abs();
    let tail = 0.5 * exp_minus_square(a, 0.5) * scaled_tail(a * FRAC_1_SQRT_2);
    let y = if x > 0.0 { 1.0 - tail } else { tail };
    if x.is_nan() { x } else { y }
}

/// The logarithm of [`ndtr`]; 2e-15.
#[inline(always)]
pub fn log_ndtr(x: f64) -> f64 {
    let a = x.abs();
    let scaled = 0.5 * scaled_tail(a * FRAC_1_SQRT_2);
    let tail = exp_minus_square(a, 0.5) * scaled;
    let high = double::ln_1p(if x > 0.0 { -tail } else { tail - 1.0 });
    let low = (-0.5 * x).mul_add(x, double::ln(scaled));
    let y = if x > -1.0 { high } else { low };
    if x.is_nan() { x } else { y }
}

/// x Phi(x); 2e-15.
#[inline(always)]
pub fn gelu(x: f64) -> f64 {
    if x == f64::NEG_INFINITY { 0.0 } else { x * ndtr(x) }
}
