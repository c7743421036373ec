//! Shape rules with two users: the operations themselves (known sizes) and the type checker (symbolic sizes).
//!
//! Each takes shapes as slices of sizes and returns the result's shape or the facts of what does not fit; what cannot be
//! decided yet goes to [`Pending`].

use super::extent::{Decision, Extent, Pending, ShapeError};
use super::{ConvAttrs, PoolAttrs};

type Result<E> = std::result::Result<Vec<E>, ShapeError<E>>;

fn rank<E: Extent>(operand: &'static str, shape: &[E], needed: usize) -> std::result::Result<(), ShapeError<E>> {
    if shape.len() == needed { Ok(()) } else { Err(ShapeError::Rank { operand, shape: shape.to_vec(), needed }) }
}

fn at_least_rank<E: Extent>(
    operand: &'static str,
    shape: &[E],
    needed: usize,
) -> std::result::Result<(), ShapeError<E>> {
    if shape.len() >= needed { Ok(()) } else { Err(ShapeError::Rank { operand, shape: shape.to_vec(), needed }) }
}

/// The shape that both broadcast to: aligned from the right, a size of 1 stretches.
pub fn broadcast<E: Extent>(a: &[E], b: &[E], pending: &mut Pending<E>) -> Result<E> {
    let n = a.len().max(b.len());
    let mut result = Vec::with_capacity(n);
    for i in 0..n {
        let left = (i + a.len()).checked_sub(n).map(|i| &a[i]);
        let right = (i + b.len()).checked_sub(n).map(|i| &b[i]);
        result.push(match (left, right) {
            (Some(x), None) => x.clone(),
            (None, Some(y)) => y.clone(),
            (Some(x), Some(y)) if x.as_constant() == Some(1) => y.clone(),
            (Some(x), Some(y)) if y.as_constant() == Some(1) || pending.same(x, y) => x.clone(),
            _ => return Err(ShapeError::Broadcast { lhs: a.to_vec(), rhs: b.to_vec(), from_last: n - 1 - i }),
        });
    }
    Ok(result)
}

/// `op(a) @ op(b)`: inner sizes agree, leading dimensions broadcast; `t?` exchanges the last two dimensions.
pub fn matmul<E: Extent>(a: &[E], ta: bool, b: &[E], tb: bool, pending: &mut Pending<E>) -> Result<E> {
    at_least_rank("a", a, 2)?;
    at_least_rank("b", b, 2)?;
    let last_two = |s: &[E], t: bool| {
        let (row, column) = (s[s.len() - 2].clone(), s[s.len() - 1].clone());
        if t { (column, row) } else { (row, column) }
    };
    let ((m, inner_lhs), (inner_rhs, n)) = (last_two(a, ta), last_two(b, tb));
    if !pending.same(&inner_lhs, &inner_rhs) {
        return Err(ShapeError::MatMul { lhs: a.to_vec(), rhs: b.to_vec(), inner_lhs, inner_rhs });
    }
    let mut shape = broadcast(&a[..a.len() - 2], &b[..b.len() - 2], pending)?;
    shape.extend([m, n]);
    Ok(shape)
}

/// The last two dimensions agree.
pub fn square<E: Extent>(
    operand: &'static str,
    a: &[E],
    pending: &mut Pending<E>,
) -> std::result::Result<(), ShapeError<E>> {
    at_least_rank(operand, a, 2)?;
    if pending.same(&a[a.len() - 2], &a[a.len() - 1]) {
        Ok(())
    } else {
        Err(ShapeError::NotSquare { shape: a.to_vec() })
    }
}

/// `l [.., n, n]` solved against `b [.., n, m]`: shape `[.., n, m]`, leading dimensions broadcast.
pub fn solve<E: Extent>(l: &[E], b: &[E], pending: &mut Pending<E>) -> Result<E> {
    square("l", l, pending)?;
    matmul(l, false, b, false, pending)
}

/// Joined along `axis`: all other dimensions agree.
pub fn concat<E: Extent>(parts: &[&[E]], axis: usize, pending: &mut Pending<E>) -> Result<E> {
    let Some((first, rest)) = parts.split_first() else { return Err(ShapeError::Empty { operand: "parts" }) };
    if axis >= first.len() {
        return Err(ShapeError::Axis { axis, rank: first.len() });
    }
    let mut shape = first.to_vec();
    for part in rest {
        let fits =
            part.len() == first.len() && (0..first.len()).all(|i| i == axis || pending.same(&first[i], &part[i]));
        if !fits {
            return Err(ShapeError::Concat { axis, lhs: first.to_vec(), rhs: part.to_vec() });
        }
        shape[axis] = shape[axis].add(&part[axis]);
    }
    Ok(shape)
}

