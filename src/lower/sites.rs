//! Where the values of latent sites come from: the prior, a guide, or values given from outside.

use super::params::Owner;
use super::{Lowering, Mode};
use crate::check::typed::*;
use crate::dist::{Dist, DistId, SupportKind};
use crate::ir::{Builder, DType, InputId, InputKind, Shape, ValueId};
use crate::ops::{NoiseKind, Op};

/// Where the values of latent sites come from.
#[derive(Clone, PartialEq, Debug)]
pub enum SiteSource {
    /// Forward draws from the prior.
    Prior,
    /// Draws from guide `.0` of the program, which carry gradients.
    Guide(usize),
    /// Inputs, one for each site, except sites that have rows of `resampled` sizes: those are drawn by the guide when it
    /// is amortized there, otherwise from their prior given the other sites.
    Given {
        /// The guide that may be amortized, if one was trained.
        guide: Option<usize>,
        /// The sizes that have changed since the fit.
        resampled: Vec<crate::check::size::SizeId>,
    },
    /// Free coordinates, one input for each site: through the bijector of its support, or, for the sites of
    /// `noncentered`, as a standard variable that its prior scales and moves.
    Free {
        /// The sites with a standard variable; see [`super::noncentered`].
        noncentered: Vec<SiteId>,
    },
}

/// A site that is a function of free coordinates.
#[derive(Clone, Copy, Debug)]
pub struct FreeSite {
    /// The input that holds its coordinates.
    pub input: ValueId,
    /// ln |det J| of the map from the coordinates, batch shaped.
    pub log_det: ValueId,
    /// For a standard variable: its log density in the coordinates, which stands for the site's prior and Jacobian.
    pub log_prob: Option<ValueId>,
}

/// What a guide says about a site that it has drawn.
#[derive(Clone, Debug)]
pub struct GuideDraw {
    /// The value.
    pub value: ValueId,
    /// The distribution that the value was drawn from, when it is one of the table in the site's own space.
    pub dist: Option<Dist>,
    /// ln q [nats] with live parameters, in the shape of independent pieces; `None` for a point mass and for members of
    /// a joint family after the first, which carries the whole.
    pub log_prob: Option<ValueId>,
    /// The same with the learnable leaves held constant: its gradient is the path derivative alone.
    pub log_prob_path: Option<ValueId>,
    /// For a joint family: its step, which has one density for all its sites.
    pub joint: Option<usize>,
}

/// A draw of a joint family before it is taken apart.
#[derive(Clone, Debug)]
struct Joint {
    u: ValueId,
    log_prob: ValueId,
    log_prob_path: ValueId,
}

impl<'p> Lowering<'p> {
    /// The inputs of the parameters, and of the sites whose values are given from outside: all but those that the graph
    /// draws itself.
    pub fn given(&mut self, slots: &[ValueId]) -> (Vec<InputId>, Vec<(SiteId, InputId)>) {
        let values: Vec<(SiteId, ValueId)> = self.model.sites.indices().map(|id| (id, self.site_value(id))).collect();
        let graph = self.g.graph();
        let given = |&(_, v): &(SiteId, ValueId)| matches!(graph.nodes[v].op, Op::Input(_));
        let sites = values.into_iter().filter(given).map(|(id, v)| (id, graph.input_of(v))).collect();
        (slots.iter().map(|&v| graph.input_of(v)).collect(), sites)
    }

