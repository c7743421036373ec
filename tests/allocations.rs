//! A run of a planned graph allocates nothing.

use bayesc::autodiff::gradient;
use bayesc::data::Files;
use bayesc::driver::{self, Options};
use bayesc::exec::Executable;
use bayesc::index::Idx;
use bayesc::infer::ahead::Ahead;
use bayesc::infer::data::Store;
use bayesc::infer::density::{self, Density, Space};
use bayesc::ir::{Builder, DType, InputId, InputKind, Shape};
use bayesc::kernels::threads::set_threads;
use bayesc::lower::rows::Prepared;
use bayesc::ops::{ConvAttrs, NoiseKind, Op, PoolAttrs, RowLaw, RowNoise};
use bayesc::rng::Key;
use bayesc::session;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, counting.
struct Counting;

/// One test at a time: the count is the process's.
static ALONE: Mutex<()> = Mutex::new(());
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    /// Whether allocations of this thread count: those of the harness, which reports other tests meanwhile, do not.
    static COUNTS: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTS.try_with(Cell::get).unwrap_or(false) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_training_step_allocates_nothing() {
    let _alone = ALONE.lock().expect("no test panics while it counts");
    COUNTS.set(true);
    // Handing work to other threads allocates a job for each; the loops themselves do not.
    set_threads(1);
    let mut g = Builder::new();
    let images = g.input("images", Shape::from([16, 1, 8, 8]), DType::Real, InputKind::Batch);
    let labels = g.input("labels", Shape::from([16]), DType::Int, InputKind::Batch);
    let loc = g.input("loc", Shape::from([4, 1, 3, 3]), DType::Real, InputKind::Param);
    let scale = g.input("scale", Shape::from([4, 1, 3, 3]), DType::Real, InputKind::Param);
    let dense = g.input("dense", Shape::from([64, 10]), DType::Real, InputKind::Param);
    let noise = g.noise(NoiseKind::Normal, Shape::from([4, 1, 3, 3]));
    let spread = g.softplus(scale);
    let spread = g.mul(spread, noise);
    let kernel = g.add(loc, spread);
    let y = g.conv2d(images, kernel, ConvAttrs { stride: [1, 1], pad: [[1, 1]; 2], dilation: [1, 1], groups: 1 });
    let y = g.relu(y);
    let y = g.max_pool2d(y, PoolAttrs { window: [2, 2], stride: [2, 2], pad: [[0, 0]; 2], count_pad: false });
    let y = g.reshape(y, [16, 64]);
    let logits = g.matmul(y, false, dense, false);
    let log_probs = g.log_softmax(logits);
    let picked = g.pick(log_probs, labels);
    let elbo = g.sum_all(picked);
    let grads = gradient(&mut g, elbo, &[loc, scale, dense]).expect("all operations have gradients");
    g.output("elbo", elbo);
    for grad in grads {
        g.output("gradient", grad);
    }
    let mut executable = Executable::<f32>::compile(&g.finish());
    let images: Vec<f32> = (0..16 * 64).map(|i| (i % 17) as f32 / 17.0).collect();
    let labels: Vec<f32> = (0..16).map(|i| (i % 10) as f32).collect();
    let params: [Vec<f32>; 3] = [vec![0.1; 36], vec![-1.0; 36], (0..640).map(|i| (i % 7) as f32 / 70.0).collect()];
    let inputs: Vec<(InputId, &[f32])> = [&images, &labels, &params[0], &params[1], &params[2]]
        .into_iter()
        .enumerate()
        .map(|(i, data)| (InputId::new(i), data.as_slice()))
        .collect();
    executable.run(&inputs, Key::new(0));
    let first = executable.output(0)[0];
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for step in 1..5 {
        executable.run(&inputs, Key::new(0).fold_in(step));
    }
    executable.run(&inputs, Key::new(0));
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "allocations while running");
    assert!(first.is_finite());
    assert_eq!(executable.output(0)[0].to_bits(), first.to_bits(), "the same key gives the same bits");
}

