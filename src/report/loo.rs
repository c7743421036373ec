//! Leave-one-out cross-validation from the draws of one fit, by importance sampling with smoothed weights.
//!
//!   elpd_loo = sum over i of ln p(y_i | y without i)                                                  [nats]
//!   p(y_i | y without i) = sum over draws of w_i p(y_i | draw),  w_i proportional to 1 / p(y_i | draw), smoothed
//!
//! The largest weights are replaced by quantiles of a generalized Pareto distribution, whose shape k tells whether the
//! rest can be relied on. Vehtari, Gelman & Gabry 2017, arXiv:1507.04544; the smoothing as in Vehtari, Simpson, Gelman,
//! Yao & Gabry 2024, arXiv:1507.02646. ArviZ and the R package loo compute the same.

use super::fit::{Draws, element_name};
use super::numbers::{decimals_for, fixed};
use super::statistics::{MIN_TAIL, generalized_pareto, relative_efficiency};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Observations with too large a Pareto k that are named, at most.
const NAMED: usize = 5;
/// From this shape on even very many draws give no reliable average (arXiv:1507.02646, sec. 3).
const LARGEST_K: f64 = 0.7;

/// What leave-one-out says about one observation.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Point {
    /// ln p(y_i | y without i) [nats].
    pub elpd: f64,
    /// By how much the fit that has seen it predicts it better [nats].
    pub p: f64,
    /// The shape of the tail of its weights; NaN where all weights are the same, so that there is no tail.
    pub pareto_k: f64,
}

/// The observations of one statement of the model.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct LooTerm {
    /// The name of the datum, or the text of the observed expression.
    pub name: String,
    /// The extents of the array of observations: those of the datum without the dimensions of one event.
    pub shape: Vec<usize>,
    /// The size name of each dimension; `None` for a literal size.
    pub dims: Vec<Option<String>>,
    /// The labels of each dimension; `None` where positions are numbers.
    pub labels: Vec<Option<Vec<String>>>,
    /// A hash of the observed values, in hexadecimal ([`ValuesHash`]).
    pub hash: String,
    /// One for each observation, row-major.
    #[serde(skip)]
    pub points: Vec<Point>,
    /// The log likelihood `[chain, draw, observation]`; `None` where it is too large to be kept.
    #[serde(skip)]
    pub log_likelihood: Option<Draws>,
}

impl LooTerm {
    /// The number of observations.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Leave-one-out of a fit.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Loo {
    /// The number of chains.
    pub chains: usize,
    /// The draws of each chain that were used.
    pub draws: usize,
    /// The statements that observe something, in the order of the model.
    pub terms: Vec<LooTerm>,
}

/// A sum over observations with its standard error.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// The sum.
    pub value: f64,
    /// The square root of n times the variance of the summands (divisor n - 1); NaN for one observation.
    pub standard_error: f64,
}

impl Estimate {
    /// The sum of independent numbers.
    fn of(x: &[f64]) -> Self {
        Self { value: x.iter().sum(), standard_error: (x.len() as f64).sqrt() * super::statistics::sd(x) }
    }
    /// `-30.8 ± 1.4`, in as many digits as the error has a use for.
    pub fn text(&self, ascii: bool) -> String {
        if !self.standard_error.is_finite() {
            return fixed(self.value, 1);
        }
        let decimals = decimals_for(self.standard_error, 2).min(3);
        let sign = if ascii { "+-" } else { "±" };
        format!("{} {sign} {}", fixed(self.value, decimals), fixed(self.standard_error, decimals))
    }
}

