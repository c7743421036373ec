//! A program and its data put together: files read, sizes known, every value checked against what the program says of it.

use super::{BoundProgram, Failure, expects, one};
use crate::check::minibatch::data_only;
use crate::check::size::Size;
use crate::check::typed::*;
use crate::data::{
    self, BindRequest, DataArgument, DataError, Evaluator, Files, Given, Learned, SizeOrigin, SizeValue, Source, Values,
};
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::dist::SupportKind;
use crate::driver::Compilation;
use crate::exec::Executable;
use crate::index::IndexVec;
use crate::infer::data::{BoundData, Store};
use crate::infer::draws::SizeLabels;
use crate::lower::{Lowering, Mode, SiteSource, Slots};
use crate::rng::Key;
use crate::source::Span;
use crate::syntax::ast::{Elem, ItemKind};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

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

/// Reads what the command line gives; what cannot be read, or is no datum of the program, becomes a diagnostic.
pub(super) fn read_arguments(
    program: &Program,
    arguments: &[DataArgument],
    mut read: impl FnMut(&DataArgument) -> Result<Vec<Given>, DataError>,
    diags: &mut Diagnostics,
) -> Vec<Given> {
    let mut given: Vec<Given> = Vec::new();
    for argument in arguments {
        // A file of many data may hold more than the program asks for.
        let asked = |g: &Given| matches!(argument, DataArgument::One { .. }) || program.data_named(&g.name).is_some();
        match read(argument) {
            Ok(found) => given.extend(found.into_iter().filter(asked)),
            Err(error) => diags.push(*error.into_diagnostic()),
        }
    }
    for g in given.iter().filter(|g| program.data_named(&g.name).is_none()) {
        let names: Vec<&str> = program.data.iter().map(|d| d.name.as_str()).collect();
        let d = Diagnostic::new(Code::E0914, format!("{}: `{}` is not a datum of the program", g.from, g.name));
        diags.push(match crate::nearest::nearest(&g.name, names.iter().copied()) {
            Some(near) => d.help(format!("there is `{near}`")),
            None => d.help(format!("the data are `{}`", names.join("`, `"))),
        });
    }
    given
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
    let given = read_arguments(&program, arguments, |argument| argument.read(files), &mut diags);
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
    let given = given.into_iter().map(|g| g.name).collect();
    let sizes = binding.sizes;
    Ok(BoundProgram { compilation, program, data: bound, held_out, labels, learned, sizes, given, fingerprints })
}

pub(super) fn folder_of(compilation: &Compilation) -> PathBuf {
    let root = compilation.modules.get(compilation.modules.root());
    compilation.sources.file(root.file).folder().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
pub(super) fn observed_names(program: &Program) -> Vec<&str> {
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
pub(super) fn check_shapes(program: &Program, bound: &BoundData, diags: &mut Diagnostics) {
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
pub(super) fn check_enumerations(program: &Program, bound: &BoundData, diags: &mut Diagnostics) {
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
pub(super) fn check_values(program: &Program, bound: &BoundData, diags: &mut Diagnostics) {
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
