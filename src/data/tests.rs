//! Programs with their data: values, sizes and messages of the whole layer.

use super::*;
use crate::diag::{Code, Diagnostics};
use crate::source::Sources;
use crate::syntax::ast::{ItemKind, Module};
use crate::syntax::parse_module;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

mod images;
mod in_files;
#[cfg(feature = "parquet")]
mod parquet;

fn parse(text: &str) -> Module {
    let mut sources = Sources::default();
    let file = sources.add("t.bayes", None, text);
    let mut diags = Diagnostics::new();
    let module = parse_module(file, text, &mut diags);
    assert!(diags.is_empty(), "{text}: {:?}", diags.iter().map(|d| &d.message).collect::<Vec<_>>());
    module
}

/// Requests for all data of the module; data that `given` names take that value.
fn requests<'a>(module: &'a Module, given: &[Given]) -> Vec<BindRequest<'a>> {
    let items = module.items.iter().filter_map(|item| match &item.kind {
        ItemKind::Data { name, ty, value } => Some(BindRequest::of(name, ty, value.as_ref())),
        _ => None,
    });
    items
        .map(|mut request| {
            if let Some(g) = given.iter().find(|g| g.name == request.name) {
                request.source = Source::Given(g.value.clone(), g.from.clone());
            }
            request
        })
        .collect()
}

struct Outcome {
    binding: Binding,
    learned: Learned,
    messages: Vec<crate::diag::Diagnostic>,
}

impl Outcome {
    fn values(&self, name: &str) -> Vec<f64> {
        assert!(self.messages.is_empty(), "{:#?}", self.messages);
        self.binding.get(name).expect("bound").data.to_vec()
    }
    fn size(&self, name: &str) -> usize {
        self.binding.sizes[name].value
    }
    fn labels(&self, name: &str) -> Vec<String> {
        self.binding.sizes[name].labels.as_ref().expect("labels").names.clone()
    }
    fn one(&self, code: Code) -> &crate::diag::Diagnostic {
        assert_eq!(self.messages.len(), 1, "{:#?}", self.messages);
        assert_eq!(self.messages[0].code, code, "{:#?}", self.messages[0]);
        &self.messages[0]
    }
}

fn bind_in(folder: &Path, text: &str, given: &[Given], sizes: SizeTable) -> Outcome {
    let module = parse(text);
    let mut files = Files::new();
    let mut evaluator = Evaluator::new(&mut files, folder);
    evaluator.define_module(&module);
    evaluator.sizes = sizes;
    let mut out = Diagnostics::new();
    let requests = requests(&module, given);
    let binding = bind(&mut evaluator, &requests, &[], &mut out);
    Outcome { binding, learned: evaluator.into_learned(), messages: out.iter().cloned().collect() }
}

/// Binds the data of a program beside the files `(name, content)`.
fn bound(files: &[(&str, &str)], text: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    bind_in(folder.path(), text, &[], SizeTable::new())
}

/// Evaluates an expression without files.
fn eval(text: &str) -> Fallible<Value> {
    let text = format!("x = {text}");
    let module = parse(&text);
    let mut files = Files::new();
    let mut evaluator = Evaluator::new(&mut files, ".");
    evaluator.define_module(&module);
    let span = module.items[0].span;
    evaluator.value("x", span).expect("defined")
}
fn array(text: &str) -> Array {
    match eval(text) {
        Ok(Value::Array(a)) => a,
        other => panic!("{text}: {other:?}"),
    }
}
fn check(text: &str, shape: &[usize], values: &[f64]) {
    let a = array(text);
    assert_eq!(a.shape(), shape, "{text}");
    let found: Vec<f64> = a.data.iter().copied().collect();
    let near = |x: f64, y: f64| x == y || (x - y).abs() <= 1e-12 * y.abs() || (x.is_nan() && y.is_nan());
    assert!(found.iter().zip(values).all(|(&x, &y)| near(x, y)), "{text}: {found:?} and not {values:?}");
}
fn fails(text: &str, code: Code, words: &str) {
    let d = eval(text).expect_err(text);
    assert_eq!(d.code, code, "{text}: {}", d.message);
    let all = format!("{} | {:?} | {:?}", d.message, d.help, d.notes);
    assert!(all.contains(words), "{text}: {all}");
    assert!(d.span().is_some(), "{text}: no place");
}

