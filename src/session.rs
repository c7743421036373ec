//! A program with its data: binding, fitting, simulating. What the command line and the REPL have in common.
//!
//! In: a [`Compilation`] and what the command line gives.   Out: a [`Fit`], or diagnostics, or a [`RunError`].

use crate::check::settings::{Algorithm, Infer, PrecisionChoice};
use crate::check::size::Size;
use crate::check::typed::*;
use crate::check::{families, guides};
use crate::data::{self, Learned, SizeTable};
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::driver::Compilation;
use crate::infer::data::BoundData;
use crate::infer::draws::{Draws, SizeLabels};
use crate::infer::svi::Svi;
pub use crate::infer::{
    ChainStatus, Checkpoint, Memory, Observer, Phase, Profile, RunError, Sampling, Status, Unobserved,
};
use crate::kernels::conv::Method;
use crate::lower::{SiteSource, Slots, rows::Prepared};
use crate::report::expect;
use crate::report::fit::{self, DataFingerprint, Fit, ModelSource, Precision, Quantity};
use crate::rng::Key;
use crate::syntax::ast::Elem;
use std::sync::Arc;

mod after;
mod audit;
mod bind;
mod expects;
mod init;
mod laplace;
mod loo;
mod map;
mod normal;
mod nuts;
mod objective;
mod pathfinder;
mod predict;
mod reload;
mod restarts;
mod resume;
mod sbc;
mod start;
mod svi;

pub use audit::{AuditOptions, audit, bind_same, recompile_for_audit};
pub use bind::{bind, bind_with};
pub use predict::{Output, PredictOptions, predict};
pub use reload::{NewData, bind_new, recompile, restore};
pub use resume::check_same;
pub use sbc::{Calibration, sbc};

/// The largest int that f32 holds exactly.
const MAX_F32_INT: f64 = 16_777_216.0;
/// Draws over which held-out scores are averaged, at most.
const SCORE_DRAWS: usize = 200;

/// Draws in each step of a network trained on minibatches, unless the program says otherwise. On the shipped digits
/// four draws bring the held-out log score of 40 epochs from about 0.20 to 0.18.
const NETWORK_PARTICLES: usize = 4;

/// What the command line says about a run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// `--infer NAME`
    pub infer: Option<String>,
    /// `--guide NAME`
    pub guide: Option<String>,
    /// `--seed N`
    pub seed: Option<u64>,
    /// `--precision f32|f64`
    pub precision: Option<PrecisionChoice>,
    /// `--all`: draws of large arrays are kept too.
    pub all: bool,
    /// `--max-memory`: what the run may need at most [bytes].
    pub max_memory: Option<u64>,
    /// `--init`: another fit of the same model, from which this one starts.
    pub init: Option<Arc<Fit>>,
    /// `--resume`: the state of an interrupted run to go on from; [`check_same`] says whether it is one of this run.
    pub resume: Option<Checkpoint>,
}

/// Why there is no result.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The program or the data are wrong.
    Diagnostics(Diagnostics),
    /// Inference failed.
    Run(RunError),
    /// A fit cannot be used for what is asked: what is wrong, and what to do.
    Fit {
        /// What is wrong.
        message: String,
        /// What to do.
        help: Option<String>,
    },
}
impl From<RunError> for Failure {
    fn from(e: RunError) -> Self {
        Failure::Run(e)
    }
}

/// A checked program with its data.
#[derive(Debug)]
pub struct BoundProgram<'c> {
    /// Where it comes from.
    pub compilation: &'c Compilation,
    /// The program.
    pub program: Program,
    /// The training data.
    pub data: BoundData,
    /// The held-out data, when the program has some, and the sizes that they rebind.
    pub held_out: Option<(BoundData, Vec<crate::check::size::SizeId>)>,
    /// The labels of sizes.
    pub labels: SizeLabels,
    /// What data expressions learned.
    pub learned: Learned,
    /// The sizes with their labels.
    pub sizes: SizeTable,
    /// The data that the command line gave.
    pub given: Vec<String>,
    /// What was read.
    pub fingerprints: data::Fingerprints,
}

