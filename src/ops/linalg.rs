//! Matrix products, Cholesky factors, triangular solves, diagonals and triangles. All work on the last two dimensions.

use super::kernel::{Kernel, MatMulKernel, SolveKernel};
#[cfg(test)]
use super::tests::{Fill, Sample, sample};
use super::vjp::Vjp;
use super::{Op, Operation, ShapeError, attributes, decided, exactly, rules};
use crate::ir::{Builder, DType, Shape, ValueId};

fn check_square(operand: &'static str, a: &Shape) -> Result<(), ShapeError> {
    decided(|p| rules::square(operand, a, p))
}

/// `op(a) @ op(b)`
pub(super) struct MatMul;
impl Operation for MatMul {
    fn name(_: &Op) -> &'static str {
        "matmul"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [a, b] = exactly(operands)?;
        attributes!(&Op::MatMul { ta, tb } = op);
        Ok(decided(|p| rules::matmul(a, ta, b, tb, p))?.into())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        attributes!(&Op::MatMul { ta, tb } = op);
        Kernel::MatMul(MatMulKernel::new(operands[0], ta, operands[1], tb))
    }
    /// With A = op(a), B = op(b):  dA = dY B',  dB = A' dY, transposed where the operand is.
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::MatMul { ta, tb } = v.op);
        let (a, b) = (v.x[0], v.x[1]);
        if v.needs(0) {
            let da = if ta { v.g.matmul(b, tb, v.dy, true) } else { v.g.matmul(v.dy, false, b, !tb) };
            v.give_summed(0, da);
        }
        if v.needs(1) {
            let db = if tb { v.g.matmul(v.dy, true, a, ta) } else { v.g.matmul(a, !ta, v.dy, false) };
            v.give_summed(1, db);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        let shapes: [[&[usize]; 2]; 5] = [
            [&[3, 5], &[5, 4]],
            [&[2, 3, 5], &[2, 5, 4]],
            [&[2, 1, 3, 5], &[4, 5, 2]],
            [&[3, 5], &[2, 5, 4]],
            [&[1, 1], &[1, 7]],
        ];
        let swapped = |s: &[usize], t: bool| {
            let mut s = s.to_vec();
            if t {
                let n = s.len();
                s.swap(n - 1, n - 2);
            }
            s
        };
        let mut samples = Vec::new();
        for [a, b] in shapes {
            for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
                let operands = [Fill::real(swapped(a, ta)), Fill::real(swapped(b, tb))];
                samples.push(sample(Op::MatMul { ta, tb }, operands));
            }
        }
        samples
    }
}

/// The lower Cholesky factor.
pub(super) struct Cholesky;
impl Operation for Cholesky {
    fn name(_: &Op) -> &'static str {
        "cholesky"
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [a] = exactly(operands)?;
        check_square("a", a)?;
        Ok(a.clone())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(_: &Op, _: &[&Shape], result: &Shape) -> Kernel {
        Kernel::Cholesky(result[result.rank() - 1])
    }
    /// The symmetric gradient G with d(sum) = sum(G * dA) for symmetric dA:
    /// S = L^-T phi(L' dL) L^-1, symmetrized; phi keeps the lower triangle and halves the diagonal.
    /// Source: Murray 2016, arXiv:1602.07527, eq. 10.
    fn vjp(v: &mut Vjp) {
        let l = v.y;
        let g = &mut *v.g;
        let dl = g.tril(v.dy, false);
        let product = g.matmul(l, true, dl, false);
        let diagonal = g.diagonal(product);
        let half = g.mul_scalar(diagonal, 0.5);
        let half = g.diag(half);
        let strict = g.tril(product, true);
        let phi = g.add(strict, half);
        let left = g.solve_triangular(l, phi, true, true);
        let left = g.matrix_transpose(left);
        let both = g.solve_triangular(l, left, true, true);
        let transposed = g.matrix_transpose(both);
        let sum = g.add(both, transposed);
        let da = g.mul_scalar(sum, 0.5);
        v.give(0, da);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![
            sample(Op::Cholesky, [Fill::Spd([1, 1].into())]),
            sample(Op::Cholesky, [Fill::Spd([4, 4].into())]),
            sample(Op::Cholesky, [Fill::Spd([2, 3, 3].into())]),
        ]
    }
}

