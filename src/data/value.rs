//! The values of data expressions: concrete arrays, tables, text, labels.

use super::error::DataError;
use super::lazy::LazyArray;
use crate::diag::Code;
use crate::nearest::nearest;
pub use crate::syntax::ast::Elem;
use ndarray::{ArcArray, Array2, IxDyn};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

/// Numbers in row-major order; cheap to clone, copied when they are changed while shared.
pub type Numbers = ArcArray<f64, IxDyn>;

/// The largest magnitude below which every integer is exact in f64.
pub const MAX_EXACT_INT: f64 = 9_007_199_254_740_992.0;

/// A value of a data expression.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Numbers or truth values.
    Array(Array),
    /// The same, still in their file: becomes an [`Array`] where a function has no way of taking it row by row.
    Lazy(LazyArray),
    /// A column or array of text.
    Text(TextArray),
    /// Named columns.
    Table(Arc<Table>),
    /// The named parts of a JSON, npz or safetensors file.
    Record(Arc<Record>),
    /// A string.
    Str(String),
    /// The labels of a size; stands for their number where a number is wanted.
    Labels(Arc<Labels>),
    /// `(a, b)`
    Tuple(Vec<Value>),
}

/// Where the rows of an array come from, so that messages can name file, line and column.
#[derive(Clone, PartialEq, Debug)]
pub struct Origin {
    /// The file as messages show it.
    pub file: String,
    /// The column, if the array is one column.
    pub column: Option<String>,
    /// The line in the file of every row; empty when the file has no lines.
    pub lines: Arc<[u32]>,
}

/// An array of numbers with its element type. Ints and bools are exact in f64.
#[derive(Clone, PartialEq, Debug)]
pub struct Array {
    /// The numbers, row-major.
    pub data: Numbers,
    /// What they are.
    pub elem: Elem,
    /// Where the rows come from, as long as rows stay rows.
    pub origin: Option<Arc<Origin>>,
    /// The names of the columns (the second axis), where several columns of a table made the array.
    pub columns: Option<Arc<[String]>>,
    /// How numbers are spelled in the file where that differs from the usual way, for labels: bits of the number to text.
    pub spelling: Option<Arc<BTreeMap<u64, String>>>,
}

/// An array of text; `None` marks a missing entry.
#[derive(Clone, PartialEq, Debug)]
pub struct TextArray {
    /// The entries, row-major.
    pub data: ArcArray<Option<Arc<str>>, IxDyn>,
    /// Where the rows come from.
    pub origin: Option<Arc<Origin>>,
}

/// One column of a table.
#[derive(Clone, PartialEq, Debug)]
pub enum Column {
    /// Numbers or truth values; a missing one is NaN.
    Numbers {
        /// The numbers.
        data: Arc<[f64]>,
        /// What they are.
        elem: Elem,
        /// See [`Array::spelling`].
        spelling: Option<Arc<BTreeMap<u64, String>>>,
    },
    /// Text.
    Text(Arc<[Option<Arc<str>>]>),
    /// Numbers in their file, a missing one NaN; one number a row.
    Stored {
        /// The numbers.
        array: LazyArray,
        /// Whether it is known that none is missing.
        complete: bool,
    },
    /// Text in its file, read as a whole when it is asked for.
    Unread(Arc<Unread>),
    /// What cannot be used, and why: an error where it is asked for.
    Refused(DataError),
}

/// Text that is read when it is asked for, once.
pub struct Unread {
    read: Box<dyn Fn() -> Result<Column, DataError> + Send + Sync>,
    found: OnceLock<Result<Column, DataError>>,
}

impl Unread {
    /// The text that `read` will find.
    pub fn new(read: impl Fn() -> Result<Column, DataError> + Send + Sync + 'static) -> Self {
        Self { read: Box::new(read), found: OnceLock::new() }
    }
    /// The text.
    pub fn get(&self) -> &Result<Column, DataError> {
        self.found.get_or_init(|| (self.read)())
    }
}

impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.found.get().is_some() { "Unread(read)" } else { "Unread" })
    }
}

/// Two are equal when what is read is.
impl PartialEq for Unread {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

/// A table: columns of equal length with distinct names.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    /// The file as messages show it.
    pub file: String,
    /// Names and columns in the order of the file.
    pub columns: Vec<(String, Column)>,
    /// The number of rows.
    pub rows: usize,
    /// The line of the file at which every row begins; empty when the file has no lines.
    pub lines: Arc<[u32]>,
}

