//! Which estimator each weight gets, and why.
//!
//! The expectation over the guide is estimated by reparameterized draws. Where a weight is used once, by a layer over a
//! batch, its noise need not be shared by all rows, which makes the gradient quieter at the same mean:
//!
//! - *local reparameterization* (Kingma, Salimans & Welling 2015, arXiv:1506.02557) draws the outputs of a dense layer,
//!   which are independent normals given a normal weight: exact there. On a convolution it drops the covariance of
//!   positions that share weights: only on request.
//! - *Flipout* (Wen et al. 2018, arXiv:1803.04386) multiplies one shared perturbation of the weight by random signs, one
//!   for each row and channel, constant over space; the mean is never flipped. Any family symmetric about its location.
//! - *exact* draws the weight anew for every row: what the other two are measured by, and what they save. Only on request.
//!
//! What cannot be reparameterized, and everything on request, has the gradient of its log density, times the value of the
//! bound at the draw less its mean at the other draws of the step (*score function* with leave-one-out control variates).
//!
//! A bias of such a layer is drawn for each row as well. A weight may be reshaped or transposed between its site and its
//! layer: that moves its elements and changes none, so their independence and the layer's two channels stay.
//!
//! The log densities of prior and guide are not touched: they see the shared draw. So does what the guide draws from a
//! weight (a code of it, for instance), as long as that and the layer's output stand in different terms of the density.

use crate::check::settings::EstimatorChoice;
use crate::check::typed::*;
use crate::check::weights::input_axis;
use crate::dist::DistId;
use std::collections::{HashMap, HashSet};

/// How the noise of a site enters the likelihood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Estimator {
    /// One draw shared by all rows.
    Shared,
    /// One perturbation with random signs for each row.
    Flipout,
    /// The outputs are drawn instead of the weight.
    LocalReparam,
    /// A draw for each row.
    Exact,
    /// A mask of the layer's inputs for each row.
    Dropout,
    /// One draw shared by all rows, whose gradient is that of its log density.
    Score,
}

impl Estimator {
    /// Its name in the language.
    pub fn name(self) -> &'static str {
        match self {
            Estimator::Shared => "reparam",
            Estimator::Flipout => "flipout",
            Estimator::LocalReparam => "local_reparam",
            Estimator::Exact => "exact",
            Estimator::Dropout => "dropout",
            Estimator::Score => "score",
        }
    }
}

/// The estimator of a site with the reason for it.
#[derive(Clone, PartialEq, Debug)]
pub struct Choice {
    /// The site.
    pub site: SiteId,
    /// Its estimator.
    pub estimator: Estimator,
    /// Why, in a few words.
    pub reason: &'static str,
}

/// The layer that uses a weight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Dense,
    Conv,
    /// The bias of either.
    Bias,
}

/// The family that the guide gives a site, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FamilyKind {
    Normal,
    Symmetric,
    Dropped,
    Other,
}

fn family(program: &Program, model: &Model, guide: &Guide, site: SiteId) -> FamilyKind {
    let kind = guide.steps.iter().find(|s| s.sites().contains(&site)).map(|step| match step {
        GuideStep::Family { family: Family::MeanField, .. } => {
            let real = model.sites[site].dist.support() == crate::dist::SupportKind::Real;
            if real { FamilyKind::Normal } else { FamilyKind::Other }
        }
        GuideStep::Family { family: Family::Dropout(_), .. } => match input_axis(program, model, site) {
            Some(_) => FamilyKind::Dropped,
            None => FamilyKind::Other,
        },
        GuideStep::Explicit { dist: DistExpr::Row { def, args, .. }, .. } => {
            // Parameters with the weight's own shape: holes have it.
            let holes = args.iter().all(|&a| matches!(program.exprs[a].kind, ExprKind::Hole(_)));
            match *def {
                DistId::NORMAL if holes => FamilyKind::Normal,
                DistId::LAPLACE | DistId::LOGISTIC if holes => FamilyKind::Symmetric,
                _ => FamilyKind::Other,
            }
        }
        _ => FamilyKind::Other,
    });
    kind.unwrap_or(FamilyKind::Other)
}

