//! The same seed gives the same bits: at every repetition, with any number of threads.

use crate::common::*;
use bayesc::driver::Compilation;
use bayesc::kernels::threads::set_threads;
use bayesc::report::fit::{Draws, Fit};
use bayesc::session::RunOptions;

/// Everything in a fit but the time that it took, as bits.
fn bits(fit: &Fit) -> Vec<u64> {
    let mut all: Vec<u64> = fit.params.iter().flat_map(|p| p.data.iter().map(|x| x.to_bits())).collect();
    for row in &fit.trace {
        all.extend([row.step, row.elbo.to_bits(), row.gradient_norm.to_bits(), row.learning_rate.to_bits()]);
    }
    for q in &fit.quantities {
        match &q.data {
            Draws::F32(v) => all.extend(v.iter().map(|x| u64::from(x.to_bits()))),
            Draws::F64(v) => all.extend(v.iter().map(|x| x.to_bits())),
        }
    }
    let (elbo, error) = elbo_of(fit);
    all.extend([elbo.to_bits(), error.to_bits()]);
    all.extend(fit.diagnostics.pareto_k.map(f64::to_bits));
    for (_, metrics) in &fit.evaluation {
        all.extend(metrics.values.iter().map(|(_, v)| v.to_bits()));
    }
    all
}
fn compare(c: &Compilation, options: &RunOptions) -> Fit {
    let mut first: Option<(Fit, Vec<u64>)> = None;
    for threads in [1, 1, 2] {
        set_threads(threads);
        let fit = fit_with(c, options);
        let now = bits(&fit);
        match &first {
            Some((_, before)) => assert!(*before == now, "a fit with {threads} threads differs"),
            None => first = Some((fit, now)),
        }
    }
    let (fit, before) = first.expect("three fits");
    let other = fit_with(c, &RunOptions { seed: Some(12_345), ..options.clone() });
    assert!(bits(&other) != before, "another seed gives another fit");
    fit
}

#[test]
fn eight_schools_are_the_same_to_the_bit() {
    let c = example("eight_schools.bayes", |t| t.replace("steps = 20_000", "steps = 500"));
    for guide in ["mean_field", "full_rank"] {
        let options = RunOptions { infer: Some("svi".into()), guide: Some(guide.into()), ..RunOptions::default() };
        assert_eq!(compare(&c, &options).trace.len(), 500);
    }
}

/// A network on 100 images, so that the last minibatch is a short one; the second layer is wide enough to be shared by
/// threads.
fn network(settings: &str) -> Compilation {
    example("digits_cnn.bayes", |t| {
        t.replace("[:, new]", "[..100, new]")
            .replace("train-labels-idx1-ubyte\")", "train-labels-idx1-ubyte\")[..100]")
            .replace("test-labels-idx1-ubyte\")", "test-labels-idx1-ubyte\")[..100]")
            .replace("epochs      = 40", settings)
    })
}

/// Noise that the layers draw themselves does not depend on who draws it.
#[test]
fn estimators_are_the_same_to_the_bit() {
    for estimator in ["flipout", "local_reparam", "exact"] {
        let c = network(&format!("epochs = 1\n  draws = 2\n  estimator = {estimator}"));
        compare(&c, &RunOptions::default());
    }
}

#[test]
fn a_network_is_the_same_to_the_bit() {
    let fit = compare(&network("epochs = 3\n  draws = 20"), &RunOptions::default());
    assert_eq!(fit.trace.len(), 6);
    assert_eq!(fit.evaluation[0].1.get("count"), Some(100.0));
}
