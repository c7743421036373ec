//! The pages that are made from the tables: distributions, functions, the library, the messages.

use crate::examples::{self, Example};
use crate::plots;
use bayesc::builtins::{self, FnDef, Rows};
use bayesc::check::modules::{LIBRARY, function_of};
use bayesc::diag::{Code, Diagnostics};
use bayesc::dist::wrappers::TABLE;
use bayesc::dist::{self, DistDef, DistId, Reparam, SupportKind};
use bayesc::driver::{Options, compile_text};
use bayesc::index::Idx;
use bayesc::source::FileId;
use bayesc::syntax::ast::{Function, Item, Parameter, ParameterKind, Return};
use bayesc::syntax::{parse_module, print_expr, print_type};
use std::fmt::Write;

const MADE: &str =
    "<!-- Made from the tables of the compiler; `BAYESC_BLESS=1 cargo test --test docs` writes it anew. -->\n\n";

/// Every generated file: its path below `docs/`, its content.
pub fn pages() -> Vec<(String, String)> {
    let mut pages = distributions();
    pages.extend(functions());
    pages.extend(library());
    pages.extend(messages());
    pages
}

// ---- distributions

/// The families: file, title, what is said first.
const FAMILIES: [(&str, &str, &str); 6] = [
    ("real-line", "The real line", "Distributions of one real number without bounds."),
    (
        "positive",
        "Positive numbers",
        "Distributions of one number above 0 (or above a bound). In unconstrained space such a site is its logarithm.",
    ),
    (
        "intervals",
        "Intervals",
        "Distributions of one number between two ends. In unconstrained space such a site is the logit of its place \
         between them.",
    ),
    ("discrete", "Counts and classes", "Distributions of one whole number."),
    ("vectors", "Vectors", "Distributions whose draws are vectors: the last dimension belongs to one draw."),
    ("matrices", "Matrices", "Distributions whose draws are matrices: the last two dimensions belong to one draw."),
];

fn family(row: &DistDef) -> &'static str {
    match row.support {
        _ if row.event_rank > 1 => "matrices",
        _ if row.event_rank == 1 => "vectors",
        _ if row.is_discrete() => "discrete",
        SupportKind::Real => "real-line",
        SupportKind::UnitInterval | SupportKind::Interval => "intervals",
        _ => "positive",
    }
}

fn distributions() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let mut index = format!(
        "# Distributions\n\n{MADE}Every distribution of the language, by what its draws look like. `bayesc doc Gamma` shows the \
         same in the terminal.\n\n\
         All arguments may be given by position or by name. Words such as `probs`, `logits`, `log_rate`, `cov`, `scale_tril` and \
         `precision` choose a form and are best given by name; a first argument without a name means the form that is listed \
         first. Parameters broadcast from the right over batch dimensions; vector and matrix parameters have their own \
         dimensions last.\n\nIn formulas, `ln` is the natural logarithm and log densities are in nats. *Gradient* says whether a \
         draw can carry the gradient of its parameters, which a guide needs: *yes* for a smooth function of parameters and noise, \
         *implicit* for implicit reparameterization (Figurnov et al. 2018), *no* for families that serve as priors, likelihoods \
         and in `generate` only.\n"
    );
    for (file, title, intro) in FAMILIES {
        let names: Vec<&str> =
            dist::names().into_iter().filter(|n| family(dist::get(dist::forms(n)[0])) == file).collect();
        if names.is_empty() {
            continue;
        }
        let _ = write!(index, "\n## {title}\n\n| distribution | what it is |\n|---|---|\n");
        let mut page = format!("# {title}\n\n{MADE}{intro}\n");
        for name in names {
            let row = dist::get(dist::forms(name)[0]);
            let _ = writeln!(index, "| [`{name}`]({file}.md#{}) | {} |", name.to_lowercase(), row.summary);
            page += &distribution(name, &mut pages);
        }
        pages.push((format!("reference/distributions/{file}.md"), page));
    }
    let (rows, page) = wrappers();
    index += &rows;
    pages.push(("reference/distributions/wrappers.md".into(), page));
    pages.push(("reference/distributions/README.md".into(), index));
    pages
}

