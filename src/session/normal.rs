//! A program fitted by a normal in unconstrained space that searches for the mode lead to: what laplace and pathfinder share,
//! from the chosen settings to the finished fit.

use super::after::{After, Origin};
use super::{BoundProgram, Chosen, Failure, Stage, init, laplace, map, model_source};
use crate::check::settings::ModeSettings;
use crate::check::typed::*;
use crate::infer::density::Space;
use crate::infer::mode::Problem;
use crate::infer::nuts::ChainDraws;
use crate::infer::pointwise::Made;
use crate::infer::profile::Laps;
use crate::infer::sampler::Transition;
use crate::infer::{Observer, RunError};
use crate::kernels::conv::Method;
use crate::lower::Slots;
use crate::lower::noncentered::{self, Choice};
use crate::report::fit::{Elbo, Fit, ModeReport, Precision, Timing};
use crate::rng::Key;
use serde_json::json;

/// Draws of the summary unless the program says otherwise.
const DRAWS: usize = 1000;

/// What an engine hands out.
pub(super) struct Normal {
    /// Draws of the coordinates, `[draw, coordinate]`.
    pub positions: Vec<f64>,
    /// Pareto k-hat of the ratios of the density to the normal.
    pub pareto_k: Option<f64>,
    /// Steps of all searches.
    pub steps: u64,
    /// Evaluations of the density.
    pub evaluations: u64,
    /// Seconds of the searches.
    pub secs: f64,
    /// What the fit tells.
    pub notes: Vec<String>,
    /// What the fit warns of.
    pub warnings: Vec<String>,
    /// The ELBO, where one was estimated.
    pub elbo: Option<Elbo>,
    /// The mode, where it is part of the fit.
    pub mode: Option<ModeReport>,
    /// The coordinates of the mode, where predictions may be linearized there.
    pub point: Option<Vec<f64>>,
    /// Settings of this engine alone.
    pub settings: Vec<(&'static str, serde_json::Value)>,
}

/// Runs an engine and makes the fit of its draws.
pub(super) fn fit(
    bound: &BoundProgram<'_>,
    chosen: &Chosen,
    observer: &mut dyn Observer,
    engine: impl FnOnce(&Problem<'_>, &mut dyn Observer) -> Result<Normal, RunError>,
) -> Result<Fit, Failure> {
    let began = observer.clock();
    let (program, settings) = (&chosen.program, &chosen.infer.mode);
    let model = program.model.as_ref().expect("chosen programs have a model");
    let draws = settings.draws.unwrap_or(DRAWS);
    let choices = choices(bound, program, settings);
    let noncentered = standard(&choices);
    let (slots, none) = (Slots::new(program, &program.guides[chosen.guide], &bound.data.sizes, None), Slots::default());
    let resampled = bound.held_out.as_ref().map_or(&[][..], |(_, resampled)| resampled);
    let (linearized, note) = laplace::linearized(chosen, &bound.data.sizes, &noncentered, resampled)?;
    let predictive = if linearized.is_some() { "linearized" } else { "draws" };
    let origin = Origin::Free { noncentered: noncentered.clone(), linearized };
    let (mut after, memory) = After::<f64>::plan(bound, chosen, &none, origin, (1, draws, true), Method::Direct);
    let warm = init::point(bound, chosen, &slots, &noncentered, observer)?;
    let (slots, warm) = (&slots, warm.as_ref());
    let problem = Problem { program, bound: &bound.data, settings, draws, noncentered, slots, warm, memory: &memory };
    let normal = engine(&problem, observer)?;
    let total = observer.clock() - began;

    let mut laps = Laps::new(observer.stopwatch());
    let root = Key::new(settings.seed);
    let mut fit = Fit::new(chosen.infer.algorithm.name(), model_source(bound), Precision::F64, settings.seed);
    let transitions = vec![Transition::default(); draws];
    let chain = ChainDraws { positions: normal.positions, transitions, ..ChainDraws::default() };
    let quantities = after.draws.of_chains(&[chain], After::<f64>::key(root));
    fit.notes.extend(chosen.notes.iter().cloned().chain(normal.notes).chain(note));
    if let Some(point) = &normal.point {
        after.at_mode(point);
        fit.params = laplace::mode_params(program, &bound.data.sizes, point);
    }
    (fit.elbo, fit.mode) = (normal.elbo, normal.mode);
    let made = Made { evaluations: normal.evaluations as f64, independent: true };
    after.finish(&mut fit, quantities, made, &[], root, &mut laps);
    fit.warnings.extend(normal.warnings);
    fit.diagnostics.pareto_k = normal.pareto_k;
    fit.timing = Timing {
        compile_secs: (total - normal.secs).max(0.0),
        fit_secs: normal.secs,
        steps_per_sec: (normal.secs > 0.0).then(|| normal.steps as f64 / normal.secs),
        items_per_sec: None,
    };
    let settings = [
        ("steps", json!(settings.steps)),
        ("tolerance", json!(settings.tolerance)),
        ("restarts", json!(settings.restarts)),
        ("draws", json!(draws)),
        ("seed", json!(settings.seed)),
        ("reparam", reparam_json(&choices, model)),
    ];
    let predictive = normal.point.as_ref().map(|_| ("predictive", json!(predictive)));
    fit.settings = settings
        .into_iter()
        .chain(normal.settings)
        .chain(predictive)
        .map(|(name, value)| (name.to_string(), value))
        .collect();
    fit.data = bound.fingerprints();
    if let Some(profile) = laps.finish() {
        observer.profiled(profile);
    }
    Ok(fit)
}

pub(super) fn choices(bound: &BoundProgram<'_>, program: &Program, settings: &ModeSettings) -> Vec<Choice> {
    noncentered::choose(program, &settings.reparam, Some(&bound.data.sizes))
}
pub(super) fn standard(choices: &[Choice]) -> Vec<SiteId> {
    choices.iter().filter(|c| c.noncentered).map(|c| c.site).collect()
}

/// How each hierarchical site was written.
pub(super) fn reparam_json(choices: &[Choice], model: &Model) -> serde_json::Value {
    let one = |c: &Choice| {
        let word = if c.noncentered { "noncentered" } else { "centered" };
        (model.sites[c.site].name.clone(), json!(word))
    };
    choices.iter().map(one).collect::<serde_json::Map<_, _>>().into()
}

/// A stage of one evaluation of the log density as text.
pub(super) fn emit(bound: &BoundProgram<'_>, chosen: &Chosen, stage: Stage) -> Result<String, Failure> {
    let noncentered = standard(&choices(bound, &chosen.program, &chosen.infer.mode));
    map::text(bound, chosen, &Space::Unconstrained(noncentered), stage)
}
