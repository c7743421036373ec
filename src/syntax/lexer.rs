//! Text to tokens, with nothing left out but blanks.
//!
//! The token stream serves layout (which newlines end a statement), the search for unclosed brackets, highlighting and
//! the formatter: comments and newlines are tokens too. The grammar proper is `grammar/bayes.pest`, which reads text;
//! a test holds the two to the same words.

use logos::{Lexer, Logos};

/// A token and its place: bytes `start..end` of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Token {
    /// The byte range.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start..self.end
    }
    /// The text of the token.
    pub fn text(self, source: &str) -> &str {
        source.get(self.range()).unwrap_or("")
    }
}

/// The kinds of tokens.
#[derive(Logos, Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[logos(skip(r"[ \t\r\u{FEFF}]+"))]
pub enum TokenKind {
    /// The end of a line.
    #[token("\n")]
    Newline,
    /// `// …` up to the end of the line; also `//// …`, and `/// …` where no doc comment can stand.
    #[regex(r"//[^\n]*", comment, allow_greedy = true)]
    Comment(CommentKind),
    /// `# …`: not a comment of this language, but of many others.
    #[regex(r"#[^\n]*", allow_greedy = true)]
    HashComment,
    /// A name or a word that is a keyword only where an item or statement begins.
    #[regex(r"[\p{XID_Start}_]\p{XID_Continue}*")]
    Name,
    /// `1_000`
    #[regex(r"[0-9][0-9_]*", whole_number)]
    Number(NumberKind),
    /// `1.5`, `.5`, `1e-3`: joined with [`TokenKind::Number`] by its kind.
    #[regex(r"[0-9][0-9_]*\.[0-9][0-9_]*([eE][+-]?[0-9][0-9_]*)?")]
    #[regex(r"\.[0-9][0-9_]*([eE][+-]?[0-9][0-9_]*)?")]
    #[regex(r"[0-9][0-9_]*[eE][+-]?[0-9][0-9_]*")]
    Real,
    /// `"…"`
    #[regex(r#""([^"\\\n]|\\[^\n])*""#)]
    Str,
    /// `'…'`: a slip for a string.
    #[regex(r"'[^'\n]*'")]
    SingleQuoted,
    /// `"…` up to the end of the line.
    #[regex(r#""([^"\\\n]|\\[^\n])*\\?"#, priority = 1)]
    UnclosedStr,

    /// `if`
    #[token("if")]
    If,
    /// `else`
    #[token("else")]
    Else,
    /// `for`
    #[token("for")]
    For,
    /// `in`
    #[token("in")]
    In,
    /// `return`
    #[token("return")]
    Return,
    /// `and`
    #[token("and")]
    And,
    /// `or`
    #[token("or")]
    Or,
    /// `not`
    #[token("not")]
    Not,
    /// `true`
    #[token("true")]
    True,
    /// `false`
    #[token("false")]
    False,
    /// `inf`
    #[token("inf")]
    Inf,
    /// `_`
    #[token("_", priority = 10)]
    Underscore,

    /// `+`
    #[token("+")]
    Plus,
    /// `-`
    #[token("-")]
    Minus,
    /// `*`
    #[token("*")]
    Star,
    /// `/`
    #[token("/")]
    Slash,
    /// `%`
    #[token("%")]
    Percent,
    /// `@`
    #[token("@")]
    At,
    /// `^`
    #[token("^")]
    Caret,
    /// `==`
    #[token("==")]
    EqEq,
    /// `!=`
    #[token("!=")]
    NotEq,
    /// `<`
    #[token("<")]
    Less,
    /// `<=`
    #[token("<=")]
    LessEq,
    /// `>`
    #[token(">")]
    Greater,
    /// `>=`
    #[token(">=")]
    GreaterEq,
    /// `=`
    #[token("=")]
    Assign,
    /// `~`
    #[token("~")]
    Tilde,
    /// `|>`
    #[token("|>")]
    Pipe,
    /// `..`
    #[token("..")]
    Range,
    /// `..=`
    #[token("..=")]
    RangeClosed,
    /// `.`
    #[token(".")]
    Dot,
    /// `,`
    #[token(",")]
    Comma,
    /// `:`
    #[token(":")]
    Colon,
    /// `->`
    #[token("->")]
    Arrow,
    /// `?`
    #[token("?")]
    Question,
    /// `(`
    #[token("(")]
    LParen,
    /// `)`
    #[token(")")]
    RParen,
    /// `[`
    #[token("[")]
    LBracket,
    /// `]`
    #[token("]")]
    RBracket,
    /// `{`
    #[token("{")]
    LBrace,
    /// `}`
    #[token("}")]
    RBrace,

    /// `;`: ends nothing here.
    #[token(";")]
    Semicolon,
    /// `:=`: a slip for `=`.
    #[token(":=")]
    ColonEq,
    /// `**`: a slip for `^`.
    #[token("**")]
    StarStar,
    /// `&&`: a slip for `and`.
    #[token("&&")]
    AmpAmp,
    /// `||`: a slip for `or`.
    #[token("||")]
    BarBar,
    /// `!`: a slip for `not`.
    #[token("!")]
    Bang,
    /// Anything else: one character that no program contains outside strings and comments.
    Unknown,
}

/// The two kinds of comments.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CommentKind {
    /// `// …`
    Plain,
    /// `/// …`
    Doc,
}

/// The two kinds of numbers that begin with a digit and have no fraction digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NumberKind {
    /// `12`
    Int,
    /// `12.`
    Real,
}

