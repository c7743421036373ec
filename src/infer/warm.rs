//! Starting points from another fit of the same model: a chain at one of its draws, a guide at its means and standard
//! deviations, a search at its mean.
//!
//! In: draws of the sites.   Out: coordinates of the space that the engine works in. A site is a function of its
//! coordinates; here the way back is taken.

use super::data::{BoundData, Store};
use super::draws::Posterior;
use crate::check::typed::*;
use crate::exec::Executable;
use crate::index::Idx;
use crate::ir::{InputId, ValueId};
use crate::lower::params::{Owner, unconstrain};
use crate::lower::{Lowering, Mode, SiteSource, Slots, noncentered};
use crate::report::fit::NamedTensor;
use crate::rng::Key;

/// Numbers for parts of the first parameters: where they begin, and what they are.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Warm {
    /// Offsets in the flat vector with the numbers from there on.
    pub pieces: Vec<(usize, Vec<f64>)>,
}

impl Warm {
    /// Writes them over the usual start.
    pub fn fill(&self, params: &mut [f64]) {
        for (offset, numbers) in &self.pieces {
            params[*offset..offset + numbers.len()].copy_from_slice(numbers);
        }
    }
}

/// The coordinates of all sites at each draw, `[draw][site]`; the sites of `standard` have standard variables.
pub fn coordinates(
    program: &Program,
    bound: &BoundData,
    standard: &[SiteId],
    sites: &mut dyn Posterior<f64>,
) -> Vec<Vec<Vec<f64>>> {
    let model = program.model.as_ref().expect("fitted programs have a model");
    let slots = Slots::default();
    let source = SiteSource::Given { guide: None, resampled: Vec::new() };
    let mut lo = Lowering::new(program, &slots, bound.sizes.clone(), None, source);
    let given: Vec<(SiteId, ValueId)> = model.sites.indices().map(|id| (id, lo.site_value(id))).collect();
    for &(id, value) in &given {
        let dist = &model.sites[id].dist;
        let u = if standard.contains(&id) {
            let prior = lo.dist(dist, Mode::Live);
            noncentered::to_standard(&mut lo.g, &prior, value)
        } else {
            let support = dist.support();
            let bounds = if support.needs_bounds() {
                let prior = lo.dist(dist, Mode::Live);
                prior.bounds(&mut lo.g)
            } else {
                None
            };
            support.unconstrain(&mut lo.g, value, bounds)
        };
        lo.g.output(model.sites[id].name.clone(), u);
    }
    let inputs = std::mem::take(&mut lo.inputs);
    let graph = lo.g.finish();
    let given: Vec<(SiteId, InputId)> = given.into_iter().map(|(id, v)| (id, graph.input_of(v))).collect();
    let mut exe = Executable::<f64>::compile(&graph);
    Store::<f64>::new(program, bound, None).give_whole(program, &inputs, &mut exe);
    let mut buffer = Vec::new();
    let n = sites.draws();
    let draw = |i: usize| {
        for &(id, input) in &given {
            sites.read(i, &model.sites[id].name, &mut buffer);
            exe.set_data(input, &buffer);
        }
        exe.run(&[], Key::new(0));
        (0..given.len()).map(|k| exe.output(k).to_vec()).collect()
    };
    (0..n).map(draw).collect()
}

/// Mean and standard deviation of each coordinate of each site.
pub struct Spread {
    /// `[site][coordinate]`
    pub mean: Vec<Vec<f64>>,
    /// The same; 0 for a point, or where it is not known.
    pub sd: Vec<Vec<f64>>,
}

impl Spread {
    /// Over all draws.
    pub fn of(draws: &[Vec<Vec<f64>>]) -> Self {
        let n = draws.len() as f64;
        let each = |site: usize, at: usize| draws.iter().map(move |d| d[site][at]);
        let mut spread = Spread { mean: Vec::new(), sd: Vec::new() };
        for (site, first) in draws.first().into_iter().flatten().enumerate() {
            let count = first.len();
            let mean: Vec<f64> = (0..count).map(|at| each(site, at).sum::<f64>() / n).collect();
            let variance = |at: usize| each(site, at).map(|x| (x - mean[at]).powi(2)).sum::<f64>() / (n - 1.0);
            let sd = (0..count).map(|at| if n > 1.0 { variance(at).sqrt() } else { 0.0 }).collect();
            spread.mean.push(mean);
            spread.sd.push(sd);
        }
        spread
    }
}

/// What a guide starts with: its own parameters where `params` are those of the same guide, otherwise locations and scales
/// from the coordinates, and learnable constants from those of the same name. Also the names of sites whose start stays the
/// usual one.
pub fn guide(
    program: &Program,
    guide: &Guide,
    slots: &Slots,
    spread: &Spread,
    params: &[NamedTensor],
    same_guide: bool,
) -> (Warm, Vec<String>) {
    let model = program.model.as_ref().expect("fitted programs have a model");
    let stored = |name: &str, shape: &[usize]| params.iter().find(|p| p.name == name && p.shape[..] == *shape);
    if same_guide && slots.list.iter().all(|s| stored(&s.name, &s.shape).is_some()) {
        let all = slots.list.iter().filter_map(|s| Some((s.offset, stored(&s.name, &s.shape)?.data.clone())));
        return (Warm { pieces: all.collect() }, Vec::new());
    }
    let of_step = |at: usize, what: &[Vec<f64>]| -> Vec<f64> {
        guide.steps[at].sites().iter().flat_map(|s| what[s.index()].clone()).collect()
    };
    let finite = |x: &[f64]| x.iter().all(|x| x.is_finite());
    let positive = |x: &[f64]| x.iter().all(|x| *x > 0.0 && x.is_finite());
    let mut warm = Warm::default();
    let mut moved: Vec<SiteId> = Vec::new();
    for slot in &slots.list {
        let count = slot.shape.count();
        let mut put = |numbers: Vec<f64>| {
            let fits = numbers.len() == count;
            if fits {
                warm.pieces.push((slot.offset, numbers));
            }
            fits
        };
        let scales = |sd: Vec<f64>| -> Vec<f64> { sd.into_iter().map(|x| unconstrain(x, slot.constraint)).collect() };
        match slot.owner {
            Owner::Param(_) => {
                if let Some(p) = stored(&slot.name, &slot.shape) {
                    put(p.data.clone());
                }
            }
            Owner::Loc(site) => {
                let mean = spread.mean[site.index()].clone();
                if finite(&mean) && put(mean) {
                    moved.push(site);
                }
            }
            Owner::Scale(site) => {
                let sd = spread.sd[site.index()].clone();
                if positive(&sd) {
                    put(scales(sd));
                }
            }
            Owner::JointLoc(at) => {
                let mean = of_step(at, &spread.mean);
                if finite(&mean) && put(mean) {
                    moved.extend(guide.steps[at].sites());
                }
            }
            Owner::JointScale(at) => {
                let sd = of_step(at, &spread.sd);
                if positive(&sd) {
                    put(scales(sd));
                }
            }
            Owner::JointFactor(at) if slot.constraint == Constraint::LowerCholesky => {
                let sd = of_step(at, &spread.sd);
                let n = sd.len();
                if positive(&sd) && n * n == count {
                    let mut factor = vec![0.0; n * n];
                    scales(sd).into_iter().enumerate().for_each(|(i, x)| factor[i * n + i] = x);
                    put(factor);
                }
            }
            _ => {}
        }
    }
    let left = model.sites.iter_enumerated().filter(|(id, _)| !moved.contains(id)).map(|(_, s)| s.name.clone());
    let left = left.collect();
    (warm, left)
}
