//! Numbers as a file stores them: bytes, an element type, a shape.
//!
//! A [`Stored`] array gives the bytes of its rows: where they lie in a file, or as a [`RowSource`] makes them when they are
//! asked for. Of the latter some may fail in the middle of a run (a file of a folder is gone, say). Readers do not stop
//! for that: the rows are zeros, and the first [`Failure`] is kept until somebody asks for it, which binding does before
//! it ends, a fit at every step and a session before it reports anything.

use super::error::DataError;
use super::files::map::FileMap;
use super::value::{Array, Elem, MAX_EXACT_INT};
use crate::diag::Code;
use std::fmt;
use std::ops::{ControlFlow, Deref, Range};
use std::sync::{Arc, OnceLock};

/// What the bytes of an element mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// IEEE 754, of 2, 4 or 8 bytes.
    Float,
    /// A signed integer of 1, 2, 4 or 8 bytes.
    Int,
    /// An unsigned integer of 1, 2, 4 or 8 bytes.
    Unsigned,
    /// One byte; anything but 0 is true.
    Bool,
}

/// An element type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Element {
    /// What it is.
    pub kind: Kind,
    /// Its number of bytes.
    pub width: usize,
    /// Whether the first byte is the most significant one.
    pub big_endian: bool,
}

impl Element {
    /// The element type of the language that holds it.
    pub fn elem(self) -> Elem {
        match self.kind {
            Kind::Float => Elem::Real,
            Kind::Bool => Elem::Bool,
            Kind::Int | Kind::Unsigned => Elem::Int,
        }
    }
    /// Writes `number` of every element of `bytes` to `out`, as many as both have. Numbers are exact but for ints beyond
    /// 2^53, which are rounded.
    pub fn decode<T>(self, bytes: &[u8], out: &mut [T], number: impl Fn(f64) -> T) {
        macro_rules! each {
            ($width:literal, $little:expr, $big:expr) => {{
                let chunks = bytes.as_chunks::<$width>().0;
                if self.big_endian {
                    out.iter_mut().zip(chunks).for_each(|(to, &c)| *to = number($big(c)));
                } else {
                    out.iter_mut().zip(chunks).for_each(|(to, &c)| *to = number($little(c)));
                }
            }};
        }
        macro_rules! read {
            ($type:ty, $width:literal) => {
                each!($width, |c: [u8; $width]| <$type>::from_le_bytes(c) as f64, |c: [u8; $width]| {
                    <$type>::from_be_bytes(c) as f64
                })
            };
        }
        match (self.kind, self.width) {
            (Kind::Float, 2) => each!(2, |c| half(u16::from_le_bytes(c)), |c| half(u16::from_be_bytes(c))),
            (Kind::Float, 4) => read!(f32, 4),
            (Kind::Float, _) => each!(8, f64::from_le_bytes, f64::from_be_bytes),
            (Kind::Bool, _) => out.iter_mut().zip(bytes).for_each(|(to, &b)| *to = number(f64::from(u8::from(b != 0)))),
            (Kind::Int, 1) => read!(i8, 1),
            (Kind::Int, 2) => read!(i16, 2),
            (Kind::Int, 4) => read!(i32, 4),
            (Kind::Int, _) => read!(i64, 8),
            (Kind::Unsigned, 1) => read!(u8, 1),
            (Kind::Unsigned, 2) => read!(u16, 2),
            (Kind::Unsigned, 4) => read!(u32, 4),
            (Kind::Unsigned, _) => read!(u64, 8),
        }
    }
    /// The numbers in `bytes`.
    pub fn numbers(self, bytes: &[u8]) -> Vec<f64> {
        let mut out = vec![0.0; bytes.len() / self.width.max(1)];
        self.decode(bytes, &mut out, |x| x);
        out
    }
    /// Least and greatest number in `bytes`; `None` when one is NaN. Infinities count.
    fn extent(self, bytes: &[u8]) -> Option<(f64, f64)> {
        // Several independent lanes, so that the loop is not a chain of comparisons.
        const LANES: usize = 16;
        if (self.kind, self.width, self.big_endian) == (Kind::Float, 4, false) {
            let (mut low, mut high, mut nan) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES], [0u32; LANES]);
            let mut add = |lane: usize, x: f32| {
                low[lane] = if x < low[lane] { x } else { low[lane] };
                high[lane] = if x > high[lane] { x } else { high[lane] };
                nan[lane] |= u32::from(x.is_nan());
            };
            let (blocks, rest) = bytes.as_chunks::<{ 4 * LANES }>();
            for block in blocks {
                let block = block.as_chunks::<4>().0;
                for (lane, &bytes) in block.iter().enumerate() {
                    add(lane, f32::from_le_bytes(bytes));
                }
            }
            rest.as_chunks::<4>().0.iter().for_each(|&c| add(0, f32::from_le_bytes(c)));
            let min = low.iter().fold(f64::INFINITY, |a, &x| a.min(f64::from(x)));
            let max = high.iter().fold(f64::NEG_INFINITY, |a, &x| a.max(f64::from(x)));
            return (nan.iter().all(|&n| n == 0)).then_some((min, max));
        }
        let mut buffer = [0.0; 1024];
        let (mut min, mut max, mut nan) = (f64::INFINITY, f64::NEG_INFINITY, false);
        for part in bytes.chunks(1024 * self.width) {
            let numbers = &mut buffer[..part.len() / self.width];
            self.decode(part, numbers, |x| x);
            let (mut low, mut high) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
            for some in numbers.chunks(LANES) {
                for (lane, &x) in some.iter().enumerate() {
                    low[lane] = if x < low[lane] { x } else { low[lane] };
                    high[lane] = if x > high[lane] { x } else { high[lane] };
                    nan |= x.is_nan();
                }
            }
            min = low.iter().fold(min, |a, &x| a.min(x));
            max = high.iter().fold(max, |a, &x| a.max(x));
        }
        (!nan).then_some((min, max))
    }
}

