//! Scores on held-out data: the posterior predictive of every observation, draw by draw.
//!
//! In: draws of the sites, held-out data.   Out: one [`Metrics`] for each observation, by the kind of its values.
//! Latent sites with rows of their own are drawn anew for the new rows: by the guide where it is amortized, otherwise
//! from their prior given the global sites. An observation that the amortized guide has seen is not predicted by such
//! draws but reconstructed: its log likelihood is found by importance sampling, with weights p(x | z) p(z) / q(z | x).
//! Where the program takes minibatches of the rebound size, its rows are known not to mix and are scored block by block.

use super::data::{BoundData, Store, prepared_bytes};
use super::draws::{Posterior, give_member};
use super::linearized::{Linearized, Lowered};
use crate::check::size::SizeId;
use crate::check::typed::*;
use crate::exec::plan::Options;
use crate::exec::{self, Executable};
use crate::ir::{DType, InputId, ValueId};
use crate::kernels::Scalar;
use crate::kernels::conv::Method;
use crate::lower::{DataInput, Lowering, Mode, Rows, SiteSource, Slots, rows::Prepared};
use crate::report::fit::Metrics;
use crate::report::metrics::{ClassScores, MarginalScores, NumberKind, NumberScores};
use crate::rng::Key;
use std::ops::Range;

/// What is scored.
pub struct Predictive<'p> {
    /// The program.
    pub program: &'p Program,
    /// The held-out data.
    pub bound: &'p BoundData,
    /// The sizes that have changed since the fit.
    pub resampled: Vec<SizeId>,
    /// The guide of the fit; `None` where a sampler made the draws and no guide was trained.
    pub guide: Option<usize>,
    /// The trainable parameters.
    pub slots: &'p Slots,
    /// How convolutions are computed.
    pub convolution: Method,
    /// Where the model is linearized, if predictions are to be those of the linearized model.
    pub linearized: Option<Linearized>,
}

/// Rows that are scored at once, at least, where rows can be scored apart: memory is that of one block.
pub(super) const BLOCK: usize = 256;

enum Scores {
    Classes(Box<ClassScores>),
    Numbers(Box<NumberScores>),
}

/// An observation in a graph of scores.
struct Scored {
    /// By position.
    observation: usize,
    /// The datum.
    data: DataId,
    /// The output with probabilities, or with the log density, after which comes a draw.
    output: usize,
    what: What,
}

/// What is scored of an observation.
enum What {
    /// The probabilities of so many classes.
    Classes(usize),
    /// Numbers of a kind.
    Numbers(NumberKind),
}

/// The graph that scores some rows.
struct Plan<F> {
    plan: exec::Prepared<F>,
    inputs: Vec<DataInput>,
    /// The input for the indices of the rows, if something asks for them.
    indices: Option<InputId>,
    /// The input of each trainable parameter.
    slots: Vec<InputId>,
    /// The input of each site whose draws are given.
    given: Vec<(SiteId, InputId)>,
    /// The inputs for the mode, where the model is linearized.
    mode: Vec<InputId>,
    scored: Vec<Scored>,
    /// The output of the log weights of rows, where an amortized guide has seen them.
    weights: Option<usize>,
}

/// Scores that are planned.
pub struct Scoring<F> {
    /// The rows of a block with what is prepared for them; `None` where all rows are scored at once.
    block: Option<Block>,
    /// Scores one block.
    plan: Plan<F>,
    /// The numbers observed in one block, for each of `Plan::scored`.
    observed: Vec<usize>,
    /// What is kept for the rows of all blocks [bytes].
    prepared: usize,
}

impl<F: Scalar> Scoring<F> {
    /// What is needed for `draws` draws of the rows that are scored at once [bytes].
    pub fn bytes(&self, draws: usize) -> u64 {
        let of = |(s, observed): (&Scored, &usize)| match s.what {
            // The class, the probabilities, their entropy and that of the draws.
            What::Classes(classes) => observed * (3 + classes),
            // The draws of each row are sorted in the end.
            What::Numbers(_) => observed * (1 + draws),
        };
        let numbers: usize = self.plan.scored.iter().zip(&self.observed).map(of).sum();
        (self.plan.plan.needs(0).bytes + numbers * size_of::<f64>() + self.prepared) as u64
    }
}

/// How rows are cut into blocks.
struct Block {
    /// What the rows are those of.
    size: SizeId,
    /// The rows of a block; the last one may have fewer.
    rows: usize,
    prepared: Prepared,
}

