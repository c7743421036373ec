//! Draws as text: values, one-line densities, short summaries.

use super::Look;
use crate::report::fit::{Elem, Quantity};
use crate::report::numbers::{decimals_for, display_width, fixed, pad_left, pad_right, truncate};
use crate::report::plot::{kde, terminal};
use crate::report::statistics::quantile;
use crate::report::summary::Summary;
use crate::report::table::{self, TableOptions};
use crate::report::{Fit, ModelSource, Precision};

/// More elements of an array than this are not shown one by one.
const MOST_ROWS: usize = 24;
/// More entries of a dimension than this are not printed.
const MOST_ENTRIES: usize = 12;
/// Columns of a one-line density.
const CELLS: usize = 32;

/// The one draw of a quantity: a number, or nested brackets.
pub fn value(quantity: &Quantity, look: Look) -> String {
    let mut out = String::new();
    nested(quantity, 0, 0, look, &mut out);
    out
}

fn nested(quantity: &Quantity, dim: usize, offset: usize, look: Look, out: &mut String) {
    let Some(&extent) = quantity.shape.get(dim) else {
        return out.push_str(&number(quantity, offset));
    };
    let below: usize = quantity.shape[dim + 1..].iter().product();
    let last = dim + 1 == quantity.shape.len();
    let separator = if last { ", ".to_string() } else { format!(",\n{}", " ".repeat(dim + 1)) };
    out.push('[');
    for i in 0..extent {
        if i > 0 {
            out.push_str(&separator);
        }
        if i == MOST_ENTRIES && extent > MOST_ENTRIES + 1 {
            let dots = if look.ascii { "..." } else { "…" };
            out.push_str(&format!("{dots} {} more", extent - i));
            break;
        }
        nested(quantity, dim + 1, offset + i * below, look, out);
    }
    out.push(']');
}

/// One value as people write it, to seven digits.
fn number(quantity: &Quantity, i: usize) -> String {
    let x = quantity.data.get(i);
    match quantity.elem {
        Elem::Bool => (if x == 0.0 { "false" } else { "true" }).to_string(),
        Elem::Int => {
            let label = quantity.value_labels.as_ref().and_then(|l| l.get(x as usize));
            label.cloned().unwrap_or_else(|| format!("{x:.0}"))
        }
        Elem::Real => real(x),
    }
}

/// `0.3` for 0.1 + 0.2.
pub fn real(x: f64) -> String {
    if !x.is_finite() || x == 0.0 {
        return x.to_string().replace("-0", "0");
    }
    let rounded: f64 = format!("{x:.6e}").parse().unwrap_or(x);
    if (1e-5..1e15).contains(&rounded.abs()) { rounded.to_string() } else { format!("{rounded:e}") }
}

/// One quantity, or one element of it.
pub fn only(quantity: &Quantity, element: Option<usize>) -> Quantity {
    let Some(element) = element else { return quantity.clone() };
    let mut draws = Vec::new();
    quantity.element_draws(element, &mut draws);
    let name = quantity.element_name(element);
    let mut one = Quantity::new(name, quantity.role, quantity.elem, &[], quantity.chains, quantity.draws, draws);
    one.value_labels = quantity.value_labels.clone();
    one
}

/// A table of the quantities, as `bayesc summary` has it, below one line that says what they are.
pub fn summaries(what: &str, quantities: Vec<Quantity>, look: Look) -> String {
    let mut fit = Fit::new("prior", ModelSource::default(), Precision::F64, 0);
    fit.quantities = quantities;
    let options = TableOptions {
        width: usize::from(look.width),
        color: look.color,
        ascii: look.ascii,
        ..TableOptions::default()
    };
    let text = table::render(&fit, &Summary::of(&fit, false), &options);
    // Its heading speaks of a fit.
    let table = text.split_once("\n\n").map_or("", |(_, rest)| rest);
    if what.is_empty() { table.to_string() } else { format!("{what}\n\n{table}") }
}

/// One quantity in a few lines: its numbers, and its densities.
pub fn summary(quantity: &Quantity, element: Option<usize>, look: Look) -> String {
    summaries("", vec![only(quantity, element)], look)
}

