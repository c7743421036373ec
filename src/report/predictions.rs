//! Predictions of new data as text: lines of CSV, a JSON document, a table for people.
//!
//! A line is one element of what the model observes. Lines are made part by part, so that nobody has to keep them all.

use super::fit::Metrics;
use super::numbers::{pad_left, pad_right, significant};
use crate::infer::predict::{Part, Said, Target, Whole};
use crate::report::metrics::ClassRows;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// A target as it is shown.
#[derive(Clone, PartialEq, Debug)]
pub struct Shown {
    /// What it is.
    pub target: Target,
    /// The size name of each dimension; `None` for a literal size.
    pub dims: Vec<Option<String>>,
    /// The labels of each dimension; `None` where positions are numbers.
    pub labels: Vec<Option<Vec<String>>>,
    /// What the classes are called, where they have names.
    pub class_labels: Option<Vec<String>>,
}

impl Shown {
    /// The position of an element by labels or numbers: `3`, `ANOKA, 2`; empty for a single number.
    fn index(&self, element: usize) -> String {
        let mut rest = element;
        let mut parts = vec![String::new(); self.target.shape.len()];
        for (dim, (part, &extent)) in parts.iter_mut().zip(&self.target.shape).enumerate().rev() {
            let at = rest % extent;
            rest /= extent;
            let label = self.labels.get(dim).and_then(Option::as_ref).and_then(|l| l.get(at));
            *part = label.cloned().unwrap_or_else(|| at.to_string());
        }
        parts.join(", ")
    }
    fn class(&self, class: usize) -> String {
        self.class_labels.as_ref().and_then(|l| l.get(class)).cloned().unwrap_or_else(|| class.to_string())
    }
}

/// The first of the largest.
fn most_probable(probs: &[f64]) -> usize {
    (0..probs.len()).rev().max_by(|&a, &b| probs[a].total_cmp(&probs[b])).unwrap_or(0)
}

/// Writes lines of CSV: `name,index`, then the columns that some target has.
#[derive(Clone, Debug)]
pub struct Csv {
    numbers: bool,
    /// The largest number of classes; 0 for none.
    classes: usize,
    known: bool,
}

impl Csv {
    /// For these targets.
    pub fn new(shown: &[Shown]) -> Self {
        Self {
            numbers: shown.iter().any(|s| s.target.classes.is_none()),
            classes: shown.iter().filter_map(|s| s.target.classes).max().unwrap_or(0),
            known: shown.iter().any(|s| s.target.known),
        }
    }
    /// The first line.
    pub fn heading(&self) -> String {
        let mut line = String::from("name,index");
        if self.numbers {
            line += ",mean,sd,q5,q25,median,q75,q95";
        }
        if self.classes > 0 {
            line += ",class,probability,entropy,expected_entropy,mutual_information";
            for k in 0..self.classes {
                let _ = write!(line, ",p_{k}");
            }
        }
        if self.known {
            line += ",observed";
        }
        line + "\n"
    }
    /// The lines of a part.
    pub fn lines(&self, shown: &Shown, part: &Part<'_>, out: &mut String) {
        let name = field(&shown.target.name);
        let number = |out: &mut String, x: f64| {
            out.push(',');
            if x.is_finite() {
                let _ = write!(out, "{x}");
            }
        };
        let count = match part.said {
            Said::Numbers(said) => said.len(),
            Said::Classes(rows) => rows.entropy.len(),
        };
        for e in 0..count {
            let _ = write!(out, "{name},{}", field(&shown.index(part.first + e)));
            match part.said {
                Said::Numbers(said) => {
                    let p = said[e];
                    [p.mean, p.sd].iter().chain(&p.quantiles).for_each(|&x| number(out, x));
                    if self.classes > 0 {
                        out.push_str(&",".repeat(5 + self.classes));
                    }
                }
                Said::Classes(ClassRows { probs, entropy, mutual_information }) => {
                    if self.numbers {
                        out.push_str(&",".repeat(7));
                    }
                    let own = shown.target.classes.expect("classes");
                    let probs = &probs[e * own..(e + 1) * own];
                    let best = most_probable(probs);
                    let _ = write!(out, ",{}", field(&shown.class(best)));
                    let (total, mutual) = (entropy[e], mutual_information[e]);
                    [probs[best], total, total - mutual, mutual].iter().for_each(|&x| number(out, x));
                    probs.iter().for_each(|&p| number(out, p));
                    out.push_str(&",".repeat(self.classes - own));
                }
            }
            if self.known {
                match (part.observed, shown.target.classes) {
                    (Some(x), Some(_)) => out.push_str(&format!(",{}", field(&shown.class(x[e] as usize)))),
                    (Some(x), None) => number(out, x[e]),
                    (None, _) => out.push(','),
                }
            }
            out.push('\n');
        }
    }
}

