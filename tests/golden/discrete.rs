//! Discrete latents: the density against enumeration by hand, draws against the exact conditional.

use crate::common::*;
use crate::loops::assert_same;

const Y: &str = "data y: real[4] = [0.3, -1.2, 2.1, 4.7]\n";

#[test]
fn labels_of_rows_are_a_mixture() {
    let summed = format!(
        "{Y}model {{\n w: real[3] ~ Normal(0, 1)\n m: real[3] ~ Normal(0, 2)\n z: int[4] ~ Categorical(logits = w)\n y ~ Normal(m[z], 0.5 + 0.3 * z)\n}}"
    );
    let mixture = format!(
        "{Y}model {{\n w: real[3] ~ Normal(0, 1)\n m: real[3] ~ Normal(0, 2)\n y ~ Mixture(softmax(w), [Normal(m[0], 0.5), Normal(m[1], 0.8), Normal(m[2], 1.1)])\n}}"
    );
    assert_same(&summed, &mixture);
}

#[test]
fn vectors_of_rows_are_summed_before_the_labels_are() {
    let data = "data y: real[3, 2] = [[0.3, -1.2], [2.1, 4.7], [0.0, 1.0]]\n";
    let summed = format!(
        "{data}model {{\n w ~ Normal(0, 1)\n m: real[2, 2] ~ Normal(0, 2)\n z: int[3] ~ Bernoulli(logits = w)\n y ~ Normal(m[z], 1)\n}}"
    );
    let mut written =
        format!("{data}model {{\n w ~ Normal(0, 1)\n m: real[2, 2] ~ Normal(0, 2)\n l = -0.5 * log(2 * pi)\n");
    for n in 0..3 {
        let at = |k: usize| format!("(2 * l - 0.5 * sum((y[{n}] - m[{k}]) ^ 2))");
        written += &format!(" factor logsumexp([log(1 - sigmoid(w)) + {}, log(sigmoid(w)) + {}])\n", at(0), at(1));
    }
    written += "}";
    assert_same(&summed, &written);
}

#[test]
fn a_global_label_moves_everything() {
    let summed = format!(
        "{Y}model {{\n a ~ Normal(0, 1)\n b ~ Normal(0, 1)\n change ~ DiscreteUniform(0, 4)\n y ~ Normal(where(range(4) < change, a, b), 1)\n}}"
    );
    let mut terms = Vec::new();
    for change in 0..=4 {
        let rows: Vec<String> = (0..4)
            .map(|t| format!("- 0.5 * log(2 * pi) - 0.5 * (y[{t}] - {}) ^ 2", if t < change { "a" } else { "b" }))
            .collect();
        terms.push(format!("-log(5.0) {}", rows.join(" ")));
    }
    let written =
        format!("{Y}model {{\n a ~ Normal(0, 1)\n b ~ Normal(0, 1)\n factor logsumexp([{}])\n}}", terms.join(", "));
    assert_same(&summed, &written);
}

/// All paths of a chain of `n` elements with `k` states.
fn paths(n: usize, k: usize) -> Vec<Vec<usize>> {
    (0..k.pow(n as u32)).map(|i| (0..n).map(|t| i / k.pow(t as u32) % k).collect()).collect()
}

#[test]
fn a_chain_is_the_sum_over_its_paths() {
    for varying in [false, true] {
        // Transitions that are the same for all steps, and some that are not.
        let shift = if varying { " + y[t]" } else { "" };
        let summed = format!(
            "{Y}model {{\n P: real[2, 2] ~ Normal(0, 1)\n m: real[2] ~ Normal(0, 2)\n z: int[4]\n z[0] ~ Categorical([0.3, 0.7])\n for t in 1..4 {{ z[t] ~ Categorical(logits = P[z[t - 1]] * (1{shift})) }}\n y ~ Normal(m[z], 1)\n}}"
        );
        let mut terms = Vec::new();
        for z in paths(4, 2) {
            let mut term = format!("log({})", [0.3, 0.7][z[0]]);
            for t in 1..4 {
                let scale = if varying { format!("(1 + y[{t}])") } else { "1".into() };
                term += &format!(" + log_softmax(P[{}] * {scale})[{}]", z[t - 1], z[t]);
            }
            for t in 0..4 {
                term += &format!(" - 0.5 * log(2 * pi) - 0.5 * (y[{t}] - m[{}]) ^ 2", z[t]);
            }
            terms.push(term);
        }
        let written = format!(
            "{Y}model {{\n P: real[2, 2] ~ Normal(0, 1)\n m: real[2] ~ Normal(0, 2)\n factor logsumexp([{}])\n}}",
            terms.join(", ")
        );
        assert_same(&summed, &written);
    }
}

