//! Wrappers around every row: normalization, draws against the cdf, gradients, tails, nesting.
//!
//! Keys are fixed; the thresholds of the samplers are for a false alarm of 1e-6 in each comparison, of which there are
//! about 400: 1 in 2,500 keys would fail.

use super::draws::{KOLMOGOROV, chi_square, counts_of, kolmogorov};
use super::harness::{Array, close, continuous_scalars, discrete_scalars, dist, evaluate, evaluate_in, parameter_sets};
use crate::autodiff;
use crate::dist::wrappers::{Censored, Independent, Map, Ordered, Transformed, Truncated, ZeroInflated};
use crate::dist::{Dist, DistId, End, Sampler, SupportKind, get, restrict};
use crate::ir::{Builder, DType, Shape, ValueId};
use crate::rng::{Key, Philox};

/// Draws of one comparison; each is found by bisection where the family has no closed quantile.
const N: usize = 4_000;

/// A distribution built into a graph.
type Make = Box<dyn Fn(&mut Builder) -> Dist>;

fn end_of(x: f64) -> End {
    if x.is_infinite() { End::Open } else { End::At(x) }
}
fn truncated(g: &mut Builder, base: Dist, lower: f64, upper: f64) -> Dist {
    let support = restrict(base.support(), end_of(lower), end_of(upper));
    let (lower, upper) = (g.scalar(lower), g.scalar(upper));
    Truncated { base, lower, upper, support }.into()
}
fn censored(g: &mut Builder, base: Dist, lower: f64, upper: f64) -> Dist {
    let support = restrict(base.support(), end_of(lower), end_of(upper));
    let (lower, upper) = (g.scalar(lower), g.scalar(upper));
    Censored { base, lower, upper, support }.into()
}
fn row(g: &mut Builder, id: DistId, params: &[f64]) -> Dist {
    let params: Vec<ValueId> = params.iter().map(|&p| g.scalar(p)).collect();
    Dist::row(id, params)
}
fn mixture(g: &mut Builder, weights: &[f64], components: Vec<Dist>) -> Dist {
    let weights = Array::vector(weights).put(g, DType::Real);
    Dist::Mixture { weights, components }
}
fn transformed(base: Dist, maps: Vec<Map<ValueId>>, support: SupportKind) -> Dist {
    Transformed { base, maps, support }.into()
}

/// The values of `what` at `xs`.
fn at(make: &Make, xs: &[f64], what: impl Fn(&Dist, &mut Builder, ValueId) -> ValueId) -> Vec<f64> {
    let mut g = Builder::new();
    let d = make(&mut g);
    let x = Array::vector(xs).put(&mut g, DType::Real);
    let value = what(&d, &mut g, x);
    evaluate(&g, &[value]).remove(0)
}
fn log_prob(make: &Make, xs: &[f64]) -> Vec<f64> {
    at(make, xs, |d, g, x| d.log_prob(g, x))
}

/// The integral of the density over its support, by its own bijector; about 1e-6 where the density has a kink.
fn total(make: &Make) -> f64 {
    let step = 1.0 / 256.0;
    let us: Vec<f64> = (-20_480..=20_480).map(|i| f64::from(i) * step).collect();
    let mut g = Builder::new();
    let d = make(&mut g);
    let bounds = d.bounds(&mut g);
    let u = Array::vector(&us).put(&mut g, DType::Real);
    let (x, log_det) = d.support().constrain(&mut g, u, bounds);
    let lp = d.log_prob(&mut g, x);
    let values = evaluate(&g, &[lp, log_det]);
    values[0].iter().zip(&values[1]).map(|(lp, ld)| (lp + ld).exp() * step).filter(|p| !p.is_nan()).sum()
}

/// Draws and differentiable draws follow the cdf, in double and single precision.
fn check_draws(name: &str, make: &Make) {
    let mut g = Builder::new();
    let d = make(&mut g);
    let mut nodes = vec![d.sample(&mut g, &Shape::from([N]))];
    nodes.extend(d.rsample(&mut g, &Shape::from([N])));
    let single = evaluate_in::<f32>(g.graph(), &nodes[..1], Key::new(2));
    for mut draws in evaluate(&g, &nodes).into_iter().chain(single) {
        draws.sort_by(f64::total_cmp);
        assert!(draws.iter().all(|x| x.is_finite()), "{name}");
        let log_below = at(make, &draws, |d, g, x| d.log_cdf(g, x).expect("a cdf"));
        let below: Vec<f64> = log_below.iter().map(|l| l.exp()).collect();
        let statistic = kolmogorov(&below);
        assert!(statistic < KOLMOGOROV, "{name}: {statistic}");
    }
}