impl BoundProgram<'_> {
    /// Whether all data could be read so far: what stays in files may be gone by now.
    fn check_read(&self) -> Result<(), RunError> {
        self.data.check_read()?;
        self.held_out.as_ref().map_or(Ok(()), |(held_out, _)| held_out.check_read())
    }
    /// What was read, as a fit keeps it; waits for the fingerprints of large files.
    pub fn fingerprints(&self) -> Vec<DataFingerprint> {
        let one = |f: data::Fingerprint| DataFingerprint {
            name: String::new(),
            source: f.path,
            shape: Vec::new(),
            hash: f.sha256,
        };
        self.fingerprints.list().into_iter().map(one).collect()
    }
    /// What its data take [bytes].
    fn bytes(&self) -> u64 {
        let held_out = self.held_out.as_ref().map_or(0, |(data, _)| data.bytes());
        (self.data.bytes() + held_out) as u64
    }
}

/// The settings and the guide of a run.
struct Chosen {
    infer: Infer,
    program: Program,
    guide: usize,
    precision: Precision,
    notes: Vec<String>,
    /// Whether draws of large arrays are kept.
    all: bool,
    /// What the run may need at most [bytes].
    max_memory: Option<u64>,
    /// The fit to start from.
    init: Option<Arc<Fit>>,
    /// The state to go on from.
    resume: Option<Checkpoint>,
}

fn one(d: Diagnostic) -> Failure {
    let mut diags = Diagnostics::new();
    diags.push(d);
    Failure::Diagnostics(diags)
}

