//! Maps over arrays of one, two or three operands, with broadcasting by strides.
//!
//! Truth values are 0 and 1; any non-zero number counts as true. The operations of [`super::math`] run as vector code, and
//! so do those of [`special::lanes`], in double precision; the other special functions go one by one.
use super::{Scalar, simd, special, threads};

/// Operations of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the standard ones; the table in `unary` defines them")]
pub enum Unary {
    Neg,
    Abs,
    Sign,
    Square,
    Recip,
    Sqrt,
    Rsqrt,
    Exp,
    Expm1,
    Log,
    Log1p,
    /// ln(1 - e^x), x < 0.
    Log1mExp,
    Sigmoid,
    LogSigmoid,
    /// ln(1 + e^x).
    Softplus,
    Relu,
    Tanh,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Floor,
    Ceil,
    /// To the nearest integer, halves away from zero.
    Round,
    Lgamma,
    Digamma,
    Trigamma,
    Erf,
    Erfc,
    Erfinv,
    /// The standard normal distribution function.
    Ndtr,
    LogNdtr,
    Ndtri,
    /// x Phi(x), Phi the standard normal distribution function.
    Gelu,
    /// ln(e^x - 1), x > 0.
    SoftplusInv,
    /// e^-|x| I_0(x).
    I0e,
    /// e^-|x| I_1(x).
    I1e,
    Not,
}

/// Operations of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the standard ones; the table in `binary` defines them")]
pub enum Binary {
    Add,
    Sub,
    Mul,
    /// a b, and 0 where a is 0 even if b is infinite or NaN.
    MulAbsorbing,
    Div,
    /// Remainder with the sign of the divisor: a - b floor(a / b).
    Rem,
    Pow,
    /// The larger one; NaN when one of them is.
    Maximum,
    /// The smaller one; NaN when one of them is.
    Minimum,
    Atan2,
    /// a ln b, 0 where a is 0.
    Xlogy,
    LogAddExp,
    /// ln(e^a - e^b), a >= b.
    LogSubExp,
    /// The logarithm of the beta function.
    Lbeta,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
    /// P(a, x), the regularised lower incomplete gamma function.
    GammaIncP,
    /// dP(a, x)/da.
    GammaIncPda,
    /// Q(a, x) = 1 - P(a, x).
    GammaIncQ,
    /// The mass of the von Mises distribution of concentration k within the angle t beyond its location.
    VonMisesMass,
    /// Its derivative in k.
    VonMisesMassDk,
}

/// Operations of three operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ternary {
    /// The second operand where the first is true, the third elsewhere.
    Select,
    /// I_x(a, b), operands in the order a, b, x.
    BetaInc,
    /// dI_x(a, b)/da.
    BetaIncDa,
    /// dI_x(a, b)/db.
    BetaIncDb,
}

/// An operand of a broadcast map: its elements and one stride per output dimension (0 along a repeated one).
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a, F> {
    /// The elements.
    pub data: &'a [F],
    /// Steps in elements, one per output dimension.
    pub strides: &'a [usize],
}

/// The largest number of dimensions of a broadcast map.
pub const MAX_RANK: usize = 12;

/// Writes the strides with which an array of shape `shape` is read as one of shape `dims` (aligned at the last
/// dimension; dimensions of size 1 repeat) into `strides`, one per entry of `dims`.
///
/// Panics when the shapes do not broadcast.
pub fn broadcast_strides(shape: &[usize], dims: &[usize], strides: &mut [usize]) {
    assert!(shape.len() <= dims.len() && strides.len() == dims.len(), "shapes that broadcast");
    let lead = dims.len() - shape.len();
    strides[..lead].fill(0);
    let mut step = 1;
    for i in (0..shape.len()).rev() {
        assert!(shape[i] == dims[lead + i] || shape[i] == 1, "shapes that broadcast");
        strides[lead + i] = if shape[i] == 1 && dims[lead + i] != 1 { 0 } else { step };
        step *= shape[i];
    }
}

