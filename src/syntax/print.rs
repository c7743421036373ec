//! Syntax tree to canonical text: `bayesc emit --stage ast`.
//!
//! Parsing the text gives the tree back, up to places. Parentheses that the tree has are kept, those that it needs to
//! be read the same way are added.

use super::ast::*;
use std::fmt::Write;

/// The text of a file: two blanks per level, one setting a line, an empty line between items other than one-liners.
pub fn print_module(module: &Module) -> String {
    let mut p = Printer::default();
    if let Some(doc) = &module.doc {
        p.doc(doc);
        p.newline();
    }
    let mut previous: Option<&Item> = None;
    for item in &module.items {
        if previous.is_some_and(|prev| !(is_line(prev) && is_line(item) && item.doc.is_none() && same_kind(prev, item)))
        {
            p.newline();
        }
        p.item(item);
        previous = Some(item);
    }
    p.out
}

/// The text of an item, newline included.
pub fn print_item(item: &Item) -> String {
    let mut p = Printer::default();
    p.item(item);
    p.out
}

/// The text of a statement, newline included.
pub fn print_stmt(stmt: &Stmt) -> String {
    let mut p = Printer::default();
    p.stmt(stmt);
    p.out
}

/// The text of an expression.
pub fn print_expr(expr: &Expr) -> String {
    let mut p = Printer::default();
    p.expr(expr, PIPE);
    p.out
}

/// The text of a type.
pub fn print_type(ty: &Type) -> String {
    let mut p = Printer::default();
    p.ty(ty);
    p.out
}

fn is_line(item: &Item) -> bool {
    matches!(item.kind, ItemKind::Use(_) | ItemKind::Const { .. } | ItemKind::Size { .. } | ItemKind::Data { .. })
}

fn same_kind(a: &Item, b: &Item) -> bool {
    std::mem::discriminant(&a.kind) == std::mem::discriminant(&b.kind)
}

// How tightly the forms of expressions bind, loosest first.
const PIPE: u8 = 1;
const OR: u8 = 2;
const AND: u8 = 3;
const NOT: u8 = 4;
const COMPARE: u8 = 5;
const RANGE: u8 = 6;
const SUM: u8 = 7;
const PRODUCT: u8 = 8;
const MINUS: u8 = 9;
const POWER: u8 = 10;
const POSTFIX: u8 = 11;
const ATOM: u8 = 12;

fn level(expr: &Expr) -> u8 {
    use BinaryOp::*;
    match &expr.kind {
        ExprKind::Pipe(..) => PIPE,
        ExprKind::Binary(op, ..) => match op {
            Or => OR,
            And => AND,
            Eq | Ne | Lt | Le | Gt | Ge => COMPARE,
            Add | Sub => SUM,
            Mul | Div | Rem | MatMul => PRODUCT,
            Pow => POWER,
        },
        ExprKind::In(..) => COMPARE,
        ExprKind::Unary(UnaryOp::Not, _) => NOT,
        ExprKind::Unary(UnaryOp::Neg, _) => MINUS,
        ExprKind::Range { .. } => RANGE,
        ExprKind::Call { .. } | ExprKind::Index(..) | ExprKind::Field(..) => POSTFIX,
        // No literal is negative; one that a program made is printed as `-1`.
        ExprKind::Int(i) if *i < 0 => MINUS,
        ExprKind::Real(r) if r.is_sign_negative() => MINUS,
        ExprKind::Int(_)
        | ExprKind::Real(_)
        | ExprKind::Str(_)
        | ExprKind::Bool(_)
        | ExprKind::Name(_)
        | ExprKind::Tuple(_)
        | ExprKind::Array(_)
        | ExprKind::Hole(_)
        | ExprKind::Paren(_) => ATOM,
    }
}

#[derive(Default)]
struct Printer {
    out: String,
    depth: usize,
}

