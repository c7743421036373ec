//! The command line as scripts see it: exit codes, streams, JSON documents, fit directories.

use assert_cmd::Command;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[path = "cli/audit.rs"]
mod audit;
#[path = "cli/predict.rs"]
mod predict;
#[path = "cli/resume.rs"]
mod resume;

/// A model with its data, small enough to be fitted in a moment.
const MODEL: &str = "\
/// The mean of three numbers.
data y: real[N] = csv(\"y.csv\").y

model {
  /// the mean
  mu ~ Normal(0, 10)
  y ~ Normal(mu, 1)
}

guide mean_field
infer svi { steps = 60, optimizer = adam(5e-2), seed = 1, draws = 50 }
";

fn bayesc() -> Command {
    let mut command = Command::cargo_bin("bayesc").expect("the binary is built");
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "LC_ALL", "LC_CTYPE", "LANG", "TERM"] {
        command.env_remove(name);
    }
    command
}

/// What a run of the binary left.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn run(command: &mut Command) -> Ended {
    let output = command.output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    Ended { code: output.status.code().expect("it exits"), out: text(output.stdout), err: text(output.stderr) }
}

impl Ended {
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("stdout is not one JSON document: {e}\n{}", self.out))
    }
}

fn call(args: &[&str]) -> Ended {
    run(bayesc().args(args))
}

/// A folder with the model and its data.
fn project() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.bayes"), MODEL).unwrap();
    std::fs::write(folder.path().join("y.csv"), "y\n1.0\n2.0\n4.5\n").unwrap();
    folder
}

fn at(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn write(folder: &TempDir, name: &str, text: impl AsRef<[u8]>) -> String {
    std::fs::write(folder.path().join(name), text).unwrap();
    at(folder, name)
}

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "bayes"))
        .collect();
    found.sort();
    found
}

#[test]
fn help_and_version_are_results() {
    let help = call(&[]).expect(0);
    assert!(help.out.contains("Usage: bayesc") && help.out.contains("bayesc run model.bayes") && help.err.is_empty());
    assert_eq!(help.out, call(&["--help"]).expect(0).out);
    assert!(!help.out.contains("lsp"), "what is not built stays out of the help");
    assert!(call(&["run", "--help"]).expect(0).out.contains("Examples:"));
    assert!(call(&["--version"]).expect(0).out.starts_with("bayesc "));
}

#[test]
fn a_wrong_command_line_is_2() {
    let misspelt = call(&["chekc", "m.bayes"]).expect(2);
    assert!(misspelt.out.is_empty() && misspelt.err.contains("check"), "{}", misspelt.err);
    assert!(call(&["check", "m.bayes", "--explian"]).expect(2).err.contains("--explain"));
    for size in ["K", "K=", "K=0", "K=two", "=3"] {
        assert!(call(&["check", "m.bayes", "--size", size]).expect(2).err.contains("--size"), "{size}");
    }
    assert_eq!(call(&["check", "m.bayes", "--size", "K", "--format", "json"]).expect(2).json()["exit_code"], 2);
    let folder = project();
    let model = at(&folder, "m.bayes");
    assert!(call(&["check", &model, "--size", "M=3"]).expect(2).err.contains("no size `M`"));
    assert!(call(&["check", &model, "--size", "N=3", "--size", "N=4"]).expect(2).err.contains("twice"));
    assert!(call(&["check", &model, "--model", "other"]).expect(2).err.contains("other"));
    assert!(call(&["run", &model, "--guide", "mean_feild"]).expect(2).err.contains("`mean_field`"));
    assert!(call(&["run", &model, "--data", "y"]).expect(2).err.contains("NAME=FILE"));
    let useless = call(&["emit", &model, "--stage", "ast", "--data", "y=y.csv"]).expect(2);
    assert!(useless.err.contains("`--data` has no meaning"));
}

#[test]
fn what_is_not_built_says_so() {
    for command in ["report", "graph", "new", "lsp"] {
        let ended = call(&[command, "x", "--flag"]).expect(2);
        assert!(ended.err.contains(&format!("`bayesc {command}` is not built yet")), "{}", ended.err);
    }
}

#[test]
fn a_right_program_is_0_and_says_what_it_holds() {
    let folder = project();
    let model = at(&folder, "m.bayes");
    let ended = call(&["check", &model]).expect(0);
    assert_eq!(ended.out, format!("{model}: ok, model with 1 site and 1 observation\n"));
    assert_eq!(ended.err, "");
    assert_eq!(call(&["check", &model, "--quiet"]).expect(0).out, "");
}

