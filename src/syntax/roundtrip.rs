//! parse -> print -> parse, and texts that no one would write.

use super::ast::*;
use super::{parse_module, parse_statement_or_item, print_module};
use crate::diag::Diagnostics;
use crate::diag::render::render_all;
use crate::index::Idx;
use crate::source::{FileId, Sources, Span};
use proptest::prelude::*;

fn parse(text: &str) -> (Module, Diagnostics) {
    let mut diags = Diagnostics::new();
    let module = parse_module(FileId::new(0), text, &mut diags);
    (module, diags)
}

/// The tree in words, without places and without parentheses that only print.rs needed.
fn shape(module: &Module, parens: bool) -> String {
    let text = format!("{module:?}");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("Span {") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        rest = &rest[rest.find('}').expect("spans end") + 1..];
    }
    out.push_str(rest);
    // `Paren(Expr { kind: X, span:  })` becomes `X`.
    const OPEN: &str = "Paren(Expr { kind: ";
    const CLOSE: &str = ", span:  })";
    while let Some(at) = out.find(OPEN).filter(|_| !parens) {
        let inner = at + OPEN.len();
        let mut depth = 0usize;
        let mut in_string = false;
        let mut escaped = false;
        let end = out[inner..].char_indices().find_map(|(i, c)| {
            if in_string {
                in_string = escaped || c != '"';
                escaped = c == '\\' && !escaped;
                return None;
            }
            match c {
                '"' => in_string = true,
                '(' | '{' | '[' => depth += 1,
                ')' | '}' | ']' if depth > 0 => depth -= 1,
                ',' if depth == 0 => return Some(inner + i),
                _ => {}
            }
            None
        });
        let end = end.expect("the expression ends");
        let kind = out[inner..end].to_string();
        out.replace_range(at..end + CLOSE.len(), &kind);
    }
    out
}

#[test]
fn examples_print_and_parse_back() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    for entry in std::fs::read_dir(folder).expect("examples exist") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|e| e == "bayes") {
            let text = std::fs::read_to_string(&path).expect("readable");
            let (module, _) = parse(&text);
            let printed = print_module(&module);
            let (again, diags) = parse(&printed);
            assert!(diags.is_empty(), "{}: {diags:#?}\n{printed}", path.display());
            assert_eq!(shape(&module, true), shape(&again, true), "{}:\n{printed}", path.display());
            assert_eq!(print_module(&again), printed);
        }
    }
}

fn nowhere() -> Span {
    Span::new(FileId::new(0), 0, 0)
}

fn ident() -> impl Strategy<Value = Ident> {
    let name = prop_oneof![
        Just("x"),
        Just("σ_obs"),
        Just("data"),
        Just("size"),
        Just("new"),
        Just("keep"),
        Just("model"),
        Just("e1"),
        Just("_a"),
        Just("real"),
        Just("inform"),
        Just("minibatch"),
        Just("observe"),
    ];
    name.prop_map(|n| Ident { name: n.to_string(), span: nowhere() })
}

fn at(kind: ExprKind) -> Expr {
    Expr { kind, span: nowhere() }
}

