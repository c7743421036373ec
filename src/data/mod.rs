//! Files in, bound arrays out: the shell layer between a program and its data.
//!
//! `files.rs` reads every file once, by the readers `csv.rs`, `idx.rs`, `json.rs`, `npy.rs`, `npz.rs`, `parquet.rs`
//! (a feature of the build), `png.rs` and `safetensors.rs`; `eval.rs` evaluates the data expressions of a program (defaults of `data`, constants, labelled
//! sizes, `evaluate`) on concrete arrays with the functions of `functions.rs`; `bind.rs` checks the arrays against the
//! declared types and finds the values of the sizes. What an expression learned from the training data is kept in
//! [`Learned`] and used again for held-out data. Nothing here panics on the content of a file.

pub mod arithmetic;
pub mod bind;
pub mod call;
pub mod csv;
pub mod error;
pub mod eval;
pub mod files;
pub mod fingerprint;
pub mod functions;
pub mod idx;
pub mod json;
pub mod lazy;
pub mod learned;
pub mod npy;
pub mod npz;
pub mod overrides;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod png;
pub mod prepare;
pub mod range;
pub mod reduce;
pub mod replace;
pub mod safetensors;
pub mod select;
pub mod size;
pub mod stored;
pub mod value;
pub mod values;

pub use bind::{BindRequest, Binding, Bound, RangeSpec, Source, bind};
pub use error::{DataError, Fallible};
pub use eval::Evaluator;
pub use files::Files;
pub use fingerprint::{Fingerprint, Fingerprints};
pub use lazy::LazyArray;
pub use learned::Learned;
pub use overrides::{DataArgument, Given};
pub use size::{DimSpec, SizeOrigin, SizeTable, SizeValue};
pub use value::{Array, Elem, Labels, Numbers, Table, TextArray, Value};
pub use values::Values;

#[cfg(test)]
mod tests;
