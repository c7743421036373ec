//! Discrete latents are summed out of the density.
//!
//! One latent goes after the other. All terms of the density that depend on it are evaluated for all its values at once
//! ([`super::batch`]) and combined:
//!
//! - a scalar latent: `ln sum_k exp(sum of terms at k)`, one number;
//! - independent elements (`kind: int[N]`, each term a sum over elements): the same for each element;
//! - a chain (`z[t] ~ D(… z[t - 1] …)`): the forward algorithm, one scan over the elements.
//!
//! What is left is a term like any other: it may depend on latents that go later, which is how nested ones are eliminated.
//! The pieces that were summed give the exact conditional too: draws of `generate` go the other way, the last latent first.
//! Rabiner 1989, "A tutorial on hidden Markov models" (forward algorithm, backward sampling).

use super::batch::{Batch, Thin};
use super::checker::{Checker, R};
use super::size::Size;
use super::typed::*;
use crate::builtins::{self, Rows};
use crate::diag::{Code, Diagnostic};
use crate::dist::{self, DistId, End};
use crate::source::Span;
use crate::syntax::ast::Elem;
use std::collections::{BTreeSet, HashMap};

/// More combinations than this are refused.
pub const MAX_COMBINATIONS: i64 = 1_000_000;

/// A term of the density.
#[derive(Clone)]
pub(super) struct Term {
    /// Its log density [nats].
    pub(super) value: ExprId,
    pub(super) observations: Vec<usize>,
    pub(super) sites: Vec<SiteId>,
    pub(super) latents: Vec<DiscreteId>,
    pub(super) span: Span,
}

/// Which entries of a latent's last dimension an expression uses.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum View {
    /// One entry; the dimension is gone.
    At(Size),
    /// `len` entries from `start`.
    Part { start: Size, len: Size },
    /// The entries that an index array names: several rows of a term may belong to one element.
    Group(ExprId),
}

/// How an expression depends on a latent: entry by entry.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Aligned {
    /// For each dimension of the latent, the dimension of the expression that runs with it; `None` when it is gone.
    pub(super) axes: Vec<Option<usize>>,
    pub(super) views: BTreeSet<View>,
}

/// The operation that lets one element of a term depend on several elements of the latent.
struct Mixing {
    span: Span,
    what: String,
}

/// What is known of the latent that goes now.
pub(super) struct Latent {
    pub(super) id: DiscreteId,
    pub(super) shape: Vec<Size>,
    pub(super) lower: Size,
    pub(super) count: Size,
}