/// Points of a row at which about a fifth and seven tenths of its mass lie below.
fn middle(id: DistId, params: &[Array]) -> (f64, f64) {
    let Sampler::Scalar(sample) = get(id).sample else { panic!("scalar families") };
    let mut rng = Philox::from_key(Key::new(11));
    let params: Vec<f64> = params.iter().map(|p| p.data[0]).collect();
    let mut draws: Vec<f64> = (0..200).map(|_| sample(&mut rng, &params)).collect();
    draws.sort_by(f64::total_cmp);
    (draws[40], draws[140])
}

fn each_continuous(mut check: impl FnMut(DistId, &[Array], &str)) {
    for id in continuous_scalars().filter(|&id| get(id).has_cdf() && id != DistId::DELTA) {
        for params in parameter_sets(id) {
            check(id, &params, &format!("{}{:?}", get(id).name, params.iter().map(|p| p.data[0]).collect::<Vec<_>>()));
        }
    }
}

#[test]
fn truncated_rows_integrate_to_one_and_draws_follow_their_cdf() {
    each_continuous(|id, params, name| {
        let (low, high) = middle(id, params);
        for (lower, upper) in [(low, high), (low, f64::INFINITY), (f64::NEG_INFINITY, high)] {
            let params = params.to_vec();
            let make: Make = Box::new(move |g| {
                let base = dist(g, id, &params);
                truncated(g, base, lower, upper)
            });
            let total = total(&make);
            // power tails reach beyond the grid
            assert!((total - 1.0).abs() < 2e-5, "{name} in {lower}..{upper} integrates to {total}");
            if lower.is_finite() && upper.is_finite() {
                check_draws(name, &make);
            }
        }
    });
}

#[test]
fn both_tails_of_every_row_add_up_and_keep_their_digits() {
    each_continuous(|id, params, name| {
        let (low, high) = middle(id, params);
        let params = params.to_vec();
        let make: Make = Box::new(move |g| dist(g, id, &params));
        let xs = [low - 3.0 * (high - low), low, 0.5 * (low + high), high, high + 3.0 * (high - low)];
        let below = at(&make, &xs, |d, g, x| d.log_cdf(g, x).expect("a cdf"));
        let above = at(&make, &xs, |d, g, x| d.log_sf(g, x).expect("a cdf"));
        let cdf = at(&make, &xs, |d, g, x| d.cdf(g, x).expect("a cdf"));
        for i in 0..xs.len() {
            assert!((below[i].exp() - cdf[i]).abs() < 1e-13, "{name} below {}: {} {}", xs[i], below[i].exp(), cdf[i]);
            assert!((above[i].exp() + cdf[i] - 1.0).abs() < 1e-13, "{name} above {}", xs[i]);
        }
    });
    let far = |id, params: &[f64], x: f64, below: f64, above: f64| {
        let params: Vec<Array> = params.iter().map(|&p| Array::scalar(p)).collect();
        let make: Make = Box::new(move |g| dist(g, id, &params));
        let got_below = at(&make, &[x], |d, g, x| d.log_cdf(g, x).expect("a cdf"))[0];
        let got_above = at(&make, &[x], |d, g, x| d.log_sf(g, x).expect("a cdf"))[0];
        let name = get(id).name;
        assert!(close(got_below, below, 1e-10), "{name} below {x}: {got_below} instead of {below}");
        assert!(close(got_above, above, 1e-10), "{name} above {x}: {got_above} instead of {above}");
    };
    // Phi(-40) from its asymptotic series: x^-1 (1 - x^-2 + 3 x^-4 - 15 x^-6)
    let z = 40.0f64;
    let series = 1.0 - z.powi(-2) + 3.0 * z.powi(-4) - 15.0 * z.powi(-6);
    let tail = -0.5 * z * z - 0.5 * (2.0 * std::f64::consts::PI).ln() - z.ln() + series.ln();
    far(DistId::NORMAL, &[0.0, 1.0], 40.0, 0.0, tail);
    far(DistId::NORMAL, &[1.0, 2.0], -79.0, tail, 0.0);
    far(DistId::HALF_NORMAL, &[2.0], 80.0, 0.0, tail + 2f64.ln());
    far(DistId::LOGISTIC, &[0.0, 1.0], 900.0, 0.0, -900.0);
    far(DistId::LAPLACE, &[0.0, 1.0], -900.0, -900.0 - 2f64.ln(), 0.0);
    far(DistId::GUMBEL, &[0.0, 1.0], 60.0, 0.0, -60.0);
    far(DistId::GUMBEL, &[0.0, 1.0], -7.0, -(7f64.exp()), 0.0);
    far(DistId::EXPONENTIAL, &[2.0], 1000.0, 0.0, -2000.0);
    far(DistId::EXPONENTIAL, &[2.0], 1e-200, 2e-200f64.ln(), 0.0);
    far(DistId::WEIBULL, &[3.0, 1.0], 20.0, 0.0, -8000.0);
    far(DistId::CAUCHY, &[0.0, 1.0], -1e200, -(1e200f64.ln()) - std::f64::consts::PI.ln(), 0.0);
    // Q(3, x) = e^-x (1 + x + x^2 / 2)
    far(DistId::GAMMA, &[3.0, 1.0], 900.0, 0.0, -900.0 + (1.0 + 900.0 + 405_000.0f64).ln());
    far(DistId::INVERSE_GAMMA, &[3.0, 900.0], 1.0, -900.0 + (1.0 + 900.0 + 405_000.0f64).ln(), 0.0);
    // P(a, x) = x^a e^-x sum of x^n / (a (a + 1) … (a + n)) / Gamma(a)
    let series: f64 = (0..60).map(|n| (1..=n).map(|j| 3.0 / (150.0 + f64::from(j))).product::<f64>()).sum();
    let log_factorial: f64 = (1..=150).map(|k| f64::from(k).ln()).sum();
    far(DistId::GAMMA, &[150.0, 1.0], 3.0, 150.0 * 3f64.ln() - 3.0 - log_factorial + series.ln(), 0.0);
}

