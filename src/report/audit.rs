//! A fit against draws of NUTS from the same density: how far its means, spreads and shapes are off, number by number.
//!
//! In: the fit, and the reference, a fit by nuts of the same program and data.   Out: an [`Audit`]; `audit/show.rs` prints it.
//! Nothing is judged by a reference that did not converge.
//!
//! Everything is in units of the reference: bias in its standard deviations, spread as a ratio to its own. Limits are
//! exceeded only where the Monte Carlo errors of both sides together cannot be the reason.

use super::fit::{Fit, Quantity, Role};
use super::statistics::{ElementSummary, quantile, summarize, summarize_independent};
use rayon::prelude::*;

mod show;

/// A mean that is no more than this off is close [reference sds].
pub const CLOSE_BIAS: f64 = 0.1;
/// A mean that is no more than this off is roughly right [reference sds].
pub const ROUGH_BIAS: f64 = 0.3;
/// A standard deviation between this part of the reference's and its inverse is close: intervals that should hold 90 % hold
/// 86 to 93 %.
pub const CLOSE_RATIO: f64 = 0.9;
/// As [`CLOSE_RATIO`], for roughly right: 75 to 98 %.
pub const ROUGH_RATIO: f64 = 0.7;
/// The distribution functions of what is close differ by no more than this.
pub const CLOSE_DISTANCE: f64 = 0.1;
/// Those of what is roughly right.
pub const ROUGH_DISTANCE: f64 = 0.2;
/// Standard errors that a limit may be exceeded by: 1 in 40 numbers that are just at the limit goes beyond.
pub const ERRORS: f64 = 2.0;
/// Kolmogorov's distance of two samples of one distribution is above this times `sqrt(1/n + 1/m)` once in 20 times
/// (Kolmogorov 1933; Smirnov 1948, Ann. Math. Statist. 19:279).
const KOLMOGOROV: f64 = 1.36;

/// Chains whose R-hat is above this have not converged (Vehtari et al. 2021, arXiv:1903.08008).
pub const MOST_RHAT: f64 = 1.01;
/// Effective draws that each chain must have, bulk and tail (the same source).
pub const LEAST_ESS: f64 = 100.0;
/// Below this the energy moves too little between draws (Betancourt 2016, arXiv:1604.00695).
pub const LEAST_E_BFMI: f64 = 0.3;

/// How near something is to the posterior.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Nothing is off by more than means, spreads and intervals can bear.
    Close,
    /// Fit for a first look and for predictions; intervals are too short or too long.
    Rough,
    /// Its numbers would mislead.
    Wrong,
}

impl Level {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Level::Close => "close",
            Level::Rough => "rough",
            Level::Wrong => "wrong",
        }
    }
}

/// What is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The mean is below that of the reference.
    Low,
    /// The mean is above that of the reference.
    High,
    /// The standard deviation is too small.
    Narrow,
    /// The standard deviation is too large.
    Wide,
    /// Mean and spread agree, and the distribution is another one.
    Shape,
}

impl Fault {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Fault::Low => "too low",
            Fault::High => "too high",
            Fault::Narrow => "too narrow",
            Fault::Wide => "too wide",
            Fault::Shape => "another shape",
        }
    }
}

/// One number of the posterior; NaN is "does not apply".
#[derive(Clone, PartialEq, Debug)]
pub struct Element {
    /// The mean of the reference.
    pub mean: f64,
    /// The standard deviation of the reference.
    pub sd: f64,
    /// The fit's mean less that of the reference [reference sds].
    pub bias: f64,
    /// The Monte Carlo standard error of the bias, of both sides together.
    pub bias_error: f64,
    /// The fit's standard deviation over that of the reference; 0 for a point.
    pub sd_ratio: f64,
    /// The Monte Carlo standard error of the ratio.
    pub sd_ratio_error: f64,
    /// The share of the reference's draws inside the fit's central 50 % interval, ends included.
    pub coverage_50: f64,
    /// The same of the central 90 % interval.
    pub coverage_90: f64,
    /// The largest difference between the probabilities that both give to one event `x <= t` (Kolmogorov); of labels, to any
    /// set of them (total variation).
    pub distance: f64,
    /// What the distance of equal distributions stays below 19 times in 20.
    pub distance_noise: f64,
    /// How near it is; `None` where nothing can be said: a constant, or draws that are not finite.
    pub level: Option<Level>,
    /// What is off, worst first; empty for what is close.
    pub faults: Vec<Fault>,
}

