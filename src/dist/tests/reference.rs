//! Every row against `densities.json`: log densities, gradients, cdf, moments, entropy.

use super::harness::{Array, close, dist, evaluate, log_prob_and_gradients};
use crate::autodiff;
use crate::dist::{Dist, DistId, get};
use crate::ir::{Builder, DType, ValueId};
use serde_json::Value;

/// Family in the file, row, and the file's names of the row's parameters in the row's order.
const FAMILIES: &[(&str, DistId, &[&str])] = &[
    ("Normal", DistId::NORMAL, &["loc", "scale"]),
    ("Cauchy", DistId::CAUCHY, &["loc", "scale"]),
    ("Laplace", DistId::LAPLACE, &["loc", "scale"]),
    ("Logistic", DistId::LOGISTIC, &["loc", "scale"]),
    ("Gumbel", DistId::GUMBEL, &["loc", "scale"]),
    ("StudentT", DistId::STUDENT_T, &["df", "loc", "scale"]),
    ("HalfNormal", DistId::HALF_NORMAL, &["scale"]),
    ("HalfCauchy", DistId::HALF_CAUCHY, &["scale"]),
    ("HalfStudentT", DistId::HALF_STUDENT_T, &["df", "scale"]),
    ("Exponential", DistId::EXPONENTIAL, &["rate"]),
    ("Gamma", DistId::GAMMA, &["shape", "rate"]),
    ("InverseGamma", DistId::INVERSE_GAMMA, &["shape", "scale"]),
    ("ChiSquared", DistId::CHI_SQUARED, &["df"]),
    ("LogNormal", DistId::LOG_NORMAL, &["loc", "scale"]),
    ("Weibull", DistId::WEIBULL, &["shape", "scale"]),
    ("Pareto", DistId::PARETO, &["shape", "scale"]),
    ("Beta", DistId::BETA, &["a", "b"]),
    ("Kumaraswamy", DistId::KUMARASWAMY, &["a", "b"]),
    ("VonMises", DistId::VON_MISES, &["loc", "concentration"]),
    ("InverseGaussian", DistId::INVERSE_GAUSSIAN, &["mean", "shape"]),
    ("AsymmetricLaplace", DistId::ASYMMETRIC_LAPLACE, &["loc", "scale", "kappa"]),
    ("SkewNormal", DistId::SKEW_NORMAL, &["loc", "scale", "alpha"]),
    ("Hypergeometric", DistId::HYPERGEOMETRIC, &["total", "successes", "draws"]),
    ("Uniform", DistId::UNIFORM, &["low", "high"]),
    ("Bernoulli", DistId::BERNOULLI_PROBS, &["p"]),
    ("BernoulliLogit", DistId::BERNOULLI_LOGITS, &["logit"]),
    ("Binomial", DistId::BINOMIAL_PROBS, &["n", "p"]),
    ("BinomialLogit", DistId::BINOMIAL_LOGITS, &["n", "logit"]),
    ("Poisson", DistId::POISSON_RATE, &["rate"]),
    ("PoissonLog", DistId::POISSON_LOG_RATE, &["log_rate"]),
    ("Geometric", DistId::GEOMETRIC, &["p"]),
    ("NegativeBinomial", DistId::NEGATIVE_BINOMIAL, &["mu", "phi"]),
    ("BetaBinomial", DistId::BETA_BINOMIAL, &["n", "a", "b"]),
    ("DiscreteUniform", DistId::DISCRETE_UNIFORM, &["low", "high"]),
    ("Categorical", DistId::CATEGORICAL_PROBS, &["probs"]),
    ("CategoricalLogits", DistId::CATEGORICAL_LOGITS, &["logits"]),
    ("OrderedLogistic", DistId::ORDERED_LOGISTIC, &["eta", "cutpoints"]),
    ("Dirichlet", DistId::DIRICHLET, &["concentration"]),
    ("Multinomial", DistId::MULTINOMIAL_PROBS, &["n", "probs"]),
    ("MultivariateNormal", DistId::MULTIVARIATE_NORMAL_TRIL, &["loc", "scale_tril"]),
    ("DirichletMultinomial", DistId::DIRICHLET_MULTINOMIAL, &["n", "concentration"]),
    ("Wishart", DistId::WISHART, &["df", "scale"]),
    ("InverseWishart", DistId::INVERSE_WISHART, &["df", "scale"]),
    ("LKJCholesky", DistId::LKJ_CHOLESKY, &["eta"]),
    ("LKJ", DistId::LKJ, &["eta"]),
    ("MultivariateStudentT", DistId::MULTIVARIATE_STUDENT_T, &["df", "loc", "scale_tril"]),
];

