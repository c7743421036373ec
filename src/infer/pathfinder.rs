//! Pathfinder: the normal along the path of an optimizer that is nearest to the posterior.
//!
//! In: a density and starting points.   Out: draws of the coordinates. A search by L-BFGS passes from the tail of the
//! posterior through its bulk to the mode. Its gradients estimate the covariance at every point x of the path,
//!
//!   H = diag(a) + B C B^T,   u ~ Normal(x + H g, H),
//!
//! and the normal with the highest ELBO is kept, which is most often one before the mode. The normals of several paths are put
//! together by importance resampling with smoothed weights. A draw is weighted against the mixture of all normals, not the one
//! it came from: then it does not matter how many paths ended at the same peak.
//! Source: Zhang, Carpenter, Gelman & Vehtari 2022, JMLR 23(306), algorithms 1 to 4; Veach & Guibas 1995, SIGGRAPH,
//! sec. 3.2 for the weights.

use super::density::{self, Density};
use super::lbfgs::{self, Found, Stop, dot, maximize};
use super::mode::Problem;
use super::profile::{Laps, Phase};
use super::{Observer, RunError, Status};
use crate::exec::plan::Options;
use crate::kernels::linalg::cholesky;
use crate::report::loo::smooth_weights;
use crate::report::statistics::mean;
use crate::rng::{Key, fill_normal, fill_uniform};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// Steps whose changes make the covariance (Zhang et al. 2022, sec. 3: 6 are enough up to hundreds of coordinates).
const HISTORY: usize = 6;
/// Draws from which the ELBO of a point of the path is estimated (the same, sec. 4.1).
const ELBO_DRAWS: usize = 25;
/// A change of the gradient with less curvature than this part of its square says nothing (the same, algorithm 3).
const CURVED: f64 = 1e-12;
/// Ratios that differ by less are those of the posterior itself [nats].
const SAME: f64 = 1e-8;
/// A column with less than this part of its length outside of the others lies among them.
const DEPENDENT: f64 = 1e-10;

/// Draws of the normals along the paths.
#[derive(Clone, PartialEq, Debug)]
pub struct PathfinderFit {
    /// Draws of the coordinates, `[draw, coordinate]`.
    pub positions: Vec<f64>,
    /// How many of them are different.
    pub distinct: usize,
    /// How many independent draws the weights are worth: one over the sum of their squares.
    pub effective: f64,
    /// The ELBO of the normal of each path with its standard error [nats]; `None` for a path without one.
    pub elbos: Vec<Option<(f64, f64)>>,
    /// Pareto k-hat of the ratios of the density to the normals.
    pub pareto_k: Option<f64>,
    /// Steps of all searches.
    pub steps: u64,
    /// Evaluations of the density.
    pub evaluations: u64,
    /// Seconds.
    pub secs: f64,
}

