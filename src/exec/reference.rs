//! Forward and backward passes of network operations against reference values (`nn_ops.json`), each built from the
//! operations of the graph as a program would have it.

use super::Executable;
use crate::autodiff::gradient;
use crate::index::Idx;
use crate::ir::{Builder, DType, Graph, InputId, InputKind, Shape, ValueId};
use crate::kernels::Scalar;
use crate::kernels::testing::{counts, numbers, reference};
use crate::ops::{ConvAttrs, PoolAttrs, Reduction};
use crate::rng::Key;
use serde_json::Value;
use std::collections::HashMap;

/// Operations of the file that the graph has no operations for.
const ABSENT: &[&str] = &["conv3d", "upsample_bilinear2d", "adaptive_avg_pool2d"];

struct Case<'a> {
    g: Builder,
    attrs: &'a Value,
    x: HashMap<&'a str, ValueId>,
}

impl Case<'_> {
    fn get(&self, name: &str) -> ValueId {
        self.x[name]
    }
    fn number(&self, name: &str) -> f64 {
        self.attrs[name].as_f64().expect("a number")
    }
    fn count(&self, name: &str) -> usize {
        self.attrs[name].as_u64().expect("a count") as usize
    }
    /// A list for the two spatial axes; one number stands for the second one.
    fn pair(&self, name: &str, first: usize) -> [usize; 2] {
        match counts(&self.attrs[name])[..] {
            [a, b] => [a, b],
            [b] => [first, b],
            _ => unreachable!("one or two axes"),
        }
    }
    /// `x [N, C, L]` as `[N, C, 1, L]`.
    fn with_height(&mut self, x: ValueId) -> ValueId {
        if self.g.rank(x) == 3 { self.g.expand_dim(x, 2) } else { x }
    }
    fn padding(
        &self,
        size: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
    ) -> [[usize; 2]; 2] {
        match &self.attrs["padding"] {
            Value::String(s) if s == "valid" => [[0, 0]; 2],
            Value::String(_) => std::array::from_fn(|i| {
                let out = size[i].div_ceil(stride[i]);
                let reach = (out - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1;
                let total = reach.saturating_sub(size[i]);
                [total / 2, total - total / 2]
            }),
            Value::Array(list) => match &list[..] {
                [a, b] => [pads(a), pads(b)],
                [b] => [[0, 0], pads(b)],
                _ => unreachable!("one or two axes"),
            },
            _ => unreachable!("padding is a word or a list"),
        }
    }
    /// Adds `b [C]` to every channel.
    fn add_bias(&mut self, y: ValueId) -> ValueId {
        let Some(&b) = self.x.get("b") else { return y };
        let channels = self.g.shape(b)[0];
        let b = self.g.reshape(b, [channels, 1, 1]);
        self.g.add(y, b)
    }
    fn conv(&mut self) -> ValueId {
        let (x, w) = (self.get("x"), self.get("w"));
        let flat = self.g.rank(x) == 3;
        let (x, w) = (self.with_height(x), self.with_height(w));
        let (xs, ws) = (self.g.shape(x), self.g.shape(w));
        let (stride, dilation) = (self.pair("stride", 1), self.pair("dilation", 1));
        let pad = self.padding([xs[2], xs[3]], [ws[2], ws[3]], stride, dilation);
        let y = self.g.conv2d(x, w, ConvAttrs { stride, pad, dilation, groups: self.count("groups") });
        let y = self.add_bias(y);
        self.without_height(y, flat)
    }
    fn conv_transpose(&mut self) -> ValueId {
        let (x, w) = (self.get("x"), self.get("w"));
        let flat = self.g.rank(x) == 3;
        let (x, w) = (self.with_height(x), self.with_height(w));
        let (xs, ws) = (self.g.shape(x), self.g.shape(w));
        let (stride, dilation) = (self.pair("stride", 1), self.pair("dilation", 1));
        let (crop, extra) = (self.pair("padding", 0), self.pair("output_padding", 0));
        let size = std::array::from_fn(|i| {
            let crop = [crop[i], crop[i]];
            crate::ops::rules::conv_transpose_size(&xs[2 + i], &ws[2 + i], stride[i], crop, dilation[i], extra[i])
        });
        let attrs = ConvAttrs { stride, pad: crop.map(|c| [c, c]), dilation, groups: self.count("groups") };
        let y = self.g.conv2d_input_grad(x, w, attrs, size);
        let y = self.add_bias(y);
        self.without_height(y, flat)
    }
    fn pool(&mut self, max: bool) -> Option<ValueId> {
        let x = self.get("x");
        let flat = self.g.rank(x) == 3;
        let x = self.with_height(x);
        let xs = self.g.shape(x);
        let (window, stride, dilation) = (self.pair("kernel", 1), self.pair("stride", 1), self.pair("dilation", 1));
        if dilation != [1, 1] {
            return None;
        }
        let pad = self.padding([xs[2], xs[3]], window, stride, dilation);
        let count_pad = self.attrs["count_include_pad"].as_bool().unwrap_or(false);
        let attrs = PoolAttrs { window, stride, pad, count_pad };
        let y = if max { self.g.max_pool2d(x, attrs) } else { self.g.avg_pool2d(x, attrs) };
        Some(self.without_height(y, flat))
    }
    fn without_height(&mut self, y: ValueId, flat: bool) -> ValueId {
        if flat { self.g.index_axis(y, 2, 0) } else { y }
    }
    /// `logsumexp` over one axis, which stays with size 1.
    fn norm(&mut self, x: ValueId, axis: usize) -> ValueId {
        let norm = self.g.logsumexp(x, &[axis]);
        self.g.expand_dim(norm, axis)
    }
    fn softmax(&mut self, x: ValueId, axis: usize) -> ValueId {
        let norm = self.norm(x, axis);
        let log = self.g.sub(x, norm);
        self.g.exp(log)
    }
    fn mean(&mut self, x: ValueId, axes: &[usize]) -> ValueId {
        let shape = self.g.shape(x);
        let n: usize = axes.iter().map(|&a| shape[a]).product();
        let sum = self.g.sum(x, axes);
        let kept: Vec<usize> = (0..shape.rank()).map(|i| if axes.contains(&i) { 1 } else { shape[i] }).collect();
        let sum = self.g.reshape(sum, kept);
        self.g.mul_scalar(sum, 1.0 / n as f64)
    }
    fn mean_all(&mut self, x: ValueId) -> ValueId {
        let n = self.g.shape(x).count();
        let sum = self.g.sum_all(x);
        self.g.mul_scalar(sum, 1.0 / n as f64)
    }
    /// `(x - mean) / sqrt(variance + eps)` over `axes`.
    fn normalized(&mut self, x: ValueId, axes: &[usize]) -> ValueId {
        let mean = self.mean(x, axes);
        let centred = self.g.sub(x, mean);
        let square = self.g.square(centred);
        let variance = self.mean(square, axes);
        self.over_root(centred, variance)
    }
    fn over_root(&mut self, x: ValueId, variance: ValueId) -> ValueId {
        let shifted = self.g.add_scalar(variance, self.attrs["eps"].as_f64().expect("a number"));
        let scale = self.g.rsqrt(shifted);
        self.g.mul(x, scale)
    }
    /// `x * gamma + beta`, by channel (axis 1) or by the last axis.
    fn affine(&mut self, x: ValueId, by_channel: bool) -> ValueId {
        let rank = self.g.rank(x);
        let mut y = x;
        for name in ["gamma", "beta"] {
            let Some(&p) = self.x.get(name) else { continue };
            let n = self.g.shape(p)[0];
            let mut shape = vec![1; rank];
            shape[if by_channel { 1 } else { rank - 1 }] = n;
            let p = self.g.reshape(p, shape);
            y = if name == "gamma" { self.g.mul(y, p) } else { self.g.add(y, p) };
        }
        y
    }
    fn channels(&mut self, name: &str) -> ValueId {
        let p = self.get(name);
        let n = self.g.shape(p)[0];
        self.g.reshape(p, [1, n, 1, 1])
    }
    /// `x` where positive, `f(x)` elsewhere.
    fn where_negative(&mut self, x: ValueId, f: impl FnOnce(&mut Builder, ValueId) -> ValueId) -> ValueId {
        let zero = self.g.scalar(0.0);
        let positive = self.g.gt(x, zero);
        let other = f(&mut self.g, x);
        self.g.select(positive, x, other)
    }
    fn gate(&mut self, parts: ValueId, i: usize, n: usize) -> ValueId {
        self.g.slice(parts, 1, i * n, n)
    }

    fn build(&mut self, op: &str) -> Option<ValueId> {
        let scale = 1.050_700_987_355_480_5;
        let alpha = 1.673_263_242_354_377_2;
        let x = self.x.get("x").copied();
        let x = || x.expect("an input x");
        Some(match op {
            "conv1d" | "conv2d" => self.conv(),
            "conv_transpose1d" | "conv_transpose2d" => self.conv_transpose(),
            "max_pool1d" | "max_pool2d" => self.pool(true)?,
            "avg_pool1d" | "avg_pool2d" => self.pool(false)?,
            "relu" => self.g.relu(x()),
            "gelu" => self.g.gelu(x()),
            "softplus" => self.g.softplus(x()),
            "tanh" => self.g.tanh(x()),
            "sigmoid" => self.g.sigmoid(x()),
            "leaky_relu" => self.where_negative(x(), |g, x| g.mul_scalar(x, 0.01)),
            "elu" => self.where_negative(x(), |g, x| g.expm1(x)),
            "selu" => {
                let y = self.where_negative(x(), |g, x| {
                    let e = g.expm1(x);
                    g.mul_scalar(e, alpha)
                });
                self.g.mul_scalar(y, scale)
            }
            "silu" => {
                let s = self.g.sigmoid(x());
                self.g.mul(x(), s)
            }
            "mish" => {
                let s = self.g.softplus(x());
                let t = self.g.tanh(s);
                self.g.mul(x(), t)
            }
            "softsign" => {
                let a = self.g.abs(x());
                let a = self.g.add_scalar(a, 1.0);
                self.g.div(x(), a)
            }
            "gelu_tanh" => {
                let g = &mut self.g;
                let cube = g.pow_scalar(x(), 3.0);
                let cube = g.mul_scalar(cube, 0.044715);
                let inner = g.add(x(), cube);
                let inner = g.mul_scalar(inner, (2.0 / std::f64::consts::PI).sqrt());
                let t = g.tanh(inner);
                let t = g.add_scalar(t, 1.0);
                let half = g.mul_scalar(x(), 0.5);
                g.mul(half, t)
            }
            "softmax" => self.softmax(x(), self.count("axis")),
            "log_softmax" => {
                let norm = self.norm(x(), self.count("axis"));
                self.g.sub(x(), norm)
            }
            "logsumexp" => {
                let axis = self.count("axis");
                self.g.logsumexp(x(), &[axis])
            }
            "linear" => {
                let y = self.g.matmul(x(), false, self.x["w"], true);
                self.g.add(y, self.x["b"])
            }
            "matmul" => self.g.matmul(self.x["a"], false, self.x["b"], false),
            "embedding" => self.g.gather(self.x["table"], self.x["ids"]),
            "global_avg_pool2d" => {
                let y = self.mean(x(), &[2, 3]);
                let shape = self.g.shape(y).drop_last(2);
                self.g.reshape(y, shape)
            }
            "layer_norm" => {
                let last = self.g.rank(x()) - 1;
                let y = self.normalized(x(), &[last]);
                self.affine(y, false)
            }
            "rms_norm" => {
                let last = self.g.rank(x()) - 1;
                let square = self.g.square(x());
                let mean = self.mean(square, &[last]);
                let y = self.over_root(x(), mean);
                self.affine(y, false)
            }
            "batch_norm_train" => {
                let y = self.normalized(x(), &[0, 2, 3]);
                self.affine(y, true)
            }
            "batch_norm_eval" => {
                let (mean, variance) = (self.channels("mean"), self.channels("var"));
                let centred = self.g.sub(x(), mean);
                let y = self.over_root(centred, variance);
                self.affine(y, true)
            }
            "group_norm" => {
                let shape = self.g.shape(x());
                let groups = self.count("groups");
                let split = self.g.reshape(x(), [shape[0], groups, shape[1] / groups, shape[2], shape[3]]);
                let y = self.normalized(split, &[2, 3, 4]);
                let y = self.g.reshape(y, shape);
                self.affine(y, true)
            }
            "mse" => {
                let error = self.g.sub(x(), self.x["target"]);
                let square = self.g.square(error);
                self.mean_all(square)
            }
            "huber" => {
                let delta = self.number("delta");
                let g = &mut self.g;
                let error = g.sub(x(), self.x["target"]);
                let size = g.abs(error);
                let limit = g.scalar(delta);
                let near = g.le(size, limit);
                let square = g.square(error);
                let square = g.mul_scalar(square, 0.5);
                let line = g.add_scalar(size, -0.5 * delta);
                let line = g.mul_scalar(line, delta);
                let loss = g.select(near, square, line);
                self.mean_all(loss)
            }
            "softmax_cross_entropy" => {
                let log = self.g.log_softmax(self.x["logits"]);
                let picked = self.g.pick(log, self.x["labels"]);
                let mean = self.mean_all(picked);
                self.g.neg(mean)
            }
            "sigmoid_cross_entropy" => {
                let soft = self.g.softplus(self.x["logits"]);
                let labels = self.g.to_real(self.x["labels"]);
                let product = self.g.mul(self.x["logits"], labels);
                let loss = self.g.sub(soft, product);
                self.mean_all(loss)
            }
            "attention" => {
                let (q, k, v) = (self.x["q"], self.x["k"], self.x["v"]);
                let scores = self.g.matmul(q, false, k, true);
                let depth = *self.g.shape(q).last().expect("a last axis") as f64;
                let mut scores = self.g.mul_scalar(scores, 1.0 / depth.sqrt());
                let shape = self.g.shape(scores);
                if self.attrs["causal"].as_bool().expect("a flag") {
                    let ones = self.g.full(1.0, Shape::from(&shape[shape.rank() - 2..]));
                    let visible = self.g.tril(ones, false);
                    let hidden = self.g.scalar(f64::NEG_INFINITY);
                    scores = self.g.select(visible, scores, hidden);
                }
                let weights = self.softmax(scores, shape.rank() - 1);
                self.g.matmul(weights, false, v, false)
            }
            "lstm" => {
                let (mut h, mut c) = (self.x["h"], self.x["c"]);
                let n = self.g.shape(h)[1];
                let mut steps = Vec::new();
                for t in 0..self.g.shape(x())[0] {
                    let now = self.g.index_axis(x(), 0, t);
                    let a = self.g.matmul(now, false, self.x["wx"], true);
                    let b = self.g.matmul(h, false, self.x["wh"], true);
                    let sum = self.g.add_all(&[a, b, self.x["b"]]);
                    let [input, forget, cell, output] = [0, 1, 2, 3].map(|i| self.gate(sum, i, n));
                    let (input, forget) = (self.g.sigmoid(input), self.g.sigmoid(forget));
                    let (cell, output) = (self.g.tanh(cell), self.g.sigmoid(output));
                    let kept = self.g.mul(forget, c);
                    let new = self.g.mul(input, cell);
                    c = self.g.add(kept, new);
                    let t = self.g.tanh(c);
                    h = self.g.mul(output, t);
                    steps.push(self.g.expand_dim(h, 0));
                }
                self.g.concat(&steps, 0)
            }
            "gru" => {
                let mut h = self.x["h"];
                let n = self.g.shape(h)[1];
                let mut steps = Vec::new();
                for t in 0..self.g.shape(x())[0] {
                    let now = self.g.index_axis(x(), 0, t);
                    let a = self.g.matmul(now, false, self.x["wx"], true);
                    let a = self.g.add(a, self.x["bx"]);
                    let b = self.g.matmul(h, false, self.x["wh"], true);
                    let b = self.g.add(b, self.x["bh"]);
                    let gates = [0, 1].map(|i| {
                        let (own, past) = (self.gate(a, i, n), self.gate(b, i, n));
                        let sum = self.g.add(own, past);
                        self.g.sigmoid(sum)
                    });
                    let (own, past) = (self.gate(a, 2, n), self.gate(b, 2, n));
                    let past = self.g.mul(gates[0], past);
                    let new = self.g.add(own, past);
                    let new = self.g.tanh(new);
                    let rest = self.g.scalar_sub(1.0, gates[1]);
                    let new = self.g.mul(rest, new);
                    let old = self.g.mul(gates[1], h);
                    h = self.g.add(new, old);
                    steps.push(self.g.expand_dim(h, 0));
                }
                self.g.concat(&steps, 0)
            }
            "upsample_nearest2d" => {
                let [v, h] = self.pair("factor", 1);
                let s = self.g.shape(x());
                let split = self.g.reshape(x(), [s[0], s[1], s[2], 1, s[3], 1]);
                let wide = self.g.broadcast_to(split, [s[0], s[1], s[2], v, s[3], h]);
                self.g.reshape(wide, [s[0], s[1], s[2] * v, s[3] * h])
            }
            "cholesky" => self.g.cholesky(self.x["a"]),
            "logdet_spd" => {
                let l = self.g.cholesky(self.x["a"]);
                let d = self.g.diagonal(l);
                let log = self.g.log(d);
                let sum = self.g.sum_all(log);
                self.g.mul_scalar(sum, 2.0)
            }
            "triangular_solve_lower" => self.g.solve_triangular(self.x["L"], self.x["b"], true, false),
            "solve_spd" => {
                let l = self.g.cholesky(self.x["a"]);
                let y = self.g.solve_triangular(l, self.x["b"], true, false);
                self.g.solve_triangular(l, y, true, true)
            }
            other => unreachable!("no rule for `{other}` in the reference file"),
        })
    }
}

