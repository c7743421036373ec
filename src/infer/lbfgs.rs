//! L-BFGS: the maximum of a smooth function of many numbers, from its values and gradients.
//!
//! The two-loop recursion of Nocedal & Wright 2006, "Numerical Optimization", algorithm 7.4, with the line search of
//! Lewis & Overton 2013, Math. Program. 141:135: it asks for enough gain and for a slope that has become flatter, by
//! doubling and halving. Steps to points where the function or its gradient is not finite are too long. Near the maximum
//! the gain drowns in rounding; there the slope alone decides (Hager & Zhang 2005, SIAM J. Optim. 16:170, eq. 4.1).

use std::collections::VecDeque;
use std::ops::ControlFlow;

/// Pairs of steps and changes of the gradient that are remembered; 3 to 20 do (Nocedal & Wright 2006, sec. 7.2).
const MEMORY: usize = 10;
/// The part of the gain promised by the slope that a step must have (Nocedal & Wright 2006, sec. 3.1).
const GAIN: f64 = 1e-4;
/// The part of the slope that may be left after a step (the same).
const SLOPE: f64 = 0.9;
/// Points of one line search: doublings and halvings over all powers of 2 that matter.
const SEARCH: usize = 60;
/// Rounding errors of the function relative to its value: sums of many terms.
const ROUNDING: f64 = 1e-13;
/// What the gain that is still expected may be, in tolerances, where rounding leaves no step that gains.
const LOOSE: f64 = 1e3;

/// When to stop.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stop {
    /// Steps at most.
    pub steps: usize,
    /// Done when the gain that is still expected, half the slope along the step of the quadratic model, is below this
    /// twice in succession. Half the square of the distance to the maximum, in standard deviations of a normal there.
    pub tolerance: f64,
}

/// Why a search ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// At a maximum.
    Converged,
    /// All steps were done.
    Steps,
    /// No step along the gradient gains anything, although the gradient says so.
    Stuck,
    /// Whoever watched stopped it.
    Stopped,
}

/// The end of a search.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// The point.
    pub x: Vec<f64>,
    /// The function there.
    pub value: f64,
    /// Its gradient.
    pub gradient: Vec<f64>,
    /// Steps taken.
    pub steps: usize,
    /// Points at which the function was evaluated.
    pub evaluations: usize,
    /// Why it ended.
    pub end: End,
}

/// A function with its gradient, which is written to the second argument.
pub type Function<'f> = dyn FnMut(&[f64], &mut [f64]) -> f64 + 'f;
/// Told the value and the norm of the gradient after every step; may stop the search.
pub type Watch<'f> = dyn FnMut(f64, f64) -> ControlFlow<()> + 'f;

/// Pairs of steps and changes of the gradient (of the negative function), latest last.
#[derive(Default)]
struct Pairs(VecDeque<(Vec<f64>, Vec<f64>, f64)>);

impl Pairs {
    fn add(&mut self, step: Vec<f64>, change: Vec<f64>) {
        let product = dot(&step, &change);
        // Curvature that is not positive, or only by rounding, would spoil the model.
        if product > 1e-14 * dot(&step, &step).sqrt() * dot(&change, &change).sqrt() {
            if self.0.len() == MEMORY {
                self.0.pop_front();
            }
            self.0.push_back((step, change, 1.0 / product));
        }
    }
    /// The step to the maximum of the quadratic model, from the gradient of the function.
    fn step(&self, gradient: &[f64]) -> Vec<f64> {
        let mut q = gradient.to_vec();
        let Some((_, change, over)) = self.0.back() else {
            // Nothing is known of the scale: a step of length 1 at most.
            let shrink = 1.0 / norm(&q).max(1.0);
            q.iter_mut().for_each(|x| *x *= shrink);
            return q;
        };
        let scale = 1.0 / (over * dot(change, change));
        let mut weights = Vec::with_capacity(self.0.len());
        for (step, change, over) in self.0.iter().rev() {
            let weight = over * dot(step, &q);
            add(&mut q, -weight, change);
            weights.push(weight);
        }
        q.iter_mut().for_each(|x| *x *= scale);
        for ((step, change, over), weight) in self.0.iter().zip(weights.into_iter().rev()) {
            let other = over * dot(change, &q);
            add(&mut q, weight - other, step);
        }
        q
    }
}

