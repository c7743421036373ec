//! Which functions `Transformed` can invert: chains of built-in functions that are, each with one use of its argument.
//!
//! The function is called once with a stand-in for its argument; what it computes is then read from the result backwards.

use super::checker::{Checker, Given, R, Val};
use super::typed::*;
use crate::diag::{Code, Diagnostic};
use crate::dist::wrappers::Map;
use crate::dist::{End, SupportKind};
use crate::index::Idx;
use crate::source::Span;
use crate::syntax::ast::{self, Elem, ExprKind as Syntax};

/// The values that a chain has reached: its ends, infinite where open, `None` where data or parameters say; and numbers
/// that they certainly do not pass.
#[derive(Clone, Copy, Debug)]
struct Range {
    low: Option<f64>,
    high: Option<f64>,
    least: f64,
    most: f64,
}

impl Range {
    fn of((low, high): (End, End), kind: SupportKind) -> Self {
        let number = |end, open| match end {
            End::Open => Some(open),
            End::At(x) => Some(x),
            End::Given => None,
        };
        let (low, high) = (number(low, f64::NEG_INFINITY), number(high, f64::INFINITY));
        // A bound that is no interval's is the scale of a power law, which is positive.
        let least = low.unwrap_or(if kind == SupportKind::GreaterThan { 0.0 } else { f64::NEG_INFINITY });
        Range { low, high, least, most: high.unwrap_or(f64::INFINITY) }
    }
    fn rising(self, f: impl Fn(f64) -> f64) -> Self {
        Range { low: self.low.map(&f), high: self.high.map(&f), least: f(self.least), most: f(self.most) }
    }
    fn turned(self) -> Self {
        Range { low: self.high, high: self.low, least: self.most, most: self.least }
    }
    fn support(self) -> SupportKind {
        let end = |x: Option<f64>| match x {
            None => End::Given,
            Some(x) if x.is_infinite() => End::Open,
            Some(x) => End::At(x),
        };
        match crate::dist::between(end(self.low), end(self.high)) {
            SupportKind::NonNegative => SupportKind::Positive,
            other => other,
        }
    }
}

impl<'p> Checker<'p> {
    /// `Transformed(D, f)`.
    pub(super) fn transformed(&mut self, slots: &[Option<&ast::Expr>], span: Span) -> R<DistExpr> {
        let base = self.dist(slots[0].expect("required"))?;
        let f = slots[1].expect("required");
        let kind = base.support();
        if self.dist_elem(&base) != Elem::Real {
            let message = format!("`Transformed` needs a distribution of reals, `{}` gives whole numbers", base.name());
            let help = "a function of a count is a value: `y = f(n)`";
            return Err(self.error(Code::E0510, message, base.span(), "draws are ints", help));
        }
        if let Some(name) = base.atoms() {
            let message = format!("`Transformed` needs a density, `{name}` puts mass on single points");
            let help = format!("transform what is inside of `{name}`");
            return Err(self.error(Code::E0510, message, base.span(), "partly discrete", &help));
        }
        if kind.ends().is_none() || base.event_rank() > 0 && kind != SupportKind::Real {
            let message = format!("`Transformed` works number by number, `{}` ties them together", base.name());
            let label = format!("draws are {}", kind.words());
            let help = "transform a draw: `y = f(x)`";
            return Err(self.error(Code::E0510, message, base.span(), &label, help));
        }
        let argument = self.push(ExprKind::Draw(DrawId::new(u32::MAX as usize)), Ty::scalar(Elem::Real), f.span);
        let chain = self
            .through(f, Val::Array(argument))
            .and_then(|value| self.as_array(&value, f.span))
            .and_then(|result| self.chain(result, argument, f.span));
        // The stand-in is no value of the program.
        self.program.exprs[argument].kind = ExprKind::Const(0.5);
        let chain = chain?;
        let mut range = Range::of(self.known_ends(&base), kind);
        let mut maps = Vec::with_capacity(chain.len());
        for (map, place) in chain {
            range = self.image(range, map, (place, f.span), &base)?;
            maps.push(map);
        }
        self.wrap(WrapperExpr::Transformed { maps }, base, range.support(), span)
    }

    /// `f` applied to `x`: a name, a call that lacks its first argument as after `|>`, or a chain of these.
    fn through(&mut self, f: &ast::Expr, x: Val) -> R<Val> {
        let first = Given::Val(x.clone(), f.span);
        match &f.kind {
            Syntax::Paren(inner) => self.through(inner, x),
            Syntax::Name(_) | Syntax::Field(..) => self.call(f, &[], Some(first), f.span),
            Syntax::Call { callee, args } => self.call(callee, args, Some(first), f.span),
            Syntax::Pipe(left, right) => {
                let value = self.through(left, x)?;
                self.through(right, value)
            }
            _ => Err(self.error(
                Code::E0511,
                "the second argument of `Transformed` must be a function",
                f.span,
                "not a function",
                "name one, such as `exp`; a `fn` of your own or a chain `exp |> log1p` will do too",
            )),
        }
    }

