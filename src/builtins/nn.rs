//! Network operations: convolutions, pools, dense products, normalization.

use super::{ConcreteAttrs, FnDef, Rows, Typed, opt, req};
use crate::check::call::CallCx;
use crate::check::size::Size;
use crate::check::typed::{Attrs, ExprId, Ty};
use crate::diag::{Code, Diagnostic};
use crate::ir::{Builder, ValueId};
use crate::ops::{ConvAttrs, PoolAttrs};
use crate::syntax::ast::Elem;

type Checked = Result<Typed, Box<Diagnostic>>;

/// Padding as the program says it; what `same` means in cells depends on the size of the input.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Pad {
    Same,
    Cells([i64; 2]),
}

fn pad(cx: &mut CallCx<'_, '_>, at: usize, dims: usize) -> Result<Pad, Box<Diagnostic>> {
    match cx.word(at)?.as_deref() {
        Some("same") => Ok(Pad::Same),
        Some("valid") => Ok(Pad::Cells([0, 0])),
        Some(other) => {
            let message = format!("`pad` is `same`, `valid`, a number or a pair, not `{other}`");
            Err(cx.error_at(at, message).help("write for example `pad = same`").into())
        }
        None => Ok(Pad::Cells(cx.pair(at, dims, 0, 0)?)),
    }
}

/// The extent of a convolution's result: `floor((n + 2 pad - reach) / stride) + 1`, or `ceil(n / stride)` for `same`.
fn out_size(
    cx: &CallCx<'_, '_>,
    n: &Size,
    k: &Size,
    pad: Pad,
    axis: usize,
    stride: i64,
    dilation: i64,
) -> Result<Size, Box<Diagnostic>> {
    let large = || Box::new(cx.error("this size is too large"));
    let result = match pad {
        Pad::Same => n.add(&(stride - 1).into()).and_then(|s| s.floor_div(&stride.into())),
        Pad::Cells(cells) => {
            let reach = k.sub(&1.into()).and_then(|r| r.mul(&dilation.into())).ok_or_else(large)?;
            let room = n.add(&(2 * cells[axis] - 1).into()).and_then(|r| r.sub(&reach)).ok_or_else(large)?;
            if let Some(room) = room.as_number().filter(|&r| r < 0) {
                let (have, need) = (cx.size_text(n), room);
                let pool = cx.name().contains("pool");
                let what = if pool { "window" } else { "kernel" };
                let message = format!("a {what} of size {} does not fit into {have}", cx.size_text(k));
                let help = if pool {
                    "use a smaller window, or pool less before"
                } else {
                    "use a smaller kernel or more padding, for example `pad = same`"
                };
                return Err(Box::new(
                    cx.error_with(Code::E0304, message)
                        .label(cx.span(), format!("the padded input is {} too small", -need))
                        .help(help),
                ));
            }
            room.floor_div(&stride.into()).and_then(|r| r.add(&1.into()))
        }
    };
    result.ok_or_else(large)
}

fn ints(stride: [i64; 2], pad: Pad, dilation: [i64; 2], groups: i64) -> Vec<i64> {
    let (mode, cells) = match pad {
        Pad::Same => (1, [0, 0]),
        Pad::Cells(cells) => (0, cells),
    };
    vec![stride[0], stride[1], mode, cells[0], cells[1], dilation[0], dilation[1], groups]
}

fn channels_error(cx: &CallCx<'_, '_>, x: ExprId, w: ExprId, message: String, help: &str) -> Box<Diagnostic> {
    let error = cx.error_with(Code::E0305, message).label(cx.span(), "these do not fit");
    let error = cx.blame(error, x);
    Box::new(cx.blame(error, w).help(help))
}

