//! Densities integrate to 1, masses sum to 1 and to their cdf, moments follow from them.

use super::harness::{
    Array, close, continuous_scalars, discrete_scalars, dist, evaluate, log_prob, parameter_sets, quadrature,
};
use crate::dist::{Dist, DistId, SupportKind, get};
use crate::ir::{Builder, DType, Shape};

/// The values of `what` at `xs`.
fn at(
    id: DistId,
    params: &[Array],
    xs: &[f64],
    what: fn(&Dist, &mut Builder, crate::ir::ValueId) -> Option<crate::ir::ValueId>,
) -> Option<Vec<f64>> {
    let mut g = Builder::new();
    let d = dist(&mut g, id, params);
    let x = Array::vector(xs).put(&mut g, DType::Real);
    let value = what(&d, &mut g, x)?;
    Some(evaluate(&g, &[value]).remove(0))
}

#[test]
fn continuous_densities_integrate_to_one_and_give_mean_and_variance() {
    for id in continuous_scalars() {
        for params in parameter_sets(id) {
            let (xs, weights) = quadrature(id, &params);
            let density: Vec<f64> = log_prob(id, &params, &xs).iter().map(|lp| lp.exp()).collect();
            let integral = |f: &dyn Fn(f64) -> f64| -> f64 {
                xs.iter()
                    .zip(&weights)
                    .zip(&density)
                    .filter(|((_, w), p)| **w > 0.0 && **p > 0.0)
                    .map(|((x, w), p)| f(*x) * w * p)
                    .sum()
            };
            let total = integral(&|_| 1.0);
            assert!((total - 1.0).abs() < 1e-5, "{}{params:?} integrates to {total}", get(id).name);
            let mut g = Builder::new();
            let d = dist(&mut g, id, &params);
            let mean = d.mean(&mut g).map(|m| evaluate(&g, &[m])[0][0]);
            let variance = d.variance(&mut g).map(|m| evaluate(&g, &[m])[0][0]);
            let entropy = d.entropy(&mut g).map(|m| evaluate(&g, &[m])[0][0]);
            // Power tails that have a moment, but slowly: the reference values cover those.
            if let Some(mean) = mean.filter(|m| m.is_finite())
                && let Some(variance) = variance.filter(|v| v.is_finite())
            {
                let got = integral(&|x| x);
                assert!(close(got, mean, 1e-5), "{}{params:?}: mean {mean}, integral {got}", get(id).name);
                let heavy =
                    matches!(id, DistId::STUDENT_T | DistId::HALF_STUDENT_T | DistId::INVERSE_GAMMA | DistId::PARETO);
                let got = integral(&|x| (x - mean) * (x - mean));
                assert!(
                    heavy || close(got, variance, 1e-5),
                    "{}{params:?}: variance {variance}, integral {got}",
                    get(id).name
                );
            }
            if let Some(entropy) = entropy {
                let got = -xs
                    .iter()
                    .zip(&weights)
                    .zip(&density)
                    .filter(|((_, w), p)| **w > 0.0 && **p > 0.0)
                    .map(|((_, w), p)| w * p * p.ln())
                    .sum::<f64>();
                assert!(close(got, entropy, 1e-5), "{}{params:?}: entropy {entropy}, integral {got}", get(id).name);
            }
        }
    }
}

#[test]
fn cdfs_are_integrals_and_quantiles_their_inverses() {
    for id in continuous_scalars() {
        for params in parameter_sets(id) {
            let (xs, weights) = quadrature(id, &params);
            let density: Vec<f64> = log_prob(id, &params, &xs).iter().map(|lp| lp.exp()).collect();
            // Some of the nodes, as incomplete beta functions take their time.
            let every = 64;
            let some: Vec<f64> = xs.iter().step_by(every).copied().collect();
            let Some(below) = at(id, &params, &some, |d, g, x| d.cdf(g, x)) else { continue };
            let term = |i: usize| if weights[i] > 0.0 && density[i] > 0.0 { weights[i] * density[i] } else { 0.0 };
            let mut sum = 0.0;
            // Simpson's rule; a kink at the location falls between two of its intervals.
            for i in (2..xs.len()).step_by(2) {
                sum += (term(i - 2) + 4.0 * term(i - 1) + term(i)) / 3.0;
                if i % every != 0 {
                    continue;
                }
                let (at, name) = (i / every, get(id).name);
                let got = below[at] - below[0];
                assert!((got - sum).abs() < 1e-5, "{name}{params:?}: cdf({}) = {got}, integral {sum}", xs[i]);
                assert!(below[at] >= below[at - 1] - 1e-12);
            }
            let qs = [1e-6, 0.01, 0.3, 0.5, 0.77, 0.999];
            let Some(quantiles) = at(id, &params, &qs, |d, g, q| d.icdf(g, q)) else { continue };
            let back = at(id, &params, &quantiles, |d, g, x| d.cdf(g, x)).expect("a cdf");
            for (q, back) in qs.iter().zip(back) {
                assert!((q - back).abs() < 1e-10, "{}{params:?}: cdf(icdf({q})) = {back}", get(id).name);
            }
        }
    }
}

