//! The log likelihood of every single observation under every draw, for leave-one-out cross-validation.
//!
//! In: a program with its data, and draws of all its sites.   Out: a [`Loo`].
//!
//! An observation is one event: a number, or a vector under a distribution of vectors. Where discrete latents are
//! summed out, it is what one element of the sum explains; terms that no sum splits into observations have none, and
//! neither have factors. Memory is bounded: observations are taken in blocks, by the rows of minibatches where the
//! program has them, otherwise by running the draws again for every block.

use super::data::{BoundData, Store};
use super::draws::{Posterior, SizeLabels, dimensions};
use crate::check::minibatch::data_only;
use crate::check::size::{Size, SizeId};
use crate::check::typed::*;
use crate::exec::plan::Options;
use crate::exec::{self, Executable};
use crate::ir::InputId;
use crate::kernels::Scalar;
use crate::kernels::conv::Method;
use crate::lower::{DataInput, Lowering, Rows, SiteSource, Slots, rows::Prepared};
use crate::report::fit::Draws;
use crate::report::loo::{self, Loo, LooTerm, ValuesHash};
use crate::rng::Key;
use std::collections::HashMap;
use std::ops::Range;

/// Log likelihoods that are in memory at one time, and that are kept with the fit, at most: 32 MiB in f64.
pub const MOST: usize = 1 << 22;
/// With fewer draws leave-one-out says little: what is reliable begins at a Pareto k below 0.5.
const FEWEST_DRAWS: usize = 100;
/// Memory that all runs of a plan go through which takes so little time that nobody asks [bytes]: a second or less.
const LITTLE: usize = 1 << 30;
/// Rows of a block, at most.
const MOST_ROWS: usize = 1024;

/// Whose log likelihoods are found.
pub struct Pointwise<'p> {
    /// The program.
    pub program: &'p Program,
    /// The data that it was fitted to.
    pub bound: &'p BoundData,
    /// The labels of sizes.
    pub labels: &'p SizeLabels,
    /// The guide of the fit; `None` where a sampler made the draws.
    pub guide: Option<usize>,
    /// The trainable parameters.
    pub slots: &'p Slots,
    /// The size whose rows were subsampled.
    pub subsampled: Option<SizeId>,
    /// How convolutions are computed.
    pub convolution: Method,
}

/// The observations of one step of the model.
struct Term {
    /// The step, by position.
    step: usize,
    name: String,
    /// The shape of the array of observations.
    shape: Vec<Size>,
    /// The observed values.
    observed: Vec<ExprId>,
}

/// What can be found, before it is known with how much work.
pub struct Planned<F> {
    terms: Vec<Term>,
    /// What has to be said, for people.
    pub notes: Vec<String>,
    plan: Plan<F>,
    /// How rows are cut into blocks; all observations come from one graph where there are none.
    block: Option<Block>,
    /// All observations.
    count: usize,
    /// The draws there are: chains and draws of each.
    chains: usize,
    draws: usize,
}

struct Block {
    prepared: Prepared,
    /// Rows of a block; the last may have fewer.
    rows: usize,
    /// All rows.
    all: usize,
}

/// The graph of some rows, or of all.
struct Plan<F> {
    plan: exec::Prepared<F>,
    inputs: Vec<DataInput>,
    indices: Option<InputId>,
    slots: Vec<InputId>,
    given: Vec<(SiteId, InputId)>,
    /// Of each term the output with its log likelihoods, and those with its observed values.
    outputs: Vec<(usize, Vec<usize>)>,
}

/// How the draws were made.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// How often the fit has evaluated the density of all data, in whole data sets.
    pub evaluations: f64,
    /// Whether the draws are independent.
    pub independent: bool,
}

impl<F: Scalar> Planned<F> {
    /// What is needed at most [bytes].
    pub fn bytes(&self) -> u64 {
        let numbers = (self.count * self.chains * self.draws).min(MOST.max(self.chains * self.draws));
        // They are arranged by observations, and by draws where they are kept.
        (self.plan.plan.needs(0).bytes + 2 * numbers * size_of::<f64>()) as u64
    }
    /// Runs of all draws through the whole data.
    fn passes(&self) -> usize {
        if self.block.is_some() { 1 } else { (self.count * self.chains * self.draws).div_ceil(MOST) }
    }
    /// The draws of each chain that are used: fewer than there are where all would take long, and longer than the fit has
    /// taken. `None` where too few are left.
    pub fn affordable(&self, made: Made) -> Option<usize> {
        let (all, passes) = (self.chains * self.draws, self.passes());
        let runs = self.block.as_ref().map_or(passes, |b| b.all.div_ceil(b.rows)) * all;
        if self.plan.plan.needs(0).bytes.saturating_mul(runs) <= LITTLE {
            return Some(self.draws);
        }
        let affordable = (made.evaluations / passes as f64) as usize;
        let per_chain = affordable.min(all) / self.chains;
        (per_chain * self.chains >= FEWEST_DRAWS.min(all)).then_some(per_chain)
    }
}

