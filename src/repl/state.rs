//! The program as it stands: an ordered list of pieces of text, and how a new piece takes its place among them.
//!
//! In: what was typed or loaded.   Out: the text of a whole program, with the way back from its places to what was typed.
//! Every change makes a candidate list that is compiled before it is kept, so the list always compiles.

use crate::diag::{Diagnostic, Diagnostics};
use crate::driver::Options;
use crate::driver::{self, Compilation};
use crate::source::{FileId, Sources, Span};
use crate::syntax::ast::{Expr, ExprKind, GuideBody, Item, ItemKind, Pattern, Stmt, StmtKind, Target, UseFrom};
use crate::syntax::lexer::{TokenKind, tokenize};
use crate::syntax::parse::Fragment;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A text that was typed or read, as messages show it.
#[derive(Debug)]
pub struct Origin {
    /// `<repl>` or the name of a file.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// What a piece is, and so which older piece it replaces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Key {
    /// `use bnn`: the module or file.
    Use(String),
    /// `size K = 3`
    Size(String),
    /// `table = csv("d.csv")`
    Const(String),
    /// `data x: real`
    Data(String),
    /// A `fn`, `layer`, `net` or model with arguments.
    Function(String),
    /// A further model of a file.
    Model(Option<String>),
    /// A guide by its name.
    Guide(Option<String>),
    /// An infer block by algorithm and name.
    Infer(String, Option<String>),
    /// `generate { … }`
    Generate,
    /// `evaluate { … }`
    Evaluate,
    /// `expect { … }`
    Expect,
    /// A site.
    Site,
    /// A deterministic value.
    Value,
    /// Any other statement of the model.
    Statement,
}

impl Key {
    /// Whether it stands in the model block.
    pub fn is_statement(&self) -> bool {
        matches!(self, Key::Site | Key::Value | Key::Statement)
    }
    /// Whether it belongs to how the model is fitted and used rather than to the model.
    fn is_use_of_model(&self) -> bool {
        matches!(self, Key::Model(_) | Key::Guide(_) | Key::Infer(..) | Key::Generate | Key::Evaluate | Key::Expect)
    }
}

/// A statement or an item.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The text that it is a part of.
    origin: Rc<Origin>,
    /// Which part.
    range: Range<usize>,
    /// What it is.
    pub key: Key,
    /// The names that it defines: `["a", "b"]` for `(a, b) = f(x)`, `["x[0]"]` for an element.
    pub defines: Vec<String>,
    /// Every name in it that may stand for something else.
    uses: Vec<String>,
}

impl Piece {
    /// A piece for what was parsed from `range` of the text of `origin`.
    pub fn new(origin: &Rc<Origin>, range: Range<usize>, fragment: &Fragment) -> Piece {
        let (key, defines) = match fragment {
            Fragment::Item(item) => item_key(&item.kind),
            Fragment::Stmt(stmt) => stmt_key(stmt),
        };
        let mut piece = Piece { origin: origin.clone(), range, key, defines, uses: Vec::new() };
        piece.uses = names_used(piece.text());
        piece
    }
    /// An item from text that is made up here, not typed.
    pub fn made_up(text: String, key: Key, defines: Vec<String>) -> Piece {
        let origin = Rc::new(Origin { name: "<repl>".into(), text });
        let range = 0..origin.text.len();
        let uses = names_used(&origin.text);
        Piece { origin, range, key, defines, uses }
    }
    /// Its text.
    pub fn text(&self) -> &str {
        &self.origin.text[self.range.clone()]
    }
    /// Whether a place in `sources`, as [`Assembled::remap`] made them, lies in this piece.
    pub fn holds(&self, sources: &Sources, span: Span) -> bool {
        let file = sources.file(span.file);
        file.name == self.origin.name && file.text == self.origin.text && {
            let start = span.start as usize;
            self.range.start <= start && start <= self.range.end
        }
    }
    /// Its text with the lines after the first moved left by as much as the first one stood in.
    pub fn dedented(&self) -> String {
        let line_start = self.origin.text[..self.range.start].rfind('\n').map_or(0, |at| at + 1);
        let before = &self.origin.text[line_start..self.range.start];
        let indent = if before.trim().is_empty() { before.len() } else { 0 };
        let mut out = String::new();
        for (i, line) in self.text().lines().enumerate() {
            if i > 0 {
                out.push('\n');
            }
            let blanks = line.len() - line.trim_start_matches(' ').len();
            out.push_str(if i == 0 { line } else { &line[blanks.min(indent)..] });
        }
        out
    }
    /// Whether `self` takes the place of `old`.
    fn replaces(&self, old: &Piece) -> bool {
        if self.key.is_statement() != old.key.is_statement() {
            return false;
        }
        if !self.key.is_statement() {
            return self.key == old.key;
        }
        !old.defines.is_empty() && old.defines.iter().all(|name| self.defines.contains(name))
    }
    /// Whether `old` has no place beside `self`, though `self` does not stand where it stood.
    fn displaces(&self, old: &Piece) -> bool {
        match (&self.key, &old.key) {
            (Key::Site | Key::Value, Key::Const(name)) => self.defines.contains(name),
            (Key::Data(name) | Key::Const(name), Key::Value) => old.defines == [name.clone()],
            (Key::Const(name), Key::Site) => old.defines == [name.clone()],
            (Key::Data(a), Key::Const(b)) | (Key::Const(a), Key::Data(b)) => a == b,
            _ => false,
        }
    }
    fn uses_any(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.uses.iter().any(|used| used == base(name)))
    }
}

