//! Text to syntax tree, with as many slips found in one go as there are.
//!
//! Tokens first: slips that single tokens show, brackets, depth, layout. Then every item is parsed alone. Where one
//! fails, the slip is reported, its statement is made blank, and the rest is parsed again; so no slip hides another.

use super::ast::{Expr, Item, ItemKind, Module, Stmt};
use super::brackets::{self, is_item_start};
use super::build::{Builder, add_doc};
use super::grammar::{BayesParser, Rule};
use super::layout::{Doc, ItemSlice, Layout, layout};
use super::lexer::{Token, TokenKind, tokenize};
use super::slips::{self, Scene};
use super::{depth, recover};
use crate::diag::Diagnostics;
use crate::source::FileId;
use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};

/// More slips than this in one item are not looked for.
const MAX_ROUNDS: usize = 20;

/// The tree of a file. What could not be parsed is missing from it, and reported.
pub fn parse_module(file: FileId, text: &str, diags: &mut Diagnostics) -> Module {
    let mut module = Module::default();
    let Some(layout) = prepare(file, text, diags) else { return module };
    let ctx = Ctx { file, len: text.len(), repl: false };
    let mut first = true;
    for slice in &layout.items {
        let mut item = parse_item(&ctx, &layout, slice, diags);
        let (above, item_doc) = split_docs(text, slice, first, item.as_ref());
        if let Some(item) = &mut item {
            item.doc = item_doc;
        }
        if let Some(doc) = above {
            module.doc = Some(doc);
        }
        module.items.extend(item);
        first = false;
    }
    if first {
        layout.trailing_docs.iter().for_each(|d| add_doc(&mut module.doc, &text[d.range.clone()]));
    }
    module
}

/// One piece of REPL input.
#[derive(Clone, PartialEq, Debug)]
pub enum Fragment {
    /// An item other than a constant.
    Item(Item),
    /// A statement; a constant of a file is one (`x = 3`), and so is any expression.
    Stmt(Stmt),
}

/// What was typed into the REPL: items and statements, one after the other, in any number.
pub fn parse_statement_or_item(file: FileId, text: &str, diags: &mut Diagnostics) -> Vec<Fragment> {
    let Some(layout) = prepare(file, text, diags) else { return Vec::new() };
    let ctx = Ctx { file, len: text.len(), repl: true };
    let mut out = Vec::new();
    for slice in &layout.items {
        let tokens = tokenize(&layout.text[slice.range.clone()]);
        let item_text = &layout.text[slice.range.clone()];
        let mut doc = None;
        slice.docs.iter().for_each(|d| add_doc(&mut doc, &text[d.range.clone()]));
        if is_item_start(item_text, &tokens, 0) {
            if let Some(mut item) = parse_item(&ctx, &layout, slice, diags) {
                item.doc = doc;
                out.push(Fragment::Item(item));
            }
        } else if let Some(stmt) = parse_with(&ctx, Rule::only_stmt, &layout, slice, diags, |b, p| b.stmt(p)) {
            out.push(Fragment::Stmt(Stmt { doc, ..stmt }));
        }
    }
    out
}

/// A single expression, as on the command line (`--set`) and in the REPL.
pub fn parse_expression(file: FileId, text: &str, diags: &mut Diagnostics) -> Option<Expr> {
    let layout = prepare(file, text, diags)?;
    let ctx = Ctx { file, len: text.len(), repl: true };
    // All of it, even if it looks like several lines.
    let range = layout.items.first().map_or(0, |i| i.range.start)..layout.items.last().map_or(0, |i| i.range.end);
    let slice = ItemSlice { range, missing_braces: 0, docs: Vec::new() };
    parse_with(&ctx, Rule::only_expr, &layout, &slice, diags, |b, p| b.expr(p))
}

/// True when more lines are wanted: a bracket or a string is open, or the last line ends with an operator.
pub fn is_incomplete(text: &str) -> bool {
    let tokens = tokenize(text);
    let mut depth = 0i64;
    for token in &tokens {
        match token.kind {
            TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => depth += 1,
            TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace => depth -= 1,
            _ => {}
        }
    }
    let last = tokens.iter().rfind(|t| !t.kind.is_trivia());
    depth > 0 || last.is_some_and(|t| t.kind.wants_more() || t.kind == TokenKind::UnclosedStr)
}

/// What stays the same for all items of a text.
struct Ctx {
    file: FileId,
    len: usize,
    repl: bool,
}

