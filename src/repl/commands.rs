//! What begins with a colon: one row of [`COMMANDS`] each.

use super::draws::View;
use super::state::{Assembled, Checked, Key, Piece, Probe, Program};
use super::{Repl, doc, errors, show, typed_path};
use crate::diag::Diagnostics;
use crate::report::Quantity;
use crate::report::numbers::duration;
use crate::report::plot::terminal;
use crate::source::Sources;
use crate::syntax::ast::StmtKind;
use crate::syntax::parse::Fragment;

/// Why an input came to nothing.
pub enum Trouble {
    /// One sentence.
    Message(String),
    /// Messages with places in what was typed.
    Diagnostics(Diagnostics, Sources),
}

impl From<String> for Trouble {
    fn from(message: String) -> Self {
        Trouble::Message(message)
    }
}

type Outcome = Result<(), Trouble>;

/// What stands after a command, for completion and for input over several lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// Nothing that could be completed.
    Words,
    /// An expression over the names in scope.
    Expression,
    /// Any name that has a documentation.
    Name,
    /// A file name.
    File,
    /// One of the settings.
    Setting,
}

/// A command.
pub struct Command {
    /// Its name, without the colon.
    pub name: &'static str,
    /// What stands after it.
    pub arguments: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// What stands after it, for completion.
    pub takes: Takes,
    /// The handler: it gets the trimmed arguments.
    run: fn(&mut Repl<'_>, &str) -> Outcome,
}

macro_rules! commands {
    ($($name:literal $arguments:literal $takes:ident $run:path, $help:literal;)*) => {
        /// All commands, in the order of `:help`.
        pub const COMMANDS: &[Command] = &[$(Command {
            name: $name, arguments: $arguments, help: $help, takes: Takes::$takes, run: $run,
        }),*];
    };
}

commands! {
    "plot"      "[EXPR]"         Expression plot,      "draw the density of a name, an element, an expression or a distribution; of everything without one";
    "summary"   "[EXPR]"         Expression summary,   "mean, sd and quantiles of everything, or of an expression";
    "draws"     "[N] [NAME …]"   Expression draws,     "print some draws";
    "type"      "EXPR"           Expression type_of,   "the type of an expression";
    "doc"       "NAME"           Name       describe,  "what is known about a name: a distribution, a function, a site, a command";
    "observe"   "[NAME = VALUE]" Expression observe,   "turn a site into data, or list the data";
    "forget"    "NAME"           Expression forget,    "take back data given by `:observe`, or remove a name from the program";
    "fit"       "[NAME]"         Words      fit,       "run inference, by the infer block or algorithm NAME: `:fit nuts`; plots and summaries then show the posterior";
    "prior"     ""               Words      prior,     "show the prior in plots and summaries";
    "posterior" ""               Words      posterior, "show the last fit in plots and summaries";
    "elbo"      ""               Words      elbo,      "plot the course of the last fit";
    "program"   ""               Words      program,   "print the program";
    "undo"      ""               Words      undo,      "take the last change of the program back";
    "reset"     ""               Words      reset,     "begin with an empty program";
    "load"      "FILE"           File       load,      "read a program";
    "save"      "FILE"           File       save,      "write the program to a file";
    "set"       "[NAME VALUE]"   Setting    set,       "change a setting, or list them";
    "time"      "[on | off]"     Words      time,      "how long the last steps took; `on` times every input";
    "help"      "[COMMAND]"      Name       help,      "list the commands";
    "quit"      ""               Words      quit,      "leave (also Ctrl-D)";
}

/// The settings, with what they mean.
pub const SETTINGS: &[(&str, &str)] = &[
    ("seed", "the seed of prior draws and fits"),
    ("draws", "the number of prior draws"),
    ("height", "the lines of a plot"),
];

/// The command that `text` begins with, and what follows.
pub fn split(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// The command called `name`, or the only one that begins so.
pub fn find(name: &str) -> Result<&'static Command, String> {
    if let Some(command) = COMMANDS.iter().find(|c| c.name == name) {
        return Ok(command);
    }
    let begun: Vec<&Command> = COMMANDS.iter().filter(|c| !name.is_empty() && c.name.starts_with(name)).collect();
    match begun.as_slice() {
        [command] => Ok(command),
        [] => {
            let near = crate::nearest::nearest(name, COMMANDS.iter().map(|c| c.name));
            let help = near.map_or("`:help` lists them".into(), |n| format!("there is `:{n}`"));
            Err(format!("there is no command `:{name}`; {help}"))
        }
        several => {
            let names: Vec<String> = several.iter().map(|c| format!("`:{}`", c.name)).collect();
            Err(format!("`:{name}` may be {}", names.join(" or ")))
        }
    }
}

/// Whether the arguments of a command may go over several lines.
pub fn takes_expression(text: &str) -> bool {
    find(split(text).0).is_ok_and(|c| c.takes == Takes::Expression)
}

/// Runs a line without its colon.
pub fn run(repl: &mut Repl<'_>, text: &str) -> Outcome {
    let (name, arguments) = split(text);
    let command = find(name)?;
    if command.arguments.is_empty() && !arguments.is_empty() {
        return Err(format!("`:{}` takes nothing, found `{arguments}`", command.name).into());
    }
    (command.run)(repl, arguments)
}

/// What an argument means: a quantity, one element of it, or draws of any expression.
fn resolve(repl: &mut Repl<'_>, text: &str) -> Result<(Quantity, Option<usize>), Trouble> {
    if let Some(known) = repl.known_quantity(text)? {
        return Ok(known);
    }
    if repl.view == View::Posterior {
        let names: Vec<String> = repl.posterior()?.fit.quantities.iter().map(|q| format!("`{}`", q.name)).collect();
        return Err(format!(
            "the fit has no `{text}`, only {}; `keep` a value in the model to have it, or go back with `:prior`",
            names.join(", ")
        )
        .into());
    }
    let probe = probe(repl, text)?;
    Ok((repl.probe(&probe)?.0, None))
}

/// An argument that is to be one expression.
fn probe(repl: &Repl<'_>, text: &str) -> Result<Probe, Trouble> {
    let mut pieces = repl.parse(text)?;
    match pieces.pop() {
        Some((piece, Fragment::Stmt(stmt))) if pieces.is_empty() => match &stmt.kind {
            StmtKind::Expr(e) => Ok(Probe { piece, draw: doc::is_distribution(e), whole: false }),
            _ => Err("an expression is wanted here, not a statement".to_string().into()),
        },
        None => Err("an expression is wanted here".to_string().into()),
        Some(_) => Err("one expression is wanted here".to_string().into()),
    }
}

/// The words above a table: what its numbers are.
fn heading(repl: &Repl<'_>) -> String {
    let settings = repl.settings;
    repl.bold(&format!("prior, {} draws, seed {}", settings.draws, settings.seed))
}

fn plot(repl: &mut Repl<'_>, text: &str) -> Outcome {
    let (height, look) = (repl.settings.height, repl.look);
    if !text.is_empty() {
        let (quantity, element) = resolve(repl, text)?;
        repl.say(show::plot(&quantity, element, height, look));
        return Ok(());
    }
    let quantities = repl.quantities()?;
    if quantities.is_empty() {
        return Err("there is nothing to plot yet".to_string().into());
    }
    for (i, quantity) in quantities.iter().enumerate() {
        let text = show::ridges(quantity, look);
        repl.say(if i > 0 { format!("\n{text}") } else { text });
    }
    Ok(())
}

fn summary(repl: &mut Repl<'_>, text: &str) -> Outcome {
    let look = repl.look;
    if !text.is_empty() {
        let (quantity, element) = resolve(repl, text)?;
        repl.say(show::summary(&quantity, element, look));
        return Ok(());
    }
    if repl.view == View::Posterior {
        let text = show::fit_summary(&repl.posterior()?.fit, look);
        repl.say(text);
        return Ok(());
    }
    let quantities = repl.quantities()?;
    if quantities.is_empty() {
        return Err("there is nothing to summarize yet".to_string().into());
    }
    let heading = heading(repl);
    repl.say(show::summaries(&heading, quantities, look));
    Ok(())
}

fn draws(repl: &mut Repl<'_>, text: &str) -> Outcome {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (n, names) = match first.parse::<usize>() {
        Ok(n) => (n, rest),
        Err(_) => (10, text),
    };
    if n == 0 {
        return Err("at least 1 draw is wanted".to_string().into());
    }
    let names: Vec<&str> = names.split_whitespace().collect();
    let mut shown = Vec::new();
    for name in &names {
        let (quantity, element) = resolve(repl, name)?;
        shown.push(show::only(&quantity, element));
    }
    if names.is_empty() {
        shown = repl.quantities()?;
    }
    if shown.is_empty() {
        return Err("there is nothing to draw yet".to_string().into());
    }
    let look = repl.look;
    let most = shown.iter().map(|q| q.chains * q.draws).max().unwrap_or(0);
    repl.say(show::draws(&shown, n, look));
    if n > most {
        repl.note(&format!("there are {most} draws"));
    }
    Ok(())
}

