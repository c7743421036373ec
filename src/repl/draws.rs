//! Prior draws, fits, and the quantities that plots and summaries are made of.
//!
//! The only file here that asks `session.rs` for numbers.

use super::commands::Trouble;
use super::state::{Assembled, Checked, Key, Piece, Probe};
use super::{Repl, errors};
use crate::check::typed::{ExprId, ExprKind, Program as Typed};
use crate::diag::Diagnostics;
use crate::driver::Compilation;
use crate::report::{Fit, Quantity};
use crate::session::{self, BoundProgram, Failure, Observer, RunOptions, Sampling, Status};
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What plots and summaries show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// Draws before any data.
    Prior,
    /// Draws of the last fit.
    Posterior,
}

/// The last fit.
pub struct Fitted {
    /// The fit.
    pub fit: Fit,
    /// Whether the program has changed since.
    pub stale: bool,
}

/// How long the last of each took.
#[derive(Clone, Copy, Default, Debug)]
pub struct Timings {
    /// Text to checked program.
    pub compile: Option<Duration>,
    /// Reading and checking data.
    pub bind: Option<Duration>,
    /// Prior draws.
    pub prior: Option<Duration>,
    /// A fit.
    pub fit: Option<Duration>,
}

/// What Ctrl-C does while no line is edited: it stops a fit, and otherwise the process.
#[derive(Clone, Default)]
pub struct Interrupt {
    fitting: Arc<AtomicBool>,
    asked: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens for Ctrl-C. At a terminal it must come twice to end the process.
    pub fn listen(&self, interactive: bool) {
        let this = self.clone();
        // It fails when somebody listens already; Ctrl-C then does what they decided.
        let _ = ctrlc::set_handler(move || {
            let again = this.asked.swap(true, Ordering::SeqCst);
            let stops_fit = this.fitting.load(Ordering::SeqCst) && !again;
            if !stops_fit && (again || !interactive) {
                std::process::exit(130);
            }
        });
    }
}

