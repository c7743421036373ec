//! Scores on held-out data: the posterior predictive of every observation, draw by draw.
//!
//! In: draws of the sites, held-out data.   Out: one [`Metrics`] for each observation, by the kind of its values.
//! Latent sites with rows of their own are drawn anew for the new rows: by the guide where it is amortized, otherwise
//! from their prior given the global sites. An observation that the amortized guide has seen is not predicted by such
//! draws but reconstructed: its log likelihood is found by importance sampling, with weights p(x | z) p(z) / q(z | x).

use super::data::{BoundData, Store};
use super::draws::Posterior;
use crate::check::size::SizeId;
use crate::check::typed::*;
use crate::exec::plan::Options;
use crate::exec::{Executable, Prepared};
use crate::ir::{DType, InputId, ValueId};
use crate::kernels::Scalar;
use crate::kernels::conv::Method;
use crate::lower::{DataInput, Lowering, Mode, SiteSource, Slots};
use crate::ops::Op;
use crate::report::fit::Metrics;
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
    /// How convolutions are computed.
    pub convolution: Method,
}

/// Scores that are planned.
pub struct Scoring<F> {
    plan: Prepared<F>,
    inputs: Vec<DataInput>,
    /// The input of each trainable parameter.
    slots: Vec<InputId>,
    /// The input of each site whose draws are given.
    given: Vec<(SiteId, InputId)>,
    /// Name, scores and observed values.
    all: Vec<(String, Scores, Vec<f64>)>,
    marginal: Option<(MarginalScores, usize)>,
    reconstructed: Option<Reconstructed>,
}

impl<F: Scalar> Scoring<F> {
    /// What is needed for `draws` draws of all rows at once [bytes].
    pub fn bytes(&self, draws: usize) -> u64 {
        let of = |(_, scores, observed): &(String, Scores, Vec<f64>)| match scores {
            Scores::Classes { .. } => observed.len(),
            // The draws of each row are sorted in the end.
            Scores::Numbers { .. } => observed.len() * (1 + draws),
        };
        let numbers: usize = self.all.iter().map(of).sum();
        (self.plan.needs(0).bytes + numbers * size_of::<f64>()) as u64
    }
}

enum Scores {
    Classes { scores: Box<ClassScores>, output: usize },
    Numbers { scores: Box<NumberScores>, log_prob: usize, draw: usize },
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

    /// Plans the scores, without taking memory.
    pub fn prepare<F: Scalar>(&self) -> Scoring<F> {
        let source = SiteSource::Given { guide: self.guide, resampled: self.resampled.clone() };
        let mut lo = Lowering::new(self.program, self.slots, self.bound.sizes.clone(), None, source);
        // Labels of new rows are not known: they are drawn, or summed out below.
        lo.discrete_forward = true;
        lo.settled = true;
        let slots = lo.all_slots();
        lo.draw_all();
        let model = lo.model;
        let mut all: Vec<(String, Scores, Vec<f64>)> = Vec::new();
        for o in &model.observations {
            let dist = lo.dist(&o.dist, Mode::Live);
            let observed = match o.data {
                Some(id) => self.bound.values[id].clone().unwrap_or_default(),
                None => continue,
            };
            let shape = lo.shape(&self.program.ty(o.value).shape);
            let output = lo.g.graph().outputs.len();
            if let Some(probs) = dist.probs(&mut lo.g) {
                let classes = *lo.g.shape(probs).last().expect("probabilities have classes");
                let probs = lo.g.broadcast_to(probs, shape.concat(&[classes]));
                lo.g.output(format!("probs of {}", o.name), probs);
                all.push((
                    o.name.clone(),
                    Scores::Classes { scores: Box::new(ClassScores::new(classes)), output },
                    observed,
                ));
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
            let scores =
                Scores::Numbers { scores: Box::new(NumberScores::new(kind)), log_prob: output, draw: output + 1 };
            all.push((o.name.clone(), scores, observed));
        }
        let reconstructed = self.reconstructed();
        let mut marginal = None;
        if let Some(r) = &reconstructed
            && let Some(size) = r.by_rows
        {
            let weights = self.log_weights(&mut lo, r);
            let output = lo.g.graph().outputs.len();
            lo.g.output("log weights", weights);
            marginal = Some((MarginalScores::new(self.bound.sizes[size]), output));
        }
        let given: Vec<(SiteId, ValueId)> = model
            .sites
            .indices()
            .filter_map(|id| {
                let v = lo.site_value(id);
                matches!(lo.g.graph().nodes[v].op, Op::Input(_)).then_some((id, v))
            })
            .collect();
        let inputs = std::mem::take(&mut lo.inputs);
        let graph = lo.g.finish();
        let options = Options { convolution: self.convolution, ..Options::default() };
        let input_of = |v: ValueId| match graph.nodes[v].op {
            Op::Input(input) => input,
            _ => unreachable!("made as an input"),
        };
        let slots = slots.into_iter().map(input_of).collect();
        let given = given.into_iter().map(|(id, v)| (id, input_of(v))).collect();
        Scoring { plan: Executable::prepare(&graph, options), inputs, slots, given, all, marginal, reconstructed }
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
        let Scoring { plan, inputs, slots, given, mut all, mut marginal, reconstructed } = scoring;
        let mut exe = plan.build();
        Store::<F>::new(self.program, self.bound, None).give_whole(self.program, &inputs, &mut exe);
        for (slot, input) in self.slots.list.iter().zip(slots) {
            exe.set_data(input, &params[slot.offset..slot.offset + slot.shape.count()]);
        }
        for (_, scores, observed) in &mut all {
            match scores {
                Scores::Classes { scores, .. } => {
                    let classes: Vec<usize> = observed.iter().map(|&x| x as usize).collect();
                    scores.begin(&classes);
                }
                Scores::Numbers { scores, .. } => scores.begin(observed.as_slice()),
            }
        }
        let draws = sites.draws();
        let mut buffer: Vec<F> = Vec::new();
        for i in 0..draws {
            for &(id, input) in &given {
                sites.read(i, &model.sites[id].name, &mut buffer);
                exe.set_data(input, &buffer);
            }
            exe.run(&[], key.fold_in(i as u64));
            if let Some((scores, output)) = &mut marginal {
                scores.add_draw(exe.output(*output));
            }
            for (_, scores, _) in &mut all {
                match scores {
                    Scores::Classes { scores, output } => scores.add_draw(exe.output(*output)),
                    Scores::Numbers { scores, log_prob, draw } => {
                        scores.add_draw(exe.output(*log_prob), exe.output(*draw))
                    }
                }
            }
        }
        let seen: Vec<String> =
            reconstructed.iter().flat_map(|r| &r.observations).map(|&at| model.observations[at].name.clone()).collect();
        let mut list: Vec<(String, Metrics)> = all
            .into_iter()
            .map(|(name, scores, _)| {
                let metrics = match scores {
                    Scores::Classes { mut scores, .. } => {
                        scores.end();
                        scores.metrics()
                    }
                    Scores::Numbers { mut scores, .. } => {
                        scores.end();
                        scores.metrics()
                    }
                };
                (name, metrics)
            })
            .collect();
        // The draws have seen these observations: the density at such a draw says nothing about how likely they are.
        for (_, metrics) in list.iter_mut().filter(|(name, _)| seen.contains(name)) {
            metrics.values.retain(|(name, _)| name != "nll");
        }
        if let (Some((scores, _)), Some(r)) = (marginal, &reconstructed) {
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