#[test]
fn truncation_far_in_a_tail_is_exact() {
    // Beyond z = 8 the normal is nearly an exponential of rate z: at 8 + d the truncated density is the hazard times
    // e^(-8 d - d^2 / 2); the hazard from the continued fraction z + 1/(z + 2/(z + 3/(z + …))).
    for (z, d) in [(8.0, 0.1), (8.0, 1.5), (60.0, 0.02), (1e4, 1e-4)] {
        let mut hazard = z;
        for n in (1..60).rev() {
            hazard = z + f64::from(n) / hazard;
        }
        let want = hazard.ln() - z * d - 0.5 * d * d;
        let make: Make = Box::new(move |g| {
            let base = row(g, DistId::NORMAL, &[0.0, 1.0]);
            truncated(g, base, z, f64::INFINITY)
        });
        assert!(close(log_prob(&make, &[z + d])[0], want, 1e-7), "{z} {d}: {} {want}", log_prob(&make, &[z + d])[0]);
        // the same on the other side, with the parameters moved
        let mirrored: Make = Box::new(move |g| {
            let base = row(g, DistId::NORMAL, &[1.0, 2.0]);
            truncated(g, base, f64::NEG_INFINITY, 1.0 - 2.0 * z)
        });
        let got = log_prob(&mirrored, &[1.0 - 2.0 * (z + d)])[0];
        assert!(close(got, want - 2f64.ln(), 1e-7), "{z} {d}: {got}");
        if z < 100.0 {
            check_draws("a far tail", &make);
            check_draws("a far tail", &mirrored);
        }
    }
}