#[test]
fn a_wrong_program_is_1_with_messages_on_stderr() {
    let folder = project();
    let model = write(&folder, "wrong.bayes", "model {\n  mu ~ Nromal(0, 1)\n}\n");
    let ended = call(&["check", &model]).expect(1);
    assert_eq!(ended.out, "");
    assert!(ended.err.contains("error[E0203]") && ended.err.contains("Normal"), "{}", ended.err);
    assert!(!ended.err.contains('\u{1b}'), "no colour in a pipe");
    assert!(call(&["check", &model, "--color", "always"]).expect(1).err.contains('\u{1b}'));
    let plain = run(bayesc().args(["check", &model]).env("NO_COLOR", "1")).expect(1);
    assert!(!plain.err.contains('\u{1b}'));
    let ascii = run(bayesc().args(["check", &model]).env("LC_ALL", "C")).expect(1);
    assert!(ascii.err.is_ascii(), "{}", ascii.err);

    let json = call(&["check", &model, "--format", "json"]).expect(1);
    let document = json.json();
    assert_eq!(document["command"], "check");
    assert_eq!(document["exit_code"], 1);
    let first = &document["diagnostics"][0];
    assert_eq!(first["code"], "E0203");
    assert_eq!(first["severity"], "error");
    assert_eq!(first["start"]["line"], 2);
    assert_eq!(first["start"]["column"], 8);
    assert_eq!(first["file"], model.as_str());
    // A program that is wrong cannot be run either.
    call(&["run", &model]).expect(1);
    assert!(!folder.path().join("wrong.fit").exists());
}

#[test]
fn programs_that_cannot_be_read_are_3() {
    let folder = project();
    let missing = call(&["check", &at(&folder, "n.bayes")]).expect(3);
    assert!(missing.err.contains("E0901") && missing.err.contains("m.bayes"), "{}", missing.err);
    let binary = write(&folder, "b.bayes", b"model {\n  m\xff ~ Normal(0, 1)\n}\n");
    let binary = call(&["check", &binary]).expect(3);
    assert!(binary.err.contains("UTF-8") && binary.err.contains("line 2, column 4"), "{}", binary.err);
    assert!(call(&["run", &at(&folder, "")]).expect(3).err.contains("folder"));
    let json = call(&["check", &at(&folder, "n.bayes"), "--format", "json"]).expect(3).json();
    assert_eq!(json["diagnostics"][0]["code"], "E0901");
    assert_eq!(json["diagnostics"][0]["start"], Value::Null);
}

#[test]
fn data_that_are_not_there_are_3() {
    let folder = project();
    let model = at(&folder, "m.bayes");
    std::fs::remove_file(folder.path().join("y.csv")).unwrap();
    let ended = call(&["run", &model]).expect(3);
    assert!(ended.err.contains("E0901") && ended.out.is_empty(), "{}", ended.err);
    assert!(!folder.path().join("m.fit").exists());
    // Checking does not need them.
    call(&["check", &model]).expect(0);
    let given = call(&["run", &model, "--data", "y=none.csv", "--format", "json"]).expect(3);
    assert_eq!(given.json()["diagnostics"][0]["code"], "E0901");
}

#[test]
fn used_files_are_found_beside_the_using_file() {
    let folder = project();
    std::fs::create_dir(folder.path().join("lib")).unwrap();
    write(
        &folder,
        "lib/outer.bayes",
        "use \"inner.bayes\"\nfn twice(x: real) -> real {\n  return inner.same(x) * 2\n}\n",
    );
    write(&folder, "lib/inner.bayes", "fn same(x: real) -> real {\n  return x\n}\n");
    let model = write(
        &folder,
        "u.bayes",
        "use \"lib/outer.bayes\"\nmodel {\n  a ~ Normal(0, 1)\n  b ~ Normal(outer.twice(a), 1)\n}\n",
    );
    call(&["check", &model]).expect(0);
    let model = write(&folder, "v.bayes", "use \"lib/none.bayes\"\nmodel {\n  a ~ Normal(0, 1)\n}\n");
    assert!(call(&["check", &model]).expect(1).err.contains("none.bayes"));
}

