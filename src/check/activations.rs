//! Which function follows the layer of a learnable weight: it decides how widely the weight starts.
//!
//! In: the whole typed program.   Out: `activation` of its params. He, Zhang, Ren & Sun 2015 (arXiv:1502.01852) keep the
//! variance through rectifiers, Glorot & Bengio 2010 (AISTATS 9:249) through functions that are linear near 0.

use super::typed::*;

/// Follows every activation function back to the weights whose layers feed it; the first one counts.
pub(super) fn mark(program: &mut Program) {
    let mut found: Vec<(ParamId, Activation)> = Vec::new();
    for e in &program.exprs {
        let ExprKind::Call { def, args, .. } = &e.kind else { continue };
        let activation = match def.name {
            "relu" | "gelu" | "softplus" => Activation::Rectifier,
            "tanh" | "sigmoid" => Activation::Saturating,
            _ => continue,
        };
        if let Some(param) = args.first().and_then(|&x| weight_behind(program, x)) {
            found.push((param, activation));
        }
    }
    for (param, activation) in found {
        let start = &mut program.params[param].activation;
        if *start == Activation::None {
            *start = activation;
        }
    }
}

/// The param that is the weight of the layer whose result is `e`, also when it was pooled or reshaped.
fn weight_behind(program: &Program, e: ExprId) -> Option<ParamId> {
    let mut e = e;
    loop {
        let ExprKind::Call { def, args, .. } = &program.exprs[e].kind else { return None };
        match def.name {
            "conv1d" | "conv2d" | "conv_transpose1d" | "conv_transpose2d" | "dense" => {
                let mut w = args[1];
                loop {
                    match &program.exprs[w].kind {
                        ExprKind::Param(id) => return Some(*id),
                        ExprKind::Call { def, args, .. } if matches!(def.name, "reshape" | "transpose") => w = args[0],
                        _ => return None,
                    }
                }
            }
            "reshape" | "flatten" | "max_pool1d" | "max_pool2d" | "avg_pool1d" | "avg_pool2d" => e = args[0],
            _ => return None,
        }
    }
}
