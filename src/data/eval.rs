//! Evaluates the data expressions of a program on concrete arrays.
//!
//! In: the syntax tree of an expression, the constants, data and sizes of its file.   Out: a [`Value`].
//! Names are looked up when they are needed, so items may stand in any order. While the training data are evaluated,
//! `standardize`, `levels` and statistics over the rows are recorded in [`Learned`]; an evaluator made by
//! [`Evaluator::held_out`] replays them.

use super::arithmetic;
use super::call::{Argument, Call, cannot, count, numbers};
use super::error::{DataError, Fallible};
use super::files::{Files, Format};
use super::functions;
use super::learned::{Learned, LearnedValue};
use super::select::{self, Selector};
use super::size::{SizeOrigin, SizeTable, SizeValue};
use super::stored::Classes;
use super::value::{Array, Elem, Labels, MAX_EXACT_INT, Origin, Table, TextArray, Value};
use crate::diag::{Code, Diagnostic};
use crate::nearest::nearest;
use crate::source::Span;
use crate::syntax::ast::{Arg, BinaryOp, Dim, Expr, ExprKind, Ident, Index, ItemKind, Module, UnaryOp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a name stands for before it is evaluated.
#[derive(Clone, Copy, Debug)]
struct Definition<'a> {
    value: &'a Expr,
    is_data: bool,
}

/// The expression in which a function learns, and how often each function was called there.
#[derive(Clone, Debug, Default)]
struct Context {
    name: String,
    is_data: bool,
    calls: BTreeMap<&'static str, usize>,
}

/// Evaluates data expressions of one program.
pub struct Evaluator<'a> {
    files: &'a mut Files,
    folder: PathBuf,
    definitions: BTreeMap<String, Definition<'a>>,
    size_items: BTreeMap<String, (Option<&'a Expr>, Span)>,
    declared_sizes: BTreeSet<String>,
    broken_sizes: BTreeMap<String, Box<Diagnostic>>,
    /// The sizes that have a value: from the command line, from items that were needed, from data that were bound.
    pub sizes: SizeTable,
    memo: HashMap<String, Fallible<Value>>,
    active: Vec<(String, Span)>,
    unbound: Option<String>,
    learned: Learned,
    held_out: bool,
    context: Context,
    /// Values that stand for the expressions at these places.
    replaced: Vec<(Span, Value)>,
}

