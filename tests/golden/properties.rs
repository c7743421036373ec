//! Properties of whole programs: what is well typed runs and has the gradient of its objective; what is not gives
//! messages that point into its file; nothing panics. RUN_SLOW_TESTS=1 tries many more.

use crate::common::*;
use crate::programs::{self, Random as Program};
use bayesc::check::settings::KlChoice;
use bayesc::data::Files;
use bayesc::diag::render::render_all;
use bayesc::driver::{Compilation, Options, compile_text};
use bayesc::rng::Key;
use bayesc::session;
use bayesc::syntax::lexer::tokenize;
use proptest::prelude::*;
use proptest::test_runner::Config;
use std::path::Path;

fn cases(fast: u32, slow: u32) -> Config {
    let many = std::env::var("RUN_SLOW_TESTS").as_deref() == Ok("1");
    Config {
        cases: if many { slow } else { fast },
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    }
}
fn tape() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 0..160)
}

/// The ELBO at random parameters is finite and so is its gradient.
fn one_step(program: &Program) -> Result<(), TestCaseError> {
    let text = program.text();
    let c = compile_text(&text, &Options::default());
    let rendered = render_all(&c.diags, &c.sources, false);
    prop_assert!(!c.diags.has_errors(), "refused:\n{text}\n{rendered}");
    let mut e = Elbo::new(&text, KlChoice::Auto);
    let p = e.start(7);
    let value = e.at(&p, Key::new(11), None);
    prop_assert!(value.elbo.is_finite(), "{} from\n{text}", value.elbo);
    prop_assert!(value.gradient.iter().all(|g| g.is_finite()), "{:?} from\n{text}", value.gradient);
    Ok(())
}

/// With a point mass for every site the gradient is that of the objective: central differences say the same.
fn differences(program: &Program, seed: u64) -> Result<(), TestCaseError> {
    let text = program.with_delta();
    let mut e = Elbo::new(&text, KlChoice::Auto);
    let mut random = Random(seed);
    // Away from where functions have a kink and all sites start.
    let p: Vec<f64> = e.start(7).iter().map(|x| x + 0.1 + 0.2 * random.normal()).collect();
    let key = Key::new(5);
    let found = e.at(&p, key, None).gradient;
    let mut slope = |at: usize, h: f64| {
        let mut moved = p.clone();
        moved[at] = p[at] + h;
        let up = e.at(&moved, key, None).elbo;
        moved[at] = p[at] - h;
        let down = e.at(&moved, key, None).elbo;
        (-(up - down) / (2.0 * h), 1e-14 * up.abs() / h)
    };
    for (at, &g) in found.iter().enumerate() {
        let ((coarse, _), (fine, rounding)) = (slope(at, 2e-4), slope(at, 1e-4));
        // Richardson's extrapolation; what the two differ by bounds what is left.
        let better = fine + (fine - coarse) / 3.0;
        let tolerance = 1e-6 * g.abs() + 1e-7 + (fine - coarse).abs() + rounding;
        prop_assert!((g - better).abs() <= tolerance, "slope {at}: {g}, by differences {better}, in\n{text}");
    }
    Ok(())
}

#[test]
fn random_programs_have_the_gradients_of_their_objectives() {
    proptest!(cases(60, 3000), |(choices in tape(), seed in any::<u64>())| {
        let program = programs::program(&choices);
        one_step(&program)?;
        differences(&program, seed)?;
    });
}

/// What must hold of every text: messages are whole, point into the file, can be drawn; what is accepted can be bound,
/// or the data are refused with messages; what is bound has an objective.
fn survives(text: &str) -> Result<Compilation, TestCaseError> {
    let c = compile_text(text, &Options::default());
    for d in &c.diags {
        prop_assert!(!d.message.is_empty(), "{d:?} from\n{text}");
        for label in &d.labels {
            let file = c.sources.file(label.span.file);
            let (start, end) = (label.span.start as usize, label.span.end as usize);
            prop_assert!(start <= end && end <= file.text.len(), "{d:?} from\n{text}");
            prop_assert!(file.text.is_char_boundary(start) && file.text.is_char_boundary(end), "{d:?} from\n{text}");
        }
    }
    render_all(&c.diags, &c.sources, false);
    Ok(c)
}

