//! Trainable parameters: which there are, where they lie in the flat vector, how they start, how free numbers become
//! scales, probabilities and factors.

use super::structured::Link;
use super::{Lowering, Mode, SizeValues};
use crate::check::typed::*;
use crate::index::IndexVec;
use crate::ir::{Builder, DType, InputKind, Shape, ValueId};
use std::sync::Arc;

/// The part of the fan-in scale with which the scales of weights start: large enough that they need not travel far,
/// small enough that a network learns its locations first.
const WEIGHT_SHARE: f64 = 0.4;

/// How far apart the components of a mixture begin that starts at a mode [standard deviations].
const APART: f64 = 1.0;

/// Whose parameter a slot is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// A `param` of the program.
    Param(ParamId),
    /// A hole of a guide.
    Hole(HoleId),
    /// The location of a site under an automatic family, in unconstrained space.
    Loc(SiteId),
    /// The scale of a site under `mean_field`, in unconstrained space.
    Scale(SiteId),
    /// The joint location of step `.0` of the guide.
    JointLoc(usize),
    /// The joint factor of step `.0` of the guide.
    JointFactor(usize),
    /// The joint diagonal of step `.0` of the guide.
    JointScale(usize),
    /// The weights of the components of step `.0` of the guide.
    MixtureWeights(usize),
    /// An array of network `.1` of the flow of step `.0` of the guide.
    Network(usize, usize, Part),
    /// What the noise of site `.1` adds to the mean of site `.0` under a structured family.
    Weight(SiteId, SiteId),
    /// What each element adds to the mean of the next one under a structured family.
    Chain(SiteId),
}

/// An array of a network with one hidden layer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Part {
    /// From the inputs to the hidden units.
    WeightIn,
    /// Of the hidden units.
    BiasIn,
    /// From the hidden units to the outputs.
    WeightOut,
    /// Of the outputs.
    BiasOut,
}

/// What a parameter stands for.
#[derive(Clone, PartialEq, Debug)]
pub enum Whose {
    /// A learnable constant.
    Param(ParamId),
    /// These sites, together.
    Sites(Vec<SiteId>),
}

impl Owner {
    /// The sites or the constant that it is a parameter of; `steps` are those of the guide.
    pub fn whose(self, program: &Program, steps: &[GuideStep]) -> Whose {
        match self {
            Owner::Param(id) => Whose::Param(id),
            Owner::Hole(id) => Whose::Sites(vec![program.holes[id].site]),
            Owner::Loc(site) | Owner::Scale(site) | Owner::Weight(site, _) | Owner::Chain(site) => {
                Whose::Sites(vec![site])
            }
            Owner::JointLoc(at)
            | Owner::JointFactor(at)
            | Owner::JointScale(at)
            | Owner::MixtureWeights(at)
            | Owner::Network(at, ..) => Whose::Sites(steps[at].sites().to_vec()),
        }
    }
}

/// Whether what the guide draws depends on a learnable constant.
pub fn guide_reads(program: &Program, guide: &Guide, param: ParamId) -> bool {
    let dists = guide.steps.iter().filter_map(|step| match step {
        GuideStep::Explicit { dist, .. } => Some(dist.args()),
        GuideStep::Family { .. } => None,
    });
    reads(program, dists.flatten().collect(), param)
}
/// Whether the densities of the model depend on a learnable constant.
pub fn model_reads(program: &Program, model: &Model, param: ParamId) -> bool {
    reads(program, densities(model), param)
}
/// Whether one of these expressions is computed from a learnable constant.
fn reads(program: &Program, stack: Vec<ExprId>, param: ParamId) -> bool {
    computed_from(program, stack, |kind| matches!(kind, ExprKind::Param(id) if *id == param))
}
/// Whether one of these expressions is computed from a site.
pub fn reads_sites(program: &Program, exprs: Vec<ExprId>) -> bool {
    computed_from(program, exprs, |kind| matches!(kind, ExprKind::Site(_)))
}
/// Whether one of these expressions is, or is computed from, one of a kind.
fn computed_from(program: &Program, mut stack: Vec<ExprId>, kind: impl Fn(&ExprKind) -> bool) -> bool {
    let mut seen: IndexVec<ExprId, bool> = program.exprs.iter().map(|_| false).collect();
    while let Some(e) = stack.pop() {
        if std::mem::replace(&mut seen[e], true) {
            continue;
        }
        if kind(&program.exprs[e].kind) {
            return true;
        }
        stack.extend(program.operands(e));
    }
    false
}
/// The expressions that the densities of the model are made of.
fn densities(model: &Model) -> Vec<ExprId> {
    let mut list: Vec<ExprId> = model.sites.iter().flat_map(|s| s.dist.args()).collect();
    list.extend(model.observations.iter().flat_map(|o| std::iter::once(o.value).chain(o.dist.args())));
    list.extend(model.steps.iter().filter_map(|s| if let Step::Factor(e) = s { Some(*e) } else { None }));
    list.extend(model.marginals.iter().map(|m| m.value));
    list
}

