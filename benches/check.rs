//! Speed of `bayesc check`: every example from text to checked program, without data.
//!
//! `cargo bench --bench check`. The longest example must stay under 20 ms.
use std::hint::black_box;
use std::path::{Path, PathBuf};

use bayesc::driver::{Options, compile};
use criterion::{Criterion, criterion_group, criterion_main};

/// The programs below `folder`.
fn programs(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the examples are there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            programs(&path, found);
        } else if path.extension().is_some_and(|e| e == "bayes") {
            found.push(path);
        }
    }
    found.sort();
}

fn examples(c: &mut Criterion) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut paths = Vec::new();
    programs(&root, &mut paths);
    let mut group = c.benchmark_group("check");
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("readable");
        let name = path.strip_prefix(&root).expect("below the examples").display().to_string();
        let mut none = |path: &str, _: Option<&Path>| Err(format!("`{path}` is not there"));
        let mut check = || compile(&name, Some(path.clone()), black_box(&text), &Options::default(), &mut none);
        let result = check();
        assert!(!result.diags.has_errors(), "{name} is refused");
        group.bench_function(&name, |bench| bench.iter(&mut check));
    }
    group.finish();
}

criterion_group!(benches, examples);
criterion_main!(benches);
