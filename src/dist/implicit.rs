//! Implicit reparameterization: draws whose gradient comes from the cdf.
//!
//! If `F(x; a)` is the cdf and `f` the density, a draw moves with `dx/da = -(dF/da) / f(x)`. The draw itself is made
//! on the host; to it is added `w (a - stop_gradient a)`, which is 0 and has the gradient `w = dx/da`.
//! Source: Figurnov, Mohamed & Mnih 2018, arXiv:1805.08498.

use super::DistId;
use crate::ir::{Builder, Shape, ValueId};
use crate::kernels::elementwise::{Binary, Ternary};
use crate::ops::Op;

/// Draws at or below this come from underflow for tiny concentrations; it is a normal number in either precision.
pub(super) const SMALLEST_DRAW: f64 = 1.2e-38;

/// A draw of Gamma(concentration, 1), differentiable in `concentration`.
pub(super) fn standard_gamma(g: &mut Builder, concentration: ValueId, shape: &Shape) -> ValueId {
    let one = g.scalar(1.0);
    let fixed = g.stop_gradient(concentration);
    let draw = g.draw(DistId::GAMMA, &[fixed, one], shape.clone());
    let smallest = g.scalar(SMALLEST_DRAW);
    let draw = g.maximum(draw, smallest);
    let change = g.push(Op::Binary(Binary::GammaIncPda), &[fixed, draw]);
    let log_draw = g.log(draw);
    let less = g.add_scalar(fixed, -1.0);
    let rise = g.mul(less, log_draw);
    let lgamma = g.lgamma(fixed);
    let fall = g.add(draw, lgamma);
    let log_density = g.sub(rise, fall);
    attach(g, draw, &[(concentration, change)], log_density)
}

/// A draw of Beta(alpha, beta), differentiable in both.
pub(super) fn beta(g: &mut Builder, alpha: ValueId, beta: ValueId, shape: &Shape) -> ValueId {
    let (a, b) = (g.stop_gradient(alpha), g.stop_gradient(beta));
    let draw = g.draw(DistId::BETA, &[a, b], shape.clone());
    let draw = open_unit(g, draw);
    let by_alpha = g.push(Op::Ternary(Ternary::BetaIncDa), &[a, b, draw]);
    let by_beta = g.push(Op::Ternary(Ternary::BetaIncDb), &[a, b, draw]);
    let log_density = (super::get(DistId::BETA).log_prob)(g, draw, &[a, b]);
    attach(g, draw, &[(alpha, by_alpha), (beta, by_beta)], log_density)
}

/// `draw` with the gradient `-change / e^log_density` in each parameter.
pub(super) fn attach(g: &mut Builder, draw: ValueId, changes: &[(ValueId, ValueId)], log_density: ValueId) -> ValueId {
    let density = g.exp(log_density);
    changes.iter().fold(draw, |draw, &(param, change)| {
        let slope = g.div(change, density);
        let slope = g.stop_gradient(slope);
        let fixed = g.stop_gradient(param);
        let zero = g.sub(fixed, param);
        let term = g.mul(slope, zero);
        g.add(draw, term)
    })
}

/// A draw of the unit interval kept off its ends. In single precision the largest number below 1 is 1 - 6e-8.
pub(super) fn open_unit(g: &mut Builder, draw: ValueId) -> ValueId {
    let smallest = g.scalar(SMALLEST_DRAW);
    let largest = g.scalar(1.0 - 6e-8);
    let draw = g.maximum(draw, smallest);
    g.minimum(draw, largest)
}