/// Named values of one file; a part that cannot be used fails only when it is asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// The file as messages show it.
    pub file: String,
    /// Names and values in the order of the file.
    pub entries: Vec<(String, Result<Value, DataError>)>,
}

/// The labels of a size in order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Labels {
    /// The labels as the file spells them.
    pub names: Vec<String>,
    /// The same as numbers, when all of them are numbers.
    pub numbers: Option<Vec<f64>>,
}

impl Labels {
    /// Labels that are text.
    pub fn from_names(names: Vec<String>) -> Self {
        Self { names, numbers: None }
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }
    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
    /// The position of the label `text`, by its spelling or, when the labels are numbers, by its value.
    pub fn position_of_text(&self, text: &str) -> Option<usize> {
        self.names.iter().position(|n| n == text).or_else(|| self.position_of_number(text.trim().parse().ok()?))
    }
    /// The position of the label with this value; text labels are compared with the number as it prints.
    pub fn position_of_number(&self, number: f64) -> Option<usize> {
        match &self.numbers {
            Some(numbers) => numbers.iter().position(|&n| n == number),
            None => {
                let text = number.to_string();
                self.names.iter().position(|n| *n == text)
            }
        }
    }
}

impl Array {
    /// An array without a history.
    pub fn new(data: impl Into<Numbers>, elem: Elem) -> Self {
        Self { data: data.into(), elem, origin: None, columns: None, spelling: None }
    }
    /// A single number.
    pub fn scalar(value: f64, elem: Elem) -> Self {
        Self::new(ArcArray::from_elem(IxDyn(&[]), value), elem)
    }
    /// A vector.
    pub fn vector(values: Vec<f64>, elem: Elem) -> Self {
        Self::new(ArcArray::from_vec(values).into_dyn(), elem)
    }
    /// An array of this shape, row-major; `None` when the number of values does not fit.
    pub fn from_shape(shape: &[usize], values: Vec<f64>, elem: Elem) -> Option<Self> {
        Some(Self::new(ArcArray::from_shape_vec(IxDyn(shape), values).ok()?, elem))
    }
    /// The shape.
    pub fn shape(&self) -> &[usize] {
        self.data.shape()
    }
    /// The value of a scalar.
    pub fn as_scalar(&self) -> Option<f64> {
        if self.data.ndim() == 0 { self.data.iter().next().copied() } else { None }
    }
    /// The same with the given origin.
    pub fn with_origin(mut self, origin: Option<Arc<Origin>>) -> Self {
        self.origin = origin;
        self
    }
    /// `value` as a label: as the file spells it, else as it prints.
    pub fn label(&self, value: f64) -> String {
        let spelled = self.spelling.as_ref().and_then(|s| s.get(&value.to_bits()).cloned());
        spelled.unwrap_or_else(|| print_number(value, self.elem))
    }
    /// The position of element `flat` (row-major) in words: `[3, 0]`, with the line of the file where it is known.
    pub fn place(&self, flat: usize) -> String {
        place(self.shape(), flat, self.origin.as_deref(), self.columns.as_deref())
    }
    /// The same numbers, freed from what is known about their rows and columns.
    pub fn plain(self) -> Self {
        Self { origin: None, columns: None, spelling: None, ..self }
    }
}

/// Position `flat` of an array of `shape` in words.
pub(crate) fn place(shape: &[usize], flat: usize, origin: Option<&Origin>, columns: Option<&[String]>) -> String {
    let index = unflatten(shape, flat);
    let Some(&row) = index.first() else {
        return match origin {
            Some(o) => format!("in `{}`", o.file),
            None => "the value".into(),
        };
    };
    let inner = index.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let mut text = if shape.len() == 1 { format!("row {row}") } else { format!("element [{inner}]") };
    if let Some(origin) = origin {
        let name = match (columns, &origin.column) {
            (Some(columns), _) if shape.len() >= 2 => columns.get(index[1]),
            (_, column) => column.as_ref(),
        };
        if let Some(name) = name {
            text += &format!(", column `{name}`");
        }
        match origin.lines.get(row) {
            Some(line) => text += &format!(" (`{}` line {line})", origin.file),
            None => text += &format!(" (`{}`)", origin.file),
        }
    }
    text
}

