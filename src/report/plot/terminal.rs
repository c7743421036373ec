//! Plots as text: drawn by ratatui's widgets into a buffer off screen, returned as a string of whole lines.
//!
//! Braille characters, or plain ASCII where the terminal has no others.

use super::kde;
use crate::report::fit::{Elem, Quantity, TraceRow};
use crate::report::numbers::{decimals_for, fixed, truncate};
use crate::report::statistics::quantile;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Style};
use ratatui_core::symbols::{Marker, bar, line};
use ratatui_core::widgets::Widget;
use ratatui_widgets::barchart::{Bar, BarChart};
use ratatui_widgets::chart::{Axis, Chart, Dataset, GraphType};
use ratatui_widgets::sparkline::Sparkline;

/// The size and look of a plot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlotOptions {
    /// Columns.
    pub width: u16,
    /// Lines, title and axis included.
    pub height: u16,
    /// Whether to colour it.
    pub color: bool,
    /// Whether to keep to ASCII characters.
    pub ascii: bool,
}

impl Default for PlotOptions {
    fn default() -> Self {
        Self { width: 80, height: 15, color: false, ascii: false }
    }
}

/// No plot is drawn into less than this.
const SMALLEST: (u16, u16) = (20, 5);

const CURVE: Color = Color::Cyan;
const MARK: Color = Color::Yellow;
/// Chains, one after the other.
const CHAINS: [Color; 4] = [Color::Cyan, Color::Yellow, Color::Magenta, Color::Green];

/// One element of a quantity: a density for reals, a histogram for ints and Booleans.
pub fn quantity(quantity: &Quantity, element: usize, options: &PlotOptions) -> String {
    let mut draws = Vec::new();
    quantity.element_draws(element, &mut draws);
    let title = quantity.element_name(element);
    match quantity.elem {
        Elem::Real => density(&title, &draws, options),
        Elem::Int => histogram(&title, &draws, quantity.value_labels.as_deref(), options),
        Elem::Bool => histogram(&title, &draws, Some(&["false".into(), "true".into()]), options),
    }
}

/// The density of draws, with marks at the median and at both ends of the central 90 % interval.
pub fn density(title: &str, draws: &[f64], options: &PlotOptions) -> String {
    let options = enlarged(options);
    let mut sorted: Vec<f64> = draws.iter().copied().filter(|x| x.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let curve = kde::density(&sorted, usize::from(options.width) * 2);
    let Some(&(_, top)) = curve.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
        let what = sorted.first().map_or("no finite draws".to_string(), |x| format!("always {x}"));
        return format!("{title}: {what}\n");
    };
    let height_at =
        |x: f64| curve.iter().min_by(|a, b| (a.0 - x).abs().total_cmp(&(b.0 - x).abs())).map_or(0.0, |p| p.1);
    let quantiles = [0.05, 0.5, 0.95].map(|p| quantile(&sorted, p));
    let marks = quantiles.map(|x| [(x, 0.0), (x, height_at(x))]);
    let mut datasets: Vec<Dataset<'_>> = marks.iter().map(|mark| lines(mark, MARK, &options, '|')).collect();
    datasets.push(lines(&curve, CURVE, &options, '*'));
    let bounds = [curve[0].0, curve[curve.len() - 1].0];
    let decimals = decimals_for(quantiles[2] - quantiles[0], 3);
    let [low, median, high] = quantiles.map(|x| fixed(x, decimals));
    let dots = if options.ascii { ".." } else { "…" };
    let footer = format!("median {median}, 90 % in {low} {dots} {high}");
    framed(title, &footer, chart(datasets, bounds, [0.0, top * 1.05], &options), &options)
}

