//! Every form against values of 60 digits (mpmath), where the form as written fails.

mod cases;

use super::*;
use crate::exec::{Executable, plan::Options};
use crate::index::Idx;
use crate::ir::{InputId, InputKind, Shape};
use crate::rng::Key;
use cases::CASES;

/// How close a stable form must come, relative to the value.
const CLOSE: f64 = 1e-12;
/// What counts as lost: not even half of the digits of a double are right.
const LOST: f64 = 1e-8;

/// An expression of a vector x as people write it.
struct Case {
    name: &'static str,
    build: fn(&mut Builder, ValueId) -> ValueId,
    at: &'static [f64],
    value: f64,
    slope: &'static [f64],
}

/// A number as the checker lowers an int literal.
fn int(g: &mut Builder, value: f64) -> ValueId {
    let v = g.constant(vec![value], Shape::scalar(), DType::Int);
    g.to_real(v)
}
/// The two elements of x.
fn parts(g: &mut Builder, x: ValueId) -> (ValueId, ValueId) {
    (g.index_axis(x, 0, 0), g.index_axis(x, 0, 1))
}

/// Value and gradient, with or without the pass.
fn compute(case: &Case, stable: bool) -> (f64, Vec<f64>) {
    let mut g = Builder::new();
    let mut x = g.input("x", Shape::from([case.at.len()]), DType::Real, InputKind::Param);
    let y = (case.build)(&mut g, x);
    let mut y = g.sum_all(y);
    if stable {
        settle(&mut g, [&mut x, &mut y]);
    }
    let slope = crate::autodiff::gradient(&mut g, y, &[x]).expect("smooth").remove(0);
    g.output("y", y);
    g.output("slope", slope);
    let graph = g.finish();
    let mut exe =
        if stable { Executable::<f64>::compile(&graph) } else { Executable::<f64>::plan(graph, Options::default()) };
    exe.run(&[(InputId::new(0), case.at)], Key::new(0));
    (exe.output(0)[0], exe.output(1).to_vec())
}

/// The largest relative error; infinite when something is not finite.
fn error((value, slope): &(f64, Vec<f64>), case: &Case) -> f64 {
    let of = |found: f64, wanted: f64| match found == wanted {
        true => 0.0,
        false if found.is_finite() => (found - wanted).abs() / wanted.abs(),
        false => f64::INFINITY,
    };
    slope.iter().zip(case.slope).map(|(&f, &w)| of(f, w)).fold(of(*value, case.value), f64::max)
}

