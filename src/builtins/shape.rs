//! Functions that make, reshape, join and rearrange arrays.

use super::{FnDef, Rows, Typed, opt, req};
use crate::check::call::CallCx;
use crate::check::size::Size;
use crate::check::typed::{Attrs, Ty};
use crate::diag::{Code, Diagnostic};
use crate::ir::{Builder, ValueId};
use crate::syntax::ast::Elem;

type Checked = Result<Typed, Box<Diagnostic>>;

fn product(cx: &CallCx<'_, '_>, sizes: &[Size]) -> Result<Size, Box<Diagnostic>> {
    sizes.iter().try_fold(Size::from(1), |acc, s| acc.mul(s)).ok_or_else(|| cx.error("this size is too large").into())
}
fn filled(cx: &mut CallCx<'_, '_>, elem: Elem) -> Checked {
    let sizes = cx.shape(0)?;
    Ok(Typed { ty: Ty::new(elem, sizes.clone()), args: Vec::new(), attrs: Attrs { sizes, ints: Vec::new() } })
}
fn fill(cx: &mut CallCx<'_, '_>) -> Checked {
    let sizes = cx.shape(0)?;
    let value = cx.scalar(1)?;
    let elem = cx.ty(value).elem;
    Ok(Typed { ty: Ty::new(elem, sizes.clone()), args: vec![value], attrs: Attrs { sizes, ints: Vec::new() } })
}
fn range(cx: &mut CallCx<'_, '_>) -> Checked {
    let n = cx.size(0)?;
    Ok(Typed {
        ty: Ty::new(Elem::Int, vec![n.clone()]),
        args: Vec::new(),
        attrs: Attrs { sizes: vec![n], ints: Vec::new() },
    })
}
fn eye(cx: &mut CallCx<'_, '_>) -> Checked {
    let n = cx.size(0)?;
    Ok(Typed {
        ty: Ty::new(Elem::Real, vec![n.clone(), n.clone()]),
        args: Vec::new(),
        attrs: Attrs { sizes: vec![n], ints: Vec::new() },
    })
}
fn reshape(cx: &mut CallCx<'_, '_>) -> Checked {
    let x = cx.array(0)?;
    let sizes = cx.shape(1)?;
    let ty = cx.ty(x);
    let (from, to) = (product(cx, &ty.shape)?, product(cx, &sizes)?);
    if !cx.agree(&from, &to) {
        let message = format!("cannot reshape {} to {}", cx.shape_text(&ty.shape), cx.shape_text(&sizes));
        let (have, want) = (cx.size_text(&from), cx.size_text(&to));
        let error = cx.error_with(Code::E0303, message).label(cx.span(), format!("{have} elements do not fill {want}"));
        let error = cx.blame(error, x).help("make the product of the sizes the same on both sides");
        return Err(Box::new(error));
    }
    Ok(Typed { ty: Ty::new(ty.elem, sizes.clone()), args: vec![x], attrs: Attrs { sizes, ints: Vec::new() } })
}
fn transpose(cx: &mut CallCx<'_, '_>) -> Checked {
    let x = cx.array(0)?;
    let ty = cx.ty(x);
    if ty.shape.len() < 2 {
        return Err(cx.rank_error(0, "at least two dimensions"));
    }
    let mut shape = ty.shape.clone();
    let rank = shape.len();
    shape.swap(rank - 1, rank - 2);
    Ok(Typed { ty: Ty::new(ty.elem, shape), args: vec![x], attrs: Attrs::default() })
}
fn permute(cx: &mut CallCx<'_, '_>) -> Checked {
    let x = cx.array(0)?;
    let ty = cx.ty(x);
    let order = cx.numbers(1)?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted != (0..ty.shape.len() as i64).collect::<Vec<_>>() {
        let rank = ty.shape.len();
        return Err(cx
            .error_at(1, format!("the order must name each of the {rank} dimensions once"))
            .help("count from 0: `permute(x, (1, 0, 2))`")
            .into());
    }
    let shape = order.iter().map(|&i| ty.shape[i as usize].clone()).collect();
    Ok(Typed { ty: Ty::new(ty.elem, shape), args: vec![x], attrs: Attrs { sizes: Vec::new(), ints: order } })
}
fn segment_sum(cx: &mut CallCx<'_, '_>) -> Checked {
    let (x, index) = (cx.array(0)?, cx.array(1)?);
    let (ty, at) = (cx.ty(x), cx.ty(index));
    if at.elem != Elem::Int {
        return Err(cx.elem_error(1, "ints"));
    }
    if ty.shape.is_empty() || at.shape.len() != 1 || !cx.agree(&ty.shape[0], &at.shape[0]) {
        return Err(cx.shapes_error("cannot group", &[x, index], "give one group for each row of the first argument"));
    }
    let n = cx.size(2)?;
    let shape = std::iter::once(n.clone()).chain(ty.shape[1..].iter().cloned()).collect();
    let attrs = Attrs { sizes: vec![n], ints: Vec::new() };
    Ok(Typed { ty: Ty::new(Elem::Real, shape), args: vec![x, index], attrs })
}
fn common_elem(a: Elem, b: Elem) -> Elem {
    match (a, b) {
        (a, b) if a == b => a,
        (Elem::Real, _) | (_, Elem::Real) => Elem::Real,
        _ => Elem::Int,
    }
}
fn concat(cx: &mut CallCx<'_, '_>) -> Checked {
    let parts = cx.rest(0)?;
    let first = cx.ty(parts[0]);
    let mut length = Size::default();
    let mut elem = first.elem;
    for &part in &parts {
        let ty = cx.ty(part);
        if ty.shape.is_empty() {
            return Err(cx.rank_error(0, "at least one dimension: wrap a number as `[x]`"));
        }
        let rest_fits = ty.shape.len() == first.shape.len()
            && ty.shape[1..].iter().zip(&first.shape[1..]).all(|(a, b)| cx.agree(a, b));
        if !rest_fits {
            return Err(cx.shapes_error("cannot join", &[parts[0], part], "all dimensions but the first must agree"));
        }
        elem = common_elem(elem, ty.elem);
        length = length.add(&ty.shape[0]).ok_or_else(|| Box::new(cx.error("this size is too large")))?;
    }
    let mut shape = first.shape.clone();
    shape[0] = length;
    Ok(Typed { ty: Ty::new(elem, shape), args: parts, attrs: Attrs::default() })
}
/// Arrays of one shape joined along a new first dimension; also the rule of array literals.
pub fn stack_rule(cx: &mut CallCx<'_, '_>) -> Checked {
    let parts = cx.rest(0)?;
    let first = cx.ty(parts[0]);
    let mut elem = first.elem;
    for &part in &parts {
        let ty = cx.ty(part);
        if ty.shape.len() != first.shape.len() || !ty.shape.iter().zip(&first.shape).all(|(a, b)| cx.agree(a, b)) {
            return Err(cx.shapes_error("cannot stack", &[parts[0], part], "all parts must have the same shape"));
        }
        elem = common_elem(elem, ty.elem);
    }
    let mut shape = vec![Size::from(parts.len() as i64)];
    shape.extend(first.shape);
    Ok(Typed { ty: Ty::new(elem, shape), args: parts, attrs: Attrs::default() })
}
fn one_hot(cx: &mut CallCx<'_, '_>) -> Checked {
    let x = cx.array(0)?;
    let ty = cx.ty(x);
    if ty.elem != Elem::Int {
        return Err(cx.elem_error(0, "ints"));
    }
    let n = cx.size(1)?;
    let mut shape = ty.shape;
    shape.push(n.clone());
    Ok(Typed { ty: Ty::new(Elem::Real, shape), args: vec![x], attrs: Attrs { sizes: vec![n], ints: Vec::new() } })
}
fn flatten(cx: &mut CallCx<'_, '_>) -> Checked {
    let x = cx.array(0)?;
    let ty = cx.ty(x);
    if ty.shape.is_empty() {
        return Err(cx.rank_error(0, "at least one dimension"));
    }
    let shape = vec![ty.shape[0].clone(), product(cx, &ty.shape[1..])?];
    Ok(Typed { ty: Ty::new(ty.elem, shape.clone()), args: vec![x], attrs: Attrs { sizes: shape, ints: Vec::new() } })
}
fn sizes_of(cx: &mut CallCx<'_, '_>) -> Checked {
    let x = cx.array(0)?;
    let ty = cx.ty(x);
    Ok(Typed { ty, args: vec![x], attrs: Attrs::default() })
}