/// How a parameter starts, in the constrained space.
#[derive(Clone, PartialEq, Debug)]
pub enum Init {
    /// One number everywhere.
    Constant(f64),
    /// Normal with mean 0 and this scale: the fan-in rule for weights.
    Normal(f64),
    /// Pieces one after the other, each with its number of elements and the scale of [`Init::Normal`] (0 for zeros).
    Pieces(Vec<(usize, f64)>),
    /// The values of an expression of data and constants.
    Expr(ExprId),
    /// A tenth of the prior's scale of these sites, element by element of their joint coordinates.
    PriorScale(Vec<SiteId>),
    /// Normal with mean 0 and a tenth of the prior's scale of these sites, row by row of their joint coordinates; the
    /// rows together have that scale.
    PriorFactor(Vec<SiteId>),
    /// Rows of joint coordinates, apart from each other: for each site its number of elements and the scale of
    /// [`Init::Normal`], or where that is 0, normal with mean 0 and the prior's scale, 2 at most. The first row is as in
    /// [`Init::Pieces`].
    Scattered(Vec<(SiteId, usize, f64)>),
}

/// A trainable array.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its name in files: `h1.weight.loc`.
    pub name: String,
    /// Whose it is.
    pub owner: Owner,
    /// Its shape in the flat vector, all rows included.
    pub shape: Shape,
    /// Its first element in the flat vector.
    pub offset: usize,
    /// How free numbers become values.
    pub constraint: Constraint,
    /// How it starts.
    pub init: Init,
    /// True when its first dimension are the rows of the subsampled size.
    pub rows: bool,
    /// The coordinates in which it is trained, if they are not its own.
    pub basis: Option<Arc<Basis>>,
    /// True when its first dimension are the components of a mixture.
    pub of_mixture: bool,
}

/// Coordinates of a parameter in which one is a standard deviation of the posterior: its value is an affine function of
/// them, `center + factor v`. Of a factor or a scale `v`, which has no center, it is `factor v`.
#[derive(Clone, PartialEq, Debug)]
pub struct Basis {
    /// `[n]`; empty for what has none.
    pub center: Vec<f64>,
    /// `[n, n]`, lower triangular, or a diagonal `[n]`.
    pub factor: Vec<f64>,
    /// Which of them.
    pub triangular: bool,
}

