//! Reads JSON: an object of numbers and nested lists, as Stan takes its data.
//!
//! Lists of lists must be rectangular. `null` and the string `"NaN"` are missing, `"Inf"`, `"+Inf"`, `"-Inf"`,
//! `"Infinity"` and `"-Infinity"` are the infinities. Lists of strings are text, objects in objects are read by `.a.b`.

use super::error::DataError;
use super::value::{Array, Elem, MAX_EXACT_INT, Record, TextArray, Value, print_shape};
use crate::diag::Code;
use serde_json::Value as Json;
use std::sync::Arc;

/// The content of `bytes`; `name` is the file as messages show it.
///
/// Errors: text that is not JSON (with line and column). A ragged or mixed list is an error of its key, raised when
/// the key is asked for.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Value, DataError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let json: Json = serde_json::from_slice(bytes).map_err(|e| {
        let what = if e.is_eof() { "is truncated or empty" } else { "is not JSON" };
        DataError::new(Code::E0902, format!("`{name}` line {}, column {}: the text {what}", e.line(), e.column()))
            .note(format!("the JSON reader says: {e}"))
    })?;
    convert(name, "", &json)
}

/// `json` as a value; `key` is the path to it, for messages.
fn convert(name: &str, key: &str, json: &Json) -> Result<Value, DataError> {
    match json {
        Json::Object(map) => {
            let entries = map
                .iter()
                .map(|(k, v)| {
                    let path = if key.is_empty() { k.clone() } else { format!("{key}.{k}") };
                    (k.clone(), convert(name, &path, v))
                })
                .collect();
            Ok(Value::Record(Arc::new(Record { file: name.to_string(), entries })))
        }
        Json::String(text) if special(text).is_none() => Ok(Value::Str(text.clone())),
        _ => list(name, key, json),
    }
}

/// The numbers that Stan writes as strings.
fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" | "nan" => Some(f64::NAN),
        "Inf" | "+Inf" | "inf" | "+inf" | "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Inf" | "-inf" | "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// The leaves of a rectangular list, in order.
struct Leaves<'j> {
    shape: Vec<usize>,
    list: Vec<&'j Json>,
}

fn list(name: &str, key: &str, json: &Json) -> Result<Value, DataError> {
    let what = if key.is_empty() { format!("`{name}`") } else { format!("`{key}` of `{name}`") };
    let mut shape = Vec::new();
    let mut first = json;
    while let Json::Array(items) = first {
        shape.push(items.len());
        match items.first() {
            Some(item) => first = item,
            None => break,
        }
    }
    let mut leaves = Leaves { shape, list: Vec::new() };
    collect(&what, json, &mut Vec::new(), &mut leaves)?;
    let text = !leaves.list.is_empty()
        && leaves.list.iter().all(|j| matches!(j, Json::String(_) | Json::Null))
        && leaves.list.iter().any(|j| matches!(j, Json::String(s) if special(s).is_none()));
    if text {
        let data: Vec<Option<Arc<str>>> = leaves.list.iter().map(|j| j.as_str().map(Arc::from)).collect();
        let data = ndarray::ArcArray::from_shape_vec(ndarray::IxDyn(&leaves.shape), data)
            .map_err(|e| DataError::new(Code::E0902, format!("{what} is too large: {e}")))?;
        return Ok(Value::Text(TextArray { data, origin: None }));
    }
    let all_bool = !leaves.list.is_empty() && leaves.list.iter().all(|j| matches!(j, Json::Bool(_)));
    let all_int = !leaves.list.is_empty()
        && leaves.list.iter().all(|j| j.is_i64() || j.is_u64() || j.is_null())
        && !leaves.list.iter().all(|j| j.is_null());
    let mut values = Vec::with_capacity(leaves.list.len());
    for (i, leaf) in leaves.list.iter().enumerate() {
        let place = || {
            let index = super::value::unflatten(&leaves.shape, i);
            if index.is_empty() { what.clone() } else { format!("element {} of {what}", print_shape(&index)) }
        };
        let value = match leaf {
            Json::Bool(b) if all_bool => f64::from(u8::from(*b)),
            Json::Null => f64::NAN,
            Json::Number(n) => n.as_f64().unwrap_or(f64::NAN),
            Json::String(s) if special(s).is_some() => special(s).unwrap_or(f64::NAN),
            other => {
                return Err(DataError::new(Code::E0904, format!("{} is {}, among numbers", place(), kind(other))));
            }
        };
        if all_int && value.abs() >= MAX_EXACT_INT {
            return Err(DataError::new(
                Code::E0904,
                format!("{} is an integer too large to be exact: {leaf}", place()),
            ));
        }
        values.push(value);
    }
    let elem = if all_bool {
        Elem::Bool
    } else if all_int {
        Elem::Int
    } else {
        Elem::Real
    };
    Array::from_shape(&leaves.shape, values, elem)
        .map(Value::Array)
        .ok_or_else(|| DataError::new(Code::E0902, format!("{what} is too large")))
}