/// The number of positions of a window: `floor((n + before + after - (dilation (k - 1) + 1)) / stride) + 1`.
pub fn window_count<E: Extent>(
    axis: usize,
    n: &E,
    kernel: &E,
    stride: usize,
    pad: [usize; 2],
    dilation: usize,
    pending: &mut Pending<E>,
) -> std::result::Result<E, ShapeError<E>> {
    let one = E::constant(1);
    let window = kernel.sub(&one).mul(&E::constant(dilation)).add(&one);
    let input = n.add(&E::constant(pad[0] + pad[1]));
    if !pending.at_least(&input, &window) {
        return Err(ShapeError::WindowTooLarge { axis, window, input });
    }
    Ok(input.sub(&window).floor_div(stride).add(&one))
}

fn attributes<E: Extent>(attrs: &ConvAttrs) -> std::result::Result<(), ShapeError<E>> {
    let bad = |what, value| Err(ShapeError::BadAttribute { what, value });
    match *attrs {
        ConvAttrs { groups: 0, .. } => bad("groups", 0),
        ConvAttrs { stride: [0, _] | [_, 0], .. } => bad("stride", 0),
        ConvAttrs { dilation: [0, _] | [_, 0], .. } => bad("dilation", 0),
        _ => Ok(()),
    }
}

/// Channels per group; an error when the groups do not divide the channels.
fn per_group<E: Extent>(channels: &E, groups: usize) -> std::result::Result<E, ShapeError<E>> {
    let each = channels.floor_div(groups);
    match each.mul(&E::constant(groups)).same(channels) {
        Decision::No => Err(ShapeError::Groups { channels: channels.clone(), groups }),
        _ => Ok(each),
    }
}

/// `x [N, C, H, W]` with `w [O, C / groups, KH, KW]`: `[N, O, P, Q]`.
/// Source: Dumoulin & Visin 2016, arXiv:1603.07285, ch. 2.
pub fn conv2d<E: Extent>(x: &[E], w: &[E], attrs: &ConvAttrs, pending: &mut Pending<E>) -> Result<E> {
    rank("x", x, 4)?;
    rank("w", w, 4)?;
    attributes(attrs)?;
    per_group(&w[0], attrs.groups)?;
    if !pending.same(&x[1], &w[1].mul(&E::constant(attrs.groups))) {
        return Err(ShapeError::Channels { input: x[1].clone(), weights: w[1].clone(), groups: attrs.groups });
    }
    let mut shape = vec![x[0].clone(), w[0].clone()];
    for i in 0..2 {
        let (stride, pad, dilation) = (attrs.stride[i], attrs.pad[i], attrs.dilation[i]);
        shape.push(window_count(i, &x[2 + i], &w[2 + i], stride, pad, dilation, pending)?);
    }
    Ok(shape)
}

/// The adjoint of [`conv2d`] in `x`: `dy [N, O, P, Q]` with `w [O, C / groups, KH, KW]` gives `[N, C, H, W]` for the spatial
/// size `input`, which a convolution with these attributes must take to `[P, Q]`.
pub fn conv2d_input_grad<E: Extent>(
    dy: &[E],
    w: &[E],
    attrs: &ConvAttrs,
    input: &[E; 2],
    pending: &mut Pending<E>,
) -> Result<E> {
    rank("dy", dy, 4)?;
    rank("w", w, 4)?;
    attributes(attrs)?;
    let x = vec![dy[0].clone(), w[1].mul(&E::constant(attrs.groups)), input[0].clone(), input[1].clone()];
    let y = conv2d(&x, w, attrs, pending)?;
    for i in 1..4 {
        if !pending.same(&y[i], &dy[i]) {
            let what = if i == 1 { "channels of the weights and of the result" } else { "spatial sizes" };
            return Err(ShapeError::Mismatch { what, lhs: y[i].clone(), rhs: dy[i].clone() });
        }
    }
    Ok(x)
}

/// The adjoint of [`conv2d`] in `w`, whose spatial size is `kernel`.
pub fn conv2d_weight_grad<E: Extent>(
    x: &[E],
    dy: &[E],
    attrs: &ConvAttrs,
    kernel: &[E; 2],
    pending: &mut Pending<E>,
) -> Result<E> {
    rank("x", x, 4)?;
    rank("dy", dy, 4)?;
    attributes(attrs)?;
    let channels = per_group(&x[1], attrs.groups)?;
    let w = vec![dy[1].clone(), channels, kernel[0].clone(), kernel[1].clone()];
    let y = conv2d(x, &w, attrs, pending)?;
    for i in [0, 2, 3] {
        if !pending.same(&y[i], &dy[i]) {
            let what = if i == 0 { "batch sizes" } else { "spatial sizes" };
            return Err(ShapeError::Mismatch { what, lhs: y[i].clone(), rhs: dy[i].clone() });
        }
    }
    Ok(w)
}

