//! The posterior summary of a fit, as numbers, as the document `summary.json` and as CSV.
//!
//! `Summary::of` does all the work once; `table.rs` shows the same numbers to people. Sites of more than
//! [`LARGE_SITE`] elements (network weights) are summarised as a whole unless all elements are asked for.

use super::fit::{Diagnostics, Fit, Metrics, Quantity};
use super::loo::Loo;
use super::statistics::{ElementSummary, summarize, summarize_independent};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

/// A site with more elements is summarised as a whole.
pub const LARGE_SITE: usize = super::fit::LARGE;

/// The summary of a fit.
#[derive(Clone, Debug)]
pub struct Summary {
    /// One for each quantity of the fit, in its order.
    pub sites: Vec<SiteSummary>,
    /// Those of the fit, completed by what the draws of Markov chains say.
    pub diagnostics: Diagnostics,
}

/// The summary of one quantity.
#[derive(Clone, Debug)]
pub struct SiteSummary {
    /// The quantity as a whole.
    pub whole: WholeSummary,
    /// One for each element, row-major; `None` for a large site.
    pub elements: Option<Vec<ElementSummary>>,
    /// How often each labelled value was drawn, `[element][value]`; `None` where values have no labels.
    pub frequencies: Option<Vec<Vec<f64>>>,
}

/// An array in a few numbers.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct WholeSummary {
    /// The smallest posterior mean of an element.
    pub min_mean: f64,
    /// The largest posterior mean of an element.
    pub max_mean: f64,
    /// The Euclidean norm of the posterior mean.
    pub norm: f64,
    /// The posterior sd of an element, averaged over elements.
    pub mean_sd: f64,
    /// |mean| / sd of an element, averaged over the elements that vary.
    pub signal_to_noise: f64,
    /// `mean_sd` over the prior's sd: 1 for weights that the data left alone.
    pub posterior_to_prior: Option<f64>,
    /// The largest R-hat of an element.
    pub max_rhat: f64,
    /// The smallest bulk ESS of an element.
    pub min_ess_bulk: f64,
    /// The smallest tail ESS of an element.
    pub min_ess_tail: f64,
}

impl Summary {
    /// Summarises every quantity of `fit`; `all` keeps the elements of large sites too.
    pub fn of(fit: &Fit, all: bool) -> Self {
        let sites: Vec<SiteSummary> =
            fit.quantities.iter().map(|q| SiteSummary::of(q, all, fit.independent_draws)).collect();
        let mut diagnostics = fit.diagnostics;
        if !fit.independent_draws {
            let over = |pick: fn(&WholeSummary) -> f64, best: fn(f64, f64) -> f64| {
                sites.iter().map(|s| pick(&s.whole)).filter(|x| !x.is_nan()).reduce(best)
            };
            diagnostics.max_rhat = diagnostics.max_rhat.or(over(|w| w.max_rhat, f64::max));
            diagnostics.min_ess_bulk = diagnostics.min_ess_bulk.or(over(|w| w.min_ess_bulk, f64::min));
            diagnostics.min_ess_tail = diagnostics.min_ess_tail.or(over(|w| w.min_ess_tail, f64::min));
        }
        Self { sites, diagnostics }
    }

