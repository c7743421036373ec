//! Functions that prepare data: `standardize`, `levels`, `codes`, `one_hot`.

use super::call::{Argument, Call};
use super::error::Fallible;
use super::lazy::{Pair, RowMap};
use super::learned::LearnedValue;
use super::reduce::{Moments, no_nan};
use super::value::{Array, Elem, Labels, TextArray, Value, place, print_number, print_shape};
use super::values::Values;
use crate::diag::{Code, Diagnostic};
use crate::nearest::nearest;
use ndarray::{ArcArray, IxDyn};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// `standardize(x)`: every column minus its mean, by its standard deviation with n - 1; learned in training.
///
/// Errors: fewer than two rows, a missing value, a constant column, other columns than in training.
pub(crate) fn standardize(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let arg = call.take(0);
    let span = arg.span;
    let x = match arg.value {
        Value::Lazy(lazy) => Value::Lazy(lazy),
        other => Value::Array(call.numbers(other, span)?),
    };
    no_nan(&x, span, "standardize")?;
    let Some((&rows, row_shape)) = x.shape().unwrap_or_default().split_first() else {
        return Err(call.fail("`standardize` needs an array, but got a scalar", "a scalar has no rows"));
    };
    let row_shape = row_shape.to_vec();
    let now_columns = if let Value::Array(x) = &x { x.columns.clone() } else { None };
    let learned = call.evaluator.learn("standardize", call.span, || {
        if rows < 2 {
            let message = format!("`standardize` needs at least two rows, but there are {rows}");
            let shape = print_shape(x.shape().unwrap_or_default());
            return Err(Box::new(Diagnostic::new(Code::E0912, message).label(span, shape)));
        }
        let moments = Moments::of(&Values::of(&x).expect("numbers"), &[0], true);
        if let Some(j) = (0..moments.min.len()).find(|&j| moments.min[j] == moments.max[j]) {
            return Err(Box::new(constant(&x, j, moments.min[j]).label(span, "this is standardized")));
        }
        let columns = now_columns.as_ref().map(|c| c.to_vec());
        let sd = moments.variance.iter().map(|v| v.sqrt()).collect();
        Ok(LearnedValue::Standardize { shape: row_shape.clone(), mean: moments.mean, sd, columns })
    })?;
    let LearnedValue::Standardize { shape, mean, sd, columns } = learned else {
        return Err(call.fail("what `standardize` learned in training is damaged", "needed here"));
    };
    if shape != row_shape {
        let message = format!(
            "`standardize` learned rows of shape {} in training, but these have {}",
            print_shape(&shape),
            print_shape(&row_shape)
        );
        return Err(Box::new(Diagnostic::new(Code::E0903, message).label(span, "another shape than in training")));
    }
    if let (Some(before), Some(now)) = (&columns, &now_columns)
        && let Some(j) = (0..before.len()).find(|&j| now.get(j) != Some(&before[j]))
    {
        let now = now.get(j).map_or("none", String::as_str);
        let message = format!("column {j} was `{}` in training, but it is `{now}` here", before[j]);
        let d = Diagnostic::new(Code::E0903, message).label(span, "other columns than in training");
        return Err(Box::new(d.help("take the columns by name, in the order of the training data: `.columns(…)`")));
    }
    let damaged = || call.fail("what `standardize` learned in training is damaged", "needed here");
    let unit: usize = shape.iter().product();
    if (mean.len(), sd.len()) != (unit, unit) {
        return Err(damaged());
    }
    let x = match x {
        Value::Lazy(x) => {
            let with = |op, values: Vec<f64>| RowMap::WithRow { op, values: values.into(), swapped: false };
            let centred = x.map(with(Pair::Sub, mean), &shape, Elem::Real);
            return Ok(Value::Lazy(centred.map(with(Pair::Div, sd), &shape, Elem::Real)));
        }
        x => x.into_array().expect("numbers"),
    };
    let mean = ArcArray::from_shape_vec(IxDyn(&shape), mean).map_err(|_| damaged())?;
    let sd = ArcArray::from_shape_vec(IxDyn(&shape), sd).map_err(|_| damaged())?;
    let data = (x.data - &mean) / &sd;
    Ok(Value::Array(Array { data, elem: Elem::Real, origin: x.origin, columns: x.columns, spelling: None }))
}

