//! Sites on constrained supports: positive, unit interval, simplex, an interval whose end is another site.

use crate::common::*;
use bayesc::check::settings::KlChoice;
use bayesc::rng::Key;
use bayesc::session;

const TEXT: &str = "
data y: real[N] = [1.9, 2.6, 2.2, 3.1]
model {
  r ~ Gamma(3, 2)
  p ~ Beta(2, 3)
  w ~ Dirichlet([2.0, 3.0, 4.0])
  a ~ Uniform(0, 1)
  b ~ Uniform(0, 1 - a)
  y ~ Normal(r + p + w[0] + a + b, 1)
}
guide mean_field
infer svi { steps = 2_000, optimizer = adam(2e-2), schedule = cosine, seed = 6 }
";

#[test]
fn draws_lie_in_the_support() {
    let c = compile(TEXT);
    // Not `delta`: the density of b has no highest point, it grows without bound as a approaches 1.
    for guide in ["mean_field", "full_rank"] {
        let options = session::RunOptions { guide: Some(guide.into()), ..session::RunOptions::default() };
        let fit = fit_with(&c, &options);
        assert!(elbo_of(&fit).0.is_finite());
        let q = |name: &str| quantity(&fit.quantities, name).clone();
        let (r, p, w, a, b) = (q("r"), q("p"), q("w"), q("a"), q("b"));
        assert_eq!(w.shape, [3]);
        for i in 0..r.draws {
            assert!(r.value(0, i, 0) > 0.0);
            assert!((0.0..=1.0).contains(&p.value(0, i, 0)));
            let sum: f64 = (0..3).map(|e| w.value(0, i, e)).sum();
            assert!((sum - 1.0).abs() < 1e-12 && (0..3).all(|e| w.value(0, i, e) >= 0.0), "{guide}: {sum}");
            assert!((0.0..=1.0).contains(&a.value(0, i, 0)));
            let b = b.value(0, i, 0);
            assert!((0.0..=1.0 - a.value(0, i, 0) + 1e-12).contains(&b), "{guide}: b = {b}");
        }
    }
}

/// Importance weights of draws from the guide have the evidence as their mean. With the data cut off, that is 1 times
/// the density of the data: a Jacobian or a constant that is missing would show.
#[test]
fn weights_of_the_guide_average_to_the_evidence() {
    let text = TEXT.replace("Normal(r + p + w[0] + a + b, 1)", "Normal(0, 1)");
    let evidence: f64 = [1.9, 2.6, 2.2, 3.1].iter().map(|&y| log_normal(y, 0.0, 1.0)).sum();
    for guide in ["guide mean_field", "guide full_rank"] {
        let text = text.replace("guide mean_field", guide);
        let mut e = Elbo::new(&text, KlChoice::MonteCarlo);
        let mut p = e.start(0);
        // Wide enough to reach the tails of the prior.
        if guide == "guide mean_field" {
            e.set(&mut p, "r.scale", &[inverse_softplus(0.9)]);
            for (site, s) in [("p", 1.4), ("w", 1.2), ("a", 2.3), ("b", 2.3)] {
                e.set(&mut p, &format!("{site}.scale"), &[inverse_softplus(s)]);
            }
        } else {
            let n = 6;
            let scales = [0.9, 1.4, 1.2, 1.2, 2.3, 2.3].map(inverse_softplus);
            let mut factor = vec![0.05; n * n];
            (0..n).for_each(|i| factor[i * n + i] = scales[i]);
            e.set(&mut p, "full_rank.scale_tril", &factor);
        }
        let weights: Vec<f64> =
            (0..40_000).map(|i| (e.at(&p, Key::new(31).fold_in(i), None).elbo - evidence).exp()).collect();
        let (m, error) = mean_and_error(&weights);
        assert!(error < 0.03, "{guide}: the weights are usable: {error}");
        assert!((m - 1.0).abs() < 4.5 * error, "{guide}: {m} ± {error}");
    }
}

#[test]
fn draws_from_the_prior_have_its_moments() {
    let c = compile(TEXT);
    let all = session::prior(&bind(&c), 20_000, 3).unwrap_or_else(|e| panic!("{e:?}"));
    // Name, element, mean, standard deviation.
    let w = [2.0, 3.0, 4.0].map(|k: f64| (k / 9.0, (k / 9.0 * (1.0 - k / 9.0) / 10.0).sqrt()));
    let sum_mean = 1.5 + 0.4 + 2.0 / 9.0 + 0.5 + 0.25;
    // a + b: Var = Var a + Var b + 2 Cov, Cov(a, b) = -Var(a) / 2
    let (var_a, var_b) = (1.0 / 12.0, 1.0 / 9.0 - 1.0 / 16.0);
    let sum_var: f64 = 0.75 + 0.04 + w[0].1.powi(2) + var_a + var_b - var_a + 1.0;
    let moments = [
        ("r", 0, 1.5, 0.75f64.sqrt()),
        ("p", 0, 0.4, 0.2),
        ("w", 0, w[0].0, w[0].1),
        ("w", 1, w[1].0, w[1].1),
        ("w", 2, w[2].0, w[2].1),
        ("a", 0, 0.5, f64::sqrt(var_a)),
        ("b", 0, 0.25, f64::sqrt(var_b)),
        ("y", 2, sum_mean, sum_var.sqrt()),
    ];
    for (name, element, m, sd) in moments {
        let x = draws(&all, name, element);
        assert_mean(&x, m, &format!("mean of {name}[{element}]"));
        let squares: Vec<f64> = x.iter().map(|x| (x - m).powi(2)).collect();
        assert_mean(&squares, sd * sd, &format!("variance of {name}[{element}]"));
    }
}

#[test]
fn a_number_that_is_not_finite_is_blamed() {
    use bayesc::infer::RunError;
    use bayesc::session::{Failure, RunOptions};
    let c = compile(
        "data y: real[N] = [0.3, 0.1]\nmodel {\n  x ~ Normal(0, 1)\n  sigma = exp(10000 * x)\n  y ~ Normal(0, sigma)\n}\n\
         infer svi { steps = 50 }\n",
    );
    match try_fit(&c, &RunOptions::default()) {
        Err(Failure::Run(RunError::NotFinite { what, step, value, origin })) => {
            assert!(what.contains("`y`"), "{what}");
            assert!(step.is_some_and(|s| s <= 50), "{step:?}");
            assert!(!value.is_finite());
            assert!(origin.is_some_and(|(span, _)| span.is_some()), "{origin:?}");
        }
        other => panic!("expected an error, found {:?}", other.map(|f| f.elbo)),
    }
}