impl Element {
    /// How far off it is: 1 is at the limit of what is roughly right. Points count by their means alone.
    pub fn severity(&self) -> f64 {
        let known = |x: f64| if x.is_nan() { 0.0 } else { x };
        let spread = if self.sd_ratio > 0.0 { self.sd_ratio.ln().abs() / -ROUGH_RATIO.ln() } else { 0.0 };
        let distance = if self.sd_ratio == 0.0 { 0.0 } else { self.distance / ROUGH_DISTANCE };
        known(self.bias.abs() / ROUGH_BIAS).max(known(spread)).max(known(distance))
    }
    fn unknown(mean: f64, sd: f64) -> Self {
        let nan = f64::NAN;
        Self {
            mean,
            sd,
            bias: nan,
            bias_error: nan,
            sd_ratio: nan,
            sd_ratio_error: nan,
            coverage_50: nan,
            coverage_90: nan,
            distance: nan,
            distance_noise: nan,
            level: None,
            faults: Vec::new(),
        }
    }
    /// Finds level and faults from the numbers.
    fn judged(mut self) -> Self {
        let beyond = |x: f64, limit: f64, error: f64| x > limit + ERRORS * error;
        let point = self.sd_ratio == 0.0;
        let bias = |limit| beyond(self.bias.abs(), limit, self.bias_error);
        let spread =
            |limit: f64| !point && beyond(self.sd_ratio.ln().abs(), -limit.ln(), self.sd_ratio_error / self.sd_ratio);
        let shape = |limit| !point && self.distance > limit + self.distance_noise;
        let level = if bias(ROUGH_BIAS) || spread(ROUGH_RATIO) || shape(ROUGH_DISTANCE) {
            Level::Wrong
        } else if bias(CLOSE_BIAS) || spread(CLOSE_RATIO) || shape(CLOSE_DISTANCE) {
            Level::Rough
        } else {
            Level::Close
        };
        let mut faults: Vec<(f64, Fault)> = Vec::new();
        if bias(CLOSE_BIAS) {
            let fault = if self.bias < 0.0 { Fault::Low } else { Fault::High };
            faults.push((self.bias.abs() / ROUGH_BIAS, fault));
        }
        if spread(CLOSE_RATIO) {
            let fault = if self.sd_ratio < 1.0 { Fault::Narrow } else { Fault::Wide };
            faults.push((self.sd_ratio.ln().abs() / -ROUGH_RATIO.ln(), fault));
        }
        if faults.is_empty() && shape(CLOSE_DISTANCE) {
            faults.push((self.distance / ROUGH_DISTANCE, Fault::Shape));
        }
        faults.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.faults = faults.into_iter().map(|(_, fault)| fault).collect();
        self.level = Some(level);
        self
    }
}

/// One quantity of the posterior.
#[derive(Clone, PartialEq, Debug)]
pub struct Site {
    /// Where it comes from, without its draws.
    pub quantity: Quantity,
    /// Whether its values are labels, whose means say nothing: only their distance is judged.
    pub labels: bool,
    /// One for each element, row-major.
    pub elements: Vec<Element>,
}

/// What the sampler says of the reference.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reference {
    /// Independent chains.
    pub chains: usize,
    /// Draws of each.
    pub draws: usize,
    /// How long it took [seconds].
    pub secs: f64,
    /// The largest R-hat of a number that is judged.
    pub max_rhat: f64,
    /// The smallest effective number of draws, bulk or tail.
    pub min_ess: f64,
    /// Divergent transitions.
    pub divergences: u64,
    /// The smallest E-BFMI of a chain.
    pub min_e_bfmi: f64,
}

impl Reference {
    /// Why its draws cannot be trusted, each with what to do; empty for a reference that can.
    fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.divergences > 0 {
            doubts.push(format!(
                "{} of {} draws diverged, so a part of the posterior may have been missed: smaller steps, \
                 `--set target_accept=0.95`",
                self.divergences,
                self.chains * self.draws
            ));
        }
        if !self.max_rhat.is_nan() && self.max_rhat > MOST_RHAT {
            doubts.push(format!(
                "the chains do not agree (R-hat {:.3}, and {MOST_RHAT} is the limit): draw longer, `--warmup {}` and \
                 `--draws {}`; where the model has several peaks or interchangeable parts they never will",
                self.max_rhat,
                2000,
                2 * self.draws
            ));
        }
        let least = LEAST_ESS * self.chains as f64;
        if self.min_ess < least {
            doubts.push(format!(
                "only {:.0} effective draws of some number, and {least:.0} are needed: `--draws {}`",
                self.min_ess,
                (self.draws as f64 * (1.5 * least / self.min_ess.max(1.0)).clamp(2.0, 100.0)).round()
            ));
        }
        if self.min_e_bfmi < LEAST_E_BFMI {
            doubts.push(format!(
                "the energy moves little between draws (E-BFMI {:.2}), so tails may be missing: give scales that can come \
                 close to 0 tighter priors",
                self.min_e_bfmi
            ));
        }
        doubts
    }
}

