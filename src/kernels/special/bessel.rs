//! Exponentially scaled modified Bessel functions of order 0 and 1.
//!
//! Power series (all terms of one sign) up to |x| = 24, the asymptotic series beyond.
//! Source: Abramowitz & Stegun 1964, 9.6.10 and 9.7.1.

/// Beyond this the asymptotic series reaches full precision: its smallest term is about e^(-2 x).
const LARGE: f64 = 24.0;

/// e^-|x| I_0(x); 1e-14.
pub fn i0e(x: f64) -> f64 {
    let x = x.abs();
    if x > LARGE { asymptotic(0.0, x) } else { (-x).exp() * series(0.0, x) }
}

/// e^-|x| I_1(x), odd; 1e-14.
pub fn i1e(x: f64) -> f64 {
    let a = x.abs();
    let y = if a > LARGE { asymptotic(1.0, a) } else { (-a).exp() * 0.5 * a * series(1.0, a) };
    y.copysign(x)
}

/// Sum over k of (x^2 / 4)^k / (k! (order + 1) ... (order + k)).
fn series(order: f64, x: f64) -> f64 {
    let z = 0.25 * x * x;
    let (mut term, mut sum, mut k) = (1.0, 1.0, 0.0);
    while term > 1e-17 * sum {
        k += 1.0;
        term *= z / (k * (k + order));
        sum += term;
    }
    if x.is_nan() { x } else { sum }
}

/// (2 pi x)^(-1/2) times the sum over k of (-1)^k a_k(order) / x^k.
fn asymptotic(order: f64, x: f64) -> f64 {
    if x.is_infinite() {
        return 0.0;
    }
    let mu = 4.0 * order * order;
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..60 {
        let odd = f64::from(2 * k - 1);
        let next = -term * (mu - odd * odd) / (8.0 * x * f64::from(k));
        if next.abs() >= term.abs() {
            break;
        }
        term = next;
        sum += term;
        if term.abs() < 1e-17 * sum.abs() {
            break;
        }
    }
    sum / (std::f64::consts::TAU * x).sqrt()
}
