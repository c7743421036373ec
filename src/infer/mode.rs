//! The mode of a log density: searches by L-BFGS from several starting points, of which the highest end counts.
//!
//! In: a density and starting points.   Out: the point, and what the searches say about it. A density that keeps rising
//! towards the end of a support has no mode, and that is an error which names the site.

use super::data::BoundData;
use super::density::{self, Density, DensityGraph, Space};
use super::hessian;
use super::lbfgs::{self, End, Found, Stop, maximize};
use super::warm::Warm;
use super::{Memory, Observer, RunError, Status};
use crate::check::settings::ModeSettings;
use crate::check::typed::*;
use crate::dist::SupportKind;
use crate::lower::Slots;
use crate::rng::Key;

/// Up to so many coordinates the end of a search is checked along each of them, at the cost of four gradients for each.
const CHECKED: usize = 2_000;
/// Searches that go on where a check fails, at most.
const ROUNDS: usize = 3;
/// Heights that differ by less are the same [nats].
const SAME: f64 = 1e-3;
/// Starting points that are tried for each search.
const TRIES: u64 = 100;
/// Coordinates of a bounded support beyond this may be at its end: e^-5 is 0.7 % of the scale of a site.
const EDGE: f64 = 5.0;
/// They are when the slope changes by less over half a unit to either side [nats]; about a maximum inside it changes by
/// one where a site has as little information as one observation.
const LEVEL: f64 = 1e-2;
/// Coordinates of a bounded support beyond this do not come back: e^-15 is 3e-7 of the scale of a site.
const GONE: f64 = 15.0;
/// The same on the real line, where a coordinate has the unit of its site.
const FAR: f64 = 1e8;

/// A search for the mode.
pub struct Search<'p> {
    /// The program.
    pub program: &'p Program,
    /// The data.
    pub bound: &'p BoundData,
    /// When a search stops.
    pub stop: Stop,
    /// The number of searches.
    pub restarts: usize,
    /// The parameters of a point mass on every site, in the order of the coordinates: where searches start.
    pub slots: &'p Slots,
    /// Decides where searches start.
    pub key: Key,
    /// What the first search starts from, beside the usual start.
    pub warm: Option<&'p Warm>,
    /// Whether the maxima of all searches are wanted.
    pub all: bool,
}

/// What an engine needs to know that searches in unconstrained space and draws from normals there.
pub struct Problem<'p> {
    /// The program.
    pub program: &'p Program,
    /// The data.
    pub bound: &'p BoundData,
    /// The settings.
    pub settings: &'p ModeSettings,
    /// Draws that are wanted, at least 1.
    pub draws: usize,
    /// The sites that are written with standard variables.
    pub noncentered: Vec<SiteId>,
    /// The parameters of a point mass on every site, where searches start.
    pub slots: &'p Slots,
    /// What the first search starts from, beside the usual start.
    pub warm: Option<&'p Warm>,
    /// What the run needs beside its plans, and what it may need.
    pub memory: &'p Memory,
}

impl<'p> Problem<'p> {
    /// The space of its searches.
    pub fn space(&self) -> Space<'p> {
        Space::Unconstrained(self.noncentered.clone())
    }
    /// Its search, with as many starts as the settings say.
    pub fn search(&self) -> Search<'p> {
        Search {
            program: self.program,
            bound: self.bound,
            stop: Stop { steps: self.settings.steps, tolerance: self.settings.tolerance },
            restarts: self.settings.restarts,
            slots: self.slots,
            key: Key::new(self.settings.seed).fold_in(30),
            warm: self.warm,
            all: false,
        }
    }
}

/// What the searches found.
#[derive(Clone, PartialEq, Debug)]
pub struct Mode {
    /// The highest point.
    pub best: Found,
    /// The maxima that were found, by all searches; empty unless they are asked for.
    pub maxima: Vec<Vec<f64>>,
    /// Where each search ended [nats].
    pub ends: Vec<f64>,
    /// Steps of all searches.
    pub steps: u64,
    /// Evaluations of all searches.
    pub evaluations: u64,
    /// Seconds.
    pub secs: f64,
}

impl Mode {
    /// Whether the highest point is a maximum.
    pub fn converged(&self) -> bool {
        self.best.end == End::Converged
    }
    /// What to say when searches ended at different heights.
    pub fn note(&self) -> Option<String> {
        let lowest = self.ends.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = self.ends.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Below this heights differ by where exactly a search stopped.
        if highest - lowest <= SAME {
            return None;
        }
        let ends: Vec<String> = self.ends.iter().map(|v| format!("{v:.2}")).collect();
        let but = if highest - self.best.value > SAME {
            "; those above it are of searches that found no maximum"
        } else {
            ""
        };
        let (value, n) = (self.best.value, ends.len());
        Some(format!(
            "the highest of {n} searches counts, {value:.2}: their log densities are {}{but}",
            ends.join(", ")
        ))
    }
}

