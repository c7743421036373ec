//! Diagnostics: what is wrong with a program or its data, as plain facts.
//!
//! Phases return a result *and* push onto [`Diagnostics`]; one mistake gives one message. `codes.rs` holds the table of
//! codes, `codes/E0301.md` the long story of each, `render.rs` alone knows how a message is drawn, `json.rs` how it is
//! written for machines.

pub mod codes;
pub mod json;
pub mod render;

pub use codes::Code;

use crate::source::Span;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// The program cannot be used.
    Error,
    /// The program can be used, but probably does not mean what it says.
    Warning,
    /// Something worth knowing.
    Note,
}

/// A place and what is to be said about it. Lower case, no full stop, names in backticks.
#[derive(Clone, PartialEq, Debug)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What is to be said about it.
    pub message: String,
}

/// A repair that a machine may apply.
#[derive(Clone, PartialEq, Debug)]
pub struct Fix {
    /// What is replaced.
    pub span: Span,
    /// By what.
    pub replacement: String,
}

/// One message.
#[derive(Clone, PartialEq, Debug)]
pub struct Diagnostic {
    /// Its code, for `bayesc explain`.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What was found and what was needed. Lower case, no full stop, names in backticks.
    pub message: String,
    /// The place that is to blame, first; then every other place involved.
    pub labels: Vec<Label>,
    /// Further facts, one sentence each.
    pub notes: Vec<String>,
    /// One thing to do.
    pub help: Option<String>,
    /// The same as an edit, where that is certain.
    pub fix: Option<Fix>,
}

impl Diagnostic {
    /// A message with the severity that its code has in the table.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            message: message.into(),
            labels: Vec::new(),
            notes: Vec::new(),
            help: None,
            fix: None,
        }
    }
    /// Adds a place; the first one added is the primary one.
    pub fn label(mut self, span: Span, message: impl Into<String>) -> Self {
        self.labels.push(Label { span, message: message.into() });
        self
    }
    /// Adds a fact.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
    /// Sets the one thing to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
    /// Sets the edit that repairs it.
    pub fn fix(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.fix = Some(Fix { span, replacement: replacement.into() });
        self
    }
    /// The primary place.
    pub fn span(&self) -> Option<Span> {
        self.labels.first().map(|l| l.span)
    }
}

/// The messages of a compilation, in the order of discovery.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// No messages.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a message unless the same code already blames the same place.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let same = |d: &Diagnostic| d.code == diagnostic.code && d.span() == diagnostic.span() && d.span().is_some();
        if !self.list.iter().any(same) {
            self.list.push(diagnostic);
        }
    }
    /// Adds all of `other`.
    pub fn extend(&mut self, other: Diagnostics) {
        for d in other.list {
            self.push(d);
        }
    }
    /// True when at least one message is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }
    /// The number of errors.
    pub fn error_count(&self) -> usize {
        self.list.iter().filter(|d| d.severity == Severity::Error).count()
    }
    /// The messages.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }
    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
    /// Puts them in the order of their places: by file, then by position; messages without a place come last.
    pub fn sort(&mut self) {
        self.list.sort_by_key(|d| d.span().map_or((1, None), |s| (0, Some(s))));
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}
