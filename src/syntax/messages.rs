//! What the parser says about programs with slips: each is reported once, where it is, with one thing to do.

use super::parse_module;
use crate::diag::Diagnostics;
use crate::source::Sources;

/// Each message as `line:column message`, with ` => help` where there is one.
fn said(text: &str) -> Vec<String> {
    let mut sources = Sources::default();
    let file = sources.add("m.bayes", None, text);
    let mut diags = Diagnostics::new();
    parse_module(file, text, &mut diags);
    diags.sort();
    diags
        .iter()
        .map(|d| {
            let span = d.span().expect("every slip has a place");
            let (line, column) = sources.file(file).line_column(span.start as usize);
            let help = d.help.as_ref().map_or(String::new(), |h| format!(" => {h}"));
            format!("{line}:{column} {}{help}", d.message)
        })
        .collect()
}

fn draw(text: &str) -> String {
    let mut sources = Sources::default();
    let file = sources.add("m.bayes", None, text);
    let mut diags = Diagnostics::new();
    parse_module(file, text, &mut diags);
    crate::diag::render::render_all(&diags, &sources, false)
}

#[test]
fn explore() {
    let programs = [
        "model {\n  x ~ Normal(0, 1;\n  y ~ Normal(x, 1)\n}\ndata z: real[N]\n",
        "model {\n  x ~ Normal(0, 1\n  y ~ Normal(x, 1)\n  z = (1 + \n}\ndata z: real[N]\n",
        "model {\n  x ~ Normal(0, 1)\n\ndata z: real[N\n\ninfer nuts {\n  steps: 10\n  draws 20\n}\n",
        "model {\n  for t in 1..T {\n    y[t] ~ Normal(0, 1)\n\n  z ~ Normal(0, 1)\n}\n\ninfer nuts\n",
        "modle {\n  x ~ Normal(0 1)\n  kep y = 3\n  y =\n  z ~ Normal(0, 1) Normal\n}\n",
        "model {\n  real x;\n  x <- 3;\n  y == Normal(0, 1);\n  z := 3\n  a = b ** 2 && !c\n  # hi\n}\n",
        "infer svi { minibach N = 64, steps = 1, epochs 3, draws = }\n",
        "x ~ Normal(0, 1)\nx: real[N]\nreal x\nparameters {\n  real a;\n}\nlet x = 3\n",
        "model {\n  x: real = 3\n  if x = 3 {\n    y = )\n    z ~ ~ 3\n  }\n  for t 1..T {\n   q = = 3\n }\n}\n",
        "fn f(x real) -> real {\n  y = * 3\n  return x\n}\nuse priors.horseshoe\ndata y = 3\ninfre svi {\n minibatch N = 3\n steps = = 3\n}\n",
        "data x: string\ndata in: real\nsize 3\nguide {\n _ ~ mean_field,\n z ~ Normal(?, ?\n}\nexpect { a < b < c, }\n",
        "model {\n  x ~\n  y ~ Normal(0, 1)\n  s = \"abc\n  t = a $ b\n  u = 'a'\n  v = 99999999999999999999 + 1e999\n  p = \"C:\\data\"\n}\n} \n)",
        "model {\n  x = f(a]\n  y = [1, 2)\n}\n",
        "model { x ~ Normal(0, 1), y ~ Normal(0, 1) }\n",
        "model {\n  Normal(0, 1)\n  x + 1\n  x = not\n  x = a + not b\n  x = ..3 + 1\n}",
        "model (\n",
        "model {{\n}\n",
        "infer svi {\n  steps = 10 epochs = 3\n}\n",
        "model { x = 'a' + 'b\\c' \n y = f(1, x = 2 3)\n}", "data x: real[", "x = 3 3", "x = ", "model { x = (1, }", "data x: real[N] in 3\nguide\ninfer\nmodel x\nuse\nexpect\nmodel f(x: real)\nevaluate x = 3\nfn f {}",
        "model {\n  for t in 1..T\n    y[t] ~ Normal(0, 1)\n  if x\n y = 3\n observe x = 3\n factor\n return\n param 3\n keep x + 1\n x[3] ~\n x.y = 3\n}",
        "model {\n  z ~ Normal(0 1)\n  q = f(a b)\n  r = [1 2]\n  t = a[1 2]\n  (a b) = 3\n  (a) = 3\n  1 = x\n  f(x) = 3\n f(x) ~ Normal(0, 1)\n x + y ~ Normal(0, 1)\n}",
    ];
    for p in programs {
        println!("-----\n{p}");
        for s in said(p) {
            println!("  >> {s}");
        }
        if p.len() < 30 || p.contains("levels") || p.contains("1..T {") { println!("{}", draw(p)); }
    }
}
