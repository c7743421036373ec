//! The two element types, `f32` and `f64`, behind one sealed trait.

use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Rem, Sub, SubAssign};

use super::simd::lanes::{Lane, Signed};
use super::{linalg, math, simd};

mod sealed {
    /// Keeps the set of element types closed.
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// An element type of the kernels: `f32` or `f64`.
///
/// The transcendental functions are the vectorisable ones of [`super::math`], within 1 to 3 units in the last place.
pub trait Scalar:
    sealed::Sealed
    + Copy
    + Default
    + Debug
    + Display
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Rem<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// 1/2.
    const HALF: Self;
    /// Positive infinity.
    const INFINITY: Self;
    /// Negative infinity.
    const NEG_INFINITY: Self;
    /// Not a number.
    const NAN: Self;
    /// The distance from 1 to the next larger number.
    const EPSILON: Self;
    /// The smallest positive normal number.
    const MIN_POSITIVE: Self;
    /// The largest finite number.
    const MAX: Self;
    /// The name of the type as programs write it.
    const NAME: &'static str;

    /// Rounds a double to this type.
    fn from_f64(x: f64) -> Self;
    /// Widens to a double, exactly.
    fn to_f64(self) -> f64;
    /// The nearest number to a count.
    fn from_usize(n: usize) -> Self;
    /// 1 for true, 0 for false.
    fn from_bool(b: bool) -> Self;
    /// self * a + b with one rounding.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// self * a + b, with one rounding where the machine has an instruction for that in its base set, else with two: never
    /// the slow software routine.
    #[doc(hidden)]
    fn fused_or_not(self, a: Self, b: Self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// Magnitude of self with the sign of `sign`.
    fn copysign(self, sign: Self) -> Self;
    /// Square root, correctly rounded.
    fn sqrt(self) -> Self;
    /// Largest integer not above.
    fn floor(self) -> Self;
    /// Smallest integer not below.
    fn ceil(self) -> Self;
    /// Nearest integer, ties to even.
    fn round(self) -> Self;
    /// Whether this is not a number.
    fn is_nan(self) -> bool;
    /// Whether this is neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// e^self.
    fn exp(self) -> Self;
    /// e^self - 1.
    fn expm1(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Natural logarithm of 1 + self.
    fn ln_1p(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// 1 / (1 + e^-self).
    fn sigmoid(self) -> Self;
    /// ln(1 / (1 + e^-self)).
    fn log_sigmoid(self) -> Self;
    /// ln(1 + e^self).
    fn softplus(self) -> Self;
    /// ln(e^self - 1), self > 0.
    fn softplus_inv(self) -> Self;
    /// ln(1 - e^-self), self > 0.
    fn log1mexp(self) -> Self;
    /// self to the power `y`, as C's `pow`.
    fn powf(self, y: Self) -> Self;

    /// Standard normals from raw words; the first `PER_BLOCK` entries count; see [`crate::rng`].
    #[doc(hidden)]
    fn normals_from_words(words: [u32; 4]) -> [Self; 4];
    /// How many normals one Philox block gives: 4 in single, 2 in double precision.
    #[doc(hidden)]
    const PER_BLOCK: usize;
    /// Uniforms in the open unit interval from raw words; the first `PER_BLOCK` entries count.
    #[doc(hidden)]
    fn uniforms_from_words(words: [u32; 4]) -> [Self; 4];
    /// The best register tiles of the matrix product on this machine.
    #[doc(hidden)]
    fn tiles() -> &'static simd::Tiles<Self>;
    /// Lines become columns; see [`simd::transpose_f32`].
    #[doc(hidden)]
    fn transpose(lines: &[Self], stride: usize, n: usize, len: usize, width: usize, out: &mut [Self]);
    /// The product of matrices in blocks of lanes; see [`simd::lanes`].
    #[doc(hidden)]
    fn blocked_product(
        shape: &simd::lanes::Blocked,
        a: &[Lane<Self>],
        b: &[Lane<Self>],
        signed: Signed<'_, Self>,
        c: &mut [Lane<Self>],
    );
    /// The Cholesky factor of one larger matrix; see [`linalg`].
    #[doc(hidden)]
    fn cholesky_large(n: usize, a: &mut [Self]) -> Result<(), usize>;
    /// The solution of one larger triangular system; see [`linalg`].
    #[doc(hidden)]
    fn solve_large(lower: bool, transposed: bool, n: usize, rhs: usize, a: &[Self], b: &mut [Self]);
}

macro_rules! scalar {
    ($t:ident, $math:ident, $name:literal, $per_block:literal, $normals:path, $uniforms:path, $tiles:ident, $transpose:ident, $product:ident) => {
        impl Scalar for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const HALF: Self = 0.5;
            const INFINITY: Self = $t::INFINITY;
            const NEG_INFINITY: Self = $t::NEG_INFINITY;
            const NAN: Self = $t::NAN;
            const EPSILON: Self = $t::EPSILON;
            const MIN_POSITIVE: Self = $t::MIN_POSITIVE;
            const MAX: Self = $t::MAX;
            const NAME: &'static str = $name;
            const PER_BLOCK: usize = $per_block;

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn from_usize(n: usize) -> Self {
                n as $t
            }
            #[inline(always)]
            fn from_bool(b: bool) -> Self {
                if b { 1.0 } else { 0.0 }
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                $t::mul_add(self, a, b)
            }
            #[inline(always)]
            fn fused_or_not(self, a: Self, b: Self) -> Self {
                if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
                    $t::mul_add(self, a, b)
                } else {
                    self * a + b
                }
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                $t::copysign(self, sign)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn floor(self) -> Self {
                $t::floor(self)
            }
            #[inline(always)]
            fn ceil(self) -> Self {
                $t::ceil(self)
            }
            #[inline(always)]
            fn round(self) -> Self {
                $t::round_ties_even(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $t::is_nan(self)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $t::is_finite(self)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                math::$math::exp(self)
            }
            #[inline(always)]
            fn expm1(self) -> Self {
                math::$math::expm1(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                math::$math::ln(self)
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                math::$math::ln_1p(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                math::$math::tanh(self)
            }
            #[inline(always)]
            fn sigmoid(self) -> Self {
                math::$math::sigmoid(self)
            }
            #[inline(always)]
            fn log_sigmoid(self) -> Self {
                math::$math::log_sigmoid(self)
            }
            #[inline(always)]
            fn softplus(self) -> Self {
                math::$math::softplus(self)
            }
            #[inline(always)]
            fn softplus_inv(self) -> Self {
                math::$math::softplus_inv(self)
            }
            #[inline(always)]
            fn log1mexp(self) -> Self {
                math::$math::log1mexp(self)
            }
            #[inline(always)]
            fn powf(self, y: Self) -> Self {
                $t::powf(self, y)
            }
            #[inline(always)]
            fn normals_from_words(words: [u32; 4]) -> [Self; 4] {
                $normals(words)
            }
            #[inline(always)]
            fn uniforms_from_words(words: [u32; 4]) -> [Self; 4] {
                $uniforms(words)
            }
            #[inline(always)]
            fn tiles() -> &'static simd::Tiles<Self> {
                simd::$tiles()
            }
            #[inline(always)]
            fn transpose(lines: &[Self], stride: usize, n: usize, len: usize, width: usize, out: &mut [Self]) {
                simd::$transpose(lines, stride, n, len, width, out);
            }
            fn blocked_product(
                shape: &simd::lanes::Blocked,
                a: &[Lane<Self>],
                b: &[Lane<Self>],
                signed: Signed<'_, Self>,
                c: &mut [Lane<Self>],
            ) {
                simd::lanes::$product(shape, a, b, signed, c);
            }
            fn cholesky_large(n: usize, a: &mut [Self]) -> Result<(), usize> {
                linalg::cholesky_large(n, a)
            }
            fn solve_large(lower: bool, transposed: bool, n: usize, rhs: usize, a: &[Self], b: &mut [Self]) {
                linalg::solve_large(lower, transposed, n, rhs, a, b);
            }
        }
    };
}

scalar!(f32, single, "f32", 4, math::normals_f32, math::uniforms_f32, tiles_f32, transpose_f32, product_f32);
scalar!(f64, double, "f64", 2, math::normals_f64, math::uniforms_f64, tiles_f64, transpose_f64, product_portable);