#[test]
fn check_explains_shapes_and_guides() {
    let folder = project();
    let model = at(&folder, "m.bayes");
    let text = call(&["check", &model, "--explain"]).expect(0).out;
    let row = text.lines().find(|l| l.starts_with("mu ")).expect("a row for the site");
    for part in ["real", "Normal(0, 10)", "mean_field", "reparameterized", "closed form"] {
        assert!(row.contains(part), "{part}: {row}");
    }
    let json = call(&["check", &model, "--explain", "--format", "json"]).expect(0).json();
    assert_eq!(json["explain"]["sites"][0]["site"], "mu");
    assert_eq!(json["explain"]["data"][0]["type"], "real[N]");
    assert_eq!(json["diagnostics"], serde_json::json!([]));
}

#[test]
fn chains_are_run_shown_and_read_back() {
    let folder = project();
    let model = at(&folder, "m.bayes");
    let args = ["run", &model, "--infer", "nuts", "--set", "draws=60", "--set", "warmup=200", "--set", "chains=2"];
    let ended = call(&args).expect(0);
    assert!(ended.out.contains("2 chains of 60 draws") && ended.out.contains("r-hat"), "{}", ended.out);
    assert!(ended.err.contains("chains 260 260 of 260"), "{}", ended.err);
    let fit = at(&folder, "m.fit");
    assert_eq!(call(&["summary", &fit]).expect(0).out, ended.out, "the table again");
    let summary = &call(&["summary", &fit, "--format", "json"]).expect(0).json()["summary"];
    assert_eq!(summary["algorithm"], "nuts");
    assert_eq!(summary["diagnostics"]["divergences"], 0);
    assert!(summary["diagnostics"]["min_e_bfmi"].is_number() && summary["sites"]["mu"]["rhat"].is_number());
    assert_eq!(summary["sampler"]["chains"].as_array().map(Vec::len), Some(2));
    assert!(folder.path().join("m.fit/sample_stats.safetensors").is_file());
    let plot = call(&["plot", &fit]).expect(0).out;
    assert!(plot.contains("mu\n") && !plot.contains("ELBO"), "{plot}");
    assert!(call(&["plot", &fit, "loss"]).expect(3).err.contains("no trace"));
    // `--set` changes the block that runs, and only that.
    assert!(call(&["run", &model, "--set", "chains=2"]).expect(1).err.contains("`svi` has no setting `chains`"));
    let guided = call(&["run", &model, "--infer", "nuts", "--guide", "full_rank"]).expect(2);
    assert!(guided.err.contains("nuts has no guide"), "{}", guided.err);
    // A density that is finite nowhere.
    std::fs::write(&model, "model {\n  x ~ Normal(0, 1)\n  factor log(x - 10)\n}\n").expect("a folder");
    let failed = call(&["run", &model]).expect(4);
    assert!(failed.err.contains("no starting point") && failed.err.contains("`factor`"), "{}", failed.err);
}

#[test]
fn a_run_writes_a_fit_and_prints_its_table() {
    let folder = project();
    let model = at(&folder, "m.bayes");
    let ended = call(&["run", &model]).expect(0);
    assert!(ended.out.contains("svi") && ended.out.lines().any(|l| l.starts_with("mu ")), "{}", ended.out);
    let fit = at(&folder, "m.fit");
    assert!(ended.err.contains(&fit) && ended.err.contains("step 60/60  ELBO "), "{}", ended.err);
    assert!(!ended.out.contains("step 60/60"));

    let summary = call(&["summary", &fit]).expect(0);
    assert_eq!(summary.out, ended.out, "the table again");
    let json = call(&["summary", &fit, "--format", "json"]).expect(0).json();
    let stored: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("m.fit/summary.json")).unwrap()).unwrap();
    assert_eq!(json["summary"], stored);
    assert_eq!(json["diagnostics"], serde_json::json!([]));
    let csv = call(&["summary", &fit, "--format", "csv"]).expect(0).out;
    assert!(csv.starts_with("name,mean,sd,") && csv.lines().nth(1).is_some_and(|l| l.starts_with("mu,")), "{csv}");

    let plot = call(&["plot", &fit]).expect(0).out;
    assert!(plot.contains("ELBO by step") && plot.contains("mu\n"), "{plot}");
    assert!(call(&["plot", &fit, "density", "--site", "nu"]).expect(2).err.contains("no site `nu`"));
    assert!(call(&["plot", &fit, "forest"]).expect(2).err.contains("not built yet"));
    let curve = call(&["plot", &fit, "density", "--format", "json"]).expect(0).json();
    assert_eq!(
        curve["density"][0]["x"].as_array().unwrap().len(),
        curve["density"][0]["density"].as_array().unwrap().len()
    );

    // The same once more, to the same bits.
    call(&["run", &model]).expect(0);
    let again = call(&["summary", &fit, "--format", "json"]).expect(0).json();
    assert_eq!(again["summary"]["sites"], json["summary"]["sites"]);
}

