//! LKJ(concentration c): correlation matrices R of K rows with density proportional to det(R)^(c - 1), and their Cholesky
//! factors L, both with respect to the entries below the diagonal.
//!
//! Row m + 1 of L (m = 1..K-1) is independent of the others: the squared length of what stands below the diagonal is
//! Beta(m/2, c + (K - 1 - m)/2), its direction uniform. So the integral of prod_i L_ii^(K - i + 2c - 2) is
//! prod_m pi^(m/2) Gamma(c + (K - 1 - m)/2) / Gamma(c + (K - 1)/2).
//! Source: Lewandowski, Kurowicka & Joe 2009, J. Multivariate Analysis 100:1989, sec. 3.2.

use super::beta::draw as beta_draw;
use super::multivariate_normal::normals;
use super::pieces::{
    LN_PI, all_last, constant_vector, expand_last, expand_lasts, guard, half_log_det, identity, is_positive, last_size,
    or_impossible, safe_cholesky, square_norm,
};
use super::support::SIMPLEX_TOLERANCE;
use super::{DistDef, DistId, KlFn, MATRIX_EVENT, Reparam, Sampler, SupportKind, implicit, scalar};
use crate::ir::{Builder, Shape, ValueId};
use crate::kernels::elementwise::Binary;
use crate::ops::{NoiseKind, Reduction};
use rand::Rng;

pub(super) static LKJ_CHOLESKY: DistDef = DistDef {
    name: "LKJCholesky",
    summary: "The lower Cholesky factor of a correlation matrix: uniform over matrices at concentration 1, near the \
              identity above. Its dimension comes from the declared type.",
    formula: "sum_i (K - i + 2 concentration - 2) ln x[i, i] - sum_m (m ln(pi) / 2 + ln Gamma(concentration + (K - 1 - m) / 2) \
              - ln Gamma(concentration + (K - 1) / 2)),   i = 1..K, m = 1..K-1",
    params: &[scalar("concentration", SupportKind::Positive), MATRIX_EVENT],
    support: SupportKind::CorrelationCholesky,
    event_rank: 2,
    log_prob: |g, x, p| {
        let k = last_size(g, x);
        let valid = is_correlation_factor(g, x);
        let diagonal = g.diagonal(x);
        let wide = expand_last(g, valid);
        let diagonal = guard(g, wide, diagonal, 1.0);
        let log = g.log(diagonal);
        let powers = constant_vector(g, k, |i| k as f64 - i - 3.0);
        let fixed = g.mul(log, powers);
        let fixed = g.sum_last(fixed, 1);
        let logs = g.sum_last(log, 1);
        let rise = g.mul(p[0], logs);
        let rise = g.mul_scalar(rise, 2.0);
        let norm = log_norm(g, p[0], k);
        let lp = g.add(fixed, rise);
        let lp = g.sub(lp, norm);
        or_impossible(g, valid, lp)
    },
    rsample: Reparam::Implicit(rsample),
    sample: Sampler::Event(|rng, p, out| draw(rng, p[0][0], out)),
    mean: Some(|g, p| {
        let means = mean_diagonal(g, p);
        g.diag(means)
    }),
    variance: Some(|g, p| {
        let k = last_size(g, p[1]);
        let (a, b) = shapes(g, p[0], k);
        let sum = g.add(a, b);
        let second = g.div(b, sum);
        let axis = g.rank(second) - 1;
        let second = g.pad(second, axis, 1, 0);
        let first = first_entry(g, k);
        let second = g.add(second, first);
        let mean = mean_diagonal(g, p);
        let square = g.square(mean);
        let variances = g.sub(second, square);
        let diagonal = g.diag(variances);
        let below = entry_variance(g, p[0], k);
        let ones = g.full(1.0, Shape::from([k, k]));
        let ones = g.tril(ones, true);
        let below = g.mul(ones, below);
        g.add(diagonal, below)
    }),
    entropy: Some(|g, p| {
        let k = last_size(g, p[1]);
        let powers = constant_vector(g, k - 1, |m| k as f64 - m - 4.0);
        let twice = g.mul_scalar(p[0], 2.0);
        let twice = expand_last(g, twice);
        let powers = g.add(powers, twice);
        entropy(g, p, powers)
    }),
    kl: &[(DistId::LKJ_CHOLESKY, KL)],
    ..DistDef::BASE
};

