//! Ranks of simulation-based calibration: are they uniform, and how do they deviate?
//!
//! Source: Talts, Betancourt, Simpson, Vehtari & Gelman 2018, arXiv:1804.06788; Modrák et al. 2023, arXiv:2211.02383.

use crate::kernels::special::gammaincc;
use serde_json::{Value, json};

/// Draws that a true value is ranked among: ranks are 0 to 99.
pub const RANKS: usize = 99;
/// The chance that a right posterior is called wrong, over all numbers of a report together.
pub const LEVEL: f64 = 0.01;
/// Bins of the test at most; ranks fill bins of equal size.
const MOST_BINS: usize = 20;
/// Ranks that are expected in a bin at least, so that the statistic is nearly chi-squared.
const EXPECTED: usize = 5;
/// Rows of the table at most; the least uniform are shown.
const ROWS: usize = 40;

/// The ranks of one number.
#[derive(Clone, PartialEq, Debug)]
pub struct Ranked {
    /// Its name: `theta[3]`.
    pub name: String,
    /// A rank from 0 to [`RANKS`] for each fit.
    pub ranks: Vec<u32>,
}

/// The ranks of a calibration.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// What was calibrated: `nuts`, `svi · full_rank guide`.
    pub algorithm: String,
    /// Simulated data sets.
    pub simulations: usize,
    /// Fits among them that failed.
    pub failed: usize,
    /// One for each latent number.
    pub ranked: Vec<Ranked>,
}

/// A test of one number's ranks.
#[derive(Clone, PartialEq, Debug)]
pub struct Test {
    /// Ranks in each bin.
    pub bins: Vec<usize>,
    /// Pearson's statistic of the bins against equal numbers.
    pub chi_squared: f64,
    /// The chance of a larger one where ranks are uniform.
    pub p: f64,
    /// The mean rank over its largest value; 0.5 where ranks are uniform.
    pub mean: f64,
    /// The standard deviation of ranks over that of uniform ones: below 1 the posterior is too wide, above 1 too narrow.
    pub spread: f64,
}

impl Ranked {
    /// Tests whether the ranks are uniform.
    pub fn test(&self) -> Test {
        let n = self.ranks.len();
        // Divisors of the number of ranks, so that all bins are of the same size.
        let bins = (1..=MOST_BINS).rev().find(|b| (RANKS + 1).is_multiple_of(*b) && n >= b * EXPECTED).unwrap_or(1);
        let mut counts = vec![0usize; bins];
        self.ranks.iter().for_each(|&r| counts[r as usize * bins / (RANKS + 1)] += 1);
        let expected = n as f64 / bins as f64;
        let chi_squared: f64 = counts.iter().map(|&c| (c as f64 - expected).powi(2) / expected).sum();
        let p = if bins == 1 { 1.0 } else { gammaincc((bins - 1) as f64 / 2.0, chi_squared / 2.0) };
        let share: Vec<f64> = self.ranks.iter().map(|&r| f64::from(r) / RANKS as f64).collect();
        let mean = share.iter().sum::<f64>() / n as f64;
        let variance = share.iter().map(|s| (s - 0.5).powi(2)).sum::<f64>() / n as f64;
        let uniform = (RANKS as f64 + 2.0) / (12.0 * RANKS as f64);
        Test { bins: counts, chi_squared, p, mean, spread: (variance / uniform).sqrt() }
    }
}

impl Test {
    /// What deviates most, in words, when the ranks are not uniform.
    fn words(&self, n: usize) -> &'static str {
        // In standard errors.
        let bias = (self.mean - 0.5) * (12.0 * n as f64).sqrt();
        let width = (self.spread.powi(2) - 1.0) * (n as f64 / 0.8).sqrt();
        match () {
            () if bias.abs() < 3.0 && width.abs() < 3.0 => "not uniform",
            () if bias.abs() > width.abs() && bias > 0.0 => "draws too low",
            () if bias.abs() > width.abs() => "draws too high",
            () if width > 0.0 => "draws too narrow",
            () => "draws too wide",
        }
    }
}

impl Report {
    /// The tests of all numbers, in their order.
    pub fn tests(&self) -> Vec<Test> {
        self.ranked.iter().map(Ranked::test).collect()
    }

    /// The p-value below which one number's ranks are called not uniform: [`LEVEL`] shared by all (Bonferroni).
    pub fn limit(&self) -> f64 {
        LEVEL / self.ranked.len().max(1) as f64
    }

    /// The names of the numbers whose ranks are not uniform.
    pub fn broken(&self) -> Vec<&str> {
        let limit = self.limit();
        let tests = self.tests();
        self.ranked.iter().zip(&tests).filter(|(_, t)| t.p < limit).map(|(r, _)| r.name.as_str()).collect()
    }

