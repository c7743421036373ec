//! A fit used again without the data that it was made from: its program compiled anew from the text that it keeps, and new
//! data bound to it.
//!
//! In: a [`Fit`] with its [`Inputs`].   Out: a [`BoundProgram`] without the large training data, and [`NewData`].

use super::bind::{check_enumerations, check_shapes, check_values, folder_of, observed_names, read_arguments};
use super::{BoundProgram, Failure, RunOptions};
use crate::check::size::SizeId;
use crate::check::typed::{DataDecl, Program};
use crate::data::replace::{Readings, mentions, readings};
use crate::data::{
    self, Array, BindRequest, DataArgument, Evaluator, Files, Given, SizeOrigin, SizeTable, SizeValue, Source, Value,
    Values,
};
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::driver::{self, Compilation};
use crate::infer::data::BoundData;
use crate::report::fit::{Fit, LARGE, NamedTensor};
use crate::report::inputs::{DataInput, Inputs, ModuleText, SizeInput};
use crate::source::Span;
use crate::syntax::ast::{Item, ItemKind};
use std::path::PathBuf;
use std::sync::Arc;

pub(super) fn unusable(message: impl Into<String>, help: impl Into<String>) -> Failure {
    Failure::Fit { message: message.into(), help: Some(help.into()) }
}

/// What a fit of `bound` keeps for being used again; `infer` is the block that ran.
pub(super) fn inputs(bound: &BoundProgram<'_>, options: &RunOptions, infer: &str) -> Inputs {
    let compilation = bound.compilation;
    let root = compilation.modules.get(compilation.modules.root()).file;
    let modules = compilation.modules.iter().filter(|(_, m)| m.file != root).filter_map(|(_, m)| {
        let file = compilation.sources.file(m.file);
        Some(ModuleText { path: file.path.as_ref()?.display().to_string(), text: file.text.clone() })
    });
    let mut data = Vec::new();
    let mut values = Vec::new();
    for (id, d) in bound.program.data.iter_enumerated() {
        let Some(numbers) = &bound.data.values[id] else { continue };
        let kept = numbers.len() <= LARGE;
        let (name, shape) = (d.name.clone(), numbers.shape().to_vec());
        if kept {
            values.push(NamedTensor { name: name.clone(), shape: shape.clone(), data: numbers.to_vec() });
        }
        data.push(DataInput { given: bound.given.contains(&name), name, shape, kept });
    }
    let size = |s: &crate::check::typed::SizeDecl| {
        let known = bound.sizes.get(&s.name)?;
        let labels = known.labels.as_ref().map(|l| (**l).clone());
        Some(SizeInput { name: s.name.clone(), value: known.value, labels })
    };
    Inputs {
        modules: modules.collect(),
        infer: infer.to_string(),
        infer_option: compilation.options.infer.clone(),
        guide_option: options.guide.clone(),
        init: options.init.as_ref().map(|fit| fit.fingerprint()),
        set: compilation.options.settings.clone(),
        fixed: compilation.options.sizes.clone(),
        sizes: bound.program.sizes.iter().filter_map(size).collect(),
        learned: bound.learned.clone(),
        data,
        values,
    }
}

pub(super) fn inputs_of(fit: &Fit) -> Result<&Inputs, Failure> {
    fit.inputs.as_ref().ok_or_else(|| {
        unusable(
            "the fit does not keep what it was made from: an earlier version of bayesc wrote it",
            format!("fit it again: `bayesc run {}`", fit.model.path),
        )
    })
}

/// Compiles the program of a fit from the text that the fit keeps. No file is read.
///
/// # Errors
/// [`Failure::Fit`] when the fit does not keep its program, or when this version does not accept it.
pub fn recompile(fit: &Fit) -> Result<Compilation, Failure> {
    let inputs = inputs_of(fit)?;
    let compilation = recompile_as(fit, inputs.infer_option.clone(), &inputs.set)?;
    match compilation.diags.iter().find(|d| d.severity == crate::diag::Severity::Error) {
        Some(d) => Err(unusable(
            format!("this version of bayesc does not accept the program of the fit: {} ({})", d.message, d.code.name()),
            format!("mend `{}` and fit it again", fit.model.path),
        )),
        None => Ok(compilation),
    }
}

