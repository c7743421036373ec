//! `bayesc check`: messages, and with `--explain` what the checker found out.

use super::args::{Check, Format};
use super::program;
use super::shell::{Exit, Shell, Stream, grid};
use crate::check::guides::automatic;
use crate::check::print::{dist_text, family_name, type_text};
use crate::check::settings::{Algorithm, EstimatorChoice, KlChoice, NutsSettings, Reparam as Settings};
use crate::check::typed::{DistExpr, Family, Guide, GuideStep, Model, Program, SiteId, WrapperExpr};
use crate::check::weights::input_axis;
use crate::dist::{self, Reparam, SupportKind};
use crate::infer::objective::Objective;
use crate::lower::estimators::{self, Estimator};
use crate::lower::noncentered;
use crate::source::Sources;
use anstyle::Style;
use serde_json::{Value, json};

/// Checks a program.
pub fn check(args: &Check, shell: &mut Shell) -> Result<(), Exit> {
    shell.json = args.format.format == Format::Json;
    shell.quiet = args.quiet;
    let path = args.program.path.display().to_string();
    shell.set("file", path.as_str());
    let compilation = program::compile(&args.program, shell)?;
    let program = &compilation.program;
    if args.explain {
        let explanation = Explanation::of(program, &compilation.sources);
        shell.set("explain", explanation.json());
        let text = explanation.text(&shell.out);
        return shell.print(&text);
    }
    if shell.quiet {
        return Ok(());
    }
    shell.print(&format!("{path}: ok, {}\n", contents(program)))
}

/// What the file holds, in a few words.
fn contents(program: &Program) -> String {
    let Some(model) = &program.model else { return "no model".into() };
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let name = model.name.as_ref().map_or("model".to_string(), |n| format!("model {n}"));
    format!("{name} with {} and {}", count(model.sites.len(), "site"), count(model.observations.len(), "observation"))
}

/// Tables of texts: a title, column names, rows.
struct Section {
    key: &'static str,
    title: String,
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

/// What the checker found out.
struct Explanation {
    sections: Vec<Section>,
}

impl Explanation {
    fn of(program: &Program, sources: &Sources) -> Self {
        let mut sections = vec![sizes(program), data(program)];
        if let Some(model) = &program.model {
            let default;
            let guide = match program.guides.first() {
                Some(guide) => guide,
                None => {
                    default = automatic(model, Family::MeanField, "mean_field", None);
                    &default
                }
            };
            sections.push(sites(program, model, guide));
            sections.push(estimators(program, model, guide));
            sections.push(coordinates(program, model));
            sections.push(observations(program, model));
            sections.push(discrete(program, model));
            sections.push(loops(model, sources));
            let kept = model.kept.iter().map(|k| ("model", k));
            let reported = program.generate.reported.iter().map(|k| ("generate", k));
            sections.push(Section {
                key: "reported",
                title: "also reported".into(),
                columns: &["name", "type", "from"],
                rows: kept
                    .chain(reported)
                    .map(|(from, k)| vec![k.name.clone(), type_text(program, program.ty(k.value)), from.into()])
                    .collect(),
            });
        }
        sections.retain(|s| !s.rows.is_empty());
        Self { sections }
    }

    fn text(&self, stream: &Stream) -> String {
        let mut out = String::new();
        for section in &self.sections {
            if !out.is_empty() {
                out.push('\n');
            }
            out += &stream.paint(Style::new().bold().underline(), &section.title);
            out.push('\n');
            out += &grid(section.columns, &section.rows, stream);
        }
        if out.is_empty() { "there is nothing in this program yet\n".into() } else { out }
    }

