//! The `expect` block: each line is a comparison of numbers that a finished fit has.
//!
//! In: the syntax of a line.   Out: a [`Expect`] with all names resolved as far as they are known before there are data:
//! quantities of the fit, metrics of observed data, diagnostics. `report/expect.rs` evaluates it.

use super::checker::{Checker, R, Reported};
use super::expr::dotted;
use super::size::Size;
use super::typed::DistExpr;
use crate::diag::{Code, Diagnostic};
use crate::nearest::nearest;
use crate::source::Span;
use crate::syntax::ast::{self, BinaryOp, ExprKind as Syntax, Index, ItemKind, UnaryOp};
use crate::syntax::print_expr;

/// A line of an `expect` block.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The line in the canonical layout.
    pub text: String,
    /// What must hold, for every element of arrays.
    pub test: Test,
    /// Where it stands.
    pub span: Span,
}

/// What must hold.
#[derive(Clone, Debug)]
pub enum Test {
    /// `left < right`
    Compare {
        /// The left side.
        left: Side,
        /// How they are compared.
        by: Comparison,
        /// The right side.
        right: Side,
    },
    /// `value in low..high`, both ends included.
    Within {
        /// What lies between the ends.
        value: Side,
        /// The lower end.
        low: Option<Side>,
        /// The upper end.
        high: Option<Side>,
    },
}

impl Test {
    /// The parts that have a value, as they stand in the line.
    pub fn sides(&self) -> Vec<&Side> {
        match self {
            Test::Compare { left, right, .. } => vec![left, right],
            Test::Within { value, low, high } => std::iter::once(value).chain(low).chain(high).collect(),
        }
    }
}

/// A side of a comparison.
#[derive(Clone, Debug)]
pub struct Side {
    /// Its value.
    pub term: Term,
    /// Where it stands.
    pub span: Span,
}

/// A comparison of two numbers; none holds for NaN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Comparison {
    /// Whether it holds; never with NaN on a side.
    pub fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Comparison::Less => a < b,
            Comparison::AtMost => a <= b,
            Comparison::Greater => a > b,
            Comparison::AtLeast => a >= b,
            Comparison::Equal => a == b,
            Comparison::NotEqual => a != b && !a.is_nan() && !b.is_nan(),
        }
    }
}

