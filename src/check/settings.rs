//! Settings of `infer` blocks: which ones an algorithm has, what values they take.

mod read;
mod svi;

use super::size::SizeId;
use super::typed::{DistExpr, ParamId, SiteId};
use crate::dist::DistId;
use crate::infer::objective::Objective;
use crate::infer::optim::Rule;
use crate::infer::plateau::Plateau;
use crate::infer::schedule::Schedule;
use crate::kernels::conv::Method;
use crate::source::Span;

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
    /// Where the chains start.
    pub start: ChainStart,
    /// The shape of the metric that the warmup adapts.
    pub metric: Metric,
}

/// Where the chains of nuts start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChainStart {
    /// At uniform draws about the origin of unconstrained space.
    Uniform,
    /// At draws of pathfinder: the normals of several paths, weighted by the density.
    Pathfinder,
}

impl ChainStart {
    /// Its word in the language.
    pub fn name(self) -> &'static str {
        match self {
            ChainStart::Uniform => "uniform",
            ChainStart::Pathfinder => "pathfinder",
        }
    }
}

/// The shape of the metric of nuts: what the mass matrix may express.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metric {
    /// Directions beside the diagonal where the coordinates are few enough.
    Auto,
    /// A scale for each coordinate.
    Diagonal,
    /// A scale for each coordinate, and the directions in which that is not enough.
    LowRank,
}

impl Metric {
    /// Its word in the language.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Auto => "auto",
            Metric::Diagonal => "diagonal",
            Metric::LowRank => "low_rank",
        }
    }
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
            start: ChainStart::Uniform,
            metric: Metric::Auto,
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
    /// Kronecker factors for the weights of layers, the whole matrix of everything else.
    Kron,
}

impl HessianChoice {
    /// Its word in the language.
    pub fn name(self) -> &'static str {
        match self {
            HessianChoice::Auto => "auto",
            HessianChoice::Full => "full",
            HessianChoice::Diagonal => "diag",
            HessianChoice::LastLayer => "last_layer",
            HessianChoice::Kron => "kron",
        }
    }
}

/// What predictions are made from after laplace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PredictiveChoice {
    /// Linearized for networks whose likelihood allows it, draws for everything else.
    #[default]
    Auto,
    /// The model at each draw of the normal.
    Draws,
    /// The model linearized at the mode, in the direction of each draw.
    Linearized,
}

impl PredictiveChoice {
    /// Its word in the language.
    pub fn name(self) -> &'static str {
        match self {
            PredictiveChoice::Auto => "auto",
            PredictiveChoice::Draws => "draws",
            PredictiveChoice::Linearized => "linearized",
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
    /// What predictions are made from; laplace only.
    pub predictive: PredictiveChoice,
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
            predictive: PredictiveChoice::Auto,
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
const NUTS: &[&str] =
    &["chains", "warmup", "draws", "target_accept", "max_depth", "seed", "reparam", "start", "metric", "precision"];
/// Settings of map in the order of the reference.
const MAP: &[&str] = &["steps", "tolerance", "restarts", "keep", "draws", "seed", "precision"];
/// Settings of laplace in the order of the reference.
const LAPLACE: &[&str] =
    &["steps", "tolerance", "restarts", "draws", "hessian", "predictive", "seed", "reparam", "precision"];
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
