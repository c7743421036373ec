//! `--resume` and `--init` as scripts see them.

use super::{at, call, project, write};
use assert_cmd::cargo::CommandCargoExt;
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Long enough that it can be interrupted, on a fast machine too.
const STEPS: &str = "steps=400000";

fn content(fit: &str) -> (Vec<u8>, Vec<u8>, Value) {
    let read = |name: &str| fs::read(format!("{fit}/{name}")).unwrap();
    let mut summary: Value = serde_json::from_slice(&read("summary.json")).unwrap();
    summary.as_object_mut().unwrap().remove("timing");
    (read("params.safetensors"), read("draws.safetensors"), summary)
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_resume_goes_on_to_the_same_bits() {
    let folder = project();
    let (model, out, whole) = (at(&folder, "m.bayes"), at(&folder, "cut.fit"), at(&folder, "whole.fit"));
    let args = ["run", &model, "--set", STEPS, "--quiet", "--out"];
    let mut command = Command::cargo_bin("bayesc").unwrap();
    let mut child = command.args(args).arg(&out).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(400));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(fs::exists(format!("{out}/checkpoint.safetensors")).unwrap());
    let steps = |fit: &str| fs::read_to_string(format!("{fit}/trace.csv")).unwrap().lines().count() - 1;
    let done = steps(&out);
    assert!((1..400_000).contains(&done), "{done} steps were done");
    // Other settings and other data are not the same run.
    let other = call(&["run", &model, "--set", "steps=400001", "--resume", "--out", &out]).expect(3);
    assert!(other.err.contains("`--set steps` was 400000 and is 400001 now"), "{}", other.err);
    let y = fs::read_to_string(at(&folder, "y.csv")).unwrap();
    write(&folder, "y.csv", "y\n1.0\n2.0\n4.0\n");
    let mut resume: Vec<&str> = args.to_vec();
    resume.extend([&out, "--resume"]);
    let other = call(&resume).expect(3);
    assert!(other.err.contains("the data in") && other.err.contains("y.csv"), "{}", other.err);
    write(&folder, "y.csv", y);
    call(&resume).expect(0);
    assert!(!fs::exists(format!("{out}/checkpoint.safetensors")).unwrap());
    assert_eq!(steps(&out), 400_000);
    let mut unbroken: Vec<&str> = args.to_vec();
    unbroken.push(&whole);
    call(&unbroken).expect(0);
    assert_eq!(content(&out), content(&whole));
    let done = call(&resume).expect(3);
    assert!(done.err.contains("the fit is complete"), "{}", done.err);
}

#[test]
fn there_must_be_something_to_go_on_with() {
    let folder = project();
    let model = at(&folder, "m.bayes");
    let none = call(&["run", &model, "--resume"]).expect(3);
    assert!(none.err.contains("not a fit") && none.err.contains("interrupted"), "{}", none.err);
}

#[test]
fn another_fit_is_a_start() {
    let folder = project();
    let (model, first, second) = (at(&folder, "m.bayes"), at(&folder, "a.fit"), at(&folder, "b.fit"));
    call(&["run", &model, "--quiet", "--out", &first]).expect(0);
    call(&["run", &model, "--infer", "nuts", "--set", "draws=50", "--init", &first, "--quiet", "--out", &second])
        .expect(0);
    let missing = call(&["run", &model, "--init", &at(&folder, "no.fit")]).expect(3);
    assert!(missing.err.contains("not a fit"), "{}", missing.err);
    let other = write(&folder, "other.bayes", "model {\n  nu ~ Normal(0, 1)\n}\n");
    let refused = call(&["run", &other, "--init", &first]).expect(3);
    assert!(refused.err.contains("it has no `nu`") && refused.err.contains("it has `mu`"), "{}", refused.err);
}
