//! A Markov chain over real coordinates, behind a trait of our own: the sampler is the crate nuts-rs, and this file alone
//! knows it.
//!
//! The No-U-Turn sampler (Hoffman & Gelman 2014, JMLR 15:1593) with multinomial sampling along the trajectory (Betancourt
//! 2017, arXiv:1701.02434). Warmup adapts the step size by dual averaging and the metric from draws and gradients
//! together: a diagonal plus, where there are few enough coordinates, the directions in which a diagonal is not enough.

use super::density::Density;
use crate::check::settings::Metric;
use crate::rng::{Key, Philox};
use nuts_rs::{
    Chain, CpuLogpFunc, CpuMath, CpuMathError, DiagNutsSettings, HasDims, LogpError, LowRankNutsSettings, SamplerStats,
    Settings,
};
use std::collections::HashMap;
use std::fmt;

/// What a chain is run with.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Tuning {
    /// Draws during which step size and metric are adapted.
    pub warmup: usize,
    /// Draws that count.
    pub draws: usize,
    /// The acceptance rate that the step size aims at.
    pub target_accept: f64,
    /// The largest depth of a tree: at most `2^max_depth - 1` leapfrog steps for a draw.
    pub max_depth: usize,
    /// The shape of the metric.
    pub metric: Metric,
}

/// What is known of one draw beside its position.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Transition {
    /// The depth of the tree that it was taken from.
    pub depth: u64,
    /// Whether the tree stopped because it was as deep as it may be.
    pub at_max_depth: bool,
    /// Whether the trajectory left the region where its energy is conserved.
    pub divergent: bool,
    /// Gradients evaluated.
    pub gradients: u64,
    /// The step size.
    pub step_size: f64,
    /// The log density at the draw [nats].
    pub log_density: f64,
    /// The Hamiltonian at the draw: potential plus kinetic energy [nats].
    pub energy: f64,
    /// The average acceptance rate along the trajectory.
    pub acceptance: f64,
}

/// A chain.
pub trait Sampler {
    /// The next draw, written to `position`.
    ///
    /// # Errors
    /// When the chain cannot go on; one sentence.
    fn draw(&mut self, position: &mut [f64]) -> Result<Transition, String>;
}

/// A chain of the No-U-Turn sampler from `start`, where density and gradient must be finite. Its randomness comes from
/// `key`.
///
/// # Errors
/// When it cannot start; one sentence.
pub fn no_u_turn(density: Density, start: &[f64], tuning: Tuning, key: Key) -> Result<Box<dyn Sampler>, String> {
    let low_rank = match tuning.metric {
        Metric::Auto => density.dim() <= LOW_RANK,
        Metric::Diagonal => false,
        Metric::LowRank => true,
    };
    if low_rank {
        let mut settings = LowRankNutsSettings::default();
        set(&mut settings, tuning);
        chain(settings, density, start, key, |s| Transition {
            depth: s.depth,
            at_max_depth: s.maxdepth_reached,
            divergent: s.divergence.diverging,
            gradients: s.adapt.step_size.n_gradients,
            step_size: s.hamiltonian.step_size,
            log_density: s.point.logp,
            energy: s.point.energy,
            acceptance: s.adapt.step_size.mean_tree_accept,
        })
    } else {
        let mut settings = DiagNutsSettings::default();
        set(&mut settings, tuning);
        chain(settings, density, start, key, |s| Transition {
            depth: s.depth,
            at_max_depth: s.maxdepth_reached,
            divergent: s.divergence.diverging,
            gradients: s.adapt.step_size.n_gradients,
            step_size: s.hamiltonian.step_size,
            log_density: s.point.logp,
            energy: s.point.energy,
            acceptance: s.adapt.step_size.mean_tree_accept,
        })
    }
}

/// Up to so many coordinates `metric = auto` has directions of its own besides the diagonal: finding them costs a singular
/// value decomposition of the warmup's draws now and then.
const LOW_RANK: usize = 400;

fn set<A: fmt::Debug + Copy + Default + serde::Serialize>(
    settings: &mut nuts_rs::NutsSettings<nuts_rs::EuclideanAdaptOptions<A>>,
    tuning: Tuning,
) {
    settings.num_tune = tuning.warmup as u64;
    settings.num_draws = tuning.draws as u64;
    settings.maxdepth = tuning.max_depth as u64;
    settings.adapt_options.step_size_settings.target_accept = tuning.target_accept;
}

type Math = CpuMath<Function>;
type Stats<S> = <<S as Settings>::Chain<Math> as SamplerStats<Math>>::Stats;

struct Driver<C, R> {
    chain: C,
    read: R,
}
impl<C: Chain<Math>, R: Fn(&C::Stats) -> Transition> Sampler for Driver<C, R> {
    fn draw(&mut self, position: &mut [f64]) -> Result<Transition, String> {
        let (draw, _, stats, _) = self.chain.expanded_draw().map_err(|e| e.to_string())?;
        position.copy_from_slice(&draw);
        Ok((self.read)(&stats))
    }
}

fn chain<S: Settings>(
    settings: S,
    density: Density,
    start: &[f64],
    key: Key,
    read: impl Fn(&Stats<S>) -> Transition + 'static,
) -> Result<Box<dyn Sampler>, String>
where
    S::Chain<Math>: 'static,
{
    let math = CpuMath::new(Function { density });
    let mut chain = settings.new_chain(0, math, &mut Philox::from_key(key)).map_err(|e| e.to_string())?;
    chain.set_position(start).map_err(|e| e.to_string())?;
    Ok(Box::new(Driver { chain, read }))
}

/// The log density in the form that the crate asks for.
struct Function {
    density: Density,
}
impl HasDims for Function {
    fn dim_sizes(&self) -> HashMap<String, u64> {
        HashMap::from([("unconstrained_parameter".to_string(), self.density.dim() as u64)])
    }
}
impl CpuLogpFunc for Function {
    type LogpError = NotFinite;
    type FlowParameters = ();
    type ExpandedVector = Vec<f64>;

    fn dim(&self) -> usize {
        self.density.dim()
    }
    fn logp(&mut self, position: &[f64], gradient: &mut [f64]) -> Result<f64, NotFinite> {
        let value = self.density.evaluate(position, gradient);
        if value.is_finite() && gradient.iter().all(|x| x.is_finite()) { Ok(value) } else { Err(NotFinite) }
    }
    fn expand_vector<R: rand::Rng + ?Sized>(&mut self, _: &mut R, _: &[f64]) -> Result<Vec<f64>, CpuMathError> {
        Ok(Vec::new())
    }
}

/// The density or its gradient is not finite: the trajectory ends there, as a divergence.
#[derive(Clone, Copy, Debug)]
struct NotFinite;
impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log density or its gradient is not finite")
    }
}
impl std::error::Error for NotFinite {}
impl LogpError for NotFinite {
    fn is_recoverable(&self) -> bool {
        true
    }
}
