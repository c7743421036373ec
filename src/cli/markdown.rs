//! Pages of Markdown for the terminal: headings bold, code indented, paragraphs wrapped.
//!
//! Only what the pages of the reference use: headings, paragraphs, lists, fenced code, `code`, **bold**.

use super::shell::{Stream, wrap};
use anstyle::{AnsiColor, Style};

/// Longer lines are hard to read.
const MEASURE: usize = 100;

const CODE: Style = AnsiColor::Cyan.on_default();
const BOLD: Style = Style::new().bold();

/// The page, ending in a line break.
pub fn render(page: &str, stream: &Stream) -> String {
    let mut out = Out { text: String::new(), stream, width: stream.width.min(MEASURE) };
    let mut paragraph = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        let begins_item = item(trimmed).is_some();
        if trimmed.is_empty() || trimmed.starts_with("```") || heading(trimmed).is_some() || begins_item {
            out.paragraph(&std::mem::take(&mut paragraph));
        }
        if trimmed.starts_with("```") {
            out.blank();
            for code in lines.by_ref().take_while(|l| !l.trim_start().starts_with("```")) {
                out.line(&format!("    {code}"));
            }
            out.blank();
        } else if let Some(title) = heading(trimmed) {
            out.blank();
            let plain: String = title.chars().filter(|&c| c != '`').collect();
            let title = stream.paint(BOLD, &plain);
            out.line(&title);
            out.blank();
        } else if trimmed.is_empty() {
            out.blank();
        } else {
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            paragraph.push_str(trimmed);
        }
    }
    out.paragraph(&paragraph);
    out.text.truncate(out.text.trim_end().len());
    out.text.push('\n');
    out.text
}

fn heading(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches('#');
    (rest.len() < line.len()).then(|| rest.strip_prefix(' ')).flatten()
}

/// The text of a list item.
fn item(line: &str) -> Option<&str> {
    line.strip_prefix("- ").or_else(|| line.strip_prefix("* "))
}

struct Out<'a> {
    text: String,
    stream: &'a Stream,
    width: usize,
}

impl Out<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
    /// At most one empty line, and none at the beginning.
    fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }
    fn paragraph(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let (first, rest, body) = match item(text) {
            Some(body) => ("- ", "  ", body),
            None => ("", "", text),
        };
        // Wrapped before it is coloured; a span of code may cross lines.
        let mut inside = Inside::default();
        for (i, line) in wrap(body, self.width - first.len()).iter().enumerate() {
            let styled = inside.style(line, self.stream);
            let margin = if i == 0 { first } else { rest };
            self.line(&format!("{margin}{styled}"));
        }
    }
}

/// Which spans are open at the end of a line.
#[derive(Default)]
struct Inside {
    code: bool,
    bold: bool,
}

impl Inside {
    /// `code` keeps its backticks where there is no colour to show it.
    fn style(&mut self, line: &str, stream: &Stream) -> String {
        let mut out = String::new();
        let mut rest = line;
        while !rest.is_empty() {
            // Inside code a star is a star.
            let at = if self.code { rest.find('`') } else { rest.find(['`', '*']) }.unwrap_or(rest.len());
            let (text, tail) = rest.split_at(at);
            let style = if self.code {
                CODE
            } else if self.bold {
                BOLD
            } else {
                Style::new()
            };
            out += &stream.paint(style, text);
            rest = tail;
            if let Some(tail) = rest.strip_prefix('`') {
                self.code = !self.code;
                if !stream.color {
                    out.push('`');
                }
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix("**").filter(|_| !self.code) {
                self.bold = !self.bold;
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix('*') {
                out.push('*');
                rest = tail;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# E0001: `a` title\n\nOne two three\nfour `x * y`.\n```bayes\nmodel {\n  mu ~ Normal(0, 1)\n}\n```\n\n## Why\n- first item that is long enough to wrap\n- **second**\n";

    fn stream(color: bool) -> Stream {
        Stream { color, ascii: false, width: 24, terminal: false }
    }

    #[test]
    fn a_page_without_colour() {
        let expect = "E0001: a title\n\nOne two three four `x *\ny`.\n\n    model {\n      mu ~ Normal(0, 1)\n    }\n\nWhy\n\n- first item that is long\n  enough to wrap\n- second\n";
        assert_eq!(render(PAGE, &Stream { width: 25, ..stream(false) }), expect);
    }

    #[test]
    fn colour_replaces_backticks() {
        let got = render(PAGE, &stream(true));
        assert!(got.starts_with("\u{1b}[1mE0001: a title\u{1b}[0m\n"), "{got:?}");
        assert!(got.contains("\u{1b}[36mx *\u{1b}[0m") && !got.contains('`'), "{got:?}");
    }
}