/// A number, or an array of them, that a fit has.
#[derive(Clone, Debug)]
pub enum Term {
    /// A number that the program gives.
    Number(f64),
    /// A statistic of a reported quantity, element by element.
    Statistic {
        /// Which.
        statistic: Statistic,
        /// The name of the quantity.
        name: String,
        /// Its extents.
        shape: Vec<Size>,
        /// Which of its elements, dimension by dimension; those that are left out are whole.
        element: Vec<Position>,
        /// Where it stands.
        span: Span,
    },
    /// A score of an observed datum on held-out data.
    Metric {
        /// The datum.
        observed: String,
        /// The score.
        metric: String,
    },
    /// A number about the fit as a whole.
    Diagnostic(&'static str),
    /// A function of numbers, element by element.
    Apply(&'static Function, Vec<Term>),
}

impl Term {
    /// Visits the statistics in it.
    pub fn statistics<'t>(&'t self, visit: &mut dyn FnMut(&'t Term)) {
        match self {
            Term::Statistic { .. } => visit(self),
            Term::Apply(_, args) => args.iter().for_each(|a| a.statistics(visit)),
            Term::Number(_) | Term::Metric { .. } | Term::Diagnostic(_) => {}
        }
    }
}

/// A statistic of posterior draws.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Statistic {
    /// The mean.
    Mean,
    /// The standard deviation.
    Sd,
    /// The quantile of a probability from 0 to 1.
    Quantile(f64),
}

/// Which entries of a dimension.
#[derive(Clone, PartialEq, Debug)]
pub enum Position {
    /// The one at a position.
    At {
        /// From 0.
        index: usize,
        /// Where it was written.
        span: Span,
    },
    /// The one with a label.
    Label {
        /// The label.
        label: String,
        /// Where it was written.
        span: Span,
    },
    /// All of them.
    All,
}

/// A function of numbers.
#[derive(Debug)]
pub struct Function {
    /// Its name or operator.
    pub name: &'static str,
    /// How many numbers it takes.
    pub arity: usize,
    /// What it computes.
    pub apply: fn(&[f64]) -> f64,
}

static NEG: Function = Function { name: "-", arity: 1, apply: |x| -x[0] };
static ADD: Function = Function { name: "+", arity: 2, apply: |x| x[0] + x[1] };
static SUB: Function = Function { name: "-", arity: 2, apply: |x| x[0] - x[1] };
static MUL: Function = Function { name: "*", arity: 2, apply: |x| x[0] * x[1] };
static DIV: Function = Function { name: "/", arity: 2, apply: |x| x[0] / x[1] };
static POW: Function = Function { name: "^", arity: 2, apply: |x| x[0].powf(x[1]) };

/// The functions that a line may call besides statistics.
static FUNCTIONS: [Function; 6] = [
    Function { name: "abs", arity: 1, apply: |x| x[0].abs() },
    Function { name: "exp", arity: 1, apply: |x| x[0].exp() },
    Function { name: "log", arity: 1, apply: |x| x[0].ln() },
    Function { name: "sqrt", arity: 1, apply: |x| x[0].sqrt() },
    Function { name: "max", arity: 2, apply: |x| if x[0].is_nan() || x[0] > x[1] { x[0] } else { x[1] } },
    Function { name: "min", arity: 2, apply: |x| if x[0].is_nan() || x[0] < x[1] { x[0] } else { x[1] } },
];

/// The statistics, as they are written.
const STATISTICS: [&str; 3] = ["mean", "sd", "quantile"];

/// The numbers about a fit as a whole, as `summary.json` names them; those of the bounds stand behind `elbo.` and `bound.`, those of a
/// mode behind `mode.`.
pub const DIAGNOSTICS: [&str; 15] = [
    "max_rhat",
    "min_ess_bulk",
    "min_ess_tail",
    "divergences",
    "max_depth_hits",
    "min_e_bfmi",
    "pareto_k",
    "elbo.final",
    "elbo.standard_error",
    "elbo.steps",
    "bound.final",
    "bound.standard_error",
    "mode.log_density",
    "mode.log_evidence",
    "mode.gradient_norm",
];

/// The scores of observed classes.
pub const CLASS_METRICS: [&str; 12] = [
    "accuracy",
    "nll",
    "brier",
    "ece",
    "count",
    "entropy",
    "expected_entropy",
    "mutual_information",
    "temperature",
    "nll_scaled",
    "brier_scaled",
    "ece_scaled",
];
/// The scores of observed reals.
pub const REAL_METRICS: [&str; 7] = ["rmse", "mae", "nll", "crps", "coverage_50", "coverage_90", "count"];
/// The scores of observed counts.
pub const COUNT_METRICS: [&str; 4] = ["nll", "rmse", "coverage_90", "count"];

/// What other programs call things, and what says the same here.
fn other_word(name: &str) -> Option<&'static str> {
    Some(match name {
        "median" => "`quantile(x, 0.5)` is the median",
        "std" | "stddev" | "stdev" => "the standard deviation is `sd(x)`",
        "var" | "variance" => "`sd(x)^2` is the variance",
        "prob" | "probability" | "P" | "Pr" => {
            "the mean of a condition is its probability: name it in `generate`, `above = x > 0`, and write `mean(above)`"
        }
        "rhat" => "`max_rhat` is the largest of all elements",
        "ess" | "ess_bulk" | "ess_tail" => "`min_ess_bulk` and `min_ess_tail` are the smallest of all elements",
        "all" | "any" => "on arrays every element must hold: leave it out",
        _ => return None,
    })
}

impl<'p> Checker<'p> {
    /// Checks the lines of all `expect` blocks against the fitted model.
    pub(super) fn expect(&mut self, items: &'p [ast::Item], has_model: bool) {
        for item in items {
            let ItemKind::Expect(lines) = &item.kind else { continue };
            if !has_model && !lines.is_empty() {
                self.error(
                    Code::E0804,
                    "`expect` needs a model",
                    item.span,
                    "no model in this file",
                    "add a `model { … }`",
                );
                return;
            }
            for line in lines {
                if let Ok(test) = self.expect_test(line) {
                    self.program.expects.push(Expect { text: print_expr(line), test, span: line.span });
                }
            }
        }
    }

