//! Predictions of a model that is linearized at its mode.
//!
//!   eta(w) ~ eta(m) + J (w - m),   J = d eta / d w at m
//!
//! where w are the coordinates in which laplace has its normal, m its mode, and eta the parameters of an observation's
//! distribution without bounds: locations and logits as they are, logarithms of what is positive, logits of what lies
//! between 0 and 1, logarithms of probabilities, normalized again. With draws of w from the normal these are predictions of
//! the model for which that normal is the posterior. A network at such draws themselves is another matter: they leave the
//! region where its quadratic holds. Source: Immer, Korzepa & Bauer 2021, arXiv:2008.08400.
//!
//! The product with J is the derivative of c^T J v by c, which does not depend on c: two reverse sweeps, of which the first
//! leaves nothing behind. What depends on the mode alone is computed once for the rows of a block, whatever the number of
//! draws.

use crate::autodiff::gradient;
use crate::check::typed::*;
use crate::dist::{Dist, SupportKind, get};
use crate::exec::Executable;
use crate::index::Idx;
use crate::ir::passes::stable;
use crate::ir::{DType, InputId, InputKind, ValueId};
use crate::kernels::Scalar;
use crate::lower::{Lowering, Mode, SiteSource, SizeValues, Slots, noncentered};

/// Where a model is linearized, and in which directions.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Linearized {
    /// The sites that have standard variables.
    pub noncentered: Vec<SiteId>,
    /// The sites that are not the same in all draws.
    pub moving: Vec<SiteId>,
    /// The coordinates of the mode, site after site; empty as long as it is not known.
    pub mode: Vec<f64>,
}

/// Observations at the linearized model.
pub(super) struct Lowered {
    /// The distribution of each, and its value where it is asked for.
    observations: std::vec::IntoIter<(Dist, Option<ValueId>)>,
    /// The input for the indices of the rows, if something asks for them.
    pub indices: Option<InputId>,
    /// The inputs for the draw of each site.
    pub given: Vec<(SiteId, InputId)>,
    /// The inputs for the coordinates of the mode, in the order of the sites.
    pub mode: Vec<InputId>,
}

impl Lowered {
    /// The next observation, in the order in which they were asked for.
    pub fn next(&mut self) -> (Dist, Option<ValueId>) {
        self.observations.next().expect("as many as were asked for")
    }
}

/// A parameter of an observation that depends on what moves.
struct Moved {
    observation: usize,
    param: usize,
    support: SupportKind,
    eta: ValueId,
}

impl Linearized {
    /// Gives a graph the coordinates of the mode.
    pub(super) fn give<F: Scalar>(&self, inputs: &[InputId], exe: &mut Executable<F>) {
        let mut rest = &self.mode[..];
        for &input in inputs {
            let own = exe.input_mut(input);
            let (mine, after) = rest.split_at(own.len());
            own.iter_mut().zip(mine).for_each(|(to, &x)| *to = F::from_f64(x));
            rest = after;
        }
    }

    /// Whether the observations of `program` can be linearized.
    ///
    /// # Errors
    /// Why not, as a sentence about the model.
    pub fn check(&self, program: &Program, sizes: &SizeValues) -> Result<(), String> {
        let model = program.model.as_ref().expect("fitted programs have a model");
        if !model.discrete.is_empty() {
            return Err("the model has discrete latents".to_string());
        }
        if let Some((data, _)) = model.simulated.first() {
            return Err(format!("`{}` depends on its own earlier elements", program.data[*data].name));
        }
        let slots = Slots::default();
        let source = SiteSource::Given { guide: None, resampled: Vec::new() };
        let mut lo = Lowering::new(program, &slots, sizes.clone(), None, source);
        let all: Vec<(usize, bool)> = (0..model.observations.len())
            .filter(|&at| model.observations[at].data.is_some())
            .map(|at| (at, false))
            .collect();
        self.lower(&mut lo, &all).map(drop)
    }

