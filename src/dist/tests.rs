//! Walks every row of the table: reference values, draws, bijectors, divergences.
