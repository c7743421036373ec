//! What the tests share: numbers into a graph, numbers out of it, parameters to try every row with.

use crate::autodiff;
use crate::dist::{Dist, DistId, get};
use crate::index::Idx;
use crate::ir::{Builder, DType, Graph, Shape, ValueId};
use crate::kernels::scalar::Scalar;
use crate::ops::Op;
use crate::ops::kernel::Inputs;
use crate::rng::Key;

/// The values of `wanted`, every node computed in turn in the precision `F`.
pub fn evaluate_in<F: Scalar>(graph: &Graph, wanted: &[ValueId], key: Key) -> Vec<Vec<f64>> {
    let mut values: Vec<Vec<F>> = Vec::new();
    for node in &graph.nodes {
        let mut out = vec![F::from_f64(0.0); node.shape.count()];
        match &node.op {
            Op::Constant(id) => {
                out.iter_mut().zip(graph.constants[*id].data.iter()).for_each(|(out, &x)| *out = F::from_f64(x));
            }
            op => {
                let shapes: Vec<&Shape> = node.operands.iter().map(|&o| graph.shape(o)).collect();
                let kernel = op.kernel(&shapes, &node.shape);
                let mut low = Vec::new();
                let mut ranges = Vec::new();
                for &operand in &node.operands {
                    let start = low.len();
                    low.extend_from_slice(&values[operand.index()]);
                    ranges.push(start..low.len());
                }
                let mut scratch = vec![F::from_f64(0.0); kernel.scratch::<F>()];
                let inputs = Inputs { low: &low, high: &[], high_start: low.len(), ranges: &ranges };
                kernel.run(&inputs, &mut out, &mut scratch, key);
            }
        }
        values.push(out);
    }
    wanted.iter().map(|w| values[w.index()].iter().map(|x| x.to_f64()).collect()).collect()
}

/// As [`evaluate_in`], in double precision.
pub fn evaluate(g: &Builder, wanted: &[ValueId]) -> Vec<Vec<f64>> {
    evaluate_in::<f64>(g.graph(), wanted, Key::new(1))
}

/// Numbers with their shape.
#[derive(Clone, Debug)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

impl Array {
    pub fn scalar(x: f64) -> Self {
        Self { shape: vec![], data: vec![x] }
    }
    pub fn vector(data: &[f64]) -> Self {
        Self { shape: vec![data.len()], data: data.to_vec() }
    }
    pub fn matrix(n: usize, data: &[f64]) -> Self {
        assert_eq!(data.len(), n * n);
        Self { shape: vec![n, n], data: data.to_vec() }
    }
    pub fn zeros(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] }
    }
    pub fn put(&self, g: &mut Builder, dtype: DType) -> ValueId {
        g.constant(self.data.clone(), Shape::from(self.shape.clone()), dtype)
    }
}

/// The row `id` with `params` as constants.
pub fn dist(g: &mut Builder, id: DistId, params: &[Array]) -> Dist {
    let params: Vec<ValueId> = get(id).params.iter().zip(params).map(|(def, p)| p.put(g, def.dtype())).collect();
    Dist::row(id, params)
}

/// log_prob at each of `xs`, and its gradients by each x and, summed over the x, by each parameter.
pub fn log_prob_and_gradients(id: DistId, params: &[Array], x: &Array) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut g = Builder::new();
    let d = dist(&mut g, id, params);
    let x = x.put(&mut g, get(id).dtype);
    let lp = d.log_prob(&mut g, x);
    let total = g.sum_all(lp);
    let mut wrt = vec![x];
    if let Dist::Row { params, .. } = &d {
        wrt.extend(params);
    }
    let grads = autodiff::gradient(&mut g, total, &wrt).expect("densities have gradients");
    let mut wanted = vec![lp];
    wanted.extend(grads);
    let mut values = evaluate(&g, &wanted).into_iter();
    (values.next().expect("log_prob"), values.collect())
}

/// log_prob at each of `xs`, scalars.
pub fn log_prob(id: DistId, params: &[Array], xs: &[f64]) -> Vec<f64> {
    let mut g = Builder::new();
    let d = dist(&mut g, id, params);
    let x = Array::vector(xs).put(&mut g, get(id).dtype);
    let lp = d.log_prob(&mut g, x);
    evaluate(&g, &[lp]).remove(0)
}

