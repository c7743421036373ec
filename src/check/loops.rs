//! `for` loops.
//!
//! The body is checked once, with a variable for the index. What iterations share only through sites and data is then made
//! for all of them at once ([`super::batch`]); what passes from one to the next (a name that is bound again, an element
//! of an array that was computed before) becomes a carry of one [`Scan`], and only what the carries need is in it:
//! everything else, densities above all, is computed over slices.

use super::arrays::{Dim, Piece, What};
use super::batch::{Batch, Thin};
use super::checker::{Binding, Checker, R, Reported, Val};
use super::size::Size;
use super::stmts::Flow;
use super::typed::*;
use crate::builtins;
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{self, Elem, ExprKind as Syntax, Pattern, StmtKind};
use std::collections::{HashMap, HashSet};

/// A loop whose body is being checked.
#[derive(Clone, Debug)]
pub(super) struct OpenLoop {
    pub var: VarId,
    pub var_expr: ExprId,
    pub start: Size,
    pub len: Size,
    pub span: Span,
    /// Elements of arrays that the body writes.
    pub writes: Vec<(usize, Piece)>,
    /// Elements of latents that the body used before it wrote them: those of earlier iterations.
    pub reads: Vec<(usize, Vec<Dim>, Span)>,
    /// Likewise of computed arrays, with the variable that stands for each.
    pub lags: Vec<Lag>,
    /// Observations and factors.
    pub steps: Vec<BodyStep>,
}

/// An element of a computed array that an earlier iteration wrote.
#[derive(Clone, Debug)]
pub(super) struct Lag {
    array: usize,
    region: Vec<Dim>,
    var: ExprId,
    span: Span,
}

/// A term of the density inside a loop.
#[derive(Clone, Debug)]
pub(super) enum BodyStep {
    Observe(Observation),
    Factor(ExprId),
}

/// What passes from one iteration to the next.
pub(super) struct Core {
    pub(super) scan: ScanId,
    /// Expressions of the body as they stand in the scan.
    pub(super) rebuilt: HashMap<ExprId, ExprId>,
}

/// A name that the body binds again.
struct Named {
    name: ast::Ident,
    carry: Carry,
}

/// Arrays of a loop are never thin.
fn thin<T>(_: Thin) -> T {
    unreachable!("loops have all their entries")
}

fn as_var(program: &Program, e: ExprId) -> Option<VarId> {
    match program.exprs[e].kind {
        ExprKind::Var(var) => Some(var),
        _ => None,
    }
}

/// The names that statements bind, those of inner blocks included.
fn rebound(block: &ast::Block, names: &mut Vec<ast::Ident>) {
    for stmt in &block.stmts {
        match &stmt.kind {
            StmtKind::Let { target: Pattern::Name(name), .. } => names.push(name.clone()),
            StmtKind::Let { target: Pattern::Tuple(parts, _), .. } => names.extend(parts.iter().cloned()),
            StmtKind::If { then, otherwise, .. } => {
                rebound(then, names);
                otherwise.iter().for_each(|b| rebound(b, names));
            }
            StmtKind::For { body, .. } => rebound(body, names),
            _ => {}
        }
    }
}