/// `x` of `x[0]` and of `x.weight`.
fn base(name: &str) -> &str {
    name.split(['[', '.']).next().unwrap_or(name)
}

fn item_key(kind: &ItemKind) -> (Key, Vec<String>) {
    let named = |key: fn(String) -> Key, name: &str| (key(name.to_string()), vec![name.to_string()]);
    match kind {
        ItemKind::Use(item) => {
            let from = match &item.from {
                UseFrom::Library(name) => name.name.clone(),
                UseFrom::File { path, .. } => path.clone(),
            };
            (Key::Use(from), Vec::new())
        }
        ItemKind::Const { name, .. } => named(Key::Const, &name.name),
        ItemKind::Size { name, .. } => (Key::Size(name.name.clone()), vec![name.name.clone()]),
        ItemKind::Data { name, .. } => named(Key::Data, &name.name),
        ItemKind::Fn(f) | ItemKind::Layer(f) | ItemKind::Net(f) | ItemKind::Submodel(f) => {
            named(Key::Function, &f.name.name)
        }
        ItemKind::Model { name, .. } => (Key::Model(name.as_ref().map(|n| n.name.clone())), Vec::new()),
        ItemKind::Guide(guide) => {
            let name = match &guide.body {
                // `guide full_rank` takes the place of any other nameless guide.
                GuideBody::Family(_) => None,
                GuideBody::Block(_) => guide.name.as_ref().map(|n| n.name.clone()),
            };
            (Key::Guide(name), Vec::new())
        }
        ItemKind::Infer { algorithm, name, .. } => {
            (Key::Infer(algorithm.name.clone(), name.as_ref().map(|n| n.name.clone())), Vec::new())
        }
        ItemKind::Generate(_) => (Key::Generate, Vec::new()),
        ItemKind::Evaluate(_) => (Key::Evaluate, Vec::new()),
        ItemKind::Expect(_) => (Key::Expect, Vec::new()),
    }
}

fn stmt_key(stmt: &Stmt) -> (Key, Vec<String>) {
    match &stmt.kind {
        StmtKind::Let { target: Pattern::Name(name), value, keep: false } if is_constant(value) => {
            // Where it needs nothing of the model it is a constant of the file, which data and sizes may use too.
            (Key::Const(name.name.clone()), vec![name.name.clone()])
        }
        StmtKind::Let { target: Pattern::Name(name), .. } => (Key::Value, vec![name.name.clone()]),
        StmtKind::Let { target: Pattern::Tuple(names, _), .. } => {
            (Key::Value, names.iter().map(|n| n.name.clone()).collect())
        }
        StmtKind::Sample { target, .. } => {
            let names = match target {
                Target::Path(path) => vec![path.dotted()],
                Target::Tuple(paths, _) => paths.iter().map(|p| p.dotted()).collect(),
                Target::Element(..) => vec![target_text(stmt)],
                Target::Rest(_) => Vec::new(),
            };
            (Key::Site, names)
        }
        StmtKind::Declare { name, .. } | StmtKind::Param { name, .. } => (Key::Value, vec![name.name.clone()]),
        StmtKind::Assign { .. } => (Key::Value, vec![target_text(stmt)]),
        _ => (Key::Statement, Vec::new()),
    }
}

