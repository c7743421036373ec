//! Checks that a graph is one: nodes refer backwards, and every shape and dtype is what the operation's rule gives.
//!
//! Run after each pass in tests and debug builds, so that the pass that broke a graph is named.

use super::graph::{DType, Graph, Shape, ValueId};
use crate::ops::Op;
use std::collections::HashMap;
use std::fmt;

/// What is wrong with a graph: a defect of the compiler.
#[derive(Clone, PartialEq, Debug)]
pub struct Invalid {
    /// The value at fault.
    pub value: Option<ValueId>,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) => write!(f, "{value}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// Checks every node of `graph` and its outputs.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(graph: &Graph) -> Result<(), Invalid> {
    let mut streams: HashMap<u32, ValueId> = HashMap::new();
    if graph.origins.len() != graph.nodes.len() {
        return Err(Invalid { value: None, reason: "nodes and origins differ in number".into() });
    }
    for (id, node) in graph.nodes.iter_enumerated() {
        let fail = |reason: String| Err(Invalid { value: Some(id), reason });
        if let Some(&operand) = node.operands.iter().find(|&&o| o >= id) {
            return fail(format!("{} reads {operand}, which does not come before", node.op.name()));
        }
        match &node.op {
            Op::Input(input) => match graph.inputs.get(*input) {
                Some(i) if i.shape == node.shape => {}
                _ => return fail(format!("does not agree with {input}")),
            },
            Op::Constant(constant) => match graph.constants.get(*constant) {
                Some(c) if c.shape == node.shape && c.data.len() == c.shape.count() => {}
                _ => return fail(format!("does not agree with {constant}")),
            },
            op => {
                let shapes: Vec<&Shape> = node.operands.iter().map(|&o| graph.shape(o)).collect();
                match op.shape(&shapes) {
                    Ok(shape) if shape == node.shape => {}
                    Ok(shape) => return fail(format!("{} has shape {}, not {shape}", op.name(), node.shape)),
                    Err(error) => return fail(format!("{}: {error}", op.name())),
                }
                let dtypes: Vec<DType> = node.operands.iter().map(|&o| graph.nodes[o].dtype).collect();
                let dtype = op.dtype(&dtypes);
                if dtype != node.dtype && !op.is_random() {
                    return fail(format!("{} is {:?}, not {dtype:?}", op.name(), node.dtype));
                }
            }
        }
        if let Op::Scan(crate::ops::Loop(body)) = &node.op
            && let Err(invalid) = verify(&body.graph)
        {
            return fail(format!("body of a loop: {invalid}"));
        }
        if let Op::Noise { stream, .. } | Op::Draw { stream, .. } = node.op
            && let Some(earlier) = streams.insert(stream, id)
            && graph.nodes[earlier].op != node.op
        {
            return fail(format!("shares its stream with {earlier}"));
        }
    }
    match graph.outputs.iter().find(|(_, value)| graph.nodes.get(*value).is_none()) {
        Some((name, value)) => Err(Invalid { value: None, reason: format!("output `{name}` is {value}: absent") }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Builder, InputKind};

    #[test]
    fn a_wrong_shape_is_found() {
        let mut g = Builder::new();
        let x = g.input("x", Shape::from([2, 3]), DType::Real, InputKind::Param);
        let y = g.sum(x, &[1]);
        let mut graph = g.finish();
        assert_eq!(verify(&graph), Ok(()));
        graph.nodes[y].shape = Shape::from([3]);
        assert_eq!(verify(&graph).unwrap_err().value, Some(y));
    }

    #[test]
    fn a_forward_reference_is_found() {
        let mut g = Builder::new();
        let x = g.input("x", Shape::scalar(), DType::Real, InputKind::Param);
        let y = g.exp(x);
        let z = g.log(y);
        let mut graph = g.finish();
        graph.nodes[y].operands[0] = z;
        assert_eq!(verify(&graph).unwrap_err().value, Some(y));
    }
}
