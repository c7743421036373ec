//! Guides on a linear regression with known noise, whose posterior is a normal in closed form.

use crate::common::*;

const NOISE: f64 = 0.8;
const PRIOR: f64 = 2.0;

fn rows() -> (Vec<Vec<f64>>, Vec<f64>) {
    let mut random = Random(2);
    let mut x = Vec::new();
    let mut y = Vec::new();
    for _ in 0..30 {
        let (a, b, c) = (random.normal(), random.normal(), random.normal());
        // Correlated columns.
        let row = vec![a, 0.8 * a + 0.6 * b, 0.5 * b + c];
        y.push(0.7 * row[0] - 1.1 * row[1] + 0.4 * row[2] + NOISE * random.normal());
        x.push(row);
    }
    (x, y)
}
fn program(guide: &str, infer: &str) -> String {
    let (x, y) = rows();
    format!(
        "data x: real[N, 3] = {}\ndata y: real[N] = {}\nmodel {{\n  beta: real[3] ~ Normal(0, {PRIOR})\n  \
         y ~ Normal(x @ beta, {NOISE})\n}}\n{guide}\ninfer svi {{ {infer} }}\n",
        matrix_literal(&x),
        literal(&y)
    )
}
/// Precision, covariance and mean of the posterior.
fn posterior() -> ([[f64; 3]; 3], [[f64; 3]; 3], [f64; 3]) {
    let (x, y) = rows();
    let mut p = [[0.0; 3]; 3];
    let mut right = [0.0; 3];
    for i in 0..3 {
        p[i][i] = PRIOR.powi(-2);
        for (row, y) in x.iter().zip(&y) {
            right[i] += row[i] * y / (NOISE * NOISE);
            for j in 0..3 {
                p[i][j] += row[i] * row[j] / (NOISE * NOISE);
            }
        }
    }
    // The inverse by cofactors.
    let minor = |i: usize, j: usize| {
        let (r, c) = ([(i + 1) % 3, (i + 2) % 3], [(j + 1) % 3, (j + 2) % 3]);
        p[r[0]][c[0]] * p[r[1]][c[1]] - p[r[0]][c[1]] * p[r[1]][c[0]]
    };
    let det: f64 = (0..3).map(|j| p[0][j] * minor(0, j)).sum();
    let mut covariance = [[0.0; 3]; 3];
    let mut mean = [0.0; 3];
    for i in 0..3 {
        for j in 0..3 {
            covariance[i][j] = minor(j, i) / det;
        }
    }
    for i in 0..3 {
        mean[i] = (0..3).map(|j| covariance[i][j] * right[j]).sum();
    }
    (p, covariance, mean)
}

#[test]
fn full_rank_finds_mean_and_covariance() {
    let (_, covariance, mean) = posterior();
    let fit = fit(&program("guide full_rank", "steps = 6_000, optimizer = adam(1e-2), schedule = cosine, seed = 3"));
    let loc = params(&fit, "full_rank.loc");
    let free = params(&fit, "full_rank.scale_tril");
    let factor = |i: usize, j: usize| match i.cmp(&j) {
        std::cmp::Ordering::Less => 0.0,
        std::cmp::Ordering::Equal => softplus(free[i * 3 + j]),
        std::cmp::Ordering::Greater => free[i * 3 + j],
    };
    for i in 0..3 {
        assert_close(loc[i], mean[i], 0.01 * covariance[i][i].sqrt(), &format!("mean {i}"));
        for j in 0..3 {
            let got: f64 = (0..3).map(|k| factor(i, k) * factor(j, k)).sum();
            let size = (covariance[i][i] * covariance[j][j]).sqrt();
            assert_close(got, covariance[i][j], 0.01 * size, &format!("covariance {i}, {j}"));
        }
    }
    // The family holds the posterior: the bound is tight for every draw, and the importance ratios are flat.
    assert!(elbo_of(&fit).1 < 1e-2, "{:?}", fit.elbo);
    // The reported draws have this covariance too: 4.5 standard errors of a covariance of 1,000 draws.
    let all: Vec<Vec<f64>> = (0..3).map(|e| draws(&fit.quantities, "beta", e)).collect();
    for i in 0..3 {
        for j in 0..3 {
            let products: Vec<f64> = all[i].iter().zip(&all[j]).map(|(a, b)| (a - mean[i]) * (b - mean[j])).collect();
            let (m, e) = mean_and_error(&products);
            assert!((m - covariance[i][j]).abs() < 4.5 * e + 0.01 * e, "covariance of draws {i}, {j}: {m} ± {e}");
        }
    }
}

#[test]
fn mean_field_finds_the_mean_and_the_conditional_spread() {
    let (precision, _, mean) = posterior();
    let text = program(
        "guide mean_field",
        "steps = 8_000, optimizer = adam(1e-2), schedule = cosine, particles = 4, kl = monte_carlo, seed = 5",
    );
    let fit = fit(&text);
    for i in 0..3 {
        let sd = precision[i][i].powf(-0.5);
        assert_close(params(&fit, "beta.loc")[i], mean[i], 0.1 * sd, &format!("mean {i}"));
        assert_close(softplus(params(&fit, "beta.scale")[i]), sd, 0.03 * sd, &format!("sd {i}"));
    }
}
