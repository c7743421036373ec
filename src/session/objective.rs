//! What the settings of svi ask of the chosen guide, beyond what the checker can see: refused before anything runs.

use super::{Failure, one};
use crate::check::minibatch::rows_apart;
use crate::check::settings::{EstimatorChoice, SviSettings};
use crate::check::size::{Size, SizeId};
use crate::check::typed::*;
use crate::diag::{Code, Diagnostic};
use crate::dist::{self, Reparam};
use crate::infer::gaussian;
use crate::infer::objective::Objective;
use crate::lower::estimators::{self, Estimator};
use crate::lower::params::{guide_reads, model_reads, reads_sites};
use crate::lower::{SizeValues, Slots};

/// Draws of a step where some gradients are by the score function.
const SCORE_PARTICLES: usize = 8;

/// Refuses what does not go together, and says how many draws a step takes where the settings leave that open.
pub(super) fn prepare(
    program: &Program,
    guide: usize,
    settings: &mut SviSettings,
    sizes: &SizeValues,
) -> Result<(), Failure> {
    let guide = &program.guides[guide];
    let choices = estimators::choose(program, guide, settings.estimator);
    let scored: Vec<SiteId> = choices.iter().filter(|c| c.estimator == Estimator::Score).map(|c| c.site).collect();
    let ask = Asked { program, guide, settings };
    ask.objective(&scored)?;
    ask.score(&scored)?;
    if settings.antithetic {
        ask.antithetic(&scored, &choices)?;
    }
    if settings.optimizer.is_gaussian() {
        ask.normal_families(sizes)?;
    }
    if !scored.is_empty() {
        settings.particles.get_or_insert(SCORE_PARTICLES);
    } else if settings.antithetic && settings.minibatch.is_none() {
        settings.particles.get_or_insert(2);
    }
    Ok(())
}

struct Asked<'a> {
    program: &'a Program,
    guide: &'a Guide,
    settings: &'a SviSettings,
}

