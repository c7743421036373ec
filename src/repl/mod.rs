//! `bayesc repl`: a program is built and looked at line by line.
//!
//! `state.rs` holds the program text, `commands.rs` what begins with a colon, `draws.rs` asks for prior draws and fits,
//! `show.rs` turns draws into text, `doc.rs` finds what is known about a name, `line.rs` is the line editor's helper. The
//! same loop reads a terminal and a pipe: a pipe gets no prompt and no colour, and any error makes the exit code 1.

mod commands;
mod doc;
mod draws;
mod line;
mod show;
mod state;

#[cfg(test)]
mod tests;

use crate::diag::{Diagnostics, render};
use crate::source::{FileId, Sources};
use crate::syntax::lexer::{CommentKind, TokenKind, tokenize};
use crate::syntax::parse::Fragment;
use crate::syntax::{ast, is_incomplete, parse_statement_or_item};
use commands::Trouble;
use draws::{Fitted, Interrupt, Timings, View};
use state::{Checked, Key, Origin, Piece, Probe, Program};
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// How things are shown.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// ANSI colours.
    color: bool,
    /// Only ASCII characters.
    ascii: bool,
    /// Whether somebody sits at a terminal.
    interactive: bool,
    /// Columns of the terminal.
    width: u16,
}

/// What `:set` sets.
#[derive(Clone, Copy, Debug)]
struct Settings {
    /// The seed of prior draws.
    seed: u64,
    /// Whether it was set: then fits take it too, and otherwise that of their infer block.
    seed_given: bool,
    /// The number of prior draws.
    draws: usize,
    /// Lines of a plot.
    height: u16,
    /// Whether every input is timed.
    time: bool,
}

impl Default for Settings {
    fn default() -> Self {
        // 4,000 draws put the quantiles that a plot shows well within the width of its lines.
        Self { seed: 1, seed_given: false, draws: 4000, height: 15, time: false }
    }
}

/// The REPL between two inputs.
struct Repl<'io> {
    /// The program, compiled.
    checked: Checked,
    /// The programs before each change, the last one last.
    undo: Vec<Program>,
    settings: Settings,
    look: Look,
    files: crate::data::Files,
    /// Draws of all prior quantities, as long as program and settings stay.
    prior: Option<Vec<crate::report::Quantity>>,
    fitted: Option<Fitted>,
    view: View,
    timings: Timings,
    interrupt: Interrupt,
    /// The line of the input within what is piped in; 1 at a terminal.
    line: usize,
    /// Whether anything went wrong.
    failed: bool,
    quit: bool,
    out: Box<dyn Write + 'io>,
    err: Box<dyn Write + 'io>,
}

/// Runs the REPL on standard input until its end or `:quit`, beginning with the program at `path`. Returns the exit
/// code: 0, or 1 when standard input is not a terminal and something in it was wrong; 3 when `path` cannot be read.
pub fn main(path: Option<PathBuf>, color: bool) -> i32 {
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok()).filter(|&c| c >= 20);
    let look = Look { color, ascii: only_ascii(), interactive, width: columns.unwrap_or(80) };
    let mut repl = Repl::new(look, Box::new(std::io::stdout()), Box::new(std::io::stderr()));
    repl.interrupt.listen(interactive);
    if let Some(path) = path {
        if let Err(error) = std::fs::metadata(&path) {
            let _ = writeln!(repl.err, "error: cannot read `{}`: {error}", path.display());
            return 3;
        }
        repl.run(|repl| commands::load(repl, &path.display().to_string()));
        if repl.failed && !interactive {
            return 1;
        }
    }
    if interactive {
        repl.read_terminal();
        0
    } else {
        repl.read_lines(std::io::stdin().lock());
        i32::from(repl.failed)
    }
}

/// Whether the environment says that the terminal has no Unicode.
fn only_ascii() -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| std::env::var(name).ok()).find(|v| !v.is_empty());
    let plain = locale.is_some_and(|l| ["C", "POSIX"].contains(&l.as_str()));
    plain || std::env::var("TERM").is_ok_and(|term| term == "dumb" || term == "linux")
}

