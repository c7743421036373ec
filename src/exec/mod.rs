//! Running graphs: a plan of steps and buffers, then numbers.

mod looped;
pub mod plan;
pub mod profile;
#[cfg(test)]
mod reference;
pub mod run;
mod schedule;
mod signs;
mod small;
mod tile;

pub use plan::Plan;
pub use profile::{Clock, StepTime};
pub use run::{Executable, Needs, NonFinite, Prepared, eval_f64};