impl Printer {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }
    fn newline(&mut self) {
        self.out.push('\n');
    }
    fn indent(&mut self) {
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
    }
    fn doc(&mut self, doc: &str) {
        for line in doc.split('\n') {
            self.indent();
            self.push("///");
            if !line.is_empty() {
                self.push(" ");
                self.push(line);
            }
            self.newline();
        }
    }
    fn list<T>(&mut self, items: &[T], mut print: impl FnMut(&mut Self, &T)) {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.push(", ");
            }
            print(self, item);
        }
    }
    fn names(&mut self, names: &[Ident]) {
        self.list(names, |p, n| p.push(&n.name));
    }
    /// `{ … }` with one entry a line.
    fn lines<T>(&mut self, items: &[T], mut print: impl FnMut(&mut Self, &T)) {
        if items.is_empty() {
            return self.push("{}");
        }
        self.push("{\n");
        self.depth += 1;
        let entries: Vec<String> = items
            .iter()
            .map(|item| {
                let mut p = Printer { out: String::new(), depth: self.depth };
                print(&mut p, item);
                p.out
            })
            .collect();
        // A line that begins with an operator would continue the one above.
        let commas = entries.iter().any(|e| e.starts_with(['-', '.']));
        for entry in entries {
            self.indent();
            self.push(&entry);
            self.push(if commas { ",\n" } else { "\n" });
        }
        self.depth -= 1;
        self.indent();
        self.push("}");
    }

    fn item(&mut self, item: &Item) {
        if let Some(doc) = &item.doc {
            self.doc(doc);
        }
        self.indent();
        match &item.kind {
            ItemKind::Use(u) => {
                self.push("use ");
                match &u.from {
                    UseFrom::Library(name) => self.push(&name.name),
                    UseFrom::File { path, .. } => self.string(path),
                }
                if !u.names.is_empty() {
                    self.push(".{");
                    self.names(&u.names);
                    self.push("}");
                }
            }
            ItemKind::Const { name, value } => self.binding(&name.name, value),
            ItemKind::Size { name, value } => {
                self.push("size ");
                self.push(&name.name);
                self.value(value.as_ref());
            }
            ItemKind::Data { name, ty, value } => {
                self.push("data ");
                self.push(&name.name);
                self.push(": ");
                self.ty(ty);
                self.value(value.as_ref());
            }
            ItemKind::Fn(f) => self.function("fn", f),
            ItemKind::Layer(f) => self.function("layer", f),
            ItemKind::Net(f) => self.function("net", f),
            ItemKind::Submodel(f) => self.function("model", f),
            ItemKind::Model { name, body } => {
                self.push("model ");
                if let Some(name) = name {
                    self.push(&name.name);
                    self.push(" ");
                }
                self.block(body);
            }
            ItemKind::Guide(guide) => {
                self.push("guide ");
                if let Some(name) = &guide.name {
                    self.push(&name.name);
                    self.push(" ");
                }
                match &guide.body {
                    GuideBody::Family(family) => self.expr(family, PIPE),
                    GuideBody::Block(block) => self.block(block),
                }
            }
            ItemKind::Infer { algorithm, name, settings } => {
                self.push("infer ");
                self.push(&algorithm.name);
                if let Some(name) = name {
                    self.push(" ");
                    self.push(&name.name);
                }
                if !settings.is_empty() {
                    self.push(" ");
                    self.lines(settings, |p, s| {
                        p.push(&s.name.name);
                        if let Some(subject) = &s.subject {
                            p.push(" ");
                            p.push(&subject.name);
                        }
                        p.value(Some(&s.value));
                    });
                }
            }
            ItemKind::Generate(block) => {
                self.push("generate ");
                self.block(block);
            }
            ItemKind::Evaluate(assigns) => {
                self.push("evaluate ");
                self.lines(assigns, |p, a| p.binding(&a.name.name, &a.value));
            }
            ItemKind::Expect(checks) => {
                self.push("expect ");
                self.lines(checks, |p, c| p.expr(c, PIPE));
            }
        }
        self.newline();
    }

    fn binding(&mut self, name: &str, value: &Expr) {
        self.push(name);
        self.value(Some(value));
    }

    fn value(&mut self, value: Option<&Expr>) {
        if let Some(value) = value {
            self.push(" = ");
            self.expr(value, PIPE);
        }
    }

    fn function(&mut self, keyword: &str, f: &Function) {
        self.push(keyword);
        self.push(" ");
        self.push(&f.name.name);
        self.push("(");
        self.list(&f.params, |p, param| {
            p.push(&param.name.name);
            p.push(": ");
            match &param.kind {
                ParameterKind::Value(ty) => p.ty(ty),
                ParameterKind::Size(_) => p.push("size"),
                ParameterKind::Shape(_) => p.push("shape"),
                ParameterKind::Dist(_) => p.push("dist"),
                ParameterKind::Option(_) => p.push("option"),
            }
            p.value(param.default.as_ref());
        });
        self.push(") ");
        match &f.ret {
            Some(Return::One(ty)) => {
                self.push("-> ");
                self.ty(ty);
                self.push(" ");
            }
            Some(Return::Tuple(types, _)) => {
                self.push("-> (");
                self.list(types, Self::ty);
                self.push(") ");
            }
            None => {}
        }
        self.block(&f.body);
    }

    fn ty(&mut self, ty: &Type) {
        self.push(match ty.elem {
            Elem::Real => "real",
            Elem::Int => "int",
            Elem::Bool => "bool",
        });
        if !ty.dims.is_empty() {
            self.push("[");
            self.list(&ty.dims, |p, dim| match dim {
                Dim::Size(size) => p.expr(size, PIPE),
                Dim::Spread(name) => {
                    p.push("..");
                    p.push(&name.name);
                }
            });
            self.push("]");
        }
        if let Some(range) = &ty.range {
            self.push(" in ");
            self.expr(range, RANGE);
        }
    }

    fn block(&mut self, block: &Block) {
        if block.stmts.is_empty() {
            return self.push("{}");
        }
        self.push("{\n");
        self.depth += 1;
        for stmt in &block.stmts {
            self.stmt(stmt);
        }
        self.depth -= 1;
        self.indent();
        self.push("}");
    }

    fn stmt(&mut self, stmt: &Stmt) {
        if let Some(doc) = &stmt.doc {
            self.doc(doc);
        }
        self.indent();
        self.stmt_kind(&stmt.kind);
        self.newline();
    }

    fn keep(&mut self, keep: bool) {
        if keep {
            self.push("keep ");
        }
    }

    fn stmt_kind(&mut self, kind: &StmtKind) {
        match kind {
            StmtKind::Let { target, value, keep } => {
                self.keep(*keep);
                match target {
                    Pattern::Name(name) => self.push(&name.name),
                    Pattern::Tuple(names, _) => {
                        self.push("(");
                        self.names(names);
                        self.push(")");
                    }
                }
                self.value(Some(value));
            }
            StmtKind::Sample { target, ty, dist, keep } => {
                self.keep(*keep);
                self.target(target);
                if let Some(ty) = ty {
                    self.push(": ");
                    self.ty(ty);
                }
                self.push(" ~ ");
                self.expr(dist, PIPE);
            }
            StmtKind::Declare { name, ty, keep } => {
                self.keep(*keep);
                self.push(&name.name);
                self.push(": ");
                self.ty(ty);
            }
            StmtKind::Assign { name, index, value } => {
                self.push(&name.name);
                self.index(index);
                self.value(Some(value));
            }
            StmtKind::Param { name, ty, init } => {
                self.push("param ");
                self.push(&name.name);
                if let Some(ty) = ty {
                    self.push(": ");
                    self.ty(ty);
                }
                self.value(init.as_ref());
            }
            StmtKind::Observe { value, dist } => {
                self.push("observe ");
                // `observe[0] ~ …` is an element of something called `observe`.
                let text = print_expr(value);
                let bracket = text.starts_with('[');
                self.push(if bracket { "(" } else { "" });
                self.push(&text);
                self.push(if bracket { ")" } else { "" });
                self.push(" ~ ");
                self.expr(dist, PIPE);
            }
            StmtKind::Factor(value) => {
                self.push("factor ");
                self.expr(value, PIPE);
            }
            StmtKind::For { var, range, body } => {
                let _ = write!(self.out, "for {} in ", var.name);
                self.expr(range, PIPE);
                self.push(" ");
                self.block(body);
            }
            StmtKind::If { cond, then, otherwise } => {
                self.push("if ");
                self.expr(cond, PIPE);
                self.push(" ");
                self.block(then);
                if let Some(otherwise) = otherwise {
                    self.push(" else ");
                    match otherwise.stmts.as_slice() {
                        [Stmt { doc: None, kind: kind @ StmtKind::If { .. }, .. }] => self.stmt_kind(kind),
                        _ => self.block(otherwise),
                    }
                }
            }
            StmtKind::Return(value) => {
                self.push("return ");
                self.expr(value, PIPE);
            }
            StmtKind::Expr(value) => self.expr(value, PIPE),
        }
    }

    fn target(&mut self, target: &Target) {
        match target {
            Target::Path(path) => self.push(&path.dotted()),
            Target::Element(path, index) => {
                self.push(&path.dotted());
                self.index(index);
            }
            Target::Tuple(paths, _) => {
                self.push("(");
                self.list(paths, |p, path| p.push(&path.dotted()));
                self.push(")");
            }
            Target::Rest(_) => self.push("_"),
        }
    }

    fn index(&mut self, index: &[Index]) {
        self.push("[");
        self.list(index, |p, slot| match slot {
            Index::At(expr) if matches!(&expr.kind, ExprKind::Name(n) if n == "new") => {
                p.push("(new)");
            }
            Index::At(expr) => p.expr(expr, PIPE),
            Index::All(_) => p.push(":"),
            Index::New(_) => p.push("new"),
        });
        self.push("]");
    }

    fn expr(&mut self, expr: &Expr, at_least: u8) {
        if level(expr) < at_least {
            self.push("(");
            self.expr(expr, PIPE);
            return self.push(")");
        }
        match &expr.kind {
            ExprKind::Int(i) => {
                let _ = write!(self.out, "{i}");
            }
            ExprKind::Real(r) if r.is_infinite() => self.push(if *r > 0.0 { "inf" } else { "-inf" }),
            ExprKind::Real(r) => {
                let _ = write!(self.out, "{r:?}");
            }
            ExprKind::Str(s) => self.string(s),
            ExprKind::Bool(b) => self.push(if *b { "true" } else { "false" }),
            ExprKind::Name(name) => self.push(name),
            ExprKind::Field(base, name) => {
                self.expr(base, POSTFIX);
                self.push(".");
                self.push(&name.name);
            }
            ExprKind::Call { callee, args } => {
                // `?(x)` is a hole with an initial value.
                if matches!(callee.kind, ExprKind::Hole(None)) {
                    self.push("(?)");
                } else {
                    self.expr(callee, POSTFIX);
                }
                self.push("(");
                self.list(args, |p, arg| match &arg.name {
                    Some(name) => p.binding(&name.name, &arg.value),
                    None => p.expr(&arg.value, PIPE),
                });
                self.push(")");
            }
            ExprKind::Index(base, index) => {
                self.expr(base, POSTFIX);
                self.index(index);
            }
            ExprKind::Unary(UnaryOp::Neg, operand) => {
                self.push("-");
                self.expr(operand, MINUS);
            }
            ExprKind::Unary(UnaryOp::Not, operand) => {
                self.push("not ");
                self.expr(operand, NOT);
            }
            ExprKind::Binary(BinaryOp::Pow, base, exponent) => {
                self.expr(base, POSTFIX);
                self.push(" ^ ");
                // `2 ^ -3` needs no parentheses.
                self.expr(exponent, MINUS);
            }
            ExprKind::Binary(op, left, right) => {
                let this = level(expr);
                self.expr(left, if this == COMPARE { RANGE } else { this });
                let _ = write!(self.out, " {} ", op.symbol());
                self.expr(right, this + 1);
            }
            ExprKind::In(left, right) => {
                self.expr(left, RANGE);
                self.push(" in ");
                self.expr(right, RANGE);
            }
            ExprKind::Range { start, end, closed } => {
                if let Some(start) = start {
                    self.expr(start, SUM);
                }
                self.push(if *closed { "..=" } else { ".." });
                if let Some(end) = end {
                    self.expr(end, SUM);
                }
            }
            ExprKind::Pipe(left, right) => {
                self.expr(left, PIPE);
                self.push(" |> ");
                self.expr(right, OR);
            }
            ExprKind::Tuple(items) => {
                self.push("(");
                self.list(items, |p, item| p.expr(item, PIPE));
                self.push(if items.len() == 1 { ",)" } else { ")" });
            }
            ExprKind::Array(items) => {
                self.push("[");
                self.list(items, |p, item| p.expr(item, PIPE));
                self.push("]");
            }
            ExprKind::Hole(init) => {
                self.push("?");
                if let Some(init) = init {
                    self.push("(");
                    self.expr(init, PIPE);
                    self.push(")");
                }
            }
            ExprKind::Paren(inner) => {
                self.push("(");
                self.expr(inner, PIPE);
                self.push(")");
            }
        }
    }

    fn string(&mut self, text: &str) {
        self.push("\"");
        for c in text.chars() {
            match c {
                '"' => self.push("\\\""),
                '\\' => self.push("\\\\"),
                '\n' => self.push("\\n"),
                '\t' => self.push("\\t"),
                '\r' => self.push("\\r"),
                '\0' => self.push("\\0"),
                c if c.is_control() => {
                    let _ = write!(self.out, "\\u{{{:x}}}", c as u32);
                }
                c => self.out.push(c),
            }
        }
        self.push("\"");
    }
}