#[test]
fn arithmetic_keeps_ints_and_broadcasts() {
    check("[1, 2, 3] * 2 + 1", &[3], &[3.0, 5.0, 7.0]);
    assert_eq!(array("[1, 2] * 2").elem, Elem::Int);
    assert_eq!(array("[1, 2] / 2").elem, Elem::Real);
    assert_eq!(array("1 < 2").elem, Elem::Bool);
    check("[[1, 2], [3, 4]] - [10, 20]", &[2, 2], &[-9.0, -18.0, -7.0, -16.0]);
    check("[1, 2][:, new] + [10, 20, 30]", &[2, 3], &[11.0, 21.0, 31.0, 12.0, 22.0, 32.0]);
    check("100 - [1, 2]", &[2], &[99.0, 98.0]);
    check("-7 % 3", &[], &[2.0]);
    check("2 ^ 10", &[], &[1024.0]);
    check("2 ^ -1", &[], &[0.5]);
    check("-[1, 2] ^ 2", &[2], &[-1.0, -4.0]);
    check("[[1, 2], [3, 4]] @ [1, 1]", &[2], &[3.0, 7.0]);
    check("[1, 2] @ [3, 4]", &[], &[11.0]);
    check("not (1 < 2) or 2 >= 2 and 1 != 2", &[], &[1.0]);
    check("[1, 5, 9] in 2..=9", &[3], &[0.0, 1.0, 1.0]);
    fails("[1, 2] + [1, 2, 3]", Code::E0903, "[2] and [3]");
    fails("[1, 2] @ [1, 2, 3]", Code::E0903, "cannot multiply");
    fails("1 and true", Code::E0904, "needs bool");
    fails("3 ^ 40", Code::E0916, "too large to be exact");
    fails("\"a\" + 1", Code::E0904, "a string");
}

