//! Draws that are reported: sites, kept values, generated quantities, from the fitted guide or from the prior.

use super::data::{BoundData, Store};
use super::nuts::ChainDraws;
use crate::check::size::{Size, SizeId};
use crate::check::typed::*;
use crate::dist::Dist;
use crate::exec::Executable;
use crate::exec::plan::Options;
use crate::index::IndexVec;
use crate::ir::InputId;
use crate::kernels::Scalar;
use crate::kernels::conv::Method;
use crate::lower::{Lowering, Mode, SiteSource, Slots};
use crate::report::fit::{self, Moments, Quantity, Role};
use crate::rng::Key;
use crate::syntax::ast::Elem;
use std::sync::Arc;

/// The labels of each size, where its indices have names.
pub type SizeLabels = IndexVec<SizeId, Option<Arc<Vec<String>>>>;

/// What is drawn.
pub struct Draws<'p> {
    /// The program.
    pub program: &'p Program,
    /// The data.
    pub bound: &'p BoundData,
    /// The labels of sizes.
    pub labels: &'p SizeLabels,
    /// The trainable parameters, with their free values.
    pub slots: &'p Slots,
    /// Where sites come from.
    pub source: SiteSource,
    /// Whether observed data are drawn too (prior predictive).
    pub observations: bool,
    /// Whether generated quantities are drawn too.
    pub generate: bool,
    /// Whether draws of arrays of more than [`fit::LARGE`] elements are kept too; otherwise their moments are.
    pub all: bool,
    /// How convolutions are computed.
    pub convolution: Method,
    /// These sites alone are drawn, with the same numbers as among all, and nothing that is computed from them.
    pub only: Option<Vec<SiteId>>,
}

/// The size name of each dimension that has one, and the labels of each whose indices have names.
pub fn dimensions(
    program: &Program,
    labels: &SizeLabels,
    shape: &[Size],
) -> (Vec<Option<String>>, Vec<Option<Vec<String>>>) {
    let name = |size: &Size| size.as_number().is_none().then(|| program.size_text(size));
    let labels = |size: &Size| labels.get(size.as_name()?)?.as_ref().map(|l| l.to_vec());
    (shape.iter().map(name).collect(), shape.iter().map(labels).collect())
}

struct Column {
    name: String,
    doc: Option<String>,
    role: Role,
    elem: Elem,
    shape: Vec<Size>,
}

/// What becomes of the draws of one quantity.
enum Kept<F> {
    All(Vec<F>),
    Moments(Moments),
}

/// Draws of the sites, one after the other, as they are asked for.
pub trait Posterior<F> {
    /// The number of draws.
    fn draws(&self) -> usize;
    /// Writes draw `i` of a site to `out`.
    fn read(&mut self, i: usize, site: &str, out: &mut Vec<F>);
    /// The member of an ensemble that draw `i` comes from.
    fn member(&self, _: usize) -> usize {
        0
    }
}

/// The parameters of one member among those of all, which lie one after the other, for the inputs of a graph.
pub fn give_member<F: Scalar>(exe: &mut Executable<F>, slots: &Slots, inputs: &[InputId], params: &[F], member: usize) {
    let from = member * slots.len();
    for (slot, &input) in slots.list.iter().zip(inputs) {
        exe.set_data(input, &params[from + slot.offset..from + slot.offset + slot.shape.count()]);
    }
}

impl<F: Scalar> Posterior<F> for Vec<Quantity> {
    fn draws(&self) -> usize {
        self.first().map_or(1, |q| q.draws)
    }
    fn read(&mut self, i: usize, site: &str, out: &mut Vec<F>) {
        let q = self.iter().find(|q| q.name == site).expect("every site has draws");
        out.clear();
        out.extend((0..q.count()).map(|e| F::from_f64(q.value(0, i, e))));
    }
}

/// Chosen draws of the sites among all that are kept, by their place in `[chain, draw]`.
pub struct Chosen<'q> {
    /// The quantities, each with its draws.
    pub quantities: &'q [Quantity],
    /// The places.
    pub places: Vec<usize>,
}

