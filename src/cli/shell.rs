//! Where output goes: results to stdout, everything else to stderr, or one JSON document to stdout.
//!
//! Colour, width and character set are decided once, here. A reader that has gone away (`bayesc … | head`) ends the
//! output, not the program.

use super::args::Color;
use crate::diag::render::{Look, render_all_with};
use crate::diag::{Code, Diagnostic, Diagnostics, json::all_to_json};
use crate::report::numbers::display_width;
pub use crate::report::numbers::wrap;
use crate::report::table::TableOptions;
use crate::source::Sources;
use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value, json};
use std::io::{ErrorKind, IsTerminal, Write};

/// How a command ends: the exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: the program is wrong.
    Program,
    /// 2: the command line is wrong.
    CommandLine,
    /// 3: the data do not fit the program, or a file cannot be read or written.
    Data,
    /// 4: inference failed.
    Inference,
    /// 5: the fit is complete, but a line of `expect` does not hold.
    Expectation,
    /// 130: interrupted; what was done is saved.
    Interrupted,
}

impl Exit {
    /// The number that the caller of the process sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Program => 1,
            Exit::CommandLine => 2,
            Exit::Data => 3,
            Exit::Inference => 4,
            Exit::Expectation => 5,
            Exit::Interrupted => 130,
        }
    }
    /// The end of a command with these messages: data are to blame when every error is one of theirs.
    pub fn of(diagnostics: &Diagnostics) -> Exit {
        let mut errors = diagnostics.iter().filter(|d| d.severity == crate::diag::Severity::Error);
        match diagnostics.has_errors() {
            false => Exit::Done,
            true if errors.all(|d| d.code.is_data()) => Exit::Data,
            true => Exit::Program,
        }
    }
}

/// What is known about stdout or stderr.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// ANSI colours.
    pub color: bool,
    /// Only ASCII characters.
    pub ascii: bool,
    /// Columns.
    pub width: usize,
    /// Whether a person looks at it.
    pub terminal: bool,
}

impl Stream {
    /// `text` in `style`, if there are colours.
    pub fn paint(&self, style: Style, text: &str) -> String {
        if self.color && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
    /// The look of diagnostics.
    pub fn look(&self) -> Look {
        Look { color: self.color, ascii: self.ascii }
    }
}

/// The streams of a command and what it has to say in JSON.
#[derive(Debug)]
pub struct Shell {
    /// Stdout.
    pub out: Stream,
    /// Stderr.
    pub err: Stream,
    /// Whether stdout gets one JSON document instead of text.
    pub json: bool,
    /// Whether notes are left out.
    pub quiet: bool,
    document: Map<String, Value>,
    diagnostics: Vec<Value>,
    closed: bool,
}

impl Shell {
    /// How tables are shown on stdout.
    pub fn table_options(&self) -> TableOptions {
        let Stream { width, color, ascii, .. } = self.out;
        TableOptions { width, color, ascii, ..TableOptions::default() }
    }
    /// The streams of this process.
    pub fn new(color: Color) -> Self {
        let colored = |auto: anstream::ColorChoice| match color {
            Color::Auto => auto != anstream::ColorChoice::Never,
            Color::Always => true,
            Color::Never => false,
        };
        let ascii = wants_ascii(|name| std::env::var(name).ok());
        let (out, err) = (std::io::stdout(), std::io::stderr());
        let out_width = terminal_size::terminal_size_of(&out).map(|(w, _)| usize::from(w.0));
        let err_width = terminal_size::terminal_size_of(&err).map(|(w, _)| usize::from(w.0));
        let given = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
        let width = |found: Option<usize>| found.or(given).unwrap_or(80).clamp(40, 400);
        Self {
            out: Stream {
                color: colored(anstream::AutoStream::choice(&out)),
                ascii,
                width: width(out_width),
                terminal: out.is_terminal(),
            },
            err: Stream {
                color: colored(anstream::AutoStream::choice(&err)),
                ascii,
                width: width(err_width),
                terminal: err.is_terminal(),
            },
            json: false,
            quiet: false,
            document: Map::new(),
            diagnostics: Vec::new(),
            closed: false,
        }
    }

