//! Ranges of learnable constants: `param s: real in 0.5..`, `param rho: real in -1..1`.

use super::checker::{Checker, R, Reported};
use super::typed::*;
use crate::diag::Code;
use crate::source::Span;
use crate::syntax::ast::{self, ExprKind as Syntax};

impl<'p> Checker<'p> {
    /// The constraint that a range with known ends is; an infinite end is none.
    pub(super) fn param_constraint(&mut self, range: &ast::Expr) -> R<Constraint> {
        let Syntax::Range { start, end, .. } = &range.kind else {
            return Err(self.unknown_range(range.span));
        };
        let mut ends = [f64::NEG_INFINITY, f64::INFINITY];
        for (place, end) in ends.iter_mut().zip([start, end]) {
            if let Some(e) = end {
                let value = self.scalar(e)?;
                match self.const_value(value) {
                    Some(value) if !value.is_nan() => *place = value,
                    _ => return Err(self.unknown_range(e.span)),
                }
            }
        }
        let [low, high] = ends;
        if low >= high {
            return Err(self.error(
                Code::E0502,
                format!("the range of a `param` must have room, found {low} to {high}"),
                range.span,
                "nothing lies between the ends",
                "exchange the two",
            ));
        }
        Ok(match (low, high) {
            (f64::NEG_INFINITY, f64::INFINITY) => Constraint::Real,
            (0.0, f64::INFINITY) => Constraint::Positive,
            (0.0, 1.0) => Constraint::UnitInterval,
            (low, f64::INFINITY) => Constraint::Above(low),
            (f64::NEG_INFINITY, high) => Constraint::Below(high),
            (low, high) => Constraint::Between(low, high),
        })
    }
    fn unknown_range(&mut self, span: Span) -> Reported {
        self.error(
            Code::E0402,
            "the range of a `param` must be known at compile time",
            span,
            "not a known number",
            "write numbers, `0..`, `-1..1` or `..120`, or scale by a value: `bound * p` with `param p: real in 0..1`",
        )
    }
    /// Refuses an initial value that is random, learnable or, as far as it is known, outside its range.
    pub(super) fn check_start(&mut self, name: &str, constraint: Constraint, init: ExprId) -> R<()> {
        let numbers = match &self.program.exprs[init].kind {
            ExprKind::Call { def, args, .. } if def.name == "stack" => args.clone(),
            _ => vec![init],
        };
        let mut stack = vec![init];
        while let Some(e) = stack.pop() {
            if matches!(
                self.program.exprs[e].kind,
                ExprKind::Site(_) | ExprKind::Param(_) | ExprKind::Hole(_) | ExprKind::Draw(_) | ExprKind::Discrete(_)
            ) {
                let message = format!("the initial value of `{name}` is not fixed");
                let span = self.program.exprs[init].span;
                let help = "start with an expression of data and numbers";
                return Err(self.error(Code::E0402, message, span, "random or learnable", help));
            }
            stack.extend(self.program.operands(e));
        }
        let Some(bad) = numbers.iter().filter_map(|&e| self.const_value(e)).find(|&x| !constraint.contains(x)) else {
            return Ok(());
        };
        let span = self.program.exprs[init].span;
        Err(self.error(
            Code::E0502,
            format!("`{name}` cannot start at {bad}"),
            span,
            "not inside its range",
            "start inside the range, not at an end",
        ))
    }
}
