//! What svi maximizes, as far as it is a function of several draws: bounds by importance weights.
//!
//! With draws z_1 … z_k of the guide and log ratios r_j = ln p(data, z_j) - ln q(z_j):
//!
//!   iwae(k)          E ln 1/k sum exp(r_j)                              Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519
//!   renyi(alpha, k)  E 1/(1 - alpha) ln 1/k sum exp((1 - alpha) r_j)    Li & Turner 2016, arXiv:1602.02311
//!
//! Both are bounds of the log evidence from below for every alpha >= 0 and every k, and iwae is renyi with alpha = 0.
//!
//! The gradient of the guide's parameters is doubly reparameterized (Tucker, Lawson, Gu & Maddison 2018, arXiv:1810.04152):
//! with the normalized weights v_j of exp((1 - alpha) r_j),
//!
//!   sum of (alpha v_j + (1 - alpha) v_j^2) times the path derivative of r_j.
//!
//! It follows from the gradient `sum v_j d r_j` by reparameterizing the score inside `d r_j` once more, where
//! d v_j / d r_j = (1 - alpha) (v_j - v_j^2). For alpha = 0 these are the squared weights of the paper, for alpha towards 1 the
//! path derivative of the ELBO. Learnable constants of the model have `sum v_j d r_j`.
//!
//! `tail_adaptive(k)` has no bound of its own: it weights the path derivatives by the ranks of the ratios, k / rank, which
//! stays finite however heavy their tail is (Wang, Liu & Liu 2018, arXiv:1810.11943, alg. 1, with beta = -1).
//!
//! The log ratios are those of the whole data, or, where rows are subsampled and all latents belong to rows, those of each
//! row: the bound is then the sum of the bounds of the rows.

use serde::Serialize;

/// What svi maximizes.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The evidence lower bound.
    #[default]
    Elbo,
    /// The importance weighted bound.
    Iwae {
        /// Draws under the logarithm.
        k: usize,
    },
    /// Rényi's bound.
    Renyi {
        /// Its order, at least 0 and not 1.
        alpha: f64,
        /// Draws under the logarithm.
        k: usize,
    },
    /// A divergence whose weights are the ranks of the ratios.
    TailAdaptive {
        /// Draws that are ranked.
        k: usize,
    },
}

impl Objective {
    /// Draws that enter one value of it.
    pub fn draws(self) -> usize {
        match self {
            Objective::Elbo => 1,
            Objective::Iwae { k } | Objective::Renyi { k, .. } | Objective::TailAdaptive { k } => k,
        }
    }
    /// As programs write it.
    pub fn text(self) -> String {
        match self {
            Objective::Elbo => "elbo".to_string(),
            Objective::Iwae { k } => format!("iwae({k})"),
            Objective::Renyi { alpha, k } => format!("renyi({alpha}, {k})"),
            Objective::TailAdaptive { k } => format!("tail_adaptive({k})"),
        }
    }
    /// What the course of a fit shows, in words.
    pub fn what(self) -> &'static str {
        match self {
            Objective::Elbo | Objective::TailAdaptive { .. } => "ELBO",
            Objective::Iwae { .. } => "IWAE bound",
            Objective::Renyi { .. } => "Rényi bound",
        }
    }
    /// The order of the bound; `None` for objectives without a bound of their own.
    fn alpha(self) -> Option<f64> {
        match self {
            Objective::Iwae { .. } => Some(0.0),
            Objective::Renyi { alpha, .. } => Some(alpha),
            Objective::Elbo | Objective::TailAdaptive { .. } => None,
        }
    }
    /// Whether it has a bound of its own beside the ELBO.
    pub fn is_bound(self) -> bool {
        self.alpha().is_some()
    }
    /// The value by the log ratios of its draws [nats]; their mean where it has no bound of its own.
    pub fn value(self, ratios: &[f64]) -> f64 {
        let n = ratios.len() as f64;
        match self.alpha() {
            None => ratios.iter().sum::<f64>() / n,
            Some(alpha) => {
                let power = 1.0 - alpha;
                let top = ratios.iter().fold(f64::NEG_INFINITY, |top, r| top.max(power * r));
                if !top.is_finite() {
                    return top / power;
                }
                let sum: f64 = ratios.iter().map(|r| (power * r - top).exp()).sum();
                (top + (sum / n).ln()) / power
            }
        }
    }
    /// What the path derivative of a draw is multiplied by beside its weight `v` among the draws.
    pub fn path_factor(self, v: f64) -> f64 {
        self.alpha().map_or(1.0, |alpha| alpha + (1.0 - alpha) * v)
    }
    /// What the path derivative of each draw is multiplied by for the parameters of the guide, and the derivative of each
    /// draw for the learnable constants of the model.
    pub fn weights(self, ratios: &[f64], guide: &mut [f64], model: &mut [f64]) {
        let n = ratios.len() as f64;
        let Some(alpha) = self.alpha() else {
            match self {
                Objective::TailAdaptive { .. } => {
                    for (w, r) in guide.iter_mut().zip(ratios) {
                        let rank = ratios.iter().filter(|other| *other >= r).count();
                        *w = n / rank as f64;
                    }
                    let sum: f64 = guide.iter().sum();
                    guide.iter_mut().for_each(|w| *w /= sum);
                }
                _ => guide.fill(1.0 / n),
            }
            model.fill(1.0 / n);
            return;
        };
        let power = 1.0 - alpha;
        let top = ratios.iter().fold(f64::NEG_INFINITY, |top, r| top.max(power * r));
        model.iter_mut().zip(ratios).for_each(|(v, r)| *v = (power * r - top).exp());
        let sum: f64 = model.iter().sum();
        for (w, v) in guide.iter_mut().zip(model) {
            *v /= sum;
            *w = *v * self.path_factor(*v);
        }
    }
}

