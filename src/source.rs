//! Source files and places in them.
//!
//! A [`Span`] is a byte range of one file. [`Sources`] owns the texts; it turns spans into lines and columns.

use crate::index::IndexVec;
use crate::index_type;
use std::path::{Path, PathBuf};

index_type!(
    /// One file of a program: the file that was named, a file it uses, or a module of the standard library.
    FileId, "file"
);

/// A byte range of a file, `start..end`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start..end` of `file`.
    pub fn new(file: FileId, start: usize, end: usize) -> Self {
        Self { file, start: start as u32, end: end as u32 }
    }
    /// The smallest span that holds both; `self` when the files differ.
    pub fn to(self, other: Span) -> Span {
        if self.file != other.file {
            return self;
        }
        Span { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
    }
    /// The byte range.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A file: its name as messages show it, where it lies on disk (if it does), and its text.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The name that messages show, for example `examples/golf.bayes` or `<bnn>`.
    pub name: String,
    /// The path on disk; `None` for the standard library and the REPL.
    pub path: Option<PathBuf>,
    /// The whole text, UTF-8.
    pub text: String,
    line_starts: Vec<u32>,
}

impl SourceFile {
    /// Line and column, both from 1, the column in characters, of byte `offset`.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.line_starts.partition_point(|&start| start as usize <= offset) - 1;
        let start = self.line_starts[line] as usize;
        let column = self.text.get(start..offset).map_or(offset - start, |s| s.chars().count());
        (line + 1, column + 1)
    }
    /// The folder that relative paths in this file start from.
    pub fn folder(&self) -> Option<&Path> {
        self.path.as_deref().and_then(Path::parent)
    }
}

/// All files of one compilation.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: IndexVec<FileId, SourceFile>,
}

impl Sources {
    /// Adds a file and returns its id.
    pub fn add(&mut self, name: impl Into<String>, path: Option<PathBuf>, text: impl Into<String>) -> FileId {
        let text = text.into();
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i as u32 + 1)).collect();
        self.files.push(SourceFile { name: name.into(), path, text, line_starts })
    }
    /// The file `id`.
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id]
    }
    /// All files, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.files.iter_enumerated()
    }
    /// The text of `span`; empty when it lies outside the file.
    pub fn text(&self, span: Span) -> &str {
        self.files[span.file].text.get(span.range()).unwrap_or("")
    }
}
