//! Guides: which family stands for which site, and holes. The words of families are read by `families.rs`.

use super::checker::{Checker, Context, R, Scope};
use super::families::{self, FAMILIES};
use super::size::Size;
use super::typed::*;
use crate::diag::{Code, Diagnostic};
use crate::dist::{DistDef, ParamDef, SupportKind};
use crate::index::Idx;
use crate::nearest::nearest;
use crate::source::Span;
use crate::syntax::ast::{self, Elem, ExprKind as Syntax, GuideBody, StmtKind, Target};
use std::collections::HashMap;

/// Evaluations of the model in one step at most, over all mixtures of a guide.
const MOST_EVALUATIONS: usize = 64;

/// One automatic family over all sites of `model`, as `guide mean_field` says.
pub fn automatic(model: &Model, family: Family, name: &str, span: Option<Span>) -> Guide {
    let sites: Vec<SiteId> = model.sites.indices().collect();
    let at = span.unwrap_or_else(|| {
        model.sites.iter().next().map_or(Span::new(crate::source::FileId::new(0), 0, 0), |s| s.span)
    });
    let steps = if sites.is_empty() { Vec::new() } else { vec![GuideStep::Family { family, sites, span: at }] };
    Guide { name: name.to_string(), steps, span }
}

impl<'p> Checker<'p> {
    /// The family that an expression names, if it names one: `mean_field`, `low_rank(8)`.
    fn family_of(&mut self, e: &ast::Expr) -> R<Option<Family>> {
        families::read(e).map_err(|slip| self.report(slip.diagnostic(true)))
    }
    /// What families ask of the guide and the model that they stand in.
    fn check_families(&mut self, steps: &[GuideStep]) -> R<()> {
        let mut evaluations = 1;
        let mut failed = false;
        for step in steps {
            let GuideStep::Family { family, sites, span } = step else { continue };
            let wrong = match family {
                Family::Laplace if sites.len() < self.model.sites.len() => Some(
                    Diagnostic::new(Code::E0404, "`laplace` for a part of the sites is not supported yet")
                        .label(*span, "the curvature is that of the whole density")
                        .help("give it to the whole model, `guide laplace`, or use `full_rank` here"),
                ),
                Family::Mixture { components, .. } => {
                    evaluations *= components;
                    (evaluations > MOST_EVALUATIONS).then(|| {
                        Diagnostic::new(Code::E0605, format!("these mixtures take {evaluations} evaluations in a step"))
                            .label(*span, "every component of one meets every component of the others")
                            .help(format!(
                                "join their sites in one `mixture`, or use fewer components: {MOST_EVALUATIONS} at most"
                            ))
                    })
                }
                Family::Dropout(_)
                    if !sites.iter().any(|&s| super::weights::input_axis(&self.program, &self.model, s).is_some()) =>
                {
                    Some(
                        Diagnostic::new(Code::E0605, "`dropout` has no weight of a layer to work on")
                            .label(*span, "none of its sites is the weight of a dense layer or a convolution")
                            .help("use `mean_field`, or `delta` for point masses"),
                    )
                }
                _ => None,
            };
            if let Some(d) = wrong {
                self.report(d);
                failed = true;
            }
        }
        if failed { Err(super::checker::Reported) } else { Ok(()) }
    }

    /// Checks one guide against the model.
    pub(super) fn guide(&mut self, guide: &'p ast::Guide, span: Span) -> R<()> {
        match &guide.body {
            GuideBody::Family(e) => {
                let Some(family) = self.family_of(e)? else {
                    return Err(self.unknown_family(e));
                };
                let name = super::expr::dotted(e).unwrap_or_else(|| crate::syntax::print::print_expr(e));
                let built = automatic(&self.model, family, &name, Some(e.span));
                self.check_families(&built.steps)?;
                self.program.guides.push(built);
                Ok(())
            }
            GuideBody::Block(block) => {
                let name = guide.name.as_ref().map_or_else(|| "guide".to_string(), |n| n.name.clone());
                let scope = Scope { module: self.modules.root(), frames: vec![HashMap::new()] };
                let scope = std::mem::replace(&mut self.scope, scope);
                let outer = std::mem::replace(&mut self.context, Context::Guide);
                // A guide sees the sites that it has drawn so far.
                let all = std::mem::take(&mut self.site_values);
                // Parameters of the guide bear its name, so that those of several guides are told apart.
                self.layer_path = vec![name.clone()];
                let counts = std::mem::take(&mut self.layer_counts);
                let result = self.guide_block(block, &all);
                self.layer_counts = counts;
                self.layer_path.clear();
                self.site_values = all;
                self.context = outer;
                self.scope = scope;
                let steps = result?;
                self.check_coverage(&steps, &name, guide.name.as_ref().map_or(span, |n| n.span))?;
                self.check_families(&steps)?;
                self.program.guides.push(Guide { name, steps, span: Some(span) });
                Ok(())
            }
        }
    }
    fn unknown_family(&mut self, e: &ast::Expr) -> super::checker::Reported {
        let name = match &e.kind {
            Syntax::Call { callee, .. } => super::expr::dotted(callee),
            _ => super::expr::dotted(e),
        }
        .unwrap_or_default();
        let mut d = Diagnostic::new(Code::E0605, format!("no family of guides is called `{name}`"))
            .label(e.span, "unknown family");
        d = match nearest(&name, FAMILIES.iter().chain(families::LATER).copied()) {
            Some(near) => d.help(format!("there is `{near}`")).fix(e.span, near),
            None => {
                let names = FAMILIES.join("`, `");
                d.help(format!("the families are `{names}`; `guide {{ … }}` gives one for each site"))
            }
        };
        self.report(d)
    }

