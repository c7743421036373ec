//! The layout of single constructs, and what must hold for every program there is.

use super::*;
use crate::index::Idx;
use crate::syntax::ast::Module;
use crate::syntax::lexer::TokenKind;
use crate::syntax::roundtrip::{config, item};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn fmt(text: &str) -> String {
    let mut diags = Diagnostics::new();
    match format_module(FileId::new(0), text, &mut diags) {
        Ok(out) => out,
        Err(refused) => panic!("{refused:?} {diags:#?}\n{text}\n---\n{}", render::render(text, &tokenize(text))),
    }
}

/// `text` becomes `expect`, which is final.
fn check(text: &str, expect: &str) {
    assert_eq!(fmt(text), expect);
    assert_eq!(fmt(expect), expect, "a second time");
}

/// `text` is as it should be.
fn stays(text: &str) {
    check(text, text);
}

#[test]
fn blanks_stand_around_operators() {
    check(
        "x=-a[ i,:,new ]^-2+f( b ,k=3 )*( -c )\nsize  K=3\n",
        "x = -a[i, :, new] ^ -2 + f(b, k = 3) * (-c)\nsize K = 3\n",
    );
    check("data x:real[N , 2*K+1]in 0 .. =f . x", "data x: real[N, 2 * K + 1] in 0.. = f.x\n");
    check("a = x in 0..=n+1 and not b or - c<d\n", "a = x in 0..=n + 1 and not b or -c < d\n");
    check("use bnn . { dense , conv2d , }\n", "use bnn.{dense, conv2d}\n");
    check("a = (b,)\nc = f(b,)\nd = [b,]\n", "a = (b,)\nc = f(b)\nd = [b]\n");
    check("a = 2. ..3\nb = ..K\nc = x[ 1 .. ]\n", "a = 2. ..3\nb = ..K\nc = x[1..]\n");
}

#[test]
fn statements_keep_their_words() {
    check(
        "model{\nfactor-x\nfactor(a)+b\nfactor[a]\nobserve(x)~D(? ,?( 0.1 ))\nkeep(a,b)=f(x)\nfactor [0]=3\nreturn(a,b)\n}",
        "model {\n  factor -x\n  factor (a) + b\n  factor [a]\n  observe (x) ~ D(?, ?(0.1))\n  keep (a, b) = f(x)\n  factor[0] = 3\n  return (a, b)\n}\n",
    );
    check(
        "model{ for t in 1..T{ x[t]~D( x[t-1] ) }\n if a{ b=1 }else{ c=2 }\n if a {\n b = 1 } else if c { d = 1\n e = 2\n }}",
        "model {\n  for t in 1..T { x[t] ~ D(x[t - 1]) }\n  if a { b = 1 } else { c = 2 }\n  if a {\n    b = 1\n  } else if c {\n    d = 1\n    e = 2\n  }\n}\n",
    );
    check(
        "fn f(x:real[N],k:size=2)->(real,real[..d]){return(x,k)}",
        "fn f(x: real[N], k: size = 2) -> (real, real[..d]) { return (x, k) }\n",
    );
}

#[test]
fn empty_lines_are_kept_once_and_part_tall_items() {
    check(
        "\n\n/// a file\n\n\nsize K = 2\nmodel {\n\n  x ~ D()\n\n\n  y ~ D()\n\n}\n// guide\nguide mean_field\ninfer svi\n\n\n",
        "/// a file\n\nsize K = 2\n\nmodel {\n  x ~ D()\n\n  y ~ D()\n}\n\n// guide\nguide mean_field\ninfer svi\n",
    );
    check("", "");
    check("// c  \r\n", "// c\n");
    check("model {\n}\ninfer laplace{}\n", "model { }\ninfer laplace { }\n");
}

#[test]
fn settings_lose_commas_where_lines_end() {
    check("infer svi{steps=3,seed = 1}", "infer svi { steps = 3, seed = 1 }\n");
    check(
        "infer svi {\n  minibatch N=64, epochs=4, // so\n seed = 1\n}",
        "infer svi {\n  minibatch N = 64\n  epochs      = 4  // so\n  seed        = 1\n}\n",
    );
    check("expect {\n a < 1,\n -b < 2 // c\n}", "expect {\n  a < 1,\n  -b < 2  // c\n}\n");
    stays("expect { max_rhat < 1.01, mean(mu) in 4..12 }\n");
}