/// Type rule of `conv1d` and `conv2d` (`dims` spatial dimensions).
fn conv(cx: &mut CallCx<'_, '_>, dims: usize) -> Checked {
    let (x, w) = (cx.array(0)?, cx.array(1)?);
    let b = cx.opt_array(2)?;
    let stride = cx.pair(3, dims, 1, 1)?;
    let pad = pad(cx, 4, dims)?;
    let dilation = cx.pair(5, dims, 1, 1)?;
    let groups = cx.pair(6, 1, 1, 1)?[0];
    let (xs, ws) = (cx.ty(x).shape, cx.ty(w).shape);
    let layout =
        if dims == 2 { ("[N, C, H, W]", "[O, C / groups, KH, KW]") } else { ("[N, C, L]", "[O, C / groups, K]") };
    if xs.len() != dims + 2 {
        return Err(cx.rank_error(0, layout.0));
    }
    if ws.len() != dims + 2 {
        return Err(cx.rank_error(1, layout.1));
    }
    let per_group = ws[1].mul(&groups.into()).ok_or_else(|| Box::new(cx.error("this size is too large")))?;
    if !cx.agree(&xs[1], &per_group) {
        let message =
            format!("the input has {} channels, the kernel takes {}", cx.size_text(&xs[1]), cx.size_text(&per_group));
        return Err(channels_error(
            cx,
            x,
            w,
            message,
            "make the second size of the kernel the channels of the input divided by `groups`",
        ));
    }
    if ws[0].as_number().is_some_and(|o| o % groups != 0) {
        let message = format!("{} filters cannot be split into {groups} groups", cx.size_text(&ws[0]));
        return Err(channels_error(cx, x, w, message, "make the number of filters a multiple of `groups`"));
    }
    check_bias(cx, b, &ws[0])?;
    let mut shape = vec![xs[0].clone(), ws[0].clone()];
    for axis in 0..dims {
        shape.push(out_size(cx, &xs[2 + axis], &ws[2 + axis], pad, axis, stride[axis], dilation[axis])?);
    }
    let args = [x, w].into_iter().chain(b).collect();
    let fan_out: Vec<Size> = [ws[0].clone()].into_iter().chain(ws[2..].iter().cloned()).collect();
    cx.mark_weight(w, &ws[1..], &fan_out);
    let attrs = Attrs { sizes: Vec::new(), ints: ints(stride, pad, dilation, groups) };
    Ok(Typed { ty: Ty::new(Elem::Real, shape), args, attrs })
}
fn check_bias(cx: &CallCx<'_, '_>, b: Option<ExprId>, out: &Size) -> Result<(), Box<Diagnostic>> {
    let Some(b) = b else { return Ok(()) };
    let shape = cx.ty(b).shape;
    if shape.len() == 1 && cx.agree(&shape[0], out) {
        return Ok(());
    }
    let need = cx.shape_text(std::slice::from_ref(out));
    let have = cx.shape_text(&shape);
    let error = cx
        .error_with(Code::E0305, format!("the bias has shape {have}, {need} is needed"))
        .label(cx.span(), "one bias for every output".to_string());
    Err(Box::new(cx.blame(error, b).help(format!("declare the bias as `real{need}`"))))
}

/// Convolution attributes in cells, for an input of extents `n` and a kernel of extents `k`.
fn conv_attrs(ints: &[i64], n: [usize; 2], k: [usize; 2]) -> ConvAttrs {
    let get = |i: usize| ints[i] as usize;
    let stride = [get(0), get(1)];
    let dilation = [get(5), get(6)];
    let pad = [0, 1].map(|axis| {
        if ints[2] == 0 {
            return [get(3 + axis); 2];
        }
        // TensorFlow's `same`: the odd cell at the end.
        let out = n[axis].div_ceil(stride[axis]);
        let total = ((out - 1) * stride[axis] + dilation[axis] * (k[axis] - 1) + 1).saturating_sub(n[axis]);
        [total / 2, total - total / 2]
    });
    ConvAttrs { stride, pad, dilation, groups: get(7) }
}
/// A 1-D convolution is a 2-D one of height 1: the attributes with the vertical ones neutral.
fn flat_ints(ints: &[i64]) -> Vec<i64> {
    vec![1, ints[0], ints[2], 0, ints[3], 1, ints[5], ints[7]]
}
/// `y` plus a bias [O] along its second dimension, if there is one.
pub(crate) fn add_bias(g: &mut Builder, y: ValueId, b: Option<&ValueId>) -> ValueId {
    let Some(&b) = b else { return y };
    let b = g.to_real(b);
    let channels = g.shape(b)[0];
    let mut shape = vec![1; g.rank(y) - 1];
    shape[0] = channels;
    let b = g.reshape(b, shape);
    g.add(y, b)
}
/// The operation of the graph behind a convolution of the language.
#[derive(Clone, Copy)]
pub(crate) enum Convolution {
    /// [`Op::Conv2d`](crate::ops::Op::Conv2d).
    Plain(ConvAttrs),
    /// [`Op::Conv2dInputGrad`](crate::ops::Op::Conv2dInputGrad): a transposed one.
    Transposed {
        /// Those of the convolution that it is the adjoint of.
        attrs: ConvAttrs,
        /// The spatial size of the result.
        input: [usize; 2],
    },
}

