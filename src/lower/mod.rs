//! From the typed program to graphs: puts numbers in for sizes, values in for data, and decides where sites come from.
//!
//! One walker serves all: a [`Lowering`] turns typed expressions and distributions into graph values; a
//! [`SiteSource`] says where the values of latent sites come from (the prior, a guide, given values). What is done
//! with the densities (ELBO, scores, simulation) is the business of `infer/`.

pub mod dropout;
pub mod estimators;
mod flow;
mod layers;
mod loops;
mod low_rank;
pub mod mixture;
pub mod noncentered;
pub mod params;
pub mod rows;
pub mod sites;
pub mod structured;
pub mod terms;

pub use params::{Init, Slot, Slots};
pub use rows::Rows;
pub use sites::{FreeSite, GuideDraw, SiteSource};

use crate::builtins::ConcreteAttrs;
use crate::check::size::{Size, SizeId};
use crate::check::typed::*;
use crate::dist::{Dist, wrappers};
use crate::index::{Idx, IndexVec};
use crate::ir::{Builder, DType, InputKind, Shape, ValueId};
use crate::syntax::ast::Elem;
use std::collections::HashMap;

/// The values of all sizes in one graph.
pub type SizeValues = IndexVec<SizeId, usize>;

/// Whether learnable leaves carry a gradient in a piece of graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// They do.
    Live,
    /// They are held constant, for path derivatives: values of sites still carry theirs.
    Detached,
}

/// A datum (or a value computed from data alone) that the graph takes as an input.
#[derive(Clone, Debug)]
pub struct DataInput {
    /// The expression that it stands for.
    pub expr: ExprId,
    /// The graph's input.
    pub input: crate::ir::InputId,
    /// True when the input holds the rows of a minibatch.
    pub rows: bool,
}

/// A graph under construction for one program.
pub struct Lowering<'p> {
    /// The program.
    pub program: &'p Program,
    /// Its model.
    pub model: &'p Model,
    /// The graph.
    pub g: Builder,
    /// The data inputs made so far, in order.
    pub inputs: Vec<DataInput>,
    pub(crate) sizes: SizeValues,
    pub(crate) rows: Option<Rows<'p>>,
    pub(crate) slots: &'p Slots,
    pub(crate) slot_inputs: Vec<Option<ValueId>>,
    pub(crate) source: SiteSource,
    pub(crate) site_values: IndexVec<SiteId, Option<ValueId>>,
    pub(crate) site_active: IndexVec<SiteId, bool>,
    /// Whether the trainable parameters keep their values while the graph runs: then what depends on them and on data alone
    /// is computed once, the amortized guide of all rows for instance.
    pub settled: bool,
    /// Whether free coordinates keep their values while the graph runs.
    pub fixed: bool,
    /// What the guide says about each site that it has drawn.
    pub guide_draws: IndexVec<SiteId, Option<GuideDraw>>,
    /// The coordinates of each site that is a function of free ones.
    pub free_sites: IndexVec<SiteId, Option<FreeSite>>,
    /// The noise of sites under a structured family.
    pub(crate) noises: IndexVec<SiteId, Option<ValueId>>,
    pub(crate) draw_values: HashMap<DrawId, ValueId>,
    /// Joint draws by the step of the guide: value, log density, path log density.
    pub(crate) joints: HashMap<usize, (ValueId, ValueId, ValueId)>,
    /// The component of each mixture whose draw is not left to chance, by the step of the guide.
    pub(crate) stratum: Vec<(usize, usize)>,
    /// Weights that lose inputs, as far as they have been drawn.
    pub(crate) dropped: HashMap<SiteId, dropout::Dropped>,
    pub(crate) row_index: Option<ValueId>,
    /// Sites whose noise enters a layer in another way than by one shared draw.
    pub(crate) estimators: HashMap<SiteId, crate::lower::estimators::Estimator>,
    /// Sites whose draws are held constant: their gradient is by the score function.
    pub(crate) scored: Vec<SiteId>,
    /// What the derivative along the path of a draw is multiplied by, one factor for each row `[rows]`.
    pub(crate) path_factor: Option<ValueId>,
    /// What stands for each prepared expression in this graph.
    pub(crate) row_inputs: Vec<(ExprId, ValueId)>,
    memo: HashMap<(ExprId, Mode), ValueId>,
    /// The noise of expressions that draw: one for both modes.
    masks: HashMap<ExprId, ValueId>,
    /// The graphs around the one that is being built, outermost first: bodies of loops are graphs of their own.
    outer: Vec<loops::Outer>,
    scans: HashMap<(ScanId, Mode), loops::ScanValues>,
    vars: HashMap<VarId, ValueId>,
    discrete_values: HashMap<DiscreteId, ValueId>,
    /// Discrete latents are drawn from their prior whatever the source: for data that are not given.
    pub discrete_forward: bool,
}