fn pads(list: &Value) -> [usize; 2] {
    counts(list).try_into().expect("before and after")
}

fn tensor(value: &Value) -> (Shape, Vec<f64>, DType) {
    let shape = Shape::from(counts(&value["shape"]));
    match value.get("int") {
        Some(data) => (shape, numbers(data), DType::Int),
        None => (shape, numbers(&value["data"]), DType::Real),
    }
}

fn check<F: Scalar>(graph: &Graph, inputs: &[Vec<f64>], expected: &[Vec<f64>], tol: f64, what: &str) {
    let mut executable = Executable::<F>::compile(graph);
    for (i, data) in inputs.iter().enumerate() {
        let data: Vec<F> = data.iter().map(|&x| F::from_f64(x)).collect();
        executable.set_data(InputId::new(i), &data);
    }
    executable.run(&[], Key::new(0));
    for (i, expected) in expected.iter().enumerate() {
        let name = &graph.outputs[i].0;
        let found = executable.output(i);
        assert_eq!(found.len(), expected.len(), "{what} {name}");
        // Single precision carries the rounding of the whole array's size.
        let size = if F::NAME == "f32" { expected.iter().fold(1.0f64, |m, x| m.max(x.abs())) } else { 1.0 };
        for (&found, &expected) in found.iter().zip(expected) {
            let error = (found.to_f64() - expected).abs();
            let allowed = tol * size + tol * expected.abs();
            assert!(error <= allowed, "{what} {name} in {}: {found} instead of {expected}", F::NAME);
        }
    }
}

