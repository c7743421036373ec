//! ln|Gamma| and its first three derivatives.
//!
//! The derivatives use the recurrence up to x = 12, then the asymptotic series in Bernoulli numbers, and reflection for
//! negative x. Source: Abramowitz & Stegun 1964, 6.3 and 6.4.
use std::f64::consts::PI;

/// Where the asymptotic series reach full precision.
pub(super) const LARGE: f64 = 12.0;

/// B_2k / (2k (2k - 1)): Stirling's series of ln Gamma.
pub(super) const STIRLING: [f64; 8] = [
    1.0 / 12.0,
    -1.0 / 360.0,
    1.0 / 1260.0,
    -1.0 / 1680.0,
    1.0 / 1188.0,
    -691.0 / 360_360.0,
    1.0 / 156.0,
    -3617.0 / 122_400.0,
];

/// B_2k / 2k: the series of digamma.
pub(super) const DIGAMMA: [f64; 8] =
    [1.0 / 12.0, -1.0 / 120.0, 1.0 / 252.0, -1.0 / 240.0, 1.0 / 132.0, -691.0 / 32_760.0, 1.0 / 12.0, -3617.0 / 8160.0];

/// B_2k: the series of trigamma.
pub(super) const TRIGAMMA: [f64; 8] =
    [1.0 / 6.0, -1.0 / 30.0, 1.0 / 42.0, -1.0 / 30.0, 5.0 / 66.0, -691.0 / 2730.0, 7.0 / 6.0, -3617.0 / 510.0];

/// The value of a polynomial, constant term first.
pub(super) fn polynomial(z: f64, terms: &[f64]) -> f64 {
    terms.iter().rev().fold(0.0, |acc, &t| acc.mul_add(z, t))
}

/// The remainder of Stirling's formula: ln Gamma(x) - (x - 1/2) ln x + x - ln(2 pi) / 2, x >= 12; 1e-16 absolute.
pub(super) fn stirling_remainder(x: f64) -> f64 {
    polynomial(1.0 / (x * x), &STIRLING) / x
}

/// ln|Gamma(x)|, all real x, inf at 0, -1, -2, ... and at -inf; 1e-15 (absolute next to its zeros).
///
/// Source: libm (after the implementation of Sun Microsystems).
pub fn lgamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// ln Gamma(1 + a) for |a| <= 1/2, accurate next to its zero at a = 0.
pub(super) fn lgamma_1p(a: f64) -> f64 {
    if a.abs() > 0.2 {
        return libm::lgamma(1.0 + a);
    }
    /// zeta(k) - 1 for k = 2, 3, ...
    const ZETA_M1: [f64; 22] = [
        0.644_934_066_848_226_4,
        0.202_056_903_159_594_3,
        0.082_323_233_711_138_19,
        0.036_927_755_143_369_93,
        0.017_343_061_984_449_14,
        0.008_349_277_381_922_827,
        0.004_077_356_197_944_34,
        0.002_008_392_826_082_214_4,
        0.000_994_575_127_818_085_3,
        0.000_494_188_604_119_464_6,
        0.000_246_086_553_308_048_3,
        0.000_122_713_347_578_489_15,
        6.124_813_505_870_483e-5,
        3.058_823_630_702_049e-5,
        1.528_225_940_865_187e-5,
        7.637_197_637_899_762e-6,
        3.817_293_264_999_84e-6,
        1.908_212_716_553_939e-6,
        9.539_620_338_727_96e-7,
        4.769_329_867_878_064e-7,
        2.384_505_027_277_33e-7,
        1.192_199_259_653_111e-7,
    ];
    // ln Gamma(1 + a) = -ln(1 + a) + (1 - euler) a + sum over k >= 2 of (-a)^k (zeta(k) - 1) / k.
    const ONE_MINUS_EULER: f64 = 0.422_784_335_098_467_14;
    let mut sum = 0.0;
    for (i, &z) in ZETA_M1.iter().enumerate().rev() {
        sum = sum * -a + z / (i as f64 + 2.0);
    }
    // -ln(1 + a) + a loses nothing that matters: both are small against (1 - euler) a only together.
    a * a * sum + (ONE_MINUS_EULER * a - a.ln_1p())
}

/// sin and cos of pi x, with the argument reduced exactly.
fn sin_cos_pi(x: f64) -> (f64, f64) {
    let r = x - 2.0 * (0.5 * x).round();
    let (s, c) = (PI * r).sin_cos();
    // Multiples of 1/2 are exact.
    if r.abs() == 1.0 {
        (0.0, -1.0)
    } else if r.abs() == 0.5 {
        (s, 0.0)
    } else {
        (s, c)
    }
}

/// The logarithmic derivative of Gamma, all real x, NaN at 0, -1, -2, ... and at -inf; 1e-15 (absolute next to its
/// zeros).
pub fn digamma(x: f64) -> f64 {
    if x <= 0.0 {
        if x == x.floor() {
            return f64::NAN;
        }
        // Reflection: psi(1 - x) - psi(x) = pi cot(pi x); the pole at 0 is split off so that tiny x stay exact.
        if x > -0.5 {
            return digamma(x + 1.0) - 1.0 / x;
        }
        let (s, c) = sin_cos_pi(x);
        return digamma(1.0 - x) - PI * c / s;
    }
    let (mut x, mut shift) = (x, 0.0);
    while x < LARGE {
        shift += 1.0 / x;
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    x.ln() - 0.5 / x - z * polynomial(z, &DIGAMMA) - shift
}

/// The second derivative of ln Gamma, all real x, inf at 0, -1, -2, ..., NaN at -inf; 1e-15.
pub fn trigamma(x: f64) -> f64 {
    if x <= 0.0 {
        if x == x.floor() {
            return if x.is_infinite() { f64::NAN } else { f64::INFINITY };
        }
        if x > -0.5 {
            return trigamma(x + 1.0) + 1.0 / (x * x);
        }
        let s = sin_cos_pi(x).0 / PI;
        return 1.0 / (s * s) - trigamma(1.0 - x);
    }
    let (mut x, mut shift) = (x, 0.0);
    while x < LARGE {
        shift += 1.0 / (x * x);
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    shift + (1.0 / x + 0.5 * z + z / x * polynomial(z, &TRIGAMMA))
}

/// The third derivative of ln Gamma, all real x, NaN at 0, -1, -2, ... and at -inf; 1e-14.
pub fn tetragamma(x: f64) -> f64 {
    if x <= 0.0 {
        if x == x.floor() {
            return f64::NAN;
        }
        if x > -0.5 {
            return tetragamma(x + 1.0) - 2.0 / (x * x * x);
        }
        let (s, c) = sin_cos_pi(x);
        let s = s / PI;
        return tetragamma(1.0 - x) - 2.0 * c / (s * s * s);
    }
    let (mut x, mut shift) = (x, 0.0);
    while x < LARGE {
        shift += 2.0 / (x * x * x);
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    // Term by term the derivative of the series of trigamma.
    let mut tail = 0.0;
    for (k, &b) in TRIGAMMA.iter().enumerate().rev() {
        tail = tail * z + b * (2.0 * k as f64 + 3.0);
    }
    -(shift + (z + z / x + z * z * tail))
}