/// The error for column `j` of `x`, all of whose entries are `value`.
fn constant(x: &Value, j: usize, value: f64) -> Diagnostic {
    let (columns, origin) = match x {
        Value::Array(x) => (x.columns.as_ref(), x.origin.as_ref()),
        _ => (None, None),
    };
    let rank = x.shape().unwrap_or_default().len();
    let named = columns.and_then(|c| c.get(j)).or(origin.and_then(|o| o.column.as_ref()));
    let column = match named {
        Some(name) => format!("column `{name}`"),
        None if rank > 1 => format!("column {j}"),
        None => "the vector".to_string(),
    };
    let file = origin.map_or(String::new(), |o| format!(" of `{}`", o.file));
    let d = Diagnostic::new(Code::E0913, format!("{column}{file} is {value} in every row and cannot be standardized"));
    match named {
        Some(name) if rank > 1 => d.help(format!("leave it out: `.except(\"{name}\")`")),
        _ => d.help("leave it out"),
    }
}

/// `levels(x)`: the distinct labels, sorted, numerically if all are numbers; learned in training.
///
/// Errors: a missing label, an empty column.
pub(crate) fn levels(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let arg = call.take(0);
    let found = match &arg.value {
        Value::Labels(labels) => return Ok(Value::Labels(labels.clone())),
        Value::Array(array) => {
            no_nan(&arg.value, arg.span, "levels")?;
            levels_of_numbers(&Values::whole(array.data.clone()), |v| array.label(v))
        }
        Value::Lazy(lazy) => {
            no_nan(&arg.value, arg.span, "levels")?;
            levels_of_numbers(&Values::Lazy(lazy.clone()), |v| print_number(v, lazy.elem))
        }
        Value::Text(text) => levels_of_text(text, &arg)?,
        other => return Err(no_labels(call, other, &arg)),
    };
    if found.is_empty() {
        let d = Diagnostic::new(Code::E0912, "`levels` of no rows gives no labels").label(arg.span, "no rows");
        return Err(Box::new(d));
    }
    match call.evaluator.learn("levels", call.span, || Ok(LearnedValue::Levels(found)))? {
        LearnedValue::Levels(labels) => Ok(Value::Labels(Arc::new(labels))),
        _ => Err(call.fail("what `levels` learned in training is damaged", "needed here")),
    }
}

fn levels_of_numbers(values: &Values, label: impl Fn(f64) -> String) -> Labels {
    let mut numbers: Vec<f64> = Vec::new();
    let _ = values.blocks(&mut |_, block| {
        numbers.extend_from_slice(block);
        numbers.sort_by(f64::total_cmp);
        numbers.dedup();
        ControlFlow::Continue(())
    });
    Labels { names: numbers.iter().map(|&v| label(v)).collect(), numbers: Some(numbers) }
}

fn levels_of_text(text: &TextArray, arg: &Argument) -> Fallible<Labels> {
    let mut names = Vec::with_capacity(text.data.len());
    for (i, entry) in text.data.iter().enumerate() {
        match entry {
            Some(name) => names.push(name.to_string()),
            None => return Err(missing_label(text, i, arg)),
        }
    }
    names.sort();
    names.dedup();
    Ok(Labels::from_names(names))
}

fn missing_label(text: &TextArray, i: usize, arg: &Argument) -> Box<Diagnostic> {
    let message = format!("a label is missing: {}", place(text.shape(), i, text.origin.as_deref(), None));
    Box::new(Diagnostic::new(Code::E0906, message).label(arg.span, "not every entry has a label"))
}

fn no_labels(call: &Call<'_, '_>, value: &Value, arg: &Argument) -> Box<Diagnostic> {
    let message = format!("`{}` needs a column of labels, but got {}", call.function.name, value.describe());
    Box::new(Diagnostic::new(Code::E0904, message).label(arg.span, format!("this is {}", value.describe())))
}

/// `codes(x, Size)`: the position of every entry among the labels of the size.
///
/// Errors: a size without labels, a label that it does not have.
pub(crate) fn codes(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let arg = call.take(0);
    let labels = match call.labels(1) {
        Ok(labels) => labels,
        Err(other) => {
            let message = format!("`codes` needs a size with labels, but got {}", other.value.describe());
            let d = Diagnostic::new(Code::E0904, message).label(other.span, "this has no labels");
            return Err(Box::new(d.help("name a size by its labels: `size K = levels(csv(\"f.csv\").column)`")));
        }
    };
    encode(call, &arg, &labels).map(Value::Array)
}

