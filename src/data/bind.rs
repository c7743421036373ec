//! Binds data to their declarations: evaluates, checks shape, elements and ranges, gives the sizes their values.
//!
//! In: one [`BindRequest`] for each datum, an [`Evaluator`] that knows the program.   Out: a [`Binding`]. All problems of
//! all data are reported in one go. Data whose expression needs a size that other data bind are evaluated after these.

use super::call::culprit;
use super::error::Fallible;
use super::eval::{Evaluator, no_value};
use super::range::Range;
use super::size::{DimSpec, SizeOrigin, SizeTable, SizeValue};
use super::value::{Array, Elem, Labels, Value, place, print_elem, print_number, print_shape};
use super::values::Values;
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::source::Span;
use crate::syntax::ast::{Dim, Expr, ExprKind, Ident, Type};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A datum as the program declares it, and where its value comes from.
pub struct BindRequest<'a> {
    /// Its name.
    pub name: String,
    /// The place of its declaration, for messages.
    pub span: Span,
    /// Its element type.
    pub elem: Elem,
    /// Its dimensions.
    pub dims: Vec<DimSpec<'a>>,
    /// The range after `in`.
    pub range: Option<RangeSpec<'a>>,
    /// Its value.
    pub source: Source<'a>,
}

impl<'a> BindRequest<'a> {
    /// The request for `data name: ty = value`; without a value it is required.
    ///
    /// `..dims` cannot stand in the type of a datum; `check` refuses it, and here it asks for size 0, which no data has.
    pub fn of(name: &Ident, ty: &'a Type, value: Option<&'a Expr>) -> BindRequest<'a> {
        let dim = |dim: &'a Dim| match dim {
            Dim::Size(size) => DimSpec::of(size),
            Dim::Spread(_) => DimSpec::Known(0),
        };
        BindRequest {
            name: name.name.clone(),
            span: name.span,
            elem: ty.elem,
            dims: ty.dims.iter().map(dim).collect(),
            range: ty.range.as_deref().and_then(RangeSpec::of),
            source: value.map_or(Source::Required, Source::Expr),
        }
    }
}

/// A declared range; its ends may name sizes, constants and other data.
#[derive(Clone, Copy)]
pub struct RangeSpec<'a> {
    /// The lower end.
    pub start: Option<&'a Expr>,
    /// The upper end.
    pub end: Option<&'a Expr>,
    /// Whether the upper end belongs to it.
    pub closed: bool,
    /// Its place.
    pub span: Span,
}

impl<'a> RangeSpec<'a> {
    /// The range that the expression `expr` is; `None` for any other expression.
    pub fn of(expr: &'a Expr) -> Option<RangeSpec<'a>> {
        match &expr.kind {
            ExprKind::Paren(inner) => RangeSpec::of(inner),
            ExprKind::Range { start, end, closed } => {
                Some(RangeSpec { start: start.as_deref(), end: end.as_deref(), closed: *closed, span: expr.span })
            }
            _ => None,
        }
    }
}

/// Where the value of a datum comes from.
pub enum Source<'a> {
    /// An expression: the default, or what `evaluate` says.
    Expr(&'a Expr),
    /// A value from the command line; the text says which, for messages.
    Given(Value, String),
    /// Nothing, and that is an error.
    Required,
    /// Nothing, and that is fine: the model draws it.
    Absent,
}

/// A datum that fits its declaration.
#[derive(Clone, PartialEq, Debug)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// Its values, row-major; ints and bools (0, 1) are exact.
    pub data: Values,
    /// Its element type, as declared.
    pub elem: Elem,
    /// The names of its columns (second axis), where it was made of columns of a table.
    pub columns: Option<Arc<[String]>>,
}

/// The data that fit, and the sizes that have a value.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Binding {
    /// The data, in the order of the requests; absent and broken ones are missing.
    pub data: Vec<Bound>,
    /// All sizes with a value.
    pub sizes: SizeTable,
}

impl Binding {
    /// The datum `name`.
    pub fn get(&self, name: &str) -> Option<&Bound> {
        self.data.iter().find(|b| b.name == name)
    }
}

