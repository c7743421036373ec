//! A program fitted by a normal at its mode: from the chosen settings to the finished fit.

use super::after::{After, Origin};
use super::{BoundProgram, Chosen, Failure, RunOptions, Stage, init, map, model_source, one};
use crate::check::settings::{Algorithm, HessianChoice, Infer, ModeSettings, PrecisionChoice};
use crate::check::typed::*;
use crate::check::weights::last_layer;
use crate::diag::{Code, Diagnostic};
use crate::infer::Observer;
use crate::infer::density::Space;
use crate::infer::hessian::Derivatives;
use crate::infer::laplace::{Laplace, LaplaceFit};
use crate::infer::nuts::ChainDraws;
use crate::infer::pointwise::Made;
use crate::infer::profile::Laps;
use crate::infer::sampler::Transition;
use crate::kernels::conv::Method;
use crate::lower::Slots;
use crate::lower::noncentered::{self, Choice};
use crate::report::fit::{Fit, Precision};
use crate::rng::Key;
use serde_json::json;

/// Draws of the summary unless the program says otherwise.
const DRAWS: usize = 1000;

/// What neither laplace nor pathfinder can do.
pub(super) fn refuse(program: &Program, infer: &Infer) -> Result<(), Failure> {
    let last = |model: &Model| last_layer(program, model);
    if infer.mode.hessian == HessianChoice::LastLayer && program.model.as_ref().is_some_and(|m| last(m).is_empty()) {
        let message = "`hessian = last_layer` needs a layer whose weight is a site";
        let mut d = Diagnostic::new(Code::E0703, message).help("use `hessian = full` or `diag`");
        if let Some(span) = infer.span.filter(|_| infer.written) {
            d = d.label(span, "this would run");
        }
        return Err(one(d));
    }
    let Some(p) = program.params.iter().next() else { return Ok(()) };
    let mut d = Diagnostic::new(
        Code::E0404,
        format!("{} cannot fit `{}`, which is a learnable constant", infer.algorithm.name(), p.name),
    )
    .label(p.span, "it has no prior, so it has no posterior to approximate")
    .help("give it a prior, `~` instead of `param`, or fit by `--infer svi` or `--infer map`");
    if let Some(span) = infer.span.filter(|_| infer.written) {
        d = d.label(span, "this would run");
    }
    Err(one(d))
}

/// Turns variational inference with the guide `laplace` into the algorithm, which needs no optimizer of an ELBO.
pub(super) fn instead_of_svi(infer: &mut Infer, options: &RunOptions, notes: &mut Vec<String>) -> Result<(), Failure> {
    if options.precision == Some(PrecisionChoice::F32) || infer.svi.precision == PrecisionChoice::F32 {
        let message = "the guide `laplace` runs in f64: in f32 the last steps to the maximum drown in rounding";
        return Err(one(Diagnostic::new(Code::E0404, message).help("leave the precision out, or use another guide")));
    }
    let svi = &infer.svi;
    infer.mode = ModeSettings {
        draws: Some(svi.draws),
        seed: svi.seed,
        reparam: svi.reparam.clone(),
        ..ModeSettings::default()
    };
    infer.algorithm = Algorithm::Laplace;
    let whole = if svi.minibatch.is_some() { ", on all data" } else { "" };
    notes.push(format!(
        "the guide `laplace` is fitted by the algorithm laplace{whole}; of the settings of svi it takes `draws`, `reparam` and `seed`"
    ));
    Ok(())
}

pub(super) fn choices(bound: &BoundProgram<'_>, program: &Program, settings: &ModeSettings) -> Vec<Choice> {
    noncentered::choose(program, &settings.reparam, Some(&bound.data.sizes))
}
pub(super) fn standard(choices: &[Choice]) -> Vec<SiteId> {
    choices.iter().filter(|c| c.noncentered).map(|c| c.site).collect()
}

/// Finds the mode and its curvature, and makes the fit of draws from the normal there.
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
    let warm = init::point(bound, chosen, &starts, &noncentered, observer)?;
    let laplace = Laplace {
        program,
        bound: &bound.data,
        settings,
        draws: n_draws,
        noncentered,
        slots: &starts,
        warm: warm.as_ref(),
        memory: &memory,
    };
    let result = laplace.run(observer)?;
    let total = observer.clock() - began;

    let mut laps = Laps::new(observer.stopwatch());
    let root = Key::new(settings.seed);
    let mut fit = Fit::new("laplace", model_source(bound), Precision::F64, settings.seed);
    let LaplaceFit { mode, positions, log_evidence, pareto_k, full, derivatives, advice } = result;
    let chain = ChainDraws { positions, transitions: vec![Transition::default(); n_draws], ..ChainDraws::default() };
    let quantities = after.draws.of_chains(&[chain], After::<f64>::key(root));
    fit.notes.extend(chosen.notes.iter().cloned());
    fit.notes.extend(mode.note());
    if derivatives == Derivatives::Differences {
        fit.notes.push("the curvature is that of central differences of the gradient".to_string());
    }
    if !full {
        fit.notes.push("the normal has the diagonal of the curvature alone: sites are independent in it".to_string());
    }
    let partly = settings.hessian == HessianChoice::LastLayer;
    if partly {
        let names: Vec<String> =
            last_layer(program, model).iter().map(|&s| format!("`{}`", model.sites[s].name)).collect();
        fit.notes.push(format!(
            "only the last layer has a distribution ({}): everything else stays at the mode, so there is no evidence and no Pareto k",
            names.join(", ")
        ));
    }
    let made = Made { evaluations: mode.evaluations as f64 + n_draws as f64, independent: true };
    after.finish(&mut fit, quantities, made, &[], root, &mut laps);
    fit.warnings.extend(advice);
    fit.diagnostics.pareto_k = pareto_k;
    // Without a prior that integrates to 1 there is no evidence.
    let proper = !partly && model.sites.iter().all(|s| s.dist.is_proper());
    fit.mode = Some(map::report(&mode, proper.then_some(log_evidence)));
    fit.timing = map::timing(total, &mode);
    fit.settings = settings_json(settings, n_draws, full, derivatives, &choices, model);
    fit.data = bound.fingerprints();
    if let Some(profile) = laps.finish() {
        observer.profiled(profile);
    }
    Ok(fit)
}

/// Every setting with its final value.
fn settings_json(
    s: &ModeSettings,
    draws: usize,
    full: bool,
    derivatives: Derivatives,
    choices: &[Choice],
    model: &Model,
) -> Vec<(String, serde_json::Value)> {
    let hessian = match (s.hessian, full) {
        (HessianChoice::LastLayer, _) => "last_layer",
        (_, true) => "full",
        (_, false) => "diag",
    };
    let derivatives = match derivatives {
        Derivatives::Exact => "exact",
        Derivatives::Differences => "differences",
    };
    [
        ("steps", json!(s.steps)),
        ("tolerance", json!(s.tolerance)),
        ("restarts", json!(s.restarts)),
        ("draws", json!(draws)),
        ("hessian", json!(hessian)),
        ("second_derivatives", json!(derivatives)),
        ("seed", json!(s.seed)),
        ("reparam", reparam_json(choices, model)),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .to_vec()
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
