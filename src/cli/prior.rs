//! `bayesc prior`: what a model believes before it sees data.

use super::args::{Format, Prior};
use super::shell::{Exit, Shell};
use super::{fits, program};
use crate::data::Files;
use crate::kernels::threads;
use crate::report::plot::terminal;
use crate::report::summary::Summary;
use crate::report::table::{self, LONG_ARRAY};
use crate::report::{Fit, ModelSource, Precision, Quantity};
use crate::session;

/// Elements of one array that get a plot of their own.
const MOST_ELEMENTS: usize = 4;
/// Plots at most.
const MOST_PLOTS: usize = 12;

/// Draws, summarizes, plots.
pub fn prior(args: &Prior, shell: &mut Shell) -> Result<(), Exit> {
    shell.json = args.format.format == Format::Json;
    if let Some(n) = args.threads {
        threads::set_threads(n);
    }
    let compilation = program::compile(&args.program, shell)?;
    let quantities = session::bind_with(&compilation, &mut Files::new(), &args.data.data, true)
        .and_then(|bound| session::prior(&bound, args.draws, args.seed))
        .map_err(|failure| program::failed(failure, &compilation.sources, shell))?;
    let mut fit = Fit::new("prior", ModelSource::default(), Precision::F64, args.seed);
    fit.quantities = quantities;
    let summary = Summary::of(&fit, false);
    let document = summary.json(&fit);
    shell.set("draws", args.draws);
    shell.set("seed", args.seed);
    shell.set("sites", document["sites"].clone());
    if shell.json {
        return Ok(());
    }
    let options = shell.table_options();
    let mut text = table::render_sites(&fit, &summary, &options);
    let mut plots = plots(&fit.quantities, &fits::options(&shell.out));
    let hidden = plots.len().saturating_sub(MOST_PLOTS);
    plots.truncate(MOST_PLOTS);
    for plot in plots {
        text += "\n";
        text += &plot;
    }
    if hidden > 0 {
        text += &format!("\nand {hidden} plots more\n");
    }
    shell.print(&text)
}

/// A plot for each element of short arrays, one of all elements together for long ones.
fn plots(quantities: &[Quantity], options: &terminal::PlotOptions) -> Vec<String> {
    let mut plots = Vec::new();
    for quantity in quantities {
        if quantity.count() <= MOST_ELEMENTS {
            plots.extend((0..quantity.count()).map(|i| terminal::quantity(quantity, i, options)));
            continue;
        }
        let pooled = Quantity {
            name: format!("{}, all {} elements", quantity.name, quantity.count()),
            shape: Vec::new(),
            dims: Vec::new(),
            labels: Vec::new(),
            draws: quantity.draws * quantity.count(),
            ..quantity.clone()
        };
        // Weights of networks are many and alike.
        if quantity.count() <= 100 * LONG_ARRAY {
            plots.push(terminal::quantity(&pooled, 0, options));
        }
    }
    plots
}