impl<'a> Evaluator<'a> {
    /// An evaluator of training data. Paths in the program start from `folder`.
    pub fn new(files: &'a mut Files, folder: impl Into<PathBuf>) -> Self {
        Self {
            files,
            folder: folder.into(),
            definitions: BTreeMap::new(),
            size_items: BTreeMap::new(),
            declared_sizes: BTreeSet::new(),
            broken_sizes: BTreeMap::new(),
            sizes: SizeTable::new(),
            memo: HashMap::new(),
            active: Vec::new(),
            unbound: None,
            learned: Learned::default(),
            held_out: false,
            context: Context::default(),
            replaced: Vec::new(),
        }
    }
    /// An evaluator of held-out data, which uses again what was learned from the training data.
    pub fn held_out(files: &'a mut Files, folder: impl Into<PathBuf>, learned: Learned) -> Self {
        Self { learned, held_out: true, ..Self::new(files, folder) }
    }
    /// Makes the constants, data defaults and sizes of `module` known.
    pub fn define_module(&mut self, module: &'a Module) {
        for item in &module.items {
            match &item.kind {
                ItemKind::Const { name, value } => self.define(&name.name, value, false),
                ItemKind::Data { name, ty, value } => {
                    for dim in &ty.dims {
                        if let Dim::Size(size) = dim {
                            super::size::names(size, &mut |n| self.declare_size(n));
                        }
                    }
                    if let Some(value) = value {
                        self.define(&name.name, value, true);
                    }
                }
                ItemKind::Size { name, value } => {
                    self.declare_size(&name.name);
                    self.size_items.insert(name.name.clone(), (value.as_ref(), name.span));
                }
                _ => {}
            }
        }
    }
    /// Makes `name` known as a size that may get its value later.
    pub fn declare_size(&mut self, name: &str) {
        self.declared_sizes.insert(name.to_string());
    }
    /// Makes `name` stand for the expression `value`: a datum, or a constant of the file.
    pub fn define(&mut self, name: &str, value: &'a Expr, is_data: bool) {
        self.memo.remove(name);
        self.definitions.insert(name.to_string(), Definition { value, is_data });
    }
    /// Makes `name` stand for `value`, whatever its expression says.
    pub fn set(&mut self, name: &str, value: Value) {
        self.memo.insert(name.to_string(), Ok(value));
    }
    /// Makes the expression that stands at `span` the value `value`, whatever it says: see [`super::replace`].
    pub fn replace(&mut self, span: Span, value: Value) {
        self.replaced.push((span, value));
    }
    /// Makes every use of the datum `name` the error `problem`, because it has no value.
    pub fn set_absent(&mut self, name: &str, problem: Diagnostic) {
        self.memo.insert(name.to_string(), Err(Box::new(problem)));
    }
    /// The size that the last expression lacked.
    pub(crate) fn unbound(&self) -> Option<String> {
        self.unbound.clone()
    }
    /// Evaluates the size items that nothing needed yet, and returns what is wrong with them.
    pub(crate) fn size_items(&mut self) -> Vec<Diagnostic> {
        let items: Vec<(String, Span)> =
            self.size_items.iter().filter(|(_, (e, _))| e.is_some()).map(|(n, (_, s))| (n.clone(), *s)).collect();
        items.iter().filter_map(|(name, span)| self.size(name, *span).err().map(|d| *d)).collect()
    }
    /// What was learned so far.
    pub fn learned(&self) -> &Learned {
        &self.learned
    }
    /// What was learned.
    pub fn into_learned(self) -> Learned {
        self.learned
    }
    /// The folder that paths start from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The value of the constant or datum `name`, or `None` when the name is not known; `span` is where it is used.
    pub fn value(&mut self, name: &str, span: Span) -> Option<Fallible<Value>> {
        if let Some(known) = self.memo.get(name) {
            return Some(known.clone());
        }
        let definition = *self.definitions.get(name)?;
        let value = self.enter(name, span, |ev| {
            let context = Context { name: name.to_string(), is_data: definition.is_data, calls: BTreeMap::new() };
            let outer = std::mem::replace(&mut ev.context, context);
            let value = ev.eval(definition.value);
            ev.context = outer;
            value
        });
        // A size may get its value later, from data that are bound in between.
        if !matches!(&value, Err(d) if d.code == Code::E0909) {
            self.memo.insert(name.to_string(), value.clone());
        }
        Some(value)
    }

    /// The value of the size `name`: given, computed from its item, or an error; `None` when nothing gives it a value.
    pub fn size(&mut self, name: &str, span: Span) -> Fallible<Option<SizeValue>> {
        if let Some(known) = self.sizes.get(name) {
            return Ok(Some(known.clone()));
        }
        if let Some(problem) = self.broken_sizes.get(name) {
            return Err(problem.clone());
        }
        let Some(&(Some(expr), place)) = self.size_items.get(name) else { return Ok(None) };
        let value = self.enter(&format!("size {name}"), span, |ev| {
            let context = Context { name: format!("size {name}"), ..Context::default() };
            let outer = std::mem::replace(&mut ev.context, context);
            let value = ev.size_item(name, expr);
            ev.context = outer;
            value
        });
        let value = value.inspect_err(|problem| {
            if problem.code != Code::E0909 {
                self.broken_sizes.insert(name.to_string(), problem.clone());
            }
        })?;
        let size = SizeValue { origin: SizeOrigin::Item(place), ..value };
        self.sizes.insert(name.to_string(), size.clone());
        Ok(Some(size))
    }

    /// The value of the expression of a `size` item; in it `/` is floor, as everywhere in sizes.
    fn size_item(&mut self, name: &str, expr: &'a Expr) -> Fallible<SizeValue> {
        let value = self.eval_size(expr)?;
        let (value, labels) = match value {
            Value::Labels(labels) => (labels.len(), Some(labels)),
            other => (count(other, expr.span, &format!("the size `{name}`"))?, None),
        };
        if value == 0 {
            let message = format!("the size `{name}` is 0, but a size is at least 1");
            return Err(Box::new(Diagnostic::new(Code::E0912, message).label(expr.span, "this is 0")));
        }
        Ok(SizeValue { value, labels, origin: SizeOrigin::Item(expr.span) })
    }

