//! Bounds of several draws, the score function, antithetic draws, natural-gradient steps, averages and stopping rules: against
//! closed forms, known evidences, and gradients of the expected bound by differences under common random numbers.

use crate::common::*;
use bayesc::check::settings::{EstimatorChoice, KlChoice};
use bayesc::infer::objective::Objective;
use bayesc::report::fit::{Fit, StopReason};
use bayesc::rng::Key;
use bayesc::session::{Failure, RunOptions};
use serde_json::Value;
use std::path::Path;

fn reference(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/reference/exact/{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("the reference is there")).expect("it is JSON")
}

/// Models whose evidence is known; `#name` stands for a datum of the reference file.
const EVIDENCES: &[(&str, &str)] = &[
    (
        "logistic_binomial",
        "data x: real[N] = #x\ndata n: int[N] = #n\ndata k: int[N] = #k\nmodel {\n  a ~ Normal(0, 2.5)\n  b ~ Normal(0, 2.5)\n  \
         k ~ Binomial(n, logits = a + b * x)\n}\n",
    ),
    (
        "truncated_normal",
        "data y: real[N] = #y\nmodel {\n  mu ~ Normal(0, 1)\n  sigma ~ HalfNormal(1)\n  y ~ Truncated(Normal(mu, sigma), lower = 0)\n}\n",
    ),
];

fn with_data(name: &str, text: &str) -> (String, f64) {
    let reference = reference(name);
    let mut text = text.to_string();
    for (key, value) in reference["data"].as_object().expect("data") {
        text = text.replace(&format!("#{key}\n"), &format!("{value}\n"));
    }
    (text, reference["reference"]["log_evidence"].as_f64().expect("an evidence"))
}
fn bound_of(fit: &Fit) -> (f64, f64) {
    let bound = fit.bound.as_ref().expect("a bound of its own");
    (bound.final_, bound.standard_error)
}

#[test]
fn bounds_tighten_to_known_evidences() {
    for (name, text) in EVIDENCES {
        let (text, evidence) = with_data(name, text);
        let run = |elbo: &str| {
            fit(&format!(
                "{text}guide mean_field\ninfer svi {{ steps = 2_000, optimizer = adam(2e-2), schedule = cosine, {elbo} }}\n"
            ))
        };
        let (plain, plain_error) = elbo_of(&run("elbo = elbo"));
        let mut last = (plain, plain_error);
        for k in [4, 64] {
            let fit = run(&format!("elbo = iwae({k})"));
            let (value, error) = bound_of(&fit);
            assert_eq!(fit.bound.as_ref().map(|b| (b.objective.clone(), b.draws)), Some((format!("iwae({k})"), k)));
            assert!(value <= evidence + 4.5 * error, "{name}: iwae({k}) = {value} ± {error} above {evidence}");
            let slack = 4.5 * (error.powi(2) + last.1.powi(2)).sqrt();
            assert!(value >= last.0 - slack, "{name}: iwae({k}) = {value} ± {error} below {last:?}");
            last = (value, error);
        }
        // With 64 draws nearly all of the gap is gone.
        assert!(evidence - last.0 < 0.1 * (evidence - plain) + 4.5 * last.1, "{name}: {last:?} of {plain} {evidence}");
        let (renyi, error) = bound_of(&run("elbo = renyi(0.5, 16)"));
        assert!(
            renyi <= evidence + 4.5 * error && renyi >= plain - 4.5 * (error + plain_error),
            "{name}: {renyi} ± {error}"
        );
        let adaptive = run("elbo = tail_adaptive(16)");
        assert!(adaptive.bound.is_none(), "it has no bound of its own");
        assert!(elbo_of(&adaptive).0 <= evidence + 4.5 * elbo_of(&adaptive).1);
    }
}

