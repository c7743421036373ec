//! The typed program as text: `bayesc emit --stage typed`.
//!
//! Names stand for data, sites and parameters; every other value that is used has a line `%n = … : type` before its
//! first use. Functions, layers and submodels are gone: what is printed is what lowering sees.

use super::settings::{Algorithm, Infer, KlChoice, Length, PrecisionChoice, Reparam};
use super::size::Size;
use super::typed::*;
use crate::dist::wrappers::Map;
use crate::index::Idx;
use crate::infer::optim::Rule;
use crate::infer::schedule::Shape;
use crate::kernels::conv::Method;
use crate::syntax::ast::Elem;
use crate::syntax::print::print_expr;
use std::collections::HashSet;
use std::fmt::Write;

/// The whole program.
pub fn print(program: &Program) -> String {
    let mut p = Printer { program, out: String::new(), known: HashSet::new() };
    p.sizes();
    p.data();
    p.params();
    if let Some(model) = &program.model {
        p.model(model);
        for guide in &program.guides {
            p.guide(guide, model);
        }
    }
    for infer in &program.infers {
        p.infer(infer);
    }
    p.generate();
    if !program.evaluate.is_empty() {
        p.block("evaluate", |p| {
            for assign in &program.evaluate {
                p.line(&format!("{} = {}", assign.name.name, print_expr(&assign.value)));
            }
        });
    }
    if !program.expects.is_empty() {
        p.block("expect", |p| program.expects.iter().for_each(|e| p.line(&e.text)));
    }
    p.out
}

/// A type as the user would write it: `real[N, 2 * F]`.
pub fn type_text(program: &Program, ty: &Ty) -> String {
    let elem = elem_name(ty.elem);
    if ty.shape.is_empty() { elem.to_string() } else { format!("{elem}{}", program.shape_text(&ty.shape)) }
}

/// A distribution in one line of about `width` characters; arguments that need more are shown as `…`.
pub fn dist_text(program: &Program, dist: &DistExpr, width: usize) -> String {
    match dist {
        DistExpr::Row { def, args, .. } => {
            let row = crate::dist::get(*def);
            let args = &args[..args.len().min(row.arguments().len())];
            let room = width / args.len().max(1);
            // A name says which form it is, where there are several.
            let named = crate::dist::forms(row.name).first() != Some(def);
            let text = |(i, &a): (usize, &ExprId)| {
                let value = expr_text(program, a, room);
                if named { format!("{} = {value}", row.params[i].name) } else { value }
            };
            format!("{}({})", row.name, args.iter().enumerate().map(text).collect::<Vec<_>>().join(", "))
        }
        DistExpr::Mixture { weights, components, .. } => {
            let room = width / (components.len() + 1);
            let parts: Vec<String> = components.iter().map(|c| dist_text(program, c, room)).collect();
            format!("Mixture({}, [{}])", expr_text(program, *weights, room), parts.join(", "))
        }
        DistExpr::Wrapped { wrapper, base, .. } => {
            let room = width / (wrapper.args().len() + 1);
            let base = dist_text(program, hurdle_base(wrapper, base), room);
            wrapper_text(wrapper, &base, &|e| expr_text(program, e, room))
        }
        DistExpr::Joined { parts, .. } => {
            let room = width / parts.len().max(1);
            parts.iter().map(|(_, d)| dist_text(program, d, room)).collect::<Vec<_>>().join(" then ")
        }
    }
}

/// What was written inside of a wrapper: that of a hurdle has the truncation that the checker gave it.
fn hurdle_base<'a>(wrapper: &WrapperExpr, base: &'a DistExpr) -> &'a DistExpr {
    match (wrapper, base) {
        (
            WrapperExpr::ZeroInflated { hurdle: true, .. },
            DistExpr::Wrapped { wrapper: WrapperExpr::Truncated { .. }, base: inner, span, .. },
        ) if inner.span() == *span => inner,
        _ => base,
    }
}

