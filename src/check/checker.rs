//! The state of checking: the program being built, what names mean, and the small decisions everything else uses.

use super::modules::{ModuleId, Modules};
use super::size::{Size, SizeId};
use super::typed::*;
use crate::builtins;
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::nearest::nearest;
use crate::source::Span;
use crate::syntax::ast::{self, Elem};
use std::collections::{HashMap, HashSet};

/// The mark of a part that could not be checked: its message has been pushed already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported;
/// A checked part, or nothing because a message has been pushed.
pub(super) type R<T> = Result<T, Reported>;

/// What an expression turned out to be.
#[derive(Clone, Debug)]
pub(super) enum Val {
    /// An array or number.
    Array(ExprId),
    /// Several values.
    Tuple(Vec<Val>),
    /// A distribution.
    Dist(DistExpr),
    /// The result of a submodel, with the prefix of its sites (`h1.`); no value when it returns nothing.
    Sub(Option<Box<Val>>, String),
    /// A shape: `[N, K]` held by a `shape` parameter.
    Shape(Vec<Size>),
    /// A compile-time setting held by an `option` parameter.
    Option(OptionValue),
}

/// A compile-time setting.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum OptionValue {
    /// A word such as `same`.
    Word(String),
    /// One number or several.
    Numbers(Vec<i64>),
    /// A condition.
    Flag(bool),
}

/// What a name means.
#[derive(Clone, Debug)]
pub(super) enum Binding {
    /// A value.
    Val(Val),
    /// A size.
    Size(Size),
    /// An array that is filled element by element.
    Array(usize),
    /// Something whose message has been pushed: silent.
    Poison,
}

/// An argument as the caller has it: not evaluated yet, or already (the left side of `|>`).
#[derive(Clone, Debug)]
pub(super) enum Given<'a> {
    /// Syntax in the caller's scope.
    Ast(&'a ast::Expr),
    /// A value and its place.
    Val(Val, Span),
}

impl Given<'_> {
    pub(super) fn span(&self) -> Span {
        match self {
            Given::Ast(e) => e.span,
            Given::Val(_, span) => *span,
        }
    }
}

/// Where statements are being checked; decides which of them are allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Context {
    /// Items: constants, sizes, types.
    Item,
    /// A model or submodel.
    Model,
    /// A guide.
    Guide,
    /// `generate`.
    Generate,
    /// A `fn`.
    Function,
    /// A `layer` or `net`.
    Layer,
}

/// Names in scope: a stack of frames on top of a module.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) module: ModuleId,
    pub(super) frames: Vec<HashMap<String, (Binding, Span)>>,
}

/// Everything that checking knows and builds.
pub(crate) struct Checker<'p> {
    pub(super) modules: &'p Modules,
    pub(super) diags: &'p mut Diagnostics,
    pub(super) program: Program,
    pub(super) model: Model,
    pub(super) scope: Scope,
    pub(super) context: Context,
    /// Prefix of the sites that are declared now: `h1.`.
    pub(super) prefix: String,
    /// The call in the program's own text that the library function being checked comes from.
    pub(super) caller: Option<Span>,
    /// The prefix that the body of the submodel being called will have; its arguments still have the caller's.
    pub(super) pending_prefix: Option<String>,
    /// Functions being instantiated, outermost first.
    pub(super) calls: Vec<(ModuleId, String)>,
    /// Values of sites and kept quantities by full name.
    pub(super) site_values: HashMap<String, SiteId>,
    /// Which datum is observed where.
    pub(super) observed: HashMap<DataId, Span>,
    /// The hole context of a guide: the site whose distribution is being checked.
    pub(super) guide_site: Option<SiteId>,
    /// Path of the layer or net whose parameters are being declared, and how often each name was used in it.
    pub(super) layer_path: Vec<String>,
    pub(super) layer_counts: HashMap<String, usize>,
    /// The names under which the parameters of nets are kept.
    pub(super) net_paths: HashMap<(ModuleId, String), String>,
    /// The kind of the function being called, until its arguments are bound.
    pub(super) pending_layer: Option<&'static str>,
    /// Constants and sizes of files whose values are being worked out, outermost first.
    pub(super) open_items: Vec<(ModuleId, String)>,
    /// True while a generic function is checked on its own, with opaque sizes.
    pub(super) generic: bool,
    /// Items whose declaration has a mistake: messages about their use would only repeat it.
    pub(super) failed: HashSet<String>,
    /// What the statements of the blocks around bind, for names that are used too early.
    pub(super) ahead: Vec<HashMap<String, Span>>,
    pub(super) size_names: HashMap<String, SizeId>,
    /// Whether the model that is fitted has no mistakes, so that its sites are known.
    pub(super) complete: bool,
    /// The loops around, outermost first.
    pub(super) loops: Vec<super::loops::OpenLoop>,
    /// Arrays that are filled element by element.
    pub(super) arrays: Vec<super::arrays::Filled>,
}

