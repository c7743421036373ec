//! The modules of a program: the file itself, the library modules and files it uses, and what each makes visible.

use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::index::{Idx, IndexVec};
use crate::index_type;
use crate::nearest::nearest;
use crate::source::{FileId, Sources, Span};
use crate::syntax::ast::{self, ItemKind, UseFrom};
use crate::syntax::{TokenKind, parse_module, tokenize};
use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

/// Files that use each other deeper than this are refused: only a circle through links gets there.
const MAX_DEPTH: usize = 64;

index_type!(
    /// A module of the program.
    ModuleId, "module"
);

/// The standard library: name and text of each module, embedded in the binary.
pub const LIBRARY: &[(&str, &str)] = &[
    ("bnn", include_str!("../../stdlib/bnn.bayes")),
    ("gp", include_str!("../../stdlib/gp.bayes")),
    ("nn", include_str!("../../stdlib/nn.bayes")),
    ("priors", include_str!("../../stdlib/priors.bayes")),
    ("ts", include_str!("../../stdlib/ts.bayes")),
];

/// One parsed file.
#[derive(Debug)]
pub struct Module {
    /// The file.
    pub file: FileId,
    /// Its name: that of the library module, or the file's name without its ending.
    pub stem: String,
    /// Its items.
    pub ast: ast::Module,
    /// Modules by the name that this one uses them under.
    pub uses: HashMap<String, ModuleId>,
    /// Single names brought in: name → (module, name there).
    pub names: HashMap<String, (ModuleId, String)>,
    /// The functions, layers, nets and submodels by name: position among the items.
    pub functions: HashMap<String, usize>,
    /// Modules and names that could not be found: messages about their use would only repeat that.
    pub failed: HashSet<String>,
    /// Names in the parts of the text that could not be read: a message that misses one of them would only repeat the
    /// syntax error. Empty when there is none.
    pub lost: HashSet<String>,
}

/// All modules, the root first.
#[derive(Debug, Default)]
pub struct Modules {
    list: IndexVec<ModuleId, Module>,
}

/// Reads a file that a `use` names: `(path as written, folder of the using file)` → shown name, path, text.
pub type Loader<'a> = dyn FnMut(&str, Option<&Path>) -> Result<(String, PathBuf, String), String> + 'a;

/// The name, kind word and syntax of a function-like item.
pub fn function_of(kind: &ItemKind) -> Option<(&'static str, &ast::Function)> {
    match kind {
        ItemKind::Fn(f) => Some(("fn", f)),
        ItemKind::Layer(f) => Some(("layer", f)),
        ItemKind::Net(f) => Some(("net", f)),
        ItemKind::Submodel(f) => Some(("model", f)),
        _ => None,
    }
}

impl Modules {
    /// The file that was asked for.
    pub fn root(&self) -> ModuleId {
        ModuleId::new(0)
    }
    /// One module.
    pub fn get(&self, id: ModuleId) -> &Module {
        &self.list[id]
    }
    /// All modules, the root first.
    pub fn iter(&self) -> impl Iterator<Item = (ModuleId, &Module)> {
        self.list.iter_enumerated()
    }
    /// The function-like item `name` of module `id`, looked up there and among the names it brings in.
    pub fn function(&self, id: ModuleId, name: &str) -> Option<(ModuleId, &ast::Item)> {
        let module = &self.list[id];
        if let Some(&at) = module.functions.get(name) {
            return Some((id, &module.ast.items[at]));
        }
        let (from, there) = module.names.get(name)?;
        let at = *self.list[*from].functions.get(there)?;
        Some((*from, &self.list[*from].ast.items[at]))
    }

    /// Parses the root and everything that it uses, each file once.
    pub fn load(root: FileId, sources: &mut Sources, loader: &mut Loader<'_>, diags: &mut Diagnostics) -> Modules {
        let mut modules = Modules::default();
        let mut by_key: HashMap<String, ModuleId> = HashMap::new();
        let mut open: Vec<(String, Span)> = Vec::new();
        let key = sources.file(root).path.as_ref().map_or_else(|| "<root>".to_string(), |p| key_of(p));
        let mut cx = Load { modules: &mut modules, by_key: &mut by_key, open: &mut open, sources, loader, diags };
        cx.module(root, key);
        modules
    }
}