impl<'p> Pointwise<'p> {
    fn model(&self) -> &'p Model {
        self.program.model.as_ref().expect("fitted programs have a model")
    }

    /// The steps whose log density is one of observations, and what to say of those where it is not.
    fn terms(&self) -> (Vec<Term>, Vec<String>) {
        let (model, fixed) = (self.model(), data_only(self.program));
        let (mut terms, mut notes, mut factors) = (Vec::new(), Vec::new(), 0);
        let batch = |o: &Observation| -> Vec<Size> {
            let shape = &self.program.ty(o.value).shape;
            shape[..shape.len().saturating_sub(o.dist.event_rank())].to_vec()
        };
        for (step, kind) in model.steps.iter().enumerate() {
            match kind {
                Step::Site(_) => {}
                Step::Observe(at) => {
                    let o = &model.observations[*at];
                    // What is observed of latent values is a factor in other words.
                    if !fixed[o.value] {
                        factors += 1;
                        continue;
                    }
                    terms.push(Term { step, name: o.name.clone(), shape: batch(o), observed: vec![o.value] });
                }
                Step::Factor(_) => factors += 1,
                Step::Marginal(at) => {
                    let m = &model.marginals[*at];
                    let observations: Vec<&Observation> =
                        m.observations.iter().map(|&o| &model.observations[o]).collect();
                    if observations.is_empty() {
                        continue;
                    }
                    let names: Vec<&str> = observations.iter().map(|o| o.name.as_str()).collect();
                    let latents: Vec<&str> = m.latents.iter().map(|&d| model.discrete[d].name.as_str()).collect();
                    let (observed, latents) = (names.join("`, `"), latents.join("`, `"));
                    let shape = self.program.ty(m.value).shape.clone();
                    let parts = |o: &&Observation| {
                        let own = batch(o);
                        fixed[o.value] && own.starts_with(&shape) && (own.is_empty() || !shape.is_empty())
                    };
                    if !m.sites.is_empty() {
                        let sites: Vec<&str> = m.sites.iter().map(|&s| model.sites[s].name.as_str()).collect();
                        notes.push(format!(
                            "leave-one-out has nothing to say of `{observed}`: with `{latents}` summed out it is one term \
                             with the prior of `{}`",
                            sites.join("`, `")
                        ));
                    } else if !observations.iter().all(parts) {
                        notes.push(format!(
                            "leave-one-out has nothing to say of `{observed}`: with `{latents}` summed out its elements \
                             are one term, not one for each observation"
                        ));
                    } else {
                        let observed = observations.iter().map(|o| o.value).collect();
                        terms.push(Term { step, name: names.join(", "), shape, observed });
                    }
                }
            }
        }
        if factors > 0 && !terms.is_empty() {
            notes.push("leave-one-out leaves `factor` terms in: they are not observations".to_string());
        }
        // Several statements may observe one datum, a series its first value and the others; reports know terms by name.
        let mut uses: HashMap<String, usize> = HashMap::new();
        for term in &mut terms {
            let nth = uses.entry(term.name.clone()).and_modify(|n| *n += 1).or_insert(1);
            if *nth > 1 {
                term.name = format!("{} ({nth})", term.name);
            }
        }
        (terms, notes)
    }

    /// Plans the log likelihoods under `chains` times `draws` draws, without taking memory. Without observations, only
    /// what to say about it.
    pub fn prepare<F: Scalar>(&self, chains: usize, draws: usize) -> Result<Planned<F>, Vec<String>> {
        let (terms, mut notes) = self.terms();
        if terms.is_empty() {
            return Err(notes);
        }
        let block = match self.block(&terms, chains * draws) {
            Ok(block) => block,
            Err(why) => {
                notes.push(why);
                return Err(notes);
            }
        };
        let number = |size: &Size| size.evaluate(&|id| Some(self.bound.sizes[id])).expect("sizes are bound") as usize;
        let count = terms.iter().map(|t| t.shape.iter().map(number).product::<usize>()).sum();
        let plan = self.plan(&terms, block.as_ref().map(|b| (&b.prepared, b.rows)));
        Ok(Planned { terms, notes, plan, block, count, chains, draws })
    }

    /// How rows are cut into blocks, where the program subsamples them.
    fn block(&self, terms: &[Term], draws: usize) -> Result<Option<Block>, String> {
        let Some(size) = self.subsampled else { return Ok(None) };
        let (model, name) = (self.model(), &self.program.sizes[size].name);
        if let Some(site) = model.sites.iter().find(|s| s.ty.shape.iter().any(|d| d.mentions(size))) {
            return Err(format!(
                "no leave-one-out: every row of `{name}` has values of `{}` of its own, which only this row informs; \
                 `evaluate` scores rows that the fit has not seen",
                site.name
            ));
        }
        if let Some(t) = terms.iter().find(|t| t.shape.first().and_then(|s| s.as_name()) != Some(size)) {
            return Err(format!(
                "no leave-one-out: the fit takes minibatches of `{name}`, and the observations of `{}` are not its rows",
                t.name
            ));
        }
        let all = self.bound.sizes[size];
        let number = |size: &Size| size.evaluate(&|id| Some(self.bound.sizes[id])).expect("sizes are bound") as usize;
        let unit: usize = terms.iter().map(|t| t.shape[1..].iter().map(number).product::<usize>()).sum();
        let rows = (MOST / (unit * draws).max(1)).clamp(1, MOST_ROWS).min(all);
        Ok(Some(Block { prepared: Prepared::new(self.program, size), rows, all }))
    }

    fn plan<F: Scalar>(&self, terms: &[Term], rows: Option<(&Prepared, usize)>) -> Plan<F> {
        let (sizes, some) = Rows::of(&self.bound.sizes, rows);
        let source = SiteSource::Given { guide: self.guide, resampled: Vec::new() };
        let mut lo = Lowering::new(self.program, self.slots, sizes, some, source);
        lo.settled = true;
        let slots = lo.all_slots();
        lo.draw_all();
        let model = lo.model;
        let mut outputs = Vec::new();
        for t in terms {
            let term = lo.data_term(&model.steps[t.step]).expect("not a site");
            let shape = lo.shape(&t.shape);
            let each = lo.g.broadcast_to(term.each, shape);
            let at = lo.g.graph().outputs.len();
            lo.g.output(format!("log likelihood of {}", t.name), each);
            let values = (0..t.observed.len()).map(|i| at + 1 + i).collect();
            for &e in &t.observed {
                let value = lo.expr(e);
                lo.g.output(format!("values of {}", t.name), value);
            }
            outputs.push((at, values));
        }
        let (slots, given) = lo.given(&slots);
        let indices = lo.row_index.map(|v| lo.g.graph().input_of(v));
        let inputs = std::mem::take(&mut lo.inputs);
        let graph = lo.g.finish();
        let options = Options { convolution: self.convolution, ..Options::default() };
        Plan { plan: Executable::prepare(&graph, options), inputs, indices, slots, given, outputs }
    }

    /// Leave-one-out over the first `draws` draws of every chain of `sites`, which are read in the order
    /// `[chain, draw]`.
    pub fn run<F: Scalar + Into<f64>>(
        &self,
        planned: Planned<F>,
        made: Made,
        draws: usize,
        params: &[F],
        sites: &mut dyn Posterior<F>,
    ) -> Loo
    where
        Draws: From<Vec<F>>,
    {
        let Planned { terms, plan, block, count, chains, .. } = planned;
        let n = chains * draws;
        assert_eq!(sites.draws(), n, "the draws that were asked for");
        let keep = count * n <= MOST;
        let new = |t: &Term| {
            let (dims, labels) = dimensions(self.program, self.labels, &t.shape);
            let number = |s: &Size| s.evaluate(&|id| Some(self.bound.sizes[id])).expect("sizes are bound") as usize;
            let shape = t.shape.iter().map(number).collect();
            LooTerm { name: t.name.clone(), shape, dims, labels, ..LooTerm::default() }
        };
        let results = terms.iter().map(new).collect();
        let hashes = terms.iter().map(|t| vec![ValuesHash::default(); t.observed.len()]).collect();
        let store = Store::new(self.program, self.bound, block.as_ref().map(|b| &b.prepared));
        let kept = terms.iter().map(|_| Vec::new()).collect();
        let mut running = Running { results, hashes, kept: if keep { kept } else { Vec::new() }, store, sites };
        let whole = Whole { chains, draws, independent: made.independent };
        match &block {
            None => self.evaluate(plan, params, std::iter::once(None), whole, &mut running),
            Some(Block { prepared, rows, all }) => {
                let full = all / rows;
                let blocks = (0..full).map(|at| Some((at * rows..(at + 1) * rows).collect::<Vec<usize>>()));
                self.evaluate(plan, params, blocks, whole, &mut running);
                if !all.is_multiple_of(*rows) {
                    let rest = self.plan(&terms, Some((prepared, all % rows)));
                    let block = Some((full * rows..*all).collect());
                    self.evaluate(rest, params, std::iter::once(block), whole, &mut running);
                }
            }
        }
        let Running { results: mut terms, hashes, kept, .. } = running;
        for (term, hashes) in terms.iter_mut().zip(hashes) {
            term.hash = hashes.into_iter().map(ValuesHash::finish).collect::<Vec<_>>().join(" ");
        }
        for (term, by_observation) in terms.iter_mut().zip(kept) {
            let count = term.count();
            let by_draw: Vec<F> =
                (0..n * count).map(|i| F::from_f64(by_observation[i % count * n + i / count])).collect();
            term.log_likelihood = Some(by_draw.into());
        }
        Loo { chains, draws, terms }
    }

    /// Adds the observations of some blocks of rows (`None`: all data), by one graph.
    fn evaluate<F: Scalar + Into<f64>>(
        &self,
        plan: Plan<F>,
        params: &[F],
        blocks: impl Iterator<Item = Option<Vec<usize>>>,
        whole: Whole,
        running: &mut Running<'_, F>,
    ) {
        let Plan { plan, inputs, indices, slots, given, outputs } = plan;
        let mut exe = plan.build();
        running.store.give_whole(self.program, &inputs, &mut exe);
        for (slot, input) in self.slots.list.iter().zip(slots) {
            exe.set_data(input, &params[slot.offset..slot.offset + slot.shape.count()]);
        }
        let n = whole.chains * whole.draws;
        // Where the observations of each term begin among those of a block.
        let mut total = 0;
        let spans: Vec<(usize, Range<usize>)> = outputs
            .iter()
            .map(|&(output, _)| {
                let begin = total;
                total += exe.output(output).len();
                (output, begin..total)
            })
            .collect();
        let common = |a: &Range<usize>, b: &Range<usize>| a.start.max(b.start)..a.end.min(b.end);
        // As many observations at one time as there is room for.
        let room = (MOST / n).max(1);
        let mut buffer: Vec<F> = Vec::new();
        let Running { results, hashes, kept, store, sites } = running;
        for rows in blocks {
            if let Some(rows) = &rows {
                store.give_rows(self.program, &inputs, rows, &mut exe);
                if let Some(input) = indices {
                    exe.input_mut(input).iter_mut().zip(rows).for_each(|(to, &row)| *to = F::from_usize(row));
                }
            }
            for begin in (0..total).step_by(room) {
                let now = begin..total.min(begin + room);
                let mut numbers = vec![0.0; now.len() * n];
                for i in 0..n {
                    for &(id, input) in &given {
                        sites.read(i, &self.model().sites[id].name, &mut buffer);
                        exe.set_data(input, &buffer);
                    }
                    // A model that is noisy by itself (dropout) sees one draw of its noise for each draw of the sites.
                    exe.run(&[], Key::new(0).fold_in(i as u64));
                    for (output, span) in &spans {
                        let part = common(span, &now);
                        if part.is_empty() {
                            continue;
                        }
                        let columns = numbers.chunks_exact_mut(n).skip(part.start - begin);
                        let values = exe.output(*output).iter().skip(part.start - span.start).take(part.len());
                        columns.zip(values).for_each(|(column, &x)| column[i] = x.into());
                    }
                }
                if begin == 0 {
                    for (hashes, (_, values)) in hashes.iter_mut().zip(&outputs) {
                        for (hash, &at) in hashes.iter_mut().zip(values) {
                            hash.add(exe.output(at).iter().map(|&x| x.into()));
                        }
                    }
                }
                let points = loo::points(&numbers, whole.chains, whole.draws, whole.independent);
                for (term, (_, span)) in spans.iter().enumerate() {
                    let part = common(span, &now);
                    if part.is_empty() {
                        continue;
                    }
                    let part = part.start - begin..part.end - begin;
                    results[term].points.extend_from_slice(&points[part.clone()]);
                    if let Some(kept) = kept.get_mut(term) {
                        kept.extend_from_slice(&numbers[part.start * n..part.end * n]);
                    }
                }
            }
        }
    }
}

/// What the blocks add to.
struct Running<'s, F> {
    results: Vec<LooTerm>,
    /// Of each term, one for each of its observed values.
    hashes: Vec<Vec<ValuesHash>>,
    /// The log likelihoods of each term `[observation, chain, draw]`; none where they are not kept.
    kept: Vec<Vec<f64>>,
    store: Store<F>,
    sites: &'s mut dyn Posterior<F>,
}

/// The draws that are used.
#[derive(Clone, Copy)]
struct Whole {
    chains: usize,
    draws: usize,
    independent: bool,
}
