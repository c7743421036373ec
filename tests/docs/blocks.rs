//! The programs in pages: ```` ```bayes ```` blocks with words after a comma that say what they are.
//!
//! - `bayes`: a complete program. It checks without a message, stands in its canonical layout, and is run for a few
//!   steps where all its data are there, else its prior is drawn where data can be drawn.
//! - `bayes,fragment`: statements of a model, or what the comment `<!-- around … -->` above it makes of it; there `...`
//!   stands for the block. It checks without an error.
//! - `bayes,wrong`: a program with an error.
//! - `bayes,soon`: what is being built; it parses.

use bayesc::data::Files;
use bayesc::diag::Diagnostics;
use bayesc::driver::{self, Compilation, Options};
use bayesc::index::Idx;
use bayesc::session::{self, Failure, Observer, RunOptions, Sampling, Status};
use bayesc::source::FileId;
use bayesc::syntax::format::format_module;
use std::ops::ControlFlow;
use std::path::Path;

/// One block of a page.
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    words: Vec<String>,
    text: String,
    around: Option<String>,
}

/// The blocks of a page.
pub fn of(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<(bool, String)> = None;
    let mut around: Option<String> = None;
    let mut comment: Option<String> = None;
    for (i, line) in page.lines().enumerate() {
        let trimmed = line.trim_start();
        if let Some(text) = &mut comment {
            if trimmed.starts_with("-->") {
                around = comment.take();
            } else {
                text.push_str(line);
                text.push('\n');
            }
        } else if let Some((is_bayes, fence)) = &open {
            if trimmed.starts_with(fence.as_str()) {
                open = None;
            } else if *is_bayes {
                let block = found.last_mut().expect("its fence has made it");
                block.text.push_str(line);
                block.text.push('\n');
            }
        } else if trimmed.starts_with("```") {
            let fence: String = trimmed.chars().take_while(|&c| c == '`').collect();
            let words: Vec<String> = trimmed[fence.len()..].split(',').map(|w| w.trim().to_string()).collect();
            let is_bayes = words[0] == "bayes";
            if is_bayes {
                found.push(Block { line: i + 1, words, text: String::new(), around: around.take() });
            }
            open = Some((is_bayes, fence));
        } else if trimmed == "<!-- around" {
            comment = Some(String::new());
        }
    }
    found
}

fn messages(diags: &Diagnostics) -> String {
    diags.iter().map(|d| format!("{} {}", d.code.name(), d.message)).collect::<Vec<_>>().join("; ")
}

impl Block {
    fn is(&self, word: &str) -> bool {
        self.words.iter().any(|w| w == word)
    }

    /// Whether it is what it says.
    pub fn check(&self, root: &Path) -> Result<(), String> {
        if self.is("soon") {
            let wrapped = format!("model {{\n{}}}\n", self.text);
            return [&self.text, &wrapped]
                .into_iter()
                .find_map(|t| layout(t).ok())
                .map(drop)
                .ok_or_else(|| layout(&self.text).unwrap_err());
        }
        if self.is("fragment") {
            let around = self.around.as_deref().unwrap_or("model {\n...\n}\n");
            let compilation = compile(&around.replace("...", &self.text), root);
            return if compilation.diags.has_errors() { Err(messages(&compilation.diags)) } else { Ok(()) };
        }
        let compilation = compile(&self.text, root);
        match (self.is("wrong"), compilation.diags.has_errors()) {
            (true, true) => return Ok(()),
            (true, false) => return Err("it is said to be wrong, and nothing is found".into()),
            _ if !compilation.diags.is_empty() => return Err(messages(&compilation.diags)),
            _ => {}
        }
        if layout(&self.text)? != self.text {
            return Err(format!("its layout is not canonical, it should be:\n{}", layout(&self.text)?));
        }
        run(&compilation)
    }
}

fn layout(text: &str) -> Result<String, String> {
    let mut diags = Diagnostics::new();
    format_module(FileId::new(0), text, &mut diags).map_err(|_| messages(&diags))
}

/// The program as if it stood in `examples/`, beside the data.
fn compile(text: &str, root: &Path) -> Compilation {
    let path = root.join("examples/page.bayes");
    let mut none = |path: &str, _: Option<&Path>| Err(format!("`{path}` is not there"));
    driver::compile("page.bayes", Some(path), text, &Options::default(), &mut none)
}

/// A few steps, or a few draws from the prior when data are missing; a program that needs data is not run.
fn run(compilation: &Compilation) -> Result<(), String> {
    let said = |failure: Failure| match failure {
        Failure::Diagnostics(diags) => messages(&diags),
        Failure::Run(error) => error.to_string(),
        Failure::Fit { message, .. } => message,
    };
    let program = &compilation.program;
    if program.model.is_none() {
        return Ok(());
    }
    if program.data.iter().any(|d| d.default.is_none()) {
        let mut files = Files::new();
        return match session::bind_with(compilation, &mut files, &[], true) {
            Ok(bound) => session::prior(&bound, 5, 1).map(drop).map_err(said),
            // Sizes or covariates that only data give.
            Err(_) => Ok(()),
        };
    }
    let bound = session::bind(compilation, &mut Files::new(), &[]).map_err(said)?;
    let options = RunOptions { infer: Some("svi".into()), ..RunOptions::default() };
    session::run(&bound, &options, &mut Hasty(0)).map(drop).map_err(said)
}

/// Ends a run after a few steps.
struct Hasty(u64);

impl Observer for Hasty {
    fn note(&mut self, _: &str) {}
    fn status(&mut self, _: &Status) -> ControlFlow<()> {
        self.0 += 1;
        if self.0 < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
    fn sampling(&mut self, _: &Sampling<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn clock(&mut self) -> f64 {
        0.0
    }
}