#[test]
fn the_options_of_a_run_hold() {
    let folder = project();
    let model = at(&folder, "m.bayes");
    let out = at(&folder, "a/b");
    let ended = call(&[
        "run",
        &model,
        "--out",
        &out,
        "--seed",
        "9",
        "--precision",
        "f64",
        "--guide",
        "full_rank",
        "--threads",
        "1",
        "--format",
        "json",
    ])
    .expect(0);
    let json = ended.json();
    assert_eq!(json["fit"], out.as_str());
    assert_eq!(json["summary"]["seed"], 9);
    assert_eq!(json["summary"]["precision"], "f64");
    assert_eq!(json["summary"]["guide"], "full_rank");
    assert!(!folder.path().join("m.fit").exists());
    let other = write(&folder, "other.csv", "z\n7\n7\n7\n7\n");
    let moved =
        call(&["run", &model, "--out", &out, "--data", &format!("y={other}:z"), "--format", "json"]).expect(0).json();
    assert_ne!(moved["summary"]["elbo"], json["summary"]["elbo"]);
    let quiet = call(&["run", &model, "--quiet"]).expect(0);
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""));
    // A folder that is no fit is left alone.
    let full = at(&folder, "full");
    std::fs::create_dir(&full).unwrap();
    write(&folder, "full/mine.txt", "x");
    assert!(call(&["run", &model, "--out", &full]).expect(3).err.contains("not a fit"));
    assert!(folder.path().join("full/mine.txt").exists());
}

#[test]
fn fits_that_are_not_there_are_3() {
    let folder = project();
    let ended = call(&["summary", &at(&folder, "m.bayes")]).expect(3);
    assert!(ended.err.contains("not a fit") && ended.err.contains("bayesc run"), "{}", ended.err);
    assert_eq!(call(&["plot", &at(&folder, "x.fit"), "--format", "json"]).expect(3).json()["exit_code"], 3);
}

#[test]
fn fits_are_compared_side_by_side() {
    let folder = project();
    write(&folder, "y.csv", "y\n1.0\n2.0\n4.5\n1.5\n2.5\n3.0\n0.5\n2.0\n");
    let fitted = |name: &str, scale: &str| {
        let text = MODEL.replace("Normal(mu, 1)", &format!("Normal(mu, {scale})")).replace("draws = 50", "draws = 400");
        let model = write(&folder, &format!("{name}.bayes"), text.replace("steps = 60", "steps = 400"));
        let ended = call(&["run", &model]).expect(0);
        assert!(ended.out.contains("elpd_loo") && ended.out.contains("of 8 Pareto k above"), "{}", ended.out);
        at(&folder, &format!("{name}.fit"))
    };
    let (near, far) = (fitted("near", "1"), fitted("far", "20"));
    assert!(folder.path().join("near.fit/log_likelihood.safetensors").exists());
    let table = call(&["compare", &far, &near]).expect(0);
    let [near_at, far_at] = ["near.fit", "far.fit"].map(|name| table.out.find(name).expect("a row for each fit"));
    assert!(near_at < far_at && table.out.contains("predicts better than"), "{}", table.out);
    let json = call(&["compare", &far, &near, "--format", "json"]).expect(0).json();
    assert_eq!(json["compare"]["best"], near.as_str());
    assert!(json["compare"]["fits"][1]["difference"].as_f64().expect("a number") < -4.0);
    let csv = call(&["compare", &far, &near, "--format", "csv"]).expect(0).out;
    assert!(csv.starts_with("fit,algorithm,guide,elpd_loo,se,") && csv.lines().count() == 3, "{csv}");
    let summary = call(&["summary", &near, "--format", "json"]).expect(0).json();
    assert_eq!(summary["summary"]["loo"]["observations"], 8);
    // Fits of other data.
    write(&folder, "y.csv", "y\n1.0\n2.0\n4.5\n1.5\n2.5\n3.0\n0.5\n2.1\n");
    let changed = fitted("changed", "1");
    let refused = call(&["compare", &near, &changed]).expect(3);
    assert!(
        refused.err.contains("not observed the same data") && refused.err.contains("values of `y`"),
        "{}",
        refused.err
    );
    assert_eq!(call(&["compare", &near, &changed, "--format", "json"]).expect(3).json()["exit_code"], 3);
    assert!(call(&["compare", &near, &near]).expect(2).err.contains("twice"));
    assert!(call(&["compare", &near]).expect(2).err.contains("FIT"));
    call(&["compare", &near, &at(&folder, "none.fit")]).expect(3);
}

