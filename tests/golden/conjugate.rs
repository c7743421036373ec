//! Models whose evidence is known in closed form.

use crate::common::*;
use bayesc::check::settings::KlChoice;
use bayesc::rng::Key;
use bayesc::session::RunOptions;

const Y: [f64; 10] = [1.3, 0.2, 2.1, 0.9, 1.7, 0.4, 1.1, 2.6, 0.8, 1.5];
const PRIOR_SD: f64 = 2.0;
const NOISE: f64 = 0.7;

fn program(infer: &str) -> String {
    format!(
        "data y: real[N] = {}\nmodel {{\n  mu ~ Normal(0, {PRIOR_SD})\n  y ~ Normal(mu, {NOISE})\n}}\nguide mean_field\n\
         infer svi {{ {infer} }}\n",
        literal(&Y)
    )
}
/// Mean and standard deviation of the posterior, and the log evidence.
fn exact() -> (f64, f64, f64) {
    let precision = PRIOR_SD.powi(-2) + Y.len() as f64 * NOISE.powi(-2);
    let m = Y.iter().sum::<f64>() * NOISE.powi(-2) / precision;
    let s = precision.powf(-0.5);
    // p(y) = p(y | mu) p(mu) / p(mu | y) at any mu.
    let at_zero: f64 = Y.iter().map(|&y| log_normal(y, 0.0, NOISE)).sum();
    (m, s, at_zero + log_normal(0.0, 0.0, PRIOR_SD) - log_normal(0.0, m, s))
}

#[test]
fn at_the_exact_posterior_the_elbo_is_the_evidence_for_every_draw() {
    let (m, s, evidence) = exact();
    let mut e = Elbo::new(&program("steps = 1"), KlChoice::MonteCarlo);
    let mut p = e.start(0);
    e.set(&mut p, "mu.loc", &[m]);
    e.set(&mut p, "mu.scale", &[inverse_softplus(s)]);
    for i in 0..50 {
        let v = e.at(&p, Key::new(1).fold_in(i), None);
        assert_close(v.elbo, evidence, 1e-10, "the ELBO of one draw");
        // The path derivative alone vanishes there; with the score it would not.
        assert!(v.gradient.iter().all(|g| g.abs() < 1e-9), "gradient {:?}", v.gradient);
    }
}

#[test]
fn at_the_exact_posterior_minibatches_add_up_to_the_evidence() {
    let (m, s, evidence) = exact();
    for kl in [KlChoice::MonteCarlo, KlChoice::Auto] {
        let mut e = Elbo::new(&program("minibatch N = 4, epochs = 1"), kl);
        let mut p = e.start(0);
        e.set(&mut p, "mu.loc", &[m]);
        e.set(&mut p, "mu.scale", &[inverse_softplus(s)]);
        let mut values = Vec::new();
        for i in 0..400 {
            let key = Key::new(2).fold_in(i);
            let mut sum = 0.0;
            for batch in [&[9, 0, 3, 5][..], &[1, 2, 8, 7], &[4, 6]] {
                sum += e.at(&p, key, Some(batch)).elbo * batch.len() as f64 / Y.len() as f64;
            }
            values.push(sum);
        }
        if kl == KlChoice::MonteCarlo {
            values.iter().for_each(|&v| assert_close(v, evidence, 1e-9, "the mean over a partition"));
        }
        assert_mean(&values, evidence, "the mean over partitions and draws");
    }
}

#[test]
fn svi_reaches_the_evidence() {
    let (m, s, evidence) = exact();
    // The path derivative has no noise at the optimum, so that the fit comes to rest there.
    let fit = fit(&program("steps = 4_000, optimizer = adam(2e-2), schedule = cosine, kl = monte_carlo"));
    let (value, error) = elbo_of(&fit);
    assert_close(value, evidence, 1e-6, "the ELBO");
    assert!(error < 1e-6, "{error}");
    assert_close(params(&fit, "mu.loc")[0], m, 1e-4, "mean of mu");
    assert_close(softplus(params(&fit, "mu.scale")[0]), s, 1e-4, "sd of mu");
    assert_eq!(fit.elbo.expect("an ELBO").steps, 4000);
    assert_eq!(fit.trace.len(), 4000);
}

#[test]
fn svi_on_minibatches_reaches_the_evidence() {
    let (m, s, evidence) = exact();
    let text = program("minibatch N = 4, steps = 6_000, optimizer = adam(2e-2), schedule = cosine");
    let fit = fit(&text);
    let (value, error) = elbo_of(&fit);
    // What is missing is KL(q || posterior): the noise of minibatches leaves some hundredths of a standard deviation.
    assert_close(value, evidence, 4.5 * error + 5e-3, "the ELBO");
    assert_close(params(&fit, "mu.loc")[0], m, 0.1 * s, "mean of mu");
    assert_close(softplus(params(&fit, "mu.scale")[0]), s, 0.05 * s, "sd of mu");
}

/// ln Gamma of a whole number.
fn ln_factorial(n: u32) -> f64 {
    (2..=n).map(|k| f64::from(k).ln()).sum()
}

#[test]
fn the_elbo_of_counts_stays_below_the_evidence() {
    let counts = [3u32, 5, 2, 4, 6, 3];
    let (a, b) = (2u32, 1.0);
    let (n, sum) = (counts.len() as f64, counts.iter().sum::<u32>());
    let evidence = f64::from(a) * f64::ln(b) - ln_factorial(a - 1) + ln_factorial(a + sum - 1)
        - f64::from(a + sum) * (b + n).ln()
        - counts.iter().map(|&c| ln_factorial(c)).sum::<f64>();
    let fit = fit(&format!(
        "data y: int[N] in 0.. = {counts:?}\nmodel {{\n  rate ~ Gamma({a}, {b})\n  y ~ Poisson(rate)\n}}\n\
         guide mean_field\ninfer svi {{ steps = 3_000, optimizer = adam(2e-2), schedule = cosine, seed = 4 }}\n"
    ));
    let (value, error) = elbo_of(&fit);
    assert!(value <= evidence + 3.0 * error + 1e-9, "{value} ± {error} above {evidence}");
    // A log-normal comes close to Gamma(25, 7).
    assert!(value > evidence - 0.01 - 4.5 * error, "{value} ± {error} far below {evidence}");
    let draws = draws(&fit.quantities, "rate", 0);
    assert_close(mean(&draws), 25.0 / 7.0, 0.2 * 5.0 / 7.0, "mean of the rate");
}

#[test]
fn the_mode_of_a_rate_is_found_by_delta() {
    let counts = [3u32, 5, 2, 4, 6, 3];
    let text = format!(
        "data y: int[N] in 0.. = {counts:?}\nmodel {{\n  rate ~ Gamma(3, 2)\n  y ~ Poisson(rate)\n}}\n\
         guide delta\ninfer svi {{ steps = 3_000, optimizer = adam(2e-2), schedule = cosine }}\n"
    );
    let fit = fit_with(&compile(&text), &RunOptions::default());
    // Of the density in the constrained space: (3 + 23 - 1) / (2 + 6).
    let draws = draws(&fit.quantities, "rate", 0);
    draws.iter().for_each(|&d| assert_close(d, 25.0 / 8.0, 1e-5, "the mode"));
}
