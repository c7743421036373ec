//! Draws: Kolmogorov-Smirnov against the cdf, chi-square against the masses, gradients of implicit draws.
//!
//! Keys are fixed, so a test passes or fails for good; thresholds are for a false alarm of 1e-6 in each comparison, of
//! which there are about 150: 1 in 6,000 keys would fail.

use super::harness::{
    Array, continuous_scalars, discrete_scalars, dist, evaluate, evaluate_in, log_prob, parameter_sets,
};
use crate::autodiff;
use crate::dist::{Dist, DistId, Reparam, Sampler, get};
use crate::ir::{Builder, DType, Shape, ValueId};
use crate::rng::{Key, Philox};

pub const N: usize = 20_000;

/// `sqrt(-ln(alpha / 2) / 2)` for alpha = 1e-6: the quantile of the Kolmogorov distribution.
pub const KOLMOGOROV: f64 = 2.694;

/// The largest distance of the empirical cdf from `below` at sorted draws, times sqrt(n).
pub fn kolmogorov(below: &[f64]) -> f64 {
    let n = below.len() as f64;
    let distance = below.iter().enumerate().map(|(i, &p)| (p - i as f64 / n).abs().max((p - (i + 1) as f64 / n).abs()));
    distance.fold(0.0, f64::max) * n.sqrt()
}

/// Sorted draws by the host sampler, and sorted draws on the tape where those are made of noise.
fn draws(id: DistId, params: &[Array]) -> Vec<(&'static str, Vec<f64>)> {
    let Sampler::Scalar(sample) = get(id).sample else { return vec![] };
    let mut rng = Philox::from_key(Key::new(7));
    let scalars: Vec<f64> = params.iter().map(|p| p.data[0]).collect();
    let mut all = vec![("host", (0..N).map(|_| sample(&mut rng, &scalars)).collect::<Vec<f64>>())];
    let mut g = Builder::new();
    let d = dist(&mut g, id, params);
    if let Some(x) = d.rsample(&mut g, &Shape::from([N])) {
        all.push(("tape", evaluate(&g, &[x]).remove(0)));
        all.push(("tape in f32", evaluate_in::<f32>(g.graph(), &[x], Key::new(2)).remove(0)));
    }
    for (_, draws) in &mut all {
        draws.sort_by(f64::total_cmp);
    }
    all
}

/// The cdf at sorted points, from the row or, where it has none, by the trapezoid rule over its density.
fn cdf(id: DistId, params: &[Array], sorted: &[f64]) -> Vec<f64> {
    let mut g = Builder::new();
    let d = dist(&mut g, id, params);
    let x = Array::vector(sorted).put(&mut g, DType::Real);
    if let Some(below) = d.cdf(&mut g, x) {
        return evaluate(&g, &[below]).remove(0);
    }
    let density: Vec<f64> = log_prob(id, params, sorted).iter().map(|lp| lp.exp()).collect();
    let mut sum = 0.5 / sorted.len() as f64;
    let mut below = vec![sum];
    for i in 1..sorted.len() {
        sum += 0.5 * (density[i] + density[i - 1]) * (sorted[i] - sorted[i - 1]);
        below.push(sum);
    }
    below
}

#[test]
fn continuous_draws_follow_their_cdf() {
    for id in continuous_scalars() {
        for params in parameter_sets(id) {
            for (how, draws) in draws(id, &params) {
                assert!(!draws.iter().any(|x| x.is_nan()));
                let statistic = kolmogorov(&cdf(id, &params, &draws));
                assert!(statistic < KOLMOGOROV, "{}{params:?} drawn by {how}: {statistic}", get(id).name);
            }
        }
    }
}

