//! New data in the place of those that an expression of the program reads.
//!
//! `data x = csv("train.csv").x |> standardize` reads one column of a file. With new data for `x` that column is the new
//! one, and everything else that the expression does is done again. What stands for the column is found here.

use super::files::Format;
use super::size::unwrap_parens;
use crate::source::Span;
use crate::syntax::ast::{Arg, Expr, ExprKind, Index, ItemKind, Module};

/// What an expression reads, when it reads one thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// The whole of it: a file, or a part of one such as `csv("f.csv").x`.
    pub whole: Span,
    /// The table that it is a part of, where it is a part: for new data that are a table themselves.
    pub table: Span,
}

/// How often an expression reads files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readings {
    /// Never: it is made of numbers, sizes and other data.
    None,
    /// Once.
    One(Reading),
    /// At several places, or inside a constant that does more than read: one array cannot stand for them.
    Several,
}

/// What `expr` reads, with the constants of `module`.
pub fn readings(module: &Module, expr: &Expr) -> Readings {
    let mut found = Found { module, list: Vec::new(), hidden: false };
    found.walk(expr);
    match found.list[..] {
        _ if found.hidden => Readings::Several,
        [] => Readings::None,
        [one] => Readings::One(one),
        _ => Readings::Several,
    }
}

struct Found<'m> {
    module: &'m Module,
    list: Vec<Reading>,
    /// Whether a constant reads files and does something with them.
    hidden: bool,
}

impl<'m> Found<'m> {
    fn constant(&self, name: &str) -> Option<&'m Expr> {
        self.module.items.iter().find_map(|item| match &item.kind {
            ItemKind::Const { name: n, value } if n.name == name => Some(value),
            _ => None,
        })
    }
    /// The place of the table or file, when `expr` is one or a part of one.
    fn read(&self, expr: &Expr) -> Option<Span> {
        let is_file = |callee: &Expr| matches!(&unwrap_parens(callee).kind, ExprKind::Name(n) if Format::of_function(n).is_some());
        match &expr.kind {
            ExprKind::Paren(inner) => self.read(inner),
            ExprKind::Name(name) => self.read(self.constant(name)?).map(|_| expr.span),
            ExprKind::Field(base, _) => self.read(base),
            ExprKind::Index(base, index) => match &index[..] {
                [Index::At(Expr { kind: ExprKind::Str(_), .. })] => self.read(base),
                _ => None,
            },
            ExprKind::Call { callee, .. } => match &unwrap_parens(callee).kind {
                ExprKind::Field(base, _) => self.read(base),
                _ => is_file(callee).then_some(expr.span),
            },
            ExprKind::Pipe(_, then) => {
                let callee = if let ExprKind::Call { callee, .. } = &then.kind { callee } else { then };
                is_file(callee).then_some(expr.span)
            }
            _ => None,
        }
    }
    fn walk(&mut self, expr: &Expr) {
        if let Some(table) = self.read(expr) {
            self.list.push(Reading { whole: expr.span, table });
            return;
        }
        match &expr.kind {
            ExprKind::Name(name) => {
                if let Some(value) = self.constant(name) {
                    self.hidden |= readings(self.module, value) != Readings::None;
                }
            }
            ExprKind::Paren(e) | ExprKind::Field(e, _) | ExprKind::Unary(_, e) => self.walk(e),
            ExprKind::Binary(_, a, b) | ExprKind::Pipe(a, b) => {
                self.walk(a);
                self.walk(b);
            }
            // What is counted or looked up in a range is no reading of data.
            ExprKind::In(a, _) => self.walk(a),
            ExprKind::Call { callee, args } => {
                if let ExprKind::Field(base, _) = &callee.kind {
                    self.walk(base);
                }
                args.iter().for_each(|Arg { value, .. }| self.walk(value));
            }
            ExprKind::Index(base, index) => {
                self.walk(base);
                for i in index {
                    if let Index::At(e) = i {
                        self.walk(e);
                    }
                }
            }
            ExprKind::Tuple(items) | ExprKind::Array(items) => items.iter().for_each(|e| self.walk(e)),
            ExprKind::Range { start, end, .. } => {
                start.iter().chain(end).for_each(|e| self.walk(e));
            }
            _ => {}
        }
    }
}

/// Whether `expr` mentions one of `names`, by itself or through constants of `module`.
pub fn mentions(module: &Module, expr: &Expr, names: &[&str]) -> bool {
    let mut stack = vec![expr];
    let mut constants: Vec<&str> = Vec::new();
    while let Some(e) = stack.pop() {
        match &e.kind {
            ExprKind::Name(name) => {
                if names.contains(&name.as_str()) {
                    return true;
                }
                for item in &module.items {
                    if let ItemKind::Const { name: n, value } = &item.kind
                        && n.name == *name
                        && !constants.contains(&n.name.as_str())
                    {
                        constants.push(&n.name);
                        stack.push(value);
                    }
                }
            }
            ExprKind::Paren(e) | ExprKind::Field(e, _) | ExprKind::Unary(_, e) => stack.push(e),
            ExprKind::Binary(_, a, b) | ExprKind::Pipe(a, b) | ExprKind::In(a, b) => stack.extend([&**a, &**b]),
            ExprKind::Call { callee, args } => {
                stack.push(callee);
                stack.extend(args.iter().map(|a| &a.value));
            }
            ExprKind::Index(base, index) => {
                stack.push(base);
                stack.extend(index.iter().filter_map(|i| if let Index::At(e) = i { Some(e) } else { None }));
            }
            ExprKind::Tuple(items) | ExprKind::Array(items) => stack.extend(items),
            ExprKind::Range { start, end, .. } => stack.extend(start.iter().chain(end).map(|e| &**e)),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Sources;
    use crate::syntax::parse_module;

    /// What the default of the last datum of `text` reads: whole and table, as text.
    fn read(text: &str) -> Result<Option<(String, String)>, ()> {
        let mut sources = Sources::default();
        let file = sources.add("t", None, text);
        let mut diags = crate::diag::Diagnostics::new();
        let module = parse_module(file, text, &mut diags);
        assert!(!diags.has_errors(), "{text}");
        let value = module.items.iter().rev().find_map(|item| match &item.kind {
            ItemKind::Data { value, .. } => value.as_ref(),
            _ => None,
        });
        match readings(&module, value.expect("a default")) {
            Readings::None => Ok(None),
            Readings::One(r) => Ok(Some((sources.text(r.whole).into(), sources.text(r.table).into()))),
            Readings::Several => Err(()),
        }
    }

    #[test]
    fn what_an_expression_reads() {
        let one = |whole: &str, table: &str| Ok(Some((whole.to_string(), table.to_string())));
        let x = |expr: &str| read(&format!("t = csv(\"a.csv\")\nz = standardize(t.x)\ndata x: real[N] = {expr}\n"));
        assert_eq!(x("csv(\"a.csv\").x |> standardize"), one("csv(\"a.csv\").x", "csv(\"a.csv\")"));
        assert_eq!(x("codes(t.county, County)"), one("t.county", "t"));
        assert_eq!(x("idx(\"f.gz\")[:, new] / 16"), one("idx(\"f.gz\")", "idx(\"f.gz\")"));
        assert_eq!(
            x("log(t.drop_missing().columns(\"a\", \"b\"))"),
            one("t.drop_missing().columns(\"a\", \"b\")", "t")
        );
        assert_eq!(x("t[\"a b\"]"), one("t[\"a b\"]", "t"));
        assert_eq!(x("range(N) / N"), Ok(None));
        assert_eq!(x("t.x + t.y"), Err(()));
        assert_eq!(x("z"), Err(()));
    }
}
