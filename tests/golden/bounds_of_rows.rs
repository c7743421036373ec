//! Importance weighted bounds where rows are subsampled: against the same bounds of each row alone, and against known
//! evidences.

use crate::common::*;
use bayesc::check::settings::KlChoice;
use bayesc::session::{Failure, RunOptions};

const Y: [f64; 3] = [1.5, -0.4, 2.2];
const MODEL: &str = "model {\n  param shift: real = 0.3\n  z: real[N] ~ Normal(0, 1)\n  s: real[N] ~ LogNormal(0, 0.5)\n  \
                     y ~ StudentT(4, z + shift, s)\n}\nguide {\n  z ~ Normal(?(0.5), ?(0.8))\n  s ~ LogNormal(?(-0.2), ?(0.6))\n}\n";

fn data(y: &[f64]) -> String {
    format!("data y: real[N] = {y:?}\n")
}

/// The gradients of the negative bound, one for each seed: plain descent moves by them.
fn gradients(text: &str, infer: &str, seeds: std::ops::Range<u64>) -> Vec<Vec<f64>> {
    let c = compile(&format!("{text}infer svi {{ steps = 1, optimizer = sgd(1e-3), draws = 2, {infer} }}\n"));
    let bound = bind(&c);
    let start = Elbo::of(&c, KlChoice::MonteCarlo).start(0);
    seeds
        .map(|seed| {
            let options = RunOptions { seed: Some(seed), ..RunOptions::default() };
            let fit = bayesc::session::run(&bound, &options, &mut Patient::default()).expect("a step");
            let after: Vec<f64> = fit.params.iter().flat_map(|p| p.data.clone()).collect();
            start.iter().zip(after).map(|(before, after)| (before - after) / 1e-3).collect()
        })
        .collect()
}
fn column(rows: &[Vec<f64>], at: usize) -> (f64, f64) {
    mean_and_error(&rows.iter().map(|row| row[at]).collect::<Vec<_>>())
}

/// The gradient of a row's parameters is that of the bound of this row alone, that of a constant of the model their sum: with
/// all rows in a step, with two of three (so that steps have different lengths), and with one.
#[test]
fn gradients_are_those_of_each_row_alone() {
    let n = Y.len();
    for elbo in ["elbo = iwae(4)", "elbo = renyi(0.4, 4)"] {
        let alone: Vec<Vec<Vec<f64>>> = Y
            .iter()
            .map(|y| gradients(&format!("{}{MODEL}", data(&[*y])), &format!("{elbo}, particles = 40"), 0..150))
            .collect();
        // A constant, then for each of two sites locations and scales.
        assert_eq!(alone[0][0].len(), 5);
        for rows in [3, 2, 1] {
            let infer = format!("{elbo}, particles = {}, minibatch N = {rows}", 120 / rows);
            let together = gradients(&format!("{}{MODEL}", data(&Y)), &infer, 0..600 / rows as u64);
            assert_eq!(together[0].len(), 1 + 4 * n);
            let compare = |got: (f64, f64), want: (f64, f64), what: &str| {
                let slack = 4.5 * (got.1.powi(2) + want.1.powi(2)).sqrt();
                assert!((got.0 - want.0).abs() < slack, "{elbo}, {rows} rows, {what}: {got:?}, alone {want:?}");
                slack
            };
            let shifts: Vec<(f64, f64)> = alone.iter().map(|row| column(row, 0)).collect();
            let sum = (shifts.iter().map(|s| s.0).sum(), shifts.iter().map(|s| s.1 * s.1).sum::<f64>().sqrt());
            compare(column(&together, 0), sum, "the constant");
            for row in 0..n {
                for of in 0..4 {
                    let want = column(&alone[row], 1 + of);
                    let slack = compare(column(&together, 1 + of * n + row), want, &format!("row {row}, {of}"));
                    assert!(rows < 3 || slack < 0.2, "row {row}, {of}: {slack} tells little");
                }
            }
        }
    }
}

