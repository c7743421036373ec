//! Whether a noisy bound has stopped rising.
//!
//! The course of the fit is cut into windows of W steps. At the end of each, the mean of the window is compared with that
//! of the window before it; the standard errors of the means are those of the means of ten parts of a window, so that what
//! successive steps have in common counts, as long as it does not reach further than W / 10 steps (batch means: Flegal &
//! Jones 2010, "Batch means and spectral variance estimators in Markov chain Monte Carlo"). The bound is on a plateau when
//! the rise was less than one standard error of the difference plus 0.01 nats, `patience` times in succession.
//!
//! A bound that still rises by two standard errors a window passes one such test by chance in 16 % of all cases, and three
//! in succession in less than 1 %; one that has come to rest passes in 84 %.

use crate::report::fit::TraceRow;
use serde::Serialize;

/// Parts of a window whose means tell the error of its mean.
const PARTS: usize = 10;
/// A rise of so much is none [nats].
const NOTHING: f64 = 0.01;

/// `stop = plateau(window, patience)`
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Plateau {
    /// Steps of a window, a multiple of ten.
    pub window: usize,
    /// Comparisons without a rise in succession that it takes.
    pub patience: usize,
}

impl Default for Plateau {
    fn default() -> Self {
        Self { window: 200, patience: 3 }
    }
}

impl Plateau {
    /// Whether the rule holds at the end of `trace`; only asked at ends of windows.
    pub fn reached(self, trace: &[TraceRow]) -> bool {
        let needed = (self.patience + 1) * self.window;
        if !trace.len().is_multiple_of(self.window) || trace.len() < needed {
            return false;
        }
        let windows = trace[trace.len() - needed..].chunks_exact(self.window);
        windows.clone().zip(windows.skip(1)).all(|(before, after)| {
            let ((a, a_variance), (b, b_variance)) = (mean(before), mean(after));
            b - a < (a_variance + b_variance).sqrt() + NOTHING
        })
    }
}

/// The mean of a window and the variance of that mean.
fn mean(window: &[TraceRow]) -> (f64, f64) {
    let size = window.len() / PARTS;
    let part = |at: usize| window[at * size..(at + 1) * size].iter().map(|row| row.elbo).sum::<f64>() / size as f64;
    let mean = (0..PARTS).map(part).sum::<f64>() / PARTS as f64;
    let squares: f64 = (0..PARTS).map(|at| (part(at) - mean).powi(2)).sum();
    (mean, squares / (PARTS * (PARTS - 1)) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Key, fill_normal};

    /// The step at which a course of `n` steps with the mean `at(step)` and correlated noise would stop.
    fn stops(n: usize, seed: u64, scale: f64, at: impl Fn(f64) -> f64) -> Option<usize> {
        let mut noise = vec![0.0; n];
        fill_normal(Key::new(seed), 0, &mut noise);
        let mut last = 0.0;
        let mut trace = Vec::new();
        for (step, e) in noise.into_iter().enumerate() {
            last = 0.8 * last + 0.6 * scale * e;
            trace.push(TraceRow {
                step: step as u64 + 1,
                elbo: at(step as f64) + last,
                gradient_norm: 0.0,
                learning_rate: 0.0,
                secs: 0.0,
            });
            if Plateau::default().reached(&trace) {
                return Some(step + 1);
            }
        }
        None
    }

    #[test]
    fn a_rising_bound_goes_on_and_a_level_one_stops() {
        let (mut early, mut soon) = (0, 0);
        for seed in 0..50 {
            // The error of a difference is about sqrt(2 * 9 / 200) = 0.3: this rises by three of them a window.
            early += usize::from(stops(4_000, seed, 1.0, |t| 0.9 * t / 200.0).is_some());
            let level = stops(10_000, seed, 1.0, |_| -100.0).expect("a level course stops");
            soon += usize::from(level <= 3_000);
            // A rise that ends: the test waits for it.
            let late = stops(10_000, seed, 1.0, |t| -1000.0 * (-t / 300.0).exp()).expect("it comes to rest");
            assert!((1_600..=10_000).contains(&late), "{late}");
        }
        assert!(early <= 2, "{early} of 50 rising courses were stopped");
        assert!(soon >= 40, "{soon} of 50 level courses were stopped soon");
    }

    #[test]
    fn without_noise_a_hundredth_of_a_nat_is_no_rise() {
        assert_eq!(stops(2_000, 0, 0.0, |t| 1e-2 * t / 200.0 * 0.9), Some(800));
        assert_eq!(stops(2_000, 0, 0.0, |t| 2e-2 * t / 200.0), None);
    }
}