/// The scores so far.
struct Running<'s, F> {
    store: Store<F>,
    scores: Vec<Scores>,
    marginal: Option<MarginalScores>,
    sites: &'s mut dyn Posterior<F>,
    key: Key,
}

/// Observations that an amortized guide has seen, with the local sites that it draws for them.
pub(super) struct Reconstructed {
    /// The observations, by position.
    observations: Vec<usize>,
    /// The sites.
    sites: Vec<SiteId>,
    /// Whether all have their rows first, those of one size, so that rows can be weighed one by one.
    by_rows: Option<SizeId>,
}

impl<'p> Predictive<'p> {
    /// What the amortized guide reconstructs, if it does.
    pub(super) fn reconstructed(&self) -> Option<Reconstructed> {
        let model = self.program.model.as_ref().expect("fitted programs have a model");
        let slots = Slots::default();
        let lo = Lowering::new(self.program, &slots, self.bound.sizes.clone(), None, SiteSource::Prior);
        let mut sites = Vec::new();
        let mut seen: Vec<DataId> = Vec::new();
        for (id, s) in model.sites.iter_enumerated() {
            if !s.ty.shape.iter().any(|d| self.resampled.iter().any(|&r| d.mentions(r))) {
                continue;
            }
            if let Some(dist) = self.guide.and_then(|guide| lo.amortized(guide, id)) {
                sites.push(id);
                self.leaves(dist.args(), &mut |kind| {
                    if let ExprKind::Data(data) = kind {
                        seen.push(*data);
                    }
                });
            }
        }
        let mut observations = Vec::new();
        for (at, o) in model.observations.iter().enumerate() {
            let mut uses = false;
            self.leaves(o.dist.args(), &mut |kind| uses |= matches!(kind, ExprKind::Site(s) if sites.contains(s)));
            if uses && o.data.is_some_and(|d| seen.contains(&d)) {
                observations.push(at);
            }
        }
        if observations.is_empty() {
            return None;
        }
        let shapes = sites.iter().map(|&s| &model.sites[s].ty.shape);
        let shapes = shapes.chain(observations.iter().map(|&at| &self.program.ty(model.observations[at].value).shape));
        let first: Vec<Option<SizeId>> = shapes.map(|shape| shape.first().and_then(|s| s.as_name())).collect();
        let by_rows = first[0].filter(|_| first.iter().all(|f| *f == first[0]));
        Some(Reconstructed { observations, sites, by_rows })
    }
    /// Visits everything that some expressions are computed from, through the deterministic values alone.
    pub fn leaves(&self, roots: Vec<ExprId>, visit: &mut dyn FnMut(&ExprKind)) {
        let mut seen: crate::index::IndexVec<ExprId, bool> = self.program.exprs.iter().map(|_| false).collect();
        let mut stack = roots;
        while let Some(e) = stack.pop() {
            if !std::mem::replace(&mut seen[e], true) {
                visit(&self.program.exprs[e].kind);
                stack.extend(self.program.operands(e));
            }
        }
    }
    /// What has to be said about the scores, for people.
    pub fn notes(&self, draws: usize) -> Vec<String> {
        let mut notes = Vec::new();
        let fresh = self.drawn_from_prior();
        if !fresh.is_empty() {
            let names = fresh.join("`, `");
            notes.push(format!("held-out rows of `{names}` are drawn from their prior given the global sites"));
        }
        if let Some(r) = self.reconstructed() {
            let model = self.program.model.as_ref().expect("fitted programs have a model");
            let names = |list: Vec<&str>| format!("`{}`", list.join("`, `"));
            let sites = names(r.sites.iter().map(|&s| model.sites[s].name.as_str()).collect());
            let data = names(r.observations.iter().map(|&at| model.observations[at].name.as_str()).collect());
            notes.push(format!(
                "held-out rows of {sites} are drawn by the amortized guide, which sees {data}: scores of {data} are of \
                 reconstructions"
            ));
            notes.push(match r.by_rows {
                Some(size) => {
                    let size = &self.program.sizes[size].name;
                    format!(
                        "`nll` of {data} is the negative log likelihood of a row of `{size}` in nats, {sites} integrated \
                         out by importance sampling with {draws} draws of the guide"
                    )
                }
                None => format!("{data} have no `nll`: their rows are not those of {sites}"),
            });
        }
        notes
    }

