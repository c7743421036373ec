//! A fit judged by nuts, where it is known how far the fit is off.
//!
//! For a normal posterior with correlation rho the best normal guide without correlations has the means of the posterior and
//! standard deviations that are sqrt(1 - rho^2) of the posterior's (Bishop 2006, sec. 10.1.2).

use crate::common::*;
use bayesc::data::Files;
use bayesc::kernels::special::ndtr;
use bayesc::report::audit::{Audit, Element, Fault, Level};
use bayesc::report::fit::Fit;
use bayesc::session::{self, AuditOptions, RunOptions};

fn audit_with(fit: &Fit, settings: &[(&str, &str)]) -> Audit {
    let pairs = settings.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let options = AuditOptions { settings: pairs.collect(), seed: Some(3), ..AuditOptions::default() };
    let compilation = session::recompile_for_audit(fit, &options).expect("the program is kept");
    assert!(!compilation.diags.has_errors(), "{:?}", compilation.diags);
    let (bound, notes) = session::bind_same(&compilation, fit, &mut Files::new(), &[]).expect("the same data");
    assert!(notes.is_empty());
    session::audit(&bound, fit, &options, &mut Patient::default()).expect("nuts runs").0
}
fn audit(fit: &Fit) -> Audit {
    audit_with(fit, &[])
}
fn element<'a>(audit: &'a Audit, name: &str) -> &'a Element {
    let named = |(s, i, _): &(&bayesc::report::audit::Site, usize, &Element)| s.quantity.element_name(*i) == name;
    audit.elements().find(named).unwrap_or_else(|| panic!("no `{name}`")).2
}
fn fit_by(text: &str, infer: &str, guide: Option<&str>) -> Fit {
    let options = RunOptions { infer: Some(infer.into()), guide: guide.map(str::to_string), ..RunOptions::default() };
    fit_with(&compile(text), &options)
}

/// The posterior has precisions 1 + 4 and correlation -4 / (1 + 4).
const CORRELATED: &str = "\
data y: real[N] = [0.7]
model {
  a ~ Normal(0, 1)
  b ~ Normal(0, 1)
  y ~ Normal(a + b, 0.5)
}
infer svi { steps = 4000, optimizer = adam(0.02), schedule = cosine, draws = 4000 }
infer nuts { draws = 2000 }
";
const RHO: f64 = -0.8;

#[test]
fn a_guide_without_correlations_is_too_narrow_by_the_known_factor() {
    let fit = fit_by(CORRELATED, "svi", Some("mean_field"));
    let audit = audit(&fit);
    let ratio = (1.0 - RHO * RHO).sqrt();
    // 9 / 0.7, of a normal with that ratio.
    let (half, most) = (2.0 * ndtr(0.674_489_750_2 * ratio) - 1.0, 2.0 * ndtr(1.644_853_626_95 * ratio) - 1.0);
    for name in ["a", "b"] {
        let e = element(&audit, name);
        assert_close(e.sd_ratio, ratio, 4.5 * e.sd_ratio_error + 0.01, &format!("sd ratio of {name}"));
        assert!(e.sd_ratio_error < 0.02, "{e:?}");
        assert_close(e.bias, 0.0, 4.5 * e.bias_error + 0.01, &format!("bias of {name}"));
        // sqrt(p (1 - p) / n) of the reference and the errors of two quantiles of the guide.
        assert_close(e.coverage_50, half, 0.04, &format!("50 % interval of {name}"));
        assert_close(e.coverage_90, most, 0.04, &format!("90 % interval of {name}"));
        // The distribution functions of two normals with one mean are farthest apart at x^2 = 2 ln(1/r) r^2 / (1 - r^2).
        let x = (2.0 * (1.0 / ratio).ln() / (1.0 / (ratio * ratio) - 1.0)).sqrt();
        assert_close(e.distance, ndtr(x / ratio) - ndtr(x), 0.03, &format!("distance of {name}"));
        assert_eq!((e.level, &e.faults[..]), (Some(Level::Wrong), &[Fault::Narrow][..]));
        // The posterior's own moments.
        assert_close(e.mean, 0.7 * 4.0 / 9.0, 4.5 * 0.56 / 2000f64.sqrt(), &format!("mean of {name}"));
        assert_close(e.sd, (5.0f64 / 9.0).sqrt(), 0.03, &format!("sd of {name}"));
    }
    assert_eq!(audit.verdict(), Some(Level::Wrong));
    assert!(audit.sentence().contains("2 of 2 numbers far off"), "{}", audit.sentence());
    assert!(audit.advice().contains("full_rank") && audit.advice().contains("--infer nuts"), "{}", audit.advice());
    // The `infer nuts` block of the program counts.
    assert_eq!((audit.reference.chains, audit.reference.draws), (4, 2000));
}

