//! Expressions: from syntax to typed values.

use super::checker::{Binding, Checker, Context, Given, R, Val};
use super::typed::*;
use crate::builtins::{self, elementwise as ew, linalg, shape};
use crate::diag::{Code, Diagnostic};
use crate::nearest::nearest;
use crate::source::Span;
use crate::syntax::ast::{self, BinaryOp, Elem, ExprKind as Syntax, UnaryOp};

/// Functions that only data expressions may call.
const DATA_FUNCTIONS: &[&str] =
    &["csv", "json", "npy", "npz", "idx", "parquet", "images", "safetensors", "levels", "codes", "standardize"];

impl<'p> Checker<'p> {
    /// Any expression.
    pub(super) fn expr(&mut self, e: &ast::Expr) -> R<Val> {
        let span = e.span;
        Ok(match &e.kind {
            Syntax::Int(n) => Val::Array(self.constant(*n as f64, Elem::Int, span)),
            Syntax::Real(x) => Val::Array(self.constant(*x, Elem::Real, span)),
            Syntax::Bool(b) => Val::Array(self.constant(f64::from(u8::from(*b)), Elem::Bool, span)),
            Syntax::Str(_) => {
                return Err(self.error(
                    Code::E0403,
                    "text cannot be used in a model",
                    span,
                    "this is text",
                    "read the data by `data x: … = csv(\"…\").column`",
                ));
            }
            Syntax::Name(name) => self.name(name, span)?,
            Syntax::Field(base, field) => self.field(e, base, field)?,
            Syntax::Call { callee, args } => self.call(callee, args, None, span)?,
            Syntax::Pipe(left, right) => self.pipe(left, right, span)?,
            Syntax::Index(base, indices) => Val::Array(self.index(base, indices, span)?),
            Syntax::Unary(op, x) => {
                let x = self.array(x)?;
                let def = match op {
                    UnaryOp::Neg => &ew::NEG,
                    UnaryOp::Not => &ew::NOT,
                };
                if let (UnaryOp::Neg, Some(c)) = (op, self.literal(x)) {
                    let elem = self.program.ty(x).elem;
                    return Ok(Val::Array(self.constant(-c, elem, span)));
                }
                Val::Array(self.apply(def, &[x], span)?)
            }
            Syntax::Binary(op, a, b) => Val::Array(self.binary(*op, a, b, span)?),
            Syntax::In(x, range) => Val::Array(self.membership(x, range, span)?),
            Syntax::Range { .. } => {
                return Err(self.error(
                    Code::E0403,
                    "a range cannot stand here",
                    span,
                    "this is a range",
                    "`range(N)` gives the ints 0, 1, …, N - 1",
                ));
            }
            Syntax::Tuple(parts) => {
                let parts: Vec<R<Val>> = parts.iter().map(|p| self.expr(p)).collect();
                Val::Tuple(parts.into_iter().collect::<R<Vec<_>>>()?)
            }
            Syntax::Array(parts) => Val::Array(self.array_literal(parts, span)?),
            Syntax::Hole(_) => {
                let help = if self.context == Context::Guide {
                    "a hole stands for an argument of a distribution: `x ~ Normal(?, ?)`"
                } else {
                    "a hole is a free variational parameter: use it in a `guide`; here write `param`"
                };
                return Err(self.error(Code::E0606, "a hole cannot stand here", span, "this hole", help));
            }
            Syntax::Paren(inner) => self.expr(inner)?,
        })
    }

    /// An expression that must be an array or number.
    pub(super) fn array(&mut self, e: &ast::Expr) -> R<ExprId> {
        let val = self.expr(e)?;
        self.as_array(&val, e.span)
    }
    /// An expression that must be a number.
    pub(super) fn scalar(&mut self, e: &ast::Expr) -> R<ExprId> {
        let id = self.array(e)?;
        if self.program.ty(id).shape.is_empty() {
            return Ok(id);
        }
        let shape = self.program.shape_text(&self.program.ty(id).shape.clone());
        Err(self.error(
            Code::E0306,
            format!("a number is needed, found {shape}"),
            e.span,
            "this is an array",
            "index it or reduce it",
        ))
    }
    fn literal(&self, e: ExprId) -> Option<f64> {
        match self.program.exprs[e].kind {
            ExprKind::Const(c) => Some(c),
            _ => None,
        }
    }

    // --- names and fields --------------------------------------------------------------------------------------

