//! Edges: outside the support, at its ends, far tails, single precision, shapes, the number of nodes.

use super::harness::{
    Array, continuous_scalars, discrete_scalars, dist, evaluate, evaluate_in, log_prob, log_prob_and_gradients,
    parameter_sets,
};
use crate::dist::{Dist, DistId, SupportKind, get, ids};
use crate::ir::{Builder, DType, InputKind, Shape};
use crate::rng::Key;

#[test]
fn outside_the_support_log_densities_are_minus_infinity_with_zero_gradients() {
    for id in ids() {
        let outside: &[f64] = match get(id).support {
            SupportKind::Real => continue,
            SupportKind::Positive | SupportKind::NonNegative => &[-1.0, -1e-9],
            SupportKind::UnitInterval => &[-0.5, 1.5],
            SupportKind::Interval => &[-7.0, 7.0],
            SupportKind::GreaterThan => &[0.01, -1.0],
            SupportKind::Boolean => &[-1.0, 2.0, 0.5],
            SupportKind::Count => &[-1.0, 0.5],
            SupportKind::IntegerRange => &[-50.0, 0.5, 500.0],
            _ => continue,
        };
        for params in parameter_sets(id) {
            for &x in outside {
                let (lp, gradients) = log_prob_and_gradients(id, &params, &Array::scalar(x));
                assert_eq!(lp, [f64::NEG_INFINITY], "{}{params:?} at {x}", get(id).name);
                assert!(gradients.iter().flatten().all(|&d| d == 0.0), "{} at {x}: {gradients:?}", get(id).name);
            }
        }
    }
    for (id, x) in [
        (DistId::DIRICHLET, [0.5, 0.6, -0.1]),
        (DistId::DIRICHLET, [0.5, 0.4, 0.3]),
        (DistId::MULTINOMIAL_PROBS, [4.0, 4.0, 2.0]),
        (DistId::MULTINOMIAL_PROBS, [4.5, 4.5, 0.0]),
        (DistId::MULTINOMIAL_LOGITS, [12.0, -3.0, 0.0]),
        (DistId::DIRICHLET_MULTINOMIAL, [4.0, 4.0, 2.0]),
        (DistId::DIRICHLET_MULTINOMIAL, [4.5, 4.5, 0.0]),
        (DistId::ONE_HOT_CATEGORICAL_PROBS, [1.0, 1.0, 0.0]),
        (DistId::ONE_HOT_CATEGORICAL_PROBS, [0.5, 0.5, 0.0]),
        (DistId::ONE_HOT_CATEGORICAL_LOGITS, [2.0, -1.0, 0.0]),
        (DistId::GUMBEL_SOFTMAX_PROBS, [0.5, 0.4, 0.3]),
        (DistId::GUMBEL_SOFTMAX_LOGITS, [0.5, 0.5, 0.0]),
        (DistId::ZERO_SUM_NORMAL, [0.5, 0.4, 0.3]),
    ] {
        let (lp, gradients) = log_prob_and_gradients(id, &parameter_sets(id)[0], &Array::vector(&x));
        assert_eq!(lp, [f64::NEG_INFINITY], "{} at {x:?}", get(id).name);
        assert!(gradients.iter().flatten().all(|&d| d == 0.0), "{} at {x:?}: {gradients:?}", get(id).name);
    }
}

#[test]
fn outside_the_support_of_matrices_log_densities_are_minus_infinity_with_zero_gradients() {
    for (id, x) in [
        (DistId::LKJ_CHOLESKY, [1.0, 0.0, 0.6, -0.8]),
        (DistId::LKJ_CHOLESKY, [1.0, 0.0, 0.6, 0.9]),
        (DistId::LKJ_CHOLESKY, [1.0, 0.1, 0.6, 0.8]),
        (DistId::LKJ, [1.0, 1.5, 1.5, 1.0]),
        (DistId::LKJ, [1.0, 0.5, 0.5, 2.0]),
        (DistId::WISHART, [1.0, 2.0, 2.0, 1.0]),
        (DistId::WISHART, [-1.0, 0.0, 0.0, 1.0]),
        (DistId::INVERSE_WISHART, [1.0, 2.0, 2.0, 1.0]),
    ] {
        let (lp, gradients) = log_prob_and_gradients(id, &parameter_sets(id)[0], &Array::matrix(2, &x));
        assert_eq!(lp, [f64::NEG_INFINITY], "{} at {x:?}", get(id).name);
        assert!(gradients.iter().flatten().all(|&d| d == 0.0), "{} at {x:?}: {gradients:?}", get(id).name);
    }
}

