//! Leave-one-out against exact leave-one-out, and log likelihoods against the formulas of the densities.
//!
//! y_i ~ N(mu, 1), mu ~ N(0, 10): without y_i the posterior is N(sum of the others / P, 1 / P), P = 1/100 + n - 1, and the
//! predictive of y_i has one more in its variance.

use crate::common::*;
use bayesc::report::fit::{Draws, Fit};
use bayesc::report::loo::Loo;
use bayesc::report::store;
use bayesc::report::summary::Summary;

fn loo(fit: &Fit) -> &Loo {
    fit.loo.as_ref().unwrap_or_else(|| panic!("no leave-one-out: {:?}", fit.notes))
}
/// The log likelihoods `[draw, observation]` of the only term.
fn kept(fit: &Fit) -> Vec<f64> {
    let [term] = &loo(fit).terms[..] else { panic!("one term: {:?}", loo(fit).terms) };
    match term.log_likelihood.as_ref().expect("few enough to be kept") {
        Draws::F32(x) => x.iter().map(|&x| f64::from(x)).collect(),
        Draws::F64(x) => x.clone(),
    }
}

/// ln p(y_i | the others) for every i.
fn exact(y: &[f64]) -> Vec<f64> {
    let (n, sum) = (y.len() as f64, y.iter().sum::<f64>());
    let precision = 0.01 + n - 1.0;
    y.iter().map(|y| log_normal(*y, (sum - y) / precision, (1.0 + 1.0 / precision).sqrt())).collect()
}

const MEAN: &str = "model {\n  mu ~ Normal(0, 10)\n  y ~ Normal(mu, 1)\n}\n";

#[test]
fn a_normal_mean_has_its_exact_leave_one_out() {
    let y = [0.3, -0.8, 1.1, 0.2, 2.6, -1.4, 0.9, 0.0];
    let exact = exact(&y);
    let engines = [
        "infer nuts { chains = 4, warmup = 500, draws = 2000, seed = 3 }",
        "guide mean_field\ninfer svi { steps = 3_000, optimizer = adam(2e-2), schedule = cosine, draws = 8_000, seed = 3 }",
    ];
    for engine in engines {
        let fit = fit(&format!("data y: real[N] = {}\n{MEAN}{engine}\n", literal(&y)));
        let loo = loo(&fit);
        assert_eq!((loo.count(), loo.n_draws()), (8, 8000));
        for (i, point) in loo.points().enumerate() {
            assert_close(point.elpd, exact[i], 0.03, &format!("elpd of y[{i}] by {}", fit.algorithm));
        }
        assert!(loo.bad().is_empty() && loo.max_k() < 0.7, "{:?}", loo.bad());
        let elpd = loo.elpd();
        assert_close(elpd.value, exact.iter().sum(), 0.06, "elpd_loo");
        // The variance of the exact ones, n times.
        let m = mean(&exact);
        let want = (8.0 / 7.0 * exact.iter().map(|x| (x - m).powi(2)).sum::<f64>()).sqrt();
        assert_close(elpd.standard_error, want, 0.05, "its standard error");
        // Its likelihoods are those of its draws.
        let (mu, kept) = (draws(&fit.quantities, "mu", 0), kept(&fit));
        for d in [0, 1, 4321, 7999] {
            for i in 0..8 {
                assert_close(kept[d * 8 + i], log_normal(y[i], mu[d], 1.0), 1e-12, "a log likelihood");
            }
        }
    }
}

#[test]
fn eight_schools_have_the_published_numbers() {
    // elpd_loo -30.8, its error 1.4, p_loo 0.9: the vignettes of the R package loo and of ArviZ for the data of Rubin 1981.
    let options = bayesc::session::RunOptions { infer: Some("nuts".into()), ..Default::default() };
    let fit = fit_with(&example("eight_schools.bayes", |t| t), &options);
    let loo = loo(&fit);
    assert_eq!(loo.count(), 8);
    assert_close(loo.elpd().value, -30.8, 0.15, "elpd_loo");
    assert_close(loo.elpd().standard_error, 1.4, 0.1, "its error");
    assert_close(loo.p_loo().value, 0.9, 0.2, "p_loo");
    let term = &loo.terms[0];
    assert_eq!((term.dims[0].as_deref(), term.labels[0].as_ref().map(Vec::len)), (Some("School"), Some(8)));
}