    /// The value of a site, drawn when it is first asked for.
    pub fn site_value(&mut self, site: SiteId) -> ValueId {
        if let Some(v) = self.site_values[site] {
            return v;
        }
        assert!(!self.site_active[site], "the checker orders sites: {} depends on itself", self.model.sites[site].name);
        self.site_active[site] = true;
        let v = match self.source.clone() {
            SiteSource::Prior => self.prior_draw(site),
            SiteSource::Guide(guide) => self.guide_draw(guide, site),
            SiteSource::Given { guide, resampled } => {
                let s = &self.model.sites[site];
                let changed = s.ty.shape.iter().any(|d| resampled.iter().any(|&r| d.mentions(r)));
                if !changed {
                    let (name, shape) = (s.name.clone(), self.shape(&s.ty.shape));
                    self.g.input(name, shape, DType::Real, InputKind::Batch)
                } else {
                    match guide.and_then(|guide| self.amortized(guide, site)) {
                        Some(dist) => {
                            let dist = self.dist(&dist, Mode::Live);
                            let shape = self.shape(&self.model.sites[site].ty.shape);
                            let value = dist.sample(&mut self.g, &shape);
                            let log_prob = dist.log_prob(&mut self.g, value);
                            self.guide_draws[site] = Some(GuideDraw {
                                value,
                                dist: Some(dist),
                                log_prob: Some(log_prob),
                                log_prob_path: None,
                                joint: None,
                            });
                            value
                        }
                        None => self.prior_draw(site),
                    }
                }
            }
            SiteSource::Free { noncentered } => self.free_site(site, noncentered.contains(&site)),
        };
        self.site_active[site] = false;
        self.site_values[site] = Some(v);
        v
    }
    /// The explicit distribution of a site in a guide, when it has no hole of its own.
    pub fn amortized(&self, guide: usize, site: SiteId) -> Option<DistExpr> {
        self.program.guides.get(guide)?.steps.iter().find_map(|step| match step {
            GuideStep::Explicit { site: s, dist, .. } if *s == site => {
                let hole = |e: ExprId| matches!(self.program.exprs[e].kind, ExprKind::Hole(_));
                (!dist.args().into_iter().any(hole)).then(|| dist.clone())
            }
            _ => None,
        })
    }

    /// A draw from the prior; an improper prior gives the centre of its unconstrained space.
    fn prior_draw(&mut self, site: SiteId) -> ValueId {
        let s = &self.model.sites[site];
        if let Some(forward) = s.forward {
            return self.expr(forward);
        }
        let dist = self.dist(&s.dist, Mode::Live);
        let shape = self.shape(&s.ty.shape);
        if dist.is_proper() {
            return dist.sample(&mut self.g, &shape);
        }
        let support = dist.support();
        let bounds = dist.bounds(&mut self.g);
        let free = support.unconstrained_shape(&shape).expect("real sites have unconstrained coordinates");
        let u = self.g.full(0.0, free);
        support.constrain(&mut self.g, u, bounds).0
    }

    fn guide_draw(&mut self, guide: usize, site: SiteId) -> ValueId {
        let program = self.program;
        let (at, step) = program.guides[guide]
            .steps
            .iter()
            .enumerate()
            .find(|(_, s)| s.sites().contains(&site))
            .expect("guides cover every site");
        let before = self.g.set_origin(Some(step.span()));
        let draw = match step {
            GuideStep::Explicit { dist, .. } => self.explicit_draw(site, dist),
            GuideStep::Family { family: Family::MeanField, .. } => self.mean_field_draw(site),
            GuideStep::Family { family: Family::Delta, .. } => self.delta_draw(site),
            GuideStep::Family { family: Family::Dropout(rate), .. } => self.dropout_draw(site, *rate),
            GuideStep::Family {
                family: family @ (Family::FullRank | Family::LowRank(_) | Family::Flow(_) | Family::Mixture { .. }),
                sites,
                ..
            } => self.joint_family_draw(at, *family, sites, site),
            GuideStep::Family { family: family @ (Family::Structured | Family::Standardized), sites, .. } => {
                self.structured_draw(site, sites, *family)
            }
            GuideStep::Family { family: Family::Laplace, .. } => unreachable!("another algorithm fits it"),
            GuideStep::Family { family: Family::Later(name), .. } => {
                unreachable!("`{name}` is refused before lowering")
            }
        };
        self.g.set_origin(before);
        let value = draw.value;
        self.guide_draws[site] = Some(draw);
        value
    }

    fn explicit_draw(&mut self, site: SiteId, d: &DistExpr) -> GuideDraw {
        let live = self.dist(d, Mode::Live);
        let shape = self.shape(&self.model.sites[site].ty.shape);
        let value = match live.rsample(&mut self.g, &shape) {
            Some(value) => value,
            None => live.sample(&mut self.g, &shape),
        };
        let value = self.held(site, value);
        let detached = self.dist(d, Mode::Detached);
        let log_prob = live.log_prob(&mut self.g, value);
        let log_prob_path = detached.log_prob(&mut self.g, value);
        GuideDraw { value, dist: Some(live), log_prob: Some(log_prob), log_prob_path: Some(log_prob_path), joint: None }
    }

