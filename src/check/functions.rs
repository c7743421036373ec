//! Calls of functions, layers, nets and submodels: each is instantiated where it is called, with its own sizes.

use super::checker::{Binding, Checker, Context, Given, R, Reported, Scope, Val};
use super::modules::{ModuleId, function_of};
use super::size::Size;
use super::typed::*;
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{self, Elem, ExprKind as Syntax, ParameterKind, Return};
use std::collections::HashMap;

/// Functions nested deeper than this are refused: only a circle gets there.
const MAX_DEPTH: usize = 64;

impl<'p> Checker<'p> {
    /// A call of the function-like item `name` of `module`. Submodels may be called only by `h ~ f(…)`, which sets
    /// `self.prefix` first.
    pub(super) fn call_function(
        &mut self,
        module: ModuleId,
        name: &str,
        args: &[ast::Arg],
        first: Option<Given<'_>>,
        span: Span,
    ) -> R<Val> {
        let modules = self.modules;
        let (home, item) = modules.function(module, name).expect("the caller looked it up");
        let (kind, function) = function_of(&item.kind).expect("indexed as a function");
        match (kind, self.context) {
            ("model", _) => {
                let help = format!("draw from it: `h ~ {name}(…)`");
                return Err(self.error(
                    Code::E0405,
                    format!("`{name}` is a submodel: its value is random"),
                    span,
                    "called as a function",
                    &help,
                ));
            }
            ("layer" | "net", Context::Function | Context::Item) => {
                return Err(self.error(
                    Code::E0405,
                    format!("`{name}` has parameters: a `fn` cannot call it"),
                    span,
                    "called here",
                    "make the caller a `layer`",
                ));
            }
            ("layer", Context::Generate) => {
                return Err(self.error(
                    Code::E0405,
                    format!("`{name}` would have parameters of its own here, which nothing trains"),
                    span,
                    "a `layer` has fresh parameters at every call",
                    "call a `net`, which shares its parameters with its calls in the model",
                ));
            }
            _ => {}
        }
        let context = if kind == "fn" { Context::Function } else { Context::Layer };
        self.pending_layer = Some(kind);
        let result = self.instantiate(home, function, args, first, span, context);
        self.pending_layer = None;
        let value = result?;
        match value {
            Some(value) => Ok(value),
            None => {
                let words: Vec<String> = args
                    .iter()
                    .filter(|a| {
                        let param =
                            a.name.as_ref().and_then(|n| function.params.iter().find(|p| p.name.name == n.name));
                        param.is_some_and(|p| matches!(p.kind, ParameterKind::Option(_)))
                    })
                    .filter_map(|a| a.name.as_ref().map(|n| format!("`{} = {}`", n.name, self.describe(&a.value))))
                    .collect();
                let message = match words.is_empty() {
                    true => format!("`{name}` returns nothing"),
                    false => format!("`{name}` returns nothing with {}", words.join(" and ")),
                };
                let d = Diagnostic::new(Code::E0407, message)
                    .label(span, "its value is needed here")
                    .label(function.name.span, "defined here")
                    .help(if words.is_empty() { "end it with `return …`" } else { "give another option" });
                Err(self.report(d))
            }
        }
    }