/// Compositions of several kinds, continuous.
fn nested() -> Vec<(&'static str, Make)> {
    fn case(name: &'static str, make: impl Fn(&mut Builder) -> Dist + 'static) -> (&'static str, Make) {
        (name, Box::new(make))
    }
    vec![
        case("a truncated mixture", |g| {
            let parts = vec![row(g, DistId::NORMAL, &[-2.0, 0.5]), row(g, DistId::LAPLACE, &[1.0, 1.0])];
            let base = mixture(g, &[0.3, 0.7], parts);
            truncated(g, base, -1.8, 2.0)
        }),
        case("a mixture of truncated ones", |g| {
            let (a, b) = (row(g, DistId::NORMAL, &[0.5, 1.0]), row(g, DistId::GUMBEL, &[1.0, 2.0]));
            let parts = vec![truncated(g, a, 0.0, f64::INFINITY), truncated(g, b, 0.0, f64::INFINITY)];
            mixture(g, &[0.4, 0.6], parts)
        }),
        case("truncated twice", |g| {
            let base = row(g, DistId::LOGISTIC, &[0.0, 1.0]);
            let inner = truncated(g, base, 0.5, f64::INFINITY);
            truncated(g, inner, -1.0, 2.0)
        }),
        case("a log-normal by exp", |g| {
            let base = row(g, DistId::NORMAL, &[0.3, 0.8]);
            transformed(base, vec![Map::Exp], SupportKind::Positive)
        }),
        case("falling and scaled", |g| {
            let base = row(g, DistId::GUMBEL, &[0.0, 1.0]);
            let (a, b) = (g.scalar(1.0), g.scalar(-2.0));
            transformed(base, vec![Map::Mul(b), Map::Add(a)], SupportKind::Real)
        }),
        case("a logit-normal", |g| {
            let base = row(g, DistId::NORMAL, &[0.5, 1.5]);
            transformed(base, vec![Map::Sigmoid], SupportKind::UnitInterval)
        }),
        case("an inverse of a truncated one", |g| {
            let base = row(g, DistId::NORMAL, &[1.0, 1.0]);
            let base = truncated(g, base, 0.5, f64::INFINITY);
            transformed(base, vec![Map::Recip], SupportKind::Interval)
        }),
        case("truncated after a transformation", |g| {
            let base = row(g, DistId::NORMAL, &[0.0, 1.0]);
            let base = transformed(base, vec![Map::Neg, Map::Softplus], SupportKind::Positive);
            truncated(g, base, 0.2, 3.0)
        }),
        case("a long chain", |g| {
            let base = row(g, DistId::NORMAL, &[0.0, 0.7]);
            let two = g.scalar(2.0);
            let maps = vec![Map::Tanh, Map::Add(two), Map::Log, Map::Expm1, Map::Sqrt, Map::Pow(-1.5)];
            transformed(base, maps, SupportKind::GreaterThan)
        }),
        case("a normal through its own cdf", |g| {
            let base = row(g, DistId::NORMAL, &[0.4, 1.3]);
            transformed(base, vec![Map::NormalCdf, Map::Logit, Map::Sigmoid], SupportKind::UnitInterval)
        }),
        case("log1p of a gamma", |g| {
            let base = row(g, DistId::GAMMA, &[2.0, 1.0]);
            transformed(base, vec![Map::Log1p], SupportKind::Positive)
        }),
    ]
}

#[test]
fn nested_distributions_integrate_to_one_and_draws_follow_their_cdf() {
    for (name, make) in nested() {
        let mut g = Builder::new();
        // The integrals need the ends, which infinite values of a long chain do not give.
        let ends = make(&mut g);
        if ends.support() != SupportKind::GreaterThan {
            let total = total(&make);
            assert!((total - 1.0).abs() < 1e-6, "{name} integrates to {total}");
        }
        check_draws(name, &make);
        let xs: Vec<f64> = (-60..=60).map(|i| f64::from(i) / 10.0).collect();
        let below = at(&make, &xs, |d, g, x| d.log_cdf(g, x).expect("a cdf"));
        let above = at(&make, &xs, |d, g, x| d.log_sf(g, x).expect("a cdf"));
        for (i, x) in xs.iter().enumerate() {
            assert!((below[i].exp() + above[i].exp() - 1.0).abs() < 1e-12, "{name} at {x}");
        }
    }
}

#[test]
fn gradients_of_log_densities_are_differences() {
    let h = 1e-6;
    for (name, make) in nested() {
        for x in [0.7, 1.3] {
            let mut g = Builder::new();
            let d = make(&mut g);
            let point = g.scalar(x);
            let lp = d.log_prob(&mut g, point);
            let mut wrt = d.params();
            wrt.push(point);
            let slopes = autodiff::gradient(&mut g, lp, &wrt).expect("densities have gradients");
            let values = evaluate(&g, &[&[lp], &slopes[..]].concat());
            if values[0][0] == f64::NEG_INFINITY {
                assert!(values[1..].iter().flatten().all(|&s| s == 0.0), "{name} outside its support: {values:?}");
                continue;
            }
            let point_slope = values.last().expect("there is x")[0];
            let moved = log_prob(&make, &[x - h, x + h]);
            let want = (moved[1] - moved[0]) / (2.0 * h);
            assert!(close(point_slope, want, 1e-6), "{name} at {x}: {point_slope} instead of {want}");
        }
    }
    // every parameter of a truncated and of a censored distribution, ends included
    let build = |g: &mut Builder, p: &[f64], cut: bool| {
        let values: Vec<ValueId> = p.iter().map(|&v| Array::scalar(v).put(g, DType::Real)).collect();
        let base = Dist::row(DistId::NORMAL, [values[0], values[1]]);
        let (lower, upper) = (values[2], values[3]);
        let support = SupportKind::Interval;
        let d: Dist = if cut {
            Truncated { base, lower, upper, support }.into()
        } else {
            Censored { base, lower, upper, support }.into()
        };
        let xs = Array::vector(&[0.2, 0.9, p[3]]).put(g, DType::Real);
        let lp = d.log_prob(g, xs);
        (g.sum_all(lp), values)
    };
    for cut in [true, false] {
        let p = [0.3, 1.2, -0.5, 1.5];
        let mut g = Builder::new();
        let (lp, values) = build(&mut g, &p, cut);
        let moving = if cut { 3 } else { 2 };
        let slopes = autodiff::gradient(&mut g, lp, &values[..moving]).expect("gradients");
        let slopes = evaluate(&g, &slopes);
        for i in 0..moving {
            let moved = [-h, h].map(|step| {
                let mut p = p;
                p[i] += step;
                let mut g = Builder::new();
                let (lp, _) = build(&mut g, &p, cut);
                evaluate(&g, &[lp])[0][0]
            });
            let want = (moved[1] - moved[0]) / (2.0 * h);
            assert!(close(slopes[i][0], want, 1e-6), "parameter {i}: {} instead of {want}", slopes[i][0]);
        }
    }
}