#[test]
fn a_broken_expectation_is_5_after_the_fit_is_written() {
    let folder = project();
    let with = |lines: &str| format!("{MODEL}expect {{\n{lines}\n}}\n");
    let model = write(&folder, "e.bayes", with("  mean(mu) in 1..3\n  sd(mu) < 5"));
    let ended = call(&["run", &model]).expect(0);
    assert!(ended.out.ends_with("expect: all 2 lines hold\n"), "{}", ended.out);
    assert_eq!(call(&["run", &model, "--quiet"]).expect(0).out, "");

    let model = write(&folder, "e.bayes", with("  mean(mu) in 1..3\n  sd(mu) > 5\n  max_rhat < 1.01"));
    let ended = call(&["run", &model]).expect(5);
    assert!(ended.out.contains("expect: 1 of 3 hold\nbroken: `sd(mu) > 5`: sd(mu) is "), "{}", ended.out);
    assert!(ended.out.contains("broken: `max_rhat < 1.01`: not available: svi has no R-hat"), "{}", ended.out);
    assert!(ended.err.contains("2 of 3 lines do not hold"), "{}", ended.err);
    let fit = at(&folder, "e.fit");
    let stored: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("e.fit/summary.json")).unwrap()).unwrap();
    assert_eq!(stored["expect"][0]["text"], "mean(mu) in 1..3");
    assert_eq!(stored["expect"][0]["holds"], true);
    assert_eq!(stored["expect"][0]["value"], stored["sites"]["mu"]["mean"]);
    assert_eq!(stored["expect"][1]["value"], stored["sites"]["mu"]["sd"]);
    assert_eq!((&stored["expect"][2]["holds"], &stored["expect"][2]["value"]), (&Value::Bool(false), &Value::Null));
    for name in ["fit.json", "draws.safetensors", "params.safetensors", "trace.csv"] {
        assert!(folder.path().join("e.fit").join(name).exists(), "{name}");
    }
    // The stored fit says the same.
    assert_eq!(call(&["summary", &fit]).expect(0).out, ended.out);
    let json = call(&["summary", &fit, "--format", "json"]).expect(0).json();
    assert_eq!(json["summary"], stored);

    let json = call(&["run", &model, "--format", "json"]).expect(5).json();
    assert_eq!((&json["exit_code"], &json["summary"]["expect"]), (&Value::from(5), &stored["expect"]));
    let quiet = call(&["run", &model, "--quiet"]).expect(5);
    assert!(quiet.out.is_empty() && quiet.err.contains("broken: `sd(mu) > 5`: sd(mu) is "), "{}", quiet.err);
    // What the checker knows is no matter of the fit.
    let model = write(&folder, "w.bayes", with("  mean(nu) > 5"));
    assert!(call(&["run", &model]).expect(1).err.contains("there is `mu`"));
    assert!(!folder.path().join("w.fit").exists());
}

#[test]
fn inference_that_fails_is_4_and_names_the_site() {
    let folder = project();
    let text = MODEL.replace("Normal(mu, 1)", "Normal(log(mu - 1000), 1)");
    let model = write(&folder, "f.bayes", &text);
    let ended = call(&["run", &model]).expect(4);
    assert!(ended.out.is_empty() && ended.err.contains("the log density of `y` is NaN at step 1"), "{}", ended.err);
    // Drawn at its place, as all messages are.
    assert!(ended.err.contains("error[E1001]") && ended.err.contains("f.bayes:"), "{}", ended.err);
    assert!(ended.err.contains("the logarithm of 0 or of a negative number"), "{}", ended.err);
    assert!(!folder.path().join("f.fit").exists());
    let json = call(&["run", &model, "--format", "json"]).expect(4).json();
    assert!(json["error"]["message"].is_string() && json["exit_code"] == 4);
    let start = &json["diagnostics"][0]["start"];
    let line = text.lines().position(|l| l.contains("log(mu - 1000)")).expect("it is there") + 1;
    assert!(json["diagnostics"][0]["code"] == "E1001" && start["line"] == line, "{json}");
}

