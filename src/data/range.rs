//! Checks values against a declared range, `in 0..10`, whose ends may be arrays.

use super::arithmetic::broadcast;
use super::value::{Array, print_number, print_shape};
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use ndarray::IxDyn;

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
    /// Ends that are arrays hold elementwise and must broadcast to the shape of `x`. NaN lies outside.
    pub fn check(&self, name: &str, x: &Array, span: Span) -> Option<Diagnostic> {
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
            let inside = low.is_none_or(|low| v >= low)
                && high.is_none_or(|high| if self.closed { v <= high } else { v < high });
            if v.is_nan() || !inside {
                count += 1;
                first.get_or_insert((i, v, low, high));
            }
        }
        let (flat, v, low, high) = first?;
        let print = |end: Option<f64>| end.map_or(String::new(), |e| print_number(e, x.elem));
        let dots = if self.closed { "..=" } else { ".." };
        let range = format!("{}{dots}{}", print(low), print(high));
        let message = format!("`{name}` is {} outside its range `{range}`: {}", print_number(v, x.elem), x.place(flat));
        let mut d = Diagnostic::new(Code::E0905, message).label(span, "the range is declared here");
        if count > 1 {
            d = d.note(format!("{count} of {} values lie outside", x.data.len()));
        }
        if !self.closed && high == Some(v) {
            d = d.help("`a..b` ends before `b`; write `a..=b` to include it");
        }
        Some(d)
    }
}
