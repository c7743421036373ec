//! Natural-gradient steps for normal guides: `optimizer = natural(rate)` and `ivon(rate, …)`.
//!
//! Let L be the negative ELBO of a normal q = N(m, S) in coordinates z, and f(z) = -ln p(data, z), Jacobian included. Then
//!
//!   dL/dm = E f'(z),      dL/dS = 1/2 (E f''(z) - inv S),
//!
//! (Bonnet, Price; Opper & Archambeau 2009), so the gradients of the ELBO by location and scale, however they are
//! estimated, hold an estimate H of the mean curvature. A natural-gradient step moves the precision towards it:
//!
//!   inv S <- (1 - rate) inv S + rate H + 1/2 rate^2 (inv S - H) S (inv S - H),     m <- m - rate S dL/dm
//!
//! (Khan & Rue 2023, arXiv:2107.04562); the last term of the precision keeps it positive definite whatever H is (Lin,
//! Schmidt & Khan 2020, arXiv:2002.10060). For a normal posterior and exact gradients both go to it within few steps at rate 1.
//!
//! IVON (Shen et al. 2024, arXiv:2402.17641, alg. 1) is this for independent normals, with a rate 1 - beta2 for the
//! precision, of its own, and the mean of past gradients, decay beta1, for the location. Here the prior is part of the ELBO,
//! whatever it is, in place of a weight decay, and the precision is that of the posterior, in place of N (h + delta).
//!
//! With a Cholesky factor, S = F F', everything is done relative to it: X = F' (H - inv S) F is `F' dL/dF`, whose lower
//! triangle is known; P = 1 + rate X + 1/2 rate^2 X X = B' B with B lower triangular; the new factor is F inv B.

use super::optim::Rule;
use crate::check::typed::{Constraint, DistExpr, ExprKind, Guide, GuideStep, HoleId, Program, SiteId};
use crate::dist::DistId;
use crate::kernels::Scalar;
use crate::lower::params::{Owner, Slot, Slots};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How a family keeps its scales.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Form {
    /// One positive number for each coordinate, free numbers by the inverse of softplus.
    Diagonal,
    /// A lower Cholesky factor, its diagonal by the inverse of softplus.
    Full,
}

/// The parameters of one normal family.
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    /// Its locations in the flat vector.
    pub loc: Range<usize>,
    /// Its scales.
    pub scale: Range<usize>,
    /// How they are kept.
    pub form: Form,
    /// What the learning rate is multiplied by.
    pub multiplier: f64,
}

/// Parameters that no normal family has.
#[derive(Clone, PartialEq, Debug)]
pub struct Misfit {
    /// Their name in files: `theta.scale`.
    pub name: String,
    /// Why not.
    pub why: &'static str,
}

/// The normal families that the parameters of a guide make up; every parameter is in one.
///
/// # Errors
/// The first parameter that is in none.
pub fn blocks(program: &Program, guide: &Guide, slots: &Slots, rule: Rule) -> Result<Vec<Block>, Misfit> {
    let range = |at: usize| slots.list[at].offset..slots.list[at].offset + slots.list[at].shape.count();
    let mut blocks = Vec::new();
    for (at, slot) in slots.list.iter().enumerate() {
        let misfit = |why| Err(Misfit { name: slot.name.clone(), why });
        if slot.rows {
            return misfit("a step of one minibatch moves only some of its elements");
        }
        let pair = match slot.owner {
            Owner::Scale(_) | Owner::JointFactor(_) => continue,
            Owner::Loc(site) => {
                let own = |s: &Slot| matches!(s.owner, Owner::Weight(s, _) | Owner::Chain(s) if s == site);
                if slots.list.iter().any(own) {
                    return misfit("its family has dependencies between sites");
                }
                slots.position(Owner::Scale(site)).map(|scale| (scale, Form::Diagonal))
            }
            Owner::JointLoc(step) => {
                let factor = slots.position(Owner::JointFactor(step));
                factor.filter(|&f| slots.list[f].constraint == Constraint::LowerCholesky).map(|f| (f, Form::Full))
            }
            Owner::Hole(id) => {
                let hole = &program.holes[id];
                match normal_holes(program, guide, hole.site) {
                    Some((loc, _)) if loc != id => continue,
                    Some((_, scale)) => slots.position(Owner::Hole(scale)).map(|scale| (scale, Form::Diagonal)),
                    None => {
                        return misfit("its site has another distribution than `Normal(?, ?)` or `LogNormal(?, ?)`");
                    }
                }
            }
            Owner::Param(_) => return misfit("it is a learnable constant"),
            _ => None,
        };
        let Some((scale, form)) = pair else { return misfit("its family is not a normal one") };
        if form == Form::Full && rule != Rule::Natural {
            return misfit("its family has correlations, the rule has none");
        }
        if form == Form::Diagonal && slots.list[scale].shape != slot.shape {
            return misfit("its location and its scale differ in shape");
        }
        blocks.push(Block { loc: range(at), scale: range(scale), form, multiplier: 1.0 });
    }
    Ok(blocks)
}
/// The holes for location and scale of a site whose distribution in the guide is normal, or its logarithm is.
fn normal_holes(program: &Program, guide: &Guide, site: SiteId) -> Option<(HoleId, HoleId)> {
    guide.steps.iter().find_map(|step| match step {
        GuideStep::Explicit { site: s, dist: DistExpr::Row { def, args, .. }, .. }
            if *s == site && matches!(*def, DistId::NORMAL | DistId::LOG_NORMAL) =>
        {
            let hole = |at: usize| match program.exprs[*args.get(at)?].kind {
                ExprKind::Hole(id) => Some(id),
                _ => None,
            };
            hole(0).zip(hole(1))
        }
        _ => None,
    })
}

