//! What a fit says of new data: draws of its posterior from the fit directory, predictions block by block.
//!
//! In: a fit, its restored program, new data.   Out: [`Predictions`]; every part of them is handed on as it is made.

use super::reload::NewData;
use super::{BoundProgram, Chosen, Failure, RunOptions, SCORE_DRAWS, choose, laplace};
use crate::check::settings::{Algorithm, Keep};
use crate::check::typed::*;
use crate::infer::draws::{self, Draws, Posterior};
use crate::infer::predict::{Part, Predict, Sink, Target};
use crate::infer::predictive::Predictive;
use crate::kernels::Scalar;
use crate::kernels::conv::Method;
use crate::lower::{SiteSource, Slots};
use crate::report::fit::{Fit, NamedTensor, Precision};
use crate::report::predictions::{Kept, Predictions, Shown};
use crate::rng::Key;
use crate::syntax::ast;
use std::ops::ControlFlow;

/// Draws that are used unless asked otherwise, of those that a fit keeps.
const MOST_DRAWS: usize = 1000;

/// How to predict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PredictOptions {
    /// Draws of the posterior. `None`: those that the fit keeps, at most 1,000; 200 where draws have to be made again.
    pub draws: Option<usize>,
    /// The elements of each observed name that the result keeps.
    pub keep: usize,
}

