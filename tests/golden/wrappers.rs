//! Truncated, censored and inflated models whose evidence is known in closed form, and a program with all wrappers.

use crate::common::*;
use bayesc::check::settings::KlChoice;
use bayesc::kernels::special::{lgamma, log_ndtr};
use bayesc::rng::Key;
use bayesc::session;

/// At the parameters `at` of an exact guide every draw has the evidence, and the gradient vanishes.
fn assert_exact(text: &str, at: &[(&str, f64)], evidence: f64) {
    let mut e = Elbo::new(text, KlChoice::MonteCarlo);
    let mut p = e.start(0);
    for (name, value) in at {
        e.set(&mut p, name, &[*value]);
    }
    for i in 0..20 {
        let v = e.at(&p, Key::new(3).fold_in(i), None);
        assert_close(v.elbo, evidence, 1e-9, "the ELBO of one draw");
        assert!(v.gradient.iter().all(|g| g.abs() < 1e-7), "gradient {:?}", v.gradient);
    }
}

/// Exponential lifetimes, some cut off: the posterior of the rate is a Gamma that counts the events only.
#[test]
fn censored_lifetimes_have_their_evidence() {
    let (t, limit) = ([0.4, 2.0, 1.1, 3.0, 0.7], ["inf", "2.0", "inf", "3", "5"]);
    let (a, b, events) = (2.0, 1.5, 3.0);
    let total: f64 = t.iter().sum();
    let (post_a, post_b): (f64, f64) = (a + events, b + total);
    let evidence = a * f64::ln(b) - lgamma(a) + lgamma(post_a) - post_a * post_b.ln();
    let text = format!(
        "data t: real[N] = {}\ndata limit: real[N] = [{}]\nmodel {{\n  r ~ Gamma({a}, {b})\n  \
         t ~ Censored(Exponential(r), upper = limit)\n}}\nguide {{\n  r ~ Gamma(?, ?)\n}}\ninfer svi {{ steps = 1 }}\n",
        literal(&t),
        limit.join(", ")
    );
    let at = [("r.concentration", inverse_softplus(post_a)), ("r.rate", inverse_softplus(post_b))];
    assert_exact(&text, &at, evidence);
}

/// A normal mean that is known to lie above a bound: prior, posterior and guide are truncated normals.
#[test]
fn a_truncated_guide_reaches_a_truncated_posterior() {
    let (y, noise, bound) = ([-0.4, 0.3, 0.9, -0.2], 0.7, 0.5);
    let precision = 0.25 + y.len() as f64 / (noise * noise);
    let m = y.iter().sum::<f64>() / (noise * noise) / precision;
    let s = f64::powf(precision, -0.5);
    let likelihood: f64 = y.iter().map(|&y| log_normal(y, 0.0, noise)).sum();
    let whole = likelihood + log_normal(0.0, 0.0, 2.0) - log_normal(0.0, m, s);
    let evidence = whole + log_ndtr((m - bound) / s) - log_ndtr((0.0 - bound) / 2.0);
    let text = format!(
        "data y: real[N] = {}\nmodel {{\n  mu ~ Truncated(Normal(0, 2), lower = {bound})\n  y ~ Normal(mu, {noise})\n}}\n\
         guide {{\n  mu ~ Truncated(Normal(?, ?), lower = {bound})\n}}\ninfer svi {{ steps = 1 }}\n",
        literal(&y)
    );
    assert_exact(&text, &[("mu.loc", m), ("mu.scale", inverse_softplus(s))], evidence);
}

/// A transformed normal is a log-normal, in the prior and in the guide.
#[test]
fn a_transformed_guide_reaches_a_log_normal_posterior() {
    let (y, noise): ([f64; 3], f64) = ([0.5, 1.9, 0.8], 0.6);
    let logs: Vec<f64> = y.iter().map(|y| y.ln()).collect();
    let precision = 1.0 + y.len() as f64 / (noise * noise);
    let m = logs.iter().sum::<f64>() / (noise * noise) / precision;
    let s = precision.powf(-0.5);
    let jacobian: f64 = -logs.iter().sum::<f64>();
    let likelihood: f64 = logs.iter().map(|&l| log_normal(l, 0.0, noise)).sum();
    let evidence = jacobian + likelihood + log_normal(0.0, 0.0, 1.0) - log_normal(0.0, m, s);
    let text = format!(
        "data y: real[N] in 0.. = {}\nfn times(u: real, by: real) -> real {{\n  return by * exp(u)\n}}\nmodel {{\n  \
         b ~ Transformed(Normal(0, 1), exp)\n  y ~ Transformed(Normal(0, {noise}), times(b))\n}}\n\
         guide {{\n  b ~ Transformed(Normal(?, ?), exp)\n}}\ninfer svi {{ steps = 1 }}\n",
        literal(&y)
    );
    assert_exact(&text, &[("b.loc", m), ("b.scale", inverse_softplus(s))], evidence);
}