impl Basis {
    /// How a parameter is made of these coordinates: its components (one but for mixtures), the coordinates, and the columns
    /// that each has.
    fn split(&self, shape: &Shape, owner: Owner, of_mixture: bool) -> (usize, usize, usize) {
        let components = if of_mixture { shape[0] } else { 1 };
        let own = if of_mixture { &shape[1..] } else { &shape[..] };
        let n = match owner {
            Owner::Loc(_) | Owner::Scale(_) | Owner::Weight(..) => self.count(),
            _ => own.first().copied().unwrap_or(1),
        };
        (components, n, shape.count() / (components * n).max(1))
    }
    /// The same for a scale, which has no center.
    fn scales(&self) -> Basis {
        Basis { center: Vec::new(), ..self.clone() }
    }
    /// The number of coordinates.
    fn count(&self) -> usize {
        if self.triangular { self.factor.len().isqrt() } else { self.factor.len() }
    }
    /// The value of a parameter with the value `v` in these coordinates.
    fn apply(&self, g: &mut Builder, v: ValueId, slot: &Slot) -> ValueId {
        let shape = g.shape(v);
        let (components, n, columns) = self.split(&shape, slot.owner, slot.of_mixture);
        let matrix = g.reshape(v, [components, n, columns]);
        let moved = if self.triangular {
            let factor = g.constant(self.factor.clone(), Shape::from([1, n, n]), DType::Real);
            g.matmul(factor, false, matrix, false)
        } else {
            let factor = g.constant(self.factor.clone(), Shape::from([1, n, 1]), DType::Real);
            g.mul(factor, matrix)
        };
        let moved = match self.center.is_empty() {
            true => moved,
            false => {
                let center = g.constant(self.center.clone(), Shape::from([1, n, 1]), DType::Real);
                g.add(center, moved)
            }
        };
        g.reshape(moved, shape)
    }
    /// The free numbers of a parameter whose free numbers in these coordinates are `free`.
    fn leave(&self, slot: &Slot, free: &[f64]) -> Vec<f64> {
        let (_, n, columns) = self.split(&slot.shape, slot.owner, slot.of_mixture);
        let is_factor = slot.constraint == Constraint::LowerCholesky;
        let component = |free: &[f64]| -> Vec<f64> {
            let value = |i: usize, j: usize| match slot.constraint {
                Constraint::LowerCholesky if j > i => 0.0,
                Constraint::LowerCholesky if j < i => free[i * columns + j],
                Constraint::LowerCholesky | Constraint::Positive => softplus(free[i * columns + j]),
                _ => free[i * columns + j],
            };
            let moved = |i: usize, j: usize| -> f64 {
                let sum: f64 = match self.triangular {
                    true => (0..=i).map(|k| self.factor[i * n + k] * value(k, j)).sum(),
                    false => self.factor[i] * value(i, j),
                };
                sum + self.center.get(i).copied().unwrap_or(0.0)
            };
            let places = (0..n).flat_map(|i| (0..columns).map(move |j| (i, j)));
            let free =
                |(i, j)| if is_factor && i != j { moved(i, j) } else { unconstrain(moved(i, j), slot.constraint) };
            places.map(free).collect()
        };
        free.chunks_exact((n * columns).max(1)).flat_map(component).collect()
    }
}
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// All trainable parameters of a program under one guide.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// In the order of the flat vector.
    pub list: Vec<Slot>,
}