impl<F: Scalar> Posterior<F> for Chosen<'_> {
    fn draws(&self) -> usize {
        self.places.len()
    }
    fn read(&mut self, i: usize, site: &str, out: &mut Vec<F>) {
        let q = self.quantities.iter().find(|q| q.name == site).expect("every site has draws");
        let (count, at) = (q.count(), self.places[i]);
        out.clear();
        out.extend((at * count..(at + 1) * count).map(|e| F::from_f64(q.data.get(e))));
    }
    fn member(&self, i: usize) -> usize {
        self.quantities.first().map_or(0, |q| self.places[i] / q.draws.max(1))
    }
}

/// Draws of a guide that are made again when they are read: the same numbers for the same key.
pub struct Redrawn<'p, F> {
    one: OneDraw<F>,
    n: usize,
    key: Key,
    at: Option<usize>,
    slots: &'p Slots,
    /// The parameters of all members of an ensemble; empty where there is one alone.
    params: Vec<F>,
    member: usize,
}

impl<F: Scalar> Posterior<F> for Redrawn<'_, F> {
    fn draws(&self) -> usize {
        self.n
    }
    fn member(&self, i: usize) -> usize {
        let members = self.params.len() / self.slots.len().max(1);
        i * members / self.n
    }
    fn read(&mut self, i: usize, site: &str, out: &mut Vec<F>) {
        if self.at != Some(i) {
            let member = self.member(i);
            if member != self.member {
                give_member(&mut self.one.exe, self.slots, &self.one.slots, &self.params, member);
                self.member = member;
            }
            self.one.exe.run(&[], self.key.fold_in(i as u64));
            self.at = Some(i);
        }
        let column = self.one.columns.iter().position(|c| c.name == site).expect("every site has draws");
        out.clear();
        out.extend_from_slice(self.one.exe.output(column));
    }
}

/// The graph of one draw, ready to run.
struct OneDraw<F> {
    exe: Executable<F>,
    columns: Vec<Column>,
    /// The input of each trainable parameter.
    slots: Vec<InputId>,
    /// The input for the coordinates of each site, where sites are functions of free ones.
    free: Vec<InputId>,
}

impl<'p> Draws<'p> {
    /// What [`Draws::run`] keeps of `n` draws, and a copy to write it [bytes].
    pub fn bytes(&self, n: usize, number: usize) -> u64 {
        let model = self.program.model.as_ref().expect("programs that are drawn from have a model");
        let generated = if self.generate { &self.program.generate.reported[..] } else { &[] };
        let kept = model.kept.iter().chain(generated).map(|k| &self.program.ty(k.value).shape);
        let count = |shape: &Vec<Size>| -> usize { shape.iter().map(|s| self.number(s)).product() };
        let of = |count: usize| match count {
            count if count > fit::LARGE && !self.all => 3 * count * size_of::<f64>(),
            count => 2 * n * count * number,
        };
        model.sites.iter().map(|s| &s.ty.shape).chain(kept).map(|shape| of(count(shape)) as u64).sum()
    }

    fn number(&self, size: &Size) -> usize {
        let n = size.evaluate(&|id| Some(self.bound.sizes[id])).expect("sizes are bound");
        usize::try_from(n).expect("sizes are positive")
    }

    /// `n` independent draws of everything that is reported, from each member of an ensemble: these are the chains then.
    pub fn run<F: Scalar + Into<f64>>(&self, params: &[F], n: usize, key: Key) -> Vec<Quantity>
    where
        fit::Draws: From<Vec<F>>,
    {
        let mut one = self.with_params(params);
        let members = (params.len() / self.slots.len().max(1)).max(1);
        let kept = |k: usize| match one.exe.output(k).len() {
            count if count > fit::LARGE && !self.all => Kept::Moments(Moments::new(count)),
            count => Kept::All(Vec::with_capacity(members * n * count)),
        };
        let mut data: Vec<Kept<F>> = (0..one.columns.len()).map(kept).collect();
        for i in 0..members * n {
            if i > 0 && i % n == 0 {
                give_member(&mut one.exe, self.slots, &one.slots, params, i / n);
            }
            one.exe.run(&[], key.fold_in(i as u64));
            for (k, kept) in data.iter_mut().enumerate() {
                match kept {
                    Kept::All(all) => all.extend_from_slice(one.exe.output(k)),
                    Kept::Moments(moments) => moments.add(one.exe.output(k)),
                }
            }
        }
        let quantity = |(c, kept): (Column, Kept<F>)| match kept {
            Kept::All(all) => self.quantity(c, members, n, all),
            Kept::Moments(moments) => {
                let mut q = self.quantity::<F>(c, members, 0, Vec::new());
                (q.draws, q.moments) = (n, Some(moments.finish()));
                q
            }
        };
        one.columns.into_iter().zip(data).map(quantity).collect()
    }

