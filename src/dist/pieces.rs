//! Pieces that densities share: safe in every corner, and no more nodes than needed.
//!
//! The rule behind most of them: where a branch of a `select` is not taken, its argument is replaced *before* the
//! function, so that the local derivative is finite and the gradient is 0 there rather than 0 * inf.

use crate::ir::{Builder, DType, Shape, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::Reduction;

/// `ln(2 pi) / 2`
pub(super) const HALF_LN_2PI: f64 = 0.918_938_533_204_672_8;
/// `ln pi`
pub(super) const LN_PI: f64 = 1.144_729_885_849_400_2;
/// Euler's constant.
pub(super) const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;

/// `(x - loc) / scale`, without the steps that known parameters 0 and 1 make empty.
pub(super) fn standardize(g: &mut Builder, x: ValueId, loc: ValueId, scale: ValueId) -> ValueId {
    let centred = if is_scalar_constant(g, loc, 0.0) { x } else { g.sub(x, loc) };
    if is_scalar_constant(g, scale, 1.0) { centred } else { g.div(centred, scale) }
}
/// `loc + scale * z`, without the steps that known parameters 0 and 1 make empty.
pub(super) fn destandardize(g: &mut Builder, z: ValueId, loc: ValueId, scale: ValueId) -> ValueId {
    let scaled = if is_scalar_constant(g, scale, 1.0) { z } else { g.mul(z, scale) };
    if is_scalar_constant(g, loc, 0.0) { scaled } else { g.add(scaled, loc) }
}
fn is_scalar_constant(g: &Builder, x: ValueId, value: f64) -> bool {
    g.as_full(x) == Some(value) && g.rank(x) == 0
}

/// An int scalar.
pub(super) fn int(g: &mut Builder, value: f64) -> ValueId {
    g.constant(vec![value], Shape::scalar(), DType::Int)
}

/// `inside ? value : -inf`
pub(super) fn or_impossible(g: &mut Builder, inside: ValueId, value: ValueId) -> ValueId {
    let impossible = g.scalar(f64::NEG_INFINITY);
    g.select(inside, value, impossible)
}
/// `inside ? x : other`, for an argument that must not leave a function's domain.
pub(super) fn guard(g: &mut Builder, inside: ValueId, x: ValueId, other: f64) -> ValueId {
    let other = g.scalar(other);
    g.select(inside, x, other)
}

/// `x > 0`
pub(super) fn is_positive(g: &mut Builder, x: ValueId) -> ValueId {
    g.compare_scalar(Binary::Gt, x, 0.0)
}
/// `x >= 0`
pub(super) fn is_nonnegative(g: &mut Builder, x: ValueId) -> ValueId {
    g.compare_scalar(Binary::Ge, x, 0.0)
}
/// `0 <= x <= 1`
pub(super) fn in_unit_interval(g: &mut Builder, x: ValueId) -> ValueId {
    let low = is_nonnegative(g, x);
    let high = g.compare_scalar(Binary::Le, x, 1.0);
    g.and(low, high)
}
/// `x` is a whole number.
pub(super) fn is_whole(g: &mut Builder, x: ValueId) -> ValueId {
    let floor = g.floor(x);
    g.eq(x, floor)
}
/// `x` is one of 0, 1, 2, …
pub(super) fn is_count(g: &mut Builder, x: ValueId) -> ValueId {
    let whole = is_whole(g, x);
    let low = is_nonnegative(g, x);
    g.and(whole, low)
}
/// `x` is one of 0, 1, …, `upper`.
pub(super) fn is_count_up_to(g: &mut Builder, x: ValueId, upper: ValueId) -> ValueId {
    let count = is_count(g, x);
    let high = g.le(x, upper);
    g.and(count, high)
}

/// `k ln p`, 0 where the count `k` is 0, with a gradient that stays finite there.
pub(super) fn count_times_log(g: &mut Builder, k: ValueId, p: ValueId) -> ValueId {
    let some = is_positive(g, k);
    let p = guard(g, some, p, 1.0);
    let log_p = g.log(p);
    g.mul(k, log_p)
}
/// `k ln(1 - p)`, 0 where the count `k` is 0, with a gradient that stays finite there.
pub(super) fn count_times_log1m(g: &mut Builder, k: ValueId, p: ValueId) -> ValueId {
    let some = is_positive(g, k);
    let p = guard(g, some, p, 0.0);
    let minus_p = g.neg(p);
    let log = g.log1p(minus_p);
    g.mul(k, log)
}
/// `a ln b`, 0 where `a` is 0 even if `ln b` is infinite; `log_b` is given. For entropies and KL divergences.
pub(super) fn weigh_log(g: &mut Builder, a: ValueId, log_b: ValueId) -> ValueId {
    let some = is_positive(g, a);
    let log_b = guard(g, some, log_b, 0.0);
    g.mul(a, log_b)
}
/// `ln p`, -inf at 0 with a gradient of 0 there.
pub(super) fn log_or_impossible(g: &mut Builder, p: ValueId) -> ValueId {
    let some = is_positive(g, p);
    let safe = guard(g, some, p, 1.0);
    let log = g.log(safe);
    or_impossible(g, some, log)
}

/// `ln(1 + z^2)`, also where `z^2` overflows: with `m = max(|z|, 1)` and `r = min(|z|, 1) / m` it is
/// `2 ln m + ln(1 + r^2)`.
pub(super) fn log1p_square(g: &mut Builder, z: ValueId) -> ValueId {
    let one = g.scalar(1.0);
    let size = g.abs(z);
    let large = g.maximum(size, one);
    // The constant comes first: at a tie the gradient must pass through one of the two only.
    let small = g.minimum(one, size);
    let ratio = g.div(small, large);
    let square = g.square(ratio);
    let near = g.log1p(square);
    let far = g.log(large);
    let far = g.mul_scalar(far, 2.0);
    g.add(near, far)
}

/// `ln C(n, k)`
pub(super) fn log_choose(g: &mut Builder, n: ValueId, k: ValueId) -> ValueId {
    let n1 = g.add_scalar(n, 1.0);
    let k1 = g.add_scalar(k, 1.0);
    let rest = g.sub(n, k);
    let rest1 = g.add_scalar(rest, 1.0);
    let beta = g.lbeta(k1, rest1);
    let log_n1 = g.log(n1);
    let sum = g.add(beta, log_n1);
    g.neg(sum)
}

/// `table[…, index[…]]`, the entry of the last axis that `index` names; both broadcast over batch dimensions.
pub(super) fn pick_last(g: &mut Builder, table: ValueId, index: ValueId) -> ValueId {
    let shape = g.shape(table);
    if shape.rank() == 1 {
        return g.gather(table, index);
    }
    let n = shape[shape.rank() - 1];
    let batch = broadcast_shapes(&shape.drop_last(1), &g.shape(index));
    let table = g.broadcast_to(table, batch.concat(&[n]));
    let index = g.broadcast_to(index, batch);
    g.pick(table, index)
}

/// The shape that both broadcast to. Shapes were checked before; a misfit is a defect.
pub(super) fn broadcast_shapes(a: &Shape, b: &Shape) -> Shape {
    a.broadcast(b).unwrap_or_else(|| panic!("bayesc defect: batch shapes {a} and {b} do not broadcast"))
}

/// `values`, all of one shape, along a new last axis.
pub(super) fn stack_last(g: &mut Builder, values: &[ValueId]) -> ValueId {
    let rank = g.rank(values[0]);
    let parts: Vec<ValueId> = values.iter().map(|&v| g.expand_dim(v, rank)).collect();
    g.concat(&parts, rank)
}

/// A new last axis of size 1.
pub(super) fn expand_last(g: &mut Builder, x: ValueId) -> ValueId {
    let rank = g.rank(x);
    g.expand_dim(x, rank)
}
/// `n` new last axes of size 1.
pub(super) fn expand_lasts(g: &mut Builder, x: ValueId, n: usize) -> ValueId {
    (0..n).fold(x, |x, _| expand_last(g, x))
}
/// A new axis of size 1 before the last: `[.., d]` to `[.., 1, d]`.
pub(super) fn expand_row(g: &mut Builder, x: ValueId) -> ValueId {
    let rank = g.rank(x);
    g.expand_dim(x, rank - 1)
}
/// The number of entries along the last axis.
pub(super) fn last_size(g: &Builder, x: ValueId) -> usize {
    *g.shape(x).last().expect("a vector or matrix")
}
/// `f(0), …, f(n - 1)` as a constant vector.
pub(super) fn constant_vector(g: &mut Builder, n: usize, f: impl Fn(f64) -> f64) -> ValueId {
    g.constant((0..n).map(|i| f(i as f64)).collect(), Shape::from([n]), DType::Real)
}
/// The identity of n rows.
pub(super) fn identity(g: &mut Builder, n: usize) -> ValueId {
    let ones = g.full(1.0, Shape::from([n]));
    g.diag(ones)
}
/// `sum_i ln L_ii` of a triangular matrix: half of `ln det L L'`.
pub(super) fn half_log_det(g: &mut Builder, factor: ValueId) -> ValueId {
    let diagonal = g.diagonal(factor);
    let log = g.log(diagonal);
    g.sum_last(log, 1)
}
/// The sum of the squares of the last `n` dimensions.
pub(super) fn square_norm(g: &mut Builder, x: ValueId, n: usize) -> ValueId {
    let square = g.square(x);
    g.sum_last(square, n)
}
/// Whether all of the last `n` dimensions hold.
pub(super) fn all_last(g: &mut Builder, test: ValueId, n: usize) -> ValueId {
    let rank = g.rank(test);
    let axes: Vec<usize> = (rank - n..rank).collect();
    g.reduce(Reduction::Min, test, &axes)
}
/// The Cholesky factor of `x` and whether there is one; that of the identity, without a gradient, elsewhere.
pub(super) fn safe_cholesky(g: &mut Builder, x: ValueId) -> (ValueId, ValueId) {
    let fixed = g.stop_gradient(x);
    let trial = g.cholesky(fixed);
    let pivots = g.diagonal(trial);
    let positive = is_positive(g, pivots);
    let valid = all_last(g, positive, 1);
    let wide = expand_lasts(g, valid, 2);
    let identity = identity(g, last_size(g, x));
    let safe = g.select(wide, x, identity);
    (g.cholesky(safe), valid)
}
/// `ln p - ln(1 - p)`
pub(super) fn logit(g: &mut Builder, p: ValueId) -> ValueId {
    let log = g.log(p);
    let minus = g.neg(p);
    let log_rest = g.log1p(minus);
    g.sub(log, log_rest)
}
