//! Programs of several files: folders, files that use files, circles, names that clash.

use bayesc::driver::{self, Compilation, Options};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The path without `..`, as the file system finds it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}
/// Compiles `main` as the file `root/main.bayes` beside other files.
fn compile(main: &str, files: &[(&str, &str)]) -> Compilation {
    let files: HashMap<PathBuf, String> =
        files.iter().map(|(name, text)| (Path::new("root").join(name), text.to_string())).collect();
    let mut loader = |path: &str, folder: Option<&Path>| {
        let full = folder.unwrap_or(Path::new("root")).join(path);
        let text = files.get(&plain(&full)).ok_or_else(|| "there is no such file".to_string())?;
        Ok((path.to_string(), full, text.clone()))
    };
    driver::compile("main.bayes", Some(PathBuf::from("root/main.bayes")), main, &Options::default(), &mut loader)
}
fn messages(c: &Compilation) -> Vec<String> {
    c.diags.iter().map(|d| format!("{}: {}", d.code.name(), d.message)).collect()
}
#[track_caller]
fn accepted(c: &Compilation) {
    assert!(!c.diags.has_errors(), "{:?}", messages(c));
}
#[track_caller]
fn refused(c: &Compilation, code: &str, part: &str) {
    let all = messages(c);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].starts_with(code) && all[0].contains(part), "{all:?}");
}

#[test]
fn files_use_files_in_folders() {
    let c = compile(
        "use \"parts/model.bayes\"\nuse \"scale.bayes\".{double}\nmodel {\n  h ~ model.noise(3)\n  y ~ Normal(double(sum(h)), 1)\n}\n",
        &[
            (
                "parts/model.bayes",
                "use \"../scale.bayes\"\nuse \"deep/inner.bayes\"\nmodel noise(n: size) -> real[n] {\n  z: real[n] ~ inner.unit()\n  return scale.double(z)\n}\n",
            ),
            ("parts/deep/inner.bayes", "model unit() {\n  x ~ Normal(0, 1)\n  return x\n}\n"),
            ("scale.bayes", "FACTOR = 2\nfn double(x: real[..dims]) { return FACTOR * x }\n"),
        ],
    );
    // `z` is declared with a type that the submodel's number does not have.
    let all = messages(&c);
    assert!(all[0].starts_with("E0503") && all[0].contains("`z`"), "{all:?}");
    let c = compile(
        "use \"parts/model.bayes\"\nuse \"scale.bayes\".{double}\nmodel {\n  h ~ model.noise(3)\n  y ~ Normal(double(sum(h)), 1)\n}\n",
        &[
            (
                "parts/model.bayes",
                "use \"../scale.bayes\"\nuse \"deep/inner.bayes\"\nmodel noise(n: size) -> real[n] {\n  z ~ inner.unit(n)\n  return scale.double(z)\n}\n",
            ),
            (
                "parts/deep/inner.bayes",
                "size SPREAD = 4\nmodel unit(n: size) {\n  x: real[n] ~ Normal(0, SPREAD)\n  return x\n}\n",
            ),
            ("scale.bayes", "FACTOR = 2\nfn double(x: real[..dims]) { return FACTOR * x }\n"),
        ],
    );
    accepted(&c);
    let model = c.program.model.as_ref().expect("a model");
    let sites: Vec<&str> = model.sites.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(sites, ["h.z.x", "y"]);
}

#[test]
fn circles_are_shown() {
    let c = compile(
        "use \"a.bayes\"\nmodel {\n  x ~ Normal(0, 1)\n}\n",
        &[
            ("a.bayes", "use \"b.bayes\"\nfn f() -> real { return 1 }\n"),
            ("b.bayes", "use \"sub/../a.bayes\"\nfn g() -> real { return 1 }\n"),
        ],
    );
    refused(&c, "E0802", "uses itself");
    let c = compile(
        "use \"a.bayes\"\nmodel {\n  x ~ Normal(0, 1)\n}\n",
        &[
            ("a.bayes", "use \"main.bayes\"\nfn f() -> real { return 1 }\n"),
            ("main.bayes", "use \"a.bayes\"\nmodel {\n  x ~ Normal(0, 1)\n}\n"),
        ],
    );
    refused(&c, "E0802", "is the program itself");
    let c = compile("use \"none.bayes\"\nmodel {\n  x ~ Normal(none.f(), 1)\n}\n", &[]);
    refused(&c, "E0801", "cannot read `none.bayes`");
}

