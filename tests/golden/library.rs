//! The library in the language itself: the example of every function compiles, runs and has finite numbers; what the
//! functions compute, against formulas.

use crate::common::*;
use bayesc::check::modules::LIBRARY;
use bayesc::data::{DataArgument, Files};
use bayesc::report::fit::Fit;
use bayesc::session::{self, RunOptions};
use std::path::PathBuf;

/// Data for all examples, in a file.
fn data_file() -> PathBuf {
    let mut random = Random(5);
    let mut nested = |shape: &[usize]| {
        fn make(shape: &[usize], random: &mut Random) -> serde_json::Value {
            match shape {
                [] => serde_json::json!(random.normal()),
                [n, rest @ ..] => (0..*n).map(|_| make(rest, random)).collect(),
            }
        }
        make(shape, &mut random)
    };
    let all = serde_json::json!({
        "images": nested(&[20, 1, 8, 8]),
        "signals": nested(&[20, 2, 8]),
        "x": nested(&[20, 4]),
        "t": (0..20).map(f64::from).collect::<Vec<_>>(),
        "group": (0..20).map(|i| i % 3).collect::<Vec<_>>(),
    });
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("library_examples.json");
    std::fs::write(&path, all.to_string()).expect("a writable folder");
    path
}
/// The program around the example `statement`, which binds `h`.
fn program(module: &str, statement: &str) -> String {
    format!(
        "use {module}\ndata images: real[N, 1, 8, 8]\ndata signals: real[N, 2, 8]\ndata x: real[N, D]\n\
         data t: real[N]\ndata group: int[N] in 0..3\ndata y: real = 0.5\nmodel {{\n  {statement}\n  \
         y ~ Normal(sum(h, over = all), 1)\n  other ~ Normal(0, 1)\n}}\ninfer svi {{ steps = 2, draws = 5 }}\n"
    )
}
/// The functions of a module with the statement after `Example:` in their doc comment.
fn examples_of(text: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let mut example = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("/// Example: `") {
            example = Some(rest.trim_end_matches('`').to_string());
        }
        let head = ["model ", "fn ", "layer ", "net "].iter().find_map(|kind| line.strip_prefix(kind));
        if let Some(head) = head {
            let name = head.split('(').next().unwrap_or_default().to_string();
            found.push((name, example.take()));
        }
    }
    found
}
fn fit_of(module: &str, statement: &str) -> Fit {
    let c = compile(&program(module, statement));
    let arguments = [DataArgument::All(data_file())];
    let bound = session::bind(&c, &mut Files::new(), &arguments).unwrap_or_else(|e| panic!("{statement}: {e:?}"));
    session::run(&bound, &RunOptions::default(), &mut Patient::default())
        .unwrap_or_else(|e| panic!("{statement} fails: {e:?}"))
}

#[test]
fn every_function_has_an_example_that_runs() {
    for (module, text) in LIBRARY {
        let examples = examples_of(text);
        assert!(examples.len() >= 4, "{module} has functions");
        for (name, example) in examples {
            let example = example.unwrap_or_else(|| panic!("`{module}.{name}` has no example"));
            assert!(example.contains(&format!("{module}.{name}(")), "the example of `{module}.{name}` is `{example}`");
            let fit = fit_of(module, &example);
            let (elbo, _) = elbo_of(&fit);
            assert!(elbo.is_finite(), "{example}: {elbo}");
            let finite = fit.quantities.iter().all(|q| (0..q.data.len()).all(|i| q.data.get(i).is_finite()));
            assert!(finite && fit.params.iter().all(|p| p.data.iter().all(|x| x.is_finite())), "{example}");
        }
    }
}

