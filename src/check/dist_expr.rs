//! Distributions with typed arguments: rows of the table, mixtures, wrappers, and what loops join.

use super::size::Size;
use super::typed::ExprId;
use crate::dist::wrappers::Map;
use crate::dist::{DistId, SupportKind};
use crate::source::Span;

/// A distribution with typed arguments.
#[derive(Clone, Debug)]
pub enum DistExpr {
    /// A row of the table.
    Row {
        /// Which.
        def: DistId,
        /// Its arguments, one per parameter of the row, defaults filled in.
        args: Vec<ExprId>,
        /// Where it was written.
        span: Span,
    },
    /// `Mixture(weights, [D, …])`
    Mixture {
        /// Probabilities `[…, K]`.
        weights: ExprId,
        /// The components.
        components: Vec<DistExpr>,
        /// Where it was written.
        span: Span,
    },
    /// Another distribution, changed.
    Wrapped {
        /// How.
        wrapper: WrapperExpr,
        /// The distribution inside.
        base: Box<DistExpr>,
        /// Where draws lie.
        support: SupportKind,
        /// Where it was written.
        span: Span,
    },
    /// Distributions of the parts of an array, side by side along a dimension: how a loop gives an array its density.
    Joined {
        /// The dimension, which is one of independent elements.
        axis: usize,
        /// How many entries each part has, and their distribution.
        parts: Vec<(Size, DistExpr)>,
        /// Where it was written.
        span: Span,
    },
}

/// What a wrapper does, with typed arguments.
#[derive(Clone, Debug)]
pub enum WrapperExpr {
    /// `Truncated(D, lower, upper)`; an end that is not given is infinite.
    Truncated {
        /// The smallest value.
        lower: Option<ExprId>,
        /// The largest value.
        upper: Option<ExprId>,
    },
    /// `Censored(D, lower, upper)`; an end that is not given is infinite.
    Censored {
        /// What smaller values are recorded as.
        lower: Option<ExprId>,
        /// What larger values are recorded as.
        upper: Option<ExprId>,
    },
    /// `ZeroInflated(p, D)`, and `Hurdle(p, D)` with the positive part of D inside.
    ZeroInflated {
        /// The probability of the additional zero.
        p: ExprId,
        /// Whether it was written `Hurdle`.
        hurdle: bool,
    },
    /// `Ordered(D)`
    Ordered,
    /// `Transformed(D, f)`
    Transformed {
        /// The function as a chain of maps, the innermost first.
        maps: Vec<Map<ExprId>>,
    },
    /// `Independent(D, n)`
    Independent {
        /// How many of the last dimensions are one event.
        dims: usize,
    },
}

impl WrapperExpr {
    /// Its name in the language.
    pub fn name(&self) -> &'static str {
        match self {
            WrapperExpr::Truncated { .. } => "Truncated",
            WrapperExpr::Censored { .. } => "Censored",
            WrapperExpr::ZeroInflated { hurdle: false, .. } => "ZeroInflated",
            WrapperExpr::ZeroInflated { hurdle: true, .. } => "Hurdle",
            WrapperExpr::Ordered => "Ordered",
            WrapperExpr::Transformed { .. } => "Transformed",
            WrapperExpr::Independent { .. } => "Independent",
        }
    }
    /// The same with other arguments of its own.
    fn map_args<E>(&self, f: &mut impl FnMut(ExprId) -> Result<ExprId, E>) -> Result<WrapperExpr, E> {
        let mut end = |e: &Option<ExprId>| e.map(&mut *f).transpose();
        Ok(match self {
            WrapperExpr::Truncated { lower, upper } => {
                WrapperExpr::Truncated { lower: end(lower)?, upper: end(upper)? }
            }
            WrapperExpr::Censored { lower, upper } => WrapperExpr::Censored { lower: end(lower)?, upper: end(upper)? },
            WrapperExpr::ZeroInflated { p, hurdle } => WrapperExpr::ZeroInflated { p: f(*p)?, hurdle: *hurdle },
            WrapperExpr::Transformed { maps } => {
                let mut mapped = Vec::with_capacity(maps.len());
                for map in maps {
                    let operand = map.operand().map(&mut *f).transpose()?;
                    mapped.push(map.with(|c| operand.unwrap_or(c)));
                }
                WrapperExpr::Transformed { maps: mapped }
            }
            WrapperExpr::Ordered | WrapperExpr::Independent { .. } => self.clone(),
        })
    }
    /// Its own arguments, not those of the distribution inside.
    pub fn args(&self) -> Vec<ExprId> {
        match self {
            WrapperExpr::Truncated { lower, upper } | WrapperExpr::Censored { lower, upper } => {
                lower.iter().chain(upper).copied().collect()
            }
            WrapperExpr::ZeroInflated { p, .. } => vec![*p],
            WrapperExpr::Transformed { maps } => maps.iter().filter_map(|map| map.operand()).collect(),
            WrapperExpr::Ordered | WrapperExpr::Independent { .. } => Vec::new(),
        }
    }
}