impl<'p> Checker<'p> {
    /// Replaces all terms that depend on discrete latents by what is left when those are summed out.
    pub(super) fn sum_out(&mut self) -> R<()> {
        if self.model.discrete.is_empty() {
            return Ok(());
        }
        let mut terms: Vec<Term> = Vec::new();
        let mut rest: Vec<Step> = Vec::new();
        for (id, latent) in self.model.discrete.iter_enumerated().map(|(i, d)| (i, d.clone())).collect::<Vec<_>>() {
            let values = self.log_probs(&latent.dist, latent.value, &latent.ty.shape, latent.span);
            terms.extend(values.into_iter().map(|value| Term {
                value,
                observations: Vec::new(),
                sites: Vec::new(),
                latents: vec![id],
                span: latent.span,
            }));
        }
        for step in std::mem::take(&mut self.model.steps) {
            let depends = |cx: &Self, roots: Vec<ExprId>| roots.iter().any(|&e| cx.uses_discrete(e));
            match &step {
                Step::Site(site) => {
                    let s = self.model.sites[*site].clone();
                    if depends(self, s.dist.args()) {
                        self.model.sites[*site].absorbed = true;
                        for value in self.log_probs(&s.dist, s.value, &s.ty.shape, s.span) {
                            let (observations, latents) = (Vec::new(), Vec::new());
                            terms.push(Term { value, observations, sites: vec![*site], latents, span: s.span });
                        }
                    }
                    rest.push(step);
                }
                Step::Observe(at) => {
                    let o = self.model.observations[*at].clone();
                    let mut roots = o.dist.args();
                    roots.push(o.value);
                    if !depends(self, roots) {
                        rest.push(step);
                        continue;
                    }
                    let shape = self.program.ty(o.value).shape.clone();
                    for value in self.log_probs(&o.dist, o.value, &shape, o.span) {
                        let (sites, latents) = (Vec::new(), Vec::new());
                        terms.push(Term { value, observations: vec![*at], sites, latents, span: o.span });
                    }
                }
                Step::Factor(e) if self.uses_discrete(*e) => {
                    let span = self.program.exprs[*e].span;
                    let (observations, sites, latents) = (Vec::new(), Vec::new(), Vec::new());
                    terms.push(Term { value: *e, observations, sites, latents, span });
                }
                _ => rest.push(step),
            }
        }
        self.model.steps = rest;
        // Latents with more dimensions first, then those that were declared later.
        let mut order: Vec<DiscreteId> = self.model.discrete.indices().collect();
        order.sort_by_key(|&d| {
            (std::cmp::Reverse(self.model.discrete[d].ty.shape.len()), std::cmp::Reverse(crate::index::Idx::index(d)))
        });
        let mut failed = false;
        for id in order {
            let (own, others): (Vec<Term>, Vec<Term>) = terms.into_iter().partition(|t| self.reaches(t.value, id));
            terms = others;
            match self.eliminate(id, &own) {
                Ok((value, how)) => {
                    let mut joined = Term {
                        value,
                        observations: own.iter().flat_map(|t| t.observations.clone()).collect(),
                        sites: own.iter().flat_map(|t| t.sites.clone()).collect(),
                        latents: own.iter().flat_map(|t| t.latents.clone()).collect(),
                        span: self.model.discrete[id].span,
                    };
                    joined.observations.sort_unstable();
                    joined.observations.dedup();
                    joined.sites.sort();
                    joined.sites.dedup();
                    joined.latents.sort();
                    joined.latents.dedup();
                    if self.uses_discrete(value) {
                        terms.push(joined);
                    } else {
                        let at = self.model.marginals.len();
                        let Term { value, observations, sites, latents, span } = joined;
                        self.model.marginals.push(Marginal { value, latents, observations, sites, how, span });
                        self.model.steps.push(Step::Marginal(at));
                    }
                }
                Err(_) => failed = true,
            }
        }
        if failed { Err(super::checker::Reported) } else { Ok(()) }
    }

    fn uses_discrete(&self, e: ExprId) -> bool {
        self.program.reads(e, |_, kind| matches!(kind, ExprKind::Discrete(_)))
    }
    fn reaches(&self, e: ExprId, id: DiscreteId) -> bool {
        self.program.reads(e, |_, kind| matches!(kind, ExprKind::Discrete(d) if *d == id))
    }

    /// The log density of `value ~ dist`; one for each part that a loop has joined.
    fn log_probs(&mut self, dist: &DistExpr, value: ExprId, shape: &[Size], span: Span) -> Vec<ExprId> {
        if let DistExpr::Joined { axis, parts, .. } = dist {
            let mut start = Size::default();
            let mut all = Vec::new();
            for (len, part) in parts {
                let mut own = shape.to_vec();
                own[*axis] = len.clone();
                let mut indices = vec![Ix::All; *axis];
                indices.push(Ix::Slice { start: start.clone(), len: len.clone() });
                let elem = self.program.ty(value).elem;
                let slice = self.push(ExprKind::Index { base: value, indices }, Ty::new(elem, own.clone()), span);
                all.extend(self.log_probs(part, slice, &own, span));
                start = start.add(len).unwrap_or(start);
            }
            return all;
        }
        let batch = shape[..shape.len() - dist.event_rank()].to_vec();
        let kind = ExprKind::LogProb { dist: Box::new(dist.clone()), value };
        vec![self.push(kind, Ty::new(Elem::Real, batch), span)]
    }

