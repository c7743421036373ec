//! Fits side by side: which predicts new data better, by leave-one-out and by scores on held-out data.
//!
//! Differences of elpd_loo are taken observation by observation, so their standard error is that of the paired
//! differences, and fits of different data cannot be compared. When two fits may be told apart: Sivula, Magnusson,
//! Matamoros & Vehtari 2020, arXiv:2008.10296.

use super::fit::{Fit, Metrics};
use super::loo::{Estimate, difference};
use super::numbers::{decimals_for, fixed, significant};
use super::table::{Column, Row, TableOptions, joined, table};
use serde_json::{Map, Value, json};

/// A smaller difference of elpd says little about which model predicts better [nats] (arXiv:2008.10296, sec. 1.5).
const SMALL_DIFFERENCE: f64 = 4.0;
/// A difference of fewer standard errors may be chance.
const FEW_ERRORS: f64 = 2.0;
/// With fewer observations the normal approximation behind the standard errors is rough (the same source).
const FEW_OBSERVATIONS: usize = 100;
/// From this Pareto k on a guide misses a part of the posterior (arXiv:1802.02538).
const FAR_GUIDE: f64 = 0.7;

/// One fit among others.
#[derive(Debug)]
pub struct Compared<'f> {
    /// What it is called.
    pub name: &'f str,
    /// The fit.
    pub fit: &'f Fit,
    /// Its elpd_loo minus that of the best fit [nats]; `None` where one of them has none.
    pub difference: Option<Estimate>,
}

/// Fits in order, the best first.
#[derive(Debug)]
pub struct Comparison<'f> {
    /// By elpd_loo; those without one come last, in the order in which they were named.
    pub fits: Vec<Compared<'f>>,
    /// What the table says, in words.
    pub sentences: Vec<String>,
    /// Why it may not be relied on.
    pub warnings: Vec<String>,
    /// Whether the scores on held-out data are of the same data, as far as can be told.
    pub scores: bool,
}

/// Why fits cannot be compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// One thing to do.
    pub help: String,
}