/// Lengths and sides of 1.
#[test]
fn the_smallest_vectors_and_matrices_work() {
    let one = Array::matrix(1, &[1.0]);
    for (id, params, x, want) in [
        (DistId::LKJ_CHOLESKY, vec![Array::scalar(2.0), one.clone()], one.clone(), 0.0),
        (DistId::LKJ, vec![Array::scalar(2.0), one.clone()], one.clone(), 0.0),
        (DistId::ZERO_SUM_NORMAL, vec![Array::scalar(2.0), Array::zeros(&[1])], Array::vector(&[0.0]), 0.0),
        (
            DistId::GAUSSIAN_RANDOM_WALK,
            vec![Array::scalar(1.0), Array::scalar(0.5), Array::scalar(1.0), Array::zeros(&[1])],
            Array::vector(&[1.5]),
            -0.918_938_533_204_672_8,
        ),
        (
            DistId::AR,
            vec![Array::vector(&[0.5, 0.2]), Array::scalar(1.0), Array::scalar(1.5), Array::zeros(&[1])],
            Array::vector(&[1.5]),
            -0.918_938_533_204_672_8,
        ),
    ] {
        let (lp, gradients) = log_prob_and_gradients(id, &params, &x);
        assert!((lp[0] - want).abs() < 1e-14, "{}: {lp:?}", get(id).name);
        assert!(gradients.iter().flatten().all(|d| d.is_finite()), "{}: {gradients:?}", get(id).name);
        let mut g = Builder::new();
        let d = dist(&mut g, id, &params);
        let draw = d.rsample(&mut g, &Shape::from(x.shape.clone())).expect("reparameterized");
        let lp = d.log_prob(&mut g, draw);
        assert!(evaluate(&g, &[lp])[0][0].is_finite(), "{}", get(id).name);
    }
}

#[test]
fn a_point_mass_is_at_its_point() {
    let at = |x: f64| log_prob_and_gradients(DistId::DELTA, &[Array::scalar(1.5)], &Array::scalar(x));
    assert_eq!(at(1.5).0, [0.0]);
    assert_eq!(at(1.25).0, [f64::NEG_INFINITY]);
    assert!(at(1.25).1.iter().flatten().all(|&d| d == 0.0));
}

#[test]
fn densities_are_finite_at_the_ends_where_mathematics_says_so() {
    let at = |id, params: &[f64], x: f64| {
        let params: Vec<Array> = params.iter().map(|&p| Array::scalar(p)).collect();
        let (lp, gradients) = log_prob_and_gradients(id, &params, &Array::scalar(x));
        assert!(gradients.iter().flatten().all(|d| d.is_finite()), "{} at {x}: {gradients:?}", get(id).name);
        lp[0]
    };
    assert_eq!(at(DistId::EXPONENTIAL, &[2.0], 0.0), 2.0f64.ln());
    assert!((at(DistId::GAMMA, &[1.0, 2.0], 0.0) - 2.0f64.ln()).abs() < 1e-15);
    assert_eq!(at(DistId::GAMMA, &[3.0, 2.0], 0.0), f64::NEG_INFINITY);
    assert!(at(DistId::BETA, &[1.0, 1.0], 0.0).abs() < 1e-15);
    assert!(at(DistId::BETA, &[1.0, 1.0], 1.0).abs() < 1e-15);
    assert!((at(DistId::BETA, &[3.0, 1.0], 1.0) - 3.0f64.ln()).abs() < 1e-14);
    assert_eq!(at(DistId::BETA, &[3.0, 1.0], 0.0), f64::NEG_INFINITY);
    assert_eq!(at(DistId::UNIFORM, &[1.0, 2.0], 2.0), 0.0);
    assert_eq!(at(DistId::BERNOULLI_PROBS, &[0.0], 0.0), 0.0);
    assert_eq!(at(DistId::BERNOULLI_PROBS, &[1.0], 1.0), 0.0);
    assert_eq!(at(DistId::POISSON_RATE, &[0.0], 0.0), 0.0);
    assert!(at(DistId::BINOMIAL_PROBS, &[7.0, 0.0], 0.0).abs() < 1e-14);
    assert!(at(DistId::BINOMIAL_PROBS, &[7.0, 1.0], 7.0).abs() < 1e-14);
    assert_eq!(at(DistId::GEOMETRIC, &[1.0], 0.0), 0.0);
}

