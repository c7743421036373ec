//! Indexing: `a[i]`, `a[1..]`, `a[:, new]`, `a[group]`.

use super::checker::{Checker, R};
use super::size::Size;
use super::typed::*;
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{self, Elem, ExprKind as Syntax, Index};

impl<'p> Checker<'p> {
    pub(super) fn index(&mut self, base: &ast::Expr, indices: &[Index], span: Span) -> R<ExprId> {
        if let Syntax::Name(name) = &base.kind
            && let Some(id) = self.filled_array(name)
        {
            return self.element(id, indices, span);
        }
        let base_id = self.array(base)?;
        self.index_of(base_id, indices, span)
    }
    /// `base[…]`
    pub(super) fn index_of(&mut self, base_id: ExprId, indices: &[Index], span: Span) -> R<ExprId> {
        let ty = self.program.ty(base_id).clone();
        let used = indices.iter().filter(|i| !matches!(i, Index::New(_))).count();
        if used > ty.shape.len() {
            let shape = self.program.shape_text(&ty.shape);
            let count = |n: usize, one: &str, more: &str| format!("{n} {}", if n == 1 { one } else { more });
            let d = match ty.shape.len() {
                0 => Diagnostic::new(Code::E0309, "a scalar has no elements to choose from")
                    .label(span, "indexed here")
                    .label(span, "this is a scalar")
                    .help("leave the index out, or give the value a shape where it is defined"),
                n => {
                    let (found, has) = (count(used, "index", "indices"), count(n, "dimension", "dimensions"));
                    Diagnostic::new(Code::E0309, format!("{found} for {has}"))
                        .label(span, format!("this has shape {shape}"))
                        .help("leave the last indices out")
                }
            };
            return Err(self.report(d));
        }
        let mut dims = ty.shape.iter();
        let mut out: Vec<Size> = Vec::new();
        let mut ixs = Vec::new();
        // Several int arrays index in pairs: their common shape stands where the first of them stands.
        let mut gathered: Option<(usize, Vec<Size>)> = None;
        for index in indices {
            match index {
                Index::New(_) => {
                    out.push(1.into());
                    ixs.push(Ix::New);
                }
                Index::All(_) => {
                    out.push(dims.next().expect("counted above").clone());
                    ixs.push(Ix::All);
                }
                Index::At(e) => {
                    let dim = dims.next().expect("counted above").clone();
                    if let Syntax::Range { start, end, closed } = &e.kind {
                        let (start, len) =
                            self.slice_bounds(start.as_deref(), end.as_deref(), *closed, &dim, e.span)?;
                        out.push(len.clone());
                        ixs.push(Ix::Slice { start, len });
                        continue;
                    }
                    let at = self.array(e)?;
                    let at_ty = self.program.ty(at).clone();
                    if at_ty.elem != Elem::Int {
                        return Err(self.error(
                            Code::E0401,
                            "an index must be an int",
                            e.span,
                            "not an int",
                            "declare the data as `int[…]`",
                        ));
                    }
                    if at_ty.shape.is_empty() {
                        self.check_constant_index(at, &dim, e.span)?;
                        if let Some(place @ super::arrays::Dim::Var { .. }) = self.place_of(at) {
                            self.inside(&place, &dim, e.span)?;
                        }
                        ixs.push(Ix::At(at));
                    } else {
                        match &mut gathered {
                            None => {
                                gathered = Some((out.len(), at_ty.shape.clone()));
                                out.extend(at_ty.shape);
                            }
                            Some((_, shape)) => {
                                let fits = shape.len() == at_ty.shape.len();
                                let shape = shape.clone();
                                if !fits || !shape.iter().zip(&at_ty.shape).all(|(a, b)| self.agree(a, b)) {
                                    let d = Diagnostic::new(Code::E0301, "index arrays of different shapes");
                                    let d = self
                                        .blame(d.label(span, "they go in pairs"), at)
                                        .help("give all of them the same shape");
                                    return Err(self.report(d));
                                }
                            }
                        }
                        ixs.push(Ix::Gather(at));
                    }
                }
            }
        }
        out.extend(dims.cloned());
        Ok(self.push(ExprKind::Index { base: base_id, indices: ixs }, Ty::new(ty.elem, out), span))
    }
    pub(super) fn check_constant_index(&mut self, at: ExprId, dim: &Size, span: Span) -> R<()> {
        let Some(value) = self.const_value(at) else { return Ok(()) };
        if value < 0.0 {
            let n = self.program.size_text(dim);
            return Err(self.error(
                Code::E0309,
                format!("the index {value} is negative"),
                span,
                "indices count from 0",
                &format!("the last element is `[{n} - {}]`", -value),
            ));
        }
        if let Some(n) = self.fixed(dim).as_number().filter(|&n| value >= n as f64) {
            return Err(self.error(
                Code::E0309,
                format!("the index {value} is past the end"),
                span,
                &format!("this dimension has {n} elements"),
                &format!("indices run from 0 to {}", n - 1),
            ));
        }
        Ok(())
    }
    pub(super) fn slice_bounds(
        &mut self,
        start: Option<&ast::Expr>,
        end: Option<&ast::Expr>,
        closed: bool,
        dim: &Size,
        span: Span,
    ) -> R<(Size, Size)> {
        let start = start.map_or(Ok(Size::from(0)), |e| self.size_expr(e))?;
        let mut end = end.map_or(Ok(dim.clone()), |e| self.size_expr(e))?;
        if closed {
            end = end.add(&1.into()).unwrap_or(end);
        }
        let length = end.sub(&start);
        let bad = |s: &Size| s.as_number().is_some_and(|n| n < 0);
        let room = dim.sub(&end);
        if bad(&start)
            || length.as_ref().is_none_or(|l| l.as_number().is_some_and(|n| n < 1))
            || room.as_ref().is_none_or(bad)
        {
            let n = self.program.size_text(dim);
            return Err(self.error(
                Code::E0309,
                "this part is not inside the array",
                span,
                &format!("the dimension has size {n}"),
                "a part `a..b` needs 0 <= a < b <= the size",
            ));
        }
        Ok((start, length.expect("checked above")))
    }
}
