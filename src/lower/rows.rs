//! Minibatches: what depends on data alone is computed once on all rows; a step sees some of the rows.
//!
//! In: a program and the size that is subsampled.   Out: the *prepared* expressions: maximal ones that depend on data
//! alone and on the rows of that size. Their values for all rows are found by one run of a graph of their own; a step's
//! graph takes their rows as inputs. The checker has proved that nothing else mixes rows.

use super::{DataInput, Lowering, SizeValues, dtype_of};
use crate::builtins::Rows as RowRule;
use crate::check::minibatch::{data_only, rows_kept};
use crate::check::size::SizeId;
use crate::check::typed::*;
use crate::index::{Idx, IndexVec};
use crate::ir::{DType, InputId, InputKind, Shape, ValueId};

/// The prepared expressions of a program for one subsampled size.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The subsampled size.
    pub size: SizeId,
    /// For every expression, whether it is prepared.
    is_prepared: IndexVec<ExprId, bool>,
    /// The prepared expressions, in order.
    pub exprs: Vec<ExprId>,
}

/// What a step's graph knows of the rows that it sees.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'p> {
    /// The prepared expressions.
    pub prepared: &'p Prepared,
    /// The sizes of the whole data set.
    pub full_sizes: &'p SizeValues,
}

impl<'p> Rows<'p> {
    /// What a graph of `rows` rows knows, or of all rows where there are none; and the sizes that it sees.
    pub fn of(full_sizes: &'p SizeValues, rows: Option<(&'p Prepared, usize)>) -> (SizeValues, Option<Self>) {
        match rows {
            Some((prepared, n)) => (prepared.step_sizes(full_sizes, n), Some(Rows { prepared, full_sizes })),
            None => (full_sizes.clone(), None),
        }
    }
}

impl Prepared {
    /// Finds the expressions that are computed beforehand.
    pub fn new(program: &Program, size: SizeId) -> Self {
        let fixed = data_only(program);
        // Whether the value depends on the rows of the size: through data of that size, or `range(N)`.
        let mut on_rows: IndexVec<ExprId, bool> = IndexVec::new();
        for (id, e) in program.exprs.iter_enumerated() {
            let own = e.ty.shape.iter().any(|s| s.mentions(size));
            let value = own || program.operands(id).iter().any(|&o| on_rows[o]);
            on_rows.push(value);
        }
        let mut used_by_random: IndexVec<ExprId, bool> = program.exprs.iter().map(|_| false).collect();
        for (id, _) in program.exprs.iter_enumerated() {
            if !fixed[id] {
                for o in program.operands(id) {
                    used_by_random[o] = true;
                }
            }
        }
        for root in roots(program) {
            used_by_random[root] = true;
        }
        let is_prepared: IndexVec<ExprId, bool> =
            program.exprs.indices().map(|id| fixed[id] && on_rows[id] && used_by_random[id]).collect();
        let exprs = program.exprs.indices().filter(|&id| is_prepared[id]).collect();
        Self { size, is_prepared, exprs }
    }
    /// The data with rows of the size, each prepared by itself: for graphs of what is computed from some of their rows.
    pub fn data(program: &Program, size: SizeId) -> Self {
        let has_rows = |e: &Expr| matches!(e.kind, ExprKind::Data(_)) && e.ty.shape.iter().any(|s| s.mentions(size));
        let is_prepared: IndexVec<ExprId, bool> = program.exprs.iter().map(has_rows).collect();
        let exprs = program.exprs.indices().filter(|&id| is_prepared[id]).collect();
        Self { size, is_prepared, exprs }
    }
    /// The datum of which `e` is another shape, row for row; `None` when it is anything else.
    pub fn same_rows(&self, program: &Program, e: ExprId) -> Option<DataId> {
        if self.row_axis(program, e) != Some(0) {
            return None;
        }
        match &program.exprs[e].kind {
            ExprKind::Data(id) => Some(*id),
            ExprKind::Call { def, args, .. } if matches!(def.name, "flatten" | "reshape") => {
                self.same_rows(program, args[0])
            }
            ExprKind::Index { base, indices } if indices.iter().all(|ix| matches!(ix, Ix::All | Ix::New)) => {
                self.same_rows(program, *base)
            }
            _ => None,
        }
    }
    /// Whether any rows of `e` can be computed from those rows of the data alone, with the same bits: no operation on the
    /// way mixes rows or sums in an order that could depend on their number.
    pub fn by_rows(&self, program: &Program, e: ExprId) -> bool {
        if !program.ty(e).shape.iter().any(|s| s.mentions(self.size)) {
            // A value without rows must not have been made of rows.
            return !matches!(program.exprs[e].kind, ExprKind::Scan { .. })
                && program.operands(e).iter().all(|&o| self.by_rows(program, o) && !self.has_rows(program, o));
        }
        let simple = match &program.exprs[e].kind {
            ExprKind::Data(_) => return self.row_axis(program, e) == Some(0),
            ExprKind::Call { def, .. } => match def.rows {
                RowRule::Elementwise | RowRule::ReducesAxes => true,
                RowRule::Leading => matches!(def.name, "flatten" | "one_hot" | "softmax" | "log_softmax"),
                RowRule::MatMul => false,
                RowRule::Mixes => def.name == "reshape",
            },
            ExprKind::Index { .. } => true,
            _ => false,
        };
        simple
            && rows_kept(program, e, self.size).is_ok()
            && program.operands(e).iter().all(|&o| self.by_rows(program, o))
    }
    fn has_rows(&self, program: &Program, e: ExprId) -> bool {
        program.ty(e).shape.iter().any(|s| s.mentions(self.size))
    }
    /// The data that `e` is computed from.
    pub fn data_of(program: &Program, e: ExprId) -> Vec<DataId> {
        match program.exprs[e].kind {
            ExprKind::Data(id) => vec![id],
            _ => program.operands(e).into_iter().flat_map(|o| Self::data_of(program, o)).collect(),
        }
    }
    /// The dimension of the rows in the value of `e`; `None` when it has none (the mean over all rows).
    pub fn row_axis(&self, program: &Program, e: ExprId) -> Option<usize> {
        program.ty(e).shape.iter().position(|s| s.as_name() == Some(self.size))
    }
    /// The sizes that a step of `rows` rows sees.
    pub fn step_sizes(&self, full: &SizeValues, rows: usize) -> SizeValues {
        let mut sizes = full.clone();
        sizes[self.size] = rows;
        sizes
    }
}