impl Loo {
    /// All draws of all chains.
    pub fn n_draws(&self) -> usize {
        self.chains * self.draws
    }
    /// The number of observations.
    pub fn count(&self) -> usize {
        self.terms.iter().map(LooTerm::count).sum()
    }
    /// All observations, term after term.
    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.terms.iter().flat_map(|t| &t.points)
    }
    fn each(&self, pick: fn(&Point) -> f64) -> Vec<f64> {
        self.points().map(pick).collect()
    }
    /// The expected log density of new data like the observed ones [nats].
    pub fn elpd(&self) -> Estimate {
        Estimate::of(&self.each(|p| p.elpd))
    }
    /// The effective number of parameters.
    pub fn p_loo(&self) -> Estimate {
        Estimate::of(&self.each(|p| p.p))
    }
    /// The largest Pareto k that can be relied on with so many draws.
    pub fn good_k(&self) -> f64 {
        good_k(self.n_draws())
    }
    /// The largest Pareto k; NaN where no observation has one.
    pub fn max_k(&self) -> f64 {
        self.points().map(|p| p.pareto_k).filter(|k| !k.is_nan()).reduce(f64::max).unwrap_or(f64::NAN)
    }
    /// The observations whose numbers cannot be relied on, worst first: name and Pareto k.
    pub fn bad(&self) -> Vec<(String, f64)> {
        let limit = self.good_k();
        let of_term = |t: &LooTerm| {
            let bad = |p: &Point| p.pareto_k > limit || !p.elpd.is_finite();
            let at: Vec<usize> = (0..t.points.len()).filter(|&i| bad(&t.points[i])).collect();
            let name = |i: usize| (element_name(&t.name, &t.shape, &t.labels, i), t.points[i].pareto_k);
            at.into_iter().map(name).collect::<Vec<_>>()
        };
        let mut list: Vec<(String, f64)> = self.terms.iter().flat_map(of_term).collect();
        list.sort_by(|a, b| b.1.total_cmp(&a.1));
        list
    }
    /// `p_loo 0.9, 0 of 8 Pareto k above 0.70`
    pub fn remark(&self) -> String {
        let (p_loo, bad, limit) = (self.p_loo().value, self.bad().len(), fixed(self.good_k(), 2));
        format!("p_loo {}, {bad} of {} Pareto k above {limit}", fixed(p_loo, 1), self.count())
    }
    /// What to do about observations whose numbers cannot be relied on, if there are any.
    pub fn advice(&self) -> Option<String> {
        let bad = self.bad();
        if bad.is_empty() {
            return None;
        }
        let name = |(name, k): &(String, f64)| format!("`{name}` ({})", fixed(*k, 2));
        let mut names: Vec<String> = bad.iter().take(NAMED).map(name).collect();
        if bad.len() > NAMED {
            names.push(format!("and {} more", bad.len() - NAMED));
        }
        let of = format!("{} of {} observations", bad.len(), self.count());
        Some(format!(
            "elpd_loo is not reliable for {of}, worst first (Pareto k): {}; each moves the posterior too far to be left \
             out by new weights: look at them, give the likelihood heavier tails, or fit without them",
            names.join(", ")
        ))
    }
    /// The part of `summary.json`.
    pub fn json(&self) -> Value {
        let number = |x: f64| serde_json::Number::from_f64(x).map_or(Value::Null, Value::Number);
        let (elpd, p_loo, bad) = (self.elpd(), self.p_loo(), self.bad());
        let terms = self.terms.iter().map(|t| {
            let elpd = Estimate::of(&t.points.iter().map(|p| p.elpd).collect::<Vec<_>>());
            let value = json!({
                "observations": t.count(),
                "elpd_loo": number(elpd.value),
                "standard_error": number(elpd.standard_error),
            });
            (t.name.clone(), value)
        });
        json!({
            "elpd_loo": number(elpd.value),
            "standard_error": number(elpd.standard_error),
            "p_loo": number(p_loo.value),
            "p_loo_standard_error": number(p_loo.standard_error),
            "looic": number(-2.0 * elpd.value),
            "observations": self.count(),
            "draws": self.n_draws(),
            "good_k": number(self.good_k()),
            "bad_k": bad.len(),
            "max_pareto_k": number(self.max_k()),
            "worst": bad.iter().take(NAMED).map(|(name, k)| json!({"name": name, "pareto_k": number(*k)})).collect::<Value>(),
            "terms": terms.collect::<serde_json::Map<String, Value>>(),
        })
    }
    /// The observations of both in the same order, where they are the same: the elpd of each in `self` and in `other`.
    ///
    /// # Errors
    /// What differs, in words, with `self` and `other` called by their names.
    pub fn paired(&self, other: &Loo, names: [&str; 2]) -> Result<Vec<[f64; 2]>, String> {
        let sorted = |loo: &Loo| -> Vec<usize> {
            let mut order: Vec<usize> = (0..loo.terms.len()).collect();
            order.sort_by(|&a, &b| loo.terms[a].name.cmp(&loo.terms[b].name));
            order
        };
        let list = |loo: &Loo| sorted(loo).iter().map(|&i| format!("`{}`", loo.terms[i].name)).collect::<Vec<_>>();
        let [own, others] = [list(self), list(other)];
        if own != others {
            return Err(format!("`{}` observes {}, `{}` {}", names[0], own.join(", "), names[1], others.join(", ")));
        }
        let mut pairs = Vec::with_capacity(self.count());
        for (a, b) in sorted(self).into_iter().zip(sorted(other)) {
            let (a, b) = (&self.terms[a], &other.terms[b]);
            if a.count() != b.count() {
                return Err(format!(
                    "`{}` has {} observations of `{}`, `{}` has {}",
                    names[0],
                    a.count(),
                    a.name,
                    names[1],
                    b.count()
                ));
            }
            if a.hash != b.hash {
                return Err(format!(
                    "the values of `{}` are not the same in `{}` and `{}`",
                    a.name, names[0], names[1]
                ));
            }
            pairs.extend(a.points.iter().zip(&b.points).map(|(a, b)| [a.elpd, b.elpd]));
        }
        Ok(pairs)
    }
}

