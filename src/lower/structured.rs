//! Guides that follow the model's dependencies: each site a normal in unconstrained space, given those before it.
//!
//! For the coordinates `z` of a site, with independent standard normal noise `e`:
//!
//!   z = loc + sum over parents of (weight . e_parent) + a . z_before + scale * e
//!
//! - Parents are the sites of the same family that the site's prior depends on; `e_parent` is their noise. The weight is
//!   one number for each element where the parent is a number, pairs elements where both arrays have one shape, and is a
//!   matrix elsewhere, as long as it stays small ([`DENSE`]).
//! - `a . z_before` is there where a loop makes the elements of a vector depend on each other: a first-order chain.
//! - A location-scale site whose prior depends on other sites has a standard variable for `z`
//!   (`lower/noncentered.rs`), so that its guide moves and widens with its prior.
//!
//! All weights start at 0, where this is `mean_field`. Without weights and chains it is what `mean_field` becomes under
//! `reparam = noncentered` ([`Family::Standardized`]).
//! Compare Hoffman & Blei 2015, "Structured stochastic variational inference", arXiv:1404.4114.

use super::noncentered;
use super::params::Owner;
use super::{GuideDraw, Lowering, Mode};
use crate::check::settings::is_location_scale;
use crate::check::typed::*;
use crate::dist::{Dist, DistId, SupportKind, get};
use crate::ir::{Builder, DType, Shape, ValueId};
use crate::ops::NoiseKind;

/// The largest matrix of weights between two sites [elements].
const DENSE: usize = 4096;

/// How a site depends on a parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// The parent is a number.
    Scalar,
    /// Element by element.
    Pairs,
    /// Every element on every element of the parent.
    Matrix,
}

/// The structure of one site under the structured family over `sites`.
#[derive(Clone, Debug)]
pub struct Structure {
    /// The parents, with the kind of their weights.
    pub parents: Vec<(SiteId, Link)>,
    /// Whether its elements form a chain.
    pub chain: bool,
}

/// What site `site` depends on under a structured family over `sites`; `count` gives the number of coordinates of a
/// site, `None` where it has rows of a minibatch.
pub fn structure(
    program: &Program,
    model: &Model,
    sites: &[SiteId],
    site: SiteId,
    count: &dyn Fn(SiteId) -> Option<usize>,
) -> Structure {
    let s = &model.sites[site];
    let mut all: Vec<SiteId> = s.dist.args().into_iter().flat_map(|a| program.parents(a)).collect();
    all.sort();
    all.dedup();
    let chain = all.contains(&site) && s.ty.shape.len() == 1 && s.dist.event_rank() == 0 && count(site).is_some();
    let link = |p: SiteId| {
        let parent = &model.sites[p];
        let flat = parent.dist.event_rank() == 0 && s.dist.event_rank() == 0;
        if parent.ty.shape.is_empty() {
            Some(Link::Scalar)
        } else if flat && parent.ty.shape == s.ty.shape {
            Some(Link::Pairs)
        } else {
            let small = count(p)?.checked_mul(count(site)?)? <= DENSE;
            small.then_some(Link::Matrix)
        }
    };
    let parents = all.into_iter().filter(|p| *p < site && sites.contains(p));
    Structure { parents: parents.filter_map(|p| Some((p, link(p)?))).collect(), chain }
}

/// Whether a guide gives the site a standard variable: a location-scale prior that depends on other sites, and whose
/// elements do not depend on each other.
pub fn is_standardized(program: &Program, model: &Model, site: SiteId) -> bool {
    let s = &model.sites[site];
    let parents: Vec<SiteId> = s.dist.args().into_iter().flat_map(|a| program.parents(a)).collect();
    matches!(s.dist, DistExpr::Row { .. })
        && is_location_scale(&s.dist)
        && !s.absorbed
        && !parents.is_empty()
        && !parents.contains(&site)
}

/// The parameters of a conditional normal, live or detached.
struct Conditional {
    /// The mean without the chain's part.
    mean: ValueId,
    scale: ValueId,
    chain: Option<ValueId>,
}

impl<'p> Lowering<'p> {
    /// A draw of a site under [`Family::Structured`] or [`Family::Standardized`].
    pub(super) fn structured_draw(&mut self, site: SiteId, sites: &[SiteId], family: Family) -> GuideDraw {
        let program = self.program;
        // Parents first: their noise is part of this site's mean.
        let parents: Vec<(SiteId, ValueId)> = sites
            .iter()
            .filter(|&&p| self.slots.position(Owner::Weight(site, p)).is_some())
            .map(|&p| {
                self.site_value(p);
                (p, self.noises[p].expect("a parent of the same family has been drawn"))
            })
            .collect();
        let standard = family == Family::Standardized || is_standardized(program, self.model, site);
        let shape = self.free_shape(site);
        let noise = self.g.noise(NoiseKind::Normal, shape.clone());
        self.noises[site] = Some(noise);
        let live = self.conditional(site, &parents, &shape, Mode::Live);
        let path = self.conditional(site, &parents, &shape, Mode::Detached);
        let step = self.g.mul(live.scale, noise);
        let mut z = self.g.add(live.mean, step);
        if let Some(a) = live.chain {
            z = solve_chain(&mut self.g, a, z);
        }
        if standard { self.standardized(site, z, live, path) } else { self.plain(site, z, live, path) }
    }