fn comment(lexer: &mut Lexer<TokenKind>) -> CommentKind {
    let text = lexer.slice();
    if text.starts_with("///") && !text.starts_with("////") { CommentKind::Doc } else { CommentKind::Plain }
}

/// Takes the dot of `2.` along, but not that of `2..3` or `2.x`.
fn whole_number(lexer: &mut Lexer<TokenKind>) -> NumberKind {
    let mut rest = lexer.remainder().chars();
    if rest.next() == Some('.') && !rest.next().is_some_and(|c| c == '.' || c == '_' || is_name_start(c)) {
        lexer.bump(1);
        return NumberKind::Real;
    }
    NumberKind::Int
}

fn is_name_start(c: char) -> bool {
    pest::unicode::XID_START(c)
}

/// All tokens of `text` in order; blanks are left out, newlines and comments are not. Never fails.
pub fn tokenize(text: &str) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(text.len() / 4);
    for (kind, range) in TokenKind::lexer(text).spanned() {
        tokens.push(Token { kind: kind.unwrap_or(TokenKind::Unknown), start: range.start, end: range.end });
    }
    tokens
}

impl TokenKind {
    /// True for comments and newlines.
    pub fn is_trivia(self) -> bool {
        matches!(self, TokenKind::Newline | TokenKind::Comment(_) | TokenKind::HashComment)
    }
    /// True where an operand can end: `x`, `1`, `)`.
    pub fn ends_operand(self) -> bool {
        use TokenKind::*;
        matches!(
            self,
            Name | Underscore
                | Number(_)
                | Real
                | Str
                | UnclosedStr
                | SingleQuoted
                | True
                | False
                | Inf
                | Question
                | RParen
                | RBracket
        )
    }
    /// True where an operand begins and nothing can be continued: `x`, `1`, `"s"`, `not`, `?`.
    pub fn starts_operand(self) -> bool {
        use TokenKind::*;
        matches!(
            self,
            Name | Underscore
                | Number(_)
                | Real
                | Str
                | UnclosedStr
                | SingleQuoted
                | True
                | False
                | Inf
                | Question
                | Not
                | Bang
        )
    }
    /// True for what wants an operand after it, so that its line goes on: `+`, `,`, `=`; not `..`, which may end a type.
    pub fn wants_more(self) -> bool {
        use TokenKind::*;
        self.is_infix() && self != Range || matches!(self, Not | Bang | Colon)
    }
    /// True for what continues the line above when it begins one: infix operators, `|>`, `.`, `,`, `=`, `~`, `->`.
    pub fn is_infix(self) -> bool {
        use TokenKind::*;
        matches!(
            self,
            Plus | Minus
                | Star
                | Slash
                | Percent
                | At
                | Caret
                | EqEq
                | NotEq
                | Less
                | LessEq
                | Greater
                | GreaterEq
                | Assign
                | Tilde
                | Pipe
                | Range
                | RangeClosed
                | Dot
                | Comma
                | Arrow
                | And
                | Or
                | In
                | ColonEq
                | StarStar
                | AmpAmp
                | BarBar
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[&str]) {
        let found: Vec<&str> = tokenize(text).iter().map(|t| t.text(text)).collect();
        assert_eq!(found, expect, "tokens of {text:?}");
    }

    #[test]
    fn numbers_ranges_and_fields() {
        check("0..1", &["0", "..", "1"]);
        check("0...5", &["0", "..", ".5"]);
        check("2..=x", &["2", "..=", "x"]);
        check("1_000 1e-3 .5 2. 2.5e3", &["1_000", "1e-3", ".5", "2.", "2.5e3"]);
        check("a.b 2.b", &["a", ".", "b", "2", ".", "b"]);
        check("x[1..]", &["x", "[", "1", "..", "]"]);
    }

    #[test]
    fn names_may_use_unicode_and_contain_keywords() {
        check("μ σ_obs inform in_ _ _x", &["μ", "σ_obs", "inform", "in_", "_", "_x"]);
        assert_eq!(tokenize("_")[0].kind, TokenKind::Underscore);
        assert_eq!(tokenize("in")[0].kind, TokenKind::In);
        assert_eq!(tokenize("inf")[0].kind, TokenKind::Inf);
    }

    #[test]
    fn strings_end_with_their_line() {
        check("\"a\\\"b\" x", &["\"a\\\"b\"", "x"]);
        check("\"open\nx", &["\"open", "\n", "x"]);
        assert_eq!(tokenize("\"open\nx")[0].kind, TokenKind::UnclosedStr);
        assert_eq!(tokenize("\"open\\")[0].kind, TokenKind::UnclosedStr);
    }

    #[test]
    fn comments_are_tokens() {
        let kinds: Vec<TokenKind> = tokenize("/// a\n// b\n//// c").into_iter().map(|t| t.kind).collect();
        use TokenKind::*;
        assert_eq!(
            kinds,
            [Comment(CommentKind::Doc), Newline, Comment(CommentKind::Plain), Newline, Comment(CommentKind::Plain)]
        );
    }

    #[test]
    fn tokens_cover_all_but_blanks() {
        let text = "x ~ Normal(μ, 1) $ // é\n\u{a0}y";
        let mut end = 0;
        for t in tokenize(text) {
            assert!(text[end..t.start].chars().all(|c| c == ' '), "gap before {t:?}");
            end = t.end;
        }
        assert_eq!(end, text.len());
    }
}