#[test]
fn a_program_with_every_wrapper_is_fitted_scored_and_drawn_from() {
    let text = "\
data y: real[N] = [0.3, 1.2, 2.0, 0.7, 1.1, 2.4]
data t: real[N] in 0.. = [1, 3, 3, 0.5, 2.2, 3]
data w: real[N] in 0.. = [0, 0.4, 0, 1.3, 0.2, 0]
data n: int[N] in 0.. = [0, 3, 0, 0, 5, 2]
data h: int[N] in 0.. = [0, 1, 0, 4, 2, 0]
data k: int[N] in 1.. = [1, 2, 1, 1, 3, 2]
data x: real[N, 2] = [[0, 1], [4, 5], [0.2, 0.8], [3.9, 5.2], [0.1, 1.1], [4.2, 4.8]]
model {
  sigma ~ Truncated(Normal(0, 1), lower = 0)
  tau ~ Truncated(StudentT(3, 0, 1), lower = 0.1, upper = 5)
  low ~ Truncated(Normal(0, 1), upper = -0.5)
  mu: real[2] ~ Ordered(Normal(0, 5))
  rates: real[2] ~ Ordered(LogNormal(0, 1))
  p ~ Transformed(Normal(0, 1.5), sigmoid)
  m ~ Truncated(Mixture([0.3, 0.7], [Normal(-1, 1), Normal(1, 1)]), lower = low, upper = 4)
  y ~ Mixture([p, 1 - p], [Truncated(Normal(m, sigma), lower = 0), Exponential(1)])
  t ~ Censored(Weibull(1 + sigma, tau), upper = 3)
  w ~ Hurdle(p, Normal(m, sigma))
  n ~ ZeroInflated(p, Poisson(rates[1]))
  h ~ Hurdle(p, NegativeBinomial(rates[0], 2))
  k ~ Truncated(Poisson(rates[1]), lower = 1)
  x ~ Mixture([0.5, 0.5], [Independent(Normal([mu[0], mu[0]], 1), 1), Independent(Normal([mu[1], mu[1]], 1), 1)])
}
generate {
  again ~ Truncated(Gamma(2, 1), lower = 1)
  count ~ Truncated(Poisson(3), lower = 1, upper = 4)
}
infer svi { steps = 400, optimizer = adam(2e-2), draws = 200 }
evaluate { y = [0.2, 1.0], t = [3, 1], w = [0, 1], n = [0, 1], h = [0, 2], k = [1, 1], x = [[0, 1], [4, 5]] }
";
    let c = compile(text);
    let fit = fit_with(&c, &Default::default());
    assert!(elbo_of(&fit).0.is_finite());
    let all = &fit.quantities;
    let inside = |name: &str, element: usize, test: &dyn Fn(f64) -> bool| {
        assert!(draws(all, name, element).into_iter().all(test), "{name} leaves its support");
    };
    inside("sigma", 0, &|x| x > 0.0);
    inside("tau", 0, &|x| (0.1..=5.0).contains(&x));
    inside("low", 0, &|x| x <= -0.5);
    inside("p", 0, &|x| x > 0.0 && x < 1.0);
    inside("again", 0, &|x| x >= 1.0);
    inside("count", 0, &|x| (1.0..=4.0).contains(&x) && x.fract() == 0.0);
    let (first, second) = (draws(all, "mu", 0), draws(all, "mu", 1));
    assert!(first.iter().zip(&second).all(|(a, b)| a < b), "the means are in order");
    let (a, b) = (mean(&first), mean(&second));
    assert!(a < 1.5 && b > 3.0, "the rows are told apart: {a} {b}");
    let prior = session::prior(&bind(&c), 50, 1).unwrap_or_else(|e| panic!("{e:?}"));
    let all_of = |name: &str| draws(&prior, name, 0);
    assert!(all_of("t").into_iter().all(|x| (0.0..=3.0).contains(&x)));
    assert!(all_of("k").into_iter().all(|x| x >= 1.0 && x.fract() == 0.0));
    assert!(all_of("w").into_iter().all(|x| x >= 0.0));
    assert!(all_of("w").into_iter().any(|x| x == 0.0) && all_of("w").into_iter().any(|x| x > 0.0));
}