impl PathfinderFit {
    /// Follows the paths and draws from their normals.
    ///
    /// # Errors
    /// When the density has no gradient, when no starting point has a finite density, and when no point of any path has a
    /// normal under which the density is finite.
    pub fn of(problem: &Problem<'_>, observer: &mut dyn Observer) -> Result<PathfinderFit, RunError> {
        let mut laps = Laps::new(observer.stopwatch());
        let graph = density::build(problem.program, problem.bound, &problem.space())?;
        laps.lap(Phase::Lower);
        let (n, paths, draws) = (graph.dim(), problem.settings.restarts, problem.draws);
        let mut memory = problem.memory.clone();
        let numbers = n * (4 * HISTORY + paths * draws);
        memory.fit.push(("paths", (numbers * size_of::<f64>()) as u64));
        let options = memory.prepare::<f64>(&[&graph.graph], Options::default(), 1)[0].options();
        memory.check()?;
        observer.planned(&memory);
        let mut density = Density::planned(&graph, problem.program, problem.bound, options);
        laps.lap(Phase::Plan);
        let (settings, root, began) = (problem.settings, Key::new(problem.settings.seed), observer.clock());
        let search = problem.search();
        let mut fit = PathfinderFit {
            positions: Vec::new(),
            distinct: 0,
            effective: 0.0,
            elbos: Vec::new(),
            pareto_k: None,
            steps: 0,
            evaluations: 0,
            secs: 0.0,
        };
        let mut pool = Pool::default();
        let mut stopped = false;
        for path in 0..paths {
            let start = match search.start(&graph, &mut density, path as u64) {
                Ok(start) => start,
                Err(error) if path + 1 == paths && fit.elbos.is_empty() => return Err(error),
                Err(_) => continue,
            };
            let key = root.fold_in(31).fold_in(path as u64);
            let total = (paths * settings.steps) as u64;
            let steps = &mut fit.steps;
            let mut tell = |value: f64| {
                *steps += 1;
                let secs = observer.clock() - began;
                let steps_per_sec = if secs > 0.0 { *steps as f64 / secs } else { 0.0 };
                let status = Status {
                    step: *steps,
                    total,
                    epoch: None,
                    what: "log density",
                    elbo: value,
                    secs,
                    steps_per_sec,
                    items_per_sec: None,
                };
                let flow = observer.status(&status);
                stopped |= flow.is_break();
                flow
            };
            let (best, evaluations) = follow(&mut density, start, search.stop, key, &mut tell);
            fit.evaluations += evaluations;
            fit.elbos.push(best.as_ref().map(|b| b.elbo));
            if stopped {
                return Err(RunError::Stopped("stopped on the way to the mode: there are no draws yet".to_string()));
            }
            if let Some(best) = best {
                fit.evaluations += draws as u64;
                pool.draw(best.normal, &mut density, draws, key.fold_in(u64::MAX));
            }
        }
        laps.lap(Phase::Run);
        if pool.values.iter().all(|v| *v == f64::NEG_INFINITY) {
            return Err(RunError::NoNormal { paths });
        }
        let (k, positions, distinct, effective) = pool.resample(n, draws, root.fold_in(32));
        fit.effective = effective;
        (fit.pareto_k, fit.positions, fit.distinct) = (Some(k).filter(|k| n > 0 && k.is_finite()), positions, distinct);
        fit.secs = observer.clock() - began;
        laps.lap(Phase::Draws);
        if let Some(profile) = laps.finish() {
            observer.profiled(profile);
        }
        Ok(fit)
    }
}

/// The best normal of a path.
struct Best {
    normal: Normal,
    /// Its ELBO with its standard error.
    elbo: (f64, f64),
}

