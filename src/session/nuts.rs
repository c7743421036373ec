//! A program run by the No-U-Turn sampler: from the chosen settings to the finished fit.

use super::after::{After, Origin};
use super::{BoundProgram, Chosen, Failure, RunOptions, Stage, init, map, model_source, one, start};
use crate::check::settings::{ChainStart, Infer, NutsSettings, PrecisionChoice};
use crate::check::typed::*;
use crate::diag::{Code, Diagnostic};
use crate::infer::density::Space;
use crate::infer::nuts::{self, ChainDraws, Nuts, NutsFit, e_bfmi};
use crate::infer::pointwise::Made;
use crate::infer::profile::{Laps, Phase};
use crate::infer::sampler::Transition;
use crate::infer::{Observer, RunError};
use crate::kernels::conv::Method;
use crate::lower::Slots;
use crate::lower::noncentered::{self, Choice};
use crate::report::fit::{ChainReport, Fit, NamedTensor, Precision, SamplerReport, StopReason, Timing};
use crate::report::summary::Summary;
use crate::rng::Key;
use serde_json::json;

/// Below this the energy moves too little between draws (Betancourt 2016, arXiv:1604.00695).
const LOW_E_BFMI: f64 = 0.3;
/// Above this the chains have not mixed (Vehtari et al. 2021, arXiv:1903.08008).
const HIGH_RHAT: f64 = 1.01;
/// Effective draws that a chain should have, bulk and tail (the same source).
const ESS_PER_CHAIN: f64 = 100.0;

/// What nuts cannot do.
pub(super) fn refuse(program: &Program, infer: &Infer, options: &RunOptions) -> Result<(), Failure> {
    if let Some(p) = program.params.iter().next() {
        let mut d =
            Diagnostic::new(Code::E0404, format!("nuts cannot fit `{}`, which is a learnable constant", p.name))
                .label(p.span, "it has no prior, so it has no posterior to draw from")
                .help("give it a prior, `~` instead of `param`, or fit by `--infer svi`");
        if let Some(span) = infer.span.filter(|_| infer.written) {
            d = d.label(span, "this would run");
        }
        return Err(one(d));
    }
    if let Some(guide) = &options.guide {
        return Err(one(Diagnostic::new(
            Code::E0703,
            format!("nuts has no guide, so `--guide {guide}` has no meaning"),
        )
        .help("leave it out, or add `--infer svi`")));
    }
    if options.precision == Some(PrecisionChoice::F32) {
        return Err(one(Diagnostic::new(Code::E0404, "nuts runs in f64: in f32 trajectories lose their energy")
            .help("leave `--precision f32` out, or add `--infer svi`")));
    }
    Ok(())
}

fn choices(bound: &BoundProgram<'_>, program: &Program, settings: &NutsSettings) -> Vec<Choice> {
    noncentered::choose(program, &settings.reparam, Some(&bound.data.sizes))
}
fn standard(choices: &[Choice]) -> Vec<SiteId> {
    choices.iter().filter(|c| c.noncentered).map(|c| c.site).collect()
}

