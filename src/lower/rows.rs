//! Minibatches: what depends on data alone is computed once on all rows; a step sees some of the rows.
//!
//! In: a program and the size that is subsampled.   Out: the *prepared* expressions: maximal ones that depend on data
//! alone and on the rows of that size. Their values for all rows are found by one run of a graph of their own; a step's
//! graph takes their rows as inputs. The checker has proved that nothing else mixes rows.

use super::{DataInput, Lowering, SizeValues, dtype_of};
use crate::check::minibatch::data_only;
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
