//! Which brackets belong together, found from the tokens alone, before any grammar.
//!
//! In:  tokens without trivia that counts.   Out: [`Brackets`]: tokens to leave out so that the rest is balanced, and the
//! places where a block must be closed. Every slip is reported once, at the bracket that was opened, with what shows
//! that it should have been closed: an item at the start of a line, a closing bracket of another kind, the end of the file.

use super::lexer::{Token, TokenKind};
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::source::{FileId, Span};

/// What [`check`] found.
#[derive(Debug, Default)]
pub(super) struct Brackets {
    /// For each token: leave it out.
    pub dead: Vec<bool>,
    /// Before the token at this position, this many `}` are missing. In the order of the text.
    pub missing: Vec<(usize, usize)>,
}

/// An opening bracket that waits for its closing one.
struct Open {
    token: usize,
    /// The indentation of its line, in bytes.
    indent: usize,
}

/// A block that was closed by a `}` standing further to the left than the line that opened it.
struct Suspicious {
    open: usize,
    depth: usize,
}

/// Words that begin an item.
pub(super) const ITEM_WORDS: [&str; 12] =
    ["use", "size", "data", "fn", "layer", "net", "model", "guide", "infer", "generate", "evaluate", "expect"];

/// True when an item, and nothing else, begins at token `i`: `data x`, `model {`, `use "f"`.
pub(super) fn is_item_start(text: &str, tokens: &[Token], i: usize) -> bool {
    let Some(token) = tokens.get(i) else { return false };
    if token.kind != TokenKind::Name || !ITEM_WORDS.contains(&token.text(text)) {
        return false;
    }
    match tokens.get(i + 1).map(|t| t.kind) {
        Some(TokenKind::Name | TokenKind::Str) => true,
        Some(TokenKind::LBrace) => matches!(token.text(text), "model" | "guide" | "generate" | "evaluate" | "expect"),
        _ => false,
    }
}