/// Follows one path: the normal with the highest ELBO, if any is finite, and how often the density was evaluated.
fn follow(
    density: &mut Density,
    start: Vec<f64>,
    stop: Stop,
    key: Key,
    tell: &mut dyn FnMut(f64) -> ControlFlow<()>,
) -> (Option<Best>, u64) {
    let n = start.len();
    // What was evaluated last: after a step that is its end.
    let last = RefCell::new((vec![0.0; n], vec![0.0; n]));
    let density = RefCell::new(density);
    let mut f = |u: &[f64], g: &mut [f64]| {
        let value = density.borrow_mut().evaluate(u, g);
        let mut last = last.borrow_mut();
        last.0.copy_from_slice(u);
        last.1.copy_from_slice(g);
        value
    };
    let mut history = History::new(n);
    let mut before: Option<(Vec<f64>, Vec<f64>)> = None;
    let mut best: Option<Best> = None;
    let mut evaluations = 0u64;
    // The start has a gradient too, which the first step needs.
    let mut gradient = vec![0.0; n];
    density.borrow_mut().evaluate(&start, &mut gradient);
    before.replace((start.clone(), gradient));
    let mut step = 0u64;
    let mut watch = |value: f64, _: f64| {
        let (x, gradient) = last.borrow().clone();
        if let Some((x0, g0)) = &before {
            history.add(difference(&x, x0), difference(g0, &gradient));
        }
        if let Some(normal) = history.normal(&x, &gradient) {
            let mut ratios = Vec::with_capacity(ELBO_DRAWS);
            normal.draws(*density.borrow_mut(), ELBO_DRAWS, key.fold_in(step), &mut |u, value| {
                ratios.push(value - normal.log_density(u));
            });
            evaluations += ELBO_DRAWS as u64;
            let elbo = mean(&ratios);
            if elbo.is_finite() && best.as_ref().is_none_or(|b| elbo > b.elbo.0) {
                let error = crate::report::statistics::sd(&ratios) / (ratios.len() as f64).sqrt();
                best = Some(Best { normal, elbo: (elbo, error) });
            }
        }
        before.replace((x, gradient));
        step += 1;
        tell(value)
    };
    let found: Found = maximize(&mut f, start, stop, &mut watch);
    (best, evaluations + found.evaluations as u64 + 1)
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// The latest steps of a path and the diagonal that they have made.
struct History {
    /// The diagonal a of the covariance.
    diagonal: Vec<f64>,
    /// Steps s and changes z of the gradient of the negative log density, latest last.
    pairs: VecDeque<(Vec<f64>, Vec<f64>)>,
}

impl History {
    fn new(n: usize) -> Self {
        Self { diagonal: vec![1.0; n], pairs: VecDeque::new() }
    }

    /// Takes a step in: the diagonal by the formula of Gilbert & Lemaréchal 1989, as in algorithm 3.
    fn add(&mut self, s: Vec<f64>, z: Vec<f64>) {
        let b = dot(&z, &s);
        // Not a number either.
        if b.partial_cmp(&(CURVED * dot(&z, &z))) != Some(std::cmp::Ordering::Greater) {
            return;
        }
        let a: f64 = z.iter().zip(&self.diagonal).map(|(z, d)| z * z * d).sum();
        let c: f64 = s.iter().zip(&self.diagonal).map(|(s, d)| s * s / d).sum();
        for ((d, z), s) in self.diagonal.iter_mut().zip(&z).zip(&s) {
            *d = 1.0 / (a / (b * *d) + z * z / b - a * s * s / (b * c * *d * *d));
        }
        if self.pairs.len() == HISTORY {
            self.pairs.pop_front();
        }
        self.pairs.push_back((s, z));
    }

    /// The normal at a point of the path with this gradient of the log density; `None` where rounding leaves no covariance.
    fn normal(&self, x: &[f64], gradient: &[f64]) -> Option<Normal> {
        let j = self.pairs.len();
        if !self.diagonal.iter().all(|d| *d > 0.0 && d.is_finite()) {
            return None;
        }
        let root: Vec<f64> = self.diagonal.iter().map(|d| d.sqrt()).collect();
        // The columns of diag(a)^-1/2 B: a^1/2 z, then a^-1/2 s.
        let scaled = |v: &[f64], f: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
            v.iter().zip(&root).map(|(v, r)| f(*v, *r)).collect()
        };
        let columns: Vec<Vec<f64>> = (self.pairs.iter().map(|(_, z)| scaled(z, &|z, r| z * r)))
            .chain(self.pairs.iter().map(|(s, _)| scaled(s, &|s, r| s / r)))
            .collect();
        let middle = self.middle(&columns[..j]);
        let (q, r) = orthogonal(&columns);
        let rank = q.len();
        // I + R C R^T
        let mut lower = vec![0.0; rank * rank];
        for (row, lower) in lower.chunks_exact_mut(rank.max(1)).enumerate() {
            for (column, to) in lower.iter_mut().enumerate() {
                let sum: f64 = (0..2 * j)
                    .flat_map(|k| (0..2 * j).map(move |l| (k, l)))
                    .map(|(k, l)| r[k][row] * middle[k * 2 * j + l] * r[l][column])
                    .sum();
                *to = sum + f64::from(u8::from(row == column));
            }
        }
        cholesky(rank, &mut lower).ok()?;
        let mut log_det: f64 = self.diagonal.iter().map(|d| d.ln()).sum();
        log_det += 2.0 * (0..rank).map(|i| lower[i * rank + i].ln()).sum::<f64>();
        let mut normal = Normal { mean: Vec::new(), root, q, lower, log_det };
        // x + H g
        let mut step = gradient.to_vec();
        normal.covariance(&mut step);
        normal.mean = x.iter().zip(&step).map(|(x, s)| x + s).collect();
        (log_det.is_finite() && normal.mean.iter().all(|m| m.is_finite())).then_some(normal)
    }

    /// C `[2 j, 2 j]`, from the columns a^1/2 z (Byrd, Nocedal & Schnabel 1994, eq. 2.6).
    fn middle(&self, changes: &[Vec<f64>]) -> Vec<f64> {
        let j = self.pairs.len();
        // E^-1, where E is the upper triangle of S^T Z.
        let e = |row: usize, column: usize| dot(&self.pairs[row].0, &self.pairs[column].1);
        let mut inverse = vec![0.0; j * j];
        for column in 0..j {
            for row in (0..=column).rev() {
                let known: f64 = (row + 1..=column).map(|k| e(row, k) * inverse[k * j + column]).sum();
                inverse[row * j + column] = (f64::from(u8::from(row == column)) - known) / e(row, row);
            }
        }
        // diag(S^T Z) + Z^T diag(a) Z
        let inner: Vec<f64> = (0..j * j)
            .map(|i| (i / j, i % j))
            .map(|(row, column)| dot(&changes[row], &changes[column]) + if row == column { e(row, row) } else { 0.0 })
            .collect();
        let mut middle = vec![0.0; 4 * j * j];
        for row in 0..j {
            for column in 0..j {
                middle[row * 2 * j + j + column] = -inverse[row * j + column];
                middle[(j + row) * 2 * j + column] = -inverse[column * j + row];
                middle[(j + row) * 2 * j + j + column] = (0..j)
                    .flat_map(|k| (0..j).map(move |l| (k, l)))
                    .map(|(k, l)| inverse[k * j + row] * inner[k * j + l] * inverse[l * j + column])
                    .sum();
            }
        }
        middle
    }
}

