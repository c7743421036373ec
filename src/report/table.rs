//! The summary of a fit for people: the few numbers that matter first, then a table of the sites.
//!
//! Arrays of more than [`LONG_ARRAY`] elements take one row of a table of their own, unless all elements are asked for.
//! Columns that say nothing are left out, those that do not fit the width are dropped, the least important first.

use super::fit::{Elem, Fit, Quantity, Role};
use super::numbers::{
    align_decimals, decimals_for, display_width, duration, fixed, pad_left, pad_right, significant, truncate,
};
use super::statistics::ElementSummary;
use super::summary::{SiteSummary, Summary, WholeSummary};
use anstyle::{AnsiColor, Style};

/// An array with more elements takes one row.
pub const LONG_ARRAY: usize = 8;

/// How the table is drawn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableOptions {
    /// The columns of the terminal.
    pub width: usize,
    /// Whether to colour it.
    pub color: bool,
    /// Whether to keep to ASCII characters.
    pub ascii: bool,
    /// Whether long arrays are shown element by element.
    pub all: bool,
    /// The fit directory, for the hint how to see more; none where there is no such directory.
    pub fit_dir: Option<String>,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self { width: 80, color: false, ascii: false, all: false, fit_dir: None }
    }
}

impl TableOptions {
    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        if self.color && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
    fn pick<'a>(&self, fancy: &'a str, plain: &'a str) -> &'a str {
        if self.ascii { plain } else { fancy }
    }
}

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const DOUBT: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// The whole summary, ending in a line break.
pub fn render(fit: &Fit, summary: &Summary, options: &TableOptions) -> String {
    let sections = [
        heading(fit, options),
        facts(fit, summary, options),
        scores(fit, options),
        sites(fit, summary, options),
        arrays(fit, summary, options),
        remarks(fit, options),
        expectations(fit, options),
    ];
    joined(&sections)
}

/// How many lines of `expect` hold, and each that does not with its reason; nothing where there are none.
pub fn expectations(fit: &Fit, options: &TableOptions) -> Vec<String> {
    let (all, broken) = (fit.expect.len(), fit.broken().count());
    if all == 0 {
        return Vec::new();
    }
    let count = match (all, broken) {
        (1, 0) => "the one line holds".to_string(),
        (_, 0) => format!("all {all} lines hold"),
        _ => format!("{} of {all} hold", all - broken),
    };
    let mut lines = vec![format!("{} {count}", options.paint(BOLD, "expect:"))];
    lines.extend(fit.broken().map(|e| {
        let why = e.message.as_deref().unwrap_or_default();
        format!("{} `{}`: {why}", options.paint(BAD, "broken:"), e.text)
    }));
    lines
}

/// The tables of the quantities alone, for draws that are no fit.
pub fn render_sites(fit: &Fit, summary: &Summary, options: &TableOptions) -> String {
    joined(&[sites(fit, summary, options), arrays(fit, summary, options)])
}

