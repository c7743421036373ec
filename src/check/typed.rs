//! The typed program: what the checker makes of the syntax tree.
//!
//! Everything deterministic is one arena of typed expressions that refer only backwards; functions, layers, nets and
//! submodels are already instantiated where they were called. Sites, observations and factors stand in the order of the
//! program. Shapes are symbolic ([`Size`]); lowering puts numbers in.

use super::size::{Size, SizeId};
use crate::builtins::FnDef;
use crate::index::IndexVec;
use crate::index_type;
use crate::source::Span;
use crate::syntax::ast::{self, Elem};

pub use super::dist_expr::{DistExpr, WrapperExpr};

index_type!(
    /// A typed expression.
    ExprId, "e"
);
index_type!(
    /// A declared datum.
    DataId, "data"
);
index_type!(
    /// A latent site of the model.
    SiteId, "site"
);
index_type!(
    /// A learnable constant of the model or of a guide, layer or net.
    ParamId, "param"
);
index_type!(
    /// A free variational parameter: `?` in a guide.
    HoleId, "hole"
);
index_type!(
    /// A random value of the `generate` block.
    DrawId, "draw"
);
index_type!(
    /// A discrete latent of the model, which is summed out.
    DiscreteId, "discrete"
);
index_type!(
    /// A variable that a loop binds.
    VarId, "var"
);
index_type!(
    /// A loop with a carry.
    ScanId, "scan"
);

/// Element type and shape of a value.
#[derive(Clone, PartialEq, Debug)]
pub struct Ty {
    /// The element type.
    pub elem: Elem,
    /// The extents.
    pub shape: Vec<Size>,
}

impl Ty {
    /// A scalar.
    pub fn scalar(elem: Elem) -> Self {
        Self { elem, shape: Vec::new() }
    }
    /// An array.
    pub fn new(elem: Elem, shape: Vec<Size>) -> Self {
        Self { elem, shape }
    }
}

/// A typed expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it computes.
    pub kind: ExprKind,
    /// Its type.
    pub ty: Ty,
    /// Where it was written.
    pub span: Span,
    /// For what a library wrote: the call in the program's own text that brought it in.
    pub caller: Option<Span>,
}

impl Expr {
    /// The place in the program's own text that it comes from.
    pub fn origin(&self) -> Span {
        self.caller.unwrap_or(self.span)
    }
}

/// What an expression computes.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// A number.
    Const(f64),
    /// The value of a size, an int.
    Size(Size),
    /// A datum.
    Data(DataId),
    /// The value of a latent site.
    Site(SiteId),
    /// A learnable constant.
    Param(ParamId),
    /// A free variational parameter.
    Hole(HoleId),
    /// A random value of `generate`.
    Draw(DrawId),
    /// The value of a discrete latent.
    Discrete(DiscreteId),
    /// What a loop binds: its index, an entry of an array, a carry.
    Var(VarId),
    /// A result of a loop.
    Scan {
        /// The loop.
        scan: ScanId,
        /// Which result.
        port: Port,
    },
    /// The log density [nats] of a distribution, in the shape of independent elements.
    LogProb {
        /// The distribution.
        dist: Box<DistExpr>,
        /// Where.
        value: ExprId,
    },
    /// A forward draw.
    Sample {
        /// Where from.
        dist: Box<DistExpr>,
        /// The variables of the loops around: every iteration draws anew.
        index: Vec<ExprId>,
    },
    /// A built-in function.
    Call {
        /// Which.
        def: &'static FnDef,
        /// Its array arguments.
        args: Vec<ExprId>,
        /// Its compile-time arguments.
        attrs: Attrs,
    },
    /// `base[…]`
    Index {
        /// What is indexed.
        base: ExprId,
        /// One entry per index, in order.
        indices: Vec<Ix>,
    },
}

/// A result of a loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// A value of all iterations, with a leading dimension for them.
    Stacked(usize),
    /// A carry after the last iteration.
    Last(usize),
}

/// A loop whose iterations pass values on. Its body are the expressions that depend on the variables it binds.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The number of iterations.
    pub len: Size,
    /// From the last iteration to the first.
    pub reverse: bool,
    /// Variables that are an entry of an array in each iteration: variable and array `[len, …]`.
    pub elements: Vec<(ExprId, ExprId)>,
    /// What passes from one iteration to the next.
    pub carries: Vec<Carry>,
    /// What is kept of every iteration.
    pub results: Vec<ExprId>,
    /// What the body uses of the world outside.
    pub captures: Vec<ExprId>,
    /// Where the loop stands.
    pub span: Span,
}