impl Asked<'_> {
    fn site(&self, site: SiteId) -> &str {
        self.program.model.as_ref().map_or("", |m| &m.sites[site].name)
    }
    /// A diagnostic with the setting `name` and a step of the guide as its places.
    fn refuse(&self, name: &str, message: String, step: Option<(&GuideStep, &str)>, help: &str) -> Failure {
        let mut d = Diagnostic::new(Code::E0703, message);
        if let Some((step, why)) = step {
            d = d.label(step.span(), why);
        }
        if let Some(span) = self.settings.place(name) {
            d = d.label(span, "set here");
        }
        one(d.help(help))
    }

    /// Bounds by importance ratios: every draw has a density with a path derivative of its own.
    fn objective(&self, scored: &[SiteId]) -> Result<(), Failure> {
        let objective = self.settings.objective;
        if objective == Objective::Elbo {
            return Ok(());
        }
        let name = objective.text();
        for step in &self.guide.steps {
            let why = match step {
                GuideStep::Family {
                    family: Family::MeanField | Family::FullRank | Family::LowRank(_) | Family::Standardized,
                    ..
                } => continue,
                GuideStep::Explicit { site, .. } if !scored.contains(site) => continue,
                GuideStep::Explicit { .. } => "its draws have no derivative",
                GuideStep::Family { family: Family::Delta, .. } => "a point mass has no density",
                GuideStep::Family { .. } => "its density is not known along the path of one draw alone",
            };
            let help = "give these sites `mean_field` or `full_rank`, or write `elbo = elbo`";
            return Err(self.refuse(
                "elbo",
                format!("`elbo = {name}` does not go with this guide"),
                Some((step, why)),
                help,
            ));
        }
        let Some(model) = &self.program.model else { return Ok(()) };
        if let Some(batch) = self.settings.minibatch {
            self.bounds_of_rows(model, batch.size)?;
        }
        for (id, param) in self.program.params.iter_enumerated() {
            if !model_reads(self.program, model, id) {
                continue;
            }
            if guide_reads(self.program, self.guide, id) {
                let message = format!("`elbo = {name}`, but model and guide share `{}`", param.name);
                let help = "its two gradients have different weights: use a constant of its own in each";
                return Err(self.refuse("elbo", message, None, help));
            }
            if matches!(objective, Objective::TailAdaptive { .. }) {
                let message = format!("`elbo = {name}`, but the model has the learnable constant `{}`", param.name);
                let help = "it minimizes a divergence from a fixed posterior: write `elbo = iwae(16)`, or give the constant a prior";
                return Err(self.refuse("elbo", message, None, help));
            }
        }
        Ok(())
    }

    /// Bounds of rows: the log evidence is a sum over them, and every draw belongs to one.
    fn bounds_of_rows(&self, model: &Model, size: SizeId) -> Result<(), Failure> {
        let (program, name) = (self.program, self.settings.objective.text());
        let rows = &program.sizes[size].name;
        let first = |shape: &[Size]| shape.first().and_then(|s| s.as_name()) == Some(size);
        let refuse = |why: String, step| {
            let message = format!("`elbo = {name}` with a minibatch of `{rows}`, but {why}");
            let help = "every row needs a bound of its own: remove `minibatch`, or write `elbo = elbo`";
            Err(self.refuse("elbo", message, step, help))
        };
        if let Some(s) = model.sites.iter().find(|s| !first(&s.ty.shape)) {
            return refuse(format!("`{}` is shared by all rows", s.name), None);
        }
        if let Some(o) = model.observations.iter().find(|o| !first(&program.ty(o.value).shape)) {
            return refuse(format!("`{}` has no rows", o.name), None);
        }
        if model.steps.iter().any(|step| matches!(step, Step::Factor(_))) {
            return refuse("`factor` does not say which row it belongs to".to_string(), None);
        }
        if !rows_apart(program, size) {
            return refuse("the model does not keep rows apart".to_string(), None);
        }
        if let Some(s) =
            model.sites.iter().find(|s| s.dist.support().needs_bounds() && reads_sites(program, s.dist.args()))
        {
            return refuse(format!("the support of `{}` depends on another site", s.name), None);
        }
        for step in &self.guide.steps {
            let why = match step {
                GuideStep::Explicit { dist, .. } if reads_sites(program, dist.args()) => "it depends on another site",
                GuideStep::Family { family: Family::MeanField, .. } | GuideStep::Explicit { .. } => continue,
                GuideStep::Family { .. } => "its draws belong to all rows together",
            };
            return refuse("its guide does not draw row by row".to_string(), Some((step, why)));
        }
        Ok(())
    }

    fn score(&self, scored: &[SiteId]) -> Result<(), Failure> {
        let settings = self.settings;
        for step in &self.guide.steps {
            match step {
                GuideStep::Explicit { site, dist, .. } if !dist.is_reparameterized() => {
                    if settings.estimator == EstimatorChoice::Reparam {
                        let message =
                            format!("`estimator = reparam`, but draws of `{}` have no derivative", dist.name());
                        let help = "write `estimator = auto`, which takes the score function there";
                        let why = format!("the guide of `{}`", self.site(*site));
                        return Err(self.refuse("estimator", message, Some((step, &why)), help));
                    }
                    if settings.particles == Some(1) {
                        let message =
                            format!("draws of `{}` have no derivative: at least two a step are needed", dist.name());
                        let why = "its gradient is by the score function, each draw measured against the others";
                        return Err(self.refuse("particles", message, Some((step, why)), "write `particles = 8`"));
                    }
                }
                GuideStep::Family { family, .. } if settings.estimator == EstimatorChoice::Score => match family {
                    Family::MeanField | Family::FullRank | Family::LowRank(_) | Family::Delta => {}
                    _ => {
                        let message = "`estimator = score` does not go with this family".to_string();
                        let why = "its density is written in its noise, not in its values";
                        let help = "write `estimator = auto`, or give these sites `mean_field` or `full_rank`";
                        return Err(self.refuse("estimator", message, Some((step, why)), help));
                    }
                },
                _ => {}
            }
        }
        let mixture = |s: &&GuideStep| matches!(s, GuideStep::Family { family: Family::Mixture { .. }, .. });
        if let Some(step) = self.guide.steps.iter().find(mixture).filter(|_| !scored.is_empty()) {
            let message = format!("`mixture` does not go with the score function of `{}`", self.site(scored[0]));
            let why = "its gradient is a sum over components, that of a score measures draws of the whole guide";
            let help = "give these sites `mean_field`, or the other a distribution whose draws have derivatives";
            return Err(self.refuse("estimator", message, Some((step, why)), help));
        }
        if settings.estimator == EstimatorChoice::Score && scored.is_empty() {
            let message = "`estimator = score`, but the guide draws nothing".to_string();
            return Err(self.refuse("estimator", message, None, "remove `estimator`"));
        }
        Ok(())
    }

    /// Mirrored noise: every draw is a function of noise that has a mirror image.
    fn antithetic(&self, scored: &[SiteId], choices: &[estimators::Choice]) -> Result<(), Failure> {
        let settings = self.settings;
        for step in &self.guide.steps {
            let why = match step {
                GuideStep::Explicit { site, .. } if scored.contains(site) => "its draws have no derivative",
                GuideStep::Explicit { dist, .. } if !is_function_of_noise(dist) => {
                    "its draws are made by rejection, without a mirror image"
                }
                _ => continue,
            };
            let help = "remove `antithetic`, or use a guide such as `mean_field`";
            let message = "`antithetic` does not go with this guide".to_string();
            return Err(self.refuse("antithetic", message, Some((step, why)), help));
        }
        if let Some(choice) = choices.iter().find(|c| !matches!(c.estimator, Estimator::Shared | Estimator::Score)) {
            let message = format!(
                "`antithetic`, but the noise of `{}` is not shared by all rows ({})",
                self.site(choice.site),
                choice.estimator.name()
            );
            let help = "write `estimator = reparam` beside it, or remove `antithetic`";
            return Err(self.refuse("antithetic", message, None, help));
        }
        match settings.particles {
            Some(n) if n % 2 == 1 => {
                let message = format!("antithetic draws come in pairs, and there are {n}");
                Err(self.refuse("antithetic", message, None, "write `particles = 2`"))
            }
            _ => Ok(()),
        }
    }

    fn normal_families(&self, sizes: &SizeValues) -> Result<(), Failure> {
        let settings = self.settings;
        let slots = Slots::new(self.program, self.guide, sizes, settings.minibatch.map(|b| b.size));
        let Err(misfit) = gaussian::blocks(self.program, self.guide, &slots, settings.optimizer) else { return Ok(()) };
        let rule = settings.optimizer.name();
        let families = match settings.optimizer {
            crate::infer::optim::Rule::Natural => "`mean_field` or `full_rank`",
            _ => "`mean_field`",
        };
        let message = format!("`{rule}` steps normal families, and `{}` is in none: {}", misfit.name, misfit.why);
        Err(self.refuse(
            "optimizer",
            message,
            None,
            &format!("use {families} for all sites, or write `optimizer = adam(1e-2)`"),
        ))
    }
}

/// Whether a draw is a function of plain noise, rather than of a sampler's.
fn is_function_of_noise(d: &DistExpr) -> bool {
    match d {
        DistExpr::Row { def, .. } => matches!(dist::get(*def).rsample, Reparam::Noise(_) | Reparam::CostlyNoise(_)),
        DistExpr::Wrapped { base, .. } => is_function_of_noise(base),
        DistExpr::Mixture { .. } | DistExpr::Joined { .. } => false,
    }
}
