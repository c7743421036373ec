//! Reads Parquet files: a table whose columns stay in the file, row group by row group.
//!
//! Columns of BOOLEAN, INT32, INT64, FLOAT and DOUBLE are numbers; BYTE_ARRAY is text when it is UTF-8. A null is a missing
//! value, in words of csv an empty cell. Dates, times, decimals, INT96, fixed-length bytes and lists are refused where they
//! are asked for. Files of less than `lazy_from` unpacked bytes become a table in memory. Of larger ones, numbers are
//! unpacked by row groups when rows of them are asked for; the latest ones are kept, up to `room` bytes for a file.
//! (Format: Apache Parquet specification, `parquet.thrift` and `Encodings.md`.)

use super::error::DataError;
use super::files::for_parts;
use super::lazy::LazyArray;
use super::stored::{Bytes, Element, Failure, Kind, Layout, RowSource, Stored};
use super::value::{Column, Elem, MAX_EXACT_INT, Table, Unread, Value};
use crate::diag::Code;
use crate::kernels::threads;
use ::parquet::basic::{ConvertedType, LogicalType, Type};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::RowGroupMetaData;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::file::statistics::Statistics;
use ::parquet::schema::types::ColumnDescriptor;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of unpacked row groups that are kept for a file.
pub const ROOM: usize = 256 << 20;

/// The table in `content`, called `name` in messages.
///
/// Errors: no Parquet file, a damaged one; in small files also what is wrong with their pages.
pub fn open(name: &str, content: Bytes, lazy_from: usize, room: usize, failure: &Failure) -> Result<Value, DataError> {
    // Bytes that are shared, unlike a file, have no position that threads would move from under each other.
    let reader = SerializedFileReader::new(bytes::Bytes::from_owner(Shared(content))).map_err(|e| broken(name, &e))?;
    let groups = reader.metadata().row_groups();
    let rows_of = |group: &RowGroupMetaData| usize::try_from(group.num_rows()).unwrap_or(0);
    let mut starts = vec![0];
    for group in groups {
        starts.push(starts[starts.len() - 1] + rows_of(group));
    }
    let unpacked: usize = groups.iter().map(|g| usize::try_from(g.total_byte_size()).unwrap_or(usize::MAX)).sum();
    let rows = starts[starts.len() - 1];
    let columns = reader.metadata().file_metadata().schema_descr().columns().to_vec();
    let kept = Mutex::new(Kept::default());
    let shared = Arc::new(ParquetFile { name: name.to_string(), reader, starts, room, kept });
    let mut list = Vec::with_capacity(columns.len());
    for (at, descriptor) in columns.iter().enumerate() {
        let title = descriptor.path().string();
        if list.iter().any(|(known, _)| *known == title) {
            return Err(DataError::new(Code::E0902, format!("`{name}` has two columns called `{title}`")));
        }
        list.push((title, column(&shared, at, descriptor, unpacked < lazy_from, failure)?));
    }
    Ok(Value::Table(Arc::new(Table { file: name.to_string(), columns: list, rows, lines: Arc::default() })))
}