#[test]
fn rows_of_minibatches_and_blocks_of_many_observations_are_those_of_the_whole() {
    let mut random = Random(5);
    let y = random.normals(1100);
    let data = format!("data y: real[N] = {}\n{MEAN}guide mean_field\n", literal(&y));
    // More rows than a block has, and a rest.
    let text =
        format!("{data}infer svi {{ minibatch N = 100, steps = 2_000, draws = 150, seed = 1, precision = f64 }}\n");
    let small = fit(&text);
    let (mu, likelihoods) = (draws(&small.quantities, "mu", 0), kept(&small));
    for d in [0, 70, 149] {
        for i in 0..1100 {
            assert_close(likelihoods[d * 1100 + i], log_normal(y[i], mu[d], 1.0), 1e-12, "a log likelihood of a row");
        }
    }
    // More numbers than are kept: 1,100 observations of 4,000 draws.
    let text =
        format!("{data}infer svi {{ steps = 8_000, optimizer = adam(1e-2), schedule = cosine, draws = 4_000 }}\n");
    let large = fit(&text);
    assert!(loo(&large).terms[0].log_likelihood.is_none(), "too many to be kept");
    assert!(large.notes.iter().any(|n| n.contains("summed up, not kept")), "{:?}", large.notes);
    let exact = exact(&y);
    for (i, point) in loo(&large).points().enumerate() {
        assert_close(point.elpd, exact[i], 0.01, &format!("elpd of y[{i}]"));
    }
    assert_eq!(loo(&large).terms[0].hash, loo(&small).terms[0].hash);
    assert_eq!(loo(&large).paired(loo(&small), ["a", "b"]).expect("the same data").len(), 1100);
    // A fit that has seen little has no time for so many draws.
    let short = fit(&format!("{data}infer svi {{ minibatch N = 100, steps = 20, draws = 200_000 }}\n"));
    assert!(short.loo.is_none() && short.notes.iter().any(|n| n.contains("longer than the fit")), "{:?}", short.notes);
}

#[test]
fn an_event_is_one_observation() {
    let fit = fit(
        "data y: real[N, 2] = [[1.0, 2.0], [0.5, -1.0], [0.3, 0.4]]\ndata x: real = 0.5\nmodel {\n  mu: real[2] ~ Normal(0, 3)\n  \
         y ~ MultivariateNormal(mu, cov = [[1.0, 0.3], [0.3, 1.0]])\n  x ~ Normal(mu[0], 1)\n  factor -mu[1] ^ 2\n}\n\
         infer nuts { chains = 2, warmup = 200, draws = 200, seed = 1 }\n",
    );
    let shapes: Vec<(&str, &[usize])> = loo(&fit).terms.iter().map(|t| (t.name.as_str(), &t.shape[..])).collect();
    assert_eq!(shapes, [("y", &[3][..]), ("x", &[][..])]);
    assert!(fit.notes.iter().any(|n| n.contains("`factor`")), "{:?}", fit.notes);
}

#[test]
fn summed_out_latents_leave_their_rows_or_a_reason() {
    let y = "data y: real[4] = [0.3, -1.2, 2.1, 1.0]\n";
    let infer = "infer nuts { chains = 1, warmup = 100, draws = 50, seed = 1 }\n";
    let mixture = fit(&format!(
        "{y}model {{\n  m ~ Normal(0, 1)\n  z: int[4] ~ Categorical([0.3, 0.7])\n  y ~ Normal(where(z == 1, m, -1.0), 1)\n}}\n{infer}"
    ));
    let (m, likelihoods) = (draws(&mixture.quantities, "m", 0), kept(&mixture));
    for (d, m) in m.iter().enumerate() {
        for (i, y) in [0.3, -1.2, 2.1, 1.0].into_iter().enumerate() {
            let want = (0.3 * log_normal(y, -1.0, 1.0).exp() + 0.7 * log_normal(y, *m, 1.0).exp()).ln();
            assert_close(likelihoods[d * 4 + i], want, 1e-12, "a row of a mixture");
        }
    }
    let chain = fit(&format!(
        "{y}model {{\n  m ~ Normal(0, 1)\n  z: int[4]\n  z[0] ~ Categorical([0.3, 0.7])\n  for t in 1..4 {{ z[t] ~ Categorical([[0.8, \
         0.2], [0.4, 0.6]][z[t - 1]]) }}\n  y ~ Normal(where(z == 1, m, 0.0), 1)\n}}\n{infer}"
    ));
    assert!(chain.loo.is_none() && chain.notes.iter().any(|n| n.contains("`z` summed out")), "{:?}", chain.notes);
}

/// A series observes its first value and the others: two terms with names of their own, which a stored fit has too.
#[test]
fn statements_that_observe_one_datum_have_names_of_their_own() {
    let y = [0.4, 1.1, 0.7, -0.2];
    let fit = fit(&format!(
        "data y: real[T] = {}\nmodel {{\n  a ~ Normal(0, 1)\n  y[0] ~ Normal(a, 2)\n  for t in 1..T {{\n    \
         y[t] ~ Normal(a * y[t - 1], 1)\n  }}\n}}\ninfer nuts {{ chains = 2, warmup = 200, draws = 200, seed = 1 }}\n",
        literal(&y)
    ));
    let names: Vec<&str> = loo(&fit).terms.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["y", "y (2)"]);
    assert_eq!(loo(&fit).terms.iter().map(|t| t.count()).collect::<Vec<_>>(), [1, 3]);
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("series.fit");
    store::save(&fit, &Summary::of(&fit, false), &path, &[]).expect("it is stored");
    assert_eq!(store::load(&path).expect("and read").loo, fit.loo);
}