/// How often each whole number was drawn; many different ones are counted in ranges.
pub fn histogram(title: &str, draws: &[f64], labels: Option<&[String]>, options: &PlotOptions) -> String {
    let options = enlarged(options);
    let values: Vec<i64> = draws.iter().filter(|x| x.is_finite()).map(|x| x.round() as i64).collect();
    let (Some(&low), Some(&high)) = (values.iter().min(), values.iter().max()) else {
        return format!("{title}: no finite draws\n");
    };
    let room = i64::from(options.height - 1);
    let span = high.saturating_sub(low).saturating_add(1);
    let step = if labels.is_some() { 1 } else { nice_whole((span - 1) / room + 1) };
    let start = low.div_euclid(step) * step;
    let mut counts = vec![0u64; ((high - start) / step + 1) as usize];
    for value in &values {
        counts[((value - start) / step) as usize] += 1;
    }
    let mut rows: Vec<(String, u64)> = counts
        .iter()
        .enumerate()
        .map(|(i, &count)| {
            let first = start + i as i64 * step;
            let label = usize::try_from(first).ok().and_then(|i| labels?.get(i));
            let dots = if options.ascii { ".." } else { "…" };
            let range = || if step == 1 { first.to_string() } else { format!("{first}{dots}{}", first + step - 1) };
            (label.cloned().unwrap_or_else(range), count)
        })
        .collect();
    let mut hidden = 0;
    if labels.is_some() && rows.len() > room as usize {
        rows.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        hidden = rows.split_off(room as usize - 1).len();
    }
    let widest = rows.iter().map(|(label, _)| crate::report::numbers::display_width(label)).max().unwrap_or(0);
    let widest = widest.min(usize::from(options.width / 2));
    let total = values.len() as f64;
    let bars: Vec<Bar<'_>> = rows
        .iter()
        .map(|(label, count)| {
            let label = crate::report::numbers::pad_left(&truncate(label, widest, options.ascii), widest);
            Bar::with_label(format!("{label} {:>3.0} %", 100.0 * *count as f64 / total), *count).text_value("")
        })
        .collect();
    let lines = rows.len().min(usize::from(u16::MAX)) as u16;
    let mut buffer = Buffer::empty(Rect::new(0, 0, options.width, lines));
    let set = if options.ascii { ASCII_LEVELS } else { bar::NINE_LEVELS };
    let widget = BarChart::horizontal(bars).bar_width(1).bar_gap(0).bar_set(set).bar_style(Style::new().fg(CURVE));
    widget.render(buffer.area, &mut buffer);
    let footer = if hidden > 0 { format!("and {hidden} rarer ones") } else { String::new() };
    framed(title, &footer, buffer, &options)
}

/// The course of the ELBO. The steep beginning is cut off, so that the end can be read.
pub fn elbo(trace: &[TraceRow], options: &PlotOptions) -> String {
    let options = enlarged(options);
    let points: Vec<(f64, f64)> =
        trace.iter().filter(|row| row.elbo.is_finite()).map(|row| (row.step as f64, row.elbo)).collect();
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return "ELBO: no finite values\n".into();
    };
    let mut sorted: Vec<f64> = points.iter().map(|p| p.1).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let (low, high) = (quantile(&sorted, 0.1), sorted[sorted.len() - 1]);
    let y_bounds = if high > low { [low, high] } else { [low - 1.0, high + 1.0] };
    let shown: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (x, y.max(y_bounds[0]))).collect();
    let x_bounds = [first.0, if last.0 > first.0 { last.0 } else { first.0 + 1.0 }];
    let footer = format!("at step {}: {}", last.0, fixed(last.1, decimals_for(y_bounds[1] - y_bounds[0], 3)));
    let datasets = vec![lines(&shown, CURVE, &options, '*')];
    framed("ELBO by step", &footer, chart(datasets, x_bounds, y_bounds, &options), &options)
}

/// The draws of one element by draw, a line for each chain.
pub fn chains(quantity: &Quantity, element: usize, options: &PlotOptions) -> String {
    let options = enlarged(options);
    let title = quantity.element_name(element);
    let values: Vec<Vec<(f64, f64)>> = (0..quantity.chains)
        .map(|chain| (0..quantity.draws).map(|draw| (draw as f64, quantity.value(chain, draw, element))).collect())
        .collect();
    let finite = || values.iter().flatten().map(|p| p.1).filter(|y| y.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return format!("{title}: no finite draws\n");
    }
    let margin = if high > low { 0.02 * (high - low) } else { 1.0 };
    let marks = ['*', 'o', '+', 'x'];
    let datasets =
        values.iter().enumerate().map(|(i, chain)| lines(chain, CHAINS[i % 4], &options, marks[i % 4])).collect();
    let x_bounds = [0.0, quantity.draws.saturating_sub(1).max(1) as f64];
    framed(&title, "", chart(datasets, x_bounds, [low - margin, high + margin], &options), &options)
}

