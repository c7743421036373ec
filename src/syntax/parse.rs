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
use crate::source::{FileId, Span};
use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};

/// More slips than this in one item are not looked for.
const MAX_ROUNDS: usize = 20;

/// The tree of a file. What could not be parsed is missing from it, and reported.
pub fn parse_module(file: FileId, text: &str, diags: &mut Diagnostics) -> Module {
    let mut module = Module::default();
    let Some(layout) = prepare(file, text, diags) else { return module };
    let ctx = Ctx { file, text, repl: false };
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
    let ctx = Ctx { file, text, repl: true };
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
    let ctx = Ctx { file, text, repl: true };
    // All of it, even if it looks like several lines.
    let range = layout.items.first().map_or(0, |i| i.range.start)..layout.items.last().map_or(0, |i| i.range.end);
    let slice = ItemSlice::new(range, Vec::new());
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
struct Ctx<'t> {
    file: FileId,
    /// As it was written.
    text: &'t str,
    repl: bool,
}

impl Ctx<'_> {
    /// `span` made of whole characters. What is parsed has blanks where something was left out, so a character of
    /// several bytes may be cut there.
    fn whole(&self, mut span: Span) -> Span {
        let inside = |at: u32| self.text.is_char_boundary(at as usize);
        while !inside(span.start) {
            span.start -= 1;
        }
        while (span.end as usize) < self.text.len() && !inside(span.end) {
            span.end += 1;
        }
        span
    }
}

/// Everything that tokens alone can tell. `None` when the text cannot be read at all.
fn prepare(file: FileId, text: &str, diags: &mut Diagnostics) -> Option<Layout> {
    let mut tokens = tokenize(text);
    if !depth::check(file, &tokens, diags) {
        return None;
    }
    let slips = slips::in_tokens(file, text, &tokens, diags);
    for &i in &slips.separators {
        tokens[i].kind = TokenKind::Newline;
    }
    let brackets = brackets::check(file, text, &tokens, diags);
    let mut layout = layout(text, &tokens, &brackets);
    slips.repair(&mut layout.text);
    for &at in &slips.hopeless {
        if let Some(slice) = layout.items.iter_mut().find(|s| s.range.contains(&at)) {
            let range = slice.range.clone();
            // Two such places in one statement: it is gone already.
            if layout.text.as_bytes()[at] == b' ' {
                continue;
            }
            let rest = recover::without(&layout.text[range.clone()], at - range.start);
            layout.text.replace_range(range, &rest.text);
            slice.faithful &= rest.faithful;
            slice.stand_ins.extend(rest.stand_in);
        }
    }
    Some(layout)
}

fn parse_item(ctx: &Ctx<'_>, layout: &Layout, slice: &ItemSlice, diags: &mut Diagnostics) -> Option<Item> {
    parse_with(ctx, Rule::only_item, layout, slice, diags, |b, p| b.item(p))
}