#[test]
fn names_of_parameters_are_stable_and_fresh_at_every_call() {
    let text = "use nn\ndata x: real[N, 4]\nnet f(x: real[N, 4]) -> real[N, 2] {\n  return nn.dense(nn.dense(x, 3), 2)\n}\n\
                model {\n  a = f(x)\n  b = nn.dense(f(x), 1)\n  s ~ Normal(sum(a, over = all) + sum(b, over = all), 1)\n}\n\
                guide q {\n  s ~ Normal(nn.dense([1.0], 1)[0], ?)\n}\ninfer svi { steps = 1, draws = 2 }\n";
    let c = compile(text);
    let bound = session::bind(&c, &mut Files::new(), &[DataArgument::All(data_file())]).expect("data");
    let fit = session::run(&bound, &RunOptions::default(), &mut Patient::default()).expect("it runs");
    let names: Vec<&str> = fit.params.iter().map(|p| p.name.as_str()).collect();
    let expected = [
        "f.dense.weight",
        "f.dense.bias",
        "f.dense_2.weight",
        "f.dense_2.bias",
        "dense.weight",
        "dense.bias",
        "q.dense.weight",
        "q.dense.bias",
        "s.scale",
    ];
    assert_eq!(names, expected);
    // Another guide of the same model has none of those of `q`.
    let options = RunOptions { guide: Some("mean_field".into()), ..RunOptions::default() };
    let fit = session::run(&bound, &options, &mut Patient::default()).expect("it runs");
    assert!(fit.params.iter().all(|p| !p.name.starts_with("q.")));
}

#[test]
fn weights_start_as_widely_as_their_activation_asks_for() {
    let spread = |layer: &str| {
        let text = format!(
            "use nn\ndata x: real[N, 4] = [[1, 2, 3, 4]]\nmodel {{\n  h = {layer}\n  s ~ Normal(sum(h, over = all), 1)\n}}\n"
        );
        let e = Elbo::new(&text, bayesc::check::settings::KlChoice::Auto);
        let start = e.start(3);
        let slot =
            e.slots.list.iter().find(|s| s.name.ends_with("weight") || s.name.ends_with("table")).expect("a weight");
        let w = &start[slot.offset..slot.offset + slot.shape.count()];
        (w.iter().map(|x| x * x).sum::<f64>() / w.len() as f64).sqrt()
    };
    for (layer, expected) in [
        ("nn.dense(x, 2000)", (1.0f64 / 4.0).sqrt()),
        ("nn.dense(x, 2000) |> relu", (2.0f64 / 4.0).sqrt()),
        ("nn.dense(x, 2000) |> tanh", (2.0f64 / 2004.0).sqrt()),
        ("nn.conv2d(reshape(x, [N, 1, 2, 2]), 2000, kernel = 2) |> gelu", (2.0f64 / 4.0).sqrt()),
        ("nn.conv_transpose2d(reshape(x, [N, 1, 2, 2]), 500, kernel = 4, stride = 2) |> relu", (2.0f64 / 4.0).sqrt()),
        ("nn.embedding([0, 1], classes = 3, out = 2000)", 1.0),
    ] {
        assert_close(spread(layer) / expected, 1.0, 0.06, layer);
    }
}

/// A deterministic value of a program that only reads literals, by `generate`.
fn value(module: &str, expression: &str) -> Vec<f64> {
    let text = format!(
        "use {module}\nmodel {{\n  s ~ Normal(0, 1)\n}}\ngenerate {{\n  v = {expression}\n}}\ninfer svi {{ steps = 1, draws = 2 }}\n"
    );
    let fit = fit(&text);
    let q = quantity(&fit.quantities, "v");
    (0..q.count()).map(|e| q.value(0, 0, e)).collect()
}