/// The expressions that densities, guides and reports use directly.
fn roots(program: &Program) -> Vec<ExprId> {
    let mut roots = Vec::new();
    if let Some(model) = &program.model {
        for o in &model.observations {
            roots.push(o.value);
            roots.extend(o.dist.args());
        }
        for s in &model.sites {
            roots.extend(s.dist.args());
        }
        for step in &model.steps {
            match step {
                Step::Factor(e) => roots.push(*e),
                Step::Marginal(at) => roots.push(model.marginals[*at].value),
                _ => {}
            }
        }
    }
    for guide in &program.guides {
        for step in &guide.steps {
            if let GuideStep::Explicit { dist, .. } = step {
                roots.extend(dist.args());
            }
        }
    }
    roots
}

impl<'p> Lowering<'p> {
    /// The input for a prepared expression, when rows are subsampled.
    pub(super) fn row_input(&mut self, e: ExprId) -> Option<ValueId> {
        let rows = self.rows?;
        if !rows.prepared.is_prepared[e] {
            return None;
        }
        let axis = rows.prepared.row_axis(self.program, e);
        // The same datum may be mentioned at several places, and be wanted for live and for detached values.
        if let Some(&(_, v)) = self.row_inputs.iter().find(|&&(known, _)| self.same_datum(known, e)) {
            return Some(v);
        }
        let ty = &self.program.exprs[e].ty;
        let shape = self.shape(&ty.shape);
        let name = match &self.program.exprs[e].kind {
            ExprKind::Data(id) => self.program.data[*id].name.clone(),
            _ => format!("prepared {e}"),
        };
        // The rows come first in what a step is given.
        let (given, kind) = match axis {
            Some(axis) => {
                let mut dims = shape.to_vec();
                let n = dims.remove(axis);
                (Shape::from(std::iter::once(n).chain(dims).collect::<Vec<_>>()), InputKind::Batch)
            }
            None => (shape, InputKind::Data),
        };
        let v = self.g.input(name, given, dtype_of(ty.elem), kind);
        let input = InputId::new(self.g.graph().inputs.len() - 1);
        self.inputs.push(DataInput { expr: e, input, rows: axis.is_some() });
        let v = match axis {
            Some(axis) => super::from_front(&mut self.g, v, 1, axis),
            None => v,
        };
        self.row_inputs.push((e, v));
        Some(v)
    }
    /// The indices of the rows that this step sees, `[rows]`; an input made when something asks for it.
    pub(super) fn row_indices(&mut self) -> ValueId {
        if let Some(v) = self.row_index {
            return v;
        }
        let rows = self.rows.expect("only minibatches have row indices");
        let n = self.sizes[rows.prepared.size];
        let v = self.g.input("rows", Shape::from([n]), DType::Int, InputKind::Batch);
        self.row_index = Some(v);
        v
    }
    /// Whether a value of this shape has a row for each row of the subsampled size.
    pub fn has_rows(&self, shape: &[crate::check::size::Size]) -> bool {
        self.rows.is_some_and(|r| shape.iter().any(|s| s.mentions(r.prepared.size)))
    }
}
