//! A program with its data: binding, fitting, simulating. What the command line and the REPL have in common.
//!
//! In: a [`Compilation`] and what the command line gives.   Out: a [`Fit`], or diagnostics, or a [`RunError`].

use crate::check::guides;
use crate::check::minibatch::data_only;
use crate::check::settings::{Algorithm, Infer, PrecisionChoice};
use crate::check::size::Size;
use crate::check::typed::*;
use crate::data::{
    self, BindRequest, DataArgument, Evaluator, Files, Given, Learned, SizeOrigin, SizeValue, Source, Values,
};
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::dist::SupportKind;
use crate::driver::Compilation;
use crate::exec::Executable;
use crate::index::IndexVec;
use crate::infer::data::{BoundData, Store};
use crate::infer::draws::{Draws, SizeLabels};
use crate::infer::svi::Svi;
pub use crate::infer::{ChainStatus, Memory, Observer, Phase, Profile, RunError, Sampling, Status, Unobserved};
use crate::kernels::conv::Method;
use crate::lower::{Lowering, Mode, SiteSource, Slots, rows::Prepared};
use crate::report::expect;
use crate::report::fit::{self, DataFingerprint, Fit, ModelSource, Precision, Quantity};
use crate::rng::Key;
use crate::source::Span;
use crate::syntax::ast::{Elem, ItemKind};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

mod expects;
mod laplace;
mod loo;
mod map;
mod nuts;
mod svi;

/// The largest int that f32 holds exactly.
const MAX_F32_INT: f64 = 16_777_216.0;
/// Draws over which held-out scores are averaged, at most.
const SCORE_DRAWS: usize = 200;

/// Draws in each step of a network trained on minibatches, unless the program says otherwise. On the shipped digits
/// four draws bring the held-out log score of 40 epochs from about 0.20 to 0.18.
const NETWORK_PARTICLES: usize = 4;

/// What the command line says about a run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// `--infer NAME`
    pub infer: Option<String>,
    /// `--guide NAME`
    pub guide: Option<String>,
    /// `--seed N`
    pub seed: Option<u64>,
    /// `--precision f32|f64`
    pub precision: Option<PrecisionChoice>,
    /// `--all`: draws of large arrays are kept too.
    pub all: bool,
    /// `--max-memory`: what the run may need at most [bytes].
    pub max_memory: Option<u64>,
}

/// Why there is no result.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The program or the data are wrong.
    Diagnostics(Diagnostics),
    /// Inference failed.
    Run(RunError),
}
impl From<RunError> for Failure {
    fn from(e: RunError) -> Self {
        Failure::Run(e)
    }
}

/// A checked program with its data.
#[derive(Debug)]
pub struct BoundProgram<'c> {
    /// Where it comes from.
    pub compilation: &'c Compilation,
    /// The program.
    pub program: Program,
    /// The training data.
    pub data: BoundData,
    /// The held-out data, when the program has some, and the sizes that they rebind.
    pub held_out: Option<(BoundData, Vec<crate::check::size::SizeId>)>,
    /// The labels of sizes.
    pub labels: SizeLabels,
    /// What data expressions learned.
    pub learned: Learned,
    /// What was read.
    pub fingerprints: data::Fingerprints,
}

impl BoundProgram<'_> {
    /// Whether all data could be read so far: what stays in files may be gone by now.
    fn check_read(&self) -> Result<(), RunError> {
        self.data.check_read()?;
        self.held_out.as_ref().map_or(Ok(()), |(held_out, _)| held_out.check_read())
    }
    /// What was read, as a fit keeps it; waits for the fingerprints of large files.
    pub fn fingerprints(&self) -> Vec<DataFingerprint> {
        let one = |f: data::Fingerprint| DataFingerprint {
            name: String::new(),
            source: f.path,
            shape: Vec::new(),
            hash: f.sha256,
        };
        self.fingerprints.list().into_iter().map(one).collect()
    }
    /// What its data take [bytes].
    fn bytes(&self) -> u64 {
        let held_out = self.held_out.as_ref().map_or(0, |(data, _)| data.bytes());
        (self.data.bytes() + held_out) as u64
    }
}

/// Evaluates and checks the data of a program. All problems are reported in one go.
pub fn bind<'c>(
    compilation: &'c Compilation,
    files: &mut Files,
    arguments: &[DataArgument],
) -> Result<BoundProgram<'c>, Failure> {
    bind_with(compilation, files, arguments, false)
}

/// As [`bind`]; with `simulate`, observed data that are not given are left to the model.
pub fn bind_with<'c>(
    compilation: &'c Compilation,
    files: &mut Files,
    arguments: &[DataArgument],
    simulate: bool,
) -> Result<BoundProgram<'c>, Failure> {
    let bound = bind_files(compilation, files, arguments, simulate);
    match files.failure().get() {
        // What else was found may come from rows that could not be read.
        Some(error) => Err(one(*error.clone().into_diagnostic())),
        None => bound,
    }
}