#[test]
fn chains_side_by_side() {
    let data = "data y: real[2, 3] = [[0.3, -1.2, 2.1], [4.7, 0.0, 1.0]]\n";
    let head = "model {\n P: real[2, 2] ~ Normal(0, 1)\n m: real[2] ~ Normal(0, 2)\n";
    let summed = format!(
        "{data}{head} z: int[2, 3]\n for s in 0..2 {{\n  z[s, 0] ~ Categorical([0.3, 0.7])\n  for t in 1..3 {{ z[s, t] ~ Categorical(logits = P[z[s, t - 1]]) }}\n }}\n y ~ Normal(m[z], 1)\n}}"
    );
    let mut written = format!("{data}{head}");
    for s in 0..2 {
        let mut terms = Vec::new();
        for z in paths(3, 2) {
            let mut term = format!("log({})", [0.3, 0.7][z[0]]);
            for t in 1..3 {
                term += &format!(" + log_softmax(P[{}])[{}]", z[t - 1], z[t]);
            }
            for t in 0..3 {
                term += &format!(" - 0.5 * log(2 * pi) - 0.5 * (y[{s}, {t}] - m[{}]) ^ 2", z[t]);
            }
            terms.push(term);
        }
        written += &format!(" factor logsumexp([{}])\n", terms.join(", "));
    }
    written += "}";
    assert_same(&summed, &written);
}

#[test]
fn nested_labels_are_eliminated_one_after_the_other() {
    // A global label chooses how the labels of rows are drawn; a chain under a global label.
    let nested = format!(
        "{Y}model {{\n a ~ Normal(0, 1)\n g ~ Bernoulli(0.4)\n z: int[4] ~ Bernoulli(logits = where(g == 1, a, -1.0))\n y ~ Normal(2.0 * z + a * g, 1)\n}}"
    );
    let mut globals = Vec::new();
    for g in 0..2 {
        let logit = if g == 1 { "a" } else { "(-1.0)" };
        let mut term = format!("log({})", [0.6, 0.4][g]);
        for n in 0..4 {
            let at = |z: usize| format!("- 0.5 * log(2 * pi) - 0.5 * (y[{n}] - {z} * 2.0 - a * {g}) ^ 2");
            term += &format!(" + logsumexp([log(1 - sigmoid({logit})) {}, log(sigmoid({logit})) {}])", at(0), at(1));
        }
        globals.push(term);
    }
    let written = format!("{Y}model {{\n a ~ Normal(0, 1)\n factor logsumexp([{}])\n}}", globals.join(", "));
    assert_same(&nested, &written);
}

#[test]
fn a_latent_whose_prior_depends_on_a_label() {
    let summed = format!(
        "{Y}model {{\n z ~ Bernoulli(0.4)\n x: real[4] ~ Normal(where(z == 1, 3.0, -1.0), 1)\n y ~ Normal(x, 1)\n}}"
    );
    let prior = |m: &str| format!("sum(-0.5 * log(2 * pi) - 0.5 * (x - ({m})) ^ 2)");
    let written = format!(
        "{Y}model {{\n x: real[4] ~ Normal(0, 1e6)\n factor -sum(-0.5 * (x / 1e6) ^ 2) + 4 * (log(1e6) + 0.5 * log(2 * pi))\n factor logsumexp([log(0.6) + {}, log(0.4) + {}])\n y ~ Normal(x, 1)\n}}",
        prior("-1.0"),
        prior("3.0")
    );
    assert_same(&summed, &written);
}

#[test]
fn impossible_transitions_leave_the_gradient_finite() {
    // A chain that only goes up.
    let summed = format!(
        "{Y}model {{\n a ~ Normal(0, 1)\n m: real[2] ~ Normal(0, 2)\n p = sigmoid(a)\n P = [[1 - p, p], [0.0, 1.0]]\n z: int[4]\n z[0] ~ Categorical([1.0, 0.0])\n for t in 1..4 {{ z[t] ~ Categorical(P[z[t - 1]]) }}\n y ~ Normal(m[z], 1)\n}}"
    );
    let mut terms = Vec::new();
    for up in 1..=4usize {
        // It goes up before element `up`; 4: never.
        let mut term = format!("{} * log(1 - sigmoid(a))", up - 1);
        if up < 4 {
            term += " + log(sigmoid(a))";
        }
        for t in 0..4 {
            term += &format!(" - 0.5 * log(2 * pi) - 0.5 * (y[{t}] - m[{}]) ^ 2", usize::from(t >= up));
        }
        terms.push(term);
    }
    let written = format!(
        "{Y}model {{\n a ~ Normal(0, 1)\n m: real[2] ~ Normal(0, 2)\n factor logsumexp([{}])\n}}",
        terms.join(", ")
    );
    assert_same(&summed, &written);
}

