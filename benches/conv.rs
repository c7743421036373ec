//! GFLOP/s of convolutions as JSON lines, in the form of `peers/conv_torch.py`, which `peers/run` sets beside it.
//!
//! `cargo bench --bench conv`; `RAYON_NUM_THREADS=1` for one thread. A forward pass counts a multiplication and an
//! addition for each term of each sum; forward and both gradients three times that.
use std::hint::black_box;
use std::time::Instant;

use bayesc::kernels::conv::{Conv2d, Conv2dShape, Method};
use bayesc::kernels::finish::Finish;
use bayesc::kernels::threads;
use bayesc::rng::{Key, fill_normal};

/// N, C, H, W, O, kernel, stride, padding.
const SHAPES: [[usize; 8]; 6] = [
    [128, 1, 28, 28, 32, 5, 1, 2],
    [128, 32, 14, 14, 64, 5, 1, 2],
    [32, 64, 56, 56, 64, 3, 1, 1],
    [32, 128, 28, 28, 128, 3, 1, 1],
    [16, 3, 224, 224, 64, 7, 2, 3],
    [64, 16, 8, 8, 32, 3, 1, 1],
];
/// Seconds for each line.
const BUDGET: f64 = 1.6;
/// Calls for each line, at most.
const CALLS: usize = 400;

fn values(seed: u64, n: usize) -> Vec<f32> {
    let mut out = vec![0.0; n];
    fill_normal(Key::new(seed), 0, &mut out);
    out
}

/// Median and best seconds of a call.
fn time(mut call: impl FnMut()) -> (f64, f64) {
    call();
    let mut times = Vec::new();
    let began = Instant::now();
    while times.len() < 3 || began.elapsed().as_secs_f64() < BUDGET && times.len() < CALLS {
        let start = Instant::now();
        call();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[0])
}

fn main() {
    let methods = [(Method::Auto, "auto"), (Method::Direct, "direct")];
    for (shape, (method, name)) in SHAPES.into_iter().flat_map(|shape| methods.map(|method| (shape, method))) {
        let [batch, in_channels, height, width, out_channels, kernel, stride, padding] = shape;
        let plan = Conv2d::new(Conv2dShape {
            batch,
            in_channels,
            out_channels,
            input: [height, width],
            kernel: [kernel, kernel],
            stride: [stride, stride],
            padding: [[padding; 2]; 2],
            dilation: [1, 1],
            groups: 1,
        })
        .with_method(method);
        let x = values(1, batch * in_channels * height * width);
        let w = values(2, out_channels * in_channels * kernel * kernel);
        let dy = values(3, plan.y_len());
        let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
        let scratch =
            plan.forward_scratch::<f32>().max(plan.input_grad_scratch::<f32>()).max(plan.weight_grad_scratch::<f32>());
        let mut scratch = vec![0.0; scratch];
        let flops = 2.0 * (plan.y_len() * in_channels * kernel * kernel) as f64;
        let forward = time(|| plan.forward(black_box(&x), &w, Finish::NOTHING, &mut y, &mut scratch));
        let all = time(|| {
            plan.forward(black_box(&x), &w, Finish::NOTHING, &mut y, &mut scratch);
            plan.input_grad(black_box(&dy), &w, &mut dx, &mut scratch);
            plan.weight_grad(black_box(&x), &dy, &mut dw, &mut scratch);
        });
        for (direction, flops, (median, best)) in [("fwd", flops, forward), ("fwd+bwd", 3.0 * flops, all)] {
            let line = serde_json::json!({
                "kind": "conv", "peer": "bayesc", "method": name, "dir": direction, "shape": shape, "threads": threads::count(),
                "ms": 1e3 * median, "min_ms": 1e3 * best,
                "gflops": flops / median / 1e9, "best_gflops": flops / best / 1e9,
            });
            println!("{line}");
        }
    }
}