    /// Where the parameters of the body of a call live: under the net's name, or under the layer's next one; what it was
    /// before, to be put back after the call.
    fn enter_layer(&mut self, kind: &str, home: ModuleId, name: &str) -> (Vec<String>, HashMap<String, usize>) {
        let mut path = self.layer_path.clone();
        match kind {
            // One set of parameters for all calls of a net: its path is its name alone.
            "net" => path = vec![self.net_path(home, name)],
            "layer" => {
                // A layer inside a submodel belongs to its draw.
                if path.is_empty() && !self.prefix.is_empty() {
                    path.push(self.prefix.trim_end_matches('.').to_string());
                }
                let base = path.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".");
                let n = self.layer_counts.entry(base).or_insert(0);
                *n += 1;
                path.push(if *n == 1 { name.to_string() } else { format!("{name}_{n}") });
            }
            // What has no parameters of its own.
            _ => return (path, self.layer_counts.clone()),
        }
        (std::mem::replace(&mut self.layer_path, path), std::mem::take(&mut self.layer_counts))
    }
    /// The name under which the parameters of a net are kept: that of the net, in other files than the program's with the
    /// name of the file before it.
    fn net_path(&mut self, home: ModuleId, name: &str) -> String {
        let key = (home, name.to_string());
        if let Some(path) = self.net_paths.get(&key) {
            return path.clone();
        }
        let base = match home == self.modules.root() {
            true => name.to_string(),
            false => format!("{}.{name}", self.modules.get(home).stem),
        };
        let mut path = base.clone();
        let mut n = 1;
        while self.net_paths.values().any(|p| *p == path) {
            n += 1;
            path = format!("{base}_{n}");
        }
        self.net_paths.insert(key, path.clone());
        path
    }

    /// Runs the body of `function` with `args` bound; the value it returns, if it returns one.
    pub(super) fn instantiate(
        &mut self,
        home: ModuleId,
        function: &'p ast::Function,
        args: &[ast::Arg],
        first: Option<Given<'_>>,
        span: Span,
        context: Context,
    ) -> R<Option<Val>> {
        let me = (home, function.name.name.clone());
        if self.calls.contains(&me) || self.calls.len() > MAX_DEPTH {
            let d = Diagnostic::new(Code::E0206, format!("`{}` calls itself", function.name.name))
                .label(span, "this call closes the circle")
                .label(function.name.span, "defined here")
                .help("write a loop: `for t in 1..T { … }`");
            return Err(self.report(d));
        }
        let pending = self.pending_prefix.take();
        let layer = self.pending_layer.take().filter(|kind| matches!(*kind, "layer" | "net"));
        // Layers among the arguments are the caller's.
        let frame = self.bind_arguments(home, function, args, first, span)?;
        let around = layer.map(|kind| self.enter_layer(kind, home, &function.name.name));
        let prefix = pending.map(|p| std::mem::replace(&mut self.prefix, p));
        let caller = self.caller;
        let root = self.modules.root();
        if home == root {
            self.caller = None;
        } else if self.scope.module == root {
            self.caller = Some(span);
        }
        let scope = std::mem::replace(&mut self.scope, Scope { module: home, frames: vec![frame] });
        let outer = std::mem::replace(&mut self.context, context);
        self.calls.push(me);
        let ahead = std::mem::take(&mut self.ahead);
        let defaults = self.bind_defaults(function);
        let result = match defaults {
            Ok(()) => self.body(&function.body),
            Err(e) => Err(e),
        };
        let result = match result {
            Ok(value) => self.check_return(function, value),
            Err(e) => Err(e),
        };
        self.calls.pop();
        if let Some((path, counts)) = around {
            self.layer_path = path;
            self.layer_counts = counts;
        }
        self.ahead = ahead;
        self.context = outer;
        self.scope = scope;
        self.caller = caller;
        if let Some(prefix) = prefix {
            self.prefix = prefix;
        }
        result
    }

    fn bind_arguments(
        &mut self,
        home: ModuleId,
        function: &ast::Function,
        args: &[ast::Arg],
        first: Option<Given<'_>>,
        span: Span,
    ) -> R<HashMap<String, (Binding, Span)>> {
        let params = &function.params;
        let mut bound: Vec<Option<Given<'_>>> = vec![None; params.len()];
        let mut position = 0;
        let all =
            first.into_iter().map(|g| (None, g)).chain(args.iter().map(|a| (a.name.as_ref(), Given::Ast(&a.value))));
        for (name, given) in all {
            let at = match name {
                None => {
                    position += 1;
                    position - 1
                }
                Some(name) => match params.iter().position(|p| p.name.name == name.name) {
                    Some(at) => at,
                    None => {
                        let names: Vec<&str> = params.iter().map(|p| p.name.name.as_str()).collect();
                        return Err(self.unknown_argument(&function.name.name, name, &names));
                    }
                },
            };
            if at >= params.len() {
                let d =
                    Diagnostic::new(Code::E0210, format!("`{}` takes {} arguments", function.name.name, params.len()))
                        .label(given.span(), "one too many")
                        .label(function.name.span, "defined here")
                        .help("leave it out");
                return Err(self.report(d));
            }
            if let Some(before) = &bound[at] {
                let d = Diagnostic::new(Code::E0204, format!("`{}` is given twice", params[at].name.name))
                    .label(given.span(), "given again here")
                    .label(before.span(), "first given here")
                    .help("leave one of them out");
                return Err(self.report(d));
            }
            bound[at] = Some(given);
        }
        let mut frame: HashMap<String, (Binding, Span)> = HashMap::new();
        for (param, given) in params.iter().zip(&bound) {
            let Some(given) = given else {
                if param.default.is_none() {
                    let d =
                        Diagnostic::new(Code::E0209, format!("`{}` needs `{}`", function.name.name, param.name.name))
                            .label(span, "an argument is missing")
                            .label(param.name.span, "this parameter has no default")
                            .help(format!("add `{} = …`", param.name.name));
                    return Err(self.report(d));
                }
                continue;
            };
            let binding = self.bind_one(home, param, given, &mut frame)?;
            frame.insert(param.name.name.clone(), (binding, param.name.span));
        }
        Ok(frame)
    }

    /// One argument, evaluated in the caller's scope and checked against the parameter; size names in its type are
    /// bound in `frame`.
    fn bind_one(
        &mut self,
        home: ModuleId,
        param: &ast::Parameter,
        given: &Given<'_>,
        frame: &mut HashMap<String, (Binding, Span)>,
    ) -> R<Binding> {
        let span = given.span();
        match &param.kind {
            ParameterKind::Value(ty) => {
                let val = self.given_value(given)?;
                let e = self.as_array(&val, span)?;
                self.unify(home, ty, e, &param.name, span, frame)?;
                Ok(Binding::Val(Val::Array(e)))
            }
            ParameterKind::Size(_) => match given {
                Given::Ast(e) => Ok(Binding::Size(self.size_expr(e)?)),
                Given::Val(val, span) => Ok(Binding::Size(self.val_as_size(val, *span)?)),
            },
            ParameterKind::Shape(_) => match given {
                Given::Ast(e) => Ok(Binding::Val(Val::Shape(self.shape_expr(e)?))),
                Given::Val(..) => Err(self.error(
                    Code::E0308,
                    "this is not a shape",
                    span,
                    "not a shape",
                    "write for example `[N, K]`",
                )),
            },
            ParameterKind::Dist(_) => match given {
                Given::Ast(e) => Ok(Binding::Val(Val::Dist(self.dist(e)?))),
                Given::Val(..) => Err(self.error(
                    Code::E0507,
                    "this is not a distribution",
                    span,
                    "not a distribution",
                    "write for example `Normal(0, 1)`",
                )),
            },
            ParameterKind::Option(_) => {
                let option = match given {
                    Given::Ast(e) => self.option_expr(e),
                    Given::Val(val, _) => self.val_as_option(val),
                };
                match option {
                    Some(option) => Ok(Binding::Val(Val::Option(option))),
                    // What only a call can decide is left to the calls.
                    None if self.generic => Err(Reported),
                    None => {
                        let message = format!("`{}` must be known at compile time", param.name.name);
                        Err(self.error(
                            Code::E0402,
                            message,
                            span,
                            "not known at compile time",
                            "write a word, a number, a pair or a condition",
                        ))
                    }
                }
            }
        }
    }

    /// Checks a value against a parameter's type; unbound size names of the type get their sizes from the value.
    fn unify(
        &mut self,
        home: ModuleId,
        ty: &ast::Type,
        value: ExprId,
        name: &ast::Ident,
        span: Span,
        frame: &mut HashMap<String, (Binding, Span)>,
    ) -> R<()> {
        let actual = self.program.ty(value).clone();
        let elem_fits = match ty.elem {
            Elem::Real => true,
            Elem::Int => actual.elem != Elem::Real,
            Elem::Bool => actual.elem == Elem::Bool,
        };
        if !elem_fits {
            let d = Diagnostic::new(Code::E0401, format!("`{}` must be {}", name.name, elem_word(ty.elem)))
                .label(span, format!("these are {}", elem_word(actual.elem)))
                .label(ty.span, "declared here")
                .help("convert it first, for example with `floor` or a comparison");
            return Err(self.report(d));
        }
        let spread = ty.dims.iter().position(|d| matches!(d, ast::Dim::Spread(_)));
        let named = ty.dims.len() - usize::from(spread.is_some());
        if actual.shape.len() < named || (spread.is_none() && actual.shape.len() > named) {
            let shape = self.program.shape_text(&actual.shape);
            let least = if spread.is_some() { "at least " } else { "" };
            let plural = if named == 1 { "" } else { "s" };
            let d = Diagnostic::new(Code::E0306, format!("`{}` needs {least}{named} dimension{plural}", name.name))
                .label(span, format!("this has shape {shape}"))
                .label(ty.span, "declared here")
                .help("index, `reshape` or `flatten` it");
            return Err(self.report(d));
        }
        // The dimensions that `..rows` stands for lie between the named ones.
        let many = actual.shape.len() - named;
        for (position, dim) in ty.dims.iter().enumerate() {
            let at = if spread.is_some_and(|s| position > s) { position - 1 + many } else { position };
            let e = match dim {
                ast::Dim::Size(e) => e,
                ast::Dim::Spread(rows) => {
                    self.unify_spread(rows, &actual.shape[at..at + many], name, span, frame)?;
                    continue;
                }
            };
            let size = &actual.shape[at];
            if let Syntax::Name(n) = &e.kind
                && !frame.contains_key(n)
                && !(home == self.modules.root() && self.known_size(n).is_some())
            {
                frame.insert(n.clone(), (Binding::Size(size.clone()), e.span));
                continue;
            }
            let scope = std::mem::replace(&mut self.scope, Scope { module: home, frames: vec![frame.clone()] });
            let wanted = self.size_expr(e);
            self.scope = scope;
            let wanted = wanted?;
            if !self.agree(&wanted, size) {
                let (want, have) = (self.program.size_text(&wanted), self.program.size_text(size));
                let shape = self.program.shape_text(&actual.shape);
                let d = Diagnostic::new(
                    Code::E0307,
                    format!("`{}` needs size {want} in dimension {at}, found {have}", name.name),
                )
                .label(span, format!("this has shape {shape}"))
                .label(e.span, format!("{want} is asked for here"))
                .help("pass an array of the declared shape");
                return Err(self.report(d));
            }
        }
        Ok(())
    }

    /// `..rows` in a parameter's type: binds `rows` to these dimensions, or checks that they are those it has already.
    fn unify_spread(
        &mut self,
        rows: &ast::Ident,
        dims: &[Size],
        name: &ast::Ident,
        span: Span,
        frame: &mut HashMap<String, (Binding, Span)>,
    ) -> R<()> {
        let Some((Binding::Val(Val::Shape(wanted)), _)) = frame.get(&rows.name).cloned() else {
            frame.insert(rows.name.clone(), (Binding::Val(Val::Shape(dims.to_vec())), rows.span));
            return Ok(());
        };
        if wanted.len() == dims.len() && wanted.iter().zip(dims).all(|(a, b)| self.agree(a, b)) {
            return Ok(());
        }
        let (want, have) = (self.program.shape_text(&wanted), self.program.shape_text(dims));
        let d = Diagnostic::new(Code::E0307, format!("`{}` needs the dimensions {want}, found {have}", name.name))
            .label(span, "these dimensions")
            .label(rows.span, format!("`{}` is {want}", rows.name))
            .help("pass an array of the declared shape");
        Err(self.report(d))
    }

    /// Defaults of the parameters that were not given, in order, in the function's own scope.
    fn bind_defaults(&mut self, function: &'p ast::Function) -> R<()> {
        for param in &function.params {
            if self.scope.frames[0].contains_key(&param.name.name) {
                continue;
            }
            let Some(default) = &param.default else { return Err(Reported) };
            let home = self.scope.module;
            let mut frame = self.scope.frames[0].clone();
            let binding = self.bind_one(home, param, &Given::Ast(default), &mut frame)?;
            frame.insert(param.name.name.clone(), (binding, param.name.span));
            self.scope.frames[0] = frame;
        }
        Ok(())
    }

    fn check_return(&mut self, function: &ast::Function, value: Option<Val>) -> R<Option<Val>> {
        let Some(ret) = &function.ret else { return Ok(value) };
        let Some(value) = value else {
            let d = Diagnostic::new(Code::E0407, format!("`{}` must return a value", function.name.name))
                .label(function.body.span, "nothing is returned")
                .help("end it with `return …`");
            return Err(self.report(d));
        };
        match (ret, &value) {
            (Return::One(ty), Val::Array(e)) => self.check_returned(ty, *e)?,
            (Return::Tuple(types, _), Val::Tuple(parts)) if types.len() == parts.len() => {
                for (ty, part) in types.iter().zip(parts) {
                    let e = self.as_array(part, ty.span)?;
                    self.check_returned(ty, e)?;
                }
            }
            (Return::One(ty), _) => {
                return Err(self.error(
                    Code::E0307,
                    "one value is declared",
                    ty.span,
                    "but a tuple is returned",
                    "declare `-> (…, …)`",
                ));
            }
            (Return::Tuple(types, span), _) => {
                let message = format!("{} values are declared", types.len());
                return Err(self.error(
                    Code::E0307,
                    message,
                    *span,
                    "but something else is returned",
                    "return a tuple of that length",
                ));
            }
        }
        Ok(Some(value))
    }
    fn check_returned(&mut self, ty: &ast::Type, value: ExprId) -> R<()> {
        let declared = self.type_of(ty)?;
        let actual = self.program.ty(value).clone();
        let fits = declared.shape.len() == actual.shape.len()
            && declared.shape.iter().zip(&actual.shape).all(|(a, b)| self.agree(a, b));
        let elem_fits = declared.elem == Elem::Real || declared.elem == actual.elem;
        if fits && elem_fits {
            return Ok(());
        }
        let (want, have) = (self.type_text(&declared), self.type_text(&actual));
        let d = Diagnostic::new(Code::E0307, format!("the result is {have}, declared is {want}"))
            .label(self.program.exprs[value].span, format!("this is {have}"))
            .label(ty.span, "declared here")
            .help("mend the declaration or the expression");
        Err(self.report(d))
    }
    /// A type as the user would write it.
    pub(super) fn type_text(&self, ty: &Ty) -> String {
        let elem = match ty.elem {
            Elem::Real => "real",
            Elem::Int => "int",
            Elem::Bool => "bool",
        };
        if ty.shape.is_empty() { elem.to_string() } else { format!("{elem}{}", self.program.shape_text(&ty.shape)) }
    }

    /// Checks a function on its own, with opaque sizes, so that mistakes are found in functions that nobody calls.
    pub(super) fn check_generic(&mut self, module: ModuleId, function: &'p ast::Function, kind: &str) {
        let is_root = module == self.modules.root();
        // What the trial adds to the program is thrown away again; only its messages stay.
        let saved = (self.program.clone(), self.model.clone(), self.site_values.clone(), self.observed.clone());
        let sizes = self.size_names.clone();
        let nets = self.net_paths.clone();
        let mut frame: HashMap<String, (Binding, Span)> = HashMap::new();
        for param in &function.params {
            let ParameterKind::Value(ty) = &param.kind else { continue };
            for dim in &ty.dims {
                let (n, span) = match dim {
                    ast::Dim::Size(e) => match &e.kind {
                        Syntax::Name(n) if !(is_root && self.known_size(n).is_some()) => (n, e.span),
                        _ => continue,
                    },
                    ast::Dim::Spread(rows) => (&rows.name, rows.span),
                };
                if frame.contains_key(n) || function.params.iter().any(|p| p.name.name == *n) {
                    continue;
                }
                let size = Size::from(self.opaque_size(n, span));
                let binding = match dim {
                    ast::Dim::Size(_) => Binding::Size(size),
                    ast::Dim::Spread(_) => Binding::Val(Val::Shape(vec![size])),
                };
                frame.insert(n.clone(), (binding, span));
            }
        }
        for param in &function.params {
            if let ParameterKind::Size(span) = &param.kind {
                // A number as default stands for itself: some uses, such as `groups`, need one.
                let size = match param.default.as_ref().map(|d| &d.kind) {
                    Some(Syntax::Int(n)) => Size::from(*n),
                    _ => Size::from(self.opaque_size(&param.name.name, *span)),
                };
                frame.insert(param.name.name.clone(), (Binding::Size(size), param.name.span));
            }
        }
        let scope = std::mem::replace(&mut self.scope, Scope { module, frames: vec![frame] });
        let context = match kind {
            "fn" => Context::Function,
            "model" => Context::Model,
            _ => Context::Layer,
        };
        let outer = std::mem::replace(&mut self.context, context);
        self.generic = true;
        self.calls.push((module, function.name.name.clone()));
        self.layer_path = vec![format!("<{}>", function.name.name)];
        let ready = self.bind_opaque(function);
        if ready.is_ok()
            && let Ok(value) = self.body(&function.body)
        {
            let _ = self.check_return(function, value);
        }
        self.layer_path.clear();
        self.calls.pop();
        self.generic = false;
        self.context = outer;
        self.scope = scope;
        (self.program, self.model, self.site_values, self.observed) = saved;
        self.size_names = sizes;
        self.net_paths = nets;
    }
    fn bind_opaque(&mut self, function: &'p ast::Function) -> R<()> {
        for param in &function.params {
            let name = param.name.name.clone();
            if self.scope.frames[0].contains_key(&name) {
                continue;
            }
            if let Some(default) = &param.default {
                let mut frame = self.scope.frames[0].clone();
                let binding = self.bind_one(self.scope.module, param, &Given::Ast(default), &mut frame)?;
                self.scope.frames[0].insert(name, (binding, param.name.span));
                continue;
            }
            let binding = match &param.kind {
                ParameterKind::Value(ty) => {
                    let typed = self.type_of(ty)?;
                    let decl = DataDecl {
                        name: format!("<{name}>"),
                        ty: typed.clone(),
                        range: None,
                        default: None,
                        doc: None,
                        span: param.name.span,
                        ty_span: ty.span,
                    };
                    // An opaque value: a datum that no program can name.
                    let id = self.program.data.push(decl);
                    Binding::Val(Val::Array(self.push(ExprKind::Data(id), typed, param.name.span)))
                }
                ParameterKind::Dist(span) => {
                    let zero = self.constant(0.0, Elem::Real, *span);
                    let one = self.constant(1.0, Elem::Real, *span);
                    let def = crate::dist::DistId::NORMAL;
                    Binding::Val(Val::Dist(DistExpr::Row { def, args: vec![zero, one], span: *span }))
                }
                ParameterKind::Shape(span) => {
                    let id = self.opaque_size(&name, *span);
                    Binding::Val(Val::Shape(vec![Size::from(id)]))
                }
                ParameterKind::Option(_) => Binding::Val(Val::Option(super::checker::OptionValue::Numbers(vec![1]))),
                ParameterKind::Size(_) => continue,
            };
            self.scope.frames[0].insert(name, (binding, param.name.span));
        }
        Ok(())
    }
}

/// What elements of a type are called in messages.
pub(super) fn elem_word(elem: Elem) -> &'static str {
    match elem {
        Elem::Real => "real",
        Elem::Int => "int",
        Elem::Bool => "bool",
    }
}
