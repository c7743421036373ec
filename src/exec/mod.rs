//! Running graphs: a plan of steps and buffers, then numbers.

mod looped;
pub mod plan;
#[cfg(test)]
mod reference;
pub mod run;
mod schedule;
mod small;
mod tile;

pub use plan::Plan;
pub use run::{Executable, NonFinite, eval_f64};