/// The indices of the `flat`-th element of `shape` in row-major order.
pub(crate) fn unflatten(shape: &[usize], mut flat: usize) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (i, &n) in shape.iter().enumerate().rev() {
        if n > 0 {
            index[i] = flat % n;
            flat /= n;
        }
    }
    index
}

/// A number as messages and labels show it.
pub fn print_number(value: f64, elem: Elem) -> String {
    match elem {
        Elem::Bool if value == 1.0 => "true".into(),
        Elem::Bool if value == 0.0 => "false".into(),
        _ if value.abs() >= 1e16 && value.is_finite() => format!("{value:e}"),
        _ => format!("{value}"),
    }
}

/// A shape as messages show it: `[3, 4]`, `a scalar` for no dimension.
pub fn print_shape(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "a scalar".into();
    }
    format!("[{}]", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
}

/// An element type as the language spells it.
pub fn print_elem(elem: Elem) -> &'static str {
    match elem {
        Elem::Real => "real",
        Elem::Int => "int",
        Elem::Bool => "bool",
    }
}

impl TextArray {
    /// A vector of text.
    pub fn vector(values: Vec<Option<Arc<str>>>) -> Self {
        Self { data: ArcArray::from_vec(values).into_dyn(), origin: None }
    }
    /// The shape.
    pub fn shape(&self) -> &[usize] {
        self.data.shape()
    }
}

impl Column {
    /// The rows without a value, in order.
    fn missing(&self) -> Result<Vec<usize>, DataError> {
        Ok(match self {
            Column::Numbers { data, .. } => (0..data.len()).filter(|&r| data[r].is_nan()).collect(),
            Column::Text(data) => (0..data.len()).filter(|&r| data[r].is_none()).collect(),
            Column::Stored { complete: true, .. } => Vec::new(),
            Column::Stored { array, .. } => {
                let mut missing = Vec::new();
                let _ = array.blocks(&mut |at, block| {
                    missing.extend((at..).zip(block).filter(|(_, x)| x.is_nan()).map(|(row, _)| row));
                    ControlFlow::Continue(())
                });
                array.failure().get().map_or(Ok(missing), |error| Err(error.clone()))?
            }
            Column::Unread(text) => text.get().as_ref().map_err(Clone::clone)?.missing()?,
            // An error where it is taken, not where rows of others are dropped.
            Column::Refused(_) => Vec::new(),
        })
    }
    /// The rows at the given positions.
    fn select(&self, rows: &[usize]) -> Column {
        match self {
            Column::Numbers { data, elem, spelling } => Column::Numbers {
                data: rows.iter().map(|&r| data[r]).collect(),
                elem: *elem,
                spelling: spelling.clone(),
            },
            Column::Text(data) => Column::Text(rows.iter().map(|&r| data[r].clone()).collect()),
            Column::Stored { array, complete } => Column::Stored { array: array.select(rows), complete: *complete },
            Column::Unread(text) => {
                let (text, rows) = (text.clone(), rows.to_vec());
                Column::Unread(Arc::new(Unread::new(move || {
                    text.get().as_ref().map_err(Clone::clone).map(|t| t.select(&rows))
                })))
            }
            Column::Refused(error) => Column::Refused(error.clone()),
        }
    }
}

