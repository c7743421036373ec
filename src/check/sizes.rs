//! Expressions that are known at compile time: sizes, shapes, types, options.

use super::checker::{Binding, Checker, OptionValue, R, Val};
use super::size::{MAX_SIZE, Size};
use super::typed::*;
use crate::diag::{Code, Diagnostic};
use crate::nearest::nearest;
use crate::source::Span;
use crate::syntax::ast::{self, BinaryOp, Elem, ExprKind as Syntax, UnaryOp};

impl<'p> Checker<'p> {
    /// A size expression.
    pub(super) fn size_expr(&mut self, e: &ast::Expr) -> R<Size> {
        let too_large = |this: &mut Self| {
            this.error(Code::E0308, "this size is too large", e.span, "too large", "use smaller sizes")
        };
        let size = match &e.kind {
            Syntax::Int(n) => Size::from(*n),
            Syntax::Paren(inner) => self.size_expr(inner)?,
            Syntax::Name(name) => match self.lookup_local(name).cloned() {
                Some((Binding::Size(size), _)) => size,
                Some((Binding::Val(val), _)) => self.val_as_size(&val, e.span)?,
                Some((Binding::Array(_), _)) => {
                    return Err(self.error(
                        Code::E0308,
                        format!("`{name}` is an array, not a size"),
                        e.span,
                        "not a size",
                        "a size is a name, a number or arithmetic over them",
                    ));
                }
                Some((Binding::Poison, _)) => return Err(super::checker::Reported),
                None => self.global_size(name, e.span)?,
            },
            Syntax::Binary(op, a, b) => {
                let (a, b) = (self.size_expr(a)?, self.size_expr(b)?);
                let result = match op {
                    BinaryOp::Add => a.add(&b),
                    BinaryOp::Sub => a.sub(&b),
                    BinaryOp::Mul => a.mul(&b),
                    BinaryOp::Div => a.floor_div(&b),
                    _ => {
                        return Err(self.error(
                            Code::E0308,
                            "sizes know only `+ - * /`",
                            e.span,
                            "not a size",
                            "`/` rounds down in sizes",
                        ));
                    }
                };
                result.ok_or(()).map_err(|()| too_large(self))?
            }
            _ => {
                return Err(self.error(
                    Code::E0308,
                    "this is not a size",
                    e.span,
                    "not a size",
                    "a size is a name, a number or arithmetic over them",
                ));
            }
        };
        if size.as_number().is_some_and(|n| n.abs() > MAX_SIZE) {
            return Err(too_large(self));
        }
        Ok(size)
    }
    /// A size name of the program; a new one stays symbolic until data or the command line bind it.
    pub(super) fn global_size(&mut self, name: &str, span: Span) -> R<Size> {
        if self.scope.module != self.modules.root() {
            return self.module_size(name, span);
        }
        if let Some(id) = self.known_size(name) {
            return Ok(id.into());
        }
        if self.scope.module == self.modules.root()
            && let Some((_, value)) = self.program.constants.iter().find(|(n, _)| n == name).cloned()
            && let Syntax::Int(n) = value.kind
        {
            return Ok(n.into());
        }
        let names: Vec<String> = self.program.sizes.iter().map(|s| s.name.clone()).collect();
        let near = nearest(name, names.iter().map(String::as_str).filter(|n| n.len() > 1)).map(str::to_string);
        if let Some(near) = near {
            let d = Diagnostic::new(Code::E0201, format!("no size is called `{name}`"))
                .label(span, "unknown size")
                .help(format!("there is a size `{near}`"))
                .fix(span, near);
            return Err(self.report(d));
        }
        let root = self.modules.get(self.modules.root());
        let datum = root.ast.items.iter().find_map(|i| match &i.kind {
            ast::ItemKind::Data { name: n, ty, .. } if n.name == name => Some(ty),
            _ => None,
        });
        if let Some(ty) = datum.filter(|_| self.scope.module == self.modules.root()) {
            let help = match ty.elem == Elem::Int && ty.dims.is_empty() {
                true => format!("leave `data {name}` out: a size is read off the arrays that have it"),
                false => "a size is a name of its own, a number or arithmetic over them".to_string(),
            };
            return Err(self.error(Code::E0308, format!("`{name}` is not a size"), span, "this is a datum", &help));
        }
        Ok(self.size_named(name, span).into())
    }
    /// A size of the file of a function that the program uses: the sizes of the program are not visible there.
    pub(super) fn module_size(&mut self, name: &str, span: Span) -> R<Size> {
        let modules = self.modules;
        let item = modules.get(self.scope.module).ast.items.iter().find_map(|i| match &i.kind {
            ast::ItemKind::Size { name: n, value: Some(value) } | ast::ItemKind::Const { name: n, value }
                if n.name == name =>
            {
                Some(value)
            }
            _ => None,
        });
        match item {
            Some(value) => self.item_value(name, span, |cx| cx.size_expr(value)),
            None => {
                let help = format!("make it a parameter, `{name}: size`, or give it a value: `size {name} = 10`");
                let message = format!("no size is called `{name}` in this file");
                Err(self.error(Code::E0201, message, span, "unknown size", &help))
            }
        }
    }
    pub(super) fn val_as_size(&mut self, val: &Val, span: Span) -> R<Size> {
        if let Val::Array(e) = val {
            match &self.program.exprs[*e].kind {
                ExprKind::Size(s) => return Ok(s.clone()),
                ExprKind::Const(c) if c.fract() == 0.0 && c.abs() < MAX_SIZE as f64 => return Ok((*c as i64).into()),
                _ => {}
            }
        }
        if let Val::Option(OptionValue::Numbers(n)) = val
            && let [n] = n[..]
        {
            return Ok(n.into());
        }
        Err(self.error(
            Code::E0308,
            "this is not a size",
            span,
            "a value, not a size",
            "a size is a name, a number or arithmetic over them",
        ))
    }
    /// A shape: `[N, 2 * K]`, the name of a `shape` parameter, or a single size.
    pub(super) fn shape_expr(&mut self, e: &ast::Expr) -> R<Vec<Size>> {
        match &e.kind {
            Syntax::Array(parts) => parts.iter().map(|p| self.size_expr(p)).collect(),
            Syntax::Paren(inner) => self.shape_expr(inner),
            Syntax::Name(name) => match self.lookup_local(name).cloned() {
                Some((Binding::Val(Val::Shape(sizes)), _)) => Ok(sizes),
                _ => Ok(vec![self.size_expr(e)?]),
            },
            _ => Ok(vec![self.size_expr(e)?]),
        }
    }
    /// The compile-time setting that `e` is, if it is one.
    pub(super) fn option_expr(&mut self, e: &ast::Expr) -> Option<OptionValue> {
        match &e.kind {
            Syntax::Int(n) => Some(OptionValue::Numbers(vec![*n])),
            Syntax::Bool(b) => Some(OptionValue::Flag(*b)),
            Syntax::Paren(inner) => self.option_expr(inner),
            Syntax::Unary(UnaryOp::Neg, inner) => match self.option_expr(inner)? {
                OptionValue::Numbers(n) => Some(OptionValue::Numbers(n.into_iter().map(|n| -n).collect())),
                _ => None,
            },
            Syntax::Tuple(parts) | Syntax::Array(parts) => {
                let mut numbers = Vec::new();
                for part in parts {
                    match self.option_expr(part)? {
                        OptionValue::Numbers(n) => numbers.extend(n),
                        _ => return None,
                    }
                }
                Some(OptionValue::Numbers(numbers))
            }
            Syntax::Name(name) => match self.lookup_local(name).cloned() {
                Some((Binding::Val(val), _)) => self.val_as_option(&val),
                Some((Binding::Size(size), _)) => self.fixed(&size).as_number().map(|n| OptionValue::Numbers(vec![n])),
                Some(_) => None,
                None => match self.known_size(name) {
                    Some(id) => self.program.sizes[id].value.map(|n| OptionValue::Numbers(vec![n as i64])),
                    None => Some(OptionValue::Word(name.clone())),
                },
            },
            Syntax::Binary(..) => {
                let before = self.diags.clone();
                let size = self.size_expr(e).ok();
                if size.is_none() {
                    *self.diags = before;
                }
                size.and_then(|s| self.fixed(&s).as_number()).map(|n| OptionValue::Numbers(vec![n]))
            }
            _ => None,
        }
    }
    pub(super) fn val_as_option(&self, val: &Val) -> Option<OptionValue> {
        match val {
            Val::Option(option) => Some(option.clone()),
            Val::Array(e) => {
                let value = self.const_value(*e)?;
                if self.program.ty(*e).elem == Elem::Bool {
                    return Some(OptionValue::Flag(value != 0.0));
                }
                (value.fract() == 0.0).then_some(OptionValue::Numbers(vec![value as i64]))
            }
            _ => None,
        }
    }
    /// A type.
    pub(super) fn type_of(&mut self, ty: &ast::Type) -> R<Ty> {
        let mut shape = Vec::new();
        for dim in &ty.dims {
            match dim {
                ast::Dim::Size(e) => {
                    let size = self.size_expr(e)?;
                    if size.as_number().is_some_and(|n| n < 1) {
                        return Err(self.error(
                            Code::E0308,
                            "a size must be at least 1",
                            e.span,
                            "this is less",
                            "leave the dimension out",
                        ));
                    }
                    shape.push(size);
                }
                ast::Dim::Spread(name) => match self.lookup_local(&name.name).cloned() {
                    Some((Binding::Val(Val::Shape(sizes)), _)) => shape.extend(sizes),
                    _ => {
                        let help = format!("declare it as a parameter: `{}: shape`", name.name);
                        return Err(self.error(
                            Code::E0308,
                            format!("`{}` is not a shape", name.name),
                            name.span,
                            "not a shape",
                            &help,
                        ));
                    }
                },
            }
        }
        Ok(Ty::new(ty.elem, shape))
    }
}
