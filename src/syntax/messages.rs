//! What the parser says about programs with slips: each is reported once, where it is, with one thing to do.

use super::parse_module;
use crate::diag::Diagnostics;
use crate::source::Sources;

/// Each message is `line:column message`, with ` => help` where there is one.
#[track_caller]
fn check(text: &str, expect: &[&str]) {
    let mut sources = Sources::default();
    let file = sources.add("m.bayes", None, text);
    let mut diags = Diagnostics::new();
    parse_module(file, text, &mut diags);
    diags.sort();
    let said: Vec<String> = diags
        .iter()
        .map(|d| {
            let span = d.span().expect("every slip has a place");
            let (line, column) = sources.file(file).line_column(span.start as usize);
            let help = d.help.as_ref().map_or(String::new(), |h| format!(" => {h}"));
            format!("{line}:{column} {}{help}", d.message)
        })
        .collect();
    assert_eq!(said, expect, "{text}");
}

/// Making all edits that the messages propose gives a program without slips.
#[test]
fn fixes_repair_what_they_are_attached_to() {
    for (text, repaired) in [
        ("x = 1;", "x = 1"),
        ("model { x = 1; y = 2 }", "model { x = 1\n y = 2 }"),
        ("# hi\nx = 1", "// hi\nx = 1"),
        ("x = a ** 2 && !b || c", "x = a ^ 2 and not b or c"),
        ("model { x := 1\n y <- 2 }", "model { x = 1\n y = 2 }"),
        ("model { y == Normal(0, 1)\n z == 3 }", "model { y ~ Normal(0, 1)\n z = 3 }"),
        ("x = f(1 2)", "x = f(1, 2)"),
        ("modle { kep x = 1 }", "model { keep x = 1 }"),
        ("infer svi { minibach N = 64 }", "infer svi { minibatch N = 64 }"),
        ("infer svi { steps: 64 }", "infer svi { steps = 64 }"),
        ("x = 'a'", "x = \"a\""),
        ("let x = 3", "x = 3"),
        ("x: real[N]", "data x: real[N]"),
        ("model { x: real = 3 }", "model { x = 3 }"),
        ("x = 2\u{a0}× 3 − 1", "x = 2 * 3 - 1"),
        ("use priors.horseshoe", "use priors.{horseshoe}"),
        ("x = (1]", "x = (1)"),
        ("model { if x = 1 { y = 2 } }", "model { if x == 1 { y = 2 } }"),
    ] {
        let mut sources = Sources::default();
        let file = sources.add("m.bayes", None, text);
        let mut diags = Diagnostics::new();
        parse_module(file, text, &mut diags);
        let mut fixes: Vec<_> = diags.iter().filter_map(|d| d.fix.clone()).collect();
        assert!(!fixes.is_empty(), "{text}: {diags:#?}");
        fixes.sort_by_key(|f| std::cmp::Reverse(f.span));
        let mut fixed = text.to_string();
        for fix in fixes {
            fixed.replace_range(fix.span.range(), &fix.replacement);
        }
        let words = |t: &str| t.split(' ').filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
        assert_eq!(words(&fixed), words(repaired));
        check(&fixed, &[]);
    }
}

#[test]
fn a_bracket_unclosed_at_a_semicolon() {
    check(
        "model {
  x ~ Normal(0, 1;
  y ~ Normal(x, 1)
}
data z: real[N]
",
        &[
            "2:13 `(` is never closed => add the missing `)`",
            "2:18 `;` ends nothing: a statement ends with its line => remove it",
        ],
    );
}

#[test]
fn two_unclosed_brackets_in_one_block() {
    check(
        "model {
  x ~ Normal(0, 1
  y ~ Normal(x, 1)
  z = (1 + 
}
data z: real[N]
",
        &["2:13 `(` is never closed => add the missing `)`", "4:7 `(` is never closed => add the missing `)`"],
    );
}

#[test]
fn items_show_where_brackets_should_have_closed() {
    check(
        "model {
  x ~ Normal(0, 1)

data z: real[N

infer nuts {
  steps: 10
  draws 20
}
",
        &[
            "1:7 `{` is never closed => add the missing `}`",
            "4:13 `[` is never closed => add the missing `]`",
            "7:8 expected `=`, found `:` => write `=`",
            "8:9 expected `=`, found the number `20` => write `=` here",
        ],
    );
}

#[test]
fn indentation_tells_which_block_is_open() {
    check(
        "model {
  for t in 1..T {
    y[t] ~ Normal(0, 1)

  z ~ Normal(0, 1)
}

infer nuts
",
        &["2:17 `{` is never closed => add the missing `}`"],
    );
}

#[test]
fn a_misspelt_header_does_not_hide_its_block() {
    check(
        "modle {
  x ~ Normal(0 1)
  kep y = 3
  y =
  z ~ Normal(0, 1) Normal
}
",
        &[
            "1:1 `modle` is not an item => write `model`",
            "2:16 expected `,` before the number `1` => add a `,`",
            "3:3 `kep` is not a statement => write `keep`",
            "4:5 nothing follows `=` => write what belongs there, or remove it",
        ],
    );
}

#[test]
fn habits_of_other_languages() {
    check(
        "model {
  real x;
  x <- 3;
  y == Normal(0, 1);
  z := 3
  a = b ** 2 && !c
  # hi
}
",
        &[
            "2:3 a declaration begins with its name => write `x: real`, or `x ~ …` alone: a site takes its type from its distribution",
            "2:9 `;` ends nothing: a statement ends with its line => remove it",
            "3:5 `<-` is not an operator => write `=` for a value, `~` for a distribution",
            "3:9 `;` ends nothing: a statement ends with its line => remove it",
            "4:4 `==` compares, but nothing is done with the result => write `~`",
            "4:20 `;` ends nothing: a statement ends with its line => remove it",
            "5:5 `:=` is not an operator => write `=`",
            "6:9 `**` is not an operator => write `^`",
            "6:14 `&&` is not an operator => write `and`",
            "6:17 `!` is not an operator => write `not`",
            "7:3 `#` does not begin a comment => write `//`",
        ],
    );
}