/// The numbers of one step.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rates {
    /// Of the location.
    pub loc: f64,
    /// Of the precision.
    pub precision: f64,
    /// How much of the mean of past gradients is kept, 0 for none.
    pub keep: f64,
    /// One over the part of that mean that is there by now.
    pub unbias: f64,
}

impl Block {
    /// Room that a step needs, in numbers.
    pub fn scratch(&self) -> usize {
        match self.form {
            Form::Diagonal => 0,
            Form::Full => 3 * self.scale.len() + 2 * self.loc.len(),
        }
    }
    /// One step: `gradient` is that of the negative ELBO by the free parameters, `mean` that of past ones (of the length of
    /// `params`; empty when none is kept).
    pub fn step<F: Scalar>(
        &self,
        params: &mut [F],
        gradient: &[F],
        scale: f64,
        mean: &mut [F],
        scratch: &mut [f64],
        rates: Rates,
    ) {
        let rates =
            Rates { loc: rates.loc * self.multiplier, precision: rates.precision * self.multiplier.min(1.0), ..rates };
        if self.multiplier == 0.0 {
            return;
        }
        match self.form {
            Form::Diagonal => self.diagonal(params, gradient, scale, mean, rates),
            Form::Full => self.full(params, gradient, scale, mean, scratch, rates),
        }
    }

    fn diagonal<F: Scalar>(&self, params: &mut [F], gradient: &[F], by: f64, mean: &mut [F], rates: Rates) {
        for (loc, scale) in self.loc.clone().zip(self.scale.clone()) {
            let free = params[scale].to_f64();
            let (sd, slope) = softplus(free);
            // The curvature in units of the precision, less 1.
            let x = sd * by * gradient[scale].to_f64() / slope;
            let rise = 1.0 + rates.precision * x + 0.5 * (rates.precision * x).powi(2);
            let sd = sd / rise.sqrt();
            params[scale] = F::from_f64(inverse_softplus(sd));
            let g = direction(mean, loc, by * gradient[loc].to_f64(), rates);
            params[loc] = F::from_f64(params[loc].to_f64() - rates.loc * sd * sd * g);
        }
    }

