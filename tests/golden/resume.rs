//! Interrupted runs that go on: to the bits of the unbroken run.

use crate::common::*;
use bayesc::driver::Compilation;
use bayesc::report::fit::{Fit, StopReason};
use bayesc::session::{self, Failure, Observer, RunOptions, Sampling, Status};
use std::ops::ControlFlow;

/// Stops a run after so many steps of all its fits, or as soon as a chain is finished.
struct Impatient {
    steps: u64,
    chains: bool,
}
impl Observer for Impatient {
    fn note(&mut self, _: &str) {}
    fn status(&mut self, _: &Status) -> ControlFlow<()> {
        self.steps = self.steps.saturating_sub(1);
        if self.steps == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
    fn sampling(&mut self, status: &Sampling<'_>) -> ControlFlow<()> {
        let finished = status.chains.iter().any(|c| c.draw == c.total);
        if self.chains && finished { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
    fn clock(&mut self) -> f64 {
        0.0
    }
}

fn run(c: &Compilation, options: &RunOptions, steps: u64) -> Fit {
    let mut observer = Impatient { steps, chains: steps < u64::MAX };
    session::run(&bind(c), options, &mut observer).unwrap_or_else(|e| panic!("the fit fails: {e:?}"))
}

fn go_on(c: &Compilation, interrupted: &Fit, steps: u64) -> Fit {
    let bound = bind(c);
    let state = session::check_same(&bound, &RunOptions::default(), interrupted);
    let state = state.unwrap_or_else(|e| panic!("the fit cannot go on: {e:?}"));
    run(c, &RunOptions { resume: Some(state), ..RunOptions::default() }, steps)
}

/// Everything but times, to the last bit.
#[track_caller]
fn same(a: &Fit, b: &Fit) {
    assert_eq!(a.params, b.params);
    assert_eq!(a.quantities, b.quantities);
    assert_eq!(a.elbo, b.elbo);
    assert_eq!(a.diagnostics, b.diagnostics);
    assert_eq!(a.evaluation, b.evaluation);
    assert_eq!(a.loo, b.loo);
    assert_eq!(a.sampler, b.sampler);
    assert_eq!((a.stop_reason, &a.notes, &a.warnings), (b.stop_reason, &b.notes, &b.warnings));
    let course = |f: &Fit| -> Vec<(u64, u64, u64)> {
        f.trace.iter().map(|r| (r.step, r.elbo.to_bits(), r.gradient_norm.to_bits())).collect()
    };
    assert_eq!(course(a), course(b));
    assert!(b.checkpoint.is_none() && !b.interrupted());
    assert_eq!(a.bound, b.bound);
}

fn regression(infer: &str) -> Compilation {
    let mut random = Random(4);
    let x = random.normals(23);
    let y: Vec<f64> = x.iter().map(|x| 0.4 - 1.3 * x + 0.5 * random.normal()).collect();
    compile(&format!(
        "data x: real[N] = {}\ndata y: real[N] = {}\nmodel {{\n  a ~ Normal(0, 3)\n  b ~ Normal(0, 3)\n  s ~ HalfNormal(1)\n  \
         y ~ Normal(a + b * x, s)\n}}\nguide mean_field\ninfer {infer}\n\
         evaluate {{\n  x = [0.5, 1.5]\n  y = [0.1, -1.2]\n}}\n",
        literal(&x),
        literal(&y)
    ))
}

#[test]
fn variational_fits_go_on_to_the_same_bits() {
    for infer in [
        "svi { steps = 90, draws = 60, clip = 5, anneal_kl = 50, schedule = cosine, seed = 2 }",
        "svi { minibatch N = 7, epochs = 20, particles = 2, optimizer = sgd(1e-3, momentum = 0.9), draws = 60 }",
        "svi { minibatch N = 7, epochs = 20, optimizer = rmsprop(1e-2), precision = f32, draws = 60 }",
        "svi { steps = 400, stop = plateau(40, 1), average = 0.5, optimizer = adam(5e-2), draws = 60 }",
        "svi { steps = 90, optimizer = natural(0.1), draws = 60 }",
        "svi { steps = 90, elbo = iwae(4), average = 0.3, draws = 60 }",
        "svi { steps = 90, optimizer = ivon(0.1), draws = 60 }",
    ] {
        let c = regression(infer);
        let whole = run(&c, &RunOptions::default(), u64::MAX);
        for at in [1, 37, 79] {
            let first = run(&c, &RunOptions::default(), at);
            assert_eq!((first.stop_reason, first.trace.len() as u64), (StopReason::Interrupted, at));
            same(&whole, &go_on(&c, &first, u64::MAX));
        }
        // Interrupted, gone on, interrupted again; the last time after the last step.
        let mut fit = run(&c, &RunOptions::default(), 20);
        fit = go_on(&c, &fit, 25);
        let left = whole.trace.len() as u64 - 45;
        fit = go_on(&c, &fit, left);
        assert!(fit.interrupted());
        same(&whole, &go_on(&c, &fit, u64::MAX));
    }
}

#[test]
fn restarts_and_ensembles_go_on_where_they_were() {
    for keep in ["best", "all"] {
        let c = regression(&format!("svi {{ steps = 60, restarts = 3, keep = {keep}, draws = 60 }}"));
        let whole = run(&c, &RunOptions::default(), u64::MAX);
        for at in [10, 60, 61, 100, 150] {
            let first = run(&c, &RunOptions::default(), at);
            assert!(first.interrupted() && first.checkpoint.is_some());
            same(&whole, &go_on(&c, &first, u64::MAX));
        }
    }
}

#[test]
fn finished_chains_are_kept() {
    let c = regression("nuts { chains = 5, warmup = 300, draws = 4000, seed = 3 }");
    let whole = run(&c, &RunOptions::default(), u64::MAX);
    let first = run(&c, &RunOptions::default(), 1);
    assert!(first.interrupted(), "the other chains have not had time");
    let state = first.checkpoint.as_ref().expect("a state");
    let kept = state.iter().find(|a| a.name == "chains").expect("a list of chains").data.len();
    assert!((1..5).contains(&kept), "{kept} chains were finished");
    same(&whole, &go_on(&c, &first, u64::MAX));
}

#[test]
fn what_has_changed_is_named() {
    let c = regression("svi { steps = 60, draws = 60 }");
    let first = run(&c, &RunOptions::default(), 10);
    let refused = |c: &Compilation, options: RunOptions, fit: &Fit| match session::check_same(&bind(c), &options, fit) {
        Err(Failure::Fit { message, .. }) => message,
        other => panic!("it is not refused: {other:?}"),
    };
    let seed = refused(&c, RunOptions { seed: Some(9), ..RunOptions::default() }, &first);
    assert!(seed.contains("the seed was 0 and is 9 now"), "{seed}");
    let guide = refused(&c, RunOptions { guide: Some("full_rank".into()), ..RunOptions::default() }, &first);
    assert!(guide.contains("`--guide` is full_rank now and was not given before"), "{guide}");
    let text = refused(&regression("svi { steps = 61, draws = 60 }"), RunOptions::default(), &first);
    assert!(text.contains("is not the same text"), "{text}");
    let nuts = refused(&c, RunOptions { infer: Some("nuts".into()), ..RunOptions::default() }, &first);
    assert!(nuts.contains("the algorithm was svi and is nuts now"), "{nuts}");
    let whole = run(&c, &RunOptions::default(), u64::MAX);
    assert!(refused(&c, RunOptions::default(), &whole).contains("complete"));
    let mut damaged = first.clone();
    damaged.checkpoint.as_mut().expect("a state").retain(|a| a.name != "course.params");
    let state = session::check_same(&bind(&c), &RunOptions::default(), &damaged).expect("only its state is damaged");
    let options = RunOptions { resume: Some(state), ..RunOptions::default() };
    assert!(matches!(try_fit(&c, &options), Err(Failure::Run(session::RunError::Checkpoint(_)))));
}
