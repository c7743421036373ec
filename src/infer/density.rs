//! The log density of a model as a graph of the coordinates of its sites, with its gradient.
//!
//!   ln p(data, sites(u)) + ln |d sites / du|   [nats]
//!
//! Every site is a function of free coordinates `u`: through the bijector of its support, or as a standard variable
//! that its prior scales and moves (`lower/noncentered.rs`), whose density then takes the place of prior and Jacobian.
//! In constrained space the sites themselves are the coordinates and there is no Jacobian: that is the joint density as
//! it is written.

use super::RunError;
use super::data::{BoundData, Store};
use crate::autodiff;
use crate::check::typed::*;
use crate::exec::{Clock, Executable, StepTime};
use crate::ir::passes::stable;
use crate::ir::{Graph, InputId, ValueId};
use crate::lower::{DataInput, Lowering, Mode, SiteSource, Slots};
use crate::ops::Op;
use crate::rng::Key;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// What the coordinates are.
#[derive(Clone, PartialEq, Debug)]
pub enum Space {
    /// Real numbers without bounds; the sites listed have standard variables.
    Unconstrained(Vec<SiteId>),
    /// The values of the sites; no Jacobian.
    Constrained,
}

/// The coordinates of one site.
#[derive(Clone, Debug)]
pub struct Coordinates {
    /// The site.
    pub site: SiteId,
    /// The graph's input for them.
    pub input: InputId,
    /// Their place in the vector of all coordinates.
    pub range: Range<usize>,
}

/// A log density as a graph.
#[derive(Debug)]
pub struct DensityGraph {
    /// Outputs: the log density, then its gradient in the coordinates of each site, in the order of `coordinates`.
    pub graph: Graph,
    /// The data inputs.
    pub inputs: Vec<DataInput>,
    /// Where the coordinates of each site are, in the model's order.
    pub coordinates: Vec<Coordinates>,
    /// The name and value of each term, for finding one that is not finite.
    pub named: Vec<(String, ValueId)>,
}

impl DensityGraph {
    /// The number of coordinates.
    pub fn dim(&self) -> usize {
        self.coordinates.last().map_or(0, |c| c.range.end)
    }
}

/// Builds the graph of the log density of `program` and of its gradient.
///
/// # Errors
/// When an operation on the way has no derivative.
pub fn build(program: &Program, bound: &BoundData, space: &Space) -> Result<DensityGraph, RunError> {
    let slots = Slots::default();
    let source = match space {
        Space::Unconstrained(noncentered) => SiteSource::Free { noncentered: noncentered.clone() },
        Space::Constrained => SiteSource::Given { guide: None, resampled: Vec::new() },
    };
    let mut lo = Lowering::new(program, &slots, bound.sizes.clone(), None, source);
    lo.draw_all();
    let model = lo.model;
    let mut named: Vec<(String, ValueId)> = Vec::new();
    for step in &model.steps {
        match step {
            Step::Site(id) => {
                let site = &model.sites[*id];
                let before = lo.g.set_origin(Some(program.exprs[site.value].origin()));
                let free = lo.free_sites[*id];
                let standard = free.and_then(|f| f.log_prob);
                let log_prob = match standard {
                    Some(log_prob) => lo.g.sum_all(log_prob),
                    // Its prior is part of a term with discrete latents summed out.
                    None if site.absorbed => lo.g.scalar(0.0),
                    None => {
                        let prior = lo.dist(&site.dist, Mode::Live);
                        let value = lo.site_value(*id);
                        let log_prob = prior.log_prob(&mut lo.g, value);
                        lo.g.sum_all(log_prob)
                    }
                };
                let term = match free {
                    Some(free) if standard.is_none() => {
                        let log_det = lo.g.sum_all(free.log_det);
                        lo.g.add(log_prob, log_det)
                    }
                    _ => log_prob,
                };
                lo.g.set_origin(before);
                named.push((format!("the log density of site `{}`", site.name), term));
            }
            step => {
                let term = lo.data_term(step).expect("not a site");
                named.push((term.name, term.sum));
            }
        }
    }
    let terms: Vec<ValueId> = named.iter().map(|(_, v)| *v).collect();
    let mut total = lo.g.add_all(&terms);
    lo.g.output("log density", total);
    let mut offset = 0;
    let mut coordinates = Vec::new();
    let mut values = Vec::new();
    for id in model.sites.indices() {
        let value = match space {
            Space::Unconstrained(_) => lo.free_sites[id].expect("all sites are drawn").input,
            Space::Constrained => lo.site_value(id),
        };
        let Op::Input(input) = lo.g.graph().nodes[value].op else { unreachable!("made as an input") };
        let count = lo.g.shape(value).count();
        coordinates.push(Coordinates { site: id, input, range: offset..offset + count });
        offset += count;
        values.push(value);
    }
    // The adjoint of an unstable form would be as unstable.
    let kept = values.iter_mut().chain(named.iter_mut().map(|(_, value)| value)).chain([&mut total]);
    stable::settle(&mut lo.g, kept);
    let gradients = autodiff::reverse::gradient(&mut lo.g, total, &values)
        .map_err(|e| RunError::Unsupported(format!("this model has no gradient to follow: {e}")))?;
    for (c, d) in coordinates.iter().zip(gradients) {
        lo.g.output(format!("d {}", model.sites[c.site].name), d);
    }
    let inputs = std::mem::take(&mut lo.inputs);
    Ok(DensityGraph { graph: lo.g.finish(), inputs, coordinates, named })
}

