//! Families over vectors and matrices whose shape comes from the declared type, in whole programs.

use crate::common::*;
use bayesc::check::settings::KlChoice;
use bayesc::report::fit::Fit;
use bayesc::report::summary::Summary;
use bayesc::rng::Key;
use bayesc::session::{self, RunOptions};

/// A correlation under LKJ(2) with 20 pairs of unit normals; the figures are by quadrature over the one free number.
const CORRELATION: &str = "
data y: real[N, K] = [ROWS]
model {
  L: real[K, K] ~ LKJCholesky(2)
  y ~ MultivariateNormal(zeros([K]), scale_tril = L)
}
guide mean_field
infer svi { steps = 1_500, optimizer = adam(2e-2), schedule = cosine, seed = 3 }
";
const ROWS: &str = "[0.65, 0.52], [0.48, -0.74], [-0.49, 0.01], [0.44, 0.66], [2.02, 1.53], [-0.41, -0.72], [-0.96, -0.86], [0.74, -1.03], [1.48, 1.18], [-0.36, 0.56], [-0.46, 0.49], [0.23, 1.98], [0.94, 0.07], [1.75, 0.32], [-0.0, -0.58], [1.2, 0.82], [0.03, 1.25], [0.27, 0.44], [-0.24, 1.04], [0.66, 0.31]";
const LOG_EVIDENCE: f64 = -51.261419149;
const POSTERIOR: (f64, f64) = (0.417109985, 0.185806673);

fn correlation(text: &str) -> String {
    text.replace("ROWS", ROWS)
}

#[test]
fn reference_evidence_of_a_correlation() {
    let matrix = "R: real[K, K] ~ LKJ(2)\n  y ~ MultivariateNormal(zeros([K]), cov = R)";
    let factor = "L: real[K, K] ~ LKJCholesky(2)\n  y ~ MultivariateNormal(zeros([K]), scale_tril = L)";
    for (site, text) in [("L", correlation(CORRELATION)), ("R", correlation(&CORRELATION.replace(factor, matrix)))] {
        let mut e = Elbo::new(&text, KlChoice::MonteCarlo);
        let mut p = e.start(0);
        e.set(&mut p, &format!("{site}.loc"), &[0.45]);
        e.set(&mut p, &format!("{site}.scale"), &[inverse_softplus(0.35)]);
        let weights: Vec<f64> =
            (0..20_000).map(|i| (e.at(&p, Key::new(5).fold_in(i), None).elbo - LOG_EVIDENCE).exp()).collect();
        let (m, error) = mean_and_error(&weights);
        assert!(error < 0.01, "{site}: the weights are usable: {error}");
        assert!((m - 1.0).abs() < 4.5 * error, "{site}: {m} ± {error}");
    }
}

#[test]
fn reference_posterior_of_a_correlation() {
    let fit = fit(&correlation(CORRELATION));
    let r = draws(&fit.quantities, "L", 2);
    let m = mean(&r);
    let sd = (r.iter().map(|x| (x - m).powi(2)).sum::<f64>() / r.len() as f64).sqrt();
    // A normal guide in unconstrained space is close here, not exact.
    assert!((m - POSTERIOR.0).abs() < 0.03, "mean {m}");
    assert!((sd - POSTERIOR.1).abs() < 0.02, "standard deviation {sd}");
}

/// Mean within 4.5 Monte Carlo standard errors, sd within 6 %.
#[track_caller]
fn assert_moments(fit: &Fit, name: &str, element: usize, mean: f64, sd: f64) {
    let summary = Summary::of(fit, false);
    let at = fit.quantities.iter().position(|q| q.name == name).unwrap_or_else(|| panic!("no `{name}`"));
    let got = &summary.sites[at].elements.as_ref().expect("a small site")[element];
    let z = (got.mean - mean) / got.mcse_mean;
    assert!(z.abs() < 4.5, "mean of {name}[{element}] is {} ± {}, expected {mean}", got.mean, got.mcse_mean);
    assert!((got.sd / sd - 1.0).abs() < 0.06, "sd of {name}[{element}] is {}, expected {sd}", got.sd);
}

#[test]
fn reference_posterior_of_a_correlation_by_nuts() {
    let infer = "infer svi { steps = 1_500, optimizer = adam(2e-2), schedule = cosine, seed = 3 }";
    let text = correlation(CORRELATION).replace(infer, "infer nuts { seed = 3 }");
    let fit = fit(&text);
    assert_moments(&fit, "L", 2, POSTERIOR.0, POSTERIOR.1);
}

