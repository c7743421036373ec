//! Location-scale sites written with a standard variable: `x = loc + scale * z`, `z` free of the parameters.
//!
//! Hierarchical priors such as `theta ~ Normal(mu, tau)` make a funnel: where `tau` is small, `theta` has no room, and
//! no step size suits both ends. In `z` the prior is the same everywhere (Papaspiliopoulos, Roberts & Sköld 2007,
//! "A general framework for the parametrization of hierarchical models"). The model, its names and its answers stay
//! what they are; only the coordinates in which an algorithm moves are others.

use crate::check::settings::{Reparam, is_location_scale};
use crate::check::size::Size;
use crate::check::typed::*;
use crate::dist::{Dist, DistId, get};
use crate::ir::{Builder, ValueId};
use crate::lower::SizeValues;

/// Up to so many observed or dependent numbers for each element, `auto` takes the standard variable; with more, the data
/// hold an element in place whatever its prior, and the element itself is the better coordinate.
const FEW: usize = 20;

/// What was chosen for one location-scale site, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The site.
    pub site: SiteId,
    /// Whether it is written with a standard variable.
    pub noncentered: bool,
    /// Why, as a clause.
    pub reason: String,
}

/// The choice for every location-scale site whose prior depends on other sites, or that the user names. Without
/// `sizes` the numbers of rows are not known, and few are assumed.
///
/// The rule of `auto`: a site is written with a standard variable when the *scale* of its prior depends on other sites
/// and no more than 20 observed or dependent numbers belong to each of its elements.
pub fn choose(program: &Program, reparam: &Reparam, sizes: Option<&SizeValues>) -> Vec<Choice> {
    let Some(model) = &program.model else { return Vec::new() };
    let mut choices = Vec::new();
    for (id, site) in model.sites.iter_enumerated() {
        // Where a loop makes elements depend on each other, the array has no standard variable.
        let own = site.dist.args().into_iter().any(|a| program.parents(a).contains(&id));
        if !is_location_scale(&site.dist) || site.absorbed || own {
            continue;
        }
        let by_scale = depends(program, &site.dist, &["scale", "scale_tril", "cov"]);
        let hierarchical = by_scale || depends(program, &site.dist, &["loc", "df"]);
        let (noncentered, reason) = match reparam {
            Reparam::Sites(sites) if sites.contains(&id) => (true, "as asked".to_string()),
            _ if !hierarchical => continue,
            Reparam::Sites(_) => (false, "not among the sites that were named".to_string()),
            Reparam::Centered => (false, "as asked".to_string()),
            Reparam::Noncentered => (true, "as asked".to_string()),
            Reparam::Auto if !by_scale => (false, "the scale of its prior is fixed".to_string()),
            Reparam::Auto => match sizes.map(|sizes| numbers_for_each(program, model, id, sizes)) {
                Some(n) if n > FEW => (false, format!("about {n} numbers depend on each element")),
                _ => (true, "the scale of its prior depends on other sites".to_string()),
            },
        };
        choices.push(Choice { site: id, noncentered, reason });
    }
    choices
}

/// Whether a parameter of one of these names depends on a site.
fn depends(program: &Program, d: &DistExpr, names: &[&str]) -> bool {
    match d {
        DistExpr::Row { def, args, .. } => {
            let row = get(*def);
            names.iter().filter_map(|n| row.param(n)).any(|i| !program.parents(args[i]).is_empty())
        }
        DistExpr::Joined { parts, .. } => parts.iter().any(|(_, d)| depends(program, d, names)),
        _ => false,
    }
}

/// How many numbers, observed or of sites, depend on one element of `site` on average.
fn numbers_for_each(program: &Program, model: &Model, site: SiteId, sizes: &SizeValues) -> usize {
    let count = |shape: &[Size]| -> usize {
        shape
            .iter()
            .map(|s| s.evaluate(&|id| Some(sizes[id])).and_then(|n| usize::try_from(n).ok()).unwrap_or(1))
            .product()
    };
    let uses = |d: &DistExpr| d.args().into_iter().any(|a| program.parents(a).contains(&site));
    let observed = model.observations.iter().filter(|o| uses(&o.dist)).map(|o| count(&program.ty(o.value).shape));
    let dependent = model.sites.iter().filter(|s| uses(&s.dist)).map(|s| count(&s.ty.shape));
    let own = count(&model.sites[site].ty.shape).max(1);
    (observed.sum::<usize>() + dependent.sum::<usize>()).div_ceil(own)
}