impl<'p> Lowering<'p> {
    /// An empty graph for `program`, whose sizes have the values `sizes`. With `rows`, the subsampled size must have the
    /// number of rows of a minibatch there.
    pub fn new(
        program: &'p Program,
        slots: &'p Slots,
        sizes: SizeValues,
        rows: Option<Rows<'p>>,
        source: SiteSource,
    ) -> Self {
        let model = program.model.as_ref().expect("only programs with a model are lowered");
        let n_sites = model.sites.len();
        Self {
            program,
            model,
            g: Builder::new(),
            inputs: Vec::new(),
            sizes,
            rows,
            slots,
            slot_inputs: vec![None; slots.list.len()],
            source,
            site_values: (0..n_sites).map(|_| None).collect(),
            site_active: (0..n_sites).map(|_| false).collect(),
            settled: false,
            fixed: false,
            guide_draws: (0..n_sites).map(|_| None).collect(),
            free_sites: (0..n_sites).map(|_| None).collect(),
            noises: (0..n_sites).map(|_| None).collect(),
            draw_values: HashMap::new(),
            joints: HashMap::new(),
            stratum: Vec::new(),
            dropped: HashMap::new(),
            row_index: None,
            estimators: HashMap::new(),
            scored: Vec::new(),
            path_factor: None,
            row_inputs: Vec::new(),
            memo: HashMap::new(),
            masks: HashMap::new(),
            outer: Vec::new(),
            scans: HashMap::new(),
            vars: HashMap::new(),
            discrete_values: HashMap::new(),
            discrete_forward: false,
        }
    }

    /// Forgets every value that may be random, so that what follows draws anew; inputs stay.
    pub(crate) fn forget_draws(&mut self) {
        assert!(self.outer.is_empty(), "not in the middle of a loop");
        let n_sites = self.model.sites.len();
        self.site_values = (0..n_sites).map(|_| None).collect();
        self.guide_draws = (0..n_sites).map(|_| None).collect();
        self.free_sites = (0..n_sites).map(|_| None).collect();
        self.noises = (0..n_sites).map(|_| None).collect();
        self.draw_values.clear();
        self.joints.clear();
        self.dropped.clear();
        self.memo.clear();
        self.masks.clear();
        self.scans.clear();
        self.vars.clear();
        self.discrete_values.clear();
    }

    /// The number that `size` is in this graph.
    pub fn size(&self, size: &Size) -> usize {
        let value = size.evaluate(&|id| Some(self.sizes[id])).expect("sizes are bound before lowering");
        usize::try_from(value).expect("sizes are checked when they are bound")
    }
    /// The shape that `shape` is in this graph.
    pub fn shape(&self, shape: &[Size]) -> Shape {
        shape.iter().map(|s| self.size(s)).collect::<Vec<_>>().into()
    }