    /// Writes a result to stdout; nothing when stdout gets JSON.
    ///
    /// # Errors
    /// When stdout cannot be written for another reason than that nobody reads it.
    pub fn print(&mut self, text: &str) -> Result<(), Exit> {
        if self.json { Ok(()) } else { self.write(text) }
    }

    /// Writes to stdout, whatever its format.
    fn write(&mut self, text: &str) -> Result<(), Exit> {
        if self.closed {
            return Ok(());
        }
        let choice = if self.out.color { anstream::ColorChoice::Always } else { anstream::ColorChoice::Never };
        let mut stdout = anstream::AutoStream::new(std::io::stdout(), choice).lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(e) => {
                self.closed = true;
                Err(self.fail(Exit::Data, format!("cannot write to stdout: {e}")))
            }
        }
    }

    /// Sets a key of the JSON document.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.document.insert(key.into(), value.into());
    }

    /// Writes to stderr; a stderr that cannot be written is nobody's loss.
    pub fn say(&self, text: &str) {
        let choice = if self.err.color { anstream::ColorChoice::Always } else { anstream::ColorChoice::Never };
        let _ = anstream::AutoStream::new(std::io::stderr(), choice).lock().write_all(text.as_bytes());
    }

    /// A line on stderr for the user to know.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let word = self.err.paint(Style::new().bold().fg_color(Some(AnsiColor::Cyan.into())), "note");
            self.say(&format!("{word}: {text}\n"));
        }
    }

    /// A line on stderr for the user to worry about.
    pub fn warn(&self, text: &str) {
        let word = self.err.paint(Style::new().bold().fg_color(Some(AnsiColor::Yellow.into())), "warning");
        self.say(&format!("{word}: {text}\n"));
    }

    /// Reports an error that is not about a place in a program, and returns how to end.
    pub fn fail(&mut self, exit: Exit, message: impl AsRef<str>) -> Exit {
        self.fail_with_help(exit, message, None)
    }

    /// [`Shell::fail`] with one thing to do.
    pub fn fail_with_help(&mut self, exit: Exit, message: impl AsRef<str>, help: Option<&str>) -> Exit {
        let word = self.err.paint(Style::new().bold().fg_color(Some(AnsiColor::Red.into())), "error");
        let message = message.as_ref();
        let mut text = format!("{word}{}\n", self.err.paint(Style::new().bold(), &format!(": {message}")));
        if let Some(help) = help {
            let word = self.err.paint(Style::new().bold().fg_color(Some(AnsiColor::Green.into())), "help");
            text += &format!(" = {word}: {help}\n");
        }
        self.say(&text);
        self.document.insert("error".into(), json!({ "message": message, "help": help }));
        exit
    }

    /// [`Shell::fail`] with a place in the program; the JSON document has it under `diagnostics` too.
    pub fn fail_with(&mut self, exit: Exit, diagnostic: Diagnostic, sources: &Sources) -> Exit {
        self.document.insert("error".into(), json!({ "message": diagnostic.message, "help": diagnostic.help }));
        let mut diagnostics = Diagnostics::new();
        diagnostics.push(diagnostic);
        self.report(&diagnostics, sources);
        exit
    }

    /// Reports diagnostics: drawn on stderr, or kept for the JSON document.
    pub fn report(&mut self, diagnostics: &Diagnostics, sources: &Sources) {
        if diagnostics.is_empty() {
            return;
        }
        if self.json {
            if let Value::Array(list) = all_to_json(diagnostics, sources) {
                self.diagnostics.extend(list);
            }
            return;
        }
        let mut text = render_all_with(diagnostics, sources, self.err.look());
        let first: Option<Code> =
            diagnostics.iter().find(|d| d.severity == crate::diag::Severity::Error).map(|d| d.code);
        if let (Some(code), true) = (first, self.err.terminal) {
            text += &format!("`bayesc explain {}` tells more\n", code.name());
        }
        self.say(&text);
    }

    /// Writes the JSON document, if one is wanted, and returns how to end.
    pub fn finish(&mut self, command: &str, result: Result<(), Exit>) -> Exit {
        let mut exit = result.err().unwrap_or(Exit::Done);
        if self.json {
            let mut document = Map::new();
            document.insert("command".into(), json!(command));
            document.insert("exit_code".into(), json!(exit.code()));
            document.append(&mut self.document);
            document.insert("diagnostics".into(), Value::Array(std::mem::take(&mut self.diagnostics)));
            let text = serde_json::to_string_pretty(&Value::Object(document)).expect("JSON values always print");
            if let Err(failed) = self.write(&(text + "\n")) {
                exit = failed;
            }
        }
        exit
    }
}