/// A differentiable draw that moves along with a parameter keeps its place in the distribution.
#[test]
fn truncated_draws_move_with_their_quantiles() {
    let h = 1e-4;
    for (id, start) in [
        (DistId::NORMAL, [0.3, 1.2, 0.5, 2.5]),
        (DistId::GAMMA, [2.5, 1.2, 0.5, 4.0]),
        (DistId::BETA, [2.0, 3.0, 0.2, 0.9]),
        (DistId::NORMAL, [0.0, 1.0, 6.0, f64::INFINITY]),
    ] {
        for moved in 0..4 {
            if start[moved].is_infinite() {
                continue;
            }
            let n = 40;
            let mut g = Builder::new();
            let mut values: Vec<ValueId> = start.iter().map(|&v| g.scalar(v)).collect();
            values[moved] = g.full(start[moved], Shape::from([n]));
            let make = |v: &[ValueId]| -> Dist {
                let base = Dist::row(id, [v[0], v[1]]);
                Truncated { base, lower: v[2], upper: v[3], support: SupportKind::Interval }.into()
            };
            let d = make(&values);
            let x = d.rsample(&mut g, &Shape::from([n])).expect("reparameterized");
            let sum = g.sum_all(x);
            let slope = autodiff::gradient(&mut g, sum, &[values[moved]]).expect("implicit").remove(0);
            let before = d.cdf(&mut g, x).expect("a cdf");
            let step = g.mul_scalar(slope, h);
            let there = g.add(x, step);
            let mut others = values.clone();
            others[moved] = g.add_scalar(values[moved], h);
            let after = make(&others).cdf(&mut g, there).expect("a cdf");
            let got = evaluate(&g, &[before, after, slope]);
            for i in 0..n {
                assert!(got[2][i].is_finite());
                assert!((got[0][i] - got[1][i]).abs() < 1e-6, "{} parameter {moved}: {got:?}", get(id).name);
            }
        }
    }
}

