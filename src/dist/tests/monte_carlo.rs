//! Every vector and matrix family against its own draws: density, moments, entropy, divergences, gradients.
//!
//! Keys are fixed, so a test passes or fails for good. Each comparison asks for 5 standard errors: a false alarm of 6e-7,
//! and with about 1,000 comparisons 1 in 1,700 keys would fail.

use super::harness::{Array, close, dist, evaluate, evaluate_in, log_prob_and_gradients, parameter_sets};
use crate::autodiff;
use crate::dist::{Dist, DistId, SupportKind, get, ids};
use crate::ir::{Builder, DType, Shape, ValueId};
use crate::rng::Key;

const N: usize = 20_000;

/// The rows whose draws are vectors or matrices.
fn arrays() -> impl Iterator<Item = DistId> {
    ids().filter(|&id| get(id).event_rank > 0)
}

/// Another parameter set close to `params`: every number moved a little, within its support.
fn neighbour(id: DistId, params: &[Array]) -> Vec<Array> {
    let defs = get(id).params.iter().zip(params).enumerate();
    defs.map(|(at, (def, param))| {
        let mut moved = param.clone();
        let support = def.support;
        // matrices are scaled: they stay what they are
        let wave =
            |i: usize| if def.event_rank == 2 { 1.06 } else { 1.0 + 0.06 * (1.0 + (2.1 * (i + at) as f64).sin()) };
        match support {
            _ if def.is_shape() || support.is_discrete() => {}
            SupportKind::Real => moved.data.iter_mut().enumerate().for_each(|(i, x)| *x += 0.1 * (wave(i) - 1.0)),
            SupportKind::Simplex => {
                moved.data.iter_mut().enumerate().for_each(|(i, x)| *x *= wave(i));
                let sum: f64 = moved.data.iter().sum();
                moved.data.iter_mut().for_each(|x| *x /= sum);
            }
            _ => moved.data.iter_mut().enumerate().for_each(|(i, x)| *x *= wave(i)),
        }
        moved
    })
    .collect()
}

/// `N` draws by the host and, where those carry gradients, on the tape.
fn draws(g: &mut Builder, id: DistId, d: &Dist) -> Vec<(&'static str, ValueId)> {
    let shape = Shape::from([N]).concat(&d.event_shape(g));
    let Dist::Row { params, .. } = d else { unreachable!("a row") };
    let host = g.draw(id, params, shape.clone());
    let tape = d.rsample(g, &shape);
    std::iter::once(("host", host)).chain(tape.map(|x| ("tape", x))).collect()
}

/// Whether the mean of `values` is `want` within 5 standard errors (or rounding, where they are all the same).
fn assert_mean(what: &str, values: impl Iterator<Item = f64> + Clone, want: f64) {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    let variance = values.map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0);
    let room = 5.0 * (variance / n).sqrt() + 1e-9 * (1.0 + want.abs());
    assert!((mean - want).abs() < room, "{what}: mean {mean} instead of {want}, room {room}");
}