const SKEWED: &str = "data y: real[N] = [1.5, 0.4, 2.2]\nmodel {\n  param shift: real = 0.3\n  a ~ Normal(0, 1)\n  s ~ LogNormal(0, 0.5)\n  \
                      y ~ StudentT(4, a + shift, s)\n}\n";
const WIDE: &str = "guide {\n  a ~ Normal(?(0.5), ?(0.8))\n  s ~ LogNormal(?(-0.2), ?(0.6))\n}\n";

/// The gradient of the negative bound that one step of a fit uses: plain descent moves by it. Where the start depends on the
/// seed, it is known up to a number that does not depend on the settings.
fn engine(text: &str, infer: &str, seeds: u64) -> Vec<Vec<f64>> {
    let c = compile(&format!("{text}infer svi {{ steps = 1, optimizer = sgd(1e-3), draws = 2, {infer} }}\n"));
    let bound = bind(&c);
    let start = Elbo::of(&c, KlChoice::MonteCarlo).start(0);
    (0..seeds)
        .map(|seed| {
            let options = RunOptions { seed: Some(seed), ..RunOptions::default() };
            let fit = bayesc::session::run(&bound, &options, &mut Patient::default()).expect("a step");
            let after: Vec<f64> = fit.params.iter().flat_map(|p| p.data.clone()).collect();
            start.iter().zip(after).map(|(before, after)| (before - after) / 1e-3).collect()
        })
        .collect()
}
fn column(rows: &[Vec<f64>], at: usize) -> Vec<f64> {
    rows.iter().map(|row| row[at]).collect()
}

/// The gradients of bounds, by squared weights along the path, are those of their expectation: every derivative by
/// differences of the bound with the same noise has the same mean.
#[test]
fn doubly_reparameterized_gradients_are_those_of_the_bound() {
    for (objective, setting) in [
        (Objective::Iwae { k: 5 }, "elbo = iwae(5), particles = 40"),
        (Objective::Renyi { alpha: 0.4, k: 5 }, "elbo = renyi(0.4, 5), particles = 40"),
        (Objective::Renyi { alpha: 2.0, k: 3 }, "elbo = renyi(2, 3), particles = 60"),
    ] {
        let text = format!("{SKEWED}{WIDE}");
        let c = compile(&text);
        let mut e = Elbo::of(&c, KlChoice::MonteCarlo);
        let start = e.start(0);
        let n = start.len();
        assert_eq!(n, 5, "a constant, two locations, two scales");
        let k = objective.draws();
        let mut differences = vec![Vec::new(); n];
        let value = |e: &mut Elbo, p: &[f64], seed: u64| {
            let ratios: Vec<f64> = (0..k).map(|j| e.at(p, Key::new(seed).fold_in(j as u64), None).elbo).collect();
            objective.value(&ratios)
        };
        for seed in 0..2_500 {
            for at in 0..n {
                let mut moved = [start.clone(), start.clone()];
                moved[0][at] += 1e-4;
                moved[1][at] -= 1e-4;
                let [up, down] = moved.map(|p| value(&mut e, &p, seed));
                differences[at].push(-(up - down) / 2e-4);
            }
        }
        let steps = engine(&text, setting, 200);
        for at in 0..n {
            let ((want, a), (got, b)) = (mean_and_error(&differences[at]), mean_and_error(&column(&steps, at)));
            let slack = 4.5 * (a * a + b * b).sqrt();
            assert!((got - want).abs() < slack, "{objective:?} {at}: {got} ± {b}, differences say {want} ± {a}");
            assert!(want.abs() > 2.0 * slack || at > 0, "{objective:?} {at}: {want} ± {slack} tells nothing");
        }
    }
}

const Y: [f64; 4] = [1.3, 0.2, 2.1, 0.9];
const CONJUGATE: &str =
    "data y: real[N] = [1.3, 0.2, 2.1, 0.9]\nmodel {\n  mu ~ Normal(0, 2)\n  y ~ Normal(mu, 0.7)\n}\n";
