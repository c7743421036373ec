//! Reductions of data expressions: `sum mean sd variance min max prod any all argmax argmin` over one axis, several, or all.
//!
//! `sd` and `variance` divide by n - 1. For a vector the axis may be left out. `mean sd variance min max` over the rows
//! are learned from the training data (see `learned.rs`).

use super::call::Call;
use super::error::Fallible;
use super::learned::LearnedValue;
use super::value::{Array, Elem, Value, place, print_shape, unflatten};
use super::values::Values;
use crate::diag::{Code, Diagnostic};
use ndarray::{ArcArray, ArrayView1, Axis, IxDyn};
use std::ops::ControlFlow;

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
    let arg = call.take(0);
    let (x, x_span) = match arg.value {
        Value::Lazy(lazy) => (Value::Lazy(lazy), arg.span),
        other => (Value::Array(call.numbers(other, arg.span)?), arg.span),
    };
    let (shape, x_elem) = (x.shape().unwrap_or_default().to_vec(), x.elem().unwrap_or(Elem::Real));
    let axes = axes(call, &shape)?;
    no_nan(&x, x_span, name)?;
    if matches!(name, "any" | "all") && x_elem != Elem::Bool {
        let message = format!("`{name}` needs bool, but this is {}", super::value::print_elem(x_elem));
        return Err(Box::new(Diagnostic::new(Code::E0904, message).label(x_span, "not truth values")));
    }
    let count: usize = axes.iter().map(|&a| shape[a]).product();
    if count < reducer.least {
        let message = format!("`{name}` needs at least {} elements, but there are {count}", reducer.least);
        return Err(Box::new(Diagnostic::new(Code::E0912, message).label(x_span, print_shape(&shape))));
    }
    let elem = (reducer.elem)(x_elem);
    let over_rows = axes.contains(&0);
    let reduce = || match statistic(name).filter(|_| over_rows && count > 0) {
        Some(of) => {
            let kept: Vec<usize> = (0..shape.len()).filter(|a| !axes.contains(a)).map(|a| shape[a]).collect();
            let moments = Moments::of(&Values::of(&x).expect("numbers"), &axes, !matches!(name, "sum" | "min" | "max"));
            ArcArray::from_shape_vec(IxDyn(&kept), of(&moments)).expect("one number for each cell")
        }
        None if over_rows => lanes(&whole(x.clone()), &axes, reducer.run),
        None => by_blocks(&x, &axes, reducer.run),
    };
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

fn whole(x: Value) -> Array {
    x.into_array().expect("numbers")
}

