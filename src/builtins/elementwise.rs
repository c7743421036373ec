//! Elementwise functions and operators.

use super::{FnDef, Rows, Typed, req};
use crate::check::call::CallCx;
use crate::check::typed::{Attrs, Ty};
use crate::diag::Diagnostic;
use crate::ir::{Builder, ValueId};
use crate::kernels::elementwise::Binary;
use crate::syntax::ast::Elem;

type Checked = Result<Typed, Box<Diagnostic>>;

fn unary(cx: &mut CallCx<'_, '_>, result: impl Fn(Elem) -> Elem) -> Checked {
    let x = cx.array(0)?;
    let ty = cx.ty(x);
    Ok(Typed { ty: Ty::new(result(ty.elem), ty.shape), args: vec![x], attrs: Attrs::default() })
}
fn real_unary(cx: &mut CallCx<'_, '_>) -> Checked {
    unary(cx, |_| Elem::Real)
}
fn same_unary(cx: &mut CallCx<'_, '_>) -> Checked {
    unary(cx, |e| if e == Elem::Real { Elem::Real } else { Elem::Int })
}
fn not_unary(cx: &mut CallCx<'_, '_>) -> Checked {
    cx.require_bool(0)?;
    unary(cx, |_| Elem::Bool)
}
fn binary(cx: &mut CallCx<'_, '_>, result: impl Fn(Elem, Elem) -> Elem) -> Checked {
    let (a, b) = (cx.array(0)?, cx.array(1)?);
    let shape = cx.broadcast(&[a, b])?;
    let elem = result(cx.ty(a).elem, cx.ty(b).elem);
    Ok(Typed { ty: Ty::new(elem, shape), args: vec![a, b], attrs: Attrs::default() })
}
fn arithmetic(cx: &mut CallCx<'_, '_>) -> Checked {
    binary(cx, |a, b| if a == Elem::Real || b == Elem::Real { Elem::Real } else { Elem::Int })
}
fn real_binary(cx: &mut CallCx<'_, '_>) -> Checked {
    binary(cx, |_, _| Elem::Real)
}
fn comparison(cx: &mut CallCx<'_, '_>) -> Checked {
    binary(cx, |_, _| Elem::Bool)
}
fn logic(cx: &mut CallCx<'_, '_>) -> Checked {
    cx.require_bool(0)?;
    cx.require_bool(1)?;
    comparison(cx)
}
fn where_rule(cx: &mut CallCx<'_, '_>) -> Checked {
    cx.require_bool(0)?;
    let (c, a, b) = (cx.array(0)?, cx.array(1)?, cx.array(2)?);
    let shape = cx.broadcast(&[c, a, b])?;
    let elem = match (cx.ty(a).elem, cx.ty(b).elem) {
        (a, b) if a == b => a,
        (Elem::Real, _) | (_, Elem::Real) => Elem::Real,
        _ => Elem::Int,
    };
    Ok(Typed { ty: Ty::new(elem, shape), args: vec![c, a, b], attrs: Attrs::default() })
}

fn reals(g: &mut Builder, args: &[ValueId]) -> Vec<ValueId> {
    args.iter().map(|&a| g.to_real(a)).collect()
}

macro_rules! unary_rows {
    ($($const:ident $name:literal $rule:ident $method:ident $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub static $const: FnDef = FnDef {
                name: $name,
                signature: concat!($name, "(x)"),
                doc: $doc,
                params: &[req("x")],
                check: $rule,
                lower: |g, a, _| { let a = reals(g, a); g.$method(a[0]) },
                rows: Rows::Elementwise,
            };
        )*
    };
}
macro_rules! binary_rows {
    ($($const:ident $name:literal ($a:literal $b:literal) $rule:ident $method:ident $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub static $const: FnDef = FnDef {
                name: $name,
                signature: concat!($name, "(", $a, ", ", $b, ")"),
                doc: $doc,
                params: &[req($a), req($b)],
                check: $rule,
                lower: |g, a, _| { let a = keep_ints(g, a); g.$method(a[0], a[1]) },
                rows: Rows::Elementwise,
            };
        )*
    };
}
/// Ints stay ints only when both are.
fn keep_ints(g: &mut Builder, a: &[ValueId]) -> Vec<ValueId> {
    if a.iter().all(|&v| g.dtype(v) != crate::ir::DType::Real) { a.to_vec() } else { reals(g, a) }
}
fn logit(g: &mut Builder, x: ValueId) -> ValueId {
    let (a, negative) = (g.log(x), g.neg(x));
    let b = g.log1p(negative);
    g.sub(a, b)
}