    fn expect_test(&mut self, line: &ast::Expr) -> R<Test> {
        let test = match &line.kind {
            Syntax::Paren(inner) => return self.expect_test(inner),
            Syntax::Binary(op, a, b) if comparison(*op).is_some() => {
                let (left, right) = (self.expect_side(a), self.expect_side(b));
                Test::Compare { left: left?, by: comparison(*op).expect("asked above"), right: right? }
            }
            Syntax::In(x, range) => {
                let Syntax::Range { start, end, .. } = &range.kind else {
                    let help = "write for example `mean(mu) in 0..10`";
                    return Err(self.error(Code::E0403, "`in` needs a range", range.span, "not a range", help));
                };
                if start.is_none() && end.is_none() {
                    let message = "this range has no ends";
                    return Err(self.error(
                        Code::E0403,
                        message,
                        range.span,
                        "everything lies in it",
                        "give it an end",
                    ));
                }
                let value = self.expect_side(x);
                let mut end_of = |e: &Option<Box<ast::Expr>>| e.as_ref().map(|e| self.expect_side(e)).transpose();
                let (low, high) = (end_of(start), end_of(end));
                let (value, low, high) = (value?, low?, high?);
                let ends = low.as_ref().and_then(number).zip(high.as_ref().and_then(number));
                if let Some((a, b)) = ends
                    && a > b
                {
                    let help = "write the smaller end first";
                    return Err(self.error(Code::E0403, "nothing lies in this range", range.span, "empty", help));
                }
                Test::Within { value, low, high }
            }
            Syntax::Binary(BinaryOp::And, ..) => {
                let help = "write each comparison in a line of its own";
                return Err(self.error(Code::E0403, "a line is one comparison", line.span, "these are several", help));
            }
            Syntax::Binary(BinaryOp::Or, ..) | Syntax::Unary(UnaryOp::Not, _) => {
                let help = "write one comparison: `mean(mu) < 3` or `mean(mu) in 2..4`";
                return Err(self.error(Code::E0403, "a line is one comparison", line.span, "a condition", help));
            }
            _ => {
                let what = print_expr(line);
                let help = match self.expect_term(line)? {
                    Term::Number(_) => "compare two numbers of the fit: `mean(mu) < 3`".to_string(),
                    _ => format!("say where it must lie: `{what} < 1` or `{what} in 0..1`"),
                };
                let message = "this line compares nothing";
                return Err(self.error(Code::E0403, message, line.span, "a number, not a comparison", &help));
            }
        };
        let sides = test.sides();
        if sides.iter().all(|s| number(s).is_some()) {
            let help = "compare a number of the fit: `mean(mu) < 3`";
            return Err(self.error(
                Code::E0403,
                "this line says nothing about the fit",
                line.span,
                "numbers on all sides",
                help,
            ));
        }
        let shapes: Vec<Vec<Size>> = sides.iter().map(|s| shape_of(&s.term)).collect();
        self.expect_one_shape(&shapes, line.span)?;
        Ok(test)
    }

    /// Arrays of one line have one shape; numbers go with any.
    fn expect_one_shape(&mut self, shapes: &[Vec<Size>], span: Span) -> R<()> {
        let mut arrays = shapes.iter().filter(|s| !s.is_empty());
        let Some(first) = arrays.next() else { return Ok(()) };
        for other in arrays {
            if first.len() != other.len() || !first.iter().zip(other).all(|(a, b)| self.agree(a, b)) {
                let shapes = format!("{} and {}", self.program.shape_text(first), self.program.shape_text(other));
                let message = format!("the shapes {shapes} do not go together");
                return Err(self.error(
                    Code::E0301,
                    message,
                    span,
                    "element by element",
                    "compare arrays of one shape",
                ));
            }
        }
        Ok(())
    }

    fn expect_side(&mut self, e: &ast::Expr) -> R<Side> {
        Ok(Side { term: self.expect_term(e)?, span: e.span })
    }