#[test]
fn reference_network_operations_forward_and_backward() {
    let file = reference("nn_ops.json");
    let (mut checked, mut left) = (0, 0);
    for (i, case) in file["cases"].as_array().expect("a list of cases").iter().enumerate() {
        let op = case["op"].as_str().expect("a name");
        if ABSENT.contains(&op) {
            left += 1;
            continue;
        }
        let mut c = Case { g: Builder::new(), attrs: &case["attrs"], x: HashMap::new() };
        let mut inputs = Vec::new();
        for (name, value) in case["inputs"].as_object().expect("inputs by name") {
            let (shape, data, dtype) = tensor(value);
            let id = c.g.input(name.as_str(), shape, dtype, InputKind::Param);
            c.x.insert(name, id);
            inputs.push(data);
        }
        let Some(y) = c.build(op) else {
            left += 1;
            continue;
        };
        let (shape, output, _) = tensor(&case["output"]);
        assert_eq!(c.g.shape(y), shape, "{op} {i}");
        let (_, cotangent, _) = tensor(&case["grad_output"]);
        let weights = c.g.constant(cotangent, shape, DType::Real);
        let product = c.g.mul(y, weights);
        let objective = c.g.sum_all(product);
        let (mut wrt, mut expected) = (Vec::new(), vec![output]);
        c.g.output("output", y);
        for (name, value) in case["grads"].as_object().expect("gradients by name") {
            wrt.push((name.clone(), c.x[name.as_str()]));
            expected.push(tensor(value).1);
        }
        let values: Vec<ValueId> = wrt.iter().map(|w| w.1).collect();
        let grads = gradient(&mut c.g, objective, &values).expect("these all have gradients");
        for ((name, _), grad) in wrt.iter().zip(grads) {
            c.g.output(format!("gradient of {name}"), grad);
        }
        let graph = c.g.finish();
        let what = format!("{op} (case {i})");
        let is_solver = ["cholesky", "logdet_spd", "solve_spd", "triangular_solve_lower"].contains(&op);
        check::<f64>(&graph, &inputs, &expected, if is_solver { 1e-10 } else { 1e-12 }, &what);
        if !is_solver {
            check::<f32>(&graph, &inputs, &expected, 1e-5, &what);
        }
        checked += 1;
    }
    assert!(checked >= 120 && left <= 14, "{checked} cases checked, {left} left out");
}