#[test]
fn kernels_are_their_formulas() {
    let (a, b, l, s) = (0.4f64, 1.5f64, 0.7f64, 1.3f64);
    let r = (a - b).abs() / l;
    let (r3, r5) = (3f64.sqrt() * r, 5f64.sqrt() * r);
    for (call, expected) in [
        (format!("rbf([{a}], [{b}], {s}, {l})"), s * s * (-0.5 * r * r).exp()),
        (format!("rational_quadratic([{a}], [{b}], {s}, {l}, 0.5)"), s * s * (1.0 + r * r).powf(-0.5)),
        (format!("matern32([{a}], [{b}], {s}, {l})"), s * s * (1.0 + r3) * (-r3).exp()),
        (format!("matern52([{a}], [{b}], {s}, {l})"), s * s * (1.0 + r5 + r5 * r5 / 3.0) * (-r5).exp()),
        (
            format!("periodic([{a}], [{b}], 2.0, {s}, {l})"),
            s * s * (-2.0 * ((std::f64::consts::PI * (a - b) / 2.0).sin() / l).powi(2)).exp(),
        ),
        (format!("linear([{a}], [{b}], {s}, 0.1)"), s * s * (a - 0.1) * (b - 0.1)),
        (format!("rbf_nd([[{a}, 1]], [[{b}, 1]], {s}, [{l}, 9.0])"), s * s * (-0.5 * r * r).exp()),
        (format!("matern32_nd([[{a}, 1]], [[{b}, 1]], {s}, [{l}, 9.0])"), s * s * (1.0 + r3) * (-r3).exp()),
        (
            format!("matern52_nd([[{a}, 1]], [[{b}, 1]], {s}, [{l}, 9.0])"),
            s * s * (1.0 + r5 + r5 * r5 / 3.0) * (-r5).exp(),
        ),
        (format!("linear_nd([[{a}, 2]], [[{b}, 3]], [{s}, 0.5])"), s * s * a * b + 0.25 * 6.0),
    ] {
        assert_all_close(&value("gp", &format!("gp.{call}")), &[expected], 1e-12, &call);
    }
    assert_eq!(value("gp", "gp.white(2, 3)"), [9.0, 0.0, 0.0, 9.0]);
    assert_eq!(value("gp", "gp.jitter(zeros([2, 2]), 0.5)"), [0.5, 0.0, 0.0, 0.5]);
    // Without noise the mean passes through the data, where the variance is 0.
    let data = "gp.rbf([0.0, 1.0], [0.0, 1.0])";
    assert_all_close(
        &value("gp", &format!("gp.conditional_mean({data}, {data}, [3.0, -2.0])")),
        &[3.0, -2.0],
        1e-9,
        "mean",
    );
    let variance = value("gp", &format!("gp.conditional_variance({data}, {data}, [1.0, 1.0])"));
    assert!(variance.iter().all(|v| v.abs() < 1e-9), "{variance:?}");
}

#[test]
fn time_series_are_their_recursions() {
    let lagged = value("ts", "ts.lagged(4, [0.6, 0.2])");
    #[rustfmt::skip]
    let expected = [
        0.0, 0.0, 0.0, 0.0,
        0.6, 0.0, 0.0, 0.0,
        0.2, 0.6, 0.0, 0.0,
        0.0, 0.2, 0.6, 0.0,
    ];
    assert_all_close(&lagged, &expected, 1e-15, "lagged");
    let mean = value("ts", "ts.ar_mean([1.0, 2.0, 4.0, 8.0], [0.6, 0.2])");
    assert_all_close(&mean, &[0.6 * 2.0 + 0.2, 0.6 * 4.0 + 0.4], 1e-12, "ar_mean");
    let fourier = value("ts", "ts.fourier([1.0], 4.0, 2)");
    assert_all_close(&fourier, &[1.0, 0.0, 0.0, -1.0], 1e-12, "fourier");
    // Draws of `generate` follow the recursions of their noise.
    let text = "use ts\nmodel {\n  s ~ Normal(0, 1)\n}\ngenerate {\n  a ~ ts.ar(5, phi = [0.6, 0.2], scale = 0.5)\n  \
                b ~ ts.ar1(5, phi = 0.8, scale = 0.5)\n  c ~ ts.local_level(5, scale = 0.3, loc = 1, spread = 2)\n  \
                d ~ ts.local_linear_trend(5, scale = 0.3, slope_scale = 0.1)\n  e ~ ts.seasonal(5, period = 3, scale = 2)\n  \
                f ~ ts.random_walk(5, scale = 0.3)\n}\ninfer svi { steps = 1, draws = 2 }\n";
    let fit = fit(text);
    let all = |name: &str| {
        let q = quantity(&fit.quantities, name);
        (0..q.count()).map(|e| q.value(0, 0, e)).collect::<Vec<f64>>()
    };
    let (a, z) = (all("a"), all("a.z"));
    let b = all("b");
    let zb = all("b.z");
    let (c, zc, c0) = (all("c"), all("c.z"), all("c.initial")[0]);
    let (d, zd, zs) = (all("d"), all("d.z"), all("d.z_slope"));
    let mut slope = all("d.initial_slope")[0];
    let (f, zf) = (all("f"), all("f.z"));
    for t in 0..5 {
        let back = |x: &[f64], k: usize| if t >= k { x[t - k] } else { 0.0 };
        assert_close(a[t], 0.6 * back(&a, 1) + 0.2 * back(&a, 2) + 0.5 * z[t], 1e-12, "ar");
        let first = if t == 0 { 1.0 / 0.6 } else { 1.0 };
        assert_close(b[t], 0.8 * back(&b, 1) + 0.5 * zb[t] * first, 1e-12, "ar1");
        assert_close(c[t], if t == 0 { c0 } else { c[t - 1] + 0.3 * zc[t - 1] }, 1e-12, "local_level");
        if t > 0 {
            slope += 0.1 * zs[t - 1];
            assert_close(d[t], d[t - 1] + slope + 0.3 * zd[t - 1], 1e-12, "local_linear_trend");
        }
        assert_close(f[t], back(&f, 1) + 0.3 * zf[t], 1e-12, "random_walk");
    }
    let e = all("e");
    assert_close(e[0] + e[1] + e[2], 0.0, 1e-12, "a season sums to zero");
    assert_eq!((e[0], e[1]), (e[3], e[4]));
}