/// `x[0]` of `x[0] ~ Normal(0, 1)`, in the canonical layout.
fn target_text(stmt: &Stmt) -> String {
    let printed = crate::syntax::print_stmt(&Stmt { doc: None, ..stmt.clone() });
    let end = printed.find(" ~").or_else(|| printed.find(" =")).unwrap_or(printed.len());
    printed[..end].trim().to_string()
}

/// Whether an expression names nothing but functions of data expressions: `3`, `csv("d.csv")`, `[1, 2] |> sum`.
fn is_constant(e: &Expr) -> bool {
    let callable =
        |callee: &Expr| matches!(&callee.kind, ExprKind::Name(n) if crate::data::functions::names().any(|f| f == n));
    match &e.kind {
        ExprKind::Int(_) | ExprKind::Real(_) | ExprKind::Str(_) | ExprKind::Bool(_) => true,
        ExprKind::Name(name) => name == "pi" || name == "e",
        ExprKind::Field(inner, _) | ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => is_constant(inner),
        ExprKind::Call { callee, args } => callable(callee) && args.iter().all(|a| is_constant(&a.value)),
        ExprKind::Binary(_, a, b) => is_constant(a) && is_constant(b),
        ExprKind::Pipe(a, b) => is_constant(a) && (callable(b) || is_constant(b)),
        ExprKind::Array(parts) => parts.iter().all(is_constant),
        _ => false,
    }
}

/// The names in a text that may stand for a value: not those of fields and of named arguments.
fn names_used(text: &str) -> Vec<String> {
    let tokens = tokenize(text);
    let mut names: Vec<String> = Vec::new();
    let mut depth = 0i32;
    for (i, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::LParen | TokenKind::LBracket => depth += 1,
            TokenKind::RParen | TokenKind::RBracket => depth -= 1,
            _ => {}
        }
        let next = tokens.get(i + 1).map(|t| t.kind);
        let field = i > 0 && tokens[i - 1].kind == TokenKind::Dot;
        let target = depth == 0 && matches!(next, Some(TokenKind::Assign | TokenKind::Tilde | TokenKind::Colon));
        let argument = depth > 0 && next == Some(TokenKind::Assign);
        if token.kind == TokenKind::Name && !field && !target && !argument {
            let name = token.text(text);
            if !names.iter().any(|n| n == name) {
                names.push(name.to_string());
            }
        }
    }
    names
}

/// The pieces of a program, and where its file lies.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Items and statements in the order of the program.
    pub pieces: Vec<Piece>,
    /// The file that was loaded: paths in the program start beside it.
    pub path: Option<PathBuf>,
    /// The name of the model, when the file gave it one.
    pub model_name: Option<String>,
    /// What the file says about itself.
    pub doc: Option<String>,
}

/// A value or a draw that is looked at without becoming a part of the program.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The expression.
    pub piece: Piece,
    /// Whether it is a distribution to draw from rather than a value.
    pub draw: bool,
    /// Whether its draws are single whole numbers.
    pub whole: bool,
}

/// The text of a program, and where its parts come from.
#[derive(Debug, Default)]
pub struct Assembled {
    /// The text.
    pub text: String,
    /// Byte ranges of `text` with the place that each was copied from.
    map: Vec<(Range<usize>, Rc<Origin>, usize)>,
    /// The name of the probed value.
    pub probe: String,
}

impl Assembled {
    fn push(&mut self, piece: &Piece) {
        let start = self.text.len();
        self.text.push_str(piece.text());
        self.map.push((start..self.text.len(), piece.origin.clone(), piece.range.start));
    }

