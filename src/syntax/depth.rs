//! How deep a text nests, found from its tokens, so that no parse and no later walk over the tree can overflow the stack.

use super::lexer::{Token, TokenKind};
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::source::{FileId, Span};

/// Brackets inside brackets.
pub const MAX_BRACKETS: usize = 64;
/// A bound on the height of an expression's tree: operators, calls and indices that may hang on one another.
pub const MAX_HEIGHT: usize = 512;

/// False, with a diagnostic, when the text nests too deeply to be read.
pub(super) fn check(file: FileId, tokens: &[Token], diags: &mut Diagnostics) -> bool {
    // For each open bracket: what hangs on one another at that level since the last separator.
    let mut levels = vec![0usize];
    let mut height = 0usize;
    let mut previous: Option<TokenKind> = None;
    let mut newline = false;
    for token in tokens {
        if token.kind.is_trivia() {
            newline |= token.kind == TokenKind::Newline;
            continue;
        }
        // A line that does not go on begins anew.
        if std::mem::take(&mut newline) {
            use TokenKind::{Else, LBrace, LBracket, LParen};
            let goes_on = previous.is_some_and(TokenKind::wants_more)
                || token.kind.is_infix()
                || matches!(token.kind, Else | LBrace | LParen | LBracket);
            if !goes_on {
                let level = levels.last_mut().expect("never empty");
                height -= *level;
                *level = 0;
            }
        }
        previous = Some(token.kind);
        let mut hang = false;
        match token.kind {
            TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => {
                *levels.last_mut().expect("never empty") += 1;
                height += 1;
                levels.push(0);
            }
            TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace if levels.len() > 1 => {
                height -= levels.pop().expect("more than one");
            }
            TokenKind::Comma => {
                let level = levels.last_mut().expect("never empty");
                height -= *level;
                *level = 0;
            }
            TokenKind::Not | TokenKind::Bang | TokenKind::If => hang = true,
            kind => hang = kind.is_infix(),
        }
        if hang {
            *levels.last_mut().expect("never empty") += 1;
            height += 1;
        }
        let (deep, what) = (levels.len() - 1 > MAX_BRACKETS, "brackets");
        if deep || height > MAX_HEIGHT {
            let (limit, what) = if deep { (MAX_BRACKETS, what) } else { (MAX_HEIGHT, "operators") };
            diags.push(
                Diagnostic::new(Code::E0105, format!("more than {limit} {what} inside one another"))
                    .label(Span::new(file, token.start, token.end), "this is one too many")
                    .help("give the inner parts names of their own"),
            );
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::lexer::tokenize;
    use super::*;
    use crate::index::Idx;

    fn accepts(text: &str) -> bool {
        let mut diags = Diagnostics::new();
        let ok = check(FileId::new(0), &tokenize(text), &mut diags);
        assert_eq!(ok, diags.is_empty());
        ok
    }

    #[test]
    fn nesting_is_bounded_and_length_is_not() {
        assert!(accepts(&format!("x = {}1{}", "(".repeat(MAX_BRACKETS), ")".repeat(MAX_BRACKETS))));
        assert!(!accepts(&format!("x = {}1{}", "(".repeat(MAX_BRACKETS + 1), ")".repeat(MAX_BRACKETS + 1))));
        assert!(!accepts(&format!("x = {}1", "-".repeat(MAX_HEIGHT + 1))));
        assert!(!accepts(&format!("x = a{}", "[0]".repeat(MAX_HEIGHT + 1))));
        assert!(accepts(&"x = a + 1\n".repeat(10_000)));
        assert!(accepts(&format!("x = [{}]", "-1, ".repeat(10_000))));
    }
}