    fn name(&mut self, name: &str, span: Span) -> R<Val> {
        if let Some((binding, _)) = self.lookup_local(name).cloned() {
            return match binding {
                Binding::Val(val) => Ok(self.at(val, span)),
                Binding::Size(size) => Ok(Val::Array(self.size_value(size, span))),
                Binding::Array(id) => Ok(Val::Array(self.whole_array(id, span)?)),
                Binding::Poison => Err(super::checker::Reported),
            };
        }
        // A function sees what it is given, not the sites of who calls it.
        let sites = matches!(self.context, Context::Model | Context::Guide | Context::Generate);
        if let Some(&site) = self.site_values.get(&format!("{}{name}", self.prefix)).filter(|_| sites) {
            return Ok(Val::Array(self.site_expr(site, span)));
        }
        if self.scope.module == self.modules.root() {
            if let Some(id) = self.program.data_named(name) {
                let ty = self.program.data[id].ty.clone();
                return Ok(Val::Array(self.push(ExprKind::Data(id), ty, span)));
            }
            if let Some((_, value)) = self.program.constants.iter().find(|(n, _)| n == name).cloned() {
                return self.inline_constant(name, &value, span);
            }
            if let Some(id) = self.known_size(name) {
                return Ok(Val::Array(self.size_value(id.into(), span)));
            }
        }
        if let Some(val) = self.module_item(name, span) {
            return val;
        }
        match name {
            "pi" => Ok(Val::Array(self.constant(std::f64::consts::PI, Elem::Real, span))),
            "e" => Ok(Val::Array(self.constant(std::f64::consts::E, Elem::Real, span))),
            _ => Err(self.unknown_name(name, span)),
        }
    }
    /// The constant or size `name` of the file of a function that the program uses.
    fn module_item(&mut self, name: &str, span: Span) -> Option<R<Val>> {
        let module = self.scope.module;
        if module == self.modules.root() {
            return None;
        }
        let modules = self.modules;
        let (value, is_size) = modules.get(module).ast.items.iter().find_map(|i| match &i.kind {
            ast::ItemKind::Const { name: n, value } if n.name == name => Some((value, false)),
            ast::ItemKind::Size { name: n, value: Some(value) } if n.name == name => Some((value, true)),
            _ => None,
        })?;
        if is_size {
            let size = self.global_size(name, span);
            return Some(size.map(|s| Val::Array(self.size_value(s, span))));
        }
        Some(self.inline_constant(name, value, span))
    }
    /// The same value, as it is written at `span` (so that messages point there).
    fn at(&mut self, val: Val, span: Span) -> Val {
        match val {
            Val::Array(e) => {
                let leaf = matches!(
                    self.program.exprs[e].kind,
                    ExprKind::Site(_) | ExprKind::Data(_) | ExprKind::Const(_) | ExprKind::Param(_)
                );
                if leaf && self.program.exprs[e].span != span {
                    let (kind, ty) = (self.program.exprs[e].kind.clone(), self.program.exprs[e].ty.clone());
                    return Val::Array(self.push(kind, ty, span));
                }
                Val::Array(e)
            }
            other => other,
        }
    }
    pub(super) fn site_expr(&mut self, site: SiteId, span: Span) -> ExprId {
        let ty = self.model.sites[site].ty.clone();
        self.push(ExprKind::Site(site), ty, span)
    }
    /// Works out the value of a constant or size of a file, which sees none of the names around its use.
    pub(super) fn item_value<T>(&mut self, name: &str, span: Span, value: impl FnOnce(&mut Self) -> R<T>) -> R<T> {
        let me = (self.scope.module, name.to_string());
        if self.open_items.contains(&me) {
            let message = format!("the value of `{name}` needs `{name}` itself");
            return Err(self.error(Code::E0206, message, span, "this closes the circle", "give it a number"));
        }
        self.open_items.push(me);
        let frames = std::mem::replace(&mut self.scope.frames, vec![Default::default()]);
        let result = value(self);
        self.scope.frames = frames;
        self.open_items.pop();
        result
    }
    /// A file constant inside a model: its expression, if that needs no files.
    fn inline_constant(&mut self, name: &str, value: &ast::Expr, span: Span) -> R<Val> {
        if reads_data(value) {
            let help = format!("declare what the model needs: `data x: real[N] = {name}.column`");
            return Err(self.error(
                Code::E0205,
                format!("`{name}` is read from a file: its size is not known to the checker"),
                span,
                "used in the model",
                &help,
            ));
        }
        self.item_value(name, span, |cx| cx.expr(value))
    }
    fn field(&mut self, whole: &ast::Expr, base: &ast::Expr, field: &ast::Ident) -> R<Val> {
        if let Some(path) = dotted(whole) {
            if let Some(&site) = self.site_values.get(&format!("{}{path}", self.prefix)) {
                return Ok(Val::Array(self.site_expr(site, whole.span)));
            }
            if let Some((Binding::Val(Val::Sub(_, prefix)), _)) =
                dotted(base).and_then(|b| self.lookup_local(&b).cloned())
            {
                let full = format!("{prefix}{}", field.name);
                if let Some(&site) = self.site_values.get(&full) {
                    return Ok(Val::Array(self.site_expr(site, whole.span)));
                }
            }
            if self.context == Context::Generate {
                let full = format!("{}{path}", self.prefix);
                if let Some(draw) = self.program.generate.draws.iter().find(|d| d.name == full) {
                    return Ok(Val::Array(draw.value));
                }
            }
            let names: Vec<String> = self.site_values.keys().cloned().collect();
            let near = nearest(&path, names.iter().map(String::as_str)).map(str::to_string);
            let mut d = Diagnostic::new(Code::E0201, format!("nothing is called `{path}` here"))
                .label(whole.span, "unknown name");
            let root = path.split('.').next().unwrap_or_default().to_string();
            let siblings: Vec<&String> = names.iter().filter(|n| n.starts_with(&format!("{root}."))).collect();
            d = match (near, siblings.is_empty()) {
                (Some(near), _) => d.help(format!("there is a site `{near}`")).fix(whole.span, near),
                (None, false) => {
                    let list = siblings.iter().map(|s| format!("`{s}`")).collect::<Vec<_>>().join(", ");
                    d.help(format!("the sites of `{root}` are {list}"))
                }
                _ => d.help("columns of a table are read in a `data` item: `data x: real[N] = table.column`"),
            };
            return Err(self.report(d));
        }
        self.expr(base)?;
        Err(self.error(
            Code::E0205,
            format!("this value has no field `{}`", field.name),
            field.span,
            "no such field",
            "only submodels have sites to name",
        ))
    }

