//! Which newlines end a statement, and where each item lies.
//!
//! In:  a text and its tokens.   Out: a [`Layout`]: a text of the same length in which every comment, every token to be
//! left out and every newline that ends nothing is blank, so that the grammar sees "\n" only where a statement ends and
//! every place stays valid; and the items, one slice each.
//!
//! Inside `()` and `[]` no newline counts, inside `{}` they count again (but not in `use m.{a, b}`). A line that begins
//! with an infix operator, `|>`, `.`, `{` or `else` continues the one above, and so does one after an operator, `,`, `=`
//! or `~` at the end of a line. Doc comments stay where they begin a line between statements.

use super::brackets::Brackets;
use super::lexer::{CommentKind, Token, TokenKind};
use std::ops::Range;

/// See the module.
#[derive(Debug)]
pub(super) struct Layout {
    /// As long as the text it was made from.
    pub text: String,
    /// In the order of the text.
    pub items: Vec<ItemSlice>,
    /// Groups of doc comments, parted by blank lines, after the last item.
    pub trailing_docs: Vec<Doc>,
}

/// The place of one item.
#[derive(Debug)]
pub(super) struct ItemSlice {
    /// From its first token to the end of its last.
    pub range: Range<usize>,
    /// So many `}` are missing at its end.
    pub missing_braces: usize,
    /// The doc comments above it, after the item before.
    pub docs: Vec<Doc>,
    /// Whether it still says what was written, after repairs.
    pub faithful: bool,
    /// What repairs have put in, counted from the start of the item.
    pub stand_ins: Vec<Range<usize>>,
}

impl ItemSlice {
    /// A slice as it was written.
    pub fn new(range: Range<usize>, docs: Vec<Doc>) -> Self {
        Self { range, missing_braces: 0, docs, faithful: true, stand_ins: Vec::new() }
    }
}

/// One `///` line between items.
#[derive(Clone, Debug)]
pub(super) struct Doc {
    /// Its place, slashes included.
    pub range: Range<usize>,
    /// True when an empty line follows it.
    pub blank_after: bool,
}

/// Lays `text` out.
pub(super) fn layout(text: &str, tokens: &[Token], brackets: &Brackets) -> Layout {
    let mut out = text.as_bytes().to_vec();
    let mut fill = |range: Range<usize>, with: u8| out[range].fill(with);
    let mut items: Vec<ItemSlice> = Vec::new();
    let mut docs: Vec<Doc> = Vec::new();
    // True for a block, false for `()`, `[]` and the braces of `use`.
    let mut stack: Vec<bool> = Vec::new();
    let mut missing = brackets.missing.iter().peekable();
    let mut previous: Option<TokenKind> = None;
    let mut newlines: Vec<usize> = Vec::new();
    let mut has_doc = false;
    let mut in_item = false;
    let mut newlines_since_doc = 0;
    for (i, token) in tokens.iter().enumerate() {
        while let Some(&(_, n)) = missing.next_if(|m| m.0 <= i) {
            stack.truncate(stack.len().saturating_sub(n));
            if let Some(item) = items.last_mut() {
                item.missing_braces += n;
            }
            in_item = false;
            previous = None;
        }
        if brackets.dead[i] {
            fill(token.range(), b' ');
            continue;
        }
        let counts = stack.last().is_none_or(|&block| block);
        match token.kind {
            TokenKind::Newline => {
                newlines.push(token.start);
                newlines_since_doc += 1;
                if let Some(doc) = docs.last_mut()
                    && newlines_since_doc > 1
                {
                    doc.blank_after = true;
                }
            }
            TokenKind::Comment(CommentKind::Doc)
                if counts
                    && (!newlines.is_empty() || previous.is_none())
                    && !previous.is_some_and(|p| p.wants_more()) =>
            {
                has_doc = true;
                if stack.is_empty() {
                    docs.push(Doc { range: token.range(), blank_after: false });
                    newlines_since_doc = 0;
                    in_item = false;
                }
            }
            TokenKind::Comment(_) | TokenKind::HashComment => {
                fill(token.range(), b' ');
                // A line with nothing but a comment is not an empty line.
                newlines_since_doc = 0;
            }
            kind => {
                let continues = kind.is_infix() || matches!(kind, TokenKind::LBrace | TokenKind::Else);
                let goes_on = continues || previous.is_some_and(|p| p.wants_more());
                if !counts || goes_on && !has_doc && previous.is_some() {
                    newlines.drain(..).for_each(|n| fill(n..n + 1, b' '));
                } else if !newlines.is_empty() {
                    if stack.is_empty() {
                        in_item = false;
                    }
                    // A `;` may stand for a newline.
                    newlines.drain(..).for_each(|n| fill(n..n + 1, b'\n'));
                }
                has_doc = false;
                if !in_item {
                    in_item = true;
                    items.push(ItemSlice::new(token.start..token.start, std::mem::take(&mut docs)));
                }
                if let Some(item) = items.last_mut() {
                    item.range.end = token.end;
                }
                match kind {
                    TokenKind::LParen | TokenKind::LBracket => stack.push(false),
                    TokenKind::LBrace => stack.push(previous != Some(TokenKind::Dot)),
                    TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace => {
                        stack.pop();
                    }
                    _ => {}
                }
                previous = Some(kind);
            }
        }
    }
    for &(_, n) in missing {
        if let Some(item) = items.last_mut() {
            item.missing_braces += n;
        }
    }
    let text = String::from_utf8(out).expect("whole tokens were replaced by spaces");
    Layout { text, items, trailing_docs: docs }
}
