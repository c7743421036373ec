//! Pieces of an array as a whole: whether they cover it exactly once, their values joined, their distributions as one.

use super::arrays::{Dim, Piece, What};
use super::checker::Checker;
use super::size::Size;
use super::typed::*;
use crate::builtins;
use crate::source::Span;
use crate::syntax::ast::Elem;

/// Entries of one dimension in order: where they start, how many, the pieces there.
type Group<'a> = (Size, Size, Vec<&'a Piece>);

/// Why pieces do not cover an array exactly once.
pub(super) enum Gap {
    Missing(Size),
    Twice(Span, Span),
    Unclear,
}

impl<'p> Checker<'p> {
    /// Values of pieces that cover an array of `shape`, joined.
    pub(super) fn joined(&mut self, pieces: &[(Vec<Dim>, ExprId)], shape: &[Size]) -> ExprId {
        // Every piece gets all dimensions, those of single entries with size 1.
        let full: Vec<(Vec<Dim>, ExprId)> = pieces
            .iter()
            .map(|(region, e)| {
                let mut e = *e;
                for (at, dim) in region.iter().enumerate() {
                    if matches!(dim, Dim::At(_)) {
                        e = self.with_ones(e, at, 1);
                    }
                }
                (region.clone(), e)
            })
            .collect();
        self.joined_at(&full, shape, 0)
    }
    pub(super) fn joined_at(&mut self, pieces: &[(Vec<Dim>, ExprId)], shape: &[Size], axis: usize) -> ExprId {
        if let [(_, only)] = pieces {
            return *only;
        }
        let mut parts = Vec::new();
        for members in groups(pieces.iter().map(|(r, _)| r.as_slice()), axis, &|a, b| self.agree(a, b)) {
            let members: Vec<(Vec<Dim>, ExprId)> = members.iter().map(|&i| pieces[i].clone()).collect();
            parts.push(self.joined_at(&members, shape, axis + 1));
        }
        if let [only] = parts[..] {
            return only;
        }
        let rank = self.program.ty(parts[0]).shape.len();
        let mut order: Vec<usize> = (0..rank).collect();
        order.remove(axis);
        order.insert(0, axis);
        let moved: Vec<ExprId> = parts.iter().map(|&p| self.permuted(p, &order)).collect();
        let first = self.program.ty(moved[0]).clone();
        let elem = if parts.iter().any(|&p| self.program.ty(p).elem == Elem::Real) { Elem::Real } else { first.elem };
        let mut joined = first.shape.clone();
        joined[0] = shape[axis].clone();
        let span = self.program.exprs[parts[0]].span;
        let e = self.call_of(&builtins::shape::CONCAT, moved, Attrs::default(), Ty::new(elem, joined), span);
        let mut back: Vec<usize> = (1..=axis).collect();
        back.push(0);
        back.extend(axis + 1..rank);
        self.permuted(e, &back)
    }
    /// The distributions of pieces that cover an array of `shape`, as one.
    pub(super) fn joined_dist(&mut self, pieces: &[Piece], shape: &[Size]) -> DistExpr {
        let full: Vec<(Vec<Dim>, DistExpr)> = pieces
            .iter()
            .filter_map(|p| match &p.what {
                What::Density { dist, .. } => {
                    Some((p.region.clone(), self.dist_with_all_dims(dist, &p.region, shape.len())))
                }
                What::Value(_) => None,
            })
            .collect();
        self.joined_dist_at(&full, 0)
    }
    /// The arguments of a piece's distribution with a dimension of size 1 for each single entry that has others before it.
    pub(super) fn dist_with_all_dims(&mut self, dist: &DistExpr, region: &[Dim], rank: usize) -> DistExpr {
        let batch = rank - dist.event_rank();
        let single: Vec<bool> =
            (0..batch).map(|d| region.get(d).is_some_and(|dim| matches!(dim, Dim::At(_)))).collect();
        let mapped = dist.map_args(&mut |a, event| {
            let mut e = a;
            let mut have = self.program.ty(a).shape.len().saturating_sub(event);
            // From the last dimension to the first: how many of the piece's own dimensions stand behind.
            let mut behind = 0;
            for d in (0..batch).rev() {
                if !single[d] {
                    behind += 1;
                } else if have > behind {
                    e = self.with_ones(e, have - behind, 1);
                    have += 1;
                    behind += 1;
                }
            }
            Ok::<_, std::convert::Infallible>(e)
        });
        let Ok(dist) = mapped;
        dist
    }
    pub(super) fn joined_dist_at(&mut self, pieces: &[(Vec<Dim>, DistExpr)], axis: usize) -> DistExpr {
        if let [(_, only)] = pieces {
            return only.clone();
        }
        let mut parts = Vec::new();
        for members in groups(pieces.iter().map(|(r, _)| r.as_slice()), axis, &|a, b| self.agree(a, b)) {
            let len = match &pieces[members[0]].0[axis] {
                Dim::Part { len, .. } => len.clone(),
                _ => 1.into(),
            };
            let members: Vec<(Vec<Dim>, DistExpr)> = members.iter().map(|&i| pieces[i].clone()).collect();
            parts.push((len, self.joined_dist_at(&members, axis + 1)));
        }
        if let [(_, only)] = &parts[..] {
            return only.clone();
        }
        let span = parts[parts.len() - 1].1.span();
        DistExpr::Joined { axis, parts, span }
    }
}

