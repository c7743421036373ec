//! Distributions: matching arguments to the rows of the table, and the shapes that come out.

use super::checker::{Binding, Checker, R, Val};
use super::size::Size;
use super::typed::*;
use crate::diag::{Code, Diagnostic};
use crate::dist::{self, DistDef, DistId, SupportKind};
use crate::ir::DType;
use crate::nearest::nearest;
use crate::source::Span;
use crate::syntax::ast::{self, Elem, ExprKind as Syntax};
use std::collections::HashMap;

/// Whether `name` is a distribution or a wrapper.
pub(super) fn is_distribution(name: &str) -> bool {
    dist::wrappers::get(name).is_some() || !dist::forms(name).is_empty()
}

/// The element type of a distribution's values.
pub(super) fn elem_of(dtype: DType) -> Elem {
    match dtype {
        DType::Real => Elem::Real,
        DType::Int => Elem::Int,
        DType::Bool => Elem::Bool,
    }
}

impl<'p> Checker<'p> {
    /// An expression that must be a distribution.
    pub(super) fn dist(&mut self, e: &ast::Expr) -> R<DistExpr> {
        match &e.kind {
            Syntax::Paren(inner) => self.dist(inner),
            Syntax::Name(name) => match self.lookup_local(name).cloned() {
                Some((Binding::Val(Val::Dist(d)), _)) => Ok(d),
                Some((Binding::Poison, _)) => Err(super::checker::Reported),
                _ if is_distribution(name) => {
                    let help = format!("give it its arguments: `{}`", signature(name));
                    Err(self.error(
                        Code::E0209,
                        format!("`{name}` needs arguments"),
                        e.span,
                        "a distribution without arguments",
                        &help,
                    ))
                }
                Some(_) => Err(self.not_a_distribution(e)),
                None => Err(self.unknown_distribution(name, e.span)),
            },
            Syntax::Call { callee, args } => match &callee.kind {
                Syntax::Name(name) if is_distribution(name) => self.dist_call(name, args, e.span),
                Syntax::Name(name) => {
                    if self.modules.function(self.scope.module, name).is_some() || crate::builtins::get(name).is_some()
                    {
                        Err(self.not_a_distribution(e))
                    } else {
                        Err(self.unknown_distribution(name, callee.span))
                    }
                }
                Syntax::Field(base, _) => match &base.kind {
                    Syntax::Name(m) if self.modules.get(self.scope.module).failed.contains(m) => {
                        Err(super::checker::Reported)
                    }
                    // The message of a call says what is wrong with the name.
                    _ => self.call(callee, args, None, e.span).and_then(|_| Err(self.not_a_distribution(e))),
                },
                _ => Err(self.not_a_distribution(e)),
            },
            _ => Err(self.not_a_distribution(e)),
        }
    }
    fn not_a_distribution(&mut self, e: &ast::Expr) -> super::checker::Reported {
        if let Syntax::Call { callee, .. } = &e.kind
            && let Syntax::Name(name) = &callee.kind
            && let Some(help) = self.elsewhere(name)
        {
            let message = format!("the built-in function `{name}` is not a distribution");
            return self.error(Code::E0507, message, e.span, "deterministic", &help);
        }
        self.error(
            Code::E0507,
            "this is not a distribution",
            e.span,
            "a distribution is needed",
            "write for example `Normal(0, 1)`; a deterministic value is bound by `=`",
        )
    }
    fn unknown_distribution(&mut self, name: &str, span: Span) -> super::checker::Reported {
        if self.modules.get(self.scope.module).failed.contains(name) {
            return super::checker::Reported;
        }
        let names: Vec<&str> = dist::names().into_iter().chain(dist::wrappers::TABLE.iter().map(|w| w.name)).collect();
        let mut d = Diagnostic::new(Code::E0203, format!("no distribution is called `{name}`"))
            .label(span, "unknown distribution");
        let known = super::synonyms::distribution(name).filter(|n| is_distribution(n));
        if let (None, Some(help)) = (known, self.elsewhere(name)) {
            return self.report(d.help(help));
        }
        d = match known.or_else(|| nearest(name, names.iter().copied())) {
            Some(near) => d.help(format!("there is `{near}`")).fix(span, near),
            None => d.help("`bayesc doc` lists the distributions"),
        };
        self.report(d)
    }