/// Chi-square of counts against masses, small cells pooled, as a number of standard deviations of its normal
/// approximation (Wilson & Hilferty 1931); 4.9 has a false alarm of 1e-6 with room for its skewness.
pub fn chi_square(counts: &[f64], masses: &[f64], n: f64) -> f64 {
    let (mut statistic, mut cells) = (0.0, 0.0f64);
    let (mut pooled_count, mut pooled_mass) = (0.0, 0.0);
    let mut cell = |count: f64, mass: f64| {
        statistic += (count - n * mass).powi(2) / (n * mass);
        cells += 1.0;
    };
    for (&count, &mass) in counts.iter().zip(masses) {
        if n * mass >= 20.0 {
            cell(count, mass);
        } else {
            pooled_count += count;
            pooled_mass += mass;
        }
    }
    if n * pooled_mass >= 20.0 {
        cell(pooled_count, pooled_mass);
    } else {
        assert!(pooled_count <= n * pooled_mass + 40.0, "{pooled_count} draws of mass {pooled_mass}");
    }
    let freedom = cells - 1.0;
    if freedom < 1.0 {
        return 0.0;
    }
    let spread = 2.0 / (9.0 * freedom);
    ((statistic / freedom).cbrt() - (1.0 - spread)) / spread.sqrt()
}

pub fn counts_of(draws: &[f64], lowest: f64, cells: usize) -> Vec<f64> {
    let mut counts = vec![0.0; cells];
    for x in draws {
        counts[(x - lowest) as usize] += 1.0;
    }
    counts
}

#[test]
fn discrete_draws_follow_their_masses() {
    for id in discrete_scalars() {
        for params in parameter_sets(id) {
            let mut g = Builder::new();
            let d = dist(&mut g, id, &params);
            let x = d.sample(&mut g, &Shape::from([N]));
            let draws = evaluate(&g, &[x]).remove(0);
            let ks: Vec<f64> = (-10..1000).map(f64::from).collect();
            let masses: Vec<f64> = log_prob(id, &params, &ks).iter().map(|lp| lp.exp()).collect();
            let deviation = chi_square(&counts_of(&draws, -10.0, ks.len()), &masses, N as f64);
            assert!(deviation < 4.9, "{}{params:?}: {deviation}", get(id).name);
        }
    }
}

/// Draws of a vector family, as columns of coordinates: by the host sampler, and on the tape.
fn columns(id: DistId, params: &[Array]) -> Vec<Vec<Vec<f64>>> {
    let mut g = Builder::new();
    let d = dist(&mut g, id, params);
    let event = d.event_shape(&g);
    let size = event.count();
    let shape = Shape::from([N]).concat(&event);
    let ids: Vec<ValueId> = match &d {
        Dist::Row { params, .. } => params.clone(),
        _ => unreachable!("a row"),
    };
    let mut values = vec![g.draw(id, &ids, shape.clone())];
    values.extend(d.rsample(&mut g, &shape));
    let rows = evaluate(&g, &values);
    rows.iter().map(|x| (0..size).map(|k| x.iter().skip(k).step_by(size).copied().collect()).collect()).collect()
}

fn assert_marginal(what: &str, mut column: Vec<f64>, id: DistId, params: &[f64]) {
    let params: Vec<Array> = params.iter().map(|&p| Array::scalar(p)).collect();
    column.sort_by(f64::total_cmp);
    let statistic = kolmogorov(&cdf(id, &params, &column));
    assert!(statistic < KOLMOGOROV, "{what}: {statistic}");
}

/// A linear combination of a draw tests the covariance too.
fn combine(columns: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    (0..N).map(|i| columns.iter().zip(weights).map(|(c, w)| c[i] * w).sum()).collect()
}

#[test]
fn normal_and_t_vectors_have_the_right_marginals() {
    let weights = [0.8, 1.3];
    for id in [
        DistId::MULTIVARIATE_NORMAL_COV,
        DistId::MULTIVARIATE_NORMAL_TRIL,
        DistId::MULTIVARIATE_NORMAL_PRECISION,
        DistId::MULTIVARIATE_STUDENT_T,
    ] {
        for params in parameter_sets(id) {
            let student = id == DistId::MULTIVARIATE_STUDENT_T;
            let (loc, m) = if student { (&params[1], &params[2]) } else { (&params[0], &params[1]) };
            let m = &m.data;
            let cov = match id {
                DistId::MULTIVARIATE_NORMAL_COV => m.clone(),
                DistId::MULTIVARIATE_NORMAL_PRECISION => {
                    let det = m[0] * m[3] - m[1] * m[2];
                    vec![m[3] / det, -m[1] / det, -m[2] / det, m[0] / det]
                }
                _ => vec![m[0] * m[0], m[0] * m[2], m[0] * m[2], m[2] * m[2] + m[3] * m[3]],
            };
            for columns in columns(id, &params) {
                for w in [[1.0, 0.0], [0.0, 1.0], weights] {
                    let centre = w[0] * loc.data[0] + w[1] * loc.data[1];
                    let variance = w[0] * w[0] * cov[0] + 2.0 * w[0] * w[1] * cov[1] + w[1] * w[1] * cov[3];
                    let combined = combine(&columns, &w);
                    if student {
                        let p = [params[0].data[0], centre, variance.sqrt()];
                        assert_marginal(get(id).name, combined, DistId::STUDENT_T, &p);
                    } else {
                        assert_marginal(get(id).name, combined, DistId::NORMAL, &[centre, variance.sqrt()]);
                    }
                }
            }
        }
    }
}

