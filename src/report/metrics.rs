//! Scores of the posterior predictive on data, accumulated draw by draw.
//!
//! Rows come in blocks: `begin` names the observed values of a block, `add_draw` is called once for each posterior
//! draw, `end` scores the rows and forgets the draws. Memory is that of one block, so the caller bounds it by the number
//! of rows it sends at a time: [`ClassScores`] keeps `rows * classes` numbers, [`NumberScores`] `rows * draws`.
//! `nll` is in nats: minus the logarithm of the mean, over draws, of the probability (density) of the row.

use super::fit::Metrics;
use super::statistics::quantile;
use super::temperature::TemperatureScores;
use crate::kernels::Scalar;

/// The number of equal bins that the calibration error sorts probabilities into.   Guo et al. 2017, arXiv:1706.04599.
const CALIBRATION_BINS: usize = 15;

/// What is said of a categorical (or Boolean) observation, and scores where its classes are known.
///
/// `accuracy`; `nll`; `brier`, summed over classes; `ece`, the expected calibration error of the largest probability;
/// `count`; `entropy` of the predictive; `expected_entropy`, that of the single draws; `mutual_information` between class
/// and parameters, the difference of these two (Houlsby et al. 2011, arXiv:1112.5745): uncertainty in all, that which
/// would be left if the parameters were known, and that about the parameters. After temperature scaling `temperature`,
/// `nll_scaled`, `brier_scaled` and `ece_scaled`, where [`TemperatureScores`] has them. All are means over rows.
#[derive(Clone, Debug)]
pub struct ClassScores {
    classes: usize,
    /// The classes of the rows of the block, where they are known.
    observed: Option<Vec<usize>>,
    draws: usize,
    /// `[rows, classes]`, summed over draws, in the end their mean.
    probs: Vec<f64>,
    /// `[rows]`
    entropies: Vec<f64>,
    /// `[rows]`, summed over draws, in the end the mutual information.
    of_draws: Vec<f64>,
    rows: usize,
    count: usize,
    correct: usize,
    nll: f64,
    brier: f64,
    entropy: f64,
    mutual_information: f64,
    bins: [Bin; CALIBRATION_BINS],
    temperatures: TemperatureScores,
}

/// What is said of the rows of a block.
#[derive(Clone, Copy, Debug)]
pub struct ClassRows<'s> {
    /// The mean probabilities, `[row, class]`.
    pub probs: &'s [f64],
    /// Their entropies [nats].
    pub entropy: &'s [f64],
    /// The mutual information between class and parameters [nats].
    pub mutual_information: &'s [f64],
}

/// Rows whose largest probability falls into one interval.
#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    confidence: f64,
    correct: f64,
}