    /// A call of a distribution or wrapper.
    pub(super) fn dist_call(&mut self, name: &str, args: &[ast::Arg], span: Span) -> R<DistExpr> {
        if let Some(wrapper) = dist::wrappers::get(name) {
            return self.wrapper(wrapper.name, args, span);
        }
        let forms = dist::forms(name);
        let def = self.choose_form(name, &forms, args, span)?;
        let row = dist::get(def);
        let mut slots: Vec<Option<&ast::Expr>> = vec![None; row.arguments().len()];
        let mut position = 0;
        for arg in args {
            let at = match &arg.name {
                Some(n) => row.params.iter().position(|p| p.name == n.name).expect("the form was chosen by its names"),
                None => {
                    position += 1;
                    position - 1
                }
            };
            if at >= slots.len() {
                let d = Diagnostic::new(Code::E0210, format!("`{name}` takes {} arguments", slots.len()))
                    .label(arg.value.span, "one too many")
                    .help(format!("its signature is `{}`", signature(name)));
                return Err(self.report(d));
            }
            if let Some(first) = slots[at] {
                let d = Diagnostic::new(Code::E0204, format!("`{}` is given twice", row.params[at].name))
                    .label(arg.value.span, "given again here")
                    .label(first.span, "first given here, by its position")
                    .help(format!("leave one out: the signature is `{}`", signature(name)));
                return Err(self.report(d));
            }
            slots[at] = Some(&arg.value);
        }
        let mut values = Vec::new();
        let mut failed = false;
        for (param, slot) in row.arguments().iter().zip(slots) {
            match (slot, param.default) {
                (Some(e), _) => match self.dist_argument(row, param, e) {
                    Ok(v) => values.push(v),
                    Err(_) => failed = true,
                },
                (None, Some(default)) => values.push(self.constant(default, Elem::Real, span)),
                (None, None) => {
                    let d = Diagnostic::new(Code::E0209, format!("`{name}` needs `{}`", param.name))
                        .label(span, "an argument is missing")
                        .help(format!("its signature is `{}`", signature(name)));
                    return Err(self.report(d));
                }
            }
        }
        if failed {
            return Err(super::checker::Reported);
        }
        self.check_bounds(row, &values, span)?;
        let result = DistExpr::Row { def, args: values, span };
        self.batch_shape(&result)?;
        Ok(result)
    }
    /// Refuses `Uniform(5, 2)`: known bounds that hold nothing between them.
    fn check_bounds(&mut self, row: &DistDef, values: &[ExprId], span: Span) -> R<()> {
        let known = |name: &str| {
            let at = row.params.iter().position(|p| p.name == name)?;
            self.const_value(*values.get(at)?)
        };
        let (Some(lower), Some(upper)) = (known("lower"), known("upper")) else { return Ok(()) };
        // Both ends of a discrete one are included.
        if lower < upper || row.dtype == DType::Int && lower == upper {
            return Ok(());
        }
        Err(self.error(
            Code::E0502,
            format!("`lower` of `{}` must be less than `upper`, found {lower} and {upper}", row.name),
            span,
            "nothing lies between them",
            "exchange the two",
        ))
    }

