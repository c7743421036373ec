//! The posterior predictive of new data, block of rows by block of rows.
//!
//! In: draws of the sites, new data, with or without the values that the model observes.   Out: for each observed name and
//! element the mean, standard deviation and quantiles of what the model says, or the probabilities of its classes with
//! their entropy; and scores, where the observed values are known. Rows are taken some at a time where the program is known
//! not to mix them, so that memory does not grow with their number.

use super::data::{BoundData, Store};
use super::draws::{Posterior, give_member};
use super::predictive::{BLOCK, Predictive};
use crate::check::minibatch::rows_apart;
use crate::check::size::{Size, SizeId};
use crate::check::typed::*;
use crate::exec::Executable;
use crate::exec::plan::Options;
use crate::ir::{InputId, ValueId};
use crate::kernels::Scalar;
use crate::lower::{DataInput, Lowering, Mode, Rows, SiteSource, rows::Prepared};
use crate::report::fit::Metrics;
use crate::report::metrics::{ClassRows, ClassScores, NumberKind, NumberScores};
use crate::report::statistics::quantile;
use crate::rng::Key;
use crate::syntax::ast::Elem;
use std::ops::{ControlFlow, Range};

/// Numbers of a draw that are predicted at once, about: rows of a block times the numbers of a row.
const AT_ONCE: usize = 4096;
/// The quantiles that are given.
pub const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// What is predicted.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    /// The name of the observed datum.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// Its dimensions in the program.
    pub dims: Vec<Size>,
    /// The number of classes, for class labels and truth values.
    pub classes: Option<usize>,
    /// The datum.
    pub data: DataId,
    /// Whether its values are known, so that predictions are scored.
    pub known: bool,
}

impl Target {
    /// The number of elements.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What is said of one number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NumberPrediction {
    /// The mean.
    pub mean: f64,
    /// The standard deviation, with n - 1.
    pub sd: f64,
    /// The [`QUANTILES`].
    pub quantiles: [f64; 5],
}

/// What is said of some elements.
#[derive(Clone, Copy, Debug)]
pub enum Said<'b> {
    /// Of numbers, one each.
    Numbers(&'b [NumberPrediction]),
    /// Of classes.
    Classes(ClassRows<'b>),
}

/// The predictions of some elements of one target, in their order.
#[derive(Clone, Copy, Debug)]
pub struct Part<'b> {
    /// Which target.
    pub target: usize,
    /// The position of the first element.
    pub first: usize,
    /// What is said of them.
    pub said: Said<'b>,
    /// The observed values, where they are known.
    pub observed: Option<&'b [f64]>,
    /// The draws, `[draw, element]`.
    pub draws: &'b [f64],
}

/// Takes the predictions as they are made.
pub trait Sink {
    /// Some predictions; `Break` ends it.
    fn part(&mut self, part: &Part<'_>) -> ControlFlow<()>;
}

/// Predicts new data.
pub struct Predict<'p> {
    /// The program with the new data and the sizes that they bind anew.
    pub of: Predictive<'p>,
}

/// What one graph gives for a target.
struct Output {
    /// Probabilities, for classes.
    probs: Option<usize>,
    /// The log density of the observed values, where it is known.
    log_prob: Option<usize>,
    /// A draw.
    draw: usize,
}

struct Graph<F> {
    exe: Executable<F>,
    inputs: Vec<DataInput>,
    indices: Option<InputId>,
    slots: Vec<InputId>,
    given: Vec<(SiteId, InputId)>,
    /// The inputs for the mode, where the model is linearized.
    mode: Vec<InputId>,
    outputs: Vec<Output>,
}

enum Scores {
    /// What is said of classes, and scores where they are known.
    Classes(Box<ClassScores>),
    Numbers(Box<NumberScores>),
    /// Numbers that are not known, or have no score.
    None,
}

/// What is said of a target as a whole.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Whole {
    /// The scores, where the values are known.
    pub scores: Option<Metrics>,
    /// For classes the means of `entropy`, `expected_entropy` and `mutual_information`.
    pub uncertainty: Option<Metrics>,
}

