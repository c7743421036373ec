//! The `bayesc` binary.
fn main() {}
