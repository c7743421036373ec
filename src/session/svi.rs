//! A program run by variational inference: from the chosen settings to the finished fit.

use super::after::{After, Origin};
use super::init;
use super::restarts::{self, Outcome};
use super::{BoundProgram, Chosen, Failure, RunOptions, model_source, one};
use crate::check::print::family_name;
use crate::check::settings::{EstimatorChoice, Keep, Length, Reparam, StartChoice};
use crate::check::typed::*;
use crate::diag::{Code, Diagnostic};
use crate::exec::Clock;
use crate::infer::elbo::KlTerm;
use crate::infer::objective::Objective;
use crate::infer::pointwise::Made;
use crate::infer::profile::{Laps, Phase};
use crate::infer::svi::{Svi, SviFit};
use crate::infer::{Memory, Observer, Profile, Sampling, Status};
use crate::kernels::Scalar;
use crate::kernels::conv::Method;
use crate::lower::params::Owner;
use crate::lower::{Slots, noncentered, rows::Prepared};
use crate::report::fit::{self, Fit, NamedTensor, Quantity, Timing};
use crate::rng::Key;
use serde_json::json;

/// Optimizes the guide and makes the fit of its draws.
pub(super) fn fit<F>(bound: &BoundProgram<'_>, chosen: &Chosen, observer: &mut dyn Observer) -> Result<Fit, Failure>
where
    F: Scalar + Into<f64>,
    fit::Draws: From<Vec<F>>,
{
    let began = observer.clock();
    let mut laps = Laps::new(observer.stopwatch());
    let (program, settings) = (&chosen.program, &chosen.infer.svi);
    let prepared = settings.minibatch.map(|b| Prepared::new(program, b.size));
    let guide = &program.guides[chosen.guide];
    let slots = Slots::new(program, guide, &bound.data.sizes, settings.minibatch.map(|b| b.size));
    let started = match settings.start {
        StartChoice::Prior => None,
        StartChoice::Mode => Some(super::start::at_mode(bound, chosen, &slots)?),
    };
    let trained = started.as_ref().and_then(|s| s.as_ref().ok()).unwrap_or(&slots);
    let subsampled = settings.minibatch.map(|b| b.size);
    let origin = Origin::Guide { guide: chosen.guide, subsampled };
    let members = if settings.keep == Keep::All { settings.restarts } else { 1 };
    let each = settings.draws.div_ceil(members);
    let wanted = (members, each, chosen.all);
    let (after, memory) = After::<F>::plan(bound, chosen, &slots, origin, wanted, settings.convolution);
    let warm = init::guide(bound, chosen, &slots, observer)?;
    let svi = Svi {
        program,
        guide: chosen.guide,
        bound: &bound.data,
        settings,
        slots: trained,
        prepared: prepared.as_ref(),
        memory: &memory,
        restart: 0,
        warm: warm.as_ref(),
        from: None,
    };
    laps.lap(Phase::Lower);
    if let Some(profile) = laps.finish() {
        observer.profiled(profile);
    }
    let mut ticking = Ticking { inner: observer, first: None };
    let Outcome { mut fits, best, note, stop, secs, state } =
        restarts::run::<F>(&svi, chosen.resume.as_ref(), &mut ticking)?;
    // From the coordinates of a mode, in which they were trained.
    for one in &mut fits {
        let free: Vec<f64> = one.params.iter().map(|x| x.to_f64()).collect();
        one.params = trained.leave_bases(&free).into_iter().map(F::from_f64).collect();
    }
    let compile_secs = ticking.first.map_or(0.0, |t| t - began);

    let mut laps = Laps::new(observer.stopwatch());
    let root = Key::new(settings.seed);
    // The parameters of all members, one after the other; of one fit its own.
    let params: Vec<F> = fits.iter().flat_map(|f| f.params.iter().copied()).collect();
    let quantities = after.draws.run::<F>(&params, each, After::<F>::key(root));
    let ensemble = settings.keep == Keep::All;
    let (n_fits, elbo) = (fits.len() as f64, mean_bound(&fits));
    let result = fits.into_iter().nth(best).expect("the best is one of them");
    let mut fit = Fit::new("svi", model_source(bound), chosen.precision, settings.seed);
    fit.guide = guide.name.clone();
    fit.elbo = Some(elbo);
    fit.bound = result.bound.clone().filter(|_| n_fits == 1.0);
    fit.diagnostics.pareto_k = result.pareto_k.filter(|_| n_fits == 1.0);
    fit.stop_reason = stop;
    fit.checkpoint = state.map(|s| s.arrays);
    let steps = result.trace.len() as f64;
    let passes = match settings.minibatch {
        Some(b) => result.items as f64 / bound.data.sizes[b.size] as f64,
        None => steps,
    };
    let made = Made {
        evaluations: passes * (settings.particles.unwrap_or(1) * settings.objective.draws()) as f64,
        independent: true,
    };
    after.finish(&mut fit, quantities, made, &params, root, &mut laps);
    fit.notes.extend(chosen.notes.iter().cloned());
    fit.notes.extend(note);
    if n_fits > 1.0 {
        let text = "no Pareto k and no leave-one-out: those of a member are not those of the ensemble";
        fit.notes.push(text.to_string());
    }
    if let Some(Err(why)) = &started {
        fit.notes.push(format!("the guide starts at the prior, since there is no mode to start from: {why}"));
    }
    if guide.drops_inputs() {
        let note = "under `dropout` the ELBO is a bound only up to a constant, since its points have no density: compare it \
                    with fits of the same guide alone; there is no Pareto k";
        fit.notes.push(note.to_string());
    }
    fit.notes.extend(not_kept(&fit.quantities));
    if let Some(step) = result.plateau.filter(|_| n_fits == 1.0) {
        let what = settings.objective.what();
        fit.notes.push(format!("the {what} was no longer rising at step {step} (`stop = plateau`)"));
    }
    let rate = |n: f64| (secs > 0.0).then(|| n / secs);
    fit.timing = Timing {
        compile_secs,
        fit_secs: secs,
        steps_per_sec: rate(steps),
        items_per_sec: settings.minibatch.and_then(|_| rate(result.items as f64)),
    };
    fit.params = slots
        .list
        .iter()
        .map(|s| NamedTensor {
            name: s.name.clone(),
            shape: if ensemble {
                [n_fits as usize].iter().chain(s.shape.iter()).copied().collect()
            } else {
                s.shape.to_vec()
            },
            data: params
                .chunks_exact(slots.len().max(1))
                .flat_map(|p| p[s.offset..s.offset + s.shape.count()].iter().map(|x| x.to_f64()))
                .collect(),
        })
        .collect();
    fit.trace = result.trace;
    fit.settings = settings_json(chosen, &result.terms);
    fit.data = bound.fingerprints();
    if let Some(profile) = laps.finish() {
        observer.profiled(profile);
    }
    Ok(fit)
}

/// The mean of the bounds of all fits with its standard error: a bound for their mixture too, as the KL divergence is
/// convex.
fn mean_bound<F>(fits: &[SviFit<F>]) -> fit::Elbo {
    let n = fits.len() as f64;
    let squares: f64 = fits.iter().map(|f| f.elbo.standard_error.powi(2)).sum();
    fit::Elbo {
        final_: fits.iter().map(|f| f.elbo.final_).sum::<f64>() / n,
        standard_error: if fits.len() == 1 { fits[0].elbo.standard_error } else { squares.sqrt() / n },
        steps: fits.iter().map(|f| f.elbo.steps).max().unwrap_or(0),
    }
}

/// What to say about arrays whose draws are not kept.
fn not_kept(quantities: &[Quantity]) -> Option<String> {
    let large: Vec<&Quantity> = quantities.iter().filter(|q| !q.has_draws()).collect();
    let names: Vec<String> = large.iter().map(|q| format!("`{}`", q.name)).collect();
    let counts: Vec<String> = large.iter().map(|q| q.count().to_string()).collect();
    (!large.is_empty()).then(|| {
        format!(
            "means and standard deviations of {} are kept, not their draws ({} elements); `--all` keeps them",
            names.join(", "),
            counts.join(", ")
        )
    })
}

/// Notes when the first clock reading of the optimization was taken: everything before is compilation.
struct Ticking<'o> {
    inner: &'o mut dyn Observer,
    first: Option<f64>,
}
impl Observer for Ticking<'_> {
    fn note(&mut self, text: &str) {
        self.inner.note(text);
    }
    fn status(&mut self, status: &Status) -> std::ops::ControlFlow<()> {
        self.inner.status(status)
    }
    fn sampling(&mut self, status: &Sampling<'_>) -> std::ops::ControlFlow<()> {
        self.inner.sampling(status)
    }
    fn clock(&mut self) -> f64 {
        let now = self.inner.clock();
        self.first.get_or_insert(now);
        now
    }
    fn stopwatch(&self) -> Option<Clock> {
        self.inner.stopwatch()
    }
    fn planned(&mut self, memory: &Memory) {
        self.inner.planned(memory);
    }
    fn profiled(&mut self, profile: Profile) {
        self.inner.profiled(profile);
    }
}

