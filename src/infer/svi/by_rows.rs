//! Bounds by importance weights where rows are subsampled: each row of the data has a bound of its own.
//!
//! Where all latents belong to rows, the log evidence is the sum of those of the rows, and so is the bound, however many
//! of them a step sees. A step first takes the log ratios of all draws, without gradients; they make the weights of each row.
//! Then it takes the gradients, row by row multiplied by them: a log ratio has its weight among the draws, and the path of a
//! draw in addition what [`Objective::path_factor`] says.

use super::Svi;
use super::step::Step;
use crate::infer::objective::Objective;
use crate::kernels::Scalar;
use crate::rng::Key;

/// Room for the draws of a step, and what is done with them.
pub(super) struct ByRows<F> {
    objective: Objective,
    /// Draws under a logarithm.
    k: usize,
    /// Bounds of which a step takes the mean.
    groups: usize,
    /// The number of all rows.
    all: usize,
    /// `[row, draw]` [nats]
    ratios: Vec<f64>,
    /// `[draw, row]`
    weights: Vec<F>,
    /// `[draw, row]`
    paths: Vec<F>,
    guide: Vec<f64>,
    model: Vec<f64>,
}

/// The bytes of that room, for `k` draws of `rows` rows in numbers of `number` bytes.
pub(super) fn bytes(k: usize, rows: usize, number: usize) -> usize {
    k * rows * (size_of::<f64>() + 2 * number)
}

impl<F: Scalar> ByRows<F> {
    /// The room that a fit needs, if its bounds are those of rows.
    pub(super) fn new(svi: &Svi<'_>, groups: usize) -> Option<Self> {
        let (all, rows, _) = svi.rows().filter(|_| svi.by_rows())?;
        let objective = svi.settings.objective;
        let k = objective.draws();
        Some(Self {
            objective,
            k,
            groups,
            all,
            ratios: vec![0.0; k * rows],
            weights: vec![F::ZERO; k * rows],
            paths: vec![F::ZERO; k * rows],
            guide: vec![0.0; k],
            model: vec![0.0; k],
        })
    }
    /// Draws of a step.
    pub(super) fn runs(&self) -> usize {
        self.k * self.groups
    }
    /// The bound of all rows, as the rows of this step tell; its negative gradient goes to `gradient`.
    pub(super) fn run(&mut self, step: &mut Step<F>, svi: &Svi<'_>, key: Key, gradient: &mut [F]) -> f64 {
        let [weight_input, path_input] =
            step.graph.of_rows.and_then(|of| of.factors).expect("steps of rows have weights of rows");
        let k = self.k;
        let mut value = 0.0;
        gradient.fill(F::ZERO);
        step.give_forward();
        for group in 0..self.groups {
            let key = |j: usize| key.fold_in((group * k + j) as u64);
            let mut rows = 0;
            for j in 0..k {
                let own = step.ratios(key(j));
                rows = own.len();
                own.iter().enumerate().for_each(|(row, r)| self.ratios[row * k + j] = r.to_f64());
            }
            if self.ratios[..rows * k].iter().any(|r| !r.is_finite()) {
                return f64::NAN;
            }
            let share = 1.0 / self.groups as f64;
            for (row, ratios) in self.ratios[..rows * k].chunks_exact(k).enumerate() {
                value += share * self.objective.value(ratios);
                self.objective.weights(ratios, &mut self.guide, &mut self.model);
                let weights = if self.objective.is_bound() { &self.model } else { &self.guide };
                for (j, &v) in weights.iter().enumerate() {
                    self.weights[j * rows + row] = F::from_f64(share * v);
                    self.paths[j * rows + row] = F::from_f64(self.objective.path_factor(v));
                }
            }
            for j in 0..k {
                step.exe.set_data(weight_input, &self.weights[j * rows..(j + 1) * rows]);
                step.exe.set_data(path_input, &self.paths[j * rows..(j + 1) * rows]);
                step.exe.run(&[], key(j));
                step.add_gradient(svi.slots, gradient);
            }
            // Rows are those of the step, which stand for all.
            if group + 1 == self.groups {
                value *= self.all as f64 / rows as f64;
            }
        }
        value
    }
}