/// Sections with an empty line between them.
pub(super) fn joined(sections: &[Vec<String>]) -> String {
    let mut text = String::new();
    for section in sections.iter().filter(|lines| !lines.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        for line in section {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// What was done, in one or two lines.
fn heading(fit: &Fit, options: &TableOptions) -> Vec<String> {
    let separator = options.pick(" · ", ", ");
    let mut parts = vec![fit.algorithm.clone()];
    if !fit.guide.is_empty() {
        parts.push(format!("{} guide", fit.guide));
    }
    parts.extend([fit.precision.name().to_string(), format!("seed {}", fit.seed)]);
    let mut pace = vec![duration(fit.timing.fit_secs)];
    if let Some(elbo) = &fit.elbo {
        pace[0] = format!("{} steps in {}", elbo.steps, pace[0]);
    }
    if let Some(mode) = &fit.mode {
        pace[0] = format!("{} steps in {}", mode.steps, pace[0]);
    }
    if let (Some(sampler), Some(q)) = (&fit.sampler, fit.quantities.first()) {
        let n = sampler.chains.len();
        let chains = if n == 1 { "chain" } else { "chains" };
        pace[0] = format!("{n} {chains} of {} draws in {}", q.draws, pace[0]);
    }
    let unit = if fit.independent_draws { "steps/s" } else { "draws/s" };
    for (rate, unit) in [(fit.timing.steps_per_sec, unit), (fit.timing.items_per_sec, "items/s")] {
        pace.extend(rate.filter(|r| r.is_finite()).map(|r| format!("{} {unit}", rate_text(r))));
    }
    let (what, pace) = (parts.join(separator), pace.join(separator));
    if display_width(&what) + display_width(separator) + display_width(&pace) <= options.width {
        vec![format!("{}{}", options.paint(BOLD, &what), options.paint(DIM, &format!("{separator}{pace}")))]
    } else {
        vec![options.paint(BOLD, &what), options.paint(DIM, &pace)]
    }
}

fn rate_text(rate: f64) -> String {
    fixed(rate, if rate < 10.0 { 1 } else { 0 })
}

/// The bound and the diagnostics, each with what it means.
fn facts(fit: &Fit, summary: &Summary, options: &TableOptions) -> Vec<String> {
    let mut rows: Vec<(&str, String, Style, String)> = Vec::new();
    if let Some(bound) = &fit.bound {
        let decimals = if bound.standard_error > 0.0 { decimals_for(bound.standard_error, 2).min(4) } else { 2 };
        let sign = options.pick("±", "+-");
        let error = fixed(bound.standard_error, decimals);
        let value = format!("{} {sign} {error} nats", fixed(bound.final_, decimals));
        rows.push(("bound", value, GOOD, format!("{}, which was maximized", bound.objective)));
    }
    if let Some(elbo) = &fit.elbo {
        let decimals = if elbo.standard_error > 0.0 { decimals_for(elbo.standard_error, 2).min(4) } else { 2 };
        let sign = options.pick("±", "+-");
        let value = format!("{} {sign} {} nats", fixed(elbo.final_, decimals), fixed(elbo.standard_error, decimals));
        let trouble = if elbo.final_.is_finite() { "" } else { "the bound is not finite" };
        rows.push(("ELBO", value, BAD, trouble.into()));
    }
    if let Some(mode) = &fit.mode {
        let words = format!("at the mode; the gradient has norm {:.1e}", mode.gradient_norm);
        let (style, words) = if mode.converged {
            (GOOD, words)
        } else {
            (BAD, format!("not a maximum: the gradient has norm {:.1e}", mode.gradient_norm))
        };
        rows.push(("log density", format!("{} nats", fixed(mode.log_density, 2)), style, words));
        if let Some(evidence) = mode.log_evidence {
            let words = "by the normal at the mode".to_string();
            rows.push(("log evidence", format!("{} nats", fixed(evidence, 2)), GOOD, words));
        }
    }
    let diagnostics = &summary.diagnostics;
    // What the importance ratios are those of.
    let who = if fit.mode.is_some() { "the normal" } else { "the guide" };
    if let Some(k) = diagnostics.pareto_k {
        let (style, words) = match k {
            k if k < 0.5 => (GOOD, "covers the posterior well"),
            k if k < 0.7 => (GOOD, "is close enough to the posterior"),
            k if k < 1.0 => (DOUBT, "misses a part of the posterior"),
            _ => (BAD, "is far from the posterior: doubt its uncertainties"),
        };
        rows.push(("Pareto k", fixed(k, 2), style, format!("{who} {words}")));
    }
    if let Some(loo) = &fit.loo {
        let style = if loo.bad().is_empty() { GOOD } else { DOUBT };
        rows.push(("elpd_loo", loo.elpd().text(options.ascii), style, loo.remark()));
    }
    if let Some(divergences) = diagnostics.divergences {
        let (style, words) = match divergences {
            0 => (GOOD, "none"),
            _ => (BAD, "a part of the posterior was not reached: raise `target_accept` or reparameterize"),
        };
        rows.push(("divergences", divergences.to_string(), style, words.into()));
    }
    if let Some(rhat) = diagnostics.max_rhat {
        // The limits of arXiv:1903.08008, sec. 4.
        let (style, words) = match rhat {
            r if r < 1.01 => (GOOD, "the chains agree"),
            r if r < 1.05 => (DOUBT, "the chains agree only roughly: run them longer"),
            _ => (BAD, "the chains disagree: do not use these draws"),
        };
        rows.push(("max R-hat", fixed(rhat, 3), style, words.into()));
    }
    let ess = [diagnostics.min_ess_bulk, diagnostics.min_ess_tail].into_iter().flatten().reduce(f64::min);
    if let Some(ess) = ess {
        let enough = ess >= 400.0;
        let words = if enough { "enough draws for means and 90 % intervals" } else { "few: run the chains longer" };
        rows.push(("min ESS", fixed(ess, 0), if enough { GOOD } else { DOUBT }, words.into()));
    }
    if let Some(hits) = diagnostics.max_depth_hits.filter(|&hits| hits > 0) {
        rows.push(("depth limit", hits.to_string(), DOUBT, "transitions cut short: raise `max_depth`".into()));
    }
    if fit.interrupted() {
        rows.push(("stopped", "early".into(), DOUBT, "the user interrupted it; `--resume` goes on".into()));
    }
    let explained = rows.iter().filter(|(.., words)| !words.is_empty());
    let value_width = explained.map(|(_, value, ..)| display_width(value)).max().unwrap_or(0);
    rows.into_iter()
        .map(|(name, value, style, words)| {
            let room = options.width.saturating_sub(13 + value_width + 2);
            let words = options.paint(style, &truncate(&words, room, options.ascii));
            format!("{} {}  {words}", pad_right(name, 12), pad_right(&value, value_width))
        })
        .collect()
}

/// The scores on held-out data: a row for each score, a column for each observed name.
fn scores(fit: &Fit, options: &TableOptions) -> Vec<String> {
    if fit.evaluation.is_empty() {
        return Vec::new();
    }
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in fit.evaluation.iter().flat_map(|(_, metrics)| &metrics.values) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let label_width = names.iter().map(|n| n.len()).max().unwrap_or(0).max("held out".len());
    let mut lines = vec![pad_right("held out", label_width)];
    lines.extend(names.iter().map(|name| pad_right(&name.replace('_', " "), label_width)));
    for (observed, metrics) in &fit.evaluation {
        let texts: Vec<String> =
            names.iter().map(|name| metrics.get(name).map_or(String::new(), |x| significant(x, 4))).collect();
        let cells = align_decimals(&texts);
        let width = cells.first().map_or(0, String::len).max(display_width(observed));
        lines[0] += &format!("  {}", pad_left(observed, width));
        for (line, cell) in lines[1..].iter_mut().zip(&cells) {
            *line += &format!("  {}", pad_left(cell, width));
        }
    }
    lines[0] = options.paint(BOLD, &lines[0]);
    lines
}

/// A column: its heading, its cells in line, and how early it goes when the terminal is narrow (0 stays).
pub(super) struct Column {
    heading: String,
    cells: Vec<String>,
    expendable: u8,
}

impl Column {
    pub(super) fn new(heading: impl Into<String>, expendable: u8, cells: Vec<String>) -> Self {
        Self { heading: heading.into(), cells: align_decimals(&cells), expendable }
    }
    fn width(&self) -> usize {
        self.cells.first().map_or(0, |c| display_width(c)).max(self.heading.len())
    }
    fn says_nothing(&self) -> bool {
        self.cells.iter().all(|c| c.trim().is_empty())
    }
}

/// What stands beside the numbers of a row.
#[derive(Default)]
pub(super) struct Row {
    pub name: String,
    /// A line above: the role that begins here.
    pub section: Option<&'static str>,
    /// The doc comment, or how often each label was drawn.
    pub remark: String,
    pub doubtful: bool,
}

/// Lays out rows and columns in the width there is.
pub(super) fn table(first: &str, rows: &[Row], mut columns: Vec<Column>, options: &TableOptions) -> Vec<String> {
    columns.retain(|c| !c.says_nothing());
    let longest = rows.iter().map(|r| display_width(&r.name)).max().unwrap_or(0).max(first.len());
    let numbers = |columns: &[Column]| columns.iter().map(|c| c.width() + 2).sum::<usize>();
    while longest.min(16) + numbers(&columns) > options.width {
        let most = columns.iter().map(|c| c.expendable).max().unwrap_or(0);
        if most == 0 {
            break;
        }
        columns.retain(|c| c.expendable < most);
    }
    let name_width = longest.min(options.width.saturating_sub(numbers(&columns)).max(8));
    let used = name_width + numbers(&columns);
    // Remarks stand at the end of the row where they (or most of them) fit, otherwise on a line below it. A row that
    // has no numbers has nothing else to show.
    let room = options.width.saturating_sub(used + 2);
    let with_numbers = |i: usize| columns.iter().any(|c| !c.cells[i].trim().is_empty());
    let widest = (0..rows.len()).filter(|&i| with_numbers(i)).map(|i| display_width(&rows[i].remark)).max();
    let beside = room >= widest.unwrap_or(0).min(24);
    let mut line = pad_right(first, name_width);
    for column in &columns {
        line += &format!("  {}", pad_left(&column.heading, column.width()));
    }
    let mut lines = vec![options.paint(BOLD, line.trim_end())];
    for (i, row) in rows.iter().enumerate() {
        lines.extend(row.section.map(|section| options.paint(DIM, section)));
        let mut line = pad_right(&truncate(&row.name, name_width, options.ascii), name_width);
        if !with_numbers(i) {
            let remark = truncate(&row.remark, options.width.saturating_sub(name_width + 2), options.ascii);
            lines.push(format!("{line}  {remark}"));
            continue;
        }
        for column in &columns {
            line += &format!("  {}", pad_left(&column.cells[i], column.width()));
        }
        if row.doubtful {
            line = options.paint(DOUBT, line.trim_end()) + &" ".repeat(used - display_width(line.trim_end()));
        }
        if beside {
            line += &format!("  {}", options.paint(DIM, &truncate(&row.remark, room, options.ascii)));
        }
        lines.push(line);
        if !beside && !row.remark.is_empty() {
            let remark = truncate(&row.remark, options.width.saturating_sub(2), options.ascii);
            lines.push(format!("  {}", options.paint(DIM, &remark)));
        }
    }
    lines
}

fn is_long(quantity: &Quantity, site: &SiteSummary, options: &TableOptions) -> bool {
    site.elements.is_none() || (quantity.count() > LONG_ARRAY && !options.all)
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Latent => "latent",
        Role::Kept => "kept",
        Role::Generated => "generated",
    }
}

/// The columns of the table of elements; the texts of one element come from [`element_cells`] in the same order.
const ELEMENT_COLUMNS: [(&str, u8); 9] = [
    ("mean", 0),
    ("sd", 0),
    ("q5", 1),
    ("median", 3),
    ("q95", 1),
    ("mcse", 5),
    ("ess bulk", 4),
    ("ess tail", 6),
    ("r-hat", 2),
];

/// Scalars and short arrays, a row for each element.
fn sites(fit: &Fit, summary: &Summary, options: &TableOptions) -> Vec<String> {
    let short: Vec<(&Quantity, &SiteSummary, &[ElementSummary])> = fit
        .quantities
        .iter()
        .zip(&summary.sites)
        .filter(|(q, s)| !is_long(q, s, options))
        .filter_map(|(q, s)| s.elements.as_deref().map(|elements| (q, s, elements)))
        .collect();
    let several_roles = short.iter().any(|(q, ..)| q.role != short[0].0.role);
    let point = short.iter().all(|(.., elements)| elements.iter().all(|e| e.sd.is_nan() || e.sd == 0.0));
    let mut rows = Vec::new();
    let mut cells: Vec<Vec<String>> = vec![Vec::new(); ELEMENT_COLUMNS.len()];
    let mut role = None;
    for (quantity, site, elements) in short {
        let decimals = site_decimals(elements);
        for (i, element) in elements.iter().enumerate() {
            let mut row = Row { name: quantity.element_name(i), ..Row::default() };
            if several_roles && role != Some(quantity.role) {
                role = Some(quantity.role);
                row.section = Some(role_name(quantity.role));
            }
            if i == 0 {
                row.remark = quantity.doc.as_deref().map(one_line).unwrap_or_default();
            }
            let texts = if let (Some(labels), Some(f)) = (&quantity.value_labels, &site.frequencies) {
                let often = frequency_text(labels, &f[i], options);
                row.remark = if row.remark.is_empty() { often } else { format!("{often}; {}", row.remark) };
                Default::default()
            } else {
                row.doubtful = !fit.independent_draws && element.rhat >= 1.01;
                element_cells(quantity, element, decimals, fit.independent_draws)
            };
            for (column, text) in cells.iter_mut().zip(texts) {
                column.push(text);
            }
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return Vec::new();
    }
    let columns = ELEMENT_COLUMNS.iter().zip(cells).map(|(&(heading, drop), cells)| Column::new(heading, drop, cells));
    let columns: Vec<Column> = if point {
        columns.take(1).map(|c| Column { heading: "value".into(), ..c }).collect()
    } else {
        columns.collect()
    };
    table("site", &rows, columns, options)
}

/// Decimals that show two digits of the smallest sd of a site, or three of the largest value where nothing varies.
fn site_decimals(elements: &[ElementSummary]) -> usize {
    let smallest = elements.iter().map(|e| e.sd).filter(|&sd| sd > 0.0).fold(f64::INFINITY, f64::min);
    if smallest.is_finite() {
        return decimals_for(smallest, 2);
    }
    let largest = elements.iter().map(|e| e.mean.abs()).fold(0.0, f64::max);
    if largest == largest.trunc() { 0 } else { decimals_for(largest, 3) }
}

fn element_cells(quantity: &Quantity, e: &ElementSummary, decimals: usize, independent: bool) -> [String; 9] {
    let known = |x: f64, text: String| if x.is_nan() { String::new() } else { text };
    let value = |x: f64| known(x, fixed(x, decimals));
    let order = |x: f64| match quantity.elem {
        Elem::Real => value(x),
        Elem::Int | Elem::Bool => known(x, significant(x, 2)),
    };
    let chain = |x: f64, decimals| if independent { String::new() } else { known(x, fixed(x, decimals)) };
    [
        value(e.mean),
        value(e.sd),
        order(e.q5),
        order(e.median),
        order(e.q95),
        known(e.mcse_mean, fixed(e.mcse_mean, decimals_for(e.mcse_mean, 2))),
        chain(e.ess_bulk, 0),
        chain(e.ess_tail, 0),
        chain(e.rhat, 3),
    ]
}

/// `B 75 %, A 25 %`: the most frequent labels first, at most five.
fn frequency_text(labels: &[String], frequencies: &[f64], options: &TableOptions) -> String {
    let mut order: Vec<usize> = (0..labels.len()).filter(|&i| frequencies[i] > 0.0).collect();
    order.sort_by(|&a, &b| frequencies[b].total_cmp(&frequencies[a]));
    let more = order.len() > 5;
    let shown: Vec<String> =
        order.iter().take(5).map(|&i| format!("{} {} %", labels[i], percent(frequencies[i]))).collect();
    let ellipsis = if more { format!(", {}", options.pick("…", "...")) } else { String::new() };
    shown.join(", ") + &ellipsis
}

fn percent(fraction: f64) -> String {
    let percent = 100.0 * fraction;
    if percent < 10.0 { significant(percent, 2) } else { fixed(percent, 0) }
}

fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Long arrays, a row each.
fn arrays(fit: &Fit, summary: &Summary, options: &TableOptions) -> Vec<String> {
    let long: Vec<(&Quantity, &WholeSummary)> = fit
        .quantities
        .iter()
        .zip(&summary.sites)
        .filter(|(q, s)| is_long(q, s, options))
        .map(|(q, s)| (q, &s.whole))
        .collect();
    if long.is_empty() {
        return Vec::new();
    }
    let row = |q: &Quantity, w: &WholeSummary| Row {
        name: format!("{} {:?}", q.name, q.shape),
        section: None,
        remark: q.doc.as_deref().map(one_line).unwrap_or_default(),
        doubtful: !fit.independent_draws && w.max_rhat >= 1.01,
    };
    let rows: Vec<Row> = long.iter().map(|(q, w)| row(q, w)).collect();
    let column = |heading: &str, expendable, text: &dyn Fn(&WholeSummary) -> String| {
        Column::new(heading, expendable, long.iter().map(|(_, w)| text(w)).collect())
    };
    let in_sds = |x: f64, w: &WholeSummary| {
        let scale = if w.mean_sd > 0.0 { w.mean_sd } else { w.min_mean.abs().max(w.max_mean.abs()) };
        fixed(x, decimals_for(scale, 2))
    };
    let chain = |x: f64, decimals| {
        if fit.independent_draws || x.is_nan() { String::new() } else { fixed(x, decimals) }
    };
    let columns = vec![
        column("min mean", 1, &|w| in_sds(w.min_mean, w)),
        column("max mean", 1, &|w| in_sds(w.max_mean, w)),
        column("mean sd", 0, &|w| if w.mean_sd > 0.0 { in_sds(w.mean_sd, w) } else { String::new() }),
        column("sd/prior", 2, &|w| w.posterior_to_prior.map_or(String::new(), |r| fixed(r, 2))),
        column("|mean|/sd", 3, &|w| {
            if w.signal_to_noise.is_nan() { String::new() } else { fixed(w.signal_to_noise, 2) }
        }),
        column("min ess", 2, &|w| chain(w.min_ess_bulk.min(w.min_ess_tail), 0)),
        column("max r-hat", 1, &|w| chain(w.max_rhat, 3)),
    ];
    let mut lines = table("array", &rows, columns, options);
    if let Some(dir) = &options.fit_dir {
        lines.push(options.paint(DIM, &format!("`bayesc summary {dir} --all` shows every element")));
    }
    lines
}

/// Notes and warnings, one a line.
fn remarks(fit: &Fit, options: &TableOptions) -> Vec<String> {
    let notes = fit.notes.iter().map(|note| format!("{} {note}", options.paint(DIM, "note:")));
    let warnings = fit.warnings.iter().map(|warning| format!("{} {warning}", options.paint(DOUBT, "warning:")));
    notes.chain(warnings).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fit::{Diagnostics, Elbo, Metrics, ModelSource, Precision, Timing};
    use super::*;

    /// Evenly spaced draws around `loc`, in an order without trend.
    fn spread(loc: f64, scale: f64, n: usize) -> impl Iterator<Item = f64> {
        (0..n).map(move |i| loc + scale * (((i * 37 + 11) % n) as f64 / (n - 1) as f64 - 0.5) * 3.46)
    }

    fn quantity(name: &str, role: Role, locs: &[f64], scale: f64) -> Quantity {
        let n = 200;
        let columns: Vec<Vec<f64>> = locs.iter().map(|&loc| spread(loc, scale, n).collect()).collect();
        let data: Vec<f64> = (0..n).flat_map(|d| columns.iter().map(move |c| c[d])).collect();
        let shape: &[usize] = if locs.len() == 1 { &[] } else { &[locs.len()] };
        Quantity::new(name, role, Elem::Real, shape, 1, n, data)
    }

    fn schools() -> Fit {
        let mut fit = Fit::new("svi", ModelSource::default(), Precision::F64, 1);
        fit.guide = "full_rank".into();
        fit.elbo = Some(Elbo { final_: -31.5173, standard_error: 0.0312, steps: 20_000 });
        fit.diagnostics.pareto_k = Some(0.62);
        let fit_secs = 3.1;
        fit.timing = Timing { compile_secs: 0.004, fit_secs, steps_per_sec: Some(6369.4), items_per_sec: None };
        let mut mu = quantity("mu", Role::Latent, &[4.4], 3.3);
        mu.doc = Some("average effect,\nin points".into());
        let mut theta = quantity("theta", Role::Kept, &[6.2, -0.9], 5.6);
        theta.dims = vec![Some("School".into())];
        theta.labels = vec![Some(vec!["A".into(), "B".into()])];
        let draws: Vec<f64> = (0..200).map(|i| f64::from(u8::from(i % 4 == 0))).collect();
        let mut best = Quantity::new("best", Role::Generated, Elem::Int, &[], 1, 200, draws);
        best.value_labels = Some(vec!["A".into(), "B".into()]);
        fit.quantities = vec![mu, quantity("tau", Role::Latent, &[0.123], 0.045), theta, best];
        fit
    }

    fn draw(fit: &Fit, options: &TableOptions) -> String {
        render(fit, &Summary::of(fit, false), options)
    }

    fn check(got: &str, expect: &str) {
        let trim = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        assert_eq!(trim(got).trim(), trim(expect).trim(), "\n{got}");
    }

    #[test]
    fn the_numbers_that_matter_stand_first() {
        check(
            &draw(&schools(), &TableOptions::default()),
            "
svi · full_rank guide · f64 · seed 1 · 20000 steps in 3.1 s · 6369 steps/s

ELBO         -31.517 ± 0.031 nats
Pareto k     0.62  the guide is close enough to the posterior

site        mean     sd      q5  median     q95    mcse
latent
mu         4.4    3.3    -0.7     4.4     9.5    0.23
  average effect, in points
tau        0.123  0.045   0.053   0.123   0.193  0.0032
kept
theta[A]   6.2    5.6    -2.5     6.2    14.9    0.40
theta[B]  -0.9    5.6    -9.6    -0.9     7.8    0.40
generated
best      A 75 %, B 25 %",
        );
    }

    #[test]
    fn a_wide_terminal_has_the_comments_beside_the_numbers_and_a_narrow_one_drops_columns() {
        let text = draw(&schools(), &TableOptions { width: 82, ..TableOptions::default() });
        assert!(text.contains("0.23    average effect, in points\n"), "{text}");
        let text = draw(&schools(), &TableOptions { width: 42, ascii: true, ..TableOptions::default() });
        assert!(text.contains("site        mean     sd      q5     q95\n"), "{text}");
        assert!(text.lines().all(|line| display_width(line) <= 42) && text.is_ascii(), "{text}");
    }

    #[test]
    fn colour_is_only_added() {
        let plain = draw(&schools(), &TableOptions::default());
        let color = draw(&schools(), &TableOptions { color: true, ..TableOptions::default() });
        assert_ne!(plain, color);
        let stripped = anstream::adapter::strip_str(&color).to_string();
        check(&stripped, &plain);
    }

    #[test]
    fn a_mode_has_values_only() {
        let mut fit = schools();
        let mode = |name: &str, x: f64| Quantity::new(name, Role::Latent, Elem::Real, &[], 1, 1, vec![x; 1]);
        fit.quantities = vec![mode("mu", 4.4321), mode("log_tau", -12.0)];
        let text = draw(&fit, &TableOptions::default());
        assert!(text.ends_with("site      value\nmu         4.43\nlog_tau  -12\n"), "{text}");
    }

    #[test]
    fn networks_are_shown_array_by_array() {
        let mut fit = schools();
        let locs: Vec<f64> = (0..144).map(|i| f64::from(i - 70) / 100.0).collect();
        let mut weight = quantity("h1.weight", Role::Latent, &locs, 0.12);
        weight.shape = vec![16, 1, 3, 3];
        weight.prior_sd = Some(0.47);
        fit.quantities = vec![weight];
        let scores =
            |values: &[(&str, f64)]| Metrics { values: values.iter().map(|(n, v)| (n.to_string(), *v)).collect() };
        fit.evaluation = vec![
            ("labels".into(), scores(&[("accuracy", 0.97222), ("nll", 0.11), ("count", 360.0)])),
            ("y".into(), scores(&[("rmse", 12.5), ("nll", f64::INFINITY)])),
        ];
        fit.warnings = vec!["three rows were left out".into()];
        let options = TableOptions { fit_dir: Some("digits.fit".into()), ..TableOptions::default() };
        check(
            &draw(&fit, &options),
            "
svi · full_rank guide · f64 · seed 1 · 20000 steps in 3.1 s · 6369 steps/s

ELBO         -31.517 ± 0.031 nats
Pareto k     0.62  the guide is close enough to the posterior

held out    labels       y
accuracy    0.9722
nll         0.1100  inf
count     360
rmse                 12.50

array                    min mean  max mean  mean sd  sd/prior  |mean|/sd
h1.weight [16, 1, 3, 3]     -0.70      0.73     0.12      0.26       2.98
`bayesc summary digits.fit --all` shows every element

warning: three rows were left out",
        );
    }

    #[test]
    fn chains_have_columns_of_their_own() {
        let mut fit = schools();
        fit.algorithm = "nuts".into();
        fit.guide.clear();
        fit.elbo = None;
        fit.independent_draws = false;
        fit.diagnostics = Diagnostics { divergences: Some(3), ..Diagnostics::default() };
        fit.quantities.truncate(2);
        check(
            &draw(&fit, &TableOptions { width: 100, ..TableOptions::default() }),
            "
nuts · f64 · seed 1 · 3.1 s · 6369 draws/s

divergences  3      a part of the posterior was not reached: raise `target_accept` or reparameterize
max R-hat    0.999  the chains agree
min ESS      192    few: run the chains longer

site   mean     sd      q5  median    q95    mcse  ess bulk  ess tail  r-hat
mu    4.4    3.3    -0.7     4.4    9.5    0.26         192       228  0.999
  average effect, in points
tau   0.123  0.045   0.053   0.123  0.193  0.0035       192       228  0.999",
        );
    }
}
