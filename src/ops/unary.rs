//! Maps of one operand: name and derivative of each.
//!
//! Derivatives that can be infinite or NaN are multiplied with `scale`, which lets a zero cotangent absorb them (see
//! `vjp.rs`). They are written for relative accuracy in the tails: `sigmoid(-x)` and not `1 - y`.

use super::vjp::Vjp;
use crate::ir::{Builder, DType, ValueId};
use crate::kernels::elementwise::{Binary, Unary};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// `1 / sqrt(2 pi)`
pub(super) const FRAC_1_SQRT_TAU: f64 = FRAC_1_SQRT_2 * 0.564_189_583_547_756_3;

/// What the table says of one map.
pub(super) struct Row {
    /// Its name in printed graphs.
    pub name: &'static str,
    /// Where it is smooth and defined, for the tests.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the tests of the table"))]
    pub domain: [f64; 2],
    /// Appends the cotangents of its operands.
    pub vjp: fn(&mut Vjp),
}

/// The dtype of the result.
pub(super) fn dtype(map: Unary, x: DType) -> DType {
    match map {
        Unary::Not => DType::Bool,
        Unary::Neg | Unary::Abs | Unary::Sign | Unary::Square | Unary::Floor | Unary::Ceil | Unary::Round => {
            if x == DType::Real { DType::Real } else { DType::Int }
        }
        _ => DType::Real,
    }
}

/// A row whose derivative is `derivative(g, x, y)`.
macro_rules! scaled {
    ($name:literal, $domain:expr, |$g:ident, $x:ident, $y:ident| $derivative:expr) => {
        Row {
            name: $name,
            domain: $domain,
            vjp: |v| {
                let ($x, $y) = (v.x[0], v.y);
                let _ = ($x, $y);
                let derivative = {
                    let $g = &mut *v.g;
                    $derivative
                };
                let dx = v.scale(derivative);
                v.give(0, dx);
            },
        }
    };
}

/// A row without a derivative: constant almost everywhere.
macro_rules! flat {
    ($name:literal, $domain:expr) => {
        Row { name: $name, domain: $domain, vjp: |_| {} }
    };
}