impl ClassScores {
    /// Scores over `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            observed: None,
            draws: 0,
            probs: Vec::new(),
            entropies: Vec::new(),
            of_draws: Vec::new(),
            rows: 0,
            count: 0,
            correct: 0,
            nll: 0.0,
            brier: 0.0,
            entropy: 0.0,
            mutual_information: 0.0,
            bins: [Bin::default(); CALIBRATION_BINS],
            temperatures: TemperatureScores::default(),
        }
    }
    /// Opens a block of so many rows, whose classes are `observed` where they are known.
    ///
    /// # Panics
    /// When a class is out of range, or their number another one.
    pub fn begin(&mut self, rows: usize, observed: Option<Vec<usize>>) {
        if let Some(observed) = &observed {
            assert!(observed.iter().all(|&class| class < self.classes), "an observed class is out of range");
            assert_eq!(observed.len(), rows, "each row has a class");
        }
        self.observed = observed;
        self.draws = 0;
        self.probs.clear();
        self.probs.resize(rows * self.classes, 0.0);
        self.entropies.clear();
        self.of_draws.clear();
        self.of_draws.resize(rows, 0.0);
    }
    /// Adds the probabilities `[rows, classes]` that one posterior draw gives.
    ///
    /// # Panics
    /// When their number is another one.
    pub fn add_draw<T: Scalar>(&mut self, probs: &[T]) {
        assert_eq!(probs.len(), self.probs.len(), "probabilities do not have the shape [rows, classes]");
        self.draws += 1;
        let rows = probs.chunks_exact(self.classes).zip(self.probs.chunks_exact_mut(self.classes));
        for ((row, sum), entropy) in rows.zip(&mut self.of_draws) {
            for (&p, sum) in row.iter().zip(sum) {
                let p = p.to_f64();
                *sum += p;
                *entropy += entropy_term(p);
            }
        }
    }
    /// Closes the block, and tells what is said of its rows.
    ///
    /// # Panics
    /// When no draw was added.
    pub fn end(&mut self) -> ClassRows<'_> {
        assert!(self.draws > 0, "a block without draws");
        let draws = self.draws as f64;
        for (probs, of_draws) in self.probs.chunks_exact_mut(self.classes).zip(&mut self.of_draws) {
            probs.iter_mut().for_each(|p| *p /= draws);
            let entropy: f64 = probs.iter().map(|&p| entropy_term(p)).sum();
            *of_draws = entropy - *of_draws / draws;
            self.entropies.push(entropy);
            self.rows += 1;
            self.entropy += entropy;
            self.mutual_information += *of_draws;
        }
        if let Some(observed) = self.observed.take() {
            for (row, class) in observed.into_iter().enumerate() {
                self.score(row, class);
            }
        }
        ClassRows { probs: &self.probs, entropy: &self.entropies, mutual_information: &self.of_draws }
    }
    fn score(&mut self, row: usize, observed: usize) {
        let probs = &self.probs[row * self.classes..(row + 1) * self.classes];
        let (mut best, mut brier) = (0, 0.0);
        for (class, &p) in probs.iter().enumerate() {
            if p > probs[best] {
                best = class;
            }
            brier += (p - f64::from(u8::from(class == observed))).powi(2);
        }
        self.count += 1;
        self.correct += usize::from(best == observed);
        self.nll -= probs[observed].ln();
        self.brier += brier;
        let bin = (probs[best] * CALIBRATION_BINS as f64).ceil() as usize;
        let bin = &mut self.bins[bin.clamp(1, CALIBRATION_BINS) - 1];
        bin.confidence += probs[best];
        bin.correct += f64::from(u8::from(best == observed));
        self.temperatures.add(probs, observed);
    }
    /// Means over all closed blocks; NaN when there was no row.
    pub fn metrics(&self) -> Metrics {
        let n = self.count as f64;
        let ece: f64 = self.bins.iter().map(|bin| (bin.confidence - bin.correct).abs()).sum();
        let scores = [
            ("accuracy", self.correct as f64 / n),
            ("nll", self.nll / n),
            ("brier", self.brier / n),
            ("ece", ece / n),
            ("count", n),
        ];
        let scaled = self.temperatures.scores().map(|s| {
            [("temperature", s.temperature()), ("nll_scaled", s.nll), ("brier_scaled", s.brier), ("ece_scaled", s.ece)]
        });
        let mut all = named(&scores);
        all.values.extend(self.uncertainty().values);
        all.values.extend(scaled.iter().flat_map(|s| named(s).values));
        all
    }
    /// Mean `entropy`, `expected_entropy` and `mutual_information` over all rows [nats]; they ask for no classes.
    pub fn uncertainty(&self) -> Metrics {
        let n = self.rows as f64;
        named(&[
            ("entropy", self.entropy / n),
            ("expected_entropy", (self.entropy - self.mutual_information) / n),
            ("mutual_information", self.mutual_information / n),
        ])
    }
}

/// `-p ln p`, 0 at 0.
fn entropy_term(p: f64) -> f64 {
    if p > 0.0 { -p * p.ln() } else { 0.0 }
}

