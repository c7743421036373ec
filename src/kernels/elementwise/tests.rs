//! Every operation against its definition, and broadcasting against index arithmetic.
use proptest::prelude::*;

use super::*;
use crate::kernels::testing::{assert_close, values};

/// Operations with their definitions.
type OneOperand = (Unary, fn(f64) -> f64);
type TwoOperands = (Binary, fn(f64, f64) -> f64);
type ThreeOperands = (Ternary, fn(f64, f64, f64) -> f64);

const UNARY: &[OneOperand] = &[
    (Unary::Neg, |x| -x),
    (Unary::Abs, f64::abs),
    (Unary::Sign, |x| {
        if x > 0.0 {
            1.0
        } else if x < 0.0 {
            -1.0
        } else {
            x
        }
    }),
    (Unary::Square, |x| x * x),
    (Unary::Recip, f64::recip),
    (Unary::Sqrt, f64::sqrt),
    (Unary::Rsqrt, |x| 1.0 / x.sqrt()),
    (Unary::Exp, f64::exp),
    (Unary::Expm1, f64::exp_m1),
    (Unary::Log, f64::ln),
    (Unary::Log1p, f64::ln_1p),
    (Unary::Log1mExp, |x| if x > 0.0 { f64::NAN } else { (-x.exp_m1()).ln() }),
    (Unary::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
    (Unary::LogSigmoid, |x| -(1.0 + (-x).exp()).ln()),
    (Unary::Softplus, |x| (1.0 + x.exp()).ln()),
    (Unary::Relu, |x| if x < 0.0 { 0.0 } else { x }),
    (Unary::Tanh, f64::tanh),
    (Unary::Sin, f64::sin),
    (Unary::Cos, f64::cos),
    (Unary::Tan, f64::tan),
    (Unary::Asin, f64::asin),
    (Unary::Acos, f64::acos),
    (Unary::Atan, f64::atan),
    (Unary::Sinh, f64::sinh),
    (Unary::Cosh, f64::cosh),
    (Unary::Floor, f64::floor),
    (Unary::Ceil, f64::ceil),
    (Unary::Round, f64::round_ties_even),
    (Unary::Lgamma, special::lgamma),
    (Unary::Digamma, special::digamma),
    (Unary::Trigamma, special::trigamma),
    (Unary::Erf, special::erf),
    (Unary::Erfc, special::erfc),
    (Unary::Erfinv, special::erfinv),
    (Unary::Ndtr, special::ndtr),
    (Unary::LogNdtr, special::log_ndtr),
    (Unary::Ndtri, special::ndtri),
    (Unary::Gelu, special::gelu),
    (Unary::SoftplusInv, |x| x.exp_m1().ln()),
    (Unary::I0e, special::i0e),
    (Unary::I1e, special::i1e),
    (Unary::Not, |x| if x == 0.0 { 1.0 } else { 0.0 }),
];

fn truth(b: bool) -> f64 {
    if b { 1.0 } else { 0.0 }
}

const BINARY: &[TwoOperands] = &[
    (Binary::Add, |x, y| x + y),
    (Binary::Sub, |x, y| x - y),
    (Binary::Mul, |x, y| x * y),
    (Binary::Div, |x, y| x / y),
    (Binary::Rem, |x, y| if x % y != 0.0 && (x % y < 0.0) != (y < 0.0) { x % y + y } else { x % y }),
    (Binary::Pow, f64::powf),
    (Binary::Maximum, |x, y| if x.is_nan() || y.is_nan() { f64::NAN } else { x.max(y) }),
    (Binary::Minimum, |x, y| if x.is_nan() || y.is_nan() { f64::NAN } else { x.min(y) }),
    (Binary::Atan2, f64::atan2),
    (Binary::Xlogy, special::xlogy),
    (Binary::LogAddExp, special::logaddexp),
    (Binary::LogSubExp, |x, y| if x < y { f64::NAN } else { special::logdiffexp(x, y) }),
    (Binary::Lbeta, special::lbeta),
    (Binary::Eq, |x, y| truth(x == y)),
    (Binary::Ne, |x, y| truth(x != y)),
    (Binary::Lt, |x, y| truth(x < y)),
    (Binary::Le, |x, y| truth(x <= y)),
    (Binary::Gt, |x, y| truth(x > y)),
    (Binary::Ge, |x, y| truth(x >= y)),
    (Binary::And, |x, y| truth(x != 0.0 && y != 0.0)),
    (Binary::Or, |x, y| truth(x != 0.0 || y != 0.0)),
    (Binary::GammaIncP, special::gammainc),
    (Binary::GammaIncPda, special::gammainc_da),
    (Binary::GammaIncQ, special::gammaincc),
    (Binary::VonMisesMass, special::von_mises_mass),
    (Binary::VonMisesMassDk, special::von_mises_mass_dk),
];

fn arguments() -> Vec<f64> {
    let mut x: Vec<f64> = (-60..=60).map(|i| f64::from(i) * 0.125).collect();
    x.extend([0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-30, -1e-30, 0.3, 0.5, 0.99, 20.0, 60.0]);
    x
}

#[test]
fn one_operand() {
    let x = arguments();
    for &(op, f) in UNARY {
        let expected: Vec<f64> = x.iter().map(|&x| f(x)).collect();
        let mut y = vec![0.0; x.len()];
        unary(op, &x, &mut y);
        assert_close(&y, &expected, 1e-13, &format!("{op:?}"));
        let single: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let expected: Vec<f64> = single.iter().map(|&x| f64::from(f(f64::from(x)) as f32)).collect();
        let mut y = vec![0.0f32; x.len()];
        unary(op, &single, &mut y);
        assert_close(&y, &expected, 1e-6, &format!("{op:?} in single precision"));
    }
}

/// Results do not depend on the vector instructions that the machine has.
#[test]
fn wide_instructions_give_the_same_bits() {
    fn check<F: Scalar>(bits: impl Fn(F) -> u64) {
        let x: Vec<F> = arguments().into_iter().map(F::from_f64).collect();
        for &(op, _) in UNARY {
            let mut wide = vec![F::ZERO; x.len()];
            unary_tile(op, &x, &mut wide);
            macro_rules! plain {
                ($cost:expr, |$x:ident| $body:expr) => {
                    x.iter().map(|&$x| $body).collect::<Vec<F>>()
                };
            }
            let plain = if is_gamma(op) { wide.clone() } else { unary_table!(op, plain, F) };
            for ((&x, &a), &b) in x.iter().zip(&wide).zip(&plain) {
                assert!(bits(a) == bits(b) || a.is_nan() && b.is_nan(), "{op:?} of {x}: {a}, {b}");
            }
        }
    }
    check::<f32>(|x| u64::from(x.to_bits()));
    check::<f64>(f64::to_bits);
}

#[test]
fn two_operands() {
    let x = arguments();
    let n = x.len();
    for &(op, f) in BINARY {
        let mut expected = Vec::new();
        for &a in &x {
            expected.extend(x.iter().map(|&b| f(a, b)));
        }
        let mut y = vec![0.0; n * n];
        let (a, b) = (Operand { data: &x[..], strides: &[1, 0] }, Operand { data: &x[..], strides: &[0, 1] });
        binary(op, &[n, n], a, b, &mut y);
        assert_close(&y, &expected, 1e-13, &format!("{op:?}"));
        // One operand the same everywhere: the loops with a constant.
        for (k, &c) in x.iter().enumerate() {
            let c = [c];
            let mut row = vec![0.0; n];
            binary(op, &[n], Operand { data: &c, strides: &[0] }, Operand { data: &x, strides: &[1] }, &mut row);
            assert_close(&row, &expected[k * n..(k + 1) * n], 1e-13, &format!("{op:?} from {c:?}"));
            binary(op, &[n], Operand { data: &x, strides: &[1] }, Operand { data: &c, strides: &[0] }, &mut row);
            let column: Vec<f64> = (0..n).map(|i| expected[i * n + k]).collect();
            assert_close(&row, &column, 1e-13, &format!("{op:?} with {c:?}"));
        }
    }
}

#[test]
fn powers() {
    let pow = |x: f64, y: f64| {
        let mut out = [0.0];
        binary(
            Binary::Pow,
            &[1],
            Operand { data: &[x], strides: &[1] },
            Operand { data: &[y], strides: &[1] },
            &mut out,
        );
        out[0]
    };
    assert_eq!(pow(-2.0, 3.0), -8.0);
    assert_eq!(pow(-3.0, -1.0), -1.0 / 3.0);
    assert_eq!(pow(0.0, 0.0), 1.0);
    assert_eq!(pow(f64::NAN, 0.0), 1.0);
    assert_eq!(pow(0.0, -1.0), f64::INFINITY);
    assert!(pow(-8.0, 1.0 / 3.0).is_nan());
    assert_eq!(pow(1.1, 2.0), 1.1 * 1.1);
}

#[test]
fn three_operands() {
    let (a, b, x) = ([0.5, 2.0, 30.0], [1.5, 4.0, 0.25], [0.1, 0.5, 0.9]);
    let table: [ThreeOperands; 3] = [
        (Ternary::BetaInc, special::betainc),
        (Ternary::BetaIncDa, special::betainc_da),
        (Ternary::BetaIncDb, special::betainc_db),
    ];
    let operand = |data, strides| Operand { data, strides };
    for (op, f) in table {
        let mut y = [0.0; 27];
        ternary(op, &[3, 3, 3], operand(&a, &[1, 0, 0]), operand(&b, &[0, 1, 0]), operand(&x, &[0, 0, 1]), &mut y);
        for i in 0..27 {
            assert_eq!(y[i], f(a[i / 9], b[i / 3 % 3], x[i % 3]), "{op:?}");
        }
    }
    let mut y = [0.0; 3];
    select(&[3], operand(&[0.0, 1.0, 2.0], &[1]), operand(&a, &[1]), operand(&b, &[1]), &mut y);
    assert_eq!(y, [1.5, 2.0, 30.0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn broadcasting_agrees_with_index_arithmetic(
        dims in prop::collection::vec(0usize..5, 0..6),
        kept in prop::array::uniform3(prop::collection::vec(any::<bool>(), 6)),
        lead in prop::array::uniform3(0usize..6),
    ) {
        let len: usize = dims.iter().product();
        let shapes: Vec<Vec<usize>> = (0..3)
            .map(|n| {
                let first = lead[n].min(dims.len());
                (first..dims.len()).map(|i| if kept[n][i] { dims[i] } else { 1 }).collect()
            })
            .collect();
        let data: Vec<Vec<f64>> =
            shapes.iter().enumerate().map(|(n, s)| values(n as u64, s.iter().product())).collect();
        let strides: Vec<Vec<usize>> = shapes
            .iter()
            .map(|s| {
                let mut strides = vec![9; dims.len()];
                broadcast_strides(s, &dims, &mut strides);
                strides
            })
            .collect();
        let at = |n: usize, mut flat: usize| {
            let mut offset = 0;
            for axis in (0..dims.len()).rev() {
                offset += flat % dims[axis] * strides[n][axis];
                flat /= dims[axis];
            }
            data[n][offset]
        };
        let operand = |n: usize| Operand { data: &data[n][..], strides: &strides[n] };
        let mut y = vec![f64::NAN; len];
        binary(Binary::Sub, &dims, operand(0), operand(1), &mut y);
        for (i, &y) in y.iter().enumerate() {
            prop_assert_eq!(y, at(0, i) - at(1, i));
        }
        let mut z = vec![f64::NAN; len];
        let mask: Vec<f64> = data[2].iter().map(|&x| truth(x > 0.0)).collect();
        select(&dims, Operand { data: &mask, strides: &strides[2] }, operand(0), operand(1), &mut z);
        for (i, &z) in z.iter().enumerate() {
            prop_assert_eq!(z, if at(2, i) > 0.0 { at(0, i) } else { at(1, i) });
        }
    }
}

/// Arrays long enough for threads, in every form of the loop.
#[test]
fn long_arrays() {
    let (rows, cols) = (700, 401);
    let (x, row, column) = (values::<f32>(1, rows * cols), values::<f32>(2, cols), values::<f32>(3, rows));
    let mut y = vec![0.0; rows * cols];
    let full = Operand { data: &x[..], strides: &[cols, 1] };
    binary(Binary::Add, &[rows, cols], full, Operand { data: &row, strides: &[0, 1] }, &mut y);
    assert!(y.iter().enumerate().all(|(i, &y)| y == x[i] + row[i % cols]));
    binary(Binary::Mul, &[rows, cols], full, Operand { data: &column, strides: &[1, 0] }, &mut y);
    assert!(y.iter().enumerate().all(|(i, &y)| y == x[i] * column[i / cols]));
    binary(Binary::Mul, &[rows, cols], full, full, &mut y);
    assert!(y.iter().zip(&x).all(|(&y, &x)| y == x * x));
    unary(Unary::Neg, &x, &mut y);
    assert!(y.iter().zip(&x).all(|(&y, &x)| y == -x));
    // Transposed reading: strides other than 0 and 1 in the inner loop.
    let turned = Operand { data: &x[..], strides: &[1, cols] };
    let mut t = vec![0.0; rows * cols];
    binary(Binary::Add, &[cols, rows], turned, turned, &mut t);
    assert!((0..cols * rows).all(|i| t[i] == 2.0 * x[i % rows * cols + i / rows]));
}
