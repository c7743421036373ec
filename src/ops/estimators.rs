//! The estimators of layers with random weights against closed forms: means, variances and covariances of outputs between
//! positions, channels and rows; and each operation against the plain operations that it stands for.

use super::{ConvAttrs, NoiseKind, Op, RowLaw, RowNoise, TINY, evaluate};
use crate::exec::Executable;
use crate::ir::{Builder, DType, Graph, Shape, ValueId};
use crate::kernels::testing::{assert_close, values};
use crate::rng::{Key, fill_normal, fill_sign_bits};

const STREAM: u32 = 5;

/// One way to draw the outputs of a layer.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Estimator {
    Shared,
    Flipout,
    LocalReparam,
    Exact,
}

/// What a layer's weights share.
#[derive(Clone, Copy)]
enum Layer {
    Conv(ConvAttrs),
    Transposed(ConvAttrs, [usize; 2]),
    Dense,
}

struct Case {
    layer: Layer,
    x: Shape,
    w: Shape,
}

fn cases() -> Vec<Case> {
    let attrs = ConvAttrs { stride: [1, 1], pad: [[1, 0], [0, 1]], dilation: [1, 1], groups: 1 };
    let grouped = ConvAttrs { groups: 2, stride: [2, 1], ..attrs };
    let turned = ConvAttrs { pad: [[0, 0]; 2], ..attrs };
    vec![
        Case { layer: Layer::Conv(attrs), x: [2, 2, 2, 2].into(), w: [2, 2, 2, 2].into() },
        Case { layer: Layer::Conv(grouped), x: [2, 4, 3, 2].into(), w: [2, 2, 2, 1].into() },
        Case { layer: Layer::Transposed(turned, [3, 2]), x: [2, 2, 2, 1].into(), w: [2, 2, 2, 2].into() },
        Case { layer: Layer::Dense, x: [3, 4].into(), w: [4, 3].into() },
    ]
}

impl Case {
    fn plain(&self, g: &mut Builder, x: ValueId, w: ValueId) -> ValueId {
        match self.layer {
            Layer::Conv(attrs) => g.conv2d(x, w, attrs),
            Layer::Transposed(attrs, input) => g.conv2d_input_grad(x, w, attrs, input),
            Layer::Dense => g.matmul(x, false, w, false),
        }
    }

    /// The outputs as an estimator draws them; `None` where there is no such operation.
    fn drawn(&self, estimator: Estimator) -> Option<Graph> {
        let mut g = Builder::new();
        let [x, loc, scale] = self.data().map(|(data, shape)| g.constant(data, shape, DType::Real));
        let shared = |g: &mut Builder| {
            let noise = g.noise(NoiseKind::Normal, self.w.clone());
            g.mul(scale, noise)
        };
        let stream = 1000;
        let y = match (estimator, self.layer) {
            (Estimator::Shared, _) => {
                let spread = shared(&mut g);
                let w = g.add(loc, spread);
                self.plain(&mut g, x, w)
            }
            (Estimator::Flipout, Layer::Dense) => {
                let spread = shared(&mut g);
                g.push(Op::FlipoutDense { stream, adjoint: false }, &[x, loc, spread])
            }
            (Estimator::Flipout | Estimator::Exact, Layer::Conv(attrs)) => {
                let (kind, spread) = match estimator {
                    Estimator::Flipout => (RowLaw::Signs, shared(&mut g)),
                    _ => (RowLaw::Normal, scale),
                };
                g.push(Op::RowConv2d { attrs, noise: RowNoise { kind, stream } }, &[x, loc, spread])
            }
            (Estimator::Flipout | Estimator::Exact, Layer::Transposed(attrs, input)) => {
                let (kind, spread) = match estimator {
                    Estimator::Flipout => (RowLaw::Signs, shared(&mut g)),
                    _ => (RowLaw::Normal, scale),
                };
                let noise = RowNoise { kind, stream };
                g.push(Op::RowConv2dInputGrad { attrs, input, noise }, &[x, loc, spread])
            }
            (Estimator::LocalReparam, Layer::Conv(attrs)) => {
                let square = g.square(scale);
                let both = g.push(Op::LocalReparamConv2d { attrs, stream }, &[x, loc, square]);
                g.halves(both)[0]
            }
            (Estimator::LocalReparam, Layer::Dense) => {
                let square = g.square(scale);
                let both = g.push(Op::LocalReparamDense { stream }, &[x, loc, square]);
                g.halves(both)[0]
            }
            (Estimator::Exact, Layer::Dense) => {
                let cells = [x, loc, scale].map(|v| {
                    let shape = g.shape(v);
                    g.reshape(v, [shape[0], shape[1], 1, 1])
                });
                let attrs = ConvAttrs { stride: [1, 1], pad: [[0, 0]; 2], dilation: [1, 1], groups: 1 };
                let noise = RowNoise { kind: RowLaw::Normal, stream };
                g.push(Op::RowConv2dInputGrad { attrs, input: [1, 1], noise }, &cells)
            }
            (Estimator::LocalReparam, Layer::Transposed(..)) => return None,
        };
        g.output("y", y);
        Some(g.finish())
    }