/// Layers whose noise is drawn inside: per-image weights, flipped rows, drawn outputs, each with its derivatives.
#[test]
fn random_layers_allocate_nothing() {
    let _alone = ALONE.lock().expect("no test panics while it counts");
    COUNTS.set(true);
    set_threads(1);
    let mut g = Builder::new();
    let real = |g: &mut Builder, name: &str, shape: Shape| g.input(name, shape, DType::Real, InputKind::Param);
    let attrs = ConvAttrs { stride: [1, 1], pad: [[1, 1]; 2], dilation: [1, 1], groups: 1 };
    let images = real(&mut g, "images", Shape::from([4, 2, 6, 6]));
    let [loc, spread] = ["loc", "spread"].map(|name| real(&mut g, name, Shape::from([3, 2, 3, 3])));
    let rows = real(&mut g, "rows", Shape::from([9, 20]));
    let [w_loc, w_spread] = ["w_loc", "w_spread"].map(|name| real(&mut g, name, Shape::from([20, 30])));
    let inputs = [images, loc, spread, rows, w_loc, w_spread];
    let noise = |kind| RowNoise { kind, stream: 1 };
    let results = [
        g.push(Op::RowConv2d { attrs, noise: noise(RowLaw::Signs) }, &[images, loc, spread]),
        g.push(Op::RowConv2d { attrs, noise: noise(RowLaw::Normal) }, &[images, loc, spread]),
        g.push(Op::LocalReparamConv2d { attrs, stream: 2 }, &[images, loc, spread]),
        g.push(Op::FlipoutDense { stream: 3, adjoint: false }, &[rows, w_loc, w_spread]),
        g.push(Op::LocalReparamDense { stream: 4 }, &[rows, w_loc, w_spread]),
    ];
    let terms = results.map(|y| {
        let y = g.square(y);
        g.sum_all(y)
    });
    let total = g.add_all(&terms);
    let grads = gradient(&mut g, total, &inputs).expect("all operations have gradients");
    g.output("total", total);
    for grad in grads {
        g.output("gradient", grad);
    }
    let mut executable = Executable::<f32>::compile(&g.finish());
    let data: Vec<Vec<f32>> =
        [288, 54, 54, 180, 600, 600].map(|n| (0..n).map(|i| (i % 7 + 1) as f32 / 7.0).collect()).into();
    let inputs: Vec<(InputId, &[f32])> =
        data.iter().enumerate().map(|(i, data)| (InputId::new(i), data.as_slice())).collect();
    executable.run(&inputs, Key::new(0));
    let first = executable.output(0)[0];
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for step in 1..5 {
        executable.run(&inputs, Key::new(0).fold_in(step));
    }
    executable.run(&inputs, Key::new(0));
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "allocations while running");
    assert!(first.is_finite());
    assert_eq!(executable.output(0)[0].to_bits(), first.to_bits(), "the same key gives the same bits");
}

/// The thread that reads rows ahead and the one that takes them, once both have what they need.
#[test]
fn batches_read_ahead_allocate_nothing() {
    let _alone = ALONE.lock().expect("no test panics while it counts");
    COUNTS.set(true);
    set_threads(1);
    let text = "data x: real[N, D] = reshape(range(512), [64, 8])\ndata y: real[N] = range(64)\nmodel {\n  \
                b: real[D] ~ Normal(0, 1)\n  y ~ Normal(x @ b, 1)\n}\ninfer svi {\n  minibatch N = 8\n}\n";
    let c = driver::compile_text(text, &Options::default());
    let bound = session::bind(&c, &mut Files::new(), &[]).expect("the program is right");
    let size = bound.program.sizes.iter_enumerated().find(|(_, s)| s.name == "N").expect("a size").0;
    let prepared = Prepared::new(&bound.program, size);
    let store = Store::<f32>::new(&bound.program, &bound.data, Some(&prepared));
    let units: Vec<_> = prepared.exprs.iter().map(|&e| (e, [1, 8][bound.program.ty(e).shape.len() - 1])).collect();
    assert_eq!(units.len(), 2, "x and y");
    let mut step = 0;
    let next = move |rows: &mut Vec<usize>| {
        // This is the other thread.
        COUNTS.set(true);
        rows.clear();
        rows.extend((0..8).map(|i| (step * 5 + i * 7) % 64));
        step += 1;
        step <= 40
    };
    std::thread::scope(|scope| {
        let mut ahead = Ahead::begin(scope, &bound.program, store.fork(), units, next);
        let mut taken = 0;
        let mut check = |batch: &[Vec<f32>]| {
            for i in 0..8 {
                let row = (taken * 5 + i * 7) % 64;
                assert_eq!((batch[0][i * 8 + 3], batch[1][i]), ((row * 8 + 3) as f32, row as f32));
            }
            taken += 1;
        };
        (0..10).for_each(|_| assert!(ahead.take(&mut check)));
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..30).for_each(|_| assert!(ahead.take(&mut check)));
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "allocations while reading ahead");
        assert!(!ahead.take(|_| {}), "there are forty steps");
    });
}