    /// The maps from `argument` to `result`, the innermost first, each with its place.
    fn chain(&mut self, result: ExprId, argument: ExprId, span: Span) -> R<Vec<(Map<ExprId>, Span)>> {
        let mut maps = Vec::new();
        let mut e = result;
        while e != argument {
            let place = self.program.exprs[e].span;
            let operands = self.program.operands(e);
            let uses: Vec<usize> =
                (0..operands.len()).filter(|&i| self.program.reads(operands[i], |e, _| e == argument)).collect();
            let &[used] = &uses[..] else {
                let (message, label) = match uses.len() {
                    0 => ("this function does not depend on its argument", "always the same"),
                    _ => ("a function that uses its argument more than once cannot be inverted", "used twice here"),
                };
                let help = "compose it of functions with an inverse, such as `exp`, `sigmoid`, `a + b * x`";
                return Err(self.not_invertible(message, place, span, label, help));
            };
            let name = match &self.program.exprs[e].kind {
                ExprKind::Call { def, .. } => def.name,
                _ => "this index",
            };
            let other = operands.get(1 - used.min(1)).copied().filter(|_| operands.len() == 2);
            let known = other.and_then(|c| self.const_value(c));
            let place_of = |c: Option<ExprId>| c.expect("a binary operator has two operands");
            match (name, operands.len(), used) {
                ("-", 1, _) => maps.push((Map::Neg, place)),
                ("exp", ..) => maps.push((Map::Exp, place)),
                ("expm1", ..) => maps.push((Map::Expm1, place)),
                ("log", ..) => maps.push((Map::Log, place)),
                ("log1p", ..) => maps.push((Map::Log1p, place)),
                ("sigmoid", ..) => maps.push((Map::Sigmoid, place)),
                ("logit", ..) => maps.push((Map::Logit, place)),
                ("softplus", ..) => maps.push((Map::Softplus, place)),
                ("tanh", ..) => maps.push((Map::Tanh, place)),
                ("sqrt", ..) => maps.push((Map::Sqrt, place)),
                ("square", ..) => maps.push((Map::Pow(2.0), place)),
                ("normal_cdf", ..) => maps.push((Map::NormalCdf, place)),
                ("normal_icdf", ..) => maps.push((Map::NormalIcdf, place)),
                ("+", 2, _) => maps.push((Map::Add(place_of(other)), place)),
                ("-", 2, 0) => {
                    let minus =
                        self.apply(crate::builtins::get("-").expect("a built-in"), &[place_of(other)], place)?;
                    maps.push((Map::Add(minus), place));
                }
                ("-", 2, 1) => maps.extend([(Map::Add(place_of(other)), place), (Map::Neg, place)]),
                ("*", 2, _) if known != Some(0.0) => maps.push((Map::Mul(place_of(other)), place)),
                ("/", 2, 0) if known != Some(0.0) => {
                    let one = self.constant(1.0, Elem::Real, place);
                    let divide = crate::builtins::get("/").expect("a built-in");
                    let inverse = self.apply(divide, &[one, place_of(other)], place)?;
                    maps.push((Map::Mul(inverse), place));
                }
                ("/", 2, 1) if known != Some(0.0) => {
                    maps.extend([(Map::Mul(place_of(other)), place), (Map::Recip, place)]);
                }
                ("^", 2, 0) if known.is_some_and(|c| c != 0.0) => {
                    maps.push((Map::Pow(known.expect("checked")), place));
                }
                _ => {
                    let message = format!("`{name}` has no inverse here");
                    let help = "compose the function of `exp`, `log`, `log1p`, `expm1`, `sigmoid`, `logit`, `softplus`, \
                                `tanh`, `sqrt`, `normal_cdf` and of `+ - * / ^` with numbers";
                    return Err(self.not_invertible(&message, place, span, "this step", help));
                }
            }
            e = operands[used];
        }
        maps.reverse();
        Ok(maps)
    }
    fn not_invertible(
        &mut self,
        message: &str,
        place: Span,
        span: Span,
        label: &str,
        help: &str,
    ) -> super::checker::Reported {
        let d = at_use(Diagnostic::new(Code::E0511, message), place, span, label);
        self.report(d.help(help))
    }

