//! Opens files, each once: reads or maps the bytes, unpacks gzip, picks the reader, remembers the result.
//!
//! Large arrays of npy and idx files stay where they are: in the file, which is mapped, or
//! in the unpacked bytes. Images are one array of all files that match a pattern. Everything else is read and becomes
//! arrays at once.

use super::error::DataError;
use super::fingerprint::{Fingerprint, Fingerprints, Hasher};
use super::lazy::LazyArray;
use super::stored::{Bytes, Failure, Layout, Stored};
use super::value::Value;
use super::{csv, idx, json, npy, npz, safetensors};
use crate::diag::Code;
use crate::kernels::threads;
use crate::nearest::nearest;
use map::FileMap;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub mod images;
pub mod map;
pub mod pattern;

/// Arrays of at least this many bytes stay in their files: smaller ones cost less as a whole.
const LAZY_FROM: usize = 1 << 20;

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
    /// PNG images: the path is a pattern of their names.
    Images,
    /// Columns by row groups. Built only with the feature `parquet`.
    Parquet,
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
            "images" => Format::Images,
            "parquet" => Format::Parquet,
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
            Some("png" | "jpg" | "jpeg") => Format::Images,
            Some("parquet") => Format::Parquet,
            _ if name.ends_with("byte") && name.contains("idx") => Format::Idx,
            _ => return None,
        })
    }
}

/// The files of a session. Each is read and parsed once.
#[derive(Debug)]
pub struct Files {
    /// Arrays of npy and idx files with at least this many bytes stay where they are.
    lazy_from: usize,
    /// Bytes of unpacked images that are kept in memory.
    images_in_memory: usize,
    /// Bytes of unpacked row groups that are kept in memory for a Parquet file.
    #[cfg(feature = "parquet")]
    parquet_in_memory: usize,
    cache: HashMap<(PathBuf, Format), Result<Value, DataError>>,
    fingerprints: Fingerprints,
    failure: Failure,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            lazy_from: LAZY_FROM,
            images_in_memory: images::IN_MEMORY,
            #[cfg(feature = "parquet")]
            parquet_in_memory: super::parquet::ROOM,
            cache: HashMap::new(),
            fingerprints: Fingerprints::default(),
            failure: Failure::default(),
        }
    }
}