#[test]
fn columns_of_neighbours() {
    check(
        "data X: real[N, D]    = a\ndata y: int[N] in 0..2 = b\n\ndata z: real = c\n",
        "data X: real[N, D]     = a\ndata y: int[N] in 0..2 = b\n\ndata z: real = c\n",
    );
    check("infer nuts { a = 1 }\ninfer svi { b = 2 }\n", "infer nuts { a = 1 }\ninfer svi  { b = 2 }\n");
    check("guide {\n  w1 ~ a\n  _ ~ b\n}\n", "guide {\n  w1 ~ a\n  _  ~ b\n}\n");
    stays("model {\n  early ~ A(1)\n  late  ~ A(1)\n  change ~ B()\n  long_name: real ~ B()\n}\n");
    stays("size F = 16          // filters\nsize K = 4\n");
    check("a = 1 // x\nbc = 2 // y\n", "a = 1   // x\nbc = 2  // y\n");
    stays("model {\n  h = f(x)      // one\n  hh = g(x)     // two\n}\n");
}

#[test]
fn long_calls_are_broken_and_short_ones_joined() {
    let long = "argument_with_a_long_name";
    check("a = f(\n  1,\n  2\n)\n", "a = f(1, 2)\n");
    check(
        &format!("model m(x: real, {long}: real, b_{long}: real[N, K], c_{long}: size) {{ return x }}\n"),
        &format!(
            "model m(\n  x: real,\n  {long}: real,\n  b_{long}: real[N, K],\n  c_{long}: size\n) {{\n  return x\n}}\n"
        )
        .replace(") {\n  return x\n}", ") {\n  return x\n}"),
    );
    let call = format!("g({long}, {long}, {long})");
    check(&format!("y = f(x)[0] + h({call}, {call})\n"), &format!("y = f(x)[0] + h(\n  {call},\n  {call}\n)\n"));
    check(
        &format!("y = images |> f({long}) |> g({long}) |> h({long}) |> k({long})\n"),
        &format!(
            "y = images |> f({long})\n           |> g({long})\n           |> h({long})\n           |> k({long})\n"
        ),
    );
    let sum = [long; 5].join(" + ");
    check(&format!("y = {sum}\n"), &format!("y = {}\n", sum.replace(" +", "\n  +")));
}

#[test]
fn line_breaks_before_operators_are_the_authors() {
    stays("h = images |> conv2d(w1, pad = same) |> relu\n           |> flatten\n");
    check("h = images\n |> f\n+ 2 *\n 3\n", "h = images\n  |> f\n  + 2\n  * 3\n");
    check("x =\n  3\ny = a\n  .b\n", "x = 3\ny = a.b\n");
}

#[test]
fn comments_stay_where_they_were() {
    stays(
        "/// doc\nmodel {  // first\n  // second\n  x ~ D()  // third\n\n  /// fourth\n  y ~ D()\n  // fifth\n}  // sixth\n// seventh\n",
    );
    stays("a = f(\n  // of b\n  b,  // behind b\n  // of c\n  c  // behind c\n  // at the end\n)\n");
    check("a = f(b // one\n , c, // two\n // three\n)\n", "a = f(\n  b,  // one\n  c  // two\n  // three\n)\n");
    check("a = b + // one\n  c // two\n  // three\n  + d\n", "a = b +  // one\n  c  // two\n  // three\n  + d\n");
    check(
        "model {\n if a {\n b = 1\n } // one\n // two\n else {\n c = 1\n}\n}",
        "model {\n  if a {\n    b = 1\n  }  // one\n  // two\n  else {\n    c = 1\n  }\n}\n",
    );
    check("model // odd\n{ x ~ D() }\n", "model  // odd\n{\n  x ~ D()\n}\n");
    check("infer svi {\n a = 1, // one\n // two\n b = 2 }", "infer svi {\n  a = 1  // one\n  // two\n  b = 2\n}\n");
    check("a = [ // one\n 1, 2\n]\n", "a = [\n  // one\n  1,\n  2\n]\n");
}

#[test]
fn what_does_not_parse_is_refused() {
    let mut diags = Diagnostics::new();
    assert_eq!(format_module(FileId::new(0), "model {\n x ~ ~ \n}\n", &mut diags), Err(Refused::Slips));
    assert!(diags.has_errors());
}