/// What checking a statement a second time starts from.
pub(super) struct Saved {
    program: Program,
    model: Model,
    scope: Scope,
    site_values: HashMap<String, SiteId>,
    observed: HashMap<DataId, Span>,
    loops: Vec<super::loops::OpenLoop>,
    arrays: Vec<super::arrays::Filled>,
    layer_counts: HashMap<String, usize>,
    diags: Diagnostics,
}

impl<'p> Checker<'p> {
    pub(super) fn new(modules: &'p Modules, diags: &'p mut Diagnostics) -> Self {
        Self {
            modules,
            diags,
            program: Program::default(),
            model: Model::default(),
            scope: Scope { module: modules.root(), frames: vec![HashMap::new()] },
            context: Context::Item,
            prefix: String::new(),
            caller: None,
            pending_prefix: None,
            calls: Vec::new(),
            site_values: HashMap::new(),
            observed: HashMap::new(),
            guide_site: None,
            layer_path: Vec::new(),
            layer_counts: HashMap::new(),
            net_paths: HashMap::new(),
            open_items: Vec::new(),
            pending_layer: None,
            generic: false,
            failed: HashSet::new(),
            ahead: Vec::new(),
            size_names: HashMap::new(),
            complete: true,
            loops: Vec::new(),
            arrays: Vec::new(),
        }
    }
    /// The state of checking now.
    pub(super) fn saved(&self) -> Saved {
        Saved {
            program: self.program.clone(),
            model: self.model.clone(),
            scope: self.scope.clone(),
            site_values: self.site_values.clone(),
            observed: self.observed.clone(),
            loops: self.loops.clone(),
            arrays: self.arrays.clone(),
            layer_counts: self.layer_counts.clone(),
            diags: self.diags.clone(),
        }
    }
    /// Goes back to a state.
    pub(super) fn restore(&mut self, saved: Saved) {
        self.program = saved.program;
        self.model = saved.model;
        self.scope = saved.scope;
        self.site_values = saved.site_values;
        self.observed = saved.observed;
        self.loops = saved.loops;
        self.arrays = saved.arrays;
        self.layer_counts = saved.layer_counts;
        *self.diags = saved.diags;
    }

    // --- messages ----------------------------------------------------------------------------------------------

    /// Pushes a message.
    pub(super) fn report(&mut self, diagnostic: impl Into<Box<Diagnostic>>) -> Reported {
        let diagnostic = *diagnostic.into();
        if !diagnostic.message.is_empty() && !self.repeats_syntax_error(&diagnostic) {
            self.diags.push(diagnostic);
        }
        Reported
    }
    /// Whether a message only misses what a syntax error has taken out of its file.
    fn repeats_syntax_error(&self, diagnostic: &Diagnostic) -> bool {
        let file = diagnostic.span().map(|s| s.file);
        let module = self.modules.iter().find(|(_, m)| Some(m.file) == file);
        let lost = &module.map_or(self.modules.get(self.modules.root()), |(_, m)| m).lost;
        let from_parser = |d: &&Diagnostic| d.code.name().starts_with("E01");
        if self.diags.iter().filter(from_parser).any(|d| d.span() == diagnostic.span()) {
            return true;
        }
        if lost.is_empty() {
            return false;
        }
        match diagnostic.code {
            // Something is incomplete.
            Code::E0407 | Code::E0601 | Code::E0705 | Code::E0804 | Code::E0805 => true,
            // A name has no meaning, or lost the one that it had. Messages quote names in backticks.
            Code::E0201 | Code::E0202 | Code::E0203 | Code::E0205 | Code::E0505 | Code::E0603 | Code::E0605 => {
                let quoted = diagnostic.message.split('`').skip(1).step_by(2);
                quoted.flat_map(|q| q.split('.')).any(|name| lost.contains(name))
            }
            _ => false,
        }
    }
    /// Pushes a message with one place.
    pub(super) fn error(
        &mut self,
        code: Code,
        message: impl Into<String>,
        span: Span,
        label: &str,
        help: &str,
    ) -> Reported {
        let mut d = Diagnostic::new(code, message).label(span, label);
        if !help.is_empty() {
            d = d.help(help);
        }
        self.report(d)
    }
    /// Adds where `operand` comes from, with its shape.
    pub(super) fn blame(&self, error: Diagnostic, operand: ExprId) -> Diagnostic {
        let e = &self.program.exprs[operand];
        let shape = if e.ty.shape.is_empty() {
            "a number".to_string()
        } else {
            format!("this is {}", self.program.shape_text(&e.ty.shape))
        };
        let mut error = error.label(e.span, shape);
        let origin = match &e.kind {
            ExprKind::Data(id) => {
                let data = &self.program.data[*id];
                Some((data.name.trim_matches(['<', '>']).to_string(), data.ty_span))
            }
            ExprKind::Site(id) => self.model.sites.get(*id).map(|s| (s.name.clone(), s.span)),
            _ => None,
        };
        if let Some((name, span)) = origin.filter(|(_, span)| *span != e.span) {
            let shape = self.program.shape_text(&e.ty.shape);
            error = error.label(span, format!("`{name}` gets its shape {shape} here"));
        }
        error
    }