/// A wrapper around the distribution that `base` is the text of.
fn wrapper_text(wrapper: &WrapperExpr, base: &str, text: &dyn Fn(ExprId) -> String) -> String {
    let name = wrapper.name();
    match wrapper {
        WrapperExpr::Truncated { lower, upper } | WrapperExpr::Censored { lower, upper } => {
            let end = |word: &str, e: &Option<ExprId>| e.map_or(String::new(), |e| format!(", {word} = {}", text(e)));
            format!("{name}({base}{}{})", end("lower", lower), end("upper", upper))
        }
        WrapperExpr::ZeroInflated { p, .. } => format!("{name}({}, {base})", text(*p)),
        WrapperExpr::Ordered => format!("{name}({base})"),
        WrapperExpr::Independent { dims } => format!("{name}({base}, {dims})"),
        WrapperExpr::Transformed { maps } => {
            let function = maps.iter().fold("u".to_string(), |u, map| match map {
                Map::Neg => format!("-({u})"),
                Map::Add(c) => format!("({u} + {})", text(*c)),
                Map::Mul(c) => format!("({u} * {})", text(*c)),
                Map::Exp => format!("exp({u})"),
                Map::Expm1 => format!("expm1({u})"),
                Map::Log => format!("log({u})"),
                Map::Log1p => format!("log1p({u})"),
                Map::Sigmoid => format!("sigmoid({u})"),
                Map::Logit => format!("logit({u})"),
                Map::Softplus => format!("softplus({u})"),
                Map::Tanh => format!("tanh({u})"),
                Map::Recip => format!("1 / ({u})"),
                Map::Sqrt => format!("sqrt({u})"),
                Map::Pow(c) => format!("({u}) ^ {c}"),
                Map::NormalCdf => format!("normal_cdf({u})"),
                Map::NormalIcdf => format!("normal_icdf({u})"),
            });
            format!("{name}({base}, u -> {function})")
        }
    }
}

/// An expression with everything written in its place; `…` where that is longer than `width`.
fn expr_text(program: &Program, id: ExprId, width: usize) -> String {
    let text = nested_text(program, id, width);
    // An operator needs its brackets only inside another one.
    text.strip_prefix('(')
        .and_then(|t| t.strip_suffix(')'))
        .filter(|t| balanced(t))
        .map_or(text.clone(), str::to_string)
}

fn balanced(text: &str) -> bool {
    let mut depth = 0i32;
    text.chars().all(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth >= 0
    })
}

fn nested_text(program: &Program, id: ExprId, width: usize) -> String {
    let text = match &program.exprs[id].kind {
        ExprKind::Call { def, args, attrs } if args.len() <= 4 => {
            let text = if is_operator(def.name) { nested_text } else { expr_text };
            let inner: Vec<String> = args.iter().map(|&a| text(program, a, width)).collect();
            if inner.iter().map(String::len).sum::<usize>() > width || inner.iter().any(|t| t == "…") {
                return "…".into();
            }
            call_text(program, def.name, &inner, attrs, true)
        }
        ExprKind::Index { base, .. } => format!("{}[…]", nested_text(program, *base, width)),
        ExprKind::Call { .. } | ExprKind::Scan { .. } | ExprKind::LogProb { .. } | ExprKind::Sample { .. } => {
            "…".into()
        }
        _ => atom(program, id).expect("calls and indices are handled above"),
    };
    if text.chars().count() > width.max(8) { "…".into() } else { text }
}

/// The name or number that stands for an expression; `None` for what is computed.
fn atom(program: &Program, id: ExprId) -> Option<String> {
    Some(match &program.exprs[id].kind {
        ExprKind::Const(x) => number(*x),
        ExprKind::Size(size) => program.size_text(size),
        ExprKind::Data(d) => program.data[*d].name.clone(),
        ExprKind::Site(s) => program.model.as_ref().map_or_else(|| format!("{s:?}"), |m| m.sites[*s].name.clone()),
        ExprKind::Param(p) => program.params[*p].name.clone(),
        ExprKind::Hole(h) => format!("?{}", program.holes[*h].name),
        ExprKind::Draw(d) => program.generate.draws[*d].name.clone(),
        ExprKind::Discrete(d) => {
            program.model.as_ref().map_or_else(|| format!("{d:?}"), |m| m.discrete[*d].name.clone())
        }
        ExprKind::Var(var) => format!("{var}"),
        ExprKind::Call { .. }
        | ExprKind::Index { .. }
        | ExprKind::Scan { .. }
        | ExprKind::LogProb { .. }
        | ExprKind::Sample { .. } => return None,
    })
}

fn number(x: f64) -> String {
    if x != 0.0 && !(1e-4..1e15).contains(&x.abs()) { format!("{x:e}") } else { format!("{x}") }
}

fn elem_name(elem: Elem) -> &'static str {
    match elem {
        Elem::Real => "real",
        Elem::Int => "int",
        Elem::Bool => "bool",
    }
}

fn is_operator(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_alphabetic()) || matches!(name, "and" | "or" | "not")
}

