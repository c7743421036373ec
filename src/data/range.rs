//! Checks values against a declared range, `in 0..10`, whose ends may be arrays.

use super::arithmetic::broadcast;
use super::value::{Array, Elem, Value, place, print_number, print_shape};
use super::values::Values;
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use ndarray::IxDyn;
use std::ops::ControlFlow;

/// A range whose ends have values.
pub struct Range {
    /// The lower end, which belongs to the range.
    pub start: Option<Array>,
    /// The upper end.
    pub end: Option<Array>,
    /// Whether the upper end belongs to the range.
    pub closed: bool,
}

impl Range {
    /// The message about the first value of `x` outside the range, `None` when all lie inside.
    ///
    /// Ends that are arrays hold elementwise and must broadcast to the shape of `x`. NaN lies outside. Of an array in a file
    /// only the ends are looked at where they and the ends of the range are numbers.
    pub fn check(&self, name: &str, x: &Value, span: Span) -> Option<Diagnostic> {
        match x {
            Value::Array(x) => self.check_array(name, x, span),
            Value::Lazy(lazy) => {
                let scalar = |end: &Option<Array>| end.as_ref().map(Array::as_scalar);
                let (low, high) = match (scalar(&self.start), scalar(&self.end)) {
                    (Some(None), _) | (_, Some(None)) => return self.check_array(name, &lazy.to_array(), span),
                    (low, high) => (low.flatten(), high.flatten()),
                };
                let inside = |v: f64| self.holds(v, low, high);
                if lazy.within(|least, greatest| inside(least) && inside(greatest)) {
                    return None;
                }
                let (mut first, mut count) = (None, 0);
                let _ = lazy.blocks(&mut |at, block| {
                    for (i, &v) in block.iter().enumerate().filter(|&(_, &v)| !inside(v)) {
                        count += 1;
                        first.get_or_insert((at + i, v, low, high));
                    }
                    ControlFlow::Continue(())
                });
                let found = Found { elem: lazy.elem, count, of: Values::Lazy(lazy.clone()).len() };
                let (at, v, low, high) = first?;
                Some(self.message(name, (v, low, high), &place(lazy.shape(), at, None, None), &found, span))
            }
            _ => None,
        }
    }
    /// Whether `v` lies between these ends; NaN does not.
    fn holds(&self, v: f64, low: Option<f64>, high: Option<f64>) -> bool {
        !v.is_nan()
            && low.is_none_or(|low| v >= low)
            && high.is_none_or(|high| if self.closed { v <= high } else { v < high })
    }
    fn check_array(&self, name: &str, x: &Array, span: Span) -> Option<Diagnostic> {
        let shape = IxDyn(x.shape());
        for end in [&self.start, &self.end].into_iter().flatten() {
            if broadcast(end.shape(), x.shape()).as_deref() != Some(x.shape()) {
                let message = format!(
                    "an end of the range of `{name}` has shape {}, but `{name}` has {}",
                    print_shape(end.shape()),
                    print_shape(x.shape())
                );
                return Some(Diagnostic::new(Code::E0903, message).label(span, "this range"));
            }
        }
        let lower = self.start.as_ref().and_then(|a| a.data.broadcast(shape.clone()));
        let upper = self.end.as_ref().and_then(|a| a.data.broadcast(shape));
        let mut lower = lower.as_ref().map(|v| v.iter());
        let mut upper = upper.as_ref().map(|v| v.iter());
        let mut first = None;
        let mut count = 0usize;
        for (i, &v) in x.data.iter().enumerate() {
            let low = lower.as_mut().and_then(|l| l.next().copied());
            let high = upper.as_mut().and_then(|u| u.next().copied());
            if !self.holds(v, low, high) {
                count += 1;
                first.get_or_insert((i, v, low, high));
            }
        }
        let (flat, v, low, high) = first?;
        let found = Found { elem: x.elem, count, of: x.data.len() };
        Some(self.message(name, (v, low, high), &x.place(flat), &found, span))
    }
    /// What is said of the first value outside, with the ends beside it.
    fn message(
        &self,
        name: &str,
        (v, low, high): (f64, Option<f64>, Option<f64>),
        place: &str,
        found: &Found,
        span: Span,
    ) -> Diagnostic {
        let print = |end: Option<f64>| end.map_or(String::new(), |e| print_number(e, found.elem));
        let dots = if self.closed { "..=" } else { ".." };
        let range = format!("{}{dots}{}", print(low), print(high));
        let message = format!("`{name}` is {} outside its range `{range}`: {place}", print_number(v, found.elem));
        let mut d = Diagnostic::new(Code::E0905, message).label(span, "the range is declared here");
        if found.count > 1 {
            d = d.note(format!("{} of {} values lie outside", found.count, found.of));
        }
        if !self.closed && high == Some(v) {
            d = d.help("`a..b` ends before `b`; write `a..=b` to include it");
        }
        d
    }
}

/// How many values lie outside a range, of how many.
struct Found {
    elem: Elem,
    count: usize,
    of: usize,
}