    /// The names of latent sites whose new rows are drawn from their prior.
    pub fn drawn_from_prior(&self) -> Vec<String> {
        let model = self.program.model.as_ref().expect("fitted programs have a model");
        let slots = Slots::default();
        let lo = Lowering::new(self.program, &slots, self.bound.sizes.clone(), None, SiteSource::Prior);
        model
            .sites
            .iter_enumerated()
            .filter(|(_, s)| s.ty.shape.iter().any(|d| self.resampled.iter().any(|&r| d.mentions(r))))
            .filter(|(id, _)| self.guide.and_then(|guide| lo.amortized(guide, *id)).is_none())
            .map(|(_, s)| s.name.clone())
            .collect()
    }

    /// The size whose rows are scored block by block, with the rows of a block: the rebound one, where the program
    /// subsamples it, so that its rows are known not to mix, and where everything that is scored has its rows. `None` where
    /// all rows are scored at once.
    fn block(&self) -> Option<Block> {
        let &[size] = self.resampled.as_slice() else { return None };
        let model = self.program.model.as_ref().expect("fitted programs have a model");
        let batch = self.program.infers.iter().filter_map(|i| i.svi.minibatch).find(|b| b.size == size)?;
        let rows = batch.rows.max(BLOCK);
        let first = |e: ExprId| self.program.ty(e).shape.first().and_then(|s| s.as_name());
        let by_rows = model
            .observations
            .iter()
            .all(|o| matches!(self.program.exprs[o.value].kind, ExprKind::Data(_)) && first(o.value) == Some(size));
        let global = model.sites.iter().all(|s| !s.ty.shape.iter().any(|d| d.mentions(size)));
        let several = by_rows && global && self.bound.sizes[size] > rows;
        several.then(|| Block { size, rows, prepared: Prepared::new(self.program, size) })
    }

    /// Plans the scores, without taking memory.
    pub fn prepare<F: Scalar>(&self) -> Scoring<F> {
        let block = self.block();
        let plan = self.plan(block.as_ref().map(|b| (&b.prepared, b.rows)));
        let count = |s: &Scored| match (&self.bound.values[s.data], &block) {
            (Some(values), Some(block)) => block.rows * values.unit(),
            (Some(values), None) => values.len(),
            (None, _) => 0,
        };
        let observed = plan.scored.iter().map(count).collect();
        let prepared = block.as_ref().map_or(0, |b| prepared_bytes(self.program, self.bound, &b.prepared));
        Scoring { block, plan, observed, prepared }
    }

    /// Plans the graph that scores some rows (all where there is no [`Prepared`]).
    fn plan<F: Scalar>(&self, rows: Option<(&Prepared, usize)>) -> Plan<F> {
        let source = SiteSource::Given { guide: self.guide, resampled: self.resampled.clone() };
        let (sizes, some) = Rows::of(&self.bound.sizes, rows);
        let mut lo = Lowering::new(self.program, self.slots, sizes, some, source);
        // Labels of new rows are not known: they are drawn, or summed out below.
        lo.discrete_forward = true;
        lo.settled = true;
        let slots = lo.all_slots();
        lo.draw_all();
        let model = lo.model;
        let mut linear = self.linearize(&mut lo, &|_| true);
        let mut scored = Vec::new();
        for (at, o) in model.observations.iter().enumerate() {
            let Some(data) = o.data else { continue };
            let (dist, x) = match &mut linear {
                Some(linear) => linear.next(),
                None => (lo.dist(&o.dist, Mode::Live), None),
            };
            let shape = lo.shape(&self.program.ty(o.value).shape);
            let output = lo.g.graph().outputs.len();
            if let Some(probs) = dist.probs(&mut lo.g) {
                let classes = *lo.g.shape(probs).last().expect("probabilities have classes");
                let probs = lo.g.broadcast_to(probs, shape.concat(&[classes]));
                lo.g.output(format!("probs of {}", o.name), probs);
                scored.push(Scored { observation: at, data, output, what: What::Classes(classes) });
                continue;
            }
            let log_prob = match x {
                Some(x) => dist.log_prob(&mut lo.g, x),
                None => lo.held_out_log_prob(at, &dist),
            };
            lo.g.output(format!("log prob of {}", o.name), log_prob);
            if dist.event_rank() > 0 || !dist.is_proper() {
                continue;
            }
            let draw = dist.sample(&mut lo.g, &shape);
            lo.g.output(format!("draw of {}", o.name), draw);
            let kind = if dist.dtype() == DType::Real { NumberKind::Real } else { NumberKind::Count };
            scored.push(Scored { observation: at, data, output, what: What::Numbers(kind) });
        }
        let weights = self.reconstructed().filter(|r| r.by_rows.is_some()).map(|r| {
            let weights = self.log_weights(&mut lo, &r);
            let output = lo.g.graph().outputs.len();
            lo.g.output("log weights", weights);
            output
        });
        let (indices, slots, given, mode) = match linear {
            Some(linear) => (linear.indices, Vec::new(), linear.given, linear.mode),
            None => {
                let (slots, given) = lo.given(&slots);
                (lo.row_index.map(|v| lo.g.graph().input_of(v)), slots, given, Vec::new())
            }
        };
        let inputs = std::mem::take(&mut lo.inputs);
        let graph = lo.g.finish();
        let options = Options { convolution: self.convolution, ..Options::default() };
        Plan { plan: Executable::prepare(&graph, options), inputs, indices, slots, given, mode, scored, weights }
    }

