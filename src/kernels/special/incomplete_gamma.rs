//! The regularised incomplete gamma functions P(a, x) and Q(a, x) and their derivatives.
//!
//! The power series of P for x < a + 1, the continued fraction of Q beyond; both carry the derivative in a along.
//! Source: DLMF 8.7.1, 8.9.2 and 8.11; the prefactor after Didonato & Morris 1986, ACM TOMS 12:377.
use std::f64::consts::TAU;
use std::sync::OnceLock;

use super::gamma::{LARGE, digamma, lgamma, lgamma_1p, stirling_remainder};

/// Terms after which a series or fraction is given up; some 9 sqrt(a) are needed next to x = a.
const MAX_TERMS: usize = 2_000_000;

/// ln(1 + x) - x, accurate next to 0.
pub(super) fn log1p_minus(x: f64) -> f64 {
    if x.abs() > 0.3 {
        return x.ln_1p() - x;
    }
    // ln(1 + x) = 2 artanh(s) with s = x / (2 + x), and 2 s - x = -x s.
    let s = x / (2.0 + x);
    let z = s * s;
    let (mut power, mut sum, mut n) = (z, 0.0, 3.0);
    while power / n > 1e-18 {
        sum += power / n;
        power *= z;
        n += 2.0;
    }
    s * (2.0 * sum - x)
}

/// x^a e^-x / Gamma(a + 1).
fn prefactor(a: f64, x: f64) -> f64 {
    if a < LARGE {
        // For small a, Gamma(a + 1) is next to 1.
        let ln_gamma = if a <= 0.5 { lgamma_1p(a) } else { lgamma(a + 1.0) };
        return (a * x.ln() - x - ln_gamma).exp();
    }
    // a (ln(x / a) - (x - a) / a): the exponent without its large parts.
    let mu = (x - a) / a;
    (a * log1p_minus(mu) - stirling_remainder(a)).exp() / (TAU * a).sqrt()
}

/// Sum over n >= 0 of x^n / ((a + 1) ... (a + n)), and its derivative in a.
fn series(a: f64, x: f64) -> (f64, f64) {
    let (mut term, mut sum) = (1.0, 1.0);
    let (mut harmonic, mut slope) = (0.0, 0.0);
    for n in 1..MAX_TERMS {
        let d = a + n as f64;
        term *= x / d;
        harmonic += 1.0 / d;
        sum += term;
        slope -= term * harmonic;
        if term * harmonic.max(1.0) <= 1e-17 * sum.min(-slope) {
            break;
        }
    }
    (sum, slope)
}

/// The fraction 1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...)), which is Q / (a prefactor), and its derivative in a.
///
/// Modified Lentz, with the derivative of every step.
fn fraction(a: f64, x: f64) -> (f64, f64) {
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let (mut c, mut dc) = (1.0 / TINY, 0.0);
    let mut d = 1.0 / b;
    let mut dd = d * d;
    let (mut h, mut dh) = (d, dd);
    for n in 1..MAX_TERMS {
        let n = n as f64;
        // an = -n (n - a), d(an)/da = n; b grows by 2, db/da = -1.
        let (an, dan) = (-n * (n - a), n);
        b += 2.0;
        let u = an * d + b;
        let du = dan * d + an * dd - 1.0;
        d = 1.0 / u;
        dd = -du * d * d;
        let (oc, odc) = (c, dc);
        c = b + an / oc;
        dc = -1.0 + dan / oc - an * odc / (oc * oc);
        let step = c * d;
        let dstep = dc * d + c * dd;
        dh = dh * step + h * dstep;
        h *= step;
        if (step - 1.0).abs() <= 1e-16 && (h * dstep).abs() <= 1e-16 * dh.abs() + 1e-300 {
            break;
        }
    }
    (h, dh)
}

/// Whether the arguments lie in the domain a > 0, x >= 0.
fn valid(a: f64, x: f64) -> bool {
    a > 0.0 && x >= 0.0 && !(a.is_infinite() && x.is_infinite())
}

