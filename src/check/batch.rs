//! Expressions for all values of an index at once: a loop over slices, an enumeration.
//!
//! In: an expression that depends on some leaves (the index of a loop, a discrete latent), and for each leaf an array that
//! holds its values along a new leading dimension. Out: the expression with that leading dimension. Every function of the
//! language is carried over by its treatment of rows ([`Rows`]); where none fits, the values are computed one after the
//! other by a loop without a carry, which is always possible.
//!
//! The arrays of leaves may be *thin*: of size 1 in a dimension along which they are the same everywhere (the rows of a
//! latent that is enumerated). What cannot keep such a dimension says so, and the caller starts again with full arrays.

use super::checker::Checker;
use super::size::Size;
use super::typed::*;
use crate::builtins::{self, FnDef, Rows};
use crate::source::Span;
use crate::syntax::ast::Elem;
use std::collections::HashMap;

/// An operation that needs an array in full met a thin one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thin;

/// The batched form of a leaf; `None` for what is none.
pub(super) type LeafFn<'a> = dyn FnMut(&mut Checker<'_>, ExprId) -> Option<ExprId> + 'a;

/// The values of some leaves, and what has been made of them.
pub(super) struct Batch<'a> {
    len: Size,
    leaf: Box<LeafFn<'a>>,
    memo: HashMap<ExprId, Option<ExprId>>,
}

impl<'a> Batch<'a> {
    /// For `len` values of the leaves that `leaf` knows.
    pub fn new(len: Size, leaf: impl FnMut(&mut Checker<'_>, ExprId) -> Option<ExprId> + 'a) -> Self {
        Self { len, leaf: Box::new(leaf), memo: HashMap::new() }
    }
}

/// A dimension of an indexed array, by where it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tag {
    /// The new leading one.
    Lead,
    /// Of index `i`.
    Own(usize),
    /// Dimension `j` of the index arrays.
    Paired(usize),
    /// Dimension `k` behind all indices.
    Rest(usize),
}

impl<'p> Checker<'p> {
    fn shape_of(&self, e: ExprId) -> Vec<Size> {
        self.program.ty(e).shape.clone()
    }
    fn rank_of(&self, e: ExprId) -> usize {
        self.program.ty(e).shape.len()
    }
    /// A call with a type that is known already.
    pub(super) fn call_of(&mut self, def: &'static FnDef, args: Vec<ExprId>, attrs: Attrs, ty: Ty, at: Span) -> ExprId {
        self.push(ExprKind::Call { def, args, attrs }, ty, at)
    }
    /// `n` dimensions of size 1 put in before dimension `at`.
    pub(super) fn with_ones(&mut self, e: ExprId, at: usize, n: usize) -> ExprId {
        if n == 0 {
            return e;
        }
        let ty = self.program.ty(e).clone();
        let mut shape = ty.shape.clone();
        shape.splice(at..at, std::iter::repeat_n(Size::from(1), n));
        let indices = std::iter::repeat_n(Ix::All, at).chain(std::iter::repeat_n(Ix::New, n)).collect();
        let span = self.program.exprs[e].span;
        self.push(ExprKind::Index { base: e, indices }, Ty::new(ty.elem, shape), span)
    }
    /// Dimension `i` of the result is dimension `order[i]` of `e`.
    pub(super) fn permuted(&mut self, e: ExprId, order: &[usize]) -> ExprId {
        if order.iter().enumerate().all(|(i, &o)| i == o) {
            return e;
        }
        let ty = self.program.ty(e).clone();
        let shape = order.iter().map(|&i| ty.shape[i].clone()).collect();
        let attrs = Attrs { sizes: Vec::new(), ints: order.iter().map(|&i| i as i64).collect() };
        let span = self.program.exprs[e].span;
        self.call_of(&builtins::shape::PERMUTE, vec![e], attrs, Ty::new(ty.elem, shape), span)
    }
    pub(super) fn reshaped(&mut self, e: ExprId, shape: Vec<Size>) -> ExprId {
        let (elem, span) = (self.program.ty(e).elem, self.program.exprs[e].span);
        let attrs = Attrs { sizes: shape.clone(), ints: Vec::new() };
        self.call_of(&builtins::shape::RESHAPE, vec![e], attrs, Ty::new(elem, shape), span)
    }
    /// `start, start + 1, …`: `len` ints.
    pub(super) fn counting(&mut self, start: &Size, len: &Size, span: Span) -> ExprId {
        let ty = Ty::new(Elem::Int, vec![len.clone()]);
        let attrs = Attrs { sizes: vec![len.clone()], ints: Vec::new() };
        let range = self.call_of(&builtins::shape::RANGE, Vec::new(), attrs, ty.clone(), span);
        if start.as_number() == Some(0) {
            return range;
        }
        let start = self.size_value(start.clone(), span);
        self.call_of(&builtins::elementwise::ADD, vec![range, start], Attrs::default(), ty, span)
    }
    /// Something of one element stretched to `shape` by adding nothing: for parts that stand beside others.
    pub(super) fn stretched(&mut self, e: ExprId, shape: &[Size]) -> ExprId {
        let (ty, span) = (self.program.ty(e).clone(), self.program.exprs[e].span);
        let same = ty.shape.len() == shape.len() && ty.shape.iter().zip(shape).all(|(a, b)| self.agree(a, b));
        if same {
            return e;
        }
        let missing = shape.len() - ty.shape.len();
        let e = self.with_ones(e, 0, missing);
        let attrs = Attrs { sizes: shape.to_vec(), ints: Vec::new() };
        self.call_of(&builtins::shape::FILL, vec![e], attrs, Ty::new(ty.elem, shape.to_vec()), span)
    }