/// What tells files apart: the path without `.` and `..`.
fn key_of(path: &Path) -> String {
    let mut key = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(key.components().next_back(), Some(Component::Normal(_))) => {
                key.pop();
            }
            other => key.push(other),
        }
    }
    key.display().to_string()
}

/// The names that occur in `text` more often than in the tree that could be made of it.
fn lost_names(text: &str, ast: &ast::Module) -> HashSet<String> {
    let mut counts: HashMap<String, i64> = HashMap::new();
    let printed = crate::syntax::print_module(ast);
    for (text, step) in [(text, 1), (printed.as_str(), -1)] {
        for token in tokenize(text).iter().filter(|t| t.kind == TokenKind::Name) {
            *counts.entry(token.text(text).to_string()).or_insert(0) += step;
        }
    }
    counts.into_iter().filter(|&(_, n)| n > 0).map(|(name, _)| name).collect()
}

struct Load<'a, 'b> {
    modules: &'a mut Modules,
    by_key: &'a mut HashMap<String, ModuleId>,
    open: &'a mut Vec<(String, Span)>,
    sources: &'a mut Sources,
    loader: &'a mut Loader<'b>,
    diags: &'a mut Diagnostics,
}

impl Load<'_, '_> {
    fn module(&mut self, file: FileId, key: String) -> ModuleId {
        let text = self.sources.file(file).text.clone();
        let before = self.diags.error_count();
        let ast = parse_module(file, &text, self.diags);
        let lost = if self.diags.error_count() > before { lost_names(&text, &ast) } else { HashSet::new() };
        let mut functions: HashMap<String, usize> = HashMap::new();
        for (at, item) in ast.items.iter().enumerate() {
            let Some((_, f)) = function_of(&item.kind) else { continue };
            if let Some(&first) = functions.get(&f.name.name) {
                let (_, other) = function_of(&ast.items[first].kind).expect("indexed as a function");
                self.diags.push(
                    Diagnostic::new(Code::E0204, format!("`{}` is defined twice", f.name.name))
                        .label(f.name.span, "defined again here")
                        .label(other.name.span, "first defined here")
                        .help("rename one of them"),
                );
            } else {
                functions.insert(f.name.name.clone(), at);
            }
        }
        let wanted: Vec<ast::Use> = ast
            .items
            .iter()
            .filter_map(|i| if let ItemKind::Use(u) = &i.kind { Some(u.clone()) } else { None })
            .collect();
        let shown = self.sources.file(file).name.trim_matches(['<', '>']).to_string();
        let stem = Path::new(&shown).file_stem().map_or(shown.clone(), |s| s.to_string_lossy().into_owned());
        let id = self.modules.list.push(Module {
            file,
            stem,
            ast,
            uses: HashMap::new(),
            names: HashMap::new(),
            functions,
            failed: HashSet::new(),
            lost,
        });
        self.by_key.insert(key, id);
        for item in wanted {
            self.use_item(id, &item);
        }
        id
    }

