//! Inference: what is done with the densities of a program and a guide.
//!
//! `elbo.rs` and `density.rs` build the graphs, `start.rs` the first parameters, `warm.rs` those from another fit; `svi.rs` is the optimization, `nuts.rs`
//! the Markov chains on top of `sampler.rs`; `mode.rs` looks for the highest point by `lbfgs.rs`: that is what `map.rs`
//! gives, and `laplace.rs` puts a normal there, of the curvature that `hessian.rs` finds; `pathfinder.rs` takes the best normal on
//! the way to it; `draws.rs` makes the draws that are reported, `predictive.rs` the scores on held-out data,
//! `predict.rs` what is predicted of new data. Nothing here reads files, the clock or the terminal.

pub mod ahead;
mod blame;
pub mod checkpoint;
pub mod data;
pub mod density;
pub mod draws;
pub mod elbo;
pub mod gaussian;
pub mod hessian;
pub mod kron;
pub mod laplace;
pub mod lbfgs;
pub mod linearized;
pub mod map;
pub mod memory;
pub mod mode;
pub mod nuts;
pub mod objective;
pub mod optim;
pub mod pathfinder;
pub mod plateau;
pub mod pointwise;
pub mod predict;
pub mod predictive;
pub mod profile;
pub mod sampler;
pub mod schedule;
pub mod start;
pub mod svi;
pub mod warm;

use crate::data::DataError;
use crate::exec::Clock;
use crate::source::Span;
pub use checkpoint::Checkpoint;
pub use memory::Memory;
pub use profile::{Phase, Profile};
use std::fmt;

/// Why a run could not go on.
#[derive(Clone, PartialEq, Debug)]
pub enum RunError {
    /// A number that must be finite is not.
    NotFinite {
        /// What it is: ``log density of site `sigma` ``.
        what: String,
        /// At which step, if it happened during optimization.
        step: Option<u64>,
        /// The value.
        value: f64,
        /// Where in the program, and in which operation, the first such number came from.
        origin: Option<(Option<Span>, &'static str)>,
    },
    /// The program asks for something that this build cannot do.
    Unsupported(String),
    /// There is nothing to fit.
    NothingToFit(String),
    /// No starting point of a chain has a finite density.
    NoStart {
        /// Points tried.
        tries: u64,
        /// What was wrong with the last one.
        cause: Box<RunError>,
    },
    /// The density keeps rising towards the end of a support.
    NoMaximum {
        /// The coordinate that left all bounds, in words.
        name: String,
        /// How far it got.
        coordinate: f64,
        /// Steps of the search.
        steps: usize,
    },
    /// The point that was found is not a peak: no normal can stand there.
    NoPeak {
        /// The coordinate with the largest part in a direction that is not curved downwards, in words.
        name: String,
    },
    /// The point that was found is not near enough to a peak.
    NotReached {
        /// What a quadratic still has to gain from there [nats].
        expected: f64,
        /// What to say about the search.
        advice: String,
    },
    /// No point along any path of an optimizer has a normal under which the density is finite.
    NoNormal {
        /// Paths that were followed.
        paths: usize,
    },
    /// A chain cannot go on.
    Sampler {
        /// Its number, from 0.
        chain: usize,
        /// Why, in the words of the sampler.
        reason: String,
    },
    /// The user stopped it before there was anything to report.
    Stopped(String),
    /// A checkpoint is not one of this run.
    Checkpoint(String),
    /// It needs more memory than it may.
    Memory(Box<Memory>),
    /// A row of data in files could not be read, after all was well when they were opened.
    Data(Box<DataError>),
}

impl RunError {
    /// Whether going on from another starting point could help.
    pub fn is_recoverable(&self) -> bool {
        matches!(self, RunError::NotFinite { .. })
    }
    /// The place in the program, if one is to blame.
    pub fn span(&self) -> Option<Span> {
        match self {
            RunError::NotFinite { origin, .. } => origin.and_then(|(span, _)| span),
            RunError::NoStart { cause, .. } => cause.span(),
            _ => None,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::NotFinite { what, step, value, origin } => {
                write!(f, "{what} is {value}")?;
                if let Some(step) = step {
                    write!(f, " at step {step}")?;
                }
                if let Some((_, op)) = origin {
                    write!(f, "; the first such number came from `{op}`")?;
                }
                Ok(())
            }
            RunError::Unsupported(message)
            | RunError::NothingToFit(message)
            | RunError::Stopped(message)
            | RunError::Checkpoint(message) => f.write_str(message),
            RunError::NoStart { tries, cause } => {
                write!(f, "no starting point among {tries} has a finite density and gradient: at the last one {cause}")
            }
            RunError::NoMaximum { name, coordinate, steps } => write!(
                f,
                "the density has no maximum that {steps} steps could find: it keeps rising along {name}, whose \
                 unconstrained coordinate is {coordinate:.1} by now"
            ),
            RunError::NoPeak { name } => {
                write!(
                    f,
                    "the point that was found is not a peak: along {name} the log density is not curved downwards"
                )
            }
            RunError::NotReached { expected, advice } => {
                write!(f, "the mode was not reached: {expected:.2e} nats are still to be gained")?;
                if advice.is_empty() { Ok(()) } else { write!(f, "; {advice}") }
            }
            RunError::NoNormal { paths } => write!(
                f,
                "none of {paths} paths to a mode has a normal under which the log density is finite: the gradient says \
                 too little about the curvature (an improper posterior, jumps, a start far out)"
            ),
            RunError::Data(error) => f.write_str(&error.message),
            RunError::Memory(memory) => f.write_str(&memory.diagnostic().message),
            RunError::Sampler { chain, reason } => write!(f, "chain {chain} cannot go on: {reason}"),
        }
    }
}

impl std::error::Error for RunError {}

/// How far a run has come.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Status {
    /// Steps done.
    pub step: u64,
    /// Steps planned.
    pub total: u64,
    /// Epochs done and planned, when the run is counted in epochs.
    pub epoch: Option<(usize, usize)>,
    /// What is maximized, in words: `ELBO`, `log density`.
    pub what: &'static str,
    /// Its value [nats]; the ELBO is averaged over the latest steps.
    pub elbo: f64,
    /// Seconds since the run began.
    pub secs: f64,
    /// Steps a second.
    pub steps_per_sec: f64,
    /// Rows of the data a second, when there are rows.
    pub items_per_sec: Option<f64>,
}