    fn data(&self) -> [(Vec<f64>, Shape); 3] {
        let scale = values::<f64>(3, self.w.count()).into_iter().map(|s| 0.3 + s.abs()).collect();
        [
            (values(1, self.x.count()), self.x.clone()),
            (values(2, self.w.count()), self.w.clone()),
            (scale, self.w.clone()),
        ]
    }

    /// The mean of the outputs, and d output / d weight * scale for every weight.
    fn closed(&self) -> (Vec<f64>, Vec<Vec<f64>>) {
        let [(x, _), (loc, _), (scale, _)] = self.data();
        let apply = |w: &[f64]| {
            let mut g = Builder::new();
            let [x, w] = [(&x[..], &self.x), (w, &self.w)].map(|(v, s)| g.constant(v.to_vec(), s.clone(), DType::Real));
            let y = self.plain(&mut g, x, w);
            g.output("y", y);
            crate::exec::eval_f64(g.graph(), &[], Key::new(0)).remove(0)
        };
        let parts = (0..scale.len()).map(|k| {
            let one: Vec<f64> = (0..scale.len()).map(|i| if i == k { scale[i] } else { 0.0 }).collect();
            apply(&one)
        });
        (apply(&loc), parts.collect())
    }
}

/// The first two moments of every pair of outputs, each within 5 standard errors of its closed form: a correct estimator
/// fails one of the some 2000 comparisons with probability 1e-3, and the seeds are fixed.
#[test]
fn moments_are_those_of_the_estimator() {
    const DRAWS: u64 = 10_000;
    for case in cases() {
        let (mean, parts) = case.closed();
        let rows = case.x[0];
        let per_row = mean.len() / rows;
        let covariance = |i: usize, j: usize| parts.iter().map(|p| p[i] * p[j]).sum::<f64>();
        for estimator in [Estimator::Shared, Estimator::Flipout, Estimator::LocalReparam, Estimator::Exact] {
            let Some(graph) = case.drawn(estimator) else { continue };
            let mut executable = Executable::<f64>::compile(&graph);
            let n = mean.len();
            let (mut sums, mut squares) = (vec![0.0; n * n], vec![0.0; n * n]);
            let mut firsts = vec![0.0; n];
            for draw in 0..DRAWS {
                executable.run(&[], Key::new(9).fold_in(draw));
                let y: Vec<f64> = executable.output(0).iter().zip(&mean).map(|(y, m)| y - m).collect();
                for i in 0..n {
                    firsts[i] += y[i];
                    for j in 0..=i {
                        let product = y[i] * y[j];
                        sums[i * n + j] += product;
                        squares[i * n + j] += product * product;
                    }
                }
            }
            let draws = DRAWS as f64;
            // The variance of an output is never quite zero where outputs are drawn.
            let tiny = if estimator == Estimator::LocalReparam { TINY } else { 0.0 };
            for i in 0..n {
                let what = format!("{estimator:?} on {} with {}", case.x, case.w);
                let bound = 5.0 * ((covariance(i, i) + tiny) / draws).sqrt();
                assert!((firsts[i] / draws).abs() <= bound, "{what}: mean of {i}: off by {}", firsts[i] / draws);
                for j in 0..=i {
                    let same_row = i / per_row == j / per_row;
                    let expected = match estimator {
                        Estimator::Shared => covariance(i, j),
                        Estimator::Flipout | Estimator::Exact if same_row => covariance(i, j),
                        Estimator::LocalReparam if i == j => covariance(i, j) + tiny,
                        _ => 0.0,
                    };
                    let found = sums[i * n + j] / draws;
                    let error = ((squares[i * n + j] / draws - found * found) / draws).sqrt();
                    assert!(
                        (found - expected).abs() <= 5.0 * error + 1e-15,
                        "{what}: covariance of {i} and {j}: {found} ± {error}, expected {expected}"
                    );
                }
            }
        }
    }
}

