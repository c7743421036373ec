//! Numbers that summarise draws: moments, quantiles, R-hat, effective sample sizes, Monte Carlo error, Pareto k-hat.
//!
//! Draws are `[chain, draw]`, flat. R-hat and ESS are the rank-normalised, split ones of Vehtari, Gelman, Simpson,
//! Carpenter & Bürkner 2021 (arXiv:1903.08008, "the paper" below); ArviZ and the R package posterior compute the same.
//! Independent draws of a guide need no such estimates: each counts in full.

use crate::kernels::special::ndtri;
use std::f64::consts::PI;

/// The summary of one scalar; NaN is "does not apply".
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ElementSummary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation with divisor n - 1.
    pub sd: f64,
    /// 5 % quantile.
    pub q5: f64,
    /// 25 % quantile.
    pub q25: f64,
    /// 50 % quantile.
    pub median: f64,
    /// 75 % quantile.
    pub q75: f64,
    /// 95 % quantile.
    pub q95: f64,
    /// Monte Carlo standard error of the mean: `sd / sqrt(ess)`.
    pub mcse_mean: f64,
    /// Effective sample size of the rank-normalised draws.
    pub ess_bulk: f64,
    /// The smaller effective sample size of the 5 % and 95 % quantiles.
    pub ess_tail: f64,
    /// Potential scale reduction, the larger of the rank-normalised and the folded one.
    pub rhat: f64,
}

/// Fewer draws in a chain than this cannot be split and compared.
const MIN_DRAWS: usize = 4;

/// Everything about one scalar; `draws` is `[chain, draw]`.
///
/// A constant has no R-hat and no effective sample size; with NaN among the draws nothing is known.
///
/// # Panics
/// When `chains` does not divide the number of draws.
pub fn summarize(draws: &[f64], chains: usize) -> ElementSummary {
    assert!(chains > 0 && draws.len().is_multiple_of(chains), "draws do not divide into chains");
    let (mut summary, ends) = spread(draws);
    let Some((first, last)) = ends else { return summary };
    if draws.len() / chains < MIN_DRAWS || !first.is_finite() || !last.is_finite() {
        return summary;
    }
    let split = split_chains(draws, chains);
    summary.mcse_mean = summary.sd / ess(&split).sqrt();
    let ranked = rank_normalize(&split);
    summary.ess_bulk = ess(&ranked);
    let below = |q: f64| ess(&split.map(|x| if x <= q { 1.0 } else { 0.0 }));
    summary.ess_tail = below(summary.q5).min(below(summary.q95));
    let center = median(&split.data);
    let folded = split.map(|x| (x - center).abs());
    summary.rhat = rhat(&ranked).max(rhat(&rank_normalize(&folded)));
    summary
}

/// As [`summarize`] for independent draws: all of them are effective, and there are no chains whose R-hat could be told.
pub fn summarize_independent(draws: &[f64]) -> ElementSummary {
    let (mut summary, ends) = spread(draws);
    if ends.is_some_and(|(first, last)| first.is_finite() && last.is_finite()) {
        let n = draws.len() as f64;
        summary.mcse_mean = summary.sd / n.sqrt();
        (summary.ess_bulk, summary.ess_tail) = (n, n);
    }
    summary
}

/// Moments and quantiles, and the smallest and largest draw, unless the draws say no more: none, NaN among them, or all
/// the same.
fn spread(draws: &[f64]) -> (ElementSummary, Option<(f64, f64)>) {
    let unknown = f64::NAN;
    let mut summary = ElementSummary {
        mean: mean(draws),
        sd: sd(draws),
        q5: unknown,
        q25: unknown,
        median: unknown,
        q75: unknown,
        q95: unknown,
        mcse_mean: unknown,
        ess_bulk: unknown,
        ess_tail: unknown,
        rhat: unknown,
    };
    if draws.is_empty() || draws.iter().any(|x| x.is_nan()) {
        return (summary, None);
    }
    let mut sorted = draws.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    [summary.q5, summary.q25, summary.median, summary.q75, summary.q95] =
        [0.05, 0.25, 0.5, 0.75, 0.95].map(|p| quantile(&sorted, p));
    let (first, last) = (sorted[0], sorted[sorted.len() - 1]);
    if first == last {
        summary.sd = 0.0;
        summary.mcse_mean = 0.0;
        return (summary, None);
    }
    (summary, Some((first, last)))
}