impl<'p> Checker<'p> {
    /// `for t in a..b { … }`
    pub(super) fn for_loop(&mut self, var: &ast::Ident, range: &ast::Expr, body: &'p ast::Block, span: Span) -> R<()> {
        let Syntax::Range { start, end: Some(end), closed } = &range.kind else {
            return Err(self.error(
                Code::E0408,
                "a loop runs over a range",
                range.span,
                "not a range with an end",
                "write `for t in 0..T { … }`",
            ));
        };
        let start = start.as_deref().map_or(Ok(Size::default()), |e| self.loop_bound(e))?;
        let mut end = self.loop_bound(end)?;
        if *closed {
            end = end.add(&1.into()).unwrap_or(end);
        }
        let Some(len) = end.sub(&start) else {
            return Err(self.error(
                Code::E0308,
                "this range is too large",
                range.span,
                "too large",
                "use smaller sizes",
            ));
        };
        if let Some(n) = self.fixed(&len).as_number().filter(|&n| n < 1) {
            let message = if n == 0 { "this loop never runs".to_string() } else { "this loop runs backwards".into() };
            let help = "a range `a..b` needs a < b: leave the loop out, or exchange its ends";
            return Err(self.error(Code::E0408, message, range.span, "empty", help));
        }
        let head = Span { end: range.span.end, ..span };
        // Names from outside that the body binds again are carried.
        let mut names = Vec::new();
        rebound(body, &mut names);
        let mut carried: Vec<(ast::Ident, ExprId)> = Vec::new();
        for name in names {
            if name.name == var.name || carried.iter().any(|(n, _)| n.name == name.name) {
                continue;
            }
            match self.lookup_local(&name.name).cloned() {
                Some((Binding::Val(Val::Array(e)), _)) => carried.push((name, e)),
                Some((Binding::Val(Val::Tuple(_)), place)) => {
                    let d = Diagnostic::new(Code::E0408, format!("`{}` is a tuple and cannot be carried", name.name))
                        .label(name.span, "bound again in the loop")
                        .label(place, "a tuple")
                        .help("take it apart before the loop: `(a, b) = …`");
                    return Err(self.report(d));
                }
                _ => {}
            }
        }
        let mut types: Vec<Ty> = carried.iter().map(|(_, e)| self.program.ty(*e).clone()).collect();
        // A carry that starts as an int or a number may become a real or an array: then the body is checked again.
        for _ in 0..3 {
            let saved = self.saved();
            let named = self.loop_body(var, (&start, &len), body, head, &carried, &types)?;
            let next: Vec<Ty> = named.iter().map(|n| self.program.ty(n.carry.next).clone()).collect();
            let wider: Option<Vec<Ty>> = types
                .iter()
                .zip(&next)
                .map(|(a, b)| {
                    let real = a.elem == Elem::Real || b.elem == Elem::Real;
                    let elem = if a.elem == b.elem {
                        a.elem
                    } else if real {
                        Elem::Real
                    } else {
                        Elem::Int
                    };
                    Some(Ty::new(elem, self.broadcast(&a.shape, &b.shape)?))
                })
                .collect();
            let Some(wider) = wider else {
                self.loops.pop();
                return Err(self.carry_changes(&carried, &types, &next, &named));
            };
            let stays = types.iter().zip(&wider).all(|(a, b)| a.elem == b.elem && a.shape.len() == b.shape.len())
                && types.iter().zip(&wider).all(|(a, b)| a.shape.iter().zip(&b.shape).all(|(x, y)| self.agree(x, y)));
            if stays {
                let frame = self.loops.pop().expect("the loop that was checked");
                return self.close_loop(frame, named);
            }
            self.restore(saved);
            types = wider;
        }
        let named: Vec<Named> = Vec::new();
        let next = types.clone();
        Err(self.carry_changes(&carried, &types, &next, &named))
    }
    /// A bound of a loop: a size.
    fn loop_bound(&mut self, e: &ast::Expr) -> R<Size> {
        if let Some(name) = self.index_inside(e) {
            let message = format!("the bounds of a loop cannot depend on `{name}`, the index of the loop around");
            return Err(self.error(
                Code::E0408,
                message,
                e.span,
                "changes from iteration to iteration",
                "run over the whole range and choose by values with `where`",
            ));
        }
        self.size_expr(e)
    }
    /// The index of an open loop that an expression names.
    fn index_inside(&self, e: &ast::Expr) -> Option<String> {
        match &e.kind {
            Syntax::Name(name) => match self.lookup_local(name) {
                Some((Binding::Val(Val::Array(e)), _)) if as_var(&self.program, *e).is_some() => Some(name.clone()),
                _ => None,
            },
            Syntax::Binary(_, a, b) => self.index_inside(a).or_else(|| self.index_inside(b)),
            Syntax::Paren(a) => self.index_inside(a),
            _ => None,
        }
    }
    fn carry_changes(&mut self, carried: &[(ast::Ident, ExprId)], old: &[Ty], new: &[Ty], named: &[Named]) -> Reported {
        let at = old.iter().zip(new).position(|(a, b)| self.broadcast(&a.shape, &b.shape).is_none()).unwrap_or(0);
        let (name, init) = &carried[at];
        let (from, to) = (self.type_text(&self.program.ty(*init).clone()), self.type_text(&new[at]));
        for (name, _) in carried {
            self.bind(name, Binding::Poison);
        }
        let mut d = Diagnostic::new(
            Code::E0408,
            format!("`{}` changes its shape from iteration to iteration", name.name),
        )
        .label(self.program.exprs[*init].span, format!("it starts as {from}"))
        .help("a value that a loop passes on keeps its shape: collect values in an array, `x: real[T]`, `x[t] = …`");
        if let Some(n) = named.get(at) {
            d = d.label(self.program.exprs[n.carry.next].span, format!("and becomes {to}"));
        }
        self.report(d)
    }

