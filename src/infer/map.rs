//! The maximum of the posterior density in the space of the sites, without Jacobian.
//!
//! Sites are points of a guide that is a point mass everywhere; learnable constants are found together with them.

use super::data::BoundData;
use super::density::{self, Density, DensityGraph, Space};
use super::lbfgs::Stop;
use super::mode::{Mode, Search};
use super::profile::{Laps, Phase};
use super::warm::Warm;
use super::{Memory, Observer, RunError};
use crate::check::settings::{Keep, ModeSettings};
use crate::check::typed::Program;
use crate::exec::plan::Options;
use crate::lower::Slots;
use crate::rng::Key;

/// What a run needs to know.
pub struct Map<'p> {
    /// The program.
    pub program: &'p Program,
    /// The guide that is a point mass on every site, by position.
    pub guide: usize,
    /// The data.
    pub bound: &'p BoundData,
    /// The settings.
    pub settings: &'p ModeSettings,
    /// The parameters of the guide and the learnable constants.
    pub slots: &'p Slots,
    /// What the first search starts from, beside the usual start.
    pub warm: Option<&'p Warm>,
    /// What the run needs beside its plan, and what it may need.
    pub memory: &'p Memory,
}

/// A finished search.
#[derive(Debug)]
pub struct MapFit {
    /// The point and how it was found.
    pub mode: Mode,
    /// What to say when it is no maximum.
    pub advice: Option<String>,
    /// Sites whose maximum is at an end of their support.
    pub edges: Vec<String>,
}

impl Map<'_> {
    /// Looks for the maximum.
    ///
    /// # Errors
    /// When the density has no gradient, no starting point with a finite density is found, or there is no maximum.
    pub fn run(&self, observer: &mut dyn Observer) -> Result<MapFit, RunError> {
        let mut laps = Laps::new(observer.stopwatch());
        let graph = self.graph()?;
        laps.lap(Phase::Lower);
        let mut memory = self.memory.clone();
        let options = memory.prepare::<f64>(&[&graph.graph], Options::default(), 1)[0].options();
        memory.check()?;
        observer.planned(&memory);
        let mut density = Density::planned(&graph, self.program, self.bound, options);
        laps.lap(Phase::Plan);
        let settings = self.settings;
        let search = Search {
            program: self.program,
            bound: self.bound,
            stop: Stop { steps: settings.steps, tolerance: settings.tolerance },
            restarts: settings.restarts,
            slots: self.slots,
            key: Key::new(settings.seed).fold_in(30),
            warm: self.warm,
            all: settings.keep == Keep::All,
        };
        let mode = search.run(&graph, &mut density, observer)?;
        laps.lap(Phase::Run);
        if let Some(profile) = laps.finish() {
            observer.profiled(profile);
        }
        let advice = search.advice(&graph, &mode);
        let edges = search.at_edges(&graph, &mut density, &mode.best.x);
        Ok(MapFit { mode, advice, edges })
    }

    /// The density with its gradient.
    ///
    /// # Errors
    /// When an operation has no derivative.
    pub fn graph(&self) -> Result<DensityGraph, RunError> {
        density::build(self.program, self.bound, &Space::Point { guide: self.guide, slots: self.slots })
    }
}
