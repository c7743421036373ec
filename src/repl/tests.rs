//! The REPL driven through its input and output.

use super::*;
use std::cell::RefCell;

/// What was written.
#[derive(Clone, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).expect("text")
    }
}

/// Results, messages and whether all went well.
fn type_in(script: &str) -> (String, String, bool) {
    let look = Look { color: false, ascii: false, interactive: false, width: 80 };
    let (out, err) = (Sink::default(), Sink::default());
    let mut repl = Repl::new(look, Box::new(out.clone()), Box::new(err.clone()));
    repl.settings.draws = 500;
    repl.read_lines(script.as_bytes());
    let failed = repl.failed;
    drop(repl);
    (out.text(), err.text(), !failed)
}

/// The results of a script without errors.
fn results(script: &str) -> String {
    let (out, err, fine) = type_in(script);
    assert!(fine && err.is_empty(), "{script}\nwent wrong:\n{err}");
    out
}

/// The message of a script that goes wrong.
fn message(script: &str) -> String {
    let (_, err, fine) = type_in(script);
    assert!(!fine, "{script}\nshould have gone wrong");
    err
}

#[test]
fn deterministic_expressions_print_their_value() {
    let check = |text: &str, expect: &str| assert_eq!(results(text).trim_end(), expect, "{text}");
    check("1 + 2 * 3", "7");
    check("1 / 3", "0.3333333");
    check("x = 3\nx ^ 2", "9");
    check("[1, 2, 3] * 2", "[2, 4, 6]");
    check("2 > 1", "true");
    check("x = 3\nx = x + 1\nx", "4");
    check("x = 3\ny = x * 2\nx = 5\ny", "10");
}

#[test]
fn statements_echo_nothing() {
    assert_eq!(results("mu ~ Normal(0, 5)\ntau ~ HalfCauchy(5)\nsize K = 3\ndata x: real[3] = [1, 2, 3]\n"), "");
}

#[test]
fn a_name_typed_again_takes_the_place_of_the_old_one() {
    let program = results("tau ~ HalfCauchy(5)\ntheta ~ Normal(0, tau)\ntau ~ HalfNormal(2)\n:program");
    assert_eq!(program, "model {\n  tau ~ HalfNormal(2)\n  theta ~ Normal(0, tau)\n}\n");
}

#[test]
fn what_needs_a_later_name_moves_behind_it() {
    let program = results("mu ~ Normal(0, 1)\nx ~ Normal(mu, 1)\na ~ Normal(0, 1)\nmu ~ Normal(a, 1)\n:program");
    assert_eq!(program, "model {\n  a ~ Normal(0, 1)\n  mu ~ Normal(a, 1)\n  x ~ Normal(mu, 1)\n}\n");
    let circle = message("mu ~ Normal(0, 1)\nx ~ Normal(mu, 1)\nmu ~ Normal(x, 1)\n");
    assert!(circle.contains("depend on itself"), "{circle}");
}

#[test]
fn a_refused_line_leaves_the_program_as_it_was() {
    let (out, err, fine) = type_in("mu ~ Normal(0, 1)\nmu ~ Nromal(0, 2)\nbad ~ Normal(nowhere, 1)\n:program");
    assert!(!fine);
    assert_eq!(out, "model {\n  mu ~ Normal(0, 1)\n}\n");
    assert!(err.contains("<repl>:2:6") && err.contains("Nromal") && err.contains("<repl>:3:14"), "{err}");
}

#[test]
fn a_message_about_an_older_line_shows_that_line() {
    let err = message("tau ~ HalfNormal(1)\ntheta: real[2] ~ Normal(0, tau)\ntau: real[3] ~ HalfNormal(1)\n");
    assert!(err.contains("<repl>:2:") && err.contains("theta: real[2] ~ Normal(0, tau)"), "{err}");
}

#[test]
fn undo_goes_back_step_by_step() {
    let out = results("mu ~ Normal(0, 1)\nmu ~ Normal(0, 2)\n:undo\n:program\n:undo\n:program");
    assert_eq!(out, "model {\n  mu ~ Normal(0, 1)\n}\n");
    assert!(message(":undo").contains("nothing to take back"));
}