    /// The smallest value of a discrete distribution and how many there are.
    fn finite_support(&mut self, d: &DistExpr, name: &str) -> R<(Size, Size)> {
        let (def, args) = match d {
            DistExpr::Row { def, args, .. } => (*def, args.clone()),
            DistExpr::Joined { parts, .. } => {
                let mut found: Option<(Size, Size)> = None;
                for (_, part) in parts {
                    let (lower, count) = self.finite_support(part, name)?;
                    found = match found {
                        None => Some((lower, count)),
                        Some((l, c)) if self.agree(&l, &lower) && self.agree(&c, &count) => Some((l, c)),
                        Some(_) => {
                            let message = format!("elements of `{name}` have different numbers of values");
                            let help = "give all elements the same values";
                            return Err(self.error(Code::E0505, message, d.span(), "summed out together", help));
                        }
                    };
                }
                return Ok(found.expect("parts"));
            }
            DistExpr::Wrapped { .. } => {
                // What the ends leave of it, where both are known.
                let (End::At(lower), End::At(upper)) = self.known_ends(d) else {
                    let message = format!("`{name}` is discrete, and `{}` has no known largest value", d.name());
                    let help = "give it two ends that are numbers: `Truncated(D, lower = 0, upper = 20)`";
                    return Err(self.error(Code::E0505, message, d.span(), "cannot be summed out", help));
                };
                return Ok((Size::from(lower as i64), Size::from((upper - lower) as i64 + 1)));
            }
            other => {
                let message = format!("`{name}` is discrete, and the values of `{}` are not known", other.name());
                let help = "draw it from `Categorical`, `Bernoulli`, `DiscreteUniform` or `Binomial`";
                return Err(self.error(Code::E0505, message, d.span(), "cannot be summed out", help));
            }
        };
        let row = dist::get(def);
        let last = |cx: &Self, at: usize| cx.program.ty(args[at]).shape.last().cloned();
        let plus = |a: &Size, n: i64| a.add(&n.into());
        let number = |cx: &Self, at: Option<usize>| at.and_then(|at| cx.as_size(args[at]));
        let found = match row.name {
            "Bernoulli" => Some((Size::default(), Size::from(2))),
            "Categorical" => last(self, 0).map(|k| (Size::default(), k)),
            "OrderedLogistic" => {
                let at = row.param("cutpoints").unwrap_or(1);
                last(self, at).and_then(|k| Some((Size::default(), plus(&k, 1)?)))
            }
            "Binomial" | "BetaBinomial" => {
                number(self, row.param("total")).and_then(|n| Some((Size::default(), plus(&n, 1)?)))
            }
            "Hypergeometric" => number(self, row.param("draws")).and_then(|n| Some((Size::default(), plus(&n, 1)?))),
            "DiscreteUniform" => match (number(self, Some(0)), number(self, Some(1))) {
                (Some(low), Some(high)) => high.sub(&low).and_then(|n| Some((low, plus(&n, 1)?))),
                _ => None,
            },
            _ => {
                let message = format!("`{name}` is discrete and `{}` has no largest value", row.name);
                let d = Diagnostic::new(Code::E0505, message)
                    .label(d.span(), "infinitely many values cannot be summed out")
                    .help("observe it, use a continuous latent, or a distribution with finitely many values");
                return Err(self.report(d));
            }
        };
        found.ok_or_else(|| {
            let message = format!("how many values `{name}` has depends on data or on other sites");
            let help = "the bounds must be numbers or sizes, the same for all elements";
            self.error(Code::E0505, message, d.span(), "must be known to sum it out", help)
        })
    }

