//! Arrays whose numbers stay in their file: rows are found when they are asked for.
//!
//! A [`LazyArray`] is a stored array, a choice of its rows and a chain of maps that each make a row of a row: arithmetic
//! with a number or with one row, functions of a number, other shapes and choices within a row, one-hot codes. The
//! numbers are those that evaluating the whole array at once would give, to the bit: every map works in f64.

use super::error::DataError;
use super::stored::{Classes, Element, Failure, Kind, Layout, RowSource, Stored};
use super::value::{Array, Elem};
use crate::kernels::Scalar;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, OnceLock};

/// A function of two numbers.
#[derive(Clone, Copy)]
pub enum Pair {
    /// `x + y`
    Add,
    /// `x - y`
    Sub,
    /// `x * y`
    Mul,
    /// `x / y`
    Div,
    /// Any other.
    Other(fn(f64, f64) -> f64),
}

impl Pair {
    /// `x op y`
    pub fn apply(self, x: f64, y: f64) -> f64 {
        match self {
            Pair::Add => x + y,
            Pair::Sub => x - y,
            Pair::Mul => x * y,
            Pair::Div => x / y,
            Pair::Other(f) => f(x, y),
        }
    }
    /// Every `x` of a row with the `y` beside it, `y` first where `swapped`.
    fn over(self, row: &mut [f64], others: impl Iterator<Item = f64>, swapped: bool) {
        fn each(row: &mut [f64], others: impl Iterator<Item = f64>, f: impl Fn(f64, f64) -> f64) {
            row.iter_mut().zip(others).for_each(|(x, y)| *x = f(*x, y));
        }
        match (self, swapped) {
            (Pair::Add, _) => each(row, others, |x, y| x + y),
            (Pair::Mul, _) => each(row, others, |x, y| x * y),
            (Pair::Sub, false) => each(row, others, |x, y| x - y),
            (Pair::Sub, true) => each(row, others, |x, y| y - x),
            (Pair::Div, false) => each(row, others, |x, y| x / y),
            (Pair::Div, true) => each(row, others, |x, y| y / x),
            (Pair::Other(f), false) => each(row, others, f),
            (Pair::Other(f), true) => each(row, others, |x, y| f(y, x)),
        }
    }
    /// Bounds of `x op y` for `x` within `bounds`, where the ends of those decide.
    fn bounds(self, (low, high): (f64, f64), y: f64, swapped: bool) -> Option<(f64, f64)> {
        let monotone = match (self, swapped) {
            (Pair::Add | Pair::Sub | Pair::Mul, _) => true,
            (Pair::Div, false) => y != 0.0,
            _ => false,
        };
        if !monotone || ![low, high, y].iter().all(|v| v.is_finite()) {
            return None;
        }
        let at = |x: f64| if swapped { self.apply(y, x) } else { self.apply(x, y) };
        let (a, b) = (at(low), at(high));
        Some((a.min(b), a.max(b)))
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pair::Add => "+",
            Pair::Sub => "-",
            Pair::Mul => "*",
            Pair::Div => "/",
            Pair::Other(_) => "f",
        })
    }
}

/// A row made of a row.
#[derive(Clone, Debug)]
pub enum RowMap {
    /// `f(x)` of every element.
    Each(fn(f64) -> f64),
    /// `x op value`, or `value op x` where swapped.
    With {
        /// The operator.
        op: Pair,
        /// The other side.
        value: f64,
        /// Whether the number stands on the left.
        swapped: bool,
    },
    /// The same with one number for each element of a row.
    WithRow {
        /// The operator.
        op: Pair,
        /// The other side, one number for each element.
        values: Arc<[f64]>,
        /// Whether the numbers stand on the left.
        swapped: bool,
    },
    /// The elements at these places.
    Pick(Arc<[usize]>),
    /// For every element x of 0..n, n numbers: 1 at position x, else 0.
    OneHot(usize),
}