impl Files {
    /// No file read yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// The same, with arrays of npy and idx files left in their files if these have `bytes` bytes or more. Results and
    /// messages do not depend on it.
    pub fn lazy_from(self, bytes: usize) -> Self {
        Self { lazy_from: bytes, ..self }
    }
    /// The same, with at most `bytes` bytes of unpacked images in memory; results do not depend on it.
    pub fn images_in_memory(self, bytes: usize) -> Self {
        Self { images_in_memory: bytes, ..self }
    }
    /// The same, with at most `bytes` bytes of unpacked row groups in memory; results do not depend on it.
    #[cfg(feature = "parquet")]
    pub fn parquet_in_memory(self, bytes: usize) -> Self {
        Self { parquet_in_memory: bytes, ..self }
    }
    /// Where it is told that a row of an array could not be read after its file was opened.
    pub fn failure(&self) -> &Failure {
        &self.failure
    }
    /// The images whose files match `text`, a pattern that starts from the folder `base`.
    pub fn images(&mut self, base: &Path, text: &str) -> Result<Value, DataError> {
        let path = base.join(text);
        let key = (path.clone(), Format::Images);
        if let Some(known) = self.cache.get(&key) {
            return known.clone();
        }
        let found = images::open(base, text, self.images_in_memory, self.failure.clone());
        let value = found.map(|images::Images { array, paths }| {
            let name = path.display().to_string();
            self.fingerprints.insert_later(path, move || images::fingerprint(name, &paths));
            Value::Lazy(array)
        });
        self.cache.insert(key, value.clone());
        value
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
    /// The fingerprints of all files read so far, those of mapped files as soon as they are known.
    pub fn fingerprints(&self) -> Fingerprints {
        self.fingerprints.clone()
    }

    #[cfg(feature = "parquet")]
    fn parquet(&mut self, path: &Path) -> Result<Value, DataError> {
        let name = path.display().to_string();
        let bytes = self.bytes(path, 1)?;
        super::parquet::open(&name, bytes, self.lazy_from, self.parquet_in_memory, &self.failure)
    }
    #[cfg(not(feature = "parquet"))]
    fn parquet(&mut self, path: &Path) -> Result<Value, DataError> {
        open_file(path)?;
        let message = format!("`{}` cannot be read: this bayesc was built without Parquet", path.display());
        let help = "build it with `cargo build --release --features parquet`, or convert the data to csv, npy or npz";
        Err(DataError::new(Code::E0911, message).help(help))
    }

    /// The bytes of the file at `path`, from `map_from` bytes on where they lie; takes the fingerprint.
    fn bytes(&mut self, path: &Path, map_from: usize) -> Result<Bytes, DataError> {
        let name = path.display().to_string();
        Ok(match open(path, map_from)? {
            Opened::Read(bytes) => {
                self.fingerprints.insert(path.to_path_buf(), Fingerprint::of(name, &bytes));
                Bytes::Owned(bytes)
            }
            Opened::Mapped(map, file) => {
                self.fingerprints.insert_later(path.to_path_buf(), move || hash(name, file));
                Bytes::Map(map)
            }
        })
    }

    fn load(&mut self, format: Format, path: &Path) -> Result<Value, DataError> {
        let name = path.display().to_string();
        if format == Format::Images {
            return self.images(Path::new(""), &name);
        }
        if format == Format::Parquet {
            return self.parquet(path);
        }
        let can_stay = matches!(format, Format::Npy | Format::Idx);
        let bytes = self.bytes(path, if can_stay { self.lazy_from.max(1) } else { usize::MAX })?;
        let bytes = unpack(&name, bytes)?;
        let layout = match format {
            Format::Npy => npy::layout(&name, &bytes)?,
            Format::Idx => Some(idx::layout(&name, &bytes)?),
            _ => None,
        };
        if let Some(layout) = layout
            && bytes.len() >= self.lazy_from
        {
            return stay(&name, layout, bytes);
        }
        match format {
            Format::Csv => csv::parse(&name, &bytes, csv::separator(path)),
            Format::Json => json::parse(&name, &bytes),
            Format::Npy => npy::parse(&name, &bytes),
            Format::Npz => npz::parse(&name, &bytes),
            Format::Idx => idx::parse(&name, &bytes),
            Format::Safetensors => safetensors::parse(&name, &bytes),
            Format::Images | Format::Parquet => unreachable!("opened above"),
        }
    }
}

/// Calls `work` with consecutive parts of `items`, of `fewest` items at least, on as many threads as kernels use; the
/// results are in the order of the parts.
pub(super) fn for_parts<T: Send, R: Send>(
    items: &mut [T],
    fewest: usize,
    work: impl Fn(&mut [T]) -> R + Sync,
) -> Vec<R> {
    let parts = threads::count().min(items.len() / fewest.max(1)).max(1);
    if parts == 1 {
        return vec![work(items)];
    }
    std::thread::scope(|scope| {
        let (mut rest, work) = (items, &work);
        let mut begun = Vec::with_capacity(parts);
        for part in 0..parts {
            let (head, tail) = rest.split_at_mut(rest.len() / (parts - part));
            rest = tail;
            begun.push(scope.spawn(move || work(head)));
        }
        begun.into_iter().map(|thread| thread.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).collect()
    })
}

/// A file that was opened.
enum Opened {
    /// Its content.
    Read(Vec<u8>),
    /// Its content where it lies, and the file, to be read once more for its fingerprint.
    Mapped(FileMap, File),
}

/// The bytes of the file at `path`: mapped where it has at least `map_from` bytes.
fn open(path: &Path, map_from: usize) -> Result<Opened, DataError> {
    let failed = |e: std::io::Error| unreadable(path, &e);
    let mut file = open_file(path)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_file() && about.len() >= map_from as u64 {
        // What cannot be mapped, on some network folders, is read.
        if let Ok(map) = FileMap::new(&file) {
            return Ok(Opened::Mapped(map, file));
        }
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(Opened::Read(bytes))
}

/// The file at `path`, which is no folder.
fn open_file(path: &Path) -> Result<File, DataError> {
    if path.is_dir() {
        return Err(DataError::new(Code::E0902, format!("`{}` is a folder, not a file", path.display())));
    }
    File::open(path).map_err(|e| unreadable(path, &e))
}

fn unreadable(path: &Path, error: &std::io::Error) -> DataError {
    let name = path.display();
    match error.kind() {
        std::io::ErrorKind::NotFound => not_found(path),
        std::io::ErrorKind::PermissionDenied => DataError::new(Code::E0902, format!("no permission to read `{name}`")),
        _ => DataError::new(Code::E0902, format!("cannot read `{name}`: {error}")),
    }
}

/// The array of a file, left where it is; one without rows is read.
fn stay(name: &str, layout: Layout, bytes: Bytes) -> Result<Value, DataError> {
    if layout.shape.is_empty() || layout.count() == 0 {
        return layout.array(name, &bytes).map(Value::Array);
    }
    Ok(Value::Lazy(LazyArray::new(Stored::new(name, layout, bytes)?)))
}

/// The fingerprint of an open file, which is read from its beginning.
fn hash(name: String, mut file: File) -> Fingerprint {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 18];
    // A file that can be mapped but not read has the fingerprint of what could be read.
    while let Ok(n @ 1..) = file.read(&mut buffer) {
        hasher.add(&buffer[..n]);
    }
    hasher.fingerprint(name)
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
fn unpack(name: &str, bytes: Bytes) -> Result<Bytes, DataError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        if name.ends_with(".gz") {
            let found = if bytes.is_empty() { "it is empty" } else { "it does not begin like a gzip file" };
            return Err(DataError::new(Code::E0902, format!("`{name}` cannot be unpacked: {found}")));
        }
        return Ok(bytes);
    }
    let mut out = Vec::new();
    match flate2::read::MultiGzDecoder::new(&*bytes).read_to_end(&mut out) {
        Ok(_) => Ok(Bytes::Owned(out)),
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
        let all = files.fingerprints().list();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].sha256, crate::data::fingerprint::sha256(b"a\n1\n"));
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

    #[cfg(not(feature = "parquet"))]
    #[test]
    fn parquet_says_how_to_build_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        assert_eq!(Files::new().read(Format::Parquet, &path).unwrap_err().code, Code::E0901);
        std::fs::write(&path, "PAR1").unwrap();
        let error = Files::new().read(Format::Parquet, &path).unwrap_err();
        assert_eq!(error.code, Code::E0911);
        assert!(error.help.is_some_and(|h| h.contains("cargo build --release --features parquet")));
    }

    #[test]
    fn formats_by_name() {
        let of = |p: &str| Format::of_path(Path::new(p));
        assert_eq!(of("a/b.CSV"), Some(Format::Csv));
        assert_eq!(of("b.tsv.gz"), Some(Format::Csv));
        assert_eq!(of("train-images-idx3-ubyte.gz"), Some(Format::Idx));
        assert_eq!(of("b.npz"), Some(Format::Npz));
        assert_eq!(of("b/*.png"), Some(Format::Images));
        assert_eq!(of("b.parquet"), Some(Format::Parquet));
        assert_eq!(of("b.xlsx"), None);
    }
}
