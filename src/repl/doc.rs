//! What is known about a name: distributions, functions, library modules, and what the program defines.

use super::commands;
use super::state::{Checked, Program};
use crate::check::modules::{LIBRARY, Module, function_of};
use crate::dist::{self, DistDef, Reparam, wrappers};
use crate::index::Idx;
use crate::source::FileId;
use crate::syntax::ast::{self, Expr, ExprKind, ParameterKind, Return};
use crate::syntax::lexer::{TokenKind, tokenize};
use crate::{builtins, data};

/// What a reader of files gives, by the name of its format.
const READERS: &[(&str, &str)] = &[
    ("csv", "A table; `csv(\"d.csv\").price` is a column."),
    ("json", "A JSON document; `json(\"d.json\").y` is an entry."),
    ("npy", "The array of a NumPy file."),
    ("npz", "The arrays of a NumPy archive; `npz(\"d.npz\").x` is one."),
    ("idx", "The array of an IDX file, gzipped or not."),
    (
        "images",
        "The PNG images that a pattern such as `dir/*/*.png` names, as one array; `.label` and `.class` of folders.",
    ),
    ("parquet", "A column of a Parquet file; needs a bayesc that was built with the feature `parquet`."),
    ("safetensors", "The tensors of a file; `safetensors(\"d.safetensors\").w` is one."),
];

/// Whether an expression is a distribution rather than a value.
pub fn is_distribution(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Call { callee, .. } => matches!(&callee.kind, ExprKind::Name(n) if is_family(n)),
        ExprKind::Paren(inner) => is_distribution(inner),
        _ => false,
    }
}

/// Whether `name` is a family of distributions.
pub fn is_family(name: &str) -> bool {
    dist::names().contains(&name) || wrappers::get(name).is_some()
}

/// The names of all families.
pub fn families() -> impl Iterator<Item = &'static str> {
    dist::names().into_iter().chain(wrappers::TABLE.iter().map(|w| w.name))
}

/// The names of all functions that can be called, those of data expressions too.
pub fn functions() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = builtins::all().map(|f| f.name).chain(data::functions::names()).collect();
    // Operators have rows too.
    names.retain(|name| matches!(tokenize(name).as_slice(), [token] if token.kind == TokenKind::Name));
    names.sort_unstable();
    names.dedup();
    names
}

/// `Gamma(concentration, rate)`
fn dist_signature(row: &DistDef) -> String {
    let params: Vec<String> =
        row.arguments().iter().map(|p| p.default.map_or(p.name.to_string(), |d| format!("{} = {d}", p.name))).collect();
    format!("{}({})", row.name, params.join(", "))
}

/// Every signature of the distribution or function `name`, the usual one first.
pub fn signatures(name: &str) -> Vec<String> {
    let rows = dist::forms(name).into_iter().map(|id| dist_signature(dist::get(id)));
    let wrappers = wrappers::get(name).into_iter().map(|w| w.signature.to_string());
    let functions = builtins::get(name).map(|f| f.signature.to_string());
    let mut out: Vec<String> = rows.chain(wrappers).chain(functions).collect();
    if out.is_empty() {
        out.extend(data::functions::find(name).map(data_signature));
        out.extend(READERS.iter().find(|(reader, _)| *reader == name).map(|(reader, _)| format!("{reader}(path)")));
    }
    out
}

fn data_signature(f: &data::call::Function) -> String {
    let mut params: Vec<String> = f.params.iter().map(|p| p.to_string()).collect();
    if f.variadic {
        params.push("…".into());
    }
    format!("{}({})", f.name, params.join(", "))
}