/// An IEEE 754 half-precision number.
pub(super) fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    match exponent {
        0 => sign * fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

/// Where the numbers of one array lie in a file, row-major, as its header says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The element type.
    pub element: Element,
    /// The shape.
    pub shape: Vec<usize>,
    /// The byte at which the first element begins.
    pub at: usize,
}

impl Layout {
    /// The number of elements.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
    /// The bytes of the elements in the file `bytes`.
    fn range(&self) -> Range<usize> {
        self.at..self.at + self.count() * self.element.width
    }
    /// All numbers of the file `bytes`, called `name` in messages, as an array.
    ///
    /// Errors: an integer of 2^53 or more, a shape that memory cannot hold.
    pub fn array(&self, name: &str, bytes: &[u8]) -> Result<Array, DataError> {
        let values = self.element.numbers(&bytes[self.range()]);
        if let Some(i) = self.inexact(&values) {
            return Err(inexact(name, i));
        }
        Array::from_shape(&self.shape, values, self.element.elem())
            .ok_or_else(|| DataError::new(Code::E0902, format!("`{name}` has a shape larger than memory can hold")))
    }
    /// The first of `values` that is an integer which f64 need not hold exactly.
    pub(super) fn inexact(&self, values: &[f64]) -> Option<usize> {
        let wide = matches!(self.element.kind, Kind::Int | Kind::Unsigned) && self.element.width == 8;
        if wide { values.iter().position(|v| v.abs() >= MAX_EXACT_INT) } else { None }
    }
}

/// The error for an integer that f64 cannot hold.
pub(super) fn inexact(name: &str, at: usize) -> DataError {
    let message = format!("element {at} of `{name}` is an integer of 2^53 or more, too large to be exact");
    DataError::new(Code::E0904, message)
}

/// The bytes of a file.
#[derive(Debug)]
pub enum Bytes {
    /// In memory: read or unpacked.
    Owned(Vec<u8>),
    /// Where they lie on disk.
    Map(FileMap),
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Owned(bytes) => bytes,
            Bytes::Map(map) => map,
        }
    }
}

/// Rows that are made when they are asked for: pictures unpacked, columns put together.
pub trait RowSource: fmt::Debug + Send + Sync {
    /// Writes the bytes of `rows` to `out`, one row after the other; the same bytes whenever a row is asked for.
    ///
    /// Errors: a file that cannot be read or is damaged; names the file, and the row where one row is to blame.
    fn fetch(&self, rows: &[usize], out: &mut [u8]) -> Result<(), DataError>;
    /// What is kept in memory at most [bytes].
    fn bytes(&self) -> usize;
    /// The bytes on disk that are read only when rows are asked for.
    fn bytes_on_disk(&self) -> usize;
}