    fn guide_block(&mut self, block: &'p ast::Block, all: &HashMap<String, SiteId>) -> R<Vec<GuideStep>> {
        let mut steps: Vec<GuideStep> = Vec::new();
        let mut failed = false;
        for stmt in &block.stmts {
            if self.guide_stmt(stmt, all, &mut steps).is_err() {
                failed = true;
            }
        }
        if failed { Err(super::checker::Reported) } else { Ok(steps) }
    }
    fn guide_stmt(&mut self, stmt: &'p ast::Stmt, all: &HashMap<String, SiteId>, steps: &mut Vec<GuideStep>) -> R<()> {
        match &stmt.kind {
            StmtKind::Let { target, value, keep: false } => self.let_stmt(target, value, false, None),
            StmtKind::Param { name, ty, init } => self.param(name, ty.as_ref(), init.as_ref(), stmt.span),
            StmtKind::Sample { target, ty, dist, .. } => {
                if let Some(ty) = ty {
                    return Err(self.error(
                        Code::E0405,
                        "a guide does not declare types",
                        ty.span,
                        "the site has its type in the model",
                        "leave it out",
                    ));
                }
                let sites = self.guide_targets(target, all, steps)?;
                if let Some(family) = self.family_of(dist)? {
                    for &site in &sites {
                        self.site_values.insert(self.model.sites[site].name.clone(), site);
                    }
                    if !sites.is_empty() {
                        steps.push(GuideStep::Family { family, sites, span: dist.span });
                    }
                    return Ok(());
                }
                let [site] = sites[..] else {
                    if let Syntax::Name(_) = dist.kind {
                        return Err(self.unknown_family(dist));
                    }
                    return Err(self.error(
                        Code::E0605,
                        "several sites need an automatic family",
                        dist.span,
                        "a distribution stands for one site",
                        "write one statement for each site, or `(a, b) ~ full_rank`",
                    ));
                };
                let step = self.explicit(site, dist, stmt.span)?;
                self.site_values.insert(self.model.sites[site].name.clone(), site);
                steps.push(step);
                Ok(())
            }
            StmtKind::If { cond, then, otherwise } => {
                let c = self.scalar(cond)?;
                let Some(value) = self.const_value(c) else {
                    return Err(self.error(
                        Code::E0402,
                        "the condition of `if` must be known at compile time",
                        cond.span,
                        "this depends on values",
                        "choose by values with `where(c, a, b)`",
                    ));
                };
                let branch = if value != 0.0 { Some(then) } else { otherwise.as_ref() };
                for stmt in branch.iter().flat_map(|b| &b.stmts) {
                    self.guide_stmt(stmt, all, steps)?;
                }
                Ok(())
            }
            _ => Err(self.error(
                Code::E0405,
                "this statement cannot stand in a guide",
                stmt.span,
                "a guide draws sites and binds values",
                "move it into the `model`",
            )),
        }
    }

