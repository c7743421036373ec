//! Diagnostics as text. The only user of ariadne.
//!
//! ariadne draws the source with its labels; the header and the notes around it are ours, in the form
//! `error[E0301]: message`, `= note: …`, `= help: …`. Spans are bytes everywhere; they are turned into characters here,
//! once, since ariadne's own byte mode loses its way in a second file with characters beyond ASCII.

use super::{Diagnostic, Diagnostics, Severity};
use crate::source::{FileId, Sources, Span};
use anstyle::{AnsiColor, Style};
use ariadne::{CharSet, Color, Config, IndexType, Label, LabelAttach, Report, ReportKind, Source};
use std::collections::HashMap;
use std::fmt::{Display, Write};

/// How messages are drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// ANSI colours.
    pub color: bool,
    /// Only ASCII characters around the source.
    pub ascii: bool,
}

/// One message with the lines of source that it is about, ending with a newline.
pub fn render(diagnostic: &Diagnostic, sources: &Sources, color: bool) -> String {
    render_with(diagnostic, sources, Look { color, ascii: false })
}

/// All messages in the order of their places, with an empty line after each, and a last line such as
/// `2 errors, 1 warning`. Empty when there is none.
pub fn render_all(diagnostics: &Diagnostics, sources: &Sources, color: bool) -> String {
    render_all_with(diagnostics, sources, Look { color, ascii: false })
}

/// [`render_all`] with a look of its own.
pub fn render_all_with(diagnostics: &Diagnostics, sources: &Sources, look: Look) -> String {
    let mut sorted = diagnostics.clone();
    sorted.sort();
    let mut out = String::new();
    for diagnostic in &sorted {
        out.push_str(&render_with(diagnostic, sources, look));
        out.push('\n');
    }
    if let Some(count) = count(&sorted) {
        out.push_str(&count);
        out.push('\n');
    }
    out
}

