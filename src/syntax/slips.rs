//! Common slips, recognised and answered with one thing to do.
//!
//! [`in_tokens`] finds those that single tokens show, whatever the grammar makes of the rest: `;`, `#`, `<-`, `&&`.
//! [`explain`] looks at the place where the grammar stopped.

use super::brackets::ITEM_WORDS;
use super::expected;
use super::grammar::Rule;
use super::lexer::{Token, TokenKind};
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::nearest::nearest;
use crate::source::{FileId, Span};
use std::ops::Range;

/// Words that begin a statement.
const STATEMENT_WORDS: [&str; 7] = ["keep", "param", "observe", "factor", "for", "if", "return"];

/// After this many of one kind the rest of a text is not looked at: it is no program.
const MAX_UNKNOWN: usize = 10;

/// What [`in_tokens`] found besides its reports.
#[derive(Debug, Default)]
pub(super) struct TokenSlips {
    /// Texts of the same length to put in, so that the rest can be parsed.
    edits: Vec<(Range<usize>, String)>,
    /// Tokens that part two statements like an end of line.
    pub separators: Vec<usize>,
    /// Places whose statement cannot be parsed.
    pub hopeless: Vec<usize>,
}

impl TokenSlips {
    /// Makes the edits; the length stays.
    pub fn repair(&self, text: &mut String) {
        for (range, with) in &self.edits {
            // What has been left out for other reasons stays out.
            if text.get(range.clone()).is_some_and(|old| !old.trim().is_empty()) {
                text.replace_range(range.clone(), &format!("{}{with}", " ".repeat(range.len() - with.len())));
            }
        }
    }
}

