//! Leave-one-out of a finished fit: whether it can be had, from which draws, and what has to be said about it.

use crate::infer::Memory;
use crate::infer::draws::{self, Draws};
use crate::infer::pointwise::{MOST, Made, Planned, Pointwise};
use crate::kernels::Scalar;
use crate::report::fit::{self, Fit, Quantity};
use crate::rng::Key;

/// What is planned before a fit begins, and what to say where nothing is.
pub(super) struct Plan<'p, F> {
    planned: Option<(Pointwise<'p>, Planned<F>)>,
    /// The chains that it is planned for.
    chains: usize,
    notes: Vec<String>,
}

impl<'p, F: Scalar + Into<f64>> Plan<'p, F>
where
    fit::Draws: From<Vec<F>>,
{
    /// Plans the log likelihoods of every observation under so many draws, and counts their memory. Where there is no
    /// room for them the fit goes on without.
    pub(super) fn new(pointwise: Pointwise<'p>, chains: usize, draws: usize, memory: &mut Memory) -> Self {
        match pointwise.prepare(chains, draws) {
            Err(notes) => Self { planned: None, chains, notes },
            Ok(planned) => {
                let bytes = planned.bytes();
                if memory.reported() + bytes > memory.limit.unwrap_or(u64::MAX) {
                    let note = "no leave-one-out: its log likelihoods do not fit the limit of memory".to_string();
                    return Self { planned: None, chains, notes: vec![note] };
                }
                memory.report.push(("log likelihoods", bytes));
                Self { planned: Some((pointwise, planned)), chains, notes: Vec::new() }
            }
        }
    }

    /// Adds leave-one-out to a fit whose `quantities` have been drawn. Draws that are not kept are made again by `again`,
    /// with the same key.
    pub(super) fn finish(
        self,
        fit: &mut Fit,
        quantities: &[Quantity],
        made: Made,
        params: &[F],
        again: (&Draws<'_>, Key),
    ) {
        fit.notes.extend(self.notes);
        let Some((pointwise, planned)) = self.planned else { return };
        fit.notes.extend(planned.notes.iter().cloned());
        let Some(first) = quantities.first() else { return };
        let (chains, all) = (first.chains, first.draws);
        if all == 0 {
            return;
        }
        if chains != self.chains {
            let text = format!("no leave-one-out: there are {chains} of {} chains", self.chains);
            fit.notes.push(text);
            return;
        }
        let Some(used) = planned.affordable(made).filter(|&used| used > 0) else {
            fit.notes.push(
                "no leave-one-out: it would take longer than the fit; `evaluate` scores rows that the fit has not seen"
                    .to_string(),
            );
            return;
        };
        let used = used.min(all);
        let latent = |q: &&Quantity| q.role == fit::Role::Latent;
        let loo = if quantities.iter().filter(latent).all(Quantity::has_draws) {
            // Evenly spread over each chain.
            let places = (0..chains).flat_map(|c| (0..used).map(move |i| c * all + i * all / used)).collect();
            pointwise.run(planned, made, used, params, &mut draws::Chosen { quantities, places })
        } else {
            let (draws, key) = again;
            pointwise.run(planned, made, used, params, &mut draws.again::<F>(params, used, key))
        };
        if used < all {
            fit.notes.push(format!(
                "leave-one-out uses {} of {} draws: more would take longer than the fit",
                chains * used,
                chains * all
            ));
        }
        if loo.terms.iter().any(|t| t.log_likelihood.is_none()) {
            fit.notes.push(format!(
                "the log likelihoods are summed up, not kept: {} draws of {} observations are more than {MOST} numbers",
                loo.n_draws(),
                loo.count()
            ));
        }
        fit.notes.extend(loo.advice());
        fit.loo = Some(loo);
    }
}
