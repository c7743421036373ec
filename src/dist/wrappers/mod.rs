//! Distributions made of others: cut off, lumped at an end, with more zeros, in order, through a function.
//!
//! Each wrapper is a type that implements [`Wrap`] in a file of its own and one row of [`TABLE`]. What it asks of the
//! distribution inside (its log density, the masses on either side of a point, draws) every [`Dist`] answers, so wrappers
//! nest. A mixture is no wrapper: it has several distributions inside and is a variant of [`Dist`] itself.

mod between;
mod censored;
mod independent;
mod ordered;
mod transformed;
mod truncated;
mod zero_inflated;

pub use censored::Censored;
pub use independent::Independent;
pub use ordered::Ordered;
pub use transformed::{Map, Transformed};
pub use truncated::Truncated;
pub use zero_inflated::ZeroInflated;

use super::{Dist, SupportKind};
use crate::ir::{Builder, DType, Shape, ValueId};

/// What the reference says of a wrapper, the mixture among them.
#[derive(Clone, Copy, Debug)]
pub struct WrapperDef {
    /// Its name in the language.
    pub name: &'static str,
    /// How it is written.
    pub signature: &'static str,
    /// Its arguments: name, what it must be, whether it may be left out.
    pub params: &'static [(&'static str, &'static str, bool)],
    /// One sentence for the reference.
    pub summary: &'static str,
    /// The log density in words of mathematics, `D` that of the distribution inside.
    pub formula: &'static str,
    /// A statement that uses it.
    pub example: &'static str,
}

/// All wrappers, and the mixture.
pub const TABLE: &[WrapperDef] = &[
    WrapperDef {
        name: "Mixture",
        signature: "Mixture(weights, [D, …])",
        params: &[
            ("weights", "a simplex, one weight for each component", false),
            ("components", "a list of distributions of one support", false),
        ],
        summary: "One of several distributions of one support, drawn with the given probabilities.",
        formula: "ln sum_k weights[k] e^(D_k(x))",
        example: "w ~ Mixture([0.75, 0.25], [Normal(0, 0.05), Normal(0, 0.5)])",
    },
    WrapperDef {
        name: "Truncated",
        signature: "Truncated(D, lower = -inf, upper = inf)",
        params: &[
            ("D", "a distribution of numbers with a cdf", false),
            ("lower", "the smallest value, included; an array may hold -inf", true),
            ("upper", "the largest value, included; an array may hold inf", true),
        ],
        summary: "D given that it lies between the two ends, both included.",
        formula: "D(x) - ln P(lower <= X <= upper)   for lower <= x <= upper",
        example: "sigma ~ Truncated(Normal(0, 1), lower = 0)",
    },
    WrapperDef {
        name: "Censored",
        signature: "Censored(D, lower = -inf, upper = inf)",
        params: &[
            ("D", "a distribution of numbers with a cdf", false),
            ("lower", "what smaller values are recorded as; an array may hold -inf", true),
            ("upper", "what larger values are recorded as; an array may hold inf", true),
        ],
        summary: "D where values beyond an end are recorded as that end: for data, which have the mass beyond it there.",
        formula: "ln P(X <= lower) at lower, ln P(X >= upper) at upper, D(x) between",
        example: "time ~ Censored(Weibull(k, s), upper = limit)",
    },
    WrapperDef {
        name: "ZeroInflated",
        signature: "ZeroInflated(p, D)",
        params: &[
            ("p", "between 0 and 1, the probability of a structural zero", false),
            ("D", "a distribution of counts or of numbers of 0 or more", false),
        ],
        summary: "Zero with probability p, otherwise D, which may give zeros too.",
        formula: "ln(p + (1 - p) e^(D(0))) at 0, ln(1 - p) + D(x) elsewhere",
        example: "y ~ ZeroInflated(gate, Poisson(rate))",
    },
    WrapperDef {
        name: "Hurdle",
        signature: "Hurdle(p, D)",
        params: &[
            ("p", "between 0 and 1, the probability of zero", false),
            ("D", "a distribution of numbers; with a cdf unless it is positive anyway", false),
        ],
        summary: "Zero with probability p, otherwise D given that it is positive.",
        formula: "ln p at 0, ln(1 - p) + D(x) - ln P(X > 0) for x > 0",
        example: "y ~ Hurdle(p0, NegativeBinomial(mu, phi))",
    },
    WrapperDef {
        name: "Ordered",
        signature: "Ordered(D)",
        params: &[("D", "a distribution over the real line or the positive numbers", false)],
        summary: "K independent draws of D put in ascending order, K from the declared type.",
        formula: "ln K! + sum_k D(x[k])   for x[0] <= x[1] <= …",
        example: "mu: real[K] ~ Ordered(Normal(0, 5))",
    },
    WrapperDef {
        name: "Transformed",
        signature: "Transformed(D, f)",
        params: &[
            ("D", "a distribution of reals", false),
            ("f", "a monotone function: `exp`, `log`, `sigmoid`, …, or a `fn` or chain `f |> g` of such", false),
        ],
        summary: "f of a draw of D, for a monotone function f that works element by element.",
        formula: "D(u) - ln |f'(u)|   with f(u) = x",
        example: "p ~ Transformed(Normal(0, 1.5), sigmoid)",
    },
    WrapperDef {
        name: "Independent",
        signature: "Independent(D, n)",
        params: &[
            ("D", "a distribution with at least n dimensions", false),
            ("n", "how many of the last dimensions become one event", false),
        ],
        summary: "The last n dimensions of independent draws taken together as one draw: a mixture chooses for all of them.",
        formula: "the sum of D(x) over the last n dimensions",
        example: "x ~ Mixture(w, [Independent(Normal(a, 1), 1), Independent(Normal(b, 1), 1)])",
    },
];

