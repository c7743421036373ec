//! Operators of data expressions, elementwise with broadcasting.
//!
//! Shapes are aligned from the right and a dimension of size 1 stretches; other dimensions must agree. Ints stay ints
//! under `+ - * %` and under `^` with exponents from 0 on; `/` gives reals. `%` has the sign of the divisor.

use super::call::{cannot, check_size, numbers};
use super::error::Fallible;
use super::lazy::{LazyArray, Pair, RowMap};
use super::value::{Array, Elem, MAX_EXACT_INT, Numbers, TextArray, Value, print_elem, print_shape};
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::BinaryOp;
use ndarray::{ArcArray, IxDyn, Zip};
use std::sync::Arc;

/// `a op b`; `span` is the place of the whole.
pub fn binary(op: BinaryOp, a: Value, a_span: Span, b: Value, b_span: Span, span: Span) -> Fallible<Value> {
    if let (BinaryOp::Eq | BinaryOp::Ne, Some(result)) = (op, compare_text(&a, &b)) {
        return Ok(Value::Array(if op == BinaryOp::Ne { flip(result) } else { result }));
    }
    if let Some(result) = lazily(op, &a, &b) {
        return Ok(Value::Lazy(result));
    }
    let user = format!("`{}`", op.symbol());
    let a = numbers(a, a_span, &user)?;
    let b = numbers(b, b_span, &user)?;
    if op == BinaryOp::MatMul {
        return matmul(&a, &b, span);
    }
    if let BinaryOp::And | BinaryOp::Or = op {
        for (side, place) in [(&a, a_span), (&b, b_span)] {
            if side.elem != Elem::Bool {
                let message = format!("{user} needs bool, but this is {}", print_elem(side.elem));
                return Err(Box::new(Diagnostic::new(Code::E0904, message).label(place, "not a truth value")));
            }
        }
    }
    let (elem, f) = operator(op, a.elem, b.elem, || b.data.iter().all(|&v| v >= 0.0));
    let result = elementwise(a, a_span, b, b_span, span, elem, |x, y| f.apply(x, y))?;
    if elem == Elem::Int && result.data.iter().any(|v| v.abs() >= MAX_EXACT_INT || v.is_infinite()) {
        let message = format!("{user} of these ints gives one of 2^53 or more, too large to be exact");
        return Err(Box::new(cannot(span, message, "too large").help("make one side real, for example `2.0`")));
    }
    Ok(Value::Array(result))
}

/// The element type and the function of an elementwise operator on these element types; `exponents` says whether all
/// numbers on the right are from 0 on.
fn operator(op: BinaryOp, a: Elem, b: Elem, exponents: impl Fn() -> bool) -> (Elem, Pair) {
    let int = |e| matches!(e, Elem::Int | Elem::Bool);
    let both_int = int(a) && int(b);
    let kept = if both_int { Elem::Int } else { Elem::Real };
    let truth_of = |f| (Elem::Bool, Pair::Other(f));
    match op {
        BinaryOp::Add => (kept, Pair::Add),
        BinaryOp::Sub => (kept, Pair::Sub),
        BinaryOp::Mul => (kept, Pair::Mul),
        BinaryOp::Div => (Elem::Real, Pair::Div),
        BinaryOp::Rem => (kept, Pair::Other(|x, y| x - y * (x / y).floor())),
        BinaryOp::Pow if both_int && exponents() => (Elem::Int, Pair::Other(f64::powf)),
        BinaryOp::Pow => (Elem::Real, Pair::Other(f64::powf)),
        BinaryOp::Eq => truth_of(|x, y| truth(x == y)),
        BinaryOp::Ne => truth_of(|x, y| truth(x != y)),
        BinaryOp::Lt => truth_of(|x, y| truth(x < y)),
        BinaryOp::Le => truth_of(|x, y| truth(x <= y)),
        BinaryOp::Gt => truth_of(|x, y| truth(x > y)),
        BinaryOp::Ge => truth_of(|x, y| truth(x >= y)),
        BinaryOp::And => truth_of(|x, y| x * y),
        BinaryOp::Or => truth_of(f64::max),
        BinaryOp::MatMul => unreachable!("no elementwise operator"),
    }
}