/// What one element costs, in units of an addition; decides on threads only.
const CHEAP: usize = 1;
const ELEMENTARY: usize = 8;
const SPECIAL: usize = 64;

/// Calls `$go!(cost, |x| expression)` with the definition of a one-operand operation.
macro_rules! unary_table {
    ($op:expr, $go:ident, $f:ident) => {
        match $op {
            Unary::Neg => $go!(CHEAP, |x| -x),
            Unary::Abs => $go!(CHEAP, |x| x.abs()),
            Unary::Sign => $go!(CHEAP, |x| if x > $f::ZERO {
                $f::ONE
            } else if x < $f::ZERO {
                -$f::ONE
            } else {
                x
            }),
            Unary::Square => $go!(CHEAP, |x| x * x),
            Unary::Recip => $go!(CHEAP, |x| $f::ONE / x),
            Unary::Sqrt => $go!(CHEAP, |x| x.sqrt()),
            Unary::Rsqrt => $go!(CHEAP, |x| $f::ONE / x.sqrt()),
            Unary::Exp => $go!(ELEMENTARY, |x| x.exp()),
            Unary::Expm1 => $go!(ELEMENTARY, |x| x.expm1()),
            Unary::Log => $go!(ELEMENTARY, |x| x.ln()),
            Unary::Log1p => $go!(ELEMENTARY, |x| x.ln_1p()),
            Unary::Log1mExp => $go!(ELEMENTARY, |x| (-x).log1mexp()),
            Unary::Sigmoid => $go!(ELEMENTARY, |x| x.sigmoid()),
            Unary::LogSigmoid => $go!(ELEMENTARY, |x| x.log_sigmoid()),
            Unary::Softplus => $go!(ELEMENTARY, |x| x.softplus()),
            // NaN is not below zero, so it passes through.
            Unary::Relu => $go!(CHEAP, |x| if x < $f::ZERO { $f::ZERO } else { x }),
            Unary::Tanh => $go!(ELEMENTARY, |x| x.tanh()),
            Unary::Sin => $go!(ELEMENTARY, |x| $f::from_f64(x.to_f64().sin())),
            Unary::Cos => $go!(ELEMENTARY, |x| $f::from_f64(x.to_f64().cos())),
            Unary::Tan => $go!(ELEMENTARY, |x| $f::from_f64(x.to_f64().tan())),
            Unary::Asin => $go!(ELEMENTARY, |x| $f::from_f64(x.to_f64().asin())),
            Unary::Acos => $go!(ELEMENTARY, |x| $f::from_f64(x.to_f64().acos())),
            Unary::Atan => $go!(ELEMENTARY, |x| $f::from_f64(x.to_f64().atan())),
            Unary::Sinh => $go!(ELEMENTARY, |x| $f::from_f64(x.to_f64().sinh())),
            Unary::Cosh => $go!(ELEMENTARY, |x| $f::from_f64(x.to_f64().cosh())),
            Unary::Floor => $go!(CHEAP, |x| x.floor()),
            Unary::Ceil => $go!(CHEAP, |x| x.ceil()),
            Unary::Round => $go!(CHEAP, |x| x.round()),
            Unary::Lgamma => $go!(SPECIAL, |x| $f::from_f64(special::lanes::anywhere(
                x.to_f64(),
                special::lanes::lgamma,
                special::lgamma
            ))),
            Unary::Digamma => $go!(SPECIAL, |x| $f::from_f64(special::lanes::anywhere(
                x.to_f64(),
                special::lanes::digamma,
                special::digamma
            ))),
            Unary::Trigamma => $go!(SPECIAL, |x| $f::from_f64(special::lanes::anywhere(
                x.to_f64(),
                special::lanes::trigamma,
                special::trigamma
            ))),
            Unary::Erf => $go!(ELEMENTARY, |x| $f::from_f64(special::lanes::erf(x.to_f64()))),
            Unary::Erfc => $go!(ELEMENTARY, |x| $f::from_f64(special::lanes::erfc(x.to_f64()))),
            Unary::Erfinv => $go!(SPECIAL, |x| $f::from_f64(special::erfinv(x.to_f64()))),
            Unary::Ndtr => $go!(ELEMENTARY, |x| $f::from_f64(special::lanes::ndtr(x.to_f64()))),
            Unary::LogNdtr => $go!(ELEMENTARY, |x| $f::from_f64(special::lanes::log_ndtr(x.to_f64()))),
            Unary::Ndtri => $go!(SPECIAL, |x| $f::from_f64(special::ndtri(x.to_f64()))),
            Unary::Gelu => $go!(ELEMENTARY, |x| $f::from_f64(special::lanes::gelu(x.to_f64()))),
            Unary::SoftplusInv => $go!(ELEMENTARY, |x| x.softplus_inv()),
            Unary::I0e => $go!(SPECIAL, |x| $f::from_f64(special::i0e(x.to_f64()))),
            Unary::I1e => $go!(SPECIAL, |x| $f::from_f64(special::i1e(x.to_f64()))),
            Unary::Not => $go!(CHEAP, |x| $f::from_bool(x == $f::ZERO)),
        }
    };
}
pub(crate) use unary_table;

