//! The special functions against 40-digit references, identities and edge values.
use super::*;
use crate::kernels::testing::{number, numbers, reference};

/// The derivatives in every argument.
type Gradient<'a> = dyn Fn(&[f64]) -> Vec<f64> + 'a;

/// Values and gradients of one function of the reference file.
#[track_caller]
fn check(name: &str, rtol: f64, atol: f64, f: impl Fn(&[f64]) -> f64, grad: Option<&Gradient<'_>>) {
    let file = reference("specials.json");
    let points = file["functions"][name]["points"].as_array().expect("a list of points");
    assert!(points.len() >= 20, "{name}: the reference has its points");
    let mut worst: f64 = 0.0;
    for point in points {
        let nested = point["args"][0].is_array();
        let args = numbers(if nested { &point["args"][0] } else { &point["args"] });
        let (value, expected) = (f(&args), number(&point["value"]));
        let error = (value - expected).abs();
        assert!(
            value == expected || error <= rtol * expected.abs() + atol,
            "{name}{args:?}: {value:e} instead of {expected:e}, {:e} off",
            error / expected.abs()
        );
        worst = worst.max(if error == 0.0 { 0.0 } else { error / expected.abs() });
        if let (Some(grad), Some(_)) = (grad, point.get("grad")) {
            let expected = numbers(if nested { &point["grad"][0] } else { &point["grad"] });
            for (i, (value, expected)) in grad(&args).into_iter().zip(expected).enumerate() {
                let error = (value - expected).abs();
                assert!(
                    error <= 1e-9 * expected.abs() + 1e-300,
                    "d{name}{args:?}/d{i}: {value:e} instead of {expected:e}, {:e} off",
                    error / expected.abs()
                );
            }
        }
    }
    println!("{name}: largest relative error {worst:.1e}");
}

#[test]
fn reference_gamma_family() {
    check("lgamma", 1e-12, 1e-14, |x| lgamma(x[0]), Some(&|x| vec![digamma(x[0])]));
    check("digamma", 1e-12, 1e-14, |x| digamma(x[0]), Some(&|x| vec![trigamma(x[0])]));
    check("trigamma", 1e-12, 0.0, |x| trigamma(x[0]), Some(&|x| vec![tetragamma(x[0])]));
    let by_beta = |x: &[f64]| {
        let (a, b) = lbeta_grad(x[0], x[1]);
        vec![a, b]
    };
    check("lbeta", 1e-10, 0.0, |x| lbeta(x[0], x[1]), Some(&by_beta));
    check("lchoose", 1e-12, 0.0, |x| lchoose(x[0], x[1]), None);
    check("lmgamma", 1e-12, 0.0, |x| lmgamma(x[0], x[1]), None);
}

