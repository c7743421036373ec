//! Second derivatives of a log density at a point, with the sign of a precision matrix.
//!
//! Exact by the product of second derivatives with each unit vector (`density.rs`). Where an operation has no second
//! derivative, or its derivative does not agree with differences of the gradient (a kink), by central differences
//!
//!   A e_i = -(g(u + h_i e_i) - g(u - h_i e_i)) / 2 h_i,   h_i = 1e-4 of the standard deviation 1 / sqrt(A_ii),
//!
//! where the A_ii of the step come from differences with h_i = 6e-6 max(1, |u_i|), the cube root of the rounding unit:
//! the error of truncation is some 1e-8 of the matrix where third derivatives are of order one in standard deviations.

use super::density::{Curvature, Density};
use super::lbfgs::{dot, norm};
use crate::kernels::linalg::{Triangle, cholesky, triangular_solve};
use crate::rng::{Key, fill_normal};

/// How second derivatives were found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Derivatives {
    /// By differentiating the gradient.
    Exact,
    /// By central differences of the gradient.
    Differences,
}

/// The negative second derivatives of a log density.
#[derive(Clone, PartialEq, Debug)]
pub struct Precision {
    /// The number of coordinates.
    pub n: usize,
    /// `[n, n]` for a whole matrix, `[n]` for its diagonal.
    pub values: Vec<f64>,
    /// Whether it is whole.
    pub full: bool,
}

/// A factor L of a precision matrix A = L L^T.
#[derive(Clone, PartialEq, Debug)]
pub struct Factor(Precision);

/// The step of the first differences: the cube root of the rounding unit.
const FIRST_STEP: f64 = 6e-6;
/// The step of the second ones, in standard deviations.
const SECOND_STEP: f64 = 1e-4;
/// How far an exact product may be from a difference of gradients; more is a kink or a derivative that does not exist.
const AGREEMENT: f64 = 1e-3;

/// The negative second derivatives of `density` at `u` in the coordinates `places`: by `exact` where it is given and right.
pub fn precision(
    density: &mut Density,
    exact: Option<&mut Curvature>,
    u: &[f64],
    full: bool,
    places: &[usize],
) -> (Precision, Derivatives) {
    if let Some(curvature) = exact
        && let Some(found) = by_products(density, curvature, u, full, places)
    {
        return (found, Derivatives::Exact);
    }
    let smallest = |at: usize| FIRST_STEP * u[places[at]].abs().max(1.0);
    let first = by_differences(density, u, false, places, smallest);
    let step = |at: usize| {
        let curvature = first.values[at];
        let own = SECOND_STEP / curvature.sqrt();
        if curvature > 0.0 && own.is_finite() { own } else { smallest(at) }
    };
    (by_differences(density, u, full, places, step), Derivatives::Differences)
}

/// Column by column; `None` when it is not finite or does not agree with a difference in one direction.
fn by_products(
    density: &mut Density,
    curvature: &mut Curvature,
    u: &[f64],
    full: bool,
    places: &[usize],
) -> Option<Precision> {
    let n = u.len();
    let mut found = empty(places.len(), full);
    let (mut unit, mut column) = (vec![0.0; n], vec![0.0; n]);
    for (at, &place) in places.iter().enumerate() {
        unit[place] = 1.0;
        curvature.multiply(u, &unit, &mut column);
        unit[place] = 0.0;
        found.take(at, &column, places);
    }
    if !found.values.iter().all(|x| x.is_finite()) {
        return None;
    }
    found.even_out();
    // A direction of about one thousandth of a standard deviation in every coordinate.
    let mut numbers = vec![0.0; places.len()];
    fill_normal(Key::new(0), 0, &mut numbers);
    let mut direction = vec![0.0; n];
    for (at, (&place, number)) in places.iter().zip(numbers).enumerate() {
        let own = found.diagonal(at).abs();
        direction[place] = number * if own > 0.0 { 1e-3 / own.sqrt() } else { FIRST_STEP };
    }
    let mut other = |sign: f64| {
        let moved: Vec<f64> = u.iter().zip(&direction).map(|(u, d)| u + sign * d).collect();
        let mut gradient = vec![0.0; n];
        density.evaluate(&moved, &mut gradient);
        gradient
    };
    let (up, down) = (other(1.0), other(-1.0));
    curvature.multiply(u, &direction, &mut column);
    // In standard deviations, so that no coordinate outweighs the others by its unit.
    let in_sds = |at: usize, x: f64| x * direction[at];
    let far: Vec<f64> = places.iter().map(|&at| in_sds(at, 0.5 * (up[at] - down[at]) - column[at])).collect();
    let size: Vec<f64> = places.iter().map(|&at| in_sds(at, column[at])).collect();
    (norm(&far) <= AGREEMENT * norm(&size) + 1e-12).then_some(found)
}

