//! Data as the graphs of a run take them: whole arrays, and rows of prepared ones.

use crate::check::typed::{DataId, ExprId, ExprKind, Program};
use crate::exec::Executable;
use crate::index::IndexVec;
use crate::kernels::Scalar;
use crate::lower::{DataInput, Lowering, SiteSource, SizeValues, Slots, rows::Prepared};
use crate::rng::Key;
use std::collections::HashMap;

/// The values of all data, row-major, and of all sizes.
#[derive(Clone, Debug, Default)]
pub struct BoundData {
    /// The sizes.
    pub sizes: SizeValues,
    /// The data; `None` for one that was not given.
    pub values: IndexVec<DataId, Option<Vec<f64>>>,
}

impl BoundData {
    /// What is kept [bytes].
    pub fn bytes(&self) -> usize {
        self.values.iter().flatten().map(Vec::len).sum::<usize>() * size_of::<f64>()
    }
}

/// Data in the precision of a run.
#[derive(Debug)]
pub struct Store<F> {
    /// Whole arrays by datum.
    whole: IndexVec<DataId, Option<Vec<F>>>,
    /// Prepared arrays, rows first, with the number of elements of one row (of the whole, when there are no rows).
    prepared: HashMap<ExprId, (Vec<F>, usize)>,
}

fn convert<F: Scalar>(x: &[f64]) -> Vec<F> {
    x.iter().map(|&v| F::from_f64(v)).collect()
}

impl<F: Scalar> Store<F> {
    /// The data of `bound`, and the prepared expressions computed from them on all rows.
    pub fn new(program: &Program, bound: &BoundData, prepared: Option<&Prepared>) -> Self {
        let whole = bound.values.iter().map(|v| v.as_deref().map(convert)).collect();
        let mut store = Store { whole, prepared: HashMap::new() };
        let Some(prepared) = prepared else { return store };
        let full = bound.sizes[prepared.size];
        for (e, values) in evaluate(program, bound, prepared) {
            let unit = if prepared.row_axis(program, e).is_some() { values.len() / full.max(1) } else { values.len() };
            store.prepared.insert(e, (convert(&values), unit));
        }
        store
    }

    /// What is kept [bytes].
    pub fn bytes(&self) -> usize {
        let whole = self.whole.iter().flatten().map(Vec::len);
        let prepared = self.prepared.values().map(|(values, _)| values.len());
        whole.chain(prepared).sum::<usize>() * size_of::<F>()
    }

    /// Writes the inputs that stay the same over all steps.
    pub fn give_whole(&self, program: &Program, inputs: &[DataInput], exe: &mut Executable<F>) {
        for d in inputs.iter().filter(|d| !d.rows) {
            if let Some((values, _)) = self.prepared.get(&d.expr) {
                exe.set_data(d.input, values);
            } else if let ExprKind::Data(id) = program.exprs[d.expr].kind
                && let Some(values) = &self.whole[id]
            {
                exe.set_data(d.input, values);
            }
        }
    }
    /// Writes the rows `rows` of the inputs that have rows.
    pub fn give_rows(&self, inputs: &[DataInput], rows: &[usize], exe: &mut Executable<F>) {
        for d in inputs.iter().filter(|d| d.rows) {
            let (values, unit) = &self.prepared[&d.expr];
            let place = exe.input_mut(d.input);
            if place.is_empty() {
                continue;
            }
            for (to, &row) in place.chunks_exact_mut(*unit).zip(rows) {
                to.copy_from_slice(&values[row * unit..(row + 1) * unit]);
            }
        }
    }
}

/// The values of prepared expressions on all rows, rows first.
fn evaluate(program: &Program, bound: &BoundData, prepared: &Prepared) -> Vec<(ExprId, Vec<f64>)> {
    let mut done = Vec::new();
    let mut rest = Vec::new();
    for &e in &prepared.exprs {
        match &program.exprs[e].kind {
            // A datum is there already, rows first.
            ExprKind::Data(id) => done.push((e, bound.values[*id].clone().unwrap_or_default())),
            _ => rest.push(e),
        }
    }
    if rest.is_empty() {
        return done;
    }
    let slots = Slots::default();
    let mut lo = Lowering::new(program, &slots, bound.sizes.clone(), None, SiteSource::Prior);
    for &e in &rest {
        let v = lo.expr(e);
        let v = match prepared.row_axis(program, e) {
            Some(axis) => crate::lower::to_front(&mut lo.g, v, axis),
            None => v,
        };
        lo.g.output(format!("{e}"), v);
    }
    let inputs = std::mem::take(&mut lo.inputs);
    let graph = lo.g.finish();
    let mut exe = Executable::<f64>::compile(&graph);
    Store::<f64> { whole: bound.values.clone(), prepared: HashMap::new() }.give_whole(program, &inputs, &mut exe);
    exe.run(&[], Key::new(0));
    done.extend(rest.iter().enumerate().map(|(i, &e)| (e, exe.output(i).to_vec())));
    done
}
