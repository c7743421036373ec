//! Images of one form as one array: `[N, C, H, W]`, the files in the order of their names.
//!
//! Of every file the header is read at once, so that images of another size are found before anything begins. Up to
//! [`IN_MEMORY`] bytes of samples are unpacked at once too, on all threads, and kept as bytes; of more, images are
//! unpacked when they are asked for, several at a time, and as many of them are kept as that room holds.

use super::{for_parts, pattern};
use crate::data::error::DataError;
use crate::data::fingerprint::{Fingerprint, Hasher};
use crate::data::lazy::{LazyArray, Pair, RowMap};
use crate::data::png::{self, Form, Scratch};
use crate::data::stored::{Bytes, Classes, Element, Failure, Kind, Layout, RowSource, Stored};
use crate::data::value::Elem;
use crate::diag::Code;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Bytes of unpacked images that are kept in memory at most.
pub const IN_MEMORY: usize = 256 << 20;

/// Files that a thread is worth beginning for.
const FEWEST: usize = 4;

/// An array of images, and the files that it is made of.
pub struct Images {
    /// The images.
    pub array: LazyArray,
    /// Their files, in order.
    pub paths: Arc<[PathBuf]>,
}

/// The images whose files match `text`, a pattern that starts from `base`; of their samples up to `in_memory` bytes are
/// kept in memory. The classes of the array are the names of the folders, where the pattern has several of them.
///
/// Errors: no file matches; a file cannot be read, is no PNG image or damaged; images of several forms.
pub fn open(base: &Path, text: &str, in_memory: usize, failure: Failure) -> Result<Images, DataError> {
    let paths: Arc<[PathBuf]> = pattern::files(base, text).into();
    let name = base.join(text).display().to_string();
    let Some(first) = paths.first() else { return Err(nothing(base, text, &name)) };
    let form = form_of(first)?;
    let same = |path: &&PathBuf| match form_of(path) {
        Ok(found) if found != form => Err(differs(path, found, first, form)),
        other => other.map(|_| ()),
    };
    let mut rest: Vec<&PathBuf> = paths[1..].iter().collect();
    for_parts(&mut rest, FEWEST, |part| part.iter().try_for_each(same))
        .into_iter()
        .collect::<Result<(), DataError>>()?;
    let shape = vec![paths.len(), form.channels, form.height, form.width];
    let element = Element { kind: Kind::Unsigned, width: form.depth, big_endian: true };
    let layout = Layout { element, shape, at: 0 };
    let files = ImageFiles::new(paths.clone(), form, in_memory);
    let all = form.bytes().checked_mul(paths.len());
    let mut stored = match all {
        Some(all) if all <= in_memory => {
            let mut bytes = vec![0; all];
            let rows: Vec<usize> = (0..paths.len()).collect();
            files.decode(&rows, &mut bytes)?;
            Stored::new(&name, layout, Bytes::Owned(bytes))?
        }
        _ => Stored::made(&name, layout, Box::new(files), failure)?,
    };
    if pattern::has_classes(text) {
        stored.classes = Some(classes(&paths));
    }
    let row = stored.layout.shape[1..].to_vec();
    let array = LazyArray::new(stored);
    // 16 bits are brought to the range of 8: 65535 / 257 is 255.
    let finer = RowMap::With { op: Pair::Div, value: 257.0, swapped: false };
    let array = if form.depth == 2 { array.map(finer, &row, Elem::Real) } else { array };
    Ok(Images { array, paths })
}

/// The fingerprint of all files of `name`: of the name without its folders, the length and the content of each.
pub fn fingerprint(name: String, paths: &[PathBuf]) -> Fingerprint {
    let mut hasher = Hasher::default();
    for path in paths {
        // A file that is gone by now has no content.
        let content = std::fs::read(path).unwrap_or_default();
        hasher.mark(path.file_name().and_then(|n| n.to_str()).unwrap_or_default().as_bytes());
        hasher.mark(&(content.len() as u64).to_le_bytes());
        hasher.add(&content);
    }
    hasher.fingerprint(name)
}

fn open_file(path: &Path) -> Result<File, DataError> {
    File::open(path)
        .map_err(|e| DataError::new(Code::E0902, format!("the image `{}` cannot be opened: {e}", path.display())))
}

fn form_of(path: &Path) -> Result<Form, DataError> {
    png::form(&path.display().to_string(), BufReader::with_capacity(1 << 10, open_file(path)?))
}

fn differs(path: &Path, found: Form, first: &Path, form: Form) -> DataError {
    let (path, first) = (path.display(), first.display());
    let what = format!("the images of one array must have one size: `{first}` has {form}, but `{path}` has {found}");
    let help = match found.channels != form.channels || found.depth != form.depth {
        true => "write all images with the same channels, for example all grey or all RGB without alpha",
        false => "scale or crop all images to one size before they are read",
    };
    DataError::new(Code::E0903, what).help(help)
}

