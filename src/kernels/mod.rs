//! Numerical kernels.
pub mod elementwise;
