//! Linear algebra.

use super::{FnDef, Rows, Typed, opt, req};
use crate::check::call::CallCx;
use crate::check::typed::{Attrs, Ty};
use crate::diag::{Code, Diagnostic};
use crate::ir::{Builder, ValueId};
use crate::syntax::ast::Elem;

type Checked = Result<Typed, Box<Diagnostic>>;

/// `A @ B`: matrices, matrix and vector, vector and matrix; leading dimensions are a batch.
fn matmul(cx: &mut CallCx<'_, '_>) -> Checked {
    let (a, b) = (cx.array(0)?, cx.array(1)?);
    let (x, y) = (cx.ty(a).shape, cx.ty(b).shape);
    if x.is_empty() || y.is_empty() {
        return Err(cx.shapes_error("cannot multiply", &[a, b], "`@` needs arrays: use `*` for a number"));
    }
    let inner_x = &x[x.len() - 1];
    let inner_y = &y[y.len().saturating_sub(2)];
    if !cx.agree(inner_x, inner_y) {
        let (left, right) = (cx.size_text(inner_x), cx.size_text(inner_y));
        let message = format!("cannot multiply {} by {}", cx.shape_text(&x), cx.shape_text(&y));
        let mut error =
            cx.error_with(Code::E0302, message).label(cx.span(), format!("inner sizes differ: {left} and {right}"));
        error = cx.blame(error, a);
        error = cx.blame(error, b);
        let swapped = y.len() >= 2 && x.len() >= 2 && cx.agree(&y[y.len() - 1], inner_x);
        return Err(Box::new(error.help(if swapped {
            "transpose the right side: `a @ transpose(b)`"
        } else {
            "make the last size of the left side the first of the right side"
        })));
    }
    let batch_x = &x[..x.len().saturating_sub(2)];
    let batch_y = &y[..y.len().saturating_sub(2)];
    let fits = batch_x.is_empty()
        || batch_y.is_empty()
        || (batch_x.len() == batch_y.len() && batch_x.iter().zip(batch_y).all(|(p, q)| cx.agree(p, q)));
    if !fits {
        return Err(cx.shapes_error("cannot multiply", &[a, b], "the leading dimensions must agree"));
    }
    let mut shape = if batch_x.is_empty() { batch_y.to_vec() } else { batch_x.to_vec() };
    if x.len() >= 2 {
        shape.push(x[x.len() - 2].clone());
    }
    if y.len() >= 2 {
        shape.push(y[y.len() - 1].clone());
    }
    Ok(Typed { ty: Ty::new(Elem::Real, shape), args: vec![a, b], attrs: Attrs::default() })
}
/// The product as the language has it: vectors become matrices with one row or column.
pub fn lower_matmul(g: &mut Builder, a: ValueId, b: ValueId) -> ValueId {
    let (a, b) = (g.to_real(a), g.to_real(b));
    let (rank_a, rank_b) = (g.rank(a), g.rank(b));
    let x = if rank_a == 1 { g.expand_dim(a, 0) } else { a };
    let y = if rank_b == 1 { g.expand_dim(b, 1) } else { b };
    let product = g.matmul(x, false, y, false);
    let mut shape = g.shape(product).to_vec();
    let rank = shape.len();
    if rank_b == 1 {
        shape.remove(rank - 1);
    }
    if rank_a == 1 {
        let at = shape.len() - if rank_b == 1 { 1 } else { 2 };
        shape.remove(at);
    }
    g.reshape(product, shape)
}
fn dot(cx: &mut CallCx<'_, '_>) -> Checked {
    let (a, b) = (cx.array(0)?, cx.array(1)?);
    let (x, y) = (cx.ty(a).shape, cx.ty(b).shape);
    if x.len() != 1 || y.len() != 1 || !cx.agree(&x[0], &y[0]) {
        return Err(cx.shapes_error("`dot` needs two vectors of one size, found", &[a, b], "use `@` for matrices"));
    }
    Ok(Typed { ty: Ty::scalar(Elem::Real), args: vec![a, b], attrs: Attrs::default() })
}
fn outer(cx: &mut CallCx<'_, '_>) -> Checked {
    let (a, b) = (cx.array(0)?, cx.array(1)?);
    let (x, y) = (cx.ty(a).shape, cx.ty(b).shape);
    if x.len() != 1 || y.len() != 1 {
        return Err(cx.shapes_error("`outer` needs two vectors, found", &[a, b], "index a row or a column first"));
    }
    let shape = vec![x[0].clone(), y[0].clone()];
    Ok(Typed { ty: Ty::new(Elem::Real, shape), args: vec![a, b], attrs: Attrs::default() })
}
/// Rule of functions of one square matrix (batched); `keep` dimensions of the last two stay.
fn square(cx: &mut CallCx<'_, '_>, keep: usize) -> Checked {
    let a = cx.array(0)?;
    let shape = cx.ty(a).shape;
    let n = shape.len();
    if n < 2 || !cx.agree(&shape[n - 1], &shape[n - 2]) {
        let name = cx.name();
        return Err(cx.shapes_error(
            &format!("`{name}` needs a square matrix, found"),
            &[a],
            "give it a matrix [N, N]",
        ));
    }
    Ok(Typed { ty: Ty::new(Elem::Real, shape[..n - 2 + keep].to_vec()), args: vec![a], attrs: Attrs::default() })
}
fn diag(cx: &mut CallCx<'_, '_>) -> Checked {
    let x = cx.array(0)?;
    let mut shape = cx.ty(x).shape;
    match shape.last().cloned() {
        Some(last) if shape.len() == 1 => shape.push(last),
        _ => {
            return Err(cx.shapes_error(
                "`diag` makes a matrix of a vector, found",
                &[x],
                "`diagonal(A)` takes the diagonal of a matrix",
            ));
        }
    }
    Ok(Typed { ty: Ty::new(Elem::Real, shape), args: vec![x], attrs: Attrs::default() })
}
fn solve_triangular(cx: &mut CallCx<'_, '_>) -> Checked {
    let (l, b) = (cx.array(0)?, cx.array(1)?);
    let (x, y) = (cx.ty(l).shape, cx.ty(b).shape);
    let fits = x.len() == 2 && cx.agree(&x[0], &x[1]) && matches!(y.len(), 1 | 2) && cx.agree(&x[0], &y[0]);
    if !fits {
        return Err(cx.shapes_error(
            "`solve_triangular` needs [N, N] and [N] or [N, M], found",
            &[l, b],
            "make the first size of the right side that of the matrix",
        ));
    }
    let lower = cx.flag(2, true)?;
    let transposed = cx.flag(3, false)?;
    let attrs = Attrs { sizes: Vec::new(), ints: vec![lower.into(), transposed.into()] };
    Ok(Typed { ty: Ty::new(Elem::Real, y), args: vec![l, b], attrs })
}
fn logdet(g: &mut Builder, a: ValueId) -> ValueId {
    let l = g.cholesky(a);
    let d = g.diagonal(l);
    let log = g.log(d);
    let sum = g.sum_last(log, 1);
    g.mul_scalar(sum, 2.0)
}
fn inverse(g: &mut Builder, a: ValueId) -> ValueId {
    // (L L')^-1 = L^-T L^-1
    let l = g.cholesky(a);
    let shape = g.shape(a);
    let n = shape[shape.rank() - 1];
    let ones = g.full(1.0, vec![n].into());
    let eye = g.diag(ones);
    let eye = g.broadcast_to(eye, shape);
    let half = g.solve_triangular(l, eye, true, false);
    g.solve_triangular(l, half, true, true)
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
    MATMUL "@" "A @ B" [req("a"), req("b")] matmul, MatMul, |g, a, _| lower_matmul(g, a[0], a[1]),
        "The matrix product; also of a matrix and a vector.";
    DOT "dot" "dot(a, b)" [req("a"), req("b")] dot, Mixes, |g, a, _| { let p = g.mul(a[0], a[1]); let p = g.to_real(p); g.sum_all(p) },
        "The inner product of two vectors.";
    OUTER "outer" "outer(a, b)" [req("a"), req("b")] outer, Leading,
        |g, a, _| { let x = g.expand_dim(a[0], 1); let y = g.expand_dim(a[1], 0); let (x, y) = (g.to_real(x), g.to_real(y)); g.mul(x, y) },
        "The outer product of two vectors.";
    CHOLESKY "cholesky" "cholesky(A)" [req("a")] |cx| square(cx, 2), Mixes, |g, a, _| { let x = g.to_real(a[0]); g.cholesky(x) },
        "The lower Cholesky factor of a symmetric positive definite matrix.";
    LOGDET "logdet" "logdet(A)" [req("a")] |cx| square(cx, 0), Mixes, |g, a, _| { let x = g.to_real(a[0]); logdet(g, x) },
        "The log determinant of a symmetric positive definite matrix.";
    INVERSE "inverse" "inverse(A)" [req("a")] |cx| square(cx, 2), Mixes, |g, a, _| { let x = g.to_real(a[0]); inverse(g, x) },
        "The inverse of a symmetric positive definite matrix.";
    DIAG "diag" "diag(x)" [req("x")] diag, Mixes, |g, a, _| { let x = g.to_real(a[0]); g.diag(x) }, "A diagonal matrix from a vector.";
    DIAGONAL "diagonal" "diagonal(A)" [req("a")] |cx| square(cx, 1), Mixes, |g, a, _| g.diagonal(a[0]), "The diagonal of a matrix.";
    SOLVE_TRIANGULAR "solve_triangular" "solve_triangular(L, b, lower = true, transposed = false)"
        [req("l"), req("b"), opt("lower"), opt("transposed")] solve_triangular, Mixes,
        |g, a, at| {
            let (l, b) = (g.to_real(a[0]), g.to_real(a[1]));
            let vector = g.rank(b) == 1;
            let column = if vector { g.expand_dim(b, 1) } else { b };
            let shape = g.shape(b);
            let x = g.solve_triangular(l, column, at.ints[0] != 0, at.ints[1] != 0);
            g.reshape(x, shape)
        }, "Solves L x = b for a triangular L.";
}
