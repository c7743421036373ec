//! `bayesc predict`: a fit used again without the data that it was made from.

use super::{Ended, at, call, write};
use safetensors::SafeTensors;
use serde_json::Value;
use std::fmt::Write as _;
use tempfile::TempDir;

/// Numbers between -1 and 1 that look random.
fn noise(i: usize) -> f64 {
    let x = (i as f64 * 12.9898 + 78.233).sin() * 43_758.545_3;
    2.0 * (x - x.floor()) - 1.0
}

const LINEAR: &str = "\
data x: real[N, D] = csv(\"train.csv\").columns(\"a\", \"b\") |> standardize
data y: real[N] = csv(\"train.csv\").y
model {
  alpha ~ Normal(0, 10)
  beta: real[D] ~ Normal(0, 10)
  sigma ~ HalfNormal(5)
  y ~ Normal(alpha + x @ beta, sigma)
}
guide mean_field
infer nuts { chains = 2, warmup = 200, draws = 150, seed = 3 }
infer svi { steps = 1500, optimizer = adam(5e-2), draws = 300, seed = 3 }
evaluate {
  x = csv(\"test.csv\").columns(\"a\", \"b\") |> standardize
  y = csv(\"test.csv\").y
}
";

fn rows(from: usize, n: usize) -> String {
    let mut text = String::from("a,b,y\n");
    for i in from..from + n {
        let (a, b) = (5.0 + 2.0 * noise(3 * i), -1.0 + 3.0 * noise(3 * i + 1));
        let _ = writeln!(text, "{a},{b},{}", 1.0 + 2.0 * a - b + 0.5 * noise(3 * i + 2));
    }
    text
}

/// A linear regression with data to fit and to predict, in a folder of its own.
fn linear() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "m.bayes", LINEAR);
    write(&folder, "train.csv", rows(0, 60));
    write(&folder, "test.csv", rows(1000, 40));
    folder
}

fn fit(folder: &TempDir, args: &[&str]) -> String {
    let (model, out) = (at(folder, "m.bayes"), at(folder, "m.fit"));
    let mut all = vec!["run", &model, "--out", &out, "--quiet"];
    all.extend(args);
    call(&all).expect(0);
    out
}

fn given(folder: &TempDir, name: &str, file: &str) -> String {
    format!("{name}={}", at(folder, file))
}

fn predict(fit: &str, args: &[&str]) -> Ended {
    let mut all = vec!["predict", fit];
    all.extend(args);
    call(&all)
}

#[test]
fn new_rows_are_predicted_without_the_training_data_as_evaluate_does() {
    for infer in ["nuts", "svi"] {
        let folder = linear();
        let fit = fit(&folder, &["--infer", infer]);
        std::fs::remove_file(folder.path().join("train.csv")).unwrap();
        let (x, y) = (given(&folder, "x", "test.csv"), given(&folder, "y", "test.csv"));
        let ended = predict(&fit, &["--data", &x, "--data", &y, "--draws", "200", "--format", "json"]).expect(0);
        let document = ended.json();
        let summary: Value = serde_json::from_slice(&std::fs::read(format!("{fit}/summary.json")).unwrap()).unwrap();
        assert_eq!(document["predict"]["scores"]["y"], summary["evaluate"]["y"], "{infer}: the same numbers");
        let means = document["predict"]["predictions"]["y"]["mean"].as_array().unwrap();
        let text = std::fs::read_to_string(folder.path().join("test.csv")).unwrap();
        for (mean, line) in means.iter().zip(text.lines().skip(1)) {
            let y: f64 = line.rsplit(',').next().unwrap().parse().unwrap();
            assert!((mean.as_f64().unwrap() - y).abs() < 1.5, "{infer}: {mean} for {y}");
        }
        // Without answers the predictions stand alone; their draws lie in the fit directory.
        let alone = predict(&fit, &["--data", &x, "--format", "json"]).expect(0).json();
        assert_eq!(alone["predict"]["scores"], serde_json::json!({}));
        let bytes = std::fs::read(format!("{fit}/posterior_predictive.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.tensor("y").unwrap().shape(), [1, 300, 40]);
        let numbers: Vec<f64> = tensors
            .tensor("y")
            .unwrap()
            .data()
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect();
        let first = numbers.iter().step_by(40).sum::<f64>() / 300.0;
        let shown = alone["predict"]["predictions"]["y"]["mean"][0].as_f64().unwrap();
        assert!((first - shown).abs() < 1e-9, "{first} and {shown}");
    }
}

#[test]
fn what_was_learned_is_used_again() {
    let folder = linear();
    let fit = fit(&folder, &["--infer", "svi"]);
    // By hand what `standardize` did, with the numbers of the training data.
    let column = |text: &str, at: usize| -> Vec<f64> {
        text.lines().skip(1).map(|l| l.split(',').nth(at).unwrap().parse().unwrap()).collect()
    };
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let (train, test) = (read("train.csv"), read("test.csv"));
    let standard = |at: usize| -> Vec<f64> {
        let known = column(&train, at);
        let n = known.len() as f64;
        let mean = known.iter().sum::<f64>() / n;
        let sd = (known.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        column(&test, at).iter().map(|x| (x - mean) / sd).collect()
    };
    let rows: Vec<[f64; 2]> = standard(0).into_iter().zip(standard(1)).map(|(a, b)| [a, b]).collect();
    write(&folder, "prepared.json", serde_json::json!({ "x": rows }).to_string());
    let means = |args: &[&str]| -> Vec<f64> {
        let mut all = args.to_vec();
        all.extend(["--format", "json"]);
        let document = predict(&fit, &all).expect(0).json();
        let list = document["predict"]["predictions"]["y"]["mean"].as_array().unwrap().clone();
        list.iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let raw = means(&["--data", &given(&folder, "x", "test.csv")]);
    let prepared = means(&["--data", &at(&folder, "prepared.json"), "--prepared"]);
    for (a, b) in raw.iter().zip(&prepared) {
        assert!((a - b).abs() < 1e-9, "{a} and {b}");
    }
    let twice = means(&["--data", &at(&folder, "prepared.json")]);
    assert!((raw[0] - twice[0]).abs() > 1.0, "an array goes the way of the training data too");
}

#[test]
fn many_rows_come_in_blocks() {
    let folder = linear();
    let fit = fit(&folder, &["--infer", "svi"]);
    write(&folder, "many.csv", rows(5000, 10_000));
    let out = at(&folder, "p.csv");
    let x = given(&folder, "x", "many.csv");
    predict(&fit, &["--data", &x, "--out", &out, "--draws", "50", "--quiet"]).expect(0);
    let text = std::fs::read_to_string(&out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 10_001);
    assert_eq!(lines[0], "name,index,mean,sd,q5,q25,median,q75,q95");
    let truth = std::fs::read_to_string(folder.path().join("many.csv")).unwrap();
    for (i, (line, row)) in lines[1..].iter().zip(truth.lines().skip(1)).enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells[1], i.to_string());
        let y: f64 = row.rsplit(',').next().unwrap().parse().unwrap();
        assert!((cells[2].parse::<f64>().unwrap() - y).abs() < 1.5, "row {i}: {line}");
    }
    // On stdout the same lines; nothing else was written.
    let printed = predict(&fit, &["--data", &x, "--draws", "50", "--format", "csv", "--quiet"]).expect(0);
    assert_eq!(printed.out, text);
    let hidden = std::fs::read_dir(folder.path())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0, "temporary files are gone");
}

const GROUPS: &str = "\
size County = levels(csv(\"train.csv\").county)
size Kind = levels(csv(\"train.csv\").kind)
data county: int[N] in 0..County = codes(csv(\"train.csv\").county, County)
data kind: int[N] in 0..Kind = codes(csv(\"train.csv\").kind, Kind)
model {
  a: real[County, Kind] ~ Normal(0, 2)
  kind ~ Categorical(logits = a[county])
}
guide mean_field
infer svi { steps = 1500, optimizer = adam(2e-2), draws = 200, seed = 1 }
";

#[test]
fn labels_are_those_of_the_training_data() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "m.bayes", GROUPS);
    let kinds = |i: usize| {
        if i.is_multiple_of(2) {
            "ash"
        } else if i.is_multiple_of(5) {
            "elm"
        } else {
            "oak"
        }
    };
    let mut train = String::from("county,kind\n");
    for i in 0..80 {
        let _ = writeln!(train, "{},{}", if i % 2 == 0 { "North" } else { "South" }, kinds(i));
    }
    write(&folder, "train.csv", train);
    let fit = fit(&folder, &[]);
    std::fs::remove_file(folder.path().join("train.csv")).unwrap();
    let mut new = String::from("county,kind\n");
    for i in 0..30 {
        let _ =
            writeln!(new, "{},{}", if i % 3 == 0 { "South" } else { "North" }, if i % 3 == 0 { "oak" } else { "ash" });
    }
    write(&folder, "new.csv", new);
    let (county, kind) = (given(&folder, "county", "new.csv:county"), given(&folder, "kind", "new.csv"));
    let out = at(&folder, "p.csv");
    let ended = predict(&fit, &["--data", &county, "--data", &kind, "--out", &out]).expect(0);
    let text = std::fs::read_to_string(&out).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "name,index,class,probability,entropy,expected_entropy,mutual_information,p_0,p_1,p_2,observed"
    );
    for (i, line) in lines.enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        let expected = if i % 3 == 0 { "oak" } else { "ash" };
        assert_eq!((cells[2], cells[10]), (expected, expected), "{line}");
        let p: f64 = cells[7..10].iter().map(|c| c.parse::<f64>().unwrap()).sum();
        assert!((p - 1.0).abs() < 1e-9);
        let [total, data, mutual]: [f64; 3] = std::array::from_fn(|k| cells[4 + k].parse().unwrap());
        assert!(mutual >= 0.0 && data >= 0.0 && (total - data - mutual).abs() < 1e-12);
    }
    assert!(ended.out.contains("scaled: p^(1/T) with T ="), "{}", ended.out);
    // Without the answers there are no scores, but means of what the lines say.
    let out = at(&folder, "alone.csv");
    let ended = predict(&fit, &["--data", &county, "--out", &out]).expect(0);
    assert!(ended.out.contains("uncertainty of kind") && !ended.out.contains("scores"), "{}", ended.out);
    let alone = predict(&fit, &["--data", &county, "--format", "json"]).expect(0).json();
    assert_eq!(alone["predict"]["scores"], serde_json::json!({}));
    let text = std::fs::read_to_string(&out).unwrap();
    for (column, name) in [(4, "entropy"), (5, "expected_entropy"), (6, "mutual_information")] {
        let of = |line: &str| -> f64 { line.split(',').nth(column).unwrap().parse().unwrap() };
        let mean = text.lines().skip(1).map(of).sum::<f64>() / 30.0;
        let told = alone["predict"]["uncertainty"]["kind"][name].as_f64().unwrap();
        assert!((mean - told).abs() < 1e-12, "{name}: {told} instead of {mean}");
        let row = &alone["predict"]["predictions"]["kind"][name][3];
        assert!((row.as_f64().unwrap() - of(text.lines().nth(4).unwrap())).abs() < 1e-15);
    }
    write(&folder, "unseen.csv", "county\nWest\n");
    let unseen = predict(&fit, &["--data", &given(&folder, "county", "unseen.csv")]).expect(3);
    assert!(unseen.err.contains("E0910") && unseen.err.contains("`West`"), "{}", unseen.err);
}

#[test]
fn what_the_fit_was_made_of_is_predicted_without_any_data() {
    let folder = linear();
    let fit = fit(&folder, &["--infer", "nuts"]);
    std::fs::remove_file(folder.path().join("train.csv")).unwrap();
    let document = predict(&fit, &["--format", "json"]).expect(0).json();
    assert_eq!(document["predict"]["predictions"]["y"]["mean"].as_array().unwrap().len(), 60);
    assert!(document["predict"]["scores"]["y"]["rmse"].as_f64().unwrap() < 1.0);
}

#[test]
fn what_cannot_be_predicted_is_refused() {
    let folder = linear();
    let fit = fit(&folder, &["--infer", "svi"]);
    let y = given(&folder, "y", "test.csv");
    let no_x = predict(&fit, &["--data", &y]).expect(3);
    assert!(
        no_x.err.contains("no value is given for the data `x`") && no_x.err.contains("--data x=FILE"),
        "{}",
        no_x.err
    );
    let unknown = predict(&fit, &["--data", &given(&folder, "z", "test.csv")]).expect(3);
    assert!(unknown.err.contains("`z` is not a datum"), "{}", unknown.err);
    write(&folder, "wide.json", "{\"x\": [[1, 2, 3]]}");
    let wide = predict(&fit, &["--data", &at(&folder, "wide.json"), "--prepared"]).expect(3);
    assert!(wide.err.contains("`x`"), "{}", wide.err);
    assert!(predict(&fit, &["--out", "p.txt"]).expect(2).err.contains(".safetensors"));
    assert!(predict(&at(&folder, "no.fit"), &[]).expect(3).err.contains("not a fit"));
    // A fit of an early version, and one whose parameters are another program's.
    let path = folder.path().join("m.fit/fit.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut document: Value = serde_json::from_str(&text).unwrap();
    document["model"]["text"] = Value::String(LINEAR.replace("alpha", "intercept"));
    std::fs::write(&path, document.to_string()).unwrap();
    let other = predict(&fit, &["--data", &given(&folder, "x", "test.csv")]).expect(3);
    assert!(other.err.contains("does not match its program"), "{}", other.err);
    document["model"]["text"] = Value::String(LINEAR.replace("HalfNormal", "HolfNormal"));
    std::fs::write(&path, document.to_string()).unwrap();
    let broken = predict(&fit, &[]).expect(3);
    assert!(broken.err.contains("does not accept the program of the fit"), "{}", broken.err);
    document.as_object_mut().unwrap().remove("inputs");
    std::fs::write(&path, document.to_string()).unwrap();
    let early = predict(&fit, &[]).expect(3);
    assert!(early.err.contains("earlier version") && early.err.contains("fit it again"), "{}", early.err);
}

#[test]
fn one_file_cannot_stand_for_several() {
    let folder = linear();
    let model = LINEAR.replace("csv(\"train.csv\").y", "csv(\"train.csv\").y + 0 * csv(\"train.csv\").a");
    write(&folder, "m.bayes", model);
    let fit = fit(&folder, &["--infer", "svi"]);
    let args = ["--data", &given(&folder, "x", "test.csv"), "--data", &given(&folder, "y", "test.csv:y")];
    let refused = predict(&fit, &args).expect(3);
    assert!(refused.err.contains("more than one thing") && refused.err.contains("--prepared"), "{}", refused.err);
}