/// A value that passes from one iteration to the next.
#[derive(Clone, Copy, Debug)]
pub struct Carry {
    /// The variable that the body sees.
    pub var: ExprId,
    /// Its value in the first iteration.
    pub init: ExprId,
    /// Its value in the next iteration.
    pub next: ExprId,
}

/// Compile-time arguments of a built-in function; the function's row says what they mean.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Attrs {
    /// Sizes, for example the shape of `fill`.
    pub sizes: Vec<Size>,
    /// Numbers, for example axes or strides.
    pub ints: Vec<i64>,
}

/// One index of an array.
#[derive(Clone, PartialEq, Debug)]
pub enum Ix {
    /// A single entry by a scalar int: the dimension disappears.
    At(ExprId),
    /// Entries by an int array; several of them go in pairs.
    Gather(ExprId),
    /// A contiguous part.
    Slice {
        /// First entry.
        start: Size,
        /// Number of entries.
        len: Size,
    },
    /// The whole dimension.
    All,
    /// A new dimension of size 1.
    New,
}

/// A size name of the program.
#[derive(Clone, Debug)]
pub struct SizeDecl {
    /// Its name.
    pub name: String,
    /// Where it first stands.
    pub span: Span,
    /// Its value, when the file or the command line fixes it.
    pub value: Option<usize>,
    /// The data expression whose labels it counts: `levels(…)`.
    pub labels: Option<ast::Expr>,
    /// True when a `size` item declares it.
    pub declared: bool,
}

/// A datum.
#[derive(Clone, Debug)]
pub struct DataDecl {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Ty,
    /// The range of `in`, as written.
    pub range: Option<ast::Expr>,
    /// Its default, as written.
    pub default: Option<ast::Expr>,
    /// Its doc comment.
    pub doc: Option<String>,
    /// The place of its name.
    pub span: Span,
    /// The place of its type.
    pub ty_span: Span,
}

/// A latent site.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its full name: `h1.weight`.
    pub name: String,
    /// Its doc comment.
    pub doc: Option<String>,
    /// Where its name stands.
    pub span: Span,
    /// Its type.
    pub ty: Ty,
    /// Its prior.
    pub dist: DistExpr,
    /// The expression that stands for its value.
    pub value: ExprId,
    /// Fan-in, when the site is the weight of a convolution or a dense layer.
    pub fan_in: Option<Size>,
    /// How it is drawn from the prior where that goes element by element; `None` where `dist` draws it at once.
    pub forward: Option<ExprId>,
    /// True when its prior depends on a discrete latent: its log density is part of a [`Marginal`].
    pub absorbed: bool,
}

/// A discrete latent, which is summed out.
#[derive(Clone, Debug)]
pub struct Discrete {
    /// Its full name.
    pub name: String,
    /// Its doc comment.
    pub doc: Option<String>,
    /// Where its name stands.
    pub span: Span,
    /// Its type.
    pub ty: Ty,
    /// Its prior.
    pub dist: DistExpr,
    /// The expression that stands for its value.
    pub value: ExprId,
    /// How it is drawn from the prior where that goes element by element.
    pub forward: Option<ExprId>,
    /// A draw from its exact conditional given everything that is not discrete; set when it has been summed out.
    pub back: Option<ExprId>,
}

/// Log densities with a discrete latent summed out.
#[derive(Clone, Debug)]
pub struct Marginal {
    /// The log of the sum [nats], one for each independent element.
    pub value: ExprId,
    /// The latents that were summed out, in the order in which they went.
    pub latents: Vec<DiscreteId>,
    /// The observations that it contains, by position in [`Model::observations`].
    pub observations: Vec<usize>,
    /// The sites whose priors it contains.
    pub sites: Vec<SiteId>,
    /// How it was done, in words.
    pub how: String,
    /// Where.
    pub span: Span,
}

/// An observation.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The name of the datum, or the text of the observed expression.
    pub name: String,
    /// The datum, when it is a plain one.
    pub data: Option<DataId>,
    /// What is observed.
    pub value: ExprId,
    /// Its distribution.
    pub dist: DistExpr,
    /// Where the statement stands.
    pub span: Span,
}

