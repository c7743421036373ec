//! The proof that a minibatch is sound: no operation on the way to a density mixes the rows of the subsampled size.
//!
//! For every expression that depends on something random or learnable, the position of the size among its dimensions is
//! followed from the operands. What depends on data alone is computed on all rows beforehand, so it may mix them.

use super::checker::Checker;
use super::settings::Algorithm;
use super::size::SizeId;
use super::typed::*;
use crate::builtins::Rows;
use crate::diag::{Code, Diagnostic};
use crate::index::IndexVec;

/// For every expression, whether it depends on data, sizes and constants alone.
pub fn data_only(program: &Program) -> IndexVec<ExprId, bool> {
    let mut result: IndexVec<ExprId, bool> = IndexVec::new();
    for (id, e) in program.exprs.iter_enumerated() {
        let leaf = match &e.kind {
            ExprKind::Site(_)
            | ExprKind::Param(_)
            | ExprKind::Hole(_)
            | ExprKind::Draw(_)
            | ExprKind::Discrete(_)
            | ExprKind::Var(_)
            | ExprKind::Sample { .. } => false,
            ExprKind::Call { def, .. } => !def.draws(),
            _ => true,
        };
        let operands = program.operands(id);
        let value = leaf && operands.iter().all(|&o| result[o]);
        result.push(value);
    }
    result
}

/// The dimension of `size` in the shape of `e`; an error when it occurs twice or inside an expression.
fn row_axis(program: &Program, e: ExprId, size: SizeId) -> Result<Option<usize>, ()> {
    let shape = &program.ty(e).shape;
    let mut found = None;
    for (i, s) in shape.iter().enumerate() {
        if s.as_name() == Some(size) {
            if found.is_some() {
                return Err(());
            }
            found = Some(i);
        } else if s.mentions(size) {
            return Err(());
        }
    }
    Ok(found)
}

impl<'p> Checker<'p> {
    /// Proves every `minibatch` of the file sound, or says which operation mixes rows.
    pub(super) fn check_minibatches(&mut self) {
        let batches: Vec<_> = self
            .program
            .infers
            .iter()
            .filter(|i| i.algorithm == Algorithm::Svi)
            .filter_map(|i| i.svi.minibatch)
            .collect();
        for batch in batches {
            let name = self.program.sizes[batch.size].name.clone();
            let mut rows = false;
            for (_, d) in self.program.data.iter_enumerated().map(|(i, d)| (i, d.clone())).collect::<Vec<_>>() {
                let Some(at) = d.ty.shape.iter().position(|s| s.mentions(batch.size)) else { continue };
                rows = true;
                if at != 0
                    || d.ty.shape[0].as_name() != Some(batch.size)
                    || d.ty.shape[1..].iter().any(|s| s.mentions(batch.size))
                {
                    let message = format!("`{}` has no rows of `{name}` to choose from", d.name);
                    let diagnostic = Diagnostic::new(Code::E0705, message)
                        .label(d.ty_span, format!("`{name}` must be the first dimension, and only that"))
                        .label(batch.span, "subsampled here")
                        .help("transpose the data, or leave `minibatch` out");
                    self.report(diagnostic);
                }
            }
            if !rows {
                let d = Diagnostic::new(Code::E0705, format!("no datum has rows of `{name}`"))
                    .label(batch.span, "subsampled here")
                    .help("name the first size of the observed data");
                self.report(d);
                continue;
            }
            self.check_rows(batch.size, &name, batch.span);
        }
    }