#[test]
fn dirichlet_draws_have_beta_marginals() {
    for params in parameter_sets(DistId::DIRICHLET) {
        let a = &params[0].data;
        let total: f64 = a.iter().sum();
        for columns in columns(DistId::DIRICHLET, &params) {
            for (column, a) in columns.iter().zip(a) {
                assert_marginal("Dirichlet", column.clone(), DistId::BETA, &[*a, total - a]);
            }
            // the sum of two entries, which knows their correlation
            if a.len() > 2 {
                let mut weights = vec![0.0; a.len()];
                weights[..2].fill(1.0);
                let p = [a[0] + a[1], total - a[0] - a[1]];
                assert_marginal("Dirichlet", combine(&columns, &weights), DistId::BETA, &p);
            }
        }
    }
}

#[test]
fn multinomial_draws_have_binomial_marginals() {
    for id in [DistId::MULTINOMIAL_PROBS, DistId::MULTINOMIAL_LOGITS] {
        for params in parameter_sets(id) {
            let weights: Vec<f64> = match id {
                DistId::MULTINOMIAL_PROBS => params[1].data.clone(),
                _ => params[1].data.iter().map(|l| l.exp()).collect(),
            };
            let sum: f64 = weights.iter().sum();
            for columns in columns(id, &params) {
                assert!((0..N).all(|i| columns.iter().map(|c| c[i]).sum::<f64>() == 9.0));
                for (column, weight) in columns.iter().zip(&weights) {
                    let p = [Array::scalar(9.0), Array::scalar(weight / sum)];
                    let ks: Vec<f64> = (0..10).map(f64::from).collect();
                    let masses: Vec<f64> = log_prob(DistId::BINOMIAL_PROBS, &p, &ks).iter().map(|l| l.exp()).collect();
                    let deviation = chi_square(&counts_of(column, 0.0, 10), &masses, N as f64);
                    assert!(deviation < 4.9, "{}{params:?}: {deviation}", get(id).name);
                }
            }
        }
    }
}

