//! The mass of the von Mises distribution around its location, and its derivative in the concentration.
//!
//! With f(s) = e^(k (cos s - 1)) / (2 pi e^-k I_0(k)):  mass(k, t) = integral of f from 0 to t, over whole turns too.
//! By Gauss and Legendre's rule on panels of about two standard deviations, each exact to rounding.

use super::{i0e, i1e};
use std::f64::consts::{PI, TAU};

/// Nodes in (0, 1) and weights of the rule of 16 points on [-1, 1].
const RULE: [(f64, f64); 8] = [
    (0.9894009349916499, 0.027152459411754096),
    (0.9445750230732326, 0.062253523938647894),
    (0.8656312023878318, 0.09515851168249279),
    (0.755404408355003, 0.12462897125553388),
    (0.6178762444026438, 0.14959598881657674),
    (0.45801677765722737, 0.16915651939500254),
    (0.2816035507792589, 0.18260341504492358),
    (0.09501250983763744, 0.1894506104550685),
];

/// Where f falls below 1e-17 of its peak: there 2 k s^2 / pi^2 = 39.
const REACH: f64 = 13.9;

/// The integral of `f` from `a` to `b`, for integrands that change over `width` and more.
fn integrate(a: f64, b: f64, width: f64, f: impl Fn(f64) -> f64) -> f64 {
    let panels = ((b - a) / (2.0 * width)).ceil().max(1.0);
    let half = 0.5 * (b - a) / panels;
    let mut sum = 0.0;
    let mut i = 0.0;
    while i < panels {
        let middle = a + (2.0 * i + 1.0) * half;
        sum += RULE.iter().map(|(x, w)| w * (f(middle - half * x) + f(middle + half * x))).sum::<f64>();
        i += 1.0;
    }
    sum * half
}

/// `e^(k (cos s - 1))`, the cosine by its half angle.
fn bell(concentration: f64, s: f64) -> f64 {
    let sine = (0.5 * s).sin();
    (-2.0 * concentration * sine * sine).exp()
}

fn valid(concentration: f64, t: f64) -> bool {
    concentration >= 0.0 && concentration.is_finite() && t.is_finite()
}

/// The angle in [-pi, pi] and how many turns were taken off.
fn unwind(t: f64) -> (f64, f64) {
    let turns = (t / TAU).round();
    (t - TAU * turns, turns)
}

/// The mass between the location and the angle t beyond it, k >= 0: odd in t, 1/2 at pi, 1 more for every turn; 1e-14.
pub fn von_mises_mass(concentration: f64, t: f64) -> f64 {
    if !valid(concentration, t) {
        return f64::NAN;
    }
    let (angle, turns) = unwind(t);
    let width = concentration.sqrt().max(1.0).recip();
    let (size, reach) = (angle.abs(), REACH * width);
    let mass = if size >= reach {
        0.5
    } else {
        integrate(0.0, size, width, |s| bell(concentration, s)) / (TAU * i0e(concentration))
    };
    turns + mass.copysign(angle)
}

/// d mass / dk: the integral of f(s) (cos s - I_1(k)/I_0(k)), odd in t, 0 at pi; 1e-12.
pub fn von_mises_mass_dk(concentration: f64, t: f64) -> f64 {
    if !valid(concentration, t) {
        return f64::NAN;
    }
    let (angle, _) = unwind(t);
    let width = concentration.sqrt().max(1.0).recip();
    let (size, reach) = (angle.abs(), (REACH * width).min(PI));
    let (i0, i1) = (i0e(concentration), i1e(concentration));
    let lost = (i0 - i1) / i0;
    let integrand = |s: f64| {
        let sine = (0.5 * s).sin();
        bell(concentration, s) * (lost - 2.0 * sine * sine)
    };
    // The whole is 0, so the tail beyond is as good and has no cancellation.
    let change = if size >= reach {
        0.0
    } else if size < 1.5 * width {
        integrate(0.0, size, width, integrand)
    } else {
        -integrate(size, reach, width, integrand)
    };
    (change / (TAU * i0)).copysign(change * angle)
}