fn type_of(repl: &mut Repl<'_>, text: &str) -> Outcome {
    let probe = repl.drawable(probe(repl, text)?);
    let (assembled, compilation) = repl.checked.program.compile(Some(&probe));
    if compilation.diags.has_errors() {
        let (diags, sources) = assembled.remap(&errors(&compilation.diags), &compilation.sources);
        return Err(Trouble::Diagnostics(diags, sources));
    }
    let program = &compilation.program;
    let model = program.model.as_ref();
    let text = if probe.draw {
        let site = model.and_then(|m| m.sites.iter().find(|s| s.name == assembled.probe));
        let observed = model.and_then(|m| m.observations.iter().find(|o| o.name == assembled.probe));
        let found = site.map(|s| (&s.ty, &s.dist)).or(observed.map(|o| (program.ty(o.value), &o.dist)));
        found.map(|(ty, dist)| {
            format!("a distribution over {}; a draw is {}", doc::type_text(program, ty), dist.support().words())
        })
    } else {
        let kept = model.and_then(|m| m.kept.iter().find(|k| k.name == assembled.probe));
        kept.map(|k| doc::type_text(program, program.ty(k.value)))
    };
    repl.say(text.ok_or_else(|| "that has no type of its own".to_string())?);
    Ok(())
}

