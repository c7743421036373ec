//! An audit for people and for programs: what the verdict is and what to do, a table of all numbers, JSON, CSV.

use super::super::numbers::{decimals_for, duration, fixed, pad_right, wrap};
use super::super::summary::nested;
use super::super::table::{BOLD, Column, DIM, LONG_ARRAY, Row, TableOptions, joined, table};
use super::{Audit, CLOSE_BIAS, CLOSE_RATIO, Element, Fault, Level, ROUGH_BIAS, ROUGH_RATIO, Site, rank};
use anstyle::AnsiColor;
use serde_json::{Map, Value, json};

/// With more latent numbers the covariance of `full_rank` has millions of entries.
const MANY: usize = 1000;
/// Numbers that the words about the worst ones name.
const NAMED: usize = 3;
/// A sampler that takes no longer than this is what one should use [seconds].
const QUICK: f64 = 60.0;

/// The columns of files, and how to get them.
type Field = (&'static str, fn(&Element) -> f64);
const FIELDS: [Field; 9] = [
    ("reference_mean", |e| e.mean),
    ("reference_sd", |e| e.sd),
    ("bias", |e| e.bias),
    ("bias_error", |e| e.bias_error),
    ("sd_ratio", |e| e.sd_ratio),
    ("sd_ratio_error", |e| e.sd_ratio_error),
    ("coverage_50", |e| e.coverage_50),
    ("coverage_90", |e| e.coverage_90),
    ("distance", |e| e.distance),
];

impl Audit {
    /// What is judged: `svi · mean_field guide`.
    fn subject(&self, separator: &str) -> String {
        match self.guide.as_str() {
            "" => self.algorithm.clone(),
            guide => format!("{}{separator}{guide} guide", self.algorithm),
        }
    }

    /// The verdict and the table for people, ending in a line break.
    pub fn text(&self, options: &TableOptions) -> String {
        let separator = if options.ascii { ", " } else { " · " };
        let r = &self.reference;
        let heading = options.paint(BOLD, &self.subject(separator));
        let chains = if r.chains == 1 { "chain" } else { "chains" };
        let pace =
            format!("{separator}judged by nuts, {} {chains} of {} draws in {}", r.chains, r.draws, duration(r.secs));
        let heading = vec![format!("{heading}{}", options.paint(DIM, &pace))];
        joined(&[heading, self.facts(options), self.short(options), self.long(options), self.legend(options)])
    }

    /// The verdict, what is worst, what to do, each on lines of its own.
    fn facts(&self, options: &TableOptions) -> Vec<String> {
        let style = match self.verdict() {
            Some(Level::Close) => AnsiColor::Green,
            Some(Level::Rough) | None => AnsiColor::Yellow,
            Some(Level::Wrong) => AnsiColor::Red,
        };
        let mut lines = Vec::new();
        let mut fact = |name: &str, style: Option<AnsiColor>, words: &str| {
            let room = options.width.saturating_sub(13).max(20);
            for (i, part) in wrap(&held_together(words), room).into_iter().enumerate() {
                let part = part.replace(HELD, " ");
                let part = style.map_or(part.clone(), |s| options.paint(s.on_default(), &part));
                lines.push(format!("{}{part}", pad_right(if i == 0 { name } else { "" }, 13)));
            }
        };
        fact("verdict", Some(style), &format!("{}: {}", self.verdict_name(), self.sentence()));
        for doubt in &self.doubts {
            fact("nuts", None, doubt);
        }
        if self.doubts.is_empty() {
            if let Some(words) = self.worst() {
                fact("worst", None, &words);
            }
            let r = &self.reference;
            let words = format!(
                "its draws can be trusted: no divergences, R-hat at most {}, at least {} effective draws",
                fixed(r.max_rhat, 3),
                fixed(r.min_ess, 0)
            );
            fact("nuts", None, &words);
            fact("to do", None, &self.advice());
        }
        for note in &self.notes {
            fact("note", None, note);
        }
        lines
    }

    /// The verdict in a sentence.
    pub fn sentence(&self) -> String {
        let who = if self.is_point() { "the point" } else { "the fit" };
        let judged = self.elements().filter(|(_, _, e)| e.level.is_some()).count();
        let all = if judged == 1 { "the one number".to_string() } else { format!("all {judged} numbers") };
        let off = |level| {
            let n = self.count(level);
            format!("{n} of {judged} {}", if judged == 1 { "number" } else { "numbers" })
        };
        let limit = |x: f64| format!("{x} sd");
        match self.verdict() {
            None => "the draws of nuts cannot be trusted, so they judge nothing; the differences below may be theirs"
                .to_string(),
            Some(Level::Close) if self.is_point() => {
                format!("{all} within {} of the posterior mean; a point has no spread to judge", limit(CLOSE_BIAS))
            }
            Some(Level::Close) => format!(
                "{all} have means within {} and sds within {:.0} % of the posterior's",
                limit(CLOSE_BIAS),
                100.0 * (1.0 - CLOSE_RATIO)
            ),
            Some(Level::Rough) => format!(
                "{who} is roughly right: means within {}, sds within a factor of {:.1}; {} beyond the limits of close",
                limit(ROUGH_BIAS),
                1.0 / ROUGH_RATIO,
                off(Level::Rough)
            ),
            Some(Level::Wrong) => {
                format!(
                    "{who} is not the posterior: {} far off, {} roughly right",
                    off(Level::Wrong),
                    self.count(Level::Rough)
                )
            }
        }
    }

    /// The numbers that are farthest off; none where all are close.
    fn worst(&self) -> Option<String> {
        let mut off: Vec<(&Site, usize, &Element)> =
            self.elements().filter(|(_, _, e)| e.level.is_some_and(|l| l > Level::Close)).collect();
        off.sort_by(|a, b| {
            (b.2.level, rank(a.0.quantity.role))
                .cmp(&(a.2.level, rank(b.0.quantity.role)))
                .then(b.2.severity().total_cmp(&a.2.severity()))
        });
        let words = |(site, at, e): &(&Site, usize, &Element)| {
            let how: Vec<String> = e
                .faults
                .iter()
                .map(|fault| match fault {
                    Fault::Low => format!("{} sds too low", fixed(-e.bias, 2)),
                    Fault::High => format!("{} sds too high", fixed(e.bias, 2)),
                    Fault::Narrow | Fault::Wide => {
                        let covers = match e.coverage_90.is_nan() {
                            true => String::new(),
                            false => format!(" (its 90 % interval holds {:.0} %)", 100.0 * e.coverage_90),
                        };
                        format!("sd {} of the posterior's{covers}", fixed(e.sd_ratio, 2))
                    }
                    Fault::Shape => format!("another shape, at a distance of {}", fixed(e.distance, 2)),
                })
                .collect();
            format!("`{}` {}", site.quantity.element_name(*at), how.join(" and "))
        };
        let named: Vec<String> = off.iter().take(NAMED).map(words).collect();
        (!named.is_empty()).then(|| named.join("; "))
    }

    /// One thing to do, or to leave.
    pub fn advice(&self) -> String {
        let Some(verdict) = self.verdict() else { return self.doubts.join("; ") };
        if verdict == Level::Close {
            return match self.is_point() {
                true => "use it where a point is enough; for intervals fit by `--infer laplace` or nuts".to_string(),
                false => "use it: means, standard deviations and intervals are those of the posterior".to_string(),
            };
        }
        let has = |list: &[Fault]| {
            let off = self.elements().filter(|(_, _, e)| e.level.is_some_and(|l| l > Level::Close));
            off.flat_map(|(_, _, e)| &e.faults).any(|f| list.contains(f))
        };
        let numbers = self.elements().filter(|(s, _, _)| rank(s.quantity.role) == 0).count();
        let spread = has(&[Fault::Narrow, Fault::Wide, Fault::Shape]);
        let correlated = if numbers > MANY { "`--guide 'low_rank(20)'`" } else { "`--guide full_rank`" };
        let curved = "`--guide 'flow(realnvp)'` or `--guide 'mixture(4, full_rank)'`";
        let first = match (self.algorithm.as_str(), self.guide.as_str()) {
            _ if self.is_point() => {
                "a mode is not a mean where the posterior is skewed: fit by `--infer laplace`, or".to_string()
            }
            ("svi", "mean_field") if spread => {
                format!("a guide with the correlations that mean_field leaves out, {correlated}, or")
            }
            ("svi", _) if !spread => {
                "more steps, if `bayesc plot FIT loss` still rises; a richer guide, or".to_string()
            }
            ("svi", "full_rank" | "low_rank" | "laplace") | ("laplace" | "pathfinder", _) => {
                format!("the posterior is not normal in these coordinates: {curved}, or")
            }
            ("svi", _) => "a richer guide, or".to_string(),
            ("nuts", _) => return "two runs of nuts do not agree: draw longer in both".to_string(),
            _ => String::new(),
        };
        let quick = if self.reference.secs <= QUICK { ", which is no long time" } else { "" };
        let time = duration(self.reference.secs);
        format!("{first} nuts itself: it took {time} here{quick} (`bayesc run {} --infer nuts`)", self.model)
            .trim_start()
            .to_string()
    }

    fn is_long(site: &Site, options: &TableOptions) -> bool {
        site.elements.len() > LONG_ARRAY && !options.all
    }

    /// A row for each number of scalars and short arrays.
    fn short(&self, options: &TableOptions) -> Vec<String> {
        let trusted = self.doubts.is_empty();
        let sites = self.sites.iter().filter(|s| !Self::is_long(s, options));
        let all: Vec<(&Site, usize, &Element)> =
            sites.flat_map(|s| s.elements.iter().enumerate().map(move |(i, e)| (s, i, e))).collect();
        if all.is_empty() {
            return Vec::new();
        }
        let row = |(site, i, e): &(&Site, usize, &Element)| Row {
            name: site.quantity.element_name(*i),
            remark: if trusted { remark(e) } else { String::new() },
            doubtful: trusted && e.level.is_some_and(|l| l > Level::Close),
            ..Row::default()
        };
        let rows: Vec<Row> = all.iter().map(row).collect();
        let column = |heading: &str, drop, text: &dyn Fn(&Element) -> String| {
            Column::new(heading, drop, all.iter().map(|(_, _, e)| text(e)).collect())
        };
        let own = |pick: fn(&Element) -> f64| {
            all.iter()
                .map(|(s, _, e)| if s.labels { String::new() } else { cell(pick(e), decimals_for(e.sd, 2)) })
                .collect::<Vec<String>>()
        };
        let columns = vec![
            Column::new("mean", 1, own(|e| e.mean)),
            Column::new("sd", 1, own(|e| e.sd)),
            column("bias", 0, &|e| cell(e.bias, 2)),
            column("se", 3, &|e| cell(e.bias_error, 2)),
            column("sd ratio", 0, &|e| cell(e.sd_ratio, 2)),
            column("se", 4, &|e| cell(e.sd_ratio_error, 2)),
            column("in 50 %", 2, &|e| percent(e.coverage_50)),
            column("in 90 %", 0, &|e| percent(e.coverage_90)),
            column("distance", 1, &|e| cell(e.distance, 2)),
        ];
        table("site", &rows, columns, options)
    }

    /// A row for each long array: its worst numbers.
    fn long(&self, options: &TableOptions) -> Vec<String> {
        let trusted = self.doubts.is_empty();
        let all: Vec<&Site> = self.sites.iter().filter(|s| Self::is_long(s, options)).collect();
        if all.is_empty() {
            return Vec::new();
        }
        let off = |s: &Site| s.elements.iter().filter(|e| e.level.is_some_and(|l| l > Level::Close)).count();
        let row = |s: &&Site| Row {
            name: format!("{} {:?}", s.quantity.name, s.quantity.shape),
            remark: match off(s) {
                0 => String::new(),
                _ if !trusted => String::new(),
                n => format!("{n} of {} off", s.elements.len()),
            },
            doubtful: trusted && off(s) > 0,
            ..Row::default()
        };
        let rows: Vec<Row> = all.iter().map(row).collect();
        // The number of an array that `pick` says most of.
        let most = |s: &Site, pick: fn(&Element) -> f64| {
            let known = s.elements.iter().filter(|e| !pick(e).is_nan());
            known.max_by(|a, b| pick(a).total_cmp(&pick(b))).cloned()
        };
        let column = |heading: &str, drop, text: &dyn Fn(&Site) -> String| {
            Column::new(heading, drop, all.iter().map(|s| text(s)).collect())
        };
        let of = |s: &Site, pick: fn(&Element) -> f64, text: &dyn Fn(&Element) -> String| {
            most(s, pick).map_or(String::new(), |e| text(&e))
        };
        let columns = vec![
            column("worst bias", 0, &|s| of(s, |e| e.bias.abs(), &|e| cell(e.bias, 2))),
            column("least sd ratio", 0, &|s| of(s, |e| -e.sd_ratio, &|e| cell(e.sd_ratio, 2))),
            column("largest", 1, &|s| of(s, |e| e.sd_ratio, &|e| cell(e.sd_ratio, 2))),
            column("least in 90 %", 2, &|s| of(s, |e| -e.coverage_90, &|e| percent(e.coverage_90))),
            column("distance", 1, &|s| of(s, |e| e.distance, &|e| cell(e.distance, 2))),
        ];
        let mut lines = table("array", &rows, columns, options);
        if let Some(dir) = &options.fit_dir {
            lines.push(options.paint(DIM, &format!("`bayesc audit {dir} --all` shows every number")));
        }
        lines
    }

    /// What the columns are.
    fn legend(&self, options: &TableOptions) -> Vec<String> {
        let words = "mean, sd: of nuts; bias: the fit's mean less that of nuts, in sds of nuts; sd ratio: the fit's sd over \
                     that of nuts; se: their standard errors; in 50 %, in 90 %: the share of the draws of nuts inside the \
                     fit's central intervals; distance: the largest difference of the distribution functions";
        wrap(words, options.width).into_iter().map(|line| options.paint(DIM, &line)).collect()
    }

    /// The content under `audit`; numbers that do not apply are `null`.
    pub fn json(&self) -> Value {
        let number = |x: f64| serde_json::Number::from_f64(x).map_or(Value::Null, Value::Number);
        let site = |s: &Site| {
            let q = &s.quantity;
            let mut one = Map::new();
            one.insert("shape".into(), json!(q.shape));
            one.insert("dims".into(), json!(q.dims));
            let labels = q.labels.iter().enumerate().filter_map(|(i, labels)| {
                let name = q.dims.get(i).cloned().flatten().unwrap_or_else(|| i.to_string());
                labels.as_ref().map(|labels| (name, json!(labels)))
            });
            one.insert("labels".into(), Value::Object(labels.collect()));
            one.insert("role".into(), json!(q.role));
            for (name, pick) in FIELDS {
                let values = s.elements.iter().map(|e| number(pick(e))).collect();
                one.insert(name.into(), nested(values, &q.shape));
            }
            let words = s.elements.iter().map(|e| json!(e.level.map(Level::name))).collect();
            one.insert("verdict".into(), nested(words, &q.shape));
            (q.name.clone(), Value::Object(one))
        };
        let r = &self.reference;
        let limits =
            |bias: f64, ratio: f64, distance: f64| json!({ "bias": bias, "sd_ratio": ratio, "distance": distance });
        json!({
            "algorithm": self.algorithm,
            "guide": if self.guide.is_empty() { Value::Null } else { json!(self.guide) },
            "verdict": self.verdict_name().replace(' ', "_"),
            "sentence": self.sentence(),
            "worst": self.worst(),
            "advice": self.advice(),
            "doubts": self.doubts,
            "notes": self.notes,
            "limits": {
                "close": limits(CLOSE_BIAS, CLOSE_RATIO, super::CLOSE_DISTANCE),
                "rough": limits(ROUGH_BIAS, ROUGH_RATIO, super::ROUGH_DISTANCE),
                "standard_errors": super::ERRORS,
                "rhat": super::MOST_RHAT,
                "ess_of_a_chain": super::LEAST_ESS,
                "e_bfmi": super::LEAST_E_BFMI,
            },
            "reference": {
                "algorithm": "nuts",
                "chains": r.chains,
                "draws": r.draws,
                "seconds": number(r.secs),
                "max_rhat": number(r.max_rhat),
                "min_ess": number(r.min_ess),
                "divergences": r.divergences,
                "min_e_bfmi": number(r.min_e_bfmi),
            },
            "sites": self.sites.iter().map(site).collect::<Map<String, Value>>(),
        })
    }

    /// A line for each number; what does not apply is empty.
    pub fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let header = ["name"].into_iter().chain(FIELDS.iter().map(|(name, _)| *name)).chain(["verdict"]);
        writer.write_record(header).expect("writing to memory cannot fail");
        for (site, at, e) in self.elements() {
            let cells = FIELDS.iter().map(|(_, pick)| {
                let x = pick(e);
                if x.is_finite() { x.to_string() } else { String::new() }
            });
            let word = if self.doubts.is_empty() { e.level.map_or("", Level::name) } else { "not judged" };
            let record = [site.quantity.element_name(at)].into_iter().chain(cells).chain([word.to_string()]);
            writer.write_record(record).expect("writing to memory cannot fail");
        }
        let bytes = writer.into_inner().expect("writing to memory cannot fail");
        String::from_utf8(bytes).expect("names and numbers are text")
    }
}

