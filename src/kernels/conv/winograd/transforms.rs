//! The one-dimensional transforms of minimal filtering, for any even tile of 4 to 8 points.
//!
//! m outputs of a filter with r taps need t = m + r - 1 products: one for each point 0, ±a, …, and infinity,
//!
//! ```text
//! y = A^T [(G w) ⊙ (B^T x)]        x [t]  w [r]  y [m]
//! ```
//!
//! With the points p and M(z) the product of all z - p: row p of B^T has the coefficients of M(z) / (z - p), the one of
//! infinity those of M(z); row p of G is (1, p, …, p^(r-1)) / M'(p), the last one (0, …, 0, 1); column p of A^T is
//! (1, p, …, p^(m-1)). Thus G w is [`evaluate`] times [`Points::scale`] and A^T is [`collect`], the transposed
//! evaluation. The gradient in w is G^T [(A dy) ⊙ (B^T x)], the same functions with m and r exchanged. Points come in
//! pairs ±a, so that M is even or odd and both rows of a pair share their halves.
//! Sources: Winograd 1980, *Arithmetic Complexity of Computations*, ch. 5; Lavin & Gray 2016, arXiv:1509.09308.
use crate::kernels::Scalar;

/// The largest tile.
pub(super) const MAX: usize = 8;

/// The magnitudes of the pairs of points of a tile of `t` points. Squares and their differences are exact in few bits. Of
/// all choices on a grid of 1/16 these give about the smallest errors: for 6 points a quarter of that of the usual 1, 2.
const fn pairs(t: usize) -> [f64; 3] {
    if t == 6 { [0.75, 1.5, 0.0] } else { [1.0, 2.0, 0.5] }
}

/// What the transforms of one tile size multiply by.
pub(super) struct Points {
    pairs: usize,
    /// Their magnitudes.
    magnitudes: [f64; 3],
    /// Coefficients of the product of all z - a² in powers of z.
    whole: [f64; 4],
    /// The same product without one pair.
    without: [[f64; 3]; 3],
    /// 1 / M'(p) by point; 1 for infinity.
    pub(super) scale: [f64; MAX],
}

/// The points of a tile of `t` points: 1 (nothing to transform), 4, 6 or 8.
const fn points(t: usize) -> Points {
    let magnitudes = pairs(t);
    let mut points =
        Points { pairs: 0, magnitudes, whole: [1.0, 0.0, 0.0, 0.0], without: [[0.0; 3]; 3], scale: [1.0; MAX] };
    if t == 1 {
        return points;
    }
    assert!(t == 4 || t == 6 || t == 8);
    let pairs = (t - 2) / 2;
    points.pairs = pairs;
    let mut p = 0;
    while p <= pairs {
        // The last round leaves out no pair.
        let (mut product, mut degree, mut q) = ([1.0, 0.0, 0.0, 0.0], 0, 0);
        while q < pairs {
            if q != p {
                let mut next = [0.0; 4];
                let mut k = 0;
                while k <= degree {
                    next[k + 1] += product[k];
                    next[k] -= magnitudes[q] * magnitudes[q] * product[k];
                    k += 1;
                }
                product = next;
                degree += 1;
            }
            q += 1;
        }
        if p == pairs {
            points.whole = product;
            points.scale[0] = 1.0 / product[0];
        } else {
            points.without[p] = [product[0], product[1], product[2]];
            let z = magnitudes[p] * magnitudes[p];
            let slope = 2.0 * z * (product[0] + z * (product[1] + z * product[2]));
            points.scale[1 + 2 * p] = 1.0 / slope;
            points.scale[2 + 2 * p] = 1.0 / slope;
        }
        p += 1;
    }
    points
}

/// Minimal filtering along one axis.
pub(super) trait Axis: Sync {
    /// Outputs m.
    const M: usize;
    /// Taps r.
    const R: usize;
    /// Points t = m + r - 1.
    const T: usize = Self::M + Self::R - 1;
    /// The constants.
    const POINTS: Points = points(Self::T);
}

/// F(M, R).
pub(super) struct Filter<const M: usize, const R: usize>;

impl<const M: usize, const R: usize> Axis for Filter<M, R> {
    const M: usize = M;
    const R: usize = R;
}