/// The sum of first minus second, with its standard error over the pairs.
pub fn difference(pairs: &[[f64; 2]]) -> Estimate {
    Estimate::of(&pairs.iter().map(|[a, b]| a - b).collect::<Vec<_>>())
}

/// The largest Pareto k that can be relied on with so many draws: `min(1 - 1 / log10(S), 0.7)` (arXiv:1507.02646, sec. 3.2.4).
pub fn good_k(draws: usize) -> f64 {
    (1.0 - 1.0 / (draws as f64).log10()).min(LARGEST_K)
}

/// Leave-one-out of observations from their log likelihoods `[observation, chain, draw]`. Draws that are not independent
/// count by the effective number of draws of each likelihood.
///
/// # Panics
/// When `chains` and `draws` do not divide the numbers.
pub fn points(log_likelihoods: &[f64], chains: usize, draws: usize, independent: bool) -> Vec<Point> {
    let n = chains * draws;
    assert!(n > 0 && log_likelihoods.len().is_multiple_of(n), "log likelihoods do not divide into draws");
    let one = |buffer: &mut Buffer, own: &[f64]| {
        let efficiency = if independent { 1.0 } else { buffer.efficiency(own, chains) };
        buffer.point(own, efficiency)
    };
    log_likelihoods.par_chunks_exact(n).map_init(Buffer::default, one).collect()
}

/// What is needed for one observation, used again for the next.
#[derive(Default)]
struct Buffer {
    weights: Vec<f64>,
    order: Vec<u32>,
}

impl Buffer {
    /// The effective number of draws for the mean likelihood, over their number.
    fn efficiency(&mut self, log_likelihood: &[f64], chains: usize) -> f64 {
        let largest = log_likelihood.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.weights.clear();
        self.weights.extend(log_likelihood.iter().map(|l| (l - largest).exp()));
        relative_efficiency(&self.weights, chains)
    }
    fn point(&mut self, log_likelihood: &[f64], efficiency: f64) -> Point {
        let unknown = Point { elpd: f64::NAN, p: f64::NAN, pareto_k: f64::INFINITY };
        if log_likelihood.iter().any(|l| l.is_nan() || *l == f64::INFINITY) {
            return unknown;
        }
        if log_likelihood.contains(&f64::NEG_INFINITY) {
            // A draw under which it cannot happen has all the weight.
            return Point { elpd: f64::NEG_INFINITY, ..unknown };
        }
        self.weights.clear();
        self.weights.extend(log_likelihood.iter().map(|l| -l));
        let pareto_k = smooth(&mut self.weights, &mut self.order, efficiency);
        let seen = log_sum_exp(log_likelihood.iter().copied()) - (log_likelihood.len() as f64).ln();
        let elpd = log_sum_exp(self.weights.iter().zip(log_likelihood).map(|(w, l)| w + l));
        Point { elpd, p: seen - elpd, pareto_k }
    }
}

