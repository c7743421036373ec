//! The moving state of a fit, whole: what a step reads from the step before it is here and nowhere else.
//!
//! A course that is stored and restored goes on to the same bits: parameters, moments of the optimizer and the number of
//! steps decide; the order of the rows follows from the number of steps ([`Order::after`]); the trace and the averages are
//! what is shown.

use super::by_rows::ByRows;
use super::group::Group;
use super::machine::Machine;
use super::order::Order;
use crate::check::settings::Length;
use crate::check::typed::ExprId;
use crate::infer::ahead::Ahead;
use crate::infer::checkpoint::{Checkpoint, exact};
use crate::infer::optim::{Optimizer, clip_factor, global_norm};
use crate::infer::plateau::Plateau;
use crate::infer::profile::{Laps, Phase};
use crate::infer::{Observer, RunError, Status};
use crate::kernels::Scalar;
use crate::report::fit::{StopReason, TraceRow};
use crate::rng::Key;

/// Steps over which the ELBO that is shown is averaged.
const SMOOTHING: f64 = 50.0;

/// A running average that forgets.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Smoothed {
    /// The weighted sum of all values so far.
    pub sum: f64,
    /// The sum of their weights.
    pub weight: f64,
}

impl Smoothed {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        let keep = 1.0 - 1.0 / SMOOTHING;
        self.sum = keep * self.sum + (1.0 - keep) * value;
        self.weight = keep * self.weight + (1.0 - keep);
    }
    /// The average; NaN before the first value.
    pub fn value(self) -> f64 {
        self.sum / self.weight
    }
}

/// The state of a fit between two steps.
#[derive(Clone, Debug)]
pub struct Course<F> {
    /// Steps taken.
    pub step: u64,
    /// The free parameters.
    pub params: Vec<F>,
    /// What the optimizer remembers.
    pub optimizer: Optimizer<F>,
    /// Which rows come next.
    pub order: Order,
    /// One row for each step.
    pub trace: Vec<TraceRow>,
    /// The bound that is shown.
    pub shown: Smoothed,
    /// Rows of data seen.
    pub items: u64,
    /// The mean of the parameters over the last part of the steps, if that is asked for.
    pub average: Option<Average>,
    /// The step after which it ends: that of the settings, or an earlier one when the bound has stopped rising.
    pub end: u64,
    /// The step at which the bound was found to have stopped rising.
    pub plateau: Option<u64>,
    /// Why it has ended, if it has before its last step.
    pub stop: Option<StopReason>,
}

/// A running mean of parameters (Polyak & Juditsky 1992, SIAM J. Control Optim. 30:838).
#[derive(Clone, PartialEq, Debug)]
pub struct Average {
    /// The step after which it begins.
    pub from: u64,
    /// The part of all steps that it is over.
    pub part: f64,
    /// Parameters that it is the mean of.
    pub count: u64,
    /// The mean.
    pub mean: Vec<f64>,
}

impl Average {
    /// Over the last `part` of `total` steps, for `n` parameters.
    pub fn new(part: f64, total: u64, n: usize) -> Self {
        let from = total - ((part * total as f64).round() as u64).clamp(1.min(total), total);
        Self { from, part, count: 0, mean: vec![0.0; n] }
    }
    /// Adds the parameters after `step` steps.
    fn add<F: Scalar>(&mut self, step: u64, params: &[F]) {
        if step > self.from {
            self.count += 1;
            let share = 1.0 / self.count as f64;
            self.mean.iter_mut().zip(params).for_each(|(mean, x)| *mean += share * (x.to_f64() - *mean));
        }
    }
}

impl<F: Scalar> Course<F> {
    /// Before the first of `total` steps.
    pub fn new(params: Vec<F>, optimizer: Optimizer<F>, order: Order, total: u64, average: Option<f64>) -> Self {
        let trace = Vec::with_capacity(usize::try_from(total).unwrap_or(0).min(1 << 20));
        let average = average.map(|part| Average::new(part, total, params.len()));
        Self {
            step: 0,
            params,
            optimizer,
            order,
            trace,
            shown: Smoothed::default(),
            items: 0,
            average,
            end: total,
            plateau: None,
            stop: None,
        }
    }
    /// The parameters that the fit has found: the last ones, or their average.
    pub fn found(&self) -> Vec<F> {
        match &self.average {
            Some(average) if average.count > 0 => average.mean.iter().map(|&x| F::from_f64(x)).collect(),
            _ => self.params.clone(),
        }
    }
    /// What follows from the course so far: the end, when the bound has stopped rising. The average then covers its part of
    /// the steps that there are, so that the fit goes on for so long.
    fn look(&mut self, rule: Option<Plateau>) {
        if let Some(rule) = rule.filter(|_| self.plateau.is_none())
            && rule.reached(&self.trace)
        {
            self.plateau = Some(self.step);
            self.end = match &mut self.average {
                Some(average) => {
                    average.from = average.from.min(self.step);
                    let end = (average.from as f64 / (1.0 - average.part)).ceil() as u64;
                    end.clamp(self.step, self.end)
                }
                None => self.step,
            };
        }
        if self.plateau.is_some() && self.step == self.end && self.stop.is_none() {
            self.stop = Some(StopReason::Plateau);
        }
    }

