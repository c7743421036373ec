//! Where values lie: each support with its check, its words, and its bijector from unconstrained space.
//!
//! A bijector maps real coordinates `u` to the support, with ln |det J| summed over one event, so batch shaped.
//! Positive numbers by exp, intervals by the logistic function, simplexes by stick-breaking, ascending vectors by first
//! value and log differences, Cholesky factors by rows with the logarithm of the diagonal, vectors of sum 0 in an
//! orthonormal basis, unit vectors by stereographic projection. Densities of the last two are with respect to area.
//! Source of the transforms: Stan Reference Manual, "Constraint Transforms".

use crate::ir::{Builder, DType, Shape, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::Reduction;
use std::f64::consts::LN_2;

/// How far the sum of a simplex may be from 1: room for data printed with a few digits and for single precision.
pub const SIMPLEX_TOLERANCE: f64 = 1e-4;

/// Where values lie, as the checker sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SupportKind {
    /// The real line.
    Real,
    /// Greater than 0.
    Positive,
    /// 0 or greater.
    NonNegative,
    /// Between 0 and 1.
    UnitInterval,
    /// Between two ends that the parameters give (Uniform, Truncated).
    Interval,
    /// Not below a bound that the parameters give (Pareto).
    GreaterThan,
    /// Not above a bound that the parameters give.
    LessThan,
    /// Numbers of 0 or more that sum to 1.
    Simplex,
    /// Ascending vectors.
    Ordered,
    /// Ascending vectors of positive numbers.
    PositiveOrdered,
    /// Vectors of length 1.
    UnitVector,
    /// Vectors whose entries sum to 0.
    SumToZero,
    /// 0 or 1.
    Boolean,
    /// …, -1, 0, 1, …
    Integer,
    /// 0, 1, 2, …
    Count,
    /// Integers of a range that the parameters give (Binomial: 0..=total; Categorical: 0..K).
    IntegerRange,
    /// Vectors of counts with a given sum.
    CountVector,
    /// Vectors of zeros with a single 1.
    OneHot,
    /// Lower Cholesky factors of positive definite matrices (as parameters: `scale_tril`).
    LowerCholesky,
    /// Lower Cholesky factors of correlation matrices: rows of length 1.
    CorrelationCholesky,
    /// Symmetric positive definite matrices: covariances and precisions.
    PositiveDefinite,
    /// Correlation matrices: symmetric, positive definite, ones on the diagonal.
    Correlation,
}

use SupportKind::*;