/// The convolution `name` of the language without its bias, of x and weights of one shape: in two dimensions
/// `make(x, weights, operation)`.
pub(crate) fn lower_convolution(
    g: &mut Builder,
    name: &str,
    x: ValueId,
    weights: &[ValueId],
    at: &ConcreteAttrs,
    make: impl FnOnce(&mut Builder, ValueId, &[ValueId], Convolution) -> ValueId,
) -> ValueId {
    let flat = name.ends_with("1d");
    let mut widen = |v| {
        let v = g.to_real(v);
        if flat { g.expand_dim(v, 2) } else { v }
    };
    let x = widen(x);
    let weights: Vec<ValueId> = weights.iter().map(|&w| widen(w)).collect();
    let (xs, ws) = (g.shape(x), g.shape(weights[0]));
    let mut ints = if flat { flat_ints(&at.ints) } else { at.ints.clone() };
    let y = if name.starts_with("conv_transpose") {
        if flat {
            ints.extend([0, at.ints[8]]);
        }
        let attrs = conv_attrs(&ints, [0, 0], [ws[2], ws[3]]);
        g.conv_transpose2d_with(x, weights[0], attrs, [ints[8] as usize, ints[9] as usize], |g, attrs, input| {
            make(g, x, &weights, Convolution::Transposed { attrs, input })
        })
    } else {
        let mut attrs = conv_attrs(&ints, [xs[2], xs[3]], [ws[2], ws[3]]);
        if flat {
            attrs.pad[0] = [0, 0];
        }
        make(g, x, &weights, Convolution::Plain(attrs))
    };
    if !flat {
        return y;
    }
    let mut shape = g.shape(y).to_vec();
    shape.remove(2);
    g.reshape(y, shape)
}
/// The convolution `name` of data, weights and perhaps a bias.
fn lower_conv(g: &mut Builder, name: &str, a: &[ValueId], at: &ConcreteAttrs) -> ValueId {
    let y = lower_convolution(g, name, a[0], &[a[1]], at, |g, x, w, convolution| match convolution {
        Convolution::Plain(attrs) => g.conv2d(x, w[0], attrs),
        Convolution::Transposed { attrs, input } => g.conv2d_input_grad(x, w[0], attrs, input),
    });
    add_bias(g, y, a.get(2))
}
fn lower_conv2d(g: &mut Builder, a: &[ValueId], at: &ConcreteAttrs) -> ValueId {
    lower_conv(g, "conv2d", a, at)
}
fn lower_conv1d(g: &mut Builder, a: &[ValueId], at: &ConcreteAttrs) -> ValueId {
    lower_conv(g, "conv1d", a, at)
}

