//! The command line: parse it, run one command, turn its end into an exit code.
//!
//! `args.rs` is the grammar; every command has a file of its own; `shell.rs` decides where output goes. Nothing here
//! computes: the work is done by the driver, the session and the report.

pub mod args;
mod audit;
mod check;
mod compare;
mod doc;
mod emit;
mod explain;
mod fits;
mod fmt;
mod interrupt;
mod markdown;
mod predict;
mod prior;
pub mod program;
mod progress;
mod run;
mod sbc;
pub mod shell;

use args::{Cli, Color, Command};
use clap::{CommandFactory, FromArgMatches};
use shell::{Exit, Shell};
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    progress::seconds();
    ExitCode::from(execute(std::env::args_os().collect()))
}

fn execute(arguments: Vec<OsString>) -> u8 {
    let color = args::color_of(&arguments);
    let mut shell = Shell::new(color);
    let grammar = Cli::command().color(match color {
        Color::Auto => clap::ColorChoice::Auto,
        Color::Always => clap::ColorChoice::Always,
        Color::Never => clap::ColorChoice::Never,
    });
    let parsed = grammar.clone().try_get_matches_from(&arguments).and_then(|m| Cli::from_arg_matches(&m));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return refused(&error, &arguments, &mut shell),
    };
    let Some(command) = cli.command else {
        // A reader that has gone away is no failure.
        let _ = grammar.clone().print_help();
        return Exit::Done.code();
    };
    let name = command.name();
    let result = command.execute(&mut shell);
    shell.finish(name, result).code()
}

/// Help, the version, or a command line that is wrong.
fn refused(error: &clap::Error, arguments: &[OsString], shell: &mut Shell) -> u8 {
    let _ = error.print();
    if !error.use_stderr() {
        return Exit::Done.code();
    }
    if args::wants_json(arguments) {
        shell.json = true;
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        shell.set("error", serde_json::json!({ "message": message, "help": null }));
        return shell.finish("", Err(Exit::CommandLine)).code();
    }
    Exit::CommandLine.code()
}

impl Command {
    /// Its name on the command line.
    fn name(&self) -> &'static str {
        match self {
            Command::Run(_) => "run",
            Command::Check(_) => "check",
            Command::Prior(_) => "prior",
            Command::Summary(_) => "summary",
            Command::Plot(_) => "plot",
            Command::Emit(_) => "emit",
            Command::Explain(_) => "explain",
            Command::Doc(_) => "doc",
            Command::Predict(_) => "predict",
            Command::Report(_) => "report",
            Command::Compare(_) => "compare",
            Command::Audit(_) => "audit",
            Command::Sbc(_) => "sbc",
            Command::Graph(_) => "graph",
            Command::Fmt(_) => "fmt",
            Command::New(_) => "new",
            Command::Repl(_) => "repl",
            Command::Lsp(_) => "lsp",
        }
    }

    fn execute(self, shell: &mut Shell) -> Result<(), Exit> {
        let name = self.name();
        match self {
            Command::Run(args) => run::run(&args, shell),
            Command::Prior(args) => prior::prior(&args, shell),
            Command::Sbc(args) => sbc::sbc(&args, shell),
            Command::Summary(args) => fits::summary(&args, shell),
            Command::Plot(args) => fits::plot(&args, shell),
            Command::Predict(args) => predict::predict(&args, shell),
            Command::Compare(args) => compare::compare(&args, shell),
            Command::Audit(args) => audit::audit(&args, shell),
            Command::Check(args) => check::check(&args, shell),
            Command::Emit(args) => emit::emit(&args, shell),
            Command::Repl(args) => match crate::repl::main(args.path, shell.out.color) {
                0 => Ok(()),
                3 => Err(Exit::Data),
                _ => Err(Exit::Program),
            },
            Command::Explain(args) => explain::explain(&args, shell),
            Command::Doc(args) => doc::doc(&args, shell),
            Command::Fmt(args) => fmt::fmt(&args, shell),
            Command::Report(later) | Command::Graph(later) | Command::New(later) | Command::Lsp(later) => {
                shell.json = args::wants_json(&later.rest);
                Err(shell.fail_with_help(
                    Exit::CommandLine,
                    format!("`bayesc {name}` is not built yet"),
                    Some("`bayesc --help` lists the commands that are"),
                ))
            }
        }
    }
}
