//! Lines, sequences and groups to text.

use super::WIDTH;
use super::align::{self, Behind, Cell, Kind};
use super::tree::{Block, BlockKind, Entry, Group, Line, LineKind, Node, Part, Reader, Stmt};
use crate::syntax::lexer::{Token, TokenKind, tokenize};

/// A `|>` further to the right than this is no place to align others with.
const LAST_PIPE_COLUMN: usize = 60;
/// Brackets with less between them are not broken while others can be.
const SMALL_GROUP: usize = 12;

/// The text of a file, laid out.
pub(super) fn render(text: &str, tokens: &[Token]) -> String {
    let mut reader = Reader::new(text, tokens);
    let lines = reader.file();
    let page = Page { text, tokens, reader };
    page.lines(&lines, 0, BlockKind::Items)
}

/// What is needed to write tokens.
struct Page<'a> {
    text: &'a str,
    tokens: &'a [Token],
    reader: Reader<'a>,
}

/// Text that is being written.
#[derive(Default)]
struct Writer {
    out: String,
    line_start: usize,
}

impl Writer {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }
    fn newline(&mut self, indent: usize) {
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push('\n');
        self.line_start = self.out.len();
        self.blanks(indent);
    }
    fn blanks(&mut self, n: usize) {
        self.out.extend(std::iter::repeat_n(' ', n));
    }
    fn column(&self) -> usize {
        columns(&self.out[self.line_start..])
    }
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

fn last_line(text: &str) -> &str {
    text.rsplit('\n').next().unwrap_or("")
}

