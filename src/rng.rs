//! Splittable, counter-based random numbers.
