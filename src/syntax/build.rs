//! Pairs of the grammar to the syntax tree.
//!
//! Precedence lives here, in [`PRECEDENCE`]. What the grammar lets through and the language does not (chained
//! comparisons, numbers out of range, unknown escapes) is reported here as well.

use super::ast::*;
use super::grammar::Rule;
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::source::{FileId, Span};
use pest::iterators::{Pair, Pairs};
use pest::pratt_parser::{Assoc, Op, PrattParser};
use std::sync::LazyLock;

/// Loosest first: `|>`, `or`, `and`, `not`, comparisons and `in`, ranges, sums, products, unary minus, powers,
/// then call, index and field.
static PRECEDENCE: LazyLock<PrattParser<Rule>> = LazyLock::new(|| {
    use Assoc::{Left, Right};
    PrattParser::new()
        .op(Op::infix(Rule::pipe, Left))
        .op(Op::infix(Rule::or, Left))
        .op(Op::infix(Rule::and, Left))
        .op(Op::prefix(Rule::not))
        .op(Op::infix(Rule::eq, Left)
            | Op::infix(Rule::ne, Left)
            | Op::infix(Rule::le, Left)
            | Op::infix(Rule::lt, Left)
            | Op::infix(Rule::ge, Left)
            | Op::infix(Rule::gt, Left)
            | Op::infix(Rule::in_, Left))
        .op(Op::infix(Rule::range, Left)
            | Op::infix(Rule::range_closed, Left)
            | Op::prefix(Rule::range_to)
            | Op::prefix(Rule::range_to_closed)
            | Op::postfix(Rule::range_from))
        .op(Op::infix(Rule::add, Left) | Op::infix(Rule::sub, Left))
        .op(Op::infix(Rule::mul, Left)
            | Op::infix(Rule::div, Left)
            | Op::infix(Rule::rem, Left)
            | Op::infix(Rule::matmul, Left))
        .op(Op::prefix(Rule::neg))
        .op(Op::infix(Rule::pow, Right))
        .op(Op::postfix(Rule::call) | Op::postfix(Rule::index) | Op::postfix(Rule::field))
});

/// Makes trees of pairs.
pub(super) struct Builder<'a> {
    /// The file.
    pub file: FileId,
    /// Where the parsed slice begins in it.
    pub base: usize,
    /// The length of the file: places never lie behind it.
    pub len: usize,
    /// Where slips are reported.
    pub diags: &'a mut Diagnostics,
    /// Whether any expression may stand alone on its line, as in the REPL.
    pub bare_expressions: bool,
}

type P<'i> = Pair<'i, Rule>;

/// The parts of a pair that carry meaning.
struct Parts<'i>(std::iter::Peekable<Pairs<'i, Rule>>);

impl<'i> Parts<'i> {
    fn of(pair: P<'i>) -> Self {
        Parts(pair.into_inner().peekable())
    }
    fn next(&mut self) -> Option<P<'i>> {
        self.0.by_ref().find(|p| !is_mark(p.as_rule()))
    }
    fn expect(&mut self) -> P<'i> {
        self.next().expect("the grammar puts a part here")
    }
    fn next_of(&mut self, rule: Rule) -> Option<P<'i>> {
        while self.0.next_if(|p| is_mark(p.as_rule())).is_some() {}
        self.0.next_if(|p| p.as_rule() == rule)
    }
}

impl<'i> Iterator for Parts<'i> {
    type Item = P<'i>;
    fn next(&mut self) -> Option<P<'i>> {
        Parts::next(self)
    }
}

/// Punctuation and keywords, which say nothing once the text has been parsed.
fn is_mark(rule: Rule) -> bool {
    use Rule::*;
    matches!(
        rule,
        assign
            | tilde
            | colon
            | comma
            | dot
            | arrow
            | lpar
            | rpar
            | lbrk
            | rbrk
            | lbrace
            | rbrace
            | nl
            | EOI
            | kw_use
            | kw_size
            | kw_data
            | kw_fn
            | kw_layer
            | kw_net
            | kw_model
            | kw_guide
            | kw_infer
            | kw_generate
            | kw_evaluate
            | kw_expect
            | kw_param
            | kw_observe
            | kw_factor
            | kw_for
            | kw_in
            | kw_if
            | kw_else
            | kw_return
            | kw_keep
            | kw_new
    )
}