impl SupportKind {
    /// What a value must be, to stand after "must be".
    pub fn words(self) -> &'static str {
        match self {
            Real => "a finite number",
            Positive => "positive",
            NonNegative => "0 or greater",
            UnitInterval => "between 0 and 1",
            Interval => "between the two bounds",
            GreaterThan => "not below the bound",
            LessThan => "not above the bound",
            Simplex => "a simplex (no negative entries, sum 1)",
            Ordered => "in ascending order",
            PositiveOrdered => "positive and in ascending order",
            UnitVector => "a vector of length 1",
            SumToZero => "a vector of sum 0",
            Boolean => "0 or 1",
            Integer => "a whole number",
            Count => "a count (0, 1, 2, …)",
            IntegerRange => "a whole number within the range",
            CountVector => "a vector of counts with the given total",
            OneHot => "a vector of zeros with a single 1",
            LowerCholesky => "a lower triangular matrix with a positive diagonal",
            CorrelationCholesky => "the lower Cholesky factor of a correlation matrix",
            PositiveDefinite => "a symmetric positive definite matrix",
            Correlation => "a correlation matrix (symmetric, positive definite, ones on the diagonal)",
        }
    }
    /// How many trailing dimensions one element of the support has.
    pub fn event_rank(self) -> usize {
        match self {
            Simplex | Ordered | PositiveOrdered | UnitVector | SumToZero | CountVector | OneHot => 1,
            LowerCholesky | CorrelationCholesky | PositiveDefinite | Correlation => 2,
            _ => 0,
        }
    }
    /// How many trailing dimensions the coordinates of one element have: none for a number, one for vectors and matrices.
    pub fn free_rank(self) -> usize {
        self.event_rank().min(1)
    }
    /// Whether values are whole numbers, which have no unconstrained coordinates.
    pub fn is_discrete(self) -> bool {
        matches!(self, Boolean | Integer | Count | IntegerRange | CountVector | OneHot)
    }
    /// Whether the parameters say where it ends.
    pub fn needs_bounds(self) -> bool {
        matches!(self, Interval | GreaterThan | LessThan | IntegerRange)
    }
    /// The ends of the numbers that an element may hold, whatever the parameters; `None` where all numbers may occur.
    pub fn hull(self) -> Option<(f64, f64)> {
        match self {
            Positive | NonNegative | PositiveOrdered | Count | CountVector => Some((0.0, f64::INFINITY)),
            UnitInterval | Simplex | Boolean | OneHot => Some((0.0, 1.0)),
            UnitVector | CorrelationCholesky | Correlation => Some((-1.0, 1.0)),
            _ => None,
        }
    }
    /// Whether draws of one can stand for draws of the other: the same set up to its edge. Bounds are not compared.
    pub fn matches(self, other: Self) -> bool {
        let open = |s| if s == NonNegative { Positive } else { s };
        open(self) == open(other)
    }
    /// Whether `event`, one element in row-major order, lies in the support. `bounds` are the ends where
    /// [`SupportKind::needs_bounds`]; `CountVector` takes the total as its upper end if it is known.
    pub fn check(self, event: &[f64], bounds: Option<(f64, f64)>) -> bool {
        let (lower, upper) = bounds.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        let each = |test: &dyn Fn(f64) -> bool| event.iter().all(|&x| test(x));
        let whole = |x: f64| x == x.floor() && x.is_finite();
        match self {
            Real => each(&f64::is_finite),
            Positive => each(&|x| x > 0.0 && x.is_finite()),
            NonNegative => each(&|x| x >= 0.0 && x.is_finite()),
            UnitInterval => each(&|x| (0.0..=1.0).contains(&x)),
            Interval | GreaterThan | LessThan => each(&|x| x >= lower && x <= upper && x.is_finite()),
            Simplex => each(&|x| x >= 0.0) && (event.iter().sum::<f64>() - 1.0).abs() <= SIMPLEX_TOLERANCE,
            Ordered => each(&f64::is_finite) && event.windows(2).all(|w| w[0] < w[1]),
            PositiveOrdered => each(&|x| x > 0.0 && x.is_finite()) && event.windows(2).all(|w| w[0] < w[1]),
            UnitVector => (event.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() <= SIMPLEX_TOLERANCE,
            SumToZero => {
                let size: f64 = event.iter().map(|x| x.abs()).sum();
                each(&f64::is_finite) && event.iter().sum::<f64>().abs() <= SIMPLEX_TOLERANCE * (1.0 + size)
            }
            OneHot => each(&|x| x == 0.0 || x == 1.0) && event.iter().sum::<f64>() == 1.0,
            Boolean => each(&|x| x == 0.0 || x == 1.0),
            Integer => each(&whole),
            Count => each(&|x| whole(x) && x >= 0.0),
            IntegerRange => each(&|x| whole(x) && x >= lower && x <= upper),
            CountVector => {
                each(&|x| whole(x) && x >= 0.0) && (upper.is_infinite() || event.iter().sum::<f64>() == upper)
            }
            LowerCholesky => is_lower_cholesky(event),
            CorrelationCholesky => {
                let n = side(event.len());
                is_lower_cholesky(event)
                    && event.chunks(n).all(|row| (row.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-6)
            }
            PositiveDefinite => is_positive_definite(event),
            Correlation => {
                let n = side(event.len());
                is_positive_definite(event) && (0..n).all(|i| (event[i * n + i] - 1.0).abs() < 1e-6)
            }
        }
    }

    /// The shape of the coordinates of a value of `shape` (with or without batch dimensions); `None` when discrete.
    pub fn unconstrained_shape(self, shape: &Shape) -> Option<Shape> {
        if self.is_discrete() {
            return None;
        }
        let last = shape.last().copied().unwrap_or(1);
        Some(match self {
            Simplex | UnitVector | SumToZero => shape.drop_last(1).concat(&[last - 1]),
            LowerCholesky | PositiveDefinite => shape.drop_last(2).concat(&[last * (last + 1) / 2]),
            CorrelationCholesky | Correlation => shape.drop_last(2).concat(&[last * (last - 1) / 2]),
            _ => shape.clone(),
        })
    }

    /// The value at the coordinates `u`, and ln |det J| per event (batch shaped; a constant 0 for the real line).
    /// `bounds` are the ends where [`SupportKind::needs_bounds`]; an end may be infinite if the graph knows it.
    pub fn constrain(self, g: &mut Builder, u: ValueId, bounds: Option<(ValueId, ValueId)>) -> (ValueId, ValueId) {
        match self {
            Real => {
                let shape = g.shape(u);
                (u, g.full(0.0, shape))
            }
            Positive | NonNegative => (g.exp(u), u),
            UnitInterval => (g.sigmoid(u), log_logistic_slope(g, u)),
            Interval | GreaterThan | LessThan => {
                let (lower, upper) = bounds.expect("an interval has bounds");
                constrain_interval(g, u, lower, upper)
            }
            Simplex => constrain_simplex(g, u),
            Ordered => constrain_ordered(g, u),
            PositiveOrdered => {
                let steps = g.exp(u);
                let axis = g.rank(u) - 1;
                (g.cumsum(steps, axis, false), g.sum(u, &[axis]))
            }
            UnitVector => constrain_unit_vector(g, u),
            SumToZero => {
                let zero = g.full(0.0, g.shape(u).drop_last(1));
                (constrain_sum_to_zero(g, u), zero)
            }
            LowerCholesky => {
                let (factor, log_diagonal) = lower_cholesky(g, u);
                (factor, g.sum_last(log_diagonal, 1))
            }
            PositiveDefinite => {
                // d(L L')/dL adds n ln 2 and the power n - i + 1 of L_ii (i = 1..n); d L_ii / d ln L_ii one more.
                let (factor, log_diagonal) = lower_cholesky(g, u);
                let n = g.shape(log_diagonal)[g.rank(log_diagonal) - 1];
                let powers: Vec<f64> = (0..n).map(|i| (n - i + 1) as f64).collect();
                let powers = g.constant(powers, Shape::from([n]), DType::Real);
                let terms = g.mul(log_diagonal, powers);
                let sum = g.sum_last(terms, 1);
                (g.matmul(factor, false, factor, true), g.add_scalar(sum, n as f64 * LN_2))
            }
            CorrelationCholesky => {
                let (factor, _, log_det) = constrain_correlation(g, u);
                (factor, log_det)
            }
            Correlation => {
                // d(L L')/dL adds the power n - i of L_ii (i = 1..n).
                let (factor, log_diagonal, log_det) = constrain_correlation(g, u);
                let n = g.shape(log_diagonal)[g.rank(log_diagonal) - 1];
                let powers: Vec<f64> = (0..n).map(|i| (n - i - 1) as f64).collect();
                let powers = g.constant(powers, Shape::from([n]), DType::Real);
                let terms = g.mul(log_diagonal, powers);
                let sum = g.sum_last(terms, 1);
                (g.matmul(factor, false, factor, true), g.add(log_det, sum))
            }
            Boolean | Integer | Count | IntegerRange | CountVector | OneHot => {
                unreachable!("discrete values have no unconstrained coordinates")
            }
        }
    }

    /// The coordinates of `x`: the inverse of [`SupportKind::constrain`]. Infinite on the edge of the support.
    pub fn unconstrain(self, g: &mut Builder, x: ValueId, bounds: Option<(ValueId, ValueId)>) -> ValueId {
        match self {
            Real => x,
            Positive | NonNegative => g.log(x),
            UnitInterval => {
                let log_x = g.log(x);
                let minus = g.neg(x);
                let log_rest = g.log1p(minus);
                g.sub(log_x, log_rest)
            }
            Interval | GreaterThan | LessThan => {
                let (lower, upper) = bounds.expect("an interval has bounds");
                unconstrain_interval(g, x, lower, upper)
            }
            Simplex => unconstrain_simplex(g, x),
            Ordered => {
                let axis = g.rank(x) - 1;
                let n = g.shape(x)[axis];
                let first = g.slice(x, axis, 0, 1);
                let (high, low) = (g.slice(x, axis, 1, n - 1), g.slice(x, axis, 0, n - 1));
                let steps = g.sub(high, low);
                let steps = g.log(steps);
                g.concat(&[first, steps], axis)
            }
            PositiveOrdered => {
                let axis = g.rank(x) - 1;
                let n = g.shape(x)[axis];
                let before = g.slice(x, axis, 0, n - 1);
                let before = g.pad(before, axis, 1, 0);
                let steps = g.sub(x, before);
                g.log(steps)
            }
            UnitVector => unconstrain_unit_vector(g, x),
            SumToZero => unconstrain_sum_to_zero(g, x),
            LowerCholesky => unconstrain_lower(g, x),
            PositiveDefinite => {
                let factor = g.cholesky(x);
                unconstrain_lower(g, factor)
            }
            CorrelationCholesky => unconstrain_correlation(g, x),
            Correlation => {
                let factor = g.cholesky(x);
                unconstrain_correlation(g, factor)
            }
            Boolean | Integer | Count | IntegerRange | CountVector | OneHot => {
                unreachable!("discrete values have no unconstrained coordinates")
            }
        }
    }
}

/// The side of a square matrix with `count` elements.
fn side(count: usize) -> usize {
    count.isqrt().max(1)
}

fn is_lower_cholesky(event: &[f64]) -> bool {
    let n = side(event.len());
    (0..n).all(|i| {
        let row = &event[i * n..(i + 1) * n];
        row.iter().all(|x| x.is_finite()) && row[i] > 0.0 && row[i + 1..].iter().all(|&x| x == 0.0)
    })
}

/// Symmetric up to rounding, and the Cholesky factorization meets no pivot of 0 or less.
fn is_positive_definite(event: &[f64]) -> bool {
    let n = side(event.len());
    let at = |i: usize, j: usize| event[i * n + j];
    let symmetric = (0..n)
        .all(|i| (0..i).all(|j| (at(i, j) - at(j, i)).abs() <= 1e-6 * (1.0 + at(i, i).abs().max(at(j, j).abs()))));
    let mut l = event.to_vec();
    symmetric
        && (0..n).all(|i| {
            for j in 0..i {
                let dot: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
                l[i * n + j] = (at(i, j) - dot) / l[j * n + j];
            }
            let pivot = at(i, i) - (0..i).map(|k| l[i * n + k] * l[i * n + k]).sum::<f64>();
            l[i * n + i] = pivot.sqrt();
            pivot > 0.0 && pivot.is_finite()
        })
}

/// `ln sigmoid(u) + ln sigmoid(-u)`
fn log_logistic_slope(g: &mut Builder, u: ValueId) -> ValueId {
    let minus = g.neg(u);
    let (below, above) = (g.log_sigmoid(u), g.log_sigmoid(minus));
    g.add(below, above)
}

/// What the graph knows of an end of an interval.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// It is infinite: there is no end on this side.
    Open,
    /// A finite number.
    Finite,
    /// An array or a computed value, whose elements may be infinite.
    Unknown,
}