/// What the score of each draw is multiplied by: its signal less the mean signal of the others, over the number of draws
/// (Kool, van Hoof & Welling 2019, "Buy 4 REINFORCE samples, get a baseline for free"). At least two draws.
pub fn leave_one_out(signals: &[f64], weights: &mut [f64]) {
    let n = signals.len() as f64;
    let sum: f64 = signals.iter().sum();
    for (w, s) in weights.iter_mut().zip(signals) {
        *w = (s - (sum - s) / (n - 1.0)) / n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATIOS: [f64; 4] = [-700.0, -703.5, -701.2, -700.4];

    #[test]
    fn bounds_lie_in_order_and_survive_small_ratios() {
        let mean = Objective::Elbo.value(&RATIOS);
        let value = |alpha| Objective::Renyi { alpha, k: 4 }.value(&RATIOS);
        let iwae = Objective::Iwae { k: 4 }.value(&RATIOS);
        assert_eq!(iwae, value(0.0));
        let direct = -700.0 + (RATIOS.iter().map(|r| (r + 700.0).exp()).sum::<f64>() / 4.0).ln();
        assert!((iwae - direct).abs() < 1e-12);
        // Power means rise with their power.
        assert!(
            iwae > value(0.5) && value(0.5) > mean && mean > value(1.5),
            "{iwae} {} {mean} {}",
            value(0.5),
            value(1.5)
        );
        assert!((value(1.0 - 1e-7) - mean).abs() < 1e-5, "the ELBO lies where the power is 0");
        assert_eq!(Objective::Iwae { k: 2 }.value(&[f64::NEG_INFINITY; 2]), f64::NEG_INFINITY);
    }

    /// The weights of the model are the derivatives of the value.
    #[test]
    fn weights_are_derivatives() {
        for objective in [
            Objective::Elbo,
            Objective::Iwae { k: 4 },
            Objective::Renyi { alpha: 0.3, k: 4 },
            Objective::Renyi { alpha: 2.0, k: 4 },
        ] {
            let (mut guide, mut model) = ([0.0; 4], [0.0; 4]);
            objective.weights(&RATIOS, &mut guide, &mut model);
            for j in 0..4 {
                let moved = |h: f64| {
                    let mut r = RATIOS;
                    r[j] += h;
                    objective.value(&r)
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((difference - model[j]).abs() < 1e-6, "{objective:?} {j}: {difference} {}", model[j]);
            }
        }
        let (mut guide, mut model) = ([0.0; 4], [0.0; 4]);
        Objective::Iwae { k: 4 }.weights(&RATIOS, &mut guide, &mut model);
        guide.iter().zip(model).for_each(|(w, v)| assert!((w - v * v).abs() < 1e-15));
        Objective::TailAdaptive { k: 4 }.weights(&RATIOS, &mut guide, &mut model);
        let sum = 1.0 + 1.0 / 4.0 + 1.0 / 3.0 + 1.0 / 2.0;
        for (w, want) in guide.iter().zip([1.0, 0.25, 1.0 / 3.0, 0.5]) {
            assert!((w - want / sum).abs() < 1e-15, "{guide:?}");
        }
    }

    #[test]
    fn a_draw_is_measured_against_the_others() {
        let mut weights = [0.0; 3];
        leave_one_out(&[1.0, 2.0, 6.0], &mut weights);
        assert_eq!(weights, [-3.0 / 3.0, -1.5 / 3.0, 4.5 / 3.0]);
        // What all signals have in common makes no difference.
        leave_one_out(&[7.0; 3], &mut weights);
        assert_eq!(weights, [0.0; 3]);
    }
}