/// The maximum of `f` that is found from `start`, where `f` and its gradient must be finite.
pub fn maximize(f: &mut Function<'_>, start: Vec<f64>, stop: Stop, watch: &mut Watch<'_>) -> Found {
    let n = start.len();
    let mut x = start;
    let mut gradient = vec![0.0; n];
    let mut value = f(&x, &mut gradient);
    let mut evaluations = 1;
    let mut pairs = Pairs::default();
    let (mut next, mut next_gradient) = (vec![0.0; n], vec![0.0; n]);
    let mut calm = 0;
    let mut steps = 0;
    let end = loop {
        if gradient.iter().all(|g| *g == 0.0) {
            break End::Converged;
        }
        if steps == stop.steps {
            break End::Steps;
        }
        let mut direction = pairs.step(&gradient);
        let mut slope = dot(&direction, &gradient);
        // Not a number either.
        if slope.partial_cmp(&0.0) != Some(std::cmp::Ordering::Greater) || !slope.is_finite() {
            pairs = Pairs::default();
            direction = pairs.step(&gradient);
            slope = dot(&direction, &gradient);
        }
        let enough = stop.tolerance.max(f64::EPSILON * value.abs());
        let expected = 0.5 * slope;
        calm = if !pairs.0.is_empty() && expected <= enough { calm + 1 } else { 0 };
        if calm == 2 {
            break End::Converged;
        }
        let mut search = |t: f64| {
            next.iter_mut().zip(&x).zip(&direction).for_each(|((to, x), d)| *to = t * d + x);
            evaluations += 1;
            let v = f(&next, &mut next_gradient);
            let finite = v.is_finite() && next_gradient.iter().all(|g| g.is_finite());
            (finite, v, dot(&direction, &next_gradient))
        };
        match line(&mut search, value, slope) {
            Some(reached) => {
                let step: Vec<f64> = next.iter().zip(&x).map(|(a, b)| a - b).collect();
                let change: Vec<f64> = gradient.iter().zip(&next_gradient).map(|(a, b)| a - b).collect();
                pairs.add(step, change);
                std::mem::swap(&mut x, &mut next);
                std::mem::swap(&mut gradient, &mut next_gradient);
                value = reached;
                steps += 1;
                if watch(value, norm(&gradient)).is_break() {
                    break End::Stopped;
                }
            }
            None if expected <= LOOSE * enough => break End::Converged,
            None if pairs.0.is_empty() => break End::Stuck,
            // Once more from the gradient alone.
            None => pairs = Pairs::default(),
        }
    };
    Found { x, value, gradient, steps, evaluations, end }
}

/// Finds a step along a direction of slope `slope > 0`; the last point that `at` saw is the one chosen. `None` when no
/// step gains anything.
fn line(at: &mut dyn FnMut(f64) -> (bool, f64, f64), value: f64, slope: f64) -> Option<f64> {
    let noise = ROUNDING * value.abs();
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut t = 1.0;
    let mut best: Option<(f64, f64)> = None;
    for _ in 0..SEARCH {
        let (finite, v, s) = at(t);
        let gains = v >= value + GAIN * t * slope;
        let by_slope = v >= value - noise && s >= (2.0 * GAIN - 1.0) * slope;
        if !finite || !(gains || by_slope) {
            high = t;
        } else if s > SLOPE * slope {
            low = t;
            if best.is_none_or(|(_, b)| v > b) {
                best = Some((t, v));
            }
        } else {
            return Some(v);
        }
        t = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * low };
        if t == low || t == high {
            break;
        }
    }
    // A function that keeps rising: the best point there is.
    let (t, v) = best.filter(|(_, v)| *v > value)?;
    at(t);
    Some(v)
}

