//! The posteriors of `tests/golden/posteriordb/` against their references, as a table.
//!
//! `cargo bench --bench posteriors` draws each by nuts, 4 x 1000 draws; `-- --guides` fits each by every guide instead.
//! `-- --only eight` picks, `-- --threads 1` and `-- --seed 7` change how. The exit code is 1 when something does not agree.

#[path = "../tests/golden/posteriordb.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod posteriordb;

use bayesc::data::Files;
use bayesc::driver::Options;
use bayesc::kernels::threads;
use bayesc::session::{self, RunOptions, Unobserved};
use clap::Parser;
use posteriordb::{ERRORS, GUIDES, Guided, OF_MEAN, OF_SD, Posterior, RHAT, SETTINGS, Sampled, Verdict};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Parser)]
struct Args {
    /// Posteriors whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Every guide instead of nuts.
    #[arg(long)]
    guides: bool,
    /// The number of threads.
    #[arg(long)]
    threads: Option<usize>,
    /// A seed instead of those in the programs.
    #[arg(long)]
    seed: Option<u64>,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(n) = args.threads {
        threads::set_threads(n);
    }
    let mut all = posteriordb::all();
    all.retain(|p| p.name.contains(&args.only));
    let chosen = all.len();
    all.retain(is_the_model);
    let points: usize = all.iter().map(|p| p.points.len()).sum();
    println!(
        "Log densities and gradients of {} of {chosen} programs agree with the references ({points} points).\n",
        all.len()
    );
    let wrong = if args.guides { guides(&all, args.seed) } else { sampled(&all, args.seed) };
    ExitCode::from(u8::from(wrong > 0 || all.len() < chosen))
}

/// Whether the program has the log density of its reference; if not says where, and nothing is drawn from it.
fn is_the_model(posterior: &Posterior) -> bool {
    let wrong = posteriordb::wrong_densities(posterior);
    wrong.iter().for_each(|w| println!("{}: {w}", posterior.name));
    wrong.is_empty()
}

/// The table of nuts; how many posteriors do not agree.
fn sampled(all: &[Posterior], seed: Option<u64>) -> usize {
    println!(
        "| {:42} | worst mean error [MCSE] | worst sd ratio | worst R-hat | least bulk ESS | divergences | seconds | verdict |",
        "posterior"
    );
    println!("| :{} | ---: | ---: | ---: | ---: | ---: | ---: | :--- |", "-".repeat(41));
    let (mut wrong, mut comparisons, mut secs) = (0, 0, 0.0);
    for posterior in all {
        let name = &posterior.name;
        let began = Instant::now();
        let c = posteriordb::program(name, "", &Options::default());
        let bound = session::bind(&c, &mut Files::new(), &[]).expect("the data fit");
        let options = RunOptions { seed, ..RunOptions::default() };
        let fit = match session::run(&bound, &options, &mut Unobserved) {
            Ok(fit) => fit,
            Err(error) => {
                println!("| {name:42} | | | | | | | fails: {error:?} |");
                wrong += 1;
                continue;
            }
        };
        let took = began.elapsed().as_secs_f64();
        let s = Sampled::of(posterior, &fit);
        let problems = s.wrong();
        let verdict = if problems.is_empty() { "agrees".to_string() } else { problems.join("; ") };
        println!(
            "| {name:42} | {:23.2} | {:14.3} | {:11.4} | {:14.0} | {:11} | {took:7.2} | {verdict} |",
            s.mean.0, s.sd.0, s.rhat, s.ess, s.divergences
        );
        wrong += usize::from(!problems.is_empty());
        comparisons += s.comparisons;
        secs += took;
    }
    // Of one mean, both sides of a normal.
    let one = libm::erfc(ERRORS / std::f64::consts::SQRT_2);
    let family = 1.0 - (1.0 - one).powi(comparisons as i32);
    println!(
        "\n{} of {} agree: means within {ERRORS} combined standard errors, sds within {:.0} %, R-hat below {RHAT}, no \
         divergences; {secs:.0} s. A right sampler fails one of the {comparisons} comparisons of means with probability \
         {:.2} % ({one:.1e} for one).",
        all.len() - wrong,
        all.len(),
        100.0 * OF_SD,
        100.0 * family
    );
    wrong
}

/// The table of guides; how many of those that should match do not.
fn guides(all: &[Posterior], seed: Option<u64>) -> usize {
    println!(
        "| {:42} | {:21} | k-hat | worst mean error [sd] | least sd ratio | largest | seconds | verdict |",
        "posterior", "guide"
    );
    println!("| :{} | :{} | ---: | ---: | ---: | ---: | ---: | :--- |", "-".repeat(41), "-".repeat(20));
    let (mut wrong, mut matches, mut cannot) = (Vec::new(), 0, Vec::new());
    for posterior in all {
        let name = &posterior.name;
        let c = posteriordb::program(name, SETTINGS, &Options::default());
        let bound = session::bind(&c, &mut Files::new(), &[]).expect("the data fit");
        for &guide in GUIDES {
            let infer = Some("table".into());
            let options = RunOptions { guide: Some(guide.into()), infer, seed, ..RunOptions::default() };
            let began = Instant::now();
            match session::run(&bound, &options, &mut Unobserved) {
                Ok(fit) => {
                    let took = began.elapsed().as_secs_f64();
                    let g = Guided::of(posterior, &fit);
                    let (low, high) = g.sd;
                    let verdict = match g.verdict(name, guide) {
                        Verdict::Matches => "matches",
                        Verdict::Misses => "misses",
                        Verdict::Cannot => "cannot",
                        Verdict::NotAsked => "",
                    };
                    println!(
                        "| {name:42} | {guide:21} | {:5.2} | {:21.3} | {low:14.3} | {high:7.3} | {took:7.2} | {verdict} |",
                        g.k, g.mean
                    );
                    matches += usize::from(verdict == "matches");
                    cannot.extend((verdict == "cannot").then(|| format!("{name} by {guide}")));
                    wrong.extend(g.wrong(name, guide));
                }
                Err(error) => {
                    println!("| {name:42} | {guide:21} | | | | | | no fit |");
                    wrong.push(format!("{name} by {guide} fails: {error:?}"));
                }
            }
        }
    }
    println!();
    wrong.iter().for_each(|w| println!("{w}"));
    println!(
        "full_rank and flows: {matches} match (means within {OF_MEAN} sd, sds within {:.0} %), {} miss; {} cannot, no normal of \
         unconstrained space does: {}.",
        100.0 * OF_SD,
        wrong.len(),
        cannot.len(),
        cannot.join(", ")
    );
    wrong.len()
}
