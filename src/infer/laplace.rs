//! Laplace's approximation: a normal in unconstrained space at the mode of the density there, with its curvature.
//!
//!   u ~ Normal(m, A^-1),   A = -d^2 ln p / du^2 at m,   ln Z ~ ln p(m) + (d/2) ln 2 pi - (1/2) ln det A   [nats]
//!
//! where ln p includes the Jacobian of the map to the sites. Both are exact for a normal posterior. How far the normal is
//! from the posterior is told by the importance ratios of its draws. Source: Tierney & Kadane 1986, JASA 81:82.

use super::density::{self, Curvature, Density, DensityGraph};
use super::hessian::{self, Derivatives, Factor, PrecisionFactor};
use super::kron;
use super::lbfgs::End;
use super::mode::{Mode, Problem};
use super::profile::{Laps, Phase};
use super::{Observer, RunError};
use crate::check::settings::HessianChoice;
use crate::check::weights::last_layer;
use crate::exec::plan::Options;
use crate::report::statistics::pareto_k;
use crate::rng::{Key, fill_normal};

/// Up to so many coordinates `auto` takes the whole matrix: 32 MB, factored in seconds.
const FULL: usize = 2_000;
/// Draws from which the importance ratios are judged, at least; as many as variational inference takes.
const RATIO_DRAWS: usize = 1000;
/// Steps of Newton's method after the search; each doubles the digits of the mode.
const NEWTON: usize = 5;
/// The mode is as good as numbers allow when no more than this is to be gained [nats]: 1e-8 standard deviations.
const SETTLED: f64 = 1e-16;
/// A normal that stands a tenth of a standard deviation beside the mode is none at the mode [nats].
const BESIDE: f64 = 5e-3;
/// Ratios that differ by less are those of the posterior itself [nats].
const SAME: f64 = 1e-8;

/// A normal at the mode.
#[derive(Debug)]
pub struct LaplaceFit {
    /// The mode and how it was found.
    pub mode: Mode,
    /// Draws of the coordinates, `[draw, coordinate]`.
    pub positions: Vec<f64>,
    /// The estimate of the log of the integral of the density [nats].
    pub log_evidence: f64,
    /// Pareto k-hat of the ratios of the density to the normal.
    pub pareto_k: Option<f64>,
    /// Whether the whole matrix of second derivatives was taken, or its diagonal.
    pub full: bool,
    /// How second derivatives were found.
    pub derivatives: Derivatives,
    /// The weights whose curvature has Kronecker factors.
    pub layers: Vec<String>,
    /// What to say when the mode is not as near as asked for.
    pub advice: Option<String>,
}