/// The arithmetic mean; NaN of nothing.
pub fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// The standard deviation with divisor n - 1; NaN of fewer than two numbers.
pub fn sd(x: &[f64]) -> f64 {
    variance(x).sqrt()
}

/// The variance with divisor n - 1, in two passes.
fn variance(x: &[f64]) -> f64 {
    if x.len() < 2 {
        return f64::NAN;
    }
    let center = mean(x);
    x.iter().map(|x| (x - center) * (x - center)).sum::<f64>() / (x.len() - 1) as f64
}

/// The quantile `p` of sorted numbers by linear interpolation (type 7 of Hyndman & Fan 1996); NaN of nothing.
pub fn quantile(sorted: &[f64], p: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let position = p * (sorted.len() - 1) as f64;
    let low = position.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    if sorted[low] == sorted[high] {
        return sorted[low];
    }
    sorted[low] + (position - low as f64) * (sorted[high] - sorted[low])
}

fn median(x: &[f64]) -> f64 {
    let mut sorted = x.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

/// Chains of equal length, one after the other.
struct Chains {
    data: Vec<f64>,
    length: usize,
}

impl Chains {
    fn iter(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.data.chunks_exact(self.length)
    }
    fn map(&self, f: impl Fn(f64) -> f64) -> Chains {
        Chains { data: self.data.iter().map(|&x| f(x)).collect(), length: self.length }
    }
}

/// Every chain in two halves; the middle draw of an odd number is left out.
fn split_chains(draws: &[f64], chains: usize) -> Chains {
    let per_chain = draws.len() / chains;
    let length = per_chain / 2;
    let halves = draws.chunks_exact(per_chain).flat_map(|chain| [&chain[..length], &chain[per_chain - length..]]);
    Chains { data: halves.flatten().copied().collect(), length }
}

/// Normal scores of the ranks over all chains, ties sharing their mean rank: the paper, eq. 14.
fn rank_normalize(chains: &Chains) -> Chains {
    let x = &chains.data;
    let mut order: Vec<u32> = (0..x.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| x[a as usize].total_cmp(&x[b as usize]));
    let mut scores = vec![0.0; x.len()];
    let mut start = 0;
    for tie in order.chunk_by(|&a, &b| x[a as usize] == x[b as usize]) {
        let rank = start as f64 + (tie.len() + 1) as f64 / 2.0;
        let score = ndtri((rank - 0.375) / (x.len() as f64 + 0.25));
        for &i in tie {
            scores[i as usize] = score;
        }
        start += tie.len();
    }
    Chains { data: scores, length: chains.length }
}

/// Potential scale reduction: the paper, eqs. 1 to 4.
fn rhat(chains: &Chains) -> f64 {
    let means: Vec<f64> = chains.iter().map(mean).collect();
    let within = mean(&chains.iter().map(variance).collect::<Vec<_>>());
    let n = chains.length as f64;
    ((n * variance(&means) / within + n - 1.0) / n).sqrt()
}

/// The effective number of draws by Geyer's initial monotone sequence: the paper, eqs. 10 to 13.
///
/// Antithetic chains may have more effective draws than draws, at most `S log10 S`. Constant chains count in full.
fn ess(chains: &Chains) -> f64 {
    let total = chains.data.len() as f64;
    let n = chains.length as f64;
    let mut autocovariance = Autocovariance::new(chains);
    let within = autocovariance.at(0) * n / (n - 1.0);
    let means: Vec<f64> = chains.iter().map(mean).collect();
    let between = if means.len() > 1 { variance(&means) } else { 0.0 };
    let pooled = within * (n - 1.0) / n + between;
    if pooled <= 0.0 {
        return total;
    }
    let mut rho = |lag: usize| 1.0 - (within - autocovariance.at(lag)) / pooled;
    // Sums of neighbours, rho(2k) + rho(2k + 1), are positive and fall in a reversible chain; `sum` gathers them, never
    // rising, while that holds. Of the pair that ends it the even term counts once when it is positive.
    let (mut sum, mut smallest, mut lag) = (0.0, f64::INFINITY, 0);
    let (mut even, mut odd) = (1.0, rho(1));
    while lag + 4 < chains.length && even + odd > 0.0 {
        smallest = smallest.min(even + odd);
        sum += smallest;
        lag += 2;
        (even, odd) = (rho(lag), rho(lag + 1));
    }
    let tau = (-1.0 + 2.0 * sum + even.max(0.0)).max(1.0 / total.log10());
    total / tau
}

/// Autocovariances with divisor n, averaged over the chains. The first lags are summed directly, since well mixed
/// chains need no more; the first lag beyond them brings the Fourier transform of everything.
struct Autocovariance {
    centered: Chains,
    all: Option<Vec<f64>>,
}

/// A transform costs about as much as this many lags.
const DIRECT_LAGS: usize = 32;

impl Autocovariance {
    fn new(chains: &Chains) -> Self {
        let mut data = Vec::with_capacity(chains.data.len());
        for chain in chains.iter() {
            let center = mean(chain);
            data.extend(chain.iter().map(|x| x - center));
        }
        Self { centered: Chains { data, length: chains.length }, all: None }
    }
    fn at(&mut self, lag: usize) -> f64 {
        let n = self.centered.length;
        if lag < DIRECT_LAGS {
            let sum: f64 = self.centered.iter().map(|x| dot(&x[..n - lag], &x[lag..])).sum();
            return sum / self.centered.data.len() as f64;
        }
        let centered = &self.centered;
        self.all.get_or_insert_with(|| autocovariance_by_fourier(centered))[lag]
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The inverse transform of the mean power spectrum; zero padding to twice the length keeps the ends apart.
fn autocovariance_by_fourier(centered: &Chains) -> Vec<f64> {
    let size = (2 * centered.length).next_power_of_two();
    let mut power = vec![(0.0, 0.0); size];
    let mut signal = vec![(0.0, 0.0); size];
    for chain in centered.iter() {
        signal.fill((0.0, 0.0));
        for (s, &x) in signal.iter_mut().zip(chain) {
            s.0 = x;
        }
        fourier(&mut signal);
        for (p, s) in power.iter_mut().zip(&signal) {
            p.0 += s.0 * s.0 + s.1 * s.1;
        }
    }
    // The spectrum is real and even: the forward transform is the inverse one up to the divisor.
    fourier(&mut power);
    let divisor = (size * centered.data.len()) as f64;
    power[..centered.length].iter().map(|p| p.0 / divisor).collect()
}

/// The discrete Fourier transform in place, by decimation in time; the length is a power of two. Pairs are (re, im).
fn fourier(x: &mut [(f64, f64)]) {
    let n = x.len();
    let bits = n.trailing_zeros();
    for i in 1..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            x.swap(i, j);
        }
    }
    let twiddles: Vec<(f64, f64)> = (0..n / 2)
        .map(|k| {
            let (sin, cos) = (-2.0 * PI * k as f64 / n as f64).sin_cos();
            (cos, sin)
        })
        .collect();
    let mut half = 1;
    while half < n {
        let stride = n / (2 * half);
        for block in x.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for (k, (a, b)) in low.iter_mut().zip(high).enumerate() {
                let w = twiddles[k * stride];
                let t = (b.0 * w.0 - b.1 * w.1, b.0 * w.1 + b.1 * w.0);
                (*a, *b) = ((a.0 + t.0, a.1 + t.1), (a.0 - t.0, a.1 - t.1));
            }
        }
        half *= 2;
    }
}