impl Repl<'_> {
    /// Compiles the program with `probe`, binds its data, and hands both on; with `simulate` observed data may be missing.
    fn with_bound<T>(
        &mut self,
        probe: Option<&Probe>,
        simulate: bool,
        action: impl FnOnce(&mut Self, &BoundProgram<'_>, &Compilation) -> Result<T, Failure>,
    ) -> Result<T, Trouble> {
        let begun = Instant::now();
        let (assembled, compilation) = self.checked.program.compile(probe);
        self.timings.compile = Some(begun.elapsed());
        if compilation.diags.has_errors() {
            return Err(trouble(&errors(&compilation.diags), &assembled, &compilation));
        }
        self.interrupt.asked.store(false, Ordering::SeqCst);
        let begun = Instant::now();
        let bound = session::bind_with(&compilation, &mut self.files, &[], simulate);
        self.timings.bind = Some(begun.elapsed());
        let result = bound.and_then(|bound| action(self, &bound, &compilation));
        result.map_err(|failure| match failure {
            Failure::Diagnostics(diags) => trouble(&diags, &assembled, &compilation),
            Failure::Fit { message, .. } => unreachable!("no fit is loaded here: {message}"),
            Failure::Run(error) => {
                let mut diags = Diagnostics::new();
                diags.push(error.diagnostic());
                trouble(&diags, &assembled, &compilation)
            }
        })
    }

    /// The draws of a value or a distribution that is not in the program, and whether it is random at all. What is not
    /// has one draw.
    pub fn probe(&mut self, probe: &Probe) -> Result<(Quantity, bool), Trouble> {
        let probe = &self.drawable(probe.clone());
        let name = self.checked.program.assemble(Some(probe)).probe;
        let settings = self.settings;
        let title = probe.piece.text().split_whitespace().collect::<Vec<_>>().join(" ");
        self.with_bound(Some(probe), true, |repl, bound, compilation| {
            let random = probe.draw || is_random(&compilation.program, &name);
            let begun = Instant::now();
            let quantities = session::prior(bound, if random { settings.draws } else { 1 }, settings.seed)?;
            repl.timings.prior = Some(begun.elapsed());
            let found = quantities.into_iter().find(|q| q.name == name);
            Ok(found.map(|q| (Quantity { name: title, ..q }, random)))
        })?
        .ok_or_else(|| Trouble::Message("that has no value of its own".into()))
    }

    /// Discrete distributions cannot be drawn as sites, which a fit would have to sum out, but as data that are not given.
    pub fn drawable(&self, probe: Probe) -> Probe {
        let discrete = |c: &Compilation| c.diags.iter().any(|d| d.code == crate::diag::Code::E0505);
        if probe.draw && discrete(&self.checked.program.compile(Some(&probe)).1) {
            let whole = Probe { whole: true, ..probe.clone() };
            if !self.checked.program.compile(Some(&whole)).1.diags.has_errors() {
                return whole;
            }
        }
        probe
    }

    /// The last fit.
    ///
    /// Errors: there is none yet.
    pub fn posterior(&self) -> Result<&Fitted, Trouble> {
        self.fitted.as_ref().ok_or_else(|| Trouble::Message("nothing has been fitted yet; `:fit` does".into()))
    }

    /// All quantities of what is being looked at.
    pub fn quantities(&mut self) -> Result<Vec<Quantity>, Trouble> {
        if self.view == View::Posterior {
            return Ok(self.posterior()?.fit.quantities.clone());
        }
        if let Some(known) = &self.prior {
            return Ok(known.clone());
        }
        let settings = self.settings;
        let quantities = self.with_bound(None, true, |repl, bound, _| {
            let begun = Instant::now();
            let quantities = session::prior(bound, settings.draws, settings.seed)?;
            repl.timings.prior = Some(begun.elapsed());
            Ok(quantities)
        })?;
        self.prior = Some(quantities.clone());
        Ok(quantities)
    }

    /// The quantity, or the element of one, that `text` names: `theta`, `theta[2]`, `theta[Choate]`.
    pub fn known_quantity(&mut self, text: &str) -> Result<Option<(Quantity, Option<usize>)>, Trouble> {
        let text = text.trim();
        let (name, indices) = match text.split_once('[') {
            Some((name, rest)) if rest.ends_with(']') => (name.trim(), Some(&rest[..rest.len() - 1])),
            Some(_) => return Ok(None),
            None => (text, None),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.') || self.is_empty() {
            return Ok(None);
        }
        let quantities = self.quantities()?;
        let Some(quantity) = quantities.into_iter().find(|q| q.name == name) else { return Ok(None) };
        let Some(indices) = indices else { return Ok(Some((quantity, None))) };
        let Some(element) = element(&quantity, indices) else { return Ok(None) };
        Ok(Some((quantity, Some(element))))
    }

    /// Whether there is nothing to draw.
    fn is_empty(&self) -> bool {
        self.view == View::Prior && !self.checked.program.pieces.iter().any(|p| p.key.is_statement())
    }

    /// Reads and checks the data as soon as they are typed. What only lacks data so far is let through.
    pub fn check_values(&mut self, checked: &Checked, piece: &Piece) -> Result<(), Trouble> {
        let about_data = matches!(piece.key, Key::Data(_) | Key::Size(_));
        if !about_data || checked.compilation.program.model.is_none() {
            return Ok(());
        }
        let begun = Instant::now();
        let bound = session::bind_with(&checked.compilation, &mut self.files, &[], true);
        self.timings.bind = Some(begun.elapsed());
        let Err(Failure::Diagnostics(diags)) = bound else { return Ok(()) };
        let (diags, sources) = checked.assembled.remap(&errors(&diags), &checked.compilation.sources);
        let mut own = Diagnostics::new();
        let missing =
            |d: &crate::diag::Diagnostic| matches!(d.code, crate::diag::Code::E0914 | crate::diag::Code::E0909);
        let blamed = diags.iter().filter(|d| !missing(d) && d.span().is_some_and(|s| piece.holds(&sources, s)));
        blamed.for_each(|d| own.push(d.clone()));
        if own.is_empty() { Ok(()) } else { Err(Trouble::Diagnostics(own, sources)) }
    }

    /// Fits the program as `bayesc run` would; `infer` names a block or an algorithm.
    pub fn fit(&mut self, infer: Option<&str>) -> Result<(), Trouble> {
        if self.checked.compilation.program.model.is_none() {
            return Err(Trouble::Message("there is nothing to fit: the program has no model yet".into()));
        }
        let seed = self.settings.seed_given.then_some(self.settings.seed);
        let options = RunOptions { seed, infer: infer.map(str::to_string), all: true, ..RunOptions::default() };
        let mut progress = Progress::new(self.look.interactive, self.interrupt.asked.clone());
        let fit = self.with_bound(None, false, |repl, bound, _| {
            let begun = Instant::now();
            repl.interrupt.fitting.store(true, Ordering::SeqCst);
            let fit = session::run(bound, &options, &mut progress);
            repl.interrupt.fitting.store(false, Ordering::SeqCst);
            progress.finish();
            repl.timings.fit = Some(begun.elapsed());
            fit
        })?;
        let text = super::show::fit_line(&fit, self.look);
        self.say(text);
        for warning in &fit.warnings {
            let warning =
                format!("{} {warning}", self.paint(anstyle::AnsiColor::Yellow.on_default().bold(), "warning:"));
            let _ = writeln!(self.err, "{warning}");
        }
        self.fitted = Some(Fitted { fit, stale: false });
        self.view = View::Posterior;
        Ok(())
    }
}