/// Whether the environment says that only ASCII can be shown: a dumb terminal, or a locale that is set and not UTF-8.
fn wants_ascii(variable: impl Fn(&str) -> Option<String>) -> bool {
    if variable("TERM").is_some_and(|t| t == "dumb") {
        return true;
    }
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|l| !l.is_empty());
    locale.is_some_and(|l| {
        let l = l.to_ascii_lowercase();
        !l.contains("utf-8") && !l.contains("utf8")
    })
}

/// Columns of text with two blanks between them, the heading bold; the last column is wrapped at `stream.width`.
pub fn grid(heading: &[&str], rows: &[Vec<String>], stream: &Stream) -> String {
    let n_columns = heading.len();
    let width_of = |c: usize| {
        let widest = rows.iter().filter_map(|r| r.get(c)).map(|t| display_width(t)).max().unwrap_or(0);
        widest.max(display_width(heading[c]))
    };
    let widths: Vec<usize> = (0..n_columns).map(width_of).collect();
    let indent: usize = widths[..n_columns - 1].iter().map(|w| w + 2).sum();
    let room = stream.width.saturating_sub(indent).max(20);
    let mut out = String::new();
    let mut line = |cells: &[String], style: Option<Style>| {
        let mut text = String::new();
        for (c, cell) in cells.iter().enumerate().take(n_columns - 1) {
            text += cell;
            text += &" ".repeat(widths[c] + 2 - display_width(cell));
        }
        let last = wrap(cells.last().map_or("", String::as_str), room);
        for (i, part) in last.iter().enumerate() {
            let whole = if i == 0 { format!("{text}{part}") } else { format!("{}{part}", " ".repeat(indent)) };
            let whole = whole.trim_end();
            out += &style.map_or_else(|| whole.to_string(), |s| stream.paint(s, whole));
            out.push('\n');
        }
    };
    if heading.iter().any(|h| !h.is_empty()) {
        line(&heading.iter().map(|h| h.to_string()).collect::<Vec<_>>(), Some(Style::new().bold()));
    }
    for row in rows {
        line(row, None);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Diagnostic;

    #[test]
    fn data_alone_are_exit_code_3() {
        let of = |codes: &[Code]| {
            let mut d = Diagnostics::new();
            codes.iter().for_each(|&c| d.push(Diagnostic::new(c, "m")));
            Exit::of(&d).code()
        };
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[Code::W0001]), 0);
        assert_eq!(of(&[Code::E0901, Code::W0001]), 3);
        assert_eq!(of(&[Code::E0901, Code::E0301]), 1);
    }

    #[test]
    fn the_locale_decides_the_characters() {
        let ascii = |pairs: &'static [(&str, &str)]| {
            wants_ascii(move |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string()))
        };
        assert!(!ascii(&[]));
        assert!(!ascii(&[("LANG", "de_DE.UTF-8")]));
        assert!(!ascii(&[("LC_ALL", "C.utf8"), ("LANG", "C")]));
        assert!(ascii(&[("LC_ALL", ""), ("LANG", "C")]));
        assert!(ascii(&[("LANG", "C.UTF-8"), ("TERM", "dumb")]));
    }

    #[test]
    fn grids_stand_in_line_and_wrap_the_last_column() {
        let stream = Stream { color: false, ascii: true, width: 30, terminal: false };
        let rows = vec![vec!["mu".into(), "a b".into()], vec!["theta".into(), "one two three four five six".into()]];
        let got = grid(&["site", "what"], &rows, &stream);
        assert_eq!(got, "site   what\nmu     a b\ntheta  one two three four five\n       six\n");
    }
}