/// Importance weights that sum to one, of ratios given by their logarithms: the largest are smoothed. Also the Pareto k-hat:
/// NaN where all ratios are the same, infinite where there are too few to say. Draws are taken as independent.
pub fn smooth_weights(log_ratios: &[f64]) -> (Vec<f64>, f64) {
    let mut weights = log_ratios.to_vec();
    let k = smooth(&mut weights, &mut Vec::new(), 1.0);
    weights.iter_mut().for_each(|w| *w = w.exp());
    (weights, k)
}

/// Smooths the largest of some importance ratios, given by their logarithms, and makes them sum to one; returns the shape
/// of their tail: NaN where all are the same, infinite where the tail is too short to say.
fn smooth(log_weights: &mut [f64], order: &mut Vec<u32>, efficiency: f64) -> f64 {
    let count = log_weights.len() as f64;
    let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    log_weights.iter_mut().for_each(|w| *w -= largest);
    let mut k = if log_weights.iter().all(|w| *w == 0.0) { f64::NAN } else { f64::INFINITY };
    let tail_length = (0.2 * count).min(3.0 * (count / efficiency).sqrt()).ceil() as usize;
    if tail_length >= MIN_TAIL && tail_length < log_weights.len() {
        let by_weight = |a: &u32, b: &u32| log_weights[*a as usize].total_cmp(&log_weights[*b as usize]);
        order.clear();
        order.extend(0..log_weights.len() as u32);
        let (_, &mut at, tail) = order.select_nth_unstable_by(log_weights.len() - 1 - tail_length, by_weight);
        tail.sort_unstable_by(by_weight);
        let cutoff = log_weights[at as usize].max(f64::MIN_POSITIVE.ln());
        let above = tail.partition_point(|&i| log_weights[i as usize] <= cutoff);
        let tail = &tail[above..];
        if tail.len() >= MIN_TAIL {
            let excesses: Vec<f64> = tail.iter().map(|&i| log_weights[i as usize].exp() - cutoff.exp()).collect();
            let pareto = generalized_pareto(&excesses);
            k = pareto.shape;
            if k.is_finite() {
                for (j, &i) in tail.iter().enumerate() {
                    let p = (j as f64 + 0.5) / tail.len() as f64;
                    log_weights[i as usize] = (pareto.quantile(p) + cutoff.exp()).ln().min(0.0);
                }
            }
        }
    }
    let total = log_sum_exp(log_weights.iter().copied());
    log_weights.iter_mut().for_each(|w| *w -= total);
    k
}

/// ln of the sum of exponentials.
fn log_sum_exp(x: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = x.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + x.map(|x| (x - largest).exp()).sum::<f64>().ln()
}

/// A hash of observed values: the same for the same data, in whatever precision a model was run.
#[derive(Clone, Default)]
pub struct ValuesHash(Sha256);

