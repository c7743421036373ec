//! Wrappers against `densities.json`, and against the evidence and posterior means of whole models in `exact/`.

use super::harness::{Array, close, evaluate};
use super::reference::{densities, number};
use crate::autodiff;
use crate::dist::wrappers::{Censored, Truncated, ZeroInflated};
use crate::dist::{Dist, DistId, SupportKind};
use crate::ir::{Builder, DType, Shape, ValueId};
use serde_json::Value;

/// Every point of `family`: log density, its gradients, cdf and moments. A parameter that is infinite has no gradient.
fn check(family: &str, names: &[&str], make: impl Fn(&mut Builder, &[ValueId]) -> Dist) {
    let mut problems = Vec::new();
    let file = densities();
    for (at, point) in file["distributions"][family]["points"].as_array().expect("points").iter().enumerate() {
        let mut g = Builder::new();
        let values: Vec<f64> = names.iter().map(|n| number(&point["params"][*n])).collect();
        let params: Vec<ValueId> = values.iter().map(|&v| Array::scalar(v).put(&mut g, DType::Real)).collect();
        let d = make(&mut g, &params);
        let x = Array::scalar(number(&point["x"])).put(&mut g, DType::Real);
        let lp = d.log_prob(&mut g, x);
        let mut wrt = params.clone();
        wrt.push(x);
        let slopes = autodiff::gradient(&mut g, lp, &wrt).expect("gradients");
        let below = d.cdf(&mut g, x).expect("a cdf");
        let moments: Vec<Option<ValueId>> = vec![d.mean(&mut g), d.variance(&mut g)];
        let got = evaluate(&g, &[&[lp, below], &slopes[..]].concat());
        // Rates of a million: log-gammas cancel seven digits.
        let huge = family == "ZeroInflatedPoisson" && values[1] >= 1e5;
        let tolerance = if huge { 1e-7 } else { 1e-9 };
        let mut compare = |what: &str, got: f64, want: &Value, tolerance: f64| {
            if !want.is_null() && !close(got, number(want), tolerance) {
                problems.push(format!("{family}[{at}]: {what} {got} instead of {want}"));
            }
        };
        compare("log_prob", got[0][0], &point["logp"], tolerance);
        compare("cdf", got[1][0], &point["cdf"], 1e-9);
        for (i, name) in names.iter().enumerate() {
            // Ends at a distance of a thousandth have slopes of a thousand.
            compare(name, got[2 + i][0], &point["dlogp_dparams"][*name], 1e-7);
        }
        compare("x", got[2 + names.len()][0], &point["dlogp_dx"], 1e-7);
        for (value, what) in moments.into_iter().zip(["mean", "var"]) {
            if let Some(value) = value {
                compare(what, evaluate(&g, &[value])[0][0], &point[what], 1e-9);
            }
        }
        if got[2..].iter().flatten().any(|s| s.is_nan()) {
            problems.push(format!("{family}[{at}]: gradients {got:?}"));
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn reference_truncated_normals() {
    check("TruncatedNormal", &["loc", "scale", "low", "high"], |_, p| {
        let base = Dist::row(DistId::NORMAL, [p[0], p[1]]);
        Truncated { base, lower: p[2], upper: p[3], support: SupportKind::Interval }.into()
    });
}

#[test]
fn reference_zero_inflated_poissons() {
    check("ZeroInflatedPoisson", &["gate", "rate"], |_, p| {
        let base = Dist::row(DistId::POISSON_RATE, [p[1]]);
        ZeroInflated { probs: p[0], base, hurdle: false, support: SupportKind::Count }.into()
    });
}

fn exact(name: &str) -> Value {
    let path = format!("{}/tests/reference/exact/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).expect("JSON")
}
fn data(file: &Value, name: &str) -> Vec<f64> {
    file["data"][name].as_array().expect("data").iter().map(number).collect()
}

/// A model with two parameters on a grid of unconstrained coordinates: the log evidence and the means of both, against the
/// file. `priors` are the two priors, `likelihood` the log density of the data `[points, N]` at parameters `[points, 1]`.
fn check_model(
    file: &Value,
    names: [&str; 2],
    ranges: [(f64, f64); 2],
    priors: impl Fn(&mut Builder) -> [Dist; 2],
    likelihood: impl Fn(&mut Builder, ValueId, ValueId) -> ValueId,
) {
    let n = 161;
    let line = |(low, high): (f64, f64)| -> Vec<f64> {
        (0..n).map(|i| low + (high - low) * i as f64 / (n - 1) as f64).collect()
    };
    let (us, vs) = (line(ranges[0]), line(ranges[1]));
    let cell = (us[1] - us[0]) * (vs[1] - vs[0]);
    let mut g = Builder::new();
    let shape = Shape::from([n * n, 1]);
    let first: Vec<f64> = us.iter().flat_map(|&u| std::iter::repeat_n(u, n)).collect();
    let second: Vec<f64> = us.iter().flat_map(|_| vs.iter().copied()).collect();
    let u = g.constant(first, shape.clone(), DType::Real);
    let v = g.constant(second, shape, DType::Real);
    let [p, q] = priors(&mut g);
    let (a, a_slope) = p.support().constrain(&mut g, u, None);
    let (b, b_slope) = q.support().constrain(&mut g, v, None);
    let (p, q) = (p.log_prob(&mut g, a), q.log_prob(&mut g, b));
    let each = likelihood(&mut g, a, b);
    let data = g.sum(each, &[1]);
    let data = g.expand_dim(data, 1);
    let joint = g.add_all(&[p, q, a_slope, b_slope, data]);
    let values = evaluate(&g, &[joint, a, b]);
    let top = values[0].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = values[0].iter().map(|lp| (lp - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let evidence = top + (sum * cell).ln();
    let want = number(&file["reference"]["log_evidence"]);
    assert!((evidence - want).abs() < 1e-6, "log evidence {evidence} instead of {want}");
    for (name, value) in names.iter().zip(&values[1..]) {
        let mean: f64 = value.iter().zip(&weights).map(|(x, w)| x * w).sum::<f64>() / sum;
        let want = number(&file["reference"]["params"][*name]["mean"]);
        assert!(close(mean, want, 1e-6), "mean of {name}: {mean} instead of {want}");
    }
}

fn row(g: &mut Builder, id: DistId, params: &[f64]) -> Dist {
    let params: Vec<ValueId> = params.iter().map(|&p| g.scalar(p)).collect();
    Dist::row(id, params)
}

#[test]
fn reference_evidence_of_a_truncated_normal() {
    let file = exact("truncated_normal");
    let y = data(&file, "y");
    check_model(
        &file,
        ["mu", "sigma"],
        [(-6.0, 4.0), (-3.0, 2.5)],
        |g| [row(g, DistId::NORMAL, &[0.0, 1.0]), row(g, DistId::HALF_NORMAL, &[1.0])],
        |g, mu, sigma| {
            let base = Dist::row(DistId::NORMAL, [mu, sigma]);
            let (lower, upper) = (g.scalar(0.0), g.scalar(f64::INFINITY));
            let d: Dist = Truncated { base, lower, upper, support: SupportKind::NonNegative }.into();
            let y = Array::vector(&y).put(g, DType::Real);
            d.log_prob(g, y)
        },
    );
}

#[test]
fn reference_evidence_of_censored_lifetimes() {
    let file = exact("weibull_censored");
    let (time, event) = (data(&file, "time"), data(&file, "event"));
    // A time of censoring where there is one; elsewhere nothing cuts off.
    let limit: Vec<f64> = time.iter().zip(&event).map(|(&t, &e)| if e == 0.0 { t } else { f64::INFINITY }).collect();
    check_model(
        &file,
        ["shape", "scale"],
        [(-3.0, 2.5), (1.0, 8.0)],
        |g| [row(g, DistId::HALF_NORMAL, &[2.0]), row(g, DistId::LOG_NORMAL, &[2.5, 1.0])],
        |g, shape, scale| {
            let base = Dist::row(DistId::WEIBULL, [shape, scale]);
            let lower = g.scalar(f64::NEG_INFINITY);
            let upper = Array::vector(&limit).put(g, DType::Real);
            let d: Dist = Censored { base, lower, upper, support: SupportKind::Interval }.into();
            let time = Array::vector(&time).put(g, DType::Real);
            d.log_prob(g, time)
        },
    );
}

#[test]
fn reference_evidence_of_zero_inflated_counts() {
    let file = exact("zero_inflated_poisson");
    let y = data(&file, "y");
    check_model(
        &file,
        ["gate", "rate"],
        [(-12.0, 8.0), (-3.0, 3.0)],
        |g| [row(g, DistId::BETA, &[2.0, 2.0]), row(g, DistId::GAMMA, &[2.0, 0.5])],
        |g, gate, rate| {
            let base = Dist::row(DistId::POISSON_RATE, [rate]);
            let d: Dist = ZeroInflated { probs: gate, base, hurdle: false, support: SupportKind::Count }.into();
            let y = Array::vector(&y).put(g, DType::Int);
            d.log_prob(g, y)
        },
    );
}
