//! Simulation-based calibration: a model and an inference method tested on data that the model made.
//!
//! In: a bound program, options of a run.   Out: for every latent number, how many of its posterior draws lie below the value
//! that made the data, simulation by simulation. Where the posterior is right these ranks are uniform.

use super::{BoundProgram, Failure, RunOptions, one, prior, run};
use crate::check::typed::{DataId, Program};
use crate::data::Values;
use crate::diag::{Code, Diagnostic};
use crate::infer::{Observer, RunError, Sampling, Status};
use crate::report::fit::{Fit, Quantity, Role};
use crate::report::sbc::{RANKS, Ranked, Report};
use crate::rng::Key;
use std::ops::ControlFlow;

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Calibration {
    /// Data sets, each with a fit of its own.
    pub simulations: usize,
    /// Seed of the values that make the data; fit i has this seed plus i.
    pub seed: u64,
}

/// Draws values and data from the model, fits every data set as the options say, and ranks the values among the draws.
/// `watch` is told how many fits are done, and may stop.
///
/// # Errors
/// When the model has no prior to draw from, when observed data cannot be simulated as a whole, when a run is refused, and
/// when no fit succeeds. A single fit that fails is counted in the report.
pub fn sbc(
    bound: &BoundProgram<'_>,
    options: &RunOptions,
    calibration: Calibration,
    clock: &mut (dyn FnMut() -> f64 + Send),
    watch: &mut (dyn FnMut(usize) -> ControlFlow<()> + Send),
) -> Result<Report, Failure> {
    let drawn = prior(bound, calibration.simulations, calibration.seed)?;
    let data = simulated(&bound.program, bound, &drawn)?;
    let latent: Vec<&Quantity> = drawn.iter().filter(|q| q.role == Role::Latent).collect();
    if latent.is_empty() {
        return Err(one(Diagnostic::new(Code::E0804, "the model has no latent site to calibrate")
            .help("add one, for example `mu ~ Normal(0, 1)`")));
    }
    let mut report = Report { simulations: calibration.simulations, ..Report::default() };
    for q in &latent {
        for element in 0..q.count() {
            report.ranked.push(Ranked { name: q.element_name(element), ranks: Vec::new() });
        }
    }
    let key = Key::new(calibration.seed).fold_in(13);
    let mut last: Option<RunError> = None;
    for i in 0..calibration.simulations {
        let mut values = bound.data.clone();
        for (id, q) in &data {
            values.values[*id] = Some(Values::in_memory(&q.shape, row(q, i)));
        }
        let made = BoundProgram {
            compilation: bound.compilation,
            program: Program { expects: Vec::new(), evaluate: Vec::new(), ..bound.program.clone() },
            data: values,
            held_out: None,
            labels: bound.labels.clone(),
            learned: bound.learned.clone(),
            fingerprints: bound.fingerprints.clone(),
            given: bound.given.clone(),
            sizes: bound.sizes.clone(),
        };
        let seed = calibration.seed.wrapping_add(1 + i as u64);
        let mut quiet = Quiet { clock: &mut *clock, stopped: false, watch: &mut || watch(i) };
        let result = run(&made, &RunOptions { seed: Some(seed), all: true, ..options.clone() }, &mut quiet);
        if quiet.stopped {
            return Err(Failure::Run(RunError::Stopped(format!(
                "stopped after {i} of {} simulations",
                calibration.simulations
            ))));
        }
        match result {
            Ok(fit) => {
                report.algorithm = if fit.guide.is_empty() {
                    fit.algorithm.clone()
                } else {
                    format!("{} · {} guide", fit.algorithm, fit.guide)
                };
                rank(&fit, &latent, i, key.fold_in(i as u64), &mut report)?;
            }
            Err(Failure::Run(error)) => {
                report.failed += 1;
                last = Some(error);
            }
            Err(refused) => return Err(refused),
        }
        if watch(i + 1).is_break() && i + 1 < calibration.simulations {
            return Err(Failure::Run(RunError::Stopped(format!(
                "stopped after {} of {} simulations",
                i + 1,
                calibration.simulations
            ))));
        }
    }
    match last {
        Some(error) if report.failed == calibration.simulations => Err(Failure::Run(error)),
        _ => Ok(report),
    }
}