/// As [`recompile`], for the infer block or algorithm `infer` with other settings of the command line; it may have errors.
pub(super) fn recompile_as(
    fit: &Fit,
    infer: Option<String>,
    settings: &[(String, String)],
) -> Result<Compilation, Failure> {
    let inputs = inputs_of(fit)?;
    let mut loader = |written: &str, folder: Option<&std::path::Path>| {
        let path = folder.map_or_else(|| PathBuf::from(written), |f| f.join(written));
        let shown = path.display().to_string();
        match inputs.modules.iter().find(|m| m.path == shown) {
            Some(module) => Ok((shown, path, module.text.clone())),
            None => Err(format!("the fit does not keep `{shown}`")),
        }
    };
    let options = driver::Options {
        sizes: inputs.fixed.clone(),
        model: fit.model.name.clone(),
        settings: settings.to_vec(),
        infer,
        clock: None,
    };
    let model = &fit.model;
    let path = (!model.path.starts_with('<')).then(|| PathBuf::from(&model.path));
    Ok(driver::compile(&model.path, path, &model.text, &options, &mut loader))
}

/// The program of a fit with what the fit keeps of its data; data that are not kept are missing.
///
/// # Errors
/// [`Failure::Fit`] when the sizes in the fit are not those of its program.
pub fn restore<'c>(compilation: &'c Compilation, fit: &Fit) -> Result<BoundProgram<'c>, Failure> {
    let inputs = inputs_of(fit)?;
    let program = compilation.program.clone();
    let mut sizes = SizeTable::new();
    for s in &inputs.sizes {
        let labels = s.labels.clone().map(Arc::new);
        sizes.insert(s.name.clone(), SizeValue { value: s.value, labels, origin: SizeOrigin::Fit });
    }
    if let Some(s) = program.sizes.iter().find(|s| !sizes.contains_key(&s.name)) {
        return Err(unusable(
            format!("the fit is damaged: it does not say what the size `{}` was", s.name),
            format!("fit it again: `bayesc run {}`", fit.model.path),
        ));
    }
    let labels = program.sizes.iter().map(|s| {
        let labels = sizes.get(&s.name).and_then(|v| v.labels.as_ref());
        labels.map(|l| Arc::new(l.names.to_vec()))
    });
    let labels = labels.collect();
    let kept = |d: &DataDecl| {
        let tensor = inputs.values.iter().find(|v| v.name == d.name)?;
        Some(Values::in_memory(&tensor.shape, tensor.data.clone()))
    };
    let data = BoundData {
        sizes: program.sizes.iter().map(|s| sizes[&s.name].value).collect(),
        values: program.data.iter().map(kept).collect(),
    };
    Ok(BoundProgram {
        compilation,
        data,
        held_out: None,
        labels,
        learned: inputs.learned.clone(),
        sizes,
        given: inputs.data.iter().filter(|d| d.given).map(|d| d.name.clone()).collect(),
        fingerprints: data::Fingerprints::default(),
        program,
    })
}

/// New data for the program of a fit.
#[derive(Debug)]
pub struct NewData {
    /// All data: new ones, and those that the fit keeps. What the model observes is there only where it was given.
    pub bound: BoundData,
    /// The sizes that the new data bind anew.
    pub resampled: Vec<SizeId>,
    /// What has to be said of them, one sentence each.
    pub notes: Vec<String>,
}

