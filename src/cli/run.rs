//! `bayesc run`: the main job.

use super::args::{Format, Run};
use super::progress::{Progress, seconds};
use super::shell::{Exit, Shell};
use super::{fits, interrupt, program};
use crate::data::Files;
use crate::driver::Compilation;
use crate::kernels::{ceilings, threads};
use crate::report::fit::Precision;
use crate::report::profile::{self, ProfileReport};
use crate::report::summary::Summary;
use crate::report::table::{self, TableOptions};
use crate::report::{Fit, store};
use crate::session::{self, Phase, Profile, RunOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Checks, binds, fits, saves, shows.
pub fn run(args: &Run, shell: &mut Shell) -> Result<(), Exit> {
    shell.json = args.format.format == Format::Json;
    shell.quiet = args.quiet;
    if let Some(n) = args.threads {
        threads::set_threads(n);
    }
    let compilation = program::compile_for(&args.program, args.infer.as_deref(), shell)?;
    let out = args.out.clone().unwrap_or_else(|| beside(&args.program.path));
    store::check_target(&out).map_err(|e| shell.fail(Exit::Data, e.to_string()))?;

    let began = seconds();
    let bound = session::bind(&compilation, &mut Files::new(), &args.data.data)
        .map_err(|failure| program::failed(failure, &compilation.sources, shell))?;
    if args.verbose {
        for file in bound.fingerprints() {
            shell.note(&format!("read `{}` (sha256 {})", file.source, file.hash.get(..12).unwrap_or(&file.hash)));
        }
        shell.note(&format!("{} threads", threads::count()));
    }
    let mut options = RunOptions {
        infer: args.infer.clone(),
        guide: args.guide.clone(),
        seed: args.seed,
        precision: args.precision.map(Into::into),
        all: args.all,
        max_memory: args.max_memory,
        init: match &args.init {
            Some(path) => Some(Arc::new(fits::load(path, shell)?)),
            None => None,
        },
        resume: None,
    };
    if args.resume {
        let fit = store::load(&out).map_err(|e| {
            let help = "an interrupted `bayesc run` leaves a fit to go on with";
            shell.fail_with_help(Exit::Data, e.to_string(), Some(help))
        })?;
        let state = session::check_same(&bound, &options, &fit)
            .map_err(|failure| program::failed(failure, &compilation.sources, shell))?;
        options.resume = Some(state);
    }
    interrupt::listen();
    let data_secs = seconds() - began;
    let mut progress = Progress::new(shell, args.verbose, args.profile);
    let result = session::run(&bound, &options, &mut progress);
    let mut profile = progress.finish();
    let fit = result.map_err(|failure| program::failed(failure, &compilation.sources, shell))?;
    deliver(&fit, &out, args.out.is_none(), shell, profile.as_mut())?;
    if let Some(mut profile) = profile {
        profile.add(Phase::Parse, compilation.secs[0]);
        profile.add(Phase::Check, compilation.secs[1]);
        profile.add(Phase::Data, data_secs);
        show_profile(profile, seconds(), &fit, &compilation, shell)?;
    }
    if fit.checkpoint.is_some() {
        shell.note("`--resume` goes on from there");
    }
    if fit.interrupted() { Err(Exit::Interrupted) } else { expected(&fit, shell) }
}

/// Ends with an error when a line of `expect` does not hold; the table has said why, where there is one.
fn expected(fit: &Fit, shell: &mut Shell) -> Result<(), Exit> {
    let (all, broken) = (fit.expect.len(), fit.broken().count());
    if broken == 0 {
        return Ok(());
    }
    if shell.quiet || shell.json {
        for e in fit.broken() {
            shell.warn(&format!("broken: `{}`: {}", e.text, e.message.as_deref().unwrap_or_default()));
        }
    }
    let message = match all {
        1 => "the fit is not as `expect` says".to_string(),
        _ => format!("the fit is not as `expect` says: {broken} of {all} lines do not hold"),
    };
    Err(shell.fail(Exit::Expectation, message))
}

/// Shows where the time went; `wall` is all of it.
fn show_profile(profile: Profile, wall: f64, fit: &Fit, of: &Compilation, shell: &mut Shell) -> Result<(), Exit> {
    let ceilings = match fit.precision {
        Precision::F32 => ceilings::measure::<f32>(seconds),
        Precision::F64 => ceilings::measure::<f64>(seconds),
    };
    let root = of.modules.get(of.modules.root()).file;
    let report = ProfileReport::new(&profile, wall, ceilings, fit.precision, &of.sources, root);
    shell.set("profile", report.json());
    if shell.quiet {
        return Ok(());
    }
    let options = shell.table_options();
    shell.print(&format!("\n{}", profile::render(&report, &options)))
}

/// Saves a fit and shows it.
fn deliver(
    fit: &Fit,
    out: &Path,
    say_where: bool,
    shell: &mut Shell,
    profile: Option<&mut Profile>,
) -> Result<(), Exit> {
    let began = seconds();
    let summary = Summary::of(fit, false);
    let summarized = seconds();
    let saved = store::save(fit, &summary, out, &[]);
    if let Some(profile) = profile {
        profile.add(Phase::Summary, summarized - began);
        profile.add(Phase::Save, seconds() - summarized);
    }
    let place = out.display().to_string();
    shell.set("fit", place.as_str());
    shell.set("summary", summary.json(fit));
    if shell.quiet {
        fit.warnings.iter().for_each(|w| shell.warn(w));
    } else {
        let options = TableOptions { fit_dir: saved.is_ok().then(|| place.clone()), ..shell.table_options() };
        shell.print(&table::render(fit, &summary, &options))?;
    }
    // What has been computed is shown even when it cannot be saved.
    saved.map_err(|e| shell.fail(Exit::Data, e.to_string()))?;
    if say_where {
        shell.note(&format!("the fit is in `{place}`"));
    }
    Ok(())
}

/// `MODEL.fit` beside `MODEL.bayes`.
fn beside(model: &Path) -> PathBuf {
    let mut name = model.file_stem().unwrap_or_default().to_os_string();
    name.push(".fit");
    model.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_lie_beside_their_models() {
        assert_eq!(beside(Path::new("a/golf.bayes")), Path::new("a/golf.fit"));
        assert_eq!(beside(Path::new("golf.v2.bayes")), Path::new("golf.v2.fit"));
        assert_eq!(beside(Path::new("golf")), Path::new("golf.fit"));
    }
}
