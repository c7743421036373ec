//! Data as the graphs of a run take them: whole arrays, and rows of prepared ones.
//!
//! Nothing is copied beforehand: whole arrays are written into the inputs of a graph, rows into those of a step, both from
//! where the data lie and in the precision of the graph. What a program computes from data alone is computed once on all
//! rows where these are in memory. Where they are in a file, it is computed for the rows of each step, if it is a value of
//! each row by itself.

use crate::check::typed::{DataId, ExprId, ExprKind, Program};
use crate::data::Values;
use crate::data::values::Reader;
use crate::exec::Executable;
use crate::index::IndexVec;
use crate::ir::InputId;
use crate::kernels::Scalar;
use crate::lower::{DataInput, Lowering, Rows, SiteSource, SizeValues, Slots, rows::Prepared};
use crate::rng::Key;
use std::collections::HashMap;

/// The values of all data, and of all sizes.
#[derive(Clone, Debug, Default)]
pub struct BoundData {
    /// The sizes.
    pub sizes: SizeValues,
    /// The data; `None` for one that was not given.
    pub values: IndexVec<DataId, Option<Values>>,
}

/// Data for the graphs of a run in one precision.
pub struct Store<F> {
    bound: BoundData,
    prepared: Option<Prepared>,
    /// Prepared expressions without rows: a mean over all rows, say.
    fixed: HashMap<ExprId, Values>,
    /// Prepared expressions with rows, where their rows can be read.
    readers: HashMap<ExprId, Reader<F>>,
    /// Prepared expressions whose rows are computed from rows of the data when they are asked for.
    computed: Vec<ExprId>,
    /// Computes them, by the number of rows.
    by_count: HashMap<usize, OfRows>,
}

/// The graph of what is computed from some rows of the data.
struct OfRows {
    /// Its outputs are those of [`Store::computed`], rows first.
    exe: Executable<f64>,
    /// Its inputs for rows of data.
    inputs: Vec<(InputId, Reader<f64>)>,
}

impl<F: Scalar> Store<F> {
    /// The data of `bound`, and the prepared expressions computed from them.
    pub fn new(program: &Program, bound: &BoundData, prepared: Option<&Prepared>) -> Self {
        let mut store = Store {
            bound: bound.clone(),
            prepared: prepared.cloned(),
            fixed: HashMap::new(),
            readers: HashMap::new(),
            computed: Vec::new(),
            by_count: HashMap::new(),
        };
        let Some(prepared) = prepared else { return store };
        let in_file = |id: DataId| matches!(bound.values[id], Some(Values::Lazy(_)));
        let mut at_once = Vec::new();
        for &e in &prepared.exprs {
            if let Some(values) = prepared.same_rows(program, e).and_then(|id| bound.values[id].as_ref()) {
                store.readers.insert(e, values.reader());
            } else if prepared.row_axis(program, e).is_some()
                && Prepared::data_of(program, e).into_iter().any(in_file)
                && prepared.by_rows(program, e)
            {
                store.computed.push(e);
            } else {
                at_once.push(e);
            }
        }
        for (e, values) in evaluate(program, bound, prepared, &at_once) {
            match prepared.row_axis(program, e) {
                Some(_) => drop(store.readers.insert(e, values.reader())),
                None => drop(store.fixed.insert(e, values)),
            }
        }
        store
    }

