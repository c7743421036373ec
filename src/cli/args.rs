//! The grammar of the command line, with its help.

use crate::check::settings::PrecisionChoice;
use crate::data::DataArgument;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// A probabilistic programming language for people who want uncertainty from their models.
#[derive(Parser, Debug)]
#[command(
    name = "bayesc",
    version,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "\
Examples:
  bayesc check model.bayes               is the program right? (no data needed)
  bayesc run model.bayes                 fit it, print the posterior, write model.fit/
  bayesc summary model.fit               the table again
  bayesc predict model.fit --data x=new.csv
                                         what the model says of new data
  bayesc compare a.fit b.fit             which of two models predicts better
  bayesc audit model.fit                 is the guide right? nuts judges it
  bayesc explain E0301                   what a message means
  bayesc doc Gamma                       what a distribution or function is

`bayesc COMMAND --help` shows the options of a command with examples.
Exit codes: 0 done, 1 program wrong, 2 command line wrong, 3 data or files, 4 inference failed,
5 an `expect` line does not hold, 130 interrupted."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Colours: auto, always or never; `NO_COLOR` in the environment means never.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto, hide_possible_values = true)]
    pub color: Color,
}

/// When to colour.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a command prints on stdout.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// Text for people.
    #[default]
    #[value(alias = "table")]
    Text,
    /// One JSON document, with the messages under the key `diagnostics`.
    Json,
}

/// What `summary`, `predict`, `compare` and `audit` print.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SummaryFormat {
    /// A table for people.
    #[default]
    #[value(alias = "text")]
    Table,
    /// One JSON document; the content of summary.json stands under the key `summary`.
    Json,
    /// One line for each element, or for each fit.
    Csv,
}

/// A number type.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrecisionArg {
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
}

impl From<PrecisionArg> for PrecisionChoice {
    fn from(p: PrecisionArg) -> PrecisionChoice {
        match p {
            PrecisionArg::F32 => PrecisionChoice::F32,
            PrecisionArg::F64 => PrecisionChoice::F64,
        }
    }
}

/// A step of the compiler whose result can be printed.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The syntax tree, as canonical text.
    Ast,
    /// The typed program: every function instantiated, every shape found.
    Typed,
    /// The graph of the objective, with numbers for sizes (needs data).
    Graph,
    /// The graph with its gradient (needs data).
    Adjoint,
    /// What is executed in which order, and where values live (needs data).
    Plan,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Check, fit, report, evaluate; write a fit directory.
    Run(Run),
    /// Check a program; data are not needed.
    Check(Check),
    /// Draw from the prior: a summary and small plots.
    Prior(Prior),
    /// The table of a fit again.
    Summary(SummaryArgs),
    /// Plots of a fit, in the terminal.
    Plot(Plot),
    /// What a fit says of new data: predictions, and scores where the answers are known.
    Predict(Predict),
    /// Several fits side by side: which predicts better.
    Compare(Compare),
    /// Experiment with a model line by line.
    Repl(Repl),
    /// Print what a step of the compiler makes of a program.
    Emit(Emit),
    /// The long story of a message, with a wrong and a repaired program.
    Explain(Explain),
    /// The reference of a distribution, function or layer.
    Doc(Doc),
    /// Programs in their canonical layout, comments kept.
    Fmt(Fmt),
    /// One HTML page.
    #[command(hide = true, disable_help_flag = true)]
    Report(Later),
    /// Is a fit right? NUTS on the same density judges its means, spreads and intervals.
    Audit(Audit),
    /// Test a model and its inference on data that the model makes.
    Sbc(Sbc),
    /// The plate diagram.
    #[command(hide = true, disable_help_flag = true)]
    Graph(Later),
    /// A new project.
    #[command(hide = true, disable_help_flag = true)]
    New(Later),
    /// A language server.
    #[command(hide = true, disable_help_flag = true)]
    Lsp(Later),
}

/// The arguments of a command that is not built yet.
#[derive(Args, Debug)]
pub struct Later {
    /// Anything.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub rest: Vec<OsString>,
}

