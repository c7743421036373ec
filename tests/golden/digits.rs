//! The Bayesian convolutional network for digits. The whole example, over three seeds, runs with RUN_SLOW_TESTS=1.

use crate::common::*;
use bayesc::check::settings::KlChoice;
use bayesc::report::fit::{Fit, Precision};
use bayesc::rng::Key;
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

/// Cross-correlation of `[C, n, n]` with `[O, C, 3, 3]`, borders filled with zeros, then relu and the largest of 2 x 2.
fn layer(x: &[f64], n: usize, w: &[f64], b: &[f64]) -> Vec<f64> {
    let (outputs, channels) = (b.len(), x.len() / (n * n));
    let mut y = vec![0.0f64; outputs * n * n / 4];
    for o in 0..outputs {
        for i in 0..n {
            for j in 0..n {
                let mut sum = b[o];
                for c in 0..channels {
                    for (di, dj) in (0..3).flat_map(|di| (0..3).map(move |dj| (di, dj))) {
                        let (r, k) = (i + di, j + dj);
                        if (1..=n).contains(&r) && (1..=n).contains(&k) {
                            sum += x[(c * n + r - 1) * n + k - 1] * w[(o * channels + c) * 9 + di * 3 + dj];
                        }
                    }
                }
                let place = &mut y[(o * n / 2 + i / 2) * (n / 2) + j / 2];
                *place = place.max(sum);
            }
        }
    }
    y
}
/// Parameters by name, in the order of the program.
const SITES: [(&str, usize, f64); 6] = [
    ("h1.weight", 16 * 9, 9.0),
    ("h1.bias", 16, 2.0),
    ("h2.weight", 32 * 16 * 9, 144.0),
    ("h2.bias", 32, 2.0),
    ("logits.weight", 128 * 10, 128.0),
    ("logits.bias", 10, 2.0),
];
/// ln p(label | image, parameters).
fn log_likelihood(image: &[u8], label: u8, p: &[Vec<f64>]) -> f64 {
    let x: Vec<f64> = image.iter().map(|&b| f64::from(b) / 16.0).collect();
    let h = layer(&layer(&x, 8, &p[0], &p[1]), 4, &p[2], &p[3]);
    let logits: Vec<f64> =
        (0..10).map(|k| p[5][k] + h.iter().enumerate().map(|(i, h)| h * p[4][i * 10 + k]).sum::<f64>()).collect();
    logits[usize::from(label)] - logits.iter().map(|l| l.exp()).sum::<f64>().ln()
}

#[test]
fn the_network_is_that_of_the_formulas() {
    let folder = examples().join("data/digits");
    let read = |name: &str| std::fs::read(folder.join(name)).expect("the data are there");
    let (images, labels) = (read("train-images-idx3-ubyte"), read("train-labels-idx1-ubyte"));
    let c = example("digits_cnn.bayes", |t| t.replace("guide mean_field", "guide delta"));
    let mut e = Elbo::of(&c, KlChoice::Auto);
    let mut random = Random(40);
    let values: Vec<Vec<f64>> =
        SITES.iter().map(|(_, n, fan)| random.normals(*n).iter().map(|x| x * (2.0 / fan).sqrt()).collect()).collect();
    let mut p = e.start(0);
    for ((name, ..), v) in SITES.iter().zip(&values) {
        e.set(&mut p, &format!("{name}.loc"), v);
    }
    let rows = [0, 5, 700, 1436, 33];
    let plain = |values: &[Vec<f64>]| -> f64 {
        rows.iter().map(|&r| log_likelihood(&images[16 + 64 * r..][..64], labels[8 + r], values)).sum()
    };
    let prior = |values: &[Vec<f64>]| -> f64 { values.iter().flatten().map(|&x| log_normal(x, 0.0, 1.0)).sum() };
    let found = e.at(&p, Key::new(0), Some(&rows));
    assert_close(found.rows, plain(&values), 1e-9, "log likelihood of five images");
    assert_close(found.global, prior(&values), 1e-7, "log prior of the weights");
    let scale = 1437.0 / rows.len() as f64;
    assert_close(found.elbo, prior(&values) + scale * plain(&values), 1e-6, "their weighted sum");
    // Slopes in random directions, one site at a time.
    for (at, (name, n, _)) in SITES.iter().enumerate() {
        let direction = random.normals(*n);
        let h = 1e-6;
        let moved = |by: f64| {
            let mut v = values.clone();
            v[at].iter_mut().zip(&direction).for_each(|(x, d)| *x += by * d);
            prior(&v) + scale * plain(&v)
        };
        let slope = (moved(h) - moved(-h)) / (2.0 * h);
        let slot = e.slots.list.iter().find(|s| s.name == format!("{name}.loc")).expect("a slot");
        let gradient = &found.gradient[slot.offset..slot.offset + n];
        let got: f64 = -gradient.iter().zip(&direction).map(|(g, d)| g * d).sum::<f64>();
        assert_close(got, slope, 1e-4 * (1.0 + slope.abs()), &format!("slope along {name}"));
    }
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
        // The posterior is neither the prior, `Normal(0, 1)`, nor a point: weights keep a spread between the two.
        for name in ["h1.weight.scale", "h2.weight.scale", "logits.weight.scale"] {
            let scales: Vec<f64> = params(&fit, name).iter().map(|&x| softplus(x)).collect();
            let ratio = mean(&scales);
            assert!((0.1..1.05).contains(&ratio), "seed {seed}: mean scale of {name} is {ratio} of the prior's");
        }
    }
    assert!(mean(&accuracies) >= 0.95, "accuracy {accuracies:?}");
    assert!(mean(&nlls) <= 0.195, "nll {nlls:?}");
}