#[test]
fn masses_sum_to_one_and_to_their_cdf() {
    for id in discrete_scalars() {
        for params in parameter_sets(id) {
            let ks: Vec<f64> = (-10..2000).map(f64::from).collect();
            let masses: Vec<f64> = log_prob(id, &params, &ks).iter().map(|lp| lp.exp()).collect();
            let total: f64 = masses.iter().sum();
            assert!((total - 1.0).abs() < 1e-10, "{}{params:?} sums to {total}", get(id).name);
            let mean: f64 = ks.iter().zip(&masses).map(|(k, p)| k * p).sum();
            let variance: f64 = ks.iter().zip(&masses).map(|(k, p)| (k - mean) * (k - mean) * p).sum();
            let mut g = Builder::new();
            let d = dist(&mut g, id, &params);
            if let Some(m) = d.mean(&mut g) {
                assert!(close(evaluate(&g, &[m])[0][0], mean, 1e-9), "{}{params:?} mean", get(id).name);
            }
            if let Some(v) = d.variance(&mut g) {
                assert!(close(evaluate(&g, &[v])[0][0], variance, 1e-9), "{}{params:?} variance", get(id).name);
            }
            if let Some(e) = d.entropy(&mut g) {
                let want: f64 = masses.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
                assert!(close(evaluate(&g, &[e])[0][0], want, 1e-9), "{}{params:?} entropy", get(id).name);
            }
            if let Some(probs) = d.probs(&mut g) {
                let probs = evaluate(&g, &[probs]).remove(0);
                for (k, p) in probs.iter().enumerate() {
                    assert!(close(*p, masses[k + 10], 1e-12), "{}{params:?} class {k}", get(id).name);
                }
            }
            if let Some(below) = at(id, &params, &ks, |d, g, x| d.cdf(g, x)) {
                let mut sum = 0.0;
                for (i, below) in below.iter().enumerate() {
                    sum += masses[i];
                    assert!(
                        (below - sum).abs() < 1e-10,
                        "{}{params:?}: cdf({}) = {below}, sum {sum}",
                        get(id).name,
                        ks[i]
                    );
                }
            }
        }
    }
}

/// The sum over a grid of two unconstrained coordinates of density times Jacobian.
fn integral_of_plane(id: DistId, params: &[Array]) -> f64 {
    let support = get(id).support;
    let reach = if support == SupportKind::Real { 24.0 } else { 30.0 };
    let n = 481;
    let line: Vec<f64> = (0..n).map(|i| reach * (2.0 * i as f64 / (n - 1) as f64 - 1.0)).collect();
    let grid: Vec<f64> = line.iter().flat_map(|&a| line.iter().flat_map(move |&b| [a, b])).collect();
    let mut g = Builder::new();
    let d = dist(&mut g, id, params);
    let u = g.constant(grid, Shape::from([n * n, 2]), DType::Real);
    let (x, log_det) = support.constrain(&mut g, u, None);
    let lp = d.log_prob(&mut g, x);
    let log_det = if support == SupportKind::Real { g.sum_last(log_det, 1) } else { log_det };
    let values = evaluate(&g, &[lp, log_det]);
    let cell = (line[1] - line[0]).powi(2);
    values[0].iter().zip(&values[1]).map(|(lp, log_det)| (lp + log_det).exp() * cell).sum()
}

#[test]
fn vector_densities_integrate_to_one() {
    let total = integral_of_plane(DistId::DIRICHLET, &[Array::vector(&[2.0, 3.0, 0.8])]);
    assert!((total - 1.0).abs() < 1e-6, "Dirichlet: {total}");
    for id in [
        DistId::MULTIVARIATE_NORMAL_COV,
        DistId::MULTIVARIATE_NORMAL_PRECISION,
        DistId::MULTIVARIATE_NORMAL_TRIL,
        DistId::MULTIVARIATE_NORMAL_LOW_RANK,
        DistId::GAUSSIAN_RANDOM_WALK,
        DistId::AR,
        DistId::ZERO_SUM_NORMAL,
        DistId::GUMBEL_SOFTMAX_PROBS,
        DistId::GUMBEL_SOFTMAX_LOGITS,
    ] {
        let total = integral_of_plane(id, &parameter_sets(id)[0]);
        assert!((total - 1.0).abs() < 1e-6, "{}: {total}", get(id).name);
    }
}

