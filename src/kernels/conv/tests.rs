//! Convolutions against the reference file, against the defining loop, and against themselves on fewer threads.
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::kernels::finish::Finish;
use crate::kernels::testing::{assert_close, counts, numbers, reference, values};
use crate::rng::Key;

/// The defining loop, in double precision, with the three gradients of sum(dy * y): (y, dx, dw).
pub(super) fn naive(s: &Conv2dShape, x: &[f64], w: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let [p_len, q_len] = s.output();
    let (cg, og) = (s.in_channels / s.groups, s.out_channels / s.groups);
    let (mut y, mut dx, mut dw) = (vec![0.0; s.y_len()], vec![0.0; s.x_len()], vec![0.0; s.w_len()]);
    for n in 0..s.batch {
        for o in 0..s.out_channels {
            for p in 0..p_len {
                for q in 0..q_len {
                    let yi = ((n * s.out_channels + o) * p_len + p) * q_len + q;
                    for c in 0..cg {
                        for r in 0..s.kernel[0] {
                            for t in 0..s.kernel[1] {
                                let h = (p * s.stride[0] + r * s.dilation[0]).wrapping_sub(s.padding[0][0]);
                                let v = (q * s.stride[1] + t * s.dilation[1]).wrapping_sub(s.padding[1][0]);
                                if h >= s.input[0] || v >= s.input[1] {
                                    continue;
                                }
                                let channel = o / og * cg + c;
                                let xi = ((n * s.in_channels + channel) * s.input[0] + h) * s.input[1] + v;
                                let wi = ((o * cg + c) * s.kernel[0] + r) * s.kernel[1] + t;
                                y[yi] += x[xi] * w[wi];
                                dx[xi] += dy[yi] * w[wi];
                                dw[wi] += dy[yi] * x[xi];
                            }
                        }
                    }
                }
            }
        }
    }
    (y, dx, dw)
}

fn forward<F: Scalar>(plan: &Conv2d, x: &[F], w: &[F], finish: Finish<'_, F>) -> Vec<F> {
    let mut y = vec![F::NAN; plan.y_len()];
    plan.forward(x, w, finish, &mut y, &mut vec![F::NAN; plan.forward_scratch::<F>()]);
    y
}

fn input_grad<F: Scalar>(plan: &Conv2d, dy: &[F], w: &[F]) -> Vec<F> {
    let mut dx = vec![F::NAN; plan.shape().x_len()];
    plan.input_grad(dy, w, &mut dx, &mut vec![F::NAN; plan.input_grad_scratch::<F>()]);
    dx
}

fn weight_grad<F: Scalar>(plan: &Conv2d, x: &[F], dy: &[F]) -> Vec<F> {
    let mut dw = vec![F::NAN; plan.shape().w_len()];
    plan.weight_grad(x, dy, &mut dw, &mut vec![F::NAN; plan.weight_grad_scratch::<F>()]);
    dw
}

fn check_shape<F: Scalar>(s: Conv2dShape, tol: f64) {
    let (x, w, dy) = (values::<F>(1, s.x_len()), values::<F>(2, s.w_len()), values::<F>(3, s.y_len()));
    let b = values::<F>(4, s.out_channels);
    let wide = |v: &[F]| v.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
    let (mut y, dx, dw) = naive(&s, &wide(&x), &wide(&w), &wide(&dy));
    let cells = s.output()[0] * s.output()[1];
    for (i, y) in y.iter_mut().enumerate() {
        *y += b[i / cells % s.out_channels].to_f64();
    }
    let plan = Conv2d::new(s);
    let finish = Finish { bias: Some(&b[..]), relu: false };
    assert_close(&forward(&plan, &x, &w, finish), &y, tol, "y");
    // Finished on the way, to the bit as afterwards.
    let finish = Finish { relu: true, ..finish };
    let mut after = forward(&plan, &x, &w, Finish::NOTHING);
    finish.planes(0, cells, &mut after);
    assert!(forward(&plan, &x, &w, finish) == after, "{s:?}");
    assert_close(&input_grad(&plan, &dy, &w), &dx, tol, "dx");
    assert_close(&weight_grad(&plan, &x, &dy), &dw, tol, "dw");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn agrees_with_the_defining_loop(
        batch in 1usize..4, groups in 1usize..3, c in prop::sample::select(vec![1usize, 2, 3, 5, 9]), o in 1usize..9,
        input in prop::array::uniform2(1usize..12), kernel in prop::array::uniform2(1usize..5),
        stride in prop::array::uniform2(1usize..4), dilation in prop::array::uniform2(1usize..3),
        padding in prop::array::uniform2(prop::array::uniform2(0usize..4)),
    ) {
        let s = Conv2dShape {
            batch, in_channels: c * groups, out_channels: o * groups, input, kernel, stride, padding, dilation, groups,
        };
        prop_assume!(s.output().iter().all(|&n| n > 0));
        check_shape::<f64>(s, 1e-12);
        check_shape::<f32>(s, 2e-5);
    }
}

