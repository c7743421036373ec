//! Chains of nuts that start at draws of pathfinder: where the mass is, in the coordinates of the chains.

use crate::common::*;
use bayesc::report::summary::Summary;
use bayesc::session::{Failure, RunOptions};
use std::sync::Arc;

/// Far from where chains start by themselves, whether sites are written in standard variables or not.
const FAR: &str = "data y: real[J] = [1003, 998, 1001, 999, 1010, 995]\nmodel {\n  mu ~ Normal(0, 10_000)\n  \
                   tau ~ HalfNormal(10)\n  theta: real[J] ~ Normal(mu, tau)\n  y ~ Normal(theta, 2)\n}\n";
/// Peaks at -3 and 3 of which the one has a thousandth of the mass, and no way between them.
const PEAKS: &str =
    "model {\n  x ~ Flat()\n  factor logsumexp([log(0.001), log(0.999)] - 0.5 * ((x - [-3, 3]) / 0.1) ^ 2)\n}\n";

#[test]
fn chains_start_where_the_mass_is() {
    for reparam in ["centered", "noncentered"] {
        let settings = format!("chains = 4, warmup = 0, draws = 4, seed = 5, reparam = {reparam}");
        let furthest = |start: &str| {
            let fit = fit(&format!("{FAR}infer nuts {{ {settings}, start = {start} }}\n"));
            let off = |element: usize| draws(&fit.quantities, "theta", element).into_iter().map(|x| (x - 1000.0).abs());
            (0..6).flat_map(off).fold(0.0f64, f64::max)
        };
        // The posterior is within 20 of 1,000, and four draws without warmup go nowhere from far away.
        assert!(furthest("pathfinder") < 25.0, "{reparam}: {}", furthest("pathfinder"));
        assert!(furthest("uniform") > 100.0, "{reparam}: {}", furthest("uniform"));
    }
}

#[test]
fn a_low_peak_catches_no_chain() {
    for seed in 1..4 {
        let rhat = |start: &str| {
            let fit = fit(&format!("{PEAKS}infer nuts {{ seed = {seed}, start = {start} }}\n"));
            let x = draws(&fit.quantities, "x", 0);
            (Summary::of(&fit, false).diagnostics.max_rhat.expect("four chains"), mean(&x))
        };
        let (agree, x) = rhat("pathfinder");
        assert!(agree < 1.01, "R-hat {agree} with seed {seed}");
        // Four standard errors of 1,000 effective draws.
        assert_close(x, 3.0, 4.0 * 0.1 / 1000f64.sqrt(), "the mean of the high peak");
        let (apart, _) = rhat("uniform");
        assert!(apart > 1.5, "chains that start anywhere end at both peaks: R-hat {apart} with seed {seed}");
    }
}

#[test]
fn two_places_to_start_from_are_refused() {
    let other = fit(&format!("{FAR}infer nuts {{ warmup = 10, draws = 4 }}\n"));
    let options = RunOptions { init: Some(Arc::new(other)), ..RunOptions::default() };
    let both = compile(&format!("{FAR}infer nuts {{ start = pathfinder }}\n"));
    let Err(Failure::Diagnostics(diags)) = try_fit(&both, &options) else { panic!("it is refused") };
    let message = &diags.iter().next().expect("one message").message;
    assert_eq!(message, "`start = pathfinder` and `--init` both say where to start");
}