/// Stands for a blank at which no line ends: one column wide, and in no text.
const HELD: char = '\u{e000}';

/// `text` with commands, which stand in backticks, as single words.
fn held_together(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let held: Vec<String> =
        parts.map(|(i, p)| if i % 2 == 1 { p.replace(' ', &HELD.to_string()) } else { p.to_string() }).collect();
    held.join("`")
}

/// What is off about a number, with its level where it is wrong.
fn remark(e: &Element) -> String {
    let words: Vec<&str> = e.faults.iter().map(|f| f.words()).collect();
    match e.level {
        Some(Level::Wrong) => format!("wrong: {}", words.join(", ")),
        Some(_) if e.sd_ratio == 0.0 && words.is_empty() => "a point".to_string(),
        _ => words.join(", "),
    }
}

fn cell(x: f64, decimals: usize) -> String {
    if x.is_nan() { String::new() } else { fixed(x, decimals) }
}
fn percent(x: f64) -> String {
    if x.is_nan() { String::new() } else { fixed(100.0 * x, 0) }
}

#[cfg(test)]
mod tests {
    use super::super::super::fit::{Elem, Quantity, Role};
    use super::super::super::numbers::display_width;
    use super::super::Reference;
    use super::*;

    fn element(bias: f64, ratio: f64) -> Element {
        let e = Element {
            bias,
            bias_error: 0.02,
            sd_ratio: ratio,
            sd_ratio_error: 0.02,
            coverage_50: 0.31,
            coverage_90: 0.66,
            distance: 0.05,
            distance_noise: 0.05,
            ..Element::unknown(1.25, 0.5)
        };
        e.judged()
    }

