//! Every function of the language in a program: its value at known numbers, and its gradient against differences.

use crate::common::*;
use bayesc::builtins;
use bayesc::check::settings::KlChoice;
use bayesc::rng::Key;

/// The point at which everything is evaluated.
const X: [f64; 6] = [0.3, 0.8, 1.7, 0.05, 2.4, 1.1];
/// Weights that tell the elements of a result apart.
const W: &str = "[1, -2, 0.5, 3, -1, 0.7]";

fn weighted(f: impl Fn(f64) -> f64) -> f64 {
    X.iter().zip([1.0, -2.0, 0.5, 3.0, -1.0, 0.7]).map(|(&x, w)| w * f(x)).sum()
}
/// The value and the gradient in `x` of a `factor` that is computed from `x: real[6]` and `m: real[2, 3]` (the same
/// numbers), next to what differences give.
fn evaluate(expression: &str) -> (f64, Vec<f64>, Vec<f64>) {
    let text = format!(
        "data k: int[T] in 0..6 = [4, 0, 0, 5]\nmodel {{\n  x: real[6] ~ Normal(0, 1)\n  m = reshape(x, [2, 3])\n  \
         w = {W}\n  s = m @ transpose(m) + 2 * eye(2)\n  factor {expression}\n}}\nguide delta\n"
    );
    let mut e = Elbo::new(&text, KlChoice::Auto);
    let mut at = |x: &[f64]| {
        let mut p = e.start(0);
        e.set(&mut p, "x.loc", x);
        let v = e.at(&p, Key::new(0), None);
        let prior: f64 = x.iter().map(|&x| log_normal(x, 0.0, 1.0)).sum();
        let gradient: Vec<f64> = v.gradient.iter().zip(x).map(|(g, x)| -g + x).collect();
        (v.elbo - prior, gradient)
    };
    let (value, gradient) = at(&X);
    let h = 1e-5;
    let differences = (0..X.len())
        .map(|i| {
            let (mut up, mut down) = (X, X);
            up[i] += h;
            down[i] -= h;
            (at(&up).0 - at(&down).0) / (2.0 * h)
        })
        .collect();
    (value, gradient, differences)
}

