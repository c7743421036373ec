//! Draws from the prior of arrays that a loop fills, where they go element by element.

use super::arrays::{Dim, Role, What};
use super::checker::Checker;
use super::loops::{OpenLoop, index_of_var};
use super::size::Size;
use super::typed::*;
use std::collections::{HashMap, HashSet};

impl<'p> Checker<'p> {
    /// Draws from the prior that go element by element: for each draw of the body, all of them. `None` where no
    /// distribution depends on what an earlier iteration draws.
    pub(super) fn forward(&mut self, frame: &OpenLoop, passed: &[Carry]) -> Option<Vec<(ExprId, ExprId)>> {
        struct Drawn {
            role: Role,
            offset: Size,
            at: usize,
            draw: ExprId,
            array: usize,
            region: Vec<Dim>,
        }
        let mut drawn: Vec<Drawn> = Vec::new();
        for (array, piece) in &frame.writes {
            let What::Density { forward, .. } = &piece.what else { continue };
            let at = piece.region.iter().position(|d| matches!(d, Dim::Var { var, .. } if *var == frame.var))?;
            let Dim::Var { offset, .. } = &piece.region[at] else { unreachable!("found above") };
            let role = self.arrays[*array].role;
            let (offset, region) = (offset.clone(), piece.region.clone());
            drawn.push(Drawn { role, offset, at, draw: *forward, array: *array, region });
        }
        // Which elements of what is drawn here the body reads: array, how many iterations back, the other indices.
        let read = |cx: &Checker<'_>, e: ExprId| -> Option<(usize, i64, Vec<Ix>)> {
            let ExprKind::Index { base, indices } = &cx.program.exprs[e].kind else { return None };
            let which = drawn.iter().position(|d| match (d.role, &cx.program.exprs[*base].kind) {
                (Role::Site(a), ExprKind::Site(b)) => a == *b,
                (Role::Discrete(a), ExprKind::Discrete(b)) => a == *b,
                (Role::Data(a), ExprKind::Data(b)) => a == *b,
                _ => false,
            })?;
            let d = &drawn[which];
            let Some(Ix::At(index)) = indices.get(d.at) else { return None };
            let mut back = None;
            match index_of_var(&cx.program, *index, frame.var) {
                Some(offset) => back = d.offset.sub(&offset)?.as_number(),
                None => {
                    let _ = index;
                }
            }
            if indices.len() < d.region.len() {
                return None;
            }
            Some((which, back?, indices[d.region.len()..].to_vec()))
        };
        let mut deepest: HashMap<usize, i64> = HashMap::new();
        let mut stack: Vec<ExprId> = drawn.iter().map(|d| d.draw).chain(passed.iter().map(|c| c.next)).collect();
        let mut seen = HashSet::new();
        while let Some(e) = stack.pop() {
            if !self.program.is_bound(e) || !seen.insert(e) {
                continue;
            }
            if let Some((which, back, _)) = read(self, e)
                && back >= 1
            {
                let most = deepest.entry(which).or_insert(0);
                *most = (*most).max(back);
            }
            stack.extend(self.program.operands(e));
        }
        if deepest.is_empty() {
            return None;
        }
        let mut carries: Vec<Carry> = passed.to_vec();
        let mut lags: HashMap<(usize, i64), ExprId> = HashMap::new();
        let mut chains: Vec<(usize, i64)> = deepest.into_iter().collect();
        chains.sort_unstable();
        for (which, most) in chains {
            let d = &drawn[which];
            let mut next = d.draw;
            for k in 1..=most {
                let region = self.before_first(frame, &d.region, k)?;
                let init = self.written(d.array, &region)?;
                let var = self.variable(self.program.ty(d.draw).clone(), frame.span);
                carries.push(Carry { var, init, next });
                lags.insert((which, k), var);
                next = var;
            }
        }
        let draws: Vec<ExprId> = drawn.iter().map(|d| d.draw).collect();
        let mut inside: HashMap<ExprId, ExprId> = HashMap::new();
        let mut extra = |cx: &mut Checker<'_>, e: ExprId| -> Option<ExprId> {
            if let Some(&known) = inside.get(&e) {
                return Some(known);
            }
            let (which, back, rest) = read(cx, e)?;
            let element = match back {
                // Drawn in this iteration: the draw itself, which is rebuilt in its turn.
                0 => return None,
                k => *lags.get(&(which, k))?,
            };
            let value = if rest.is_empty() {
                element
            } else {
                let (ty, span) = (cx.program.ty(e).clone(), cx.program.exprs[e].span);
                cx.push(ExprKind::Index { base: element, indices: rest }, ty, span)
            };
            inside.insert(e, value);
            Some(value)
        };
        // Reads of this iteration's own draws become those draws first.
        let mut own: HashMap<ExprId, ExprId> = HashMap::new();
        let mut substituted: Vec<ExprId> = Vec::new();
        for (i, &draw) in draws.iter().enumerate() {
            let done = substituted.clone();
            let new = self.rebuilt(
                draw,
                &mut |cx, e| match read(cx, e) {
                    Some((which, 0, rest)) if which < i => {
                        let base = done[which];
                        if rest.is_empty() {
                            return Some(base);
                        }
                        let (ty, span) = (cx.program.ty(e).clone(), cx.program.exprs[e].span);
                        Some(cx.push(ExprKind::Index { base, indices: rest }, ty, span))
                    }
                    _ => None,
                },
                &mut own,
            );
            substituted.push(new);
        }
        for c in &mut carries {
            c.next = match draws.iter().position(|&d| d == c.next) {
                Some(i) => substituted[i],
                None => self.rebuilt(
                    c.next,
                    &mut |cx, e| match read(cx, e) {
                        Some((which, 0, rest)) if rest.is_empty() => Some(substituted[which]),
                        _ => None,
                    },
                    &mut HashMap::new(),
                ),
            };
        }
        let core = self.core(frame, &carries, &substituted, &mut extra);
        let mut all = Vec::new();
        for (&draw, new) in draws.iter().zip(&substituted) {
            let inside = core.rebuilt[new];
            let stacked = self.stacked(core.scan, inside, &frame.len);
            all.push((draw, stacked));
        }
        Some(all)
    }
}