    /// The value of an expression.
    pub fn expr(&mut self, e: ExprId) -> ValueId {
        self.expr_in(e, Mode::Live)
    }
    /// The value of an expression, with learnable leaves live or detached.
    pub fn expr_in(&mut self, e: ExprId, mode: Mode) -> ValueId {
        if let Some(&v) = self.memo.get(&(e, mode)) {
            return v;
        }
        let before = self.g.set_origin(Some(self.program.exprs[e].origin()));
        let value = self.expr_new(e, mode);
        self.g.set_origin(before);
        self.memo.insert((e, mode), value);
        value
    }
    fn expr_new(&mut self, e: ExprId, mode: Mode) -> ValueId {
        if let Some(value) = self.captured(e, mode) {
            return value;
        }
        if let Some(value) = self.row_input(e).or_else(|| self.layer(e)) {
            return value;
        }
        let program = self.program;
        let expr = &program.exprs[e];
        match &expr.kind {
            ExprKind::Const(c) => {
                let v = self.g.scalar(*c);
                self.with_dtype(v, expr.ty.elem)
            }
            ExprKind::Size(size) => {
                // The size of the whole data set, whatever the minibatch has.
                let full = match &self.rows {
                    Some(rows) => size.evaluate(&|id| Some(rows.full_sizes[id])),
                    None => size.evaluate(&|id| Some(self.sizes[id])),
                };
                let v = self.g.scalar(full.expect("sizes are bound before lowering") as f64);
                self.with_dtype(v, Elem::Int)
            }
            ExprKind::Data(id) => self.data_input(e, &program.data[*id].name.clone()),
            ExprKind::Site(id) => self.site_value(*id),
            ExprKind::Draw(id) => self.draw_value(*id),
            ExprKind::Discrete(id) => self.discrete_value(*id),
            ExprKind::Var(var) => *self.vars.get(var).expect("bound by the loop that is being built"),
            ExprKind::Scan { scan, port } => self.scan_port(*scan, *port, mode),
            ExprKind::LogProb { dist, value } => {
                let dist = self.dist(dist, mode);
                let x = self.expr_in(*value, mode);
                let log_prob = dist.log_prob(&mut self.g, x);
                let shape = self.shape(&expr.ty.shape);
                self.g.broadcast_to(log_prob, shape)
            }
            ExprKind::Sample { dist, .. } => {
                let dist = self.dist(dist, mode);
                let shape = self.shape(&expr.ty.shape);
                dist.sample(&mut self.g, &shape)
            }
            ExprKind::Param(id) => self.learnable(params::Owner::Param(*id), mode),
            ExprKind::Hole(id) => self.learnable(params::Owner::Hole(*id), mode),
            ExprKind::Call { def, args, attrs } => {
                let mut args: Vec<ValueId> = args.iter().map(|&a| self.expr_in(a, mode)).collect();
                if def.draws() {
                    let shape = self.g.shape(args[0]);
                    let noise = match self.masks.get(&e) {
                        Some(&noise) => noise,
                        None => self.g.noise(crate::ops::NoiseKind::Uniform, shape),
                    };
                    self.masks.insert(e, noise);
                    args.push(noise);
                }
                let attrs = ConcreteAttrs {
                    sizes: attrs.sizes.iter().map(|s| self.size(s)).collect(),
                    ints: attrs.ints.clone(),
                };
                (def.lower)(&mut self.g, &args, &attrs)
            }
            ExprKind::Index { base, indices } => {
                let base = self.expr_in(*base, mode);
                self.index(base, indices, mode)
            }
        }
    }
    /// Constants are real on the tape; ints say so.
    fn with_dtype(&mut self, v: ValueId, elem: Elem) -> ValueId {
        match elem {
            Elem::Real => v,
            Elem::Int | Elem::Bool => {
                let dtype = if elem == Elem::Int { DType::Int } else { DType::Bool };
                let value = self.g.as_full(v).expect("made from a number");
                self.g.constant(vec![value], Shape::scalar(), dtype)
            }
        }
    }
    /// An input for a whole datum.
    fn data_input(&mut self, e: ExprId, name: &str) -> ValueId {
        // The same datum may be mentioned at several places.
        if let Some(found) = self.inputs.iter().find(|d| !d.rows && self.same_datum(d.expr, e)) {
            let input = found.input;
            let at = self.g.graph().nodes.iter_enumerated().find(|(_, n)| n.op == crate::ops::Op::Input(input));
            return at.expect("inputs have a node").0;
        }
        let expr = &self.program.exprs[e];
        let (shape, dtype) = (self.shape(&expr.ty.shape), dtype_of(expr.ty.elem));
        let v = self.g.input(name, shape, dtype, InputKind::Data);
        let input = crate::ir::InputId::new(self.g.graph().inputs.len() - 1);
        self.inputs.push(DataInput { expr: e, input, rows: false });
        v
    }
    fn same_datum(&self, a: ExprId, b: ExprId) -> bool {
        match (&self.program.exprs[a].kind, &self.program.exprs[b].kind) {
            (ExprKind::Data(x), ExprKind::Data(y)) => x == y,
            _ => a == b,
        }
    }

