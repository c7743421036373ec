//! (see ARCHITECTURE.md)

pub mod optim;
pub mod schedule;