    /// All of it, to be stored.
    pub fn save(&self) -> Checkpoint {
        // Whatever is added to the state must be stored as well.
        let Course { step, params, optimizer, order: _, trace, shown, items, average, end, plateau, stop: _ } = self;
        let mut state = Checkpoint::default();
        state.put("step", vec![*step as f64]);
        state.put("params", exact(params));
        state.put("optimizer.step", vec![optimizer.steps() as f64]);
        for (name, moment) in optimizer.moments() {
            state.put(format!("optimizer.{name}"), exact(moment));
        }
        let rows = trace.iter().flat_map(|r| [r.step as f64, r.elbo, r.gradient_norm, r.learning_rate, r.secs]);
        state.put("trace", rows.collect());
        state.put("shown", vec![shown.sum, shown.weight]);
        state.put("items", vec![*items as f64]);
        state.put("end", vec![*end as f64]);
        state.put("plateau", plateau.iter().map(|&step| step as f64).collect());
        if let Some(Average { from, part: _, count, mean }) = average {
            state.put("average", vec![*from as f64, *count as f64]);
            state.put("average.mean", mean.clone());
        }
        state
    }
    /// Goes to a stored state; false, and in no state to be used, when that is not one of this fit. `rows` and `shuffle` are those
    /// of its [`Order`].
    #[must_use]
    pub fn restore(&mut self, state: &Checkpoint, rows: Option<(usize, usize, usize)>, shuffle: Key) -> bool {
        let mut read = || -> Option<()> {
            let step = state.count("step")?;
            let params = state.of::<F>("params").filter(|p| p.len() == self.params.len())?;
            let names: Vec<&'static str> = self.optimizer.moments().map(|(name, _)| name).collect();
            let moments = names.iter().map(|name| Some((*name, state.of::<F>(&format!("optimizer.{name}"))?)));
            let moments = moments.collect::<Option<Vec<_>>>()?;
            let borrowed: Vec<(&str, &[F])> = moments.iter().map(|(name, m)| (*name, m.as_slice())).collect();
            let trace = state.get("trace").filter(|t| t.len() as u64 == 5 * step)?;
            let &[sum, weight] = state.get("shown")? else { return None };
            let items = state.count("items")?;
            let end = state.count("end")?;
            let plateau = state.get("plateau")?.first().map(|&step| step as u64);
            let mut average = self.average.clone();
            if let Some(average) = &mut average {
                let &[from, count] = state.get("average")? else { return None };
                let mean = state.get("average.mean").filter(|m| m.len() == average.mean.len())?;
                (average.from, average.count, average.mean) = (from as u64, count as u64, mean.to_vec());
            }
            if !self.optimizer.restore(state.count("optimizer.step")?, &borrowed) {
                return None;
            }
            let row = |r: &[f64; 5]| TraceRow {
                step: r[0] as u64,
                elbo: r[1],
                gradient_norm: r[2],
                learning_rate: r[3],
                secs: r[4],
            };
            self.trace.clear();
            self.trace.extend(trace.as_chunks().0.iter().map(row));
            (self.step, self.params, self.items) = (step, params, items);
            (self.end, self.plateau, self.average) = (end, plateau, average);
            self.stop = (plateau.is_some() && step == end).then_some(StopReason::Plateau);
            self.shown = Smoothed { sum, weight };
            self.order = Order::after(rows, shuffle, step);
            Some(())
        };
        read().is_some()
    }