    /// The observations at the linearized model, with the values of those that are `known`; `None` where predictions are
    /// those of draws.
    pub(super) fn linearize(&self, lo: &mut Lowering<'p>, known: &dyn Fn(DataId) -> bool) -> Option<Lowered> {
        let linear = self.linearized.as_ref()?;
        let data = lo.model.observations.iter().enumerate().filter_map(|(at, o)| Some((at, known(o.data?))));
        Some(linear.lower(lo, &data.collect::<Vec<_>>()).expect("what cannot be linearized has been refused"))
    }

    /// Scores every observation over the draws of `sites`.
    pub fn score<F: Scalar + Into<f64>>(
        &self,
        scoring: Scoring<F>,
        params: &[F],
        sites: &mut dyn Posterior<F>,
        key: Key,
    ) -> Vec<(String, Metrics)> {
        let model = self.program.model.as_ref().expect("fitted programs have a model");
        let Scoring { block, plan, .. } = scoring;
        let new = |s: &Scored| match s.what {
            What::Classes(classes) => Scores::Classes(Box::new(ClassScores::new(classes))),
            What::Numbers(kind) => Scores::Numbers(Box::new(NumberScores::new(kind))),
        };
        let scores = plan.scored.iter().map(new).collect();
        let names: Vec<String> = plan.scored.iter().map(|s| model.observations[s.observation].name.clone()).collect();
        let reconstructed = self.reconstructed();
        let by_rows = reconstructed.as_ref().and_then(|r| r.by_rows);
        let marginal = by_rows.map(|size| MarginalScores::new(self.bound.sizes[size]));
        let store = Store::new(self.program, self.bound, block.as_ref().map(|b| &b.prepared));
        let mut running = Running { store, scores, marginal, sites, key };
        match &block {
            None => self.score_blocks(plan, params, std::iter::once((0, None)), &mut running),
            Some(Block { size, rows, prepared }) => {
                let all = self.bound.sizes[*size];
                let whole = all / rows;
                let blocks = (0..whole).map(|at| (at, Some(at * rows..(at + 1) * rows)));
                self.score_blocks(plan, params, blocks, &mut running);
                if !all.is_multiple_of(*rows) {
                    let rest = self.plan(Some((prepared, all % rows)));
                    let block = (whole, Some(whole * rows..all));
                    self.score_blocks(rest, params, std::iter::once(block), &mut running);
                }
            }
        }
        let Running { scores, marginal, .. } = running;
        let mut list: Vec<(String, Metrics)> = names
            .into_iter()
            .zip(&scores)
            .map(|(name, scores)| match scores {
                Scores::Classes(scores) => (name, scores.metrics()),
                Scores::Numbers(scores) => (name, scores.metrics()),
            })
            .collect();
        let seen: Vec<String> =
            reconstructed.iter().flat_map(|r| &r.observations).map(|&at| model.observations[at].name.clone()).collect();
        // The draws have seen these observations: the density at such a draw says nothing about how likely they are.
        for (_, metrics) in list.iter_mut().filter(|(name, _)| seen.contains(name)) {
            metrics.values.retain(|(name, _)| name != "nll");
        }
        if let (Some(scores), Some(r)) = (marginal, &reconstructed) {
            let nll = ("nll".to_string(), scores.nll());
            let one = |(name, _): &&mut (String, Metrics)| seen.len() == 1 && *name == seen[0];
            match list.iter_mut().find(one) {
                Some((_, metrics)) => metrics.values.insert(0, nll),
                None => {
                    let size = r.by_rows.expect("weighed by rows");
                    let count = ("count".to_string(), self.bound.sizes[size] as f64);
                    list.push((seen.join(", "), Metrics { values: vec![nll, count] }));
                }
            }
        }
        list
    }