fn bind_files<'c>(
    compilation: &'c Compilation,
    files: &mut Files,
    arguments: &[DataArgument],
    simulate: bool,
) -> Result<BoundProgram<'c>, Failure> {
    if compilation.diags.has_errors() {
        return Err(Failure::Diagnostics(compilation.diags.clone()));
    }
    let program = compilation.program.clone();
    let mut diags = Diagnostics::new();
    let mut given: Vec<Given> = Vec::new();
    for argument in arguments {
        match argument.read(files) {
            // A file of many data may hold more than the program asks for.
            Ok(found) => given.extend(
                found
                    .into_iter()
                    .filter(|g| matches!(argument, DataArgument::One { .. }) || program.data_named(&g.name).is_some()),
            ),
            Err(error) => diags.push(*error.into_diagnostic()),
        }
    }
    for g in &given {
        if program.data_named(&g.name).is_none() {
            let names: Vec<&str> = program.data.iter().map(|d| d.name.as_str()).collect();
            let mut d = Diagnostic::new(Code::E0914, format!("{}: `{}` is not a datum of the program", g.from, g.name));
            d = match crate::nearest::nearest(&g.name, names.iter().copied()) {
                Some(near) => d.help(format!("there is `{near}`")),
                None => d.help(format!("the data are `{}`", names.join("`, `"))),
            };
            diags.push(d);
        }
    }
    let root = compilation.modules.get(compilation.modules.root());
    let folder = folder_of(compilation);
    let mut evaluator = Evaluator::new(files, folder.clone());
    evaluator.define_module(&root.ast);
    for s in &program.sizes {
        if let Some(value) = s.value {
            let origin = if s.declared { SizeOrigin::Item(s.span) } else { SizeOrigin::CommandLine };
            evaluator.sizes.insert(s.name.clone(), SizeValue { value, labels: None, origin });
        }
    }
    let observed: Vec<&str> = observed_names(&program);
    let mut requests: Vec<BindRequest<'_>> = Vec::new();
    for item in &root.ast.items {
        let ItemKind::Data { name, ty, value } = &item.kind else { continue };
        let mut request = BindRequest::of(name, ty, value.as_ref());
        if let Some(g) = given.iter().find(|g| g.name == name.name) {
            request.source = Source::Given(g.value.clone(), g.from.clone());
        } else if simulate && value.is_none() && observed.contains(&name.name.as_str()) {
            request.source = Source::Absent;
        }
        requests.push(request);
    }
    let needed: Vec<(String, Span)> = program.sizes.iter().map(|s| (s.name.clone(), s.span)).collect();
    let binding = data::bind(&mut evaluator, &requests, &needed, &mut diags);
    if diags.has_errors() {
        return Err(Failure::Diagnostics(diags));
    }
    let learned = evaluator.into_learned();
    let mut labels: SizeLabels = IndexVec::new();
    for s in &program.sizes {
        let names =
            binding.sizes.get(&s.name).and_then(|v| v.labels.as_ref()).map(|l| std::sync::Arc::new(l.names.to_vec()));
        labels.push(names);
    }
    let bound = bound_data(&program, &binding);
    check_shapes(&program, &bound, &mut diags);
    if !diags.has_errors() {
        check_enumerations(&program, &bound, &mut diags);
        check_values(&program, &bound, &mut diags);
        expects::check(&program, &bound, &labels, &mut diags);
    }
    let held_out = if program.evaluate.is_empty() || diags.has_errors() {
        None
    } else {
        bind_held_out(&program, compilation, files, &folder, &binding, &learned, &mut diags)
    };
    if diags.has_errors() {
        return Err(Failure::Diagnostics(diags));
    }
    let fingerprints = files.fingerprints();
    Ok(BoundProgram { compilation, program, data: bound, held_out, labels, learned, fingerprints })
}