/// Runs the chains and makes the fit of their draws.
pub(super) fn fit(bound: &BoundProgram<'_>, chosen: &Chosen, observer: &mut dyn Observer) -> Result<Fit, Failure> {
    let began = observer.clock();
    let (program, settings) = (&chosen.program, &chosen.infer.nuts);
    let model = program.model.as_ref().expect("chosen programs have a model");
    let choices = choices(bound, program, settings);
    let noncentered = standard(&choices);
    let slots = Slots::default();
    let origin = Origin::Free { noncentered: noncentered.clone(), linearized: None };
    let wanted = (settings.chains, settings.draws, true);
    let (after, memory) = After::<f64>::plan(bound, chosen, &slots, origin, wanted, Method::Direct);
    let done = match &chosen.resume {
        Some(state) => nuts::restore(state, settings.draws).ok_or_else(|| {
            RunError::Checkpoint("the checkpoint is damaged: begin anew, without `--resume`".to_string())
        })?,
        None => Vec::new(),
    };
    if chosen.resume.is_some() {
        observer.note(&chains_left(&done, settings.chains));
    }
    let starts = match settings.start {
        ChainStart::Uniform => init::chains(bound, chosen, &noncentered, settings.chains, observer)?,
        ChainStart::Pathfinder => start::by_pathfinder(bound, chosen, &noncentered, &memory)?,
    };
    let noncentered = noncentered.clone();
    let nuts = Nuts { program, bound: &bound.data, settings, noncentered, memory: &memory, starts, done };
    let result = nuts.run(observer)?;
    let total = observer.clock() - began;

    let mut laps = Laps::new(observer.stopwatch());
    let root = Key::new(settings.seed);
    let quantities = after.draws.of_chains(&result.chains, After::<f64>::key(root));
    let mut fit = Fit::new("nuts", model_source(bound), Precision::F64, settings.seed);
    fit.independent_draws = false;
    fit.stop_reason = if result.complete { StopReason::Completed } else { StopReason::Interrupted };
    if !result.complete {
        fit.checkpoint = Some(nuts::save(&result.finished).arrays);
        fit.notes.push(format!(
            "`--resume` keeps the chains that are finished, {} of {}, and runs the others from their beginning",
            result.finished.len(),
            settings.chains
        ));
    }
    fit.notes.extend(chosen.notes.iter().cloned());
    let gradients: u64 = result.chains.iter().map(|c| c.gradients).sum();
    let made = Made { evaluations: gradients as f64, independent: false };
    after.finish(&mut fit, quantities, made, &[], root, &mut laps);
    fit.timing = Timing {
        compile_secs: (total - result.secs).max(0.0),
        fit_secs: result.secs,
        steps_per_sec: (result.secs > 0.0).then(|| {
            let n: usize = result.chains.iter().map(|c| c.warmup + c.transitions.len()).sum();
            n as f64 / result.secs
        }),
        items_per_sec: None,
    };
    fit.settings = settings_json(settings, &choices, model);
    fit.data = bound.fingerprints();
    fit.sampler = Some(report(&result));
    judge(&mut fit, &result, settings, choices.iter().any(|c| !c.noncentered));
    laps.lap(Phase::Summary);
    if let Some(profile) = laps.finish() {
        observer.profiled(profile);
    }
    Ok(fit)
}

/// What is said of a run that goes on.
fn chains_left(done: &[(usize, ChainDraws)], chains: usize) -> String {
    match done.len() {
        0 => "no chain was finished: all are run from their beginning".to_string(),
        n => format!("{n} of {chains} chains are finished, the others are run from their beginning"),
    }
}

/// What the sampler says about itself.
fn report(result: &NutsFit) -> SamplerReport {
    let chains = result.chains.iter().map(of_chain).collect();
    let shape = vec![result.chains.len(), result.draws()];
    let of = |name: &str, pick: fn(&Transition) -> f64| {
        let data = result.chains.iter().flat_map(|c| c.transitions.iter().map(pick)).collect();
        NamedTensor { name: name.to_string(), shape: shape.clone(), data }
    };
    let draws = vec![
        of("acceptance", |t| t.acceptance),
        of("divergent", |t| f64::from(u8::from(t.divergent))),
        of("energy", |t| t.energy),
        of("log_density", |t| t.log_density),
        of("step_size", |t| t.step_size),
        of("tree_depth", |t| t.depth as f64),
    ];
    SamplerReport { chains, draws }
}
fn of_chain(chain: &ChainDraws) -> ChainReport {
    let n = chain.transitions.len() as f64;
    let mean = |pick: fn(&Transition) -> f64| chain.transitions.iter().map(pick).sum::<f64>() / n;
    let energies: Vec<f64> = chain.transitions.iter().map(|t| t.energy).collect();
    ChainReport {
        step_size: chain.transitions.last().map_or(f64::NAN, |t| t.step_size),
        acceptance: mean(|t| t.acceptance),
        tree_depth: mean(|t| t.depth as f64),
        divergences: chain.transitions.iter().filter(|t| t.divergent).count() as u64,
        max_depth_hits: chain.transitions.iter().filter(|t| t.at_max_depth).count() as u64,
        e_bfmi: e_bfmi(&energies),
        gradients: chain.gradients,
    }
}

