//! Reads comma- and tab-separated text with a header row.
//!
//! A column is int, real, bool (`true false TRUE FALSE True False`) or text, whichever holds all of its cells; empty,
//! `NA`, `NaN` and `null` are missing. Integers that f64 cannot hold exactly make a column text, so that no label is lost.

use super::error::DataError;
use super::value::{Column, Elem, MAX_EXACT_INT, Table, Value};
use crate::diag::Code;
use ::csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A column keeps the unusual spellings of at most this many numbers; one with more holds no labels.
const MAX_SPELLINGS: usize = 65_536;

/// The separator that the extension of `path` tells (`.gz` aside): a tab for `.tsv` and `.tab`, else a comma.
pub fn separator(path: &Path) -> u8 {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    if name.ends_with(".tsv") || name.ends_with(".tab") { b'\t' } else { b',' }
}

/// The table in `bytes`; `name` is the file as messages show it.
///
/// Errors: no header, two columns of one name, a row with too few or too many cells, text that is not UTF-8.
pub fn parse(name: &str, bytes: &[u8], separator: u8) -> Result<Value, DataError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader =
        ReaderBuilder::new().has_headers(false).delimiter(separator).trim(Trim::All).flexible(true).from_reader(bytes);
    let mut records = Vec::new();
    let mut lines = Vec::new();
    let mut record = StringRecord::new();
    let mut width = 0;
    loop {
        let more = reader.read_record(&mut record).map_err(|e| broken(name, &e))?;
        if !more {
            break;
        }
        let line = record.position().map_or(0, |p| p.line());
        if records.is_empty() {
            width = record.len();
        } else if record.len() != width {
            return Err(DataError::new(
                Code::E0902,
                format!("`{name}` line {line} has {} cells, but the header has {width}", record.len()),
            ));
        }
        records.push(record.clone());
        lines.push(u32::try_from(line).unwrap_or(u32::MAX));
    }
    let Some((header, rows)) = records.split_first() else {
        return Err(DataError::new(Code::E0902, format!("`{name}` is empty, but a table begins with a header row")));
    };
    let mut columns: Vec<(String, Column)> = Vec::with_capacity(width);
    let mut seen = std::collections::HashSet::new();
    for (j, title) in header.iter().enumerate() {
        if !seen.insert(title) {
            return Err(DataError::new(Code::E0902, format!("`{name}` has two columns called `{title}`"))
                .help("give them distinct names in the header row"));
        }
        columns.push((title.to_string(), column(rows.iter().map(|r| r.get(j).unwrap_or_default()))));
    }
    let lines: Arc<[u32]> = lines[1..].into();
    Ok(Value::Table(Arc::new(Table { file: name.to_string(), columns, rows: lines.len(), lines })))
}

/// The message for a file that the csv crate cannot read.
fn broken(name: &str, error: &::csv::Error) -> DataError {
    let line = error.position().map_or(String::new(), |p| format!(" line {}", p.line()));
    match error.kind() {
        ErrorKind::Utf8 { err, .. } => {
            DataError::new(Code::E0902, format!("`{name}`{line}, column {}: the text is not UTF-8", err.field() + 1))
                .help("save the file as UTF-8")
        }
        _ => DataError::new(Code::E0902, format!("cannot read `{name}`{line}: {error}")),
    }
}

/// Whether a cell says that there is no value.
pub(crate) fn is_missing(cell: &str) -> bool {
    matches!(cell, "" | "NA" | "NaN" | "nan" | "NAN" | "null" | "NULL" | "Null")
}

fn truth(cell: &str) -> Option<f64> {
    match cell {
        "true" | "TRUE" | "True" => Some(1.0),
        "false" | "FALSE" | "False" => Some(0.0),
        _ => None,
    }
}

/// An integer that f64 holds exactly.
fn exact_int(cell: &str) -> Option<f64> {
    let value = cell.parse::<i64>().ok()? as f64;
    (value.abs() < MAX_EXACT_INT).then_some(value)
}

/// A real number; an integer too long for f64 is none.
fn real(cell: &str) -> Option<f64> {
    let digits = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    if digits.bytes().all(|b| b.is_ascii_digit()) && exact_int(cell).is_none() {
        return None;
    }
    cell.parse().ok()
}

/// The column that the cells make.
fn column<'a>(cells: impl Iterator<Item = &'a str> + Clone) -> Column {
    let present = || cells.clone().filter(|c| !is_missing(c));
    let read = |number: fn(&str) -> Option<f64>, elem| {
        let data: Option<Arc<[f64]>> =
            cells.clone().map(|c| if is_missing(c) { Some(f64::NAN) } else { number(c) }).collect();
        data.map(|data| Column::Numbers { data, elem, spelling: spelling(present(), number) })
    };
    let by_first = match present().next() {
        None => read(real, Elem::Real),
        Some(c) if truth(c).is_some() => read(truth, Elem::Bool),
        Some(_) => read(exact_int, Elem::Int).or_else(|| read(real, Elem::Real)),
    };
    by_first.unwrap_or_else(|| Column::Text(cells.map(|c| (!is_missing(c)).then(|| c.into())).collect()))
}