#[test]
fn settings() {
    check(
        "infer svi { minibach N = 64, steps = 1, epochs 3, draws = }
",
        &[
            "1:13 `minibach` is not a setting => write `minibatch`",
            "1:48 expected `=`, found the number `3` => write `=` here",
            "1:57 nothing follows `=` => write what belongs there, or remove it",
        ],
    );
}

#[test]
fn statements_outside_of_items() {
    check(
        "x ~ Normal(0, 1)
x: real[N]
real x
parameters {
  real a;
}
let x = 3
",
        &[
            "1:1 `x ~ …` stands outside a model => put it inside `model { … }`",
            "2:1 a type, but no word that says what it is for => write `data x: …`",
            "3:1 a declaration begins with its name => for data write `data x: real`, for a parameter `x ~ Normal(0, 1)` inside `model { … }`",
            "4:1 `parameters` is not an item => sites and values need no block of their own: write them inside `model { … }`",
            "5:9 `;` ends nothing: a statement ends with its line => remove it",
            "7:1 `let` is not needed => write `x = …`",
        ],
    );
}

#[test]
fn headers_of_nested_blocks() {
    check(
        "model {
  x: real = 3
  if x = 3 {
    y = )
    z ~ ~ 3
  }
  for t 1..T {
   q = = 3
 }
}
",
        &[
            "2:11 a value takes its type from its expression => leave the type out",
            "3:8 `=` binds a name => write `==` to compare",
            "4:7 nothing follows `=` => write what belongs there, or remove it",
            "4:9 `)` closes nothing => remove it, or open the bracket that it should close",
            "7:9 expected `in`, found the number `1` => write `in` here",
            "8:8 expected an expression, found `=`",
        ],
    );
}

#[test]
fn headers_of_items() {
    check(
        "fn f(x real) -> real {
  y = * 3
  return x
}
use priors.horseshoe
data y = 3
infre svi {
 minibatch N = 3
 steps = = 3
}
",
        &[
            "1:8 expected `:`, found `real` => write `:` here",
            "2:7 expected an expression, found `*`",
            "5:12 a name out of a module stands in braces => write `{horseshoe}`",
            "6:8 data need a type => write `data y: real[N] = …`",
            "7:1 `infre` is not an item => write `infer`",
            "9:10 expected an expression, found `=`",
        ],
    );
}

#[test]
fn words_in_the_wrong_place() {
    check(
        "data x: string
data in: real
size 3
guide {
 _ ~ mean_field,
 z ~ Normal(?, ?
}
expect { a < b < c, }
",
        &[
            "1:9 expected a type such as `real[N]`, found `string`",
            "2:6 `in` is a reserved word => choose another name, such as `in_`",
            "3:6 expected a name, found the number `3`",
            "6:12 `(` is never closed => add the missing `)`",
            "8:16 comparisons cannot be chained => join two comparisons by `and`: `a < b and b < c`",
        ],
    );
}

#[test]
fn characters_strings_and_numbers() {
    check(
        r#"model {
  x ~
  y ~ Normal(0, 1)
  s = "abc
  t = a $ b
  u = 'a'
  v = 99999999999999999999 + 1e999
  p = "C:\data"
}
} 
)"#,
        &[
            "2:5 nothing follows `~` => write what belongs there, or remove it",
            r#"4:7 a string ends with its line => add the missing `"`"#,
            "5:9 `$` has no meaning outside strings and comments => separate what it joins: a column of a table is `table.column`",
            r#"6:7 strings stand in double quotes => write `"a"`"#,
            "7:7 this integer is too large => write a real, such as `1e20`",
            "7:30 this number is too large => write `inf` for infinity",
            r"8:10 unknown escape `\d` in a string => write `\\` for a backslash, and `/` between the folders of a path",
            "10:1 `}` closes nothing => remove it, or open the bracket that it should close",
            "11:1 `)` closes nothing => remove it, or open the bracket that it should close",
        ],
    );
}

