//! Random graphs, fused and step by step: values, gradients, sums over all kinds of axes, products with vectors.

use super::plan::{Options, Plan, Step};
use super::run::Executable;
use super::tile::{Code, Instr};
use crate::autodiff::gradient;
use crate::index::Idx;
use crate::ir::{Builder, DType, Graph, InputId, InputKind, Shape, ValueId, passes};
use crate::kernels::testing::values;
use crate::kernels::{Scalar, threads};
use crate::ops::NoiseKind;
use crate::rng::Key;
use proptest::prelude::*;

/// Numbers that decide; they run out into zeros.
struct Tape<'t>(std::slice::Iter<'t, u16>);

impl Tape<'_> {
    fn below(&mut self, n: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % n
    }
}

/// A graph of maps, broadcasts, views, noise, sums and products, with the gradient of a sum of it all.
fn random(choices: &[u16]) -> Graph {
    let mut tape = Tape(choices.iter());
    let mut g = Builder::new();
    let rows = [40, 1, 700, 3_000][tape.below(4)];
    let columns = [5, 1, 12, 33][tape.below(4)];
    let kinds = [InputKind::Param, InputKind::Data];
    let mut all: Vec<ValueId> = [vec![rows, columns], vec![rows], vec![columns], vec![], vec![rows, columns]]
        .into_iter()
        .enumerate()
        .map(|(i, shape)| g.input(format!("x{i}"), shape.into(), DType::Real, kinds[i / 4]))
        .collect();
    let params = all[..4].to_vec();
    let mut shown = Vec::new();
    for _ in 0..3 + tape.below(20) {
        let x = all[all.len() - 1 - tape.below(all.len())];
        let shape = g.shape(x);
        let y = match tape.below(13) {
            0 => g.tanh(x),
            1 => g.softplus(x),
            2 => g.neg(x),
            3 => g.square(x),
            4 | 5 => {
                // Shapes that broadcast, or a number.
                let fits = |g: &Builder, v: ValueId| g.shape(v).broadcast(&shape).is_some_and(|s| s.rank() <= 2);
                let others: Vec<ValueId> = all.iter().copied().filter(|&v| fits(&g, v)).collect();
                let other = others[tape.below(others.len())];
                if tape.below(2) == 0 { g.add(x, other) } else { g.mul(x, other) }
            }
            6 => {
                let kind = [NoiseKind::Normal, NoiseKind::Uniform, NoiseKind::Sign][tape.below(3)];
                let noise = g.noise(kind, shape.clone());
                g.mul(x, noise)
            }
            7 => {
                let axes: Vec<usize> = (0..shape.rank()).filter(|_| tape.below(2) == 0).collect();
                g.sum(x, &axes)
            }
            8 if shape.rank() == 2 => {
                let sum = g.sum(x, &[1]);
                g.expand_dim(sum, 1)
            }
            8 if shape.rank() == 1 => g.expand_dim(x, 1),
            9 if shape.rank() == 2 => g.matrix_transpose(x),
            // A matrix with a vector that fits, from either side, stored either way.
            10 | 11 => {
                let matrices: Vec<ValueId> = all.iter().copied().filter(|&v| g.rank(v) == 2).collect();
                let matrix = matrices[tape.below(matrices.len())];
                let transposed = tape.below(2) == 1;
                let terms = g.shape(matrix)[usize::from(!transposed)];
                if shape.count() == terms {
                    let y = if tape.below(2) == 0 {
                        let x = g.reshape(x, [terms, 1]);
                        g.matmul(matrix, transposed, x, false)
                    } else {
                        let x = g.reshape(x, [1, terms]);
                        g.matmul(x, false, matrix, !transposed)
                    };
                    let n = g.shape(y).count();
                    g.reshape(y, [n])
                } else {
                    g.reshape(x, [shape.count()])
                }
            }
            _ => {
                let zero = g.scalar(0.0);
                let positive = g.gt(x, zero);
                let half = g.mul_scalar(x, 0.5);
                g.select(positive, x, half)
            }
        };
        let scale = 1.0 / (1.0 + g.shape(x).count() as f64 / g.shape(y).count() as f64).sqrt();
        let y = g.mul_scalar(y, scale);
        let y = g.tanh(y);
        if tape.below(4) == 0 {
            shown.push(y);
        }
        all.push(y);
    }
    let sums: Vec<ValueId> = all.iter().map(|&v| g.sum_all(v)).collect();
    let total = g.add_all(&sums);
    g.output("total", total);
    for (i, y) in shown.into_iter().enumerate() {
        g.output(format!("y{i}"), y);
    }
    let gradients = gradient(&mut g, total, &params).expect("all of these have gradients");
    for (i, d) in gradients.into_iter().enumerate() {
        g.output(format!("d{i}"), d);
    }
    g.finish()
}

