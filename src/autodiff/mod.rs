//! Differentiation of graphs: appends to a graph the nodes that compute derivatives of it.

mod looped;
pub mod reverse;

pub use reverse::{NoGradient, gradient};