fn folder_of(compilation: &Compilation) -> PathBuf {
    let root = compilation.modules.get(compilation.modules.root());
    compilation.sources.file(root.file).folder().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
fn observed_names(program: &Program) -> Vec<&str> {
    let Some(model) = &program.model else { return Vec::new() };
    model.observations.iter().filter_map(|o| o.data.map(|d| program.data[d].name.as_str())).collect()
}
fn bound_data(program: &Program, binding: &data::Binding) -> BoundData {
    BoundData {
        sizes: program.sizes.iter().map(|s| binding.sizes.get(&s.name).map_or(1, |v| v.value)).collect(),
        values: program.data.iter().map(|d| binding.get(&d.name).map(|b| b.data.clone())).collect(),
    }
}

/// The data of `evaluate`, with the sizes that they rebind.
fn bind_held_out(
    program: &Program,
    compilation: &Compilation,
    files: &mut Files,
    folder: &Path,
    training: &data::Binding,
    learned: &Learned,
    diags: &mut Diagnostics,
) -> Option<(BoundData, Vec<crate::check::size::SizeId>)> {
    let root = compilation.modules.get(compilation.modules.root());
    let mut evaluator = Evaluator::held_out(files, folder, learned.clone());
    evaluator.define_module(&root.ast);
    let named = |name: &str| program.evaluate.iter().find(|a| a.name.name == name);
    let mut rebound = Vec::new();
    for (id, s) in program.sizes.iter_enumerated() {
        // Rows come first: the other dimensions of the data are those of the fit.
        let own =
            program.data.iter().any(|d| named(&d.name).is_some() && d.ty.shape.first().is_some_and(|x| x.mentions(id)));
        let free = s.value.is_none() && s.labels.is_none();
        if own && free {
            rebound.push(id);
        } else if let Some(value) = training.sizes.get(&s.name) {
            let value = SizeValue { origin: SizeOrigin::Fit, ..value.clone() };
            evaluator.sizes.insert(s.name.clone(), value);
        }
    }
    for p in &program.params {
        if let Some(size) = rebound.iter().find(|&&r| p.ty.shape.iter().any(|x| x.mentions(r))) {
            let size = &program.sizes[*size].name;
            diags.push(
                Diagnostic::new(Code::E0805, format!("`{}` has nothing to say about new rows of `{size}`", p.name))
                    .label(p.span, format!("one learnable number for each row of `{size}`, which `evaluate` rebinds"))
                    .help("make it a latent site with a prior, or leave `evaluate` out"),
            );
        }
    }
    let mut requests: Vec<BindRequest<'_>> = Vec::new();
    for item in &root.ast.items {
        let ItemKind::Data { name, ty, .. } = &item.kind else { continue };
        let Some(assign) = named(&name.name) else {
            let id = program.data_named(&name.name)?;
            let d = &program.data[id];
            if let Some(size) = rebound.iter().find(|&&r| d.ty.shape.iter().any(|x| x.mentions(r))) {
                let size = &program.sizes[*size].name;
                diags.push(
                    Diagnostic::new(Code::E0805, format!("`evaluate` does not give `{}`", d.name))
                        .label(d.ty_span, format!("it has rows of `{size}`, which the held-out data rebind"))
                        .help(format!("add `{} = …` to `evaluate`", d.name)),
                );
            }
            continue;
        };
        requests.push(BindRequest::of(name, ty, Some(&assign.value)));
    }
    let needed: Vec<(String, Span)> =
        rebound.iter().map(|&r| (program.sizes[r].name.clone(), program.sizes[r].span)).collect();
    let binding = data::bind(&mut evaluator, &requests, &needed, diags);
    if diags.has_errors() {
        return None;
    }
    let sizes = program
        .sizes
        .iter()
        .map(|s| binding.sizes.get(&s.name).or(training.sizes.get(&s.name)).map_or(1, |v| v.value))
        .collect();
    let values = program
        .data
        .iter()
        .map(|d| binding.get(&d.name).or_else(|| training.get(&d.name)).map(|b| b.data.clone()))
        .collect();
    let bound = BoundData { sizes, values };
    check_shapes(program, &bound, diags);
    if !diags.has_errors() {
        check_enumerations(program, &bound, diags);
        check_values(program, &bound, diags);
    }
    Some((bound, rebound))
}

/// Every dimension must be at least 1 now that sizes have values, and sums of sizes that the checker left open must agree.
fn check_shapes(program: &Program, bound: &BoundData, diags: &mut Diagnostics) {
    let value = |s: &Size| s.evaluate(&|id| Some(bound.sizes[id]));
    for e in &program.exprs {
        for s in &e.ty.shape {
            if value(s).is_none_or(|n| !(1..=crate::check::size::MAX_SIZE).contains(&n)) {
                let text = program.size_text(s);
                let n = value(s).map_or("too large".to_string(), |n| n.to_string());
                diags.push(
                    Diagnostic::new(Code::E0903, format!("a dimension of size `{text}` is {n} with these data"))
                        .label(e.span, format!("this has shape {}", program.shape_text(&e.ty.shape)))
                        .help("give more rows, or change the sizes"),
                );
                return;
            }
        }
        let ExprKind::Index { base, indices } = &e.kind else { continue };
        let mut dims = program.ty(*base).shape.iter();
        for ix in indices {
            if matches!(ix, Ix::New) {
                continue;
            }
            let Some(dim) = dims.next().and_then(value) else { continue };
            if let Ix::Slice { start, len } = ix
                && let (Some(start), Some(len)) = (value(start), value(len))
                && (start < 0 || start + len > dim)
            {
                diags.push(
                    Diagnostic::new(
                        Code::E0903,
                        format!("the part {start}..{} is not inside a dimension of size {dim}", start + len),
                    )
                    .label(e.span, "with these data")
                    .help("give more rows, or take a smaller part"),
                );
            }
        }
    }
}

/// Latents that are summed out must not have too many values now that sizes are known.
fn check_enumerations(program: &Program, bound: &BoundData, diags: &mut Diagnostics) {
    for (count, span, name) in program.model.iter().flat_map(|m| &m.enumerated) {
        let n = count.evaluate(&|id| Some(bound.sizes[id])).unwrap_or(i64::MAX);
        if n > crate::check::discrete::MAX_COMBINATIONS {
            diags.push(
                Diagnostic::new(Code::E0903, format!("`{name}` has {n} values with these data"))
                    .label(*span, format!("at most {} are summed out", crate::check::discrete::MAX_COMBINATIONS))
                    .help("use a continuous latent, or fewer values"),
            );
        }
    }
}

/// Indices that data give must be inside their dimension, observed values inside the support.
fn check_values(program: &Program, bound: &BoundData, diags: &mut Diagnostics) {
    let fixed = data_only(program);
    let slots = Slots::default();
    if program.model.is_none() {
        return;
    }
    let mut lo = Lowering::new(program, &slots, bound.sizes.clone(), None, SiteSource::Prior);
    let mut checks: Vec<(Span, String, f64)> = Vec::new();
    for e in &program.exprs {
        let mut add = |lo: &mut Lowering<'_>, index: ExprId, dim: usize| {
            if fixed[index]
                && reads_given(program, bound, index)
                && !matches!(program.exprs[index].kind, ExprKind::Const(_))
            {
                let v = lo.expr(index);
                lo.g.output("index", v);
                checks.push((program.exprs[index].span, "index".to_string(), dim as f64));
            }
        };
        match &e.kind {
            ExprKind::Index { base, indices } => {
                let mut dims = lo.shape(&program.ty(*base).shape).to_vec().into_iter();
                for ix in indices {
                    match ix {
                        Ix::New => {}
                        Ix::At(index) | Ix::Gather(index) => {
                            if let Some(dim) = dims.next() {
                                add(&mut lo, *index, dim);
                            }
                        }
                        _ => {
                            dims.next();
                        }
                    }
                }
            }
            ExprKind::Call { def, args, .. } if def.name == "embedding" => {
                let dim = lo.shape(&program.ty(args[1]).shape)[0];
                add(&mut lo, args[0], dim);
            }
            ExprKind::Call { def, args, attrs } if def.name == "segment_sum" => {
                let dim = lo.size(&attrs.sizes[0]);
                add(&mut lo, args[1], dim);
            }
            ExprKind::Call { def, args, attrs } if def.name == "one_hot" => {
                let dim = lo.size(&attrs.sizes[0]);
                add(&mut lo, args[0], dim);
            }
            _ => {}
        }
    }
    if !checks.is_empty() {
        let inputs = std::mem::take(&mut lo.inputs);
        let mut exe = Executable::<f64>::compile(&lo.g.finish());
        Store::<f64>::new(program, bound, None).give_whole(program, &inputs, &mut exe);
        exe.run(&[], Key::new(0));
        for (i, (span, what, dim)) in checks.iter().enumerate() {
            if let Some(bad) = exe.output(i).iter().find(|&&x| x < 0.0 || x >= *dim) {
                diags.push(
                    Diagnostic::new(Code::E0905, format!("the {what} {bad} is outside 0..{dim}"))
                        .label(*span, "with these data")
                        .help("declare the range, `int[N] in 0..K`, so that the data are checked with their row"),
                );
            }
        }
    }
    check_supports(program, bound, diags);
}
/// Observed values must lie in the support of their distribution, as far as data and constants say where that ends.
fn check_supports(program: &Program, bound: &BoundData, diags: &mut Diagnostics) {
    let Some(model) = &program.model else { return };
    for o in &model.observations {
        let Some(id) = o.data else { continue };
        let Some(values) = &bound.values[id] else { continue };
        let support = o.dist.support();
        if o.dist.event_rank() != support.event_rank() && support != SupportKind::Real {
            continue;
        }
        let ends = observed_ends(program, bound, o);
        let shape = &program.ty(o.value).shape;
        let extent = |s: &crate::check::size::Size| s.evaluate(&|id| Some(bound.sizes[id])).expect("sizes are bound");
        let event: i64 = shape[shape.len() - support.event_rank()..].iter().map(extent).product();
        let at_end = |i: usize| {
            let open = |x: f64, infinite: f64| if x.is_nan() { infinite } else { x };
            // Ends that hold for all are single numbers.
            let end = |ends: &Vec<f64>| if ends.len() == 1 { ends[0] } else { ends[i] };
            ends.as_ref().map(|[lower, upper]| (open(end(lower), f64::NEG_INFINITY), open(end(upper), f64::INFINITY)))
        };
        let for_all = ends.as_ref().is_none_or(|[lower, upper]| lower.len() == 1 && upper.len() == 1);
        let whole = !o.dist.is_discrete() || program.data[id].ty.elem != Elem::Real;
        // Supports of single numbers are intervals, of all numbers or of ints: the least and the greatest value decide.
        if support.event_rank() == 0
            && for_all
            && whole
            && values.within(|low, high| [low, high].iter().all(|&x| support.check(&[x], at_end(0))))
        {
            continue;
        }
        let Some((at, found)) = outside(values, event.max(1) as usize, |i, x| support.check(x, at_end(i))) else {
            continue;
        };
        let words = match at_end(at) {
            Some((lower, upper)) if o.dist.is_discrete() && lower.is_finite() && upper.is_finite() => {
                format!("in {lower}..{}", upper + 1.0)
            }
            Some((lower, upper)) if lower.is_finite() && upper.is_finite() => format!("between {lower} and {upper}"),
            Some((lower, _)) if lower.is_finite() => format!("not below {lower}"),
            Some((_, upper)) if upper.is_finite() => format!("not above {upper}"),
            _ => support.words().to_string(),
        };
        let what = match support.event_rank() {
            0 => format!("`{}` is {} in row {at}", o.name, found[0]),
            _ => format!("`{}` is {:?} in row {at}", o.name, found),
        };
        diags.push(
            Diagnostic::new(Code::E0905, format!("{what}, `{}` gives values that are {words}", o.dist.name()))
                .label(o.dist.span(), format!("this is {words}"))
                .label(program.data[id].ty_span, "declared here")
                .help("clean the data, or use a distribution with that support"),
        );
    }
}
/// The first event of `size` elements for which `holds` is false, with its position.
fn outside(values: &Values, size: usize, holds: impl Fn(usize, &[f64]) -> bool) -> Option<(usize, Vec<f64>)> {
    let mut found = None;
    let mut look = |from: usize, block: &[f64]| {
        let first = from / size;
        match block.chunks(size).enumerate().position(|(i, x)| !holds(first + i, x)) {
            None => ControlFlow::Continue(()),
            Some(at) => {
                found = Some((first + at, block[at * size..].iter().copied().take(size).collect()));
                ControlFlow::Break(())
            }
        }
    };
    // Events lie within rows, unless one draw is the whole array.
    let _ = if values.unit().is_multiple_of(size) { values.blocks(&mut look) } else { look(0, &values.to_vec()) };
    found
}
/// The ends of the support of an observed datum: one number, or one for each element; NaN where they are not known before
/// a fit. `None` where there are none.
fn observed_ends(program: &Program, bound: &BoundData, o: &Observation) -> Option<[Vec<f64>; 2]> {
    if !o.dist.support().needs_bounds() || !matches!(program.exprs[o.value].kind, ExprKind::Data(_)) {
        return None;
    }
    let fixed = data_only(program);
    // A copy of the program in which what is not known yet is NaN.
    let mut known = program.clone();
    let nan =
        known.push(Expr { kind: ExprKind::Const(f64::NAN), ty: Ty::scalar(Elem::Real), span: o.span, caller: None });
    let fill = crate::builtins::get("fill").expect("a built-in");
    let dist = o.dist.map_args(&mut |a, _| {
        if fixed[a] && reads_given(program, bound, a) {
            return Ok::<_, std::convert::Infallible>(a);
        }
        let ty = program.ty(a).clone();
        let attrs = Attrs { sizes: ty.shape.clone(), ints: Vec::new() };
        let kind = ExprKind::Call { def: fill, args: vec![nan], attrs };
        Ok(known.push(Expr { kind, ty, span: o.span, caller: None }))
    });
    let Ok(dist) = dist;
    let slots = Slots::default();
    let mut lo = Lowering::new(&known, &slots, bound.sizes.clone(), None, SiteSource::Prior);
    let shape = lo.shape(&program.ty(o.value).shape);
    let (lower, upper) = lo.dist(&dist, Mode::Live).bounds(&mut lo.g)?;
    for end in [lower, upper] {
        let one = lo.g.shape(end).count() == 1;
        let end = if one { end } else { lo.g.broadcast_to(end, shape.clone()) };
        lo.g.output("end", end);
    }
    let inputs = std::mem::take(&mut lo.inputs);
    let mut exe = Executable::<f64>::compile(&lo.g.finish());
    Store::<f64>::new(&known, bound, None).give_whole(&known, &inputs, &mut exe);
    exe.run(&[], Key::new(0));
    Some([exe.output(0).to_vec(), exe.output(1).to_vec()])
}
/// Whether all data that an expression reads are given.
fn reads_given(program: &Program, bound: &BoundData, e: ExprId) -> bool {
    match &program.exprs[e].kind {
        ExprKind::Data(id) => bound.values[*id].is_some(),
        _ => program.operands(e).into_iter().all(|o| reads_given(program, bound, o)),
    }
}

