//! Selection by int arrays: `gather` and `scatter_add` by rows, `pick` and `place` along the last axis. The two of a pair
//! are each other's adjoints. Indices have no gradient.

use super::kernel::Kernel;
#[cfg(test)]
use super::tests::{Fill, Sample, sample};
use super::vjp::Vjp;
use super::{Op, Operation, ShapeError, attributes, exactly};
use crate::ir::{DType, Shape};

fn mismatch(what: &'static str, lhs: &[usize], rhs: &[usize]) -> ShapeError {
    let differ = lhs.iter().zip(rhs).find(|(a, b)| a != b).map_or((lhs.len(), rhs.len()), |(&a, &b)| (a, b));
    ShapeError::Mismatch { what, lhs: differ.0, rhs: differ.1 }
}

/// `y[i…, :] = x[index[i…], :]`
pub(super) struct Gather;
impl Operation for Gather {
    fn name(_: &Op) -> &'static str {
        "gather"
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x, index] = exactly(operands)?;
        match x.split_first() {
            Some((_, row)) => Ok(index.concat(row)),
            None => Err(ShapeError::Rank { operand: "x", shape: x.to_vec(), needed: 1 }),
        }
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        operands[0]
    }
    fn kernel(_: &Op, operands: &[&Shape], _: &Shape) -> Kernel {
        Kernel::Gather { width: operands[0][1..].iter().product() }
    }
    fn vjp(v: &mut Vjp) {
        if v.needs(0) {
            let rows = v.shape(0)[0];
            let dx = v.g.scatter_add(v.dy, v.x[1], rows);
            v.give(0, dx);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![
            sample(Op::Gather, [Fill::real([4, 3]), Fill::Index([5, 2].into(), 4)]),
            sample(Op::Gather, [Fill::real([4]), Fill::Index([6].into(), 4)]),
            sample(Op::Gather, [Fill::real([4, 2]), Fill::Index([].into(), 4)]),
        ]
    }
}

/// `y[index[i…], :] += values[i…, :]`
pub(super) struct ScatterAdd;
impl Operation for ScatterAdd {
    fn name(_: &Op) -> &'static str {
        "scatter_add"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [values, index] = exactly(operands)?;
        attributes!(&Op::ScatterAdd { rows } = op);
        if values.rank() < index.rank() {
            return Err(ShapeError::Rank { operand: "values", shape: values.to_vec(), needed: index.rank() });
        }
        let (lead, row) = values.split_at(index.rank());
        if lead != &index[..] {
            return Err(mismatch("leading sizes of values and index", lead, index));
        }
        Ok(Shape::from([rows]).concat(row))
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        operands[0]
    }
    fn kernel(_: &Op, _: &[&Shape], result: &Shape) -> Kernel {
        Kernel::ScatterAdd { width: result[1..].iter().product() }
    }
    fn vjp(v: &mut Vjp) {
        if v.needs(0) {
            let dx = v.g.gather(v.dy, v.x[1]);
            v.give(0, dx);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![
            sample(Op::ScatterAdd { rows: 4 }, [Fill::real([7, 3]), Fill::Index([7].into(), 4)]),
            sample(Op::ScatterAdd { rows: 3 }, [Fill::real([2, 5]), Fill::Index([2, 5].into(), 3)]),
        ]
    }
}

/// `y[i…] = x[i…, index[i…]]`
pub(super) struct Pick;
impl Operation for Pick {
    fn name(_: &Op) -> &'static str {
        "pick"
    }
    fn shape(_: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [x, index] = exactly(operands)?;
        if x.rank() != index.rank() + 1 {
            return Err(ShapeError::Rank { operand: "x", shape: x.to_vec(), needed: index.rank() + 1 });
        }
        if x[..index.rank()] != index[..] {
            return Err(mismatch("leading sizes of x and index", x, index));
        }
        Ok(index.clone())
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        operands[0]
    }
    fn kernel(_: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        Kernel::Pick { width: operands[0][result.rank()] }
    }
    fn vjp(v: &mut Vjp) {
        if v.needs(0) {
            let n = *v.shape(0).last().expect("the shape rule asks for a last axis");
            let dx = v.g.place(v.dy, v.x[1], n);
            v.give(0, dx);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![
            sample(Op::Pick, [Fill::real([5, 3]), Fill::Index([5].into(), 3)]),
            sample(Op::Pick, [Fill::real([2, 3, 4]), Fill::Index([2, 3].into(), 4)]),
        ]
    }
}

/// `y[i…, index[i…]] = values[i…]`
pub(super) struct Place;
impl Operation for Place {
    fn name(_: &Op) -> &'static str {
        "place"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [values, index] = exactly(operands)?;
        attributes!(&Op::Place { n } = op);
        if values != index {
            return Err(mismatch("shapes of values and index", values, index));
        }
        Ok(values.concat(&[n]))
    }
    fn dtype(_: &Op, operands: &[DType]) -> DType {
        operands[0]
    }
    fn kernel(op: &Op, _: &[&Shape], _: &Shape) -> Kernel {
        attributes!(&Op::Place { n } = op);
        Kernel::PlaceAt { width: n }
    }
    fn vjp(v: &mut Vjp) {
        if v.needs(0) {
            let dx = v.g.pick(v.dy, v.x[1]);
            v.give(0, dx);
        }
    }
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![sample(Op::Place { n: 4 }, [Fill::real([3, 2]), Fill::Index([3, 2].into(), 4)])]
    }
}
