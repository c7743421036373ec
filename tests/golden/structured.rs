//! Guides with structure against posteriors that they can express: then the ELBO is the log evidence.

use crate::common::*;

/// ln N(y; 0, cov)
fn log_evidence(y: &[f64], cov: &[Vec<f64>]) -> f64 {
    let n = y.len();
    let mut l = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
            l[i][j] = if i == j { f64::sqrt(cov[i][i] - sum) } else { (cov[i][j] - sum) / l[j][j] };
        }
    }
    let mut w = vec![0.0; n];
    for i in 0..n {
        let sum: f64 = (0..i).map(|k| l[i][k] * w[k]).sum();
        w[i] = (y[i] - sum) / l[i][i];
    }
    let log_det: f64 = (0..n).map(|i| l[i][i].ln()).sum();
    -0.5 * w.iter().map(|x| x * x).sum::<f64>() - log_det - 0.5 * n as f64 * std::f64::consts::TAU.ln()
}

const SVI: &str = "infer svi { steps = 6000, optimizer = adam(2e-2), schedule = cosine, seed = 1 }\n";

#[test]
fn low_rank_is_exact_where_its_rank_suffices() {
    let x = [[1.0, 0.9], [0.8, 1.1], [-1.0, -0.7], [0.4, 0.6]];
    let y = [1.0, 0.2, -0.8, 0.9];
    let rows: Vec<Vec<f64>> = x.iter().map(|r| r.to_vec()).collect();
    let text = |guide: &str| {
        format!(
            "data x: real[N, 2] = {}\ndata y: real[N] = {}\nmodel {{\n  b: real[2] ~ Normal(0, 2)\n  \
             y ~ Normal(x @ b, 0.5)\n}}\nguide {guide}\n{SVI}",
            matrix_literal(&rows),
            literal(&y),
        )
    };
    let dot = |a: &[f64; 2], b: &[f64; 2]| a[0] * b[0] + a[1] * b[1];
    let cov: Vec<Vec<f64>> =
        (0..4).map(|i| (0..4).map(|j| 4.0 * dot(&x[i], &x[j]) + if i == j { 0.25 } else { 0.0 }).collect()).collect();
    let want = log_evidence(&y, &cov);
    for guide in ["low_rank(1)", "low_rank", "full_rank"] {
        let (elbo, _) = elbo_of(&fit(&text(guide)));
        assert_close(elbo, want, 0.03, guide);
    }
    let (elbo, _) = elbo_of(&fit(&text("mean_field")));
    assert!(elbo < want - 0.3, "mean_field cannot: {elbo}, evidence {want}");
}

#[test]
fn structured_is_exact_on_a_normal_hierarchy() {
    let y = [1.4, -0.3, 2.2, 0.9];
    let text = |guide: &str| {
        format!(
            "data y: real[J] = {}\nmodel {{\n  mu ~ Normal(0, 2)\n  theta: real[J] ~ Normal(mu, 0.7)\n  \
             y ~ Normal(theta, 1)\n}}\nguide {guide}\n{SVI}",
            literal(&y)
        )
    };
    let cov: Vec<Vec<f64>> =
        (0..4).map(|i| (0..4).map(|j| 4.0 + if i == j { 0.49 + 1.0 } else { 0.0 }).collect()).collect();
    let want = log_evidence(&y, &cov);
    let fit_structured = fit(&text("structured"));
    assert_close(elbo_of(&fit_structured).0, want, 0.03, "structured");
    assert!(fit_structured.params.iter().any(|p| p.name == "theta.on.mu" && p.shape == [4]));
    let (elbo, _) = elbo_of(&fit(&text("mean_field")));
    assert!(elbo < want - 0.3, "mean_field cannot: {elbo}, evidence {want}");
}

