//! Reading the settings of `infer` blocks: those that several algorithms have, and the shapes that values take.

use super::{
    ALGORITHMS, Algorithm, ChainStart, HessianChoice, Infer, Keep, Metric, ModeSettings, NutsSettings,
    PredictiveChoice, Reparam, SviSettings, is_location_scale,
};
use crate::check::checker::{Checker, R};
use crate::diag::{Code, Diagnostic};
use crate::nearest::nearest;
use crate::source::Span;
use crate::syntax::ast::{self, ExprKind as Syntax, UnaryOp};

impl<'p> Checker<'p> {
    /// Checks one infer block.
    pub(in crate::check) fn infer(
        &mut self,
        algorithm: &ast::Ident,
        name: Option<&ast::Ident>,
        settings: &[ast::Setting],
        span: Span,
    ) -> R<()> {
        let Some(kind) = Algorithm::from_name(&algorithm.name) else {
            let mut d = Diagnostic::new(Code::E0707, format!("no algorithm is called `{}`", algorithm.name))
                .label(algorithm.span, "unknown algorithm");
            let other = crate::check::synonyms::algorithm(&algorithm.name);
            d = match other.or_else(|| nearest(&algorithm.name, ALGORITHMS.iter().copied())) {
                Some(near) => d.help(format!("there is `{near}`")).fix(algorithm.span, near),
                None => d.help(format!("the algorithms are `{}`", ALGORITHMS.join("`, `"))),
            };
            return Err(self.report(d));
        };
        let known = kind.settings();
        let mut svi = SviSettings::default();
        let mut nuts = NutsSettings::default();
        let mut mode = ModeSettings::default();
        let mut seen: Vec<(&str, Option<&str>, Span)> = Vec::new();
        let mut failed = false;
        for setting in settings {
            let name = setting.name.name.as_str();
            if !known.contains(&name) {
                let mut d = Diagnostic::new(Code::E0701, format!("`{}` has no setting `{name}`", algorithm.name))
                    .label(setting.name.span, "unknown setting");
                d = match nearest(name, known.iter().copied()) {
                    _ if kind == Algorithm::Nuts && name == "minibatch" => {
                        d.help("every step of nuts looks at all data; minibatches are for `infer svi`")
                    }
                    _ if kind == Algorithm::Map && name == "minibatch" => {
                        d.help("every step of map looks at all data; on minibatches, `infer svi` with `guide delta` finds a point")
                    }
                    _ if matches!(kind, Algorithm::Laplace | Algorithm::Pathfinder) && name == "minibatch" => {
                        d.help(format!("every step of {} looks at all data; minibatches are for `infer svi`", kind.name()))
                    }
                    _ if kind == Algorithm::Pathfinder && matches!(name, "paths" | "num_paths") => {
                        d.help("there is `restarts`: a path from each starting point").fix(setting.name.span, "restarts")
                    }
                    _ if kind == Algorithm::Map && matches!(name, "hessian" | "reparam") => d.help(
                        "map is a point, with the same density in all coordinates; `infer laplace` has that setting",
                    ),
                    Some(near) => d.help(format!("there is `{near}`")).fix(setting.name.span, near),
                    None => d.help(format!("its settings are `{}`", known.join("`, `"))),
                };
                self.report(d);
                failed = true;
                continue;
            }
            // There is one rate for each name.
            let subject = setting.subject.as_ref().filter(|_| name == "rate").map(|s| s.name.as_str());
            let same = |n: &str, s: Option<&str>| n == name && s == subject;
            if let Some((.., before)) = seen.iter().find(|(n, s, _)| same(n, *s)) {
                let name = subject.map_or(name.to_string(), |s| format!("{name} {s}"));
                let d = Diagnostic::new(Code::E0204, format!("`{name}` is set twice"))
                    .label(setting.span, "set again here")
                    .label(*before, "first set here")
                    .help("remove one of them");
                self.report(d);
                failed = true;
                continue;
            }
            seen.push((name, subject, setting.span));
            let read = match kind {
                Algorithm::Svi => self.svi_setting(&mut svi, setting),
                Algorithm::Nuts => self.nuts_setting(&mut nuts, setting),
                Algorithm::Map | Algorithm::Laplace | Algorithm::Pathfinder => {
                    self.mode_setting(&mut mode, kind, setting)
                }
                Algorithm::Later(_) => Ok(()),
            };
            failed |= read.is_err();
        }
        let at = |n: &str| seen.iter().find(|(name, ..)| *name == n).map(|(.., s)| *s);
        if let (Some(steps), Some(epochs)) = (at("steps"), at("epochs")) {
            let d = Diagnostic::new(Code::E0703, "`steps` and `epochs` both say how long to run")
                .label(epochs, "epochs here")
                .label(steps, "steps here")
                .help("keep one of them");
            self.report(d);
            failed = true;
        }
        if failed {
            return Err(crate::check::checker::Reported);
        }
        svi.places = seen.iter().map(|(name, _, span)| (name.to_string(), *span)).collect();
        if kind == Algorithm::Svi {
            self.svi_combined(&svi)?;
        }
        let own = name.map_or_else(|| algorithm.name.clone(), |n| n.name.clone());
        self.program.infers.push(Infer {
            name: own,
            algorithm: kind,
            svi,
            nuts,
            mode,
            written: true,
            span: Some(span),
        });
        Ok(())
    }