    fn expect_term(&mut self, e: &ast::Expr) -> R<Term> {
        match &e.kind {
            Syntax::Paren(inner) => self.expect_term(inner),
            Syntax::Int(n) => Ok(Term::Number(*n as f64)),
            Syntax::Real(x) => Ok(Term::Number(*x)),
            Syntax::Unary(UnaryOp::Neg, x) => {
                let x = self.expect_term(x)?;
                Ok(folded(&NEG, vec![x]))
            }
            Syntax::Binary(op, a, b) => {
                let function = match op {
                    BinaryOp::Add => &ADD,
                    BinaryOp::Sub => &SUB,
                    BinaryOp::Mul => &MUL,
                    BinaryOp::Div => &DIV,
                    BinaryOp::Pow => &POW,
                    _ => {
                        let message = format!("`{}` cannot stand inside a side of a comparison", op.symbol());
                        let help = "a side is made of statistics and numbers by `+ - * / ^`";
                        return Err(self.error(Code::E0403, message, e.span, "not a number", help));
                    }
                };
                let (a, b) = (self.expect_term(a), self.expect_term(b));
                let args = vec![a?, b?];
                self.expect_one_shape(&args.iter().map(shape_of).collect::<Vec<_>>(), e.span)?;
                Ok(folded(function, args))
            }
            Syntax::Name(_) | Syntax::Field(..) => match dotted(e) {
                Some(path) => self.expect_name(&path, e),
                None => Err(self.not_a_number(e)),
            },
            Syntax::Call { callee, args } => {
                let args: Vec<(Option<&ast::Ident>, &ast::Expr)> =
                    args.iter().map(|a| (a.name.as_ref(), &a.value)).collect();
                self.expect_call(callee, &args, e.span)
            }
            Syntax::Pipe(first, call) => {
                let mut all: Vec<(Option<&ast::Ident>, &ast::Expr)> = vec![(None, first)];
                match &call.kind {
                    Syntax::Call { callee, args } => {
                        all.extend(args.iter().map(|a| (a.name.as_ref(), &a.value)));
                        self.expect_call(callee, &all, e.span)
                    }
                    _ => self.expect_call(call, &all, e.span),
                }
            }
            Syntax::Index(base, _) => match dotted(base) {
                Some(path) if self.reported(&path).is_some() => Err(self.no_statistic(&print_expr(e), e.span)),
                _ => Err(self.not_a_number(e)),
            },
            _ => Err(self.not_a_number(e)),
        }
    }
    fn not_a_number(&mut self, e: &ast::Expr) -> Reported {
        let help = "a line compares statistics, metrics, diagnostics and numbers: `mean(mu) < 3`, `max_rhat < 1.01`";
        self.error(Code::E0403, "this is not a number of the fit", e.span, "cannot stand in `expect`", help)
    }
    /// A quantity stands where a number is needed.
    fn no_statistic(&mut self, text: &str, span: Span) -> Reported {
        let help =
            format!("compare a statistic of its draws: `mean({text})`, `sd({text})` or `quantile({text}, 0.95)`");
        let message = format!("`{text}` is not one number: it has a posterior");
        self.error(Code::E0205, message, span, "used as a number", &help)
    }

