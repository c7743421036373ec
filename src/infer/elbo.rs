//! The evidence lower bound as a graph.
//!
//!   ELBO = E_q [ sum of ln p(data | sites) ] - sum over sites of KL(q(site) || p(site))   [nats]
//!
//! The expectation is one reparameterized draw from the guide. A KL divergence is closed where the pair of families has
//! a closed form and the prior's parameters do not depend on the draw of the site itself; elsewhere it is the Monte
//! Carlo term `ln q - ln p` whose gradient is the path derivative (Roeder, Wu & Duvenaud 2017, arXiv:1703.09194): the
//! learnable leaves inside ln q are held constant, which leaves the expectation of the gradient unchanged.
//!
//! With a minibatch of B of N rows, terms that have rows are multiplied by N / B; the KL of global sites counts once.

use super::RunError;
use crate::autodiff;
use crate::check::settings::{EstimatorChoice, KlChoice};
use crate::check::typed::*;
use crate::ir::passes::stable;
use crate::ir::{DType, Graph, InputId, InputKind, Shape, ValueId};
use crate::lower::estimators::Estimator;
use crate::lower::{DataInput, Lowering, Mode, Rows, SiteSource, SizeValues, Slots, mixture, rows::Prepared};

/// What an ELBO graph is built for.
#[derive(Clone, Copy)]
pub struct Spec<'p> {
    /// The program.
    pub program: &'p Program,
    /// The guide, by position.
    pub guide: usize,
    /// The trainable parameters.
    pub slots: &'p Slots,
    /// The sizes of the whole data set.
    pub sizes: &'p SizeValues,
    /// The prepared data and the number of rows of a step, when rows are subsampled.
    pub batch: Option<(&'p Prepared, usize)>,
    /// How KL divergences are found.
    pub kl: KlChoice,
    /// How the noise of weights enters layers.
    pub estimator: EstimatorChoice,
    /// Whether the weight of the KL divergence is an input, for annealing.
    pub anneal: bool,
    /// Whether the sign of all noise is an input, for antithetic draws.
    pub antithetic: bool,
    /// Whether each row of a step is a bound of its own: all sites have rows.
    pub by_rows: bool,
}

/// How the KL divergence of one site was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KlTerm {
    /// In closed form.
    Closed,
    /// By Monte Carlo with path derivatives.
    MonteCarlo,
    /// Not at all: a point mass only has its log prior.
    PointMass,
}

/// An ELBO graph and its interface.
#[derive(Debug)]
pub struct ElboGraph {
    /// The graph. Outputs: 0 the ELBO (weighted and scaled), 1 the part without rows, 2 the part with rows (not scaled),
    /// then the gradient of the *negative* ELBO in every slot, if asked for, and, where sites have it, that of their log density
    /// (the score).
    pub graph: Graph,
    /// The data inputs.
    pub inputs: Vec<DataInput>,
    /// The input for each slot.
    pub slots: Vec<InputId>,
    /// The input for the indices of the rows, if something asks for them.
    pub rows: Option<InputId>,
    /// The input for the weight of the KL divergence.
    pub weight: Option<InputId>,
    /// The input for the sign of all noise.
    pub sign: Option<InputId>,
    /// What is known of each row, where each is a bound of its own.
    pub of_rows: Option<OfRows>,
    /// Whether there are scores.
    pub scored: bool,
    /// How the KL divergence of each site was found, in the model's order.
    pub terms: Vec<(SiteId, KlTerm)>,
    /// The name and value of each term, for finding one that is not finite.
    pub named: Vec<(String, ValueId)>,
}

/// The interface of a graph in which each row is a bound of its own.
#[derive(Clone, Copy, Debug)]
pub struct OfRows {
    /// The output with the log ratio of each row `[rows]` [nats].
    pub ratios: usize,
    /// The inputs by which derivatives are multiplied, where there is a gradient: that of each row's log ratio, and that along
    /// the path of its draws beside it; `[rows]` each.
    pub factors: Option<[InputId; 2]>,
}

