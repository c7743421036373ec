//! Settings of `infer` blocks: which ones an algorithm has, what values they take.

mod svi;

use super::checker::{Checker, R};
use super::size::SizeId;
use super::typed::{DistExpr, ParamId, SiteId};
use crate::diag::{Code, Diagnostic};
use crate::dist::DistId;
use crate::infer::objective::Objective;
use crate::infer::optim::Rule;
use crate::infer::plateau::Plateau;
use crate::infer::schedule::Schedule;
use crate::kernels::conv::Method;
use crate::nearest::nearest;
use crate::source::Span;
use crate::syntax::ast::{self, ExprKind as Syntax, UnaryOp};

/// An inference algorithm of the language.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// Stochastic variational inference.
    Svi,
    /// Hamiltonian Monte Carlo with the No-U-Turn rule.
    Nuts,
    /// The maximum of the posterior density.
    Map,
    /// A normal at the mode in unconstrained space.
    Laplace,
    /// The best normal on the way to the mode.
    Pathfinder,
    /// One that the language describes and that is not built yet: refused when a run asks for it.
    Later(&'static str),
}

impl Algorithm {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Svi => "svi",
            Algorithm::Nuts => "nuts",
            Algorithm::Map => "map",
            Algorithm::Laplace => "laplace",
            Algorithm::Pathfinder => "pathfinder",
            Algorithm::Later(name) => name,
        }
    }
    /// The algorithm called `name`.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        const LATER: &[&str] = &["smc", "sgld"];
        match name {
            "svi" => Some(Algorithm::Svi),
            "nuts" => Some(Algorithm::Nuts),
            "map" => Some(Algorithm::Map),
            "laplace" => Some(Algorithm::Laplace),
            "pathfinder" => Some(Algorithm::Pathfinder),
            _ => LATER.iter().find(|l| **l == name).map(|l| Algorithm::Later(l)),
        }
    }
    /// The names of its settings, in the order of the reference.
    pub fn settings(self) -> &'static [&'static str] {
        match self {
            Algorithm::Svi => SVI,
            Algorithm::Nuts => NUTS,
            Algorithm::Map => MAP,
            Algorithm::Laplace => LAPLACE,
            Algorithm::Pathfinder => PATHFINDER,
            Algorithm::Later(_) => OTHERS,
        }
    }
}

/// Every algorithm's name.
pub const ALGORITHMS: &[&str] = &["svi", "nuts", "map", "laplace", "pathfinder", "smc", "sgld"];

/// How long svi runs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Length {
    /// Steps of the optimizer.
    Steps(usize),
    /// Passes over the data.
    Epochs(usize),
}

/// Rows that a step looks at.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Minibatch {
    /// The subsampled size.
    pub size: SizeId,
    /// The number of rows of a step.
    pub rows: usize,
    /// Where it was written.
    pub span: Span,
}

/// Number type of the tape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrecisionChoice {
    /// f32 for networks trained on minibatches, f64 for everything else.
    Auto,
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
}

/// How the KL divergence from the prior is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KlChoice {
    /// In closed form where there is one, by Monte Carlo elsewhere.
    Auto,
    /// In closed form everywhere; an error where there is none.
    Closed,
    /// By Monte Carlo everywhere.
    MonteCarlo,
}

/// How the noise of weights enters the layers that use them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EstimatorChoice {
    /// The compiler chooses: local reparameterization in dense layers, Flipout in convolutions.
    Auto,
    /// One draw shared by all rows.
    Reparam,
    /// Flipout wherever a layer allows it.
    Flipout,
    /// Local reparameterization wherever a layer allows it; an approximation in convolutions.
    LocalReparam,
    /// A draw of the weights for every row wherever a layer allows it.
    Exact,
    /// The score function for every site, with the other draws of a step as control variate.
    Score,
}

impl EstimatorChoice {
    /// Its word in the language.
    pub fn name(self) -> &'static str {
        match self {
            EstimatorChoice::Auto => "auto",
            EstimatorChoice::Reparam => "reparam",
            EstimatorChoice::Flipout => "flipout",
            EstimatorChoice::LocalReparam => "local_reparam",
            EstimatorChoice::Exact => "exact",
            EstimatorChoice::Score => "score",
        }
    }
}

/// A learning rate of some parameters' own.
#[derive(Clone, PartialEq, Debug)]
pub struct SiteRate {
    /// The name that was written: of a site, of a submodel, of a `param`.
    pub name: String,
    /// The sites whose variational parameters have it.
    pub sites: Vec<SiteId>,
    /// The learnable constants that have it.
    pub params: Vec<ParamId>,
    /// The rate; 0 keeps them where they start.
    pub rate: f64,
}

