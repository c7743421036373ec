//! Normals on the way to the mode: closed forms, and posteriors with exact answers.

use crate::common::*;
use bayesc::report::fit::Fit;

fn moments(fit: &Fit, name: &str) -> (f64, f64) {
    let all = draws(&fit.quantities, name, 0);
    let m = mean(&all);
    (m, (all.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (all.len() - 1) as f64).sqrt())
}

/// Regression with a known scale: the posterior is normal, with the covariance (X^T X / s^2 + I / 100)^-1.
#[test]
fn normal_posteriors_are_found_exactly() {
    let x: Vec<f64> = (0..12).map(|i| f64::from(i) / 4.0).collect();
    let y: Vec<f64> = x.iter().enumerate().map(|(i, x)| 1.0 + 2.0 * x + if i % 3 == 0 { 0.7 } else { -0.3 }).collect();
    let text = format!(
        "data x: real[N] = {}\ndata y: real[N] = {}\nmodel {{\n  a ~ Normal(0, 10)\n  b ~ Normal(0, 10)\n  y ~ Normal(a + b * x, 0.5)\n}}\n",
        literal(&x),
        literal(&y)
    );
    let w = 4.0;
    let (n, sx) = (12.0 * w + 0.01, w * x.iter().sum::<f64>());
    let sxx = w * x.iter().map(|x| x * x).sum::<f64>() + 0.01;
    let (sy, sxy) = (w * y.iter().sum::<f64>(), w * x.iter().zip(&y).map(|(x, y)| x * y).sum::<f64>());
    let det = n * sxx - sx * sx;
    let (a, b) = ((sxx * sy - sx * sxy) / det, (n * sxy - sx * sy) / det);
    let (sd_a, sd_b) = ((sxx / det).sqrt(), (n / det).sqrt());
    for restarts in [1, 4] {
        let fit = fit(&format!("{text}infer pathfinder {{ restarts = {restarts}, draws = 8000 }}\n"));
        assert_eq!(fit.algorithm, "pathfinder");
        for (name, m, sd) in [("a", a, sd_a), ("b", b, sd_b)] {
            let (mean, spread) = moments(&fit, name);
            // Five standard errors of 8,000 draws, of which importance resampling keeps half.
            assert_close(mean, m, 0.08 * sd, name);
            assert_close(spread / sd, 1.0, 0.06, name);
        }
        assert!(fit.diagnostics.pareto_k.is_some_and(|k| k < 0.5), "{:?}", fit.diagnostics);
    }
}

/// Two peaks of different mass, against quadrature: how many paths end at which does not matter.
#[test]
fn peaks_count_by_their_mass() {
    let text = "data y: real[N] = [3.1]\nmodel {\n  x ~ Normal(-0.6, 2)\n  y ~ Normal(x ^ 2, 0.2)\n}\n";
    let density = |x: f64| (log_normal(x, -0.6, 2.0) + log_normal(3.1, x * x, 0.2)).exp();
    let grid = |from: i32| (from..from + 40_000).map(|i| density(f64::from(i) * 1e-4)).sum::<f64>();
    let (left, right) = (grid(-40_000), grid(0));
    let want = right / (left + right);
    for seed in 0..3 {
        let fit = fit(&format!("{text}infer pathfinder {{ restarts = 12, draws = 4000, seed = {seed} }}\n"));
        let above = draws(&fit.quantities, "x", 0).iter().filter(|x| **x > 0.0).count() as f64 / 4000.0;
        // Five standard errors.
        assert_close(above, want, 5.0 * (want * (1.0 - want) / 4000.0).sqrt(), "the share of the right peak");
        assert!(fit.notes.iter().any(|n| n.contains("normals of 12 paths")), "{:?}", fit.notes);
    }
}

/// Many coordinates of different scales, so that the history of steps does not span them.
#[test]
fn independent_coordinates_keep_their_scales() {
    let fit = fit("model {\n  z: real[60] ~ Normal(1, 3)\n  p ~ Gamma(40, 8)\n}\ninfer pathfinder { draws = 4000 }\n");
    let (m, sd) = moments(&fit, "z");
    assert_close(m, 1.0, 0.4, "mean");
    assert_close(sd, 3.0, 0.4, "sd");
    let (m, sd) = moments(&fit, "p");
    assert_close(m, 5.0, 0.1, "mean of a gamma");
    assert_close(sd, 40f64.sqrt() / 8.0, 0.1, "sd of a gamma");
}

#[test]
fn the_same_seed_gives_the_same_draws() {
    let text =
        "data y: real[N] = [1.0, 2.0, 4.0]\nmodel {\n  m ~ Normal(0, 10)\n  s ~ HalfNormal(5)\n  y ~ Normal(m, s)\n}\n";
    let run = |seed: u64| draws(&fit(&format!("{text}infer pathfinder {{ seed = {seed} }}\n")).quantities, "s", 0);
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
