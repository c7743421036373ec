//! What operations cost: floating point operations, counted from shapes.
//!
//! Products and convolutions count a multiplication and an addition for each term of each sum, also where a fast
//! algorithm does fewer; maps count the arithmetic of one element as the kernels do it, roughly for those that are
//! series; moving numbers counts nothing. Integer arithmetic (random bits, positions) is not counted.

use super::{Loop, NoiseKind, Op};
use crate::ir::{Graph, Shape};
use crate::kernels::elementwise::{Binary, Ternary, Unary};

/// An exponential: range reduction and a polynomial.
const EXP: usize = 20;
/// A logarithm likewise.
const LOG: usize = 25;
/// A sine, an inverse tangent and their kind.
const CIRCULAR: usize = 30;
/// A rational approximation with an exponential or a logarithm beside it: erf, lgamma, digamma.
const RATIONAL: usize = 60;
/// A series or continued fraction with some dozens of terms.
const SERIES: usize = 400;

/// Floating point operations of a map at one element.
pub(crate) fn unary(map: Unary) -> usize {
    use Unary::*;
    match map {
        Neg | Abs | Sign | Square | Recip | Sqrt | Relu | Floor | Ceil | Round | Not => 1,
        Rsqrt => 2,
        Exp | Expm1 => EXP,
        Log | Log1p => LOG,
        Sigmoid | Tanh | Sinh | Cosh => EXP + 3,
        Log1mExp | LogSigmoid | Softplus | SoftplusInv => EXP + LOG + 2,
        Sin | Cos | Tan | Asin | Acos | Atan => CIRCULAR,
        Lgamma | Digamma | Trigamma | Erf | Erfc | Erfinv | Ndtr | LogNdtr | Ndtri | I0e | I1e => RATIONAL,
        Gelu => RATIONAL + 1,
    }
}

/// Floating point operations of a map at one element.
pub(crate) fn binary(map: Binary) -> usize {
    use Binary::*;
    match map {
        Add | Sub | Mul | Div | Maximum | Minimum | Eq | Ne | Lt | Le | Gt | Ge | And | Or => 1,
        MulAbsorbing => 2,
        Rem => 4,
        Pow => EXP + LOG + 1,
        Atan2 => CIRCULAR + 1,
        Xlogy => LOG + 1,
        LogAddExp | LogSubExp => EXP + LOG + 3,
        Lbeta => 3 * RATIONAL + 2,
        GammaIncP | GammaIncPda | GammaIncQ | VonMisesMass | VonMisesMassDk => SERIES,
    }
}

/// Floating point operations of a map at one element.
pub(crate) fn ternary(map: Ternary) -> usize {
    match map {
        Ternary::Select => 1,
        Ternary::BetaInc | Ternary::BetaIncDa | Ternary::BetaIncDb => SERIES,
    }
}

