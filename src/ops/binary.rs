//! Maps of two and three operands: name and derivatives of each. Operands broadcast; cotangents are summed back.

use super::Op;
use super::elementwise::{join, join_numbers};
#[cfg(test)]
use super::tests::{Fill, Sample, sample};
use super::vjp::{Vjp, absorbing_mul};
use crate::ir::{Builder, DType, ValueId};
use crate::kernels::elementwise::{Binary, Ternary};

/// What the table says of one map.
pub(super) struct Row {
    /// Its name in printed graphs.
    pub name: &'static str,
    /// Appends the cotangents of its operands.
    pub vjp: fn(&mut Vjp),
}

/// The dtype of the result.
pub(super) fn dtype(map: Binary, operands: &[DType]) -> DType {
    use Binary::*;
    match map {
        Add | Sub | Mul | MulAbsorbing | Rem => join_numbers(operands),
        Maximum | Minimum => join(operands),
        Eq | Ne | Lt | Le | Gt | Ge | And | Or => DType::Bool,
        Div | Pow | Atan2 | Xlogy | LogAddExp | LogSubExp | Lbeta | GammaIncP | GammaIncPda | GammaIncQ
        | VonMisesMass | VonMisesMassDk => DType::Real,
    }
}

/// The dtype of the result.
pub(super) fn ternary_dtype(map: Ternary, operands: &[DType]) -> DType {
    match map {
        Ternary::Select => join(&operands[1..]),
        Ternary::BetaInc | Ternary::BetaIncDa | Ternary::BetaIncDb => DType::Real,
    }
}

/// A row whose derivatives in the operands are `d0(g, x, y)`, `d1(g, x, y)`, …
macro_rules! scaled {
    ($name:literal, $(|$g:ident, $x:ident, $y:ident| $derivative:expr),+) => {
        Row {
            name: $name,
            vjp: |v| {
                let derivatives: &[fn(&mut Builder, &[ValueId], ValueId) -> ValueId] = &[$(|$g, $x, $y| $derivative),+];
                for (i, derivative) in derivatives.iter().enumerate() {
                    if v.needs(i) {
                        let d = derivative(v.g, v.x, v.y);
                        let cotangent = v.scale(d);
                        v.give_summed(i, cotangent);
                    }
                }
            },
        }
    };
}

/// A row without derivatives.
macro_rules! flat {
    ($name:literal) => {
        Row { name: $name, vjp: |_| {} }
    };
}