    /// Settings of the command line for a block that the file does not have: of the algorithm called `wanted`, else of
    /// every default algorithm that has them all.
    pub(in crate::check) fn unwritten_infer(&mut self, wanted: Option<&str>, settings: &[ast::Setting]) {
        let asked = wanted.and_then(Algorithm::from_name);
        if wanted.is_some() && asked.is_none() {
            // The run says that there is no such block.
            return;
        }
        let has_all = |a: &Algorithm| settings.iter().all(|s| a.settings().contains(&s.name.name.as_str()));
        let mut algorithms: Vec<Algorithm> = match asked {
            Some(a) => vec![a],
            None => [Algorithm::Nuts, Algorithm::Svi].into_iter().filter(has_all).collect(),
        };
        if algorithms.is_empty() {
            // Refused, with the settings that it has.
            algorithms.push(Algorithm::Svi);
        }
        for algorithm in algorithms {
            let span = settings[0].span;
            let ident = ast::Ident { name: algorithm.name().into(), span };
            if self.infer(&ident, None, settings, span).is_err() {
                return;
            }
            if let Some(made) = self.program.infers.last_mut() {
                made.written = false;
            }
        }
    }

    fn nuts_setting(&mut self, nuts: &mut NutsSettings, setting: &ast::Setting) -> R<()> {
        match setting.name.name.as_str() {
            "chains" => nuts.chains = self.count(setting, 1)?,
            "warmup" => nuts.warmup = self.count(setting, 0)?,
            "draws" => nuts.draws = self.count(setting, 4)?,
            "seed" => nuts.seed = self.count(setting, 0)? as u64,
            "max_depth" => nuts.max_depth = self.in_range(setting, 1.0, 20.0, true)? as usize,
            "target_accept" => nuts.target_accept = self.in_range(setting, 0.0, 1.0, false)?,
            "reparam" => nuts.reparam = self.reparam(setting)?,
            "start" => {
                nuts.start = match self.choice(setting, &["uniform", "pathfinder"])? {
                    0 => ChainStart::Uniform,
                    _ => ChainStart::Pathfinder,
                };
            }
            "metric" => {
                nuts.metric = match self.choice(setting, &["auto", "diagonal", "low_rank"])? {
                    0 => Metric::Auto,
                    1 => Metric::Diagonal,
                    _ => Metric::LowRank,
                };
            }
            "precision" => self.only(setting, &["auto", "f64"], &["f32"])?,
            other => unreachable!("`{other}` is not in the list of settings"),
        }
        Ok(())
    }
    fn mode_setting(&mut self, mode: &mut ModeSettings, kind: Algorithm, setting: &ast::Setting) -> R<()> {
        match setting.name.name.as_str() {
            "steps" => mode.steps = self.count(setting, 1)?,
            "tolerance" => mode.tolerance = self.positive(setting, &setting.value)?,
            "restarts" => mode.restarts = self.count(setting, 1)?,
            "keep" => mode.keep = self.kept_fits(setting)?,
            "draws" => mode.draws = Some(self.count(setting, if kind == Algorithm::Map { 1 } else { 2 })?),
            "hessian" => {
                mode.hessian = match self.choice(setting, &["auto", "full", "diag", "last_layer", "kron"])? {
                    0 => HessianChoice::Auto,
                    1 => HessianChoice::Full,
                    2 => HessianChoice::Diagonal,
                    3 => HessianChoice::LastLayer,
                    _ => HessianChoice::Kron,
                };
            }
            "predictive" => {
                mode.predictive = match self.choice(setting, &["auto", "draws", "linearized"])? {
                    0 => PredictiveChoice::Auto,
                    1 => PredictiveChoice::Draws,
                    _ => PredictiveChoice::Linearized,
                };
            }
            "seed" => mode.seed = self.count(setting, 0)? as u64,
            "reparam" => mode.reparam = self.reparam(setting)?,
            "precision" => self.only(setting, &["auto", "f64"], &["f32"])?,
            other => unreachable!("`{other}` is not in the list of settings"),
        }
        Ok(())
    }
    pub(super) fn kept_fits(&mut self, setting: &ast::Setting) -> R<Keep> {
        Ok(if self.choice(setting, &["best", "all"])? == 0 { Keep::Best } else { Keep::All })
    }
    /// A number between two ends, which count only for whole numbers.
    pub(super) fn in_range(&mut self, setting: &ast::Setting, low: f64, high: f64, whole: bool) -> R<f64> {
        let name = &setting.name.name;
        match self.number(&setting.value) {
            Some(x) if whole && x.fract() == 0.0 && (low..=high).contains(&x) => Ok(x),
            Some(x) if !whole && x > low && x < high => Ok(x),
            _ => {
                let kind = if whole { "a whole number" } else { "a number" };
                let example = if whole { high / 2.0 } else { 0.8 };
                Err(self.error(
                    Code::E0702,
                    format!("`{name}` must be {kind} between {low} and {high}"),
                    setting.value.span,
                    "not such a number",
                    &format!("write for example `{name} = {example}`"),
                ))
            }
        }
    }
    /// `auto`, `centered`, `noncentered`, `noncentered(a, b)`
    pub(super) fn reparam(&mut self, setting: &ast::Setting) -> R<Reparam> {
        let value = setting.value.clone();
        let Some(("noncentered", args @ [_, ..])) = self.word(&value) else {
            return Ok(match self.choice(setting, &["auto", "centered", "noncentered"])? {
                0 => Reparam::Auto,
                1 => Reparam::Centered,
                _ => Reparam::Noncentered,
            });
        };
        if !self.complete {
            // The sites of a model with mistakes are not known.
            return Ok(Reparam::Auto);
        }
        let mut sites = Vec::new();
        for arg in args {
            let span = arg.value.span;
            let name = crate::check::expr::dotted(&arg.value).unwrap_or_default();
            let Some((id, site)) = self.model.sites.iter_enumerated().find(|(_, s)| s.name == name) else {
                let names: Vec<String> = self.model.sites.iter().map(|s| s.name.clone()).collect();
                let mut d = Diagnostic::new(Code::E0702, "`noncentered` takes names of latent sites".to_string())
                    .label(span, "not a site of the model");
                d = match nearest(&name, names.iter().map(String::as_str)) {
                    Some(near) => d.help(format!("there is a site `{near}`")).fix(span, near.to_string()),
                    None => d.help(format!("the sites are `{}`", names.join("`, `"))),
                };
                return Err(self.report(d));
            };
            if !is_location_scale(&site.dist) || site.absorbed {
                let d = Diagnostic::new(Code::E0702, format!("`{name}` cannot be written with a standard variable"))
                    .label(span, "not a location-scale site")
                    .label(site.dist.span(), format!("`{}` is not a location and a scale", site.dist.name()))
                    .help("leave it out; normal, Student-t, Cauchy, Laplace and log-normal priors can be");
                return Err(self.report(d));
            }
            if site.dist.args().into_iter().any(|a| self.program.parents(a).contains(&id)) {
                let d = Diagnostic::new(Code::E0702, format!("`{name}` cannot be written with a standard variable"))
                    .label(span, "its elements depend on each other")
                    .label(site.dist.span(), "the prior of an element depends on another element")
                    .help("leave it out, or give the steps between elements a prior of their own");
                return Err(self.report(d));
            }
            sites.push(id);
        }
        Ok(Reparam::Sites(sites))
    }

