//! Stochastic variational inference: maximizes the ELBO over the parameters of a guide.
//!
//! In: a program, a guide, data, settings.   Out: the parameters, the course of the fit, the ELBO on all data.
//! All randomness comes from the seed: the same seed gives the same numbers, whatever the number of threads.

mod by_rows;
pub mod course;
mod group;
mod machine;
pub mod order;
mod step;

use self::course::Course;
use self::machine::Machine;
use self::order::Order;
use self::step::Step;
use super::ahead::Ahead;
use super::checkpoint::{Checkpoint, exact};
use super::data::{BoundData, Store};
use super::elbo::{self, ElboGraph, KlTerm, Spec};
use super::gaussian;
use super::objective::Objective;
use super::optim::{Group, Optimizer};
use super::profile::{Laps, Phase};
use super::warm::Warm;
use super::{Memory, Observer, RunError};
use crate::check::settings::{EstimatorChoice, KlChoice, Length, SiteRate, SviSettings};
use crate::check::typed::{Program, SiteId};
use crate::exec::Executable;
use crate::exec::plan::Options;
use crate::kernels::{Scalar, threads};
use crate::lower::estimators::{self, Estimator};
use crate::lower::params::Whose;
use crate::lower::{Slots, rows::Prepared};
use crate::report::fit::{Bound, Elbo, StopReason, TraceRow};
use crate::report::statistics::pareto_k;
use crate::rng::Key;

/// Draws from which the final ELBO is estimated.
const ELBO_DRAWS: u64 = 100;
/// The least number of them where rows are subsampled: a draw goes through all data, and the estimate should take no more
/// than a small part of what the fit took.
const FEWEST_ELBO_DRAWS: u64 = 10;
/// That part: rows of the fit for each row of the estimate.
const FIT_TO_ESTIMATE: u64 = 20;
/// The least number of values from which a bound of several draws is estimated.
const FEWEST_BOUNDS: usize = 40;
/// Draws from which the Pareto k is estimated, where one evaluation uses all data at once.
const RATIO_DRAWS: u64 = 1000;

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
    /// What the first of several fits starts from, beside the usual start.
    pub warm: Option<&'p Warm>,
    /// The state of [`SviFit::state`] to go on from.
    pub from: Option<&'p Checkpoint>,
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
    /// The bound that was maximized, where it is not the ELBO.
    pub bound: Option<Bound>,
    /// Pareto k of the importance ratios of the guide.
    pub pareto_k: Option<f64>,
    /// How the KL divergence of each site was found.
    pub terms: Vec<(SiteId, KlTerm)>,
    /// Why it stopped.
    pub stop: StopReason,
    /// The step at which the bound was found to have stopped rising.
    pub plateau: Option<u64>,
    /// Seconds of optimization.
    pub secs: f64,
    /// Rows of data seen.
    pub items: u64,
    /// The state to go on from, when it was interrupted.
    pub state: Option<Checkpoint>,
}

impl<F: Scalar> SviFit<F> {
    /// A finished fit, to be stored while others are still to come.
    pub fn save(&self) -> Checkpoint {
        let mut state = Checkpoint::default();
        state.put("params", exact(&self.params));
        let rows = self.trace.iter().flat_map(|r| [r.step as f64, r.elbo, r.gradient_norm, r.learning_rate, r.secs]);
        state.put("trace", rows.collect());
        state.put("elbo", vec![self.elbo.final_, self.elbo.standard_error, self.elbo.steps as f64]);
        state.put("pareto_k", self.pareto_k.into_iter().collect());
        state.put("plateau", self.plateau.iter().map(|&step| step as f64).collect());
        state.put("bound", self.bound.iter().flat_map(|b| [b.final_, b.standard_error]).collect());
        state.put("stop", vec![f64::from(u8::from(self.stop == StopReason::Plateau))]);
        state.put("secs", vec![self.secs]);
        state.put("items", vec![self.items as f64]);
        state
    }
    /// A fit of `n` parameters that was stored, with the terms of another one of the same program; `None` when it is none.
    pub fn restore(state: &Checkpoint, n: usize, terms: Vec<(SiteId, KlTerm)>, objective: Objective) -> Option<Self> {
        let &[final_, standard_error, steps] = state.get("elbo")? else { return None };
        let row = |r: &[f64; 5]| TraceRow {
            step: r[0] as u64,
            elbo: r[1],
            gradient_norm: r[2],
            learning_rate: r[3],
            secs: r[4],
        };
        Some(SviFit {
            params: state.of("params").filter(|p: &Vec<F>| p.len() == n)?,
            trace: state.get("trace")?.as_chunks().0.iter().map(row).collect(),
            elbo: Elbo { final_, standard_error, steps: steps as u64 },
            bound: match *state.get("bound")? {
                [final_, standard_error] => {
                    let (objective, draws) = (objective.text(), objective.draws());
                    Some(Bound { objective, draws, final_, standard_error })
                }
                _ => None,
            },
            plateau: state.get("plateau")?.first().map(|&step| step as u64),
            pareto_k: state.get("pareto_k")?.first().copied(),
            terms,
            stop: if state.count("stop")? == 1 { StopReason::Plateau } else { StopReason::Completed },
            secs: state.number("secs")?,
            items: state.count("items")?,
            state: None,
        })
    }
}

