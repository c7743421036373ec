//! Arrays that are filled element by element: `level: real[T]`, then `level[0] ~ …`, `level[t] ~ …`.
//!
//! Every write is a *piece*: which elements, and their value or distribution. When the pieces cover the array exactly once
//! it is whole: its values are joined, or its distributions become one ([`DistExpr::Joined`]).

use super::checker::{Binding, Checker, Context, R};
use super::joining::{Gap, cover};
use super::size::Size;
use super::typed::*;
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{self, Elem, Index};

/// Which entries of one dimension a piece has.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Dim {
    /// One entry.
    At(Size),
    /// Some entries side by side.
    Part { start: Size, len: Size },
    /// The entry `var + offset` in each iteration of a loop that is still open.
    Var { var: VarId, offset: Size },
}

/// What stands at the elements of a piece. Leading dimensions are those of the piece that are no single entries.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A value.
    Value(ExprId),
    /// A distribution, and a draw from it.
    Density { dist: DistExpr, forward: ExprId },
}

/// Some elements of an array.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub region: Vec<Dim>,
    pub what: What,
    pub span: Span,
}

/// What an array turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Nothing has been written yet.
    Open,
    /// Deterministic, or drawn in `generate`.
    Values,
    /// A latent.
    Site(SiteId),
    /// A discrete latent.
    Discrete(DiscreteId),
    /// A datum that is observed element by element.
    Data(DataId),
}

/// An array under construction.
#[derive(Clone, Debug)]
pub(super) struct Filled {
    pub name: String,
    pub span: Span,
    pub ty: Ty,
    pub doc: Option<String>,
    pub keep: bool,
    /// How many loops stood around its declaration.
    pub depth: usize,
    pub role: Role,
    pub pieces: Vec<Piece>,
    /// The whole array.
    pub whole: Option<ExprId>,
    /// Whether it lacks elements and that has been said.
    pub reported: bool,
}

impl<'p> Checker<'p> {
    /// `level: real[T]`
    pub(super) fn declare(
        &mut self,
        name: &ast::Ident,
        ty: &ast::Type,
        keep: bool,
        doc: Option<String>,
        span: Span,
    ) -> R<()> {
        self.bind(name, Binding::Poison);
        let typed = self.type_of(ty)?;
        if typed.shape.is_empty() {
            let help = format!("bind it: `{} = …`, or draw it: `{} ~ …`", name.name, name.name);
            return Err(self.error(
                Code::E0405,
                format!("`{}` is declared, but a number has no elements to fill", name.name),
                span,
                "no dimensions",
                &help,
            ));
        }
        if keep && self.context != Context::Model {
            let message = format!("`keep` cannot stand in {}", self.context_word());
            return Err(self.error(Code::E0405, message, span, "reported from here", "keep it in the `model`"));
        }
        let filled = Filled {
            name: format!("{}{}", self.prefix, name.name),
            span: name.span,
            ty: typed,
            doc,
            keep,
            depth: self.loops.len(),
            role: Role::Open,
            pieces: Vec::new(),
            whole: None,
            reported: false,
        };
        self.arrays.push(filled);
        self.bind(name, Binding::Array(self.arrays.len() - 1));
        Ok(())
    }

    /// The array that `name` is, when it is filled element by element.
    pub(super) fn filled_array(&self, name: &str) -> Option<usize> {
        match self.lookup_local(name) {
            Some((Binding::Array(id), _)) => Some(*id),
            _ => None,
        }
    }

    /// The whole array.
    pub(super) fn whole_array(&mut self, id: usize, span: Span) -> R<ExprId> {
        if let Some(e) = self.arrays[id].whole {
            return Ok(e);
        }
        if self.arrays[id].reported {
            return Err(super::checker::Reported);
        }
        let array = self.arrays[id].clone();
        let d = Diagnostic::new(Code::E0508, format!("`{}` is used before all its elements are written", array.name))
            .label(span, "used here")
            .label(array.span, "declared here")
            .help(format!("write every element of `{}` above this line, or use single elements", array.name));
        Err(self.report(d))
    }