    /// The draw of a site, held constant where its gradient is by the score function, or with its derivative multiplied
    /// by the factor of its row.
    pub(super) fn held(&mut self, site: SiteId, draw: ValueId) -> ValueId {
        if self.scored.contains(&site) {
            return self.g.stop_gradient(draw);
        }
        let Some(factor) = self.path_factor else { return draw };
        let mut shape = vec![1; self.g.rank(draw)];
        shape[0] = self.g.shape(factor).count();
        let factor = self.g.reshape(factor, shape);
        let fixed = self.g.stop_gradient(draw);
        let moved = self.g.sub(draw, fixed);
        let moved = self.g.mul(moved, factor);
        self.g.add(fixed, moved)
    }

    /// The prior's support and its ends, which may depend on other sites.
    pub(crate) fn support(&mut self, site: SiteId) -> (SupportKind, Option<(ValueId, ValueId)>) {
        let d = &self.model.sites[site].dist;
        let support = d.support();
        if !support.needs_bounds() {
            return (support, None);
        }
        let prior = self.dist(d, Mode::Live);
        (support, prior.bounds(&mut self.g))
    }
    pub(crate) fn free_shape(&self, site: SiteId) -> Shape {
        let s = &self.model.sites[site];
        let shape = self.shape(&s.ty.shape);
        s.dist.support().unconstrained_shape(&shape).expect("real sites have unconstrained coordinates")
    }

    fn free_site(&mut self, site: SiteId, standard: bool) -> ValueId {
        let s = &self.model.sites[site];
        let before = self.g.set_origin(Some(self.program.exprs[s.value].origin()));
        let name = s.name.clone();
        let kind = if self.fixed { InputKind::Data } else { InputKind::Param };
        let (value, free) = if standard {
            let prior = self.dist(&s.dist, Mode::Live);
            let shape = self.shape(&s.ty.shape);
            let input = self.g.input(name, shape, DType::Real, kind);
            let (value, log_prob) = super::noncentered::from_standard(&mut self.g, &prior, input);
            let log_det = self.g.scalar(0.0);
            (value, FreeSite { input, log_det, log_prob: Some(log_prob) })
        } else {
            let (support, bounds) = self.support(site);
            let shape = self.free_shape(site);
            let input = self.g.input(name, shape, DType::Real, kind);
            let (value, log_det) = support.constrain(&mut self.g, input, bounds);
            (value, FreeSite { input, log_det, log_prob: None })
        };
        self.g.set_origin(before);
        self.free_sites[site] = Some(free);
        value
    }

    fn mean_field_draw(&mut self, site: SiteId) -> GuideDraw {
        let (support, bounds) = self.support(site);
        let loc = self.learnable(Owner::Loc(site), Mode::Live);
        let scale = self.learnable(Owner::Scale(site), Mode::Live);
        let loc_fixed = self.learnable(Owner::Loc(site), Mode::Detached);
        let scale_fixed = self.learnable(Owner::Scale(site), Mode::Detached);
        let shape = self.free_shape(site);
        // In the site's own space where that is a family of the table, so that closed forms apply.
        let family = match support {
            SupportKind::Real => Some(DistId::NORMAL),
            SupportKind::Positive | SupportKind::NonNegative => Some(DistId::LOG_NORMAL),
            _ => None,
        };
        if let Some(family) = family {
            let live = Dist::row(family, [loc, scale]);
            let value = live.rsample(&mut self.g, &shape).expect("normals are reparameterized");
            let value = self.held(site, value);
            let log_prob = live.log_prob(&mut self.g, value);
            let log_prob_path = Dist::row(family, [loc_fixed, scale_fixed]).log_prob(&mut self.g, value);
            return GuideDraw {
                value,
                dist: Some(live),
                log_prob: Some(log_prob),
                log_prob_path: Some(log_prob_path),
                joint: None,
            };
        }
        let normal = Dist::row(DistId::NORMAL, [loc, scale]);
        let u = normal.rsample(&mut self.g, &shape).expect("normals are reparameterized");
        let u = self.held(site, u);
        let (value, log_det) = support.constrain(&mut self.g, u, bounds);
        let path = Dist::row(DistId::NORMAL, [loc_fixed, scale_fixed]);
        let densities = [normal, path].map(|q| {
            let log_prob = q.log_prob(&mut self.g, u);
            let log_prob = self.g.sum_last(log_prob, support.free_rank());
            self.g.sub(log_prob, log_det)
        });
        GuideDraw { value, dist: None, log_prob: Some(densities[0]), log_prob_path: Some(densities[1]), joint: None }
    }