/// The settings and the guide of a run.
struct Chosen {
    infer: Infer,
    program: Program,
    guide: usize,
    precision: Precision,
    notes: Vec<String>,
    /// Whether draws of large arrays are kept.
    all: bool,
    /// What the run may need at most [bytes].
    max_memory: Option<u64>,
}

fn one(d: Diagnostic) -> Failure {
    let mut diags = Diagnostics::new();
    diags.push(d);
    Failure::Diagnostics(diags)
}

fn choose(bound: &BoundProgram<'_>, options: &RunOptions) -> Result<Chosen, Failure> {
    let mut program = bound.program.clone();
    let mut notes = Vec::new();
    let Some(model) = program.model.clone() else {
        return Err(one(Diagnostic::new(Code::E0804, "the file has no model to fit")
            .help("add a `model { … }`; `bayesc check` works without one")));
    };
    let mut infer = match &options.infer {
        Some(wanted) => match program.infers.iter().find(|i| i.name == *wanted) {
            Some(found) => found.clone(),
            None => match Algorithm::from_name(wanted) {
                Some(algorithm) => Infer::default_of(algorithm),
                None => {
                    let names: Vec<&str> = program
                        .infers
                        .iter()
                        .map(|i| i.name.as_str())
                        .chain(crate::check::settings::ALGORITHMS.iter().copied())
                        .collect();
                    let mut d =
                        Diagnostic::new(Code::E0707, format!("no infer block or algorithm is called `{wanted}`"));
                    d = match crate::nearest::nearest(wanted, names.iter().copied()) {
                        Some(near) => d.help(format!("there is `{near}`")),
                        None => d.help(format!("there is `{}`", names.join("`, `"))),
                    };
                    return Err(one(d));
                }
            },
        },
        None => match program.infers.first() {
            Some(first) if first.written => first.clone(),
            _ => {
                let (algorithm, why) = default_algorithm(bound, &program, options);
                // Settings of the command line that only one algorithm has decide.
                let given = |a: Algorithm| program.infers.iter().find(|i| i.algorithm == a);
                let found = given(algorithm).or(program.infers.first()).cloned();
                let why =
                    if found.as_ref().is_some_and(|i| i.algorithm != algorithm) { "as `--set` asks" } else { why };
                let infer = found.unwrap_or_else(|| Infer::default_of(algorithm));
                notes.push(format!("the file has no infer block: fitting by {}, {why}", infer.algorithm.name()));
                infer
            }
        },
    };
    if let Algorithm::Later(name) = infer.algorithm {
        let mut d = Diagnostic::new(Code::E0404, format!("`infer {name}` is not built yet"));
        if let Some(span) = infer.span {
            d = d.label(span, "this is what would run");
        }
        let other = program.infers.iter().find(|i| i.algorithm == Algorithm::Svi).map_or("svi", |i| i.name.as_str());
        return Err(one(d.help(format!("fit by variational inference: `--infer {other}`"))));
    }
    if let Some(seed) = options.seed {
        infer.svi.seed = seed;
        infer.nuts.seed = seed;
        infer.mode.seed = seed;
    }
    if let Some(precision) = options.precision {
        infer.svi.precision = precision;
    }
    if infer.algorithm == Algorithm::Nuts {
        nuts::refuse(&program, &infer, options)?;
        return Ok(Chosen {
            infer,
            program,
            guide: usize::MAX,
            precision: Precision::F64,
            notes,
            all: options.all,
            max_memory: options.max_memory,
        });
    }
    if matches!(infer.algorithm, Algorithm::Map | Algorithm::Laplace) {
        map::refuse(&infer, options)?;
        if infer.algorithm == Algorithm::Laplace {
            laplace::refuse(&program, &infer)?;
        }
        let guide = map::point_mass(&mut program, &model);
        return Ok(Chosen {
            infer,
            program,
            guide,
            precision: Precision::F64,
            notes,
            all: options.all,
            max_memory: options.max_memory,
        });
    }
    let guide = match &options.guide {
        Some(wanted) => match program.guides.iter().position(|g| g.name == *wanted) {
            Some(at) => at,
            None => match guides::family(wanted) {
                Some(family) => {
                    program.guides.push(guides::automatic(&model, family, wanted, None));
                    program.guides.len() - 1
                }
                None => {
                    let names: Vec<&str> = program
                        .guides
                        .iter()
                        .map(|g| g.name.as_str())
                        .chain(guides::FAMILIES.iter().copied())
                        .collect();
                    let mut d = Diagnostic::new(Code::E0605, format!("no guide or family is called `{wanted}`"));
                    d = match crate::nearest::nearest(wanted, names.iter().copied()) {
                        Some(near) => d.help(format!("there is `{near}`")),
                        None => d.help(format!("there is `{}`", names.join("`, `"))),
                    };
                    return Err(one(d));
                }
            },
        },
        None if program.guides.is_empty() => {
            program.guides.push(guides::automatic(&model, Family::MeanField, "mean_field", None));
            notes.push("the file has no guide: using `mean_field`".to_string());
            0
        }
        None => 0,
    };
    for step in &program.guides[guide].steps {
        if let GuideStep::Family { family: Family::Later(name), span, .. } = step {
            let mut d = Diagnostic::new(Code::E0404, format!("the guide `{name}` is not built yet"));
            if options.guide.is_none() {
                d = d.label(*span, "this family");
            }
            return Err(one(d.help("use `mean_field` or `full_rank`: `--guide mean_field`")));
        }
    }
    svi::standardize(&mut program, guide, &infer.svi.reparam)?;
    if let Some(batch) = infer.svi.minibatch {
        let n = bound.data.sizes[batch.size];
        if batch.rows > n {
            let name = &program.sizes[batch.size].name;
            let message = format!("a minibatch of {} rows is larger than `{name}`, which is {n}", batch.rows);
            return Err(one(Diagnostic::new(Code::E0703, message)
                .label(batch.span, "too many rows")
                .help(format!("use at most {n}"))));
        }
    }
    let network = model.sites.iter().any(|s| s.fan_in.is_some()) || program.params.iter().any(|p| p.fan.is_some());
    let noisy = network && infer.svi.minibatch.is_some();
    infer.svi.particles.get_or_insert(if noisy { NETWORK_PARTICLES } else { 1 });
    let largest = program
        .data
        .iter_enumerated()
        .filter(|(_, d)| d.ty.elem == Elem::Int)
        .filter_map(|(id, d)| Some((d, bound.data.values[id].as_ref()?)))
        .filter(|(_, values)| !values.within(|low, high| low >= -MAX_F32_INT && high <= MAX_F32_INT))
        .find_map(|(d, values)| Some((d, values.find(|x| x.abs() > MAX_F32_INT)?.1.abs())));
    let precision = match infer.svi.precision {
        PrecisionChoice::F64 => Precision::F64,
        PrecisionChoice::F32 => {
            if let Some((d, m)) = largest {
                let message = format!("`{}` holds {m}, which f32 cannot hold exactly", d.name);
                return Err(one(Diagnostic::new(Code::E0905, message)
                    .label(d.ty_span, "ints")
                    .help("use `--precision f64`")));
            }
            Precision::F32
        }
        PrecisionChoice::Auto if network && infer.svi.minibatch.is_some() && largest.is_none() => Precision::F32,
        PrecisionChoice::Auto => Precision::F64,
    };
    Ok(Chosen { infer, program, guide, precision, notes, all: options.all, max_memory: options.max_memory })
}