/// A fit, judged.
#[derive(Clone, PartialEq, Debug)]
pub struct Audit {
    /// Its algorithm.
    pub algorithm: String,
    /// Its guide; empty where it has none.
    pub guide: String,
    /// The program's path.
    pub model: String,
    /// How long it took [seconds].
    pub secs: f64,
    /// What is judged, in the order of the program.
    pub sites: Vec<Site>,
    /// The sampler.
    pub reference: Reference,
    /// Why the reference cannot be trusted; empty where it can.
    pub doubts: Vec<String>,
    /// What the user should know, one sentence each.
    pub notes: Vec<String>,
}

impl Audit {
    /// The level of the worst number; `None` is "not judged".
    pub fn verdict(&self) -> Option<Level> {
        let judged = self.elements().filter_map(|(_, _, e)| e.level).max();
        judged.filter(|_| self.doubts.is_empty())
    }
    /// The word of the verdict.
    pub fn verdict_name(&self) -> &'static str {
        self.verdict().map_or("not judged", Level::name)
    }
    /// All numbers with their sites and places.
    pub fn elements(&self) -> impl Iterator<Item = (&Site, usize, &Element)> {
        self.sites.iter().flat_map(|s| s.elements.iter().enumerate().map(move |(i, e)| (s, i, e)))
    }
    /// How many numbers have this level.
    pub fn count(&self, level: Level) -> usize {
        self.elements().filter(|(_, _, e)| e.level == Some(level)).count()
    }
    /// Whether the fit is a point: it has no spread anywhere.
    pub fn is_point(&self) -> bool {
        let mut judged = self.elements().filter(|(_, _, e)| e.level.is_some()).peekable();
        judged.peek().is_some() && judged.all(|(_, _, e)| e.sd_ratio == 0.0)
    }
}

/// Judges `fit` by `reference`, a finished fit of the same program and data by nuts.
pub fn judge(fit: &Fit, reference: &Fit) -> Audit {
    let mut notes = Vec::new();
    let mut sites = Vec::new();
    let (mut rhat, mut ess) = (f64::NAN, f64::INFINITY);
    let mut missing: Vec<&str> = Vec::new();
    for q in &fit.quantities {
        let Some(other) = reference.quantities.iter().find(|r| r.name == q.name && r.shape == q.shape) else {
            missing.push(&q.name);
            continue;
        };
        let labels = q.value_labels.is_some();
        let judged: Vec<(Element, ElementSummary)> = (0..q.count())
            .into_par_iter()
            .map_init(Buffers::default, |buffers, element| one(fit, q, reference, other, element, buffers))
            .collect();
        for (_, summary) in &judged {
            rhat = rhat.max(summary.rhat);
            // Labels have no order: their tails are nothing.
            let own = if labels { summary.ess_bulk } else { summary.ess_bulk.min(summary.ess_tail) };
            ess = ess.min(own);
        }
        let quantity = Quantity { data: Default::default(), moments: None, ..q.clone() };
        sites.push(Site { quantity, labels, elements: judged.into_iter().map(|(e, _)| e).collect() });
    }
    if !missing.is_empty() {
        notes.push(format!("`{}` stands in the fit alone and is not judged", missing.join("`, `")));
    }
    if fit.quantities.iter().any(|q| !q.has_draws()) {
        notes.push(format!(
            "of arrays with more than {} elements the fit keeps means and standard deviations, and only these are judged",
            super::fit::LARGE
        ));
    }
    let chains = reference.sampler.as_ref().map_or(1, |s| s.chains.len());
    let d = &reference.diagnostics;
    let summary = Reference {
        chains,
        draws: reference.quantities.first().map_or(0, |q| q.draws),
        secs: reference.timing.fit_secs,
        max_rhat: rhat,
        min_ess: ess,
        divergences: d.divergences.unwrap_or(0),
        min_e_bfmi: d.min_e_bfmi.unwrap_or(f64::NAN),
    };
    let mut doubts = summary.doubts();
    if reference.interrupted() {
        doubts.insert(0, "the user stopped it before all draws were done".to_string());
    }
    let audit = Audit {
        algorithm: fit.algorithm.clone(),
        guide: fit.guide.clone(),
        model: fit.model.path.clone(),
        secs: fit.timing.fit_secs,
        sites,
        reference: summary,
        doubts,
        notes,
    };
    let same = |q: &Quantity| reference.quantities.iter().any(|r| r.name == q.name && r.data == q.data);
    if fit.algorithm == reference.algorithm && fit.quantities.iter().any(|q| q.role == Role::Latent && same(q)) {
        let doubt = "its draws are those of the fit itself, with the same seed: give another `--seed`".to_string();
        return Audit { doubts: vec![doubt], ..audit };
    }
    let constant = audit.elements().filter(|(_, _, e)| e.level.is_none()).count();
    if constant == audit.elements().count() {
        return Audit { doubts: vec!["there is no number that could be judged".to_string()], ..audit };
    }
    audit
}

