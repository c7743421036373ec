//! Elementary functions written so that a loop over them becomes vector code.
//!
//! Each is a branch-free `#[inline(always)]` function with fused multiply-adds; the loops around them run inside
//! [`super::simd::dispatch`]. Range reduction after Cody & Waite; the exponential is a Taylor polynomial on
//! |r| <= ln(2)/2, the logarithm the series of artanh(f / (2 + f)). Both meet about one unit in the last place over the
//! whole range, subnormal numbers, infinities and NaN included.

macro_rules! elementary {
    (
        $name:ident, $t:ident, $bits:ident, mantissa $mantissa:literal, bias $bias:literal, magic $magic:expr,
        ln2 $ln2_hi:expr, $ln2_lo:expr, ln_split $ln_split_hi:expr, $ln_split_lo:expr,
        exp_limit $exp_limit:literal, tanh_limit $tanh_limit:literal, subnormal_shift $sub_bits:literal,
        exp_terms $exp_terms:expr, log_terms $log_terms:expr, sinpi $sin_terms:expr, cospi $cos_terms:expr, artanh $artanh_terms:expr
    ) => {
        /// The functions for one element type.
        pub mod $name {
            /// Adding this to a small number leaves its nearest integer in the low bits of the mantissa.
            const MAGIC: $t = $magic;
            /// 1/2!, 1/3!, ...: (e^r - 1 - r) / r^2.
            const EXP_TERMS: &[$t] = &$exp_terms;
            /// 2/3, 2/5, ...: (2 artanh(s) - 2 s) / s^3 in powers of s^2.
            const LOG_TERMS: &[$t] = &$log_terms;
            const SIN_TERMS: &[$t] = &$sin_terms;
            const COS_TERMS: &[$t] = &$cos_terms;
            /// (2 artanh(s) - 2 s) / s^3 in powers of s^2 for |s| <= 1/3, a Chebyshev interpolant.
            const ARTANH_TERMS: &[$t] = &$artanh_terms;

            #[inline(always)]
            fn horner(z: $t, terms: &[$t]) -> $t {
                let mut acc = terms[terms.len() - 1];
                let mut i = terms.len() - 1;
                while i > 0 {
                    i -= 1;
                    acc = acc.mul_add(z, terms[i]);
                }
                acc
            }

            /// 2^n for an integral n within the normal exponents.
            #[inline(always)]
            fn pow2(n: $t) -> $t {
                $t::from_bits((n + (MAGIC + $bias as $t)).to_bits() << $mantissa)
            }

            /// (n, e^r - 1, 2^(n/2), 2^(n - n/2)) with x = n ln 2 + r.
            #[inline(always)]
            fn reduce(x: $t) -> ($t, $t, $t, $t) {
                let x = if x > $exp_limit { $exp_limit } else { x };
                let x = if x < -$exp_limit { -$exp_limit } else { x };
                let n = x.mul_add(std::$t::consts::LOG2_E, MAGIC) - MAGIC;
                let r = n.mul_add(-$ln2_hi, x);
                let r = n.mul_add(-$ln2_lo, r);
                let q = (r * r).mul_add(horner(r, EXP_TERMS), r);
                let half = n.mul_add(0.5, MAGIC) - MAGIC;
                (n, q, pow2(half), pow2(n - half))
            }

            /// e^x.
            #[inline(always)]
            pub fn exp(x: $t) -> $t {
                let (_, q, s1, s2) = reduce(x);
                (1.0 + q) * s1 * s2
            }

            /// e^x - 1, accurate next to 0.
            #[inline(always)]
            pub fn expm1(x: $t) -> $t {
                let (n, q, s1, s2) = reduce(x);
                let s = s1 * s2;
                let near = s.mul_add(q, s - 1.0);
                let far = (1.0 + q) * s1 * s2;
                // From there on the 1 is less than a rounding error, and 2^n may overflow.
                let y = if n > ($mantissa + 8) as $t { far } else { near };
                if x == 0.0 { x } else { y }
            }

            /// The natural logarithm; NaN below 0, -inf at 0.
            #[inline(always)]
            pub fn ln(x: $t) -> $t {
                let small = x < $t::MIN_POSITIVE;
                let scaled = if small { x * ((1u64 << $sub_bits) as $t) } else { x };
                let bits = scaled.to_bits();
                let one = (1.0 as $t).to_bits();
                let low = (1 << $mantissa) - 1;
                let m = $t::from_bits((bits & low) | one);
                // The biased exponent as a float: put it into the low mantissa bits of 2^mantissa.
                let two_m = ((1u64 << $mantissa) as $t).to_bits();
                let e = $t::from_bits(((bits >> $mantissa) & ((1 << ($bits::BITS - 1 - $mantissa)) - 1)) | two_m)
                    - ((1u64 << $mantissa) as $t);
                let e = e - ($bias as $t) - if small { $sub_bits as $t } else { 0.0 };
                let above = m > std::$t::consts::SQRT_2;
                let m = if above { 0.5 * m } else { m };
                let k = if above { e + 1.0 } else { e };
                let f = m - 1.0;
                let s = f / (2.0 + f);
                let z = s * s;
                let half_square = 0.5 * f * f;
                let r = z * horner(z, LOG_TERMS);
                let tail = s.mul_add(half_square + r, k * $ln_split_lo);
                let y = k.mul_add($ln_split_hi, f - (half_square - tail));
                let y = if x == 0.0 { $t::NEG_INFINITY } else { y };
                let y = if x < 0.0 { $t::NAN } else { y };
                // Catches NaN as well: it is neither below infinity nor equal to it.
                if x < $t::INFINITY { y } else { x }
            }

            /// ln(1 + x), accurate next to 0.
            #[inline(always)]
            pub fn ln_1p(x: $t) -> $t {
                let u = 1.0 + x;
                let lost = if x > 1.0 { 1.0 - (u - x) } else { x - (u - 1.0) };
                let y = ln(u) + lost / u;
                let y = if u == 0.0 { $t::NEG_INFINITY } else { y };
                // Tiny arguments (and the sign of zero) pass through; so does infinity.
                let y = if x.abs() < 0.25 * $t::EPSILON { x } else { y };
                if x == $t::INFINITY { x } else { y }
            }

            /// The hyperbolic tangent.
            #[inline(always)]
            pub fn tanh(x: $t) -> $t {
                let a = x.abs();
                let a = if a > $tanh_limit { $tanh_limit } else { a };
                let em1 = expm1(2.0 * a);
                let y = em1 / (em1 + 2.0);
                y.copysign(x)
            }

            /// 1 / (1 + e^-x).
            #[inline(always)]
            pub fn sigmoid(x: $t) -> $t {
                let e = exp(-x.abs());
                let top = if x < 0.0 { e } else { 1.0 };
                top / (1.0 + e)
            }

            /// ln(1 + e^x).
            #[inline(always)]
            pub fn softplus(x: $t) -> $t {
                let positive = if x < 0.0 { 0.0 } else { x };
                // ln(1 + e) = 2 artanh(s) with s = e / (2 + e), e at most 1, written such that e is its leading term.
                let e = exp(-x.abs());
                let s = e / (2.0 + e);
                let z = s * s;
                let half_square = 0.5 * e * e;
                positive + (e - s.mul_add(-z.mul_add(horner(z, ARTANH_TERMS), half_square), half_square))
            }

            /// ln sigmoid(x).
            #[inline(always)]
            pub fn log_sigmoid(x: $t) -> $t {
                -softplus(-x)
            }

            /// ln(1 - e^-x) for x > 0; -inf at 0, NaN below.
            #[inline(always)]
            pub fn log1mexp(x: $t) -> $t {
                let near = ln(-expm1(-x));
                let far = ln_1p(-exp(-x));
                let y = if x < std::$t::consts::LN_2 { near } else { far };
                if x < 0.0 { $t::NAN } else { y }
            }

            /// ln(e^x - 1) for x > 0, the inverse of [`softplus`]; -inf at 0, NaN below.
            #[inline(always)]
            pub fn softplus_inv(x: $t) -> $t {
                x + log1mexp(x)
            }

            /// (sin, cos) of 2 pi t for |t| <= 1/2.
            #[inline(always)]
            pub fn sin_cos_turns(t: $t) -> ($t, $t) {
                // t = n/4 + r with |r| <= 1/8; the quadrant n in -2..=2 selects and signs.
                let n = t.mul_add(4.0, MAGIC) - MAGIC;
                let r = n.mul_add(-0.25, t);
                let z = r * r;
                let s = r * horner(z, SIN_TERMS);
                let c = horner(z, COS_TERMS);
                let odd = n.abs() == 1.0;
                let (sin, cos) = if odd { (c, s) } else { (s, c) };
                let sin = if n == -1.0 || n.abs() == 2.0 { -sin } else { sin };
                let cos = if n == 1.0 || n.abs() == 2.0 { -cos } else { cos };
                (sin, cos)
            }
        }
    };
}