/// Distributions made of others, and their page.
fn wrappers() -> (String, String) {
    let mut index = "\n## Made of others\n\n| distribution | what it is |\n|---|---|\n".to_string();
    let mut page = format!(
        "# Made of others\n\n{MADE}Distributions that take distributions as arguments. [A chapter](../../language/wrappers.md) \
         says when to use which. In the formulas, D is the log density (or mass) of the distribution inside.\n"
    );
    for w in TABLE {
        let _ = writeln!(index, "| [`{}`](wrappers.md#{}) | {} |", w.signature, w.name.to_lowercase(), w.summary);
        let _ = write!(
            page,
            "\n## {}\n\n{}\n\n**`{}`**\n\n| argument | must be |\n|---|---|\n",
            w.name, w.summary, w.signature
        );
        for (name, must, optional) in w.params {
            let _ = writeln!(page, "| `{name}` | {must}{} |", if *optional { "; may be left out" } else { "" });
        }
        let _ = write!(page, "\nThe log density at x:\n\n```text\n{}\n```\n", w.formula);
        if let Some(example) = examples::of(w.name) {
            if !example.mean.is_empty() {
                let _ = write!(page, "\n- mean: {}\n", example.mean);
            }
            let _ = write!(page, "\n```bayes\n{}```\n", example.program);
        }
    }
    (index, page)
}

fn distribution(name: &str, pages: &mut Vec<(String, String)>) -> String {
    let forms = dist::forms(name);
    let first = dist::get(forms[0]);
    let example = examples::of(name);
    let mut out = format!("\n## {name}\n\n{}.\n", first.summary.trim_end_matches('.'));
    if let Some(example) = example.filter(|e| !e.curves.is_empty()) {
        let plot = format!("plots/{}.svg", name.to_lowercase());
        let what = if first.is_discrete() { "mass" } else { "density" };
        let _ = write!(out, "\n![The {what} of {name}]({plot})\n");
        pages.push((format!("reference/distributions/{plot}"), plots::svg(forms[0], example)));
    }
    for &id in &forms {
        out += &form(id, dist::get(id));
    }
    out += &facts(forms[0], first, example);
    if let Some(example) = example {
        let _ = write!(out, "\n```bayes\n{}```\n", example.program);
    }
    out
}

fn form(id: DistId, row: &DistDef) -> String {
    let names: Vec<&str> = row.arguments().iter().map(|p| p.name).collect();
    let mut out = format!("\n**`{}({})`**\n", row.name, names.join(", "));
    if !row.arguments().is_empty() {
        out += "\n| parameter | must be |\n|---|---|\n";
        for p in row.arguments() {
            let rank = ["", "a vector, ", "a matrix, "][p.event_rank.min(2)];
            let rank = if p.support.event_rank() > 0 { "" } else { rank };
            let default = p.default.map_or(String::new(), |d| format!(" (default {})", plots::number(d)));
            let _ = writeln!(out, "| `{}` | {rank}{}{default} |", p.name, p.support.words());
        }
    }
    let (known, what) = (dist::get(id).formula, if row.is_discrete() { "log mass" } else { "log density" });
    let _ = write!(out, "\nThe {what} at x:\n\n```text\n{known}\n```\n");
    out
}

fn facts(id: DistId, row: &DistDef, example: Option<&Example>) -> String {
    let mut out = String::from("\n");
    let _ = writeln!(out, "- draws: {}{}", row.support.words(), if row.is_discrete() { " (int)" } else { "" });
    if let Some(example) = example {
        for (what, text) in [("mean", example.mean), ("variance", example.variance)] {
            if !text.is_empty() {
                let _ = writeln!(out, "- {what}: {text}");
            }
        }
        for params in example.curves {
            if let Some((mean, sd)) = plots::moments(id, params).filter(|_| row.probs.is_none()) {
                let numbers = format!("mean {}, standard deviation {}", plots::number(mean), plots::number(sd));
                let _ = writeln!(out, "- at {}: {numbers}", plots::legend(id, params));
            }
        }
    }
    let gradient = match row.rsample {
        Reparam::Noise(_) | Reparam::CostlyNoise(_) => "yes, a draw is a smooth function of its parameters",
        Reparam::Implicit(_) => "implicit",
        Reparam::None if !row.is_proper() => "none: an improper prior, which cannot be drawn from",
        Reparam::None => "no",
    };
    let _ = writeln!(out, "- gradient: {gradient}");
    let known = [
        ("entropy", row.entropy.is_some()),
        ("distribution function", row.cdf.is_some()),
        ("quantiles", row.icdf.is_some()),
    ];
    let known: Vec<&str> = known.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
    if !known.is_empty() {
        let _ = writeln!(out, "- in closed form: {}", known.join(", "));
    }
    if !row.kl.is_empty() {
        let names: Vec<&str> = row.kl.iter().map(|(id, _)| dist::get(*id).name).collect();
        let _ = writeln!(out, "- closed KL divergence to: {}", names.join(", "));
    }
    out
}