    /// Lowers observations, each with its value where that is asked for. Expressions that were lowered before have other
    /// values afterwards: nothing else may be lowered.
    pub(super) fn lower(&self, lo: &mut Lowering<'_>, observations: &[(usize, bool)]) -> Result<Lowered, String> {
        let model = lo.model;
        // The coordinates of the draw.
        let mut given = Vec::new();
        let mut of_draw = Vec::new();
        for id in model.sites.indices() {
            let value = lo.site_value(id);
            given.push((id, lo.g.graph().input_of(value)));
            if !self.moving.contains(&id) {
                continue;
            }
            let dist = &model.sites[id].dist;
            let u = if self.noncentered.contains(&id) {
                let prior = lo.dist(dist, Mode::Live);
                noncentered::to_standard(&mut lo.g, &prior, value)
            } else {
                let (support, bounds) = lo.support(id);
                support.unconstrain(&mut lo.g, value, bounds)
            };
            of_draw.push(u);
        }
        // The model at the mode.
        lo.forget_draws();
        (lo.source, lo.fixed) = (SiteSource::Free { noncentered: self.noncentered.clone() }, true);
        lo.draw_all();
        let at_mode = |lo: &Lowering<'_>, id: SiteId| lo.free_sites[id].expect("all sites are drawn").input;
        let mode = model.sites.indices().map(|id| lo.g.graph().input_of(at_mode(lo, id))).collect();
        let mut places: Vec<ValueId> =
            model.sites.indices().filter(|id| self.moving.contains(id)).map(|id| at_mode(lo, id)).collect();
        let mut dists = Vec::new();
        for &(at, value) in observations {
            let o = &model.observations[at];
            let Dist::Row { def, params } = lo.dist(&o.dist, Mode::Live) else {
                return Err(format!("`{}` has a distribution that is made of others, `{}`", o.name, o.dist.name()));
            };
            let x = value.then(|| lo.expr(o.value));
            dists.push((def, params, x));
        }
        let indices = lo.row_index.map(|v| lo.g.graph().input_of(v));
        let depends = depend_on(lo, &places);
        let mut moved = Vec::new();
        for (observation, (def, params, _)) in dists.iter().enumerate() {
            for (param, (&v, p)) in params.iter().zip(get(*def).params).enumerate() {
                if p.is_shape() || !depends[v.index()] {
                    continue;
                }
                let name = &model.observations[observations[observation].0].name;
                if p.dtype() != DType::Real || p.support.needs_bounds() {
                    return Err(format!("`{}` of `{name}` has no coordinates without bounds", p.name));
                }
                let eta = match p.support {
                    SupportKind::Simplex => lo.g.log(v),
                    support => support.unconstrain(&mut lo.g, v, None),
                };
                moved.push(Moved { observation, param, support: p.support, eta });
            }
        }
        // The adjoint of an unstable form would be as unstable.
        let kept = places.iter_mut().chain(&mut of_draw).chain(moved.iter_mut().map(|m| &mut m.eta));
        let of_dists = dists.iter_mut().flat_map(|(_, params, x)| params.iter_mut().chain(x));
        stable::settle(&mut lo.g, kept.chain(of_dists));
        let mut covectors = Vec::new();
        let mut terms = Vec::new();
        for m in &moved {
            let shape = lo.g.shape(m.eta);
            let c = lo.g.input("covector", shape, DType::Real, InputKind::Data);
            let product = lo.g.mul(m.eta, c);
            terms.push(lo.g.sum_all(product));
            covectors.push(c);
        }
        let why = |e: crate::autodiff::NoGradient| format!("its predictions have no derivative: {e}");
        let total = lo.g.add_all(&terms);
        let slopes = gradient(&mut lo.g, total, &places).map_err(why)?;
        let mut terms = Vec::new();
        for ((slope, &at), &u) in slopes.into_iter().zip(&places).zip(&of_draw) {
            let v = lo.g.sub(u, at);
            let product = lo.g.mul(slope, v);
            terms.push(lo.g.sum_all(product));
        }
        let total = lo.g.add_all(&terms);
        let tangents = gradient(&mut lo.g, total, &covectors).map_err(why)?;
        for (m, tangent) in moved.iter().zip(tangents) {
            let eta = lo.g.add(m.eta, tangent);
            dists[m.observation].1[m.param] = match m.support {
                SupportKind::Simplex => {
                    let log_probs = lo.g.log_softmax(eta);
                    lo.g.exp(log_probs)
                }
                support => support.constrain(&mut lo.g, eta, None).0,
            };
        }
        let observations: Vec<_> = dists.into_iter().map(|(def, params, x)| (Dist::row(def, params), x)).collect();
        Ok(Lowered { observations: observations.into_iter(), indices, given, mode })
    }
}

/// For each value of the graph whether it depends on one of `places`.
fn depend_on(lo: &Lowering<'_>, places: &[ValueId]) -> Vec<bool> {
    let graph = lo.g.graph();
    let mut depends = vec![false; graph.nodes.len()];
    places.iter().for_each(|v| depends[v.index()] = true);
    for (id, node) in graph.nodes.iter_enumerated() {
        let through = node.operands.iter().any(|o| depends[o.index()]);
        depends[id.index()] |= through;
    }
    depends
}
