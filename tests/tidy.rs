//! Tidiness: what holds for every file, checked by reading the sources.
//!
//! Each test collects all that is wrong and shows it at once. A rule that should not hold for one place is changed in
//! the tables here, with the reason beside it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the ground up. A module imports from its own layer and those below, never from above.
const LAYERS: &[&[&str]] = &[
    &["index", "nearest", "source", "rng", "kernels"],
    &["diag"],
    &["syntax"],
    &["ir", "ops", "dist", "autodiff"],
    // The language's own functions are a table that checking and lowering share.
    &["check", "builtins"],
    &["lower"],
    &["exec", "data"],
    &["infer"],
    &["report"],
    // The shells: they alone know all phases.
    &["driver", "session", "cli", "repl", "lsp", "main"],
];

/// Imports that would be allowed by their layers and that the design rules out all the same.
const ABSENT: &[(&str, &[&str], &str)] = &[
    ("index", &["source", "rng", "kernels"], "arenas know nothing of what they hold"),
    ("source", &["rng", "kernels"], "texts have no numbers"),
    ("kernels", &["index", "source"], "kernels take slices and return slices"),
    ("rng", &["index", "source"], "random numbers are kernels"),
    ("diag", &["rng", "kernels"], "a message is plain facts"),
    ("syntax", &["rng", "kernels"], "parsing needs no numbers"),
    ("ir", &["syntax", "diag"], "no pass reads the syntax tree"),
    ("ops", &["syntax", "diag"], "operations do not know where they came from"),
    ("dist", &["syntax", "diag"], "distributions do not know where they came from"),
    ("autodiff", &["syntax", "diag"], "derivatives do not know where they came from"),
    ("exec", &["syntax", "check"], "execution sees the graph alone"),
    ("lower", &["kernels"], "guides are graphs"),
];

/// Imports upwards that are wanted: from, what, why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("infer", "report::fit", "an engine's result is the fit as plain data"),
    ("infer", "report::loo", "leave-one-out is summed up block by block, where the log likelihoods are"),
    ("infer", "report::metrics", "held-out data are scored while the draws are made"),
    ("infer", "report::statistics", "engines judge themselves by the same numbers that are shown"),
    ("check", "infer::optim", "the settings that a program may write are the engine's own"),
    ("check", "infer::objective", "the settings that a program may write are the engine's own"),
    ("check", "infer::plateau", "the settings that a program may write are the engine's own"),
    ("check", "infer::schedule", "the settings that a program may write are the engine's own"),
];

/// What touches the world outside, and where it may: nothing else reads files or clocks, or writes to the terminal.
const WORLD: &[(&str, &[&str])] = &[
    ("std::fs", &["cli", "repl", "report", "driver", "session", "lsp", "main", "data/files"]),
    ("Instant::now", &["cli", "repl", "report", "driver", "session", "lsp", "main"]),
    ("SystemTime", &["cli", "repl", "report", "driver", "session", "lsp", "main"]),
    ("println!", &["cli", "repl", "lsp", "main"]),
    ("eprintln!", &["cli", "repl", "lsp", "main"]),
    ("process::exit", &["cli", "repl", "main"]),
];

/// Where `unsafe` is written: vector instructions, and files that are mapped into memory.
const UNSAFE: &[&str] = &["kernels/simd", "data/files/map"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `dir` whose name ends in `.ending`, in order; none when there is no such folder.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return found };
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A source file: its path below `src` with `/`, and its code without comments and tests.
struct Source {
    name: String,
    code: String,
}

impl Source {
    /// The top-level module: `syntax`, `index`, `main`.
    fn module(&self) -> &str {
        self.name.split('/').next().unwrap_or("").trim_end_matches(".rs")
    }
    /// True for a file or folder prefix of the name, for example `data/files` of `data/files.rs`.
    fn is_in(&self, place: &str) -> bool {
        self.name.strip_prefix(place).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    }
}

/// Every source file that is part of the program, so without modules that exist in tests only.
fn sources() -> Vec<Source> {
    let src = root().join("src");
    let paths = files(&src, "rs");
    let mut test_only = BTreeSet::new();
    for path in &paths {
        let text = read(path);
        let mut after_cfg = false;
        for line in text.lines().map(str::trim) {
            if after_cfg {
                let name =
                    line.trim_start_matches("pub(crate) ").strip_prefix("mod ").and_then(|l| l.strip_suffix(';'));
                let stem = path.file_stem().expect("a file has a name");
                let folder = path.parent().expect("a file is in a folder");
                let home = if stem == "mod" || stem == "lib" { folder.to_path_buf() } else { folder.join(stem) };
                test_only.extend(name.map(|name| home.join(name)));
            }
            after_cfg = line == "#[cfg(test)]" || (after_cfg && line.starts_with("#["));
        }
    }
    let is_test = |path: &Path| test_only.iter().any(|t| path.starts_with(t) || path == t.with_extension("rs"));
    let source = |path: &PathBuf| {
        let name = path.strip_prefix(&src).expect("below src").to_string_lossy().replace('\\', "/");
        let text = read(path);
        let program = text.split("#[cfg(test)]\nmod ").next().unwrap_or("");
        let code = program.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        Source { name, code }
    };
    paths.iter().filter(|path| !is_test(path)).map(source).collect()
}

/// The paths below `crate::` that the code names, `use` trees written out: `ir::graph::Shape`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let qualified = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        if !qualified {
            expand(&code[at + prefix.len()..], "", &mut found);
        }
    }
    found
}

