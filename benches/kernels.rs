//! Speed of the kernels: matrix products, convolutions in both directions, elementwise maps, random numbers.
//!
//! `cargo bench --bench kernels -- conv`; set `RAYON_NUM_THREADS=1` to compare with single-threaded figures.
use std::hint::black_box;

use bayesc::kernels::Scalar;
use bayesc::kernels::conv::{Conv2d, Conv2dShape};
use bayesc::kernels::elementwise::{Binary, Operand, Unary, binary, unary};
use bayesc::kernels::finish::Finish;
use bayesc::kernels::gemm::{Matrix, gemm, gemm_scratch};
use bayesc::kernels::pool::{Pool2dShape, max_pool2d, max_pool2d_grad};
use bayesc::kernels::reduce::{Reduce, reduce};
use bayesc::rng::{Key, fill_normal};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn values<F: Scalar>(seed: u64, n: usize) -> Vec<F> {
    let mut out = vec![F::ZERO; n];
    fill_normal(Key::new(seed), 0, &mut out);
    out
}

/// Throughput is counted in multiply-adds times two, so that "elements" per second are FLOP/s.
fn products<F: Scalar>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("gemm {}", F::NAME));
    for (m, n, k) in [(64, 64, 64), (256, 256, 256), (1, 1024, 1024)] {
        let (a, b) = (values::<F>(1, m * k), values::<F>(2, k * n));
        let mut out = vec![F::ZERO; m * n];
        let mut scratch = vec![F::ZERO; gemm_scratch::<F>(m, n, k)];
        group.throughput(Throughput::Elements(2 * (m * n * k) as u64));
        group.bench_function(format!("{m}x{n}x{k}"), |bench| {
            bench.iter(|| {
                let (a, b) = (Matrix::row_major(black_box(&a), k), Matrix::row_major(&b, n));
                gemm(m, n, k, a, b, &mut out, n, &mut scratch);
            });
        });
    }
    group.finish();
}

/// Batch, channels, side, output channels, kernel side, stride, groups; padded by half the kernel.
const CONVOLUTIONS: [[usize; 7]; 11] = [
    [128, 1, 28, 32, 5, 1, 1],
    [128, 32, 14, 64, 5, 1, 1],
    [32, 64, 56, 64, 3, 1, 1],
    [32, 128, 28, 128, 3, 1, 1],
    [16, 3, 224, 64, 7, 2, 1],
    [64, 16, 8, 32, 3, 1, 1],
    // 1 x 1: nothing but a product.
    [32, 128, 28, 128, 1, 1, 1],
    [32, 256, 14, 64, 1, 1, 1],
    // Strides.
    [32, 64, 56, 128, 3, 2, 1],
    // Depthwise, and groups of several channels.
    [32, 64, 28, 64, 3, 1, 64],
    [32, 64, 28, 64, 3, 1, 8],
];

fn convolutions<F: Scalar>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("conv {}", F::NAME));
    group.sample_size(20);
    for [batch, in_channels, side, out_channels, kernel, stride, groups] in CONVOLUTIONS {
        let shape = Conv2dShape {
            batch,
            in_channels,
            out_channels,
            input: [side, side],
            kernel: [kernel, kernel],
            stride: [stride, stride],
            padding: [[kernel / 2; 2]; 2],
            dilation: [1, 1],
            groups,
        };
        let plan = Conv2d::new(shape);
        let (x, w, dy) = (values::<F>(1, shape.x_len()), values::<F>(2, shape.w_len()), values::<F>(3, plan.y_len()));
        let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
        let mut name = format!("{batch}x{in_channels}x{side}x{side} to {out_channels}, {kernel}x{kernel}");
        if stride > 1 {
            name += &format!(", stride {stride}");
        }
        if groups > 1 {
            name += &format!(", {groups} groups");
        }
        let taps = in_channels / groups * kernel * kernel;
        group.throughput(Throughput::Elements(2 * (plan.y_len() * taps) as u64));
        let mut scratch = vec![F::ZERO; plan.forward_scratch::<F>()];
        group.bench_function(format!("{name} forward"), |bench| {
            bench.iter(|| plan.forward(black_box(&x), &w, Finish::NOTHING, &mut y, &mut scratch));
        });
        let mut scratch = vec![F::ZERO; plan.input_grad_scratch::<F>()];
        group.bench_function(format!("{name} input gradient"), |bench| {
            bench.iter(|| plan.input_grad(black_box(&dy), &w, &mut dx, &mut scratch));
        });
        let mut scratch = vec![F::ZERO; plan.weight_grad_scratch::<F>()];
        group.bench_function(format!("{name} weight gradient"), |bench| {
            bench.iter(|| plan.weight_grad(black_box(&x), &dy, &mut dw, &mut scratch));
        });
    }
    group.finish();
}

fn maps<F: Scalar>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("map {}", F::NAME));
    let n = 4096;
    let x = values::<F>(1, n);
    let mut y = x.clone();
    group.throughput(Throughput::Elements(n as u64));
    for op in [Unary::Exp, Unary::Log, Unary::Tanh, Unary::Sigmoid, Unary::Softplus, Unary::Erf, Unary::Lgamma] {
        group.bench_function(format!("{op:?}"), |bench| bench.iter(|| unary(op, black_box(&x), &mut y)));
    }
    let operand = Operand { data: &x[..], strides: &[1] };
    group.bench_function("Add", |bench| bench.iter(|| binary(Binary::Add, &[n], black_box(operand), operand, &mut y)));
    group.bench_function("normal draws", |bench| bench.iter(|| fill_normal(black_box(Key::new(1)), 0, &mut y)));
    for (name, outer, axis, inner) in [("rows", 64, 64, 1), ("columns", 1, 64, 64)] {
        for op in [Reduce::Sum, Reduce::Max, Reduce::LogSumExp] {
            group.bench_function(format!("{op:?} of {name}"), |bench| {
                bench.iter(|| reduce(op, outer, axis, inner, black_box(&x), &mut y[..64]));
            });
        }
    }
    group.finish();
}

fn pools(c: &mut Criterion) {
    let shape = Pool2dShape {
        planes: 128 * 32,
        input: [28, 28],
        window: [2, 2],
        stride: [2, 2],
        padding: [[0, 0]; 2],
        dilation: [1, 1],
    };
    let x = values::<f32>(1, shape.x_len());
    let (mut y, mut dx) = (vec![0.0; shape.y_len()], x.clone());
    let mut group = c.benchmark_group("pool f32");
    group.throughput(Throughput::Elements(shape.x_len() as u64));
    group.bench_function("max 2x2", |bench| bench.iter(|| max_pool2d(&shape, black_box(&x), Finish::NOTHING, &mut y)));
    group
        .bench_function("max 2x2 gradient", |bench| bench.iter(|| max_pool2d_grad(&shape, black_box(&x), &y, &mut dx)));
    group.finish();
}

criterion_group!(
    benches,
    products::<f32>,
    products::<f64>,
    convolutions::<f32>,
    convolutions::<f64>,
    maps::<f32>,
    maps::<f64>,
    pools
);
criterion_main!(benches);
