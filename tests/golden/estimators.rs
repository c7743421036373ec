//! Estimators that do not share the noise of a weight: the same mean of quadratic forms of the outputs, within a position
//! and between positions, and a quieter sum over rows.

use crate::common::*;
use bayesc::check::settings::{EstimatorChoice, KlChoice};
use bayesc::lower::estimators::{Estimator, choose};
use bayesc::rng::Key;

/// `(data and model before the layer, the layer, the estimator of its weight)`
const LAYERS: &[(&str, &str, Estimator)] = &[
    ("  w: real[3, 2, 2] ~ Normal(0, 1)\n", "conv1d(x1, w, pad = same)", Estimator::Flipout),
    ("  w: real[3, 4] ~ Normal(0, 1)\n", "conv1d(x1, reshape(w, [3, 2, 2]))", Estimator::Flipout),
    ("  w: real[3, 8] ~ Normal(0, 1)\n", "conv2d(x2, reshape(w, [3, 2, 2, 2]))", Estimator::Flipout),
    (
        "  w: real[3, 1, 2, 2] ~ Normal(0, 1)\n",
        "conv_transpose2d(x2[:, ..1], transpose(reshape(w, [1, 3, 2, 2])))",
        Estimator::Flipout,
    ),
    ("  w: real[2, 3, 2] ~ Normal(0, 1)\n", "conv_transpose1d(x1, w, stride = 2)", Estimator::Flipout),
    ("  w: real[3, 4] ~ Normal(0, 1)\n", "dense(x1[:, 0, :], transpose(w))", Estimator::LocalReparam),
];

fn program(site: &str, layer: &str) -> String {
    let mut random = Random(3);
    let rows = |random: &mut Random, n: usize| matrix_literal(&(0..5).map(|_| random.normals(n)).collect::<Vec<_>>());
    let (x1, x2) = (rows(&mut random, 8), rows(&mut random, 18));
    // Squares see variances, squares of sums over positions see covariances.
    format!(
        "data a: real[N, 8] = {x1}\ndata b: real[N, 18] = {x2}\nmodel {{\n{site}  x1 = reshape(a, [N, 2, 4])\n  \
         x2 = reshape(b, [N, 2, 3, 3])\n  h = flatten({layer})\n  \
         factor -0.5 * sum((h - 0.3) ^ 2, over = all) - 0.2 * sum(sum(h, axis = -1) ^ 2)\n}}\n\
         guide {{\n  w ~ Normal(?, ?)\n}}\n"
    )
}

#[test]
fn means_are_those_of_one_shared_draw() {
    for (site, layer, estimator) in LAYERS {
        let text = program(site, layer);
        let c = compile(&text);
        let choice = choose(&c.program, &c.program.guides[0], EstimatorChoice::Auto);
        assert_eq!(choice[0].estimator, *estimator, "{layer}: {}", choice[0].reason);
        let exact = choose(&c.program, &c.program.guides[0], EstimatorChoice::Exact);
        assert_eq!(exact[0].estimator, Estimator::Exact, "{layer}: {}", exact[0].reason);
        let mut results = Vec::new();
        for estimator in
            [EstimatorChoice::Reparam, EstimatorChoice::Auto, EstimatorChoice::Flipout, EstimatorChoice::Exact]
        {
            let mut e = Elbo::new(&text, KlChoice::Auto);
            e.estimator = estimator;
            let mut p = e.start(0);
            e.set(&mut p, "w.loc", &[0.3, -0.2, 0.5]);
            e.set(&mut p, "w.scale", &[0.1, -0.4]);
            let mut values = Vec::new();
            let mut slopes = Vec::new();
            for seed in 0..4_000 {
                let v = e.at(&p, Key::new(seed), None);
                values.push(v.elbo);
                slopes.push(v.gradient.iter().enumerate().map(|(i, g)| g * (1.0 + i as f64 * 0.1)).sum::<f64>());
            }
            results.push((mean_and_error(&values), mean_and_error(&slopes)));
        }
        let shared = results[0];
        for (name, own) in ["auto", "flipout", "exact"].iter().zip(&results[1..]) {
            for (what, (a, b)) in [("elbo", (shared.0, own.0)), ("gradient", (shared.1, own.1))] {
                let error = a.1.hypot(b.1);
                assert!(
                    (a.0 - b.0).abs() < 4.5 * error,
                    "{layer}, {name}: {what} {} ± {}, shared {} ± {}",
                    b.0,
                    b.1,
                    a.0,
                    a.1
                );
            }
            // Rows that are independent cancel: the average over them is quieter than with one draw for all. Signs cancel
            // less where few weights are squared: a square of one of them has no sign.
            let (shared, own) = (shared.0.1, own.0.1);
            let most = if *name == "flipout" { 1.0 } else { 0.9 };
            assert!(own < most * shared, "{layer}, {name}: {own}, shared {shared}");
        }
    }
}

#[test]
fn a_draw_for_every_row_needs_a_normal_guide() {
    let text = program("  w: real[3, 2, 2] ~ Normal(0, 1)\n", "conv1d(x1, w, pad = same)");
    let c = compile(&text.replace("w ~ Normal(?, ?)", "w ~ Laplace(?, ?)"));
    let choice = &choose(&c.program, &c.program.guides[0], EstimatorChoice::Exact)[0];
    assert_eq!((choice.estimator, choice.reason), (Estimator::Shared, "a draw for every row needs a normal guide"));
}

#[test]
fn a_weight_that_the_guide_encodes_keeps_its_noise_apart_only_where_that_is_sound() {
    let program = |mean: &str, guide: &str| {
        format!(
            "data x: real[N, 1, 4, 4]\ndata y: real[N]\nmodel {{\n  z: real[2] ~ Normal(0, 1)\n  w: real[2, 4] ~ Normal(z[:, new], 1)\n  \
             h = sum(flatten(conv2d(x, reshape(w, [2, 1, 2, 2]))), axis = -1)\n  y ~ Normal({mean}, 1)\n}}\n\
             guide {{\n  w ~ Normal(?, ?)\n  z ~ Normal({guide}, ?)\n}}\n"
        )
    };
    for (mean, guide, expected) in [
        ("h", "sum(w, axis = -1)", Estimator::Flipout),
        // The code of the weight meets the layer's output: a flipped weight would be a stranger to it.
        ("h + z[0]", "sum(w, axis = -1)", Estimator::Shared),
        ("h + z[0]", "?", Estimator::Flipout),
        (
            "h",
            "sum(reshape(conv2d(ones([1, 1, 2, 2]), reshape(w, [2, 1, 2, 2])), [2, 1]), axis = -1)",
            Estimator::Shared,
        ),
    ] {
        let c = compile(&program(mean, guide));
        let site = c.program.model.as_ref().and_then(|m| m.sites.iter_enumerated().find(|(_, s)| s.name == "w"));
        let site = site.expect("there is such a site").0;
        let all = choose(&c.program, &c.program.guides[0], EstimatorChoice::Auto);
        let choice = all.iter().find(|c| c.site == site).expect("every site has one");
        assert_eq!(choice.estimator, expected, "{mean}, {guide}: {}", choice.reason);
    }
}
