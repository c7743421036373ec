//! Walks the table of operations: shapes, plans, precisions and derivatives on the samples of each.

use super::{Op, samples};
use crate::autodiff::gradient;
use crate::exec::plan::Options;
use crate::exec::{Executable, eval_f64};
use crate::index::Idx;
use crate::ir::{Builder, DType, Graph, InputId, InputKind, Shape, ValueId};
use crate::kernels::testing::assert_close;
use crate::kernels::testing::values;
use crate::rng::{Key, fill_uniform};

/// What an operand of a sample holds.
pub(crate) enum Fill {
    /// Standard normals.
    Real(Shape),
    /// Uniform numbers of an interval.
    Range(Shape, f64, f64),
    /// Ints in `0..n`.
    Index(Shape, usize),
    /// Symmetric positive definite matrices.
    Spd(Shape),
    /// Well conditioned triangular matrices.
    Triangle {
        /// Their shape.
        shape: Shape,
        /// Which triangle.
        lower: bool,
    },
}

impl Fill {
    /// Standard normals.
    pub fn real(shape: impl Into<Shape>) -> Self {
        Fill::Real(shape.into())
    }
    /// Uniform numbers between `low` and `high`.
    pub fn range(shape: impl Into<Shape>, low: f64, high: f64) -> Self {
        Fill::Range(shape.into(), low, high)
    }
    fn shape(&self) -> &Shape {
        match self {
            Fill::Real(s) | Fill::Range(s, ..) | Fill::Index(s, _) | Fill::Spd(s) | Fill::Triangle { shape: s, .. } => {
                s
            }
        }
    }
    fn dtype(&self) -> DType {
        if matches!(self, Fill::Index(..)) { DType::Int } else { DType::Real }
    }
    /// Numbers from which `operand` makes the operand.
    fn data(&self, seed: u64) -> Vec<f64> {
        let n = self.shape().count();
        let mut uniform = vec![0.0; n];
        fill_uniform(Key::new(seed), 0, &mut uniform);
        match *self {
            Fill::Range(_, low, high) => uniform.iter().map(|u| low + (high - low) * u).collect(),
            Fill::Index(_, n) => uniform.iter().map(|u| (u * n as f64).floor()).collect(),
            _ => values(seed, n),
        }
    }
    /// The operand as graph code of an input: matrices with a property are made from free ones.
    fn operand(&self, g: &mut Builder, input: ValueId) -> ValueId {
        match self {
            Fill::Spd(shape) => {
                let square = g.matmul(input, false, input, true);
                let eye = g.full(1.0, shape.drop_last(1));
                let eye = g.diag(eye);
                g.add(square, eye)
            }
            Fill::Triangle { lower, .. } => {
                let strict = g.tril(input, true);
                let diagonal = g.diagonal(input);
                let diagonal = g.softplus(diagonal);
                let diagonal = g.add_scalar(diagonal, 0.5);
                let diagonal = g.diag(diagonal);
                let triangle = g.add(strict, diagonal);
                if *lower { triangle } else { g.matrix_transpose(triangle) }
            }
            _ => input,
        }
    }
}

/// An operation with operands to try it on.
pub(crate) struct Sample {
    op: Op,
    operands: Vec<Fill>,
}

/// A sample.
pub(crate) fn sample(op: Op, operands: impl Into<Vec<Fill>>) -> Sample {
    Sample { op, operands: operands.into() }
}

impl Sample {
    fn name(&self) -> String {
        let shapes: Vec<&Shape> = self.operands.iter().map(Fill::shape).collect();
        format!("{:?} on {shapes:?}", self.op)
    }
    fn data(&self) -> Vec<Vec<f64>> {
        self.operands.iter().enumerate().map(|(i, fill)| fill.data(100 + i as u64)).collect()
    }
    /// The inputs and the result.
    fn build(&self) -> (Builder, Vec<ValueId>, ValueId) {
        let mut g = Builder::new();
        let inputs: Vec<ValueId> = self
            .operands
            .iter()
            .enumerate()
            .map(|(i, f)| g.input(format!("x{i}"), f.shape().clone(), f.dtype(), InputKind::Param))
            .collect();
        let operands: Vec<ValueId> =
            self.operands.iter().zip(&inputs).map(|(fill, &input)| fill.operand(&mut g, input)).collect();
        let y = g.push(self.op.clone(), &operands);
        (g, inputs, y)
    }
}