#[test]
fn shrinkage_priors_have_their_scales() {
    // Quantiles of draws of `generate`: the median of |b| of a horseshoe with tau = 1 is that of |z| lambda, and so on.
    let text = "use priors\nmodel {\n  s ~ Normal(0, 1)\n}\ngenerate {\n  free ~ priors.horseshoe([3], scale = 1)\n  \
                firm ~ priors.regularized_horseshoe([3], scale = 1000, slab = 2, slab_df = 200)\n  \
                share ~ priors.r2d2([3], mean = 0.5, precision = 2000, concentration = 1000, noise = 2)\n  \
                gated ~ priors.spike_and_slab([3], inclusion = 0.25, slab = 5, spike = 0.001, temperature = 0.01)\n  \
                mixed ~ priors.scale_mixture([3], weight = 0.75, narrow = 0.001, wide = 5)\n}\n\
                infer svi { steps = 1, draws = 4_000 }\n";
    let fit = fit(text);
    let share_of = |name: &str, f: &dyn Fn(f64) -> bool| {
        let all: Vec<f64> = draws(&fit.quantities, name, 1).iter().map(|&x| f64::from(u8::from(f(x)))).collect();
        mean_and_error(&all)
    };
    let near = |got: (f64, f64), want: f64, what: &str| {
        assert!((got.0 - want).abs() < 4.5 * got.1.max(0.002), "{what}: {} ± {}, expected {want}", got.0, got.1);
    };
    // A very wide global scale leaves the slab: a normal with standard deviation 2.
    near(share_of("firm", &|x| x.abs() < 2.0), 0.68, "slab");
    // Three equal shares of R^2 / (1 - R^2) = 1: variance 4 / 3 for each.
    near(share_of("share", &|x| x.abs() < (4.0f64 / 3.0).sqrt()), 0.683, "r2d2");
    near(share_of("gated", &|x| x.abs() > 0.02), 0.25, "gates that are open");
    near(share_of("mixed", &|x| x.abs() > 0.02), 0.25, "wide components");
    // ln(|tau lambda z|) is symmetric about ln |z| because ln of a half-Cauchy is symmetric about 0.
    let z = draws(&fit.quantities, "free.z", 1);
    let free = draws(&fit.quantities, "free", 1);
    let above: Vec<f64> = free.iter().zip(&z).map(|(b, z)| f64::from(u8::from(b.abs() > z.abs()))).collect();
    assert_mean(&above, 0.5, "tau lambda is above 1 half of the time");
}