/// What must hold for a text that parses.
fn holds(text: &str, name: &str) {
    let parse = |text: &str| -> (Module, bool) {
        let mut diags = Diagnostics::new();
        let module = parse_module(FileId::new(0), text, &mut diags);
        (module, diags.has_errors())
    };
    let (module, wrong) = parse(text);
    if wrong {
        return;
    }
    let out = fmt(text);
    assert_eq!(fmt(&out), out, "{name}: a second time\n{text}");
    assert_eq!(print_module(&parse(&out).0), print_module(&module), "{name}");
    let (old, new) = (tokenize(text), tokenize(&out));
    assert_eq!(comments(text, &old).collect::<Vec<_>>(), comments(&out, &new).collect::<Vec<_>>(), "{name}");
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "bayes" || e == "md") {
            found.push(path);
        }
    }
}

/// The programs of a page: what stands in its ```bayes blocks.
fn programs(page: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line.trim() {
            fence if fence.starts_with("```") => {
                inside = !inside && fence.starts_with("```bayes");
                if inside {
                    found.push(String::new());
                }
            }
            _ if inside => {
                let block = found.last_mut().expect("a fence has opened it");
                block.push_str(line);
                block.push('\n');
            }
            _ => {}
        }
    }
    found
}

#[test]
fn every_program_of_the_tree_is_the_same_after_its_layout() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("README.md")];
    for folder in ["examples", "stdlib", "tests", "docs", "src/diag/codes"] {
        files(&root.join(folder), &mut paths);
    }
    let mut seen = 0;
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("readable");
        let name = path.display().to_string();
        let texts = if name.ends_with(".md") { programs(&text) } else { vec![text] };
        seen += texts.len();
        texts.iter().for_each(|t| holds(t, &name));
    }
    assert!(seen > 200, "only {seen} programs");
}

#[test]
fn examples_and_library_have_their_layout() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    files(&root.join("examples"), &mut paths);
    files(&root.join("stdlib"), &mut paths);
    for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "bayes")) {
        let text = std::fs::read_to_string(path).expect("readable");
        assert_eq!(text, fmt(&text), "{}: run `bayesc fmt` on it", path.display());
    }
}

/// A text with blanks, newlines and comments put in where they mean nothing.
fn disturbed(text: &str, choices: &[u8]) -> String {
    let mut out = String::new();
    let mut choice = choices.iter().copied().cycle();
    let mut next = || choice.next().unwrap_or(0);
    let mut depth = 0;
    let mut end = 0;
    for (i, token) in tokenize(text).iter().enumerate() {
        out.push_str(&text[end..token.start]);
        match token.kind {
            TokenKind::RParen | TokenKind::RBracket => depth -= 1,
            TokenKind::Newline => {
                out.push_str(["", "  ", " // at the end", "\n// alone", "\n\n\n", ""][next() as usize % 6])
            }
            _ => {}
        }
        out.push_str(token.text(text));
        match token.kind {
            TokenKind::LParen | TokenKind::LBracket => depth += 1,
            _ => {}
        }
        if depth > 0 && !matches!(token.kind, TokenKind::Newline) {
            out.push_str(&match next() % 12 {
                0 => "\n".to_string(),
                1 => format!(" // c{i}\n"),
                2 => format!("\n  // d{i}\n// e{i}\n"),
                3 => "   ".to_string(),
                _ => String::new(),
            });
        } else if token.kind.wants_more() && token.kind != TokenKind::Comma {
            out.push_str(&match next() % 8 {
                0 => "\n  ".to_string(),
                1 => format!(" // f{i}\n"),
                _ => String::new(),
            });
        }
        end = token.end;
    }
    out.push_str(&text[end..]);
    out
}

proptest! {
    #![proptest_config(config(192))]

    #[test]
    fn any_program_with_comments_anywhere_keeps_its_tree_and_comments(
        items in prop::collection::vec(item(), 0..4),
        choices in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let text = print_module(&Module { doc: None, items });
        holds(&text, "printed");
        holds(&disturbed(&text, &choices), "disturbed");
    }

    #[test]
    fn examples_with_comments_anywhere_keep_their_tree_and_comments(
        which in 0usize..3,
        choices in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let text = [
            include_str!("../../../examples/hyper_conv.bayes"),
            include_str!("../../../examples/digits_laplace.bayes"),
            include_str!("../../../stdlib/bnn.bayes"),
        ][which];
        let text = disturbed(text, &choices);
        let mut diags = Diagnostics::new();
        parse_module(FileId::new(0), &text, &mut diags);
        prop_assert!(diags.is_empty(), "{diags:#?}\n{text}");
        holds(&text, "example");
    }
}
