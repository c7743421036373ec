//! Gradients of which each is a function of several draws: bounds by importance weights, the score function.
//!
//! The draws of a group run one after the other on the same plan. What they give is kept until the log ratios of all are
//! known: those make the weights with which the gradients are then added.

use super::Svi;
use super::step::Step;
use crate::infer::objective::{Objective, leave_one_out};
use crate::kernels::Scalar;
use crate::lower::params::Owner;
use crate::rng::Key;
use std::ops::Range;

/// Room for the draws of a group, and what is done with them.
pub(super) struct Group<F> {
    objective: Objective,
    /// Draws of a group.
    k: usize,
    /// Groups of a step.
    groups: usize,
    /// The gradient of each draw, one after the other.
    gradients: Vec<F>,
    /// The scores of each draw; empty where no site has any.
    scores: Vec<F>,
    /// The log ratio of each draw [nats], or the value of the ELBO.
    ratios: Vec<f64>,
    guide: Vec<f64>,
    model: Vec<f64>,
    score: Vec<f64>,
    /// Ranges of learnable constants of the model alone.
    of_model: Vec<Range<usize>>,
}

impl<F: Scalar> Group<F> {
    /// The room that a fit needs, if its gradient is of this kind.
    pub(super) fn new(svi: &Svi<'_>, particles: usize, scored: bool) -> Option<Self> {
        let objective = svi.settings.objective;
        let (k, groups) = match objective {
            Objective::Elbo if scored => (particles, 1),
            Objective::Elbo => return None,
            _ => (objective.draws(), particles),
        };
        let n = svi.slots.len();
        let own = svi.slots.list.iter().filter(|slot| match slot.owner {
            Owner::Param(id) => !crate::lower::params::guide_reads(svi.program, &svi.program.guides[svi.guide], id),
            _ => false,
        });
        Some(Self {
            objective,
            k,
            groups,
            gradients: vec![F::ZERO; k * n],
            scores: vec![F::ZERO; if scored { k * n } else { 0 }],
            ratios: vec![0.0; k],
            guide: vec![0.0; k],
            model: vec![0.0; k],
            score: vec![0.0; k],
            of_model: own.map(|slot| slot.offset..slot.offset + slot.shape.count()).collect(),
        })
    }
    /// Draws of a step.
    pub(super) fn runs(&self) -> usize {
        self.k * self.groups
    }
    /// The value of the objective; its negative gradient goes to `gradient`.
    pub(super) fn run(&mut self, step: &mut Step<F>, svi: &Svi<'_>, key: Key, gradient: &mut [F]) -> f64 {
        let n = gradient.len();
        let share = 1.0 / self.groups as f64;
        let mut value = 0.0;
        gradient.fill(F::ZERO);
        for group in 0..self.groups {
            for j in 0..self.k {
                step.exe.run(&[], key.fold_in((group * self.k + j) as u64));
                self.ratios[j] = step.exe.output(0)[0].to_f64();
                step.copy_gradient(svi.slots, &mut self.gradients[j * n..(j + 1) * n]);
                if !self.scores.is_empty() {
                    step.copy_scores(svi.slots, &mut self.scores[j * n..(j + 1) * n]);
                }
            }
            if self.ratios.iter().any(|r| !r.is_finite()) {
                return f64::NAN;
            }
            value += share * self.objective.value(&self.ratios);
            self.objective.weights(&self.ratios, &mut self.guide, &mut self.model);
            for j in 0..self.k {
                let own = &self.gradients[j * n..(j + 1) * n];
                add(gradient, own, share * self.guide[j]);
                for range in &self.of_model {
                    add(&mut gradient[range.clone()], &own[range.clone()], share * (self.model[j] - self.guide[j]));
                }
            }
            if !self.scores.is_empty() {
                leave_one_out(&self.ratios, &mut self.score);
                for j in 0..self.k {
                    // The gradient is that of the negative bound.
                    add(gradient, &self.scores[j * n..(j + 1) * n], -share * self.score[j]);
                }
            }
        }
        value
    }
}

fn add<F: Scalar>(sum: &mut [F], part: &[F], weight: f64) {
    let weight = F::from_f64(weight);
    sum.iter_mut().zip(part).for_each(|(s, &p)| *s += weight * p);
}