/// The value of a site with prior `prior` at the standard variable `z`, and the log density of `z` (batch shaped).
///
/// # Panics
/// When the prior is not one of [`is_location_scale`].
pub fn from_standard(g: &mut Builder, prior: &Dist, z: ValueId) -> (ValueId, ValueId) {
    let (def, params) = match prior {
        Dist::Row { def, params } => (def, params),
        Dist::Joined { axis, parts } => return joined(g, *axis, parts, z),
        _ => unreachable!("only rows are location-scale families"),
    };
    let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
    let normal = Dist::row(DistId::NORMAL, [zero, one]);
    if *def == DistId::MULTIVARIATE_NORMAL_TRIL || *def == DistId::MULTIVARIATE_NORMAL_COV {
        let factor = if *def == DistId::MULTIVARIATE_NORMAL_COV { g.cholesky(params[1]) } else { params[1] };
        let log_prob = normal.log_prob(g, z);
        let log_prob = g.sum_last(log_prob, 1);
        let axis = g.rank(z);
        let column = g.expand_dim(z, axis);
        let step = g.matmul(factor, false, column, false);
        let shape = g.shape(z);
        let step = g.reshape(step, shape);
        return (g.add(step, params[0]), log_prob);
    }
    let row = get(*def);
    let (loc, scale) = (row.param("loc").expect("a location"), row.param("scale").expect("a scale"));
    let step = g.mul(z, params[scale]);
    let x = g.add(step, params[loc]);
    if *def == DistId::LOG_NORMAL {
        return (g.exp(x), normal.log_prob(g, z));
    }
    let mut standard = params.clone();
    (standard[loc], standard[scale]) = (zero, one);
    let log_prob = Dist::row(*def, standard).log_prob(g, z);
    (x, log_prob)
}

/// The standard variable at which [`from_standard`] gives `x`.
///
/// # Panics
/// When the prior is not one of [`is_location_scale`].
pub fn to_standard(g: &mut Builder, prior: &Dist, x: ValueId) -> ValueId {
    let (def, params) = match prior {
        Dist::Row { def, params } => (def, params),
        Dist::Joined { axis, parts } => {
            let mut start = 0;
            let mut pieces = Vec::new();
            for (n, d) in parts {
                let piece = g.slice(x, *axis, start, *n);
                let z = to_standard(g, d, piece);
                let shape = g.shape(piece);
                pieces.push(g.broadcast_to(z, shape));
                start += n;
            }
            return g.concat(&pieces, *axis);
        }
        _ => unreachable!("only rows are location-scale families"),
    };
    if *def == DistId::MULTIVARIATE_NORMAL_TRIL || *def == DistId::MULTIVARIATE_NORMAL_COV {
        let factor = if *def == DistId::MULTIVARIATE_NORMAL_COV { g.cholesky(params[1]) } else { params[1] };
        let step = g.sub(x, params[0]);
        let shape = g.shape(step);
        let axis = g.rank(step);
        let column = g.expand_dim(step, axis);
        // One factor for each vector.
        let n = shape[shape.rank() - 1];
        let factor = g.broadcast_to(factor, shape.drop_last(1).concat(&[n, n]));
        let z = g.solve_triangular(factor, column, true, false);
        return g.reshape(z, shape);
    }
    let row = get(*def);
    let (loc, scale) = (row.param("loc").expect("a location"), row.param("scale").expect("a scale"));
    let x = if *def == DistId::LOG_NORMAL { g.log(x) } else { x };
    let step = g.sub(x, params[loc]);
    g.div(step, params[scale])
}

/// The same part by part.
fn joined(g: &mut Builder, axis: usize, parts: &[(usize, Dist)], z: ValueId) -> (ValueId, ValueId) {
    let mut start = 0;
    let (mut values, mut log_probs) = (Vec::new(), Vec::new());
    for (n, d) in parts {
        let piece = g.slice(z, axis, start, *n);
        let (value, log_prob) = from_standard(g, d, piece);
        let shape = g.shape(piece);
        values.push(g.broadcast_to(value, shape));
        log_probs.push(g.sum_all(log_prob));
        start += n;
    }
    (g.concat(&values, axis), g.add_all(&log_probs))
}

/// ln |det| of the map from the standard variable of a multivariate normal to its value, batch shaped.
///
/// # Panics
/// For other families.
pub fn log_det(g: &mut Builder, prior: &Dist) -> ValueId {
    let factor = match prior {
        Dist::Row { def: DistId::MULTIVARIATE_NORMAL_TRIL, params } => params[1],
        Dist::Row { def: DistId::MULTIVARIATE_NORMAL_COV, params } => g.cholesky(params[1]),
        _ => unreachable!("other families have a scale for each element"),
    };
    let diagonal = g.diagonal(factor);
    let log = g.log(diagonal);
    g.sum_last(log, 1)
}