/// Reductions within rows: block after block of a file, all at once in memory.
fn by_blocks(x: &Value, axes: &[usize], run: fn(ArrayView1<'_, f64>) -> f64) -> ArcArray<f64, IxDyn> {
    let Value::Lazy(lazy) = x else { return lanes(&whole(x.clone()), axes, run) };
    let mut results = Vec::new();
    let mut shape = lazy.shape().to_vec();
    let _ = lazy.blocks(&mut |_, block| {
        shape[0] = block.len() / lazy.unit();
        let block = Array::from_shape(&shape, block.to_vec(), lazy.elem).expect("whole rows");
        results.extend(lanes(&block, axes, run).iter());
        ControlFlow::Continue(())
    });
    shape[0] = lazy.n_rows();
    let kept: Vec<usize> = (0..shape.len()).filter(|a| !axes.contains(a)).map(|a| shape[a]).collect();
    ArcArray::from_shape_vec(IxDyn(&kept), results).expect("one number for each lane")
}

/// Sum, mean, variance and the ends of what stands in each place of the rows, over all rows and some axes of each.
///
/// Found in one or two passes over blocks of rows, of whose sums the sums are made: the same numbers whether the array is in
/// memory or in a file. The second pass corrects the rounding of the first mean (Chan, Golub & LeVeque 1983, The American
/// Statistician 37:242, eq. 1.7).
pub(crate) struct Moments {
    /// The number of elements of each cell.
    count: f64,
    /// One for each cell.
    pub sum: Vec<f64>,
    /// One for each cell.
    pub mean: Vec<f64>,
    /// One for each cell, with n - 1.
    pub variance: Vec<f64>,
    /// One for each cell.
    pub min: Vec<f64>,
    /// One for each cell.
    pub max: Vec<f64>,
}

/// What a reduction over rows takes of the moments.
fn statistic(name: &str) -> Option<fn(&Moments) -> Vec<f64>> {
    Some(match name {
        "sum" => |m| m.sum.clone(),
        "mean" => |m| m.mean.clone(),
        "variance" => |m| m.variance.clone(),
        "sd" => |m| m.variance.iter().map(|v| v.sqrt()).collect(),
        "min" => |m| m.min.clone(),
        "max" => |m| m.max.clone(),
        _ => return None,
    })
}

impl Moments {
    /// The moments of `x` over `axes`, of which the first is 0; those of the second pass, mean and variance, only with
    /// `second`. No element may be NaN.
    pub fn of(x: &Values, axes: &[usize], second: bool) -> Moments {
        let row = x.shape().get(1..).unwrap_or_default();
        let kept: Vec<usize> = (0..row.len()).filter(|a| !axes.contains(&(a + 1))).collect();
        let cells: usize = kept.iter().map(|&a| row[a]).product();
        // The cell of each place of a row.
        let places: Vec<usize> = (0..x.unit())
            .map(|flat| {
                let index = unflatten(row, flat);
                kept.iter().fold(0, |cell, &a| cell * row[a] + index[a])
            })
            .collect();
        let mut m = Moments {
            count: (x.len() / cells.max(1)) as f64,
            sum: vec![0.0; cells],
            mean: Vec::new(),
            variance: Vec::new(),
            min: vec![f64::INFINITY; cells],
            max: vec![f64::NEG_INFINITY; cells],
        };
        let mut part = vec![0.0; cells];
        let _ = x.blocks(&mut |_, block| {
            part.fill(0.0);
            let (sum, min, max) = (&mut part, &mut m.min, &mut m.max);
            each(block, &places, cells, |cell, x| {
                sum[cell] += x;
                min[cell] = if x < min[cell] { x } else { min[cell] };
                max[cell] = if x > max[cell] { x } else { max[cell] };
            });
            m.sum.iter_mut().zip(&part).for_each(|(sum, part)| *sum += part);
            ControlFlow::Continue(())
        });
        if !second {
            return m;
        }
        let n = m.count;
        let first: Vec<f64> = m.sum.iter().map(|sum| sum / n).collect();
        let (mut rest, mut squares) = (vec![0.0; cells], vec![0.0; cells]);
        let mut part_squares = vec![0.0; cells];
        let _ = x.blocks(&mut |_, block| {
            part.fill(0.0);
            part_squares.fill(0.0);
            each(block, &places, cells, |cell, x| {
                let d = x - first[cell];
                part[cell] += d;
                part_squares[cell] += d * d;
            });
            rest.iter_mut().zip(&part).for_each(|(sum, part)| *sum += part);
            squares.iter_mut().zip(&part_squares).for_each(|(sum, part)| *sum += part);
            ControlFlow::Continue(())
        });
        m.mean = first.iter().zip(&rest).map(|(&f, r)| if f.is_finite() { f + r / n } else { f }).collect();
        let positive = |x: f64| if x < 0.0 { 0.0 } else { x };
        m.variance = squares.iter().zip(&rest).map(|(s, r)| positive(s - r * r / n) / (n - 1.0)).collect();
        m
    }
}

/// Calls `f` with the cell of every element.
fn each(block: &[f64], places: &[usize], cells: usize, mut f: impl FnMut(usize, f64)) {
    for row in block.chunks_exact(places.len().max(1)) {
        if cells == row.len() {
            row.iter().enumerate().for_each(|(cell, &x)| f(cell, x));
        } else {
            row.iter().zip(places).for_each(|(&x, &cell)| f(cell, x));
        }
    }
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
fn axes(call: &mut Call<'_, '_>, shape: &[usize]) -> Fallible<Vec<usize>> {
    let rank = shape.len();
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
        let shape = print_shape(shape);
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
pub(crate) fn no_nan(x: &Value, span: crate::source::Span, user: &str) -> Fallible<()> {
    let Some(values) = Values::of(x) else { return Ok(()) };
    if values.within(|_, _| true) {
        return Ok(());
    }
    let at = values.find(f64::is_nan).map_or(0, |(at, _)| at);
    let place = match x {
        Value::Array(array) => array.place(at),
        _ => place(values.shape(), at, None, None),
    };
    let message = format!("`{user}` meets a missing or undefined number: {place}");
    Err(Box::new(Diagnostic::new(Code::E0906, message).label(span, "not all of these are numbers")))
}
