//! From syntax to the typed program: names, sizes, shapes, supports, sites, guides, settings.
//!
//! In: the parsed modules and what the command line fixes.   Out: a [`typed::Program`], and diagnostics.
//! Every statement of every item is checked, whatever is run. Functions are instantiated where they are called, so the
//! typed program holds no calls of user functions.

mod activations;
mod arrays;
mod batch;
pub mod call;
mod chains;
mod checker;
pub mod discrete;
pub mod dist_expr;
pub mod dists;
pub mod expect;
mod expr;
pub mod families;
mod functions;
pub mod guides;
mod indexing;
mod joining;
mod loops;
pub mod minibatch;
pub mod modules;
mod params;
pub mod print;
pub mod settings;
mod simulate;
pub mod size;
mod sizes;
mod stmts;
mod synonyms;
mod transforms;
pub mod typed;
pub mod weights;
mod wrappers;

use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::nearest::nearest;
use crate::syntax::ast::{self, ExprKind as Syntax, ItemKind};
use checker::{Checker, Context};
use modules::{Modules, function_of};
use std::collections::HashMap;
use typed::*;

/// What the command line fixes before checking.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--size K=20`
    pub sizes: Vec<(String, usize)>,
    /// `--model NAME`
    pub model: Option<String>,
    /// `--set steps=100`: settings that replace those of the infer block that runs.
    pub settings: Vec<ast::Setting>,
    /// `--infer NAME`: that block; the first one if not given.
    pub infer: Option<String>,
}

/// Checks a program.
pub fn check(modules: &Modules, options: &Options, diags: &mut Diagnostics) -> Program {
    let root = modules.get(modules.root());
    let mut cx = Checker::new(modules, diags);
    cx.program.doc = root.ast.doc.clone();
    let items = &root.ast.items;
    cx.constants(items);
    cx.sizes(items, options);
    cx.data(items);
    for (id, module) in modules.iter() {
        for item in &module.ast.items {
            if let Some((kind, function)) = function_of(&item.kind) {
                cx.check_generic(id, function, kind);
            }
        }
    }
    let fitted = cx.pick_model(items, options);
    for item in items {
        let ItemKind::Model { name, body } = &item.kind else { continue };
        if fitted != Some(item.span) {
            // Checked like any other, but not fitted.
            let saved =
                (cx.program.clone(), std::mem::take(&mut cx.model), cx.site_values.clone(), cx.observed.clone());
            let sizes = cx.size_names.clone();
            cx.check_model(name.as_ref(), body);
            (cx.program, cx.model, cx.site_values, cx.observed) = saved;
            cx.size_names = sizes;
        }
    }
    let mut complete = fitted.is_none();
    for item in items {
        if let ItemKind::Model { name, body } = &item.kind
            && fitted == Some(item.span)
        {
            complete = cx.check_model(name.as_ref(), body);
        }
    }
    let has_model = fitted.is_some();
    cx.complete = complete;
    let mut generated = true;
    let target = infer_that_runs(items, options.infer.as_deref());
    for item in items {
        match &item.kind {
            // A model with mistakes has sites that are not known: its guides would only repeat them.
            ItemKind::Guide(guide) if complete => {
                if !has_model {
                    let d = Diagnostic::new(Code::E0804, "a guide needs a model")
                        .label(item.span, "no model in this file")
                        .help("add a `model { … }`");
                    cx.report(d);
                    continue;
                }
                let _ = cx.guide(guide, item.span);
            }
            ItemKind::Infer { algorithm, name, settings } => {
                let runs = target == Some(item.span);
                let settings = overridden(settings, if runs { &options.settings } else { &[] });
                let _ = cx.infer(algorithm, name.as_ref(), &settings, item.span);
            }
            ItemKind::Generate(block) if complete => {
                cx.context = Context::Generate;
                generated &= cx.body(block).is_ok();
                cx.context = Context::Item;
            }
            _ => {}
        }
    }
    if !options.settings.is_empty() && target.is_none() {
        cx.unwritten_infer(options.infer.as_deref(), &options.settings);
    }
    cx.evaluate(items);
    // What has mistakes leaves quantities unknown: lines about them would only repeat it.
    if complete && generated {
        cx.expect(items, has_model);
    }
    if complete && has_model {
        cx.check_minibatches();
    }
    activations::mark(&mut cx.program);
    if has_model {
        let model = std::mem::take(&mut cx.model);
        cx.program.model = Some(model);
    }
    cx.program
}