/// The numbers that the file spells otherwise than they print, with their first spelling.
fn spelling<'a>(
    cells: impl Iterator<Item = &'a str>,
    number: fn(&str) -> Option<f64>,
) -> Option<Arc<BTreeMap<u64, String>>> {
    let mut map = BTreeMap::new();
    for cell in cells {
        let Some(value) = number(cell) else { continue };
        if value.to_string() != cell {
            map.entry(value.to_bits()).or_insert_with(|| cell.to_string());
            if map.len() > MAX_SPELLINGS {
                return None;
            }
        }
    }
    (!map.is_empty()).then(|| Arc::new(map))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(text: &str) -> Arc<Table> {
        match parse("t.csv", text.as_bytes(), b',') {
            Ok(Value::Table(t)) => t,
            other => panic!("{other:?}"),
        }
    }
    fn elem(table: &Table, name: &str) -> Option<Elem> {
        match table.find(name).unwrap() {
            Column::Numbers { elem, .. } => Some(*elem),
            _ => None,
        }
    }

    #[test]
    fn columns_get_their_types() {
        let t = table("i,r,b,t,m,big\n1,1,TRUE,a,NA,9007199254740993\n-2,.5,false,1,3,1\n");
        assert_eq!(elem(&t, "i"), Some(Elem::Int));
        assert_eq!(elem(&t, "r"), Some(Elem::Real));
        assert_eq!(elem(&t, "b"), Some(Elem::Bool));
        assert_eq!(elem(&t, "t"), None);
        assert_eq!(elem(&t, "m"), Some(Elem::Int));
        assert_eq!(elem(&t, "big"), None);
        assert_eq!(t.lines.as_ref(), [2, 3]);
        let Value::Array(r) = t.column("r").unwrap() else { panic!() };
        assert_eq!(r.data.as_slice().unwrap(), [1.0, 0.5]);
    }

    #[test]
    fn every_word_for_missing() {
        let t = table("x\n1\nNA\nNaN\nnull\n\"\"\n2\n");
        let Column::Numbers { data, elem, .. } = t.find("x").unwrap() else { panic!() };
        assert_eq!(*elem, Elem::Int);
        assert_eq!(data.iter().filter(|v| v.is_nan()).count(), 4);
        let error = t.column("x").unwrap_err();
        assert_eq!(error.code, Code::E0906);
        assert!(error.message.contains("row 1 (line 3)"), "{}", error.message);
        assert!(error.help.unwrap().contains("drop_missing"));
        assert_eq!(t.drop_missing(&[]).unwrap().n_rows(), 2);
    }

    #[test]
    fn labels_keep_their_spelling() {
        let t = table("id\n007\n8\n1e2\n");
        let Value::Array(a) = t.column("id").unwrap() else { panic!() };
        assert_eq!((a.label(7.0), a.label(8.0), a.label(100.0)), ("007".into(), "8".into(), "1e2".into()));
    }

    #[test]
    fn quotes_tabs_byte_order_marks_and_carriage_returns() {
        let t = table("\u{feff}a,\"b c\"\r\n1,\"x, y\"\r\n");
        assert_eq!(t.names().collect::<Vec<_>>(), ["a", "b c"]);
        let Ok(Value::Table(t)) = parse("t.tsv", b"a\tb\n1\t2\n", separator(Path::new("t.TSV.gz"))) else { panic!() };
        assert_eq!(t.columns.len(), 2);
    }

    #[test]
    fn ill_shaped_files_are_refused_with_their_line() {
        let error = |bytes: &[u8]| parse("t.csv", bytes, b',').unwrap_err();
        assert!(error(b"").message.contains("empty"));
        assert_eq!(error(b"a,b\n1,2\n3\n").message, "`t.csv` line 3 has 1 cells, but the header has 2");
        assert!(error(b"a,a\n1,2\n").message.contains("two columns called `a`"));
        assert!(error(b"a\n\xff\n").message.contains("line 2"));
        assert_eq!(table("a\n").n_rows(), 0);
    }

    #[test]
    fn a_misspelt_column_gets_the_nearest_name() {
        let error = table("species,year\nA,1\n").column("specie").unwrap_err();
        assert_eq!(error.code, Code::E0907);
        assert!(error.help.unwrap().contains("`species`"));
    }

    #[test]
    fn the_penguins_of_the_examples() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/penguins.csv");
        let Ok(Value::Table(t)) = parse("penguins.csv", &std::fs::read(path).unwrap(), b',') else { panic!() };
        assert_eq!((t.n_rows(), t.columns.len()), (344, 8));
        assert_eq!(t.drop_missing(&["bill_length_mm", "bill_depth_mm"]).unwrap().n_rows(), 342);
        assert_eq!(t.drop_missing(&[]).unwrap().n_rows(), 333);
        assert_eq!(elem(&t, "sex"), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse("t.csv", &bytes, b',');
        }
        #[test]
        fn never_panics_on_text(text in "[a-z0-9,\"\n\r.NA-]{0,80}") {
            let _ = parse("t.csv", text.as_bytes(), b',');
        }
    }
}