/// Puts fits with their names side by side.
///
/// # Errors
/// When they were not fitted to the same data, or have nothing that could be compared.
pub fn compare<'f>(fits: &'f [(String, Fit)]) -> Result<Comparison<'f>, Refusal> {
    let refuse = |message: String, help: &str| Err(Refusal { message, help: help.to_string() });
    let with: Vec<&(String, Fit)> = fits.iter().filter(|(_, fit)| fit.loo.is_some()).collect();
    let (scored, clash) = scores(fits);
    if with.len() < 2 && !scored {
        return match clash {
            Some(why) => refuse(why, "give the `evaluate` blocks the same data, and fit again"),
            None => refuse(
                "there is nothing to compare: no two fits have elpd_loo or scores on held-out data".to_string(),
                "the notes of `bayesc summary FIT` say why elpd_loo is missing; an `evaluate` block gives scores",
            ),
        };
    }
    let elpd = |fit: &Fit| fit.loo.as_ref().map_or(f64::NEG_INFINITY, |loo| loo.elpd().value);
    let mut order: Vec<&(String, Fit)> = fits.iter().collect();
    let key = |fit: &Fit| (fit.loo.is_some(), Some(elpd(fit)).filter(|x| !x.is_nan()).unwrap_or(f64::NEG_INFINITY));
    order.sort_by(|(_, a), (_, b)| {
        let (a, b) = (key(a), key(b));
        b.0.cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    let (best_name, best) = order[0];
    let mut list = Vec::new();
    let (mut sentences, mut warnings) = (Vec::new(), Vec::new());
    for (name, fit) in order {
        let pairs = match (&fit.loo, &best.loo) {
            (Some(loo), Some(best)) => match loo.paired(best, [name, best_name]) {
                Ok(pairs) => Some(pairs),
                Err(why) => {
                    let help =
                        "elpd_loo is a sum over observations: fit both models to the same ones, under the same names";
                    return refuse(format!("these fits have not observed the same data: {why}"), help);
                }
            },
            _ => None,
        };
        let own = std::ptr::eq(fit, best);
        let difference = pairs.map(|pairs| difference(&pairs));
        if let (Some(d), false) = (difference, own) {
            sentences.push(verdict(best_name, name, d));
        }
        list.push(Compared { name, fit, difference });
    }
    if with.len() == 1 {
        list.iter_mut().for_each(|c| c.difference = None);
    }
    for Compared { name, fit, .. } in &list {
        let Some(loo) = &fit.loo else {
            if !with.is_empty() {
                warnings.push(format!("`{name}` has no elpd_loo; the notes of `bayesc summary {name}` say why"));
            }
            continue;
        };
        let bad = loo.bad().len();
        if bad > 0 {
            warnings.push(format!(
                "elpd_loo of `{name}` is not reliable: {bad} of {} Pareto k above {}; `bayesc summary {name}` names the \
                 observations",
                loo.count(),
                fixed(loo.good_k(), 2)
            ));
        }
        if let Some(k) = fit.diagnostics.pareto_k.filter(|k| *k > FAR_GUIDE) {
            warnings.push(format!(
                "the guide of `{name}` misses a part of the posterior (Pareto k {}), and elpd_loo is that of its draws: \
                 compare fits by nuts, or with a better guide",
                fixed(k, 2)
            ));
        }
    }
    let few = best.loo.as_ref().map(|loo| loo.count()).filter(|&n| with.len() > 1 && n < FEW_OBSERVATIONS);
    if let Some(n) = few {
        sentences
            .push(format!("With {n} observations the standard errors are rough themselves, and rather too small."));
    }
    warnings.extend(clash);
    Ok(Comparison { fits: list, sentences, warnings, scores: scored })
}

/// Whether two fits at least have scores, all of the same data as far as can be told, and otherwise why not.
fn scores(fits: &[(String, Fit)]) -> (bool, Option<String>) {
    let with: Vec<&(String, Fit)> = fits.iter().filter(|(_, fit)| !fit.evaluation.is_empty()).collect();
    let count = |m: &Metrics| m.get("count");
    for (name, fit) in with.iter().skip(1) {
        for (observed, metrics) in &fit.evaluation {
            let (first_name, first) = with[0];
            let of_first = first.evaluation.iter().find(|(n, _)| n == observed).and_then(|(_, m)| count(m));
            if let (Some(a), Some(b)) = (of_first, count(metrics))
                && a != b
            {
                return (
                    false,
                    Some(format!(
                        "the scores of `{observed}` are of different held-out data: {a} values in `{first_name}`, {b} in \
                         `{name}`"
                    )),
                );
            }
        }
    }
    (with.len() > 1, None)
}

/// What a difference says; `d` is that of the other fit from the better one.
fn verdict(best: &str, other: &str, d: Estimate) -> String {
    let gap = Estimate { value: -d.value, ..d };
    let errors = gap.value / gap.standard_error;
    let size = format!("{} nats", gap.text(true).replace("+-", "with a standard error of"));
    if !gap.value.is_finite() {
        format!("`{best}` and `{other}` cannot be compared: elpd_loo of `{other}` is not finite.")
    } else if gap.value < SMALL_DIFFERENCE {
        format!(
            "`{best}` and `{other}` cannot be told apart: their elpd_loo differ by {size}, and less than {SMALL_DIFFERENCE} \
             says little."
        )
    } else if errors < FEW_ERRORS {
        format!(
            "`{best}` and `{other}` cannot be told apart: their elpd_loo differ by {size}, only {} of them.",
            fixed(errors, 1)
        )
    } else {
        format!("`{best}` predicts better than `{other}`: by {size}, {} of them.", fixed(errors, 1))
    }
}

/// A column of the table and of the CSV file.
struct Score {
    heading: String,
    /// How early it goes from a narrow table.
    expendable: u8,
    values: Vec<Option<f64>>,
}

impl Comparison<'_> {
    /// The scores on held-out data, those first that stand first in a fit: a column for each observed name and score.
    fn score_columns(&self) -> Vec<Score> {
        let mut keys: Vec<(&str, &str)> = Vec::new();
        for (observed, metrics) in self.fits.iter().flat_map(|c| &c.fit.evaluation) {
            for (score, _) in &metrics.values {
                if !keys.contains(&(observed, score)) {
                    keys.push((observed, score));
                }
            }
        }
        let value = |fit: &Fit, (observed, score): (&str, &str)| {
            fit.evaluation.iter().find(|(name, _)| name == observed).and_then(|(_, m)| m.get(score))
        };
        let expendable = |score: &str| match score {
            "expected_entropy" | "temperature" => 2,
            "nll_scaled" | "brier_scaled" | "ece_scaled" => 1,
            _ => 0,
        };
        let column = |&(observed, score): &(&str, &str)| Score {
            heading: format!("{observed}.{score}"),
            expendable: expendable(score),
            values: self.fits.iter().map(|c| value(c.fit, (observed, score))).collect(),
        };
        keys.iter().filter(|_| self.scores).map(column).collect()
    }

    /// The tables and sentences for people, ending in a line break.
    pub fn text(&self, options: &TableOptions) -> String {
        let rows = || -> Vec<Row> {
            let row = |c: &Compared<'_>| {
                let bad = c.fit.loo.as_ref().is_some_and(|loo| !loo.bad().is_empty());
                Row { name: c.name.to_string(), doubtful: bad, ..Row::default() }
            };
            self.fits.iter().map(row).collect()
        };
        let mut sections = Vec::new();
        if self.fits.iter().any(|c| c.fit.loo.is_some()) {
            let cells = |pick: &dyn Fn(&Compared<'_>) -> Option<String>| -> Vec<String> {
                self.fits.iter().map(|c| pick(c).unwrap_or_default()).collect()
            };
            let of = |e: Estimate, x: f64| {
                let error = if e.standard_error > 0.0 { e.standard_error } else { 0.1 };
                fixed(x, decimals_for(error, 2).min(3))
            };
            let elpd = |c: &Compared<'_>| c.fit.loo.as_ref().map(|loo| loo.elpd());
            let columns = vec![
                Column::new("elpd_loo", 0, cells(&|c| elpd(c).map(|e| of(e, e.value)))),
                Column::new("se", 1, cells(&|c| elpd(c).map(|e| of(e, e.standard_error)))),
                Column::new("difference", 0, cells(&|c| c.difference.map(|e| of(e, e.value)))),
                Column::new("se of it", 0, cells(&|c| c.difference.map(|e| of(e, e.standard_error)))),
                Column::new("p_loo", 2, cells(&|c| c.fit.loo.as_ref().map(|loo| fixed(loo.p_loo().value, 1)))),
                Column::new("bad k", 1, cells(&|c| c.fit.loo.as_ref().map(|loo| loo.bad().len().to_string()))),
            ];
            sections.push(table("fit", &rows(), columns, options));
        }
        let columns = self.score_columns().into_iter().map(|score| {
            let cells = score.values.iter().map(|v| v.map_or(String::new(), |x| significant(x, 4))).collect();
            Column::new(score.heading, score.expendable, cells)
        });
        let columns: Vec<Column> = columns.collect();
        if !columns.is_empty() {
            sections.push(table("held out", &rows(), columns, options));
        }
        sections.push(self.sentences.clone());
        joined(&sections)
    }

    /// The content under `compare`; numbers that are not finite are `null`.
    pub fn json(&self) -> Value {
        let number = |x: f64| serde_json::Number::from_f64(x).map_or(Value::Null, Value::Number);
        let fits = self.fits.iter().map(|c| {
            let loo = c.fit.loo.as_ref();
            let scores = |m: &Metrics| -> Value { m.values.iter().map(|(n, v)| (n.clone(), number(*v))).collect() };
            let evaluate: Map<String, Value> = c.fit.evaluation.iter().map(|(n, m)| (n.clone(), scores(m))).collect();
            json!({
                "fit": c.name,
                "algorithm": c.fit.algorithm,
                "guide": if c.fit.guide.is_empty() { Value::Null } else { json!(c.fit.guide) },
                "loo": loo.map(|loo| loo.json()),
                "difference": c.difference.map(|d| number(d.value)),
                "difference_standard_error": c.difference.map(|d| number(d.standard_error)),
                "evaluate": evaluate,
            })
        });
        let best = self.fits.first().filter(|c| c.difference.is_some());
        json!({
            "best": best.map(|c| c.name),
            "fits": fits.collect::<Value>(),
            "sentences": self.sentences,
            "warnings": self.warnings,
        })
    }

    /// One line for each fit; what is not there or not finite is empty.
    pub fn csv(&self) -> String {
        let scores = self.score_columns();
        let mut writer = csv::Writer::from_writer(Vec::new());
        let fixed =
            ["fit", "algorithm", "guide", "elpd_loo", "se", "difference", "difference_se", "p_loo", "bad_k", "n"];
        let header = fixed.into_iter().chain(scores.iter().map(|s| s.heading.as_str()));
        writer.write_record(header).expect("writing to memory cannot fail");
        let cell = |x: Option<f64>| x.filter(|x| x.is_finite()).map_or(String::new(), |x| x.to_string());
        for (i, c) in self.fits.iter().enumerate() {
            let loo = c.fit.loo.as_ref();
            let elpd = loo.map(|loo| loo.elpd());
            let mut record = vec![c.name.to_string(), c.fit.algorithm.clone(), c.fit.guide.clone()];
            record.extend([
                cell(elpd.map(|e| e.value)),
                cell(elpd.map(|e| e.standard_error)),
                cell(c.difference.map(|e| e.value)),
                cell(c.difference.map(|e| e.standard_error)),
                cell(loo.map(|loo| loo.p_loo().value)),
                cell(loo.map(|loo| loo.bad().len() as f64)),
                cell(loo.map(|loo| loo.count() as f64)),
            ]);
            record.extend(scores.iter().map(|s| cell(s.values[i])));
            writer.write_record(record).expect("writing to memory cannot fail");
        }
        let bytes = writer.into_inner().expect("writing to memory cannot fail");
        String::from_utf8(bytes).expect("names and numbers are text")
    }
}

