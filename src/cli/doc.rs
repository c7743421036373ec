//! `bayesc doc`: the reference of distributions, functions and the layers of the library.

use super::args::{Doc, Format};
use super::shell::{Exit, Shell, Stream, grid, wrap};
use crate::builtins::{self, FnDef};
use crate::check::modules::{LIBRARY, function_of};
use crate::diag::Diagnostics;
use crate::dist::wrappers::{self, WrapperDef};
use crate::dist::{self, DistDef, Reparam, SupportKind};
use crate::nearest::nearest;
use crate::source::Sources;
use crate::syntax::ast::{Parameter, ParameterKind};
use crate::syntax::parse::parse_module;
use crate::syntax::print::{print_expr, print_type};
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

/// One entry of the reference.
struct Entry {
    name: String,
    /// `distribution`, `function` or `layer`.
    kind: &'static str,
    signature: String,
    summary: String,
    /// Further lines: what, and the text.
    facts: Vec<(&'static str, String)>,
    example: Option<String>,
}

/// Prints one entry, or all names.
pub fn doc(args: &Doc, shell: &mut Shell) -> Result<(), Exit> {
    shell.json = args.format.format == Format::Json;
    let Some(name) = &args.name else { return list(shell) };
    let entries = find(name);
    if entries.is_empty() {
        let layers = layers();
        let wrapped = wrappers::TABLE.iter().map(|w| w.name);
        let names = dist::names().into_iter().chain(wrapped).chain(builtins::all().map(|f| f.name));
        let names = names.chain(layers.iter().map(|l| l.name.as_str()));
        let help = match nearest(name, names) {
            Some(near) => format!("there is `{near}`; `bayesc doc` lists everything"),
            None => "`bayesc doc` lists everything".into(),
        };
        let message = format!("no distribution, function or layer is called `{name}`");
        return Err(shell.fail_with_help(Exit::CommandLine, message, Some(&help)));
    }
    shell.set("entries", entries.iter().map(Entry::json).collect::<Value>());
    let text: Vec<String> = entries.iter().map(|e| e.text(&shell.out)).collect();
    shell.print(&text.join("\n"))
}

/// The entries called `name`; case matters only when it tells two apart.
fn find(name: &str) -> Vec<Entry> {
    let all = || {
        let rows = dist::rows().iter().map(|row| of_dist(row));
        let rows = rows.chain(wrappers::TABLE.iter().map(of_wrapper));
        rows.chain(builtins::all().map(of_function)).chain(layers()).collect::<Vec<_>>()
    };
    let named = |test: &dyn Fn(&Entry) -> bool| -> Vec<Entry> { all().into_iter().filter(|e| test(e)).collect() };
    let exact = named(&|e| e.name == name || (e.kind == "layer" && e.name.rsplit('.').next() == Some(name)));
    if exact.is_empty() { named(&|e| e.name.eq_ignore_ascii_case(name)) } else { exact }
}

fn of_dist(row: &DistDef) -> Entry {
    let parameter = |p: &dist::ParamDef| {
        let rank = ["", "a vector, ", "a matrix, "][p.event_rank.min(2)];
        // Supports that say what kind of array they are need no rank.
        let rank = if p.support.event_rank() > 0 { "" } else { rank };
        let default = p.default.map_or(String::new(), |d| format!(" (default {d})"));
        format!("{}: {rank}{}{default}", p.name, p.support.words())
    };
    let mut facts: Vec<(&'static str, String)> = row.arguments().iter().map(|p| ("parameter", parameter(p))).collect();
    facts.push(("draws", format!("{}{}", row.support.words(), if row.is_discrete() { " (int)" } else { "" })));
    facts.push(("log density", row.formula.to_string()));
    facts.push((
        "gradient",
        match row.rsample {
            Reparam::Noise(_) | Reparam::CostlyNoise(_) => "draws are a smooth function of the parameters",
            Reparam::Implicit(_) => "implicit reparameterization (arXiv:1805.08498)",
            Reparam::None if !row.is_proper() => "improper: a prior that cannot be drawn from",
            Reparam::None if row.is_discrete() => "none: discrete draws are for data and `generate`",
            Reparam::None => "none",
        }
        .to_string(),
    ));
    let known = [
        ("mean", row.mean.is_some()),
        ("variance", row.variance.is_some()),
        ("entropy", row.entropy.is_some()),
        ("cdf", row.cdf.is_some()),
        ("quantiles", row.icdf.is_some()),
    ];
    let known: Vec<&str> = known.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
    if !known.is_empty() {
        facts.push(("closed forms", known.join(", ")));
    }
    if !row.kl.is_empty() {
        // Variants by other parameters have one name.
        let mut names: Vec<&str> = row.kl.iter().map(|(id, _)| dist::get(*id).name).collect();
        names.dedup();
        facts.push(("closed KL to", names.join(", ")));
    }
    let names: Vec<&str> = row.arguments().iter().map(|p| p.name).collect();
    Entry {
        name: row.name.into(),
        kind: "distribution",
        signature: format!("{}({})", row.name, names.join(", ")),
        summary: row.summary.into(),
        facts,
        example: None,
    }
}

fn of_wrapper(w: &WrapperDef) -> Entry {
    let parameter = |&(name, words, optional): &(&str, &str, bool)| {
        format!("{name}: {words}{}", if optional { " (optional)" } else { "" })
    };
    let mut facts: Vec<(&'static str, String)> = w.params.iter().map(|p| ("parameter", parameter(p))).collect();
    facts.push(("log density", w.formula.to_string()));
    Entry {
        name: w.name.into(),
        kind: "distribution",
        signature: w.signature.into(),
        summary: w.summary.into(),
        facts,
        example: Some(w.example.into()),
    }
}

fn of_function(f: &FnDef) -> Entry {
    let optional: Vec<&str> = f.params.iter().filter(|p| !p.required).map(|p| p.name).collect();
    let mut facts = Vec::new();
    if !optional.is_empty() {
        facts.push(("optional", optional.join(", ")));
    }
    Entry {
        name: f.name.into(),
        kind: "function",
        signature: f.signature.into(),
        summary: f.doc.into(),
        facts,
        example: None,
    }
}

/// The function-like items of the standard library.
fn layers() -> Vec<Entry> {
    let mut entries = Vec::new();
    for (module, text) in LIBRARY {
        let file = Sources::default().add(format!("<{module}>"), None, *text);
        let ast = parse_module(file, text, &mut Diagnostics::new());
        for item in &ast.items {
            let Some((kind, function)) = function_of(&item.kind) else { continue };
            let name = format!("{module}.{}", function.name.name);
            let params: Vec<String> = function.params.iter().map(parameter_text).collect();
            let operator = if kind == "model" { "~" } else { "=" };
            let required: Vec<String> = function
                .params
                .iter()
                .filter(|p| p.default.is_none())
                .map(|p| match p.kind {
                    ParameterKind::Size(_) => "16".into(),
                    _ => p.name.name.clone(),
                })
                .collect();
            entries.push(Entry {
                signature: format!("{name}({})", params.join(", ")),
                kind: "layer",
                summary: item.doc.as_deref().unwrap_or("").split_whitespace().collect::<Vec<_>>().join(" "),
                facts: Vec::new(),
                example: Some(format!("use {module}\nh {operator} {name}({})", required.join(", "))),
                name,
            });
        }
    }
    entries
}

fn parameter_text(p: &Parameter) -> String {
    let kind = match &p.kind {
        ParameterKind::Value(ty) => print_type(ty),
        ParameterKind::Size(_) => "size".into(),
        ParameterKind::Shape(_) => "shape".into(),
        ParameterKind::Dist(_) => "dist".into(),
        ParameterKind::Option(_) => "option".into(),
    };
    let default = p.default.as_ref().map_or(String::new(), |d| format!(" = {}", print_expr(d)));
    format!("{}: {kind}{default}", p.name.name)
}

impl Entry {
    fn text(&self, stream: &Stream) -> String {
        let width = stream.width.min(100);
        let kind = stream.paint(Style::new().dimmed(), self.kind);
        let mut out = String::new();
        for (i, line) in wrap(&self.signature, width.saturating_sub(self.kind.len() + 2)).iter().enumerate() {
            let signature = stream.paint(Style::new().bold(), line);
            out += &if i == 0 { format!("{signature}  {kind}\n") } else { format!("  {signature}\n") };
        }
        for line in wrap(&self.summary, width - 2) {
            out += &format!("  {line}\n");
        }
        let rows: Vec<Vec<String>> =
            self.facts.iter().map(|(name, text)| vec![String::new(), name.to_string(), text.clone()]).collect();
        if !rows.is_empty() {
            out += &grid(&["", "", ""], &rows, stream);
        }
        for line in self.example.iter().flat_map(|e| e.lines()) {
            out += &format!("    {}\n", stream.paint(AnsiColor::Cyan.on_default(), line));
        }
        out
    }
    fn json(&self) -> Value {
        let facts: Vec<Value> = self.facts.iter().map(|(name, text)| json!({ "name": name, "text": text })).collect();
        json!({
            "name": self.name,
            "kind": self.kind,
            "signature": self.signature,
            "summary": self.summary,
            "facts": facts,
        })
    }
}

/// The group that a distribution is listed in.
fn group(row: &DistDef) -> &'static str {
    match row.support {
        _ if row.event_rank > 0 => "vectors",
        _ if row.is_discrete() => "discrete",
        SupportKind::Real => "the real line",
        SupportKind::UnitInterval | SupportKind::Interval => "intervals",
        _ => "positive numbers",
    }
}

fn list(shell: &mut Shell) -> Result<(), Exit> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    let mut add = |title: String, name: String| match groups.iter_mut().find(|(t, _)| *t == title) {
        Some((_, names)) if names.contains(&name) => {}
        Some((_, names)) => names.push(name),
        None => groups.push((title, vec![name])),
    };
    for row in dist::rows() {
        add(format!("distributions: {}", group(row)), row.name.into());
    }
    for w in wrappers::TABLE {
        add("distributions: of distributions".into(), w.name.into());
    }
    let families: [(&str, &[&FnDef]); 5] = [
        ("functions: elementwise", builtins::elementwise::ROWS),
        ("functions: reductions", builtins::reduce::ROWS),
        ("functions: shapes", builtins::shape::ROWS),
        ("functions: linear algebra", builtins::linalg::ROWS),
        ("functions: neural networks", builtins::nn::ROWS),
    ];
    for (title, rows) in families {
        for f in rows {
            let is_operator =
                !f.name.starts_with(|c: char| c.is_alphabetic()) || matches!(f.name, "and" | "or" | "not");
            add(if is_operator { "operators".into() } else { title.into() }, f.name.into());
        }
    }
    for layer in layers() {
        add("layers of the library".into(), layer.name);
    }
    shell.set("groups", groups.iter().map(|(t, names)| json!({ "title": t, "names": names })).collect::<Value>());
    let width = shell.out.width.min(100);
    let mut text = String::new();
    for (title, names) in &groups {
        text += &shell.out.paint(Style::new().bold(), title);
        text.push('\n');
        for line in wrap(&names.join(" "), width - 2) {
            text += &format!("  {line}\n");
        }
    }
    text += "\n`bayesc doc NAME` tells more about one of them\n";
    shell.print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_an_entry() {
        let stream = Stream { color: false, ascii: true, width: 80, terminal: false };
        let wrapped = wrappers::TABLE.iter().map(|w| w.name);
        for name in dist::names().into_iter().chain(wrapped).chain(builtins::all().map(|f| f.name)) {
            let entries = find(name);
            assert!(!entries.is_empty(), "{name}");
            assert!(entries.iter().all(|e| e.text(&stream).starts_with(&e.signature[..1])), "{name}");
        }
    }

    #[test]
    fn forms_stand_together_and_layers_are_found_without_their_module() {
        let signatures: Vec<String> = find("Bernoulli").into_iter().map(|e| e.signature).collect();
        assert_eq!(signatures, ["Bernoulli(probs)", "Bernoulli(logits)"]);
        assert!(find("normal").iter().any(|e| e.name == "Normal"));
        let dense = find("dense");
        assert!(
            dense
                .iter()
                .any(|e| e.name == "bnn.dense" && e.example.as_deref() == Some("use bnn\nh ~ bnn.dense(x, 16)"))
        );
    }
}