/// The content of a file in the type that the reader takes.
struct Shared(Bytes);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn broken(name: &str, error: &ParquetError) -> DataError {
    DataError::new(Code::E0902, format!("`{name}` cannot be read as a Parquet file"))
        .note(format!("the reader says: {error}"))
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holds {
    Numbers(Elem),
    Text,
}

/// What the column is, or in words why it cannot be used.
fn holds(descriptor: &ColumnDescriptor) -> Result<Holds, String> {
    if descriptor.max_rep_level() > 0 {
        return Err("lists".into());
    }
    let (logical, converted) = (descriptor.logical_type_ref(), descriptor.converted_type());
    match (descriptor.physical_type(), logical, converted) {
        (_, Some(LogicalType::Date), _) | (_, _, ConvertedType::DATE) => Err("dates".into()),
        (_, Some(LogicalType::Time { .. } | LogicalType::Timestamp { .. }), _)
        | (
            _,
            _,
            ConvertedType::TIME_MILLIS
            | ConvertedType::TIME_MICROS
            | ConvertedType::TIMESTAMP_MILLIS
            | ConvertedType::TIMESTAMP_MICROS,
        ) => Err("times".into()),
        (_, Some(LogicalType::Decimal { .. }), _) | (_, _, ConvertedType::DECIMAL) => Err("decimals".into()),
        (Type::BOOLEAN, ..) => Ok(Holds::Numbers(Elem::Bool)),
        (Type::INT32 | Type::INT64, ..) => Ok(Holds::Numbers(Elem::Int)),
        (Type::FLOAT | Type::DOUBLE, ..) => Ok(Holds::Numbers(Elem::Real)),
        (Type::BYTE_ARRAY, ..) => Ok(Holds::Text),
        (other, ..) => Err(format!("values of the type {other}")),
    }
}

/// Column `at` of the table.
fn column(
    file: &Arc<ParquetFile>,
    at: usize,
    descriptor: &ColumnDescriptor,
    whole: bool,
    failure: &Failure,
) -> Result<Column, DataError> {
    let elem = match holds(descriptor) {
        Err(what) => {
            let message =
                format!("column `{}` of `{}` holds {what}, which cannot be read", descriptor.path(), file.name);
            let help = "write the column as numbers or as text";
            return Ok(Column::Refused(DataError::new(Code::E0911, message).help(help)));
        }
        Ok(Holds::Text) if whole => return file.text(at),
        Ok(Holds::Text) => {
            let file = file.clone();
            return Ok(Column::Unread(Arc::new(Unread::new(move || file.text(at)))));
        }
        Ok(Holds::Numbers(elem)) => elem,
    };
    let complete = descriptor.max_def_level() == 0 || file.all_groups(at, |s| s.null_count_opt() == Some(0));
    // Ints that are known to be exact, and numbers some of which may be missing, are kept as f64 where they are wide.
    let exact = |s: &Statistics| match s {
        Statistics::Int64(s) => {
            let small = |x: Option<&i64>| x.is_some_and(|&x| (x as f64).abs() < MAX_EXACT_INT);
            small(s.min_opt()) && small(s.max_opt())
        }
        _ => false,
    };
    let unsigned = is_unsigned(descriptor);
    let little = |kind, width| Element { kind, width, big_endian: false };
    let element = match (descriptor.physical_type(), complete) {
        (Type::BOOLEAN, true) => little(Kind::Bool, 1),
        (Type::FLOAT, _) => little(Kind::Float, 4),
        (Type::INT32, true) => little(if unsigned { Kind::Unsigned } else { Kind::Int }, 4),
        (Type::INT64, true) if unsigned => little(Kind::Unsigned, 8),
        (Type::INT64, true) if !file.all_groups(at, exact) => little(Kind::Int, 8),
        _ => little(Kind::Float, 8),
    };
    let rows = file.starts[file.starts.len() - 1];
    if whole || rows == 0 {
        let mut bytes = Vec::new();
        for group in 0..file.starts.len() - 1 {
            bytes.extend_from_slice(&file.unpack(group, at, element)?);
        }
        let layout = Layout { element, shape: vec![rows], at: 0 };
        let data = layout.array(&file.name, &bytes)?.data.iter().copied().collect();
        return Ok(Column::Numbers { data, elem, spelling: None });
    }
    // The check of wide ints reads the whole column: it is made when the column is asked for.
    if matches!(element.kind, Kind::Int | Kind::Unsigned) && element.width == 8 {
        let (file, failure) = (file.clone(), failure.clone());
        let stored = move || file.stored(at, element, elem, complete, &failure);
        return Ok(Column::Unread(Arc::new(Unread::new(stored))));
    }
    file.stored(at, element, elem, complete, failure)
}

fn is_unsigned(descriptor: &ColumnDescriptor) -> bool {
    match descriptor.logical_type_ref() {
        Some(LogicalType::Integer(int)) => !int.is_signed,
        _ => matches!(
            descriptor.converted_type(),
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64
        ),
    }
}

/// An open file.
struct ParquetFile {
    name: String,
    reader: SerializedFileReader<bytes::Bytes>,
    /// The first row of every row group, and the number of rows.
    starts: Vec<usize>,
    room: usize,
    kept: Mutex<Kept>,
}

/// Row groups of columns that were unpacked last.
#[derive(Default)]
struct Kept {
    by_place: HashMap<(usize, usize), Arc<[u8]>>,
    /// In the order in which they came.
    order: VecDeque<(usize, usize)>,
    bytes: usize,
}

impl fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParquetFile({:?}, {} row groups)", self.name, self.starts.len() - 1)
    }
}