    /// The messages with their places in what was typed, and the sources to draw them with.
    pub fn remap(&self, diags: &Diagnostics, sources: &Sources) -> (Diagnostics, Sources) {
        let mut shown = Sources::default();
        let mut files: HashMap<(usize, FileId), FileId> = HashMap::new();
        let root = sources.iter().next().map(|(id, _)| id);
        let mut out = Diagnostics::new();
        for diagnostic in diags {
            let mut mapped: Diagnostic = diagnostic.clone();
            mapped.fix = None;
            mapped.labels.retain_mut(|label| {
                let span = label.span;
                if Some(span.file) != root {
                    let file = *files.entry((0, span.file)).or_insert_with(|| {
                        let file = sources.file(span.file);
                        shown.add(file.name.clone(), file.path.clone(), file.text.clone())
                    });
                    label.span = Span { file, ..span };
                    return true;
                }
                let (start, end) = (span.start as usize, span.end as usize);
                let Some((range, origin, at)) = self.map.iter().find(|(r, ..)| r.start <= start && start <= r.end)
                else {
                    return false;
                };
                let file = *files
                    .entry((Rc::as_ptr(origin) as usize, span.file))
                    .or_insert_with(|| shown.add(origin.name.clone(), None, origin.text.clone()));
                let place = |x: usize| x.min(range.end) - range.start + at;
                label.span = Span::new(file, place(start), place(end));
                true
            });
            out.push(mapped);
        }
        (out, shown)
    }
}

/// A program that compiles, with its compilation.
pub struct Checked {
    /// The pieces.
    pub program: Program,
    /// The text.
    pub assembled: Assembled,
    /// What the compiler makes of it.
    pub compilation: Compilation,
}

impl Program {
    /// The text of the whole program; of a probe also, without what is not of the model.
    pub fn assemble(&self, probe: Option<&Probe>) -> Assembled {
        let mut out = Assembled::default();
        for piece in self.pieces.iter().filter(|p| !p.key.is_statement() && !p.key.is_use_of_model()) {
            out.push(piece);
            out.text.push('\n');
        }
        if let Some(probe) = probe {
            out.probe = self.fresh_name(probe);
            if probe.whole {
                out.text.push_str(&format!("data {}: int\n", out.probe));
            }
        }
        let has_model = self.pieces.iter().any(|p| p.key.is_statement()) || probe.is_some();
        if has_model {
            let name = self.model_name.as_ref().map_or(String::new(), |n| format!(" {n}"));
            out.text.push_str(&format!("model{name} {{\n"));
            for piece in self.pieces.iter().filter(|p| p.key.is_statement()) {
                out.push(piece);
                out.text.push('\n');
            }
            if let Some(probe) = probe {
                let word = if probe.draw { format!("{} ~ ", out.probe) } else { format!("keep {} = ", out.probe) };
                out.text.push_str(&word);
                out.push(&probe.piece);
                out.text.push('\n');
            }
            out.text.push_str("}\n");
        }
        if probe.is_none() {
            for piece in self.pieces.iter().filter(|p| p.key.is_use_of_model()) {
                out.push(piece);
                out.text.push('\n');
            }
        }
        out
    }

    /// A name that the program does not use.
    fn fresh_name(&self, probe: &Probe) -> String {
        let taken = |name: &str| {
            let pieces = self.pieces.iter().chain([&probe.piece]);
            pieces.into_iter().any(|p| p.defines.iter().chain(&p.uses).any(|n| base(n) == name))
        };
        let names = std::iter::once("it".to_string()).chain((1..).map(|i| format!("it_{i}")));
        names.into_iter().find(|name| !taken(name)).expect("there are more names than pieces")
    }

    /// Compiles it.
    pub fn compile(&self, probe: Option<&Probe>) -> (Assembled, Compilation) {
        let assembled = self.assemble(probe);
        let options = Options { model: self.model_name.clone(), ..Options::default() };
        let compilation = driver::compile("<repl>", self.path.clone(), &assembled.text, &options, &mut read_used);
        (assembled, compilation)
    }

    /// The program with `piece` in its place, and whether it replaced an older one.
    pub fn with(&self, piece: Piece) -> (Program, bool) {
        let mut next = self.clone();
        // `x = x + 1` shadows; it cannot stand where the `x` that it reads stood.
        let shadows = piece.key == Key::Value && piece.uses_any(&piece.defines);
        next.pieces.retain(|old| shadows || !piece.displaces(old));
        let old = next.pieces.iter().rposition(|old| piece.replaces(old)).filter(|_| !shadows);
        match (old, &piece.key) {
            (old, Key::Guide(_) | Key::Infer(..)) => {
                // The first one is the default, and what was typed last is what is wanted.
                if let Some(at) = old {
                    next.pieces.remove(at);
                }
                let same = |p: &Piece| std::mem::discriminant(&p.key) == std::mem::discriminant(&piece.key);
                let at = next.pieces.iter().position(same).unwrap_or(next.pieces.len());
                next.pieces.insert(at, piece);
                (next, old.is_some())
            }
            (Some(at), _) => {
                next.pieces[at] = piece;
                (next, true)
            }
            (None, _) => {
                next.pieces.push(piece);
                (next, false)
            }
        }
    }