/// Goes on with what is accepted: data, objective.
fn goes_on(c: &Compilation) {
    if c.diags.has_errors() || c.program.model.is_none() {
        return;
    }
    // Sizes that a mutation made large would only take time.
    if c.program.sizes.iter().any(|s| s.value.is_some_and(|n| n > 64)) {
        return;
    }
    let Ok(bound) = session::bind(c, &mut Files::new(), &[]) else { return };
    if c.program.infers.iter().any(|i| i.svi.minibatch.is_some()) || bound.data.sizes.iter().any(|&n| n > 1000) {
        return;
    }
    let mut e = Elbo::of(c, KlChoice::Auto);
    let p = e.start(1);
    e.at(&p, Key::new(1), None);
}

/// `text` with one token deleted, doubled, exchanged with the next, replaced by another one, or misspelt.
fn mutated(text: &str, how: usize, at: usize, other: usize) -> String {
    let tokens = tokenize(text);
    if tokens.is_empty() {
        return text.to_string();
    }
    let (i, j) = (at % tokens.len(), other % tokens.len());
    let token = |i: usize| &text[tokens[i].start..tokens[i].end];
    let put = |new: &str, i: usize| format!("{}{new}{}", &text[..tokens[i].start], &text[tokens[i].end..]);
    match how % 5 {
        0 => put("", i),
        1 => put(&format!("{0} {0}", token(i)), i),
        2 if i + 1 < tokens.len() => {
            let (a, b) = (tokens[i], tokens[i + 1]);
            let between = &text[a.end..b.start];
            format!("{}{}{between}{}{}", &text[..a.start], token(i + 1), token(i), &text[b.end..])
        }
        3 => put(token(j), i),
        _ => {
            // Two characters of a name change places, or the last one goes.
            let mut letters: Vec<char> = token(i).chars().collect();
            match letters.len() {
                0 | 1 => letters.push('x'),
                n if j % 2 == 0 => letters.swap(n / 2, n / 2 - 1),
                _ => drop(letters.pop()),
            }
            put(&letters.into_iter().collect::<String>(), i)
        }
    }
}

#[test]
fn mutations_of_random_programs_give_messages_or_programs() {
    let changes = prop::collection::vec((0usize..5, any::<usize>(), any::<usize>()), 1..3);
    proptest!(cases(250, 20_000), |(choices in tape(), changes in changes)| {
        let mut text = programs::program(&choices).text();
        for (how, at, other) in changes {
            text = mutated(&text, how, at, other);
        }
        goes_on(&survives(&text)?);
    });
}

fn texts(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the folder of the programs can be read") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            texts(&path, found);
        } else if path.extension().is_some_and(|e| e == "bayes") {
            found.push(std::fs::read_to_string(&path).expect("readable"));
        }
    }
}

#[test]
fn mutations_of_the_examples_and_wrong_programs_give_messages_or_programs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for folder in ["examples", "stdlib", "tests/ui"] {
        texts(&root.join(folder), &mut all);
    }
    all.sort();
    proptest!(cases(300, 30_000), |(which in any::<usize>(), how in 0usize..5, at in any::<usize>(), other in any::<usize>())| {
        survives(&mutated(&all[which % all.len()], how, at, other))?;
    });
}

#[test]
fn any_text_is_survived() {
    proptest!(cases(300, 30_000), |(bytes in prop::collection::vec(any::<u8>(), 0..200))| {
        survives(&String::from_utf8_lossy(&bytes))?;
    });
}

#[test]
fn any_row_of_tokens_is_survived() {
    const WORDS: &[&str] = &[
        "model",
        "guide",
        "infer",
        "data",
        "size",
        "fn",
        "net",
        "layer",
        "use",
        "generate",
        "evaluate",
        "expect",
        "keep",
        "param",
        "observe",
        "factor",
        "for",
        "if",
        "else",
        "return",
        "in",
        "not",
        "and",
        "or",
        "real",
        "int",
        "bool",
        "svi",
        "nuts",
        "mean_field",
        "minibatch",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ",",
        ":",
        "=",
        "~",
        "..",
        "..=",
        ".",
        "+",
        "-",
        "*",
        "/",
        "@",
        "^",
        "|>",
        "->",
        "<",
        "==",
        "?",
        "_",
        "N",
        "K",
        "x",
        "y",
        "a",
        "Normal",
        "Gamma",
        "Categorical",
        "bnn",
        "dense",
        "exp",
        "sum",
        "over",
        "axis",
        "new",
        "0",
        "1",
        "2.5",
        "1e9",
        "\"s\"",
        "csv",
        "true",
        "inf",
        "\n",
        "\n",
        "// c\n",
        "/// d\n",
    ];
    let soup = prop::collection::vec(0..WORDS.len(), 0..60);
    proptest!(cases(400, 40_000), |(soup in soup)| {
        let text: Vec<&str> = soup.iter().map(|&w| WORDS[w]).collect();
        goes_on(&survives(&text.join(" "))?);
    });
}