impl Table {
    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.rows
    }
    /// The names of the columns in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(n, _)| n.as_str())
    }
    /// The column `name`, or an error with the nearest name.
    pub fn find(&self, name: &str) -> Result<&Column, DataError> {
        self.columns
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, c)| c)
            .ok_or_else(|| unknown_part("column", name, &self.file, self.names()))
    }
    /// The rows at the given positions.
    pub fn select(&self, rows: &[usize]) -> Table {
        Table {
            file: self.file.clone(),
            columns: self.columns.iter().map(|(n, c)| (n.clone(), c.select(rows))).collect(),
            rows: rows.len(),
            lines: rows.iter().filter_map(|&r| self.lines.get(r).copied()).collect(),
        }
    }
    /// One column as an array; a missing entry is an error that names row and column.
    pub fn column(&self, name: &str) -> Result<Value, DataError> {
        let column = self.usable(name)?;
        self.no_missing(name, column)?;
        let origin = Some(self.origin(Some(name)));
        Ok(match column {
            // Missing numbers are made of a wider type than whole ones.
            Column::Stored { array, .. } => Value::Lazy(array.clone()),
            Column::Unread(_) | Column::Refused(_) => unreachable!("usable columns are neither"),
            Column::Numbers { data, elem, spelling } => {
                let array = Array::vector(data.to_vec(), *elem).with_origin(origin);
                Value::Array(Array { spelling: spelling.clone(), ..array })
            }
            Column::Text(data) => Value::Text(TextArray { origin, ..TextArray::vector(data.to_vec()) }),
        })
    }
    /// The column `name` as it can be used: read, or an error.
    fn usable(&self, name: &str) -> Result<&Column, DataError> {
        match self.find(name)? {
            Column::Unread(text) => text.get().as_ref().map_err(Clone::clone),
            Column::Refused(error) => Err(error.clone()),
            column => Ok(column),
        }
    }
    /// The columns of [`Table::matrix`] where all of them stay in their file.
    fn stored_matrix(&self, names: &[&str]) -> Result<Option<LazyArray>, DataError> {
        let mut arrays = Vec::with_capacity(names.len());
        for name in names {
            let Column::Stored { array, .. } = self.usable(name)? else { return Ok(None) };
            arrays.push((*name, array.clone()));
        }
        for (name, _) in &arrays {
            self.no_missing(name, self.usable(name)?)?;
        }
        LazyArray::side_by_side(&self.file, arrays.into_iter().map(|(_, array)| array).collect())
    }
    /// Several columns of numbers as a matrix `[rows, columns]`, in the order of `names`.
    pub fn matrix(&self, names: &[&str]) -> Result<Value, DataError> {
        if let Some(array) = self.stored_matrix(names)? {
            return Ok(Value::Lazy(array));
        }
        let (n, d) = (self.n_rows(), names.len());
        let mut data = Array2::<f64>::zeros((n, d));
        let mut elem = None;
        for (j, name) in names.iter().enumerate() {
            let column = self.usable(name)?;
            self.no_missing(name, column)?;
            let read;
            let (values, column_elem) = match column {
                Column::Numbers { data, elem, .. } => (&**data, elem),
                Column::Stored { array, .. } => {
                    read = array.to_array().data;
                    (read.as_slice().expect("in standard layout"), &array.elem)
                }
                _ => {
                    return Err(DataError::new(
                        Code::E0904,
                        format!("column `{name}` of `{}` holds text, but a matrix needs numbers", self.file),
                    )
                    .help(format!("leave it out with `.except(\"{name}\")`, or make numbers of it with `codes`")));
                }
            };
            for (to, &from) in data.column_mut(j).iter_mut().zip(values.iter()) {
                *to = from;
            }
            elem = match (elem, *column_elem) {
                (None, e) => Some(e),
                (Some(a), b) if a == b => Some(a),
                (Some(Elem::Real), _) | (_, Elem::Real) => Some(Elem::Real),
                _ => Some(Elem::Int),
            };
        }
        let mut array = Array::new(data.into_dyn(), elem.unwrap_or(Elem::Real));
        array.origin = Some(self.origin(None));
        array.columns = Some(names.iter().map(|n| n.to_string()).collect());
        Ok(Value::Array(array))
    }
    /// The rows in which none of the named columns (all when `names` is empty) is missing.
    pub fn drop_missing(&self, names: &[&str]) -> Result<Table, DataError> {
        let columns: Vec<&Column> = match names {
            [] => self.columns.iter().map(|(_, c)| c).collect(),
            names => names.iter().map(|n| self.find(n)).collect::<Result<_, _>>()?,
        };
        let mut keep = vec![true; self.rows];
        for column in columns {
            column.missing()?.into_iter().for_each(|row| keep[row] = false);
        }
        if keep.iter().all(|&keep| keep) {
            return Ok(self.clone());
        }
        let rows: Vec<usize> = (0..self.rows).filter(|&row| keep[row]).collect();
        Ok(self.select(&rows))
    }
    fn origin(&self, column: Option<&str>) -> Arc<Origin> {
        let column = column.map(str::to_string);
        Arc::new(Origin { file: self.file.clone(), column, lines: self.lines.clone() })
    }
    fn no_missing(&self, name: &str, column: &Column) -> Result<(), DataError> {
        let missing = column.missing()?;
        let Some(&first) = missing.first() else { return Ok(()) };
        let line = self.lines.get(first).map_or(String::new(), |line| format!(" (line {line})"));
        let mut error = DataError::new(
            Code::E0906,
            format!("column `{name}` of `{}` has a missing value in row {first}{line}", self.file),
        );
        if missing.len() > 1 {
            error = error.note(format!("{} of {} rows have no value in this column", missing.len(), self.rows));
        }
        Err(error.help(format!("drop these rows with `.drop_missing(\"{name}\")` before the column is taken")))
    }
}