    /// The document `summary.json`. Numbers that are not finite are `null`; arrays nest in the site's shape.
    pub fn json(&self, fit: &Fit) -> Value {
        let sites: Map<String, Value> =
            fit.quantities.iter().zip(&self.sites).map(|(q, s)| (q.name.clone(), s.json(q))).collect();
        let scores = |m: &Metrics| -> Value { m.values.iter().map(|(n, v)| (n.clone(), number(*v))).collect() };
        let evaluate: Map<String, Value> = fit.evaluation.iter().map(|(name, m)| (name.clone(), scores(m))).collect();
        let optional = |x: Option<f64>| x.map_or(Value::Null, number);
        let diagnostics = &self.diagnostics;
        json!({
            "algorithm": fit.algorithm,
            "guide": if fit.guide.is_empty() { Value::Null } else { json!(fit.guide) },
            "precision": fit.precision.name(),
            "seed": fit.seed,
            "elbo": fit.elbo.map(|elbo| json!({
                "final": number(elbo.final_),
                "standard_error": number(elbo.standard_error),
                "steps": elbo.steps,
            })),
            "bound": fit.bound.as_ref().map(|bound| json!({
                "objective": bound.objective,
                "draws": bound.draws,
                "final": number(bound.final_),
                "standard_error": number(bound.standard_error),
            })),
            "diagnostics": {
                "pareto_k": optional(diagnostics.pareto_k),
                "divergences": diagnostics.divergences,
                "max_rhat": optional(diagnostics.max_rhat),
                "min_ess_bulk": optional(diagnostics.min_ess_bulk),
                "min_ess_tail": optional(diagnostics.min_ess_tail),
                "max_depth_hits": diagnostics.max_depth_hits,
                "min_e_bfmi": optional(diagnostics.min_e_bfmi),
            },
            "sampler": fit.sampler,
            "loo": fit.loo.as_ref().map(Loo::json),
            "mode": fit.mode,
            "sites": sites,
            "evaluate": evaluate,
            "expect": fit.expect,
            "timing": {
                "compile_seconds": number(fit.timing.compile_secs),
                "fit_seconds": number(fit.timing.fit_secs),
                "steps_per_second": optional(fit.timing.steps_per_sec),
                "items_per_second": optional(fit.timing.items_per_sec),
            },
            "stop_reason": fit.stop_reason,
            "notes": fit.notes,
            "warnings": fit.warnings,
        })
    }

    /// One line per element: its name and the columns of [`COLUMNS`]; what is not finite is empty. Large sites are
    /// there only when the summary was made with `all`.
    pub fn csv(&self, fit: &Fit) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let header = ["name"].into_iter().chain(COLUMNS.iter().map(|(name, _)| *name));
        writer.write_record(header).expect("writing to memory cannot fail");
        for (quantity, site) in fit.quantities.iter().zip(&self.sites) {
            for (element, summary) in site.elements.iter().flatten().enumerate() {
                let cells = COLUMNS.iter().map(|(_, pick)| {
                    let x = pick(summary);
                    if x.is_finite() { x.to_string() } else { String::new() }
                });
                let record = [quantity.element_name(element)].into_iter().chain(cells);
                writer.write_record(record).expect("writing to memory cannot fail");
            }
        }
        let bytes = writer.into_inner().expect("writing to memory cannot fail");
        String::from_utf8(bytes).expect("names and numbers are text")
    }
}