#[test]
fn types_of_expressions() {
    let check = |text: &str, expect: &str| {
        assert_eq!(
            results(&format!("mu ~ Normal(0, 1)\ntheta: real[8] ~ Normal(mu, 1)\n:type {text}")).trim_end(),
            expect
        );
    };
    check("theta * 2", "real[8]");
    check("mu > 0", "bool");
    check("3", "int");
}

#[test]
fn an_observed_site_is_data_of_the_program() {
    let script = "mu ~ Normal(0, 5)\ntheta: real[3] ~ Normal(mu, 1)\n:observe theta = [1, 2, 3]\n:program";
    let expect =
        "data theta: real[3] = [1, 2, 3]\n\nmodel {\n  mu ~ Normal(0, 5)\n  theta: real[3] ~ Normal(mu, 1)\n}\n";
    assert_eq!(results(script), expect);
    let forgotten = results(&format!("{script}\n:forget theta\n:program"));
    assert!(forgotten.ends_with("model {\n  mu ~ Normal(0, 5)\n  theta: real[3] ~ Normal(mu, 1)\n}\n"));
    let wrong = message("theta: real[3] ~ Normal(0, 1)\n:observe theta = [1, 2]\n");
    assert!(wrong.contains("theta"), "{wrong}");
    assert!(message("theta ~ Normal(0, 1)\n:observe tehta = 1\n").contains("there is `theta`"));
}

#[test]
fn input_over_several_lines_and_doc_comments() {
    let out = results("/// the mean\nmu ~ Normal(\n  0,\n  5)\n:program");
    assert_eq!(out, "model {\n  /// the mean\n  mu ~ Normal(\n    0,\n    5)\n}\n");
}

#[test]
fn unknown_commands_name_the_nearest() {
    assert!(message(":sumary").contains("there is `:summary`"));
    assert!(message(":s").contains("may be `:summary` or `:save` or `:set`"));
    assert!(message(":undo now").contains("takes nothing"));
    assert!(message(":set sede 3").contains("there is `seed`"));
}

#[test]
fn every_command_is_in_the_help() {
    let help = results(":help");
    for command in commands::COMMANDS {
        assert!(help.contains(&format!(":{}", command.name)), "{}", command.name);
        assert!(!command.help.ends_with('.'), "{}", command.help);
    }
}

#[test]
fn documentation_of_every_name_that_completes() {
    for name in doc::families().chain(doc::functions()) {
        let text = results(&format!(":doc {name}"));
        assert!(text.starts_with(name) && text.lines().count() >= 2, "{name}: {text}");
    }
    assert!(results(":doc HalfCauchy").contains("scale"));
    assert!(results(":doc bnn").contains("bnn.conv2d"));
    assert!(message(":doc HalfCuachy").contains("there is `HalfCauchy`"));
}

#[test]
fn plots_and_summaries_of_the_prior() {
    let script = "mu ~ Normal(3, 0.001)\ntheta: real[2] ~ Normal(mu, 1)\n";
    assert!(results(&format!("{script}:plot mu")).contains("mu"));
    assert!(results(&format!("{script}:plot theta")).contains("theta[1]"));
    let one = results(&format!("{script}:plot theta[1]"));
    assert!(one.contains("theta[1]") && !one.contains("theta[0]"));
    let summary = results(&format!("{script}:summary"));
    assert!(
        summary.contains("prior, 500 draws, seed 1") && summary.contains("mu") && summary.contains("theta[0]"),
        "{summary}"
    );
    assert!(results(&format!("{script}mu * 2")).contains("6.0"));
    assert_eq!(results(&format!("{script}:draws 3")).lines().count(), 4);
    assert!(results(":plot Normal(0, 1)").contains("median"));
    assert!(results(":plot Poisson(3)").contains("Poisson(3)"));
}

#[test]
fn the_seed_decides_the_draws() {
    let draws = |seed: u32| results(&format!("mu ~ Normal(0, 1)\n:set seed {seed}\n:draws 2"));
    assert_eq!(draws(3), draws(3));
    assert_ne!(draws(3), draws(4));
}

#[test]
fn saved_programs_load_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("m.bayes");
    let file = file.display();
    let script = "size K = 2\n/// the mean\nmu ~ Normal(0, 5)\ntheta: real[K] ~ Normal(\n  mu,\n  1)\ninfer svi { steps = 10 }\n";
    let first = results(&format!("{script}:save {file}\n:program"));
    let second = results(&format!(":load {file}\n:program"));
    assert_eq!(first, second);
    assert_eq!(std::fs::read_to_string(folder.path().join("m.bayes")).expect("written"), first);
}