impl Record {
    /// The part `name`, or an error with the nearest name.
    pub fn get(&self, name: &str) -> Result<Value, DataError> {
        match self.entries.iter().find(|(n, _)| n == name) {
            Some((_, value)) => value.clone(),
            None => Err(unknown_part("key", name, &self.file, self.entries.iter().map(|(n, _)| n.as_str()))),
        }
    }
}

/// The error for a column or key that a file lacks.
fn unknown_part<'a>(what: &str, name: &str, file: &str, names: impl Iterator<Item = &'a str>) -> DataError {
    let names: Vec<&str> = names.collect();
    let error = DataError::new(Code::E0907, format!("`{file}` has no {what} `{name}`"));
    if let Some(near) = nearest(name, names.iter().copied()) {
        return error.help(format!("a {what} `{near}` is there"));
    }
    const SHOWN: usize = 12;
    let list = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    error.help(if names.is_empty() { format!("it has no {what} at all") } else { format!("it has {list}{more}") })
}

impl Value {
    /// A real scalar.
    pub fn real(value: f64) -> Value {
        Value::Array(Array::scalar(value, Elem::Real))
    }
    /// An int scalar.
    pub fn int(value: i64) -> Value {
        Value::Array(Array::scalar(value as f64, Elem::Int))
    }
    /// A truth value.
    pub fn bool(value: bool) -> Value {
        Value::Array(Array::scalar(f64::from(u8::from(value)), Elem::Bool))
    }
    /// What it is, in words: `real [3, 4]`, `a table of 5 rows and 2 columns`.
    pub fn describe(&self) -> String {
        match self {
            Value::Array(a) if a.shape().is_empty() => format!("{} scalar", article(print_elem(a.elem))),
            Value::Array(a) => format!("{} array of shape {}", article(print_elem(a.elem)), print_shape(a.shape())),
            Value::Lazy(a) => format!("{} array of shape {}", article(print_elem(a.elem)), print_shape(a.shape())),
            Value::Text(t) => format!("text of shape {}", print_shape(t.shape())),
            Value::Table(t) => format!("a table of {} rows and {} columns", t.n_rows(), t.columns.len()),
            Value::Record(r) => format!("the content of `{}`", r.file),
            Value::Str(_) => "a string".into(),
            Value::Labels(l) => format!("{} labels", l.len()),
            Value::Tuple(t) => format!("a tuple of {}", t.len()),
        }
    }
    /// The numbers; labels stand for their number.
    pub fn into_array(self) -> Result<Array, Box<Value>> {
        match self {
            Value::Array(a) => Ok(a),
            Value::Lazy(a) => Ok(a.to_array()),
            Value::Labels(l) => Ok(Array::scalar(l.len() as f64, Elem::Int)),
            other => Err(Box::new(other)),
        }
    }
    /// The element type, for numbers.
    pub fn elem(&self) -> Option<Elem> {
        match self {
            Value::Array(a) => Some(a.elem),
            Value::Lazy(a) => Some(a.elem),
            Value::Labels(_) => Some(Elem::Int),
            _ => None,
        }
    }
    /// The shape, for arrays of numbers and text.
    pub fn shape(&self) -> Option<&[usize]> {
        match self {
            Value::Array(a) => Some(a.shape()),
            Value::Lazy(a) => Some(a.shape()),
            Value::Text(t) => Some(t.shape()),
            _ => None,
        }
    }
}

/// `word` with its indefinite article.
fn article(word: &str) -> String {
    format!("{} {word}", if word.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" })
}

impl From<Array> for Value {
    fn from(array: Array) -> Value {
        Value::Array(array)
    }
}