/// The first row that could not be read, of all arrays that share it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Failure(Arc<OnceLock<DataError>>);

impl Failure {
    /// What happened, if anything did.
    pub fn get(&self) -> Option<&DataError> {
        self.0.get()
    }
}

/// The classes of the rows, for arrays that have such beside their numbers.
#[derive(Clone, PartialEq, Debug)]
pub struct Classes {
    /// Their names, sorted.
    pub names: Vec<Arc<str>>,
    /// The class of every row, by its position among the names.
    pub of_row: Vec<u32>,
}

#[derive(Debug)]
enum Content {
    /// All rows, where the layout says.
    Bytes(Bytes),
    /// One row at a time.
    Made(Box<dyn RowSource>),
}

/// An array in a file, or in several: nothing of it is read but what is asked for.
#[derive(Debug)]
pub struct Stored {
    /// The file, or the pattern of the files, as messages show it.
    pub name: String,
    /// Where the numbers lie.
    pub layout: Layout,
    /// The classes of the rows, where the files tell them.
    pub classes: Option<Classes>,
    content: Content,
    /// The elements of one row.
    unit: usize,
    extent: OnceLock<Option<(f64, f64)>>,
    failure: Failure,
}

/// Bytes that one pass over a file keeps in memory at a time.
const WINDOW: usize = 8 << 20;

