//! A fit judged by NUTS: its program again under `infer nuts`, on the data that it was made from.
//!
//! In: a [`Fit`] with its inputs.   Out: an [`Audit`] and the fit by nuts that it was judged by. The program is that which the
//! fit keeps; the data are read again, and must be the same.

use super::bind::bind;
use super::reload::{inputs_of, recompile, recompile_as, restore, unusable};
use super::{BoundProgram, Failure, Observer, RunOptions, one, run};
use crate::check::settings::Algorithm;
use crate::data::{DataArgument, Files, Values};
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::driver::Compilation;
use crate::report::audit::{Audit, judge};
use crate::report::fit::{Fit, NamedTensor};

/// How the reference is drawn.
#[derive(Clone, Debug, Default)]
pub struct AuditOptions {
    /// `--infer`: the `infer nuts` block whose settings count; the first of the program, if it has one, when not given.
    pub infer: Option<String>,
    /// `--set chains=8`
    pub settings: Vec<(String, String)>,
    /// `--seed N`
    pub seed: Option<u64>,
    /// `--max-memory`: what the sampler may need at most [bytes].
    pub max_memory: Option<u64>,
}

/// The program of a fit, to be run by nuts: what `evaluate` and `expect` ask for is left out. It has errors where the settings
/// are wrong.
///
/// # Errors
/// [`Failure::Fit`] when the fit does not keep its program, a diagnostic when `--infer` names something else than nuts.
pub fn recompile_for_audit(fit: &Fit, options: &AuditOptions) -> Result<Compilation, Failure> {
    let plain = recompile(fit)?;
    let blocks = || plain.program.infers.iter().filter(|i| i.written);
    let name = match &options.infer {
        Some(wanted) => match blocks().find(|i| i.name == *wanted) {
            Some(block) if block.algorithm == Algorithm::Nuts => wanted.clone(),
            None if wanted == Algorithm::Nuts.name() => wanted.clone(),
            found => {
                let what = match found {
                    Some(block) => format!("`{wanted}` is an infer block of {}", block.algorithm.name()),
                    None => format!("the program of the fit has no infer block called `{wanted}`"),
                };
                return Err(one(Diagnostic::new(Code::E0707, format!("{what}, and nuts is what judges"))
                    .help("name an `infer nuts` block, or leave `--infer` out")));
            }
        },
        None => {
            let own = blocks().find(|i| i.algorithm == Algorithm::Nuts);
            own.map_or(Algorithm::Nuts.name(), |i| i.name.as_str()).to_string()
        }
    };
    let mut compilation = recompile_as(fit, Some(name), &options.settings)?;
    compilation.program.evaluate.clear();
    compilation.program.expects.clear();
    Ok(compilation)
}

/// Binds the data that the fit was made from: read again as its program says or as `arguments` give them. Where a file is
/// gone and nothing is given, small data are those that the fit keeps. Also says what the user should know.
///
/// # Errors
/// Diagnostics of the data, E0918 where they are not those of the fit.
pub fn bind_same<'c>(
    compilation: &'c Compilation,
    fit: &Fit,
    files: &mut Files,
    arguments: &[DataArgument],
) -> Result<(BoundProgram<'c>, Vec<String>), Failure> {
    match bind(compilation, files, arguments) {
        Ok(bound) => {
            check_data(&bound, fit)?;
            Ok((bound, Vec::new()))
        }
        Err(Failure::Diagnostics(diags)) => {
            let kept = inputs_of(fit)?.data.iter().all(|d| d.kept);
            let gone = |d: &Diagnostic| matches!(d.code, Code::E0901 | Code::E0914);
            if !arguments.is_empty() || !diags.iter().all(gone) {
                return Err(Failure::Diagnostics(diags));
            }
            if kept {
                let note = "the data cannot be read again: those that the fit keeps are taken".to_string();
                return Ok((restore(compilation, fit)?, vec![note]));
            }
            let mut hinted = Diagnostics::new();
            for d in diags.iter() {
                hinted.push(
                    d.clone().note("nuts needs the data that the fit was made from, and large ones are not kept"),
                );
            }
            Err(Failure::Diagnostics(hinted))
        }
        Err(other) => Err(other),
    }
}