#[test]
fn names_that_clash_are_refused() {
    let main = |uses: &str, rest: &str| format!("{uses}\nmodel {{\n  x ~ Normal(0, 1)\n}}\n{rest}");
    let c = compile(&main("use priors.{horseshoe}", "fn horseshoe() -> real { return 1 }\n"), &[]);
    refused(&c, "E0204", "`horseshoe` has two meanings");
    let c = compile(&main("use bnn.{dense}\nuse nn.{dense}", ""), &[]);
    refused(&c, "E0204", "`dense` has two meanings");
    let c = compile(&main("use nn.{dense}\nuse nn.{dense}\nuse nn", ""), &[]);
    accepted(&c);
    let files = [("a/net.bayes", "fn f() -> real { return 1 }\n"), ("b/net.bayes", "fn f() -> real { return 2 }\n")];
    let c = compile(&main("use \"a/net.bayes\"\nuse \"b/net.bayes\"", ""), &files);
    refused(&c, "E0204", "two modules are called `net`");
}

#[test]
fn functions_of_used_files_are_checked_also_when_nobody_calls_them() {
    let main = "use \"a.bayes\"\nmodel {\n  x ~ Normal(0, 1)\n}\n";
    let c = compile(main, &[("a.bayes", "fn f(x: real[N]) -> real { return sum(x) + oops }\n")]);
    refused(&c, "E0201", "`oops`");
    let c = compile(main, &[("a.bayes", "layer f(x: real[N, I]) {\n  param w: real[K]\n  return x @ w\n}\n")]);
    refused(&c, "E0201", "no size is called `K`");
}

#[test]
fn a_file_does_not_see_the_names_of_the_program() {
    let main = "use \"a.bayes\"\nsize K = 3\ndata y: real[K] = [1, 2, 3]\nmodel {\n  x ~ Normal(a.f(), 1)\n}\n";
    let c = compile(main, &[("a.bayes", "fn f() -> real { return sum(y) }\n")]);
    refused(&c, "E0201", "`y`");
    let c = compile(main, &[("a.bayes", "fn f() -> real { return sum(zeros([K])) }\n")]);
    refused(&c, "E0201", "`K`");
}

#[test]
fn nets_of_one_name_in_two_files_have_parameters_of_their_own() {
    let net = |n: usize| format!("net f(x: real[I]) -> real {{\n  param w: real[I] = {n}\n  return dot(w, x)\n}}\n");
    let c = compile(
        &format!(
            "use \"a.bayes\"\nuse \"b/a2.bayes\"\n{}model {{\n  x ~ Normal(f([1.0]) + a.f([1.0]) + a2.f([2.0]) + f([3.0]), 1)\n}}\n",
            net(0)
        ),
        &[("a.bayes", &net(1)), ("b/a2.bayes", &net(2))],
    );
    accepted(&c);
    let names: Vec<&str> = c.program.params.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["f.w", "a.f.w", "a2.f.w"]);
}

#[test]
fn functions_cannot_call_themselves() {
    for text in [
        "fn f(x: real) -> real { return f(x) }\n",
        "fn f(x: real) -> real { return g(x) }\nfn g(x: real) -> real { return f(x) }\n",
        "layer f(x: real) -> real { return f(x) }\n",
        "net f(x: real) -> real { return f(x) }\n",
        "model f(x: real) {\n  h ~ f(x)\n  return h\n}\n",
    ] {
        let c = compile(&format!("{text}model {{\n  x ~ Normal(0, 1)\n}}\n"), &[]);
        let all = messages(&c);
        assert!(!all.is_empty() && all.iter().all(|m| m.starts_with("E0206")), "{text}: {all:?}");
    }
}

#[test]
fn constants_of_a_file_that_need_each_other_are_refused() {
    let c = compile(
        "use \"a.bayes\"\nmodel {\n  x ~ Normal(a.f(), 1)\n}\n",
        &[("a.bayes", "A = B + 1\nB = A\nsize C = D\nsize D = C\nfn f() -> real { return A + sum(zeros([C])) }\n")],
    );
    assert!(c.diags.has_errors());
}