fn choose(bound: &BoundProgram<'_>, options: &RunOptions) -> Result<Chosen, Failure> {
    let mut program = bound.program.clone();
    let mut notes = Vec::new();
    let Some(model) = program.model.clone() else {
        return Err(one(Diagnostic::new(Code::E0804, "the file has no model to fit")
            .help("add a `model { … }`; `bayesc check` works without one")));
    };
    let mut infer = match &options.infer {
        Some(wanted) => match program.infers.iter().find(|i| i.name == *wanted) {
            Some(found) => found.clone(),
            None => match Algorithm::from_name(wanted) {
                Some(algorithm) => Infer::default_of(algorithm),
                None => {
                    let names: Vec<&str> = program
                        .infers
                        .iter()
                        .map(|i| i.name.as_str())
                        .chain(crate::check::settings::ALGORITHMS.iter().copied())
                        .collect();
                    let mut d =
                        Diagnostic::new(Code::E0707, format!("no infer block or algorithm is called `{wanted}`"));
                    d = match crate::nearest::nearest(wanted, names.iter().copied()) {
                        Some(near) => d.help(format!("there is `{near}`")),
                        None => d.help(format!("there is `{}`", names.join("`, `"))),
                    };
                    return Err(one(d));
                }
            },
        },
        None => match program.infers.first() {
            Some(first) if first.written => first.clone(),
            _ => {
                let (algorithm, why) = default_algorithm(bound, &program, options);
                // Settings of the command line that only one algorithm has decide.
                let given = |a: Algorithm| program.infers.iter().find(|i| i.algorithm == a);
                let found = given(algorithm).or(program.infers.first()).cloned();
                let why =
                    if found.as_ref().is_some_and(|i| i.algorithm != algorithm) { "as `--set` asks" } else { why };
                let infer = found.unwrap_or_else(|| Infer::default_of(algorithm));
                notes.push(format!("the file has no infer block: fitting by {}, {why}", infer.algorithm.name()));
                infer
            }
        },
    };
    if let Algorithm::Later(name) = infer.algorithm {
        let mut d = Diagnostic::new(Code::E0404, format!("`infer {name}` is not built yet"));
        if let Some(span) = infer.span {
            d = d.label(span, "this is what would run");
        }
        let other = program.infers.iter().find(|i| i.algorithm == Algorithm::Svi).map_or("svi", |i| i.name.as_str());
        return Err(one(d.help(format!("fit by variational inference: `--infer {other}`"))));
    }
    if let Some(seed) = options.seed {
        infer.svi.seed = seed;
        infer.nuts.seed = seed;
        infer.mode.seed = seed;
    }
    if let Some(precision) = options.precision {
        infer.svi.precision = precision;
    }
    if infer.algorithm == Algorithm::Nuts {
        nuts::refuse(&program, &infer, options)?;
        return Ok(Chosen {
            infer,
            program,
            guide: usize::MAX,
            precision: Precision::F64,
            notes,
            all: options.all,
            max_memory: options.max_memory,
            init: options.init.clone(),
            resume: options.resume.clone(),
        });
    }
    let of_mode = |infer: Infer, mut program: Program, notes| {
        if infer.algorithm != Algorithm::Map {
            laplace::refuse(&program, &infer)?;
        }
        let guide = map::point_mass(&mut program, &model);
        Ok(Chosen {
            infer,
            program,
            guide,
            precision: Precision::F64,
            notes,
            all: options.all,
            max_memory: options.max_memory,
            init: options.init.clone(),
            resume: options.resume.clone(),
        })
    };
    if matches!(infer.algorithm, Algorithm::Map | Algorithm::Laplace | Algorithm::Pathfinder) {
        map::refuse(&infer, options)?;
        return of_mode(infer, program, notes);
    }
    let guide = match &options.guide {
        Some(wanted) => match program.guides.iter().position(|g| g.name == *wanted) {
            Some(at) => at,
            None => match families::family(wanted) {
                Some(Ok(family)) => {
                    program.guides.push(guides::automatic(&model, family, wanted, None));
                    program.guides.len() - 1
                }
                Some(Err(slip)) => return Err(one(slip.diagnostic(false))),
                None => {
                    let names: Vec<&str> = program
                        .guides
                        .iter()
                        .map(|g| g.name.as_str())
                        .chain(families::FAMILIES.iter().copied())
                        .collect();
                    let mut d = Diagnostic::new(Code::E0605, format!("no guide or family is called `{wanted}`"));
                    d = match crate::nearest::nearest(wanted, names.iter().copied()) {
                        Some(near) => d.help(format!("there is `{near}`")),
                        None => d.help(format!("there is `{}`", names.join("`, `"))),
                    };
                    return Err(one(d));
                }
            },
        },
        None if program.guides.is_empty() => {
            program.guides.push(guides::automatic(&model, Family::MeanField, "mean_field", None));
            notes.push("the file has no guide: using `mean_field`".to_string());
            0
        }
        None => 0,
    };
    for step in &program.guides[guide].steps {
        if let GuideStep::Family { family: Family::Later(name), span, .. } = step {
            let mut d = Diagnostic::new(Code::E0404, format!("the guide `{name}` is not built yet"));
            if options.guide.is_none() {
                d = d.label(*span, "this family");
            }
            return Err(one(d.help("use `mean_field` or `full_rank`: `--guide mean_field`")));
        }
    }
    if let [GuideStep::Family { family: Family::Laplace, .. }] = program.guides[guide].steps[..] {
        laplace::instead_of_svi(&mut infer, options, &mut notes)?;
        return of_mode(infer, program, notes);
    }
    svi::refuse_lonely_flows(bound, &program, guide, options)?;
    svi::standardize(&mut program, guide, &infer.svi.reparam)?;
    if let Some(batch) = infer.svi.minibatch {
        let n = bound.data.sizes[batch.size];
        if batch.rows > n {
            let name = &program.sizes[batch.size].name;
            let message = format!("a minibatch of {} rows is larger than `{name}`, which is {n}", batch.rows);
            return Err(one(Diagnostic::new(Code::E0703, message)
                .label(batch.span, "too many rows")
                .help(format!("use at most {n}"))));
        }
    }
    objective::prepare(&program, guide, &mut infer.svi, &bound.data.sizes)?;
    let network = model.sites.iter().any(|s| s.fan_in.is_some()) || program.params.iter().any(|p| p.fan.is_some());
    let noisy = network && infer.svi.minibatch.is_some();
    infer.svi.particles.get_or_insert(if noisy { NETWORK_PARTICLES } else { 1 });
    let largest = program
        .data
        .iter_enumerated()
        .filter(|(_, d)| d.ty.elem == Elem::Int)
        .filter_map(|(id, d)| Some((d, bound.data.values[id].as_ref()?)))
        .filter(|(_, values)| !values.within(|low, high| low >= -MAX_F32_INT && high <= MAX_F32_INT))
        .find_map(|(d, values)| Some((d, values.find(|x| x.abs() > MAX_F32_INT)?.1.abs())));
    let precision = match infer.svi.precision {
        PrecisionChoice::F64 => Precision::F64,
        PrecisionChoice::F32 => {
            if let Some((d, m)) = largest {
                let message = format!("`{}` holds {m}, which f32 cannot hold exactly", d.name);
                return Err(one(Diagnostic::new(Code::E0905, message)
                    .label(d.ty_span, "ints")
                    .help("use `--precision f64`")));
            }
            Precision::F32
        }
        PrecisionChoice::Auto if network && infer.svi.minibatch.is_some() && largest.is_none() => Precision::F32,
        PrecisionChoice::Auto => Precision::F64,
    };
    let (all, max_memory) = (options.all, options.max_memory);
    let (init, resume) = (options.init.clone(), options.resume.clone());
    Ok(Chosen { infer, program, guide, precision, notes, all, max_memory, init, resume })
}