/// Whether the data are those of the fit: their shapes, the numbers that it keeps, and the fingerprints of the files where it
/// keeps none.
fn check_data(bound: &BoundProgram<'_>, fit: &Fit) -> Result<(), Failure> {
    let inputs = inputs_of(fit)?;
    let mut diags = Diagnostics::new();
    let mut large = Vec::new();
    for (id, d) in bound.program.data.iter_enumerated() {
        let (Some(now), Some(before)) = (&bound.data.values[id], inputs.data.iter().find(|b| b.name == d.name)) else {
            continue;
        };
        let kept = inputs.values.iter().find(|v| v.name == d.name);
        let how = if now.shape() != before.shape {
            Some(format!("it has shape {:?} now, and had {:?} then", now.shape(), before.shape))
        } else {
            kept.and_then(|kept| first_difference(now, kept))
        };
        if let Some(how) = how {
            diags.push(
                Diagnostic::new(Code::E0918, format!("`{}` is not what the fit was made from", d.name))
                    .label(d.span, how)
                    .help(help(&d.name, fit)),
            );
        } else if kept.is_none() {
            large.push(d);
        }
    }
    if let (false, Some(d)) = (diags.has_errors(), large.first()) {
        let changed = bound.fingerprints().into_iter().find(|f| !fit.data.iter().any(|before| before.hash == f.hash));
        if let Some(file) = changed {
            let same_place = fit.data.iter().any(|before| before.source == file.source);
            let message = match same_place {
                true => format!("`{}` has changed since the fit was made", file.source),
                false => format!("`{}` is not a file that the fit was made from", file.source),
            };
            diags.push(
                Diagnostic::new(Code::E0918, message)
                    .label(d.span, "its numbers are too many to be kept in the fit: the file must be the same")
                    .help(help(&d.name, fit)),
            );
        }
    }
    if diags.has_errors() { Err(Failure::Diagnostics(diags)) } else { Ok(()) }
}

fn help(name: &str, fit: &Fit) -> String {
    format!("give the data of the fit, `--data {name}=FILE`, or fit these: `bayesc run {}`", fit.model.path)
}

/// The first number that is another one, in words.
fn first_difference(now: &Values, kept: &NamedTensor) -> Option<String> {
    let now = now.to_vec();
    let at = now.iter().zip(&kept.data).position(|(a, b)| a != b && !(a.is_nan() && b.is_nan()))?;
    let count = now.iter().zip(&kept.data).filter(|(a, b)| a != b).count();
    let mut rest = at;
    let mut place: Vec<String> = Vec::new();
    for &extent in kept.shape.iter().rev() {
        place.insert(0, (rest % extent).to_string());
        rest /= extent;
    }
    let place = if place.is_empty() { "it".to_string() } else { format!("element [{}]", place.join(", ")) };
    let more = match count {
        1 => String::new(),
        n => format!(", and {} more differ", n - 1),
    };
    Some(format!("{place} is {} now, and was {} then{more}", now[at], kept.data[at]))
}

/// Draws from the posterior by nuts and judges the fit by these draws.
///
/// # Errors
/// What nuts refuses or fails at.
pub fn audit(
    bound: &BoundProgram<'_>,
    fit: &Fit,
    options: &AuditOptions,
    observer: &mut dyn Observer,
) -> Result<(Audit, Fit), Failure> {
    if fit.quantities.is_empty() {
        return Err(unusable(
            "the fit has no draws to judge",
            format!("fit it again: `bayesc run {}`", fit.model.path),
        ));
    }
    let run_options = RunOptions {
        infer: bound.compilation.options.infer.clone(),
        // A fit by nuts would otherwise be compared with its own draws.
        seed: options.seed.or((fit.algorithm == "nuts").then(|| fit.seed.wrapping_add(1))),
        all: true,
        max_memory: options.max_memory,
        ..RunOptions::default()
    };
    let reference = run(bound, &run_options, observer)?;
    Ok((judge(fit, &reference), reference))
}
