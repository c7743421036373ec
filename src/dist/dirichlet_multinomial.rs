//! DirichletMultinomial(total n, concentration a): counts of n draws whose probabilities are a draw of Dirichlet(a).
//!
//! log_prob(x) = ln n + ln B(n, A) - sum over x_k > 0 of ln x_k + ln B(x_k, a_k),  A = sum_k a_k.
//! With B in place of log-gammas, large counts cancel no digits.   mean n a_k/A,
//! variance n p (1 - p) (n + A) / (1 + A), p = a_k/A.
//! Source: Johnson, Kotz & Balakrishnan, Discrete Multivariate Distributions, ch. 35, sec. 13.1.

use super::pieces::{all_last, expand_last, guard, is_count, is_positive, or_impossible};
use super::{DistDef, Sampler, SupportKind, dirichlet, multinomial, scalar, vector};
use crate::ir::{Builder, DType, ValueId};

pub(super) static DIRICHLET_MULTINOMIAL: DistDef = DistDef {
    name: "DirichletMultinomial",
    summary: "How often each of K classes came up in total draws with probabilities from a Dirichlet: overdispersed counts.",
    formula: "ln Gamma(A) + ln total! - ln Gamma(total + A) + sum_k (ln Gamma(x[k] + a[k]) - ln Gamma(a[k]) - ln x[k]!),   \
              a = concentration, A = sum_k a[k]   for counts x that sum to total",
    params: &[scalar("total", SupportKind::Count), vector("concentration", SupportKind::Positive)],
    support: SupportKind::CountVector,
    dtype: DType::Int,
    event_rank: 1,
    log_prob,
    sample: Sampler::Event(|rng, p, out| {
        let mut probs = vec![0.0; out.len()];
        dirichlet::draw(rng, p[1], &mut probs);
        multinomial::draw(rng, p[0][0], &probs, out);
    }),
    mean: Some(|g, p| {
        let (_, share) = dirichlet::total_and_share(g, p[1]);
        let total = expand_last(g, p[0]);
        g.mul(total, share)
    }),
    variance: Some(|g, p| {
        let (sum, share) = dirichlet::total_and_share(g, p[1]);
        let rest = g.scalar_sub(1.0, share);
        let each = g.mul(share, rest);
        let total = expand_last(g, p[0]);
        let each = g.mul(total, each);
        let more = g.add(total, sum);
        let sum1 = g.add_scalar(sum, 1.0);
        let spread = g.div(more, sum1);
        g.mul(each, spread)
    }),
    ..DistDef::BASE
};

fn log_prob(g: &mut Builder, x: ValueId, p: &[ValueId]) -> ValueId {
    let (total, a) = (g.to_real(p[0]), p[1]);
    let x = g.to_real(x);
    let counts = is_count(g, x);
    let all = all_last(g, counts, 1);
    let sum = g.sum_last(x, 1);
    let right_sum = g.eq(sum, total);
    let valid = g.and(all, right_sum);
    let some = is_positive(g, x);
    let some = g.and(some, counts);
    let parts = log_share(g, some, x, a);
    let parts = g.sum_last(parts, 1);
    let whole = g.sum_last(a, 1);
    let any = is_positive(g, total);
    let ways = log_share(g, any, total, whole);
    let lp = g.sub(ways, parts);
    or_impossible(g, valid, lp)
}

/// `ln n + ln B(n, a)` where `some`, 0 elsewhere.
fn log_share(g: &mut Builder, some: ValueId, n: ValueId, a: ValueId) -> ValueId {
    let n = guard(g, some, n, 1.0);
    let log = g.log(n);
    let beta = g.lbeta(n, a);
    let sum = g.add(log, beta);
    guard(g, some, sum, 0.0)
}
