//! Tokens to lines, sequences and groups: as much structure as layout needs, with every comment in its place.
//!
//! In:  the tokens of a text that parses.   Out: [`Line`]s, in which every token but commas, newlines and blanks occurs
//! once. Which newlines end a statement is decided as in `syntax/layout.rs`.

use crate::syntax::lexer::{CommentKind, Token, TokenKind};

/// A part of a sequence.
#[derive(Debug)]
pub(super) enum Node {
    /// A token.
    Token(usize),
    /// Brackets with what stands between them.
    Group(Group),
    /// A comment in the middle of something, and whether it has a line of its own.
    Comment(usize, bool),
    /// The author broke the line here, before an operator outside of brackets.
    Break,
}

/// `( … )`, `[ … ]`, `.{ … }`
#[derive(Debug)]
pub(super) struct Group {
    /// The opening bracket.
    pub open: usize,
    /// What commas part.
    pub entries: Vec<Entry>,
    /// Comments after the last entry, on lines of their own.
    pub closing: Vec<usize>,
    /// The closing bracket.
    pub close: usize,
    /// Whether a comma follows the last entry and has to stay.
    pub comma: bool,
}

/// One entry of a group.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Comments above it.
    pub before: Vec<usize>,
    /// Itself.
    pub nodes: Vec<Node>,
    /// Comments behind it or its comma.
    pub after: Vec<usize>,
}

/// What stands between braces, and so what its lines are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BlockKind {
    /// The items of a file.
    Items,
    /// Statements.
    Statements,
    /// Statements of a guide.
    Guide,
    /// Settings, assignments or checks, which commas may part.
    Entries,
}

/// `{ … }` with statements or entries.
#[derive(Debug)]
pub(super) struct Block {
    pub kind: BlockKind,
    /// A comment behind the opening brace.
    pub opening: Option<usize>,
    pub lines: Vec<Line>,
    /// Whether it has no newline between its braces.
    pub one_line: bool,
}

/// A part of a statement or item.
#[derive(Debug)]
pub(super) enum Part {
    Sequence(Vec<Node>),
    Block(Block),
}

/// A statement, an item or an entry of a block.
#[derive(Debug)]
pub(super) struct Stmt {
    /// Its first token.
    pub first: usize,
    pub parts: Vec<Part>,
    /// A comment behind it.
    pub trailing: Option<usize>,
}

/// A line, or a comment with a line of its own.
#[derive(Debug)]
pub(super) enum LineKind {
    Comment(usize),
    Stmt(Stmt),
}

/// One entry of a block or a file.
#[derive(Debug)]
pub(super) struct Line {
    /// Whether an empty line stands above it.
    pub blank_before: bool,
    pub kind: LineKind,
}

