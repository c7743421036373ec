//! How far a run has come: a bar on a terminal, a plain line now and then elsewhere.

use super::interrupt;
use super::shell::Shell;
use crate::exec::Clock;
use crate::report::numbers::{duration, fixed};
use crate::session::{Memory, Observer, Profile, Sampling, Status};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::ops::ControlFlow;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// A line is due after this many seconds at the latest.
const LINE_SECS: f64 = 10.0;
/// The bar's numbers change at most this often [seconds].
const BAR_SECS: f64 = 0.1;

/// When the process began, or nearly.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Seconds since the first call, with which `main` begins.
pub fn seconds() -> f64 {
    START.elapsed().as_secs_f64()
}

/// Shows the progress of a run on stderr and passes Ctrl-C on to it.
pub struct Progress<'s> {
    shell: &'s Shell,
    /// Where the time goes, when somebody wants to know.
    profile: Option<Profile>,
    view: View,
    trend: Trend,
    stopping: bool,
    /// What is said when the user stops it.
    ending: &'static str,
}

enum View {
    Silent,
    Bar {
        bar: ProgressBar,
        /// When the numbers were last changed.
        shown: f64,
    },
    Lines {
        /// The part of the run after which a line is due.
        every: f64,
        /// The least number of seconds between two lines.
        rest: f64,
        /// Steps and seconds at the last line.
        last: (u64, f64),
    },
}

impl<'s> Progress<'s> {
    /// For a run that begins now. `verbose` asks for many lines instead of a bar, `profile` for the times of all steps.
    pub fn new(shell: &'s Shell, verbose: bool, profile: bool) -> Self {
        let view = if shell.quiet {
            View::Silent
        } else if shell.err.terminal && !verbose {
            let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(10));
            let template = if shell.err.color { "{bar:20.cyan} {wide_msg}" } else { "{bar:20} {wide_msg}" };
            let style = ProgressStyle::with_template(template).expect("the template is fixed");
            bar.set_style(style.progress_chars(if shell.err.ascii { "#>-" } else { "━╸─" }));
            View::Bar { bar, shown: f64::NEG_INFINITY }
        } else {
            let (every, rest) = if verbose { (0.01, 0.0) } else { (0.1, 1.0) };
            View::Lines { every, rest, last: (0, 0.0) }
        };
        let ending = "stopping here; the fit so far is saved (Ctrl-C again kills)";
        Self { shell, profile: profile.then(Profile::default), view, trend: Trend::default(), stopping: false, ending }
    }

    /// Says `words` when the user stops it.
    pub fn ending(self, words: &'static str) -> Self {
        Self { ending: words, ..self }
    }

    /// Takes the bar away, and returns where the time went if that was asked for.
    pub fn finish(self) -> Option<Profile> {
        if let View::Bar { bar, .. } = &self.view {
            bar.finish_and_clear();
        }
        self.profile
    }

    fn say(&self, text: &str) {
        match &self.view {
            View::Bar { bar, .. } => bar.suspend(|| self.shell.note(text)),
            _ => self.shell.note(text),
        }
    }

    fn show(&mut self, status: &Status) {
        let ascii = self.shell.err.ascii;
        let done = status.step >= status.total;
        match &mut self.view {
            View::Silent => {}
            View::Bar { bar, shown } => {
                if status.secs - *shown < BAR_SECS && !done {
                    return;
                }
                *shown = status.secs;
                let trend = self.trend.of(status, 0.02);
                bar.set_length(status.total);
                bar.set_position(status.step);
                bar.set_message(line(status, trend, ascii));
            }
            View::Lines { every, rest, last } => {
                let since = status.secs - last.1;
                let part = (status.step - last.0.min(status.step)) as f64 / status.total as f64;
                let due = part >= *every && since >= *rest || since >= LINE_SECS;
                if !due && !done || last.0 == status.step {
                    return;
                }
                *last = (status.step, status.secs);
                let trend = self.trend.of(status, 0.0);
                self.shell.say(&format!("{}\n", line(status, trend, ascii)));
            }
        }
    }
}