fn trouble(diags: &Diagnostics, assembled: &Assembled, compilation: &Compilation) -> Trouble {
    let (diags, sources) = assembled.remap(diags, &compilation.sources);
    Trouble::Diagnostics(diags, sources)
}

/// The row-major position of `2, 0` or of labels.
fn element(quantity: &Quantity, indices: &str) -> Option<usize> {
    let parts: Vec<&str> = indices.split(',').map(str::trim).collect();
    if parts.len() != quantity.shape.len() {
        return None;
    }
    let mut at = 0;
    for (dim, part) in parts.iter().enumerate() {
        let labels = quantity.labels.get(dim).and_then(Option::as_ref);
        let position = labels.and_then(|l| l.iter().position(|label| label == part)).or_else(|| part.parse().ok())?;
        if position >= quantity.shape[dim] {
            return None;
        }
        at = at * quantity.shape[dim] + position;
    }
    Some(at)
}

/// Whether the kept value `name` depends on anything that is drawn.
pub fn is_random(program: &Typed, name: &str) -> bool {
    let kept = program.model.iter().flat_map(|m| &m.kept).find(|k| k.name == name);
    let mut seen = std::collections::HashSet::new();
    let mut todo: Vec<ExprId> = kept.map(|k| k.value).into_iter().collect();
    while let Some(id) = todo.pop() {
        if !seen.insert(id) {
            continue;
        }
        match &program.exprs[id].kind {
            ExprKind::Site(_) | ExprKind::Draw(_) => return true,
            // Data that are not given are drawn.
            ExprKind::Data(data) if program.data[*data].default.is_none() => return true,
            _ => todo.extend(program.operands(id)),
        }
    }
    false
}

/// Shows how a fit goes: a bar at a terminal, otherwise a line now and then.
struct Progress {
    bar: Option<indicatif::ProgressBar>,
    asked: Arc<AtomicBool>,
    begun: Instant,
    shown: Instant,
}

/// So often a fit is heard of where there is no terminal.
const QUIET_FOR: Duration = Duration::from_secs(10);

impl Progress {
    fn new(interactive: bool, asked: Arc<AtomicBool>) -> Self {
        let bar = interactive.then(|| {
            let style = indicatif::ProgressStyle::with_template("{bar:24.cyan} {pos}/{len}  {msg}  {eta} left");
            let bar = indicatif::ProgressBar::new(0);
            bar.set_style(style.expect("the template is right"));
            bar
        });
        let now = Instant::now();
        Self { bar, asked, begun: now, shown: now }
    }
    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Progress {
    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("note: {text}")),
            None => eprintln!("note: {text}"),
        }
    }
    fn clock(&mut self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }
    fn status(&mut self, status: &Status) -> ControlFlow<()> {
        let (what, value) = (status.what, status.elbo);
        let rate = status.steps_per_sec;
        if let Some(bar) = &self.bar {
            bar.set_length(status.total);
            bar.set_position(status.step);
            bar.set_message(format!("{what} {value:.2}  {rate:.0} steps/s"));
        } else if self.shown.elapsed() > QUIET_FOR {
            self.shown = Instant::now();
            eprintln!("step {} of {}, {what} {value:.2}", status.step, status.total);
        }
        if self.asked.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
    fn sampling(&mut self, status: &Sampling<'_>) -> ControlFlow<()> {
        let done: usize = status.chains.iter().map(|c| c.draw).sum();
        let total: usize = status.chains.iter().map(|c| c.total).sum();
        let divergences: u64 = status.chains.iter().map(|c| c.divergences).sum();
        let chains = status.chains.len();
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            bar.set_message(format!("{chains} chains, {divergences} divergent"));
        } else if self.shown.elapsed() > QUIET_FOR {
            self.shown = Instant::now();
            eprintln!("draw {done} of {total}, {chains} chains, {divergences} divergent");
        }
        if self.asked.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