#[test]
fn far_tails_stay_finite() {
    for (id, params, x, want) in [
        (DistId::CAUCHY, vec![0.0, 1.0], 1e200, -2.0 * 1e200f64.ln() - std::f64::consts::PI.ln()),
        (DistId::HALF_CAUCHY, vec![1.0], 1e200, -2.0 * 1e200f64.ln() - (std::f64::consts::PI / 2.0).ln()),
        (DistId::BERNOULLI_LOGITS, vec![-1e4], 1.0, -1e4),
        (DistId::LOGISTIC, vec![0.0, 1.0], 1e5, -1e5),
        (DistId::LAPLACE, vec![0.0, 1.0], -1e8, -1e8 - 2f64.ln()),
        (DistId::BINOMIAL_LOGITS, vec![3.0, 800.0], 0.0, -2400.0),
    ] {
        let params: Vec<Array> = params.into_iter().map(Array::scalar).collect();
        let (lp, gradients) = log_prob_and_gradients(id, &params, &Array::scalar(x));
        assert!((lp[0] - want).abs() < 1e-9 * want.abs(), "{}: {} instead of {want}", get(id).name, lp[0]);
        assert!(gradients.iter().flatten().all(|d| d.is_finite()), "{}: {gradients:?}", get(id).name);
    }
    let lp = log_prob(DistId::CATEGORICAL_LOGITS, &[Array::vector(&[1000.0, 0.0, -1000.0])], &[0.0, 1.0, 2.0]);
    assert_eq!(lp, [0.0, -1000.0, -2000.0]);
    let cut = [Array::scalar(0.0), Array::vector(&[-800.0, 800.0])];
    assert_eq!(log_prob(DistId::ORDERED_LOGISTIC, &cut, &[0.0, 1.0, 2.0]), [-800.0, 0.0, -800.0]);
}

#[test]
fn single_precision_agrees_with_double() {
    for id in continuous_scalars().chain(discrete_scalars()) {
        for params in parameter_sets(id) {
            let mut g = Builder::new();
            let d = dist(&mut g, id, &params);
            let xs = if get(id).is_discrete() { vec![0.0, 1.0, 2.0, 3.0] } else { vec![0.05, 0.4, 0.9, 1.3, 4.0] };
            let x = Array::vector(&xs).put(&mut g, get(id).dtype);
            let lp = d.log_prob(&mut g, x);
            let single = evaluate_in::<f32>(g.graph(), &[lp], Key::new(1)).remove(0);
            for (a, b) in evaluate(&g, &[lp])[0].iter().zip(&single) {
                // An x next to an end may round onto it.
                assert!(
                    a == b || (a - b).abs() < 2e-5 * (1.0 + a.abs()) + 2e-4,
                    "{}{params:?}: {a} and {b}",
                    get(id).name
                );
            }
        }
    }
}