#[test]
fn a_profile_adds_up_and_names_lines() {
    let folder = project();
    let model = at(&folder, "m.bayes");
    let text = call(&["run", &model, "--profile", "--threads", "1"]).expect(0).out;
    for part in ["profile: ", "1 thread, f64", "ceilings measured here", "first step", "of ceiling", "optimizer"] {
        assert!(text.contains(part), "`{part}` in\n{text}");
    }
    let profile = &text[text.find("profile: ").expect("found above")..];
    assert!(profile.lines().all(|l| l.chars().count() <= 80), "{profile}");
    let infer = ["--infer", "svi"];
    let more: [&[&str]; 2] = [&infer, &["--infer", "nuts", "--set", "draws=100"]];
    for more in more {
        let args = [&["run", &model, "--profile", "--format", "json"], more].concat();
        let json = call(&args).expect(0).json();
        let profile = &json["profile"];
        let shares = |key: &str| -> f64 {
            let rows = profile[key].as_array().expect("rows");
            rows.iter().map(|row| row["share"].as_f64().expect("a share")).sum()
        };
        let all = shares("operations") + shares("phases");
        assert!((0.999..1.05).contains(&all), "{all}: {profile}");
        let operations = profile["operations"].as_array().expect("rows");
        let line = MODEL.lines().position(|l| l.contains("y ~ Normal")).expect("it is there") + 1;
        let of_line = |o: &&Value| o["lines"].as_str().expect("text").split(", ").any(|l| l == line.to_string());
        let works = |o: &Value| o["calls"].as_u64() >= Some(60) && o["flops"].as_f64() > Some(0.0);
        assert!(operations.iter().filter(of_line).any(works), "no operation of line {line}: {profile}");
        assert!(profile["ceilings"]["gflops_per_second"].as_f64() > Some(0.0), "{profile}");
    }
}

#[test]
fn memory_is_planned_and_may_be_limited() {
    let folder = project();
    let text =
        MODEL.replace("model {\n", "model {\n  w: real[40, 30] ~ Normal(0, 1)\n").replace("mu, 1", "mu + w[0, 0], 1");
    let model = write(&folder, "w.bayes", &text);
    let fits = call(&["run", &model, "--max-memory", "64MiB"]).expect(0);
    assert!(fits.err.contains("planned peak of memory"), "{}", fits.err);
    let refused = call(&["run", &model, "--max-memory", "64KiB", "--out", &at(&folder, "no.fit")]).expect(4);
    assert!(refused.out.is_empty() && refused.err.contains("error[E1003]"), "{}", refused.err);
    assert!(
        refused.err.contains("`--max-memory` allows 64.0 KiB")
            && refused.err.contains("of shape [40, 30] takes 9.4 KiB"),
        "{}",
        refused.err
    );
    assert!(!folder.path().join("no.fit").exists());
    assert!(call(&["run", &model, "--max-memory", "2G"]).expect(2).err.contains("2GiB"));
}

#[test]
fn draws_of_large_arrays_are_summed_up() {
    let folder = project();
    let text =
        MODEL.replace("model {\n", "model {\n  w: real[101, 100] ~ Normal(0, 1)\n").replace("mu, 1", "mu + w[0, 0], 1");
    let model = write(&folder, "w.bayes", text.replace("50 }", "50 }\nexpect { sd(w) > 0 }"));
    let fit = at(&folder, "w.fit");
    let size = || std::fs::metadata(folder.path().join("w.fit/draws.safetensors")).expect("a file").len();
    let site = || call(&["summary", &fit, "--format", "json"]).expect(0).json()["summary"]["sites"]["w"].clone();
    let json = call(&["run", &model, "--format", "json"]).expect(0).json();
    let note = json["summary"]["notes"].to_string();
    assert!(note.contains("`w` are kept, not their draws (10100 elements)"), "{note}");
    let (small, summed) = (size(), site());
    call(&["run", &model, "--all"]).expect(0);
    let (large, all) = (size(), site());
    assert!(small < 10_000 && large > 50 * 10_100 * 8, "{small} and {large} bytes");
    for key in ["min_mean", "norm_of_mean", "mean_sd", "signal_to_noise"] {
        let [a, b] = [&summed, &all].map(|site| site[key].as_f64().expect("a number"));
        assert!((a - b).abs() <= 1e-9 * b.abs(), "{key}: {a} and {b}");
    }
}

#[test]
fn the_prior_needs_no_observations() {
    let folder = project();
    let text = MODEL.replace(" = csv(\"y.csv\").y", "");
    let model = write(&folder, "p.bayes", text);
    let text = call(&["prior", &model, "--size", "N=3", "--draws", "200"]).expect(0).out;
    assert!(text.lines().any(|l| l.starts_with("mu ")) && text.contains("median"), "{text}");
    let json =
        call(&["prior", &model, "--size", "N=3", "--draws", "200", "--seed", "4", "--format", "json"]).expect(0).json();
    assert_eq!(json["sites"]["y"]["shape"], serde_json::json!([3]));
    let sd = json["sites"]["mu"]["sd"].as_f64().unwrap();
    assert!((8.0..12.0).contains(&sd), "{sd}");
}

