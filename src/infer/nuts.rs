//! Hamiltonian Monte Carlo: several chains of the No-U-Turn sampler on the log density of a model.
//!
//! In: a program, data, settings.   Out: draws of the coordinates, and what the sampler says about each of them.
//! Chains run side by side; what a chain does depends on the seed and its number alone, so the number of threads does
//! not enter.

use super::data::BoundData;
use super::density::{self, Density, DensityGraph, Space};
use super::profile::{Laps, Phase, Profile};
use super::sampler::{Transition, Tuning, no_u_turn};
use super::{ChainStatus, Checkpoint, Memory, Observer, RunError, Sampling};
use crate::check::settings::NutsSettings;
use crate::check::typed::{Program, SiteId};
use crate::exec::plan::Options;
use crate::exec::{Clock, StepTime};
use crate::kernels::threads;
use crate::rng::{Key, fill_uniform};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Starting points that are tried for each chain.
const TRIES: u64 = 100;
/// Starting points lie between minus this and this, in every coordinate.
const START: f64 = 2.0;
/// The observer is told how far the chains are at least so often: it may want them to stop.
const TELL: Duration = Duration::from_millis(50);

/// What a run needs to know.
pub struct Nuts<'p> {
    /// The program.
    pub program: &'p Program,
    /// The data.
    pub bound: &'p BoundData,
    /// The settings.
    pub settings: &'p NutsSettings,
    /// The sites that are written with standard variables.
    pub noncentered: Vec<SiteId>,
    /// What the run needs beside its chains, and what it may need.
    pub memory: &'p Memory,
    /// Where chains start, one for each; empty for the usual start.
    pub starts: Vec<Vec<f64>>,
    /// The finished chains of an interrupted run, by number: they are not run again.
    pub done: Vec<(usize, ChainDraws)>,
}

/// One chain's draws after warmup.
#[derive(Clone, Debug, Default)]
pub struct ChainDraws {
    /// Coordinates, `[draw, coordinate]`.
    pub positions: Vec<f64>,
    /// What is known of each draw.
    pub transitions: Vec<Transition>,
    /// Draws of the warmup that were done.
    pub warmup: usize,
    /// Gradients evaluated, warmup included.
    pub gradients: u64,
}

/// Finished chains.
#[derive(Clone, Debug)]
pub struct NutsFit {
    /// One for each chain, all with the same number of draws.
    pub chains: Vec<ChainDraws>,
    /// The number of coordinates.
    pub dim: usize,
    /// Whether all draws were done.
    pub complete: bool,
    /// Seconds of sampling.
    pub secs: f64,
    /// The chains that were finished, by number, when not all were.
    pub finished: Vec<(usize, ChainDraws)>,
}

/// The numbers that are stored of a transition.
const STORED: usize = 8;

/// Finished chains as they are stored: with them a run goes on to the same bits, as a chain depends on its number and the
/// seed alone. The state of a chain on its way is the sampler's own affair, so such a chain begins again.
pub fn save(finished: &[(usize, ChainDraws)]) -> Checkpoint {
    let mut state = Checkpoint::default();
    state.put("chains", finished.iter().map(|(n, _)| *n as f64).collect());
    for (n, chain) in finished {
        let ChainDraws { positions, transitions, warmup, gradients } = chain;
        state.put(format!("{n}.positions"), positions.clone());
        let flag = |x: bool| f64::from(u8::from(x));
        let of = |t: &Transition| -> [f64; STORED] {
            let &Transition { depth, at_max_depth, divergent, gradients, step_size, log_density, energy, acceptance } =
                t;
            let (at_max_depth, divergent) = (flag(at_max_depth), flag(divergent));
            [depth as f64, at_max_depth, divergent, gradients as f64, step_size, log_density, energy, acceptance]
        };
        state.put(format!("{n}.transitions"), transitions.iter().flat_map(of).collect());
        state.put(format!("{n}.done"), vec![*warmup as f64, *gradients as f64]);
    }
    state
}