/// The observed data with what the model makes of them.
fn simulated<'q>(
    program: &Program,
    bound: &BoundProgram<'_>,
    drawn: &'q [Quantity],
) -> Result<Vec<(DataId, &'q Quantity)>, Failure> {
    let model = program.model.as_ref().expect("a program with a prior has a model");
    let names = model.observations.iter().map(|o| (o.name.as_str(), o.span));
    let mut found: Vec<(DataId, &Quantity)> = Vec::new();
    for (name, span) in names {
        let q = drawn.iter().find(|q| q.role == Role::Generated && q.name == name);
        let place = program.data.iter_enumerated().find(|(_, d)| d.name == name).map(|(id, _)| id);
        let fits = |id: DataId, q: &Quantity| bound.data.values[id].as_ref().is_none_or(|v| v.shape() == q.shape);
        match (q, place) {
            (Some(q), Some(id)) if fits(id, q) => {
                if !found.iter().any(|(known, _)| *known == id) {
                    found.push((id, q));
                }
            }
            _ => {
                return Err(one(Diagnostic::new(
                    Code::E0404,
                    format!("`{name}` is not observed as a whole, so its data cannot be simulated"),
                )
                .label(span, "observed in pieces, or computed, or without a proper distribution")
                .help("observe the datum itself: `y ~ …` for `data y`")));
            }
        }
    }
    Ok(found)
}

/// The values of one draw.
fn row(q: &Quantity, i: usize) -> Vec<f64> {
    (0..q.count()).map(|e| q.value(0, i, e)).collect()
}

/// Adds the rank of every true value among [`RANKS`] draws of a fit, evenly spread over all: those of a chain are then nearly
/// independent. Equal values, of discrete sites or ends of supports, are ordered at random.
fn rank(fit: &Fit, latent: &[&Quantity], i: usize, key: Key, report: &mut Report) -> Result<(), Failure> {
    let mut at = 0;
    for q in latent {
        let posterior = fit.quantities.iter().find(|p| p.name == q.name);
        for element in 0..q.count() {
            let truth = q.value(0, i, element);
            let Some(p) = posterior else {
                at += 1;
                continue;
            };
            let all = p.chains * p.draws;
            if all < RANKS {
                let message = format!("a fit has {all} draws, too few for ranks among {RANKS}");
                return Err(one(
                    Diagnostic::new(Code::E0703, message).help(format!("draw at least {RANKS}: `--set draws={RANKS}`"))
                ));
            }
            let mut ties = [0.0f64; RANKS];
            crate::rng::fill_uniform(key.fold_in(at as u64), 0, &mut ties);
            let below = (0..RANKS).filter(|&d| {
                let at = d * all / RANKS;
                let x = p.value(at / p.draws, at % p.draws, element);
                x < truth || (x == truth && ties[d] < 0.5)
            });
            report.ranked[at].ranks.push(below.count() as u32);
            at += 1;
        }
    }
    Ok(())
}

/// Watches one fit among many: nothing is shown, and the user may stop it.
struct Quiet<'a> {
    clock: &'a mut (dyn FnMut() -> f64 + Send),
    watch: &'a mut (dyn FnMut() -> ControlFlow<()> + Send),
    stopped: bool,
}

impl Quiet<'_> {
    fn flow(&mut self) -> ControlFlow<()> {
        let flow = (self.watch)();
        self.stopped |= flow.is_break();
        flow
    }
}

impl Observer for Quiet<'_> {
    fn note(&mut self, _: &str) {}
    fn status(&mut self, _: &Status) -> ControlFlow<()> {
        self.flow()
    }
    fn sampling(&mut self, _: &Sampling<'_>) -> ControlFlow<()> {
        self.flow()
    }
    fn clock(&mut self) -> f64 {
        (self.clock)()
    }
}
