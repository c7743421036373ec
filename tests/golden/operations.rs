//! Network functions in programs against reference values, forward and backward (`nn_ops.json`).

use crate::common::*;
use bayesc::check::settings::KlChoice;
use bayesc::rng::Key;
use serde_json::Value as Json;

/// A nested literal of a tensor, row-major.
fn nested(shape: &[usize], data: &[String]) -> String {
    match shape {
        [] => data[0].clone(),
        [_] => format!("[{}]", data.join(", ")),
        [n, rest @ ..] => {
            let parts: Vec<String> = data.chunks(data.len() / n).map(|part| nested(rest, part)).collect();
            format!("[{}]", parts.join(", "))
        }
    }
}
fn counts(v: &Json) -> Vec<usize> {
    v.as_array().expect("a list").iter().map(|n| n.as_u64().expect("a count") as usize).collect()
}
fn shape(tensor: &Json) -> Vec<usize> {
    counts(&tensor["shape"])
}
fn numbers(tensor: &Json) -> Vec<f64> {
    let list = tensor.get("data").or(tensor.get("int")).and_then(Json::as_array).expect("numbers");
    list.iter().map(|n| n.as_f64().expect("a number")).collect()
}
fn pair(list: &Json) -> String {
    match counts(list)[..] {
        [n] => n.to_string(),
        [a, b] => format!("({a}, {b})"),
        _ => unreachable!("one or two axes"),
    }
}
/// `pad = …`, when the language can say it: the same on both sides.
fn padding(attrs: &Json) -> Option<String> {
    match &attrs["padding"] {
        Json::String(word) => Some(word.clone()),
        Json::Array(list) => {
            let sides: Option<Vec<u64>> = list
                .iter()
                .map(|p| match p {
                    Json::Array(ends) if ends[0] == ends[1] => ends[0].as_u64(),
                    Json::Array(_) => None,
                    one => one.as_u64(),
                })
                .collect();
            match sides?[..] {
                [n] => Some(n.to_string()),
                [a, b] => Some(format!("({a}, {b})")),
                _ => None,
            }
        }
        _ => None,
    }
}
/// The call in the language; `None` for what it has no function for.
fn call(op: &str, attrs: &Json, has_bias: bool) -> Option<String> {
    let bias = if has_bias { ", b" } else { "" };
    let axis = || attrs["axis"].as_i64().expect("an axis");
    Some(match op {
        "conv1d" | "conv2d" => format!(
            "{op}(x, w{bias}, stride = {}, pad = {}, dilation = {}, groups = {})",
            pair(&attrs["stride"]),
            padding(attrs)?,
            pair(&attrs["dilation"]),
            attrs["groups"]
        ),
        "conv_transpose1d" | "conv_transpose2d" => format!(
            "{op}(x, w{bias}, stride = {}, pad = {}, dilation = {}, groups = {}, output_pad = {})",
            pair(&attrs["stride"]),
            padding(attrs)?,
            pair(&attrs["dilation"]),
            attrs["groups"],
            pair(&attrs["output_padding"])
        ),
        "max_pool1d" | "max_pool2d" | "avg_pool1d" | "avg_pool2d" => {
            let pad = padding(attrs).filter(|p| p != "same").map(|p| if p == "valid" { "0".to_string() } else { p })?;
            if counts(&attrs["dilation"]).iter().any(|&d| d != 1) || attrs["count_include_pad"] == true {
                return None;
            }
            format!("{op}(x, {}, stride = {}, pad = {pad})", pair(&attrs["kernel"]), pair(&attrs["stride"]))
        }
        "global_avg_pool2d" => "global_avg_pool(x)".to_string(),
        "softmax" | "log_softmax" | "logsumexp" => format!("{op}(x, axis = {})", axis()),
        "relu" | "gelu" | "softplus" | "tanh" | "sigmoid" => format!("{op}(x)"),
        "linear" => "dense(x, transpose(w), b)".to_string(),
        "layer_norm" => "layer_norm(x, gamma, beta)".to_string(),
        "embedding" => "embedding(ids, table)".to_string(),
        "logdet_spd" => "logdet((a + transpose(a)) / 2)".to_string(),
        "triangular_solve_lower" => "solve_triangular(L, b)".to_string(),
        _ => return None,
    })
}

#[test]
fn reference_cases_hold_in_programs() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/nn_ops.json");
    let file: Json = serde_json::from_str(&std::fs::read_to_string(path).expect("the file is there")).expect("json");
    let mut checked = std::collections::BTreeMap::<String, usize>::new();
    for (i, case) in file["cases"].as_array().expect("cases").iter().enumerate() {
        let op = case["op"].as_str().expect("a name");
        let inputs = case["inputs"].as_object().expect("inputs");
        let Some(call) = call(op, &case["attrs"], inputs.contains_key("b")) else { continue };
        let (mut data, mut model) = (String::new(), String::new());
        for (name, tensor) in inputs {
            let dims = shape(tensor);
            let sizes = if dims.is_empty() {
                String::new()
            } else {
                format!("[{}]", dims.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
            };
            if tensor.get("int").is_some() {
                let text: Vec<String> = numbers(tensor).iter().map(|x| format!("{}", *x as i64)).collect();
                data += &format!("data {name}: int{sizes} = {}\n", nested(&dims, &text));
            } else {
                model += &format!("  {name}: real{sizes} ~ Normal(0, 1)\n");
            }
        }
        let (weights, output) = (&case["grad_output"], &case["output"]);
        let text: Vec<String> = numbers(weights).iter().map(|x| format!("{x:?}")).collect();
        let sizes = shape(weights).iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let objective = if shape(weights).is_empty() {
            format!("({call}) * {}", text[0])
        } else {
            data += &format!("data weights: real[{sizes}] = {}\n", nested(&shape(weights), &text));
            format!("sum(weights * ({call}), over = all)")
        };
        let mut e =
            Elbo::new(&format!("{data}model {{\n{model}  factor {objective}\n}}\nguide delta\n"), KlChoice::Auto);
        let mut p = e.start(0);
        let mut prior = 0.0;
        for (name, tensor) in inputs.iter().filter(|(_, t)| t.get("data").is_some()) {
            e.set(&mut p, &format!("{name}.loc"), &numbers(tensor));
            prior += numbers(tensor).iter().map(|&x| log_normal(x, 0.0, 1.0)).sum::<f64>();
        }
        let v = e.at(&p, Key::new(0), None);
        let expected: f64 = numbers(output).iter().zip(numbers(weights)).map(|(y, w)| y * w).sum();
        assert_close(v.elbo - prior, expected, 1e-10 * (1.0 + prior.abs()), &format!("{op} {i}: {call}"));
        for (name, gradient) in case["grads"].as_object().expect("gradients") {
            let slot = e.slots.list.iter().find(|s| s.name == format!("{name}.loc")).expect("a latent input");
            let (at, expected, x) = (slot.offset, numbers(gradient), numbers(&inputs[name]));
            for (j, (g, x)) in expected.iter().zip(x).enumerate() {
                // The prior adds -x to the gradient of the log density.
                let found = -v.gradient[at + j] + x;
                assert_close(found, *g, 1e-9 * (1.0 + g.abs()), &format!("{op} {i}: {call}, d {name}[{j}]"));
            }
        }
        *checked.entry(op.to_string()).or_default() += 1;
    }
    for op in ["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "embedding", "layer_norm", "linear"] {
        assert!(checked.get(op).is_some_and(|n| *n >= 2), "too few cases of {op}: {checked:?}");
    }
    assert!(checked.values().sum::<usize>() >= 60, "too few cases: {checked:?}");
}
