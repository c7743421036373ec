//! Messages as users see them: every program under `tests/ui` says in comments which diagnostics it must give.
//!
//! `//~ E0301 "inner sizes differ"` stands behind the offending line, `//~^ …` in the line below it, `//~? …` anywhere for
//! a message without a place; the text occurs in the message, a label or the help. `//~ ok` in the first line: no diagnostics at all. A `.stderr` file beside a program
//! holds the whole rendering; `UPDATE_EXPECT=1 cargo test --test ui` writes those that exist anew.
//!
//! Programs in `data/` are also given their data, those in `runs/` also fitted.

use bayesc::data::Files;
use bayesc::diag::{Code, Diagnostic, Diagnostics, render::render_all};
use bayesc::driver::{Compilation, compile};
use bayesc::session::{self, Failure, RunOptions, Unobserved};
use std::path::{Path, PathBuf};

/// What a comment of a program asks for.
struct Expected {
    line: usize,
    code: String,
    text: String,
}

fn programs(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder of the programs can be read") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            programs(&path, found);
        } else if path.extension().is_some_and(|e| e == "bayes") {
            found.push(path);
        }
    }
    found.sort();
}

fn expected(name: &str, text: &str) -> Vec<Expected> {
    let mut all = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for part in line.split("//~").skip(1) {
            let up = part.chars().take_while(|c| *c == '^').count();
            let nowhere = part.starts_with('?');
            let rest = part[up..].trim_start_matches('?').trim();
            if rest == "ok" {
                continue;
            }
            let (code, quoted) = rest.split_once(' ').unwrap_or_else(|| panic!("{name}:{}: a code and a text", at + 1));
            let text = quoted.trim().trim_matches('"').to_string();
            let line = if nowhere { 0 } else { at + 1 - up };
            all.push(Expected { line, code: code.to_string(), text });
        }
    }
    all
}

fn compiled(shown: &str, path: &Path, text: &str) -> Compilation {
    let mut loader = |wanted: &str, folder: Option<&Path>| {
        let full = folder.unwrap_or(Path::new(".")).join(wanted);
        let full = full.canonicalize().map_err(|_| "no such file".to_string())?;
        let text = std::fs::read_to_string(&full).map_err(|e| e.to_string())?;
        Ok((wanted.to_string(), full, text))
    };
    let path = path.canonicalize().expect("the program exists");
    compile(shown, Some(path), text, &Default::default(), &mut loader)
}

/// All messages on the way to a result: of the check, then of the data (in `data/`), then of the fit (in `runs/`).
fn messages(shown: &str, result: &Compilation) -> Diagnostics {
    let mut diags = result.diags.clone();
    let folder = shown.split('/').next().unwrap_or("");
    if diags.has_errors() || !["data", "runs"].contains(&folder) {
        return diags;
    }
    let outcome = session::bind(result, &mut Files::new(), &[]).and_then(|bound| match folder {
        "runs" => session::run(&bound, &RunOptions::default(), &mut Unobserved).map(|_| ()),
        _ => Ok(()),
    });
    match outcome {
        Ok(()) => {}
        Err(Failure::Diagnostics(more)) => diags.extend(more),
        Err(Failure::Run(error)) => diags.push(error.diagnostic()),
        Err(Failure::Fit { message, .. }) => unreachable!("no fit is loaded: {message}"),
    }
    diags
}

fn says(d: &Diagnostic, text: &str) -> bool {
    d.message.contains(text)
        || d.labels.iter().any(|l| l.message.contains(text))
        || d.help.as_ref().is_some_and(|h| h.contains(text))
}

#[test]
fn programs_give_the_messages_that_they_announce() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let mut paths = Vec::new();
    programs(&root, &mut paths);
    assert!(paths.len() >= 180, "only {} programs", paths.len());
    let (mut wrong, mut seen) = (String::new(), std::collections::BTreeSet::new());
    for path in paths {
        let shown = path.strip_prefix(&root).expect("below the root").display().to_string().replace('\\', "/");
        let text = std::fs::read_to_string(&path).expect("readable");
        let result = compiled(&shown, &path, &text);
        let diags = messages(&shown, &result);
        let rendered = render_all(&diags, &result.sources, false);
        if std::env::var_os("SHOW_UI").is_some_and(|part| shown.contains(&*part.to_string_lossy())) {
            println!("===== {shown}\n{rendered}");
        }
        let mut wanted = expected(&shown, &text);
        if wanted.is_empty() && !text.starts_with("//~ ok") {
            wrong += &format!("{shown} announces nothing; it gives\n{rendered}\n");
            continue;
        }
        for d in &diags {
            seen.insert(d.code);
            // One thing to do; what the grammar expected says it by itself.
            if d.help.is_none() && d.code != Code::E0101 && d.code != Code::E1002 {
                wrong += &format!("{shown} gives no help: {} {}\n", d.code.name(), d.message);
            }
            if d.message.ends_with('.') || d.message.starts_with(|c: char| c.is_uppercase()) {
                wrong += &format!("{shown}: a message has a small first letter and no full stop: {}\n", d.message);
            }
            let place = d.span().map(|s| result.sources.file(s.file).line_column(s.start as usize).0);
            let line = place.unwrap_or(0);
            let fits = |e: &Expected| e.line == line && e.code == d.code.name() && says(d, &e.text);
            match wanted.iter().position(fits) {
                Some(at) => drop(wanted.remove(at)),
                None => wrong += &format!("{shown}:{line} gives, unannounced: {} {}\n", d.code.name(), d.message),
            }
        }
        for e in wanted {
            wrong += &format!("{shown}:{} lacks {} \"{}\"\n", e.line, e.code, e.text);
        }
        let kept = path.with_extension("stderr");
        if let Ok(before) = std::fs::read_to_string(&kept)
            && before != rendered
        {
            if std::env::var_os("UPDATE_EXPECT").is_some() {
                std::fs::write(&kept, &rendered).expect("writable");
            } else {
                wrong += &format!("{shown} is rendered differently:\n{rendered}\n");
            }
        }
    }
    // Not of a program, but of an option of the command line or of a fit: `tests/cli.rs` has them.
    seen.extend([Code::E1003, Code::E0918]);
    for code in Code::ALL.iter().filter(|c| !seen.contains(c)) {
        wrong += &format!("no program gives {} ({})\n", code.name(), code.title());
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn files_that_use_each_other_in_a_circle_are_refused() {
    let folder = tempfile::tempdir().expect("a folder for files");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writable");
    write("a.bayes", "use \"b.bayes\"\nmodel {\n  mu ~ Normal(b.g(1), 1)\n}\n");
    write("b.bayes", "use \"c.bayes\"\nfn g(x: real) -> real {\n  return 2 * x\n}\n");
    write("c.bayes", "fn h(x: real) -> real {\n  return x\n}\n");
    let run = || {
        let path = folder.path().join("a.bayes");
        let text = std::fs::read_to_string(&path).expect("written above");
        let result = compiled("a.bayes", &path, &text);
        result.diags.iter().map(|d| d.code.name()).collect::<Vec<_>>()
    };
    assert_eq!(run(), Vec::<&str>::new());
    write("c.bayes", "use \"b.bayes\"\nfn h(x: real) -> real {\n  return x\n}\n");
    assert_eq!(run(), ["E0802"]);
    write("c.bayes", "use \"a.bayes\"\n");
    assert_eq!(run(), ["E0802"]);
    write("c.bayes", "use \"missing.bayes\"\n");
    assert_eq!(run(), ["E0801"]);
}