#[test]
fn stages_can_be_printed() {
    let folder = project();
    let model = at(&folder, "m.bayes");
    let ast = call(&["emit", &model, "--stage", "ast"]).expect(0).out;
    let again = write(&folder, "again.bayes", &ast);
    assert_eq!(call(&["emit", &again, "--stage", "ast"]).expect(0).out, ast, "canonical text is a fixed point");
    let typed = call(&["emit", &model, "--stage", "typed"]).expect(0).out;
    assert!(typed.contains("  mu: real ~ Normal(loc = 0, scale = 10)\n"), "{typed}");
    assert!(typed.contains("  observe y ~ Normal(loc = mu, scale = 1)\n"), "{typed}");
    for stage in ["graph", "adjoint", "plan"] {
        assert!(call(&["emit", &model, "--stage", stage]).expect(0).out.lines().count() > 3, "{stage}");
    }
    let json = call(&["emit", &model, "--stage", "ast", "--format", "json"]).expect(0).json();
    assert_eq!(json["text"], ast.as_str());
    let broken = write(&folder, "broken.bayes", "model {\n  mu ~ \n}\n");
    assert!(call(&["emit", &broken, "--stage", "ast"]).expect(1).err.contains("error[E01"));
}

#[test]
fn messages_and_names_are_explained() {
    let page = call(&["explain", "e0301"]).expect(0).out;
    assert!(page.starts_with("E0301: "), "{page}");
    assert!(call(&["explain", "E0391"]).expect(2).err.contains("E0301"));
    assert!(call(&["explain"]).expect(0).out.contains("E0901"));
    assert!(call(&["doc", "Gamma"]).expect(0).out.contains("Gamma(concentration, rate)"));
    assert!(call(&["doc", "softmax"]).expect(0).out.contains("softmax("));
    assert!(call(&["doc", "Gamam"]).expect(2).err.contains("`Gamma`"));
    assert_eq!(call(&["doc", "Gamma", "--format", "json"]).expect(0).json()["entries"][0]["kind"], "distribution");
}

#[test]
fn points_and_normals_at_the_mode_are_fits_like_all_others() {
    let folder = project();
    let model = at(&folder, "m.bayes");
    for (algorithm, draws) in [("map", 1), ("laplace", 1000)] {
        let ended = call(&["run", &model, "--infer", algorithm, "--format", "json"]).expect(0);
        let json = ended.json();
        let summary = json.get("summary").unwrap_or(&json);
        assert_eq!(summary["algorithm"], algorithm, "{json:#}");
        assert_eq!(summary["mode"]["converged"], true, "{json:#}");
        assert_eq!(summary["mode"]["log_evidence"].is_number(), algorithm == "laplace", "{json:#}");
        let mean = summary["sites"]["mu"]["mean"].as_f64().expect("a mean");
        let shown = call(&["summary", &at(&folder, "m.fit")]).expect(0).out;
        assert!(shown.contains("log density") && shown.lines().any(|l| l.starts_with("mu ")), "{shown}");
        assert_eq!(shown.contains("log evidence"), algorithm == "laplace", "{shown}");
        call(&["plot", &at(&folder, "m.fit")]).expect(0);
        let stored = std::fs::read(folder.path().join("m.fit/fit.json")).unwrap();
        let stored: Value = serde_json::from_slice(&stored).unwrap();
        assert_eq!(stored["quantities"][0]["draws"], draws, "{stored:#}");
        assert!(mean.is_finite());
        let guided = call(&["run", &model, "--infer", algorithm, "--guide", "full_rank"]).expect(2);
        assert!(guided.err.contains("has no guide"), "{}", guided.err);
        let unknown = call(&["run", &model, "--infer", algorithm, "--set", "particles=2"]);
        assert!(unknown.code != 0 && unknown.err.contains("E0701"), "{}", unknown.err);
        for stage in ["graph", "adjoint", "plan"] {
            assert!(!call(&["emit", &model, "--infer", algorithm, "--stage", stage]).expect(0).out.is_empty());
        }
    }
    let funnel = "data y: real[J] = [28, 8, -3]\nmodel {\n  mu ~ Normal(0, 5)\n  tau ~ HalfNormal(5)\n  \
                  theta: real[J] ~ Normal(mu, tau)\n  y ~ Normal(theta, 10)\n}\n";
    let funnel = write(&folder, "funnel.bayes", funnel);
    let peakless = call(&["run", &funnel, "--infer", "map"]).expect(4);
    assert!(peakless.err.contains("error[E1004]") && peakless.err.contains("`tau`"), "{}", peakless.err);
}