impl<'p> Predict<'p> {
    fn model(&self) -> &'p Model {
        self.of.program.model.as_ref().expect("fitted programs have a model")
    }
    fn bound(&self) -> &'p BoundData {
        self.of.bound
    }
    fn number(&self, size: &Size) -> usize {
        let n = size.evaluate(&|id| Some(self.bound().sizes[id])).expect("sizes are bound");
        usize::try_from(n).expect("sizes are positive")
    }
    /// How the datum of an observation is drawn where it is not known and depends on its own earlier elements.
    fn forward(&self, data: DataId) -> Option<ExprId> {
        let unknown = self.bound().values[data].is_none();
        self.model().simulated.iter().find(|(d, _)| *d == data && unknown).map(|(_, forward)| *forward)
    }
    /// What is predicted: observations of plain data, each once. The second number is that of its observation; none where it
    /// is drawn element by element.
    fn targets(&self) -> Vec<(Target, Option<usize>)> {
        let program = self.of.program;
        let target = |data: DataId, dims: &[Size], classes| Target {
            name: program.data[data].name.clone(),
            shape: dims.iter().map(|s| self.number(s)).collect(),
            dims: dims.to_vec(),
            classes,
            data,
            known: self.bound().values[data].is_some(),
        };
        let mut list: Vec<(Target, Option<usize>)> = Vec::new();
        for &(data, _) in self.model().simulated.iter().filter(|(d, _)| self.bound().values[*d].is_none()) {
            list.push((target(data, &program.data[data].ty.shape, None), None));
        }
        for (at, o) in self.model().observations.iter().enumerate() {
            let Some(data) = o.data else { continue };
            if list.iter().any(|(t, _)| t.data == data) {
                continue;
            }
            list.push((target(data, &program.ty(o.value).shape, None), Some(at)));
        }
        list
    }
    /// Data that are asked for and not there: observed ones that the prediction of another one needs, and those too large
    /// to be kept.
    pub fn missing(&self) -> Vec<DataId> {
        let program = self.of.program;
        let mut roots: Vec<ExprId> = Vec::new();
        for (target, at) in self.targets() {
            match at {
                Some(at) => roots.extend(self.model().observations[at].dist.args()),
                None => roots.extend(self.forward(target.data)),
            }
        }
        let mut missing: Vec<DataId> = Vec::new();
        let mut seen: Vec<SiteId> = Vec::new();
        while !roots.is_empty() {
            let mut sites: Vec<SiteId> = Vec::new();
            self.of.leaves(std::mem::take(&mut roots), &mut |kind| match kind {
                ExprKind::Data(d) if self.bound().values[*d].is_none() && !missing.contains(d) => missing.push(*d),
                ExprKind::Site(s) if !seen.contains(s) && !sites.contains(s) => sites.push(*s),
                _ => {}
            });
            for s in sites {
                seen.push(s);
                // Sites with new rows are drawn from what they depend on; the draws of the others are there.
                if self.is_new(s) {
                    let amortized = self.of.guide.and_then(|guide| {
                        let slots = crate::lower::Slots::default();
                        let sizes = self.bound().sizes.clone();
                        Lowering::new(program, &slots, sizes, None, SiteSource::Prior).amortized(guide, s)
                    });
                    roots.extend(amortized.as_ref().unwrap_or(&self.model().sites[s].dist).args());
                }
            }
        }
        missing
    }
    /// Whether a site has rows that the fit has not seen.
    pub fn is_new(&self, site: SiteId) -> bool {
        let resampled = &self.of.resampled;
        self.model().sites[site].ty.shape.iter().any(|d| resampled.iter().any(|&r| d.mentions(r)))
    }

    /// The size whose rows are taken some at a time, and how many.
    fn block(&self) -> Option<(SizeId, usize)> {
        let &[size] = self.of.resampled.as_slice() else { return None };
        let program = self.of.program;
        let targets = self.targets();
        let by_rows =
            targets.iter().all(|(t, at)| at.is_some() && t.dims.first().and_then(Size::as_name) == Some(size));
        if !by_rows || targets.is_empty() || !rows_apart(program, size) || self.of.reconstructed().is_some() {
            return None;
        }
        let batch = program.infers.iter().filter_map(|i| i.svi.minibatch).find(|b| b.size == size);
        let unit = |t: &Target| t.shape.iter().skip(1).product::<usize>();
        let largest = targets.iter().map(|(t, _)| unit(t)).max().unwrap_or(1).max(1);
        // As many rows as `evaluate` takes, where it takes some at a time: the same random numbers then.
        let rows = batch.map_or_else(|| (AT_ONCE / largest).max(BLOCK), |b| b.rows.max(BLOCK));
        (self.bound().sizes[size] > rows).then_some((size, rows))
    }

    fn graph<F: Scalar>(&self, rows: Option<(&Prepared, usize)>, targets: &mut [(Target, Option<usize>)]) -> Graph<F> {
        let program = self.of.program;
        let source = SiteSource::Given { guide: self.of.guide, resampled: self.of.resampled.clone() };
        let (sizes, some) = Rows::of(&self.bound().sizes, rows);
        let mut lo = Lowering::new(program, self.of.slots, sizes, some, source);
        lo.discrete_forward = true;
        lo.settled = true;
        let slots = lo.all_slots();
        lo.draw_all();
        let model = lo.model;
        // Each observation that is a datum, with its position.
        let known = |data: DataId| self.bound().values[data].is_some();
        let mut linear = self.of.linearize(&mut lo, &known);
        let dists: Vec<Option<(crate::dist::Dist, Option<ValueId>)>> = match &mut linear {
            Some(linear) => model.observations.iter().map(|o| o.data.map(|_| linear.next())).collect(),
            None => Vec::new(),
        };
        let mut outputs: Vec<Output> = Vec::new();
        let output = |lo: &mut Lowering<'_>, what: &str, name: &str, v: ValueId| {
            lo.g.output(format!("{what} of {name}"), v);
            lo.g.graph().outputs.len() - 1
        };
        // Noise is numbered as it is made: what `evaluate` draws comes first, so that it is the same here.
        let mut later: Vec<(usize, crate::dist::Dist, crate::ir::Shape)> = Vec::new();
        for (k, (target, at)) in targets.iter_mut().enumerate() {
            let Some(at) = *at else {
                let forward = self.forward(target.data).expect("a target without an observation");
                let v = lo.expr(forward);
                let draw = output(&mut lo, "draw", &target.name, v);
                outputs.push(Output { probs: None, log_prob: None, draw });
                continue;
            };
            let o = &model.observations[at];
            let (dist, x) = match dists.get(at).cloned().flatten() {
                Some(linear) => linear,
                None => (lo.dist(&o.dist, Mode::Live), None),
            };
            let shape = lo.shape(&program.ty(o.value).shape);
            if let Some(probs) = dist.probs(&mut lo.g) {
                let classes = *lo.g.shape(probs).last().expect("probabilities have classes");
                target.classes = Some(classes);
                let probs = lo.g.broadcast_to(probs, shape.concat(&[classes]));
                let probs = output(&mut lo, "probs", &target.name, probs);
                outputs.push(Output { probs: Some(probs), log_prob: None, draw: usize::MAX });
                later.push((k, dist, shape));
                continue;
            }
            let mut log_prob = None;
            if target.known {
                let v = match x {
                    Some(x) => dist.log_prob(&mut lo.g, x),
                    None => lo.held_out_log_prob(at, &dist),
                };
                let at = output(&mut lo, "log prob", &target.name, v);
                log_prob = (dist.event_rank() == 0 && dist.is_proper()).then_some(at);
            }
            if dist.event_rank() > 0 || !dist.is_proper() {
                outputs.push(Output { probs: None, log_prob: None, draw: usize::MAX });
                later.push((k, dist, shape));
                continue;
            }
            let draw = dist.sample(&mut lo.g, &shape);
            let draw = output(&mut lo, "draw", &target.name, draw);
            outputs.push(Output { probs: None, log_prob, draw });
        }
        for (k, dist, shape) in later {
            let draw = dist.sample(&mut lo.g, &shape);
            outputs[k].draw = output(&mut lo, "draw", &targets[k].0.name, draw);
        }
        let (indices, slots, given, mode) = match linear {
            Some(linear) => (linear.indices, Vec::new(), linear.given, linear.mode),
            None => {
                let (slots, given) = lo.given(&slots);
                (lo.row_index.map(|v| lo.g.graph().input_of(v)), slots, given, Vec::new())
            }
        };
        let inputs = std::mem::take(&mut lo.inputs);
        let graph = lo.g.finish();
        let options = Options { convolution: self.of.convolution, ..Options::default() };
        let exe = Executable::prepare(&graph, options).build();
        Graph { exe, inputs, indices, slots, given, mode, outputs }
    }

    /// Predicts everything that the model observes with each draw of `sites`, and gives the predictions to `sink` in the
    /// order of the rows. Returns what is said of each target as a whole.
    pub fn run<F: Scalar + Into<f64>>(
        &self,
        params: &[F],
        sites: &mut dyn Posterior<F>,
        key: Key,
        begin: &mut dyn FnMut(&[Target]),
        sink: &mut dyn Sink,
    ) -> Vec<Whole> {
        let block = self.block();
        let mut targets = self.targets();
        // The graph of the first block says which targets are classes.
        let prepared = block.map(|(size, _)| Prepared::new(self.of.program, size));
        let first = self.graph::<F>(prepared.as_ref().zip(block.map(|(_, rows)| rows)), &mut targets);
        let kinds: Vec<NumberKind> = targets.iter().map(|(t, at)| self.kind(t, *at)).collect();
        let mut scores: Vec<Scores> = targets
            .iter()
            .zip(&first.outputs)
            .zip(&kinds)
            .map(|(((t, _), out), &kind)| match (t.known, t.classes, out.log_prob) {
                (_, Some(classes), _) => Scores::Classes(Box::new(ClassScores::new(classes))),
                (true, None, Some(_)) => Scores::Numbers(Box::new(NumberScores::new(kind))),
                _ => Scores::None,
            })
            .collect();
        let shown: Vec<Target> = targets.iter().map(|(t, _)| t.clone()).collect();
        begin(&shown);
        let mut store = Store::<F>::new(self.of.program, self.bound(), prepared.as_ref());
        let mut running =
            Running { of: self, targets: &shown, scores: &mut scores, sites, key, sink, store: &mut store };
        match block {
            None => drop(running.blocks(first, params, std::iter::once((0, None)))),
            Some((size, rows)) => {
                let all = self.bound().sizes[size];
                let whole = all / rows;
                let blocks = (0..whole).map(|at| (at, Some(at * rows..(at + 1) * rows)));
                let done = running.blocks(first, params, blocks);
                if !all.is_multiple_of(rows) && done.is_continue() {
                    let rest = self.graph(prepared.as_ref().map(|p| (p, all % rows)), &mut targets);
                    let block = (whole, Some(whole * rows..all));
                    let _ = running.blocks(rest, params, std::iter::once(block));
                }
            }
        }
        let whole = |(scores, target): (Scores, &Target)| match scores {
            Scores::Classes(s) => {
                Whole { scores: target.known.then(|| s.metrics()), uncertainty: Some(s.uncertainty()) }
            }
            Scores::Numbers(s) => Whole { scores: Some(s.metrics()), uncertainty: None },
            Scores::None => Whole::default(),
        };
        scores.into_iter().zip(&shown).map(whole).collect()
    }

    fn kind(&self, target: &Target, at: Option<usize>) -> NumberKind {
        let real = match at {
            Some(at) => !self.model().observations[at].dist.is_discrete(),
            None => self.of.program.data[target.data].ty.elem == Elem::Real,
        };
        if real { NumberKind::Real } else { NumberKind::Count }
    }
}