    /// A size expression, in which `/` of ints is floor.
    fn eval_size(&mut self, expr: &'a Expr) -> Fallible<Value> {
        match &expr.kind {
            ExprKind::Paren(inner) => self.eval_size(inner),
            ExprKind::Binary(op, a, b) => {
                let (x, y) = (self.eval_size(a)?, self.eval_size(b)?);
                if *op == BinaryOp::Div {
                    let x = count(x, a.span, "a size")?;
                    return match count(y, b.span, "a size")? {
                        0 => Err(Box::new(cannot(expr.span, "a size is divided by zero", "this divides by zero"))),
                        y => Ok(Value::int((x / y) as i64)),
                    };
                }
                arithmetic::binary(*op, x, a.span, y, b.span, expr.span)
            }
            _ => self.eval(expr),
        }
    }

    /// Runs `body` with `name` marked as being evaluated; a name that needs itself is an error.
    fn enter<T>(&mut self, name: &str, span: Span, body: impl FnOnce(&mut Self) -> Fallible<T>) -> Fallible<T> {
        if let Some((_, first)) = self.active.iter().find(|(n, _)| n == name) {
            let d = cannot(span, format!("`{name}` needs its own value"), format!("`{name}` is used here"));
            return Err(Box::new(d.label(*first, "while it was evaluated for this")));
        }
        self.active.push((name.to_string(), span));
        let result = body(self);
        self.active.pop();
        result
    }

    /// The value of `expr`.
    pub fn eval(&mut self, expr: &'a Expr) -> Fallible<Value> {
        let span = expr.span;
        if let Some((_, value)) = self.replaced.iter().find(|(place, _)| *place == span) {
            return Ok(value.clone());
        }
        match &expr.kind {
            ExprKind::Int(n) if (*n as f64).abs() >= MAX_EXACT_INT => {
                let d = cannot(span, "an int of 2^53 or more is too large to be exact in data", "too large");
                Err(Box::new(d.help("write it as a real: `1e16`")))
            }
            ExprKind::Int(n) => Ok(Value::int(*n)),
            ExprKind::Real(x) => Ok(Value::real(*x)),
            ExprKind::Bool(b) => Ok(Value::bool(*b)),
            ExprKind::Str(s) => Ok(Value::Str(s.clone())),
            ExprKind::Paren(inner) => self.eval(inner),
            ExprKind::Name(name) => self.name(name, span),
            ExprKind::Field(base, field) => {
                let value = self.eval(base)?;
                self.part(&value, &field.name, field.span, base.span)
            }
            ExprKind::Call { callee, args } => self.call(None, callee, args, span),
            ExprKind::Pipe(first, then) => match &then.kind {
                ExprKind::Call { callee, args } => self.call(Some(first), callee, args, span),
                _ => self.call(Some(first), then, &[], span),
            },
            ExprKind::Index(base, index) => {
                let value = self.eval(base)?;
                self.index(value, base.span, index, span)
            }
            ExprKind::Unary(op, inner) => {
                let value = self.eval(inner)?;
                match op {
                    UnaryOp::Neg => arithmetic::negate(value, inner.span),
                    UnaryOp::Not => arithmetic::not(value, inner.span),
                }
            }
            ExprKind::Binary(op, a, b) => {
                let (x, y) = (self.eval(a)?, self.eval(b)?);
                arithmetic::binary(*op, x, a.span, y, b.span, span)
            }
            ExprKind::In(x, range) => self.contains(x, range, span),
            ExprKind::Tuple(items) => Ok(Value::Tuple(items.iter().map(|e| self.eval(e)).collect::<Fallible<_>>()?)),
            ExprKind::Array(items) => self.array(items, span),
            ExprKind::Range { .. } => Err(Box::new(
                cannot(span, "a range stands only in an index or after `in`", "this is a range")
                    .help("`range(a, b)` makes a vector of ints"),
            )),
            ExprKind::Hole(_) => Err(Box::new(cannot(
                span,
                "a hole `?` stands only in a guide",
                "this has no value in a data expression",
            ))),
        }
    }