    /// Sums a latent out of the terms that depend on it: what is left, and how it was done.
    fn eliminate(&mut self, id: DiscreteId, terms: &[Term]) -> R<(ExprId, String)> {
        let d = self.model.discrete[id].clone();
        let (lower, count) = self.finite_support(&d.dist, &d.name)?;
        if let Some(n) = self.fixed(&count).as_number().filter(|&n| n > MAX_COMBINATIONS) {
            let diagnostic = Diagnostic::new(Code::E0505, format!("`{}` has {n} values", d.name))
                .label(d.dist.span(), format!("more than {MAX_COMBINATIONS} are not summed out"))
                .help("use a continuous latent, or fewer values");
            return Err(self.report(diagnostic));
        }
        self.model.enumerated.push((count.clone(), d.span, d.name.clone()));
        let latent = Latent { id, shape: d.ty.shape.clone(), lower, count };
        let values = self.program.size_text(&latent.count);
        if latent.shape.is_empty() {
            let value = self.scalar_sum(&latent, terms, d.span)?;
            return Ok((value, format!("enumeration of {values} values")));
        }
        // How each term depends on it.
        let mut aligned = Vec::new();
        for term in terms {
            match self.alignment(term.value, &latent, &mut HashMap::new()) {
                Ok(Some(a)) => aligned.push(a),
                Ok(None) => unreachable!("only terms that depend on the latent are given"),
                Err(mixing) => {
                    let shape = self.program.shape_text(&latent.shape);
                    let diagnostic = Diagnostic::new(
                        Code::E0505,
                        format!("the elements of `{}` cannot be summed out one by one", d.name),
                    )
                    .label(mixing.span, format!("{} joins several elements", mixing.what))
                    .label(d.span, format!("{shape} elements with {values} values each"))
                    .note("all combinations of all elements would have to be enumerated")
                    .help("let each term of the density depend on one element, or on neighbours in a chain");
                    return Err(self.report(diagnostic));
                }
            }
        }
        let whole = View::Part { start: Size::default(), len: latent.shape[latent.shape.len() - 1].clone() };
        let grouped = |a: &Aligned| a.views.len() == 1 && matches!(a.views.first(), Some(View::Group(_)));
        if aligned.iter().all(|a| grouped(a) || a.views.iter().all(|v| *v == whole)) {
            let value = self.rows_sum(&latent, terms, &aligned, d.span)?;
            return Ok((value, format!("enumeration of {values} values for each element")));
        }
        let value = self.chain_sum(&latent, terms, &aligned, d.span, &d.name)?;
        Ok((value, format!("the forward algorithm over a chain with {values} states")))
    }

    // --- small pieces of expressions ---------------------------------------------------------------------------

