//! Compiling, binding and fitting texts; the ELBO of a program at chosen parameters; small statistics.

use bayesc::check::settings::{EstimatorChoice, KlChoice};
use bayesc::check::typed::{Family, Program};
use bayesc::data::Files;
use bayesc::driver::Options;
use bayesc::driver::{self, Compilation};
use bayesc::exec::Executable;
use bayesc::infer::data::{BoundData, Store};
use bayesc::infer::elbo::{self, ElboGraph, KlTerm, Spec};
use bayesc::lower::{Slots, rows::Prepared};
use bayesc::report::fit::{Fit, Quantity};
use bayesc::rng::Key;
use bayesc::session::{self, BoundProgram, Failure, Observer, RunOptions, Sampling, Status};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Never stops a run.
#[derive(Default)]
pub struct Patient {
    pub steps: u64,
}
impl Observer for Patient {
    fn note(&mut self, _: &str) {}
    fn status(&mut self, status: &Status) -> ControlFlow<()> {
        assert_eq!(status.step, self.steps + 1, "every step is told once");
        self.steps = status.step;
        ControlFlow::Continue(())
    }
    fn sampling(&mut self, status: &Sampling<'_>) -> ControlFlow<()> {
        assert!(status.chains.iter().all(|c| c.draw <= c.total));
        ControlFlow::Continue(())
    }
    fn clock(&mut self) -> f64 {
        0.0
    }
}

fn accept(c: Compilation) -> Compilation {
    let messages: Vec<String> = c.diags.iter().map(|d| format!("{d:?}")).collect();
    assert!(!c.diags.has_errors(), "the program is refused:\n{}", messages.join("\n"));
    c
}
pub fn compile(text: &str) -> Compilation {
    accept(driver::compile_text(text, &Options::default()))
}
pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}
/// An example of the project, after `edit`.
pub fn example(name: &str, edit: impl Fn(String) -> String) -> Compilation {
    let path = examples().join(name);
    let text = edit(std::fs::read_to_string(&path).expect("the example is there"));
    let mut none = |path: &str, _: Option<&Path>| Err(format!("`{path}` is not there"));
    accept(driver::compile(name, Some(path), &text, &Options::default(), &mut none))
}
pub fn bind(c: &Compilation) -> BoundProgram<'_> {
    session::bind(c, &mut Files::new(), &[]).unwrap_or_else(|e| panic!("the data are refused: {e:?}"))
}
pub fn try_fit(c: &Compilation, options: &RunOptions) -> Result<Fit, Failure> {
    session::run(&bind(c), options, &mut Patient::default())
}
pub fn fit_with(c: &Compilation, options: &RunOptions) -> Fit {
    try_fit(c, options).unwrap_or_else(|e| panic!("the fit fails: {e:?}"))
}
pub fn fit(text: &str) -> Fit {
    fit_with(&compile(text), &RunOptions::default())
}
/// The free parameters called `name`.
pub fn params<'f>(fit: &'f Fit, name: &str) -> &'f [f64] {
    let names: Vec<&str> = fit.params.iter().map(|p| p.name.as_str()).collect();
    &fit.params.iter().find(|p| p.name == name).unwrap_or_else(|| panic!("no `{name}` in {names:?}")).data
}
pub fn quantity<'q>(all: &'q [Quantity], name: &str) -> &'q Quantity {
    all.iter().find(|q| q.name == name).unwrap_or_else(|| panic!("no `{name}`"))
}
/// All draws of one element.
pub fn draws(all: &[Quantity], name: &str, element: usize) -> Vec<f64> {
    let mut out = Vec::new();
    quantity(all, name).element_draws(element, &mut out);
    out
}
pub fn elbo_of(fit: &Fit) -> (f64, f64) {
    let elbo = fit.elbo.expect("svi gives an ELBO");
    (elbo.final_, elbo.standard_error)
}

pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
pub fn inverse_softplus(y: f64) -> f64 {
    y.exp_m1().ln()
}
/// ln N(x; m, s)
pub fn log_normal(x: f64, m: f64, s: f64) -> f64 {
    -0.5 * ((x - m) / s).powi(2) - s.ln() - 0.5 * std::f64::consts::TAU.ln()
}
pub fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}
/// Mean and its standard error.
pub fn mean_and_error(x: &[f64]) -> (f64, f64) {
    let m = mean(x);
    let variance = x.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (x.len() - 1) as f64;
    (m, (variance / x.len() as f64).sqrt())
}
/// The mean of `x` is `want` within 4.5 standard errors (and rounding).
#[track_caller]
pub fn assert_mean(x: &[f64], want: f64, what: &str) {
    let (m, e) = mean_and_error(x);
    assert!((m - want).abs() <= 4.5 * e + 1e-9 * (1.0 + want.abs()), "{what}: {m} ± {e}, expected {want}");
}
#[track_caller]
pub fn assert_close(got: f64, want: f64, tolerance: f64, what: &str) {
    assert!((got - want).abs() <= tolerance, "{what}: {got}, expected {want} within {tolerance}");
}
#[track_caller]
pub fn assert_all_close(got: &[f64], want: &[f64], relative: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let size = want.iter().fold(1e-300f64, |a, x| a.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= relative * size, "{what}[{i}]: {g}, expected {w}");
    }
}

/// A small generator of its own: splitmix64 (Steele, Lea & Flood 2014).
pub struct Random(pub u64);
impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
    pub fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.normal()).collect()
    }
}
/// Numbers as a literal of the language.
pub fn literal(x: &[f64]) -> String {
    let parts: Vec<String> = x.iter().map(|v| format!("{v:?}")).collect();
    format!("[{}]", parts.join(", "))
}
pub fn matrix_literal(rows: &[Vec<f64>]) -> String {
    let parts: Vec<String> = rows.iter().map(|r| literal(r)).collect();
    format!("[{}]", parts.join(", "))
}

/// The ELBO and its gradient for one program, at any parameters, for any rows.
pub struct Elbo {
    program: Program,
    data: BoundData,
    guide: usize,
    prepared: Option<Prepared>,
    pub slots: Slots,
    store: Store<f64>,
    kl: KlChoice,
    /// How the noise of weights enters layers.
    pub estimator: EstimatorChoice,
    graphs: HashMap<usize, (ElboGraph, Executable<f64>)>,
    plain: Option<(ElboGraph, Executable<f64>)>,
}
/// One evaluation.
pub struct Value {
    pub elbo: f64,
    pub global: f64,
    pub rows: f64,
    /// Of the negative ELBO.
    pub gradient: Vec<f64>,
}

