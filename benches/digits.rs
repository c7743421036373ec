//! Every engine on one network: held-out scores, raw and after temperature scaling, and seconds, as a table.
//!
//! `cargo bench --bench digits` fits the model of `examples/digits_cnn.bayes` under other guides and `infer` blocks;
//! `cargo bench --bench digits -- laplace` takes the rows whose name contains that. Seconds are those of the whole run: reading,
//! compiling, fitting and scoring. Laplace starts where the row `map` has ended, and its seconds count both.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bayesc::data::Files;
use bayesc::driver::{Options, compile};
use bayesc::report::fit::Fit;
use bayesc::session::{self, RunOptions, Unobserved};

/// How a row is fitted.
struct Row {
    name: &'static str,
    guide: &'static str,
    infer: &'static str,
    /// Whether it starts at the end of the row `map`.
    from_map: bool,
}

const fn row(name: &'static str, guide: &'static str, infer: &'static str) -> Row {
    Row { name, guide, infer, from_map: false }
}

/// What the rows by stochastic gradients have in common.
const SVI: &str = "infer svi { minibatch N = 64, epochs = 40, optimizer = adam(5e-3), seed = 1";

const ROWS: [Row; 12] = [
    row("mean_field, one draw for all rows", "mean_field", "SVI, estimator = reparam }"),
    row("mean_field, flipout", "mean_field", "SVI, estimator = flipout }"),
    row("mean_field, local_reparam", "mean_field", "SVI, estimator = local_reparam }"),
    row("mean_field, as bayesc chooses", "mean_field", "SVI }"),
    row("ivon", "mean_field", "infer svi { minibatch N = 64, epochs = 40, optimizer = ivon(0.1), seed = 1 }"),
    row("dropout(0.2)", "dropout(0.2)", "SVI }"),
    row("delta", "delta", "SVI }"),
    row("map", "", "infer map { restarts = 1, steps = 1000, seed = 1 }"),
    Row {
        from_map: true,
        ..row("laplace, last_layer", "", "infer laplace { hessian = last_layer, restarts = 1, steps = 50, seed = 1 }")
    },
    Row {
        from_map: true,
        ..row("laplace, kron", "", "infer laplace { hessian = kron, restarts = 1, steps = 50, seed = 1 }")
    },
    row("ensemble of 5 delta", "delta", "SVI, restarts = 5, keep = all }"),
    row("ensemble of 5 mean_field", "mean_field", "SVI, restarts = 5, keep = all }"),
];

const SCORES: [&str; 8] =
    ["accuracy", "nll", "brier", "ece", "temperature", "nll_scaled", "brier_scaled", "ece_scaled"];

/// The model and the data of the example, with another guide and another `infer` block.
fn program(row: &Row) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits_cnn.bayes");
    let text = std::fs::read_to_string(&path).expect("the example is there");
    let (model, rest) = text.split_once("guide ").expect("it has a guide");
    let (_, held_out) = rest.split_once("evaluate ").expect("it has held-out data");
    let guide = if row.guide.is_empty() { String::new() } else { format!("guide {}\n\n", row.guide) };
    let infer = row.infer.replace("SVI", SVI);
    (path, format!("{model}{guide}{infer}\n\nevaluate {held_out}"))
}

/// A fit, and the seconds it took.
fn fit(row: &Row, init: Option<Arc<Fit>>) -> (Fit, f64) {
    let began = Instant::now();
    let (path, text) = program(row);
    let mut none = |path: &str, _: Option<&Path>| Err(format!("`{path}` is not there"));
    let compilation = compile(row.name, Some(path), &text, &Options::default(), &mut none);
    assert!(!compilation.diags.has_errors(), "{}: the program is refused: {:?}", row.name, compilation.diags);
    let bound = session::bind(&compilation, &mut Files::new(), &[]).expect("the data fit");
    let options = RunOptions { init, ..RunOptions::default() };
    let fit = session::run(&bound, &options, &mut Unobserved).unwrap_or_else(|e| panic!("{}: {e:?}", row.name));
    (fit, began.elapsed().as_secs_f64())
}

fn main() {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with("--")).unwrap_or_default();
    println!("| | {} | seconds |", SCORES.map(|s| s.replace('_', " ")).join(" | "));
    println!("|---|{}", "---|".repeat(SCORES.len() + 1));
    let mut map: Option<(Arc<Fit>, f64)> = None;
    let mut notes = Vec::new();
    for row in ROWS.iter().filter(|r| r.name.contains(&filter)) {
        if row.from_map && map.is_none() {
            let (fit, seconds) = fit(ROWS.iter().find(|r| r.name == "map").expect("a row"), None);
            map = Some((Arc::new(fit), seconds));
        }
        let start = map.clone().filter(|_| row.from_map);
        let (fit, mut seconds) = fit(row, start.as_ref().map(|(fit, _)| fit.clone()));
        seconds += start.map_or(0.0, |(_, seconds)| seconds);
        let (_, metrics) = &fit.evaluation[0];
        let cell = |name: &str| metrics.get(name).map_or(String::new(), |x| format!("{x:.3}"));
        println!("| {} | {} | {seconds:.0} |", row.name, SCORES.map(cell).join(" | "));
        notes.extend(fit.notes.iter().chain(&fit.warnings).map(|n| format!("{}: {n}", row.name)));
        if row.name == "map" {
            map = Some((Arc::new(fit), seconds));
        }
    }
    println!();
    notes.iter().for_each(|note| println!("{note}"));
}
