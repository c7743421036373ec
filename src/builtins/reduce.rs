//! Reductions: `sum(x, over = K)` and its relatives.

use super::{ConcreteAttrs, FnDef, Rows, Typed, opt, req};
use crate::check::call::CallCx;
use crate::check::size::Size;
use crate::check::typed::{Attrs, Ty};
use crate::diag::Diagnostic;
use crate::ir::{Builder, ValueId};
use crate::ops::Reduction;
use crate::syntax::ast::Elem;

type Checked = Result<Typed, Box<Diagnostic>>;
const PARAMS: &[super::FnParam] = &[req("x"), opt("over"), opt("axis")];

/// Type rule of reductions: the axes disappear; they are the attributes.
fn reduction(cx: &mut CallCx<'_, '_>, elem: fn(Elem) -> Elem) -> Checked {
    let x = cx.array(0)?;
    let ty = cx.ty(x);
    let axes = cx.axes(&ty.shape, 1, 2)?;
    let shape: Vec<Size> =
        ty.shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, s)| s.clone()).collect();
    let ints = axes.iter().map(|&a| a as i64).collect();
    Ok(Typed { ty: Ty::new(elem(ty.elem), shape), args: vec![x], attrs: Attrs { sizes: Vec::new(), ints } })
}
fn numeric(cx: &mut CallCx<'_, '_>) -> Checked {
    reduction(cx, |e| if e == Elem::Real { Elem::Real } else { Elem::Int })
}
fn real(cx: &mut CallCx<'_, '_>) -> Checked {
    reduction(cx, |_| Elem::Real)
}
fn boolean(cx: &mut CallCx<'_, '_>) -> Checked {
    cx.require_bool(0)?;
    reduction(cx, |_| Elem::Bool)
}
/// Functions along exactly one axis that keep the shape or drop that axis.
fn one_axis(cx: &mut CallCx<'_, '_>, drop: bool, elem: fn(Elem) -> Elem) -> Checked {
    let x = cx.array(0)?;
    let ty = cx.ty(x);
    let axes = cx.axes(&ty.shape, 1, 2)?;
    let [axis] = axes[..] else {
        return Err(cx.error("this function runs over exactly one dimension").help("name it: `over = K`").into());
    };
    let mut shape = ty.shape.clone();
    if drop {
        shape.remove(axis);
    }
    let attrs = Attrs { sizes: Vec::new(), ints: vec![axis as i64] };
    Ok(Typed { ty: Ty::new(elem(ty.elem), shape), args: vec![x], attrs })
}
fn axes(attrs: &ConcreteAttrs) -> Vec<usize> {
    attrs.ints.iter().map(|&a| a as usize).collect()
}
fn count(g: &Builder, x: ValueId, axes: &[usize]) -> f64 {
    axes.iter().map(|&a| g.shape(x)[a]).product::<usize>() as f64
}
fn mean(g: &mut Builder, x: ValueId, axes: &[usize]) -> ValueId {
    let n = count(g, x, axes);
    let x = g.to_real(x);
    let sum = g.sum(x, axes);
    g.mul_scalar(sum, 1.0 / n)
}
fn variance(g: &mut Builder, x: ValueId, axes: &[usize]) -> ValueId {
    let x = g.to_real(x);
    let center = mean(g, x, axes);
    let mut kept = g.shape(x).to_vec();
    for &a in axes {
        kept[a] = 1;
    }
    let center = g.reshape(center, kept);
    let deviation = g.sub(x, center);
    let square = g.square(deviation);
    let sum = g.sum(square, axes);
    g.mul_scalar(sum, 1.0 / (count(g, x, axes) - 1.0))
}