#[test]
fn what_is_exact_is_close() {
    for (infer, guide) in [("svi", Some("full_rank")), ("laplace", None)] {
        let audit = audit(&fit_by(CORRELATED, infer, guide));
        assert_eq!(audit.verdict(), Some(Level::Close), "{infer}: {audit:?}");
        for name in ["a", "b"] {
            let e = element(&audit, name);
            assert_close(e.sd_ratio, 1.0, 4.5 * e.sd_ratio_error + 0.02, &format!("{infer}: sd ratio of {name}"));
            assert_close(e.bias, 0.0, 4.5 * e.bias_error + 0.02, &format!("{infer}: bias of {name}"));
            assert!(e.faults.is_empty());
        }
        assert!(audit.advice().starts_with("use it"), "{}", audit.advice());
    }
}

/// The mode of a gamma distribution is 1 / rate below its mean.
#[test]
fn a_point_is_judged_by_its_place() {
    let text = "data y: int[N] in 0.. = [3, 5, 2, 4]\nmodel {\n  rate ~ Gamma(2, 1)\n  y ~ Poisson(rate)\n}\n";
    let audit = audit(&fit_by(text, "map", None));
    let e = element(&audit, "rate");
    // Gamma(16, 5): mean 3.2, mode 3.0, sd 0.8.
    assert_close(e.bias, -0.25, 4.5 * e.bias_error, "the mode below the mean");
    assert!(audit.is_point() && e.coverage_90.is_nan() && e.sd_ratio == 0.0, "{e:?}");
    assert_eq!(audit.verdict(), Some(Level::Rough));
    assert!(audit.advice().contains("--infer laplace"), "{}", audit.advice());
}

#[test]
fn nuts_that_did_not_converge_judges_nothing() {
    let fit = fit_by(CORRELATED, "svi", Some("full_rank"));
    let few = audit_with(&fit, &[("draws", "40"), ("warmup", "300")]);
    assert_eq!(few.verdict(), None);
    assert!(few.doubts.iter().any(|d| d.contains("effective draws")), "{:?}", few.doubts);
    // Two peaks: chains stay at that which they find first.
    let peaks = "data x: real[N] = [1, 2, 3]\ndata y: real[N] = [4, 8, 12]\nmodel {\n  mu ~ Normal(0, 3)\n  \
                 y ~ Normal(mu * mu * x, 0.1)\n}\n";
    let settings = [("chains", "8"), ("draws", "300"), ("warmup", "300")];
    let two = audit_with(&fit_by(peaks, "laplace", None), &settings);
    assert_eq!(two.verdict_name(), "not judged");
    assert!(two.doubts.iter().any(|d| d.contains("do not agree")), "{:?}", two.doubts);
    assert!(two.text(&Default::default()).contains("verdict      not judged: the draws of nuts cannot be trusted"));
}

/// Kept, generated and labelled values are judged like sites.
#[test]
fn everything_that_is_reported_is_judged() {
    let text = "\
size Kind = levels([\"A\", \"B\"])
data y: real[N] = [0.5, 1.5]
model {
  level: real[Kind] ~ Normal(0, 1)
  keep gap = level[1] - level[0]
  y ~ Normal(level, 1)
}
generate {
  best = argmax(level)
}
infer svi { steps = 3000, optimizer = adam(0.02), schedule = cosine, draws = 2000 }
";
    let text = text.replace("size Kind = levels([\"A\", \"B\"])\ndata y: real[N]", "size Kind = 2\ndata y: real[Kind]");
    let audit = audit(&fit_by(&text, "svi", Some("mean_field")));
    assert_eq!(audit.verdict(), Some(Level::Close), "{}", audit.text(&Default::default()));
    let names: Vec<&str> = audit.sites.iter().map(|s| s.quantity.name.as_str()).collect();
    assert_eq!(names, ["level", "gap", "best"]);
}