    /// The row whose parameters include all the names that the call uses.
    fn choose_form(&mut self, name: &str, forms: &[DistId], args: &[ast::Arg], span: Span) -> R<DistId> {
        let named: Vec<&ast::Ident> = args.iter().filter_map(|a| a.name.as_ref()).collect();
        let has = |id: DistId, n: &str| dist::get(id).params.iter().any(|p| p.name == n);
        for n in &named {
            if !forms.iter().any(|&f| has(f, &n.name)) {
                let mut all: Vec<&str> =
                    forms.iter().flat_map(|&f| dist::get(f).arguments().iter().map(|p| p.name)).collect();
                all.dedup();
                return Err(self.unknown_argument(name, n, &all));
            }
        }
        let fitting: Vec<DistId> = forms.iter().copied().filter(|&f| named.iter().all(|n| has(f, &n.name))).collect();
        // Among rows of one family the one that the count of arguments fills; the first row otherwise.
        let full = fitting.iter().copied().find(|&f| dist::get(f).arguments().len() == args.len());
        match full.or(fitting.first().copied()) {
            Some(def) => Ok(def),
            None => {
                let list = named.iter().map(|n| format!("`{}`", n.name)).collect::<Vec<_>>().join(" and ");
                let help = format!("its signature is `{}`", signature(name));
                Err(self.error(
                    Code::E0501,
                    format!("{list} exclude each other"),
                    span,
                    "too many parameterizations",
                    &help,
                ))
            }
        }
    }

    /// One argument: a value, or a hole in a guide.
    fn dist_argument(&mut self, row: &'static DistDef, param: &'static dist::ParamDef, e: &ast::Expr) -> R<ExprId> {
        if let Syntax::Hole(init) = &e.kind
            && let Some(site) = self.guide_site
        {
            return self.hole(site, row, param, init.as_deref(), e.span);
        }
        let value = self.array(e)?;
        let ty = self.program.ty(value).clone();
        if ty.shape.len() < param.event_rank {
            let need = if param.event_rank == 1 { "a vector" } else { "a matrix" };
            let shape = if ty.shape.is_empty() { "a number".to_string() } else { self.program.shape_text(&ty.shape) };
            let message = format!("`{}` of `{}` must be {need}", param.name, row.name);
            let d = Diagnostic::new(Code::E0306, message).label(e.span, format!("this is {shape}")).help(
                match (param.event_rank, ty.shape.len()) {
                    (1, _) => "`fill([K], x)` makes a vector",
                    (_, 1) => "`diag(v)` makes a matrix of a vector",
                    _ => "`eye(K)` makes a matrix",
                },
            );
            return Err(self.report(d));
        }
        if let Some(value) = self.const_value(value) {
            self.check_parameter(row, param, value, e.span)?;
        }
        Ok(value)
    }
    fn check_parameter(&mut self, row: &DistDef, param: &dist::ParamDef, value: f64, span: Span) -> R<()> {
        let fits = match param.support {
            SupportKind::Positive => value > 0.0,
            SupportKind::NonNegative => value >= 0.0,
            SupportKind::UnitInterval => (0.0..=1.0).contains(&value),
            SupportKind::Count => value >= 0.0 && value.fract() == 0.0,
            _ => !value.is_nan(),
        };
        if fits {
            return Ok(());
        }
        let need = param.support.words();
        Err(self.error(
            Code::E0502,
            format!("`{}` of `{}` must be {need}, found {value}", param.name, row.name),
            span,
            &format!("{value} is not {need}"),
            "use a value inside the range; to learn it, give it a prior",
        ))
    }