    /// `e` with the leading dimension of `b`; `None` where it depends on no leaf.
    pub(super) fn batched(&mut self, b: &mut Batch<'_>, e: ExprId) -> Result<Option<ExprId>, Thin> {
        if let Some(&known) = b.memo.get(&e) {
            return Ok(known);
        }
        let result = match (b.leaf)(self, e) {
            Some(value) => Some(value),
            None => {
                let caller = std::mem::replace(&mut self.caller, self.program.exprs[e].caller);
                let made = self.batched_new(b, e);
                self.caller = caller;
                made?
            }
        };
        b.memo.insert(e, result);
        Ok(result)
    }
    /// `e` with the leading dimension, repeated where it depends on no leaf.
    pub(super) fn batched_full(&mut self, b: &mut Batch<'_>, e: ExprId) -> Result<ExprId, Thin> {
        let mut shape = vec![b.len.clone()];
        shape.extend(self.shape_of(e));
        match self.batched(b, e)? {
            Some(value) => Ok(self.stretched(value, &shape)),
            None => {
                let e = self.with_ones(e, 0, 1);
                Ok(self.stretched(e, &shape))
            }
        }
    }

    fn batched_new(&mut self, b: &mut Batch<'_>, e: ExprId) -> Result<Option<ExprId>, Thin> {
        let mut any = false;
        for o in self.program.operands(e) {
            any |= self.batched(b, o)?.is_some();
        }
        if !any {
            return Ok(None);
        }
        let expr = self.program.exprs[e].clone();
        let made = match &expr.kind {
            ExprKind::Call { def, args, attrs } => self.batched_call(b, e, def, args, attrs)?,
            ExprKind::Index { base, indices } => Some(self.batched_index(b, e, *base, indices)?),
            ExprKind::LogProb { dist, value } => Some(self.batched_log_prob(b, e, dist, *value)?),
            ExprKind::Sample { dist, index } => {
                let rank = expr.ty.shape.len() - dist.event_rank();
                let dist = self.batched_dist(b, dist, rank)?;
                let mut shape = vec![b.len.clone()];
                shape.extend(expr.ty.shape.clone());
                // What is still inside another loop is drawn anew there.
                let mut outer = Vec::new();
                for &i in index {
                    if self.batched(b, i)?.is_none() {
                        outer.push(i);
                    }
                }
                let kind = ExprKind::Sample { dist: Box::new(dist), index: outer };
                Some(self.push(kind, Ty::new(expr.ty.elem, shape), expr.span))
            }
            _ => None,
        };
        match made {
            Some(value) => Ok(Some(value)),
            None => self.one_by_one(b, e).map(Some),
        }
    }

