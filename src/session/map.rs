//! A program fitted by the maximum of its posterior density: from the chosen settings to the finished fit.

use super::after::{After, Origin};
use super::{BoundProgram, Chosen, Failure, RunOptions, Stage, init, model_source, one};
use crate::check::settings::{Infer, Keep, ModeSettings, PrecisionChoice};
use crate::check::typed::*;
use crate::diag::{Code, Diagnostic};
use crate::exec::plan::Options;
use crate::infer::density::{self, Space};
use crate::infer::lbfgs::{End, norm};
use crate::infer::map::Map;
use crate::infer::mode::Mode;
use crate::infer::pointwise::Made;
use crate::infer::profile::Laps;
use crate::infer::{Memory, Observer};
use crate::kernels::conv::Method;
use crate::lower::Slots;
use crate::report::fit::{Fit, ModeReport, NamedTensor, Precision, StopReason, Timing};
use crate::rng::Key;
use serde_json::json;

/// What neither map nor laplace can do.
pub(super) fn refuse(infer: &Infer, options: &RunOptions) -> Result<(), Failure> {
    let name = infer.algorithm.name();
    if let Some(guide) = &options.guide {
        return Err(one(Diagnostic::new(
            Code::E0703,
            format!("{name} has no guide, so `--guide {guide}` has no meaning"),
        )
        .help("leave it out, or add `--infer svi`")));
    }
    if options.precision == Some(PrecisionChoice::F32) {
        let message = format!("{name} runs in f64: in f32 the last steps to the maximum drown in rounding");
        return Err(one(
            Diagnostic::new(Code::E0404, message).help("leave `--precision f32` out, or add `--infer svi`")
        ));
    }
    Ok(())
}

/// What the fit keeps of a search.
pub(super) fn report(mode: &Mode, log_evidence: Option<f64>) -> ModeReport {
    ModeReport {
        log_density: mode.best.value,
        log_evidence,
        gradient_norm: norm(&mode.best.gradient),
        steps: mode.steps,
        evaluations: mode.evaluations,
        converged: mode.converged(),
    }
}
pub(super) fn timing(total: f64, mode: &Mode) -> Timing {
    Timing {
        compile_secs: (total - mode.secs).max(0.0),
        fit_secs: mode.secs,
        steps_per_sec: (mode.secs > 0.0).then(|| mode.steps as f64 / mode.secs),
        items_per_sec: None,
    }
}

/// Searches for the maximum and makes the fit of the point.
pub(super) fn fit(bound: &BoundProgram<'_>, chosen: &Chosen, observer: &mut dyn Observer) -> Result<Fit, Failure> {
    let began = observer.clock();
    let (program, settings) = (&chosen.program, &chosen.infer.mode);
    let slots = Slots::new(program, &program.guides[chosen.guide], &bound.data.sizes, None);
    let n_draws = settings.draws.unwrap_or(1);
    let ensemble = settings.keep == Keep::All;
    let members = if ensemble { settings.restarts } else { 1 };
    let wanted = (members, n_draws, chosen.all);
    let (after, memory) =
        After::<f64>::plan(bound, chosen, &slots, Origin::Point(chosen.guide), wanted, Method::Direct);
    let warm = init::guide(bound, chosen, &slots, observer)?;
    let (guide, warm) = (chosen.guide, warm.as_ref());
    let map = Map { program, guide, bound: &bound.data, settings, slots: &slots, warm, memory: &memory };
    let result = map.run(observer)?;
    let total = observer.clock() - began;

    let mut laps = Laps::new(observer.stopwatch());
    let root = Key::new(settings.seed);
    // The points of all members, one after the other.
    let points = match &result.mode.maxima[..] {
        maxima @ [_, ..] if ensemble => maxima.concat(),
        _ => result.mode.best.x.clone(),
    };
    let (params, n) = (&points, points.len() / slots.len().max(1));
    let mut fit = Fit::new("map", model_source(bound), Precision::F64, settings.seed);
    let quantities = after.draws.run::<f64>(params, n_draws, After::<f64>::key(root));
    fit.notes.extend(chosen.notes.iter().cloned());
    if ensemble {
        fit.notes.push(format!("an ensemble of {n} maxima with equal weights, one of each search that found one"));
    } else {
        fit.notes.extend(result.mode.note());
    }
    fit.notes.extend(result.edges.iter().map(|name| {
        format!(
            "the density is largest at the end of the support of `{name}`: what is reported is as near as numbers get"
        )
    }));
    let made = Made { evaluations: result.mode.evaluations as f64, independent: true };
    after.finish(&mut fit, quantities, made, params, root, &mut laps);
    fit.stop_reason =
        if result.mode.best.end == End::Stopped { StopReason::Interrupted } else { StopReason::Completed };
    fit.warnings.extend(result.advice);
    fit.mode = Some(report(&result.mode, None));
    fit.timing = timing(total, &result.mode);
    fit.params = slots
        .list
        .iter()
        .map(|s| NamedTensor {
            name: s.name.clone(),
            shape: if ensemble { [n].iter().chain(s.shape.iter()).copied().collect() } else { s.shape.to_vec() },
            data: params
                .chunks_exact(slots.len().max(1))
                .flat_map(|p| p[s.offset..s.offset + s.shape.count()].iter().copied())
                .collect(),
        })
        .collect();
    fit.settings = settings_json(settings, n_draws);
    fit.data = bound.fingerprints();
    if let Some(profile) = laps.finish() {
        observer.profiled(profile);
    }
    Ok(fit)
}

/// Every setting with its final value.
fn settings_json(s: &ModeSettings, draws: usize) -> Vec<(String, serde_json::Value)> {
    [
        ("steps", json!(s.steps)),
        ("tolerance", json!(s.tolerance)),
        ("restarts", json!(s.restarts)),
        ("keep", json!(s.keep.name())),
        ("draws", json!(draws)),
        ("seed", json!(s.seed)),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .to_vec()
}

/// A stage of one evaluation of the log density as text.
pub(super) fn emit(bound: &BoundProgram<'_>, chosen: &Chosen, stage: Stage) -> Result<String, Failure> {
    let program = &chosen.program;
    let slots = Slots::new(program, &program.guides[chosen.guide], &bound.data.sizes, None);
    text(bound, chosen, &Space::Point { guide: chosen.guide, slots: &slots }, stage)
}

/// A stage of one evaluation of the log density in some coordinates as text.
pub(super) fn text(
    bound: &BoundProgram<'_>,
    chosen: &Chosen,
    space: &Space<'_>,
    stage: Stage,
) -> Result<String, Failure> {
    let mut graph = density::build(&chosen.program, &bound.data, space)?.graph;
    Ok(match stage {
        Stage::Plan => {
            let mut memory = Memory::new(chosen.max_memory);
            memory.always.push(("data", bound.bytes()));
            let text = memory.prepare::<f64>(&[&graph], Options::default(), 1)[0].print();
            memory.check()?;
            text
        }
        Stage::Adjoint => crate::ir::print::print(&graph, Some(&bound.compilation.sources)),
        Stage::Graph => {
            // The density alone, without what only its gradient needs.
            graph.outputs.truncate(1);
            let graph = crate::ir::passes::run(graph);
            crate::ir::print::print(&graph, Some(&bound.compilation.sources))
        }
    })
}

/// Adds a point mass on every site to the guides of a program: its position.
pub(super) fn point_mass(program: &mut Program, model: &Model) -> usize {
    program.guides.push(crate::check::guides::automatic(model, Family::Delta, "delta", None));
    program.guides.len() - 1
}
