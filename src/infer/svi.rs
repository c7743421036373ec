//! Stochastic variational inference: maximizes the ELBO over the parameters of a guide.
//!
//! In: a program, a guide, data, settings.   Out: the parameters, the course of the fit, the ELBO on all data.
//! All randomness comes from the seed: the same seed gives the same numbers, whatever the number of threads.

use super::ahead::Ahead;
use super::data::{BoundData, Store};
use super::elbo::{self, ElboGraph, KlTerm, Spec};
use super::optim::{Optimizer, clip_factor, global_norm, sum_squares};
use super::profile::{Laps, Phase};
use super::{Memory, Observer, RunError, Status};
use crate::check::settings::{EstimatorChoice, KlChoice, Length, SviSettings};
use crate::check::typed::{ExprId, Program, SiteId};
use crate::exec::Executable;
use crate::exec::plan::Options;
use crate::kernels::Scalar;
use crate::lower::{DataInput, Slots, rows::Prepared};
use crate::report::fit::{Elbo, StopReason, TraceRow};
use crate::report::statistics::pareto_k;
use crate::rng::{Key, Philox};
use rand::seq::SliceRandom;

/// Draws from which the final ELBO is estimated.
const ELBO_DRAWS: u64 = 100;
/// The least number of them where rows are subsampled: a draw goes through all data, and the estimate should take no more
/// than a small part of what the fit took.
const FEWEST_ELBO_DRAWS: u64 = 10;
/// That part: rows of the fit for each row of the estimate.
const FIT_TO_ESTIMATE: u64 = 20;
/// Draws from which the Pareto k is estimated, where one evaluation uses all data at once.
const RATIO_DRAWS: u64 = 1000;
/// Up to so many parameters, their gradients are put together before the optimizer takes them.
const FEW: usize = 1 << 12;
/// Steps over which the ELBO that is shown is averaged.
const SMOOTHING: f64 = 50.0;

/// Independent streams of a run.
#[derive(Clone, Copy)]
enum Stream {
    Start = 1,
    Steps = 2,
    Shuffle = 3,
    Elbo = 4,
    Restart = 5,
}

/// What a run needs to know.
pub struct Svi<'p> {
    /// The program.
    pub program: &'p Program,
    /// The guide, by position.
    pub guide: usize,
    /// The data.
    pub bound: &'p BoundData,
    /// The settings.
    pub settings: &'p SviSettings,
    /// The trainable parameters.
    pub slots: &'p Slots,
    /// The prepared data, when rows are subsampled.
    pub prepared: Option<&'p Prepared>,
    /// What the run needs beside the fit itself, and what it may need.
    pub memory: &'p Memory,
    /// Which of several fits this is, from 0: each has randomness and a starting point of its own.
    pub restart: usize,
}

/// A finished optimization.
#[derive(Clone, Debug)]
pub struct SviFit<F> {
    /// The free parameters.
    pub params: Vec<F>,
    /// The course of the fit, one row a step.
    pub trace: Vec<TraceRow>,
    /// The ELBO on all data.
    pub elbo: Elbo,
    /// Pareto k of the importance ratios of the guide.
    pub pareto_k: Option<f64>,
    /// How the KL divergence of each site was found.
    pub terms: Vec<(SiteId, KlTerm)>,
    /// Why it stopped.
    pub stop: StopReason,
    /// Seconds of optimization.
    pub secs: f64,
    /// Rows of data seen.
    pub items: u64,
}

/// One compiled step.
struct Step<F> {
    graph: ElboGraph,
    exe: Executable<F>,
}

impl<F: Scalar> Step<F> {
    /// The Euclidean norm of the gradient of the last run.
    fn norm(&self, slots: &Slots) -> f64 {
        let squares = (0..slots.list.len()).map(|at| sum_squares(self.exe.output(3 + at)));
        squares.sum::<f64>().sqrt()
    }
}

