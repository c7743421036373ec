//! The error function and the standard normal distribution.
//!
//! Tails go through the scaled function e^(x^2) erfc(x), with the square computed in two parts so that its rounding is
//! not multiplied by x. Inverses are found by Halley steps from a closed-form start.
use std::f64::consts::{FRAC_1_SQRT_2, LN_2, PI, SQRT_2};

use super::incomplete_gamma::gauss_legendre_16;

const SQRT_PI: f64 = 1.772_453_850_905_516;
const LN_SQRT_TAU: f64 = 0.918_938_533_204_672_7;

/// The error function; 3e-16. Source: libm.
pub fn erf(x: f64) -> f64 {
    libm::erf(x)
}

/// 1 - erf(x); 5e-16. Source: libm.
pub fn erfc(x: f64) -> f64 {
    libm::erfc(x)
}

/// e^(x^2) with the square in two parts.
fn exp_square(x: f64, sign: f64, factor: f64) -> f64 {
    let high = x * x;
    let low = x.mul_add(x, -high);
    let scale = sign * factor;
    (scale * high).exp() * (1.0 + scale * low)
}

/// e^(x^2) erfc(x), inf below -26.6; 1e-15.
///
/// Source: Abramowitz & Stegun 1964, 7.1.23 from x = 10 on.
pub fn erfcx(x: f64) -> f64 {
    if x < 10.0 {
        if x < -26.7 {
            return f64::INFINITY;
        }
        return exp_square(x, 1.0, 1.0) * libm::erfc(x);
    }
    let z = 0.5 / (x * x);
    let (mut term, mut sum, mut n) = (1.0, 1.0, 0.0);
    while f64::abs(term) > 1e-17 {
        n += 1.0;
        term *= -(2.0 * n - 1.0) * z;
        sum += term;
    }
    if x.is_nan() { x } else { sum / (x * SQRT_PI) }
}

/// The standard normal distribution function Phi; 1e-15.
pub fn ndtr(x: f64) -> f64 {
    if x > -1.0 {
        return 0.5 * libm::erfc(-x * FRAC_1_SQRT_2);
    }
    if x < -39.0 {
        return 0.0;
    }
    0.5 * erfcx(-x * FRAC_1_SQRT_2) * exp_square(x, -1.0, 0.5)
}

/// ln Phi(x); 1e-15.
pub fn log_ndtr(x: f64) -> f64 {
    if x > -1.0 {
        return (-ndtr(-x)).ln_1p();
    }
    if x == f64::NEG_INFINITY {
        return x;
    }
    -0.5 * x * x + (0.5 * erfcx(-x * FRAC_1_SQRT_2)).ln()
}

/// x Phi(x); 1e-15.
pub fn gelu(x: f64) -> f64 {
    if x == f64::NEG_INFINITY { 0.0 } else { x * ndtr(x) }
}

/// A first guess of erfinv from w = -ln(1 - x^2). Source: Winitzki 2008.
fn erfinv_guess(w: f64) -> f64 {
    const A: f64 = 0.147;
    let b = 2.0 / (PI * A) - 0.5 * w;
    // sqrt(b^2 + w / A) - b without cancellation.
    let root = (b * b + w / A).sqrt();
    let square = if b > 0.0 { (w / A) / (root + b) } else { root - b };
    square.sqrt()
}

/// The inverse of the error function, -1 <= x <= 1 (infinite at the ends); 1e-15.
pub fn erfinv(x: f64) -> f64 {
    let a = x.abs();
    if a > 0.8 {
        // 1 - a is exact; the tail is found on the normal scale.
        return if a > 1.0 { f64::NAN } else { (-FRAC_1_SQRT_2 * ndtri_tail(0.5 * (1.0 - a))).copysign(x) };
    }
    if a < 1e-8 {
        return 0.5 * SQRT_PI * x;
    }
    let mut y = erfinv_guess(-(-a * a).ln_1p());
    for _ in 0..2 {
        let step = (libm::erf(y) - a) * 0.5 * SQRT_PI * (y * y).exp();
        y -= step / (1.0 + y * step);
    }
    y.copysign(x)
}

/// The quantile of a small probability, 0 <= p <= 0.25, by Halley steps on the logarithmic scale.
fn ndtri_tail(p: f64) -> f64 {
    if p == 0.0 {
        return f64::NEG_INFINITY;
    }
    let target = p.ln();
    let mut z = -SQRT_2 * erfinv_guess(-(2.0 * LN_2 + target + (-p).ln_1p()));
    for _ in 0..4 {
        let log_phi = log_ndtr(z);
        let error = log_phi - target;
        // The derivative of ln Phi is d = phi / Phi, its second derivative -d (z + d).
        let d = (-0.5 * z * z - LN_SQRT_TAU - log_phi).exp();
        let step = error / d;
        let step = step / (1.0 + 0.5 * step * (z + d));
        z -= step;
        if step.abs() <= 1e-9 * z.abs() {
            break;
        }
    }
    z
}

/// The inverse of [`ndtr`], 0 <= p <= 1 (infinite at the ends); 1e-15, absolute next to p = 1/2.
pub fn ndtri(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        f64::NAN
    } else if p < 0.1 {
        ndtri_tail(p)
    } else if p > 0.9 {
        -ndtri_tail(1.0 - p)
    } else {
        SQRT_2 * erfinv(2.0 * (p - 0.5))
    }
}

/// Owen's T(h, a) = (1 / 2 pi) integral from 0 to a of e^(-h^2 (1 + x^2) / 2) / (1 + x^2) dx; 1e-14.
///
/// |a| > 1 is reflected to 1 / |a|; the integral is Gauss-Legendre in panels of the width of the bell.
/// Source: Owen 1956, Ann. Math. Stat. 27:1075, and Patefield & Tandy 2000 for the reflection.
pub fn owens_t(h: f64, a: f64) -> f64 {
    if h.is_nan() || a.is_nan() {
        return f64::NAN;
    }
    let (h, b) = (h.abs(), a.abs());
    let t = if b <= 1.0 {
        owens_t_core(h, b)
    } else if b.is_infinite() {
        0.5 * ndtr(-h)
    } else {
        // With q = Phi(-h) and r = Phi(-b h):  T(h, b) = (q + r) / 2 - q r - T(b h, 1 / b).
        let (q, r) = (ndtr(-h), ndtr(-b * h));
        0.5 * (q + r) - q * r - owens_t_core(b * h, 1.0 / b)
    };
    t.copysign(a)
}

/// T(h, a) for h >= 0 and 0 <= a <= 1.
fn owens_t_core(h: f64, a: f64) -> f64 {
    if h > 39.0 {
        return 0.0;
    }
    // Beyond x = 9 / h the integrand is below e^-40 of its start.
    let end = if h * a > 9.0 { 9.0 / h } else { a };
    let panels = 4;
    let width = end / f64::from(panels);
    let mut sum = 0.0;
    for panel in 0..panels {
        let middle = (f64::from(panel) + 0.5) * width;
        for &(node, weight) in gauss_legendre_16() {
            let x = middle + 0.5 * width * node;
            sum += weight * (-0.5 * h * h * x * x).exp() / (1.0 + x * x);
        }
    }
    sum * 0.5 * width * exp_square(h, -1.0, 0.5) / (2.0 * PI)
}