/// What [`save`] stored, for chains of `draws` draws; `None` when it is none of that.
pub fn restore(state: &Checkpoint, draws: usize) -> Option<Vec<(usize, ChainDraws)>> {
    let one = |&n: &f64| {
        let n = n as usize;
        let &[warmup, gradients] = state.get(&format!("{n}.done"))? else { return None };
        let of = |t: &[f64; STORED]| Transition {
            depth: t[0] as u64,
            at_max_depth: t[1] != 0.0,
            divergent: t[2] != 0.0,
            gradients: t[3] as u64,
            step_size: t[4],
            log_density: t[5],
            energy: t[6],
            acceptance: t[7],
        };
        let transitions: Vec<Transition> =
            state.get(&format!("{n}.transitions"))?.as_chunks().0.iter().map(of).collect();
        let positions = state.get(&format!("{n}.positions"))?.to_vec();
        let fits = transitions.len() == draws && positions.len().is_multiple_of(draws.max(1));
        let chain = ChainDraws { positions, transitions, warmup: warmup as usize, gradients: gradients as u64 };
        fits.then_some((n, chain))
    };
    state.get("chains")?.iter().map(one).collect()
}

impl NutsFit {
    /// The number of draws of each chain.
    pub fn draws(&self) -> usize {
        self.chains.first().map_or(0, |c| c.transitions.len())
    }
}

/// What a chain tells the thread that watches.
enum Message {
    Progress { chain: usize, status: ChainStatus },
    Done { chain: usize, result: Result<ChainDraws, RunError> },
}

/// Where the time of the chains goes, all of them together.
struct Watched {
    clock: Clock,
    /// Seconds of all chains.
    secs: Mutex<f64>,
    steps: Arc<Mutex<Vec<StepTime>>>,
}

impl Watched {
    /// The profile of chains that ran side by side for `wall` seconds: their times are scaled to these.
    fn profile(self, wall: f64) -> Profile {
        let secs = self.secs.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut steps = std::mem::take(&mut *self.steps.lock().unwrap_or_else(PoisonError::into_inner));
        let scale = if secs > 0.0 { wall / secs } else { 1.0 };
        steps.iter_mut().for_each(|s| s.secs *= scale);
        let inside: f64 = steps.iter().map(|s| s.secs).sum();
        let mut profile = Profile { steps, ..Profile::default() };
        profile.add(Phase::Run, inside);
        profile.add(Phase::Sampler, (wall - inside).max(0.0));
        profile
    }
}