#[cfg(test)]
mod tests {
    use super::super::fit::{ModelSource, Precision};
    use super::super::loo::{Loo, LooTerm, Point};
    use super::*;

    fn fit(elpd: &[f64], hash: &str) -> Fit {
        let mut fit = Fit::new("nuts", ModelSource::default(), Precision::F64, 1);
        let points: Vec<Point> = elpd.iter().map(|&elpd| Point { elpd, p: 0.1, pareto_k: 0.2 }).collect();
        let (shape, hash) = (vec![points.len()], hash.to_string());
        let term = LooTerm { name: "y".into(), shape, hash, points, ..LooTerm::default() };
        fit.loo = Some(Loo { chains: 4, draws: 1000, terms: vec![term] });
        fit
    }
    fn named(fits: Vec<Fit>) -> Vec<(String, Fit)> {
        fits.into_iter().enumerate().map(|(i, f)| (format!("f{i}"), f)).collect()
    }

    #[test]
    fn the_best_comes_first_and_differences_are_paired() {
        let fits = named(vec![fit(&[-3.0, -9.0, -4.0, -10.0], "h"), fit(&[-1.0, -7.5, -2.0, -7.5], "h")]);
        let c = compare(&fits).expect("the same data");
        assert_eq!(c.fits.iter().map(|c| c.name).collect::<Vec<_>>(), ["f1", "f0"]);
        let d = c.fits[1].difference.expect("both have elpd_loo");
        // Differences -2, -1.5, -2, -2.5: their variance is 1/6, whatever that of the fits is.
        assert!((d.value + 8.0).abs() < 1e-12 && (d.standard_error - (4.0f64 / 6.0).sqrt()).abs() < 1e-12);
        assert_eq!(c.fits[0].difference.map(|d| d.value), Some(0.0));
        assert!(c.sentences[0].contains("`f1` predicts better than `f0`"), "{:?}", c.sentences);
        assert_eq!(c.json()["best"], json!("f1"));
        assert!(c.csv().lines().nth(2).expect("two fits").starts_with("f0,nuts,,-26,"), "{}", c.csv());
        let text = c.text(&TableOptions::default());
        assert!(text.lines().nth(1).expect("a row").starts_with("f1"), "{text}");
    }