fn end(g: &Builder, value: ValueId) -> End {
    match g.as_full(value) {
        Some(number) if number.is_finite() => End::Finite,
        Some(_) => End::Open,
        None => End::Unknown,
    }
}

/// For ends of which elements may be infinite: whether there is a lower and an upper end, and finite stand-ins for them.
struct Ends {
    has_lower: ValueId,
    has_upper: ValueId,
    both: ValueId,
    lower: ValueId,
    upper: ValueId,
    /// `upper - lower` where both are there, 1 elsewhere.
    width: ValueId,
}

impl Ends {
    fn new(g: &mut Builder, lower: ValueId, upper: ValueId) -> Self {
        let has_lower = g.compare_scalar(Binary::Gt, lower, f64::NEG_INFINITY);
        let has_upper = g.compare_scalar(Binary::Lt, upper, f64::INFINITY);
        let both = g.and(has_lower, has_upper);
        let lower = super::pieces::guard(g, has_lower, lower, 0.0);
        let upper = super::pieces::guard(g, has_upper, upper, 0.0);
        let width = g.sub(upper, lower);
        let width = super::pieces::guard(g, both, width, 1.0);
        Self { has_lower, has_upper, both, lower, upper, width }
    }
    /// The value of the case that holds, element by element.
    fn choose(&self, g: &mut Builder, both: ValueId, lower: ValueId, upper: ValueId, neither: ValueId) -> ValueId {
        let value = g.select(self.has_upper, upper, neither);
        let value = g.select(self.has_lower, lower, value);
        g.select(self.both, both, value)
    }
}