impl ParquetFile {
    /// Whether the statistics of column `at` say so for every row group.
    fn all_groups(&self, at: usize, holds: impl Fn(&Statistics) -> bool) -> bool {
        self.reader.metadata().row_groups().iter().all(|group| group.column(at).statistics().is_some_and(&holds))
    }
    fn stored(
        self: &Arc<Self>,
        at: usize,
        element: Element,
        elem: Elem,
        complete: bool,
        failure: &Failure,
    ) -> Result<Column, DataError> {
        let rows = self.starts[self.starts.len() - 1];
        let source = NumberColumn { file: self.clone(), at, element };
        let layout = Layout { element, shape: vec![rows], at: 0 };
        let stored = Stored::made(&self.name, layout, Box::new(source), failure.clone())?;
        Ok(Column::Stored { array: LazyArray::new(stored).with_elem(elem), complete })
    }
    /// All of the text column `at`.
    fn text(&self, at: usize) -> Result<Column, DataError> {
        let mut all: Vec<Option<Arc<str>>> = Vec::with_capacity(self.starts[self.starts.len() - 1]);
        let mut known: HashMap<Vec<u8>, Arc<str>> = HashMap::new();
        let mut wrong = None;
        for group in 0..self.starts.len() - 1 {
            let ColumnReader::ByteArrayColumnReader(reader) = self.pages(group, at)? else {
                return Err(self.changed());
            };
            self.read(reader, group, at, |value| {
                all.push(value.and_then(|bytes| {
                    let bytes = bytes.data();
                    if let Some(text) = known.get(bytes) {
                        return Some(text.clone());
                    }
                    let Ok(text) = std::str::from_utf8(bytes) else {
                        wrong = wrong.or(Some(all.len()));
                        return None;
                    };
                    let text: Arc<str> = text.into();
                    known.insert(bytes.to_vec(), text.clone());
                    Some(text)
                }));
            })?;
        }
        match wrong {
            Some(row) => {
                let message = format!("row {row} of column `{}` of `{}` is not UTF-8", self.title(at), self.name);
                Err(DataError::new(Code::E0904, message).help("write the column as text"))
            }
            None => Ok(Column::Text(all.into())),
        }
    }
    fn title(&self, at: usize) -> String {
        self.reader.metadata().file_metadata().schema_descr().column(at).path().string()
    }
    fn changed(&self) -> DataError {
        DataError::new(Code::E0902, format!("`{}` has columns of another type than its footer says", self.name))
    }
    fn pages(&self, group: usize, at: usize) -> Result<ColumnReader, DataError> {
        self.reader.get_row_group(group).and_then(|g| g.get_column_reader(at)).map_err(|e| self.failed(group, at, &e))
    }
    fn failed(&self, group: usize, at: usize, error: &ParquetError) -> DataError {
        let (from, to) = (self.starts[group], self.starts[group + 1]);
        let what = format!("column `{}` of `{}` cannot be read in rows {from}..{to}", self.title(at), self.name);
        DataError::new(Code::E0902, what).note(format!("the reader says: {error}"))
    }
    /// Calls `each` with every value of a row group in order, `None` for a null.
    fn read<T: DataType>(
        &self,
        mut reader: ColumnReaderImpl<T>,
        group: usize,
        at: usize,
        mut each: impl FnMut(Option<&T::T>),
    ) -> Result<(), DataError> {
        const SOME: usize = 1 << 14;
        let rows = self.starts[group + 1] - self.starts[group];
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let present = schema.column(at).max_def_level();
        let (mut values, mut levels, mut done) = (Vec::new(), Vec::new(), 0);
        while done < rows {
            values.clear();
            levels.clear();
            let (records, _, _) = reader
                .read_records(SOME.min(rows - done), Some(&mut levels), None, &mut values)
                .map_err(|e| self.failed(group, at, &e))?;
            if records == 0 {
                let ended = ParquetError::EOF(format!("{rows} rows were promised, and there are {done}"));
                return Err(self.failed(group, at, &ended));
            }
            if present == 0 {
                values.iter().for_each(|value| each(Some(value)));
            } else {
                let mut values = values.iter();
                levels.iter().for_each(|&level| each(if level == present { values.next() } else { None }));
            }
            done += records;
        }
        Ok(())
    }
    /// The numbers of a row group as `element`; a null is NaN, where the element has one.
    fn unpack(&self, group: usize, at: usize, element: Element) -> Result<Arc<[u8]>, DataError> {
        let mut out = Vec::with_capacity((self.starts[group + 1] - self.starts[group]) * element.width);
        let wide = (element.kind, element.width) == (Kind::Float, 8);
        let mut nulls = false;
        macro_rules! read {
            ($reader:expr, $number:expr, $bytes:expr) => {
                self.read($reader, group, at, |value| match value {
                    Some(&x) if wide => out.extend_from_slice(&f64::to_le_bytes($number(x))),
                    Some(&x) => out.extend_from_slice(&$bytes(x)),
                    None if wide => out.extend_from_slice(&f64::NAN.to_le_bytes()),
                    None if element.kind == Kind::Float => out.extend_from_slice(&f32::NAN.to_le_bytes()),
                    None => nulls = true,
                })?
            };
        }
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let unsigned = is_unsigned(&schema.column(at));
        match self.pages(group, at)? {
            ColumnReader::BoolColumnReader(r) => read!(r, |x| f64::from(u8::from(x)), |x| [u8::from(x)]),
            ColumnReader::Int32ColumnReader(r) if unsigned => read!(r, |x: i32| f64::from(x as u32), i32::to_le_bytes),
            ColumnReader::Int32ColumnReader(r) => read!(r, f64::from, i32::to_le_bytes),
            ColumnReader::Int64ColumnReader(r) if unsigned => read!(r, |x: i64| x as u64 as f64, i64::to_le_bytes),
            ColumnReader::Int64ColumnReader(r) => read!(r, |x: i64| x as f64, i64::to_le_bytes),
            ColumnReader::FloatColumnReader(r) => read!(r, f64::from, f32::to_le_bytes),
            ColumnReader::DoubleColumnReader(r) => read!(r, |x: f64| x, f64::to_le_bytes),
            _ => return Err(self.changed()),
        }
        if nulls || out.len() != (self.starts[group + 1] - self.starts[group]) * element.width {
            let wrong = ParquetError::General("there are nulls where the statistics say that there are none".into());
            return Err(self.failed(group, at, &wrong));
        }
        Ok(out.into())
    }
    fn kept(&self, place: (usize, usize)) -> Option<Arc<[u8]>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.by_place.get(&place).cloned()
    }
    fn keep(&self, place: (usize, usize), bytes: Arc<[u8]>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.len() > self.room || kept.by_place.contains_key(&place) {
            return;
        }
        while kept.bytes + bytes.len() > self.room {
            let Some(oldest) = kept.order.pop_front() else { break };
            kept.bytes -= kept.by_place.remove(&oldest).map_or(0, |bytes| bytes.len());
        }
        kept.bytes += bytes.len();
        kept.order.push_back(place);
        kept.by_place.insert(place, bytes);
    }
}