pub(super) fn outputs<F: Scalar>(graph: &Graph, options: Options) -> Vec<Vec<F>> {
    let mut executable = Executable::<F>::plan(graph.clone(), options);
    for (i, input) in graph.inputs.iter_enumerated() {
        let x: Vec<F> = values::<f64>(7 + i.index() as u64, input.shape.count()).into_iter().map(F::from_f64).collect();
        executable.set_data(i, &x);
    }
    // Twice: what a first run leaves behind must not matter.
    executable.run(&[], Key::new(3));
    executable.run(&[], Key::new(5));
    (0..graph.outputs.len()).map(|i| executable.output(i).to_vec()).collect()
}

pub(super) fn compare<F: Scalar>(graph: &Graph, tolerance: f64) {
    let _alone = threads::alone();
    let plain = outputs::<F>(graph, Options::default().flat());
    threads::set_threads(2);
    let fused = outputs::<F>(graph, Options::default());
    threads::set_threads(1);
    let alone = outputs::<F>(graph, Options::default());
    threads::set_threads(0);
    assert!(fused == alone, "the number of threads changes nothing");
    let bytes = Executable::<F>::plan(graph.clone(), Options::default()).memory_bytes();
    for share in [2, 6, 9] {
        let room = Some(bytes * share / 10);
        let again = outputs::<F>(graph, Options { room, ..Options::default() });
        assert!(fused == again, "computing values again changes nothing");
    }
    for ((found, expected), (name, _)) in fused.iter().zip(&plain).zip(&graph.outputs) {
        let size = expected.iter().fold(1.0f64, |m, x| m.max(x.to_f64().abs()));
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let error = (found.to_f64() - expected.to_f64()).abs();
            assert!(error <= tolerance * size, "{} {name}[{i}]: {found} instead of {expected}", F::NAME);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn fused_graphs_compute_the_same(choices in prop::collection::vec(any::<u16>(), 0..140)) {
        let graph = passes::run(random(&choices));
        compare::<f64>(&graph, 1e-10);
        compare::<f32>(&graph, 2e-4);
    }
}

/// A regression with its gradient; `x` is stored by rows or by columns, the product written from either side.
fn regression(rows: usize, columns: usize, by_columns: bool, left: bool) -> Graph {
    let mut g = Builder::new();
    let shape: [usize; 2] = if by_columns { [columns, rows] } else { [rows, columns] };
    let x = g.input("x", shape.into(), DType::Real, InputKind::Data);
    let y = g.input("y", Shape::from([rows]), DType::Real, InputKind::Data);
    let a = g.input("a", Shape::from([]), DType::Real, InputKind::Param);
    let loc = g.input("loc", Shape::from([columns]), DType::Real, InputKind::Param);
    let noise = g.noise(NoiseKind::Normal, Shape::from([columns]));
    let b = g.add(loc, noise);
    let eta = if left {
        let b = g.reshape(b, [1, columns]);
        g.matmul(b, false, x, !by_columns)
    } else {
        let b = g.reshape(b, [columns, 1]);
        g.matmul(x, by_columns, b, false)
    };
    let eta = g.reshape(eta, [rows]);
    let eta = g.add(eta, a);
    let negative = g.neg(eta);
    let chosen = g.select(y, eta, negative);
    let log = g.log_sigmoid(chosen);
    let sum = g.sum_all(log);
    let square = g.square(b);
    let penalty = g.sum_all(square);
    let total = g.sub(sum, penalty);
    g.output("total", total);
    let gradients = gradient(&mut g, total, &[a, loc]).expect("all of these have gradients");
    gradients.into_iter().for_each(|d| g.output("d", d));
    g.finish()
}

#[test]
fn a_regression_reads_its_matrix_once() {
    for (by_columns, left) in [(false, false), (false, true), (true, false), (true, true)] {
        let graph = passes::run(regression(3000, 13, by_columns, left));
        let plan = Plan::new(&graph, Options::default());
        let mut readers = 0;
        for step in &plan.every {
            let Step::Tiles { program, .. } = step else { panic!("a kernel: {}", plan.print(&graph)) };
            let products = program.code.iter().filter(|i| matches!(i, Instr::Compute { code: Code::Products(..), .. }));
            let columns = program.code.iter().filter(|i| matches!(i, Instr::Columns { .. }));
            if program.count == 3000 {
                assert_eq!((products.count(), columns.count()), (1, 1), "{}", plan.print(&graph));
                // Neither the linear predictor nor its adjoint is stored.
                assert!(program.code.iter().all(|i| !matches!(i, Instr::Store { .. })), "{}", plan.print(&graph));
                readers += 1;
            }
        }
        assert_eq!(readers, 1, "{}", plan.print(&graph));
        compare::<f64>(&graph, 1e-12);
        compare::<f32>(&graph, 1e-5);
    }
    // With single rows and columns.
    for (rows, columns) in [(1, 1), (1, 9), (30, 1), (20_000, 1), (9, 3000)] {
        compare::<f64>(&passes::run(regression(rows, columns, false, false)), 1e-12);
    }
}

#[test]
fn sums_keep_the_digits_of_doubles() {
    let mut g = Builder::new();
    let x = g.input("x", Shape::from([400_000, 5]), DType::Real, InputKind::Param);
    let y = g.mul_scalar(x, 0.1);
    let columns = g.sum(y, &[0]);
    let all = g.sum_all(y);
    g.output("columns", columns);
    g.output("all", all);
    let graph = g.finish();
    let mut executable = Executable::<f32>::plan(graph, Options::default());
    executable.set_data(InputId::new(0), &vec![1.0; 2_000_000]);
    executable.run(&[], Key::new(0));
    let exact = f64::from(0.1f32);
    for &column in executable.output(0) {
        assert!((f64::from(column) / 400_000.0 - exact).abs() < 1e-8);
    }
    assert!((f64::from(executable.output(1)[0]) / 2e6 - exact).abs() < 1e-8);
}

#[test]
fn noise_needs_no_buffer() {
    let mut g = Builder::new();
    let loc = g.input("loc", Shape::from([10_000]), DType::Real, InputKind::Param);
    let noise = g.noise(NoiseKind::Normal, Shape::from([10_000]));
    let draw = g.add(loc, noise);
    let square = g.square(draw);
    let sum = g.sum_all(square);
    g.output("sum", sum);
    let plan = Plan::new(&g.finish(), Options::default());
    assert_eq!(plan.every.len(), 1);
    assert!(plan.peak_elements() < 10_100, "{} elements", plan.peak_elements());
}

#[test]
fn a_cheap_map_is_computed_again_rather_than_stored() {
    let mut g = Builder::new();
    let x = g.input("x", Shape::from([64, 64]), DType::Real, InputKind::Param);
    let w = g.input("w", Shape::from([64, 64]), DType::Real, InputKind::Param);
    let y = g.mul_scalar(x, 3.0);
    let h = g.tanh(y);
    let product = g.matmul(h, false, w, false);
    let z = g.mul(product, y);
    g.output("z", z);
    let plan = Plan::new(&g.finish(), Options::default());
    let stored: Vec<usize> = plan
        .every
        .iter()
        .filter_map(|step| if let Step::Tiles { values, .. } = step { Some(values.len()) } else { None })
        .collect();
    assert_eq!(stored, [1, 1]);
}