/// The effective number of draws for the mean, over their number; 1 where the draws do not say: too few of them, all the
/// same, or not finite. `draws` is `[chain, draw]`.
///
/// # Panics
/// When `chains` does not divide the number of draws.
pub fn relative_efficiency(draws: &[f64], chains: usize) -> f64 {
    assert!(chains > 0 && draws.len().is_multiple_of(chains), "draws do not divide into chains");
    let same = draws.iter().all(|x| *x == draws[0]);
    if draws.len() / chains < MIN_DRAWS || same || !draws.iter().all(|x| x.is_finite()) {
        return 1.0;
    }
    ess(&split_chains(draws, chains)) / draws.len() as f64
}

/// Pareto k-hat of importance ratios given by their logarithms: the shape of the largest ones.
///
/// Below 0.5 an importance average converges quickly, up to 0.7 it is usable, above it is not: a guide with such a value
/// misses a part of the posterior. Infinite when there are too few ratios to say, NaN when one of them is NaN.
/// Vehtari, Simpson, Gelman, Yao & Gabry 2024, arXiv:1507.02646, sec. 2; for guides Yao et al. 2018, arXiv:1802.02538.
pub fn pareto_k(log_ratios: &[f64]) -> f64 {
    if log_ratios.iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    let mut sorted = log_ratios.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let tail_length = (0.2 * count).min(3.0 * count.sqrt()).ceil() as usize;
    if sorted.len() <= tail_length {
        return f64::INFINITY;
    }
    let largest = sorted[sorted.len() - 1];
    let cutoff = (sorted[sorted.len() - 1 - tail_length] - largest).max(f64::MIN_POSITIVE.ln());
    let excesses: Vec<f64> =
        sorted.iter().map(|x| x - largest).filter(|&x| x > cutoff).map(|x| x.exp() - cutoff.exp()).collect();
    if excesses.len() < MIN_TAIL { f64::INFINITY } else { generalized_pareto(&excesses).shape }
}