    pub(super) fn delta_draw(&mut self, site: SiteId) -> GuideDraw {
        let (support, bounds) = self.support(site);
        let u = self.learnable(Owner::Loc(site), Mode::Live);
        let (value, _) = support.constrain(&mut self.g, u, bounds);
        GuideDraw { value, dist: None, log_prob: None, log_prob_path: None, joint: None }
    }

    fn joint_family_draw(&mut self, at: usize, family: Family, sites: &[SiteId], site: SiteId) -> GuideDraw {
        let first = !sites.iter().any(|&s| self.guide_draws[s].is_some());
        let joint = self.joint_draw(at, family, site);
        // This site's coordinates, then its own space.
        let before: usize = sites.iter().take_while(|&&s| s != site).map(|&s| self.free_shape(s).count()).sum();
        let shape = self.free_shape(site);
        let flat = self.g.slice(joint.u, 0, before, shape.count());
        let u = self.g.reshape(flat, shape);
        let (support, bounds) = self.support(site);
        let (value, log_det) = support.constrain(&mut self.g, u, bounds);
        let log_det = self.g.sum_all(log_det);
        let minus = self.g.neg(log_det);
        let is_real = support == SupportKind::Real;
        let own = |g: &mut Builder, whole: ValueId| match (first, is_real) {
            (true, true) => Some(whole),
            (true, false) => Some(g.add(whole, minus)),
            (false, true) => None,
            (false, false) => Some(minus),
        };
        let log_prob = own(&mut self.g, joint.log_prob);
        let log_prob_path = own(&mut self.g, joint.log_prob_path);
        GuideDraw { value, dist: None, log_prob, log_prob_path, joint: Some(at) }
    }
    /// The joint draw of a step, `u = loc + L e` for a full covariance, and its log density; the same nodes at every call, found again by their slots.
    fn joint_draw(&mut self, at: usize, family: Family, site: SiteId) -> Joint {
        if let Some(j) = self.joints.get(&at) {
            return Joint { u: j.0, log_prob: j.1, log_prob_path: j.2 };
        }
        let special = match family {
            Family::LowRank(_) => Some(self.low_rank_draw(at, site)),
            Family::Flow(flow) => Some(self.flow_draw(at, flow)),
            Family::Mixture { of, .. } => Some(self.mixture_draw(at, of)),
            _ => None,
        };
        if let Some((u, log_prob, log_prob_path)) = special {
            self.joints.insert(at, (u, log_prob, log_prob_path));
            return Joint { u, log_prob, log_prob_path };
        }
        let loc = self.learnable(Owner::JointLoc(at), Mode::Live);
        let factor = self.learnable(Owner::JointFactor(at), Mode::Live);
        let n = self.g.shape(loc)[0];
        let noise = self.g.noise(NoiseKind::Normal, Shape::from([n, 1]));
        let step = self.g.matmul(factor, false, noise, false);
        let step = self.g.reshape(step, [n]);
        let u = self.g.add(loc, step);
        let u = self.held(site, u);
        let loc_fixed = self.learnable(Owner::JointLoc(at), Mode::Detached);
        let factor_fixed = self.learnable(Owner::JointFactor(at), Mode::Detached);
        let log_prob = Dist::row(DistId::MULTIVARIATE_NORMAL_TRIL, [loc, factor]).log_prob(&mut self.g, u);
        let log_prob_path =
            Dist::row(DistId::MULTIVARIATE_NORMAL_TRIL, [loc_fixed, factor_fixed]).log_prob(&mut self.g, u);
        self.joints.insert(at, (u, log_prob, log_prob_path));
        Joint { u, log_prob, log_prob_path }
    }

    /// Draws every site in the order of the guide, then of the model.
    pub fn draw_all(&mut self) {
        if let SiteSource::Guide(guide) = self.source {
            let program = self.program;
            for step in &program.guides[guide].steps {
                for &site in step.sites() {
                    self.site_value(site);
                }
            }
        }
        for site in self.model.sites.indices() {
            self.site_value(site);
        }
    }
}