/// Builds the graph; with `gradient`, also the adjoint.
pub fn build(spec: &Spec<'_>, gradient: bool) -> Result<ElboGraph, RunError> {
    let (step_sizes, rows) = Rows::of(spec.sizes, spec.batch);
    let mut lo = Lowering::new(spec.program, spec.slots, step_sizes, rows, SiteSource::Guide(spec.guide));
    let choices = crate::lower::estimators::choose(spec.program, &spec.program.guides[spec.guide], spec.estimator);
    lo.scored = choices.iter().filter(|c| c.estimator == Estimator::Score).map(|c| c.site).collect();
    lo.estimators =
        choices.into_iter().filter(|c| c.estimator != Estimator::Score).map(|c| (c.site, c.estimator)).collect();
    let mut slots = lo.all_slots();
    let mut sign = spec.antithetic.then(|| lo.g.input("sign of noise", Shape::scalar(), DType::Real, InputKind::Batch));
    lo.g.set_mirror(sign);
    let n_rows = spec.batch.filter(|_| spec.by_rows).map(|(_, n)| n);
    let mut factors = n_rows.filter(|_| gradient).map(|n| {
        ["weight of each row", "weight of paths of each row"]
            .map(|name| lo.g.input(name, Shape::from([n]), DType::Real, InputKind::Batch))
    });
    lo.path_factor = factors.map(|[_, path]| path);

    let mut named: Vec<(String, ValueId)> = Vec::new();
    let mut terms = Vec::new();
    // What the data say, and what the prior and the guide say; each without and with rows.
    let mut likelihood = Sums::default();
    let mut divergence = Sums::default();
    let mut ratio: Vec<ValueId> = Vec::new();
    // Gradients sum over the components of mixtures; importance ratios need one draw of the whole guide.
    let guide = &spec.program.guides[spec.guide];
    let strata = if gradient { mixture::strata(guide) } else { vec![Vec::new()] };
    for (n, stratum) in strata.into_iter().enumerate() {
        let share = if n > 0 || !stratum.is_empty() { lo.enter_stratum(stratum) } else { None };
        lo.draw_all();
        if n > 0 {
            terms.clear();
        }
        let of = |lo: &mut Lowering<'_>, value: ValueId| share.map_or(value, |share| lo.g.mul(share, value));
        for step in &lo.model.steps {
            match step {
                Step::Site(id) => {
                    let (value, term) = site_term(&mut lo, *id, spec)?;
                    let has_rows = lo.has_rows(&lo.model.sites[*id].ty.shape);
                    named.push((format!("the term of site `{}`", lo.model.sites[*id].name), value.sum));
                    divergence.add(of(&mut lo, value.sum), has_rows);
                    ratio.extend(value.rows);
                    terms.push((*id, term));
                }
                step => {
                    let term = lo.data_term(step).expect("not a site");
                    if n_rows.is_some() && lo.has_rows(&spec.program.ty(term.like).shape) {
                        ratio.push(sum_rows(&mut lo.g, term.each));
                    }
                    likelihood.add(of(&mut lo, term.sum), lo.has_rows(&spec.program.ty(term.like).shape));
                    named.push((term.name, term.sum));
                }
            }
        }
    }
    let mut weight = spec.anneal.then(|| lo.g.input("kl weight", Shape::scalar(), DType::Real, InputKind::Batch));
    let scale = spec.batch.map_or(1.0, |(p, rows)| spec.sizes[p.size] as f64 / rows as f64);
    let g = &mut lo.g;
    let weigh = |g: &mut crate::ir::Builder, terms: &[ValueId]| {
        let sum = g.add_all(terms);
        match weight {
            Some(w) => g.mul(sum, w),
            None => sum,
        }
    };
    let (prior_global, prior_rows) = (weigh(g, &divergence.global), weigh(g, &divergence.rows));
    let (data_global, data_rows) = (g.add_all(&likelihood.global), g.add_all(&likelihood.rows));
    let global = g.add(data_global, prior_global);
    let local = g.add(data_rows, prior_rows);
    let scaled = g.mul_scalar(local, scale);
    let mut elbo = g.add(global, scaled);
    let mut ratios = n_rows.map(|_| g.add_all(&ratio));
    // What is differentiated: weights do not depend on anything, and there is nothing without rows.
    let mut objective = match (factors, ratios) {
        (Some([weight, _]), Some(ratios)) => {
            let weighted = g.mul(weight, ratios);
            let sum = g.sum_all(weighted);
            g.mul_scalar(sum, scale)
        }
        _ => elbo,
    };
    g.output("elbo", elbo);
    g.output("global", global);
    g.output("rows", local);
    lo.g.set_mirror(None);
    let scores: Vec<ValueId> =
        lo.scored.clone().into_iter().filter_map(|site| lo.guide_draws[site].as_ref()?.log_prob).collect();
    let g = &mut lo.g;
    let scored = gradient && !scores.is_empty();
    let mut score = if scored {
        let scores: Vec<ValueId> = scores.into_iter().map(|s| g.sum_all(s)).collect();
        Some(g.add_all(&scores))
    } else {
        None
    };
    if gradient {
        // The adjoint of an unstable form would be as unstable.
        let named = named.iter_mut().map(|(_, value)| value);
        let kept = slots.iter_mut().chain(&mut weight).chain(&mut lo.row_index).chain(&mut sign).chain([&mut elbo]);
        let kept = kept.chain(&mut score).chain(named).chain([&mut objective]);
        let kept = kept.chain(&mut ratios).chain(factors.iter_mut().flatten());
        stable::settle(g, kept);
        let loss = g.neg(objective);
        let gradients = autodiff::reverse::gradient(g, loss, &slots)
            .map_err(|e| RunError::Unsupported(format!("this model cannot be fitted by svi: {e}")))?;
        for (slot, d) in spec.slots.list.iter().zip(gradients) {
            g.output(format!("d {}", slot.name), d);
        }
        if let Some(score) = score {
            let gradients = autodiff::reverse::gradient(g, score, &slots)
                .map_err(|e| RunError::Unsupported(format!("this model cannot be fitted by svi: {e}")))?;
            for (slot, d) in spec.slots.list.iter().zip(gradients) {
                g.output(format!("score {}", slot.name), d);
            }
        }
    }
    if let Some(ratios) = ratios {
        lo.g.output("log ratios", ratios);
    }
    let input_of = |v: ValueId| lo.g.graph().input_of(v);
    let of_rows = ratios.map(|_| OfRows {
        ratios: lo.g.graph().outputs.len() - 1,
        factors: factors.map(|factors| factors.map(input_of)),
    });
    let slots = slots.iter().copied().map(input_of).collect();
    let (rows, weight, sign) = (lo.row_index.map(input_of), weight.map(input_of), sign.map(input_of));
    let inputs = std::mem::take(&mut lo.inputs);
    Ok(ElboGraph { graph: lo.g.finish(), inputs, slots, rows, weight, sign, of_rows, scored, terms, named })
}