/// A program and what is fixed before it is checked.
#[derive(Args, Debug)]
pub struct ProgramArgs {
    /// The program.
    #[arg(value_name = "MODEL.bayes")]
    pub path: PathBuf,
    /// Fix a size of the program (repeatable).
    #[arg(long = "size", value_name = "NAME=NUMBER", value_parser = parse_size)]
    pub sizes: Vec<(String, usize)>,
    /// Take this model of the file, not the first.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Change a setting of the infer block, for example `steps=100` (repeatable).
    #[arg(long = "set", value_name = "SETTING=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
}

/// The data that a program is run on.
#[derive(Args, Debug, Default)]
pub struct DataArgs {
    /// Give a datum from a file, or all data from a JSON file (repeatable).
    #[arg(long = "data", value_name = "NAME=FILE[:KEY] | FILE.json", value_parser = DataArgument::parse)]
    pub data: Vec<DataArgument>,
}

/// `--format` for most commands.
#[derive(Args, Debug)]
pub struct FormatArgs {
    /// What stdout gets: text, or json (one document with the messages under `diagnostics`).
    #[arg(long, value_enum, default_value_t = Format::Text, hide_possible_values = true)]
    pub format: Format,
}

/// `bayesc run`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bayesc run examples/eight_schools.bayes
  bayesc run model.bayes --data y=counts.csv:deaths --size K=3
  bayesc run model.bayes --set steps=2000 --set 'optimizer=adam(1e-2)' --seed 7
  bayesc run model.bayes --out fits/second --format json > second.json
  bayesc run model.bayes --profile --set steps=100
  bayesc run model.bayes --max-memory 2GiB
  bayesc run model.bayes --resume
  bayesc run model.bayes --infer nuts --init vi.fit --out nuts.fit

Ctrl-C stops at the end of the step, saves and reports what there is; the same command with `--resume` goes on. Of nuts
the finished chains are kept, the others begin again: their randomness is the same.")]
pub struct Run {
    /// The program.
    #[command(flatten)]
    pub program: ProgramArgs,
    /// The data.
    #[command(flatten)]
    pub data: DataArgs,
    /// Take this infer block, not the first.
    #[arg(long, value_name = "NAME")]
    pub infer: Option<String>,
    /// Take this guide, not the first.
    #[arg(long, value_name = "NAME")]
    pub guide: Option<String>,
    /// The seed of all randomness.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// The number of threads, one for each core if not given.
    #[arg(long, value_name = "NUMBER", value_parser = parse_threads)]
    pub threads: Option<usize>,
    /// The number type: f32 or f64.
    #[arg(long, value_enum, hide_possible_values = true)]
    pub precision: Option<PrecisionArg>,
    /// Where the fit is written, `MODEL.fit` beside the program if not given.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Keep the draws of arrays of more than 10,000 elements too, not only their means and standard deviations.
    #[arg(long)]
    pub all: bool,
    /// Do not begin a run that needs more memory, for example `2GiB` or `800MB`.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub max_memory: Option<u64>,
    /// Print where the time went: every operation with its line, its rate, and what the machine can do.
    #[arg(long)]
    pub profile: bool,
    /// Start from another fit of the same model: chains at its draws, guides at its means and standard deviations.
    #[arg(long, value_name = "FIT")]
    pub init: Option<PathBuf>,
    /// Go on with an interrupted fit, to the very numbers of an unbroken run. Program, data and options must be the same.
    #[arg(long)]
    pub resume: bool,
    /// The output.
    #[command(flatten)]
    pub format: FormatArgs,
    /// Print warnings and errors only.
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more on stderr: what was read, a line for every percent of the way.
    #[arg(long, short)]
    pub verbose: bool,
}

/// `bayesc check`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bayesc check model.bayes
  bayesc check model.bayes --explain         shapes, supports and what stands for each site
  bayesc check model.bayes --size K=20
  bayesc check model.bayes --format json     the messages for an editor or a script")]