impl Nuts<'_> {
    /// Runs all chains.
    ///
    /// # Errors
    /// When the density has no gradient, or no starting point with a finite density is found: the site to blame.
    pub fn run(&self, observer: &mut dyn Observer) -> Result<NutsFit, RunError> {
        let mut laps = Laps::new(observer.stopwatch());
        let watched =
            observer.stopwatch().map(|clock| Watched { clock, secs: Mutex::default(), steps: Arc::default() });
        let graph = density::build(self.program, self.bound, &Space::Unconstrained(self.noncentered.clone()))?;
        laps.lap(Phase::Lower);
        let n_chains = self.settings.chains;
        let n_workers = threads::count().clamp(1, n_chains.max(1));
        let mut memory = self.memory.clone();
        let draws = n_chains * self.settings.draws;
        memory.always.push(("chains", (draws * (graph.dim() * 8 + size_of::<Transition>())) as u64));
        // Every chain that runs has its plan, with the data written into it.
        let options = memory.prepare::<f64>(&[&graph.graph], Options::default(), n_workers)[0].options();
        memory.check()?;
        observer.planned(&memory);
        laps.lap(Phase::Plan);
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let total = self.settings.warmup + self.settings.draws;
        let mut statuses =
            vec![ChainStatus { total, warmup: self.settings.warmup, ..ChainStatus::default() }; n_chains];
        let mut results: Vec<Option<Result<ChainDraws, RunError>>> = (0..n_chains).map(|_| None).collect();
        for (chain, draws) in &self.done {
            if let (Some(status), Some(result)) = (statuses.get_mut(*chain), results.get_mut(*chain)) {
                (status.draw, status.gradients) = (total, draws.gradients);
                *result = Some(Ok(draws.clone()));
            }
        }
        let began = observer.clock();
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..n_workers {
                let (sender, graph, next, stop, watched) = (sender.clone(), &graph, &next, &stop, watched.as_ref());
                scope.spawn(move || {
                    loop {
                        let chain = next.fetch_add(1, Ordering::Relaxed);
                        if chain >= n_chains {
                            return;
                        }
                        if self.done.iter().any(|(n, _)| *n == chain) {
                            continue;
                        }
                        let tell = |status| {
                            let _ = sender.send(Message::Progress { chain, status });
                        };
                        let began = watched.map(|w| (w.clock)());
                        let result = self.chain((graph, options), chain, stop, &tell, watched);
                        if let (Some(w), Some(began)) = (watched, began) {
                            *w.secs.lock().unwrap_or_else(PoisonError::into_inner) += (w.clock)() - began;
                        }
                        if result.is_err() {
                            stop.store(true, Ordering::Relaxed);
                        }
                        let _ = sender.send(Message::Done { chain, result });
                    }
                });
            }
            drop(sender);
            loop {
                match receiver.recv_timeout(TELL) {
                    Ok(Message::Progress { chain, status }) => statuses[chain] = status,
                    Ok(Message::Done { chain, result }) => results[chain] = Some(result),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                let status = Sampling { chains: &statuses, secs: observer.clock() - began };
                if observer.sampling(&status).is_break() {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        });
        let secs = observer.clock() - began;
        if let (Some(watched), Some(mut profile)) = (watched, laps.finish()) {
            profile.merge(watched.profile(secs));
            observer.profiled(profile);
        }
        let mut chains = Vec::with_capacity(n_chains);
        let mut finished = Vec::new();
        for (number, result) in results.into_iter().enumerate() {
            let Some(result) = result else { continue };
            let chain = result?;
            if chain.transitions.len() == self.settings.draws {
                finished.push((number, chain.clone()));
            }
            chains.push(chain);
        }
        let complete = finished.len() == n_chains;
        let dim = graph.dim();
        if !complete {
            even_out(&mut chains, dim);
            if chains.is_empty() {
                return Err(RunError::Stopped("stopped during warmup: there are no draws yet".to_string()));
            }
        }
        if complete {
            finished.clear();
        }
        Ok(NutsFit { chains, dim, complete, secs, finished })
    }

    fn chain(
        &self,
        (graph, options): (&DensityGraph, Options),
        chain: usize,
        stop: &AtomicBool,
        tell: &dyn Fn(ChainStatus),
        watched: Option<&Watched>,
    ) -> Result<ChainDraws, RunError> {
        let key = Key::new(self.settings.seed).fold_in(20).fold_in(chain as u64);
        let mut density = Density::planned(graph, self.program, self.bound, options);
        if let Some(w) = watched {
            density.watch(w.clock, w.steps.clone());
        }
        let dim = density.dim();
        let mut draws = ChainDraws::default();
        let (warmup, total) = (self.settings.warmup, self.settings.warmup + self.settings.draws);
        if dim == 0 {
            // Nothing is random: every draw is the same.
            draws.transitions = vec![Transition::default(); self.settings.draws];
            draws.warmup = warmup;
            tell(ChainStatus { draw: total, warmup, total, ..ChainStatus::default() });
            return Ok(draws);
        }
        let start = match self.starts.get(chain) {
            Some(start) => self.given(graph, &mut density, start)?,
            None => self.start(graph, &mut density, key.fold_in(0))?,
        };
        let tuning = Tuning {
            warmup,
            draws: self.settings.draws,
            target_accept: self.settings.target_accept,
            max_depth: self.settings.max_depth,
            metric: self.settings.metric,
        };
        let failed = |reason: String| RunError::Sampler { chain, reason };
        let mut sampler = no_u_turn(density, &start, tuning, key.fold_in(1)).map_err(failed)?;
        draws.positions.reserve(self.settings.draws * dim);
        let mut position = vec![0.0; dim];
        let mut status = ChainStatus { warmup, total, ..ChainStatus::default() };
        // A message now and then: a hundred for a chain, and the last draw of all.
        let spacing = (total / 100).max(1);
        for draw in 0..total {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let transition = sampler.draw(&mut position).map_err(failed)?;
            draws.gradients += transition.gradients;
            if draw < warmup {
                draws.warmup += 1;
            } else {
                status.divergences += u64::from(transition.divergent);
                draws.positions.extend_from_slice(&position);
                draws.transitions.push(transition);
            }
            (status.draw, status.step_size, status.depth) = (draw + 1, transition.step_size, transition.depth);
            status.gradients = draws.gradients;
            if (draw + 1) % spacing == 0 || draw + 1 == total {
                tell(status);
            }
        }
        Ok(draws)
    }

    /// A starting point that was given, when its density and gradient are finite.
    fn given(&self, graph: &DensityGraph, density: &mut Density, start: &[f64]) -> Result<Vec<f64>, RunError> {
        let mut gradient = vec![0.0; density.dim()];
        let value = density.evaluate(start, &mut gradient);
        if value.is_finite() && gradient.iter().all(|g| g.is_finite()) {
            return Ok(start.to_vec());
        }
        let cause = density::blame(graph, self.program, self.bound, start);
        Err(RunError::NoStart { tries: 1, cause: Box::new(cause) })
    }

    /// A point with a finite density and gradient, uniform in a box about the origin of unconstrained space.
    fn start(&self, graph: &DensityGraph, density: &mut Density, key: Key) -> Result<Vec<f64>, RunError> {
        let mut u = vec![0.0; density.dim()];
        let mut gradient = vec![0.0; density.dim()];
        for attempt in 0..TRIES {
            fill_uniform(key.fold_in(attempt), 0, &mut u);
            u.iter_mut().for_each(|x| *x = START * (2.0 * *x - 1.0));
            let value = density.evaluate(&u, &mut gradient);
            if value.is_finite() && gradient.iter().all(|g| g.is_finite()) {
                return Ok(u);
            }
        }
        let cause = density::blame(graph, self.program, self.bound, &u);
        Err(RunError::NoStart { tries: TRIES, cause: Box::new(cause) })
    }
}

