//! How sure predicted classes should have been: scores after temperature scaling.
//!
//! The probabilities p of a row become p^(1/T), normalized: T above 1 makes them less sure, below 1 more so, and the most
//! probable class stays the same (Guo et al. 2017, arXiv:1706.04599). A temperature that was chosen on the rows that it is
//! scored on would look too good. So the rows are in two halves, and each half is scaled by the temperature with the least
//! nll on the other one. Of every two successive rows one is in each half, which one a coin decides that depends on
//! the number of the row alone: labels that take turns, as they do in many files, do not become a half, and all fits of the
//! same held-out data have the same halves. Temperatures are those of a grid, so that one pass over the rows is enough and
//! none has to be kept.

use crate::rng::{Key, fill_sign};

/// Steps of the grid to a factor of two: neighbours differ by 4 %, and the loss in nll is of second order in that.
const FINE: usize = 16;
/// The grid ends at this power of two, and at its inverse.
const WIDE: usize = 4;
/// Equal bins of the calibration error, as for the raw scores.
const BINS: usize = 15;
/// With fewer rows a temperature would be noise.
pub const FEWEST: usize = 20;
/// What the coins are made of: the same for every fit.
const COINS: u64 = 0x7465_6d70;

/// Scores of scaled probabilities; means over rows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scaled {
    /// The temperatures by which the halves are scaled; each was chosen by the other half.
    pub halves: [f64; 2],
    /// The negative log score [nats].
    pub nll: f64,
    /// The Brier score, summed over classes.
    pub brier: f64,
    /// The expected calibration error of the largest probability.
    pub ece: f64,
}

impl Scaled {
    /// The geometric mean of both temperatures: above 1 where the probabilities were too sure.
    pub fn temperature(&self) -> f64 {
        (self.halves[0] * self.halves[1]).sqrt()
    }
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
    /// `[half][temperature]`, the temperatures from the highest to the lowest.
    halves: [Vec<Sums>; 2],
    count: usize,
    /// `[temperature in an octave, class]`
    scaled: Vec<f64>,
}

impl Default for TemperatureScores {
    fn default() -> Self {
        let none = vec![Sums::default(); 2 * WIDE * FINE + 1];
        Self { halves: [none.clone(), none], count: 0, scaled: Vec::new() }
    }
}

/// 1 / T at a place of the grid.
fn inverse(at: usize) -> f64 {
    (at as f64 / FINE as f64 - WIDE as f64).exp2()
}

/// The half of a row by its number.
fn half(row: usize) -> usize {
    let mut coin = [0.0f64];
    fill_sign(Key::new(COINS).fold_in(row as u64 / 2), 0, &mut coin);
    (row + usize::from(coin[0] > 0.0)) % 2
}