/// `a op b` row by row, where one side is in a file and the other is a number or fits one row; `None` otherwise, and where
/// the whole must be looked at to find a mistake.
fn lazily(op: BinaryOp, a: &Value, b: &Value) -> Option<LazyArray> {
    if matches!(op, BinaryOp::MatMul | BinaryOp::And | BinaryOp::Or) {
        return None;
    }
    let (lazy, other, swapped) = sides(a, b)?;
    let (a_elem, b_elem) = if swapped { (other.elem, lazy.elem) } else { (lazy.elem, other.elem) };
    let exponents = || if swapped { lazy.within(|low, _| low >= 0.0) } else { other.data.iter().all(|&v| v >= 0.0) };
    let (elem, op) = operator(op, a_elem, b_elem, exponents);
    let result = beside(lazy, &other, op, swapped, elem)?;
    let exact = |low: f64, high: f64| low > -MAX_EXACT_INT && high < MAX_EXACT_INT;
    (elem != Elem::Int || result.within(exact)).then_some(result)
}

/// The side that is in a file, the other one, and whether that other one stands on the left.
fn sides<'v>(a: &'v Value, b: &'v Value) -> Option<(&'v LazyArray, Array, bool)> {
    let small = |value: &Value| match value {
        Value::Array(_) | Value::Labels(_) => value.clone().into_array().ok(),
        _ => None,
    };
    match (a, b) {
        (Value::Lazy(lazy), other) => Some((lazy, small(other)?, false)),
        (other, Value::Lazy(lazy)) => Some((lazy, small(other)?, true)),
        _ => None,
    }
}

/// `lazy op other` for every element, where `other` is a number or stretches to the shape of a row.
fn beside(lazy: &LazyArray, other: &Array, op: Pair, swapped: bool, elem: Elem) -> Option<LazyArray> {
    let row = lazy.shape()[1..].to_vec();
    if let Some(value) = other.as_scalar() {
        return Some(lazy.map(RowMap::With { op, value, swapped }, &row, elem));
    }
    // A leading dimension of size 1 says that all rows have the same.
    let data = match other.shape() {
        [1, rest @ ..] if rest.len() == row.len() => other.data.clone().index_axis_move(ndarray::Axis(0), 0),
        shape if shape.len() <= row.len() => other.data.clone(),
        _ => return None,
    };
    let values = data.broadcast(IxDyn(&row))?.iter().copied().collect();
    Some(lazy.map(RowMap::WithRow { op, values, swapped }, &row, elem))
}

/// As [`elementwise`], row by row where one side is in a file and the other is a number or fits one row.
pub(crate) fn elementwise_lazily(a: &Value, b: &Value, elem: Elem, f: fn(f64, f64) -> f64) -> Option<LazyArray> {
    let (lazy, other, swapped) = sides(a, b)?;
    beside(lazy, &other, Pair::Other(f), swapped, elem)
}