/// One case of the reference file, as (shape, x, w, b); one-dimensional ones get height 1.
fn case(case: &Value, transposed: bool) -> Conv2dShape {
    let two = |v: &Value, fill: usize| {
        let mut v = counts(v);
        if v.len() == 1 {
            v.insert(0, fill);
        }
        [v[0], v[1]]
    };
    let (attrs, inputs) = (&case["attrs"], &case["inputs"]);
    let shape = |name: &str| {
        let mut s = counts(&inputs[name]["shape"]);
        if s.len() == 3 {
            s.insert(2, 1);
        }
        s
    };
    let (x, w) = (shape("x"), shape("w"));
    let (stride, dilation) = (two(&attrs["stride"], 1), two(&attrs["dilation"], 1));
    let groups = attrs["groups"].as_u64().expect("a count") as usize;
    let kernel = [w[2], w[3]];
    if transposed {
        let (crop, extra) = (two(&attrs["padding"], 0), two(&attrs["output_padding"], 0));
        let input = std::array::from_fn(|a| {
            (x[2 + a] - 1) * stride[a] + dilation[a] * (kernel[a] - 1) + extra[a] + 1 - 2 * crop[a]
        });
        return Conv2dShape {
            batch: x[0],
            in_channels: w[1] * groups,
            out_channels: x[1],
            input,
            kernel,
            stride,
            // Rows beyond the last window stay zero: the output padding is not padded again.
            padding: crop.map(|c| [c, c]),
            dilation,
            groups,
        };
    }
    let input = [x[2], x[3]];
    let padding = match &attrs["padding"] {
        Value::String(s) if s == "valid" => [[0, 0]; 2],
        Value::String(_) => std::array::from_fn(|a| {
            let out = input[a].div_ceil(stride[a]);
            let total = ((out - 1) * stride[a] + dilation[a] * (kernel[a] - 1) + 1).saturating_sub(input[a]);
            [total / 2, total - total / 2]
        }),
        list => {
            let mut p: Vec<Vec<usize>> = list.as_array().expect("a list").iter().map(counts).collect();
            if p.len() == 1 {
                p.insert(0, vec![0, 0]);
            }
            [[p[0][0], p[0][1]], [p[1][0], p[1][1]]]
        }
    };
    Conv2dShape { batch: x[0], in_channels: x[1], out_channels: w[0], input, kernel, stride, padding, dilation, groups }
}

/// Height and width of a tensor of the reference file.
fn spatial(tensor: &Value) -> [usize; 2] {
    let s = counts(&tensor["shape"]);
    if s.len() == 3 { [1, s[2]] } else { [s[2], s[3]] }
}

fn check_reference<F: Scalar>(tol: f64) {
    let file = reference("nn_ops.json");
    let mut seen = 0;
    for c in file["cases"].as_array().expect("a list of cases") {
        let op = c["op"].as_str().expect("a name");
        let transposed = op.starts_with("conv_transpose");
        if !transposed && op != "conv1d" && op != "conv2d" {
            continue;
        }
        seen += 1;
        let data = |v: &Value| numbers(&v["data"]).into_iter().map(F::from_f64).collect::<Vec<_>>();
        let want = |v: &Value| numbers(&v["data"]);
        let (x, w, g) = (data(&c["inputs"]["x"]), data(&c["inputs"]["w"]), data(&c["grad_output"]));
        let b = c["inputs"].get("b").map(data);
        let shape = case(c, transposed);
        let output = if transposed { spatial(&c["inputs"]["x"]) } else { shape.output() };
        let plan = Conv2d::with_output(shape, output);
        let what = format!("{op} {}", c["attrs"]);
        if transposed {
            let mut y = input_grad(&plan, &x, &w);
            if let Some(b) = &b {
                let cells = y.len() / plan.shape().batch / b.len();
                for (i, y) in y.iter_mut().enumerate() {
                    *y += b[i / cells % b.len()];
                }
            }
            assert_close(&y, &want(&c["output"]), tol, &what);
            assert_close(&forward(&plan, &g, &w, Finish::NOTHING), &want(&c["grads"]["x"]), tol, &what);
            assert_close(&weight_grad(&plan, &g, &x), &want(&c["grads"]["w"]), tol, &what);
        } else {
            assert_close(
                &forward(&plan, &x, &w, Finish { bias: b.as_deref(), relu: false }),
                &want(&c["output"]),
                tol,
                &what,
            );
            assert_close(&input_grad(&plan, &g, &w), &want(&c["grads"]["x"]), tol, &what);
            assert_close(&weight_grad(&plan, &x, &g), &want(&c["grads"]["w"]), tol, &what);
        }
    }
    assert_eq!(seen, 31, "all convolutions of the reference file");
}