#[derive(Default)]
struct Buffers {
    guide: Vec<f64>,
    reference: Vec<f64>,
}

/// Judges one element; also what the sampler says of it.
fn one(
    fit: &Fit,
    q: &Quantity,
    reference: &Fit,
    other: &Quantity,
    element: usize,
    buffers: &mut Buffers,
) -> (Element, ElementSummary) {
    let Buffers { guide, reference: truth } = buffers;
    other.element_draws(element, truth);
    let known = summarize(truth, reference.sampler.as_ref().map_or(1, |s| s.chains.len()));
    let fails = |x: f64| !x.is_finite();
    if fails(known.mean) || fails(known.sd) || known.sd == 0.0 {
        return (Element::unknown(known.mean, known.sd), known);
    }
    let ess = known.ess_bulk.min(known.ess_tail).min(truth.len() as f64).max(1.0);
    let own_error = error_of_sd(truth, known.mean, known.sd, ess);
    let mut e = Element::unknown(known.mean, known.sd);
    if let Some(m) = &q.moments {
        let (mean, sd, n) = (m.mean[element], m.sd[element], m.n as f64);
        e.bias = (mean - known.mean) / known.sd;
        e.bias_error = known.mcse_mean.hypot(sd / n.sqrt()) / known.sd;
        e.sd_ratio = sd / known.sd;
        // As for a normal: only moments are there.
        e.sd_ratio_error = e.sd_ratio * own_error.hypot(0.5f64.sqrt() / n.sqrt());
        return (if e.bias.is_finite() { e.judged() } else { e }, known);
    }
    q.element_draws(element, guide);
    let said = if fit.independent_draws { summarize_independent(guide) } else { summarize(guide, q.chains.max(1)) };
    let n = if fit.independent_draws { guide.len() as f64 } else { said.ess_bulk.min(said.ess_tail) };
    let n = if n.is_nan() { guide.len() as f64 } else { n.clamp(1.0, guide.len() as f64) };
    if fails(said.mean) || guide.iter().any(|x| !x.is_finite()) {
        return (e, known);
    }
    e.distance_noise = KOLMOGOROV * (1.0 / n + 1.0 / ess).sqrt();
    if q.value_labels.is_some() {
        e.distance = total_variation(guide, truth);
        return (Element { level: None, ..e }.judged(), known);
    }
    let sd = if said.sd.is_nan() { 0.0 } else { said.sd };
    let mcse = if said.mcse_mean.is_nan() { 0.0 } else { said.mcse_mean };
    e.bias = (said.mean - known.mean) / known.sd;
    e.bias_error = known.mcse_mean.hypot(mcse) / known.sd;
    e.sd_ratio = sd / known.sd;
    guide.sort_unstable_by(f64::total_cmp);
    truth.sort_unstable_by(f64::total_cmp);
    if sd > 0.0 {
        e.sd_ratio_error = e.sd_ratio * own_error.hypot(error_of_sd(guide, said.mean, sd, n));
        let inside = |low: f64, high: f64| {
            let (low, high) = (quantile(guide, low), quantile(guide, high));
            let count = truth.partition_point(|x| *x <= high) - truth.partition_point(|x| *x < low);
            count as f64 / truth.len() as f64
        };
        (e.coverage_50, e.coverage_90) = (inside(0.25, 0.75), inside(0.05, 0.95));
        e.distance = kolmogorov(guide, truth);
    } else {
        e.distance_noise = f64::NAN;
    }
    (e.judged(), known)
}