impl Stored {
    /// The array that `layout` describes in `bytes`, which must hold it, and at least one row.
    ///
    /// Errors: an integer of 2^53 or more, which takes one pass over files of 8-byte integers.
    pub fn new(name: &str, layout: Layout, bytes: Bytes) -> Result<Stored, DataError> {
        debug_assert!(layout.range().end <= bytes.len());
        Self::with(name, layout, Content::Bytes(bytes), Failure::default())
    }
    /// The array that `layout` describes, of rows as `source` makes them, at least one. What fails goes to `failure`.
    ///
    /// Errors: those of [`Stored::new`], and those of `source` where that pass is made.
    pub fn made(name: &str, layout: Layout, source: Box<dyn RowSource>, failure: Failure) -> Result<Stored, DataError> {
        Self::with(name, layout, Content::Made(source), failure)
    }
    fn with(name: &str, layout: Layout, content: Content, failure: Failure) -> Result<Stored, DataError> {
        debug_assert!(layout.count() > 0);
        let unit = layout.shape.iter().skip(1).product();
        let name = name.to_string();
        let stored = Stored { name, layout, classes: None, content, unit, extent: OnceLock::new(), failure };
        let element = stored.layout.element;
        if matches!(element.kind, Kind::Int | Kind::Unsigned) && element.width == 8 {
            let (low, high) = stored.extent().unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
            if let Some(error) = stored.failure.get() {
                return Err(error.clone());
            }
            if low <= -MAX_EXACT_INT || high >= MAX_EXACT_INT {
                let (mut at, mut found) = (0, 0);
                let _ = stored.parts(&mut |bytes| {
                    let numbers = element.numbers(bytes);
                    match stored.layout.inexact(&numbers) {
                        Some(i) => {
                            found = at + i;
                            ControlFlow::Break(())
                        }
                        None => {
                            at += numbers.len();
                            ControlFlow::Continue(())
                        }
                    }
                });
                return Err(inexact(&stored.name, found));
            }
        }
        Ok(stored)
    }
    /// Calls `each` with the bytes of part after part of all elements, until it breaks. What was read does not stay in
    /// memory.
    fn parts(&self, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
        match &self.content {
            Content::Bytes(bytes) => {
                let range = self.layout.range();
                // A multiple of every width.
                for from in range.clone().step_by(WINDOW) {
                    let part = from..(from + WINDOW).min(range.end);
                    each(&bytes[part.clone()])?;
                    if let Bytes::Map(map) = bytes {
                        map.release(part);
                    }
                }
            }
            Content::Made(_) => {
                let (n, row) = (self.layout.shape[0], self.row_bytes());
                let size = (WINDOW / row.max(1)).clamp(1, n);
                let mut buffer = vec![0; size * row];
                for from in (0..n).step_by(size) {
                    let rows: Vec<usize> = (from..(from + size).min(n)).collect();
                    let part = &mut buffer[..rows.len() * row];
                    self.fetch(&rows, part);
                    each(part)?;
                }
            }
        }
        ControlFlow::Continue(())
    }
    /// The elements of one row.
    pub fn unit(&self) -> usize {
        self.unit
    }
    /// The bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.unit * self.layout.element.width
    }
    /// Where row `row` lies in the file.
    fn place(&self, row: usize) -> Range<usize> {
        let bytes = self.row_bytes();
        let from = self.layout.at + row * bytes;
        from..from + bytes
    }
    /// Whether the rows must be made: [`Stored::row`] has none.
    pub fn is_made(&self) -> bool {
        matches!(self.content, Content::Made(_))
    }
    /// The bytes of row `row` of an array that has them all; none for one that makes them.
    pub fn row(&self, row: usize) -> &[u8] {
        match &self.content {
            Content::Bytes(bytes) => &bytes[self.place(row)],
            Content::Made(_) => &[],
        }
    }
    /// Writes the bytes of `rows` to `out`, one row after the other; zeros once a row could not be read, see
    /// [`Stored::failure`].
    pub fn fetch(&self, rows: &[usize], out: &mut [u8]) {
        match &self.content {
            Content::Bytes(bytes) => {
                let places = out.chunks_exact_mut(self.row_bytes().max(1));
                places.zip(rows).for_each(|(to, &row)| to.copy_from_slice(&bytes[self.place(row)]));
            }
            Content::Made(source) => {
                if self.failure.get().is_none()
                    && let Err(error) = source.fetch(rows, out)
                {
                    // Another thread may have come first, and its error is as good.
                    let _ = self.failure.0.set(error);
                }
                if self.failure.get().is_some() {
                    out.fill(0);
                }
            }
        }
    }
    /// Where it is told that a row could not be read.
    pub fn failure(&self) -> &Failure {
        &self.failure
    }
    /// Says that row `row` will be read soon.
    pub fn want(&self, row: usize) {
        if let Content::Bytes(Bytes::Map(map)) = &self.content {
            map.want(self.place(row));
        }
    }
    /// Says that the rows `rows` will not be read for a while.
    pub fn release(&self, rows: Range<usize>) {
        if let Content::Bytes(Bytes::Map(map)) = &self.content
            && !rows.is_empty()
        {
            map.release(self.place(rows.start).start..self.place(rows.end - 1).end);
        }
    }
    /// The number of bytes on disk that are not in memory unless they are read.
    pub fn mapped_bytes(&self) -> usize {
        match &self.content {
            Content::Bytes(Bytes::Map(map)) => map.len(),
            Content::Bytes(Bytes::Owned(_)) => 0,
            Content::Made(source) => source.bytes_on_disk(),
        }
    }
    /// What is kept in memory [bytes].
    pub fn bytes(&self) -> usize {
        match &self.content {
            Content::Bytes(Bytes::Owned(bytes)) => bytes.capacity(),
            Content::Bytes(Bytes::Map(_)) => 0,
            Content::Made(source) => source.bytes(),
        }
    }
    /// Bounds of all numbers, `None` when one is NaN: what the type can hold for ints of one or two bytes, else the least
    /// and the greatest number, found by one pass over the file and remembered.
    pub fn extent(&self) -> Option<(f64, f64)> {
        *self.extent.get_or_init(|| {
            let element = self.layout.element;
            match (element.kind, element.width) {
                (Kind::Bool, _) => Some((0.0, 1.0)),
                (Kind::Unsigned, 1) => Some((0.0, 255.0)),
                (Kind::Unsigned, 2) => Some((0.0, 65_535.0)),
                (Kind::Int, 1) => Some((-128.0, 127.0)),
                (Kind::Int, 2) => Some((-32_768.0, 32_767.0)),
                _ => {
                    let mut all = Some((f64::INFINITY, f64::NEG_INFINITY));
                    let _ = self.parts(&mut |part| {
                        all = element.extent(part).zip(all).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1)));
                        if all.is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                    });
                    all
                }
            }
        })
    }
}