/// A tail of fewer ratios says nothing about its shape.
pub(super) const MIN_TAIL: usize = 5;

/// A generalized Pareto distribution of positive numbers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct GeneralizedPareto {
    /// The shape k.
    pub shape: f64,
    /// The scale sigma, in the unit of the numbers.
    pub scale: f64,
}

impl GeneralizedPareto {
    /// The quantile `p`, `0 <= p < 1`.
    pub fn quantile(self, p: f64) -> f64 {
        let log_tail = (-p).ln_1p();
        let standard =
            if self.shape.abs() < f64::EPSILON { -log_tail } else { (-self.shape * log_tail).exp_m1() / self.shape };
        self.scale * standard
    }
}

/// The generalized Pareto distribution of sorted positive excesses.
///
/// Zhang & Stephens 2009, Technometrics 51:316: with `theta = -k / sigma`, the posterior mean of theta under their
/// data-based prior, on a grid; then k by its maximum likelihood given theta, and sigma with it. The estimate of k is
/// drawn towards 0.5 with the weight of ten observations (arXiv:1507.02646, appendix C).
pub(super) fn generalized_pareto(excesses: &[f64]) -> GeneralizedPareto {
    const PRIOR_SPREAD: f64 = 3.0;
    const PRIOR_WEIGHT: f64 = 10.0;
    const PRIOR_SHAPE: f64 = 0.5;
    let count = excesses.len();
    let n = count as f64;
    let grid = 30 + n.sqrt().floor() as usize;
    let quartile = excesses[((n / 4.0 + 0.5).floor() as usize).saturating_sub(1)];
    let largest = excesses[count - 1];
    let shape_given = |theta: f64| excesses.iter().map(|x| (-theta * x).ln_1p()).sum::<f64>() / n;
    let thetas: Vec<f64> = (1..=grid)
        .map(|j| 1.0 / largest + (1.0 - (grid as f64 / (j as f64 - 0.5)).sqrt()) / (PRIOR_SPREAD * quartile))
        .collect();
    let log_likelihoods: Vec<f64> = thetas
        .iter()
        .map(|&theta| {
            let k = shape_given(theta);
            n * ((-theta / k).ln() - k - 1.0)
        })
        .collect();
    let top = log_likelihoods.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = log_likelihoods.iter().map(|l| (l - top).exp()).collect();
    let theta = dot(&thetas, &weights) / weights.iter().sum::<f64>();
    let k = shape_given(theta);
    GeneralizedPareto { shape: (n * k + PRIOR_WEIGHT * PRIOR_SHAPE) / (n + PRIOR_WEIGHT), scale: -k / theta }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> serde_json::Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference_stats/statistics.json");
        let text = std::fs::read_to_string(path).expect("the reference table is checked in");
        serde_json::from_str(&text).expect("the reference table is JSON")
    }

    fn numbers(value: &serde_json::Value) -> Vec<f64> {
        value.as_array().expect("an array").iter().map(|x| x.as_f64().expect("a number")).collect()
    }

    #[test]
    fn independent_draws_count_in_full() {
        let draws: Vec<f64> = (0..1000).map(|i| f64::from(i * 7919 % 1000)).collect();
        let (s, chain) = (summarize_independent(&draws), summarize(&draws, 1));
        assert_eq!([s.mean, s.sd, s.q5, s.median, s.q95], [chain.mean, chain.sd, chain.q5, chain.median, chain.q95]);
        assert!((s.mcse_mean - s.sd / 1000f64.sqrt()).abs() < 1e-12 * s.sd);
        assert_eq!([s.ess_bulk, s.ess_tail], [1000.0; 2]);
        assert!(s.rhat.is_nan() && summarize_independent(&[2.0, f64::NAN]).median.is_nan());
        assert_eq!(summarize_independent(&[2.0, 2.0]).mcse_mean, 0.0);
    }

    #[test]
    fn statistics_match_the_reference_table() {
        let table = reference();
        let mut compared = 0;
        for case in table["statistics"].as_array().expect("an array") {
            let chains = case["chains"].as_u64().expect("a count") as usize;
            let s = summarize(&numbers(&case["data"]), chains);
            let pairs = [
                ("mean", s.mean),
                ("sd", s.sd),
                ("q5", s.q5),
                ("q25", s.q25),
                ("median", s.median),
                ("q75", s.q75),
                ("q95", s.q95),
                ("rhat", s.rhat),
                ("ess_bulk", s.ess_bulk),
                ("ess_tail", s.ess_tail),
                ("mcse_mean", s.mcse_mean),
            ];
            for (key, got) in pairs {
                let Some(expect) = case[key].as_f64() else { continue };
                let close = (got - expect).abs() <= 1e-9 * expect.abs().max(1e-3);
                assert!(close, "{} of {}: {got} instead of {expect}", key, case["name"]);
                compared += 1;
            }
        }
        assert_eq!(compared, 9 * 11 - 1);
    }

    #[test]
    fn pareto_k_matches_the_reference_table() {
        let table = reference();
        let cases = table["pareto"].as_array().expect("an array");
        assert_eq!(cases.len(), 5);
        for case in cases {
            let (got, expect) = (pareto_k(&numbers(&case["log_ratios"])), case["pareto_k"].as_f64().expect("a number"));
            assert!((got - expect).abs() < 1e-9, "{}: {got} instead of {expect}", case["name"]);
        }
    }

    #[test]
    fn constants_and_nan_have_no_diagnostics() {
        let s = summarize(&[2.0; 40], 4);
        assert_eq!((s.mean, s.sd, s.q5, s.median, s.mcse_mean), (2.0, 0.0, 2.0, 2.0, 0.0));
        assert!(s.rhat.is_nan() && s.ess_bulk.is_nan() && s.ess_tail.is_nan());
        let s = summarize(&[1.0, f64::NAN, 2.0, 3.0], 1);
        assert!(s.mean.is_nan() && s.median.is_nan() && s.rhat.is_nan());
        let s = summarize(&[1.0, f64::INFINITY, 2.0, 3.0], 1);
        assert!(s.median == 2.5 && s.rhat.is_nan() && s.mcse_mean.is_nan());
        assert!(summarize(&[1.0, 2.0], 1).ess_bulk.is_nan());
        assert!(summarize(&[], 1).mean.is_nan());
    }

    #[test]
    fn the_fourier_transform_gives_the_direct_sums() {
        let data: Vec<f64> = (0..140).map(|i| ((i * i) as f64 * 0.37).sin() + (i as f64 * 0.05).cos()).collect();
        let mut a = Autocovariance::new(&Chains { data, length: 70 });
        let by_fourier = autocovariance_by_fourier(&a.centered);
        for (lag, f) in by_fourier.iter().enumerate() {
            let direct: f64 = a.centered.iter().map(|x| dot(&x[..70 - lag], &x[lag..])).sum::<f64>() / 140.0;
            assert!((direct - f).abs() < 1e-12 && (a.at(lag) - f).abs() < 1e-12, "lag {lag}: {direct} and {f}");
        }
    }

    #[test]
    fn few_or_equal_ratios_have_no_tail() {
        assert_eq!(pareto_k(&[0.0; 100]), f64::INFINITY);
        assert_eq!(pareto_k(&[0.0, 1.0]), f64::INFINITY);
        assert!(pareto_k(&[0.0, f64::NAN]).is_nan());
    }
}