/// The wrapper called `name`.
pub fn get(name: &str) -> Option<&'static WrapperDef> {
    TABLE.iter().find(|w| w.name == name)
}

/// What every wrapper tells. Shapes, gradients and values outside the support are as those of [`Dist`].
pub(super) trait Wrap {
    fn name(&self) -> &'static str;
    /// The distribution inside.
    fn base(&self) -> &Dist;
    fn support(&self) -> SupportKind;
    fn bounds(&self, g: &mut Builder) -> Option<(ValueId, ValueId)>;
    fn event_rank(&self) -> usize {
        self.base().event_rank()
    }
    fn dtype(&self) -> DType {
        self.base().dtype()
    }
    fn batch_shape(&self, g: &Builder) -> Shape;
    fn event_shape(&self, g: &Builder) -> Shape {
        self.base().event_shape(g)
    }
    fn is_proper(&self) -> bool {
        self.base().is_proper()
    }
    fn log_prob(&self, g: &mut Builder, x: ValueId) -> ValueId;
    fn sample(&self, g: &mut Builder, shape: &Shape) -> ValueId;
    fn is_reparameterized(&self) -> bool {
        false
    }
    fn rsample(&self, _g: &mut Builder, _shape: &Shape) -> Option<ValueId> {
        None
    }
    fn mean(&self, _g: &mut Builder) -> Option<ValueId> {
        None
    }
    fn variance(&self, _g: &mut Builder) -> Option<ValueId> {
        None
    }
    fn has_cdf(&self) -> bool {
        self.base().has_cdf()
    }
    fn log_cdf(&self, g: &mut Builder, x: ValueId) -> Option<ValueId>;
    fn log_sf(&self, g: &mut Builder, x: ValueId) -> Option<ValueId>;
    /// The parameters, those of the distribution inside too.
    fn params(&self) -> Vec<ValueId>;
    /// As [`Dist::stretched`].
    fn stretched(&self, g: &mut Builder) -> Dist;
}

/// A distribution with a wrapper around it.
#[derive(Clone, PartialEq, Debug)]
pub enum Wrapped {
    /// Given that it lies between two ends.
    Truncated(Box<Truncated>),
    /// With the mass beyond an end at that end.
    Censored(Box<Censored>),
    /// With additional mass at 0; a hurdle is one around a truncated distribution.
    ZeroInflated(Box<ZeroInflated>),
    /// Draws put in order.
    Ordered(Box<Ordered>),
    /// Through a monotone function.
    Transformed(Box<Transformed>),
    /// Batch dimensions taken as one event.
    Independent(Box<Independent>),
}

impl Wrapped {
    pub(super) fn get(&self) -> &dyn Wrap {
        match self {
            Wrapped::Truncated(w) => &**w,
            Wrapped::Censored(w) => &**w,
            Wrapped::ZeroInflated(w) => &**w,
            Wrapped::Ordered(w) => &**w,
            Wrapped::Transformed(w) => &**w,
            Wrapped::Independent(w) => &**w,
        }
    }
}

macro_rules! into_dist {
    ($($name:ident)*) => {
        $(impl From<$name> for Dist {
            fn from(w: $name) -> Dist {
                Dist::Wrapped(Wrapped::$name(Box::new(w)))
            }
        })*
    };
}
into_dist! { Truncated Censored ZeroInflated Ordered Transformed Independent }

/// `v`, of which one element has `event_rank` dimensions, with a new batch dimension of size 1 before these; as it is where
/// it has no batch dimensions, which broadcast anyway.
pub(super) fn stretch(g: &mut Builder, v: ValueId, event_rank: usize) -> ValueId {
    let rank = g.rank(v);
    if rank == event_rank { v } else { g.expand_dim(v, rank - event_rank) }
}

/// The larger of two lower ends and the smaller of two upper ends; what the graph knows to be infinite is left out.
fn meet(g: &mut Builder, a: (ValueId, ValueId), b: (ValueId, ValueId)) -> (ValueId, ValueId) {
    let mut tighter = |x: ValueId, y: ValueId, open: f64, larger: bool| match (g.as_full(x), g.as_full(y)) {
        (Some(v), _) if v == open => y,
        (_, Some(v)) if v == open => x,
        _ if larger => g.maximum(x, y),
        _ => g.minimum(x, y),
    };
    (tighter(a.0, b.0, f64::NEG_INFINITY, true), tighter(a.1, b.1, f64::INFINITY, false))
}
