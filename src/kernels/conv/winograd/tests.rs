//! Minimal filtering against the defining loop: every tile in double precision to rounding, in single precision within
//! the error that the module states.
use proptest::prelude::*;

use super::*;
use crate::kernels::conv::tests::naive;
use crate::kernels::simd;
use crate::kernels::simd::lanes::{Blocked, Second, SecondSum, Signed};
use crate::kernels::testing::{assert_close, values};

const TILES: [Tile; 4] = [Tile::F4x3, Tile::F4x5, Tile::Row4x3, Tile::Row4x5];

/// A convolution by one tile, its operands, and the signs of Flipout.
struct Case<F> {
    plan: Winograd,
    x: Vec<F>,
    w: [Vec<F>; 2],
    dy: Vec<F>,
    bias: Vec<F>,
    signs: [Vec<F>; 2],
}

/// y, dx and the gradients in one or two kernels.
type Passes<F> = (Vec<F>, Vec<F>, Vec<Vec<F>>);

impl<F: Scalar> Case<F> {
    fn new(shape: Conv2dShape, tile: Tile) -> Self {
        let signs = |seed, n| values::<F>(seed, n).into_iter().map(|x| F::ONE.copysign(x)).collect();
        Case {
            plan: Winograd { shape, output: shape.output(), tile },
            x: values(1, shape.x_len()),
            w: [values(2, shape.w_len()), values(3, shape.w_len())],
            dy: values(4, shape.y_len()),
            bias: values(5, shape.out_channels),
            signs: [signs(6, shape.batch * shape.in_channels), signs(7, shape.batch * shape.out_channels)],
        }
    }

    /// All three passes; `tasks` cuts the scratch to that of so many threads.
    fn run(&self, flipout: bool, tasks: Option<usize>) -> Passes<F> {
        let (s, kernels) = (&self.plan.shape, 1 + usize::from(flipout));
        let [before, after] = [&self.signs[0][..], &self.signs[1][..]];
        let weights = if flipout {
            Weights::Flipout { loc: &self.w[0], perturbation: &self.w[1], before, after }
        } else {
            Weights::Shared(&self.w[0])
        };
        let lanes = |len: usize| vec![F::NAN; len * LANES];
        let pass = |turned, planned| match tasks {
            None => vec![F::NAN; planned],
            Some(tasks) => {
                let pass = self.plan.correlation(turned);
                let u = kernels * pass.weight_lanes(self.plan.tile.points());
                lanes(u + tasks * pass.task_lanes(self.plan.tile))
            }
        };
        let mut y = vec![F::NAN; s.y_len()];
        let mut scratch = pass(false, self.plan.forward_scratch(kernels));
        self.plan.forward(&self.x, weights, Finish { bias: Some(&self.bias), relu: false }, &mut y, &mut scratch);
        let mut dx = vec![F::NAN; s.x_len()];
        let mut scratch = pass(true, self.plan.input_grad_scratch(kernels));
        self.plan.input_grad(&self.dy, weights, &mut dx, &mut scratch);
        let mut dw = vec![vec![F::NAN; s.w_len()]; kernels];
        let mut scratch = match tasks {
            None => vec![F::NAN; self.plan.weight_grad_scratch(kernels)],
            Some(tasks) => lanes(
                self.plan.weight_parts(kernels) * kernels * self.plan.sum_lanes()
                    + tasks * self.plan.weight_task_lanes(),
            ),
        };
        let grads = match &mut dw[..] {
            [loc, perturbation] => WeightGrads::Flipout { loc, perturbation, before, after },
            [dw] => WeightGrads::Shared(dw),
            _ => unreachable!("one or two kernels"),
        };
        self.plan.weight_grad(&self.x, &self.dy, grads, &mut scratch);
        (y, dx, dw)
    }

    /// The same by the defining loop, in double precision.
    fn expected(&self, flipout: bool) -> Passes<f64> {
        let s = &self.plan.shape;
        let wide = |v: &[F]| v.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
        let [before, after] = [wide(&self.signs[0]), wide(&self.signs[1])];
        let signed = |v: &[f64], signs: &[f64]| {
            let plane = v.len() / signs.len();
            v.iter().enumerate().map(|(i, v)| v * signs[i / plane]).collect::<Vec<_>>()
        };
        let (x, dy) = (wide(&self.x), wide(&self.dy));
        let (mut y, mut dx, dw) = naive(s, &x, &wide(&self.w[0]), &dy);
        let mut dw = vec![dw];
        if flipout {
            let (ys, dxs, dws) = naive(s, &signed(&x, &before), &wide(&self.w[1]), &signed(&dy, &after));
            y.iter_mut().zip(signed(&ys, &after)).for_each(|(y, s)| *y += s);
            dx.iter_mut().zip(signed(&dxs, &before)).for_each(|(x, s)| *x += s);
            dw.push(dws);
        }
        let cells = s.output()[0] * s.output()[1];
        for (i, y) in y.iter_mut().enumerate() {
            *y += self.bias[i / cells % s.out_channels].to_f64();
        }
        (y, dx, dw)
    }

    /// Compares all passes, errors relative to the largest number of each.
    #[track_caller]
    fn check(&self, flipout: bool, tol: f64) {
        let (actual, expected) = (self.run(flipout, None), self.expected(flipout));
        let compare = |actual: &[F], expected: &[f64], what: &str| {
            let top = expected.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
                let error = (a.to_f64() - e).abs();
                assert!(error <= tol * top, "{what}[{i}]: {a} instead of {e}, at most {top}, {:?}", self.plan);
            }
        };
        compare(&actual.0, &expected.0, "y");
        compare(&actual.1, &expected.1, "dx");
        for (actual, expected) in actual.2.iter().zip(&expected.2) {
            compare(actual, expected, "dw");
        }
    }
}