fn constrain_interval(g: &mut Builder, u: ValueId, lower: ValueId, upper: ValueId) -> (ValueId, ValueId) {
    match (end(g, lower), end(g, upper)) {
        (End::Open, End::Open) => Real.constrain(g, u, None),
        (End::Finite, End::Open) => {
            let above = g.exp(u);
            (g.add(lower, above), u)
        }
        (End::Open, End::Finite) => {
            let below = g.exp(u);
            (g.sub(upper, below), u)
        }
        (End::Finite, End::Finite) => {
            let width = g.sub(upper, lower);
            let share = g.sigmoid(u);
            let way = g.mul(width, share);
            let log_width = g.log(width);
            let slope = log_logistic_slope(g, u);
            (g.add(lower, way), g.add(log_width, slope))
        }
        _ => {
            let ends = Ends::new(g, lower, upper);
            let share = g.sigmoid(u);
            let way = g.mul(ends.width, share);
            let inside = g.add(ends.lower, way);
            // e^u may overflow where it is not wanted
            let safe = super::pieces::guard(g, ends.both, u, 0.0);
            let one_sided = g.sub(u, safe);
            let distance = g.exp(one_sided);
            let above = g.add(ends.lower, distance);
            let below = g.sub(ends.upper, distance);
            let x = ends.choose(g, inside, above, below, u);
            let log_width = g.log(ends.width);
            let slope = log_logistic_slope(g, u);
            let slope = g.add(log_width, slope);
            let zero = g.scalar(0.0);
            (x, ends.choose(g, slope, u, u, zero))
        }
    }
}
fn unconstrain_interval(g: &mut Builder, x: ValueId, lower: ValueId, upper: ValueId) -> ValueId {
    let log_ratio = |g: &mut Builder, above: ValueId, below: ValueId| {
        let (log_above, log_below) = (g.log(above), g.log(below));
        g.sub(log_above, log_below)
    };
    match (end(g, lower), end(g, upper)) {
        (End::Open, End::Open) => x,
        (End::Finite, End::Open) => {
            let above = g.sub(x, lower);
            g.log(above)
        }
        (End::Open, End::Finite) => {
            let below = g.sub(upper, x);
            g.log(below)
        }
        (End::Finite, End::Finite) => {
            let (above, below) = (g.sub(x, lower), g.sub(upper, x));
            log_ratio(g, above, below)
        }
        _ => {
            let ends = Ends::new(g, lower, upper);
            let (above, below) = (g.sub(x, ends.lower), g.sub(ends.upper, x));
            let above = super::pieces::guard(g, ends.has_lower, above, 1.0);
            let below = super::pieces::guard(g, ends.has_upper, below, 1.0);
            let ratio = log_ratio(g, above, below);
            let minus = g.neg(ratio);
            // with one end the other's distance is 1
            ends.choose(g, ratio, ratio, minus, x)
        }
    }
}