#[test]
fn truncated_inflated_and_hurdle_masses_sum_to_one_and_to_their_draws() {
    for id in discrete_scalars().filter(|&id| get(id).has_cdf()) {
        for params in parameter_sets(id) {
            let (low, high) = middle(id, &params);
            let name = format!("{}{params:?}", get(id).name);
            let mut makes: Vec<Make> = Vec::new();
            for (lower, upper) in [(low, high), (low, f64::INFINITY), (f64::NEG_INFINITY, high)] {
                let params = params.clone();
                makes.push(Box::new(move |g| {
                    let base = dist(g, id, &params);
                    truncated(g, base, lower, upper)
                }));
            }
            let base_params = params.clone();
            makes.push(Box::new(move |g| {
                let base = dist(g, id, &base_params);
                let probs = g.scalar(0.3);
                ZeroInflated { probs, base, hurdle: false, support: SupportKind::IntegerRange }.into()
            }));
            let base_params = params.clone();
            if high >= 1.0 {
                makes.push(Box::new(move |g| {
                    let base = dist(g, id, &base_params);
                    let base = truncated(g, base, 1.0, f64::INFINITY);
                    let probs = g.scalar(0.3);
                    ZeroInflated { probs, base, hurdle: true, support: SupportKind::IntegerRange }.into()
                }));
            }
            let base_params = params.clone();
            makes.push(Box::new(move |g| {
                let base = dist(g, id, &base_params);
                censored(g, base, low, high.max(low + 1.0))
            }));
            for (k, make) in makes.iter().enumerate() {
                let ks: Vec<f64> = (-10..1000).map(f64::from).collect();
                let masses: Vec<f64> = log_prob(make, &ks).iter().map(|lp| lp.exp()).collect();
                let total: f64 = masses.iter().sum();
                assert!((total - 1.0).abs() < 1e-9, "{name} {k} sums to {total}");
                let below = at(make, &ks, |d, g, x| d.log_cdf(g, x).expect("a cdf"));
                let above = at(make, &ks, |d, g, x| d.log_sf(g, x).expect("a cdf"));
                let mut sum = 0.0;
                for i in 0..ks.len() {
                    sum += masses[i];
                    assert!((below[i].exp() - sum).abs() < 1e-9, "{name} {k}: below {}", ks[i]);
                    assert!((above[i].exp() + sum - 1.0).abs() < 1e-9, "{name} {k}: above {}", ks[i]);
                }
                let mut g = Builder::new();
                let d = make(&mut g);
                let x = d.sample(&mut g, &Shape::from([N]));
                let draws = evaluate(&g, &[x]).remove(0);
                let deviation = chi_square(&counts_of(&draws, -10.0, ks.len()), &masses, N as f64);
                assert!(deviation < 4.9, "{name} {k}: {deviation}");
            }
        }
    }
}

#[test]
fn censored_data_have_the_mass_beyond_an_end() {
    let make: Make = Box::new(|g| {
        let base = row(g, DistId::NORMAL, &[0.0, 1.0]);
        let base = truncated(g, base, -1.0, f64::INFINITY);
        censored(g, base, -0.5, 1.5)
    });
    let inner: Make = Box::new(|g| {
        let base = row(g, DistId::NORMAL, &[0.0, 1.0]);
        truncated(g, base, -1.0, f64::INFINITY)
    });
    let below = at(&inner, &[-0.5], |d, g, x| d.log_cdf(g, x).expect("a cdf"))[0];
    let above = at(&inner, &[1.5], |d, g, x| d.log_sf(g, x).expect("a cdf"))[0];
    let got = log_prob(&make, &[-0.5, 1.5, 0.3, -0.7, 1.6]);
    assert_eq!(got[..2], [below, above]);
    assert_eq!(got[2], log_prob(&inner, &[0.3])[0]);
    assert_eq!(got[3..], [f64::NEG_INFINITY; 2]);
    let mut g = Builder::new();
    let d = make(&mut g);
    let x = d.sample(&mut g, &Shape::from([N]));
    let draws = evaluate(&g, &[x]).remove(0);
    for (end, mass) in [(-0.5, below.exp()), (1.5, above.exp())] {
        let share = draws.iter().filter(|&&x| x == end).count() as f64 / N as f64;
        // five standard deviations: a false alarm of 6e-7
        assert!((share - mass).abs() < 5.0 * (mass * (1.0 - mass) / N as f64).sqrt(), "{end}: {share} {mass}");
    }
    // Ends that are infinite where nothing is censored: the gradient is that of what there is.
    let mut g = Builder::new();
    let (k, s) = (Array::scalar(1.3).put(&mut g, DType::Real), Array::scalar(20.0).put(&mut g, DType::Real));
    let base = Dist::row(DistId::WEIBULL, [k, s]);
    let upper = Array::vector(&[f64::INFINITY, 32.0, f64::INFINITY]).put(&mut g, DType::Real);
    let lower = g.scalar(f64::NEG_INFINITY);
    let d: Dist = Censored { base, lower, upper, support: SupportKind::Interval }.into();
    let x = Array::vector(&[10.0, 32.0, 7.0]).put(&mut g, DType::Real);
    let lp = d.log_prob(&mut g, x);
    let sum = g.sum_all(lp);
    let slopes = autodiff::gradient(&mut g, sum, &[k, s, upper]).expect("gradients");
    let values = evaluate(&g, &[&[lp], &slopes[..]].concat());
    assert!((values[0][1] + (32.0f64 / 20.0).powf(1.3)).abs() < 1e-12);
    assert!(values.iter().flatten().all(|v| v.is_finite()), "{values:?}");
}