    fn audit(elements: Vec<Vec<Element>>) -> Audit {
        let site = |(i, elements): (usize, Vec<Element>)| {
            let shape: &[usize] = if elements.len() == 1 { &[] } else { &[elements.len()] };
            let quantity = Quantity::new(format!("s{i}"), Role::Latent, Elem::Real, shape, 1, 0, Vec::<f64>::new());
            Site { quantity, labels: false, elements }
        };
        let reference = Reference {
            chains: 4,
            draws: 1000,
            secs: 2.0,
            max_rhat: 1.002,
            min_ess: 1234.0,
            divergences: 0,
            min_e_bfmi: 1.0,
        };
        Audit {
            algorithm: "svi".into(),
            guide: "mean_field".into(),
            model: "m.bayes".into(),
            secs: 1.0,
            sites: elements.into_iter().enumerate().map(site).collect(),
            reference,
            doubts: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_verdict_comes_first() {
        let text = audit(vec![vec![element(0.02, 0.5)], vec![element(0.01, 1.02)]]).text(&TableOptions::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "svi · mean_field guide · judged by nuts, 4 chains of 1000 draws in 2.0 s");
        assert_eq!(lines[2], "verdict      wrong: the fit is not the posterior: 1 of 2 numbers far off, 0");
        assert!(
            text.contains("worst        `s0` sd 0.50 of the posterior's (its 90 % interval holds 66 %)\n"),
            "{text}"
        );
        assert!(text.contains("`--guide full_rank`") && text.contains("bayesc run m.bayes --infer nuts"), "{text}");
        assert!(text.contains("wrong: too narrow"), "{text}");
        assert!(text.lines().all(|l| display_width(l) <= 80), "{text}");
    }

    #[test]
    fn what_is_not_judged_has_no_flags() {
        let mut a = audit(vec![vec![element(0.02, 0.5)]]);
        a.doubts = vec!["the chains do not agree".into()];
        let text = a.text(&TableOptions::default());
        assert!(text.contains("verdict      not judged:") && !text.contains("too narrow"), "{text}");
        assert_eq!(a.json()["verdict"], json!("not_judged"));
        assert!(a.csv().lines().nth(1).expect("a number").ends_with("not judged"), "{}", a.csv());
    }

    #[test]
    fn long_arrays_take_a_row() {
        let list: Vec<Element> = (0..20).map(|i| element(0.0, if i == 7 { 0.8 } else { 1.0 })).collect();
        let a = audit(vec![list]);
        let text = a.text(&TableOptions::default());
        assert!(text.contains("s0 [20]") && text.contains("1 of 20 off") && text.contains("`s0[7]`"), "{text}");
        let all = a.text(&TableOptions { all: true, ..TableOptions::default() });
        assert!(all.contains("s0[19]"), "{all}");
        assert_eq!(a.json()["sites"]["s0"]["sd_ratio"][7], json!(0.8));
        assert_eq!(a.csv().lines().count(), 21);
    }
}
