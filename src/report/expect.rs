//! The lines of `expect` on a finished fit: which hold, with what values, and what to say of those that do not.
//!
//! A line whose number the fit does not have is broken, and so is one with NaN in it: nothing holds in silence.

use super::fit::{Expectation, Fit, Quantity};
use super::numbers::significant;
use super::statistics;
use crate::check::expect::{Comparison, Expect, Position, Side, Statistic, Term, Test};
use crate::source::{Sources, Span};

/// Evaluates every line, in their order; `sources` has their text.
pub fn evaluate(expects: &[Expect], sources: &Sources, fit: &Fit) -> Vec<Expectation> {
    expects.iter().map(|line| outcome(line, sources, fit)).collect()
}

/// A number with five digits, without zeros at its end.
fn short(x: f64) -> String {
    let text = significant(x, 5);
    let plain = text.contains('.') && !text.contains('e');
    if plain { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

/// What stands at a place, in one line.
fn written(sources: &Sources, span: Span) -> String {
    sources.file(span.file).text[span.range()].split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A number, or an array of numbers.
struct Value {
    /// One for each element; one number for a scalar.
    data: Vec<f64>,
    /// The names of the elements; `None` for a scalar.
    names: Option<Vec<String>>,
}

impl Value {
    fn scalar(x: f64) -> Self {
        Self { data: vec![x], names: None }
    }
    /// The element at a position of the whole array; a scalar is the same everywhere.
    fn at(&self, element: usize) -> f64 {
        if self.names.is_none() { self.data[0] } else { self.data[element] }
    }
}

fn outcome(line: &Expect, sources: &Sources, fit: &Fit) -> Expectation {
    let sides = line.test.sides();
    let values: Result<Vec<Value>, String> = sides.iter().map(|s| value(&s.term, fit)).collect();
    match values {
        Ok(values) => judge(line, sources, &sides, &values),
        Err(why) => {
            let message = Some(format!("not available: {why}"));
            Expectation { text: written(sources, line.span), holds: false, value: None, element: None, message }
        }
    }
}

fn judge(line: &Expect, sources: &Sources, sides: &[&Side], values: &[Value]) -> Expectation {
    let names = values.iter().find_map(|v| v.names.as_deref());
    let count = names.map_or(1, <[String]>::len);
    let at = |element: usize| -> Vec<f64> { values.iter().map(|v| v.at(element)).collect() };
    let broken = (0..count).filter(|&i| !holds(&line.test, &at(i))).count();
    let mut worst = 0;
    let mut largest = f64::NEG_INFINITY;
    for i in 0..count {
        let excess = excess(&line.test, &at(i));
        if excess > largest {
            (worst, largest) = (i, excess);
        }
    }
    let numbers = at(worst);
    let shown = sides.iter().position(|s| !matches!(s.term, Term::Number(_))).unwrap_or(0);
    let element = names.map(|names| names[worst].clone());
    let message = (broken > 0).then(|| {
        // Rounded so far only that one sees why it is broken.
        let rounded: Vec<String> = numbers.iter().map(|&x| short(x)).collect();
        let parsed: Vec<f64> = rounded.iter().map(|t| t.parse().unwrap_or(f64::NAN)).collect();
        let texts = if holds(&line.test, &parsed) { numbers.iter().map(f64::to_string).collect() } else { rounded };
        let parts: Vec<String> = (sides.iter().zip(&texts))
            .filter(|(side, _)| !matches!(side.term, Term::Number(_)))
            .map(|(side, text)| format!("{} is {text}", written(sources, side.span)))
            .collect();
        let mut message = parts.join(", ");
        if let Some(element) = &element {
            message += &format!(" at {element}");
            if broken > 1 {
                message += &format!(", and {broken} of {count} elements break it");
            }
        }
        message
    });
    let value = Some(numbers[shown]).filter(|x| x.is_finite());
    Expectation { text: written(sources, line.span), holds: broken == 0, value, element, message }
}

/// Whether the test holds for the values of its sides; never with NaN among them.
fn holds(test: &Test, values: &[f64]) -> bool {
    ends(test, values).iter().all(|&(by, a, b)| by.holds(a, b))
}
/// How far from holding the test is: the larger the worse, infinite with NaN.
fn excess(test: &Test, values: &[f64]) -> f64 {
    let far = |&(by, a, b): &(Comparison, f64, f64)| {
        let excess = match by {
            Comparison::Less | Comparison::AtMost => a - b,
            Comparison::Greater | Comparison::AtLeast => b - a,
            Comparison::Equal => (a - b).abs(),
            Comparison::NotEqual => -(a - b).abs(),
        };
        // Equal infinities are as near as can be.
        let excess = if a == b { 0.0 } else { excess };
        if excess.is_nan() { f64::INFINITY } else { excess }
    };
    ends(test, values).iter().map(far).fold(f64::NEG_INFINITY, f64::max)
}
/// The comparisons that a test is made of.
fn ends(test: &Test, values: &[f64]) -> Vec<(Comparison, f64, f64)> {
    match test {
        Test::Compare { by, .. } => vec![(*by, values[0], values[1])],
        Test::Within { low, high, .. } => {
            let mut rest = values[1..].iter();
            let low = low.as_ref().and_then(|_| rest.next()).map(|&low| (Comparison::AtLeast, values[0], low));
            let high = high.as_ref().and_then(|_| rest.next()).map(|&high| (Comparison::AtMost, values[0], high));
            low.into_iter().chain(high).collect()
        }
    }
}

/// The value of a term, or why the fit has none.
fn value(term: &Term, fit: &Fit) -> Result<Value, String> {
    match term {
        Term::Number(x) => Ok(Value::scalar(*x)),
        Term::Diagnostic(name) => diagnostic(name, fit).map(Value::scalar),
        Term::Metric { observed, metric } => {
            let scores = fit.evaluation.iter().find(|(name, _)| name == observed).map(|(_, scores)| scores);
            let score = scores.and_then(|s| s.get(metric));
            let scaled = metric == "temperature" || metric.ends_with("_scaled");
            score.map(Value::scalar).ok_or_else(|| match scores {
                Some(_) if scaled => format!(
                    "the fit has no {metric} of `{observed}`: a temperature needs at least {} held-out rows and a finite nll",
                    super::temperature::FEWEST
                ),
                _ => format!("the fit has no {metric} of `{observed}`"),
            })
        }
        Term::Statistic { statistic, name, element, .. } => {
            let quantity = fit.quantity(name).ok_or_else(|| format!("the fit does not report `{name}`"))?;
            let chosen = elements(quantity, element)?;
            let mut draws = Vec::new();
            let data: Vec<f64> = match (&quantity.moments, statistic) {
                (None, _) => {
                    let of = |&e: &usize| {
                        quantity.element_draws(e, &mut draws);
                        of_draws(*statistic, &mut draws)
                    };
                    chosen.iter().map(of).collect()
                }
                (Some(moments), Statistic::Mean) => chosen.iter().map(|&e| moments.mean[e]).collect(),
                (Some(moments), Statistic::Sd) => chosen.iter().map(|&e| moments.sd[e]).collect(),
                (Some(_), Statistic::Quantile(_)) => {
                    return Err(format!(
                        "`{name}` has {} elements, so that its draws are not kept; `--all` keeps them",
                        quantity.count()
                    ));
                }
            };
            // An element that stands in the line is a scalar of it.
            let whole = |at: usize| matches!(element.get(at), None | Some(Position::All));
            let array = (0..quantity.shape.len()).any(whole);
            let names = array.then(|| chosen.iter().map(|&e| quantity.element_name(e)).collect());
            Ok(Value { data, names })
        }
        Term::Apply(function, args) => {
            let args: Vec<Value> = args.iter().map(|a| value(a, fit)).collect::<Result<_, _>>()?;
            let names = args.iter().find_map(|a| a.names.clone());
            let count = names.as_ref().map_or(1, Vec::len);
            let of = |i: usize| (function.apply)(&args.iter().map(|a| a.at(i)).collect::<Vec<_>>());
            Ok(Value { data: (0..count).map(of).collect(), names })
        }
    }
}

/// A statistic of the draws of one element; their order is lost. NaN where a draw is NaN.
fn of_draws(statistic: Statistic, draws: &mut [f64]) -> f64 {
    if draws.iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    match statistic {
        Statistic::Mean => statistics::mean(draws),
        // A constant has no spread, whatever rounding makes of its mean.
        Statistic::Sd if !draws.is_empty() && draws.iter().all(|x| *x == draws[0]) => 0.0,
        Statistic::Sd => statistics::sd(draws),
        Statistic::Quantile(p) => {
            draws.sort_unstable_by(f64::total_cmp);
            statistics::quantile(draws, p)
        }
    }
}

/// The elements (row-major positions) that indices choose, in order.
fn elements(quantity: &Quantity, chosen: &[Position]) -> Result<Vec<usize>, String> {
    let mut wanted: Vec<Option<usize>> = vec![None; quantity.shape.len()];
    for (dim, position) in chosen.iter().enumerate() {
        let extent = *quantity.shape.get(dim).ok_or_else(|| format!("`{}` has fewer dimensions", quantity.name))?;
        wanted[dim] = match position {
            Position::All => None,
            Position::At { index, .. } if *index < extent => Some(*index),
            Position::At { index, .. } => return Err(format!("`{}` has no element {index}", quantity.name)),
            Position::Label { label, .. } => {
                let labels = quantity.labels.get(dim).and_then(Option::as_ref);
                let at = labels.and_then(|labels| labels.iter().position(|l| l == label));
                Some(at.ok_or_else(|| format!("`{}` has no element `{label}`", quantity.name))?)
            }
        };
    }
    let fits = |e: &usize| quantity.position(*e).iter().zip(&wanted).all(|(at, w)| w.is_none_or(|w| w == *at));
    Ok((0..quantity.count()).filter(fits).collect())
}

/// A number about the fit as a whole, or why it has none.
fn diagnostic(name: &str, fit: &Fit) -> Result<f64, String> {
    let d = &fit.diagnostics;
    let whole = |x: Option<u64>| x.map(|x| x as f64);
    let elbo = |pick: fn(&super::fit::Elbo) -> f64| fit.elbo.as_ref().map(pick);
    let (value, what) = match name {
        "max_rhat" => (d.max_rhat, "R-hat"),
        "min_ess_bulk" => (d.min_ess_bulk, "bulk ESS"),
        "min_ess_tail" => (d.min_ess_tail, "tail ESS"),
        "divergences" => (whole(d.divergences), "divergences"),
        "max_depth_hits" => (whole(d.max_depth_hits), "tree depth"),
        "min_e_bfmi" => (d.min_e_bfmi, "E-BFMI"),
        "pareto_k" => (d.pareto_k, "Pareto k"),
        "elbo.final" => (elbo(|e| e.final_), "ELBO"),
        "elbo.standard_error" => (elbo(|e| e.standard_error), "ELBO"),
        "elbo.steps" => (elbo(|e| e.steps as f64), "ELBO"),
        "bound.final" => (fit.bound.as_ref().map(|b| b.final_), "bound"),
        "bound.standard_error" => (fit.bound.as_ref().map(|b| b.standard_error), "bound"),
        "mode.log_density" => (fit.mode.map(|m| m.log_density), "mode"),
        "mode.log_evidence" => (fit.mode.and_then(|m| m.log_evidence), "log evidence"),
        "mode.gradient_norm" => (fit.mode.map(|m| m.gradient_norm), "mode"),
        _ => return Err(format!("`{name}` is not known")),
    };
    value.ok_or_else(|| {
        // Which numbers an algorithm gives when nothing stands in the way.
        let chains = !matches!(what, "Pareto k" | "ELBO");
        match (chains == fit.independent_draws, what) {
            (_, "log evidence") if fit.mode.is_some() => {
                "a point and improper priors have no log evidence: `infer laplace` and proper priors give one"
                    .to_string()
            }
            (_, "bound") => {
                "the ELBO was maximized, its name is `elbo`: `elbo = iwae(16)` has a bound of its own".to_string()
            }
            (_, "ELBO" | "mode" | "log evidence") => format!("{} has no {what}", fit.algorithm),
            (true, _) => format!("{} has no {what}", fit.algorithm),
            (false, "Pareto k") => "fits with minibatches or point masses have no Pareto k".to_string(),
            (false, _) => format!("this fit has no {what}: it needs quantities that vary and at least 4 draws"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::fit::{Elbo, Elem, Metrics, ModelSource, Precision, Role};
    use super::super::metrics::{ClassScores, NumberKind, NumberScores};
    use super::*;
    use crate::check::expect;
    use crate::driver::compile;

    const PROGRAM: &str = "\
size K = 3
data y: real[N]
model {
  mu ~ Normal(0, 1)
  theta: real[K] ~ Normal(mu, 1)
  w: real[2, K] ~ Normal(0, 1)
  keep best = theta[0] + w[0, 0]
  y ~ Normal(mu, 1)
}
evaluate { y = [1, 2] }
";

    /// Draws 0, 1, 2, 3, 4 plus ten times the element's position.
    fn ramp(name: &str, shape: &[usize]) -> Quantity {
        let count: usize = shape.iter().product();
        let data: Vec<f64> = (0..5).flat_map(|draw| (0..count).map(move |e| (draw + 10 * e) as f64)).collect();
        Quantity::new(name, Role::Latent, Elem::Real, shape, 1, 5, data)
    }

    fn fit() -> Fit {
        let mut fit = Fit::new("svi", ModelSource::default(), Precision::F64, 7);
        let mut theta = ramp("theta", &[3]);
        theta.dims = vec![Some("K".into())];
        theta.labels = vec![Some(vec!["A".into(), "B".into(), "C".into()])];
        let nan = Quantity::new("best", Role::Kept, Elem::Real, &[], 1, 5, vec![1.0, 2.0, f64::NAN, 4.0, 5.0]);
        fit.quantities = vec![ramp("mu", &[]), theta, ramp("w", &[2, 3]), nan];
        fit.elbo = Some(Elbo { final_: -12.5, standard_error: 0.25, steps: 9 });
        fit.evaluation = vec![("y".into(), Metrics { values: vec![("rmse".into(), 0.5), ("nll".into(), f64::NAN)] })];
        fit
    }

    fn outcomes(lines: &str, fit: &Fit) -> Vec<Expectation> {
        let text = format!("{PROGRAM}expect {{\n{lines}\n}}\n");
        let c = compile("m.bayes", None, &text, &Default::default(), &mut |_, _| Err("no files".into()));
        assert!(!c.diags.has_errors(), "{lines}: {:?}", c.diags.iter().map(|d| &d.message).collect::<Vec<_>>());
        evaluate(&c.program.expects, &c.sources, fit)
    }
    #[track_caller]
    fn one(line: &str) -> Expectation {
        let mut all = outcomes(line, &fit());
        assert_eq!(all.len(), 1, "{line}");
        all.remove(0)
    }
    /// Whether a line holds, its value, and what is said of it.
    #[track_caller]
    fn check(line: &str, holds: bool, value: f64, message: &str) {
        let got = one(line);
        assert_eq!((got.holds, got.message.as_deref().unwrap_or("")), (holds, message), "{line}");
        let x = got.value.expect("it has a value");
        assert!((x - value).abs() < 1e-9, "{line}: {x}");
        assert_eq!(got.text, line);
    }

    #[test]
    fn every_comparison() {
        // The mean of mu is 2.
        for (op, below, same, above) in [
            ("<", true, false, false),
            ("<=", true, true, false),
            (">", false, false, true),
            (">=", false, true, true),
            ("==", false, true, false),
            ("!=", true, false, true),
        ] {
            for (limit, want) in [(3, below), (2, same), (1, above)] {
                let got = one(&format!("mean(mu) {op} {limit}"));
                assert_eq!(got.holds, want, "{}", got.text);
                assert_eq!(got.message.is_none(), want, "{}", got.text);
            }
        }
        check("mean(mu) in 2..3", true, 2.0, "");
        check("mean(mu) in 1..2", true, 2.0, "");
        check("mean(mu) in 1..=2", true, 2.0, "");
        check("mean(mu) in 2.5..3", false, 2.0, "mean(mu) is 2");
        check("mean(mu) in 0..1", false, 2.0, "mean(mu) is 2");
        check("mean(mu) in 0..", true, 2.0, "");
        check("mean(mu) in ..1", false, 2.0, "mean(mu) is 2");
    }

    #[test]
    fn statistics_of_draws_and_arithmetic() {
        check("sd(mu) in 1.58..1.59", true, 2.5f64.sqrt(), "");
        check("quantile(mu, 0.25) == 1", true, 1.0, "");
        check("quantile(mu, p = 1) < 4", false, 4.0, "quantile(mu, p = 1) is 4");
        check("mean(mu) - 3 < 0.1", true, -1.0, "");
        check("abs(mean(mu) - 3) < 0.1", false, 1.0, "abs(mean(mu) - 3) is 1");
        check("3 < mean(mu)", false, 2.0, "mean(mu) is 2");
        check("2 * mean(mu)^2 / 4 - 1 == 1", true, 1.0, "");
        check("max(mean(mu), 5) + min(mean(mu), 1) == 6", true, 6.0, "");
        check("mean(mu) < sd(mu)", false, 2.0, "mean(mu) is 2, sd(mu) is 1.5811");
    }

    #[test]
    fn arrays_hold_in_every_element() {
        let got = one("mean(theta) < 30");
        assert_eq!((got.holds, got.value, got.element.as_deref()), (true, Some(22.0), Some("theta[C]")));
        let got = one("mean(theta) < 12");
        assert_eq!(got.message.as_deref(), Some("mean(theta) is 22 at theta[C], and 2 of 3 elements break it"));
        let got = one("mean(theta) >= 10");
        assert_eq!((got.value, got.element.as_deref()), (Some(2.0), Some("theta[A]")));
        assert_eq!(got.message.as_deref(), Some("mean(theta) is 2 at theta[A]"));
        check("mean(theta[1]) == 12", true, 12.0, "");
        check("mean(theta[\"C\"]) == 12", false, 22.0, "mean(theta[\"C\"]) is 22");
        check("mean(theta[C]) == 22", true, 22.0, "");
        check("mean(w[1, 2]) == 52", true, 52.0, "");
        let got = one("mean(w[:, 1]) < 13");
        assert_eq!((got.holds, got.element.as_deref()), (false, Some("w[1, 1]")));
        let got = one("mean(w[1]) > 33");
        assert_eq!((got.holds, got.element.as_deref()), (false, Some("w[1, 0]")));
        assert!(one("mean(theta) - mean(w[0]) == 0").holds);
        assert!(one("mean(theta) > mean(mu) - 1").holds);
    }

    #[test]
    fn nothing_holds_with_nan() {
        for op in ["<", "<=", ">", ">=", "==", "!="] {
            let got = one(&format!("mean(best) {op} 1"));
            assert!(!got.holds && got.value.is_none(), "{op}");
            assert_eq!(got.message.as_deref(), Some("mean(best) is nan"));
            assert!(!one(&format!("1 {op} quantile(best, 0.1)")).holds);
        }
        assert!(!one("mean(best) in -1e300..1e300").holds);
        assert!(!one("sd(best) in 0..").holds);
        assert!(!one("max(mean(best), 3) > 1").holds && !one("max(3, mean(best)) > 1").holds);
        assert!(!one("y.nll < 1e300").holds);
    }

    #[test]
    fn metrics_and_diagnostics() {
        check("y.rmse < 0.4", false, 0.5, "y.rmse is 0.5");
        check("elbo.final > -13", true, -12.5, "");
        check("elbo.steps == 9", true, 9.0, "");
        check("elbo.standard_error < 0.25", false, 0.25, "elbo.standard_error is 0.25");
        let message = |line: &str, fit: &Fit| outcomes(line, fit).remove(0).message.unwrap_or_default();
        let svi = fit();
        assert_eq!(message("max_rhat < 1.01", &svi), "not available: svi has no R-hat");
        assert_eq!(message("divergences == 0", &svi), "not available: svi has no divergences");
        assert!(message("pareto_k < 0.7", &svi).contains("minibatches"));
        assert_eq!(message("y.crps < 1", &svi), "not available: the fit has no crps of `y`");
        let mut few = fit();
        few.evaluation = vec![("c".into(), Metrics { values: vec![("nll".into(), 0.5)] })];
        let text = "data c: int[N] in 0..3\nmodel { c ~ Categorical([0.2, 0.3, 0.5]) }\nevaluate { c = [1, 2] }\n\
                    expect { c.nll_scaled < 1 }\n";
        let c = compile("m.bayes", None, text, &Default::default(), &mut |_, _| Err("no files".into()));
        assert!(!c.diags.has_errors());
        let why = evaluate(&c.program.expects, &c.sources, &few).remove(0).message.unwrap_or_default();
        assert!(why.contains("no nll_scaled of `c`") && why.contains("at least 20 held-out rows"), "{why}");
        let mut nuts = Fit { algorithm: "nuts".into(), independent_draws: false, elbo: None, ..fit() };
        assert_eq!(message("elbo.final > 0", &nuts), "not available: nuts has no ELBO");
        assert_eq!(message("pareto_k < 0.7", &nuts), "not available: nuts has no Pareto k");
        assert!(message("max_rhat < 1.01", &nuts).contains("vary"));
        nuts.diagnostics.max_rhat = Some(1.02);
        assert_eq!(message("max_rhat < 1.01", &nuts), "max_rhat is 1.02");
        nuts.diagnostics.divergences = Some(0);
        assert_eq!(message("divergences == 0", &nuts), "");
    }

    #[test]
    fn a_value_is_shown_as_exactly_as_it_takes() {
        let mut fit = fit();
        fit.elbo = Some(Elbo { final_: 1.000_000_25, standard_error: 0.0, steps: 1 });
        let got = outcomes("elbo.final <= 1", &fit).remove(0);
        assert_eq!(got.message.as_deref(), Some("elbo.final is 1.00000025"));
    }

    #[test]
    fn the_checker_knows_the_names_of_all_scores() {
        let names = |m: Metrics| m.values.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let mut classes = ClassScores::new(2);
        classes.begin(20, Some(vec![0; 20]));
        classes.add_draw(&[0.5; 40]);
        classes.end();
        assert_eq!(names(classes.metrics()), expect::CLASS_METRICS);
        assert_eq!(names(NumberScores::new(NumberKind::Real).metrics()), expect::REAL_METRICS);
        assert_eq!(names(NumberScores::new(NumberKind::Count).metrics()), expect::COUNT_METRICS);
        for name in expect::DIAGNOSTICS {
            if let Err(why) = diagnostic(name, &fit()) {
                assert!(!why.contains("not known"), "{name}: {why}");
            }
        }
    }
}
