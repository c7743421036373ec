//! Every guide against the posteriors of `tests/golden/posteriordb/`: the Pareto k, the error of means in deviations of the
//! reference, the ratio of deviations.
//!
//! All guides start at the mode, in its coordinates, and take the same steps. `full_rank` and flows match posteriors that
//! have one mode and few numbers: means within 0.1 deviations, deviations within 10 %. `RUN_SLOW_TESTS=1` runs all of them
//! and prints the table (`--nocapture`), otherwise a few run.

use crate::common::*;
use bayesc::driver::{self, Options};
use bayesc::report::fit::Fit;
use bayesc::report::summary::Summary;
use bayesc::session::{RunOptions, Unobserved};
use serde_json::Value;
use std::path::{Path, PathBuf};

const GUIDES: &[&str] = &[
    "mean_field",
    "structured",
    "low_rank",
    "full_rank",
    "flow(realnvp)",
    "flow(iaf)",
    "mixture(2, full_rank)",
    "laplace",
];
/// Those that any unimodal posterior of few numbers asks to be matched by.
const EXACT: &[&str] = &["full_rank", "flow(realnvp)", "flow(iaf)"];
/// Posteriors that have no peak to start from, or tails that no normal has: there `full_rank` and laplace may miss.
const NOT_NORMAL: &[&str] = &["eight_schools-eight_schools_centered", "eight_schools-eight_schools_noncentered"];
/// Those that take a second or less, and what the fast tests run on them.
const FAST: &[(&str, &[&str])] = &[
    ("kilpisjarvi_mod-kilpisjarvi", &["full_rank", "flow(realnvp)"]),
    ("mesquite-logmesquite_logvas", &["full_rank", "flow(iaf)"]),
];

fn program(name: &str) -> bayesc::driver::Compilation {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/posteriordb/{name}.bayes"));
    let text = std::fs::read_to_string(&path).expect("the program is there")
        + "\ninfer svi quick {\n  steps = 3000\n  particles = 8\n  optimizer = adam(1e-2)\n  schedule = cosine\n  \
           start = mode\n  draws = 4000\n  seed = 1\n}\n";
    let mut none = |path: &str, _: Option<&Path>| Err(format!("`{path}` is not there"));
    let c = driver::compile(name, Some(path), &text, &Options::default(), &mut none);
    assert!(!c.diags.has_errors(), "{name}: {:?}", c.diags.iter().collect::<Vec<_>>());
    c
}

/// The largest error of a mean in deviations of the reference, and the smallest and largest ratio of deviations.
fn against(fit: &Fit, want: &Value) -> (f64, f64, f64) {
    let summary = Summary::of(fit, false);
    let mut row = (0.0f64, f64::INFINITY, 0.0f64);
    for (param, want) in want["params"].as_object().expect("parameters") {
        let (site, element) = match param.split_once('[') {
            Some((base, rest)) => (base, rest.trim_end_matches(']').parse::<usize>().expect("a position") - 1),
            None => (param.as_str(), 0),
        };
        let at = fit.quantities.iter().position(|q| q.name == site).unwrap_or_else(|| panic!("no `{site}`"));
        let got = &summary.sites[at].elements.as_ref().expect("small sites")[element];
        let number = |key: &str| want[key].as_f64().expect("a number");
        let ratio = got.sd / number("sd");
        row.0 = row.0.max(((got.mean - number("mean")) / number("sd")).abs());
        row = (row.0, row.1.min(ratio), row.2.max(ratio));
    }
    row
}

#[test]
fn guides_against_reference_posteriors() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/posteriordb.json");
    let reference: Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("the reference is there")).expect("it is JSON");
    let slow = std::env::var("RUN_SLOW_TESTS").is_ok_and(|v| v == "1");
    let mut failures = Vec::new();
    println!("{:44} {:22} {:>6} {:>8} {:>6} {:>6}", "posterior", "guide", "k", "mean/sd", "sd low", "high");
    for (name, want) in reference.as_object().expect("posteriors") {
        let fast = FAST.iter().find(|f| f.0 == name).map_or(&[][..], |f| f.1);
        let guides = if slow { GUIDES } else { fast };
        if guides.is_empty() {
            continue;
        }
        let c = program(name);
        let bound = bind(&c);
        for guide in guides {
            let options =
                RunOptions { guide: Some(guide.to_string()), infer: Some("quick".into()), ..RunOptions::default() };
            let fit = match bayesc::session::run(&bound, &options, &mut Unobserved) {
                Ok(fit) => fit,
                Err(error) => {
                    println!("{name:44} {guide:22} {error:?}");
                    let peakless = *guide == "laplace" && NOT_NORMAL.contains(&name.as_str());
                    if !peakless {
                        failures.push(format!("{name} by {guide} fails: {error:?}"));
                    }
                    continue;
                }
            };
            let (error, low, high) = against(&fit, want);
            let k = fit.diagnostics.pareto_k.unwrap_or(f64::NAN);
            println!("{name:44} {guide:22} {k:6.2} {error:8.3} {low:6.3} {high:6.3}");
            // 4,000 draws have errors of their own: three of their standard errors.
            let (few, many) = (3.0 / 4000f64.sqrt(), 3.0 / 8000f64.sqrt());
            let close = error < 0.1 + few && low > 0.9 - many && high < 1.1 + many;
            if EXACT.contains(guide) && !close && !(*guide == "full_rank" && NOT_NORMAL.contains(&name.as_str())) {
                failures.push(format!("{name} by {guide}: means {error:.3} sd away, sds {low:.3} to {high:.3}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
