//! What a fit keeps of what it was made from, so that it can be used again without the training data.
//!
//! Part of `fit.json`, but for the values of small data, which are `data.safetensors` (`store.rs`).

use super::fit::NamedTensor;
use crate::data::{Labels, Learned};
use serde::{Deserialize, Serialize};

/// A file that the program uses.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ModuleText {
    /// Where it was.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// The value of a size.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct SizeInput {
    /// Its name.
    pub name: String,
    /// How many.
    pub value: usize,
    /// What its indices are called, if they have names.
    pub labels: Option<Labels>,
}

/// A datum.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DataInput {
    /// Its name.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// Whether its value came from the command line rather than from its expression.
    pub given: bool,
    /// Whether its values are kept: those of at most [`super::fit::LARGE`] numbers are.
    pub kept: bool,
}

/// The program's surroundings.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Inputs {
    /// The files that the program uses, but for the standard library.
    pub modules: Vec<ModuleText>,
    /// The infer block or algorithm that ran.
    pub infer: String,
    /// `--infer`, as it was given.
    pub infer_option: Option<String>,
    /// `--guide`, as it was given.
    pub guide_option: Option<String>,
    /// What `--init` started it from: a hash of its numbers.
    #[serde(default)]
    pub init: Option<String>,
    /// `--set`, in order.
    pub set: Vec<(String, String)>,
    /// `--size`, in order.
    pub fixed: Vec<(String, usize)>,
    /// Every size with its value.
    pub sizes: Vec<SizeInput>,
    /// What data expressions learned from the training data.
    pub learned: Learned,
    /// The data.
    pub data: Vec<DataInput>,
    /// The values of those that are kept.
    #[serde(skip)]
    pub values: Vec<NamedTensor>,
}
