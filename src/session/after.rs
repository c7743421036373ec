//! What every fit reports once its engine is done: draws, scores on held-out data, leave-one-out. They are planned before
//! the engine begins, so that the memory that they need is known.

use super::{BoundProgram, SCORE_DRAWS, draws_of_sites, loo};
use crate::check::size::SizeId;
use crate::check::typed::SiteId;
use crate::infer::Memory;
use crate::infer::draws::{Chosen, Draws};
use crate::infer::linearized::Linearized;
use crate::infer::pointwise::{Made, Pointwise};
use crate::infer::predictive::{Predictive, Scoring};
use crate::infer::profile::{Laps, Phase};
use crate::kernels::Scalar;
use crate::kernels::conv::Method;
use crate::lower::{SiteSource, Slots};
use crate::report::fit::{self, Fit, Quantity};
use crate::rng::Key;

/// Where the values of the latent sites come from.
pub(super) enum Origin {
    /// The guide with this number, subsampled along a size.
    Guide { guide: usize, subsampled: Option<SizeId> },
    /// One point, that of the guide with this number: its sites are the same in every draw.
    Point(usize),
    /// Positions in the space of the density; these sites are standardized there. Predictions may be linearized.
    Free { noncentered: Vec<SiteId>, linearized: Option<Linearized> },
}

/// What is planned.
pub(super) struct After<'p, F> {
    /// Makes the draws that are reported.
    pub draws: Draws<'p>,
    scores: Option<(Predictive<'p>, Scoring<F>)>,
    leave_one_out: Option<loo::Plan<'p, F>>,
    /// The draws that held-out data are scored with.
    scored: usize,
    is_point: bool,
}

impl<'p, F: Scalar + Into<f64>> After<'p, F>
where
    fit::Draws: From<Vec<F>>,
{
    /// Plans `chains` times `n` draws; `all` keeps those of large arrays. Also what data and draws take of memory.
    pub(super) fn plan(
        bound: &'p BoundProgram<'_>,
        chosen: &'p super::Chosen,
        slots: &'p Slots,
        origin: Origin,
        (chains, n, all): (usize, usize, bool),
        convolution: Method,
    ) -> (Self, Memory) {
        let program = &chosen.program;
        let (guide, subsampled) = match origin {
            Origin::Guide { guide, subsampled } => (Some(guide), subsampled),
            Origin::Point(guide) => (Some(guide), None),
            Origin::Free { .. } => (None, None),
        };
        let is_point = matches!(origin, Origin::Point(_));
        let linearized = match &origin {
            Origin::Free { linearized, .. } => linearized.clone(),
            _ => None,
        };
        let source = match origin {
            Origin::Guide { guide, .. } | Origin::Point(guide) => SiteSource::Guide(guide),
            Origin::Free { noncentered, .. } => SiteSource::Free { noncentered },
        };
        let draws = Draws {
            program,
            bound: &bound.data,
            labels: &bound.labels,
            slots,
            source,
            observations: false,
            generate: true,
            all,
            convolution,
            only: None,
        };
        let scored = if is_point { SCORE_DRAWS } else { (chains * n).min(SCORE_DRAWS) };
        let mut memory = Memory::new(chosen.max_memory);
        memory.always.push(("data", bound.bytes()));
        memory.report.push(("draws", draws.bytes(chains * n, size_of::<F>())));
        let is_linearized = linearized.is_some();
        let scores = bound.held_out.as_ref().map(|(held_out, resampled)| {
            let resampled = resampled.clone();
            let predictive = Predictive { program, bound: held_out, resampled, guide, slots, convolution, linearized };
            let scoring = predictive.prepare::<F>();
            memory.report.push(("scores", scoring.bytes(scored)));
            (predictive, scoring)
        });
        // A point has no spread that leaving one out could change; the likelihood at draws is not that of predictions that
        // are linearized.
        let leave_one_out = (!is_point && !is_linearized).then(|| {
            let (bound, labels) = (&bound.data, &bound.labels);
            let pointwise = Pointwise { program, bound, labels, guide, slots, subsampled, convolution };
            loo::Plan::new(pointwise, chains, n, &mut memory)
        });
        (Self { draws, scores, leave_one_out, scored, is_point }, memory)
    }

    /// Where the model is linearized, once it is known: the coordinates of all sites.
    pub(super) fn at_mode(&mut self, mode: &[f64]) {
        if let Some(linearized) = self.scores.as_mut().and_then(|(predictive, _)| predictive.linearized.as_mut()) {
            linearized.mode = mode.to_vec();
        }
    }

    /// The key of the draws under the root of a fit.
    pub(super) fn key(root: Key) -> Key {
        root.fold_in(10)
    }

    /// Gives `quantities`, which were drawn under [`Self::key`] of `root`, to the fit, with what follows from them; `made` is
    /// what the engine did for them.
    pub(super) fn finish(
        self,
        fit: &mut Fit,
        mut quantities: Vec<Quantity>,
        made: Made,
        params: &[F],
        root: Key,
        laps: &mut Laps,
    ) {
        let priors = if self.is_point { Vec::new() } else { self.draws.prior_sds() };
        for (name, sd) in priors {
            if let Some(q) = quantities.iter_mut().find(|q| q.name == name) {
                q.prior_sd = Some(sd);
            }
        }
        laps.lap(Phase::Draws);
        if let Some((predictive, scoring)) = self.scores {
            fit.notes.extend(predictive.notes(self.scored));
            // Draws that are not kept are made again.
            fit.evaluation = if !self.is_point && quantities.iter().all(Quantity::has_draws) {
                let chains = quantities.first().map_or(1, |q| q.chains);
                if params.is_empty() || chains == 1 {
                    let mut posterior = draws_of_sites(&quantities, self.scored);
                    predictive.score::<F>(scoring, params, &mut posterior, root.fold_in(11))
                } else {
                    // Each draw of an ensemble needs the parameters of its member.
                    let (n, all) = (self.scored, chains * quantities[0].draws);
                    let places = (0..n).map(|i| i * all / n).collect();
                    let mut posterior = Chosen { quantities: &quantities, places };
                    predictive.score::<F>(scoring, params, &mut posterior, root.fold_in(11))
                }
            } else {
                let mut again = self.draws.again::<F>(params, self.scored, Self::key(root));
                predictive.score::<F>(scoring, params, &mut again, root.fold_in(11))
            };
        }
        let ensemble = params.len() > self.draws.slots.len();
        if let Some(plan) = self.leave_one_out.filter(|_| !ensemble) {
            plan.finish(fit, &quantities, made, params, (&self.draws, Self::key(root)));
        }
        fit.quantities = quantities;
        laps.lap(Phase::Scores);
    }
}
