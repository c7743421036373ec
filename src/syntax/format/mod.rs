//! The canonical layout of a program: `bayesc fmt`.
//!
//! Works on tokens, not on the tree, so that no comment can be lost: [`tree`] finds lines, brackets and the places of
//! comments, [`render`] writes them, [`align`] decides about columns. What the author decides stays: empty lines (at
//! most one), blocks on one line that fit on it, line breaks before operators, columns of statements. The rest is
//! decided here: two blanks per level, blanks around operators, what stands inside brackets on one line where it fits
//! and else one entry a line, no comma where a line ends.

mod align;
mod render;
mod tree;

#[cfg(test)]
mod tests;

use super::lexer::{Token, tokenize};
use super::{parse_module, print_module};
use crate::diag::Diagnostics;
use crate::source::FileId;

/// Lines are broken where they would have more columns than this, if they can be.
pub const WIDTH: usize = 100;

/// Why there is no layout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The text does not parse; the messages say why.
    Slips,
    /// The layout would not have been the same program. This is a defect here, never of the program.
    Changed,
}

/// `text` in its canonical layout: the same program with the same comments in the same order.
///
/// # Errors
/// [`Refused::Slips`] when the text does not parse, with the reasons in `diags`. [`Refused::Changed`] never, as far as
/// is known: the result is read again before it is returned.
pub fn format_module(file: FileId, text: &str, diags: &mut Diagnostics) -> Result<String, Refused> {
    let mut found = Diagnostics::new();
    let module = parse_module(file, text, &mut found);
    let wrong = found.has_errors();
    diags.extend(found);
    if wrong {
        return Err(Refused::Slips);
    }
    let tokens = tokenize(text);
    let out = render::render(text, &tokens);
    let mut again = Diagnostics::new();
    let new_tokens = tokenize(&out);
    let same = print_module(&parse_module(file, &out, &mut again)) == print_module(&module);
    let complete = comments(text, &tokens).eq(comments(&out, &new_tokens));
    if same && complete && !again.has_errors() { Ok(out) } else { Err(Refused::Changed) }
}

/// The comments of a text in order, without blanks at their ends.
fn comments<'a>(text: &'a str, tokens: &'a [Token]) -> impl Iterator<Item = &'a str> {
    tokens.iter().filter(|t| t.kind.is_trivia()).map(|t| t.text(text).trim_end()).filter(|t| !t.is_empty())
}