/// Two by two: the entry off the diagonal alone is free.
#[test]
fn correlation_densities_integrate_to_one() {
    let n = 4001;
    let us: Vec<f64> = (0..n).map(|i| 12.0 * (2.0 * f64::from(i) / f64::from(n - 1) - 1.0)).collect();
    for id in [DistId::LKJ_CHOLESKY, DistId::LKJ] {
        for concentration in [0.7, 1.0, 2.0, 5.0] {
            let mut g = Builder::new();
            let d = dist(&mut g, id, &[Array::scalar(concentration), Array::zeros(&[2, 2])]);
            let u = g.constant(us.clone(), Shape::from([n as usize, 1]), DType::Real);
            let (x, log_det) = d.support().constrain(&mut g, u, None);
            let lp = d.log_prob(&mut g, x);
            let values = evaluate(&g, &[lp, log_det]);
            let terms = values[0].iter().zip(&values[1]).map(|(lp, log_det)| (lp + log_det).exp());
            let total = terms.sum::<f64>() * (us[1] - us[0]);
            // at the ends of the line, where |r| is 1 up to rounding, a low concentration has a little mass left
            assert!((total - 1.0).abs() < 1e-6, "{} {concentration}: {total}", get(id).name);
        }
    }
}

/// As one long normal vector whose covariance is the Kronecker product.
#[test]
fn a_matrix_normal_is_a_normal_vector() {
    let params = parameter_sets(DistId::MATRIX_NORMAL).remove(0);
    let (n, m) = (2, 3);
    let x: Vec<f64> = (0..n * m).map(|i| (1.3 * i as f64).sin()).collect();
    let mut factor = vec![0.0; (n * m) * (n * m)];
    for i in 0..n * m {
        for j in 0..n * m {
            factor[i * n * m + j] = params[1].data[i / m * n + j / m] * params[2].data[i % m * m + j % m];
        }
    }
    let long = [Array::vector(&params[0].data), Array::matrix(n * m, &factor)];
    let mut g = Builder::new();
    let (d, long) =
        (dist(&mut g, DistId::MATRIX_NORMAL, &params), dist(&mut g, DistId::MULTIVARIATE_NORMAL_TRIL, &long));
    let (xm, xv) = (
        Array { shape: vec![n, m], data: x.clone() }.put(&mut g, DType::Real),
        Array::vector(&x).put(&mut g, DType::Real),
    );
    let pairs = [
        (d.log_prob(&mut g, xm), long.log_prob(&mut g, xv)),
        (d.entropy(&mut g).expect("closed"), long.entropy(&mut g).expect("closed")),
        (d.variance(&mut g).expect("closed"), long.variance(&mut g).expect("closed")),
    ];
    for (a, b) in pairs {
        let values = evaluate(&g, &[a, b]);
        assert!(values[0].iter().zip(&values[1]).all(|(a, b)| close(*a, *b, 1e-13)), "{values:?}");
    }
}

/// As a normal with the covariance written out.
#[test]
fn a_low_rank_normal_is_the_normal_of_its_covariance() {
    for params in parameter_sets(DistId::MULTIVARIATE_NORMAL_LOW_RANK) {
        let (k, rank) = (params[1].shape[0], params[1].shape[1]);
        let mut cov = vec![0.0; k * k];
        for i in 0..k {
            for j in 0..k {
                cov[i * k + j] = (0..rank).map(|r| params[1].data[i * rank + r] * params[1].data[j * rank + r]).sum();
            }
            cov[i * k + i] += params[2].data[i];
        }
        let x = Array::vector(&(0..k).map(|i| (1.3 * i as f64 + 0.2).sin()).collect::<Vec<_>>());
        let mut g = Builder::new();
        let d = dist(&mut g, DistId::MULTIVARIATE_NORMAL_LOW_RANK, &params);
        let full = dist(&mut g, DistId::MULTIVARIATE_NORMAL_COV, &[params[0].clone(), Array::matrix(k, &cov)]);
        let x = x.put(&mut g, DType::Real);
        let pairs = [
            (d.log_prob(&mut g, x), full.log_prob(&mut g, x)),
            (d.entropy(&mut g).expect("closed"), full.entropy(&mut g).expect("closed")),
            (d.variance(&mut g).expect("closed"), full.variance(&mut g).expect("closed")),
        ];
        for (a, b) in pairs {
            let values = evaluate(&g, &[a, b]);
            assert!(values[0].iter().zip(&values[1]).all(|(a, b)| close(*a, *b, 1e-13)), "{values:?}");
        }
    }
}

#[test]
fn multinomial_masses_sum_to_one() {
    for id in [DistId::MULTINOMIAL_PROBS, DistId::MULTINOMIAL_LOGITS, DistId::DIRICHLET_MULTINOMIAL] {
        let params = &parameter_sets(id)[0];
        let vectors: Vec<f64> = (0..=9)
            .flat_map(|a| (0..=9 - a).flat_map(move |b| [f64::from(a), f64::from(b), f64::from(9 - a - b)]))
            .collect();
        let mut g = Builder::new();
        let d = dist(&mut g, id, params);
        let x = g.constant(vectors.clone(), Shape::from([vectors.len() / 3, 3]), DType::Int);
        let lp = d.log_prob(&mut g, x);
        let total: f64 = evaluate(&g, &[lp])[0].iter().map(|lp| lp.exp()).sum();
        assert!((total - 1.0).abs() < 1e-12, "{total}");
    }
}
