//! The functions that data expressions may call, in one table.
//!
//! A new elementwise function is one line in [`elementwise`] and one in [`FUNCTIONS`]; any other one is a function that
//! takes a [`Call`], and one line.

use super::arithmetic;
use super::call::{Argument, Call, Function, cannot, numbers};
use super::error::Fallible;
use super::lazy::RowMap;
use super::prepare;
use super::reduce;
use super::value::{Array, Elem, TextArray, Value, print_shape};
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use ndarray::{ArcArray, ArrayView, Axis, IxDyn};
use std::sync::Arc;

macro_rules! functions {
    ($($name:ident($($param:ident)* $(; $optional:ident $($more:ident)*)? $(.. $rest:tt)?) = $run:path,)*) => {
        /// Every function, with its parameters and what it does.
        pub const FUNCTIONS: &[Function] = &[$(Function {
            name: stringify!($name),
            params: &[$(stringify!($param),)* $(stringify!($optional), $(stringify!($more),)*)?],
            required: [$(stringify!($param)),*].len(),
            variadic: false $(|| { let _ = stringify!($rest); true })?,
            run: $run,
        }),*];
    };
}

functions! {
    // elementwise: x -> f(x)
    abs(x) = each, sqrt(x) = each, exp(x) = each, log(x) = each, log1p(x) = each, expm1(x) = each,
    log1m_exp(x) = each, logit(x) = each, sigmoid(x) = each, softplus(x) = each, relu(x) = each,
    sin(x) = each, cos(x) = each, tan(x) = each, asin(x) = each, acos(x) = each, atan(x) = each,
    sinh(x) = each, cosh(x) = each, tanh(x) = each,
    floor(x) = each, ceil(x) = each, round(x) = each, sign(x) = each,
    lgamma(x) = each, erf(x) = each, erfc(x) = each, normal_cdf(x) = each,
    // of two arrays
    atan2(y x) = pair, maximum(a b) = pair, minimum(a b) = pair, lbeta(a b) = pair, lchoose(n k) = pair,
    // reductions
    sum(x; axis over) = reduce::run, mean(x; axis over) = reduce::run, sd(x; axis over) = reduce::run,
    variance(x; axis over) = reduce::run, min(x; axis over) = reduce::run, max(x; axis over) = reduce::run,
    prod(x; axis over) = reduce::run, any(x; axis over) = reduce::run, all(x; axis over) = reduce::run,
    argmax(x; axis over) = reduce::run, argmin(x; axis over) = reduce::run,
    cumsum(x; axis) = cumsum,
    // preparation of data
    standardize(x) = prepare::standardize, levels(x) = prepare::levels, codes(x size) = prepare::codes,
    one_hot(x size) = prepare::one_hot,
    // arrays
    range(a; b) = range, fill(shape value) = fill, zeros(shape) = filled, ones(shape) = filled, eye(n) = eye,
    reshape(x shape) = reshape, flatten(x) = flatten, transpose(x) = transpose, diag(x) = diag, diagonal(x) = diagonal,
    outer(a b) = outer, dot(a b) = dot, concat(a .. more) = concat, stack(a .. more) = stacked,
    sort(x) = sort, where(condition a b) = where_,
}

/// The function called `name`.
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|f| f.name == name)
}

/// All names that may be called in a data expression, readers of files included.
pub fn names() -> impl Iterator<Item = &'static str> {
    const READERS: [&str; 8] = ["csv", "json", "npy", "npz", "idx", "safetensors", "images", "parquet"];
    FUNCTIONS.iter().map(|f| f.name).chain(READERS)
}

type Unary = fn(f64) -> f64;
type Pair = fn(f64, f64) -> f64;