    /// One list of objects for each table; empty ones are left out.
    fn json(&self) -> Value {
        let object = |section: &Section, row: &Vec<String>| -> Value {
            section.columns.iter().map(|c| c.replace(' ', "_")).zip(row.iter().map(|t| json!(t))).collect()
        };
        let list = |s: &Section| (s.key.to_string(), s.rows.iter().map(|row| object(s, row)).collect::<Value>());
        self.sections.iter().map(list).collect()
    }
}

fn sizes(program: &Program) -> Section {
    let rows = program.sizes.iter().map(|size| {
        let value = match (&size.value, &size.labels) {
            (Some(n), _) => n.to_string(),
            (None, Some(labels)) => format!("the number of {}", crate::syntax::print::print_expr(labels)),
            (None, None) => "from the data".into(),
        };
        vec![size.name.clone(), value]
    });
    Section { key: "sizes", title: "sizes".into(), columns: &["name", "value"], rows: rows.collect() }
}

fn data(program: &Program) -> Section {
    let rows = program.data.iter().map(|datum| {
        let range =
            datum.range.as_ref().map_or(String::new(), |r| format!(" in {}", crate::syntax::print::print_expr(r)));
        let from = match &datum.default {
            Some(e) => crate::syntax::print::print_expr(e),
            None => format!("--data {}=FILE", datum.name),
        };
        vec![datum.name.clone(), format!("{}{range}", type_text(program, &datum.ty)), from]
    });
    Section { key: "data", title: "data".into(), columns: &["name", "type", "from"], rows: rows.collect() }
}

fn sites(program: &Program, model: &Model, guide: &Guide) -> Section {
    let rows = model.sites.iter_enumerated().map(|(id, site)| {
        let [posterior, gradient, kl] = stand_in(program, model, guide, id);
        vec![
            site.name.clone(),
            type_text(program, &site.ty),
            dist_text(program, &site.dist, 40),
            support(site.dist.support()).into(),
            posterior,
            gradient,
            kl,
        ]
    });
    Section {
        key: "sites",
        title: format!("sites, with guide {}", guide.name),
        columns: &["site", "type", "prior", "support", "guide", "gradient", "kl"],
        rows: rows.collect(),
    }
}

/// How the noise of each weight enters its layer under the first infer block, and why.
fn estimators(program: &Program, model: &Model, guide: &Guide) -> Section {
    let setting = program.infers.first().map_or(EstimatorChoice::Auto, |i| i.svi.estimator);
    let rows = estimators::choose(program, guide, setting)
        .into_iter()
        .filter(|c| model.sites[c.site].fan_in.is_some() || c.estimator != Estimator::Shared)
        .map(|c| vec![model.sites[c.site].name.clone(), c.estimator.name().into(), c.reason.into()]);
    Section {
        key: "estimators",
        title: "estimators".into(),
        columns: &["site", "estimator", "reason"],
        rows: rows.collect(),
    }
}

/// In which coordinates nuts moves hierarchical sites, with the settings of its first block. Without data the numbers of
/// rows are not known, so that only `auto` may still choose otherwise.
fn coordinates(program: &Program, model: &Model) -> Section {
    let default = NutsSettings::default();
    let settings = program.infers.iter().find(|i| i.algorithm == Algorithm::Nuts).map_or(&default, |i| &i.nuts);
    let rows = noncentered::choose(program, &settings.reparam, None).into_iter().map(|c| {
        let how = if c.noncentered { "noncentered" } else { "centered" };
        let unless = settings.reparam == Settings::Auto && c.noncentered;
        let reason = if unless { format!("{}, unless many data depend on each element", c.reason) } else { c.reason };
        vec![model.sites[c.site].name.clone(), how.into(), reason]
    });
    Section {
        key: "coordinates",
        title: "coordinates of hierarchical sites under nuts".into(),
        columns: &["site", "coordinates", "reason"],
        rows: rows.collect(),
    }
}

fn observations(program: &Program, model: &Model) -> Section {
    let rows = model.observations.iter().map(|o| {
        let ty = type_text(program, program.ty(o.value));
        vec![o.name.clone(), ty, dist_text(program, &o.dist, 60)]
    });
    let columns = &["observed", "type", "distribution"];
    Section { key: "observations", title: "observations".into(), columns, rows: rows.collect() }
}

/// How each discrete latent is summed out.
fn discrete(program: &Program, model: &Model) -> Section {
    let rows = model.discrete.iter_enumerated().map(|(id, latent)| {
        let how = model.marginals.iter().find(|m| m.latents.contains(&id)).map_or(String::new(), |m| m.how.clone());
        vec![latent.name.clone(), type_text(program, &latent.ty), dist_text(program, &latent.dist, 40), how]
    });
    let columns = &["latent", "type", "prior", "summed out by"];
    Section { key: "discrete", title: "discrete latents".into(), columns, rows: rows.collect() }
}

/// Which way each loop went.
fn loops(model: &Model, sources: &Sources) -> Section {
    let rows = model.loops.iter().map(|(span, how)| {
        let line = sources.file(span.file).line_column(span.start as usize).0;
        vec![sources.text(*span).split_whitespace().collect::<Vec<_>>().join(" "), line.to_string(), how.clone()]
    });
    Section { key: "loops", title: "loops".into(), columns: &["loop", "line", "how"], rows: rows.collect() }
}

/// A support in a word or two.
fn support(kind: SupportKind) -> &'static str {
    match kind {
        SupportKind::Real => "real",
        SupportKind::Positive => "positive",
        SupportKind::NonNegative => "non-negative",
        SupportKind::UnitInterval => "0..1",
        SupportKind::Interval => "interval",
        SupportKind::GreaterThan => "above a bound",
        SupportKind::LessThan => "below a bound",
        SupportKind::Simplex => "simplex",
        SupportKind::Ordered => "ordered",
        SupportKind::PositiveOrdered => "positive, ordered",
        SupportKind::UnitVector => "unit vector",
        SupportKind::SumToZero => "sum 0",
        SupportKind::Boolean => "0 or 1",
        SupportKind::Integer => "integer",
        SupportKind::Count => "count",
        SupportKind::IntegerRange => "integer range",
        SupportKind::CountVector => "counts",
        SupportKind::OneHot => "one-hot",
        SupportKind::LowerCholesky => "Cholesky factor",
        SupportKind::CorrelationCholesky => "correlation Cholesky factor",
        SupportKind::PositiveDefinite => "positive definite",
        SupportKind::Correlation => "correlation matrix",
    }
}