/// The result of `op` on constants.
fn result(op: &Op, operands: &[(&[f64], &Shape)]) -> Vec<f64> {
    let shapes: Vec<&Shape> = operands.iter().map(|o| o.1).collect();
    let data: Vec<&[f64]> = operands.iter().map(|o| o.0).collect();
    let shape = op.shape(&shapes).expect("the operands fit");
    evaluate(op, &data, &shapes, &shape)
}

/// The stream's key under that of [`evaluate`].
fn key(row: usize) -> Key {
    Key::new(0).fold_in(u64::from(STREAM)).fold_in(row as u64)
}

/// The signs of one row: `before` of the layer's inputs, `after` of its outputs.
fn signs(row: usize, before: usize, after: usize) -> (Vec<f64>, Vec<f64>) {
    let mut all = vec![0.0; before + after];
    fill_sign_bits(key(row), 0, &mut all);
    let after = all.split_off(before);
    (all, after)
}

/// Enough output cells for weights of every image: few and many input channels (the two ways of the input gradient),
/// groups, strides, several blocks of terms.
const LARGE: [([usize; 4], [usize; 4], [usize; 4], ConvAttrs); 3] = [
    (
        [3, 3, 6, 5],
        [20, 3, 3, 3],
        [3, 20, 6, 5],
        ConvAttrs { stride: [1, 1], pad: [[1, 1], [1, 1]], dilation: [1, 1], groups: 1 },
    ),
    (
        [2, 40, 9, 11],
        [6, 20, 3, 2],
        [2, 6, 5, 5],
        ConvAttrs { stride: [2, 2], pad: [[1, 1], [0, 0]], dilation: [1, 1], groups: 2 },
    ),
    (
        [2, 36, 7, 6],
        [31, 36, 5, 5],
        [2, 31, 7, 6],
        ConvAttrs { stride: [1, 1], pad: [[2, 2], [2, 2]], dilation: [1, 1], groups: 1 },
    ),
];

#[test]
fn convolutions_of_rows_are_those_of_their_weights() {
    for (x, w, y, attrs) in super::conv::SHAPES.into_iter().chain(LARGE) {
        let [n, c] = [x[0], x[1]];
        let taps = w[2] * w[3];
        let (per_group, outputs) = (w[1], w[0] / attrs.groups);
        let shape = Shape::from(w);
        let (loc, spread) = (values::<f64>(1, shape.count()), values::<f64>(2, shape.count()));
        let [xs, ys] = [Shape::from(x), Shape::from(y)];
        let (data, dy) = (values::<f64>(3, xs.count()), values::<f64>(4, ys.count()));
        for kind in [RowLaw::Signs, RowLaw::Normal] {
            let noise = RowNoise { kind, stream: STREAM };
            let forward = result(&Op::RowConv2d { attrs, noise }, &[(&data, &xs), (&loc, &shape), (&spread, &shape)]);
            let input = [x[2], x[3]];
            let op = Op::RowConv2dInputGrad { attrs, input, noise };
            let back = result(&op, &[(&dy, &ys), (&loc, &shape), (&spread, &shape)]);
            let op = Op::RowConv2dWeightGrad { attrs, kernel: [w[2], w[3]], noise };
            let grads = result(&op, &[(&data, &xs), (&dy, &ys)]);
            let mut sums = vec![0.0; 2 * shape.count()];
            for row in 0..n {
                let multipliers: Vec<f64> = match kind {
                    RowLaw::Normal => {
                        let mut m = vec![0.0; shape.count()];
                        fill_normal(key(row), 0, &mut m);
                        m
                    }
                    RowLaw::Signs => {
                        let (before, after) = signs(row, c, w[0]);
                        let sign = |i: usize| {
                            let (o, channel) = (i / (per_group * taps), i / taps % per_group);
                            after[o] * before[o / outputs * per_group + channel]
                        };
                        (0..shape.count()).map(sign).collect()
                    }
                };
                let own: Vec<f64> =
                    loc.iter().zip(&spread).zip(&multipliers).map(|((l, s), m)| m.mul_add(*s, *l)).collect();
                let (x_len, y_len) = (xs.count() / n, ys.count() / n);
                let [one, one_y] = [Shape::from([1, x[1], x[2], x[3]]), Shape::from([1, y[1], y[2], y[3]])];
                let (x_row, dy_row) = (&data[row * x_len..][..x_len], &dy[row * y_len..][..y_len]);
                let want = result(&Op::Conv2d(attrs), &[(x_row, &one), (&own, &shape)]);
                assert_close(&forward[row * y_len..][..y_len], &want, 1e-12, "forward");
                let want = result(&Op::Conv2dInputGrad { attrs, input }, &[(dy_row, &one_y), (&own, &shape)]);
                assert_close(&back[row * x_len..][..x_len], &want, 1e-12, "input gradient");
                let op = Op::Conv2dWeightGrad { attrs, kernel: [w[2], w[3]] };
                for (i, g) in result(&op, &[(x_row, &one), (dy_row, &one_y)]).into_iter().enumerate() {
                    sums[i] += g;
                    sums[shape.count() + i] += multipliers[i] * g;
                }
            }
            assert_close(&grads, &sums, 1e-12, "weight gradients");
        }
    }
}