unary_rows! {
    NEG "-" same_unary neg "The negative.";
    ABS "abs" same_unary abs "The absolute value.";
    SIGN "sign" same_unary sign "-1, 0 or 1.";
    SQRT "sqrt" real_unary sqrt "The square root.";
    SQUARE "square" same_unary square "The square.";
    EXP "exp" real_unary exp "The exponential function.";
    LOG "log" real_unary log "The natural logarithm.";
    LOG1P "log1p" real_unary log1p "ln(1 + x), accurate for small x.";
    EXPM1 "expm1" real_unary expm1 "e^x - 1, accurate for small x.";
    LOG1M_EXP "log1m_exp" real_unary log1m_exp "ln(1 - e^x) for x < 0, accurate everywhere.";
    SIGMOID "sigmoid" real_unary sigmoid "The logistic function 1 / (1 + e^-x).";
    LOG_SIGMOID "log_sigmoid" real_unary log_sigmoid "The logarithm of the logistic function.";
    SOFTPLUS "softplus" real_unary softplus "ln(1 + e^x).";
    RELU "relu" real_unary relu "max(x, 0).";
    GELU "gelu" real_unary gelu "The Gaussian error linear unit x Phi(x).";
    SIN "sin" real_unary sin "The sine.";
    COS "cos" real_unary cos "The cosine.";
    TAN "tan" real_unary tan "The tangent.";
    ASIN "asin" real_unary asin "The inverse sine.";
    ACOS "acos" real_unary acos "The inverse cosine.";
    ATAN "atan" real_unary atan "The inverse tangent.";
    SINH "sinh" real_unary sinh "The hyperbolic sine.";
    COSH "cosh" real_unary cosh "The hyperbolic cosine.";
    TANH "tanh" real_unary tanh "The hyperbolic tangent.";
    FLOOR "floor" same_unary floor "The largest integer not above x.";
    CEIL "ceil" same_unary ceil "The smallest integer not below x.";
    ROUND "round" same_unary round "The nearest integer, halves away from zero.";
    LGAMMA "lgamma" real_unary lgamma "The logarithm of the gamma function.";
    DIGAMMA "digamma" real_unary digamma "The derivative of lgamma.";
    ERF "erf" real_unary erf "The error function.";
    ERFC "erfc" real_unary erfc "1 - erf(x), accurate for large x.";
    NORMAL_CDF "normal_cdf" real_unary ndtr "The cdf of the standard normal.";
    NORMAL_ICDF "normal_icdf" real_unary ndtri "The inverse of the cdf of the standard normal.";
}
/// The log odds.
pub static LOGIT: FnDef = FnDef {
    name: "logit",
    signature: "logit(p)",
    doc: "The log odds ln(p / (1 - p)).",
    params: &[req("p")],
    check: real_unary,
    lower: |g, a, _| {
        let a = reals(g, a);
        logit(g, a[0])
    },
    rows: Rows::Elementwise,
};
/// Logical not.
pub static NOT: FnDef = FnDef {
    name: "not",
    signature: "not c",
    doc: "True where c is false.",
    params: &[req("c")],
    check: not_unary,
    lower: |g, a, _| g.not(a[0]),
    rows: Rows::Elementwise,
};