impl<'p> Svi<'p> {
    fn options(&self) -> Options {
        Options { convolution: self.settings.convolution, ..Options::default() }
    }
    /// What a step of the fit is built for.
    fn fitted(&self, rows: Option<usize>) -> Spec<'p> {
        let settings = self.settings;
        let (kl, estimator) = match settings.objective {
            Objective::Elbo => (settings.kl, settings.estimator),
            // Log ratios are those of the whole joint density at one draw.
            _ => (KlChoice::MonteCarlo, EstimatorChoice::Reparam),
        };
        Spec {
            antithetic: settings.antithetic,
            by_rows: self.by_rows(),
            ..self.spec(rows, kl, estimator, settings.anneal_kl > 0)
        }
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
            antithetic: false,
            by_rows: false,
        }
    }
    /// Whether each row of the data has a bound of its own.
    fn by_rows(&self) -> bool {
        self.settings.objective != Objective::Elbo && self.prepared.is_some()
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
        let mut graphs = self.graphs(&spec, gradient)?;
        let n = graphs.len();
        if gradient && self.by_rows() {
            graphs.extend(self.graphs(&spec, false)?);
        }
        laps.lap(Phase::Lower);
        let plans = memory.prepare::<F>(&graphs.iter().map(|g| &g.graph).collect::<Vec<_>>(), self.options(), 1);
        // What is done after the fit goes on: what was needed before is free by then.
        if gradient {
            memory.check()?;
        }
        let mut built: Vec<_> = plans.into_iter().map(|plan| plan.build()).collect();
        let forward =
            graphs.split_off(n).into_iter().zip(built.split_off(n)).map(Some).chain(std::iter::repeat_with(|| None));
        let steps = graphs.into_iter().zip(built).zip(forward);
        let mut steps = steps.map(|((graph, exe), forward)| Step { graph, exe, forward });
        let (mut whole, mut short) = (steps.next().expect("there is a step"), steps.next());
        laps.lap(Phase::Plan);
        for step in std::iter::once(&mut whole).chain(&mut short) {
            store.give_whole(self.program, &step.graph.inputs, &mut step.exe);
            laps.watch(&mut step.exe);
            if let Some((graph, exe)) = &mut step.forward {
                store.give_whole(self.program, &graph.inputs, exe);
            }
        }
        laps.lap(Phase::Data);
        Ok((whole, short))
    }
    /// The graphs of these steps.
    fn graphs(&self, spec: &impl Fn(Option<usize>) -> Spec<'p>, gradient: bool) -> Result<Vec<ElboGraph>, RunError> {
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
        let settings = self.settings;
        let rule = settings.optimizer;
        let several = settings.particles.is_some_and(|p| p > 1) || rule.is_gaussian();
        let kept = usize::from(several) + rule.moments().len();
        memory.fit.push(("optimizer", (params * kept * number) as u64));
        if settings.average.is_some() {
            memory.fit.push(("average of parameters", (params * size_of::<f64>()) as u64));
        }
        if let Some((_, rows, _)) = self.rows().filter(|_| self.by_rows()) {
            memory.fit.push(("weights of rows", by_rows::bytes(settings.objective.draws(), rows, number) as u64));
        } else if settings.objective != Objective::Elbo {
            memory.fit.push(("gradients of draws", (settings.objective.draws() * params * number) as u64));
        } else if self.is_scored() {
            memory.fit.push(("gradients of draws", (2 * settings.particles.unwrap_or(1) * params * number) as u64));
        }
        memory
    }

    /// The graph of one step as text, for `emit`.
    pub fn emit<F: Scalar>(
        &self,
        gradient: bool,
        plan: bool,
        sources: &crate::source::Sources,
    ) -> Result<String, RunError> {
        let spec = |rows| self.fitted(rows);
        let mut graphs = self.graphs(&spec, gradient)?;
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

    /// Runs the optimization, on a thread of the pool where there are several.
    pub fn run<F: Scalar>(&self, observer: &mut dyn Observer) -> Result<SviFit<F>, RunError> {
        threads::inside(|| self.optimize(observer))
    }

    fn optimize<F: Scalar>(&self, observer: &mut dyn Observer) -> Result<SviFit<F>, RunError> {
        let mut laps = Laps::new(observer.stopwatch());
        let root = self.root();
        let rows = self.rows();
        let mut store = Store::<F>::new(self.program, self.bound, self.prepared);
        if let Some((_, whole, rest)) = rows {
            store.expect_rows(self.program, whole);
            store.expect_rows(self.program, rest);
        }
        laps.lap(Phase::Data);
        let total = self.total_steps();
        let mut memory = self.memory(store.bytes(self.program), total, size_of::<F>());
        let spec = |rows| self.fitted(rows);
        let (mut whole, short) = self.steps(spec, true, &store, &mut memory, &mut laps)?;
        let row_exprs = rows.map_or(Vec::new(), |(_, size, _)| whole.row_exprs(size));
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
        let mut course = self.begin(root);
        if let Some(state) = self.from
            && !course.restore(state, rows, root.fold_in(Stream::Shuffle as u64))
        {
            return Err(RunError::Checkpoint("the checkpoint is not one of this fit".to_string()));
        }
        let earlier = course.trace.last().map_or(0.0, |row| row.secs);
        let total = if course.params.is_empty() { 0 } else { total };
        let mut machine = Machine::new(self, whole, short, store, root.fold_in(Stream::Steps as u64), total);
        laps.lap(Phase::Start);
        laps.before_steps();
        let began = observer.clock() - earlier;
        let done = std::thread::scope(|scope| -> Result<(), RunError> {
            let mut ahead = reads_ahead.then(|| {
                let (mut order, mut left) = (course.order.clone(), course.end.saturating_sub(course.step));
                let mut store = machine.store.fork();
                if let Some((_, whole, rest)) = rows {
                    store.expect_rows(self.program, whole);
                    store.expect_rows(self.program, rest);
                }
                let ahead = Ahead::begin(scope, self.program, store, row_exprs.clone(), move |rows| {
                    let more = left > 0;
                    if more {
                        left -= 1;
                        order.advance();
                        rows.clear();
                        rows.extend_from_slice(order.batch());
                    }
                    more
                });
                (ahead, row_exprs)
            });
            while course.step < course.end && course.stop.is_none() {
                course.step(&mut machine, ahead.as_mut(), &mut laps, observer, began)?;
            }
            Ok(())
        });
        done?;
        let secs = observer.clock() - began;
        // What the steps needed is free for what follows.
        let mut store = machine.retire(&mut laps);
        laps.lap(Phase::Plan);
        let state = (course.stop == Some(StopReason::Interrupted)).then(|| course.save());
        let params = course.found();
        let Course { trace, stop, plateau, items, .. } = course;
        let (elbo, bound, pareto_k) =
            self.final_elbo(&params, &mut store, root.fold_in(Stream::Elbo as u64), trace.len() as u64)?;
        laps.lap(Phase::Elbo);
        if let Some(profile) = laps.finish() {
            observer.profiled(profile);
        }
        let stop = stop.unwrap_or(StopReason::Completed);
        Ok(SviFit { params, trace, elbo, bound, pareto_k, terms, stop, plateau, secs, items, state })
    }
    /// How the KL divergence of each site is found.
    ///
    /// # Errors
    /// When the program has no objective.
    pub fn terms(&self) -> Result<Vec<(SiteId, KlTerm)>, RunError> {
        let settings = self.settings;
        let spec = |rows| self.spec(rows, settings.kl, settings.estimator, settings.anneal_kl > 0);
        Ok(self.graphs(&spec, true)?.swap_remove(0).terms)
    }
    /// The key of all randomness of this fit.
    fn root(&self) -> Key {
        match self.restart {
            0 => Key::new(self.settings.seed),
            n => Key::new(self.settings.seed).fold_in(Stream::Restart as u64).fold_in(n as u64),
        }
    }
    /// Whether a site has its gradient by the score function.
    fn is_scored(&self) -> bool {
        let choices = estimators::choose(self.program, &self.program.guides[self.guide], self.settings.estimator);
        choices.iter().any(|c| c.estimator == Estimator::Score)
    }
    /// What the learning rate of the parameter at `offset` is multiplied by: the most special of the rates that cover it.
    fn multiplier(&self, offset: usize) -> f64 {
        let settings = self.settings;
        let slot = self.slots.list.iter().find(|s| (s.offset..s.offset + s.shape.count()).contains(&offset));
        let Some(owner) = slot.map(|s| s.owner) else { return 1.0 };
        let steps = &self.program.guides[self.guide].steps;
        let covers = |rate: &&SiteRate| match owner.whose(self.program, steps) {
            Whose::Param(id) => rate.params.contains(&id),
            Whose::Sites(sites) => !sites.is_empty() && sites.iter().all(|s| rate.sites.contains(s)),
        };
        settings.rates.iter().rev().find(covers).map_or(1.0, |rate| rate.rate / settings.learning_rate)
    }
    /// The state before the first step.
    fn begin<F: Scalar>(&self, root: Key) -> Course<F> {
        let key = root.fold_in(Stream::Start as u64);
        let mut first = match self.restart {
            0 => super::start::start(self.program, self.slots, self.bound, key),
            _ => super::start::elsewhere(self.program, self.slots, self.bound, key),
        };
        if let Some(warm) = self.warm.filter(|_| self.restart == 0) {
            warm.fill(&mut first);
        }
        let params: Vec<F> = super::start::convert(&first);
        let rule = self.settings.optimizer;
        let mut blocks = Vec::new();
        if rule.is_gaussian() {
            blocks = gaussian::blocks(self.program, &self.program.guides[self.guide], self.slots, rule)
                .expect("the session has asked whether all parameters are those of normal families");
            for block in &mut blocks {
                block.multiplier = self.multiplier(block.loc.start);
            }
        }
        let own = self.slots.list.iter().map(|slot| Group {
            range: slot.offset..slot.offset + slot.shape.count(),
            multiplier: self.multiplier(slot.offset),
        });
        let own = own.filter(|group| group.multiplier != 1.0).collect();
        let optimizer = Optimizer::<F>::new(rule, params.len()).with_groups(own).with_blocks(blocks);
        let order = Order::new(self.rows(), root.fold_in(Stream::Shuffle as u64));
        let total = if params.is_empty() { 0 } else { self.total_steps() };
        Course::new(params, optimizer, order, total, self.settings.average)
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
    ) -> Result<(Elbo, Option<Bound>, Option<f64>), RunError> {
        let draws = match self.rows() {
            Some((all, batch, _)) => {
                let passes = steps * batch as u64 / (all as u64).max(1);
                (passes / FIT_TO_ESTIMATE).clamp(FEWEST_ELBO_DRAWS, ELBO_DRAWS)
            }
            None => ELBO_DRAWS,
        };
        let as_fitted = self.estimate(params, store, key, self.settings.kl, draws, true)?;
        let a = mean_and_error(&as_fitted);
        let objective = self.settings.objective;
        if self.rows().is_some() {
            let bound = match objective.is_bound() {
                true => {
                    let n = (draws / objective.draws() as u64).max(FEWEST_ELBO_DRAWS);
                    Some(Bound::of(objective, &self.estimate_by_rows(params, store, key, n)?))
                }
                false => None,
            };
            return Ok((Elbo { final_: a.0, standard_error: a.1, steps }, bound, None));
        }
        let draws = RATIO_DRAWS.max((FEWEST_BOUNDS * objective.draws()) as u64);
        let ratios = self.estimate(params, store, key, KlChoice::MonteCarlo, draws, false)?;
        let bound = objective.is_bound().then(|| {
            let values: Vec<f64> = ratios.chunks_exact(objective.draws()).map(|r| objective.value(r)).collect();
            Bound::of(objective, &values)
        });
        let ratios = &ratios[..RATIO_DRAWS as usize];
        let b = mean_and_error(&ratios[..ELBO_DRAWS as usize]);
        let (final_, standard_error) = if b.0.is_finite() && b.1 < a.1 { b } else { a };
        // Points that come and go have no density to compare.
        let dropped = self.program.guides[self.guide].drops_inputs();
        let k =
            (!dropped && ratios.iter().any(|r| *r != ratios[0])).then(|| pareto_k(ratios)).filter(|k| k.is_finite());
        Ok((Elbo { final_, standard_error, steps }, bound, k))
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
        whole.give_params(self.slots, params);
        if let Some(short) = &mut short {
            short.give_params(self.slots, params);
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
        // The same key draws the same global sites for every part of the data.
        let mut values = vec![0.0; draws as usize];
        self.over_rows((all, full), (&mut whole, short.as_mut()), store, |at, step| {
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
            Ok(())
        })?;
        Ok(values)
    }
    /// `n` values of the bound of all data, where each row has one of its own.
    fn estimate_by_rows<F: Scalar>(
        &self,
        params: &[F],
        store: &mut Store<F>,
        key: Key,
        n: u64,
    ) -> Result<Vec<f64>, RunError> {
        let (all, full, _) = self.rows().expect("rows are subsampled");
        let (objective, k) = (self.settings.objective, self.settings.objective.draws());
        let mut memory = self.memory(store.bytes(self.program), 0, size_of::<F>());
        let (mut whole, mut short) =
            self.steps(|rows| self.fitted(rows), false, store, &mut memory, &mut Laps::new(None))?;
        for step in std::iter::once(&mut whole).chain(&mut short) {
            step.give_params(self.slots, params);
        }
        let mut values = vec![0.0; n as usize];
        let mut ratios = vec![0.0; full * k];
        self.over_rows((all, full), (&mut whole, short.as_mut()), store, |_, step| {
            let at = step.graph.of_rows.expect("each row has a ratio").ratios;
            for (group, sum) in values.iter_mut().enumerate() {
                let mut rows = 0;
                for j in 0..k {
                    step.exe.run(&[], key.fold_in((group * k + j) as u64));
                    let own = step.exe.output(at);
                    rows = own.len();
                    own.iter().enumerate().for_each(|(row, r)| ratios[row * k + j] = r.to_f64());
                }
                *sum += ratios[..rows * k].chunks_exact(k).map(|r| objective.value(r)).sum::<f64>();
            }
            Ok(())
        })?;
        Ok(values)
    }
    /// Goes through `all` data once, in order, `full` rows at a time; `each` is told which part it is.
    fn over_rows<F: Scalar>(
        &self,
        (all, full): (usize, usize),
        (whole, mut short): (&mut Step<F>, Option<&mut Step<F>>),
        store: &mut Store<F>,
        mut each: impl FnMut(usize, &mut Step<F>) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        let indices: Vec<usize> = (0..all).collect();
        for (at, batch) in indices.chunks(full).enumerate() {
            let step = match &mut short {
                Some(short) if batch.len() < full => &mut **short,
                _ => &mut *whole,
            };
            store.give_rows(self.program, &step.graph.inputs, batch, &mut step.exe);
            self.bound.check_read()?;
            step.give_indices(batch);
            each(at, step)?;
        }
        Ok(())
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

impl Bound {
    /// What independent values of a bound say.
    fn of(objective: Objective, values: &[f64]) -> Self {
        let (final_, standard_error) = mean_and_error(values);
        Self { objective: objective.text(), draws: objective.draws(), final_, standard_error }
    }
}

/// Mean and standard error of independent values.
fn mean_and_error(x: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}
