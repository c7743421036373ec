//! The No-U-Turn sampler on posteriors with closed forms, and what it promises beside the numbers.

use crate::common::*;
use bayesc::infer::density::{self, Density, Space};
use bayesc::kernels::threads;
use bayesc::report::fit::Fit;
use bayesc::report::summary::Summary;
use bayesc::session::{self, Failure, Observer, RunError, RunOptions, Sampling, Status};
use std::ops::ControlFlow;

/// Mean within 4.5 Monte Carlo standard errors, sd within 6 %.
#[track_caller]
fn assert_moments(fit: &Fit, name: &str, element: usize, mean: f64, sd: f64) {
    let summary = Summary::of(fit, false);
    let at = fit.quantities.iter().position(|q| q.name == name).unwrap_or_else(|| panic!("no `{name}`"));
    let got = &summary.sites[at].elements.as_ref().expect("a small site")[element];
    let z = (got.mean - mean) / got.mcse_mean;
    assert!(z.abs() < 4.5, "mean of {name}[{element}] is {} ± {}, expected {mean}", got.mean, got.mcse_mean);
    assert!((got.sd / sd - 1.0).abs() < 0.06, "sd of {name}[{element}] is {}, expected {sd}", got.sd);
}

const RUN: &str = "infer nuts { seed = 3 }\n";

#[test]
fn conjugate_posteriors() {
    // Normal with known scale: precision 1/4 + 3, mean (0.5/4 + sum y) / precision.
    let fit = fit(&format!(
        "data y: real[N] = [1.0, 2.0, 4.5]\nmodel {{\n  mu ~ Normal(0.5, 2)\n  y ~ Normal(mu, 1)\n}}\n{RUN}"
    ));
    let precision = 0.25 + 3.0;
    assert_moments(&fit, "mu", 0, (0.5 / 4.0 + 7.5) / precision, 1.0 / f64::sqrt(precision));

    // Beta(2 + 7, 3 + 4)
    let fit = fit_text("data k: int = 7\nmodel {\n  p ~ Beta(2, 3)\n  k ~ Binomial(11, p)\n}\n");
    let (a, b) = (9.0, 7.0);
    assert_moments(&fit, "p", 0, a / (a + b), f64::sqrt(a * b / ((a + b) * (a + b) * (a + b + 1.0))));

    // Gamma(3 + 9, 2 + 4)
    let fit = fit_text("data y: int[N] = [2, 1, 4, 2]\nmodel {\n  rate ~ Gamma(3, 2)\n  y ~ Poisson(rate)\n}\n");
    assert_moments(&fit, "rate", 0, 2.0, f64::sqrt(12.0) / 6.0);

    // Dirichlet(1 + 3, 1 + 1, 1 + 0, 1 + 6)
    let fit = fit_text(
        "size K = 4\ndata n: int[K] = [3, 1, 0, 6]\nmodel {\n  p: real[K] ~ Dirichlet(fill([K], 1.0))\n  \
         n ~ Multinomial(10, p)\n}\n",
    );
    let counts = [4.0, 2.0, 1.0, 7.0];
    for (i, a) in counts.into_iter().enumerate() {
        assert_moments(&fit, "p", i, a / 14.0, f64::sqrt(a * (14.0 - a) / (14.0 * 14.0 * 15.0)));
    }
}
fn fit_text(text: &str) -> Fit {
    fit(&format!("{text}{RUN}"))
}

const HIERARCHY: &str = "
data y: real[J] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]
data se: real[J] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]
model {
  mu  ~ Normal(0, 5)
  tau ~ HalfCauchy(5)
  theta: real[J] ~ Normal(mu, tau)
  y ~ Normal(theta, se)
}
";