    /// What `map` makes of `range`; refused where it is not defined, or where its direction is not known.
    fn image(&mut self, range: Range, map: Map<ExprId>, place: (Span, Span), base: &DistExpr) -> R<Range> {
        let need = |checker: &mut Self, fits: bool, word: &str, what: &str| {
            if fits {
                return Ok(());
            }
            let message = format!("`{word}` needs {what}");
            let d = at_use(Diagnostic::new(Code::E0511, message), place.0, place.1, "not defined everywhere")
                .label(base.span(), format!("draws of `{}` are {}", base.name(), base.support().words()))
                .help("use a family that stays where the function is defined, or truncate this one");
            Err(checker.report(d))
        };
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let positive = "positive numbers";
        Ok(match map {
            Map::Neg => range.turned().rising(|x| -x),
            Map::Exp => range.rising(f64::exp),
            Map::Expm1 => range.rising(f64::exp_m1),
            Map::Log => {
                need(self, range.least >= 0.0, "log", positive)?;
                range.rising(f64::ln)
            }
            Map::Log1p => {
                need(self, range.least >= -1.0, "log1p", "numbers above -1")?;
                range.rising(f64::ln_1p)
            }
            Map::Sigmoid => range.rising(sigmoid),
            Map::Logit => {
                need(self, range.least >= 0.0 && range.most <= 1.0, "logit", "numbers between 0 and 1")?;
                range.rising(|x| x.ln() - (-x).ln_1p())
            }
            Map::Softplus => range.rising(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
            Map::Tanh => range.rising(f64::tanh),
            Map::Recip => {
                need(self, range.least >= 0.0, "/", positive)?;
                range.turned().rising(|x| 1.0 / x)
            }
            Map::Sqrt => {
                need(self, range.least >= 0.0, "sqrt", "numbers of 0 or more")?;
                range.rising(f64::sqrt)
            }
            Map::Pow(c) => {
                need(self, range.least >= 0.0, "^", positive)?;
                if c > 0.0 { range.rising(|x| x.powf(c)) } else { range.turned().rising(|x| x.powf(c)) }
            }
            Map::NormalCdf => range.rising(crate::kernels::special::ndtr),
            Map::NormalIcdf => {
                need(self, range.least >= 0.0 && range.most <= 1.0, "normal_icdf", "numbers between 0 and 1")?;
                range.rising(crate::kernels::special::ndtri)
            }
            Map::Add(c) => match self.const_value(c) {
                Some(c) => range.rising(|x| x + c),
                None => Range {
                    low: range.low.filter(|x| x.is_infinite()),
                    high: range.high.filter(|x| x.is_infinite()),
                    least: if range.least >= 0.0 && self.is_positive(c) { 0.0 } else { f64::NEG_INFINITY },
                    most: f64::INFINITY,
                },
            },
            Map::Mul(c) => match self.const_value(c) {
                Some(c) if c > 0.0 => range.rising(|x| x * c),
                Some(c) => range.turned().rising(|x| x * c),
                None if range.low == Some(f64::NEG_INFINITY) && range.high == Some(f64::INFINITY) => range,
                None if self.is_positive(c) => {
                    let fixed = |x: &f64| x.is_infinite() || *x == 0.0;
                    Range {
                        low: range.low.filter(fixed),
                        high: range.high.filter(fixed),
                        least: if range.least >= 0.0 { 0.0 } else { f64::NEG_INFINITY },
                        most: if range.most <= 0.0 { 0.0 } else { f64::INFINITY },
                    }
                }
                None => {
                    let d = Diagnostic::new(Code::E0511, "the sign of this factor is not known");
                    let factor = self.program.exprs[c].span;
                    let d = at_use(d, factor, place.1, "may be negative, which turns the order around")
                        .label(base.span(), format!("draws of `{}` are {}", base.name(), base.support().words()))
                        .help("multiply by something that is positive: `exp(b)`, or a site that is");
                    return Err(self.report(d));
                }
            },
        })
    }
    /// Whether an expression is known to be above 0.
    fn is_positive(&self, e: ExprId) -> bool {
        let positive =
            |s: SupportKind| matches!(s, SupportKind::Positive | SupportKind::NonNegative | SupportKind::UnitInterval);
        match &self.program.exprs[e].kind {
            ExprKind::Const(x) => *x > 0.0,
            ExprKind::Size(_) => true,
            ExprKind::Site(id) => self.model.sites.get(*id).is_some_and(|s| positive(s.dist.support())),
            ExprKind::Param(id) => above_zero(self.program.params[*id].constraint),
            ExprKind::Hole(id) => above_zero(self.program.holes[*id].constraint),
            ExprKind::Data(id) => match self.program.data[*id].range.as_ref().map(|r| &r.kind) {
                Some(Syntax::Range { start: Some(start), .. }) => {
                    matches!(start.kind, Syntax::Int(_) | Syntax::Real(_))
                }
                _ => false,
            },
            ExprKind::Index { base, .. } => self.is_positive(*base),
            ExprKind::Call { def, args, .. } => match (def.name, args.len()) {
                ("exp" | "softplus" | "sigmoid" | "sqrt" | "abs" | "square" | "normal_cdf", _) => true,
                ("+" | "*" | "/", 2) => self.is_positive(args[0]) && self.is_positive(args[1]),
                ("^", 2) => self.is_positive(args[0]),
                _ => false,
            },
            _ => false,
        }
    }
}

/// The mistake at `place`, told where the function is used: `span`.
fn at_use(d: Diagnostic, place: Span, span: Span, label: &str) -> Diagnostic {
    let inside = place.file == span.file && span.start <= place.start && place.end <= span.end;
    if inside { d.label(place, label) } else { d.label(span, "this function").label(place, label) }
}

/// Whether what is made under a constraint is above 0.
fn above_zero(constraint: Constraint) -> bool {
    match constraint {
        Constraint::Positive | Constraint::UnitInterval => true,
        Constraint::Above(low) | Constraint::Between(low, _) => low >= 0.0,
        _ => false,
    }
}