impl TemperatureScores {
    /// Adds the next row: its mean probabilities and its class.
    ///
    /// # Panics
    /// When there is no such class.
    pub fn add(&mut self, probs: &[f64], class: usize) {
        let half = half(self.count);
        self.count += 1;
        // The first of the largest, as everywhere.
        let best = (0..probs.len()).rev().max_by(|&a, &b| probs[a].total_cmp(&probs[b])).expect("there are classes");
        let logs: Vec<f64> = probs.iter().map(|p| (p / probs[best]).ln()).collect();
        self.scaled.clear();
        for at in 0..FINE {
            self.scaled.extend(logs.iter().map(|l| (l * inverse(at)).exp()));
        }
        for (at, sums) in self.halves[half].iter_mut().enumerate() {
            let scaled = &mut self.scaled[at % FINE * probs.len()..][..probs.len()];
            if at >= FINE {
                // Half the temperature of the last time.
                scaled.iter_mut().for_each(|s| *s *= *s);
            }
            let total: f64 = scaled.iter().sum();
            sums.nll += total.ln() - logs[class] * inverse(at);
            let hit = |k: usize| f64::from(u8::from(k == class));
            sums.brier += scaled.iter().enumerate().map(|(k, s)| (s / total - hit(k)).powi(2)).sum::<f64>();
            let confidence = scaled[best] / total;
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
        let at = [chosen(1)?, chosen(0)?];
        let (a, b) = (&self.halves[0][at[0]], &self.halves[1][at[1]]);
        let n = self.count as f64;
        let gaps = a.bins.iter().zip(&b.bins);
        let ece: f64 = gaps.map(|(a, b)| (a.confidence + b.confidence - a.correct - b.correct).abs()).sum();
        Some(Scaled {
            halves: at.map(|at| 1.0 / inverse(at)),
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
        for t in sure.halves.into_iter().chain([sure.temperature()]) {
            assert!((t / 3.0).ln().abs() < 0.1, "the temperature is {t} instead of 3");
        }
        assert!(sure.ece < 0.02, "calibrated after scaling: {}", sure.ece);
        let right = scored(1.0, 40_000).scores().expect("enough rows");
        assert!(right.halves.iter().all(|t| t.ln().abs() < 0.1));
        assert!((sure.nll - right.nll).abs() < 1e-3, "scaling brings both to the same probabilities");
    }

    #[test]
    fn scores_are_those_of_scaling_each_half_by_hand() {
        // Sixty rows of five classes, some of them impossible; each half by an independent search on the other one.
        let (rows, classes) = (60, 5);
        let mut u = vec![0.0f64; rows * (classes + 1)];
        fill_uniform(Key::new(8), 0, &mut u);
        let mut scores = TemperatureScores::default();
        let mut halves: [Vec<(Vec<f64>, usize)>; 2] = [Vec::new(), Vec::new()];
        for (row, u) in u.chunks_exact(classes + 1).enumerate() {
            let mut p: Vec<f64> = u[..classes].iter().map(|x| (6.0 * x).exp()).collect();
            let class = (u[classes] * classes as f64) as usize;
            p[(class + 1) % classes] = 0.0;
            let total: f64 = p.iter().sum();
            p.iter_mut().for_each(|x| *x /= total);
            scores.add(&p, class);
            halves[half(row)].push((p, class));
        }
        assert_eq!((halves[0].len(), halves[1].len()), (30, 30));
        let scaled = |p: &[f64], t: f64| -> Vec<f64> {
            let q: Vec<f64> = p.iter().map(|x| x.powf(1.0 / t)).collect();
            let total: f64 = q.iter().sum();
            q.iter().map(|x| x / total).collect()
        };
        let nll =
            |rows: &[(Vec<f64>, usize)], t: f64| -> f64 { rows.iter().map(|(p, c)| -scaled(p, t)[*c].ln()).sum() };
        let got = scores.scores().expect("enough rows");
        let (mut whole, mut brier, mut bins) = (0.0, 0.0, vec![(0.0, 0.0); BINS]);
        for h in 0..2 {
            // By golden section in ln T, where the nll has one valley.
            let widest = WIDE as f64 * std::f64::consts::LN_2;
            let (mut low, mut high) = (-widest, widest);
            for _ in 0..100 {
                let (a, b) = (high - 0.618 * (high - low), low + 0.618 * (high - low));
                if nll(&halves[1 - h], a.exp()) < nll(&halves[1 - h], b.exp()) { high = b } else { low = a }
            }
            assert!((got.halves[h].ln() - low).abs() < 0.03, "{:?}, best {}", got, low.exp());
            whole += nll(&halves[h], got.halves[h]);
            for (p, class) in &halves[h] {
                let q = scaled(p, got.halves[h]);
                brier += (0..classes).map(|k| (q[k] - f64::from(u8::from(k == *class))).powi(2)).sum::<f64>();
                let best = (0..classes).max_by(|&a, &b| q[a].total_cmp(&q[b])).expect("classes");
                let bin = &mut bins[((q[best] * BINS as f64).ceil() as usize).max(1) - 1];
                *bin = (bin.0 + q[best], bin.1 + f64::from(u8::from(best == *class)));
            }
        }
        let ece: f64 = bins.iter().map(|(confidence, correct): &(f64, f64)| (confidence - correct).abs()).sum();
        for (got, want) in [(got.nll, whole), (got.brier, brier), (got.ece, ece)] {
            assert!((got - want / rows as f64).abs() < 1e-12, "{got} instead of {}", want / rows as f64);
        }
    }

    #[test]
    fn a_half_does_not_see_its_own_temperature() {
        // One half is always right, the other always wrong: each gets what suits the other.
        let mut scores = TemperatureScores::default();
        for row in 0..100 {
            scores.add(&[0.7, 0.3], half(row));
        }
        let s = scores.scores().expect("enough rows");
        assert!(s.halves[0] > 10.0 && s.halves[1] < 0.1, "{s:?}");
        assert!(scored(1.0, 10).scores().is_none());
    }

    #[test]
    fn labels_that_take_turns_are_in_both_halves() {
        let in_first = |parity: usize| (0..1000).filter(|&row| row % 2 == parity && half(row) == 0).count();
        assert!((200..300).contains(&in_first(0)) && in_first(0) + in_first(1) == 500, "{}", in_first(0));
    }
}