/// ln p(z) = ln p(x(z)) + ln |dx/dz| whatever the coordinates.
#[test]
fn coordinates_change_the_geometry_and_not_the_density() {
    let c = compile(HIERARCHY);
    let bound = bind(&c);
    let model = bound.program.model.as_ref().expect("a model");
    let theta = model.sites.iter_enumerated().find(|(_, s)| s.name == "theta").expect("a site").0;
    let at = |noncentered: Vec<_>, u: &[f64]| {
        let graph =
            density::build(&bound.program, &bound.data, &Space::Unconstrained(noncentered)).expect("a gradient");
        let mut density = Density::new(&graph, &bound.program, &bound.data);
        let mut gradient = vec![0.0; u.len()];
        let value = density.evaluate(u, &mut gradient);
        // Against central differences.
        for i in 0..u.len() {
            let mut other = |step: f64| {
                let mut v = u.to_vec();
                v[i] += step;
                density.evaluate(&v, &mut vec![0.0; u.len()])
            };
            let slope = (other(1e-5) - other(-1e-5)) / 2e-5;
            assert_close(gradient[i], slope, 1e-6 * (1.0 + slope.abs()), "a derivative");
        }
        value
    };
    let (mu, log_tau) = (1.3, 0.7f64);
    let z = [0.3, -1.0, 0.2, 0.9, -0.4, 1.6, 0.0, -2.0];
    let mut standard = vec![mu, log_tau];
    standard.extend(z);
    let mut centered = vec![mu, log_tau];
    centered.extend(z.iter().map(|z| mu + log_tau.exp() * z));
    let difference = at(vec![theta], &standard) - at(Vec::new(), &centered);
    assert_close(difference, z.len() as f64 * log_tau, 1e-9, "ln |d theta / d z|");
}

#[test]
fn the_coordinates_do_not_change_the_answer() {
    let run = |reparam: &str| {
        let block = format!("infer nuts {{ seed = 5, target_accept = 0.99, draws = 2000, reparam = {reparam} }}\n");
        fit(&format!("{HIERARCHY}{block}"))
    };
    let chosen = |f: &Fit| f.settings.iter().find(|(n, _)| n == "reparam").expect("it is told").1["theta"].clone();
    let (auto, named) = (run("auto"), run("noncentered(theta)"));
    assert_eq!((chosen(&auto), chosen(&named)), ("noncentered".into(), "noncentered".into()));
    assert_eq!(auto.quantities, named.quantities, "auto takes the standard variable here");
    let centered = run("centered");
    assert_eq!(chosen(&centered), "centered");
    let names = |f: &Fit| f.quantities.iter().map(|q| q.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&auto), names(&centered));
    let of = |f: &Fit, at: usize| Summary::of(f, false).sites[at].elements.clone().expect("small")[0];
    for at in [0, 2] {
        let (a, b) = (of(&auto, at), of(&centered, at));
        let z = (a.mean - b.mean) / a.mcse_mean.hypot(b.mcse_mean);
        assert!(z.abs() < 4.5, "site {at}: {} and {}", a.mean, b.mean);
    }
}

#[test]
fn many_data_for_each_element_leave_it_centered() {
    let text = format!(
        "size G = 2\nsize N = 60\ndata g: int[N] in 0..G = {}\ndata y: real[N] = {}\nmodel {{\n  tau ~ HalfNormal(1)\n  \
         a: real[G] ~ Normal(0, tau)\n  y ~ Normal(a[g], 1)\n}}\ninfer nuts {{ warmup = 100, draws = 10 }}\n",
        format_args!("{:?}", (0..60).map(|i| i % 2).collect::<Vec<i32>>()),
        literal(&(0..60).map(|i| (i % 7) as f64 / 3.0).collect::<Vec<_>>()),
    );
    let fit = fit(&text);
    let reparam = &fit.settings.iter().find(|(n, _)| n == "reparam").expect("it is told").1;
    assert_eq!(reparam["a"], "centered");
}