/// The whole fit as a table.
pub fn fit_summary(fit: &Fit, look: Look) -> String {
    let options = TableOptions {
        width: usize::from(look.width),
        color: look.color,
        ascii: look.ascii,
        ..TableOptions::default()
    };
    table::render(fit, &Summary::of(fit, false), &options)
}

/// What `:fit` says at its end.
pub fn fit_line(fit: &Fit, look: Look) -> String {
    let full = fit_summary(fit, look);
    let mut text: String = full.split_once("\n\n").map_or(full.as_str(), |(heading, _)| heading).to_string();
    if let Some(elbo) = &fit.elbo {
        let sign = if look.ascii { "+-" } else { "±" };
        text.push_str(&format!("\nELBO {:.2} {sign} {:.2} nats", elbo.final_, elbo.standard_error));
    }
    if fit.interrupted() {
        text.push_str("\nstopped early: what follows is as far as it came");
    }
    if fit.broken().next().is_some() {
        let options = TableOptions { color: look.color, ascii: look.ascii, ..TableOptions::default() };
        text.push('\n');
        text.push_str(&table::expectations(fit, &options).join("\n"));
    }
    text
}

/// A plot: a curve of a scalar, a line for each element of an array.
pub fn plot(quantity: &Quantity, element: Option<usize>, height: u16, look: Look) -> String {
    let quantity = only(quantity, element);
    let options = terminal::PlotOptions { width: look.width, height, color: look.color, ascii: look.ascii };
    if quantity.count() == 1 { terminal::quantity(&quantity, 0, &options) } else { ridges(&quantity, look) }
}

/// All elements of an array, a line for each, over one axis.
pub fn ridges(quantity: &Quantity, look: Look) -> String {
    let count = quantity.count();
    let shown = count.min(MOST_ROWS);
    let rows: Vec<Vec<f64>> = (0..shown)
        .map(|i| {
            let mut draws = Vec::new();
            quantity.element_draws(i, &mut draws);
            draws.retain(|x| x.is_finite());
            draws.sort_unstable_by(f64::total_cmp);
            draws
        })
        .collect();
    let drawn = || rows.iter().filter(|r| !r.is_empty());
    if drawn().next().is_none() {
        return format!("{}: no finite draws\n", quantity.name);
    }
    let low = drawn().map(|r| quantile(r, 0.025)).fold(f64::INFINITY, f64::min);
    let high = drawn().map(|r| quantile(r, 0.975)).fold(f64::NEG_INFINITY, f64::max);
    let decimals = decimals_for(drawn().map(|r| quantile(r, 0.95) - quantile(r, 0.05)).fold(0.0, f64::max), 3);
    let dots = if look.ascii { ".." } else { "…" };
    let names: Vec<String> = (0..shown).map(|i| truncate(&quantity.element_name(i), 24, look.ascii)).collect();
    let name_width = names.iter().map(|n| display_width(n)).max().unwrap_or(0);
    let cells = CELLS.min(usize::from(look.width).saturating_sub(name_width + 30)).max(8);
    let numbers: Vec<[String; 3]> = rows
        .iter()
        .map(|r| [0.5, 0.05, 0.95].map(|p| if r.is_empty() { String::new() } else { fixed(quantile(r, p), decimals) }))
        .collect();
    let widths = [0, 1, 2].map(|k| numbers.iter().map(|n| n[k].len()).max().unwrap_or(0));
    let heading = format!(
        "{}  {}{}{}  {}  90 %",
        " ".repeat(name_width),
        fixed(low, decimals),
        " ".repeat(cells.saturating_sub(fixed(low, decimals).len() + fixed(high, decimals).len())),
        fixed(high, decimals),
        pad_left("median", widths[0].max(6)),
    );
    let mut out = heading + "\n";
    for ((name, row), [median, q5, q95]) in names.iter().zip(&rows).zip(&numbers) {
        out.push_str(&format!(
            "{}  {}  {}  {} {dots} {}\n",
            pad_right(name, name_width),
            paint(&density_line(row, low, high, cells, look.ascii), look),
            pad_left(median, widths[0].max(6)),
            pad_left(q5, widths[1]),
            pad_left(q95, widths[2]),
        ));
    }
    if shown < count {
        out.push_str(&format!("and {} more; `:plot {}[…]` shows one\n", count - shown, quantity.name));
    }
    out
}