    /// A name outside of a statistic: a diagnostic, a metric, a constant.
    fn expect_name(&mut self, path: &str, e: &ast::Expr) -> R<Term> {
        let span = e.span;
        if self.reported(path).is_some() {
            return Err(self.no_statistic(path, span));
        }
        if let Some(name) = DIAGNOSTICS.iter().find(|n| **n == path) {
            return Ok(Term::Diagnostic(name));
        }
        if let Some((observed, metric)) = path.rsplit_once('.') {
            return self.expect_metric(observed, metric, span);
        }
        if path == "elbo" {
            let help = "write `elbo.final` or `elbo.standard_error`";
            return Err(self.error(Code::E0205, "`elbo` is not one number", span, "used as a number", help));
        }
        if self.model.observations.iter().any(|o| o.name == path) {
            let help = format!("a score on held-out data is meant by `{path}.nll`");
            let message = format!("`{path}` is data, not a number of the fit");
            return Err(self.error(Code::E0205, message, span, "used as a number", &help));
        }
        let is_datum = self.program.data_named(path).is_some();
        let is_item =
            self.program.constants.iter().any(|(n, _)| n == path) || self.known_size(path).is_some() && !is_datum;
        let in_model = self.lookup_local(path).is_some();
        if (is_item && !in_model) || ["pi", "e"].contains(&path) {
            let value = self.array(e)?;
            return match self.const_value(value) {
                Some(x) => Ok(Term::Number(x)),
                None => Err(self.error(
                    Code::E0402,
                    format!("the value of `{path}` is not known at compile time"),
                    span,
                    "depends on data",
                    "write a number",
                )),
            };
        }
        if is_datum || in_model {
            let help = if is_datum { "write a number" } else { "report it by `keep`, and write `mean(…)` of it" };
            let message = format!("`{path}` is not a number of the fit");
            return Err(self.error(Code::E0205, message, span, "used as a number", help));
        }
        let mut candidates: Vec<String> = DIAGNOSTICS.iter().map(|n| n.to_string()).collect();
        candidates.extend(self.reported_names());
        Err(self.unknown_in_expect(path, span, &candidates, "diagnostics"))
    }
    fn unknown_in_expect(&mut self, path: &str, span: Span, candidates: &[String], what: &str) -> Reported {
        let d =
            Diagnostic::new(Code::E0201, format!("the fit has nothing called `{path}`")).label(span, "unknown name");
        let d = match nearest(path, candidates.iter().map(String::as_str)) {
            Some(near) => d.help(format!("there is `{near}`")).fix(span, near.to_string()),
            None => d.help(match what {
                "diagnostics" => {
                    let whole: Vec<&str> = DIAGNOSTICS.into_iter().filter(|name| !name.contains('.')).collect();
                    format!("the diagnostics are `{}` and `elbo.final`", whole.join("`, `"))
                }
                _ if candidates.is_empty() => "the fit reports nothing: `keep` a value in the model".to_string(),
                _ => format!("the fit reports `{}`", shortened(candidates)),
            }),
        };
        self.report(d)
    }

    /// `labels.accuracy`
    fn expect_metric(&mut self, observed: &str, metric: &str, span: Span) -> R<Term> {
        if observed == "elbo" {
            let mut d = Diagnostic::new(Code::E0201, format!("the ELBO has no `{metric}`")).label(span, "unknown name");
            let near = nearest(metric, ["final", "standard_error", "steps"]);
            d = match near {
                Some(near) => d.help(format!("there is `elbo.{near}`")).fix(span, format!("elbo.{near}")),
                None => d.help("there is `elbo.final`, `elbo.standard_error` and `elbo.steps`"),
            };
            return Err(self.report(d));
        }
        let found: Vec<(bool, DistExpr)> = (self.model.observations.iter())
            .filter(|o| o.name == observed)
            .map(|o| (o.data.is_some(), o.dist.clone()))
            .collect();
        let Some((whole, dist)) = found.first() else {
            let path = format!("{observed}.{metric}");
            let mut names = self.reported_names();
            names.extend(self.model.observations.iter().map(|o| format!("{}.{metric}", o.name)));
            return Err(self.unknown_in_expect(&path, span, &names, "quantities"));
        };
        let items = &self.modules.get(self.modules.root()).ast.items;
        if !items.iter().any(|i| matches!(i.kind, ItemKind::Evaluate(_))) {
            let help = format!("add `evaluate {{ {observed} = … }}` with data that were not fitted");
            let message = format!("`{observed}.{metric}` needs held-out data");
            return Err(self.error(Code::E0805, message, span, "no `evaluate` block gives them", &help));
        }
        let metrics = metrics_of(dist);
        if !whole || metrics.is_empty() {
            let message = format!("`{observed}` is not scored on held-out data");
            let label = if *whole { "no scores for its distribution" } else { "it is observed element by element" };
            return Err(self.error(Code::E0404, message, span, label, "remove the line"));
        }
        if !metrics.contains(&metric) {
            let kind = match metrics {
                m if m == CLASS_METRICS => "classes",
                m if m == REAL_METRICS => "real numbers",
                _ => "counts",
            };
            let mut d = Diagnostic::new(Code::E0201, format!("`{observed}` has no score `{metric}`"))
                .label(span, format!("`{observed}` holds {kind}"));
            d = match nearest(metric, metrics.iter().copied()) {
                Some(near) => d.help(format!("there is `{observed}.{near}`")).fix(span, format!("{observed}.{near}")),
                None => d.help(format!("the scores of {kind} are `{}`", metrics.join("`, `"))),
            };
            return Err(self.report(d));
        }
        Ok(Term::Metric { observed: observed.to_string(), metric: metric.to_string() })
    }

