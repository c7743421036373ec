//! Scores on held-out data: the posterior predictive of every observation, draw by draw.
//!
//! In: draws of the sites, held-out data.   Out: one [`Metrics`] for each observation, by the kind of its values.
//! Latent sites with rows of their own are drawn anew for the new rows: by the guide where it is amortized, otherwise
//! from their prior given the global sites. An observation that the amortized guide has seen is not predicted by such
//! draws but reconstructed: its log likelihood is found by importance sampling, with weights p(x | z) p(z) / q(z | x).
//! Where the program takes minibatches of the rebound size, its rows are known not to mix and are scored block by block.

use super::data::{BoundData, Store};
use crate::check::size::SizeId;
use crate::check::typed::*;
use crate::exec::Executable;
use crate::ir::{DType, InputId};
use crate::kernels::Scalar;
use crate::lower::{DataInput, Lowering, Mode, Rows, SiteSource, Slots, rows::Prepared};
use crate::ops::Op;
use crate::report::fit::{Metrics, Quantity};
use crate::report::metrics::{ClassScores, MarginalScores, NumberKind, NumberScores};
use crate::rng::Key;

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
}

/// Rows that are scored at once, at least, where rows can be scored apart: memory is that of one block.
const BLOCK: usize = 256;

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

/// The graph that scores some rows, with its interface.
struct Compiled<F> {
    exe: Executable<F>,
    inputs: Vec<DataInput>,
    /// The input for the indices of the rows, if something asks for them.
    indices: Option<InputId>,
    /// The inputs for sites.
    given: Vec<(SiteId, InputId)>,
    scored: Vec<Scored>,
    /// The output of the log weights of rows, where an amortized guide has seen them.
    weights: Option<usize>,
}

/// Observations that an amortized guide has seen, with the local sites that it draws for them.
struct Reconstructed {
    /// The observations, by position.
    observations: Vec<usize>,
    /// The sites.
    sites: Vec<SiteId>,
    /// Whether all have their rows first, those of one size, so that rows can be weighed one by one.
    by_rows: Option<SizeId>,
}