/// A statement of the model that has a density.
#[derive(Clone, Debug)]
pub enum Step {
    /// A latent site.
    Site(SiteId),
    /// An observation, by position in [`Model::observations`].
    Observe(usize),
    /// `factor expr`
    Factor(ExprId),
    /// What is left of terms that depend on discrete latents, by position in [`Model::marginals`].
    Marginal(usize),
}

/// A reported deterministic value.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Its doc comment.
    pub doc: Option<String>,
    /// Its value.
    pub value: ExprId,
}

/// The joint density.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The latent sites.
    pub sites: IndexVec<SiteId, Site>,
    /// The observations.
    pub observations: Vec<Observation>,
    /// The discrete latents.
    pub discrete: IndexVec<DiscreteId, Discrete>,
    /// How many values each summed-out latent has, with its place and name.
    pub enumerated: Vec<(Size, Span, String)>,
    /// Terms with discrete latents summed out.
    pub marginals: Vec<Marginal>,
    /// Data that are observed element by element, each given what came before: how they are drawn all together.
    pub simulated: Vec<(DataId, ExprId)>,
    /// What became of each loop, in words: place and text.
    pub loops: Vec<(Span, String)>,
    /// All of them and the factors in order.
    pub steps: Vec<Step>,
    /// What is reported besides the sites.
    pub kept: Vec<Kept>,
}

/// Where a learnable number may lie, and so how it is made from a free one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Constraint {
    /// Anywhere.
    Real,
    /// Above 0: softplus.
    Positive,
    /// Between 0 and 1: sigmoid.
    UnitInterval,
    /// Above a number: softplus, moved.
    Above(f64),
    /// Below a number: minus softplus, moved.
    Below(f64),
    /// Between two numbers: sigmoid, moved and stretched.
    Between(f64, f64),
    /// A probability vector: softmax over the last dimension.
    Simplex,
    /// A lower triangular factor with positive diagonal (softplus on the diagonal).
    LowerCholesky,
}

impl Constraint {
    /// Whether `x` lies inside, where a free number can take it; only for those of single numbers.
    pub fn contains(self, x: f64) -> bool {
        match self {
            Constraint::Positive => x > 0.0,
            Constraint::UnitInterval => x > 0.0 && x < 1.0,
            Constraint::Above(low) => x > low,
            Constraint::Below(high) => x < high,
            Constraint::Between(low, high) => x > low && x < high,
            Constraint::Real | Constraint::Simplex | Constraint::LowerCholesky => !x.is_nan(),
        }
    }
}

/// What follows the layer of a weight, as far as its starting values care.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Activation {
    /// Nothing that is known.
    #[default]
    None,
    /// `relu`, `gelu`, `softplus`: half of the inputs pass.
    Rectifier,
    /// `tanh`, `sigmoid`: linear near 0.
    Saturating,
}

/// A learnable constant.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its full name.
    pub name: String,
    /// Its type.
    pub ty: Ty,
    /// Where it may lie.
    pub constraint: Constraint,
    /// Its initial value, an expression that depends on no site.
    pub init: Option<ExprId>,
    /// Fan-in and fan-out, when it is the weight of a convolution or a dense layer: how many products each output sums
    /// over, and how many outputs each input reaches.
    pub fan: Option<(Size, Size)>,
    /// What follows its layer.
    pub activation: Activation,
    /// Where it was written.
    pub span: Span,
}

/// A free variational parameter.
#[derive(Clone, Debug)]
pub struct Hole {
    /// Its full name: `w1.loc`.
    pub name: String,
    /// The site that it belongs to.
    pub site: SiteId,
    /// Which parameter of the family it is.
    pub param: &'static str,
    /// Its type.
    pub ty: Ty,
    /// Where it may lie.
    pub constraint: Constraint,
    /// Its initial value in the constrained space.
    pub init: Option<ExprId>,
    /// Where it was written.
    pub span: Span,
}

/// How the layers of a flow depend on each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlowKind {
    /// Affine couplings: one half moves given the other.
    RealNvp,
    /// Inverse autoregressive: every coordinate moves given those before it.
    Iaf,
}

/// An invertible network on top of a normal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// Its layers.
    pub kind: FlowKind,
    /// Blocks; each moves every coordinate once.
    pub depth: usize,
    /// Hidden units of each of its networks, if they were given.
    pub hidden: Option<usize>,
}