fn by_differences(
    density: &mut Density,
    u: &[f64],
    full: bool,
    places: &[usize],
    step: impl Fn(usize) -> f64,
) -> Precision {
    let n = u.len();
    let mut found = empty(places.len(), full);
    let mut moved = u.to_vec();
    let (mut up, mut down) = (vec![0.0; n], vec![0.0; n]);
    for (at, &place) in places.iter().enumerate() {
        let h = step(at);
        let (above, below) = (u[place] + h, u[place] - h);
        moved[place] = above;
        density.evaluate(&moved, &mut up);
        moved[place] = below;
        density.evaluate(&moved, &mut down);
        moved[place] = u[place];
        up.iter_mut().zip(&down).for_each(|(a, b)| *a = (*a - b) / (above - below));
        found.take(at, &up, places);
    }
    found.even_out();
    found
}

fn empty(n: usize, full: bool) -> Precision {
    Precision { n, values: vec![0.0; if full { n * n } else { n }], full }
}

impl Precision {
    /// Column `at` of the second derivatives, out of one of all coordinates.
    fn take(&mut self, at: usize, column: &[f64], places: &[usize]) {
        if self.full {
            let row = &mut self.values[at * self.n..(at + 1) * self.n];
            row.iter_mut().zip(places).for_each(|(to, &place)| *to = -column[place]);
        } else {
            self.values[at] = -column[places[at]];
        }
    }
    /// Makes the matrix symmetric, which it is but for rounding.
    fn even_out(&mut self) {
        if !self.full {
            return;
        }
        let n = self.n;
        for i in 0..n {
            for j in 0..i {
                let mean = 0.5 * (self.values[i * n + j] + self.values[j * n + i]);
                (self.values[i * n + j], self.values[j * n + i]) = (mean, mean);
            }
        }
    }
    /// An element of the diagonal.
    pub fn diagonal(&self, at: usize) -> f64 {
        if self.full { self.values[at * self.n + at] } else { self.values[at] }
    }

    /// The Cholesky factor.
    ///
    /// # Errors
    /// When the matrix is not positive definite, also when only rounding makes it so: a direction along which the density
    /// is not curved downwards.
    pub fn factor(&self) -> Result<Factor, Vec<f64>> {
        let n = self.n;
        let unit = |at: usize| {
            let mut v = vec![0.0; n];
            v[at] = 1.0;
            v
        };
        if let Some(at) = (0..n).find(|&at| !self.diagonal(at).is_finite() || self.diagonal(at) <= 0.0) {
            return Err(unit(at));
        }
        let mut l = self.clone();
        if !self.full {
            l.values.iter_mut().for_each(|x| *x = x.sqrt());
            return Ok(Factor(l));
        }
        // Units of standard deviations at all other coordinates fixed: pivots are then what is left of 1.
        let scale: Vec<f64> = (0..n).map(|at| self.diagonal(at).sqrt()).collect();
        for i in 0..n {
            for j in 0..n {
                l.values[i * n + j] /= scale[i] * scale[j];
            }
        }
        let scaled = l.values.clone();
        let failed = cholesky(n, &mut l.values).err().map(|e| e.pivot);
        let rounding = 8.0 * n as f64 * f64::EPSILON;
        let flat = || (0..n).find(|&at| l.values[at * n + at].powi(2) <= rounding);
        let Some(pivot) = failed.or_else(flat) else {
            for (row, scale) in l.values.chunks_exact_mut(n.max(1)).zip(&scale) {
                row.iter_mut().for_each(|x| *x *= scale);
            }
            return Ok(Factor(l));
        };
        // (-A11^-1 a1, 1) has the curvature of the pivot.
        let mut above: Vec<f64> = (0..pivot).flat_map(|i| scaled[i * n..i * n + pivot].iter().copied()).collect();
        let mut v: Vec<f64> = (0..pivot).map(|i| -scaled[i * n + pivot]).collect();
        if cholesky(pivot, &mut above).is_err() {
            return Err(unit(pivot));
        }
        triangular_solve(Triangle::Lower, false, pivot, 1, &above, &mut v);
        triangular_solve(Triangle::Lower, true, pivot, 1, &above, &mut v);
        v.push(1.0);
        v.resize(n, 0.0);
        v.iter_mut().zip(&scale).for_each(|(x, s)| *x /= s);
        Err(v)
    }
}

