//! Chains of discrete latents: the forward algorithm, and draws backwards.

use super::checker::{Checker, R, Reported};
use super::discrete::{Aligned, Latent, Term, View};
use super::size::Size;
use super::typed::*;
use crate::builtins;
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::Elem;

impl<'p> Checker<'p> {
    fn not_a_chain(&mut self, name: &str, term: Span, span: Span) -> Reported {
        let message = format!("`{name}` is a chain whose elements depend on more than the one before");
        let d = Diagnostic::new(Code::E0505, message)
            .label(term, "joins elements that are not neighbours")
            .label(span, "summed out by the forward algorithm")
            .help("let each element depend on the one before only, from the second to the last");
        self.report(d)
    }
    pub(super) fn chain_sum(
        &mut self,
        latent: &Latent,
        terms: &[Term],
        aligned: &[Aligned],
        span: Span,
        name: &str,
    ) -> R<ExprId> {
        let rank = latent.shape.len();
        let plates = latent.shape[..rank - 1].to_vec();
        let steps = latent.shape[rank - 1].clone();
        let before = steps.sub(&1.into()).unwrap_or_default();
        let count = latent.count.clone();
        let shape =
            |lead: &[Size], tail: &[Size]| -> Vec<Size> { lead.iter().chain(&plates).chain(tail).cloned().collect() };
        // [steps, plates…, values], and [steps - 1, plates…, values before, values after] or without steps.
        let mut single: Option<ExprId> = None;
        let mut pair: Option<ExprId> = None;
        for (term, a) in terms.iter().zip(aligned) {
            let views: Vec<View> = a.views.iter().cloned().collect();
            match &views[..] {
                [view] => {
                    let (start, len) = match view {
                        View::At(at) => (at.clone(), Size::from(1)),
                        View::Group(_) => return Err(self.not_a_chain(name, term.span, span)),
                        View::Part { start, len } => (start.clone(), len.clone()),
                    };
                    let e = self.potential(latent, term, a, &views, span);
                    let mut full = vec![count.clone()];
                    full.extend(plates.iter().cloned());
                    full.push(len.clone());
                    let e = self.stretched(e, &full);
                    // values, plates, steps to steps, plates, values
                    let mut order: Vec<usize> = vec![rank];
                    order.extend(1..rank);
                    order.push(0);
                    let e = self.permuted(e, &order);
                    let end = start.add(&len).unwrap_or_default();
                    let behind = steps.sub(&end).unwrap_or_default();
                    let mut parts = Vec::new();
                    if start.as_number() != Some(0) {
                        parts.push(self.zeros_of(shape(&[start], std::slice::from_ref(&count)), span));
                    }
                    parts.push(e);
                    if self.fixed(&behind).as_number() != Some(0) {
                        parts.push(self.zeros_of(shape(&[behind], std::slice::from_ref(&count)), span));
                    }
                    let e = self.concat_of(parts, span);
                    single = Some(single.map_or(e, |s| self.add_exprs(s, e, span)));
                }
                [View::Part { start: a_start, len: a_len }, View::Part { start: b_start, len: b_len }]
                    if a_start.as_number() == Some(0)
                        && b_start.as_number() == Some(1)
                        && self.agree(a_len, &before)
                        && self.agree(b_len, &before) =>
                {
                    // The later element first, so that the earlier one leads.
                    let order = [views[1].clone(), views[0].clone()];
                    let e = self.potential(latent, term, a, &order, span);
                    // before, after, plates, steps to steps, plates, before, after
                    let mut order: Vec<usize> = vec![rank + 1];
                    order.extend(2..rank + 1);
                    order.extend([0, 1]);
                    let e = self.permuted(e, &order);
                    pair = Some(pair.map_or(e, |p| self.add_exprs(p, e, span)));
                }
                _ => return Err(self.not_a_chain(name, term.span, span)),
            }
        }
        let (Some(single), Some(pair)) = (single, pair) else {
            let d = Diagnostic::new(Code::E0505, format!("the elements of `{name}` cannot be summed out one by one"))
                .label(span, "parts of it are used in different ways")
                .help("use the whole array, or a chain from the second element to the last");
            return Err(self.report(d));
        };
        let pair_full = shape(std::slice::from_ref(&before), &[count.clone(), count.clone()]);
        let pair_varies = !self.program.ty(pair).shape[0].is_one();
        let pair = match pair_varies {
            true => self.stretched(pair, &pair_full),
            // The same for all steps: every iteration sees it whole.
            false => {
                let own = self.program.ty(pair).shape[1..].to_vec();
                let pair = self.reshaped(pair, own);
                self.stretched(pair, &pair_full[1..])
            }
        };
        let state = shape(&[], std::slice::from_ref(&count));
        let values = plates.len();
        let init = self.slice_first(single, Size::default(), 1.into(), span);
        let init = self.reshaped(init, state.clone());
        let later = self.slice_first(single, 1.into(), before.clone(), span);

        // Forwards: alpha' = ln sum over the value before of exp(alpha + pair), plus what the step itself says.
        let alpha = self.variable(Ty::new(Elem::Real, state.clone()), span);
        let own = self.variable(Ty::new(Elem::Real, state.clone()), span);
        let mut elements = vec![(own, later)];
        let pair_ty = Ty::new(Elem::Real, pair_full[1..].to_vec());
        let here = if pair_varies {
            let var = self.variable(pair_ty.clone(), span);
            elements.push((var, pair));
            var
        } else {
            pair
        };
        let column = self.with_ones(alpha, values + 1, 1);
        let joint = self.add_exprs(column, here, span);
        let reached = self.reduced(&builtins::reduce::LOGSUMEXP, joint, &[values], span);
        let next = self.add_exprs(reached, own, span);
        let carry = Carry { var: alpha, init, next };
        let forward = self.scan(before.clone(), false, elements, vec![carry], vec![next], span);
        let all = Ty::new(Elem::Real, shape(std::slice::from_ref(&before), std::slice::from_ref(&count)));
        let last =
            self.push(ExprKind::Scan { scan: forward, port: Port::Last(0) }, Ty::new(Elem::Real, state.clone()), span);
        let filtered = self.push(ExprKind::Scan { scan: forward, port: Port::Stacked(0) }, all.clone(), span);

        // Backwards: the last element from its filtered probabilities, then each given the one after it.
        let end = self.categorical(last, &Size::default(), Vec::new(), span);
        let first = self.with_ones(init, 0, 1);
        let joined = self.concat_of(vec![first, filtered], span);
        let filtered = self.slice_first(joined, Size::default(), before.clone(), span);
        let alpha = self.variable(Ty::new(Elem::Real, state.clone()), span);
        let after = self.variable(Ty::new(Elem::Int, plates.clone()), span);
        let mut elements = vec![(alpha, filtered)];
        let here = if pair_varies {
            let var = self.variable(pair_ty, span);
            elements.push((var, pair));
            var
        } else {
            pair
        };
        // Of the pairs, those that end in the value after.
        let numbers = self.counting(&Size::default(), &count, span);
        let wanted = self.with_ones(after, values, 2);
        let chosen = {
            let shape = shape(&[], &[Size::from(1), count.clone()]);
            self.call_of(
                &builtins::elementwise::EQ,
                vec![wanted, numbers],
                Attrs::default(),
                Ty::new(Elem::Bool, shape),
                span,
            )
        };
        let zero = self.constant(0.0, Elem::Real, span);
        let ended = self.call_of(
            &builtins::elementwise::WHERE,
            vec![chosen, here, zero],
            Attrs::default(),
            Ty::new(Elem::Real, pair_full[1..].to_vec()),
            span,
        );
        let ended = self.sum_axes(ended, &[values + 1], span);
        let logits = self.add_exprs(alpha, ended, span);
        let draw = self.categorical(logits, &Size::default(), vec![alpha], span);
        let carry = Carry { var: after, init: end, next: draw };
        let backward = self.scan(before.clone(), true, elements, vec![carry], vec![draw], span);
        let drawn = Ty::new(Elem::Int, shape(std::slice::from_ref(&before), &[]));
        let drawn = self.push(ExprKind::Scan { scan: backward, port: Port::Stacked(0) }, drawn, span);
        let end = self.with_ones(end, 0, 1);
        let whole = self.concat_of(vec![drawn, end], span);
        let mut order: Vec<usize> = (1..rank).collect();
        order.push(0);
        let whole = self.permuted(whole, &order);
        self.model.discrete[latent.id].back = Some(self.shifted(whole, &latent.lower, span));
        Ok(self.reduced(&builtins::reduce::LOGSUMEXP, last, &[values], span))
    }
}
