//! Runs the phases in order: text → modules → typed program.
//!
//! Everything after checking needs data and is driven by `session.rs`.

use crate::check::{self, modules::Modules, settings::Algorithm, typed::Program};
use crate::diag::Diagnostics;
use crate::source::{FileId, Sources};
use crate::syntax::ast::ItemKind;
use crate::syntax::parse_module;
use std::path::{Path, PathBuf};

/// What the command line fixes before checking.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--size K=20`
    pub sizes: Vec<(String, usize)>,
    /// `--model NAME`
    pub model: Option<String>,
    /// `--set steps=100`
    pub settings: Vec<(String, String)>,
    /// `--infer NAME`: the block that the settings change.
    pub infer: Option<String>,
    /// Gives seconds; [`Compilation::secs`] is measured with it.
    pub clock: Option<fn() -> f64>,
}

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
    /// What the command line had fixed.
    pub options: Options,
    /// Seconds of reading and parsing all modules and of checking; 0 without a clock.
    pub secs: [f64; 2],
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
    let now = || options.clock.map_or(0.0, |clock| clock());
    let began = now();
    let mut sources = Sources::default();
    let mut diags = Diagnostics::new();
    let root: FileId = sources.add(name, path, text);
    let modules = Modules::load(root, &mut sources, loader, &mut diags);
    let mut checked = check::Options {
        sizes: options.sizes.clone(),
        model: options.model.clone(),
        settings: Vec::new(),
        infer: options.infer.clone(),
    };
    for (name, value) in &options.settings {
        // A setting of the command line is read as if it stood in an infer block.
        let algorithm = options.infer.as_deref().filter(|n| Algorithm::from_name(n).is_some()).unwrap_or("svi");
        let text = format!("infer {algorithm} {{ {name} = {value} }}");
        let file = sources.add(format!("--set {name}={value}"), None, text.clone());
        for item in parse_module(file, &text, &mut diags).items {
            if let ItemKind::Infer { settings, .. } = item.kind {
                checked.settings.extend(settings);
            }
        }
    }
    let parsed = now();
    let program = check::check(&modules, &checked, &mut diags);
    diags.sort();
    let secs = [parsed - began, now() - parsed];
    Compilation { sources, modules, program, diags, options: options.clone(), secs }
}

/// Compiles a text that stands alone: the standard library can be used, other files cannot.
pub fn compile_text(text: &str, options: &Options) -> Compilation {
    let mut none = |path: &str, _: Option<&Path>| Err(format!("`{path}` cannot be used from here"));
    compile("<text>", None, text, options, &mut none)
}
