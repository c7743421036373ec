//! Laplace's approximation with Kronecker factors: where they are the whole matrix, and on a small network.

use crate::common::*;
use bayesc::report::fit::Fit;

/// Inputs of a regression, `[40, 2]`.
fn inputs() -> Vec<[f64; 2]> {
    (0..40).map(|i| [(f64::from(i) * 0.37).sin(), (f64::from(i) * 0.91).cos() + 0.3]).collect()
}
fn regression(hessian: &str) -> Fit {
    let x = inputs();
    let y: Vec<[f64; 2]> = x.iter().map(|x| [0.5 * x[0] - x[1], 2.0 * x[0] + 0.1]).collect();
    let text = format!(
        "data x: real[N, 2] = {x:?}\ndata y: real[N, 2] = {y:?}\nmodel {{\n  w: real[2, 2] ~ Normal(0, 2)\n  b: real[2] ~ Normal(0, 1)\n  \
         y ~ Normal(dense(x, w, b), 0.7)\n}}\ninfer laplace {{ hessian = {hessian}, draws = 20_000 }}\n"
    );
    fit(&text)
}

/// Linear regression with independent outputs: the information is A x I / sigma^2, which is a product; only the bias is held
/// apart.
#[test]
fn a_linear_layer_has_its_exact_curvature() {
    let kron = regression("kron");
    assert!(kron.notes.iter().any(|n| n.contains("`w`, `b`")), "{:?}", kron.notes);
    for output in 0..2 {
        let sd = mean_and_error(&draws(&kron.quantities, "b", output)).1 * 20_000f64.sqrt();
        let want = 1.0 / (40.0 / 0.49 + 1.0f64).sqrt();
        assert!((sd / want - 1.0).abs() < 0.03, "bias {output}: {sd}, exact with the weights given {want}");
    }
    let x = inputs();
    let sum = |i: usize, j: usize| x.iter().map(|x| x[i] * x[j]).sum::<f64>() / 0.49 + if i == j { 0.25 } else { 0.0 };
    let (a, b, d) = (sum(0, 0), sum(0, 1), sum(1, 1));
    let det = a * d - b * b;
    // Covariances of the weights of one output, by input.
    let want = [[d / det, -b / det], [-b / det, a / det]];
    let w: Vec<Vec<f64>> = (0..4).map(|element| draws(&kron.quantities, "w", element)).collect();
    let moment = |i: usize, j: usize| {
        let n = w[i].len() as f64;
        let mean = |i: usize| w[i].iter().sum::<f64>() / n;
        let (mi, mj) = (mean(i), mean(j));
        w[i].iter().zip(&w[j]).map(|(a, b)| (a - mi) * (b - mj)).sum::<f64>() / n
    };
    for output in 0..2 {
        for (i, k) in [(0, 0), (0, 1), (1, 1)] {
            let got = moment(2 * i + output, 2 * k + output);
            let scale = (want[i][i] * want[k][k]).sqrt();
            // 20,000 draws have 1 % of error, and so has the mean over data from the model.
            assert!((got - want[i][k]).abs() < 0.05 * scale, "output {output}, {i} {k}: {got}, exact {}", want[i][k]);
        }
    }
    let apart = moment(0, 1) / (want[0][0] * want[0][0]).sqrt();
    assert!(apart.abs() < 0.05, "outputs are independent: {apart}");
}

/// A network of a convolution and a product has factors for both.
#[test]
fn a_network_has_factors_for_every_layer() {
    let text = "data x: real[N, 1, 4, 4] = X\ndata y: int[N] in 0..2 = Y\nmodel {\n  k: real[3, 1, 3, 3] ~ Normal(0, 1)\n  w: real[12, 2] ~ Normal(0, 1)\n  \
                y ~ Categorical(logits = dense(flatten(relu(conv2d(x, k))), w))\n}\ninfer laplace { hessian = kron, steps = 2000, draws = 200 }\n";
    let image = |i: usize| -> Vec<Vec<Vec<f64>>> {
        let bright = |r: usize, c: usize| if i.is_multiple_of(2) == (r < 2) { 1.0 } else { 0.0 } + 0.3 * ((i * 16 + r * 4 + c) as f64).sin();
        vec![(0..4).map(|r| (0..4).map(|c| bright(r, c)).collect()).collect()]
    };
    let x: Vec<_> = (0..30).map(image).collect();
    let y: Vec<usize> = (0..30).map(|i| i % 2).collect();
    let fit = fit(&text.replace("= X", &format!("= {x:?}")).replace("= Y", &format!("= {y:?}")));
    assert!(fit.notes.iter().any(|n| n.contains("`k`, `w`")), "{:?}", fit.notes);
    for (name, count) in [("k", 27), ("w", 24)] {
        for element in 0..count {
            let sd = mean_and_error(&draws(&fit.quantities, name, element)).1 * 200f64.sqrt();
            // The data say something, and take nothing away from the prior.
            assert!(sd > 0.01 && sd < 1.3, "{name} {element}: {sd}");
        }
    }
}

/// Far from a peak, as searches of networks with kinks end: the Fisher information has no negative direction, and the one of
/// the biases is no exception.
#[test]
fn a_network_short_of_its_mode_has_factors() {
    let text = "data x: real[N, 1, 4, 4] = X\ndata y: int[N] in 0..2 = Y\nmodel {\n  k: real[3, 1, 3, 3] ~ Normal(0, 1)\n  a: real[3] ~ Normal(0, 1)\n  w: real[12, 2] ~ Normal(0, 1)\n  b: real[2] ~ Normal(0, 1)\n  \
                y ~ Categorical(logits = dense(flatten(max_pool2d(relu(conv2d(x, k, a, pad = same)), 2)), w, b))\n}\n\
                infer laplace { hessian = kron, restarts = 1, steps = 3, draws = 50 }\n";
    let image = |i: usize| -> Vec<Vec<Vec<f64>>> {
        vec![(0..4).map(|r| (0..4).map(|c| ((i * 16 + r * 4 + c) as f64 * 1.7).sin()).collect()).collect()]
    };
    let x: Vec<_> = (0..30).map(image).collect();
    let y: Vec<usize> = (0..30).map(|i| i % 2).collect();
    let fit = fit(&text.replace("= X", &format!("= {x:?}")).replace("= Y", &format!("= {y:?}")));
    assert!(fit.notes.iter().any(|n| n.contains("`k`, `a`, `w`, `b`")), "{:?}", fit.notes);
    assert!(!fit.notes.iter().any(|n| n.contains("differences")), "{:?}", fit.notes);
}