/// Finds the brackets of `text` that do not match.
pub(super) fn check(file: FileId, text: &str, tokens: &[Token], diags: &mut Diagnostics) -> Brackets {
    let mut out = Brackets { dead: vec![false; tokens.len()], missing: Vec::new() };
    let mut open: Vec<Open> = Vec::new();
    let mut suspicious: Vec<Suspicious> = Vec::new();
    let mut line_starts = true;
    let mut indent = 0;
    let span = |i: usize| Span::new(file, tokens[i].start, tokens[i].end);
    for (i, token) in tokens.iter().enumerate() {
        if token.kind == TokenKind::Newline {
            line_starts = true;
            continue;
        }
        let first = line_starts;
        if first {
            line_starts = false;
            let line = text[..token.start].rfind('\n').map_or(0, |n| n + 1);
            indent = token.start - line;
        }
        match token.kind {
            TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => open.push(Open { token: i, indent }),
            TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace => {
                let fits = |o: &Open| closing(tokens[o.token].kind) == token.kind;
                match open.iter().rposition(fits) {
                    Some(at) if token.kind == TokenKind::RBrace || !crosses_block(tokens, &open[at..]) => {
                        for o in open.drain(at + 1..).rev().collect::<Vec<_>>() {
                            let found = Some((span(i), format!("`{}` stands here instead", token.text(text))));
                            unclosed(text, tokens, o.token, i, found, file, diags, &mut out);
                        }
                        let o = open.pop().expect("rposition found it");
                        if first && token.kind == TokenKind::RBrace && indent < o.indent {
                            suspicious.push(Suspicious { open: o.token, depth: open.len() });
                        }
                    }
                    _ => {
                        out.dead[i] = true;
                        // `(a]`: one slip, not a stray bracket and an unclosed one.
                        match open.last() {
                            Some(o) if tokens[o.token].kind != TokenKind::LBrace && token.kind != TokenKind::RBrace => {
                                let o = open.pop().expect("last found it");
                                let want = symbol(closing(tokens[o.token].kind));
                                let message =
                                    format!("`{}` is closed by `{}`", tokens[o.token].text(text), token.text(text));
                                diags.push(
                                    Diagnostic::new(Code::E0102, message)
                                        .label(span(i), format!("expected `{want}` here"))
                                        .label(span(o.token), "opened here")
                                        .help(format!("write `{want}`"))
                                        .fix(span(i), want),
                                );
                                let rest = tokens[i..].iter().position(|t| t.kind == TokenKind::Newline);
                                let end = if open.iter().all(|o| tokens[o.token].kind == TokenKind::LBrace) {
                                    rest.map_or(tokens.len(), |n| i + n)
                                } else {
                                    i + 1
                                };
                                kill_statement(tokens, o.token, end, &mut out);
                            }
                            _ => diags.push(
                                Diagnostic::new(Code::E0102, format!("`{}` closes nothing", token.text(text)))
                                    .label(span(i), "no bracket is open here")
                                    .help("remove it, or open the bracket that it should close"),
                            ),
                        }
                    }
                }
            }
            // The string that ends with its line took their closing brackets along; it has been reported.
            TokenKind::UnclosedStr => {
                let inline = |o: &Open| {
                    let line = tokens[o.token..i].iter().all(|t| t.kind != TokenKind::Newline);
                    line && tokens[o.token].kind != TokenKind::LBrace
                };
                while let Some(o) = open.pop_if(|o| inline(o)) {
                    kill_statement(tokens, o.token, i + 1, &mut out);
                }
            }
            _ if first && !open.is_empty() && is_item_start(text, tokens, i) => {
                let found = (span(i), format!("`{}` begins a new item here", token.text(text)));
                close_all(text, tokens, &mut open, &mut suspicious, i, Some(found), file, diags, &mut out);
            }
            _ => {}
        }
        if open.is_empty() {
            suspicious.clear();
        }
    }
    let end = tokens.len();
    if !open.is_empty() {
        let found = (Span::new(file, text.len(), text.len()), "the file ends here".to_string());
        close_all(text, tokens, &mut open, &mut suspicious, end, Some(found), file, diags, &mut out);
    }
    out
}

/// True when a block stands open between the bracket at the bottom of `open` and here: `( {` … `)`.
fn crosses_block(tokens: &[Token], open: &[Open]) -> bool {
    open.iter().skip(1).any(|o| tokens[o.token].kind == TokenKind::LBrace)
}

/// Reports everything still open where the token `until` shows that it should have been closed.
#[expect(clippy::too_many_arguments, reason = "the state of one loop, taken apart for reading")]
fn close_all(
    text: &str,
    tokens: &[Token],
    open: &mut Vec<Open>,
    suspicious: &mut Vec<Suspicious>,
    until: usize,
    found: Option<(Span, String)>,
    file: FileId,
    diags: &mut Diagnostics,
    out: &mut Brackets,
) {
    let mut braces = 0;
    while let Some(o) = open.pop() {
        if tokens[o.token].kind == TokenKind::LBrace {
            // An inner block whose `}` stands too far left took the one that belongs to this block.
            let culprit = suspicious.pop_if(|s| s.depth > open.len()).map_or(o.token, |s| s.open);
            report(tokens, text, culprit, found.clone(), file, diags);
            braces += 1;
        } else {
            unclosed(text, tokens, o.token, until, found.clone(), file, diags, out);
        }
    }
    suspicious.clear();
    if braces > 0 {
        out.missing.push((until, braces));
    }
}

/// Reports the bracket at `at` and leaves its statement out of what is parsed.
#[expect(clippy::too_many_arguments, reason = "the state of one loop, taken apart for reading")]
fn unclosed(
    text: &str,
    tokens: &[Token],
    at: usize,
    until: usize,
    found: Option<(Span, String)>,
    file: FileId,
    diags: &mut Diagnostics,
    out: &mut Brackets,
) {
    if out.dead[at] {
        return;
    }
    let end = should_close(tokens, at, until, &out.dead);
    report(tokens, text, at, found, file, diags);
    kill_statement(tokens, at, end, out);
}