/// Adds the paths of the `use` tree at the start of `text` and returns how much of it was read.
fn expand(text: &str, prefix: &str, found: &mut Vec<String>) -> usize {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..end]);
    if !text[end..].starts_with('{') || !(path.is_empty() || path.ends_with("::")) {
        if !path.is_empty() {
            found.push(path);
        }
        return end;
    }
    let mut at = end + 1;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with('}') {
            return at + 1;
        }
        let step =
            if rest.starts_with(|c: char| c.is_alphabetic() || c == '_') { expand(rest, &path, found) } else { 0 };
        at += if step > 0 { step } else { rest.chars().next().map_or(1, char::len_utf8) };
    }
    at
}

fn report(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}:\n  {}\n", wrong.join("\n  "));
}

#[test]
fn every_file_opens_with_its_purpose() {
    let folders = ["src", "tests", "benches"].map(|folder| root().join(folder));
    let paths: Vec<PathBuf> = folders.iter().flat_map(|folder| files(folder, "rs")).collect();
    assert!(paths.len() > 20, "the sources were not found");
    let wrong: Vec<String> = paths
        .iter()
        .filter(|path| {
            let text = read(path);
            let first = text.lines().next().unwrap_or("");
            first.strip_prefix("//! ").is_none_or(|purpose| purpose.trim().is_empty())
        })
        .map(|path| path.display().to_string())
        .collect();
    report("a file begins with `//!` and its purpose", &wrong);
}

#[test]
fn modules_import_from_below() {
    let rank = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| s.name != "lib.rs") {
        let from = source.module();
        let Some(from_rank) = rank(from) else {
            wrong.push(format!("{}: `{from}` stands in no layer", source.name));
            continue;
        };
        for path in imports(&source.code) {
            let to = path.split("::").next().unwrap_or("");
            let Some(to_rank) = rank(to) else { continue };
            let excepted = EXCEPTIONS.iter().any(|(f, prefix, _)| {
                *f == from && path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            });
            if to_rank > from_rank && !excepted {
                wrong.push(format!("{}: `{from}` stands below `{to}` and uses `{path}`", source.name));
            }
            for (f, absent, why) in ABSENT {
                if *f == from && absent.contains(&to) {
                    wrong.push(format!("{}: uses `{path}`, but {why}", source.name));
                }
            }
        }
    }
    report("a module imports from its own layer and from below", &wrong);
}

#[test]
fn only_the_shells_touch_the_world() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (what, places) in WORLD {
            // `println!` is a part of `eprintln!`.
            let used = source.code.match_indices(what).any(|(at, _)| !source.code[..at].ends_with('e'));
            if used && !places.iter().any(|place| source.is_in(place)) {
                wrong.push(format!("{}: uses `{what}`", source.name));
            }
        }
    }
    report("files, clock and terminal belong to the shells", &wrong);
}

#[test]
fn unsafe_code_has_one_home_and_reasons() {
    let mut wrong = Vec::new();
    for path in files(&root().join("src"), "rs") {
        let name = path.strip_prefix(root().join("src")).expect("below src").to_string_lossy().replace('\\', "/");
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if code.contains("unsafe_code)")
                && !code.contains("deny")
                && !UNSAFE.iter().any(|place| name.starts_with(place))
            {
                wrong.push(format!("{name}:{}: allows unsafe code", i + 1));
            }
            let explained = || lines[i.saturating_sub(6)..=i].iter().any(|l| l.contains("SAFETY:"));
            if code.contains("unsafe {") && !explained() {
                wrong.push(format!("{name}:{}: an unsafe block without `// SAFETY:`", i + 1));
            }
        }
    }
    report("unsafe code stands in `kernels/simd` and `data/files/map.rs`, each block with its reason", &wrong);
}

#[test]
fn paths_in_the_map_exist() {
    let map = root().join("ARCHITECTURE.md");
    if !map.exists() {
        return;
    }
    let text = read(&map);
    let is_path = |word: &str| {
        let endings = [".rs", ".md", ".bayes", ".pest", ".toml", ".json"];
        let spelt = word.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
        spelt && (word.ends_with('/') || endings.iter().any(|ending| word.ends_with(ending)))
    };
    let wrong: Vec<String> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| is_path(word) && word.len() > 1)
        .filter(|word| !["", "src", "src/diag"].iter().any(|folder| root().join(folder).join(word).exists()))
        .map(str::to_string)
        .collect();
    report("ARCHITECTURE.md names paths that exist", &wrong);
}

#[test]
fn every_diagnostic_has_a_page_with_both_programs() {
    use bayesc::diag::Code;
    let mut wrong = Vec::new();
    for code in Code::ALL {
        let page = code.page();
        if !page.starts_with(&format!("# {}", code.name())) {
            wrong.push(format!("{}: the page does not begin with `# {}`", code.name(), code.name()));
        }
        let programs = page.matches("\n```").count() / 2;
        if programs < 2 {
            wrong.push(format!("{}: the page has {programs} programs, not a wrong and a repaired one", code.name()));
        }
    }
    for path in files(&root().join("src/diag/codes"), "md") {
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        if Code::from_name(&name).is_none() {
            wrong.push(format!("{name}.md: there is no such code"));
        }
    }
    report("each diagnostic has its page", &wrong);
}

#[test]
fn use_trees_are_written_out() {
    let code = "use crate::ir::{graph::{Shape, self}, Op};\nlet x = crate::rng::Key;\nuse crate::{a, b::c};";
    let expect = ["ir::graph::Shape", "ir::graph::self", "ir::Op", "rng::Key", "a", "b::c"];
    assert_eq!(imports(code), expect);
    assert!(imports("$crate::x; mycrate::y").is_empty());
}
