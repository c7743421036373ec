//! Draws that are reported: sites, kept values, generated quantities, from the fitted guide or from the prior.

use super::data::{BoundData, Store};
use super::nuts::ChainDraws;
use crate::check::size::{Size, SizeId};
use crate::check::typed::*;
use crate::dist::Dist;
use crate::exec::Executable;
use crate::exec::plan::Options;
use crate::index::IndexVec;
use crate::ir::{InputId, ValueId};
use crate::kernels::Scalar;
use crate::kernels::conv::Method;
use crate::lower::{Lowering, Mode, SiteSource, Slots};
use crate::ops::Op;
use crate::report::fit::{self, Quantity, Role};
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
    /// How convolutions are computed.
    pub convolution: Method,
}

struct Column {
    name: String,
    doc: Option<String>,
    role: Role,
    elem: Elem,
    shape: Vec<Size>,
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
    /// `n` independent draws of everything that is reported.
    pub fn run<F: Scalar>(&self, params: &[F], n: usize, key: Key) -> Vec<Quantity>
    where
        fit::Draws: From<Vec<F>>,
    {
        let mut one = self.compile::<F>();
        for (slot, &input) in self.slots.list.iter().zip(&one.slots) {
            one.exe.set_data(input, &params[slot.offset..slot.offset + slot.shape.count()]);
        }
        let mut data: Vec<Vec<F>> = one.columns.iter().map(|_| Vec::new()).collect();
        for i in 0..n {
            one.exe.run(&[], key.fold_in(i as u64));
            for (k, all) in data.iter_mut().enumerate() {
                all.extend_from_slice(one.exe.output(k));
            }
        }
        one.columns.into_iter().zip(data).map(|(c, d)| self.quantity(c, 1, n, d)).collect()
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
        for (id, site) in model.sites.iter_enumerated() {
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
        for (k, role) in kept {
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
        let input_of = |lo: &Lowering<'_>, v: ValueId| match lo.g.graph().nodes[v].op {
            Op::Input(input) => input,
            _ => unreachable!("made as an input"),
        };
        let slots = slots.into_iter().map(|v| input_of(&lo, v)).collect();
        let free = lo.free_sites.iter().flatten().map(|f| input_of(&lo, f.input)).collect();
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
        let number = |s: &Size| {
            let n = s.evaluate(&|id| Some(self.bound.sizes[id])).expect("sizes are bound");
            usize::try_from(n).expect("sizes are positive")
        };
        let shape: Vec<usize> = c.shape.iter().map(number).collect();
        let elem = match c.elem {
            Elem::Real => fit::Elem::Real,
            Elem::Int => fit::Elem::Int,
            Elem::Bool => fit::Elem::Bool,
        };
        let mut q = Quantity::new(c.name, c.role, elem, &shape, chains, n, data);
        q.doc = c.doc;
        for (at, size) in c.shape.iter().enumerate() {
            if size.as_number().is_none() {
                q.dims[at] = Some(self.program.size_text(size));
            }
            if let Some(id) = size.as_name()
                && let Some(labels) = self.labels.get(id).and_then(|l| l.as_ref())
            {
                q.labels[at] = Some(labels.to_vec());
            }
        }
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