    fn expect_call(&mut self, callee: &ast::Expr, args: &[(Option<&ast::Ident>, &ast::Expr)], span: Span) -> R<Term> {
        let Some(name) = dotted(callee) else { return Err(self.not_a_number(callee)) };
        if STATISTICS.contains(&name.as_str()) {
            return self.expect_statistic(&name, args, span);
        }
        let Some(function) = FUNCTIONS.iter().find(|f| f.name == name) else {
            let names = STATISTICS.iter().copied().chain(FUNCTIONS.iter().map(|f| f.name));
            let d = Diagnostic::new(Code::E0202, format!("`expect` has no function `{name}`"))
                .label(callee.span, "unknown here");
            let d = match (other_word(&name), nearest(&name, names.clone())) {
                (Some(help), _) => d.help(help),
                (None, Some(near)) => d.help(format!("there is `{near}`")).fix(callee.span, near.to_string()),
                (None, None) => d.help(format!(
                    "there is `{}`; anything else is named in `generate`, where every draw has its value",
                    names.collect::<Vec<_>>().join("`, `")
                )),
            };
            return Err(self.report(d));
        };
        self.expect_arguments(&name, args, &["x", "y"][..function.arity], span)?;
        let terms: Vec<R<Term>> = args.iter().map(|(_, e)| self.expect_term(e)).collect();
        let terms = terms.into_iter().collect::<R<Vec<_>>>()?;
        self.expect_one_shape(&terms.iter().map(shape_of).collect::<Vec<_>>(), span)?;
        Ok(folded(function, terms))
    }
    /// As many arguments as a function takes, without names or with the name that stands at their place.
    fn expect_arguments(
        &mut self,
        name: &str,
        args: &[(Option<&ast::Ident>, &ast::Expr)],
        params: &[&str],
        span: Span,
    ) -> R<()> {
        let form = format!("write `{name}({})`", params.join(", "));
        for (at, (given, _)) in args.iter().enumerate() {
            if let Some(given) = given
                && params.get(at) != Some(&given.name.as_str())
            {
                let message = format!("`{name}` takes no argument `{}` here", given.name);
                return Err(self.error(Code::E0208, message, given.span, "unknown argument", &form));
            }
        }
        if let Some((_, extra)) = args.get(params.len()) {
            let message = format!("`{name}` takes {}, not {}", counted(params.len()), args.len());
            return Err(self.error(Code::E0210, message, extra.span, "one too many", &form));
        }
        if args.len() < params.len() {
            let message = format!("`{name}` needs the argument `{}`", params[args.len()]);
            return Err(self.error(Code::E0209, message, span, "missing", &form));
        }
        Ok(())
    }