#[derive(Default)]
struct Sums {
    global: Vec<ValueId>,
    rows: Vec<ValueId>,
}
impl Sums {
    fn add(&mut self, v: ValueId, has_rows: bool) {
        if has_rows { self.rows.push(v) } else { self.global.push(v) }
    }
}

/// The sum over everything but the first axis.
fn sum_rows(g: &mut crate::ir::Builder, x: ValueId) -> ValueId {
    g.sum_last(x, g.rank(x) - 1)
}

/// What the prior and the guide say about one site: its sum, and where rows are bounds of their own that of each row.
struct SiteTerm {
    sum: ValueId,
    rows: Option<ValueId>,
}

/// What the prior and the guide say about one site: minus its KL divergence, or its log prior.
fn site_term(lo: &mut Lowering<'_>, id: SiteId, spec: &Spec<'_>) -> Result<(SiteTerm, KlTerm), RunError> {
    let site = &lo.model.sites[id];
    let before = lo.g.set_origin(Some(spec.program.exprs[site.value].origin()));
    let prior = lo.dist(&site.dist, Mode::Live);
    let draw = lo.guide_draws[id].clone().expect("all sites are drawn");
    let shape = lo.shape(&site.ty.shape);
    let batch = shape.drop_last(site.dist.event_rank());
    let result = (|| {
        let monte_carlo = spec.kl == KlChoice::MonteCarlo;
        if !monte_carlo
            && !site.absorbed
            && let Some(q) = &draw.dist
            && !depends_on(lo, &prior, draw.value)
            && let Some(kl) = q.kl(&prior, &mut lo.g)
        {
            // Independent elements that share their parameters count one by one.
            let kl = lo.g.broadcast_to(kl, batch);
            let sum = lo.g.sum_all(kl);
            return Ok((SiteTerm { sum: lo.g.neg(sum), rows: None }, KlTerm::Closed));
        }
        let each_row = |lo: &mut Lowering<'_>, v: ValueId| {
            let v = lo.g.broadcast_to(v, batch.clone());
            sum_rows(&mut lo.g, v)
        };
        let mut rows = None;
        let log_prior = match site.absorbed {
            // Its prior is part of a term with discrete latents summed out.
            true => lo.g.scalar(0.0),
            false => match lo.expected_log_prior(id, &prior) {
                Some(expected) if !depends_on(lo, &prior, draw.value) => expected,
                _ => {
                    let log_prior = prior.log_prob(&mut lo.g, draw.value);
                    rows = spec.by_rows.then(|| each_row(lo, log_prior));
                    lo.g.sum_all(log_prior)
                }
            },
        };
        match draw.log_prob_path {
            None if draw.joint.is_none() => Ok((SiteTerm { sum: log_prior, rows }, KlTerm::PointMass)),
            None => Ok((SiteTerm { sum: log_prior, rows }, KlTerm::MonteCarlo)),
            Some(_) if spec.kl == KlChoice::Closed => Err(RunError::Unsupported(format!(
                "`kl = closed`, but the guide of `{}` and its prior `{}` have no closed form",
                site.name,
                prior.name()
            ))),
            Some(log_q) => {
                if spec.by_rows {
                    let log_q = each_row(lo, log_q);
                    rows = Some(match rows {
                        Some(log_prior) => lo.g.sub(log_prior, log_q),
                        None => lo.g.neg(log_q),
                    });
                }
                let log_q = lo.g.sum_all(log_q);
                Ok((SiteTerm { sum: lo.g.sub(log_prior, log_q), rows }, KlTerm::MonteCarlo))
            }
        }
    })();
    lo.g.set_origin(before);
    result
}

/// Whether a parameter of `dist` depends on `value`: then the expectation of its KL divergence is not closed.
fn depends_on(lo: &Lowering<'_>, dist: &crate::dist::Dist, value: ValueId) -> bool {
    let params = dist.params();
    if params.iter().all(|&p| lo.g.as_full(p).is_some()) {
        return false;
    }
    let depends = lo.g.graph().depends_on(&[value]);
    params.iter().any(|&p| depends[p])
}