/// In the file, and not rows: the first one is a composition with a test of its own.
const NOT_ROWS: &[&str] = &[
    "NormalMixture",
    "Rayleigh",
    "Frechet",
    "LogitNormal",
    "Triangular",
    "TruncatedNormal", // a wrapper, in wrapped_reference.rs
    "ExponentiallyModifiedNormal",
    "NegativeBinomialProb",
    "ZeroInflatedPoisson", // likewise
    "OrderedProbit",
];

/// The file, or `None` where it is not checked out.
pub fn densities() -> Value {
    let folder = std::env::var("BAYESC_VALIDATION")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference").to_string());
    let path = format!("{folder}/densities.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).expect("densities.json is JSON")
}

/// A number; the file writes those that are not finite as strings.
pub fn number(v: &Value) -> f64 {
    match v {
        Value::String(s) => s.parse().expect("inf, -inf or nan"),
        other => other.as_f64().expect("a number"),
    }
}

pub fn array(v: &Value) -> Array {
    match v {
        Value::Array(items) => {
            let parts: Vec<Array> = items.iter().map(array).collect();
            let mut shape = vec![parts.len()];
            shape.extend(&parts[0].shape);
            Array { shape, data: parts.into_iter().flat_map(|p| p.data).collect() }
        }
        other => Array::scalar(number(other)),
    }
}

/// The row's parameters from the file's object.
pub fn params(object: &Value, names: &[&str]) -> Vec<Array> {
    names.iter().map(|name| array(&object[*name])).collect()
}

/// The parameters of a point, with the shape of its x for rows that need to be told.
fn params_at(id: DistId, point: &Value, names: &[&str]) -> Vec<Array> {
    let mut params = params(&point["params"], names);
    if params.len() < get(id).params.len() {
        params.push(Array::zeros(&array(&point["x"]).shape));
    }
    params
}

/// The row of a family of the file.
pub fn family(name: &str) -> Option<(DistId, &'static [&'static str])> {
    FAMILIES.iter().find(|(family, _, _)| *family == name).map(|&(_, id, names)| (id, names))
}

/// Counts so large that log-gammas of 1e7 cancel: seven digits are what the formula gives.
fn tolerance(name: &str, params: &[Array]) -> f64 {
    let huge = match name {
        "Poisson" | "Binomial" | "BinomialLogit" | "BetaBinomial" => params[0].data[0] >= 1e5,
        "PoissonLog" => params[0].data[0] >= 11.0,
        "NegativeBinomial" => params[1].data[0] >= 1e5,
        _ => false,
    };
    if huge { 1e-7 } else { 1e-9 }
}

#[test]
fn reference_lists_every_family_of_the_file() {
    let file = densities();
    for name in file["distributions"].as_object().expect("distributions").keys() {
        assert!(family(name).is_some() || NOT_ROWS.contains(&name.as_str()), "{name} is in no list");
    }
}