/// `op(l) y = b`
pub(super) struct SolveTriangular;
impl Operation for SolveTriangular {
    fn name(_: &Op) -> &'static str {
        "solve_triangular"
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [l, b] = exactly(operands)?;
        Ok(decided(|p| rules::solve(l, b, p))?.into())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        attributes!(&Op::SolveTriangular { lower, transposed } = op);
        Kernel::Solve(SolveKernel::new(operands[0], operands[1], result, lower, transposed))
    }
    /// dB = op(l)^-T dY;  dL = -dB Y' (or -Y dB' when transposed), its triangle only.
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::SolveTriangular { lower, transposed } = v.op);
        let db = v.g.solve_triangular(v.x[0], v.dy, lower, !transposed);
        if v.needs(0) {
            let (left, right) = if transposed { (v.y, db) } else { (db, v.y) };
            let product = v.g.matmul(left, false, right, true);
            let triangle = if lower { v.g.tril(product, false) } else { triu(v.g, product) };
            let dl = v.g.neg(triangle);
            v.give_summed(0, dl);
        }
        if v.needs(1) {
            v.give_summed(1, db);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        let mut samples = Vec::new();
        for (l, b) in [
            (vec![4, 4], vec![4, 3]),
            (vec![2, 3, 3], vec![2, 3, 1]),
            (vec![2, 2], vec![3, 2, 2]),
            (vec![2, 1, 2, 2], vec![3, 2, 1]),
        ] {
            for (lower, transposed) in [(true, false), (true, true), (false, false), (false, true)] {
                let triangle = Fill::Triangle { shape: l.clone().into(), lower };
                samples.push(sample(Op::SolveTriangular { lower, transposed }, [triangle, Fill::real(b.clone())]));
            }
        }
        samples
    }
}

/// The upper triangle, diagonal included.
fn triu(g: &mut Builder, a: ValueId) -> ValueId {
    let below = g.tril(a, true);
    g.sub(a, below)
}

/// `y[…, i] = a[…, i, i]`
pub(super) struct Diagonal;
impl Operation for Diagonal {
    fn name(_: &Op) -> &'static str {
        "diagonal"
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [a] = exactly(operands)?;
        check_square("a", a)?;
        Ok(a.drop_last(1))
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        operands[0]
    }
    fn kernel(_: &Op, _: &[&Shape], result: &Shape) -> Kernel {
        let n = result[result.rank() - 1];
        let count = result.count() / n.max(1);
        Kernel::Copy { dims: vec![count, n], offset: 0, strides: vec![n * n, n + 1] }
    }
    fn vjp(v: &mut Vjp) {
        let da = v.g.diag(v.dy);
        v.give(0, da);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![sample(Op::Diagonal, [Fill::real([2, 3, 3])]), sample(Op::Diagonal, [Fill::real([4, 4])])]
    }
}

/// `y[…, i, i] = x[…, i]`
pub(super) struct Diag;
impl Operation for Diag {
    fn name(_: &Op) -> &'static str {
        "diag"
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x] = exactly(operands)?;
        match x.last() {
            Some(&n) => Ok(x.concat(&[n])),
            None => Err(ShapeError::Rank { operand: "x", shape: x.to_vec(), needed: 1 }),
        }
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        operands[0]
    }
    fn kernel(_: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        let n = result[result.rank() - 1];
        let count = operands[0].count() / n.max(1);
        Kernel::Place { dims: vec![count, n], offset: 0, strides: vec![n * n, n + 1] }
    }
    fn vjp(v: &mut Vjp) {
        let dx = v.g.diagonal(v.dy);
        v.give(0, dx);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![sample(Op::Diag, [Fill::real([2, 3])]), sample(Op::Diag, [Fill::real([4])])]
    }
}

/// The lower triangle.
pub(super) struct Tril;
impl Operation for Tril {
    fn name(_: &Op) -> &'static str {
        "tril"
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [a] = exactly(operands)?;
        if a.rank() < 2 {
            return Err(ShapeError::Rank { operand: "a", shape: a.to_vec(), needed: 2 });
        }
        Ok(a.clone())
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        operands[0]
    }
    fn kernel(op: &Op, _: &[&Shape], result: &Shape) -> Kernel {
        attributes!(&Op::Tril { strict } = op);
        Kernel::Tril { size: [result[result.rank() - 2], result[result.rank() - 1]], strict }
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::Tril { strict } = v.op);
        let da = v.g.tril(v.dy, strict);
        v.give(0, da);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![
            sample(Op::Tril { strict: false }, [Fill::real([2, 4, 4])]),
            sample(Op::Tril { strict: true }, [Fill::real([3, 5])]),
        ]
    }
}