impl Elbo {
    /// With the first guide of the file, and the minibatch of its first infer block.
    pub fn new(text: &str, kl: KlChoice) -> Self {
        Self::of(&compile(text), kl)
    }
    /// The same for a compiled program.
    pub fn of(c: &Compilation, kl: KlChoice) -> Self {
        let bound = bind(c);
        let mut program = bound.program.clone();
        if program.guides.is_empty() {
            let model = program.model.clone().expect("a model");
            program.guides.push(bayesc::check::guides::automatic(&model, Family::MeanField, "mean_field", None));
        }
        let batch = program.infers.first().and_then(|i| i.svi.minibatch);
        let prepared = batch.map(|b| Prepared::new(&program, b.size));
        let slots = Slots::new(&program, &program.guides[0], &bound.data.sizes, batch.map(|b| b.size));
        let store = Store::new(&program, &bound.data, prepared.as_ref());
        Self {
            data: bound.data.clone(),
            program,
            guide: 0,
            prepared,
            slots,
            store,
            kl,
            estimator: EstimatorChoice::Reparam,
            graphs: HashMap::new(),
            plain: None,
        }
    }
    fn graph(&mut self, rows: Option<usize>) -> &mut (ElboGraph, Executable<f64>) {
        self.graphs.entry(rows.unwrap_or(0)).or_insert_with(|| {
            let spec = Spec {
                program: &self.program,
                guide: self.guide,
                slots: &self.slots,
                sizes: &self.data.sizes,
                batch: self.prepared.as_ref().zip(rows),
                kl: self.kl,
                estimator: self.estimator,
                anneal: false,
                antithetic: false,
                by_rows: false,
            };
            let graph = elbo::build(&spec, true).expect("it has a gradient");
            let mut exe = Executable::compile(&graph.graph);
            self.store.give_whole(&self.program, &graph.inputs, &mut exe);
            (graph, exe)
        })
    }
    pub fn terms(&mut self) -> Vec<(String, KlTerm)> {
        let terms = self.graph(None).0.terms.clone();
        let model = self.program.model.as_ref().expect("a model");
        terms.into_iter().map(|(id, t)| (model.sites[id].name.clone(), t)).collect()
    }
    /// The first parameters of a fit.
    pub fn start(&self, seed: u64) -> Vec<f64> {
        bayesc::infer::start::start(&self.program, &self.slots, &self.data, Key::new(seed))
    }
    /// Sets the free parameters called `name`.
    pub fn set(&self, params: &mut [f64], name: &str, values: &[f64]) {
        let slot = self.slots.list.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no `{name}`"));
        let place = &mut params[slot.offset..slot.offset + slot.shape.count()];
        let n = values.len();
        place.iter_mut().enumerate().for_each(|(i, p)| *p = values[i % n]);
    }
    /// On the rows `rows`, or on all data in one go.
    pub fn at(&mut self, params: &[f64], key: Key, rows: Option<&[usize]>) -> Value {
        self.graph(rows.map(<[usize]>::len));
        let (graph, exe) = self.graphs.get_mut(&rows.map_or(0, <[usize]>::len)).expect("just made");
        for (slot, &input) in self.slots.list.iter().zip(&graph.slots) {
            exe.set_data(input, &params[slot.offset..slot.offset + slot.shape.count()]);
        }
        if let Some(rows) = rows {
            self.store.give_rows(&self.program, &graph.inputs, rows, exe);
            if let Some(input) = graph.rows {
                let indices: Vec<f64> = rows.iter().map(|&r| r as f64).collect();
                exe.set_data(input, &indices);
            }
        }
        exe.run(&[], key);
        let mut gradient = vec![0.0; self.slots.len()];
        for (at, slot) in self.slots.list.iter().enumerate() {
            gradient[slot.offset..slot.offset + slot.shape.count()].copy_from_slice(exe.output(3 + at));
        }
        Value { elbo: exe.output(0)[0], global: exe.output(1)[0], rows: exe.output(2)[0], gradient }
    }
    /// The ELBO on all data at one draw of the whole guide, without a gradient.
    pub fn drawn(&mut self, params: &[f64], key: Key) -> f64 {
        let (graph, exe) = self.plain.get_or_insert_with(|| {
            let spec = Spec {
                program: &self.program,
                guide: self.guide,
                slots: &self.slots,
                sizes: &self.data.sizes,
                batch: None,
                kl: self.kl,
                estimator: self.estimator,
                anneal: false,
                antithetic: false,
                by_rows: false,
            };
            let graph = elbo::build(&spec, false).expect("it has a density");
            let mut exe = Executable::compile(&graph.graph);
            self.store.give_whole(&self.program, &graph.inputs, &mut exe);
            (graph, exe)
        });
        for (slot, &input) in self.slots.list.iter().zip(&graph.slots) {
            exe.set_data(input, &params[slot.offset..slot.offset + slot.shape.count()]);
        }
        exe.run(&[], key);
        exe.output(0)[0]
    }
    /// The size of the data along the subsampled size.
    pub fn all_rows(&self) -> usize {
        self.data.sizes[self.prepared.as_ref().expect("a minibatch").size]
    }
}