elementary!(
    single, f32, u32, mantissa 23, bias 127, magic 12_582_912.0,
    ln2 std::f32::consts::LN_2, -1.904_654_3e-9, ln_split 0.693_359_4, -2.121_944_4e-4,
    exp_limit 150.0, tanh_limit 16.0, subnormal_shift 24,
    exp_terms [1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0],
    log_terms [2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0, 2.0 / 11.0],
    sinpi [std::f32::consts::TAU, -41.341_7, 81.605_25, -76.705_86, 42.058_693],
    cospi [1.0, -19.739_209, 64.939_39, -85.456_82, 60.244_64, -26.426_256],
    artanh [0.666_666_8, 0.399_986_95, 0.286_206_23, 0.213_942_67, 0.244_094_03]
);

elementary!(
    double, f64, u64, mantissa 52, bias 1023, magic 6_755_399_441_055_744.0,
    ln2 std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17, ln_split 0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10,
    exp_limit 1000.0, tanh_limit 40.0, subnormal_shift 54,
    exp_terms [
        1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0, 1.0 / 40_320.0, 1.0 / 362_880.0,
        1.0 / 3_628_800.0, 1.0 / 39_916_800.0, 1.0 / 479_001_600.0, 1.0 / 6_227_020_800.0
    ],
    log_terms [
        2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0, 2.0 / 11.0, 2.0 / 13.0, 2.0 / 15.0, 2.0 / 17.0, 2.0 / 19.0, 2.0 / 21.0
    ],
    sinpi [
        std::f64::consts::TAU, -41.341_702_240_399_76, 81.605_249_276_075_06, -76.705_859_753_061_39,
        42.058_693_944_897_655, -15.094_642_576_822_99, 3.819_952_584_848_282, -0.718_122_301_778_500_6
    ],
    cospi [
        1.0, -19.739_208_802_178_716, 64.939_394_022_668_3, -85.456_817_206_693_73, 60.244_641_371_876_66,
        -26.426_256_783_374_4, 7.903_536_371_318_469, -1.714_390_711_088_672, 0.282_005_968_455_791_23
    ],
    artanh [0.666_666_666_666_666_9, 0.399_999_999_999_927_25, 0.285_714_285_726_429_9, 0.222_222_221_176_552_44, 0.181_818_234_834_794_95, 0.153_844_454_603_250_5, 0.133_369_037_706_083_44, 0.117_149_830_593_561_42, 0.109_785_751_190_691_49, 0.069_729_586_681_007_27, 0.165_004_622_752_030_4]
);

