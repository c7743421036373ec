//! Operations that move elements without computing: reshape, broadcast, transpose, slice, pad, concat, and the two
//! identities `stop_gradient` and `to_real`.

use super::kernel::{Kernel, around, row_major};
#[cfg(test)]
use super::tests::{Fill, Sample, sample};
use super::vjp::Vjp;
use super::{Op, Operation, ShapeError, attributes, decided, exactly, rules};
use crate::ir::{DType, Shape};
use crate::kernels::elementwise::broadcast_strides;

fn same_shape(operands: &[&Shape]) -> Result<Shape, ShapeError> {
    let [x] = exactly(operands)?;
    Ok(x.clone())
}

fn check_axis(x: &Shape, axis: usize) -> Result<(), ShapeError> {
    if axis < x.rank() { Ok(()) } else { Err(ShapeError::Axis { axis, rank: x.rank() }) }
}

/// The identity without a gradient.
pub(super) struct StopGradient;
impl Operation for StopGradient {
    fn name(_: &Op) -> &'static str {
        "stop_gradient"
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        same_shape(operands)
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        operands[0]
    }
    fn kernel(_: &Op, _: &[&Shape], result: &Shape) -> Kernel {
        Kernel::identity(result)
    }
    fn vjp(_: &mut Vjp) {}
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![sample(Op::StopGradient, [Fill::real([2, 3])])]
    }
}

/// Ints and booleans as reals. They have no gradient; a real operand (the builder makes none) would.
pub(super) struct ToReal;
impl Operation for ToReal {
    fn name(_: &Op) -> &'static str {
        "to_real"
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        same_shape(operands)
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(_: &Op, _: &[&Shape], result: &Shape) -> Kernel {
        Kernel::identity(result)
    }
    fn vjp(v: &mut Vjp) {
        if v.g.dtype(v.x[0]) == DType::Real {
            v.give(0, v.dy);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![sample(Op::ToReal, [Fill::Index([4].into(), 3)])]
    }
}

/// Reals that are known to be whole, as ints. They have no gradient.
pub(super) struct ToInt;
impl Operation for ToInt {
    fn name(_: &Op) -> &'static str {
        "to_int"
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        same_shape(operands)
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Int
    }
    fn kernel(_: &Op, _: &[&Shape], result: &Shape) -> Kernel {
        Kernel::identity(result)
    }
    fn vjp(_: &mut Vjp) {}
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![sample(Op::ToInt, [Fill::Index([4].into(), 3)])]
    }
}

/// Another shape for the same elements.
pub(super) struct Reshape;
impl Operation for Reshape {
    fn name(_: &Op) -> &'static str {
        "reshape"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x] = exactly(operands)?;
        attributes!(Op::Reshape { shape } = op);
        if x.count() == shape.count() {
            Ok(shape.clone())
        } else {
            Err(ShapeError::Count { from: x.to_vec(), to: shape.to_vec() })
        }
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        operands[0]
    }
    fn kernel(_: &Op, _: &[&Shape], result: &Shape) -> Kernel {
        Kernel::identity(result)
    }
    fn vjp(v: &mut Vjp) {
        let shape = v.shape(0);
        let dx = v.g.reshape(v.dy, shape);
        v.give(0, dx);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![sample(Op::Reshape { shape: [5, 6].into() }, [Fill::real([3, 10])])]
    }
}

/// Stretched to a shape.
pub(super) struct Broadcast;
impl Operation for Broadcast {
    fn name(_: &Op) -> &'static str {
        "broadcast"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x] = exactly(operands)?;
        attributes!(Op::Broadcast { shape } = op);
        let joint = decided(|p| rules::broadcast(x, shape, p))?;
        if joint == **shape {
            Ok(shape.clone())
        } else {
            Err(ShapeError::Broadcast { lhs: x.to_vec(), rhs: shape.to_vec(), from_last: 0 })
        }
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        operands[0]
    }
    fn kernel(_: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        let mut strides = vec![0; result.rank()];
        broadcast_strides(operands[0], result, &mut strides);
        Kernel::Copy { dims: result.to_vec(), offset: 0, strides }
    }
    fn vjp(v: &mut Vjp) {
        v.give_summed(0, v.dy);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![
            sample(Op::Broadcast { shape: [2, 3, 4, 5].into() }, [Fill::real([3, 1, 5])]),
            sample(Op::Broadcast { shape: [7].into() }, [Fill::real([])]),
        ]
    }
}

