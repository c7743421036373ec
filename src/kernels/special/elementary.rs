//! Compositions of exp and log that keep their accuracy next to the points where the plain formula loses it.
//!
//! Source: Maechler 2012, "Accurately computing log(1 - exp(-|a|))".
use std::f64::consts::LN_2;

/// ln(1 + x), x >= -1; 1e-15.
pub fn log1p(x: f64) -> f64 {
    x.ln_1p()
}

/// e^x - 1; 1e-15.
pub fn expm1(x: f64) -> f64 {
    x.exp_m1()
}

/// ln(1 - e^-x), x >= 0 (-inf at 0); 1e-15.
pub fn log1mexp(x: f64) -> f64 {
    if x < LN_2 { (-(-x).exp_m1()).ln() } else { (-(-x).exp()).ln_1p() }
}

/// ln(1 + e^x), the softplus; 1e-15.
pub fn log1pexp(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}

/// ln(e^x - 1), x >= 0 (-inf at 0), the inverse of the softplus; 1e-15 except next to its zero at ln 2.
pub fn softplus_inv(x: f64) -> f64 {
    // Below 1 the difference e^x - 1 itself is accurate; above, x carries the leading digits.
    if x < 1.0 { x.exp_m1().ln() } else { x + log1mexp(x) }
}

/// 1 / (1 + e^-x); 1e-15.
pub fn sigmoid(x: f64) -> f64 {
    if x < 0.0 {
        let e = x.exp();
        e / (1.0 + e)
    } else {
        1.0 / (1.0 + (-x).exp())
    }
}

/// ln sigmoid(x); 1e-15.
pub fn log_sigmoid(x: f64) -> f64 {
    -log1pexp(-x)
}

/// ln(p / (1 - p)), 0 <= p <= 1; 1e-15.
pub fn logit(p: f64) -> f64 {
    // Next to 1/2 the ratio is next to 1: p / (1 - p) = 1 + (2 p - 1) / (1 - p).
    if (0.3..0.65).contains(&p) { ((2.0 * p - 1.0) / (1.0 - p)).ln_1p() } else { p.ln() - (-p).ln_1p() }
}

/// ln(e^a + e^b); 1e-15 relative to the larger argument.
pub fn logaddexp(a: f64, b: f64) -> f64 {
    let (high, low) = if a < b { (b, a) } else { (a, b) };
    if high == low && high.is_infinite() { high } else { high + (low - high).exp().ln_1p() }
}

/// ln(e^a - e^b), a >= b (-inf where they are equal); 1e-15 relative to the larger of argument and value.
pub fn logdiffexp(a: f64, b: f64) -> f64 {
    if a == b { f64::NEG_INFINITY } else { a + log1mexp(a - b) }
}

/// ln of the sum of e^x; -inf for an empty list; 1e-15 relative to the largest element.
pub fn logsumexp(x: &[f64]) -> f64 {
    crate::kernels::reduce::reduce_slice(crate::kernels::reduce::Reduce::LogSumExp, x)
}

/// x ln y, 0 where x is 0 (unless y is NaN); 1e-15.
pub fn xlogy(x: f64, y: f64) -> f64 {
    if x == 0.0 && !y.is_nan() { 0.0 } else { x * y.ln() }
}