    /// Checks the body; leaves the loop open.
    fn loop_body(
        &mut self,
        var: &ast::Ident,
        (start, len): (&Size, &Size),
        body: &'p ast::Block,
        span: Span,
        carried: &[(ast::Ident, ExprId)],
        types: &[Ty],
    ) -> R<Vec<Named>> {
        let var_expr = self.variable(Ty::scalar(Elem::Int), var.span);
        let id = as_var(&self.program, var_expr).expect("a variable");
        self.loops.push(OpenLoop {
            var: id,
            var_expr,
            start: start.clone(),
            len: len.clone(),
            span,
            writes: Vec::new(),
            reads: Vec::new(),
            lags: Vec::new(),
            steps: Vec::new(),
        });
        self.scope.frames.push(HashMap::new());
        self.bind(var, Binding::Val(Val::Array(var_expr)));
        let mut named = Vec::new();
        for ((name, init), ty) in carried.iter().zip(types) {
            let var = self.variable(ty.clone(), self.program.exprs[*init].span);
            self.bind(name, Binding::Val(Val::Array(var)));
            named.push(Named { name: name.clone(), carry: Carry { var, init: *init, next: var } });
        }
        let arrays = self.arrays.len();
        let result = self.block(body).and_then(|flow| match flow {
            Flow::Next => Ok(()),
            Flow::Return(_) => Err(self.error(
                Code::E0405,
                "`return` cannot leave a loop",
                span,
                "in this loop",
                "bind the value and return it after the loop",
            )),
        });
        let filled = self.check_filled(arrays);
        for n in &mut named {
            match self.lookup_local(&n.name.name).cloned() {
                Some((Binding::Val(Val::Array(e)), _)) => n.carry.next = e,
                Some((Binding::Val(val), place)) => {
                    if let Ok(e) = self.as_array(&val, place) {
                        n.carry.next = e;
                    }
                }
                _ => {}
            }
        }
        self.scope.frames.pop();
        if let Err(e) = result.and(filled) {
            self.loops.pop();
            // What the loop would have bound or filled stays silent.
            for (name, _) in carried {
                self.bind(name, Binding::Poison);
            }
            for array in &mut self.arrays {
                array.reported |= array.whole.is_none();
            }
            return Err(e);
        }
        Ok(named)
    }

    /// The variable that stands for an element which an earlier iteration writes.
    pub(super) fn lagged(&mut self, array: usize, region: Vec<Dim>, span: Span) -> Option<ExprId> {
        let moves = |v: &VarId| self.loops.iter().any(|l| l.var == *v);
        if !region.iter().any(|d| matches!(d, Dim::Var { var, .. } if moves(var))) {
            return None;
        }
        let known = self.loops.iter().flat_map(|l| &l.lags).find(|l| l.array == array && l.region == region);
        if let Some(lag) = known {
            return Some(lag.var);
        }
        let ty = &self.arrays[array].ty;
        let ty = Ty::new(ty.elem, ty.shape[region.len()..].to_vec());
        let var = self.variable(ty, span);
        self.loops.last_mut()?.lags.push(Lag { array, region, var, span });
        Some(var)
    }