    /// The same with every statement after those that it uses, otherwise in the old order.
    ///
    /// Errors: the names of a circle, the first one again at the end.
    pub fn sorted(&self) -> Result<Program, Vec<String>> {
        let (statements, items): (Vec<Piece>, Vec<Piece>) =
            self.pieces.iter().cloned().partition(|p| p.key.is_statement());
        let n = statements.len();
        // Bound twice: then the order has a meaning of its own.
        let shadowed = |i: usize, j: usize| statements[i].defines.iter().any(|d| statements[j].defines.contains(d));
        let needs = |i: usize, j: usize| {
            if i == j {
                return false;
            }
            let uses = statements[i].uses_any(&statements[j].defines);
            let element = statements[i]
                .defines
                .iter()
                .any(|d| base(d) != d && statements[j].defines.iter().any(|e| e == base(d)));
            uses || element || (shadowed(i, j) && j < i)
        };
        let mut order: Vec<usize> = Vec::with_capacity(n);
        while order.len() < n {
            let waiting: Vec<usize> = (0..n).filter(|i| !order.contains(i)).collect();
            let ready = waiting.iter().copied().find(|&i| waiting.iter().all(|&j| !needs(i, j)));
            match ready {
                Some(i) => order.push(i),
                None => {
                    // Every one that waits needs another one that waits: going on leads around.
                    let mut path = vec![waiting[0]];
                    loop {
                        let last = path[path.len() - 1];
                        let next =
                            waiting.iter().copied().find(|&j| needs(last, j)).expect("each one waits for another");
                        if let Some(at) = path.iter().position(|&i| i == next) {
                            path.drain(..at);
                            path.push(next);
                            let name = |&i: &usize| statements[i].defines.first().cloned().unwrap_or_default();
                            return Err(path.iter().map(name).collect());
                        }
                        path.push(next);
                    }
                }
            }
        }
        let mut next = Program { pieces: items, ..self.clone() };
        next.pieces.extend(order.into_iter().map(|i| statements[i].clone()));
        Ok(next)
    }

    /// The names of what depends on any of `names`, directly or not, in the order of the program.
    pub fn dependents(&self, names: &[String]) -> Vec<String> {
        let mut changed = names.to_vec();
        let mut out: Vec<String> = Vec::new();
        loop {
            let before = changed.len();
            for piece in &self.pieces {
                let known = piece.defines.iter().all(|d| changed.contains(d));
                if !known && piece.uses_any(&changed) {
                    changed.extend(piece.defines.iter().cloned());
                    out.extend(piece.defines.iter().cloned());
                }
            }
            if changed.len() == before {
                return out;
            }
        }
    }

    /// The program without what defines `name`; `None` when nothing does.
    pub fn without(&self, name: &str) -> Option<Program> {
        let mut next = self.clone();
        // A site that is observed is both: first the datum goes, then the site.
        let datum = next.pieces.iter().position(|p| matches!(&p.key, Key::Data(n) if n == name));
        let at = datum.or_else(|| next.pieces.iter().rposition(|p| p.defines.iter().any(|d| d == name)))?;
        next.pieces.remove(at);
        Some(next)
    }