    // --- operators ---------------------------------------------------------------------------------------------

    /// `activation == relu`: whether an `option` parameter is a certain setting.
    fn option_comparison(&mut self, op: BinaryOp, a: &ast::Expr, b: &ast::Expr) -> Option<bool> {
        let is_option = |e: &ast::Expr| match &e.kind {
            Syntax::Name(n) => matches!(self.lookup_local(n), Some((Binding::Val(Val::Option(_)), _))),
            _ => false,
        };
        if !matches!(op, BinaryOp::Eq | BinaryOp::Ne) || !(is_option(a) || is_option(b)) {
            return None;
        }
        let (a, b) = (self.option_expr(a)?, self.option_expr(b)?);
        Some((a == b) == (op == BinaryOp::Eq))
    }
    fn binary(&mut self, op: BinaryOp, a: &ast::Expr, b: &ast::Expr, span: Span) -> R<ExprId> {
        if let Some(holds) = self.option_comparison(op, a, b) {
            return Ok(self.constant(f64::from(u8::from(holds)), Elem::Bool, span));
        }
        let (left, right) = (self.array(a), self.array(b));
        let (left, right) = (left?, right?);
        let def = match op {
            BinaryOp::Add => &ew::ADD,
            BinaryOp::Sub => &ew::SUB,
            BinaryOp::Mul => &ew::MUL,
            BinaryOp::Div => &ew::DIV,
            BinaryOp::Rem => &ew::REM,
            BinaryOp::Pow => &ew::POW,
            BinaryOp::MatMul => &linalg::MATMUL,
            BinaryOp::Eq => &ew::EQ,
            BinaryOp::Ne => &ew::NE,
            BinaryOp::Lt => &ew::LT,
            BinaryOp::Le => &ew::LE,
            BinaryOp::Gt => &ew::GT,
            BinaryOp::Ge => &ew::GE,
            BinaryOp::And => &ew::AND,
            BinaryOp::Or => &ew::OR,
        };
        self.apply(def, &[left, right], span)
    }
    fn membership(&mut self, x: &ast::Expr, range: &ast::Expr, span: Span) -> R<ExprId> {
        let value = self.array(x)?;
        let Syntax::Range { start, end, closed } = &range.kind else {
            return Err(self.error(
                Code::E0403,
                "`in` needs a range",
                range.span,
                "not a range",
                "write for example `x in 0..10`",
            ));
        };
        let mut result = None;
        if let Some(start) = start {
            let low = self.array(start)?;
            result = Some(self.apply(&ew::GE, &[value, low], span)?);
        }
        if let Some(end) = end {
            let high = self.array(end)?;
            let def = if *closed { &ew::LE } else { &ew::LT };
            let below = self.apply(def, &[value, high], span)?;
            result = Some(match result {
                Some(above) => self.apply(&ew::AND, &[above, below], span)?,
                None => below,
            });
        }
        match result {
            Some(e) => Ok(e),
            None => Err(self.error(
                Code::E0403,
                "this range has no ends",
                range.span,
                "everything lies in it",
                "give it an end: `0..`",
            )),
        }
    }
    fn array_literal(&mut self, parts: &[ast::Expr], span: Span) -> R<ExprId> {
        if parts.is_empty() {
            return Err(self.error(
                Code::E0403,
                "an array needs at least one element",
                span,
                "this is empty",
                "`zeros([N])` makes an array of zeros",
            ));
        }
        let parts: Vec<R<(Val, Span)>> = parts.iter().map(|p| self.expr(p).map(|v| (v, p.span))).collect();
        let mut given: Vec<Given<'_>> =
            parts.into_iter().map(|p| p.map(|(v, s)| Given::Val(v, s))).collect::<R<_>>()?;
        let first = given.remove(0);
        self.call_builtin(&shape::STACK, vec![Some(first)], given, span)
    }