/// The row of `map`.
pub(super) fn row(map: Binary) -> Row {
    match map {
        Binary::Add => Row {
            name: "add",
            vjp: |v| {
                for i in 0..2 {
                    if v.needs(i) {
                        v.give_summed(i, v.dy);
                    }
                }
            },
        },
        Binary::Sub => Row {
            name: "sub",
            vjp: |v| {
                if v.needs(0) {
                    v.give_summed(0, v.dy);
                }
                if v.needs(1) {
                    let minus = v.g.neg(v.dy);
                    v.give_summed(1, minus);
                }
            },
        },
        Binary::Mul => scaled!("mul", |_g, x, _y| x[1], |_g, x, _y| x[0]),
        // As that of `mul`, away from 0 * inf.
        Binary::MulAbsorbing => scaled!("mul_absorbing", |_g, x, _y| x[1], |_g, x, _y| x[0]),
        Binary::Div => scaled!("div", |g, x, _y| g.recip(x[1]), |g, x, y| {
            let ratio = g.div(y, x[1]);
            g.neg(ratio)
        }),
        // a - b floor(a / b)
        Binary::Rem => Row {
            name: "rem",
            vjp: |v| {
                if v.needs(0) {
                    v.give_summed(0, v.dy);
                }
                if v.needs(1) {
                    let ratio = v.g.div(v.x[0], v.x[1]);
                    let floor = v.g.floor(ratio);
                    let minus = v.g.neg(floor);
                    let cotangent = v.scale(minus);
                    v.give_summed(1, cotangent);
                }
            },
        },
        // b a^(b-1), 0 for b = 0;   y ln a, 0 where y is 0
        Binary::Pow => scaled!(
            "pow",
            |g, x, _y| {
                let less = g.add_scalar(x[1], -1.0);
                let power = g.pow(x[0], less);
                absorbing_mul(g, x[1], power)
            },
            |g, x, y| g.xlogy(y, x[0])
        ),
        Binary::Maximum => Row { name: "maximum", vjp: |v| extremum(v, Binary::Ge) },
        Binary::Minimum => Row { name: "minimum", vjp: |v| extremum(v, Binary::Le) },
        // of the angle of (b, a): b / (a^2 + b^2), -a / (a^2 + b^2)
        Binary::Atan2 => scaled!(
            "atan2",
            |g, x, _y| {
                let norm = squared_norm(g, x);
                g.div(x[1], norm)
            },
            |g, x, _y| {
                let norm = squared_norm(g, x);
                let ratio = g.div(x[0], norm);
                g.neg(ratio)
            }
        ),
        // ln b;  a / b, 0 where a is 0
        Binary::Xlogy => scaled!("xlogy", |g, x, _y| g.log(x[1]), |g, x, _y| {
            let r = g.recip(x[1]);
            absorbing_mul(g, x[0], r)
        }),
        // e^(a - y), e^(b - y); 0 where both operands are -inf
        Binary::LogAddExp => scaled!("log_add_exp", |g, x, y| share(g, x[0], y), |g, x, y| share(g, x[1], y)),
        // -1 / (e^(b-a) - 1),  -1 / (e^(a-b) - 1)
        Binary::LogSubExp => scaled!(
            "log_sub_exp",
            |g, x, _y| {
                let gap = log_gap(g, x);
                let e = g.expm1(gap);
                let r = g.recip(e);
                g.neg(r)
            },
            |g, x, _y| {
                let gap = log_gap(g, x);
                let gap = g.neg(gap);
                let e = g.expm1(gap);
                let r = g.recip(e);
                g.neg(r)
            }
        ),
        Binary::Lbeta => {
            scaled!("lbeta", |g, x, _y| lbeta_derivative(g, x[0], x), |g, x, _y| lbeta_derivative(g, x[1], x))
        }
        Binary::GammaIncP => scaled!("gammainc", |g, x, _y| g.push(Op::Binary(Binary::GammaIncPda), x), |g, x, _y| {
            gamma_density(g, x)
        }),
        Binary::GammaIncQ => scaled!(
            "gammaincc",
            |g, x, _y| {
                let d = g.push(Op::Binary(Binary::GammaIncPda), x);
                g.neg(d)
            },
            |g, x, _y| {
                let d = gamma_density(g, x);
                g.neg(d)
            }
        ),
        // d/dx dP/da = d/da of the density = density (ln x - digamma a)
        Binary::GammaIncPda => Row {
            name: "gammainc_da",
            vjp: |v| {
                v.refuse(0);
                if v.needs(1) {
                    let density = gamma_density(v.g, v.x);
                    let log = v.g.log(v.x[1]);
                    let digamma = v.g.digamma(v.x[0]);
                    let score = v.g.sub(log, digamma);
                    let d = absorbing_mul(v.g, density, score);
                    let cotangent = v.scale(d);
                    v.give_summed(1, cotangent);
                }
            },
        },
        Binary::VonMisesMass => {
            scaled!("von_mises_mass", |g, x, _y| g.push(Op::Binary(Binary::VonMisesMassDk), x), |g, x, _y| {
                von_mises_density(g, x)
            })
        }
        // d/dt: density (cos t - I_1(k)/I_0(k))
        Binary::VonMisesMassDk => Row {
            name: "von_mises_mass_dk",
            vjp: |v| {
                v.refuse(0);
                if v.needs(1) {
                    let density = von_mises_density(v.g, v.x);
                    let (i0, i1) = (v.g.i0e(v.x[0]), v.g.i1e(v.x[0]));
                    let length = v.g.div(i1, i0);
                    let cosine = v.g.cos(v.x[1]);
                    let score = v.g.sub(cosine, length);
                    let d = v.g.mul(density, score);
                    let cotangent = v.scale(d);
                    v.give_summed(1, cotangent);
                }
            },
        },
        Binary::Eq => flat!("eq"),
        Binary::Ne => flat!("ne"),
        Binary::Lt => flat!("lt"),
        Binary::Le => flat!("le"),
        Binary::Gt => flat!("gt"),
        Binary::Ge => flat!("ge"),
        Binary::And => flat!("and"),
        Binary::Or => flat!("or"),
    }
}