/// The row of `map`.
pub(super) fn row(map: Unary) -> Row {
    match map {
        Unary::Neg => Row {
            name: "neg",
            domain: [-3.0, 3.0],
            vjp: |v| {
                let dx = v.g.neg(v.dy);
                v.give(0, dx);
            },
        },
        Unary::Abs => scaled!("abs", [-3.0, 3.0], |g, x, y| g.sign(x)),
        Unary::Sign => flat!("sign", [0.1, 3.0]),
        Unary::Square => scaled!("square", [-3.0, 3.0], |g, x, y| g.mul_scalar(x, 2.0)),
        Unary::Recip => scaled!("recip", [0.3, 3.0], |g, x, y| {
            let square = g.square(y);
            g.neg(square)
        }),
        Unary::Sqrt => scaled!("sqrt", [0.1, 4.0], |g, x, y| g.scalar_div(0.5, y)),
        Unary::Rsqrt => scaled!("rsqrt", [0.1, 4.0], |g, x, y| {
            let square = g.square(y);
            let cube = g.mul(square, y);
            g.mul_scalar(cube, -0.5)
        }),
        Unary::Exp => scaled!("exp", [-3.0, 3.0], |_g, x, y| y),
        Unary::Expm1 => scaled!("expm1", [-3.0, 3.0], |g, x, y| g.exp(x)),
        Unary::Log => scaled!("log", [0.1, 4.0], |g, x, y| g.recip(x)),
        Unary::Log1p => scaled!("log1p", [-0.9, 3.0], |g, x, y| {
            let shifted = g.add_scalar(x, 1.0);
            g.recip(shifted)
        }),
        // -e^x / (1 - e^x) = e^x / (e^x - 1)
        Unary::Log1mExp => scaled!("log1m_exp", [-4.0, -0.1], |g, x, y| logistic_ratio(g, x)),
        Unary::Sigmoid => scaled!("sigmoid", [-3.0, 3.0], |g, x, y| {
            let minus = g.neg(x);
            let complement = g.sigmoid(minus);
            g.mul(y, complement)
        }),
        Unary::LogSigmoid => scaled!("log_sigmoid", [-3.0, 3.0], |g, x, y| {
            let minus = g.neg(x);
            g.sigmoid(minus)
        }),
        Unary::Softplus => scaled!("softplus", [-3.0, 3.0], |g, x, y| g.sigmoid(x)),
        // e^x / (e^x - 1)
        Unary::SoftplusInv => scaled!("softplus_inv", [0.1, 5.0], |g, x, y| logistic_ratio(g, x)),
        Unary::Relu => Row {
            name: "relu",
            domain: [-3.0, 3.0],
            vjp: |v| {
                // The result says it as well as the operand, which nobody else may need any more.
                let positive = v.g.compare_scalar(Binary::Gt, v.y, 0.0);
                let zero = v.g.scalar(0.0);
                let dx = v.g.select(positive, v.dy, zero);
                v.give(0, dx);
            },
        },
        // Phi(x) + x phi(x)
        Unary::Gelu => scaled!("gelu", [-3.0, 3.0], |g, x, y| {
            let cdf = g.ndtr(x);
            let density = normal_density(g, x);
            let product = g.mul(x, density);
            g.add(cdf, product)
        }),
        // 1 / cosh^2
        Unary::Tanh => scaled!("tanh", [-3.0, 3.0], |g, x, y| {
            let cosh = g.cosh(x);
            let sech = g.recip(cosh);
            g.square(sech)
        }),
        Unary::Sin => scaled!("sin", [-3.0, 3.0], |g, x, y| g.cos(x)),
        Unary::Cos => scaled!("cos", [-3.0, 3.0], |g, x, y| {
            let sin = g.sin(x);
            g.neg(sin)
        }),
        Unary::Tan => scaled!("tan", [-1.3, 1.3], |g, x, y| {
            let square = g.square(y);
            g.add_scalar(square, 1.0)
        }),
        Unary::Asin => scaled!("asin", [-0.9, 0.9], |g, x, y| rsqrt_one_minus_square(g, x)),
        Unary::Acos => scaled!("acos", [-0.9, 0.9], |g, x, y| {
            let d = rsqrt_one_minus_square(g, x);
            g.neg(d)
        }),
        Unary::Atan => scaled!("atan", [-3.0, 3.0], |g, x, y| {
            let square = g.square(x);
            let one_plus = g.add_scalar(square, 1.0);
            g.recip(one_plus)
        }),
        Unary::Sinh => scaled!("sinh", [-3.0, 3.0], |g, x, y| g.cosh(x)),
        Unary::Cosh => scaled!("cosh", [-3.0, 3.0], |g, x, y| g.sinh(x)),
        Unary::Floor => flat!("floor", [0.1, 0.9]),
        Unary::Ceil => flat!("ceil", [0.1, 0.9]),
        Unary::Round => flat!("round", [0.6, 1.4]),
        Unary::Lgamma => scaled!("lgamma", [0.2, 6.0], |g, x, y| g.digamma(x)),
        Unary::Digamma => scaled!("digamma", [0.2, 6.0], |g, x, y| g.trigamma(x)),
        Unary::Trigamma => Row { name: "trigamma", domain: [0.2, 6.0], vjp: |v| v.refuse(0) },
        Unary::Erf => scaled!("erf", [-3.0, 3.0], |g, x, y| erf_derivative(g, x)),
        Unary::Erfc => scaled!("erfc", [-3.0, 3.0], |g, x, y| {
            let d = erf_derivative(g, x);
            g.neg(d)
        }),
        Unary::Erfinv => scaled!("erfinv", [-0.9, 0.9], |g, x, y| {
            let square = g.square(y);
            let e = g.exp(square);
            g.mul_scalar(e, PI.sqrt() / 2.0)
        }),
        Unary::Ndtr => scaled!("ndtr", [-3.0, 3.0], |g, x, y| normal_density(g, x)),
        // phi(x) / Phi(x) = exp(-x^2/2 - ln Phi(x)) / sqrt(2 pi)
        Unary::LogNdtr => scaled!("log_ndtr", [-3.0, 3.0], |g, x, y| {
            let square = g.square(x);
            let half = g.mul_scalar(square, -0.5);
            let exponent = g.sub(half, y);
            let e = g.exp(exponent);
            g.mul_scalar(e, FRAC_1_SQRT_TAU)
        }),
        Unary::Ndtri => scaled!("ndtri", [0.05, 0.95], |g, x, y| {
            let square = g.square(y);
            let half = g.mul_scalar(square, 0.5);
            let e = g.exp(half);
            g.mul_scalar(e, 1.0 / FRAC_1_SQRT_TAU)
        }),
        // I0' = I1, and the scaling e^-|x|
        Unary::I0e => scaled!("i0e", [0.1, 6.0], |g, x, y| {
            let i1 = g.i1e(x);
            let sign = g.sign(x);
            let scaling = g.mul(sign, y);
            g.sub(i1, scaling)
        }),
        // I1' = I0 - I1/x; I1/x is 1/2 at 0
        Unary::I1e => scaled!("i1e", [0.1, 6.0], |g, x, y| {
            let zero = g.compare_scalar(Binary::Eq, x, 0.0);
            let (one, half) = (g.scalar(1.0), g.scalar(0.5));
            let safe = g.select(zero, one, x);
            let ratio = g.div(y, safe);
            let ratio = g.select(zero, half, ratio);
            let i0 = g.i0e(x);
            let sign = g.sign(x);
            let scaling = g.mul(sign, y);
            let d = g.sub(i0, ratio);
            g.sub(d, scaling)
        }),
        Unary::Not => flat!("not", [0.5, 1.5]),
    }
}