#[test]
fn forms_that_fail_as_written_are_exact_after_the_pass() {
    let mut wrong = String::new();
    for case in CASES {
        assert_eq!(case.at.len(), case.slope.len());
        let (naive, stable) = (compute(case, false), compute(case, true));
        if error(&naive, case) < LOST {
            wrong += &format!("{}: nothing is lost without the pass: {naive:?}\n", case.name);
        }
        if error(&stable, case) > CLOSE {
            wrong += &format!("{}: {stable:?} is not {} {:?}\n", case.name, case.value, case.slope);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// `y = build(x, c)` after the pass, for x and c of shape [2, 3].
fn after(build: impl FnOnce(&mut Builder, ValueId, ValueId) -> ValueId) -> String {
    let mut g = Builder::new();
    let shape = Shape::from([2, 3]);
    let x = g.input("x", shape.clone(), DType::Real, InputKind::Param);
    let c = g.input("c", shape, DType::Real, InputKind::Param);
    let y = build(&mut g, x, c);
    g.output("y", y);
    crate::ir::print::print(&crate::ir::passes::dce::run(run(g.finish())), None)
}

#[test]
fn what_is_not_equal_everywhere_is_left_alone() {
    let unchanged = |build: fn(&mut Builder, ValueId, ValueId) -> ValueId| {
        let mut g = Builder::new();
        let shape = Shape::from([2, 3]);
        let x = g.input("x", shape.clone(), DType::Real, InputKind::Param);
        let c = g.input("c", shape, DType::Real, InputKind::Param);
        let y = build(&mut g, x, c);
        g.output("y", y);
        let before = crate::ir::print::print(&crate::ir::passes::dce::run(g.finish()), None);
        assert_eq!(after(build), before);
    };
    // Two negative numbers have a logarithm of their product.
    unchanged(|g, x, c| {
        let p = g.mul(x, c);
        g.log(p)
    });
    unchanged(|g, x, _| {
        let p = g.reduce(Reduction::Prod, x, &[1]);
        g.log(p)
    });
    // NaN below 0.
    unchanged(|g, x, _| {
        let r = g.sqrt(x);
        g.square(r)
    });
    unchanged(|g, x, _| {
        let r = g.log(x);
        g.exp(r)
    });
    // The sign of x.
    unchanged(|g, x, _| {
        let r = g.pow_scalar(x, 3.0);
        g.log(r)
    });
    unchanged(|g, x, _| {
        let r = g.scalar_sub(2.0, x);
        g.log(r)
    });
    unchanged(|g, x, c| g.div(x, c));
    // A guard against a value that may be negative.
    unchanged(|g, x, c| {
        let zero = g.scalar(0.0);
        let positive = g.gt(x, zero);
        g.select(positive, x, c)
    });
}

#[test]
fn one_factor_that_is_positive_is_enough() {
    let text = after(|g, x, c| {
        let e = g.exp(x);
        let p = g.mul(e, c);
        g.log(p)
    });
    assert!(text.contains("log %1") && text.contains("add") && !text.contains("exp"), "{text}");
}

#[test]
fn values_keep_their_shapes_and_names() {
    let text = after(|g, x, _| {
        let e = g.exp(x);
        let s = g.sum(e, &[0]);
        let s = g.reshape(s, [1, 3]);
        let wide = g.broadcast_to(s, [2, 3]);
        g.log(wide)
    });
    assert!(text.contains("logsumexp[axes=[0]]") && text.contains("output y") && text.contains("real[2, 3]"), "{text}");
}

/// The log density of `x` and its slope in `u`, where the probability is `map(u)`.
fn density(map: fn(&mut Builder, ValueId) -> ValueId, dist: crate::dist::DistId, x: f64, u: f64) -> (f64, f64) {
    let mut g = Builder::new();
    let mut param = g.input("u", Shape::scalar(), DType::Real, InputKind::Param);
    let p = map(&mut g, param);
    let x = g.constant(vec![x], Shape::scalar(), DType::Int);
    let mut params = vec![p];
    if dist == crate::dist::DistId::BINOMIAL_PROBS {
        let total = g.constant(vec![5.0], Shape::scalar(), DType::Int);
        params.insert(0, total);
    }
    let mut y = crate::dist::Dist::row(dist, params).log_prob(&mut g, x);
    settle(&mut g, [&mut param, &mut y]);
    let slope = crate::autodiff::gradient(&mut g, y, &[param]).expect("smooth").remove(0);
    g.output("y", y);
    g.output("slope", slope);
    let out = crate::exec::eval_f64(&g.finish(), &[&[u]], Key::new(0));
    (out[0][0], out[1][0])
}

#[test]
fn densities_of_probabilities_are_those_of_logits() {
    use crate::dist::DistId;
    let close = |found: (f64, f64), wanted: (f64, f64)| {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b.abs().max(1e-300);
        assert!(near(found.0, wanted.0) && near(found.1, wanted.1), "{found:?} is not {wanted:?}");
    };
    let sigmoid: fn(&mut Builder, ValueId) -> ValueId = |g, u| g.sigmoid(u);
    close(density(sigmoid, DistId::BERNOULLI_PROBS, 0.0, 800.0), (-800.0, -1.0));
    close(density(sigmoid, DistId::BERNOULLI_PROBS, 1.0, -800.0), (-800.0, 1.0));
    close(density(sigmoid, DistId::BINOMIAL_PROBS, 0.0, 800.0), (-4000.0, -5.0));
    // A probit model: ln Phi(-40) and the hazard there.
    let probit: fn(&mut Builder, ValueId) -> ValueId = |g, u| g.ndtr(u);
    close(density(probit, DistId::BERNOULLI_PROBS, 0.0, 40.0), (-804.608_442_013_753_8, -40.024_968_847_207_26));
    // A softmax of three.
    let softmax: fn(&mut Builder, ValueId) -> ValueId = |g, u| {
        let scale = g.constant(vec![0.0, 1.0, 0.5], Shape::from([3]), DType::Real);
        let logits = g.mul(u, scale);
        let l = g.log_softmax(logits);
        g.exp(l)
    };
    close(density(softmax, DistId::CATEGORICAL_PROBS, 0.0, 2000.0), (-2000.0, -1.0));
}