/// What kind of number is observed: it decides which scores are given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NumberKind {
    /// Real values: `rmse`, `mae`, `nll`, `crps`, `coverage_50`, `coverage_90`, `count`.
    Real,
    /// Counts: `nll`, `rmse`, `coverage_90`, `count`.
    Count,
}

/// Scores of a real or count observation.
///
/// `rmse` is of the predictive mean and `mae` of the predictive median, the point that each of them asks for (Gneiting
/// 2011, JASA 106:746). `crps` is the continuous ranked probability score, estimated without bias from the draws
/// (Zamo & Naveau 2018, Math. Geosci. 50:209, eq. 3). `coverage_50` and `coverage_90` are the fractions of rows inside
/// the central intervals, ends included.
#[derive(Clone, Debug)]
pub struct NumberScores {
    kind: NumberKind,
    observed: Vec<f64>,
    log_mean_probs: Vec<LogSum>,
    /// One `[rows]` for each draw.
    predictive: Vec<Vec<f64>>,
    count: usize,
    squares: f64,
    absolutes: f64,
    nll: f64,
    crps: f64,
    inside_50: usize,
    inside_90: usize,
}

impl NumberScores {
    /// Scores of numbers of this kind.
    pub fn new(kind: NumberKind) -> Self {
        Self {
            kind,
            observed: Vec::new(),
            log_mean_probs: Vec::new(),
            predictive: Vec::new(),
            count: 0,
            squares: 0.0,
            absolutes: 0.0,
            nll: 0.0,
            crps: 0.0,
            inside_50: 0,
            inside_90: 0,
        }
    }
    /// Opens a block of rows whose observed values are `observed`.
    pub fn begin<T: Scalar>(&mut self, observed: &[T]) {
        self.observed = observed.iter().map(|&x| x.to_f64()).collect();
        self.log_mean_probs = vec![LogSum::default(); observed.len()];
        self.predictive.clear();
    }
    /// Adds what one posterior draw gives: the log density `[rows]` of the observed values, and one predictive draw
    /// `[rows]`.
    ///
    /// # Panics
    /// When their number is another one.
    pub fn add_draw<T: Scalar>(&mut self, log_density: &[T], predictive: &[T]) {
        let rows = self.observed.len();
        assert_eq!((log_density.len(), predictive.len()), (rows, rows), "one number per row is wanted");
        for (sum, &x) in self.log_mean_probs.iter_mut().zip(log_density) {
            sum.add(x.to_f64());
        }
        self.predictive.push(predictive.iter().map(|&x| x.to_f64()).collect());
    }
    /// Closes the block.
    ///
    /// # Panics
    /// When no draw was added.
    pub fn end(&mut self) {
        let draws = self.predictive.len();
        assert!(draws > 0, "a block without draws");
        let mut sorted = Vec::with_capacity(draws);
        for (row, (&observed, sum)) in self.observed.iter().zip(&self.log_mean_probs).enumerate() {
            sorted.clear();
            sorted.extend(self.predictive.iter().map(|draw| draw[row]));
            sorted.sort_unstable_by(f64::total_cmp);
            let inside = |low, high| (quantile(&sorted, low)..=quantile(&sorted, high)).contains(&observed);
            let mean = sorted.iter().sum::<f64>() / draws as f64;
            self.count += 1;
            self.squares += (mean - observed).powi(2);
            self.absolutes += (quantile(&sorted, 0.5) - observed).abs();
            self.nll -= sum.value() - (draws as f64).ln();
            self.crps += crps(&sorted, observed);
            self.inside_50 += usize::from(inside(0.25, 0.75));
            self.inside_90 += usize::from(inside(0.05, 0.95));
        }
        self.observed.clear();
        self.predictive.clear();
    }
    /// The scores over all closed blocks; NaN when there was no row.
    pub fn metrics(&self) -> Metrics {
        let n = self.count as f64;
        let rmse = ("rmse", (self.squares / n).sqrt());
        let nll = ("nll", self.nll / n);
        let coverage_90 = ("coverage_90", self.inside_90 as f64 / n);
        let count = ("count", n);
        match self.kind {
            NumberKind::Real => {
                let (mae, crps) = (("mae", self.absolutes / n), ("crps", self.crps / n));
                let coverage_50 = ("coverage_50", self.inside_50 as f64 / n);
                named(&[rmse, mae, nll, crps, coverage_50, coverage_90, count])
            }
            NumberKind::Count => named(&[nll, rmse, coverage_90, count]),
        }
    }
}