impl RowMap {
    /// Changes `row`; `spare` is room for another one.
    fn apply(&self, row: &mut Vec<f64>, spare: &mut Vec<f64>) {
        match self {
            RowMap::Each(f) => row.iter_mut().for_each(|x| *x = f(*x)),
            RowMap::With { op, value, swapped } => op.over(row, std::iter::repeat(*value), *swapped),
            RowMap::WithRow { op, values, swapped } => op.over(row, values.iter().copied(), *swapped),
            RowMap::Pick(places) => {
                spare.clear();
                spare.extend(places.iter().map(|&at| row[at]));
                std::mem::swap(row, spare);
            }
            RowMap::OneHot(n) => {
                spare.clear();
                spare.resize(row.len() * n, 0.0);
                for (i, &x) in row.iter().enumerate() {
                    spare[i * n + x as usize] = 1.0;
                }
                std::mem::swap(row, spare);
            }
        }
    }
    /// `f(x)` where the map treats all elements alike.
    fn of_one(&self, x: f64) -> Option<f64> {
        match self {
            RowMap::Each(f) => Some(f(x)),
            RowMap::With { op, value, swapped: false } => Some(op.apply(x, *value)),
            RowMap::With { op, value, swapped: true } => Some(op.apply(*value, x)),
            _ => None,
        }
    }
    fn bounds(&self, bounds: (f64, f64)) -> Option<(f64, f64)> {
        match self {
            RowMap::Each(_) => None,
            RowMap::With { op, value, swapped } => op.bounds(bounds, *value, *swapped),
            RowMap::WithRow { op, values, swapped } => {
                let all = values.iter().map(|&y| op.bounds(bounds, y, *swapped));
                all.reduce(|a, b| a.zip(b).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1)))).flatten()
            }
            RowMap::Pick(_) => Some(bounds),
            RowMap::OneHot(_) => Some((0.0, 1.0)),
        }
    }
    /// What is kept in memory [bytes].
    fn bytes(&self) -> usize {
        match self {
            RowMap::WithRow { values, .. } => size_of_val(&**values),
            RowMap::Pick(places) => size_of_val(&**places),
            _ => 0,
        }
    }
    /// The elements of the row that a row of `unit` becomes.
    fn unit(&self, unit: usize) -> usize {
        match self {
            RowMap::Pick(places) => places.len(),
            RowMap::OneHot(n) => unit * n,
            _ => unit,
        }
    }
}

/// Which rows of the stored array.
#[derive(Clone)]
enum Rows {
    /// Consecutive ones.
    Range(Range<usize>),
    /// These.
    List(Arc<[usize]>),
}

/// An array that is still in its file. Cheap to clone.
#[derive(Clone)]
pub struct LazyArray {
    source: Arc<Stored>,
    rows: Rows,
    maps: Vec<RowMap>,
    shape: Vec<usize>,
    /// What the numbers are.
    pub elem: Elem,
    /// Least and greatest number, once they were needed; `None` inside when one is NaN.
    exact: Arc<OnceLock<Option<(f64, f64)>>>,
}

impl fmt::Debug for LazyArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, shape, maps) = (&self.source.name, &self.shape, self.maps.len());
        write!(f, "LazyArray({name:?}, {shape:?}, {:?}, {maps} maps)", self.elem)
    }
}

/// Two are equal when their numbers are.
impl PartialEq for LazyArray {
    fn eq(&self, other: &Self) -> bool {
        (self.elem, &self.shape) == (other.elem, &other.shape) && self.to_array() == other.to_array()
    }
}

/// Bytes of rows that are made together in a pass over an array.
const MADE: usize = 4 << 20;

/// The rows of `unit` elements that a pass over an array takes at a time: some cache full of numbers.
pub(super) fn block_rows(unit: usize) -> usize {
    const NUMBERS: usize = 1 << 16;
    (NUMBERS / unit.max(1)).max(1)
}