impl Slots {
    /// The number of trainable numbers.
    pub fn len(&self) -> usize {
        self.list.last().map_or(0, |s| s.offset + s.shape.count())
    }
    /// True when there is nothing to train.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The position of `owner`.
    pub fn position(&self, owner: Owner) -> Option<usize> {
        self.list.iter().position(|s| s.owner == owner)
    }
    pub(super) fn push(
        &mut self,
        name: String,
        owner: Owner,
        shape: Shape,
        constraint: Constraint,
        init: Init,
        rows: bool,
    ) {
        let offset = self.len();
        self.list.push(Slot { name, owner, shape, offset, constraint, init, rows, basis: None, of_mixture: false });
    }
    /// Free parameters in the parameters' own coordinates.
    pub fn leave_bases(&self, params: &[f64]) -> Vec<f64> {
        let own = |slot: &Slot| {
            let free = &params[slot.offset..slot.offset + slot.shape.count()];
            slot.basis.as_ref().map_or_else(|| free.to_vec(), |basis| basis.leave(slot, free))
        };
        self.list.iter().flat_map(own).collect()
    }
    /// Gives the families of `guide` that have a location and a scale coordinates of their own, in which they start at the
    /// standard normal: `normal` gives those of a normal over some sites, whole or with independent coordinates.
    pub fn enter_bases(
        &mut self,
        program: &Program,
        guide: &Guide,
        normal: &impl Fn(&[SiteId], bool) -> Option<Basis>,
    ) {
        let model = program.model.as_ref().expect("a guide has a model");
        for (at, step) in guide.steps.iter().enumerate() {
            let GuideStep::Family { family, sites, .. } = step else { continue };
            match family {
                Family::MeanField | Family::Structured => {
                    for &s in sites {
                        let own = *family == Family::MeanField
                            || !super::structured::is_standardized(program, model, s)
                                && self.position(Owner::Chain(s)).is_none();
                        let Some(basis) = normal(&[s], false).filter(|_| own) else { continue };
                        for &parent in sites {
                            self.set_basis(Owner::Weight(s, parent), basis.scales(), Init::Constant(0.0));
                        }
                        self.set_basis(Owner::Scale(s), basis.scales(), Init::Constant(1.0));
                        self.set_basis(Owner::Loc(s), basis, Init::Constant(0.0));
                    }
                }
                Family::FullRank | Family::Flow(_) | Family::LowRank(_) | Family::Mixture { .. } => {
                    let factor = self.position(Owner::JointFactor(at)).map(|f| self.list[f].constraint);
                    let whole = factor == Some(Constraint::LowerCholesky);
                    let Some(basis) = normal(sites, whole) else { continue };
                    let mixture = matches!(family, Family::Mixture { .. });
                    for owner in [Owner::JointLoc(at), Owner::JointFactor(at), Owner::JointScale(at)] {
                        if let (Some(slot), true) = (self.position(owner), mixture) {
                            self.list[slot].of_mixture = true;
                        }
                    }
                    let small = Init::Normal(0.1);
                    let factor = if factor == Some(Constraint::Real) { small } else { Init::Constant(1.0) };
                    self.set_basis(Owner::JointFactor(at), basis.scales(), factor);
                    self.set_basis(Owner::JointScale(at), basis.scales(), Init::Constant(1.0));
                    // Components begin apart, in standard deviations.
                    let loc = if mixture { Init::Normal(APART) } else { Init::Constant(0.0) };
                    self.set_basis(Owner::JointLoc(at), basis, loc);
                }
                _ => {}
            }
        }
    }
    fn set_basis(&mut self, owner: Owner, basis: Basis, init: Init) {
        let Some(at) = self.position(owner) else { return };
        let slot = &mut self.list[at];
        (slot.basis, slot.init) = (Some(Arc::new(basis)), init);
    }

