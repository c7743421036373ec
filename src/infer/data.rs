//! Data as the graphs of a run take them: whole arrays, and rows of prepared ones.
//!
//! Nothing is copied beforehand: whole arrays are written into the inputs of a graph, rows into those of a step, both from
//! where the data lie and in the precision of the graph. What a program computes from data alone is computed once on all
//! rows where these are in memory. Where they are in a file, it is computed for the rows of each step, if it is a value of
//! each row by itself.

use super::RunError;
use crate::check::size::Size;
use crate::check::typed::{DataId, ExprId, ExprKind, Program};
use crate::data::Values;
use crate::data::values::Reader;
use crate::exec::Executable;
use crate::exec::plan::Options;
use crate::index::IndexVec;
use crate::ir::InputId;
use crate::kernels::{Scalar, threads};
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

impl BoundData {
    /// What is kept in memory [bytes]: nothing of what stays in its file. Numbers that several data share count for each.
    pub fn bytes(&self) -> usize {
        self.values.iter().flatten().map(Values::bytes).sum()
    }
    /// # Errors
    /// [`RunError::Data`] when a row of data in files could not be read since they were opened.
    pub fn check_read(&self) -> Result<(), RunError> {
        let failed = self.values.iter().flatten().find_map(|values| values.failure()?.get());
        failed.map_or(Ok(()), |error| Err(RunError::Data(Box::new(error.clone()))))
    }
}

/// From so many numbers in a step on, another thread reads them: fewer are read in less time than threads need to agree,
/// some 10 microseconds.
const MANY: usize = 1 << 16;

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
    /// The memory of `exe`.
    bytes: usize,
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
        let mut at_once = Vec::new();
        // What is made of data that are not there is asked for by nobody.
        let lacks = |e: ExprId| Prepared::data_of(program, e).iter().any(|&d| bound.values[d].is_none());
        let complete = bound.values.iter().all(Option::is_some);
        for &e in prepared.exprs.iter().filter(|&&e| complete || !lacks(e)) {
            match way(program, bound, prepared, e) {
                Way::Rows(values) => drop(store.readers.insert(e, values.reader())),
                Way::ByRows => store.computed.push(e),
                Way::AtOnce => at_once.push(e),
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

    /// What is kept in memory beside the data themselves [bytes].
    pub fn bytes(&self, program: &Program) -> usize {
        let prepared = self.prepared.as_ref().map_or(0, |prepared| prepared_bytes(program, &self.bound, prepared));
        prepared + self.by_count.values().map(|of_rows| of_rows.bytes).sum::<usize>()
    }
    /// Makes ready for giving `rows` rows at once, which otherwise happens when they are given for the first time.
    pub fn expect_rows(&mut self, program: &Program, rows: usize) {
        if rows > 0 && !self.computed.is_empty() {
            self.of_rows(program, rows);
        }
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
        self.compute(program, inputs.iter().filter(|d| d.rows).map(|d| d.expr), rows);
        for d in inputs.iter().filter(|d| d.rows) {
            self.read_one(d.expr, rows, exe.input_mut(d.input));
        }
    }
    /// Writes the rows `rows` of each expression to the place beside it.
    pub fn read_rows<'o>(
        &mut self,
        program: &Program,
        places: impl Iterator<Item = (ExprId, &'o mut [F])>,
        rows: &[usize],
    ) {
        // What is computed is asked for by every step, or by none.
        if !self.computed.is_empty() {
            self.compute_all(program, rows);
        }
        places.for_each(|(e, place)| self.read_one(e, rows, place));
    }
    fn read_one(&mut self, e: ExprId, rows: &[usize], place: &mut [F]) {
        if place.is_empty() {
            return;
        }
        match self.readers.get_mut(&e) {
            Some(reader) => reader.read(rows, place),
            None => {
                let output = self.computed.iter().position(|&known| known == e).expect("prepared");
                let values = self.by_count[&rows.len()].exe.output(output);
                place.iter_mut().zip(values).for_each(|(to, &x)| *to = F::from_f64(x));
            }
        }
    }
    /// The same for another thread.
    pub fn fork(&self) -> Self {
        Store {
            bound: self.bound.clone(),
            prepared: self.prepared.clone(),
            fixed: HashMap::new(),
            readers: self.readers.clone(),
            computed: self.computed.clone(),
            by_count: HashMap::new(),
        }
    }
    /// Whether a thread of its own should read the rows of steps that take `inputs`, `numbers` numbers each: rows are made
    /// or computed, or come from a disk, or are so many that reading them takes longer than handing them over. With one
    /// thread there is no other.
    pub fn pays_ahead(&self, inputs: &[DataInput], numbers: usize) -> bool {
        let slow = |d: &DataInput| self.readers.get(&d.expr).is_none_or(Reader::is_slow);
        threads::count() > 1 && (numbers >= MANY || inputs.iter().filter(|d| d.rows).any(slow))
    }
    /// Says that these rows are given next, so that a slow disk works while a step runs.
    pub fn want_rows(&self, inputs: &[DataInput], rows: &[usize]) {
        for d in inputs.iter().filter(|d| d.rows) {
            if let Some(reader) = self.readers.get(&d.expr) {
                reader.want(rows);
            }
        }
    }
    /// Computes the rows `rows` of all of `computed`, if one of them is among `wanted`.
    fn compute(&mut self, program: &Program, mut wanted: impl Iterator<Item = ExprId>, rows: &[usize]) {
        if wanted.any(|e| self.computed.contains(&e)) {
            self.compute_all(program, rows);
        }
    }
    fn compute_all(&mut self, program: &Program, rows: &[usize]) {
        let of_rows = self.of_rows(program, rows.len());
        for (input, reader) in &mut of_rows.inputs {
            let place = of_rows.exe.input_mut(*input);
            if !place.is_empty() {
                reader.read(rows, place);
            }
        }
        of_rows.exe.run(&[], Key::new(0));
    }
    fn of_rows(&mut self, program: &Program, rows: usize) -> &mut OfRows {
        let prepared = self.prepared.as_ref().expect("only prepared expressions are computed");
        let (bound, computed) = (&self.bound, &self.computed);
        self.by_count.entry(rows).or_insert_with(|| OfRows::new(program, bound, prepared, computed, rows))
    }
}

/// How the rows of a prepared expression are found.
enum Way<'b> {
    /// They are those of a datum.
    Rows(&'b Values),
    /// They are computed from rows of data when they are asked for.
    ByRows,
    /// All are computed beforehand.
    AtOnce,
}

fn way<'b>(program: &Program, bound: &'b BoundData, prepared: &Prepared, e: ExprId) -> Way<'b> {
    let in_file = |id: DataId| matches!(bound.values[id], Some(Values::Lazy(_)));
    if let Some(values) = prepared.same_rows(program, e).and_then(|id| bound.values[id].as_ref()) {
        Way::Rows(values)
    } else if prepared.row_axis(program, e).is_some()
        && Prepared::data_of(program, e).into_iter().any(in_file)
        && prepared.by_rows(program, e)
    {
        Way::ByRows
    } else {
        Way::AtOnce
    }
}

