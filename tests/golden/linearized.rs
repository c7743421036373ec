//! Predictions linearized at the mode of laplace: where the model is linear they are those of the draws, elsewhere those of
//! its derivative.

use crate::common::*;
use bayesc::data::{DataArgument, Files};
use bayesc::infer::predict::{Part, Said};
use bayesc::report::fit::Fit;
use bayesc::report::predictions::{Predictions, Shown};
use bayesc::session::{self, Output, PredictOptions, RunOptions};
use std::ops::ControlFlow;

/// Keeps the probabilities of classes.
#[derive(Default)]
struct Probs(Vec<f64>);
impl Output for Probs {
    fn begin(&mut self, _: &[Shown], _: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn part(&mut self, _: &Shown, part: &Part<'_>) -> ControlFlow<()> {
        if let Said::Classes(said) = part.said {
            self.0.extend_from_slice(said.probs);
        }
        ControlFlow::Continue(())
    }
}

/// What the content of a fit directory says of new data.
fn predict(fit: &Fit, data: &str) -> (Predictions, Vec<f64>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new.json");
    std::fs::write(&path, data).expect("a file");
    let compilation = session::recompile(fit).expect("its program is accepted");
    let restored = session::restore(&compilation, fit).expect("its sizes are there");
    let new = session::bind_new(&restored, &mut Files::new(), &[DataArgument::All(path)], false).expect("the data fit");
    let mut probs = Probs::default();
    let options = PredictOptions { draws: Some(200), keep: 100 };
    let predictions = session::predict(&restored, fit, &new, options, &mut probs).expect("nothing is missing");
    (predictions, probs.0)
}

/// `model` fitted to a few data, with three held out.
fn scored(y: &str, model: &str, new: &str, settings: &str) -> Fit {
    fit(&format!(
        "data x: real[N] = [-1.0, -0.3, 0.4, 1.2, 2.0, 0.1]\ndata y: {y}\nmodel {{\n{model}\n}}\n\
         infer laplace {{ draws = 100, seed = 3, {settings} }}\nevaluate {{\n  x = [0.5, -1.5, 3.0]\n  y = {new}\n}}\n"
    ))
}

/// Where the unbounded parameters of the likelihood are linear in the coordinates, linearizing changes nothing.
#[test]
fn linear_models_are_predicted_as_by_their_draws() {
    let counts = ("int[N] in 0.. = [3, 1, 4, 2, 7, 3]", "[2, 0, 12]");
    let truths = ("int[N] in 0..2 = [0, 1, 0, 1, 1, 0]", "[1, 0, 1]");
    let reals = ("real[N] = [-0.4, 0.2, 0.7, 1.9, 2.2, 0.3]", "[1.0, -1.0, 3.0]");
    let line = "  a ~ Normal(0, 2)\n  b ~ Normal(0, 2)\n";
    let classes = "  a: real[2] ~ Normal(0, 2)\n  b: real[2] ~ Normal(0, 2)\n";
    for ((y, new), sites, likelihood) in [
        (reals, line, "Normal(a + b * x, 0.5)"),
        (reals, "  a ~ Normal(0, 2)\n  b ~ Normal(0, 2)\n  s ~ HalfNormal(1)\n", "Normal(a + b * x, s)"),
        (truths, line, "Bernoulli(logits = a + b * x)"),
        (truths, line, "Bernoulli(probs = sigmoid(a + b * x))"),
        (truths, classes, "Categorical(logits = a + outer(x, b))"),
        (truths, classes, "Categorical(probs = softmax(a + outer(x, b), axis = -1))"),
        (counts, line, "Poisson(exp(a + b * x))"),
    ] {
        let model = format!("{sites}  y ~ {likelihood}");
        let [by_draws, linear] = ["draws", "linearized"].map(|p| scored(y, &model, new, &format!("predictive = {p}")));
        assert!(linear.notes.iter().any(|n| n.contains("linearized at the mode")), "{:?}", linear.notes);
        assert_eq!(by_draws.quantities, linear.quantities, "the posterior is the same");
        let (want, got) = (&by_draws.evaluation[0].1.values, &linear.evaluation[0].1.values);
        assert_eq!(want.len(), got.len());
        for ((name, want), (_, got)) in want.iter().zip(got) {
            assert_close(*got, *want, 1e-10 * want.abs().max(1.0), &format!("{name} of {likelihood}"));
        }
    }
}

const NETWORK: &str = "data x: real[N, 1] = [[-1.0], [-0.3], [0.4], [1.2], [2.0]]\ndata y: int[N] in 0..2 = [0, 1, 0, 1, 1]\n\
    model {\n  w: real[1, 3] ~ Normal(0, 1)\n  s ~ HalfNormal(1)\n  v: real[3, 1] ~ Normal(0, 2)\n  \
    y ~ Bernoulli(logits = s * dense(tanh(dense(x, w)), v)[:, 0])\n}\n";

/// The logit of a row of `NETWORK` at the coordinates `u`: w, ln s, v.
fn logit(u: &[f64], x: f64) -> f64 {
    u[3].exp() * (0..3).map(|i| u[4 + i] * (u[i] * x).tanh()).sum::<f64>()
}

/// The probabilities that follow from central differences along the way from the mode to each draw.
fn by_differences(fit: &Fit, rows: &[f64]) -> Vec<f64> {
    let mode: Vec<f64> = ["w.mode", "s.mode", "v.mode"].iter().flat_map(|name| params(fit, name).to_vec()).collect();
    let column = |name: &str, at: usize| draws(&fit.quantities, name, at);
    let (w, s, v) = ([0, 1, 2].map(|i| column("w", i)), column("s", 0), [0, 1, 2].map(|i| column("v", i)));
    let n = s.len();
    let of_row = |&x: &f64| {
        let one = |draw: usize| {
            let u = [w[0][draw], w[1][draw], w[2][draw], s[draw].ln(), v[0][draw], v[1][draw], v[2][draw]];
            let moved = |h: f64| -> Vec<f64> { mode.iter().zip(u).map(|(m, u)| m + h * (u - m)).collect() };
            let slope = (logit(&moved(1e-5), x) - logit(&moved(-1e-5), x)) / 2e-5;
            1.0 / (1.0 + (-(logit(&mode, x) + slope)).exp())
        };
        (0..n).map(one).sum::<f64>() / n as f64
    };
    rows.iter().map(of_row).collect()
}

#[test]
fn a_network_is_predicted_along_its_derivative() {
    for hessian in ["full", "diag", "last_layer"] {
        let text = format!(
            "{NETWORK}infer laplace {{ hessian = {hessian}, draws = 50, seed = 2 }}\n\
             evaluate {{\n  x = [[0.5], [-2.0], [3.0]]\n  y = [1, 0, 1]\n}}\n"
        );
        let fit = fit(&text);
        // Its weights are those of layers: that is enough.
        assert!(fit.settings.contains(&("predictive".to_string(), "linearized".into())), "{:?}", fit.settings);
        let rows = [0.5, -2.0, 3.0];
        let want = by_differences(&fit, &rows);
        let (predictions, probs) = predict(&fit, r#"{"x": [[0.5], [-2.0], [3.0]], "y": [1, 0, 1]}"#);
        for (row, want) in want.iter().enumerate() {
            assert_close(probs[2 * row + 1], *want, 1e-6, &format!("{hessian}, row {row}"));
        }
        assert_eq!(predictions.whole[0].scores.as_ref(), Some(&fit.evaluation[0].1), "{hessian}: as in the fit");
        let nll = [want[0], 1.0 - want[1], want[2]].map(|p| -p.ln()).iter().sum::<f64>() / 3.0;
        assert_close(fit.evaluation[0].1.get("nll").expect("a score"), nll, 1e-6, "nll");
        // The network at the draws says something else, unless only the last layer moves, in which it is linear.
        let other = self::fit(&text.replace("draws = 50", "predictive = draws, draws = 50"));
        let far = (other.evaluation[0].1.get("nll").expect("a score") - nll).abs();
        if hessian == "last_layer" {
            assert!(far < 1e-6, "{far}");
        } else {
            assert!(far > 1e-4, "{hessian}: {far}");
        }
        assert!(fit.loo.is_none() && other.loo.is_some());
    }
}

/// Standard variables of hierarchical sites are the coordinates then.
#[test]
fn standard_variables_are_followed() {
    let model = "  t ~ HalfNormal(1)\n  w: real[1, 1] ~ Normal(0, t)\n  y ~ Normal(dense(x, w)[:, 0], 0.5)";
    let text = format!(
        "data x: real[N, 1] = [[-1.0], [0.4], [2.0]]\ndata y: real[N] = [-0.4, 0.7, 2.2]\nmodel {{\n{model}\n}}\n\
         infer laplace {{ reparam = noncentered(w), draws = 4000, seed = 1 }}\nevaluate {{\n  x = [[1.0]]\n  y = [1.0]\n}}\n"
    );
    let fit = fit(&text);
    let mode = [params(&fit, "t.mode")[0], params(&fit, "w.mode")[0]];
    let (t, w) = (draws(&fit.quantities, "t", 0), draws(&fit.quantities, "w", 0));
    // w = exp(u) z, linear in u = ln t and z.
    let at = |t: f64, w: f64| mode[0].exp() * (mode[1] + mode[1] * (t.ln() - mode[0]) + (w / t - mode[1]));
    let densities = t.iter().zip(&w).take(200).map(|(t, w)| log_normal(1.0, at(*t, *w), 0.5).exp());
    let nll = -(densities.sum::<f64>() / 200.0).ln();
    assert_close(fit.evaluation[0].1.get("nll").expect("a score"), nll, 1e-10, "nll");
}

#[test]
fn what_has_no_linear_predictions_is_refused() {
    let mixture = |settings: &str| {
        format!(
            "data x: real[N, 1] = [[-1.0], [0.4], [2.0]]\ndata y: real[N] = [-0.4, 0.7, 2.2]\nmodel {{\n  w: real[1, 1] ~ Normal(0, 1)\n  \
             y ~ Mixture([0.5, 0.5], [Normal(dense(x, w)[:, 0], 0.5), Normal(0, 2)])\n}}\ninfer laplace {{ draws = 50{settings} }}\n"
        )
    };
    let c = compile(&mixture(", predictive = linearized"));
    let failure = format!("{:?}", try_fit(&c, &RunOptions::default()).err());
    assert!(failure.contains("E0703") && failure.contains("made of others, `Mixture`"), "{failure}");
    // What was not asked for is told.
    let fit = fit(&mixture(""));
    assert!(fit.notes.iter().any(|n| n.contains("not linearized: `y`")), "{:?}", fit.notes);
    let local = "data y: real[N] = [1, 2, 4]\nmodel {\n  z: real[N] ~ Normal(0, 1)\n  y ~ Normal(z, 1)\n}\n\
                 infer laplace { draws = 50, predictive = linearized }\nevaluate {\n  y = [1, 2]\n}\n";
    let failure = format!("{:?}", try_fit(&compile(local), &RunOptions::default()).err());
    assert!(failure.contains("E0703") && failure.contains("`z` has new rows"), "{failure}");
}