    /// The sites that the left side of `~` names.
    fn guide_targets(&mut self, target: &Target, all: &HashMap<String, SiteId>, steps: &[GuideStep]) -> R<Vec<SiteId>> {
        match target {
            Target::Path(path) => self.guide_path(path, all),
            Target::Tuple(paths, _) => {
                let mut sites = Vec::new();
                for path in paths {
                    sites.extend(self.guide_path(path, all)?);
                }
                sites.sort();
                Ok(sites)
            }
            Target::Rest(_) => {
                let covered: Vec<SiteId> = steps.iter().flat_map(|s| s.sites().to_vec()).collect();
                Ok(self.model.sites.indices().filter(|s| !covered.contains(s)).collect())
            }
            Target::Element(path, _) => {
                let message = "a guide covers whole sites";
                Err(self.error(Code::E0603, message, path.span, "an element of a site", "leave the index out"))
            }
        }
    }
    fn guide_path(&mut self, path: &ast::Path, all: &HashMap<String, SiteId>) -> R<Vec<SiteId>> {
        let name = path.dotted();
        if let Some(&site) = all.get(&name) {
            return Ok(vec![site]);
        }
        let prefix = format!("{name}.");
        let mut inside: Vec<SiteId> = all.iter().filter(|(n, _)| n.starts_with(&prefix)).map(|(_, &s)| s).collect();
        if !inside.is_empty() {
            inside.sort();
            return Ok(inside);
        }
        if let Some(latent) = self.model.discrete.iter().find(|l| l.name == name) {
            let d = Diagnostic::new(Code::E0603, format!("`{name}` is discrete and summed out: it has no guide"))
                .label(path.span, "not a site")
                .label(latent.span, "summed out of the model exactly")
                .help("remove this line; `generate` draws it back by its name");
            return Err(self.report(d));
        }
        let mut d = Diagnostic::new(Code::E0603, format!("`{name}` is not a latent site of the model"))
            .label(path.span, "not a site");
        let kept = self.model.kept.iter().any(|k| k.name == name);
        d = match nearest(&name, all.keys().map(String::as_str)) {
            Some(near) => d.help(format!("there is a site `{near}`")).fix(path.span, near.to_string()),
            None if self.program.data_named(&name).is_some() => d.help("data have no guide: remove this line"),
            None if kept => d.help("a deterministic value follows from the sites: remove this line"),
            None => {
                let mut names: Vec<&str> = all.keys().map(String::as_str).collect();
                names.sort_unstable();
                d.help(format!("the sites are `{}`", names.join("`, `")))
            }
        };
        Err(self.report(d))
    }

    /// `site ~ D(…)` in a guide.
    fn explicit(&mut self, site: SiteId, e: &'p ast::Expr, span: Span) -> R<GuideStep> {
        self.guide_site = Some(site);
        let before = self.program.holes.len();
        let d = self.dist(e);
        self.guide_site = None;
        let d = d?;
        // The components of a mixture have parameters of one name: they are counted.
        let mut counts: HashMap<String, usize> = HashMap::new();
        for hole in self.program.holes.iter_mut().skip(before) {
            let count = counts.entry(hole.name.clone()).or_default();
            *count += 1;
            if *count > 1 {
                hole.name = format!("{}_{count}", hole.name);
            }
        }
        let s = self.model.sites[site].clone();
        let prior = s.dist.support();
        if !self.same_support(&s.dist, &d) {
            let (want, have) = (self.support_text(&s.dist), self.support_text(&d));
            let message = format!("`{}` is {want}, a draw of `{}` is {have}", s.name, d.name());
            let diagnostic = Diagnostic::new(Code::E0604, message)
                .label(d.span(), format!("this is {have}"))
                .label(s.dist.span(), format!("the prior `{}` is {want}", s.dist.name()))
                .help(match prior {
                    SupportKind::Positive | SupportKind::NonNegative => {
                        "use `LogNormal(?, ?)`, or `mean_field`, which works in unconstrained space"
                    }
                    SupportKind::Real => "use `Normal(?, ?)` or `Laplace(?, ?)`",
                    SupportKind::UnitInterval => {
                        "use `Beta(?, ?)`, or `mean_field`, which works in unconstrained space"
                    }
                    SupportKind::Simplex => "use `Dirichlet(?)`, or `mean_field`, which works in unconstrained space",
                    _ => "use `mean_field`, which works in unconstrained space",
                });
            return Err(self.report(diagnostic));
        }
        if !d.has_density() {
            let diagnostic = Diagnostic::new(
                Code::E0404,
                format!("a `{}` guide is not supported yet: it has no density to compare with the prior's", d.name()),
            )
            .label(d.span(), "improper, or single values have probabilities")
            .help("use `mean_field`, or a location-scale family");
            return Err(self.report(diagnostic));
        }
        let d = self.with_event(d, &s.ty.shape);
        let batch = self.batch_shape(&d)?;
        let event = self.event_shape(&d);
        self.fits(&d, &batch, event.as_deref(), &s.ty.shape, s.span, &s.name)?;
        Ok(GuideStep::Explicit { site, dist: d, span })
    }