#[test]
fn a_branch_not_taken_never_reaches_the_gradient() {
    let mut g = Builder::new();
    let x = g.input("x", Shape::from([4]), DType::Real, InputKind::Param);
    let zero = g.scalar(0.0);
    let positive = g.gt(x, zero);
    // Infinite or NaN, value and derivative, where x <= 0.
    let log = g.log(x);
    let root = g.sqrt(x);
    let ratio = g.div(log, root);
    let product = g.mul(ratio, x);
    let y = g.select(positive, product, zero);
    let sum = g.sum_all(y);
    let grad = gradient(&mut g, sum, &[x]).expect("all have gradients")[0];
    g.output("gradient", grad);
    let found = &super::eval_f64(&g.finish(), &[&[0.0, -1.0, 1.0, f64::NEG_INFINITY]], Key::new(0))[0];
    // d(sqrt x ln x) = (ln x / 2 + 1) / sqrt x
    assert_eq!(found[..2], [0.0, 0.0]);
    assert!((found[2] - 1.0).abs() < 1e-14);
    assert_eq!(found[3], 0.0);
}

#[test]
fn reductions_are_safe_at_their_edges() {
    let inf = f64::INFINITY;
    for (kind, x, expected) in [
        (Reduction::LogSumExp, [-inf, -inf, -inf], [0.0, 0.0, 0.0]),
        (Reduction::LogSumExp, [-inf, 0.0, -inf], [0.0, 1.0, 0.0]),
        (Reduction::Max, [2.0, 2.0, 1.0], [1.0, 0.0, 0.0]),
        (Reduction::Min, [2.0, 1.0, 1.0], [0.0, 1.0, 0.0]),
        (Reduction::Prod, [2.0, 0.0, 3.0], [0.0, 6.0, 0.0]),
        (Reduction::Prod, [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]),
    ] {
        let mut g = Builder::new();
        let input = g.input("x", Shape::from([3]), DType::Real, InputKind::Param);
        let y = g.reduce(kind, input, &[0]);
        let grad = gradient(&mut g, y, &[input]).expect("all have gradients")[0];
        g.output("gradient", grad);
        let found = &super::eval_f64(&g.finish(), &[&x], Key::new(0))[0];
        assert_eq!(found[..], expected, "{kind:?} of {x:?}");
    }
}