impl ValuesHash {
    /// Adds the next values.
    pub fn add(&mut self, values: impl Iterator<Item = f64>) {
        for x in values {
            // 0 and -0 are one value.
            self.0.update((x as f32 + 0.0).to_le_bytes());
        }
    }
    /// The hash of all values so far, in hexadecimal.
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().expect("an array").iter().map(|x| x.as_f64().unwrap_or(f64::INFINITY)).collect()
    }
    fn loo_of(points: Vec<Point>, chains: usize, draws: usize) -> Loo {
        let term = LooTerm { name: "y".into(), shape: vec![points.len()], points, ..LooTerm::default() };
        Loo { chains, draws, terms: vec![term] }
    }

    #[test]
    fn leave_one_out_matches_the_reference_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference_stats/loo.json");
        let text = std::fs::read_to_string(path).expect("the reference table is checked in");
        let table: Value = serde_json::from_str(&text).expect("the reference table is JSON");
        let cases = table["cases"].as_array().expect("an array");
        assert_eq!(cases.len(), 5);
        for case in cases {
            let number = |key: &str| case[key].as_f64().expect("a number");
            let close = |got: f64, expect: f64, what: &str| {
                let close = got == expect || (got - expect).abs() <= 1e-9 * expect.abs().max(1.0);
                assert!(close, "{what} of {}: {got} instead of {expect}", case["name"]);
            };
            let draws = case["draws"].as_u64().expect("a count") as usize;
            let mut buffer = Buffer::default();
            let log_likelihood = numbers(&case["log_likelihood"]);
            let columns = log_likelihood.chunks_exact(draws);
            let points: Vec<Point> = columns.map(|own| buffer.point(own, number("relative_efficiency"))).collect();
            for (i, point) in points.iter().enumerate() {
                close(point.elpd, numbers(&case["elpd"])[i], "elpd");
                close(point.p, numbers(&case["p"])[i], "p");
                close(point.pareto_k, numbers(&case["pareto_k"])[i], "Pareto k");
            }
            let loo = loo_of(points, 1, draws);
            close(loo.elpd().value, number("elpd_loo"), "elpd_loo");
            close(loo.elpd().standard_error, number("se"), "the error");
            close(loo.p_loo().value, number("p_loo"), "p_loo");
            close(loo.good_k(), number("good_k"), "the limit");
        }
    }

    #[test]
    fn draws_of_chains_count_by_their_efficiency() {
        // Every draw four times: a quarter of them counts, so the tail is longer.
        let own: Vec<f64> = (0..250).map(|i| -2.0 - (f64::from(i * 7919 % 250) / 40.0).powi(2) / 4.0).collect();
        let slow: Vec<f64> = own.iter().flat_map(|&x| [x; 4]).collect();
        let mut buffer = Buffer::default();
        let efficiency = buffer.efficiency(&slow, 2);
        assert!((0.1..0.5).contains(&efficiency), "{efficiency}");
        assert_eq!(points(&slow, 2, 500, false), [buffer.point(&slow, efficiency)]);
        assert_eq!(points(&slow, 2, 500, true), [buffer.point(&slow, 1.0)]);
        assert_ne!(points(&slow, 2, 500, false), points(&slow, 2, 500, true));
    }

    #[test]
    fn an_observation_that_no_parameter_moves_is_reliable() {
        let [point] = points(&[-1.25; 100], 1, 100, true)[..] else { panic!("one observation") };
        assert!((point.elpd + 1.25).abs() < 1e-14 && point.p.abs() < 1e-14 && point.pareto_k.is_nan());
        assert!(loo_of(vec![point], 1, 100).bad().is_empty());
    }

    #[test]
    fn what_cannot_happen_is_said() {
        let mut own = vec![-1.0; 50];
        own[7] = f64::NEG_INFINITY;
        let [point] = points(&own, 1, 50, true)[..] else { panic!("one observation") };
        assert_eq!((point.elpd, point.pareto_k), (f64::NEG_INFINITY, f64::INFINITY));
        own[7] = f64::NAN;
        let [point] = points(&own, 1, 50, true)[..] else { panic!("one observation") };
        let loo = loo_of(vec![point], 1, 50);
        assert!(point.elpd.is_nan() && loo.bad().len() == 1);
        assert_eq!(loo.json()["elpd_loo"], Value::Null);
    }

    #[test]
    fn bad_observations_are_named_worst_first() {
        let point = |pareto_k: f64| Point { elpd: -1.0, p: 0.1, pareto_k };
        let mut loo = loo_of(vec![point(0.75), point(0.2), point(1.5)], 4, 1000);
        loo.terms[0].labels = vec![Some(vec!["A".into(), "B".into(), "C".into()])];
        assert_eq!(loo.good_k(), 0.7);
        assert_eq!(loo.remark(), "p_loo 0.3, 2 of 3 Pareto k above 0.70");
        let advice = loo.advice().expect("two are bad");
        assert!(advice.contains("2 of 3 observations") && advice.contains("`y[C]` (1.50), `y[A]` (0.75)"), "{advice}");
        assert!((good_k(100) - 0.5).abs() < 1e-12 && loo_of(vec![point(0.6)], 1, 100).bad().len() == 1);
    }

    #[test]
    fn hashes_do_not_ask_for_the_precision() {
        let hash = |values: &[f64]| {
            let mut hash = ValuesHash::default();
            hash.add(values.iter().copied());
            hash.finish()
        };
        assert_eq!(hash(&[0.1, 0.0]), hash(&[f64::from(0.1f32), -0.0]));
        assert_ne!(hash(&[0.1, 0.2]), hash(&[0.2, 0.1]));
    }
}