/// Examples that use nothing but what is built; the others must be refused with messages.
const READY: &[&str] = &["digits_cnn", "digits_laplace", "eight_schools", "golf", "gp", "radon"];

#[test]
fn every_example_is_checked_or_refused_with_a_message() {
    for path in examples() {
        let ended = call(&["check", &path.display().to_string(), "--format", "json"]);
        let document = ended.json();
        let errors = document["diagnostics"].as_array().unwrap().iter().filter(|d| d["severity"] == "error").count();
        assert_eq!(ended.code, i32::from(errors > 0), "{}: {document:#}", path.display());
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(errors == 0 || !READY.contains(&name.as_str()), "{name}: {document:#}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("bayesc"))
        .arg("explain")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
}

#[test]
fn the_repl_reads_standard_input() {
    let folder = project();
    let ended = run(bayesc().args(["repl", &at(&folder, "m.bayes")]).write_stdin("1 + 2\n"));
    assert!(ended.expect(0).out.contains('3'));
    assert_eq!(run(bayesc().args(["repl", &at(&folder, "n.bayes")]).write_stdin("")).code, 3);
}

/// Ctrl-C during a run: what there is, is saved and shown.
#[cfg(unix)]
#[test]
fn an_interrupted_run_is_130_and_saved() {
    use std::io::{BufRead, BufReader, Read};
    let folder = project();
    let model = write(&folder, "long.bayes", MODEL.replace("steps = 60", "steps = 2_000_000"));
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("bayesc"))
        .args(["run", &model, "--verbose"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("ELBO") {
        assert!(err.read_line(&mut seen).unwrap() > 0, "it ended too soon:\n{seen}");
    }
    let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    err.read_to_string(&mut seen).unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{seen}");
    assert!(seen.contains("stopping"), "{seen}");
    assert!(out.contains("stopped") && out.lines().any(|l| l.starts_with("mu ")), "{out}");
    let stored: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("long.fit/fit.json")).unwrap()).unwrap();
    assert_eq!(stored["stop_reason"], "interrupted");
}

#[test]
fn fmt_lays_files_out_and_check_says_which() {
    let folder = project();
    let neat = at(&folder, "m.bayes");
    let rough = write(&folder, "r.bayes", "// kept\nmodel{ x~Normal(0,1) // too\n}\n");
    let expect = "// kept\nmodel {\n  x ~ Normal(0, 1)  // too\n}\n";
    let text = |path: &str| std::fs::read_to_string(path).unwrap();
    call(&["fmt", &neat]).expect(0);
    assert!(call(&["fmt", "--check", &neat]).expect(0).out.is_empty());
    let before = text(&rough);
    assert_eq!(call(&["fmt", "--check", &neat, &rough]).expect(1).out, format!("{rough}\n"));
    assert_eq!(text(&rough), before, "`--check` writes nothing");
    let json = call(&["fmt", "--check", &neat, &rough, "--format", "json"]).expect(1).json();
    assert_eq!(json["files"][0]["changed"], false);
    assert_eq!(json["files"][1]["changed"], true);
    call(&["fmt", &rough]).expect(0);
    assert_eq!(text(&rough), expect);
    // Nothing but the files is left in the folder.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    let piped = run(bayesc().arg("fmt").write_stdin(before.clone()));
    assert_eq!(piped.expect(0).out, expect);
    run(bayesc().args(["fmt", "--check", "-"]).write_stdin(before)).expect(1);
}

#[test]
fn fmt_leaves_alone_what_does_not_parse() {
    let folder = project();
    let wrong = "model {\n  x ~ ~ Normal(0, 1)\n}\n";
    let path = write(&folder, "w.bayes", wrong);
    let ended = call(&["fmt", &path]).expect(1);
    assert!(ended.err.contains("E0101"), "{}", ended.err);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), wrong);
    // The others are laid out all the same, and a file that is not there is the graver end.
    let rough = write(&folder, "r.bayes", "size  K=2\n");
    call(&["fmt", &path, &at(&folder, "none.bayes"), &rough]).expect(3);
    assert_eq!(std::fs::read_to_string(&rough).unwrap(), "size K = 2\n");
    call(&["fmt", "-", &rough]).expect(2);
}
