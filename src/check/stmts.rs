//! Statements of functions, layers, nets, models, submodels and `generate`.

use super::checker::{Binding, Checker, Context, R, Reported, Val};
use super::size::Size;
use super::typed::*;
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{self, Elem, ExprKind as Syntax, Pattern, StmtKind, Target};
use std::collections::HashMap;

/// The number that a literal is.
fn literal(e: &ast::Expr) -> Option<f64> {
    match e.kind {
        Syntax::Int(n) => Some(n as f64),
        Syntax::Real(x) => Some(x),
        _ => None,
    }
}

/// How a block ended.
pub(super) enum Flow {
    Next,
    Return(Val),
}

/// What the statements of a block bind, with the first place of each.
fn bound_names(block: &ast::Block) -> HashMap<String, Span> {
    let mut names = HashMap::new();
    for stmt in &block.stmts {
        let idents: &[ast::Ident] = match &stmt.kind {
            StmtKind::Let { target: Pattern::Name(name), .. }
            | StmtKind::Param { name, .. }
            | StmtKind::Declare { name, .. } => std::slice::from_ref(name),
            StmtKind::Let { target: Pattern::Tuple(names, _), .. } => names,
            StmtKind::Sample { target: Target::Path(path), .. } if path.parts.len() == 1 => &path.parts,
            _ => &[],
        };
        for ident in idents {
            names.entry(ident.name.clone()).or_insert(ident.span);
        }
    }
    names
}

impl<'p> Checker<'p> {
    /// The statements of a body; the value it returns, if it returns one.
    pub(super) fn body(&mut self, block: &'p ast::Block) -> R<Option<Val>> {
        let arrays = self.arrays.len();
        let flow = self.block(block);
        let filled = if flow.is_ok() { self.check_filled(arrays) } else { Ok(()) };
        match flow? {
            Flow::Return(val) => filled.map(|()| Some(val)),
            Flow::Next => filled.map(|()| None),
        }
    }
    /// Checks every statement, so that each mistake is reported; fails when one of them failed.
    pub(super) fn block(&mut self, block: &'p ast::Block) -> R<Flow> {
        self.ahead.push(bound_names(block));
        let result = self.statements(block);
        self.ahead.pop();
        result
    }
    fn statements(&mut self, block: &'p ast::Block) -> R<Flow> {
        let mut failed = false;
        for (at, stmt) in block.stmts.iter().enumerate() {
            match self.stmt(stmt) {
                Ok(Flow::Next) => {}
                Ok(Flow::Return(val)) => {
                    if let (StmtKind::Return(_), Some(next)) = (&stmt.kind, block.stmts.get(at + 1)) {
                        return Err(self.error(
                            Code::E0405,
                            "nothing is reached after `return`",
                            next.span,
                            "never reached",
                            "remove it",
                        ));
                    }
                    return if failed { Err(Reported) } else { Ok(Flow::Return(val)) };
                }
                Err(Reported) => failed = true,
            }
        }
        if failed { Err(Reported) } else { Ok(Flow::Next) }
    }

