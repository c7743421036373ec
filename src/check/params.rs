//! Ranges of learnable constants: `param s: real in 0.5..`, `param rho: real in -1..1`.
//!
//! A `param` is kept above 0, between 0 and 1, or free; any other range is one of these moved and scaled.

use super::checker::{Checker, R};
use super::typed::*;
use crate::builtins::elementwise as ew;
use crate::diag::Code;
use crate::source::Span;
use crate::syntax::ast::{self, Elem, ExprKind as Syntax};

/// Where a `param` lies: `offset + scale * x`, x as its constraint says.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParamRange {
    pub(super) constraint: Constraint,
    offset: f64,
    scale: f64,
}

impl Default for ParamRange {
    fn default() -> Self {
        Self { constraint: Constraint::Real, offset: 0.0, scale: 1.0 }
    }
}

impl ParamRange {
    fn is_plain(self) -> bool {
        self.offset == 0.0 && self.scale == 1.0
    }
    /// Whether `x` lies inside.
    fn contains(self, x: f64) -> bool {
        let u = (x - self.offset) / self.scale;
        match self.constraint {
            Constraint::Positive => u > 0.0,
            Constraint::UnitInterval => u > 0.0 && u < 1.0,
            _ => true,
        }
    }
}

impl<'p> Checker<'p> {
    /// The range that `in` gives.
    pub(super) fn param_range(&mut self, range: &ast::Expr) -> R<ParamRange> {
        let Syntax::Range { start, end, .. } = &range.kind else {
            return Err(self.error(
                Code::E0403,
                "`in` needs a range",
                range.span,
                "not a range",
                "write for example `in 0..`",
            ));
        };
        let low = start.as_deref().map(|e| self.bound(e)).transpose()?.filter(|x| x.is_finite());
        let high = end.as_deref().map(|e| self.bound(e)).transpose()?.filter(|x| x.is_finite());
        let (constraint, offset, scale) = match (low, high) {
            (None, None) => (Constraint::Real, 0.0, 1.0),
            (Some(low), None) => (Constraint::Positive, low, 1.0),
            (None, Some(high)) => (Constraint::Positive, high, -1.0),
            (Some(low), Some(high)) if low < high => (Constraint::UnitInterval, low, high - low),
            (Some(low), Some(high)) => {
                let message = format!("nothing lies between {low} and {high}");
                return Err(self.error(Code::E0403, message, range.span, "this range", "put the smaller end first"));
            }
        };
        Ok(ParamRange { constraint, offset, scale })
    }
    fn bound(&mut self, e: &ast::Expr) -> R<f64> {
        let value = self.scalar(e)?;
        match self.const_value(value) {
            Some(x) => Ok(x),
            None => Err(self.error(
                Code::E0402,
                "the range of a `param` must be known at compile time",
                e.span,
                "this depends on values",
                "scale it: `b * p` with `param p: real in 0..1`",
            )),
        }
    }
    /// Refuses a starting value that is random, learnable or outside.
    pub(super) fn check_start(&mut self, e: ExprId, range: ParamRange, name: &str) -> R<()> {
        let span = self.program.exprs[e].span;
        if let Some(x) = self.const_value(e).filter(|&x| !range.contains(x)) {
            let message = format!("`{name}` starts at {x}, which is outside its range");
            return Err(self.error(Code::E0502, message, span, "this initial value", "start inside the range"));
        }
        let mut stack = vec![e];
        while let Some(e) = stack.pop() {
            if matches!(
                self.program.exprs[e].kind,
                ExprKind::Site(_) | ExprKind::Param(_) | ExprKind::Hole(_) | ExprKind::Draw(_)
            ) {
                let message = format!("the initial value of `{name}` is not fixed");
                let help = "start with an expression of data and numbers";
                return Err(self.error(Code::E0402, message, span, "random or learnable", help));
            }
            stack.extend(self.program.operands(e));
        }
        Ok(())
    }
    /// The value of a param from the number that is kept.
    pub(super) fn in_range(&mut self, e: ExprId, range: ParamRange, span: Span) -> R<ExprId> {
        if range.is_plain() {
            return Ok(e);
        }
        let (offset, scale) =
            (self.constant(range.offset, Elem::Real, span), self.constant(range.scale, Elem::Real, span));
        let scaled = self.apply(&ew::MUL, &[e, scale], span)?;
        self.apply(&ew::ADD, &[scaled, offset], span)
    }
    /// The number that is kept for the value `e`.
    pub(super) fn out_of_range(&mut self, e: ExprId, range: ParamRange, span: Span) -> R<ExprId> {
        if range.is_plain() {
            return Ok(e);
        }
        let (offset, scale) =
            (self.constant(range.offset, Elem::Real, span), self.constant(range.scale, Elem::Real, span));
        let moved = self.apply(&ew::SUB, &[e, offset], span)?;
        self.apply(&ew::DIV, &[moved, scale], span)
    }
}