/// y = z + noise with standard normal z has the evidence Normal(0, sqrt 2); a guide that knows nothing of its row is loose.
#[test]
fn bounds_of_rows_tighten_to_the_evidence() {
    let y: Vec<f64> = (0..40).map(|i| 2.0 * (f64::from(i) * 0.7).sin() + 0.3).collect();
    let evidence: f64 = y.iter().map(|y| -0.5 * (4.0 * std::f64::consts::PI).ln() - y * y / 4.0).sum();
    let text = format!(
        "{}model {{\n  z: real[N] ~ Normal(0, 1)\n  y ~ Normal(z, 1)\n}}\nguide {{\n  param m: real = 0\n  param s: real in 0.. = 1\n  \
         z ~ Normal(m, s)\n}}\n",
        data(&y)
    );
    let run = |elbo: &str, rows: usize| {
        let settings = format!("epochs = 200, minibatch N = {rows}, optimizer = adam(1e-2), schedule = cosine, {elbo}");
        fit(&format!("{text}infer svi {{ {settings} }}\n"))
    };
    let plain = elbo_of(&run("elbo = elbo", 16));
    let mut last = plain;
    for k in [4, 16, 256] {
        // Sixteen rows a step, and eight in the last of an epoch.
        let fit = run(&format!("elbo = iwae({k})"), 16);
        let bound = fit.bound.as_ref().expect("a bound of its own");
        let (value, error) = (bound.final_, bound.standard_error);
        assert!(value < evidence + 4.5 * error, "iwae({k}) = {value} ± {error} above {evidence}");
        assert!(value > last.0 + 4.5 * last.1.min(error), "iwae({k}) = {value} ± {error} is no tighter than {last:?}");
        last = (value, error);
    }
    assert!(evidence - plain.0 > 5.0 && evidence - last.0 < 0.3, "{plain:?} {last:?} {evidence}");
    // One bound of all rows together is much looser: their weights multiply.
    let whole = fit(&format!(
        "{text}infer svi {{ steps = 2000, optimizer = adam(1e-2), schedule = cosine, elbo = iwae(16) }}\n"
    ));
    let whole = whole.bound.as_ref().expect("a bound of its own").final_;
    assert!(whole < last.0 - 2.0, "{whole} {last:?}");
}

#[test]
fn what_has_no_bounds_of_rows_is_refused() {
    let refused = |text: &str, why: &str| {
        let c = compile(&format!("{}{text}infer svi {{ steps = 1, minibatch N = 2, elbo = iwae(4) }}\n", data(&Y)));
        match bayesc::session::run(&bind(&c), &RunOptions::default(), &mut Patient::default()) {
            Err(Failure::Diagnostics(d)) => {
                let text = format!("{d:?}");
                assert!(text.contains(why), "{text}");
            }
            other => panic!("{text} is refused: {:?}", other.map(|_| ())),
        }
    };
    refused("model {\n  m ~ Normal(0, 1)\n  y ~ Normal(m, 1)\n}\n", "`m` is shared by all rows");
    refused(
        "data c: real = 0.5\nmodel {\n  param b: real = 0\n  z: real[N] ~ Normal(0, 1)\n  c ~ Normal(b, 1)\n  y ~ Normal(z, 1)\n}\n",
        "has no rows",
    );
    refused(
        "model {\n  param b: real = 0\n  z: real[N] ~ Normal(0, 1)\n  y ~ Normal(z, 1)\n  factor(-b * b)\n}\n",
        "`factor` does not say",
    );
    refused(
        "model {\n  z: real[N] ~ Normal(0, 1)\n  w: real[N] ~ Normal(z, 1)\n  y ~ Normal(w, 1)\n}\nguide {\n  z ~ Normal(?, ?)\n  \
         w ~ Normal(z, ?)\n}\n",
        "does not draw row by row",
    );
}