fn describe(repl: &mut Repl<'_>, text: &str) -> Outcome {
    if text.is_empty() {
        let families: Vec<&str> = doc::families().collect();
        let functions = doc::functions();
        let (families, functions) = (wrapped(&families, repl), wrapped(&functions, repl));
        let (first, second) = (repl.bold("distributions"), repl.bold("functions"));
        repl.say(format!("{first}\n{families}\n{second}\n{functions}\n`:doc NAME` tells more"));
        return Ok(());
    }
    match doc::describe(text, &repl.checked) {
        Some(text) => repl.say(text),
        None => {
            let near = doc::nearest(text, &repl.checked).map_or(String::new(), |n| format!("; there is `{n}`"));
            return Err(format!("nothing is called `{text}`{near}").into());
        }
    }
    Ok(())
}

/// Words in lines of the terminal's width.
fn wrapped(words: &[&str], repl: &Repl<'_>) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in words {
        if column + word.len() + 1 > usize::from(repl.look.width) - 2 {
            out.push('\n');
            column = 0;
        }
        out.push_str(if column == 0 { "  " } else { " " });
        out.push_str(word);
        column += word.len() + 1;
    }
    out.push('\n');
    out
}

fn observe(repl: &mut Repl<'_>, text: &str) -> Outcome {
    if text.is_empty() {
        let data: Vec<String> = repl
            .checked
            .program
            .pieces
            .iter()
            .filter(|p| matches!(p.key, Key::Data(_)))
            .map(|p| p.text().to_string())
            .collect();
        repl.say(if data.is_empty() { "no data yet".to_string() } else { data.join("\n") });
        return Ok(());
    }
    let Some((name, value)) = text.split_once('=') else {
        return Err("`:observe` wants a site and its value: `:observe y = [1, 2]`".to_string().into());
    };
    let (name, value) = (name.trim(), value.trim());
    if value.is_empty() {
        return Err(format!("`:observe {name} =` wants a value after the `=`").into());
    }
    // A slip in the value is shown in what was typed.
    let wanted = probe(repl, value)?;
    if wanted.draw {
        return Err(format!("`{value}` is a distribution; `:observe` wants a value").into());
    }
    let typed = &repl.checked.compilation.program;
    let site = typed.model.iter().flat_map(|m| m.sites.iter()).find(|s| s.name == name);
    let ty = match (site, typed.data_named(name)) {
        (Some(site), _) => doc::type_text(typed, &site.ty),
        (None, Some(id)) => doc::type_text(typed, &typed.data[id].ty),
        (None, None) => {
            let sites: Vec<&str> = typed.model.iter().flat_map(|m| m.sites.iter()).map(|s| s.name.as_str()).collect();
            let help = match crate::nearest::nearest(name, sites.iter().copied()) {
                Some(near) => format!("there is `{near}`"),
                None if sites.is_empty() => "the program has no sites yet".into(),
                None => format!("the sites are `{}`", sites.join("`, `")),
            };
            return Err(format!("no site is called `{name}`; {help}").into());
        }
    };
    let defined = repl.checked.program.pieces.iter().any(|p| p.defines.iter().any(|d| d == name));
    if !defined {
        return Err(
            format!("`{name}` is drawn inside a submodel; only sites of the model itself can be observed").into()
        );
    }
    let text = format!("data {name}: {ty} = {value}");
    repl.add(Piece::made_up(text, Key::Data(name.to_string()), vec![name.to_string()]))
}