/// `E|X - y| - E|X - X'| / 2` over sorted draws, X and X' distinct; one draw alone has the score `|x - y|`.
fn crps(sorted: &[f64], observed: f64) -> f64 {
    let n = sorted.len() as f64;
    let distance = sorted.iter().map(|x| (x - observed).abs()).sum::<f64>() / n;
    if sorted.len() < 2 {
        return distance;
    }
    // The sum of |x_i - x_j| over pairs i < j of sorted numbers.
    let spread: f64 = sorted.iter().enumerate().map(|(i, x)| x * (2.0 * i as f64 - n + 1.0)).sum();
    distance - spread / (n * (n - 1.0))
}

/// The log likelihood of rows whose local latents are integrated out by importance sampling, from the log weights of
/// draw after draw: the mean over rows of ln of the mean weight [nats]. It is too low on average, the less so the more
/// draws there are (Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, theorem 1).
#[derive(Clone, Debug)]
pub struct MarginalScores {
    sums: Vec<LogSum>,
    draws: usize,
}

impl MarginalScores {
    /// Scores of `rows` rows.
    pub fn new(rows: usize) -> Self {
        Self { sums: vec![LogSum::default(); rows], draws: 0 }
    }
    /// Adds the log weights `[rows]` of one draw.
    ///
    /// # Panics
    /// When their number is another one.
    pub fn add_draw<T: Scalar>(&mut self, log_weights: &[T]) {
        assert_eq!(log_weights.len(), self.sums.len(), "one weight per row is wanted");
        self.draws += 1;
        for (sum, &x) in self.sums.iter_mut().zip(log_weights) {
            sum.add(x.to_f64());
        }
    }
    /// Minus the mean log likelihood [nats per row].
    pub fn nll(&self) -> f64 {
        let draws = (self.draws as f64).ln();
        -self.sums.iter().map(|s| s.value() - draws).sum::<f64>() / self.sums.len() as f64
    }
}

/// The logarithm of a sum of exponentials, term by term without overflow.
#[derive(Clone, Copy, Debug)]
struct LogSum {
    largest: f64,
    scaled: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        Self { largest: f64::NEG_INFINITY, scaled: 0.0 }
    }
}

impl LogSum {
    fn add(&mut self, x: f64) {
        if x > self.largest {
            self.scaled = self.scaled * (self.largest - x).exp() + 1.0;
            self.largest = x;
        } else if x != f64::NEG_INFINITY {
            self.scaled += (x - self.largest).exp();
        }
    }
    fn value(self) -> f64 {
        self.largest + self.scaled.ln()
    }
}