impl LaplaceFit {
    /// Finds the mode, the curvature there, and draws from the normal.
    ///
    /// # Errors
    /// When the density has no gradient or no starting point with a finite density is found, and when what is found is no
    /// peak: the site to blame.
    pub fn of(problem: &Problem<'_>, observer: &mut dyn Observer) -> Result<LaplaceFit, RunError> {
        let mut laps = Laps::new(observer.stopwatch());
        let space = problem.space();
        let graph = density::build(problem.program, problem.bound, &space)?;
        let n = graph.dim();
        let full = match problem.settings.hessian {
            HessianChoice::Auto => n <= FULL,
            HessianChoice::Full => true,
            HessianChoice::Diagonal => false,
            HessianChoice::LastLayer | HessianChoice::Kron => true,
        };
        let kron = match problem.settings.hessian {
            HessianChoice::Kron => Some(kron::build(problem.program, problem.bound, &problem.noncentered)?),
            _ => None,
        };
        let places = match problem.settings.hessian {
            HessianChoice::LastLayer => last_layer_of(problem, &graph),
            _ => (0..n).collect(),
        };
        let m = places.len();
        // An operation without a second derivative leaves differences.
        let asked = kron.as_ref().map_or(places.clone(), |kron| kron.others());
        let wanted = |name: &str| {
            graph.coordinates.iter().any(|c| c.name == name && asked.iter().any(|at| c.range.contains(at)))
        };
        let second = (!asked.is_empty())
            .then(|| density::curvature(problem.program, problem.bound, &space, &wanted).ok())
            .flatten();
        laps.lap(Phase::Lower);
        let mut memory = problem.memory.clone();
        let numbers = match &kron {
            Some(kron) => kron.numbers() + 3 * kron.others().len().pow(2),
            None if full => 3 * m * m,
            None => 2 * m,
        };
        memory.fit.push(("second derivatives", (numbers * size_of::<f64>()) as u64));
        let graphs: Vec<&crate::ir::Graph> = std::iter::once(&graph.graph)
            .chain(second.as_ref().map(|s| &s.graph))
            .chain(kron.as_ref().map(|k| &k.graph))
            .collect();
        let plans = memory.prepare::<f64>(&graphs, Options::default(), 1);
        memory.check()?;
        observer.planned(&memory);
        let mut density = Density::planned(&graph, problem.program, problem.bound, plans[0].options());
        let mut exact = second
            .as_ref()
            .zip(plans.get(1))
            .map(|(second, plan)| Curvature::planned(second, problem.program, problem.bound, plan.options()));
        let of_kron = plans.last().map(|plan| plan.options());
        drop(plans);
        laps.lap(Phase::Plan);
        let settings = problem.settings;
        let root = Key::new(settings.seed);
        let search = problem.search();
        let began = observer.clock();
        let mut mode = search.run(&graph, &mut density, observer)?;
        if mode.best.end == End::Stopped {
            return Err(RunError::Stopped("stopped before the mode was found: there are no draws yet".to_string()));
        }
        let advice = search.advice(&graph, &mode);
        let (factor, derivatives): (Box<dyn PrecisionFactor>, Derivatives) = match (&kron, of_kron) {
            (Some(kron), Some(options)) => {
                let (others, x) = (kron.others(), &mode.best.x);
                if others.len() > FULL {
                    return Err(RunError::Unsupported(format!(
                        "`hessian = kron` takes the whole matrix of what is no weight of a layer, and that is {} numbers: \
                         {FULL} are the most; use `diag`",
                        others.len()
                    )));
                }
                let (matrix, derivatives) = hessian::precision(&mut density, exact.as_mut(), x, true, &others);
                // Without anything else nothing was differenced.
                let derivatives = if others.is_empty() { Derivatives::Exact } else { derivatives };
                let rest = matrix.factor().map_err(|direction| no_peak(&graph, &others, &direction))?;
                let (program, key) = (problem.program, root.fold_in(33));
                (Box::new(kron.factor(program, problem.bound, options, (x, rest), key)?), derivatives)
            }
            _ => {
                let (factor, derivatives) = settle(&graph, &mut density, exact.as_mut(), &mut mode, (full, &places))?;
                (Box::new(factor), derivatives)
            }
        };
        let factor = &*factor;
        let expected = factor.expected(&at(&places, &mode.best.gradient));
        // Not a number either. Approximate curvature does not tell how far the peak is.
        if kron.is_none() && expected.partial_cmp(&BESIDE) != Some(std::cmp::Ordering::Less) {
            return Err(RunError::NotReached { expected, advice: advice.unwrap_or_default() });
        }
        let found = m == n && expected <= settings.tolerance.max(f64::EPSILON * mode.best.value.abs());
        if found {
            mode.best.end = End::Converged;
        }
        laps.lap(Phase::Run);
        let log_evidence = mode.best.value + 0.5 * n as f64 * std::f64::consts::TAU.ln() - 0.5 * factor.log_det();
        let (positions, pareto_k) =
            draw(problem.draws, &mut density, &mode.best.x, (factor, &places), root.fold_in(31));
        mode.secs = observer.clock() - began;
        laps.lap(Phase::Draws);
        if let Some(profile) = laps.finish() {
            observer.profiled(profile);
        }
        let advice = advice.filter(|_| !found);
        let layers = kron.map_or(Vec::new(), |kron| kron.names());
        Ok(LaplaceFit { mode, positions, log_evidence, pareto_k, full, derivatives, layers, advice })
    }
}

