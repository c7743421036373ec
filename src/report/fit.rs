//! The finished fit as plain data: produced by the inference engines, consumed by all that shows or stores it.
//!
//! Everything here serialises into `fit.json`, except the large arrays: draws, parameters and the trace have files of
//! their own (`store.rs`). A number that is not finite is written as `null` and read back as NaN.

use super::loo::Loo;
use serde::{Deserialize, Serialize};

/// The number type a model was run in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
}

impl Precision {
    /// `f32` or `f64`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F64 => "f64",
        }
    }
}

/// The program that was fitted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ModelSource {
    /// The file, as the user named it.
    pub path: String,
    /// The name of the model block, when it has one.
    pub name: Option<String>,
    /// The whole text of the file.
    pub text: String,
}

impl ModelSource {
    /// SHA-256 of the text, in hexadecimal.
    pub fn hash(&self) -> String {
        use sha2::Digest;
        sha2::Sha256::digest(self.text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Enough about one datum to notice that it has changed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DataFingerprint {
    /// The name in the program.
    pub name: String,
    /// The file or expression that it came from.
    pub source: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// A hash of its values, in hexadecimal.
    pub hash: String,
}

/// The evidence lower bound over the whole data set, in nats, with all constants.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Elbo {
    /// The estimate at the end of the fit.
    #[serde(rename = "final", with = "nullable")]
    pub final_: f64,
    /// The Monte Carlo standard error of `final_`.
    #[serde(with = "nullable")]
    pub standard_error: f64,
    /// The number of optimisation steps taken.
    pub steps: u64,
}

/// A bound of the log evidence by several draws at once, over the whole data set, in nats, with all constants.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Bound {
    /// Which one, as programs write it: `iwae(16)`.
    pub objective: String,
    /// Draws under the logarithm.
    pub draws: usize,
    /// The estimate at the end of the fit.
    #[serde(rename = "final", with = "nullable")]
    pub final_: f64,
    /// The Monte Carlo standard error of `final_`.
    #[serde(with = "nullable")]
    pub standard_error: f64,
}

/// Numbers that tell whether the fit may be trusted; `None` is "does not apply".
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Diagnostics {
    /// Pareto k-hat of the importance ratios of the guide's draws (Yao et al. 2018, arXiv:1802.02538).
    pub pareto_k: Option<f64>,
    /// Divergent transitions after warmup, over all chains.
    pub divergences: Option<u64>,
    /// The largest rank-normalised split R-hat over all elements.
    pub max_rhat: Option<f64>,
    /// The smallest bulk effective sample size over all elements.
    pub min_ess_bulk: Option<f64>,
    /// The smallest tail effective sample size over all elements.
    pub min_ess_tail: Option<f64>,
    /// Transitions that stopped at the largest tree depth, over all chains.
    pub max_depth_hits: Option<u64>,
    /// The smallest energy fraction of missing information of a chain (Betancourt 2016, arXiv:1604.00695).
    #[serde(default)]
    pub min_e_bfmi: Option<f64>,
}

/// What a sampler says about one chain.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ChainReport {
    /// The step size after warmup.
    #[serde(with = "nullable")]
    pub step_size: f64,
    /// The average acceptance rate along trajectories.
    #[serde(with = "nullable")]
    pub acceptance: f64,
    /// The average depth of the trees.
    #[serde(with = "nullable")]
    pub tree_depth: f64,
    /// Divergent transitions after warmup.
    pub divergences: u64,
    /// Transitions that stopped at the largest tree depth.
    pub max_depth_hits: u64,
    /// The energy fraction of missing information.
    #[serde(with = "nullable")]
    pub e_bfmi: f64,
    /// Gradients evaluated, warmup included.
    pub gradients: u64,
}

/// What a sampler says about itself.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct SamplerReport {
    /// One for each chain.
    pub chains: Vec<ChainReport>,
    /// Statistics of each draw, `[chain, draw]`: `tree_depth`, `step_size`, `energy`, `log_density`, `acceptance`,
    /// `divergent`.
    #[serde(skip)]
    pub draws: Vec<NamedTensor>,
}

