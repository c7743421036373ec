//! The graph of typed operations with static shapes, and what is done with it before it runs.

pub mod builder;
pub mod graph;
pub mod passes;
pub mod print;
pub mod verify;

pub use builder::Builder;
pub use graph::{DType, Graph, InputId, InputKind, Node, Shape, ValueId};