/// The elementwise function `name`, and whether it keeps ints.
fn elementwise(name: &str) -> Option<(Unary, bool)> {
    Some(match name {
        "abs" => (f64::abs, true),
        "sign" => (|x| if x == 0.0 || x.is_nan() { x } else { x.signum() }, true),
        "floor" => (f64::floor, true),
        "ceil" => (f64::ceil, true),
        "round" => (f64::round, true),
        "relu" => (|x| if x < 0.0 { 0.0 } else { x }, true),
        "sqrt" => (f64::sqrt, false),
        "exp" => (libm::exp, false),
        "log" => (libm::log, false),
        "log1p" => (libm::log1p, false),
        "expm1" => (libm::expm1, false),
        // Maechler 2012, "Accurately computing log(1 - exp(-|a|))": the two forms meet at -ln 2.
        "log1m_exp" => (
            |x| if x > -std::f64::consts::LN_2 { libm::log(-libm::expm1(x)) } else { libm::log1p(-libm::exp(x)) },
            false,
        ),
        "logit" => (|x| libm::log(x) - libm::log1p(-x), false),
        "sigmoid" => {
            (|x| if x >= 0.0 { 1.0 / (1.0 + libm::exp(-x)) } else { libm::exp(x) / (1.0 + libm::exp(x)) }, false)
        }
        "softplus" => (|x| x.max(0.0) + libm::log1p(libm::exp(-x.abs())), false),
        "sin" => (libm::sin, false),
        "cos" => (libm::cos, false),
        "tan" => (libm::tan, false),
        "asin" => (libm::asin, false),
        "acos" => (libm::acos, false),
        "atan" => (libm::atan, false),
        "sinh" => (libm::sinh, false),
        "cosh" => (libm::cosh, false),
        "tanh" => (libm::tanh, false),
        "lgamma" => (libm::lgamma, false),
        "erf" => (libm::erf, false),
        "erfc" => (libm::erfc, false),
        "normal_cdf" => (|x| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2), false),
        _ => return None,
    })
}

fn each(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let (f, keeps_int) = elementwise(call.function.name).expect("the table names an elementwise function");
    let kept = |elem| if keeps_int && elem != Elem::Real { Elem::Int } else { Elem::Real };
    let arg = call.take(0);
    if let Value::Lazy(x) = &arg.value {
        return Ok(Value::Lazy(x.map(RowMap::Each(f), &x.shape()[1..], kept(x.elem))));
    }
    let mut x = call.numbers(arg.value, arg.span)?;
    x.data.mapv_inplace(f);
    x.elem = kept(x.elem);
    x.spelling = None;
    Ok(Value::Array(x))
}

/// The function of two numbers `name`, and whether it keeps ints.
fn pairwise(name: &str) -> Option<(Pair, bool)> {
    let lbeta = |a: f64, b: f64| libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
    Some(match name {
        "atan2" => (libm::atan2, false),
        "maximum" => (|x, y| if x.is_nan() || x > y { x } else { y }, true),
        "minimum" => (|x, y| if x.is_nan() || x < y { x } else { y }, true),
        "lbeta" => (lbeta, false),
        "lchoose" => (|n, k| libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0), false),
        _ => return None,
    })
}

fn pair(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let (f, keeps_int) = pairwise(call.function.name).expect("the table names a function of two numbers");
    let (a, b) = (call.take(0), call.take(1));
    let (a_span, b_span) = (a.span, b.span);
    let int = |value: &Value| value.elem().is_some_and(|elem| elem != Elem::Real);
    let elem = if keeps_int && int(&a.value) && int(&b.value) { Elem::Int } else { Elem::Real };
    if let Some(result) = arithmetic::elementwise_lazily(&a.value, &b.value, elem, f) {
        return Ok(Value::Lazy(result));
    }
    let (a, b) = (call.numbers(a.value, a_span)?, call.numbers(b.value, b_span)?);
    arithmetic::elementwise(a, a_span, b, b_span, call.span, elem, f).map(Value::Array)
}

fn cumsum(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let (mut x, span) = call.array(0)?;
    let rank = x.shape().len();
    let axis = match call.optional(1) {
        Some(arg) => super::call::count(arg.value, arg.span, "the axis of `cumsum`")?,
        None if rank == 1 => 0,
        None => return Err(call.fail("`cumsum` of more than a vector must say its axis", "no axis is given")),
    };
    if axis >= rank {
        return Err(Box::new(cannot(span, format!("`cumsum` along axis {axis} of rank {rank}"), "has no such axis")));
    }
    x.data.accumulate_axis_inplace(Axis(axis), |&before, now| *now += before);
    x.elem = if x.elem == Elem::Real { Elem::Real } else { Elem::Int };
    Ok(Value::Array(x.plain()))
}

/// `range(n)`: 0 to n - 1; `range(a, b)`: a to b - 1.
fn range(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let first = call.count(0)?;
    let (from, to) = if call.has(1) { (first, call.count(1)?) } else { (0, first) };
    super::call::check_size(&[to.saturating_sub(from)], call.span)?;
    Ok(Value::Array(Array::vector((from..to).map(|i| i as f64).collect(), Elem::Int)))
}

