//! Posteriors whose means, deviations and densities are known from elsewhere, drawn by nuts: see `posteriordb.rs`.
//!
//! Means agree within 4 combined Monte Carlo standard errors, deviations within 10 %. All of them run when
//! `RUN_SLOW_TESTS=1`, otherwise a few; `cargo bench --bench posteriors` prints the table.

use crate::common::*;
use crate::posteriordb::{self, Sampled};
use bayesc::driver::Options;
use bayesc::infer::density::{self, Density, Space};
use bayesc::session::RunOptions;
use serde_json::Value;

/// Those that take a second or less.
const FAST: &[&str] = &[
    "eight_schools-eight_schools_centered",
    "eight_schools-eight_schools_noncentered",
    "gp_pois_regr-gp_regr",
    "kilpisjarvi_mod-kilpisjarvi",
    "mesquite-logmesquite_logvas",
];
/// Programs that approximate: with this size set to so much their log densities have the digits that are asked for, as
/// they stand they have these.
const FINER: &[(&str, &str, usize, f64)] = &[("hudson_lynx_hare-lotka_volterra", "S", 80, 2e-6)];

fn numbers(v: &Value) -> Vec<f64> {
    match v {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        v => vec![v.as_f64().expect("a number")],
    }
}

#[test]
fn reference_posteriors() {
    let slow = std::env::var("RUN_SLOW_TESTS").is_ok_and(|v| v == "1");
    for posterior in posteriordb::all() {
        let name = &posterior.name;
        if slow || FAST.contains(&name.as_str()) {
            let fit = fit_with(&posteriordb::program(name, "", &Options::default()), &RunOptions::default());
            assert_eq!(fit.algorithm, "nuts");
            let wrong = Sampled::of(&posterior, &fit).wrong();
            assert!(wrong.is_empty(), "{name}: {}", wrong.join("; "));
        }
    }
}

#[test]
fn reference_log_densities_and_gradients() {
    for posterior in posteriordb::all() {
        check_density(&posterior, &Options::default(), FINER.iter().find(|f| f.0 == posterior.name).map(|f| f.3));
        for (_, size, value, _) in FINER.iter().filter(|f| f.0 == posterior.name) {
            let options = Options { sizes: vec![(size.to_string(), *value)], ..Options::default() };
            check_density(&posterior, &options, None);
        }
    }
}

/// The log density and its gradient at the points of a posterior, within 1e-8 and 1e-6, or as stated.
fn check_density(posterior: &posteriordb::Posterior, options: &Options, stated: Option<f64>) {
    let name = &posterior.name;
    let c = posteriordb::program(name, "", options);
    let bound = bind(&c);
    let graph = density::build(&bound.program, &bound.data, &Space::Constrained).expect("it has a gradient");
    let mut density = Density::new(&graph, &bound.program, &bound.data);
    let mut first = None;
    for point in &posterior.points {
        let mut u = vec![0.0; density.dim()];
        for c in &graph.coordinates {
            u[c.range.clone()].copy_from_slice(&numbers(&point["params"][&c.name]));
        }
        let mut gradient = vec![0.0; u.len()];
        let value = density.evaluate(&u, &mut gradient);
        let delta = value - *first.get_or_insert(value);
        let want = point["delta_log_joint"].as_f64().expect("a number");
        let digits = stated.unwrap_or(1e-8);
        assert!((delta - want).abs() <= digits * (1.0 + want.abs()), "{name}: {delta}, expected {want}");
        for c in &graph.coordinates {
            let site = &c.name;
            if let Some(want) = point["grad"].get(site) {
                let size = numbers(want).iter().fold(1.0f64, |a, x| a.max(x.abs()));
                for (got, want) in gradient[c.range.clone()].iter().zip(numbers(want)) {
                    let digits = digits.max(1e-6);
                    assert!((got - want).abs() <= digits * size, "{name}: d/d {site} is {got}, expected {want}");
                }
            }
        }
    }
}