#[test]
fn structured_is_exact_on_a_chain() {
    let y = [0.4, 1.1, 0.2, -0.9, -1.4];
    let text = |guide: &str| {
        format!(
            "data y: real[T] = {}\nmodel {{\n  x: real[T]\n  x[0] ~ Normal(0, 1)\n  for t in 1..T {{\n    \
             x[t] ~ Normal(x[t - 1], 0.5)\n  }}\n  y ~ Normal(x, 1)\n}}\nguide {guide}\n{SVI}",
            literal(&y)
        )
    };
    let cov: Vec<Vec<f64>> = (0..5)
        .map(|i| (0..5).map(|j| 1.0 + 0.25 * i.min(j) as f64 + if i == j { 1.0 } else { 0.0 }).collect())
        .collect();
    let want = log_evidence(&y, &cov);
    let structured = fit(&text("structured"));
    assert_close(elbo_of(&structured).0, want, 0.03, "structured");
    assert!(structured.params.iter().any(|p| p.name == "x.chain" && p.shape == [4]));
    let (elbo, _) = elbo_of(&fit(&text("mean_field")));
    assert!(elbo < want - 0.3, "mean_field cannot: {elbo}, evidence {want}");
}

#[test]
fn structured_covers_every_support() {
    // Only that it fits and improves on mean_field: there is no closed form.
    let text = |guide: &str| {
        format!(
            "size K = 3\ndata n: int[K] = [4, 9, 2]\ndata y: real[N] = [0.3, -1.0, 0.8]\nmodel {{\n  s ~ HalfNormal(1)\n  \
             c ~ Gamma(2, s)\n  p: real[K] ~ Dirichlet(fill([K], c))\n  n ~ Multinomial(15, p)\n  \
             m: real[2] ~ MultivariateNormal(fill([2], 0.0), scale_tril = diag(fill([2], s)))\n  y ~ Normal(m[0] + m[1], c)\n}}\n\
             guide {guide}\n{SVI}"
        )
    };
    let (structured, plain) = (elbo_of(&fit(&text("structured"))), elbo_of(&fit(&text("mean_field"))));
    assert!(structured.0 > plain.0 - 0.02, "{structured:?} {plain:?}");
}

#[test]
fn standard_variables_under_mean_field() {
    let text = |reparam: &str| {
        format!(
            "data y: real[J] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]\n\
             data se: real[J] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]\nmodel {{\n  mu ~ Normal(0, 5)\n  \
             tau ~ HalfCauchy(5)\n  theta: real[J] ~ Normal(mu, tau)\n  y ~ Normal(theta, se)\n}}\n\
             infer svi {{ steps = 6000, optimizer = adam(2e-2), schedule = cosine, seed = 1, reparam = {reparam} }}\n"
        )
    };
    let (standard, plain) = (fit(&text("noncentered(theta)")), fit(&text("auto")));
    let (a, b) = (elbo_of(&standard), elbo_of(&plain));
    assert!(a.0 > b.0 + 1.0, "the standard variable fits better: {a:?} {b:?}");
    let names = |f: &bayesc::report::fit::Fit| f.quantities.iter().map(|q| q.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&standard), names(&plain));
}

#[test]
fn restarts_keep_the_best_fit() {
    // Two modes of weights 0.05 and 0.95, which a narrow guide finds by where it begins.
    let text = |restarts: usize| {
        format!(
            "model {{\n  x ~ Mixture([0.05, 0.95], [Normal(-1.5, 0.2), Normal(1.5, 0.2)])\n}}\n\
             guide {{ x ~ Normal(?(-1.0), ?(0.1)) }}\ninfer svi {{ steps = 500, restarts = {restarts}, seed = 2 }}\n"
        )
    };
    let once = fit(&text(1));
    assert!((elbo_of(&once).0 - 0.05f64.ln()).abs() < 0.05, "one mode: {:?}", elbo_of(&once));
    let text = text(8).replace("?(-1.0)", "?");
    let best = fit_restarts(&text);
    assert!((elbo_of(&best).0 - 0.95f64.ln()).abs() < 0.05, "the other mode: {:?}", elbo_of(&best));
    assert!(best.notes.iter().any(|n| n.contains("the best of 8 fits")), "{:?}", best.notes);
}
/// Steps are counted anew in every fit, which [`Patient`] does not expect.
fn fit_restarts(text: &str) -> bayesc::report::fit::Fit {
    let c = compile(text);
    let options = bayesc::session::RunOptions::default();
    bayesc::session::run(&bind(&c), &options, &mut bayesc::session::Unobserved).expect("it fits")
}