/// What a [`Store`] keeps of the prepared expressions that are computed beforehand [bytes].
pub fn prepared_bytes(program: &Program, bound: &BoundData, prepared: &Prepared) -> usize {
    let number = |s: &Size| s.evaluate(&|id| Some(bound.sizes[id])).and_then(|n| usize::try_from(n).ok());
    let count = |e: ExprId| -> usize { program.ty(e).shape.iter().map(|s| number(s).unwrap_or(0)).product() };
    let at_once = |e: &&ExprId| matches!(way(program, bound, prepared, **e), Way::AtOnce);
    prepared.exprs.iter().filter(at_once).map(|&e| count(e)).sum::<usize>() * size_of::<f64>()
}

impl OfRows {
    fn new(program: &Program, bound: &BoundData, prepared: &Prepared, computed: &[ExprId], rows: usize) -> Self {
        let data = Prepared::data(program, prepared.size);
        let (slots, sizes) = (Slots::default(), prepared.step_sizes(&bound.sizes, rows));
        let some = Rows { prepared: &data, full_sizes: &bound.sizes };
        let mut lo = Lowering::new(program, &slots, sizes, Some(some), SiteSource::Prior);
        output_rows_first(&mut lo, prepared, computed);
        let inputs = std::mem::take(&mut lo.inputs);
        let plan = Executable::<f64>::prepare(&lo.g.finish(), Options::default());
        let bytes = plan.needs(0).bytes;
        let mut exe = plan.build();
        let store = Store::<f64>::new(program, bound, Some(&data));
        store.give_whole(program, &inputs, &mut exe);
        let reader = |d: &DataInput| match program.exprs[d.expr].kind {
            ExprKind::Data(id) => Some((d.input, bound.values[id].as_ref()?.reader())),
            _ => None,
        };
        let inputs = inputs.iter().filter(|d| d.rows).filter_map(reader).collect();
        Self { exe, inputs, bytes }
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