#[test]
fn reference_convolutions() {
    check_reference::<f64>(1e-12);
    check_reference::<f32>(1e-5);
}

/// The shapes of a small image network, larger than the packed blocks.
#[test]
fn network_shapes_agree_with_the_defining_loop() {
    let base = Conv2dShape {
        batch: 5,
        in_channels: 8,
        out_channels: 20,
        input: [28, 28],
        kernel: [5, 5],
        stride: [1, 1],
        padding: [[2, 2], [2, 2]],
        dilation: [1, 1],
        groups: 1,
    };
    check_shape::<f64>(base, 1e-12);
    check_shape::<f32>(base, 5e-5);
    let depthwise = Conv2dShape { in_channels: 20, groups: 20, out_channels: 40, ..base };
    for stride in [1, 2, 3] {
        let shape = Conv2dShape { stride: [stride, stride], input: [29, 41], ..depthwise };
        check_shape::<f64>(shape, 1e-12);
        check_shape::<f32>(shape, 5e-5);
    }
    check_shape::<f64>(
        Conv2dShape { in_channels: 16, out_channels: 80, input: [9, 11], stride: [2, 2], ..base },
        1e-12,
    );
}

#[test]
fn threads_do_not_change_a_bit() {
    let plan = Conv2d::new(Conv2dShape {
        batch: 19,
        in_channels: 4,
        out_channels: 12,
        input: [13, 13],
        kernel: [3, 3],
        stride: [1, 1],
        padding: [[1, 1], [1, 1]],
        dilation: [1, 1],
        groups: 2,
    });
    let s = plan.shape();
    let (x, w, dy) = (values::<f32>(1, s.x_len()), values::<f32>(2, s.w_len()), values::<f32>(3, s.y_len()));
    let own = plan.clone().for_rows(rows::RowLaw::Signs);
    // The scratch bounds the number of tasks: as much as for one thread, and as much as there is to use.
    let run = |tasks: usize| {
        let (mut y, mut dx, mut dw) = (vec![0.0; s.y_len()], vec![0.0; s.x_len()], vec![0.0; s.w_len()]);
        let packed = s.groups * plan.forward_packed::<f32>();
        plan.forward(&x, &w, Finish::NOTHING, &mut y, &mut vec![0.0; packed + tasks * plan.forward_task::<f32>()]);
        let packed = s.groups * plan.input_packed::<f32>();
        plan.input_grad(&dy, &w, &mut dx, &mut vec![0.0; packed + tasks * plan.input_grad_task::<f32>()]);
        let sums = plan.weight_parts() * s.w_len();
        plan.weight_grad(&x, &dy, &mut dw, &mut vec![0.0; sums + tasks * plan.weight_grad_task::<f32>()]);
        // The same with weights that differ from image to image, and with variances.
        let law = rows::RowLaw::Signs;
        let multipliers = rows::Multipliers { shape: own.shape(), law, key: Key::new(1) };
        let weights = rows::RowWeights { multipliers, loc: &w, spread: &w };
        let (mut own_y, mut own_dx, mut own_dw) = (y.clone(), dx.clone(), vec![0.0; 2 * s.w_len()]);
        // The scratch for all threads, less that of the tasks that are not to run.
        let count = threads::count();
        let less = |all: usize, shared: usize| vec![f32::NAN; shared + (all - shared) / count * tasks.min(count)];
        let shared = 2 * s.groups * own.forward_packed::<f32>();
        own.forward_rows(&x, &weights, &mut own_y, &mut less(own.forward_rows_scratch::<f32>(law), shared));
        let shared = 2 * s.groups * own.input_packed::<f32>();
        own.input_grad_rows(&dy, &weights, &mut own_dx, &mut less(own.input_grad_rows_scratch::<f32>(law), shared));
        let shared = 2 * s.w_len() * threads::parts(s.batch, 2 * s.w_len());
        let all = own.weight_grad_rows_scratch::<f32>(&multipliers);
        own.weight_grad_rows(&x, &dy, &multipliers, &mut own_dw, &mut less(all, shared));
        let (mut mean, mut variance) = (y.clone(), y.clone());
        let finish = |start: usize, mean: &mut [f32], _: &mut [f32]| mean[0] += start as f32;
        let packed = 2 * s.groups * plan.forward_packed::<f32>();
        let mut scratch = vec![f32::NAN; packed + tasks * plan.forward_task::<f32>()];
        plan.forward_moments(&x, &w, &w, &mut mean, &mut variance, finish, &mut scratch);
        [y, dx, dw, own_y, own_dx, own_dw, mean, variance]
    };
    assert!(own.tasks() == threads::count().min(s.batch), "large enough for threads");
    assert!(run(1).iter().flatten().all(|x| x.is_finite()));
    assert!(plan.tasks() == threads::count().min(s.batch.div_ceil(plan.together)), "large enough for threads");
    assert_eq!(run(1), run(threads::count().max(2)));
}