/// A column of numbers.
#[derive(Debug)]
struct NumberColumn {
    file: Arc<ParquetFile>,
    at: usize,
    element: Element,
}

impl RowSource for NumberColumn {
    /// Each row group that has some of `rows` is unpacked at most once, several at a time.
    fn fetch(&self, rows: &[usize], out: &mut [u8]) -> Result<(), DataError> {
        let (file, width) = (&self.file, self.element.width);
        let group_of = |row: usize| file.starts.partition_point(|&start| start <= row) - 1;
        let mut wanted: Vec<(usize, usize, usize)> =
            rows.iter().enumerate().map(|(to, &row)| (group_of(row), row, to)).collect();
        wanted.sort_unstable();
        let groups: Vec<&[(usize, usize, usize)]> = wanted.chunk_by(|a, b| a.0 == b.0).collect();
        for some in groups.chunks(threads::count().max(1)) {
            let mut some: Vec<_> = some.iter().map(|part| (part[0].0, *part, None)).collect();
            let unpacked = for_parts(&mut some, 1, |part| {
                part.iter_mut().try_for_each(|(group, _, bytes)| {
                    let place = (*group, self.at);
                    let found = match file.kept(place) {
                        Some(found) => found,
                        None => file.unpack(*group, self.at, self.element)?,
                    };
                    *bytes = Some(found);
                    Ok(())
                })
            });
            unpacked.into_iter().collect::<Result<(), DataError>>()?;
            for (group, part, bytes) in some {
                let bytes: Arc<[u8]> = bytes.expect("unpacked above");
                for &(_, row, to) in part {
                    let from = (row - file.starts[group]) * width;
                    out[to * width..(to + 1) * width].copy_from_slice(&bytes[from..from + width]);
                }
                file.keep((group, self.at), bytes);
            }
        }
        Ok(())
    }
    fn bytes(&self) -> usize {
        let all = self.file.starts[self.file.starts.len() - 1].saturating_mul(self.element.width);
        all.min(self.file.room)
    }
    fn bytes_on_disk(&self) -> usize {
        let groups = self.file.reader.metadata().row_groups();
        groups.iter().map(|g| usize::try_from(g.column(self.at).compressed_size()).unwrap_or(0)).sum()
    }
}