    /// The parameters that `guide` and the model need. `sizes` are those of the whole data set; `batch` is the
    /// subsampled size.
    pub fn new(
        program: &Program,
        guide: &Guide,
        sizes: &SizeValues,
        batch: Option<crate::check::size::SizeId>,
    ) -> Slots {
        let model = program.model.as_ref().expect("a guide has a model");
        let mut slots = Slots::default();
        let number = |size: &crate::check::size::Size| {
            size.evaluate(&|id| Some(sizes[id])).and_then(|n| usize::try_from(n).ok()).expect("sizes are bound")
        };
        let shape_of = |shape: &[crate::check::size::Size]| Shape::from(shape.iter().map(number).collect::<Vec<_>>());
        let has_rows = |shape: &[crate::check::size::Size]| {
            batch.is_some_and(|b| shape.first().is_some_and(|s| s.as_name() == Some(b)))
        };
        let fan_scale = |fan: &crate::check::size::Size| (1.0 / number(fan) as f64).sqrt();
        let used = used_params(program, model, guide);
        for (id, p) in program.params.iter_enumerated().filter(|(id, _)| used[*id]) {
            let init = match (p.init, &p.fan, p.activation) {
                (Some(e), ..) => Init::Expr(e),
                (None, None, _) => default_init(p.constraint),
                _ if p.constraint != Constraint::Real => default_init(p.constraint),
                (None, Some((fan, _)), Activation::None) => Init::Normal(fan_scale(fan)),
                (None, Some((fan, _)), Activation::Rectifier) => Init::Normal(2f64.sqrt() * fan_scale(fan)),
                (None, Some((fan, out)), Activation::Saturating) => {
                    Init::Normal((2.0 / (number(fan) + number(out)) as f64).sqrt())
                }
            };
            slots.push(
                p.name.clone(),
                Owner::Param(id),
                shape_of(&p.ty.shape),
                p.constraint,
                init,
                has_rows(&p.ty.shape),
            );
        }
        for (at, step) in guide.steps.iter().enumerate() {
            match step {
                GuideStep::Explicit { dist, .. } => {
                    for e in dist_holes(program, dist) {
                        let ExprKind::Hole(id) = program.exprs[e].kind else { continue };
                        let hole = &program.holes[id];
                        let site = &model.sites[hole.site];
                        let init = match (hole.init, hole.constraint, &site.fan_in) {
                            (Some(e), _, _) => Init::Expr(e),
                            (None, Constraint::Real, Some(fan)) => Init::Normal(fan_scale(fan)),
                            (None, Constraint::Positive, Some(fan)) if hole.param == "scale" => {
                                Init::Constant(WEIGHT_SHARE * fan_scale(fan))
                            }
                            (None, Constraint::Positive, None) if hole.param == "scale" => {
                                Init::PriorScale(vec![hole.site])
                            }
                            (None, c, _) => default_init(c),
                        };
                        slots.push(
                            hole.name.clone(),
                            Owner::Hole(id),
                            shape_of(&hole.ty.shape),
                            hole.constraint,
                            init,
                            has_rows(&hole.ty.shape),
                        );
                    }
                }
                GuideStep::Family { family, sites, .. } => {
                    let free = |s: SiteId| {
                        let site = &model.sites[s];
                        let shape = shape_of(&site.ty.shape);
                        site.dist
                            .support()
                            .unconstrained_shape(&shape)
                            .expect("real sites have unconstrained coordinates")
                    };
                    let loc_init = |s: SiteId| match &model.sites[s].fan_in {
                        Some(fan) => Init::Normal(fan_scale(fan)),
                        None => Init::Constant(0.0),
                    };
                    match family {
                        Family::MeanField | Family::Delta | Family::Dropout(_) => {
                            for &s in sites {
                                let site = &model.sites[s];
                                let rows = has_rows(&site.ty.shape);
                                slots.push(
                                    format!("{}.loc", site.name),
                                    Owner::Loc(s),
                                    free(s),
                                    Constraint::Real,
                                    loc_init(s),
                                    rows,
                                );
                                if *family == Family::MeanField {
                                    let init = match &site.fan_in {
                                        Some(fan) => Init::Constant(WEIGHT_SHARE * fan_scale(fan)),
                                        None => Init::PriorScale(vec![s]),
                                    };
                                    slots.push(
                                        format!("{}.scale", site.name),
                                        Owner::Scale(s),
                                        free(s),
                                        Constraint::Positive,
                                        init,
                                        rows,
                                    );
                                }
                            }
                        }
                        Family::FullRank | Family::LowRank(_) | Family::Flow(_) | Family::Mixture { .. } => {
                            let fans: Vec<(usize, f64)> = sites
                                .iter()
                                .map(|&s| (free(s).count(), model.sites[s].fan_in.as_ref().map_or(0.0, fan_scale)))
                                .collect();
                            slots.joint(at, guide.steps.len() == 1, *family, sites, fans);
                        }
                        Family::Structured | Family::Standardized => {
                            for &s in sites {
                                let site = &model.sites[s];
                                let rows = has_rows(&site.ty.shape);
                                let standard = *family == Family::Standardized
                                    || super::structured::is_standardized(program, model, s);
                                let scale = match &site.fan_in {
                                    Some(fan) if !standard => Init::Constant(WEIGHT_SHARE * fan_scale(fan)),
                                    // The prior of a standard variable has scale 1.
                                    _ if standard => Init::Constant(0.1),
                                    _ => Init::PriorScale(vec![s]),
                                };
                                let loc = if standard { Init::Constant(0.0) } else { loc_init(s) };
                                let name = |part: &str| format!("{}.{part}", site.name);
                                slots.push(name("loc"), Owner::Loc(s), free(s), Constraint::Real, loc, rows);
                                slots.push(name("scale"), Owner::Scale(s), free(s), Constraint::Positive, scale, rows);
                                if *family == Family::Standardized {
                                    continue;
                                }
                                let count = |s: SiteId| {
                                    let shape = &model.sites[s].ty.shape;
                                    let subsampled = batch.is_some_and(|b| shape.iter().any(|d| d.mentions(b)));
                                    (!subsampled).then(|| free(s).count())
                                };
                                let structure = super::structured::structure(program, model, sites, s, &count);
                                for (p, link) in structure.parents {
                                    let shape = match link {
                                        Link::Scalar | Link::Pairs => free(s),
                                        Link::Matrix => [free(s).count(), free(p).count()].into(),
                                    };
                                    slots.push(
                                        name(&format!("on.{}", model.sites[p].name)),
                                        Owner::Weight(s, p),
                                        shape,
                                        Constraint::Real,
                                        Init::Constant(0.0),
                                        rows && link != Link::Matrix,
                                    );
                                }
                                if structure.chain && free(s).count() > 1 {
                                    slots.push(
                                        name("chain"),
                                        Owner::Chain(s),
                                        [free(s).count() - 1].into(),
                                        Constraint::Real,
                                        Init::Constant(0.0),
                                        false,
                                    );
                                }
                            }
                        }
                        Family::Laplace => unreachable!("another algorithm fits it"),
                        Family::Later(name) => unreachable!("`{name}` is refused before lowering"),
                    }
                }
            }
        }
        slots
    }