    /// The table with a histogram of ranks in each row.
    pub fn text(&self, ascii: bool) -> String {
        let done = self.simulations - self.failed;
        let mut text =
            format!("calibration of {} on {done} data sets of the model: ranks among {RANKS} draws\n", self.algorithm);
        let tests = self.tests();
        let limit = self.limit();
        let mut order: Vec<usize> = (0..tests.len()).collect();
        if order.len() > ROWS {
            order.sort_by(|&a, &b| tests[a].p.total_cmp(&tests[b].p));
            order.truncate(ROWS);
        }
        let width = order.iter().map(|&i| self.ranked[i].name.chars().count()).max().unwrap_or(0).max(6);
        let bars = tests.first().map_or(0, |t| t.bins.len());
        text += &format!("{:width$}  {:bars$}  mean rank  spread       p\n", "number", "ranks");
        for &i in &order {
            let t = &tests[i];
            let verdict = if t.p < limit { format!("  {}", t.words(done)) } else { String::new() };
            let (name, plot) = (&self.ranked[i].name, histogram(&t.bins, ascii));
            text += &format!("{name:width$}  {plot:bars$}  {:9.3}  {:6.2}  {:6.4}{verdict}\n", t.mean, t.spread, t.p);
        }
        if order.len() < tests.len() {
            text += &format!("and {} numbers more, all with larger p\n", tests.len() - order.len());
        }
        text += &match self.broken().len() {
            0 => format!("all ranks are uniform (chi-squared, {LEVEL} for all numbers together)\n"),
            n => format!("{n} of {} are not uniform (chi-squared, {LEVEL} for all numbers together)\n", tests.len()),
        };
        text
    }

    /// As data.
    pub fn json(&self) -> Value {
        let one = |(r, t): (&Ranked, &Test)| {
            json!({
                "name": r.name, "ranks": r.ranks, "bins": t.bins, "chi_squared": t.chi_squared, "p": t.p,
                "mean_rank": t.mean, "spread": t.spread, "uniform": t.p >= self.limit(),
            })
        };
        json!({
            "algorithm": self.algorithm, "simulations": self.simulations, "failed": self.failed, "draws": RANKS,
            "level": LEVEL, "numbers": self.ranked.iter().zip(&self.tests()).map(one).collect::<Vec<_>>(),
        })
    }
}

/// Bars between 0 and twice the expected number.
fn histogram(bins: &[usize], ascii: bool) -> String {
    let steps: Vec<char> = if ascii { "_.:-=+*#" } else { "▁▂▃▄▅▆▇█" }.chars().collect();
    let expected = bins.iter().sum::<usize>() as f64 / bins.len().max(1) as f64;
    let level = |&c: &usize| ((c as f64 / (2.0 * expected) * 7.0).round() as usize).min(7);
    bins.iter().map(|c| steps[level(c)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ranks: Vec<u32>) -> Ranked {
        Ranked { name: "x".to_string(), ranks }
    }

    #[test]
    fn uniform_ranks_pass_and_others_are_named() {
        let n = 400u32;
        let even = of((0..n).map(|i| i % 100).collect()).test();
        assert!(even.p > 0.99 && (even.mean - 0.5).abs() < 1e-9 && (even.spread - 1.0).abs() < 1e-6, "{even:?}");
        assert_eq!(even.bins, vec![20; 20]);
        let cases = [
            (of((0..n).map(|i| 40 + i % 20).collect()), "draws too wide"),
            (of((0..n).map(|i| if i % 2 == 0 { i % 20 } else { 99 - i % 20 }).collect()), "draws too narrow"),
            (of((0..n).map(|i| 60 + i % 40).collect()), "draws too low"),
            (of((0..n).map(|i| i % 40).collect()), "draws too high"),
        ];
        for (ranked, words) in cases {
            let test = ranked.test();
            assert!(test.p < 1e-6, "{test:?}");
            assert_eq!(test.words(400), words);
        }
    }

    /// SciPy: `chisquare([12, 8, 11, 9])` has the statistic 1 and p = 0.8012519569.
    #[test]
    fn the_test_is_that_of_pearson() {
        let counts = [12u32, 8, 11, 9];
        let ranks = counts.iter().enumerate().flat_map(|(b, &c)| (0..c).map(move |i| b as u32 * 25 + i)).collect();
        let test = of(ranks).test();
        // 40 ranks fill 5 bins at most; made of 4 they would be the counts above.
        assert_eq!(test.bins.iter().sum::<usize>(), 40);
        assert!((gammaincc(1.5, 0.5) - 0.801_251_956_9).abs() < 1e-9);
    }

    #[test]
    fn few_simulations_have_few_bins() {
        assert_eq!(of(vec![3, 99, 50]).test().bins.len(), 1);
        assert_eq!(of((0..25).map(|i| i * 4).collect()).test().bins.len(), 5);
    }
}