    fn name(&mut self, name: &str, span: Span) -> Fallible<Value> {
        if let Some(value) = self.value(name, span) {
            return value;
        }
        match self.size(name, span)? {
            Some(SizeValue { labels: Some(labels), .. }) => return Ok(Value::Labels(labels)),
            Some(size) => return Ok(Value::int(size.value as i64)),
            // `bind` tries again when more data are bound.
            None if self.declared_sizes.contains(name) => {
                self.unbound = Some(name.to_string());
                return Err(Box::new(no_value(name, span)));
            }
            None => {}
        }
        match name {
            "pi" => return Ok(Value::real(std::f64::consts::PI)),
            "e" => return Ok(Value::real(std::f64::consts::E)),
            "inf" => return Ok(Value::real(f64::INFINITY)),
            _ => {}
        }
        let known = self.definitions.keys().chain(self.memo.keys()).chain(self.sizes.keys()).map(String::as_str);
        let message = format!("`{name}` has no value here");
        let mut diagnostic = Diagnostic::new(Code::E0915, message).label(span, "this name is neither data nor a size");
        diagnostic.help = match nearest(name, known) {
            Some(near) => Some(format!("`{near}` is known")),
            None if functions::find(name).is_some() => Some(format!("`{name}` is a function: write `{name}(…)`")),
            None => None,
        };
        Err(Box::new(diagnostic))
    }

    /// Whether the values of `x` lie in `range`.
    fn contains(&mut self, x: &'a Expr, range: &'a Expr, span: Span) -> Fallible<Value> {
        let ExprKind::Range { start, end, closed } = &super::size::unwrap_parens(range).kind else {
            let d = cannot(range.span, "a range must stand after `in`", "this is no range");
            return Err(Box::new(d.help("write `x in 0..10`")));
        };
        let value = self.eval(x)?;
        let mut result = None;
        let upper = if *closed { BinaryOp::Le } else { BinaryOp::Lt };
        for (end, op) in [(start, BinaryOp::Ge), (end, upper)] {
            if let Some(end) = end {
                let bound = self.eval(end)?;
                let test = arithmetic::binary(op, value.clone(), x.span, bound, end.span, span)?;
                result = Some(match result {
                    None => test,
                    Some(before) => arithmetic::binary(BinaryOp::And, before, x.span, test, end.span, span)?,
                });
            }
        }
        result.ok_or_else(|| Box::new(cannot(range.span, "a range must have an end", "this one has none")))
    }

    /// An array literal: its elements, of one shape, along a new first dimension.
    fn array(&mut self, items: &'a [Expr], span: Span) -> Fallible<Value> {
        let mut arrays = Vec::with_capacity(items.len());
        for item in items {
            let value = self.eval(item)?;
            arrays.push(Argument { name: None, value, span: item.span });
        }
        functions::stack(arrays, span)
    }

    /// A call of a function or of a method of a table; `first` is what a `|>` puts in front.
    fn call(&mut self, first: Option<&'a Expr>, callee: &'a Expr, args: &'a [Arg], span: Span) -> Fallible<Value> {
        match &super::size::unwrap_parens(callee).kind {
            ExprKind::Name(name) => {
                if let Some(format) = Format::of_function(name) {
                    return self.read(format, name, first, args, span);
                }
                let Some(function) = functions::find(name) else {
                    let d = Diagnostic::new(
                        Code::E0915,
                        format!("no function `{name}` can be called in a data expression"),
                    )
                    .label(callee.span, "not known here");
                    return Err(Box::new(match nearest(name, functions::names()) {
                        Some(near) => d.help(format!("a function `{near}` is there")),
                        None => d,
                    }));
                };
                let args = self.arguments(first, args)?;
                let mut call = Call::new(self, function, span, args)?;
                (function.run)(&mut call)
            }
            ExprKind::Field(base, method) => {
                let value = self.eval(base)?;
                let args = self.arguments(first, args)?;
                match value {
                    Value::Table(table) => method_of_table(&table, method, &args, span),
                    other => {
                        let message = format!("{} has no function `{}`", other.describe(), method.name);
                        Err(Box::new(cannot(method.span, message, "not known here").label(base.span, other.describe())))
                    }
                }
            }
            _ => Err(Box::new(cannot(callee.span, "this cannot be called", "not a function"))),
        }
    }