impl DistExpr {
    /// Where it was written.
    pub fn span(&self) -> Span {
        match self {
            DistExpr::Row { span, .. }
            | DistExpr::Mixture { span, .. }
            | DistExpr::Wrapped { span, .. }
            | DistExpr::Joined { span, .. } => *span,
        }
    }
    /// All argument expressions.
    pub fn args(&self) -> Vec<ExprId> {
        match self {
            DistExpr::Row { args, .. } => args.clone(),
            DistExpr::Mixture { weights, components, .. } => {
                std::iter::once(*weights).chain(components.iter().flat_map(|c| c.args())).collect()
            }
            DistExpr::Wrapped { wrapper, base, .. } => wrapper.args().into_iter().chain(base.args()).collect(),
            DistExpr::Joined { parts, .. } => parts.iter().flat_map(|(_, d)| d.args()).collect(),
        }
    }
    /// The support as the checker sees it.
    pub fn support(&self) -> SupportKind {
        match self {
            DistExpr::Row { def, .. } => crate::dist::get(*def).support,
            DistExpr::Mixture { components, .. } => components.first().map_or(SupportKind::Real, DistExpr::support),
            DistExpr::Wrapped { support, .. } => *support,
            DistExpr::Joined { parts, .. } => parts[0].1.support(),
        }
    }
    /// The number of trailing dimensions of one draw.
    pub fn event_rank(&self) -> usize {
        match self {
            DistExpr::Row { def, .. } => crate::dist::get(*def).event_rank,
            DistExpr::Mixture { components, .. } => components.first().map_or(0, DistExpr::event_rank),
            DistExpr::Wrapped { wrapper, base, .. } => match wrapper {
                WrapperExpr::Ordered => 1,
                WrapperExpr::Independent { dims } => base.event_rank() + dims,
                _ => base.event_rank(),
            },
            DistExpr::Joined { parts, .. } => parts[0].1.event_rank(),
        }
    }
    /// Whether it integrates to 1 and can be drawn from.
    pub fn is_proper(&self) -> bool {
        match self {
            DistExpr::Row { def, .. } => crate::dist::get(*def).is_proper(),
            DistExpr::Mixture { components, .. } => components.iter().all(DistExpr::is_proper),
            DistExpr::Joined { parts, .. } => parts.iter().all(|(_, d)| d.is_proper()),
            DistExpr::Wrapped { base, .. } => base.is_proper(),
        }
    }
    /// What a message calls it.
    pub fn name(&self) -> &'static str {
        match self {
            DistExpr::Row { def, .. } => crate::dist::get(*def).name,
            DistExpr::Mixture { .. } => "Mixture",
            DistExpr::Joined { parts, .. } => parts[0].1.name(),
            DistExpr::Wrapped { wrapper, .. } => wrapper.name(),
        }
    }
    /// Whether draws can carry the gradient of the parameters.
    pub fn is_reparameterized(&self) -> bool {
        match self {
            DistExpr::Row { def, .. } => crate::dist::get(*def).is_reparameterized(),
            DistExpr::Mixture { .. } | DistExpr::Joined { .. } => false,
            DistExpr::Wrapped { wrapper, base, .. } => match wrapper {
                // Draws follow their quantiles.
                WrapperExpr::Truncated { .. } => {
                    !base.is_discrete() && base.event_rank() == 0 && base.without_cdf().is_none()
                }
                WrapperExpr::Ordered | WrapperExpr::Transformed { .. } | WrapperExpr::Independent { .. } => {
                    base.is_reparameterized()
                }
                WrapperExpr::Censored { .. } | WrapperExpr::ZeroInflated { .. } => false,
            },
        }
    }
    /// Whether it has a density that a guide needs: no value has a probability of its own, and the whole is one.
    pub fn has_density(&self) -> bool {
        match self {
            DistExpr::Row { def, .. } => crate::dist::get(*def).is_proper() && !self.is_discrete(),
            DistExpr::Mixture { components, .. } => components.iter().all(DistExpr::has_density),
            DistExpr::Joined { parts, .. } => parts.iter().all(|(_, d)| d.has_density()),
            DistExpr::Wrapped { wrapper, base, .. } => {
                !matches!(wrapper, WrapperExpr::Censored { .. } | WrapperExpr::ZeroInflated { .. })
                    && base.has_density()
            }
        }
    }
    /// The innermost part whose cdf is not known; `None` where that of the whole is.
    pub fn without_cdf(&self) -> Option<&DistExpr> {
        match self {
            DistExpr::Row { def, .. } => (!crate::dist::get(*def).has_cdf()).then_some(self),
            DistExpr::Mixture { components, .. } => components.iter().find_map(DistExpr::without_cdf),
            DistExpr::Joined { .. } => Some(self),
            DistExpr::Wrapped { wrapper: WrapperExpr::Ordered | WrapperExpr::Independent { .. }, .. } => Some(self),
            DistExpr::Wrapped { base, .. } => base.without_cdf(),
        }
    }
    /// The part that has both a density and masses on single points, by its name; `None` where there is none.
    pub fn atoms(&self) -> Option<&'static str> {
        match self {
            DistExpr::Row { .. } => None,
            DistExpr::Mixture { components, .. } => components.iter().find_map(DistExpr::atoms),
            DistExpr::Joined { parts, .. } => parts.iter().find_map(|(_, d)| d.atoms()),
            DistExpr::Wrapped { wrapper, base, .. } => match wrapper {
                WrapperExpr::Censored { .. } | WrapperExpr::ZeroInflated { .. } if !base.is_discrete() => {
                    Some(wrapper.name())
                }
                _ => base.atoms(),
            },
        }
    }
    /// Whether draws are whole numbers.
    pub fn is_discrete(&self) -> bool {
        match self {
            DistExpr::Row { def, .. } => crate::dist::get(*def).is_discrete(),
            DistExpr::Mixture { components, .. } => components.first().is_some_and(DistExpr::is_discrete),
            DistExpr::Joined { parts, .. } => parts.iter().any(|(_, d)| d.is_discrete()),
            DistExpr::Wrapped { base, .. } => base.is_discrete(),
        }
    }
    /// The same with other arguments: `f` gets each argument with the number of its trailing dimensions that are not
    /// of independent elements.
    pub fn map_args<E>(&self, f: &mut dyn FnMut(ExprId, usize) -> Result<ExprId, E>) -> Result<DistExpr, E> {
        Ok(match self {
            DistExpr::Row { def, args, span } => {
                let params = crate::dist::get(*def).params;
                let args = args.iter().zip(params).map(|(&a, p)| f(a, p.event_rank)).collect::<Result<_, E>>()?;
                DistExpr::Row { def: *def, args, span: *span }
            }
            DistExpr::Mixture { weights, components, span } => DistExpr::Mixture {
                weights: f(*weights, 1)?,
                components: components.iter().map(|c| c.map_args(f)).collect::<Result<_, E>>()?,
                span: *span,
            },
            DistExpr::Wrapped { wrapper, base, support, span } => DistExpr::Wrapped {
                wrapper: wrapper.map_args(&mut |a| f(a, 0))?,
                base: Box::new(match wrapper {
                    // What was independent inside is part of one event now.
                    WrapperExpr::Independent { dims } => base.map_args(&mut |a, rank| f(a, rank + dims))?,
                    _ => base.map_args(f)?,
                }),
                support: *support,
                span: *span,
            },
            DistExpr::Joined { axis, parts, span } => DistExpr::Joined {
                axis: *axis,
                parts: parts.iter().map(|(n, d)| Ok((n.clone(), d.map_args(f)?))).collect::<Result<_, E>>()?,
                span: *span,
            },
        })
    }
}
