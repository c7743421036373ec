//! Mixtures of normals over the joint coordinates of the sites of a step.
//!
//!   q(u) = sum over c of w_c N_c(u),   w on the simplex,   ln q(u) = logsumexp over c of ln w_c + ln N_c(u)
//!
//! For gradients the expectation over components is a sum, not a draw: the ELBO is `sum over c of w_c E_c[ln p(u) - ln q(u)]`
//! with one reparameterized draw of every component, so that nothing needs a score function. That is k evaluations of the
//! model in a step, and the product of the numbers of components where a guide has several mixtures: a *stratum* is one
//! choice of a component for each. As elsewhere the parameters inside ln q are held constant; over all components the
//! score has mean zero, also that of the weights, whose gradient is then `E_c[ln p - ln q]`.
//! Elsewhere (draws, importance ratios, the final ELBO) a component is drawn.
//! Source: Morningstar et al. 2021, "Automatic differentiation variational inference with mixtures", arXiv:2003.01687.

use super::params::{Init, Owner, Slots};
use super::{Lowering, Mode};
use crate::check::typed::*;
use crate::dist::{Dist, DistId};
use crate::ir::{Shape, ValueId};
use crate::ops::NoiseKind;

/// Every choice of a component for each mixture of a guide, by the step of the guide: one empty choice without mixtures.
pub fn strata(guide: &Guide) -> Vec<Vec<(usize, usize)>> {
    let mut all = vec![Vec::new()];
    for (at, step) in guide.steps.iter().enumerate() {
        if let GuideStep::Family { family: Family::Mixture { components, .. }, .. } = step {
            let longer =
                |s: &Vec<(usize, usize)>| (0..*components).map(|c| [s.clone(), vec![(at, c)]].concat()).collect();
            all = all.iter().flat_map(|s| -> Vec<Vec<(usize, usize)>> { longer(s) }).collect();
        }
    }
    all
}

/// The parameters of a mixture of `k` normals over `n` coordinates, the arrays of step `at` of the guide; `fans` has the
/// number of coordinates of each site and the fan-in scale of weights (0 elsewhere).
pub(super) fn slots(
    slots: &mut Slots,
    at: usize,
    prefix: &str,
    (k, of): (usize, Component),
    sites: &[SiteId],
    fans: Vec<(usize, f64)>,
) {
    let n: usize = fans.iter().map(|f| f.0).sum();
    let pieces = sites.iter().zip(fans).map(|(&s, (count, fan))| (s, count, fan)).collect();
    let (real, positive) = (Constraint::Real, Constraint::Positive);
    let scale = Init::PriorScale(sites.to_vec());
    let mut add = |name: &str, owner, shape: Vec<usize>, constraint, init| {
        slots.push(format!("{prefix}.{name}"), owner, shape.into(), constraint, init, false);
    };
    add("weights", Owner::MixtureWeights(at), vec![k], Constraint::Simplex, Init::Constant(1.0));
    add("loc", Owner::JointLoc(at), vec![k, n], real, Init::Scattered(pieces));
    match of {
        Component::MeanField => add("scale", Owner::JointScale(at), vec![k, n], positive, scale),
        Component::FullRank => {
            add("scale_tril", Owner::JointFactor(at), vec![k, n, n], Constraint::LowerCholesky, scale);
        }
        Component::LowRank(rank) => {
            let rank = super::low_rank::rank(rank, n);
            add("factor", Owner::JointFactor(at), vec![k, n, rank], real, Init::PriorFactor(sites.to_vec()));
            add("scale", Owner::JointScale(at), vec![k, n], positive, scale);
        }
    }
}