    fn expect_statistic(&mut self, name: &str, args: &[(Option<&ast::Ident>, &ast::Expr)], span: Span) -> R<Term> {
        let params: &[&str] = if name == "quantile" { &["x", "p"] } else { &["x"] };
        self.expect_arguments(name, args, params, span)?;
        let statistic = match name {
            "mean" => Statistic::Mean,
            "sd" => Statistic::Sd,
            _ => {
                let p = args[1].1;
                match self.expect_term(p)? {
                    Term::Number(x) if (0.0..=1.0).contains(&x) => Statistic::Quantile(x),
                    Term::Number(x) => {
                        let help = if x > 1.0 && x <= 100.0 {
                            format!("write `{}`", x / 100.0)
                        } else {
                            "the median is `quantile(x, 0.5)`".to_string()
                        };
                        let message = format!("a probability lies between 0 and 1, and this one is {x}");
                        return Err(self.error(Code::E0502, message, p.span, "outside", &help));
                    }
                    _ => {
                        let message = "the probability of a quantile is a number";
                        return Err(self.error(Code::E0402, message, p.span, "depends on the fit", "write `0.95`"));
                    }
                }
            }
        };
        self.expect_quantity(statistic, name, args[0].1)
    }
    /// `mu`, `h1.weight`, `theta[3]`
    fn expect_quantity(&mut self, statistic: Statistic, word: &str, e: &ast::Expr) -> R<Term> {
        let (base, indices): (&ast::Expr, &[Index]) = match &e.kind {
            Syntax::Paren(inner) => return self.expect_quantity(statistic, word, inner),
            Syntax::Index(base, indices) => (base, indices),
            _ => (e, &[]),
        };
        let Some(path) = dotted(base) else {
            let message = format!("`{word}` takes a quantity of the fit by its name");
            let text = print_expr(e);
            let help = format!("name it in `generate`, `value = {text}`, and write `{word}(value)`");
            return Err(self.error(Code::E0403, message, base.span, "an expression", &help));
        };
        let Some(shape) = self.reported(&path) else { return Err(self.not_reported(&path, word, base.span)) };
        let rank = shape.len();
        if indices.len() > rank {
            let d = if rank == 0 {
                Diagnostic::new(Code::E0309, format!("`{path}` is a scalar and has no elements"))
                    .help("leave the index out")
            } else {
                let text = self.program.shape_text(&shape);
                Diagnostic::new(Code::E0309, format!("{} indices for `{path}` of shape {text}", indices.len()))
                    .help("leave the last indices out")
            };
            return Err(self.report(d.label(e.span, "indexed here")));
        }
        let mut element = Vec::new();
        for (index, dim) in indices.iter().zip(&shape) {
            element.push(self.expect_position(index, dim)?);
        }
        Ok(Term::Statistic { statistic, name: path, shape, element, span: e.span })
    }
    fn expect_position(&mut self, index: &Index, dim: &Size) -> R<Position> {
        let e = match index {
            Index::All(_) => return Ok(Position::All),
            Index::At(e) => e,
            Index::New(span) => {
                let message = "`new` cannot stand in `expect`";
                return Err(self.error(Code::E0403, message, *span, "makes a dimension", "leave it out"));
            }
        };
        let known = self.fixed(dim).as_number();
        let label = match &e.kind {
            Syntax::Str(label) => Some(label.clone()),
            Syntax::Name(name)
                if !self.program.constants.iter().any(|(n, _)| n == name)
                    && self.known_size(name).is_none()
                    && dim.as_name().is_some() =>
            {
                Some(name.clone())
            }
            _ => None,
        };
        if let Some(label) = label {
            if dim.as_name().is_none() {
                let message = format!("a dimension of size {} has no labels", self.program.size_text(dim));
                return Err(self.error(Code::E0309, message, e.span, "a label", "write a position, from 0"));
            }
            return Ok(Position::Label { label, span: e.span });
        }
        if matches!(e.kind, Syntax::Range { .. }) {
            let help = "write one position, a label, or `:` for all";
            return Err(self.error(Code::E0403, "a range cannot stand here", e.span, "this is a range", help));
        }
        let value = match self.expect_term(e)? {
            Term::Number(x) => x,
            _ => {
                let message = "an index of `expect` is known at compile time";
                return Err(self.error(Code::E0402, message, e.span, "depends on the fit", "write a number"));
            }
        };
        if value < 0.0 || value.fract() != 0.0 || value >= 9e15 {
            let message = format!("{value} is not an index");
            return Err(self.error(Code::E0309, message, e.span, "this index", "indices are 0, 1, 2, …"));
        }
        if let Some(n) = known
            && value >= n as f64
        {
            let message = format!("the index {value} is outside a dimension of size {n}");
            let help = format!("the last one is {}", n - 1);
            return Err(self.error(Code::E0309, message, e.span, "this index", &help));
        }
        Ok(Position::At { index: value as usize, span: e.span })
    }

    fn not_reported(&mut self, path: &str, word: &str, span: Span) -> Reported {
        if self.model.discrete.iter().any(|d| d.name == path) {
            let message = format!("`{path}` is summed out: the fit has no draws of it");
            let help = format!("draw it in `generate`, `drawn = {path}`, and write `{word}(drawn)`");
            return self.error(Code::E0205, message, span, "a discrete latent", &help);
        }
        if self.program.data_named(path).is_some() {
            let message = format!("`{path}` is data: it has no posterior");
            let help = format!("`{word}` takes a site, a kept value or a generated quantity");
            return self.error(Code::E0205, message, span, "a datum", &help);
        }
        if DIAGNOSTICS.contains(&path) {
            let help = format!("write `{path}` alone");
            return self.error(Code::E0205, format!("`{path}` is one number"), span, "has no draws", &help);
        }
        if self.program.params.iter().any(|p| p.name == path) {
            let message = format!("`{path}` is a learnable constant: it has no posterior");
            let help = format!("name it in `generate`, `value = {path}`, and write `mean(value)`");
            return self.error(Code::E0205, message, span, "a `param`", &help);
        }
        if self.lookup_local(path).is_some() {
            let message = format!("`{path}` is not reported");
            let help = format!("write `keep {path} = …` in the model");
            return self.error(Code::E0205, message, span, "a value of the model", &help);
        }
        let names = self.reported_names();
        self.unknown_in_expect(path, span, &names, "quantities")
    }