/// How the coordinates of hierarchical location-scale sites are chosen; see `lower/noncentered.rs`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Reparam {
    /// The compiler chooses under nuts; as written under svi, whose family would change.
    #[default]
    Auto,
    /// As written.
    Centered,
    /// Standard variables wherever a location-scale prior depends on other sites.
    Noncentered,
    /// Standard variables for these sites.
    Sites(Vec<SiteId>),
}

/// What becomes of several fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keep {
    /// The best one is the fit.
    #[default]
    Best,
    /// All of them are, with equal weights: an ensemble.
    All,
}

impl Keep {
    /// Its word in the language.
    pub fn name(self) -> &'static str {
        match self {
            Keep::Best => "best",
            Keep::All => "all",
        }
    }
}

/// Settings of nuts with their defaults.
#[derive(Clone, PartialEq, Debug)]
pub struct NutsSettings {
    /// Independent chains.
    pub chains: usize,
    /// Draws of each chain that adapt the sampler and are thrown away.
    pub warmup: usize,
    /// Draws of each chain that are kept.
    pub draws: usize,
    /// The acceptance rate that the step size aims at.
    pub target_accept: f64,
    /// The largest depth of a tree: at most `2^max_depth - 1` steps for a draw.
    pub max_depth: usize,
    /// Seed of all randomness.
    pub seed: u64,
    /// How the coordinates of hierarchical sites are chosen.
    pub reparam: Reparam,
}

impl Default for NutsSettings {
    fn default() -> Self {
        Self {
            chains: 4,
            warmup: 1000,
            draws: 1000,
            target_accept: 0.8,
            max_depth: 10,
            seed: 0,
            reparam: Reparam::Auto,
        }
    }
}

/// Which second derivatives make the normal of laplace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HessianChoice {
    /// The whole matrix up to 2,000 coordinates, the diagonal beyond.
    Auto,
    /// The whole matrix.
    Full,
    /// The diagonal.
    Diagonal,
    /// The whole matrix of the last layer of a network, everything else at the mode.
    LastLayer,
}

impl HessianChoice {
    /// Its word in the language.
    pub fn name(self) -> &'static str {
        match self {
            HessianChoice::Auto => "auto",
            HessianChoice::Full => "full",
            HessianChoice::Diagonal => "diag",
            HessianChoice::LastLayer => "last_layer",
        }
    }
}

/// Settings of map, laplace and pathfinder with their defaults.
#[derive(Clone, PartialEq, Debug)]
pub struct ModeSettings {
    /// Steps of a search at most.
    pub steps: usize,
    /// A search is done when a quadratic has no more than this to gain [nats].
    pub tolerance: f64,
    /// Searches from different starting points, of which the highest end counts; the paths of pathfinder.
    pub restarts: usize,
    /// Whether the highest end is kept, or all of them as an ensemble; map only.
    pub keep: Keep,
    /// Draws of what is reported. `None`: 1 for map, 1,000 for the others.
    pub draws: Option<usize>,
    /// Which second derivatives are taken; laplace only.
    pub hessian: HessianChoice,
    /// Seed of all randomness.
    pub seed: u64,
    /// How the coordinates of hierarchical sites are chosen; not for map.
    pub reparam: Reparam,
}

impl Default for ModeSettings {
    fn default() -> Self {
        Self {
            steps: 2000,
            tolerance: 1e-10,
            restarts: 4,
            keep: Keep::Best,
            draws: None,
            hessian: HessianChoice::Auto,
            seed: 0,
            reparam: Reparam::Auto,
        }
    }
}

/// Where the guide of svi starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartChoice {
    /// Locations in the middle, scales at a part of the prior's.
    Prior,
    /// At the mode of the density, with its curvature.
    Mode,
}

impl StartChoice {
    /// Its word in the language.
    pub fn name(self) -> &'static str {
        match self {
            StartChoice::Prior => "prior",
            StartChoice::Mode => "mode",
        }
    }
}