/// Type rule of transposed convolutions with `dims` spatial dimensions: `x [N, I, H, W]`, `w [I, O / groups, KH, KW]`.
fn conv_transpose(cx: &mut CallCx<'_, '_>, dims: usize) -> Checked {
    let (x, w) = (cx.array(0)?, cx.array(1)?);
    let b = cx.opt_array(2)?;
    let stride = cx.pair(3, dims, 1, 1)?;
    let pad = cx.pair(4, dims, 0, 0)?;
    let dilation = cx.pair(5, dims, 1, 1)?;
    let groups = cx.pair(6, 1, 1, 1)?[0];
    let output_pad = cx.pair(7, dims, 0, 0)?;
    let (xs, ws) = (cx.ty(x).shape, cx.ty(w).shape);
    if xs.len() != dims + 2 {
        return Err(cx.rank_error(0, if dims == 2 { "[N, C, H, W]" } else { "[N, C, L]" }));
    }
    if ws.len() != dims + 2 {
        return Err(cx.rank_error(1, if dims == 2 { "[C, O / groups, KH, KW]" } else { "[C, O / groups, K]" }));
    }
    if !cx.agree(&xs[1], &ws[0]) {
        let message =
            format!("the input has {} channels, the kernel takes {}", cx.size_text(&xs[1]), cx.size_text(&ws[0]));
        return Err(channels_error(cx, x, w, message, "make the first size of the kernel the channels of the input"));
    }
    let large = || Box::new(Diagnostic::new(Code::E0301, "this size is too large"));
    let out = ws[1].mul(&groups.into()).ok_or_else(large)?;
    check_bias(cx, b, &out)?;
    let mut shape = vec![xs[0].clone(), out];
    for axis in 0..dims {
        // (n - 1) stride - 2 pad + dilation (k - 1) + output_pad + 1
        let spread = xs[2 + axis].sub(&1.into()).and_then(|n| n.mul(&stride[axis].into())).ok_or_else(large)?;
        let reach = ws[2 + axis].sub(&1.into()).and_then(|k| k.mul(&dilation[axis].into())).ok_or_else(large)?;
        let constant = output_pad[axis] + 1 - 2 * pad[axis];
        let n = spread.add(&reach).and_then(|s| s.add(&constant.into())).ok_or_else(large)?;
        if n.as_number().is_some_and(|n| n < 1) {
            let message = format!("the result would have size {}", cx.size_text(&n));
            return Err(Box::new(
                cx.error_with(Code::E0304, message).label(cx.span(), "nothing is left").help("use less padding"),
            ));
        }
        shape.push(n);
    }
    // A stride spreads the products of a kernel over that many outputs.
    let cells = ws[2..].iter().try_fold(Size::from(1), |acc, s| acc.mul(s)).ok_or_else(large)?;
    let spread: i64 = stride[..dims].iter().product();
    let spread = if cells.as_number().is_some_and(|n| n < spread) { 1 } else { spread };
    let cells = cells.floor_div(&spread.into()).ok_or_else(large)?;
    let inputs = ws[0].floor_div(&groups.into()).ok_or_else(large)?;
    cx.mark_weight(w, &[inputs, cells], &ws[1..]);
    let mut ints = ints(stride, Pad::Cells(pad), dilation, groups);
    ints.extend(output_pad);
    let args = [x, w].into_iter().chain(b).collect();
    Ok(Typed { ty: Ty::new(Elem::Real, shape), args, attrs: Attrs { sizes: Vec::new(), ints } })
}
fn lower_conv_transpose2d(g: &mut Builder, a: &[ValueId], at: &ConcreteAttrs) -> ValueId {
    lower_conv(g, "conv_transpose2d", a, at)
}
fn lower_conv_transpose1d(g: &mut Builder, a: &[ValueId], at: &ConcreteAttrs) -> ValueId {
    lower_conv(g, "conv_transpose1d", a, at)
}

/// `dropout(x, rate)`: the mask is the third operand of the lowering, uniform numbers of the shape of x.
fn dropout(cx: &mut CallCx<'_, '_>) -> Checked {
    let (x, rate) = (cx.array(0)?, cx.scalar(1)?);
    if cx.in_loop() {
        let error = cx.error("`dropout` cannot stand in a loop: all its iterations would share one mask");
        return Err(error.help("apply it to whole arrays, before the loop or after it").into());
    }
    if let Some(rate) = cx.number(rate).filter(|r| !(0.0..1.0).contains(r)) {
        let error = cx.error_at(1, format!("`rate` is the share that is dropped, found {rate}"));
        return Err(error.help("write a number from 0 to below 1").into());
    }
    Ok(Typed { ty: Ty::new(Elem::Real, cx.ty(x).shape), args: vec![x, rate], attrs: Attrs::default() })
}
fn lower_dropout(g: &mut Builder, a: &[ValueId]) -> ValueId {
    let (x, rate, uniform) = (g.to_real(a[0]), g.to_real(a[1]), a[2]);
    let one = g.scalar(1.0);
    let share = g.sub(one, rate);
    let kept = g.lt(uniform, share);
    let scaled = g.div(x, share);
    let zero = g.scalar(0.0);
    g.select(kept, scaled, zero)
}