    /// The extents of the quantity of the fit called `name`; `None` where the fit reports no such quantity.
    fn reported(&self, name: &str) -> Option<Vec<Size>> {
        if let Some(site) = self.model.sites.iter().find(|s| s.name == name) {
            return Some(site.ty.shape.clone());
        }
        let kept = self.model.kept.iter().chain(&self.program.generate.reported).find(|k| k.name == name)?;
        Some(self.program.ty(kept.value).shape.clone())
    }
    fn reported_names(&self) -> Vec<String> {
        let sites = self.model.sites.iter().map(|s| s.name.clone());
        let kept = self.model.kept.iter().chain(&self.program.generate.reported).map(|k| k.name.clone());
        sites.chain(kept).collect()
    }
}

fn comparison(op: BinaryOp) -> Option<Comparison> {
    Some(match op {
        BinaryOp::Lt => Comparison::Less,
        BinaryOp::Le => Comparison::AtMost,
        BinaryOp::Gt => Comparison::Greater,
        BinaryOp::Ge => Comparison::AtLeast,
        BinaryOp::Eq => Comparison::Equal,
        BinaryOp::Ne => Comparison::NotEqual,
        _ => return None,
    })
}

/// The number that a side is whatever the fit.
fn number(side: &Side) -> Option<f64> {
    if let Term::Number(x) = side.term { Some(x) } else { None }
}

/// The function of the terms, worked out where they are plain numbers.
fn folded(function: &'static Function, args: Vec<Term>) -> Term {
    let numbers: Option<Vec<f64>> =
        args.iter().map(|a| if let Term::Number(x) = a { Some(*x) } else { None }).collect();
    match numbers {
        Some(numbers) => Term::Number((function.apply)(&numbers)),
        None => Term::Apply(function, args),
    }
}

/// The extents of the value of a term.
fn shape_of(term: &Term) -> Vec<Size> {
    match term {
        Term::Number(_) | Term::Metric { .. } | Term::Diagnostic(_) => Vec::new(),
        Term::Statistic { shape, element, .. } => {
            let whole = |at: usize| matches!(element.get(at), None | Some(Position::All));
            shape.iter().enumerate().filter(|(at, _)| whole(*at)).map(|(_, s)| s.clone()).collect()
        }
        Term::Apply(_, args) => args.iter().map(shape_of).find(|s| !s.is_empty()).unwrap_or_default(),
    }
}

/// The scores of what a distribution gives; none where there are none.
fn metrics_of(dist: &DistExpr) -> &'static [&'static str] {
    if has_classes(dist) {
        &CLASS_METRICS
    } else if dist.event_rank() > 0 || !dist.is_proper() {
        &[]
    } else if dist.is_discrete() {
        &COUNT_METRICS
    } else {
        &REAL_METRICS
    }
}
fn has_classes(dist: &DistExpr) -> bool {
    match dist {
        DistExpr::Row { def, .. } => crate::dist::get(*def).probs.is_some(),
        DistExpr::Mixture { components, .. } => components.iter().all(has_classes),
        DistExpr::Wrapped { .. } | DistExpr::Joined { .. } => false,
    }
}

fn counted(n: usize) -> String {
    if n == 1 { "one argument".to_string() } else { format!("{n} arguments") }
}

/// The first names of a list, for a message.
fn shortened(names: &[String]) -> String {
    const MOST: usize = 12;
    let mut text = names[..names.len().min(MOST)].join("`, `");
    if names.len() > MOST {
        text.push_str("`, … and `");
        text.push_str(&names[names.len() - 1]);
    }
    text
}
