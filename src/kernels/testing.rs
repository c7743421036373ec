//! What the tests of the kernels share: numbers to feed them, comparisons, reference files.

use std::path::PathBuf;

use super::Scalar;
use crate::rng::{self, Key};

/// `n` standard normals named by `seed`.
pub(crate) fn values<F: Scalar>(seed: u64, n: usize) -> Vec<F> {
    let mut out = vec![F::ZERO; n];
    rng::fill_normal(Key::new(seed), 0, &mut out);
    out
}

/// Panics unless |actual - expected| <= tol (1 + |expected|) everywhere; NaN equals NaN, infinities equal themselves.
#[track_caller]
pub(crate) fn assert_close<F: Scalar>(actual: &[F], expected: &[f64], tol: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let a = a.to_f64();
        let same = a == e || (a.is_nan() && e.is_nan());
        assert!(same || (a - e).abs() <= tol * (1.0 + e.abs()), "{what}[{i}]: {a:e} instead of {e:e}");
    }
}

/// Reads a reference file: a folder named by `BAYESC_VALIDATION`, or `tests/reference` in the package.
pub(crate) fn reference(name: &str) -> serde_json::Value {
    let folder = std::env::var_os("BAYESC_VALIDATION")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference"), PathBuf::from);
    let text = std::fs::read_to_string(folder.join(name)).expect("the reference file is readable");
    serde_json::from_str(&text).expect("the reference file is JSON")
}

/// A number of a reference file, where non-finite values are strings.
pub(crate) fn number(value: &serde_json::Value) -> f64 {
    match value {
        serde_json::Value::String(s) => s.parse().expect("a number in words"),
        other => other.as_f64().expect("a number"),
    }
}

/// A flat list of numbers of a reference file.
pub(crate) fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(number).collect()
}

/// A flat list of counts of a reference file.
pub(crate) fn counts(value: &serde_json::Value) -> Vec<usize> {
    numbers(value).iter().map(|&x| x as usize).collect()
}
