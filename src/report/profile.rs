//! Where the time of a run went: by phase, by source line, by operation, against what the machine can do.
//!
//! Every row is a part of the wall clock, and all rows together are all of it. An operation's rates are set against the
//! ceilings of the machine as in a roofline (Williams, Waterman & Patterson 2009): the time that arithmetic alone or
//! memory alone would take at best, whichever is longer, over the time that it took. Values that stay in a cache can
//! take less than memory would need, so that a row may exceed 100 %.

use super::fit::Precision;
use super::numbers::{decimals_for, fixed};
use super::table::{BOLD, Column, DIM, Row, TableOptions, joined, table};
use crate::exec::StepTime;
use crate::infer::{Phase, Profile};
use crate::kernels::ceilings::Ceilings;
use crate::source::{FileId, Sources};
use serde_json::{Value, json};

/// Operations with a smaller share are shown together in the table; the document has them all.
const SMALL_SHARE: f64 = 0.005;
/// Rows of operations and of lines in the tables, at most.
const MOST_ROWS: usize = 24;

/// Columns of the page.
const WIDTH: usize = 80;
/// What comes before the first step, in order.
const START_UP: [Phase; 6] = [Phase::Parse, Phase::Check, Phase::Data, Phase::Lower, Phase::Plan, Phase::Start];
/// What the other phases are called in the table, in order.
const PHASES: [Phase; 10] = [
    Phase::Run,
    Phase::Sampler,
    Phase::Rows,
    Phase::Params,
    Phase::Optimizer,
    Phase::Progress,
    Phase::Elbo,
    Phase::Draws,
    Phase::Scores,
    Phase::Summary,
];

/// An operation of the fit, or a fused group of them, with its places.
#[derive(Clone, PartialEq, Debug)]
pub struct Operation {
    /// The lines that it comes from: `7`, `7, 9`, `bnn:31` of a library; empty where there is none.
    pub lines: String,
    /// The first of these lines, without blanks around it.
    pub text: String,
    /// Its name; of a fused group those of its results, with the number of maps.
    pub name: String,
    /// How often it ran.
    pub calls: u64,
    /// Time [seconds].
    pub secs: f64,
    /// Floating point operations.
    pub flops: f64,
    /// Bytes read and written.
    pub bytes: f64,
}