// ---- functions

fn functions() -> Vec<(String, String)> {
    let families: [(&str, &str, &str, &[&FnDef]); 5] = [
        (
            "elementwise",
            "Operators and elementwise functions",
            "They work element by element and broadcast: from the right, name by name; a dimension of the literal size 1 \
             stretches.",
            builtins::elementwise::ROWS,
        ),
        (
            "reductions",
            "Reductions",
            "They run over dimensions that are named: `over = K`, `over = (H, W)`, `over = all`, or `axis = -1` where a name \
             stands twice. For vectors this may be left out.",
            builtins::reduce::ROWS,
        ),
        ("shapes", "Shapes", "They make arrays and change their shapes.", builtins::shape::ROWS),
        (
            "linear-algebra",
            "Linear algebra",
            "Leading dimensions are batches: a matrix function of `[B, N, N]` works on each of `B` matrices.",
            builtins::linalg::ROWS,
        ),
        (
            "networks",
            "Networks",
            "The primitives of layers. Weights may be data, a `param`, or a site with any prior and any guide.",
            builtins::nn::ROWS,
        ),
    ];
    let mut pages = Vec::new();
    let mut index = format!(
        "# Functions\n\n{MADE}Every function of the language. `bayesc doc softmax` shows one in the terminal. *Minibatches* says \
         what a function does to rows of a size that `minibatch` subsamples, as [the chapter on \
         inference](../../language/inference.md) explains.\n"
    );
    for (file, title, intro, rows) in families {
        let mut page = format!("# {title}\n\n{MADE}{intro}\n");
        let _ = write!(index, "\n## {title}\n\n| function | what it computes |\n|---|---|\n");
        let mut seen: Vec<&str> = Vec::new();
        for f in rows {
            let is_word = f.name.starts_with(|c: char| c.is_alphabetic());
            let cell = f.signature.replace('|', "\\|");
            let _ = writeln!(index, "| [`{cell}`]({file}.md) | {} |", f.doc.replace('|', "\\|"));
            if is_word && !seen.contains(&f.name) {
                let _ = write!(page, "\n## {}\n", f.name);
            } else if !is_word {
                let _ = write!(page, "\n## `{}`\n", f.signature);
            }
            seen.push(f.name);
            page += &function(f);
        }
        pages.push((format!("reference/functions/{file}.md"), page));
    }
    pages.push(("reference/functions/README.md".into(), index));
    pages
}

fn function(f: &FnDef) -> String {
    let mut out = format!("\n**`{}`**\n\n{}\n", f.signature, f.doc);
    let optional: Vec<String> = f.params.iter().filter(|p| !p.required).map(|p| format!("`{}`", p.name)).collect();
    if !optional.is_empty() {
        let _ = write!(out, "\nMay be left out: {}.\n", optional.join(", "));
    }
    let rows = match f.rows {
        Rows::Elementwise => "row by row",
        Rows::ReducesAxes => "row by row, unless it runs over the subsampled size",
        Rows::Leading => "row by row in the first dimension of the first argument",
        Rows::MatMul => "row by row in the first dimension of the left side, or in common batch dimensions",
        Rows::Mixes => "needs all rows, so it may not see subsampled ones (E0704)",
    };
    let _ = write!(out, "\nMinibatches: {rows}.\n");
    out
}

// ---- the library

fn library() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let mut index = format!(
        "# The library\n\n{MADE}Modules that are written in the language itself and compiled into `bayesc`. `use bnn` brings the \
         module, `use bnn.{{dense}}` one of its names.\n\n| module | what it holds |\n|---|---|\n"
    );
    for (module, text) in LIBRARY {
        let ast = parse_module(FileId::new(0), text, &mut Diagnostics::new());
        let doc = ast.doc.clone().unwrap_or_default();
        let first = doc.split("\n\n").next().unwrap_or("").replace('\n', " ");
        let _ = writeln!(index, "| [`{module}`]({module}.md) | {first} |");
        let mut page = format!("# {module}\n\n{MADE}{doc}\n");
        for item in &ast.items {
            if let Some((kind, function)) = function_of(&item.kind) {
                page += &library_item(module, kind, function, item);
            }
        }
        pages.push((format!("reference/library/{module}.md"), page));
    }
    pages.push(("reference/library/README.md".into(), index));
    pages
}

