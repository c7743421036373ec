//! How sure predicted classes should have been: scores after temperature scaling, next to the raw ones.
//!
//! The probabilities p of a row become p^(1/T), normalized: T above 1 makes them less sure, below 1 more so, and the most
//! probable class stays the same (Guo et al. 2017, arXiv:1706.04599). A temperature that was chosen on the rows that it is
//! scored on would look too good. So rows with an even number are scaled by the temperature that suits those with an odd
//! number best, and the other way round. Temperatures are those of a grid, so that one pass over the rows is enough and
//! none has to be kept.

/// Steps of the grid to a factor of two: neighbours differ by 4 %, and the loss in nll is of second order in that.
const FINE: i32 = 16;
/// The grid ends at this power of two, and at its inverse.
const WIDE: i32 = 4;
/// Equal bins of the calibration error, as for the raw scores.
const BINS: usize = 15;
/// With fewer rows a temperature would be noise.
const FEWEST: usize = 20;

/// Scores of scaled probabilities; means over rows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scaled {
    /// The temperature for rows with an even number, which those with an odd number chose.
    pub even: f64,
    /// The temperature for rows with an odd number.
    pub odd: f64,
    /// The negative log score [nats].
    pub nll: f64,
    /// The Brier score, summed over classes.
    pub brier: f64,
    /// The expected calibration error of the largest probability.
    pub ece: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    confidence: f64,
    correct: f64,
}

/// Sums over the rows of one half at one temperature.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    nll: f64,
    brier: f64,
    bins: [Bin; BINS],
}

/// Gathers the scores of all temperatures.
#[derive(Clone, Debug)]
pub struct TemperatureScores {
    inverse: Vec<f64>,
    /// `[half][temperature]`.
    halves: [Vec<Sums>; 2],
    count: usize,
    scaled: Vec<f64>,
}

impl Default for TemperatureScores {
    fn default() -> Self {
        let inverse: Vec<f64> =
            (-WIDE * FINE..=WIDE * FINE).map(|k| (-f64::from(k) / f64::from(FINE)).exp2()).collect();
        let none = vec![Sums::default(); inverse.len()];
        Self { inverse, halves: [none.clone(), none], count: 0, scaled: Vec::new() }
    }
}

impl TemperatureScores {
    /// Adds the next row: its mean probabilities and its class.
    ///
    /// # Panics
    /// When there is no such class.
    pub fn add(&mut self, probs: &[f64], class: usize) {
        let half = self.count % 2;
        self.count += 1;
        let logs: Vec<f64> = probs.iter().map(|p| p.ln()).collect();
        // The first of the largest, as everywhere.
        let best = (0..probs.len()).rev().max_by(|&a, &b| probs[a].total_cmp(&probs[b])).expect("there are classes");
        for (&inverse, sums) in self.inverse.iter().zip(&mut self.halves[half]) {
            self.scaled.clear();
            self.scaled.extend(logs.iter().map(|l| ((l - logs[best]) * inverse).exp()));
            let total: f64 = self.scaled.iter().sum();
            sums.nll += total.ln() - (logs[class] - logs[best]) * inverse;
            let hit = |k: usize| f64::from(u8::from(k == class));
            sums.brier += self.scaled.iter().enumerate().map(|(k, s)| (s / total - hit(k)).powi(2)).sum::<f64>();
            let confidence = self.scaled[best] / total;
            let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
            sums.bins[bin].confidence += confidence;
            sums.bins[bin].correct += hit(best);
        }
    }
    /// The scores; `None` for fewer than 20 rows, or where no temperature gives a finite nll.
    pub fn scores(&self) -> Option<Scaled> {
        if self.count < FEWEST {
            return None;
        }
        let chosen = |half: usize| {
            let sums = &self.halves[half];
            let best = (0..sums.len()).min_by(|&a, &b| sums[a].nll.total_cmp(&sums[b].nll))?;
            sums[best].nll.is_finite().then_some(best)
        };
        let (even, odd) = (chosen(1)?, chosen(0)?);
        let (a, b) = (&self.halves[0][even], &self.halves[1][odd]);
        let n = self.count as f64;
        let gaps = a.bins.iter().zip(&b.bins);
        let ece: f64 = gaps.map(|(a, b)| (a.confidence + b.confidence - a.correct - b.correct).abs()).sum();
        Some(Scaled {
            even: 1.0 / self.inverse[even],
            odd: 1.0 / self.inverse[odd],
            nll: (a.nll + b.nll) / n,
            brier: (a.brier + b.brier) / n,
            ece: ece / n,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Key, fill_uniform};

    /// Rows whose true probabilities are known, given to the scores with logits times `sharpness`.
    fn scored(sharpness: f64, rows: usize) -> TemperatureScores {
        let mut scores = TemperatureScores::default();
        let mut u = vec![0.0; 4 * rows];
        fill_uniform(Key::new(5), 0, &mut u);
        for row in u.chunks_exact(4) {
            let logits: Vec<f64> = row[..3].iter().map(|x| 4.0 * x).collect();
            let probs = |s: f64| -> Vec<f64> {
                let e: Vec<f64> = logits.iter().map(|l| (s * l).exp()).collect();
                let total: f64 = e.iter().sum();
                e.iter().map(|x| x / total).collect()
            };
            let truth = probs(1.0);
            let class = if row[3] < truth[0] {
                0
            } else if row[3] < truth[0] + truth[1] {
                1
            } else {
                2
            };
            scores.add(&probs(sharpness), class);
        }
        scores
    }

    #[test]
    fn the_temperature_undoes_what_was_too_sure() {
        let sure = scored(3.0, 40_000).scores().expect("enough rows");
        for t in [sure.even, sure.odd] {
            assert!((t / 3.0).ln().abs() < 0.1, "the temperature is {t} instead of 3");
        }
        assert!(sure.ece < 0.02, "calibrated after scaling: {}", sure.ece);
        let right = scored(1.0, 40_000).scores().expect("enough rows");
        assert!((right.even.ln().abs() < 0.1) && (right.odd.ln().abs() < 0.1));
        assert!((sure.nll - right.nll).abs() < 1e-3, "scaling brings both to the same probabilities");
    }

    #[test]
    fn a_half_does_not_see_its_own_temperature() {
        // Even rows are always right, odd rows always wrong: each gets what suits the other.
        let mut scores = TemperatureScores::default();
        for row in 0..100 {
            scores.add(&[0.7, 0.3], row % 2);
        }
        let s = scores.scores().expect("enough rows");
        assert!(s.even > 10.0 && s.odd < 0.1, "{s:?}");
        assert!(scored(1.0, 10).scores().is_none());
    }
}