/// The estimator of every latent site under `guide`.
pub fn choose(program: &Program, guide: &Guide, choice: EstimatorChoice) -> Vec<Choice> {
    let Some(model) = &program.model else { return Vec::new() };
    let uses = uses(program, model, guide);
    let shared = |site, reason| Choice { site, estimator: Estimator::Shared, reason };
    model
        .sites
        .indices()
        .map(|site| {
            if let Some(reason) = scored(guide, site, choice) {
                return Choice { site, estimator: Estimator::Score, reason };
            }
            if choice == EstimatorChoice::Score {
                return shared(site, "a point mass has no score");
            }
            if choice == EstimatorChoice::Reparam {
                return shared(site, "as asked for");
            }
            let layer = match uses.model.get(&site).map(Vec::as_slice) {
                Some([Some(_)]) if uses.guide.get(&site).is_some_and(|u| u.iter().any(Option::is_some)) => {
                    return shared(site, "a layer of the guide uses it too");
                }
                Some([Some(_)]) if uses.entangled.contains(&site) => {
                    return shared(site, "the guide draws from it what it meets in the model");
                }
                Some([Some(layer)]) => *layer,
                Some([_]) => return shared(site, "not the weight of a layer"),
                Some(_) => return shared(site, "used more than once"),
                None => return shared(site, "not used by a layer"),
            };
            let kind = family(program, model, guide, site);
            let made = |estimator, reason| Choice { site, estimator, reason };
            match (layer, kind, choice) {
                (Layer::Bias, FamilyKind::Normal, EstimatorChoice::Exact) => {
                    made(Estimator::Exact, "as asked for: a draw for every row")
                }
                (Layer::Bias, FamilyKind::Normal, _) => {
                    made(Estimator::LocalReparam, "exact for a normal bias used once")
                }
                (Layer::Bias, ..) => shared(site, "its guide is not a mean-field normal"),
                (_, FamilyKind::Dropped, _) => made(Estimator::Dropout, "a mask of its inputs for every row"),
                (_, FamilyKind::Other, _) => shared(site, "its guide is not a mean-field location-scale family"),
                (_, FamilyKind::Normal, EstimatorChoice::Exact) => {
                    made(Estimator::Exact, "as asked for: a draw for every row")
                }
                (_, FamilyKind::Symmetric, EstimatorChoice::Exact) => {
                    shared(site, "a draw for every row needs a normal guide")
                }
                (_, FamilyKind::Normal, EstimatorChoice::LocalReparam) if layer == Layer::Conv => {
                    made(Estimator::LocalReparam, "as asked for: drops the covariance of positions")
                }
                (Layer::Dense, FamilyKind::Normal, EstimatorChoice::Auto | EstimatorChoice::LocalReparam) => {
                    made(Estimator::LocalReparam, "exact for a normal weight used once in a dense layer")
                }
                (_, FamilyKind::Symmetric, EstimatorChoice::LocalReparam) => {
                    shared(site, "local reparameterization needs a normal guide")
                }
                (Layer::Conv, _, _) => made(Estimator::Flipout, "used once in a convolution"),
                (Layer::Dense, _, _) => made(Estimator::Flipout, "used once in a dense layer"),
            }
        })
        .collect()
}

/// Why the gradient of a site's parameters is found by the score function, if it is.
fn scored(guide: &Guide, site: SiteId, choice: EstimatorChoice) -> Option<&'static str> {
    match guide.steps.iter().find(|s| s.sites().contains(&site))? {
        GuideStep::Explicit { dist, .. } if !dist.is_reparameterized() => Some("its draws have no derivative"),
        GuideStep::Family { family: Family::Delta, .. } => None,
        _ => (choice == EstimatorChoice::Score).then_some("as asked for"),
    }
}

/// The site whose elements `e` holds in some order, with the calls that rearrange them, the outermost first.
pub fn rearranged(program: &Program, e: ExprId) -> Option<(SiteId, Vec<ExprId>)> {
    let mut calls = Vec::new();
    let mut e = e;
    loop {
        match &program.exprs[e].kind {
            ExprKind::Site(site) => return Some((*site, calls)),
            ExprKind::Call { def, args, .. } if matches!(def.name, "reshape" | "transpose" | "flatten") => {
                calls.push(e);
                e = args[0];
            }
            _ => return None,
        }
    }
}