/// A field of CSV, quoted where it must be.
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_string() }
}

/// The predictions of a target that are kept for a table or a document: the first ones.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Kept {
    /// Mean, standard deviation and quantiles of each element; empty for classes.
    numbers: Vec<[f64; 7]>,
    probs: Vec<f64>,
    entropy: Vec<f64>,
    mutual_information: Vec<f64>,
    observed: Vec<f64>,
}

impl Kept {
    /// Keeps what is still missing of the first `most` elements.
    pub fn add(&mut self, part: &Part<'_>, most: usize) {
        let have = self.numbers.len() + self.entropy.len();
        let left = most.saturating_sub(have);
        match part.said {
            Said::Numbers(said) => {
                let row = |p: &crate::infer::predict::NumberPrediction| {
                    let q = p.quantiles;
                    [p.mean, p.sd, q[0], q[1], q[2], q[3], q[4]]
                };
                self.numbers.extend(said.iter().take(left).map(row));
            }
            Said::Classes(ClassRows { probs, entropy, mutual_information }) => {
                let classes = probs.len() / entropy.len().max(1);
                let n = left.min(entropy.len());
                self.probs.extend(&probs[..n * classes]);
                self.entropy.extend(&entropy[..n]);
                self.mutual_information.extend(&mutual_information[..n]);
            }
        }
        if let Some(observed) = part.observed {
            self.observed.extend(observed.iter().take(left));
        }
    }
    fn len(&self) -> usize {
        self.numbers.len() + self.entropy.len()
    }
}

/// All that is shown of a prediction.
#[derive(Clone, PartialEq, Debug)]
pub struct Predictions {
    /// The draws of the posterior that were used.
    pub draws: usize,
    /// The targets.
    pub shown: Vec<Shown>,
    /// The first elements of each.
    pub kept: Vec<Kept>,
    /// What is said of each as a whole.
    pub whole: Vec<Whole>,
    /// What has to be said, one sentence each.
    pub notes: Vec<String>,
    /// Whether somebody stopped it.
    pub stopped: bool,
}

fn number(x: f64) -> Value {
    if x.is_finite() { json!(x) } else { Value::Null }
}