#[test]
fn reference_log_densities_and_gradients() {
    let file = densities();
    let mut problems = Vec::new();
    for &(name, id, names) in FAMILIES {
        for (at, point) in file["distributions"][name]["points"].as_array().expect("points").iter().enumerate() {
            let params = params_at(id, point, names);
            let (lp, gradients) = log_prob_and_gradients(id, &params, &array(&point["x"]));
            let want = number(&point["logp"]);
            if !close(lp[0], want, tolerance(name, &params)) {
                problems.push(format!("{name}[{at}]: log_prob {} instead of {want}", lp[0]));
            }
            if !gradients.iter().flatten().all(|d| d.is_finite()) {
                problems.push(format!("{name}[{at}]: gradients {gradients:?}"));
            }
            if want == f64::NEG_INFINITY && !gradients.iter().flatten().all(|&d| d == 0.0) {
                problems.push(format!("{name}[{at}]: gradients {gradients:?} outside the support"));
            }
            let mut compare = |what: &str, got: &[f64], want: &Value| {
                if want.is_null() {
                    return;
                }
                for (got, want) in got.iter().zip(array(want).data) {
                    if !close(*got, want, 1e-7) {
                        problems.push(format!("{name}[{at}]: d log_prob / d {what} {got} instead of {want}"));
                    }
                }
            };
            compare("x", &gradients[0], &point["dlogp_dx"]);
            for (i, param) in names.iter().enumerate() {
                compare(param, &gradients[i + 1], &point["dlogp_dparams"][*param]);
            }
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn reference_cdfs_and_moments() {
    let file = densities();
    let mut problems = Vec::new();
    for &(name, id, names) in FAMILIES {
        for (at, point) in file["distributions"][name]["points"].as_array().expect("points").iter().enumerate() {
            let params = params_at(id, point, names);
            let mut g = Builder::new();
            let d = dist(&mut g, id, &params);
            let x = array(&point["x"]).put(&mut g, get(id).dtype);
            let values = [
                ("cdf", if get(id).event_rank == 0 { d.cdf(&mut g, x) } else { None }),
                ("mean", d.mean(&mut g)),
                ("var", d.variance(&mut g)),
                ("entropy", d.entropy(&mut g)),
            ];
            for (what, value) in values {
                let (Some(value), false) = (value, point[what].is_null()) else { continue };
                let got = evaluate(&g, &[value]).remove(0);
                for (got, want) in got.iter().zip(array(&point[what]).data) {
                    if !close(*got, want, tolerance(name, &params)) {
                        problems.push(format!("{name}[{at}]: {what} {got} instead of {want}"));
                    }
                }
            }
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn reference_mixture_of_normals() {
    let file = densities();
    for (at, point) in file["distributions"]["NormalMixture"]["points"].as_array().expect("points").iter().enumerate() {
        let p = params(&point["params"], &["weights", "locs", "scales"]);
        let mut g = Builder::new();
        let inputs: Vec<ValueId> = p.iter().map(|p| p.put(&mut g, DType::Real)).collect();
        let components = (0..p[0].data.len())
            .map(|k| {
                let (loc, scale) = (g.index_axis(inputs[1], 0, k), g.index_axis(inputs[2], 0, k));
                Dist::row(DistId::NORMAL, [loc, scale])
            })
            .collect();
        let mixture = Dist::Mixture { weights: inputs[0], components };
        let x = array(&point["x"]).put(&mut g, DType::Real);
        let lp = mixture.log_prob(&mut g, x);
        let total = g.sum_all(lp);
        let wrt = [x, inputs[0], inputs[1], inputs[2]];
        let grads = autodiff::gradient(&mut g, total, &wrt).expect("a mixture has gradients");
        let values = [
            mixture.cdf(&mut g, x).expect("cdf"),
            mixture.mean(&mut g).expect("mean"),
            mixture.variance(&mut g).expect("variance"),
        ];
        let got = evaluate(&g, &[&[lp], &values[..], &grads[..]].concat());
        for (what, got) in ["logp", "cdf", "mean", "var"].iter().zip(&got) {
            if !point[*what].is_null() {
                let want = number(&point[*what]);
                assert!(close(got[0], want, 1e-9), "[{at}] {what}: {} instead of {want}", got[0]);
            }
        }
        let slots = [
            &point["dlogp_dx"],
            &point["dlogp_dparams"]["weights"],
            &point["dlogp_dparams"]["locs"],
            &point["dlogp_dparams"]["scales"],
        ];
        for (want, got) in slots.iter().zip(&got[4..]) {
            if !want.is_null() {
                for (want, got) in array(want).data.iter().zip(got) {
                    assert!(close(*got, *want, 1e-7), "[{at}] gradient {got} instead of {want}");
                }
            }
        }
    }
}
