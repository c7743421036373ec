//! `bayesc predict`: what a fit says of new data.

use super::args::{Predict, SummaryFormat};
use super::shell::{Exit, Shell};
use super::{fits, interrupt, program};
use crate::data::Files;
use crate::infer::predict::Part;
use crate::kernels::threads;
use crate::report::fit::{LARGE, Precision};
use crate::report::predictions::{Csv, Shown};
use crate::report::store::{self, Growing, GrowingDraws, StoreError};
use crate::session::{self, Output, PredictOptions};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Elements of each name in the table.
const ROWS: usize = 10;

/// Where predictions go besides stdout.
enum Target {
    Csv(PathBuf),
    Json(PathBuf),
    Draws(PathBuf),
}

/// Loads, binds, predicts, shows.
pub fn predict(args: &Predict, shell: &mut Shell) -> Result<(), Exit> {
    shell.json = args.format == SummaryFormat::Json;
    shell.quiet = args.quiet;
    if let Some(n) = args.threads {
        threads::set_threads(n);
    }
    let target = match &args.out {
        None => Target::Draws(args.fit.join(store::PREDICTIVE)),
        Some(path) => match path.extension().and_then(|e| e.to_str()) {
            Some("csv") => Target::Csv(path.clone()),
            Some("json") => Target::Json(path.clone()),
            Some("safetensors") => Target::Draws(path.clone()),
            _ => {
                let message = format!("the name of `{}` does not tell what to write", path.display());
                let help = "end it in .csv or .json for predictions, in .safetensors for draws";
                return Err(shell.fail_with_help(Exit::CommandLine, message, Some(help)));
            }
        },
    };
    let fit = fits::load(&args.fit, shell)?;
    let none = crate::source::Sources::default();
    let compilation = session::recompile(&fit).map_err(|failure| program::failed(failure, &none, shell))?;
    let sources = &compilation.sources;
    let restored = session::restore(&compilation, &fit).map_err(|failure| program::failed(failure, sources, shell))?;
    let new = session::bind_new(&restored, &mut Files::new(), &args.data.data, args.prepared)
        .map_err(|failure| program::failed(failure, sources, shell))?;
    let keep = match (&target, args.format) {
        (Target::Json(_), _) => usize::MAX,
        (_, SummaryFormat::Json) if args.all => usize::MAX,
        (_, SummaryFormat::Json) => LARGE,
        _ => ROWS,
    };
    if fit.interrupted() {
        shell.warn("the fit was interrupted: its predictions are those of an unfinished posterior");
    }
    let options = PredictOptions { draws: args.draws, keep };
    interrupt::listen();
    let to_stdout = args.format == SummaryFormat::Csv;
    let mut writing = Writing {
        target: &target,
        precision: fit.precision,
        shell,
        to_stdout,
        csv: None,
        open: Open::Nothing,
        failed: None,
    };
    let result = session::predict(&restored, &fit, &new, options, &mut writing);
    let Writing { open, failed, .. } = writing;
    if let Some(failed) = failed {
        return Err(failed.exit(shell));
    }
    let predictions = result.map_err(|failure| program::failed(failure, sources, shell))?;
    if predictions.stopped {
        return Err(shell.fail(Exit::Interrupted, "stopped: nothing is written"));
    }
    let document = predictions.json();
    let finished = match (open, &target) {
        (Open::Csv(file), _) => file.finish(),
        (Open::Draws(file), _) => file.finish(),
        (Open::Nothing, Target::Json(path)) => {
            let text = serde_json::to_string_pretty(&document).expect("JSON values always print") + "\n";
            store::write_atomic(path, text.as_bytes())
        }
        (Open::Nothing, _) => Ok(()),
    };
    let (Target::Csv(place) | Target::Json(place) | Target::Draws(place)) = &target;
    shell.set("fit", args.fit.display().to_string());
    shell.set("out", place.display().to_string());
    shell.set("predict", document);
    for note in &predictions.notes {
        shell.note(note);
    }
    if args.format == SummaryFormat::Table && !args.quiet {
        shell.print(&predictions.table(ROWS))?;
    }
    finished.map_err(|e| shell.fail(Exit::Data, e.to_string()))?;
    let what = if matches!(target, Target::Draws(_)) { "the draws are" } else { "the predictions are" };
    shell.note(&format!("{what} in `{}`", place.display()));
    Ok(())
}