    /// How many iterations before the present one the element `read` was written, when `written` is what one writes.
    fn distance(var: VarId, read: &[Dim], written: &[Dim]) -> Option<i64> {
        let mut distance = None;
        if read.len() != written.len() {
            return None;
        }
        for pair in read.iter().zip(written) {
            match pair {
                (Dim::Var { var: a, offset: c }, Dim::Var { var: b, offset: w }) if *a == var && *b == var => {
                    distance = Some(w.sub(c)?.as_number()?);
                }
                (a, b) if a == b => {}
                _ => return None,
            }
        }
        distance
    }
    fn unwritten(&mut self, array: usize, span: Span, loop_span: Span) -> Reported {
        self.arrays[array].reported = true;
        let array = self.arrays[array].clone();
        let d = Diagnostic::new(Code::E0508, format!("this element of `{}` is used before it is written", array.name))
            .label(span, "used here")
            .label(loop_span, "in this loop")
            .label(array.span, "declared here")
            .help(format!(
                "the elements that the loop starts from stand before it, for example `{}[0]`; a loop runs forwards",
                array.name
            ));
        self.report(d)
    }

    /// The region of an element `k` iterations before the first one, when `written` is what an iteration writes.
    pub(super) fn before_first(&self, frame: &OpenLoop, written: &[Dim], k: i64) -> Option<Vec<Dim>> {
        written
            .iter()
            .map(|d| match d {
                Dim::Var { var, offset } if *var == frame.var => {
                    Some(Dim::At(frame.start.add(offset)?.sub(&k.into())?))
                }
                other => Some(other.clone()),
            })
            .collect()
    }

