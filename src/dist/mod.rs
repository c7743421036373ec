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
mod ends;
mod mixture;
mod pieces;
mod support;
mod tails;
pub mod wrappers;

mod bernoulli;
mod beta;
mod binomial;
mod categorical;
mod continuous_bernoulli;
mod delta;
mod dirichlet;
mod dirichlet_multinomial;
mod exponential;
mod gamma;
mod hypergeometric;
mod implicit;
mod inverse_gaussian;
mod joined;
mod kumaraswamy;
mod laplace;
mod lkj;
mod logistic;
mod low_rank;
mod matrix_normal;
mod multinomial;
mod multivariate_normal;
mod normal;
mod one_hot;
mod ordered;
mod poisson;
mod relaxed;
mod series;
mod skewed;
mod student_t;
mod uniform;
mod von_mises;
mod wishart;
mod zero_sum;

#[cfg(test)]
mod tests;

pub use distribution::Dist;
pub use ends::{End, between, restrict};
pub use support::SupportKind;
pub use tails::Tails;
pub use wrappers::Wrapped;

index_type!(
    /// A row of the table of distributions.
    DistId, "dist"
);

/// Names of trailing dimensions; within one row the same name is the same size.
pub type Dims = &'static [&'static str];

/// What a parameter must satisfy, and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct ParamDef {
    /// Its name in the language.
    pub name: &'static str,
    /// Where it must lie.
    pub support: SupportKind,
    /// How many trailing dimensions one parameter has: 0 scalar, 1 vector, 2 matrix.
    pub event_rank: usize,
    /// The names of those dimensions: parameters and events that share a name share a size.
    pub dims: Dims,
    /// Its default, if it may be left out.
    pub default: Option<f64>,
}

impl ParamDef {
    /// Whether the parameter is a real or an int.
    pub fn dtype(&self) -> DType {
        if self.support.is_discrete() { DType::Int } else { DType::Real }
    }
    /// Whether it is no argument but the shape of an event: an array of the event's shape, of which only the shape
    /// counts. The checker makes it from the declared type.
    pub fn is_shape(&self) -> bool {
        self.name.is_empty()
    }
    /// With other names of its dimensions.
    const fn over(self, dims: Dims) -> ParamDef {
        ParamDef { dims, ..self }
    }
    /// With a default.
    const fn or(self, default: f64) -> ParamDef {
        ParamDef { default: Some(default), ..self }
    }
}

/// A scalar parameter.
const fn scalar(name: &'static str, support: SupportKind) -> ParamDef {
    ParamDef { name, support, event_rank: 0, dims: &[], default: None }
}
/// A vector parameter.
const fn vector(name: &'static str, support: SupportKind) -> ParamDef {
    ParamDef { name, support, event_rank: 1, dims: &["K"], default: None }
}
/// A square matrix parameter.
const fn matrix(name: &'static str, support: SupportKind) -> ParamDef {
    ParamDef { name, support, event_rank: 2, dims: &["K", "K"], default: None }
}
/// The shape of a vector event that no argument tells: the last parameter of its row.
const VECTOR_EVENT: ParamDef = vector("", SupportKind::Real);
/// The shape of a square matrix event that no argument tells: the last parameter of its row.
const MATRIX_EVENT: ParamDef = matrix("", SupportKind::Real);

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
    /// It is, but at a cost that forward draws avoid: those are made by the host's sampler.
    CostlyNoise(DrawFn),
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
    /// The names of those dimensions; a square matrix unless the row says otherwise.
    pub event_dims: Dims,
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
    /// How small masses on either side of a point are found.
    pub tails: Tails,
    /// The inverse of the cdf, for probabilities in (0, 1).
    pub icdf: Option<GraphFnAt>,
    /// The probabilities of the classes `0..K` of a nominal outcome, `[batch.., K]`.
    pub probs: Option<GraphFn>,
    /// The ends of the support, for `Interval`, `GreaterThan` (lower only) and `IntegerRange`.
    pub bounds: Option<BoundsFn>,
    /// KL(self || other), by the other row's id.
    pub kl: &'static [(DistId, KlFn)],
}

