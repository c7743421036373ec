//! From a path on the command line to a compiled program.

use super::args::ProgramArgs;
use super::progress::seconds;
use super::shell::{Exit, Shell};
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::driver::Options;
use crate::driver::{self, Compilation};
use crate::nearest::nearest;
use crate::session::{Failure, RunError};
use crate::source::Sources;
use crate::syntax::lexer::tokenize;
use std::path::{Path, PathBuf};

/// The text of a program's file, or the exit with its reason reported.
///
/// # Errors
/// [`Exit::Data`] when the file cannot be read or is not text.
pub fn read(path: &Path, shell: &mut Shell) -> Result<String, Exit> {
    let failed = |d: Diagnostic, shell: &mut Shell| {
        let mut diagnostics = Diagnostics::new();
        diagnostics.push(d);
        shell.report(&diagnostics, &Sources::default());
        Exit::Data
    };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) => return Err(failed(unreadable(path, &e), shell)),
    };
    text_of(bytes).map_err(|(line, column)| {
        let d = Diagnostic::new(Code::E0902, format!("`{}` is not text in UTF-8", path.display()))
            .note(format!("the first byte that is not UTF-8 is in line {line}, column {column}"))
            .help("save the file with the encoding UTF-8");
        failed(d, shell)
    })
}

/// The text of a file, or line and column (from 1) of the first byte that is not UTF-8.
fn text_of(bytes: Vec<u8>) -> Result<String, (usize, usize)> {
    String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let good = std::str::from_utf8(good).expect("valid up to here");
        let line = good.matches('\n').count() + 1;
        (line, good.rsplit('\n').next().unwrap_or("").chars().count() + 1)
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Diagnostic {
    let name = path.display();
    if path.is_dir() {
        let d = Diagnostic::new(Code::E0902, format!("`{name}` is a folder, not a program"));
        return match neighbours(path).first() {
            Some(one) => d.help(format!("name a file in it, for example `{}`", path.join(one).display())),
            None => d.help("name a file that ends in .bayes"),
        };
    }
    if error.kind() != std::io::ErrorKind::NotFound {
        return Diagnostic::new(Code::E0902, format!("cannot read `{name}`: {error}"));
    }
    let d = Diagnostic::new(Code::E0901, format!("there is no file `{name}`"));
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = neighbours(folder);
    let wanted = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let complete = format!("{wanted}.bayes");
    let near = names.iter().find(|n| **n == complete).map(String::as_str);
    match near.or_else(|| nearest(wanted, names.iter().map(String::as_str))) {
        Some(near) => d.help(format!("there is `{}`", path.with_file_name(near).display())),
        None => d,
    }
}

/// The programs in a folder.
fn neighbours(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|e| e.file_name().into_string().ok()).filter(|n| n.ends_with(".bayes")).collect();
    names.sort();
    names
}

/// Reads a file that a `use` names; its path starts from the folder of the using file.
pub fn load(written: &str, folder: Option<&Path>) -> Result<(String, PathBuf, String), String> {
    let path = folder.map_or_else(|| PathBuf::from(written), |f| f.join(written));
    let bytes = std::fs::read(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file `{}`", path.display()),
        _ => format!("cannot read `{}`: {e}", path.display()),
    })?;
    let text = text_of(bytes).map_err(|(line, _)| format!("`{}` is not UTF-8 (line {line})", path.display()))?;
    Ok((path.display().to_string(), path, text))
}

/// Compiles the program of `args` and reports what is wrong with it; what is returned has no errors.
///
/// # Errors
/// The exit, with its reason reported.
pub fn compile(args: &ProgramArgs, shell: &mut Shell) -> Result<Compilation, Exit> {
    compile_for(args, None, shell)
}