/// Q for small a and x < a + 1 by the series of the lower function without its leading 1; accurate where Q is small.
fn upper_small(a: f64, x: f64) -> f64 {
    // P = x^a / Gamma(1 + a) (1 + a S) with S = sum over n >= 1 of (-x)^n / (n! (a + n)).
    let (mut term, mut sum, mut n) = (1.0, 0.0, 0.0);
    loop {
        n += 1.0;
        term *= -x / n;
        let add = term / (a + n);
        sum += add;
        if add.abs() <= 1e-17 * f64::abs(sum) {
            break;
        }
    }
    let ln = a * x.ln() - lgamma_1p(a);
    -ln.exp_m1() - ln.exp() * a * sum
}

/// The two incomplete gamma functions (P, Q).
fn both(a: f64, x: f64) -> (f64, f64) {
    if !valid(a, x) {
        (f64::NAN, f64::NAN)
    } else if x == 0.0 || a.is_infinite() {
        (0.0, 1.0)
    } else if x.is_infinite() {
        (1.0, 0.0)
    } else if x < a + 1.0 {
        let p = prefactor(a, x) * series(a, x).0;
        let q = if a < 0.2 && x < 1.2 { upper_small(a, x) } else { 1.0 - p };
        (p, q)
    } else {
        let q = prefactor(a, x) * a * fraction(a, x).0;
        (1.0 - q, q)
    }
}

/// P(a, x), the regularised lower incomplete gamma function, a > 0, x >= 0; 1e-13 for a up to 1e6.
pub fn gammainc(a: f64, x: f64) -> f64 {
    both(a, x).0
}

/// Q(a, x) = 1 - P(a, x), a > 0, x >= 0; 1e-13 for a up to 1e6, wherever Q > 1e-3 or x >= a + 1 or a < 0.2.
pub fn gammaincc(a: f64, x: f64) -> f64 {
    both(a, x).1
}

/// dP(a, x)/dx = x^(a - 1) e^-x / Gamma(a), a > 0, x >= 0; 1e-13.
pub fn gammainc_dx(a: f64, x: f64) -> f64 {
    if !valid(a, x) {
        f64::NAN
    } else if x == 0.0 {
        if a < 1.0 {
            f64::INFINITY
        } else if a == 1.0 {
            1.0
        } else {
            0.0
        }
    } else if x.is_infinite() {
        0.0
    } else {
        prefactor(a, x) * a / x
    }
}

/// dP(a, x)/da, a > 0, x >= 0; 1e-10. Minus this is the derivative of Q.
pub fn gammainc_da(a: f64, x: f64) -> f64 {
    if !valid(a, x) {
        return f64::NAN;
    }
    if x == 0.0 || x.is_infinite() || a.is_infinite() {
        return 0.0;
    }
    let factor = prefactor(a, x);
    if factor == 0.0 {
        return 0.0;
    }
    let log_slope = ln_over_gamma(a, x);
    if x < a + 1.0 {
        // d ln prefactor / da = ln x - psi(a + 1).
        let (sum, slope) = series(a, x);
        factor * ((log_slope - 1.0 / a) * sum + slope)
    } else {
        let (h, dh) = fraction(a, x);
        -factor * a * (log_slope * h + dh)
    }
}

/// ln x - digamma(a), without the cancellation for large a.
fn ln_over_gamma(a: f64, x: f64) -> f64 {
    if a < LARGE {
        return x.ln() - digamma(a);
    }
    let z = 1.0 / (a * a);
    ((x - a) / a).ln_1p() + 0.5 / a + z * super::gamma::polynomial(z, &super::gamma::DIGAMMA)
}

/// Nodes and weights of the 16-point Gauss-Legendre rule on [-1, 1], by Newton steps on the Legendre polynomial.
pub(super) fn gauss_legendre_16() -> &'static [(f64, f64); 16] {
    static RULE: OnceLock<[(f64, f64); 16]> = OnceLock::new();
    RULE.get_or_init(|| {
        std::array::from_fn(|i| {
            const N: f64 = 16.0;
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (N + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..8 {
                let (mut before, mut p) = (1.0, x);
                for k in 2..=16 {
                    let k = f64::from(k);
                    (before, p) = (p, ((2.0 * k - 1.0) * x * p - (k - 1.0) * before) / k);
                }
                slope = N * (x * p - before) / (x * x - 1.0);
                x -= p / slope;
            }
            (x, 2.0 / ((1.0 - x * x) * slope * slope))
        })
    })
}