/// What the values of sites are used for.
#[derive(Default)]
struct Uses {
    /// On the way to a density of the model: `Some` for the weight of a layer.
    model: HashMap<SiteId, Vec<Option<Layer>>>,
    /// On the way to what the guide draws.
    guide: HashMap<SiteId, Vec<Option<Layer>>>,
    /// Sites that meet a site in a density of the model although the guide draws them from it.
    entangled: HashSet<SiteId>,
}

/// The expressions of each density of the model, with the site whose prior it is.
fn densities(model: &Model) -> Vec<(Vec<ExprId>, Option<SiteId>)> {
    let mut list: Vec<(Vec<ExprId>, Option<SiteId>)> =
        model.observations.iter().map(|o| (std::iter::once(o.value).chain(o.dist.args()).collect(), None)).collect();
    list.extend(model.sites.iter_enumerated().map(|(id, s)| (s.dist.args(), Some(id))));
    for step in &model.steps {
        if let Step::Factor(e) = step {
            list.push((vec![*e], None));
        }
    }
    list
}

fn uses(program: &Program, model: &Model, guide: &Guide) -> Uses {
    let explicit = |step: &GuideStep| match step {
        GuideStep::Explicit { site, dist, .. } => Some((*site, dist.args())),
        _ => None,
    };
    let densities = densities(model);
    let drawn: Vec<(SiteId, Vec<ExprId>)> = guide.steps.iter().filter_map(explicit).collect();
    let mut uses = Uses {
        model: walk(program, densities.iter().flat_map(|d| d.0.iter().copied())),
        guide: walk(program, drawn.iter().flat_map(|d| d.1.iter().copied())),
        entangled: HashSet::new(),
    };
    let reached: Vec<(HashSet<SiteId>, Option<SiteId>)> = densities
        .iter()
        .map(|(roots, own)| (walk(program, roots.iter().copied()).into_keys().collect(), *own))
        .collect();
    for &site in uses.guide.keys() {
        // What the guide draws from it, directly or by way of others, in the guide's order.
        let mut dependents: HashSet<SiteId> = HashSet::new();
        for (other, args) in &drawn {
            let needs = walk(program, args.iter().copied());
            if needs.keys().any(|s| *s == site || dependents.contains(s)) {
                dependents.insert(*other);
            }
        }
        let meets = |(sites, own): &(HashSet<SiteId>, Option<SiteId>)| {
            sites.contains(&site) && sites.iter().chain(own).any(|s| dependents.contains(s))
        };
        if reached.iter().any(meets) {
            uses.entangled.insert(site);
        }
    }
    uses
}

/// For every site that some expressions are computed from, what uses its value: `Some` for the weight of a layer.
fn walk(program: &Program, roots: impl Iterator<Item = ExprId>) -> HashMap<SiteId, Vec<Option<Layer>>> {
    let mut uses: HashMap<SiteId, Vec<Option<Layer>>> = HashMap::new();
    let mut seen = vec![false; program.exprs.len()];
    let mut stack: Vec<ExprId> = Vec::new();
    let site_of = |e: ExprId| rearranged(program, e).map(|(site, _)| site);
    for root in roots {
        match site_of(root) {
            Some(site) => uses.entry(site).or_default().push(None),
            None => stack.push(root),
        }
    }
    while let Some(e) = stack.pop() {
        if std::mem::replace(&mut seen[crate::index::Idx::index(e)], true) {
            continue;
        }
        let layer = match &program.exprs[e].kind {
            ExprKind::Call { def, .. }
                if matches!(def.name, "conv1d" | "conv2d" | "conv_transpose1d" | "conv_transpose2d") =>
            {
                Some(Layer::Conv)
            }
            ExprKind::Call { def, args, .. } if def.name == "dense" && program.ty(args[0]).shape.len() == 2 => {
                Some(Layer::Dense)
            }
            _ => None,
        };
        for (at, o) in program.operands(e).into_iter().enumerate() {
            match site_of(o) {
                Some(site) => uses.entry(site).or_default().push(match at {
                    1 => layer,
                    2 => layer.map(|_| Layer::Bias),
                    _ => None,
                }),
                None => stack.push(o),
            }
        }
    }
    uses
}