fn expr() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        (0i64..2000).prop_map(|i| at(ExprKind::Int(i))),
        (0.0f64..1e6).prop_map(|r| at(ExprKind::Real(r))),
        Just(at(ExprKind::Real(1e-300))),
        Just(at(ExprKind::Real(f64::INFINITY))),
        any::<bool>().prop_map(|b| at(ExprKind::Bool(b))),
        ".{0,6}".prop_map(|s| at(ExprKind::Str(s))),
        ident().prop_map(|n| at(ExprKind::Name(n.name))),
        Just(at(ExprKind::Hole(None))),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new).boxed();
        let op = prop::sample::select(vec![
            BinaryOp::Add,
            BinaryOp::Sub,
            BinaryOp::Mul,
            BinaryOp::Div,
            BinaryOp::Rem,
            BinaryOp::Pow,
            BinaryOp::MatMul,
            BinaryOp::And,
            BinaryOp::Or,
            BinaryOp::Eq,
            BinaryOp::Lt,
            BinaryOp::Ge,
        ]);
        let slot = prop_oneof![
            4 => inner.clone().prop_map(Index::At),
            1 => Just(Index::All(nowhere())),
            1 => Just(Index::New(nowhere())),
        ];
        let arg = (prop::option::of(ident()), inner.clone()).prop_map(|(name, value)| Arg { name, value });
        prop_oneof![
            4 => (op, boxed.clone(), boxed.clone()).prop_map(|(op, a, b)| at(ExprKind::Binary(op, a, b))),
            1 => (boxed.clone(), boxed.clone()).prop_map(|(a, b)| at(ExprKind::In(a, b))),
            1 => (boxed.clone(), boxed.clone()).prop_map(|(a, b)| at(ExprKind::Pipe(a, b))),
            1 => boxed.clone().prop_map(|a| at(ExprKind::Unary(UnaryOp::Neg, a))),
            1 => boxed.clone().prop_map(|a| at(ExprKind::Unary(UnaryOp::Not, a))),
            1 => (prop::option::of(boxed.clone()), boxed.clone(), any::<bool>())
                .prop_map(|(start, end, closed)| at(ExprKind::Range { start, end: Some(end), closed })),
            1 => boxed.clone().prop_map(|a| at(ExprKind::Range { start: Some(a), end: None, closed: false })),
            1 => (boxed.clone(), ident()).prop_map(|(a, n)| at(ExprKind::Field(a, n))),
            2 => (boxed.clone(), prop::collection::vec(arg, 0..3))
                .prop_map(|(callee, args)| at(ExprKind::Call { callee, args })),
            1 => (boxed.clone(), prop::collection::vec(slot, 1..3)).prop_map(|(a, i)| at(ExprKind::Index(a, i))),
            1 => prop::collection::vec(inner.clone(), 1..3).prop_map(|v| at(ExprKind::Tuple(v))),
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(|v| at(ExprKind::Array(v))),
            1 => boxed.prop_map(|a| at(ExprKind::Hole(Some(a)))),
        ]
    })
}

fn ty() -> impl Strategy<Value = Type> {
    let dim = prop_oneof![3 => expr().prop_map(Dim::Size), 1 => ident().prop_map(Dim::Spread)];
    // `..dims` is a spread, never a range.
    let dim = dim.prop_filter("a size", |d| !matches!(d, Dim::Size(Expr { kind: ExprKind::Range { .. }, .. })));
    let range = (expr(), prop::option::of(expr()), any::<bool>()).prop_map(|(a, b, closed)| {
        let closed = closed && b.is_some();
        Box::new(at(ExprKind::Range { start: Some(Box::new(a)), end: b.map(Box::new), closed }))
    });
    let elem = prop::sample::select(vec![Elem::Real, Elem::Int, Elem::Bool]);
    (elem, prop::collection::vec(dim, 0..3), prop::option::of(range)).prop_map(|(elem, dims, range)| Type {
        elem,
        dims,
        range,
        span: nowhere(),
    })
}

fn doc() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop::sample::select(vec!["one".to_string(), "one\n\n  two μ".to_string()]))
}

fn stmt() -> impl Strategy<Value = Stmt> {
    let path = prop::collection::vec(ident(), 1..3).prop_map(|parts| Path { parts, span: nowhere() }).boxed();
    let names = prop::collection::vec(ident(), 2..4);
    let index = prop::collection::vec(expr().prop_map(Index::At), 1..3).boxed();
    let target = prop_oneof![
        path.clone().prop_map(Target::Path),
        (path.clone(), index.clone()).prop_map(|(p, i)| Target::Element(p, i)),
        prop::collection::vec(path, 2..3).prop_map(|p| Target::Tuple(p, nowhere())),
        Just(Target::Rest(nowhere())),
    ];
    let pattern = prop_oneof![ident().prop_map(Pattern::Name), names.prop_map(|n| Pattern::Tuple(n, nowhere()))];
    let kind = prop_oneof![
        (pattern, expr(), any::<bool>()).prop_map(|(target, value, keep)| StmtKind::Let { target, value, keep }),
        (target, prop::option::of(ty()), expr())
            .prop_map(|(target, ty, dist)| { StmtKind::Sample { target, ty, dist, keep: false } }),
        (ident(), ty(), any::<bool>()).prop_map(|(name, ty, keep)| StmtKind::Declare { name, ty, keep }),
        (ident(), index, expr()).prop_map(|(name, index, value)| StmtKind::Assign { name, index, value }),
        (ident(), prop::option::of(ty()), prop::option::of(expr())).prop_map(|(name, ty, init)| StmtKind::Param {
            name,
            ty,
            init
        }),
        (expr(), expr()).prop_map(|(value, dist)| StmtKind::Observe { value, dist }),
        expr().prop_map(StmtKind::Factor),
        expr().prop_map(StmtKind::Return),
        ident().prop_map(|n| StmtKind::Expr(at(ExprKind::Name(n.name)))),
    ];
    let simple = (doc(), kind).prop_map(|(doc, kind)| Stmt { doc, kind, span: nowhere() });
    simple.prop_recursive(2, 6, 3, |inner| {
        let block = prop::collection::vec(inner, 0..3).prop_map(|stmts| Block { stmts, span: nowhere() });
        let kind = prop_oneof![
            (ident(), expr(), block.clone()).prop_map(|(var, range, body)| StmtKind::For { var, range, body }),
            (expr(), block.clone(), prop::option::of(block)).prop_map(|(cond, then, otherwise)| StmtKind::If {
                cond,
                then,
                otherwise
            }),
        ];
        (doc(), kind).prop_map(|(doc, kind)| Stmt { doc, kind, span: nowhere() })
    })
}

