//! Every guide against the posteriors of `tests/golden/posteriordb/`: the Pareto k, the error of means in deviations of the
//! reference, the ratio of deviations.
//!
//! All guides start at the mode, in its coordinates. `full_rank` and flows match posteriors that have one mode and few
//! numbers: means within 0.1 deviations, deviations within 10 %. `RUN_SLOW_TESTS=1` runs all of them,
//! otherwise a few run; `cargo bench --bench posteriors -- --guides` prints the table.

use crate::common::*;
use crate::posteriordb::{self, GUIDES, Guided, SETTINGS};
use bayesc::driver::Options;
use bayesc::session::{RunOptions, Unobserved};

/// Those that take a second or less, and what the fast tests run on them.
const FAST: &[(&str, &[&str])] = &[
    ("kilpisjarvi_mod-kilpisjarvi", &["full_rank", "flow(realnvp)"]),
    ("mesquite-logmesquite_logvas", &["full_rank", "flow(iaf)"]),
];

#[test]
fn guides_against_reference_posteriors() {
    let slow = std::env::var("RUN_SLOW_TESTS").is_ok_and(|v| v == "1");
    let mut failures = Vec::new();
    for posterior in posteriordb::all() {
        let name = &posterior.name;
        let fast = FAST.iter().find(|f| f.0 == *name).map_or(&[][..], |f| f.1);
        let guides = if slow { GUIDES } else { fast };
        if guides.is_empty() {
            continue;
        }
        let c = posteriordb::program(name, SETTINGS, &Options::default());
        let bound = bind(&c);
        for guide in guides {
            let options =
                RunOptions { guide: Some(guide.to_string()), infer: Some("table".into()), ..RunOptions::default() };
            match bayesc::session::run(&bound, &options, &mut Unobserved) {
                Ok(fit) => failures.extend(Guided::of(&posterior, &fit).wrong(name, guide)),
                Err(error) => failures.push(format!("{name} by {guide} fails: {error:?}")),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