/// `conv2d(x: real[B, C, H, W], out: size, …)`
fn function_signature(prefix: &str, f: &ast::Function) -> String {
    let params: Vec<String> = f
        .params
        .iter()
        .map(|p| {
            let kind = match &p.kind {
                ParameterKind::Value(ty) => crate::syntax::print_type(ty),
                ParameterKind::Size(_) => "size".into(),
                ParameterKind::Shape(_) => "shape".into(),
                ParameterKind::Dist(_) => "dist".into(),
                ParameterKind::Option(_) => "option".into(),
            };
            let default = p.default.as_ref().map_or(String::new(), |d| format!(" = {}", crate::syntax::print_expr(d)));
            format!("{}: {kind}{default}", p.name.name)
        })
        .collect();
    let ret = match &f.ret {
        Some(Return::One(ty)) => format!(" -> {}", crate::syntax::print_type(ty)),
        Some(Return::Tuple(types, _)) => {
            format!(" -> ({})", types.iter().map(crate::syntax::print_type).collect::<Vec<_>>().join(", "))
        }
        None => String::new(),
    };
    format!("{prefix}{}({}){ret}", f.name.name, params.join(", "))
}

/// The functions, layers, nets and submodels that the program can call, as `(name, signature)`.
pub fn own_signatures(checked: &Checked) -> Vec<(String, String)> {
    let modules = &checked.compilation.modules;
    let mut out = Vec::new();
    let Some((_, root)) = modules.iter().next() else { return out };
    let mut add = |module: &Module, prefix: &str| {
        for item in &module.ast.items {
            if let Some((_, f)) = function_of(&item.kind) {
                out.push((format!("{prefix}{}", f.name.name), function_signature(prefix, f)));
            }
        }
    };
    add(root, "");
    for (name, &id) in &root.uses {
        add(modules.get(id), &format!("{name}."));
    }
    out.sort();
    out
}

/// Everything known about `name`; `None` when that is nothing.
pub fn describe(name: &str, checked: &Checked) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(command(name));
    parts.extend(in_program(name, &checked.program, checked));
    parts.extend(distribution(name));
    parts.extend(function(name));
    parts.extend(own_function(name, checked));
    parts.extend(library(name));
    (!parts.is_empty()).then(|| parts.join("\n"))
}

fn command(name: &str) -> Option<String> {
    let name = name.strip_prefix(':')?;
    let command = commands::find(name).ok()?;
    Some(format!(":{} {}\n  {}\n", command.name, command.arguments, command.help))
}

fn distribution(name: &str) -> Option<String> {
    if let Some(wrapper) = wrappers::get(name) {
        let mut rows: Vec<(&str, String)> = wrapper.params.iter().map(|p| (p.0, p.1.to_string())).collect();
        rows.push(("density", wrapper.formula.to_string()));
        rows.push(("example", wrapper.example.to_string()));
        return Some(format!("{}\n  {}\n{}", wrapper.signature, wrapper.summary, listed(&rows)));
    }
    let forms = dist::forms(name);
    let first = dist::get(*forms.first()?);
    let mut out = String::new();
    for &id in &forms {
        out.push_str(&dist_signature(dist::get(id)));
        out.push('\n');
    }
    out.push_str(&format!("  {}\n", first.summary));
    let mut rows: Vec<(&str, String)> = Vec::new();
    for &id in &forms {
        for param in dist::get(id).arguments() {
            if !rows.iter().any(|(name, _)| *name == param.name) {
                let rank = ["", "vector, ", "matrix, "][param.event_rank.min(2)];
                rows.push((param.name, format!("{rank}{}", param.support.words())));
            }
        }
    }
    rows.push((
        "draws",
        format!("{}{}", if first.is_discrete() { "whole numbers, " } else { "" }, first.support.words()),
    ));
    rows.push(("density", first.formula.to_string()));
    rows.push((
        "gradient",
        match first.rsample {
            Reparam::None => "draws carry none",
            Reparam::Noise(_) | Reparam::CostlyNoise(_) => "through the noise of a draw",
            Reparam::Implicit(_) => "implicit, through the cdf",
        }
        .to_string(),
    ));
    out.push_str(&listed(&rows));
    Some(out)
}

/// Names in a column, with their texts.
fn listed(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, text)| format!("  {name:width$}  {text}\n")).collect()
}