fn named(pairs: &[(&str, f64)]) -> Metrics {
    Metrics { values: pairs.iter().map(|(name, value)| (name.to_string(), *value)).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(metrics: &Metrics, expect: &[(&str, f64)]) {
        let names: Vec<&str> = metrics.values.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, expect.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for (name, value) in expect {
            let got = metrics.get(name).expect("the names agree");
            assert!((got - value).abs() < 1e-12, "{name}: {got} instead of {value}");
        }
    }

    fn entropy(probs: &[f64]) -> f64 {
        probs.iter().map(|p| -p * p.ln()).sum()
    }

    #[test]
    fn class_scores_of_two_rows_and_two_draws() {
        let mut scores = ClassScores::new(3);
        // Row 0 becomes [0.6, 0.3, 0.1], right; row 1 [0.5, 0.25, 0.25], wrong.
        scores.begin(2, Some(vec![0, 2]));
        scores.add_draw(&[0.8, 0.1, 0.1, 0.5, 0.25, 0.25]);
        scores.add_draw(&[0.4, 0.5, 0.1, 0.5, 0.25, 0.25]);
        scores.end();
        let (a, b) = ([0.6, 0.3, 0.1], [0.5, 0.25, 0.25]);
        let within = (entropy(&[0.8, 0.1, 0.1]) + entropy(&[0.4, 0.5, 0.1])) / 2.0;
        check(
            &scores.metrics(),
            &[
                ("accuracy", 0.5),
                ("nll", -(0.6f64.ln() + 0.25f64.ln()) / 2.0),
                ("brier", (0.16 + 0.09 + 0.01 + 0.25 + 0.0625 + 0.5625) / 2.0),
                // 0.6 lies in bin 9 of 15 (8/15, 9/15], 0.5 in bin 8.
                ("ece", (0.4 + 0.5) / 2.0),
                ("count", 2.0),
                ("entropy", (entropy(&a) + entropy(&b)) / 2.0),
                ("expected_entropy", (within + entropy(&b)) / 2.0),
                ("mutual_information", (entropy(&a) - within) / 2.0),
            ],
        );
    }

    #[test]
    fn calibration_error_cancels_within_a_bin() {
        let mut scores = ClassScores::new(2);
        scores.begin(4, Some(vec![0, 0, 0, 1]));
        scores.add_draw(&[0.75f32, 0.25, 0.75, 0.25, 0.75, 0.25, 0.75, 0.25]);
        scores.end();
        assert_eq!(scores.metrics().get("ece"), Some(0.0));
        assert_eq!(scores.metrics().get("accuracy"), Some(0.75));
        // Draws that agree leave nothing to learn.
        assert_eq!(scores.metrics().get("mutual_information"), Some(0.0));
    }

    #[test]
    fn rows_without_labels_have_their_uncertainty() {
        let mut scores = ClassScores::new(2);
        scores.begin(2, None);
        scores.add_draw(&[1.0, 0.0, 0.5, 0.5]);
        scores.add_draw(&[0.0, 1.0, 0.5, 0.5]);
        let rows = scores.end();
        let ln2 = std::f64::consts::LN_2;
        assert_eq!((rows.probs, rows.entropy), (&[0.5; 4][..], &[ln2, ln2][..]));
        // The draws contradict each other on the first row, and agree that the second is a toss-up.
        assert_eq!(rows.mutual_information, [ln2, 0.0]);
        let of = scores.uncertainty();
        check(&of, &[("entropy", ln2), ("expected_entropy", ln2 / 2.0), ("mutual_information", ln2 / 2.0)]);
        assert!(scores.metrics().get("accuracy").is_some_and(f64::is_nan));
    }

    #[test]
    fn scaled_scores_stand_beside_the_raw_ones() {
        let mut scores = ClassScores::new(2);
        let mut alone = TemperatureScores::default();
        for row in 0..40 {
            let (p, class) = (0.5 + 0.01 * f64::from(row), usize::from(row % 2 == 0));
            scores.begin(1, Some(vec![class]));
            scores.add_draw(&[p, 1.0 - p]);
            scores.end();
            alone.add(&[p, 1.0 - p], class);
        }
        let (all, scaled) = (scores.metrics(), alone.scores().expect("enough rows"));
        let names: Vec<&str> = all.values.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, crate::check::expect::CLASS_METRICS);
        let values = [scaled.temperature(), scaled.nll, scaled.brier, scaled.ece];
        assert_eq!(all.values[8..].iter().map(|(_, v)| *v).collect::<Vec<_>>(), values);
        assert!(scaled.temperature() > 1.0 && all.get("nll") > all.get("nll_scaled"), "it was too sure");
    }

    #[test]
    fn sure_probabilities_have_no_entropy() {
        let mut scores = ClassScores::new(2);
        scores.begin(1, Some(vec![1]));
        scores.add_draw(&[0.0, 1.0]);
        scores.end();
        let m = scores.metrics();
        assert_eq!((m.get("entropy"), m.get("nll"), m.get("ece")), (Some(0.0), Some(0.0), Some(0.0)));
        scores.begin(1, Some(vec![0]));
        scores.add_draw(&[0.0, 1.0]);
        scores.end();
        assert_eq!(scores.metrics().get("nll"), Some(f64::INFINITY));
    }

    #[test]
    fn blocks_score_like_one_block() {
        let probs = [0.2, 0.8, 0.6, 0.4, 0.9, 0.1];
        let mut whole = ClassScores::new(2);
        whole.begin(3, Some(vec![1, 1, 0]));
        whole.add_draw(&probs);
        whole.end();
        let mut parts = ClassScores::new(2);
        for (row, label) in [1, 1, 0].into_iter().enumerate() {
            parts.begin(1, Some(vec![label]));
            parts.add_draw(&probs[2 * row..2 * row + 2]);
            parts.end();
        }
        assert_eq!(whole.metrics(), parts.metrics());
    }

    #[test]
    fn number_scores_of_one_row() {
        let mut scores = NumberScores::new(NumberKind::Real);
        scores.begin(&[2.0]);
        for (log_density, draw) in [(-1.0, 0.0), (-2.0, 1.0), (-3.0, 5.0)] {
            scores.add_draw(&[log_density], &[draw]);
        }
        scores.end();
        let nll = -(((-1f64).exp() + (-2f64).exp() + (-3f64).exp()) / 3.0).ln();
        check(
            &scores.metrics(),
            &[
                ("rmse", 0.0),
                ("mae", 1.0),
                ("nll", nll),
                // mean distance (2 + 1 + 3) / 3, mean pair distance (1 + 4 + 5) / 3
                ("crps", 2.0 - 5.0 / 3.0),
                // quartiles 0.5 and 3
                ("coverage_50", 1.0),
                ("coverage_90", 1.0),
                ("count", 1.0),
            ],
        );
    }

    #[test]
    fn crps_of_a_uniform_predictive() {
        // For U(0, 1) the score is y^2 - y + 1/3; an even grid of midpoints stands for it.
        let n = 10_000;
        let grid: Vec<f64> = (0..n).map(|i| (i as f64 + 0.5) / n as f64).collect();
        for y in [0.0, 0.3, 0.5, 1.0] {
            assert!((crps(&grid, y) - (y * y - y + 1.0 / 3.0)).abs() < 1e-4, "{y}: {}", crps(&grid, y));
        }
    }

    #[test]
    fn counts_have_their_own_scores() {
        let mut scores = NumberScores::new(NumberKind::Count);
        scores.begin(&[3.0f32, 9.0]);
        for draw in 0..5 {
            scores.add_draw(&[-1.0f32, -1.0], &[draw as f32, draw as f32]);
        }
        scores.end();
        let rmse = ((1.0f64 + 49.0) / 2.0).sqrt();
        check(&scores.metrics(), &[("nll", 1.0), ("rmse", rmse), ("coverage_90", 0.5), ("count", 2.0)]);
    }

    #[test]
    fn marginals_are_means_of_weights_row_by_row() {
        let mut scores = MarginalScores::new(2);
        scores.add_draw(&[1f64.ln(), -900.0]);
        scores.add_draw(&[3f64.ln(), -900.0]);
        assert!((scores.nll() - (900.0 - 2f64.ln()) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn log_sums_neither_overflow_nor_lose_impossible_terms() {
        let mut sum = LogSum::default();
        assert_eq!(sum.value(), f64::NEG_INFINITY);
        for x in [f64::NEG_INFINITY, -1000.0, -1000.0, f64::NEG_INFINITY] {
            sum.add(x);
        }
        assert!((sum.value() - (-1000.0 + 2f64.ln())).abs() < 1e-12);
        sum.add(800.0);
        assert_eq!(sum.value(), 800.0);
    }
}