pub(super) fn item() -> impl Strategy<Value = Item> {
    let block = prop::collection::vec(stmt(), 0..3).prop_map(|stmts| Block { stmts, span: nowhere() }).boxed();
    let parameter = (
        ident(),
        prop_oneof![
            ty().prop_map(ParameterKind::Value),
            Just(ParameterKind::Size(nowhere())),
            Just(ParameterKind::Dist(nowhere())),
            Just(ParameterKind::Option(nowhere())),
        ],
        prop::option::of(expr()),
    );
    let parameter = parameter.prop_map(|(name, kind, default)| Parameter { name, kind, default });
    let ret = prop_oneof![
        ty().prop_map(Return::One),
        prop::collection::vec(ty(), 2..3).prop_map(|t| Return::Tuple(t, nowhere())),
    ];
    let function = (ident(), prop::collection::vec(parameter, 0..3), prop::option::of(ret), block.clone())
        .prop_map(|(name, params, ret, body)| Function { name, params, ret, body })
        .boxed();
    let setting = (ident(), expr()).prop_map(|(name, value)| Setting { name, subject: None, value, span: nowhere() });
    let batch = (ident(), expr()).prop_map(|(size, value)| Setting {
        name: Ident { name: "minibatch".to_string(), span: nowhere() },
        subject: Some(size),
        value,
        span: nowhere(),
    });
    let rate = (ident(), expr()).prop_map(|(site, value)| Setting {
        name: Ident { name: "rate".to_string(), span: nowhere() },
        subject: Some(site),
        value,
        span: nowhere(),
    });
    let kind = prop_oneof![
        (ident(), expr()).prop_map(|(name, value)| ItemKind::Const { name, value }),
        (ident(), prop::option::of(expr())).prop_map(|(name, value)| ItemKind::Size { name, value }),
        (ident(), ty(), prop::option::of(expr())).prop_map(|(name, ty, value)| ItemKind::Data { name, ty, value }),
        function.clone().prop_map(ItemKind::Fn),
        function.clone().prop_map(ItemKind::Net),
        function.prop_map(ItemKind::Submodel),
        (prop::option::of(ident()), block.clone()).prop_map(|(name, body)| ItemKind::Model { name, body }),
        (prop::option::of(ident()), block.clone())
            .prop_map(|(name, b)| ItemKind::Guide(Guide { name, body: GuideBody::Block(b) })),
        ident()
            .prop_map(|f| ItemKind::Guide(Guide { name: None, body: GuideBody::Family(at(ExprKind::Name(f.name))) })),
        (ident(), prop::option::of(ident()), prop::collection::vec(prop_oneof![setting, batch, rate], 0..3))
            .prop_map(|(algorithm, name, settings)| ItemKind::Infer { algorithm, name, settings }),
        block.prop_map(ItemKind::Generate),
        prop::collection::vec((ident(), expr()), 0..3)
            .prop_map(|v| ItemKind::Evaluate(v.into_iter().map(|(name, value)| Assign { name, value }).collect())),
        prop::collection::vec(expr(), 0..3).prop_map(ItemKind::Expect),
    ];
    (doc(), kind).prop_map(|(doc, kind)| Item { doc, kind, span: nowhere() })
}