    /// `Mixture(weights, [D, …])`
    pub(super) fn mixture(&mut self, weights: &ast::Expr, list: &ast::Expr, span: Span) -> R<DistExpr> {
        let help = "write `Mixture(weights, [Normal(0, 1), Normal(0, 5)])`";
        let Syntax::Array(parts) = &list.kind else {
            return Err(self.error(
                Code::E0501,
                "the components must be a list of distributions",
                list.span,
                "not a list",
                help,
            ));
        };
        let weights_id = self.array(weights);
        let components: Vec<R<DistExpr>> = parts.iter().map(|p| self.dist(p)).collect();
        let weights_id = weights_id?;
        let components = components.into_iter().collect::<R<Vec<_>>>()?;
        let shape = self.program.ty(weights_id).shape.clone();
        let k = Size::from(components.len() as i64);
        if shape.last().is_none_or(|last| !self.agree(last, &k)) {
            let have = self.program.shape_text(&shape);
            let d = Diagnostic::new(Code::E0501, format!("{} components need as many weights", components.len()))
                .label(weights.span, format!("these have shape {have}"))
                .label(list.span, format!("{} components", components.len()))
                .help("give one weight for each component");
            return Err(self.report(d));
        }
        if let Some(total) = self.const_sum(weights_id).filter(|t| (t - 1.0).abs() > 1e-6) {
            return Err(self.error(
                Code::E0502,
                format!("the weights sum to {total}, not to 1"),
                weights.span,
                "not a simplex",
                "scale them so that they sum to 1",
            ));
        }
        for c in &components {
            if let Some(name) = c.atoms() {
                let message = format!("a mixture needs densities, `{name}` puts mass on single points");
                let help = format!("mix first: `{name}(…, Mixture(…))`");
                return Err(self.error(Code::E0510, message, c.span(), "partly discrete", &help));
            }
        }
        let support = components[0].support();
        let (rank, discrete) = (components[0].event_rank(), components[0].is_discrete());
        for c in &components[1..] {
            if !c.support().matches(support) || c.is_discrete() != discrete || c.event_rank() != rank {
                let words = |c: &DistExpr| match c.event_rank() {
                    r if r == rank => c.support().words().to_string(),
                    r => format!("{}, an event of {r} dimensions", c.support().words()),
                };
                let first = &components[0];
                let d = Diagnostic::new(Code::E0501, "the components of a mixture must have one support")
                    .label(c.span(), format!("`{}` is {}", c.name(), words(c)))
                    .label(first.span(), format!("`{}` is {}", first.name(), support.words()))
                    .help("use families of one support");
                return Err(self.report(d));
            }
        }
        let result = DistExpr::Mixture { weights: weights_id, components, span };
        self.batch_shape(&result)?;
        Ok(result)
    }
    /// The sum of an array literal of known numbers.
    fn const_sum(&self, e: ExprId) -> Option<f64> {
        match &self.program.exprs[e].kind {
            ExprKind::Call { def, args, .. } if def.name == "stack" => args.iter().map(|&a| self.const_value(a)).sum(),
            _ => None,
        }
    }