macro_rules! rows {
    ($($const:ident $name:literal $check:expr, $lower:expr, $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub static $const: FnDef = FnDef {
                name: $name,
                signature: concat!($name, "(x, over = K | (H, W) | all, axis = -1)"),
                doc: $doc,
                params: PARAMS,
                check: $check,
                lower: $lower,
                rows: Rows::ReducesAxes,
            };
        )*
        /// The rows of this file.
        pub static ROWS: &[&FnDef] = &[$(&$const),*];
    };
}
rows! {
    SUM "sum" numeric, |g, a, at| g.sum(a[0], &axes(at)), "The sum.";
    MEAN "mean" real, |g, a, at| mean(g, a[0], &axes(at)), "The mean.";
    PROD "prod" numeric, |g, a, at| g.reduce(Reduction::Prod, a[0], &axes(at)), "The product.";
    MAX "max" numeric, |g, a, at| g.reduce(Reduction::Max, a[0], &axes(at)), "The largest element.";
    MIN "min" numeric, |g, a, at| g.reduce(Reduction::Min, a[0], &axes(at)), "The smallest element.";
    VARIANCE "variance" real, |g, a, at| variance(g, a[0], &axes(at)), "The variance, with divisor n - 1.";
    SD "sd" real, |g, a, at| { let v = variance(g, a[0], &axes(at)); g.sqrt(v) }, "The standard deviation, with divisor n - 1.";
    LOGSUMEXP "logsumexp" real, |g, a, at| { let x = g.to_real(a[0]); g.logsumexp(x, &axes(at)) }, "ln of the sum of e^x, without overflow.";
    ANY "any" boolean, |g, a, at| g.reduce(Reduction::Max, a[0], &axes(at)), "Whether one holds.";
    ALL "all" boolean, |g, a, at| g.reduce(Reduction::Min, a[0], &axes(at)), "Whether all hold.";
    ARGMAX "argmax" |cx| one_axis(cx, true, |_| Elem::Int), |g, a, at| g.argmax(a[0], axes(at)[0]), "The position of the largest element, the first at ties.";
    ARGMIN "argmin" |cx| one_axis(cx, true, |_| Elem::Int), |g, a, at| { let n = g.neg(a[0]); g.argmax(n, axes(at)[0]) }, "The position of the smallest element, the first at ties.";
    CUMSUM "cumsum" |cx| one_axis(cx, false, |e| e), |g, a, at| g.cumsum(a[0], axes(at)[0], false), "Running sums.";
    SORT "sort" |cx| one_axis(cx, false, |e| e), |g, a, at| along_last(g, a[0], axes(at)[0], Builder::sort), "The elements of one dimension in ascending order.";
    ARGSORT "argsort" |cx| one_axis(cx, false, |_| Elem::Int), |g, a, at| along_last(g, a[0], axes(at)[0], Builder::argsort), "The positions of the elements of one dimension in ascending order; ties keep their order.";
    SOFTMAX "softmax" |cx| one_axis(cx, false, |_| Elem::Real), |g, a, at| { let l = log_softmax(g, a[0], axes(at)[0]); g.exp(l) }, "e^x scaled to sum 1, along one dimension.";
    LOG_SOFTMAX "log_softmax" |cx| one_axis(cx, false, |_| Elem::Real), |g, a, at| log_softmax(g, a[0], axes(at)[0]), "The logarithm of softmax.";
}
/// `f` along `axis`, which stands last while it works.
fn along_last(g: &mut Builder, x: ValueId, axis: usize, f: fn(&mut Builder, ValueId) -> ValueId) -> ValueId {
    let last = g.rank(x) - 1;
    if axis == last {
        return f(g, x);
    }
    let to_end: Vec<usize> = (0..=last).filter(|&a| a != axis).chain([axis]).collect();
    let moved = g.transpose(x, &to_end);
    let y = f(g, moved);
    let back: Vec<usize> = (0..last).map(|a| if a < axis { a } else { a + 1 }).collect();
    let mut perm = vec![0; last + 1];
    for (from, &to) in back.iter().chain([&axis]).enumerate() {
        perm[to] = from;
    }
    g.transpose(y, &perm)
}
fn log_softmax(g: &mut Builder, x: ValueId, axis: usize) -> ValueId {
    let x = g.to_real(x);
    let norm = g.logsumexp(x, &[axis]);
    let norm = g.expand_dim(norm, axis);
    g.sub(x, norm)
}