/// The normals of a mixture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Component {
    /// With independent coordinates.
    MeanField,
    /// With a full covariance.
    FullRank,
    /// With a covariance of low rank plus a diagonal; the rank, if it was given.
    LowRank(Option<usize>),
}

/// An automatic family.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Family {
    /// Independent normals in unconstrained space.
    MeanField,
    /// One normal with a full covariance in unconstrained space.
    FullRank,
    /// One normal whose covariance has low rank plus a diagonal, in unconstrained space; the rank, if it was given.
    LowRank(Option<usize>),
    /// Normals in unconstrained space, each given the sites that its prior depends on; see `lower/structured.rs`.
    Structured,
    /// `mean_field` in standard variables: what `reparam = noncentered` makes of it.
    Standardized,
    /// Point masses.
    Delta,
    /// An invertible network on top of a normal in unconstrained space; see `lower/flow.rs`.
    Flow(Flow),
    /// Weighted normals in unconstrained space; see `lower/mixture.rs`.
    Mixture {
        /// How many.
        components: usize,
        /// What they are.
        of: Component,
    },
    /// The mode and the curvature there: what the algorithm laplace makes of a model.
    Laplace,
    /// Point masses whose layers lose inputs with this probability; see `lower/dropout.rs`.
    Dropout(f64),
    /// A family that the language describes and that is not built yet: refused when a run asks for it.
    Later(&'static str),
}

/// A statement of a guide.
#[derive(Clone, Debug)]
pub enum GuideStep {
    /// An automatic family over some sites.
    Family {
        /// Which.
        family: Family,
        /// The sites, in the model's order.
        sites: Vec<SiteId>,
        /// Where it was written.
        span: Span,
    },
    /// An explicit distribution for one site.
    Explicit {
        /// The site.
        site: SiteId,
        /// Its distribution; arguments may be holes.
        dist: DistExpr,
        /// Where it was written.
        span: Span,
    },
}

/// A variational family for the model.
#[derive(Clone, Debug)]
pub struct Guide {
    /// Its name: its own, or that of its family.
    pub name: String,
    /// Its statements.
    pub steps: Vec<GuideStep>,
    /// Where it stands; `None` for the default.
    pub span: Option<Span>,
}

/// A random value of `generate`.
#[derive(Clone, Debug)]
pub struct Draw {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Ty,
    /// Its distribution.
    pub dist: DistExpr,
    /// The expression that stands for its value.
    pub value: ExprId,
}

/// What is computed for every posterior draw.
#[derive(Clone, Debug, Default)]
pub struct Generate {
    /// The random values, in order.
    pub draws: IndexVec<DrawId, Draw>,
    /// Everything that is reported.
    pub reported: Vec<Kept>,
}

/// A checked program.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// What the file says about itself.
    pub doc: Option<String>,
    /// The size names.
    pub sizes: IndexVec<SizeId, SizeDecl>,
    /// The expressions.
    pub exprs: IndexVec<ExprId, Expr>,
    /// The data.
    pub data: IndexVec<DataId, DataDecl>,
    /// The file constants, as written, in order.
    pub constants: Vec<(String, ast::Expr)>,
    /// The loops with carries.
    pub scans: IndexVec<ScanId, Scan>,
    /// The number of variables that loops bind.
    pub vars: usize,
    /// For expressions inside loops, the variables of loops that they depend on, ascending; others are left out.
    pub bound: std::collections::HashMap<ExprId, std::sync::Arc<[VarId]>>,
    /// The learnable constants.
    pub params: IndexVec<ParamId, Param>,
    /// The free variational parameters.
    pub holes: IndexVec<HoleId, Hole>,
    /// The model that is fitted; `None` for a file without one.
    pub model: Option<Model>,
    /// The guides, the default one first.
    pub guides: Vec<Guide>,
    /// The infer blocks, the default one first; empty when the file has none.
    pub infers: Vec<super::settings::Infer>,
    /// The `generate` block.
    pub generate: Generate,
    /// The held-out data, as written.
    pub evaluate: Vec<ast::Assign>,
    /// What must hold of the finished fit.
    pub expects: Vec<super::expect::Expect>,
}