impl Search<'_> {
    /// Looks for the highest point.
    ///
    /// # Errors
    /// When no starting point has a finite density, or the density has no maximum.
    pub fn run(
        &self,
        graph: &DensityGraph,
        density: &mut Density,
        observer: &mut dyn Observer,
    ) -> Result<Mode, RunError> {
        let began = observer.clock();
        let total = (self.restarts * self.stop.steps) as u64;
        let mut best: Option<Found> = None;
        let (mut ends, mut maxima, mut steps, mut evaluations) = (Vec::new(), Vec::new(), 0u64, 0u64);
        for restart in 0..self.restarts {
            let start = match self.start(graph, density, restart as u64) {
                Ok(start) => start,
                Err(error) if best.is_none() && restart + 1 == self.restarts => return Err(error),
                Err(_) => continue,
            };
            let mut watch = |value: f64, _: f64| {
                steps += 1;
                let secs = observer.clock() - began;
                let steps_per_sec = if secs > 0.0 { steps as f64 / secs } else { 0.0 };
                let what = "log density";
                observer.status(&Status {
                    step: steps,
                    total,
                    epoch: None,
                    what,
                    elbo: value,
                    secs,
                    steps_per_sec,
                    items_per_sec: None,
                })
            };
            let mut found = maximize(&mut |u, g| density.evaluate(u, g), start, self.stop, &mut watch);
            for _ in 0..ROUNDS {
                match self.missed(density, &found) {
                    Some(scale) => found = self.again(density, found, &scale, &mut watch),
                    None => break,
                }
            }
            evaluations += found.evaluations as u64;
            ends.push(found.value);
            if self.all
                && found.end == End::Converged
                && self.gone(graph, &found).is_none()
                && self.is_peak(density, &found)
            {
                maxima.push(found.x.clone());
            }
            let stopped = found.end == End::Stopped;
            // One that is no maximum counts only when all are none.
            let rank = |f: &Found| (f.end == End::Converged, f.value);
            if best.as_ref().is_none_or(|b| rank(&found) > rank(b)) {
                best = Some(found);
            }
            if stopped {
                if let Some(best) = &mut best {
                    best.end = End::Stopped;
                }
                break;
            }
        }
        let best = best.expect("a search that cannot start is an error");
        if let Some(at) = self.gone(graph, &best) {
            return Err(RunError::NoMaximum { name: graph.name(at), coordinate: best.x[at], steps: best.steps });
        }
        Ok(Mode { best, maxima, ends, steps, evaluations, secs: observer.clock() - began })
    }

    /// A point with a finite density and gradient: for the first search where variational inference begins.
    pub(super) fn start(
        &self,
        graph: &DensityGraph,
        density: &mut Density,
        restart: u64,
    ) -> Result<Vec<f64>, RunError> {
        let mut gradient = vec![0.0; density.dim()];
        let mut last = Vec::new();
        for attempt in 0..TRIES {
            let key = self.key.fold_in(restart).fold_in(attempt);
            let from = if restart == 0 && attempt == 0 { super::start::start } else { super::start::elsewhere };
            last = from(self.program, self.slots, self.bound, key);
            if let Some(warm) = self.warm.filter(|_| restart == 0 && attempt == 0) {
                warm.fill(&mut last);
            }
            let value = density.evaluate(&last, &mut gradient);
            if value.is_finite() && gradient.iter().all(|g| g.is_finite()) {
                return Ok(last);
            }
        }
        let cause = density::blame(graph, self.program, self.bound, &last);
        Err(RunError::NoStart { tries: TRIES, cause: Box::new(cause) })
    }

    /// Whether a search took a direction for level that is only long: the model of L-BFGS knows one scale before it has
    /// moved along all others. Then the standard deviations of the coordinates, as the curvature along each has them.
    fn missed(&self, density: &mut Density, found: &Found) -> Option<Vec<f64>> {
        if found.end != End::Converged || found.x.len() > CHECKED {
            return None;
        }
        let all: Vec<usize> = (0..found.x.len()).collect();
        let (curvature, _) = hessian::precision(density, None, &found.x, false, &all);
        let deviation = |a: &f64| if *a > 0.0 && a.is_finite() { a.sqrt().recip() } else { 0.0 };
        let mut scale: Vec<f64> = curvature.values.iter().map(deviation).collect();
        let expected: f64 = scale.iter().zip(&found.gradient).map(|(s, g)| 0.5 * (s * g).powi(2)).sum();
        scale.iter_mut().filter(|s| **s == 0.0).for_each(|s| *s = 1.0);
        (expected > 100.0 * self.stop.tolerance.max(f64::EPSILON * found.value.abs())).then_some(scale)
    }

    /// Whether the density is curved downwards along every coordinate, where there are few enough to look: a search that
    /// begins at a saddle stays there.
    fn is_peak(&self, density: &mut Density, found: &Found) -> bool {
        found.x.len() > CHECKED || {
            let all: Vec<usize> = (0..found.x.len()).collect();
            let (curvature, _) = hessian::precision(density, None, &found.x, false, &all);
            curvature.values.iter().all(|a| *a > 0.0)
        }
    }

    /// Goes on in coordinates of unit scale.
    fn again(&self, density: &mut Density, from: Found, scale: &[f64], watch: &mut lbfgs::Watch<'_>) -> Found {
        let place =
            |y: &[f64]| -> Vec<f64> { from.x.iter().zip(scale).zip(y).map(|((x, scale), y)| x + scale * y).collect() };
        let mut f = |y: &[f64], g: &mut [f64]| {
            let value = density.evaluate(&place(y), g);
            g.iter_mut().zip(scale).for_each(|(g, scale)| *g *= scale);
            value
        };
        let mut found = maximize(&mut f, vec![0.0; scale.len()], self.stop, watch);
        found.x = place(&found.x);
        found.gradient.iter_mut().zip(scale).for_each(|(g, scale)| *g /= scale);
        found.steps += from.steps;
        found.evaluations += from.evaluations;
        found
    }

    /// The coordinate that has left all bounds in a search that found no maximum.
    fn gone(&self, graph: &DensityGraph, found: &Found) -> Option<usize> {
        if found.end == End::Converged {
            return None;
        }
        let part = |at: usize| found.x[at].abs() / if self.is_bounded(graph, at) { GONE } else { FAR };
        (0..found.x.len()).filter(|&at| part(at) > 1.0).max_by(|&a, &b| part(a).total_cmp(&part(b)))
    }

    /// Whether a coordinate is that of a support with an end.
    fn is_bounded(&self, graph: &DensityGraph, at: usize) -> bool {
        let name = graph.coordinates.iter().find(|c| c.range.contains(&at)).map(|c| c.name.as_str());
        let model = self.program.model.as_ref().expect("only programs with a model have a density");
        let site = model.sites.iter().find(|s| Some(s.name.as_str()) == name);
        let param = self.program.params.iter().find(|p| Some(p.name.as_str()) == name);
        site.map_or(param.is_some_and(|p| p.constraint != Constraint::Real), |s| s.dist.support() != SupportKind::Real)
    }

    /// Sites whose mode is at an end of their support, as far as numbers go: the density has become level there.
    pub fn at_edges(&self, graph: &DensityGraph, density: &mut Density, x: &[f64]) -> Vec<String> {
        let mut moved = x.to_vec();
        let mut gradient = vec![0.0; x.len()];
        let mut slope = |moved: &[f64], at: usize| {
            density.evaluate(moved, &mut gradient);
            gradient[at]
        };
        let mut names = Vec::new();
        for at in (0..x.len()).filter(|&at| x[at].abs() > EDGE && self.is_bounded(graph, at)) {
            moved[at] = x[at] + 0.5;
            let above = slope(&moved, at);
            moved[at] = x[at] - 0.5;
            let below = slope(&moved, at);
            moved[at] = x[at];
            if (above - below).abs() < LEVEL {
                names.extend(graph.coordinates.iter().find(|c| c.range.contains(&at)).map(|c| c.name.clone()));
            }
        }
        names.dedup();
        names
    }

    /// What to say about a search that has not converged, and what to do.
    pub fn advice(&self, graph: &DensityGraph, mode: &Mode) -> Option<String> {
        let found = &mode.best;
        let steepest = (0..found.x.len()).max_by(|&a, &b| found.gradient[a].abs().total_cmp(&found.gradient[b].abs()));
        let place = steepest.map_or(String::new(), |at| {
            format!(
                "; it is steepest along {}, {:.2e} nats per unit of the unconstrained coordinate",
                graph.name(at),
                found.gradient[at].abs()
            )
        });
        match found.end {
            End::Converged | End::Stopped => None,
            End::Steps => Some(format!(
                "the maximum was not reached in {} steps (norm of the gradient {:.2e}){place}: set `steps = {}`",
                self.stop.steps,
                lbfgs::norm(&found.gradient),
                10 * self.stop.steps
            )),
            End::Stuck => Some(format!(
                "the search ended before a maximum: no step gains anything, though the gradient has norm {:.2e}{place}: \
                 look for jumps in the density (`where`, `floor`, `abs`), or scale the predictors",
                lbfgs::norm(&found.gradient)
            )),
        }
    }
}