    fn check_rows(&mut self, size: SizeId, name: &str, batch: crate::source::Span) {
        let fixed = data_only(&self.program);
        let mut wanted: IndexVec<ExprId, bool> = self.program.exprs.iter().map(|_| false).collect();
        let mut roots: Vec<ExprId> = Vec::new();
        let observations: Vec<(ExprId, DistExpr)> =
            self.model.observations.iter().map(|o| (o.value, o.dist.clone())).collect();
        for (value, dist) in &observations {
            roots.push(*value);
            roots.extend(dist.args());
        }
        for site in &self.model.sites {
            roots.extend(site.dist.args());
        }
        let factor = |step: &Step| match step {
            Step::Factor(e) => Some(*e),
            Step::Marginal(at) => Some(self.model.marginals[*at].value),
            _ => None,
        };
        let factors: Vec<ExprId> = self.model.steps.iter().filter_map(factor).collect();
        roots.extend(&factors);
        for guide in &self.program.guides {
            for step in &guide.steps {
                if let GuideStep::Explicit { dist, .. } = step {
                    roots.extend(dist.args());
                }
            }
        }
        let mut stack = roots;
        while let Some(e) = stack.pop() {
            if !wanted[e] {
                wanted[e] = true;
                if !fixed[e] {
                    stack.extend(self.program.operands(e));
                }
            }
        }
        let ids: Vec<ExprId> = self.program.exprs.indices().collect();
        // What is computed from a mistake is no further mistake.
        let mut mixed: IndexVec<ExprId, bool> = self.program.exprs.iter().map(|_| false).collect();
        for e in ids {
            if !wanted[e] || fixed[e] {
                continue;
            }
            if self.program.operands(e).iter().any(|&o| mixed[o]) {
                mixed[e] = true;
                continue;
            }
            if let Err(what) = rows_kept(&self.program, e, size) {
                mixed[e] = true;
                let expr = &self.program.exprs[e];
                let d = Diagnostic::new(Code::E0704, format!("{what} mixes the rows of `{name}`"))
                    .label(expr.span, "needs all rows at once")
                    .label(batch, format!("but a minibatch of `{name}` has only some of them"))
                    .help(match &expr.kind {
                        ExprKind::Call { def, .. } if def.name == "sum" && factors.contains(&e) => {
                            "`factor` adds the elements of an array by itself, and scales them: leave `sum` out"
                        }
                        _ => "remove `minibatch`, or move the operation to the data",
                    });
                self.report(d);
            }
        }
        // The entries of one draw of a vector or matrix are no rows: each depends on the others.
        let draws: Vec<(DistExpr, Vec<super::size::Size>)> = (self.model.observations.iter())
            .map(|o| (o.dist.clone(), self.program.ty(o.value).shape.clone()))
            .chain(self.model.sites.iter().map(|s| (s.dist.clone(), s.ty.shape.clone())))
            .collect();
        for (dist, shape) in draws {
            let event = &shape[shape.len().saturating_sub(dist.event_rank())..];
            if event.iter().any(|s| s.mentions(size)) {
                let d =
                    Diagnostic::new(Code::E0704, format!("one draw of `{}` mixes the rows of `{name}`", dist.name()))
                        .label(dist.span(), "needs all rows at once")
                        .label(batch, format!("but a minibatch of `{name}` has only some of them"))
                        .help("remove `minibatch`, or use a family of independent rows");
                self.report(d);
            }
        }
        // Local latents must have their rows first, as data have.
        let sites: Vec<Site> = self.model.sites.iter().cloned().collect();
        for site in sites {
            let Some(at) = site.ty.shape.iter().position(|s| s.mentions(size)) else { continue };
            if at != 0
                || site.ty.shape[0].as_name() != Some(size)
                || site.ty.shape[1..].iter().any(|s| s.mentions(size))
            {
                let d = Diagnostic::new(Code::E0705, format!("`{}` has no rows of `{name}` to choose from", site.name))
                    .label(site.span, format!("`{name}` must be the first dimension, and only that"))
                    .label(batch, "subsampled here")
                    .help("put the dimension first, or leave `minibatch` out");
                self.report(d);
            }
        }
        // Families that join sites or rows cannot be subsampled.
        let guides = self.program.guides.clone();
        for guide in &guides {
            for step in &guide.steps {
                let GuideStep::Family { family, sites, span } = step else { continue };
                if !matches!(family, Family::FullRank | Family::LowRank(_) | Family::Flow(_) | Family::Mixture { .. }) {
                    continue;
                }
                let word = super::print::family_name(*family);
                if let Some(&local) =
                    sites.iter().find(|&&s| self.model.sites[s].ty.shape.iter().any(|d| d.mentions(size)))
                {
                    let site = self.model.sites[local].name.clone();
                    let d = Diagnostic::new(Code::E0704, format!("`{word}` mixes the rows of `{name}` in `{site}`"))
                        .label(*span, "correlates all rows")
                        .label(batch, format!("but a minibatch of `{name}` has only some of them"))
                        .help(format!("give it a family of its own: `{site} ~ mean_field`"));
                    self.report(d);
                }
            }
        }
    }
}