/// Type rule of pools with `dims` spatial dimensions.
fn pool(cx: &mut CallCx<'_, '_>, dims: usize) -> Checked {
    let x = cx.array(0)?;
    let xs = cx.ty(x).shape;
    if xs.len() != dims + 2 {
        return Err(cx.rank_error(0, if dims == 2 { "[N, C, H, W]" } else { "[N, C, L]" }));
    }
    let window = cx.pair(1, dims, 0, 1)?;
    let stride = if cx.given(2) { cx.pair(2, dims, 1, 1)? } else { window };
    let cells = cx.pair(3, dims, 0, 0)?;
    for axis in 0..dims {
        if 2 * cells[axis] > window[axis] {
            let message = format!("the padding {} is more than half of the window {}", cells[axis], window[axis]);
            return Err(Box::new(
                cx.error_with(Code::E0304, message).label(cx.span(), "some windows would be empty").help("pad less"),
            ));
        }
    }
    let mut shape = xs[..2].to_vec();
    for axis in 0..dims {
        shape.push(out_size(cx, &xs[2 + axis], &window[axis].into(), Pad::Cells(cells), axis, stride[axis], 1)?);
    }
    let ints = vec![window[0], window[1], stride[0], stride[1], cells[0], cells[1]];
    Ok(Typed { ty: Ty::new(Elem::Real, shape), args: vec![x], attrs: Attrs { sizes: Vec::new(), ints } })
}
fn pool_attrs(ints: &[i64], flat: bool) -> PoolAttrs {
    let get = |i: usize| ints[i] as usize;
    if flat {
        return PoolAttrs { window: [1, get(0)], stride: [1, get(2)], pad: [[0, 0], [get(4); 2]], count_pad: false };
    }
    PoolAttrs { window: [get(0), get(1)], stride: [get(2), get(3)], pad: [[get(4); 2], [get(5); 2]], count_pad: false }
}
fn lower_pool(g: &mut Builder, x: ValueId, at: &ConcreteAttrs, flat: bool, max: bool) -> ValueId {
    let attrs = pool_attrs(&at.ints, flat);
    let x = g.to_real(x);
    let x = if flat { g.expand_dim(x, 2) } else { x };
    let y = if max { g.max_pool2d(x, attrs) } else { g.avg_pool2d(x, attrs) };
    if !flat {
        return y;
    }
    let mut shape = g.shape(y).to_vec();
    shape.remove(2);
    g.reshape(y, shape)
}
fn global_avg_pool(cx: &mut CallCx<'_, '_>) -> Checked {
    let x = cx.array(0)?;
    let xs = cx.ty(x).shape;
    if xs.len() < 3 {
        return Err(cx.rank_error(0, "[N, C, H, W] or [N, C, L]"));
    }
    Ok(Typed { ty: Ty::new(Elem::Real, xs[..2].to_vec()), args: vec![x], attrs: Attrs::default() })
}
fn lower_global_avg_pool(g: &mut Builder, x: ValueId) -> ValueId {
    let x = g.to_real(x);
    let shape = g.shape(x);
    let axes: Vec<usize> = (2..shape.rank()).collect();
    let n: usize = shape[2..].iter().product();
    let sum = g.sum(x, &axes);
    g.mul_scalar(sum, 1.0 / n as f64)
}

/// `dense(x [..., I], w [I, O], b [O])`
fn dense(cx: &mut CallCx<'_, '_>) -> Checked {
    let (x, w) = (cx.array(0)?, cx.array(1)?);
    let b = cx.opt_array(2)?;
    let (xs, ws) = (cx.ty(x).shape, cx.ty(w).shape);
    if xs.is_empty() {
        return Err(cx.rank_error(0, "[..., I]"));
    }
    if ws.len() != 2 {
        return Err(cx.rank_error(1, "[I, O]"));
    }
    let last = &xs[xs.len() - 1];
    if !cx.agree(last, &ws[0]) {
        let (have, need) = (cx.size_text(last), cx.size_text(&ws[0]));
        let message = format!("the input has {have} features, the weight takes {need}");
        return Err(channels_error(cx, x, w, message, "make the first size of the weight the last size of the input"));
    }
    check_bias(cx, b, &ws[1])?;
    let mut shape = xs;
    let end = shape.len() - 1;
    shape[end] = ws[1].clone();
    cx.mark_weight(w, &ws[..1], &ws[1..]);
    let args = [x, w].into_iter().chain(b).collect();
    Ok(Typed { ty: Ty::new(Elem::Real, shape), args, attrs: Attrs::default() })
}
fn lower_dense(g: &mut Builder, a: &[ValueId], _: &ConcreteAttrs) -> ValueId {
    let (x, w) = (g.to_real(a[0]), g.to_real(a[1]));
    let shape = g.shape(x);
    let features = shape[shape.rank() - 1];
    let rows = shape.count() / features.max(1);
    let flat = g.reshape(x, vec![rows, features]);
    let mut y = g.matmul(flat, false, w, false);
    if let Some(&b) = a.get(2) {
        let b = g.to_real(b);
        y = g.add(y, b);
    }
    let out = g.shape(y)[1];
    g.reshape(y, shape.drop_last(1).concat(&[out]))
}