    fn stmt(&mut self, stmt: &'p ast::Stmt) -> R<Flow> {
        let (doc, span) = (stmt.doc.clone(), stmt.span);
        match &stmt.kind {
            StmtKind::Let { target, value, keep } => self.let_stmt(target, value, *keep, doc)?,
            StmtKind::Sample { target, ty, dist, keep } => self.sample(target, ty.as_ref(), dist, *keep, doc, span)?,
            StmtKind::Param { name, ty, init } => self.param(name, ty.as_ref(), init.as_ref(), span)?,
            StmtKind::Observe { value, dist } => {
                self.only_in_model(span, "observe")?;
                let e = self.array(value)?;
                let d = self.dist(dist)?;
                let name = self.describe(value);
                self.observe(e, None, d, name, span)?;
            }
            StmtKind::Factor(e) => {
                self.only_in_model(span, "factor")?;
                let e = self.array(e)?;
                self.push_step(super::loops::BodyStep::Factor(e));
            }
            StmtKind::If { cond, then, otherwise } => {
                let c = self.scalar(cond)?;
                let Some(value) = self.const_value(c) else {
                    if self.generic {
                        // Opaque parameters: both branches must be well formed.
                        self.scope.frames.push(Default::default());
                        let first = self.block(then);
                        self.scope.frames.pop();
                        if let Some(block) = otherwise {
                            self.scope.frames.push(Default::default());
                            let second = self.block(block);
                            self.scope.frames.pop();
                            second?;
                        }
                        return first;
                    }
                    return Err(self.error(
                        Code::E0402,
                        "the condition of `if` must be known at compile time",
                        cond.span,
                        "this depends on values",
                        "choose by values with `where(c, a, b)`",
                    ));
                };
                let branch = if value != 0.0 { Some(then) } else { otherwise.as_ref() };
                if let Some(block) = branch {
                    return self.block(block);
                }
            }
            StmtKind::Return(e) => {
                if self.calls.is_empty() {
                    return Err(self.error(
                        Code::E0405,
                        "`return` stands outside a function",
                        span,
                        "nothing to return from",
                        "remove it; `keep` reports a value",
                    ));
                }
                let val = self.expr(e)?;
                return Ok(Flow::Return(self.drawn(val, e.span)?));
            }
            StmtKind::For { var, range, body } => self.for_loop(var, range, body, span)?,
            StmtKind::Declare { name, ty, keep } => self.declare(name, ty, *keep, doc, span)?,
            StmtKind::Assign { name, index, value } => self.assign(name, index, value, span)?,
            StmtKind::Expr(e) => match (&e.kind, self.context) {
                (Syntax::Name(name), Context::Generate) => {
                    let value = self.array(e)?;
                    self.program.generate.reported.push(Kept { name: name.clone(), doc, value });
                }
                _ => {
                    return Err(self.error(
                        Code::E0405,
                        "an expression alone does nothing",
                        span,
                        "its value is lost",
                        "bind it: `x = …`, or report it: `keep x = …`",
                    ));
                }
            },
        }
        Ok(Flow::Next)
    }