/// The spatial size of a transposed convolution: `(n - 1) stride - crop before - crop after + dilation (k - 1) + 1 + extra`.
/// Its operands are those of [`conv2d_input_grad`] with `w [I, O / groups, KH, KW]` and `pad` as the crop.
pub fn conv_transpose_size<E: Extent>(
    n: &E,
    kernel: &E,
    stride: usize,
    crop: [usize; 2],
    dilation: usize,
    extra: usize,
) -> E {
    let one = E::constant(1);
    let window = kernel.sub(&one).mul(&E::constant(dilation)).add(&one);
    let full = n.sub(&one).mul(&E::constant(stride)).add(&window).add(&E::constant(extra));
    full.sub(&E::constant(crop[0] + crop[1]))
}

/// A pool over `x [N, C, H, W]`: `[N, C, P, Q]`; rows and columns that fill no window are dropped.
pub fn pool2d<E: Extent>(x: &[E], attrs: &PoolAttrs, pending: &mut Pending<E>) -> Result<E> {
    rank("x", x, 4)?;
    let mut shape = x[..2].to_vec();
    for i in 0..2 {
        let (window, stride, pad) = (attrs.window[i], attrs.stride[i], attrs.pad[i]);
        if window == 0 {
            return Err(ShapeError::BadAttribute { what: "window", value: 0 });
        }
        if stride == 0 {
            return Err(ShapeError::BadAttribute { what: "stride", value: 0 });
        }
        // A window of padding alone would have no largest cell.
        if let Some(&value) = pad.iter().find(|&&p| p >= window) {
            return Err(ShapeError::BadAttribute { what: "padding of a pool", value });
        }
        shape.push(window_count(i, &x[2 + i], &E::constant(window), stride, pad, 1, pending)?);
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known<T>(rule: impl FnOnce(&mut Pending<usize>) -> T) -> T {
        let mut pending = Pending::default();
        let result = rule(&mut pending);
        assert!(pending.0.is_empty());
        result
    }

    #[test]
    fn shapes_broadcast_from_the_right() {
        assert_eq!(known(|p| broadcast(&[3, 1, 5], &[4, 1], p)), Ok(vec![3, 4, 5]));
        assert_eq!(known(|p| broadcast(&[], &[2], p)), Ok(vec![2]));
        assert_eq!(
            known(|p| broadcast(&[2, 3], &[2, 4], p)),
            Err(ShapeError::Broadcast { lhs: vec![2, 3], rhs: vec![2, 4], from_last: 0 })
        );
    }

    #[test]
    fn matmul_names_the_inner_sizes() {
        assert_eq!(known(|p| matmul(&[2, 1, 4, 3], true, &[5, 6, 4], true, p)), Ok(vec![2, 5, 3, 6]));
        let error = known(|p| matmul(&[64, 784], false, &[512, 10], false, p)).unwrap_err();
        assert!(matches!(error, ShapeError::MatMul { inner_lhs: 784, inner_rhs: 512, .. }));
    }

    #[test]
    fn strided_convolutions_drop_what_fills_no_window() {
        let attrs = ConvAttrs { stride: [2, 1], pad: [[0, 1], [1, 1]], dilation: [1, 2], groups: 2 };
        let y = known(|p| conv2d(&[3, 4, 7, 5], &[6, 2, 3, 3], &attrs, p));
        assert_eq!(y, Ok(vec![3, 6, 3, 3]));
        let x = known(|p| conv2d_input_grad(&[3, 6, 3, 3], &[6, 2, 3, 3], &attrs, &[7, 5], p));
        assert_eq!(x, Ok(vec![3, 4, 7, 5]));
        let w = known(|p| conv2d_weight_grad(&[3, 4, 7, 5], &[3, 6, 3, 3], &attrs, &[3, 3], p));
        assert_eq!(w, Ok(vec![6, 2, 3, 3]));
        let error = known(|p| conv2d(&[1, 4, 1, 5], &[6, 2, 3, 3], &attrs, p)).unwrap_err();
        assert_eq!(error, ShapeError::WindowTooLarge { axis: 0, window: 3, input: 2 });
    }
}
