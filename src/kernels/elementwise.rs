//! Elementwise maps.
/// Maps of one operand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Unary { Neg, Abs, Sign, Square, Recip, Sqrt, Rsqrt, Exp, Expm1, Log, Log1p, Log1mExp, Sigmoid, LogSigmoid, Softplus, Relu, Tanh, Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Floor, Ceil, Round, Lgamma, Digamma, Trigamma, Erf, Erfc, Erfinv, Ndtr, LogNdtr, Ndtri, Gelu, SoftplusInv, I0e, I1e, Not }
/// Maps of two operands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Binary { Add, Sub, Mul, Div, Rem, Pow, Maximum, Minimum, Atan2, Xlogy, LogAddExp, LogSubExp, Lbeta, GammaIncP, GammaIncPda, GammaIncQ, Eq, Ne, Lt, Le, Gt, Ge, And, Or }
/// Maps of three operands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Ternary { Select, BetaInc, BetaIncDa, BetaIncDb }