    /// The parameters of a family over the joint coordinates of `sites`, step `at` of a guide: `fans` has the number of
    /// coordinates of each site and the fan-in scale of weights (0 elsewhere).
    fn joint(&mut self, at: usize, alone: bool, family: Family, sites: &[SiteId], fans: Vec<(usize, f64)>) {
        let n: usize = fans.iter().map(|f| f.0).sum();
        let prefix = |word: &str| if alone { word.to_string() } else { format!("{word}_{at}") };
        let scale = Init::PriorScale(sites.to_vec());
        let factor = Init::PriorFactor(sites.to_vec());
        let loc = (Owner::JointLoc(at), Constraint::Real);
        match family {
            Family::FullRank => {
                let prefix = prefix("full_rank");
                self.push(format!("{prefix}.loc"), loc.0, [n].into(), loc.1, Init::Pieces(fans), false);
                let (name, owner) = (format!("{prefix}.scale_tril"), Owner::JointFactor(at));
                self.push(name, owner, [n, n].into(), Constraint::LowerCholesky, scale, false);
            }
            Family::LowRank(rank) => {
                let (prefix, k) = (prefix("low_rank"), super::low_rank::rank(rank, n));
                self.push(format!("{prefix}.loc"), loc.0, [n].into(), loc.1, Init::Pieces(fans), false);
                let (name, owner) = (format!("{prefix}.factor"), Owner::JointFactor(at));
                self.push(name, owner, [n, k].into(), Constraint::Real, factor, false);
                let (name, owner) = (format!("{prefix}.scale"), Owner::JointScale(at));
                self.push(name, owner, [n].into(), Constraint::Positive, scale, false);
            }
            Family::Flow(flow) => {
                super::flow::slots(self, at, &prefix("flow"), flow, sites, Init::Pieces(fans), n);
            }
            Family::Mixture { components, of } => {
                super::mixture::slots(self, at, &prefix("mixture"), (components, of), sites, fans);
            }
            _ => unreachable!("a joint family"),
        }
    }
}

/// Which params the model, what is reported and the chosen guide read: those of other guides have no part in a fit.
fn used_params(program: &Program, model: &Model, guide: &Guide) -> IndexVec<ParamId, bool> {
    let mut used: IndexVec<ParamId, bool> = program.params.iter().map(|_| false).collect();
    let mut seen: IndexVec<ExprId, bool> = program.exprs.iter().map(|_| false).collect();
    let mut stack = densities(model);
    stack.extend(model.discrete.iter().flat_map(|d| d.dist.args().into_iter().chain(d.forward).chain(d.back)));
    stack.extend(model.kept.iter().chain(&program.generate.reported).map(|k| k.value));
    stack.extend(program.generate.draws.iter().flat_map(|d| d.dist.args()));
    for step in &guide.steps {
        if let GuideStep::Explicit { dist, .. } = step {
            stack.extend(dist.args());
        }
    }
    while let Some(e) = stack.pop() {
        if std::mem::replace(&mut seen[e], true) {
            continue;
        }
        if let ExprKind::Param(id) = program.exprs[e].kind {
            used[id] = true;
        }
        stack.extend(program.operands(e));
    }
    used
}

