//! Fits kept together as an ensemble, and fits used again without the data that they were made from.

use crate::common::*;
use bayesc::data::{DataArgument, Files};
use bayesc::infer::predict::Part;
use bayesc::report::fit::Fit;
use bayesc::report::predictions::{Predictions, Shown};
use bayesc::session::{self, Output, PredictOptions, RunOptions, Unobserved};
use std::ops::ControlFlow;

struct Ignore;
impl Output for Ignore {
    fn begin(&mut self, _: &[Shown], _: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn part(&mut self, _: &Shown, _: &Part<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// A fit whose observer does not count steps: those of every member begin with 1.
fn fit(text: &str) -> Fit {
    let c = compile(text);
    session::run(&bind(&c), &RunOptions::default(), &mut Unobserved).unwrap_or_else(|e| panic!("the fit fails: {e:?}"))
}

/// What a fit says of the data in a JSON file.
fn predict(fit: &Fit, data: &str) -> Predictions {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new.json");
    std::fs::write(&path, data).expect("a file");
    let compilation = session::recompile(fit).expect("its program is accepted");
    let restored = session::restore(&compilation, fit).expect("its sizes are there");
    let arguments = [DataArgument::All(path)];
    let new = session::bind_new(&restored, &mut Files::new(), &arguments, false).expect("the data fit");
    let options = PredictOptions { draws: Some(200), keep: 100 };
    session::predict(&restored, fit, &new, options, &mut Ignore).expect("nothing is missing")
}

#[test]
fn an_ensemble_has_all_its_members_equally() {
    // The square of mu is seen: one fit finds 2 or -2, several find both.
    let text = "data x: real[N] = [1, 2, 3]\ndata y: real[N] = [4, 8, 12]\nmodel {\n  mu ~ Normal(0, 3)\n  \
                y ~ Normal(mu * mu * x, 0.1)\n}\nguide mean_field\n\
                infer svi { steps = 3000, optimizer = adam(2e-2), restarts = 6, keep = all, draws = 600, seed = 1 }\n\
                evaluate {\n  x = [1.5, 0.5]\n  y = [6, 2]\n}\n";
    let fit = fit(text);
    let mu = quantity(&fit.quantities, "mu");
    assert_eq!((mu.chains, mu.draws), (6, 100));
    let mean = |chain: usize| (0..100).map(|i| mu.value(chain, i, 0)).sum::<f64>() / 100.0;
    let means: Vec<f64> = (0..6).map(mean).collect();
    assert!(means.iter().all(|m| (m.abs() - 2.0).abs() < 0.05), "{means:?}");
    assert!(means.iter().any(|m| *m > 0.0) && means.iter().any(|m| *m < 0.0), "both modes are found: {means:?}");
    let loc = fit.params.iter().find(|p| p.name == "mu.loc").expect("locations");
    assert_eq!(loc.shape, [6]);
    for (loc, mean) in loc.data.iter().zip(&means) {
        assert!((loc - mean).abs() < 0.05, "member by member: {loc} and {mean}");
    }
    assert!(fit.notes.iter().any(|n| n.starts_with("an ensemble of 6 fits with equal weights")), "{:?}", fit.notes);
    let best = self::fit(&text.replace("keep = all", "keep = best"));
    assert!(elbo_of(&best).0 >= elbo_of(&fit).0 - 1e-9, "the mean of the bounds is below the best");
    // The same scores from the fit directory's content alone.
    let again = predict(&fit, r#"{"x": [1.5, 0.5], "y": [6, 2]}"#);
    assert_eq!(again.whole[0].scores.as_ref(), Some(&fit.evaluation[0].1));
    let nll = fit.evaluation[0].1.get("nll").expect("a score");
    assert!(nll < -1.0, "every member predicts well: {nll}");
}

#[test]
fn constants_of_a_member_go_with_its_draws() {
    // The learnable constant stands for the sign: draws of one member with the constant of another predict nonsense.
    let text = "data x: real[N] = [1, 2, 3]\ndata y: real[N] = [4, 8, 12]\nmodel {\n  param c: real = 0.01\n  a ~ Normal(0, 3)\n  \
                y ~ Normal(a * c * x, 0.1)\n}\nguide mean_field\n\
                infer svi { steps = 4000, optimizer = adam(2e-2), restarts = 5, keep = all, draws = 200, seed = 4 }\n\
                evaluate {\n  x = [1.5, 0.5]\n  y = [6, 2]\n}\n";
    let fit = fit(text);
    let c = fit.params.iter().find(|p| p.name == "c").expect("the constant");
    assert!(c.data.iter().any(|x| (x - c.data[0]).abs() > 1e-3), "constants differ: {:?}", c.data);
    let rmse = fit.evaluation[0].1.get("rmse").expect("a score");
    assert!(rmse < 0.2, "{rmse}");
    let again = predict(&fit, r#"{"x": [1.5, 0.5], "y": [6, 2]}"#);
    assert_eq!(again.whole[0].scores.as_ref(), Some(&fit.evaluation[0].1));
}

#[test]
fn draws_that_are_not_kept_are_made_again() {
    // More numbers than are kept draw by draw.
    let text = "data x: real[N] = [1, 2, 3]\ndata y: real[N] = [0.5, 1, 2]\nmodel {\n  w: real[11000] ~ Normal(0, 1)\n  \
                s ~ HalfNormal(1)\n  y ~ Normal(x * w[3] + mean(w), s)\n}\nguide mean_field\n\
                infer svi { steps = 50, draws = 300 }\nevaluate {\n  x = [1.5, 0.5]\n  y = [1, 0]\n}\n";
    let fit = fit(text);
    assert!(!quantity(&fit.quantities, "w").has_draws());
    let again = predict(&fit, r#"{"x": [1.5, 0.5], "y": [1, 0]}"#);
    assert_eq!(again.whole[0].scores.as_ref(), Some(&fit.evaluation[0].1), "the same draws as in the fit");
}

#[test]
fn local_sites_of_new_rows_are_predicted_from_their_prior() {
    let text = "data y: real[J] = [28, 8, -3, 7, -1, 1, 18, 12]\ndata sigma: real[J] = [15, 10, 16, 11, 9, 11, 10, 18]\n\
                model {\n  mu ~ Normal(0, 5)\n  tau ~ HalfNormal(5)\n  theta: real[J] ~ Normal(mu, tau)\n  \
                y ~ Normal(theta, sigma)\n}\ninfer nuts { chains = 2, warmup = 300, draws = 400, seed = 1 }\n";
    let fit = fit(text);
    let new = predict(&fit, r#"{"sigma": [1, 100]}"#);
    assert!(new.notes.iter().any(|n| n.contains("`theta` are drawn from their prior")), "{:?}", new.notes);
    let sd = |i: usize| new.json()["predictions"]["y"]["sd"][i].as_f64().expect("a number");
    // sd(theta)^2 + 1 for the precise one, about 100 for the other.
    assert!(sd(0) > 3.0 && sd(0) < 10.0, "{}", sd(0));
    assert!((sd(1) / 100.0 - 1.0).abs() < 0.2, "{}", sd(1));
}

#[test]
fn the_maxima_of_all_searches_make_an_ensemble() {
    let text = "data x: real[N] = [1, 2, 3]\ndata y: real[N] = [4, 8, 12]\nmodel {\n  mu ~ Normal(0, 3)\n  \
                y ~ Normal(mu * mu * x, 0.1)\n}\ninfer map { restarts = 8, keep = all, seed = 2 }\n\
                evaluate {\n  x = [1.5, 0.5]\n  y = [6, 2]\n}\n";
    let fit = fit(text);
    let mu = quantity(&fit.quantities, "mu");
    let members: Vec<f64> = (0..mu.chains).map(|c| mu.value(c, 0, 0)).collect();
    assert!(members.iter().all(|m| (m.abs() - 2.0).abs() < 0.01), "{members:?}");
    assert!(members.iter().any(|m| *m > 0.0) && members.iter().any(|m| *m < 0.0), "{members:?}");
    let again = predict(&fit, r#"{"x": [1.5, 0.5], "y": [6, 2]}"#);
    assert_eq!(again.whole[0].scores.as_ref(), Some(&fit.evaluation[0].1));
}