#[test]
fn dense_products_are_those_of_flipped_operands() {
    // Beyond one packed block in every direction, and beyond one piece of signs.
    let large = ([80, 300], [300, 530], [80, 530]);
    for (x, w, y) in super::row_dense::SHAPES.into_iter().chain([large]) {
        let [n, i, o] = [x[0], x[1], w[1]];
        let [xs, ws, ys] = [x, w, y].map(Shape::from);
        let (data, dy) = (values::<f64>(1, n * i), values::<f64>(2, n * o));
        let (loc, spread) = (values::<f64>(3, i * o), values::<f64>(4, i * o));
        let all: Vec<_> = (0..n).map(|row| signs(row, i, o)).collect();
        let before: Vec<f64> = all.iter().flat_map(|s| s.0.clone()).collect();
        let after: Vec<f64> = all.iter().flat_map(|s| s.1.clone()).collect();
        let times = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>();
        let plus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
        let product = |a: (&[f64], &Shape), b: (&[f64], &Shape), ta, tb| result(&Op::MatMul { ta, tb }, &[a, b]);
        let (flipped, dy_flipped) = (times(&data, &before), times(&dy, &after));
        let (l, s) = ((&loc[..], &ws), (&spread[..], &ws));

        let op = Op::FlipoutDense { stream: STREAM, adjoint: false };
        let noise = times(&product((&flipped, &xs), s, false, false), &after);
        let want = plus(&product((&data, &xs), l, false, false), &noise);
        assert_close(&result(&op, &[(&data, &xs), l, s]), &want, 1e-12, "forward");

        let op = Op::FlipoutDense { stream: STREAM, adjoint: true };
        let noise = times(&product((&dy_flipped, &ys), s, false, true), &before);
        let want = plus(&product((&dy, &ys), l, false, true), &noise);
        assert_close(&result(&op, &[(&dy, &ys), l, s]), &want, 1e-12, "input gradient");

        let op = Op::FlipoutDenseWeightGrad { stream: STREAM };
        let mut want = product((&data, &xs), (&dy, &ys), true, false);
        want.extend(product((&flipped, &xs), (&dy_flipped, &ys), true, false));
        assert_close(&result(&op, &[(&data, &xs), (&dy, &ys)]), &want, 1e-12, "weight gradients");
    }
}

#[test]
fn drawn_outputs_are_those_of_two_products() {
    let check = |op: Op, plain: Op, x: Shape, w: Shape| {
        let data = values::<f64>(1, x.count());
        let loc = values::<f64>(2, w.count());
        let square: Vec<f64> = values::<f64>(3, w.count()).iter().map(|s| s * s).collect();
        let mean = result(&plain, &[(&data, &x), (&loc, &w)]);
        let squared: Vec<f64> = data.iter().map(|x| x * x).collect();
        let variance = result(&plain, &[(&squared, &x), (&square, &w)]);
        let mut noise = vec![0.0; mean.len()];
        fill_normal(Key::new(0).fold_in(u64::from(STREAM)), 0, &mut noise);
        let sd: Vec<f64> = variance.iter().map(|v| (v + TINY).sqrt()).collect();
        let mut want: Vec<f64> = mean.iter().zip(&sd).zip(&noise).map(|((m, s), e)| m + s * e).collect();
        want.extend(noise.iter().zip(&sd).map(|(e, sd)| e / (2.0 * sd)));
        assert_close(&result(&op, &[(&data, &x), (&loc, &w), (&square, &w)]), &want, 1e-12, op.name());
    };
    for (x, w, _, attrs) in super::conv::SHAPES {
        check(Op::LocalReparamConv2d { attrs, stream: STREAM }, Op::Conv2d(attrs), x.into(), w.into());
    }
    let large = ([1030, 300], [300, 80], [1030, 80]);
    for (x, w, _) in super::row_dense::SHAPES.into_iter().chain([large]) {
        let plain = Op::MatMul { ta: false, tb: false };
        check(Op::LocalReparamDense { stream: STREAM }, plain, x.into(), w.into());
    }
}
