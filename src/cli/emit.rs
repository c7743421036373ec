//! `bayesc emit`: what a step of the compiler makes of a program.

use super::args::{Emit, Format, Stage};
use super::program;
use super::shell::{Exit, Shell};
use crate::data::Files;
use crate::diag::Diagnostics;
use crate::session::{self, RunOptions};
use crate::source::Sources;
use crate::syntax::{parse::parse_module, print::print_module};

/// Prints the result of one stage.
pub fn emit(args: &Emit, shell: &mut Shell) -> Result<(), Exit> {
    shell.json = args.format.format == Format::Json;
    refuse_useless(args, shell)?;
    let text = match args.stage {
        Stage::Ast => ast(args, shell)?,
        Stage::Typed => crate::check::print::print(&program::compile(&args.program, shell)?.program),
        Stage::Graph | Stage::Adjoint | Stage::Plan => lowered(args, shell)?,
    };
    shell.set("stage", format!("{:?}", args.stage).to_lowercase());
    shell.set("text", text.as_str());
    shell.print(&text)
}

/// The canonical text of the file alone; what it uses does not matter.
fn ast(args: &Emit, shell: &mut Shell) -> Result<String, Exit> {
    let path = &args.program.path;
    let text = program::read(path, shell)?;
    let mut sources = Sources::default();
    let file = sources.add(path.display().to_string(), Some(path.clone()), text.clone());
    let mut diagnostics = Diagnostics::new();
    let module = parse_module(file, &text, &mut diagnostics);
    shell.report(&diagnostics, &sources);
    match Exit::of(&diagnostics) {
        Exit::Done => Ok(print_module(&module)),
        exit => Err(exit),
    }
}

/// An option that a stage does not look at is a mistake of the caller.
fn refuse_useless(args: &Emit, shell: &mut Shell) -> Result<(), Exit> {
    let (before_check, before_data) = match args.stage {
        Stage::Ast => (true, true),
        Stage::Typed => (false, true),
        _ => (false, false),
    };
    let given = [
        ("--size", !args.program.sizes.is_empty(), before_check),
        ("--model", args.program.model.is_some(), before_check),
        ("--set", !args.program.settings.is_empty(), before_check),
        ("--data", !args.data.data.is_empty(), before_data),
        ("--infer", args.infer.is_some(), before_data),
        ("--guide", args.guide.is_some(), before_data),
        ("--precision", args.precision.is_some(), before_data),
        ("--max-memory", args.max_memory.is_some(), args.stage != Stage::Plan),
    ];
    match given.into_iter().find(|(_, given, useless)| *given && *useless) {
        Some((name, ..)) => {
            let stage = format!("{:?}", args.stage).to_lowercase();
            Err(shell.fail(Exit::CommandLine, format!("`{name}` has no meaning for the stage `{stage}`")))
        }
        None => Ok(()),
    }
}

/// What needs numbers for sizes.
fn lowered(args: &Emit, shell: &mut Shell) -> Result<String, Exit> {
    let compilation = program::compile(&args.program, shell)?;
    let options = RunOptions {
        infer: args.infer.clone(),
        guide: args.guide.clone(),
        seed: None,
        precision: args.precision.map(Into::into),
        max_memory: args.max_memory,
        ..RunOptions::default()
    };
    let stage = match args.stage {
        Stage::Adjoint => session::Stage::Adjoint,
        Stage::Plan => session::Stage::Plan,
        _ => session::Stage::Graph,
    };
    session::bind(&compilation, &mut Files::new(), &args.data.data)
        .and_then(|bound| session::emit(&bound, &options, stage))
        .map_err(|failure| program::failed(failure, &compilation.sources, shell))
}