/// Binds the data of `requests`; `needed` names the sizes that must have a value in the end, with the place of their use.
///
/// Sizes with a value beforehand (command line, an earlier fit) stand in `evaluator.sizes`. Problems go to `out`.
pub fn bind<'a>(
    evaluator: &mut Evaluator<'a>,
    requests: &[BindRequest<'a>],
    needed: &[(String, Span)],
    out: &mut Diagnostics,
) -> Binding {
    for request in requests {
        for dim in &request.dims {
            match dim {
                DimSpec::Named(size) => evaluator.declare_size(size),
                DimSpec::Computed { names, .. } => names.iter().for_each(|n| evaluator.declare_size(n)),
                DimSpec::Known(_) => {}
            }
        }
        match &request.source {
            Source::Expr(expr) => evaluator.define(&request.name, expr, true),
            Source::Given(value, _) => evaluator.set(&request.name, value.clone()),
            Source::Required | Source::Absent => evaluator.set_absent(&request.name, not_given(request)),
        }
    }
    for (size, _) in needed {
        evaluator.declare_size(size);
    }
    let mut arrays: Vec<Option<Value>> = requests.iter().map(|_| None).collect();
    let mut waiting: Vec<usize> = (0..requests.len()).collect();
    let mut last_round = false;
    while !waiting.is_empty() {
        let mut later = Vec::new();
        for &i in &waiting {
            match bind_one(evaluator, &requests[i]) {
                Ok(array) => arrays[i] = array,
                Err(d) if d.code == Code::E0909 && !last_round => later.push(i),
                // The size would have come from data that are already reported.
                Err(d)
                    if d.code == Code::E0909
                        && evaluator.unbound().is_some_and(|size| {
                            let bound_here = |r: &BindRequest<'_>| {
                                r.dims.iter().any(|d| matches!(d, DimSpec::Named(n) if *n == size))
                            };
                            let broken = |&(j, r): &(usize, &BindRequest<'_>)| {
                                !waiting.contains(&j) && arrays[j].is_none() && bound_here(r)
                            };
                            requests.iter().enumerate().filter(broken).any(|(_, r)| !matches!(r.source, Source::Absent))
                        }) => {}
                Err(d) => out.push(*d),
            }
        }
        last_round = later.len() == waiting.len();
        waiting = later;
    }
    // Ends of ranges may be data, so ranges are checked when all data are there.
    let mut unfit = vec![false; requests.len()];
    for (i, request) in requests.iter().enumerate() {
        let Some(array) = &arrays[i] else { continue };
        let mut problems = computed_dims(evaluator, request, array);
        if !range_needs_broken(requests, &arrays, request) {
            problems.extend(range(evaluator, request, array));
        }
        unfit[i] = !problems.is_empty();
        problems.into_iter().for_each(|d| out.push(d));
    }
    for (array, _) in arrays.iter_mut().zip(&unfit).filter(|&(_, &unfit)| unfit) {
        *array = None;
    }
    for problem in evaluator.size_items() {
        out.push(problem);
    }
    for (size, span) in needed {
        match evaluator.size(size, *span) {
            Ok(Some(_)) => {}
            // A size that broken data would have bound is not a second mistake.
            Ok(None) if binds_broken(requests, &arrays, size) => {}
            Ok(None) => out.push(no_value(size, *span)),
            Err(d) => out.push(*d),
        }
    }
    let data = requests
        .iter()
        .zip(arrays)
        .filter_map(|(request, array)| {
            let array = array?;
            let columns = columns(&array).cloned();
            let data = Values::of(&array).expect("numbers");
            Some(Bound { name: request.name.clone(), data, elem: request.elem, columns })
        })
        .collect();
    Binding { data, sizes: evaluator.sizes.clone() }
}