/// How far one chain has come.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct ChainStatus {
    /// Draws done, warmup included.
    pub draw: usize,
    /// Draws of the warmup.
    pub warmup: usize,
    /// Draws planned, warmup included.
    pub total: usize,
    /// Divergent draws after the warmup.
    pub divergences: u64,
    /// The step size.
    pub step_size: f64,
    /// The depth of the last tree.
    pub depth: u64,
    /// Gradients evaluated.
    pub gradients: u64,
}

/// How far all chains have come.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sampling<'s> {
    /// One for each chain.
    pub chains: &'s [ChainStatus],
    /// Seconds since sampling began.
    pub secs: f64,
}

/// Who watches a run: the terminal, the REPL, a test.
pub trait Observer: Send {
    /// Something worth knowing, one sentence.
    fn note(&mut self, text: &str);
    /// How far the run has come; `Break` stops it at the end of this step.
    fn status(&mut self, status: &Status) -> std::ops::ControlFlow<()>;
    /// How far the chains of a sampler have come; `Break` stops them all.
    fn sampling(&mut self, status: &Sampling<'_>) -> std::ops::ControlFlow<()>;
    /// Seconds since an arbitrary fixed moment.
    fn clock(&mut self) -> f64;
    /// The clock for each step of the plans, when the observer wants to know where time goes.
    fn stopwatch(&self) -> Option<Clock> {
        None
    }
    /// What the run will need; called before it begins.
    fn planned(&mut self, _: &Memory) {}
    /// Where the time of a part of the run went; called when there is a stopwatch.
    fn profiled(&mut self, _: Profile) {}
}

/// Nobody watches, and no time passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn note(&mut self, _: &str) {}
    fn status(&mut self, _: &Status) -> std::ops::ControlFlow<()> {
        std::ops::ControlFlow::Continue(())
    }
    fn sampling(&mut self, _: &Sampling<'_>) -> std::ops::ControlFlow<()> {
        std::ops::ControlFlow::Continue(())
    }
    fn clock(&mut self) -> f64 {
        0.0
    }
}
