//! Starting from another fit of the same model: `--init FIT`.

use super::{BoundProgram, Chosen, Failure};
use crate::check::typed::*;
use crate::index::Idx;
use crate::infer::Observer;
use crate::infer::draws::Posterior;
use crate::infer::warm::{self, Spread, Warm};
use crate::lower::Slots;
use crate::lower::structured::is_standardized;
use crate::report::fit::{Fit, Quantity, Role};

/// Draws from which means and standard deviations are found, at most.
const DRAWS: usize = 400;

/// Draws of another fit by place; an array whose draws are not kept stays at its mean.
struct Given<'f> {
    fit: &'f Fit,
    places: Vec<usize>,
}

fn latent<'f>(fit: &'f Fit, name: &str) -> Option<&'f Quantity> {
    fit.quantities.iter().find(|q| q.name == name && q.role == Role::Latent)
}

impl Posterior<f64> for Given<'_> {
    fn draws(&self) -> usize {
        self.places.len()
    }
    fn read(&mut self, i: usize, site: &str, out: &mut Vec<f64>) {
        let q = latent(self.fit, site).expect("compared with the model beforehand");
        out.clear();
        match &q.moments {
            Some(m) => out.extend_from_slice(&m.mean),
            None => {
                let (count, at) = (q.count(), self.places[i]);
                out.extend((at * count..(at + 1) * count).map(|e| q.data.get(e)));
            }
        }
    }
}

/// The fit to start from, when its sites are those of the model.
fn matching<'c>(bound: &BoundProgram<'_>, chosen: &'c Chosen) -> Result<Option<&'c Fit>, Failure> {
    let Some(fit) = chosen.init.as_deref() else { return Ok(None) };
    let model = chosen.program.model.as_ref().expect("chosen programs have a model");
    let mut wrong: Vec<String> = Vec::new();
    for site in &model.sites {
        let number = |s: &crate::check::size::Size| s.evaluate(&|id| Some(bound.data.sizes[id])).unwrap_or(0) as usize;
        let shape: Vec<usize> = site.ty.shape.iter().map(number).collect();
        match latent(fit, &site.name) {
            None => wrong.push(format!("it has no `{}`", site.name)),
            Some(q) if q.shape != shape => {
                wrong.push(format!("`{}` has shape {:?} there and {shape:?} here", site.name, q.shape));
            }
            Some(_) => {}
        }
    }
    let known =
        |name: &str| model.sites.iter().any(|s| s.name == name) || model.discrete.iter().any(|d| d.name == name);
    for q in fit.quantities.iter().filter(|q| q.role == Role::Latent && !known(&q.name)) {
        wrong.push(format!("it has `{}`, which the model has not", q.name));
    }
    if wrong.is_empty() {
        return Ok(Some(fit));
    }
    Err(Failure::Fit {
        message: format!("`--init` names a fit of another model: {}", wrong.join("; ")),
        help: Some("give a fit of this model and of data of the same size, or leave `--init` out".to_string()),
    })
}

/// Evenly spread places among all draws of a fit.
fn places(fit: &Fit, n: usize) -> Vec<usize> {
    let all = fit.quantities.iter().find(|q| q.has_draws()).map_or(1, |q| q.chains * q.draws);
    let n = n.min(all).max(1);
    (0..n).map(|i| i * all / n).collect()
}

/// Mean and standard deviation of the coordinates; the sites of `standard` have standard variables.
fn spread(bound: &BoundProgram<'_>, program: &Program, fit: &Fit, standard: &[SiteId]) -> Spread {
    let mut given = Given { fit, places: places(fit, DRAWS) };
    let draws = warm::coordinates(program, &bound.data, standard, &mut given);
    let mut spread = Spread::of(&draws);
    let model = program.model.as_ref().expect("chosen programs have a model");
    for (id, site) in model.sites.iter_enumerated() {
        let moments = latent(fit, &site.name).and_then(|q| q.moments.as_ref());
        let Some(moments) = moments else { continue };
        // On the real line the coordinates are the values.
        let real = site.dist.support() == crate::dist::SupportKind::Real && !standard.contains(&id);
        spread.sd[id.index()] = if real { moments.sd.clone() } else { vec![0.0; spread.mean[id.index()].len()] };
    }
    spread
}

/// What the parameters of the chosen guide start from.
pub(super) fn guide(
    bound: &BoundProgram<'_>,
    chosen: &Chosen,
    slots: &Slots,
    observer: &mut dyn Observer,
) -> Result<Option<Warm>, Failure> {
    let Some(fit) = matching(bound, chosen)? else { return Ok(None) };
    let program = &chosen.program;
    let model = program.model.as_ref().expect("chosen programs have a model");
    let guide = &program.guides[chosen.guide];
    let in_standard = |id: &SiteId| {
        guide.steps.iter().any(|step| match step {
            GuideStep::Family { family: Family::Standardized, sites, .. } => sites.contains(id),
            GuideStep::Family { family: Family::Structured, sites, .. } => {
                sites.contains(id) && is_standardized(program, model, *id)
            }
            _ => false,
        })
    };
    let standard: Vec<SiteId> = model.sites.indices().filter(in_standard).collect();
    let spread = spread(bound, program, fit, &standard);
    let same = !fit.guide.is_empty() && fit.guide == guide.name;
    let (warm, left) = warm::guide(program, guide, slots, &spread, &fit.params, same);
    if !left.is_empty() {
        observer.note(&format!("`--init` says nothing about the guide of `{}`: it starts as usual", left.join("`, `")));
    }
    Ok(Some(warm))
}

/// What a search in the coordinates of a point mass starts from; the sites of `standard` have standard variables.
pub(super) fn point(
    bound: &BoundProgram<'_>,
    chosen: &Chosen,
    slots: &Slots,
    standard: &[SiteId],
    _: &mut dyn Observer,
) -> Result<Option<Warm>, Failure> {
    let Some(fit) = matching(bound, chosen)? else { return Ok(None) };
    let program = &chosen.program;
    let spread = spread(bound, program, fit, standard);
    Ok(Some(warm::guide(program, &program.guides[chosen.guide], slots, &spread, &[], false).0))
}

/// Where the chains start: at draws that are spread evenly over those of the fit.
pub(super) fn chains(
    bound: &BoundProgram<'_>,
    chosen: &Chosen,
    standard: &[SiteId],
    n: usize,
    observer: &mut dyn Observer,
) -> Result<Vec<Vec<f64>>, Failure> {
    let Some(fit) = matching(bound, chosen)? else { return Ok(Vec::new()) };
    let mut given = Given { fit, places: places(fit, n) };
    if given.places.len() < n {
        observer.note("`--init` has fewer draws than there are chains: some start at the same point");
    }
    let draws = warm::coordinates(&chosen.program, &bound.data, standard, &mut given);
    Ok((0..n).map(|chain| draws[chain % draws.len()].concat()).collect())
}