pub(super) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn any_tree_prints_and_parses_back(items in prop::collection::vec(item(), 0..4), doc in doc()) {
        let module = Module { doc: doc.filter(|_| !items.is_empty()), items };
        let printed = print_module(&module);
        let (again, diags) = parse(&printed);
        prop_assert!(diags.is_empty(), "{diags:#?}\n{printed}");
        prop_assert_eq!(shape(&module, false), shape(&again, false), "{}", printed);
        prop_assert_eq!(print_module(&again), printed);
    }
}

/// Words of the language in no order.
fn soup() -> impl Strategy<Value = String> {
    let words = vec![
        "model",
        "guide",
        "infer",
        "svi",
        "data",
        "x",
        "y",
        "real",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "\n",
        "\n",
        " ",
        " ",
        "~",
        "=",
        "==",
        "..",
        "..=",
        "0",
        "1.5",
        ".5",
        "\"s\"",
        "\"",
        "+",
        "-",
        "*",
        "^",
        "|>",
        "in",
        "for",
        "if",
        "else",
        "not",
        "and",
        "return",
        "use",
        "fn",
        "->",
        ",",
        ",",
        ":",
        "?",
        ".",
        "///d",
        "//c",
        "#",
        ";",
        "<-",
        "&&",
        "μ",
        "é",
        "$",
        "_",
        "keep",
        "param",
        "size",
        "minibatch",
        "expect",
        "\r\n",
        "\u{a0}",
        "new",
        "1e999",
        "\\",
    ];
    prop::collection::vec(prop::sample::select(words), 0..60).prop_map(|w| w.join(""))
}

fn survives(text: &str) {
    let mut sources = Sources::default();
    let file = sources.add("soup.bayes", None, text);
    let mut diags = Diagnostics::new();
    let module = parse_module(file, text, &mut diags);
    // Only what was understood is in the tree, and what was not is reported.
    if diags.is_empty() {
        let printed = print_module(&module);
        let (again, diags) = parse(&printed);
        assert!(diags.is_empty(), "{text:?} printed as {printed:?}: {diags:#?}");
        assert_eq!(shape(&module, true), shape(&again, true), "{text:?}");
    }
    render_all(&diags, &sources, false);
    crate::diag::json::all_to_json(&diags, &sources);
    let mut diags = Diagnostics::new();
    parse_statement_or_item(file, text, &mut diags);
    super::parse_expression(file, text, &mut diags);
    super::is_incomplete(text);
    for d in &diags {
        for label in &d.labels {
            assert!(text.get(label.span.range()).is_some(), "{label:?} is no place of {text:?}");
        }
    }
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn token_soup_never_panics(text in soup()) {
        survives(&text);
    }

    #[test]
    fn random_characters_never_panic(text in "\\PC{0,80}") {
        survives(&text);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        survives(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_damaged_program_never_panics(cut in 0usize..2000, len in 0usize..40, with in soup()) {
        let text = include_str!("../../examples/hyper_conv.bayes");
        let floor = |i: usize| (0..=i.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        let (a, b) = (floor(cut), floor(cut + len));
        survives(&format!("{}{}{}", &text[..a], with, &text[b..]));
    }
}

#[test]
fn deep_texts_are_refused_or_read_but_never_overflow() {
    use super::depth::{MAX_BRACKETS, MAX_HEIGHT};
    let n = MAX_BRACKETS;
    survives(&format!("x = {}1{}", "(".repeat(n), ")".repeat(n)));
    survives(&format!("x = {}1{}", "f([".repeat(n / 2), "])".repeat(n / 2)));
    survives(&format!("model {}x = 1{}", "{ if a ".repeat(n - 1), "}".repeat(n - 1)));
    survives(&format!("x = {}1", "-".repeat(MAX_HEIGHT - 1)));
    survives(&format!("x = 1{}", " ^ 1".repeat(MAX_HEIGHT - 1)));
    survives(&format!("x = 1{}", " + 1".repeat(MAX_HEIGHT - 1)));
    for bad in ["(", "[", "{", "-", "not ", "1 + ", "f(", "a[", "if a {} else ", "x ^ "] {
        survives(&format!("x = {}", bad.repeat(20_000)));
        survives(&format!("model {{ {}", bad.repeat(20_000)));
    }
}