fn encode(call: &Call<'_, '_>, arg: &Argument, labels: &Labels) -> Fallible<Array> {
    let unseen = |label: &str, place: String| {
        let message = format!("the label `{label}` is not among the {} known ones: {place}", labels.len());
        let d = Diagnostic::new(Code::E0910, message).label(arg.span, "a label that is not known");
        Box::new(match nearest(label, labels.names.iter().map(String::as_str)) {
            Some(near) => d.help(format!("the label `{near}` is known")),
            None => d
                .note("labels are those of the training data")
                .help("take the labels from all data: `levels` of the whole column"),
        })
    };
    if let Value::Lazy(lazy) = &arg.value {
        let whole = Argument { value: Value::Array(lazy.to_array()), ..arg.clone() };
        return encode(call, &whole, labels);
    }
    let (shape, values, origin) = match &arg.value {
        Value::Text(text) => {
            let index: BTreeMap<&str, usize> = labels.names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
            let mut values = Vec::with_capacity(text.data.len());
            for (i, entry) in text.data.iter().enumerate() {
                let Some(entry) = entry else { return Err(missing_label(text, i, arg)) };
                let known = index.get(entry.as_ref()).copied().or_else(|| labels.position_of_text(entry));
                match known {
                    Some(code) => values.push(code as f64),
                    None => return Err(unseen(entry, place(text.shape(), i, text.origin.as_deref(), None))),
                }
            }
            (text.shape().to_vec(), values, text.origin.clone())
        }
        Value::Array(array) => {
            no_nan(&arg.value, arg.span, "codes")?;
            let mut known: BTreeMap<u64, usize> = BTreeMap::new();
            let mut values = Vec::with_capacity(array.data.len());
            for (i, &v) in array.data.iter().enumerate() {
                let code = match known.get(&v.to_bits()) {
                    Some(&code) => code,
                    None => match labels.position_of_number(v) {
                        Some(code) => *known.entry(v.to_bits()).or_insert(code),
                        None => return Err(unseen(&array.label(v), array.place(i))),
                    },
                };
                values.push(code as f64);
            }
            (array.shape().to_vec(), values, array.origin.clone())
        }
        Value::Str(entry) => match labels.position_of_text(entry) {
            Some(code) => (Vec::new(), vec![code as f64], None),
            None => return Err(unseen(entry, "the value".into())),
        },
        other => return Err(no_labels(call, other, arg)),
    };
    let array = Array::from_shape(&shape, values, Elem::Int).expect("one code for every entry");
    Ok(array.with_origin(origin))
}

/// `one_hot(x, K)`: `[.., K]`, 1 at the position of `x` and 0 elsewhere; text needs a size with labels.
///
/// Errors: a number outside `0..K`.
pub(crate) fn one_hot(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let arg = call.take(0);
    let (value, size) = match (arg.value.clone(), call.labels(1)) {
        (Value::Text(_) | Value::Str(_), Ok(labels)) => (encode(call, &arg, &labels)?.into(), labels.len()),
        (value, Ok(labels)) => (value, labels.len()),
        (value, Err(size)) => (value, super::call::count(size.value, size.span, "the size given to `one_hot`")?),
    };
    if let Value::Lazy(codes) = &value
        && codes.elem != Elem::Real
        && codes.within(|low, high| low >= 0.0 && high < size as f64)
    {
        let mut shape = codes.shape().to_vec();
        shape.push(size);
        super::call::check_size(&shape, call.span)?;
        return Ok(Value::Lazy(codes.map(RowMap::OneHot(size), &shape[1..], Elem::Int)));
    }
    let codes = call.numbers(value, arg.span)?;
    let mut shape = codes.shape().to_vec();
    shape.push(size);
    super::call::check_size(&shape, call.span)?;
    let mut values = vec![0.0; shape.iter().product()];
    for (i, &v) in codes.data.iter().enumerate() {
        if v.fract() != 0.0 || v < 0.0 || v >= size as f64 || v.is_nan() {
            let message = format!("`one_hot` needs ints in 0..{size}, but {} is {v}", codes.place(i));
            return Err(Box::new(Diagnostic::new(Code::E0905, message).label(arg.span, "out of range")));
        }
        values[i * size + v as usize] = 1.0;
    }
    let array = Array::from_shape(&shape, values, Elem::Int).expect("the shape holds the elements");
    Ok(Value::Array(array.with_origin(codes.origin)))
}
