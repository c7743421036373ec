//! The log density of a model as a graph of the coordinates of its sites, with its gradient.
//!
//!   ln p(data, sites(u)) + ln |d sites / du|   [nats]
//!
//! Every site is a function of free coordinates `u`: through the bijector of its support, or as a standard variable
//! that its prior scales and moves (`lower/noncentered.rs`), whose density then takes the place of prior and Jacobian.
//! In constrained space the sites themselves are the coordinates and there is no Jacobian: that is the joint density as
//! it is written. At a point mass it is the same density, of free coordinates of the sites and of the learnable constants:
//! what a maximum is looked for in.
//!
//! The product of its matrix of second derivatives with a vector is a graph of its own, the gradient of the directional
//! derivative.

use super::RunError;
use super::data::{BoundData, Store};
use crate::autodiff;
use crate::check::typed::*;
use crate::exec::plan::Options;
use crate::exec::{Clock, Executable, StepTime};
use crate::ir::passes::stable;
use crate::ir::{DType, Graph, InputId, InputKind, ValueId};
use crate::lower::params::Owner;
use crate::lower::{DataInput, Lowering, Mode, SiteSource, Slots};
use crate::rng::Key;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// What the coordinates are.
#[derive(Clone, Debug)]
pub enum Space<'p> {
    /// Real numbers without bounds; the sites listed have standard variables.
    Unconstrained(Vec<SiteId>),
    /// The values of the sites; no Jacobian.
    Constrained,
    /// The free parameters of a guide that is a point mass everywhere, and those of the learnable constants; no Jacobian.
    Point {
        /// The guide, by position.
        guide: usize,
        /// Its parameters.
        slots: &'p Slots,
    },
}

/// The coordinates of one site or learnable constant.
#[derive(Clone, Debug)]
pub struct Coordinates {
    /// Its name.
    pub name: String,
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
    /// Where the coordinates of each site are, in the model's order; at a point mass in the order of its parameters.
    pub coordinates: Vec<Coordinates>,
    /// The name and value of each term, for finding one that is not finite.
    pub named: Vec<(String, ValueId)>,
}

impl DensityGraph {
    /// The number of coordinates.
    pub fn dim(&self) -> usize {
        self.coordinates.last().map_or(0, |c| c.range.end)
    }
    /// Coordinate `at` in words: "`tau`", "`theta` (number 3)".
    pub fn name(&self, at: usize) -> String {
        let c = self.coordinates.iter().find(|c| c.range.contains(&at)).expect("a coordinate of the density");
        match c.range.len() {
            1 => format!("`{}`", c.name),
            _ => format!("`{}` (number {})", c.name, at - c.range.start),
        }
    }
}

/// A log density under construction, with its gradient.
struct Lowered<'p> {
    lo: Lowering<'p>,
    coordinates: Vec<Coordinates>,
    /// The inputs of the coordinates that are wanted, and the gradient in each.
    values: Vec<ValueId>,
    gradients: Vec<ValueId>,
    named: Vec<(String, ValueId)>,
}

fn no_gradient(e: autodiff::reverse::NoGradient) -> RunError {
    RunError::Unsupported(format!("this model has no gradient to follow: {e}"))
}

/// Lowers the density, with its gradient in the coordinates of the sites and constants that are `wanted` by name.
fn lower<'p>(
    program: &'p Program,
    bound: &BoundData,
    space: &Space<'p>,
    wanted: &dyn Fn(&str) -> bool,
    none: &'p Slots,
) -> Result<Lowered<'p>, RunError> {
    let (source, slots) = match space {
        Space::Unconstrained(noncentered) => (SiteSource::Free { noncentered: noncentered.clone() }, none),
        Space::Constrained => (SiteSource::Given { guide: None, resampled: Vec::new() }, none),
        Space::Point { guide, slots } => (SiteSource::Guide(*guide), *slots),
    };
    let mut lo = Lowering::new(program, slots, bound.sizes.clone(), None, source);
    let slot_values = lo.all_slots();
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
    let owned: Vec<(String, ValueId)> = match space {
        Space::Point { slots, .. } => {
            let name = |owner: Owner| match owner {
                Owner::Param(id) => program.params[id].name.clone(),
                Owner::Loc(site) => model.sites[site].name.clone(),
                other => unreachable!("a point mass has locations only, not {other:?}"),
            };
            slots.list.iter().zip(slot_values).map(|(s, v)| (name(s.owner), v)).collect()
        }
        Space::Unconstrained(_) => {
            let input = |id: SiteId| lo.free_sites[id].expect("all sites are drawn").input;
            model.sites.indices().map(|id| (model.sites[id].name.clone(), input(id))).collect()
        }
        Space::Constrained => {
            model.sites.indices().map(|id| (model.sites[id].name.clone(), lo.site_value(id))).collect()
        }
    };
    let mut offset = 0;
    let mut coordinates = Vec::new();
    let mut values = Vec::new();
    for (name, value) in owned {
        let input = lo.g.graph().input_of(value);
        let count = lo.g.shape(value).count();
        if wanted(&name) {
            values.push(value);
        }
        coordinates.push(Coordinates { name, input, range: offset..offset + count });
        offset += count;
    }
    // The adjoint of an unstable form would be as unstable.
    let kept = values.iter_mut().chain(named.iter_mut().map(|(_, value)| value)).chain([&mut total]);
    stable::settle(&mut lo.g, kept);
    let gradients = autodiff::reverse::gradient(&mut lo.g, total, &values).map_err(no_gradient)?;
    Ok(Lowered { lo, coordinates, values, gradients, named })
}

