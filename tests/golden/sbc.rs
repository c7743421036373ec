//! Simulation-based calibration: ranks are uniform where the posterior is right, and are not where it is wrong.
//!
//! Ten models by nuts, `full_rank` and `laplace` where they are exact, and with discrete latents. All of them with 200 data sets
//! when `RUN_SLOW_TESTS=1`, otherwise a few. Each report is called wrong by chance once in 100 times ([`LEVEL`]); the seeds
//! are fixed, so that a test that passes goes on to pass.

use crate::common::*;
use bayesc::report::sbc::{LEVEL, Report};
use bayesc::session::{self, Calibration, RunOptions};
use std::ops::ControlFlow;

fn calibrate(text: &str, simulations: usize, options: &RunOptions) -> Report {
    let compilation = compile(text);
    let bound = session::bind_with(&compilation, &mut bayesc::data::Files::new(), &[], true).expect("it binds");
    let calibration = Calibration { simulations, seed: 5 };
    let mut watch = |_: usize| ControlFlow::Continue(());
    session::sbc(&bound, options, calibration, &mut || 0.0, &mut watch).expect("it runs")
}

fn slow() -> bool {
    std::env::var("RUN_SLOW_TESTS").is_ok_and(|v| v == "1")
}

fn options(infer: &str, guide: Option<&str>) -> RunOptions {
    RunOptions { infer: Some(infer.to_string()), guide: guide.map(str::to_string), ..RunOptions::default() }
}

fn check(name: &str, report: &Report) {
    assert!(report.failed == 0 && report.limit() <= LEVEL, "{name}: {report:?}");
    assert!(report.broken().is_empty(), "{name}:\n{}", report.text(true));
}

const NUTS: &str = "infer nuts { chains = 1, warmup = 300, draws = 500 }\n";
const SVI: &str = "infer svi { steps = 4000, optimizer = adam(0.02), schedule = cosine }\n";
const LINE: &str = "data x: real[N] = [-1.0, -0.5, 0.2, 0.9, 1.4]\ndata y: real[N]\nmodel {\n  a ~ Normal(0, 1)\n  b ~ Normal(1, 2)\n  \
                    y ~ Normal(a + b * x, 0.7)\n}\n";
const SCALE: &str =
    "size N = 8\ndata y: real[N]\nmodel {\n  m ~ Normal(0, 2)\n  s ~ Gamma(3, 2)\n  y ~ Normal(m, s)\n}\n";
const MIXTURE: &str = "size N = 12\ndata y: real[N]\nmodel {\n  w ~ Beta(2, 2)\n  m ~ Normal(1.5, 0.5)\n  z: int[N] ~ Bernoulli(w)\n  \
                       y ~ Normal(where(z == 1, m, -m), 1.0)\n}\n";

/// Name, model.
const OTHERS: [(&str, &str); 7] = [
    ("counts", "size N = 10\ndata y: int[N] in 0..\nmodel {\n  r ~ Gamma(3, 1)\n  y ~ Poisson(r)\n}\n"),
    ("share", "size N = 6\ndata y: int[N] in 0..\nmodel {\n  p ~ Beta(2, 3)\n  y ~ Binomial(9, p)\n}\n"),
    (
        "schools",
        "data s: real[J] = [15.0, 10, 16, 11, 9]\ndata y: real[J]\nmodel {\n  mu ~ Normal(0, 10)\n  tau ~ HalfNormal(10)\n  \
         theta: real[J] ~ Normal(mu, tau)\n  y ~ Normal(theta, s)\n}\n",
    ),
    (
        "simplex",
        "size N = 15\ndata y: int[N] in 0..3\nmodel {\n  p: real[3] ~ Dirichlet([2.0, 3.0, 1.5])\n  y ~ Categorical(p)\n}\n",
    ),
    (
        "logistic",
        "data x: real[N] = [-2.0, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2]\ndata y: int[N] in 0..2\nmodel {\n  a ~ Normal(0, 1)\n  \
         b ~ Normal(0, 1.5)\n  y ~ Bernoulli(logits = a + b * x)\n}\n",
    ),
    (
        "robust",
        "size N = 9\ndata y: real[N]\nmodel {\n  m ~ Normal(0, 3)\n  s ~ LogNormal(0, 0.5)\n  y ~ StudentT(4, m, s)\n}\n",
    ),
    (
        "walk",
        "size T = 8\ndata y: real[T]\nmodel {\n  s ~ HalfNormal(1)\n  step: real[T] ~ Normal(0, 1)\n  level = cumsum(s * step)\n  \
         y ~ Normal(level, 0.5)\n}\n",
    ),
];

#[test]
fn right_posteriors_have_uniform_ranks() {
    let n = if slow() { 200 } else { 60 };
    check("line by nuts", &calibrate(&format!("{LINE}{NUTS}"), n, &options("nuts", None)));
    check("line by laplace", &calibrate(LINE, n, &options("laplace", None)));
    check("line by full_rank", &calibrate(&format!("{LINE}{SVI}"), n, &options("svi", Some("full_rank"))));
    check("scale by nuts", &calibrate(&format!("{SCALE}{NUTS}"), n, &options("nuts", None)));
    let mixture = calibrate(&format!("{MIXTURE}{NUTS}"), n, &options("nuts", None));
    // The latents that are summed out are drawn back: they are ranked too.
    assert_eq!(mixture.ranked.len(), 14);
    check("mixture by nuts", &mixture);
}

#[test]
fn seven_more_models_are_calibrated() {
    if !slow() {
        return;
    }
    for (name, text) in OTHERS {
        check(name, &calibrate(&format!("{text}{NUTS}"), 200, &options("nuts", None)));
    }
}

/// A family that is too narrow by far is caught, with its direction.
#[test]
fn wrong_posteriors_have_not() {
    let correlated =
        "data y: real[N] = [0.0, 0.0]\nmodel {\n  a ~ Normal(0, 2)\n  b ~ Normal(0, 2)\n  y ~ Normal(a + b, 0.7)\n}\n";
    let report = calibrate(&format!("{correlated}{SVI}"), 100, &options("svi", Some("mean_field")));
    let broken = report.broken();
    assert_eq!(broken, ["a", "b"], "{}", report.text(true));
    assert!(report.text(true).contains("draws too narrow"), "{}", report.text(true));
    let right = calibrate(&format!("{correlated}{SVI}"), 100, &options("svi", Some("full_rank")));
    check("correlated by full_rank", &right);
}