    pub(super) fn add_exprs(&mut self, a: ExprId, b: ExprId, span: Span) -> ExprId {
        let shape = {
            let (x, y) = (&self.program.ty(a).shape, &self.program.ty(b).shape);
            self.broadcast(x, y).expect("terms of one latent go together")
        };
        let elem = if self.program.ty(a).elem == Elem::Int && self.program.ty(b).elem == Elem::Int {
            Elem::Int
        } else {
            Elem::Real
        };
        self.call_of(&builtins::elementwise::ADD, vec![a, b], Attrs::default(), Ty::new(elem, shape), span)
    }
    pub(super) fn sum_axes(&mut self, e: ExprId, axes: &[usize], span: Span) -> ExprId {
        self.reduced(&builtins::reduce::SUM, e, axes, span)
    }
    pub(super) fn reduced(&mut self, def: &'static builtins::FnDef, e: ExprId, axes: &[usize], span: Span) -> ExprId {
        if axes.is_empty() {
            return e;
        }
        let shape = self.program.ty(e).shape.clone();
        let kept = (0..shape.len()).filter(|i| !axes.contains(i)).map(|i| shape[i].clone()).collect();
        let attrs = Attrs { sizes: Vec::new(), ints: axes.iter().map(|&a| a as i64).collect() };
        self.call_of(def, vec![e], attrs, Ty::new(Elem::Real, kept), span)
    }
    pub(super) fn zeros_of(&mut self, shape: Vec<Size>, span: Span) -> ExprId {
        let attrs = Attrs { sizes: shape.clone(), ints: Vec::new() };
        self.call_of(&builtins::shape::ZEROS, Vec::new(), attrs, Ty::new(Elem::Real, shape), span)
    }
    pub(super) fn concat_of(&mut self, parts: Vec<ExprId>, span: Span) -> ExprId {
        if let [only] = parts[..] {
            return only;
        }
        let mut shape = self.program.ty(parts[0]).shape.clone();
        let elem = self.program.ty(parts[0]).elem;
        let rest = parts[1..].iter().map(|&p| self.program.ty(p).shape[0].clone());
        shape[0] = rest.fold(shape[0].clone(), |a, b| a.add(&b).unwrap_or(a));
        self.call_of(&builtins::shape::CONCAT, parts, Attrs::default(), Ty::new(elem, shape), span)
    }
    pub(super) fn slice_first(&mut self, e: ExprId, start: Size, len: Size, span: Span) -> ExprId {
        let ty = self.program.ty(e).clone();
        let mut shape = ty.shape.clone();
        shape[0] = len.clone();
        self.push(ExprKind::Index { base: e, indices: vec![Ix::Slice { start, len }] }, Ty::new(ty.elem, shape), span)
    }
    /// A draw of `lower + Categorical(logits)`, where `logits` has the values in its last dimension.
    pub(super) fn categorical(&mut self, logits: ExprId, lower: &Size, index: Vec<ExprId>, span: Span) -> ExprId {
        let mut shape = self.program.ty(logits).shape.clone();
        shape.pop();
        let dist = DistExpr::Row { def: DistId::CATEGORICAL_LOGITS, args: vec![logits], span };
        let ty = Ty::new(Elem::Int, shape);
        let draw = self.push(ExprKind::Sample { dist: Box::new(dist), index }, ty, span);
        self.shifted(draw, lower, span)
    }
    pub(super) fn shifted(&mut self, e: ExprId, lower: &Size, span: Span) -> ExprId {
        if lower.as_number() == Some(0) {
            return e;
        }
        let lower = self.size_value(lower.clone(), span);
        self.add_exprs(e, lower, span)
    }

    // --- a scalar latent ---------------------------------------------------------------------------------------

    fn scalar_sum(&mut self, latent: &Latent, terms: &[Term], span: Span) -> R<ExprId> {
        let values = self.counting(&latent.lower, &latent.count, span);
        let id = latent.id;
        let mut batch = Batch::new(latent.count.clone(), |cx, e| {
            matches!(cx.program.exprs[e].kind, ExprKind::Discrete(d) if d == id).then_some(values)
        });
        let mut total: Option<ExprId> = None;
        for term in terms {
            let all = self.batched_full(&mut batch, term.value).unwrap_or_else(|_| unreachable!("nothing is thin"));
            let axes: Vec<usize> = (1..self.program.ty(all).shape.len()).collect();
            let sum = self.sum_axes(all, &axes, span);
            total = Some(total.map_or(sum, |t| self.add_exprs(t, sum, span)));
        }
        let total = total.expect("its prior depends on it");
        self.model.discrete[latent.id].back = Some(self.categorical(total, &latent.lower, Vec::new(), span));
        Ok(self.reduced(&builtins::reduce::LOGSUMEXP, total, &[0], span))
    }

    // --- how a term depends on a latent -------------------------------------------------------------------------