/// Refuses flows over one number, whose layers have nothing to depend on.
pub(super) fn refuse_lonely_flows(
    bound: &BoundProgram<'_>,
    program: &Program,
    guide: usize,
    options: &RunOptions,
) -> Result<(), Failure> {
    let slots = Slots::new(program, &program.guides[guide], &bound.data.sizes, None);
    for (at, step) in program.guides[guide].steps.iter().enumerate() {
        let GuideStep::Family { family: family @ Family::Flow(_), sites, span } = step else { continue };
        let loc = slots.position(Owner::JointLoc(at)).expect("a flow has a location");
        if slots.list[loc].shape.count() < 2 {
            let word = family_name(*family);
            let name = &program.model.as_ref().expect("chosen programs have a model").sites[sites[0]].name;
            let mut d = Diagnostic::new(Code::E0605, format!("`{word}` over `{name}` alone is no more than a normal"));
            if options.guide.is_none() {
                d = d.label(*span, "its layers move one coordinate given others: there are none");
            }
            return Err(one(
                d.help("use `mean_field`, which is the same here, or `mixture(2)`; or let it cover several sites")
            ));
        }
    }
    Ok(())
}

/// Gives `mean_field` sites of the guide the standard variables that `reparam` asks for; `auto` is as written.
pub(super) fn standardize(program: &mut Program, guide: usize, reparam: &Reparam) -> Result<(), Failure> {
    if matches!(reparam, Reparam::Auto | Reparam::Centered) {
        return Ok(());
    }
    let model = program.model.clone().expect("chosen programs have a model");
    let chosen: Vec<SiteId> = noncentered::choose(program, reparam, None)
        .into_iter()
        .filter(|c| c.noncentered && crate::lower::structured::is_standardized(program, &model, c.site))
        .map(|c| c.site)
        .collect();
    let named = if let Reparam::Sites(sites) = reparam { &sites[..] } else { &[] };
    let mut steps = Vec::new();
    for step in &program.guides[guide].steps {
        match step {
            GuideStep::Family { family: Family::MeanField, sites, span } => {
                let (standard, plain): (Vec<SiteId>, Vec<SiteId>) = sites.iter().partition(|s| chosen.contains(s));
                for (family, sites) in [(Family::MeanField, plain), (Family::Standardized, standard)] {
                    if !sites.is_empty() {
                        steps.push(GuideStep::Family { family, sites, span: *span });
                    }
                }
            }
            GuideStep::Family { family: Family::Structured, .. } => steps.push(step.clone()),
            other => {
                if let Some(&site) = other.sites().iter().find(|s| named.contains(s)) {
                    let name = &model.sites[site].name;
                    return Err(one(Diagnostic::new(
                        Code::E0703,
                        format!("`reparam = noncentered({name})` needs `{name}` under `mean_field`"),
                    )
                    .label(other.span(), "its guide says something else")
                    .help("leave `reparam` out, or give the site `mean_field` or `structured`")));
                }
                steps.push(other.clone());
            }
        }
    }
    program.guides[guide].steps = steps;
    Ok(())
}

