//! Whether an interrupted fit can go on: only as the very run that was interrupted.

use super::{BoundProgram, Failure, RunOptions, choose};
use crate::check::settings::Algorithm;
use crate::infer::Checkpoint;
use crate::report::fit::Fit;

/// The state of an interrupted fit, when `bound` and `options` are what it was begun with.
///
/// # Errors
/// [`Failure::Fit`], which names what has changed, or says why there is nothing to go on with.
pub fn check_same(bound: &BoundProgram<'_>, options: &RunOptions, fit: &Fit) -> Result<Checkpoint, Failure> {
    let chosen = choose(bound, options)?;
    let refuse = |message: String, help: &str| Err(Failure::Fit { message, help: Some(help.to_string()) });
    let Some(inputs) = &fit.inputs else {
        return refuse("an earlier version of bayesc wrote the fit, which it cannot go on with".into(), BEGIN);
    };
    let now = super::reload::inputs(bound, options, &chosen.infer.name);
    let mut changed: Vec<String> = Vec::new();
    let mut see = |what: &str, before: &str, after: &str| {
        if before != after {
            changed.push(match (before, after) {
                ("", after) => format!("{what} is {after} now and was not given before"),
                (before, "") => format!("{what} was {before} and is not given now"),
                _ => format!("{what} was {before} and is {after} now"),
            });
        }
    };
    see("the algorithm", &inputs.infer, &now.infer);
    let seed = match chosen.infer.algorithm {
        Algorithm::Nuts => chosen.infer.nuts.seed,
        Algorithm::Map | Algorithm::Laplace | Algorithm::Pathfinder => chosen.infer.mode.seed,
        _ => chosen.infer.svi.seed,
    };
    see("the seed", &fit.seed.to_string(), &seed.to_string());
    see("the precision", fit.precision.name(), chosen.precision.name());
    let empty = String::new();
    let option = |o: &Option<String>| o.clone().unwrap_or_default();
    see("`--guide`", &option(&inputs.guide_option), &option(&now.guide_option));
    see("`--init`", &option(&inputs.init), &option(&now.init));
    for (name, _) in inputs.set.iter().chain(&now.set) {
        let of = |list: &[(String, String)]| list.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        see(&format!("`--set {name}`"), &option(&of(&inputs.set)), &option(&of(&now.set)));
    }
    for s in &now.sizes {
        let before = inputs.sizes.iter().find(|b| b.name == s.name).map_or(empty.clone(), |b| b.value.to_string());
        see(&format!("the size `{}`", s.name), &before, &s.value.to_string());
    }
    let name = bound.program.model.as_ref().and_then(|m| m.name.clone());
    see("the model", &option(&fit.model.name), &option(&name));
    if fit.model.text != super::model_source(bound).text {
        changed.push(format!("the program `{}` is not the same text", fit.model.path));
    }
    for module in &now.modules {
        if inputs.modules.iter().find(|m| m.path == module.path).is_none_or(|m| m.text != module.text) {
            changed.push(format!("`{}` is not the same text", module.path));
        }
    }
    let files = bound.fingerprints();
    for (before, after) in fit.data.iter().zip(&files) {
        if before.hash != after.hash {
            changed.push(match before.source == after.source {
                true => format!("the data in `{}` are not the same", after.source),
                false => format!("the data are those of `{}` instead of `{}`", after.source, before.source),
            });
        }
    }
    if fit.data.len() != files.len() {
        changed.push(format!("{} files of data were read, and {} now", fit.data.len(), files.len()));
    }
    changed.dedup();
    if !changed.is_empty() {
        let message = format!("the fit cannot go on, as it was begun with something else: {}", changed.join("; "));
        return refuse(message, "give what it was begun with, or begin anew without `--resume`");
    }
    if !fit.interrupted() {
        return refuse("the fit is complete: there is nothing to go on with".into(), BEGIN);
    }
    match &fit.checkpoint {
        Some(arrays) => Ok(Checkpoint { arrays: arrays.clone() }),
        None => refuse(format!("{} keeps no state to go on from", fit.algorithm), BEGIN),
    }
}

const BEGIN: &str = "begin anew, without `--resume`";