/// A log density that is ready to be evaluated. Evaluations allocate nothing.
pub struct Density {
    exe: Executable<f64>,
    coordinates: Vec<Coordinates>,
    /// Where the times of its steps go in the end.
    watched: Option<Arc<Mutex<Vec<StepTime>>>>,
}

impl Drop for Density {
    fn drop(&mut self) {
        if let Some(times) = self.watched.take() {
            times.lock().unwrap_or_else(PoisonError::into_inner).extend(self.exe.step_times());
        }
    }
}

/// Densities draw nothing; models that are noisy by themselves (dropout) see one draw of their noise.
const KEY: u64 = 0;

impl Density {
    /// Plans `graph` and gives it its data.
    pub fn new(graph: &DensityGraph, program: &Program, bound: &BoundData) -> Self {
        let mut exe = Executable::<f64>::compile(&graph.graph);
        Store::<f64>::new(program, bound, None).give_whole(program, &graph.inputs, &mut exe);
        Self { exe, coordinates: graph.coordinates.clone(), watched: None }
    }
    /// From now on the time of every step is taken with `clock`; `times` gets them when the density is dropped, so that
    /// a sampler may own it.
    pub fn watch(&mut self, clock: Clock, times: Arc<Mutex<Vec<StepTime>>>) {
        self.exe.watch(clock);
        self.watched = Some(times);
    }
    /// The number of coordinates.
    pub fn dim(&self) -> usize {
        self.coordinates.last().map_or(0, |c| c.range.end)
    }
    /// The log density at `u` [nats]; its gradient is written to `gradient`. Neither needs to be finite.
    ///
    /// # Panics
    /// When a slice has not [`Density::dim`] elements.
    pub fn evaluate(&mut self, u: &[f64], gradient: &mut [f64]) -> f64 {
        for c in &self.coordinates {
            self.exe.set_data(c.input, &u[c.range.clone()]);
        }
        self.exe.run(&[], Key::new(KEY));
        for (at, c) in self.coordinates.iter().enumerate() {
            gradient[c.range.clone()].copy_from_slice(self.exe.output(1 + at));
        }
        self.exe.output(0)[0]
    }
}

/// Which term of the log density at `u` is not finite, and where the first such number came from.
pub fn blame(graph: &DensityGraph, program: &Program, bound: &BoundData, u: &[f64]) -> RunError {
    let mut whole = graph.graph.clone();
    let own = whole.outputs.len();
    for (name, value) in &graph.named {
        whole.outputs.push((name.clone(), *value));
    }
    let mut exe = Executable::<f64>::compile(&whole);
    Store::<f64>::new(program, bound, None).give_whole(program, &graph.inputs, &mut exe);
    for c in &graph.coordinates {
        exe.set_data(c.input, &u[c.range.clone()]);
    }
    exe.run(&[], Key::new(KEY));
    let origin = exe.first_non_finite(&[], Key::new(KEY)).map(|n| (n.origin, n.op));
    let broken = graph.named.iter().enumerate().find_map(|(i, (name, _))| {
        let value = exe.output(own + i)[0];
        (!value.is_finite()).then(|| (name.clone(), value))
    });
    let (what, value) = broken.unwrap_or_else(|| {
        let model = program.model.as_ref().expect("only programs with a model have a density");
        let found = graph.coordinates.iter().enumerate().find_map(|(at, c)| {
            let bad = exe.output(1 + at).iter().find(|x| !x.is_finite())?;
            Some((format!("the derivative of the log density by site `{}`", model.sites[c.site].name), *bad))
        });
        found.unwrap_or(("the log density".to_string(), exe.output(0)[0]))
    });
    RunError::NotFinite { what, step: None, value, origin }
}