impl DistDef {
    /// What rows leave out: no parameters, no draws, nothing in closed form.
    const BASE: DistDef = DistDef {
        name: "",
        summary: "",
        formula: "",
        params: &[],
        support: SupportKind::Real,
        dtype: DType::Real,
        event_rank: 0,
        event_dims: &["K", "K"],
        log_prob: |_, _, _| unreachable!("every row gives its log_prob"),
        rsample: Reparam::None,
        sample: Sampler::Improper,
        mean: None,
        variance: None,
        entropy: None,
        cdf: None,
        tails: Tails::Cdf,
        icdf: None,
        probs: None,
        bounds: None,
        kl: &[],
    };
    /// The position of the parameter called `name`.
    pub fn param(&self, name: &str) -> Option<usize> {
        self.params.iter().position(|p| p.name == name)
    }
    /// Whether it integrates to 1; `Flat` and `HalfFlat` do not, and cannot be drawn from.
    pub fn is_proper(&self) -> bool {
        !matches!(self.sample, Sampler::Improper)
    }
    /// Whether draws are ints.
    pub fn is_discrete(&self) -> bool {
        self.dtype != DType::Real
    }
    /// Whether a draw can carry the gradient of the parameters.
    pub fn is_reparameterized(&self) -> bool {
        !matches!(self.rsample, Reparam::None)
    }
    /// The batch shape of parameters of these shapes, in order; `None` when they do not fit together.
    pub fn batch_shape(&self, params: &[Shape]) -> Option<Shape> {
        assert_eq!(params.len(), self.params.len(), "{} takes {} parameters", self.name, self.params.len());
        let batches = self.params.iter().zip(params).map(|(def, shape)| shape.drop_last(def.event_rank));
        batches.into_iter().try_fold(Shape::scalar(), |acc, batch| acc.broadcast(&batch))
    }
    /// The parameters that a call gives; the shape of an event is none of them.
    pub fn arguments(&self) -> &'static [ParamDef] {
        match self.params.split_last() {
            Some((last, rest)) if last.is_shape() => rest,
            _ => self.params,
        }
    }
    /// The names of the dimensions of one event.
    pub fn event_dims(&self) -> Dims {
        &self.event_dims[..self.event_rank]
    }
    /// The shape of one event for parameters of these shapes: the sizes of the dimensions that have its names.
    pub fn event_shape(&self, params: &[Shape]) -> Shape {
        let size = |name: &&str| {
            let found = self.params.iter().zip(params).find_map(|(def, shape)| {
                let at = def.dims.iter().position(|dim| dim == name)?;
                Some(shape[shape.rank() - def.event_rank + at])
            });
            found.expect("a parameter has every dimension of the event")
        };
        self.event_dims().iter().map(size).collect::<Vec<_>>().into()
    }
}