/// B^T x: the first T numbers of `x` to T numbers.
#[inline(always)]
pub(super) fn input<F: Scalar, A: Axis>(x: [F; MAX]) -> [F; MAX] {
    if A::T == 1 {
        return x;
    }
    let n = const { A::POINTS.pairs };
    let mut out = [F::ZERO; MAX];
    // Highest coefficients are 1.
    let (mut even, mut odd) = (x[2 * n], x[2 * n + 1]);
    for k in 0..n {
        let c = F::from_f64(const { A::POINTS.whole }[k]);
        even = c.mul_add(x[2 * k], even);
        odd = c.mul_add(x[2 * k + 1], odd);
    }
    out[0] = even;
    out[A::T - 1] = odd;
    for p in 0..n {
        let (mut even, mut odd) = (x[2 * n], x[2 * n - 1]);
        for k in 0..n - 1 {
            let c = F::from_f64(const { A::POINTS.without }[p][k]);
            even = c.mul_add(x[2 * k + 2], even);
            odd = c.mul_add(x[2 * k + 1], odd);
        }
        let a = F::from_f64(const { A::POINTS.magnitudes }[p]);
        out[1 + 2 * p] = a.mul_add(odd, even);
        out[2 + 2 * p] = (-a).mul_add(odd, even);
    }
    out
}

/// The polynomial with the first `taps` numbers of `w` as coefficients at the points, its highest at infinity.
#[inline(always)]
fn evaluate<F: Scalar, A: Axis>(taps: usize, w: [F; MAX]) -> [F; MAX] {
    if A::T == 1 {
        return w;
    }
    let mut out = [F::ZERO; MAX];
    out[0] = w[0];
    out[A::T - 1] = w[taps - 1];
    for p in 0..const { A::POINTS.pairs } {
        let (mut even, mut odd) = (w[0], F::ZERO);
        let mut power = 1.0;
        for (k, &w) in w.iter().enumerate().take(taps).skip(1) {
            power *= const { A::POINTS.magnitudes }[p];
            let sum = if k % 2 == 0 { &mut even } else { &mut odd };
            *sum = F::from_f64(power).mul_add(w, *sum);
        }
        out[1 + 2 * p] = even + odd;
        out[2 + 2 * p] = even - odd;
    }
    out
}

/// The transpose of [`evaluate`]: T numbers to `taps`.
#[inline(always)]
fn collect<F: Scalar, A: Axis>(taps: usize, e: [F; MAX]) -> [F; MAX] {
    if A::T == 1 {
        return e;
    }
    let mut out = [F::ZERO; MAX];
    out[0] = e[0];
    for p in 0..const { A::POINTS.pairs } {
        let (sum, difference) = (e[1 + 2 * p] + e[2 + 2 * p], e[1 + 2 * p] - e[2 + 2 * p]);
        out[0] += sum;
        let mut power = 1.0;
        for (k, out) in out.iter_mut().enumerate().take(taps).skip(1) {
            power *= const { A::POINTS.magnitudes }[p];
            *out = F::from_f64(power).mul_add(if k % 2 == 0 { sum } else { difference }, *out);
        }
    }
    out[taps - 1] += e[A::T - 1];
    out
}

/// Multiplies by the constants of the points: of G, or of G^T before [`collect`].
#[inline(always)]
fn scaled<F: Scalar, A: Axis>(mut e: [F; MAX]) -> [F; MAX] {
    for (e, &scale) in e.iter_mut().zip(const { &A::POINTS.scale }).take(A::T) {
        *e = F::from_f64(scale) * *e;
    }
    e
}

/// G w of the first R numbers of `w`.
#[inline(always)]
pub(super) fn weights<F: Scalar, A: Axis>(w: [F; MAX]) -> [F; MAX] {
    scaled::<F, A>(evaluate::<F, A>(A::R, w))
}

/// A^T e, the M outputs.
#[inline(always)]
pub(super) fn outputs<F: Scalar, A: Axis>(e: [F; MAX]) -> [F; MAX] {
    collect::<F, A>(A::M, e)
}

/// A dy of the first M numbers of `dy`.
#[inline(always)]
pub(super) fn spread<F: Scalar, A: Axis>(dy: [F; MAX]) -> [F; MAX] {
    evaluate::<F, A>(A::M, dy)
}

/// G^T e, the gradient in R weights.
#[inline(always)]
pub(super) fn weight_grads<F: Scalar, A: Axis>(e: [F; MAX]) -> [F; MAX] {
    collect::<F, A>(A::R, scaled::<F, A>(e))
}