fn shape(batch: usize, channels: [usize; 2], input: [usize; 2], tile: Tile, padding: [[usize; 2]; 2]) -> Conv2dShape {
    Conv2dShape {
        batch,
        in_channels: channels[0],
        out_channels: channels[1],
        input,
        kernel: tile.sizes().map(|[_, r]| r),
        stride: [1, 1],
        padding,
        dilation: [1, 1],
        groups: 1,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn agrees_with_the_defining_loop(
        batch in 1usize..4, channels in prop::array::uniform2(1usize..20), input in prop::array::uniform2(1usize..15),
        padding in prop::array::uniform2(prop::array::uniform2(0usize..7)), tile in 0usize..4, flipout: bool,
    ) {
        let shape = shape(batch, channels, input, TILES[tile], padding);
        prop_assume!((0..2).all(|a| input[a] + padding[a][0] + padding[a][1] >= shape.kernel[a]));
        Case::<f64>::new(shape, TILES[tile]).check(flipout, 1e-12);
        Case::<f32>::new(shape, TILES[tile]).check(flipout, 3e-5);
    }
}

/// Several blocks of tiles, of channels on both sides and of partial sums.
#[test]
fn large_convolutions_stay_within_the_stated_error() {
    for (tile, bound) in [(Tile::F4x3, 5e-6), (Tile::F4x5, 1.5e-5)] {
        let r = tile.sizes()[0][1];
        let shape = shape(6, [65, 50], [14, 15], tile, [[r / 2; 2]; 2]);
        let case = Case::<f32>::new(shape, tile);
        assert!(case.plan.weight_parts(1) > 1 && case.plan.weight_parts(2) > 1);
        case.check(false, bound);
        case.check(true, bound);
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for flipout in [false, true] {
        for tile in [Tile::F4x3, Tile::F4x5] {
            let case = Case::<f32>::new(shape(7, [33, 40], [13, 11], tile, [[1, 2], [2, 1]]), tile);
            assert!(case.plan.work() > threads::MIN_PARALLEL_WORK, "large enough for threads");
            assert_eq!(case.run(flipout, Some(1)), case.run(flipout, Some(3)));
        }
    }
}

/// A product of `shape` by the best instructions and in plain Rust, each with the second result where there is one.
fn products(shape: &Blocked, flipout: bool) -> [[Vec<f32>; 2]; 2] {
    let lanes = |x: &[f32]| x.as_chunks::<LANES>().0.to_vec();
    let columns = if shape.transposed { shape.rows } else { shape.terms };
    let signs = |seed, n| values::<f32>(seed, n).into_iter().map(|x| 1f32.copysign(x)).collect::<Vec<_>>();
    let a = lanes(&values::<f32>(1, columns.div_ceil(LANES) * shape.steps[0] * LANES));
    let [b, b2] = [2, 4].map(|seed| lanes(&values::<f32>(seed, shape.blocks * shape.steps[1] * LANES)));
    let (along, columns) = (signs(5, shape.rows.max(shape.terms)), lanes(&signs(6, shape.blocks * LANES)));
    [simd::lanes::product_f32, simd::lanes::product_portable].map(|product| {
        let [mut c, mut c2] = [3, 7].map(|seed| lanes(&values::<f32>(seed, shape.blocks * shape.steps[2] * LANES)));
        let signed = match (flipout, shape.transposed) {
            (false, _) => Signed::No,
            (true, false) => Signed::Operand(Second { b: &b2, terms: &along, columns: &columns }),
            (true, true) => Signed::Sum(SecondSum { c: &mut c2, rows: &along, columns: &columns }),
        };
        product(shape, &a, &b, signed, &mut c);
        [c, c2].map(|c| c.as_flattened().to_vec())
    })
}

#[test]
fn blocked_products_agree_with_the_portable_loop() {
    for (rows, terms, blocks) in [(1, 1, 1), (5, 16, 2), (12, 17, 3), (25, 33, 2), (40, 7, 5), (31, 100, 1)] {
        for [transposed, add, flipout] in (0..8).map(|i| [1, 2, 4].map(|bit| i & bit != 0)) {
            let (columns, lines) = if transposed { (rows, terms) } else { (terms, rows) };
            let steps = [lines + 2, terms + 1, rows + 3];
            let shape = Blocked { rows, terms, blocks, steps, transposed, add };
            let [fast, slow] = products(&shape, flipout);
            for (fast, slow) in fast.iter().zip(&slow) {
                let slow: Vec<f64> = slow.iter().map(|&x| f64::from(x)).collect();
                assert_close(fast, &slow, 1e-5, "product");
            }
            if flipout {
                continue;
            }
            let at = |block: usize, row: usize, lane: usize, step: usize| (block * step + row) * LANES + lane;
            let a = values::<f32>(1, columns.div_ceil(LANES) * steps[0] * LANES);
            let b = values::<f32>(2, blocks * steps[1] * LANES);
            for (row, column) in [(0, 0), (rows - 1, blocks * LANES - 1)] {
                let sum: f64 = (0..terms)
                    .map(|k| {
                        let (line, col) = if transposed { (k, row) } else { (row, k) };
                        let a = a[at(col / LANES, line, col % LANES, steps[0])];
                        f64::from(a) * f64::from(b[at(column / LANES, k, column % LANES, steps[1])])
                    })
                    .sum();
                let i = at(column / LANES, row, column % LANES, steps[2]);
                let start = if add { f64::from(values::<f32>(3, i + 1)[i]) } else { 0.0 };
                assert_close(&fast[0][i..=i], &[start + sum], 1e-5, "element");
            }
        }
    }
}
