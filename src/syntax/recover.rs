//! What is left of an item when the statement with a slip is taken out.

use super::brackets::ITEM_WORDS;
use super::lexer::{Token, TokenKind, tokenize};
use crate::nearest::nearest;
use std::ops::Range;

/// What [`without`] leaves.
pub(super) struct Rest {
    /// As long as before; the same when nothing could be taken out.
    pub text: String,
    /// What was put in so that the rest can be read: nothing in it is worth a report.
    pub stand_in: Option<Range<usize>>,
    /// Whether the rest still stands for the item: false when its header was replaced.
    pub faithful: bool,
}

impl Rest {
    fn new(text: String) -> Self {
        Rest { text, stand_in: None, faithful: true }
    }
}

/// `text`, one item as layout left it, without the statement around byte `at`.
pub(super) fn without(text: &str, at: usize) -> Rest {
    let tokens = tokenize(text);
    let blocks = blocks(&tokens);
    // The innermost block around `at`; its `}` is still part of its last statement.
    let inside = |b: &&Block| tokens[b.open].end <= at && at <= b.close.map_or(text.len(), |c| tokens[c].start);
    match blocks.iter().filter(inside).max_by_key(|b| b.open) {
        Some(block) => in_block(text, &tokens, block, at),
        None => around_blocks(text, &tokens, &blocks, at),
    }
}

/// The tokens of a `{` and its `}`.
struct Block {
    open: usize,
    close: Option<usize>,
}

fn blocks(tokens: &[Token]) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut stack = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::LBrace => {
                stack.push(found.len());
                found.push(Block { open: i, close: None });
            }
            TokenKind::RBrace => {
                if let Some(b) = stack.pop() {
                    found[b].close = Some(i);
                }
            }
            _ => {}
        }
    }
    found
}

fn in_block(text: &str, tokens: &[Token], block: &Block, at: usize) -> Rest {
    let end = block.close.unwrap_or(tokens.len());
    let inner = block.open + 1..end;
    // In a list of settings commas part entries; elsewhere only lines do.
    let settings = tokens[..block.open]
        .iter()
        .find(|t| !t.kind.is_trivia())
        .is_some_and(|t| matches!(t.text(text), "infer" | "evaluate" | "expect"));
    // The statement that holds `at`, or ends there.
    let mut first = inner.start;
    let mut depth = 0usize;
    let mut last = end;
    for i in inner.clone() {
        let token = tokens[i];
        let ends = depth == 0 && (token.kind == TokenKind::Newline || settings && token.kind == TokenKind::Comma);
        match token.kind {
            TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => depth += 1,
            TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace => depth = depth.saturating_sub(1),
            _ => {}
        }
        if !ends {
            continue;
        }
        let empty = tokens[first..i].iter().all(|t| t.kind.is_trivia());
        if token.start >= at && !empty {
            last = i;
            break;
        }
        if token.start < at || empty {
            first = i + 1;
        }
    }
    // Doc comments above stay: they do no harm.
    while first < last && tokens[first].kind.is_trivia() {
        first += 1;
    }
    if first >= last {
        return Rest::new(text.to_string());
    }
    // A slip in the header of a nested block leaves its body to be read.
    let nested = (first..last).find(|&i| tokens[i].kind == TokenKind::LBrace);
    if let Some(brace) = nested
        && !settings
        && at <= tokens[brace].start
    {
        let header = tokens[first].start..tokens[brace].start;
        if let Some(replaced) = replace(text, header.clone(), "if 1 ") {
            return Rest { text: replaced, stand_in: Some(header), faithful: true };
        }
    }
    let comma = settings && tokens.get(last).is_some_and(|t| t.kind == TokenKind::Comma);
    let stop = if comma { tokens[last].end } else { tokens[last - 1].end };
    Rest::new(blank(text, tokens[first].start..stop))
}

/// A slip in the header of an item, or behind its end.
fn around_blocks(text: &str, tokens: &[Token], blocks: &[Block], at: usize) -> Rest {
    let outer = blocks.iter().find(|b| b.open == 0 || tokens[b.open - 1].kind != TokenKind::Dot);
    let Some(outer) = outer else { return Rest::new(text.to_string()) };
    if let Some(close) = outer.close
        && at >= tokens[close].end
    {
        return Rest::new(blank(text, tokens[close].end..text.len()));
    }
    // What the header was meant to be decides how the braces are read.
    let word = tokens[0].text(text);
    let Some(meant) =
        ITEM_WORDS.iter().find(|w| **w == word).copied().or_else(|| nearest(word, ITEM_WORDS.iter().copied()))
    else {
        return Rest::new(text.to_string());
    };
    let stands_for = match meant {
        "infer" => "infer x ",
        "evaluate" => "evaluate ",
        "expect" => "expect ",
        "use" | "size" | "data" => return Rest::new(text.to_string()),
        _ => "model ",
    };
    let header = tokens[0].start..tokens[outer.open].start;
    match replace(text, header.clone(), stands_for) {
        Some(replaced) => Rest { text: replaced, stand_in: Some(header), faithful: false },
        None => Rest::new(text.to_string()),
    }
}

/// Puts `with` in the place of `range`, blanks behind it, if it fits and is not there yet.
fn replace(text: &str, range: Range<usize>, with: &str) -> Option<String> {
    if range.len() + 1 < with.len() || text[range.clone()].trim_end() == with.trim_end() {
        return None;
    }
    let with = with.get(..range.len()).unwrap_or(with);
    let mut out = text.to_string();
    out.replace_range(range.clone(), &format!("{with:width$}", width = range.len()));
    Some(out)
}

/// Spaces over `range`; newlines stay.
fn blank(text: &str, range: Range<usize>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for b in &mut bytes[range] {
        if *b != b'\n' {
            *b = b' ';
        }
    }
    String::from_utf8(bytes).expect("whole tokens were replaced by spaces")
}
