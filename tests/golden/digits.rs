//! The Bayesian convolutional network for digits. The whole example, over three seeds, runs with RUN_SLOW_TESTS=1.

use crate::common::*;
use bayesc::report::fit::{Fit, Precision};
use bayesc::session::RunOptions;

fn is_finite(fit: &Fit) {
    assert!(fit.trace.iter().all(|r| r.elbo.is_finite() && r.gradient_norm.is_finite()));
    assert!(fit.params.iter().all(|p| p.data.iter().all(|x| x.is_finite())));
    assert!(fit.quantities.iter().all(|q| (0..q.data.len()).all(|i| q.data.get(i).is_finite())));
    assert!(fit.evaluation.iter().all(|(_, m)| m.values.iter().all(|(_, v)| v.is_finite())));
    let (elbo, error) = elbo_of(fit);
    assert!(elbo.is_finite() && error.is_finite());
}
fn score(fit: &Fit, name: &str) -> f64 {
    fit.evaluation[0].1.get(name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn a_few_epochs_learn_digits() {
    let c = example("digits_cnn.bayes", |t| t.replace("epochs      = 40", "epochs = 3\n  draws = 30"));
    let fit = fit_with(&c, &RunOptions::default());
    assert_eq!(fit.precision, Precision::F32);
    assert_eq!(fit.evaluation[0].0, "labels");
    is_finite(&fit);
    assert!(score(&fit, "accuracy") > 0.6, "accuracy {}", score(&fit, "accuracy"));
    let (first, last) = (&fit.trace[..10], &fit.trace[fit.trace.len() - 10..]);
    let mean = |rows: &[bayesc::report::fit::TraceRow]| rows.iter().map(|r| r.elbo).sum::<f64>() / rows.len() as f64;
    assert!(mean(last) > mean(first), "the ELBO rises");
}

#[test]
fn digits_reach_their_scores_on_three_seeds() {
    if std::env::var("RUN_SLOW_TESTS").as_deref() != Ok("1") {
        return;
    }
    let c = example("digits_cnn.bayes", |t| t);
    let (mut accuracies, mut nlls) = (Vec::new(), Vec::new());
    for seed in 1..=3 {
        let fit = fit_with(&c, &RunOptions { seed: Some(seed), ..RunOptions::default() });
        is_finite(&fit);
        accuracies.push(score(&fit, "accuracy"));
        nlls.push(score(&fit, "nll"));
        // The posterior is neither the prior nor a point: weights keep a spread between the two.
        for (name, fan) in [("h1.weight.scale", 9.0f64), ("h2.weight.scale", 144.0), ("logits.weight.scale", 128.0)] {
            let prior = (2.0 / fan).sqrt();
            let scales: Vec<f64> = params(&fit, name).iter().map(|&x| softplus(x)).collect();
            let ratio = mean(&scales) / prior;
            assert!((0.1..1.05).contains(&ratio), "seed {seed}: mean scale of {name} is {ratio} of the prior's");
        }
    }
    assert!(mean(&accuracies) >= 0.95, "accuracy {accuracies:?}");
    assert!(mean(&nlls) <= 0.195, "nll {nlls:?}");
}