    fn arguments(&mut self, first: Option<&'a Expr>, args: &'a [Arg]) -> Fallible<Vec<Argument>> {
        let mut out = Vec::with_capacity(args.len() + 1);
        if let Some(first) = first {
            out.push(Argument { name: None, value: self.eval(first)?, span: first.span });
        }
        for arg in args {
            let name = arg.name.as_ref().map(|n| n.name.clone());
            // `over = all` is a word, not a name.
            let value = match (&name, &arg.value.kind) {
                (Some(n), ExprKind::Name(word)) if n == "over" => Value::Str(word.clone()),
                _ => self.eval(&arg.value)?,
            };
            out.push(Argument { name, value, span: arg.value.span });
        }
        Ok(out)
    }

    /// Reads the file that `name("path")` names.
    fn read(
        &mut self,
        format: Format,
        name: &str,
        first: Option<&'a Expr>,
        args: &'a [Arg],
        span: Span,
    ) -> Fallible<Value> {
        let args = self.arguments(first, args)?;
        let [Argument { name: None, value: Value::Str(path), .. }] = args.as_slice() else {
            let d = cannot(span, format!("`{name}` takes one string, the path of a file"), "not called so here");
            return Err(Box::new(d.help(format!("write `{name}(\"data/file\")`"))));
        };
        let value = match format {
            Format::Images => self.files.images(&self.folder, path),
            _ => self.files.read(format, &self.folder.join(path)),
        };
        value.map_err(|e| e.at(args[0].span, "this file is read here"))
    }

    /// `value[index]`
    fn index(&mut self, value: Value, base: Span, index: &'a [Index], span: Span) -> Fallible<Value> {
        if let [Index::At(Expr { kind: ExprKind::Str(name), span: at })] = index {
            return self.part(&value, name, *at, base);
        }
        let shape: Vec<usize> = match &value {
            Value::Array(_) | Value::Lazy(_) | Value::Text(_) => value.shape().unwrap_or_default().to_vec(),
            Value::Table(table) => vec![table.n_rows()],
            Value::Tuple(items) => vec![items.len()],
            other => {
                let message = format!("{} cannot be indexed", other.describe());
                return Err(Box::new(cannot(base, message, format!("this is {}", other.describe()))));
            }
        };
        let wanted = index.iter().filter(|i| !matches!(i, Index::New(_))).count();
        if wanted > shape.len() {
            let message =
                format!("{} has {} dimensions, but {wanted} indices are given", value.describe(), shape.len());
            let d = Diagnostic::new(Code::E0903, message).label(span, "too many indices").label(base, value.describe());
            return Err(Box::new(d));
        }
        let mut selectors = Vec::with_capacity(index.len());
        let mut axis = 0;
        for i in index {
            selectors.push(match i {
                Index::New(_) => Selector::New,
                Index::All(_) => Selector::Range(0..shape[axis]),
                Index::At(expr) => self.selector(expr, shape[axis])?,
            });
            axis += usize::from(!matches!(i, Index::New(_)));
        }
        select::select(value, &selectors, span)
    }

    /// What an index expression selects along an axis of `size`.
    fn selector(&mut self, expr: &'a Expr, size: usize) -> Fallible<Selector> {
        if let ExprKind::Range { start, end, closed } = &super::size::unwrap_parens(expr).kind {
            let from = match start {
                Some(e) => self.position(e)?,
                None => 0,
            };
            let to = match end {
                Some(e) => self.position(e)? + usize::from(*closed),
                None => size,
            };
            if to > size {
                let message = format!("the slice ends at {to}, but there are {size} elements");
                return Err(Box::new(cannot(expr.span, message, "this goes beyond the end")));
            }
            if from > to {
                let message = format!("the slice begins at {from} and ends at {to}");
                return Err(Box::new(cannot(expr.span, message, "this ends before it begins")));
            }
            return Ok(Selector::Range(from..to));
        }
        let array = numbers(self.eval(expr)?, expr.span, "an index")?;
        if array.elem != Elem::Int {
            let message = format!("an index must be an int, but it is {}", super::value::print_elem(array.elem));
            let d = Diagnostic::new(Code::E0904, message).label(expr.span, Value::Array(array).describe());
            return Err(Box::new(d));
        }
        for (i, &v) in array.data.iter().enumerate() {
            if v < 0.0 {
                return Err(Box::new(negative(expr.span, v)));
            }
            // NaN included.
            if v.partial_cmp(&(size as f64)) != Some(std::cmp::Ordering::Less) {
                let place = if array.shape().is_empty() { String::new() } else { format!(" ({})", array.place(i)) };
                let message =
                    format!("index {v}{place} is out of bounds: there are {size} elements, 0 to {}", size.max(1) - 1);
                return Err(Box::new(cannot(expr.span, message, "out of bounds")));
            }
        }
        Ok(match array.as_scalar() {
            Some(i) => Selector::One(i as usize),
            None => {
                let index = array.data.iter().map(|&v| v as usize).collect();
                Selector::Gather { index, shape: array.shape().to_vec() }
            }
        })
    }