impl Program {
    /// The type of an expression.
    pub fn ty(&self, id: ExprId) -> &Ty {
        &self.exprs[id].ty
    }
    /// A size as the user would write it.
    pub fn size_text(&self, size: &Size) -> String {
        size.display(&|id| self.sizes[id].name.clone())
    }
    /// A shape as the user would write it: `[N, 2 * F]`.
    pub fn shape_text(&self, shape: &[Size]) -> String {
        format!("[{}]", shape.iter().map(|s| self.size_text(s)).collect::<Vec<_>>().join(", "))
    }
    /// The datum called `name`.
    pub fn data_named(&self, name: &str) -> Option<DataId> {
        self.data.iter_enumerated().find(|(_, d)| d.name == name).map(|(id, _)| id)
    }
    /// The operands of an expression.
    pub fn operands(&self, id: ExprId) -> Vec<ExprId> {
        match &self.exprs[id].kind {
            ExprKind::Call { args, .. } => args.clone(),
            ExprKind::Index { base, indices } => std::iter::once(*base)
                .chain(indices.iter().filter_map(|ix| match ix {
                    Ix::At(e) | Ix::Gather(e) => Some(*e),
                    _ => None,
                }))
                .collect(),
            ExprKind::LogProb { dist, value } => dist.args().into_iter().chain([*value]).collect(),
            ExprKind::Sample { dist, index } => dist.args().into_iter().chain(index.iter().copied()).collect(),
            ExprKind::Scan { scan, .. } => {
                let scan = &self.scans[*scan];
                let outside = scan.elements.iter().map(|e| e.1).chain(scan.carries.iter().map(|c| c.init));
                outside.chain(scan.captures.iter().copied()).collect()
            }
            _ => Vec::new(),
        }
    }
    /// The sites that an expression depends on, each once, in the model's order; those behind other sites are not
    /// counted.
    pub fn parents(&self, e: ExprId) -> Vec<SiteId> {
        let mut seen = std::collections::HashSet::new();
        let mut stack = vec![e];
        let mut sites = std::collections::BTreeSet::new();
        while let Some(e) = stack.pop() {
            if !seen.insert(e) {
                continue;
            }
            match &self.exprs[e].kind {
                ExprKind::Site(id) => {
                    sites.insert(*id);
                }
                // The body of a loop, whose captures are only known to its operands.
                ExprKind::Scan { scan, .. } => {
                    let scan = &self.scans[*scan];
                    stack.extend(scan.results.iter().copied());
                    stack.extend(scan.carries.iter().map(|c| c.next));
                    stack.extend(self.operands(e));
                }
                _ => stack.extend(self.operands(e)),
            }
        }
        sites.into_iter().collect()
    }
    /// Appends an expression, and notes which variables of loops it depends on.
    pub fn push(&mut self, expr: Expr) -> ExprId {
        let own = match &expr.kind {
            ExprKind::Var(var) => vec![*var],
            _ => Vec::new(),
        };
        let id = self.exprs.push(expr);
        let mut vars = own;
        for o in self.operands(id) {
            if let Some(more) = self.bound.get(&o) {
                vars.extend(more.iter().copied());
            }
        }
        vars.sort();
        vars.dedup();
        if !vars.is_empty() {
            self.bound.insert(id, vars.into());
        }
        id
    }
    /// Whether `wanted` holds for an expression or for one that it is computed from.
    pub fn reads(&self, id: ExprId, wanted: impl Fn(ExprId, &ExprKind) -> bool) -> bool {
        let mut stack = vec![id];
        let mut seen = std::collections::HashSet::new();
        while let Some(e) = stack.pop() {
            if !seen.insert(e) {
                continue;
            }
            if wanted(e, &self.exprs[e].kind) {
                return true;
            }
            stack.extend(self.operands(e));
        }
        false
    }
    /// The variables of loops that an expression depends on, ascending.
    pub fn bound_vars(&self, id: ExprId) -> &[VarId] {
        self.bound.get(&id).map_or(&[], |vars| vars)
    }
    /// Whether an expression stands inside a loop.
    pub fn is_bound(&self, id: ExprId) -> bool {
        self.bound.contains_key(&id)
    }
    /// The variables that a loop binds.
    pub fn scan_vars(&self, scan: &Scan) -> Vec<VarId> {
        let vars = scan.elements.iter().map(|e| e.0).chain(scan.carries.iter().map(|c| c.var));
        vars.filter_map(|e| match self.exprs[e].kind {
            ExprKind::Var(var) => Some(var),
            _ => None,
        })
        .collect()
    }
}
