//! Learning-rate schedules: the factor by which a step's learning rate differs from the one that was set.
//!
//! Steps count from 0; `total` is the number of steps planned. A schedule is a pure function of the step, so a fit
//! that is resumed sees the same rates.

use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The course of the learning rate after warmup.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// 1 throughout.
    #[default]
    Constant,
    /// `final_fraction + (1 - final_fraction) (1 + cos(pi t / total)) / 2`: half a cosine from 1 to `final_fraction`.
    /// Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts.
    Cosine {
        /// What is left at the end, as a fraction of the learning rate that was set.
        final_fraction: f64,
    },
    /// Up from `1 / start_divisor` to 1 over the first `rise` of the steps, then down to
    /// `1 / (start_divisor * final_divisor)`, both along half a cosine. The set rate is the largest one.
    /// Smith & Topin 2017, arXiv:1708.07120.
    OneCycle {
        /// The fraction of the steps spent going up, in (0, 1).
        rise: f64,
        /// How far below the largest rate it begins.
        start_divisor: f64,
        /// How far below its beginning it ends.
        final_divisor: f64,
    },
}

impl Shape {
    /// Half a cosine down to zero.
    pub fn cosine() -> Self {
        Shape::Cosine { final_fraction: 0.0 }
    }
    /// One cycle with the proportions that have become customary: 30 % up from 1/25, down to 1/250,000.
    pub fn one_cycle() -> Self {
        Shape::OneCycle { rise: 0.3, start_divisor: 25.0, final_divisor: 1e4 }
    }
    /// The factor when the fraction `done` of the steps, in [0, 1], lies behind.
    fn at(self, done: f64) -> f64 {
        match self {
            Shape::Constant => 1.0,
            Shape::Cosine { final_fraction } => half_cosine(1.0, final_fraction, done),
            Shape::OneCycle { rise, start_divisor, final_divisor } => {
                let start = 1.0 / start_divisor;
                if done < rise {
                    half_cosine(start, 1.0, done / rise)
                } else {
                    half_cosine(1.0, start / final_divisor, (done - rise) / (1.0 - rise))
                }
            }
        }
    }
}

/// From `from` at 0 to `to` at 1 along half a cosine, flat at both ends.
fn half_cosine(from: f64, to: f64, fraction: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (PI * fraction).cos())
}

/// A shape after a linear warmup.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Schedule {
    /// The course after warmup.
    pub shape: Shape,
    /// The number of steps over which the rate rises linearly, `(t + 1) / warmup`; 0 for none.
    /// Goyal et al. 2017, arXiv:1706.02677, sec. 2.2.
    pub warmup: u64,
}

impl Schedule {
    /// `shape` without warmup.
    pub fn new(shape: Shape) -> Self {
        Self { shape, warmup: 0 }
    }
    /// The factor of step `step` (from 0) of `total`; steps past the end keep the last value of the shape.
    pub fn factor(&self, step: u64, total: u64) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        let length = total.saturating_sub(self.warmup).max(1);
        let done = (step - self.warmup) as f64 / length as f64;
        self.shape.at(done.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schedule: Schedule, total: u64, expect: &[f64]) {
        let got: Vec<f64> = (0..expect.len() as u64).map(|t| schedule.factor(t, total)).collect();
        for (g, e) in got.iter().zip(expect) {
            assert!((g - e).abs() < 1e-12, "{schedule:?}: {got:?} instead of {expect:?}");
        }
    }

    #[test]
    fn constant_is_one() {
        check(Schedule::default(), 3, &[1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn cosine_falls_to_its_final_fraction() {
        let r = 0.5f64.sqrt(); // cos(pi / 4)
        check(Schedule::new(Shape::cosine()), 4, &[1.0, 0.5 + 0.5 * r, 0.5, 0.5 - 0.5 * r, 0.0, 0.0]);
        check(Schedule::new(Shape::Cosine { final_fraction: 0.2 }), 2, &[1.0, 0.6, 0.2]);
    }

    #[test]
    fn one_cycle_rises_then_falls() {
        let shape = Shape::OneCycle { rise: 0.5, start_divisor: 4.0, final_divisor: 10.0 };
        check(Schedule::new(shape), 4, &[0.25, 0.625, 1.0, 0.5125, 0.025]);
    }

    #[test]
    fn warmup_rises_to_the_start_of_the_shape() {
        let schedule = Schedule { shape: Shape::cosine(), warmup: 4 };
        check(schedule, 6, &[0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.0]);
    }

    #[test]
    fn no_steps_planned_divides_by_nothing() {
        assert_eq!(Schedule::new(Shape::cosine()).factor(0, 0), 1.0);
    }
}