/// Three parameter sets of every row that has parameters and draws: plain, narrow or skewed, wide.
pub fn parameter_sets(id: DistId) -> Vec<Vec<Array>> {
    let scalars = |sets: &[&[f64]]| sets.iter().map(|set| set.iter().map(|&x| Array::scalar(x)).collect()).collect();
    let vectors = |sets: &[&[f64]]| sets.iter().map(|set| vec![Array::vector(set)]).collect();
    let loc = Array::vector(&[0.5, -1.0]);
    let tril = Array::matrix(2, &[1.5, 0.0, -0.7, 0.4]);
    let spd = Array::matrix(2, &[2.25, -1.05, -1.05, 0.65]);
    let simplexes: &[&[f64]] = &[&[0.2, 0.5, 0.3], &[0.9, 0.1], &[0.05, 0.05, 0.0, 0.4, 0.5]];
    let logits: &[&[f64]] = &[&[0.1, -1.0, 2.0], &[3.0, 3.0], &[-700.0, 1.0, 0.0, 0.5]];
    let totals = |sets: &[&[f64]], total: f64| -> Vec<Vec<Array>> {
        sets.iter().map(|set| vec![Array::scalar(total), Array::vector(set)]).collect()
    };
    match id {
        DistId::NORMAL | DistId::LAPLACE | DistId::CAUCHY | DistId::LOGISTIC | DistId::GUMBEL => {
            scalars(&[&[0.3, 1.2], &[-2.0, 0.1], &[1.0, 3.0]])
        }
        DistId::LOG_NORMAL => scalars(&[&[0.3, 0.8], &[-2.0, 0.1], &[1.0, 1.5]]),
        DistId::STUDENT_T => scalars(&[&[4.0, 0.3, 1.2], &[1.5, -2.0, 0.1], &[30.0, 1.0, 3.0]]),
        DistId::HALF_STUDENT_T => scalars(&[&[4.0, 1.2], &[1.5, 0.1], &[30.0, 3.0]]),
        DistId::HALF_NORMAL | DistId::HALF_CAUCHY | DistId::EXPONENTIAL => scalars(&[&[1.2], &[0.1], &[3.0]]),
        DistId::CHI_SQUARED => scalars(&[&[3.0], &[0.7], &[12.0]]),
        DistId::WEIBULL | DistId::PARETO => scalars(&[&[2.0, 1.2], &[0.8, 0.5], &[5.0, 3.0]]),
        DistId::GAMMA | DistId::INVERSE_GAMMA => scalars(&[&[2.5, 1.2], &[0.4, 0.5], &[30.0, 3.0]]),
        DistId::ASYMMETRIC_LAPLACE => scalars(&[&[0.3, 1.2, 0.7], &[-2.0, 0.1, 2.0], &[1.0, 3.0, 1.0]]),
        DistId::SKEW_NORMAL => scalars(&[&[0.3, 1.2, 2.0], &[-2.0, 0.1, -0.5], &[1.0, 3.0, 0.0]]),
        DistId::INVERSE_GAUSSIAN => scalars(&[&[1.2, 2.5], &[0.5, 0.4], &[3.0, 30.0]]),
        DistId::KUMARASWAMY => scalars(&[&[2.0, 3.0], &[0.6, 0.8], &[6.0, 1.5]]),
        DistId::VON_MISES => scalars(&[&[0.3, 2.0], &[-3.0, 0.2], &[1.0, 40.0]]),
        DistId::HYPERGEOMETRIC => scalars(&[&[20.0, 12.0, 6.0], &[9.0, 7.0, 6.0], &[100.0, 3.0, 50.0]]),
        DistId::BETA => scalars(&[&[2.0, 3.0], &[0.4, 0.6], &[20.0, 1.5]]),
        DistId::UNIFORM => scalars(&[&[-1.0, 2.0], &[0.0, 0.1], &[0.0, 1.0]]),
        DistId::CONTINUOUS_BERNOULLI_PROBS => scalars(&[&[0.3], &[0.5001], &[0.99]]),
        DistId::CONTINUOUS_BERNOULLI_LOGITS => scalars(&[&[0.05], &[-3.0], &[8.0]]),
        DistId::BERNOULLI_PROBS => scalars(&[&[0.3], &[0.02], &[0.9]]),
        DistId::BERNOULLI_LOGITS => scalars(&[&[0.3], &[-4.0], &[2.0]]),
        DistId::GEOMETRIC => scalars(&[&[0.3], &[0.05], &[0.9]]),
        DistId::DISCRETE_UNIFORM => scalars(&[&[0.0, 5.0], &[-3.0, 3.0], &[7.0, 7.0]]),
        DistId::BINOMIAL_PROBS => scalars(&[&[10.0, 0.3], &[40.0, 0.02], &[3.0, 0.9]]),
        DistId::BINOMIAL_LOGITS => scalars(&[&[10.0, 0.3], &[40.0, -4.0], &[3.0, 2.0]]),
        DistId::BETA_BINOMIAL => scalars(&[&[10.0, 2.0, 3.0], &[20.0, 0.4, 0.6], &[5.0, 20.0, 1.5]]),
        DistId::POISSON_RATE => scalars(&[&[2.5], &[0.2], &[40.0]]),
        DistId::POISSON_LOG_RATE => scalars(&[&[0.5], &[-2.0], &[3.5]]),
        DistId::NEGATIVE_BINOMIAL => scalars(&[&[3.0, 2.0], &[0.5, 0.4], &[20.0, 10.0]]),
        DistId::CATEGORICAL_PROBS => vectors(simplexes),
        DistId::CATEGORICAL_LOGITS => vectors(logits),
        DistId::MULTINOMIAL_PROBS => totals(simplexes, 9.0),
        DistId::MULTINOMIAL_LOGITS => totals(logits, 9.0),
        DistId::DIRICHLET => vectors(&[&[2.0, 3.0, 0.8], &[0.3, 0.5], &[12.0, 1.0, 4.0, 0.5]]),
        DistId::ORDERED_LOGISTIC => [(0.3, vec![-1.0, 0.0, 2.0]), (2.0, vec![0.5]), (-4.0, vec![-5.0, -4.9, 1.0, 3.0])]
            .into_iter()
            .map(|(eta, cuts)| vec![Array::scalar(eta), Array::vector(&cuts)])
            .collect(),
        DistId::MULTIVARIATE_NORMAL_COV | DistId::MULTIVARIATE_NORMAL_PRECISION => {
            vec![vec![loc.clone(), spd], vec![loc, Array::matrix(2, &[0.5, 0.1, 0.1, 4.0])]]
        }
        DistId::MULTIVARIATE_NORMAL_TRIL => {
            vec![vec![loc.clone(), tril], vec![loc, Array::matrix(2, &[0.2, 0.0, 3.0, 2.0])]]
        }
        DistId::MULTIVARIATE_STUDENT_T => {
            vec![
                vec![Array::scalar(3.0), loc.clone(), tril],
                vec![Array::scalar(12.0), loc, Array::matrix(2, &[0.2, 0.0, 3.0, 2.0])],
            ]
        }
        DistId::DELTA => scalars(&[&[1.2], &[0.0]]),
        DistId::RELAXED_BERNOULLI_PROBS => scalars(&[&[0.7, 0.3], &[2.0, 0.9], &[0.3, 0.02]]),
        DistId::RELAXED_BERNOULLI_LOGITS => scalars(&[&[0.7, 0.3], &[2.0, -4.0], &[0.6, 2.0]]),
        DistId::ONE_HOT_CATEGORICAL_PROBS => vectors(simplexes),
        DistId::ONE_HOT_CATEGORICAL_LOGITS => vectors(logits),
        DistId::DIRICHLET_MULTINOMIAL => totals(&[&[2.0, 3.0, 0.8], &[12.0, 1.0, 4.0, 0.5]], 9.0),
        DistId::GUMBEL_SOFTMAX_PROBS => {
            vec![
                vec![Array::scalar(0.8), Array::vector(&[0.2, 0.5, 0.3])],
                vec![Array::scalar(2.0), Array::vector(&[0.9, 0.1])],
            ]
        }
        DistId::GUMBEL_SOFTMAX_LOGITS => {
            vec![
                vec![Array::scalar(0.8), Array::vector(&[0.1, -1.0, 2.0])],
                vec![Array::scalar(2.0), Array::vector(&[3.0, 3.0])],
            ]
        }
        DistId::MULTIVARIATE_NORMAL_LOW_RANK => {
            let factor =
                |rank: usize, data: &[f64]| Array { shape: vec![data.len() / rank, rank], data: data.to_vec() };
            vec![
                vec![loc.clone(), factor(1, &[0.6, -1.4]), Array::vector(&[0.4, 1.5])],
                vec![
                    Array::vector(&[0.5, -1.0, 2.0]),
                    factor(2, &[0.6, -1.4, 0.3, 0.2, 1.0, 0.0]),
                    Array::vector(&[0.4, 1.5, 0.1]),
                ],
            ]
        }
        DistId::GAUSSIAN_RANDOM_WALK => [(1.2, 0.0, 0.0, 2), (0.5, 0.3, -2.0, 5)]
            .into_iter()
            .map(|(scale, drift, start, n)| {
                vec![Array::scalar(scale), Array::scalar(drift), Array::scalar(start), Array::zeros(&[n])]
            })
            .collect(),
        DistId::AR => {
            [(vec![0.6], 1.2, 0.3, 2), (vec![0.5, -0.3, 0.2], 0.5, -2.0, 6), (vec![0.9, 0.1, 0.1], 0.5, 0.0, 2)]
                .into_iter()
                .map(|(coefficients, scale, loc, n)| {
                    vec![Array::vector(&coefficients), Array::scalar(scale), Array::scalar(loc), Array::zeros(&[n])]
                })
                .collect()
        }
        DistId::ZERO_SUM_NORMAL => {
            vec![vec![Array::scalar(1.2), Array::zeros(&[3])], vec![Array::scalar(0.3), Array::zeros(&[6])]]
        }
        DistId::MATRIX_NORMAL => vec![vec![
            Array { shape: vec![2, 3], data: vec![0.5, -1.0, 2.0, 0.0, 1.0, 3.0] },
            tril,
            Array::matrix(3, &[0.8, 0.0, 0.0, 0.3, 1.1, 0.0, -0.5, 0.4, 0.6]),
        ]],
        DistId::WISHART | DistId::INVERSE_WISHART => vec![
            vec![Array::scalar(9.5), spd],
            vec![Array::scalar(11.0), Array::matrix(3, &[1.0, 0.3, -0.2, 0.3, 2.0, 0.5, -0.2, 0.5, 0.7])],
        ],
        DistId::LKJ_CHOLESKY | DistId::LKJ => [(2.0, 2), (1.0, 3), (0.7, 4), (5.0, 3)]
            .into_iter()
            .map(|(concentration, n)| vec![Array::scalar(concentration), Array::zeros(&[n, n])])
            .collect(),
        DistId::FLAT | DistId::HALF_FLAT => vec![vec![]],
        other => panic!("give parameter sets for {} ({other})", get(other).name),
    }
}