binary_rows! {
    ADD "+" ("a" "b") arithmetic add "The sum.";
    SUB "-" ("a" "b") arithmetic sub "The difference.";
    MUL "*" ("a" "b") arithmetic mul "The product, elementwise.";
    REM "%" ("a" "b") arithmetic rem "The remainder, with the sign of b.";
    MAXIMUM "maximum" ("a" "b") arithmetic maximum "The larger one, elementwise.";
    MINIMUM "minimum" ("a" "b") arithmetic minimum "The smaller one, elementwise.";
    EQ "==" ("a" "b") comparison eq "Whether a equals b.";
    NE "!=" ("a" "b") comparison ne "Whether a differs from b.";
    LT "<" ("a" "b") comparison lt "Whether a is less than b.";
    LE "<=" ("a" "b") comparison le "Whether a is at most b.";
    GT ">" ("a" "b") comparison gt "Whether a is greater than b.";
    GE ">=" ("a" "b") comparison ge "Whether a is at least b.";
    AND "and" ("a" "b") logic and "Both.";
    OR "or" ("a" "b") logic or "Either.";
}
macro_rules! real_binary_rows {
    ($($const:ident $name:literal ($a:literal $b:literal) $lower:expr, $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub static $const: FnDef = FnDef {
                name: $name,
                signature: concat!($name, "(", $a, ", ", $b, ")"),
                doc: $doc,
                params: &[req($a), req($b)],
                check: real_binary,
                lower: |g, a, _| {
                    let a = reals(g, a);
                    let lower: fn(&mut Builder, ValueId, ValueId) -> ValueId = $lower;
                    lower(g, a[0], a[1])
                },
                rows: Rows::Elementwise,
            };
        )*
    };
}
real_binary_rows! {
    DIV "/" ("a" "b") |g, a, b| g.div(a, b), "The quotient; a real also for ints.";
    POW "^" ("a" "b") |g, a, b| g.pow(a, b), "The power.";
    ATAN2 "atan2" ("y" "x") |g, a, b| g.atan2(a, b), "The angle of the point (x, y).";
    LBETA "lbeta" ("a" "b") |g, a, b| g.lbeta(a, b), "The logarithm of the beta function.";
    LCHOOSE "lchoose" ("n" "k") lchoose, "The logarithm of the binomial coefficient.";
    LOG_ADD_EXP "log_add_exp" ("a" "b") |g, a, b| g.log_add_exp(a, b), "ln(e^a + e^b), without overflow.";
}
fn lchoose(g: &mut Builder, n: ValueId, k: ValueId) -> ValueId {
    // ln C(n, k) = -ln(n + 1) - ln B(n - k + 1, k + 1)
    let n1 = g.add_scalar(n, 1.0);
    let k1 = g.add_scalar(k, 1.0);
    let rest = g.sub(n1, k);
    let beta = g.lbeta(rest, k1);
    let log_n1 = g.log(n1);
    let sum = g.add(beta, log_n1);
    g.neg(sum)
}
/// Choice by values.
pub static WHERE: FnDef = FnDef {
    name: "where",
    signature: "where(c, a, b)",
    doc: "a where c holds, else b; the branch that is not taken never reaches the gradient.",
    params: &[req("c"), req("a"), req("b")],
    check: where_rule,
    lower: |g, a, _| {
        let branches = keep_ints(g, &a[1..]);
        g.select(a[0], branches[0], branches[1])
    },
    rows: Rows::Elementwise,
};

/// The operation behind a comparison, for compile-time conditions.
pub fn comparison_of(def: &FnDef) -> Option<Binary> {
    Some(match def.name {
        "==" => Binary::Eq,
        "!=" => Binary::Ne,
        "<" => Binary::Lt,
        "<=" => Binary::Le,
        ">" => Binary::Gt,
        ">=" => Binary::Ge,
        _ => return None,
    })
}

/// The rows of this file.
pub static ROWS: &[&FnDef] = &[
    &NEG,
    &ABS,
    &SIGN,
    &SQRT,
    &SQUARE,
    &EXP,
    &LOG,
    &LOG1P,
    &EXPM1,
    &LOG1M_EXP,
    &LOGIT,
    &SIGMOID,
    &LOG_SIGMOID,
    &SOFTPLUS,
    &RELU,
    &GELU,
    &SIN,
    &COS,
    &TAN,
    &ASIN,
    &ACOS,
    &ATAN,
    &ATAN2,
    &SINH,
    &COSH,
    &TANH,
    &FLOOR,
    &CEIL,
    &ROUND,
    &LGAMMA,
    &DIGAMMA,
    &LBETA,
    &LCHOOSE,
    &ERF,
    &ERFC,
    &NORMAL_CDF,
    &NORMAL_ICDF,
    &LOG_ADD_EXP,
    &MAXIMUM,
    &MINIMUM,
    &WHERE,
    &ADD,
    &SUB,
    &MUL,
    &DIV,
    &REM,
    &POW,
    &EQ,
    &NE,
    &LT,
    &LE,
    &GT,
    &GE,
    &AND,
    &OR,
    &NOT,
];