    fn index(&mut self, base: ValueId, indices: &[Ix], mode: Mode) -> ValueId {
        let mut v = base;
        let mut axis = 0;
        // Int arrays index in pairs; their axes are gathered after the rest is done.
        let mut gathers: Vec<(usize, ValueId)> = Vec::new();
        for ix in indices {
            match ix {
                Ix::All => axis += 1,
                Ix::New => {
                    v = self.g.expand_dim(v, axis);
                    axis += 1;
                }
                Ix::Slice { start, len } => {
                    let (start, len) = (self.size(start), self.size(len));
                    v = self.g.slice(v, axis, start, len);
                    axis += 1;
                }
                Ix::At(e) => {
                    let at = self.expr_in(*e, mode);
                    v = match self.static_index(*e) {
                        Some(n) => self.g.index_axis(v, axis, n),
                        None => {
                            let front = to_front(&mut self.g, v, axis);
                            let row = self.g.gather(front, at);
                            from_front(&mut self.g, row, 0, axis)
                        }
                    };
                }
                Ix::Gather(e) => {
                    gathers.push((axis, self.expr_in(*e, mode)));
                    axis += 1;
                }
            }
        }
        match gathers[..] {
            [] => v,
            [(axis, index)] => {
                let front = to_front(&mut self.g, v, axis);
                let rank = self.g.rank(index);
                let rows = self.g.gather(front, index);
                from_front(&mut self.g, rows, rank, axis)
            }
            _ => self.gather_pairs(v, &gathers),
        }
    }
    /// `v[i, j, …]` with arrays `i`, `j`: one flat index over the gathered axes, which stand where the first stood.
    fn gather_pairs(&mut self, v: ValueId, gathers: &[(usize, ValueId)]) -> ValueId {
        let shape = self.g.shape(v);
        let axes: Vec<usize> = gathers.iter().map(|(a, _)| *a).collect();
        let rest: Vec<usize> = (0..shape.rank()).filter(|a| !axes.contains(a)).collect();
        let perm: Vec<usize> = axes.iter().chain(&rest).copied().collect();
        let front = self.g.transpose(v, &perm);
        let rows: usize = axes.iter().map(|&a| shape[a]).product();
        let tail: Vec<usize> = rest.iter().map(|&a| shape[a]).collect();
        let flat = self.g.reshape(front, std::iter::once(rows).chain(tail).collect::<Vec<_>>());
        let mut index = gathers[0].1;
        for &(axis, next) in &gathers[1..] {
            let width = self.g.constant(vec![shape[axis] as f64], Shape::scalar(), DType::Int);
            let scaled = self.g.mul(index, width);
            index = self.g.add(scaled, next);
        }
        let rank = self.g.rank(index);
        let rows = self.g.gather(flat, index);
        from_front(&mut self.g, rows, rank, axes[0])
    }
    fn static_index(&self, e: ExprId) -> Option<usize> {
        match &self.program.exprs[e].kind {
            ExprKind::Const(c) => Some(*c as usize),
            ExprKind::Size(s) => Some(self.size(s)),
            _ => None,
        }
    }