fn forget(repl: &mut Repl<'_>, text: &str) -> Outcome {
    if text.is_empty() {
        return Err("`:forget` wants a name".to_string().into());
    }
    let Some(program) = repl.checked.program.without(text) else {
        let near = crate::nearest::nearest(
            text,
            repl.checked.program.pieces.iter().flat_map(|p| p.defines.iter().map(String::as_str)),
        );
        let near = near.map_or(String::new(), |n| format!("; there is `{n}`"));
        return Err(format!("the program does not define `{text}`{near}").into());
    };
    let checked = compiled(program)?;
    repl.replace(checked);
    Ok(())
}

/// The program with its compilation, if it has no errors.
fn compiled(program: Program) -> Result<Checked, Trouble> {
    let (assembled, compilation): (Assembled, _) = program.compile(None);
    if compilation.diags.has_errors() {
        let (diags, sources) = assembled.remap(&errors(&compilation.diags), &compilation.sources);
        return Err(Trouble::Diagnostics(diags, sources));
    }
    Ok(Checked { program, assembled, compilation })
}

fn fit(repl: &mut Repl<'_>, text: &str) -> Outcome {
    repl.fit(Some(text).filter(|t| !t.is_empty()))
}

fn prior(repl: &mut Repl<'_>, _: &str) -> Outcome {
    repl.view = View::Prior;
    Ok(())
}

fn posterior(repl: &mut Repl<'_>, _: &str) -> Outcome {
    let stale = repl.posterior()?.stale;
    repl.view = View::Posterior;
    if stale {
        repl.note("this is the fit of the program before its last changes; `:fit` makes a new one");
    }
    Ok(())
}

fn elbo(repl: &mut Repl<'_>, _: &str) -> Outcome {
    let options = terminal::PlotOptions {
        width: repl.look.width,
        height: repl.settings.height,
        color: repl.look.color,
        ascii: repl.look.ascii,
    };
    let trace = &repl.posterior()?.fit.trace;
    if trace.is_empty() {
        return Err("the last fit has no trace of an ELBO".to_string().into());
    }
    let text = terminal::elbo(trace, &options);
    repl.say(text);
    Ok(())
}

fn program(repl: &mut Repl<'_>, _: &str) -> Outcome {
    let text = repl.checked.program.to_file();
    let text = if repl.look.color { super::line::highlight(&text) } else { text };
    repl.say(text);
    Ok(())
}

fn undo(repl: &mut Repl<'_>, _: &str) -> Outcome {
    let before = repl.undo.pop().ok_or_else(|| "there is nothing to take back".to_string())?;
    let (assembled, compilation) = before.compile(None);
    repl.checked = Checked { program: before, assembled, compilation };
    repl.changed();
    Ok(())
}

fn reset(repl: &mut Repl<'_>, _: &str) -> Outcome {
    let checked = compiled(Program::default())?;
    repl.replace(checked);
    Ok(())
}

/// `:load FILE`: replaces the program.
pub fn load(repl: &mut Repl<'_>, text: &str) -> Outcome {
    if text.is_empty() {
        return Err("`:load` wants a file".to_string().into());
    }
    let path = typed_path(text);
    let content = std::fs::read(&path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
    let content = String::from_utf8(content).map_err(|_| format!("`{}` is not text in UTF-8", path.display()))?;
    let program =
        Program::from_file(&path, &content).map_err(|(diags, sources)| Trouble::Diagnostics(diags, sources))?;
    let checked = compiled(program)?;
    let count = checked.compilation.program.model.as_ref().map_or(0, |m| m.sites.len());
    let data = checked.compilation.program.data.len();
    repl.files = crate::data::Files::new();
    repl.replace(checked);
    repl.remark(&format!("{count} sites, {data} data"));
    Ok(())
}

fn save(repl: &mut Repl<'_>, text: &str) -> Outcome {
    if text.is_empty() {
        return Err("`:save` wants a file".to_string().into());
    }
    let path = typed_path(text);
    let content = repl.checked.program.to_file();
    if content.is_empty() {
        return Err("the program is still empty".to_string().into());
    }
    write_whole(&path, &content).map_err(|e| format!("cannot write `{}`: {e}", path.display()))?;
    repl.remark(&format!("wrote {}", path.display()));
    Ok(())
}

/// Writes a file so that it is never there in part.
fn write_whole(path: &std::path::Path, content: &str) -> std::io::Result<()> {
    use std::io::Write;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = std::fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(content.as_bytes())?;
        file.sync_all()
    });
    let done = written.and_then(|()| std::fs::rename(&temporary, path));
    if done.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    done
}