/// Settings of svi with their defaults.
#[derive(Clone, PartialEq, Debug)]
pub struct SviSettings {
    /// How long it runs.
    pub length: Length,
    /// The rows of a step; all of them when `None`.
    pub minibatch: Option<Minibatch>,
    /// Draws from the guide in each step. `None`: 4 for networks trained on minibatches, whose gradients are noisy
    /// otherwise, 8 with the score function, 2 antithetic ones, and 1 elsewhere. With an objective of several draws, how
    /// often these are taken.
    pub particles: Option<usize>,
    /// Whether draws come in pairs whose noise is each other's negative.
    pub antithetic: bool,
    /// What is maximized.
    pub objective: Objective,
    /// The rule of the optimizer.
    pub optimizer: Rule,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Learning rates of sites and learnable constants, the most special name last.
    pub rates: Vec<SiteRate>,
    /// The course of the learning rate.
    pub schedule: Schedule,
    /// The last part of the steps over which parameters are averaged.
    pub average: Option<f64>,
    /// When to stop before the last step.
    pub stop: Option<Plateau>,
    /// Largest global norm of a gradient.
    pub clip: Option<f64>,
    /// How the KL divergence is found.
    pub kl: KlChoice,
    /// How the noise of weights enters layers.
    pub estimator: EstimatorChoice,
    /// The number of steps over which the weight of the KL divergence rises linearly to 1; 0 for none.
    pub anneal_kl: usize,
    /// Seed of all randomness.
    pub seed: u64,
    /// Number type.
    pub precision: PrecisionChoice,
    /// How convolutions are computed in single precision.
    pub convolution: Method,
    /// Draws from the fitted guide for the summary.
    pub draws: usize,
    /// Fits from different starting points, of which the one with the best final ELBO is kept.
    pub restarts: usize,
    /// Whether the best of them is kept, or all as an ensemble.
    pub keep: Keep,
    /// How the coordinates of hierarchical sites under `mean_field` are chosen.
    pub reparam: Reparam,
    /// Where the guide starts.
    pub start: StartChoice,
    /// Where each setting was written.
    pub places: Vec<(String, Span)>,
}

impl SviSettings {
    /// Where the setting `name` was written, if it was.
    pub fn place(&self, name: &str) -> Option<Span> {
        self.places.iter().find(|(n, _)| n == name).map(|(_, span)| *span)
    }
}

impl Default for SviSettings {
    fn default() -> Self {
        Self {
            length: Length::Steps(10_000),
            minibatch: None,
            particles: None,
            antithetic: false,
            objective: Objective::Elbo,
            rates: Vec::new(),
            average: None,
            stop: None,
            places: Vec::new(),
            optimizer: Rule::adam(),
            learning_rate: 1e-2,
            schedule: Schedule::default(),
            clip: None,
            kl: KlChoice::Auto,
            estimator: EstimatorChoice::Auto,
            anneal_kl: 0,
            seed: 0,
            precision: PrecisionChoice::Auto,
            convolution: Method::Auto,
            draws: 1000,
            restarts: 1,
            keep: Keep::Best,
            reparam: Reparam::Auto,
            start: StartChoice::Prior,
        }
    }
}

/// An infer block.
#[derive(Clone, PartialEq, Debug)]
pub struct Infer {
    /// Its name: its own, or that of its algorithm.
    pub name: String,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The settings of svi; the defaults for other algorithms.
    pub svi: SviSettings,
    /// The settings of nuts; the defaults for other algorithms.
    pub nuts: NutsSettings,
    /// The settings of map, laplace or pathfinder; the defaults for other algorithms.
    pub mode: ModeSettings,
    /// Whether the file has this block; otherwise the settings come from the command line alone.
    pub written: bool,
    /// Where it stands; `None` for the default.
    pub span: Option<Span>,
}

impl Infer {
    /// `algorithm` with default settings, as if the file had no block for it.
    pub fn default_of(algorithm: Algorithm) -> Self {
        Self {
            name: algorithm.name().to_string(),
            algorithm,
            svi: SviSettings::default(),
            nuts: NutsSettings::default(),
            mode: ModeSettings::default(),
            written: false,
            span: None,
        }
    }
}