/// The row of `map`.
pub(super) fn ternary_row(map: Ternary) -> Row {
    match map {
        Ternary::Select => Row {
            name: "select",
            vjp: |v| {
                let zero = v.g.scalar(0.0);
                for i in 1..3 {
                    if v.needs(i) {
                        let (a, b) = if i == 1 { (v.dy, zero) } else { (zero, v.dy) };
                        let masked = v.g.select(v.x[0], a, b);
                        v.give_summed(i, masked);
                    }
                }
            },
        },
        Ternary::BetaInc => scaled!(
            "betainc",
            |g, x, _y| g.push(Op::Ternary(Ternary::BetaIncDa), x),
            |g, x, _y| { g.push(Op::Ternary(Ternary::BetaIncDb), x) },
            |g, x, _y| beta_density(g, x)
        ),
        Ternary::BetaIncDa => Row { name: "betainc_da", vjp: |v| beta_parameter_derivative(v, 0) },
        Ternary::BetaIncDb => Row { name: "betainc_db", vjp: |v| beta_parameter_derivative(v, 1) },
    }
}

/// The cotangent goes to the first operand where `first_wins`, to the second one elsewhere.
fn extremum(v: &mut Vjp, first_wins: Binary) {
    let wins = v.g.push(Op::Binary(first_wins), v.x);
    let zero = v.g.scalar(0.0);
    for i in 0..2 {
        if v.needs(i) {
            let (a, b) = if i == 0 { (v.dy, zero) } else { (zero, v.dy) };
            let masked = v.g.select(wins, a, b);
            v.give_summed(i, masked);
        }
    }
}

fn squared_norm(g: &mut Builder, x: &[ValueId]) -> ValueId {
    let (a, b) = (g.square(x[0]), g.square(x[1]));
    g.add(a, b)
}

/// `y`, and 0 where it is -inf: then `x - y` is -inf, not NaN, for `x = -inf`.
pub(super) fn finite_norm(g: &mut Builder, y: ValueId) -> ValueId {
    let empty = g.compare_scalar(Binary::Eq, y, f64::NEG_INFINITY);
    let zero = g.scalar(0.0);
    g.select(empty, zero, y)
}

/// `e^(x - y)` for `y = ln sum exp`.
pub(super) fn share(g: &mut Builder, x: ValueId, y: ValueId) -> ValueId {
    let norm = finite_norm(g, y);
    let difference = g.sub(x, norm);
    g.exp(difference)
}

/// `b - a`, and -inf where `b` is -inf.
fn log_gap(g: &mut Builder, x: &[ValueId]) -> ValueId {
    let nothing = g.compare_scalar(Binary::Eq, x[1], f64::NEG_INFINITY);
    let gap = g.sub(x[1], x[0]);
    g.select(nothing, x[1], gap)
}

fn lbeta_derivative(g: &mut Builder, a: ValueId, x: &[ValueId]) -> ValueId {
    let total = g.add(x[0], x[1]);
    let (own, all) = (g.digamma(a), g.digamma(total));
    g.sub(own, all)
}

/// `x^(a-1) e^-x / Gamma(a)`
fn gamma_density(g: &mut Builder, x: &[ValueId]) -> ValueId {
    let less = g.add_scalar(x[0], -1.0);
    let power = g.xlogy(less, x[1]);
    let lgamma = g.lgamma(x[0]);
    let d = g.sub(power, x[1]);
    let d = g.sub(d, lgamma);
    g.exp(d)
}

/// `e^(k (cos t - 1)) / (2 pi e^-k I_0(k))`
fn von_mises_density(g: &mut Builder, x: &[ValueId]) -> ValueId {
    let half = g.mul_scalar(x[1], 0.5);
    let sine = g.sin(half);
    let square = g.square(sine);
    let twice = g.mul_scalar(square, -2.0);
    let power = g.mul(x[0], twice);
    let bell = g.exp(power);
    let bessel = g.i0e(x[0]);
    let norm = g.mul_scalar(bessel, std::f64::consts::TAU);
    g.div(bell, norm)
}