/// Whether more lines belong to this input.
fn wants_more(input: &str) -> bool {
    let trimmed = input.trim_start();
    if let Some(command) = trimmed.strip_prefix(':') {
        let (_, arguments) = commands::split(command);
        return commands::takes_expression(command) && is_incomplete(arguments);
    }
    if is_incomplete(input) {
        return true;
    }
    // A doc comment waits for what it is about.
    let mut doc = false;
    for token in tokenize(input) {
        match token.kind {
            TokenKind::Comment(CommentKind::Doc) => doc = true,
            kind if kind.is_trivia() => {}
            _ => return false,
        }
    }
    doc
}

impl<'io> Repl<'io> {
    fn new(look: Look, out: Box<dyn Write + 'io>, err: Box<dyn Write + 'io>) -> Self {
        let program = Program::default();
        let (assembled, compilation) = program.compile(None);
        Self {
            checked: Checked { program, assembled, compilation },
            undo: Vec::new(),
            settings: Settings::default(),
            look,
            files: crate::data::Files::new(),
            prior: None,
            fitted: None,
            view: View::Prior,
            timings: Timings::default(),
            interrupt: Interrupt::default(),
            line: 1,
            failed: false,
            quit: false,
            out,
            err,
        }
    }

    /// Reads a pipe or a file.
    fn read_lines(&mut self, mut input: impl BufRead) {
        let mut text = String::new();
        let mut number = 0;
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let read = match input.read_until(b'\n', &mut bytes) {
                Ok(read) => read,
                Err(error) => {
                    let _ = writeln!(self.err, "error: cannot read the input: {error}");
                    self.failed = true;
                    0
                }
            };
            if read > 0 {
                number += 1;
                if text.is_empty() {
                    self.line = number;
                }
                text.push_str(&String::from_utf8_lossy(&bytes));
                if wants_more(&text) {
                    continue;
                }
            }
            if !text.trim().is_empty() {
                self.input(&text);
            }
            text.clear();
            if read == 0 || self.quit {
                return;
            }
        }
    }

    /// Reads a terminal, with editing, history and completion.
    fn read_terminal(&mut self) {
        let mut editor = match line::Session::new(self.look) {
            Ok(editor) => editor,
            Err(error) => {
                let _ = writeln!(self.err, "error: no line editor: {error}");
                return self.read_lines(std::io::stdin().lock());
            }
        };
        let _ = writeln!(
            self.out,
            "bayesc {}   :help lists the commands, :quit or Ctrl-D leaves",
            env!("CARGO_PKG_VERSION")
        );
        while !self.quit {
            if let Some(columns) = editor.columns() {
                self.look.width = columns;
            }
            editor.set_scope(self.scope());
            let prompt = match self.view {
                View::Prior => "bayes> ",
                View::Posterior => "posterior> ",
            };
            match editor.read(prompt) {
                line::Read::Input(text) => self.input(&text),
                line::Read::Cancelled => {}
                line::Read::End => break,
            }
        }
    }

    /// Does one whole input.
    fn input(&mut self, text: &str) {
        let begun = std::time::Instant::now();
        let trimmed = text.trim();
        if let Some(command) = trimmed.strip_prefix(':') {
            self.run(|repl| commands::run(repl, command));
        } else if !trimmed.is_empty() {
            self.run(|repl| repl.enter(text));
        }
        if self.settings.time && !self.quit {
            let secs = crate::report::numbers::duration(begun.elapsed().as_secs_f64());
            let _ = writeln!(self.err, "{}", self.dim(&secs));
        }
    }

    /// Runs `action`, and shows what goes wrong.
    fn run(&mut self, action: impl FnOnce(&mut Self) -> Result<(), Trouble>) {
        // A fault of bayesc itself has told its story by now; what was typed so far should outlive it.
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| action(self)));
        let result =
            caught.unwrap_or_else(|_| Err(Trouble::Message("this is a fault of bayesc; the program is kept".into())));
        if self.out.flush().is_err() {
            // Nobody reads any more.
            self.quit = true;
        }
        let Err(trouble) = result else { return };
        self.failed = true;
        let text = match trouble {
            Trouble::Message(message) => format!("{} {message}\n", self.red("error:")),
            Trouble::Diagnostics(diags, sources) => self.draw(&diags, &sources),
        };
        let _ = self.err.write_all(text.as_bytes());
        let _ = self.err.flush();
    }

    fn draw(&self, diags: &Diagnostics, sources: &Sources) -> String {
        let look = render::Look { color: self.look.color, ascii: self.look.ascii };
        diags.iter().map(|d| render::render_with(d, sources, look)).collect()
    }

    /// Writes a line of results.
    fn say(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
        if write!(self.out, "{text}{end}").is_err() {
            self.quit = true;
        }
    }
    /// Writes a line for somebody at a terminal; a pipe does not get it.
    fn remark(&mut self, text: &str) {
        if self.look.interactive {
            let text = self.dim(text);
            self.say(text);
        }
    }
    /// Writes a line that is not a result.
    fn note(&mut self, text: &str) {
        let _ = writeln!(self.err, "{}", self.dim(&format!("note: {text}")));
    }
    fn paint(&self, style: anstyle::Style, text: &str) -> String {
        if self.look.color { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
    fn dim(&self, text: &str) -> String {
        self.paint(anstyle::Style::new().dimmed(), text)
    }
    fn bold(&self, text: &str) -> String {
        self.paint(anstyle::Style::new().bold(), text)
    }
    fn red(&self, text: &str) -> String {
        self.paint(anstyle::AnsiColor::Red.on_default().bold(), text)
    }

    /// The text of an input as messages show it: of a pipe with its own line numbers.
    fn origin(&self, text: &str) -> Rc<Origin> {
        Rc::new(Origin { name: "<repl>".into(), text: "\n".repeat(self.line - 1) + text })
    }

    /// What was typed, in pieces.
    fn parse(&self, text: &str) -> Result<Vec<(Piece, Fragment)>, Trouble> {
        let origin = self.origin(text);
        let mut sources = Sources::default();
        let file: FileId = sources.add(origin.name.clone(), None, origin.text.clone());
        let mut diags = Diagnostics::new();
        let fragments = parse_statement_or_item(file, &origin.text, &mut diags);
        if diags.has_errors() {
            return Err(Trouble::Diagnostics(diags, sources));
        }
        let mut at = 0;
        let mut pieces = Vec::new();
        for fragment in fragments {
            let span = match &fragment {
                Fragment::Item(item) => item.span,
                Fragment::Stmt(stmt) => stmt.span,
            };
            let gap = &origin.text[at..span.start as usize];
            let start = at + (gap.len() - gap.trim_start().len());
            at = span.end as usize;
            pieces.push((Piece::new(&origin, start..at, &fragment), fragment));
        }
        Ok(pieces)
    }

    /// What was typed without a colon: statements and items are kept, expressions evaluated.
    fn enter(&mut self, text: &str) -> Result<(), Trouble> {
        for (piece, fragment) in self.parse(text)? {
            match &fragment {
                Fragment::Stmt(ast::Stmt { kind: ast::StmtKind::Expr(e), .. }) => self.evaluate(&piece, e)?,
                Fragment::Item(ast::Item { kind: ast::ItemKind::Model { .. }, .. }) => {
                    return Err(Trouble::Message(
                        "the statements of the model are typed alone, without `model { … }`; `:load` reads a file"
                            .into(),
                    ));
                }
                _ => self.add(piece)?,
            }
        }
        Ok(())
    }

    /// Takes a piece into the program if the whole still compiles.
    fn add(&mut self, piece: Piece) -> Result<(), Trouble> {
        let names = piece.defines.clone();
        let (candidate, replaced) = self.checked.program.with(piece.clone());
        let (assembled, compilation) = candidate.compile(None);
        let mut checked = Checked { program: candidate, assembled, compilation };
        if checked.compilation.diags.has_errors() {
            match checked.program.sorted() {
                Err(circle) => {
                    let circle: Vec<String> = circle.iter().map(|name| format!("`{name}`")).collect();
                    let message = format!("{} would depend on itself: {}", circle[0], circle.join(" needs "));
                    return Err(Trouble::Message(message));
                }
                Ok(program) => {
                    let (assembled, compilation) = program.compile(None);
                    if compilation.diags.has_errors() {
                        let first = &checked;
                        let (diags, sources) =
                            first.assembled.remap(&errors(&first.compilation.diags), &first.compilation.sources);
                        return Err(Trouble::Diagnostics(diags, sources));
                    }
                    checked = Checked { program, assembled, compilation };
                }
            }
        }
        self.check_values(&checked, &piece)?;
        let (diags, sources) = checked.assembled.remap(&checked.compilation.diags, &checked.compilation.sources);
        let fresh = diags.iter().filter(|d| d.span().is_some_and(|s| piece.holds(&sources, s)));
        let warnings: String = fresh.map(|d| render::render_with(d, &sources, self.render_look())).collect();
        self.replace(checked);
        let _ = self.err.write_all(warnings.as_bytes());
        if replaced && !names.is_empty() {
            let follow = self.checked.program.dependents(&names);
            let follow = match follow.len() {
                0 => String::new(),
                1 => format!("; {} follows", quoted(&follow)),
                _ => format!("; {} follow", quoted(&follow)),
            };
            self.remark(&format!("replaced {}{follow}", quoted(&names)));
        }
        Ok(())
    }

    fn render_look(&self) -> render::Look {
        render::Look { color: self.look.color, ascii: self.look.ascii }
    }

    /// Makes `checked` the program, with a way back.
    fn replace(&mut self, checked: Checked) {
        let old = std::mem::replace(&mut self.checked, checked);
        self.undo.push(old.program);
        self.changed();
    }

    /// Forgets what belonged to the program or the settings before.
    fn changed(&mut self) {
        self.prior = None;
        if let Some(fitted) = &mut self.fitted {
            fitted.stale = true;
        }
        if self.view == View::Posterior {
            self.view = View::Prior;
            self.remark("the program has changed: back to the prior");
        }
    }

    /// An expression typed alone: its value, or a summary of its draws.
    fn evaluate(&mut self, piece: &Piece, e: &ast::Expr) -> Result<(), Trouble> {
        // A label as an index is no expression of the language, but it is what tables show: `theta[Choate]`.
        let known = match (self.view, &e.kind) {
            (View::Posterior, _) => self.known_quantity(piece.text())?,
            (View::Prior, ast::ExprKind::Index(..)) => self.known_quantity(piece.text()).ok().flatten(),
            _ => None,
        };
        if let Some((quantity, element)) = known
            && (self.view == View::Posterior || quantity.labels.iter().any(Option::is_some))
        {
            let text = show::summary(&quantity, element, self.look);
            self.say(text);
            return Ok(());
        }
        let probe = Probe { piece: piece.clone(), draw: doc::is_distribution(e), whole: false };
        let (quantity, random) = self.probe(&probe)?;
        if random && self.view == View::Posterior {
            return Err(Trouble::Message(format!(
                "`{}` is not a quantity of the fit; `keep` it in the model and `:fit` again, or go back with `:prior`",
                quantity.name
            )));
        }
        let text = if random { show::summary(&quantity, None, self.look) } else { show::value(&quantity, self.look) };
        self.say(text);
        Ok(())
    }

    /// What completion and hints know.
    fn scope(&self) -> line::Scope {
        let program = &self.checked.program;
        let mut names: Vec<String> = Vec::new();
        let own = program.pieces.iter().flat_map(|p| p.defines.iter().cloned());
        let sites = self.checked.compilation.program.model.iter().flat_map(|m| m.sites.iter().map(|s| s.name.clone()));
        for name in own.chain(sites) {
            if !name.contains('[') && !names.contains(&name) {
                names.push(name);
            }
        }
        let modules =
            program.pieces.iter().filter_map(|p| if let Key::Use(name) = &p.key { Some(name.clone()) } else { None });
        line::Scope { names, modules: modules.collect(), functions: doc::own_signatures(&self.checked) }
    }
}

/// The errors alone: warnings of a refused program would only distract.
fn errors(diags: &Diagnostics) -> Diagnostics {
    let mut out = Diagnostics::new();
    diags.iter().filter(|d| d.severity == crate::diag::Severity::Error).for_each(|d| out.push(d.clone()));
    out
}

/// `` `a`, `b` ``
fn quoted(names: &[String]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

/// A path as typed: quotes may stand around it, and `~` is the home folder.
fn typed_path(text: &str) -> PathBuf {
    let text = text.trim().trim_matches('"');
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => Path::new(text).to_path_buf(),
    }
}