/// Parses one slice by `rule`, blanks what fails, and tries again.
fn parse_with<T>(
    ctx: &Ctx<'_>,
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
    let mut faithful = slice.faithful;
    let mut stand_ins = slice.stand_ins.clone();
    for _ in 0..MAX_ROUNDS {
        let error = match BayesParser::parse(rule, &text) {
            Ok(mut pairs) => {
                let pair = pairs.find(|p| p.as_rule() != Rule::nl).expect("the rule holds one tree");
                let base = slice.range.start;
                let mut builder =
                    Builder { file: ctx.file, base, len: ctx.text.len(), diags, bare_expressions: ctx.repl };
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
        let scene =
            Scene { file: ctx.file, base: slice.range.start, len: ctx.text.len(), text: &text, tokens: &tokens, rule };
        let mut diagnostic = slips::explain(&scene, at, tried);
        diagnostic.labels.iter_mut().for_each(|l| l.span = ctx.whole(l.span));
        // Nobody wrote what stands in for a header with a slip, which has been reported.
        let made_up = diagnostic.labels.iter().any(|l| {
            let (start, end) = (l.span.start as usize, l.span.end as usize);
            stand_ins.iter().any(|s| start < s.end + slice.range.start && s.start + slice.range.start < end)
        });
        if made_up {
            return None;
        }
        diags.push(diagnostic);
        if rule != Rule::only_item {
            return None;
        }
        let rest = recover::without(&text, at);
        if rest.text.trim().is_empty() || rest.text == text {
            return None;
        }
        faithful &= rest.faithful;
        stand_ins.extend(rest.stand_in);
        text = rest.text;
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
    use super::super::ast::{ExprKind, StmtKind, Target, UnaryOp};
    use super::*;
    use crate::index::Idx;

    fn parse(text: &str) -> (Module, Diagnostics) {
        let mut diags = Diagnostics::new();
        let module = parse_module(FileId::new(0), text, &mut diags);
        (module, diags)
    }

    fn examples() -> Vec<(String, String)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).expect("examples exist") {
            let path = entry.expect("readable").path();
            if path.extension().is_some_and(|e| e == "bayes") {
                let text = std::fs::read_to_string(&path).expect("readable");
                found.push((path.display().to_string(), text));
            }
        }
        assert!(found.len() >= 13, "only {} examples", found.len());
        found
    }

    #[test]
    fn every_example_parses() {
        for (name, text) in examples() {
            let (module, diags) = parse(&text);
            assert!(diags.is_empty(), "{name}: {diags:#?}");
            assert!(module.items.len() >= 3, "{name}");
        }
    }

    #[test]
    fn every_name_of_the_tree_lies_where_it_says() {
        for (name, text) in examples() {
            let tree = format!("{:?}", parse(&text).0);
            let mut seen = 0;
            for part in tree.split("Ident { name: \"").skip(1) {
                let (ident, rest) = part.split_once('"').expect("a name is quoted");
                let number = |key: &str| -> usize {
                    let at = rest.find(key).expect("a span follows") + key.len();
                    rest[at..]
                        .split(|c: char| !c.is_ascii_digit())
                        .next()
                        .and_then(|n| n.parse().ok())
                        .expect("a number")
                };
                assert_eq!(&text[number("start: ")..number("end: ")], ident, "{name}");
                seen += 1;
            }
            assert!(seen > 10, "{name}");
        }
    }

    /// The grammar and the lexer must cut a text into the same words, or layout and recovery drift from the parser.
    #[test]
    fn grammar_and_lexer_agree_on_words() {
        for (name, text) in examples() {
            let mut diags = Diagnostics::new();
            let layout = prepare(FileId::new(0), &text, &mut diags).expect("readable");
            let tokens = tokenize(&text);
            let mut seen = 0;
            for slice in &layout.items {
                let pairs = BayesParser::parse(Rule::only_item, &layout.text[slice.range.clone()]).expect("parses");
                for pair in pairs.flatten() {
                    use Rule::*;
                    if matches!(pair.as_rule(), name | int | real | string | yes | no | infinity | range | pipe | tilde)
                    {
                        let start = slice.range.start + pair.as_span().start();
                        let end = slice.range.start + pair.as_span().end();
                        assert!(tokens.iter().any(|t| t.range() == (start..end)), "{}: {name:?}", &text[start..end]);
                        seen += 1;
                    }
                }
            }
            assert!(seen > 20, "{name}");
        }
    }

    /// `text` with every operator in parentheses.
    fn grouped(text: &str) -> String {
        fn group(e: &Expr) -> String {
            match &e.kind {
                ExprKind::Binary(op, a, b) => format!("({} {} {})", group(a), op.symbol(), group(b)),
                ExprKind::In(a, b) => format!("({} in {})", group(a), group(b)),
                ExprKind::Pipe(a, b) => format!("({} |> {})", group(a), group(b)),
                ExprKind::Unary(UnaryOp::Neg, a) => format!("(-{})", group(a)),
                ExprKind::Unary(UnaryOp::Not, a) => format!("(not {})", group(a)),
                ExprKind::Range { start, end, closed } => {
                    let side = |e: &Option<Box<Expr>>| e.as_ref().map_or(String::new(), |e| group(e));
                    format!("({}{}{})", side(start), if *closed { "..=" } else { ".." }, side(end))
                }
                ExprKind::Paren(a) => group(a),
                _ => crate::syntax::print_expr(e),
            }
        }
        let mut diags = Diagnostics::new();
        let expr = parse_expression(FileId::new(0), text, &mut diags);
        assert!(diags.is_empty(), "{text}: {diags:#?}");
        group(&expr.expect("no slip, so a tree"))
    }

    #[test]
    fn precedence_is_that_of_the_reference() {
        for (text, expect) in [
            ("-x ^ 2", "(-(x ^ 2))"),
            ("2 ^ 3 ^ 2", "(2 ^ (3 ^ 2))"),
            ("2 ^ -3 * 4", "((2 ^ (-3)) * 4)"),
            ("a - b - c", "((a - b) - c)"),
            ("a + b * c @ d % e / f", "(a + ((((b * c) @ d) % e) / f))"),
            ("-a * b", "((-a) * b)"),
            ("a + b |> f(c)", "((a + b) |> f(c))"),
            ("a or b and not c == d", "(a or (b and (not (c == d))))"),
            ("x in 0..T - 1 and y", "((x in (0..(T - 1))) and y)"),
            ("x in 0.. and y", "((x in (0..)) and y)"),
            ("0..=n |> f", "((0..=n) |> f)"),
            ("..n + 1", "(..(n + 1))"),
            ("a < b or c", "((a < b) or c)"),
            ("x |> f |> g(1)", "((x |> f) |> g(1))"),
            ("-a.b[0](c)", "(-a.b[0](c))"),
            ("1_000 + .5", "(1000 + 0.5)"),
        ] {
            assert_eq!(grouped(text), expect, "{text}");
        }
    }

    /// How many statements the only block of `text` has.
    fn statements(body: &str) -> usize {
        let text = format!("model {{{body}}}");
        let (module, diags) = parse(&text);
        assert!(diags.is_empty(), "{text}: {diags:#?}");
        let ItemKind::Model { body, .. } = &module.items[0].kind else { panic!("a model") };
        body.stmts.len()
    }

    #[test]
    fn newlines_end_statements_only_where_nothing_goes_on() {
        assert_eq!(statements("\n a = 1\n b = 2\n"), 2);
        assert_eq!(statements("\n a = f(1,\n\n  2\n )\n b = [1\n , 2]\n"), 2);
        assert_eq!(statements("\n a = 1\n  + 2\n  - 3\n\n  // so\n  |> f\n  .g\n"), 1);
        assert_eq!(statements("\n a = 1 +\n 2\n b =\n 3\n c ~\n D()\n"), 3);
        assert_eq!(statements("\n if a\n {\n b = 1\n }\n else if c { d = 2 }\n else\n {\n e = 3\n }\n"), 1);
        assert_eq!(statements("\n b = a\n (c, d) = e\n"), 2);
        assert_eq!(statements("\n x: real in 0..\n y = 3\n"), 2);
        assert_eq!(statements("\r\n a = 1\r\n /// doc\r\n b = 2\r\n"), 2);
        assert_eq!(statements(" x = 1 // end\n//\n///\n"), 1);
        assert_eq!(statements(""), 0);
    }

    #[test]
    fn words_are_keywords_only_where_they_begin_something() {
        let text = "data = 3\nsize = data\nuse = 1\nmodel = 2\nsize K = 3\n\
                    model data { keep = 1\n param: real\n param ~ D()\n keep keep = new\n observe = size[new, 0]\n\
                    observe observe ~ D(data)\n factor = 1\n factor factor\n minibatch = 3 }\n\
                    infer size { minibatch size = size, minibatch = 2 }";
        let (module, diags) = parse(text);
        assert!(diags.is_empty(), "{diags:#?}");
        assert_eq!(module.items.len(), 7);
        let ItemKind::Model { body, .. } = &module.items[5].kind else { panic!("a model") };
        assert_eq!(body.stmts.len(), 9);
        assert!(matches!(&body.stmts[3].kind, StmtKind::Let { keep: true, .. }));
        let ItemKind::Infer { settings, .. } = &module.items[6].kind else { panic!("infer") };
        assert_eq!(settings.iter().map(|s| s.subject.is_some()).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn doc_comments_attach_to_what_follows() {
        let text = "/// the file\n\n/// a\n/// b\nsize K = 2 /// not a doc\n/// m\nmodel {\n  /// x1\n  // c\n  /// x2\n  x ~ D()\n y ~ D()\n}\n";
        let (module, diags) = parse(text);
        assert!(diags.is_empty(), "{diags:#?}");
        assert_eq!(module.doc.as_deref(), Some("the file"));
        assert_eq!(module.items[0].doc.as_deref(), Some("a\nb"));
        assert_eq!(module.items[1].doc.as_deref(), Some("m"));
        let ItemKind::Model { body, .. } = &module.items[1].kind else { panic!("a model") };
        assert_eq!(body.stmts[0].doc.as_deref(), Some("x1\nx2"));
        assert_eq!(body.stmts[1].doc, None);
        assert_eq!(parse("/// of the file\nuse bnn\n").0.doc.as_deref(), Some("of the file"));
        assert_eq!(parse("/// of x\nx = 1\n").0.doc, None);
        assert_eq!(parse("/// alone\n").0.doc.as_deref(), Some("alone"));
    }

    #[test]
    fn a_slip_in_one_place_leaves_the_rest() {
        let text = "size K = = 3\nmodel {\n  x ~ D(\n  y ~ D(1 2)\n  z ~ D()\n}\ndata w: real\n";
        let (module, diags) = parse(text);
        assert_eq!(diags.error_count(), 2 + 1, "{diags:#?}");
        assert_eq!(module.items.len(), 2);
        let ItemKind::Model { body, .. } = &module.items[0].kind else { panic!("a model") };
        let [Stmt { kind: StmtKind::Sample { target: Target::Path(path), .. }, .. }] = body.stmts.as_slice() else {
            panic!("{body:?}")
        };
        assert_eq!(path.dotted(), "z");
    }

    #[test]
    fn the_repl_knows_when_more_is_to_come() {
        for more in ["model {", "f(1,", "x +", "x ~", "\"abc", "x = [1,\n2", "a |>", "not", "model {\n x = (1)\n"] {
            assert!(is_incomplete(more), "{more:?}");
        }
        for done in ["", "x", "model { }", "x = 1 // (", "\"(\"", "x)", "0..", "a[1..]", "infer nuts"] {
            assert!(!is_incomplete(done), "{done:?}");
        }
    }

    #[test]
    fn repl_input_is_items_and_statements_in_any_number() {
        let mut diags = Diagnostics::new();
        let text = "size K = 3\nx ~ Normal(0, 1)\nx + 1\nmodel {\n y = 2\n}\nz = 3 |> f";
        let fragments = parse_statement_or_item(FileId::new(0), text, &mut diags);
        assert!(diags.is_empty(), "{diags:#?}");
        let kinds: Vec<bool> = fragments.iter().map(|f| matches!(f, Fragment::Item(_))).collect();
        assert_eq!(kinds, [true, false, false, true, false]);
        parse_statement_or_item(FileId::new(0), "x ~ ~ 3", &mut diags);
        assert_eq!(diags.error_count(), 1);
        assert!(parse_expression(FileId::new(0), "1 + ", &mut Diagnostics::new()).is_none());
        assert!(parse_expression(FileId::new(0), "adam(1e-3)", &mut Diagnostics::new()).is_some());
    }

    #[test]
    fn empty_texts_are_empty_modules() {
        for text in ["", "\n", "// c", "\u{feff}", "  \r\n\t", "// c\n\n"] {
            let (module, diags) = parse(text);
            assert!(diags.is_empty() && module == Module::default(), "{text:?}");
        }
    }
}