    /// The view of the latent that `e` is, if it is nothing else.
    fn view_of(&self, e: ExprId, latent: &Latent) -> Option<(View, Vec<Option<usize>>)> {
        let rank = latent.shape.len();
        let is_latent = |e: ExprId| matches!(self.program.exprs[e].kind, ExprKind::Discrete(d) if d == latent.id);
        if is_latent(e) {
            let view = View::Part { start: Size::default(), len: latent.shape[rank - 1].clone() };
            return Some((view, (0..rank).map(Some).collect()));
        }
        let ExprKind::Index { base, indices } = &self.program.exprs[e].kind else { return None };
        if rank == 1
            && is_latent(*base)
            && let [Ix::Gather(index)] = indices[..]
            && self.program.ty(index).shape.len() == 1
            && !self.uses_discrete(index)
        {
            return Some((View::Group(index), vec![Some(0)]));
        }
        // A slice of a slice is a slice.
        let (inner, axes) = self.view_of(*base, latent)?;
        let View::Part { start: from, len: have } = inner else { return None };
        if indices.len() > rank || axes.iter().any(Option::is_none) {
            return None;
        }
        for ix in &indices[..indices.len().min(rank - 1)] {
            if !matches!(ix, Ix::All) {
                return None;
            }
        }
        match indices.get(rank - 1) {
            None | Some(Ix::All) => Some((View::Part { start: from, len: have }, axes)),
            Some(Ix::Slice { start, len }) => Some((View::Part { start: from.add(start)?, len: len.clone() }, axes)),
            Some(Ix::At(at)) => {
                let at = from.add(&self.as_size(*at)?)?;
                let mut axes = axes;
                axes[rank - 1] = None;
                Some((View::At(at), axes))
            }
            _ => None,
        }
    }