    /// Turns the finished body into what all iterations do together.
    fn close_loop(&mut self, mut frame: OpenLoop, named: Vec<Named>) -> R<()> {
        let mentions = |region: &[Dim]| region.iter().any(|d| matches!(d, Dim::Var { var, .. } if *var == frame.var));
        // Elements of latents from earlier iterations must have been written by then.
        for (array, region, span) in std::mem::take(&mut frame.reads) {
            if !mentions(&region) {
                match self.loops.last_mut() {
                    Some(outer) => outer.reads.push((array, region, span)),
                    None => return Err(self.unwritten(array, span, frame.span)),
                }
                continue;
            }
            let write = frame.writes.iter().find_map(|(a, p)| {
                (*a == array)
                    .then(|| Self::distance(frame.var, &region, &p.region))
                    .flatten()
                    .map(|k| (k, p.region.clone()))
            });
            let written = match write {
                Some((k, write)) if k >= 1 => (1..=k)
                    .all(|k| self.before_first(&frame, &write, k).is_some_and(|first| self.is_written(array, &first))),
                _ => false,
            };
            if !written {
                return Err(self.unwritten(array, span, frame.span));
            }
        }
        // Lags of computed arrays are carries.
        let mut carries: Vec<Carry> = named.iter().map(|n| n.carry).collect();
        for lag in std::mem::take(&mut frame.lags) {
            if !mentions(&lag.region) {
                match self.loops.last_mut() {
                    Some(outer) => outer.lags.push(lag),
                    None => return Err(self.unwritten(lag.array, lag.span, frame.span)),
                }
                continue;
            }
            let write = frame.writes.iter().find_map(|(a, p)| {
                let k = (*a == lag.array).then(|| Self::distance(frame.var, &lag.region, &p.region)).flatten()?;
                match p.what {
                    What::Value(e) => Some((k, p.region.clone(), e)),
                    What::Density { .. } => None,
                }
            });
            let Some((k, write, value)) = write.filter(|w| w.0 >= 1) else {
                return Err(self.unwritten(lag.array, lag.span, frame.span));
            };
            // A chain of carries, from the value of the iteration before to the one that is asked for.
            let mut next = value;
            for step in 1..=k {
                let start = self.before_first(&frame, &write, step);
                let Some(init) = start.and_then(|region| self.written(lag.array, &region)) else {
                    return Err(self.unwritten(lag.array, lag.span, frame.span));
                };
                let var = if step == k { lag.var } else { self.variable(self.program.ty(lag.var).clone(), lag.span) };
                carries.push(Carry { var, init, next });
                next = var;
            }
        }
        // Which carries anything reads.
        let carry_vars: HashMap<VarId, usize> =
            carries.iter().enumerate().filter_map(|(i, c)| Some((as_var(&self.program, c.var)?, i))).collect();
        let mut live: Vec<bool> = vec![false; carries.len()];
        let mut stack: Vec<ExprId> = named.iter().map(|n| n.carry.next).collect();
        for step in &frame.steps {
            match step {
                BodyStep::Factor(e) => stack.push(*e),
                BodyStep::Observe(o) => {
                    stack.push(o.value);
                    stack.extend(o.dist.args());
                }
            }
        }
        for (_, piece) in &frame.writes {
            match &piece.what {
                What::Value(e) => stack.push(*e),
                What::Density { dist, .. } => stack.extend(dist.args()),
            }
        }
        while let Some(e) = stack.pop() {
            for var in self.program.bound_vars(e).to_vec() {
                if let Some(&i) = carry_vars.get(&var)
                    && !std::mem::replace(&mut live[i], true)
                {
                    stack.push(carries[i].next);
                }
            }
        }
        let passed: Vec<Carry> = carries.iter().zip(&live).filter(|(_, l)| **l).map(|(c, _)| *c).collect();
        let core = (!passed.is_empty()).then(|| self.core(&frame, &passed, &[], &mut |_, _| None));
        let forward = self.forward(&frame, &passed);

        let counting = self.counting(&frame.start, &frame.len, frame.span);
        let (var, len) = (frame.var, frame.len.clone());
        let is_carried: HashSet<VarId> = passed.iter().filter_map(|c| as_var(&self.program, c.var)).collect();
        let mut batch = Batch::new(frame.len.clone(), |cx, e| {
            if as_var(&cx.program, e) == Some(var) {
                return Some(counting);
            }
            let core = core.as_ref()?;
            if !cx.program.bound_vars(e).iter().any(|v| is_carried.contains(v)) {
                return None;
            }
            let own = as_var(&cx.program, e).filter(|v| is_carried.contains(v)).map(|_| e);
            let inside = own.or_else(|| core.rebuilt.get(&e).copied())?;
            Some(cx.stacked(core.scan, inside, &len))
        });
        for (array, piece) in std::mem::take(&mut frame.writes) {
            let at = piece.region.iter().position(|d| matches!(d, Dim::Var { var, .. } if *var == frame.var));
            let at = at.expect("every element is named by the loops around");
            // The new dimension stands behind those of the region's earlier dimensions that are there already.
            let behind = piece.region[..at].iter().filter(|d| matches!(d, Dim::Part { .. })).count();
            let mut region = piece.region.clone();
            if let Dim::Var { offset, .. } = &piece.region[at] {
                let start = frame.start.add(offset).unwrap_or_default();
                region[at] = Dim::Part { start, len: frame.len.clone() };
            }
            let what = match piece.what {
                What::Value(e) => {
                    let e = self.batched_full(&mut batch, e).unwrap_or_else(thin);
                    What::Value(self.lead_moved(e, behind))
                }
                What::Density { dist, forward: draw } => {
                    let rank = self.program.ty(draw).shape.len() - dist.event_rank();
                    let plain = dist.clone();
                    let dist = self.batched_dist(&mut batch, &dist, rank).unwrap_or_else(thin);
                    let dist = self.dist_lead_moved(&plain, dist, rank, behind);
                    let draw = match forward.as_ref().and_then(|f| f.iter().find(|(a, _)| *a == draw)) {
                        Some(&(_, stacked)) => stacked,
                        None => self.batched_full(&mut batch, draw).unwrap_or_else(thin),
                    };
                    What::Density { dist, forward: self.lead_moved(draw, behind) }
                }
            };
            let role = self.arrays[array].role;
            self.write(array, role, Piece { region, what, span: piece.span })?;
        }
        for step in std::mem::take(&mut frame.steps) {
            match step {
                BodyStep::Factor(e) => {
                    let e = match self.batched(&mut batch, e).unwrap_or_else(thin) {
                        Some(all) => all,
                        None => {
                            let n = self.size_value(frame.len.clone(), frame.span);
                            let ty = self.program.ty(e).clone();
                            self.call_of(&builtins::elementwise::MUL, vec![e, n], Attrs::default(), ty, frame.span)
                        }
                    };
                    self.push_step(BodyStep::Factor(e));
                }
                BodyStep::Observe(o) => {
                    let value = self.batched_full(&mut batch, o.value).unwrap_or_else(thin);
                    let rank = self.program.ty(o.value).shape.len() - o.dist.event_rank();
                    let dist = self.batched_dist(&mut batch, &o.dist, rank).unwrap_or_else(thin);
                    self.push_step(BodyStep::Observe(Observation { value, dist, ..o }));
                }
            }
        }
        // Names keep the value of the last iteration.
        for n in &named {
            let id = as_var(&self.program, n.carry.var).expect("a variable");
            let ty = self.program.ty(n.carry.var).clone();
            let last = match passed.iter().position(|c| as_var(&self.program, c.var) == Some(id)) {
                Some(i) => {
                    let scan = core.as_ref().expect("it is passed on").scan;
                    self.push(ExprKind::Scan { scan, port: Port::Last(i) }, ty, frame.span)
                }
                None => {
                    let all = self.batched_full(&mut batch, n.carry.next).unwrap_or_else(thin);
                    let end = self.size_value(frame.len.sub(&1.into()).unwrap_or_default(), frame.span);
                    self.push(ExprKind::Index { base: all, indices: vec![Ix::At(end)] }, ty, frame.span)
                }
            };
            self.bind(&n.name, Binding::Val(Val::Array(last)));
        }
        let how = match (passed.len(), &forward) {
            (0, None) => "vectorized: all iterations at once, over slices".to_string(),
            (0, Some(_)) => "vectorized over slices; element by element only where the prior is drawn".to_string(),
            (1, _) => "one scan that passes one value from iteration to iteration".to_string(),
            (n, _) => format!("one scan that passes {n} values from iteration to iteration"),
        };
        drop(batch);
        if !self.generic && !self.model.loops.contains(&(frame.span, how.clone())) {
            self.model.loops.push((frame.span, how));
        }
        Ok(())
    }

