//! What is left of a support between two ends.

use super::SupportKind::{self, *};

/// An end of an interval, as far as it is known before any data are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum End {
    /// There is none.
    Open,
    /// At this number.
    At(f64),
    /// Somewhere that parameters or data say.
    Given,
}

impl SupportKind {
    /// The ends of a support of numbers; `None` for vectors and matrices.
    pub fn ends(self) -> Option<(End, End)> {
        Some(match self {
            Real | Integer => (End::Open, End::Open),
            Positive | NonNegative | Count => (End::At(0.0), End::Open),
            UnitInterval | Boolean => (End::At(0.0), End::At(1.0)),
            Interval | IntegerRange => (End::Given, End::Given),
            GreaterThan => (End::Given, End::Open),
            LessThan => (End::Open, End::Given),
            _ => return None,
        })
    }
}

/// The support of numbers of `kind` that lie between the two ends, these included.
pub fn restrict(kind: SupportKind, lower: End, upper: End) -> SupportKind {
    let Some((below, above)) = kind.ends() else { return kind };
    if lower == End::Open && upper == End::Open {
        return kind;
    }
    let lower = tighter(below, lower, f64::max);
    let upper = tighter(above, upper, f64::min);
    if kind.is_discrete() {
        return match (lower, upper) {
            _ if kind == Boolean => Boolean,
            (End::At(0.0), End::Open) => Count,
            _ => IntegerRange,
        };
    }
    between(lower, upper)
}

/// The support of the reals between two ends.
pub fn between(lower: End, upper: End) -> SupportKind {
    match (lower, upper) {
        (End::Open, End::Open) => Real,
        (End::At(0.0), End::Open) => NonNegative,
        (End::At(0.0), End::At(1.0)) => UnitInterval,
        (_, End::Open) => GreaterThan,
        (End::Open, _) => LessThan,
        _ => Interval,
    }
}

fn tighter(a: End, b: End, pick: fn(f64, f64) -> f64) -> End {
    match (a, b) {
        (End::Open, other) | (other, End::Open) => other,
        (End::At(x), End::At(y)) => End::At(pick(x, y)),
        _ => End::Given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_decide_the_support() {
        let check = |kind, lower, upper, expect| assert_eq!(restrict(kind, lower, upper), expect, "{kind:?}");
        check(Real, End::At(0.0), End::Open, NonNegative);
        check(Real, End::At(1.0), End::Open, GreaterThan);
        check(Real, End::Open, End::Given, LessThan);
        check(Real, End::Open, End::Open, Real);
        check(Positive, End::Open, End::Open, Positive);
        check(Positive, End::At(-1.0), End::Open, NonNegative);
        check(Positive, End::Open, End::At(1.0), UnitInterval);
        check(UnitInterval, End::At(0.5), End::Open, Interval);
        check(GreaterThan, End::Open, End::Given, Interval);
        check(Count, End::At(1.0), End::Open, IntegerRange);
        check(Count, End::At(0.0), End::Open, Count);
        check(Simplex, End::At(0.0), End::At(1.0), Simplex);
    }
}