/// Second derivatives at the mode, which moves by Newton's method as far as numbers allow.
fn settle(
    graph: &DensityGraph,
    density: &mut Density,
    mut exact: Option<&mut Curvature>,
    mode: &mut Mode,
    (full, places): (bool, &[usize]),
) -> Result<(Factor, Derivatives), RunError> {
    let mut left = NEWTON;
    loop {
        let best = &mut mode.best;
        let (matrix, derivatives) = hessian::precision(density, exact.as_deref_mut(), &best.x, full, places);
        let factor = matrix.factor().map_err(|direction| no_peak(graph, places, &direction))?;
        let expected = factor.expected(&at(places, &best.gradient));
        if left == 0 || expected <= SETTLED {
            return Ok((factor, derivatives));
        }
        let step = factor.solve(&at(places, &best.gradient));
        let mut x = best.x.clone();
        places.iter().zip(&step).for_each(|(&place, step)| x[place] += step);
        let mut gradient = vec![0.0; x.len()];
        let value = density.evaluate(&x, &mut gradient);
        mode.evaluations += 1;
        let nearer = factor.expected(&at(places, &gradient)) < 0.5 * expected;
        if !(value.is_finite() && nearer && value >= best.value - 1e-12 * best.value.abs() - expected) {
            return Ok((factor, derivatives));
        }
        (best.x, best.value, best.gradient) = (x, value, gradient);
        left -= 1;
    }
}

/// The coordinates of the last layer of a network.
fn last_layer_of(problem: &Problem<'_>, graph: &DensityGraph) -> Vec<usize> {
    let model = problem.program.model.as_ref().expect("chosen programs have a model");
    let sites = last_layer(problem.program, model);
    let own = |name: &str| sites.iter().any(|&s| model.sites[s].name == name);
    graph.coordinates.iter().filter(|c| own(&c.name)).flat_map(|c| c.range.clone()).collect()
}

/// Draws of the coordinates, and the k-hat of their importance ratios; no k-hat where nothing is random, or some
/// coordinates are points.
fn draw(
    draws: usize,
    density: &mut Density,
    mode: &[f64],
    (factor, places): (&dyn PrecisionFactor, &[usize]),
    key: Key,
) -> (Vec<f64>, Option<f64>) {
    let (n, m) = (mode.len(), places.len());
    let mut positions = Vec::with_capacity(draws * n);
    let mut ratios = Vec::new();
    let (mut z, mut gradient) = (vec![0.0; m], vec![0.0; n]);
    for i in 0..if m == n { draws.max(RATIO_DRAWS) } else { draws } {
        fill_normal(key.fold_in(i as u64), 0, &mut z);
        // Without its constant, which no ratio depends on.
        let log_normal = -0.5 * super::lbfgs::dot(&z, &z);
        factor.spread(&mut z);
        let mut x = mode.to_vec();
        places.iter().zip(&z).for_each(|(&place, z)| x[place] += z);
        if m == n {
            let value = density.evaluate(&x, &mut gradient);
            ratios.push(if value.is_nan() { f64::NEG_INFINITY } else { value - log_normal });
        }
        if i < draws {
            positions.extend_from_slice(&x);
        }
    }
    if m < n {
        return (positions, None);
    }
    let highest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let k = if highest - lowest <= SAME * highest.abs().max(1.0) { 0.0 } else { pareto_k(&ratios) };
    (positions, Some(k).filter(|k| n > 0 && k.is_finite()))
}
/// The coordinate with the largest part in a direction that is not curved downwards.
fn no_peak(graph: &DensityGraph, places: &[usize], direction: &[f64]) -> RunError {
    let largest = (0..direction.len()).max_by(|&a, &b| direction[a].abs().total_cmp(&direction[b].abs()));
    RunError::NoPeak { name: largest.map_or(String::new(), |at| graph.name(places[at])) }
}

/// Some elements of a vector.
fn at(places: &[usize], x: &[f64]) -> Vec<f64> {
    places.iter().map(|&place| x[place]).collect()
}
