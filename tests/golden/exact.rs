//! Small posteriors with exact answers (closed forms or quadrature), drawn by nuts: discrete latents summed out, loops,
//! wrappers, matrices. The numbers are in `tests/reference/exact/`.
//!
//! Means agree within 4.5 Monte Carlo standard errors, deviations within 10 %.

use crate::common::*;
use bayesc::report::summary::Summary;
use bayesc::session::RunOptions;
use serde_json::Value;
use std::path::Path;

/// Data, model and settings; `#name` stands for a datum of the reference file.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "changepoint_coal",
        "data y: int[T] = #disasters\nmodel {\n  e ~ Exponential(1)\n  l ~ Exponential(1)\n  change ~ DiscreteUniform(0, T - 1)\n  y ~ Poisson(where(range(T) < change, e, l))\n}\ngenerate {\n  s = 1851 + change\n}\n",
    ),
    (
        "local_level_nile",
        "data y: real[T] = #y\nmodel {\n  s_level ~ HalfNormal(100)\n  s_obs ~ HalfNormal(200)\n  step: real[T] ~ Normal(0, 1)\n  keep x: real[T]\n  x[0] = 1000 + 300 * step[0]\n  for t in 1..T {\n    x[t] = x[t - 1] + s_level * step[t]\n  }\n  y ~ Normal(x, s_obs)\n}\n",
    ),
    (
        "ordered_logistic",
        "data x: real[N] = #x\ndata y: int[N] in 0..3 = #y\nmodel {\n  b ~ Normal(0, 2)\n  c: real[2] ~ Ordered(Normal(0, 3))\n  y ~ OrderedLogistic(b * x, c)\n}\ngenerate {\n  c1 = c[0]\n  c2 = c[1]\n  gap = c[1] - c[0]\n}\n",
    ),
    (
        "weibull_censored",
        "data time: real[N] = #time\ndata event: int[N] = #event\nmodel {\n  shape ~ HalfNormal(2)\n  scale ~ LogNormal(2.5, 1)\n  time ~ Censored(Weibull(shape, scale), upper = where(event == 1, inf, time))\n}\n",
    ),
    (
        "truncated_normal",
        "data y: real[N] = #y\nmodel {\n  mu ~ Normal(0, 1)\n  sigma ~ HalfNormal(1)\n  y ~ Truncated(Normal(mu, sigma), lower = 0)\n}\n",
    ),
    (
        "zero_inflated_poisson",
        "data y: int[N] = #y\nmodel {\n  gate ~ Beta(2, 2)\n  rate ~ Gamma(2, 0.5)\n  y ~ ZeroInflated(gate, Poisson(rate))\n}\n",
    ),
    (
        "student_t_location",
        "data y: real[N] = #y\nmodel {\n  mu ~ Normal(0, 5)\n  sigma ~ HalfNormal(2)\n  nu ~ Gamma(2, 0.1)\n  y ~ StudentT(nu, mu, sigma)\n}\n",
    ),
    (
        "lkj_correlation",
        "data y: real[N, 2] = #y\nmodel {\n  R: real[2, 2] ~ LKJ(2)\n  y ~ MultivariateNormal([0, 0], R)\n}\ngenerate {\n  r = R[0, 1]\n}\n",
    ),
    (
        "poisson_loglinear",
        "data x: real[N] = #x\ndata y: int[N] = #y\nmodel {\n  a ~ Normal(0, 2)\n  b ~ Normal(0, 1)\n  for n in 0..N {\n    y[n] ~ Poisson(exp(a + b * x[n]))\n  }\n}\n",
    ),
];

fn reference(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/reference/exact/{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("the reference is there")).expect("it is JSON")
}

fn check(name: &str, text: &str) {
    let reference = reference(name);
    let mut text = text.to_string();
    for (key, value) in reference["data"].as_object().expect("data") {
        text = text.replace(&format!("#{key}\n"), &format!("{value}\n"));
    }
    text += "infer nuts { seed = 3, target_accept = 0.9 }\n";
    let fit = fit_with(&compile(&text), &RunOptions::default());
    let summary = Summary::of(&fit, false);
    for (param, want) in reference["reference"]["params"].as_object().expect("parameters") {
        let (site, element) = match param.split_once('[') {
            Some((site, at)) => (site, at.trim_end_matches(']').parse::<usize>().expect("a position") - 1),
            None => (param.as_str(), 0),
        };
        let at = fit.quantities.iter().position(|q| q.name == site);
        let at = at.unwrap_or_else(|| panic!("{name}: no `{site}`"));
        // Every draw of a long series is summarized by its own numbers here.
        let mut own = Vec::new();
        for chain in 0..fit.quantities[at].chains {
            own.extend((0..fit.quantities[at].draws).map(|i| fit.quantities[at].value(chain, i, element)));
        }
        let (m, s) = (mean(&own), {
            let m = mean(&own);
            (own.iter().map(|x| (x - m).powi(2)).sum::<f64>() / (own.len() - 1) as f64).sqrt()
        });
        let error = match &summary.sites[at].elements {
            Some(elements) => elements[element].mcse_mean,
            None => s / (own.len() as f64 / 10.0).sqrt(),
        };
        let number = |key: &str| want[key].as_f64();
        let expected = number("mean").expect("a mean");
        assert!((m - expected).abs() <= 4.5 * error, "{name}: mean of {param} is {m} ± {error}, expected {expected}");
        if let Some(sd) = number("sd") {
            assert!((s / sd - 1.0).abs() < 0.1, "{name}: sd of {param} is {s}, expected {sd}");
        }
    }
    assert!(summary.diagnostics.max_rhat.is_some_and(|r| r < 1.02), "{name}: {:?}", summary.diagnostics);
}

#[test]
fn posteriors_with_exact_answers() {
    for (name, text) in PROGRAMS {
        check(name, text);
    }
}
