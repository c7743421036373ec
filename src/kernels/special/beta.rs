//! The logarithm of the beta function and relatives, without the cancellation between log-gamma values.
//!
//! Source: Didonato & Morris 1992, ACM TOMS 18:360, section 2 (differences of Stirling remainders).
use super::gamma::{DIGAMMA, LARGE, lgamma, stirling_remainder};

/// ln Gamma(b) - ln Gamma(a + b) for b >= 12, a >= 0.
fn lgamma_ratio(a: f64, b: f64) -> f64 {
    let remainder = stirling_remainder(b) - stirling_remainder(a + b);
    remainder + (a - (b - 0.5) * (a / b).ln_1p()) - a * (a + b).ln()
}

/// ln B(a, b), a, b >= 0 (inf at 0); 1e-13, absolute next to its zeros.
pub fn lbeta(a: f64, b: f64) -> f64 {
    let (p, q) = if a < b { (a, b) } else { (b, a) };
    if p.is_nan() || q.is_nan() || p < 0.0 {
        return f64::NAN;
    }
    if p == 0.0 {
        return f64::INFINITY;
    }
    if q.is_infinite() {
        return f64::NEG_INFINITY;
    }
    if p >= LARGE {
        let remainder = stirling_remainder(p) + (stirling_remainder(q) - stirling_remainder(p + q));
        let half_ln_tau = 0.918_938_533_204_672_7;
        // ln(p / (p + q)) from the ratio, and ln(1 + p / q), both without cancellation.
        let ratio = p / q;
        return remainder + half_ln_tau - 0.5 * q.ln() + (p - 0.5) * (ratio / (1.0 + ratio)).ln() - q * ratio.ln_1p();
    }
    if q >= LARGE {
        return lgamma(p) + lgamma_ratio(p, q);
    }
    lgamma(p) + lgamma(q) - lgamma(p + q)
}

/// digamma(x) - digamma(x + h), x > 0, h >= 0; 1e-14.
pub fn digamma_difference(x: f64, h: f64) -> f64 {
    let (mut x, mut sum) = (x, 0.0);
    while x < LARGE {
        sum += h / (x * (x + h));
        x += 1.0;
    }
    let y = x + h;
    let (u, v) = (1.0 / (x * x), 1.0 / (y * y));
    // The sum over k of B_2k / 2k (u^k - v^k), divided by u - v.
    let (mut quotient, mut power, mut powers) = (0.0, 1.0, 1.0);
    for &term in &DIGAMMA {
        quotient += term * powers;
        power *= u;
        powers = powers * v + power;
    }
    let difference = h * u * v * (x + y);
    -(sum + (h / x).ln_1p() + 0.5 * h / (x * y) + difference * quotient)
}

/// The gradient (d/da, d/db) of ln B(a, b), a, b > 0; 1e-14.
pub fn lbeta_grad(a: f64, b: f64) -> (f64, f64) {
    (digamma_difference(a, b), digamma_difference(b, a))
}

/// ln of the binomial coefficient "n over k" for real n >= k >= 0; 1e-13, absolute next to its zeros.
pub fn lchoose(n: f64, k: f64) -> f64 {
    if k == 0.0 || k == n {
        return 0.0;
    }
    -(n + 1.0).ln() - lbeta(n - k + 1.0, k + 1.0)
}

/// ln of the multivariate gamma function of dimension `p` (a whole number >= 1) at a > (p - 1) / 2; 1e-14.
pub fn lmgamma(p: f64, a: f64) -> f64 {
    if p < 1.0 || p != p.floor() || a <= 0.5 * (p - 1.0) {
        return f64::NAN;
    }
    let mut sum = 0.25 * p * (p - 1.0) * std::f64::consts::PI.ln();
    let mut j = 0.0;
    while j < p {
        sum += lgamma(a - 0.5 * j);
        j += 1.0;
    }
    sum
}