#[test]
fn ends_may_be_infinite_element_by_element() {
    let mut g = Builder::new();
    let (loc, scale) = (Array::scalar(0.5).put(&mut g, DType::Real), Array::scalar(2.0).put(&mut g, DType::Real));
    let base = Dist::row(DistId::NORMAL, [loc, scale]);
    let lower = Array::vector(&[f64::NEG_INFINITY, 0.0, f64::NEG_INFINITY, 0.0]).put(&mut g, DType::Real);
    let upper = Array::vector(&[f64::INFINITY, f64::INFINITY, 1.0, 1.0]).put(&mut g, DType::Real);
    let d: Dist = Truncated { base, lower, upper, support: SupportKind::Interval }.into();
    let bounds = d.bounds(&mut g);
    let u = Array::vector(&[0.3, 0.3, 0.3, 0.3]).put(&mut g, DType::Real);
    let (x, log_det) = d.support().constrain(&mut g, u, bounds);
    let back = d.support().unconstrain(&mut g, x, bounds);
    let lp = d.log_prob(&mut g, x);
    let joint = g.add(lp, log_det);
    let sum = g.sum_all(joint);
    let slopes = autodiff::gradient(&mut g, sum, &[u, loc, scale, lower, upper]).expect("gradients");
    let draw = d.rsample(&mut g, &Shape::from([4])).expect("reparameterized");
    let values = evaluate(&g, &[&[x, back, lp, draw], &slopes[..]].concat());
    let e = 0.3f64.exp();
    for (got, want) in values[0].iter().zip([0.3, e, 1.0 - e, e / (1.0 + e)]) {
        assert!((got - want).abs() < 1e-14, "{:?}", values[0]);
    }
    assert!(values[1].iter().all(|u| (u - 0.3).abs() < 1e-12), "{:?}", values[1]);
    assert!(values.iter().flatten().all(|v| v.is_finite()), "{values:?}");
    assert!(values[3][1] >= 0.0 && values[3][2] <= 1.0 && (0.0..=1.0).contains(&values[3][3]));
}

#[test]
fn impossible_truncations_are_minus_infinity_with_zero_gradients() {
    for (id, params, lower, upper) in [
        (DistId::BETA, [2.0, 3.0], 2.0, 3.0),
        (DistId::NORMAL, [0.0, 1.0], 1.0, -1.0),
        (DistId::GAMMA, [2.0, 1.0], -2.0, -1.0),
    ] {
        let mut g = Builder::new();
        let p: Vec<ValueId> = params.iter().map(|&v| Array::scalar(v).put(&mut g, DType::Real)).collect();
        let base = Dist::row(id, p.clone());
        let d = truncated(&mut g, base, lower, upper);
        let x = Array::vector(&[0.5, 2.5, -1.5]).put(&mut g, DType::Real);
        let lp = d.log_prob(&mut g, x);
        let sum = g.sum_all(lp);
        let slopes = autodiff::gradient(&mut g, sum, &p).expect("gradients");
        let values = evaluate(&g, &[&[lp], &slopes[..]].concat());
        assert!(values[0].iter().all(|&lp| lp == f64::NEG_INFINITY), "{} {values:?}", get(id).name);
        assert!(values[1..].iter().flatten().all(|&s| s == 0.0), "{} {values:?}", get(id).name);
    }
}

#[test]
fn ordered_draws_are_ascending_and_their_density_counts_the_orders() {
    let mut g = Builder::new();
    let loc = Array::vector(&[0.0, 3.0]).put(&mut g, DType::Real);
    let one = g.scalar(1.0);
    let base = Dist::row(DistId::NORMAL, [loc, one]);
    let d: Dist = Ordered { base: base.clone(), support: SupportKind::Ordered }.into();
    let x = g.constant(vec![-1.0, 0.5, 0.7, 2.0, 2.5, 2.4], Shape::from([2, 3]), DType::Real);
    let lp = d.log_prob(&mut g, x);
    let each = base.stretched(&mut g).log_prob(&mut g, x);
    let n = 5000;
    let draw = d.rsample(&mut g, &Shape::from([n, 2, 3])).expect("normals are reparameterized");
    let first = g.index_axis(draw, 2, 0);
    let sum = g.sum_all(first);
    let slope = autodiff::gradient(&mut g, sum, &[loc]).expect("sorted draws have gradients").remove(0);
    let values = evaluate(&g, &[lp, each, draw, slope]);
    assert!((values[0][0] - values[1][..3].iter().sum::<f64>() - 6f64.ln()).abs() < 1e-12);
    assert_eq!(values[0][1], f64::NEG_INFINITY);
    assert!(values[2].chunks(3).all(|v| v[0] <= v[1] && v[1] <= v[2]));
    // each first draw moves with its loc
    assert_eq!(values[3], [n as f64, n as f64]);
    // the least of three: P(min <= x) = 1 - (1 - F(x))^3
    let mut least: Vec<f64> = values[2].chunks(6).map(|v| v[0]).collect();
    least.sort_by(f64::total_cmp);
    let normal: Make = Box::new(|g| row(g, DistId::NORMAL, &[0.0, 1.0]));
    let above = at(&normal, &least, |d, g, x| d.log_sf(g, x).expect("a cdf"));
    let below: Vec<f64> = above.iter().map(|l| -(3.0 * l).exp_m1()).collect();
    assert!(kolmogorov(&below) < KOLMOGOROV);
}

