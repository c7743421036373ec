//! Data given on the command line: `--data x=FILE[:KEY]` and `--data FILE.json`.

use super::error::DataError;
use super::files::{Files, Format};
use super::value::Value;
use crate::diag::Code;
use std::path::{Path, PathBuf};

/// One `--data` argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DataArgument {
    /// `x=FILE[:KEY]`: one datum.
    One {
        /// The datum.
        name: String,
        /// `FILE[:KEY]`; which colon separates the key is decided by the files that exist.
        place: String,
    },
    /// `FILE.json`: every datum that the file names.
    All(PathBuf),
}

/// A datum with the value that the command line gives.
#[derive(Clone, PartialEq, Debug)]
pub struct Given {
    /// The datum.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// The argument, for messages.
    pub from: String,
}

impl DataArgument {
    /// Reads the text after `--data`; the error says in words what is wrong with it.
    pub fn parse(text: &str) -> Result<DataArgument, String> {
        match text.split_once('=') {
            Some((name, place)) if is_name(name.trim()) && !place.is_empty() => {
                Ok(DataArgument::One { name: name.trim().to_string(), place: place.to_string() })
            }
            _ if Format::of_path(Path::new(text)) == Some(Format::Json) => Ok(DataArgument::All(PathBuf::from(text))),
            Some(_) => Err(format!("`--data {text}` must be NAME=FILE or NAME=FILE:KEY")),
            None => Err(format!("`--data {text}` must be NAME=FILE, NAME=FILE:KEY or FILE.json")),
        }
    }

    /// The data that the argument gives. Paths start from the working directory.
    ///
    /// A `FILE.json` gives every key of its object. A table without a key gives its only column, or all its columns as
    /// a matrix; an npz or safetensors file without a key gives its only array, or the one called `name`.
    pub fn read(&self, files: &mut Files) -> Result<Vec<Given>, DataError> {
        match self {
            DataArgument::All(path) => {
                let from = format!("`--data {}`", path.display());
                let Value::Record(record) = files.read(Format::Json, path)? else {
                    return Err(DataError::new(
                        Code::E0903,
                        format!("`{}` must be an object with one key for each datum", path.display()),
                    ));
                };
                let give = |(name, value): &(String, Result<Value, DataError>)| {
                    value.clone().map(|value| Given { name: name.clone(), value, from: from.clone() })
                };
                record.entries.iter().map(give).collect()
            }
            DataArgument::One { name, place } => {
                let (path, key) = split_key(place);
                let format = Format::of_path(&path).ok_or_else(|| unknown_format(&path))?;
                let value = files.read(format, &path)?;
                let value = pick(value, name, key.as_deref(), &path)?;
                Ok(vec![Given { name: name.clone(), value, from: format!("`--data {name}={place}`") }])
            }
        }
    }

    /// As [`DataArgument::read`], for values that stand where the expression of the program reads a file: a table of
    /// several columns without a key is given as a table, from which that expression takes what it needs.
    pub fn read_whole(&self, files: &mut Files) -> Result<Vec<Given>, DataError> {
        if let DataArgument::One { name, place } = self
            && let (path, None) = split_key(place)
            && let Some(format) = Format::of_path(&path)
            && let table @ Value::Table(_) = files.read(format, &path)?
        {
            let several = matches!(&table, Value::Table(t) if t.names().count() > 1);
            if several {
                return Ok(vec![Given { name: name.clone(), value: table, from: format!("`--data {name}={place}`") }]);
            }
        }
        self.read(files)
    }
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(|c| c.is_alphanumeric() || c == '_')
}

/// `FILE` and `KEY` of `FILE[:KEY]`; a file whose own name holds the colon comes first.
fn split_key(place: &str) -> (PathBuf, Option<String>) {
    let whole = PathBuf::from(place);
    match place.rsplit_once(':') {
        Some((path, key)) if !whole.exists() && !path.is_empty() && !key.is_empty() && !key.contains(['/', '\\']) => {
            (PathBuf::from(path), Some(key.to_string()))
        }
        _ => (whole, None),
    }
}

fn unknown_format(path: &Path) -> DataError {
    DataError::new(Code::E0911, format!("the name of `{}` does not tell a format that can be read", path.display()))
        .help(
            "use .csv, .tsv, .json, .npy, .npz, .idx or .safetensors, each also with .gz, or a pattern of .png images",
        )
}

/// The part of the content of a file that is meant.
fn pick(value: Value, name: &str, key: Option<&str>, path: &Path) -> Result<Value, DataError> {
    match (value, key) {
        (Value::Table(table), Some(key)) => table.column(key),
        (Value::Record(record), Some(key)) => record.get(key),
        (_, Some(key)) => {
            Err(DataError::new(Code::E0907, format!("`{}` holds one array and has no key `{key}`", path.display()))
                .help(format!("leave out `:{key}`")))
        }
        (Value::Table(table), None) => {
            let names: Vec<&str> = table.names().collect();
            match names.as_slice() {
                [only] => table.column(only),
                names if names.contains(&name) => table.column(name),
                names => table.matrix(names),
            }
        }
        (Value::Record(record), None) => match record.entries.as_slice() {
            [(only, _)] => record.get(only),
            _ => record.get(name),
        },
        (value, None) => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let one = |name: &str, place: &str| Ok(DataArgument::One { name: name.into(), place: place.into() });
        assert_eq!(DataArgument::parse("x=a.csv:col"), one("x", "a.csv:col"));
        assert_eq!(DataArgument::parse("d.json"), Ok(DataArgument::All("d.json".into())));
        assert_eq!(DataArgument::parse("run=3/d.json"), one("run", "3/d.json"));
        assert!(DataArgument::parse("a.csv").is_err());
        assert!(DataArgument::parse("=a.csv").is_err());
        assert!(DataArgument::parse("x=").is_err());
    }

    #[test]
    fn files_give_values() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let csv = file("t.csv", "a,b\n1,2\n3,4\n");
        let json = file("d.json", r#"{"x": [1, 2], "s": 3}"#);
        let read = |text: String| DataArgument::parse(&text).unwrap().read(&mut Files::new());
        let shape = |given: &Given| given.value.shape().unwrap().to_vec();
        assert_eq!(shape(&read(format!("x={csv}:b")).unwrap()[0]), [2]);
        assert_eq!(shape(&read(format!("x={csv}")).unwrap()[0]), [2, 2]);
        assert_eq!(shape(&read(format!("a={csv}")).unwrap()[0]), [2]);
        let all = read(json.clone()).unwrap();
        assert_eq!(all.iter().map(|g| g.name.as_str()).collect::<Vec<_>>(), ["x", "s"]);
        assert_eq!(shape(&read(format!("y={json}:x")).unwrap()[0]), [2]);
        assert_eq!(read(format!("x={csv}:c")).unwrap_err().code, Code::E0907);
        assert_eq!(read(format!("x={csv}.xlsx")).unwrap_err().code, Code::E0911);
        assert_eq!(read("x=none.csv".into()).unwrap_err().code, Code::E0901);
    }
}
