//! Fits that start from another fit of the same model.

use crate::common::*;
use bayesc::report::fit::Fit;
use bayesc::session::{Failure, RunOptions};
use std::sync::Arc;

/// Far from where fits start by themselves.
const FAR: &str = "data y: real[N] = [1000.5, 999, 1001, 1000]\nmodel {\n  mu ~ Normal(0, 10_000)\n  s ~ HalfNormal(5)\n  \
                   y ~ Normal(mu, s)\n}\n";

fn with(infer: &str, init: &Fit) -> Fit {
    let options = RunOptions { init: Some(Arc::new(init.clone())), ..RunOptions::default() };
    fit_with(&compile(&format!("{FAR}{infer}")), &options)
}

fn sampled() -> Fit {
    fit(&format!("{FAR}infer nuts {{ chains = 2, warmup = 500, draws = 500, seed = 1 }}\n"))
}

fn mean_sd(x: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    (mean, (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

#[test]
fn guides_start_at_means_and_standard_deviations() {
    let nuts = sampled();
    let one = "steps = 1, optimizer = sgd(1e-12), draws = 10";
    let svi = with(&format!("guide mean_field\ninfer svi {{ {one} }}\n"), &nuts);
    // In unconstrained space: mu itself, the logarithm of s.
    let mu = mean_sd(&draws(&nuts.quantities, "mu", 0));
    let s: Vec<f64> = draws(&nuts.quantities, "s", 0).iter().map(|x| x.ln()).collect();
    let s = mean_sd(&s);
    // Of 400 of the 1,000 draws.
    assert_close(params(&svi, "mu.loc")[0], mu.0, 0.1 * mu.1, "the location of mu");
    assert_close(softplus(params(&svi, "mu.scale")[0]), mu.1, 0.15 * mu.1, "the scale of mu");
    assert_close(params(&svi, "s.loc")[0], s.0, 0.1 * s.1, "the location of s");
    assert_close(softplus(params(&svi, "s.scale")[0]), s.1, 0.15 * s.1, "the scale of s");
    let full = with(&format!("guide full_rank\ninfer svi {{ {one} }}\n"), &nuts);
    assert_close(params(&full, "full_rank.loc")[0], mu.0, 0.1 * mu.1, "the joint location");
    assert_close(softplus(params(&full, "full_rank.scale_tril")[0]), mu.1, 0.15 * mu.1, "the joint factor");
    // A fit of the same guide goes on with its own parameters.
    let fitted = fit(&format!("{FAR}guide mean_field\ninfer svi {{ steps = 300, draws = 10 }}\n"));
    let again = with(&format!("guide mean_field\ninfer svi {{ {one} }}\n"), &fitted);
    for (a, b) in fitted.params.iter().zip(&again.params) {
        assert_eq!(a.name, b.name);
        a.data.iter().zip(&b.data).for_each(|(a, b)| assert_close(*b, *a, 1e-5, &again.params[0].name));
    }
}

#[test]
fn chains_and_searches_start_there() {
    let nuts = sampled();
    let svi = with("guide mean_field\ninfer svi { steps = 500, draws = 100 }\n", &nuts);
    let chains = with("infer nuts { chains = 3, warmup = 0, draws = 4, seed = 2 }\n", &svi);
    for draw in draws(&chains.quantities, "mu", 0) {
        assert!((draw - 1000.0).abs() < 20.0, "without warmup the chains are there: {draw}");
    }
    let map = with("infer map { restarts = 1 }\n", &svi);
    let cold = fit(&format!("{FAR}infer map {{ restarts = 1 }}\n"));
    let steps = |f: &Fit| f.mode.expect("a search").steps;
    assert!(steps(&map) < steps(&cold), "{} and {} steps", steps(&map), steps(&cold));
    let laplace = with("infer laplace { restarts = 1 }\n", &map);
    assert_close(mean_sd(&draws(&laplace.quantities, "mu", 0)).0, 1000.1, 0.5, "the mode");
}

#[test]
fn standard_variables_are_found() {
    let schools = "data y: real[J] = [28, 8, -3, 7, -1, 1, 18, 12]\ndata sigma: real[J] = [15, 10, 16, 11, 9, 11, 10, 18]\n\
                   model {\n  mu ~ Normal(0, 5)\n  tau ~ HalfNormal(5)\n  theta: real[J] ~ Normal(mu, tau)\n  y ~ Normal(theta, sigma)\n}\n";
    let infer = "infer nuts { chains = 2, warmup = 0, draws = 4, max_depth = 1, reparam = noncentered }\n";
    let first = fit(&format!("{schools}guide mean_field\ninfer svi {{ steps = 2000, draws = 50, seed = 3 }}\n"));
    let mut shifted = first.clone();
    // Draws that no start by itself would give: theta = mu + 3 tau.
    let (mu, tau) = (draws(&first.quantities, "mu", 0), draws(&first.quantities, "tau", 0));
    let theta: Vec<f64> = mu.iter().zip(&tau).flat_map(|(m, t)| vec![m + 3.0 * t; 8]).collect();
    let at = shifted.quantities.iter().position(|q| q.name == "theta").expect("a site");
    shifted.quantities[at].data = bayesc::report::fit::Draws::F64(theta);
    let options = RunOptions { init: Some(Arc::new(shifted)), ..RunOptions::default() };
    let fit = fit_with(&compile(&format!("{schools}{infer}")), &options);
    let (mu, tau) = (draws(&fit.quantities, "mu", 0), draws(&fit.quantities, "tau", 0));
    let theta = draws(&fit.quantities, "theta", 0);
    let z: Vec<f64> = theta.iter().zip(mu.iter().zip(&tau)).map(|(x, (m, t))| (x - m) / t).collect();
    assert!(z[0] > 1.5 && z[4] > 1.5, "the first draws of both chains are near 3 standard deviations: {z:?}");
}

#[test]
fn a_fit_of_another_model_is_refused() {
    let other = fit("data y: real[N] = [1, 2]\nmodel {\n  m ~ Normal(0, 1)\n  y ~ Normal(m, 1)\n}\nguide mean_field\n\
                     infer svi { steps = 5, draws = 5 }\n");
    let options = RunOptions { init: Some(Arc::new(other)), ..RunOptions::default() };
    match try_fit(&compile(&format!("{FAR}infer nuts {{ chains = 1 }}\n")), &options) {
        Err(Failure::Fit { message, .. }) => {
            assert!(message.contains("it has no `mu`") && message.contains("it has `m`"), "{message}");
        }
        other => panic!("it is not refused: {other:?}"),
    }
}