/// The most latent elements for which nuts is the default.
const NUTS_ELEMENTS: usize = 10_000;

/// The algorithm for a program without an infer block, and why.
fn default_algorithm(bound: &BoundProgram<'_>, program: &Program, options: &RunOptions) -> (Algorithm, &'static str) {
    let Some(model) = &program.model else { return (Algorithm::Svi, "") };
    let count = |shape: &[Size]| -> usize {
        let number = |s: &Size| s.evaluate(&|id| Some(bound.data.sizes[id])).and_then(|n| usize::try_from(n).ok());
        shape.iter().map(|s| number(s).unwrap_or(1)).product()
    };
    let elements: usize = model.sites.iter().map(|s| count(&s.ty.shape)).sum();
    if options.guide.is_some() || !program.guides.is_empty() {
        (Algorithm::Svi, "because there is a guide")
    } else if !program.params.is_empty() || model.sites.iter().any(|s| s.fan_in.is_some()) {
        (Algorithm::Svi, "because the model has a network or learnable constants")
    } else if elements >= NUTS_ELEMENTS {
        (Algorithm::Svi, "because it has very many latent numbers")
    } else {
        (Algorithm::Nuts, "the default for models of this kind")
    }
}

/// Fits the program as its first infer block says, or as the options say.
pub fn run(bound: &BoundProgram<'_>, options: &RunOptions, observer: &mut dyn Observer) -> Result<Fit, Failure> {
    let chosen = choose(bound, options)?;
    for note in &chosen.notes {
        observer.note(note);
    }
    let mut fit = match (chosen.infer.algorithm, chosen.precision) {
        (Algorithm::Nuts, _) => nuts::fit(bound, &chosen, observer),
        (Algorithm::Map, _) => map::fit(bound, &chosen, observer),
        (Algorithm::Laplace, _) => laplace::fit(bound, &chosen, observer),
        (_, Precision::F32) => svi::fit::<f32>(bound, &chosen, observer),
        (_, Precision::F64) => svi::fit::<f64>(bound, &chosen, observer),
    }?;
    bound.check_read()?;
    fit.expect = expect::evaluate(&bound.program.expects, &bound.compilation.sources, &fit);
    Ok(fit)
}