/// Whether what the model says of a row of `size` needs that row alone: then rows may be taken some at a time. The data and
/// the observations must have them first, and so must the latents that have them.
pub fn rows_apart(program: &Program, size: SizeId) -> bool {
    let Some(model) = &program.model else { return false };
    let first = |shape: &[super::size::Size]| {
        !shape.iter().any(|s| s.mentions(size))
            || (shape[0].as_name() == Some(size) && !shape[1..].iter().any(|s| s.mentions(size)))
    };
    let fixed = data_only(program);
    let mut stack: Vec<ExprId> = Vec::new();
    for o in &model.observations {
        stack.push(o.value);
        stack.extend(o.dist.args());
    }
    stack.extend(model.sites.iter().flat_map(|s| s.dist.args().into_iter().chain(s.forward)));
    stack.extend(model.discrete.iter().flat_map(|d| d.dist.args().into_iter().chain(d.forward)));
    stack.extend(model.marginals.iter().map(|m| m.value));
    let mut seen: IndexVec<ExprId, bool> = program.exprs.iter().map(|_| false).collect();
    while let Some(e) = stack.pop() {
        if std::mem::replace(&mut seen[e], true) || fixed[e] {
            continue;
        }
        if rows_kept(program, e, size).is_err() || matches!(program.exprs[e].kind, ExprKind::Scan { .. }) {
            return false;
        }
        stack.extend(program.operands(e));
    }
    let draws = model.observations.iter().map(|o| (&o.dist, &program.ty(o.value).shape));
    let mut draws = draws.chain(model.sites.iter().map(|s| (&s.dist, &s.ty.shape)));
    let events_apart = draws
        .all(|(dist, shape)| !shape[shape.len().saturating_sub(dist.event_rank())..].iter().any(|s| s.mentions(size)));
    events_apart
        && program.data.iter().all(|d| first(&d.ty.shape))
        && model.sites.iter().all(|s| first(&s.ty.shape))
        && model.observations.iter().all(|o| first(&program.ty(o.value).shape))
}

/// Whether row `i` of `e` needs only row `i` of what it is computed from; otherwise what to call the operation.
pub fn rows_kept(program: &Program, e: ExprId, size: SizeId) -> Result<(), String> {
    let described = |e: ExprId| match &program.exprs[e].kind {
        ExprKind::Call { def, .. } => format!("`{}`", def.name),
        _ => "this index".to_string(),
    };
    let out = row_axis(program, e, size).map_err(|()| described(e))?;
    let operands = program.operands(e);
    let axes: Vec<Option<usize>> =
        operands.iter().map(|&o| row_axis(program, o, size).map_err(|()| described(e))).collect::<Result<_, _>>()?;
    if axes.iter().all(Option::is_none) {
        return match (&program.exprs[e].kind, out) {
            // `range(N)`: positions of rows, not rows. A number repeated is the same for every row.
            (ExprKind::Call { def, .. }, Some(_)) if !matches!(def.name, "fill" | "zeros" | "ones") => {
                Err(described(e))
            }
            _ => Ok(()),
        };
    }
    let rank = |e: ExprId| program.ty(e).shape.len();
    let kept = match &program.exprs[e].kind {
        ExprKind::Call { def, attrs, .. } => match def.rows {
            Rows::Elementwise => {
                operands.iter().zip(&axes).all(|(&o, axis)| axis.is_none_or(|a| out == Some(a + rank(e) - rank(o))))
            }
            Rows::ReducesAxes => axes[0].is_some_and(|a| !attrs.ints.contains(&(a as i64))),
            Rows::Leading => {
                let per_row = !matches!(def.name, "dense" | "layer_norm") || rank(operands[0]) >= 2;
                per_row && axes[0] == Some(0) && axes[1..].iter().all(Option::is_none) && out == Some(0)
            }
            Rows::MatMul => {
                let (a, b) = (operands[0], operands[1]);
                match (axes[0], axes[1]) {
                    (Some(x), None) => x + 1 < rank(a) && out.is_some(),
                    (None, Some(y)) => rank(b) >= 2 && y + 2 != rank(b) && out.is_some(),
                    (Some(x), Some(y)) => x == y && x + 2 < rank(a) && y + 2 < rank(b),
                    (None, None) => true,
                }
            }
            Rows::Mixes => match def.name {
                // Rows stay rows when the first dimension is untouched.
                "reshape" => axes[0] == Some(0) && out == Some(0),
                "transpose" | "stack" => out.is_some(),
                _ => false,
            },
        },
        ExprKind::Index { base, indices } => {
            let base_axis = row_axis(program, *base, size).map_err(|()| "this index".to_string())?;
            let mut dim = 0;
            let mut whole = true;
            for ix in indices {
                if matches!(ix, Ix::New) {
                    continue;
                }
                if base_axis == Some(dim) && !matches!(ix, Ix::All) {
                    whole = false;
                }
                dim += 1;
            }
            whole && (base_axis.is_none() || out.is_some())
        }
        _ => true,
    };
    if kept { Ok(()) } else { Err(described(e)) }
}
