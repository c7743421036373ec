//! Sites as weights of dense layers and convolutions: along which axis they meet inputs, and which layer is the last.

use super::typed::*;
use crate::dist::SupportKind;
use crate::index::Idx;

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

/// The weights and biases of the layers whose outputs reach no other layer with a site for its weight.
pub fn last_layer(program: &Program, model: &Model) -> Vec<SiteId> {
    let site = |e: ExprId| match program.exprs[e].kind {
        ExprKind::Site(site) => Some(site),
        _ => None,
    };
    let layer = |e: ExprId| match &program.exprs[e].kind {
        ExprKind::Call { def, args, .. }
            if matches!(def.name, "dense" | "conv1d" | "conv2d" | "conv_transpose1d" | "conv_transpose2d") =>
        {
            let mut w = args[1];
            while let ExprKind::Call { def, args, .. } = &program.exprs[w].kind
                && matches!(def.name, "reshape" | "transpose" | "flatten")
            {
                w = args[0];
            }
            Some((args[0], site(w)?, args.get(2).and_then(|&b| site(b))))
        }
        _ => None,
    };
    let layers: Vec<(ExprId, ExprId)> =
        program.exprs.indices().filter_map(|e| layer(e).map(|(input, ..)| (e, input))).collect();
    // Whatever the input of a layer is computed from is not the last.
    let mut before = vec![false; program.exprs.len()];
    let mut stack: Vec<ExprId> = layers.iter().map(|l| l.1).collect();
    while let Some(e) = stack.pop() {
        if !std::mem::replace(&mut before[e.index()], true) {
            stack.extend(program.operands(e));
        }
    }
    let last = layers.into_iter().filter(|(e, _)| !before[e.index()]).filter_map(|(e, _)| layer(e));
    let mut sites: Vec<SiteId> = last.flat_map(|(_, w, b)| std::iter::once(w).chain(b)).collect();
    sites.sort();
    sites.dedup();
    sites.retain(|s| model.sites.indices().any(|own| own == *s));
    sites
}