fn reals_if_mixed(g: &mut Builder, a: &[ValueId]) -> Vec<ValueId> {
    let real = a.iter().any(|&v| g.dtype(v) == crate::ir::DType::Real);
    if real { a.iter().map(|&v| g.to_real(v)).collect() } else { a.to_vec() }
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
    FILL "fill" "fill([N, K], value)" [req("shape"), req("value")] fill, Mixes,
        |g, a, at| g.broadcast_to(a[0], at.sizes.clone()), "An array filled with one number.";
    ZEROS "zeros" "zeros([N, K])" [req("shape")] |cx| filled(cx, Elem::Real), Mixes,
        |g, _, at| g.full(0.0, at.sizes.clone().into()), "An array of zeros.";
    ONES "ones" "ones([N, K])" [req("shape")] |cx| filled(cx, Elem::Real), Mixes,
        |g, _, at| g.full(1.0, at.sizes.clone().into()), "An array of ones.";
    RANGE "range" "range(N)" [req("n")] range, Mixes, |g, _, at| g.iota(at.sizes[0]), "The ints 0, 1, …, N - 1.";
    EYE "eye" "eye(N)" [req("n")] eye, Mixes,
        |g, _, at| { let ones = g.full(1.0, vec![at.sizes[0]].into()); g.diag(ones) }, "The identity matrix.";
    RESHAPE "reshape" "reshape(x, [F, 1, 3, 3])" [req("x"), req("shape")] reshape, Mixes,
        |g, a, at| g.reshape(a[0], at.sizes.clone()), "The same elements, row by row, in another shape.";
    TRANSPOSE "transpose" "transpose(A)" [req("x")] transpose, Mixes,
        |g, a, _| g.matrix_transpose(a[0]), "The last two dimensions exchanged.";
    PERMUTE "permute" "permute(x, (1, 0, 2))" [req("x"), req("order")] permute, Mixes,
        |g, a, at| { let order: Vec<usize> = at.ints.iter().map(|&i| i as usize).collect(); g.transpose(a[0], &order) },
        "The dimensions in another order: dimension `i` of the result is dimension `order[i]` of x.";
    CONCAT "concat" "concat(a, b, …)" [req("parts")] concat, Mixes,
        |g, a, _| { let a = reals_if_mixed(g, a); g.concat(&a, 0) }, "Joined along the first dimension.";
    STACK "stack" "stack(a, b, …)" [req("parts")] stack_rule, Mixes,
        |g, a, _| {
            let parts: Vec<ValueId> = reals_if_mixed(g, a).into_iter().map(|v| g.expand_dim(v, 0)).collect();
            g.concat(&parts, 0)
        }, "Joined along a new first dimension.";
    ONE_HOT "one_hot" "one_hot(x, K)" [req("x"), req("classes")] one_hot, Leading,
        |g, a, at| { let one = g.full(1.0, g.shape(a[0])); g.place(one, a[0], at.sizes[0]) },
        "1 at the position that x gives, 0 elsewhere.";
    SEGMENT_SUM "segment_sum" "segment_sum(x, group, G)" [req("x"), req("group"), req("groups")] segment_sum, Mixes,
        |g, a, at| { let x = g.to_real(a[0]); g.scatter_add(x, a[1], at.sizes[0]) },
        "The sum of the rows of x that belong to each of G groups.";
    FLATTEN "flatten" "flatten(x)" [req("x")] flatten, Leading,
        |g, a, at| g.reshape(a[0], at.sizes.clone()), "All dimensions but the first joined into one.";
    STOP_GRADIENT "stop_gradient" "stop_gradient(x)" [req("x")] sizes_of, Elementwise,
        |g, a, _| g.stop_gradient(a[0]), "x itself, held constant when derivatives are taken.";
    REVERSE_CUMSUM "reverse_cumsum" "reverse_cumsum(x)" [req("x"), opt("over"), opt("axis")]
        |cx| (super::reduce::CUMSUM.check)(cx), ReducesAxes,
        |g, a, at| g.cumsum(a[0], at.ints[0] as usize, true), "Running sums from the end.";
}
