//! `bayesc audit`: NUTS on the same density judges a fit.

use super::args::{Audit, SummaryFormat};
use super::progress::Progress;
use super::shell::{Exit, Shell};
use super::{fits, interrupt, program};
use crate::data::Files;
use crate::kernels::threads;
use crate::report::audit::Level;
use crate::report::store;
use crate::report::summary::Summary;
use crate::report::table::TableOptions;
use crate::session::{self, AuditOptions};

/// From so many latent numbers on a note tells what nuts has to do.
const MANY: usize = 10_000;

/// Loads, binds, samples, judges.
pub fn audit(args: &Audit, shell: &mut Shell) -> Result<(), Exit> {
    shell.json = args.format == SummaryFormat::Json;
    shell.quiet = args.quiet;
    if let Some(n) = args.threads {
        threads::set_threads(n);
    }
    let options = AuditOptions {
        infer: args.infer.clone(),
        settings: settings(args, shell)?,
        seed: args.seed,
        max_memory: args.max_memory,
    };
    if let Some(out) = &args.out {
        store::check_target(out).map_err(|e| shell.fail(Exit::Data, e.to_string()))?;
    }
    let fit = fits::load(&args.fit, shell)?;
    if fit.interrupted() {
        shell.warn("the fit was interrupted: it is judged as it was when it stopped");
    }
    let none = crate::source::Sources::default();
    let compilation =
        session::recompile_for_audit(&fit, &options).map_err(|failure| program::failed(failure, &none, shell))?;
    if compilation.diags.has_errors() {
        shell.report(&compilation.diags, &compilation.sources);
        return Err(Exit::of(&compilation.diags));
    }
    let sources = &compilation.sources;
    let (bound, notes) = session::bind_same(&compilation, &fit, &mut Files::new(), &args.data.data)
        .map_err(|failure| program::failed(failure, sources, shell))?;
    notes.iter().for_each(|note| shell.note(note));
    let latent = fit.quantities.iter().filter(|q| q.role == crate::report::Role::Latent);
    let numbers: usize = latent.map(|q| q.count()).sum();
    if numbers >= MANY {
        shell.warn(&format!(
            "nuts has to draw {numbers} numbers, each time by up to 1023 gradients over all data: it may take hours, and \
             weights of a network, which can change places, never agree between chains; Ctrl-C ends it"
        ));
    }
    interrupt::listen();
    let mut progress =
        Progress::new(shell, false, false).ending("stopping here; nothing is judged (Ctrl-C again kills)");
    let result = session::audit(&bound, &fit, &options, &mut progress);
    progress.finish();
    let (audit, reference) = result.map_err(|failure| program::failed(failure, sources, shell))?;
    let place = args.fit.display().to_string();
    shell.set("fit", place.as_str());
    shell.set("audit", audit.json());
    match args.format {
        SummaryFormat::Table if args.quiet => {}
        SummaryFormat::Table => {
            let options = TableOptions { all: args.all, fit_dir: Some(place), ..shell.table_options() };
            shell.print(&audit.text(&options))?;
        }
        SummaryFormat::Csv => shell.print(&audit.csv())?,
        SummaryFormat::Json => {}
    }
    if let Some(out) = &args.out {
        store::save(&reference, &Summary::of(&reference, false), out, &[])
            .map_err(|e| shell.fail(Exit::Data, e.to_string()))?;
        shell.note(&format!("the fit by nuts is in `{}`", out.display()));
    }
    if reference.interrupted() {
        return Err(Exit::Interrupted);
    }
    let told = args.format == SummaryFormat::Table && !args.quiet;
    if !told && audit.verdict() != Some(Level::Close) {
        shell.warn(&format!("{}: {}", audit.verdict_name(), audit.sentence()));
    }
    Ok(())
}

/// All settings of nuts that the command line gives, each once.
fn settings(args: &Audit, shell: &mut Shell) -> Result<Vec<(String, String)>, Exit> {
    let own = [("chains", &args.chains), ("warmup", &args.warmup), ("draws", &args.draws)];
    let own = own.into_iter().filter_map(|(name, value)| Some((name.to_string(), value.clone()?)));
    let all: Vec<(String, String)> = own.chain(args.settings.iter().cloned()).collect();
    let twice = (1..all.len()).find(|&i| all[..i].iter().any(|(name, _)| *name == all[i].0));
    match twice {
        Some(i) => Err(shell.fail(Exit::CommandLine, format!("the setting `{}` is given twice", all[i].0))),
        None => Ok(all),
    }
}