fn library_item(module: &str, kind: &str, function: &Function, item: &Item) -> String {
    let what = match kind {
        "model" => "submodel",
        "fn" => "function",
        other => other,
    };
    let mut out = format!("\n## {module}.{}\n\n*{what}*\n\n```text\n", function.name.name);
    let params: Vec<String> = function.params.iter().map(parameter).collect();
    let ret = match &function.ret {
        Some(Return::One(ty)) => format!(" -> {}", print_type(ty)),
        Some(Return::Tuple(types, _)) => {
            format!(" -> ({})", types.iter().map(print_type).collect::<Vec<_>>().join(", "))
        }
        None => String::new(),
    };
    let head = format!("{module}.{}({}){ret}", function.name.name, params.join(", "));
    if head.chars().count() <= 90 {
        out += &head;
    } else {
        let _ = write!(out, "{module}.{}(\n  {}\n){ret}", function.name.name, params.join(",\n  "));
    }
    out += "\n```\n";
    if let Some(doc) = &item.doc {
        let _ = write!(out, "\n{doc}\n");
    }
    out
}

fn parameter(p: &Parameter) -> String {
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

// ---- messages

/// The first three characters of codes, file, title.
const RANGES: [(&str, &str, &str); 11] = [
    ("E01", "syntax", "Syntax"),
    ("E02", "names", "Names"),
    ("E03", "sizes", "Sizes and shapes"),
    ("E04", "types", "Types and values"),
    ("E05", "distributions", "Distributions and sites"),
    ("E06", "guides", "Guides"),
    ("E07", "settings", "Settings of inference"),
    ("E08", "modules", "Modules and items"),
    ("E09", "data", "Data and files"),
    ("E10", "runs", "Runs"),
    ("W0", "warnings", "Warnings"),
];

fn messages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let mut index = format!(
        "# Messages\n\n{MADE}Every message of the compiler has a code, and every code a page with a wrong and a repaired program. \
         `bayesc explain E0301` shows it in the terminal.\n"
    );
    let mut told = 0;
    for (prefix, file, title) in RANGES {
        let codes: Vec<Code> = Code::ALL.iter().copied().filter(|c| c.name().starts_with(prefix)).collect();
        let _ = write!(index, "\n## {title}\n\n");
        let mut page = format!("# {title}\n\n{MADE}");
        for code in codes {
            told += 1;
            let heading = code.page().lines().next().unwrap_or("").trim_start_matches("# ");
            let anchor: String = heading
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect();
            let _ = writeln!(index, "- [{}]({file}.md#{anchor}) {}", code.name(), code.title());
            page += &message(code);
        }
        pages.push((format!("diagnostics/{file}.md"), page));
    }
    assert_eq!(told, Code::ALL.len(), "a code stands in no range of tests/docs/generate.rs");
    pages.push(("diagnostics/README.md".into(), index));
    pages
}

/// The page of a code one level down, its programs marked by whether they are right.
fn message(code: Code) -> String {
    let mut out = String::new();
    let mut program: Option<String> = None;
    for line in code.page().lines() {
        if let Some(text) = &mut program {
            if line.starts_with("```") {
                let compiled = compile_text(text, &Options::default());
                let right = compiled.diags.is_empty();
                // What only data can show is no program that checks alone, nor one that is wrong by itself.
                let words = match (compiled.diags.has_errors(), code.is_data(), right) {
                    (true, _, _) => "bayes,wrong",
                    (_, true, _) | (_, _, false) => "text",
                    _ => "bayes,fragment",
                };
                let around = if words == "bayes,fragment" { "<!-- around\n...\n-->\n" } else { "" };
                let _ = write!(out, "{around}```{words}\n{text}```\n");
                program = None;
            } else {
                text.push_str(line);
                text.push('\n');
            }
        } else if line.trim() == "```bayes" {
            program = Some(String::new());
        } else {
            let _ = writeln!(out, "{}{line}", if line.starts_with('#') { "#" } else { "" });
        }
    }
    out + "\n"
}