/// Reports the slips that tokens show.
pub(super) fn in_tokens(file: FileId, text: &str, tokens: &[Token], diags: &mut Diagnostics) -> TokenSlips {
    let mut out = TokenSlips::default();
    let mut unknown = 0;
    let mut blocks: Vec<&str> = Vec::new();
    let mut parens = 0usize;
    let mut line_word = "";
    // The first token of the statement, as long as only `name`, `.`, and brackets have been seen.
    let mut target_since: Option<usize> = None;
    let mut starts = true;
    for (i, token) in tokens.iter().enumerate() {
        let span = Span::new(file, token.start, token.end);
        let next = tokens.get(i + 1).map(|t| t.kind);
        let error = |message: &str, label: &str| Diagnostic::new(Code::E0101, message).label(span, label);
        let mut replace = |with: &str| out.edits.push((token.range(), with.to_string()));
        if starts && !token.kind.is_trivia() {
            target_since = (token.kind == TokenKind::Name).then_some(i);
            if blocks.is_empty() && parens == 0 {
                line_word = token.text(text);
            }
        }
        starts = matches!(token.kind, TokenKind::Newline | TokenKind::LBrace) && parens == 0
            || starts && token.kind.is_trivia();
        match token.kind {
            TokenKind::LBrace => blocks.push(line_word),
            TokenKind::RBrace => {
                blocks.pop();
                parens = 0;
            }
            TokenKind::LParen | TokenKind::LBracket => parens += 1,
            TokenKind::RParen | TokenKind::RBracket => parens = parens.saturating_sub(1),
            TokenKind::Semicolon => {
                let last = next.is_none_or(|k| k.is_trivia() || k == TokenKind::RBrace);
                let help = if last { "remove it" } else { "begin a new line instead" };
                let with = if last { "" } else { "\n" };
                diags.push(
                    error("`;` ends nothing: a statement ends with its line", "not needed").help(help).fix(span, with),
                );
                if last {
                    replace(" ");
                } else {
                    out.separators.push(i);
                }
            }
            TokenKind::HashComment => {
                let mark = Span::new(file, token.start, token.start + 1);
                diags.push(
                    Diagnostic::new(Code::E0101, "`#` does not begin a comment")
                        .label(mark, "comments begin with `//`")
                        .help("write `//`")
                        .fix(mark, "//"),
                );
            }
            TokenKind::ColonEq => {
                diags.push(error("`:=` is not an operator", "expected `=`").help("write `=`").fix(span, "="));
                replace("=");
            }
            TokenKind::StarStar => {
                diags.push(error("`**` is not an operator", "a power is written `^`").help("write `^`").fix(span, "^"));
                replace("^");
            }
            TokenKind::AmpAmp => {
                diags.push(error("`&&` is not an operator", "expected `and`").help("write `and`").fix(span, "and"));
            }
            TokenKind::BarBar => {
                diags.push(error("`||` is not an operator", "expected `or`").help("write `or`").fix(span, "or"));
            }
            TokenKind::Bang => {
                diags.push(error("`!` is not an operator", "expected `not`").help("write `not`").fix(span, "not "));
            }
            TokenKind::Less
                if target_since.is_some()
                    && parens == 0
                    && blocks.last() != Some(&"expect")
                    && tokens.get(i + 1).is_some_and(|t| t.kind == TokenKind::Minus && t.start == token.end) =>
            {
                let span = Span::new(file, token.start, token.end + 1);
                diags.push(
                    Diagnostic::new(Code::E0101, "`<-` is not an operator")
                        .label(span, "expected `=` or `~`")
                        .help("write `=` for a value, `~` for a distribution")
                        .fix(span, "="),
                );
                out.edits.push((token.start..token.end + 1, "=".to_string()));
            }
            TokenKind::UnclosedStr => {
                diags.push(
                    Diagnostic::new(Code::E0103, "a string ends with its line")
                        .label(span, "no `\"` before the end of the line")
                        .help("add the missing `\"`"),
                );
                out.hopeless.push(token.start);
            }
            TokenKind::SingleQuoted => {
                let inner = &token.text(text)[1..token.end - token.start - 1];
                let string = format!("\"{inner}\"");
                diags.push(
                    error("strings stand in double quotes", "not a string here")
                        .help(format!("write `{string}`"))
                        .fix(span, string.clone()),
                );
                if inner.contains(['"', '\\']) {
                    out.hopeless.push(token.start);
                } else {
                    replace(&string);
                }
            }
            TokenKind::Unknown => {
                let again = i > 0
                    && tokens[i - 1].kind == TokenKind::Unknown
                    && tokens[i - 1].end == token.start
                    && tokens[i - 1].text(text) == token.text(text);
                if !again {
                    unknown += 1;
                }
                if unknown <= MAX_UNKNOWN && !again {
                    diags.push(unknown_character(span, token.text(text)));
                }
                let c = token.text(text).chars().next().unwrap_or(' ');
                if c.is_whitespace() || is_invisible(c) {
                    replace(" ");
                } else {
                    out.hopeless.push(token.start);
                }
            }
            _ => {}
        }
        // A target is names, dots and indices; anything else ends it.
        use TokenKind::{Dot, LBracket, Name, Number, RBracket};
        if parens == 0 && !matches!(token.kind, Name | Dot | LBracket | RBracket | Number(_)) {
            target_since = None;
        }
    }
    out
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{2064}' | '\u{00AD}') || c.is_control()
}

fn unknown_character(span: Span, text: &str) -> Diagnostic {
    let c = text.chars().next().unwrap_or(' ');
    let instead = match c {
        '\u{2018}' | '\u{2019}' | '\'' | '\u{201C}' | '\u{201D}' => Some("\""),
        '−' | '–' | '—' => Some("-"),
        '×' | '·' | '⋅' => Some("*"),
        '÷' => Some("/"),
        '≤' => Some("<="),
        '≥' => Some(">="),
        '≠' => Some("!="),
        '∼' | '〜' | '~' => Some("~"),
        '∞' => Some("inf"),
        '∈' => Some("in"),
        '→' => Some("->"),
        '…' => Some(".."),
        _ => None,
    };
    if c.is_whitespace() || is_invisible(c) {
        return Diagnostic::new(Code::E0101, format!("an invisible character, U+{:04X}", c as u32))
            .label(span, "this is not a plain space")
            .help("replace it by a space")
            .fix(span, " ");
    }
    let d = Diagnostic::new(Code::E0101, format!("`{c}` has no meaning outside strings and comments"))
        .label(span, "unknown character");
    match instead {
        Some(instead) => d.help(format!("write `{instead}`")).fix(span, instead),
        None if c == '$' => d.help("separate what it joins: a column of a table is `table.column`"),
        None if c == '|' => d.help("alternatives are written `a or b`, a pipeline `x |> f`"),
        None if c == '&' => d.help("write `and`"),
        None => d.help("remove it"),
    }
}

