//! Flows and mixtures of normals as guides, against densities that integrate to 1: then the ELBO is minus the divergence
//! of the guide from the posterior, and 0 is its maximum.

use crate::common::*;
use bayesc::check::settings::KlChoice;
use bayesc::rng::Key;

const SVI: &str = "infer svi { steps = 6000, optimizer = adam(1e-2), schedule = cosine, particles = 4, seed = 1 }\n";

fn divergence(model: &str, guide: &str) -> f64 {
    let fit = fit(&format!("model {{\n{model}\n}}\nguide {guide}\n{SVI}"));
    -elbo_of(&fit).0
}

#[test]
fn flows_contain_full_rank() {
    // A posterior with correlation -0.97: of a regression on two nearly equal columns.
    let model = "  a ~ Normal(0, 1)\n  b ~ Normal(0, 1)\n  y ~ Normal(a + b, 0.3)";
    let want = {
        // ln N((1, 2); 0, 2 J + 0.09 I) with J all ones.
        let (v, c) = (2.09f64, 2.0f64);
        let det = v * v - c * c;
        let square = (v * 1.0 - 2.0 * c * 2.0 + v * 4.0) / det;
        -0.5 * square - 0.5 * det.ln() - std::f64::consts::TAU.ln()
    };
    for guide in ["flow(realnvp)", "flow(iaf)", "flow(realnvp, depth = 1, hidden = 4)"] {
        let fit = fit(&format!("data y: real[N] = [1.0, 2.0]\nmodel {{\n{model}\n}}\nguide {guide}\n{SVI}"));
        assert_close(elbo_of(&fit).0, want, 0.02, guide);
        assert!(fit.diagnostics.pareto_k.is_some_and(|k| k < 0.7), "{guide}: {:?}", fit.diagnostics.pareto_k);
        assert!(fit.params.iter().any(|p| p.name == "flow.scale_tril" && p.shape == [2, 2]), "{guide}");
        assert!(fit.params.iter().any(|p| p.name == "flow.0.weight_in"), "{guide}");
    }
}

#[test]
fn flows_bend() {
    let banana = "  x ~ Normal(0, 1)\n  y ~ Normal(x ^ 2, 0.5)";
    let funnel = "  t ~ Normal(0, 1)\n  x: real[3] ~ Normal(0, exp(t))";
    // A positive site and one with rows in a simplex: through their Jacobians.
    let bounded = "  s ~ Gamma(2, 1)\n  p: real[3] ~ Dirichlet(fill([3], 1 + s))";
    for (model, plain, bent) in [(banana, 0.3, 0.05), (funnel, 0.2, 0.05), (bounded, 0.1, 0.05)] {
        let straight = divergence(model, "full_rank");
        assert!(straight > plain, "{model}\nfull_rank is {straight} away");
        for guide in ["flow(realnvp)", "flow(iaf)"] {
            let far = divergence(model, guide);
            assert!((-0.02..bent).contains(&far), "{model}\n{guide} is {far} away, full_rank {straight}");
        }
    }
}

#[test]
fn flows_stand_beside_other_families() {
    let text = format!(
        "model {{\n  x ~ Normal(0, 1)\n  y ~ Normal(x ^ 2, 0.5)\n  a ~ Normal(1, 2)\n  b ~ Gamma(3, 1)\n}}\n\
         guide {{\n  (x, y) ~ flow(iaf)\n  a ~ mixture(2)\n  _ ~ mean_field\n}}\n{SVI}"
    );
    let fit = fit(&text);
    // Only the gamma is not in its family: a log-normal is some 0.03 away.
    assert!((-0.06..-0.01).contains(&elbo_of(&fit).0), "{:?}", elbo_of(&fit));
    for name in ["flow_0.loc", "mixture_1.weights", "b.scale"] {
        assert!(fit.params.iter().any(|p| p.name == name), "no `{name}`");
    }
    assert_mean(&draws(&fit.quantities, "a", 0).iter().map(|a| a / 2.0).collect::<Vec<_>>(), 0.5, "a / 2");
}

/// The integral of `f` by Simpson's rule.
fn integral(f: impl Fn(f64) -> f64, low: f64, high: f64) -> f64 {
    let n = 8000;
    let h = (high - low) / n as f64;
    let weight = |i: usize| if i == 0 || i == n { 1.0 } else { [2.0, 4.0][i % 2] };
    (0..=n).map(|i| weight(i) * f(low + i as f64 * h)).sum::<f64>() * h / 3.0
}

/// ln of a mixture of two normals.
fn log_mixture(x: f64, w: f64, a: (f64, f64), b: (f64, f64)) -> f64 {
    let (p, q) = (w.ln() + log_normal(x, a.0, a.1), (1.0 - w).ln() + log_normal(x, b.0, b.1));
    p.max(q) + (-(p - q).abs()).exp().ln_1p()
}