/// Draws of `z` in `generate` against the conditional by enumeration, at a fixed point.
#[test]
fn labels_are_drawn_back_from_their_conditional() {
    let y = [0.3, -1.2, 2.1, 1.0];
    let (start, p, m) = ([0.3, 0.7], [[0.8, 0.2], [0.4, 0.6]], [0.0, 2.0]);
    let mut expected = [0.0; 4];
    let mut neighbours = [0.0; 3];
    let mut total = 0.0;
    for z in paths(4, 2) {
        let mut weight = start[z[0]];
        for t in 0..4 {
            weight *= log_normal(y[t], m[z[t]], 1.0).exp();
            if t > 0 {
                weight *= p[z[t - 1]][z[t]];
            }
        }
        total += weight;
        for t in 0..4 {
            expected[t] += weight * z[t] as f64;
            if t > 0 {
                neighbours[t - 1] += weight * (z[t] * z[t - 1]) as f64;
            }
        }
    }
    let text = "data y: real[4] = [0.3, -1.2, 2.1, 1.0]\nmodel {\n m ~ Normal(0, 1)\n z: int[4]\n z[0] ~ Categorical([0.3, 0.7])\n for t in 1..4 { z[t] ~ Categorical([[0.8, 0.2], [0.4, 0.6]][z[t - 1]]) }\n y ~ Normal(where(z == 1, m, 0.0), 1)\n}\nguide {\n m ~ Normal(2, 1e-9)\n}\ninfer svi { steps = 1, draws = 4000 }\ngenerate {\n z\n}";
    let fit = fit(text);
    let z: Vec<Vec<f64>> = (0..4).map(|t| draws(&fit.quantities, "z", t)).collect();
    for t in 0..4 {
        assert_mean(&z[t], expected[t] / total, "state");
        if t > 0 {
            let both: Vec<f64> = z[t].iter().zip(&z[t - 1]).map(|(a, b)| a * b).collect();
            assert_mean(&both, neighbours[t - 1] / total, "neighbours");
        }
    }
}

#[test]
fn a_minibatch_scales_summed_out_rows() {
    let text = "data y: real[N] = [0.3, -1.2, 2.1, 4.7, 0.1, 0.9]\nmodel {\n m: real[2] ~ Normal(0, 2)\n z: int[N] ~ Bernoulli(0.3)\n y ~ Normal(m[z], 1)\n}\nguide delta\ninfer svi { minibatch N = 2, steps = 1 }";
    let mut e = Elbo::new(text, bayesc::check::settings::KlChoice::Auto);
    let p = [0.4, 1.7];
    let key = bayesc::rng::Key::new(0);
    let parts: Vec<f64> = [[0, 1], [2, 3], [4, 5]].iter().map(|rows| e.at(&p, key, Some(rows)).elbo).collect();
    let mut whole = Elbo::new(&text.replace("minibatch N = 2, ", ""), bayesc::check::settings::KlChoice::Auto);
    assert_close(mean(&parts), whole.at(&p, key, None).elbo, 1e-10, "the mean over a partition");
}

#[test]
fn held_out_rows_are_scored_with_their_labels_summed_out() {
    let text = "data y: real[N] = [0.3, -1.2, 2.1, 4.7, 0.1, 0.9]\nmodel {\n m ~ Normal(0, 2)\n z: int[N] ~ Bernoulli(0.3)\n y ~ Normal(where(z == 1, 3.0, m), 1)\n}\nguide {\n m ~ Normal(0, 1e-9)\n}\ninfer svi { steps = 1, draws = 10 }\nevaluate {\n y = [3.0, 0.5]\n}";
    let fit = fit(text);
    let density = |y: f64| 0.7 * log_normal(y, 0.0, 1.0).exp() + 0.3 * log_normal(y, 3.0, 1.0).exp();
    let want = -(density(3.0).ln() + density(0.5).ln()) / 2.0;
    assert_close(fit.evaluation[0].1.get("nll").expect("scored"), want, 1e-6, "held-out NLL");
}

#[test]
fn rows_that_share_a_label_are_gathered() {
    // Three raters, two items: the label of an item is that of all its rows.
    let data = "data item: int[5] in 0..2 = [0, 1, 0, 1, 1]\ndata rater: int[5] in 0..3 = [0, 0, 1, 1, 2]\ndata label: int[5] in 0..2 = [0, 1, 1, 1, 0]\n";
    let head = "model {\n w ~ Normal(0, 1)\n T: real[3, 2, 2] ~ Normal(0, 1)\n";
    let summed =
        format!("{data}{head} z: int[2] ~ Bernoulli(logits = w)\n label ~ Categorical(logits = T[rater, z[item]])\n}}");
    let mut written = format!("{data}{head}");
    let (items, raters, labels) = ([0, 1, 0, 1, 1], [0, 0, 1, 1, 2], [0, 1, 1, 1, 0]);
    for i in 0..2 {
        let at = |z: usize| {
            let rows = (0..5).filter(|&n| items[n] == i);
            let terms: Vec<String> =
                rows.map(|n| format!("log_softmax(T[{}, {z}])[{}]", raters[n], labels[n])).collect();
            terms.join(" + ")
        };
        written += &format!(" factor logsumexp([log(1 - sigmoid(w)) + {}, log(sigmoid(w)) + {}])\n", at(0), at(1));
    }
    written += "}";
    assert_same(&summed, &written);
}