fn default_init(constraint: Constraint) -> Init {
    match constraint {
        Constraint::Real => Init::Constant(0.0),
        Constraint::UnitInterval => Init::Constant(0.5),
        Constraint::Above(low) => Init::Constant(low + 1.0),
        Constraint::Below(high) => Init::Constant(high - 1.0),
        Constraint::Between(low, high) => Init::Constant(0.5 * low + 0.5 * high),
        Constraint::Positive | Constraint::Simplex | Constraint::LowerCholesky => Init::Constant(1.0),
    }
}
fn dist_holes(program: &Program, dist: &DistExpr) -> Vec<ExprId> {
    dist.args().into_iter().filter(|&a| matches!(program.exprs[a].kind, ExprKind::Hole(_))).collect()
}

/// The constrained value of free numbers.
pub fn constrain(g: &mut Builder, free: ValueId, constraint: Constraint) -> ValueId {
    match constraint {
        Constraint::Real => free,
        Constraint::Positive => g.softplus(free),
        Constraint::UnitInterval => g.sigmoid(free),
        Constraint::Above(low) => {
            let above = g.softplus(free);
            g.add_scalar(above, low)
        }
        Constraint::Below(high) => {
            let below = g.softplus(free);
            g.scalar_sub(high, below)
        }
        Constraint::Between(low, high) => {
            let share = g.sigmoid(free);
            let way = g.mul_scalar(share, high - low);
            g.add_scalar(way, low)
        }
        Constraint::Simplex => {
            let log = g.log_softmax(free);
            g.exp(log)
        }
        Constraint::LowerCholesky => {
            let below = g.tril(free, true);
            let diagonal = g.diagonal(free);
            let diagonal = g.softplus(diagonal);
            let diagonal = g.diag(diagonal);
            g.add(below, diagonal)
        }
    }
}

/// The free number whose constrained value is `x` (of a diagonal element for factors).
pub fn unconstrain(x: f64, constraint: Constraint) -> f64 {
    match constraint {
        Constraint::Real => x,
        // ln(e^x - 1), without overflow
        Constraint::Positive | Constraint::LowerCholesky => x + (-(-x).exp_m1()).ln(),
        Constraint::UnitInterval => (x / (1.0 - x)).ln(),
        Constraint::Above(low) => unconstrain(x - low, Constraint::Positive),
        Constraint::Below(high) => unconstrain(high - x, Constraint::Positive),
        Constraint::Between(low, high) => ((x - low) / (high - x)).ln(),
        Constraint::Simplex => x.ln(),
    }
}