    /// `value`, with `1 + rank` dimensions wanted behind the `event` ones: ones put in after the leading dimension.
    fn aligned(&mut self, value: ExprId, rank: usize) -> ExprId {
        let have = self.rank_of(value) - 1;
        self.with_ones(value, 1, rank.saturating_sub(have))
    }
    fn broadcast_all(&self, shapes: &[Vec<Size>]) -> Result<Vec<Size>, Thin> {
        shapes.iter().try_fold(Vec::new(), |acc, s| self.broadcast(&acc, s).ok_or(Thin))
    }
    /// Fails when a dimension of `value` is thin: not that of `e`.
    fn full(&self, value: ExprId, e: ExprId) -> Result<(), Thin> {
        let (have, want) = (&self.program.ty(value).shape, &self.program.ty(e).shape);
        let same = have.len() == want.len() + 1 && have[1..].iter().zip(want).all(|(a, b)| self.agree(a, b));
        if same { Ok(()) } else { Err(Thin) }
    }

    fn batched_call(
        &mut self,
        b: &mut Batch<'_>,
        e: ExprId,
        def: &'static FnDef,
        args: &[ExprId],
        attrs: &Attrs,
    ) -> Result<Option<ExprId>, Thin> {
        let Expr { ty, span, .. } = self.program.exprs[e].clone();
        let mut given: Vec<Option<ExprId>> = Vec::new();
        for &a in args {
            given.push(self.batched(b, a)?);
        }
        let rank = ty.shape.len();
        let plain = |cx: &mut Self, args: Vec<ExprId>, attrs: Attrs, shape: Vec<Size>| {
            Ok(Some(cx.call_of(def, args, attrs, Ty::new(ty.elem, shape), span)))
        };
        let lead =
            |rest: &[Size]| -> Vec<Size> { std::iter::once(b.len.clone()).chain(rest.iter().cloned()).collect() };
        match def.rows {
            Rows::Elementwise => {
                let mut new = Vec::new();
                for (&a, g) in args.iter().zip(&given) {
                    new.push(g.map_or(a, |v| self.aligned(v, rank)));
                }
                let shapes: Vec<Vec<Size>> = new.iter().map(|&a| self.shape_of(a)).collect();
                let shape = self.broadcast_all(&shapes)?;
                plain(self, new, attrs.clone(), shape)
            }
            Rows::ReducesAxes => {
                let x = given[0].expect("the only operand depends on a leaf");
                let (have, old) = (self.shape_of(x), self.shape_of(args[0]));
                let axes: Vec<usize> = attrs.ints.iter().map(|&a| a as usize).collect();
                if axes.iter().any(|&a| !self.agree(&have[a + 1], &old[a])) {
                    return Err(Thin);
                }
                let ints = attrs.ints.iter().map(|a| a + 1).collect();
                let keeps = rank == old.len();
                let shape = (0..have.len())
                    .filter(|&i| keeps || i == 0 || !axes.contains(&(i - 1)))
                    .map(|i| have[i].clone())
                    .collect();
                plain(self, vec![x], Attrs { sizes: attrs.sizes.clone(), ints }, shape)
            }
            Rows::MatMul => {
                let (a, c) = (args[0], args[1]);
                for (&o, g) in args.iter().zip(&given) {
                    if let Some(v) = g {
                        self.full(*v, o)?;
                    }
                }
                let (rank_a, rank_c) = (self.rank_of(a), self.rank_of(c));
                if rank_a > 2 || rank_c > 2 {
                    return Ok(None);
                }
                // Vectors become matrices with one row or column; behind a leading dimension both are products of a batch.
                let as_matrix = |cx: &mut Self, o: ExprId, g: Option<ExprId>, rank: usize, left: bool| {
                    let (v, shift) = g.map_or((o, 0), |v| (v, 1));
                    if rank == 2 { v } else { cx.with_ones(v, shift + usize::from(!left), 1) }
                };
                let x = as_matrix(self, a, given[0], rank_a, true);
                let y = as_matrix(self, c, given[1], rank_c, false);
                let (xs, ys) = (self.shape_of(x), self.shape_of(y));
                let product = lead(&[xs[xs.len() - 2].clone(), ys[ys.len() - 1].clone()]);
                let product = self.call_of(def, vec![x, y], attrs.clone(), Ty::new(ty.elem, product), span);
                let shape = lead(&ty.shape);
                Ok(Some(self.reshaped(product, shape)))
            }
            Rows::Leading if given[1..].iter().all(Option::is_none) => {
                let x = given[0].expect("an operand depends on a leaf");
                self.full(x, args[0])?;
                let args = |x: ExprId| std::iter::once(x).chain(args[1..].iter().copied()).collect::<Vec<_>>();
                match def.name {
                    "dense" | "layer_norm" | "one_hot" => {
                        let shape = lead(&ty.shape);
                        plain(self, args(x), attrs.clone(), shape)
                    }
                    name if name.starts_with("conv") || name.contains("pool") => {
                        // The new dimension joins the rows.
                        let old = self.shape_of(x);
                        let Some(rows) = old[0].mul(&old[1]) else { return Ok(None) };
                        let joined = std::iter::once(rows.clone()).chain(old[2..].iter().cloned()).collect();
                        let x = self.reshaped(x, joined);
                        let shape = std::iter::once(rows).chain(ty.shape[1..].iter().cloned()).collect();
                        let y = self.call_of(def, args(x), attrs.clone(), Ty::new(ty.elem, shape), span);
                        let shape = lead(&ty.shape);
                        Ok(Some(self.reshaped(y, shape)))
                    }
                    _ => Ok(None),
                }
            }
            Rows::Leading => Ok(None),
            Rows::Mixes => {
                for (&o, g) in args.iter().zip(&given) {
                    if let Some(v) = g {
                        self.full(*v, o)?;
                    }
                }
                let whole = lead(&ty.shape);
                match def.name {
                    "reshape" => {
                        let x = given[0].expect("the only operand");
                        Ok(Some(self.reshaped(x, whole)))
                    }
                    "fill" => {
                        let x = given[0].expect("the only operand");
                        let x = self.with_ones(x, 1, rank);
                        let attrs = Attrs { sizes: whole.clone(), ints: Vec::new() };
                        plain(self, vec![x], attrs, whole)
                    }
                    "permute" => {
                        let ints = std::iter::once(0).chain(attrs.ints.iter().map(|i| i + 1)).collect();
                        let x = given[0].expect("the only operand");
                        plain(self, vec![x], Attrs { sizes: Vec::new(), ints }, whole)
                    }
                    "transpose" | "cholesky" | "logdet" | "inverse" | "diagonal" | "diag" => {
                        let x = given[0].expect("the only operand");
                        plain(self, vec![x], attrs.clone(), whole)
                    }
                    "dot" => {
                        let (a, c) = (given[0].unwrap_or(args[0]), given[1].unwrap_or(args[1]));
                        let shape = lead(&self.shape_of(args[0]));
                        let product = self.call_of(
                            &builtins::elementwise::MUL,
                            vec![a, c],
                            Attrs::default(),
                            Ty::new(Elem::Real, shape),
                            span,
                        );
                        let attrs = Attrs { sizes: Vec::new(), ints: vec![1] };
                        Ok(Some(self.call_of(
                            &builtins::reduce::SUM,
                            vec![product],
                            attrs,
                            Ty::new(ty.elem, whole),
                            span,
                        )))
                    }
                    "concat" | "stack" => {
                        let mut parts = Vec::new();
                        for &a in args {
                            let part = self.batched_full(b, a)?;
                            let mut order: Vec<usize> = (0..self.rank_of(part)).collect();
                            if def.name == "concat" {
                                order.swap(0, 1);
                            }
                            parts.push(self.permuted(part, &order));
                        }
                        let mut shape = whole.clone();
                        shape.swap(0, 1);
                        let joined = self.call_of(def, parts, attrs.clone(), Ty::new(ty.elem, shape), span);
                        let mut order: Vec<usize> = (0..whole.len()).collect();
                        order.swap(0, 1);
                        Ok(Some(self.permuted(joined, &order)))
                    }
                    _ => Ok(None),
                }
            }
        }
    }

