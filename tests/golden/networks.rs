//! Nets inside models and guides: the autoencoder of digits, the convolution whose kernels have a code, the horseshoe.
//! A few epochs here; the whole examples, against their baselines, run with RUN_SLOW_TESTS=1.

use crate::common::*;
use bayesc::report::fit::Fit;
use bayesc::session::RunOptions;

/// The convolution of `hyper_conv.bayes` with independent kernels.
const PLAIN: &str = "use bnn
data images: real[N, 1, 8, 8] = idx(\"data/digits/train-images-idx3-ubyte\")[:, new] / 16
data labels: int[N] in 0..10  = idx(\"data/digits/train-labels-idx1-ubyte\")
model {
  h ~ bnn.conv2d(images, 16, kernel = 3, pad = same, bias = false)
  logits ~ bnn.dense(h |> relu |> max_pool2d(2) |> flatten, 10)
  labels ~ Categorical(logits = logits)
}
guide mean_field
infer svi {
  minibatch N = 64
  epochs      = 60
  optimizer   = adam(2e-3)
}
evaluate {
  images = idx(\"data/digits/test-images-idx3-ubyte\")[:, new] / 16
  labels = idx(\"data/digits/test-labels-idx1-ubyte\")
}
";

fn slow() -> bool {
    std::env::var_os("RUN_SLOW_TESTS").is_some()
}
fn with_epochs(text: String, epochs: usize) -> String {
    let line = text.lines().find(|l| l.trim_start().starts_with("epochs")).expect("epochs are said").to_string();
    text.replace(&line, &format!("  epochs = {epochs}, draws = 100"))
}
fn score(fit: &Fit, name: &str, metric: &str) -> f64 {
    let (_, metrics) = fit.evaluation.iter().find(|(n, _)| n == name).expect("it is scored");
    metrics.get(metric).unwrap_or_else(|| panic!("no {metric} in {metrics:?}"))
}
fn is_finite(fit: &Fit) {
    assert!(fit.trace.iter().all(|r| r.elbo.is_finite() && r.gradient_norm.is_finite()));
    assert!(fit.quantities.iter().all(|q| (0..q.data.len()).all(|i| q.data.get(i).is_finite())));
    assert!(fit.evaluation.iter().all(|(_, m)| m.values.iter().all(|(_, v)| v.is_finite())));
}

/// ln of the normalizer of the continuous Bernoulli, 2 artanh(1 - 2 p) / (1 - 2 p), and its mean (Loaiza-Ganem &
/// Cunningham 2019, arXiv:1907.06845, eqs. 7 and 8).
fn continuous_bernoulli(p: f64) -> (f64, f64) {
    let d = 1.0 - 2.0 * p;
    if d.abs() < 1e-5 {
        return (2f64.ln(), 0.5);
    }
    ((2.0 * d.atanh() / d).ln(), p / (2.0 * p - 1.0) + 1.0 / (2.0 * d.atanh()))
}
/// The held-out log density of an image [nats] under independent pixels whose means are those of the training images.
fn pixel_means() -> f64 {
    let folder = examples().join("data/digits");
    let read = |name: &str| {
        let bytes = std::fs::read(folder.join(name)).expect("the data are there");
        bytes[16..].iter().map(|&b| f64::from(b) / 16.0).collect::<Vec<_>>()
    };
    let (train, test) = (read("train-images-idx3-ubyte"), read("test-images-idx3-ubyte"));
    let images = (test.len() / 64) as f64;
    (0..64)
        .map(|pixel| {
            let column = |x: &[f64]| x.iter().skip(pixel).step_by(64).copied().collect::<Vec<_>>();
            // Pixels that are always blank would have an infinite density at 0.
            let target = mean(&column(&train)).clamp(0.05, 0.95);
            let (mut low, mut high) = (1e-12, 1.0 - 1e-12);
            for _ in 0..200 {
                let p = 0.5 * (low + high);
                if continuous_bernoulli(p).1 < target { low = p } else { high = p }
            }
            let p = 0.5 * (low + high);
            let (log_c, _) = continuous_bernoulli(p);
            column(&test).iter().map(|x| x * p.ln() + (1.0 - x) * (1.0 - p).ln() + log_c).sum::<f64>()
        })
        .sum::<f64>()
        / images
}

fn autoencoder(epochs: usize) -> Fit {
    let c = example("vae.bayes", |t| with_epochs(t, epochs));
    fit_with(&c, &RunOptions::default())
}

#[test]
fn the_autoencoder_beats_pixel_means() {
    let fit = autoencoder(if slow() { 100 } else { 3 });
    is_finite(&fit);
    let held_out = -score(&fit, "x", "nll");
    let baseline = pixel_means();
    println!("held out: {held_out} nats per image, pixel means {baseline}");
    // A few epochs only lead away from uniform pixels, which have a density of 1.
    let least = if slow() { baseline + 50.0 } else { 20.0 };
    assert!(held_out > least, "{held_out} nats per image, pixel means {baseline}");
    // The weights of the draws have seen the images: the estimate says so.
    assert!(fit.notes.iter().any(|n| n.contains("importance sampling")), "{:?}", fit.notes);
    // Sixteen new images of the declared shape.
    let new = quantity(&fit.quantities, "x_new");
    assert_eq!(new.shape, [16, 1, 8, 8]);
    assert!((0..new.data.len()).all(|i| (0.0..=1.0).contains(&new.data.get(i))));
    let names: Vec<&str> = fit.params.iter().map(|p| p.name.as_str()).collect();
    for name in
        ["encoder.conv2d.weight", "encoder.conv2d_2.bias", "encoder.dense_2.weight", "decoder.conv_transpose2d_2.bias"]
    {
        assert!(names.contains(&name), "no {name} in {names:?}");
    }
}

#[test]
fn the_held_out_log_likelihood_is_that_of_the_exact_model() {
    // x = z + noise, both standard normal: x ~ Normal(0, sqrt 2). The guide is off, the weights make up for it.
    let mut random = Random(6);
    let (x, new) = (random.normals(40), random.normals(30));
    let text = format!(
        "data x: real[N] = {}\nmodel {{\n  z: real[N] ~ Normal(0, 1)\n  x ~ Normal(z, 1)\n}}\n\
         guide {{\n  param a: real = 0.4\n  z ~ Normal(a * x, 0.8)\n}}\ninfer svi {{ steps = 1, draws = 1_000 }}\n\
         evaluate {{\n  x = {}\n}}\n",
        literal(&x),
        literal(&new)
    );
    let fit = fit(&text);
    let exact = -mean(&new.iter().map(|&x| log_normal(x, 0.0, 2f64.sqrt())).collect::<Vec<_>>());
    assert_close(score(&fit, "x", "nll"), exact, 0.02, "nll");
}

#[test]
fn kernels_with_a_code_are_learned() {
    let c = example("hyper_conv.bayes", |t| with_epochs(t, if slow() { 60 } else { 2 }));
    if !slow() {
        let fit = fit_with(&c, &RunOptions::default());
        is_finite(&fit);
        let accuracy = score(&fit, "labels", "accuracy");
        assert!(accuracy > 0.3, "{accuracy} after two epochs");
        return;
    }
    let folder = examples();
    let mut none = |path: &str, _: Option<&std::path::Path>| Err(format!("`{path}` is not there"));
    let plain = folder.join("plain.bayes");
    let plain = bayesc::driver::compile("plain.bayes", Some(plain), PLAIN, &Default::default(), &mut none);
    assert!(!plain.diags.has_errors());
    // One image of the 360 is 0.3 points, and seeds differ by one point: the average over eight of them is compared.
    let average = |c: &bayesc::driver::Compilation| {
        let of =
            |seed| score(&fit_with(c, &RunOptions { seed: Some(seed), ..RunOptions::default() }), "labels", "accuracy");
        mean(&(0..8).map(of).collect::<Vec<_>>())
    };
    let (coded, plain) = (average(&c), average(&plain));
    println!("accuracy {coded}, independent kernels {plain}");
    assert!(coded >= plain - 0.01, "{coded}, independent kernels {plain}");
}

#[test]
fn a_guide_over_two_layers_of_latents_finds_the_posterior() {
    // b ~ N(0, 1), a | b ~ N(b, 1), y | a ~ N(a, 1) at y = 3: E b = 1, E a = 2, Var a = 2 / 3, Var b = 2 / 3.
    let text = "data y: real = 3\nmodel {\n  b ~ Normal(0, 1)\n  a ~ Normal(b, 1)\n  y ~ Normal(a, 1)\n}\n\
                net inner(a: real) -> (real, real) {\n  param slope: real = 0\n  param shift: real = 0\n  \
                param s: real in 0.. = 1\n  return (slope * a + shift, s)\n}\n\
                guide {\n  a ~ Normal(?, ?)\n  (m, s) = inner(a)\n  b ~ Normal(m, s)\n}\n\
                infer svi { steps = 6_000, optimizer = adam(1e-2), schedule = cosine, seed = 2 }\n";
    let fit = fit(text);
    let value = |name: &str| params(&fit, name)[0];
    assert_close(value("a.loc"), 2.0, 0.02, "E a");
    assert_close(softplus(value("a.scale")), (2.0f64 / 3.0).sqrt(), 0.02, "sd a");
    // b | a ~ N(a / 2, sqrt(1 / 2))
    assert_close(value("inner.slope"), 0.5, 0.02, "slope");
    assert_close(value("inner.shift"), 0.0, 0.05, "shift");
    assert_close(softplus(value("inner.s")), 0.5f64.sqrt(), 0.02, "sd b given a");
}

#[test]
fn the_horseshoe_finds_what_matters() {
    // Four of twenty coefficients are not zero.
    let mut random = Random(9);
    let truth = |j: usize| [2.0, -1.5, 1.0, 3.0].get(j).copied().unwrap_or(0.0);
    let rows: Vec<Vec<f64>> = (0..100).map(|_| random.normals(20)).collect();
    let y: Vec<f64> =
        rows.iter().map(|r| r.iter().enumerate().map(|(j, x)| truth(j) * x).sum::<f64>() + random.normal()).collect();
    for prior in [
        "regularized_horseshoe([D], scale = 0.1, slab = 2)",
        "horseshoe([D], scale = 0.1)",
        "r2d2([D])",
        "spike_and_slab([D], inclusion = 0.2, slab = 2)",
        "scale_mixture([D], weight = 0.8, narrow = 0.05, wide = 2)",
    ] {
        let fit = fit(&format!(
            "use priors\ndata X: real[N, D] = {}\ndata y: real[N] = {}\nmodel {{\n  keep beta ~ priors.{prior}\n  \
             y ~ Normal(X @ beta, 1)\n}}\nguide mean_field\n\
             infer svi {{ steps = 2_500, optimizer = adam(2e-2), schedule = cosine, seed = 3, draws = 500 }}\n",
            matrix_literal(&rows),
            literal(&y)
        ));
        for j in 0..20 {
            let found = mean(&draws(&fit.quantities, "beta", j));
            let tolerance = if j < 4 { 0.35 } else { 0.25 };
            assert_close(found, truth(j), tolerance, &format!("{prior}: coefficient {j}"));
        }
    }
}

#[test]
fn the_tumours_are_classified() {
    let steps = if slow() { "20_000" } else { "300" };
    let c = example("breast_cancer.bayes", |t| t.replace("20_000", steps));
    let options = RunOptions { guide: Some("mean_field".into()), infer: Some("svi".into()), ..RunOptions::default() };
    let fit = fit_with(&c, &options);
    is_finite(&fit);
    let p = quantity(&fit.quantities, "p");
    assert_eq!(p.shape, [569]);
    let text = std::fs::read_to_string(examples().join("data/breast_cancer.csv")).expect("the data are there");
    let mut lines = text.lines();
    let at =
        lines.next().expect("a header").split(',').position(|n| n.trim_matches('"') == "benign").expect("a column");
    let right = lines
        .enumerate()
        .filter(|(i, line)| {
            let benign = line.split(',').nth(at).expect("a cell").trim() == "1";
            (mean(&draws(&fit.quantities, "p", *i)) > 0.5) == benign
        })
        .count();
    let needed = if slow() { 0.97 } else { 0.93 };
    assert!(right as f64 >= needed * 569.0, "{right} of 569 are right");
}