/// Orthonormal columns Q of the span of some columns, and each column in them: `r[column][q]`. Gram & Schmidt, twice.
fn orthogonal(columns: &[Vec<f64>]) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let mut q: Vec<Vec<f64>> = Vec::new();
    let mut r = Vec::new();
    for column in columns {
        let mut rest = column.clone();
        let mut parts = vec![0.0; q.len()];
        for _ in 0..2 {
            for (part, q) in parts.iter_mut().zip(&q) {
                let more = dot(&rest, q);
                *part += more;
                rest.iter_mut().zip(q).for_each(|(x, q)| *x -= more * q);
            }
        }
        let length = lbfgs::norm(&rest);
        if q.len() < column.len() && length > DEPENDENT * lbfgs::norm(column) {
            rest.iter_mut().for_each(|x| *x /= length);
            q.push(rest);
            parts.push(length);
        }
        r.push(parts);
    }
    r.iter_mut().for_each(|parts| parts.resize(q.len(), 0.0));
    (q, r)
}

/// Normal(mean, H) with H = A^1/2 (I + Q (L L^T - I) Q^T) A^1/2 for a diagonal A.
struct Normal {
    mean: Vec<f64>,
    /// A^1/2
    root: Vec<f64>,
    /// Columns of Q.
    q: Vec<Vec<f64>>,
    /// L `[rank, rank]`.
    lower: Vec<f64>,
    /// ln det H
    log_det: f64,
}

