//! Dirichlet(concentration a): probabilities of K classes, a draw of the simplex.
//!
//! log_prob(x) = lnGamma(A) - sum_k lnGamma(a_k) + sum_k (a_k - 1) ln x_k,  A = sum_k a_k, with respect to the first
//! K - 1 coordinates.   mean a_k/A,  variance a_k (A - a_k) / (A^2 (A + 1)).
//! Draws: Gamma variables over their sum, which also carries their implicit gradient.

use super::gamma::standard_gamma;
use super::pieces::{expand_last, guard, or_impossible};
use super::support::is_simplex;
use super::{DistDef, DistId, Reparam, Sampler, SupportKind, implicit, vector};
use crate::ir::{Builder, ValueId};
use crate::kernels::elementwise::Binary;
use rand::{Rng, RngExt};
use rand_distr::Open01;

pub(super) static DIRICHLET: DistDef = DistDef {
    name: "Dirichlet",
    summary: "Probabilities of K classes, concentrated around concentration / sum(concentration).",
    formula: "ln Gamma(sum_k concentration[k]) - sum_k ln Gamma(concentration[k]) + sum_k (concentration[k] - 1) ln x[k]",
    params: &[vector("concentration", SupportKind::Positive)],
    support: SupportKind::Simplex,
    event_rank: 1,
    log_prob,
    rsample: Reparam::Implicit(|g, p, shape| {
        let gammas = implicit::standard_gamma(g, p[0], shape);
        let sum = g.sum_last(gammas, 1);
        let sum = expand_last(g, sum);
        g.div(gammas, sum)
    }),
    sample: Sampler::Event(|rng, p, out| draw(rng, p[0], out)),
    mean: Some(|g, p| {
        let (_, share) = total_and_share(g, p[0]);
        share
    }),
    variance: Some(|g, p| {
        let (total, share) = total_and_share(g, p[0]);
        let rest = g.scalar_sub(1.0, share);
        let product = g.mul(share, rest);
        let more = g.add_scalar(total, 1.0);
        g.div(product, more)
    }),
    entropy: Some(|g, p| {
        // -norm - sum_k (a_k - 1) (psi(a_k) - psi(A))
        let norm = log_norm(g, p[0]);
        let mean_logs = mean_logs(g, p[0]);
        let less = g.add_scalar(p[0], -1.0);
        let terms = g.mul(less, mean_logs);
        let sum = g.sum_last(terms, 1);
        let sum = g.add(sum, norm);
        g.neg(sum)
    }),
    kl: &[(DistId::DIRICHLET, |g, p, q| {
        let (norm_p, norm_q) = (log_norm(g, p[0]), log_norm(g, q[0]));
        let mean_logs = mean_logs(g, p[0]);
        let gap = g.sub(p[0], q[0]);
        let terms = g.mul(gap, mean_logs);
        let sum = g.sum_last(terms, 1);
        let norms = g.sub(norm_p, norm_q);
        g.add(sum, norms)
    })],
    ..DistDef::BASE
};

/// Gamma draws in logarithms, so that tiny concentrations do not lose them all to underflow: for a < 1,
/// Gamma(a) = Gamma(a + 1) U^(1/a).
pub(super) fn draw(rng: &mut dyn Rng, concentration: &[f64], out: &mut [f64]) {
    for (x, &a) in out.iter_mut().zip(concentration) {
        *x = if a < 1.0 {
            let u: f64 = rng.sample(Open01);
            standard_gamma(rng, a + 1.0).ln() + u.ln() / a
        } else {
            standard_gamma(rng, a).ln()
        };
    }
    let top = out.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    out.iter_mut().for_each(|x| *x = (*x - top).exp());
    let sum: f64 = out.iter().sum();
    out.iter_mut().for_each(|x| *x /= sum);
}

fn log_prob(g: &mut Builder, x: ValueId, p: &[ValueId]) -> ValueId {
    let simplex = is_simplex(g, x);
    // An entry of 0 is possible where its power is 0; for a negative power the density is infinite.
    let positive = super::pieces::is_positive(g, x);
    let level = g.compare_scalar(Binary::Eq, p[0], 1.0);
    let fine = g.or(positive, level);
    let axis = g.rank(fine) - 1;
    let all_fine = g.reduce(crate::ops::Reduction::Min, fine, &[axis]);
    let inside = g.and(simplex, all_fine);
    let safe = guard(g, positive, x, 1.0);
    let log_x = g.log(safe);
    let less = g.add_scalar(p[0], -1.0);
    let terms = g.mul(less, log_x);
    let sum = g.sum_last(terms, 1);
    let norm = log_norm(g, p[0]);
    let lp = g.add(sum, norm);
    or_impossible(g, inside, lp)
}

/// `lnGamma(A) - sum_k lnGamma(a_k)`
fn log_norm(g: &mut Builder, a: ValueId) -> ValueId {
    let total = g.sum_last(a, 1);
    let whole = g.lgamma(total);
    let parts = g.lgamma(a);
    let parts = g.sum_last(parts, 1);
    g.sub(whole, parts)
}

/// `E ln x_k = psi(a_k) - psi(A)`
fn mean_logs(g: &mut Builder, a: ValueId) -> ValueId {
    let total = g.sum_last(a, 1);
    let total = expand_last(g, total);
    let whole = g.digamma(total);
    let own = g.digamma(a);
    g.sub(own, whole)
}

pub(super) fn total_and_share(g: &mut Builder, a: ValueId) -> (ValueId, ValueId) {
    let total = g.sum_last(a, 1);
    let total = expand_last(g, total);
    (total, g.div(a, total))
}