/// The sum of products.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
/// The Euclidean norm.
pub fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}
fn add(to: &mut [f64], factor: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(t, w)| *t += factor * w);
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Stop = Stop { steps: 1000, tolerance: 1e-14 };

    fn run(mut f: impl FnMut(&[f64], &mut [f64]) -> f64, start: &[f64]) -> Found {
        maximize(&mut f, start.to_vec(), STOP, &mut |_, _| ControlFlow::Continue(()))
    }

    #[test]
    fn quadratics_of_several_scales_are_solved() {
        // Standard deviations from 1e-2 to 1e2 along rotated axes.
        let f = |x: &[f64], g: &mut [f64]| {
            let (a, b) = ((x[0] + x[1] - 3.0) * 1e2, (x[0] - x[1] + 1.0) * 1e-1);
            let c = (x[2] - 70.0) * 1e-2;
            (g[0], g[1], g[2]) = (-a * 1e2 - b * 1e-1, -a * 1e2 + b * 1e-1, -c * 1e-2);
            -0.5 * (a * a + b * b + c * c)
        };
        let found = run(f, &[0.0; 3]);
        assert_eq!(found.end, End::Converged);
        // In standard deviations.
        let x = &found.x;
        let far = [(x[0] + x[1] - 3.0) * 1e2, (x[0] - x[1] + 1.0) * 1e-1, (x[2] - 70.0) * 1e-2];
        assert!(far.iter().all(|d| d.abs() < 1e-4), "{far:?}");
    }

    #[test]
    fn a_curved_valley_is_followed() {
        let f = |x: &[f64], g: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            (g[0], g[1]) = (2.0 * a + 400.0 * x[0] * b, -200.0 * b);
            -(a * a + 100.0 * b * b)
        };
        let found = run(f, &[-1.2, 1.0]);
        assert_eq!(found.end, End::Converged);
        assert!((found.x[0] - 1.0).abs() < 1e-6 && (found.x[1] - 1.0).abs() < 1e-6, "{:?}", found.x);
        assert!(found.evaluations < 100, "{}", found.evaluations);
    }

    #[test]
    fn steps_out_of_the_domain_are_shortened() {
        // ln x - x, which is not a number left of 0.
        let f = |x: &[f64], g: &mut [f64]| {
            g[0] = 1.0 / x[0] - 1.0;
            if x[0] > 0.0 { x[0].ln() - x[0] } else { f64::NAN }
        };
        for start in [1e-6, 0.4, 30.0] {
            let found = run(f, &[start]);
            assert!(found.end == End::Converged && (found.x[0] - 1.0).abs() < 1e-6, "from {start}: {found:?}");
        }
    }

    #[test]
    fn what_has_no_maximum_is_not_said_to_have_one() {
        let rising = |x: &[f64], g: &mut [f64]| {
            g[0] = 3.0;
            3.0 * x[0]
        };
        assert_ne!(run(rising, &[0.0]).end, End::Converged);
        let kept = |x: &[f64], g: &mut [f64]| {
            (g[0], g[1]) = (-7.0, -2.0 * x[1]);
            if x[0] < -700.0 { f64::INFINITY } else { -7.0 * x[0] - x[1] * x[1] }
        };
        let found = run(kept, &[0.0, 1.0]);
        assert!(found.end != End::Converged && found.x[0] < -100.0, "{found:?}");
    }

    #[test]
    fn a_start_at_the_maximum_stays_there() {
        let f = |x: &[f64], g: &mut [f64]| {
            g[0] = -x[0];
            -0.5 * x[0] * x[0]
        };
        let found = run(f, &[0.0]);
        assert_eq!((found.end, found.steps), (End::Converged, 0));
        let near = run(f, &[1e-12]);
        assert_eq!(near.end, End::Converged);
    }

    #[test]
    fn whoever_watches_may_stop_it() {
        let mut f = |x: &[f64], g: &mut [f64]| {
            g.copy_from_slice(&[-4.0 * x[0].powi(3), -2e-3 * x[1]]);
            -x[0].powi(4) - 1e-3 * x[1] * x[1]
        };
        let mut told = 0;
        let mut watch = |_: f64, _: f64| {
            told += 1;
            if told == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let found = maximize(&mut f, vec![3.0, -50.0], STOP, &mut watch);
        assert_eq!((found.end, found.steps), (End::Stopped, 3));
    }
}