impl<'p> Svi<'p> {
    fn options(&self) -> Options {
        Options { convolution: self.settings.convolution, ..Options::default() }
    }
    fn spec(&self, rows: Option<usize>, kl: KlChoice, estimator: EstimatorChoice, anneal: bool) -> Spec<'p> {
        Spec {
            program: self.program,
            guide: self.guide,
            slots: self.slots,
            sizes: &self.bound.sizes,
            batch: self.prepared.zip(rows),
            kl,
            estimator,
            anneal,
        }
    }
    /// Compiles a step with the usual number of rows, and one for the rest of an epoch if there is any.
    fn steps<F: Scalar>(
        &self,
        spec: impl Fn(Option<usize>) -> Spec<'p>,
        gradient: bool,
        store: &Store<F>,
        memory: &mut Memory,
        laps: &mut Laps,
    ) -> Result<(Step<F>, Option<Step<F>>), RunError> {
        let graphs = self.graphs(spec, gradient)?;
        laps.lap(Phase::Lower);
        let plans = memory.prepare::<F>(&graphs.iter().map(|g| &g.graph).collect::<Vec<_>>(), self.options(), 1);
        // What is done after the fit goes on: what was needed before is free by then.
        if gradient {
            memory.check()?;
        }
        let mut steps = graphs.into_iter().zip(plans).map(|(graph, plan)| Step { graph, exe: plan.build() });
        let (mut whole, mut short) = (steps.next().expect("there is a step"), steps.next());
        laps.lap(Phase::Plan);
        for step in std::iter::once(&mut whole).chain(&mut short) {
            store.give_whole(self.program, &step.graph.inputs, &mut step.exe);
            laps.watch(&mut step.exe);
        }
        laps.lap(Phase::Data);
        Ok((whole, short))
    }
    /// The graphs of these steps.
    fn graphs(&self, spec: impl Fn(Option<usize>) -> Spec<'p>, gradient: bool) -> Result<Vec<ElboGraph>, RunError> {
        let rows = match self.rows() {
            None => vec![None],
            Some((_, rows, 0)) => vec![Some(rows)],
            Some((_, rows, rest)) => vec![Some(rows), Some(rest)],
        };
        rows.into_iter().map(|rows| elbo::build(&spec(rows), gradient)).collect()
    }
    /// The number of rows of all data, of a step, and of the last step of an epoch (0 when it is a whole one).
    fn rows(&self) -> Option<(usize, usize, usize)> {
        let batch = self.settings.minibatch?;
        let all = self.bound.sizes[batch.size];
        let rows = batch.rows.min(all);
        Some((all, rows, all % rows))
    }
    /// The number of steps.
    pub fn total_steps(&self) -> u64 {
        match (self.settings.length, self.rows()) {
            (Length::Steps(n), _) => n as u64,
            (Length::Epochs(n), Some((all, rows, _))) => (n * all.div_ceil(rows)) as u64,
            (Length::Epochs(n), None) => n as u64,
        }
    }

    /// What the run needs beside the plans of its steps, with `data` bytes of data in its precision.
    fn memory(&self, data: usize, total: u64, number: usize) -> Memory {
        let mut memory = self.memory.clone();
        let rows = self.rows().map_or(0, |(all, ..)| all * size_of::<usize>());
        memory.always.push(("data", (data + rows) as u64));
        let params: usize = self.slots.list.iter().map(|s| s.shape.count()).sum();
        memory.always.push(("parameters", (params * number) as u64));
        memory.always.push(("trace", total * size_of::<TraceRow>() as u64));
        // What the optimizer keeps, and where the gradients of several particles are added.
        let several = self.settings.particles.is_some_and(|p| p > 1);
        let kept = usize::from(several) + self.settings.optimizer.moments().len();
        memory.fit.push(("optimizer", (params * kept * number) as u64));
        memory
    }

    /// The graph of one step as text, for `emit`.
    pub fn emit<F: Scalar>(
        &self,
        gradient: bool,
        plan: bool,
        sources: &crate::source::Sources,
    ) -> Result<String, RunError> {
        let settings = self.settings;
        let spec = |rows| self.spec(rows, settings.kl, settings.estimator, settings.anneal_kl > 0);
        let mut graphs = self.graphs(spec, gradient)?;
        if !plan {
            return Ok(crate::ir::print::print(&graphs[0].graph, Some(sources)));
        }
        if self.memory.limit.is_none() {
            graphs.truncate(1);
        }
        let store = Store::<F>::new(self.program, self.bound, self.prepared);
        let mut memory = self.memory(store.bytes(self.program), self.total_steps(), size_of::<F>());
        let plans = memory.prepare::<F>(&graphs.iter().map(|g| &g.graph).collect::<Vec<_>>(), self.options(), 1);
        memory.check()?;
        Ok(plans[0].print())
    }

    /// Runs the optimization.
    pub fn run<F: Scalar>(&self, observer: &mut dyn Observer) -> Result<SviFit<F>, RunError> {
        let settings = self.settings;
        let mut laps = Laps::new(observer.stopwatch());
        let root = match self.restart {
            0 => Key::new(settings.seed),
            n => Key::new(settings.seed).fold_in(Stream::Restart as u64).fold_in(n as u64),
        };
        let rows = self.rows();
        let mut store = Store::<F>::new(self.program, self.bound, self.prepared);
        if let Some((_, whole, rest)) = rows {
            store.expect_rows(self.program, whole);
            store.expect_rows(self.program, rest);
        }
        laps.lap(Phase::Data);
        let total = self.total_steps();
        let mut memory = self.memory(store.bytes(self.program), total, size_of::<F>());
        let anneal = settings.anneal_kl > 0;
        let particles = settings.particles.unwrap_or(1);
        let spec = |rows| self.spec(rows, settings.kl, settings.estimator, anneal);
        let (mut whole, mut short) = self.steps(spec, true, &store, &mut memory, &mut laps)?;
        let row_exprs = rows.map_or(Vec::new(), |(_, size, _)| row_exprs(&mut whole, size));
        let numbers = rows.map_or(0, |(_, size, _)| row_exprs.iter().map(|(_, unit)| unit * size).sum::<usize>());
        let reads_ahead = rows.is_some() && store.pays_ahead(&whole.graph.inputs, numbers);
        if reads_ahead {
            memory.fit.push(("batch read ahead", (numbers * size_of::<F>()) as u64));
            memory.check()?;
        }
        if self.restart == 0 {
            observer.planned(&memory);
        }
        let terms = whole.graph.terms.clone();
        let key = root.fold_in(Stream::Start as u64);
        let first = match self.restart {
            0 => super::start::start(self.program, self.slots, self.bound, key),
            _ => super::start::elsewhere(self.program, self.slots, self.bound, key),
        };
        let mut params: Vec<F> = super::start::convert(&first);
        // Where the gradients of several particles are added, and small ones are put together: one sweep over everything is
        // then shorter than one for each parameter.
        let together = particles > 1 || params.len() <= FEW;
        let mut gradient = vec![F::ZERO; if together { params.len() } else { 0 }];
        let mut optimizer = Optimizer::<F>::new(settings.optimizer, params.len());
        let total = if params.is_empty() { 0 } else { total };
        let shuffle_key = root.fold_in(Stream::Shuffle as u64);
        let mut order = Order::new(rows, shuffle_key);
        let steps_key = root.fold_in(Stream::Steps as u64);
        let mut trace = Vec::with_capacity(usize::try_from(total).unwrap_or(0).min(1 << 20));
        let mut stop = StopReason::Completed;
        let (mut shown, mut weight_sum) = (0.0, 0.0);
        let mut items = 0u64;
        laps.lap(Phase::Start);
        laps.before_steps();
        let began = observer.clock();
        let done = std::thread::scope(|scope| -> Result<(), RunError> {
            let mut ahead = reads_ahead.then(|| {
                let (mut order, mut left) = (Order::new(rows, shuffle_key), total);
                let mut store = store.fork();
                if let Some((_, whole, rest)) = rows {
                    store.expect_rows(self.program, whole);
                    store.expect_rows(self.program, rest);
                }
                Ahead::begin(scope, self.program, store, row_exprs.clone(), move |rows| {
                    let more = left > 0;
                    if more {
                        left -= 1;
                        order.advance();
                        rows.clear();
                        rows.extend_from_slice(order.batch());
                    }
                    more
                })
            });
            for t in 0..total {
                order.advance();
                let batch = order.batch();
                let step = match (&mut short, rows) {
                    (Some(short), Some((_, full, _))) if batch.len() < full => short,
                    _ => &mut whole,
                };
                items += batch.len() as u64;
                match &mut ahead {
                    Some(ahead) => ahead_gives(ahead, &row_exprs, step),
                    None => {
                        store.give_rows(self.program, &step.graph.inputs, batch, &mut step.exe);
                        store.want_rows(&step.graph.inputs, order.peek());
                    }
                }
                if rows.is_some() {
                    self.bound.check_read()?;
                }
                give_indices(step, batch);
                if let Some(weight) = step.graph.weight {
                    let w = ((t + 1) as f64 / settings.anneal_kl as f64).min(1.0);
                    step.exe.set_data(weight, &[F::from_f64(w)]);
                }
                laps.lap(Phase::Rows);
                give_params(step, self.slots, &params);
                let key = steps_key.fold_in(t);
                laps.lap(Phase::Params);
                let rate = settings.learning_rate * settings.schedule.factor(t, total);
                optimizer.begin(rate);
                let (elbo, norm) = if gradient.is_empty() {
                    step.exe.run(&[], key.fold_in(0));
                    laps.lap(Phase::Run);
                    let elbo = step.exe.output(0)[0].to_f64();
                    // Without a limit the norm comes with the step: where it is not finite, nobody uses the parameters.
                    let known = settings.clip.map(|limit| (limit, step.norm(self.slots)));
                    let scale = known.map_or(1.0, |(limit, norm)| clip_factor(norm, limit));
                    let mut squares = 0.0;
                    for (at, slot) in self.slots.list.iter().enumerate() {
                        let place = &mut params[slot.offset..slot.offset + slot.shape.count()];
                        squares += optimizer.sweep(slot.offset, place, step.exe.output(3 + at), scale);
                    }
                    (elbo, known.map_or(squares.sqrt(), |(_, norm)| norm))
                } else {
                    let share = 1.0 / particles as f64;
                    let mut elbo = 0.0;
                    for particle in 0..particles {
                        step.exe.run(&[], key.fold_in(particle as u64));
                        laps.lap(Phase::Run);
                        elbo += step.exe.output(0)[0].to_f64() * share;
                        match particle {
                            0 => copy_gradient(step, self.slots, &mut gradient),
                            _ => add_gradient(step, self.slots, &mut gradient),
                        }
                        laps.lap(Phase::Params);
                    }
                    let known = settings.clip.map(|limit| (limit, share * global_norm(&gradient)));
                    let scale = share * known.map_or(1.0, |(limit, norm)| clip_factor(norm, limit));
                    let squares = optimizer.sweep(0, &mut params, &gradient, scale);
                    (elbo, known.map_or(share * squares.sqrt(), |(_, norm)| norm))
                };
                if !elbo.is_finite() || !norm.is_finite() {
                    let keys: Vec<Key> = (0..particles).map(|particle| key.fold_in(particle as u64)).collect();
                    return Err(self.blame(step, &keys, Some(t + 1), elbo, norm));
                }
                laps.lap(Phase::Optimizer);
                laps.step();
                let secs = observer.clock() - began;
                trace.push(TraceRow { step: t + 1, elbo, gradient_norm: norm, learning_rate: rate, secs });
                let keep = 1.0 - 1.0 / SMOOTHING;
                shown = keep * shown + (1.0 - keep) * elbo;
                weight_sum = keep * weight_sum + (1.0 - keep);
                let per_sec = |n: f64| if secs > 0.0 { n / secs } else { 0.0 };
                let status = Status {
                    step: t + 1,
                    total,
                    epoch: match settings.length {
                        Length::Epochs(n) => Some((order.epochs_done, n)),
                        Length::Steps(_) => None,
                    },
                    what: "ELBO",
                    elbo: shown / weight_sum,
                    secs,
                    steps_per_sec: per_sec((t + 1) as f64),
                    items_per_sec: rows.map(|_| per_sec(items as f64)),
                };
                let flow = observer.status(&status);
                laps.lap(Phase::Progress);
                if flow.is_break() {
                    stop = StopReason::Interrupted;
                    break;
                }
            }
            Ok(())
        });
        done?;
        let secs = observer.clock() - began;
        // What the steps needed is free for what follows.
        [Some(whole), short].iter().flatten().for_each(|step| laps.take(&step.exe));
        laps.lap(Phase::Plan);
        let (elbo, pareto_k) =
            self.final_elbo(&params, &mut store, root.fold_in(Stream::Elbo as u64), trace.len() as u64)?;
        laps.lap(Phase::Elbo);
        if let Some(profile) = laps.finish() {
            observer.profiled(profile);
        }
        Ok(SviFit { params, trace, elbo, pareto_k, terms, stop, secs, items })
    }

    /// The ELBO on all data, each divergence as it was found during the fit or by Monte Carlo, whichever estimate has
    /// the smaller standard error: near the optimum the latter has almost none. Where rows are subsampled, the data are
    /// large, and only the first is made.
    fn final_elbo<F: Scalar>(
        &self,
        params: &[F],
        store: &mut Store<F>,
        key: Key,
        steps: u64,
    ) -> Result<(Elbo, Option<f64>), RunError> {
        let draws = match self.rows() {
            Some((all, batch, _)) => {
                let passes = steps * batch as u64 / (all as u64).max(1);
                (passes / FIT_TO_ESTIMATE).clamp(FEWEST_ELBO_DRAWS, ELBO_DRAWS)
            }
            None => ELBO_DRAWS,
        };
        let as_fitted = self.estimate(params, store, key, self.settings.kl, draws, true)?;
        let a = mean_and_error(&as_fitted);
        if self.rows().is_some() {
            return Ok((Elbo { final_: a.0, standard_error: a.1, steps }, None));
        }
        let ratios = self.estimate(params, store, key, KlChoice::MonteCarlo, RATIO_DRAWS, false)?;
        let b = mean_and_error(&ratios[..ELBO_DRAWS as usize]);
        let (final_, standard_error) = if b.0.is_finite() && b.1 < a.1 { b } else { a };
        // Points that come and go have no density to compare.
        let dropped = self.program.guides[self.guide].drops_inputs();
        let k =
            (!dropped && ratios.iter().any(|r| *r != ratios[0])).then(|| pareto_k(&ratios)).filter(|k| k.is_finite());
        Ok((Elbo { final_, standard_error, steps }, k))
    }
    /// One value of the ELBO on all data for each draw from the guide. With `strict`, one that is not finite is an error.
    fn estimate<F: Scalar>(
        &self,
        params: &[F],
        store: &mut Store<F>,
        key: Key,
        kl: KlChoice,
        draws: u64,
        strict: bool,
    ) -> Result<Vec<f64>, RunError> {
        let rows = self.rows();
        let mut memory = self.memory(store.bytes(self.program), 0, size_of::<F>());
        let spec = |rows| self.spec(rows, kl, EstimatorChoice::Reparam, false);
        let (mut whole, mut short) = self.steps(spec, false, store, &mut memory, &mut Laps::new(None))?;
        give_params(&mut whole, self.slots, params);
        if let Some(short) = &mut short {
            give_params(short, self.slots, params);
        }
        let Some((all, full, _)) = rows else {
            let mut values = Vec::with_capacity(draws as usize);
            for i in 0..draws {
                let key = key.fold_in(i);
                whole.exe.run(&[], key);
                let value = whole.exe.output(0)[0].to_f64();
                if strict && !value.is_finite() {
                    return Err(self.blame(&mut whole, &[key], None, value, 0.0));
                }
                values.push(value);
            }
            return Ok(values);
        };
        // The data are read once, in order. The same key draws the same global sites for every part of them.
        let mut values = vec![0.0; draws as usize];
        let indices: Vec<usize> = (0..all).collect();
        for (at, batch) in indices.chunks(full).enumerate() {
            let step = if batch.len() < full { short.as_mut().expect("made for the rest") } else { &mut whole };
            store.give_rows(self.program, &step.graph.inputs, batch, &mut step.exe);
            self.bound.check_read()?;
            give_indices(step, batch);
            for (i, sum) in values.iter_mut().enumerate() {
                let key = key.fold_in(i as u64);
                step.exe.run(&[], key);
                if at == 0 {
                    *sum += step.exe.output(1)[0].to_f64();
                }
                *sum += step.exe.output(2)[0].to_f64();
                if strict && !sum.is_finite() {
                    let sum = *sum;
                    return Err(self.blame(step, &[key], None, sum, 0.0));
                }
            }
        }
        Ok(values)
    }

    /// Finds which term is not finite, and where the first such number came from.
    fn blame<F: Scalar>(&self, step: &mut Step<F>, keys: &[Key], t: Option<u64>, elbo: f64, norm: f64) -> RunError {
        let mut graph = step.graph.graph.clone();
        let named = &step.graph.named;
        let own = graph.outputs.len();
        for (name, value) in named {
            graph.outputs.push((name.clone(), *value));
        }
        let mut exe = Executable::<F>::compile_with(&graph, self.options());
        for input in graph.inputs.indices() {
            let value = step.exe.input(input).to_vec();
            if !value.is_empty() {
                exe.set_data(input, &value);
            }
        }
        let mut found = None;
        for &key in keys {
            exe.run(&[], key);
            for (i, (name, _)) in named.iter().enumerate() {
                let value = exe.output(own + i)[0].to_f64();
                if !value.is_finite() && found.is_none() {
                    found = Some((name.clone(), value, key));
                }
            }
        }
        let key = found.as_ref().map_or(keys[0], |f| f.2);
        let origin = exe.first_non_finite(&[], key).map(|n| (n.origin, n.op));
        let (what, value) = match found {
            Some((name, value, _)) => (name, value),
            None if elbo.is_finite() => ("the gradient of the ELBO".to_string(), norm),
            None => ("the ELBO".to_string(), elbo),
        };
        // Without a step it is the evaluation at the end.
        let what = if t.is_none() { format!("{what}, with the final parameters,") } else { what };
        RunError::NotFinite { what, step: t, value, origin }
    }
}

