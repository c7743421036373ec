//! `bayesc audit` as scripts see it: documents, the data of the fit again, what is refused.

use super::{Ended, at, call, write};
use serde_json::Value;
use tempfile::TempDir;

/// Two numbers that the data tell only together.
const MODEL: &str = "\
data y: real[N] = csv(\"y.csv\").y
model {
  /// one
  a ~ Normal(0, 1)
  b ~ Normal(0, 1)
  y ~ Normal(a + b, 0.5)
}
guide mean_field
infer svi { steps = 1500, optimizer = adam(3e-2), schedule = cosine, seed = 1, draws = 500 }
evaluate { y = csv(\"held_out.csv\").y }
expect { sd(a) < 0.001 }
";

fn fitted() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let model = write(&folder, "m.bayes", MODEL);
    write(&folder, "y.csv", "y\n1.0\n2.0\n");
    write(&folder, "held_out.csv", "y\n1.0\n");
    let fit = at(&folder, "m.fit");
    call(&["run", &model, "--quiet", "--out", &fit]).expect(5);
    (folder, fit)
}

fn audit(fit: &str, args: &[&str]) -> Ended {
    let mut all = vec!["audit", fit, "--warmup", "400"];
    all.extend(args);
    call(&all)
}

#[test]
fn a_guide_is_judged_in_words_and_numbers() {
    let (folder, fit) = fitted();
    // Held-out data are nobody's business here, and neither is `expect`.
    std::fs::remove_file(folder.path().join("held_out.csv")).unwrap();
    let table = audit(&fit, &[]).expect(0);
    let lines: Vec<&str> = table.out.lines().collect();
    assert!(
        lines[0].starts_with("svi · mean_field guide · judged by nuts, 4 chains of 1000 draws in "),
        "{}",
        lines[0]
    );
    assert!(lines[2].starts_with("verdict      wrong: the fit is not the posterior: 2 of 2 numbers"), "{}", table.out);
    for part in ["--guide full_rank", "R-hat at most", "wrong: too narrow", "in 90 %", "bias: the fit's mean less"] {
        assert!(table.out.contains(part), "{part}: {}", table.out);
    }
    let json = audit(&fit, &["--format", "json"]).expect(0);
    let document = json.json();
    assert_eq!(document["audit"]["verdict"], "wrong");
    assert_eq!(document["audit"]["reference"]["divergences"], 0);
    let a = &document["audit"]["sites"]["a"];
    assert_eq!(a["verdict"], "wrong");
    // Precisions 1 + 2 / 0.25, correlation -8 / 9.
    let ratio = a["sd_ratio"].as_f64().unwrap();
    assert!((ratio - (1.0 - (8.0f64 / 9.0).powi(2)).sqrt()).abs() < 0.08, "{ratio}");
    assert!(json.err.contains("warning: wrong"), "{}", json.err);
    let csv = audit(&fit, &["--format", "csv", "--quiet"]).expect(0).out;
    let header = "name,reference_mean,reference_sd,bias,bias_error,sd_ratio,sd_ratio_error,coverage_50,coverage_90,distance,verdict";
    assert_eq!(csv.lines().next(), Some(header));
    assert!(csv.lines().nth(1).unwrap().starts_with("a,") && csv.lines().count() == 3, "{csv}");
    // The same seed judges by the same draws, on any number of threads.
    let again = audit(&fit, &["--format", "csv", "--quiet", "--threads", "1"]).expect(0).out;
    assert_eq!(csv, again);
    let other = audit(&fit, &["--format", "csv", "--quiet", "--seed", "9"]).expect(0).out;
    assert_ne!(csv, other);
}

#[test]
fn the_reference_can_be_kept() {
    let (folder, fit) = fitted();
    let out = at(&folder, "nuts.fit");
    let kept = audit(&fit, &["--chains", "2", "--draws", "600", "--set", "target_accept=0.9", "--out", &out]).expect(0);
    assert!(kept.err.contains("the fit by nuts is in"), "{}", kept.err);
    let text = std::fs::read_to_string(format!("{out}/fit.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["settings"]["target_accept"], 0.9);
    assert_eq!(document["settings"]["draws"], 600);
    // It can be judged itself.
    let settings = ["--chains", "2", "--draws", "600", "--set", "target_accept=0.9", "--format", "json"];
    let again = audit(&out, &settings).expect(0).json();
    assert_eq!(again["audit"]["verdict"], "close", "{again}");
    assert!(again["audit"]["sites"]["a"]["bias"].as_f64().unwrap() != 0.0, "by other draws: {again}");
    // Draws do not judge themselves.
    let seed = document["seed"].to_string();
    let own = audit(&out, &[&settings[..], &["--seed", &seed]].concat()).expect(0).json();
    assert_eq!(own["audit"]["verdict"], "not_judged", "{own}");
}

#[test]
fn too_few_draws_judge_nothing() {
    let (_folder, fit) = fitted();
    let few = audit(&fit, &["--draws", "20"]).expect(0);
    assert!(few.out.contains("verdict      not judged:") && few.out.contains("effective draws"), "{}", few.out);
    assert!(!few.out.contains("too narrow"), "{}", few.out);
    let json = audit(&fit, &["--draws", "20", "--format", "json"]).expect(0).json();
    assert_eq!(json["audit"]["verdict"], "not_judged");
}

#[test]
fn other_data_are_refused() {
    let (folder, fit) = fitted();
    write(&folder, "y.csv", "y\n1.0\n2.5\n");
    let changed = audit(&fit, &[]).expect(3);
    for part in
        ["E0918", "`y` is not what the fit was made from", "element [1] is 2.5 now, and was 2 then", "--data y=FILE"]
    {
        assert!(changed.err.contains(part), "{part}: {}", changed.err);
    }
    write(&folder, "y.csv", "y\n1.0\n2.0\n3.0\n");
    let longer = audit(&fit, &[]).expect(3);
    assert!(longer.err.contains("it has shape [3] now, and had [2] then"), "{}", longer.err);
    assert_eq!(audit(&fit, &["--format", "json"]).expect(3).json()["diagnostics"][0]["code"], "E0918");
    // The same numbers from elsewhere are the same data.
    let copy = write(&folder, "copy.csv", "row,y\n0,1.0\n1,2.0\n");
    audit(&fit, &["--data", &format!("y={copy}:y"), "--quiet"]).expect(0);
    // Small data are kept by the fit.
    std::fs::remove_file(folder.path().join("y.csv")).unwrap();
    let gone = audit(&fit, &[]).expect(0);
    assert!(gone.err.contains("those that the fit keeps are taken"), "{}", gone.err);
}

#[test]
fn large_data_are_known_by_their_fingerprints() {
    let folder = tempfile::tempdir().unwrap();
    let model = "data y: real[N] = csv(\"y.csv\").y\nmodel {\n  mu ~ Normal(0, 1)\n  y ~ Normal(mu, 1)\n}\n\
                 guide mean_field\ninfer svi { steps = 20, draws = 10 }\n";
    let model = write(&folder, "m.bayes", model);
    let rows = |last: &str| format!("y\n{}{last}\n", "0.25\n".repeat(10_001));
    write(&folder, "y.csv", rows("0.5"));
    let fit = at(&folder, "m.fit");
    call(&["run", &model, "--quiet", "--out", &fit]).expect(0);
    write(&folder, "y.csv", rows("0.75"));
    let changed = audit(&fit, &[]).expect(3);
    for part in ["E0918", "y.csv` has changed since the fit was made", "too many to be kept", "--data y=FILE"] {
        assert!(changed.err.contains(part), "{part}: {}", changed.err);
    }
    let other = write(&folder, "z.csv", rows("0.125"));
    let other = audit(&fit, &["--data", &format!("y={other}")]).expect(3);
    assert!(other.err.contains("is not a file that the fit was made from"), "{}", other.err);
    std::fs::remove_file(folder.path().join("y.csv")).unwrap();
    let gone = audit(&fit, &[]).expect(3);
    assert!(gone.err.contains("E0901") && gone.err.contains("large ones are not kept"), "{}", gone.err);
    write(&folder, "y.csv", rows("0.5"));
    audit(&fit, &["--draws", "30", "--quiet"]).expect(0);
}

#[test]
fn wrong_command_lines_are_refused() {
    let (folder, fit) = fitted();
    let unknown = audit(&fit, &["--set", "setps=3"]).expect(1);
    assert!(unknown.err.contains("`nuts` has no setting `setps`"), "{}", unknown.err);
    let twice = audit(&fit, &["--set", "warmup=3"]).expect(2);
    assert!(twice.err.contains("`warmup` is given twice"), "{}", twice.err);
    let svi = audit(&fit, &["--infer", "svi"]).expect(2);
    assert!(svi.err.contains("`svi` is an infer block of svi, and nuts is what judges"), "{}", svi.err);
    assert!(audit(&at(&folder, "no.fit"), &[]).expect(3).err.contains("not a fit"));
    // A learnable constant has no posterior.
    let model = write(
        &folder,
        "p.bayes",
        "data y: real[N] = [1.0, 2.0]\nmodel {\n  param s: real = 1\n  mu ~ Normal(0, 1)\n  y ~ Normal(mu + s, 1)\n}\n\
         infer svi { steps = 20, draws = 10 }\n",
    );
    let out = at(&folder, "p.fit");
    call(&["run", &model, "--quiet", "--out", &out]).expect(0);
    let param = audit(&out, &[]).expect(1);
    assert!(param.err.contains("nuts cannot fit `s`, which is a learnable constant"), "{}", param.err);
}
