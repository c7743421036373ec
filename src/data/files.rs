//! Opens files, each once: reads the bytes, unpacks gzip, picks the reader, remembers the result.

use super::error::DataError;
use super::fingerprint::Fingerprint;
use super::value::Value;
use super::{csv, idx, json, npy, npz, safetensors};
use crate::diag::Code;
use crate::nearest::nearest;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The file formats that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// Comma- or tab-separated text with a header row.
    Csv,
    /// JSON: an object of numbers and nested lists.
    Json,
    /// One NumPy array.
    Npy,
    /// Several NumPy arrays in a zip file.
    Npz,
    /// The format of MNIST.
    Idx,
    /// Tensors by name.
    Safetensors,
}

impl Format {
    /// The format that the function `name` of a program reads.
    pub fn of_function(name: &str) -> Option<Format> {
        Some(match name {
            "csv" => Format::Csv,
            "json" => Format::Json,
            "npy" => Format::Npy,
            "npz" => Format::Npz,
            "idx" => Format::Idx,
            "safetensors" => Format::Safetensors,
            _ => return None,
        })
    }
    /// The format that the name of a file tells, `.gz` aside: by its extension, or as the MNIST files are named.
    pub fn of_path(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        Some(match name.rsplit_once('.').map(|(_, e)| e) {
            Some("csv" | "tsv" | "tab") => Format::Csv,
            Some("json") => Format::Json,
            Some("npy") => Format::Npy,
            Some("npz") => Format::Npz,
            Some("idx") => Format::Idx,
            Some("safetensors") => Format::Safetensors,
            _ if name.ends_with("byte") && name.contains("idx") => Format::Idx,
            _ => return None,
        })
    }
}

/// The files of a session. Each is read and parsed once.
#[derive(Default, Debug)]
pub struct Files {
    cache: HashMap<(PathBuf, Format), Result<Value, DataError>>,
    fingerprints: BTreeMap<PathBuf, Fingerprint>,
}

impl Files {
    /// No file read yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// The content of the file at `path`; errors name the file as `path` is written.
    pub fn read(&mut self, format: Format, path: &Path) -> Result<Value, DataError> {
        let key = (path.to_path_buf(), format);
        if let Some(known) = self.cache.get(&key) {
            return known.clone();
        }
        let value = self.load(format, path);
        self.cache.insert(key, value.clone());
        value
    }
    /// The fingerprints of all files read so far, by path.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.fingerprints.values().cloned().collect()
    }

    fn load(&mut self, format: Format, path: &Path) -> Result<Value, DataError> {
        let name = path.display().to_string();
        let bytes = open(path)?;
        self.fingerprints.insert(path.to_path_buf(), Fingerprint::of(name.clone(), &bytes));
        let bytes = unpack(&name, bytes)?;
        match format {
            Format::Csv => csv::parse(&name, &bytes, csv::separator(path)),
            Format::Json => json::parse(&name, &bytes),
            Format::Npy => npy::parse(&name, &bytes),
            Format::Npz => npz::parse(&name, &bytes),
            Format::Idx => idx::parse(&name, &bytes),
            Format::Safetensors => safetensors::parse(&name, &bytes),
        }
    }
}

/// The bytes of the file at `path`.
fn open(path: &Path) -> Result<Vec<u8>, DataError> {
    let name = path.display();
    if path.is_dir() {
        return Err(DataError::new(Code::E0902, format!("`{name}` is a folder, not a file")));
    }
    std::fs::read(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => not_found(path),
        std::io::ErrorKind::PermissionDenied => DataError::new(Code::E0902, format!("no permission to read `{name}`")),
        _ => DataError::new(Code::E0902, format!("cannot read `{name}`: {e}")),
    })
}