impl<'p> Lowering<'p> {
    /// The free numbers of a slot: an input with the slot's whole shape.
    pub(super) fn slot(&mut self, at: usize) -> ValueId {
        if let Some(v) = self.slot_inputs[at] {
            return v;
        }
        let slot = &self.slots.list[at];
        let kind = if self.settled { InputKind::Data } else { InputKind::Param };
        let v = self.g.input(slot.name.clone(), slot.shape.clone(), DType::Real, kind);
        self.slot_inputs[at] = Some(v);
        v
    }
    /// The value of a learnable thing for the rows that this graph sees.
    pub(super) fn learnable(&mut self, owner: Owner, mode: Mode) -> ValueId {
        let at = self.slots.position(owner).expect("every learnable thing of the chosen guide has a slot");
        let slot = &self.slots.list[at];
        let (constraint, rows) = (slot.constraint, slot.rows && self.rows.is_some());
        let basis = slot.basis.clone().map(|basis| (basis, slot.clone()));
        let mut v = self.slot(at);
        if mode == Mode::Detached {
            v = self.g.stop_gradient(v);
        }
        if rows {
            let index = self.row_indices();
            v = self.g.gather(v, index);
        }
        let value = constrain(&mut self.g, v, constraint);
        basis.map_or(value, |(basis, slot)| basis.apply(&mut self.g, value, &slot))
    }
    /// The graph inputs of all slots; those that nothing read are made now, so that every graph of a fit has the same.
    pub fn all_slots(&mut self) -> Vec<ValueId> {
        (0..self.slots.list.len()).map(|at| self.slot(at)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Executable;
    use crate::index::Idx;
    use crate::rng::Key;

    #[test]
    fn parameters_leave_their_bases_with_their_values() {
        let lower = vec![2.0, 0.0, 0.0, -1.0, 0.5, 0.0, 0.3, 4.0, 1.5];
        let (center, diagonal) = (vec![10.0, -3.0, 0.5], vec![2.0, 0.1, 30.0]);
        let none = Vec::new;
        let cases = [
            (false, Shape::from([3]), Constraint::Real, center.clone(), lower.clone()),
            (false, Shape::from([3, 3]), Constraint::LowerCholesky, none(), lower.clone()),
            (false, Shape::from([3]), Constraint::Real, center.clone(), diagonal.clone()),
            (false, Shape::from([3]), Constraint::Positive, none(), diagonal.clone()),
            (false, Shape::from([3, 2]), Constraint::Real, none(), diagonal.clone()),
            (false, Shape::scalar(), Constraint::Positive, none(), vec![7.0]),
            (true, Shape::from([2, 3]), Constraint::Real, center, lower.clone()),
            (true, Shape::from([2, 3]), Constraint::Positive, none(), diagonal),
            (true, Shape::from([2, 3, 3]), Constraint::LowerCholesky, none(), lower),
        ];
        for (of_mixture, shape, constraint, center, factor) in cases {
            let triangular = factor.len() == 9;
            let owner = if shape.rank() == 0 { Owner::Scale(SiteId::new(0)) } else { Owner::JointLoc(0) };
            let mut slots = Slots::default();
            slots.push("p".into(), owner, shape.clone(), constraint, Init::Constant(0.0), false);
            slots.set_basis(owner, Basis { center, factor, triangular }, Init::Constant(0.0));
            slots.list[0].of_mixture = of_mixture;
            let free: Vec<f64> = (0..shape.count()).map(|i| 0.4 * i as f64 - 0.7).collect();
            let own = slots.leave_bases(&free);
            let mut g = Builder::new();
            let inside = g.constant(free, shape.clone(), DType::Real);
            let inside = constrain(&mut g, inside, constraint);
            let inside = slots.list[0].basis.clone().expect("just set").apply(&mut g, inside, &slots.list[0]);
            let outside = g.constant(own, shape, DType::Real);
            let outside = constrain(&mut g, outside, constraint);
            g.output("inside", inside);
            g.output("outside", outside);
            let mut exe = Executable::<f64>::compile(&g.finish());
            exe.run(&[], Key::new(0));
            for (a, b) in exe.output(0).iter().zip(exe.output(1)) {
                assert!((a - b).abs() < 1e-12 * (1.0 + a.abs()), "{constraint:?}: {a} became {b}");
            }
        }
    }

    #[test]
    fn constrained_values_come_back_from_their_free_numbers() {
        let cases = [
            (Constraint::Real, -2.5),
            (Constraint::Positive, 0.3),
            (Constraint::UnitInterval, 0.9),
            (Constraint::Above(-3.0), -2.75),
            (Constraint::Below(2.0), -1.5),
            (Constraint::Between(-1.0, 3.0), 2.5),
        ];
        for (constraint, x) in cases {
            assert!(constraint.contains(x));
            let mut g = Builder::new();
            let free = g.scalar(unconstrain(x, constraint));
            let value = constrain(&mut g, free, constraint);
            g.output("value", value);
            let mut exe = Executable::<f64>::compile(&g.finish());
            exe.run(&[], Key::new(0));
            assert!((exe.output(0)[0] - x).abs() < 1e-14, "{constraint:?}: {x} came back as {}", exe.output(0)[0]);
            let Init::Constant(start) = default_init(constraint) else { unreachable!("numbers start at numbers") };
            assert!(constraint.contains(start), "{constraint:?} starts at {start}");
        }
    }
}