/// Operations whose vector code is for positive arguments.
fn is_gamma(op: Unary) -> bool {
    matches!(op, Unary::Lgamma | Unary::Digamma | Unary::Trigamma)
}

/// Elements that such an operation takes at once.
const GAMMAS: usize = 32;

/// x[i] = op(x[i]) for [`is_gamma`]; as vector code when all are positive.
#[inline(always)]
fn gammas(op: Unary, x: &mut [f64; GAMMAS]) {
    let positive = x.iter().all(|&x| x > 0.0);
    macro_rules! each {
        ($f:ident) => {
            if positive {
                x.iter_mut().for_each(|x| *x = special::lanes::$f(*x));
            } else {
                x.iter_mut().for_each(|x| *x = special::lanes::anywhere(*x, special::lanes::$f, special::$f));
            }
        };
    }
    match op {
        Unary::Lgamma => each!(lgamma),
        Unary::Digamma => each!(digamma),
        _ => each!(trigamma),
    }
}

/// Calls [`gammas`] on piece after piece of `x`.
fn gamma_tile<F: Scalar>(op: Unary, x: &[F], y: &mut [F]) {
    simd::dispatch_wide(
        #[inline(always)]
        || {
            for (x, y) in x.chunks(GAMMAS).zip(y.chunks_mut(GAMMAS)) {
                // What is not there counts as 1, which every one of them takes.
                let mut piece = [1.0; GAMMAS];
                piece.iter_mut().zip(x).for_each(|(p, &x)| *p = x.to_f64());
                gammas(op, &mut piece);
                y.iter_mut().zip(piece).for_each(|(y, p)| *y = F::from_f64(p));
            }
        },
    );
}

/// y[i] = op(x[i]); the lengths are equal.
pub fn unary<F: Scalar>(op: Unary, x: &[F], y: &mut [F]) {
    assert_eq!(x.len(), y.len(), "a map keeps the length");
    macro_rules! cost {
        ($cost:expr, |$x:ident| $body:expr) => {
            $cost
        };
    }
    let cost = if is_gamma(op) { ELEMENTARY } else { unary_table!(op, cost, F) };
    threads::for_each_chunk(y, 1024, cost * x.len(), |start, y| unary_tile(op, &x[start..start + y.len()], y));
}

/// y[i] = op(x[i]) for slices of one length, on the calling thread: one tile of a longer array.
pub fn unary_tile<F: Scalar>(op: Unary, x: &[F], y: &mut [F]) {
    assert_eq!(x.len(), y.len(), "a map keeps the length");
    if is_gamma(op) {
        return gamma_tile(op, x, y);
    }
    macro_rules! go {
        ($cost:expr, |$x:ident| $body:expr) => {
            simd::dispatch_wide(
                #[inline(always)]
                || {
                    for (y, &$x) in y.iter_mut().zip(x) {
                        *y = $body;
                    }
                },
            )
        };
    }
    unary_table!(op, go, F);
}