/// `e^x / (e^x - 1) = -1 / (e^-x - 1)`
fn logistic_ratio(g: &mut Builder, x: ValueId) -> ValueId {
    let minus = g.neg(x);
    let e = g.expm1(minus);
    let r = g.recip(e);
    g.neg(r)
}

/// `1 / sqrt(1 - x^2)`
fn rsqrt_one_minus_square(g: &mut Builder, x: ValueId) -> ValueId {
    let less = g.scalar_sub(1.0, x);
    let more = g.add_scalar(x, 1.0);
    let product = g.mul(less, more);
    g.rsqrt(product)
}

/// `2 / sqrt(pi) e^(-x^2)`
fn erf_derivative(g: &mut Builder, x: ValueId) -> ValueId {
    let square = g.square(x);
    let minus = g.neg(square);
    let e = g.exp(minus);
    g.mul_scalar(e, 2.0 / PI.sqrt())
}

/// `e^(-x^2/2) / sqrt(2 pi)`
pub(super) fn normal_density(g: &mut Builder, x: ValueId) -> ValueId {
    let square = g.square(x);
    let half = g.mul_scalar(square, -0.5);
    let e = g.exp(half);
    g.mul_scalar(e, FRAC_1_SQRT_TAU)
}

/// All maps of one operand.
#[cfg(test)]
pub(super) const ALL: &[Unary] = &[
    Unary::Neg,
    Unary::Abs,
    Unary::Sign,
    Unary::Square,
    Unary::Recip,
    Unary::Sqrt,
    Unary::Rsqrt,
    Unary::Exp,
    Unary::Expm1,
    Unary::Log,
    Unary::Log1p,
    Unary::Log1mExp,
    Unary::Sigmoid,
    Unary::LogSigmoid,
    Unary::Softplus,
    Unary::Relu,
    Unary::Tanh,
    Unary::Sin,
    Unary::Cos,
    Unary::Tan,
    Unary::Asin,
    Unary::Acos,
    Unary::Atan,
    Unary::Sinh,
    Unary::Cosh,
    Unary::Floor,
    Unary::Ceil,
    Unary::Round,
    Unary::Lgamma,
    Unary::Digamma,
    Unary::Trigamma,
    Unary::Erf,
    Unary::Erfc,
    Unary::Erfinv,
    Unary::Ndtr,
    Unary::LogNdtr,
    Unary::Ndtri,
    Unary::Gelu,
    Unary::SoftplusInv,
    Unary::I0e,
    Unary::I1e,
    Unary::Not,
];