/// `f(a, b; sizes …; ints …)`, or infix for operators.
fn call_text(program: &Program, name: &str, args: &[String], attrs: &Attrs, nested: bool) -> String {
    let operator = is_operator(name);
    match args {
        [a] if operator && name == "not" => return format!("not {a}"),
        [a] if operator => return format!("{name}{a}"),
        [a, b] if operator && nested => return format!("({a} {name} {b})"),
        [a, b] if operator => return format!("{a} {name} {b}"),
        _ => {}
    }
    let mut parts = vec![args.join(", ")];
    if !attrs.sizes.is_empty() {
        parts.push(program.shape_text(&attrs.sizes));
    }
    if !attrs.ints.is_empty() {
        parts.push(attrs.ints.iter().map(i64::to_string).collect::<Vec<_>>().join(", "));
    }
    parts.retain(|p| !p.is_empty());
    format!("{name}({})", parts.join("; "))
}

struct Printer<'a> {
    program: &'a Program,
    out: String,
    /// Values that have a line already.
    known: HashSet<ExprId>,
}

impl Printer<'_> {
    fn line(&mut self, text: &str) {
        writeln!(self.out, "  {text}").expect("a string takes everything");
    }
    fn block(&mut self, head: &str, body: impl FnOnce(&mut Self)) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        writeln!(self.out, "{head} {{").expect("a string takes everything");
        body(self);
        self.out.push_str("}\n");
    }
    /// How to refer to a value, which has its line by now.
    fn reference(&self, id: ExprId) -> String {
        atom(self.program, id).unwrap_or_else(|| format!("%{}", id.index()))
    }
    /// Prints the lines that `root` needs. Expressions refer backwards only, so the order of ids is an order of lines.
    fn need(&mut self, roots: &[ExprId]) {
        let mut pending: Vec<ExprId> = roots.to_vec();
        let mut new: Vec<ExprId> = Vec::new();
        while let Some(id) = pending.pop() {
            if atom(self.program, id).is_none() && self.known.insert(id) {
                new.push(id);
                pending.extend(self.program.operands(id));
                match &self.program.exprs[id].kind {
                    ExprKind::Call { args, .. } => pending.extend(args),
                    ExprKind::Scan { scan, .. } => {
                        let scan = &self.program.scans[*scan];
                        pending.extend(scan.carries.iter().map(|c| c.next).chain(scan.results.iter().copied()));
                    }
                    _ => {}
                }
            }
        }
        new.sort();
        for id in new {
            let text = self.value(id);
            let ty = type_text(self.program, self.program.ty(id));
            self.line(&format!("%{} = {text} : {ty}", id.index()));
        }
    }
    fn value(&self, id: ExprId) -> String {
        match &self.program.exprs[id].kind {
            ExprKind::Call { def, args, attrs } => {
                let args: Vec<String> = args.iter().map(|&a| self.reference(a)).collect();
                call_text(self.program, def.name, &args, attrs, false)
            }
            ExprKind::Index { base, indices } => {
                let size = |s: &Size| self.program.size_text(s);
                let index = |ix: &Ix| match ix {
                    Ix::At(e) => self.reference(*e),
                    Ix::Gather(e) => format!("gather {}", self.reference(*e)),
                    Ix::Slice { start, len } => format!("{} by {}", size(start), size(len)),
                    Ix::All => ":".into(),
                    Ix::New => "new".into(),
                };
                format!("{}[{}]", self.reference(*base), indices.iter().map(index).collect::<Vec<_>>().join(", "))
            }
            ExprKind::LogProb { dist, value } => format!("log_prob {} at {}", self.dist(dist), self.reference(*value)),
            ExprKind::Sample { dist, .. } => format!("draw {}", self.dist(dist)),
            ExprKind::Scan { scan, port } => self.scan(*scan, *port),
            _ => self.reference(id),
        }
    }
    /// A loop on one line; its body has lines of its own.
    fn scan(&self, id: ScanId, port: Port) -> String {
        let scan = &self.program.scans[id];
        let elements: Vec<String> =
            scan.elements.iter().map(|&(v, a)| format!("{} in {}", self.reference(v), self.reference(a))).collect();
        let carries: Vec<String> = scan
            .carries
            .iter()
            .map(|c| format!("{} = {} then {}", self.reference(c.var), self.reference(c.init), self.reference(c.next)))
            .collect();
        let results: Vec<String> = scan.results.iter().map(|&r| self.reference(r)).collect();
        let port = match port {
            Port::Stacked(i) => format!("all values of result {i}"),
            Port::Last(i) => format!("last value of carry {i}"),
        };
        let direction = if scan.reverse { "backwards " } else { "" };
        format!(
            "{id} {direction}over {}: [{}] carry [{}] results [{}]: {port}",
            self.program.size_text(&scan.len),
            elements.join(", "),
            carries.join(", "),
            results.join(", ")
        )
    }
    fn dist(&self, dist: &DistExpr) -> String {
        match dist {
            DistExpr::Row { def, args, .. } => {
                let row = crate::dist::get(*def);
                let args =
                    row.arguments().iter().zip(args).map(|(p, &a)| format!("{} = {}", p.name, self.reference(a)));
                format!("{}({})", row.name, args.collect::<Vec<_>>().join(", "))
            }
            DistExpr::Mixture { weights, components, .. } => {
                let parts: Vec<String> = components.iter().map(|c| self.dist(c)).collect();
                format!("Mixture({}, [{}])", self.reference(*weights), parts.join(", "))
            }
            DistExpr::Wrapped { wrapper, base, .. } => {
                wrapper_text(wrapper, &self.dist(hurdle_base(wrapper, base)), &|e| self.reference(e))
            }
            DistExpr::Joined { axis, parts, .. } => {
                let text = |(n, d): &(Size, DistExpr)| format!("{}: {}", self.program.size_text(n), self.dist(d));
                format!("joined[axis {axis}] {{ {} }}", parts.iter().map(text).collect::<Vec<_>>().join("; "))
            }
        }
    }
    fn typed(&self, ty: &Ty) -> String {
        type_text(self.program, ty)
    }

    fn sizes(&mut self) {
        for size in &self.program.sizes {
            let value = match (&size.value, &size.labels) {
                (Some(n), _) => format!(" = {n}"),
                (None, Some(labels)) => format!(" = {}", print_expr(labels)),
                (None, None) => String::new(),
            };
            writeln!(self.out, "size {}{value}", size.name).expect("a string takes everything");
        }
    }
    fn data(&mut self) {
        for datum in &self.program.data {
            let range = datum.range.as_ref().map_or(String::new(), |r| format!(" in {}", print_expr(r)));
            let default = datum.default.as_ref().map_or(String::new(), |d| format!(" = {}", print_expr(d)));
            let ty = self.typed(&datum.ty);
            writeln!(self.out, "data {}: {ty}{range}{default}", datum.name).expect("a string takes everything");
        }
    }
    fn params(&mut self) {
        if self.program.params.is_empty() {
            return;
        }
        let program = self.program;
        self.block("params", |p| {
            for param in &program.params {
                p.need(param.init.as_slice());
                let init = param.init.map_or(String::new(), |e| format!(" from {}", p.reference(e)));
                let ty = p.typed(&param.ty);
                p.line(&format!("{}: {ty}{}{init}", param.name, constraint(param.constraint)));
            }
        });
    }
    fn model(&mut self, model: &Model) {
        let head = model.name.as_ref().map_or("model".to_string(), |n| format!("model {n}"));
        self.block(&head, |p| {
            for step in &model.steps {
                match step {
                    Step::Site(id) => {
                        let site = &model.sites[*id];
                        p.need(&site.dist.args());
                        let text = format!("{}: {} ~ {}", site.name, p.typed(&site.ty), p.dist(&site.dist));
                        p.line(&text);
                    }
                    Step::Marginal(i) => {
                        let marginal = &model.marginals[*i];
                        p.need(&[marginal.value]);
                        let latents: Vec<&str> =
                            marginal.latents.iter().map(|&d| model.discrete[d].name.as_str()).collect();
                        let value = p.reference(marginal.value);
                        p.line(&format!("factor {value}  // {} summed out: {}", latents.join(", "), marginal.how));
                    }
                    Step::Observe(i) => {
                        let observation = &model.observations[*i];
                        let mut needed = observation.dist.args();
                        needed.push(observation.value);
                        p.need(&needed);
                        let text =
                            format!("observe {} ~ {}", p.reference(observation.value), p.dist(&observation.dist));
                        p.line(&text);
                    }
                    Step::Factor(value) => {
                        p.need(&[*value]);
                        let text = format!("factor {}", p.reference(*value));
                        p.line(&text);
                    }
                }
            }
            p.kept(&model.kept);
        });
    }
    fn kept(&mut self, kept: &[Kept]) {
        for k in kept {
            self.need(&[k.value]);
            let text = format!("keep {} = {}", k.name, self.reference(k.value));
            self.line(&text);
        }
    }
    fn guide(&mut self, guide: &Guide, model: &Model) {
        let program = self.program;
        self.block(&format!("guide {}", guide.name), |p| {
            for step in &guide.steps {
                match step {
                    GuideStep::Family { family, sites, .. } => {
                        let names: Vec<&str> = sites.iter().map(|&s| model.sites[s].name.as_str()).collect();
                        p.line(&format!("{} ~ {}", names.join(", "), family_name(*family)));
                    }
                    GuideStep::Explicit { site, dist, .. } => {
                        for hole in program.holes.iter().filter(|h| h.site == *site) {
                            p.need(hole.init.as_slice());
                            let init = hole.init.map_or(String::new(), |e| format!(" from {}", p.reference(e)));
                            let text =
                                format!("?{}: {}{}{init}", hole.name, p.typed(&hole.ty), constraint(hole.constraint));
                            p.line(&text);
                        }
                        p.need(&dist.args());
                        let text = format!("{} ~ {}", model.sites[*site].name, p.dist(dist));
                        p.line(&text);
                    }
                }
            }
        });
    }
    fn infer(&mut self, infer: &Infer) {
        let program = self.program;
        let algorithm = infer.algorithm.name();
        let name = if infer.name == algorithm { String::new() } else { format!(" {}", infer.name) };
        self.block(&format!("infer {algorithm}{name}"), |p| {
            if infer.algorithm == Algorithm::Nuts {
                let s = &infer.nuts;
                p.line(&format!("chains = {}", s.chains));
                p.line(&format!("warmup = {}", s.warmup));
                p.line(&format!("draws = {}", s.draws));
                p.line(&format!("target_accept = {}", number(s.target_accept)));
                p.line(&format!("max_depth = {}", s.max_depth));
                p.line(&format!("seed = {}", s.seed));
                p.line(&format!("reparam = {}", reparam_text(program, &s.reparam)));
                p.line(&format!("start = {}", s.start.name()));
                p.line(&format!("metric = {}", s.metric.name()));
            }
            if matches!(infer.algorithm, Algorithm::Map | Algorithm::Laplace | Algorithm::Pathfinder) {
                let s = &infer.mode;
                p.line(&format!("steps = {}", s.steps));
                p.line(&format!("tolerance = {}", number(s.tolerance)));
                p.line(&format!("restarts = {}", s.restarts));
                if let Some(draws) = s.draws {
                    p.line(&format!("draws = {draws}"));
                }
                p.line(&format!("seed = {}", s.seed));
                if infer.algorithm == Algorithm::Laplace {
                    p.line(&format!("hessian = {}", s.hessian.name()));
                    p.line(&format!("predictive = {}", s.predictive.name()));
                }
                if infer.algorithm != Algorithm::Map {
                    p.line(&format!("reparam = {}", reparam_text(program, &s.reparam)));
                }
            }
            if infer.algorithm != Algorithm::Svi {
                return;
            }
            let s = &infer.svi;
            p.line(&match s.length {
                Length::Steps(n) => format!("steps = {n}"),
                Length::Epochs(n) => format!("epochs = {n}"),
            });
            if let Some(m) = &s.minibatch {
                p.line(&format!("minibatch {} = {}", program.sizes[m.size].name, m.rows));
            }
            let particles = s.particles.map_or("auto".to_string(), |n| n.to_string());
            p.line(&format!("particles = {particles}"));
            if s.antithetic {
                p.line("antithetic = true");
            }
            p.line(&format!("elbo = {}", s.objective.text()));
            p.line(&format!("estimator = {}", s.estimator.name()));
            p.line(&format!("optimizer = {}", rule_text(&s.optimizer, s.learning_rate)));
            for rate in &s.rates {
                p.line(&format!("rate {} = {}", rate.name, number(rate.rate)));
            }
            p.line(&match s.schedule.shape {
                Shape::Constant => "schedule = constant".to_string(),
                Shape::Cosine { final_fraction } => format!("schedule = cosine({})", number(final_fraction)),
                _ => "schedule = one_cycle".to_string(),
            });
            p.line(&format!("warmup_steps = {}", s.schedule.warmup));
            if let Some(part) = s.average {
                p.line(&format!("average = {}", number(part)));
            }
            if let Some(rule) = s.stop {
                p.line(&format!("stop = plateau(window = {}, patience = {})", rule.window, rule.patience));
            }
            if let Some(clip) = s.clip {
                p.line(&format!("clip = {}", number(clip)));
            }
            let kl = match s.kl {
                KlChoice::Auto => "auto",
                KlChoice::Closed => "closed",
                KlChoice::MonteCarlo => "monte_carlo",
            };
            p.line(&format!("kl = {kl}"));
            p.line(&format!("anneal_kl = {}", s.anneal_kl));
            p.line(&format!("seed = {}", s.seed));
            let precision = match s.precision {
                PrecisionChoice::Auto => "auto",
                PrecisionChoice::F32 => "f32",
                PrecisionChoice::F64 => "f64",
            };
            p.line(&format!("precision = {precision}"));
            match s.convolution {
                Method::Auto => {}
                Method::Direct => p.line("convolution = direct"),
                Method::Winograd => p.line("convolution = winograd"),
            }
            p.line(&format!("draws = {}", s.draws));
            p.line(&format!("restarts = {}", s.restarts));
            p.line(&format!("reparam = {}", reparam_text(program, &s.reparam)));
            p.line(&format!("start = {}", s.start.name()));
        });
    }
    fn generate(&mut self) {
        let generate = &self.program.generate;
        if generate.draws.is_empty() && generate.reported.is_empty() {
            return;
        }
        self.block("generate", |p| {
            for draw in &generate.draws {
                p.need(&draw.dist.args());
                let text = format!("{}: {} ~ {}", draw.name, p.typed(&draw.ty), p.dist(&draw.dist));
                p.line(&text);
            }
            p.kept(&generate.reported);
        });
    }
}

