//! What is wrong with a file or its content, before the place in the program is known.

use crate::diag::{Code, Diagnostic};
use crate::source::Span;

/// The result of anything that a data expression may fail at.
pub type Fallible<T> = Result<T, Box<Diagnostic>>;

/// A problem with a file or a value, without a place in the program; [`DataError::at`] adds the place.
#[derive(Clone, PartialEq, Debug)]
pub struct DataError {
    /// Its code, of the family E09.
    pub code: Code,
    /// What was found and what was needed: names the file, and row and column where there are any.
    pub message: String,
    /// Further facts.
    pub notes: Vec<String>,
    /// One thing to do.
    pub help: Option<String>,
}

impl DataError {
    /// A problem with this code and message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), notes: Vec::new(), help: None }
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
    /// The diagnostic that blames `span`, of which `label` is said.
    pub fn at(self, span: Span, label: impl Into<String>) -> Box<Diagnostic> {
        let mut diagnostic = self.into_diagnostic();
        diagnostic.labels.push(crate::diag::Label { span, message: label.into() });
        diagnostic
    }
    /// The diagnostic without a place, for files named on the command line.
    pub fn into_diagnostic(self) -> Box<Diagnostic> {
        let mut diagnostic = Diagnostic::new(self.code, self.message);
        diagnostic.notes = self.notes;
        let damaged = (self.code == Code::E0902)
            .then(|| "see whether the file is complete, and of the format that is asked for".to_string());
        diagnostic.help = self.help.or(damaged);
        Box::new(diagnostic)
    }
}