    /// An end of a slice.
    fn position(&mut self, expr: &'a Expr) -> Fallible<usize> {
        let value = self.eval_size(expr)?;
        match &value {
            Value::Array(Array { elem: Elem::Int, .. }) | Value::Labels(_) => {}
            other => {
                let message = format!("the end of a slice must be an int, but it is {}", other.describe());
                return Err(Box::new(cannot(expr.span, message, "not an int")));
            }
        }
        let array = numbers(value, expr.span, "an index")?;
        match array.as_scalar() {
            Some(v) if v < 0.0 => Err(Box::new(negative(expr.span, v))),
            Some(v) => Ok(v as usize),
            None => Err(Box::new(cannot(expr.span, "the end of a slice must be one number", "this is an array"))),
        }
    }

    /// `value.name`: a column of a table, a part of a file, what an array of images knows of its files.
    fn part(&mut self, value: &Value, name: &str, span: Span, base: Span) -> Fallible<Value> {
        let result = match value {
            Value::Table(table) => table.column(name),
            Value::Record(record) => record.get(name),
            Value::Lazy(array) if matches!(name, "label" | "class") => match array.classes() {
                Some(classes) if name == "label" => return self.class_numbers(&classes, array.name(), span),
                Some(classes) => return Ok(Value::Text(class_names(&classes, array.name()))),
                None => {
                    let message = format!("`{}` has no classes: all its files are in one folder", array.name());
                    let d = Diagnostic::new(Code::E0907, message).label(span, "this is not there");
                    return Err(Box::new(
                        d.help("keep the images of each class in a folder and name all: `dir/*/*.png`"),
                    ));
                }
            },
            other => {
                let message = format!("{} has no part `{name}`", other.describe());
                return Err(Box::new(cannot(span, message, "not known here").label(base, other.describe())));
            }
        };
        result.map_err(|e| {
            let label = match e.code {
                Code::E0907 => "this is not there",
                Code::E0906 => "this column is used as data here",
                _ => "this is asked for here",
            };
            e.at(span, label)
        })
    }

    /// The class of every row as an int in the order of the names, which are those of the training data.
    fn class_numbers(&mut self, classes: &Classes, file: &str, span: Span) -> Fallible<Value> {
        let names = || Labels::from_names(classes.names.iter().map(|name| name.to_string()).collect());
        let known = match self.learn("images", span, || Ok(LearnedValue::Levels(names())))? {
            LearnedValue::Levels(labels) => labels,
            _ => return Err(Box::new(cannot(span, "the classes learned in training are damaged", "needed here"))),
        };
        let mut codes = Vec::with_capacity(classes.names.len());
        for name in &classes.names {
            let Some(code) = known.names.iter().position(|known| **known == **name) else {
                let message = format!("the class `{name}` of `{file}` is not among the {} known ones", known.len());
                let d = Diagnostic::new(Code::E0910, message).label(span, "a class that is not known");
                return Err(Box::new(match nearest(name, known.names.iter().map(String::as_str)) {
                    Some(near) => d.help(format!("the class `{near}` is known")),
                    None => d.note("classes are those of the training data").help("leave the folder of that class out"),
                }));
            };
            codes.push(code as f64);
        }
        let values = classes.of_row.iter().map(|&class| codes[class as usize]).collect();
        let origin = Origin { file: file.to_string(), column: Some("label".to_string()), lines: Arc::default() };
        Ok(Value::Array(Array::vector(values, Elem::Int).with_origin(Some(Arc::new(origin)))))
    }

