//! Wrappers: distributions that take distributions as arguments, and what of them fits together.

use super::checker::{Checker, R, Reported};
use super::typed::*;
use crate::diag::{Code, Diagnostic};
use crate::dist::{End, SupportKind, restrict, wrappers};
use crate::source::Span;
use crate::syntax::ast::{self, Elem, ExprKind as Syntax};

impl<'p> Checker<'p> {
    /// A call of the wrapper `name`.
    pub(super) fn wrapper(&mut self, name: &'static str, args: &[ast::Arg], span: Span) -> R<DistExpr> {
        let slots = self.wrapper_arguments(name, args, span)?;
        match name {
            "Mixture" => self.mixture(slots[0].expect("required"), slots[1].expect("required"), span),
            "Truncated" | "Censored" => self.cut(name, &slots, span),
            "ZeroInflated" | "Hurdle" => self.zeros(name, &slots, span),
            "Ordered" => self.ordered(&slots, span),
            "Transformed" => self.transformed(&slots, span),
            "Independent" => self.independent(&slots, span),
            _ => unreachable!("the table of wrappers has no other"),
        }
    }

    /// The arguments of a wrapper in the order of its parameters.
    fn wrapper_arguments<'a>(
        &mut self,
        name: &'static str,
        args: &'a [ast::Arg],
        span: Span,
    ) -> R<Vec<Option<&'a ast::Expr>>> {
        let def = wrappers::get(name).expect("the caller looked it up");
        let help = format!("its signature is `{}`", def.signature);
        let mut slots: Vec<Option<&ast::Expr>> = vec![None; def.params.len()];
        let mut position = 0;
        for arg in args {
            let at = match &arg.name {
                Some(n) => match def.params.iter().position(|p| p.0 == n.name) {
                    Some(at) => at,
                    None => {
                        let names: Vec<&str> = def.params.iter().map(|p| p.0).collect();
                        return Err(self.unknown_argument(name, n, &names));
                    }
                },
                None => {
                    position += 1;
                    position - 1
                }
            };
            let Some(slot) = slots.get_mut(at) else {
                let n = def.params.len();
                let message = format!("`{name}` takes {n} argument{}", if n == 1 { "" } else { "s" });
                return Err(self.error(Code::E0210, message, arg.value.span, "one too many", &help));
            };
            if let Some(first) = slot {
                let d = Diagnostic::new(Code::E0204, format!("`{}` is given twice", def.params[at].0))
                    .label(arg.value.span, "given again here")
                    .label(first.span, "first given here, by its position")
                    .help(format!("leave one out: {help}"));
                return Err(self.report(d));
            }
            *slot = Some(&arg.value);
        }
        for (slot, (param, _, optional)) in slots.iter().zip(def.params) {
            if slot.is_none() && !optional {
                let message = format!("`{name}` needs `{param}`");
                return Err(self.error(Code::E0209, message, span, "an argument is missing", &help));
            }
        }
        Ok(slots)
    }

    /// The distribution inside `wrapper`, which must be one of numbers with a density.
    fn wrapped_numbers(&mut self, wrapper: &str, e: &ast::Expr) -> R<DistExpr> {
        let base = self.dist(e)?;
        if base.event_rank() > 0 {
            let message = format!("`{wrapper}` needs a distribution of numbers, `{}` gives arrays", base.name());
            let help = "wrap a distribution whose draws are single numbers; independent draws fill the dimensions";
            return Err(self.error(Code::E0510, message, base.span(), "draws are arrays", help));
        }
        let point = matches!(base, DistExpr::Row { def: crate::dist::DistId::DELTA, .. }).then_some("Delta");
        if let Some(name) = base.atoms().or(point) {
            let message = format!("`{wrapper}` needs a density, `{name}` puts mass on single points");
            let help = match point {
                Some(_) => "a point mass has nothing to change".to_string(),
                None => format!("put `{wrapper}` inside: `{name}({wrapper}(…), …)`"),
            };
            return Err(self.error(Code::E0510, message, base.span(), "partly discrete", &help));
        }
        Ok(base)
    }
    /// Refuses a distribution whose mass on either side of a point is not known.
    fn need_cdf(&mut self, wrapper: &str, base: &DistExpr) -> R<()> {
        let Some(family) = base.without_cdf() else { return Ok(()) };
        let what = match wrapper {
            "Censored" => "censored",
            _ => "truncated",
        };
        let (name, span) = (family.name(), family.span());
        let message = format!("`{name}` cannot be {what}: its cdf is not known");
        let help = "use a family with a cdf (`bayesc doc NAME` says so under closed forms), or `factor`";
        Err(self.error(Code::E0510, message, span, "no cdf", help))
    }
    /// An argument that is an array of numbers of any shape that goes with the rest.
    fn wrapper_value(&mut self, wrapper: &str, param: &str, e: &ast::Expr) -> R<ExprId> {
        if let (Syntax::Hole(_), Some(_)) = (&e.kind, self.guide_site) {
            let message = format!("`{param}` of `{wrapper}` cannot be a hole");
            return Err(self.error(Code::E0606, message, e.span, "this hole", "give it a value"));
        }
        let value = self.array(e)?;
        if self.program.ty(value).elem == Elem::Bool {
            let message = format!("`{param}` of `{wrapper}` must be a number");
            return Err(self.error(Code::E0401, message, e.span, "this is bool", "give a number"));
        }
        // What is known is a constant from here on.
        Ok(match self.const_value(value) {
            Some(x) => self.constant(x, Elem::Real, e.span),
            None => value,
        })
    }

    /// `Truncated(D, lower, upper)` and `Censored(D, lower, upper)`.
    fn cut(&mut self, name: &'static str, slots: &[Option<&ast::Expr>], span: Span) -> R<DistExpr> {
        let base = self.wrapped_numbers(name, slots[0].expect("required"));
        let mut end = |at: usize, open: f64, word: &str| -> R<(Option<ExprId>, End)> {
            let Some(e) = slots[at] else { return Ok((None, End::Open)) };
            let value = self.wrapper_value(name, word, e)?;
            Ok(match self.const_value(value) {
                Some(x) if x == open => (None, End::Open),
                Some(x) if x.is_nan() || x == -open => {
                    let message = format!("`{word}` of `{name}` cannot be {x}");
                    let help = "leave it out where there is no end on that side";
                    return Err(self.error(Code::E0502, message, e.span, "nothing is left", help));
                }
                Some(x) => (Some(value), End::At(x)),
                None => (Some(value), End::Given),
            })
        };
        let lower = end(1, f64::NEG_INFINITY, "lower");
        let upper = end(2, f64::INFINITY, "upper");
        let (base, (lower, low), (upper, high)) = (base?, lower?, upper?);
        self.need_cdf(name, &base)?;
        self.check_ends(name, &base, low, high, span)?;
        if slots[1].is_none() && slots[2].is_none() {
            let d = Diagnostic::new(Code::W0001, format!("`{name}` without an end changes nothing"))
                .label(span, "neither `lower` nor `upper`")
                .help(format!("leave `{name}` out, or give it an end"));
            self.report(d);
        }
        let support = restrict(base.support(), low, high);
        let wrapper = if name == "Truncated" {
            WrapperExpr::Truncated { lower, upper }
        } else {
            WrapperExpr::Censored { lower, upper }
        };
        self.wrap(wrapper, base, support, span)
    }
    /// Refuses known ends that have nothing between them.
    fn check_ends(&mut self, name: &str, base: &DistExpr, low: End, high: End, span: Span) -> R<()> {
        let discrete = self.dist_elem(base) != Elem::Real;
        if let (End::At(a), End::At(b)) = (low, high)
            && (a > b || a == b && !(discrete && name == "Truncated"))
        {
            let message = format!("`lower` of `{name}` must be less than `upper`, found {a} and {b}");
            return Err(self.error(Code::E0502, message, span, "nothing lies between them", "exchange the two"));
        }
        for (end, word) in [(low, "lower"), (high, "upper")] {
            if let End::At(x) = end
                && discrete
                && x.fract() != 0.0
            {
                let message = format!("`{word}` of `{name}` must be a whole number here, found {x}");
                let label = format!("`{}` gives whole numbers", base.name());
                return Err(self.error(Code::E0502, message, span, &label, "both ends are included"));
            }
        }
        let (first, last) = self.known_ends(base);
        let misses = |inner: f64, outer: f64| if discrete { inner < outer } else { inner <= outer };
        let above = matches!((high, first), (End::At(x), End::At(y)) if misses(x, y));
        let below = matches!((low, last), (End::At(x), End::At(y)) if misses(y, x));
        if above || below {
            let (word, end) = if above { ("upper", high) } else { ("lower", low) };
            let End::At(x) = end else { unreachable!("matched above") };
            let side = if above { "below" } else { "above" };
            let message = format!("`{}` has nothing {side} `{word}`, which is {x}", base.name());
            let label = format!("draws are {}", base.support().words());
            return Err(self.error(Code::E0502, message, base.span(), &label, "move the end into the support"));
        }
        Ok(())
    }
    /// The ends of the support of a distribution of numbers, as far as the program fixes them.
    pub(super) fn known_ends(&self, d: &DistExpr) -> (End, End) {
        let known = |e: ExprId| self.const_value(e).map_or(End::Given, End::At);
        let (lower, upper) = d.support().ends().unwrap_or((End::Open, End::Open));
        let tighter = |outer: End, inner: Option<ExprId>, pick: fn(f64, f64) -> f64| match (outer, inner.map(known)) {
            (end, None) | (End::Open, Some(end)) => end,
            (End::At(a), Some(End::At(b))) => End::At(pick(a, b)),
            _ => End::Given,
        };
        match d {
            DistExpr::Row { def, args, .. } => {
                let row = crate::dist::get(*def);
                let param = |name: &str, end: End| match row.param(name) {
                    Some(at) if end == End::Given => known(args[at]),
                    _ => end,
                };
                match row.support {
                    SupportKind::Interval | SupportKind::IntegerRange if row.param("lower").is_some() => {
                        (param("lower", lower), param("upper", upper))
                    }
                    SupportKind::IntegerRange => (End::At(0.0), End::Given),
                    SupportKind::GreaterThan => (param("scale", lower), upper),
                    _ => (lower, upper),
                }
            }
            DistExpr::Wrapped { wrapper: WrapperExpr::Truncated { lower, upper }, base, .. }
            | DistExpr::Wrapped { wrapper: WrapperExpr::Censored { lower, upper }, base, .. } => {
                let (a, b) = self.known_ends(base);
                (tighter(a, *lower, f64::max), tighter(b, *upper, f64::min))
            }
            DistExpr::Wrapped { wrapper: WrapperExpr::ZeroInflated { .. }, base, .. } => {
                let with_zero = |end: End, pick: fn(f64, f64) -> f64| match end {
                    End::At(x) => End::At(pick(x, 0.0)),
                    other => other,
                };
                let (a, b) = self.known_ends(base);
                (with_zero(a, f64::min), with_zero(b, f64::max))
            }
            _ => (lower, upper),
        }
    }

    /// `ZeroInflated(p, D)` and `Hurdle(p, D)`.
    fn zeros(&mut self, name: &'static str, slots: &[Option<&ast::Expr>], span: Span) -> R<DistExpr> {
        let p_expr = slots[0].expect("required");
        let p = self.wrapper_value(name, "p", p_expr);
        let base = self.wrapped_numbers(name, slots[1].expect("required"));
        let (p, base) = (p?, base?);
        if let Some(x) = self.const_value(p).filter(|x| !(0.0..=1.0).contains(x)) {
            let message = format!("`p` of `{name}` must be between 0 and 1, found {x}");
            let help = "it is the probability of zero, and comes first";
            return Err(self.error(Code::E0502, message, p_expr.span, "not a probability", help));
        }
        let (kind, elem) = (base.support(), self.dist_elem(&base));
        let (first, last) = self.known_ends(&base);
        let from_zero = matches!(first, End::At(x) if x >= 0.0);
        let hurdle = name == "Hurdle";
        if hurdle {
            // The rest is D given that it is positive.
            let beyond = matches!(last, End::At(x) if x <= 0.0);
            if beyond {
                let message = format!("`{}` has nothing above 0", base.name());
                let label = format!("draws are {}", kind.words());
                let help = "the rest of a `Hurdle` is positive";
                return Err(self.error(Code::E0510, message, base.span(), &label, help));
            }
        } else if !(from_zero || elem == Elem::Real && kind == SupportKind::GreaterThan) {
            let message = format!("`{name}` needs counts or numbers of 0 or more, `{}` has others", base.name());
            let label = format!("draws are {}", kind.words());
            let help = "`Hurdle(p, D)` takes only what is positive of D; a `Mixture` takes any families of one support";
            return Err(self.error(Code::E0510, message, base.span(), &label, help));
        }
        let support = match (elem, kind) {
            (Elem::Real, _) => SupportKind::NonNegative,
            (_, SupportKind::Boolean) => SupportKind::Boolean,
            (_, SupportKind::Count | SupportKind::Integer) => SupportKind::Count,
            _ => SupportKind::IntegerRange,
        };
        let positive = matches!(first, End::At(x) if x > 0.0 || x == 0.0 && elem == Elem::Real)
            || elem == Elem::Real && kind == SupportKind::GreaterThan;
        if !hurdle || positive {
            return self.wrap(WrapperExpr::ZeroInflated { p, hurdle }, base, support, span);
        }
        self.need_cdf(name, &base)?;
        let least = if elem == Elem::Real { 0.0 } else { 1.0 };
        let inner = restrict(kind, End::At(least), End::Open);
        let lower = Some(self.constant(least, Elem::Real, span));
        let base_span = base.span();
        let base = self.wrap(WrapperExpr::Truncated { lower, upper: None }, base, inner, base_span)?;
        self.wrap(WrapperExpr::ZeroInflated { p, hurdle }, base, support, span)
    }

    /// `Ordered(D)`.
    fn ordered(&mut self, slots: &[Option<&ast::Expr>], span: Span) -> R<DistExpr> {
        let base = self.wrapped_numbers("Ordered", slots[0].expect("required"))?;
        let hole = base.args().into_iter().find(|&a| matches!(self.program.exprs[a].kind, ExprKind::Hole(_)));
        if let Some(hole) = hole {
            let place = self.program.exprs[hole].span;
            let message = "draws that are put in order share their parameters: this cannot be a hole";
            let help = "use `mean_field`, which works in unconstrained space";
            return Err(self.error(Code::E0606, message, place, "this hole", help));
        }
        let support = match base.support() {
            SupportKind::Real => SupportKind::Ordered,
            SupportKind::Positive | SupportKind::NonNegative => SupportKind::PositiveOrdered,
            kind => {
                let message = format!(
                    "`Ordered` needs draws over the real line or the positive numbers, `{}` has others",
                    base.name()
                );
                let label = format!("draws are {}", kind.words());
                let help = "order draws of a family over the real line, and transform the result";
                return Err(self.error(Code::E0510, message, base.span(), &label, help));
            }
        };
        self.wrap(WrapperExpr::Ordered, base, support, span)
    }

    /// `Independent(D, n)`.
    fn independent(&mut self, slots: &[Option<&ast::Expr>], span: Span) -> R<DistExpr> {
        let base = self.dist(slots[0].expect("required"))?;
        let n = slots[1].expect("required");
        let value = self.array(n)?;
        let dims = match self.const_value(value) {
            Some(x) if x >= 0.0 && x.fract() == 0.0 && x < 32.0 => x as usize,
            _ => {
                let message = "`n` of `Independent` must be a known number of dimensions";
                return Err(self.error(Code::E0402, message, n.span, "not known here", "write for example `1`"));
            }
        };
        let batch = self.batch_shape(&base)?;
        if batch.len() < dims {
            let have = self.program.shape_text(&batch);
            let message = format!("`{}` has {} dimensions to take together, not {dims}", base.name(), batch.len());
            let label = format!("its parameters have shape {have}");
            let help = "give a parameter the whole shape: `Normal(zeros([K]), 1)`";
            return Err(self.error(Code::E0510, message, base.span(), &label, help));
        }
        let support = base.support();
        self.wrap(WrapperExpr::Independent { dims }, base, support, span)
    }

    /// The wrapped distribution, if its shapes go together.
    pub(super) fn wrap(
        &mut self,
        wrapper: WrapperExpr,
        base: DistExpr,
        support: SupportKind,
        span: Span,
    ) -> R<DistExpr> {
        let result = DistExpr::Wrapped { wrapper, base: Box::new(base), support, span };
        self.batch_shape(&result)?;
        Ok(result)
    }

    /// Whether a guide `d` has draws exactly where the prior has: the same kind of support, with the same known ends.
    pub(super) fn same_support(&self, prior: &DistExpr, guide: &DistExpr) -> bool {
        let (a, b) = (prior.support(), guide.support());
        if a.is_discrete() || b.is_discrete() {
            return a == b && !a.needs_bounds();
        }
        if a.ends().is_none() || b.ends().is_none() {
            return a.matches(b);
        }
        let (p, q) = (self.known_ends(prior), self.known_ends(guide));
        p == q && p.0 != End::Given && p.1 != End::Given
    }

    /// Where draws of a distribution lie, in words, with the ends that the program fixes.
    pub(super) fn support_text(&self, d: &DistExpr) -> String {
        let support = d.support();
        match self.known_ends(d) {
            _ if !support.needs_bounds() => support.words().to_string(),
            (End::At(a), End::At(b)) => format!("between {a} and {b}"),
            (End::At(a), End::Open) => format!("not below {a}"),
            (End::Open, End::At(b)) => format!("not above {b}"),
            _ => support.words().to_string(),
        }
    }

    /// Refuses a latent that has masses on single points: it has no unconstrained coordinates.
    pub(super) fn refuse_atoms(&mut self, name: &str, d: &DistExpr) -> R<()> {
        let Some(wrapper) = d.atoms() else { return Ok(()) };
        let message = format!("`{name}` is partly discrete: `{wrapper}` puts mass on single points");
        let help = match wrapper {
            "Censored" => "`Censored` is for data; a latent that stays inside its ends is `Truncated`",
            _ => "it is for data; a latent may have a `Mixture` of a narrow and a wide component",
        };
        self.report(Diagnostic::new(Code::E0505, message).label(d.span(), "masses and a density").help(help));
        Err(Reported)
    }
}