/// `fill([2, 3], x)`: an array of this shape that holds `x` everywhere.
fn fill(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let shape = call.shape(0)?;
    let (x, span) = call.array(1)?;
    match x.as_scalar() {
        Some(value) => Ok(Value::Array(constant(&shape, value, x.elem))),
        None => Err(Box::new(cannot(span, "`fill` takes one number", format!("shape {}", print_shape(x.shape()))))),
    }
}

fn filled(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let value = if call.function.name == "ones" { 1.0 } else { 0.0 };
    Ok(Value::Array(constant(&call.shape(0)?, value, Elem::Real)))
}

fn constant(shape: &[usize], value: f64, elem: Elem) -> Array {
    Array::new(ArcArray::from_elem(IxDyn(shape), value), elem)
}

fn eye(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let n = call.count(0)?;
    super::call::check_size(&[n, n], call.span)?;
    Ok(Value::Array(Array::new(ndarray::Array2::eye(n).into_dyn(), Elem::Real)))
}

fn reshape(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let arg = call.take(0);
    let shape = call.shape(1)?;
    if let (Value::Lazy(x), Some((&rows, row))) = (&arg.value, shape.split_first())
        && (rows, row.iter().product::<usize>()) == (x.n_rows(), x.unit())
    {
        return Ok(Value::Lazy(x.reshaped(row)));
    }
    let (x, span) = (call.numbers(arg.value, arg.span)?, arg.span);
    if shape.iter().product::<usize>() != x.data.len() {
        let message =
            format!("an array of shape {} cannot be reshaped to {}", print_shape(x.shape()), print_shape(&shape));
        let label = format!("{} elements", x.data.len());
        return Err(Box::new(
            Diagnostic::new(Code::E0903, message).label(call.span, "another number of elements").label(span, label),
        ));
    }
    Ok(Value::Array(with_shape(x, &shape)))
}

/// `x` in a shape with as many elements.
fn with_shape(x: Array, shape: &[usize]) -> Array {
    let elem = x.elem;
    let data =
        if x.data.is_standard_layout() { x.data } else { x.data.as_standard_layout().into_owned().into_shared() };
    Array::new(data.into_shape_with_order(IxDyn(shape)).expect("as many elements, in order"), elem)
}

/// All but the first dimension as one, as for batches.
fn flatten(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let arg = call.take(0);
    if let Value::Lazy(x) = &arg.value {
        return Ok(Value::Lazy(x.reshaped(&[x.unit()])));
    }
    let x = call.numbers(arg.value, arg.span)?;
    let Some((&rows, rest)) = x.shape().split_first() else {
        return Err(call.fail("`flatten` needs an array, but got a scalar", "no dimension"));
    };
    let shape = [rows, rest.iter().product()];
    let origin = x.origin.clone();
    Ok(Value::Array(with_shape(x, &shape).with_origin(origin)))
}

fn transpose(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let (x, span) = call.array(0)?;
    if x.shape().len() != 2 {
        let message = format!("`transpose` needs a matrix, but the shape is {}", print_shape(x.shape()));
        return Err(Box::new(Diagnostic::new(Code::E0903, message).label(span, "no matrix")));
    }
    let data = x.data.t().as_standard_layout().into_owned();
    Ok(Value::Array(Array::new(data, x.elem)))
}

fn diag(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let (x, span) = call.array(0)?;
    let &[n] = x.shape() else {
        let message = format!("`diag` needs a vector, but the shape is {}", print_shape(x.shape()));
        return Err(Box::new(Diagnostic::new(Code::E0903, message).label(span, "no vector")));
    };
    super::call::check_size(&[n, n], call.span)?;
    let mut out = constant(&[n, n], 0.0, x.elem);
    for (i, &v) in x.data.iter().enumerate() {
        out.data[[i, i].as_slice()] = v;
    }
    Ok(Value::Array(out))
}

fn diagonal(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let (x, span) = call.array(0)?;
    match x.shape() {
        &[n, m] if n == m => {
            Ok(Value::Array(Array::vector((0..n).map(|i| x.data[[i, i].as_slice()]).collect(), x.elem)))
        }
        shape => {
            let message = format!("`diagonal` needs a square matrix, but the shape is {}", print_shape(shape));
            Err(Box::new(Diagnostic::new(Code::E0903, message).label(span, "no square matrix")))
        }
    }
}

