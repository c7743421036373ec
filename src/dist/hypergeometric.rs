//! Hypergeometric: successes among draws without replacement from a population.
//!
//! log_prob(x) = ln C(K, x) + ln C(N - K, n - x) - ln C(N, n) for max(0, n + K - N) <= x <= min(K, n).

use super::pieces::{int, is_whole, log_choose, or_impossible};
use super::{DistDef, Sampler, SupportKind, scalar};
use crate::ir::{Builder, DType, ValueId};
use rand::Rng;
use rand_distr::Distribution;

pub(super) static HYPERGEOMETRIC: DistDef = DistDef {
    name: "Hypergeometric",
    summary: "Successes among draws without replacement from a population that holds successes.",
    formula: "ln C(successes, x) + ln C(population - successes, draws - x) - ln C(population, draws)   \
              for max(0, draws + successes - population) <= x <= min(successes, draws)",
    params: &[
        scalar("population", SupportKind::Count),
        scalar("successes", SupportKind::Count),
        scalar("draws", SupportKind::Count),
    ],
    support: SupportKind::IntegerRange,
    dtype: DType::Int,
    log_prob: |g, x, p| {
        let (low, high) = ends(g, p);
        let whole = is_whole(g, x);
        let (above, below) = (g.ge(x, low), g.le(x, high));
        let within = g.and(above, below);
        let valid = g.and(whole, within);
        let k = g.select(valid, x, low);
        let hits = log_choose(g, p[1], k);
        let rest = g.sub(p[0], p[1]);
        let missed = g.sub(p[2], k);
        let misses = log_choose(g, rest, missed);
        let ways = log_choose(g, p[0], p[2]);
        let lp = g.add(hits, misses);
        let lp = g.sub(lp, ways);
        or_impossible(g, valid, lp)
    },
    sample: Sampler::Scalar(|rng, p| draw(rng, p[0], p[1], p[2])),
    mean: Some(|g, p| {
        let share = g.div(p[1], p[0]);
        g.mul(p[2], share)
    }),
    variance: Some(|g, p| {
        // n K/N (1 - K/N) (N - n)/(N - 1)
        let share = g.div(p[1], p[0]);
        let rest = g.scalar_sub(1.0, share);
        let each = g.mul(share, rest);
        let binomial = g.mul(p[2], each);
        let left = g.sub(p[0], p[2]);
        let less = g.add_scalar(p[0], -1.0);
        let one = g.scalar(1.0);
        let less = g.maximum(less, one);
        let shrink = g.div(left, less);
        g.mul(binomial, shrink)
    }),
    bounds: Some(ends),
    ..DistDef::BASE
};

fn ends(g: &mut Builder, p: &[ValueId]) -> (ValueId, ValueId) {
    let zero = int(g, 0.0);
    let sum = g.add(p[2], p[1]);
    let over = g.sub(sum, p[0]);
    (g.maximum(over, zero), g.minimum(p[1], p[2]))
}

/// One draw; NaN unless all are counts with successes and draws within the population.
fn draw(rng: &mut dyn Rng, population: f64, successes: f64, draws: f64) -> f64 {
    let count = |x: f64| x >= 0.0 && x == x.floor() && x < 9.0e15;
    if ![population, successes, draws].into_iter().all(count) {
        return f64::NAN;
    }
    rand_distr::Hypergeometric::new(population as u64, successes as u64, draws as u64)
        .map_or(f64::NAN, |h| h.sample(rng) as f64)
}