#[test]
fn functions_of_the_table() {
    check("sum([1, 2, 3])", &[], &[6.0]);
    check("mean([[1, 2], [3, 6]], axis = 0)", &[2], &[2.0, 4.0]);
    check("max([[1, 2], [3, 6]], axis = -1)", &[2], &[2.0, 6.0]);
    check("sum([[1, 2], [3, 6]], over = all)", &[], &[12.0]);
    check("sum([[[1, 2], [3, 6]], [[1, 1], [1, 1]]], axis = (0, 2))", &[2], &[5.0, 11.0]);
    check("sd([1, 2, 3, 4])", &[], &[(5.0f64 / 3.0).sqrt()]);
    check("variance([1e9, 1e9 + 1, 1e9 + 2])", &[], &[1.0]);
    check("argmax([1, 5, 5])", &[], &[1.0]);
    check("any([1, 2] > 1)", &[], &[1.0]);
    check("cumsum([1, 2, 3])", &[3], &[1.0, 3.0, 6.0]);
    check("range(3) + range(1, 4)", &[3], &[1.0, 3.0, 5.0]);
    check("fill([2, 1], 0.5)", &[2, 1], &[0.5, 0.5]);
    check("concat([1, 2], [3])", &[3], &[1.0, 2.0, 3.0]);
    check("stack([1, 2], [3, 4])", &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    check("[1, 2, 3, 4] |> reshape([2, 2]) |> transpose", &[2, 2], &[1.0, 3.0, 2.0, 4.0]);
    check("where([1, 2] > 1, 1 / 0, [5, 6])", &[2], &[5.0, f64::INFINITY]);
    check("one_hot([0, 2], 3)", &[2, 3], &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    check("diag([1, 2])", &[2, 2], &[1.0, 0.0, 0.0, 2.0]);
    check("diagonal(eye(2) * 3)", &[2], &[3.0, 3.0]);
    check("outer([1, 2], [3, 4])", &[2, 2], &[3.0, 4.0, 6.0, 8.0]);
    check("sort([3, 1, 2])", &[3], &[1.0, 2.0, 3.0]);
    check("[logit(0.5), sigmoid(0), softplus(-1000), log1p(0), expm1(0)]", &[5], &[0.0, 0.5, 0.0, 0.0, 0.0]);
    check("log1m_exp(-1e-20)", &[], &[1e-20f64.ln()]);
    check("normal_cdf(0) + pi * 0 + e * 0", &[], &[0.5]);
    check("lchoose(5, 2)", &[], &[10f64.ln()]);
    check("standardize([1, 2, 3])", &[3], &[-1.0, 0.0, 1.0]);
    check("codes([\"b\", \"a\"], levels([\"a\", \"b\", \"b\"]))", &[2], &[1.0, 0.0]);
    check("flatten(zeros([2, 3, 4]))", &[2, 12], &[0.0; 24]);
    fails("mean([[1, 2], [3, 4]])", Code::E0916, "axis = 0");
    fails("sum([1], over = N)", Code::E0916, "axis = 0");
    fails("stadardize([1, 2])", Code::E0915, "`standardize`");
    fails("standardize([2, 2])", Code::E0913, "every row");
    fails("standardize([[1, 2], [3, 2]])", Code::E0913, "column 1");
    fails("sd([1])", Code::E0912, "at least 2");
    fails("max(zeros([0]))", Code::E0912, "at least 1");
    fails("one_hot([3], 3)", Code::E0905, "0..3");
    fails("codes([\"c\"], levels([\"a\"]))", Code::E0910, "`c`");
    fails("codes([1], 3)", Code::E0904, "labels");
    fails("reshape([1, 2, 3], [2, 2])", Code::E0903, "[3] cannot be reshaped to [2, 2]");
    fails("fill([99999999, 99999999], 1)", Code::E0916, "larger than memory");
    fails("sum([1], 0, all, 3)", Code::E0915, "`all`");
    fails("sum(x = [1], y = 2)", Code::E0916, "no argument `y`");
    fails("range()", Code::E0916, "needs the argument `a`");
    fails("concat(1, 2)", Code::E0916, "joins arrays");
    fails("[1, [2]]", Code::E0903, "one shape");
    fails("parquet(\"f\")", Code::E0901, "`./f`");
    fails("csv(\"none.csv\").a", Code::E0901, "none.csv");
    fails("csv(3)", Code::E0916, "one string");
    fails("y + 1", Code::E0915, "`y`");
    fails("x + 1", Code::E0916, "its own value");
}

#[test]
fn indexing() {
    check("range(5)[1..3]", &[2], &[1.0, 2.0]);
    check("range(5)[3..]", &[2], &[3.0, 4.0]);
    check("range(5)[..=1]", &[2], &[0.0, 1.0]);
    check("range(5)[[4, 0]]", &[2], &[4.0, 0.0]);
    check("range(5)[2]", &[], &[2.0]);
    check("[[1, 2], [3, 4]][:, 1]", &[2], &[2.0, 4.0]);
    check("[[1, 2], [3, 4]][1]", &[2], &[3.0, 4.0]);
    check("[[1, 2], [3, 4]][[0, 1], [1, 0]]", &[2], &[2.0, 3.0]);
    check("range(3)[[[0, 1], [2, 2]]]", &[2, 2], &[0.0, 1.0, 2.0, 2.0]);
    check("range(6)[new, 2..4, new]", &[1, 2, 1], &[2.0, 3.0]);
    check("reshape(range(24), [2, 3, 4])[:, [0, 2], [1, 3]]", &[2, 2], &[1.0, 11.0, 13.0, 23.0]);
    check("reshape(range(24), [2, 3, 4])[1, 1..][:, 0]", &[2], &[16.0, 20.0]);
    fails("range(5)[-1]", Code::E0916, "N - 1");
    fails("range(5)[5]", Code::E0916, "0 to 4");
    fails("range(5)[..6]", Code::E0916, "ends at 6");
    fails("range(5)[3..2]", Code::E0916, "begins at 3");
    fails("range(5)[1.5]", Code::E0904, "must be an int");
    fails("range(5)[0, 0]", Code::E0903, "2 indices");
    fails("[[1, 2], [3, 4]][[0, 1], [1]]", Code::E0903, "one shape");
    fails("zeros([2, 2, 2])[[0], :, [0]]", Code::E0916, "side by side");
}

const TABLE: &str = "g,x,y,\"odd name\"\nb,1,2.5,1\na,2,NA,0\nb,3,4.5,1\n";

#[test]
fn tables_give_columns_matrices_and_rows() {
    let o = bound(
        &[("t.csv", TABLE)],
        "table = csv(\"t.csv\")\nfull = table.drop_missing()\n\
         data x: int[N] = table.x\ndata z: int[N] = table[\"odd name\"]\ndata m: real[M, D] = full.except(\"g\")\n\
         data two: real[M, 2] = full.columns(\"y\", \"x\")\ndata last: real[1] = table[1..].drop_missing(\"y\").y\n\
         data a: bool[N] = table.g == \"a\"",
    );
    assert_eq!(o.values("x"), [1.0, 2.0, 3.0]);
    assert_eq!(o.values("m"), [1.0, 2.5, 1.0, 3.0, 4.5, 1.0]);
    assert_eq!(o.values("two"), [2.5, 1.0, 4.5, 3.0]);
    assert_eq!(o.values("last"), [4.5]);
    assert_eq!(o.values("a"), [0.0, 1.0, 0.0]);
    assert_eq!((o.size("N"), o.size("M"), o.size("D")), (3, 2, 3));
    assert_eq!(o.labels("D"), ["x", "y", "odd name"]);
}

#[test]
fn missing_values_name_row_and_column() {
    let o = bound(&[("t.csv", TABLE)], "data y: real[N] = csv(\"t.csv\").y");
    let d = o.one(Code::E0906);
    assert!(d.message.contains("column `y`") && d.message.contains("row 1 (line 3)"), "{}", d.message);
    assert!(d.help.as_ref().unwrap().contains("drop_missing(\"y\")"));
    let o = bound(&[("d.json", r#"{"y": [1, null]}"#)], "data y: real[N] = json(\"d.json\").y");
    assert!(o.one(Code::E0906).message.contains("row 1"));
}

#[test]
fn elements_are_checked() {
    let files = [("t.csv", "a,b,t,m\n1,0,x,1\n2.0,1,y,2\n2.5,2,z,two\n")];
    let o = bound(&files, "data a: int[N] = csv(\"t.csv\").a");
    assert!(o.one(Code::E0904).message.contains("row 2, column `a`"), "{}", o.messages[0].message);
    assert_eq!(bound(&files, "data a: int[N] = csv(\"t.csv\").a[..2]").values("a"), [1.0, 2.0]);
    assert!(bound(&files, "data b: bool[N] = csv(\"t.csv\").b").one(Code::E0904).message.contains("is 2"));
    let o = bound(&files, "data t: real[N] = csv(\"t.csv\").t");
    assert!(o.one(Code::E0904).help.as_ref().unwrap().contains("levels"));
    let o = bound(&files, "data m: real[N] = csv(\"t.csv\").m");
    assert!(o.one(Code::E0904).notes[0].contains("`two` is no number: row 2"), "{:?}", o.messages);
    let o = bound(&files, "data m: real[N] = csv(\"t.csv\")");
    assert!(o.one(Code::E0904).help.as_ref().unwrap().contains("columns"));
}

#[test]
fn shapes_and_sizes_are_checked() {
    let files = [("t.csv", "a,b\n1,0\n2,1\n3,1\n")];
    let o = bound(&files, "data a: real[N, 1] = csv(\"t.csv\").a");
    assert_eq!(o.one(Code::E0903).help.as_deref(), Some("add the dimension of size 1 with `[:, new]`"));
    let o = bound(&files, "data a: real[2] = csv(\"t.csv\").a");
    assert!(o.one(Code::E0903).message.contains("declared [2], but its value is [3]"));
    let o = bound(&files, "data a: real[N] = csv(\"t.csv\").a\ndata b: real[N] = csv(\"t.csv\").b[1..]");
    let d = o.one(Code::E0908);
    assert_eq!(d.message, "`N` is 3, but dimension 0 of `b` is 2");
    assert!(d.labels.iter().any(|l| l.message.contains("from dimension 0 of `a`")), "{d:#?}");
    let o = bound(&files, "size N = 2\ndata a: real[N] = csv(\"t.csv\").a");
    assert!(o.one(Code::E0908).labels.iter().any(|l| l.message.contains("by this")));
    let o = bound(&files, "data a: real[N - 1] = csv(\"t.csv\").a[1..]\ndata b: real[N] = csv(\"t.csv\").b");
    assert_eq!(o.values("a"), [2.0, 3.0]);
    let o = bound(&files, "data a: real[2 * N] = csv(\"t.csv\").a\ndata b: real[N] = csv(\"t.csv\").b");
    assert!(o.one(Code::E0908).message.contains("`2 * N` is 6"));
    let o = bound(&files, "data a: real[2 * K] = csv(\"t.csv\").a");
    o.one(Code::E0909);
    let o = bound(&[("t.csv", "a\n")], "data a: real[N] = csv(\"t.csv\").a");
    o.one(Code::E0912);
    let o = bound(&files, "data s: real = csv(\"t.csv\").a[0]");
    assert_eq!(o.values("s"), [1.0]);
}

#[test]
fn sizes_from_items_labels_and_later_data() {
    let files = [("t.csv", "g,x\nb,1\na,2\nb,3\n")];
    let o = bound(
        &files,
        "size H = 7\nsize K = H / 2\nsize G = levels(csv(\"t.csv\").g)\n\
         data g: int[N] in 0..G = codes(csv(\"t.csv\").g, G)\ndata o: real[K] = ones([K])\ndata h: int[N, G] = one_hot(g, G)",
    );
    assert_eq!(o.values("g"), [1.0, 0.0, 1.0]);
    assert_eq!(o.size("K"), 3);
    assert_eq!(o.labels("G"), ["a", "b"]);
    assert_eq!(o.values("h"), [0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
    // The first needs a size that the second binds.
    let o = bound(&files, "data w: real[N] = fill([N], 0.5)\ndata x: real[N] = csv(\"t.csv\").x");
    assert_eq!(o.values("w"), [0.5; 3]);
    let o = bound(&files, "data w: real[N] = fill([N], 0.5)");
    assert!(o.one(Code::E0909).help.as_ref().unwrap().contains("--size N=10"));
    // Labels of numbers sort as numbers and keep their spelling.
    let o = bound(
        &[("t.csv", "id\n10\n007\n2\n")],
        "size I = levels(csv(\"t.csv\").id)\ndata i: int[N] in 0..I = codes(csv(\"t.csv\").id, I)",
    );
    assert_eq!(o.labels("I"), ["2", "007", "10"]);
    assert_eq!(o.values("i"), [2.0, 1.0, 0.0]);
    let o = bound(&files, "size A = B\nsize B = A\ndata x: real[A] = csv(\"t.csv\").x");
    assert!(o.one(Code::E0916).message.contains("its own value"));
}

#[test]
fn ranges_are_checked_elementwise() {
    let files = [("t.csv", "n,k,x\n5,5,0\n3,4,1\n")];
    let program =
        |range: &str| format!("data k: int[N] in {range} = csv(\"t.csv\").k\ndata n: int[N] = csv(\"t.csv\").n");
    assert_eq!(bound(&files, &program("0..6")).values("k"), [5.0, 4.0]);
    let o = bound(&files, &program("0..=n"));
    let d = o.one(Code::E0905);
    assert_eq!(
        d.message,
        "`k` is 4 outside its range `0..=3`: row 1, column `k` (`".to_string()
            + &d.message[d.message.find("(`").unwrap() + 2..]
    );
    let o = bound(&files, &program("0..5"));
    assert!(o.one(Code::E0905).help.as_ref().unwrap().contains("..="));
    let o = bound(&files, "data x: real[N] in 0..1 = csv(\"t.csv\").x");
    o.one(Code::E0905);
    assert!(bound(&files, "data x: real[N] in 0..=1 = csv(\"t.csv\").x").messages.is_empty());
    assert!(bound(&files, "data x: real[N] in 0.. = csv(\"t.csv\").x").messages.is_empty());
    bound(&files, "data x: real[N] in 0.5.. = csv(\"t.csv\").x").one(Code::E0905);
}

#[test]
fn all_problems_come_in_one_go() {
    let o = bound(
        &[("t.csv", "a\n1\n2\n")],
        "data a: int[N] in 0..2 = csv(\"t.csv\").a\ndata b: real[N] = csv(\"t.csv\").bb\ndata c: real[N]\n\
         data d: real[N] in 0..b = csv(\"none.csv\").d\ndata f: real[3] = csv(\"t.csv\").a",
    );
    let codes: Vec<Code> = o.messages.iter().map(|d| d.code).collect();
    for code in [Code::E0905, Code::E0907, Code::E0914, Code::E0901, Code::E0903] {
        assert!(codes.contains(&code), "{codes:?} lacks {code:?}");
    }
    assert_eq!(codes.len(), 5, "{codes:?}");
}

#[test]
fn one_mistake_gives_one_message() {
    // `w` needs the size that the broken `x` would have bound, `z` needs `x` itself, `v` needs absent data.
    let o = bound(
        &[("t.csv", "a\n1\n")],
        "data x: real[N] = csv(\"none.csv\").x\ndata w: real[N] = fill([N], 1.0)\ndata z: real[N] = x + 1\n\
         data k: real[2 * H] = [1, 2, 3, 4]\nsize H = 2",
    );
    o.one(Code::E0901);
    assert_eq!(o.size("H"), 2);
    let o = bound(&[], "data x: real[N]\ndata z: real[N] = x + 1\ndata w: real[N] = fill([N], 1.0)");
    o.one(Code::E0914);
    let o = bound(&[], "size U = levels(csv(\"none.csv\").u)\ndata x: real[N] = [1.0]");
    o.one(Code::E0901);
    fails("9007199254740993", Code::E0916, "too large");
}

#[test]
fn held_out_data_use_what_was_learned() {
    let files = [("a.csv", "x,g\n1,u\n2,v\n3,u\n"), ("b.csv", "x,g\n5,v\n2,v\n"), ("c.csv", "x,g\n5,w\n")];
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let text = |file: &str| {
        format!(
            "size G = levels(csv(\"a.csv\").g)\ndata x: real[N] = standardize(csv(\"{file}\").x)\n\
             data c: real[N] = csv(\"{file}\").x - mean(csv(\"{file}\").x)\ndata g: int[N] in 0..G = codes(csv(\"{file}\").g, G)"
        )
    };
    let train = bind_in(folder.path(), &text("a.csv"), &[], SizeTable::new());
    assert_eq!(train.values("x"), [-1.0, 0.0, 1.0]);
    let stored = serde_json::to_string(&train.learned).unwrap();
    let learned: Learned = serde_json::from_str(&stored).unwrap();
    assert_eq!(learned, train.learned);
    let held_out = |file: &str, extra: &str| {
        let text = text(file) + extra;
        let module = parse(&text);
        let mut files = Files::new();
        let mut evaluator = Evaluator::held_out(&mut files, folder.path(), learned.clone());
        evaluator.define_module(&module);
        evaluator.sizes.insert("G".into(), train.binding.sizes["G"].clone());
        let mut out = Diagnostics::new();
        let requests = requests(&module, &[]);
        let binding = bind(&mut evaluator, &requests, &[], &mut out);
        Outcome { binding, learned: Learned::default(), messages: out.iter().cloned().collect() }
    };
    let o = held_out("b.csv", "");
    assert_eq!(o.values("x"), [3.0, 0.0]);
    assert_eq!(o.values("c"), [3.0, 0.0]);
    assert_eq!(o.values("g"), [1.0, 1.0]);
    assert_eq!(o.size("N"), 2);
    let d = held_out("c.csv", "");
    assert!(d.one(Code::E0910).message.contains("`w`") && d.messages[0].message.contains("row 0"));
    let d = held_out("b.csv", "\ndata z: real[N] = standardize(csv(\"b.csv\").x)");
    assert!(d.one(Code::E0917).message.contains("`z`"));
}

#[test]
fn standardize_is_by_column_and_knows_its_columns() {
    let files = [("t.csv", "a,b,c\n1,10,5\n2,20,5\n3,60,5\n")];
    let o = bound(&files, "data x: real[N, D] = standardize(csv(\"t.csv\").columns(\"a\", \"b\"))");
    let x = o.values("x");
    let sd = 700f64.sqrt();
    let expected = [-1.0, -20.0 / sd, 0.0, -10.0 / sd, 1.0, 30.0 / sd];
    assert!(x.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{x:?}");
    assert_eq!(o.labels("D"), ["a", "b"]);
    let o = bound(&files, "data x: real[N, D] = standardize(csv(\"t.csv\").except(\"a\"))");
    let d = o.one(Code::E0913);
    assert!(d.message.contains("column `c`") && d.help.as_ref().unwrap().contains(".except(\"c\")"));
}

#[test]
fn values_from_the_command_line_replace_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("d.json");
    std::fs::write(&json, r#"{"y": [1.5, 2.5], "n": 2}"#).unwrap();
    let given = DataArgument::parse(json.to_str().unwrap()).unwrap().read(&mut Files::new()).unwrap();
    let o = bind_in(folder.path(), "data y: real[N] = csv(\"none.csv\").y\ndata n: int", &given, SizeTable::new());
    assert_eq!((o.values("y"), o.values("n")), (vec![1.5, 2.5], vec![2.0]));
    let o = bind_in(folder.path(), "data y: int[N]\ndata n: int", &given, SizeTable::new());
    assert!(o.one(Code::E0904).notes.iter().any(|n| n.contains("--data")));
}

#[test]
fn the_data_of_the_examples() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let example = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let o = bind_in(&folder, &text, &[], SizeTable::new());
        assert!(o.messages.is_empty(), "{name}: {:#?}", o.messages);
        o
    };
    let digits = example("digits_cnn.bayes");
    assert_eq!(digits.binding.get("images").unwrap().data.shape(), [1437, 1, 8, 8]);
    assert!(digits.values("images").iter().all(|v| (0.0..=1.0).contains(v)));
    assert_eq!(digits.size("N"), 1437);
    let radon = example("radon.bayes");
    assert_eq!((radon.size("County"), radon.size("N")), (85, 919));
    assert_eq!(radon.labels("County")[..3], ["1", "2", "3"]);
    let schools = example("eight_schools.bayes");
    assert_eq!(schools.labels("School"), ["A", "B", "C", "D", "E", "F", "G", "H"]);
    let cancer = example("breast_cancer.bayes");
    assert_eq!((cancer.size("N"), cancer.size("D")), (569, 30));
    assert_eq!(cancer.labels("D")[0], "mean_radius");
    assert_eq!(example("mixture.bayes").size("N"), 342);
    assert_eq!(example("gp.bayes").size("N"), 120);
    assert_eq!(example("nile.bayes").values("volume")[0], 11.2);
    for name in ["changepoint", "digits_laplace", "golf", "hyper_conv", "vae"] {
        example(&format!("{name}.bayes"));
    }
}

#[test]
fn held_out_digits_bind_new_sizes() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let module = parse(&std::fs::read_to_string(folder.join("digits_cnn.bayes")).unwrap());
    let mut files = Files::new();
    let mut evaluator = Evaluator::held_out(&mut files, &folder, Learned::default());
    evaluator.define_module(&module);
    let assigns = module.items.iter().find_map(|i| match &i.kind {
        ItemKind::Evaluate(assigns) => Some(assigns),
        _ => None,
    });
    let assigns = assigns.unwrap();
    let mut requests = requests(&module, &[]);
    for request in &mut requests {
        request.source = Source::Expr(&assigns.iter().find(|a| a.name.name == request.name).unwrap().value);
    }
    let mut out = Diagnostics::new();
    let binding = bind(&mut evaluator, &requests, &[], &mut out);
    assert!(out.is_empty());
    assert_eq!(binding.sizes["N"].value, 360);
    assert_eq!(files.fingerprints().list().len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn elementwise_agrees_with_loops(a in proptest::collection::vec(-9i64..9, 1..5), b in -9i64..9) {
        let list = a.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let expected: Vec<f64> = a.iter().map(|&x| (x * b - x) as f64).collect();
        check(&format!("[{list}] * ({b}) - [{list}]"), &[a.len()], &expected);
    }
    #[test]
    fn indexing_never_panics(from in 0usize..8, to in 0usize..8, i in 0usize..8, n in 1usize..6) {
        let _ = eval(&format!("range({n})[{from}..{to}]"));
        let _ = eval(&format!("reshape(range({n}), [{n}, 1])[{i}, [{from}]]"));
        let _ = eval(&format!("reshape(range({n}), [1, {n}])[:, {from}..={to}][[0, {i}], [{i}, 0]]"));
    }
}

/// The n-th `bayes` program of a page.
fn program_of(page: &str, n: usize) -> &str {
    let block = page.split("```bayes\n").nth(n + 1).expect("a program");
    block.split("```").next().expect("an end")
}

/// The messages about the training data and the held-out data of a program beside the examples.
fn problems(text: &str) -> Vec<Code> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let train = bind_in(&folder, text, &[], SizeTable::new());
    let mut codes: Vec<Code> = train.messages.iter().map(|d| d.code).collect();
    let module = parse(text);
    for item in &module.items {
        let ItemKind::Evaluate(assigns) = &item.kind else { continue };
        let mut files = Files::new();
        let mut evaluator = Evaluator::held_out(&mut files, &folder, train.learned.clone());
        evaluator.define_module(&module);
        let mut requests = requests(&module, &[]);
        for request in &mut requests {
            let assign = assigns.iter().find(|a| a.name.name == request.name);
            request.source = assign.map_or(Source::Absent, |a| Source::Expr(&a.value));
        }
        let mut out = Diagnostics::new();
        bind(&mut evaluator, &requests, &[], &mut out);
        codes.extend(out.iter().map(|d| d.code));
    }
    codes
}

#[test]
fn the_pages_of_the_codes_are_true() {
    // No program alone gives E0918: it is about a fit. `tests/cli/audit.rs` has it.
    for code in Code::ALL.iter().copied().filter(|c| c.is_data() && *c != Code::E0918) {
        let page = code.page();
        assert!(page.starts_with(&format!("# {}: {}\n", code.name(), code.title())), "{}", code.name());
        assert_eq!(problems(program_of(page, 0)), [code], "the wrong program of {}", code.name());
        assert_eq!(problems(program_of(page, 1)), [], "the repaired program of {}", code.name());
    }
}