fn function(name: &str) -> Option<String> {
    if let Some(f) = builtins::get(name) {
        return Some(format!("{}\n  {}\n", f.signature, f.doc));
    }
    if let Some((_, doc)) = READERS.iter().find(|(reader, _)| *reader == name) {
        return Some(format!("{name}(path)\n  {doc}\n"));
    }
    let f = data::functions::find(name)?;
    Some(format!("{}\n  A function of data expressions.\n", data_signature(f)))
}

fn own_function(name: &str, checked: &Checked) -> Option<String> {
    let modules = &checked.compilation.modules;
    let (_, root) = modules.iter().next()?;
    let (prefix, module, own) = match name.split_once('.') {
        Some((module, own)) => (format!("{module}."), modules.get(*root.uses.get(module)?), own),
        None => (String::new(), root, name),
    };
    documented(&prefix, &module.ast, own)
}

fn documented(prefix: &str, module: &ast::Module, name: &str) -> Option<String> {
    let found = module.items.iter().find_map(|item| {
        function_of(&item.kind).filter(|(_, f)| f.name.name == name).map(|(word, f)| (word, f, item.doc.as_deref()))
    });
    let (word, f, doc) = found?;
    Some(format!("{word} {}\n{}", function_signature(prefix, f), indented(doc.unwrap_or(""))))
}

/// A module of the standard library, or one function of it, also where it is not used yet.
fn library(name: &str) -> Option<String> {
    let (module, own) = name.split_once('.').map_or((name, None), |(m, own)| (m, Some(own)));
    let (_, text) = LIBRARY.iter().find(|(n, _)| *n == module)?;
    let mut diags = crate::diag::Diagnostics::new();
    let ast = crate::syntax::parse_module(FileId::new(0), text, &mut diags);
    if let Some(own) = own {
        return documented(&format!("{module}."), &ast, own);
    }
    let mut out = format!("use {module}\n{}", indented(ast.doc.as_deref().unwrap_or("")));
    for item in &ast.items {
        if let Some((_, f)) = function_of(&item.kind) {
            let doc = item.doc.as_deref().and_then(|d| d.lines().next()).unwrap_or("");
            out.push_str(&format!("  {module}.{}  {doc}\n", f.name.name));
        }
    }
    Some(out)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// What the program says about `name`: the line that defines it, its type and support.
fn in_program(name: &str, program: &Program, checked: &Checked) -> Option<String> {
    let mut out = String::new();
    for piece in program.pieces.iter().filter(|p| p.defines.iter().any(|d| d == name)) {
        if !matches!(piece.key, super::state::Key::Function(_)) {
            out.push_str(&piece.dedented());
            out.push('\n');
        }
    }
    let typed = &checked.compilation.program;
    if let Some(site) = typed.model.iter().flat_map(|m| m.sites.iter()).find(|s| s.name == name) {
        if out.is_empty() {
            out.push_str(&format!("{name} ~ {}\n", site.dist.name()));
            out.push_str(&indented(site.doc.as_deref().unwrap_or("")));
        }
        out.push_str(&format!("  {}, a latent site: {}\n", type_text(typed, &site.ty), site.dist.support().words()));
    } else if let Some(id) = typed.data_named(name) {
        out.push_str(&format!("  {}, data\n", type_text(typed, &typed.data[id].ty)));
    }
    (!out.is_empty()).then_some(out)
}

/// `real[J, 3]`
pub fn type_text(program: &crate::check::typed::Program, ty: &crate::check::typed::Ty) -> String {
    let elem = match ty.elem {
        ast::Elem::Real => "real",
        ast::Elem::Int => "int",
        ast::Elem::Bool => "bool",
    };
    if ty.shape.is_empty() { elem.to_string() } else { format!("{elem}{}", program.shape_text(&ty.shape)) }
}

/// The known name closest to a misspelt one.
pub fn nearest(name: &str, checked: &Checked) -> Option<String> {
    let own = checked.program.pieces.iter().flat_map(|p| p.defines.iter().cloned());
    let names: Vec<String> =
        own.chain(families().map(String::from)).chain(functions().into_iter().map(String::from)).collect();
    crate::nearest::nearest(name, names.iter().map(String::as_str)).map(str::to_string)
}