macro_rules! dists {
    ($($(#[$meta:meta])* $id:ident = $($path:ident)::+,)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Row { $($id,)* }
        impl DistId {
            $($(#[$meta])* pub const $id: DistId = DistId(Row::$id as u32);)*
        }
        static ROWS: &[&DistDef] = &[$(&$($path)::+,)*];
    };
}

// Rows of one name stand together, the form that positional arguments mean first.
dists! {
    // real
    /// Normal(loc, scale)
    NORMAL = normal::NORMAL,
    /// Laplace(loc, scale)
    LAPLACE = laplace::LAPLACE,
    /// StudentT(df, loc, scale)
    STUDENT_T = student_t::STUDENT_T,
    /// Cauchy(loc, scale)
    CAUCHY = student_t::CAUCHY,
    /// Logistic(loc, scale)
    LOGISTIC = logistic::LOGISTIC,
    /// Gumbel(loc, scale)
    GUMBEL = logistic::GUMBEL,
    /// AsymmetricLaplace(loc, scale, asymmetry)
    ASYMMETRIC_LAPLACE = skewed::ASYMMETRIC_LAPLACE,
    /// SkewNormal(loc, scale, skewness)
    SKEW_NORMAL = skewed::SKEW_NORMAL,
    /// Delta(value)
    DELTA = delta::DELTA,
    /// Flat()
    FLAT = uniform::FLAT,
    // positive
    /// HalfNormal(scale)
    HALF_NORMAL = normal::HALF_NORMAL,
    /// LogNormal(loc, scale)
    LOG_NORMAL = normal::LOG_NORMAL,
    /// HalfStudentT(df, scale)
    HALF_STUDENT_T = student_t::HALF_STUDENT_T,
    /// HalfCauchy(scale)
    HALF_CAUCHY = student_t::HALF_CAUCHY,
    /// Exponential(rate)
    EXPONENTIAL = exponential::EXPONENTIAL,
    /// Weibull(concentration, scale)
    WEIBULL = exponential::WEIBULL,
    /// Pareto(concentration, scale)
    PARETO = exponential::PARETO,
    /// Gamma(concentration, rate)
    GAMMA = gamma::GAMMA,
    /// InverseGamma(concentration, scale)
    INVERSE_GAMMA = gamma::INVERSE_GAMMA,
    /// ChiSquared(df)
    CHI_SQUARED = gamma::CHI_SQUARED,
    /// InverseGaussian(mean, concentration)
    INVERSE_GAUSSIAN = inverse_gaussian::INVERSE_GAUSSIAN,
    /// HalfFlat()
    HALF_FLAT = uniform::HALF_FLAT,
    // intervals
    /// Uniform(lower, upper)
    UNIFORM = uniform::UNIFORM,
    /// Beta(alpha, beta)
    BETA = beta::BETA,
    /// Kumaraswamy(a, b)
    KUMARASWAMY = kumaraswamy::KUMARASWAMY,
    /// VonMises(loc, concentration)
    VON_MISES = von_mises::VON_MISES,
    /// ContinuousBernoulli(probs)
    CONTINUOUS_BERNOULLI_PROBS = continuous_bernoulli::PROBS,
    /// ContinuousBernoulli(logits)
    CONTINUOUS_BERNOULLI_LOGITS = continuous_bernoulli::LOGITS,
    /// RelaxedBernoulli(temperature, probs)
    RELAXED_BERNOULLI_PROBS = relaxed::BERNOULLI_PROBS,
    /// RelaxedBernoulli(temperature, logits)
    RELAXED_BERNOULLI_LOGITS = relaxed::BERNOULLI_LOGITS,
    // discrete
    /// Bernoulli(probs)
    BERNOULLI_PROBS = bernoulli::PROBS,
    /// Bernoulli(logits)
    BERNOULLI_LOGITS = bernoulli::LOGITS,
    /// Categorical(probs)
    CATEGORICAL_PROBS = categorical::PROBS,
    /// Categorical(logits)
    CATEGORICAL_LOGITS = categorical::LOGITS,
    /// OrderedLogistic(eta, cutpoints)
    ORDERED_LOGISTIC = ordered::LOGISTIC,
    /// Binomial(total, probs)
    BINOMIAL_PROBS = binomial::PROBS,
    /// Binomial(total, logits)
    BINOMIAL_LOGITS = binomial::LOGITS,
    /// BetaBinomial(total, alpha, beta)
    BETA_BINOMIAL = binomial::BETA_BINOMIAL,
    /// Poisson(rate)
    POISSON_RATE = poisson::RATE,
    /// Poisson(log_rate)
    POISSON_LOG_RATE = poisson::LOG_RATE,
    /// NegativeBinomial(mean, concentration)
    NEGATIVE_BINOMIAL = poisson::NEGATIVE_BINOMIAL,
    /// Geometric(probs)
    GEOMETRIC = poisson::GEOMETRIC,
    /// Hypergeometric(population, successes, draws)
    HYPERGEOMETRIC = hypergeometric::HYPERGEOMETRIC,
    /// DiscreteUniform(lower, upper)
    DISCRETE_UNIFORM = uniform::DISCRETE_UNIFORM,
    // vectors and matrices
    /// OneHotCategorical(probs)
    ONE_HOT_CATEGORICAL_PROBS = one_hot::PROBS,
    /// OneHotCategorical(logits)
    ONE_HOT_CATEGORICAL_LOGITS = one_hot::LOGITS,
    /// Multinomial(total, probs)
    MULTINOMIAL_PROBS = multinomial::PROBS,
    /// Multinomial(total, logits)
    MULTINOMIAL_LOGITS = multinomial::LOGITS,
    /// DirichletMultinomial(total, concentration)
    DIRICHLET_MULTINOMIAL = dirichlet_multinomial::DIRICHLET_MULTINOMIAL,
    /// Dirichlet(concentration)
    DIRICHLET = dirichlet::DIRICHLET,
    /// GumbelSoftmax(temperature, probs)
    GUMBEL_SOFTMAX_PROBS = relaxed::SOFTMAX_PROBS,
    /// GumbelSoftmax(temperature, logits)
    GUMBEL_SOFTMAX_LOGITS = relaxed::SOFTMAX_LOGITS,
    /// MultivariateNormal(loc, cov)
    MULTIVARIATE_NORMAL_COV = multivariate_normal::COV,
    /// MultivariateNormal(loc, scale_tril)
    MULTIVARIATE_NORMAL_TRIL = multivariate_normal::TRIL,
    /// MultivariateNormal(loc, precision)
    MULTIVARIATE_NORMAL_PRECISION = multivariate_normal::PRECISION,
    /// MultivariateNormal(loc, factor, diag)
    MULTIVARIATE_NORMAL_LOW_RANK = low_rank::LOW_RANK,
    /// MultivariateStudentT(df, loc, scale_tril)
    MULTIVARIATE_STUDENT_T = multivariate_normal::STUDENT_T,
    /// GaussianRandomWalk(scale, drift, start)
    GAUSSIAN_RANDOM_WALK = series::GAUSSIAN_RANDOM_WALK,
    /// AR(coefficients, scale, loc)
    AR = series::AR,
    /// ZeroSumNormal(scale)
    ZERO_SUM_NORMAL = zero_sum::ZERO_SUM_NORMAL,
    /// MatrixNormal(loc, scale_tril_row, scale_tril_column)
    MATRIX_NORMAL = matrix_normal::MATRIX_NORMAL,
    /// Wishart(df, scale)
    WISHART = wishart::WISHART,
    /// InverseWishart(df, scale)
    INVERSE_WISHART = wishart::INVERSE_WISHART,
    /// LKJCholesky(concentration)
    LKJ_CHOLESKY = lkj::LKJ_CHOLESKY,
    /// LKJ(concentration)
    LKJ = lkj::LKJ,
}

/// All rows, in the order of their ids.
pub fn rows() -> &'static [&'static DistDef] {
    ROWS
}
/// The row `id`.
pub fn get(id: DistId) -> &'static DistDef {
    ROWS[crate::index::Idx::index(id)]
}
/// The ids of all rows.
pub fn ids() -> impl Iterator<Item = DistId> {
    (0..ROWS.len()).map(crate::index::Idx::new)
}
/// The rows called `name`, the form that positional arguments mean first; empty when there is no such family.
pub fn forms(name: &str) -> Vec<DistId> {
    ids().filter(|&id| get(id).name == name).collect()
}
/// The names of all families, each once, in the order of the table.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = ROWS.iter().map(|row| row.name).collect();
    names.dedup();
    names
}