/// Takes predictions as they are made.
pub trait Output {
    /// What will come, with so many draws.
    fn begin(&mut self, shown: &[Shown], draws: usize) -> ControlFlow<()>;
    /// A part; `Break` ends it.
    fn part(&mut self, shown: &Shown, part: &Part<'_>) -> ControlFlow<()>;
}

/// Predicts `new` data by the fit whose program is `restored`.
///
/// # Errors
/// [`Failure::Fit`] when the fit lacks something that is needed.
pub fn predict(
    restored: &BoundProgram<'_>,
    fit: &Fit,
    new: &NewData,
    options: PredictOptions,
    out: &mut dyn Output,
) -> Result<Predictions, Failure> {
    match fit.precision {
        Precision::F32 => predict_in::<f32>(restored, fit, new, options, out),
        Precision::F64 => predict_in::<f64>(restored, fit, new, options, out),
    }
}

/// The settings and the guide that a fit was made with.
pub(super) fn chosen_again(restored: &BoundProgram<'_>, fit: &Fit) -> Result<Chosen, Failure> {
    let inputs = fit.inputs.as_ref().expect("restored fits keep what they were made from");
    let svi = fit.algorithm == "svi";
    let options = RunOptions {
        infer: Some(inputs.infer.clone()),
        guide: inputs.guide_option.clone(),
        seed: Some(fit.seed),
        precision: svi.then_some(match fit.precision {
            Precision::F32 => crate::check::settings::PrecisionChoice::F32,
            Precision::F64 => crate::check::settings::PrecisionChoice::F64,
        }),
        ..RunOptions::default()
    };
    choose(restored, &options)
}

/// The trainable parameters of a fit, and what they are under its guide; none where a sampler made the draws.
pub(super) fn params_of<F: Scalar>(
    restored: &BoundProgram<'_>,
    fit: &Fit,
    chosen: &Chosen,
) -> Result<(Slots, Vec<F>), Failure> {
    let batch = match chosen.infer.algorithm {
        Algorithm::Svi => chosen.infer.svi.minibatch.map(|b| b.size),
        Algorithm::Map => None,
        _ => return Ok((Slots::default(), Vec::new())),
    };
    let slots = Slots::new(&chosen.program, &chosen.program.guides[chosen.guide], &restored.data.sizes, batch);
    let keep = match chosen.infer.algorithm {
        Algorithm::Map => chosen.infer.mode.keep,
        _ => chosen.infer.svi.keep,
    };
    let ensemble = keep == Keep::All;
    // The first dimension of the parameters of an ensemble are its members.
    let own = |p: &NamedTensor| p.shape[usize::from(ensemble).min(p.shape.len())..].to_vec();
    let members = match fit.params.first() {
        Some(p) if ensemble => p.shape.first().copied().unwrap_or(1),
        _ => 1,
    };
    let mut params = vec![F::ZERO; members * slots.len()];
    for slot in &slots.list {
        let count = slot.shape.count();
        match fit.params.iter().find(|p| p.name == slot.name) {
            Some(p) if own(p)[..] == slot.shape[..] && p.data.len() == members * count => {
                for (all, mine) in params.chunks_exact_mut(slots.len()).zip(p.data.chunks_exact(count.max(1))) {
                    let place = &mut all[slot.offset..slot.offset + count];
                    place.iter_mut().zip(mine).for_each(|(to, &x)| *to = F::from_f64(x));
                }
            }
            found => {
                let what = match found {
                    Some(p) => format!("has shape {:?} instead of {:?}", p.shape, slot.shape.to_vec()),
                    None => "is not there".to_string(),
                };
                return Err(Failure::Fit {
                    message: format!("the fit does not match its program: the parameter `{}` {what}", slot.name),
                    help: Some(format!("fit it again: `bayesc run {}`", fit.model.path)),
                });
            }
        }
    }
    Ok((slots, params))
}

fn predict_in<F>(
    restored: &BoundProgram<'_>,
    fit: &Fit,
    new: &NewData,
    options: PredictOptions,
    out: &mut dyn Output,
) -> Result<Predictions, Failure>
where
    F: Scalar + Into<f64>,
    crate::report::fit::Draws: From<Vec<F>>,
{
    let chosen = chosen_again(restored, fit)?;
    let program = &chosen.program;
    let (slots, params) = params_of::<F>(restored, fit, &chosen)?;
    let guide = matches!(chosen.infer.algorithm, Algorithm::Svi | Algorithm::Map).then_some(chosen.guide);
    let convolution = match chosen.infer.algorithm {
        Algorithm::Svi => chosen.infer.svi.convolution,
        _ => Method::Direct,
    };
    let resampled = new.resampled.clone();
    let (linearized, note) = laplace::linearized_again(restored, fit, &chosen, &resampled)?;
    let of = Predictive { program, bound: &new.bound, resampled, guide, slots: &slots, convolution, linearized };
    let mut notes = new.notes.clone();
    notes.extend(note);
    let predict = Predict { of };
    if let Some(&id) = predict.missing().first() {
        let d = &program.data[id];
        let count = fit.inputs.iter().flat_map(|i| &i.data).find(|i| i.name == d.name);
        let why = match count.filter(|i| !i.kept) {
            Some(i) => format!("has {} numbers and is not kept in the fit", i.shape.iter().product::<usize>()),
            None => "is asked for by what is predicted".to_string(),
        };
        return Err(Failure::Fit {
            message: format!("the data `{}` are not there: `{0}` {why}", d.name),
            help: Some(format!("give them: `--data {}=FILE`", d.name)),
        });
    }
    let model = program.model.as_ref().expect("fitted programs have a model");
    let needed: Vec<SiteId> = model.sites.indices().filter(|&id| !predict.is_new(id)).collect();
    let quantity = |id: SiteId| fit.quantities.iter().find(|q| q.name == model.sites[id].name);
    let kept = needed.iter().all(|&id| quantity(id).is_some_and(|q| q.has_draws()));
    let point = chosen.infer.algorithm == Algorithm::Map;
    let root = Key::new(fit.seed);
    let all = fit.quantities.iter().find(|q| q.has_draws()).map_or(1, |q| q.chains * q.draws);
    let chains = fit.quantities.first().map_or(1, |q| q.chains);
    let n = match (kept && !point, options.draws) {
        (true, wanted) => wanted.unwrap_or(MOST_DRAWS).min(all),
        (false, wanted) => wanted.unwrap_or(SCORE_DRAWS),
    };
    if let Some(wanted) = options.draws.filter(|&w| w > n) {
        notes.push(format!("the fit keeps {n} draws: {wanted} were asked for"));
    }
    let mut saved;
    let mut again;
    let posterior: &mut dyn Posterior<F> = if kept {
        let place = |i: usize| match (point, chains) {
            (false, 1) => i,
            _ => i * all / n,
        };
        saved = draws::Chosen { quantities: &fit.quantities, places: (0..n).map(place).collect() };
        &mut saved
    } else {
        let Some(guide) = guide else {
            return Err(Failure::Fit {
                message: "the fit does not keep the draws of all latent sites".to_string(),
                help: Some(format!("fit it again: `bayesc run {} --all`", fit.model.path)),
            });
        };
        refuse_data_of_guide(&predict, program, guide, &needed, restored)?;
        let redrawn = Draws {
            program,
            bound: &restored.data,
            labels: &restored.labels,
            slots: &slots,
            source: SiteSource::Guide(guide),
            observations: false,
            generate: false,
            all: true,
            convolution,
            only: Some(needed),
        };
        again = redrawn.again::<F>(&params, n, super::after::After::<F>::key(root));
        &mut again
    };
    notes.extend(predict.of.notes(n));
    let gathering = Gathering {
        chosen: &chosen,
        restored,
        out,
        keep: options.keep,
        draws: n,
        shown: Vec::new(),
        kept: Vec::new(),
        stopped: false,
    };
    let gathering = std::cell::RefCell::new(gathering);
    let whole = predict.run::<F>(
        &params,
        posterior,
        root.fold_in(11),
        &mut |targets| gathering.borrow_mut().begin(targets),
        &mut Shared(&gathering),
    );
    new.bound.check_read()?;
    let Gathering { shown, kept, stopped, .. } = gathering.into_inner();
    Ok(Predictions { draws: n, shown, kept, whole, notes, stopped })
}

/// A guide that reads data cannot be drawn from without them.
fn refuse_data_of_guide(
    predict: &Predict<'_>,
    program: &Program,
    guide: usize,
    needed: &[SiteId],
    restored: &BoundProgram<'_>,
) -> Result<(), Failure> {
    for step in &program.guides[guide].steps {
        let GuideStep::Explicit { site, dist, .. } = step else { continue };
        if !needed.contains(site) {
            continue;
        }
        let mut missing = None;
        predict.of.leaves(dist.args(), &mut |kind| {
            if let ExprKind::Data(id) = kind
                && restored.data.values[*id].is_none()
            {
                missing = Some(*id);
            }
        });
        if let Some(id) = missing {
            let (site, data) = (&program.model.as_ref().expect("fitted").sites[*site].name, &program.data[id].name);
            return Err(Failure::Fit {
                message: format!(
                    "draws of `{site}` are not kept, and to make them again its guide needs the data `{data}`, which are \
                     too large to be kept"
                ),
                help: Some("fit it again with `--all`, which keeps all draws".to_string()),
            });
        }
    }
    Ok(())
}

/// Hands parts on, and keeps what the result has of them.
struct Gathering<'g, 'c> {
    chosen: &'g Chosen,
    restored: &'g BoundProgram<'c>,
    out: &'g mut dyn Output,
    keep: usize,
    draws: usize,
    shown: Vec<Shown>,
    kept: Vec<Kept>,
    stopped: bool,
}

impl Gathering<'_, '_> {
    fn begin(&mut self, targets: &[Target]) {
        let program = &self.chosen.program;
        for target in targets {
            let (dims, mut labels) = draws::dimensions(program, &self.restored.labels, &target.dims);
            for (l, &extent) in labels.iter_mut().zip(&target.shape) {
                l.take_if(|l| l.len() != extent);
            }
            let class_labels = class_labels(program, self.restored, target);
            self.shown.push(Shown { target: target.clone(), dims, labels, class_labels });
            self.kept.push(Kept::default());
        }
        self.stopped = self.out.begin(&self.shown, self.draws).is_break();
    }
}

struct Shared<'r, 'g, 'c>(&'r std::cell::RefCell<Gathering<'g, 'c>>);
impl Sink for Shared<'_, '_, '_> {
    fn part(&mut self, part: &Part<'_>) -> ControlFlow<()> {
        let mut guard = self.0.borrow_mut();
        let g = &mut *guard;
        if g.stopped {
            return ControlFlow::Break(());
        }
        g.kept[part.target].add(part, g.keep);
        let flow = g.out.part(&g.shown[part.target], part);
        g.stopped = flow.is_break();
        flow
    }
}

/// The labels of the size that a datum's range ends at: `int[N] in 0..Species`.
fn class_labels(program: &Program, restored: &BoundProgram<'_>, target: &Target) -> Option<Vec<String>> {
    let range = program.data[target.data].range.as_ref()?;
    let ast::ExprKind::Range { end: Some(end), .. } = &range.kind else { return None };
    let ast::ExprKind::Name(name) = &end.kind else { return None };
    let labels = restored.sizes.get(name)?.labels.as_ref()?;
    (Some(labels.len()) == target.classes).then(|| labels.names.to_vec())
}
