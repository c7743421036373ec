//! Minibatches are unbiased: over any partition the gradients, weighted by the rows of each part, add up to that of all
//! data, to rounding, when nothing but the global sites is random.

use crate::common::*;
use bayesc::check::settings::KlChoice;
use bayesc::rng::Key;

const X: [f64; 7] = [0.3, -1.2, 2.2, 0.8, -0.4, 1.9, -2.5];
const Y: [f64; 7] = [0.9, -0.7, 2.9, 1.2, 0.1, 1.7, -1.8];

/// A local latent, a global scale, a slope on data that are standardized by all rows.
fn program(guide: &str, batch: &str) -> String {
    format!(
        "data x: real[N] = {}\ndata y: real[N] = {}\nmodel {{\n  a ~ Normal(0, 1)\n  b ~ Normal(0, 1)\n  s ~ HalfNormal(1)\n  \
         xs = (x - mean(x)) / sd(x)\n  theta: real[N] ~ Normal(a + b * xs, 0.8)\n  y ~ Normal(theta, s)\n}}\n{guide}\n\
         infer svi {{ {batch} epochs = 3 }}\n",
        literal(&X),
        literal(&Y)
    )
}
const PARTITIONS: [&[&[usize]]; 4] = [
    &[&[0, 1, 2], &[3, 4, 5], &[6]],
    &[&[6, 2, 4], &[1, 5, 0], &[3]],
    &[&[5], &[4, 3, 2, 1, 0, 6]],
    &[&[3, 6, 0, 2, 5, 1, 4]],
];

fn compare(guide: &str, kl: KlChoice, prepare: impl Fn(&Elbo, &mut Vec<f64>), tolerance: f64) {
    compare_program(|batch| program(guide, batch), kl, prepare, tolerance);
}

/// For a program with these settings at the start of its `infer` block.
fn compare_program(
    program: impl Fn(&str) -> String,
    kl: KlChoice,
    prepare: impl Fn(&Elbo, &mut Vec<f64>),
    tolerance: f64,
) {
    let mut whole = Elbo::new(&program(""), kl);
    let mut parts = Elbo::new(&program("minibatch N = 3,"), kl);
    assert_eq!(parts.all_rows(), 7);
    let mut random = Random(11);
    let mut p: Vec<f64> = whole.start(1).iter().map(|x| x + 0.3 * random.normal()).collect();
    prepare(&whole, &mut p);
    for i in 0..3 {
        let key = Key::new(5).fold_in(i);
        let full = whole.at(&p, key, None);
        for partition in PARTITIONS {
            let (mut elbo, mut gradient) = (0.0, vec![0.0; p.len()]);
            for rows in partition {
                let share = rows.len() as f64 / 7.0;
                let v = parts.at(&p, key, Some(rows));
                assert_close(v.elbo, v.global + v.rows / share, 1e-9 * full.elbo.abs(), "scaled by N / B");
                elbo += share * v.elbo;
                gradient.iter_mut().zip(&v.gradient).for_each(|(g, d)| *g += share * d);
            }
            assert_close(elbo, full.elbo, tolerance * full.elbo.abs(), "the ELBO of a partition");
            assert_all_close(&gradient, &full.gradient, tolerance, "the gradient of a partition");
        }
    }
}

#[test]
fn partitions_add_up_under_a_point_mass() {
    compare("guide delta", KlChoice::Auto, |_, _| {}, 1e-10);
}

#[test]
fn what_has_rows_is_scaled_and_what_has_none_counts_once() {
    // The position of a row, the number of rows as a value, factors with and without rows, rows that stand second, a
    // site and an observation without rows, statistics of all rows.
    let text = |batch: &str| {
        format!(
            "data x: real[N] = {}\ndata y: real[N] = {}\ndata z: real[M] = [0.4, -0.3]\nmodel {{\n  a ~ Normal(0, 1)\n  \
             b ~ Normal(0, 1)\n  w: real[2] ~ Normal(a, 1)\n  trend = b * range(N) / N\n  both = w[:, new] * x\n  \
             total = sum(y) + mean(x)\n  y ~ Normal(a + trend + w[0] * x, 1 + 1 / N)\n  z ~ Normal(b, 1)\n  \
             observe mean(y) ~ Normal(a, 2)\n  factor -0.1 * square(a - total)\n  factor -0.2 * square(trend - y)\n  \
             factor -0.05 * square(both)\n}}\nguide delta\ninfer svi {{ {batch} epochs = 1 }}\n",
            literal(&X),
            literal(&Y)
        )
    };
    compare_program(text, KlChoice::Auto, |_, _| {}, 1e-10);
}

#[test]
fn partitions_add_up_under_mean_field() {
    // Local draws that hardly vary: which number of the noise a row gets does not matter then.
    for kl in [KlChoice::Auto, KlChoice::MonteCarlo] {
        // With Monte Carlo, ln q of a local draw is -e^2 / 2 whatever its scale: only the closed form is free of noise.
        if kl == KlChoice::Auto {
            compare("guide mean_field", kl, |e, p| e.set(p, "theta.scale", &[-28.0]), 1e-10);
        }
        let guide = "guide {\n  theta ~ delta\n  _ ~ mean_field\n}";
        compare(guide, kl, |_, _| {}, 1e-10);
    }
}

#[test]
fn partitions_add_up_on_average_with_local_noise() {
    let mut whole = Elbo::new(&program("guide mean_field", ""), KlChoice::MonteCarlo);
    let mut parts = Elbo::new(&program("guide mean_field", "minibatch N = 3,"), KlChoice::MonteCarlo);
    let p = whole.start(3);
    let mut differences: Vec<Vec<f64>> = vec![Vec::new(); p.len() + 1];
    for i in 0..3000 {
        let key = Key::new(6).fold_in(i);
        let full = whole.at(&p, key, None);
        let (mut elbo, mut gradient) = (0.0, vec![0.0; p.len()]);
        for rows in PARTITIONS[(i % 4) as usize] {
            let share = rows.len() as f64 / 7.0;
            let v = parts.at(&p, key, Some(rows));
            elbo += share * v.elbo;
            gradient.iter_mut().zip(&v.gradient).for_each(|(g, d)| *g += share * d);
        }
        differences[p.len()].push(elbo - full.elbo);
        for (at, (g, f)) in gradient.iter().zip(&full.gradient).enumerate() {
            differences[at].push(g - f);
        }
    }
    for (at, d) in differences.iter().enumerate() {
        assert_mean(d, 0.0, &format!("gradient {at} of a partition less that of all data"));
    }
}

#[test]
fn the_elbo_of_a_minibatched_fit_is_that_of_all_data() {
    let guide = "guide mean_field";
    let fit = fit(&program(guide, "minibatch N = 3, seed = 2, optimizer = adam(2e-2),"));
    let (value, error) = elbo_of(&fit);
    let mut whole = Elbo::new(&program(guide, ""), KlChoice::Auto);
    let p: Vec<f64> = fit.params.iter().flat_map(|t| t.data.clone()).collect();
    let values: Vec<f64> = (0..2000).map(|i| whole.at(&p, Key::new(8).fold_in(i), None).elbo).collect();
    let (want, e) = mean_and_error(&values);
    assert_close(value, want, 4.5 * (error * error + e * e).sqrt(), "the ELBO");
    // 3 epochs of 3, 3 and 1 rows.
    assert_eq!(fit.trace.len(), 9);
}