/// The vector code against the same references, and against the functions for all arguments on a fine grid.
#[test]
fn reference_lanes() {
    let positive =
        |f: fn(f64) -> f64, all: fn(f64) -> f64| move |x: &[f64]| if x[0] > 0.0 { f(x[0]) } else { all(x[0]) };
    check("lgamma", 1e-12, 1e-14, positive(lanes::lgamma, lgamma), None);
    check("digamma", 1e-12, 1e-14, positive(lanes::digamma, digamma), None);
    check("trigamma", 1e-12, 0.0, positive(lanes::trigamma, trigamma), None);
    check("erf", 1e-13, 0.0, |x| lanes::erf(x[0]), None);
    check("erfc", 1e-13, 0.0, |x| lanes::erfc(x[0]), None);
    check("ndtr", 1e-13, 0.0, |x| lanes::ndtr(x[0]), None);
    check("log_ndtr", 1e-13, 0.0, |x| lanes::log_ndtr(x[0]), None);
    // (vector code, function for all arguments, relative and absolute tolerance, range of x)
    type Case = (&'static str, fn(f64) -> f64, fn(f64) -> f64, f64, f64, [f64; 2]);
    let cases: [Case; 8] = [
        ("lgamma", lanes::lgamma, lgamma, 5e-15, 2e-15, [1e-9, 60.0]),
        ("digamma", lanes::digamma, digamma, 5e-15, 5e-15, [1e-9, 60.0]),
        ("trigamma", lanes::trigamma, trigamma, 1e-14, 0.0, [1e-9, 60.0]),
        ("erf", lanes::erf, erf, 2e-15, 0.0, [-8.0, 8.0]),
        ("erfc", lanes::erfc, erfc, 4e-15, 0.0, [-6.0, 26.0]),
        ("ndtr", lanes::ndtr, ndtr, 4e-15, 0.0, [-37.0, 9.0]),
        ("log_ndtr", lanes::log_ndtr, log_ndtr, 4e-15, 0.0, [-60.0, 30.0]),
        ("gelu", lanes::gelu, gelu, 4e-15, 0.0, [-37.0, 9.0]),
    ];
    for (name, fast, slow, rtol, atol, [low, high]) in cases {
        let mut worst: f64 = 0.0;
        for i in 0..=20_000 {
            let x = low + (high - low) * f64::from(i) / 20_000.0;
            let (a, b) = (fast(x), slow(x));
            assert!((a - b).abs() <= rtol * b.abs() + atol, "{name}({x}): {a:e} instead of {b:e}");
            worst = worst.max(((a - b).abs() - atol).max(0.0) / b.abs().max(f64::MIN_POSITIVE));
        }
        println!("{name}: largest relative difference {worst:.1e} beyond {atol:.0e}");
    }
}

#[test]
fn lanes_have_the_same_edges() {
    for x in [0.0, -0.0, INF, -INF, NAN, 1.0, 2.0, 1e-310, 1e-300, 1e300, f64::MAX, 1e160, -1e160, 5e-324] {
        let pairs: [(&str, f64, f64); 8] = [
            ("erf", lanes::erf(x), erf(x)),
            ("erfc", lanes::erfc(x), erfc(x)),
            ("ndtr", lanes::ndtr(x), ndtr(x)),
            ("gelu", lanes::gelu(x), gelu(x)),
            ("log_ndtr", lanes::log_ndtr(x), log_ndtr(x)),
            ("lgamma", lanes::lgamma(x), lgamma(x)),
            ("digamma", lanes::digamma(x), digamma(x)),
            ("trigamma", lanes::trigamma(x), trigamma(x)),
        ];
        for (name, a, b) in pairs.into_iter().take(if x > 0.0 { 8 } else { 5 }) {
            let close = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-14 * b.abs();
            assert!(close, "{name}({x:e}): {a:e} instead of {b:e}");
        }
    }
}

#[test]
fn reference_incomplete_gamma() {
    let p = |x: &[f64]| vec![gammainc_da(x[0], x[1]), gammainc_dx(x[0], x[1])];
    let q = |x: &[f64]| vec![-gammainc_da(x[0], x[1]), -gammainc_dx(x[0], x[1])];
    check("gammainc", 1e-10, 0.0, |x| gammainc(x[0], x[1]), Some(&p));
    check("gammaincc", 1e-10, 0.0, |x| gammaincc(x[0], x[1]), Some(&q));
}

#[test]
fn reference_incomplete_beta() {
    let grad =
        |x: &[f64]| vec![betainc_da(x[0], x[1], x[2]), betainc_db(x[0], x[1], x[2]), betainc_dx(x[0], x[1], x[2])];
    check("betainc", 1e-10, 0.0, |x| betainc(x[0], x[1], x[2]), Some(&grad));
}

#[test]
fn reference_normal_family() {
    let tol = 1e-13;
    let phi = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    check("erf", tol, 0.0, |x| erf(x[0]), None);
    check("erfc", tol, 0.0, |x| erfc(x[0]), None);
    check("erfcx", tol, 0.0, |x| erfcx(x[0]), None);
    check("erfinv", tol, 0.0, |x| erfinv(x[0]), None);
    check("ndtr", tol, 0.0, |x| ndtr(x[0]), Some(&|x| vec![phi(x[0])]));
    check("log_ndtr", tol, 0.0, |x| log_ndtr(x[0]), None);
    check("ndtri", tol, 0.0, |x| ndtri(x[0]), Some(&|x| vec![1.0 / phi(ndtri(x[0]))]));
    check("owens_t", tol, 0.0, |x| owens_t(x[0], x[1]), None);
}

#[test]
fn reference_bessel() {
    check("i0e", 1e-13, 0.0, |x| i0e(x[0]), Some(&|x| vec![i1e(x[0]) - x[0].signum() * i0e(x[0])]));
    check("i1e", 1e-13, 0.0, |x| i1e(x[0]), None);
}

#[test]
fn reference_elementary() {
    let tol = 1e-13;
    check("log1p", tol, 0.0, |x| log1p(x[0]), None);
    check("expm1", tol, 0.0, |x| expm1(x[0]), None);
    // The reference is rounded to 40 digits next to 1 before its logarithm is taken: absolute 1e-40.
    check("log1mexp", tol, 1e-40, |x| log1mexp(x[0]), None);
    check("log1pexp", tol, 0.0, |x| log1pexp(x[0]), None);
    check("softplus_inv", tol, 0.0, |x| softplus_inv(x[0]), None);
    check("sigmoid", tol, 0.0, |x| sigmoid(x[0]), None);
    check("log_sigmoid", tol, 0.0, |x| log_sigmoid(x[0]), None);
    check("logit", tol, 0.0, |x| logit(x[0]), None);
    check("logaddexp", tol, 0.0, |x| logaddexp(x[0], x[1]), None);
    check("logdiffexp", tol, 0.0, |x| logdiffexp(x[0], x[1]), None);
    check("logsumexp", tol, 0.0, logsumexp, None);
    check("xlogy", tol, 0.0, |x| xlogy(x[0], x[1]), None);
}

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

#[track_caller]
fn same(what: &str, actual: f64, expected: f64) {
    assert!(actual == expected || (actual.is_nan() && expected.is_nan()), "{what}: {actual:e} instead of {expected:e}");
}

#[test]
fn edge_values() {
    same("lgamma(0)", lgamma(0.0), INF);
    same("lgamma(-3)", lgamma(-3.0), INF);
    same("lgamma(1)", lgamma(1.0), 0.0);
    same("lgamma(inf)", lgamma(INF), INF);
    same("digamma(0)", digamma(0.0), NAN);
    same("digamma(-2)", digamma(-2.0), NAN);
    same("digamma(inf)", digamma(INF), INF);
    same("digamma(-inf)", digamma(-INF), NAN);
    same("trigamma(0)", trigamma(0.0), INF);
    same("trigamma(inf)", trigamma(INF), 0.0);
    same("tetragamma(inf)", tetragamma(INF), 0.0);
    same("erf(inf)", erf(INF), 1.0);
    same("erfc(-inf)", erfc(-INF), 2.0);
    same("erfcx(inf)", erfcx(INF), 0.0);
    same("erfcx(-30)", erfcx(-30.0), INF);
    same("erfinv(1)", erfinv(1.0), INF);
    same("erfinv(-1)", erfinv(-1.0), -INF);
    same("erfinv(1.1)", erfinv(1.1), NAN);
    same("erfinv(5e-324)", erfinv(5e-324), 5e-324);
    same("ndtr(-inf)", ndtr(-INF), 0.0);
    same("ndtr(inf)", ndtr(INF), 1.0);
    same("log_ndtr(-inf)", log_ndtr(-INF), -INF);
    same("log_ndtr(inf)", log_ndtr(INF), 0.0);
    same("ndtri(0)", ndtri(0.0), -INF);
    same("ndtri(1)", ndtri(1.0), INF);
    same("ndtri(0.5)", ndtri(0.5), 0.0);
    same("ndtri(-0.1)", ndtri(-0.1), NAN);
    same("gelu(-inf)", gelu(-INF), 0.0);
    same("log1mexp(0)", log1mexp(0.0), -INF);
    same("log1mexp(inf)", log1mexp(INF), 0.0);
    same("softplus_inv(0)", softplus_inv(0.0), -INF);
    same("logit(0)", logit(0.0), -INF);
    same("logit(1)", logit(1.0), INF);
    same("logaddexp(-inf, -inf)", logaddexp(-INF, -INF), -INF);
    same("logaddexp(inf, inf)", logaddexp(INF, INF), INF);
    same("logaddexp(-inf, 3)", logaddexp(-INF, 3.0), 3.0);
    same("logdiffexp(2, 2)", logdiffexp(2.0, 2.0), -INF);
    same("logdiffexp(2, -inf)", logdiffexp(2.0, -INF), 2.0);
    same("logsumexp()", logsumexp(&[]), -INF);
    same("logsumexp(-inf, -inf)", logsumexp(&[-INF, -INF]), -INF);
    same("xlogy(0, 0)", xlogy(0.0, 0.0), 0.0);
    same("xlogy(0, nan)", xlogy(0.0, NAN), NAN);
    same("i0e(0)", i0e(0.0), 1.0);
    same("i1e(0)", i1e(0.0), 0.0);
    same("i0e(inf)", i0e(INF), 0.0);
    same("lbeta(0, 1)", lbeta(0.0, 1.0), INF);
    same("lbeta(-1, 1)", lbeta(-1.0, 1.0), NAN);
    same("lbeta(1, inf)", lbeta(1.0, INF), -INF);
    same("lchoose(5, 0)", lchoose(5.0, 0.0), 0.0);
    same("lmgamma(3, 1)", lmgamma(3.0, 1.0), NAN);
    same("gammainc(1, 0)", gammainc(1.0, 0.0), 0.0);
    same("gammaincc(1, inf)", gammaincc(1.0, INF), 0.0);
    same("gammainc(-1, 1)", gammainc(-1.0, 1.0), NAN);
    same("gammainc(1, -1)", gammainc(1.0, -1.0), NAN);
    same("betainc(2, 3, 0)", betainc(2.0, 3.0, 0.0), 0.0);
    same("betainc(2, 3, 1)", betainc(2.0, 3.0, 1.0), 1.0);
    same("betainc(2, 3, 1.5)", betainc(2.0, 3.0, 1.5), NAN);
    same("betainc(0, 3, 0.5)", betainc(0.0, 3.0, 0.5), NAN);
    type Named = (&'static str, fn(f64) -> f64);
    let unary: [Named; 17] = [
        ("lgamma", lgamma),
        ("digamma", digamma),
        ("trigamma", trigamma),
        ("tetragamma", tetragamma),
        ("erf", erf),
        ("erfc", erfc),
        ("erfcx", erfcx),
        ("erfinv", erfinv),
        ("ndtr", ndtr),
        ("log_ndtr", log_ndtr),
        ("ndtri", ndtri),
        ("gelu", gelu),
        ("log1mexp", log1mexp),
        ("softplus_inv", softplus_inv),
        ("sigmoid", sigmoid),
        ("i0e", i0e),
        ("i1e", i1e),
    ];
    for (name, f) in unary {
        same(name, f(NAN), NAN);
    }
    for f in [gammainc, gammaincc, gammainc_da, gammainc_dx, lbeta, owens_t] {
        same("nan first", f(NAN, 1.0), NAN);
        same("nan second", f(1.0, NAN), NAN);
    }
    for f in [betainc, betainc_da, betainc_db, betainc_dx] {
        same("nan a", f(NAN, 1.0, 0.5), NAN);
        same("nan b", f(1.0, NAN, 0.5), NAN);
        same("nan x", f(1.0, 1.0, NAN), NAN);
    }
}

#[test]
fn inverses_invert() {
    for i in 1..400 {
        let x = f64::from(i - 200) * 0.19;
        let p = ndtr(x);
        if p > 0.0 && p < 0.9 {
            assert!((ndtri(p) - x).abs() <= 1e-13 * x.abs().max(1e-3), "ndtri(ndtr({x})) = {}", ndtri(p));
        }
        let y = f64::from(i - 200) * 0.0049;
        assert!((erf(erfinv(y)) - y).abs() <= 4e-16 * y.abs(), "erf(erfinv({y}))");
        let s = f64::from(i) * 0.1;
        assert!((softplus_inv(log1pexp(s)) - s).abs() <= 2e-13 * s.max(1.0));
    }
    for p in [1e-300, 5e-324, 1e-100, 1e-20, 1e-5, 0.0999, 0.1, 0.2] {
        assert!((log_ndtr(ndtri(p)) - f64::ln(p)).abs() <= 1e-13 * f64::ln(p).abs(), "{p:e}");
    }
}

/// Central differences of the functions themselves, over shapes from 1e-3 to 1e5.
#[test]
fn shape_derivatives_agree_with_differences() {
    let shapes = [1e-3, 0.05, 0.3, 1.0, 2.5, 11.0, 13.0, 80.0, 900.0, 1e5];
    for a in shapes {
        let spread = f64::sqrt(a);
        for t in [-3.0, -1.0, -0.1, 0.0, 0.2, 1.0, 2.5] {
            let x: f64 = if a < 5.0 { a * f64::exp(t) } else { a + t * spread };
            let h = 1e-4 * a.min(spread);
            // Fourth order, on the smaller of the two tails.
            let f = |a: f64| if gammainc(a, x) < 0.5 { gammainc(a, x) } else { -gammaincc(a, x) };
            let side = |s: f64| if gammainc(a, x) < 0.5 { gammainc(a + s, x) } else { -gammaincc(a + s, x) };
            let slope = (8.0 * (side(h) - side(-h)) - (side(2.0 * h) - side(-2.0 * h))) / (12.0 * h);
            let scale = f(a).abs() / h;
            let got = gammainc_da(a, x);
            assert!(
                (got - slope).abs() <= 1e-6 * slope.abs() + 1e-13 * scale,
                "dP({a}, {x})/da: {got:e} instead of {slope:e}"
            );
            for b in shapes {
                let mean = a / (a + b);
                let y = (mean * f64::exp(t * ((1.0 - mean) / (a + b + 1.0) / mean).sqrt().min(2.0))).min(0.999);
                let low = betainc(a, b, y) < 0.5;
                let value = |a: f64, b: f64| if low { betainc(a, b, y) } else { -betainc(b, a, 1.0 - y) };
                let scale = value(a, b).abs();
                let (ha, hb) = (1e-4 * a.min(a.sqrt()), 1e-4 * b.min(b.sqrt()));
                let slope =
                    |f: &dyn Fn(f64) -> f64, h: f64| (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h);
                let by_a = slope(&|s| value(a + s, b), ha);
                let by_b = slope(&|s| value(a, b + s), hb);
                let (got_a, got_b) = (betainc_da(a, b, y), betainc_db(a, b, y));
                // What the differences themselves lose: some units in the last place times a + b.
                let noise = (1e-13 + 5e-16 * (a + b)) * scale;
                assert!(
                    (got_a - by_a).abs() <= 1e-6 * by_a.abs() + noise / ha,
                    "dI({a}, {b}, {y})/da: {got_a:e} instead of {by_a:e}"
                );
                assert!(
                    (got_b - by_b).abs() <= 1e-6 * by_b.abs() + noise / hb,
                    "dI({a}, {b}, {y})/db: {got_b:e} instead of {by_b:e}"
                );
            }
        }
    }
}

/// Q where it is small although x is: the complement of P would lose every digit.
#[test]
fn small_upper_tails_keep_their_digits() {
    // Q(a, x) = a E1(x) + O(a^2) with E1(0.5) = 0.5597735947761608...
    let q = gammaincc(1e-12, 0.5);
    assert!((q / 1e-12 - 0.559_773_594_776_160_8).abs() < 1e-11, "{q:e}");
    // I_x(a, b) for small b: b x^a 2F1-like series; I_x(1, b) = 1 - (1 - x)^b.
    let i = betainc(1.0, 1e-12, 0.5);
    assert!((i / 1e-12 - std::f64::consts::LN_2).abs() < 1e-11, "{i:e}");
}

#[test]
fn von_mises_masses_are_integrals_and_their_derivatives_differences() {
    for k in [0.0, 1e-3, 0.3, 1.0, 4.0, 30.0, 1e3, 1e6] {
        assert!((von_mises_mass(k, std::f64::consts::PI) - 0.5).abs() < 1e-14, "{k}");
        assert!(von_mises_mass_dk(k, std::f64::consts::PI).abs() < 1e-14, "{k}");
        let spread = 1.0 / f64::max(k, 1.0).sqrt();
        for i in 1..12 {
            let t = f64::from(i) * 0.5 * spread;
            if t >= std::f64::consts::PI {
                continue;
            }
            assert_eq!(von_mises_mass(k, -t), -von_mises_mass(k, t));
            assert_eq!(von_mises_mass_dk(k, -t), -von_mises_mass_dk(k, t));
            assert!((von_mises_mass(k, t + 2.0 * std::f64::consts::TAU) - von_mises_mass(k, t) - 2.0).abs() < 1e-10);
            // Simpson's rule
            let n = 2000;
            let density = |s: f64| (-2.0 * k * (0.5 * s).sin().powi(2)).exp() / (std::f64::consts::TAU * i0e(k));
            let h = t / f64::from(n);
            let weight = |j: i32| if j == 0 || j == n { 1.0 } else { f64::from(2 + 2 * (j % 2)) };
            let want: f64 = (0..=n).map(|j| weight(j) * density(f64::from(j) * h)).sum::<f64>() * h / 3.0;
            assert!((von_mises_mass(k, t) - want).abs() < 1e-12, "{k} {t}");
            if k > 0.0 {
                let d = 1e-3 * k;
                let f = |s: f64| von_mises_mass(k + s, t);
                let slope = (8.0 * (f(d) - f(-d)) - (f(2.0 * d) - f(-2.0 * d))) / (12.0 * d);
                let got = von_mises_mass_dk(k, t);
                assert!((got - slope).abs() < 1e-8 * slope.abs() + 1e-12 / k, "{k} {t}: {got} instead of {slope}");
            }
        }
    }
    assert!(von_mises_mass(-1.0, 0.0).is_nan() && von_mises_mass_dk(f64::NAN, 0.0).is_nan());
}