/// Settings of svi in the order of the reference.
const SVI: &[&str] = &[
    "steps",
    "epochs",
    "minibatch",
    "particles",
    "antithetic",
    "optimizer",
    "rate",
    "schedule",
    "warmup_steps",
    "average",
    "clip",
    "kl",
    "anneal_kl",
    "seed",
    "precision",
    "convolution",
    "draws",
    "elbo",
    "estimator",
    "stop",
    "restarts",
    "keep",
    "reparam",
    "start",
];
/// Settings of nuts in the order of the reference.
const NUTS: &[&str] = &["chains", "warmup", "draws", "target_accept", "max_depth", "seed", "reparam", "precision"];
/// Settings of map in the order of the reference.
const MAP: &[&str] = &["steps", "tolerance", "restarts", "keep", "draws", "seed", "precision"];
/// Settings of laplace in the order of the reference.
const LAPLACE: &[&str] = &["steps", "tolerance", "restarts", "draws", "hessian", "seed", "reparam", "precision"];
/// Settings of pathfinder in the order of the reference.
const PATHFINDER: &[&str] = &["steps", "tolerance", "restarts", "draws", "seed", "reparam", "precision"];
/// Settings of algorithms that are not built yet, which are checked by name only.
const OTHERS: &[&str] = &[
    "chains",
    "warmup",
    "draws",
    "seed",
    "reparam",
    "steps",
    "optimizer",
    "restarts",
    "precision",
    "minibatch",
    "epochs",
];

impl<'p> Checker<'p> {
    /// Checks one infer block.
    pub(super) fn infer(
        &mut self,
        algorithm: &ast::Ident,
        name: Option<&ast::Ident>,
        settings: &[ast::Setting],
        span: Span,
    ) -> R<()> {
        let Some(kind) = Algorithm::from_name(&algorithm.name) else {
            let mut d = Diagnostic::new(Code::E0707, format!("no algorithm is called `{}`", algorithm.name))
                .label(algorithm.span, "unknown algorithm");
            let other = super::synonyms::algorithm(&algorithm.name);
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
            return Err(super::checker::Reported);
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
    pub(super) fn unwritten_infer(&mut self, wanted: Option<&str>, settings: &[ast::Setting]) {
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
                mode.hessian = match self.choice(setting, &["auto", "full", "diag", "last_layer"])? {
                    0 => HessianChoice::Auto,
                    1 => HessianChoice::Full,
                    2 => HessianChoice::Diagonal,
                    _ => HessianChoice::LastLayer,
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
    fn in_range(&mut self, setting: &ast::Setting, low: f64, high: f64, whole: bool) -> R<f64> {
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
    fn reparam(&mut self, setting: &ast::Setting) -> R<Reparam> {
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
            let name = super::expr::dotted(&arg.value).unwrap_or_default();
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

    fn number(&self, e: &ast::Expr) -> Option<f64> {
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
    fn count(&mut self, setting: &ast::Setting, least: usize) -> R<usize> {
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
    fn positive(&mut self, setting: &ast::Setting, value: &ast::Expr) -> R<f64> {
        match self.number(value) {
            Some(x) if x > 0.0 && x.is_finite() => Ok(x),
            _ => {
                let message = format!("`{}` must be a positive number", setting.name.name);
                Err(self.error(Code::E0702, message, value.span, "not positive", "write for example `1e-3`"))
            }
        }
    }
    fn word<'e>(&self, e: &'e ast::Expr) -> Option<(&'e str, &'e [ast::Arg])> {
        match &e.kind {
            Syntax::Name(n) => Some((n, &[])),
            Syntax::Call { callee, args } => match &callee.kind {
                Syntax::Name(n) => Some((n, args)),
                _ => None,
            },
            _ => None,
        }
    }
    fn choice(&mut self, setting: &ast::Setting, words: &[&str]) -> R<usize> {
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
    fn only(&mut self, setting: &ast::Setting, now: &[&str], later: &[&str]) -> R<()> {
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
    fn numbers(&mut self, name: &str, args: &[ast::Arg], params: &[&str]) -> R<Vec<Option<f64>>> {
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

/// Families that are `loc + scale * z` with `z` of the same family at loc 0 and scale 1.
pub const LOCATION_SCALE: &[DistId] =
    &[DistId::NORMAL, DistId::STUDENT_T, DistId::CAUCHY, DistId::LAPLACE, DistId::LOGISTIC, DistId::GUMBEL];

/// Whether a site with this prior can be written with a standard variable: the location-scale families, and those that
/// are a function of a normal vector.
pub fn is_location_scale(d: &DistExpr) -> bool {
    const OF_NORMALS: [DistId; 3] =
        [DistId::LOG_NORMAL, DistId::MULTIVARIATE_NORMAL_TRIL, DistId::MULTIVARIATE_NORMAL_COV];
    match d {
        DistExpr::Row { def, .. } => LOCATION_SCALE.contains(def) || OF_NORMALS.contains(def),
        DistExpr::Joined { parts, .. } => parts.iter().all(|(_, d)| is_location_scale(d)),
        _ => false,
    }
}
