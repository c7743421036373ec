//! `bayesc fmt`: programs in their canonical layout.

use super::args::{Fmt, Format};
use super::program;
use super::shell::{Exit, Shell};
use crate::diag::Diagnostics;
use crate::report::store::write_atomic;
use crate::source::Sources;
use crate::syntax::format::{Refused, format_module};
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Lays files out in place, or stdin to stdout; with `--check` only says which files would change.
pub fn fmt(args: &Fmt, shell: &mut Shell) -> Result<(), Exit> {
    shell.json = args.format.format == Format::Json;
    if args.files.is_empty() || args.files == [PathBuf::from("-")] {
        return stdin(args, shell);
    }
    if args.files.iter().any(|f| f.as_os_str() == "-") {
        return Err(shell.fail(Exit::CommandLine, "`-` stands alone: it means stdin and stdout"));
    }
    // Every file is looked at, whatever the others are like; the gravest end is the end.
    let mut worst: Result<(), Exit> = Ok(());
    let mut entries: Vec<Value> = Vec::new();
    for path in &args.files {
        let result = one(path, args.check, shell);
        if let Ok(changed) = result {
            entries.push(json!({ "path": path.display().to_string(), "changed": changed }));
        }
        let end = match result {
            Ok(true) if args.check => Err(Exit::Program),
            Ok(_) => Ok(()),
            Err(exit) => Err(exit),
        };
        worst = match (worst, end) {
            (Err(a), Err(b)) if b.code() > a.code() => Err(b),
            (Ok(()), end) => end,
            (worst, _) => worst,
        };
    }
    shell.set("files", entries);
    worst
}

/// Lays one file out; whether it changed, or would have with `--check`.
fn one(path: &Path, check: bool, shell: &mut Shell) -> Result<bool, Exit> {
    let text = program::read(path, shell)?;
    let name = path.display().to_string();
    let out = laid_out(&name, &text, shell)?;
    if out == text {
        return Ok(false);
    }
    if check {
        shell.print(&format!("{name}\n"))?;
        return Ok(true);
    }
    write(path, &out).map_err(|e| shell.fail(Exit::Data, e))?;
    shell.note(&format!("formatted {name}"));
    Ok(true)
}

/// Puts `text` into the place of a file in one go, with the permissions that it had; links stay links.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let cannot = |e: std::io::Error| format!("cannot write `{}`: {e}", path.display());
    let target = std::fs::canonicalize(path).map_err(cannot)?;
    let permissions = std::fs::metadata(&target).map_err(cannot)?.permissions();
    if permissions.readonly() {
        return Err(format!("`{}` may not be written", path.display()));
    }
    write_atomic(&target, text.as_bytes()).map_err(|e| e.to_string())?;
    std::fs::set_permissions(&target, permissions).map_err(cannot)
}

fn stdin(args: &Fmt, shell: &mut Shell) -> Result<(), Exit> {
    let mut bytes = Vec::new();
    if let Err(e) = std::io::stdin().lock().read_to_end(&mut bytes) {
        return Err(shell.fail(Exit::Data, format!("cannot read stdin: {e}")));
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(shell.fail(Exit::Data, "stdin is not text in UTF-8"));
    };
    let out = laid_out("<stdin>", &text, shell)?;
    shell.set("files", json!([{ "path": "-", "changed": out != text }]));
    if args.check {
        return if out == text { Ok(()) } else { Err(Exit::Program) };
    }
    shell.set("text", out.as_str());
    shell.print(&out)
}

/// The layout of a text, or the exit with its reason reported.
fn laid_out(name: &str, text: &str, shell: &mut Shell) -> Result<String, Exit> {
    let mut sources = Sources::default();
    let mut diagnostics = Diagnostics::new();
    let file = sources.add(name, None, text);
    let result = format_module(file, text, &mut diagnostics);
    shell.report(&diagnostics, &sources);
    result.map_err(|refused| match refused {
        Refused::Slips => Exit::Program,
        Refused::Changed => {
            let help = "this is a defect of bayesc; please report it with the file";
            shell.fail_with_help(Exit::Program, format!("`{name}` cannot be laid out and is left alone"), Some(help))
        }
    })
}