    fn full<F: Scalar>(
        &self,
        params: &mut [F],
        gradient: &[F],
        by: f64,
        mean: &mut [F],
        scratch: &mut [f64],
        rates: Rates,
    ) {
        let n = self.loc.len();
        let (factor, rest) = scratch.split_at_mut(n * n);
        let (x, rest) = rest.split_at_mut(n * n);
        let (p, rest) = rest.split_at_mut(n * n);
        let (step, row) = rest.split_at_mut(n);
        let row = &mut row[..n];
        for r in 0..n {
            for c in 0..n {
                let free = params[self.scale.start + r * n + c].to_f64();
                factor[r * n + c] = match c.cmp(&r) {
                    std::cmp::Ordering::Less => free,
                    std::cmp::Ordering::Equal => softplus(free).0,
                    std::cmp::Ordering::Greater => 0.0,
                };
            }
        }
        let slope = |r: usize| softplus(params[self.scale.start + r * n + r].to_f64()).1;
        let wrt = |r: usize, c: usize| {
            let g = by * gradient[self.scale.start + r * n + c].to_f64();
            if r == c { g / slope(r) } else { g }
        };
        // The lower triangle of X = F' dL/dF, then the other one.
        x.fill(0.0);
        for k in 0..n {
            for j in 0..=k {
                let g = wrt(k, j);
                for i in j..=k {
                    x[i * n + j] += factor[k * n + i] * g;
                }
            }
        }
        for i in 0..n {
            for j in 0..i {
                x[j * n + i] = x[i * n + j];
            }
        }
        // The lower triangle of P, then B with P = B' B in its place, from the last row.
        let rho = rates.precision;
        for i in 0..n {
            for j in 0..=i {
                let square: f64 = (0..n).map(|k| x[i * n + k] * x[j * n + k]).sum();
                p[i * n + j] = f64::from(u8::from(i == j)) + rho * x[i * n + j] + 0.5 * rho * rho * square;
            }
        }
        for i in (0..n).rev() {
            for j in (0..=i).rev() {
                let sum: f64 = (i + 1..n).map(|k| p[k * n + i] * p[k * n + j]).sum();
                let rest = p[i * n + j] - sum;
                p[i * n + j] = if i == j { rest.max(f64::MIN_POSITIVE).sqrt() } else { rest / p[i * n + i] };
            }
        }
        // F <- F inv B: row by row, the last column first.
        for r in 0..n {
            for c in (0..=r).rev() {
                let sum: f64 = (c + 1..=r).map(|k| factor[r * n + k] * p[k * n + c]).sum();
                factor[r * n + c] = (factor[r * n + c] - sum) / p[c * n + c];
            }
        }
        // m <- m - rate F F' g
        for (i, loc) in self.loc.clone().enumerate() {
            row[i] = direction(mean, loc, by * gradient[loc].to_f64(), rates);
        }
        for (i, s) in step.iter_mut().enumerate() {
            *s = (i..n).map(|k| factor[k * n + i] * row[k]).sum();
        }
        for (i, loc) in self.loc.clone().enumerate() {
            let moved: f64 = (0..=i).map(|k| factor[i * n + k] * step[k]).sum();
            params[loc] = F::from_f64(params[loc].to_f64() - rates.loc * moved);
        }
        for r in 0..n {
            for c in 0..r {
                params[self.scale.start + r * n + c] = F::from_f64(factor[r * n + c]);
            }
            params[self.scale.start + r * n + r] = F::from_f64(inverse_softplus(factor[r * n + r]));
        }
    }
}

/// The gradient of a location, averaged over past ones where that is asked for.
fn direction<F: Scalar>(mean: &mut [F], at: usize, g: f64, rates: Rates) -> f64 {
    if mean.is_empty() {
        return g;
    }
    let m = rates.keep * mean[at].to_f64() + (1.0 - rates.keep) * g;
    mean[at] = F::from_f64(m);
    m * rates.unbias
}

