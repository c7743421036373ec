//! Where optimization starts.
//!
//! Locations start at 0, weights of convolutions and dense layers by the fan-in rule (He et al. 2015, arXiv:1502.01852).
//! Scales start at a tenth of the prior's spread in unconstrained space, which is found by drawing from the prior;
//! scales of weights at four tenths of the fan-in scale. The seed decides.

use super::data::{BoundData, Store};
use crate::check::typed::*;
use crate::exec::Executable;
use crate::kernels::Scalar;
use crate::lower::params::{Owner, unconstrain};
use crate::lower::{Init, Lowering, Mode, SiteSource, Slots};
use crate::rng::{Key, fill_normal};
use std::collections::HashMap;

/// Draws from the prior from which its spread is found.
const PRIOR_DRAWS: u64 = 200;
/// A site with more elements than this takes fewer draws: its spread is that of all elements together.
const MANY: usize = 10_000;
/// The part of the prior's spread that a guide starts with.
const SHARE: f64 = 0.1;
/// How far apart components of a mixture start at most, whatever the prior's spread: flat priors are wider than any data.
const APART: f64 = 2.0;
/// Half the distance of the quartiles of a normal, in standard deviations.
const QUARTILE: f64 = 0.674_489_750_196_081_7;

/// The first free parameters.
pub fn start(program: &Program, slots: &Slots, bound: &BoundData, key: Key) -> Vec<f64> {
    let mut params = vec![0.0; slots.len()];
    let wanted: Vec<SiteId> = slots
        .list
        .iter()
        .flat_map(|s| match &s.init {
            Init::PriorScale(sites) | Init::PriorFactor(sites) => sites.clone(),
            Init::Scattered(pieces) => pieces.iter().map(|p| p.0).collect(),
            _ => Vec::new(),
        })
        .collect();
    let spreads = prior_spreads(program, slots, bound, &wanted, key.fold_in(0));
    for (at, slot) in slots.list.iter().enumerate() {
        let place = &mut params[slot.offset..slot.offset + slot.shape.count()];
        let is_factor = slot.constraint == Constraint::LowerCholesky;
        match &slot.init {
            Init::Constant(c) if is_factor => {
                let n = slot.shape[slot.shape.rank() - 1];
                fill_diagonal(place, n, |_| unconstrain(*c, slot.constraint));
            }
            Init::Constant(c) => place.fill(unconstrain(*c, slot.constraint)),
            Init::Normal(scale) => {
                fill_normal(key.fold_in(1 + at as u64), 0, place);
                place.iter_mut().for_each(|x| *x *= scale);
            }
            Init::Pieces(pieces) => {
                fill_normal(key.fold_in(1 + at as u64), 0, place);
                let mut rest = place;
                for &(count, scale) in pieces {
                    let (piece, after) = rest.split_at_mut(count);
                    piece.iter_mut().for_each(|x| *x *= scale);
                    rest = after;
                }
            }
            Init::Expr(e) => {
                let values = evaluate(program, bound, *e);
                let n = values.len().max(1);
                place.iter_mut().enumerate().for_each(|(i, x)| *x = unconstrain(values[i % n], slot.constraint));
            }
            Init::PriorFactor(sites) => {
                let columns = slot.shape[slot.shape.rank() - 1];
                fill_normal(key.fold_in(1 + at as u64), 0, place);
                let scales = sites.iter().flat_map(|s| std::iter::repeat_n(spreads[s].0, spreads[s].1)).cycle();
                for (row, scale) in place.chunks_exact_mut(columns).zip(scales) {
                    row.iter_mut().for_each(|x| *x *= SHARE * scale / (columns as f64).sqrt());
                }
            }
            Init::Scattered(pieces) => {
                fill_normal(key.fold_in(1 + at as u64), 0, place);
                let n: usize = pieces.iter().map(|p| p.1).sum();
                for (r, mut row) in place.chunks_exact_mut(n.max(1)).enumerate() {
                    for &(site, count, fan) in pieces {
                        let (piece, after) = row.split_at_mut(count);
                        let apart = if r == 0 { 0.0 } else { spreads[&site].0.min(APART) };
                        let scale = if fan > 0.0 { fan } else { apart };
                        piece.iter_mut().for_each(|x| *x *= scale);
                        row = after;
                    }
                }
            }
            Init::PriorScale(sites) => {
                // The joint coordinates of all sites, in order.
                let mut scales = Vec::new();
                for site in sites {
                    let (spread, count) = spreads[site];
                    scales.extend(std::iter::repeat_n(SHARE * spread, count));
                }
                if is_factor {
                    fill_diagonal(place, scales.len(), |i| unconstrain(scales[i], slot.constraint));
                } else {
                    let n = scales.len().max(1);
                    place.iter_mut().enumerate().for_each(|(i, x)| *x = unconstrain(scales[i % n], slot.constraint));
                }
            }
        }
    }
    params
}