/// Whether `got` is `want` within `tolerance (1 + |want|)`; infinities and NaN agree with their like.
pub fn close(got: f64, want: f64, tolerance: f64) -> bool {
    got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= tolerance * (1.0 + want.abs())
}

/// The rows whose draws are scalars of reals and have a density: a point mass has none.
pub fn continuous_scalars() -> impl Iterator<Item = DistId> {
    crate::dist::ids()
        .filter(|&id| get(id).is_proper() && get(id).event_rank == 0 && !get(id).is_discrete() && id != DistId::DELTA)
}
/// The rows whose draws are scalars of ints.
pub fn discrete_scalars() -> impl Iterator<Item = DistId> {
    crate::dist::ids().filter(|&id| get(id).event_rank == 0 && get(id).is_discrete())
}

/// Nodes `(x, weight)` of a quadrature over the support of `id`: unconstrained coordinates on an even grid, stretched by
/// sinh so that power tails are reached, centred and scaled as a location-scale family is, and mapped by the row's own
/// bijector with its Jacobian. Exact to about 1e-6 where the density has a kink at its location.
pub fn quadrature(id: DistId, params: &[Array]) -> (Vec<f64>, Vec<f64>) {
    let step = 1.0 / 256.0;
    let real = get(id).support == crate::dist::SupportKind::Real;
    let param = |name: &str, default: f64| match get(id).param(name) {
        Some(at) if real => params[at].data[0],
        _ => default,
    };
    let (loc, scale) = (param("loc", 0.0), param("scale", 1.0));
    let n = ((if real { 26.0 } else { 7.0 }) / step) as i64;
    let grid: Vec<f64> = (-n..=n).map(|i| i as f64 * step).collect();
    let us: Vec<f64> = grid.iter().map(|t| loc + scale * t.sinh()).collect();
    let mut g = Builder::new();
    let d = dist(&mut g, id, params);
    let bounds = d.bounds(&mut g);
    let u = Array::vector(&us).put(&mut g, DType::Real);
    let (x, log_det) = d.support().constrain(&mut g, u, bounds);
    let values = evaluate(&g, &[x, log_det]);
    let weights = values[1].iter().zip(&grid).map(|(log_det, t)| log_det.exp() * scale * t.cosh() * step).collect();
    (values[0].clone(), weights)
}