/// The error for a pattern that matches nothing, with what was probably meant.
fn nothing(base: &Path, text: &str, name: &str) -> DataError {
    let error = DataError::new(Code::E0901, format!("no file matches `{name}`"));
    let path = Path::new(text);
    if base.join(path).is_dir() {
        return error.help(format!("name the files of the folder: `images(\"{}/*.png\")`", text.trim_end_matches('/')));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let last = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if !folder.to_str().is_some_and(|f| f.contains(['*', '?'])) {
        let Some(names) = pattern::names(&base.join(folder)) else {
            return error.help(format!("there is no folder `{}` either", base.join(folder).display()));
        };
        let deeper = folder.join("*").join(last);
        if let Some(deeper) = deeper.to_str().filter(|deeper| !pattern::files(base, deeper).is_empty()) {
            return error.help(format!("files of its sub-folders match `{deeper}`"));
        }
        if let Some(other) = names.iter().find(|n| base.join(folder).join(n).is_file()) {
            return error.help(format!("that folder has {} entries, among them `{other}`", names.len()));
        }
    }
    error.help("`*` stands for any characters of one name: `images(\"train/*/*.png\")`")
}

/// The folder of each file, by its name.
fn classes(paths: &[PathBuf]) -> Classes {
    let class = |path: &PathBuf| -> Arc<str> {
        path.parent().and_then(|p| p.file_name()).and_then(|n| n.to_str()).unwrap_or_default().into()
    };
    let of_path: Vec<Arc<str>> = paths.iter().map(class).collect();
    let mut names = of_path.clone();
    names.sort();
    names.dedup();
    let code = |name: &Arc<str>| names.binary_search(name).expect("one of them") as u32;
    let of_row = of_path.iter().map(code).collect();
    Classes { names, of_row }
}

/// Images that are unpacked when they are asked for.
#[derive(Debug)]
struct ImageFiles {
    paths: Arc<[PathBuf]>,
    form: Form,
    /// The samples of the first images, once these were asked for: rows come in any order, and then it does not matter
    /// which of them are kept.
    kept: Vec<OnceLock<Box<[u8]>>>,
    on_disk: usize,
}

impl ImageFiles {
    fn new(paths: Arc<[PathBuf]>, form: Form, in_memory: usize) -> Self {
        let all = form.bytes().saturating_mul(paths.len());
        // Where all fit, they are unpacked into one piece.
        let kept = if all <= in_memory { 0 } else { in_memory / form.bytes().max(1) };
        let kept = (0..kept.min(paths.len())).map(|_| OnceLock::new()).collect();
        Self { paths, form, kept, on_disk: all }
    }
    fn one(&self, row: usize, out: &mut [u8], file: &mut Vec<u8>, scratch: &mut Scratch) -> Result<(), DataError> {
        if let Some(samples) = self.kept.get(row).and_then(OnceLock::get) {
            out.copy_from_slice(samples);
            return Ok(());
        }
        let path = &self.paths[row];
        let name = path.display().to_string();
        file.clear();
        open_file(path)?
            .read_to_end(file)
            .map_err(|e| DataError::new(Code::E0902, format!("the image `{name}` cannot be read: {e}")))?;
        png::decode(&name, Cursor::new(file.as_slice()), self.form, out, scratch)?;
        if let Some(place) = self.kept.get(row) {
            // Another thread may have kept the same samples.
            let _ = place.set(Box::from(&*out));
        }
        Ok(())
    }
    /// Unpacks `rows` on all threads.
    fn decode(&self, rows: &[usize], out: &mut [u8]) -> Result<(), DataError> {
        let mut pieces: Vec<(usize, &mut [u8])> =
            rows.iter().copied().zip(out.chunks_exact_mut(self.form.bytes().max(1))).collect();
        let results = for_parts(&mut pieces, FEWEST, |part| {
            let (mut file, mut scratch) = (Vec::new(), Scratch::default());
            part.iter_mut().try_for_each(|(row, out)| {
                self.one(*row, out, &mut file, &mut scratch).map_err(|e| e.note(format!("it is row {row}")))
            })
        });
        // Parts follow each other, so that the first error is that of the first damaged file, however many threads there are.
        results.into_iter().collect()
    }
}

impl RowSource for ImageFiles {
    fn fetch(&self, rows: &[usize], out: &mut [u8]) -> Result<(), DataError> {
        self.decode(rows, out)
    }
    fn bytes(&self) -> usize {
        self.kept.len() * self.form.bytes()
    }
    fn bytes_on_disk(&self) -> usize {
        self.on_disk
    }
}