/// Calls `$go!(cost, |x, y| expression)` with the definition of a two-operand operation.
macro_rules! binary_table {
    ($op:expr, $go:ident, $f:ident) => {
        match $op {
            Binary::Add => $go!(CHEAP, |x, y| x + y),
            Binary::Sub => $go!(CHEAP, |x, y| x - y),
            Binary::Mul => $go!(CHEAP, |x, y| x * y),
            Binary::MulAbsorbing => $go!(CHEAP, |x, y| if x == $f::ZERO { $f::ZERO } else { x * y }),
            Binary::Div => $go!(CHEAP, |x, y| x / y),
            Binary::Rem => $go!(ELEMENTARY, |x, y| {
                let r = x % y;
                if r != $f::ZERO && (r < $f::ZERO) != (y < $f::ZERO) { r + y } else { r }
            }),
            Binary::Pow => $go!(SPECIAL, |x, y| x.powf(y)),
            Binary::Maximum => $go!(CHEAP, |x, y| if x > y || x.is_nan() { x } else { y }),
            Binary::Minimum => $go!(CHEAP, |x, y| if x < y || x.is_nan() { x } else { y }),
            Binary::Atan2 => $go!(ELEMENTARY, |x, y| $f::from_f64(x.to_f64().atan2(y.to_f64()))),
            Binary::Xlogy => $go!(ELEMENTARY, |x, y| {
                let z = x * y.ln();
                if x == $f::ZERO && !y.is_nan() { $f::ZERO } else { z }
            }),
            Binary::LogAddExp => $go!(ELEMENTARY, |x, y| {
                let (high, low) = if x < y { (y, x) } else { (x, y) };
                let z = high + (low - high).exp().ln_1p();
                // Equal infinities have no difference; NaN fails both comparisons and stays in z.
                if high == low && !high.is_finite() { high } else { z }
            }),
            Binary::LogSubExp => $go!(ELEMENTARY, |x, y| {
                let z = x + (x - y).log1mexp();
                if x == y { $f::NEG_INFINITY } else { z }
            }),
            Binary::Lbeta => $go!(SPECIAL, |x, y| $f::from_f64(special::lbeta(x.to_f64(), y.to_f64()))),
            Binary::Eq => $go!(CHEAP, |x, y| $f::from_bool(x == y)),
            Binary::Ne => $go!(CHEAP, |x, y| $f::from_bool(x != y)),
            Binary::Lt => $go!(CHEAP, |x, y| $f::from_bool(x < y)),
            Binary::Le => $go!(CHEAP, |x, y| $f::from_bool(x <= y)),
            Binary::Gt => $go!(CHEAP, |x, y| $f::from_bool(x > y)),
            Binary::Ge => $go!(CHEAP, |x, y| $f::from_bool(x >= y)),
            Binary::And => $go!(CHEAP, |x, y| $f::from_bool(x != $f::ZERO && y != $f::ZERO)),
            Binary::Or => $go!(CHEAP, |x, y| $f::from_bool(x != $f::ZERO || y != $f::ZERO)),
            Binary::GammaIncP => $go!(SPECIAL, |x, y| $f::from_f64(special::gammainc(x.to_f64(), y.to_f64()))),
            Binary::GammaIncPda => $go!(SPECIAL, |x, y| $f::from_f64(special::gammainc_da(x.to_f64(), y.to_f64()))),
            Binary::GammaIncQ => $go!(SPECIAL, |x, y| $f::from_f64(special::gammaincc(x.to_f64(), y.to_f64()))),
            Binary::VonMisesMass => $go!(SPECIAL, |x, y| $f::from_f64(special::von_mises_mass(x.to_f64(), y.to_f64()))),
            Binary::VonMisesMassDk => {
                $go!(SPECIAL, |x, y| $f::from_f64(special::von_mises_mass_dk(x.to_f64(), y.to_f64())))
            }
        }
    };
}
pub(crate) use binary_table;