/// `2 errors, 1 warning`; `None` when there is neither.
fn count(diagnostics: &Diagnostics) -> Option<String> {
    let number = |severity: Severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let words = |n: usize, word: &str| match n {
        0 => None,
        1 => Some(format!("1 {word}")),
        n => Some(format!("{n} {word}s")),
    };
    let parts: Vec<String> = [words(number(Severity::Error), "error"), words(number(Severity::Warning), "warning")]
        .into_iter()
        .flatten()
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// [`render`] with a look of its own.
pub fn render_with(diagnostic: &Diagnostic, sources: &Sources, look: Look) -> String {
    let mut out = String::new();
    header(&mut out, diagnostic, look);
    let body = body(diagnostic, sources, look);
    // Notes stand under the margin of the picture.
    let indent = body.as_ref().map_or(1, |b| b.margin);
    if let Some(body) = &body {
        out.push_str(&body.text);
    }
    for note in &diagnostic.notes {
        footer(&mut out, indent, "note", AnsiColor::Cyan, note, look);
    }
    if let Some(help) = &diagnostic.help {
        footer(&mut out, indent, "help", AnsiColor::Green, help, look);
    }
    out
}

fn paint(text: impl Display, style: Style, look: Look) -> String {
    if look.color { format!("{style}{text}{style:#}") } else { text.to_string() }
}

fn severity_word(severity: Severity) -> (&'static str, AnsiColor) {
    match severity {
        Severity::Error => ("error", AnsiColor::Red),
        Severity::Warning => ("warning", AnsiColor::Yellow),
        Severity::Note => ("note", AnsiColor::Cyan),
    }
}

fn header(out: &mut String, diagnostic: &Diagnostic, look: Look) {
    let (word, color) = severity_word(diagnostic.severity);
    let title = format!("{word}[{}]", diagnostic.code.name());
    let strong = Style::new().bold();
    let title = paint(title, strong.fg_color(Some(color.into())), look);
    let message = paint(format_args!(": {}", diagnostic.message), strong, look);
    writeln!(out, "{title}{message}").expect("a string takes everything");
}

fn footer(out: &mut String, indent: usize, word: &str, color: AnsiColor, text: &str, look: Look) {
    let mut lines = text.lines();
    let word = paint(word, Style::new().bold().fg_color(Some(color.into())), look);
    let first = lines.next().unwrap_or("");
    writeln!(out, "{:indent$}= {word}: {first}", "").expect("a string takes everything");
    for line in lines {
        writeln!(out, "{:indent$}        {line}", "").expect("a string takes everything");
    }
}

/// The drawn source.
struct Body {
    text: String,
    /// The column of its left margin.
    margin: usize,
}

fn body(diagnostic: &Diagnostic, sources: &Sources, look: Look) -> Option<Body> {
    let primary = diagnostic.labels.first()?;
    let mut chars = Chars { sources, starts: HashMap::new() };
    let color = |i: usize| match (i, diagnostic.severity) {
        (0, Severity::Error) => Color::Red,
        (0, Severity::Warning) => Color::Yellow,
        (0, Severity::Note) => Color::Cyan,
        _ => Color::Blue,
    };
    let config = Config::new()
        .with_index_type(IndexType::Char)
        .with_color(look.color)
        .with_char_set(if look.ascii { CharSet::Ascii } else { CharSet::Unicode })
        .with_label_attach(LabelAttach::Start)
        .with_tab_width(4);
    // The file of the primary label first, then by place: otherwise one file is drawn in several pieces.
    let mut order: Vec<usize> = (0..diagnostic.labels.len()).collect();
    order.sort_by_key(|&i| {
        let span = diagnostic.labels[i].span;
        (span.file != primary.span.file, span)
    });
    let labels = order.iter().map(|&i| {
        let label = &diagnostic.labels[i];
        Label::new(chars.range(label.span)).with_message(&label.message).with_color(color(i))
    });
    let labels: Vec<_> = labels.collect();
    let report = Report::build(ReportKind::Error, chars.range(primary.span)).with_config(config).with_labels(labels);
    let mut bytes = Vec::new();
    report.finish().write(Cache::new(sources), &mut bytes).ok()?;
    let drawn = String::from_utf8(bytes).ok()?;
    // The first line is ariadne's header, which has been written in our own words.
    let (_, drawn) = drawn.split_once('\n')?;
    let corner = if look.ascii { ',' } else { '╭' };
    let margin = plain(drawn.lines().next()?).chars().position(|c| c == corner)?;
    let mut text = String::new();
    let lines: Vec<&str> = drawn.lines().collect();
    for (i, line) in lines.iter().enumerate() {
        let visible = plain(line);
        // The frame's bottom says nothing.
        let bottom = i + 1 == lines.len() && visible.ends_with(if look.ascii { '\'' } else { '╯' });
        if !bottom {
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    Some(Body { text, margin })
}

/// Without ANSI escapes.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// Byte places to character places.
struct Chars<'a> {
    sources: &'a Sources,
    /// For each file that was asked for, whether it is plain ASCII.
    starts: HashMap<FileId, bool>,
}

impl Chars<'_> {
    fn range(&mut self, span: Span) -> (FileId, std::ops::Range<usize>) {
        let text = &self.sources.file(span.file).text;
        let ascii = *self.starts.entry(span.file).or_insert_with(|| text.is_ascii());
        let clamp = |at: u32| {
            let mut at = (at as usize).min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, mut end) = (clamp(span.start), clamp(span.end));
        // A label over several lines ends with its last word.
        end = start + text[start..end.max(start)].trim_end().len();
        if ascii {
            return (span.file, start..end);
        }
        let chars = |at: usize| text[..at].chars().count();
        (span.file, chars(start)..chars(end))
    }
}

/// The sources as ariadne wants them.
struct Cache<'a> {
    sources: &'a Sources,
    made: HashMap<FileId, Source<&'a str>>,
}

impl<'a> Cache<'a> {
    fn new(sources: &'a Sources) -> Self {
        Self { sources, made: HashMap::new() }
    }
}

impl<'a> ariadne::Cache<FileId> for Cache<'a> {
    type Storage = &'a str;