    /// A hole as argument `param` of the distribution for `site`.
    pub(super) fn hole(
        &mut self,
        site: SiteId,
        row: &'static DistDef,
        param: &'static ParamDef,
        init: Option<&ast::Expr>,
        span: Span,
    ) -> R<ExprId> {
        let s = self.model.sites[site].clone();
        let constraint = match param.support {
            SupportKind::Real => Constraint::Real,
            SupportKind::Positive | SupportKind::NonNegative => Constraint::Positive,
            SupportKind::UnitInterval => Constraint::UnitInterval,
            SupportKind::Simplex => Constraint::Simplex,
            SupportKind::LowerCholesky => Constraint::LowerCholesky,
            _ => {
                let message = format!("`{}` of `{}` cannot be a hole", param.name, row.name);
                return Err(self.error(Code::E0606, message, span, "this hole", "give it a value"));
            }
        };
        if s.ty.shape.len() < row.event_rank {
            let message = format!("`{}` is a number, `{}` gives arrays", s.name, row.name);
            return Err(self.error(Code::E0503, message, span, "this family", "use a univariate family"));
        }
        let split = s.ty.shape.len() - row.event_rank;
        let (batch, event) = s.ty.shape.split_at(split);
        let mut shape: Vec<Size> = batch.to_vec();
        for dim in param.dims {
            match row.event_dims().iter().position(|d| d == dim) {
                Some(at) => shape.push(event[at].clone()),
                None => {
                    let message = format!("the shape of `{}` of `{}` is not known", param.name, row.name);
                    return Err(self.error(Code::E0606, message, span, "this hole", "give it a value"));
                }
            }
        }
        let init = match init {
            Some(e) => {
                let value = self.array(e)?;
                let have = self.program.ty(value).shape.clone();
                if self.broadcast(&shape, &have).is_none_or(|b| b.len() != shape.len()) {
                    let (want, have) = (self.program.shape_text(&shape), self.program.shape_text(&have));
                    let message = format!("the initial value has shape {have}, the hole is {want}");
                    return Err(self.error(Code::E0307, message, e.span, "shapes differ", "give a number"));
                }
                if let Some(v) = self.const_value(value)
                    && !constraint.contains(v)
                {
                    let need = param.support.words();
                    let message = format!("`{}` of `{}` must be {need}, found {v}", param.name, row.name);
                    return Err(self.error(
                        Code::E0502,
                        message,
                        e.span,
                        "this initial value",
                        "start inside the range",
                    ));
                }
                Some(value)
            }
            None => None,
        };
        let name = format!("{}.{}", s.name, param.name);
        let ty = Ty::new(Elem::Real, shape);
        let id =
            self.program.holes.push(Hole { name, site, param: param.name, ty: ty.clone(), constraint, init, span });
        Ok(self.push(ExprKind::Hole(id), ty, span))
    }

    /// Every latent site exactly once.
    fn check_coverage(&mut self, steps: &[GuideStep], name: &str, span: Span) -> R<()> {
        let mut first: HashMap<SiteId, Span> = HashMap::new();
        let mut failed = false;
        for step in steps {
            for &site in step.sites() {
                if let Some(&before) = first.get(&site) {
                    let s = self.model.sites[site].name.clone();
                    let d = Diagnostic::new(Code::E0602, format!("the guide covers `{s}` twice"))
                        .label(step.span(), "covered again here")
                        .label(before, "first covered here")
                        .help("remove one of them");
                    self.report(d);
                    failed = true;
                }
                first.entry(site).or_insert(step.span());
            }
        }
        let missing: Vec<SiteId> = self.model.sites.indices().filter(|s| !first.contains_key(s)).collect();
        if !missing.is_empty() {
            let names =
                missing.iter().map(|&s| format!("`{}`", self.model.sites[s].name)).collect::<Vec<_>>().join(", ");
            let which = if name == "guide" { "the guide".to_string() } else { format!("the guide `{name}`") };
            let mut d = Diagnostic::new(Code::E0601, format!("{which} leaves out {names}")).label(span, "this guide");
            for &s in missing.iter().take(3) {
                d = d.label(self.model.sites[s].span, "this site has no guide");
            }
            self.report(d.help("add a line for each, or `_ ~ mean_field` for all that are left"));
            failed = true;
        }
        if failed { Err(super::checker::Reported) } else { Ok(()) }
    }
}

impl Guide {
    /// Whether a part of it is `dropout`, whose points have no density.
    pub fn drops_inputs(&self) -> bool {
        self.steps.iter().any(|s| matches!(s, GuideStep::Family { family: Family::Dropout(_), .. }))
    }
}

impl GuideStep {
    /// The sites that it covers.
    pub fn sites(&self) -> &[SiteId] {
        match self {
            GuideStep::Family { sites, .. } => sites,
            GuideStep::Explicit { site, .. } => std::slice::from_ref(site),
        }
    }
    /// Where it was written.
    pub fn span(&self) -> Span {
        match self {
            GuideStep::Family { span, .. } | GuideStep::Explicit { span, .. } => *span,
        }
    }
}