#[test]
fn matrix_and_series_draws_have_the_right_marginals() {
    for params in parameter_sets(DistId::WISHART) {
        let (df, scale, n) = (params[0].data[0], &params[1].data, params[1].shape[0]);
        for columns in columns(DistId::WISHART, &params) {
            for i in 0..n {
                let p = [0.5 * df, 0.5 / scale[i * n + i]];
                assert_marginal("Wishart", columns[i * n + i].clone(), DistId::GAMMA, &p);
            }
        }
        for columns in columns(DistId::INVERSE_WISHART, &params) {
            for i in 0..n {
                let p = [0.5 * (df - n as f64 + 1.0), 0.5 * scale[i * n + i]];
                assert_marginal("InverseWishart", columns[i * n + i].clone(), DistId::INVERSE_GAMMA, &p);
            }
        }
    }
    for params in parameter_sets(DistId::LKJ) {
        let (concentration, k) = (params[0].data[0], params[1].shape[0]);
        // every correlation is 2 Beta - 1, whatever its place
        let shape = concentration - 1.0 + 0.5 * k as f64;
        for columns in columns(DistId::LKJ, &params) {
            for (i, j) in (0..k).flat_map(|i| (0..i).map(move |j| (i, j))) {
                let unit: Vec<f64> = columns[i * k + j].iter().map(|r| 0.5 * (r + 1.0)).collect();
                assert_marginal("LKJ", unit, DistId::BETA, &[shape, shape]);
            }
        }
        for columns in columns(DistId::LKJ_CHOLESKY, &params) {
            for i in 1..k {
                let unit: Vec<f64> = columns[i * k].iter().map(|r| 0.5 * (r + 1.0)).collect();
                assert_marginal("LKJCholesky", unit, DistId::BETA, &[shape, shape]);
            }
        }
    }
    for params in parameter_sets(DistId::GAUSSIAN_RANDOM_WALK) {
        let [scale, drift, start] = [0, 1, 2].map(|i| params[i].data[0]);
        for columns in columns(DistId::GAUSSIAN_RANDOM_WALK, &params) {
            for (t, column) in columns.into_iter().enumerate() {
                let steps = t as f64 + 1.0;
                assert_marginal(
                    "GaussianRandomWalk",
                    column,
                    DistId::NORMAL,
                    &[start + drift * steps, scale * steps.sqrt()],
                );
            }
        }
    }
    for params in parameter_sets(DistId::AR) {
        let (c, scale, loc, n) = (&params[0].data, params[1].data[0], params[2].data[0], params[3].data.len());
        // the responses to one noise, whose squares sum to the variance
        let mut psi = vec![1.0];
        for t in 1..n {
            psi.push((1..=t.min(c.len())).map(|i| c[i - 1] * psi[t - i]).sum::<f64>());
        }
        for columns in columns(DistId::AR, &params) {
            for (t, column) in columns.into_iter().enumerate() {
                let variance: f64 = psi[..=t].iter().map(|x| x * x).sum();
                assert_marginal("AR", column, DistId::NORMAL, &[loc, scale * variance.sqrt()]);
            }
        }
    }
    for params in parameter_sets(DistId::ZERO_SUM_NORMAL) {
        let k = params[1].data.len() as f64;
        for columns in columns(DistId::ZERO_SUM_NORMAL, &params) {
            for column in columns {
                assert_marginal(
                    "ZeroSumNormal",
                    column,
                    DistId::NORMAL,
                    &[0.0, params[0].data[0] * (1.0 - 1.0 / k).sqrt()],
                );
            }
        }
    }
}

/// The largest entry is class k with probability p_k at every temperature.
#[test]
fn relaxed_classes_have_the_probabilities_of_their_classes() {
    for (id, class) in [
        (DistId::GUMBEL_SOFTMAX_PROBS, DistId::CATEGORICAL_PROBS),
        (DistId::GUMBEL_SOFTMAX_LOGITS, DistId::CATEGORICAL_LOGITS),
        (DistId::ONE_HOT_CATEGORICAL_PROBS, DistId::CATEGORICAL_PROBS),
        (DistId::ONE_HOT_CATEGORICAL_LOGITS, DistId::CATEGORICAL_LOGITS),
    ] {
        for params in parameter_sets(id) {
            let ks: Vec<f64> = (0..params[params.len() - 1].data.len()).map(|k| k as f64).collect();
            let masses: Vec<f64> = log_prob(class, &params[params.len() - 1..], &ks).iter().map(|l| l.exp()).collect();
            for columns in columns(id, &params) {
                let top =
                    |i: usize| (0..ks.len()).max_by(|&a, &b| columns[a][i].total_cmp(&columns[b][i])).expect("a class");
                let classes: Vec<f64> = (0..N).map(|i| top(i) as f64).collect();
                let deviation = chi_square(&counts_of(&classes, 0.0, ks.len()), &masses, N as f64);
                assert!(deviation < 4.9, "{}{params:?}: {deviation}", get(id).name);
            }
        }
    }
}