    /// Adds a term to the loop around, or to the model.
    pub(super) fn push_step(&mut self, step: BodyStep) {
        match (self.loops.last_mut(), step) {
            (Some(outer), step) => outer.steps.push(step),
            (None, BodyStep::Factor(e)) => self.model.steps.push(Step::Factor(e)),
            (None, BodyStep::Observe(o)) => {
                self.model.steps.push(Step::Observe(self.model.observations.len()));
                self.model.observations.push(o);
            }
        }
    }

    /// The leading dimension moved behind `behind` others.
    fn lead_moved(&mut self, e: ExprId, behind: usize) -> ExprId {
        let rank = self.program.ty(e).shape.len();
        let mut order: Vec<usize> = (1..rank).collect();
        order.insert(behind.min(rank - 1), 0);
        self.permuted(e, &order)
    }
    /// Likewise for the arguments of a distribution that was `plain` before, over `rank` dimensions.
    fn dist_lead_moved(&mut self, plain: &DistExpr, dist: DistExpr, rank: usize, behind: usize) -> DistExpr {
        if behind == 0 {
            return dist;
        }
        let before = plain.args();
        let mut at = 0;
        let mapped = dist.map_args(&mut |a, event| {
            let moved = a != before[at];
            at += 1;
            if moved {
                return Ok::<_, std::convert::Infallible>(self.lead_moved(a, behind));
            }
            // Dimensions left of the new one must stay left of it.
            let have = self.program.ty(a).shape.len().saturating_sub(event);
            let right = rank - behind;
            Ok(if have > right { self.with_ones(a, have - right, 1) } else { a })
        });
        let Ok(dist) = mapped;
        dist
    }

    /// All values of an expression of a scan's body.
    pub(super) fn stacked(&mut self, scan: ScanId, inside: ExprId, len: &Size) -> ExprId {
        let results = &mut self.program.scans[scan].results;
        let port = match results.iter().position(|&r| r == inside) {
            Some(i) => i,
            None => {
                results.push(inside);
                results.len() - 1
            }
        };
        let ty = self.program.ty(inside).clone();
        let shape = std::iter::once(len.clone()).chain(ty.shape).collect();
        let span = self.program.exprs[inside].span;
        self.push(ExprKind::Scan { scan, port: Port::Stacked(port) }, Ty::new(ty.elem, shape), span)
    }