#[test]
fn a_funnel_is_reported() {
    let fit = fit("size K = 9\nmodel {\n  v ~ Normal(0, 3)\n  x: real[K] ~ Normal(0, exp(v / 2))\n}\n\
         infer nuts { seed = 1, reparam = centered }\n");
    let summary = Summary::of(&fit, false);
    let d = summary.diagnostics;
    assert!(d.divergences.is_some_and(|n| n > 0), "{d:?}");
    assert!(
        fit.warnings.iter().any(|w| w.contains("diverged") && w.contains("reparam = noncentered")),
        "{:?}",
        fit.warnings
    );
    // In standard variables there is no funnel.
    let easy = fit_text("size K = 9\nmodel {\n  v ~ Normal(0, 3)\n  x: real[K] ~ Normal(0, exp(v / 2))\n}\n");
    assert_eq!(Summary::of(&easy, false).diagnostics.divergences, Some(0));
    assert_moments(&easy, "v", 0, 0.0, 3.0);
}

#[test]
fn threads_do_not_enter() {
    let run = || {
        fit(&format!(
            "{HIERARCHY}generate {{ y_rep ~ Normal(theta, se) }}\ninfer nuts {{ seed = 2, warmup = 200, draws = 100 }}\n"
        ))
    };
    threads::set_threads(2);
    let two = run();
    threads::set_threads(1);
    let one = run();
    threads::set_threads(2);
    assert_eq!(one.quantities, two.quantities);
    assert_eq!(one.sampler, two.sampler);
    let y_rep = quantity(&one.quantities, "y_rep");
    assert_eq!((y_rep.chains, y_rep.draws, y_rep.count()), (4, 100, 8));
    assert_ne!(draws(&one.quantities, "mu", 0)[0], draws(&one.quantities, "mu", 0)[100], "chains differ");
}

/// Two coordinates with the correlation 0.995 and a third of its own.
const RIDGE: &str = "model {
  a ~ Normal(1, 2)
  b ~ Normal(a, 0.2)
  c ~ Normal(-3, 0.5)
}
";

#[test]
fn metrics_agree_and_directions_shorten_a_ridge() {
    let sampled = |metric: &str| fit(&format!("{RIDGE}infer nuts {{ seed = 2, metric = {metric} }}\n"));
    let gradients = |fit: &Fit| fit.sampler.as_ref().expect("nuts").chains.iter().map(|c| c.gradients).sum::<u64>();
    let (auto, diagonal, low_rank) = (sampled("auto"), sampled("diagonal"), sampled("low_rank"));
    for fit in [&diagonal, &low_rank] {
        assert_moments(fit, "a", 0, 1.0, 2.0);
        assert_moments(fit, "b", 0, 1.0, f64::sqrt(4.04));
        assert_moments(fit, "c", 0, -3.0, 0.5);
    }
    let (flat, bent) = (gradients(&diagonal), gradients(&low_rank));
    assert!(3 * bent < flat, "{bent} gradients with directions, {flat} with a diagonal");
    assert_eq!(
        draws(&auto.quantities, "b", 0),
        draws(&low_rank.quantities, "b", 0),
        "few coordinates: auto is low_rank"
    );
}

#[test]
fn without_an_infer_block_classical_models_are_sampled() {
    let f = fit("data y: real[N] = [1.0, 2.0]\nmodel {\n  mu ~ Normal(0, 1)\n  y ~ Normal(mu, 1)\n}\n");
    assert_eq!(f.algorithm, "nuts");
    assert!(f.notes.iter().any(|n| n.contains("no infer block") && n.contains("nuts")), "{:?}", f.notes);
    let f =
        fit("data y: real[N] = [1.0, 2.0]\nmodel {\n  mu ~ Normal(0, 1)\n  y ~ Normal(mu, 1)\n}\nguide full_rank\n");
    assert_eq!(f.algorithm, "svi");
}