impl Predictions {
    /// The document of `--format json`: predictions element by element in the shape of what is observed, where all were
    /// kept, and scores.
    pub fn json(&self) -> Value {
        let mut targets = Map::new();
        let (mut scores, mut uncertainty) = (Map::new(), Map::new());
        let named = |m: &Metrics| -> Value { m.values.iter().map(|(name, x)| (name.clone(), number(*x))).collect() };
        for (k, s) in self.shown.iter().enumerate() {
            let t = &s.target;
            let mut one = Map::new();
            one.insert("shape".into(), json!(t.shape));
            one.insert("dims".into(), json!(s.dims));
            let labels: Map<String, Value> = s
                .dims
                .iter()
                .zip(&s.labels)
                .filter_map(|(dim, labels)| Some((dim.clone()?, json!(labels.as_ref()?))))
                .collect();
            one.insert("labels".into(), Value::Object(labels));
            let kept = &self.kept[k];
            let whole = kept.len() == t.count();
            let nest = |x: Vec<Value>, shape: &[usize]| super::summary::nested(x, shape);
            let column = |x: &mut dyn Iterator<Item = f64>| nest(x.map(number).collect(), &t.shape);
            match t.classes {
                Some(classes) => {
                    one.insert("classes".into(), json!(classes));
                    if let Some(names) = &s.class_labels {
                        one.insert("class_labels".into(), json!(names));
                    }
                    if whole {
                        let best = kept.probs.chunks_exact(classes).map(most_probable);
                        one.insert("class".into(), nest(best.map(|b| json!(b)).collect(), &t.shape));
                        let shape: Vec<usize> = t.shape.iter().copied().chain([classes]).collect();
                        let probs = kept.probs.iter().map(|&p| number(p)).collect();
                        one.insert("probabilities".into(), nest(probs, &shape));
                        one.insert("entropy".into(), column(&mut kept.entropy.iter().copied()));
                        let mutual = &mut kept.mutual_information.iter().copied();
                        one.insert("mutual_information".into(), column(mutual));
                        let rest =
                            kept.entropy.iter().zip(&kept.mutual_information).map(|(total, mutual)| total - mutual);
                        one.insert("expected_entropy".into(), column(&mut { rest }));
                    }
                }
                None if whole => {
                    let names = ["mean", "sd", "q5", "q25", "median", "q75", "q95"];
                    for (at, name) in names.into_iter().enumerate() {
                        one.insert(name.into(), column(&mut kept.numbers.iter().map(|row| row[at])));
                    }
                }
                None => {}
            }
            targets.insert(t.name.clone(), Value::Object(one));
            let whole = &self.whole[k];
            scores.extend(whole.scores.as_ref().map(|m| (t.name.clone(), named(m))));
            uncertainty.extend(whole.uncertainty.as_ref().map(|m| (t.name.clone(), named(m))));
        }
        json!({ "draws": self.draws, "predictions": targets, "scores": scores, "uncertainty": uncertainty, "notes": self.notes })
    }