    /// How `e` depends on the latent; `None` when it does not.
    fn alignment(
        &self,
        e: ExprId,
        latent: &Latent,
        memo: &mut HashMap<ExprId, Option<Aligned>>,
    ) -> Result<Option<Aligned>, Mixing> {
        if let Some(known) = memo.get(&e) {
            return Ok(known.clone());
        }
        let result = match self.view_of(e, latent) {
            Some((view, axes)) => Some(Aligned { axes, views: BTreeSet::from([view]) }),
            None => self.alignment_new(e, latent, memo)?,
        };
        memo.insert(e, result.clone());
        Ok(result)
    }
    fn alignment_new(
        &self,
        e: ExprId,
        latent: &Latent,
        memo: &mut HashMap<ExprId, Option<Aligned>>,
    ) -> Result<Option<Aligned>, Mixing> {
        let expr = &self.program.exprs[e];
        let mut found: Vec<(ExprId, Aligned)> = Vec::new();
        for o in self.program.operands(e) {
            if let Some(a) = self.alignment(o, latent, memo)? {
                found.push((o, a));
            }
        }
        if found.is_empty() {
            return Ok(None);
        }
        let rank_of = |e: ExprId| self.program.ty(e).shape.len();
        let mixing = |what: String| Mixing { span: expr.span, what };
        let shifted = |a: &Aligned, by: &dyn Fn(usize) -> Option<usize>| -> Option<Aligned> {
            let axes = a.axes.iter().map(|x| x.map_or(Some(None), |x| by(x).map(Some))).collect::<Option<_>>()?;
            Some(Aligned { axes, views: a.views.clone() })
        };
        let merged = |all: Vec<Aligned>| -> Option<Aligned> {
            let mut all = all.into_iter();
            let mut first = all.next()?;
            for next in all {
                for (x, y) in first.axes.iter_mut().zip(next.axes) {
                    match (*x, y) {
                        (Some(a), Some(b)) if a != b => return None,
                        (None, Some(b)) => *x = Some(b),
                        _ => {}
                    }
                }
                first.views.extend(next.views);
            }
            Some(first)
        };
        let rank = rank_of(e);
        match &expr.kind {
            ExprKind::Call { def, args, attrs } => {
                let name = || format!("`{}`", def.name);
                let kept: Option<Vec<Aligned>> = found
                    .iter()
                    .map(|(o, a)| match def.rows {
                        Rows::Elementwise => shifted(a, &|x| Some(x + rank - rank_of(*o))),
                        Rows::ReducesAxes => {
                            let keeps = rank == rank_of(args[0]);
                            shifted(a, &|x| {
                                let gone = attrs.ints.iter().filter(|&&i| (i as usize) < x).count();
                                let reduced = attrs.ints.contains(&(x as i64));
                                (!reduced).then_some(if keeps { x } else { x - gone })
                            })
                        }
                        Rows::Leading if *o == args[0] => shifted(a, &|x| {
                            let per_row = !matches!(def.name, "dense" | "layer_norm") || rank_of(args[0]) >= 2;
                            (per_row && x == 0 || def.name == "one_hot").then_some(x)
                        }),
                        Rows::MatMul if *o == args[0] && rank_of(args[1]) <= 2 => {
                            shifted(a, &|x| (x + 1 < rank_of(args[0])).then_some(x))
                        }
                        _ => None,
                    })
                    .collect();
                kept.and_then(merged).map(Some).ok_or_else(|| mixing(name()))
            }
            ExprKind::Index { base, indices } => {
                // Where each dimension of the base, and the index arrays, stand in the result.
                let mut place: Vec<Option<usize>> = Vec::new();
                let mut at = 0;
                let mut pairs: Option<usize> = None;
                for ix in indices {
                    match ix {
                        Ix::New => at += 1,
                        Ix::All => {
                            place.push(Some(at));
                            at += 1;
                        }
                        Ix::Slice { .. } => {
                            place.push(None);
                            at += 1;
                        }
                        Ix::At(_) => place.push(None),
                        Ix::Gather(i) => {
                            place.push(None);
                            if pairs.is_none() {
                                pairs = Some(at);
                                at += rank_of(*i);
                            }
                        }
                    }
                }
                let rest = rank_of(*base) - place.len();
                place.extend((0..rest).map(|k| Some(at + k)));
                let index_arrays: Vec<ExprId> =
                    indices.iter().filter_map(|ix| if let Ix::Gather(i) = ix { Some(*i) } else { None }).collect();
                let mut kept = Vec::new();
                for (o, a) in &found {
                    let mut as_operand = Vec::new();
                    if o == base {
                        as_operand.push(shifted(a, &|x| place[x]));
                    }
                    if index_arrays.contains(o) {
                        as_operand.push(shifted(a, &|x| Some(x + pairs.expect("an index array has its place"))));
                    }
                    if indices.iter().any(|ix| matches!(ix, Ix::At(i) if i == o)) {
                        as_operand.push(Some(a.clone()));
                    }
                    kept.extend(as_operand);
                }
                let kept: Option<Vec<Aligned>> = kept.into_iter().collect();
                kept.and_then(merged).map(Some).ok_or_else(|| mixing("this index".into()))
            }
            ExprKind::LogProb { dist, value } => {
                let mut kept = Vec::new();
                let mut place = |o: ExprId, event: usize| {
                    for (_, a) in found.iter().filter(|(f, _)| *f == o) {
                        let batch = rank_of(o) - event;
                        kept.push(shifted(a, &|x| (x < batch).then_some(x + rank - batch)));
                    }
                };
                place(*value, dist.event_rank());
                let _ = dist.map_args(&mut |a, event| {
                    place(a, event);
                    Ok::<_, Thin>(a)
                });
                let kept: Option<Vec<Aligned>> = kept.into_iter().collect();
                kept.and_then(merged).map(Some).ok_or_else(|| mixing(format!("`{}`", dist.name())))
            }
            _ => Err(mixing("this loop".into())),
        }
    }

    /// The values of a term for all values of a view of the latent: thin along the latent where that is possible.
    fn enumerated(&mut self, latent: &Latent, e: ExprId, view: &View, span: Span) -> ExprId {
        let values = self.counting(&latent.lower, &latent.count, span);
        for thin in [true, false] {
            let (own, view, count) = (Latent { id: latent.id, ..latent.copy() }, view.clone(), latent.count.clone());
            let mut batch = Batch::new(latent.count.clone(), move |cx, x| {
                let (found, _) = cx.view_of(x, &own)?;
                if found != view {
                    return None;
                }
                let shape = cx.program.ty(x).shape.clone();
                let column = cx.with_ones(values, 1, shape.len());
                if thin {
                    return Some(column);
                }
                let full: Vec<Size> = std::iter::once(count.clone()).chain(shape).collect();
                Some(cx.stretched(column, &full))
            });
            match self.batched(&mut batch, e) {
                Ok(Some(all)) => return all,
                Ok(None) => unreachable!("the term has this view"),
                Err(Thin) if thin => {}
                Err(Thin) => unreachable!("nothing is thin"),
            }
        }
        unreachable!("full arrays always work")
    }

