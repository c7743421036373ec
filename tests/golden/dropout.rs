//! MC dropout as a guide, against the expectation over its masks in closed form.

use crate::common::*;
use bayesc::check::settings::{EstimatorChoice, KlChoice};
use bayesc::lower::estimators::{Estimator, choose};
use bayesc::rng::Key;
use bayesc::session::RunOptions;

const RATE: f64 = 0.3;
/// Rows that are alike, far from what the weights of the test make of them: one mask for all moves them together.
const X: [[f64; 3]; 4] = [[1.0, -0.5, 0.3], [0.9, -0.6, 0.3], [1.1, -0.5, 0.2], [1.0, -0.4, 0.4]];
const Y: [f64; 4] = [2.7, 2.4, 2.1, 3.2];

fn program(layer: &str, shape: &str) -> String {
    let rows: Vec<Vec<f64>> = X.iter().map(|r| r.to_vec()).collect();
    format!(
        "data x: real[N, 3] = {}\ndata y: real[N] = {}\nmodel {{\n  w: real[{shape}] ~ Normal(0, 2)\n  \
         b: real[1] ~ Normal(0, 1)\n  y ~ Normal(flatten({layer})[:, 0], 0.5)\n}}\nguide dropout({RATE})\n",
        matrix_literal(&rows),
        literal(&Y),
    )
}

#[test]
fn elbo_is_the_expectation_over_masks() {
    let (m, b) = ([0.8, -0.6, 0.4], 0.2);
    let keep = 1.0 - RATE;
    // E ln p(y): the mean of each output is x m + b, its variance sum of (x m)^2 rate / keep.
    let mut want = log_normal(b, 0.0, 1.0);
    for (x, y) in X.iter().zip(Y) {
        let mean: f64 = b + x.iter().zip(m).map(|(x, m)| x * m).sum::<f64>();
        let variance: f64 = x.iter().zip(m).map(|(x, m)| (x * m).powi(2) * RATE / keep).sum();
        want += log_normal(y, mean, 0.5) - 0.5 * variance / 0.25;
    }
    // The prior's term: that of the paper, m^2 / (2 keep s^2), but for a constant.
    let at_zero: f64 = 3.0 * log_normal(0.0, 0.0, 2.0);
    let penalty: f64 = m.iter().map(|m| m * m / (2.0 * keep * 4.0)).sum();
    want += at_zero - penalty;
    let layers = [
        ("dense(x, w, b)", "3, 1"),
        ("conv2d(reshape(x, [N, 3, 1, 1]), w, b)", "1, 3, 1, 1"),
        ("conv_transpose1d(reshape(x, [N, 3, 1]), w, b)", "3, 1, 1"),
    ];
    for (layer, shape) in layers {
        let text = program(layer, shape);
        let c = compile(&text);
        let choice = choose(&c.program, &c.program.guides[0], EstimatorChoice::Auto);
        assert_eq!(choice[0].estimator, Estimator::Dropout, "{layer}: {}", choice[0].reason);
        let mut spreads = Vec::new();
        for estimator in [EstimatorChoice::Auto, EstimatorChoice::Reparam] {
            let mut e = Elbo::new(&text, KlChoice::Auto);
            e.estimator = estimator;
            let mut p = e.start(0);
            e.set(&mut p, "w.loc", &m);
            e.set(&mut p, "b.loc", &[b]);
            let values: Vec<f64> = (0..20_000).map(|seed| e.at(&p, Key::new(seed), None).elbo).collect();
            assert_mean(&values, want, &format!("{layer} {estimator:?}"));
            spreads.push(mean_and_error(&values).1);
        }
        assert!(spreads[0] < 0.7 * spreads[1], "masks for every row are quieter: {spreads:?}");
    }
}

#[test]
fn draws_lose_whole_inputs() {
    let text = program("dense(x, w, b)", "3, 1") + "infer svi { steps = 200, seed = 1, draws = 4000 }\n";
    let fit = fit(&text);
    let loc = params(&fit, "w.loc");
    for i in 0..3 {
        let w = draws(&fit.quantities, "w", i);
        assert!(w.iter().all(|w| *w == 0.0 || (w - loc[i] / (1.0 - RATE)).abs() < 1e-12), "points and zeros");
        assert_mean(&w.iter().map(|w| f64::from(u8::from(*w == 0.0))).collect::<Vec<_>>(), RATE, "the rate");
    }
    let b = draws(&fit.quantities, "b", 0);
    assert!(b.iter().all(|x| *x == b[0]), "a bias is a point");
    assert_eq!(fit.diagnostics.pareto_k, None, "points have no importance ratios");
    assert!(fit.notes.iter().any(|n| n.contains("up to a constant")), "{:?}", fit.notes);
}