impl<'p> Checker<'p> {
    fn constants(&mut self, items: &'p [ast::Item]) {
        let mut first: HashMap<&str, crate::source::Span> = HashMap::new();
        for item in items {
            let name = match &item.kind {
                ItemKind::Const { name, .. } | ItemKind::Data { name, .. } => name,
                _ => continue,
            };
            if let Some(&before) = first.get(name.name.as_str()) {
                let d = Diagnostic::new(Code::E0204, format!("`{}` is defined twice", name.name))
                    .label(name.span, "defined again here")
                    .label(before, "first defined here")
                    .help("rename one of them");
                self.report(d);
            }
            first.entry(&name.name).or_insert(name.span);
            if let ItemKind::Const { name, value } = &item.kind {
                self.program.constants.push((name.name.clone(), value.clone()));
            }
        }
    }

    fn sizes(&mut self, items: &'p [ast::Item], options: &Options) {
        for item in items {
            let ItemKind::Size { name, value } = &item.kind else { continue };
            if let Some(id) = self.known_size(&name.name) {
                let first = self.program.sizes[id].span;
                let d = Diagnostic::new(Code::E0204, format!("the size `{}` is defined twice", name.name))
                    .label(name.span, "defined again here")
                    .label(first, "first defined here")
                    .help("rename one of them");
                self.report(d);
                continue;
            }
            let id = self.size_named(&name.name, name.span);
            self.program.sizes[id].declared = true;
            let given = options.sizes.iter().find(|(n, _)| *n == name.name).map(|(_, v)| *v);
            if given.is_some() {
                self.program.sizes[id].value = given;
            }
            let Some(value) = value else { continue };
            if is_labels(value) {
                self.program.sizes[id].labels = Some(value.clone());
                continue;
            }
            let Ok(size) = self.size_expr(value) else { continue };
            match self.fixed(&size).as_number() {
                Some(n) if n >= 1 => {
                    if given.is_none() {
                        self.program.sizes[id].value = Some(n as usize);
                    }
                }
                Some(n) => {
                    let message = format!("the size `{}` would be {n}", name.name);
                    self.error(Code::E0308, message, value.span, "a size must be at least 1", "use a larger value");
                }
                None => {
                    self.error(
                        Code::E0308,
                        format!("the value of `{}` is not known", name.name),
                        value.span,
                        "depends on sizes that data give",
                        "use sizes with known values, or `levels(…)`",
                    );
                }
            }
        }
        for (name, value) in &options.sizes {
            if self.known_size(name).is_none() {
                let span = crate::source::Span::new(self.modules.get(self.modules.root()).file, 0, 0);
                let id = self.size_named(name, span);
                self.program.sizes[id].value = Some(*value);
            }
        }
    }

    fn data(&mut self, items: &'p [ast::Item]) {
        for item in items {
            let ItemKind::Data { name, ty, value } = &item.kind else { continue };
            if self.program.data_named(&name.name).is_some() {
                continue;
            }
            let Ok(typed) = self.type_of(ty) else {
                self.failed.insert(name.name.clone());
                continue;
            };
            let decl = DataDecl {
                name: name.name.clone(),
                ty: typed,
                range: ty.range.as_deref().cloned(),
                default: value.clone(),
                doc: item.doc.clone(),
                span: name.span,
                ty_span: ty.span,
            };
            self.program.data.push(decl);
            if let Some(size) = self.known_size(&name.name) {
                let other = self.program.sizes[size].span;
                let d = Diagnostic::new(Code::W0002, format!("`{}` is a datum and a size", name.name))
                    .label(name.span, "in an expression this one is meant")
                    .label(other, "the size")
                    .help("rename one of them");
                self.report(d);
            }
        }
    }

    /// The place of the model item that is fitted.
    fn pick_model(&mut self, items: &'p [ast::Item], options: &Options) -> Option<crate::source::Span> {
        let models: Vec<(Option<&ast::Ident>, crate::source::Span)> = items
            .iter()
            .filter_map(
                |i| if let ItemKind::Model { name, .. } = &i.kind { Some((name.as_ref(), i.span)) } else { None },
            )
            .collect();
        let unnamed: Vec<_> = models.iter().filter(|(n, _)| n.is_none()).collect();
        if unnamed.len() > 1 {
            let d = Diagnostic::new(Code::E0803, "the file has several models without a name")
                .label(unnamed[1].1, "another one")
                .label(unnamed[0].1, "the first one")
                .help("name them: `model linear { … }`, and choose with `--model linear`");
            self.report(d);
        }
        if let Some(wanted) = &options.model {
            let found = models.iter().find(|(n, _)| n.is_some_and(|n| n.name == *wanted));
            if found.is_none() {
                let names: Vec<&str> = models.iter().filter_map(|(n, _)| n.map(|n| n.name.as_str())).collect();
                let mut d = Diagnostic::new(Code::E0803, format!("no model is called `{wanted}`"));
                d = match nearest(wanted, names.iter().copied()) {
                    Some(near) => d.help(format!("there is `{near}`")),
                    None if names.is_empty() => d.help("the models of this file have no names: leave `--model` out"),
                    None => d.help(format!("the models are `{}`", names.join("`, `"))),
                };
                self.report(d);
                return None;
            }
            return found.map(|(_, span)| *span);
        }
        models.first().map(|(_, span)| *span)
    }

