//! Ordered outcomes: a latent score eta, cut into K ordered classes at K - 1 cutpoints.
//!
//! P(x <= k) = sigmoid(c_k - eta). The mass of a class between two cuts a > b (from eta) is computed as
//! sigmoid(a) sigmoid(-b) (1 - e^(b - a)), which keeps its digits in both tails.

use super::pieces::{guard, int, is_count_up_to, or_impossible, pick_last, stack_last};
use super::{DistDef, Sampler, SupportKind, bernoulli::sigmoid, scalar, vector};
use crate::ir::{Builder, DType, ValueId};
use rand::RngExt;

pub(super) static LOGISTIC: DistDef = DistDef {
    name: "OrderedLogistic",
    summary: "One of K ordered classes: a logistic score around eta, cut at the cutpoints.",
    formula: "ln(sigmoid(cutpoints[x] - eta) - sigmoid(cutpoints[x - 1] - eta))   for x = 0, ..., K - 1",
    params: &[scalar("eta", SupportKind::Real), vector("cutpoints", SupportKind::Ordered)],
    support: SupportKind::IntegerRange,
    dtype: DType::Int,
    log_prob: |g, x, p| {
        let cuts = cuts(g, p[1]);
        let top = int(g, cuts as f64);
        let valid = is_count_up_to(g, x, top);
        let zero = int(g, 0.0);
        let k = g.select(valid, x, zero);
        let (below_top, above_bottom) = (g.lt(k, top), g.gt(k, zero));
        let between = g.and(below_top, above_bottom);
        let one = int(g, 1.0);
        let last_cut = int(g, cuts as f64 - 1.0);
        let upper_index = g.minimum(k, last_cut);
        let lower_index = g.sub(k, one);
        let lower_index = g.maximum(lower_index, zero);
        let upper = pick_last(g, p[1], upper_index);
        let lower = pick_last(g, p[1], lower_index);
        let a = g.sub(upper, p[0]);
        let minus_b = g.sub(p[0], lower);
        let not_above = g.log_sigmoid(a);
        let not_above = guard(g, below_top, not_above, 0.0);
        let not_below = g.log_sigmoid(minus_b);
        let not_below = guard(g, above_bottom, not_below, 0.0);
        let gap = g.sub(lower, upper);
        let gap = guard(g, between, gap, -1.0);
        let width = g.log1m_exp(gap);
        let width = guard(g, between, width, 0.0);
        let lp = g.add_all(&[not_above, not_below, width]);
        or_impossible(g, valid, lp)
    },
    sample: Sampler::Event(|rng, p, out| {
        let u: f64 = rng.random();
        let known = p[0][0].is_finite() && p[1].iter().all(|c| c.is_finite());
        out[0] = if known { p[1].iter().filter(|&c| sigmoid(c - p[0][0]) < u).count() as f64 } else { f64::NAN };
    }),
    probs: Some(|g, p| {
        // differences of sigmoid(c_k - eta) with the ends 0 and 1, from the side where they keep their digits
        let cuts = cuts(g, p[1]);
        let axis = g.rank(p[1]) - 1;
        let parts: Vec<ValueId> = (0..=cuts)
            .map(|k| {
                let cut = |g: &mut Builder, k: usize| {
                    let cut = g.index_axis(p[1], axis, k);
                    g.sub(cut, p[0])
                };
                if k == 0 {
                    let a = cut(g, 0);
                    g.sigmoid(a)
                } else if k == cuts {
                    let b = cut(g, cuts - 1);
                    let minus = g.neg(b);
                    g.sigmoid(minus)
                } else {
                    let (a, b) = (cut(g, k), cut(g, k - 1));
                    let minus = g.neg(b);
                    let (below, above) = (g.sigmoid(a), g.sigmoid(minus));
                    let gap = g.sub(b, a);
                    let width = g.expm1(gap);
                    let width = g.neg(width);
                    let both = g.mul(below, above);
                    g.mul(both, width)
                }
            })
            .collect();
        stack_last(g, &parts)
    }),
    bounds: Some(|g, p| {
        let top = cuts(g, p[1]) as f64;
        (int(g, 0.0), int(g, top))
    }),
    ..DistDef::BASE
};

/// The number of cutpoints.
fn cuts(g: &Builder, cutpoints: ValueId) -> usize {
    *g.shape(cutpoints).last().expect("cutpoints are a vector")
}