impl Builder<'_> {
    /// The place of a pair, without the blanks that pest counts to it.
    pub fn span(&self, pair: &P) -> Span {
        let text = pair.as_str().trim_end();
        let start = pair.as_span().start();
        self.place(start, start + text.len())
    }

    fn place(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, (self.base + start).min(self.len), (self.base + end).min(self.len))
    }

    fn error(&mut self, code: Code, span: Span, message: impl Into<String>, label: &str, help: impl Into<String>) {
        self.diags.push(Diagnostic::new(code, message).label(span, label).help(help));
    }

    /// `item`
    pub fn item(&mut self, pair: P) -> Item {
        let span = self.span(&pair);
        let inner = pair.into_inner().next().expect("an item is one of its kinds");
        let rule = inner.as_rule();
        let mut parts = Parts::of(inner);
        let kind = match rule {
            Rule::const_item => ItemKind::Const { name: self.name(parts.expect()), value: self.expr(parts.expect()) },
            Rule::use_item => {
                let source = parts.expect();
                let from = if source.as_rule() == Rule::string {
                    UseFrom::File { span: self.span(&source), path: self.string(source) }
                } else {
                    UseFrom::Library(self.name(source))
                };
                let names = parts.next().map_or(Vec::new(), |p| Parts::of(p).map(|n| self.name(n)).collect());
                ItemKind::Use(Use { from, names })
            }
            Rule::size_item => {
                ItemKind::Size { name: self.name(parts.expect()), value: parts.next().map(|p| self.expr(p)) }
            }
            Rule::data_item => ItemKind::Data {
                name: self.name(parts.expect()),
                ty: self.ty(parts.expect()),
                value: parts.next().map(|p| self.expr(p)),
            },
            Rule::fn_item => ItemKind::Fn(self.function(parts.expect())),
            Rule::layer_item => ItemKind::Layer(self.function(parts.expect())),
            Rule::net_item => ItemKind::Net(self.function(parts.expect())),
            Rule::submodel_item => ItemKind::Submodel(self.function(parts.expect())),
            Rule::model_item => ItemKind::Model {
                name: parts.next_of(Rule::name).map(|p| self.name(p)),
                body: self.block(parts.expect()),
            },
            Rule::guide_item => {
                let name = parts.next_of(Rule::name).map(|p| self.name(p));
                let body = parts.expect();
                let body = if body.as_rule() == Rule::block {
                    GuideBody::Block(self.block(body))
                } else {
                    GuideBody::Family(self.expr(body))
                };
                ItemKind::Guide(Guide { name, body })
            }
            Rule::infer_item => ItemKind::Infer {
                algorithm: self.name(parts.expect()),
                name: parts.next_of(Rule::name).map(|p| self.name(p)),
                settings: parts.next().map_or(Vec::new(), |p| self.settings(p)),
            },
            Rule::generate_item => ItemKind::Generate(self.block(parts.expect())),
            Rule::evaluate_item => {
                let assigns = Parts::of(parts.expect()).filter(|p| p.as_rule() == Rule::assignment);
                ItemKind::Evaluate(
                    assigns
                        .map(|p| {
                            let mut parts = Parts::of(p);
                            Assign { name: self.name(parts.expect()), value: self.expr(parts.expect()) }
                        })
                        .collect(),
                )
            }
            Rule::expect_item => {
                let checks = Parts::of(parts.expect()).filter(|p| p.as_rule() == Rule::expr);
                ItemKind::Expect(checks.map(|p| self.expr(p)).collect())
            }
            rule => unreachable!("{rule:?} is not an item"),
        };
        Item { doc: None, kind, span }
    }

    fn settings(&mut self, pair: P) -> Vec<Setting> {
        let settings = Parts::of(pair).filter(|p| p.as_rule() == Rule::setting);
        settings
            .map(|p| {
                let span = self.span(&p);
                let mut parts = Parts::of(p);
                let first = parts.expect();
                if first.as_rule() == Rule::kw_minibatch {
                    let name = Ident { name: first.as_str().to_string(), span: self.span(&first) };
                    let subject = Some(self.name(parts.expect()));
                    Setting { name, subject, value: self.expr(parts.expect()), span }
                } else if first.as_rule() == Rule::kw_rate {
                    let name = Ident { name: first.as_str().to_string(), span: self.span(&first) };
                    let path = self.path(parts.expect());
                    let subject = Some(Ident { name: path.dotted(), span: path.span });
                    Setting { name, subject, value: self.expr(parts.expect()), span }
                } else {
                    Setting { name: self.name(first), subject: None, value: self.expr(parts.expect()), span }
                }
            })
            .collect()
    }

    fn function(&mut self, pair: P) -> Function {
        let mut parts = Parts::of(pair);
        let name = self.name(parts.expect());
        let params = Parts::of(parts.expect()).map(|p| self.parameter(p)).collect();
        let ret = parts.next_of(Rule::return_type).map(|p| {
            let inner = Parts::of(p).expect();
            let span = self.span(&inner);
            if inner.as_rule() == Rule::tuple_type {
                let mut types: Vec<Type> = Parts::of(inner).map(|t| self.ty(t)).collect();
                if types.len() == 1 { Return::One(types.remove(0)) } else { Return::Tuple(types, span) }
            } else {
                Return::One(self.ty(inner))
            }
        });
        Function { name, params, ret, body: self.block(parts.expect()) }
    }

    fn parameter(&mut self, pair: P) -> Parameter {
        let mut parts = Parts::of(pair);
        let name = self.name(parts.expect());
        let kind = parts.expect();
        let span = self.span(&kind);
        let kind = match (kind.as_rule(), kind.as_str()) {
            (Rule::kind, "size") => ParameterKind::Size(span),
            (Rule::kind, "shape") => ParameterKind::Shape(span),
            (Rule::kind, "dist") => ParameterKind::Dist(span),
            (Rule::kind, _) => ParameterKind::Option(span),
            _ => ParameterKind::Value(self.ty(kind)),
        };
        Parameter { name, kind, default: parts.next().map(|p| self.expr(p)) }
    }

    fn ty(&mut self, pair: P) -> Type {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let elem = match parts.expect().as_str() {
            "real" => Elem::Real,
            "int" => Elem::Int,
            _ => Elem::Bool,
        };
        let dims = parts.next_of(Rule::dims).map_or(Vec::new(), |p| {
            Parts::of(p)
                .map(|d| match d.as_rule() {
                    Rule::spread => Dim::Spread(self.name(Parts::of(d).expect())),
                    _ => Dim::Size(self.expr(d)),
                })
                .collect()
        });
        let range = parts.next().map(|p| {
            let range = self.expr(p);
            if !matches!(range.kind, ExprKind::Range { .. }) {
                self.error(
                    Code::E0101,
                    range.span,
                    "the `in` of a type needs a range",
                    "this is not a range",
                    "write both ends or one, such as `0..10`, `0..=1` or `0..`",
                );
            }
            Box::new(range)
        });
        Type { elem, dims, range, span }
    }

    fn block(&mut self, pair: P) -> Block {
        let span = self.span(&pair);
        let mut stmts = Vec::new();
        let mut doc: Option<String> = None;
        for part in Parts::of(pair) {
            if part.as_rule() == Rule::doc {
                add_doc(&mut doc, part.as_str());
            } else {
                let mut stmt = self.stmt(part);
                stmt.doc = doc.take();
                stmts.push(stmt);
            }
        }
        Block { stmts, span }
    }

    /// `stmt`
    pub fn stmt(&mut self, pair: P) -> Stmt {
        let span = self.span(&pair);
        let inner = pair.into_inner().next().expect("a statement is one of its kinds");
        Stmt { doc: None, kind: self.stmt_kind(inner), span }
    }

    fn stmt_kind(&mut self, inner: P) -> StmtKind {
        let rule = inner.as_rule();
        let mut parts = Parts::of(inner);
        let keep = parts.next_of(Rule::keep).is_some();
        match rule {
            Rule::let_stmt => {
                let target = parts.expect();
                let target = if target.as_rule() == Rule::names {
                    let span = self.span(&target);
                    Pattern::Tuple(Parts::of(target).map(|n| self.name(n)).collect(), span)
                } else {
                    Pattern::Name(self.name(target))
                };
                StmtKind::Let { target, value: self.expr(parts.expect()), keep }
            }
            Rule::sample_stmt => {
                let target = self.target(parts.expect());
                let ty = parts.next_of(Rule::type_).map(|t| self.ty(t));
                StmtKind::Sample { target, ty, dist: self.expr(parts.expect()), keep }
            }
            Rule::element_stmt => StmtKind::Assign {
                name: self.name(parts.expect()),
                index: self.index(parts.expect()),
                value: self.expr(parts.expect()),
            },
            Rule::declare_stmt => {
                StmtKind::Declare { name: self.name(parts.expect()), ty: self.ty(parts.expect()), keep }
            }
            Rule::param_stmt => StmtKind::Param {
                name: self.name(parts.expect()),
                ty: parts.next_of(Rule::type_).map(|t| self.ty(t)),
                init: parts.next().map(|e| self.expr(e)),
            },
            Rule::observe_stmt => {
                StmtKind::Observe { value: self.expr(parts.expect()), dist: self.expr(parts.expect()) }
            }
            Rule::factor_stmt => StmtKind::Factor(self.expr(parts.expect())),
            Rule::for_stmt => StmtKind::For {
                var: self.name(parts.expect()),
                range: self.expr(parts.expect()),
                body: self.block(parts.expect()),
            },
            Rule::if_stmt => {
                let cond = self.expr(parts.expect());
                let then = self.block(parts.expect());
                let otherwise = parts.next().map(|p| match p.as_rule() {
                    Rule::if_stmt => {
                        let span = self.span(&p);
                        let stmt = Stmt { doc: None, kind: self.stmt_kind(p), span };
                        Block { stmts: vec![stmt], span }
                    }
                    _ => self.block(p),
                });
                StmtKind::If { cond, then, otherwise }
            }
            Rule::return_stmt => StmtKind::Return(self.expr(parts.expect())),
            Rule::expr_stmt => {
                let expr = self.expr(parts.expect());
                if self.bare_expressions { StmtKind::Expr(expr) } else { self.bare(expr) }
            }
            rule => unreachable!("{rule:?} is not a statement"),
        }
    }

    /// An expression alone on its line: only what names a value may stand so.
    fn bare(&mut self, expr: Expr) -> StmtKind {
        match expr.kind {
            ExprKind::Name(_) | ExprKind::Field(..) | ExprKind::Index(..) => StmtKind::Expr(expr),
            ExprKind::Binary(BinaryOp::Eq, left, right) => {
                let sampled = is_distribution(&right);
                let want = if sampled { "~" } else { "=" };
                let gap = Span { start: left.span.end, end: right.span.start, ..left.span };
                self.diags.push(
                    Diagnostic::new(Code::E0101, "`==` compares, but nothing is done with the result")
                        .label(gap, format!("expected `{want}` here"))
                        .help(format!("write `{want}`"))
                        .fix(gap, format!(" {want} ")),
                );
                match left.kind {
                    ExprKind::Name(name) if !sampled => {
                        let target = Pattern::Name(Ident { name, span: left.span });
                        StmtKind::Let { target, value: *right, keep: false }
                    }
                    ExprKind::Name(name) => {
                        let ident = Ident { name, span: left.span };
                        let target = Target::Path(Path { parts: vec![ident], span: left.span });
                        StmtKind::Sample { target, ty: None, dist: *right, keep: false }
                    }
                    _ => StmtKind::Observe { value: *left, dist: *right },
                }
            }
            _ => {
                let help = if is_distribution(&expr) {
                    "put the name of a site and `~` before it"
                } else {
                    "give it a name: `name = …`, or hand it back: `return …`"
                };
                self.error(Code::E0101, expr.span, "this value is not used", "computed here, then forgotten", help);
                StmtKind::Expr(expr)
            }
        }
    }

    fn target(&mut self, pair: P) -> Target {
        let mut parts = Parts::of(pair);
        let first = parts.expect();
        let span = self.span(&first);
        match first.as_rule() {
            Rule::rest => Target::Rest(span),
            Rule::tuple_target => {
                let mut paths: Vec<Path> = Parts::of(first).map(|p| self.path(p)).collect();
                if paths.len() == 1 { Target::Path(paths.remove(0)) } else { Target::Tuple(paths, span) }
            }
            _ => {
                let path = self.path(first);
                match parts.next() {
                    Some(index) => Target::Element(path, self.index(index)),
                    None => Target::Path(path),
                }
            }
        }
    }

    fn path(&mut self, pair: P) -> Path {
        let span = self.span(&pair);
        Path { parts: Parts::of(pair).map(|n| self.name(n)).collect(), span }
    }

    fn name(&mut self, pair: P) -> Ident {
        Ident { name: pair.as_str().to_string(), span: self.span(&pair) }
    }

    /// `expr`
    pub fn expr(&mut self, pair: P) -> Expr {
        use std::cell::RefCell;
        // The closures below take turns; none is running while another one borrows.
        let this = RefCell::new(self);
        PRECEDENCE
            .map_primary(|p| this.borrow_mut().primary(p))
            .map_prefix(|op, operand| this.borrow_mut().prefix(op, operand))
            .map_postfix(|operand, op| this.borrow_mut().postfix(operand, op))
            .map_infix(|left, op, right| this.borrow_mut().infix(left, op, right))
            .parse(pair.into_inner())
    }

    fn prefix(&mut self, op: P, operand: Expr) -> Expr {
        if op.as_rule() == Rule::neg {
            self.needs_parentheses(&operand, false);
        }
        let span = self.span(&op).to(operand.span);
        let kind = match op.as_rule() {
            Rule::neg => ExprKind::Unary(UnaryOp::Neg, Box::new(operand)),
            Rule::not => ExprKind::Unary(UnaryOp::Not, Box::new(operand)),
            rule => {
                self.not_a_range(&operand);
                let closed = rule == Rule::range_to_closed;
                ExprKind::Range { start: None, end: Some(Box::new(operand)), closed }
            }
        };
        Expr { kind, span }
    }

    fn postfix(&mut self, operand: Expr, op: P) -> Expr {
        let span = operand.span.to(self.span(&op));
        let kind = match op.as_rule() {
            Rule::call => {
                let args = Parts::of(op).map(|p| self.arg(p)).collect();
                ExprKind::Call { callee: Box::new(operand), args }
            }
            Rule::index => ExprKind::Index(Box::new(operand), self.index(op)),
            Rule::field => ExprKind::Field(Box::new(operand), self.name(Parts::of(op).expect())),
            _ => {
                self.not_a_range(&operand);
                ExprKind::Range { start: Some(Box::new(operand)), end: None, closed: false }
            }
        };
        Expr { kind, span }
    }

    fn infix(&mut self, left: Expr, op: P, right: Expr) -> Expr {
        let span = left.span.to(right.span);
        let comparison =
            matches!(op.as_rule(), Rule::eq | Rule::ne | Rule::lt | Rule::le | Rule::gt | Rule::ge | Rule::in_);
        if comparison && (is_comparison(&left) || is_comparison(&right)) {
            let place = self.span(&op);
            self.error(
                Code::E0106,
                place,
                "comparisons cannot be chained",
                "a second comparison in a row",
                "join two comparisons by `and`: `a < b and b < c`",
            );
        }
        let in_range = matches!(op.as_rule(), Rule::range | Rule::range_closed);
        if !matches!(op.as_rule(), Rule::pipe | Rule::or | Rule::and) {
            self.needs_parentheses(&left, comparison || in_range);
            self.needs_parentheses(&right, comparison || in_range);
        }
        let (left, right) = (Box::new(left), Box::new(right));
        let op = match op.as_rule() {
            Rule::pipe => return Expr { kind: ExprKind::Pipe(left, right), span },
            Rule::in_ => return Expr { kind: ExprKind::In(left, right), span },
            rule @ (Rule::range | Rule::range_closed) => {
                self.not_a_range(&left);
                self.not_a_range(&right);
                let closed = rule == Rule::range_closed;
                return Expr { kind: ExprKind::Range { start: Some(left), end: Some(right), closed }, span };
            }
            Rule::or => BinaryOp::Or,
            Rule::and => BinaryOp::And,
            Rule::eq => BinaryOp::Eq,
            Rule::ne => BinaryOp::Ne,
            Rule::lt => BinaryOp::Lt,
            Rule::le => BinaryOp::Le,
            Rule::gt => BinaryOp::Gt,
            Rule::ge => BinaryOp::Ge,
            Rule::add => BinaryOp::Add,
            Rule::sub => BinaryOp::Sub,
            Rule::mul => BinaryOp::Mul,
            Rule::div => BinaryOp::Div,
            Rule::rem => BinaryOp::Rem,
            Rule::matmul => BinaryOp::MatMul,
            Rule::pow => BinaryOp::Pow,
            rule => unreachable!("{rule:?} is not an infix operator"),
        };
        Expr { kind: ExprKind::Binary(op, left, right), span }
    }

    /// Refuses `a + not b` and `a * ..b`: what comes behind would be read as part of the looser operand.
    fn needs_parentheses(&mut self, operand: &Expr, comparison: bool) {
        let what = match operand.kind {
            ExprKind::Unary(UnaryOp::Not, _) => "`not`",
            // `not_a_range` speaks of ranges in ranges.
            ExprKind::Range { .. } if !comparison => "a range",
            _ => return,
        };
        self.error(
            Code::E0101,
            operand.span,
            format!("{what} binds more loosely than the operator beside it"),
            "this needs parentheses",
            "put it in parentheses",
        );
    }

    fn not_a_range(&mut self, operand: &Expr) {
        if matches!(operand.kind, ExprKind::Range { .. }) {
            self.error(
                Code::E0101,
                operand.span,
                "a range cannot be an end of another range",
                "this is a range already",
                "write one `..` between two ends",
            );
        }
    }

    fn primary(&mut self, pair: P) -> Expr {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::int => self.int(pair.as_str(), span),
            Rule::real => self.real(pair.as_str(), span),
            Rule::infinity => ExprKind::Real(f64::INFINITY),
            Rule::yes => ExprKind::Bool(true),
            Rule::no => ExprKind::Bool(false),
            Rule::string => ExprKind::Str(self.string(pair)),
            Rule::name => ExprKind::Name(pair.as_str().to_string()),
            Rule::array => ExprKind::Array(Parts::of(pair).map(|p| self.expr(p)).collect()),
            Rule::hole => ExprKind::Hole(Parts::of(pair).next().map(|p| Box::new(self.expr(p)))),
            _ => {
                // A comma makes a tuple, even of one: `(a,)`.
                let comma = pair.clone().into_inner().any(|p| p.as_rule() == Rule::comma);
                let mut parts: Vec<Expr> = Parts::of(pair).map(|p| self.expr(p)).collect();
                if comma { ExprKind::Tuple(parts) } else { ExprKind::Paren(Box::new(parts.remove(0))) }
            }
        };
        Expr { kind, span }
    }

    fn int(&mut self, text: &str, span: Span) -> ExprKind {
        match text.replace('_', "").parse() {
            Ok(value) => ExprKind::Int(value),
            Err(_) => {
                self.error(
                    Code::E0104,
                    span,
                    "this integer is too large",
                    "does not fit 64 bits",
                    "write a real, such as `1e20`",
                );
                ExprKind::Int(i64::MAX)
            }
        }
    }

    fn real(&mut self, text: &str, span: Span) -> ExprKind {
        let value: f64 = text.replace('_', "").parse().unwrap_or(f64::NAN);
        if !value.is_finite() {
            self.error(
                Code::E0104,
                span,
                "this number is too large",
                "beyond the largest double, about 1.8e308",
                "write `inf` for infinity",
            );
        }
        ExprKind::Real(value)
    }

    fn string(&mut self, pair: P) -> String {
        let text = pair.as_str();
        let body = &text[1..text.len() - 1];
        if !body.contains('\\') {
            return body.to_string();
        }
        let start = pair.as_span().start() + 1;
        let mut out = String::with_capacity(body.len());
        let mut chars = body.char_indices();
        while let Some((at, c)) = chars.next() {
            if c != '\\' {
                out.push(c);
                continue;
            }
            let (_, escape) = chars.next().expect("the grammar puts a character after a backslash");
            let plain = match escape {
                'n' => Some('\n'),
                't' => Some('\t'),
                'r' => Some('\r'),
                '0' => Some('\0'),
                '"' | '\\' => Some(escape),
                'u' => {
                    let rest = &body[at + 2..];
                    let digits = rest.strip_prefix('{').and_then(|r| r.split_once('}')).map(|(d, _)| d);
                    let value = digits.and_then(|d| u32::from_str_radix(d, 16).ok()).and_then(char::from_u32);
                    if value.is_some() {
                        chars.by_ref().find(|&(_, c)| c == '}');
                    }
                    value
                }
                _ => None,
            };
            match plain {
                Some(c) => out.push(c),
                None => {
                    let span = self.place(start + at, start + at + 1 + escape.len_utf8());
                    self.error(
                        Code::E0103,
                        span,
                        format!("unknown escape `\\{escape}` in a string"),
                        "not one of `\\n \\t \\r \\0 \\\" \\\\ \\u{…}`",
                        "write `\\\\` for a backslash, and `/` between the folders of a path",
                    );
                    out.push(escape);
                }
            }
        }
        out
    }

    fn arg(&mut self, pair: P) -> Arg {
        if pair.as_rule() == Rule::named {
            let mut parts = Parts::of(pair);
            Arg { name: Some(self.name(parts.expect())), value: self.expr(parts.expect()) }
        } else {
            Arg { name: None, value: self.expr(pair) }
        }
    }

    fn index(&mut self, pair: P) -> Vec<Index> {
        Parts::of(pair)
            .map(|p| match p.as_rule() {
                Rule::all => Index::All(self.span(&p)),
                Rule::new_axis => Index::New(self.span(&p)),
                _ => Index::At(self.expr(p)),
            })
            .collect()
    }
}

/// Adds one `///` line to a doc comment.
pub(super) fn add_doc(doc: &mut Option<String>, line: &str) {
    let line = line.strip_prefix("///").unwrap_or(line);
    let line = line.strip_prefix(' ').unwrap_or(line).trim_end();
    match doc {
        Some(doc) => {
            doc.push('\n');
            doc.push_str(line);
        }
        None => *doc = Some(line.to_string()),
    }
}

fn is_comparison(expr: &Expr) -> bool {
    use BinaryOp::*;
    matches!(expr.kind, ExprKind::In(..) | ExprKind::Binary(Eq | Ne | Lt | Le | Gt | Ge, ..))
}

/// A call of a capitalized name, as distributions have.
fn is_distribution(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Call { callee, .. } => match &callee.kind {
            ExprKind::Name(name) => name.starts_with(char::is_uppercase),
            _ => false,
        },
        _ => false,
    }
}