/// The posterior of `CONJUGATE`: mean, standard deviation, precision.
fn posterior() -> (f64, f64, f64) {
    let precision = 0.25 + Y.len() as f64 / 0.49;
    (Y.iter().sum::<f64>() / 0.49 / precision, precision.powf(-0.5), precision)
}
/// The gradient of the negative ELBO of N(m, s) for `CONJUGATE`, by m and by the free number of s.
fn analytic(m: f64, s: f64) -> [f64; 2] {
    let (mean, _, precision) = posterior();
    let slope = 1.0 - (-s).exp();
    [precision * (m - mean), (precision * s - 1.0 / s) * slope]
}

#[test]
fn at_the_exact_posterior_bounds_are_the_evidence_and_their_gradients_vanish() {
    let (m, s, _) = posterior();
    let text = format!("{CONJUGATE}guide {{\n  mu ~ Normal(?({m:?}), ?({s:?}))\n}}\n");
    let plain = fit(&format!("{text}infer svi {{ steps = 1, optimizer = sgd(1e-9), kl = monte_carlo }}\n"));
    for elbo in ["iwae(8)", "renyi(0.5, 8)", "tail_adaptive(8)"] {
        for g in engine(&text, &format!("elbo = {elbo}"), 10) {
            assert!(g.iter().all(|g| g.abs() < 1e-8), "{elbo}: {g:?}");
        }
        let fit = fit(&format!("{text}infer svi {{ steps = 1, optimizer = sgd(1e-9), elbo = {elbo} }}\n"));
        if let Some(bound) = &fit.bound {
            assert_close(bound.final_, elbo_of(&plain).0, 1e-8, elbo);
        }
    }
}

#[test]
fn score_gradients_are_those_of_the_elbo() {
    let want = analytic(0.4, 0.5);
    let text = format!("{CONJUGATE}guide {{\n  mu ~ Normal(?(0.4), ?(0.5))\n}}\n");
    for kl in ["auto", "monte_carlo"] {
        let steps = engine(&text, &format!("estimator = score, particles = 32, kl = {kl}"), 200);
        for at in 0..2 {
            assert_mean(&column(&steps, at), want[at], &format!("score function, kl = {kl}, {at}"));
        }
    }
    // Families in unconstrained space.
    for family in ["mean_field", "full_rank"] {
        let text = format!("{SKEWED}guide {family}\n");
        let scores = engine(&text, "estimator = score, particles = 24", 250);
        let paths = engine(&text, "estimator = reparam, particles = 24", 250);
        for at in 0..scores[0].len() {
            let gaps: Vec<f64> = scores.iter().zip(&paths).map(|(a, b)| a[at] - b[at]).collect();
            assert_mean(&gaps, 0.0, &format!("{family} {at}: by the score less along the path"));
        }
    }
}

/// A mixture as a guide has no derivative along its draws: the compiler takes the score function, and the fit finds both modes.
#[test]
fn a_mixture_as_a_guide_is_fitted_by_the_score_function() {
    let text = "model {\n  z ~ Mixture([0.3, 0.7], [Normal(-3, 0.5), Normal(2, 0.5)])\n}\nguide {\n  param low: real = -1\n  param high: real = 1\n  \
                param part: real in 0..1 = 0.5\n  z ~ Mixture([part, 1 - part], [Normal(low, 0.5), Normal(high, 0.5)])\n}\n\
                infer svi { steps = 4_000, optimizer = adam(2e-2), schedule = cosine, particles = 16 }\n";
    let c = compile(text);
    let choice = bayesc::lower::estimators::choose(&c.program, &c.program.guides[0], EstimatorChoice::Auto);
    assert_eq!((choice[0].estimator.name(), choice[0].reason), ("score", "its draws have no derivative"));
    let fit = fit_with(&c, &RunOptions::default());
    assert_close(params(&fit, "guide.low")[0], -3.0, 0.1, "low");
    assert_close(params(&fit, "guide.high")[0], 2.0, 0.1, "high");
    let part = 1.0 / (1.0 + (-params(&fit, "guide.part")[0]).exp());
    assert_close(part, 0.3, 0.03, "part");
    let (elbo, error) = elbo_of(&fit);
    assert!(elbo > -0.05 && elbo < 4.5 * error + 1e-9, "the evidence is 1: {elbo} ± {error}");
}