/// `n` draws of the latent sites as one chain: the first ones of one chain, evenly spread ones of several.
fn draws_of_sites(quantities: &[Quantity], n: usize) -> Vec<Quantity> {
    let latent = quantities.iter().filter(|q| q.role == fit::Role::Latent);
    latent
        .map(|q| {
            let (all, count) = (q.chains * q.draws, q.count());
            let n = n.min(all);
            let rows = (0..n).map(|i| if q.chains == 1 { i } else { i * all / n });
            let at = rows.flat_map(|row| row * count..(row + 1) * count);
            let data = match &q.data {
                fit::Draws::F32(v) => fit::Draws::F32(at.map(|i| v[i]).collect()),
                fit::Draws::F64(v) => fit::Draws::F64(at.map(|i| v[i]).collect()),
            };
            Quantity { chains: 1, draws: n, data, ..q.clone() }
        })
        .collect()
}

fn model_source(bound: &BoundProgram<'_>) -> ModelSource {
    let root = bound.compilation.modules.get(bound.compilation.modules.root());
    let file = bound.compilation.sources.file(root.file);
    ModelSource {
        path: file.name.clone(),
        name: bound.program.model.as_ref().and_then(|m| m.name.clone()),
        text: file.text.clone(),
    }
}

/// Draws from the prior: sites, kept values, and the observed data as the model would have them.
pub fn prior(bound: &BoundProgram<'_>, draws: usize, seed: u64) -> Result<Vec<Quantity>, Failure> {
    let program = &bound.program;
    let Some(model) = &program.model else {
        return Err(
            one(Diagnostic::new(Code::E0804, "the file has no model to draw from").help("add a `model { … }`")),
        );
    };
    for site in &model.sites {
        if !site.dist.is_proper() {
            return Err(one(Diagnostic::new(
                Code::E0502,
                format!("`{}` has an improper prior: there is nothing to draw", site.name),
            )
            .label(site.dist.span(), "not a probability distribution")
            .help("give it a proper prior, for example `Normal(0, 10)`")));
        }
    }
    // Learnable constants of the model start where a fit would start.
    let empty = Guide { name: String::new(), steps: Vec::new(), span: None };
    let slots = Slots::new(program, &empty, &bound.data.sizes, None);
    let key = Key::new(seed);
    let params = crate::infer::start::start(program, &slots, &bound.data, key.fold_in(1));
    let all = Draws {
        program,
        bound: &bound.data,
        labels: &bound.labels,
        slots: &slots,
        source: SiteSource::Prior,
        observations: true,
        generate: false,
        all: true,
        convolution: Method::Direct,
    };
    let drawn = all.run::<f64>(&params, draws, key.fold_in(12));
    bound.check_read()?;
    Ok(drawn)
}