/// Where the grammar stopped.
pub(super) struct Scene<'a> {
    /// The file.
    pub file: FileId,
    /// Where the text begins in it.
    pub base: usize,
    /// The length of the file.
    pub len: usize,
    /// One item, as layout left it.
    pub text: &'a str,
    /// Its tokens.
    pub tokens: &'a [Token],
    /// What it should be.
    pub rule: Rule,
}

impl Scene<'_> {
    fn span(&self, range: Range<usize>) -> Span {
        Span::new(self.file, (self.base + range.start).min(self.len), (self.base + range.end).min(self.len))
    }
    fn of(&self, token: &Token) -> Span {
        self.span(token.range())
    }
    fn text(&self, i: usize) -> &str {
        self.tokens.get(i).map_or("", |t| t.text(self.text))
    }
    fn kind(&self, i: usize) -> Option<TokenKind> {
        self.tokens.get(i).map(|t| t.kind)
    }
}

/// Says what is wrong at byte `at` of the text, where one of the rules `tried` should have begun.
pub(super) fn explain(scene: &Scene, at: usize, tried: &[Rule]) -> Diagnostic {
    let tokens = scene.tokens;
    let found = tokens.iter().position(|t| t.end > at).unwrap_or(tokens.len());
    let before = tokens[..found].iter().rposition(|t| !t.kind.is_trivia());
    let start = statement_start(tokens, found);
    let top = depth(&tokens[..found]).0 == 0;
    known_word(scene, start, top)
        .or_else(|| dangling(scene, start, found, before))
        .or_else(|| known_shape(scene, start, found, before, tried))
        .unwrap_or_else(|| {
            // Behind a word that begins an item or statement it is no longer thought of as a name.
            let word = scene.text(start);
            let keyword = if start == 0 && top { ITEM_WORDS.contains(&word) } else { STATEMENT_WORDS.contains(&word) };
            let narrow = |r: &Rule| !matches!(r, Rule::assign | Rule::tilde | Rule::colon | Rule::nl);
            let tried: Vec<Rule> =
                tried.iter().copied().filter(|r| !keyword || found != start + 1 || narrow(r)).collect();
            plain(scene, found, before, &tried)
        })
}

/// The first token of the statement around token `at`.
fn statement_start(tokens: &[Token], at: usize) -> usize {
    let mut start = at.min(tokens.len());
    // A slip found at the end of a line belongs to that line.
    while start > 0 && !matches!(tokens[start - 1].kind, TokenKind::Newline | TokenKind::LBrace | TokenKind::RBrace) {
        start -= 1;
    }
    while start < at && tokens[start].kind.is_trivia() {
        start += 1;
    }
    start
}

/// Open braces, and open parentheses and square brackets inside the innermost of them.
fn depth(tokens: &[Token]) -> (usize, usize) {
    let (mut braces, mut parens) = (0usize, 0usize);
    for t in tokens {
        match t.kind {
            TokenKind::LBrace => (braces, parens) = (braces + 1, 0),
            TokenKind::RBrace => (braces, parens) = (braces.saturating_sub(1), 0),
            TokenKind::LParen | TokenKind::LBracket => parens += 1,
            TokenKind::RParen | TokenKind::RBracket => parens = parens.saturating_sub(1),
            _ => {}
        }
    }
    (braces, parens)
}