/// As [`start`], with locations moved by standard normal numbers: another place to begin.
pub fn elsewhere(program: &Program, slots: &Slots, bound: &BoundData, key: Key) -> Vec<f64> {
    let mut params = start(program, slots, bound, key);
    for (at, slot) in slots.list.iter().enumerate() {
        let location = match slot.owner {
            Owner::Loc(_) => slot.init == Init::Constant(0.0),
            Owner::JointLoc(_) => true,
            Owner::Hole(id) => {
                let hole = &program.holes[id];
                hole.param == "loc" && hole.init.is_none() && slot.constraint == Constraint::Real
            }
            _ => false,
        };
        if location {
            let place = &mut params[slot.offset..slot.offset + slot.shape.count()];
            let mut moved = vec![0.0; place.len()];
            fill_normal(key.fold_in(u64::MAX - at as u64), 0, &mut moved);
            place.iter_mut().zip(moved).for_each(|(x, step)| *x += step);
        }
    }
    params
}

fn fill_diagonal(place: &mut [f64], n: usize, value: impl Fn(usize) -> f64) {
    for matrix in place.chunks_exact_mut((n * n).max(1)) {
        for i in 0..n {
            matrix[i * n + i] = value(i);
        }
    }
}

/// The values of an expression of data and constants.
fn evaluate(program: &Program, bound: &BoundData, e: ExprId) -> Vec<f64> {
    let slots = Slots::default();
    let mut lo = Lowering::new(program, &slots, bound.sizes.clone(), None, SiteSource::Prior);
    let v = lo.expr(e);
    lo.g.output("value", v);
    let inputs = std::mem::take(&mut lo.inputs);
    let mut exe = Executable::<f64>::compile(&lo.g.finish());
    Store::<f64>::new(program, bound, None).give_whole(program, &inputs, &mut exe);
    exe.run(&[], Key::new(0));
    exe.output(0).to_vec()
}

/// The spread of the prior of each site in unconstrained space, over all its elements, and their number: half the
/// distance of the quartiles in standard deviations of a normal; 1 where that is not a positive number (flat priors).
fn prior_spreads(
    program: &Program,
    slots: &Slots,
    bound: &BoundData,
    sites: &[SiteId],
    key: Key,
) -> HashMap<SiteId, (f64, usize)> {
    let mut result = HashMap::new();
    if sites.is_empty() {
        return result;
    }
    let mut lo = Lowering::new(program, slots, bound.sizes.clone(), None, SiteSource::Prior);
    let count = |lo: &Lowering<'_>, site: SiteId| lo.shape(&lo.model.sites[site].ty.shape).count();
    let (large, small): (Vec<SiteId>, Vec<SiteId>) = sites.iter().partition(|&&site| count(&lo, site) > MANY);
    if !large.is_empty() && !small.is_empty() {
        result = prior_spreads(program, slots, bound, &small, key);
        result.extend(prior_spreads(program, slots, bound, &large, key));
        return result;
    }
    let n_draws = if large.is_empty() { PRIOR_DRAWS } else { 2 };
    for &site in sites {
        let value = lo.site_value(site);
        let d = &lo.model.sites[site].dist;
        let support = d.support();
        let bounds = if support.needs_bounds() {
            let prior = lo.dist(d, Mode::Live);
            prior.bounds(&mut lo.g)
        } else {
            None
        };
        let u = support.unconstrain(&mut lo.g, value, bounds);
        lo.g.output(format!("{site}"), u);
    }
    let params: Vec<_> = (0..slots.list.len()).filter_map(|at| lo.slot_inputs[at].map(|v| (at, v))).collect();
    let inputs = std::mem::take(&mut lo.inputs);
    let graph = lo.g.finish();
    let mut exe = Executable::<f64>::compile(&graph);
    Store::<f64>::new(program, bound, None).give_whole(program, &inputs, &mut exe);
    for (at, v) in params {
        // Learnable constants of the model: any feasible value will do.
        exe.set_data(graph.input_of(v), &vec![0.0; slots.list[at].shape.count()]);
    }
    let mut draws: Vec<Vec<f64>> = vec![Vec::new(); sites.len()];
    for i in 0..n_draws {
        exe.run(&[], key.fold_in(i));
        for (k, all) in draws.iter_mut().enumerate() {
            all.extend(exe.output(k));
        }
    }
    for (&site, mut all) in sites.iter().zip(draws) {
        let count = all.len() / n_draws as usize;
        all.retain(|x| x.is_finite());
        all.sort_by(f64::total_cmp);
        let spread = if all.len() < 8 {
            1.0
        } else {
            let (low, high) = (all[all.len() / 4], all[3 * all.len() / 4]);
            (high - low) / (2.0 * QUARTILE)
        };
        let spread = if spread > 0.0 && spread.is_finite() { spread } else { 1.0 };
        result.insert(site, (spread, count));
    }
    result
}

/// Free parameters in the precision of a run.
pub fn convert<F: Scalar>(params: &[f64]) -> Vec<F> {
    params.iter().map(|&x| F::from_f64(x)).collect()
}