    /// The program as a file.
    pub fn to_file(&self) -> String {
        let mut out = String::new();
        if let Some(doc) = &self.doc {
            for line in doc.lines() {
                out.push_str(format!("/// {line}").trim_end());
                out.push('\n');
            }
            out.push('\n');
        }
        let mut last: Option<&Key> = None;
        let items = self.pieces.iter().filter(|p| !p.key.is_statement() && !p.key.is_use_of_model());
        for piece in items {
            let apart = matches!(piece.key, Key::Function(_))
                || last.is_some_and(|last| std::mem::discriminant(last) != std::mem::discriminant(&piece.key));
            if last.is_some() && apart {
                out.push('\n');
            }
            out.push_str(&piece.dedented());
            out.push('\n');
            last = Some(&piece.key);
        }
        let statements: Vec<&Piece> = self.pieces.iter().filter(|p| p.key.is_statement()).collect();
        if !statements.is_empty() {
            if last.is_some() {
                out.push('\n');
            }
            let name = self.model_name.as_ref().map_or(String::new(), |n| format!(" {n}"));
            out.push_str(&format!("model{name} {{\n"));
            for piece in statements {
                for line in piece.dedented().lines() {
                    out.push_str(format!("  {line}").trim_end());
                    out.push('\n');
                }
            }
            out.push_str("}\n");
        }
        for piece in self.pieces.iter().filter(|p| p.key.is_use_of_model()) {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&piece.dedented());
            out.push('\n');
        }
        out
    }

    /// The pieces of a whole file, its first model taken apart into statements.
    ///
    /// Errors: what the parser reports.
    pub fn from_file(path: &Path, text: &str) -> Result<Program, (Diagnostics, Sources)> {
        let mut sources = Sources::default();
        let mut diags = Diagnostics::new();
        let name = path.display().to_string();
        let file = sources.add(name.clone(), Some(path.to_path_buf()), text);
        let module = crate::syntax::parse_module(file, text, &mut diags);
        if diags.has_errors() {
            return Err((diags, sources));
        }
        let origin = Rc::new(Origin { name, text: text.to_string() });
        let mut program = Program { path: Some(path.to_path_buf()), ..Program::default() };
        let mut open = false;
        let mut end = module.items.first().map_or(0, |item| leading(text, 0, item.span.start as usize).start);
        if let Some(doc) = &module.doc {
            // It is kept apart, and must not go along with the first item too.
            program.doc = Some(doc.clone());
            end = module.items.first().map_or(0, |item| own_comments(text, item));
        }
        for item in module.items {
            let range = leading(text, end, item.span.start as usize).start..item.span.end as usize;
            end = rest_of_line(text, range.end);
            match &item.kind {
                ItemKind::Model { name, body } if !open => {
                    open = true;
                    program.model_name = name.as_ref().map(|n| n.name.clone());
                    let mut at = body.span.start as usize + 1;
                    for stmt in &body.stmts {
                        let start = leading(text, at, stmt.span.start as usize).start;
                        at = rest_of_line(text, stmt.span.end as usize).min(body.span.end as usize - 1);
                        let piece = Piece::new(&origin, start..at, &Fragment::Stmt(stmt.clone()));
                        // What stands in a model of a file is a statement, also where it could be a constant.
                        let key = if let Key::Const(_) = piece.key { Key::Value } else { piece.key.clone() };
                        program.pieces.push(Piece { key, ..piece });
                    }
                }
                _ => program.pieces.push(Piece::new(&origin, range.start..end, &Fragment::Item(item))),
            }
        }
        Ok(program)
    }
}

/// The part of `from..to` that begins with the first thing that is not blank.
fn leading(text: &str, from: usize, to: usize) -> Range<usize> {
    let from = from.min(to);
    let gap = &text[from..to];
    from + (gap.len() - gap.trim_start().len())..to
}

/// Where the doc comment of the first item begins.
fn own_comments(text: &str, item: &Item) -> usize {
    let start = item.span.start as usize;
    let wanted = item.doc.as_ref().map_or(0, |doc| doc.lines().count());
    let mut at = text[..start].rfind('\n').map_or(0, |i| i + 1);
    for _ in 0..wanted {
        at = text[..at.saturating_sub(1)].rfind('\n').map_or(0, |i| i + 1);
    }
    at
}

/// The end of the comment that follows on the same line, or `at`.
fn rest_of_line(text: &str, at: usize) -> usize {
    let line = text[at..].split('\n').next().unwrap_or("");
    if line.trim_start().starts_with("//") { at + line.trim_end().len() } else { at }
}

/// Reads a file that a `use` names.
fn read_used(path: &str, folder: Option<&Path>) -> Result<(String, PathBuf, String), String> {
    let path = folder.map_or_else(|| PathBuf::from(path), |f| f.join(path));
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((path.display().to_string(), path, text)),
        Err(error) => Err(error.to_string()),
    }
}