/// Values as one line of blocks of rising height, at most `width` columns; the lowest tenth is drawn alike.
pub fn sparkline(values: &[f64], width: u16, ascii: bool) -> String {
    let finite: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
    if finite.is_empty() || width == 0 {
        return String::new();
    }
    let n = finite.len().min(usize::from(width));
    let means: Vec<f64> = (0..n)
        .map(|i| {
            let part = &finite[i * finite.len() / n..(i + 1) * finite.len() / n];
            part.iter().sum::<f64>() / part.len() as f64
        })
        .collect();
    let mut sorted = means.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let (low, high) = (quantile(&sorted, 0.1), sorted[n - 1]);
    let level = |x: f64| if high > low { (1.0 + 7.0 * ((x - low) / (high - low)).max(0.0)).round() as u64 } else { 4 };
    let mut buffer = Buffer::empty(Rect::new(0, 0, n as u16, 1));
    let set = if ascii { ASCII_LEVELS } else { bar::NINE_LEVELS };
    Sparkline::default().data(means.iter().map(|&x| level(x))).max(8).bar_set(set).render(buffer.area, &mut buffer);
    text(&buffer, &PlotOptions { color: false, ascii, width, height: 1 }).trim_end_matches('\n').to_string()
}

/// Heights in ASCII.
const ASCII_LEVELS: bar::Set<'static> = bar::Set {
    full: "#",
    seven_eighths: "%",
    three_quarters: "*",
    five_eighths: "+",
    half: "=",
    three_eighths: "-",
    one_quarter: ":",
    one_eighth: ".",
    empty: " ",
};

fn enlarged(options: &PlotOptions) -> PlotOptions {
    PlotOptions { width: options.width.max(SMALLEST.0), height: options.height.max(SMALLEST.1), ..*options }
}

fn lines<'a>(points: &'a [(f64, f64)], color: Color, options: &PlotOptions, ascii_mark: char) -> Dataset<'a> {
    let marker = if options.ascii { Marker::Custom(ascii_mark) } else { Marker::Braille };
    Dataset::default().data(points).marker(marker).graph_type(GraphType::Line).style(Style::new().fg(color))
}

/// A chart with ticks at round numbers, in all lines but the title's and the footer's.
fn chart(datasets: Vec<Dataset<'_>>, x_bounds: [f64; 2], y_bounds: [f64; 2], options: &PlotOptions) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, options.width, options.height - 2));
    let y_decimals = decimals_for(y_bounds[1] - y_bounds[0], 3);
    let y_labels = y_bounds.map(|y| fixed(y, y_decimals));
    // The empty labels make room for those that are set below: the widget puts its own in the wrong places.
    let x_axis = Axis::default().bounds(x_bounds).labels(["", ""]);
    let y_axis = Axis::default().bounds(y_bounds).labels(y_labels);
    Chart::new(datasets).x_axis(x_axis).y_axis(y_axis).legend_position(None).render(buffer.area, &mut buffer);
    let rows = buffer.area.height;
    let corner = (0..buffer.area.width).find(|&x| rows >= 2 && buffer[(x, rows - 2)].symbol() == line::BOTTOM_LEFT);
    if let Some(corner) = corner {
        let columns = buffer.area.width - corner - 1;
        let step = round_step((x_bounds[1] - x_bounds[0]) / f64::from(columns / 10).max(1.0));
        let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
        let mut free_from = 0;
        for i in 0..columns {
            let tick = ((x_bounds[0] / step).ceil() + f64::from(i)) * step;
            if tick > x_bounds[1] {
                break;
            }
            let fraction = (tick - x_bounds[0]) / (x_bounds[1] - x_bounds[0]);
            let x = corner + 1 + (fraction * f64::from(columns - 1)).round() as u16;
            let label = fixed(tick, decimals);
            let width = label.len() as u16;
            let left = x.saturating_sub(width / 2).min(buffer.area.width - width.min(buffer.area.width));
            buffer[(x, rows - 2)].set_symbol(line::HORIZONTAL_DOWN);
            if left >= free_from {
                buffer.set_string(left, rows - 1, &label, Style::new());
                free_from = left + width + 2;
            }
        }
    }
    buffer
}