fn layer_norm(cx: &mut CallCx<'_, '_>) -> Checked {
    let x = cx.array(0)?;
    let ty = cx.ty(x);
    let Some(last) = ty.shape.last().cloned() else { return Err(cx.rank_error(0, "at least one dimension")) };
    let (scale, shift) = (cx.opt_array(1)?, cx.opt_array(2)?);
    check_bias(cx, scale, &last)?;
    check_bias(cx, shift, &last)?;
    let ints = vec![scale.is_some().into(), shift.is_some().into()];
    let args = std::iter::once(x).chain(scale).chain(shift).collect();
    Ok(Typed { ty: Ty::new(Elem::Real, ty.shape), args, attrs: Attrs { sizes: Vec::new(), ints } })
}
/// Added to the variance inside the root of `layer_norm` (Ba, Kiros & Hinton 2016, arXiv:1607.06450; the usual value).
const LAYER_NORM_EPS: f64 = 1e-5;
fn lower_layer_norm(g: &mut Builder, a: &[ValueId], at: &ConcreteAttrs) -> ValueId {
    let x = g.to_real(a[0]);
    let shape = g.shape(x);
    let axis = shape.rank() - 1;
    let n = shape[axis] as f64;
    let centre = |g: &mut Builder, v: ValueId| {
        let sum = g.sum(v, &[axis]);
        let mean = g.mul_scalar(sum, 1.0 / n);
        g.expand_dim(mean, axis)
    };
    let mean = centre(g, x);
    let deviation = g.sub(x, mean);
    let square = g.square(deviation);
    let variance = centre(g, square);
    let variance = g.add_scalar(variance, LAYER_NORM_EPS);
    let inverse = g.rsqrt(variance);
    let mut y = g.mul(deviation, inverse);
    let mut rest = a[1..].iter();
    if at.ints[0] != 0
        && let Some(&scale) = rest.next()
    {
        y = g.mul(y, scale);
    }
    if at.ints[1] != 0
        && let Some(&shift) = rest.next()
    {
        y = g.add(y, shift);
    }
    y
}
fn embedding(cx: &mut CallCx<'_, '_>) -> Checked {
    let (index, table) = (cx.array(0)?, cx.array(1)?);
    let (ty, rows) = (cx.ty(index), cx.ty(table));
    if ty.elem != Elem::Int {
        return Err(cx.elem_error(0, "ints"));
    }
    if rows.shape.is_empty() {
        return Err(cx.rank_error(1, "[K, D]"));
    }
    cx.mark_table(table);
    let mut shape = ty.shape;
    shape.extend_from_slice(&rows.shape[1..]);
    Ok(Typed { ty: Ty::new(rows.elem, shape), args: vec![index, table], attrs: Attrs::default() })
}