/// The word of an automatic family.
pub fn family_name(family: Family) -> &'static str {
    match family {
        Family::MeanField => "mean_field",
        Family::FullRank => "full_rank",
        Family::LowRank(_) => "low_rank",
        Family::Structured => "structured",
        Family::Standardized => "mean_field, noncentered",
        Family::Delta => "delta",
        Family::Flow(Flow { kind: FlowKind::RealNvp, .. }) => "flow(realnvp)",
        Family::Flow(Flow { kind: FlowKind::Iaf, .. }) => "flow(iaf)",
        Family::Mixture { .. } => "mixture",
        Family::Laplace => "laplace",
        Family::Dropout(_) => "dropout",
        Family::Later(name) => name,
    }
}

fn constraint(constraint: Constraint) -> String {
    match constraint {
        Constraint::Real => String::new(),
        Constraint::Positive => " positive".into(),
        Constraint::UnitInterval => " in 0..1".into(),
        Constraint::Above(low) => format!(" in {}..", number(low)),
        Constraint::Below(high) => format!(" in ..{}", number(high)),
        Constraint::Between(low, high) => format!(" in {}..{}", number(low), number(high)),
        Constraint::Simplex => " simplex".into(),
        Constraint::LowerCholesky => " lower Cholesky".into(),
    }
}