/// As [`compile`], for a run of the infer block called `infer`: `--set` changes that one.
///
/// # Errors
/// The exit, with its reason reported.
pub fn compile_for(args: &ProgramArgs, infer: Option<&str>, shell: &mut Shell) -> Result<Compilation, Exit> {
    let options = Options { infer: infer.map(str::to_string), ..options(args, shell)? };
    let text = read(&args.path, shell)?;
    let name = args.path.display().to_string();
    let compilation = driver::compile(&name, Some(args.path.clone()), &text, &options, &mut load);
    check_size_names(args, &text, &compilation, shell)?;
    shell.report(&compilation.diags, &compilation.sources);
    match Exit::of(&compilation.diags) {
        Exit::Done => Ok(compilation),
        // A name that only the command line mentions is not the program's fault.
        Exit::Program if args.model.is_some() && unknown_model(&compilation.diags) => Err(Exit::CommandLine),
        exit => Err(exit),
    }
}

fn unknown_model(diagnostics: &Diagnostics) -> bool {
    diagnostics.iter().any(|d| d.code == Code::E0803 && d.span().is_none())
}

fn options(args: &ProgramArgs, shell: &mut Shell) -> Result<Options, Exit> {
    let twice =
        |names: Vec<&String>| (1..names.len()).find(|&i| names[..i].contains(&names[i])).map(|i| names[i].clone());
    let size = twice(args.sizes.iter().map(|(n, _)| n).collect()).map(|n| format!("--size {n}"));
    let setting = twice(args.settings.iter().map(|(n, _)| n).collect()).map(|n| format!("--set {n}"));
    if let Some(what) = size.or(setting) {
        return Err(shell.fail(Exit::CommandLine, format!("`{what}` is given twice")));
    }
    Ok(Options {
        sizes: args.sizes.clone(),
        model: args.model.clone(),
        settings: args.settings.clone(),
        infer: None,
        clock: Some(seconds),
    })
}

/// A size that the file never mentions cannot be fixed.
fn check_size_names(args: &ProgramArgs, text: &str, compilation: &Compilation, shell: &mut Shell) -> Result<(), Exit> {
    for (name, _) in &args.sizes {
        if tokenize(text).iter().any(|t| t.text(text) == name) {
            continue;
        }
        let given = |n: &str| args.sizes.iter().any(|(g, _)| g == n);
        let names: Vec<&str> =
            compilation.program.sizes.iter().map(|s| s.name.as_str()).filter(|n| !given(n)).collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => Some(format!("there is a size `{near}`")),
            None if names.is_empty() => None,
            None => Some(format!("the sizes are `{}`", names.join("`, `"))),
        };
        let message = format!("`--size {name}`: the program has no size `{name}`");
        return Err(shell.fail_with_help(Exit::CommandLine, message, help.as_deref()));
    }
    Ok(())
}

/// Reports why there is no result.
pub fn failed(failure: Failure, sources: &Sources, shell: &mut Shell) -> Exit {
    match failure {
        Failure::Diagnostics(diagnostics) => {
            shell.report(&diagnostics, sources);
            // A guide or algorithm that only the command line names has no place in the program.
            let named =
                |d: &Diagnostic| matches!(d.code, Code::E0605 | Code::E0703 | Code::E0707) && d.span().is_none();
            match Exit::of(&diagnostics) {
                Exit::Program if diagnostics.iter().any(named) => Exit::CommandLine,
                exit => exit,
            }
        }
        Failure::Fit { message, help } => shell.fail_with_help(Exit::Data, message, help.as_deref()),
        Failure::Run(RunError::Checkpoint(message)) => shell.fail(Exit::Data, message),
        Failure::Run(RunError::Stopped(message)) => shell.fail(Exit::Interrupted, message),
        Failure::Run(error) => shell.fail_with(Exit::Inference, error.diagnostic(), sources),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wrong_byte_is_found() {
        assert_eq!(text_of(b"a\n\xc3\xa4\xffb".to_vec()), Err((2, 2)));
        assert_eq!(text_of("ä".into()), Ok("ä".into()));
    }

    #[test]
    fn a_missing_program_has_a_neighbour() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("golf.bayes"), "").unwrap();
        let help = |name: &str| {
            let error = std::io::Error::from(std::io::ErrorKind::NotFound);
            unreadable(&folder.path().join(name), &error).help.unwrap_or_default()
        };
        assert!(help("golf").contains("golf.bayes`"));
        assert!(help("gofl.bayes").contains("golf.bayes`"));
        assert_eq!(help("radon.bayes"), "");
    }
}