impl Lowering<'_> {
    /// Begins a stratum: everything that is random is drawn anew, the mixtures named from the components named. Its
    /// weight, none without mixtures.
    pub fn enter_stratum(&mut self, stratum: Vec<(usize, usize)>) -> Option<ValueId> {
        self.forget_draws();
        let weights: Vec<ValueId> = stratum
            .iter()
            .map(|&(at, c)| {
                let weights = self.learnable(Owner::MixtureWeights(at), Mode::Live);
                self.g.index_axis(weights, 0, c)
            })
            .collect();
        self.stratum = stratum;
        weights.into_iter().reduce(|a, b| self.g.mul(a, b))
    }

    /// The draw of step `at` of the guide: value, log density, and the latter with its parameters held constant.
    pub(super) fn mixture_draw(&mut self, at: usize, of: Component) -> (ValueId, ValueId, ValueId) {
        let live = self.mixture_params(at, of, Mode::Live);
        let fixed = self.mixture_params(at, of, Mode::Detached);
        let chosen = self.stratum.iter().find(|(step, _)| *step == at).map(|s| s.1);
        let drawn = match chosen {
            Some(_) => None,
            None => {
                let weights = self.g.stop_gradient(live.weights);
                Some(Dist::row(DistId::CATEGORICAL_PROBS, [weights]).sample(&mut self.g, &Shape::scalar()))
            }
        };
        let mut own = |v: ValueId| match (chosen, drawn) {
            (Some(c), _) => self.g.index_axis(v, 0, c),
            (None, Some(index)) => self.g.gather(v, index),
            (None, None) => unreachable!("a component is chosen or drawn"),
        };
        let loc = own(live.loc);
        let (scale, factor) = (live.scale.map(&mut own), live.factor.map(&mut own));
        let n = self.g.shape(loc)[0];
        let mut u = loc;
        if let Some(factor) = factor {
            let columns = self.g.shape(factor)[1];
            let noise = self.g.noise(NoiseKind::Normal, Shape::from([columns, 1]));
            let step = self.g.matmul(factor, false, noise, false);
            let step = self.g.reshape(step, [n]);
            u = self.g.add(u, step);
        }
        if let Some(scale) = scale {
            let noise = self.g.noise(NoiseKind::Normal, Shape::from([n]));
            let step = self.g.mul(scale, noise);
            u = self.g.add(u, step);
        }
        let [log_prob, path] = [live, fixed].map(|p| self.mixture_density(u, &p));
        (u, log_prob, path)
    }

    fn mixture_params(&mut self, at: usize, of: Component, mode: Mode) -> Params {
        let mut get = |owner| self.learnable(owner, mode);
        let (weights, loc) = (get(Owner::MixtureWeights(at)), get(Owner::JointLoc(at)));
        let (factor, scale) = match of {
            Component::MeanField => (None, Some(get(Owner::JointScale(at)))),
            Component::FullRank => (Some(get(Owner::JointFactor(at))), None),
            Component::LowRank(_) => (Some(get(Owner::JointFactor(at))), Some(get(Owner::JointScale(at)))),
        };
        Params { weights, loc, factor, scale }
    }

    fn mixture_density(&mut self, u: ValueId, p: &Params) -> ValueId {
        let g = &mut self.g;
        let k = g.shape(p.weights)[0];
        let each: Vec<ValueId> = (0..k)
            .map(|c| {
                let loc = g.index_axis(p.loc, 0, c);
                let factor = p.factor.map(|f| g.index_axis(f, 0, c));
                let scale = p.scale.map(|s| g.index_axis(s, 0, c));
                let log_prob = match (factor, scale) {
                    (None, Some(scale)) => {
                        let each = Dist::row(DistId::NORMAL, [loc, scale]).log_prob(g, u);
                        g.sum_all(each)
                    }
                    (Some(factor), None) => Dist::row(DistId::MULTIVARIATE_NORMAL_TRIL, [loc, factor]).log_prob(g, u),
                    (Some(factor), Some(scale)) => super::low_rank::log_prob(g, u, loc, factor, scale),
                    (None, None) => unreachable!("a component has a scale or a factor"),
                };
                g.reshape(log_prob, [1])
            })
            .collect();
        let each = g.concat(&each, 0);
        let log_weights = g.log(p.weights);
        let each = g.add(log_weights, each);
        g.logsumexp(each, &[0])
    }
}

/// The parameters of all components, live or held constant.
#[derive(Clone, Copy)]
struct Params {
    weights: ValueId,
    loc: ValueId,
    factor: Option<ValueId>,
    scale: Option<ValueId>,
}
