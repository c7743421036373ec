//! Where inference starts when it is asked to look for a place first: variational inference at the mode, in coordinates of
//! guides in which the normal there is standard; chains at draws of pathfinder.
//!
//! The family of a guide with a location and a scale stays what it is under an affine change of coordinates. In those of
//! the mode and the curvature, an optimizer meets a posterior of unit size without correlation, whatever the units of the
//! data; the parameters that are kept are those of the guide's own coordinates.

use super::{BoundProgram, Chosen, Failure, one};
use crate::check::guides::automatic;
use crate::check::settings::ModeSettings;
use crate::check::typed::*;
use crate::diag::{Code, Diagnostic};
use crate::infer::density::{self, Curvature, Density, Space};
use crate::infer::hessian;
use crate::infer::lbfgs::Stop;
use crate::infer::mode::{Problem, Search};
use crate::infer::pathfinder::PathfinderFit;
use crate::infer::{Memory, RunError, Unobserved};
use crate::kernels::linalg::{Triangle, cholesky, triangular_solve};
use crate::lower::Slots;
use crate::lower::params::Basis;
use crate::rng::Key;

/// Coordinates at most: the whole matrix of second derivatives is needed.
const MOST: usize = 2_000;
/// Searches from different points, of which the highest end counts.
const SEARCHES: usize = 4;
/// Paths that chains start from: a peak is missed with probability (1 - p)^10 when a path ends there with probability p.
const PATHS: usize = 10;
/// Draws of every path for each chain, so that the weights tell the paths apart.
const DRAWS: usize = 25;

/// The parameters of the guide in the coordinates of the mode, or why there are none.
pub(super) fn at_mode(
    bound: &BoundProgram<'_>,
    chosen: &Chosen,
    slots: &Slots,
) -> Result<Result<Slots, String>, Failure> {
    let (program, settings) = (&chosen.program, &chosen.infer.svi);
    let contradicts = |what: &str, help: &str| {
        let message = format!("`start = mode` {what}");
        Err(one(Diagnostic::new(Code::E0703, message).help(help)))
    };
    if chosen.init.is_some() {
        return contradicts("and `--init` both say where to start", "keep one of them");
    }
    if settings.minibatch.is_some() {
        return contradicts("looks at all data, a minibatch at some", "leave one of them out");
    }
    if let Some(p) = program.params.iter().next() {
        let what = format!("needs a posterior of everything that is learned: `{}` has no prior", p.name);
        return contradicts(&what, "leave it out, or give the parameter a prior");
    }
    let space = Space::Unconstrained(Vec::new());
    let graph = density::build(program, &bound.data, &space)?;
    let n = graph.dim();
    if n > MOST {
        return contradicts(&format!("takes at most {MOST} latent numbers, here are {n}"), "leave it out");
    }
    let model = program.model.as_ref().expect("chosen programs have a model");
    let points = Slots::new(program, &automatic(model, Family::Delta, "delta", None), &bound.data.sizes, None);
    let mut density = Density::new(&graph, program, &bound.data);
    let search = Search {
        program,
        bound: &bound.data,
        stop: Stop { steps: 2_000, tolerance: 1e-10 },
        restarts: SEARCHES,
        slots: &points,
        key: Key::new(settings.seed).fold_in(32),
        warm: None,
        all: false,
    };
    let mode = match search.run(&graph, &mut density, &mut Unobserved) {
        Ok(mode) => mode.best,
        Err(error @ (RunError::NoPeak { .. } | RunError::NoMaximum { .. } | RunError::NotReached { .. })) => {
            return Ok(Err(error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    let mut exact = density::curvature(program, &bound.data, &space, &|_| true)
        .ok()
        .map(|c| Curvature::planned(&c, program, &bound.data, Default::default()));
    let all: Vec<usize> = (0..n).collect();
    let (precision, _) = hessian::precision(&mut density, exact.as_mut(), &mode.x, true, &all);
    if precision.factor().is_err() {
        return Ok(Err("the density has no peak where its searches end".to_string()));
    }
    let places = |sites: &[SiteId]| -> Vec<usize> {
        let coordinates = |s: &SiteId| graph.coordinates.iter().find(|c| c.name == model.sites[*s].name);
        sites.iter().filter_map(coordinates).flat_map(|c| c.range.clone()).collect()
    };
    let normal = |sites: &[SiteId], whole: bool| {
        let places = places(sites);
        let center = places.iter().map(|&p| mode.x[p]).collect();
        let factor = if whole {
            let k = places.len();
            let block = places.iter().flat_map(|&i| places.iter().map(move |&j| (i, j)));
            lower_of_inverse(k, block.map(|(i, j)| precision.values[i * n + j]).collect())?
        } else {
            places.iter().map(|&p| precision.diagonal(p).powf(-0.5)).collect()
        };
        Some(Basis { center, factor, triangular: whole })
    };
    let mut slots = slots.clone();
    slots.enter_bases(program, &program.guides[chosen.guide], &normal);
    Ok(Ok(slots))
}

/// Where the chains of nuts start: at draws of the normals of several paths, weighted by the density, in the coordinates of
/// the chains.
pub(super) fn by_pathfinder(
    bound: &BoundProgram<'_>,
    chosen: &Chosen,
    noncentered: &[SiteId],
    memory: &Memory,
) -> Result<Vec<Vec<f64>>, Failure> {
    let (program, nuts) = (&chosen.program, &chosen.infer.nuts);
    if chosen.init.is_some() {
        let message = "`start = pathfinder` and `--init` both say where to start";
        return Err(one(Diagnostic::new(Code::E0703, message).help("keep one of them")));
    }
    let model = program.model.as_ref().expect("chosen programs have a model");
    let slots = Slots::new(program, &automatic(model, Family::Delta, "delta", None), &bound.data.sizes, None);
    let problem = Problem {
        program,
        bound: &bound.data,
        settings: &ModeSettings { restarts: PATHS, seed: nuts.seed, ..ModeSettings::default() },
        draws: DRAWS * nuts.chains,
        noncentered: noncentered.to_vec(),
        slots: &slots,
        warm: None,
        memory,
    };
    let positions = PathfinderFit::of(&problem, &mut Unobserved)?.positions;
    let dim = positions.len() / problem.draws;
    Ok((0..nuts.chains).map(|chain| positions[chain * DRAWS * dim..][..dim].to_vec()).collect())
}

/// The lower Cholesky factor of the inverse of a positive definite matrix; `None` when rounding leaves none.
fn lower_of_inverse(n: usize, mut a: Vec<f64>) -> Option<Vec<f64>> {
    cholesky(n, &mut a).ok()?;
    let mut inverse: Vec<f64> = (0..n * n).map(|at| f64::from(u8::from(at / n == at % n))).collect();
    triangular_solve(Triangle::Lower, false, n, n, &a, &mut inverse);
    triangular_solve(Triangle::Lower, true, n, n, &a, &mut inverse);
    cholesky(n, &mut inverse).ok()?;
    inverse.iter().all(|x| x.is_finite()).then_some(inverse)
}