impl Page<'_> {
    fn kind(&self, at: usize) -> TokenKind {
        self.tokens[at].kind
    }

    fn word(&self, at: usize) -> &str {
        self.tokens[at].text(self.text)
    }

    fn comment(&self, at: usize) -> &str {
        self.word(at).trim_end()
    }

    // ---- lines

    fn lines(&self, lines: &[Line], depth: usize, kind: BlockKind) -> String {
        let indent = 2 * depth;
        let blanks = self.blanks(lines, indent, kind);
        let mut texts: Vec<String> = Vec::with_capacity(lines.len());
        for (i, line) in lines.iter().enumerate() {
            let mut text = " ".repeat(indent);
            match &line.kind {
                LineKind::Comment(at) => text += self.comment(*at),
                LineKind::Stmt(stmt) => {
                    text = self.stmt(stmt, indent, blanks[i]);
                    // Without a comma, a line that begins with an operator would continue this one.
                    let next = lines[i + 1..].iter().find_map(|l| match &l.kind {
                        LineKind::Stmt(next) => Some(next.first),
                        LineKind::Comment(_) => None,
                    });
                    if kind == BlockKind::Entries && next.is_some_and(|t| self.kind(t).is_infix()) {
                        text.push(',');
                    }
                }
            }
            texts.push(text);
        }
        self.add_comments(lines, indent, &mut texts);
        let apart = self.empty_lines(lines, &texts, kind);
        let mut out = String::new();
        for (text, apart) in texts.iter().zip(apart) {
            out += if apart { "\n" } else { "" };
            out += text;
            out.push('\n');
        }
        out
    }

    /// Above which lines an empty one stands: those of the author, and around items of several lines.
    fn empty_lines(&self, lines: &[Line], texts: &[String], kind: BlockKind) -> Vec<bool> {
        let mut apart: Vec<bool> = lines.iter().map(|l| l.blank_before).collect();
        if kind != BlockKind::Items {
            return apart;
        }
        let mut above: Option<bool> = None;
        for (i, line) in lines.iter().enumerate() {
            let LineKind::Stmt(stmt) = &line.kind else { continue };
            let tall = stmt.parts.len() > 1 && texts[i].contains('\n');
            // The comments right above belong to the item.
            let mut start = i;
            while start > 0 && !apart[start] && matches!(lines[start - 1].kind, LineKind::Comment(_)) {
                start -= 1;
            }
            if above.is_some_and(|above| above || tall) {
                apart[start] = true;
            }
            above = Some(tall);
        }
        apart
    }

    fn add_comments(&self, lines: &[Line], indent: usize, texts: &mut [String]) {
        let trailing = |i: usize| match &lines[i].kind {
            LineKind::Stmt(stmt) => stmt.trailing.map(|t| (t, stmt)),
            LineKind::Comment(_) => None,
        };
        let mut start = 0;
        while start < lines.len() {
            let mut end = start;
            let mut run: Vec<Behind> = Vec::new();
            while let Some((comment, stmt)) = (end < lines.len()).then(|| trailing(end)).flatten() {
                let tall = texts[end].contains('\n');
                if end > start && (lines[end].blank_before || tall) {
                    break;
                }
                let source = &self.text[self.tokens[stmt.first].start..self.tokens[comment].start];
                let column = (!tall && !source.contains('\n')).then(|| indent + columns(source));
                run.push(Behind { end: columns(last_line(&texts[end])), column });
                end += 1;
                if tall {
                    break;
                }
            }
            if run.is_empty() {
                start += 1;
                continue;
            }
            let column = align::comment_column(&run);
            for (i, behind) in (start..end).zip(&run) {
                let comment = trailing(i).expect("it was just seen").0;
                texts[i] += &" ".repeat(column - behind.end);
                texts[i] += self.comment(comment);
            }
            start = end;
        }
    }

    // ---- columns

    /// The blanks before the sign of each line.
    fn blanks(&self, lines: &[Line], indent: usize, kind: BlockKind) -> Vec<usize> {
        let cells: Vec<Option<Cell>> = lines
            .iter()
            .map(|line| match &line.kind {
                LineKind::Stmt(stmt) => self.cell(stmt, indent, kind),
                LineKind::Comment(_) => None,
            })
            .collect();
        let mut out = Vec::with_capacity(lines.len());
        let mut start = 0;
        for i in 1..=lines.len() {
            if i == lines.len() || lines[i].blank_before {
                out.extend(align::blanks(&cells[start..i]));
                start = i;
            }
        }
        out
    }

    /// The sign of a line that may stand in line with others, by its place among the nodes of its first part.
    fn sign(&self, stmt: &Stmt, kind: BlockKind) -> Option<(Kind, usize)> {
        let [Part::Sequence(nodes)] = stmt.parts.as_slice() else { return None };
        let is_sign =
            |n: &Node| matches!(n, Node::Token(t) if matches!(self.kind(*t), TokenKind::Assign | TokenKind::Tilde));
        let at = nodes.iter().position(is_sign)?;
        if at == 0 || nodes[..at].iter().any(|n| self.has_comment(n) || matches!(n, Node::Break)) {
            return None;
        }
        let tilde = matches!(nodes[at], Node::Token(t) if self.kind(t) == TokenKind::Tilde);
        let second = nodes.get(1).is_some_and(|n| matches!(n, Node::Token(t) if self.kind(*t) == TokenKind::Name));
        Some(match kind {
            BlockKind::Items if self.word(stmt.first) == "data" && second => (Kind::Data, at),
            BlockKind::Guide if tilde => (Kind::Guided, at),
            BlockKind::Entries => (Kind::Setting, at),
            _ => (Kind::Free, at),
        })
    }

    fn cell(&self, stmt: &Stmt, indent: usize, kind: BlockKind) -> Option<Cell> {
        if kind == BlockKind::Items
            && let [Part::Sequence(nodes), Part::Block(_)] = stmt.parts.as_slice()
            && self.word(stmt.first) == "infer"
            && self.one_line(stmt, indent).is_some()
        {
            return Some(Cell { kind: Kind::Infer, width: columns(&self.flat(nodes)), blanks: 1 });
        }
        let (kind, at) = self.sign(stmt, kind)?;
        let [Part::Sequence(nodes), ..] = stmt.parts.as_slice() else { return None };
        let Node::Token(sign) = nodes[at] else { return None };
        let source = &self.text[..self.tokens[sign].start];
        let blanks = source.len() - source.trim_end_matches(' ').len();
        Some(Cell { kind, width: columns(&self.flat(&nodes[..at])), blanks: blanks.max(1) })
    }

    // ---- statements

    /// A statement with its indentation; `blanks` stand before its sign.
    fn stmt(&self, stmt: &Stmt, indent: usize, blanks: usize) -> String {
        let mut w = Writer::default();
        w.blanks(indent);
        if stmt.parts.len() > 1
            && let Some((head, rest)) = self.one_line(stmt, indent)
        {
            w.push(&head);
            w.blanks(blanks);
            w.push(&rest);
            return w.out;
        }
        for (i, part) in stmt.parts.iter().enumerate() {
            match part {
                Part::Sequence(nodes) => {
                    let tail = if i + 1 < stmt.parts.len() { 2 } else { 0 };
                    let sign = nodes.iter().position(
                        |n| matches!(n, Node::Token(t) if matches!(self.kind(*t), TokenKind::Assign | TokenKind::Tilde)),
                    );
                    match sign.filter(|&at| blanks > 1 && i == 0 && at > 0) {
                        Some(at) => {
                            w.push(&self.flat(&nodes[..at]));
                            w.blanks(blanks);
                            self.sequence(&nodes[at..], indent, tail, &mut w);
                        }
                        None => {
                            if i > 0 && !matches!(nodes.first(), Some(Node::Comment(..))) {
                                w.push(" ");
                            }
                            self.sequence(nodes, indent, tail, &mut w);
                        }
                    }
                }
                Part::Block(block) => {
                    let after_comment =
                        matches!(&stmt.parts[i - 1], Part::Sequence(n) if matches!(n.last(), Some(Node::Comment(..))));
                    w.push(if after_comment { "" } else { " " });
                    self.block(block, indent, &mut w);
                }
            }
        }
        w.out
    }

    fn block(&self, block: &Block, indent: usize, w: &mut Writer) {
        if block.lines.is_empty() && block.opening.is_none() {
            return w.push("{ }");
        }
        w.push("{");
        if let Some(comment) = block.opening {
            w.push("  ");
            w.push(self.comment(comment));
        }
        w.push("\n");
        w.push(&self.lines(&block.lines, indent / 2 + 1, block.kind));
        w.line_start = w.out.len();
        w.blanks(indent);
        w.push("}");
    }

    /// A statement with blocks that the author wrote on one line and that fits on it: up to its first block, the rest.
    fn one_line(&self, stmt: &Stmt, indent: usize) -> Option<(String, String)> {
        let Part::Sequence(nodes) = stmt.parts.first()? else { return None };
        if nodes.iter().any(|n| self.has_comment(n)) {
            return None;
        }
        let head = self.flat(nodes);
        let mut rest = String::new();
        for (i, part) in stmt.parts.iter().enumerate().skip(1) {
            rest += if i > 1 { " " } else { "" };
            match part {
                Part::Sequence(nodes) if nodes.iter().any(|n| self.has_comment(n)) => return None,
                Part::Sequence(nodes) => rest += &self.flat(nodes),
                Part::Block(block) => rest += &self.one_line_block(block)?,
            }
        }
        (indent + columns(&head) + 1 + columns(&rest) <= WIDTH).then_some((head, rest))
    }

    fn one_line_block(&self, block: &Block) -> Option<String> {
        if !block.one_line || block.opening.is_some() {
            return None;
        }
        let mut entries = Vec::new();
        for line in &block.lines {
            let LineKind::Stmt(stmt) = &line.kind else { return None };
            if stmt.trailing.is_some() {
                return None;
            }
            let [Part::Sequence(nodes)] = stmt.parts.as_slice() else {
                let (head, rest) = self.one_line(stmt, 0)?;
                entries.push(format!("{head} {rest}"));
                continue;
            };
            if nodes.iter().any(|n| self.has_comment(n)) {
                return None;
            }
            entries.push(self.flat(nodes));
        }
        // Commas part entries; statements are parted by lines alone.
        if entries.len() > 1 && block.kind != BlockKind::Entries {
            return None;
        }
        Some(if entries.is_empty() { "{ }".into() } else { format!("{{ {} }}", entries.join(", ")) })
    }

    // ---- sequences

    fn has_comment(&self, node: &Node) -> bool {
        match node {
            Node::Comment(..) => true,
            Node::Token(_) | Node::Break => false,
            Node::Group(group) => {
                let commented = |e: &Entry| {
                    !e.before.is_empty() || !e.after.is_empty() || e.nodes.iter().any(|n| self.has_comment(n))
                };
                !group.closing.is_empty() || group.entries.iter().any(commented)
            }
        }
    }

    /// The first token of a node that is not a comment or break.
    fn first(&self, node: &Node) -> Option<usize> {
        match node {
            Node::Token(t) => Some(*t),
            Node::Group(group) => Some(group.open),
            Node::Comment(..) | Node::Break => None,
        }
    }

    fn last(&self, node: &Node) -> Option<usize> {
        match node {
            Node::Token(t) => Some(*t),
            Node::Group(group) => Some(group.close),
            Node::Comment(..) | Node::Break => None,
        }
    }

    /// Nodes without comments on one line.
    fn flat(&self, nodes: &[Node]) -> String {
        let mut out = String::new();
        self.flat_into(&nodes.iter().collect::<Vec<_>>(), None, &mut out);
        out
    }

    fn flat_into(&self, nodes: &[&Node], mut previous: Option<usize>, out: &mut String) {
        for node in nodes {
            if let (Some(previous), Some(first)) = (previous, self.first(node))
                && self.gap(previous, first)
            {
                out.push(' ');
            }
            match node {
                Node::Token(t) => out.push_str(self.word(*t)),
                Node::Group(group) => {
                    out.push_str(self.word(group.open));
                    for (i, entry) in group.entries.iter().enumerate() {
                        out.push_str(if i > 0 { ", " } else { "" });
                        self.flat_into(&entry.nodes.iter().collect::<Vec<_>>(), None, out);
                    }
                    out.push_str(if group.comma { "," } else { "" });
                    out.push_str(self.word(group.close));
                }
                Node::Comment(..) | Node::Break => {}
            }
            previous = self.last(node).or(previous);
        }
    }

    /// Writes a sequence; `indent` is that of the line it begins on, `tail` what has to fit behind it.
    fn sequence(&self, nodes: &[Node], indent: usize, tail: usize, w: &mut Writer) {
        // Pieces that begin a line of their own, each with the comments that end it.
        let mut pieces: Vec<(Vec<&Node>, Vec<(usize, bool)>)> = vec![Default::default()];
        for node in nodes {
            let (piece, comments) = pieces.last_mut().expect("there is a first piece");
            match node {
                Node::Comment(token, own_line) => comments.push((*token, *own_line)),
                Node::Break if piece.is_empty() || !comments.is_empty() => {}
                Node::Break => pieces.push(Default::default()),
                node if comments.is_empty() => piece.push(node),
                node => pieces.push((vec![node], Vec::new())),
            }
        }
        pieces.retain(|(nodes, comments)| !nodes.is_empty() || !comments.is_empty());
        let mut pipe = None;
        let last = pieces.len().saturating_sub(1);
        for (i, (piece, comments)) in pieces.iter().enumerate() {
            if i > 0 {
                w.newline(self.continued(piece, indent, pipe));
            }
            self.piece(piece, indent, if i == last { tail } else { 0 }, i == 0, &mut pipe, w);
            for &(comment, own_line) in comments {
                if own_line {
                    w.newline(if piece.is_empty() { indent } else { indent + 2 });
                } else {
                    w.push("  ");
                }
                w.push(self.comment(comment));
            }
            // A comment ends its line, also before what follows the sequence.
            if i == last && !comments.is_empty() {
                w.newline(indent);
            }
        }
    }

    /// Where a continued line begins.
    fn continued(&self, piece: &[&Node], indent: usize, pipe: Option<usize>) -> usize {
        let first = piece.first().and_then(|n| self.first(n));
        let is_pipe = first.is_some_and(|t| self.kind(t) == TokenKind::Pipe);
        // `else` after a comment goes on at the level of its `if`.
        let is_else = first.is_some_and(|t| self.kind(t) == TokenKind::Else);
        match pipe {
            _ if is_else => indent,
            Some(column) if is_pipe => column,
            _ => indent + 2,
        }
    }

    /// Writes what the author has on one line: as it is if it fits, else broken before its pipes, else in its brackets.
    fn piece(
        &self,
        nodes: &[&Node],
        indent: usize,
        tail: usize,
        is_first: bool,
        pipe: &mut Option<usize>,
        w: &mut Writer,
    ) {
        let is_pipe = |n: &Node| matches!(n, Node::Token(t) if self.kind(*t) == TokenKind::Pipe);
        let first_pipe = nodes.iter().position(|n| is_pipe(n)).filter(|&p| is_first && p > 0);
        let start = w.column();
        if let (Some(at), None) = (first_pipe, *pipe) {
            let mut head = String::new();
            self.flat_into(&nodes[..at], None, &mut head);
            *pipe = Some(start + columns(&head) + 1).filter(|&c| c <= LAST_PIPE_COLUMN);
        }
        if self.fits(nodes, None, tail, w) {
            return self.write_flat(nodes, None, w);
        }
        let mut cuts: Vec<usize> = (1..nodes.len()).filter(|&i| is_pipe(nodes[i])).collect();
        if is_first && !cuts.is_empty() {
            cuts.remove(0);
        }
        let base = if is_first { indent } else { start };
        if cuts.is_empty() {
            return self.broken(nodes, base, tail, w);
        }
        let mut from = 0;
        for to in cuts.into_iter().chain([nodes.len()]) {
            if from > 0 {
                w.newline(self.continued(&nodes[from..to], indent, *pipe));
            }
            let base = if from == 0 { base } else { w.column() };
            self.broken(&nodes[from..to], base, if to == nodes.len() { tail } else { 0 }, w);
            from = to;
        }
    }

    fn fits(&self, nodes: &[&Node], previous: Option<usize>, tail: usize, w: &Writer) -> bool {
        if nodes.iter().any(|n| self.has_comment(n)) {
            return false;
        }
        let mut text = String::new();
        self.flat_into(nodes, previous, &mut text);
        w.column() + columns(&text) + tail <= WIDTH
    }

    fn write_flat(&self, nodes: &[&Node], previous: Option<usize>, w: &mut Writer) {
        let mut text = String::new();
        self.flat_into(nodes, previous, &mut text);
        w.push(&text);
    }

    /// Writes nodes whose brackets may be broken, those to the right first; `indent` is that of their line.
    fn broken(&self, nodes: &[&Node], indent: usize, tail: usize, w: &mut Writer) {
        if self.fits(nodes, None, tail, w) {
            return self.write_flat(nodes, None, w);
        }
        let size = |n: &Node| match n {
            Node::Group(g) if !g.entries.is_empty() || !g.closing.is_empty() => {
                if self.has_comment(n) {
                    usize::MAX
                } else {
                    columns(&self.flat(std::slice::from_ref(n)))
                }
            }
            _ => 0,
        };
        let sizes: Vec<usize> = nodes.iter().map(|n| size(n)).collect();
        let least = if sizes.iter().any(|&s| s > SMALL_GROUP) { SMALL_GROUP } else { 0 };
        if sizes.iter().all(|&s| s == 0) {
            return self.at_operators(nodes, indent, w);
        }
        let mut previous = None;
        for (i, node) in nodes.iter().enumerate() {
            let rest = &nodes[i..];
            let commented = rest.iter().any(|n| self.has_comment(n));
            if !commented && self.fits(rest, previous, tail, w) {
                return self.write_flat(rest, previous, w);
            }
            // A later group can still be broken when this one and all up to it fit.
            let next = (i + 1..nodes.len()).find(|&j| sizes[j] > least);
            let can_wait = next.is_some_and(|j| self.fits(&nodes[i..j], previous, 1, w));
            match node {
                Node::Group(group) if sizes[i] > least && !can_wait => {
                    if previous.is_some_and(|p| self.gap(p, group.open)) {
                        w.push(" ");
                    }
                    self.group(group, indent, w);
                }
                node => self.write_flat(std::slice::from_ref(node), previous, w),
            }
            previous = self.last(node).or(previous);
        }
    }

    /// Writes nodes that have no brackets to break: before `or` and `and`, else before sums.
    fn at_operators(&self, nodes: &[&Node], indent: usize, w: &mut Writer) {
        let cuts_at = |kinds: &[TokenKind]| -> Vec<usize> {
            let is_one =
                |n: &Node| matches!(n, Node::Token(t) if kinds.contains(&self.kind(*t)) && !self.reader.unary[*t]);
            (1..nodes.len()).filter(|&i| is_one(nodes[i])).collect()
        };
        let mut cuts = cuts_at(&[TokenKind::Or, TokenKind::And]);
        if cuts.is_empty() {
            cuts = cuts_at(&[TokenKind::Plus, TokenKind::Minus]);
        }
        let mut from = 0;
        for to in cuts.into_iter().chain([nodes.len()]) {
            if from > 0 {
                w.newline(indent + 2);
            }
            self.write_flat(&nodes[from..to], None, w);
            from = to;
        }
    }

    /// Writes a group with one entry a line.
    fn group(&self, group: &Group, indent: usize, w: &mut Writer) {
        w.push(self.word(group.open));
        let inner = indent + 2;
        for (i, entry) in group.entries.iter().enumerate() {
            for &comment in &entry.before {
                w.newline(inner);
                w.push(self.comment(comment));
            }
            w.newline(inner);
            self.sequence(&entry.nodes, inner, 1, w);
            let last = i + 1 == group.entries.len();
            w.push(if !last || group.comma { "," } else { "" });
            for (k, &comment) in entry.after.iter().enumerate() {
                if k == 0 {
                    w.push("  ");
                } else {
                    w.newline(inner);
                }
                w.push(self.comment(comment));
            }
        }
        for &comment in &group.closing {
            w.newline(inner);
            w.push(self.comment(comment));
        }
        w.newline(indent);
        w.push(self.word(group.close));
    }

    // ---- blanks

    /// Whether a blank stands between two tokens that follow each other.
    fn gap(&self, previous: usize, next: usize) -> bool {
        use TokenKind::*;
        let (p, n) = (self.kind(previous), self.kind(next));
        let unary = |at: usize| self.reader.unary[at] || self.kind(at) == Bang;
        let wanted = match (p, n) {
            (_, Comma | RParen | RBracket | Dot) | (LParen | LBracket | Dot, _) => false,
            (Range | RangeClosed, n) => n.is_infix() && !unary(next) && !matches!(n, Range | RangeClosed),
            (p, Range | RangeClosed) => !p.ends_operand() && !unary(previous),
            (p, Colon) => p == Comma,
            (p, LParen | LBracket) if !unary(previous) => !p.ends_operand() || self.reader.keyword[previous],
            _ => !unary(previous),
        };
        wanted || self.glued(previous, next)
    }

    /// Whether two tokens would be read as something else without a blank between them.
    fn glued(&self, previous: usize, next: usize) -> bool {
        let text = format!("{}{}", self.word(previous), self.word(next));
        let kinds = tokenize(&text).iter().map(|t| t.kind).collect::<Vec<_>>();
        kinds != [self.kind(previous), self.kind(next)]
    }
}