/// What a search for the highest point of a density says about itself.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ModeReport {
    /// The log density at the point, in nats, with all constants.
    #[serde(with = "nullable")]
    pub log_density: f64,
    /// The estimate of the log evidence by the normal there, in nats; none for a point alone or improper priors.
    pub log_evidence: Option<f64>,
    /// The Euclidean norm of the gradient in unconstrained space.
    #[serde(with = "nullable")]
    pub gradient_norm: f64,
    /// Steps of all searches.
    pub steps: u64,
    /// Evaluations of the density with its gradient.
    pub evaluations: u64,
    /// Whether the point is a maximum.
    pub converged: bool,
}

/// What a reported quantity is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A latent site of the model.
    Latent,
    /// A deterministic value that the model keeps.
    Kept,
    /// A value of the `generate` block.
    Generated,
}

/// The element type of a quantity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Elem {
    /// Real numbers.
    Real,
    /// Whole numbers, exact in the draws' number type.
    Int,
    /// 0 and 1.
    Bool,
}

/// The draws of one quantity, laid out `[chain, draw, element]`, elements row-major.
#[derive(Clone, PartialEq, Debug)]
pub enum Draws {
    /// In single precision.
    F32(Vec<f32>),
    /// In double precision.
    F64(Vec<f64>),
}

impl Default for Draws {
    fn default() -> Self {
        Draws::F64(Vec::new())
    }
}

impl Draws {
    /// The number of values.
    pub fn len(&self) -> usize {
        match self {
            Draws::F32(v) => v.len(),
            Draws::F64(v) => v.len(),
        }
    }
    /// True when there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The value at position `i` of the flat layout.
    ///
    /// # Panics
    /// When `i` is past the end.
    pub fn get(&self, i: usize) -> f64 {
        match self {
            Draws::F32(v) => f64::from(v[i]),
            Draws::F64(v) => v[i],
        }
    }
}

impl From<Vec<f32>> for Draws {
    fn from(v: Vec<f32>) -> Self {
        Draws::F32(v)
    }
}
impl From<Vec<f64>> for Draws {
    fn from(v: Vec<f64>) -> Self {
        Draws::F64(v)
    }
}

/// An array with more elements (network weights) is summarized as a whole, and its draws are not kept unless asked for.
pub const LARGE: usize = 10_000;

/// Means and standard deviations of the elements of an array whose draws are not kept.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Moments {
    /// The number of draws.
    pub n: usize,
    /// The mean of each element.
    pub mean: Vec<f64>,
    /// Of each element the sum of squared differences from the mean, or, once finished, the standard deviation.
    pub sd: Vec<f64>,
}

impl Moments {
    /// No draws yet of `count` elements.
    pub fn new(count: usize) -> Self {
        Self { n: 0, mean: vec![0.0; count], sd: vec![0.0; count] }
    }
    /// Adds a draw (Welford 1962, Technometrics 4:419).
    pub fn add<T: Copy + Into<f64>>(&mut self, draw: &[T]) {
        self.n += 1;
        let share = 1.0 / self.n as f64;
        for ((mean, square), &x) in self.mean.iter_mut().zip(&mut self.sd).zip(draw) {
            let x: f64 = x.into();
            let before = x - *mean;
            *mean += share * before;
            *square += before * (x - *mean);
        }
    }
    /// Turns sums of squares into standard deviations; NaN for fewer than two draws.
    pub fn finish(mut self) -> Self {
        let n = self.n as f64;
        self.sd.iter_mut().for_each(|s| *s = if n > 1.0 { (*s / (n - 1.0)).sqrt() } else { f64::NAN });
        self
    }
}