/// `(expression, value)`; elementwise functions are weighed by `w`.
fn table() -> Vec<(String, f64)> {
    let mut t: Vec<(String, f64)> = Vec::new();
    let mut each = |name: &str, f: &dyn Fn(f64) -> f64| t.push((format!("dot(w, {name}(x))"), weighted(f)));
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    each("abs", &f64::abs);
    each("sign", &f64::signum);
    each("sqrt", &f64::sqrt);
    each("square", &|x| x * x);
    each("exp", &f64::exp);
    each("log", &f64::ln);
    each("log1p", &f64::ln_1p);
    each("expm1", &f64::exp_m1);
    each("sigmoid", &sigmoid);
    each("log_sigmoid", &|x| sigmoid(x).ln());
    each("softplus", &|x| x.exp().ln_1p());
    each("relu", &|x| x.max(0.0));
    each("sin", &f64::sin);
    each("cos", &f64::cos);
    each("tan", &f64::tan);
    each("atan", &f64::atan);
    each("sinh", &f64::sinh);
    each("cosh", &f64::cosh);
    each("tanh", &f64::tanh);
    each("floor", &f64::floor);
    each("ceil", &f64::ceil);
    each("round", &f64::round);
    each("stop_gradient", &|x| x);
    let mut add = |expression: &str, value: f64| t.push((expression.to_string(), value));
    let sum: f64 = X.iter().sum();
    let mean = sum / 6.0;
    let variance = X.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 5.0;
    let log_sum = X.iter().map(|x| x.exp()).sum::<f64>().ln();
    let m = |i: usize, j: usize| X[3 * i + j];
    let ints = X.iter().map(|x| (x - 0.5).floor()).collect::<Vec<_>>();
    // Elementwise, where the argument has to be put into range or an identity is the check.
    add("dot(w, log1m_exp(-x))", weighted(|x| (-(-x).exp()).ln_1p()));
    add("dot(w, logit(x / 3))", weighted(|x| (x / 3.0 / (1.0 - x / 3.0)).ln()));
    add("dot(w, asin(x / 3))", weighted(|x| (x / 3.0).asin()));
    add("dot(w, acos(x / 3))", weighted(|x| (x / 3.0).acos()));
    add("dot(w, atan2(x, 2 - x))", weighted(|x| x.atan2(2.0 - x)));
    add("dot(w, lgamma(x + 1) - lgamma(x))", weighted(f64::ln));
    add("lgamma(4.0 + 0 * x[0])", 6f64.ln());
    add("dot(w, digamma(x + 1) - digamma(x))", weighted(|x| 1.0 / x));
    add("dot(w, lbeta(x, 1.0))", weighted(|x| -x.ln()));
    add("dot(w, lchoose(x + 1, 1.0))", weighted(|x| (x + 1.0).ln()));
    add("dot(w, erf(x) + erfc(x)) + erf(x[0])", weighted(|_| 1.0) + 0.328_626_759_459_127_4);
    add("dot(w, gelu(x) - x * normal_cdf(x))", 0.0);
    add("dot(w, gelu(x))", weighted(|x| x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2))));
    add("dot(w, normal_cdf(x))", weighted(|x| 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2))));
    add("dot(w, normal_icdf(normal_cdf(x)))", weighted(|x| x));
    add("dot(w, log_add_exp(x, 1.0))", weighted(|x| (x.exp() + 1f64.exp()).ln()));
    add("dot(w, maximum(x, 1.0) + minimum(x, 0.5))", weighted(|x| x.max(1.0) + x.min(0.5)));
    add("dot(w, where(x > 1, x ^ 2, x / 2))", weighted(|x| if x > 1.0 { x * x } else { x / 2.0 }));
    add("dot(w, (x + 1) * (x - 2) / (x + 3) ^ 1.5)", weighted(|x| (x + 1.0) * (x - 2.0) / (x + 3.0).powf(1.5)));
    add("dot(w, x % 0.7)", weighted(|x| x % 0.7));
    add("sum(where(x == 9 or x != 8, x, 0)) + sum(where(not (x >= 1), x, 0))", sum + 0.3 + 0.8 + 0.05);
    add("sum(where(x < 1 and x <= 0.4, x, 0))", 0.35);
    // Reductions.
    add("sum(m, over = all) * mean(m, over = all)", sum * mean);
    add("dot([2, 3], sum(m, axis = -1))", 2.0 * (X[0] + X[1] + X[2]) + 3.0 * (X[3] + X[4] + X[5]));
    add("prod(x)", X.iter().product());
    add("max(x) - 2 * min(x)", 2.4 - 0.1);
    add("variance(x) + sd(x)", variance + variance.sqrt());
    add("logsumexp(x)", log_sum);
    add("dot(w, softmax(x))", weighted(|x| (x - log_sum).exp()));
    add("dot(w, log_softmax(x))", weighted(|x| x - log_sum));
    add("where(any(x > 2) and not all(x > 1), x[0], 0)", 0.3);
    add("x[argmax(x)] + 3 * x[argmin(x)]", 2.4 + 0.15);
    add("dot(w, cumsum(x))", running(&X));
    add("dot(w[..3], segment_sum(x[..4], [1, 0, 1, 2], 3))", X[1] - 2.0 * (X[0] + X[2]) + 0.5 * X[3]);
    add("dot(w, reverse_cumsum(x))", {
        let mut back = 0.0;
        let mut sums = [0.0; 6];
        for i in (0..6).rev() {
            back += X[i];
            sums[i] = back;
        }
        sums.iter().zip([1.0, -2.0, 0.5, 3.0, -1.0, 0.7]).map(|(s, w)| s * w).sum()
    });
    let mut sorted = X;
    sorted.sort_by(f64::total_cmp);
    add("dot(w, sort(x))", sorted.iter().zip([1.0, -2.0, 0.5, 3.0, -1.0, 0.7]).map(|(s, w)| s * w).sum());
    // Down the columns of m: (0.05, 2.4, 1.1) is below (0.3, 0.8, 1.7) but in its middle.
    add("sum(sort(m, axis = 0)[1] * [1, 10, 100])", 0.3 + 24.0 + 170.0);
    add("sum(sort(m, axis = 1)[1] * [1, 10, 100])", 0.05 + 11.0 + 240.0);
    add("x[argsort(x)[1]]", 0.3);
    // Shapes and indices.
    add("dot(w, fill([6], x[1]) + zeros([6]) - ones([6]))", 2.2 * (0.8 - 1.0));
    add("dot(x, range(6))", X.iter().enumerate().map(|(i, x)| i as f64 * x).sum());
    add("sum(x[:, new] * eye(6) * w, over = all)", weighted(|x| x));
    add("dot(w, reshape(transpose(reshape(x, [2, 3])), [6]))", {
        let order = [0, 3, 1, 4, 2, 5];
        order.iter().zip([1.0, -2.0, 0.5, 3.0, -1.0, 0.7]).map(|(&i, w)| X[i] * w).sum()
    });
    add("dot(w, concat(x[4..], x[..4]))", {
        let order = [4, 5, 0, 1, 2, 3];
        order.iter().zip([1.0, -2.0, 0.5, 3.0, -1.0, 0.7]).map(|(&i, w)| X[i] * w).sum()
    });
    add("sum(permute(reshape(x, [1, 2, 3]), (2, 0, 1))[1, 0] * [3, 4])", 3.0 * X[1] + 4.0 * X[4]);
    add("sum(stack(x, 2 * x)[1] * w)", 2.0 * weighted(|x| x));
    add("sum(one_hot(k, 6) @ x)", 2.4 + 0.3 + 0.3 + 1.1);
    add("sum(x[k] ^ 2)", 2.4f64.powi(2) + 2.0 * 0.09 + 1.21);
    add("sum(embedding(k, x[:, new] * [1, 2]), over = all)", 3.0 * (2.4 + 0.3 + 0.3 + 1.1));
    add("sum(flatten(reshape(x, [2, 3, 1])) * [1, 2, 3], over = all)", {
        (0..2).flat_map(|i| (0..3).map(move |j| m(i, j) * (j + 1) as f64)).sum()
    });
    // Linear algebra.
    let s = |i: usize, j: usize| (0..3).map(|k| m(i, k) * m(j, k)).sum::<f64>() + if i == j { 2.0 } else { 0.0 };
    let det = s(0, 0) * s(1, 1) - s(0, 1) * s(0, 1);
    add("sum(m @ [1, 2, 3] * [4, 5])", {
        4.0 * (m(0, 0) + 2.0 * m(0, 1) + 3.0 * m(0, 2)) + 5.0 * (m(1, 0) + 2.0 * m(1, 1) + 3.0 * m(1, 2))
    });
    add("dot(x, x)", X.iter().map(|x| x * x).sum());
    add("sum(outer(x, w) @ w)", sum * [1.0, -2.0, 0.5, 3.0, -1.0, 0.7f64].iter().map(|w| w * w).sum::<f64>());
    add("logdet(s)", det.ln());
    add("sum(cholesky(s)[1])", s(0, 1) / s(0, 0).sqrt() + (det / s(0, 0)).sqrt());
    add("inverse(s)[0, 1]", -s(0, 1) / det);
    add("sum(diagonal(s) * [1, 2]) + sum(diag(x) @ w)", s(0, 0) + 2.0 * s(1, 1) + weighted(|x| x));
    add("dot([3, 4], solve_triangular(cholesky(s), [1.0, 2.0]))", {
        let (l00, l10) = (s(0, 0).sqrt(), s(0, 1) / s(0, 0).sqrt());
        let l11 = (s(1, 1) - l10 * l10).sqrt();
        let first = 1.0 / l00;
        3.0 * first + 4.0 * (2.0 - l10 * first) / l11
    });
    // Networks; the reference cases are in `operations.rs`.
    add("sum(dense(m, transpose(m), [1, 2]) * [3, 5], over = all)", {
        let y = |i, j| s(i, j) - if i == j { 2.0 } else { 0.0 } + (j + 1) as f64;
        3.0 * (y(0, 0) + y(1, 0)) + 5.0 * (y(0, 1) + y(1, 1))
    });
    add("sum(conv1d(reshape(x, [1, 1, 6]), reshape([1.0, 2.0], [1, 1, 2])), over = all)", {
        (0..5).map(|i| X[i] + 2.0 * X[i + 1]).sum()
    });
    add("conv2d(reshape(x, [1, 1, 2, 3]), reshape(w[..4], [1, 1, 2, 2]))[0, 0, 0, 1]", {
        X[1] - 2.0 * X[2] + 0.5 * X[4] + 3.0 * X[5]
    });
    add("conv_transpose1d(reshape(x, [1, 1, 6]), reshape([1.0, 2.0], [1, 1, 2]))[0, 0, 3]", X[3] + 2.0 * X[2]);
    add("conv_transpose2d(reshape(x, [1, 1, 2, 3]), reshape(w[..4], [1, 1, 2, 2]))[0, 0, 1, 1]", {
        X[4] - 2.0 * X[3] + 0.5 * X[1] + 3.0 * X[0]
    });
    add("sum(max_pool1d(reshape(x, [1, 1, 6]), 2), over = all)", 0.8 + 1.7 + 2.4);
    add("sum(avg_pool1d(reshape(x, [1, 1, 6]), 3) * [1, 2], over = all)", (2.8 + 2.0 * 3.55) / 3.0);
    add("sum(max_pool2d(reshape(x, [1, 1, 2, 3]), (2, 1)) * [1, 2, 3], over = all)", 0.3 + 4.8 + 5.1);
    add("avg_pool2d(reshape(x, [1, 1, 2, 3]), (2, 3))[0, 0, 0, 0]", mean);
    add("sum(global_avg_pool(reshape(x, [1, 2, 3])) * [1, 2], over = all)", (2.8 + 2.0 * 3.55) / 3.0);
    add("dot(w, layer_norm(x))", {
        let sd = (variance * 5.0 / 6.0 + 1e-5).sqrt();
        weighted(|x| (x - mean) / sd)
    });
    add("sum(dropout(x, 0))", sum);
    add("dot(x, -floor(x - 0.5))", X.iter().zip(&ints).map(|(x, i)| -x * i).sum());
    t
}
fn running(x: &[f64]) -> f64 {
    let mut total = 0.0;
    x.iter()
        .zip([1.0, -2.0, 0.5, 3.0, -1.0, 0.7])
        .map(|(x, w)| {
            total += x;
            w * total
        })
        .sum()
}
/// The error function by its Taylor series.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..60 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn every_function_has_its_value_and_its_gradient() {
    let mut wrong = Vec::new();
    for (expression, expected) in table() {
        let (value, gradient, differences) = evaluate(&expression);
        if (value - expected).abs() > 1e-9 * (1.0 + expected.abs()) {
            wrong.push(format!("{expression} = {value}, expected {expected}"));
        }
        // What is held constant has no gradient, whatever differences say.
        let constant = expression.contains("stop_gradient");
        for (i, (g, d)) in gradient.iter().zip(&differences).enumerate() {
            let expected = if constant { 0.0 } else { *d };
            if (g - expected).abs() > 1e-6 * (1.0 + d.abs()) {
                wrong.push(format!("d {expression} / d x[{i}] = {g}, differences give {d}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_leaves_no_function_out() {
    let all: String = table().into_iter().map(|(e, _)| e + "\n").collect();
    let missing: Vec<&str> = builtins::all()
        .map(|f| f.name)
        .filter(|n| match n.chars().next() {
            Some(c) if c.is_alphabetic() && !matches!(*n, "and" | "or" | "not") => !all.contains(&format!("{n}(")),
            _ => !all.contains(n),
        })
        .collect();
    assert!(missing.is_empty(), "no expression for {missing:?}");
}

#[test]
fn dropout_keeps_the_mean_and_its_mask_is_one_for_value_and_gradient() {
    let text = "model {\n  x: real[400] ~ Normal(0, 1)\n  factor sum(dropout(x, 0.3) ^ 2)\n}\nguide delta\n";
    let mut e = Elbo::new(text, KlChoice::Auto);
    let mut p = e.start(0);
    e.set(&mut p, "x.loc", &[1.0]);
    let prior = 400.0 * log_normal(1.0, 0.0, 1.0);
    let scale = 1.0 / 0.7;
    let mut shares = Vec::new();
    for seed in 0..200 {
        let v = e.at(&p, Key::new(seed), None);
        let kept = v.gradient.iter().filter(|&&g| g != 1.0).count() as f64;
        assert_close(v.elbo - prior, kept * scale * scale, 1e-9, "the sum of what is kept");
        assert!(v.gradient.iter().all(|&g| g == 1.0 || (g - 1.0 + 2.0 * scale * scale).abs() < 1e-12));
        shares.push(kept / 400.0);
    }
    assert_mean(&shares, 0.7, "the share that is kept");
}
