//! `bayesc compare`: which of several fits predicts better.

use super::args::{Compare, SummaryFormat};
use super::fits::load;
use super::shell::{Exit, Shell};
use crate::report::compare;

/// Prints the comparison of fits.
pub fn compare(args: &Compare, shell: &mut Shell) -> Result<(), Exit> {
    shell.json = args.format == SummaryFormat::Json;
    let mut fits = Vec::new();
    for path in &args.fits {
        let place = path.display().to_string();
        let name = match place.trim_end_matches(['/', std::path::MAIN_SEPARATOR]) {
            "" => place.clone(),
            name => name.to_string(),
        };
        if fits.iter().any(|(known, _)| *known == name) {
            return Err(shell.fail(Exit::CommandLine, format!("`{name}` is named twice")));
        }
        fits.push((name, load(path, shell)?));
    }
    let comparison = match compare::compare(&fits) {
        Ok(comparison) => comparison,
        Err(refusal) => return Err(shell.fail_with_help(Exit::Data, refusal.message, Some(&refusal.help))),
    };
    match args.format {
        SummaryFormat::Table => {
            let options = shell.table_options();
            shell.print(&comparison.text(&options))?;
        }
        SummaryFormat::Csv => shell.print(&comparison.csv())?,
        SummaryFormat::Json => shell.set("compare", comparison.json()),
    }
    comparison.warnings.iter().for_each(|w| shell.warn(w));
    Ok(())
}
