//! Graphs as text, one node a line: `%12 = matmul[ta] %3 %4 : real[64, 10]  // digits.bayes:14`.

use super::graph::{DType, Graph, InputKind, Shape, ValueId};
use crate::ops::Op;
use crate::source::{Sources, Span};
use std::fmt::Write;

/// The graph as text; with `sources` each node is followed by the line that it comes from.
pub fn print(graph: &Graph, sources: Option<&Sources>) -> String {
    let mut text = String::new();
    for (id, node) in graph.nodes.iter_enumerated() {
        let mut line = format!("{id} = {}", operation(graph, id));
        for operand in &node.operands {
            let _ = write!(line, " {operand}");
        }
        let _ = write!(line, " : {}", value_type(node.dtype, &node.shape));
        if let Some(place) = graph.origins[id].and_then(|span| sources.map(|s| place(s, span))) {
            let _ = write!(line, "  // {place}");
        }
        text.push_str(&line);
        text.push('\n');
    }
    for (name, value) in &graph.outputs {
        let _ = writeln!(text, "output {name} = {value}");
    }
    text
}

/// The operation of `value` with its attributes: `slice[axis=0, start=1, len=3]`.
pub fn operation(graph: &Graph, value: ValueId) -> String {
    let op = &graph.nodes[value].op;
    let name = op.name();
    match op {
        Op::Input(input) => {
            let input = &graph.inputs[*input];
            let kind = match input.kind {
                InputKind::Param => "param",
                InputKind::Data => "data",
                InputKind::Batch => "batch",
            };
            format!("{kind} `{}`", input.name)
        }
        Op::Constant(id) => match graph.constants[*id].data.split_first() {
            Some((first, rest)) if !rest.is_empty() => format!("{name}[{first}, …]"),
            Some((first, _)) => format!("{name}[{first}]"),
            None => format!("{name}[]"),
        },
        Op::Full { value, .. } => format!("{name}[{value}]"),
        Op::Draw { dist, stream, .. } => format!("{name}[{dist}, stream={stream}]"),
        // The result's type says the shape.
        Op::Unary(_) | Op::Binary(_) | Op::Ternary(_) | Op::Reshape { .. } | Op::Broadcast { .. } => name.to_string(),
        op => {
            let attributes = attributes(&format!("{op:?}"));
            if attributes.is_empty() { name.to_string() } else { format!("{name}[{attributes}]") }
        }
    }
}

/// What stands in the outermost brackets of a debug text, flags written as `ta` or left out, `shape` left out.
fn attributes(debug: &str) -> String {
    let Some(start) = debug.find([' ', '(']) else { return String::new() };
    let inner = debug[start..].trim_matches([' ', '{', '}', '(', ')']);
    let inner = inner.rsplit_once("ConvAttrs { ").map_or(inner, |(_, fields)| fields);
    let inner = inner.rsplit_once("PoolAttrs { ").map_or(inner, |(_, fields)| fields);
    let mut parts: Vec<String> = Vec::new();
    let mut depth = 0;
    let mut part = String::new();
    for c in inner.chars().chain([',']) {
        depth += i32::from(c == '[') - i32::from(c == ']');
        if c == ',' && depth == 0 {
            let text = part.trim_matches([' ', '{', '}', '(', ')']);
            match text.split_once(": ") {
                Some((_, "false")) | Some(("shape" | "kind", _)) => {}
                Some((flag, "true")) => parts.push(flag.to_string()),
                Some((field, value)) => parts.push(format!("{field}={value}")),
                None => parts.push(text.to_string()),
            }
            part.clear();
        } else {
            part.push(c);
        }
    }
    parts.retain(|p| !p.is_empty());
    parts.join(", ")
}

/// A type as the language writes it: `real[64, 10]`, `int`.
pub fn value_type(dtype: DType, shape: &Shape) -> String {
    let element = match dtype {
        DType::Real => "real",
        DType::Int => "int",
        DType::Bool => "bool",
    };
    if shape.is_empty() { element.to_string() } else { format!("{element}{shape}") }
}

fn place(sources: &Sources, span: Span) -> String {
    let file = sources.file(span.file);
    format!("{}:{}", file.name, file.line_column(span.start as usize).0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Builder;
    use crate::ops::ConvAttrs;

    #[test]
    fn a_graph_is_readable() {
        let mut sources = Sources::default();
        let file = sources.add("digits.bayes", None, "model {\n  y = x @ w\n}\n");
        let mut g = Builder::new();
        let x = g.input("x", Shape::from([4, 3]), DType::Real, InputKind::Batch);
        let w = g.input("w", Shape::from([4, 5]), DType::Real, InputKind::Param);
        g.set_origin(Some(Span::new(file, 10, 19)));
        let y = g.matmul(x, true, w, false);
        let z = g.slice(y, 0, 1, 2);
        let images = g.full(0.5, Shape::from([1, 2, 5, 5]));
        let kernel = g.full(1.0, Shape::from([2, 1, 3, 3]));
        let attrs = ConvAttrs { stride: [1, 2], pad: [[1, 1], [0, 1]], dilation: [1, 1], groups: 2 };
        g.set_origin(None);
        g.conv2d(images, kernel, attrs);
        g.output("z", z);
        let expected = "\
%0 = batch `x` : real[4, 3]
%1 = param `w` : real[4, 5]
%2 = matmul[ta] %0 %1 : real[3, 5]  // digits.bayes:2
%3 = slice[axis=0, start=1, len=2] %2 : real[2, 5]  // digits.bayes:2
%4 = full[0.5] : real[1, 2, 5, 5]  // digits.bayes:2
%5 = full[1] : real[2, 1, 3, 3]  // digits.bayes:2
%6 = conv2d[stride=[1, 2], pad=[[1, 1], [0, 1]], dilation=[1, 1], groups=2] %4 %5 : real[1, 2, 5, 2]
output z = %3
";
        assert_eq!(print(g.graph(), Some(&sources)), expected);
    }
}