    /// One step. `ahead` gives rows that were read ahead, with their expressions; `began` is when the first step began.
    pub(super) fn step(
        &mut self,
        machine: &mut Machine<'_, '_, F>,
        ahead: Option<&mut (Ahead<F>, Vec<(ExprId, usize)>)>,
        laps: &mut Laps,
        observer: &mut dyn Observer,
        began: f64,
    ) -> Result<(), RunError> {
        let Machine { svi, whole, short, store, rows, key, total, particles, gradient, group, by_rows } = machine;
        let (settings, slots, program) = (svi.settings, svi.slots, svi.program);
        let (t, total, particles) = (self.step, *total, *particles);
        self.order.advance();
        let batch = self.order.batch();
        let step = match (short, *rows) {
            (Some(short), Some((_, full, _))) if batch.len() < full => short,
            _ => whole,
        };
        self.items += batch.len() as u64;
        match ahead {
            Some((ahead, exprs)) => step.take_rows(ahead, exprs),
            None => {
                store.give_rows(program, &step.graph.inputs, batch, &mut step.exe);
                store.want_rows(&step.graph.inputs, self.order.peek());
            }
        }
        if rows.is_some() {
            svi.bound.check_read()?;
        }
        step.give_indices(batch);
        if let Some(weight) = step.graph.weight {
            let w = ((t + 1) as f64 / settings.anneal_kl as f64).min(1.0);
            step.exe.set_data(weight, &[F::from_f64(w)]);
        }
        laps.lap(Phase::Rows);
        step.give_params(slots, &self.params);
        let key = key.fold_in(t);
        laps.lap(Phase::Params);
        let rate = settings.learning_rate * settings.schedule.factor(t, total);
        self.optimizer.begin(rate);
        let (elbo, norm) = if gradient.is_empty() {
            step.exe.run(&[], key.fold_in(0));
            laps.lap(Phase::Run);
            let elbo = step.exe.output(0)[0].to_f64();
            // Without a limit the norm comes with the step: where it is not finite, nobody uses the parameters.
            let known = settings.clip.map(|limit| (limit, step.norm(slots)));
            let scale = known.map_or(1.0, |(limit, norm)| clip_factor(norm, limit));
            let mut squares = 0.0;
            for (at, slot) in slots.list.iter().enumerate() {
                let place = &mut self.params[slot.offset..slot.offset + slot.shape.count()];
                squares += self.optimizer.sweep(slot.offset, place, step.exe.output(3 + at), scale);
            }
            (elbo, known.map_or(squares.sqrt(), |(_, norm)| norm))
        } else if group.is_some() || by_rows.is_some() {
            let value = match (group.as_mut(), by_rows.as_mut()) {
                (_, Some(by_rows)) => by_rows.run(step, svi, key, gradient),
                (Some(group), None) => group.run(step, svi, key, gradient),
                (None, None) => unreachable!("one of them is there"),
            };
            laps.lap(Phase::Run);
            let norm = global_norm(gradient);
            let scale = settings.clip.map_or(1.0, |limit| clip_factor(norm, limit));
            self.optimizer.sweep(0, &mut self.params, gradient, scale);
            (value, norm)
        } else {
            let share = 1.0 / particles as f64;
            let mut elbo = 0.0;
            for particle in 0..particles {
                // A pair has the same noise, once as it is and once mirrored.
                let antithetic = step.graph.sign.is_some();
                step.mirror(particle % 2 == 1);
                let draw = if antithetic { particle / 2 } else { particle };
                step.exe.run(&[], key.fold_in(draw as u64));
                laps.lap(Phase::Run);
                elbo += step.exe.output(0)[0].to_f64() * share;
                match particle {
                    0 => step.copy_gradient(slots, gradient),
                    _ => step.add_gradient(slots, gradient),
                }
                laps.lap(Phase::Params);
            }
            let known = settings.clip.map(|limit| (limit, share * global_norm(gradient)));
            let scale = share * known.map_or(1.0, |(limit, norm)| clip_factor(norm, limit));
            let squares = self.optimizer.sweep(0, &mut self.params, gradient, scale);
            (elbo, known.map_or(share * squares.sqrt(), |(_, norm)| norm))
        };
        if !elbo.is_finite() || !norm.is_finite() {
            let runs = group.as_ref().map(Group::runs).or(by_rows.as_ref().map(ByRows::runs)).unwrap_or(particles);
            let keys: Vec<Key> = (0..runs).map(|run| key.fold_in(run as u64)).collect();
            return Err(svi.blame(step, &keys, Some(t + 1), elbo, norm));
        }
        laps.lap(Phase::Optimizer);
        laps.step();
        self.step += 1;
        if let Some(average) = &mut self.average {
            average.add(self.step, &self.params);
        }
        let secs = observer.clock() - began;
        self.trace.push(TraceRow { step: t + 1, elbo, gradient_norm: norm, learning_rate: rate, secs });
        self.shown.add(elbo);
        let per_sec = |n: f64| if secs > 0.0 { n / secs } else { 0.0 };
        let status = Status {
            step: t + 1,
            total,
            epoch: match settings.length {
                Length::Epochs(n) => Some((self.order.epochs_done, n)),
                Length::Steps(_) => None,
            },
            what: settings.objective.what(),
            elbo: self.shown.value(),
            secs,
            steps_per_sec: per_sec((t + 1) as f64),
            items_per_sec: rows.map(|_| per_sec(self.items as f64)),
        };
        let flow = observer.status(&status);
        laps.lap(Phase::Progress);
        if flow.is_break() {
            self.stop = Some(StopReason::Interrupted);
        }
        self.look(settings.stop);
        Ok(())
    }
}
