//! Running graphs: a plan of steps and buffers, then numbers.

mod draft;
mod endings;
#[cfg(test)]
mod fusion;
mod looped;
pub mod plan;
pub mod profile;
mod program;
#[cfg(test)]
mod reference;
mod remat;
pub mod run;
mod schedule;
mod signs;
mod small;
mod tile;

pub use plan::Plan;
pub use profile::{Clock, StepTime};
pub use remat::Recomputed;
pub use run::{Executable, Needs, NonFinite, Prepared, eval_f64};