/// The file that is being written.
enum Open {
    Nothing,
    Csv(Growing),
    Draws(GrowingDraws),
}

/// Why writing ended.
enum Failed {
    Store(StoreError),
    Stdout(Exit),
}

impl Failed {
    fn exit(self, shell: &mut Shell) -> Exit {
        match self {
            Failed::Store(error) => shell.fail(Exit::Data, error.to_string()),
            Failed::Stdout(exit) => exit,
        }
    }
}

struct Writing<'w> {
    target: &'w Target,
    precision: Precision,
    shell: &'w mut Shell,
    to_stdout: bool,
    csv: Option<Csv>,
    open: Open,
    failed: Option<Failed>,
}

impl Writing<'_> {
    fn open(&self, path: &Path, shown: &[Shown], draws: usize) -> Result<Open, StoreError> {
        match self.target {
            Target::Json(_) => Ok(Open::Nothing),
            Target::Csv(_) => {
                let mut file = Growing::create(path)?;
                file.write(self.csv.as_ref().expect("made for these").heading().as_bytes())?;
                Ok(Open::Csv(file))
            }
            Target::Draws(_) => {
                let names: Vec<(String, Vec<usize>)> =
                    shown.iter().map(|s| (s.target.name.clone(), s.target.shape.clone())).collect();
                Ok(Open::Draws(GrowingDraws::create(path, &names, draws, self.precision)?))
            }
        }
    }
    fn write(&mut self, which: usize, shown: &Shown, part: &Part<'_>) -> Result<(), Failed> {
        let csv = self.csv.as_ref().expect("begun");
        let mut text = String::new();
        if self.to_stdout || matches!(self.open, Open::Csv(_)) {
            csv.lines(shown, part, &mut text);
        }
        match &mut self.open {
            Open::Nothing => {}
            Open::Csv(file) => file.write(text.as_bytes()).map_err(Failed::Store)?,
            Open::Draws(file) => {
                let elements = match part.said {
                    crate::infer::predict::Said::Numbers(said) => said.len(),
                    crate::infer::predict::Said::Classes(rows) => rows.entropy.len(),
                };
                file.part(which, part.first, elements, part.draws).map_err(Failed::Store)?;
            }
        }
        if self.to_stdout { self.shell.print(&text).map_err(Failed::Stdout) } else { Ok(()) }
    }
    fn flow(&mut self, result: Result<(), Failed>) -> ControlFlow<()> {
        match result {
            Ok(()) if interrupt::requested() => ControlFlow::Break(()),
            Ok(()) => ControlFlow::Continue(()),
            Err(failed) => {
                self.failed = Some(failed);
                ControlFlow::Break(())
            }
        }
    }
}

impl Output for Writing<'_> {
    fn begin(&mut self, shown: &[Shown], draws: usize) -> ControlFlow<()> {
        let csv = Csv::new(shown);
        let heading = csv.heading();
        self.csv = Some(csv);
        let (Target::Csv(path) | Target::Json(path) | Target::Draws(path)) = self.target;
        let opened = self.open(path, shown, draws).map_err(Failed::Store);
        let printed = if self.to_stdout { self.shell.print(&heading).map_err(Failed::Stdout) } else { Ok(()) };
        let result = opened.and_then(|open| {
            self.open = open;
            printed
        });
        self.flow(result)
    }
    fn part(&mut self, shown: &Shown, part: &Part<'_>) -> ControlFlow<()> {
        let result = self.write(part.target, shown, part);
        self.flow(result)
    }
}