/// Two vectors; `same` asks for one length.
fn vectors(call: &mut Call<'_, '_>, same: bool) -> Fallible<(Array, Array)> {
    let name = call.function.name;
    let (a, a_span) = call.array(0)?;
    let (b, b_span) = call.array(1)?;
    if a.shape().len() == 1 && b.shape().len() == 1 && (!same || a.shape() == b.shape()) {
        return Ok((a, b));
    }
    let what = if same { "two vectors of one length" } else { "two vectors" };
    let message =
        format!("`{name}` needs {what}, but the shapes are {} and {}", print_shape(a.shape()), print_shape(b.shape()));
    Err(Box::new(
        Diagnostic::new(Code::E0903, message)
            .label(a_span, print_shape(a.shape()))
            .label(b_span, print_shape(b.shape())),
    ))
}

fn product(a: Elem, b: Elem) -> Elem {
    if a == Elem::Real || b == Elem::Real { Elem::Real } else { Elem::Int }
}

fn outer(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let (a, b) = vectors(call, false)?;
    let shape = [a.data.len(), b.data.len()];
    super::call::check_size(&shape, call.span)?;
    let values = a.data.iter().flat_map(|&x| b.data.iter().map(move |&y| x * y)).collect();
    Ok(Value::Array(Array::from_shape(&shape, values, product(a.elem, b.elem)).expect("the shape holds the products")))
}

fn dot(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let (a, b) = vectors(call, true)?;
    let sum = a.data.iter().zip(b.data.iter()).map(|(x, y)| x * y).sum();
    Ok(Value::Array(Array::scalar(sum, product(a.elem, b.elem))))
}

/// The arguments of a function that takes any number of them.
fn all(call: &mut Call<'_, '_>) -> Vec<Argument> {
    let mut args = vec![call.take(0)];
    args.append(&mut call.rest);
    args
}

/// Several numbers as arrays of one element type, or several pieces of text.
enum Pieces {
    Numbers(Vec<Array>, Elem),
    Text(Vec<TextArray>),
}

fn pieces(args: Vec<Argument>) -> Fallible<Pieces> {
    if args.iter().all(|a| matches!(a.value, Value::Str(_) | Value::Text(_))) && !args.is_empty() {
        let text = |value| match value {
            Value::Text(text) => text,
            Value::Str(s) => {
                TextArray { data: ArcArray::from_elem(IxDyn(&[]), Some(Arc::from(s.as_str()))), origin: None }
            }
            _ => unreachable!("only text is left"),
        };
        return Ok(Pieces::Text(args.into_iter().map(|a| text(a.value)).collect()));
    }
    let mut elem: Option<Elem> = None;
    let mut arrays = Vec::with_capacity(args.len());
    for arg in args {
        let array = numbers(arg.value, arg.span, "an array of numbers")?;
        elem = Some(match elem {
            None => array.elem,
            Some(e) if e == array.elem => e,
            Some(e) => product(e, array.elem),
        });
        arrays.push(array);
    }
    Ok(Pieces::Numbers(arrays, elem.unwrap_or(Elem::Real)))
}

/// `concat(a, b)`: joined along the first dimension.
fn concat(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let span = call.span;
    let args = all(call);
    let misfit = |error: ndarray::ShapeError| {
        let d = Diagnostic::new(Code::E0903, "`concat` needs arrays that agree in all dimensions but the first");
        Box::new(d.label(span, "these shapes differ").note(format!("ndarray says: {error}")))
    };
    if let Some(scalar) = args.iter().find(|a| a.value.shape().is_none_or(<[usize]>::is_empty)) {
        let message = format!("`concat` joins arrays, but got {}", scalar.value.describe());
        return Err(Box::new(cannot(scalar.span, message, "no array").help("write `[x]` for a vector of one element")));
    }
    Ok(match pieces(args)? {
        Pieces::Numbers(arrays, elem) => {
            let views: Vec<ArrayView<'_, f64, IxDyn>> = arrays.iter().map(|a| a.data.view()).collect();
            Value::Array(Array::new(ndarray::concatenate(Axis(0), &views).map_err(misfit)?, elem))
        }
        Pieces::Text(texts) => {
            let views: Vec<_> = texts.iter().map(|t| t.data.view()).collect();
            let data = ndarray::concatenate(Axis(0), &views).map_err(misfit)?.into_shared();
            Value::Text(TextArray { data, origin: None })
        }
    })
}