impl Progress<'_> {
    fn show_chains(&mut self, status: &Sampling<'_>) {
        let done: usize = status.chains.iter().map(|c| c.draw).sum();
        let total: usize = status.chains.iter().map(|c| c.total).sum();
        let finished = done == total;
        match &mut self.view {
            View::Silent => {}
            View::Bar { bar, shown } => {
                if status.secs - *shown < BAR_SECS && !finished {
                    return;
                }
                *shown = status.secs;
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                bar.set_message(chains_line(status));
            }
            View::Lines { every, rest, last } => {
                let since = status.secs - last.1;
                let part = (done as u64 - last.0.min(done as u64)) as f64 / total as f64;
                let due = part >= *every && since >= *rest || since >= LINE_SECS;
                if !due && !finished || last.0 == done as u64 {
                    return;
                }
                *last = (done as u64, status.secs);
                self.shell.say(&format!("{}\n", chains_line(status)));
            }
        }
    }

    /// `Break` when the user has asked to stop.
    fn flow(&mut self) -> ControlFlow<()> {
        if interrupt::requested() {
            if !self.stopping {
                self.stopping = true;
                self.say(self.ending);
            }
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

impl Observer for Progress<'_> {
    fn note(&mut self, text: &str) {
        self.say(text);
    }
    fn status(&mut self, status: &Status) -> ControlFlow<()> {
        self.show(status);
        self.flow()
    }
    fn sampling(&mut self, status: &Sampling<'_>) -> ControlFlow<()> {
        self.show_chains(status);
        self.flow()
    }
    fn clock(&mut self) -> f64 {
        seconds()
    }
    fn planned(&mut self, memory: &Memory) {
        self.say(&memory.text());
    }
    fn stopwatch(&self) -> Option<Clock> {
        self.profile.as_ref().map(|_| seconds as Clock)
    }
    fn profiled(&mut self, part: Profile) {
        if let Some(profile) = &mut self.profile {
            profile.merge(part);
        }
    }
}

/// How the ELBO has changed since some time ago.
#[derive(Default)]
struct Trend {
    /// Step and ELBO at the last mark.
    mark: Option<(u64, f64)>,
    change: Option<f64>,
}

impl Trend {
    /// The change of the ELBO between the last two marks, which are at least a part `spacing` of the run apart.
    fn of(&mut self, status: &Status, spacing: f64) -> Option<f64> {
        match self.mark {
            Some((step, elbo)) => {
                if status.step > step && (status.step - step) as f64 >= spacing * status.total as f64 {
                    self.change = Some(status.elbo - elbo);
                    self.mark = Some((status.step, status.elbo));
                }
            }
            None => self.mark = Some((status.step, status.elbo)),
        }
        self.change.filter(|c| c.is_finite())
    }
}

/// `epoch 3/40  ELBO -812.4 ↑12.1  310 steps/s, 19800 items/s  8.2 s left`
fn line(status: &Status, trend: Option<f64>, ascii: bool) -> String {
    let mut parts = Vec::new();
    parts.push(match status.epoch {
        Some((epoch, epochs)) => format!("epoch {epoch}/{epochs}"),
        None => format!("step {}/{}", status.step, status.total),
    });
    let elbo = format!("{} {}", status.what, fixed(status.elbo, 1));
    parts.push(match trend {
        Some(change) => {
            let arrow = match (change > 0.0, ascii) {
                (true, false) => "↑",
                (true, true) => "+",
                (false, false) => "↓",
                (false, true) => "-",
            };
            format!("{elbo} {arrow}{}", fixed(change.abs(), 1))
        }
        None => elbo,
    });
    let rate = |x: f64| fixed(x, if x < 10.0 { 1 } else { 0 });
    let mut pace = format!("{} steps/s", rate(status.steps_per_sec));
    if let Some(items) = status.items_per_sec {
        pace += &format!(", {} items/s", rate(items));
    }
    parts.push(pace);
    let left = status.total.saturating_sub(status.step) as f64 / status.steps_per_sec;
    if left.is_finite() {
        let left = Duration::try_from_secs_f64(left).map_or(f64::INFINITY, |d| d.as_secs_f64());
        parts.push(format!("{} left", duration(left)));
    }
    parts.join("  ")
}

/// `chains 1200 1180 1210 1195 of 2000  3 divergent  5400 draws/s  0.6 s left`
fn chains_line(status: &Sampling<'_>) -> String {
    let chains = status.chains;
    let each: Vec<String> = chains.iter().map(|c| c.draw.to_string()).collect();
    let total = chains.first().map_or(0, |c| c.total);
    let word = if chains.len() == 1 { "chain" } else { "chains" };
    let warming = chains.iter().filter(|c| c.draw < c.warmup).count();
    let mut parts = vec![format!("{word} {} of {total}", each.join(" "))];
    if warming > 0 {
        parts.push("warmup".to_string());
    }
    let divergences: u64 = chains.iter().map(|c| c.divergences).sum();
    if divergences > 0 {
        parts.push(format!("{divergences} divergent"));
    }
    let done: usize = chains.iter().map(|c| c.draw).sum();
    if status.secs > 0.0 && done > 0 {
        let pace = done as f64 / status.secs;
        parts.push(format!("{} draws/s", fixed(pace, if pace < 10.0 { 1 } else { 0 })));
        let all: usize = chains.iter().map(|c| c.total).sum();
        parts.push(format!("{} left", duration((all - done.min(all)) as f64 / pace)));
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::ChainStatus;

    #[test]
    fn chains_are_shown_side_by_side() {
        let chain = |draw| ChainStatus { draw, warmup: 100, total: 300, divergences: 1, ..ChainStatus::default() };
        let chains = [chain(200), chain(50)];
        let got = chains_line(&Sampling { chains: &chains, secs: 2.0 });
        assert_eq!(got, "chains 200 50 of 300  warmup  2 divergent  125 draws/s  2.8 s left");
    }

    fn status(step: u64, elbo: f64) -> Status {
        Status {
            step,
            total: 100,
            epoch: None,
            what: "ELBO",
            elbo,
            secs: 1.0,
            steps_per_sec: 20.0,
            items_per_sec: Some(1280.0),
        }
    }

    #[test]
    fn a_line_says_it_all() {
        let got = line(&status(50, -12.34), Some(-0.5), false);
        assert_eq!(got, "step 50/100  ELBO -12.3 ↓0.5  20 steps/s, 1280 items/s  2.5 s left");
        let epoch = Status { epoch: Some((2, 40)), items_per_sec: None, steps_per_sec: 0.0, ..status(50, f64::NAN) };
        assert_eq!(line(&epoch, None, true), "epoch 2/40  ELBO nan  0.0 steps/s");
    }

    #[test]
    fn the_trend_compares_marks() {
        let mut trend = Trend::default();
        assert_eq!(trend.of(&status(1, -10.0), 0.1), None);
        assert_eq!(trend.of(&status(5, -9.0), 0.1), None);
        assert_eq!(trend.of(&status(11, -6.0), 0.1), Some(4.0));
        assert_eq!(trend.of(&status(12, -7.0), 0.1), Some(4.0));
    }
}