const TARGET: &str = "model {\n  x ~ Mixture([0.3, 0.7], [Normal(-2, 0.5), Normal(2, 0.8)])\n}\n";
fn target(x: f64) -> f64 {
    log_mixture(x, 0.3, (-2.0, 0.5), (2.0, 0.8))
}

#[test]
fn mixture_gradients_are_those_of_the_integral() {
    let text = format!("{TARGET}guide mixture(2)\n{SVI}");
    let mut e = Elbo::new(&text, KlChoice::Auto);
    let mut p = e.start(0);
    e.set(&mut p, "mixture.weights", &[0.4, -0.3]);
    e.set(&mut p, "mixture.loc", &[-1.0, 1.5]);
    e.set(&mut p, "mixture.scale", &[0.2, 0.6]);
    // Minus the ELBO by quadrature, at free parameters.
    let exact = |p: &[f64]| {
        let at = |name: &str| e.slots.list.iter().find(|s| s.name == name).expect("it is there").offset;
        let (w, m, s) = (at("mixture.weights"), at("mixture.loc"), at("mixture.scale"));
        let weight = 1.0 / (1.0 + (p[w + 1] - p[w]).exp());
        let (a, b) = ((p[m], softplus(p[s])), (p[m + 1], softplus(p[s + 1])));
        let q = |x: f64| log_mixture(x, weight, a, b);
        integral(|x| q(x).exp() * (q(x) - target(x)), -15.0, 15.0)
    };
    let h = 1e-5;
    let wanted: Vec<f64> = (0..p.len())
        .map(|i| {
            let moved = |step: f64| {
                let mut p = p.clone();
                p[i] += step;
                exact(&p)
            };
            (moved(h) - moved(-h)) / (2.0 * h)
        })
        .collect();
    let value = exact(&p);
    let values: Vec<Value> = (0..20_000).map(|seed| e.at(&p, Key::new(seed), None)).collect();
    assert_mean(&values.iter().map(|v| -v.elbo).collect::<Vec<_>>(), value, "the divergence");
    for (i, want) in wanted.iter().enumerate() {
        assert!(want.abs() > 1e-3, "parameter {i} has no slope here");
        assert_mean(&values.iter().map(|v| v.gradient[i]).collect::<Vec<_>>(), *want, &format!("gradient {i}"));
    }
}

#[test]
fn mixtures_find_two_modes() {
    for (guide, prefix) in [("mixture(2)", 0), ("mixture(3, full_rank)", 1), ("mixture(2, low_rank(1))", 0)] {
        let fit = fit(&format!("{TARGET}guide {guide}\n{SVI}"));
        let (elbo, error) = elbo_of(&fit);
        assert!(elbo.abs() < 0.02 + 4.0 * error, "{guide}: {elbo} ± {error}");
        let x = draws(&fit.quantities, "x", 0);
        let below: Vec<f64> = x.iter().map(|&x| f64::from(u8::from(x < 0.0))).collect();
        // The mass of the posterior below 0.
        let want = 0.3 + 0.7 * 0.00621;
        let (m, e) = mean_and_error(&below);
        assert!((m - want).abs() < 0.02 + 4.0 * e, "{guide}: {m} ± {e} of the draws are below 0, expected {want}");
        if prefix == 0 {
            let w = params(&fit, "mixture.weights");
            let first = 1.0 / (1.0 + (w[1] - w[0]).exp());
            let smaller = first.min(1.0 - first);
            assert_close(smaller, 0.3, 0.02, guide);
        }
    }
}

#[test]
fn several_mixtures_meet_in_every_stratum() {
    let text = format!(
        "model {{\n  x ~ Mixture([0.3, 0.7], [Normal(-2, 0.5), Normal(2, 0.8)])\n  \
         y ~ Mixture([0.5, 0.5], [Normal(x - 3, 0.5), Normal(x + 3, 0.5)])\n  s ~ HalfNormal(1)\n}}\n\
         guide {{\n  x ~ mixture(2)\n  y ~ mixture(2)\n  s ~ mean_field\n}}\n{SVI}"
    );
    let mut e = Elbo::new(&text, KlChoice::Auto);
    let p = e.start(3);
    // The sum over strata has the mean of plain draws.
    let summed: Vec<f64> = (0..4000).map(|seed| e.at(&p, Key::new(seed), None).elbo).collect();
    let drawn: Vec<f64> = (0..16_000).map(|seed| e.drawn(&p, Key::new(seed))).collect();
    let ((a, ea), (b, eb)) = (mean_and_error(&summed), mean_and_error(&drawn));
    assert!((a - b).abs() < 4.5 * ea.hypot(eb), "{a} ± {ea} summed, {b} ± {eb} drawn");
}
