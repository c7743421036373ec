//! Posteriors whose means, deviations and densities are known from elsewhere, drawn by nuts: see `posteriordb.rs`.
//!
//! Means agree within 4 combined Monte Carlo standard errors, deviations within 10 %. All of them run when
//! `RUN_SLOW_TESTS=1`, otherwise a few; `cargo bench --bench posteriors` prints the table.

use crate::common::*;
use crate::posteriordb::{self, Sampled};
use bayesc::driver::Options;
use bayesc::session::RunOptions;

/// Those that take a second or less.
const FAST: &[&str] = &[
    "eight_schools-eight_schools_centered",
    "eight_schools-eight_schools_noncentered",
    "gp_pois_regr-gp_regr",
    "kilpisjarvi_mod-kilpisjarvi",
    "mesquite-logmesquite_logvas",
];
#[test]
fn reference_posteriors() {
    let slow = std::env::var("RUN_SLOW_TESTS").is_ok_and(|v| v == "1");
    for posterior in posteriordb::all() {
        let name = &posterior.name;
        if slow || FAST.contains(&name.as_str()) {
            let fit = fit_with(&posteriordb::program(name, "", &Options::default()), &RunOptions::default());
            assert_eq!(fit.algorithm, "nuts");
            let wrong = Sampled::of(&posterior, &fit).wrong();
            assert!(wrong.is_empty(), "{name}: {}", wrong.join("; "));
        }
    }
}

#[test]
fn reference_log_densities_and_gradients() {
    for posterior in posteriordb::all() {
        let wrong = posteriordb::wrong_densities(&posterior);
        assert!(wrong.is_empty(), "{}: {}", posterior.name, wrong.join("; "));
    }
}