/// A factor of a precision matrix A.
pub trait PrecisionFactor {
    /// ln det A.
    fn log_det(&self) -> f64;
    /// Replaces standard normal numbers `z` by a draw of the normal with mean 0 and precision A.
    fn spread(&self, z: &mut [f64]);
    /// A^-1 g: the step of Newton's method.
    fn solve(&self, gradient: &[f64]) -> Vec<f64>;
    /// What the quadratic model still has to gain [nats]: half of g^T A^-1 g.
    fn expected(&self, gradient: &[f64]) -> f64 {
        0.5 * dot(gradient, &self.solve(gradient))
    }
}

impl PrecisionFactor for Factor {
    fn log_det(&self) -> f64 {
        (0..self.0.n).map(|at| 2.0 * self.0.diagonal(at).ln()).sum()
    }
    fn spread(&self, z: &mut [f64]) {
        if self.0.full {
            triangular_solve(Triangle::Lower, true, self.0.n, 1, &self.0.values, z);
        } else {
            z.iter_mut().zip(&self.0.values).for_each(|(z, l)| *z /= l);
        }
    }
    fn solve(&self, gradient: &[f64]) -> Vec<f64> {
        let mut x = gradient.to_vec();
        if self.0.full {
            triangular_solve(Triangle::Lower, false, self.0.n, 1, &self.0.values, &mut x);
        } else {
            x.iter_mut().zip(&self.0.values).for_each(|(x, l)| *x /= l);
        }
        self.spread(&mut x);
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(n: usize, values: &[f64]) -> Precision {
        Precision { n, values: values.to_vec(), full: true }
    }

    #[test]
    fn factors_give_determinants_solutions_and_draws() {
        let a = matrix(2, &[4.0, 2.0, 2.0, 3.0]);
        let l = a.factor().expect("positive definite");
        assert!((l.log_det() - 8f64.ln()).abs() < 1e-14);
        let x = l.solve(&[1.0, 2.0]);
        assert!((4.0 * x[0] + 2.0 * x[1] - 1.0).abs() < 1e-14 && (2.0 * x[0] + 3.0 * x[1] - 2.0).abs() < 1e-14);
        // L^-T times the unit vectors: products sum to A^-1.
        let (mut a1, mut a2) = ([1.0, 0.0], [0.0, 1.0]);
        l.spread(&mut a1);
        l.spread(&mut a2);
        assert!((a1[0] * a1[1] + a2[0] * a2[1] + 2.0 / 8.0).abs() < 1e-14);
        let diagonal = Precision { n: 2, values: vec![4.0, 9.0], full: false }.factor().expect("positive");
        assert!((diagonal.log_det() - 36f64.ln()).abs() < 1e-14);
        assert_eq!(diagonal.solve(&[4.0, 9.0]), [1.0, 1.0]);
    }

    #[test]
    fn directions_without_downward_curvature_are_found() {
        let curvature = |a: &[f64], v: &[f64]| {
            let n = v.len();
            (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| v[i] * a[i * n + j] * v[j]).sum::<f64>()
        };
        // Large units in one coordinate change nothing.
        for unit in [1.0, 1e6] {
            let a = [1.0, 0.9 * unit, 0.3, 0.9 * unit, unit * unit, -0.5 * unit, 0.3, -0.5 * unit, 1.0];
            let v = matrix(3, &a).factor().expect_err("it is indefinite");
            assert!(curvature(&a, &v) < 0.0, "{v:?}");
        }
        // Singular but for rounding.
        let third = 1.0 / 3.0;
        let v = matrix(2, &[third, 1.0, 1.0, 3.0]).factor().expect_err("it is flat along (3, -1)");
        assert!((v[0] / v[1] + 3.0).abs() < 1e-9, "{v:?}");
        assert_eq!(matrix(2, &[1.0, 0.0, 0.0, 0.0]).factor(), Err(vec![0.0, 1.0]));
        let nan = Precision { n: 2, values: vec![1.0, f64::NAN], full: false };
        assert_eq!(nan.factor(), Err(vec![0.0, 1.0]));
    }
}