#[test]
fn every_example_loads_and_saves_the_same_model() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("examples exist") {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|e| e != "bayes") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        let program = Program::from_file(&path, &text).unwrap_or_else(|(d, _)| panic!("{}: {d:?}", path.display()));
        let again =
            Program::from_file(&path, &program.to_file()).unwrap_or_else(|(d, _)| panic!("{}: {d:?}", path.display()));
        assert_eq!(program.to_file(), again.to_file(), "{}", path.display());
        // Comments do not get lost.
        for line in text.lines().filter(|l| l.trim_start().starts_with("//")) {
            assert!(program.to_file().contains(line.trim()), "{}: {line}", path.display());
        }
        seen += 1;
    }
    assert!(seen >= 13, "only {seen} examples");
}

#[test]
fn a_fit_says_which_expectations_are_broken() {
    let script = "mu ~ Normal(0, 1)\ninfer svi { steps = 20, draws = 50 }\n\
                  expect { mean(mu) > 1000, mean(mu) < 1000 }\n:fit\n";
    let text = results(script);
    assert!(text.contains("expect: 1 of 2 hold\nbroken: `mean(mu) > 1000`: mean(mu) is "), "{text}");
    let holds = results(&script.replace("mean(mu) > 1000, ", ""));
    assert!(!holds.contains("expect:"), "{holds}");
}

#[test]
fn a_fit_turns_the_view_to_the_posterior() {
    let script = "mu ~ Normal(0, 5)\ny: real[4] ~ Normal(mu, 1)\n:observe y = [9, 10, 11, 10]\n\
                  infer svi { steps = 2000, optimizer = adam(5e-2) }\n:fit\n:summary mu\n:prior\n:summary mu\n";
    let (out, err, fine) = type_in(script);
    assert!(fine, "{err}");
    let means: Vec<f64> = out
        .lines()
        .filter(|l| l.starts_with("mu "))
        .filter_map(|l| l.split_whitespace().nth(1)?.replace('−', "-").parse().ok())
        .collect();
    // The posterior is Normal(10 * 100 / 101, ..): the data pull the mean up.
    assert!(means.len() == 2 && (means[0] - 9.9).abs() < 0.5 && means[1].abs() < 1.0, "{means:?}\n{out}");
    assert!(message(":posterior").contains("nothing has been fitted"));
}

#[test]
fn completion_knows_the_scope() {
    let scope = line::Scope { names: vec!["theta".into(), "tau".into()], ..Default::default() };
    let words = |text: &str| line::complete(text, &scope).1;
    assert_eq!(words("x ~ Normal(th"), ["theta"]);
    assert!(words("x ~ HalfC").contains(&"HalfCauchy(".to_string()));
    assert_eq!(words(":pl"), ["plot"]);
    assert_eq!(words(":plot ta"), ["tan(", "tanh(", "tau"]);
    assert_eq!(words(":set se"), ["seed"]);
    assert!(words(":doc Poi").contains(&"Poisson".to_string()));
    assert_eq!(line::complete("x = μ + th", &scope).0, "x = μ + ".len());
}

#[test]
fn hints_show_what_is_still_to_be_typed() {
    let scope = line::Scope::default();
    let hint = |text: &str| line::hint(text, &scope);
    assert_eq!(hint("mu ~ Normal(").as_deref(), Some("loc, scale)"));
    assert_eq!(hint("mu ~ Normal(0").as_deref(), Some(", scale)"));
    assert_eq!(hint("mu ~ Normal(0, ").as_deref(), Some("scale)"));
    assert_eq!(hint("mu ~ Normal(0, 1").as_deref(), Some(")"));
    assert_eq!(hint("mu ~ Normal(f(1, 2), ").as_deref(), Some("scale)"));
    assert_eq!(hint("mu ~ Normal(0, 1)"), None);
    assert_eq!(hint(":set").as_deref(), Some(" [NAME VALUE]"));
}

#[test]
fn highlighting_changes_no_character() {
    let text = "/// é\nμ ~ Normal(0, 1) // x\nkeep y = exp(μ) + \"s\" $";
    assert_eq!(anstream::adapter::strip_str(&line::highlight(text)).to_string(), text);
}