    pub(super) fn number(&self, e: &ast::Expr) -> Option<f64> {
        match &e.kind {
            Syntax::Int(n) => Some(*n as f64),
            Syntax::Real(x) => Some(*x),
            Syntax::Paren(inner) => self.number(inner),
            Syntax::Unary(UnaryOp::Neg, inner) => self.number(inner).map(|x| -x),
            Syntax::Binary(op, a, b) => {
                let (a, b) = (self.number(a)?, self.number(b)?);
                Some(match op {
                    ast::BinaryOp::Add => a + b,
                    ast::BinaryOp::Sub => a - b,
                    ast::BinaryOp::Mul => a * b,
                    ast::BinaryOp::Div => a / b,
                    ast::BinaryOp::Pow => a.powf(b),
                    _ => return None,
                })
            }
            _ => None,
        }
    }
    pub(super) fn count(&mut self, setting: &ast::Setting, least: usize) -> R<usize> {
        let name = &setting.name.name;
        match self.number(&setting.value) {
            Some(x) if x.fract() == 0.0 && x >= least as f64 && x <= 1e15 => Ok(x as usize),
            _ => Err(self.error(
                Code::E0702,
                format!("`{name}` must be a whole number of at least {least}"),
                setting.value.span,
                "not such a number",
                &match name.as_str() {
                    "minibatch" => "write for example `minibatch N = 64`".to_string(),
                    "steps" | "draws" => format!("write for example `{name} = 1000`"),
                    _ => format!("write for example `{name} = {}`", least.max(10)),
                },
            )),
        }
    }
    pub(super) fn positive(&mut self, setting: &ast::Setting, value: &ast::Expr) -> R<f64> {
        match self.number(value) {
            Some(x) if x > 0.0 && x.is_finite() => Ok(x),
            _ => {
                let message = format!("`{}` must be a positive number", setting.name.name);
                Err(self.error(Code::E0702, message, value.span, "not positive", "write for example `1e-3`"))
            }
        }
    }
    pub(super) fn word<'e>(&self, e: &'e ast::Expr) -> Option<(&'e str, &'e [ast::Arg])> {
        match &e.kind {
            Syntax::Name(n) => Some((n, &[])),
            Syntax::Call { callee, args } => match &callee.kind {
                Syntax::Name(n) => Some((n, args)),
                _ => None,
            },
            _ => None,
        }
    }
    pub(super) fn choice(&mut self, setting: &ast::Setting, words: &[&str]) -> R<usize> {
        let word = self.word(&setting.value).filter(|(_, args)| args.is_empty()).map(|(w, _)| w);
        if let Some(at) = word.and_then(|w| words.iter().position(|x| *x == w)) {
            return Ok(at);
        }
        let message = format!("`{}` must be one of `{}`", setting.name.name, words.join("`, `"));
        Err(self.error(
            Code::E0702,
            message,
            setting.value.span,
            "not one of them",
            &format!("write `{} = {}`", setting.name.name, words[0]),
        ))
    }
    /// Accepts the words `now`, refuses the words `later` as not built yet and everything else as unknown.
    pub(super) fn only(&mut self, setting: &ast::Setting, now: &[&str], later: &[&str]) -> R<()> {
        let name = setting.name.name.clone();
        match self.word(&setting.value) {
            Some((w, [])) if now.contains(&w) => Ok(()),
            Some((w, _)) if later.contains(&w) => {
                let message = format!("`{name} = {w}` is not supported yet");
                Err(self.error(
                    Code::E0404,
                    message,
                    setting.value.span,
                    "this choice",
                    &format!("write `{name} = {}`", now[0]),
                ))
            }
            _ => {
                let all: Vec<&str> = now.iter().chain(later).copied().collect();
                let message = format!("`{name}` must be one of `{}`", all.join("`, `"));
                Err(self.error(
                    Code::E0702,
                    message,
                    setting.value.span,
                    "not one of them",
                    &format!("write `{name} = {}`", now[0]),
                ))
            }
        }
    }

    /// Numbers of a call such as `adam(1e-3, beta1 = 0.9)`, by parameter; `None` where not given.
    pub(super) fn numbers(&mut self, name: &str, args: &[ast::Arg], params: &[&str]) -> R<Vec<Option<f64>>> {
        let mut values = vec![None; params.len()];
        for (position, arg) in args.iter().enumerate() {
            let at = match &arg.name {
                None if position < params.len() => position,
                None => {
                    let message = format!("`{name}` takes at most {} arguments", params.len());
                    return Err(self.error(
                        Code::E0210,
                        message,
                        arg.value.span,
                        "one too many",
                        &format!("it takes `{}`", params.join("`, `")),
                    ));
                }
                Some(n) => match params.iter().position(|p| *p == n.name) {
                    Some(at) => at,
                    None => return Err(self.unknown_argument(name, n, params)),
                },
            };
            let Some(x) = self.number(&arg.value) else {
                return Err(self.error(
                    Code::E0702,
                    format!("`{}` of `{name}` must be a number", params[at]),
                    arg.value.span,
                    "not a number",
                    "write for example `1e-3`",
                ));
            };
            values[at] = Some(x);
        }
        Ok(values)
    }
}