/// Dimensions permuted.
pub(super) struct Transpose;
impl Operation for Transpose {
    fn name(_: &Op) -> &'static str {
        "transpose"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x] = exactly(operands)?;
        attributes!(Op::Transpose { perm } = op);
        if perm.len() != x.rank() {
            return Err(ShapeError::Rank { operand: "x", shape: x.to_vec(), needed: perm.len() });
        }
        if let Some(missing) = (0..x.rank()).find(|i| !perm.contains(i)) {
            return Err(ShapeError::Axis { axis: missing, rank: x.rank() });
        }
        Ok(perm.iter().map(|&p| x[p]).collect::<Vec<_>>().into())
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        operands[0]
    }
    fn kernel(op: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        attributes!(Op::Transpose { perm } = op);
        let steps = row_major(operands[0]);
        Kernel::Copy { dims: result.to_vec(), offset: 0, strides: perm.iter().map(|&p| steps[p]).collect() }
    }
    fn vjp(v: &mut Vjp) {
        attributes!(Op::Transpose { perm } = v.op);
        let mut inverse = vec![0; perm.len()];
        for (to, &from) in perm.iter().enumerate() {
            inverse[from] = to;
        }
        let dx = v.g.transpose(v.dy, &inverse);
        v.give(0, dx);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![
            sample(Op::Transpose { perm: vec![1, 0] }, [Fill::real([3, 5])]),
            sample(Op::Transpose { perm: vec![2, 0, 3, 1] }, [Fill::real([2, 3, 4, 5])]),
        ]
    }
}

/// A range of one axis.
pub(super) struct Slice;
impl Operation for Slice {
    fn name(_: &Op) -> &'static str {
        "slice"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x] = exactly(operands)?;
        attributes!(&Op::Slice { axis, start, len } = op);
        check_axis(x, axis)?;
        if start + len > x[axis] {
            return Err(ShapeError::OutOfRange { axis, end: start + len, size: x[axis] });
        }
        let mut shape = x.to_vec();
        shape[axis] = len;
        Ok(shape.into())
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        operands[0]
    }
    fn kernel(op: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        attributes!(&Op::Slice { axis, start, .. } = op);
        let strides = row_major(operands[0]);
        Kernel::Copy { dims: result.to_vec(), offset: start * strides[axis], strides }
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::Slice { axis, start, len } = v.op);
        let size = v.shape(0)[axis];
        let dx = v.g.pad(v.dy, axis, start, size - start - len);
        v.give(0, dx);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![
            sample(Op::Slice { axis: 0, start: 1, len: 2 }, [Fill::real([4, 3])]),
            sample(Op::Slice { axis: 1, start: 2, len: 3 }, [Fill::real([2, 5, 3])]),
        ]
    }
}

/// Zeros around one axis.
pub(super) struct Pad;
impl Operation for Pad {
    fn name(_: &Op) -> &'static str {
        "pad"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x] = exactly(operands)?;
        attributes!(&Op::Pad { axis, before, after } = op);
        check_axis(x, axis)?;
        let mut shape = x.to_vec();
        shape[axis] += before + after;
        Ok(shape.into())
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        operands[0]
    }
    fn kernel(op: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        attributes!(&Op::Pad { axis, before, .. } = op);
        let strides = row_major(result);
        Kernel::Place { dims: operands[0].to_vec(), offset: before * strides[axis], strides }
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::Pad { axis, before, .. } = v.op);
        let len = v.shape(0)[axis];
        let dx = v.g.slice(v.dy, axis, before, len);
        v.give(0, dx);
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![
            sample(Op::Pad { axis: 0, before: 1, after: 2 }, [Fill::real([2, 3])]),
            sample(Op::Pad { axis: 1, before: 0, after: 3 }, [Fill::real([2, 3, 2])]),
        ]
    }
}

/// Joined along one axis.
pub(super) struct Concat;
impl Operation for Concat {
    fn name(_: &Op) -> &'static str {
        "concat"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        attributes!(&Op::Concat { axis } = op);
        let parts: Vec<&[usize]> = operands.iter().map(|s| &s[..]).collect();
        Ok(decided(|p| rules::concat(&parts, axis, p))?.into())
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        super::elementwise::join(operands)
    }
    fn kernel(op: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        attributes!(&Op::Concat { axis } = op);
        let [outer, _, inner] = around(result, axis);
        Kernel::Concat { outer, parts: operands.iter().map(|s| s[axis]).collect(), inner }
    }
    fn vjp(v: &mut Vjp) {
        attributes!(&Op::Concat { axis } = v.op);
        let mut start = 0;
        for i in 0..v.x.len() {
            let len = v.shape(i)[axis];
            if v.needs(i) {
                let dx = v.g.slice(v.dy, axis, start, len);
                v.give(i, dx);
            }
            start += len;
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![
            sample(Op::Concat { axis: 0 }, [Fill::real([2, 3]), Fill::real([1, 3])]),
            sample(Op::Concat { axis: 1 }, [Fill::real([2, 3, 2]), Fill::real([2, 1, 2]), Fill::real([2, 4, 2])]),
        ]
    }
}