/// Reads tokens.
pub(super) struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    /// For every token, whether it is a minus sign in front of an operand.
    pub unary: Vec<bool>,
    /// For every token, whether it is a word that begins a statement and takes an expression: `factor`.
    pub keyword: Vec<bool>,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str, tokens: &'a [Token]) -> Self {
        let mut unary = vec![false; tokens.len()];
        let mut previous: Option<TokenKind> = None;
        for (i, token) in tokens.iter().enumerate().filter(|(_, t)| !t.kind.is_trivia()) {
            unary[i] = token.kind == TokenKind::Minus && !previous.is_some_and(TokenKind::ends_operand);
            previous = Some(token.kind);
        }
        Self { text, tokens, at: 0, unary, keyword: vec![false; tokens.len()] }
    }

    /// All lines of the file.
    pub fn file(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        // A stray brace cannot stand in a text that parses; going on means that no token is ever lost.
        while self.at < self.tokens.len() {
            lines.extend(self.lines(BlockKind::Items));
            if self.at < self.tokens.len() {
                self.at += 1;
            }
        }
        lines
    }

    fn kind(&self, at: usize) -> Option<TokenKind> {
        self.tokens.get(at).map(|t| t.kind)
    }

    fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |t| t.text(self.text))
    }

    /// Lines up to the brace that ends the block, which is not read.
    fn lines(&mut self, kind: BlockKind) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        let mut newlines = 0;
        while let Some(token) = self.kind(self.at) {
            let blank_before = newlines >= 2 && !lines.is_empty();
            match token {
                TokenKind::Newline => {
                    newlines += 1;
                    self.at += 1;
                    continue;
                }
                TokenKind::RBrace => break,
                TokenKind::Comma => {
                    self.at += 1;
                    continue;
                }
                TokenKind::Comment(_) | TokenKind::HashComment => {
                    match lines.last_mut() {
                        Some(Line { kind: LineKind::Stmt(stmt), .. }) if newlines == 0 => {
                            stmt.trailing = Some(self.at);
                        }
                        _ => lines.push(Line { blank_before, kind: LineKind::Comment(self.at) }),
                    }
                    self.at += 1;
                }
                _ => lines.push(Line { blank_before, kind: LineKind::Stmt(self.stmt(kind)) }),
            }
            newlines = 0;
        }
        lines
    }

    fn stmt(&mut self, kind: BlockKind) -> Stmt {
        let first = self.at;
        if matches!(kind, BlockKind::Statements | BlockKind::Guide) {
            self.mark_keyword(first);
        }
        let inner = match (kind, self.word(first)) {
            (BlockKind::Items, "guide") => BlockKind::Guide,
            (BlockKind::Items, "infer" | "evaluate" | "expect") => BlockKind::Entries,
            (BlockKind::Items, _) => BlockKind::Statements,
            _ => kind,
        };
        let mut parts = Vec::new();
        let mut nodes = Vec::new();
        loop {
            self.sequence(&mut nodes);
            parts.push(Part::Sequence(std::mem::take(&mut nodes)));
            if self.kind(self.at) != Some(TokenKind::LBrace) {
                break;
            }
            parts.push(Part::Block(self.block(inner)));
            let (next, comments) = self.trivia();
            if self.kind(next) != Some(TokenKind::Else) {
                break;
            }
            nodes.extend(comments.into_iter().map(|(token, own_line)| Node::Comment(token, own_line)));
            self.at = next;
        }
        // Something that the grammar does not know must not hold the reader up.
        if self.at == first {
            self.at += 1;
        }
        Stmt { first, parts, trailing: None }
    }

    /// The words that begin a statement and are names elsewhere, where brackets or a minus sign follow.
    fn mark_keyword(&mut self, first: usize) {
        let next = self.kind(first + 1);
        let is_keyword = match (self.word(first), next) {
            ("factor" | "observe", Some(TokenKind::Minus)) => {
                self.unary[first + 1] = true;
                true
            }
            ("factor" | "observe" | "keep", Some(TokenKind::LParen)) => true,
            ("factor", Some(TokenKind::LBracket)) => {
                let line = self.tokens[first..].iter().take_while(|t| t.kind != TokenKind::Newline);
                !line.into_iter().any(|t| matches!(t.kind, TokenKind::Assign | TokenKind::Tilde))
            }
            _ => false,
        };
        self.keyword[first] = is_keyword;
    }

    fn block(&mut self, kind: BlockKind) -> Block {
        let open = self.at;
        self.at += 1;
        let mut opening = None;
        if matches!(self.kind(self.at), Some(TokenKind::Comment(_) | TokenKind::HashComment)) {
            opening = Some(self.at);
            self.at += 1;
        }
        let lines = self.lines(kind);
        let one_line = !self.tokens[open..self.at].iter().any(|t| t.kind == TokenKind::Newline);
        self.at += 1;
        Block { kind, one_line: one_line || lines.is_empty() && opening.is_none(), opening, lines }
    }

    /// The next token that is no newline or comment, and the comments before it: token, has a line of its own.
    fn trivia(&self) -> (usize, Vec<(usize, bool)>) {
        let mut comments = Vec::new();
        let mut fresh = false;
        let mut at = self.at;
        while let Some(kind) = self.kind(at).filter(|k| k.is_trivia()) {
            if kind == TokenKind::Newline {
                fresh = true;
            } else {
                comments.push((at, fresh));
            }
            at += 1;
        }
        (at, comments)
    }

    /// Everything up to the end of a statement, a block, or a comma that parts entries.
    fn sequence(&mut self, nodes: &mut Vec<Node>) {
        let mut previous: Option<usize> = None;
        while let Some(kind) = self.kind(self.at) {
            match kind {
                kind if kind.is_trivia() => {
                    let (next, comments) = self.trivia();
                    if self.ends(previous, next, &comments) {
                        return;
                    }
                    if comments.is_empty() {
                        self.keep_break(nodes, previous, next);
                    }
                    nodes.extend(comments.into_iter().map(|(token, own_line)| Node::Comment(token, own_line)));
                    self.at = next;
                    continue;
                }
                TokenKind::LBrace if previous.and_then(|p| self.kind(p)) != Some(TokenKind::Dot) => return,
                TokenKind::RBrace | TokenKind::Comma => return,
                TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => {
                    let group = self.group();
                    previous = Some(group.close);
                    nodes.push(Node::Group(group));
                }
                _ => {
                    previous = Some(self.at);
                    nodes.push(Node::Token(self.at));
                    self.at += 1;
                }
            }
        }
    }

    /// Whether the statement ends after token `previous`, before the trivia that token `next` follows.
    fn ends(&self, previous: Option<usize>, next: usize, comments: &[(usize, bool)]) -> bool {
        let wants_more = previous.and_then(|p| self.kind(p)).is_some_and(TokenKind::wants_more);
        let Some(kind) = self.kind(next) else { return true };
        let is_doc = |&(at, own_line): &(usize, bool)| {
            own_line && matches!(self.kind(at), Some(TokenKind::Comment(CommentKind::Doc)))
        };
        let continues = kind.is_infix() || matches!(kind, TokenKind::LBrace | TokenKind::Else);
        !(wants_more || continues && !comments.iter().any(is_doc))
    }

    /// Keeps a line break before an operator; one after an operator goes before it.
    fn keep_break(&self, nodes: &mut Vec<Node>, previous: Option<usize>, next: usize) {
        if self.is_operator(next) {
            nodes.push(Node::Break);
        } else if previous.is_some_and(|p| self.is_operator(p))
            && nodes.len() > 1
            && !matches!(nodes[nodes.len() - 2], Node::Break | Node::Comment(..))
        {
            nodes.insert(nodes.len() - 1, Node::Break);
        }
    }

    /// Whether a token is an operator between two operands at which a line may be broken.
    pub fn is_operator(&self, at: usize) -> bool {
        use TokenKind::*;
        let breaks = |kind| {
            matches!(
                kind,
                Pipe | Or
                    | And
                    | Plus
                    | Minus
                    | Star
                    | Slash
                    | Percent
                    | At
                    | EqEq
                    | NotEq
                    | Less
                    | LessEq
                    | Greater
                    | GreaterEq
            )
        };
        self.kind(at).is_some_and(breaks) && !self.unary[at]
    }

    fn group(&mut self) -> Group {
        let open = self.at;
        let is_call = open > 0 && self.kind(open) == Some(TokenKind::LParen) && {
            let before = self.tokens[..open].iter().rposition(|t| !t.kind.is_trivia());
            // What begins a line continues nothing.
            let beside = |b: usize| self.tokens[b..open].iter().all(|t| t.kind != TokenKind::Newline);
            before.is_some_and(|b| self.tokens[b].kind.ends_operand() && !self.keyword[b] && beside(b))
        };
        self.at += 1;
        let mut group = Group { open, entries: Vec::new(), closing: Vec::new(), close: open, comma: false };
        let mut entry = Entry::default();
        let mut fresh = false;
        let mut comma = false;
        while let Some(kind) = self.kind(self.at) {
            match kind {
                TokenKind::Newline => fresh = true,
                TokenKind::Comment(_) | TokenKind::HashComment => {
                    if !entry.nodes.is_empty() {
                        entry.nodes.push(Node::Comment(self.at, fresh));
                    } else if let (false, true, Some(last)) = (fresh, entry.before.is_empty(), group.entries.last_mut())
                    {
                        last.after.push(self.at);
                    } else {
                        entry.before.push(self.at);
                    }
                }
                TokenKind::Comma => {
                    let comments = trailing(&mut entry.nodes);
                    entry.after.extend(comments.into_iter().map(|(token, _)| token));
                    group.entries.push(std::mem::take(&mut entry));
                    (fresh, comma) = (false, true);
                }
                TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace => break,
                TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => {
                    entry.nodes.push(Node::Group(self.group()));
                    (fresh, comma) = (false, false);
                    continue;
                }
                _ => {
                    entry.nodes.push(Node::Token(self.at));
                    (fresh, comma) = (false, false);
                }
            }
            self.at += 1;
        }
        if entry.nodes.is_empty() {
            group.closing = entry.before;
        } else {
            for (token, own_line) in trailing(&mut entry.nodes) {
                if own_line || !group.closing.is_empty() {
                    group.closing.push(token);
                } else {
                    entry.after.push(token);
                }
            }
            group.entries.push(entry);
        }
        // `(a,)` is a tuple, `(a)` is not.
        group.comma = comma && group.entries.len() == 1 && !is_call && self.kind(open) == Some(TokenKind::LParen);
        group.close = self.at;
        self.at += 1;
        group
    }
}

/// Takes the comments at the end of `nodes` away.
fn trailing(nodes: &mut Vec<Node>) -> Vec<(usize, bool)> {
    let first = nodes.iter().rposition(|n| !matches!(n, Node::Comment(..))).map_or(0, |i| i + 1);
    let comments = nodes.drain(first..);
    comments
        .filter_map(|n| match n {
            Node::Comment(token, own_line) => Some((token, own_line)),
            _ => None,
        })
        .collect()
}