/// A stage of compilation that needs data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The graph of one step.
    Graph,
    /// The same with its adjoint.
    Adjoint,
    /// The plan: order, buffers, peak.
    Plan,
}

/// A stage of one step as text.
pub fn emit(bound: &BoundProgram<'_>, options: &RunOptions, stage: Stage) -> Result<String, Failure> {
    let chosen = choose(bound, options)?;
    match chosen.infer.algorithm {
        Algorithm::Nuts => return nuts::emit(bound, &chosen, stage),
        Algorithm::Map => return map::emit(bound, &chosen, stage),
        Algorithm::Laplace => return laplace::emit(bound, &chosen, stage),
        Algorithm::Svi | Algorithm::Later(_) => {}
    }
    let (program, settings) = (&chosen.program, &chosen.infer.svi);
    let prepared = settings.minibatch.map(|b| Prepared::new(program, b.size));
    let slots =
        Slots::new(program, &program.guides[chosen.guide], &bound.data.sizes, settings.minibatch.map(|b| b.size));
    let mut memory = Memory::new(chosen.max_memory);
    memory.always.push(("data", bound.bytes()));
    let svi = Svi {
        program,
        guide: chosen.guide,
        bound: &bound.data,
        settings,
        slots: &slots,
        prepared: prepared.as_ref(),
        memory: &memory,
        restart: 0,
    };
    let sources = &bound.compilation.sources;
    let (gradient, plan) = (stage != Stage::Graph, stage == Stage::Plan);
    Ok(match chosen.precision {
        Precision::F32 => svi.emit::<f32>(gradient, plan, sources)?,
        Precision::F64 => svi.emit::<f64>(gradient, plan, sources)?,
    })
}