/// Four uniforms in (0, 1), each an odd multiple of 2^-24.
#[inline(always)]
pub(crate) fn uniforms_f32(words: [u32; 4]) -> [f32; 4] {
    words.map(|w| f32::from_bits((w >> 9) | 0x3f80_0000) - 1.0 + 1.0 / 16_777_216.0)
}

/// Two uniforms in (0, 1), each an odd multiple of 2^-53; the last two entries are unused.
#[inline(always)]
pub(crate) fn uniforms_f64(words: [u32; 4]) -> [f64; 4] {
    let unit = |hi: u32, lo: u32| {
        let bits = ((u64::from(hi) << 32) | u64::from(lo)) >> 12;
        f64::from_bits(bits | 0x3ff0_0000_0000_0000) - 1.0 + 1.0 / 9_007_199_254_740_992.0
    };
    [unit(words[0], words[1]), unit(words[2], words[3]), 0.5, 0.5]
}

/// Four normals from one block of words (Box & Muller 1958).
#[inline(always)]
pub(crate) fn normals_f32(words: [u32; 4]) -> [f32; 4] {
    let u = uniforms_f32(words);
    let pair = |a: f32, b: f32| {
        let radius = (-2.0 * single::ln(a)).sqrt();
        let (sin, cos) = single::sin_cos_turns(b - 0.5);
        (radius * cos, radius * sin)
    };
    let (a, b) = pair(u[0], u[1]);
    let (c, d) = pair(u[2], u[3]);
    [a, b, c, d]
}

/// Two normals from one block of words (Box & Muller 1958); the last two entries are unused.
#[inline(always)]
pub(crate) fn normals_f64(words: [u32; 4]) -> [f64; 4] {
    let u = uniforms_f64(words);
    let radius = (-2.0 * double::ln(u[0])).sqrt();
    let (sin, cos) = double::sin_cos_turns(u[1] - 0.5);
    [radius * cos, radius * sin, 0.0, 0.0]
}

#[cfg(test)]
mod tests;
