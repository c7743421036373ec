//! `bayesc sbc`: is the posterior right, on average over data that the model makes?

use super::args::{Format, Sbc};
use super::progress::seconds;
use super::shell::{Exit, Shell};
use super::{interrupt, program};
use crate::data::Files;
use crate::kernels::threads;
use crate::session::{self, Calibration, RunOptions};
use std::ops::ControlFlow;

/// Seconds between two lines of progress.
const EVERY: f64 = 5.0;

/// Simulates, fits, ranks.
pub fn sbc(args: &Sbc, shell: &mut Shell) -> Result<(), Exit> {
    shell.json = args.format.format == Format::Json;
    shell.quiet = args.quiet;
    if let Some(n) = args.threads {
        threads::set_threads(n);
    }
    let compilation = program::compile_for(&args.program, args.infer.as_deref(), shell)?;
    let bound = session::bind_with(&compilation, &mut Files::new(), &args.data.data, true)
        .map_err(|failure| program::failed(failure, &compilation.sources, shell))?;
    let options = RunOptions { infer: args.infer.clone(), guide: args.guide.clone(), ..RunOptions::default() };
    let calibration = Calibration { simulations: args.simulations, seed: args.seed };
    interrupt::listen();
    let (began, mut told, mut most) = (seconds(), seconds(), 0);
    let mut watch = |done: usize| {
        let now = seconds();
        if done > most && now - told >= EVERY {
            (told, most) = (now, done);
            let left = (now - began) / done as f64 * (args.simulations - done) as f64;
            shell.note(&format!("{done} of {} fits, {left:.0} s left", args.simulations));
        }
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let result = session::sbc(&bound, &options, calibration, &mut seconds, &mut watch);
    let report = result.map_err(|failure| program::failed(failure, &compilation.sources, shell))?;
    shell.set("sbc", report.json());
    if !shell.json {
        shell.print(&report.text(shell.out.ascii))?;
    }
    if report.failed > 0 {
        shell.warn(&format!("{} of {} fits failed and have no ranks", report.failed, report.simulations));
    }
    let broken = report.broken();
    if !broken.is_empty() {
        shell.warn(&format!(
            "the posterior is not that of the model for `{}`: sample longer, choose a richer guide, or look for a mistake in the model",
            broken.iter().take(5).copied().collect::<Vec<_>>().join("`, `")
        ));
    }
    Ok(())
}