/// `f(a, b)` for every element, with broadcasting.
pub(crate) fn elementwise(
    a: Array,
    a_span: Span,
    b: Array,
    b_span: Span,
    span: Span,
    elem: Elem,
    f: impl Fn(f64, f64) -> f64,
) -> Fallible<Array> {
    let Some(shape) = broadcast(a.shape(), b.shape()) else {
        let (sa, sb) = (print_shape(a.shape()), print_shape(b.shape()));
        let message = format!("the shapes {sa} and {sb} do not fit together");
        let mut d = Diagnostic::new(Code::E0903, message)
            .label(span, "these shapes differ")
            .label(a_span, format!("shape {sa}"))
            .label(b_span, format!("shape {sb}"));
        if a.shape().len() == 1 && b.shape().len() == 1 {
            d = d.help("to combine every element of one with every element of the other, write `a[:, new]`");
        }
        return Err(Box::new(d));
    };
    check_size(&shape, span)?;
    let origin = [&a, &b].into_iter().find(|x| x.shape() == shape && x.origin.is_some()).and_then(|x| x.origin.clone());
    let columns = [&a, &b].into_iter().find(|x| x.shape() == shape).and_then(|x| x.columns.clone());
    let data: Numbers = if a.shape() == shape {
        let mut data = a.data;
        match b.as_scalar() {
            Some(y) => data.mapv_inplace(|x| f(x, y)),
            None => {
                let other = b.data.broadcast(IxDyn(&shape)).expect("the shapes broadcast");
                Zip::from(&mut data).and(&other).for_each(|x, &y| *x = f(*x, y));
            }
        }
        data
    } else if b.shape() == shape {
        let mut data = b.data;
        let other = a.data.broadcast(IxDyn(&shape)).expect("the shapes broadcast");
        Zip::from(&mut data).and(&other).for_each(|y, &x| *y = f(x, *y));
        data
    } else {
        let left = a.data.broadcast(IxDyn(&shape)).expect("the shapes broadcast");
        let right = b.data.broadcast(IxDyn(&shape)).expect("the shapes broadcast");
        Zip::from(&left).and(&right).map_collect(|&x, &y| f(x, y)).into_shared()
    };
    Ok(Array { data, elem, origin, columns, spelling: None })
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// The shape that `a` and `b` stretch to.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| if i + s.len() >= rank { s[i + s.len() - rank] } else { 1 };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// `-value`
pub fn negate(value: Value, span: Span) -> Fallible<Value> {
    if let Value::Lazy(lazy) = &value {
        let elem = if lazy.elem == Elem::Real { Elem::Real } else { Elem::Int };
        return Ok(Value::Lazy(lazy.map(RowMap::Each(|x| -x), &lazy.shape()[1..], elem)));
    }
    let mut array = numbers(value, span, "`-`")?;
    array.data.mapv_inplace(|x| -x);
    if array.elem == Elem::Bool {
        array.elem = Elem::Int;
    }
    array.spelling = None;
    Ok(Value::Array(array))
}

/// `not value`
pub fn not(value: Value, span: Span) -> Fallible<Value> {
    if let Value::Lazy(lazy) = &value
        && lazy.elem == Elem::Bool
    {
        return Ok(Value::Lazy(lazy.map(RowMap::Each(|x| 1.0 - x), &lazy.shape()[1..], Elem::Bool)));
    }
    let array = numbers(value, span, "`not`")?;
    if array.elem != Elem::Bool {
        let message = format!("`not` needs bool, but this is {}", print_elem(array.elem));
        return Err(Box::new(Diagnostic::new(Code::E0904, message).label(span, "not a truth value")));
    }
    Ok(Value::Array(flip(array)))
}

fn flip(mut array: Array) -> Array {
    array.data.mapv_inplace(|x| 1.0 - x);
    array
}

/// `a == b` where both are text; `None` where one is not.
fn compare_text(a: &Value, b: &Value) -> Option<Array> {
    let equal = |text: &TextArray, with: &str| {
        let data = text.data.map(|s| truth(s.as_deref() == Some(with)));
        Array::new(data.into_shared(), Elem::Bool).with_origin(text.origin.clone())
    };
    match (a, b) {
        (Value::Str(x), Value::Str(y)) => Some(Array::scalar(truth(x == y), Elem::Bool)),
        (Value::Text(text), Value::Str(s)) | (Value::Str(s), Value::Text(text)) => Some(equal(text, s)),
        (Value::Text(x), Value::Text(y)) if x.shape() == y.shape() => {
            let same = |(x, y): (&Option<Arc<str>>, &Option<Arc<str>>)| truth(x == y);
            let values = x.data.iter().zip(y.data.iter()).map(same).collect();
            Array::from_shape(x.shape(), values, Elem::Bool)
        }
        _ => None,
    }
}

/// `a @ b`: matrix-matrix, matrix-vector, vector-matrix and inner product.
fn matmul(a: &Array, b: &Array, span: Span) -> Fallible<Value> {
    let (sa, sb) = (a.shape().to_vec(), b.shape().to_vec());
    let matrix = |s: &[usize]| matches!(s.len(), 1 | 2);
    let inner = (sa.last().copied(), if sb.len() == 2 { sb.first().copied() } else { sb.last().copied() });
    if !matrix(&sa) || !matrix(&sb) || inner.0 != inner.1 {
        let message = format!("cannot multiply {} by {} with `@`", print_shape(&sa), print_shape(&sb));
        return Err(Box::new(Diagnostic::new(Code::E0903, message).label(span, "the inner sizes must agree")));
    }
    let (rows, k) = if sa.len() == 2 { (sa[0], sa[1]) } else { (1, sa[0]) };
    let columns = if sb.len() == 2 { sb[1] } else { 1 };
    check_size(&[rows, columns], span)?;
    let flat = |x: &Array| x.data.iter().copied().collect::<Vec<f64>>();
    let left = ndarray::Array2::from_shape_vec((rows, k), flat(a)).expect("the shape holds the elements");
    let right = ndarray::Array2::from_shape_vec((k, columns), flat(b)).expect("the shape holds the elements");
    let mut shape = Vec::new();
    shape.extend((sa.len() == 2).then_some(rows));
    shape.extend((sb.len() == 2).then_some(columns));
    let product: Vec<f64> = left.dot(&right).iter().copied().collect();
    let data = ArcArray::from_shape_vec(IxDyn(&shape), product).expect("the shape holds the elements");
    let elem = if a.elem == Elem::Real || b.elem == Elem::Real { Elem::Real } else { Elem::Int };
    Ok(Value::Array(Array::new(data, elem)))
}