#[test]
fn mixture_draws_follow_their_cdf() {
    let mut g = Builder::new();
    let weights = Array::vector(&[0.3, 0.7]).put(&mut g, DType::Real);
    let set: Vec<ValueId> = [-2.0, 0.5, 1.0, 2.0].iter().map(|&x| g.scalar(x)).collect();
    let mixture = Dist::Mixture {
        weights,
        components: vec![
            Dist::row(DistId::NORMAL, [set[0], set[1]]),
            Dist::row(DistId::STUDENT_T, [set[3], set[2], set[1]]),
        ],
    };
    let x = mixture.sample(&mut g, &Shape::from([N]));
    let mut draws = evaluate(&g, &[x]).remove(0);
    draws.sort_by(f64::total_cmp);
    let sorted = Array::vector(&draws).put(&mut g, DType::Real);
    let below = mixture.cdf(&mut g, sorted).expect("both have one");
    let statistic = kolmogorov(&evaluate(&g, &[below])[0]);
    assert!(statistic < KOLMOGOROV, "{statistic}");
}

/// A draw that moves along with a parameter keeps its place in the distribution: `F(x + h dx/da; a + h) = F(x; a)` up
/// to h^2.
#[test]
fn implicit_draws_move_with_the_quantiles() {
    let h = 1e-4;
    for id in continuous_scalars().filter(|&id| matches!(get(id).rsample, Reparam::Implicit(_))) {
        if matches!(id, DistId::STUDENT_T | DistId::HALF_STUDENT_T) {
            continue; // two sources of noise: a draw is no quantile
        }
        for mut params in parameter_sets(id) {
            // The location of an angle turns the circle: at 0 the ends of the interval lie opposite and stay.
            let turns = id == DistId::VON_MISES;
            if turns {
                params[0] = Array::scalar(0.0);
            }
            for moved in usize::from(turns)..params.len() {
                let mut g = Builder::new();
                let d = dist(&mut g, id, &params);
                let Dist::Row { params: ids, .. } = &d else { unreachable!("a row") };
                // one copy of the parameter for every draw, so that the gradient of the sum has each draw's own
                let n = 50;
                let mut ids = ids.clone();
                ids[moved] = g.full(params[moved].data[0], Shape::from([n]));
                let d = Dist::row(id, ids.clone());
                let x = d.rsample(&mut g, &Shape::from([n])).expect("reparameterized");
                let total = g.sum_all(x);
                let slope = autodiff::gradient(&mut g, total, &[ids[moved]]).expect("implicit").remove(0);
                let at = d.cdf(&mut g, x).expect("a cdf");
                let step = g.mul_scalar(slope, h);
                let there = g.add(x, step);
                let other = g.add_scalar(ids[moved], h);
                let mut others = ids.clone();
                others[moved] = other;
                let after = Dist::row(id, others).cdf(&mut g, there).expect("a cdf");
                let values = evaluate(&g, &[at, after, slope]);
                for ((&a, &b), slope) in values[0].iter().zip(&values[1]).zip(&values[2]).take(n) {
                    assert!(slope.is_finite());
                    assert!((a - b).abs() < 1e-6, "{}{params:?} parameter {moved}: {a} became {b}", get(id).name);
                }
            }
        }
    }
}

/// E cos x and E sin x of an angle, differentiated through draws.
#[test]
fn gradients_through_angles_are_right_on_average() {
    for params in parameter_sets(DistId::VON_MISES) {
        let [loc, concentration] = [0, 1].map(|i| params[i].data[0]);
        let n = 20_000;
        let mut g = Builder::new();
        let copies = [g.full(loc, Shape::from([n])), g.full(concentration, Shape::from([n]))];
        let x = Dist::row(DistId::VON_MISES, copies).rsample(&mut g, &Shape::from([n])).expect("reparameterized");
        let (sine, cosine) = (g.sin(x), g.cos(x));
        let both = g.add(sine, cosine);
        let total = g.sum_all(both);
        let slopes = autodiff::gradient(&mut g, total, &copies).expect("implicit");
        // E e^(i x) = A e^(i m), A = I_1/I_0, dA/dk = 1 - A/k - A^2
        let (i0, i1) = (crate::kernels::special::i0e(concentration), crate::kernels::special::i1e(concentration));
        let length = i1 / i0;
        let growth = 1.0 - length / concentration - length * length;
        let want = [length * (loc.cos() - loc.sin()), growth * (loc.sin() + loc.cos())];
        for (got, want) in evaluate(&g, &slopes).iter().zip(want) {
            let mean = got.iter().sum::<f64>() / n as f64;
            let variance = got.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
            assert!((mean - want).abs() < 5.0 * (variance / n as f64).sqrt(), "{params:?}: {mean} instead of {want}");
        }
    }
}