    fn conditional(&mut self, site: SiteId, parents: &[(SiteId, ValueId)], shape: &Shape, mode: Mode) -> Conditional {
        let mut mean = self.learnable(Owner::Loc(site), mode);
        let scale = self.learnable(Owner::Scale(site), mode);
        for &(p, noise) in parents {
            let weight = self.learnable(Owner::Weight(site, p), mode);
            let part = if self.g.rank(noise) == 0 || self.g.shape(weight) == *shape {
                self.g.mul(weight, noise)
            } else {
                let count = self.g.shape(noise).count();
                let column = self.g.reshape(noise, [count, 1]);
                let sum = self.g.matmul(weight, false, column, false);
                self.g.reshape(sum, shape.clone())
            };
            mean = self.g.add(mean, part);
        }
        let chain = self.slots.position(Owner::Chain(site)).map(|_| self.learnable(Owner::Chain(site), mode));
        Conditional { mean, scale, chain }
    }

    /// `z` are the coordinates of the site in the unconstrained space of its support.
    fn plain(&mut self, site: SiteId, z: ValueId, live: Conditional, path: Conditional) -> GuideDraw {
        let (support, bounds) = self.support(site);
        let family = match support {
            SupportKind::Real => Some(DistId::NORMAL),
            SupportKind::Positive | SupportKind::NonNegative => Some(DistId::LOG_NORMAL),
            _ => None,
        };
        let (value, log_det) = support.constrain(&mut self.g, z, bounds);
        let [live, path] = [live, path].map(|c| (c.mean_at(&mut self.g, z), c.scale));
        if let Some(family) = family {
            let [live, path] = [live, path].map(|(mean, scale)| Dist::row(family, [mean, scale]));
            let log_prob = live.log_prob(&mut self.g, value);
            let log_prob_path = path.log_prob(&mut self.g, value);
            return GuideDraw {
                value,
                dist: Some(live),
                log_prob: Some(log_prob),
                log_prob_path: Some(log_prob_path),
                joint: None,
            };
        }
        let [log_prob, log_prob_path] = [live, path].map(|(mean, scale)| {
            let log_prob = Dist::row(DistId::NORMAL, [mean, scale]).log_prob(&mut self.g, z);
            let log_prob = self.g.sum_last(log_prob, support.free_rank());
            Some(self.g.sub(log_prob, log_det))
        });
        GuideDraw { value, dist: None, log_prob, log_prob_path, joint: None }
    }

    /// `z` is the standard variable of the site.
    fn standardized(&mut self, site: SiteId, z: ValueId, live: Conditional, path: Conditional) -> GuideDraw {
        let DistExpr::Row { def, .. } = self.model.sites[site].dist else { unreachable!("only rows are standardized") };
        let prior = self.dist(&self.model.sites[site].dist, Mode::Live);
        let (value, _) = noncentered::from_standard(&mut self.g, &prior, z);
        let Dist::Row { params, .. } = &prior else { unreachable!("a row of the program is a row of the graph") };
        let row = get(def);
        if let (Some(loc), Some(scale)) = (row.param("loc"), row.param("scale")) {
            // In the site's own space, where closed forms apply: a normal whatever the family of the prior.
            let family = if def == DistId::LOG_NORMAL { DistId::LOG_NORMAL } else { DistId::NORMAL };
            let (loc, scale) = (params[loc], params[scale]);
            let [live, path] = [live, path].map(|c| {
                let moved = self.g.mul(scale, c.mean);
                let mean = self.g.add(loc, moved);
                let width = self.g.mul(scale, c.scale);
                Dist::row(family, [mean, width])
            });
            let log_prob = live.log_prob(&mut self.g, value);
            let log_prob_path = path.log_prob(&mut self.g, value);
            return GuideDraw {
                value,
                dist: Some(live),
                log_prob: Some(log_prob),
                log_prob_path: Some(log_prob_path),
                joint: None,
            };
        }
        let log_scale = noncentered::log_det(&mut self.g, &prior);
        let [log_prob, log_prob_path] = [live, path].map(|c| {
            let log_prob = Dist::row(DistId::NORMAL, [c.mean, c.scale]).log_prob(&mut self.g, z);
            let log_prob = self.g.sum_last(log_prob, 1);
            Some(self.g.sub(log_prob, log_scale))
        });
        GuideDraw { value, dist: None, log_prob, log_prob_path, joint: None }
    }
}

impl Conditional {
    /// The mean of each element given those before it.
    fn mean_at(&self, g: &mut Builder, z: ValueId) -> ValueId {
        let Some(a) = self.chain else { return self.mean };
        let n = g.shape(z)[0];
        let before = g.slice(z, 0, 0, n - 1);
        let part = g.mul(a, before);
        let part = g.pad(part, 0, 1, 0);
        g.add(self.mean, part)
    }
}

/// `z` with `z_t = x_t + a_t z_(t-1)`: a lower bidiagonal system.
fn solve_chain(g: &mut Builder, a: ValueId, x: ValueId) -> ValueId {
    let n = g.shape(x)[0];
    let ones = g.constant(vec![1.0; n], Shape::from([n]), DType::Real);
    let identity = g.diag(ones);
    let below = g.diag(a);
    let below = g.pad(below, 0, 1, 0);
    let below = g.pad(below, 1, 0, 1);
    let system = g.sub(identity, below);
    let column = g.reshape(x, [n, 1]);
    let z = g.solve_triangular(system, column, true, false);
    g.reshape(z, [n])
}
