//! The vectorisable functions against the standard library, over every exponent, in both forms of the loop.
use crate::kernels::elementwise::{Unary, unary};
use crate::kernels::{Scalar, special};

/// Arguments over all exponents of the type, dense where the functions bend, with the awkward values.
fn arguments() -> Vec<f64> {
    let mut out = vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MIN_POSITIVE, f64::MAX, f64::MIN];
    for e in -1074..1024 {
        for m in [1.0, 1.000_000_1, 1.25, 1.414, 1.7, 1.999_999_9] {
            let x = m * 2.0f64.powi(e / 2) * 2.0f64.powi(e - e / 2);
            out.extend([x, -x]);
        }
    }
    let mut state = 1u64;
    for _ in 0..20_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let u = (state >> 11) as f64 / 2f64.powi(53) - 0.5;
        out.extend([u, 4.0 * u, 40.0 * u, 200.0 * u, 1500.0 * u]);
    }
    out
}

/// The distance in units in the last place of `expected`, an exact value in double precision.
fn ulps<F: Scalar>(actual: F, expected: f64) -> f64 {
    let rounded = F::from_f64(expected);
    if actual == rounded || (actual.is_nan() && rounded.is_nan()) {
        return 0.0;
    }
    if !rounded.is_finite() || !actual.is_finite() {
        // Next to the overflow threshold the last bit decides between the largest number and infinity.
        let near = rounded.abs().to_f64().min(actual.abs().to_f64()) >= 0.999_999 * F::MAX.to_f64();
        return if near { 1.0 } else { f64::INFINITY };
    }
    let magnitude = rounded.abs().to_f64().max(F::MIN_POSITIVE.to_f64());
    let ulp = 2.0f64.powi(magnitude.log2().floor() as i32) * F::EPSILON.to_f64();
    (actual.to_f64() - expected).abs() / ulp
}

fn check<F: Scalar>(op: Unary, limit: f64, exact: impl Fn(f64) -> f64) -> bool {
    let x: Vec<F> = arguments().into_iter().map(F::from_f64).collect();
    let mut y = vec![F::ZERO; x.len()];
    unary(op, &x, &mut y);
    let mut worst = (0.0, 0.0);
    for (&x, &y) in x.iter().zip(&y) {
        let error = ulps(y, exact(x.to_f64()));
        if error > worst.0 {
            worst = (error, x.to_f64());
        }
    }
    println!("{} {op:?}: {:.2} units at {:e}", F::NAME, worst.0, worst.1);
    worst.0 <= limit
}

/// In double precision the standard functions, themselves within half a unit and a little, are the reference.
#[test]
fn vector_functions_are_within_units_in_the_last_place() {
    let mut fine = true;
    macro_rules! both {
        ($op:expr, $limit:expr, $exact:expr) => {
            fine &= check::<f32>($op, $limit, $exact);
            fine &= check::<f64>($op, $limit + 0.5, $exact);
        };
    }
    both!(Unary::Exp, 1.0, f64::exp);
    both!(Unary::Expm1, 2.0, f64::exp_m1);
    both!(Unary::Log, 1.0, f64::ln);
    both!(Unary::Log1p, 1.5, f64::ln_1p);
    both!(Unary::Tanh, 2.5, f64::tanh);
    both!(Unary::Sigmoid, 2.5, special::sigmoid);
    both!(Unary::Softplus, 2.0, special::log1pexp);
    both!(Unary::LogSigmoid, 2.0, special::log_sigmoid);
    both!(Unary::Log1mExp, 2.5, |x: f64| if x > 0.0 { f64::NAN } else { special::log1mexp(-x) });
    assert!(fine, "see the list above");
}

/// The loop compiled without vector instructions gives the same bits as the dispatched one.
#[test]
fn portable_loop_gives_the_same_bits() {
    let x: Vec<f64> = arguments();
    let mut fast = vec![0.0; x.len()];
    for (op, f) in [
        (Unary::Exp, super::double::exp as fn(f64) -> f64),
        (Unary::Log, super::double::ln),
        (Unary::Log1p, super::double::ln_1p),
        (Unary::Expm1, super::double::expm1),
        (Unary::Tanh, super::double::tanh),
    ] {
        unary(op, &x, &mut fast);
        for (&x, &fast) in x.iter().zip(&fast) {
            let slow = f(x);
            assert!(slow.to_bits() == fast.to_bits() || (slow.is_nan() && fast.is_nan()), "{op:?}({x:e})");
        }
    }
}

#[test]
fn signs_of_zero_survive() {
    for f in [super::double::expm1, super::double::ln_1p, super::double::tanh] {
        assert!(f(-0.0).is_sign_negative() && f(0.0).is_sign_positive());
    }
}

#[test]
fn turns() {
    for i in -4000..=4000 {
        let t = f64::from(i) / 8000.0;
        let (s, c) = super::double::sin_cos_turns(t);
        // Exact quarters; elsewhere the rounding of 2 pi t bounds what the standard functions can confirm.
        let (es, ec) = (std::f64::consts::TAU * t).sin_cos();
        assert!((s - es).abs() < 1e-15 && (c - ec).abs() < 1e-15, "{t}");
        let (s, c) = super::single::sin_cos_turns(t as f32);
        let exact = std::f64::consts::TAU * f64::from(t as f32);
        assert!((f64::from(s) - exact.sin()).abs() < 1.5e-7 && (f64::from(c) - exact.cos()).abs() < 1.5e-7, "{t}");
    }
}