/// The order in which rows are seen: every epoch a new permutation, its last part as short as it is.
struct Order {
    rows: Vec<usize>,
    /// The rows of a step.
    size: usize,
    /// Where the rows of this step begin.
    from: usize,
    /// Where they end.
    at: usize,
    key: Key,
    epochs_done: usize,
}

impl Order {
    fn new(rows: Option<(usize, usize, usize)>, key: Key) -> Self {
        let (all, size) = rows.map_or((0, 0), |(all, rows, _)| (all, rows));
        let mut order = Self { rows: (0..all).collect(), size, from: 0, at: 0, key, epochs_done: 0 };
        order.shuffle();
        order
    }
    fn shuffle(&mut self) {
        let n = self.rows.len();
        self.rows.clear();
        self.rows.extend(0..n);
        self.rows.shuffle(&mut Philox::from_key(self.key.fold_in(self.epochs_done as u64)));
    }
    /// Goes to the next step.
    fn advance(&mut self) {
        if self.rows.is_empty() {
            self.epochs_done += 1;
            return;
        }
        if self.at == self.rows.len() {
            self.at = 0;
            self.shuffle();
        }
        self.from = self.at;
        self.at = (self.from + self.size).min(self.rows.len());
        if self.at == self.rows.len() {
            self.epochs_done += 1;
        }
    }
    /// The rows of this step.
    fn batch(&self) -> &[usize] {
        &self.rows[self.from..self.at]
    }
    /// The rows of the step after this one, none at the end of an epoch.
    fn peek(&self) -> &[usize] {
        &self.rows[self.at..(self.at + self.size).min(self.rows.len())]
    }
}