/// out[i] = op(a[i], b[i]) over the positions i of an array of shape `dims`, row-major; operands by strides.
///
/// GammaIncP and its kin take (a, x). `Pow` is C's pow: a negative base with an exponent that is no integer gives NaN.
pub fn binary<F: Scalar>(op: Binary, dims: &[usize], a: Operand<'_, F>, b: Operand<'_, F>, out: &mut [F]) {
    let layout = Layout::new(dims, [a.strides, b.strides]);
    let (a, b) = (a.data, b.data);
    macro_rules! go {
        ($cost:expr, |$x:ident, $y:ident| $body:expr) => {
            map2(
                &layout,
                $cost,
                a,
                b,
                out,
                #[inline(always)]
                |$x: F, $y: F| $body,
            )
        };
    }
    // One exponent for the whole array, and a small one: products, exact for the square.
    if op == Binary::Pow && layout.constant(1) && b.first().is_some_and(|&y| small_power(y).is_some()) {
        return match small_power(b[0]) {
            Some(0) => go!(CHEAP, |_x, _y| F::ONE),
            Some(1) => go!(CHEAP, |x, _y| x),
            Some(2) => go!(CHEAP, |x, _y| x * x),
            Some(3) => go!(CHEAP, |x, _y| x * x * x),
            Some(4) => go!(CHEAP, |x, _y| (x * x) * (x * x)),
            _ => go!(CHEAP, |x, _y| F::ONE / x),
        };
    }
    binary_table!(op, go, F);
}

/// y[i] = op(a[i], b[i]) for slices of one length, on the calling thread: one tile of a longer array.
pub fn binary_tile<F: Scalar>(op: Binary, a: &[F], b: &[F], y: &mut [F]) {
    assert!(a.len() == y.len() && b.len() == y.len(), "operands of one length");
    macro_rules! go {
        ($cost:expr, |$a:ident, $b:ident| $body:expr) => {
            simd::dispatch_wide(
                #[inline(always)]
                || {
                    for ((y, &$a), &$b) in y.iter_mut().zip(a).zip(b) {
                        *y = $body;
                    }
                },
            )
        };
    }
    binary_table!(op, go, F);
}

/// y[i] = op(a[i], b[i], c[i]) for slices of one length, on the calling thread: one tile of a longer array.
pub fn ternary_tile<F: Scalar>(op: Ternary, a: &[F], b: &[F], c: &[F], y: &mut [F]) {
    assert!(a.len() == y.len() && b.len() == y.len() && c.len() == y.len(), "operands of one length");
    let mut go = |f: fn(f64, f64, f64) -> f64| {
        for (((y, &a), &b), &c) in y.iter_mut().zip(a).zip(b).zip(c) {
            *y = F::from_f64(f(a.to_f64(), b.to_f64(), c.to_f64()));
        }
    };
    match op {
        Ternary::Select => simd::dispatch(
            #[inline(always)]
            || {
                for (((y, &a), &b), &c) in y.iter_mut().zip(a).zip(b).zip(c) {
                    *y = if a != F::ZERO { b } else { c };
                }
            },
        ),
        Ternary::BetaInc => go(special::betainc),
        Ternary::BetaIncDa => go(special::betainc_da),
        Ternary::BetaIncDb => go(special::betainc_db),
    }
}