#[test]
fn draws_lie_in_the_support_and_follow_their_density() {
    for id in arrays() {
        for params in parameter_sets(id) {
            let mut g = Builder::new();
            let d = dist(&mut g, id, &params);
            let other = dist(&mut g, id, &neighbour(id, &params));
            for (how, x) in draws(&mut g, id, &d) {
                let what = format!("{} drawn by {how}, {params:?}", get(id).name);
                let (lp, lq) = (d.log_prob(&mut g, x), other.log_prob(&mut g, x));
                let mut wanted = vec![x, lp, lq];
                let closed = [d.mean(&mut g), d.variance(&mut g), d.entropy(&mut g), d.kl(&other, &mut g)];
                wanted.extend(closed.iter().flatten());
                let mut values = evaluate(&g, &wanted).into_iter();
                let mut next = || values.next().expect("asked for");
                let (x, lp, lq) = (next(), next(), next());
                let size = x.len() / N;
                let total = get(id).param("total").map(|at| (0.0, params[at].data[0]));
                let support = get(id).support;
                if support.event_rank() > 0 {
                    assert!(x.chunks(size).take(200).all(|x| support.check(x, total)), "{what}: outside the support");
                }
                assert!(lp.iter().all(|lp| lp.is_finite()), "{what}: impossible draws");
                // E q(x)/p(x) = 1: both densities are right up to one factor, and the draws follow one of them
                assert_mean(&what, lq.iter().zip(&lp).map(|(q, p)| (q - p).exp()), 1.0);
                let [mean, variance, entropy, kl] = closed.map(|value| value.map(|_| next()));
                if let Some(mean) = &mean {
                    for (k, &mean) in mean.iter().enumerate() {
                        assert_mean(&format!("{what} [{k}]"), x.iter().skip(k).step_by(size).copied(), mean);
                    }
                }
                if let (Some(mean), Some(variance)) = (&mean, &variance) {
                    for k in (0..size).filter(|&k| variance[k].is_finite()) {
                        let squares = x.iter().skip(k).step_by(size).map(|x| (x - mean[k]).powi(2));
                        assert_mean(&format!("{what} variance [{k}]"), squares, variance[k]);
                    }
                }
                if let Some(entropy) = entropy {
                    assert_mean(&format!("{what} entropy"), lp.iter().map(|lp| -lp), entropy[0]);
                }
                if let Some(kl) = kl {
                    let ratios = lp.iter().zip(&lq).map(|(p, q)| p - q);
                    assert_mean(&format!("{what} divergence"), ratios, kl[0]);
                }
            }
        }
    }
}

#[test]
fn divergences_between_forms_are_means_of_the_log_ratio() {
    let sets = parameter_sets(DistId::MULTIVARIATE_NORMAL_LOW_RANK);
    for other in [DistId::MULTIVARIATE_NORMAL_TRIL, DistId::MULTIVARIATE_NORMAL_COV] {
        let mut g = Builder::new();
        let p = dist(&mut g, DistId::MULTIVARIATE_NORMAL_LOW_RANK, &sets[0]);
        let q = dist(&mut g, other, &parameter_sets(other)[0]);
        let x = p.rsample(&mut g, &Shape::from([N, 2])).expect("reparameterized");
        let (lp, lq, kl) = (p.log_prob(&mut g, x), q.log_prob(&mut g, x), p.kl(&q, &mut g).expect("closed"));
        let values = evaluate(&g, &[lp, lq, kl]);
        assert_mean(get(other).name, values[0].iter().zip(&values[1]).map(|(p, q)| p - q), values[2][0]);
    }
}

/// A direction in which a value may move and stay in its support to first order.
fn direction(support: SupportKind, value: &Array, which: usize) -> Vec<f64> {
    let mut step: Vec<f64> = (0..value.data.len()).map(|i| (2.3 * i as f64 + 1.7 * which as f64 + 0.9).sin()).collect();
    let n = *value.shape.last().unwrap_or(&1);
    let matrix = support.event_rank() == 2;
    for i in (0..value.data.len()).filter(|_| matrix) {
        let (row, column) = (i / n % n, i % n);
        let lower = matches!(support, SupportKind::LowerCholesky | SupportKind::CorrelationCholesky);
        step[i] = match (lower, row, column) {
            (true, r, c) if c > r => 0.0,
            (false, r, c) if c > r => step[c * n + r],
            (_, r, c) if r == c && support == SupportKind::Correlation => 0.0,
            _ => step[i],
        };
    }
    step
}