    /// The first `rows` elements of each target and the scores, for people.
    pub fn table(&self, rows: usize) -> String {
        let mut text = String::new();
        for (s, kept) in self.shown.iter().zip(&self.kept) {
            let t = &s.target;
            let n = rows.min(kept.len());
            let dims: Vec<String> =
                s.dims.iter().zip(&t.shape).map(|(d, n)| d.clone().unwrap_or_else(|| n.to_string())).collect();
            let _ = match t.count() {
                1 => writeln!(text, "{}: predicted with {} draws", t.name, self.draws),
                count => {
                    writeln!(text, "{}[{}]: {count} predicted with {} draws", t.name, dims.join(", "), self.draws)
                }
            };
            let mut heading: Vec<&str> = vec![""];
            match t.classes {
                Some(_) => heading.extend(["class", "probability", "entropy", "mutual information"]),
                None => heading.extend(["mean", "sd", "5%", "median", "95%"]),
            }
            if t.known {
                heading.push("observed");
            }
            let mut lines: Vec<Vec<String>> = vec![heading.into_iter().map(str::to_string).collect()];
            for e in 0..n {
                let mut line = vec![s.index(e)];
                match t.classes {
                    Some(classes) => {
                        let probs = &kept.probs[e * classes..(e + 1) * classes];
                        let best = most_probable(probs);
                        line.push(s.class(best));
                        let fixed = |x: f64| super::numbers::fixed(x, 3);
                        line.extend([probs[best], kept.entropy[e], kept.mutual_information[e]].map(fixed));
                    }
                    None => {
                        let row = kept.numbers[e];
                        line.extend([row[0], row[1], row[2], row[4], row[6]].map(|x| significant(x, 3)));
                    }
                }
                if let Some(&x) = kept.observed.get(e).filter(|_| t.known) {
                    line.push(if t.classes.is_some() { s.class(x as usize) } else { significant(x, 3) });
                }
                lines.push(line);
            }
            text += &columns(&lines);
            if n < t.count() {
                let _ = writeln!(text, "  and {} more: `--out FILE.csv` writes all", t.count() - n);
            }
            text.push('\n');
        }
        for (s, whole) in self.shown.iter().zip(&self.whole) {
            let name = &s.target.name;
            match whole {
                Whole { scores: Some(metrics), .. } => text += &scores(name, metrics),
                Whole { uncertainty: Some(metrics), .. } => {
                    let mut lines = vec![vec![format!("uncertainty of {name}"), "mean".into()]];
                    lines.extend(metrics.values.iter().map(|(name, x)| vec![words(name), significant(*x, 4)]));
                    text += &columns(&lines);
                }
                _ => continue,
            }
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        text + "\n"
    }
}

/// A score as people read it; uncertainty with what it is of.
fn words(name: &str) -> String {
    let of = match name {
        "entropy" => " (all of it, nats)",
        "expected_entropy" => " (in the data)",
        "mutual_information" => " (about the parameters)",
        _ => "",
    };
    name.replace('_', " ") + of
}

/// A table of scores, those after temperature scaling beside the raw ones.
fn scores(name: &str, metrics: &Metrics) -> String {
    let temperature = metrics.get("temperature");
    let mut lines =
        vec![vec![format!("scores of {name}"), String::new(), temperature.map_or("", |_| "scaled").to_string()]];
    for (name, x) in &metrics.values {
        if name == "temperature" || name.ends_with("_scaled") {
            continue;
        }
        let other = match name.as_str() {
            "accuracy" => temperature.map(|_| *x),
            name => metrics.get(&format!("{name}_scaled")),
        };
        lines.push(vec![words(name), significant(*x, 4), other.map_or(String::new(), |x| significant(x, 4))]);
    }
    let mut text = columns(&lines);
    if let Some(t) = temperature {
        let t = significant(t, 3);
        let _ =
            writeln!(text, "  scaled: p^(1/T) with T = {t}, each half of the rows by what suits the other half best");
    }
    text
}

/// Lines of cells in columns: the first to the left, the others to the right.
fn columns(lines: &[Vec<String>]) -> String {
    let n = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |c: usize| lines.iter().filter_map(|l| l.get(c)).map(|t| super::numbers::display_width(t)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..n).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(c, (cell, &w))| match c {
            0 => format!("  {}", pad_right(cell, w)),
            _ => format!("  {}", pad_left(cell, w)),
        });
        text += cells.collect::<String>().trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Idx;
    use crate::infer::predict::NumberPrediction;

    fn shown(name: &str, classes: Option<usize>, known: bool) -> Shown {
        let data = crate::check::typed::DataId::new(0);
        let target = Target { name: name.into(), shape: vec![2], dims: Vec::new(), classes, data, known };
        Shown { target, dims: vec![Some("N".into())], labels: vec![None], class_labels: None }
    }

    #[test]
    fn lines_have_the_columns_of_all_targets() {
        let (numbers, classes) = (shown("y", None, true), shown("c", Some(2), false));
        let csv = Csv::new(&[numbers.clone(), classes.clone()]);
        let mut text = csv.heading();
        let said = [NumberPrediction { mean: 1.5, sd: f64::NAN, quantiles: [1.0, 1.0, 1.5, 2.0, 2.0] }];
        let part = |target, said, observed| Part { target, first: 1, said, observed, draws: &[] };
        csv.lines(&numbers, &part(0, Said::Numbers(&said), Some(&[3.0])), &mut text);
        let of = Said::Classes(ClassRows { probs: &[0.25, 0.75], entropy: &[0.5], mutual_information: &[0.125] });
        csv.lines(&classes, &part(1, of, None), &mut text);
        assert_eq!(
            text,
            "name,index,mean,sd,q5,q25,median,q75,q95,class,probability,entropy,expected_entropy,mutual_information,p_0,p_1,observed\n\
             y,1,1.5,,1,1,1.5,2,2,,,,,,,,3\n\
             c,1,,,,,,,,1,0.75,0.5,0.375,0.125,0.25,0.75,\n"
        );
        assert!(text.lines().all(|l| l.matches(',').count() == 16));
    }
}