    /// What `function` learned here: recorded by `learn` in training, found again for held-out data.
    ///
    /// `learn` runs in training, and for constants that training never needed.
    pub(crate) fn learn(
        &mut self,
        function: &'static str,
        span: Span,
        learn: impl FnOnce() -> Fallible<LearnedValue>,
    ) -> Fallible<LearnedValue> {
        if self.context.name.is_empty() {
            return learn();
        }
        let count = self.context.calls.entry(function).or_insert(0);
        let occurrence = *count;
        *count += 1;
        let name = &self.context.name;
        if self.held_out {
            if let Some(known) = self.learned.find(name, function, occurrence) {
                return Ok(known.clone());
            }
            if self.context.is_data {
                let message = format!("`{function}` has learned nothing for `{name}` from the training data");
                let d =
                    Diagnostic::new(Code::E0917, message).label(span, "what was learned in training is needed here");
                let help = format!("write the expression of `data {name}` with the same calls of `{function}`");
                return Err(Box::new(d.help(help)));
            }
            return learn();
        }
        let value = learn()?;
        self.learned.record(name, function, occurrence, value.clone());
        Ok(value)
    }
}

/// The class of every row by its name.
fn class_names(classes: &Classes, file: &str) -> TextArray {
    let names = classes.of_row.iter().map(|&class| Some(classes.names[class as usize].clone())).collect();
    let origin = Origin { file: file.to_string(), column: Some("class".to_string()), lines: Arc::default() };
    TextArray { origin: Some(Arc::new(origin)), ..TextArray::vector(names) }
}

fn negative(span: Span, value: f64) -> Diagnostic {
    let message = format!("the index {value} is negative, but indices count from 0 at the front");
    cannot(span, message, "negative index").help("count from the end with the size: `x[N - 1]` is the last of `N`")
}

/// The error for a size that nothing gave a value yet.
pub(crate) fn no_value(name: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::E0909, format!("the size `{name}` has no value"))
        .label(span, "its value is needed here")
        .help(format!("give it with `--size {name}=10`, or in the program with `size {name} = 10`"))
}

/// `table.columns(…)`, `table.except(…)`, `table.drop_missing(…)`
fn method_of_table(table: &Arc<Table>, method: &Ident, args: &[Argument], span: Span) -> Fallible<Value> {
    const METHODS: [&str; 3] = ["columns", "except", "drop_missing"];
    let name = method.name.as_str();
    if !METHODS.contains(&name) {
        let d =
            Diagnostic::new(Code::E0915, format!("a table has no function `{name}`")).label(method.span, "not known");
        return Err(Box::new(match nearest(name, METHODS) {
            Some(near) => d.help(format!("a function `{near}` is there")),
            None => d.help("a table has `columns`, `except` and `drop_missing`; a column is taken without parentheses"),
        }));
    }
    let mut names: Vec<&str> = Vec::with_capacity(args.len());
    for arg in args {
        match (&arg.name, &arg.value) {
            (None, Value::Str(s)) => names.push(s),
            _ => {
                let message = format!("`{name}` takes names of columns as strings");
                return Err(Box::new(cannot(arg.span, message, "not a string")));
            }
        }
    }
    if names.is_empty() && name != "drop_missing" {
        return Err(Box::new(cannot(span, format!("`{name}` needs the name of a column"), "none is given")));
    }
    // The name that cannot be used is blamed, not the whole call.
    for (arg, column) in args.iter().zip(&names) {
        table.find(column).map_err(|e| e.at(arg.span, "this column is not there"))?;
    }
    let result: Result<Value, DataError> = match name {
        "columns" => table.matrix(&names),
        "except" => {
            let kept: Vec<&str> = table.names().filter(|n| !names.contains(n)).collect();
            if kept.is_empty() {
                return Err(Box::new(cannot(span, "`except` leaves no column", "all columns are named")));
            }
            table.matrix(&kept)
        }
        _ => table.drop_missing(&names).map(|t| Value::Table(Arc::new(t))),
    };
    result.map_err(|e| e.at(span, "these columns are used as data here"))
}