/// The time of a whole run.
#[derive(Clone, PartialEq, Debug)]
pub struct ProfileReport {
    /// All of it [seconds].
    pub wall: f64,
    /// What the machine can do.
    pub ceilings: Ceilings,
    /// The number type of the run.
    pub precision: Precision,
    /// The operations of the fit, the longest first.
    pub operations: Vec<Operation>,
    /// Everything that is not an operation: name, seconds.
    pub phases: Vec<(&'static str, f64)>,
    /// What came before the end of the first step: name, seconds.
    pub start_up: Vec<(&'static str, f64)>,
}

impl ProfileReport {
    /// Puts a profile in order. `wall` is the time of everything; lines of `root` go without their file's name.
    pub fn new(
        profile: &Profile,
        wall: f64,
        ceilings: Ceilings,
        precision: Precision,
        sources: &Sources,
        root: FileId,
    ) -> Self {
        let mut operations: Vec<Operation> = Vec::new();
        let (mut steps, mut readings) = (0.0, 0.0);
        for step in &profile.steps {
            steps += step.secs;
            // Each call includes a reading of the clock.
            let reading = (step.calls as f64 * ceilings.clock_secs).min(step.secs);
            readings += reading;
            let found = Operation { secs: step.secs - reading, ..operation(step, sources, root) };
            match operations.iter_mut().find(|o| (&o.lines, &o.name) == (&found.lines, &found.name)) {
                Some(o) => {
                    o.calls += found.calls;
                    o.secs += found.secs;
                    o.flops += found.flops;
                    o.bytes += found.bytes;
                }
                None => operations.push(found),
            }
        }
        operations.sort_by(|a, b| b.secs.total_cmp(&a.secs));
        let mut start_up: Vec<(&'static str, f64)> =
            START_UP.iter().map(|&p| (p.name(), profile.of(p))).filter(|(_, secs)| *secs > 0.0).collect();
        let before: f64 = start_up.iter().map(|(_, secs)| secs).sum();
        start_up.extend(profile.first_step.map(|secs| ("first step", secs)));
        let mut phases: Vec<(&'static str, f64)> = vec![("start-up", before)];
        for phase in PHASES {
            let secs = profile.of(phase) - if phase == Phase::Run { steps } else { 0.0 };
            phases.push((phase.name(), secs.max(0.0)));
        }
        phases.push(("readings of the clock", readings));
        phases.push((Phase::Save.name(), profile.of(Phase::Save)));
        let known: f64 = phases.iter().map(|(_, secs)| secs).sum::<f64>() + steps - readings;
        phases.push(("everything else", (wall - known).max(0.0)));
        phases.retain(|(_, secs)| *secs > 0.0);
        Self { wall, ceilings, precision, operations, phases, start_up }
    }

    /// The part of the wall clock.
    fn share(&self, secs: f64) -> f64 {
        if self.wall > 0.0 { secs / self.wall } else { 0.0 }
    }

    /// How near an operation comes to what the machine can do, 1 for as near as can be.
    pub fn of_ceiling(&self, o: &Operation) -> f64 {
        (o.flops / self.ceilings.flops).max(o.bytes / self.ceilings.bytes) / o.secs
    }

    /// Lines with their text and time, the longest first.
    fn lines(&self) -> Vec<(&str, &str, f64)> {
        let mut lines: Vec<(&str, &str, f64)> = Vec::new();
        for o in &self.operations {
            match lines.iter_mut().find(|(line, ..)| *line == o.lines) {
                Some((.., secs)) => *secs += o.secs,
                None => lines.push((&o.lines, &o.text, o.secs)),
            }
        }
        lines.sort_by(|a, b| b.2.total_cmp(&a.2));
        lines
    }

    /// The document for programs; rates are in units of 10^9.
    pub fn json(&self) -> Value {
        let number = |x: f64| if x.is_finite() { json!(x) } else { Value::Null };
        let list = |rows: &[(&str, f64)]| -> Value {
            rows.iter().map(|(name, secs)| json!({"name": name, "seconds": secs, "share": self.share(*secs)})).collect()
        };
        let operations: Vec<Value> = self
            .operations
            .iter()
            .map(|o| {
                json!({
                    "lines": o.lines,
                    "text": o.text,
                    "operation": o.name,
                    "calls": o.calls,
                    "seconds": o.secs,
                    "share": self.share(o.secs),
                    "flops": o.flops,
                    "bytes": o.bytes,
                    "gflops_per_second": number(o.flops / o.secs / 1e9),
                    "gbytes_per_second": number(o.bytes / o.secs / 1e9),
                    "of_ceiling": number(self.of_ceiling(o)),
                })
            })
            .collect();
        json!({
            "wall_seconds": self.wall,
            "precision": self.precision.name(),
            "threads": self.ceilings.threads,
            "ceilings": {
                "gflops_per_second": self.ceilings.flops / 1e9,
                "gbytes_per_second": self.ceilings.bytes / 1e9,
            },
            "start_up": list(&self.start_up),
            "operations": operations,
            "phases": list(&self.phases),
        })
    }
}

/// An operation of one plan, by the names that people read.
fn operation(step: &StepTime, sources: &Sources, root: FileId) -> Operation {
    let mut lines: Vec<(FileId, usize)> = Vec::new();
    for span in &step.origins {
        let at = (span.file, sources.file(span.file).line_column(span.start as usize).0);
        if !lines.contains(&at) {
            lines.push(at);
        }
    }
    // The text's own lines first, then those of what it uses.
    lines.sort_by_key(|&(file, line)| (file != root, file, line));
    let label = |&(file, line): &(FileId, usize)| {
        let name = sources.file(file).name.trim_matches(['<', '>']);
        if file == root { line.to_string() } else { format!("{name}:{line}") }
    };
    let mut labels: Vec<String> = lines.iter().map(label).collect();
    if labels.len() > 3 {
        labels.truncate(2);
        labels.push("…".to_string());
    }
    let text = lines.first().map_or(String::new(), |&(file, line)| {
        sources.file(file).text.lines().nth(line - 1).unwrap_or("").trim().to_string()
    });
    let mut name = step.ops.join(", ");
    if step.maps > 1 {
        name = format!("{} maps to {name}", step.maps);
    }
    Operation {
        lines: labels.join(", "),
        text,
        name,
        calls: step.calls,
        secs: step.secs,
        flops: step.flops,
        bytes: step.bytes,
    }
}

/// Milliseconds with three digits.
fn millis(secs: f64) -> String {
    let ms = secs * 1e3;
    fixed(ms, decimals_for(ms, 3).min(2))
}
fn percent(share: f64) -> String {
    format!("{} %", fixed(100.0 * share, 1))
}
/// A rate in units of 10^9; empty for what is none.
fn rate(per_sec: f64) -> String {
    let x = per_sec / 1e9;
    if x > 0.0 && x.is_finite() { fixed(x, 1) } else { String::new() }
}

/// The report in the width there is.
pub fn render(report: &ProfileReport, options: &TableOptions) -> String {
    joined(&[heading(report, options), start_up(report, options), lines(report, options), operations(report, options)])
}

fn heading(report: &ProfileReport, options: &TableOptions) -> Vec<String> {
    let c = &report.ceilings;
    let threads = if c.threads == 1 { "1 thread".to_string() } else { format!("{} threads", c.threads) };
    let what = format!("profile: {} ms, {threads}, {}", millis(report.wall), report.precision.name());
    let ceilings = format!(
        "ceilings measured here: {} GFLOP/s in registers, {} GB/s from memory",
        fixed(c.flops / 1e9, 0),
        fixed(c.bytes / 1e9, 1)
    );
    vec![options.paint(BOLD, &what), options.paint(DIM, &ceilings)]
}

fn start_up(report: &ProfileReport, options: &TableOptions) -> Vec<String> {
    let all: f64 = report.start_up.iter().map(|(_, secs)| secs).sum();
    let parts: Vec<String> = report.start_up.iter().map(|(name, secs)| format!("{name} {}", millis(*secs))).collect();
    let title = format!("to the end of the first step: {} ms", millis(all));
    let mut lines = vec![options.paint(BOLD, &title)];
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.starts_with("  ") && line.len() + part.len() + 2 <= WIDTH => {
                *line += &format!(", {part}")
            }
            _ => lines.push(format!("  {part}")),
        }
    }
    lines
}

fn lines(report: &ProfileReport, options: &TableOptions) -> Vec<String> {
    let mut rows = Vec::new();
    let (mut times, mut shares) = (Vec::new(), Vec::new());
    for (line, text, secs) in report.lines().into_iter().take(MOST_ROWS) {
        if report.share(secs) < SMALL_SHARE && rows.len() > 2 {
            break;
        }
        let name = if line.is_empty() { "-" } else { line };
        rows.push(Row { name: name.to_string(), remark: text.to_string(), ..Row::default() });
        times.push(millis(secs));
        shares.push(percent(report.share(secs)));
    }
    if rows.is_empty() {
        return Vec::new();
    }
    table("line", &rows, vec![Column::new("ms", 0, times), Column::new("share", 0, shares)], options)
}

fn operations(report: &ProfileReport, options: &TableOptions) -> Vec<String> {
    let mut rows: Vec<Row> = Vec::new();
    let mut cells: [Vec<String>; 6] = Default::default();
    let mut add = |name: String, section: Option<&'static str>, texts: [String; 6]| {
        rows.push(Row { name, section, ..Row::default() });
        cells.iter_mut().zip(texts).for_each(|(column, text)| column.push(text));
    };
    let plain = |secs: f64| {
        let [e1, e2, e3, e4] = std::array::from_fn(|_| String::new());
        [millis(secs), percent(report.share(secs)), e1, e2, e3, e4]
    };
    let shown = |i: usize, o: &Operation| i < MOST_ROWS && (report.share(o.secs) >= SMALL_SHARE || i < 4);
    let count = report.operations.iter().enumerate().filter(|&(i, o)| shown(i, o)).count();
    for o in &report.operations[..count] {
        let name = format!("{:>4} {}", o.lines, o.name);
        let (flops, bytes) = (rate(o.flops / o.secs), rate(o.bytes / o.secs));
        let near = format!("{} %", fixed(100.0 * report.of_ceiling(o), 0));
        add(name, None, [millis(o.secs), percent(report.share(o.secs)), o.calls.to_string(), flops, bytes, near]);
    }
    let rest = &report.operations[count..];
    if !rest.is_empty() {
        let secs = rest.iter().map(|o| o.secs).sum();
        add(format!("     {} other operations", rest.len()), None, plain(secs));
    }
    for &(name, secs) in &report.phases {
        add(format!("     {name}"), None, plain(secs));
    }
    add("     all".to_string(), None, plain(report.wall));
    let headings = [("ms", 0), ("share", 0), ("calls", 2), ("GFLOP/s", 0), ("GB/s", 1), ("of ceiling", 0)];
    let columns = headings.into_iter().zip(cells).map(|((heading, drop), c)| Column::new(heading, drop, c));
    table("line operation", &rows, columns.collect(), options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Span;

    fn example() -> (Profile, Sources, FileId) {
        let mut sources = Sources::default();
        let root = sources.add("m.bayes", None, "model {\n  h ~ dense(x, 3)\n  y ~ Normal(h, 1)\n}\n");
        let library = sources.add("<bnn>", None, "net dense() {\n  w ~ Normal(0, 1)\n}\n");
        let step = |ops: &[&'static str], maps, places: &[(FileId, usize)], secs| StepTime {
            ops: ops.to_vec(),
            maps,
            origins: places.iter().map(|&(file, at)| Span::new(file, at, at + 1)).collect(),
            calls: 10,
            secs,
            flops: 2e8,
            bytes: 1e7,
        };
        let mut profile = Profile { first_step: Some(0.25), ..Profile::default() };
        profile.steps.push(step(&["matmul"], 0, &[(root, 10)], 0.5));
        profile.steps.push(step(&["matmul"], 0, &[(root, 10)], 0.25));
        profile.steps.push(step(&["exp", "add"], 5, &[(library, 17), (root, 28)], 0.125));
        for (phase, secs) in [(Phase::Parse, 0.0625), (Phase::Run, 1.0), (Phase::Save, 0.25)] {
            profile.add(phase, secs);
        }
        (profile, sources, root)
    }

    fn report() -> ProfileReport {
        let (profile, sources, root) = example();
        let ceilings = Ceilings { threads: 2, flops: 1e9, bytes: 1e8, clock_secs: 0.0 };
        ProfileReport::new(&profile, 2.0, ceilings, Precision::F32, &sources, root)
    }

    #[test]
    fn shares_add_up_to_the_wall_clock() {
        let report = report();
        let all: f64 = report.operations.iter().map(|o| o.secs).chain(report.phases.iter().map(|p| p.1)).sum();
        assert_eq!(all, 2.0);
        assert_eq!(
            report.phases,
            [("start-up", 0.0625), ("between operations", 0.125), ("files", 0.25), ("everything else", 0.6875)]
        );
        assert_eq!(report.start_up, [("parse", 0.0625), ("first step", 0.25)]);
    }

    #[test]
    fn the_same_operation_of_two_plans_is_one_row() {
        let report = report();
        let [product, maps] = &report.operations[..] else { panic!("{:?}", report.operations) };
        assert_eq!((product.lines.as_str(), product.text.as_str(), product.calls), ("2", "h ~ dense(x, 3)", 20));
        // 4e8 operations at 1e9 a second take 0.4 s, 2e7 bytes at 1e8 take 0.2 s; it took 0.75 s.
        assert!((report.of_ceiling(product) - 0.4 / 0.75).abs() < 1e-12);
        assert_eq!((maps.lines.as_str(), maps.name.as_str()), ("3, bnn:2", "5 maps to exp, add"));
    }

    #[test]
    fn readings_of_the_clock_are_no_operation() {
        let (profile, sources, root) = example();
        let ceilings = Ceilings { threads: 1, flops: 1e9, bytes: 1e8, clock_secs: 0.01 };
        let report = ProfileReport::new(&profile, 2.0, ceilings, Precision::F32, &sources, root);
        assert!((report.operations[0].secs - 0.55).abs() < 1e-12);
        let all: f64 = report.operations.iter().map(|o| o.secs).chain(report.phases.iter().map(|p| p.1)).sum();
        assert!((all - 2.0).abs() < 1e-12 && report.phases.iter().any(|p| p.0 == "readings of the clock"));
    }

    #[test]
    fn the_tables_fit_a_terminal() {
        let text = render(&report(), &TableOptions::default());
        assert!(text.lines().all(|l| super::super::numbers::display_width(l) <= 80), "{text}");
        for part in ["profile: 2000 ms, 2 threads, f32", "h ~ dense(x, 3)", "matmul", "37.5 %", "53 %", "100.0 %"] {
            assert!(text.contains(part), "`{part}` in\n{text}");
        }
    }
}