#[test]
fn brackets_of_the_wrong_kind() {
    check(
        "model {
  x = f(a]
  y = [1, 2)
}
",
        &["2:10 `(` is closed by `]` => write `)`", "3:12 `[` is closed by `)` => write `]`"],
    );
}

#[test]
fn statements_on_one_line() {
    check(
        "model { x ~ Normal(0, 1), y ~ Normal(0, 1) }
",
        &["1:25 a statement ends with its line, not with `,` => begin a new line instead"],
    );
}

#[test]
fn values_that_nobody_uses() {
    check(
        "model {
  Normal(0, 1)
  x + 1
  x = not
  x = a + not b
  x = ..3 + 1
}",
        &[
            "2:3 this value is not used => put the name of a site and `~` before it",
            "3:3 this value is not used => give it a name: `name = …`, or hand it back: `return …`",
            "4:7 nothing follows `not` => write what belongs there, or remove it",
        ],
    );
}

#[test]
fn a_parenthesis_at_the_end() {
    check(
        "model (
",
        &["1:7 `(` is never closed => add the missing `)`"],
    );
}

#[test]
fn a_brace_too_many() {
    check(
        "model {{
}
",
        &["1:7 `{` is never closed => add the missing `}`", "1:8 expected the end of the line, found `{`"],
    );
}

#[test]
fn settings_on_one_line() {
    check(
        "infer svi {
  steps = 10 epochs = 3
}
",
        &["2:14 expected the end of the line or `,`, found `epochs`"],
    );
}

#[test]
fn single_quotes() {
    check(
        r"model { x = 'a' + 'b\c' 
 y = f(1, x = 2 3)
}",
        &[
            r#"1:13 strings stand in double quotes => write `"a"`"#,
            r#"1:19 strings stand in double quotes => write `"b\c"`"#,
            "2:17 expected `,` before the number `3` => add a `,`",
        ],
    );
}

#[test]
fn an_open_type() {
    check("data x: real[", &["1:13 `[` is never closed => add the missing `]`"]);
}

#[test]
fn two_values() {
    check("x = 3 3", &["1:7 expected the end of the line, found the number `3`"]);
}

#[test]
fn no_value() {
    check("x = ", &["1:3 nothing follows `=` => write what belongs there, or remove it"]);
}

#[test]
fn a_parenthesis_before_a_brace() {
    check("model { x = (1, }", &["1:13 `(` is never closed => add the missing `)`"]);
}

#[test]
fn items_cut_short() {
    check(
        "data x: real[N] in 3
guide
infer
model x
use
expect
model f(x: real)
evaluate x = 3
fn f {}",
        &[
            "1:20 the `in` of a type needs a range => write both ends or one, such as `0..10`, `0..=1` or `0..`",
            "2:6 expected an expression or `{`, found the end of the line",
            "3:6 expected a name, found the end of the line",
            "4:8 expected `(` or `{`, found the end of the line",
            "5:4 expected an expression, found the end of the line",
            "6:7 expected `{`, found the end of the line => write `{` here",
            "7:17 expected `->` or `{`, found the end of the line",
            "8:10 expected `{`, found `x` => write `{` here",
            "9:6 expected `(`, found `{` => write `(` here",
        ],
    );
}

#[test]
fn statements_cut_short() {
    check(
        "model {
  for t in 1..T
    y[t] ~ Normal(0, 1)
  if x
 y = 3
 observe x = 3
 factor
 return
 param 3
 keep x + 1
 x[3] ~
 x.y = 3
}",
        &[
            "2:16 expected `{`, found the end of the line => write `{` here",
            "4:7 expected `{`, found the end of the line => write `{` here",
            "6:12 expected `~`, found `=` => write `~` here",
            "8:8 expected an expression, found the end of the line",
            "9:8 expected a name, found the number `3`",
            "10:9 expected `=`, `~` or `:`, found `+`",
            "11:7 nothing follows `~` => write what belongs there, or remove it",
        ],
    );
}

#[test]
fn left_sides() {
    check(
        "model {
  z ~ Normal(0 1)
  q = f(a b)
  r = [1 2]
  t = a[1 2]
  (a b) = 3
  (a) = 3
  1 = x
  f(x) = 3
 f(x) ~ Normal(0, 1)
 x + y ~ Normal(0, 1)
}",
        &[
            "2:16 expected `,` before the number `1` => add a `,`",
            "3:11 expected `,` before `b` => add a `,`",
            "4:10 expected `,` before the number `2` => add a `,`",
            "5:11 expected `,` before the number `2` => add a `,`",
            "6:6 expected `,` before `b` => add a `,`",
            "7:3 only a name or an element of an array can stand left of `=` => give the value a name of its own",
            "8:3 only a name or an element of an array can stand left of `=` => give the value a name of its own",
            "9:3 only a name or an element of an array can stand left of `=` => give the value a name of its own",
            "10:2 only a name or an element of an array can stand left of `~` => write `observe` before an expression of data",
            "11:2 only a name or an element of an array can stand left of `~` => write `observe` before an expression of data",
        ],
    );
}