/// A run of [`Predict::run`].
struct Running<'r, 'p, F> {
    of: &'r Predict<'p>,
    targets: &'r [Target],
    scores: &'r mut [Scores],
    sites: &'r mut dyn Posterior<F>,
    key: Key,
    sink: &'r mut dyn Sink,
    store: &'r mut Store<F>,
}

impl<F: Scalar + Into<f64>> Running<'_, '_, F> {
    fn blocks(
        &mut self,
        graph: Graph<F>,
        params: &[F],
        blocks: impl Iterator<Item = (usize, Option<Range<usize>>)>,
    ) -> ControlFlow<()> {
        let program = self.of.of.program;
        let model = self.of.model();
        let Graph { mut exe, inputs, indices, slots, given, mode, outputs } = graph;
        self.store.give_whole(program, &inputs, &mut exe);
        let all_slots = self.of.of.slots;
        give_member(&mut exe, all_slots, &slots, params, 0);
        if let Some(linear) = &self.of.of.linearized {
            linear.give(&mode, &mut exe);
        }
        let mut member = 0;
        let mut buffer: Vec<F> = Vec::new();
        for (at, range) in blocks {
            let rows: Option<Vec<usize>> = range.clone().map(Iterator::collect);
            if let Some(rows) = &rows {
                self.store.give_rows(program, &inputs, rows, &mut exe);
                if let Some(input) = indices {
                    exe.input_mut(input).iter_mut().zip(rows).for_each(|(to, &row)| *to = F::from_usize(row));
                }
            }
            let unit = |t: &Target| t.shape.iter().skip(1).product::<usize>();
            let counts: Vec<usize> =
                self.targets.iter().map(|t| range.as_ref().map_or(t.count(), |r| r.len() * unit(t))).collect();
            let observed: Vec<Option<Vec<f64>>> =
                self.targets.iter().map(|t| t.known.then(|| self.of.of.observed(t.data, rows.as_deref()))).collect();
            for ((scores, observed), &count) in self.scores.iter_mut().zip(&observed).zip(&counts) {
                match (scores, observed) {
                    (Scores::Classes(s), x) => {
                        s.begin(count, x.as_ref().map(|x| x.iter().map(|&x| x as usize).collect()));
                    }
                    (Scores::Numbers(s), Some(x)) => s.begin(x),
                    _ => {}
                }
            }
            let n = self.sites.draws();
            // `[draw, element]` of each target.
            let mut drawn: Vec<Vec<f64>> = counts.iter().map(|count| Vec::with_capacity(n * count)).collect();
            for i in 0..n {
                if self.sites.member(i) != member {
                    member = self.sites.member(i);
                    give_member(&mut exe, all_slots, &slots, params, member);
                }
                for &(id, input) in &given {
                    self.sites.read(i, &model.sites[id].name, &mut buffer);
                    exe.set_data(input, &buffer);
                }
                let key = self.key.fold_in(i as u64);
                exe.run(&[], if at == 0 { key } else { key.fold_in(at as u64) });
                for (k, out) in outputs.iter().enumerate() {
                    drawn[k].extend(exe.output(out.draw).iter().map(|&x| x.to_f64()));
                    match &mut self.scores[k] {
                        Scores::Classes(s) => s.add_draw(exe.output(out.probs.expect("classes have probabilities"))),
                        Scores::Numbers(s) => {
                            s.add_draw(exe.output(out.log_prob.expect("scored")), exe.output(out.draw));
                        }
                        Scores::None => {}
                    }
                }
            }
            for (k, draws) in drawn.into_iter().enumerate() {
                let first = range.as_ref().map_or(0, |r| r.start * unit(&self.targets[k]));
                self.give(k, first, n, &draws, observed[k].as_deref())?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Closes the block of a target and hands on what is said.
    fn give(
        &mut self,
        target: usize,
        first: usize,
        n: usize,
        draws: &[f64],
        observed: Option<&[f64]>,
    ) -> ControlFlow<()> {
        let part = |said: Said<'_>, sink: &mut dyn Sink| sink.part(&Part { target, first, said, observed, draws });
        match &mut self.scores[target] {
            Scores::Classes(s) => return part(Said::Classes(s.end()), self.sink),
            Scores::Numbers(s) => s.end(),
            Scores::None => {}
        }
        let count = draws.len() / n;
        let mut column = vec![0.0; n];
        let mut said = Vec::with_capacity(count);
        for e in 0..count {
            column.iter_mut().enumerate().for_each(|(i, x)| *x = draws[i * count + e]);
            said.push(of_draws(&mut column));
        }
        part(Said::Numbers(&said), self.sink)
    }
}

fn of_draws(x: &mut [f64]) -> NumberPrediction {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let squares: f64 = x.iter().map(|v| (v - mean) * (v - mean)).sum();
    let sd = if n > 1.0 { (squares / (n - 1.0)).sqrt() } else { f64::NAN };
    x.sort_unstable_by(f64::total_cmp);
    NumberPrediction { mean, sd, quantiles: QUANTILES.map(|p| quantile(x, p)) }
}