impl LazyArray {
    /// All rows of a stored array.
    pub fn new(source: Stored) -> Self {
        let (shape, elem) = (source.layout.shape.clone(), source.layout.element.elem());
        let rows = Rows::Range(0..shape[0]);
        Self { source: Arc::new(source), rows, maps: Vec::new(), shape, elem, exact: Arc::default() }
    }
    /// Vectors of one length as the columns of a matrix; `name` is their file as messages show it. `None` without rows.
    ///
    /// Errors: those of [`Stored::made`].
    pub fn side_by_side(name: &str, columns: Vec<LazyArray>) -> Result<Option<Self>, DataError> {
        let Some(first) = columns.first().filter(|first| first.n_rows() > 0) else { return Ok(None) };
        let failure = first.failure().clone();
        let same = columns.iter().map(|c| c.elem).reduce(|a, b| match (a, b) {
            (a, b) if a == b => a,
            (Elem::Real, _) | (_, Elem::Real) => Elem::Real,
            _ => Elem::Int,
        });
        let layout = Layout {
            element: Element { kind: Kind::Float, width: 8, big_endian: false },
            shape: vec![first.n_rows(), columns.len()],
            at: 0,
        };
        let stored = Stored::made(name, layout, Box::new(SideBySide(columns)), failure)?;
        Ok(Some(Self::new(stored).with_elem(same.unwrap_or(Elem::Real))))
    }
    /// The shape; there is at least one dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.shape[0]
    }
    /// The elements of one row.
    pub fn unit(&self) -> usize {
        self.shape[1..].iter().product()
    }
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// True without rows or elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The bytes on disk that are read only when rows are asked for.
    pub fn mapped_bytes(&self) -> usize {
        self.source.mapped_bytes()
    }
    /// What is kept in memory [bytes]: a choice of rows, what maps need, and the file where it is not mapped.
    pub fn bytes(&self) -> usize {
        let rows = match &self.rows {
            Rows::Range(_) => 0,
            Rows::List(list) => size_of_val(&**list),
        };
        self.source.bytes() + rows + self.maps.iter().map(RowMap::bytes).sum::<usize>()
    }
    /// The same rows through one more map, in the row shape `row`.
    pub fn map(&self, map: RowMap, row: &[usize], elem: Elem) -> Self {
        let mut next = self.reshaped(row);
        debug_assert_eq!(map.unit(self.unit()), next.unit());
        next.maps.push(map);
        next.elem = elem;
        next.exact = Arc::default();
        next
    }
    /// The same numbers with rows of the shape `row`, which a map that is to follow makes of them.
    pub fn reshaped(&self, row: &[usize]) -> Self {
        let shape = std::iter::once(self.shape[0]).chain(row.iter().copied()).collect();
        Self { shape, ..self.clone() }
    }
    /// The same numbers under another element type, which must hold them.
    pub fn with_elem(&self, elem: Elem) -> Self {
        Self { elem, ..self.clone() }
    }
    /// Consecutive rows.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let rows = match &self.rows {
            Rows::Range(all) => Rows::Range(all.start + range.start..all.start + range.end),
            Rows::List(list) => Rows::List(list[range.clone()].into()),
        };
        self.with_rows(rows, range.len())
    }
    /// The rows at these positions.
    pub fn select(&self, positions: &[usize]) -> Self {
        let rows = positions.iter().map(|&row| self.row_of(row)).collect();
        self.with_rows(Rows::List(rows), positions.len())
    }
    fn with_rows(&self, rows: Rows, n: usize) -> Self {
        let mut shape = self.shape.clone();
        shape[0] = n;
        Self { rows, shape, exact: Arc::default(), ..self.clone() }
    }
    /// The row of the file that row `row` is made of.
    fn row_of(&self, row: usize) -> usize {
        match &self.rows {
            Rows::Range(range) => range.start + row,
            Rows::List(list) => list[row],
        }
    }
    /// Says that row `row` will be read soon.
    pub fn want(&self, row: usize) {
        self.source.want(self.row_of(row));
    }
    /// The bytes of one row as the file has it.
    pub fn row_bytes(&self) -> usize {
        self.source.row_bytes()
    }
    /// Whether rows must be made before they can be read, which costs far more than copying them.
    pub fn is_made(&self) -> bool {
        self.source.is_made()
    }
    /// Where it is told that a row could not be read.
    pub fn failure(&self) -> &Failure {
        self.source.failure()
    }
    /// The classes of the rows, where the files tell them: their names and that of each row.
    pub fn classes(&self) -> Option<Classes> {
        let all = self.source.classes.as_ref()?;
        let of_row = (0..self.n_rows()).map(|row| all.of_row[self.row_of(row)]).collect();
        Some(Classes { names: all.names.clone(), of_row })
    }
    /// The file, or the pattern of the files, as messages show it.
    pub fn name(&self) -> &str {
        &self.source.name
    }
    /// Reads rows in the precision `F`.
    pub fn reader<F: Scalar>(&self) -> RowReader<F> {
        let one_byte = self.source.layout.element.width == 1;
        let table = (one_byte && !self.maps.is_empty()).then(|| self.table()).flatten();
        let convert = Convert {
            element: self.source.layout.element,
            unit: self.source.unit(),
            maps: self.maps.clone(),
            table: table.map(|t| t.into_iter().map(F::from_f64).collect()),
            row: Vec::new(),
            spare: Vec::new(),
        };
        RowReader { array: self.clone(), convert, wanted: Vec::new(), raw: Vec::new() }
    }
    /// Says that these rows will not be read for a while.
    pub fn release(&self, rows: Range<usize>) {
        if let Rows::Range(range) = &self.rows {
            self.source.release(range.start + rows.start..range.start + rows.end);
        }
    }
    /// What becomes of each value of a byte, where all elements are treated alike.
    fn table(&self) -> Option<Vec<f64>> {
        let element = self.source.layout.element;
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        if element.width != 1 {
            return None;
        }
        let through = |x: f64| self.maps.iter().try_fold(x, |x, map| map.of_one(x));
        element.numbers(&bytes).into_iter().map(through).collect()
    }
    /// Numbers between which all elements lie, as far as that follows from the file and the maps; `None` where it does
    /// not, or where an element may be NaN.
    fn bounds(&self) -> Option<(f64, f64)> {
        if let Some(table) = self.table().filter(|_| !self.maps.is_empty()) {
            if table.iter().any(|x| x.is_nan()) {
                return None;
            }
            let fold = |f: fn(f64, f64) -> f64| table.iter().copied().reduce(f);
            return fold(f64::min).zip(fold(f64::max));
        }
        // A pass over the file is worth it only where every map says what becomes of the ends.
        self.maps.iter().try_fold((0.0, 1.0), |b, map| map.bounds(b))?;
        self.maps.iter().try_fold(self.source.extent()?, |b, map| map.bounds(b))
    }
    /// Least and greatest element; `None` when one is NaN. One pass over the rows, remembered.
    fn exact(&self) -> Option<(f64, f64)> {
        *self.exact.get_or_init(|| {
            let (mut low, mut high, mut nan) = (f64::INFINITY, f64::NEG_INFINITY, false);
            let _ = self.blocks(&mut |_, block| {
                for &x in block {
                    low = if x < low { x } else { low };
                    high = if x > high { x } else { high };
                    nan |= x.is_nan();
                }
                if nan { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            (!nan).then_some((low, high))
        })
    }
    /// Whether no element is NaN and `holds` is true of the least and the greatest one. What follows from the type of the
    /// elements and the maps is not looked for in the file; otherwise it takes one pass, which is remembered.
    pub fn within(&self, holds: impl Fn(f64, f64) -> bool) -> bool {
        self.bounds().is_some_and(|(low, high)| holds(low, high))
            || self.exact().is_some_and(|(low, high)| holds(low, high))
    }
    /// Calls `each` with the position of the first element and the elements of block after block of whole rows, until it
    /// breaks. What was read does not stay in memory.
    pub fn blocks(&self, each: &mut dyn FnMut(usize, &[f64]) -> ControlFlow<()>) -> ControlFlow<()> {
        let (n, unit) = (self.n_rows(), self.unit());
        if n == 0 || unit == 0 {
            return ControlFlow::Continue(());
        }
        let mut reader = self.reader::<f64>();
        let size = block_rows(unit);
        // Rows that must be made are made together, on several threads.
        let together = if self.is_made() { (MADE / self.row_bytes().max(1) / size).max(1) * size } else { size };
        let mut buffer = vec![0.0; together.min(n) * unit];
        for from in (0..n).step_by(together) {
            let to = (from + together).min(n);
            let rows = &mut buffer[..(to - from) * unit];
            reader.read(from..to, rows);
            self.release(from..to);
            rows.chunks(size * unit).enumerate().try_for_each(|(i, block)| each((from + i * size) * unit, block))?;
        }
        ControlFlow::Continue(())
    }
    /// All numbers.
    pub fn to_array(&self) -> Array {
        let mut values = Vec::with_capacity(self.len());
        let _ = self.blocks(&mut |_, block| {
            values.extend_from_slice(block);
            ControlFlow::Continue(())
        });
        Array::from_shape(&self.shape, values, self.elem).expect("blocks hold all elements")
    }
}

/// Vectors as the columns of a matrix, whose elements are f64, little-endian.
#[derive(Debug)]
struct SideBySide(Vec<LazyArray>);

impl RowSource for SideBySide {
    fn fetch(&self, rows: &[usize], out: &mut [u8]) -> Result<(), DataError> {
        let mut numbers = vec![0.0; rows.len()];
        for (j, column) in self.0.iter().enumerate() {
            column.reader::<f64>().read(rows.iter().copied(), &mut numbers);
            let places = out.chunks_exact_mut(8).skip(j).step_by(self.0.len());
            places.zip(&numbers).for_each(|(to, x)| to.copy_from_slice(&x.to_le_bytes()));
        }
        match self.0.iter().find_map(|column| column.failure().get()) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
    fn bytes(&self) -> usize {
        // Columns of one file share what they keep.
        self.0.iter().map(LazyArray::bytes).max().unwrap_or(0)
    }
    fn bytes_on_disk(&self) -> usize {
        self.0.iter().map(LazyArray::mapped_bytes).sum()
    }
}

/// Makes the numbers of a row of its bytes.
#[derive(Clone, Debug)]
struct Convert<F> {
    element: Element,
    /// The elements of a row of the file.
    unit: usize,
    maps: Vec<RowMap>,
    /// The number for each value of a byte.
    table: Option<Vec<F>>,
    row: Vec<f64>,
    spare: Vec<f64>,
}

impl<F: Scalar> Convert<F> {
    fn row(&mut self, bytes: &[u8], out: &mut [F]) {
        if let Some(table) = &self.table {
            out.iter_mut().zip(bytes).for_each(|(to, &b)| *to = table[usize::from(b)]);
        } else if self.maps.is_empty() {
            self.element.decode(bytes, out, F::from_f64);
        } else {
            self.row.resize(self.unit, 0.0);
            self.element.decode(bytes, &mut self.row, |x| x);
            for map in &self.maps {
                map.apply(&mut self.row, &mut self.spare);
            }
            out.iter_mut().zip(&self.row).for_each(|(to, &x)| *to = F::from_f64(x));
        }
    }
}

/// Reads rows of a lazy array; makes no allocation of its own after the first ones, if no more are read at once.
#[derive(Clone, Debug)]
pub struct RowReader<F> {
    array: LazyArray,
    convert: Convert<F>,
    /// The rows of the file that are made together.
    wanted: Vec<usize>,
    /// Their bytes.
    raw: Vec<u8>,
}

impl<F: Scalar> RowReader<F> {
    /// Writes `rows` to `out`, one after the other; zeros once a row could not be read, see [`LazyArray::failure`].
    pub fn read(&mut self, rows: impl Iterator<Item = usize>, out: &mut [F]) {
        let (array, convert) = (&self.array, &mut self.convert);
        let places = out.chunks_exact_mut(array.unit().max(1));
        if !array.is_made() {
            return rows.zip(places).for_each(|(row, place)| convert.row(array.source.row(array.row_of(row)), place));
        }
        self.wanted.clear();
        self.wanted.extend(rows.map(|row| array.row_of(row)));
        let bytes = array.row_bytes();
        self.raw.resize(self.wanted.len() * bytes, 0);
        array.source.fetch(&self.wanted, &mut self.raw);
        self.raw.chunks_exact(bytes.max(1)).zip(places).for_each(|(row, place)| convert.row(row, place));
    }
    /// Says that row `row` will be read soon.
    pub fn want(&self, row: usize) {
        self.array.want(row);
    }
    /// The array whose rows are read.
    pub fn array(&self) -> &LazyArray {
        &self.array
    }
}
