//! Which sites `dropout(rate)` can take inputs from: weights of dense layers and convolutions.

use super::typed::*;
use crate::dist::SupportKind;

/// The axis of a weight that its layers sum over, as their inputs: rows of a dense weight `[I, O]` and of a transposed
/// convolution's `[C, O, ..]`, the second axis of a convolution's `[O, C, ..]`. `None` for a site that is no weight, that
/// is rearranged before a layer takes it, that layers disagree on, or that has constraints.
pub fn input_axis(program: &Program, model: &Model, site: SiteId) -> Option<usize> {
    if model.sites[site].dist.support() != SupportKind::Real {
        return None;
    }
    let mut found = None;
    for e in &program.exprs {
        let ExprKind::Call { def, args, .. } = &e.kind else { continue };
        let axis = match def.name {
            "dense" | "conv_transpose1d" | "conv_transpose2d" => 0,
            "conv1d" | "conv2d" => 1,
            _ => continue,
        };
        if !matches!(program.exprs[args[1]].kind, ExprKind::Site(s) if s == site) {
            continue;
        }
        if found.is_some_and(|f| f != axis) {
            return None;
        }
        found = Some(axis);
    }
    found
}