/// Appends the leaves of `json` at `index`, and checks that they lie in the shape.
fn collect<'j>(what: &str, json: &'j Json, index: &mut Vec<usize>, leaves: &mut Leaves<'j>) -> Result<(), DataError> {
    let depth = index.len();
    let at =
        |index: &[usize]| if index.is_empty() { what.to_string() } else { format!("{what} at {}", print_shape(index)) };
    match (json, leaves.shape.get(depth).copied()) {
        (Json::Array(items), Some(n)) if items.len() == n => {
            for (i, item) in items.iter().enumerate() {
                index.push(i);
                collect(what, item, index, leaves)?;
                index.pop();
            }
            Ok(())
        }
        (Json::Array(items), Some(n)) => Err(DataError::new(
            Code::E0903,
            format!("{} has {} elements, but the lists before it have {n}", at(index), items.len()),
        )
        .help("a nested list must be rectangular")),
        (Json::Array(_), None) => {
            Err(DataError::new(Code::E0903, format!("{} is a list where the elements before it are not", at(index))))
        }
        (_, Some(_)) => Err(DataError::new(
            Code::E0903,
            format!("{} is {} where the elements before it are lists", at(index), kind(json)),
        )),
        (Json::Object(_), None) => {
            Err(DataError::new(Code::E0904, format!("{} is an object, and lists hold numbers", at(index))))
        }
        (leaf, None) => {
            leaves.list.push(leaf);
            Ok(())
        }
    }
}

fn kind(json: &Json) -> String {
    match json {
        Json::Null => "null".into(),
        Json::Bool(_) => "a truth value".into(),
        Json::Number(n) => format!("the number {n}"),
        Json::String(s) => format!("the text `{s}`"),
        Json::Array(_) => "a list".into(),
        Json::Object(_) => "an object".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(text: &str) -> Arc<Record> {
        match parse("d.json", text.as_bytes()) {
            Ok(Value::Record(r)) => r,
            other => panic!("{other:?}"),
        }
    }
    fn array(text: &str, key: &str) -> Array {
        match record(text).get(key) {
            Ok(Value::Array(a)) => a,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_lists_and_text() {
        let text = r#"{"J": 8, "y": [1, 2.5], "m": [[1, 2, 3], [4, 5, 6]], "s": ["a", null], "b": [true, false],
                       "e": [], "inf": [1, "-Inf", "NaN"], "o": {"k": 3}}"#;
        assert_eq!((array(text, "J").as_scalar(), array(text, "J").elem), (Some(8.0), Elem::Int));
        assert_eq!(array(text, "y").elem, Elem::Real);
        assert_eq!((array(text, "m").shape(), array(text, "m").elem), ([2, 3].as_slice(), Elem::Int));
        assert_eq!(array(text, "m").data[[1, 0].as_slice()], 4.0);
        assert_eq!(array(text, "b").elem, Elem::Bool);
        assert_eq!(array(text, "e").shape(), [0]);
        let inf = array(text, "inf");
        assert!(inf.data[[1].as_slice()] == f64::NEG_INFINITY && inf.data[[2].as_slice()].is_nan());
        assert!(matches!(record(text).get("s"), Ok(Value::Text(t)) if t.shape() == [2]));
        let Ok(Value::Record(inner)) = record(text).get("o") else { panic!() };
        assert!(inner.get("k").is_ok());
    }

    #[test]
    fn ragged_and_mixed_lists_name_their_place() {
        let text = r#"{"r": [[1, 2], [3]], "d": [1, [2]], "x": [1, "a"], "big": 9007199254740993, "ok": 1}"#;
        let message = |key: &str| record(text).get(key).unwrap_err().message;
        assert_eq!(message("r"), "`r` of `d.json` at [1] has 1 elements, but the lists before it have 2");
        assert!(message("d").contains("at [1] is a list"));
        assert_eq!(message("x"), "element [1] of `x` of `d.json` is the text `a`, among numbers");
        assert!(message("big").contains("too large to be exact"));
        assert!(record(text).get("ok").is_ok());
        assert_eq!(record(text).get("okk").unwrap_err().code, Code::E0907);
    }

    #[test]
    fn broken_text_names_line_and_column() {
        let error = parse("d.json", b"{\"a\": [1,\n 2").unwrap_err();
        assert!(error.message.starts_with("`d.json` line 2, column 2: the text is truncated"), "{}", error.message);
        assert!(parse("d.json", b"").unwrap_err().message.contains("truncated or empty"));
        assert!(parse("d.json", b"{a: 1}").unwrap_err().message.contains("not JSON"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse("f", &bytes);
        }
        #[test]
        fn never_panics_on_json(text in r#"[\[\]{}",:0-9anul-]{0,60}"#) {
            let _ = parse("f", text.as_bytes());
        }
    }
}