/// out[i] = op(a[i], b[i], c[i]) over the positions i of an array of shape `dims`, row-major; operands by strides.
pub fn ternary<F: Scalar>(
    op: Ternary,
    dims: &[usize],
    a: Operand<'_, F>,
    b: Operand<'_, F>,
    c: Operand<'_, F>,
    out: &mut [F],
) {
    let layout = Layout::new(dims, [a.strides, b.strides, c.strides]);
    let data = [a.data, b.data, c.data];
    macro_rules! special {
        ($f:ident) => {
            map3(
                &layout,
                SPECIAL,
                data,
                out,
                #[inline(always)]
                |a: F, b: F, x: F| F::from_f64(special::$f(a.to_f64(), b.to_f64(), x.to_f64())),
            )
        };
    }
    match op {
        Ternary::Select => map3(
            &layout,
            CHEAP,
            data,
            out,
            #[inline(always)]
            |c, x, y| if c != F::ZERO { x } else { y },
        ),
        Ternary::BetaInc => special!(betainc),
        Ternary::BetaIncDa => special!(betainc_da),
        Ternary::BetaIncDb => special!(betainc_db),
    }
}

/// out[i] = a[i] where c[i] is true (not 0), b[i] elsewhere; see [`ternary`].
pub fn select<F: Scalar>(
    dims: &[usize],
    condition: Operand<'_, F>,
    a: Operand<'_, F>,
    b: Operand<'_, F>,
    out: &mut [F],
) {
    ternary(Ternary::Select, dims, condition, a, b, out);
}

/// The exponent as an integer, if `Pow` has a product for it.
fn small_power<F: Scalar>(y: F) -> Option<i32> {
    [-1, 0, 1, 2, 3, 4].into_iter().find(|&n| y == F::from_f64(f64::from(n)))
}

/// The positions of a broadcast map with as few dimensions as possible.
pub(crate) struct Layout<const N: usize> {
    rank: usize,
    dims: [usize; MAX_RANK],
    strides: [[usize; MAX_RANK]; N],
}

impl<const N: usize> Layout<N> {
    /// Drops dimensions of size 1 and merges neighbours along which every operand moves evenly.
    pub(crate) fn new(dims: &[usize], strides: [&[usize]; N]) -> Self {
        let mut layout = Self { rank: 0, dims: [1; MAX_RANK], strides: [[0; MAX_RANK]; N] };
        for (axis, &dim) in dims.iter().enumerate() {
            if dim == 1 {
                continue;
            }
            let last = layout.rank.wrapping_sub(1);
            let merges = layout.rank > 0 && (0..N).all(|n| layout.strides[n][last] == strides[n][axis] * dim);
            if merges {
                layout.dims[last] *= dim;
            } else {
                layout.dims[layout.rank] = dim;
                layout.rank += 1;
            }
            for (mine, strides) in layout.strides.iter_mut().zip(strides) {
                mine[layout.rank - 1] = strides[axis];
            }
        }
        if layout.rank == 0 {
            layout.rank = 1;
        }
        layout
    }

    /// Whether operand `n` has one value everywhere.
    fn constant(&self, n: usize) -> bool {
        self.strides[n][..self.rank].iter().all(|&s| s == 0)
    }

    /// Length and strides of the innermost dimension.
    pub(crate) fn inner(&self) -> (usize, [usize; N]) {
        let last = self.rank - 1;
        (self.dims[last], std::array::from_fn(|n| self.strides[n][last]))
    }

    /// Calls `f(offsets, row)` for consecutive rows of `out`, whose first element has the flat position `start`
    /// (a multiple of the inner length).
    pub(crate) fn rows<T>(&self, start: usize, out: &mut [T], mut f: impl FnMut([usize; N], &mut [T])) {
        if out.is_empty() {
            return;
        }
        let (len, _) = self.inner();
        let outer = self.rank - 1;
        let mut index = [0; MAX_RANK];
        let mut offsets = [0; N];
        let mut row = start / len.max(1);
        for axis in (0..outer).rev() {
            index[axis] = row % self.dims[axis];
            row /= self.dims[axis];
            for (offset, strides) in offsets.iter_mut().zip(&self.strides) {
                *offset += index[axis] * strides[axis];
            }
        }
        for out in out.chunks_exact_mut(len.max(1)) {
            f(offsets, out);
            self.advance(&mut index, &mut offsets);
        }
    }