    /// A distribution with its parameters as graph values.
    pub fn dist(&mut self, d: &DistExpr, mode: Mode) -> Dist {
        match d {
            DistExpr::Row { def, args, .. } => {
                let row = crate::dist::get(*def);
                let params: Vec<ValueId> = args
                    .iter()
                    .zip(row.params)
                    .map(|(&a, p)| {
                        let v = self.expr_in(a, mode);
                        if p.dtype() == DType::Real { self.g.to_real(v) } else { v }
                    })
                    .collect();
                Dist::row(*def, params)
            }
            DistExpr::Mixture { weights, components, .. } => {
                let weights = self.expr_in(*weights, mode);
                let weights = self.g.to_real(weights);
                let components = components.iter().map(|c| self.dist(c, mode)).collect();
                Dist::Mixture { weights, components }
            }
            DistExpr::Wrapped { wrapper, base, support, .. } => {
                let base = self.dist(base, mode);
                let support = *support;
                match wrapper {
                    WrapperExpr::Truncated { lower, upper } => {
                        let (lower, upper) = self.ends((*lower, *upper), mode);
                        wrappers::Truncated { base, lower, upper, support }.into()
                    }
                    WrapperExpr::Censored { lower, upper } => {
                        let (lower, upper) = self.ends((*lower, *upper), mode);
                        wrappers::Censored { base, lower, upper, support }.into()
                    }
                    WrapperExpr::ZeroInflated { p, hurdle } => {
                        let probs = self.real_in(*p, mode);
                        wrappers::ZeroInflated { probs, base, hurdle: *hurdle, support }.into()
                    }
                    WrapperExpr::Ordered => wrappers::Ordered { base, support }.into(),
                    WrapperExpr::Transformed { maps } => {
                        let maps = maps.iter().map(|map| map.with(|c| self.real_in(c, mode))).collect();
                        wrappers::Transformed { base, maps, support }.into()
                    }
                    WrapperExpr::Independent { dims } => wrappers::Independent { base, dims: *dims }.into(),
                }
            }
            DistExpr::Joined { axis, parts, .. } => {
                let parts = parts.iter().map(|(n, d)| (self.size(n), self.dist(d, mode))).collect();
                Dist::Joined { axis: *axis, parts }
            }
        }
    }

    fn real_in(&mut self, e: ExprId, mode: Mode) -> ValueId {
        let v = self.expr_in(e, mode);
        self.g.to_real(v)
    }
    /// The ends of an interval, infinite where they are not given.
    fn ends(&mut self, (lower, upper): (Option<ExprId>, Option<ExprId>), mode: Mode) -> (ValueId, ValueId) {
        let lower = match lower {
            Some(e) => self.real_in(e, mode),
            None => self.g.scalar(f64::NEG_INFINITY),
        };
        let upper = match upper {
            Some(e) => self.real_in(e, mode),
            None => self.g.scalar(f64::INFINITY),
        };
        (lower, upper)
    }
    /// The value of a discrete latent: drawn forward from the prior, elsewhere from its exact conditional.
    fn discrete_value(&mut self, id: DiscreteId) -> ValueId {
        if let Some(&v) = self.discrete_values.get(&id) {
            return v;
        }
        let latent = &self.model.discrete[id];
        let forward = self.discrete_forward || self.source == SiteSource::Prior;
        let v = match (forward, latent.back, latent.forward) {
            (true, _, None) => {
                let dist = self.dist(&latent.dist, Mode::Live);
                let shape = self.shape(&latent.ty.shape);
                dist.sample(&mut self.g, &shape)
            }
            (true, _, Some(forward)) => self.expr(forward),
            (_, back, _) => {
                let v = self.expr(back.expect("discrete latents have been summed out"));
                self.g.to_int(v)
            }
        };
        self.discrete_values.insert(id, v);
        v
    }

    /// A random value of `generate`.
    fn draw_value(&mut self, id: DrawId) -> ValueId {
        if let Some(&v) = self.draw_values.get(&id) {
            return v;
        }
        let draw = &self.program.generate.draws[id];
        let dist = self.dist(&draw.dist, Mode::Live);
        let shape = self.shape(&draw.ty.shape);
        let v = dist.sample(&mut self.g, &shape);
        self.draw_values.insert(id, v);
        v
    }
}

/// The tape's type for an element type.
pub fn dtype_of(elem: Elem) -> DType {
    match elem {
        Elem::Real => DType::Real,
        Elem::Int => DType::Int,
        Elem::Bool => DType::Bool,
    }
}

/// `axis` moved to the front.
pub(crate) fn to_front(g: &mut Builder, v: ValueId, axis: usize) -> ValueId {
    let rank = g.rank(v);
    let perm: Vec<usize> = std::iter::once(axis).chain((0..rank).filter(|&a| a != axis)).collect();
    g.transpose(v, &perm)
}
/// The first `n` dimensions moved to stand from `axis` on.
pub(crate) fn from_front(g: &mut Builder, v: ValueId, n: usize, axis: usize) -> ValueId {
    let rank = g.rank(v);
    let perm: Vec<usize> = (n..n + axis).chain(0..n).chain(n + axis..rank).collect();
    g.transpose(v, &perm)
}