impl<'p> Predictive<'p> {
    /// What the amortized guide reconstructs, if it does.
    fn reconstructed(&self) -> Option<Reconstructed> {
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
    fn leaves(&self, roots: Vec<ExprId>, visit: &mut dyn FnMut(&ExprKind)) {
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
    fn block(&self) -> Option<(SizeId, usize)> {
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
        (by_rows && global && self.bound.sizes[size] > rows).then_some((size, rows))
    }

    /// The graph that scores some rows (all where there is no `prepared`).
    fn compile<F: Scalar>(&self, params: &[F], rows: Option<(&Prepared, usize)>, store: &Store<F>) -> Compiled<F> {
        let source = SiteSource::Given { guide: self.guide, resampled: self.resampled.clone() };
        let (sizes, some) = match rows {
            Some((prepared, n)) => {
                let some = Rows { prepared, full_sizes: &self.bound.sizes };
                (prepared.step_sizes(&self.bound.sizes, n), Some(some))
            }
            None => (self.bound.sizes.clone(), None),
        };
        let mut lo = Lowering::new(self.program, self.slots, sizes, some, source);
        // Labels of new rows are not known: they are drawn, or summed out below.
        lo.discrete_forward = true;
        lo.settled = true;
        let slots = lo.all_slots();
        lo.draw_all();
        let model = lo.model;
        let mut scored = Vec::new();
        for (at, o) in model.observations.iter().enumerate() {
            let Some(data) = o.data else { continue };
            let dist = lo.dist(&o.dist, Mode::Live);
            let shape = lo.shape(&self.program.ty(o.value).shape);
            let output = lo.g.graph().outputs.len();
            if let Some(probs) = dist.probs(&mut lo.g) {
                let classes = *lo.g.shape(probs).last().expect("probabilities have classes");
                let probs = lo.g.broadcast_to(probs, shape.concat(&[classes]));
                lo.g.output(format!("probs of {}", o.name), probs);
                scored.push(Scored { observation: at, data, output, what: What::Classes(classes) });
                continue;
            }
            let x = lo.expr(o.value);
            let summed = model.marginals.iter().find(|m| {
                m.observations.len() == 1
                    && std::ptr::eq(&model.observations[m.observations[0]], o)
                    && lo.shape(&self.program.ty(m.value).shape) == shape
            });
            let log_prob = match summed {
                Some(marginal) => lo.expr(marginal.value),
                None => dist.log_prob(&mut lo.g, x),
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
        let given: Vec<(SiteId, crate::ir::ValueId)> = model
            .sites
            .indices()
            .filter_map(|id| {
                let v = lo.site_value(id);
                matches!(lo.g.graph().nodes[v].op, Op::Input(_)).then_some((id, v))
            })
            .collect();
        let indices = lo.row_index;
        let inputs = std::mem::take(&mut lo.inputs);
        let graph = lo.g.finish();
        let mut exe = Executable::<F>::compile(&graph);
        store.give_whole(self.program, &inputs, &mut exe);
        let input_of = |v: crate::ir::ValueId| match graph.nodes[v].op {
            Op::Input(input) => input,
            _ => unreachable!("made as an input"),
        };
        for (slot, v) in self.slots.list.iter().zip(slots) {
            exe.set_data(input_of(v), &params[slot.offset..slot.offset + slot.shape.count()]);
        }
        let given = given.into_iter().map(|(id, v)| (id, input_of(v))).collect();
        Compiled { exe, inputs, indices: indices.map(input_of), given, scored, weights }
    }

    /// Scores every observation over the draws of `sites` (one chain).
    pub fn score<F: Scalar + Into<f64>>(&self, params: &[F], sites: &[&Quantity], key: Key) -> Vec<(String, Metrics)> {
        let model = self.program.model.as_ref().expect("fitted programs have a model");
        let block = self.block();
        let prepared = block.map(|(size, _)| Prepared::new(self.program, size));
        let mut store = Store::<F>::new(self.program, self.bound, prepared.as_ref());
        // The rows of every block; one block without rows where all are scored at once.
        let all: Vec<usize> = (0..block.map_or(0, |(size, _)| self.bound.sizes[size])).collect();
        let blocks: Vec<&[usize]> = block.map_or(vec![&[]], |(_, rows)| all.chunks(rows).collect());
        let mut compiled = self.compile(params, prepared.as_ref().map(|p| (p, blocks[0].len())), &store);
        let mut compiled_for = blocks[0].len();
        let mut scores: Vec<Scores> = compiled
            .scored
            .iter()
            .map(|s| match s.what {
                What::Classes(classes) => Scores::Classes(Box::new(ClassScores::new(classes))),
                What::Numbers(kind) => Scores::Numbers(Box::new(NumberScores::new(kind))),
            })
            .collect();
        let reconstructed = self.reconstructed();
        let by_rows = reconstructed.as_ref().and_then(|r| r.by_rows);
        let mut marginal = by_rows.map(|size| MarginalScores::new(self.bound.sizes[size]));
        let draws = sites.first().map_or(1, |q| q.draws);
        let mut buffer: Vec<F> = Vec::new();
        for (at, rows) in blocks.iter().enumerate() {
            if rows.len() != compiled_for {
                compiled = self.compile(params, prepared.as_ref().map(|p| (p, rows.len())), &store);
                compiled_for = rows.len();
            }
            let Compiled { exe, inputs, indices, given, scored, weights } = &mut compiled;
            store.give_rows(self.program, inputs, rows, exe);
            if let Some(input) = *indices {
                exe.input_mut(input).iter_mut().zip(*rows).for_each(|(to, &row)| *to = F::from_usize(row));
            }
            for (scores, s) in scores.iter_mut().zip(&*scored) {
                let observed = self.observed(s.data, block.map(|_| *rows));
                match scores {
                    Scores::Classes(scores) => scores.begin(&observed.iter().map(|&x| x as usize).collect::<Vec<_>>()),
                    Scores::Numbers(scores) => scores.begin(&observed),
                }
            }
            for i in 0..draws {
                for &(id, input) in &*given {
                    let name = &model.sites[id].name;
                    let q = sites.iter().find(|q| q.name == *name).expect("every site has draws");
                    let count = q.count();
                    buffer.clear();
                    buffer.extend((0..count).map(|e| F::from_f64(q.value(0, i, e))));
                    exe.set_data(input, &buffer);
                }
                let key = key.fold_in(i as u64);
                // What is drawn for a row differs from block to block.
                exe.run(&[], if at == 0 { key } else { key.fold_in(at as u64) });
                if let (Some(scores), Some(output)) = (&mut marginal, *weights) {
                    scores.add_draw(exe.output(output));
                }
                for (scores, s) in scores.iter_mut().zip(&*scored) {
                    match scores {
                        Scores::Classes(scores) => scores.add_draw(exe.output(s.output)),
                        Scores::Numbers(scores) => scores.add_draw(exe.output(s.output), exe.output(s.output + 1)),
                    }
                }
            }
            for scores in &mut scores {
                match scores {
                    Scores::Classes(scores) => scores.end(),
                    Scores::Numbers(scores) => scores.end(),
                }
            }
        }
        let names = compiled.scored.iter().map(|s| model.observations[s.observation].name.clone());
        let mut list: Vec<(String, Metrics)> = names
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
    /// The observed values of a datum: of the rows of a block, or all.
    fn observed(&self, data: DataId, rows: Option<&[usize]>) -> Vec<f64> {
        let Some(values) = &self.bound.values[data] else { return Vec::new() };
        let Some(rows) = rows else { return values.to_vec() };
        let mut observed = vec![0.0; rows.len() * values.unit()];
        values.reader().read(rows, &mut observed);
        observed
    }
    /// ln p(x | z) + ln p(z) - ln q(z | x) of every row [rows].
    fn log_weights(&self, lo: &mut Lowering<'p>, r: &Reconstructed) -> crate::ir::ValueId {
        let model = lo.model;
        let by_row = |lo: &mut Lowering<'p>, v: crate::ir::ValueId, rows: usize| {
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
