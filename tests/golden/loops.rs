//! Loops: the same density and gradient as the loop written out, whichever way the compiler takes.

use crate::common::*;
use bayesc::check::settings::KlChoice;

/// The log joint density at random points, and its gradient by differences.
fn log_joint(e: &mut Elbo, p: &[f64]) -> (f64, Vec<f64>) {
    let value = e.at(p, bayesc::rng::Key::new(0), None);
    (value.elbo, value.gradient.iter().map(|g| -g).collect())
}

/// Both programs have the same density and gradient at random points, and the gradient is that of the differences.
#[track_caller]
pub fn assert_same(one: &str, other: &str) {
    let with_guide = |text: &str| format!("{text}\nguide delta\n");
    let (one, other) = (with_guide(one), with_guide(other));
    let (mut a, mut b) = (Elbo::new(&one, KlChoice::Auto), Elbo::new(&other, KlChoice::Auto));
    let names = |e: &Elbo| e.slots.list.iter().map(|s| (s.name.clone(), s.shape.to_vec())).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    let n = a.start(0).len();
    let mut random = Random(17);
    for _ in 0..3 {
        let p: Vec<f64> = random.normals(n).iter().map(|x| 0.7 * x).collect();
        let ((x, dx), (y, dy)) = (log_joint(&mut a, &p), log_joint(&mut b, &p));
        assert!(x.is_finite());
        assert_close(x, y, 1e-10 * (1.0 + y.abs()), "log density");
        assert_all_close(&dx, &dy, 1e-9, "gradient");
        for i in 0..n {
            let mut at = |h: f64| {
                let mut q = p.clone();
                q[i] += h;
                log_joint(&mut a, &q).0
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert_close(dx[i], slope, 1e-6 * (1.0 + slope.abs()), &format!("slope {i}"));
        }
    }
}
/// How the loops of a program went, in order.
fn ways(text: &str) -> Vec<String> {
    let c = compile(text);
    c.program.model.as_ref().expect("a model").loops.iter().map(|(_, how)| how.clone()).collect()
}

const Y: &str = "data y: real[5] = [0.3, -0.2, 1.1, 0.7, -0.4]\n";

#[test]
fn a_random_walk_is_vectorized() {
    let walk = format!(
        "{Y}model {{\n s ~ Normal(0, 1)\n x: real[5]\n x[0] ~ Normal(0, 2)\n for t in 1..5 {{ x[t] ~ Normal(x[t - 1], exp(s)) }}\n y ~ Normal(x, 0.5)\n}}"
    );
    let written = format!(
        "{Y}model {{\n s ~ Normal(0, 1)\n x: real[5] ~ Normal(concat([0.0], zeros([4])), 1e6)\n factor -sum(-0.5 * (x / 1e6) ^ 2) + 5 * (log(1e6) + 0.5 * log(2 * pi))\n observe x[0] ~ Normal(0, 2)\n observe x[1..] ~ Normal(x[..4], exp(s))\n y ~ Normal(x, 0.5)\n}}"
    );
    assert_same(&walk, &written);
    assert!(ways(&walk)[0].starts_with("vectorized"));
}

#[test]
fn a_carry_is_one_scan() {
    let garch = format!(
        "{Y}model {{\n a ~ Normal(0, 1)\n b ~ Normal(0, 1)\n m ~ Normal(0, 1)\n s = 1.0\n for t in 0..5 {{\n  y[t] ~ Normal(m, s)\n  s = sqrt(exp(a) + 0.3 * (y[t] - m) ^ 2 + sigmoid(b) * s ^ 2)\n }}\n}}"
    );
    let mut written = format!("{Y}model {{\n a ~ Normal(0, 1)\n b ~ Normal(0, 1)\n m ~ Normal(0, 1)\n s0 = 1.0\n");
    for t in 0..5 {
        written += &format!(" observe y[{t}] ~ Normal(m, s{t})\n");
        written += &format!(" s{} = sqrt(exp(a) + 0.3 * (y[{t}] - m) ^ 2 + sigmoid(b) * s{t} ^ 2)\n", t + 1);
    }
    written += "}";
    assert_same(&garch, &written);
    assert!(ways(&garch)[0].starts_with("one scan that passes one value"));
}

#[test]
fn elements_of_computed_arrays_are_carried_with_their_lags() {
    let ma = format!(
        "{Y}model {{\n a ~ Normal(0, 1)\n b ~ Normal(0, 1)\n e: real[5]\n e[0] = y[0]\n e[1] = y[1] - a * e[0]\n for t in 2..5 {{ e[t] = y[t] - a * e[t - 1] - b * e[t - 2] }}\n observe e ~ Normal(0, 1)\n}}"
    );
    let written = format!(
        "{Y}model {{\n a ~ Normal(0, 1)\n b ~ Normal(0, 1)\n e0 = y[0]\n e1 = y[1] - a * e0\n e2 = y[2] - a * e1 - b * e0\n e3 = y[3] - a * e2 - b * e1\n e4 = y[4] - a * e3 - b * e2\n e = [e0, e1, e2, e3, e4]\n observe e ~ Normal(0, 1)\n}}"
    );
    assert_same(&ma, &written);
}

#[test]
fn vectors_and_matrices_can_be_carried() {
    let loops = "data y: real[4, 2] = [[0.3, -0.2], [1.1, 0.7], [-0.4, 0.1], [0.2, 0.9]]\nmodel {\n A: real[2, 2] ~ Normal(0, 1)\n c: real[2] ~ Normal(0, 1)\n h = c\n for t in 0..4 {\n  h = tanh(A @ h + y[t])\n  y[t] ~ Normal(h, 1)\n }\n keep last = h\n factor -sum(h ^ 2)\n}";
    let mut written = "data y: real[4, 2] = [[0.3, -0.2], [1.1, 0.7], [-0.4, 0.1], [0.2, 0.9]]\nmodel {\n A: real[2, 2] ~ Normal(0, 1)\n c: real[2] ~ Normal(0, 1)\n h0 = c\n".to_string();
    for t in 0..4 {
        written += &format!(" h{} = tanh(A @ h{t} + y[{t}])\n observe y[{t}] ~ Normal(h{}, 1)\n", t + 1, t + 1);
    }
    written += " keep last = h4\n factor -sum(h4 ^ 2)\n}";
    assert_same(loops, &written);
}

#[test]
fn loops_nest() {
    let data = "data y: real[2, 3] = [[0.3, -0.2, 0.8], [1.1, 0.7, -0.5]]\n";
    let loops = format!(
        "{data}model {{\n a: real[2] ~ Normal(0, 1)\n x: real[2, 3]\n for i in 0..2 {{\n  x[i, 0] ~ Normal(a[i], 1)\n  for t in 1..3 {{ x[i, t] ~ Normal(0.5 * x[i, t - 1] + a[i], 0.3) }}\n }}\n for t in 0..3 {{ for i in 0..2 {{ y[i, t] ~ Normal(x[i, t], 0.2 + 0.1 * i) }} }}\n}}"
    );
    let mut written = format!(
        "{data}model {{\n a: real[2] ~ Normal(0, 1)\n x: real[2, 3] ~ Normal(0, 1e6)\n factor -sum(-0.5 * (x / 1e6) ^ 2, over = all) + 6 * (log(1e6) + 0.5 * log(2 * pi))\n"
    );
    for i in 0..2 {
        written += &format!(" observe x[{i}, 0] ~ Normal(a[{i}], 1)\n");
        for t in 1..3 {
            written += &format!(" observe x[{i}, {t}] ~ Normal(0.5 * x[{i}, {}] + a[{i}], 0.3)\n", t - 1);
        }
        for t in 0..3 {
            written += &format!(" observe y[{i}, {t}] ~ Normal(x[{i}, {t}], 0.2 + 0.1 * {i})\n");
        }
    }
    written += "}";
    assert_same(&loops, &written);
}

#[test]
fn a_carry_inside_a_vectorized_loop() {
    let data = "data y: real[2, 3] = [[0.3, -0.2, 0.8], [1.1, 0.7, -0.5]]\n";
    let loops = format!(
        "{data}model {{\n a: real[2] ~ Normal(0, 1)\n for i in 0..2 {{\n  s = a[i]\n  for t in 0..3 {{\n   s = 0.5 * s + y[i, t] ^ 2\n   factor -s * exp(a[i])\n  }}\n }}\n}}"
    );
    let mut written = format!("{data}model {{\n a: real[2] ~ Normal(0, 1)\n");
    for i in 0..2 {
        written += &format!(" s{i}0 = a[{i}]\n");
        for t in 0..3 {
            written +=
                &format!(" s{i}{} = 0.5 * s{i}{t} + y[{i}, {t}] ^ 2\n factor -s{i}{} * exp(a[{i}])\n", t + 1, t + 1);
        }
    }
    written += "}";
    assert_same(&loops, &written);
}

#[test]
fn operations_without_rows_go_one_by_one() {
    // `outer` has no form with a leading dimension: the loop computes it for one iteration after the other.
    let loops = format!(
        "{Y}model {{\n a: real[2] ~ Normal(0, 1)\n for t in 0..5 {{ factor -sum(outer(a * y[t], a), over = all) + logdet(outer(a, a) + (1.0 + y[t] ^ 2) * eye(2)) }}\n}}"
    );
    let mut written = format!("{Y}model {{\n a: real[2] ~ Normal(0, 1)\n");
    for t in 0..5 {
        written += &format!(
            " factor -sum(outer(a * y[{t}], a), over = all) + logdet(outer(a, a) + (1.0 + y[{t}] ^ 2) * eye(2))\n"
        );
    }
    written += "}";
    assert_same(&loops, &written);
}

#[test]
fn gathers_slices_and_conditions_by_the_index() {
    let head = "data g: int[5] in 0..3 = [0, 2, 1, 2, 0]\ndata y: real[5] = [0.3, -0.2, 1.1, 0.7, -0.4]\ndata x: real[5, 3] = [[1.0, 0.2, 0.1], [0.0, 0.5, -0.2], [0.3, 0.3, 0.3], [-1.0, 0.4, 0.0], [0.2, 0.2, 0.9]]\nmodel {\n a: real[3] ~ Normal(0, 1)\n b: real[3] ~ Normal(0, 1)\n W: real[3, 3] ~ Normal(0, 1)\n";
    let body = "{ m = a[g[#]] + dot(x[#], b) + where(# > 2, b[0], x[#, 1]) + W[g[#], 1] + sum(W[1] * x[#]) + max(x[#] * b) + (W @ x[#])[2] + x[#, g[#]]\n  observe y[#] ~ Normal(m, softplus(b[2]) + 0.1)\n }";
    let loops = format!("{head} for t in 0..5 {}\n}}", body.replace('#', "t").replace("observe y[t]", "y[t]"));
    let mut written = head.to_string();
    for t in 0..5 {
        let lines =
            body.replace('#', &t.to_string()).replace(" m = ", &format!(" m{t} = ")).replace("(m,", &format!("(m{t},"));
        written += lines.trim_matches(['{', '}', ' ']);
    }
    written += "}";
    assert_same(&loops, &written);
}

#[test]
fn functions_may_hold_loops() {
    let loops = format!(
        "{Y}fn smooth(y: real[N], a: real) -> real[N] {{\n s: real[N]\n s[0] = y[0]\n for t in 1..N {{ s[t] = a * y[t] + (1 - a) * s[t - 1] }}\n return s\n}}\nfn total(y: real[N]) -> real {{\n sum = 0\n for t in 0..N {{ sum = sum + y[t] }}\n return sum\n}}\nmodel {{\n a ~ Normal(0, 1)\n y ~ Normal(smooth(y, sigmoid(a)), 1)\n factor total(y * a)\n}}"
    );
    let written = format!(
        "{Y}model {{\n a ~ Normal(0, 1)\n k = sigmoid(a)\n s0 = y[0]\n s1 = k * y[1] + (1 - k) * s0\n s2 = k * y[2] + (1 - k) * s1\n s3 = k * y[3] + (1 - k) * s2\n s4 = k * y[4] + (1 - k) * s3\n y ~ Normal([s0, s1, s2, s3, s4], 1)\n factor sum(y * a)\n}}"
    );
    assert_same(&loops, &written);
}

/// What a program of a long series costs to compile does not depend on its length.
#[test]
fn the_length_of_a_series_does_not_enter_the_program() {
    let count = |t: usize| {
        let c = compile(&format!(
            "size T = {t}\ndata y: real[T] = zeros([T])\nmodel {{\n x: real[T]\n x[0] ~ Normal(0, 1)\n for t in 1..T {{ x[t] ~ Normal(x[t - 1], 1) }}\n s = 1.0\n for t in 0..T {{\n s = 0.5 * s + exp(x[t])\n y[t] ~ Normal(0, s)\n }}\n}}"
        ));
        c.program.exprs.len()
    };
    assert_eq!(count(100), count(100_000));
}

#[test]
fn the_prior_of_a_series_is_drawn_in_order() {
    // An AR(1) with coefficient 1 / 2 from its stationary distribution: every variance is 4 / 3, covariances halve.
    let text = "data y: real[6] = zeros([6])\nmodel {\n x: real[6]\n x[0] ~ Normal(0, sqrt(4.0 / 3))\n for t in 1..6 { x[t] ~ Normal(0.5 * x[t - 1], 1) }\n y[0] ~ Normal(x[0], 0.1)\n for t in 1..6 { y[t] ~ Normal(y[t - 1] + x[t], 0.1) }\n}";
    let c = compile(text);
    let all = bayesc::session::prior(&bind(&c), 4000, 5).expect("it is proper");
    let x: Vec<Vec<f64>> = (0..6).map(|t| draws(&all, "x", t)).collect();
    for t in 0..6 {
        assert_mean(&x[t], 0.0, "mean");
        let squares: Vec<f64> = x[t].iter().map(|v| v * v).collect();
        assert_mean(&squares, 4.0 / 3.0, "variance");
        if t > 0 {
            let products: Vec<f64> = x[t].iter().zip(&x[t - 1]).map(|(a, b)| a * b).collect();
            assert_mean(&products, 2.0 / 3.0, "covariance of neighbours");
        }
    }
    // y adds up x and small noise, each step on what was drawn before.
    let y: Vec<Vec<f64>> = (0..6).map(|t| draws(&all, "y", t)).collect();
    let off: Vec<f64> = (0..4000).map(|i| y[5][i] - (0..6).map(|t| x[t][i]).sum::<f64>()).collect();
    assert_mean(&off, 0.0, "y against the sum of x");
    let squares: Vec<f64> = off.iter().map(|v| v * v).collect();
    assert_mean(&squares, 6.0 * 0.01, "its noise");
}

#[test]
fn generate_simulates_forwards() {
    let text = "data y: real[3] = [1.0, 2.0, 3.0]\nmodel {\n m ~ Normal(0, 1)\n y ~ Normal(m, 1)\n}\nguide {\n m ~ Normal(2, 1e-6)\n}\ninfer svi { steps = 1, draws = 4000 }\ngenerate {\n f: real[4]\n f[0] ~ Normal(m, 1)\n for k in 1..4 { f[k] ~ Normal(0.5 * f[k - 1], 1) }\n}";
    let fit = fit(text);
    let f: Vec<Vec<f64>> = (0..4).map(|k| draws(&fit.quantities, "f", k)).collect();
    for (k, mean) in [2.0, 1.0, 0.5, 0.25].into_iter().enumerate() {
        assert_mean(&f[k], mean, "forecast");
    }
    let residual: Vec<f64> = f[3].iter().zip(&f[2]).map(|(a, b)| (a - 0.5 * b).powi(2)).collect();
    assert_mean(&residual, 1.0, "noise of a step");
}
