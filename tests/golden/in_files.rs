//! Fits on data that stay in their files against fits on the same data in memory, and held-out rows scored in blocks
//! against all at once.

use crate::common::*;
use bayesc::data::Files;
use bayesc::driver::{self, Options};
use bayesc::report::fit::Fit;
use bayesc::session::{self, RunOptions};
use std::path::Path;

/// Bytes as an idx file of this shape.
fn idx(shape: &[u32], content: &[u8]) -> Vec<u8> {
    let sizes = shape.iter().flat_map(|s| s.to_be_bytes());
    [0, 0, 8, shape.len() as u8].into_iter().chain(sizes).chain(content.iter().copied()).collect()
}

/// `n` images of 2 x 3 bytes in three classes, written as `{name}.x` and `{name}.y`, and their first pixels as numbers in
/// `{name}.npy`.
fn write(folder: &Path, name: &str, n: usize, random: &mut Random) {
    let labels: Vec<u8> = (0..n).map(|i| (i % 3) as u8).collect();
    let pixel =
        |class: u8, at: usize, noise: f64| (60.0 + 50.0 * f64::from((at as u8 + class) % 3) + 20.0 * noise) as u8;
    let images: Vec<u8> = labels
        .iter()
        .flat_map(|&class| (0..6).map(|at| pixel(class, at, random.normal())).collect::<Vec<_>>())
        .collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n},), }}\n");
    let numbers = images.chunks(6).flat_map(|row| (f32::from(row[0]) / 100.0).to_le_bytes());
    let length = (header.len() as u16).to_le_bytes();
    let npy: Vec<u8> =
        b"\x93NUMPY\x01\x00".iter().copied().chain(length).chain(header.bytes()).chain(numbers).collect();
    std::fs::write(folder.join(format!("{name}.npy")), npy).expect("writable");
    std::fs::write(folder.join(format!("{name}.x")), idx(&[n as u32, 2, 3], &images)).expect("writable");
    std::fs::write(folder.join(format!("{name}.y")), idx(&[n as u32], &labels)).expect("writable");
}

/// The fit of `text` beside the files, with arrays of `lazy_from` bytes and more in their files.
fn fit_from(folder: &Path, text: &str, lazy_from: usize) -> Fit {
    let mut none = |path: &str, _: Option<&Path>| Err(format!("`{path}` is not there"));
    let c = driver::compile("m.bayes", Some(folder.join("m.bayes")), text, &Options::default(), &mut none);
    assert!(!c.diags.has_errors(), "{:?}", c.diags);
    let bound = session::bind(&c, &mut Files::new().lazy_from(lazy_from), &[]).expect("the data fit");
    session::run(&bound, &RunOptions::default(), &mut Patient::default()).expect("the fit ends")
}

/// A classifier; `x` and `y` are the data expressions, `inside` what the model takes of them.
fn classifier(x: &str, inside: &str, settings: &str) -> String {
    let at = |text: &str, name: &str| text.replace("FILE", name);
    format!(
        "data x: real[N, 2, 3] = {}\ndata y: int[N] in 0..3 = idx(\"train.y\")\ndata z: real[N] = npy(\"train.npy\")\n\
         model {{\n  w: real[6, 3] ~ Normal(0, 1)\n  b: real[3] ~ Normal(0, 1)\n  c ~ Normal(0, 1)\n  \
         y ~ Categorical(logits = {inside} @ w + b)\n  z ~ Normal(c, 0.3)\n}}\n\
         guide mean_field\n{settings}\n\
         evaluate {{\n  x = {}\n  y = idx(\"test.y\")\n  z = npy(\"test.npy\")\n}}\n",
        at(x, "train"),
        at(x, "test")
    )
}

fn same(a: &Fit, b: &Fit, what: &str) {
    let bits = |fit: &Fit| -> Vec<u64> {
        let params = fit.params.iter().flat_map(|p| p.data.iter().copied());
        let course = fit.trace.iter().flat_map(|row| [row.elbo, row.gradient_norm]);
        let scores = fit.evaluation.iter().flat_map(|(_, m)| m.values.iter().map(|(_, v)| *v));
        params.chain(course).chain(scores).chain([fit.elbo.as_ref().expect("svi").final_]).map(f64::to_bits).collect()
    };
    assert!(bits(a) == bits(b), "{what}: not the same fit");
    assert_eq!(a.data, b.data, "{what}: the fingerprints");
}

#[test]
fn fits_are_the_same_to_the_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = Random(5);
    write(folder.path(), "train", 400, &mut random);
    write(folder.path(), "test", 600, &mut random);
    let minibatch = "infer svi { minibatch N = 48, steps = 30, seed = 3, draws = 20 }";
    let f32s = "infer svi { minibatch N = 48, steps = 30, seed = 3, draws = 20, precision = f32 }";
    let whole = "infer svi { steps = 10, seed = 3, draws = 20 }";
    let plain = "idx(\"FILE.x\")";
    for (x, inside, settings) in [
        ("idx(\"FILE.x\") / 255", "flatten(x)", minibatch),
        ("idx(\"FILE.x\") / 255", "flatten(x)", f32s),
        ("standardize(idx(\"FILE.x\"))", "flatten(x)", minibatch),
        // Computed for the rows of each step.
        (plain, "flatten(x / 255)", minibatch),
        (plain, "flatten(log(x + 1) * 0.3 - 1)", f32s),
        (plain, "(flatten(x) - mean(flatten(x), axis = 1)[:, new]) / 100", minibatch),
        // Needs all rows.
        (plain, "(flatten(x) - mean(flatten(x), axis = 0)) / 100", minibatch),
        ("idx(\"FILE.x\") / 255", "flatten(x)", whole),
    ] {
        let text = classifier(x, inside, settings);
        let [lazy, memory] = [0, usize::MAX].map(|from| fit_from(folder.path(), &text, from));
        same(&lazy, &memory, &format!("{x}, {inside}, {settings}"));
    }
}

#[test]
fn held_out_rows_in_blocks_have_the_same_scores() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = Random(6);
    write(folder.path(), "train", 90, &mut random);
    write(folder.path(), "test", 700, &mut random);
    let first = "infer svi first { steps = 200, seed = 3, draws = 60, optimizer = adam(5e-2) }";
    let of = |settings: &str| {
        let fit = fit_from(folder.path(), &classifier("idx(\"FILE.x\") / 255", "flatten(x)", settings), 0);
        assert_eq!(fit.evaluation.len(), 2);
        fit.evaluation
    };
    // A second block of settings tells that rows do not mix; the fit is by the first one.
    let (at_once, blocks) = (of(first), of(&format!("{first}\ninfer svi second {{ minibatch N = 30 }}")));
    for ((name, a), (_, b)) in at_once.iter().zip(&blocks) {
        // What no draw of the data enters.
        for score in bayesc::check::expect::CLASS_METRICS {
            match (a.get(score), b.get(score)) {
                (Some(a), Some(b)) => assert_close(a, b, 1e-9, &format!("{score} of {name}")),
                (a, b) => assert_eq!(a, b, "{score} of {name}"),
            }
        }
        for score in ["rmse", "mae", "crps", "coverage_90"] {
            if let (Some(a), Some(b)) = (a.get(score), b.get(score)) {
                assert_close(a, b, 0.03, &format!("{score} of {name}"));
            }
        }
    }
}