    fn fetch(&mut self, id: &FileId) -> Result<&Source<&'a str>, impl std::fmt::Debug> {
        let sources = self.sources;
        let source = self.made.entry(*id).or_insert_with(|| Source::from(sources.file(*id).text.as_str()));
        Ok::<_, std::fmt::Error>(source)
    }

    fn display<'b>(&self, id: &'b FileId) -> Option<impl Display + 'b> {
        Some(self.sources.file(*id).name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::*;

    fn sources() -> (Sources, FileId, FileId) {
        let mut sources = Sources::default();
        let a = sources.add("model.bayes", None, "// μ is small\nμ ~ Normal(0, 1)\ny ~ Normal(μ, σ)\n");
        let b = sources.add("<nn>", None, "// é\nfn relu(x: real) -> real {\n  return x\n}\n");
        (sources, a, b)
    }

    fn span(sources: &Sources, file: FileId, part: &str) -> Span {
        let start = sources.file(file).text.find(part).expect("the part is there");
        Span::new(file, start, start + part.len())
    }

    const LOOK: Look = Look { color: false, ascii: false };

    #[test]
    fn labels_point_at_characters_not_bytes() {
        let (sources, a, b) = sources();
        let d = Diagnostic::new(Code::E0101, "nothing is called `σ`")
            .label(span(&sources, a, "σ"), "not found")
            .label(span(&sources, a, "μ ~"), "this one is")
            .label(span(&sources, b, "relu"), "and this")
            .note("names may be Greek")
            .help("write `μ`");
        let expect = "\
error[E0101]: nothing is called `σ`
   ╭─[ model.bayes:3:15 ]
   │
 2 │ μ ~ Normal(0, 1)
   │ ┬──
   │ ╰──── this one is
 3 │ y ~ Normal(μ, σ)
   │               ┬
   │               ╰── not found
   │
   ├─[ <nn>:2:4 ]
   │
 2 │ fn relu(x: real) -> real {
   │    ┬───
   │    ╰───── and this
   = note: names may be Greek
   = help: write `μ`
";
        assert_eq!(render_with(&d, &sources, LOOK), expect);
    }

    #[test]
    fn ascii_uses_only_ascii_around_the_source() {
        let mut sources = Sources::default();
        let file = sources.add("m.bayes", None, "x = y\n");
        let d = Diagnostic::new(Code::E0101, "m").label(Span::new(file, 4, 5), "l").help("h");
        let text = render_with(&d, &sources, Look { color: false, ascii: true });
        assert!(text.is_ascii(), "{text}");
        assert!(text.starts_with("error[E0101]: m\n   ,-[ m.bayes:1:5 ]\n"), "{text}");
        assert!(text.ends_with("   = help: h\n"), "{text}");
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let (sources, a, _) = sources();
        let d = Diagnostic::new(Code::E0101, "m").label(span(&sources, a, "Normal"), "l").note("n").help("h");
        let colored = render(&d, &sources, true);
        assert!(colored.contains('\u{1b}'));
        assert_eq!(plain(&colored), render(&d, &sources, false));
        assert!(!render(&d, &sources, false).contains('\u{1b}'));
    }

    #[test]
    fn places_at_the_end_of_a_file_and_no_places_are_drawn() {
        for text in ["", "x", "x\n", "μ"] {
            let mut sources = Sources::default();
            let file = sources.add("m.bayes", None, text);
            let d =
                Diagnostic::new(Code::E0102, "m").label(Span::new(file, text.len(), text.len()), "the file ends here");
            let drawn = render(&d, &sources, false);
            assert!(drawn.contains("m.bayes") && drawn.contains("the file ends here"), "{text:?}: {drawn}");
        }
        let d = Diagnostic::new(Code::E0101, "no place").note("n\nm");
        let expect = "error[E0101]: no place\n = note: n\n         m\n";
        assert_eq!(render(&d, &Sources::default(), false), expect);
    }

    #[test]
    fn all_are_sorted_and_counted() {
        let (sources, a, _) = sources();
        let mut diags = Diagnostics::new();
        assert_eq!(render_all(&diags, &sources, false), "");
        diags.push(Diagnostic::new(Code::E0102, "second").label(span(&sources, a, "y"), "l"));
        diags.push(Diagnostic::new(Code::E0101, "first").label(span(&sources, a, "μ"), "l"));
        let mut warning = Diagnostic::new(Code::E0101, "last");
        warning.severity = Severity::Warning;
        diags.push(warning);
        let text = render_all(&diags, &sources, false);
        let at = |part: &str| text.find(part).expect("it is there");
        assert!(at("first") < at("second") && at("second") < at("warning[E0101]: last"), "{text}");
        assert!(text.ends_with("\n\n2 errors, 1 warning\n"), "{text}");
    }
}