/// A latent site, a kept value or a generated quantity, with all its draws.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Quantity {
    /// Its name in the program, dotted for sites of submodels.
    pub name: String,
    /// Its doc comment.
    pub doc: Option<String>,
    /// What it is.
    pub role: Role,
    /// Its element type.
    pub elem: Elem,
    /// Its extents, empty for a scalar.
    pub shape: Vec<usize>,
    /// The size name of each dimension; `None` for a literal size.
    pub dims: Vec<Option<String>>,
    /// The labels of each dimension, as many as its extent; `None` where positions are numbers.
    pub labels: Vec<Option<Vec<String>>>,
    /// What the values 0, 1, … of an int stand for (a labelled `argmax`, a nominal site).
    pub value_labels: Option<Vec<String>>,
    /// The number of chains; 1 for independent draws.
    pub chains: usize,
    /// The number of draws of each chain.
    pub draws: usize,
    /// The prior's standard deviation, where it is one known number: how far the data have moved a weight is read
    /// against it.
    pub prior_sd: Option<f64>,
    /// `[chain, draw, element]`; empty where there are moments instead.
    #[serde(skip)]
    pub data: Draws,
    /// What is left of the draws of a large array.
    #[serde(skip)]
    pub moments: Option<Moments>,
}

impl Quantity {
    /// A real latent without labels, names or doc comment; the rest is set by field.
    ///
    /// # Panics
    /// When `data` has not `chains * draws * count(shape)` values.
    pub fn new(
        name: impl Into<String>,
        role: Role,
        elem: Elem,
        shape: &[usize],
        chains: usize,
        draws: usize,
        data: impl Into<Draws>,
    ) -> Self {
        let data = data.into();
        assert_eq!(data.len(), chains * draws * shape.iter().product::<usize>(), "draws do not have the stated shape");
        Self {
            name: name.into(),
            doc: None,
            role,
            elem,
            shape: shape.to_vec(),
            dims: vec![None; shape.len()],
            labels: vec![None; shape.len()],
            value_labels: None,
            chains,
            draws,
            prior_sd: None,
            data,
            moments: None,
        }
    }
    /// Whether its draws are there.
    pub fn has_draws(&self) -> bool {
        self.moments.is_none()
    }
    /// The number of elements, 1 for a scalar.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
    /// The value of `element` (row-major position) in one draw.
    pub fn value(&self, chain: usize, draw: usize, element: usize) -> f64 {
        self.data.get((chain * self.draws + draw) * self.count() + element)
    }
    /// All draws of one element into `out`, chain after chain; none where draws are not kept.
    pub fn element_draws(&self, element: usize, out: &mut Vec<f64>) {
        let count = self.count();
        out.clear();
        if !self.has_draws() {
            return;
        }
        out.extend((0..self.chains * self.draws).map(|i| self.data.get(i * count + element)));
    }
    /// The position of `element` in each dimension.
    pub fn position(&self, element: usize) -> Vec<usize> {
        position(&self.shape, element)
    }
    /// The name of one element: `mu`, `theta[A]`, `w[0, 2]`.
    pub fn element_name(&self, element: usize) -> String {
        element_name(&self.name, &self.shape, &self.labels, element)
    }
}

/// The place of `element` (row-major position) in each dimension of an array.
fn position(shape: &[usize], element: usize) -> Vec<usize> {
    let mut rest = element;
    let mut position = vec![0; shape.len()];
    for (p, &extent) in position.iter_mut().zip(shape).rev() {
        *p = rest % extent;
        rest /= extent;
    }
    position
}

/// The name of one element of an array by its labels, or its place where there are none.
pub fn element_name(name: &str, shape: &[usize], labels: &[Option<Vec<String>>], element: usize) -> String {
    if shape.is_empty() {
        return name.to_string();
    }
    let parts: Vec<String> = position(shape, element)
        .into_iter()
        .enumerate()
        .map(|(dim, i)| {
            let label = labels.get(dim).and_then(Option::as_ref).and_then(|names| names.get(i));
            label.cloned().unwrap_or_else(|| i.to_string())
        })
        .collect();
    format!("{name}[{}]", parts.join(", "))
}

/// The scores of one observed quantity on held-out data, in the order they are shown.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metrics {
    /// Name and value, for example `("accuracy", 0.97)`.
    #[serde(with = "ordered_scores")]
    pub values: Vec<(String, f64)>,
}

impl Metrics {
    /// The score called `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }
}

