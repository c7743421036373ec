//! Runs the phases in order: text → modules → typed program.
//!
//! Everything after checking needs data and is driven by `session.rs`.

use crate::check::{self, Options, modules::Modules, typed::Program};
use crate::diag::Diagnostics;
use crate::source::{FileId, Sources};
use std::path::{Path, PathBuf};

/// A compiled file: the program as far as it could be checked, and everything that was found wrong.
#[derive(Debug, Default)]
pub struct Compilation {
    /// The texts, for drawing messages.
    pub sources: Sources,
    /// The parsed modules.
    pub modules: Modules,
    /// The checked program; to be run only when there are no errors.
    pub program: Program,
    /// The messages.
    pub diags: Diagnostics,
}

/// Reads a file that a `use` names; see [`crate::check::modules::Loader`].
pub type Loader<'a> = crate::check::modules::Loader<'a>;

/// Compiles `text`, the content of `path` (if it has one), shown as `name`.
pub fn compile(
    name: &str,
    path: Option<PathBuf>,
    text: &str,
    options: &Options,
    loader: &mut Loader<'_>,
) -> Compilation {
    let mut sources = Sources::default();
    let mut diags = Diagnostics::new();
    let root: FileId = sources.add(name, path, text);
    let modules = Modules::load(root, &mut sources, loader, &mut diags);
    let program = check::check(&modules, options, &mut diags);
    diags.sort();
    Compilation { sources, modules, program, diags }
}

/// Compiles a text that stands alone: the standard library can be used, other files cannot.
pub fn compile_text(text: &str, options: &Options) -> Compilation {
    let mut none = |path: &str, _: Option<&Path>| Err(format!("`{path}` cannot be used from here"));
    compile("<text>", None, text, options, &mut none)
}
