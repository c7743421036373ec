//! A program fitted by the best normals on the way to its mode: from the chosen settings to the finished fit.

use super::normal::{self, Normal};
use super::{BoundProgram, Chosen, Failure};
use crate::infer::Observer;
use crate::infer::pathfinder::PathfinderFit;
use crate::report::fit::{Elbo, Fit};

/// Follows the paths and makes the fit of draws from their normals.
pub(super) fn fit(bound: &BoundProgram<'_>, chosen: &Chosen, observer: &mut dyn Observer) -> Result<Fit, Failure> {
    normal::fit(bound, chosen, observer, |problem, observer| {
        let PathfinderFit { positions, distinct, effective, elbos, pareto_k, steps, evaluations, secs } =
            PathfinderFit::of(problem, observer)?;
        let best = elbos.iter().flatten().copied().max_by(|a, b| a.0.total_cmp(&b.0));
        let mut notes = Vec::new();
        if elbos.len() > 1 {
            let each: Vec<String> =
                elbos.iter().map(|e| e.map_or("none".to_string(), |(value, _)| format!("{value:.2}"))).collect();
            notes.push(format!(
                "the ELBO of the normals of {} paths: {}; {distinct} of {} draws are different, and \
                 the weights are worth {effective:.0} independent ones",
                elbos.len(),
                each.join(", "),
                problem.draws
            ));
        }
        Ok(Normal {
            positions,
            pareto_k,
            steps,
            evaluations,
            secs,
            notes,
            warnings: Vec::new(),
            elbo: best.map(|(final_, standard_error)| Elbo { final_, standard_error, steps }),
            mode: None,
            point: None,
            settings: Vec::new(),
        })
    })
}