    #[test]
    fn what_may_be_chance_is_called_so() {
        let near = named(vec![fit(&[-1.0, -2.0], "h"), fit(&[-1.5, -2.1], "h")]);
        assert!(compare(&near).expect("the same data").sentences[0].contains("cannot be told apart"));
        let noisy = named(vec![fit(&[-1.0, -20.0, -3.0], "h"), fit(&[-21.0, -2.0, -13.0], "h")]);
        let c = compare(&noisy).expect("the same data");
        assert!(c.sentences[0].contains("cannot be told apart") && c.sentences[0].contains("12"), "{:?}", c.sentences);
    }

    #[test]
    fn fits_of_other_data_are_refused() {
        let why = |a: Fit, b: Fit| compare(&named(vec![a, b])).expect_err("not the same data").message;
        assert!(why(fit(&[-1.0, -2.0], "h"), fit(&[-1.0, -2.0], "g")).contains("values of `y`"));
        assert!(why(fit(&[-1.0, -2.0], "h"), fit(&[-1.0], "h")).contains("2 observations"));
        let mut other = fit(&[-1.0, -2.0], "h");
        other.loo.as_mut().expect("made with it").terms[0].name = "x".into();
        assert!(why(fit(&[-1.0, -2.0], "h"), other.clone()).contains("`x`"));
        other.loo = None;
        assert!(why(fit(&[-1.0], "h"), other).contains("nothing to compare"));
    }