    /// The int `e` as a loop's index plus a constant, or as a constant.
    pub(super) fn place_of(&self, e: ExprId) -> Option<Dim> {
        if let Some(size) = self.as_size(e) {
            return Some(Dim::At(size));
        }
        match &self.program.exprs[e].kind {
            ExprKind::Var(var) if self.loops.iter().any(|l| l.var == *var) => {
                Some(Dim::Var { var: *var, offset: Size::default() })
            }
            ExprKind::Call { def, args, .. } if args.len() == 2 && matches!(def.name, "+" | "-") => {
                match (self.place_of(args[0])?, self.place_of(args[1])?, def.name) {
                    (Dim::Var { var, offset }, Dim::At(c), "+") | (Dim::At(c), Dim::Var { var, offset }, "+") => {
                        Some(Dim::Var { var, offset: offset.add(&c)? })
                    }
                    (Dim::Var { var, offset }, Dim::At(c), "-") => Some(Dim::Var { var, offset: offset.sub(&c)? }),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The entries that an index means, checked as far as sizes are known.
    fn dim_of(&mut self, index: &Index, dim: &Size, name: &str) -> R<Dim> {
        let e = match index {
            Index::All(_) => return Ok(Dim::Part { start: Size::default(), len: dim.clone() }),
            Index::New(span) => {
                return Err(self.error(
                    Code::E0508,
                    format!("`new` adds a dimension that `{name}` does not have"),
                    *span,
                    "not an element",
                    "name the element that is written",
                ));
            }
            Index::At(e) => e,
        };
        if let ast::ExprKind::Range { start, end, closed } = &e.kind {
            let (start, len) = self.slice_bounds(start.as_deref(), end.as_deref(), *closed, dim, e.span)?;
            return Ok(Dim::Part { start, len });
        }
        let at = self.scalar(e)?;
        let Some(place) = self.place_of(at) else {
            return Err(self.error(
                Code::E0508,
                format!("which element of `{name}` is written depends on values"),
                e.span,
                "not a constant, nor a loop's index plus a constant",
                "write elements by the index of the loop, for example `x[t]` or `x[t + 1]`; choose values with `where`",
            ));
        };
        self.inside(&place, dim, e.span)?;
        Ok(place)
    }
    /// Checks that the entries lie inside a dimension, as far as sizes are known.
    pub(super) fn inside(&mut self, place: &Dim, dim: &Size, span: Span) -> R<()> {
        let (first, end) = match place {
            Dim::At(at) => (at.clone(), at.add(&1.into())),
            Dim::Part { start, len } => (start.clone(), start.add(len)),
            Dim::Var { var, offset } => {
                let l = self.loops.iter().find(|l| l.var == *var).expect("an open loop");
                let first = l.start.add(offset).unwrap_or_default();
                let end = first.add(&l.len);
                (first, end)
            }
        };
        let n = self.program.size_text(dim);
        let room = end.and_then(|end| dim.sub(&end));
        let below = |s: &Size| self.fixed(s).as_number().is_some_and(|n| n < 0);
        if below(&first) {
            let first = self.program.size_text(&first);
            return Err(self.error(
                Code::E0309,
                format!("the index {first} is negative"),
                span,
                "indices count from 0",
                "start the loop later, or write the first elements before it",
            ));
        }
        if room.as_ref().is_some_and(below) {
            return Err(self.error(
                Code::E0309,
                "this index runs past the end",
                span,
                &format!("this dimension has {n} elements"),
                "end the loop earlier",
            ));
        }
        Ok(())
    }

    /// The entries of `array` that `indices` name, and the type of what stands there.
    pub(super) fn region(&mut self, name: &str, ty: &Ty, indices: &[Index], span: Span) -> R<(Vec<Dim>, Ty)> {
        if indices.len() > ty.shape.len() {
            let message = format!("{} indices for {} dimensions", indices.len(), ty.shape.len());
            let shape = self.program.shape_text(&ty.shape);
            return Err(self.error(
                Code::E0309,
                message,
                span,
                &format!("`{name}` has shape {shape}"),
                "leave the last indices out",
            ));
        }
        let mut region = Vec::new();
        for (index, dim) in indices.iter().zip(&ty.shape) {
            region.push(self.dim_of(index, dim, name)?);
        }
        let mut shape: Vec<Size> = Vec::new();
        for dim in &region {
            if let Dim::Part { len, .. } = dim {
                shape.push(len.clone());
            }
        }
        shape.extend(ty.shape[region.len()..].iter().cloned());
        for l in &self.loops {
            let named = region.iter().any(|d| matches!(d, Dim::Var { var, .. } if *var == l.var));
            if !named {
                let d = Diagnostic::new(Code::E0508, format!("this element of `{name}` is written in every iteration"))
                    .label(span, "the same element each time")
                    .label(l.span, "in this loop")
                    .help("index it with the loop's variable, or move it out of the loop");
                return Err(self.report(d));
            }
        }
        Ok((region, Ty::new(ty.elem, shape)))
    }

    /// `m[t] = value`
    pub(super) fn assign(&mut self, name: &ast::Ident, index: &[Index], value: &ast::Expr, span: Span) -> R<()> {
        let value_e = self.array(value);
        let id = self.array_to_fill(name)?;
        let array = self.arrays[id].clone();
        let (region, ty) = self.region(&array.name, &array.ty, index, span)?;
        let value_e = value_e?;
        let have = self.program.ty(value_e).clone();
        let fits =
            have.shape.len() == ty.shape.len() && have.shape.iter().zip(&ty.shape).all(|(a, b)| self.agree(a, b));
        if !fits && !have.shape.is_empty() {
            let (want, found) = (self.program.shape_text(&ty.shape), self.program.shape_text(&have.shape));
            let d = Diagnostic::new(
                Code::E0307,
                format!("elements of `{}` have shape {want}, this has {found}", array.name),
            )
            .label(value.span, format!("this has shape {found}"))
            .label(array.span, format!("declared {}", self.type_text(&array.ty)))
            .help("give it the shape of one element");
            return Err(self.report(d));
        }
        if have.elem == Elem::Real && ty.elem != Elem::Real {
            let word = super::functions::elem_word(ty.elem);
            let d = Diagnostic::new(Code::E0401, format!("elements of `{}` are declared {word}", array.name))
                .label(value.span, "this is real")
                .label(array.span, "declared here")
                .help("declare it `real[…]`");
            return Err(self.report(d));
        }
        let value_e = self.stretched(value_e, &ty.shape);
        self.write(id, Role::Values, Piece { region, what: What::Value(value_e), span })
    }
    fn array_to_fill(&mut self, name: &ast::Ident) -> R<usize> {
        match self.lookup_local(&name.name).cloned() {
            Some((Binding::Array(id), _)) => Ok(id),
            Some((Binding::Poison, _)) => Err(super::checker::Reported),
            Some((_, place)) => {
                let d = Diagnostic::new(Code::E0508, format!("`{}` has a value already", name.name))
                    .label(name.span, "an element is written here")
                    .label(place, "bound here")
                    .help("declare an array to fill: `x: real[T]`");
                Err(self.report(d))
            }
            None => {
                let help = format!("declare it first: `{}: real[T]`", name.name);
                // Later uses would only repeat this.
                if let Some(frame) = self.scope.frames.first_mut() {
                    frame.insert(name.name.clone(), (Binding::Poison, name.span));
                }
                Err(self.error(
                    Code::E0508,
                    format!("`{}` is not declared", name.name),
                    name.span,
                    "elements of what?",
                    &help,
                ))
            }
        }
    }

    /// `level[t] ~ D`
    pub(super) fn sample_element(
        &mut self,
        path: &ast::Path,
        index: &[Index],
        dist: &'p ast::Expr,
        doc: Option<String>,
        span: Span,
    ) -> R<()> {
        let [name] = &path.parts[..] else {
            return Err(self.error(
                Code::E0405,
                "a site has a plain name",
                path.span,
                "a dotted name",
                "only guides name the sites of submodels",
            ));
        };
        if !matches!(self.context, Context::Model | Context::Generate) {
            let message = format!("`~` cannot stand in {}", self.context_word());
            return Err(self.error(Code::E0405, message, span, "a random value", "a `fn` is deterministic"));
        }
        let d = self.dist(dist);
        let data = (self.context == Context::Model
            && self.prefix.is_empty()
            && self.scope.module == self.modules.root()
            && self.lookup_local(&name.name).is_none())
        .then(|| self.program.data_named(&name.name))
        .flatten();
        let id = match data {
            Some(data) => self.observed_array(data),
            None => self.array_to_fill(name)?,
        };
        let array = self.arrays[id].clone();
        let (region, ty) = self.region(&array.name, &array.ty, index, span)?;
        let d = self.with_event(d?, &ty.shape);
        let element = format!("{}[…]", array.name);
        let ty_span = data.map_or(array.span, |d| self.program.data[d].ty_span);
        self.site_type(&d, Some((ty.clone(), ty_span)), &element)?;
        let vars = self.loops.iter().map(|l| l.var_expr).collect();
        let forward = self.push(ExprKind::Sample { dist: Box::new(d.clone()), index: vars }, ty.clone(), span);
        if self.context == Context::Generate {
            return self.write(id, Role::Values, Piece { region, what: What::Value(forward), span });
        }
        let other = array.pieces.iter().chain(self.pending(id)).find_map(|p| match &p.what {
            What::Density { dist, .. } => Some(dist.clone()),
            What::Value(_) => None,
        });
        if let Some(other) = other
            && array.ty.elem == Elem::Real
            && (other.support() != d.support() || other.event_rank() != d.event_rank())
        {
            let words = |s: crate::dist::SupportKind| s.words();
            let diagnostic =
                Diagnostic::new(Code::E0504, format!("elements of `{}` have different supports", array.name))
                    .label(d.span(), format!("`{}` is {}", d.name(), words(d.support())))
                    .label(other.span(), format!("`{}` is {}", other.name(), words(other.support())))
                    .help("give all elements distributions of one support");
            return Err(self.report(diagnostic));
        }
        let role = match (data, array.role) {
            (Some(_), role) => role,
            (None, Role::Open) if array.ty.elem == Elem::Real => self.new_site_array(id, &d, doc),
            (None, Role::Open) => self.new_discrete_array(id, &d, doc),
            (None, role) => role,
        };
        if let Some(data) = data {
            let value = self.push(ExprKind::Data(data), array.ty.clone(), name.span);
            let value = self.index_of(value, index, span)?;
            self.observe_element(value, data, d.clone(), array.name.clone(), span)?;
        }
        self.write(id, role, Piece { region, what: What::Density { dist: d, forward }, span })
    }
    /// The entry of a datum whose elements are observed one by one.
    fn observed_array(&mut self, data: DataId) -> usize {
        if let Some(id) = self.arrays.iter().position(|a| a.role == Role::Data(data)) {
            return id;
        }
        let decl = &self.program.data[data];
        let filled = Filled {
            name: decl.name.clone(),
            span: decl.span,
            ty: decl.ty.clone(),
            doc: None,
            keep: false,
            depth: 0,
            role: Role::Data(data),
            pieces: Vec::new(),
            whole: None,
            reported: false,
        };
        self.arrays.push(filled);
        self.arrays.len() - 1
    }
    fn new_site_array(&mut self, id: usize, d: &DistExpr, doc: Option<String>) -> Role {
        let array = self.arrays[id].clone();
        let site = self.model.sites.len_id();
        let value = self.push(ExprKind::Site(site), array.ty.clone(), array.span);
        let doc = array.doc.or(doc);
        let (name, span, ty) = (array.name.clone(), array.span, array.ty);
        let new = Site { name, doc, span, ty, dist: d.clone(), value, fan_in: None, forward: None, absorbed: false };
        self.model.sites.push(new);
        self.site_values.insert(array.name, site);
        Role::Site(site)
    }
    fn new_discrete_array(&mut self, id: usize, d: &DistExpr, doc: Option<String>) -> Role {
        let array = self.arrays[id].clone();
        let latent = self.model.discrete.len_id();
        let value = self.push(ExprKind::Discrete(latent), array.ty.clone(), array.span);
        let doc = array.doc.or(doc);
        let (name, span, ty) = (array.name, array.span, array.ty);
        let new = Discrete { name, doc, span, ty, dist: d.clone(), value, forward: None, back: None };
        self.model.discrete.push(new);
        Role::Discrete(latent)
    }

    /// The pieces of an array that open loops have written.
    pub(super) fn pending(&self, id: usize) -> impl Iterator<Item = &Piece> {
        self.loops.iter().flat_map(move |l| l.writes.iter().filter(move |w| w.0 == id).map(|w| &w.1))
    }

    /// Adds a piece to the innermost loop, or to the array itself.
    pub(super) fn write(&mut self, id: usize, role: Role, piece: Piece) -> R<()> {
        let array = &self.arrays[id];
        let known = array.role;
        if known != Role::Open && known != role {
            let first = array.pieces.iter().chain(self.pending(id)).next().map_or(array.span, |p| p.span);
            let d =
                Diagnostic::new(Code::E0508, format!("some elements of `{}` are drawn, others computed", array.name))
                    .label(piece.span, if role == Role::Values { "computed here" } else { "drawn here" })
                    .label(first, if role == Role::Values { "drawn here" } else { "computed here" })
                    .help("use two arrays");
            return Err(self.report(d));
        }
        self.arrays[id].role = role;
        if self.loops.len() > self.arrays[id].depth || matches!(role, Role::Data(_)) && !self.loops.is_empty() {
            let l = self.loops.last_mut().expect("an open loop");
            l.writes.push((id, piece));
            return Ok(());
        }
        self.arrays[id].pieces.push(piece);
        self.complete(id)
    }

    /// Makes an array whole if its pieces cover it.
    pub(super) fn complete(&mut self, id: usize) -> R<()> {
        let array = self.arrays[id].clone();
        match cover(&array.pieces.iter().collect::<Vec<_>>(), &array.ty.shape, 0, &|a, b| self.agree(a, b)) {
            Ok(()) => {}
            Err(Gap::Missing(_)) => return Ok(()),
            Err(Gap::Twice(first, second)) => {
                self.arrays[id].reported = true;
                let d = Diagnostic::new(Code::E0508, format!("elements of `{}` are written twice", array.name))
                    .label(second, "written again here")
                    .label(first, "written here")
                    .help("every element is written exactly once");
                return Err(self.report(d));
            }
            Err(Gap::Unclear) => return Ok(()),
        }
        let pieces = &array.pieces;
        match array.role {
            Role::Values | Role::Open => {
                let values: Vec<(Vec<Dim>, ExprId)> = pieces
                    .iter()
                    .map(|p| match p.what {
                        What::Value(e) | What::Density { forward: e, .. } => (p.region.clone(), e),
                    })
                    .collect();
                let whole = self.joined(&values, &array.ty.shape);
                self.arrays[id].whole = Some(whole);
                self.report_filled(&array, whole);
            }
            Role::Site(_) | Role::Discrete(_) | Role::Data(_) => {
                let dist = self.joined_dist(pieces, &array.ty.shape);
                let sequential = pieces.iter().any(|p| match &p.what {
                    What::Density { forward, .. } => {
                        !matches!(self.program.exprs[*forward].kind, ExprKind::Sample { .. })
                    }
                    What::Value(_) => false,
                });
                let forward = (sequential || matches!(array.role, Role::Data(_))).then(|| {
                    let values: Vec<(Vec<Dim>, ExprId)> = pieces
                        .iter()
                        .filter_map(|p| match &p.what {
                            What::Density { forward, .. } => Some((p.region.clone(), *forward)),
                            What::Value(_) => None,
                        })
                        .collect();
                    self.joined(&values, &array.ty.shape)
                });
                match array.role {
                    Role::Site(site) => {
                        self.model.sites[site].dist = dist;
                        self.model.sites[site].forward = forward;
                        self.model.steps.push(Step::Site(site));
                        self.arrays[id].whole = Some(self.model.sites[site].value);
                    }
                    Role::Discrete(latent) => {
                        self.model.discrete[latent].dist = dist;
                        self.model.discrete[latent].forward = forward;
                        self.arrays[id].whole = Some(self.model.discrete[latent].value);
                    }
                    _ => {
                        if let (Role::Data(data), Some(forward)) = (array.role, forward) {
                            self.model.simulated.push((data, forward));
                        }
                    }
                }
            }
        }
        Ok(())
    }
    /// What `keep` and `generate` report.
    fn report_filled(&mut self, array: &Filled, whole: ExprId) {
        let kept = Kept { name: array.name.clone(), doc: array.doc.clone(), value: whole };
        if array.keep {
            self.model.kept.push(kept);
        } else if self.context == Context::Generate && self.calls.is_empty() {
            self.program.generate.reported.push(kept);
        }
    }

    /// Says which arrays of a block lack elements.
    pub(super) fn check_filled(&mut self, from: usize) -> R<()> {
        let mut failed = false;
        for id in from..self.arrays.len() {
            let array = self.arrays[id].clone();
            if array.whole.is_some() || array.reported || matches!(array.role, Role::Data(_)) {
                continue;
            }
            self.arrays[id].reported = true;
            failed = true;
            let gap = cover(&array.pieces.iter().collect::<Vec<_>>(), &array.ty.shape, 0, &|a, b| self.agree(a, b));
            let message = match &gap {
                _ if array.pieces.is_empty() => format!("no element of `{}` is written", array.name),
                Err(Gap::Missing(from)) => {
                    format!("`{}[{}]` is not written", array.name, self.program.size_text(from))
                }
                _ => format!("it cannot be seen that every element of `{}` is written exactly once", array.name),
            };
            let mut d = Diagnostic::new(Code::E0508, message).label(array.span, "declared here");
            for piece in array.pieces.iter().take(3) {
                let region = self.region_text(&piece.region);
                d = d.label(piece.span, format!("writes {region}"));
            }
            self.report(d.help("write each element exactly once"));
        }
        if failed { Err(super::checker::Reported) } else { Ok(()) }
    }
    fn region_text(&self, region: &[Dim]) -> String {
        let size = |s: &Size| self.program.size_text(s);
        let dims: Vec<String> = region
            .iter()
            .map(|d| match d {
                Dim::At(at) => size(at),
                Dim::Part { start, len } => match start.add(len) {
                    Some(end) => format!("{}..{}", size(start), size(&end)),
                    None => format!("{}..", size(start)),
                },
                Dim::Var { .. } => "…".into(),
            })
            .collect();
        format!("[{}]", dims.join(", "))
    }

    /// `m[…]` where `m` is filled element by element and not whole yet.
    pub(super) fn element(&mut self, id: usize, indices: &[Index], span: Span) -> R<ExprId> {
        let array = self.arrays[id].clone();
        if let Some(whole) = array.whole {
            return self.index_of(whole, indices, span);
        }
        if array.reported {
            return Err(super::checker::Reported);
        }
        let rank = array.pieces.iter().chain(self.pending(id)).next().map(|p| p.region.len());
        let too_early = |cx: &mut Self| {
            let d =
                Diagnostic::new(Code::E0508, format!("this element of `{}` is used before it is written", array.name))
                    .label(span, "used here")
                    .label(array.span, "declared here")
                    .help(format!(
                        "write it first: elements that the loop starts from stand before it, `{}[0] = …`",
                        array.name
                    ));
            cx.report(d)
        };
        let (Some(rank), true) = (rank, !indices.is_empty()) else { return Err(too_early(self)) };
        if indices.len() < rank {
            return Err(too_early(self));
        }
        let (own, rest) = indices.split_at(rank);
        let mut region = Vec::new();
        for (index, dim) in own.iter().zip(&array.ty.shape) {
            let Index::At(e) = index else { return Err(too_early(self)) };
            if matches!(e.kind, ast::ExprKind::Range { .. }) {
                return Err(too_early(self));
            }
            let at = self.scalar(e)?;
            let Some(place) = self.place_of(at) else {
                return Err(self.error(
                    Code::E0508,
                    format!("which element of `{}` is used depends on values, and it is not whole yet", array.name),
                    e.span,
                    "not a constant, nor a loop's index plus a constant",
                    "use elements by the index of the loop, or fill the array before",
                ));
            };
            self.inside(&place, dim, e.span)?;
            region.push(place);
        }
        match array.role {
            // The value of a latent is there as a whole; only the order of writing is checked.
            Role::Site(_) | Role::Discrete(_) => {
                let whole = match array.role {
                    Role::Site(site) => self.model.sites[site].value,
                    Role::Discrete(latent) => self.model.discrete[latent].value,
                    _ => unreachable!("matched above"),
                };
                if !self.is_written(id, &region) {
                    let lags = self
                        .loops
                        .iter()
                        .any(|l| region.iter().any(|d| matches!(d, Dim::Var { var, .. } if *var == l.var)));
                    if !lags {
                        return Err(too_early(self));
                    }
                    self.loops.last_mut().expect("an open loop").reads.push((id, region, span));
                }
                self.index_of(whole, indices, span)
            }
            _ => {
                let e = match self.written(id, &region) {
                    Some(e) => e,
                    None => match self.lagged(id, region, span) {
                        Some(e) => e,
                        None => return Err(too_early(self)),
                    },
                };
                if rest.is_empty() { Ok(e) } else { self.index_of(e, rest, span) }
            }
        }
    }
    pub(super) fn is_written(&self, id: usize, region: &[Dim]) -> bool {
        self.arrays[id].pieces.iter().chain(self.pending(id)).any(|p| self.holds(&p.region, region))
    }
    /// Whether the piece of region `piece` contains the single element `region`.
    fn holds(&self, piece: &[Dim], region: &[Dim]) -> bool {
        piece.len() == region.len()
            && piece.iter().zip(region).all(|(p, r)| match (p, r) {
                (Dim::Part { start, len }, Dim::At(at)) => {
                    let inside = |s: Option<Size>| s.and_then(|s| self.fixed(&s).as_number()).is_some_and(|n| n >= 0);
                    inside(at.sub(start)) && inside(start.add(len).and_then(|end| end.sub(at)?.sub(&1.into())))
                }
                (Dim::At(a), Dim::At(b)) => self.agree(a, b),
                (a, b) => a == b,
            })
    }
    /// What is written at the single element `region`: its value or, for a latent, its forward draw.
    pub(super) fn written(&mut self, id: usize, region: &[Dim]) -> Option<ExprId> {
        let pieces: Vec<Piece> = self.arrays[id].pieces.iter().chain(self.pending(id)).cloned().collect();
        let piece = pieces.into_iter().find(|p| self.holds(&p.region, region))?;
        let e = match piece.what {
            What::Value(e) | What::Density { forward: e, .. } => e,
        };
        let mut indices = Vec::new();
        for (p, r) in piece.region.iter().zip(region) {
            if let (Dim::Part { start, .. }, Dim::At(at)) = (p, r) {
                let at = at.sub(start)?;
                indices.push(Ix::At(self.size_value(at, piece.span)));
            }
        }
        if indices.is_empty() {
            return Some(e);
        }
        let ty = self.program.ty(e).clone();
        let shape = ty.shape[indices.len()..].to_vec();
        Some(self.push(ExprKind::Index { base: e, indices }, Ty::new(ty.elem, shape), piece.span))
    }
}