/// The next of 1, 2, 5 times a power of ten.
fn round_step(at_least: f64) -> f64 {
    let power = 10f64.powf(at_least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|&s| s >= at_least * 0.999).unwrap_or(at_least)
}

/// The next of 1, 2, 5 times a power of ten, among whole numbers.
fn nice_whole(at_least: i64) -> i64 {
    (round_step(at_least as f64) as i64).max(1)
}

/// Title, picture, footer.
fn framed(title: &str, footer: &str, buffer: Buffer, options: &PlotOptions) -> String {
    let width = usize::from(options.width);
    let style = anstyle::Style::new().bold();
    let title = truncate(title, width, options.ascii);
    let title = if options.color { format!("{style}{title}{style:#}") } else { title };
    let mut out = format!("{title}\n{}", text(&buffer, options));
    if !footer.is_empty() {
        out += &truncate(footer, width, options.ascii);
        out.push('\n');
    }
    out
}

/// The buffer as lines, without blanks at their ends.
fn text(buffer: &Buffer, options: &PlotOptions) -> String {
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut row = String::new();
        let mut color = Color::Reset;
        let cells = (0..buffer.area.width).map(|x| &buffer[(x, y)]);
        let used = (0..buffer.area.width).rev().find(|&x| buffer[(x, y)].symbol().trim() != "").map_or(0, |x| x + 1);
        for cell in cells.take(usize::from(used)) {
            if options.color && cell.fg != color && cell.symbol() != " " {
                row += &switch(color, cell.fg);
                color = cell.fg;
            }
            row += if options.ascii { plain(cell.symbol()) } else { cell.symbol() };
        }
        row += &switch(color, Color::Reset);
        out += row.trim_end();
        out.push('\n');
    }
    out
}

/// The codes that end one colour and begin another.
fn switch(from: Color, to: Color) -> String {
    let style = |color| {
        let ansi = match color {
            Color::Cyan => anstyle::AnsiColor::Cyan,
            Color::Yellow => anstyle::AnsiColor::Yellow,
            Color::Magenta => anstyle::AnsiColor::Magenta,
            Color::Green => anstyle::AnsiColor::Green,
            _ => return anstyle::Style::new(),
        };
        ansi.on_default()
    };
    if from == to { String::new() } else { format!("{:#}{}", style(from), style(to)) }
}