    /// Checks a model; whether it has no mistakes.
    fn check_model(&mut self, name: Option<&ast::Ident>, body: &'p ast::Block) -> bool {
        self.scope.frames = vec![HashMap::new()];
        self.site_values.clear();
        self.observed.clear();
        self.arrays.clear();
        self.loops.clear();
        self.model = Model { name: name.map(|n| n.name.clone()), ..Model::default() };
        self.context = Context::Model;
        let result = self.body(body);
        self.context = Context::Item;
        result.is_ok() && self.sum_out().is_ok()
    }

    fn evaluate(&mut self, items: &'p [ast::Item]) {
        for item in items {
            let ItemKind::Evaluate(assigns) = &item.kind else { continue };
            let mut misspelt = false;
            for assign in assigns {
                if self.program.data_named(&assign.name.name).is_none() {
                    let names: Vec<String> = self.program.data.iter().map(|d| d.name.clone()).collect();
                    let mut d =
                        Diagnostic::new(Code::E0805, format!("`{}` is not a datum of the program", assign.name.name))
                            .label(assign.name.span, "not declared by `data`");
                    d = match nearest(&assign.name.name, names.iter().map(String::as_str)) {
                        Some(near) => d.help(format!("there is `{near}`")).fix(assign.name.span, near.to_string()),
                        None => d.help(format!("the data are `{}`", names.join("`, `"))),
                    };
                    self.report(d);
                    misspelt = true;
                    continue;
                }
                if let Some(before) = self.program.evaluate.iter().find(|a| a.name.name == assign.name.name) {
                    let d = Diagnostic::new(Code::E0204, format!("`{}` is given twice", assign.name.name))
                        .label(assign.name.span, "given again here")
                        .label(before.name.span, "first given here")
                        .help("remove one of them");
                    self.report(d);
                    continue;
                }
                self.program.evaluate.push(assign.clone());
            }
            let missing: Vec<String> = self
                .model
                .observations
                .iter()
                .filter_map(|o| o.data.map(|d| self.program.data[d].name.clone()))
                .filter(|n| !self.program.evaluate.iter().any(|a| a.name.name == *n))
                .collect();
            // The name that is missing may be the misspelt one.
            if !missing.is_empty() && !misspelt {
                let d = Diagnostic::new(Code::E0805, format!("`evaluate` does not give `{}`", missing.join("`, `")))
                    .label(item.span, "all observed data must be named")
                    .help(format!("add `{} = …`", missing[0]));
                self.report(d);
            }
        }
    }
}

/// Whether a size counts labels: `levels(…)`.
fn is_labels(e: &ast::Expr) -> bool {
    match &e.kind {
        Syntax::Call { callee, .. } => matches!(&callee.kind, Syntax::Name(n) if n == "levels"),
        Syntax::Pipe(_, right) => match &right.kind {
            Syntax::Name(n) => n == "levels",
            Syntax::Call { callee, .. } => matches!(&callee.kind, Syntax::Name(n) if n == "levels"),
            _ => false,
        },
        _ => false,
    }
}

/// The place of the infer block that runs: the one called `name`, the first one when nobody asks.
fn infer_that_runs(items: &[ast::Item], name: Option<&str>) -> Option<crate::source::Span> {
    items.iter().find_map(|item| match &item.kind {
        ItemKind::Infer { algorithm, name: own, .. } => {
            let own = own.as_ref().map_or(&algorithm.name, |n| &n.name);
            name.is_none_or(|n| n == own).then_some(item.span)
        }
        _ => None,
    })
}

/// The settings of a block with those of the command line in their place; one way of saying how long to run replaces
/// the other.
fn overridden(own: &[ast::Setting], given: &[ast::Setting]) -> Vec<ast::Setting> {
    let length = |name: &str| matches!(name, "steps" | "epochs");
    let replaced = |s: &ast::Setting| {
        given.iter().any(|g| g.name.name == s.name.name || (length(&g.name.name) && length(&s.name.name)))
    };
    own.iter().filter(|s| !replaced(s)).chain(given).cloned().collect()
}