/// Without data the posterior is the prior: a Jacobian or a power of the density that is wrong would show.
#[test]
fn nuts_draws_the_prior_where_there_are_no_data() {
    let text = "
size K = 3
size M = 2
model {
  L: real[K, K] ~ LKJCholesky(2)
  R: real[K, K] ~ LKJ(1.5)
  S: real[M, M] ~ Wishart(6, [[1.0, 0.3], [0.3, 2.0]])
  V: real[M, M] ~ InverseWishart(30, eye(M))
  walk: real[K] ~ GaussianRandomWalk(0.5, start = 1)
  series: real[K] ~ AR([0.5], 1, loc = 2)
  effect: real[K] ~ ZeroSumNormal(0.8)
  table: real[M, K] ~ MatrixNormal(zeros([M, K]), eye(M), L)
  soft: real[K] ~ GumbelSoftmax(0.7, [1 / 3, 1 / 3, 1 / 3])
  low: real[K] ~ MultivariateNormal(zeros([K]), factor = ones([K, 1]), diag = [0.5, 1.0, 2.0])
}
infer nuts { seed = 5 }
";
    let fit = fit(text);
    // Name, element, mean, variance.
    let moments = [
        ("L", 3, 0.0, 1.0 / 6.0),
        ("L", 7, 0.0, 1.0 / 6.0),
        ("R", 1, 0.0, 0.2),
        ("R", 5, 0.0, 0.2),
        ("S", 0, 6.0, 12.0),
        ("S", 1, 1.8, 6.0 * (0.09 + 2.0)),
        ("S", 3, 12.0, 48.0),
        ("V", 0, 1.0 / 27.0, 56.0 / 510_300.0),
        ("walk", 2, 1.0, 0.75),
        ("series", 1, 2.0, 1.25),
        ("effect", 0, 0.0, 0.64 * 2.0 / 3.0),
        ("effect", 2, 0.0, 0.64 * 2.0 / 3.0),
        ("table", 4, 0.0, 1.0),
        ("low", 1, 0.0, 2.0),
    ];
    for (name, element, mean, variance) in moments {
        assert_moments(&fit, name, element, mean, f64::sqrt(variance));
    }
    let soft: Vec<f64> = draws(&fit.quantities, "soft", 2);
    assert!((mean(&soft) - 1.0 / 3.0).abs() < 0.03, "{}", mean(&soft));
}

/// Sites of every family whose shape, or part of it, the declared type gives, and of those over new supports.
const ALL: &str = "
size T = 4
size K = 3
size M = 2
data y: real[N] = [0.3, -0.4, 1.2]
model {
  L: real[K, K] ~ LKJCholesky(2)
  R: real[M, M] ~ LKJ(1.5)
  S: real[M, M] ~ Wishart(6, eye(M))
  V: real[M, M] ~ InverseWishart(14, eye(M))
  walk: real[T] ~ GaussianRandomWalk(0.5, start = 1)
  walks: real[M, T] ~ GaussianRandomWalk(0.5, drift = 0.1)
  series: real[T] ~ AR([0.5, 0.2], 1, loc = 2)
  effect: real[K] ~ ZeroSumNormal(0.8)
  table: real[M, K] ~ MatrixNormal(zeros([M, K]), eye(M), L)
  soft: real[K] ~ GumbelSoftmax(0.7, [0.2, 0.3, 0.5])
  half ~ RelaxedBernoulli(0.7, logits = 0.3)
  low: real[K] ~ MultivariateNormal(zeros([K]), factor = ones([K, 1]), diag = [0.5, 1.0, 2.0])
  angle ~ VonMises(0.5, 2)
  y ~ Normal(walk[0] + series[1] + effect[0] + soft[0] + half + low[2] + S[0, 0] + R[0, 1] + table[1, 1], 1)
}
guide mean_field
infer svi { steps = 200, seed = 6 }
";

#[test]
fn draws_from_the_prior_have_their_moments() {
    let c = compile(ALL);
    let all = session::prior(&bind(&c), 20_000, 3).unwrap_or_else(|e| panic!("{e:?}"));
    // Name, element, mean, variance.
    let moments = [
        ("L", 3, 0.0, 1.0 / 6.0),
        ("R", 1, 0.0, 0.25),
        ("S", 0, 6.0, 12.0),
        ("S", 1, 0.0, 6.0),
        ("V", 0, 1.0 / 11.0, 24.0 / 13_068.0),
        ("walk", 2, 1.0, 0.75),
        ("walks", 5, 0.2, 0.5),
        ("series", 1, 2.0, 1.25),
        ("effect", 1, 0.0, 0.64 * 2.0 / 3.0),
        ("table", 4, 0.0, 1.0),
        ("low", 1, 0.0, 2.0),
    ];
    for (name, element, m, variance) in moments {
        let x = draws(&all, name, element);
        assert_mean(&x, m, &format!("mean of {name}[{element}]"));
        let squares: Vec<f64> = x.iter().map(|x| (x - m).powi(2)).collect();
        assert_mean(&squares, variance, &format!("variance of {name}[{element}]"));
    }
    let effects: Vec<Vec<f64>> = (0..3).map(|k| draws(&all, "effect", k)).collect();
    assert!((0..100).all(|i| effects.iter().map(|e| e[i]).sum::<f64>().abs() < 1e-12));
}