    fn batched_log_prob(
        &mut self,
        b: &mut Batch<'_>,
        e: ExprId,
        dist: &DistExpr,
        value: ExprId,
    ) -> Result<ExprId, Thin> {
        let Expr { ty, span, .. } = self.program.exprs[e].clone();
        let rank = ty.shape.len();
        let event = dist.event_rank();
        let dist = self.batched_dist(b, dist, rank)?;
        let value = match self.batched(b, value)? {
            Some(v) => self.aligned(v, rank + event),
            None => value,
        };
        let value_shape = self.shape_of(value);
        let mut shapes = vec![value_shape[..value_shape.len() - event].to_vec()];
        let _ = dist.map_args(&mut |a, event| {
            let shape = self.program.ty(a).shape.clone();
            shapes.push(shape[..shape.len().saturating_sub(event)].to_vec());
            Ok::<_, Thin>(a)
        });
        let joined = matches!(dist, DistExpr::Joined { .. });
        let shape = if joined { shapes.swap_remove(0) } else { self.broadcast_all(&shapes)? };
        Ok(self.push(ExprKind::LogProb { dist: Box::new(dist), value }, Ty::new(ty.elem, shape), span))
    }
    /// The distribution with the leading dimension, for values with `rank` dimensions of independent elements before.
    pub(super) fn batched_dist(&mut self, b: &mut Batch<'_>, dist: &DistExpr, rank: usize) -> Result<DistExpr, Thin> {
        let dist = dist.map_args(&mut |a, event| match self.batched(b, a)? {
            Some(v) => Ok(self.aligned(v, rank + event)),
            None => Ok(a),
        })?;
        Ok(match dist {
            DistExpr::Joined { axis, parts, span } => DistExpr::Joined { axis: axis + 1, parts, span },
            other => other,
        })
    }

