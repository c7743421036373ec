//! Splittable, counter-based random numbers.
/// A generator.
pub struct Philox;