fn set(repl: &mut Repl<'_>, text: &str) -> Outcome {
    let settings = repl.settings;
    if text.is_empty() {
        let values = [settings.seed.to_string(), settings.draws.to_string(), settings.height.to_string()];
        let lines: Vec<String> =
            SETTINGS.iter().zip(values).map(|((name, what), value)| format!("{name:8} {value:>6}  {what}")).collect();
        repl.say(lines.join("\n"));
        return Ok(());
    }
    let (name, value) = text.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((text, ""));
    let value = value.trim_start_matches(|c: char| c.is_whitespace() || c == '=').replace('_', "");
    let number = |least: u64, most: u64| {
        let number: Option<u64> = value.parse().ok();
        number
            .filter(|n| (least..=most).contains(n))
            .ok_or_else(|| format!("`:set {name}` wants a whole number from {least} to {most}, found `{value}`"))
    };
    match name {
        "seed" => {
            repl.settings.seed = number(0, u64::MAX)?;
            repl.settings.seed_given = true;
        }
        "draws" => repl.settings.draws = number(1, 10_000_000)? as usize,
        "height" => repl.settings.height = number(5, 200)? as u16,
        _ => {
            let names: Vec<&str> = SETTINGS.iter().map(|(name, _)| *name).collect();
            let help = match crate::nearest::nearest(name, names.iter().copied()) {
                Some(near) => format!("there is `{near}`"),
                None => format!(
                    "those here are `{}`; settings of a fit are typed as `infer svi {{ … }}`",
                    names.join("`, `")
                ),
            };
            return Err(format!("there is no setting `{name}`; {help}").into());
        }
    }
    repl.prior = None;
    Ok(())
}

fn time(repl: &mut Repl<'_>, text: &str) -> Outcome {
    match text {
        "on" => repl.settings.time = true,
        "off" => repl.settings.time = false,
        "" => {
            let timings = repl.timings;
            let rows = [
                ("compile", timings.compile),
                ("read and check data", timings.bind),
                ("prior draws", timings.prior),
                ("fit", timings.fit),
            ];
            let lines: Vec<String> = rows
                .iter()
                .filter_map(|(name, time)| time.map(|t| format!("{name:20} {}", duration(t.as_secs_f64()))))
                .collect();
            repl.say(if lines.is_empty() { "nothing has been done yet".to_string() } else { lines.join("\n") });
        }
        _ => return Err("`:time` takes `on`, `off` or nothing".to_string().into()),
    }
    Ok(())
}

fn help(repl: &mut Repl<'_>, text: &str) -> Outcome {
    if !text.is_empty() {
        let command = find(text.trim_start_matches(':'))?;
        repl.say(format!(":{} {}\n  {}", command.name, command.arguments, command.help));
        return Ok(());
    }
    let width = COMMANDS.iter().map(|c| c.name.len() + c.arguments.chars().count() + 2).max().unwrap_or(0);
    let room = usize::from(repl.look.width).saturating_sub(width + 4).max(20);
    let mut out = String::from(
        "Type statements of a model (`mu ~ Normal(0, 5)`), items (`size K = 3`, `data x: real = 2`), or expressions to\n\
         see their value. A name typed again takes the place of the old one.\n\n",
    );
    for command in COMMANDS {
        let name = format!(":{} {}", command.name, command.arguments);
        let pad = " ".repeat((width + 2).saturating_sub(name.chars().count()));
        let mut lines = vec![String::new()];
        for word in command.help.split(' ') {
            let last = lines.last_mut().expect("one line is there");
            if !last.is_empty() && last.chars().count() + word.chars().count() + 1 > room {
                lines.push(word.to_string());
            } else {
                last.push_str(if last.is_empty() { "" } else { " " });
                last.push_str(word);
            }
        }
        out.push_str(&format!("{}{pad}{}\n", repl.bold(&name), lines.join(&format!("\n{}", " ".repeat(width + 2)))));
    }
    repl.say(out);
    Ok(())
}

fn quit(repl: &mut Repl<'_>, _: &str) -> Outcome {
    repl.quit = true;
    Ok(())
}
