//! Reductions of data expressions: `sum mean sd variance min max prod any all argmax argmin` over one axis, several, or all.
//!
//! `sd` and `variance` divide by n - 1. For a vector the axis may be left out. `mean sd variance min max` over the rows
//! are learned from the training data (see `learned.rs`).

use super::call::Call;
use super::error::Fallible;
use super::learned::LearnedValue;
use super::value::{Array, Elem, Value, print_shape};
use crate::diag::{Code, Diagnostic};
use ndarray::{ArcArray, ArrayView1, Axis, IxDyn};

/// A reduction of one lane.
pub(crate) struct Reducer {
    /// The number that stands for the lane.
    pub run: fn(ArrayView1<'_, f64>) -> f64,
    /// The least number of elements.
    pub least: usize,
    /// The element type of the result.
    pub elem: fn(Elem) -> Elem,
    /// Whether it is learned over the rows.
    pub learned: bool,
}

fn real(_: Elem) -> Elem {
    Elem::Real
}
fn number(elem: Elem) -> Elem {
    if elem == Elem::Real { Elem::Real } else { Elem::Int }
}
fn same(elem: Elem) -> Elem {
    elem
}
fn int(_: Elem) -> Elem {
    Elem::Int
}
fn bool(_: Elem) -> Elem {
    Elem::Bool
}

/// The mean; the sum of deviations corrects the rounding of the first estimate.
pub(crate) fn mean(lane: ArrayView1<'_, f64>) -> f64 {
    let n = lane.len() as f64;
    let first = lane.sum() / n;
    if first.is_finite() { first + lane.iter().map(|x| x - first).sum::<f64>() / n } else { first }
}
/// The variance with n - 1, in two passes.
pub(crate) fn variance(lane: ArrayView1<'_, f64>) -> f64 {
    let m = mean(lane);
    lane.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / (lane.len() as f64 - 1.0)
}
fn position(lane: ArrayView1<'_, f64>, better: fn(f64, f64) -> bool) -> f64 {
    let mut best = 0;
    for (i, &x) in lane.iter().enumerate() {
        if better(x, lane[best]) {
            best = i;
        }
    }
    best as f64
}

/// The reduction called `name`.
pub(crate) fn reducer(name: &str) -> Option<Reducer> {
    let plain = |run, least, elem| Reducer { run, least, elem, learned: false };
    let learned = |run, least, elem| Reducer { run, least, elem, learned: true };
    Some(match name {
        "sum" => plain(|lane| lane.sum(), 0, number),
        "prod" => plain(|lane| lane.product(), 0, number),
        "any" => plain(|lane| f64::from(u8::from(lane.iter().any(|&x| x != 0.0))), 0, bool),
        "all" => plain(|lane| f64::from(u8::from(lane.iter().all(|&x| x != 0.0))), 0, bool),
        "argmax" => plain(|lane| position(lane, |x, best| x > best), 1, int),
        "argmin" => plain(|lane| position(lane, |x, best| x < best), 1, int),
        "mean" => learned(mean, 1, real),
        "variance" => learned(variance, 2, real),
        "sd" => learned(|lane| variance(lane).sqrt(), 2, real),
        "min" => learned(|lane| lane.fold(f64::INFINITY, |a, &b| a.min(b)), 1, same),
        "max" => learned(|lane| lane.fold(f64::NEG_INFINITY, |a, &b| a.max(b)), 1, same),
        _ => return None,
    })
}

/// Runs the reduction that has the name of the called function on `x`, over `axis` or `over`.
pub(crate) fn run(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let name = call.function.name;
    let reducer = reducer(name).expect("the table names a reduction");
    let (x, x_span) = call.array(0)?;
    let axes = axes(call, &x)?;
    no_nan(&x, x_span, name)?;
    if matches!(name, "any" | "all") && x.elem != Elem::Bool {
        let message = format!("`{name}` needs bool, but this is {}", super::value::print_elem(x.elem));
        return Err(Box::new(Diagnostic::new(Code::E0904, message).label(x_span, "not truth values")));
    }
    let count: usize = axes.iter().map(|&a| x.shape()[a]).product();
    if count < reducer.least {
        let message = format!("`{name}` needs at least {} elements, but there are {count}", reducer.least);
        return Err(Box::new(Diagnostic::new(Code::E0912, message).label(x_span, print_shape(x.shape()))));
    }
    let elem = (reducer.elem)(x.elem);
    let over_rows = axes.contains(&0);
    let reduce = || lanes(&x, &axes, reducer.run);
    let data = if reducer.learned && over_rows {
        let learned = call.evaluator.learn(name, call.span, || {
            let result = reduce();
            let (shape, values) = (result.shape().to_vec(), result.iter().copied().collect());
            Ok(LearnedValue::Statistic { shape, values })
        })?;
        let LearnedValue::Statistic { shape, values } = learned else {
            return Err(call.fail(format!("what `{name}` learned in training is damaged"), "needed here"));
        };
        ArcArray::from_shape_vec(IxDyn(&shape), values)
            .map_err(|_| call.fail(format!("what `{name}` learned in training is damaged"), "needed here"))?
    } else {
        reduce()
    };
    Ok(Value::Array(Array::new(data, elem)))
}

/// The numbers that stand for the lanes of `x` along `axes` together.
fn lanes(x: &Array, axes: &[usize], run: fn(ArrayView1<'_, f64>) -> f64) -> ArcArray<f64, IxDyn> {
    let kept: Vec<usize> = (0..x.shape().len()).filter(|a| !axes.contains(a)).collect();
    let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let shape: Vec<usize> = kept.iter().map(|&a| x.shape()[a]).collect();
    let count: usize = axes.iter().map(|&a| x.shape()[a]).product();
    let turned = x.data.view().permuted_axes(IxDyn(&order));
    let mut full = shape.clone();
    full.push(count);
    let flat = turned.to_shape(IxDyn(&full)).expect("the number of elements is kept");
    flat.map_axis(Axis(shape.len()), run).into_shared()
}

/// The axes to run over, sorted: parameters 1 (`axis`) and 2 (`over`) of the call.
fn axes(call: &mut Call<'_, '_>, x: &Array) -> Fallible<Vec<usize>> {
    let rank = x.shape().len();
    let name = call.function.name;
    if let Some(over) = call.optional(2) {
        return match over.value {
            Value::Str(word) if word == "all" => Ok((0..rank).collect()),
            _ => {
                let d = super::call::cannot(over.span, "sizes have no names in a data expression", "not `all`");
                Err(Box::new(d.help(format!("count the axis: `{name}(x, axis = 0)`, or write `over = all`"))))
            }
        };
    }
    let Some(axis) = call.optional(1) else {
        if rank <= 1 {
            return Ok((0..rank).collect());
        }
        let shape = print_shape(x.shape());
        let message = format!("`{name}` of an array of shape {shape} must say what it runs over");
        let d = super::call::cannot(call.span, message, "no axis is given");
        return Err(Box::new(d.help(format!("write `{name}(x, axis = 0)` for each column, or `over = all`"))));
    };
    let span = axis.span;
    let items = match axis.value {
        Value::Tuple(items) => items,
        other => vec![other],
    };
    let mut axes = Vec::new();
    for item in items {
        let array = call.numbers(item, span)?;
        let at =
            array.as_scalar().filter(|_| array.elem == Elem::Int).map(|v| if v < 0.0 { v + rank as f64 } else { v });
        match at {
            Some(v) if v >= 0.0 && v < rank as f64 => axes.push(v as usize),
            _ => {
                let message = format!("the axis must be an int below the rank {rank}");
                return Err(Box::new(super::call::cannot(span, message, "no axis of the array")));
            }
        }
    }
    axes.sort_unstable();
    axes.dedup();
    Ok(axes)
}

/// Refuses missing values.
pub(crate) fn no_nan(x: &Array, span: crate::source::Span, user: &str) -> Fallible<()> {
    match x.data.iter().position(|v| v.is_nan()) {
        None => Ok(()),
        Some(i) => {
            let message = format!("`{user}` meets a missing or undefined number: {}", x.place(i));
            Err(Box::new(Diagnostic::new(Code::E0906, message).label(span, "not all of these are numbers")))
        }
    }
}