macro_rules! rows {
    ($($const:ident $name:literal $signature:literal [$($param:expr),*] $check:expr, $rows:ident, $lower:expr, $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub static $const: FnDef = FnDef {
                name: $name, signature: $signature, doc: $doc, params: &[$($param),*],
                check: $check, lower: $lower, rows: Rows::$rows,
            };
        )*
        /// The rows of this file.
        pub static ROWS: &[&FnDef] = &[$(&$const),*];
    };
}
rows! {
    CONV2D "conv2d" "conv2d(x, w, b, stride = 1, pad = valid, dilation = 1, groups = 1)"
        [req("x"), req("w"), opt("b"), opt("stride"), opt("pad"), opt("dilation"), opt("groups")]
        |cx| conv(cx, 2), Leading, lower_conv2d,
        "Cross-correlation of x [N, C, H, W] with the kernels w [O, C / groups, KH, KW].";
    CONV1D "conv1d" "conv1d(x, w, b, stride = 1, pad = valid, dilation = 1, groups = 1)"
        [req("x"), req("w"), opt("b"), opt("stride"), opt("pad"), opt("dilation"), opt("groups")]
        |cx| conv(cx, 1), Leading, lower_conv1d,
        "Cross-correlation of x [N, C, L] with the kernels w [O, C / groups, K].";
    CONV_TRANSPOSE2D "conv_transpose2d"
        "conv_transpose2d(x, w, b, stride = 1, pad = 0, dilation = 1, groups = 1, output_pad = 0)"
        [req("x"), req("w"), opt("b"), opt("stride"), opt("pad"), opt("dilation"), opt("groups"), opt("output_pad")]
        |cx| conv_transpose(cx, 2), Leading, lower_conv_transpose2d,
        "The transposed convolution of x [N, C, H, W] with w [C, O / groups, KH, KW].";
    CONV_TRANSPOSE1D "conv_transpose1d"
        "conv_transpose1d(x, w, b, stride = 1, pad = 0, dilation = 1, groups = 1, output_pad = 0)"
        [req("x"), req("w"), opt("b"), opt("stride"), opt("pad"), opt("dilation"), opt("groups"), opt("output_pad")]
        |cx| conv_transpose(cx, 1), Leading, lower_conv_transpose1d,
        "The transposed convolution of x [N, C, L] with w [C, O / groups, K].";
    DROPOUT "dropout" "dropout(x, rate)" [req("x"), req("rate")] dropout, Elementwise,
        |g, a, _| lower_dropout(g, a),
        "x / (1 - rate) with that share of elements set to 0 by a fresh random mask, in every step and for every draw.";
    MAX_POOL2D "max_pool2d" "max_pool2d(x, window, stride = window, pad = 0)"
        [req("x"), req("window"), opt("stride"), opt("pad")] |cx| pool(cx, 2), Leading,
        |g, a, at| lower_pool(g, a[0], at, false, true), "The largest cell of each window.";
    AVG_POOL2D "avg_pool2d" "avg_pool2d(x, window, stride = window, pad = 0)"
        [req("x"), req("window"), opt("stride"), opt("pad")] |cx| pool(cx, 2), Leading,
        |g, a, at| lower_pool(g, a[0], at, false, false), "The mean of each window; padded cells do not count.";
    MAX_POOL1D "max_pool1d" "max_pool1d(x, window, stride = window, pad = 0)"
        [req("x"), req("window"), opt("stride"), opt("pad")] |cx| pool(cx, 1), Leading,
        |g, a, at| lower_pool(g, a[0], at, true, true), "The largest cell of each window.";
    AVG_POOL1D "avg_pool1d" "avg_pool1d(x, window, stride = window, pad = 0)"
        [req("x"), req("window"), opt("stride"), opt("pad")] |cx| pool(cx, 1), Leading,
        |g, a, at| lower_pool(g, a[0], at, true, false), "The mean of each window; padded cells do not count.";
    GLOBAL_AVG_POOL "global_avg_pool" "global_avg_pool(x)" [req("x")] global_avg_pool, Leading,
        |g, a, _| lower_global_avg_pool(g, a[0]), "The mean over space: [N, C] from [N, C, H, W].";
    DENSE "dense" "dense(x, w, b)" [req("x"), req("w"), opt("b")] dense, Leading, lower_dense,
        "x @ w + b over the last dimension: x [..., I], w [I, O], b [O].";
    LAYER_NORM "layer_norm" "layer_norm(x, scale, shift)" [req("x"), opt("scale"), opt("shift")] layer_norm, Leading,
        lower_layer_norm, "Mean 0 and variance 1 over the last dimension, then scaled and shifted.";
    EMBEDDING "embedding" "embedding(index, table)" [req("index"), req("table")] embedding, Leading,
        |g, a, _| g.gather(a[1], a[0]), "Rows of a table [K, D] by int indices.";
}