/// The statement or item begins with a word that tells what was meant.
fn known_word(scene: &Scene, start: usize, top: bool) -> Option<Diagnostic> {
    let first = scene.tokens.get(start)?;
    if first.kind != TokenKind::Name {
        return None;
    }
    let word = first.text(scene.text);
    let next = scene.kind(start + 1);
    let span = scene.of(first);
    let new = |message: String, label: &str| Diagnostic::new(Code::E0101, message).label(span, label);
    let is_item = top && scene.rule == Rule::only_item && start == 0;
    let named = next == Some(TokenKind::Name);
    // Declarations of other languages: `real x`, `vector[N] y`, `int<lower=0> n`.
    if matches!(word, "real" | "int" | "bool" | "vector" | "matrix" | "simplex" | "array" | "float" | "double")
        && (named || matches!(next, Some(TokenKind::Less | TokenKind::LBracket)))
    {
        let declared = scene.tokens[start..].iter().take_while(|t| !t.kind.is_trivia());
        let name = declared.filter(|t| t.kind == TokenKind::Name && t.text(scene.text) != word).last();
        let name = name.map_or("x", |t| t.text(scene.text));
        let name = if named { scene.text(start + 1) } else { name };
        let elem = if matches!(word, "int" | "bool") { word } else { "real" };
        let help = if is_item {
            format!(
                "for data write `data {name}: {elem}`, for a parameter `{name} ~ Normal(0, 1)` inside `model {{ … }}`"
            )
        } else {
            format!("write `{name}: {elem}`, or `{name} ~ …` alone: a site takes its type from its distribution")
        };
        return Some(
            new("a declaration begins with its name".to_string(), "the type stands behind the name").help(help),
        );
    }
    if matches!(word, "let" | "var" | "const" | "val") && named {
        let gap = scene.span(first.start..scene.tokens[start + 1].start);
        return Some(
            new(format!("`{word}` is not needed"), "a name is bound without a keyword")
                .help(format!("write `{} = …`", scene.text(start + 1)))
                .fix(gap, ""),
        );
    }
    if is_item {
        if ITEM_WORDS.contains(&word) {
            return None;
        }
        let help = match word {
            "parameters" | "transformed" => {
                Some("sites and values need no block of their own: write them inside `model { … }`")
            }
            "generated" => Some("write `generate { … }`"),
            "def" | "function" | "functions" | "func" | "fun" => Some("write `fn name(x: real) -> real { … }`"),
            "import" | "from" | "include" | "library" => Some("write `use name`, or `use \"file.bayes\"`"),
            "inference" | "sample" | "fit" => Some("write `infer nuts { … }` or `infer svi { … }`"),
            _ => None,
        };
        if let Some(help) = help {
            return Some(new(format!("`{word}` is not an item"), "no item begins so").help(help));
        }
        if matches!(next, Some(TokenKind::Tilde)) {
            return Some(
                new(format!("`{word} ~ …` stands outside a model"), "a statement, where an item is expected")
                    .help("put it inside `model { … }`"),
            );
        }
        if next == Some(TokenKind::Colon) {
            let before = Span { end: span.start, ..span };
            return Some(
                new("a type, but no word that says what it is for".to_string(), "an item is expected here")
                    .help(format!("write `data {word}: …`"))
                    .fix(before, "data "),
            );
        }
        if matches!(next, Some(TokenKind::Name | TokenKind::LBrace | TokenKind::Str)) {
            let d = new(format!("`{word}` is not an item"), "no item begins so");
            return Some(match nearest(word, ITEM_WORDS.iter().copied()) {
                Some(near) => d.help(format!("write `{near}`")).fix(span, near),
                None => d.help(format!("items begin with {}", list(&ITEM_WORDS))),
            });
        }
    } else if (named || matches!(next, Some(TokenKind::Number(_) | TokenKind::Real)))
        && !STATEMENT_WORDS.contains(&word)
        && word != "minibatch"
        && !top
    {
        let infer = scene.text(0) == "infer";
        let words: &[&str] = if infer { &["minibatch"] } else { &STATEMENT_WORDS };
        if let Some(near) = nearest(word, words.iter().copied()) {
            let what = if infer { "setting" } else { "statement" };
            let d = new(format!("`{word}` is not a {what}"), &format!("no {what} begins so"));
            return Some(d.help(format!("write `{near}`")).fix(span, near));
        }
    }
    None
}