    /// The batch shape of a distribution: what its parameters broadcast to without their event dimensions.
    pub(super) fn batch_shape(&mut self, d: &DistExpr) -> R<Vec<Size>> {
        match d {
            DistExpr::Row { def, args, span } => {
                let row = dist::get(*def);
                let mut shape: Vec<Size> = Vec::new();
                let mut previous: Option<ExprId> = None;
                for (param, &arg) in row.params.iter().zip(args) {
                    if matches!(self.program.exprs[arg].kind, ExprKind::Hole(_)) {
                        continue;
                    }
                    let full = self.program.ty(arg).shape.clone();
                    let batch = &full[..full.len().saturating_sub(param.event_rank)];
                    match self.broadcast(&shape, batch) {
                        Some(joined) => shape = joined,
                        None => {
                            let message = format!("the parameters of `{}` do not go together", row.name);
                            let mut d = Diagnostic::new(Code::E0301, message).label(*span, "their shapes differ");
                            if let Some(p) = previous {
                                d = self.blame(d, p);
                            }
                            d = self.blame(d, arg).help("sizes are matched by name from the right: add a dimension with `new` where one is meant");
                            return Err(self.report(d));
                        }
                    }
                    if !full.is_empty() {
                        previous = Some(arg);
                    }
                }
                self.event_sizes(row, args, *span)?;
                Ok(shape)
            }
            DistExpr::Mixture { weights, components, span } => {
                let full = self.program.ty(*weights).shape.clone();
                let mut shape = full[..full.len().saturating_sub(1)].to_vec();
                for c in components {
                    let batch = self.batch_shape(c)?;
                    match self.broadcast(&shape, &batch) {
                        Some(joined) => shape = joined,
                        None => {
                            let d = Diagnostic::new(Code::E0301, "the components of the mixture do not go together")
                                .label(*span, "their shapes differ")
                                .label(c.span(), format!("this has shape {}", self.program.shape_text(&batch)))
                                .help("give all components the same shape");
                            return Err(self.report(d));
                        }
                    }
                }
                Ok(shape)
            }
            DistExpr::Wrapped { wrapper, base, span, .. } => {
                let mut shape = self.batch_shape(base)?;
                if let WrapperExpr::Independent { dims } = wrapper {
                    shape.truncate(shape.len().saturating_sub(*dims));
                }
                for arg in wrapper.args() {
                    let own = self.program.ty(arg).shape.clone();
                    match self.broadcast(&shape, &own) {
                        Some(joined) => shape = joined,
                        None => {
                            let have = self.program.shape_text(&shape);
                            let message = format!("the arguments of `{}` do not go together", wrapper.name());
                            let d = Diagnostic::new(Code::E0301, message)
                                .label(base.span(), format!("this has shape {have}"))
                                .label(*span, "their shapes differ");
                            let d = self.blame(d, arg).help("sizes are matched by name from the right: add a dimension with `new` where one is meant");
                            return Err(self.report(d));
                        }
                    }
                }
                Ok(shape)
            }
            DistExpr::Joined { axis, parts, .. } => {
                let mut shape: Vec<Size> = vec![1.into(); axis + 1];
                let mut entries = Size::default();
                for (n, part) in parts {
                    let mut own = self.batch_shape(part)?;
                    if own.len() > *axis {
                        own[*axis] = 1.into();
                    }
                    shape = self.broadcast(&shape, &own).unwrap_or(shape);
                    entries = entries.add(n).unwrap_or(entries);
                }
                shape[*axis] = entries;
                Ok(shape)
            }
        }
    }
    /// For each name of a dimension the first argument that has it, and where.
    fn dim_sizes(&self, row: &DistDef, args: &[ExprId]) -> HashMap<&'static str, (ExprId, usize)> {
        let mut sizes = HashMap::new();
        for (param, &arg) in row.params.iter().zip(args) {
            let rank = self.program.ty(arg).shape.len();
            if rank < param.event_rank || matches!(self.program.exprs[arg].kind, ExprKind::Hole(_)) {
                continue;
            }
            for (at, &dim) in param.dims.iter().enumerate() {
                sizes.entry(dim).or_insert((arg, rank - param.event_rank + at));
            }
        }
        sizes
    }
    /// Refuses parameters whose own dimensions do not go together, such as a mean of 3 entries with a 2 by 2 covariance.
    fn event_sizes(&mut self, row: &DistDef, args: &[ExprId], span: Span) -> R<()> {
        let sizes = self.dim_sizes(row, args);
        for (param, &arg) in row.params.iter().zip(args) {
            let shape = &self.program.ty(arg).shape;
            if shape.len() < param.event_rank || matches!(self.program.exprs[arg].kind, ExprKind::Hole(_)) {
                continue;
            }
            for (dim, size) in param.dims.iter().zip(&shape[shape.len() - param.event_rank..]) {
                let (first, at) = sizes[dim];
                if self.agree(&self.program.ty(first).shape[at], size) {
                    continue;
                }
                if param.is_shape() {
                    let shape = self.program.shape_text(&shape.clone());
                    let message = format!("a draw of `{}` is square, this is {shape}", row.name);
                    let d = Diagnostic::new(Code::E0503, message).label(span, "a square matrix");
                    return Err(self.report(d.help("declare it with the same size twice: `real[K, K]`")));
                }
                let message = format!("the parameters of `{}` do not go together", row.name);
                let mut d = Diagnostic::new(Code::E0301, message).label(span, "their shapes differ");
                d = self.blame(d, first);
                if first != arg {
                    d = self.blame(d, arg);
                }
                let shape = &self.program.ty(arg).shape;
                let rectangle = param.dims.len() == 2
                    && param.dims[0] == param.dims[1]
                    && !self.agree(&shape[shape.len() - 1], &shape[shape.len() - 2]);
                let help = match rectangle {
                    true => "this must be a square matrix".to_string(),
                    false => format!("`{}` must have the size of the vectors and matrices beside it", param.name),
                };
                return Err(self.report(d.help(help)));
            }
        }
        Ok(())
    }
    /// `d` as the distribution of a value of shape `shape`, for families whose arguments do not tell the shape of a draw:
    /// it is that of the last dimensions of the value.
    pub(super) fn with_event(&mut self, d: DistExpr, shape: &[Size]) -> DistExpr {
        match d {
            DistExpr::Row { def, mut args, span } => {
                let row = dist::get(def);
                let missing = row.params.get(args.len()).is_some_and(|p| p.is_shape());
                if missing && shape.len() >= row.event_rank {
                    let event = shape[shape.len() - row.event_rank..].to_vec();
                    let zeros = crate::builtins::get("zeros").expect("the table has it");
                    let attrs = Attrs { sizes: event.clone(), ints: Vec::new() };
                    let kind = ExprKind::Call { def: zeros, args: Vec::new(), attrs };
                    args.push(self.push(kind, Ty::new(Elem::Real, event), span));
                }
                DistExpr::Row { def, args, span }
            }
            DistExpr::Mixture { weights, components, span } => {
                let components = components.into_iter().map(|c| self.with_event(c, shape)).collect();
                DistExpr::Mixture { weights, components, span }
            }
            DistExpr::Wrapped { wrapper, base, support, span } => {
                let base = Box::new(self.with_event(*base, shape));
                DistExpr::Wrapped { wrapper, base, support, span }
            }
            DistExpr::Joined { axis, parts, span } => {
                let parts = parts.into_iter().map(|(n, d)| (n, self.with_event(d, shape))).collect();
                DistExpr::Joined { axis, parts, span }
            }
        }
    }
    /// The event shape of a distribution, as far as its parameters say it.
    pub(super) fn event_shape(&mut self, d: &DistExpr) -> Option<Vec<Size>> {
        match d {
            DistExpr::Row { def, args, .. } => {
                let row = dist::get(*def);
                if row.event_rank == 0 {
                    return Some(Vec::new());
                }
                let sizes = self.dim_sizes(row, args);
                row.event_dims()
                    .iter()
                    .map(|dim| Some(self.program.ty(sizes.get(dim)?.0).shape[sizes[dim].1].clone()))
                    .collect()
            }
            DistExpr::Mixture { components, .. } => components.first().and_then(|c| self.event_shape(c)),
            DistExpr::Wrapped { wrapper: WrapperExpr::Ordered, .. } => None,
            DistExpr::Wrapped { wrapper: WrapperExpr::Independent { dims }, base, .. } => {
                let batch = self.batch_shape(base).ok()?;
                let event = self.event_shape(base)?;
                Some(batch[batch.len().saturating_sub(*dims)..].iter().cloned().chain(event).collect())
            }
            DistExpr::Wrapped { base, .. } => self.event_shape(base),
            DistExpr::Joined { parts, .. } => self.event_shape(&parts[0].1),
        }
    }
    /// The element type of a distribution's values.
    pub(super) fn dist_elem(&self, d: &DistExpr) -> Elem {
        match d {
            DistExpr::Row { def, .. } => elem_of(dist::get(*def).dtype),
            DistExpr::Mixture { components, .. } => components.first().map_or(Elem::Real, |c| self.dist_elem(c)),
            DistExpr::Wrapped { base, .. } => self.dist_elem(base),
            DistExpr::Joined { parts, .. } => self.dist_elem(&parts[0].1),
        }
    }
    /// The type of a site `~ d` with the declared type, if there is one; checks that they fit.
    pub(super) fn site_type(&mut self, d: &DistExpr, declared: Option<(Ty, Span)>, name: &str) -> R<Ty> {
        let batch = self.batch_shape(d)?;
        let event = self.event_shape(d);
        let elem = self.dist_elem(d);
        let Some((ty, ty_span)) = declared else {
            let Some(event) = event else {
                let help = format!("declare it: `{name}: real[…] ~ {}(…)`", d.name());
                return Err(self.error(
                    Code::E0503,
                    format!("the shape of `{name}` is not known"),
                    d.span(),
                    "this does not say the shape",
                    &help,
                ));
            };
            return Ok(Ty::new(elem, batch.into_iter().chain(event).collect()));
        };
        if elem != ty.elem && !(ty.elem == Elem::Int && elem == Elem::Bool) {
            let (want, have) = (super::functions::elem_word(ty.elem), super::functions::elem_word(elem));
            let diagnostic =
                Diagnostic::new(Code::E0401, format!("`{name}` is declared {want}, but `{}` gives {have}", d.name()))
                    .label(ty_span, format!("declared {want} here"))
                    .label(d.span(), format!("draws are {have}"))
                    .help(format!("declare it `{have}`"));
            return Err(self.report(diagnostic));
        }
        self.fits(d, &batch, event.as_deref(), &ty.shape, ty_span, name)?;
        Ok(ty)
    }
    /// Checks that values of shape `shape` can be draws of `d`: the batch shape fills the dimensions from the right,
    /// further leading ones are independent draws.
    pub(super) fn fits(
        &mut self,
        d: &DistExpr,
        batch: &[Size],
        event: Option<&[Size]>,
        shape: &[Size],
        shape_span: Span,
        name: &str,
    ) -> R<()> {
        let rank = d.event_rank();
        let ok = shape.len() >= rank + batch.len() && {
            let (lead, tail) = shape.split_at(shape.len() - rank);
            event.is_none_or(|event| event.iter().zip(tail).all(|(a, b)| self.agree(a, b)))
                && batch.iter().rev().zip(lead.iter().rev()).all(|(a, b)| self.agree(a, b) || a.is_one())
        };
        if ok {
            return Ok(());
        }
        if let DistExpr::Wrapped { wrapper: WrapperExpr::Ordered, base, .. } = d {
            let (have, own) = (self.program.shape_text(shape), self.program.shape_text(batch));
            let message = format!("`{name}` has shape {have}, `Ordered` adds a dimension to {own}");
            let diagnostic = Diagnostic::new(Code::E0503, message)
                .label(base.span(), format!("one distribution for all draws that are put in order, of shape {own}"))
                .label(shape_span, format!("`{name}` is {have}"))
                .help("draws that are put in order are alike: give the distribution inside one value for all of them");
            return Err(self.report(diagnostic));
        }
        let right: Vec<Size> = batch.iter().chain(event.unwrap_or_default()).cloned().collect();
        let (have, want) = (self.program.shape_text(shape), self.program.shape_text(&right));
        let mut diagnostic =
            Diagnostic::new(Code::E0503, format!("`{name}` has shape {have}, `{}` gives {want}", d.name()))
                .label(d.span(), format!("this has shape {want}"))
                .label(shape_span, format!("`{name}` is {have}"));
        for arg in d.args() {
            if self.program.ty(arg).shape.len() > shape.len()
                || (!self.program.ty(arg).shape.is_empty() && want != have)
            {
                diagnostic = self.blame(diagnostic, arg);
                break;
            }
        }
        let help = if right.len() > shape.len() {
            "the left side must have all dimensions of the right: look for a `new` or a missing reduction"
        } else {
            "the sizes of the right side must be the last sizes of the left, name by name"
        };
        Err(self.report(diagnostic.help(help)))
    }
}

/// The signature of a distribution, all its forms together: `Bernoulli(probs | logits)`.
pub fn signature(name: &str) -> String {
    if let Some(wrapper) = dist::wrappers::get(name) {
        return wrapper.signature.to_string();
    }
    let rows: Vec<Vec<&str>> =
        dist::forms(name).into_iter().map(|id| dist::get(id).arguments().iter().map(|p| p.name).collect()).collect();
    let Some(first) = rows.first() else { return name.to_string() };
    let common = (0..first.len()).take_while(|&at| rows.iter().all(|row| row.get(at) == Some(&first[at]))).count();
    let mut params: Vec<String> = first[..common].iter().map(|p| p.to_string()).collect();
    let rest: Vec<String> = rows
        .iter()
        .map(|row| match &row[common..] {
            [only] => only.to_string(),
            several => format!("({})", several.join(", ")),
        })
        .collect();
    if first.len() > common {
        params.push(rest.join(" | "));
    }
    format!("{name}({})", params.join(", "))
}