/// A whole file of each format that data can be read from, with an expression that reads it.
fn files() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    let header = format!("{:<117}\n", "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }");
    npy.extend((header.len() as u16).to_le_bytes());
    npy.extend(header.bytes());
    npy.extend([1.5f64, 2.5].iter().flat_map(|x| x.to_le_bytes()));
    let mut idx = vec![0, 0, 8, 1, 0, 0, 0, 3];
    idx.extend([7, 8, 9]);
    let header = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let mut tensors = (header.len() as u64).to_le_bytes().to_vec();
    tensors.extend(header);
    tensors.extend([1.0f32, 2.0].iter().flat_map(|x| x.to_le_bytes()));
    vec![
        ("t.csv", "csv(\"t.csv\").a", b"a,b\n1,x\n2.5,\"y\"\"z\"\n,w\n".to_vec()),
        ("t.csv", "codes(csv(\"t.csv\").b, levels(csv(\"t.csv\").b))", b"a,b\n1,x\n2.5,y\n3,x\n".to_vec()),
        ("t.csv", "standardize(csv(\"t.csv\").drop_missing().a)", b"a,b\n1,2\n2.5,3\nNA,4\n".to_vec()),
        ("t.json", "json(\"t.json\").a", br#"{"a": [1, 2.5, -3e2], "b": {"c": "d\u00e4"}}"#.to_vec()),
        ("t.npy", "npy(\"t.npy\")", npy),
        ("t.idx", "idx(\"t.idx\")", idx),
        ("t.safetensors", "safetensors(\"t.safetensors\").a", tensors),
        ("t.npz", "npz(\"t.npz\").a", b"PK\x03\x04".to_vec()),
    ]
}

#[test]
fn any_file_is_survived() {
    let folder = tempfile::tempdir().expect("a folder for files");
    let all = files();
    let changes = prop::collection::vec((any::<usize>(), any::<u8>()), 0..4);
    let fresh = prop::collection::vec(any::<u8>(), 0..80);
    proptest!(cases(300, 20_000), |(which in 0..all.len(), changes in changes, cut in any::<usize>(), how in 0..4, fresh in fresh)| {
        let (name, value, good) = &all[which];
        let mut bytes = good.clone();
        for &(at, to) in &changes {
            let at = at % bytes.len();
            bytes[at] = to;
        }
        match how {
            0 => bytes.truncate(cut % (good.len() + 1)),
            1 => bytes = fresh,
            2 => bytes.extend(fresh),
            _ => {}
        }
        std::fs::write(folder.path().join(name), &bytes).expect("writable");
        let text = format!("data x: real[N] = {value}\nmodel {{\n  mu ~ Normal(0, 1)\n  x ~ Normal(mu, 1)\n}}\n");
        let mut none = |path: &str, _: Option<&Path>| Err(format!("`{path}` is not there"));
        let path = folder.path().join("m.bayes");
        let c = bayesc::driver::compile("m.bayes", Some(path), &text, &Options::default(), &mut none);
        prop_assert!(!c.diags.has_errors(), "{:?}", c.diags);
        // An array that stays in its file is refused and read as one in memory is.
        let mut bits = Vec::new();
        let mut messages = Vec::new();
        for lazy_from in [0, usize::MAX] {
            match session::bind(&c, &mut Files::new().lazy_from(lazy_from), &[]) {
                Ok(bound) => {
                    let all: Vec<f64> = bound.data.values.iter().flatten().flat_map(|v| v.to_vec()).collect();
                    prop_assert!(all.iter().all(|x| x.is_finite()));
                    bits.push(all.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
                    messages.push(None);
                }
                Err(session::Failure::Diagnostics(diags)) => {
                    prop_assert!(diags.iter().all(|d| d.code.is_data() && !d.message.is_empty()), "{diags:?}");
                    messages.push(Some(render_all(&diags, &c.sources, false)));
                }
                Err(other) => prop_assert!(false, "{other:?}"),
            }
        }
        prop_assert_eq!(&messages[0], &messages[1]);
        prop_assert!(bits.iter().all(|b| *b == bits[0]), "{} {:?}", name, bytes);
    });
}
