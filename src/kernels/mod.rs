//! The loops: slices in, slices out, shapes as plain numbers.
//!
//! A leaf of the module tree: it imports nothing from the crate except [`crate::rng`]. Arrays are row-major unless
//! strides are given. Nothing here allocates where the caller can pass scratch; a function that needs scratch has a
//! sibling `*_scratch` (or a method `scratch`) that gives its length in elements. Results are bit-identical for every
//! number of threads: work is cut along axes that do not change the order of any sum.
pub mod ceilings;
pub mod conv;
pub mod dense;
pub mod elementwise;
pub mod finish;
pub mod gather;
pub mod gemm;
pub mod linalg;
pub mod math;
pub mod matvec;
pub mod pool;
pub mod reduce;
pub mod scalar;
pub mod simd;
pub mod sort;
pub mod special;
pub mod threads;

#[cfg(test)]
pub(crate) mod testing;

pub use scalar::Scalar;