/// `ln(K - 1 - k)` for k = 0..K-1: with it u = 0 is the centre of the simplex.
fn stick_offsets(g: &mut Builder, sticks: usize) -> ValueId {
    let offsets = (0..sticks).map(|k| ((sticks - k) as f64).ln()).collect();
    g.constant(offsets, Shape::from([sticks]), DType::Real)
}

/// Stick-breaking: stick k takes the share `sigmoid(u_k - ln(K - 1 - k))` of what is left. All in logarithms:
/// `ln x_k = ln share_k + sum_{j<k} ln(1 - share_j)`, and ln |det J| is the sum of `ln x_k + ln(1 - share_k)`.
fn constrain_simplex(g: &mut Builder, u: ValueId) -> (ValueId, ValueId) {
    let axis = g.rank(u) - 1;
    let sticks = g.shape(u)[axis];
    let offsets = stick_offsets(g, sticks);
    let t = g.sub(u, offsets);
    let log_share = g.log_sigmoid(t);
    let minus = g.neg(t);
    let log_rest = g.log_sigmoid(minus);
    let left = g.cumsum(log_rest, axis, false);
    let left_before = g.pad(left, axis, 1, 0);
    let log_share_last = g.pad(log_share, axis, 0, 1);
    let log_x = g.add(log_share_last, left_before);
    let x = g.exp(log_x);
    let log_sticks = g.slice(log_x, axis, 0, sticks);
    let slope = g.add(log_sticks, log_rest);
    (x, g.sum(slope, &[axis]))
}