/// E x of StudentT, Dirichlet and the like, differentiated through draws, is the derivative of the mean.
#[test]
fn gradients_of_means_through_draws_are_right_on_average() {
    let mut g = Builder::new();
    let a = Array::vector(&[2.0, 3.0, 0.8]).put(&mut g, DType::Real);
    let d = Dist::row(DistId::DIRICHLET, [a]);
    let n = 20_000;
    let x = d.rsample(&mut g, &Shape::from([n, 3])).expect("reparameterized");
    let first = g.index_axis(x, 1, 0);
    let total = g.sum_all(first);
    let slope = autodiff::gradient(&mut g, total, &[a]).expect("implicit").remove(0);
    let got = evaluate(&g, &[slope]).remove(0);
    // mean a_0/A: (A - a_0)/A^2 and -a_0/A^2; the gradient of one draw has standard deviation below 0.2
    let want = [3.8 / 5.8f64.powi(2), -2.0 / 5.8f64.powi(2), -2.0 / 5.8f64.powi(2)];
    for (got, want) in got.iter().zip(want) {
        let got = got / n as f64;
        assert!((got - want).abs() < 5.0 * 0.2 / (n as f64).sqrt(), "{got} instead of {want}");
    }
    // d E x^2 / d df of StudentT(df, 0, 1) is the derivative of df/(df - 2), -2/(df - 2)^2
    let mut g = Builder::new();
    let df = g.scalar(12.0);
    let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
    let d = Dist::row(DistId::STUDENT_T, [df, zero, one]);
    let x = d.rsample(&mut g, &Shape::from([n])).expect("reparameterized");
    let square = g.square(x);
    let total = g.sum_all(square);
    let slope = autodiff::gradient(&mut g, total, &[df]).expect("implicit").remove(0);
    let got = evaluate(&g, &[slope])[0][0] / n as f64;
    assert!((got + 0.02).abs() < 5.0 * 0.1 / (n as f64).sqrt(), "{got} instead of -0.02");
}

#[test]
fn draws_of_illegal_parameters_are_nan() {
    let mut rng = Philox::from_key(Key::new(3));
    for (id, params) in [
        (DistId::GAMMA, vec![-1.0, 1.0]),
        (DistId::BETA, vec![0.0, 1.0]),
        (DistId::BINOMIAL_PROBS, vec![3.5, 0.5]),
        (DistId::BINOMIAL_PROBS, vec![3.0, 1.5]),
        (DistId::POISSON_RATE, vec![-1.0]),
        (DistId::POISSON_RATE, vec![f64::NAN]),
        (DistId::BERNOULLI_PROBS, vec![f64::NAN]),
        (DistId::GEOMETRIC, vec![0.0]),
        (DistId::STUDENT_T, vec![-3.0, 0.0, 1.0]),
    ] {
        let Sampler::Scalar(sample) = get(id).sample else { unreachable!("scalar families") };
        assert!(sample(&mut rng, &params).is_nan(), "{} {params:?}", get(id).name);
    }
    for (id, params) in [
        (DistId::CATEGORICAL_PROBS, vec![vec![0.0, 0.0]]),
        (DistId::CATEGORICAL_LOGITS, vec![vec![f64::NAN, 0.0]]),
        (DistId::ORDERED_LOGISTIC, vec![vec![f64::NAN], vec![0.0]]),
        (DistId::MULTINOMIAL_PROBS, vec![vec![3.0], vec![0.0, f64::NAN]]),
    ] {
        let Sampler::Event(sample) = get(id).sample else { unreachable!("vector parameters") };
        let params: Vec<&[f64]> = params.iter().map(Vec::as_slice).collect();
        let mut out = vec![0.0; if get(id).event_rank == 0 { 1 } else { 2 }];
        sample(&mut rng, &params, &mut out);
        assert!(out[0].is_nan(), "{} {params:?}: {out:?}", get(id).name);
    }
}