/// The most latent elements for which nuts is the default.
const NUTS_ELEMENTS: usize = 10_000;

/// The algorithm for a program without an infer block, and why.
fn default_algorithm(bound: &BoundProgram<'_>, program: &Program, options: &RunOptions) -> (Algorithm, &'static str) {
    let Some(model) = &program.model else { return (Algorithm::Svi, "") };
    let count = |shape: &[Size]| -> usize {
        let number = |s: &Size| s.evaluate(&|id| Some(bound.data.sizes[id])).and_then(|n| usize::try_from(n).ok());
        shape.iter().map(|s| number(s).unwrap_or(1)).product()
    };
    let elements: usize = model.sites.iter().map(|s| count(&s.ty.shape)).sum();
    if options.guide.is_some() || !program.guides.is_empty() {
        (Algorithm::Svi, "because there is a guide")
    } else if !program.params.is_empty() || model.sites.iter().any(|s| s.fan_in.is_some()) {
        (Algorithm::Svi, "because the model has a network or learnable constants")
    } else if elements >= NUTS_ELEMENTS {
        (Algorithm::Svi, "because it has very many latent numbers")
    } else {
        (Algorithm::Nuts, "the default for models of this kind")
    }
}

/// Fits the program as its first infer block says, or as the options say.
pub fn run(bound: &BoundProgram<'_>, options: &RunOptions, observer: &mut dyn Observer) -> Result<Fit, Failure> {
    let chosen = choose(bound, options)?;
    for note in &chosen.notes {
        observer.note(note);
    }
    let mut fit = match (chosen.infer.algorithm, chosen.precision) {
        (Algorithm::Nuts, _) => nuts::fit(bound, &chosen, observer),
        (Algorithm::Map, _) => map::fit(bound, &chosen, observer),
        (Algorithm::Laplace, _) => laplace::fit(bound, &chosen, observer),
        (Algorithm::Pathfinder, _) => pathfinder::fit(bound, &chosen, observer),
        (_, Precision::F32) => svi::fit::<f32>(bound, &chosen, observer),
        (_, Precision::F64) => svi::fit::<f64>(bound, &chosen, observer),
    }?;
    bound.check_read()?;
    fit.inputs = Some(reload::inputs(bound, options, &chosen.infer.name));
    fit.expect = expect::evaluate(&bound.program.expects, &bound.compilation.sources, &fit);
    Ok(fit)
}

