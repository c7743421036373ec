//! What data expressions learned from the training data, to be used again for held-out data.
//!
//! `standardize` learns means and standard deviations, `levels` the labels, and `mean sd variance min max` over the
//! rows their result. Each is kept under the name of the datum (or constant) in whose expression it stands, the
//! function, and a count of earlier calls of that function there; `evaluate` and `predict` find it by the same key.

use super::value::Labels;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All that was learned.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Learned {
    entries: BTreeMap<String, LearnedValue>,
}

/// One thing that was learned.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LearnedValue {
    /// By `standardize`.
    Standardize {
        /// The shape of one row; the vectors below are row-major in it.
        shape: Vec<usize>,
        /// The mean of every column.
        mean: Vec<f64>,
        /// The standard deviation of every column, with n - 1.
        sd: Vec<f64>,
        /// The names of the columns, if they have names.
        columns: Option<Vec<String>>,
    },
    /// By `levels`.
    Levels(Labels),
    /// By a reduction over the rows.
    Statistic {
        /// The shape of the result.
        shape: Vec<usize>,
        /// The result, row-major.
        values: Vec<f64>,
    },
}

impl Learned {
    /// Keeps `value` for the `occurrence`-th call of `function` in the expression of `name`.
    pub fn record(&mut self, name: &str, function: &str, occurrence: usize, value: LearnedValue) {
        self.entries.insert(key(name, function, occurrence), value);
    }
    /// What was kept for that call.
    pub fn find(&self, name: &str, function: &str, occurrence: usize) -> Option<&LearnedValue> {
        self.entries.get(&key(name, function, occurrence))
    }
    /// True when nothing was learned.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn key(name: &str, function: &str, occurrence: usize) -> String {
    format!("{name}/{function}/{occurrence}")
}