pub(super) static LKJ: DistDef = DistDef {
    name: "LKJ",
    summary: "A correlation matrix: uniform at concentration 1, near the identity above. Its dimension comes from the \
              declared type; the factor of LKJCholesky is cheaper where it is enough.",
    formula: "(concentration - 1) ln det(x) - sum_m (m ln(pi) / 2 + ln Gamma(concentration + (K - 1 - m) / 2) \
              - ln Gamma(concentration + (K - 1) / 2)),   m = 1..K-1",
    params: &[scalar("concentration", SupportKind::Positive), MATRIX_EVENT],
    support: SupportKind::Correlation,
    event_rank: 2,
    log_prob: |g, x, p| {
        let k = last_size(g, x);
        let (factor, positive) = safe_cholesky(g, x);
        let diagonal = g.diagonal(x);
        let off = g.add_scalar(diagonal, -1.0);
        let off = g.abs(off);
        let near = g.compare_scalar(Binary::Le, off, SIMPLEX_TOLERANCE);
        let ones = all_last(g, near, 1);
        let valid = g.and(positive, ones);
        let log_det = half_log_det(g, factor);
        let less = g.add_scalar(p[0], -1.0);
        let rise = g.mul(less, log_det);
        let rise = g.mul_scalar(rise, 2.0);
        let norm = log_norm(g, p[0], k);
        let lp = g.sub(rise, norm);
        or_impossible(g, valid, lp)
    },
    rsample: Reparam::Implicit(|g, p, shape| {
        let factor = rsample(g, p, shape);
        g.matmul(factor, false, factor, true)
    }),
    sample: Sampler::Event(|rng, p, out| {
        let k = out.len().isqrt();
        let mut factor = vec![0.0; out.len()];
        draw(rng, p[0][0], &mut factor);
        for i in 0..k {
            for j in 0..k {
                let dot: f64 = (0..=i.min(j)).map(|l| factor[i * k + l] * factor[j * k + l]).sum();
                out[i * k + j] = if i == j { 1.0 + 0.0 * dot } else { dot };
            }
        }
    }),
    mean: Some(|g, p| identity(g, last_size(g, p[1]))),
    variance: Some(|g, p| {
        let k = last_size(g, p[1]);
        let each = entry_variance(g, p[0], k);
        let ones = g.full(1.0, Shape::from([k, k]));
        let identity = identity(g, k);
        let off = g.sub(ones, identity);
        g.mul(off, each)
    }),
    entropy: Some(|g, p| {
        let k = last_size(g, p[1]);
        let less = g.add_scalar(p[0], -1.0);
        let twice = g.mul_scalar(less, 2.0);
        let twice = expand_last(g, twice);
        let zeros = g.full(0.0, Shape::from([k - 1]));
        let powers = g.add(twice, zeros);
        entropy(g, p, powers)
    }),
    // The map from factor to matrix is one to one and changes no divergence.
    kl: &[(DistId::LKJ, KL)],
    ..DistDef::BASE
};

/// `2 (c - d) E sum_i ln L_ii + ln norm(d) - ln norm(c)`
const KL: KlFn = |g, p, q| {
    let k = last_size(g, p[1]);
    let logs = mean_logs(g, p[0], k);
    let logs = g.sum_last(logs, 1);
    let gap = g.sub(p[0], q[0]);
    let rise = g.mul(gap, logs);
    let rise = g.mul_scalar(rise, 2.0);
    let (norm_p, norm_q) = (log_norm(g, p[0], k), log_norm(g, q[0], k));
    let norms = g.sub(norm_q, norm_p);
    g.add(rise, norms)
};

/// The parameters of the Beta of row m + 1, m = 1..K-1: `m/2` [K-1] and `c + (K - 1 - m)/2` [.., K-1].
fn shapes(g: &mut Builder, concentration: ValueId, k: usize) -> (ValueId, ValueId) {
    let a = constant_vector(g, k - 1, |i| 0.5 * (i + 1.0));
    let rest = constant_vector(g, k - 1, |i| 0.5 * (k as f64 - 2.0 - i));
    let wide = expand_last(g, concentration);
    (a, g.add(wide, rest))
}

/// The logarithm of the integral of the unnormalized density.
fn log_norm(g: &mut Builder, concentration: ValueId, k: usize) -> ValueId {
    let (a, b) = shapes(g, concentration, k);
    let sum = g.add(a, b);
    let (top, bottom) = (g.lgamma(b), g.lgamma(sum));
    let gap = g.sub(top, bottom);
    let sum = g.sum_last(gap, 1);
    g.add_scalar(sum, 0.25 * LN_PI * (k * (k - 1)) as f64)
}

/// `E ln L_ii = (psi(b) - psi(a + b)) / 2` of rows 2..K.
fn mean_logs(g: &mut Builder, concentration: ValueId, k: usize) -> ValueId {
    let (a, b) = shapes(g, concentration, k);
    let sum = g.add(a, b);
    let (own, whole) = (g.digamma(b), g.digamma(sum));
    let gap = g.sub(own, whole);
    g.mul_scalar(gap, 0.5)
}