/// `u_k = ln x_k - ln sum_{j>k} x_j + ln(K - 1 - k)`
fn unconstrain_simplex(g: &mut Builder, x: ValueId) -> ValueId {
    let axis = g.rank(x) - 1;
    let sticks = g.shape(x)[axis] - 1;
    let left = g.cumsum(x, axis, true);
    let after = g.slice(left, axis, 1, sticks);
    let taken = g.slice(x, axis, 0, sticks);
    let (log_taken, log_after) = (g.log(taken), g.log(after));
    let odds = g.sub(log_taken, log_after);
    let offsets = stick_offsets(g, sticks);
    g.add(odds, offsets)
}

fn constrain_ordered(g: &mut Builder, u: ValueId) -> (ValueId, ValueId) {
    let axis = g.rank(u) - 1;
    let n = g.shape(u)[axis];
    let first = g.slice(u, axis, 0, 1);
    let log_steps = g.slice(u, axis, 1, n - 1);
    let steps = g.exp(log_steps);
    let parts = g.concat(&[first, steps], axis);
    (g.cumsum(parts, axis, false), g.sum(log_steps, &[axis]))
}

/// `1 / sqrt(i (i + 1))` and `sqrt(i / (i + 1))` for i = 1..K: vector i of the basis is the first for `i` entries, then
/// minus the second once.
fn basis(g: &mut Builder, k: usize) -> (ValueId, ValueId) {
    let each = |f: &dyn Fn(f64) -> f64| (1..k).map(|i| f(i as f64)).collect::<Vec<_>>();
    let (head, turn) = (each(&|i| 1.0 / (i * (i + 1.0)).sqrt()), each(&|i| (i / (i + 1.0)).sqrt()));
    let shape = Shape::from([k - 1]);
    (g.constant(head, shape.clone(), DType::Real), g.constant(turn, shape, DType::Real))
}

/// Coordinates in an orthonormal basis of the plane of sum 0 (Helmert's), so lengths and areas stay.
fn constrain_sum_to_zero(g: &mut Builder, u: ValueId) -> ValueId {
    let axis = g.rank(u) - 1;
    let k = g.shape(u)[axis] + 1;
    let (head, turn) = basis(g, k);
    let heads = g.mul(u, head);
    let heads = g.cumsum(heads, axis, true);
    let heads = g.pad(heads, axis, 0, 1);
    let turns = g.mul(u, turn);
    let turns = g.pad(turns, axis, 1, 0);
    g.sub(heads, turns)
}

fn unconstrain_sum_to_zero(g: &mut Builder, x: ValueId) -> ValueId {
    let axis = g.rank(x) - 1;
    let k = g.shape(x)[axis];
    let (head, turn) = basis(g, k);
    let sums = g.cumsum(x, axis, false);
    let sums = g.slice(sums, axis, 0, k - 1);
    let heads = g.mul(sums, head);
    let own = g.slice(x, axis, 1, k - 1);
    let turns = g.mul(own, turn);
    g.sub(heads, turns)
}

/// Stereographic projection from the pole (0, …, 0, 1): `x = (2 u, |u|^2 - 1) / (|u|^2 + 1)`, an angle-preserving map whose
/// lengths grow by `2 / (|u|^2 + 1)`. Scaled by the largest coordinate, so that no square overflows.
fn constrain_unit_vector(g: &mut Builder, u: ValueId) -> (ValueId, ValueId) {
    let axis = g.rank(u) - 1;
    let shape = g.shape(u);
    let k = shape[axis] + 1;
    if k == 1 {
        // The sphere of dimension 0: the pole that is not projected from.
        let x = g.full(-1.0, shape.drop_last(1).concat(&[1]));
        let log_det = g.full(0.0, shape.drop_last(1));
        return (x, log_det);
    }
    let one = g.scalar(1.0);
    let size = g.abs(u);
    let size = g.reduce(Reduction::Max, size, &[axis]);
    let size = g.maximum(one, size);
    let size = g.stop_gradient(size);
    let wide = g.expand_dim(size, axis);
    let small = g.div(u, wide);
    let unit = g.scalar_div(1.0, wide);
    // with v = u / s and e = 1 / s: x = (2 e v, |v|^2 - e^2) / (|v|^2 + e^2)
    let square = g.square(small);
    let length = g.sum(square, &[axis]);
    let length = g.expand_dim(length, axis);
    let unit_square = g.square(unit);
    let sum = g.add(length, unit_square);
    let gap = g.sub(length, unit_square);
    let last = g.div(gap, sum);
    let first = g.mul(small, unit);
    let first = g.mul_scalar(first, 2.0);
    let first = g.div(first, sum);
    let x = g.concat(&[first, last], axis);
    // ln(2 / (1 + |u|^2)) = ln 2 - ln(|v|^2 + e^2) - 2 ln s
    let sum = g.reshape(sum, shape.drop_last(1));
    let log_sum = g.log(sum);
    let log_size = g.log(size);
    let log_size = g.mul_scalar(log_size, 2.0);
    let log = g.add(log_sum, log_size);
    let slope = g.scalar_sub(LN_2, log);
    (x, g.mul_scalar(slope, (k - 1) as f64))
}