fn stacked(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let span = call.span;
    stack(all(call), span)
}

/// The arrays along a new first dimension; they must have one shape.
pub(crate) fn stack(args: Vec<Argument>, span: Span) -> Fallible<Value> {
    if let Some((first, rest)) = args.split_first()
        && let Some(other) = rest.iter().find(|a| shape_of(&a.value) != shape_of(&first.value))
    {
        let shapes = [first, other].map(|a| print_shape(shape_of(&a.value)));
        let message = format!("the elements of an array must have one shape, but have {} and {}", shapes[0], shapes[1]);
        let d = Diagnostic::new(Code::E0903, message)
            .label(other.span, format!("shape {}", shapes[1]))
            .label(first.span, format!("shape {}", shapes[0]));
        return Err(Box::new(d));
    }
    if args.is_empty() {
        return Ok(Value::Array(Array::vector(Vec::new(), Elem::Real)));
    }
    let bug = |e: ndarray::ShapeError| Box::new(cannot(span, format!("cannot stack these: {e}"), "here"));
    Ok(match pieces(args)? {
        Pieces::Numbers(arrays, elem) => {
            let views: Vec<ArrayView<'_, f64, IxDyn>> = arrays.iter().map(|a| a.data.view()).collect();
            Value::Array(Array::new(ndarray::stack(Axis(0), &views).map_err(bug)?, elem))
        }
        Pieces::Text(texts) => {
            let views: Vec<_> = texts.iter().map(|t| t.data.view()).collect();
            Value::Text(TextArray { data: ndarray::stack(Axis(0), &views).map_err(bug)?.into_shared(), origin: None })
        }
    })
}

fn shape_of(value: &Value) -> &[usize] {
    value.shape().unwrap_or_default()
}

fn sort(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let (x, span) = call.array(0)?;
    if x.shape().len() != 1 {
        let message = format!("`sort` needs a vector, but the shape is {}", print_shape(x.shape()));
        return Err(Box::new(Diagnostic::new(Code::E0903, message).label(span, "no vector")));
    }
    let mut values: Vec<f64> = x.data.iter().copied().collect();
    let elem = x.elem;
    reduce::no_nan(&Value::Array(x), span, "sort")?;
    values.sort_by(f64::total_cmp);
    Ok(Value::Array(Array::vector(values, elem)))
}

/// `where(c, a, b)`: `a` where `c` holds, else `b`.
fn where_(call: &mut Call<'_, '_>) -> Fallible<Value> {
    let (c, c_span) = call.array(0)?;
    let (a, a_span) = call.array(1)?;
    let (b, b_span) = call.array(2)?;
    if c.elem != Elem::Bool {
        let message = format!("the condition of `where` must be bool, but it is {}", super::value::print_elem(c.elem));
        return Err(Box::new(Diagnostic::new(Code::E0904, message).label(c_span, "not truth values")));
    }
    let elem = if a.elem == b.elem { a.elem } else { product(a.elem, b.elem) };
    // The shape of all three first; then the choice, which keeps what is not chosen out of the result.
    let ab = arithmetic::broadcast(a.shape(), b.shape());
    let shape = ab.and_then(|s| arithmetic::broadcast(&s, c.shape()));
    let Some(shape) = shape else {
        let d = Diagnostic::new(Code::E0903, "the three shapes of `where` do not fit together")
            .label(c_span, print_shape(c.shape()))
            .label(a_span, print_shape(a.shape()))
            .label(b_span, print_shape(b.shape()));
        return Err(Box::new(d));
    };
    super::call::check_size(&shape, call.span)?;
    let view = |x: &Array| x.data.broadcast(IxDyn(&shape)).expect("the shapes broadcast").to_owned();
    let (c_all, mut out, b_all) = (view(&c), view(&a), view(&b));
    ndarray::Zip::from(&mut out).and(&c_all).and(&b_all).for_each(|x, &c, &b| {
        if c == 0.0 {
            *x = b;
        }
    });
    let origin = c.origin.filter(|_| c.data.shape() == shape);
    Ok(Value::Array(Array::new(out, elem).with_origin(origin)))
}