    // --- calls -------------------------------------------------------------------------------------------------

    fn pipe(&mut self, left: &ast::Expr, right: &ast::Expr, span: Span) -> R<Val> {
        let value = self.expr(left)?;
        let first = Given::Val(value, left.span);
        match &right.kind {
            Syntax::Call { callee, args } => self.call(callee, args, Some(first), span),
            Syntax::Name(_) | Syntax::Field(..) => self.call(right, &[], Some(first), span),
            _ => Err(self.error(
                Code::E0403,
                "`|>` needs a function on its right",
                right.span,
                "not a function",
                "write for example `x |> relu`",
            )),
        }
    }
    /// A call by name of a function of the program, a built-in one, or a distribution; `first` comes from `|>`.
    pub(super) fn call(
        &mut self,
        callee: &ast::Expr,
        args: &[ast::Arg],
        first: Option<Given<'_>>,
        span: Span,
    ) -> R<Val> {
        match &callee.kind {
            Syntax::Name(name) => {
                if let Some((Binding::Val(Val::Dist(_)), _)) = self.lookup_local(name) {
                    return Err(self.error(
                        Code::E0205,
                        format!("`{name}` is a whole distribution already"),
                        span,
                        "called here",
                        &format!("use it as it is: `x ~ {name}`"),
                    ));
                }
                let user = self.modules.function(self.scope.module, name);
                // A submodel has no place in an expression, so it does not hide the function of the same name.
                // Inside a function of that name the built-in one is meant: a function cannot call itself.
                let hidden = builtins::get(name).is_some()
                    && user.is_some_and(|(home, i)| {
                        let me = self.calls.last().is_some_and(|(m, n)| {
                            *m == home && super::modules::function_of(&i.kind).is_some_and(|(_, f)| f.name.name == *n)
                        });
                        me || matches!(i.kind, ast::ItemKind::Submodel(_))
                    });
                if user.is_some() && !hidden {
                    return self.call_function(self.scope.module, name, args, first, span);
                }
                if let Some(def) = builtins::get(name) {
                    let (bound, extra) = self.match_builtin(def, args, first, span)?;
                    return self.call_builtin(def, bound, extra, span).map(Val::Array);
                }
                if super::dists::is_distribution(name) {
                    let mut all: Vec<ast::Arg> = Vec::new();
                    if first.is_some() {
                        let help = format!("write `{name}(…)` with all its arguments");
                        return Err(self.error(
                            Code::E0403,
                            "a distribution cannot stand after `|>`",
                            span,
                            "in this call",
                            &help,
                        ));
                    }
                    all.extend_from_slice(args);
                    return self.dist_call(name, &all, span).map(Val::Dist);
                }
                Err(self.unknown_function(name, callee.span))
            }
            Syntax::Field(base, function) => {
                if let Syntax::Name(module) = &base.kind
                    && let Some(&id) = self.modules.get(self.scope.module).uses.get(module)
                {
                    if self.modules.get(id).functions.contains_key(&function.name) {
                        return self.call_function(id, &function.name, args, first, span);
                    }
                    let names: Vec<String> = self.modules.get(id).functions.keys().cloned().collect();
                    let mut d = Diagnostic::new(Code::E0202, format!("`{module}` has no `{}`", function.name))
                        .label(function.span, "not found there");
                    d = match nearest(&function.name, names.iter().map(String::as_str)) {
                        Some(near) => d.help(format!("`{module}` has `{near}`")).fix(function.span, near),
                        None => {
                            let mut names = names;
                            names.sort();
                            d.help(format!("it has `{}`", names.join("`, `")))
                        }
                    };
                    return Err(self.report(d));
                }
                if let Syntax::Name(module) = &base.kind
                    && self.modules.get(self.scope.module).failed.contains(module)
                {
                    return Err(super::checker::Reported);
                }
                if let Syntax::Name(module) = &base.kind
                    && super::modules::LIBRARY.iter().any(|(n, _)| n == module)
                {
                    let d = Diagnostic::new(Code::E0201, format!("`{module}` is not in scope"))
                        .label(base.span, "a module of the standard library")
                        .help(format!("add `use {module}` at the top of the file"));
                    return Err(self.report(d));
                }
                Err(self.error(
                    Code::E0202,
                    "only a function can be called",
                    callee.span,
                    "not a function",
                    "write the function's name",
                ))
            }
            _ => Err(self.error(
                Code::E0202,
                "only a function can be called",
                callee.span,
                "not a function",
                "write the function's name",
            )),
        }
    }
    fn unknown_function(&mut self, name: &str, span: Span) -> super::checker::Reported {
        if self.modules.get(self.scope.module).failed.contains(name) {
            return super::checker::Reported;
        }
        if DATA_FUNCTIONS.contains(&name) {
            return self.error(
                Code::E0403,
                format!("`{name}` reads data: it cannot be called here"),
                span,
                "in a model",
                &format!("declare it: `data x: real[N] = {name}(…)`"),
            );
        }
        let user: Vec<String> = self.modules.get(self.scope.module).functions.keys().cloned().collect();
        let names = user.iter().map(String::as_str).chain(builtins::all().map(|f| f.name)).chain(crate::dist::names());
        let mut d =
            Diagnostic::new(Code::E0202, format!("no function is called `{name}`")).label(span, "unknown function");
        let other = super::synonyms::function(name);
        if let (None, Some(help)) = (other, self.elsewhere(name)) {
            return self.report(d.help(help));
        }
        d = match other.or_else(|| nearest(name, names)) {
            Some(operator @ ("@" | "^")) => d.help(format!("write `a {operator} b`")),
            Some(near) => d.help(format!("there is `{near}`")).fix(span, near),
            None => d.help(format!("define it: `fn {name}(x: real) -> real {{ … }}`")),
        };
        self.report(d)
    }
    /// Help for a function that a module has: one that the program uses, or one of the standard library.
    pub(super) fn elsewhere(&self, name: &str) -> Option<String> {
        let uses = &self.modules.get(self.scope.module).uses;
        let mut used: Vec<&str> = uses
            .iter()
            .filter(|(_, id)| self.modules.get(**id).functions.contains_key(name))
            .map(|(alias, _)| alias.as_str())
            .collect();
        used.sort_unstable();
        if let Some(alias) = used.first() {
            return Some(format!("`{alias}` has one: write `{alias}.{name}(…)`"));
        }
        let heads = ["model", "fn", "layer", "net"].map(|kind| format!("\n{kind} {name}("));
        let (library, _) = super::modules::LIBRARY.iter().find(|(_, text)| heads.iter().any(|h| text.contains(h)))?;
        Some(format!("the library has one: add `use {library}` and write `{library}.{name}(…)`"))
    }
    /// Puts the arguments of a call into the places of a built-in function's parameters.
    fn match_builtin<'a>(
        &mut self,
        def: &'static builtins::FnDef,
        args: &'a [ast::Arg],
        first: Option<Given<'a>>,
        span: Span,
    ) -> R<(Vec<Option<Given<'a>>>, Vec<Given<'a>>)> {
        let variadic = matches!(def.name, "concat" | "stack");
        let mut bound: Vec<Option<Given<'a>>> = vec![None; def.params.len()];
        let mut extra = Vec::new();
        let mut position = 0;
        let positional =
            first.into_iter().map(|g| (None, g)).chain(args.iter().map(|a| (a.name.as_ref(), Given::Ast(&a.value))));
        for (name, given) in positional {
            let at = match name {
                None => {
                    position += 1;
                    position - 1
                }
                Some(name) => match def.params.iter().position(|p| p.name == name.name) {
                    Some(at) => at,
                    None => {
                        let names: Vec<&str> = def.params.iter().map(|p| p.name).collect();
                        if let Some(help) = self.elsewhere(def.name) {
                            let message = format!("the built-in `{}` has no argument `{}`", def.name, name.name);
                            return Err(self.error(Code::E0208, message, name.span, "unknown argument", &help));
                        }
                        return Err(self.unknown_argument(def.name, name, &names));
                    }
                },
            };
            if at >= bound.len() {
                if variadic {
                    extra.push(given);
                    continue;
                }
                let d = Diagnostic::new(Code::E0210, format!("`{}` takes at most {} arguments", def.name, bound.len()))
                    .label(given.span(), "one too many")
                    .help(format!("its signature is `{}`", def.signature));
                return Err(self.report(d));
            }
            if let Some(before) = &bound[at] {
                let d = Diagnostic::new(Code::E0204, format!("`{}` is given twice", def.params[at].name))
                    .label(given.span(), "given again here")
                    .label(before.span(), "first given here")
                    .help("leave one of them out");
                return Err(self.report(d));
            }
            bound[at] = Some(given);
        }
        if let Some(missing) = def.params.iter().zip(&bound).find(|(p, b)| p.required && b.is_none()) {
            let d = Diagnostic::new(Code::E0209, format!("`{}` needs `{}`", def.name, missing.0.name))
                .label(span, "an argument is missing")
                .help(format!("its signature is `{}`", def.signature));
            return Err(self.report(d));
        }
        Ok((bound, extra))
    }
    pub(super) fn unknown_argument(
        &mut self,
        function: &str,
        name: &ast::Ident,
        names: &[&str],
    ) -> super::checker::Reported {
        let mut d = Diagnostic::new(Code::E0208, format!("`{function}` has no argument `{}`", name.name))
            .label(name.span, "unknown argument");
        let other = super::synonyms::argument(&name.name, names);
        d = match other.or_else(|| nearest(&name.name, names.iter().copied())) {
            Some(near) => d.help(format!("it has `{near}`")).fix(name.span, near),
            None if names.is_empty() => d.help("it takes no arguments"),
            None => d.help(format!("it has `{}`", names.join("`, `"))),
        };
        self.report(d)
    }

    // --- indexing ----------------------------------------------------------------------------------------------

    // --- sizes, shapes, options --------------------------------------------------------------------------------
}

/// `a.b.c` when an expression is nothing but names and dots.
pub(super) fn dotted(e: &ast::Expr) -> Option<String> {
    match &e.kind {
        Syntax::Name(name) => Some(name.clone()),
        Syntax::Field(base, field) => Some(format!("{}.{}", dotted(base)?, field.name)),
        _ => None,
    }
}

/// Whether an expression calls something that only data expressions know, or names a field.
fn reads_data(e: &ast::Expr) -> bool {
    match &e.kind {
        Syntax::Call { callee, args } => {
            matches!(&callee.kind, Syntax::Name(n) if DATA_FUNCTIONS.contains(&n.as_str()))
                || matches!(callee.kind, Syntax::Field(..))
                || args.iter().any(|a| reads_data(&a.value))
        }
        Syntax::Field(..) | Syntax::Str(_) => true,
        Syntax::Index(base, _) => reads_data(base),
        Syntax::Unary(_, x) | Syntax::Paren(x) => reads_data(x),
        Syntax::Binary(_, a, b) | Syntax::Pipe(a, b) | Syntax::In(a, b) => reads_data(a) || reads_data(b),
        Syntax::Tuple(parts) | Syntax::Array(parts) => parts.iter().any(reads_data),
        _ => false,
    }
}
