//! A program fitted by the best normals on the way to its mode: from the chosen settings to the finished fit.

use super::after::{After, Origin};
use super::laplace::{choices, reparam_json, standard};
use super::{BoundProgram, Chosen, Failure, model_source};
use crate::infer::Observer;
use crate::infer::nuts::ChainDraws;
use crate::infer::pathfinder::{Pathfinder, PathfinderFit};
use crate::infer::pointwise::Made;
use crate::infer::profile::Laps;
use crate::infer::sampler::Transition;
use crate::kernels::conv::Method;
use crate::lower::Slots;
use crate::report::fit::{Elbo, Fit, Precision, Timing};
use crate::rng::Key;
use serde_json::json;

/// Draws of the summary unless the program says otherwise.
const DRAWS: usize = 1000;

/// Follows the paths and makes the fit of draws from their normals.
pub(super) fn fit(bound: &BoundProgram<'_>, chosen: &Chosen, observer: &mut dyn Observer) -> Result<Fit, Failure> {
    let began = observer.clock();
    let (program, settings) = (&chosen.program, &chosen.infer.mode);
    let model = program.model.as_ref().expect("chosen programs have a model");
    let n_draws = settings.draws.unwrap_or(DRAWS);
    let choices = choices(bound, program, settings);
    let noncentered = standard(&choices);
    let (starts, none) =
        (Slots::new(program, &program.guides[chosen.guide], &bound.data.sizes, None), Slots::default());
    let origin = Origin::Free { noncentered: noncentered.clone() };
    let (after, memory) = After::<f64>::plan(bound, chosen, &none, origin, (1, n_draws, true), Method::Direct);
    let engine = Pathfinder {
        program,
        bound: &bound.data,
        settings,
        draws: n_draws,
        noncentered,
        slots: &starts,
        memory: &memory,
    };
    let PathfinderFit { positions, distinct, elbos, pareto_k, steps, evaluations, secs } = engine.run(observer)?;
    let total = observer.clock() - began;

    let mut laps = Laps::new(observer.stopwatch());
    let root = Key::new(settings.seed);
    let mut fit = Fit::new("pathfinder", model_source(bound), Precision::F64, settings.seed);
    let chain = ChainDraws { positions, transitions: vec![Transition::default(); n_draws], ..ChainDraws::default() };
    let quantities = after.draws.of_chains(&[chain], After::<f64>::key(root));
    fit.notes.extend(chosen.notes.iter().cloned());
    let best = elbos.iter().flatten().copied().max_by(|a, b| a.0.total_cmp(&b.0));
    fit.elbo = best.map(|(final_, standard_error)| Elbo { final_, standard_error, steps });
    if elbos.len() > 1 {
        let each: Vec<String> =
            elbos.iter().map(|e| e.map_or("none".to_string(), |(value, _)| format!("{value:.2}"))).collect();
        fit.notes.push(format!(
            "the ELBO of the normals of {} paths: {}; {distinct} of {n_draws} draws are different",
            elbos.len(),
            each.join(", ")
        ));
    }
    let made = Made { evaluations: evaluations as f64, independent: true };
    after.finish(&mut fit, quantities, made, &[], root, &mut laps);
    fit.diagnostics.pareto_k = pareto_k;
    fit.timing = Timing {
        compile_secs: (total - secs).max(0.0),
        fit_secs: secs,
        steps_per_sec: (secs > 0.0).then(|| steps as f64 / secs),
        items_per_sec: None,
    };
    fit.settings = [
        ("steps", json!(settings.steps)),
        ("tolerance", json!(settings.tolerance)),
        ("restarts", json!(settings.restarts)),
        ("draws", json!(n_draws)),
        ("seed", json!(settings.seed)),
        ("reparam", reparam_json(&choices, model)),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .to_vec();
    fit.data = bound.fingerprints();
    if let Some(profile) = laps.finish() {
        observer.profiled(profile);
    }
    Ok(fit)
}
