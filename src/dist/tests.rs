//! Walks every row of the table: reference values, densities, draws, divergences, bijectors, edges.
//!
//! Graphs are evaluated node by node with the operations' own kernels, without passes, plan or memory reuse, so that a
//! failure here is a distribution's or a kernel's. Statistical checks have fixed keys and state their false-alarm rate.

mod bijectors;
mod densities;
mod divergences;
mod draws;
mod edges;
mod harness;
mod monte_carlo;
mod reference;
mod table;
mod wrapped_reference;
mod wrappers;