/// Whether a datum that should have given `size` its value could not be bound.
fn binds_broken(requests: &[BindRequest<'_>], arrays: &[Option<Value>], size: &str) -> bool {
    requests.iter().zip(arrays).any(|(request, array)| {
        array.is_none()
            && !matches!(request.source, Source::Absent)
            && request.dims.iter().any(|d| matches!(d, DimSpec::Named(n) if n == size))
    })
}

/// Whether an end of the range of `request` is, or has its size from, data that are absent or already reported.
fn range_needs_broken(requests: &[BindRequest<'_>], arrays: &[Option<Value>], request: &BindRequest<'_>) -> bool {
    let mut broken = false;
    let ends = request.range.iter().flat_map(|r| [r.start, r.end]).flatten();
    for end in ends {
        super::size::names(end, &mut |name| {
            broken |= requests.iter().zip(arrays).any(|(r, a)| a.is_none() && r.name == name)
                || binds_broken(requests, arrays, name);
        });
    }
    broken
}

/// The value of one datum with its shape and elements checked, `None` when it is absent.
fn bind_one<'a>(evaluator: &mut Evaluator<'a>, request: &BindRequest<'a>) -> Fallible<Option<Value>> {
    let (value, origin) = match &request.source {
        Source::Absent => return Ok(None),
        Source::Required => {
            return Err(Box::new(not_given(request)));
        }
        Source::Expr(expr) => {
            let value = evaluator.value(&request.name, request.span).expect("the request was defined");
            (value?, expr.span)
        }
        Source::Given(value, _) => (value.clone(), request.span),
    };
    let array = as_numbers(request, value, origin)?;
    let array = as_elem(request, array, origin)?;
    shape(evaluator, request, &array, origin)?;
    evaluator.set(&request.name, array.clone());
    Ok(Some(array))
}

/// The error for a datum without a value.
fn not_given(request: &BindRequest<'_>) -> Diagnostic {
    let name = &request.name;
    Diagnostic::new(Code::E0914, format!("no value is given for the data `{name}`"))
        .label(request.span, "declared here without a default")
        .help(format!("give it with `--data {name}=FILE` or a default: `data {name}: … = csv(\"…\")`"))
}

/// What messages say of the source of a datum.
fn blame(request: &BindRequest<'_>, d: Diagnostic, origin: Span, label: impl Into<String>) -> Box<Diagnostic> {
    Box::new(match &request.source {
        Source::Given(_, from) => d.label(request.span, "declared here").note(format!("its value is given by {from}")),
        _ => d.label(origin, label).label(request.span, "declared here"),
    })
}

/// The names of the columns of numbers, where they have names.
fn columns(value: &Value) -> Option<&Arc<[String]>> {
    match value {
        Value::Array(array) => array.columns.as_ref(),
        _ => None,
    }
}

/// The value as an array, in memory or in its file.
fn as_numbers(request: &BindRequest<'_>, value: Value, origin: Span) -> Fallible<Value> {
    if let Value::Lazy(lazy) = value {
        return Ok(Value::Lazy(lazy));
    }
    let name = &request.name;
    value.into_array().map(Value::Array).map_err(|other| {
        let other = *other;
        let what = other.describe();
        let message = format!("`{name}` is declared {}, but its value is {what}", print_elem(request.elem));
        let mut d = Diagnostic::new(Code::E0904, message);
        match &other {
            Value::Text(text) => {
                d.notes.extend(culprit(text));
                d.help = Some("make numbers of labels with `levels` and `codes`".into());
            }
            Value::Table(_) => {
                d.help = Some("take one column with `.name`, or several with `.columns(…)` or `.except(…)`".into());
            }
            Value::Record(_) => d.help = Some("take one part of it with `.name`".into()),
            _ => {}
        }
        blame(request, d, origin, format!("this is {what}"))
    })
}

/// Checks missing values and the element type. An array in a file is read at most once for that.
fn as_elem(request: &BindRequest<'_>, value: Value, origin: Span) -> Fallible<Value> {
    let name = &request.name;
    let values = Values::of(&value).expect("numbers");
    let (shape, elem) = (values.shape().to_vec(), value.elem().unwrap_or(Elem::Real));
    let place = |i: usize| match &value {
        Value::Array(array) => array.place(i),
        _ => place(&shape, i, None, None),
    };
    if !values.within(|_, _| true)
        && let Some((i, _)) = values.find(f64::is_nan)
    {
        let mut nan = 0;
        let _ = values.blocks(&mut |_, block| {
            nan += block.iter().filter(|v| v.is_nan()).count();
            ControlFlow::Continue(())
        });
        let message = format!("`{name}` has a missing or undefined number: {}", place(i));
        let mut d = Diagnostic::new(Code::E0906, message);
        if nan > 1 {
            d = d.note(format!("{nan} of {} values are missing", values.len()));
        }
        d = d.help("drop rows with missing values by `.drop_missing()` on the table, or mend the file");
        return Err(blame(request, d, origin, "not all of these are numbers"));
    }
    let lazy = matches!(value, Value::Lazy(_));
    let wrong = match request.elem {
        Elem::Real => None,
        // What is int by its type needs no look.
        Elem::Int if lazy && elem != Elem::Real => None,
        Elem::Int => values.find(|v| v.fract() != 0.0 || v.is_infinite()),
        Elem::Bool if lazy && elem != Elem::Real && values.within(|low, high| low >= 0.0 && high <= 1.0) => None,
        Elem::Bool => values.find(|v| v != 0.0 && v != 1.0),
    };
    if let Some((i, found)) = wrong {
        let needed = if request.elem == Elem::Int { "a whole number" } else { "0, 1, true or false" };
        let message = format!(
            "`{name}` is declared {}, but {} is {}, not {needed}",
            print_elem(request.elem),
            place(i),
            print_number(found, elem)
        );
        let mut d = Diagnostic::new(Code::E0904, message);
        if request.elem == Elem::Int {
            d = d.help(format!("declare `data {name}: real[…]`, or round the values with `round`"));
        }
        return Err(blame(request, d, origin, format!("not all of these are {needed}")));
    }
    Ok(match value {
        Value::Array(array) => Value::Array(Array { elem: request.elem, ..array }),
        Value::Lazy(lazy) => Value::Lazy(lazy.with_elem(request.elem)),
        other => other,
    })
}

/// Checks rank, literal sizes and named sizes; gives sizes their value.
fn shape(evaluator: &mut Evaluator<'_>, request: &BindRequest<'_>, array: &Value, origin: Span) -> Fallible<()> {
    let name = &request.name;
    let found = array.shape().unwrap_or_default().to_vec();
    let declared = format!("[{}]", request.dims.iter().map(DimSpec::text).collect::<Vec<_>>().join(", "));
    let declared = if request.dims.is_empty() { "a scalar".to_string() } else { declared };
    let fits = found.len() == request.dims.len()
        && request.dims.iter().zip(&found).all(|(dim, &n)| !matches!(dim, DimSpec::Known(k) if *k != n));
    if !fits {
        let shape = print_shape(&found);
        let message = format!("`{name}` is declared {declared}, but its value is {shape}");
        let mut d = Diagnostic::new(Code::E0903, message);
        d.help = missing_axis(&request.dims, &found)
            .or_else(|| Some(format!("declare `{name}` with {} dimensions, or choose other data", found.len())))
            .filter(|_| found.len() != request.dims.len())
            .or_else(|| Some("declare the sizes that the data have, or give the dimension a name: `real[N]`".into()));
        return Err(blame(request, d, origin, format!("this is {shape}")));
    }
    if found.contains(&0) {
        let d = Diagnostic::new(Code::E0912, format!("`{name}` has no rows: its value is {}", print_shape(&found)))
            .help("choose a part or a file with at least one row");
        return Err(blame(request, d, origin, "no rows are left here"));
    }
    for (axis, (dim, &n)) in request.dims.iter().zip(&found).enumerate() {
        let DimSpec::Named(size) = dim else { continue };
        let labels = || {
            let names = columns(array).filter(|_| axis == 1)?;
            Some(Arc::new(Labels::from_names(names.to_vec())))
        };
        match evaluator.size(size, request.span)? {
            None => {
                let origin = SizeOrigin::Data { name: name.clone(), dim: axis, span: request.span };
                evaluator.sizes.insert(size.clone(), SizeValue { value: n, labels: labels(), origin });
            }
            Some(known) if known.value == n => {
                if known.labels.is_none()
                    && let Some(entry) = evaluator.sizes.get_mut(size)
                {
                    entry.labels = labels();
                }
            }
            Some(known) => {
                let message = format!("`{size}` is {}, but dimension {axis} of `{name}` is {n}", known.value);
                let help = match &known.origin {
                    SizeOrigin::Data { .. } => {
                        format!(
                            "if both have one row for the same thing, look for rows that are missing; else name the size of `{name}` anew"
                        )
                    }
                    SizeOrigin::Item(_) => format!("leave the value of `{size}` to the data, or choose data that fit"),
                    SizeOrigin::CommandLine => format!("leave out `--size {size}`: the data decide"),
                    SizeOrigin::Fit => "give data of the shape that the model was fitted to".into(),
                };
                let d = Diagnostic::new(Code::E0908, message).help(help);
                let mut d = blame(request, d, origin, format!("this is {}", print_shape(&found)));
                let (place, text) = match &known.origin {
                    SizeOrigin::Item(span) => (Some(*span), format!("`{size}` is {} by this", known.value)),
                    SizeOrigin::Data { name: first, dim, span } => {
                        (Some(*span), format!("`{size}` is {}, from dimension {dim} of `{first}`", known.value))
                    }
                    SizeOrigin::CommandLine => (None, format!("`--size {size}={}` says so", known.value)),
                    SizeOrigin::Fit => (None, format!("`{size}` was {} when the model was fitted", known.value)),
                };
                match place {
                    Some(span) => *d = d.clone().label(span, text),
                    None => d.notes.push(text),
                }
                return Err(d);
            }
        }
    }
    Ok(())
}

/// The help for a value that lacks only dimensions of size 1.
fn missing_axis(dims: &[DimSpec<'_>], found: &[usize]) -> Option<String> {
    if found.len() >= dims.len() {
        return None;
    }
    let mut rest = found.iter().peekable();
    let mut index = Vec::new();
    let mut left = dims.len() - found.len();
    for dim in dims {
        match (dim, rest.peek()) {
            (DimSpec::Known(1), next) if left > 0 && next != Some(&&1) => {
                index.push("new");
                left -= 1;
            }
            (DimSpec::Known(k), Some(n)) if k != *n => return None,
            (_, Some(_)) => {
                index.push(":");
                rest.next();
            }
            (_, None) => return None,
        }
    }
    if left > 0 {
        return None;
    }
    while index.last() == Some(&":") {
        index.pop();
    }
    Some(format!("add the dimension of size 1 with `[{}]`", index.join(", ")))
}

/// The dimensions that are arithmetic over sizes.
fn computed_dims(evaluator: &mut Evaluator<'_>, request: &BindRequest<'_>, array: &Value) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for (axis, (dim, &n)) in request.dims.iter().zip(array.shape().unwrap_or_default()).enumerate() {
        let DimSpec::Computed { text, names, value } = dim else { continue };
        let name = &request.name;
        for size in names {
            if let Err(d) = evaluator.size(size, request.span) {
                problems.push(*d);
            }
        }
        match value(&evaluator.sizes) {
            Some(k) if k == n => {}
            Some(k) => {
                let message = format!("dimension {axis} of `{name}` is {n}, but `{text}` is {k}");
                problems.push(Diagnostic::new(Code::E0908, message).label(request.span, "declared here"));
            }
            None => {
                let message = format!("dimension {axis} of `{name}` is `{text}`, which has no value");
                problems.push(
                    Diagnostic::new(Code::E0909, message)
                        .label(request.span, "declared here")
                        .help("give the sizes in it with `--size NAME=10`"),
                );
            }
        }
    }
    problems
}

/// The declared range.
fn range<'a>(evaluator: &mut Evaluator<'a>, request: &BindRequest<'a>, array: &Value) -> Option<Diagnostic> {
    let spec = request.range?;
    let mut end = |expr: Option<&'a Expr>| -> Fallible<Option<Array>> {
        let Some(expr) = expr else { return Ok(None) };
        super::call::numbers(evaluator.eval(expr)?, expr.span, "a range").map(Some)
    };
    let ends = end(spec.start).and_then(|start| Ok((start, end(spec.end)?)));
    match ends {
        Ok((start, end)) => Range { start, end, closed: spec.closed }.check(&request.name, array, spec.span),
        Err(d) => Some(*d),
    }
}