#[test]
fn independent_draws_are_one_event() {
    let mut g = Builder::new();
    let loc = Array::vector(&[0.0, 3.0]).put(&mut g, DType::Real);
    let one = g.scalar(1.0);
    let base = Dist::row(DistId::NORMAL, [loc, one]);
    let d: Dist = Independent { base: base.clone(), dims: 1 }.into();
    assert_eq!((d.event_rank(), d.batch_shape(&g), d.event_shape(&g)), (1, Shape::scalar(), Shape::from([2])));
    let x = g.constant(vec![0.1, 2.0, -1.0, 4.0, 0.0, 3.0], Shape::from([3, 2]), DType::Real);
    let (lp, each) = (d.log_prob(&mut g, x), base.log_prob(&mut g, x));
    let other = row(&mut g, DistId::NORMAL, &[1.0, 2.0]);
    let shape = Shape::from([2]);
    let spread = match &other {
        Dist::Row { params, .. } => g.broadcast_to(params[0], shape),
        _ => unreachable!("a row"),
    };
    let two = g.scalar(2.0);
    let other: Dist = Independent { base: Dist::row(DistId::NORMAL, [spread, two]), dims: 1 }.into();
    let parts = vec![d.clone(), other.clone()];
    let mix = mixture(&mut g, &[0.3, 0.7], parts);
    let (mixed, second) = (mix.log_prob(&mut g, x), other.log_prob(&mut g, x));
    let draw = mix.sample(&mut g, &Shape::from([7, 2]));
    let values = evaluate(&g, &[lp, each, mixed, second, draw]);
    for i in 0..3 {
        let sum = values[1][2 * i] + values[1][2 * i + 1];
        assert!((values[0][i] - sum).abs() < 1e-13);
        let want = (0.3 * sum.exp() + 0.7 * values[3][i].exp()).ln();
        assert!((values[2][i] - want).abs() < 1e-12, "a row is of one component");
    }
    assert_eq!(values[4].len(), 14);
}

#[test]
fn zero_inflated_moments_are_those_of_the_masses() {
    let make: Make = Box::new(|g| {
        let base = row(g, DistId::NEGATIVE_BINOMIAL, &[3.0, 2.0]);
        let probs = g.scalar(0.35);
        ZeroInflated { probs, base, hurdle: false, support: SupportKind::Count }.into()
    });
    let ks: Vec<f64> = (0..400).map(f64::from).collect();
    let masses: Vec<f64> = log_prob(&make, &ks).iter().map(|lp| lp.exp()).collect();
    let mean: f64 = ks.iter().zip(&masses).map(|(k, p)| k * p).sum();
    let variance: f64 = ks.iter().zip(&masses).map(|(k, p)| (k - mean).powi(2) * p).sum();
    let mut g = Builder::new();
    let d = make(&mut g);
    let nodes = [d.mean(&mut g).expect("a mean"), d.variance(&mut g).expect("a variance")];
    let got = evaluate(&g, &nodes);
    assert!(close(got[0][0], mean, 1e-10) && close(got[1][0], variance, 1e-10), "{got:?} {mean} {variance}");
    // a continuous one has the density of the rest beside the mass
    let mixed: Make = Box::new(|g| {
        let base = row(g, DistId::GAMMA, &[2.0, 1.0]);
        let probs = g.scalar(0.35);
        ZeroInflated { probs, base, hurdle: false, support: SupportKind::NonNegative }.into()
    });
    let got = log_prob(&mixed, &[0.0, 1.5, -1.0]);
    assert!((got[0] - 0.35f64.ln()).abs() < 1e-14);
    assert!((got[1] - (0.65f64.ln() + 1.5f64.ln() - 1.5)).abs() < 1e-14);
    assert_eq!(got[2], f64::NEG_INFINITY);
}
