//! Every distribution, defined once.
//!
//! A *row* ([`DistDef`]) is one parameterization of one named family: `Bernoulli(probs)` and `Bernoulli(logits)` are two
//! rows with the same `name`. A [`Dist`] is a distribution whose parameters are values of a graph.

use crate::index_type;
use crate::ir::{Builder, DType, Shape, ValueId};
use crate::rng::Philox;

index_type!(
    /// A row of the table of distributions.
    DistId, "dist"
);

/// What a parameter must satisfy, and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct ParamDef {
    /// Its name in the language.
    pub name: &'static str,
    /// Where it must lie.
    pub support: SupportKind,
    /// How many trailing dimensions one parameter has: 0 scalar, 1 vector, 2 matrix.
    pub event_rank: usize,
    /// Its default, if it may be left out.
    pub default: Option<f64>,
}

/// Where values lie, as the checker sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SupportKind {
    /// The real line.
    Real,
    /// Greater than 0.
    Positive,
    /// 0 or greater.
    NonNegative,
    /// Between 0 and 1.
    UnitInterval,
    /// Between two ends that the parameters give (Uniform, Truncated).
    Interval,
    /// Greater than a bound that the parameters give (Pareto).
    GreaterThan,
    /// Positive numbers that sum to 1.
    Simplex,
    /// Ascending vectors.
    Ordered,
    /// 0 or 1.
    Boolean,
    /// 0, 1, 2, …
    Count,
    /// Integers of a range that the parameters give (Binomial: 0..=total; Categorical: 0..K).
    IntegerRange,
    /// Vectors of counts with a given sum.
    CountVector,
    /// Lower Cholesky factors of positive definite matrices (as parameters: `scale_tril`).
    LowerCholesky,
    /// Symmetric positive definite matrices.
    PositiveDefinite,
}

/// Graph code of one value: `(builder, parameters)`.
pub type GraphFn = fn(&mut Builder, &[ValueId]) -> ValueId;
/// Graph code of one value at `x`: `(builder, x, parameters)`.
pub type GraphFnAt = fn(&mut Builder, ValueId, &[ValueId]) -> ValueId;
/// KL(p || q) of two rows, graph code of their parameters; batch shaped.
pub type KlFn = fn(&mut Builder, &[ValueId], &[ValueId]) -> ValueId;

/// How forward draws are made on the host.
#[derive(Clone, Copy)]
pub enum Sampler {
    /// One number from scalar parameters.
    Scalar(fn(&mut Philox, &[f64]) -> f64),
    /// One event from whole parameters (row-major, event shaped), written to the slice.
    Event(fn(&mut Philox, &[&[f64]], &mut [f64])),
}

/// One row of the table.
pub struct DistDef {
    /// The family's name in the language.
    pub name: &'static str,
    /// One sentence for the reference.
    pub summary: &'static str,
    /// The log density in words of mathematics, for the reference.
    pub formula: &'static str,
    /// Its parameters, in order.
    pub params: &'static [ParamDef],
    /// Where draws lie.
    pub support: SupportKind,
    /// Whether draws are reals or ints.
    pub dtype: DType,
    /// How many trailing dimensions one draw has.
    pub event_rank: usize,
    /// The log density [nats], batch shaped: `x` and the parameters broadcast over batch dimensions.
    /// Outside the support it is -inf, never NaN.
    pub log_prob: GraphFnAt,
    /// A differentiable draw of the given shape (batch + event), made of noise nodes; `None` when there is none.
    pub rsample: Option<fn(&mut Builder, &[ValueId], &Shape) -> ValueId>,
    /// Draws without a gradient.
    pub sample: Sampler,
    /// The mean, where it exists in closed form.
    pub mean: Option<GraphFn>,
    /// The variance (of each coordinate).
    pub variance: Option<GraphFn>,
    /// The entropy [nats].
    pub entropy: Option<GraphFn>,
    /// P(X <= x).
    pub cdf: Option<GraphFnAt>,
    /// The inverse of the cdf.
    pub icdf: Option<GraphFnAt>,
    /// The ends of the support, for `Interval`, `GreaterThan` (lower only) and `IntegerRange`.
    pub bounds: Option<fn(&mut Builder, &[ValueId]) -> (ValueId, ValueId)>,
    /// KL(self || other), by the other row's id.
    pub kl: &'static [(DistId, KlFn)],
}

/// The row of `id`.
pub fn get(id: DistId) -> &'static DistDef {
    unreachable!("the table of distributions has {id}")
}
