//! What a finished fit is, and everything that shows or stores it.
//!
//! `fit.rs` is the fit as plain data, filled by the inference engines, `inputs.rs` what it keeps of program and data; `statistics.rs` and `metrics.rs` turn draws into
//! numbers, `loo.rs` those of leave-one-out cross-validation, `compare.rs` puts fits side by side, `audit.rs` a fit beside draws of nuts; `expect.rs` says which lines of `expect` hold; `summary.rs` is the document `summary.json`, `table.rs` the same for people; `profile.rs` says where the
//! time went; `predictions.rs` what a fit says of new data, `temperature.rs` how sure it should have been; `store.rs` the fit directory;
//! `plot/` the pictures. Only `store.rs` touches files.

pub mod audit;
pub mod compare;
pub mod expect;
pub mod fit;
pub mod inputs;
pub mod loo;
pub mod metrics;
pub mod numbers;
pub mod plot;
pub mod predictions;
pub mod profile;
pub mod sbc;
pub mod statistics;
pub mod store;
pub mod summary;
pub mod table;
pub mod temperature;

pub use fit::{
    Bound, ChainReport, DataFingerprint, Diagnostics, Draws, Elbo, Elem, Expectation, Fit, Metrics, ModelSource,
    NamedTensor, Precision, Quantity, Role, SamplerReport, StopReason, Timing, TraceRow,
};