/// Floating point operations of `op` on operands of these shapes.
pub(crate) fn flops(op: &Op, operands: &[&Shape], result: &Shape) -> f64 {
    let n = result.count();
    let taps = |w: &Shape| w.count() / w.first().copied().unwrap_or(1).max(1);
    let count = match op {
        Op::Input(_) | Op::Constant(_) | Op::Full { .. } | Op::Iota { .. } => 0,
        Op::StopGradient | Op::ToReal | Op::ToInt | Op::Reshape { .. } | Op::Broadcast { .. } => 0,
        Op::Transpose { .. } | Op::Slice { .. } | Op::Pad { .. } | Op::Concat { .. } => 0,
        Op::Gather | Op::Pick | Op::Place { .. } | Op::Diagonal | Op::Diag | Op::Tril { .. } => 0,
        Op::Noise { kind, .. } => match kind {
            // Box and Muller: half a logarithm, half a root, half a sine and cosine each.
            NoiseKind::Normal => n * (LOG + 2 * CIRCULAR + 6) / 2,
            NoiseKind::Uniform => n,
            NoiseKind::Sign => 0,
        },
        Op::Draw { .. } => n * RATIONAL,
        Op::Unary(map) => n * unary(*map),
        Op::Binary(map) => n * binary(*map),
        Op::Ternary(map) => n * ternary(*map),
        Op::Scan(Loop(body)) => return body.len as f64 * whole(&body.graph),
        Op::ScatterAdd { .. } => operands[1].count(),
        Op::Reduce { kind, .. } => match kind {
            super::Reduction::LogSumExp => operands[0].count() * (EXP + 2) + n * LOG,
            _ => operands[0].count(),
        },
        Op::CumSum { .. } | Op::ArgMax { .. } => operands[0].count(),
        Op::ArgSort => {
            let width = operands[0].last().copied().unwrap_or(1);
            n * width.next_power_of_two().ilog2() as usize
        }
        Op::MatMul { ta, .. } => {
            let a = operands[0];
            2 * n * a[a.rank() - if *ta { 2 } else { 1 }]
        }
        // The sum over columns j of (n - j)^2, one multiplication and one addition each.
        Op::Cholesky => n * result.last().copied().unwrap_or(0) / 3,
        Op::SolveTriangular { .. } => n * operands[0].last().copied().unwrap_or(0),
        Op::Conv2d(_) => 2 * n * taps(operands[1]),
        Op::Conv2dInputGrad { .. } => 2 * operands[0].count() * taps(operands[1]),
        Op::Conv2dWeightGrad { .. } => 2 * operands[1].count() * taps(result),
        Op::MaxPool2d(attrs) | Op::AvgPool2d(attrs) => n * attrs.window[0] * attrs.window[1],
        Op::MaxPool2dGrad(attrs) => operands[1].count() * attrs.window[0] * attrs.window[1],
        Op::MaxPool2dTake(attrs) => n * attrs.window[0] * attrs.window[1],
        Op::AvgPool2dGrad { attrs, .. } => operands[0].count() * attrs.window[0] * attrs.window[1],
    };
    count as f64
}

/// Floating point operations of all nodes of `graph` together.
pub(crate) fn whole(graph: &Graph) -> f64 {
    let of = |node: &crate::ir::graph::Node| {
        let shapes: Vec<&Shape> = node.operands.iter().map(|&o| graph.shape(o)).collect();
        flops(&node.op, &shapes, &node.shape)
    };
    graph.nodes.iter().map(of).sum()
}

/// The elements of operands that must be read, where an operation does not read all of them once.
pub(crate) fn reads(op: &Op, operands: &[&Shape], result: &Shape) -> usize {
    match op {
        // Rows that an index names, and the index.
        Op::Gather | Op::Pick => operands[1].count() + result.count(),
        Op::Diagonal => result.count(),
        _ => operands.iter().map(|s| s.count()).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::ConvAttrs;

    #[test]
    fn products_count_two_for_a_term() {
        let [a, b, c] = [[3, 5, 4], [3, 4, 7], [3, 5, 7]].map(Shape::from);
        assert_eq!(flops(&Op::MatMul { ta: false, tb: false }, &[&a, &b], &c), 2.0 * 3.0 * 5.0 * 4.0 * 7.0);
        let [at, bt] = [[3, 4, 5], [3, 7, 4]].map(Shape::from);
        assert_eq!(flops(&Op::MatMul { ta: true, tb: true }, &[&at, &bt], &c), 2.0 * 3.0 * 5.0 * 4.0 * 7.0);
    }

    #[test]
    fn the_three_products_of_a_convolution_cost_the_same() {
        // Two groups of 4 channels each, 3 x 5 kernels, 6 output channels, padded to keep the size.
        let attrs = ConvAttrs { stride: [1, 1], pad: [[1, 1], [2, 2]], dilation: [1, 1], groups: 2 };
        let [x, w, y] = [[2, 8, 9, 10], [6, 4, 3, 5], [2, 6, 9, 10]].map(Shape::from);
        let terms = 2.0 * (2 * 6 * 9 * 10) as f64 * (4 * 3 * 5) as f64;
        assert_eq!(flops(&Op::Conv2d(attrs), &[&x, &w], &y), terms);
        assert_eq!(flops(&Op::Conv2dInputGrad { attrs, input: [9, 10] }, &[&y, &w], &x), terms);
        assert_eq!(flops(&Op::Conv2dWeightGrad { attrs, kernel: [3, 5] }, &[&x, &y], &w), terms);
    }
}