/// `x^(a-1) (1-x)^(b-1) / B(a, b)`
fn beta_density(g: &mut Builder, x: &[ValueId]) -> ValueId {
    let (a, b) = (g.add_scalar(x[0], -1.0), g.add_scalar(x[1], -1.0));
    let lower = g.xlogy(a, x[2]);
    let minus = g.neg(x[2]);
    let log = g.log1p(minus);
    let upper = absorbing_mul(g, b, log);
    let norm = g.lbeta(x[0], x[1]);
    let d = g.add(lower, upper);
    let d = g.sub(d, norm);
    g.exp(d)
}

/// Of `dI/da` (or `dI/db`) in `x`: density times the score of `a` (or `b`).
fn beta_parameter_derivative(v: &mut Vjp, parameter: usize) {
    v.refuse(0);
    v.refuse(1);
    if v.needs(2) {
        let density = beta_density(v.g, v.x);
        let log = if parameter == 0 {
            v.g.log(v.x[2])
        } else {
            let minus = v.g.neg(v.x[2]);
            v.g.log1p(minus)
        };
        let d = lbeta_derivative(v.g, v.x[parameter], v.x);
        let score = v.g.sub(log, d);
        let d = absorbing_mul(v.g, density, score);
        let cotangent = v.scale(d);
        v.give_summed(2, cotangent);
    }
}

/// Operands with and without broadcasting, where each map is smooth and defined.
#[cfg(test)]
pub(super) fn samples() -> Vec<Sample> {
    use Binary::*;
    let positive = [0.2, 5.0];
    let both = [-3.0, 3.0];
    let maps: &[(Binary, [f64; 2], [f64; 2])] = &[
        (Add, both, both),
        (Sub, both, both),
        (Mul, both, both),
        (MulAbsorbing, both, both),
        (Div, both, positive),
        (Rem, [2.1, 2.9], [1.0, 1.9]),
        (Pow, positive, both),
        (Maximum, both, both),
        (Minimum, both, both),
        (Atan2, both, positive),
        (Xlogy, both, positive),
        (LogAddExp, both, both),
        (LogSubExp, [1.0, 3.0], [-2.0, 0.9]),
        (Lbeta, positive, positive),
        (GammaIncP, positive, positive),
        (GammaIncPda, positive, positive),
        (GammaIncQ, positive, positive),
        (VonMisesMass, positive, both),
        (VonMisesMassDk, positive, both),
        (Eq, both, both),
        (Ne, both, both),
        (Lt, both, both),
        (Le, both, both),
        (Gt, both, both),
        (Ge, both, both),
        (And, both, both),
        (Or, both, both),
    ];
    let shapes: [[&[usize]; 2]; 4] = [[&[3, 5], &[3, 5]], [&[3, 5], &[]], [&[5], &[3, 1]], [&[2, 1, 3], &[4, 1]]];
    maps.iter()
        .flat_map(|&(map, [a, b], [c, d])| {
            shapes.map(|[x, y]| {
                let operands = [Fill::range(x.to_vec(), a, b), Fill::range(y.to_vec(), c, d)];
                sample(Op::Binary(map), operands)
            })
        })
        .collect()
}

/// Likewise.
#[cfg(test)]
pub(super) fn ternary_samples() -> Vec<Sample> {
    let mut samples = vec![
        sample(Op::Ternary(Ternary::Select), [Fill::Index([3, 5].into(), 2), Fill::real([3, 5]), Fill::real([5])]),
        sample(Op::Ternary(Ternary::Select), [Fill::Index([4, 1].into(), 2), Fill::real([]), Fill::real([1, 3])]),
    ];
    for map in [Ternary::BetaInc, Ternary::BetaIncDa, Ternary::BetaIncDb] {
        let operands = [Fill::range([4, 1], 0.3, 5.0), Fill::range([3], 0.3, 5.0), Fill::range([4, 3], 0.1, 0.9)];
        samples.push(sample(Op::Ternary(map), operands));
    }
    samples
}