/// What stands for a site in the guide, how its gradient is found, and how the KL divergence from the prior.
fn stand_in(program: &Program, model: &Model, guide: &Guide, id: SiteId) -> [String; 3] {
    let [posterior, gradient, kl] = stand_in_for_elbo(program, model, guide, id);
    let Some(settings) = program.infers.first().map(|i| &i.svi) else { return [posterior, gradient, kl] };
    let estimator = estimators::choose(program, guide, settings.estimator).into_iter().find(|c| c.site == id);
    let gradient = match (settings.objective, estimator) {
        (Objective::Iwae { .. } | Objective::Renyi { .. }, _) => format!("doubly {gradient}"),
        (Objective::Elbo, Some(choice)) if choice.estimator == Estimator::Score => "score function".into(),
        _ => gradient,
    };
    let kl = if settings.objective == Objective::Elbo { kl } else { "in the log ratio".into() };
    [posterior, gradient, kl]
}
fn stand_in_for_elbo(program: &Program, model: &Model, guide: &Guide, id: SiteId) -> [String; 3] {
    let site = &model.sites[id];
    let sampled = program.infers.first().is_some_and(|i| i.svi.kl == KlChoice::MonteCarlo);
    for step in &guide.steps {
        match step {
            GuideStep::Family { family, sites, .. } if sites.contains(&id) => {
                let own = match site.dist.support() {
                    SupportKind::Real => Some(dist::DistId::NORMAL),
                    SupportKind::Positive | SupportKind::NonNegative => Some(dist::DistId::LOG_NORMAL),
                    _ => None,
                };
                let single = matches!(family, Family::MeanField | Family::Structured | Family::Standardized);
                let closed = single && own.is_some_and(|q| has_closed_kl(q, &site.dist));
                let gradient = match family {
                    Family::MeanField
                    | Family::FullRank
                    | Family::LowRank(_)
                    | Family::Structured
                    | Family::Standardized
                    | Family::Flow(_) => "reparameterized",
                    Family::Mixture { .. } => "reparameterized, summed over components",
                    Family::Dropout(_) if input_axis(program, model, id).is_some() => "masks of inputs",
                    Family::Delta | Family::Dropout(_) => "exact",
                    Family::Laplace => "not needed",
                    Family::Later(_) => "not built yet",
                };
                let kl = match family {
                    Family::Delta | Family::Laplace | Family::Later(_) => "",
                    Family::Dropout(_) => "log prior",
                    _ if closed && !sampled => "closed form",
                    _ => "Monte Carlo",
                };
                return [family_name(*family).into(), gradient.into(), kl.into()];
            }
            GuideStep::Explicit { site: s, dist, .. } if *s == id => {
                let (gradient, closed) = match dist {
                    DistExpr::Row { def, .. } => {
                        let gradient = match dist::get(*def).rsample {
                            Reparam::Noise(_) | Reparam::CostlyNoise(_) => "reparameterized",
                            Reparam::Implicit(_) => "implicit reparameterization",
                            Reparam::None => "score function",
                        };
                        (gradient, has_closed_kl(*def, &site.dist))
                    }
                    DistExpr::Wrapped { wrapper: WrapperExpr::Truncated { .. }, .. } => {
                        ("implicit reparameterization", false)
                    }
                    DistExpr::Wrapped { .. } if dist.is_reparameterized() => ("reparameterized", false),
                    DistExpr::Mixture { .. } | DistExpr::Joined { .. } | DistExpr::Wrapped { .. } => {
                        ("score function", false)
                    }
                };
                let kl = if closed && !sampled { "closed form" } else { "Monte Carlo" };
                return [dist_text(program, dist, 24), gradient.into(), kl.into()];
            }
            _ => {}
        }
    }
    Default::default()
}

/// Whether KL(guide || prior) is in the table of the guide's distribution.
fn has_closed_kl(guide: dist::DistId, prior: &DistExpr) -> bool {
    match prior {
        DistExpr::Row { def, .. } => dist::get(guide).kl.iter().any(|(other, _)| other == def),
        DistExpr::Mixture { .. } | DistExpr::Joined { .. } | DistExpr::Wrapped { .. } => false,
    }
}