    /// Calls `f(row number, offsets)` for every row.
    pub(crate) fn offsets(&self, mut f: impl FnMut(usize, [usize; N])) {
        let outer = self.rank - 1;
        let mut index = [0; MAX_RANK];
        let mut offsets = [0; N];
        for row in 0..self.dims[..outer].iter().product() {
            f(row, offsets);
            self.advance(&mut index, &mut offsets);
        }
    }

    /// Moves to the next row.
    #[inline(always)]
    fn advance(&self, index: &mut [usize; MAX_RANK], offsets: &mut [usize; N]) {
        for axis in (0..self.rank - 1).rev() {
            index[axis] += 1;
            let wrapped = index[axis] == self.dims[axis];
            for (offset, strides) in offsets.iter_mut().zip(&self.strides) {
                *offset += strides[axis];
                if wrapped {
                    *offset -= self.dims[axis] * strides[axis];
                }
            }
            if !wrapped {
                break;
            }
            index[axis] = 0;
        }
    }

    /// Cuts `out` for the threads: pieces are whole rows, or parts of the only row.
    fn pieces<F: Scalar>(&self, cost: usize, out: &mut [F], f: impl Fn([usize; N], &mut [F]) + Sync) {
        let len: usize = self.dims[..self.rank].iter().product();
        assert_eq!(out.len(), len, "the output has the shape of the map");
        let (inner, strides) = self.inner();
        if self.rank == 1 {
            threads::for_each_chunk(out, 1024, cost * len, |start, out| f(strides.map(|s| s * start), out));
        } else {
            threads::for_each_chunk(out, inner, cost * len, |start, out| self.rows(start, out, &f));
        }
    }
}

/// The loop of a two-operand map.
#[inline(always)]
fn map2<F: Scalar>(
    layout: &Layout<2>,
    cost: usize,
    a: &[F],
    b: &[F],
    out: &mut [F],
    f: impl Fn(F, F) -> F + Copy + Sync,
) {
    let (_, [sa, sb]) = layout.inner();
    layout.pieces(cost, out, |[oa, ob], out| {
        if out.is_empty() {
            return;
        }
        let (a, b) = (&a[oa..], &b[ob..]);
        simd::dispatch(
            #[inline(always)]
            || match (sa, sb) {
                (1, 1) => out.iter_mut().zip(a).zip(b).for_each(
                    #[inline(always)]
                    |((o, &a), &b)| *o = f(a, b),
                ),
                (1, 0) => {
                    let b = b[0];
                    out.iter_mut().zip(a).for_each(
                        #[inline(always)]
                        |(o, &a)| *o = f(a, b),
                    );
                }
                (0, 1) => {
                    let a = a[0];
                    out.iter_mut().zip(b).for_each(
                        #[inline(always)]
                        |(o, &b)| *o = f(a, b),
                    );
                }
                _ => {
                    for (i, o) in out.iter_mut().enumerate() {
                        *o = f(a[i * sa], b[i * sb]);
                    }
                }
            },
        );
    });
}

/// The loop of a three-operand map.
#[inline(always)]
fn map3<F: Scalar>(
    layout: &Layout<3>,
    cost: usize,
    [a, b, c]: [&[F]; 3],
    out: &mut [F],
    f: impl Fn(F, F, F) -> F + Copy + Sync,
) {
    let (_, [sa, sb, sc]) = layout.inner();
    layout.pieces(cost, out, |[oa, ob, oc], out| {
        if out.is_empty() {
            return;
        }
        let (a, b, c) = (&a[oa..], &b[ob..], &c[oc..]);
        simd::dispatch(
            #[inline(always)]
            || {
                if (sa, sb, sc) == (1, 1, 1) {
                    for (((o, &a), &b), &c) in out.iter_mut().zip(a).zip(b).zip(c) {
                        *o = f(a, b, c);
                    }
                } else {
                    for (i, o) in out.iter_mut().enumerate() {
                        *o = f(a[i * sa], b[i * sb], c[i * sc]);
                    }
                }
            },
        );
    });
}

#[cfg(test)]
mod tests;
