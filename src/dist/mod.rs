//! Every distribution, defined once.
//!
//! A *row* ([`DistDef`]) is one parameterization of one named family: `Bernoulli(probs)` and `Bernoulli(logits)` are two
//! rows with the same `name`. A [`Dist`] is a distribution whose parameters are values of a graph.
//!
//! Densities, moments, cdfs and KL divergences are graph code, so their gradients are derived. Parameters broadcast from
//! the right over batch dimensions; the trailing [`DistDef::event_rank`] dimensions of a draw are one event.
//! To add a distribution: write its file, and its line in [`dists!`](self) below.

use crate::index_type;
use crate::ir::{Builder, DType, Shape, ValueId};
use rand::Rng;

mod distribution;
mod pieces;
mod support;

mod bernoulli;
mod beta;
mod categorical;
mod exponential;
mod gamma;
mod implicit;
mod laplace;
mod normal;
mod student_t;
mod uniform;

#[cfg(test)]
mod tests;

pub use distribution::Dist;
pub use support::SupportKind;

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

impl ParamDef {
    /// Whether the parameter is a real or an int.
    pub fn dtype(&self) -> DType {
        if self.support.is_discrete() { DType::Int } else { DType::Real }
    }
}

/// A scalar parameter.
const fn scalar(name: &'static str, support: SupportKind) -> ParamDef {
    ParamDef { name, support, event_rank: 0, default: None }
}
/// A vector parameter.
const fn vector(name: &'static str, support: SupportKind) -> ParamDef {
    ParamDef { name, support, event_rank: 1, default: None }
}
/// A square matrix parameter.
const fn matrix(name: &'static str, support: SupportKind) -> ParamDef {
    ParamDef { name, support, event_rank: 2, default: None }
}

/// Graph code of one value: `(builder, parameters)`.
pub type GraphFn = fn(&mut Builder, &[ValueId]) -> ValueId;
/// Graph code of one value at `x`: `(builder, x, parameters)`.
pub type GraphFnAt = fn(&mut Builder, ValueId, &[ValueId]) -> ValueId;
/// A draw of the given shape, batch and event, as graph code.
pub type DrawFn = fn(&mut Builder, &[ValueId], &Shape) -> ValueId;
/// KL(p || q) of two rows, graph code of their parameters; its shape broadcasts to the common batch shape.
pub type KlFn = fn(&mut Builder, &[ValueId], &[ValueId]) -> ValueId;
/// The two ends of a support, graph code of the parameters.
pub type BoundsFn = fn(&mut Builder, &[ValueId]) -> (ValueId, ValueId);

/// How forward draws are made on the host. Parameters outside their support give NaN, never a panic.
#[derive(Clone, Copy)]
pub enum Sampler {
    /// One number from scalar parameters.
    Scalar(fn(&mut dyn Rng, &[f64]) -> f64),
    /// One event from whole parameters (row-major, event shaped), written to the slice.
    Event(fn(&mut dyn Rng, &[&[f64]], &mut [f64])),
    /// There are no draws: the distribution is improper.
    Improper,
}

/// How a draw carries the gradient of the parameters.
#[derive(Clone, Copy)]
pub enum Reparam {
    /// It does not.
    None,
    /// It is a smooth function of parameters and noise.
    Noise(DrawFn),
    /// A draw without a gradient, plus a term of value 0 that has the gradient of the inverse cdf
    /// (Figurnov et al. 2018, arXiv:1805.08498). Forward draws leave the term out.
    Implicit(DrawFn),
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
    /// Outside the support it is -inf, never NaN, and its gradients are 0.
    pub log_prob: GraphFnAt,
    /// A differentiable draw of the given shape (batch + event).
    pub rsample: Reparam,
    /// Draws without a gradient.
    pub sample: Sampler,
    /// The mean, where it exists in closed form; like all that follow, its shape broadcasts to batch + event.
    pub mean: Option<GraphFn>,
    /// The variance (of each coordinate); inf or NaN where it does not exist.
    pub variance: Option<GraphFn>,
    /// The entropy [nats], batch shaped.
    pub entropy: Option<GraphFn>,
    /// P(X <= x), also outside the support.
    pub cdf: Option<GraphFnAt>,
    /// The inverse of the cdf, for probabilities in (0, 1).
    pub icdf: Option<GraphFnAt>,
    /// The probabilities of the classes `0..K` of a nominal outcome, `[batch.., K]`.
    pub probs: Option<GraphFn>,
    /// The ends of the support, for `Interval`, `GreaterThan` (lower only) and `IntegerRange`.
    pub bounds: Option<BoundsFn>,
    /// KL(self || other), by the other row's id.
    pub kl: &'static [(DistId, KlFn)],
}

/// The row of `id`.
pub fn get(id: DistId) -> &'static DistDef {
    unreachable!("the table of distributions has {id}")
}