    #[test]
    fn held_out_scores_stand_side_by_side_when_they_are_of_the_same_rows() {
        let scored = |nll: f64, count: f64| {
            let mut f = fit(&[-1.0, -2.0], "h");
            f.evaluation = vec![("y".into(), Metrics { values: vec![("nll".into(), nll), ("count".into(), count)] })];
            f
        };
        let fits = named(vec![scored(0.5, 9.0), scored(0.25, 9.0)]);
        let c = compare(&fits).expect("the same data");
        assert!(c.text(&TableOptions::default()).contains("y.nll") && c.csv().contains("y.nll,y.count"));
        let fits = named(vec![scored(0.5, 9.0), scored(0.25, 8.0)]);
        let c = compare(&fits).expect("elpd_loo can be compared");
        assert!(!c.csv().contains("y.nll") && c.warnings.iter().any(|w| w.contains("held-out")));
        let without = |mut f: Fit| {
            f.loo = None;
            f
        };
        let fits = named(vec![without(scored(0.5, 9.0)), without(scored(0.25, 8.0))]);
        assert!(compare(&fits).expect_err("other rows").message.contains("different held-out data"));
    }

    #[test]
    fn doubts_are_told() {
        let mut bad = fit(&[-1.0, -2.0], "h");
        bad.loo.as_mut().expect("made with it").terms[0].points[1].pareto_k = 0.9;
        bad.diagnostics.pareto_k = Some(1.2);
        let fits = named(vec![bad, fit(&[-1.0, -2.0], "h")]);
        let warnings = compare(&fits).expect("the same data").warnings;
        assert!(warnings[0].contains("1 of 2 Pareto k") && warnings[1].contains("guide"), "{warnings:?}");
    }
}