    /// Writes the inputs that stay the same over all steps.
    pub fn give_whole(&self, program: &Program, inputs: &[DataInput], exe: &mut Executable<F>) {
        for d in inputs.iter().filter(|d| !d.rows) {
            let values = match program.exprs[d.expr].kind {
                ExprKind::Data(id) => self.fixed.get(&d.expr).or(self.bound.values[id].as_ref()),
                _ => self.fixed.get(&d.expr),
            };
            if let Some(values) = values {
                values.fill(exe.input_mut(d.input));
            }
        }
    }
    /// Writes the rows `rows` of the inputs that have rows.
    pub fn give_rows(&mut self, program: &Program, inputs: &[DataInput], rows: &[usize], exe: &mut Executable<F>) {
        let wanted = |e: &ExprId| inputs.iter().any(|d| d.rows && d.expr == *e);
        if self.computed.iter().any(wanted) {
            self.compute(program, rows);
        }
        for d in inputs.iter().filter(|d| d.rows) {
            let place = exe.input_mut(d.input);
            if place.is_empty() {
                continue;
            }
            match self.readers.get_mut(&d.expr) {
                Some(reader) => reader.read(rows, place),
                None => {
                    let output = self.computed.iter().position(|&e| e == d.expr).expect("prepared");
                    let values = self.by_count[&rows.len()].exe.output(output);
                    place.iter_mut().zip(values).for_each(|(to, &x)| *to = F::from_f64(x));
                }
            }
        }
    }
    /// Says that these rows are given next, so that a slow disk works while a step runs.
    pub fn want_rows(&self, inputs: &[DataInput], rows: &[usize]) {
        for d in inputs.iter().filter(|d| d.rows) {
            if let Some(reader) = self.readers.get(&d.expr) {
                reader.want(rows);
            }
        }
    }
    /// Computes the rows `rows` of all of `computed`.
    fn compute(&mut self, program: &Program, rows: &[usize]) {
        let prepared = self.prepared.as_ref().expect("only prepared expressions are computed");
        let (bound, computed) = (&self.bound, &self.computed);
        let of_rows = self
            .by_count
            .entry(rows.len())
            .or_insert_with(|| OfRows::new(program, bound, prepared, computed, rows.len()));
        for (input, reader) in &mut of_rows.inputs {
            let place = of_rows.exe.input_mut(*input);
            if !place.is_empty() {
                reader.read(rows, place);
            }
        }
        of_rows.exe.run(&[], Key::new(0));
    }
}

impl OfRows {
    fn new(program: &Program, bound: &BoundData, prepared: &Prepared, computed: &[ExprId], rows: usize) -> Self {
        let data = Prepared::data(program, prepared.size);
        let (slots, sizes) = (Slots::default(), prepared.step_sizes(&bound.sizes, rows));
        let some = Rows { prepared: &data, full_sizes: &bound.sizes };
        let mut lo = Lowering::new(program, &slots, sizes, Some(some), SiteSource::Prior);
        output_rows_first(&mut lo, prepared, computed);
        let inputs = std::mem::take(&mut lo.inputs);
        let mut exe = Executable::<f64>::compile(&lo.g.finish());
        let store = Store::<f64>::new(program, bound, Some(&data));
        store.give_whole(program, &inputs, &mut exe);
        let reader = |d: &DataInput| match program.exprs[d.expr].kind {
            ExprKind::Data(id) => Some((d.input, bound.values[id].as_ref()?.reader())),
            _ => None,
        };
        let inputs = inputs.iter().filter(|d| d.rows).filter_map(reader).collect();
        Self { exe, inputs }
    }
}

/// Makes `exprs` the outputs of a graph, their rows first.
fn output_rows_first(lo: &mut Lowering<'_>, prepared: &Prepared, exprs: &[ExprId]) {
    for &e in exprs {
        let v = lo.expr(e);
        let v = match prepared.row_axis(lo.program, e) {
            Some(axis) => crate::lower::to_front(&mut lo.g, v, axis),
            None => v,
        };
        lo.g.output(format!("{e}"), v);
    }
}

/// The values of `exprs` on all rows, rows first.
fn evaluate(program: &Program, bound: &BoundData, prepared: &Prepared, exprs: &[ExprId]) -> Vec<(ExprId, Values)> {
    if exprs.is_empty() {
        return Vec::new();
    }
    let slots = Slots::default();
    let mut lo = Lowering::new(program, &slots, bound.sizes.clone(), None, SiteSource::Prior);
    output_rows_first(&mut lo, prepared, exprs);
    let inputs = std::mem::take(&mut lo.inputs);
    let graph = lo.g.finish();
    let mut exe = Executable::<f64>::compile(&graph);
    Store::<f64>::new(program, bound, None).give_whole(program, &inputs, &mut exe);
    exe.run(&[], Key::new(0));
    let rows = bound.sizes[prepared.size];
    let value = |(i, &e): (usize, &ExprId)| {
        let values = exe.output(i).to_vec();
        let shape = match prepared.row_axis(program, e) {
            Some(_) => vec![rows, values.len() / rows.max(1)],
            None => vec![values.len()],
        };
        (e, Values::in_memory(&shape, values))
    };
    exprs.iter().enumerate().map(value).collect()
}