/// `u = x_k / (1 - x_K)`; with `1 - x_K = |x_1..K-1|^2 / (1 + x_K)` near the pole.
fn unconstrain_unit_vector(g: &mut Builder, x: ValueId) -> ValueId {
    let axis = g.rank(x) - 1;
    let k = g.shape(x)[axis];
    let first = g.slice(x, axis, 0, k - 1);
    let last = g.slice(x, axis, k - 1, 1);
    let square = g.square(first);
    let rest = g.sum(square, &[axis]);
    let rest = g.expand_dim(rest, axis);
    let north = g.compare_scalar(Binary::Gt, last, 0.0);
    let up = g.add_scalar(last, 1.0);
    let up = super::pieces::guard(g, north, up, 1.0);
    let near = g.div(rest, up);
    let far = g.scalar_sub(1.0, last);
    let distance = g.select(north, near, far);
    g.div(first, distance)
}

/// The side n of the matrix whose lower triangle (with its diagonal, or without) has `count` elements.
fn triangle_side(count: usize, strict: bool) -> usize {
    let n = ((8 * count + 1).isqrt() - 1) / 2;
    if strict { n + 1 } else { n }
}

/// `v [.., m]` to `[.., n, n]`: entry (i, j) is `v[index(i, j)]`.
pub(super) fn arrange(g: &mut Builder, v: ValueId, n: usize, index: impl Fn(usize, usize) -> usize) -> ValueId {
    let rank = g.rank(v);
    let index = (0..n * n).map(|at| index(at / n, at % n) as f64).collect();
    let index = g.constant(index, Shape::from([n, n]), DType::Int);
    // gather takes rows, so the last axis goes to the front and the two new ones to the back
    let to_front: Vec<usize> = std::iter::once(rank - 1).chain(0..rank - 1).collect();
    let rows = g.transpose(v, &to_front);
    let entries = g.gather(rows, index);
    let to_back: Vec<usize> = (2..rank + 1).chain([0, 1]).collect();
    g.transpose(entries, &to_back)
}

/// `m [.., n, n]` to `[.., count]`: the entries at `places`, in order.
fn collect(g: &mut Builder, m: ValueId, places: &[(usize, usize)]) -> ValueId {
    let shape = g.shape(m);
    let (rank, n) = (shape.rank(), shape[shape.rank() - 1]);
    let flat = g.reshape(m, shape.drop_last(2).concat(&[n * n]));
    let index = places.iter().map(|&(i, j)| (i * n + j) as f64).collect();
    let index = g.constant(index, Shape::from([places.len()]), DType::Int);
    let to_front: Vec<usize> = std::iter::once(rank - 2).chain(0..rank - 2).collect();
    let rows = g.transpose(flat, &to_front);
    let entries = g.gather(rows, index);
    let to_back: Vec<usize> = (1..rank - 1).chain([0]).collect();
    g.transpose(entries, &to_back)
}

/// The places of the lower triangle, row by row.
fn lower_places(n: usize, strict: bool) -> Vec<(usize, usize)> {
    (0..n).flat_map(|i| (0..if strict { i } else { i + 1 }).map(move |j| (i, j))).collect()
}