    /// Scores blocks of rows, each with its number (all rows at once where there are none), by one graph.
    fn score_blocks<F: Scalar + Into<f64>>(
        &self,
        plan: Plan<F>,
        params: &[F],
        blocks: impl Iterator<Item = (usize, Option<Range<usize>>)>,
        running: &mut Running<'_, F>,
    ) {
        let model = self.program.model.as_ref().expect("fitted programs have a model");
        let Plan { plan, inputs, indices, slots, given, mode, scored, weights } = plan;
        let Running { store, scores, marginal, sites, key } = running;
        let mut exe = plan.build();
        store.give_whole(self.program, &inputs, &mut exe);
        give_member(&mut exe, self.slots, &slots, params, 0);
        if let Some(linear) = &self.linearized {
            linear.give(&mode, &mut exe);
        }
        let mut member = 0;
        let mut buffer: Vec<F> = Vec::new();
        for (at, rows) in blocks {
            let rows: Option<Vec<usize>> = rows.map(Iterator::collect);
            if let Some(rows) = &rows {
                store.give_rows(self.program, &inputs, rows, &mut exe);
                if let Some(input) = indices {
                    exe.input_mut(input).iter_mut().zip(rows).for_each(|(to, &row)| *to = F::from_usize(row));
                }
            }
            for (scores, s) in scores.iter_mut().zip(&scored) {
                let observed = self.observed(s.data, rows.as_deref());
                match scores {
                    Scores::Classes(scores) => {
                        scores.begin(observed.len(), Some(observed.iter().map(|&x| x as usize).collect()));
                    }
                    Scores::Numbers(scores) => scores.begin(&observed),
                }
            }
            for i in 0..sites.draws() {
                if sites.member(i) != member {
                    member = sites.member(i);
                    give_member(&mut exe, self.slots, &slots, params, member);
                }
                for &(id, input) in &given {
                    sites.read(i, &model.sites[id].name, &mut buffer);
                    exe.set_data(input, &buffer);
                }
                let key = key.fold_in(i as u64);
                // What is drawn for a row differs from block to block.
                exe.run(&[], if at == 0 { key } else { key.fold_in(at as u64) });
                if let (Some(scores), Some(output)) = (marginal.as_mut(), weights) {
                    scores.add_draw(exe.output(output));
                }
                for (scores, s) in scores.iter_mut().zip(&scored) {
                    match scores {
                        Scores::Classes(scores) => scores.add_draw(exe.output(s.output)),
                        Scores::Numbers(scores) => scores.add_draw(exe.output(s.output), exe.output(s.output + 1)),
                    }
                }
            }
            for scores in scores.iter_mut() {
                match scores {
                    Scores::Classes(scores) => {
                        scores.end();
                    }
                    Scores::Numbers(scores) => scores.end(),
                }
            }
        }
    }

    /// The observed values of a datum: of the rows of a block, or all.
    pub(super) fn observed(&self, data: DataId, rows: Option<&[usize]>) -> Vec<f64> {
        let Some(values) = &self.bound.values[data] else { return Vec::new() };
        let Some(rows) = rows else { return values.to_vec() };
        let mut observed = vec![0.0; rows.len() * values.unit()];
        values.reader().read(rows, &mut observed);
        observed
    }
    /// ln p(x | z) + ln p(z) - ln q(z | x) of every row [rows].
    fn log_weights(&self, lo: &mut Lowering<'p>, r: &Reconstructed) -> ValueId {
        let model = lo.model;
        let by_row = |lo: &mut Lowering<'p>, v: ValueId, rows: usize| {
            let v = lo.g.to_real(v);
            let count = lo.g.shape(v).count();
            let flat = lo.g.reshape(v, [rows, count / rows]);
            lo.g.sum(flat, &[1])
        };
        let size = r.by_rows.expect("asked for only then");
        let rows = self.bound.sizes[size];
        let mut terms = Vec::new();
        for &at in &r.observations {
            let o = &model.observations[at];
            let dist = lo.dist(&o.dist, Mode::Live);
            let x = lo.expr(o.value);
            let log_prob = dist.log_prob(&mut lo.g, x);
            terms.push(by_row(lo, log_prob, rows));
        }
        for &id in &r.sites {
            let site = &model.sites[id];
            let value = lo.site_value(id);
            let prior = lo.dist(&site.dist, Mode::Live);
            let log_prior = prior.log_prob(&mut lo.g, value);
            let log_q = lo.guide_draws[id].as_ref().and_then(|d| d.log_prob).expect("drawn by the guide");
            let (log_prior, log_q) = (by_row(lo, log_prior, rows), by_row(lo, log_q, rows));
            terms.push(lo.g.sub(log_prior, log_q));
        }
        lo.g.add_all(&terms)
    }
}