#[test]
fn a_leapfrog_step_allocates_nothing() {
    let _alone = ALONE.lock().expect("no test panics while it counts");
    COUNTS.set(true);
    set_threads(1);
    let text = "data y: real[J] = [28.0, 8.0, -3.0]\ndata se: real[J] = [15.0, 10.0, 16.0]\nmodel {\n  mu ~ Normal(0, 5)\n  \
                tau ~ HalfCauchy(5)\n  p ~ Dirichlet(fill([4], 2.0))\n  theta: real[J] ~ Normal(mu, tau + p[0])\n  \
                y ~ Normal(theta, se)\n}\n";
    let c = driver::compile_text(text, &Options::default());
    let bound = session::bind(&c, &mut Files::new(), &[]).expect("the program is right");
    let graph = density::build(&bound.program, &bound.data, &Space::Unconstrained(Vec::new())).expect("a gradient");
    let mut density = Density::new(&graph, &bound.program, &bound.data);
    let u = vec![0.3; density.dim()];
    let mut gradient = vec![0.0; density.dim()];
    let first = density.evaluate(&u, &mut gradient);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..5 {
        assert_eq!(density.evaluate(&u, &mut gradient).to_bits(), first.to_bits());
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "allocations while evaluating");
    assert!(first.is_finite() && gradient.iter().all(|g| g.is_finite()));
}

/// Counts what is allocated from the end of one step to the end of the next.
struct Between {
    last: Option<usize>,
    steps: usize,
    most: usize,
}
impl session::Observer for Between {
    fn note(&mut self, _: &str) {}
    fn status(&mut self, _: &session::Status) -> std::ops::ControlFlow<()> {
        let now = ALLOCATIONS.load(Ordering::Relaxed);
        // The first steps make what grows with use.
        if let Some(last) = self.last.filter(|_| self.steps > 2) {
            self.most = self.most.max(now - last);
        }
        self.steps += 1;
        self.last = Some(ALLOCATIONS.load(Ordering::Relaxed));
        std::ops::ControlFlow::Continue(())
    }
    fn sampling(&mut self, _: &session::Sampling<'_>) -> std::ops::ControlFlow<()> {
        std::ops::ControlFlow::Continue(())
    }
    fn clock(&mut self) -> f64 {
        0.0
    }
}

/// Whole steps of svi, with every objective, estimator and rule.
#[test]
fn steps_of_svi_allocate_nothing() {
    let _alone = ALONE.lock().expect("no test panics while it counts");
    COUNTS.set(true);
    set_threads(1);
    let model = "data y: real[N] = [1.3, 0.2, 2.1, 0.9]\nmodel {\n  mu ~ Normal(0, 2)\n  s ~ HalfNormal(1)\n  y ~ Normal(mu, s)\n}\n";
    for (guide, infer) in [
        ("mean_field", "optimizer = adam(1e-2), particles = 2"),
        ("mean_field", "elbo = iwae(4), average = 0.5"),
        ("full_rank", "elbo = renyi(0.5, 4), rate mu = 1e-3"),
        ("full_rank", "elbo = tail_adaptive(4)"),
        ("mean_field", "estimator = score"),
        ("mean_field", "antithetic = true, stop = plateau(window = 20)"),
        ("mean_field", "optimizer = ivon(0.1)"),
        ("full_rank", "optimizer = natural(0.1), clip = 10"),
    ] {
        let text = format!("{model}guide {guide}\ninfer svi {{ steps = 60, {infer} }}\n");
        let c = driver::compile_text(&text, &Options::default());
        let bound = session::bind(&c, &mut Files::new(), &[]).expect("the program is right");
        let mut between = Between { last: None, steps: 0, most: 0 };
        session::run(&bound, &session::RunOptions::default(), &mut between).expect("it runs");
        assert_eq!((between.steps, between.most), (60, 0), "{guide} {infer}");
    }
}