pub struct Check {
    /// The program.
    #[command(flatten)]
    pub program: ProgramArgs,
    /// Show shapes, supports, guides and gradient estimators.
    #[arg(long)]
    pub explain: bool,
    /// The output.
    #[command(flatten)]
    pub format: FormatArgs,
    /// Print warnings and errors only.
    #[arg(long, short, conflicts_with = "explain")]
    pub quiet: bool,
}

/// `bayesc prior`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bayesc prior examples/golf.bayes
  bayesc prior model.bayes --draws 5000 --seed 3
  bayesc prior model.bayes --data x=points.csv:x
  bayesc prior model.bayes --format json > prior.json")]
pub struct Prior {
    /// The program.
    #[command(flatten)]
    pub program: ProgramArgs,
    /// The data.
    #[command(flatten)]
    pub data: DataArgs,
    /// The number of draws.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, value_parser = parse_draws)]
    pub draws: usize,
    /// The seed of all randomness.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// The number of threads, one for each core if not given.
    #[arg(long, value_name = "NUMBER", value_parser = parse_threads)]
    pub threads: Option<usize>,
    /// The output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `bayesc sbc`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bayesc sbc examples/eight_schools.bayes
  bayesc sbc model.bayes --simulations 500 --infer svi --guide full_rank
  bayesc sbc model.bayes --size N=20 --set draws=500
  bayesc sbc model.bayes --format json > ranks.json

Values come from the prior, data from the model given them, and every data set is fitted. If the posterior is right, the
values are anywhere among its draws equally often. Observed data need not be given where `--size` says how many there are.")]
pub struct Sbc {
    /// The program.
    #[command(flatten)]
    pub program: ProgramArgs,
    /// The data.
    #[command(flatten)]
    pub data: DataArgs,
    /// The number of data sets.
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = parse_draws)]
    pub simulations: usize,
    /// Take this infer block, not the first.
    #[arg(long, value_name = "NAME")]
    pub infer: Option<String>,
    /// Take this guide, not the first.
    #[arg(long, value_name = "NAME")]
    pub guide: Option<String>,
    /// The seed of all randomness.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// The number of threads, one for each core if not given.
    #[arg(long, value_name = "NUMBER", value_parser = parse_threads)]
    pub threads: Option<usize>,
    /// The output.
    #[command(flatten)]
    pub format: FormatArgs,
    /// Print no progress.
    #[arg(long, short)]
    pub quiet: bool,
}

/// `bayesc summary`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bayesc summary model.fit
  bayesc summary model.fit --all                 every element of long arrays
  bayesc summary model.fit --format csv > posterior.csv
  bayesc summary model.fit --format json | jq .summary.sites.theta.mean")]
pub struct SummaryArgs {
    /// The fit directory.
    #[arg(value_name = "FIT")]
    pub fit: PathBuf,
    /// Show long arrays element by element.
    #[arg(long)]
    pub all: bool,
    /// What stdout gets: table, json (the content of summary.json under `summary`), or csv (a line for each element).
    #[arg(long, value_enum, default_value_t = SummaryFormat::Table, hide_possible_values = true)]
    pub format: SummaryFormat,
}

/// `bayesc plot`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bayesc plot model.fit                  the course of the ELBO and the density of each short site
  bayesc plot model.fit loss
  bayesc plot model.fit density
  bayesc plot model.fit density --site theta")]