/// Diagnostics over all chains, and a sentence on each that gives reason to doubt: what it means and what to do.
/// `centered`: some hierarchical site could be written with a standard variable and is not.
fn judge(fit: &mut Fit, result: &NutsFit, settings: &NutsSettings, centered: bool) {
    let chains = fit.sampler.as_ref().map_or(&[][..], |s| &s.chains[..]);
    let divergences: u64 = chains.iter().map(|c| c.divergences).sum();
    let deep: u64 = chains.iter().map(|c| c.max_depth_hits).sum();
    let energy = chains.iter().map(|c| c.e_bfmi).filter(|x| x.is_finite()).reduce(f64::min);
    fit.diagnostics.divergences = Some(divergences);
    fit.diagnostics.max_depth_hits = Some(deep);
    fit.diagnostics.min_e_bfmi = energy;
    fit.diagnostics = Summary::of(fit, false).diagnostics;
    let n = result.chains.len() * result.draws();
    let mut warn = |text: String| fit.warnings.push(text);
    if divergences > 0 {
        let higher = 1.0 - (1.0 - settings.target_accept) / 4.0;
        let other = if centered { ", or `reparam = noncentered`" } else { "" };
        warn(format!(
            "{divergences} of {n} draws diverged, so a part of the posterior may have been missed: set \
             `target_accept = {higher:.2}`{other}, or give scales that can come close to 0 tighter priors"
        ));
    }
    if deep as f64 > 0.01 * n as f64 {
        warn(format!(
            "{deep} of {n} trajectories stopped at depth {}: the draws are right but few for their cost; scale the \
             predictors, or set `max_depth = {}`",
            settings.max_depth,
            settings.max_depth + 2
        ));
    }
    if let Some(e) = energy.filter(|e| *e < LOW_E_BFMI) {
        warn(format!(
            "the energy moves little between draws (E-BFMI {e:.2}): tails of the posterior may be missing; look for \
             scales that can come close to 0 and give them tighter priors"
        ));
    }
    let d = fit.diagnostics;
    if let Some(rhat) = d.max_rhat.filter(|r| *r > HIGH_RHAT) {
        warn(format!("the chains do not agree (R-hat {rhat:.3}): draw longer, `warmup` and `draws` twice as many"));
    } else if let Some(ess) = [d.min_ess_bulk, d.min_ess_tail].into_iter().flatten().reduce(f64::min)
        && ess < ESS_PER_CHAIN * result.chains.len() as f64
    {
        warn(format!("some quantities have only {ess:.0} effective draws: set `draws` higher"));
    }
}

/// Every setting with its final value.
fn settings_json(s: &NutsSettings, choices: &[Choice], model: &Model) -> Vec<(String, serde_json::Value)> {
    let reparam: serde_json::Map<String, serde_json::Value> = choices
        .iter()
        .map(|c| {
            let word = if c.noncentered { "noncentered" } else { "centered" };
            (model.sites[c.site].name.clone(), json!(word))
        })
        .collect();
    [
        ("chains", json!(s.chains)),
        ("warmup", json!(s.warmup)),
        ("draws", json!(s.draws)),
        ("target_accept", json!(s.target_accept)),
        ("max_depth", json!(s.max_depth)),
        ("seed", json!(s.seed)),
        ("reparam", serde_json::Value::Object(reparam)),
        ("start", json!(s.start.name())),
        ("metric", json!(s.metric.name())),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .to_vec()
}

/// A stage of one evaluation of the log density as text.
pub(super) fn emit(bound: &BoundProgram<'_>, chosen: &Chosen, stage: Stage) -> Result<String, Failure> {
    let program = &chosen.program;
    let noncentered = standard(&choices(bound, program, &chosen.infer.nuts));
    map::text(bound, chosen, &Space::Unconstrained(noncentered), stage)
}