    // --- expressions -------------------------------------------------------------------------------------------

    /// Appends an expression.
    pub(super) fn push(&mut self, kind: ExprKind, ty: Ty, span: Span) -> ExprId {
        self.program.push(Expr { kind, ty, span, caller: self.caller })
    }
    pub(super) fn constant(&mut self, value: f64, elem: Elem, span: Span) -> ExprId {
        self.push(ExprKind::Const(value), Ty::scalar(elem), span)
    }
    /// The value of a size as an int.
    pub(super) fn size_value(&mut self, size: Size, span: Span) -> ExprId {
        match size.as_number() {
            Some(n) => self.constant(n as f64, Elem::Int, span),
            None => self.push(ExprKind::Size(size), Ty::scalar(Elem::Int), span),
        }
    }
    /// A built-in function applied to typed operands, for operators.
    pub(super) fn apply(&mut self, def: &'static builtins::FnDef, args: &[ExprId], span: Span) -> R<ExprId> {
        let given = args.iter().map(|&a| Some(Given::Val(Val::Array(a), self.program.exprs[a].span))).collect();
        self.call_builtin(def, given, Vec::new(), span)
    }
    /// Runs the type rule of `def` and appends the call.
    pub(super) fn call_builtin(
        &mut self,
        def: &'static builtins::FnDef,
        args: Vec<Option<Given<'_>>>,
        extra: Vec<Given<'_>>,
        span: Span,
    ) -> R<ExprId> {
        let mut cx = super::call::CallCx { checker: self, def, args, extra, span };
        match (def.check)(&mut cx) {
            Ok(typed) => {
                let kind = ExprKind::Call { def, args: typed.args, attrs: typed.attrs };
                Ok(self.push(kind, typed.ty, span))
            }
            Err(error) => Err(self.report(error)),
        }
    }
    /// The array or number that `val` is.
    pub(super) fn as_array(&mut self, val: &Val, span: Span) -> R<ExprId> {
        match val {
            Val::Array(e) => Ok(*e),
            Val::Sub(Some(inner), _) => self.as_array(inner, span),
            Val::Sub(None, prefix) => {
                let name = prefix.trim_end_matches('.').to_string();
                let help = format!("use one of its sites, such as `{name}.weight`");
                Err(self.error(
                    Code::E0205,
                    format!("`{name}` has no value: its submodel returns nothing"),
                    span,
                    "used as a value",
                    &help,
                ))
            }
            Val::Tuple(parts) => {
                let n = parts.len();
                let message = format!("{n} values stand where one is needed");
                Err(self.error(Code::E0205, message, span, "this is a tuple", "take it apart: `(a, b) = …`"))
            }
            Val::Dist(d) => {
                let name = d.name();
                let help = format!("draw from it with `x ~ {name}(…)`");
                Err(self.error(
                    Code::E0205,
                    format!("`{name}` is a distribution, not a value"),
                    span,
                    "used as a value",
                    &help,
                ))
            }
            Val::Shape(_) => Err(self.error(Code::E0205, "this is a shape, not a value", span, "used as a value", "")),
            Val::Option(OptionValue::Numbers(n)) if n.len() == 1 => Ok(self.constant(n[0] as f64, Elem::Int, span)),
            Val::Option(OptionValue::Flag(b)) => Ok(self.constant(f64::from(u8::from(*b)), Elem::Bool, span)),
            Val::Option(_) => {
                Err(self.error(Code::E0205, "this is an option, not a value", span, "used as a value", ""))
            }
        }
    }
    pub(super) fn given_value(&mut self, given: &Given<'_>) -> R<Val> {
        match given {
            Given::Ast(e) => self.expr(e),
            Given::Val(val, _) => Ok(val.clone()),
        }
    }
    /// The number that `e` is at compile time.
    pub(super) fn const_value(&self, e: ExprId) -> Option<f64> {
        match &self.program.exprs[e].kind {
            ExprKind::Const(c) => Some(*c),
            ExprKind::Size(s) => self.fixed(s).as_number().map(|n| n as f64),
            ExprKind::Call { def, args, .. } => {
                let a: Vec<f64> = args.iter().map(|&a| self.const_value(a)).collect::<Option<_>>()?;
                let truth = |b: bool| Some(f64::from(u8::from(b)));
                match (def.name, &a[..]) {
                    ("-", [x]) => Some(-x),
                    ("not", [x]) => truth(*x == 0.0),
                    ("+", [x, y]) => Some(x + y),
                    ("-", [x, y]) => Some(x - y),
                    ("*", [x, y]) => Some(x * y),
                    ("/", [x, y]) => Some(x / y),
                    ("^", [x, y]) => Some(x.powf(*y)),
                    ("sqrt", [x]) => Some(x.sqrt()),
                    ("==", [x, y]) => truth(x == y),
                    ("!=", [x, y]) => truth(x != y),
                    ("<", [x, y]) => truth(x < y),
                    ("<=", [x, y]) => truth(x <= y),
                    (">", [x, y]) => truth(x > y),
                    (">=", [x, y]) => truth(x >= y),
                    ("and", [x, y]) => truth(*x != 0.0 && *y != 0.0),
                    ("or", [x, y]) => truth(*x != 0.0 || *y != 0.0),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    // --- sizes -------------------------------------------------------------------------------------------------

    /// The size name `name` of the program, made if it is new.
    pub(super) fn size_named(&mut self, name: &str, span: Span) -> SizeId {
        if let Some(&id) = self.size_names.get(name) {
            return id;
        }
        let decl = SizeDecl { name: name.to_string(), span, value: None, labels: None, declared: false };
        let id = self.program.sizes.push(decl);
        self.size_names.insert(name.to_string(), id);
        id
    }
    /// The size name `name` of the program, if there is one.
    pub(super) fn known_size(&self, name: &str) -> Option<SizeId> {
        self.size_names.get(name).copied()
    }
    /// An opaque size that agrees with nothing but itself, for checking a function on its own.
    pub(super) fn opaque_size(&mut self, name: &str, span: Span) -> SizeId {
        self.program.sizes.push(SizeDecl { name: name.to_string(), span, value: None, labels: None, declared: true })
    }
    /// `size` with the names that the program fixes put in.
    pub(super) fn fixed(&self, size: &Size) -> Size {
        let value = |id: SizeId| self.program.sizes[id].value.map(|v| Size::from(v as i64));
        size.substitute(&value).unwrap_or_else(|| size.clone())
    }
    /// Whether two sizes agree: equal as polynomials, or one is a number and the other fixed to that number.
    pub(super) fn agree(&self, a: &Size, b: &Size) -> bool {
        a == b || ((a.as_number().is_some() || b.as_number().is_some()) && self.fixed(a) == self.fixed(b))
    }
    /// The shape that two shapes broadcast to: aligned from the right, name by name; a literal 1 stretches.
    pub(super) fn broadcast(&self, a: &[Size], b: &[Size]) -> Option<Vec<Size>> {
        let rank = a.len().max(b.len());
        let at = |s: &[Size], i: usize| (i + s.len()).checked_sub(rank).map(|i| s[i].clone());
        (0..rank)
            .map(|i| match (at(a, i), at(b, i)) {
                (Some(x), Some(y)) if self.agree(&x, &y) => Some(if x.as_number().is_some() { y } else { x }),
                (Some(x), Some(y)) if x.is_one() => Some(y),
                (Some(x), Some(y)) if y.is_one() => Some(x),
                (Some(x), None) | (None, Some(x)) => Some(x),
                _ => None,
            })
            .collect()
    }

    // --- names -------------------------------------------------------------------------------------------------

    /// Binds `name` in the innermost frame.
    pub(super) fn bind(&mut self, name: &ast::Ident, binding: Binding) {
        let frame = self.scope.frames.last_mut().expect("a scope has a frame");
        frame.insert(name.name.clone(), (binding, name.span));
    }
    /// The binding of `name` in the frames.
    pub(super) fn lookup_local(&self, name: &str) -> Option<&(Binding, Span)> {
        self.scope.frames.iter().rev().find_map(|f| f.get(name))
    }
    /// Every name that a value could have here, for suggestions.
    pub(super) fn visible_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.scope.frames.iter().flat_map(|f| f.keys().cloned()).collect();
        if self.scope.module == self.modules.root() {
            // What a generic function is checked with has names that no program can write.
            let data = self.program.data.iter().filter(|d| !d.name.starts_with('<'));
            names.extend(data.map(|d| d.name.clone()));
            names.extend(self.program.sizes.iter().map(|s| s.name.clone()));
            names.extend(self.program.constants.iter().map(|(n, _)| n.clone()));
        }
        names.extend(self.site_values.keys().cloned());
        names.sort();
        names.dedup();
        names
    }
    /// The message about an unknown name.
    pub(super) fn unknown_name(&mut self, name: &str, span: Span) -> Reported {
        if self.scope.module == self.modules.root() && self.failed.contains(name) {
            return Reported;
        }
        let names = self.visible_names();
        if !crate::dist::forms(name).is_empty() {
            let help = format!("draw from it: `x ~ {}`", super::dists::signature(name));
            let message = format!("`{name}` is a distribution, not a value");
            return self.error(Code::E0205, message, span, "used as a value", &help);
        }
        if let Some(def) = builtins::get(name) {
            let help = format!("call it, as in `{}`", def.signature);
            let message = format!("`{name}` is a function, not a value");
            return self.error(Code::E0205, message, span, "used as a value", &help);
        }
        if let Some(near) = self.modules.function(self.scope.module, name).map(|(_, item)| item.span) {
            let d = Diagnostic::new(Code::E0205, format!("`{name}` is a function, not a value"))
                .label(span, "used as a value")
                .label(near, "defined here")
                .help(format!("call it: `{name}(…)`"));
            return self.report(d);
        }
        let mut d =
            Diagnostic::new(Code::E0201, format!("nothing is called `{name}` here")).label(span, "unknown name");
        let later = self.ahead.iter().rev().find_map(|f| f.get(name)).copied();
        if let Some(later) = later.filter(|l| l.file == span.file && l.start > span.start) {
            d = d.label(later, format!("`{name}` is bound only here")).help("move that line above this one");
        } else if self.context == Context::Guide
            && let Some(site) = self.model.sites.iter().find(|s| s.name == name)
        {
            d = d
                .label(site.span, "a site of the model")
                .help(format!("a guide sees the sites that it has drawn: draw `{name}` before this line"));
        } else if let Some(near) = nearest(name, names.iter().map(String::as_str)) {
            d = d.help(format!("a value named `{near}` is in scope")).fix(span, near);
        } else {
            d = d.help(format!("define it before this line, for example `{name} = …` or `data {name}: real`"));
        }
        self.report(d)
    }
    /// Notes that `w` is the weight of a layer whose outputs each sum over `fan_in` products and whose inputs each reach
    /// `fan_out` outputs.
    pub(super) fn mark_weight(&mut self, w: ExprId, fan_in: &[Size], fan_out: &[Size]) {
        let product = |sizes: &[Size]| sizes.iter().try_fold(Size::from(1), |acc, s| acc.mul(s));
        let (Some(fan), Some(out)) = (product(fan_in), product(fan_out)) else { return };
        let mut e = w;
        loop {
            match &self.program.exprs[e].kind {
                ExprKind::Site(id) => {
                    self.model.sites[*id].fan_in.get_or_insert(fan);
                    return;
                }
                ExprKind::Param(id) => {
                    self.program.params[*id].fan.get_or_insert((fan, out));
                    return;
                }
                ExprKind::Call { def, args, .. } if matches!(def.name, "reshape" | "transpose") => e = args[0],
                _ => return,
            }
        }
    }
    /// Notes that `table` holds the vectors of an embedding: a param starts standard normal.
    pub(super) fn mark_table(&mut self, table: ExprId) {
        if let ExprKind::Param(id) = self.program.exprs[table].kind {
            self.program.params[id].fan.get_or_insert((1.into(), 1.into()));
        }
    }
}
