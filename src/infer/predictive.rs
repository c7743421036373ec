//! Scores on held-out data: the posterior predictive of every observation, draw by draw.
//!
//! In: draws of the sites, held-out data.   Out: one [`Metrics`] for each observation, by the kind of its values.
//! Latent sites with rows of their own are drawn anew for the new rows: by the guide where it is amortized, otherwise
//! from their prior given the global sites.

use super::data::{BoundData, Store};
use crate::check::size::SizeId;
use crate::check::typed::*;
use crate::exec::Executable;
use crate::ir::DType;
use crate::kernels::Scalar;
use crate::lower::{Lowering, Mode, SiteSource, Slots};
use crate::ops::Op;
use crate::report::fit::{Metrics, Quantity};
use crate::report::metrics::{ClassScores, NumberKind, NumberScores};
use crate::rng::Key;

/// What is scored.
pub struct Predictive<'p> {
    /// The program.
    pub program: &'p Program,
    /// The held-out data.
    pub bound: &'p BoundData,
    /// The sizes that have changed since the fit.
    pub resampled: Vec<SizeId>,
    /// The guide of the fit.
    pub guide: usize,
    /// The trainable parameters.
    pub slots: &'p Slots,
}

enum Scores {
    Classes { scores: Box<ClassScores>, output: usize },
    Numbers { scores: Box<NumberScores>, log_prob: usize, draw: usize },
}

impl<'p> Predictive<'p> {
    /// The names of latent sites whose new rows are drawn from their prior.
    pub fn drawn_from_prior(&self) -> Vec<String> {
        let model = self.program.model.as_ref().expect("fitted programs have a model");
        let slots = Slots::default();
        let lo = Lowering::new(self.program, &slots, self.bound.sizes.clone(), None, SiteSource::Prior);
        model
            .sites
            .iter_enumerated()
            .filter(|(_, s)| s.ty.shape.iter().any(|d| self.resampled.iter().any(|&r| d.mentions(r))))
            .filter(|(id, _)| lo.amortized(self.guide, *id).is_none())
            .map(|(_, s)| s.name.clone())
            .collect()
    }

    /// Scores every observation over the draws of `sites` (one chain).
    pub fn score<F: Scalar + Into<f64>>(&self, params: &[F], sites: &[&Quantity], key: Key) -> Vec<(String, Metrics)> {
        let source = SiteSource::Given { guide: self.guide, resampled: self.resampled.clone() };
        let mut lo = Lowering::new(self.program, self.slots, self.bound.sizes.clone(), None, source);
        // Labels of new rows are not known: they are drawn, or summed out below.
        lo.discrete_forward = true;
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
        let given: Vec<(SiteId, crate::ir::ValueId)> = model
            .sites
            .indices()
            .filter_map(|id| {
                let v = lo.site_value(id);
                matches!(lo.g.graph().nodes[v].op, Op::Input(_)).then_some((id, v))
            })
            .collect();
        let inputs = std::mem::take(&mut lo.inputs);
        let graph = lo.g.finish();
        let mut exe = Executable::<F>::compile(&graph);
        Store::<F>::new(self.program, self.bound, None).give_whole(self.program, &inputs, &mut exe);
        let input_of = |v: crate::ir::ValueId| match graph.nodes[v].op {
            Op::Input(input) => input,
            _ => unreachable!("made as an input"),
        };
        for (slot, v) in self.slots.list.iter().zip(slots) {
            exe.set_data(input_of(v), &params[slot.offset..slot.offset + slot.shape.count()]);
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
        let draws = sites.first().map_or(1, |q| q.draws);
        let mut buffer: Vec<F> = Vec::new();
        for i in 0..draws {
            for &(id, v) in &given {
                let name = &model.sites[id].name;
                let q = sites.iter().find(|q| q.name == *name).expect("every site has draws");
                let count = q.count();
                buffer.clear();
                buffer.extend((0..count).map(|e| F::from_f64(q.value(0, i, e))));
                exe.set_data(input_of(v), &buffer);
            }
            exe.run(&[], key.fold_in(i as u64));
            for (_, scores, _) in &mut all {
                match scores {
                    Scores::Classes { scores, output } => scores.add_draw(exe.output(*output)),
                    Scores::Numbers { scores, log_prob, draw } => {
                        scores.add_draw(exe.output(*log_prob), exe.output(*draw))
                    }
                }
            }
        }
        all.into_iter()
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
            .collect()
    }
}