    /// Where the dimensions of an indexed array come from, and their sizes.
    fn index_layout(&self, base: &[Size], indices: &[Ix]) -> Result<Vec<(Tag, Size)>, Thin> {
        let mut out = Vec::new();
        let mut dims = base.iter();
        let mut paired: Vec<Vec<Size>> = Vec::new();
        let mut place = None;
        for (i, ix) in indices.iter().enumerate() {
            if matches!(ix, Ix::New) {
                out.push((Tag::Own(i), Size::from(1)));
                continue;
            }
            let dim = dims.next().expect("indices fit").clone();
            match ix {
                Ix::All => out.push((Tag::Own(i), dim)),
                Ix::Slice { len, .. } => out.push((Tag::Own(i), len.clone())),
                Ix::Gather(e) => {
                    place.get_or_insert(out.len());
                    paired.push(self.program.ty(*e).shape.clone());
                }
                _ => {}
            }
        }
        out.extend(dims.enumerate().map(|(k, d)| (Tag::Rest(k), d.clone())));
        if let Some(place) = place {
            let shape = self.broadcast_all(&paired)?;
            out.splice(place..place, shape.into_iter().enumerate().map(|(j, s)| (Tag::Paired(j), s)));
        }
        Ok(out)
    }
    fn indexed(&mut self, base: ExprId, indices: Vec<Ix>, span: Span) -> Result<(ExprId, Vec<Tag>), Thin> {
        let layout = self.index_layout(&self.shape_of(base), &indices)?;
        let (tags, shape): (Vec<Tag>, Vec<Size>) = layout.into_iter().unzip();
        let elem = self.program.ty(base).elem;
        Ok((self.push(ExprKind::Index { base, indices }, Ty::new(elem, shape), span), tags))
    }

