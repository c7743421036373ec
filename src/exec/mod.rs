//! Running graphs: a plan of steps and buffers, then numbers.

mod draft;
#[cfg(test)]
mod fusion;
mod looped;
pub mod plan;
mod program;
#[cfg(test)]
mod reference;
pub mod run;
mod schedule;
mod small;
mod tile;

pub use plan::Plan;
pub use run::{Executable, NonFinite, eval_f64};