/// A line of `expect` on the finished fit.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Expectation {
    /// The line.
    pub text: String,
    /// Whether it holds; for arrays, in every element.
    pub holds: bool,
    /// The number that it is about: of an array that of the worst element. `None` where it is not finite, or where the
    /// fit has none.
    pub value: Option<f64>,
    /// The name of the worst element of an array, the one that is nearest to breaking the line or farthest beyond.
    pub element: Option<String>,
    /// Why it does not hold, in words.
    pub message: Option<String>,
}

/// How long things took.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Timing {
    /// From the program's text to a plan.
    pub compile_secs: f64,
    /// The fit itself.
    pub fit_secs: f64,
    /// Optimisation steps (or draws, warmup included) per second.
    pub steps_per_sec: Option<f64>,
    /// Rows of data seen per second.
    pub items_per_sec: Option<f64>,
}

/// One line of the trace.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct TraceRow {
    /// The step, from 1.
    pub step: u64,
    /// The estimate of the ELBO at this step, in nats.
    pub elbo: f64,
    /// The Euclidean norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// The learning rate used.
    pub learning_rate: f64,
    /// Seconds since the fit began.
    pub secs: f64,
}

/// A named array of unconstrained parameters.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct NamedTensor {
    /// Its name, for example `h1.weight.loc`.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub data: Vec<f64>,
}

/// Why a fit ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// All steps, epochs or draws were done.
    #[default]
    Completed,
    /// The stopping rule of the infer block held.
    Plateau,
    /// The user stopped it at the end of a step.
    Interrupted,
}

/// A finished (or interrupted) fit.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Fit {
    /// `svi`, `nuts`, …
    pub algorithm: String,
    /// The program.
    pub model: ModelSource,
    /// The variational family; empty for samplers.
    pub guide: String,
    /// The number type chosen.
    pub precision: Precision,
    /// The seed.
    pub seed: u64,
    /// True when the draws are independent (a guide's), false for those of Markov chains.
    pub independent_draws: bool,
    /// The bound, for variational fits.
    pub elbo: Option<Elbo>,
    /// The bound that was maximized, where it is not the ELBO.
    #[serde(default)]
    pub bound: Option<Bound>,
    /// How far to trust it.
    pub diagnostics: Diagnostics,
    /// What the sampler says about itself, for Markov chains.
    #[serde(default)]
    pub sampler: Option<SamplerReport>,
    /// What the search says about itself, for fits at a mode.
    #[serde(default)]
    pub mode: Option<ModeReport>,
    /// What is reported, in the order of the program.
    pub quantities: Vec<Quantity>,
    /// How well it predicts each observation without having seen it; `None` where nothing is observed, or where that
    /// cannot be had (a note says why).
    #[serde(default)]
    pub loo: Option<Loo>,
    /// Scores on held-out data by observed name.
    #[serde(with = "ordered")]
    pub evaluation: Vec<(String, Metrics)>,
    /// The lines of `expect`, in their order.
    #[serde(default)]
    pub expect: Vec<Expectation>,
    /// How long it took.
    pub timing: Timing,
    /// Every setting with its final value, in the order of the reference.
    #[serde(with = "ordered")]
    pub settings: Vec<(String, serde_json::Value)>,
    /// The data it was fitted to.
    pub data: Vec<DataFingerprint>,
    /// Why it ended.
    pub stop_reason: StopReason,
    /// What the user should know, one sentence each.
    pub notes: Vec<String>,
    /// What the user should worry about, one sentence each.
    pub warnings: Vec<String>,
    /// The course of the fit.
    #[serde(skip)]
    pub trace: Vec<TraceRow>,
    /// Variational parameters, or the mode; unconstrained.
    #[serde(skip)]
    pub params: Vec<NamedTensor>,
}