/// A statistic of an element: its name in files and how to get it.
pub type Column = (&'static str, fn(&ElementSummary) -> f64);

/// The statistics of an element, as files name them, in order.
pub const COLUMNS: [Column; 11] = [
    ("mean", |s| s.mean),
    ("sd", |s| s.sd),
    ("q5", |s| s.q5),
    ("q25", |s| s.q25),
    ("median", |s| s.median),
    ("q75", |s| s.q75),
    ("q95", |s| s.q95),
    ("mcse_mean", |s| s.mcse_mean),
    ("ess_bulk", |s| s.ess_bulk),
    ("ess_tail", |s| s.ess_tail),
    ("rhat", |s| s.rhat),
];

impl SiteSummary {
    fn of(quantity: &Quantity, all: bool, independent: bool) -> Self {
        let large = quantity.count() > LARGE_SITE && !all;
        let summary_of = |draws: &mut Vec<f64>, element: usize| {
            quantity.element_draws(element, draws);
            match (independent, large) {
                (true, true) => moments(draws),
                (true, false) => summarize_independent(draws),
                (false, _) => summarize(draws, quantity.chains.max(1)),
            }
        };
        let elements: Vec<ElementSummary> = match &quantity.moments {
            Some(m) => m.mean.iter().zip(&m.sd).map(|(&mean, &sd)| of_moments(mean, sd)).collect(),
            None => (0..quantity.count()).into_par_iter().map_init(Vec::new, summary_of).collect(),
        };
        let frequencies = quantity.value_labels.as_ref().filter(|_| !large && quantity.has_draws()).map(|labels| {
            let of_element = |element| frequencies(quantity, element, labels.len());
            (0..quantity.count()).map(of_element).collect()
        });
        let whole = WholeSummary::of(&elements, quantity.prior_sd);
        Self { whole, elements: (!large).then_some(elements), frequencies }
    }

    fn json(&self, quantity: &Quantity) -> Value {
        let mut site = Map::new();
        site.insert("shape".into(), json!(quantity.shape));
        site.insert("dims".into(), json!(quantity.dims));
        let labels = quantity.labels.iter().enumerate().filter_map(|(i, labels)| {
            let name = quantity.dims.get(i).cloned().flatten().unwrap_or_else(|| i.to_string());
            labels.as_ref().map(|labels| (name, json!(labels)))
        });
        site.insert("labels".into(), Value::Object(labels.collect()));
        site.insert("role".into(), json!(quantity.role));
        if let Some(doc) = &quantity.doc {
            site.insert("doc".into(), json!(doc));
        }
        if let Some(elements) = &self.elements {
            for (name, pick) in COLUMNS {
                let values = elements.iter().map(|s| number(pick(s))).collect();
                site.insert(name.into(), nested(values, &quantity.shape));
            }
        } else {
            let whole = &self.whole;
            site.insert("elements".into(), json!(quantity.count()));
            for (name, value) in [
                ("min_mean", whole.min_mean),
                ("max_mean", whole.max_mean),
                ("norm_of_mean", whole.norm),
                ("mean_sd", whole.mean_sd),
                ("signal_to_noise", whole.signal_to_noise),
                ("max_rhat", whole.max_rhat),
                ("min_ess_bulk", whole.min_ess_bulk),
                ("min_ess_tail", whole.min_ess_tail),
            ] {
                site.insert(name.into(), number(value));
            }
        }
        if let Some(ratio) = self.whole.posterior_to_prior {
            site.insert("posterior_to_prior_sd".into(), number(ratio));
        }
        if let (Some(frequencies), Some(labels)) = (&self.frequencies, &quantity.value_labels) {
            let of_element = |f: &Vec<f64>| labels.iter().cloned().zip(f.iter().map(|&x| number(x))).collect();
            let values = frequencies.iter().map(of_element).collect();
            site.insert("frequencies".into(), nested(values, &quantity.shape));
        }
        Value::Object(site)
    }
}

impl WholeSummary {
    fn of(elements: &[ElementSummary], prior_sd: Option<f64>) -> Self {
        let fold = |pick: fn(&ElementSummary) -> f64, best: fn(f64, f64) -> f64| {
            elements.iter().map(pick).filter(|x| !x.is_nan()).reduce(best).unwrap_or(f64::NAN)
        };
        let average = |values: &mut dyn Iterator<Item = f64>| {
            let (sum, count) = values.fold((0.0, 0.0), |(sum, count), x| (sum + x, count + 1.0));
            sum / count
        };
        let mean_sd = average(&mut elements.iter().map(|s| s.sd));
        Self {
            min_mean: fold(|s| s.mean, f64::min),
            max_mean: fold(|s| s.mean, f64::max),
            norm: elements.iter().map(|s| s.mean * s.mean).sum::<f64>().sqrt(),
            mean_sd,
            signal_to_noise: average(&mut elements.iter().filter(|s| s.sd > 0.0).map(|s| s.mean.abs() / s.sd)),
            posterior_to_prior: prior_sd.map(|prior| mean_sd / prior),
            max_rhat: fold(|s| s.rhat, f64::max),
            min_ess_bulk: fold(|s| s.ess_bulk, f64::min),
            min_ess_tail: fold(|s| s.ess_tail, f64::min),
        }
    }
}

/// All that is wanted of one of very many independent elements.
fn moments(draws: &[f64]) -> ElementSummary {
    of_moments(super::statistics::mean(draws), super::statistics::sd(draws))
}
fn of_moments(mean: f64, sd: f64) -> ElementSummary {
    let nan = f64::NAN;
    ElementSummary {
        mean,
        sd,
        q5: nan,
        q25: nan,
        median: nan,
        q75: nan,
        q95: nan,
        mcse_mean: nan,
        ess_bulk: nan,
        ess_tail: nan,
        rhat: nan,
    }
}

/// The fraction of draws at each of the values 0, 1, …, n_values - 1.
fn frequencies(quantity: &Quantity, element: usize, n_values: usize) -> Vec<f64> {
    let mut draws = Vec::new();
    quantity.element_draws(element, &mut draws);
    let mut counts = vec![0.0; n_values];
    for &x in &draws {
        if x >= 0.0 && (x as usize) < n_values {
            counts[x as usize] += 1.0;
        }
    }
    counts.iter_mut().for_each(|c| *c /= draws.len() as f64);
    counts
}

/// A number as JSON has it; `null` when it is not finite.
fn number(x: f64) -> Value {
    serde_json::Number::from_f64(x).map_or(Value::Null, Value::Number)
}

/// Row-major values as arrays of arrays; a scalar stays plain.
fn nested(values: Vec<Value>, shape: &[usize]) -> Value {
    fn level(values: &mut impl Iterator<Item = Value>, shape: &[usize]) -> Value {
        match shape {
            [] => values.next().unwrap_or(Value::Null),
            [extent, inner @ ..] => (0..*extent).map(|_| level(values, inner)).collect(),
        }
    }
    level(&mut values.into_iter(), shape)
}

#[cfg(test)]
mod tests {
    use super::super::fit::{Elbo, Elem, ModelSource, Precision, Role};
    use super::*;

    fn fit_of(quantities: Vec<Quantity>) -> Fit {
        let mut fit = Fit::new("svi", ModelSource::default(), Precision::F64, 7);
        fit.quantities = quantities;
        fit
    }

    /// Draws 0, 1, 2, 3, 4 plus the element's position times 10.
    fn ramp(name: &str, shape: &[usize]) -> Quantity {
        let count: usize = shape.iter().product();
        let data: Vec<f64> =
            (0..5).flat_map(|draw| (0..count).map(move |element| (draw + 10 * element) as f64)).collect();
        Quantity::new(name, Role::Latent, Elem::Real, shape, 1, 5, data)
    }

    #[test]
    fn arrays_nest_in_the_shape_of_the_site() {
        let mut theta = ramp("theta", &[2]);
        theta.dims = vec![Some("School".into())];
        theta.labels = vec![Some(vec!["A".into(), "B".into()])];
        let mut fit = fit_of(vec![theta, ramp("mu", &[]), ramp("w", &[2, 1, 2])]);
        fit.guide = "full_rank".into();
        fit.elbo = Some(Elbo { final_: -3.5, standard_error: f64::NAN, steps: 9 });
        fit.evaluation =
            vec![("y".into(), Metrics { values: vec![("rmse".into(), 0.5), ("nll".into(), f64::INFINITY)] })];
        let json = Summary::of(&fit, false).json(&fit);
        assert_eq!(json["sites"]["theta"]["mean"], json!([2.0, 12.0]));
        assert_eq!(json["sites"]["theta"]["dims"], json!(["School"]));
        assert_eq!(json["sites"]["theta"]["labels"], json!({"School": ["A", "B"]}));
        assert_eq!(json["sites"]["mu"]["median"], json!(2.0));
        assert_eq!(json["sites"]["mu"]["shape"], json!([]));
        assert_eq!(json["sites"]["w"]["q25"], json!([[[1.0, 11.0]], [[21.0, 31.0]]]));
        assert_eq!(json["sites"]["w"]["dims"], json!([null, null, null]));
        assert_eq!(json["elbo"], json!({"final": -3.5, "standard_error": null, "steps": 9}));
        assert_eq!(json["evaluate"], json!({"y": {"rmse": 0.5, "nll": null}}));
        assert_eq!(json["guide"], json!("full_rank"));
        assert_eq!(json["diagnostics"]["max_rhat"], Value::Null);
        assert_eq!(json["seed"], json!(7));
    }

    #[test]
    fn what_does_not_apply_is_null() {
        let constant = Quantity::new("c", Role::Kept, Elem::Real, &[], 2, 50, vec![1.5f32; 100]);
        let fit = fit_of(vec![constant]);
        let json = Summary::of(&fit, false).json(&fit);
        assert_eq!(json["sites"]["c"]["rhat"], Value::Null);
        assert_eq!(json["sites"]["c"]["mean"], json!(1.5));
        assert_eq!((&json["elbo"], &json["guide"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn large_sites_are_summarised_as_a_whole_unless_all_is_asked_for() {
        let n = LARGE_SITE + 1;
        let data: Vec<f32> = [3.0f32, 5.0].iter().flat_map(|&x| std::iter::repeat_n(x, n)).collect();
        let mut w = Quantity::new("w", Role::Latent, Elem::Real, &[n], 1, 2, data);
        w.prior_sd = Some(2.0);
        let fit = fit_of(vec![w]);
        let json = Summary::of(&fit, false).json(&fit);
        let site = &json["sites"]["w"];
        assert!(site.get("mean").is_none());
        let close = |key: &str, expect: f64| (site[key].as_f64().expect("a number") - expect).abs() < 1e-9;
        let sd = 2f64.sqrt();
        assert!(close("norm_of_mean", 4.0 * (n as f64).sqrt()) && close("mean_sd", sd));
        assert!(close("signal_to_noise", 4.0 / sd) && close("posterior_to_prior_sd", sd / 2.0));
        let all = Summary::of(&fit, true).json(&fit);
        assert_eq!(all["sites"]["w"]["mean"].as_array().map(Vec::len), Some(n));
    }

    #[test]
    fn chains_complete_the_diagnostics() {
        let apart: Vec<f64> = (0..80).map(|i| f64::from(i / 40) * 9.0 + f64::from(i * 7 % 11)).collect();
        let mut fit = fit_of(vec![Quantity::new("x", Role::Latent, Elem::Real, &[], 2, 40, apart)]);
        assert_eq!(Summary::of(&fit, false).diagnostics.max_rhat, None);
        fit.independent_draws = false;
        let diagnostics = Summary::of(&fit, false).diagnostics;
        assert!(
            diagnostics.max_rhat.expect("two chains") > 1.5 && diagnostics.min_ess_bulk.expect("two chains") < 20.0
        );
    }

    #[test]
    fn labelled_values_have_frequencies() {
        let mut best = Quantity::new("best", Role::Generated, Elem::Int, &[], 1, 4, vec![1.0f64, 1.0, 0.0, 1.0]);
        best.value_labels = Some(vec!["A".into(), "B".into()]);
        let fit = fit_of(vec![best]);
        let json = Summary::of(&fit, false).json(&fit);
        assert_eq!(json["sites"]["best"]["frequencies"], json!({"A": 0.25, "B": 0.75}));
    }

    #[test]
    fn csv_has_a_line_per_element() {
        let fit = fit_of(vec![ramp("mu", &[]), ramp("w", &[1, 2])]);
        let csv = Summary::of(&fit, true).csv(&fit);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[0], "name,mean,sd,q5,q25,median,q75,q95,mcse_mean,ess_bulk,ess_tail,rhat");
        assert!(lines[1].starts_with("mu,2,1.58") && lines[3].starts_with("\"w[0, 1]\",12,"), "{csv}");
        assert_eq!(lines.len(), 4);
    }
}
