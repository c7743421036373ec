//! Scores on held-out data against the exact predictive distribution of a linear regression.

use crate::common::*;

const NOISE: f64 = 0.5;

fn sample(random: &mut Random, n: usize) -> (Vec<f64>, Vec<f64>) {
    let x = random.normals(n);
    let y = x.iter().map(|x| 0.4 + 1.3 * x + NOISE * random.normal()).collect();
    (x, y)
}

#[test]
fn scores_are_those_of_the_exact_predictive() {
    let mut random = Random(77);
    let ((x, y), (x_new, y_new)) = (sample(&mut random, 20), sample(&mut random, 300));
    let fit = fit(&format!(
        "data x: real[N] = {}\ndata y: real[N] = {}\nmodel {{\n  a ~ Normal(0, 3)\n  b ~ Normal(0, 3)\n  y ~ Normal(a + b * x, {NOISE})\n}}\n\
         guide full_rank\ninfer svi {{ steps = 4_000, optimizer = adam(2e-2), schedule = cosine, seed = 1 }}\n\
         evaluate {{\n  x = {}\n  y = {}\n}}\n",
        literal(&x),
        literal(&y),
        literal(&x_new),
        literal(&y_new)
    ));
    // The posterior of (a, b).
    let w = NOISE.powi(-2);
    let (paa, pab, pbb) = (
        1.0 / 9.0 + w * x.len() as f64,
        w * x.iter().sum::<f64>(),
        1.0 / 9.0 + w * x.iter().map(|x| x * x).sum::<f64>(),
    );
    let (ra, rb) = (w * y.iter().sum::<f64>(), w * x.iter().zip(&y).map(|(x, y)| x * y).sum::<f64>());
    let det = paa * pbb - pab * pab;
    let (va, vab, vb) = (pbb / det, -pab / det, paa / det);
    let (a, b) = (va * ra + vab * rb, vab * ra + vb * rb);
    let n = x_new.len() as f64;
    let (mut nll, mut squares, mut inside_90, mut inside_50) = (0.0, 0.0, 0.0, 0.0);
    for (x, y) in x_new.iter().zip(&y_new) {
        let (m, s) = (a + b * x, (NOISE * NOISE + va + 2.0 * x * vab + x * x * vb).sqrt());
        nll -= log_normal(*y, m, s) / n;
        squares += (y - m).powi(2) / n;
        let z = ((y - m) / s).abs();
        inside_90 += f64::from(u8::from(z < 1.644_853_6)) / n;
        inside_50 += f64::from(u8::from(z < 0.674_489_8)) / n;
    }
    let (name, metrics) = &fit.evaluation[0];
    assert_eq!((fit.evaluation.len(), name.as_str()), (1, "y"));
    let get = |name: &str| metrics.get(name).unwrap_or_else(|| panic!("no {name}: {metrics:?}"));
    assert_eq!(get("count"), 300.0);
    // 200 draws stand for the posterior.
    assert_close(get("nll"), nll, 0.01, "nll");
    assert_close(get("rmse"), squares.sqrt(), 0.02, "rmse");
    // The intervals come from quantiles of 200 draws: some points near their ends change sides.
    assert_close(get("coverage_90"), inside_90, 0.03, "coverage of 90 %");
    assert_close(get("coverage_50"), inside_50, 0.06, "coverage of 50 %");
}

#[test]
fn local_sites_of_new_rows_come_from_their_prior() {
    // theta of a new row is N(mu, 1), so y is N(mu, sqrt 2) given mu.
    let mut random = Random(9);
    let draw =
        |random: &mut Random, n: usize| -> Vec<f64> { (0..n).map(|_| 2.0 + 2f64.sqrt() * random.normal()).collect() };
    let (y, y_new) = (draw(&mut random, 60), draw(&mut random, 200));
    let fit = fit(&format!(
        "data y: real[N] = {}\nmodel {{\n  mu ~ Normal(0, 5)\n  theta: real[N] ~ Normal(mu, 1)\n  y ~ Normal(theta, 1)\n}}\n\
         guide full_rank\ninfer svi {{ steps = 3_000, optimizer = adam(2e-2), schedule = cosine }}\nevaluate {{ y = {} }}\n",
        literal(&y),
        literal(&y_new)
    ));
    assert!(fit.notes.iter().any(|n| n.contains("`theta`")), "{:?}", fit.notes);
    let m = mean(&y);
    let metrics = &fit.evaluation[0].1;
    let get = |name: &str| metrics.get(name).unwrap_or_else(|| panic!("no {name}: {metrics:?}"));
    assert_eq!(get("count"), 200.0);
    let spread = (2.0 + 2.0 / 60.0f64).sqrt();
    let nll = -mean(&y_new.iter().map(|&y| log_normal(y, m, spread)).collect::<Vec<_>>());
    // The density of a row given 200 draws of its own theta: some percent of noise a row.
    assert_close(get("nll"), nll, 0.05, "nll");
    let inside = y_new.iter().filter(|&&y| ((y - m) / spread).abs() < 1.644_853_6).count() as f64 / 200.0;
    assert_close(get("coverage_90"), inside, 0.04, "coverage of 90 %");
}

#[test]
fn coefficients_by_column_stay_those_of_the_fit() {
    // The size of the columns is bound by the data too, but new rows bring no new columns.
    let mut random = Random(21);
    let mut rows = |n: usize| -> (Vec<Vec<f64>>, Vec<f64>) {
        let x: Vec<Vec<f64>> = (0..n).map(|_| random.normals(2)).collect();
        let y = x.iter().map(|r| 2.0 * r[0] - 3.0 * r[1] + NOISE * random.normal()).collect();
        (x, y)
    };
    // As many new rows as old ones: rows are told from columns by their place, not by their number.
    let ((x, y), (x_new, y_new)) = (rows(40), rows(40));
    let text = format!(
        "data x: real[N, D] = {}\ndata y: real[N] = {}\nmodel {{\n  beta: real[D] ~ Normal(0, 3)\n  y ~ Normal(x @ beta, {NOISE})\n}}\n\
         guide mean_field\ninfer svi {{ steps = 2_000, optimizer = adam(3e-2), schedule = cosine }}\n\
         evaluate {{\n  x = {}\n  y = {}\n}}\n",
        matrix_literal(&x),
        literal(&y),
        matrix_literal(&x_new),
        literal(&y_new)
    );
    let fit = fit(&text);
    assert!(fit.notes.iter().all(|n| !n.contains("beta")), "{:?}", fit.notes);
    let rmse = fit.evaluation[0].1.get("rmse").expect("real values have one");
    // Noise alone: 0.5 with a standard error of 0.06.
    assert!((0.3..0.7).contains(&rmse), "rmse {rmse}");
}

#[test]
fn learnable_numbers_of_rows_cannot_be_carried_over() {
    let c = compile(
        "data y: real[N] = [1.0, 2.0, 3.0]\nmodel {\n  param shift: real[N] = 0.0\n  mu ~ Normal(0, 1)\n  y ~ Normal(mu + shift, 1)\n}\n\
         infer svi { steps = 10 }\nevaluate { y = [1.0, 2.0] }\n",
    );
    match bayesc::session::bind(&c, &mut bayesc::data::Files::new(), &[]) {
        Err(bayesc::session::Failure::Diagnostics(d)) => assert!(format!("{d:?}").contains("shift"), "{d:?}"),
        other => panic!("expected a message, found {other:?}"),
    }
}
