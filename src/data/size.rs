//! Sizes by name: their values, where these come from, and size expressions such as `2 * K + 1`.

use super::value::Labels;
use crate::source::Span;
use crate::syntax::ast::{BinaryOp, Expr, ExprKind, UnaryOp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The value of a size.
#[derive(Clone, PartialEq, Debug)]
pub struct SizeValue {
    /// How many.
    pub value: usize,
    /// What its indices are called, if they have names.
    pub labels: Option<Arc<Labels>>,
    /// Where the value comes from.
    pub origin: SizeOrigin,
}

/// Where the value of a size comes from.
#[derive(Clone, PartialEq, Debug)]
pub enum SizeOrigin {
    /// `size K = 10`, at this place.
    Item(Span),
    /// `--size K=10`
    CommandLine,
    /// The first data it appears in.
    Data {
        /// The datum.
        name: String,
        /// Which of its dimensions, from 0.
        dim: usize,
        /// The declaration of the datum.
        span: Span,
    },
    /// A fit that was made before.
    Fit,
}

/// The sizes that have a value, by name.
pub type SizeTable = BTreeMap<String, SizeValue>;

/// Computes a size from others.
pub type SizeFunction<'a> = Box<dyn Fn(&SizeTable) -> Option<usize> + 'a>;

/// One dimension that a datum is declared to have.
pub enum DimSpec<'a> {
    /// `real[8]`
    Known(usize),
    /// `real[N]`: gets its value from the first data it appears in.
    Named(String),
    /// `real[2 * K]`: checked when all names in it have a value.
    Computed {
        /// As messages show it.
        text: String,
        /// The size names in it.
        names: Vec<String>,
        /// Its value, or `None` while a name in it has none or when it is not a number from 0 on.
        value: SizeFunction<'a>,
    },
}

impl<'a> DimSpec<'a> {
    /// The dimension that the size expression `expr` asks for.
    pub fn of(expr: &'a Expr) -> DimSpec<'a> {
        match &unwrap_parens(expr).kind {
            ExprKind::Name(name) => DimSpec::Named(name.clone()),
            ExprKind::Int(n) if *n >= 0 => DimSpec::Known(*n as usize),
            _ => {
                let mut in_it = Vec::new();
                names(expr, &mut |name| in_it.push(name.to_string()));
                DimSpec::Computed {
                    text: print_size(expr),
                    names: in_it,
                    value: Box::new(move |sizes| usize::try_from(evaluate(expr, sizes)?).ok()),
                }
            }
        }
    }
    /// As messages show it.
    pub fn text(&self) -> String {
        match self {
            DimSpec::Known(n) => n.to_string(),
            DimSpec::Named(name) => name.clone(),
            DimSpec::Computed { text, .. } => text.clone(),
        }
    }
}

/// `expr` without the parentheses around it.
pub(crate) fn unwrap_parens(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Paren(inner) => unwrap_parens(inner),
        _ => expr,
    }
}

/// The value of a size expression; division is floor. `None` while a name has no value, on division by zero and on
/// overflow.
pub fn evaluate(expr: &Expr, sizes: &SizeTable) -> Option<i64> {
    match &expr.kind {
        ExprKind::Int(n) => Some(*n),
        ExprKind::Name(name) => i64::try_from(sizes.get(name)?.value).ok(),
        ExprKind::Paren(inner) => evaluate(inner, sizes),
        ExprKind::Unary(UnaryOp::Neg, inner) => evaluate(inner, sizes)?.checked_neg(),
        ExprKind::Binary(op, a, b) => {
            let (a, b) = (evaluate(a, sizes)?, evaluate(b, sizes)?);
            match op {
                BinaryOp::Add => a.checked_add(b),
                BinaryOp::Sub => a.checked_sub(b),
                BinaryOp::Mul => a.checked_mul(b),
                BinaryOp::Div if b > 0 => Some(a.div_euclid(b)),
                BinaryOp::Rem if b > 0 => Some(a.rem_euclid(b)),
                BinaryOp::Pow => a.checked_pow(u32::try_from(b).ok()?),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Calls `each` with every name in a size expression.
pub fn names(expr: &Expr, each: &mut impl FnMut(&str)) {
    match &expr.kind {
        ExprKind::Name(name) => each(name),
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => names(inner, each),
        ExprKind::Binary(_, a, b) => {
            names(a, each);
            names(b, each);
        }
        _ => {}
    }
}

/// A size expression as text.
fn print_size(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Int(n) => n.to_string(),
        ExprKind::Name(name) => name.clone(),
        ExprKind::Paren(inner) => format!("({})", print_size(inner)),
        ExprKind::Unary(UnaryOp::Neg, inner) => format!("-{}", print_size(inner)),
        ExprKind::Binary(op, a, b) => format!("{} {} {}", print_size(a), op.symbol(), print_size(b)),
        _ => "…".into(),
    }
}