fn slices(data: &[Vec<f64>]) -> Vec<&[f64]> {
    data.iter().map(Vec::as_slice).collect()
}

/// `sum(weights * y)` with weights of size about 1.
fn weighted(g: &mut Builder, y: ValueId, seed: u64) -> ValueId {
    let shape = g.shape(y);
    let weights = g.constant(values(seed, shape.count()), shape, DType::Real);
    let y = g.to_real(y);
    let product = g.mul(y, weights);
    g.sum_all(product)
}

/// Compares the outputs after the first, derivatives of the first in the inputs marked, with central differences in a
/// random direction.
#[track_caller]
fn check_derivative(graph: &Graph, data: &[Vec<f64>], real: &[usize], what: &str) {
    let key = Key::new(7);
    let outputs = eval_f64(graph, &slices(data), key);
    for (&i, gradient) in real.iter().zip(&outputs[1..]) {
        let direction: Vec<f64> = values(50 + i as u64, data[i].len());
        let exact: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
        let size = data[i].iter().fold(1.0f64, |m, x| m.max(x.abs()));
        let h = 1e-5 * size;
        let at = |step: f64| {
            let mut moved = data.to_vec();
            moved[i].iter_mut().zip(&direction).for_each(|(x, d)| *x += step * d);
            eval_f64(graph, &slices(&moved), key)[0][0]
        };
        let difference = (at(h) - at(-h)) / (2.0 * h);
        let scale =
            gradient.iter().zip(&direction).map(|(g, d)| (g * d).abs()).sum::<f64>() + outputs[0][0].abs() * 1e-3;
        assert!(
            (exact - difference).abs() <= 1e-6 * scale.max(1e-3),
            "{what}, operand {i}: gradient gives {exact:e}, central differences {difference:e}"
        );
    }
}

/// Operations that refuse a derivative which exists.
fn refuses(op: &Op, order: usize) -> bool {
    let name = op.name();
    match order {
        1 => ["trigamma", "gammainc_da", "betainc_da", "betainc_db", "von_mises_mass_dk"].contains(&name),
        _ => {
            ["digamma", "gammainc", "gammaincc", "betainc", "lbeta", "von_mises_mass"].contains(&name) || refuses(op, 1)
        }
    }
}

/// Operations whose derivative is declared to be zero.
fn has_no_derivative(op: &Op) -> bool {
    matches!(op, Op::Noise { .. } | Op::Draw { .. } | Op::StopGradient) || matches!(op, Op::Scan(_) if op.is_random())
}

#[test]
fn derivatives_agree_with_central_differences() {
    for sample in samples() {
        if has_no_derivative(&sample.op) {
            continue;
        }
        let real: Vec<usize> =
            (0..sample.operands.len()).filter(|&i| sample.operands[i].dtype() == DType::Real).collect();
        let (mut g, inputs, y) = sample.build();
        let objective = weighted(&mut g, y, 1);
        g.output("objective", objective);
        let wrt: Vec<ValueId> = real.iter().map(|&i| inputs[i]).collect();
        let grads = match gradient(&mut g, objective, &wrt) {
            Ok(grads) => grads,
            Err(error) => {
                assert!(refuses(&sample.op, 1), "{}: {error}", sample.name());
                continue;
            }
        };
        for &grad in &grads {
            g.output("gradient", grad);
        }
        check_derivative(g.graph(), &sample.data(), &real, &sample.name());
    }
}