/// Builds the graph of the log density of `program` and of its gradient.
///
/// # Errors
/// When an operation on the way has no derivative.
pub fn build(program: &Program, bound: &BoundData, space: &Space<'_>) -> Result<DensityGraph, RunError> {
    let none = Slots::default();
    let Lowered { mut lo, coordinates, gradients, named, .. } = lower(program, bound, space, &|_| true, &none)?;
    for (c, d) in coordinates.iter().zip(gradients) {
        lo.g.output(format!("d {}", c.name), d);
    }
    let inputs = std::mem::take(&mut lo.inputs);
    Ok(DensityGraph { graph: lo.g.finish(), inputs, coordinates, named })
}

/// The product of the second derivatives of a log density with a vector, as a graph.
#[derive(Debug)]
pub struct CurvatureGraph {
    /// Outputs: the product, in the coordinates of each site in turn that is asked for.
    pub graph: Graph,
    inputs: Vec<DataInput>,
    coordinates: Vec<Coordinates>,
    /// The sites that are asked for, by their place in `coordinates`, with the input of the vector.
    directions: Vec<(usize, InputId)>,
}

/// Builds the graph of the product of a vector with the second derivatives in the coordinates of the sites that are
/// `wanted` by name, the others held where they are: the gradient of `gradient . vector`.
///
/// # Errors
/// When an operation on the way has no derivative, or none of second order.
pub fn curvature(
    program: &Program,
    bound: &BoundData,
    space: &Space<'_>,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<CurvatureGraph, RunError> {
    let none = Slots::default();
    let Lowered { mut lo, coordinates, values, gradients, .. } = lower(program, bound, space, wanted, &none)?;
    let asked: Vec<usize> = (0..coordinates.len()).filter(|&at| wanted(&coordinates[at].name)).collect();
    let mut directions = Vec::new();
    let mut slopes = Vec::new();
    for (&at, d) in asked.iter().zip(gradients) {
        let shape = lo.g.shape(d);
        let name = format!("direction of {}", coordinates[at].name);
        let v = lo.g.input(name, shape, DType::Real, InputKind::Batch);
        directions.push((at, lo.g.graph().input_of(v)));
        let product = lo.g.mul(d, v);
        slopes.push(lo.g.sum_all(product));
    }
    let slope = lo.g.add_all(&slopes);
    let products = autodiff::reverse::gradient(&mut lo.g, slope, &values).map_err(no_gradient)?;
    let inputs = std::mem::take(&mut lo.inputs);
    for (&at, product) in asked.iter().zip(products) {
        lo.g.output(format!("curvature of {}", coordinates[at].name), product);
    }
    let mut graph = lo.g.finish();
    // The density itself is not asked for.
    graph.outputs.remove(0);
    Ok(CurvatureGraph { graph, inputs, coordinates, directions })
}

/// Second derivatives that are ready to be multiplied.
pub struct Curvature {
    exe: Executable<f64>,
    coordinates: Vec<Coordinates>,
    directions: Vec<(usize, InputId)>,
}

impl Curvature {
    /// Plans `graph` and gives it its data.
    pub fn planned(graph: &CurvatureGraph, program: &Program, bound: &BoundData, options: Options) -> Self {
        let mut exe = Executable::<f64>::compile_with(&graph.graph, options);
        Store::<f64>::new(program, bound, None).give_whole(program, &graph.inputs, &mut exe);
        Self { exe, coordinates: graph.coordinates.clone(), directions: graph.directions.clone() }
    }
    /// The second derivatives at `u` times `direction`, written to `product`; 0 where they are not asked for, whatever
    /// `direction` is there.
    ///
    /// # Panics
    /// When the slices do not have as many elements as there are coordinates.
    pub fn multiply(&mut self, u: &[f64], direction: &[f64], product: &mut [f64]) {
        for c in &self.coordinates {
            self.exe.set_data(c.input, &u[c.range.clone()]);
        }
        for &(at, input) in &self.directions {
            self.exe.set_data(input, &direction[self.coordinates[at].range.clone()]);
        }
        self.exe.run(&[], Key::new(KEY));
        product.fill(0.0);
        for (output, &(at, _)) in self.directions.iter().enumerate() {
            product[self.coordinates[at].range.clone()].copy_from_slice(self.exe.output(output));
        }
    }
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
        Self::planned(graph, program, bound, Options::default())
    }
    /// As [`Density::new`], with a plan of the given kind.
    pub fn planned(graph: &DensityGraph, program: &Program, bound: &BoundData, options: Options) -> Self {
        let mut exe = Executable::<f64>::compile_with(&graph.graph, options);
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
        let found = graph.coordinates.iter().enumerate().find_map(|(at, c)| {
            let bad = exe.output(1 + at).iter().find(|x| !x.is_finite())?;
            Some((format!("the derivative of the log density by `{}`", c.name), *bad))
        });
        found.unwrap_or(("the log density".to_string(), exe.output(0)[0]))
    });
    RunError::NotFinite { what, step: None, value, origin }
}