    // --- independent elements -----------------------------------------------------------------------------------

    /// A term enumerated over `views` (the last one leads), with the latent's own dimensions behind and all others summed.
    /// Dimensions: one for each view, then those of the latent (thin ones of size 1).
    pub(super) fn potential(
        &mut self,
        latent: &Latent,
        term: &Term,
        aligned: &Aligned,
        views: &[View],
        span: Span,
    ) -> ExprId {
        let mut e = term.value;
        for view in views {
            e = self.enumerated(latent, e, view, span);
        }
        let lead = views.len();
        let rank = self.program.ty(e).shape.len();
        let own: Vec<Option<usize>> = aligned.axes.iter().map(|a| a.map(|a| a + lead)).collect();
        let others: Vec<usize> = (lead..rank).filter(|i| !own.contains(&Some(*i))).collect();
        let e = self.sum_axes(e, &others, span);
        // What is left stands in the order of the expression; it may be another than that of the latent.
        let left: Vec<usize> = (lead..rank).filter(|i| own.contains(&Some(*i))).collect();
        let mut order: Vec<usize> = (0..lead).collect();
        for axis in own.iter().flatten() {
            order.push(lead + left.iter().position(|l| l == axis).expect("it was kept"));
        }
        let mut e = self.permuted(e, &order);
        for (i, axis) in own.iter().enumerate() {
            if axis.is_none() {
                e = self.with_ones(e, lead + i, 1);
            }
        }
        e
    }

    fn rows_sum(&mut self, latent: &Latent, terms: &[Term], aligned: &[Aligned], span: Span) -> R<ExprId> {
        let mut total: Option<ExprId> = None;
        for (term, a) in terms.iter().zip(aligned) {
            let views: Vec<View> = a.views.iter().cloned().collect();
            let mut e = self.potential(latent, term, a, &views, span);
            if let [View::Group(index)] = views[..] {
                // Rows of one element add up.
                let rows = self.program.ty(index).shape[0].clone();
                let e_rows = self.stretched(e, &[latent.count.clone(), rows]);
                let by_rows = self.permuted(e_rows, &[1, 0]);
                let elements = latent.shape[0].clone();
                let ty = Ty::new(Elem::Real, vec![elements.clone(), latent.count.clone()]);
                let attrs = Attrs { sizes: vec![elements], ints: Vec::new() };
                let sums = self.call_of(&builtins::shape::SEGMENT_SUM, vec![by_rows, index], attrs, ty, span);
                e = self.permuted(sums, &[1, 0]);
            }
            total = Some(total.map_or(e, |t| self.add_exprs(t, e, span)));
        }
        let total = total.expect("its prior depends on it");
        let full: Vec<Size> = std::iter::once(latent.count.clone()).chain(latent.shape.iter().cloned()).collect();
        let total = self.stretched(total, &full);
        let mut order: Vec<usize> = (1..full.len()).collect();
        order.push(0);
        let logits = self.permuted(total, &order);
        self.model.discrete[latent.id].back = Some(self.categorical(logits, &latent.lower, Vec::new(), span));
        Ok(self.reduced(&builtins::reduce::LOGSUMEXP, total, &[0], span))
    }

    // --- chains -------------------------------------------------------------------------------------------------
}

impl Latent {
    fn copy(&self) -> Latent {
        Latent { id: self.id, shape: self.shape.clone(), lower: self.lower.clone(), count: self.count.clone() }
    }
}
