//! `bayesc repl` as a program: a script on standard input.

use assert_cmd::Command;

fn repl(script: &str) -> std::process::Output {
    let mut command = Command::cargo_bin("bayesc").expect("the binary is built");
    command.arg("repl").env_remove("COLUMNS").write_stdin(script.to_string()).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// The tour through the eight schools that the language's design describes.
#[test]
fn a_script_runs_without_prompt_and_colour() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("schools.bayes");
    let script = format!(
        "mu ~ Normal(0, 5)\ntau ~ HalfCauchy(5)\ntheta: real[8] ~ Normal(mu, tau)\n:plot theta\n:summary\n\
         tau ~ HalfNormal(5)\n:plot theta\n:observe theta = [28, 8, -3, 7, -1, 1, 18, 12]\n\
         infer svi {{ steps = 500 }}\n:fit\n:plot mu\n:type theta * 2\n:doc HalfCauchy\n:save {}\n:quit\n",
        file.display()
    );
    let output = repl(&script);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{err}");
    for part in ["theta[7]", "tau", "ELBO", "median", "real[8]", "HalfCauchy(scale)"] {
        assert!(out.contains(part), "no `{part}` in\n{out}");
    }
    assert!(!out.contains('\u{1b}') && !out.contains("bayes>"), "{out}");
    let saved = std::fs::read_to_string(&file).expect("saved");
    assert!(saved.contains("data theta: real[8] =") && saved.contains("tau ~ HalfNormal(5)"), "{saved}");
    assert!(!saved.contains("HalfCauchy"), "{saved}");
}

#[test]
fn errors_do_not_stop_it_but_the_exit_code_tells() {
    let output = repl("mu ~ Nromal(0, 1)\n1 + 1\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "2\n");
    assert!(text(&output.stderr).contains("<repl>:1:6"), "{}", text(&output.stderr));
    assert_eq!(repl("").status.code(), Some(0));
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let mut command = Command::cargo_bin("bayesc").expect("the binary is built");
    let output = command.args(["repl", "no/such/file.bayes"]).write_stdin("").output().expect("it runs");
    assert_eq!(output.status.code(), Some(3));
}