impl Fit {
    /// An empty fit of `algorithm`; the rest is set by field.
    pub fn new(algorithm: impl Into<String>, model: ModelSource, precision: Precision, seed: u64) -> Self {
        Self {
            algorithm: algorithm.into(),
            model,
            guide: String::new(),
            precision,
            seed,
            independent_draws: true,
            elbo: None,
            bound: None,
            diagnostics: Diagnostics::default(),
            sampler: None,
            mode: None,
            quantities: Vec::new(),
            loo: None,
            evaluation: Vec::new(),
            expect: Vec::new(),
            timing: Timing::default(),
            settings: Vec::new(),
            data: Vec::new(),
            stop_reason: StopReason::Completed,
            notes: Vec::new(),
            warnings: Vec::new(),
            trace: Vec::new(),
            params: Vec::new(),
        }
    }
    /// True when the user stopped it.
    pub fn interrupted(&self) -> bool {
        self.stop_reason == StopReason::Interrupted
    }
    /// The lines of `expect` that do not hold.
    pub fn broken(&self) -> impl Iterator<Item = &Expectation> {
        self.expect.iter().filter(|e| !e.holds)
    }
    /// The quantity called `name`.
    pub fn quantity(&self, name: &str) -> Option<&Quantity> {
        self.quantities.iter().find(|q| q.name == name)
    }
}

/// Numbers that may not be finite: `null` in JSON, NaN when read back.
mod nullable {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { serializer.serialize_f64(*value) } else { serializer.serialize_none() }
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

/// Pairs as one JSON object that keeps their order.
mod ordered {
    use serde::de::{DeserializeOwned, Error};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer, T: Serialize>(pairs: &[(String, T)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
    }
    pub fn deserialize<'de, D: Deserializer<'de>, T: DeserializeOwned>(
        deserializer: D,
    ) -> Result<Vec<(String, T)>, D::Error> {
        let object = serde_json::Map::deserialize(deserializer)?;
        object.into_iter().map(|(name, v)| Ok((name, serde_json::from_value(v).map_err(D::Error::custom)?))).collect()
    }
}

/// Named numbers as one JSON object; `null` stands for those that are not finite.
mod ordered_scores {
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(pairs: &[(String, f64)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(pairs.iter().map(|(name, value)| (name, value.is_finite().then_some(*value))))
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, f64)>, D::Error> {
        let pairs: Vec<(String, Option<f64>)> = super::ordered::deserialize(deserializer)?;
        Ok(pairs.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_named_by_labels_and_positions() {
        let mut q = Quantity::new("w", Role::Latent, Elem::Real, &[2, 3], 1, 1, vec![0.0f64; 6]);
        assert_eq!(q.element_name(5), "w[1, 2]");
        q.labels[1] = Some(vec!["a".into(), "b".into(), "c".into()]);
        assert_eq!(q.element_name(4), "w[1, b]");
        let scalar = Quantity::new("mu", Role::Latent, Elem::Real, &[], 1, 2, vec![1.0f32, 2.0]);
        assert_eq!(scalar.element_name(0), "mu");
    }

    #[test]
    fn draws_of_an_element_come_chain_after_chain() {
        let q = Quantity::new("x", Role::Kept, Elem::Real, &[2], 2, 2, (0..8).map(f64::from).collect::<Vec<_>>());
        let mut out = Vec::new();
        q.element_draws(1, &mut out);
        assert_eq!(out, [1.0, 3.0, 5.0, 7.0]);
        assert_eq!(q.value(1, 0, 1), 5.0);
    }

    #[test]
    fn numbers_that_are_not_finite_survive_as_nan() {
        let elbo = Elbo { final_: f64::NEG_INFINITY, standard_error: 0.5, steps: 3 };
        let text = serde_json::to_string(&elbo).expect("plain data");
        assert_eq!(text, r#"{"final":null,"standard_error":0.5,"steps":3}"#);
        let back: Elbo = serde_json::from_str(&text).expect("what we wrote");
        assert!(back.final_.is_nan() && back.standard_error == 0.5);
        let metrics = Metrics { values: vec![("nll".into(), f64::INFINITY), ("accuracy".into(), 0.5)] };
        let text = serde_json::to_string(&metrics).expect("plain data");
        assert_eq!(text, r#"{"nll":null,"accuracy":0.5}"#);
        let back: Metrics = serde_json::from_str(&text).expect("what we wrote");
        assert!(back.get("nll").is_some_and(f64::is_nan) && back.get("accuracy") == Some(0.5));
    }
}