/// Cuts interrupted chains to one length, the shortest that at least two draws allow; chains without draws fall out.
fn even_out(chains: &mut Vec<ChainDraws>, dim: usize) {
    chains.retain(|c| c.transitions.len() >= 2);
    let n = chains.iter().map(|c| c.transitions.len()).min().unwrap_or(0);
    for c in chains {
        c.transitions.truncate(n);
        c.positions.truncate(n * dim);
    }
}

/// The energy fraction of missing information of one chain: the mean square of the steps of the energy over its
/// variance (Betancourt 2016, arXiv:1604.00695). Below 0.3 the momentum's refreshment moves too little energy for the
/// chain to reach the tails. NaN for a constant energy.
pub fn e_bfmi(energies: &[f64]) -> f64 {
    let mean = energies.iter().sum::<f64>() / energies.len() as f64;
    let spread: f64 = energies.iter().map(|e| (e - mean) * (e - mean)).sum();
    let steps: f64 = energies.windows(2).map(|w| (w[1] - w[0]) * (w[1] - w[0])).sum();
    steps / spread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn independent_energies_miss_nothing() {
        let mut energies = vec![0.0; 4000];
        crate::rng::fill_normal(Key::new(1), 0, &mut energies);
        let independent = e_bfmi(&energies);
        assert!(
            (independent - 2.0).abs() < 0.2,
            "steps of independent numbers have twice their variance: {independent}"
        );
        let mut sum = 0.0;
        let walk: Vec<f64> = energies
            .iter()
            .map(|e| {
                sum += e;
                sum
            })
            .collect();
        assert!(e_bfmi(&walk) < 0.1);
        assert!(e_bfmi(&[1.0; 5]).is_nan());
    }

    #[test]
    fn interrupted_chains_get_one_length() {
        let chain = |n: usize| ChainDraws {
            positions: vec![0.0; 3 * n],
            transitions: vec![Transition::default(); n],
            ..ChainDraws::default()
        };
        let mut chains = vec![chain(7), chain(0), chain(5)];
        even_out(&mut chains, 3);
        let lengths: Vec<_> = chains.iter().map(|c| (c.transitions.len(), c.positions.len())).collect();
        assert_eq!(lengths, [(5, 15), (5, 15)]);
    }
}
