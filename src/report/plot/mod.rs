//! Pictures of a fit.

pub mod kde;
pub mod terminal;