    /// The first `n` draws that [`Draws::run`] makes with the same key, to be read one after the other.
    ///
    /// Of an ensemble each member makes as many, one after the other.
    pub fn again<F: Scalar>(&self, params: &[F], n: usize, key: Key) -> Redrawn<'p, F> {
        let several = params.len() > self.slots.len();
        let all = if several { params.to_vec() } else { Vec::new() };
        Redrawn { one: self.with_params(params), n, key, at: None, slots: self.slots, params: all, member: 0 }
    }

    fn with_params<F: Scalar>(&self, params: &[F]) -> OneDraw<F> {
        let mut one = self.compile::<F>();
        give_member(&mut one.exe, self.slots, &one.slots, params, 0);
        one
    }

    /// Everything that is reported at the draws of Markov chains; the source must be [`SiteSource::Free`] with the
    /// sites of standard variables that the chains had.
    pub fn of_chains(&self, chains: &[ChainDraws], key: Key) -> Vec<Quantity> {
        let mut one = self.compile::<f64>();
        let counts: Vec<usize> = one.free.iter().map(|&input| one.exe.graph().inputs[input].shape.count()).collect();
        let dim: usize = counts.iter().sum();
        let n = chains.first().map_or(0, |c| c.transitions.len());
        let mut data: Vec<Vec<f64>> = one.columns.iter().map(|_| Vec::new()).collect();
        for (c, chain) in chains.iter().enumerate() {
            let key = key.fold_in(c as u64);
            for i in 0..n {
                let mut rest = &chain.positions[i * dim..(i + 1) * dim];
                for (&input, &count) in one.free.iter().zip(&counts) {
                    let (own, after) = rest.split_at(count);
                    one.exe.set_data(input, own);
                    rest = after;
                }
                one.exe.run(&[], key.fold_in(i as u64));
                for (k, all) in data.iter_mut().enumerate() {
                    all.extend_from_slice(one.exe.output(k));
                }
            }
        }
        one.columns.into_iter().zip(data).map(|(c, d)| self.quantity(c, chains.len(), n, d)).collect()
    }

    fn compile<F: Scalar>(&self) -> OneDraw<F> {
        let mut lo = Lowering::new(self.program, self.slots, self.bound.sizes.clone(), None, self.source.clone());
        lo.settled = true;
        let slots = lo.all_slots();
        lo.draw_all();
        let model = lo.model;
        let mut columns: Vec<Column> = Vec::new();
        let wanted = |id: SiteId| self.only.as_ref().is_none_or(|only| only.contains(&id));
        for (id, site) in model.sites.iter_enumerated().filter(|(id, _)| wanted(*id)) {
            let v = lo.site_value(id);
            lo.g.output(site.name.clone(), v);
            let (name, doc) = (site.name.clone(), site.doc.clone());
            columns.push(Column { name, doc, role: Role::Latent, elem: site.ty.elem, shape: site.ty.shape.clone() });
        }
        if self.source == SiteSource::Prior {
            for latent in &model.discrete {
                let v = lo.expr(latent.value);
                lo.g.output(latent.name.clone(), v);
                let (name, doc, ty) = (latent.name.clone(), latent.doc.clone(), latent.ty.clone());
                columns.push(Column { name, doc, role: Role::Latent, elem: ty.elem, shape: ty.shape });
            }
        }
        let generated = if self.generate { &self.program.generate.reported[..] } else { &[] };
        let kept = model.kept.iter().map(|k| (k, Role::Kept)).chain(generated.iter().map(|k| (k, Role::Generated)));
        for (k, role) in kept.filter(|_| self.only.is_none()) {
            let v = lo.expr(k.value);
            lo.g.output(k.name.clone(), v);
            let ty = self.program.ty(k.value);
            let (name, doc) = (k.name.clone(), k.doc.clone());
            columns.push(Column { name, doc, role, elem: ty.elem, shape: ty.shape.clone() });
        }
        if self.observations {
            for &(data, forward) in &model.simulated {
                let v = lo.expr(forward);
                let decl = &self.program.data[data];
                lo.g.output(decl.name.clone(), v);
                let (name, ty) = (decl.name.clone(), decl.ty.clone());
                columns.push(Column { name, doc: None, role: Role::Generated, elem: ty.elem, shape: ty.shape });
            }
            let simulated = |o: &Observation| {
                model.simulated.iter().any(|(d, _)| o.data.is_none() && self.program.data[*d].name == o.name)
            };
            for o in model.observations.iter().filter(|o| !simulated(o)) {
                let dist = lo.dist(&o.dist, Mode::Live);
                if !dist.is_proper() {
                    continue;
                }
                let ty = self.program.ty(o.value).clone();
                let shape = lo.shape(&ty.shape);
                let v = dist.sample(&mut lo.g, &shape);
                lo.g.output(o.name.clone(), v);
                columns.push(Column {
                    name: o.name.clone(),
                    doc: None,
                    role: Role::Generated,
                    elem: ty.elem,
                    shape: ty.shape,
                });
            }
        }
        let graph = lo.g.graph();
        let slots = slots.into_iter().map(|v| graph.input_of(v)).collect();
        let free = lo.free_sites.iter().flatten().map(|f| graph.input_of(f.input)).collect();
        let inputs = std::mem::take(&mut lo.inputs);
        let options = Options { convolution: self.convolution, ..Options::default() };
        let mut exe = Executable::<F>::compile_with(&lo.g.finish(), options);
        Store::<F>::new(self.program, self.bound, None).give_whole(self.program, &inputs, &mut exe);
        OneDraw { exe, columns, slots, free }
    }

    fn quantity<F: Scalar>(&self, c: Column, chains: usize, n: usize, data: Vec<F>) -> Quantity
    where
        fit::Draws: From<Vec<F>>,
    {
        let shape: Vec<usize> = c.shape.iter().map(|s| self.number(s)).collect();
        let elem = match c.elem {
            Elem::Real => fit::Elem::Real,
            Elem::Int => fit::Elem::Int,
            Elem::Bool => fit::Elem::Bool,
        };
        let mut q = Quantity::new(c.name, c.role, elem, &shape, chains, n, data);
        q.doc = c.doc;
        (q.dims, q.labels) = dimensions(self.program, self.labels, &c.shape);
        q
    }

    /// The prior's standard deviation of each site, averaged over its elements, where it is known without drawing.
    pub fn prior_sds(&self) -> Vec<(String, f64)> {
        let mut lo = Lowering::new(self.program, self.slots, self.bound.sizes.clone(), None, SiteSource::Prior);
        let mut names = Vec::new();
        for (id, site) in lo.model.sites.iter_enumerated() {
            // Only priors whose parameters are fixed have one standard deviation.
            let fixed = crate::check::minibatch::data_only(self.program);
            if !site.dist.args().iter().all(|&a| fixed[a]) {
                continue;
            }
            let _ = id;
            let dist: Dist = lo.dist(&site.dist, Mode::Live);
            if let Some(variance) = dist.variance(&mut lo.g) {
                let count = lo.g.shape(variance).count() as f64;
                let sum = lo.g.sum_all(variance);
                let mean = lo.g.mul_scalar(sum, 1.0 / count);
                let sd = lo.g.sqrt(mean);
                lo.g.output(site.name.clone(), sd);
                names.push(site.name.clone());
            }
        }
        if names.is_empty() {
            return Vec::new();
        }
        let inputs = std::mem::take(&mut lo.inputs);
        let mut exe = Executable::<f64>::compile(&lo.g.finish());
        Store::<f64>::new(self.program, self.bound, None).give_whole(self.program, &inputs, &mut exe);
        exe.run(&[], Key::new(0));
        names.into_iter().enumerate().map(|(i, n)| (n, exe.output(i)[0])).filter(|(_, sd)| sd.is_finite()).collect()
    }
}