    fn batched_index(&mut self, b: &mut Batch<'_>, e: ExprId, base: ExprId, indices: &[Ix]) -> Result<ExprId, Thin> {
        let span = self.program.exprs[e].span;
        let wanted: Vec<Tag> = self.index_layout(&self.shape_of(base), indices)?.into_iter().map(|l| l.0).collect();
        let new_base = self.batched(b, base)?;
        let mut moving: Vec<Option<ExprId>> = Vec::new();
        for ix in indices {
            moving.push(match ix {
                Ix::At(i) | Ix::Gather(i) => self.batched(b, *i)?,
                _ => None,
            });
        }
        let varies = moving.iter().any(Option::is_some);
        if let Some(x) = new_base {
            // A thin dimension is only taken whole.
            let (have, old) = (self.shape_of(x), self.shape_of(base));
            let mut dim = 0;
            for ix in indices {
                if !matches!(ix, Ix::New) {
                    if !matches!(ix, Ix::All) && !self.agree(&have[dim + 1], &old[dim]) {
                        return Err(Thin);
                    }
                    dim += 1;
                }
            }
            if !varies {
                let all = std::iter::once(Ix::All).chain(indices.iter().cloned()).collect();
                return Ok(self.indexed(x, all, span)?.0);
            }
        }
        // The only moving index counts: a slice.
        if new_base.is_none()
            && let [at] = moving.iter().enumerate().filter(|(_, m)| m.is_some()).map(|(i, _)| i).collect::<Vec<_>>()[..]
            && let Ix::At(_) = indices[at]
            && let Some(start) = self.counts_from(moving[at].expect("it moves"))
        {
            let mut sliced = indices.to_vec();
            let dims = indices[..at].iter().filter(|ix| !matches!(ix, Ix::New)).count();
            let dim = self.shape_of(base)[dims].clone();
            let whole = start.as_number() == Some(0) && self.agree(&dim, &b.len);
            sliced[at] = if whole { Ix::All } else { Ix::Slice { start, len: b.len.clone() } };
            let (value, tags) = self.indexed(base, sliced, span)?;
            return Ok(self.in_order(value, &tags, &wanted, Tag::Own(at)));
        }
        // Otherwise index arrays in pairs, with the leading dimension before their own.
        let paired = indices
            .iter()
            .filter_map(|ix| if let Ix::Gather(i) = ix { Some(self.rank_of(*i)) } else { None })
            .max()
            .unwrap_or(0);
        let mut arrays = Vec::new();
        if new_base.is_some() {
            let counting = self.counting(&Size::default(), &b.len, span);
            arrays.push(Ix::Gather(self.with_ones(counting, 1, paired)));
        }
        for (ix, m) in indices.iter().zip(&moving) {
            arrays.push(match (ix, m) {
                (Ix::At(_) | Ix::Gather(_), Some(v)) => {
                    let have = self.rank_of(*v) - 1;
                    Ix::Gather(self.with_ones(*v, 1, paired - have))
                }
                (ix, _) => ix.clone(),
            });
        }
        let shift = usize::from(new_base.is_some());
        let (value, tags) = self.indexed(new_base.unwrap_or(base), arrays, span)?;
        let tags: Vec<Tag> = tags
            .into_iter()
            .map(|t| match t {
                Tag::Own(i) => Tag::Own(i - shift),
                Tag::Paired(0) => Tag::Lead,
                Tag::Paired(j) => Tag::Paired(j - 1),
                other => other,
            })
            .collect();
        Ok(self.in_order(value, &tags, &wanted, Tag::Lead))
    }
    /// `value`, whose dimensions have `tags`, with that of `lead` first and then those of `wanted`.
    fn in_order(&mut self, value: ExprId, tags: &[Tag], wanted: &[Tag], lead: Tag) -> ExprId {
        let place = |t: &Tag| tags.iter().position(|x| x == t).expect("the same dimensions and the leading one");
        let order: Vec<usize> = std::iter::once(place(&lead)).chain(wanted.iter().map(place)).collect();
        self.permuted(value, &order)
    }
    /// The first of consecutive ints, if `e` is written as such.
    fn counts_from(&self, e: ExprId) -> Option<Size> {
        match &self.program.exprs[e].kind {
            ExprKind::Call { def, .. } if def.name == "range" => Some(Size::default()),
            ExprKind::Call { def, args, .. } if matches!(def.name, "+" | "-") && args.len() == 2 => {
                let size = |e: ExprId| self.as_size(e);
                match (self.counts_from(args[0]), self.counts_from(args[1]), def.name) {
                    (Some(a), None, "+") => a.add(&size(args[1])?),
                    (Some(a), None, _) => a.sub(&size(args[1])?),
                    (None, Some(a), "+") => a.add(&size(args[0])?),
                    _ => None,
                }
            }
            // A scalar stands beside it with a dimension of size 1.
            _ => None,
        }
    }
    /// The size that an int expression is, if it is made of sizes and numbers alone.
    pub(super) fn as_size(&self, e: ExprId) -> Option<Size> {
        match &self.program.exprs[e].kind {
            ExprKind::Const(c) if c.fract() == 0.0 && c.abs() < 1e12 => Some(Size::from(*c as i64)),
            ExprKind::Size(s) => Some(s.clone()),
            ExprKind::Call { def, args, .. } => {
                let a: Vec<Size> = args.iter().map(|&a| self.as_size(a)).collect::<Option<_>>()?;
                match (def.name, &a[..]) {
                    ("-", [x]) => Size::default().sub(x),
                    ("+", [x, y]) => x.add(y),
                    ("-", [x, y]) => x.sub(y),
                    ("*", [x, y]) => x.mul(y),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// All values of `e` one after the other, by a loop without a carry.
    fn one_by_one(&mut self, b: &mut Batch<'_>, e: ExprId) -> Result<ExprId, Thin> {
        let Expr { ty, span, .. } = self.program.exprs[e].clone();
        let mut elements: Vec<(ExprId, ExprId)> = Vec::new();
        let mut failed = None;
        let mut memo = HashMap::new();
        let body = self.rebuilt(
            e,
            &mut |cx, x| {
                let array = (b.leaf)(cx, x)?;
                if let Err(thin) = cx.full(array, x) {
                    failed = Some(thin);
                }
                if let Some(&(var, _)) = elements.iter().find(|(_, known)| *known == array) {
                    return Some(var);
                }
                let var = cx.variable(cx.program.ty(x).clone(), span);
                elements.push((var, array));
                Some(var)
            },
            &mut memo,
        );
        if let Some(thin) = failed {
            return Err(thin);
        }
        let scan = self.scan(b.len.clone(), false, elements, Vec::new(), vec![body], span);
        let shape = std::iter::once(b.len.clone()).chain(ty.shape).collect();
        Ok(self.push(ExprKind::Scan { scan, port: Port::Stacked(0) }, Ty::new(ty.elem, shape), span))
    }

    /// A new variable of a loop.
    pub(super) fn variable(&mut self, ty: Ty, span: Span) -> ExprId {
        let var = crate::index::Idx::new(self.program.vars);
        self.program.vars += 1;
        self.push(ExprKind::Var(var), ty, span)
    }
    /// A loop, with what its body captures found out.
    pub(super) fn scan(
        &mut self,
        len: Size,
        reverse: bool,
        elements: Vec<(ExprId, ExprId)>,
        carries: Vec<Carry>,
        results: Vec<ExprId>,
        span: Span,
    ) -> ScanId {
        let mut scan = Scan { len, reverse, elements, carries, results, captures: Vec::new(), span };
        let vars = self.program.scan_vars(&scan);
        let mut stack: Vec<ExprId> = scan.carries.iter().map(|c| c.next).chain(scan.results.iter().copied()).collect();
        let mut seen = std::collections::HashSet::new();
        while let Some(e) = stack.pop() {
            if !seen.insert(e) {
                continue;
            }
            if self.program.bound_vars(e).iter().any(|v| vars.contains(v)) {
                stack.extend(self.program.operands(e));
            } else {
                scan.captures.push(e);
            }
        }
        scan.captures.sort();
        self.program.scans.push(scan)
    }

    /// `e` with every expression that `leaf` knows replaced by what it says.
    pub(super) fn rebuilt(
        &mut self,
        e: ExprId,
        leaf: &mut dyn FnMut(&mut Checker<'_>, ExprId) -> Option<ExprId>,
        memo: &mut HashMap<ExprId, ExprId>,
    ) -> ExprId {
        if let Some(&known) = memo.get(&e) {
            return known;
        }
        let new = match leaf(self, e) {
            Some(value) => value,
            None => {
                let operands = self.program.operands(e);
                let new: Vec<ExprId> = operands.iter().map(|&o| self.rebuilt(o, leaf, memo)).collect();
                if new == operands { e } else { self.rebuilt_new(e, leaf, memo) }
            }
        };
        memo.insert(e, new);
        new
    }
    fn rebuilt_new(
        &mut self,
        e: ExprId,
        leaf: &mut dyn FnMut(&mut Checker<'_>, ExprId) -> Option<ExprId>,
        memo: &mut HashMap<ExprId, ExprId>,
    ) -> ExprId {
        let Expr { kind, ty, span, caller } = self.program.exprs[e].clone();
        let kind = match kind {
            ExprKind::Call { def, args, attrs } => {
                let args = args.iter().map(|&a| self.rebuilt(a, leaf, memo)).collect();
                ExprKind::Call { def, args, attrs }
            }
            ExprKind::Index { base, indices } => {
                let base = self.rebuilt(base, leaf, memo);
                let indices = indices
                    .into_iter()
                    .map(|ix| match ix {
                        Ix::At(i) => Ix::At(self.rebuilt(i, leaf, memo)),
                        Ix::Gather(i) => Ix::Gather(self.rebuilt(i, leaf, memo)),
                        other => other,
                    })
                    .collect();
                ExprKind::Index { base, indices }
            }
            ExprKind::LogProb { dist, value } => {
                let dist = self.rebuilt_dist(&dist, leaf, memo);
                ExprKind::LogProb { dist: Box::new(dist), value: self.rebuilt(value, leaf, memo) }
            }
            ExprKind::Sample { dist, index } => {
                let dist = self.rebuilt_dist(&dist, leaf, memo);
                let index = index.iter().map(|&i| self.rebuilt(i, leaf, memo)).collect();
                ExprKind::Sample { dist: Box::new(dist), index }
            }
            ExprKind::Scan { scan, port } => {
                let old = self.program.scans[scan].clone();
                let mut pair = |cx: &mut Self, e: ExprId| cx.rebuilt(e, leaf, memo);
                let elements = old.elements.iter().map(|&(var, array)| (var, pair(self, array))).collect();
                let carries = old
                    .carries
                    .iter()
                    .map(|c| Carry { var: c.var, init: pair(self, c.init), next: pair(self, c.next) })
                    .collect();
                let results = old.results.iter().map(|&r| pair(self, r)).collect();
                let scan = self.scan(old.len, old.reverse, elements, carries, results, old.span);
                ExprKind::Scan { scan, port }
            }
            other => other,
        };
        self.program.push(Expr { kind, ty, span, caller })
    }
    pub(super) fn rebuilt_dist(
        &mut self,
        dist: &DistExpr,
        leaf: &mut dyn FnMut(&mut Checker<'_>, ExprId) -> Option<ExprId>,
        memo: &mut HashMap<ExprId, ExprId>,
    ) -> DistExpr {
        let Ok(dist) = dist.map_args(&mut |a, _| Ok::<_, std::convert::Infallible>(self.rebuilt(a, leaf, memo)));
        dist
    }
}