impl Normal {
    /// v + Q (f(Q^T v) - Q^T v)
    fn inside(&self, v: &mut [f64], f: impl Fn(&[f64]) -> Vec<f64>) {
        let parts: Vec<f64> = self.q.iter().map(|q| dot(q, v)).collect();
        for ((new, old), q) in f(&parts).iter().zip(&parts).zip(&self.q) {
            v.iter_mut().zip(q).for_each(|(v, q)| *v += (new - old) * q);
        }
    }
    /// L p
    fn lower(&self, p: &[f64]) -> Vec<f64> {
        let rank = p.len();
        (0..rank).map(|i| dot(&self.lower[i * rank..][..=i], &p[..=i])).collect()
    }
    /// v = H v
    fn covariance(&self, v: &mut [f64]) {
        v.iter_mut().zip(&self.root).for_each(|(v, r)| *v *= r);
        self.inside(v, |p| {
            let rank = p.len();
            let turned: Vec<f64> =
                (0..rank).map(|i| (i..rank).map(|k| self.lower[k * rank + i] * p[k]).sum()).collect();
            self.lower(&turned)
        });
        v.iter_mut().zip(&self.root).for_each(|(v, r)| *v *= r);
    }
    /// ln of the density at a point.
    fn log_density(&self, x: &[f64]) -> f64 {
        let v: Vec<f64> = x.iter().zip(&self.mean).zip(&self.root).map(|((x, m), r)| (x - m) / r).collect();
        let mut parts: Vec<f64> = self.q.iter().map(|q| dot(q, &v)).collect();
        let outside = dot(&v, &v) - dot(&parts, &parts);
        let rank = parts.len();
        for i in 0..rank {
            let known = dot(&self.lower[i * rank..][..i], &parts[..i]);
            parts[i] = (parts[i] - known) / self.lower[i * rank + i];
        }
        -0.5 * (outside + dot(&parts, &parts) + self.log_det + v.len() as f64 * std::f64::consts::TAU.ln())
    }
    /// Shows `n` draws with the log density there, minus infinity where it is not a number.
    fn draws(&self, density: &mut Density, n: usize, key: Key, show: &mut dyn FnMut(&[f64], f64)) {
        let dim = self.mean.len();
        let (mut u, mut gradient) = (vec![0.0; dim], vec![0.0; dim]);
        for i in 0..n as u64 {
            fill_normal(key.fold_in(i), 0, &mut u);
            self.inside(&mut u, |p| self.lower(p));
            u.iter_mut().zip(&self.root).zip(&self.mean).for_each(|((u, r), m)| *u = *u * r + m);
            let value = density.evaluate(&u, &mut gradient);
            show(&u, if value.is_nan() { f64::NEG_INFINITY } else { value });
        }
    }
}

/// Draws of the normals of all paths.
#[derive(Default)]
struct Pool {
    normals: Vec<Normal>,
    positions: Vec<f64>,
    /// The log density of each.
    values: Vec<f64>,
}

impl Pool {
    fn draw(&mut self, normal: Normal, density: &mut Density, n: usize, key: Key) {
        let (positions, values) = (&mut self.positions, &mut self.values);
        normal.draws(density, n, key, &mut |u, value| {
            positions.extend_from_slice(u);
            values.push(value);
        });
        self.normals.push(normal);
    }

    /// `draws` of them: all of one normal as they are; those of several with replacement, by their smoothed ratios to the
    /// mixture of the normals. Also the k-hat of the ratios, how many draws are different, and how many the weights are worth.
    fn resample(self, n: usize, draws: usize, key: Key) -> (f64, Vec<f64>, usize, f64) {
        let at = |i: usize| &self.positions[i * n..(i + 1) * n];
        let ratio = |(i, value): (usize, &f64)| {
            let each = self.normals.iter().map(|normal| normal.log_density(at(i)));
            let highest = each.clone().fold(f64::NEG_INFINITY, f64::max);
            let share: f64 = each.map(|q| (q - highest).exp()).sum::<f64>() / self.normals.len() as f64;
            value - highest - share.ln()
        };
        let ratios: Vec<f64> = self.values.iter().enumerate().map(ratio).collect();
        let (weights, k) = smooth_weights(&ratios);
        let highest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let k = if highest - lowest <= SAME * highest.abs().max(1.0) { 0.0 } else { k };
        if self.normals.len() == 1 {
            return (k, self.positions, draws, draws as f64);
        }
        let mut uniforms = vec![0.0; draws];
        fill_uniform(key, 0, &mut uniforms);
        let mut sum = 0.0;
        let sums: Vec<f64> = weights
            .iter()
            .map(|w| {
                sum += w;
                sum
            })
            .collect();
        let mut chosen: Vec<usize> =
            uniforms.iter().map(|u| sums.partition_point(|s| *s <= u * sum).min(sums.len() - 1)).collect();
        let positions = chosen.iter().flat_map(|&i| at(i).iter().copied()).collect();
        chosen.sort_unstable();
        chosen.dedup();
        let effective = 1.0 / weights.iter().map(|w| w * w).sum::<f64>();
        (k, positions, chosen.len(), effective)
    }
}