fn rule_text(rule: &Rule, rate: f64) -> String {
    let rate = number(rate);
    let n = number;
    match *rule {
        Rule::Adam { beta1, beta2, epsilon } => {
            format!("adam({rate}, beta1 = {}, beta2 = {}, epsilon = {})", n(beta1), n(beta2), n(epsilon))
        }
        Rule::AdamW { beta1, beta2, epsilon, weight_decay } => format!(
            "adamw({rate}, weight_decay = {}, beta1 = {}, beta2 = {}, epsilon = {})",
            n(weight_decay),
            n(beta1),
            n(beta2),
            n(epsilon)
        ),
        Rule::Sgd { momentum, .. } => format!("sgd({rate}, momentum = {})", n(momentum)),
        Rule::RmsProp { decay, epsilon, momentum } => {
            format!("rmsprop({rate}, decay = {}, epsilon = {}, momentum = {})", n(decay), n(epsilon), n(momentum))
        }
        Rule::Natural => format!("natural({rate})"),
        Rule::Ivon { beta1, beta2 } => format!("ivon({rate}, beta1 = {}, beta2 = {})", n(beta1), n(beta2)),
    }
}

fn reparam_text(program: &Program, reparam: &Reparam) -> String {
    match reparam {
        Reparam::Auto => "auto".into(),
        Reparam::Centered => "centered".into(),
        Reparam::Noncentered => "noncentered".into(),
        Reparam::Sites(sites) => {
            let model = program.model.as_ref();
            let names: Vec<&str> = sites.iter().filter_map(|&s| model.map(|m| m.sites[s].name.as_str())).collect();
            format!("noncentered({})", names.join(", "))
        }
    }
}
