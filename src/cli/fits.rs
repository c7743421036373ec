//! `bayesc summary` and `bayesc plot`: what a fit directory says.

use super::args::{Format, Plot, PlotWhat, SummaryArgs, SummaryFormat};
use super::shell::{Exit, Shell, Stream};
use crate::nearest::nearest;
use crate::report::plot::kde;
use crate::report::plot::terminal::{self, PlotOptions};
use crate::report::summary::Summary;
use crate::report::table::{self, LONG_ARRAY, TableOptions};
use crate::report::{Elem, Fit, Quantity, store};
use serde_json::{Value, json};
use std::path::Path;

/// Points of a density in JSON.
const CURVE_POINTS: usize = 200;
/// Plots of one command at most, unless sites are named.
const MOST_PLOTS: usize = 40;

/// Prints the table of a fit.
pub fn summary(args: &SummaryArgs, shell: &mut Shell) -> Result<(), Exit> {
    shell.json = args.format == SummaryFormat::Json;
    let fit = load(&args.fit, shell)?;
    let summary = Summary::of(&fit, args.all);
    let place = args.fit.display().to_string();
    match args.format {
        SummaryFormat::Table => {
            let options = TableOptions { all: args.all, fit_dir: Some(place), ..shell.table_options() };
            shell.print(&table::render(&fit, &summary, &options))
        }
        SummaryFormat::Csv => shell.print(&summary.csv(&fit)),
        SummaryFormat::Json => {
            shell.set("fit", place);
            shell.set("summary", summary.json(&fit));
            Ok(())
        }
    }
}

/// Reads a fit; a model's path in its place gets a hint.
pub(super) fn load(path: &Path, shell: &mut Shell) -> Result<Fit, Exit> {
    store::load(path).map_err(|error| {
        let beside = path.with_extension("fit");
        let help = if beside != path && store::is_fit(&beside) {
            Some(format!("there is a fit `{}`", beside.display()))
        } else if path.extension().is_some_and(|e| e == "bayes") {
            Some(format!("fit it first: `bayesc run {}`", path.display()))
        } else if !path.exists() {
            Some("`bayesc run MODEL.bayes` writes a fit".into())
        } else {
            None
        };
        shell.fail_with_help(Exit::Data, error.to_string(), help.as_deref())
    })
}

/// Draws plots in the terminal.
pub fn plot(args: &Plot, shell: &mut Shell) -> Result<(), Exit> {
    shell.json = args.format.format == Format::Json;
    let (loss, density) = match args.what {
        None => (args.sites.is_empty(), true),
        Some(PlotWhat::Loss) => (true, false),
        Some(PlotWhat::Density) => (false, true),
        Some(other) => {
            let name = format!("{other:?}").to_lowercase();
            let help = "`loss` and `density` are";
            return Err(shell.fail_with_help(
                Exit::CommandLine,
                format!("the plot `{name}` is not built yet"),
                Some(help),
            ));
        }
    };
    if loss && !args.sites.is_empty() {
        return Err(shell.fail(Exit::CommandLine, "`--site` has no meaning for the plot `loss`"));
    }
    let fit = load(&args.fit, shell)?;
    let chosen = choose(&fit, &args.sites, shell)?;
    let options = options(&shell.out);
    if loss {
        if fit.trace.is_empty() && args.what.is_some() {
            return Err(shell.fail(Exit::Data, "the fit has no trace of the ELBO"));
        }
        let points =
            |pick: fn(&crate::report::TraceRow) -> f64| fit.trace.iter().map(|r| json!(pick(r))).collect::<Value>();
        shell.set("loss", json!({ "step": points(|r| r.step as f64), "elbo": points(|r| r.elbo) }));
        if !fit.trace.is_empty() {
            shell.print(&(terminal::elbo(&fit.trace, &options) + if density { "\n" } else { "" }))?;
        }
    }
    if density {
        shell.set("density", curves(&chosen));
        let all = !args.sites.is_empty();
        let text = quantities(&chosen, all, &options);
        shell.print(&text)?;
    }
    Ok(())
}

/// The size of a plot on this stream.
pub fn options(stream: &Stream) -> PlotOptions {
    let width = stream.width.min(100) as u16;
    PlotOptions { width, height: 10, color: stream.color, ascii: stream.ascii }
}

/// The quantities called `names`, or all short ones.
fn choose<'f>(fit: &'f Fit, names: &[String], shell: &mut Shell) -> Result<Vec<&'f Quantity>, Exit> {
    if names.is_empty() {
        return Ok(fit.quantities.iter().filter(|q| q.count() <= LONG_ARRAY).collect());
    }
    let mut chosen = Vec::new();
    for name in names {
        let Some(quantity) = fit.quantity(name) else {
            let known: Vec<&str> = fit.quantities.iter().map(|q| q.name.as_str()).collect();
            let help = match nearest(name, known.iter().copied()) {
                Some(near) => format!("there is `{near}`"),
                None => format!("there is `{}`", known.join("`, `")),
            };
            return Err(shell.fail_with_help(Exit::CommandLine, format!("the fit has no site `{name}`"), Some(&help)));
        };
        if !quantity.has_draws() {
            let message = format!("the draws of `{name}` are not kept: it has {} elements", quantity.count());
            let help = "`bayesc run --all` keeps them";
            return Err(shell.fail_with_help(Exit::CommandLine, message, Some(help)));
        }
        chosen.push(quantity);
    }
    Ok(chosen)
}

/// A plot for each element of each quantity.
pub fn quantities(chosen: &[&Quantity], all: bool, options: &PlotOptions) -> String {
    let elements: Vec<(&Quantity, usize)> = chosen.iter().flat_map(|q| (0..q.count()).map(move |i| (*q, i))).collect();
    let shown = if all { elements.len() } else { elements.len().min(MOST_PLOTS) };
    let mut plots: Vec<String> = elements[..shown].iter().map(|(q, i)| terminal::quantity(q, *i, options)).collect();
    if shown < elements.len() {
        plots.push(format!("and {} more: name a site with `--site`\n", elements.len() - shown));
    }
    plots.join("\n")
}

/// The same as numbers: a density curve for reals, frequencies for ints.
fn curves(chosen: &[&Quantity]) -> Value {
    let mut list = Vec::new();
    let mut draws = Vec::new();
    for quantity in chosen {
        for element in 0..quantity.count() {
            quantity.element_draws(element, &mut draws);
            draws.retain(|x| x.is_finite());
            draws.sort_unstable_by(f64::total_cmp);
            let (x, height): (Vec<f64>, Vec<f64>) = match quantity.elem {
                Elem::Real => kde::density(&draws, CURVE_POINTS).into_iter().unzip(),
                Elem::Int | Elem::Bool => {
                    let total = draws.len() as f64;
                    draws.chunk_by(|a, b| a == b).map(|c| (c[0], c.len() as f64 / total)).unzip()
                }
            };
            let height_name = if quantity.elem == Elem::Real { "density" } else { "frequency" };
            list.push(json!({ "name": quantity.element_name(element), "x": x, height_name: height }));
        }
    }
    Value::Array(list)
}