fn paint(text: &str, look: Look) -> String {
    let style = anstyle::AnsiColor::Cyan.on_default();
    if look.color { format!("{style}{text}{style:#}") } else { text.to_string() }
}

/// The density of sorted draws over `low..high` in blocks of nine heights.
fn density_line(sorted: &[f64], low: f64, high: f64, cells: usize, ascii: bool) -> String {
    let levels: Vec<char> = if ascii { " .:-=+*#@" } else { " ▁▂▃▄▅▆▇█" }.chars().collect();
    let width = (high - low) / cells as f64;
    let curve = kde::density(sorted, 256);
    let at = |x: f64| -> f64 {
        let i = curve.partition_point(|p| p.0 < x);
        let (Some(a), Some(b)) = (i.checked_sub(1).and_then(|i| curve.get(i)), curve.get(i)) else { return 0.0 };
        a.1 + (b.1 - a.1) * (x - a.0) / (b.0 - a.0)
    };
    let heights: Vec<f64> = (0..cells)
        .map(|cell| {
            let x = low + (cell as f64 + 0.5) * width;
            let constant =
                curve.is_empty() && sorted.first().is_some_and(|&v| width == 0.0 || (v - x).abs() <= width / 2.0);
            if constant { 1.0 } else { at(x) }
        })
        .collect();
    let top = heights.iter().copied().fold(0.0, f64::max);
    let level = |h: f64| if top > 0.0 { (8.0 * h / top).round() as usize } else { 0 };
    heights.into_iter().map(|h| levels[level(h).min(8)]).collect()
}

/// `n` draws, a line for each: the scalars and short arrays among `quantities`.
pub fn draws(quantities: &[Quantity], n: usize, look: Look) -> String {
    let mut columns: Vec<(String, Vec<String>)> = Vec::new();
    let mut left_out = 0;
    let mut width = 4;
    for quantity in quantities {
        for element in 0..quantity.count() {
            let total = quantity.chains * quantity.draws;
            let cells: Vec<String> =
                (0..n.min(total)).map(|i| cell(quantity, i * quantity.count() + element)).collect();
            let name = quantity.element_name(element);
            let wide = cells.iter().map(|c| c.len()).max().unwrap_or(0).max(display_width(&name));
            if width + wide + 2 > usize::from(look.width) && !columns.is_empty() {
                left_out += quantity.count() - element;
                break;
            }
            width += wide + 2;
            columns.push((name, cells));
        }
    }
    let widths: Vec<usize> = columns
        .iter()
        .map(|(name, cells)| cells.iter().map(|c| c.len()).max().unwrap_or(0).max(display_width(name)))
        .collect();
    let number_width = n.saturating_sub(1).to_string().len();
    let mut out = " ".repeat(number_width);
    for ((name, _), width) in columns.iter().zip(&widths) {
        out.push_str(&format!("  {}", pad_left(name, *width)));
    }
    out.push('\n');
    let rows = columns.first().map_or(0, |(_, cells)| cells.len());
    for row in 0..rows {
        out.push_str(&pad_left(&row.to_string(), number_width));
        for ((_, cells), width) in columns.iter().zip(&widths) {
            out.push_str(&format!("  {}", pad_left(&cells[row], *width)));
        }
        out.push('\n');
    }
    if left_out > 0 {
        out.push_str(&format!("{left_out} more columns do not fit; `:draws {n} NAME` picks\n"));
    }
    out
}

/// A value in a table of draws: four digits are enough to see it.
fn cell(quantity: &Quantity, i: usize) -> String {
    let x = quantity.data.get(i);
    if quantity.elem == Elem::Real && x.is_finite() && x != 0.0 {
        let rounded: f64 = format!("{x:.3e}").parse().unwrap_or(x);
        return if (1e-3..1e6).contains(&rounded.abs()) { rounded.to_string() } else { format!("{rounded:e}") };
    }
    number(quantity, i)
}
