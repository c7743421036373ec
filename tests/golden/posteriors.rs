//! Posteriors whose means, deviations and densities are known from elsewhere, drawn by nuts.
//!
//! The programs are in `tests/golden/posteriordb/`, with data from posteriordb 1.0 (Stan developers, BSD 3-Clause, see
//! `tests/reference/posteriordb-LICENSE.txt`). `tests/reference/posteriordb.json` has the means and deviations of its
//! reference draws, exact ones for Gaussian linear models, and log densities at some points with their gradients.
//!
//! Means agree within 4 combined Monte Carlo standard errors, deviations within 10 %. All of them run when
//! `RUN_SLOW_TESTS=1`, otherwise a few.

use crate::common::*;
use bayesc::driver::{self, Options};
use bayesc::infer::density::{self, Density, Space};
use bayesc::report::fit::Fit;
use bayesc::report::summary::Summary;
use bayesc::session::RunOptions;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Those that take a second or less.
const FAST: &[&str] = &[
    "eight_schools-eight_schools_centered",
    "eight_schools-eight_schools_noncentered",
    "gp_pois_regr-gp_regr",
    "kilpisjarvi_mod-kilpisjarvi",
    "mesquite-logmesquite_logvas",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/posteriordb")
}
fn reference() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/posteriordb.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the reference is there")).expect("it is JSON")
}
fn program(name: &str) -> bayesc::driver::Compilation {
    let path = folder().join(format!("{name}.bayes"));
    let text = std::fs::read_to_string(&path).expect("the program is there");
    let mut none = |path: &str, _: Option<&Path>| Err(format!("`{path}` is not there"));
    let c = driver::compile(name, Some(path), &text, &Options::default(), &mut none);
    assert!(!c.diags.has_errors(), "{name}: {:?}", c.diags.iter().collect::<Vec<_>>());
    c
}
/// `beta[2]` is element 1 of `beta`.
fn place(name: &str) -> (&str, usize) {
    match name.split_once('[') {
        Some((base, rest)) => (base, rest.trim_end_matches(']').parse::<usize>().expect("a position") - 1),
        None => (name, 0),
    }
}
fn numbers(v: &Value) -> Vec<f64> {
    match v {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        v => vec![v.as_f64().expect("a number")],
    }
}

fn check_posterior(name: &str, fit: &Fit, reference: &Value) {
    let summary = Summary::of(fit, false);
    for (param, want) in reference[name]["params"].as_object().expect("parameters") {
        let (site, element) = place(param);
        let at = fit.quantities.iter().position(|q| q.name == site).unwrap_or_else(|| panic!("{name}: no `{site}`"));
        let got = &summary.sites[at].elements.as_ref().expect("small sites")[element];
        let number = |key: &str| want[key].as_f64().expect("a number");
        let error = got.mcse_mean.hypot(number("mcse_mean"));
        let z = (got.mean - number("mean")) / error;
        assert!(z.abs() < 4.0, "{name}: mean of {param} is {}, expected {}: z = {z:.1}", got.mean, number("mean"));
        let ratio = got.sd / number("sd");
        assert!((ratio - 1.0).abs() < 0.1, "{name}: sd of {param} is {}, expected {}", got.sd, number("sd"));
    }
    assert!(summary.diagnostics.max_rhat.is_some_and(|r| r < 1.01), "{name}: {:?}", summary.diagnostics);
    assert_eq!(summary.diagnostics.divergences, Some(0), "{name}");
}

#[test]
fn reference_posteriors() {
    let reference = reference();
    let slow = std::env::var("RUN_SLOW_TESTS").is_ok_and(|v| v == "1");
    for name in reference.as_object().expect("posteriors").keys() {
        if slow || FAST.contains(&name.as_str()) {
            let fit = fit_with(&program(name), &RunOptions::default());
            assert_eq!(fit.algorithm, "nuts");
            check_posterior(name, &fit, &reference);
        }
    }
}

#[test]
fn reference_log_densities_and_gradients() {
    let reference = reference();
    for (name, entry) in reference.as_object().expect("posteriors") {
        let c = program(name);
        let bound = bind(&c);
        let graph = density::build(&bound.program, &bound.data, &Space::Constrained).expect("it has a gradient");
        let mut density = Density::new(&graph, &bound.program, &bound.data);
        let mut first = None;
        for point in entry["points"].as_array().expect("points") {
            let mut u = vec![0.0; density.dim()];
            for c in &graph.coordinates {
                u[c.range.clone()].copy_from_slice(&numbers(&point["params"][&c.name]));
            }
            let mut gradient = vec![0.0; u.len()];
            let value = density.evaluate(&u, &mut gradient);
            let delta = value - *first.get_or_insert(value);
            let want = point["delta_log_joint"].as_f64().expect("a number");
            assert!((delta - want).abs() <= 1e-8 * (1.0 + want.abs()), "{name}: {delta}, expected {want}");
            for c in &graph.coordinates {
                let site = &c.name;
                if let Some(want) = point["grad"].get(site) {
                    let size = numbers(want).iter().fold(1.0f64, |a, x| a.max(x.abs()));
                    for (got, want) in gradient[c.range.clone()].iter().zip(numbers(want)) {
                        assert!((got - want).abs() <= 1e-6 * size, "{name}: d/d {site} is {got}, expected {want}");
                    }
                }
            }
        }
    }
}