/// Something needs a right side, and the line ends; or the next statement was taken for it.
fn dangling(scene: &Scene, start: usize, found: usize, before: Option<usize>) -> Option<Diagnostic> {
    let before = before?;
    let needs = |kind: TokenKind| kind.wants_more() && kind != TokenKind::Comma && kind != TokenKind::Colon;
    let missing = |i: usize| {
        let token = &scene.tokens[i];
        let symbol = token.text(scene.text);
        Diagnostic::new(Code::E0101, format!("nothing follows `{symbol}`"))
            .label(scene.of(token), "its right side is missing")
            .help("write what belongs there, or remove it")
    };
    let ends = scene.kind(found).is_none_or(|k| matches!(k, TokenKind::Newline | TokenKind::RBrace));
    if ends && before >= start && needs(scene.tokens[before].kind) {
        return Some(missing(before));
    }
    // `x ~` and on the next line `y ~ D()`: layout made one line of them.
    if matches!(scene.kind(found), Some(TokenKind::Tilde | TokenKind::Assign | TokenKind::Colon)) {
        let lines = |a: &Token, b: &Token| b.start > a.end + 1;
        let broken = |i: &usize| {
            let (a, b) = (&scene.tokens[i - 1], &scene.tokens[*i]);
            needs(a.kind) && lines(a, b)
        };
        return (start + 1..found).rev().find(broken).map(|i| missing(i - 1));
    }
    None
}