/// The nearest ASCII character of a line or block.
fn plain(symbol: &str) -> &str {
    match symbol {
        line::VERTICAL => "|",
        line::HORIZONTAL => "-",
        line::BOTTOM_LEFT | line::HORIZONTAL_DOWN => "+",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fit::Role;
    use crate::report::numbers::display_width;

    const SIZES: [(u16, u16); 4] = [(20, 5), (40, 8), (80, 15), (1, 1)];

    fn draws() -> Vec<f64> {
        (0..500).map(|i| (f64::from(i * 37 % 500) / 499.0 - 0.5) * 6.0).collect()
    }

    #[test]
    fn a_density_has_marks_axes_and_the_interval_in_words() {
        let options = PlotOptions { width: 40, height: 8, ascii: true, color: false };
        let got = density("mu", &draws(), &options);
        let rows: Vec<&str> = got.lines().collect();
        assert_eq!(rows.len(), 8, "{got}");
        assert_eq!(rows[0], "mu");
        assert!(rows[1].contains("****************************") && rows[1].starts_with("0.1"), "{got}");
        assert!(rows[3].matches('|').count() == 4, "three marks beside the axis:\n{got}");
        assert!(rows[5].starts_with("     +---") && rows[5].matches('+').count() >= 3, "{got}");
        assert!(rows[6].contains("-2") && rows[6].contains('0') && rows[6].trim_end().ends_with('2'), "{got}");
        assert_eq!(rows[7], "median 0.00, 90 % in -2.70 .. 2.70");
        assert_eq!(density("c", &[1.5; 9], &options), "c: always 1.5\n");
    }

    #[test]
    fn histograms_count_values_labels_and_ranges() {
        let options = PlotOptions { width: 30, height: 6, ascii: true, color: false };
        let values = [0.0, 1.0, 1.0, 3.0];
        let got = histogram("n", &values, None, &options);
        let bar = |n: usize| "#".repeat(n);
        assert_eq!(got, format!("n\n0  25 % {}\n1  50 % {}\n2   0 %\n3  25 % {}\n", bar(11), bar(22), bar(11)));
        let labels = ["A", "B", "C", "D"].map(String::from);
        assert!(histogram("best", &values, Some(&labels), &options).contains("B  50 % ####"));
        let spread: Vec<f64> = (0..100).map(f64::from).collect();
        let got = histogram("n", &spread, None, &options);
        assert!(got.contains(" 0..19  20 % ###") && got.contains("80..99  20 %"), "{got}");
    }

    #[test]
    fn the_elbo_is_cut_below_where_it_is_steep() {
        let row = |i: u32| TraceRow { step: u64::from(i), elbo: -1e6 / f64::from(i).powi(4), ..TraceRow::default() };
        let trace: Vec<TraceRow> = (1..=100).map(row).collect();
        let got = elbo(&trace, &PlotOptions::default());
        assert!(!got.contains("-1000000") && got.ends_with("at step 100: 0.0\n"), "{got}");
        assert_eq!(elbo(&[], &PlotOptions::default()), "ELBO: no finite values\n");
    }

    #[test]
    fn a_sparkline_rises_with_its_values() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8, false), "▁▁▂▄▅▆▇█");
        assert_eq!(sparkline(&[1.0, 1.0, 3.0, 3.0, f64::NAN], 2, true), ".#");
        assert_eq!(sparkline(&[], 8, false), "");
    }

    #[test]
    fn colour_is_only_added() {
        let o = PlotOptions::default();
        let color = density("mu", &draws(), &PlotOptions { color: true, ..o });
        assert!(color.contains("\u{1b}[36m") && color.contains("\u{1b}[33m"));
        assert_eq!(anstream::adapter::strip_str(&color).to_string(), density("mu", &draws(), &o));
    }

    fn check_size(plot: &str, width: u16, height: u16) {
        let (width, height) = (width.max(SMALLEST.0), height.max(SMALLEST.1));
        assert!(plot.lines().all(|l| display_width(l) <= usize::from(width)), "wider than {width}:\n{plot}");
        assert!(plot.lines().count() <= usize::from(height), "higher than {height}:\n{plot}");
    }

    #[test]
    fn every_plot_keeps_to_its_size() {
        let labels: Vec<String> = (0..40).map(|i| format!("a long label {i}")).collect();
        let many: Vec<f64> = (0..400).map(|i| f64::from(i % 40)).collect();
        let q = Quantity::new("x", Role::Latent, Elem::Real, &[], 2, 250, draws());
        let trace: Vec<TraceRow> =
            (0..50).map(|i| TraceRow { step: i, elbo: -(50.0 - i as f64).powi(3), ..TraceRow::default() }).collect();
        for (width, height) in SIZES {
            for ascii in [false, true] {
                let o = PlotOptions { width, height, ascii, color: false };
                let plots = [
                    density("theta", &draws(), &o),
                    histogram("n", &many, None, &o),
                    histogram("n", &many, Some(&labels), &o),
                    elbo(&trace, &o),
                    chains(&q, 0, &o),
                    quantity(&q, 0, &o),
                ];
                for plot in plots {
                    check_size(&plot, width, height);
                    assert!(!ascii || plot.is_ascii(), "{plot}");
                }
            }
        }
    }
}