#[test]
fn holes_of_components_are_told_apart() {
    let text = "model {\n  z ~ Mixture([0.3, 0.7], [Normal(-3, 0.5), Normal(2, 0.5)])\n}\nguide {\n  \
                z ~ Mixture([0.3, 0.7], [Normal(?(-1), ?(0.7)), Normal(?(1), ?)])\n}\n\
                infer svi { steps = 4_000, optimizer = adam(2e-2), schedule = cosine, particles = 16 }\n";
    let fit = fit(text);
    let names: Vec<&str> = fit.params.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["z.loc", "z.scale", "z.loc_2", "z.scale_2"]);
    for (name, want) in [("z.loc", -3.0), ("z.loc_2", 2.0)] {
        assert_close(params(&fit, name)[0], want, 0.1, name);
    }
    for name in ["z.scale", "z.scale_2"] {
        assert_close(softplus(params(&fit, name)[0]), 0.5, 0.05, name);
    }
}

/// Two draws with opposite noise have the exact gradient by a location where the density is quadratic.
#[test]
fn antithetic_draws_cancel_what_is_odd() {
    let text = format!("{CONJUGATE}guide {{\n  mu ~ Normal(?(0.4), ?(0.5))\n}}\n");
    let want = analytic(0.4, 0.5);
    let steps = engine(&text, "antithetic = true", 300);
    assert_all_close(&column(&steps, 0), &vec![want[0]; 300], 1e-9, "every gradient by the location");
    assert_mean(&column(&steps, 1), want[1], "the gradient by the scale");
    let plain = engine(&text, "particles = 2", 300);
    let (_, spread) = mean_and_error(&column(&plain, 0));
    assert!(spread > 0.01, "without pairs there is noise");
    // Uniform noise is mirrored about a half.
    let laplace = format!("{CONJUGATE}guide {{\n  mu ~ Logistic(?(0.4), ?(0.5))\n}}\n");
    let (pairs, plain) = (engine(&laplace, "antithetic = true", 400), engine(&laplace, "particles = 20", 400));
    for at in 0..2 {
        let ((a, ea), (b, eb)) = (mean_and_error(&column(&pairs, at)), mean_and_error(&column(&plain, at)));
        assert!((a - b).abs() < 4.5 * (ea * ea + eb * eb).sqrt() + 1e-9, "{at}: {a} {b}");
    }
}

const LINEAR: &str = "data x: real[N] = [-2.0, -1.0, 0.5, 1.0, 3.0]\ndata y: real[N] = [-3.1, -0.6, 1.4, 3.2, 6.5]\nmodel {\n  a ~ Normal(0, 10)\n  b ~ Normal(0, 10)\n  \
                      y ~ Normal(a + b * x, 0.5)\n}\n";
/// Mean and covariance of the posterior of `LINEAR`.
fn linear() -> ([f64; 2], [[f64; 2]; 2]) {
    let (x, y) = ([-2.0, -1.0, 0.5, 1.0, 3.0], [-3.1, -0.6, 1.4, 3.2, 6.5]);
    let sum = |f: &dyn Fn(usize) -> f64| (0..5).map(f).sum::<f64>() / 0.25;
    let (n, sx, sxx) = (sum(&|_| 1.0) + 0.01, sum(&|i| x[i]), sum(&|i| x[i] * x[i]) + 0.01);
    let (sy, sxy) = (sum(&|i| y[i]), sum(&|i| x[i] * y[i]));
    let det = n * sxx - sx * sx;
    let cov = [[sxx / det, -sx / det], [-sx / det, n / det]];
    ([cov[0][0] * sy + cov[0][1] * sxy, cov[1][0] * sy + cov[1][1] * sxy], cov)
}