/// The factor whose lower triangle is `u` row by row, the diagonal in logarithms; and those logarithms.
fn lower_cholesky(g: &mut Builder, u: ValueId) -> (ValueId, ValueId) {
    let n = triangle_side(g.shape(u)[g.rank(u) - 1], false);
    let m = arrange(g, u, n, |i, j| if j <= i { i * (i + 1) / 2 + j } else { 0 });
    let below = g.tril(m, true);
    let log_diagonal = g.diagonal(m);
    let diagonal = g.exp(log_diagonal);
    let diagonal = g.diag(diagonal);
    (g.add(below, diagonal), log_diagonal)
}

fn unconstrain_lower(g: &mut Builder, factor: ValueId) -> ValueId {
    let n = g.shape(factor)[g.rank(factor) - 1];
    let below = g.tril(factor, true);
    let diagonal = g.diagonal(factor);
    let log_diagonal = g.log(diagonal);
    let log_diagonal = g.diag(log_diagonal);
    let m = g.add(below, log_diagonal);
    collect(g, m, &lower_places(n, false))
}

/// Row i spends its length 1 entry by entry: entry j takes `tanh(u_ij)` of what entries before it left.
/// `L_ij = z_ij e^(E_ij/2)` with `E_ij = sum_{k<j} ln(1 - z_ik^2)`, and L_ii takes the rest;
/// ln |det J| is the sum over i > j of `ln(1 - z_ij^2) + E_ij / 2`.
/// Gives L, its diagonal in logarithms, and ln |det J|.
fn constrain_correlation(g: &mut Builder, u: ValueId) -> (ValueId, ValueId, ValueId) {
    let n = triangle_side(g.shape(u)[g.rank(u) - 1], true);
    // ln(1 - tanh^2 u) = 2 (ln 2 - u - softplus(-2u))
    let twice = g.mul_scalar(u, -2.0);
    let softplus = g.softplus(twice);
    let sum = g.add(u, softplus);
    let sum = g.add_scalar(sum, -LN_2);
    let log_rest = g.mul_scalar(sum, -2.0);
    let z = g.tanh(u);
    let index = |i: usize, j: usize| if j < i { i * (i - 1) / 2 + j } else { 0 };
    let (z, log_rest) = (arrange(g, z, n, index), arrange(g, log_rest, n, index));
    let (z, log_rest) = (g.tril(z, true), g.tril(log_rest, true));
    let axis = g.rank(z) - 1;
    let running = g.cumsum(log_rest, axis, false);
    let before = g.slice(running, axis, 0, n - 1);
    let before = g.pad(before, axis, 1, 0);
    let half = g.mul_scalar(before, 0.5);
    let left = g.exp(half);
    let ones = g.full(1.0, Shape::from([n]));
    let identity = g.diag(ones);
    let shares = g.add(z, identity);
    let factor = g.mul(shares, left);
    let half_below = g.tril(half, true);
    let terms = g.add(log_rest, half_below);
    (factor, g.diagonal(half), g.sum_last(terms, 2))
}

/// `u_ij = atanh(L_ij / sqrt(1 - sum_{k<j} L_ik^2))`, what is left summed from the right so that it keeps its digits.
fn unconstrain_correlation(g: &mut Builder, factor: ValueId) -> ValueId {
    let axis = g.rank(factor) - 1;
    let n = g.shape(factor)[axis];
    let square = g.square(factor);
    let left = g.cumsum(square, axis, true);
    let places = lower_places(n, true);
    let (entry, left) = (collect(g, factor, &places), collect(g, left, &places));
    let root = g.sqrt(left);
    let z = g.div(entry, root);
    let minus = g.neg(z);
    let (up, down) = (g.log1p(z), g.log1p(minus));
    let gap = g.sub(up, down);
    g.mul_scalar(gap, 0.5)
}

/// Whether the last axis of `x` is a simplex, as graph code.
pub(super) fn is_simplex(g: &mut Builder, x: ValueId) -> ValueId {
    let axis = g.rank(x) - 1;
    let least = g.reduce(Reduction::Min, x, &[axis]);
    let positive = super::pieces::is_nonnegative(g, least);
    let sum = g.sum(x, &[axis]);
    let gap = g.add_scalar(sum, -1.0);
    let gap = g.abs(gap);
    let near = g.compare_scalar(Binary::Le, gap, SIMPLEX_TOLERANCE);
    g.and(positive, near)
}
