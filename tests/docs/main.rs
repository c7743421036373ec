//! The book in `docs/`: the generated pages are what the tables give, every program in it checks, every link leads
//! somewhere. `BAYESC_BLESS=1 cargo test --test docs` writes the generated pages anew.

mod blocks;
mod examples;
mod generate;
mod plots;

use bayesc::dist;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below `dir` whose name ends in `.ending`, in order.
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

/// The pages of the book, hand-written and generated, by their path below `docs/`.
fn book() -> Vec<(String, String)> {
    let docs = root().join("docs");
    let name = |p: &PathBuf| p.strip_prefix(&docs).expect("below docs").to_string_lossy().replace('\\', "/");
    files(&docs, "md").iter().map(|p| (name(p), read(p))).collect()
}

fn report(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}:\n  {}\n", wrong.join("\n  "));
}

/// The folders that hold generated files only.
const GENERATED: [&str; 2] = ["reference", "diagnostics"];

#[test]
fn generated_pages_are_fresh() {
    let docs = root().join("docs");
    let bless = std::env::var_os("BAYESC_BLESS").is_some();
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for (name, content) in generate::pages() {
        let path = docs.join(&name);
        known.insert(path.clone());
        let old = fs::read_to_string(&path).unwrap_or_default();
        let same = if name.ends_with(".svg") { plots::same(&old, &content) } else { old == content };
        if same {
            continue;
        }
        if bless {
            fs::create_dir_all(path.parent().expect("in a folder")).expect("folders can be made");
            fs::write(&path, &content).expect("the page can be written");
        } else {
            wrong.push(name);
        }
    }
    for path in GENERATED.iter().flat_map(|f| [files(&docs.join(f), "md"), files(&docs.join(f), "svg")].concat()) {
        if !known.contains(&path) {
            if bless {
                fs::remove_file(&path).expect("a stale page can be removed");
            } else {
                wrong.push(format!("{} is made from nothing", path.display()));
            }
        }
    }
    report("generated pages are stale; `BAYESC_BLESS=1 cargo test --test docs` writes them", &wrong);
}

#[test]
fn every_distribution_has_a_formula_moments_and_an_example() {
    let mut wrong = Vec::new();
    for name in dist::names() {
        let Some(example) = examples::of(name) else {
            wrong.push(format!("{name}: give it a row in tests/docs/examples.rs"));
            continue;
        };
        for id in dist::forms(name) {
            let row = dist::get(id);
            if row.formula.is_empty() || row.summary.is_empty() {
                wrong.push(format!("{name}: the row has no formula or summary"));
            }
            if row.mean.is_some() && example.mean.is_empty() {
                wrong.push(format!("{name}: its mean is known, and not said in tests/docs/examples.rs"));
            }
        }
        let row = dist::get(dist::forms(name)[0]);
        if row.event_rank == 0 && row.is_proper() && example.curves.is_empty() && name != "Delta" {
            wrong.push(format!("{name}: no curves to plot"));
        }
    }
    for wrapper in dist::wrappers::TABLE {
        if examples::of(wrapper.name).is_none() {
            wrong.push(format!("{}: give it a row in tests/docs/examples.rs", wrapper.name));
        }
    }
    for example in examples::ALL {
        if example.program.is_empty() {
            wrong.push(format!("{}: an example without a program", example.name));
        }
    }
    report("the reference says everything about every distribution", &wrong);
}

#[test]
fn programs_in_the_book_check_and_run() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    let mut pages = book();
    pages.push(("../README.md".into(), read(&root().join("README.md"))));
    for (name, text) in pages {
        for block in blocks::of(&text) {
            seen += 1;
            if let Err(why) = block.check(&root()) {
                wrong.push(format!("docs/{name}:{}: {why}", block.line));
            }
        }
    }
    assert!(seen > 100, "only {seen} programs were found");
    report("every program in the book is right", &wrong);
}

/// The anchor that renderers give a heading.
fn anchor(heading: &str) -> String {
    let text: String = heading.trim_start_matches('#').trim().to_lowercase();
    let keep = |c: char| c.is_alphanumeric() || c == ' ' || c == '-' || c == '_';
    text.chars().filter(|&c| keep(c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The lines of a page outside of fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

#[test]
fn links_resolve() {
    let mut wrong = Vec::new();
    let mut pages: Vec<(PathBuf, String)> =
        files(&root().join("docs"), "md").into_iter().map(|p| (p.clone(), read(&p))).collect();
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "examples/README.md"] {
        pages.push((root().join(name), read(&root().join(name))));
    }
    for (path, text) in &pages {
        for (line, prose) in prose(text) {
            for (at, _) in prose.match_indices("](") {
                let target = prose[at + 2..].split(')').next().unwrap_or("");
                if target.starts_with("http") || target.is_empty() {
                    continue;
                }
                let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
                let full = if file.is_empty() { path.clone() } else { path.parent().expect("in a folder").join(file) };
                let place = format!("{}:{}: `{target}`", path.display(), line + 1);
                if !full.exists() {
                    wrong.push(format!("{place} leads nowhere"));
                } else if !fragment.is_empty() {
                    let page = read(&full);
                    let mut headings = self::prose(&page).filter(|(_, l)| l.starts_with('#'));
                    if !headings.any(|(_, l)| anchor(l) == fragment) {
                        wrong.push(format!("{place}: the page has no such heading"));
                    }
                }
            }
        }
    }
    report("links lead somewhere", &wrong);
}

#[test]
fn the_table_of_contents_has_every_page() {
    let summary = read(&root().join("docs/SUMMARY.md"));
    let mut wrong = Vec::new();
    for (name, _) in book().iter().filter(|(name, _)| name != "SUMMARY.md") {
        if summary.matches(&format!("]({name})")).count() != 1 {
            wrong.push(format!("{name} does not stand in docs/SUMMARY.md once"));
        }
    }
    report("every page can be reached", &wrong);
}
