//! Several fits from different starting points: the best one, or all of them as an ensemble; and how to go on with them
//! after an interruption.

use crate::check::settings::Keep;
use crate::infer::svi::{Svi, SviFit};
use crate::infer::{Checkpoint, Observer, RunError};
use crate::kernels::Scalar;
use crate::report::fit::StopReason;

/// What the fits have come to.
pub(super) struct Outcome<F> {
    /// The best one, or the members of the ensemble.
    pub fits: Vec<SviFit<F>>,
    /// The position of the best one among them.
    pub best: usize,
    /// What to say about them.
    pub note: Option<String>,
    /// Why the run ended.
    pub stop: StopReason,
    /// Seconds of all fits.
    pub secs: f64,
    /// What it takes to go on, after an interruption.
    pub state: Option<Checkpoint>,
}

fn damaged() -> RunError {
    RunError::Checkpoint("the checkpoint is damaged: begin anew, without `--resume`".to_string())
}

/// Runs all fits, or those that an interrupted run has left. Fits whose numbers leave the finite ones count only when all do.
pub(super) fn run<F: Scalar>(
    svi: &Svi<'_>,
    resume: Option<&Checkpoint>,
    observer: &mut dyn Observer,
) -> Result<Outcome<F>, RunError> {
    let (restarts, keep) = (svi.settings.restarts, svi.settings.keep);
    let mut fits: Vec<SviFit<F>> = Vec::new();
    // Final ELBOs; infinite for fits that left the finite numbers.
    let mut bounds: Vec<f64> = Vec::new();
    let mut secs = 0.0;
    let mut first = 0;
    let course = resume.map(|state| state.part("course."));
    if let Some(state) = resume {
        first = usize::try_from(state.count("restart").ok_or_else(damaged)?).map_err(|_| damaged())?;
        bounds = state.get("bounds").ok_or_else(damaged)?.to_vec();
        secs = state.number("secs").ok_or_else(damaged)?;
        let terms = svi.terms()?;
        for at in 0..state.count("kept").ok_or_else(damaged)? {
            let part = state.part(&format!("kept.{at}."));
            fits.push(
                SviFit::restore(&part, svi.slots.len(), terms.clone(), svi.settings.objective).ok_or_else(damaged)?,
            );
        }
    }
    let mut failure = None;
    let mut state = None;
    for restart in first..restarts {
        let from = course.as_ref().filter(|_| restart == first);
        match (Svi { restart, from, ..*svi }).run::<F>(observer) {
            Ok(mut fit) => {
                let stopped = fit.stop == StopReason::Interrupted;
                if stopped {
                    state = fit.state.take().map(|course| checkpoint(restart, &bounds, &fits, secs, course));
                }
                bounds.push(reached(&fit));
                secs += fit.secs;
                let better = fits
                    .first()
                    .is_none_or(|b| reached(&fit) > reached(b) || (reached(b).is_nan() && !reached(&fit).is_nan()));
                match keep {
                    // An unfinished member would weigh as much as the others.
                    Keep::All if !stopped || fits.is_empty() => fits.push(fit),
                    Keep::Best if better => fits = vec![fit],
                    _ => {}
                }
                if stopped {
                    break;
                }
            }
            Err(error) if error.is_recoverable() && restarts > 1 => {
                bounds.push(f64::INFINITY);
                failure = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    let height = |at: usize| Some(reached(&fits[at])).filter(|x| !x.is_nan()).unwrap_or(f64::NEG_INFINITY);
    let best = (0..fits.len()).max_by(|&a, &b| height(a).total_cmp(&height(b)));
    let Some(best) = best else { return Err(failure.unwrap_or_else(damaged)) };
    let stop = match &state {
        Some(_) => StopReason::Interrupted,
        None => fits[best].stop,
    };
    let words = |x: &f64| if x.is_infinite() { "not finite".to_string() } else { format!("{x:.2}") };
    let all: Vec<String> = bounds.iter().map(words).collect();
    let what = if fits[best].bound.is_some() { "bounds" } else { "ELBOs" };
    let note = match keep {
        _ if restarts == 1 => None,
        Keep::Best => Some(format!("the best of {} fits is kept: their {what} are {}", all.len(), all.join(", "))),
        Keep::All => Some(format!(
            "an ensemble of {} fits with equal weights: their {what} are {}; the ELBO of the ensemble is at least the \
             mean of theirs, which is given",
            fits.len(),
            all.join(", ")
        )),
    };
    Ok(Outcome { fits, best, note, stop, secs, state })
}

/// The final value of what was maximized.
fn reached<F>(fit: &SviFit<F>) -> f64 {
    fit.bound.as_ref().map_or(fit.elbo.final_, |bound| bound.final_)
}

/// The state before the fit `restart` goes on with `course`.
fn checkpoint<F: Scalar>(
    restart: usize,
    bounds: &[f64],
    fits: &[SviFit<F>],
    secs: f64,
    course: Checkpoint,
) -> Checkpoint {
    let mut state = Checkpoint::default();
    state.put("restart", vec![restart as f64]);
    state.put("bounds", bounds.to_vec());
    state.put("secs", vec![secs]);
    state.put("kept", vec![fits.len() as f64]);
    for (at, fit) in fits.iter().enumerate() {
        state.put_all(&format!("kept.{at}."), fit.save());
    }
    state.put_all("course.", course);
    state
}