#[test]
fn log_densities_have_the_common_batch_shape() {
    for id in ids() {
        let row = get(id);
        let params = parameter_sets(id).remove(0);
        let mut g = Builder::new();
        // every parameter and x vary over [4, 1], [1, 3] or nothing
        let leads: [&[usize]; 3] = [&[4, 1], &[], &[3]];
        let values: Vec<_> = params
            .iter()
            .enumerate()
            .map(|(i, p)| {
                let lead = Shape::from(leads[i % 3]);
                let data = p.data.repeat(lead.count());
                g.constant(data, lead.concat(&p.shape), row.params[i].dtype())
            })
            .collect();
        let d = Dist::row(id, values);
        let batch = d.batch_shape(&g).broadcast(&Shape::from([4, 3])).expect("fits");
        let event = d.event_shape(&g);
        if row.is_proper() {
            let draw = d.sample(&mut g, &batch.concat(&event));
            assert_eq!(g.shape(draw), batch.concat(&event), "{}", row.name);
            let lp = d.log_prob(&mut g, draw);
            assert_eq!(g.shape(lp), batch, "{}", row.name);
            let values = evaluate(&g, &[lp]).remove(0);
            assert!(values.iter().all(|lp| lp.is_finite()), "{}: {values:?}", row.name);
        }
        for value in [d.mean(&mut g), d.variance(&mut g)].into_iter().flatten() {
            assert_eq!(g.shape(value), d.batch_shape(&g).concat(&event), "{}", row.name);
        }
        if let Some(entropy) = d.entropy(&mut g) {
            assert_eq!(g.shape(entropy), d.batch_shape(&g), "{}", row.name);
        }
        if let Some(kl) = d.kl(&d, &mut g) {
            assert_eq!(g.shape(kl), d.batch_shape(&g), "{}", row.name);
            let values = evaluate(&g, &[kl]).remove(0);
            assert!(values.iter().all(|kl| kl.abs() < 1e-9), "{}: KL of itself {values:?}", row.name);
        }
    }
}

/// A prior over the weights of a large layer: scalars are worked on as scalars.
#[test]
fn large_normals_take_few_large_nodes() {
    let mut g = Builder::new();
    let shape = Shape::from([100_000]);
    let x = g.input("w", shape.clone(), DType::Real, InputKind::Param);
    let scale = g.input("scale", Shape::scalar(), DType::Real, InputKind::Param);
    let zero = g.scalar(0.0);
    let d = Dist::row(DistId::NORMAL, [zero, scale]);
    d.log_prob(&mut g, x);
    let large = g.graph().nodes.iter().filter(|node| node.shape == shape).count();
    assert!(large <= 5, "{large} nodes of 100,000 elements: x, z, z^2, -z^2/2 and the result are enough");
}

#[test]
fn a_mixture_handles_impossible_components_and_weights() {
    let mut g = Builder::new();
    let weights = Array::vector(&[0.0, 0.5, 0.5]).put(&mut g, DType::Real);
    let one = g.scalar(1.0);
    let (low, high) = (g.scalar(2.0), g.scalar(3.0));
    let components = vec![
        Dist::row(DistId::UNIFORM, [one, low]),
        Dist::row(DistId::UNIFORM, [one, low]),
        Dist::row(DistId::UNIFORM, [low, high]),
    ];
    let mixture = Dist::Mixture { weights, components };
    let x = Array::vector(&[1.5, 2.5, 7.0]).put(&mut g, DType::Real);
    let lp = mixture.log_prob(&mut g, x);
    let total = g.sum_all(lp);
    let gradients = crate::autodiff::gradient(&mut g, total, &[weights, low, x]).expect("a mixture has gradients");
    let values = evaluate(&g, &[&[lp][..], &gradients].concat());
    assert_eq!(values[0][2], f64::NEG_INFINITY);
    assert!((values[0][0] - 0.5f64.ln()).abs() < 1e-15 && (values[0][1] - 0.5f64.ln()).abs() < 1e-15);
    assert!(values[1..].iter().flatten().all(|d| d.is_finite()), "{values:?}");
}

#[test]
fn a_mixture_of_classes_mixes_their_probabilities() {
    let mut g = Builder::new();
    let weights = Array::vector(&[0.25, 0.75]).put(&mut g, DType::Real);
    let (p, q) =
        (Array::vector(&[0.2, 0.8]).put(&mut g, DType::Real), Array::vector(&[0.6, 0.4]).put(&mut g, DType::Real));
    let row = |p| Dist::row(DistId::CATEGORICAL_PROBS, [p]);
    let mixture = Dist::Mixture { weights, components: vec![row(p), row(q)] };
    let probs = mixture.probs(&mut g).expect("classes");
    let values = evaluate(&g, &[probs]).remove(0);
    assert!((values[0] - 0.5).abs() < 1e-15 && (values[1] - 0.5).abs() < 1e-15);
}