    fn only_in_model(&mut self, span: Span, word: &str) -> R<()> {
        if self.context == Context::Model {
            return Ok(());
        }
        let message = format!("`{word}` cannot stand in {}", self.context_word());
        Err(self.error(Code::E0405, message, span, "only models have a density", "move it into the `model`"))
    }
    pub(super) fn context_word(&self) -> &'static str {
        match self.context {
            Context::Item => "an item",
            Context::Model => "a model",
            Context::Guide => "a guide",
            Context::Generate => "`generate`",
            Context::Function => "a `fn`",
            Context::Layer => "a `layer` or `net`",
        }
    }
    /// The text of an expression, for naming what has no name.
    pub(super) fn describe(&self, e: &ast::Expr) -> String {
        super::expr::dotted(e).unwrap_or_else(|| crate::syntax::print::print_expr(e))
    }

    pub(super) fn let_stmt(&mut self, target: &Pattern, value: &ast::Expr, keep: bool, doc: Option<String>) -> R<()> {
        let result = self.expr(value).and_then(|val| match val {
            Val::Dist(_) | Val::Option(_) | Val::Shape(_) => self.as_array(&val, value.span).map(Val::Array),
            // A tuple that a submodel returned is taken apart like any other.
            Val::Sub(Some(inner), _) if matches!((&*inner, target), (Val::Tuple(_), Pattern::Tuple(..))) => Ok(*inner),
            other => Ok(other),
        });
        let val = match result {
            Ok(val) => val,
            Err(e) => {
                self.poison(target);
                return Err(e);
            }
        };
        match target {
            Pattern::Name(name) => {
                let sites = matches!(self.context, Context::Model | Context::Guide | Context::Generate);
                let full = format!("{}{}", self.prefix, name.name);
                if let Some(&site) = self.site_values.get(&full).filter(|_| sites) {
                    let first = self.model.sites[site].span;
                    let d = Diagnostic::new(Code::E0204, format!("`{}` is a site already", name.name))
                        .label(name.span, "bound again here")
                        .label(first, "drawn here")
                        .help("only deterministic values can be bound again: choose another name");
                    return Err(self.report(d));
                }
                self.bind(name, Binding::Val(val.clone()));
                if keep || self.reports_all() {
                    self.keep(name, doc, &val, value.span, keep)?;
                }
            }
            Pattern::Tuple(names, span) => {
                let parts = match val {
                    Val::Tuple(parts) if parts.len() == names.len() => parts,
                    Val::Tuple(parts) => {
                        self.poison(target);
                        let message = format!("{} names for {} values", names.len(), parts.len());
                        return Err(self.error(Code::E0403, message, *span, "these names", "name every value"));
                    }
                    _ => {
                        self.poison(target);
                        let message = format!("{} names for one value", names.len());
                        return Err(self.error(
                            Code::E0403,
                            message,
                            value.span,
                            "this is one value",
                            "give it one name",
                        ));
                    }
                };
                for (name, part) in names.iter().zip(parts) {
                    self.bind(name, Binding::Val(part.clone()));
                    if keep || self.reports_all() {
                        self.keep(name, doc.clone(), &part, value.span, keep)?;
                    }
                }
            }
        }
        Ok(())
    }
    /// Whether every name that is bound here is reported: in `generate` itself, not in what it calls.
    fn reports_all(&self) -> bool {
        self.context == Context::Generate && self.calls.is_empty()
    }
    /// The value of what a submodel returned, without the names of its sites.
    fn drawn(&mut self, val: Val, span: Span) -> R<Val> {
        match val {
            Val::Sub(Some(inner), _) => self.drawn(*inner, span),
            Val::Sub(None, _) => self.as_array(&val, span).map(Val::Array),
            Val::Tuple(parts) => {
                let parts: Vec<Val> = parts.into_iter().map(|p| self.drawn(p, span)).collect::<R<_>>()?;
                Ok(Val::Tuple(parts))
            }
            other => Ok(other),
        }
    }
    fn poison(&mut self, target: &Pattern) {
        let names = match target {
            Pattern::Name(name) => std::slice::from_ref(name),
            Pattern::Tuple(names, _) => names,
        };
        for name in names {
            self.bind(name, Binding::Poison);
        }
    }
    /// Reports a deterministic value for every draw.
    fn keep(&mut self, name: &ast::Ident, doc: Option<String>, val: &Val, span: Span, keep: bool) -> R<()> {
        let value = self.as_array(val, span)?;
        let kept = Kept { name: format!("{}{}", self.prefix, name.name), doc, value };
        match self.context {
            Context::Model => self.model.kept.push(kept),
            Context::Generate => self.program.generate.reported.push(kept),
            _ if keep => {
                let message = format!("`keep` cannot stand in {}", self.context_word());
                return Err(self.error(
                    Code::E0405,
                    message,
                    name.span,
                    "reported from here",
                    "keep it in the `model`",
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn sample(
        &mut self,
        target: &'p Target,
        ty: Option<&ast::Type>,
        dist: &'p ast::Expr,
        keep: bool,
        doc: Option<String>,
        span: Span,
    ) -> R<()> {
        let path = match target {
            Target::Path(path) => path,
            Target::Element(path, index) => return self.sample_element(path, index, dist, doc, span),
            Target::Tuple(_, span) => {
                let help = match self.submodel(dist).is_some() {
                    true => "name the draw, then take its value apart: `h ~ f(…)` and `(a, b) = h`",
                    false => "write one statement for each",
                };
                let message = "a model draws one site at a time";
                return Err(self.error(Code::E0405, message, *span, "several names", help));
            }
            Target::Rest(span) => {
                return Err(self.error(
                    Code::E0405,
                    "`_` stands for what is left in a guide",
                    *span,
                    "not in a guide",
                    "name the site",
                ));
            }
        };
        if !matches!(self.context, Context::Model | Context::Generate) {
            if let [name] = &path.parts[..] {
                self.bind(name, Binding::Poison);
            }
            let message = format!("`~` cannot stand in {}", self.context_word());
            let help = if self.context == Context::Layer {
                "make it a submodel: `model name(…) { … }`"
            } else {
                "a `fn` is deterministic"
            };
            return Err(self.error(Code::E0405, message, span, "a random value", help));
        }
        let [name] = &path.parts[..] else {
            return Err(self.error(
                Code::E0405,
                "a site has a plain name",
                path.span,
                "a dotted name",
                "only guides name the sites of submodels",
            ));
        };
        let full = format!("{}{}", self.prefix, name.name);

        // A submodel?
        if let Some((home, function)) = self.submodel(dist) {
            return self.sample_submodel(name, ty, home, function, dist, keep, doc, span);
        }

        let declared = match ty {
            Some(ty) => self.type_of(ty).map(|t| Some((t, ty.span))),
            None => Ok(None),
        };
        let d = self.dist(dist);
        let (declared, d) = match (declared, d) {
            (Ok(declared), Ok(d)) => (declared, d),
            _ => {
                self.bind(name, Binding::Poison);
                return Err(Reported);
            }
        };
        if self.context == Context::Generate {
            return self.generate_draw(name, full, declared, d, doc);
        }
        if self.prefix.is_empty() && self.scope.module == self.modules.root() && self.failed.contains(&name.name) {
            self.bind(name, Binding::Poison);
            return Err(Reported);
        }
        // Data of the root file, named in the model itself, are observed.
        if self.prefix.is_empty()
            && self.scope.module == self.modules.root()
            && self.lookup_local(&name.name).is_none_or(|(b, _)| matches!(b, Binding::Poison))
            && let Some(id) = self.program.data_named(&name.name)
        {
            if let Some((ty, ty_span)) = &declared {
                let have = self.program.data[id].ty.clone();
                if ty.shape.len() != have.shape.len()
                    || !ty.shape.iter().zip(&have.shape).all(|(a, b)| self.agree(a, b))
                {
                    let (want, is) = (self.type_text(ty), self.type_text(&have));
                    let d = Diagnostic::new(Code::E0503, format!("`{}` is declared {is}, not {want}", name.name))
                        .label(*ty_span, format!("{want} here"))
                        .label(self.program.data[id].ty_span, format!("{is} here"))
                        .help("leave the type out: data have theirs already");
                    return Err(self.report(d));
                }
            }
            let ty = self.program.data[id].ty.clone();
            let e = self.push(ExprKind::Data(id), ty, name.span);
            return self.observe(e, Some(id), d, name.name.clone(), span);
        }
        if let Some(&site) = self.site_values.get(&full) {
            let first = self.model.sites[site].span;
            let d = Diagnostic::new(Code::E0504, format!("`{full}` is drawn twice"))
                .label(name.span, "drawn again here")
                .label(first, "first drawn here")
                .help("a site has one distribution; another term of the density is a `factor`");
            return Err(self.report(d));
        }
        if let Some((Binding::Val(val), place)) = self.lookup_local(&name.name)
            && !matches!(val, Val::Option(_) | Val::Dist(_))
        {
            let d = Diagnostic::new(Code::E0504, format!("`{}` has a value already", name.name))
                .label(name.span, "drawn here")
                .label(*place, "bound here")
                .help(format!("to give a computed value a density write `observe {} ~ …` or `factor …`", name.name));
            return Err(self.report(d));
        }
        let d = match &declared {
            Some((ty, _)) => self.with_event(d, &ty.shape),
            None => d,
        };
        let ty = match self.site_type(&d, declared, &full) {
            Ok(ty) => ty,
            Err(e) => {
                self.bind(name, Binding::Poison);
                return Err(e);
            }
        };
        if let Err(e) = self.refuse_atoms(&full, &d) {
            self.bind(name, Binding::Poison);
            return Err(e);
        }
        if let Some(inside) = self.loops.last() {
            let d = Diagnostic::new(Code::E0504, format!("`{full}` is drawn in every iteration"))
                .label(span, "one site, many draws")
                .label(inside.span, "in this loop")
                .help(format!("declare an array before the loop, `{0}: real[T]`, and draw `{0}[t] ~ …`", name.name));
            self.bind(name, Binding::Poison);
            return Err(self.report(d));
        }
        if ty.elem != Elem::Real {
            let latent = self.model.discrete.len_id();
            let value = self.push(ExprKind::Discrete(latent), ty.clone(), name.span);
            let (span, dist) = (name.span, d);
            self.model.discrete.push(Discrete { name: full, doc, span, ty, dist, value, forward: None, back: None });
            self.bind(name, Binding::Val(Val::Array(value)));
            return Ok(());
        }
        let value = self.push(ExprKind::Site(self.model.sites.len_id()), ty.clone(), name.span);
        let site = Site {
            name: full.clone(),
            doc,
            span: name.span,
            ty,
            dist: d,
            value,
            fan_in: None,
            forward: None,
            absorbed: false,
        };
        let id = self.model.sites.push(site);
        self.model.steps.push(Step::Site(id));
        self.site_values.insert(full, id);
        self.bind(name, Binding::Val(Val::Array(value)));
        if keep {
            let help = "sites are reported anyway: leave `keep` out";
            self.report(
                Diagnostic::new(Code::W0001, "`keep` has no effect on a site").label(span, "a site").help(help),
            );
        }
        Ok(())
    }

    /// The submodel that `dist` calls, if it calls one.
    fn submodel(&self, dist: &ast::Expr) -> Option<(super::modules::ModuleId, &'p ast::Function)> {
        let callee = match &dist.kind {
            Syntax::Call { callee, .. } => callee,
            Syntax::Pipe(_, right) => match &right.kind {
                Syntax::Call { callee, .. } => callee,
                _ => right,
            },
            Syntax::Paren(inner) => return self.submodel(inner),
            _ => return None,
        };
        let modules = self.modules;
        let (module, name) = match &callee.kind {
            Syntax::Name(name) => (self.scope.module, name),
            Syntax::Field(base, name) => match &base.kind {
                Syntax::Name(module) => (*modules.get(self.scope.module).uses.get(module)?, &name.name),
                _ => return None,
            },
            _ => return None,
        };
        let (home, item) = modules.function(module, name)?;
        match &item.kind {
            ast::ItemKind::Submodel(f) => Some((home, f)),
            _ => None,
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn sample_submodel(
        &mut self,
        name: &ast::Ident,
        ty: Option<&ast::Type>,
        home: super::modules::ModuleId,
        function: &'p ast::Function,
        dist: &'p ast::Expr,
        keep: bool,
        doc: Option<String>,
        span: Span,
    ) -> R<()> {
        let prefix = format!("{}{}.", self.prefix, name.name);
        let before = match self.context {
            // A draw of `generate` is a new one, also where the model has sites of its name.
            Context::Generate => {
                let mut draws = self.program.generate.draws.iter();
                draws.find(|d| d.name.starts_with(&prefix)).map(|d| self.program.exprs[d.value].span)
            }
            _ => {
                let site = self.site_values.iter().find(|(n, _)| n.starts_with(&prefix));
                site.map(|(_, &site)| self.model.sites[site].span)
            }
        };
        if let Some(first) = before {
            let d = Diagnostic::new(Code::E0504, format!("`{}` is drawn twice", name.name))
                .label(name.span, "drawn again here")
                .label(first, "its sites exist already")
                .help("choose another name");
            return Err(self.report(d));
        }
        // Arguments are evaluated under the caller's prefix, the body under the callee's.
        let (args, first): (&[ast::Arg], Option<super::checker::Given<'_>>) = match &dist.kind {
            Syntax::Call { args, .. } => (args, None),
            Syntax::Pipe(left, right) => {
                let value = self.expr(left)?;
                let first = Some(super::checker::Given::Val(value, left.span));
                match &right.kind {
                    Syntax::Call { args, .. } => (args, first),
                    _ => (&[], first),
                }
            }
            _ => (&[], None),
        };
        let outer = self.pending_prefix.replace(prefix.clone());
        let result = self.instantiate(home, function, args, first, dist.span, self.context);
        self.pending_prefix = outer;
        let value = match result {
            Ok(value) => value,
            Err(e) => {
                self.bind(name, Binding::Poison);
                return Err(e);
            }
        };
        if let Some(ty) = ty {
            let declared = self.type_of(ty)?;
            let actual = match &value {
                Some(Val::Array(e)) => Some(self.program.ty(*e).clone()),
                _ => None,
            };
            let fits = actual.as_ref().is_some_and(|a| {
                a.shape.len() == declared.shape.len()
                    && a.shape.iter().zip(&declared.shape).all(|(x, y)| self.agree(x, y))
            });
            if !fits {
                let have = actual.map_or("nothing".to_string(), |a| self.type_text(&a));
                let d = Diagnostic::new(
                    Code::E0503,
                    format!("`{}` is declared {}, the submodel gives {have}", name.name, self.type_text(&declared)),
                )
                .label(ty.span, "declared here")
                .label(dist.span, format!("this gives {have}"))
                .help("leave the type out");
                return Err(self.report(d));
            }
        }
        if let Some(val) = &value
            && (keep || (self.reports_all() && matches!(val, Val::Array(_))))
        {
            self.keep(name, doc, val, span, keep)?;
        }
        self.bind(name, Binding::Val(Val::Sub(value.map(Box::new), prefix)));
        Ok(())
    }

    /// An observation of `value` by `d`.
    fn observe(&mut self, value: ExprId, data: Option<DataId>, d: DistExpr, name: String, span: Span) -> R<()> {
        let ty = self.program.ty(value).clone();
        if let Some(id) = data {
            if let Some(inside) = self.loops.last() {
                let d = Diagnostic::new(Code::E0504, format!("`{name}` is observed in every iteration"))
                    .label(span, "the whole datum each time")
                    .label(inside.span, "in this loop")
                    .help(format!("observe an element, `{name}[t] ~ …`, or move it out of the loop"));
                return Err(self.report(d));
            }
            if let Some(&first) = self.observed.get(&id) {
                let d = Diagnostic::new(Code::E0504, format!("`{name}` is observed twice"))
                    .label(span, "observed again here")
                    .label(first, "first observed here")
                    .help("a datum has one distribution; another term of the density is a `factor`");
                return Err(self.report(d));
            }
            self.observed.insert(id, span);
        }
        let value_span = self.program.exprs[value].span;
        let place = data.map_or(value_span, |id| self.program.data[id].ty_span);
        if self.dist_elem(&d) == Elem::Int && ty.elem == Elem::Real {
            let diagnostic =
                Diagnostic::new(Code::E0506, format!("`{name}` is real, `{}` gives whole numbers", d.name()))
                    .label(d.span(), "draws are ints")
                    .label(place, "declared real here")
                    .help(format!(
                        "declare it `int{}`",
                        if ty.shape.is_empty() { String::new() } else { self.program.shape_text(&ty.shape) }
                    ))
                    .note("counts and labels are ints; exact integers in a file such as `2.0` are accepted");
            return Err(self.report(diagnostic));
        }
        let d = self.with_event(d, &ty.shape);
        let batch = self.batch_shape(&d)?;
        let event = self.event_shape(&d);
        self.fits(&d, &batch, event.as_deref(), &ty.shape, place, &name)?;
        if let Some(id) = data {
            self.check_observed_range(id, &d, span)?;
        }
        self.push_step(super::loops::BodyStep::Observe(Observation { name, data, value, dist: d, span }));
        Ok(())
    }
    /// An observation that the declared range shows to be outside the support.
    fn check_observed_range(&mut self, id: DataId, d: &DistExpr, span: Span) -> R<()> {
        let decl = self.program.data[id].clone();
        let Some(range) = &decl.range else { return Ok(()) };
        let Syntax::Range { end: Some(end), closed, .. } = &range.kind else { return Ok(()) };
        let DistExpr::Row { def, args, .. } = d else { return Ok(()) };
        let row = crate::dist::get(*def);
        let number = |e: &ast::Expr| match &e.kind {
            Syntax::Unary(ast::UnaryOp::Neg, inner) => literal(inner).map(|x| -x),
            _ => literal(e),
        };
        let least = match &range.kind {
            Syntax::Range { start: Some(start), .. } => number(start).unwrap_or(f64::NEG_INFINITY),
            _ => f64::NEG_INFINITY,
        };
        let most = number(end).unwrap_or(f64::INFINITY);
        if let Some((low, high)) = row.support.hull()
            && (most < low || least > high || (most == low && !*closed))
        {
            let d = Diagnostic::new(
                Code::E0506,
                format!(
                    "no value of `{}` can come from `{}`, which gives values that are {}",
                    decl.name,
                    row.name,
                    row.support.words()
                ),
            )
            .label(span, format!("this is {}", row.support.words()))
            .label(decl.ty_span, "declared in another range")
            .help("change the range, or use a distribution with that support");
            return Err(self.report(d));
        }
        let outcomes: Size = match row.support {
            crate::dist::SupportKind::Boolean => 2.into(),
            crate::dist::SupportKind::IntegerRange if row.name == "Categorical" => {
                let shape = &self.program.ty(args[0]).shape;
                match shape.last() {
                    Some(k) => k.clone(),
                    None => return Ok(()),
                }
            }
            _ => return Ok(()),
        };
        if !matches!(end.kind, Syntax::Int(_) | Syntax::Name(_)) {
            return Ok(());
        }
        let before = self.diags.clone();
        let Ok(size) = self.size_expr(end) else {
            *self.diags = before;
            return Ok(());
        };
        let size = if *closed { size.add(&1.into()).unwrap_or(size) } else { size };
        let (given, taken) = (self.fixed(&size).as_number(), self.fixed(&outcomes).as_number());
        if let (Some(given), Some(taken)) = (given, taken)
            && given > taken
        {
            let d = Diagnostic::new(
                Code::E0506,
                format!("`{}` has {given} values, `{}` gives {taken}", decl.name, row.name),
            )
            .label(span, format!("outcomes 0 to {}", taken - 1))
            .label(decl.ty_span, format!("declared `in` {given} values"))
            .help("give the distribution as many outcomes as the data have");
            return Err(self.report(d));
        }
        Ok(())
    }

    /// An observation of some elements of a datum.
    pub(super) fn observe_element(
        &mut self,
        value: ExprId,
        data: DataId,
        d: DistExpr,
        name: String,
        span: Span,
    ) -> R<()> {
        match self.observed.get(&data).copied() {
            // The first element of a datum notes its place; a datum that is observed as a whole has none.
            Some(first) if !self.arrays.iter().any(|a| a.role == super::arrays::Role::Data(data)) => {
                let d = Diagnostic::new(Code::E0504, format!("`{name}` is observed twice"))
                    .label(span, "observed again here")
                    .label(first, "first observed here")
                    .help("a datum has one distribution; another term of the density is a `factor`");
                return Err(self.report(d));
            }
            _ => {
                self.observed.entry(data).or_insert(span);
            }
        }
        self.observe(value, None, d, name, span)
    }

    fn generate_draw(
        &mut self,
        name: &ast::Ident,
        full: String,
        declared: Option<(Ty, Span)>,
        d: DistExpr,
        doc: Option<String>,
    ) -> R<()> {
        if let Some(first) = self.program.generate.draws.iter().find(|d| d.name == full) {
            let first = self.program.exprs[first.value].span;
            let d = Diagnostic::new(Code::E0504, format!("`{full}` is drawn twice"))
                .label(name.span, "drawn again here")
                .label(first, "first drawn here")
                .help("choose another name");
            return Err(self.report(d));
        }
        let d = match &declared {
            Some((ty, _)) => self.with_event(d, &ty.shape),
            None => d,
        };
        let ty = self.site_type(&d, declared, &full)?;
        if !self.loops.is_empty() {
            let index = self.loops.iter().map(|l| l.var_expr).collect();
            let value = self.push(ExprKind::Sample { dist: Box::new(d), index }, ty, name.span);
            self.bind(name, Binding::Val(Val::Array(value)));
            return Ok(());
        }
        let id = self.program.generate.draws.len_id();
        let value = self.push(ExprKind::Draw(id), ty.clone(), name.span);
        self.program.generate.draws.push(Draw { name: full.clone(), ty, dist: d, value });
        self.program.generate.reported.push(Kept { name: full, doc, value });
        self.bind(name, Binding::Val(Val::Array(value)));
        Ok(())
    }

    /// `param s: real[K] in 0.. = 0.1`
    pub(super) fn param(
        &mut self,
        name: &ast::Ident,
        ty: Option<&ast::Type>,
        init: Option<&ast::Expr>,
        span: Span,
    ) -> R<()> {
        if !matches!(self.context, Context::Model | Context::Layer | Context::Guide) {
            self.bind(name, Binding::Poison);
            let message = format!("`param` cannot stand in {}", self.context_word());
            return Err(self.error(
                Code::E0405,
                message,
                span,
                "a learnable constant",
                "move it into a model, layer, net or guide",
            ));
        }
        // Replaced below, unless the declaration has a mistake.
        self.bind(name, Binding::Poison);
        let typed = ty.map_or(Ok(Ty::scalar(Elem::Real)), |t| self.type_of(t))?;
        if typed.elem != Elem::Real {
            return Err(self.error(Code::E0401, "a `param` is real", span, "not real", "declare it `real[…]`"));
        }
        let constraint = match ty.and_then(|t| t.range.as_deref()) {
            None => Constraint::Real,
            Some(range) => self.param_constraint(range)?,
        };
        let init = init.map(|e| self.array(e)).transpose()?;
        if let Some(e) = init {
            let shape = self.program.ty(e).shape.clone();
            if self.broadcast(&typed.shape, &shape).is_none_or(|s| s.len() != typed.shape.len()) {
                let (want, have) = (self.program.shape_text(&typed.shape), self.program.shape_text(&shape));
                return Err(self.error(
                    Code::E0307,
                    format!("the initial value has shape {have}, `{}` is {want}", name.name),
                    span,
                    "shapes differ",
                    "give a number, or an array of the declared shape",
                ));
            }
        }
        if let Some(e) = init {
            self.check_start(&name.name, constraint, e)?;
        }
        let full = match self.layer_path.is_empty() {
            true => format!("{}{}", self.prefix, name.name),
            false => format!("{}.{}", self.layer_path.join("."), name.name),
        };
        // The parameters of a net are shared by all its calls.
        let shared = self.program.params.iter_enumerated().find(|(_, p)| p.name == full).map(|(id, p)| (id, p.clone()));
        if let Some((id, old)) = shared {
            if old.span != span {
                let d = Diagnostic::new(Code::E0204, format!("the param `{full}` is declared twice"))
                    .label(span, "declared again here")
                    .label(old.span, "first declared here")
                    .help("rename one of them");
                return Err(self.report(d));
            }
            if old.ty.shape.len() == typed.shape.len()
                && old.ty.shape.iter().zip(&typed.shape).all(|(a, b)| self.agree(a, b))
            {
                let e = self.push(ExprKind::Param(id), typed, span);
                self.bind(name, Binding::Val(Val::Array(e)));
                return Ok(());
            }
            let (a, b) = (self.type_text(&old.ty.clone()), self.type_text(&typed));
            return Err(self.error(
                Code::E0307,
                format!("`{full}` is shared, but has shape {a} in one call and {b} in another"),
                span,
                "shapes differ",
                "a `net` must be called with the same sizes; a `layer` has parameters of its own in each call",
            ));
        }
        let ty = typed.clone();
        let param = Param { name: full, ty, constraint, init, fan: None, activation: Activation::None, span };
        let id = self.program.params.push(param);
        let e = self.push(ExprKind::Param(id), typed, span);
        self.bind(name, Binding::Val(Val::Array(e)));
        Ok(())
    }
}