#[test]
fn gradients_of_log_densities_are_differences() {
    for id in ids().filter(|&id| get(id).is_proper() && id != DistId::DELTA) {
        for params in parameter_sets(id) {
            let mut g = Builder::new();
            let d = dist(&mut g, id, &params);
            let event = d.event_shape(&g);
            let x = d.sample(&mut g, &event);
            let drawn = evaluate_in::<f64>(g.graph(), &[x], Key::new(11)).remove(0);
            let x = Array { shape: event.to_vec(), data: drawn };
            let (_, gradients) = log_prob_and_gradients(id, &params, &x);
            let h = 1e-6;
            for (at, gradient) in gradients.iter().enumerate() {
                let (support, value) = match at.checked_sub(1) {
                    None if get(id).is_discrete() => continue,
                    None => (get(id).support, &x),
                    Some(p) => (get(id).params[p].support, &params[p]),
                };
                if support.is_discrete() || value.data.iter().any(|x| x.abs() > 100.0) {
                    continue;
                }
                let step = direction(support, value, at);
                let moved = |by: f64| {
                    let (mut x, mut params) = (x.clone(), params.clone());
                    let value = if at == 0 { &mut x } else { &mut params[at - 1] };
                    value.data.iter_mut().zip(&step).for_each(|(v, s)| *v += by * s);
                    log_prob_and_gradients(id, &params, &x).0[0]
                };
                let want = (moved(h) - moved(-h)) / (2.0 * h);
                let got: f64 = gradient.iter().zip(&step).map(|(g, s)| g * s).sum();
                // at a corner of a probability the difference leaves the support
                if want.is_finite() {
                    assert!(close(got, want, 2e-5), "{}{params:?} at {x:?}, operand {at}: {got}, {want}", get(id).name);
                }
            }
        }
    }
}

/// E f(x) differentiated through draws is the derivative of its closed form, for f a combination of the entries and of
/// their squares.
#[test]
fn gradients_through_draws_are_those_of_the_moments() {
    for id in arrays().filter(|&id| get(id).is_reparameterized()) {
        for params in parameter_sets(id).into_iter().take(2) {
            // With so few degrees of freedom the squares have no variance.
            if id == DistId::MULTIVARIATE_STUDENT_T && params[0].data[0] < 8.0 {
                continue;
            }
            let probe = {
                let mut g = Builder::new();
                let d = dist(&mut g, id, &params);
                let closed = d.mean(&mut g).is_some() && d.variance(&mut g).is_some();
                closed.then(|| d.event_shape(&g))
            };
            let Some(event) = probe else { continue };
            let n = 4_000;
            let weights: Vec<f64> = (0..event.count()).map(|i| (1.1 * i as f64 + 0.4).sin()).collect();
            for (at, def) in get(id).params.iter().enumerate().filter(|(_, def)| !def.is_shape()) {
                let step = direction(def.support, &params[at], at);
                let mut g = Builder::new();
                let mut values: Vec<ValueId> =
                    get(id).params.iter().zip(&params).map(|(def, p)| p.put(&mut g, def.dtype())).collect();
                let weights = g.constant(weights.clone(), event.clone(), DType::Real);
                // one copy of the parameter for every draw, so that the gradient of the sum has each draw's own
                let single = values[at];
                let copies = g.broadcast_to(single, Shape::from([n]).concat(&params[at].shape));
                let closed = Dist::row(id, values.clone());
                values[at] = copies;
                let d = Dist::row(id, values);
                let x = d.rsample(&mut g, &Shape::from([n]).concat(&event)).expect("reparameterized");
                let combine = |g: &mut Builder, first: ValueId, second: ValueId| {
                    let half = g.mul_scalar(second, 0.5);
                    let both = g.add(first, half);
                    let weighed = g.mul(both, weights);
                    g.sum_all(weighed)
                };
                let square = g.square(x);
                let drawn = combine(&mut g, x, square);
                let (mean, variance) = (closed.mean(&mut g).expect("closed"), closed.variance(&mut g).expect("closed"));
                let mean_square = g.square(mean);
                let second = g.add(variance, mean_square);
                let expected = combine(&mut g, mean, second);
                let by_draw = autodiff::gradient(&mut g, drawn, &[copies]).expect("smooth").remove(0);
                let closed = autodiff::gradient(&mut g, expected, &[single]).expect("smooth").remove(0);
                let values = evaluate(&g, &[by_draw, closed]);
                let dot = |gradient: &[f64]| gradient.iter().zip(&step).map(|(g, s)| g * s).sum::<f64>();
                let each: Vec<f64> = values[0].chunks(step.len()).map(dot).collect();
                let what = format!("{}{params:?}: d E f / d {}", get(id).name, def.name);
                assert_mean(&what, each.into_iter(), dot(&values[1]));
            }
        }
    }
}
