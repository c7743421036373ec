//! A program fitted by a normal at its mode: from the chosen settings to the finished fit.

use super::normal::{self, Normal};
use super::{BoundProgram, Chosen, Failure, RunOptions, map, one};
use crate::check::settings::{Algorithm, HessianChoice, Infer, ModeSettings, PrecisionChoice, PredictiveChoice};
use crate::check::size::SizeId;
use crate::check::typed::*;
use crate::check::weights::last_layer;
use crate::diag::{Code, Diagnostic};
use crate::infer::Observer;
use crate::infer::hessian::Derivatives;
use crate::infer::laplace::LaplaceFit;
use crate::infer::linearized::Linearized;
use crate::lower::{Lowering, SiteSource, SizeValues, Slots};
use crate::report::fit::{Fit, NamedTensor};
use serde_json::json;

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

/// Finds the mode and its curvature, and makes the fit of draws from the normal there.
pub(super) fn fit(bound: &BoundProgram<'_>, chosen: &Chosen, observer: &mut dyn Observer) -> Result<Fit, Failure> {
    let (program, settings) = (&chosen.program, &chosen.infer.mode);
    let model = program.model.as_ref().expect("chosen programs have a model");
    normal::fit(bound, chosen, observer, |problem, observer| {
        let LaplaceFit { mode, positions, log_evidence, pareto_k, full, derivatives, layers, advice } =
            LaplaceFit::of(problem, observer)?;
        let mut notes: Vec<String> = mode.note().into_iter().collect();
        if derivatives == Derivatives::Differences {
            notes.push("the curvature is that of central differences of the gradient".to_string());
        }
        if !full {
            notes.push("the normal has the diagonal of the curvature alone: sites are independent in it".to_string());
        }
        if !layers.is_empty() {
            notes.push(format!(
                "the curvature of `{}` has Kronecker factors of the Fisher information, one pair for each layer: layers are \
                 independent of each other and of everything else",
                layers.join("`, `")
            ));
        }
        let partly = settings.hessian == HessianChoice::LastLayer;
        if partly {
            let names: Vec<String> =
                last_layer(program, model).iter().map(|&s| format!("`{}`", model.sites[s].name)).collect();
            notes.push(format!(
                "only the last layer has a distribution ({}): everything else stays at the mode, so there is no evidence and no Pareto k",
                names.join(", ")
            ));
        }
        // Without a prior that integrates to 1 there is no evidence.
        let proper = !partly && model.sites.iter().all(|s| s.dist.is_proper());
        Ok(Normal {
            positions,
            pareto_k,
            steps: mode.steps,
            evaluations: mode.evaluations + problem.draws as u64,
            secs: mode.secs,
            notes,
            warnings: advice.into_iter().collect(),
            elbo: None,
            point: Some(mode.best.x.clone()),
            mode: Some(map::report(&mode, proper.then_some(log_evidence))),
            settings: how(settings, full, derivatives),
        })
    })
}

/// Where predictions are linearized, and what to say of them; nothing where they are those of draws.
///
/// # Errors
/// When the program asks for linearized predictions of a model that has none.
pub(super) fn linearized(
    chosen: &Chosen,
    sizes: &SizeValues,
    noncentered: &[SiteId],
    resampled: &[SizeId],
) -> Result<(Option<Linearized>, Option<String>), Failure> {
    let (program, infer) = (&chosen.program, &chosen.infer);
    let model = program.model.as_ref().expect("chosen programs have a model");
    let network = model.sites.iter().any(|s| s.fan_in.is_some());
    let wanted = match infer.mode.predictive {
        PredictiveChoice::Auto => network,
        PredictiveChoice::Draws => false,
        PredictiveChoice::Linearized => true,
    };
    if infer.algorithm != Algorithm::Laplace || !wanted {
        return Ok((None, None));
    }
    let moving = match infer.mode.hessian {
        HessianChoice::LastLayer => last_layer(program, model),
        _ => model.sites.indices().collect(),
    };
    let linearized = Linearized { noncentered: noncentered.to_vec(), moving, mode: Vec::new() };
    let new_rows = |s: &Site| s.ty.shape.iter().any(|d| resampled.iter().any(|&r| d.mentions(r)));
    let why = match model.sites.iter().find(|s| new_rows(s)) {
        Some(site) => Some(format!("`{}` has new rows, which have no mode", site.name)),
        None => linearized.check(program, sizes).err(),
    };
    match why {
        None => {
            let note = "predictions are those of the model linearized at the mode, in the direction of each draw; there is no \
                        leave-one-out";
            Ok((Some(linearized), Some(note.to_string())))
        }
        Some(why) if infer.mode.predictive == PredictiveChoice::Auto => {
            Ok((None, Some(format!("predictions are those of draws and not linearized: {why}"))))
        }
        Some(why) => {
            let message = format!("predictions cannot be linearized: {why}");
            let mut d = Diagnostic::new(Code::E0703, message).help("write `predictive = draws`");
            if let Some(span) = infer.span.filter(|_| infer.written) {
                d = d.label(span, "this would run");
            }
            Err(one(d))
        }
    }
}

/// The coordinates of the mode by site, to be kept.
pub(super) fn mode_params(program: &Program, sizes: &SizeValues, mode: &[f64]) -> Vec<NamedTensor> {
    let model = program.model.as_ref().expect("chosen programs have a model");
    let slots = Slots::default();
    let lo = Lowering::new(program, &slots, sizes.clone(), None, SiteSource::Prior);
    let mut rest = mode;
    let tensor = |id: SiteId| {
        let shape = lo.free_shape(id);
        let (own, after) = rest.split_at(shape.count());
        rest = after;
        NamedTensor { name: mode_name(&model.sites[id]), shape: shape.to_vec(), data: own.to_vec() }
    };
    model.sites.indices().map(tensor).collect()
}
fn mode_name(site: &Site) -> String {
    format!("{}.mode", site.name)
}

/// As [`linearized`] for the predictions of a fit, with the mode that it keeps.
pub(super) fn linearized_again(
    restored: &BoundProgram<'_>,
    fit: &Fit,
    chosen: &Chosen,
    resampled: &[SizeId],
) -> Result<(Option<Linearized>, Option<String>), Failure> {
    let program = &chosen.program;
    let noncentered = normal::standard(&normal::choices(restored, program, &chosen.infer.mode));
    let (linearized, note) = linearized(chosen, &restored.data.sizes, &noncentered, resampled)?;
    let Some(mut linearized) = linearized else { return Ok((None, note)) };
    let model = program.model.as_ref().expect("fitted programs have a model");
    for site in &model.sites {
        let Some(own) = fit.params.iter().find(|p| p.name == mode_name(site)) else {
            return Err(Failure::Fit {
                message: "the fit does not keep its mode, at which predictions are linearized".to_string(),
                help: Some(format!("fit it again: `bayesc run {}`", fit.model.path)),
            });
        };
        linearized.mode.extend_from_slice(&own.data);
    }
    Ok((Some(linearized), note))
}

/// How the curvature was found.
fn how(s: &ModeSettings, full: bool, derivatives: Derivatives) -> Vec<(&'static str, serde_json::Value)> {
    let hessian = match (s.hessian, full) {
        (HessianChoice::LastLayer, _) => "last_layer",
        (HessianChoice::Kron, _) => "kron",
        (_, true) => "full",
        (_, false) => "diag",
    };
    let derivatives = match derivatives {
        Derivatives::Exact => "exact",
        Derivatives::Differences => "differences",
    };
    vec![("hessian", json!(hessian)), ("second_derivatives", json!(derivatives))]
}