#[test]
fn laplace_as_a_guide_is_the_algorithm() {
    let model =
        "data y: real[N] = [0.4, 1.9, -0.2]\nmodel {\n  m ~ Normal(0, 1)\n  s ~ HalfNormal(1)\n  y ~ Normal(m, s)\n}\n";
    let as_guide = fit(&format!("{model}guide laplace\ninfer svi {{ seed = 4, draws = 300 }}\n"));
    let as_engine = fit(&format!("{model}infer laplace {{ seed = 4, draws = 300 }}\n"));
    assert_eq!(as_guide.algorithm, "laplace");
    for name in ["m", "s"] {
        assert_eq!(draws(&as_guide.quantities, name, 0), draws(&as_engine.quantities, name, 0), "{name}");
    }
    let options = RunOptions { guide: Some("laplace".into()), ..RunOptions::default() };
    let c = compile(&format!("{model}infer svi {{ seed = 4, draws = 300 }}\n"));
    assert_eq!(draws(&fit_with(&c, &options).quantities, "m", 0), draws(&as_engine.quantities, "m", 0));
}

#[test]
fn flows_over_one_number_are_refused() {
    let c = compile("model {\n  m ~ Normal(0, 1)\n}\nguide flow(iaf)\n");
    let failure = format!("{:?}", try_fit(&c, &RunOptions::default()).err());
    assert!(failure.contains("no more than a normal"), "{failure}");
    for (guide, words) in [("flow(spline)", "not supported yet"), ("mixture(1)", "from 2 to 64"), ("flow", "kind")] {
        let options = RunOptions { guide: Some(guide.into()), ..RunOptions::default() };
        let failure = format!("{:?}", try_fit(&c, &options).err());
        assert!(failure.contains(words), "{guide}: {failure}");
    }
}

#[test]
fn a_last_layer_has_the_posterior_of_its_regression() {
    // Given its features, the last layer is a normal regression: precision 1 / prior^2 + h' h / sd^2.
    let c = compile(
        "data x: real[N, 1] = [[-1.0], [-0.3], [0.4], [1.2], [2.0]]\ndata y: real[N] = [0.3, -0.2, 0.5, 0.9, 0.1]\n\
         model {\n  w: real[1, 2] ~ Normal(0, 1)\n  v: real[2, 1] ~ Normal(0, 2)\n  \
         keep h = tanh(dense(x, w))\n  y ~ Normal(flatten(dense(h, v))[:, 0], 0.5)\n}\n\
         infer laplace { hessian = last_layer, draws = 4000, seed = 1 }\n",
    );
    let fit = fit_with(&c, &RunOptions::default());
    let w = draws(&fit.quantities, "w", 0);
    assert!(w.iter().all(|x| *x == w[0]), "the first layer is a point");
    let h: Vec<f64> = (0..10).map(|i| draws(&fit.quantities, "h", i)[0]).collect();
    let gram = |a: usize, b: usize| (0..5).map(|n| h[2 * n + a] * h[2 * n + b]).sum::<f64>() / 0.25;
    let (p, q, r) = (0.25 + gram(0, 0), gram(0, 1), 0.25 + gram(1, 1));
    let det = p * r - q * q;
    let v: Vec<Vec<f64>> = (0..2).map(|i| draws(&fit.quantities, "v", i)).collect();
    let means = [mean(&v[0]), mean(&v[1])];
    for (a, b, want) in [(0, 0, r / det), (0, 1, -q / det), (1, 1, p / det)] {
        let products: Vec<f64> = v[a].iter().zip(&v[b]).map(|(x, y)| (x - means[a]) * (y - means[b])).collect();
        assert_mean(&products, want, "a covariance");
    }
    assert_eq!((fit.diagnostics.pareto_k, fit.mode.and_then(|m| m.log_evidence)), (None, None));
    assert!(fit.notes.iter().any(|n| n.contains("`v`") && !n.contains("`w`")), "{:?}", fit.notes);
}