/// `ln norm - sum_m power_m E ln L_mm`
fn entropy(g: &mut Builder, p: &[ValueId], powers: ValueId) -> ValueId {
    let k = last_size(g, p[1]);
    let logs = mean_logs(g, p[0], k);
    let terms = g.mul(powers, logs);
    let sum = g.sum_last(terms, 1);
    let norm = log_norm(g, p[0], k);
    g.sub(norm, sum)
}

/// (1, 0, …, 0): the first entry of the diagonal of a factor.
fn first_entry(g: &mut Builder, k: usize) -> ValueId {
    constant_vector(g, k, |i| f64::from(i == 0.0))
}

/// `E L_ii = B(b + 1/2, a) / B(b, a)`, 1 in the first row.
fn mean_diagonal(g: &mut Builder, p: &[ValueId]) -> ValueId {
    let k = last_size(g, p[1]);
    let (a, b) = shapes(g, p[0], k);
    let more = g.add_scalar(b, 0.5);
    let (top, bottom) = (g.lbeta(more, a), g.lbeta(b, a));
    let gap = g.sub(top, bottom);
    let means = g.exp(gap);
    let axis = g.rank(means) - 1;
    let means = g.pad(means, axis, 1, 0);
    let first = first_entry(g, k);
    g.add(means, first)
}

/// The variance `1 / (2 c + K - 1)` of every entry off the diagonal, of the matrix and of the factor, [.., 1, 1].
fn entry_variance(g: &mut Builder, concentration: ValueId, k: usize) -> ValueId {
    let twice = g.mul_scalar(concentration, 2.0);
    let sum = g.add_scalar(twice, k as f64 - 1.0);
    let each = g.recip(sum);
    expand_lasts(g, each, 2)
}

/// Whether `x` is lower triangular with a positive diagonal and rows of length 1, batch shaped.
fn is_correlation_factor(g: &mut Builder, x: ValueId) -> ValueId {
    let diagonal = g.diagonal(x);
    let positive = is_positive(g, diagonal);
    let positive = all_last(g, positive, 1);
    let lengths = square_norm(g, x, 1);
    let off = g.add_scalar(lengths, -1.0);
    let off = g.abs(off);
    let near = g.compare_scalar(Binary::Le, off, SIMPLEX_TOLERANCE);
    let near = all_last(g, near, 1);
    let lower = g.tril(x, false);
    let above = g.sub(x, lower);
    let above = g.abs(above);
    let rank = g.rank(above);
    let above = g.reduce(Reduction::Max, above, &[rank - 2, rank - 1]);
    let empty = g.compare_scalar(Binary::Eq, above, 0.0);
    let both = g.and(positive, near);
    g.and(both, empty)
}

/// Row by row: a length from its Beta, a direction from normals. NaN unless the concentration is positive.
fn draw(rng: &mut dyn Rng, concentration: f64, out: &mut [f64]) {
    let k = out.len().isqrt();
    out.fill(0.0);
    out[0] = 1.0;
    for m in 1..k {
        let square = beta_draw(rng, 0.5 * m as f64, concentration + 0.5 * (k - 1 - m) as f64);
        let direction = normals(rng, m);
        let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
        let row = &mut out[m * k..(m + 1) * k];
        row.iter_mut().zip(&direction).for_each(|(x, e)| *x = square.sqrt() * e / length);
        row[m] = (1.0 - square).sqrt();
    }
}

fn rsample(g: &mut Builder, p: &[ValueId], shape: &Shape) -> ValueId {
    let k = last_size(g, p[1]);
    let batch = shape.drop_last(2);
    let first = first_entry(g, k);
    if k == 1 {
        let one = g.diag(first);
        return g.broadcast_to(one, shape.clone());
    }
    let (a, b) = shapes(g, p[0], k);
    let square = implicit::beta(g, a, b, &batch.concat(&[k - 1]));
    let noise = g.noise(NoiseKind::Normal, batch.concat(&[k - 1, k - 1]));
    let noise = g.tril(noise, false);
    let length = square_norm(g, noise, 1);
    let share = g.div(square, length);
    let share = g.sqrt(share);
    let share = expand_last(g, share);
    let below = g.mul(noise, share);
    let rank = shape.rank();
    let below = g.pad(below, rank - 2, 1, 0);
    let below = g.pad(below, rank - 1, 0, 1);
    let rest = g.scalar_sub(1.0, square);
    let rest = g.sqrt(rest);
    let rest = g.pad(rest, rank - 2, 1, 0);
    let diagonal = g.add(rest, first);
    let diagonal = g.diag(diagonal);
    g.add(below, diagonal)
}