/// The token before which the bracket at `at` should have been closed: the start of the first line that cannot be
/// a continuation of the one above, at latest `until`.
fn should_close(tokens: &[Token], at: usize, until: usize, dead: &[bool]) -> usize {
    let mut previous = at;
    let mut newline = false;
    for i in at + 1..until {
        match tokens[i].kind {
            TokenKind::Newline => newline = true,
            TokenKind::Comment(_) | TokenKind::HashComment => {}
            kind => {
                if newline && !dead[i] {
                    let before = tokens[previous].kind;
                    let begins = kind.starts_operand()
                        || matches!(kind, TokenKind::For | TokenKind::If | TokenKind::Return | TokenKind::RBrace);
                    let certain = matches!(kind, TokenKind::For | TokenKind::Return) || is_sample(&tokens[i..until]);
                    if certain || begins && before.ends_operand() {
                        return i;
                    }
                }
                newline = false;
                previous = i;
            }
        }
    }
    until
}

/// True for `x ~`, `h1.weight ~`, `y[t] ~`, `x: real ~` at the start of a line: no `~` stands inside brackets.
fn is_sample(line: &[Token]) -> bool {
    line.iter().map(|t| t.kind).take_while(|k| *k != TokenKind::Newline).take(12).any(|k| k == TokenKind::Tilde)
}

/// Leaves out all tokens of the statement around `at`, from its first token up to `end`.
fn kill_statement(tokens: &[Token], at: usize, end: usize, out: &mut Brackets) {
    let mut start = at;
    // Back to the start of the line, and over lines that this one continues.
    while start > 0 {
        let kind = tokens[start - 1].kind;
        if matches!(kind, TokenKind::LBrace | TokenKind::RBrace) {
            break;
        }
        if kind == TokenKind::Newline {
            let before = tokens[..start - 1].iter().rfind(|t| !t.kind.is_trivia()).map(|t| t.kind);
            let continued = tokens[start].kind.is_infix() || before.is_some_and(TokenKind::wants_more);
            if !continued {
                break;
            }
        }
        start -= 1;
    }
    for (dead, token) in out.dead[start..end].iter_mut().zip(&tokens[start..end]) {
        *dead |= token.kind != TokenKind::Newline;
    }
    // Blocks opened inside what was left out are gone with it; their closing brackets must go as well.
    let mut depth = 0usize;
    for t in &tokens[start..end] {
        match t.kind {
            TokenKind::LBrace => depth += 1,
            TokenKind::RBrace => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    for (dead, token) in out.dead[end..].iter_mut().zip(&tokens[end..]) {
        if depth == 0 {
            break;
        }
        match token.kind {
            TokenKind::LBrace => depth += 1,
            TokenKind::RBrace => {
                depth -= 1;
                *dead |= depth == 0;
            }
            _ => {}
        }
    }
}

fn report(
    tokens: &[Token],
    text: &str,
    at: usize,
    found: Option<(Span, String)>,
    file: FileId,
    diags: &mut Diagnostics,
) {
    let bracket = tokens[at];
    let want = symbol(closing(bracket.kind));
    let mut d = Diagnostic::new(Code::E0102, format!("`{}` is never closed", bracket.text(text)))
        .label(Span::new(file, bracket.start, bracket.end), "opened here");
    if let Some((span, message)) = found {
        d = d.label(span, message);
    }
    diags.push(d.help(format!("add the missing `{want}`")));
}

/// The closing bracket of an opening one.
pub(super) fn closing(kind: TokenKind) -> TokenKind {
    match kind {
        TokenKind::LParen => TokenKind::RParen,
        TokenKind::LBracket => TokenKind::RBracket,
        TokenKind::LBrace => TokenKind::RBrace,
        _ => kind,
    }
}

fn symbol(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::RParen => ")",
        TokenKind::RBracket => "]",
        _ => "}",
    }
}