#[test]
fn a_density_that_is_finite_nowhere_names_its_site() {
    let text = "model {\n  x ~ Normal(0, 1)\n  factor log(x - 10)\n}\n";
    let error = try_fit(&compile(text), &RunOptions::default()).expect_err("there is no start");
    let Failure::Run(RunError::NoStart { tries: 100, cause }) = error else { panic!("{error:?}") };
    assert!(cause.to_string().contains("`factor`"), "{cause}");
    let text = "data y: real[N] = [1.0, 2.0]\nmodel {\n  x ~ Normal(0, 1)\n  s = x - 10\n  y ~ Normal(0, s)\n}\n";
    let error = try_fit(&compile(text), &RunOptions::default()).expect_err("there is no start");
    let Failure::Run(RunError::NoStart { cause, .. }) = error else { panic!("{error:?}") };
    assert!(cause.to_string().contains("`y`"), "{cause}");
}

#[test]
fn learnable_constants_are_refused() {
    let text = "data y: real[N] = [1.0, 2.0]\nmodel {\n  param s: real in 0.. = 1\n  mu ~ Normal(0, 1)\n  y ~ Normal(mu, s)\n}\n";
    let options = RunOptions { infer: Some("nuts".into()), ..RunOptions::default() };
    let Err(Failure::Diagnostics(diags)) = try_fit(&compile(text), &options) else { panic!("it has no prior") };
    let messages: Vec<&str> = diags.iter().map(|d| d.message.as_str()).collect();
    assert!(messages[0].contains("`s`"), "{messages:?}");
    assert_eq!(fit(text).algorithm, "svi", "and the default is svi");
}

#[test]
fn held_out_data_are_scored() {
    let x: Vec<f64> = (0..40).map(|i| i as f64 / 10.0 - 2.0).collect();
    let mut random = Random(4);
    let y: Vec<f64> = x.iter().map(|x| 0.5 + 1.5 * x + 0.3 * random.normal()).collect();
    let f = fit(&format!(
        "data x: real[N] = {}\ndata y: real[N] = {}\nmodel {{\n  a ~ Normal(0, 2)\n  b ~ Normal(0, 2)\n  \
         s ~ HalfNormal(1)\n  y ~ Normal(a + b * x, s)\n}}\ninfer nuts {{ seed = 1, warmup = 300, draws = 300 }}\n\
         evaluate {{\n  x = {}\n  y = {}\n}}\n",
        literal(&x[..30]),
        literal(&y[..30]),
        literal(&x[30..]),
        literal(&y[30..]),
    ));
    let scores = &f.evaluation[0].1;
    assert!(
        scores.get("rmse").expect("reals have it") < 0.6 && scores.get("nll").expect("all have it") < 1.0,
        "{scores:?}"
    );
}

/// Stops after so many looks.
struct Impatient(usize);
impl Observer for Impatient {
    fn note(&mut self, _: &str) {}
    fn status(&mut self, _: &Status) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn sampling(&mut self, status: &Sampling<'_>) -> ControlFlow<()> {
        let done = status.chains.iter().map(|c| c.draw).min().unwrap_or(0);
        if done >= self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
    fn clock(&mut self) -> f64 {
        0.0
    }
}

#[test]
fn a_run_can_be_stopped() {
    let text = format!("{HIERARCHY}infer nuts {{ seed = 2, warmup = 100, draws = 200_000, chains = 1 }}\n");
    let c = compile(&text);
    let bound = bind(&c);
    let fit = session::run(&bound, &RunOptions::default(), &mut Impatient(2500)).expect("there are draws");
    let n = quantity(&fit.quantities, "mu").draws;
    assert!(fit.interrupted() && n > 1000 && n < 200_000, "{n}");
    let text = format!("{HIERARCHY}infer nuts {{ warmup = 1_000_000, chains = 1 }}\n");
    let c = compile(&text);
    let result = session::run(&bind(&c), &RunOptions::default(), &mut Impatient(1));
    assert!(matches!(result, Err(Failure::Run(RunError::Stopped(_)))), "{result:?}");
}