#[test]
fn every_guide_stays_in_the_supports() {
    let c = compile(ALL);
    for guide in ["mean_field", "full_rank", "delta"] {
        let options = RunOptions { guide: Some(guide.into()), ..RunOptions::default() };
        let fit = fit_with(&c, &options);
        assert!(elbo_of(&fit).0.is_finite(), "{guide}");
        let at = |name: &str, i: usize, e: usize| quantity(&fit.quantities, name).value(0, i, e);
        for i in 0..quantity(&fit.quantities, "L").draws.min(50) {
            for row in 0..3 {
                let length: f64 = (0..3).map(|j| at("L", i, 3 * row + j).powi(2)).sum();
                assert!((length - 1.0).abs() < 1e-10 && at("L", i, 4 * row) > 0.0, "{guide}: row {row}");
            }
            assert!((at("R", i, 0) - 1.0).abs() < 1e-12 && at("R", i, 1).abs() < 1.0, "{guide}");
            assert!(at("S", i, 0) * at("S", i, 3) > at("S", i, 1).powi(2), "{guide}: S is positive definite");
            assert!((0..3).map(|k| at("effect", i, k)).sum::<f64>().abs() < 1e-12, "{guide}");
            assert!(((0..3).map(|k| at("soft", i, k)).sum::<f64>() - 1.0).abs() < 1e-12, "{guide}");
            assert!(at("angle", i, 0).abs() <= std::f64::consts::PI, "{guide}");
        }
    }
}

/// Guides written out, of families with shapes from the site: holes get their shapes by the names of dimensions.
#[test]
fn written_guides_of_vector_and_matrix_families_run() {
    let guides = "guide {
  L      ~ LKJCholesky(?(3))
  R      ~ LKJ(?(3))
  S      ~ Wishart(?(8), eye(M))
  walk   ~ GaussianRandomWalk(?, ?, ?)
  walks  ~ GaussianRandomWalk(0.3)
  series ~ AR([0.4], ?)
  effect ~ ZeroSumNormal(?)
  table  ~ MatrixNormal(?, ?, ?)
  soft   ~ GumbelSoftmax(1, ?)
  half   ~ RelaxedBernoulli(?(1), logits = ?)
  low    ~ MultivariateNormal(?, factor = fill([K, 2], 0.1), diag = ?)
  _      ~ mean_field
}
";
    let fit = fit(&ALL.replace("guide mean_field\n", guides));
    assert!(elbo_of(&fit).0.is_finite());
    assert_eq!(params(&fit, "table.scale_tril_row").len(), 4);
    assert_eq!(params(&fit, "table.scale_tril_column").len(), 9);
    assert_eq!(params(&fit, "table.loc").len(), 6);
}

/// What the class of a relaxed or one-hot draw is worth, observed.
#[test]
fn vectors_of_data_are_observed() {
    let text = "
data y: int[N, K] = [[0, 1, 0], [0, 0, 1], [0, 1, 0]]
data c: int[N, K] = [[2, 1, 0], [0, 0, 3], [1, 1, 1]]
model {
  p: real[K] ~ Dirichlet(ones([K]))
  y ~ OneHotCategorical(p)
  c ~ DirichletMultinomial(3, ones([K]))
}
infer svi { steps = 300, seed = 1 }
";
    // two of class 1 and one of class 2 under a flat prior: 2! 2! 1! / 5!; ten vectors of three counts are as likely
    let evidence = f64::ln(4.0 / 120.0) - 3.0 * f64::ln(10.0);
    let mut e = Elbo::new(&format!("{text}guide mean_field\n"), KlChoice::MonteCarlo);
    let mut p = e.start(0);
    e.set(&mut p, "p.loc", &[-1.3, 0.5]);
    e.set(&mut p, "p.scale", &[inverse_softplus(1.6), inverse_softplus(1.2)]);
    let weights: Vec<f64> =
        (0..20_000).map(|i| (e.at(&p, Key::new(7).fold_in(i), None).elbo - evidence).exp()).collect();
    let (m, error) = mean_and_error(&weights);
    assert!(error < 0.02 && (m - 1.0).abs() < 4.5 * error, "{m} ± {error}");
}

/// A `param` stays between its ends and reaches what maximizes the likelihood.
#[test]
fn learnable_constants_stay_in_their_ranges() {
    let text = "
data y: real[N] = [1.9, 2.6, 2.2, 3.1]
model {
  param a: real in -1..2
  param b: real in 2..
  param c: real in ..2 = 1.5
  param d: real in 2..6 = 3
  keep a_end = a
  keep b_end = b
  keep c_end = c
  keep d_end = d
  z ~ Normal(0, 1)
  y ~ Normal(a, 1)
  observe y + 0 ~ Normal(b, 1)
  observe 2 * y ~ Normal(2 * c, 2)
  observe 3 * y ~ Normal(3 * d, 3)
}
guide mean_field
infer svi { steps = 2_000, optimizer = adam(5e-2), schedule = cosine, seed = 6 }
";
    let fit = fit(text);
    let value = |name: &str| draws(&fit.quantities, &format!("{name}_end"), 0)[0];
    assert!(value("a") < 2.0 && value("a") > 1.9, "{}", value("a"));
    assert!((value("b") - 2.45).abs() < 0.01, "{}", value("b"));
    assert!(value("c") < 2.0 && value("c") > 1.9, "{}", value("c"));
    assert!((value("d") - 2.45).abs() < 0.01, "{}", value("d"));
}