/// The standard error of a standard deviation, over it: `sqrt((k - 1) / n) / 2` with the kurtosis k and n effective draws (the
/// delta method).
fn error_of_sd(draws: &[f64], mean: f64, sd: f64, n: f64) -> f64 {
    let fourth = draws.iter().map(|x| ((x - mean) / sd).powi(4)).sum::<f64>() / draws.len() as f64;
    0.5 * ((fourth - 1.0).max(0.0) / n).sqrt()
}

/// The largest difference between the distribution functions of two sorted samples.
fn kolmogorov(a: &[f64], b: &[f64]) -> f64 {
    let (mut i, mut j, mut largest) = (0, 0, 0.0f64);
    while i < a.len() && j < b.len() {
        let x = a[i].min(b[j]);
        while i < a.len() && a[i] == x {
            i += 1;
        }
        while j < b.len() && b[j] == x {
            j += 1;
        }
        largest = largest.max((i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs());
    }
    largest
}

/// Half the sum of the differences between the frequencies of values.
fn total_variation(a: &[f64], b: &[f64]) -> f64 {
    let mut values: Vec<f64> = a.iter().chain(b).copied().collect();
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    let share = |draws: &[f64], v: f64| draws.iter().filter(|x| **x == v).count() as f64 / draws.len() as f64;
    0.5 * values.iter().map(|&v| (share(a, v) - share(b, v)).abs()).sum::<f64>()
}

/// Whether a site has a place in the verdict's words: latents first, then what is made of them.
fn rank(role: Role) -> u8 {
    match role {
        Role::Latent => 0,
        Role::Kept => 1,
        Role::Generated => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fit::{Elem, ModelSource, Precision, SamplerReport};
    use super::*;
    use crate::kernels::special::ndtri;
    use crate::report::ChainReport;

    /// Normal numbers whose sample is as even as can be, in an order without trend.
    fn normal(n: usize, mean: f64, sd: f64) -> Vec<f64> {
        (0..n).map(|i| mean + sd * ndtri(((i * 7919 + 3) % n) as f64 / n as f64 + 0.5 / n as f64)).collect()
    }

    fn fits(guide: Vec<f64>, truth: Vec<f64>) -> (Fit, Fit) {
        let mut fit = Fit::new("svi", ModelSource::default(), Precision::F64, 1);
        fit.guide = "mean_field".into();
        let n = guide.len();
        fit.quantities = vec![Quantity::new("mu", Role::Latent, Elem::Real, &[], 1, n, guide)];
        let mut nuts = Fit::new("nuts", ModelSource::default(), Precision::F64, 1);
        nuts.independent_draws = false;
        nuts.diagnostics.divergences = Some(0);
        nuts.sampler = Some(SamplerReport { chains: vec![ChainReport::default(); 4], draws: Vec::new() });
        let n = truth.len() / 4;
        nuts.quantities = vec![Quantity::new("mu", Role::Latent, Elem::Real, &[], 4, n, truth)];
        (fit, nuts)
    }

    #[test]
    fn what_agrees_is_close() {
        let (fit, nuts) = fits(normal(1000, 2.0, 3.0), normal(4000, 2.0, 3.0));
        let audit = judge(&fit, &nuts);
        assert_eq!(audit.verdict(), Some(Level::Close), "{audit:?}");
        let e = &audit.sites[0].elements[0];
        assert!(e.bias.abs() < 1e-3 && (e.sd_ratio - 1.0).abs() < 0.01 && e.distance < 0.01, "{e:?}");
        assert!((e.coverage_50 - 0.5).abs() < 0.01 && (e.coverage_90 - 0.9).abs() < 0.01, "{e:?}");
    }

    #[test]
    fn bias_spread_and_shape_are_told_apart() {
        let truth = || normal(4000, 0.0, 2.0);
        let of = |guide: Vec<f64>| {
            let (fit, nuts) = fits(guide, truth());
            let audit = judge(&fit, &nuts);
            (audit.verdict(), audit.sites[0].elements[0].clone())
        };
        let (level, e) = of(normal(1000, -0.5, 2.0));
        assert_eq!((level, &e.faults[..]), (Some(Level::Rough), &[Fault::Low][..]), "{e:?}");
        assert!((e.bias + 0.25).abs() < 0.01 && (e.bias_error - (1.0f64 / 1000.0 + 1.0 / 4000.0).sqrt()).abs() < 0.02);
        let (level, e) = of(normal(1000, 0.0, 0.8));
        assert_eq!((level, &e.faults[..]), (Some(Level::Wrong), &[Fault::Narrow][..]), "{e:?}");
        assert!((e.sd_ratio - 0.4).abs() < 0.01 && (e.coverage_90 - 0.489).abs() < 0.02, "{e:?}");
        let (level, e) = of(normal(1000, 3.0, 6.0));
        assert_eq!((level, &e.faults[..]), (Some(Level::Wrong), &[Fault::High, Fault::Wide][..]), "{e:?}");
        let (level, e) = of((0..1000).map(|i| if i % 2 == 0 { -2.0 } else { 2.0 }).collect());
        assert_eq!((level, &e.faults[..]), (Some(Level::Wrong), &[Fault::Shape][..]), "{e:?}");
    }

    #[test]
    fn noise_is_no_fault() {
        // A mean of ten draws is 0.15 sds off: the standard error is twice that.
        let (fit, nuts) = fits(normal(10, 0.15, 1.0), normal(4000, 0.0, 1.0));
        assert_eq!(judge(&fit, &nuts).verdict(), Some(Level::Close));
        let (fit, nuts) = fits(normal(4000, 0.2, 1.0), normal(4000, 0.0, 1.0));
        assert_eq!(judge(&fit, &nuts).verdict(), Some(Level::Rough));
    }

    #[test]
    fn a_point_is_judged_by_its_place() {
        let (fit, nuts) = fits(vec![0.05], normal(4000, 0.0, 1.0));
        let audit = judge(&fit, &nuts);
        assert!(audit.is_point() && audit.verdict() == Some(Level::Close), "{audit:?}");
        let (fit, nuts) = fits(vec![1.0], normal(4000, 0.0, 1.0));
        assert_eq!(judge(&fit, &nuts).verdict(), Some(Level::Wrong));
    }

    #[test]
    fn a_sampler_that_did_not_converge_judges_nothing() {
        let apart: Vec<f64> = (0..4).flat_map(|c| normal(1000, 3.0 * f64::from(c), 1.0)).collect();
        let (fit, nuts) = fits(normal(1000, 0.0, 1.0), apart);
        let audit = judge(&fit, &nuts);
        assert_eq!((audit.verdict(), audit.verdict_name()), (None, "not judged"));
        assert!(audit.doubts.iter().any(|d| d.contains("R-hat")), "{:?}", audit.doubts);
        let (fit, mut nuts) = fits(normal(1000, 0.0, 1.0), normal(4000, 0.0, 1.0));
        nuts.diagnostics.divergences = Some(1);
        assert!(judge(&fit, &nuts).doubts[0].contains("target_accept"));
        let (fit, nuts) = fits(normal(1000, 0.0, 1.0), normal(200, 0.0, 1.0));
        assert!(judge(&fit, &nuts).doubts[0].contains("effective draws"));
    }

    #[test]
    fn draws_do_not_judge_themselves() {
        let (_, nuts) = fits(normal(10, 0.0, 1.0), normal(4000, 0.0, 1.0));
        let audit = judge(&nuts, &nuts);
        assert!(audit.verdict().is_none() && audit.doubts[0].contains("--seed"), "{:?}", audit.doubts);
    }

    #[test]
    fn constants_and_labels_have_no_bias() {
        let (fit, nuts) = fits(vec![1.5; 100], vec![1.5; 400]);
        let audit = judge(&fit, &nuts);
        assert_eq!((audit.verdict(), audit.sites[0].elements[0].level), (None, None));
        let values = |n: usize, of: usize| (0..n).map(|i| f64::from(u8::from(i % 10 < of))).collect::<Vec<f64>>();
        let (mut fit, nuts) = fits(values(1000, 5), values(4000, 8));
        fit.quantities[0].value_labels = Some(vec!["A".into(), "B".into()]);
        let audit = judge(&fit, &nuts);
        let e = &audit.sites[0].elements[0];
        assert!(e.bias.is_nan() && (e.distance - 0.3).abs() < 1e-9 && e.faults == [Fault::Shape], "{e:?}");
    }

    #[test]
    fn distances_are_those_of_the_definition() {
        assert_eq!(kolmogorov(&[1.0, 2.0], &[3.0, 4.0]), 1.0);
        assert_eq!(kolmogorov(&[1.0, 2.0, 2.0, 5.0], &[2.0, 2.0]), 0.25);
        assert_eq!(total_variation(&[0.0, 1.0, 2.0, 2.0], &[2.0, 0.0]), 0.25);
    }
}