/// `ln(1 + e^x)` and its derivative.
fn softplus(x: f64) -> (f64, f64) {
    let y = x.max(0.0) + (-x.abs()).exp().ln_1p();
    (y, -(-y).exp_m1())
}
fn inverse_softplus(y: f64) -> f64 {
    let y = y.max(f64::MIN_POSITIVE);
    y + (-(-y).exp_m1()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gradient of the negative ELBO of a full-rank normal for the target N(mean, inv precision): by the location and
    /// by the free numbers of the factor.
    fn exact(params: &[f64], mean: &[f64], precision: &[f64]) -> Vec<f64> {
        let n = mean.len();
        let factor = |r: usize, c: usize| match c.cmp(&r) {
            std::cmp::Ordering::Less => params[n + r * n + c],
            std::cmp::Ordering::Equal => softplus(params[n + r * n + c]).0,
            std::cmp::Ordering::Greater => 0.0,
        };
        let mut gradient = vec![0.0; n + n * n];
        for i in 0..n {
            gradient[i] = (0..n).map(|j| precision[i * n + j] * (params[j] - mean[j])).sum();
            for j in 0..=i {
                let g: f64 = (0..n).map(|k| precision[i * n + k] * factor(k, j)).sum();
                let g = if i == j { (g - 1.0 / factor(i, i)) * softplus(params[n + i * n + i]).1 } else { g };
                gradient[n + i * n + j] = g;
            }
        }
        gradient
    }

    #[test]
    fn a_full_covariance_is_reached_in_few_steps() {
        // A precision with strong correlations, and scales that lie far from where it starts.
        let precision = [40.0, 12.0, -3.0, 12.0, 5.0, 0.5, -3.0, 0.5, 2.0];
        let mean = [1.0, -20.0, 3.0];
        let block = Block { loc: 0..3, scale: 3..12, form: Form::Full, multiplier: 1.0 };
        let mut params = vec![0.0; 12];
        let mut scratch = vec![0.0; block.scratch()];
        let rates = Rates { loc: 1.0, precision: 1.0, keep: 0.0, unbias: 1.0 };
        for _ in 0..12 {
            let gradient = exact(&params, &mean, &precision);
            block.step(&mut params, &gradient, 1.0, &mut [], &mut scratch, rates);
        }
        for i in 0..3 {
            assert!((params[i] - mean[i]).abs() < 1e-9, "{params:?}");
        }
        let gradient = exact(&params, &mean, &precision);
        assert!(gradient.iter().all(|g| g.abs() < 1e-9), "{gradient:?}");
    }

    /// One small step of the factor goes along the natural gradient: its precision moves by `rate (H - inv S)`.
    #[test]
    fn a_small_step_moves_the_precision_towards_the_curvature() {
        let n = 3;
        let precision = [4.0, 1.0, 0.2, 1.0, 3.0, -0.4, 0.2, -0.4, 2.0];
        let mean = [0.0; 3];
        let block = Block { loc: 0..3, scale: 3..12, form: Form::Full, multiplier: 1.0 };
        let mut params: Vec<f64> = (0..12).map(|i| (0.7 * i as f64).sin()).collect();
        let covariance = |params: &[f64]| {
            let f = |r: usize, c: usize| match c.cmp(&r) {
                std::cmp::Ordering::Less => params[n + r * n + c],
                std::cmp::Ordering::Equal => softplus(params[n + r * n + c]).0,
                std::cmp::Ordering::Greater => 0.0,
            };
            let mut s = [0.0; 9];
            for i in 0..n {
                for j in 0..n {
                    s[i * n + j] = (0..n).map(|k| f(i, k) * f(j, k)).sum();
                }
            }
            s
        };
        let times = |a: &[f64], b: &[f64]| -> Vec<f64> {
            (0..9).map(|e| (0..n).map(|k| a[e / n * n + k] * b[k * n + e % n]).sum()).collect()
        };
        let before = covariance(&params);
        let gradient = exact(&params, &mean, &precision);
        let rate = 1e-6;
        let rates = Rates { loc: rate, precision: rate, keep: 0.0, unbias: 1.0 };
        let mut scratch = vec![0.0; block.scratch()];
        block.step(&mut params, &gradient, 1.0, &mut [], &mut scratch, rates);
        let after = covariance(&params);
        // d S = -S d(inv S) S = -rate (S H S - S)
        let curved = times(&times(&before, &precision), &before);
        for e in 0..9 {
            let want = -(curved[e] - before[e]);
            let got = (after[e] - before[e]) / rate;
            assert!((got - want).abs() < 1e-4, "{e}: {got} {want}");
        }
    }

    /// The rule of the paper, worked in its own terms: h, momentum, bias, for one coordinate.
    #[test]
    fn ivon_steps_as_its_paper_says() {
        let block = Block { loc: 0..1, scale: 1..2, form: Form::Diagonal, multiplier: 1.0 };
        let (beta1, beta2, rate) = (0.9, 0.8, 0.1);
        let mut params = [0.5, inverse_softplus(0.5)];
        let mut mean = [0.0, 0.0];
        let (mut m, mut h, mut g_mean) = (0.5, 4.0, 0.0);
        for (t, (g, curvature)) in [(3.0, 7.0), (-1.0, -6.0), (0.4, 30.0)].into_iter().enumerate() {
            let sd = 1.0 / f64::sqrt(h);
            // dL/dsd = sd H - 1 / sd
            let slope = softplus(params[1]).1;
            let gradient = [g, (sd * curvature - 1.0 / sd) * slope];
            let rates = Rates {
                loc: rate,
                precision: 1.0 - beta2,
                keep: beta1,
                unbias: 1.0 / (1.0 - beta1.powi(t as i32 + 1)),
            };
            block.step(&mut params, &gradient, 1.0, &mut mean, &mut [], rates);
            g_mean = beta1 * g_mean + (1.0 - beta1) * g;
            h = beta2 * h + (1.0 - beta2) * curvature + 0.5 * (1.0 - beta2).powi(2) * (h - curvature).powi(2) / h;
            m -= rate * g_mean / (1.0 - beta1.powi(t as i32 + 1)) / h;
            assert!((params[0] - m).abs() < 1e-12, "{} {m}", params[0]);
            assert!((softplus(params[1]).0 - 1.0 / h.sqrt()).abs() < 1e-12);
        }
    }
}