/// Every setting with its final value.
fn settings_json(chosen: &Chosen, terms: &[(SiteId, KlTerm)]) -> Vec<(String, serde_json::Value)> {
    let s = &chosen.infer.svi;
    let mut list: Vec<(String, serde_json::Value)> = Vec::new();
    let mut add = |name: &str, value: serde_json::Value| list.push((name.to_string(), value));
    match s.length {
        Length::Steps(n) => add("steps", json!(n)),
        Length::Epochs(n) => add("epochs", json!(n)),
    }
    if let Some(b) = s.minibatch {
        add("minibatch", json!({ chosen.program.sizes[b.size].name.as_str(): b.rows }));
    }
    add("particles", json!(s.particles));
    if s.antithetic {
        add("antithetic", json!(true));
    }
    if s.objective != Objective::Elbo {
        add("elbo", json!(s.objective.text()));
    }
    if s.estimator != EstimatorChoice::Auto {
        add("estimator", json!(s.estimator.name()));
    }
    add("optimizer", serde_json::to_value(s.optimizer).unwrap_or_default());
    add("learning_rate", json!(s.learning_rate));
    if !s.rates.is_empty() {
        let rates: serde_json::Map<_, _> = s.rates.iter().map(|r| (r.name.clone(), json!(r.rate))).collect();
        add("rate", serde_json::Value::Object(rates));
    }
    add("schedule", serde_json::to_value(s.schedule).unwrap_or_default());
    if let Some(part) = s.average {
        add("average", json!(part));
    }
    if let Some(rule) = s.stop {
        add("stop", json!({ "plateau": rule }));
    }
    add("clip", json!(s.clip));
    add("anneal_kl", json!(s.anneal_kl));
    add("seed", json!(s.seed));
    add(
        "convolution",
        json!(match s.convolution {
            Method::Auto => "auto",
            Method::Direct => "direct",
            Method::Winograd => "winograd",
        }),
    );
    add("draws", json!(s.draws));
    add("restarts", json!(s.restarts));
    add("keep", json!(s.keep.name()));
    add("start", json!(s.start.name()));
    let model = chosen.program.model.as_ref();
    let kl: serde_json::Map<String, serde_json::Value> = terms
        .iter()
        .filter_map(|(id, term)| {
            let word = match term {
                KlTerm::Closed => "closed",
                KlTerm::MonteCarlo => "monte_carlo",
                KlTerm::PointMass => "point_mass",
            };
            model.map(|m| (m.sites[*id].name.clone(), json!(word)))
        })
        .collect();
    add("kl", serde_json::Value::Object(kl));
    list
}