/// `n` draws of the latent sites as one chain: the first ones of one chain, evenly spread ones of several.
fn draws_of_sites(quantities: &[Quantity], n: usize) -> Vec<Quantity> {
    let latent = quantities.iter().filter(|q| q.role == fit::Role::Latent);
    latent
        .map(|q| {
            let (all, count) = (q.chains * q.draws, q.count());
            let n = n.min(all);
            let rows = (0..n).map(|i| if q.chains == 1 { i } else { i * all / n });
            let at = rows.flat_map(|row| row * count..(row + 1) * count);
            let data = match &q.data {
                fit::Draws::F32(v) => fit::Draws::F32(at.map(|i| v[i]).collect()),
                fit::Draws::F64(v) => fit::Draws::F64(at.map(|i| v[i]).collect()),
            };
            Quantity { chains: 1, draws: n, data, ..q.clone() }
        })
        .collect()
}

fn model_source(bound: &BoundProgram<'_>) -> ModelSource {
    let root = bound.compilation.modules.get(bound.compilation.modules.root());
    let file = bound.compilation.sources.file(root.file);
    ModelSource {
        path: file.name.clone(),
        name: bound.program.model.as_ref().and_then(|m| m.name.clone()),
        text: file.text.clone(),
    }
}

/// Draws from the prior: sites, kept values, and the observed data as the model would have them.
pub fn prior(bound: &BoundProgram<'_>, draws: usize, seed: u64) -> Result<Vec<Quantity>, Failure> {
    let program = &bound.program;
    let Some(model) = &program.model else {
        return Err(
            one(Diagnostic::new(Code::E0804, "the file has no model to draw from").help("add a `model { … }`")),
        );
    };
    for site in &model.sites {
        if !site.dist.is_proper() {
            return Err(one(Diagnostic::new(
                Code::E0502,
                format!("`{}` has an improper prior: there is nothing to draw", site.name),
            )
            .label(site.dist.span(), "not a probability distribution")
            .help("give it a proper prior, for example `Normal(0, 10)`")));
        }
    }
    // Learnable constants of the model start where a fit would start.
    let empty = Guide { name: String::new(), steps: Vec::new(), span: None };
    let slots = Slots::new(program, &empty, &bound.data.sizes, None);
    let key = Key::new(seed);
    let params = crate::infer::start::start(program, &slots, &bound.data, key.fold_in(1));
    let all = Draws {
        program,
        bound: &bound.data,
        labels: &bound.labels,
        slots: &slots,
        source: SiteSource::Prior,
        observations: true,
        generate: false,
        all: true,
        convolution: Method::Direct,
        only: None,
    };
    let drawn = all.run::<f64>(&params, draws, key.fold_in(12));
    bound.check_read()?;
    Ok(drawn)
}

/// A stage of compilation that needs data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The graph of one step.
    Graph,
    /// The same with its adjoint.
    Adjoint,
    /// The plan: order, buffers, peak.
    Plan,
}

/// A stage of one step as text.
pub fn emit(bound: &BoundProgram<'_>, options: &RunOptions, stage: Stage) -> Result<String, Failure> {
    let chosen = choose(bound, options)?;
    match chosen.infer.algorithm {
        Algorithm::Nuts => return nuts::emit(bound, &chosen, stage),
        Algorithm::Map => return map::emit(bound, &chosen, stage),
        Algorithm::Laplace | Algorithm::Pathfinder => return normal::emit(bound, &chosen, stage),
        Algorithm::Svi | Algorithm::Later(_) => {}
    }
    let (program, settings) = (&chosen.program, &chosen.infer.svi);
    let prepared = settings.minibatch.map(|b| Prepared::new(program, b.size));
    let slots =
        Slots::new(program, &program.guides[chosen.guide], &bound.data.sizes, settings.minibatch.map(|b| b.size));
    let mut memory = Memory::new(chosen.max_memory);
    memory.always.push(("data", bound.bytes()));
    let svi = Svi {
        program,
        guide: chosen.guide,
        bound: &bound.data,
        settings,
        slots: &slots,
        prepared: prepared.as_ref(),
        memory: &memory,
        restart: 0,
        warm: None,
        from: None,
    };
    let sources = &bound.compilation.sources;
    let (gradient, plan) = (stage != Stage::Graph, stage == Stage::Plan);
    Ok(match chosen.precision {
        Precision::F32 => svi.emit::<f32>(gradient, plan, sources)?,
        Precision::F64 => svi.emit::<f64>(gradient, plan, sources)?,
    })
}
