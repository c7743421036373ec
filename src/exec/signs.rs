//! Which values of a graph cannot be negative, whatever its inputs are.
//!
//! A convolution of two such values is a sum of terms of one sign: its result is not negative either, and zero exactly where
//! all terms are. Square roots and logarithms of it rely on that, so it is computed by the defining sums.

use crate::index::IndexVec;
use crate::ir::graph::{Graph, Node, ValueId};
use crate::kernels::elementwise::{Binary, Ternary, Unary};
use crate::ops::{Op, Reduction};

/// For every value whether all its elements are known to be at least 0.
pub(crate) fn nonnegative(graph: &Graph) -> IndexVec<ValueId, bool> {
    let mut known: IndexVec<ValueId, bool> = IndexVec::new();
    for node in &graph.nodes {
        let is = is_nonnegative(graph, node, &known);
        known.push(is);
    }
    known
}

fn is_nonnegative(graph: &Graph, node: &Node, known: &IndexVec<ValueId, bool>) -> bool {
    let all = || node.operands.iter().all(|&o| known[o]);
    match &node.op {
        &Op::Full { value, .. } => value >= 0.0,
        &Op::Constant(constant) => graph.constants[constant].data.iter().all(|&x| x >= 0.0),
        Op::Iota { .. } | Op::ArgMax { .. } | Op::ArgSort => true,
        Op::Unary(map) => match map {
            Unary::Abs
            | Unary::Square
            | Unary::Sqrt
            | Unary::Rsqrt
            | Unary::Exp
            | Unary::Sigmoid
            | Unary::Softplus
            | Unary::Relu
            | Unary::Cosh
            | Unary::Erfc
            | Unary::Ndtr
            | Unary::Not => true,
            Unary::Recip | Unary::Sign | Unary::Expm1 | Unary::Log1p | Unary::Tanh | Unary::Floor | Unary::Ceil => {
                all()
            }
            _ => false,
        },
        Op::Binary(map) => match map {
            Binary::Mul | Binary::MulAbsorbing => all() || node.operands[0] == node.operands[1],
            Binary::Maximum => node.operands.iter().any(|&o| known[o]),
            Binary::Add | Binary::Div | Binary::Pow | Binary::Minimum => all(),
            Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge | Binary::And | Binary::Or => {
                true
            }
            _ => false,
        },
        Op::Ternary(Ternary::Select) => node.operands[1..].iter().all(|&o| known[o]),
        Op::Reduce { kind, .. } => *kind != Reduction::LogSumExp && all(),
        Op::Gather | Op::Pick => known[node.operands[0]],
        Op::StopGradient
        | Op::ToReal
        | Op::ToInt
        | Op::Reshape { .. }
        | Op::Broadcast { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Concat { .. }
        | Op::CumSum { .. }
        | Op::MatMul { .. }
        | Op::Diagonal
        | Op::Diag
        | Op::Tril { .. }
        | Op::Conv2d(_)
        | Op::Conv2dInputGrad { .. }
        | Op::Conv2dWeightGrad { .. }
        | Op::MaxPool2d(_)
        | Op::AvgPool2d(_)
        | Op::AvgPool2dGrad { .. } => all(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::exec::plan::Options;
    use crate::exec::run::Executable;
    use crate::ir::{Builder, DType, InputId, InputKind};
    use crate::kernels::conv::Method;
    use crate::kernels::testing::values;
    use crate::ops::ConvAttrs;
    use crate::rng::Key;

    /// Like the variances of a Bayesian layer, with images that are mostly dark.
    #[test]
    fn variances_keep_their_zeros_under_every_method() {
        let (x_len, w_len) = (2 * 16 * 9 * 9, 16 * 16 * 9);
        let x: Vec<f32> =
            values::<f32>(1, x_len).iter().enumerate().map(|(i, x)| if i % 81 < 60 { 0.0 } else { *x }).collect();
        let w = values::<f32>(2, w_len);
        let run = |squares: bool, method: Method| {
            let mut g = Builder::new();
            let mut xv = g.input("x", [2, 16, 9, 9].into(), DType::Real, InputKind::Param);
            let mut wv = g.input("w", [16, 16, 3, 3].into(), DType::Real, InputKind::Param);
            if squares {
                xv = g.square(xv);
                wv = g.square(wv);
                wv = g.reshape(wv, [16, 16, 3, 3]);
            }
            let attrs = ConvAttrs { stride: [1, 1], pad: [[1, 1]; 2], dilation: [1, 1], groups: 1 };
            let y = g.conv2d(xv, wv, attrs);
            g.output("y", y);
            let options = Options { convolution: method, ..Options::default() };
            let mut exe = Executable::<f32>::compile_with(&g.finish(), options);
            let inputs: Vec<InputId> = exe.graph().inputs.indices().collect();
            exe.run(&[(inputs[0], &x), (inputs[1], &w)], Key::new(0));
            exe.output(0).to_vec()
        };
        let [direct, winograd] = [Method::Direct, Method::Winograd].map(|method| run(true, method));
        assert_eq!(direct, winograd);
        assert!(winograd.contains(&0.0) && winograd.iter().all(|&y| y >= 0.0));
        // Of numbers of both signs the two methods round differently.
        assert_ne!(run(false, Method::Direct), run(false, Method::Winograd));
    }
}