#[test]
fn second_derivatives_agree_with_central_differences() {
    for sample in samples() {
        if has_no_derivative(&sample.op) {
            continue;
        }
        let real: Vec<usize> =
            (0..sample.operands.len()).filter(|&i| sample.operands[i].dtype() == DType::Real).collect();
        let (mut g, inputs, y) = sample.build();
        let objective = weighted(&mut g, y, 1);
        let wrt: Vec<ValueId> = real.iter().map(|&i| inputs[i]).collect();
        let Ok(grads) = gradient(&mut g, objective, &wrt) else { continue };
        let terms: Vec<ValueId> =
            grads.iter().enumerate().map(|(i, &grad)| weighted(&mut g, grad, 20 + i as u64)).collect();
        let again = g.add_all(&terms);
        g.output("objective", again);
        match gradient(&mut g, again, &wrt) {
            Ok(seconds) => seconds.iter().for_each(|&second| g.output("second", second)),
            Err(error) => {
                assert!(refuses(&sample.op, 2), "{}: {error}", sample.name());
                continue;
            }
        }
        check_derivative(g.graph(), &sample.data(), &real, &format!("gradient of {}", sample.name()));
    }
}

#[test]
fn results_do_not_depend_on_fusion_or_on_the_reuse_of_memory() {
    for sample in samples() {
        let real: Vec<usize> =
            (0..sample.operands.len()).filter(|&i| sample.operands[i].dtype() == DType::Real).collect();
        let (mut g, inputs, y) = sample.build();
        g.output("y", y);
        let objective = weighted(&mut g, y, 1);
        let wrt: Vec<ValueId> = real.iter().map(|&i| inputs[i]).collect();
        if let Ok(grads) = gradient(&mut g, objective, &wrt) {
            grads.iter().for_each(|&grad| g.output("gradient", grad));
        }
        let graph = g.finish();
        let plain = Options { fuse: false, reuse: false, ..Options::default() };
        let [fast, slow] = [Options::default(), plain].map(|options| {
            let mut executable = Executable::<f64>::plan(graph.clone(), options);
            for (i, data) in sample.data().iter().enumerate() {
                executable.set_data(InputId::new(i), data);
            }
            executable.run(&[], Key::new(7));
            executable.run(&[], Key::new(7));
            (0..graph.outputs.len()).map(|i| executable.output(i).to_vec()).collect::<Vec<_>>()
        });
        // Sums that are taken inside a group add in another order, fixed by the shape; nothing else may differ.
        for (i, (fast, slow)) in fast.iter().zip(&slow).enumerate() {
            assert_close(fast, slow, 1e-13, &format!("{}, output {i}", sample.name()));
        }
        assert_eq!(fast[0].len(), graph.shape(graph.outputs[0].1).count(), "{}", sample.name());
    }
}

#[test]
fn single_precision_agrees_with_double() {
    for sample in samples() {
        if sample.op.is_random() {
            continue;
        }
        let (mut g, _, y) = sample.build();
        g.output("y", y);
        let data = sample.data();
        // Both precisions start from the same numbers.
        let single: Vec<Vec<f32>> = data.iter().map(|x| x.iter().map(|&x| x as f32).collect()).collect();
        let double: Vec<Vec<f64>> = single.iter().map(|x| x.iter().map(|&x| f64::from(x)).collect()).collect();
        let expected = &eval_f64(g.graph(), &slices(&double), Key::new(7))[0];
        let mut executable = Executable::<f32>::compile(g.graph());
        for (i, data) in single.iter().enumerate() {
            executable.set_data(InputId::new(i), data);
        }
        executable.run(&[], Key::new(7));
        for (&found, &expected) in executable.output(0).iter().zip(expected) {
            let error = (f64::from(found) - expected).abs();
            assert!(error <= 2e-5 * (1.0 + expected.abs()), "{}: {found} in single, {expected}", sample.name());
        }
    }
}