pub struct Plot {
    /// The fit directory.
    #[arg(value_name = "FIT")]
    pub fit: PathBuf,
    /// What to plot: loss or density; both if not given.
    #[arg(value_enum, value_name = "WHAT", hide_possible_values = true)]
    pub what: Option<PlotWhat>,
    /// Only this site (repeatable).
    #[arg(long = "site", value_name = "NAME")]
    pub sites: Vec<String>,
    /// The output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `bayesc predict`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bayesc predict model.fit --data x=new.csv:x
  bayesc predict model.fit --data new.json --out predictions.csv
  bayesc predict digits.fit --data images=test.idx --data labels=test-labels.idx
  bayesc predict model.fit --data x=new.csv --format json > predictions.json
  bayesc predict model.fit --data x=new.npy --out draws.safetensors

A file stands where the expression of its datum reads one: `data x = csv(\"a.csv\").x |> standardize` standardizes the
new column by the mean and standard deviation of the training data. With `--prepared` the numbers are taken as the model
sees them. Training data are not needed, but for those of more than 10,000 numbers that the model needs again.

What the model observes is predicted; classes with their entropy and its two parts, in the data (expected entropy) and
about the parameters (mutual information). Where the values are given too, predictions are scored; scores of classes
stand beside those after temperature scaling, each half of the rows by the temperature that suits the other half best.")]
pub struct Predict {
    /// The fit directory.
    #[arg(value_name = "FIT")]
    pub fit: PathBuf,
    /// The data.
    #[command(flatten)]
    pub data: DataArgs,
    /// Take new data as the model sees them: what the program does with a file is not done again.
    #[arg(long)]
    pub prepared: bool,
    /// The draws of the posterior; all that the fit keeps, at most 1,000, if not given (200 where they are made again).
    #[arg(long, value_name = "NUMBER", value_parser = parse_draws)]
    pub draws: Option<usize>,
    /// Where predictions are written: .csv (a line for each element), .json, or .safetensors (the draws). If not given,
    /// the draws go into the fit directory.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Keep more than the first 10,000 elements of each name in JSON.
    #[arg(long)]
    pub all: bool,
    /// What stdout gets: table, json (the content under `predict`), or csv (a line for each element).
    #[arg(long, value_enum, default_value_t = SummaryFormat::Table, hide_possible_values = true)]
    pub format: SummaryFormat,
    /// The number of threads, one for each core if not given.
    #[arg(long, value_name = "NUMBER", value_parser = parse_threads)]
    pub threads: Option<usize>,
    /// Print warnings and errors only.
    #[arg(long, short)]
    pub quiet: bool,
}

/// `bayesc compare`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bayesc compare linear.fit robust.fit
  bayesc compare fits/*.fit
  bayesc compare linear.fit robust.fit --format json | jq .compare.best
  bayesc compare linear.fit robust.fit --format csv > comparison.csv

The first fit of the table is the one that predicts best, by PSIS-LOO: the expected log density of new data like the
observed ones (elpd_loo, in nats, larger is better). Differences to it are taken observation by observation, so all fits
must have observed the same data. Scores of `evaluate` stand beside them.")]
pub struct Compare {
    /// The fit directories, two or more.
    #[arg(value_name = "FIT", required = true, num_args = 2..)]
    pub fits: Vec<PathBuf>,
    /// What stdout gets: table, json (the content under `compare`), or csv (a line for each fit).
    #[arg(long, value_enum, default_value_t = SummaryFormat::Table, hide_possible_values = true)]
    pub format: SummaryFormat,
}

/// `bayesc audit`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bayesc audit model.fit
  bayesc audit model.fit --draws 4000 --seed 7
  bayesc audit model.fit --data y=counts.csv:deaths     data that were given to the run are given again
  bayesc audit model.fit --set target_accept=0.95 --out nuts.fit
  bayesc audit model.fit --format json | jq .audit.verdict
  bayesc audit model.fit --format csv > audit.csv

The program of the fit is run again by nuts, on the same data, which are read anew and refused if they have changed. The
fit's means and standard deviations are compared with those of nuts, and its intervals with the draws of nuts. The verdict
is `close` (means within 0.1 sd, sds within 10 %), `rough` (0.3 sd, a factor of 1.4), `wrong`, or `not judged` where nuts has
not converged: divergences, R-hat above 1.01, fewer than 100 effective draws a chain, or E-BFMI below 0.3.")]
pub struct Audit {
    /// The fit directory.
    #[arg(value_name = "FIT")]
    pub fit: PathBuf,
    /// The data.
    #[command(flatten)]
    pub data: DataArgs,
    /// Take the settings of this `infer nuts` block, not of the first.
    #[arg(long, value_name = "NAME")]
    pub infer: Option<String>,
    /// The number of chains.
    #[arg(long, value_name = "NUMBER")]
    pub chains: Option<String>,
    /// The draws of each chain.
    #[arg(long, value_name = "NUMBER")]
    pub draws: Option<String>,
    /// The draws of each chain that adapt the sampler and are thrown away.
    #[arg(long, value_name = "NUMBER")]
    pub warmup: Option<String>,
    /// Change any other setting of nuts, for example `target_accept=0.95` (repeatable).
    #[arg(long = "set", value_name = "SETTING=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
    /// The seed of nuts.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// The number of threads, one for each core if not given.
    #[arg(long, value_name = "NUMBER", value_parser = parse_threads)]
    pub threads: Option<usize>,
    /// Do not begin if nuts needs more memory, for example `2GiB` or `800MB`.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub max_memory: Option<u64>,
    /// Keep the fit by nuts in this directory.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Show long arrays element by element.
    #[arg(long)]
    pub all: bool,
    /// What stdout gets: table, json (the content under `audit`), or csv (a line for each number).
    #[arg(long, value_enum, default_value_t = SummaryFormat::Table, hide_possible_values = true)]
    pub format: SummaryFormat,
    /// Print warnings and errors only.
    #[arg(long, short)]
    pub quiet: bool,
}

/// A kind of plot.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlotWhat {
    /// The course of the ELBO.
    Loss,
    /// The posterior of each element.
    Density,
    /// Not built yet.
    #[value(hide = true)]
    Trace,
    /// Not built yet.
    #[value(hide = true)]
    Forest,
    /// Not built yet.
    #[value(hide = true)]
    Kernels,
    /// Not built yet.
    #[value(hide = true)]
    Calibration,
    /// Not built yet.
    #[value(hide = true)]
    Predictive,
}

/// `bayesc emit`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bayesc emit model.bayes --stage ast
  bayesc emit model.bayes --stage typed
  bayesc emit model.bayes --stage graph --data y=counts.csv:deaths
  bayesc emit model.bayes --stage plan --precision f64")]
pub struct Emit {
    /// The program.
    #[command(flatten)]
    pub program: ProgramArgs,
    /// Which step: ast, typed, or (with data) graph, adjoint, plan.
    #[arg(long, value_enum, hide_possible_values = true)]
    pub stage: Stage,
    /// The data.
    #[command(flatten)]
    pub data: DataArgs,
    /// Take this infer block, not the first.
    #[arg(long, value_name = "NAME")]
    pub infer: Option<String>,
    /// Take this guide, not the first.
    #[arg(long, value_name = "NAME")]
    pub guide: Option<String>,
    /// The number type: f32 or f64.
    #[arg(long, value_enum, hide_possible_values = true)]
    pub precision: Option<PrecisionArg>,
    /// For the stage plan: the plan of a run with this limit, for example `2GiB` or `800MB`.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub max_memory: Option<u64>,
    /// The output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `bayesc repl`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bayesc repl
  bayesc repl examples/golf.bayes        with the definitions of a file")]
pub struct Repl {
    /// A program to begin with.
    #[arg(value_name = "MODEL.bayes")]
    pub path: Option<PathBuf>,
}

/// `bayesc explain`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bayesc explain E0301
  bayesc explain                         all codes")]
pub struct Explain {
    /// The code, as the message shows it.
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
    /// The output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `bayesc doc`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bayesc doc                             everything there is, by family
  bayesc doc Gamma                       a distribution
  bayesc doc softmax                     a function
  bayesc doc bnn.dense                   a layer of the library")]
pub struct Doc {
    /// A distribution, function, or layer.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// The output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `bayesc fmt`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bayesc fmt model.bayes
  bayesc fmt examples/*.bayes
  bayesc fmt --check model.bayes         exit code 1 if it would change; nothing is written
  bayesc fmt < model.bayes               from stdin to stdout

A file that does not parse is left alone. A file is replaced in one go.")]
pub struct Fmt {
    /// The programs; stdin to stdout if there are none, or for `-`.
    #[arg(value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// Write nothing; name the files that would change, and exit with 1 if there are any.
    #[arg(long)]
    pub check: bool,
    /// The output.
    #[command(flatten)]
    pub format: FormatArgs,
}

fn pair(text: &str, form: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("it must have the form {form}"))?;
    let (name, value) = (name.trim(), value.trim());
    let starts = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
    if !starts || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Err(format!("`{name}` is not a name; it must have the form {form}"));
    }
    if value.is_empty() {
        Err(format!("no value after `=`; it must have the form {form}"))
    } else {
        Ok((name.into(), value.into()))
    }
}

fn parse_size(text: &str) -> Result<(String, usize), String> {
    let (name, value) = pair(text, "NAME=NUMBER, for example `K=20`")?;
    let largest = crate::check::size::MAX_SIZE as usize;
    match value.parse::<usize>() {
        Ok(n) if (1..=largest).contains(&n) => Ok((name, n)),
        _ => Err(format!("`{value}` is not a whole number from 1 to {largest}")),
    }
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    pair(text, "SETTING=VALUE, for example `steps=100`")
}

/// A number of bytes with a unit: `2GiB`, `1.5 GB`, `1000000`.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let form = || "it must be a number of bytes, with a unit if you like: `2GiB`, `800MB`, `65536`".to_string();
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| form())?;
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(form()),
    };
    let bytes = number * unit;
    if (1.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(form()) }
}

fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(n) if (1..=4096).contains(&n) => Ok(n),
        _ => Err("it must be a whole number from 1 to 4096".into()),
    }
}

fn parse_draws(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(n) if (2..=10_000_000).contains(&n) => Ok(n),
        _ => Err("it must be a whole number from 2 to 10000000".into()),
    }
}

/// The value of `--color`, looked for before the command line is parsed: help and its errors are coloured too.
pub fn color_of(arguments: &[OsString]) -> Color {
    let mut wanted = Color::Auto;
    let mut words = arguments.iter().skip(1).filter_map(|a| a.to_str());
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--color") {
            Some("") => words.next(),
            Some(rest) => rest.strip_prefix('='),
            None if word == "--" => break,
            None => None,
        };
        if let Some(color) = value.and_then(|v| Color::from_str(v, false).ok()) {
            wanted = color;
        }
    }
    wanted
}

/// Whether the command line asks for JSON, as far as can be told when it is wrong.
pub fn wants_json(arguments: &[OsString]) -> bool {
    let words: Vec<&str> = arguments.iter().filter_map(|a| a.to_str()).collect();
    words.contains(&"--format=json") || words.windows(2).any(|w| w == ["--format", "json"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_and_settings_are_read() {
        assert_eq!(parse_size("K=20"), Ok(("K".into(), 20)));
        for wrong in ["K", "K=", "K=0", "K=-1", "K=two", "=3", "2K=3", "K=99999999999999"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_setting("optimizer = adam(1e-3)"), Ok(("optimizer".into(), "adam(1e-3)".into())));
        assert!(parse_setting("steps").is_err());
    }

    #[test]
    fn sizes_of_memory_are_read() {
        for (text, bytes) in [("2GiB", 2 << 30), ("1.5 KB", 1500), ("65536", 65536), ("3mib", 3 << 20), ("7 b", 7)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "GiB", "2G", "-1", "0", "1e3", "2 GiB x", "1.2.3MB", "9999999999TB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_colour_is_found_before_parsing() {
        let of = |words: &[&str]| color_of(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of(&["bayesc", "check", "--color", "never"]), Color::Never);
        assert_eq!(of(&["bayesc", "--color=always", "check"]), Color::Always);
        assert_eq!(of(&["bayesc", "check", "--", "--color=always"]), Color::Auto);
    }
}
