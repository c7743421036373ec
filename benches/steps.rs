//! Speed of whole steps of variational inference, and of getting ready for them: gradients, parameters and optimizer
//! included, as `bayesc run` does them.
//!
//! `cargo bench --bench steps -- cnn28`; set `RAYON_NUM_THREADS=1` to compare with single-threaded figures. The time
//! runs from the end of the second step to the end of the last one.
use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bayesc::data::Files;
use bayesc::driver::{Compilation, Options, compile};
use bayesc::session::{self, BoundProgram, Observer, RunOptions, Sampling, Stage, Status};
use criterion::{Criterion, criterion_group, criterion_main};

/// Name, program, setting.
const PROGRAMS: [(&str, &str, &[(&str, &str)]); 9] = [
    ("digits", "examples/digits_cnn.bayes", &[("particles", "1")]),
    ("cnn8", "benches/peers/programs/cnn8.bayes", &[]),
    ("cnn28 reparam", "benches/peers/programs/cnn28.bayes", &[("estimator", "reparam")]),
    ("cnn28 flipout", "benches/peers/programs/cnn28.bayes", &[("estimator", "flipout")]),
    ("cnn28 local reparam", "benches/peers/programs/cnn28.bayes", &[("estimator", "local_reparam")]),
    ("eight schools", "benches/peers/programs/eight_schools.bayes", &[]),
    ("logistic regression", "benches/peers/programs/logistic.bayes", &[]),
    ("radon", "examples/radon.bayes", &[]),
    ("garch", "examples/garch.bayes", &[]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn compiled(path: &str, settings: &[(&str, &str)]) -> Compilation {
    let path = root().join(path);
    let text = std::fs::read_to_string(&path).expect("readable");
    let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let options = Options { settings, infer: Some("svi".to_string()), ..Options::default() };
    let mut none = |path: &str, _: Option<&Path>| Err(format!("`{path}` is not there"));
    let compilation = compile("bench", Some(path), &text, &options, &mut none);
    assert!(!compilation.diags.has_errors(), "the program is refused: {:?}", compilation.diags);
    compilation
}

fn bound(compilation: &Compilation) -> BoundProgram<'_> {
    session::bind(compilation, &mut Files::new(), &[]).expect("the data fit")
}

fn svi() -> RunOptions {
    RunOptions { infer: Some("svi".to_string()), ..RunOptions::default() }
}

/// Takes the time between the first step and the last one that is wanted, then ends the whole run.
struct Steps {
    wanted: u64,
    first: Option<Instant>,
    took: Duration,
}

/// Steps before the clock starts: caches and the processor are warm then.
const WARM: u64 = 2;

impl Observer for Steps {
    fn note(&mut self, _: &str) {}
    fn status(&mut self, status: &Status) -> ControlFlow<()> {
        if status.step == WARM {
            self.first = Some(Instant::now());
        }
        if status.step >= WARM + self.wanted {
            self.took = self.first.map_or(Duration::ZERO, |first| first.elapsed());
            // What follows a fit is no part of a step.
            std::panic::resume_unwind(Box::new(self.took));
        }
        ControlFlow::Continue(())
    }
    fn sampling(&mut self, _: &Sampling<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn clock(&mut self) -> f64 {
        0.0
    }
}

/// The time of `n` steps.
fn steps(path: &str, settings: &[(&str, &str)], n: u64) -> Duration {
    let total = (n + WARM).to_string();
    let mut settings = settings.to_vec();
    settings.push(("steps", &total));
    let compilation = compiled(path, &settings);
    let bound = bound(&compilation);
    let run = || {
        let mut observer = Steps { wanted: n, first: None, took: Duration::ZERO };
        session::run(&bound, &svi(), &mut observer)
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Err(took) => *took.downcast::<Duration>().expect("ended by the observer"),
        Ok(_) => panic!("the run ended before its last step"),
    }
}

fn fits(c: &mut Criterion) {
    let mut group = c.benchmark_group("step");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    for (name, path, settings) in PROGRAMS {
        group.bench_function(name, |bench| bench.iter_custom(|n| steps(path, settings, n)));
    }
    group.finish();
}

/// From the checked program and its data to a plan: what lies before the first step.
fn plans(c: &mut Criterion) {
    let mut group = c.benchmark_group("plan");
    group.sample_size(20);
    for (name, path, settings) in PROGRAMS {
        let compilation = compiled(path, settings);
        let bound = bound(&compilation);
        group.bench_function(name, |bench| {
            bench.iter(|| black_box(session::emit(&bound, &svi(), Stage::Plan).expect("a plan")));
        });
    }
    group.finish();
}

criterion_group!(benches, fits, plans);
criterion_main!(benches);