#[test]
fn natural_steps_reach_a_normal_posterior_in_few() {
    let (mean, cov) = linear();
    let fit_of =
        |guide: &str, infer: &str| fit(&format!("{LINEAR}guide {guide}\ninfer svi {{ {infer}, draws = 2 }}\n"));
    let full = fit_of(
        "full_rank",
        "steps = 60, optimizer = natural(0.5), kl = monte_carlo, antithetic = true, particles = 16",
    );
    let (loc, tril) = (params(&full, "full_rank.loc"), params(&full, "full_rank.scale_tril"));
    assert_all_close(loc, &mean, 1e-5, "location");
    let l = [[softplus(tril[0]), 0.0], [tril[2], softplus(tril[3])]];
    for i in 0..2 {
        for j in 0..2 {
            let got = l[i][0] * l[j][0] + l[i][1] * l[j][1];
            assert_close(got, cov[i][j], 1e-5, "covariance");
        }
    }
    // The optimum of independent normals: the same mean, the diagonal of the precision.
    let own = |i: usize| (cov[0][0] * cov[1][1] - cov[0][1].powi(2)) / cov[1 - i][1 - i];
    for (optimizer, steps, tolerance) in [("natural(0.2)", 150, 0.03), ("ivon(0.2, beta2 = 0.98)", 600, 0.04)] {
        let infer =
            format!("steps = {steps}, optimizer = {optimizer}, antithetic = true, particles = 32, average = 0.5");
        let diagonal = fit_of("mean_field", &infer);
        for (i, name) in ["a", "b"].iter().enumerate() {
            let sd = softplus(params(&diagonal, &format!("{name}.scale"))[0]);
            assert_close(params(&diagonal, &format!("{name}.loc"))[0], mean[i], 0.02, &format!("{optimizer} {name}"));
            assert_close(sd / own(i).sqrt(), 1.0, tolerance, &format!("{optimizer} sd of {name}"));
        }
    }
}

#[test]
fn rates_of_sites_and_averages() {
    let at_start = |fit: &Fit, name: &str, start: f64| (params(fit, name)[0] - start).abs() < 1e-15;
    let text = format!("{LINEAR}guide {{\n  a ~ Normal(?(0.1), ?(0.2))\n  b ~ Normal(?(0.3), ?(0.4))\n}}\n");
    let fit_of = |infer: &str| fit(&format!("{text}infer svi {{ {infer}, draws = 2 }}\n"));
    let frozen = fit_of("steps = 20, rate a = 0");
    assert!(at_start(&frozen, "a.loc", 0.1) && at_start(&frozen, "a.scale", inverse_softplus(0.2)));
    assert!(!at_start(&frozen, "b.loc", 0.3));
    // The first step of adam has the length of its rate.
    let one = fit_of("steps = 1, optimizer = adam(0.01), rate a = 0.05");
    assert_close((params(&one, "a.loc")[0] - 0.1).abs(), 0.05, 1e-6, "the rate of a");
    assert_close((params(&one, "b.loc")[0] - 0.3).abs(), 0.01, 1e-6, "the common rate");
    // The average of the last half of two steps is the last one, over four it is the mean of two.
    let path: Vec<f64> =
        (1..=4).map(|n| params(&fit_of(&format!("steps = {n}, optimizer = sgd(1e-3)")), "b.loc")[0]).collect();
    let half = params(&fit_of("steps = 4, optimizer = sgd(1e-3), average = 0.5"), "b.loc")[0];
    assert_close(half, 0.5 * (path[2] + path[3]), 1e-14, "the average");
}