    fn use_item(&mut self, user: ModuleId, item: &ast::Use) {
        let (name, span, target) = match &item.from {
            UseFrom::Library(ident) => (ident.name.clone(), ident.span, self.library(ident)),
            UseFrom::File { path, span } => {
                let stem = Path::new(path).file_stem().map_or(path.clone(), |s| s.to_string_lossy().into_owned());
                (stem, *span, self.file(user, path, *span))
            }
        };
        let Some(target) = target else {
            let failed = &mut self.modules.list[user].failed;
            failed.extend(item.names.iter().map(|n| n.name.clone()));
            failed.insert(name);
            return;
        };
        if item.names.is_empty() {
            let before = self.modules.list[user].uses.insert(name.clone(), target);
            if before.is_some_and(|b| b != target) {
                self.diags.push(
                    Diagnostic::new(Code::E0204, format!("two modules are called `{name}`"))
                        .label(span, "used again under the same name")
                        .help("rename one of the files, or bring in single names: `use \"file.bayes\".{name}`"),
                );
            }
            return;
        }
        for wanted in &item.names {
            let there = &self.modules.list[target].functions;
            if there.contains_key(&wanted.name) {
                let entry = (target, wanted.name.clone());
                let own = &self.modules.list[user];
                let place = own.functions.get(&wanted.name).and_then(|&at| function_of(&own.ast.items[at].kind));
                let clash = match (place, own.names.get(&wanted.name)) {
                    (Some((_, f)), _) => Some(("defined here", Some(f.name.span))),
                    (None, Some(other)) if *other != entry => Some(("brought in before", None)),
                    _ => None,
                };
                if let Some((what, place)) = clash {
                    let mut d = Diagnostic::new(Code::E0204, format!("`{}` has two meanings", wanted.name))
                        .label(wanted.span, format!("from `{name}`"))
                        .help(format!("leave it out here and write `{name}.{}(…)` after `use {name}`", wanted.name));
                    match place {
                        Some(place) => d = d.label(place, what),
                        None => d = d.note(format!("another module's `{}` is {what}", wanted.name)),
                    }
                    self.diags.push(d);
                    continue;
                }
                self.modules.list[user].names.insert(wanted.name.clone(), entry);
            } else {
                let near = nearest(&wanted.name, there.keys().map(String::as_str)).map(str::to_string);
                let mut d = Diagnostic::new(Code::E0801, format!("`{name}` has no `{}`", wanted.name))
                    .label(wanted.span, "not found there")
                    .label(span, format!("looked for in `{name}`"));
                if let Some(near) = near {
                    d = d.help(format!("`{name}` has `{near}`")).fix(wanted.span, near);
                }
                self.diags.push(d);
                self.modules.list[user].failed.insert(wanted.name.clone());
            }
        }
    }

    fn library(&mut self, ident: &ast::Ident) -> Option<ModuleId> {
        let key = format!("<{}>", ident.name);
        if let Some(&id) = self.by_key.get(&key) {
            return Some(id);
        }
        let Some((_, text)) = LIBRARY.iter().find(|(n, _)| *n == ident.name) else {
            let names: Vec<&str> = LIBRARY.iter().map(|(n, _)| *n).collect();
            let mut d = Diagnostic::new(Code::E0801, format!("the standard library has no module `{}`", ident.name))
                .label(ident.span, "no such module");
            d = match nearest(&ident.name, names.iter().copied()) {
                Some(near) => d.help(format!("there is `{near}`")).fix(ident.span, near),
                None => {
                    d.help(format!("its modules are `{}`; a file is used as `use \"file.bayes\"`", names.join("`, `")))
                }
            };
            self.diags.push(d);
            return None;
        };
        let file = self.sources.add(key.clone(), None, *text);
        Some(self.module(file, key))
    }

    fn file(&mut self, user: ModuleId, path: &str, span: Span) -> Option<ModuleId> {
        let folder = self.sources.file(self.modules.list[user].file).folder().map(Path::to_path_buf);
        let (name, full, text) = match (self.loader)(path, folder.as_deref()) {
            Ok(found) => found,
            Err(reason) => {
                self.diags.push(
                    Diagnostic::new(Code::E0801, format!("cannot read `{path}`: {reason}"))
                        .label(span, "used here")
                        .help("the path is relative to the file that uses it"),
                );
                return None;
            }
        };
        let key = key_of(&full);
        if self.open.len() >= MAX_DEPTH {
            let d = Diagnostic::new(Code::E0802, format!("files use each other more than {MAX_DEPTH} deep"))
                .label(span, "one more here");
            self.diags.push(d.help("look for two names of one file that uses itself"));
            return None;
        }
        if let Some(at) = self.open.iter().position(|(k, _)| *k == key) {
            let mut d =
                Diagnostic::new(Code::E0802, format!("`{name}` uses itself")).label(span, "this closes the circle");
            for (_, place) in &self.open[at..] {
                d = d.label(*place, "by way of this");
            }
            self.diags.push(d.help("move what both need into a third file"));
            return None;
        }
        if let Some(&id) = self.by_key.get(&key) {
            if id == self.modules.root() {
                self.diags.push(
                    Diagnostic::new(Code::E0802, format!("`{name}` is the program itself"))
                        .label(span, "this closes the circle")
                        .help("move what both need into a third file"),
                );
                return None;
            }
            return Some(id);
        }
        self.open.push((key.clone(), span));
        let file = self.sources.add(name, Some(full), text);
        let id = self.module(file, key);
        self.open.pop();
        Some(id)
    }
}