/// Binds the data of the command line to the program of a fit. A file stands where the expression of its datum reads one,
/// and goes the way that the training data went, with what was learned from them; with `prepared`, and for data that were
/// given as files in training too, its values are those that the model sees.
///
/// # Errors
/// Diagnostics of the data, and [`Failure::Fit`] where the program does not say how a file becomes a datum.
pub fn bind_new(
    restored: &BoundProgram<'_>,
    files: &mut Files,
    arguments: &[DataArgument],
    prepared: bool,
) -> Result<NewData, Failure> {
    let bound = bind_all(restored, files, arguments, prepared);
    match files.failure().get() {
        Some(error) => Err(super::one(*error.clone().into_diagnostic())),
        None => bound,
    }
}

fn bind_all(
    restored: &BoundProgram<'_>,
    files: &mut Files,
    arguments: &[DataArgument],
    prepared: bool,
) -> Result<NewData, Failure> {
    let compilation = restored.compilation;
    let program = &restored.program;
    let root = compilation.modules.get(compilation.modules.root());
    let mut diags = Diagnostics::new();
    let given = read(program, files, arguments, prepared, &mut diags);
    let is_given = |name: &str| given.iter().any(|g| g.name == name);
    let rebound: Vec<SizeId> = program
        .sizes
        .iter_enumerated()
        .filter(|(id, s)| {
            let rows = |d: &DataDecl| is_given(&d.name) && d.ty.shape.first().is_some_and(|x| x.mentions(*id));
            let labelled = restored.sizes.get(&s.name).is_some_and(|v| v.labels.is_some());
            s.value.is_none() && !labelled && program.data.iter().any(rows)
        })
        .map(|(id, _)| id)
        .collect();
    let has_new_rows = |d: &DataDecl| d.ty.shape.iter().any(|x| rebound.iter().any(|&r| x.mentions(r)));
    let observed = observed_names(program);
    let mut notes = Vec::new();
    let mut evaluator = Evaluator::held_out(files, folder_of(compilation), restored.learned.clone());
    evaluator.define_module(&root.ast);
    for (id, s) in program.sizes.iter_enumerated() {
        if !rebound.contains(&id) {
            evaluator.sizes.insert(s.name.clone(), restored.sizes[&s.name].clone());
        }
    }
    for p in &program.params {
        if let Some(size) = rebound.iter().find(|&&r| p.ty.shape.iter().any(|x| x.mentions(r))) {
            let size = &program.sizes[*size].name;
            return Err(unusable(
                format!(
                    "`{}` has nothing to say about new rows of `{size}`: it is one learnable number for each",
                    p.name
                ),
                "make it a latent site with a prior, and fit again",
            ));
        }
    }
    let mut requests: Vec<BindRequest<'_>> = Vec::new();
    let given_names: Vec<&str> = given.iter().map(|g| g.name.as_str()).collect();
    for Item { kind, .. } in &root.ast.items {
        let ItemKind::Data { name, ty, value } = kind else { continue };
        let Some(id) = program.data_named(&name.name) else { continue };
        let d = &program.data[id];
        let mut request = BindRequest::of(name, ty, value.as_ref());
        if let Some(g) = given.iter().find(|g| g.name == name.name) {
            let as_is = prepared || restored.given.contains(&g.name);
            match value {
                Some(expr) if !as_is => match readings(&root.ast, expr) {
                    Readings::One(reading) => {
                        let table = matches!(g.value, Value::Table(_));
                        let span = if table { reading.table } else { reading.whole };
                        evaluator.replace(span, g.value.clone());
                        if expr.span != span {
                            let text = compilation.sources.text(expr.span);
                            notes.push(format!("`{}` goes the way of the training data: {text}", g.name));
                        }
                    }
                    Readings::None => request.source = Source::Given(g.value.clone(), g.from.clone()),
                    Readings::Several => {
                        return Err(unusable(
                            format!("{}: the expression of `{}` reads more than one thing", g.from, g.name),
                            "give its values as the model sees them, with `--prepared`",
                        ));
                    }
                },
                _ => request.source = Source::Given(g.value.clone(), g.from.clone()),
            }
            requests.push(request);
            continue;
        }
        let derived = value
            .as_ref()
            .is_some_and(|e| readings(&root.ast, e) == Readings::None && mentions(&root.ast, e, &given_names));
        if observed.contains(&name.name.as_str()) {
            evaluator.set_absent(&name.name, not_given(d, "the model predicts it here"));
        } else if has_new_rows(d)
            && (derived || (value.is_some() && readings(&root.ast, value.as_ref().expect("some")) == Readings::None))
        {
            requests.push(request);
        } else if has_new_rows(d) {
            let size = rebound.iter().find(|&&r| d.ty.shape.iter().any(|x| x.mentions(r))).expect("it has new rows");
            let message = format!("it has rows of `{}`, of which there are new ones", program.sizes[*size].name);
            let problem = not_given(d, &message);
            evaluator.set_absent(&name.name, problem.clone());
            diags.push(problem);
        } else if derived {
            requests.push(request);
        } else {
            match &restored.data.values[id] {
                Some(values) => {
                    let array = Array::from_shape(values.shape(), values.to_vec(), d.ty.elem).expect("as kept");
                    evaluator.set(&name.name, Value::Array(array));
                }
                None => evaluator.set_absent(&name.name, not_given(d, "it is too large to be kept in the fit")),
            }
        }
    }
    let needed: Vec<(String, Span)> =
        rebound.iter().map(|&r| (program.sizes[r].name.clone(), program.sizes[r].span)).collect();
    let binding = data::bind(&mut evaluator, &requests, &needed, &mut diags);
    if diags.has_errors() {
        return Err(Failure::Diagnostics(hint(diags, prepared, &given, restored)));
    }
    let sizes = program.sizes.iter().map(|s| binding.sizes.get(&s.name).or(restored.sizes.get(&s.name)));
    let values = program.data.iter_enumerated().map(|(id, d)| match binding.get(&d.name) {
        Some(new) => Some(new.data.clone()),
        // Without any new data the fit predicts what it was fitted to.
        None if given.is_empty() || !observed.contains(&d.name.as_str()) => restored.data.values[id].clone(),
        None => None,
    });
    let bound = BoundData { sizes: sizes.map(|s| s.map_or(1, |v| v.value)).collect(), values: values.collect() };
    check_shapes(program, &bound, &mut diags);
    if !diags.has_errors() {
        check_enumerations(program, &bound, &mut diags);
        check_values(program, &bound, &mut diags);
    }
    if diags.has_errors() {
        return Err(Failure::Diagnostics(diags));
    }
    Ok(NewData { bound, resampled: rebound, notes })
}

/// Says of data whose shape does not fit that they may have been prepared.
fn hint(diags: Diagnostics, prepared: bool, given: &[Given], restored: &BoundProgram<'_>) -> Diagnostics {
    let own_way = given.iter().any(|g| !restored.given.contains(&g.name));
    let mut hinted = Diagnostics::new();
    for d in diags.iter() {
        let mut d = d.clone();
        if !prepared && own_way && matches!(d.code, Code::E0903 | Code::E0908) {
            d = d.note("a file goes the way of the training data; `--prepared` takes its values as they are");
        }
        hinted.push(d);
    }
    hinted
}

fn not_given(d: &DataDecl, why: &str) -> Diagnostic {
    Diagnostic::new(Code::E0914, format!("no value is given for the data `{}`", d.name))
        .label(d.span, why.to_string())
        .help(format!("give it with `--data {}=FILE`", d.name))
}

fn read(
    program: &Program,
    files: &mut Files,
    arguments: &[DataArgument],
    prepared: bool,
    diags: &mut Diagnostics,
) -> Vec<Given> {
    let read = |argument: &DataArgument| if prepared { argument.read(files) } else { argument.read_whole(files) };
    read_arguments(program, arguments, read, diags)
}