fn give_params<F: Scalar>(step: &mut Step<F>, slots: &Slots, params: &[F]) {
    for (slot, &input) in slots.list.iter().zip(&step.graph.slots) {
        step.exe.set_data(input, &params[slot.offset..slot.offset + slot.shape.count()]);
    }
}
fn give_indices<F: Scalar>(step: &mut Step<F>, batch: &[usize]) {
    let Some(input) = step.graph.rows else { return };
    let place = step.exe.input_mut(input);
    place.iter_mut().zip(batch).for_each(|(to, &row)| *to = F::from_usize(row));
}
/// The expressions whose rows a step takes, each with its elements in one of the `rows` rows of the step.
fn row_exprs<F: Scalar>(step: &mut Step<F>, rows: usize) -> Vec<(ExprId, usize)> {
    let Step { graph, exe } = step;
    let unit = |d: &DataInput| (d.expr, exe.input_mut(d.input).len() / rows.max(1));
    graph.inputs.iter().filter(|d| d.rows).map(unit).filter(|(_, unit)| *unit > 0).collect()
}
/// Gives a step the rows that were read ahead for it.
fn ahead_gives<F: Scalar>(ahead: &mut Ahead<F>, exprs: &[(ExprId, usize)], step: &mut Step<F>) {
    let Step { graph, exe } = step;
    let taken = ahead.take(|batch| {
        for d in graph.inputs.iter().filter(|d| d.rows) {
            let place = exe.input_mut(d.input);
            if let Some(at) = exprs.iter().position(|(e, _)| *e == d.expr)
                && place.len() == batch[at].len()
            {
                place.copy_from_slice(&batch[at]);
            }
        }
    });
    assert!(taken, "the thread that reads rows ahead has failed");
}
fn copy_gradient<F: Scalar>(step: &Step<F>, slots: &Slots, gradient: &mut [F]) {
    for (at, slot) in slots.list.iter().enumerate() {
        let place = &mut gradient[slot.offset..slot.offset + slot.shape.count()];
        place.iter_mut().zip(step.exe.output(3 + at)).for_each(|(g, &d)| *g = d);
    }
}
fn add_gradient<F: Scalar>(step: &Step<F>, slots: &Slots, gradient: &mut [F]) {
    for (at, slot) in slots.list.iter().enumerate() {
        let place = &mut gradient[slot.offset..slot.offset + slot.shape.count()];
        place.iter_mut().zip(step.exe.output(3 + at)).for_each(|(g, &d)| *g += d);
    }
}
/// Mean and standard error of independent values.
fn mean_and_error(x: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_every_row_once() {
        for (all, batch) in [(10, 4), (12, 4), (7, 7), (5, 1)] {
            let mut order = Order::new(Some((all, batch, all % batch)), Key::new(3));
            let mut orders: Vec<Vec<usize>> = Vec::new();
            for epoch in 1..=5 {
                let mut seen = Vec::new();
                while seen.len() < all {
                    order.advance();
                    let rows = order.batch();
                    assert_eq!(rows.len(), batch.min(all - seen.len()), "only the last part is short");
                    seen.extend_from_slice(rows);
                    assert_eq!(order.epochs_done, if seen.len() < all { epoch - 1 } else { epoch });
                }
                let mut sorted = seen.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..all).collect::<Vec<_>>());
                assert!(!orders.contains(&seen), "every epoch has an order of its own");
                orders.push(seen);
            }
            let mut again = Order::new(Some((all, batch, all % batch)), Key::new(3));
            let first: Vec<usize> = (0..all.div_ceil(batch))
                .flat_map(|_| {
                    again.advance();
                    again.batch().to_vec()
                })
                .collect();
            assert_eq!(first, orders[0], "the key decides");
        }
    }

    #[test]
    fn without_rows_every_step_is_an_epoch() {
        let mut order = Order::new(None, Key::new(0));
        for _ in 0..2 {
            order.advance();
            assert!(order.batch().is_empty() && order.peek().is_empty());
        }
        assert_eq!(order.epochs_done, 2);
    }
}