    /// The scan of what `carries` need. What depends on the index alone is computed for all iterations before and comes in
    /// as elements. `extra` knows expressions of the body that stand for something else.
    pub(super) fn core(
        &mut self,
        frame: &OpenLoop,
        carries: &[Carry],
        results: &[ExprId],
        extra: &mut dyn FnMut(&mut Checker<'_>, ExprId) -> Option<ExprId>,
    ) -> Core {
        let counting = self.counting(&frame.start, &frame.len, frame.span);
        let var = frame.var;
        let mut plain =
            Batch::new(frame.len.clone(), |cx, e| (as_var(&cx.program, e) == Some(var)).then_some(counting));
        let carried: HashSet<VarId> = carries.iter().filter_map(|c| as_var(&self.program, c.var)).collect();
        let mut elements: Vec<(ExprId, ExprId)> = Vec::new();
        let mut memo: HashMap<ExprId, ExprId> = HashMap::new();
        // Whether something that `extra` knows is inside.
        let mut replaced: HashMap<ExprId, bool> = HashMap::new();
        let mut touched =
            |cx: &mut Checker<'_>, e: ExprId, extra: &mut dyn FnMut(&mut Checker<'_>, ExprId) -> Option<ExprId>| {
                touches(cx, e, extra, &mut replaced)
            };
        let mut next = Vec::new();
        let mut leaf = |cx: &mut Checker<'_>, e: ExprId| -> Option<ExprId> {
            if let Some(other) = extra(cx, e) {
                return Some(other);
            }
            let vars = cx.program.bound_vars(e).to_vec();
            if as_var(&cx.program, e).is_some_and(|v| carried.contains(&v)) {
                return Some(e);
            }
            if !vars.contains(&var) || vars.iter().any(|v| carried.contains(v)) || touched(cx, e, extra) {
                return None;
            }
            let array = cx.batched_full(&mut plain, e).unwrap_or_else(thin);
            let ty = cx.program.ty(e).clone();
            let span = cx.program.exprs[e].span;
            let element = cx.variable(ty, span);
            elements.push((element, array));
            Some(element)
        };
        for c in carries {
            let made = self.rebuilt(c.next, &mut leaf, &mut memo);
            next.push(Carry { next: made, ..*c });
        }
        let results: Vec<ExprId> = results.iter().map(|&r| self.rebuilt(r, &mut leaf, &mut memo)).collect();
        let scan = self.scan(frame.len.clone(), false, elements, next, results, frame.span);
        Core { scan, rebuilt: memo }
    }
}

/// The offset of an index `var + offset`.
pub(super) fn index_of_var(program: &Program, e: ExprId, var: VarId) -> Option<Size> {
    let number = |e: ExprId| match &program.exprs[e].kind {
        ExprKind::Const(c) => Some(Size::from(*c as i64)),
        ExprKind::Size(s) => Some(s.clone()),
        _ => None,
    };
    match &program.exprs[e].kind {
        ExprKind::Var(v) if *v == var => Some(Size::default()),
        ExprKind::Call { def, args, .. } if args.len() == 2 => match def.name {
            "+" => match (index_of_var(program, args[0], var), index_of_var(program, args[1], var)) {
                (Some(a), None) => a.add(&number(args[1])?),
                (None, Some(a)) => a.add(&number(args[0])?),
                _ => None,
            },
            "-" => index_of_var(program, args[0], var)?.sub(&number(args[1])?),
            _ => None,
        },
        _ => None,
    }
}

/// Whether an expression that `extra` knows is inside `e`.
fn touches(
    cx: &mut Checker<'_>,
    e: ExprId,
    extra: &mut dyn FnMut(&mut Checker<'_>, ExprId) -> Option<ExprId>,
    memo: &mut HashMap<ExprId, bool>,
) -> bool {
    if let Some(&known) = memo.get(&e) {
        return known;
    }
    let mut found = extra(cx, e).is_some();
    for o in cx.program.operands(e) {
        found = found || touches(cx, o, extra, memo);
    }
    memo.insert(e, found);
    found
}