/// Everything that tokens alone can tell. `None` when the text cannot be read at all.
fn prepare(file: FileId, text: &str, diags: &mut Diagnostics) -> Option<Layout> {
    let tokens = tokenize(text);
    if !depth::check(file, &tokens, diags) {
        return None;
    }
    let slips = slips::in_tokens(file, text, &tokens, diags);
    let brackets = brackets::check(file, text, &tokens, diags);
    let mut layout = layout(text, &tokens, &brackets);
    slips.repair(&mut layout.text);
    for &at in &slips.hopeless {
        if let Some(slice) = layout.items.iter().find(|s| s.range.contains(&at)) {
            let range = slice.range.clone();
            // Two such places in one statement: it is gone already.
            if layout.text.as_bytes()[at] == b' ' {
                continue;
            }
            let (repaired, _) = recover::without(&layout.text[range.clone()], at - range.start);
            layout.text.replace_range(range, &repaired);
        }
    }
    Some(layout)
}

fn parse_item(ctx: &Ctx, layout: &Layout, slice: &ItemSlice, diags: &mut Diagnostics) -> Option<Item> {
    parse_with(ctx, Rule::only_item, layout, slice, diags, |b, p| b.item(p))
}

/// Parses one slice by `rule`, blanks what fails, and tries again.
fn parse_with<T>(
    ctx: &Ctx,
    rule: Rule,
    layout: &Layout,
    slice: &ItemSlice,
    diags: &mut Diagnostics,
    build: impl Fn(&mut Builder, pest::iterators::Pair<Rule>) -> T,
) -> Option<T> {
    let mut text = layout.text[slice.range.clone()].to_string();
    if text.trim().is_empty() && rule != Rule::only_expr {
        return None;
    }
    text.extend(std::iter::repeat_n('}', slice.missing_braces));
    // True as long as what is parsed stands for what was written.
    let mut faithful = true;
    for _ in 0..MAX_ROUNDS {
        let error = match BayesParser::parse(rule, &text) {
            Ok(mut pairs) => {
                let pair = pairs.find(|p| p.as_rule() != Rule::nl).expect("the rule holds one tree");
                let base = slice.range.start;
                let mut builder = Builder { file: ctx.file, base, len: ctx.len, diags, bare_expressions: ctx.repl };
                let tree = build(&mut builder, pair);
                return faithful.then_some(tree);
            }
            Err(error) => error,
        };
        let at = match error.location {
            InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
        };
        let tried = match &error.variant {
            ErrorVariant::ParsingError { positives, .. } => positives.as_slice(),
            ErrorVariant::CustomError { .. } => &[],
        };
        let tokens: Vec<Token> = tokenize(&text);
        let scene = Scene { file: ctx.file, base: slice.range.start, len: ctx.len, text: &text, tokens: &tokens, rule };
        diags.push(slips::explain(&scene, at, tried));
        if rule != Rule::only_item {
            return None;
        }
        let (rest, whole) = recover::without(&text, at);
        if rest.trim().is_empty() || rest == text {
            return None;
        }
        faithful &= whole;
        text = rest;
    }
    None
}

/// The doc comments above an item: those of the file, and its own.
fn split_docs(text: &str, slice: &ItemSlice, first: bool, item: Option<&Item>) -> (Option<String>, Option<String>) {
    let mut groups: Vec<(Option<String>, bool)> = Vec::new();
    let mut fresh = true;
    for Doc { range, blank_after } in &slice.docs {
        if fresh {
            groups.push((None, false));
        }
        let group = groups.last_mut().expect("just pushed");
        add_doc(&mut group.0, &text[range.clone()]);
        group.1 = *blank_after;
        fresh = *blank_after;
    }
    let is_use = matches!(item, Some(Item { kind: ItemKind::Use(_), .. }));
    let own = match groups.last() {
        Some((_, blank)) if first && (*blank || is_use) => None,
        Some(_) => groups.pop().and_then(|g| g.0),
        None => None,
    };
    let mut above: Option<String> = None;
    if first {
        for doc in groups.into_iter().filter_map(|g| g.0) {
            match &mut above {
                Some(above) => *above = format!("{above}\n\n{doc}"),
                None => above = Some(doc),
            }
        }
    }
    (above, own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Idx;

    fn parse(text: &str) -> (Module, Diagnostics) {
        let mut diags = Diagnostics::new();
        let module = parse_module(FileId::new(0), text, &mut diags);
        (module, diags)
    }

    #[test]
    fn every_example_parses() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).expect("examples exist") {
            let path = entry.expect("readable").path();
            if path.extension().is_some_and(|e| e == "bayes") {
                let text = std::fs::read_to_string(&path).expect("readable");
                let (module, diags) = parse(&text);
                assert!(diags.is_empty(), "{}: {diags:#?}", path.display());
                assert!(module.items.len() >= 3, "{}", path.display());
                seen += 1;
            }
        }
        assert!(seen >= 13, "only {seen} examples");
    }
}
