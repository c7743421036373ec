//! What a finished fit is, and everything that shows or stores it.
//!
//! `fit.rs` is the fit as plain data, filled by the inference engines; `statistics.rs` and `metrics.rs` turn draws into
//! numbers, `loo.rs` those of leave-one-out cross-validation, `compare.rs` puts fits side by side; `expect.rs` says which lines of `expect` hold; `summary.rs` is the document `summary.json`, `table.rs` the same for people; `profile.rs` says where the
//! time went; `store.rs` the fit directory;
//! `plot/` the pictures. Only `store.rs` touches files.

pub mod compare;
pub mod expect;
pub mod fit;
pub mod loo;
pub mod metrics;
pub mod numbers;
pub mod plot;
pub mod profile;
pub mod statistics;
pub mod store;
pub mod summary;
pub mod table;

pub use fit::{
    Bound, ChainReport, DataFingerprint, Diagnostics, Draws, Elbo, Elem, Expectation, Fit, Metrics, ModelSource,
    NamedTensor, Precision, Quantity, Role, SamplerReport, StopReason, Timing, TraceRow,
};