/// The error for a missing file, with the file that was probably meant.
fn not_found(path: &Path) -> DataError {
    let error = DataError::new(Code::E0901, format!("there is no file `{}`", path.display()));
    let twin = match path.to_str().and_then(|p| p.strip_suffix(".gz")) {
        Some(plain) => PathBuf::from(plain),
        None => {
            let mut packed = path.as_os_str().to_os_string();
            packed.push(".gz");
            PathBuf::from(packed)
        }
    };
    if twin.is_file() {
        return error.help(format!("`{}` is there: name that one", twin.display()));
    }
    let folder = match path.parent() {
        Some(p) if p.as_os_str().is_empty() => Path::new("."),
        Some(p) => p,
        None => return error,
    };
    let Ok(entries) = std::fs::read_dir(folder) else {
        return error.help(format!("there is no folder `{}` either", folder.display()));
    };
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    let wanted = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    match nearest(wanted, names.iter().map(String::as_str)) {
        Some(near) => error.help(format!("a file `{near}` is in that folder")),
        None => error.note("paths in a program start from the folder of its file"),
    }
}

/// `bytes`, unpacked if they are gzip.
fn unpack(name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, DataError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        if name.ends_with(".gz") {
            let found = if bytes.is_empty() { "it is empty" } else { "it does not begin like a gzip file" };
            return Err(DataError::new(Code::E0902, format!("`{name}` cannot be unpacked: {found}")));
        }
        return Ok(bytes);
    }
    let mut out = Vec::new();
    match flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut out) {
        Ok(_) => Ok(out),
        Err(e) => Err(DataError::new(
            Code::E0902,
            format!("`{name}` cannot be unpacked: it is truncated or damaged after {} unpacked bytes", out.len()),
        )
        .note(format!("gzip says: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gz(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn reads_a_file_once_and_takes_its_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, "a\n1\n").unwrap();
        let mut files = Files::new();
        let first = files.read(Format::Csv, &path).unwrap();
        std::fs::write(&path, "a\n2\n").unwrap();
        assert_eq!(files.read(Format::Csv, &path).unwrap(), first);
        assert_eq!(files.fingerprints().len(), 1);
        assert_eq!(files.fingerprints()[0].sha256, crate::data::fingerprint::sha256(b"a\n1\n"));
    }

    #[test]
    fn gzip_is_unpacked_and_a_truncated_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv.gz");
        let packed = gz(b"a\n1\n2\n");
        std::fs::write(&path, &packed).unwrap();
        let Value::Table(table) = Files::new().read(Format::Csv, &path).unwrap() else { panic!() };
        assert_eq!(table.n_rows(), 2);
        std::fs::write(&path, &packed[..packed.len() - 6]).unwrap();
        let error = Files::new().read(Format::Csv, &path).unwrap_err();
        assert_eq!(error.code, Code::E0902);
        assert!(error.message.contains("truncated"), "{}", error.message);
        std::fs::write(&path, "a\n1\n").unwrap();
        assert_eq!(Files::new().read(Format::Csv, &path).unwrap_err().code, Code::E0902);
    }

    #[test]
    fn a_missing_file_names_its_packed_twin_or_its_neighbour() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("images.gz"), gz(b"x")).unwrap();
        std::fs::write(folder.path().join("radon.csv"), "a\n1\n").unwrap();
        let help = |name: &str| {
            let error = Files::new().read(Format::Csv, &folder.path().join(name)).unwrap_err();
            assert_eq!(error.code, Code::E0901);
            error.help.unwrap_or_default()
        };
        assert!(help("images").contains("images.gz"));
        assert!(help("radon.csv.gz").contains("radon.csv`"));
        assert!(help("radno.csv").contains("radon.csv"));
        assert!(help("none/radon.csv").contains("no folder"));
        let error = Files::new().read(Format::Csv, folder.path()).unwrap_err();
        assert!(error.message.contains("folder"));
    }

    #[test]
    fn formats_by_name() {
        let of = |p: &str| Format::of_path(Path::new(p));
        assert_eq!(of("a/b.CSV"), Some(Format::Csv));
        assert_eq!(of("b.tsv.gz"), Some(Format::Csv));
        assert_eq!(of("train-images-idx3-ubyte.gz"), Some(Format::Idx));
        assert_eq!(of("b.npz"), Some(Format::Npz));
        assert_eq!(of("b.xlsx"), None);
    }
}
