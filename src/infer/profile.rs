//! Where the time of a run goes, beside the steps of its plans.
//!
//! In: a clock, when the observer has one to give.   Out: seconds of each phase. Without a clock nothing is read and
//! nothing is kept.

use crate::exec::{Clock, Executable, StepTime};
use crate::kernels::Scalar;

/// A part of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Phase {
    /// Text to syntax trees.
    Parse,
    /// Names, sizes, shapes, supports, guides, settings.
    Check,
    /// Data read, checked and brought into the precision of the run.
    Data,
    /// Graphs with their gradients.
    Lower,
    /// Passes, schedule, addresses, memory.
    Plan,
    /// The first parameters.
    Start,
    /// The rows of a minibatch chosen and copied.
    Rows,
    /// Parameters and gradients to and from the plan.
    Params,
    /// The steps of the plan.
    Run,
    /// The rule of the optimizer, with the norm of the gradient.
    Optimizer,
    /// What a sampler does beside evaluating the density.
    Sampler,
    /// The course of the fit kept and shown.
    Progress,
    /// The bound on all data at the end.
    Elbo,
    /// Draws that are reported.
    Draws,
    /// Scores on held-out data.
    Scores,
    /// Means, quantiles, diagnostics.
    Summary,
    /// Files of the fit.
    Save,
}

impl Phase {
    /// What people read.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Parse => "parse",
            Phase::Check => "check",
            Phase::Data => "data",
            Phase::Lower => "lower",
            Phase::Plan => "plan",
            Phase::Start => "start",
            Phase::Rows => "minibatch rows",
            Phase::Params => "parameters",
            Phase::Run => "between operations",
            Phase::Optimizer => "optimizer",
            Phase::Sampler => "sampler",
            Phase::Progress => "progress",
            Phase::Elbo => "final ELBO",
            Phase::Draws => "draws",
            Phase::Scores => "scores",
            Phase::Summary => "summary",
            Phase::Save => "files",
        }
    }
}

/// The time of a run, or of a part of it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Profile {
    /// Seconds of each phase, in the order in which the phases ended first.
    pub spent: Vec<(Phase, f64)>,
    /// The steps of the plans of the fit; their time is a part of [`Phase::Run`].
    pub steps: Vec<StepTime>,
    /// Seconds of the first step of the fit with all that belongs to it.
    pub first_step: Option<f64>,
}

impl Profile {
    /// Adds to a phase.
    pub fn add(&mut self, phase: Phase, secs: f64) {
        match self.spent.iter_mut().find(|(p, _)| *p == phase) {
            Some((_, sum)) => *sum += secs,
            None => self.spent.push((phase, secs)),
        }
    }
    /// Seconds of a phase.
    pub fn of(&self, phase: Phase) -> f64 {
        self.spent.iter().find(|(p, _)| *p == phase).map_or(0.0, |(_, secs)| *secs)
    }
    /// Adds another part of the run; the first step of the run is that of its first part.
    pub fn merge(&mut self, other: Profile) {
        other.spent.into_iter().for_each(|(phase, secs)| self.add(phase, secs));
        self.steps.extend(other.steps);
        self.first_step = self.first_step.or(other.first_step);
    }
}

/// Gives the time since the last lap to a phase, lap by lap.
#[derive(Debug)]
pub struct Laps {
    clock: Option<Clock>,
    last: f64,
    /// The last step of the fit, or what came before it.
    stepped: f64,
    profile: Profile,
}

impl Laps {
    /// The first lap begins now.
    pub fn new(clock: Option<Clock>) -> Self {
        let now = clock.map_or(0.0, |clock| clock());
        Laps { clock, last: now, stepped: now, profile: Profile::default() }
    }
    /// Ends a lap.
    #[inline]
    pub fn lap(&mut self, phase: Phase) {
        if let Some(clock) = self.clock {
            let now = clock();
            self.profile.add(phase, now - self.last);
            self.last = now;
        }
    }
    /// The first step begins here.
    pub fn before_steps(&mut self) {
        self.stepped = self.last;
    }
    /// A step has ended, with a lap just now.
    #[inline]
    pub fn step(&mut self) {
        if self.clock.is_some() && self.profile.first_step.is_none() {
            self.profile.first_step = Some(self.last - self.stepped);
        }
    }
    /// From now on the steps of `exe` are timed, if anybody wants that.
    pub fn watch<F: Scalar>(&self, exe: &mut Executable<F>) {
        if let Some(clock) = self.clock {
            exe.watch(clock);
        }
    }
    /// Takes over the times of the steps of `exe`.
    pub fn take<F: Scalar>(&mut self, exe: &Executable<F>) {
        self.profile.steps.extend(exe.step_times());
    }
    /// What has been measured; nothing without a clock.
    pub fn finish(self) -> Option<Profile> {
        self.clock.map(|_| self.profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_add_up() {
        fn clock() -> f64 {
            thread_local!(static NOW: std::cell::Cell<f64> = const { std::cell::Cell::new(0.0) });
            NOW.with(|now| now.replace(now.get() + 1.0))
        }
        let mut laps = Laps::new(Some(clock));
        laps.lap(Phase::Plan);
        laps.before_steps();
        for _ in 0..3 {
            laps.lap(Phase::Rows);
            laps.lap(Phase::Run);
            laps.step();
        }
        laps.lap(Phase::Elbo);
        let profile = laps.finish().expect("there is a clock");
        assert_eq!(profile.spent, [(Phase::Plan, 1.0), (Phase::Rows, 3.0), (Phase::Run, 3.0), (Phase::Elbo, 1.0)]);
        assert_eq!(profile.first_step, Some(2.0));
        let mut silent = Laps::new(None);
        silent.lap(Phase::Plan);
        silent.step();
        assert_eq!(silent.finish(), None);
    }
}