/// The members of each group of entries along `axis`, in order. The regions cover the axis.
fn groups<'r>(
    regions: impl Iterator<Item = &'r [Dim]>,
    axis: usize,
    agree: &dyn Fn(&Size, &Size) -> bool,
) -> Vec<Vec<usize>> {
    let regions: Vec<&[Dim]> = regions.collect();
    let bounds = |r: &[Dim]| match &r[axis] {
        Dim::At(at) => (at.clone(), Size::from(1)),
        Dim::Part { start, len } => (start.clone(), len.clone()),
        Dim::Var { .. } => unreachable!("closed loops leave no variables"),
    };
    let mut out: Vec<Vec<usize>> = Vec::new();
    let mut at = Size::default();
    loop {
        let members: Vec<usize> = (0..regions.len()).filter(|&i| agree(&bounds(regions[i]).0, &at)).collect();
        let Some(&first) = members.first() else { return out };
        let Some(next) = at.add(&bounds(regions[first]).1) else { return out };
        at = next;
        out.push(members);
    }
}

/// Whether pieces cover dimensions `axis..` of an array exactly once.
pub(super) fn cover(
    pieces: &[&Piece],
    shape: &[Size],
    axis: usize,
    agree: &dyn Fn(&Size, &Size) -> bool,
) -> Result<(), Gap> {
    let Some(first) = pieces.first() else { return Err(Gap::Missing(Size::default())) };
    let rank = first.region.len();
    if pieces.iter().any(|p| p.region.len() != rank) {
        return Err(Gap::Unclear);
    }
    if axis == rank {
        return match pieces {
            [_] => Ok(()),
            [a, b, ..] => Err(Gap::Twice(a.span, b.span)),
            [] => unreachable!("checked above"),
        };
    }
    let mut found: Vec<Group<'_>> = Vec::new();
    for piece in pieces {
        let (start, len) = match &piece.region[axis] {
            Dim::At(at) => (at.clone(), Size::from(1)),
            Dim::Part { start, len } => (start.clone(), len.clone()),
            Dim::Var { .. } => return Err(Gap::Unclear),
        };
        match found.iter_mut().find(|g| agree(&g.0, &start)) {
            Some(group) if agree(&group.1, &len) => group.2.push(piece),
            Some(group) => return Err(Gap::Twice(group.2[0].span, piece.span)),
            None => found.push((start, len, vec![piece])),
        }
    }
    let mut at = Size::default();
    let mut used = 0;
    while !agree(&at, &shape[axis]) {
        let Some(group) = found.iter().find(|g| agree(&g.0, &at)) else {
            // A piece that begins inside what is covered overlaps it, as far as numbers tell.
            return Err(Gap::Missing(at));
        };
        cover(&group.2, shape, axis + 1, agree)?;
        used += 1;
        at = at.add(&group.1).ok_or(Gap::Unclear)?;
    }
    match used == found.len() {
        true => Ok(()),
        false => {
            let extra = found.iter().max_by_key(|g| g.2[0].span.start).expect("more groups than were used");
            let other = found.iter().find(|g| !std::ptr::eq(*g, extra)).unwrap_or(extra);
            Err(Gap::Twice(other.2[0].span, extra.2[0].span))
        }
    }
}