#[test]
fn a_plateau_ends_a_fit() {
    let text = format!("{LINEAR}guide mean_field\n");
    let fit_of = |infer: &str| fit(&format!("{text}infer svi {{ steps = 20_000, optimizer = adam(2e-2), {infer} }}\n"));
    let stopped = fit_of("stop = plateau");
    let steps = stopped.trace.len();
    assert_eq!(stopped.stop_reason, StopReason::Plateau);
    assert!(steps % 200 == 0 && (1_000..10_000).contains(&steps), "{steps}");
    assert_eq!(stopped.elbo.expect("an ELBO").steps, steps as u64);
    let (mean, _) = linear();
    assert_close(params(&stopped, "a.loc")[0], mean[0], 0.1, "a");
    assert!(
        stopped.notes.iter().any(|n| n.contains(&format!("no longer rising at step {steps}"))),
        "{:?}",
        stopped.notes
    );
    // With an average the fit goes on until the average is over its part.
    let averaged = fit_of("stop = plateau, average = 0.2");
    assert_eq!(averaged.stop_reason, StopReason::Plateau);
    assert_eq!(averaged.trace.len(), (steps as f64 / 0.8).ceil() as usize);
    let long = fit_of("steps = 300, stop = plateau".replace("steps = 300, ", "").as_str());
    assert_eq!(long.trace.len(), steps, "the same seed stops at the same step");
}

#[test]
fn what_the_guide_cannot_do_is_refused() {
    let refused = |text: &str, words: &str| match try_fit(&compile(text), &RunOptions::default()) {
        Err(Failure::Diagnostics(d)) => {
            let said: Vec<String> = d.iter().map(|d| d.message.clone()).collect();
            assert!(said.iter().any(|m| m.contains(words)), "{said:?} instead of {words}");
        }
        other => panic!("{words}: {:?}", other.map(|f| f.elbo)),
    };
    let with = |guide: &str, infer: &str| format!("{LINEAR}guide {guide}\ninfer svi {{ {infer} }}\n");
    refused(&with("delta", "elbo = iwae(4)"), "`elbo = iwae(4)` does not go with this guide");
    refused(&with("structured", "elbo = renyi(0.5, 4)"), "`elbo = renyi(0.5, 4)` does not go with this guide");
    refused(&with("structured", "estimator = score"), "`estimator = score` does not go with this family");
    refused(&with("delta", "estimator = score"), "the guide draws nothing");
    refused(&with("low_rank(1)", "optimizer = natural(0.1)"), "its family is not a normal one");
    refused(&with("full_rank", "optimizer = ivon(0.1)"), "its family has correlations, the rule has none");
    refused(&with("delta", "optimizer = ivon(0.1)"), "its family is not a normal one");
    let constant = format!("{SKEWED}guide mean_field\ninfer svi {{ optimizer = natural(0.1) }}\n");
    refused(&constant, "`natural` steps normal families, and `shift` is in none: it is a learnable constant");
    refused(
        &format!("{SKEWED}guide mean_field\ninfer svi {{ elbo = tail_adaptive(4) }}\n"),
        "learnable constant `shift`",
    );
    let positive = "model {\n  s ~ Gamma(2, 1)\n}\nguide {\n  s ~ Gamma(?, ?)\n}\n";
    refused(&format!("{positive}infer svi {{ antithetic = true }}\n"), "`antithetic` does not go with this guide");
    let mixture = "model {\n  z ~ Normal(0, 1)\n}\nguide {\n  param m: real = 1\n  z ~ Mixture([0.5, 0.5], [Normal(m, 1), Normal(-1, 1)])\n}\n";
    refused(&format!("{mixture}infer svi {{ estimator = reparam }}\n"), "draws of `Mixture` have no derivative");
    refused(&format!("{mixture}infer svi {{ particles = 1 }}\n"), "at least two a step are needed");
    refused(&format!("{mixture}infer svi {{ elbo = iwae(4) }}\n"), "does not go with this guide");
}