/// The tokens around the place tell what was meant.
fn known_shape(scene: &Scene, start: usize, found: usize, before: Option<usize>, tried: &[Rule]) -> Option<Diagnostic> {
    let before = before?;
    let token = scene.tokens.get(found)?;
    let previous = &scene.tokens[before];
    let span = scene.of(token);
    let new = |message: String, label: &str| Diagnostic::new(Code::E0101, message).label(span, label);
    let (_, parens) = depth(&scene.tokens[..found]);
    let source = token.text(scene.text);
    if is_reserved(token.kind) && tried.contains(&Rule::name) && !tried.contains(&Rule::expr) {
        return Some(
            new(format!("`{source}` is a reserved word"), "expected a name")
                .help(format!("choose another name, such as `{source}_`")),
        );
    }
    if parens > 0 && previous.kind.ends_operand() && token.kind.starts_operand() && tried.contains(&Rule::comma) {
        let gap = scene.span(previous.end..previous.end);
        return Some(
            new(
                format!("expected `,` before {}", expected::found(Some(token), scene.text)),
                "a new argument begins here",
            )
            .help("add a `,`")
            .fix(gap, ","),
        );
    }
    if token.kind == TokenKind::Assign {
        if scene.kind(start) == Some(TokenKind::If) {
            return Some(
                new("`=` binds a name".to_string(), "expected `==`").help("write `==` to compare").fix(span, "=="),
            );
        }
        if parens == 0
            && tried.contains(&Rule::tilde)
            && scene.tokens[start..found].iter().any(|t| t.kind == TokenKind::Colon)
        {
            let colon = scene.tokens[start..found].iter().find(|t| t.kind == TokenKind::Colon)?;
            let declared = scene.span(colon.start..previous.end);
            return Some(
                new("a value takes its type from its expression".to_string(), "no `=` can follow a type here")
                    .label(declared, "the type")
                    .help("leave the type out")
                    .fix(declared, ""),
            );
        }
        if tried.contains(&Rule::colon) && scene.text(0) == "data" {
            return Some(
                new("data need a type".to_string(), "expected `:` and a type first")
                    .help(format!("write `data {}: real[N] = …`", previous.text(scene.text))),
            );
        }
    }
    if token.kind == TokenKind::Colon && tried.contains(&Rule::assign) {
        return Some(new("expected `=`, found `:`".to_string(), "expected `=`").help("write `=`").fix(span, " ="));
    }
    if token.kind == TokenKind::Dot && scene.text(0) == "use" {
        let path = scene.tokens[..found].iter().rev().find(|t| t.kind == TokenKind::Name)?;
        let module = path.text(scene.text);
        return Some(
            new("a name out of a module stands in braces".to_string(), "expected `.{ … }`")
                .help(format!("write `use {module}.{{{}}}`", scene.text(found + 1))),
        );
    }
    if scene.text(0) == "use" && previous.kind == TokenKind::Dot && token.kind == TokenKind::Name {
        return Some(
            new("a name out of a module stands in braces".to_string(), "expected `{`")
                .help(format!("write `{{{source}}}`"))
                .fix(span, format!("{{{source}}}")),
        );
    }
    let binds = |k: TokenKind| matches!(k, TokenKind::Assign | TokenKind::Tilde);
    if binds(token.kind)
        && parens == 0
        && before >= start
        && tried.contains(&Rule::nl)
        && scene.kind(start) != Some(TokenKind::Return)
        && !scene.tokens[start..found].iter().any(|t| binds(t.kind))
    {
        let left = scene.span(scene.tokens[start].start..previous.end);
        let d = |message: &str| Diagnostic::new(Code::E0101, message).label(left, "this is an expression");
        return Some(if token.kind == TokenKind::Tilde {
            d("only a name or an element of an array can stand left of `~`")
                .help("write `observe` before an expression of data")
        } else {
            d("only a name or an element of an array can stand left of `=`").help("give the value a name of its own")
        });
    }
    if token.kind == TokenKind::Comma && parens == 0 && tried.contains(&Rule::nl) {
        return Some(
            new("a statement ends with its line, not with `,`".to_string(), "expected the end of the line")
                .help("begin a new line instead"),
        );
    }
    if token.kind == TokenKind::RBrace && !matches!(previous.kind, TokenKind::LBrace) && tried.contains(&Rule::rpar) {
        return None;
    }
    None
}

/// No known slip: what was expected, what was found.
fn plain(scene: &Scene, found: usize, before: Option<usize>, tried: &[Rule]) -> Diagnostic {
    let expected = expected::words(tried);
    let token = scene.tokens.get(found);
    let place = match (token, before) {
        // Behind the last word rather than at an end of line that cannot be seen.
        (None | Some(Token { kind: TokenKind::Newline, .. }), Some(b)) => {
            let end = scene.tokens[b].end;
            scene.span(end..end)
        }
        (Some(token), _) => scene.of(token),
        (None, None) => scene.span(scene.text.len()..scene.text.len()),
    };
    let d = Diagnostic::new(Code::E0101, format!("expected {expected}, found {}", expected::found(token, scene.text)))
        .label(place, format!("expected {expected}"));
    // A misspelt type, or a sign that is missing.
    let word = token.filter(|t| t.kind == TokenKind::Name).map(|t| t.text(scene.text));
    let types = tried.iter().any(|r| matches!(r, Rule::type_ | Rule::elem | Rule::kind));
    let sign = expected.strip_prefix('`').and_then(|e| e.strip_suffix('`')).filter(|e| !e.contains(['`', ' ']));
    match (word.filter(|_| types).and_then(|w| nearest(w, ["real", "int", "bool"])), sign) {
        (Some(near), _) => d.help(format!("write `{near}`")).fix(place, near),
        (None, Some(sign)) => d.help(format!("write `{sign}` here")),
        _ => d,
    }
}

fn is_reserved(kind: TokenKind) -> bool {
    use TokenKind::*;
    matches!(kind, If | Else | For | In | Return | And | Or | Not | True | False | Inf)
}

fn list(words: &[&str]) -> String {
    words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}
