//! What the type rule of a built-in function sees of a call: its arguments, evaluated as the rule asks for them.

use super::checker::{Checker, Given, OptionValue, Reported, Val};
use super::size::Size;
use super::typed::{ExprId, Ty};
use crate::builtins::FnDef;
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{self, Elem, ExprKind};

/// A call of a built-in function while its type rule runs.
pub struct CallCx<'c, 'p> {
    pub(super) checker: &'c mut Checker<'p>,
    pub(super) def: &'static FnDef,
    pub(super) args: Vec<Option<Given<'c>>>,
    pub(super) extra: Vec<Given<'c>>,
    pub(super) span: Span,
}

type Ruled<T> = Result<T, Box<Diagnostic>>;

/// The error of a part that has been reported already: pushing it again is a no-op.
fn reported(_: Reported) -> Box<Diagnostic> {
    Box::new(Diagnostic::new(Code::E0403, ""))
}

impl CallCx<'_, '_> {
    /// The function's name.
    pub fn name(&self) -> &'static str {
        self.def.name
    }
    /// The place of the whole call.
    pub fn span(&self) -> Span {
        self.span
    }
    /// Whether argument `at` was written.
    pub fn given(&self, at: usize) -> bool {
        self.args[at].is_some()
    }
    fn arg_span(&self, at: usize) -> Span {
        self.args[at].as_ref().map_or(self.span, Given::span)
    }
    /// An error of code E0403 at the call.
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Code::E0403, message).label(self.span, format!("in this call of `{}`", self.def.name))
    }
    /// An error of code E0406 at argument `at`.
    pub fn error_at(&self, at: usize, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Code::E0406, message).label(self.arg_span(at), "this argument")
    }
    /// An error without a place yet.
    pub fn error_with(&self, code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, message)
    }
    /// Adds where an operand comes from, with its shape.
    pub fn blame(&self, error: Diagnostic, operand: ExprId) -> Diagnostic {
        self.checker.blame(error, operand)
    }
    /// An error that shows the shapes of some operands.
    pub fn shapes_error(&self, message: &str, operands: &[ExprId], help: &str) -> Box<Diagnostic> {
        let shapes: Vec<String> = operands.iter().map(|&e| self.shape_text(&self.ty(e).shape)).collect();
        let mut error = Diagnostic::new(Code::E0301, format!("{message} {}", shapes.join(" and ")))
            .label(self.span, "these do not go together");
        for &operand in operands {
            error = self.blame(error, operand);
        }
        Box::new(error.help(help))
    }
    /// An error about the rank of argument `at`.
    pub fn rank_error(&self, at: usize, need: &str) -> Box<Diagnostic> {
        let param = self.def.params[at.min(self.def.params.len() - 1)].name;
        let have = match &self.args.get(at).and_then(|a| a.as_ref()) {
            Some(Given::Val(Val::Array(e), _)) => self.shape_text(&self.ty(*e).shape),
            _ => String::new(),
        };
        let message = format!("`{param}` of `{}` needs {need}", self.def.name);
        let label = if have.is_empty() { "this argument".to_string() } else { format!("its shape is {have}") };
        Box::new(
            Diagnostic::new(Code::E0306, message)
                .label(self.arg_span(at.min(self.args.len().saturating_sub(1))), label)
                .help("add a dimension with `x[:, new]`, or `reshape` it"),
        )
    }
    /// An error about the elements of argument `at`.
    pub fn elem_error(&self, at: usize, need: &str) -> Box<Diagnostic> {
        let param = self.def.params[at].name;
        let operator = matches!(self.def.name, "and" | "or" | "not");
        let message = match operator {
            true => format!("`{}` needs conditions", self.def.name),
            false => format!("`{param}` of `{}` must be {need}", self.def.name),
        };
        Box::new(
            Diagnostic::new(Code::E0401, message)
                .label(self.arg_span(at), format!("not {need}"))
                .help(if need == "ints" { "declare the data as `int[…]`" } else { "compare, for example `x > 0`" }),
        )
    }
    fn evaluate(&mut self, at: usize) -> Ruled<Option<Val>> {
        let Some(given) = self.args[at].clone() else { return Ok(None) };
        let span = given.span();
        let val = self.checker.given_value(&given).map_err(reported)?;
        self.args[at] = Some(Given::Val(val.clone(), span));
        Ok(Some(val))
    }
    /// Argument `at` as an array (or number).
    pub fn array(&mut self, at: usize) -> Ruled<ExprId> {
        let span = self.arg_span(at);
        match self.evaluate(at)? {
            Some(val) => self.checker.as_array(&val, span).map_err(reported),
            None => Err(self.error(format!("`{}` needs `{}`", self.def.name, self.def.params[at].name)).into()),
        }
    }
    /// Argument `at` as an array, if it was given.
    pub fn opt_array(&mut self, at: usize) -> Ruled<Option<ExprId>> {
        if self.given(at) { self.array(at).map(Some) } else { Ok(None) }
    }
    /// Argument `at` as a number.
    pub fn scalar(&mut self, at: usize) -> Ruled<ExprId> {
        let e = self.array(at)?;
        if self.ty(e).shape.is_empty() { Ok(e) } else { Err(self.rank_error(at, "a number")) }
    }
    /// All arguments from `at` on, as arrays; an array literal in the only place gives its elements.
    pub fn rest(&mut self, at: usize) -> Ruled<Vec<ExprId>> {
        let mut parts = vec![self.array(at)?];
        for given in std::mem::take(&mut self.extra) {
            let span = given.span();
            let val = self.checker.given_value(&given).map_err(reported)?;
            parts.push(self.checker.as_array(&val, span).map_err(reported)?);
        }
        Ok(parts)
    }
    /// The type of an expression.
    pub fn ty(&self, e: ExprId) -> Ty {
        self.checker.program.ty(e).clone()
    }
    /// Whether the call stands inside a `for`.
    pub fn in_loop(&self) -> bool {
        !self.checker.loops.is_empty()
    }
    /// The number that an expression is at compile time, if it is one.
    pub fn number(&self, e: ExprId) -> Option<f64> {
        self.checker.const_value(e)
    }
    /// Whether two sizes agree.
    pub fn agree(&self, a: &Size, b: &Size) -> bool {
        self.checker.agree(a, b)
    }
    /// A shape as the user would write it.
    pub fn shape_text(&self, shape: &[Size]) -> String {
        self.checker.program.shape_text(shape)
    }
    /// A size as the user would write it.
    pub fn size_text(&self, size: &Size) -> String {
        self.checker.program.size_text(size)
    }
    /// The shape that all operands broadcast to by name.
    pub fn broadcast(&mut self, operands: &[ExprId]) -> Ruled<Vec<Size>> {
        let mut shape: Vec<Size> = Vec::new();
        for (i, &operand) in operands.iter().enumerate() {
            let next = self.ty(operand).shape;
            match self.checker.broadcast(&shape, &next) {
                Some(joined) => shape = joined,
                None => {
                    let verb = match self.def.name {
                        "+" => "cannot add",
                        "-" => "cannot subtract",
                        "*" => "cannot multiply",
                        "/" => "cannot divide",
                        _ => "cannot combine",
                    };
                    let pair = [operands[i.saturating_sub(1)], operand];
                    let help = if shape.len() == 1 && next.len() == 1 {
                        "to combine every element with every other one, add a dimension: `a[:, new]`"
                    } else {
                        "sizes are matched by name from the right: `transpose` one side or add a dimension with `new`"
                    };
                    return Err(self.shapes_error(verb, &pair, help));
                }
            }
        }
        Ok(shape)
    }
    /// Refuses argument `at` unless it is boolean.
    pub fn require_bool(&mut self, at: usize) -> Ruled<()> {
        let e = self.array(at)?;
        if self.ty(e).elem == Elem::Bool { Ok(()) } else { Err(self.elem_error(at, "a condition")) }
    }
    /// Argument `at` as a size.
    pub fn size(&mut self, at: usize) -> Ruled<Size> {
        match self.args[at].clone() {
            Some(Given::Ast(e)) => self.checker.size_expr(e).map_err(reported),
            Some(Given::Val(val, span)) => self.checker.val_as_size(&val, span).map_err(reported),
            None => Err(self.error(format!("`{}` needs `{}`", self.def.name, self.def.params[at].name)).into()),
        }
    }
    /// Argument `at` as a shape: `[N, 2 * K]`, a `shape` parameter, or a single size.
    pub fn shape(&mut self, at: usize) -> Ruled<Vec<Size>> {
        match self.args[at].clone() {
            Some(Given::Ast(e)) => self.checker.shape_expr(e).map_err(reported),
            _ => Err(self.error(format!("`{}` needs a shape such as `[N, K]`", self.def.name)).into()),
        }
    }
    /// The word that argument `at` is, as in `pad = same`; `None` when it is not given or is not a word.
    pub fn word(&mut self, at: usize) -> Ruled<Option<String>> {
        Ok(match &self.args[at] {
            Some(Given::Ast(e)) => match self.checker.option_expr(e) {
                Some(OptionValue::Word(w)) => Some(w),
                _ => None,
            },
            _ => None,
        })
    }
    /// Argument `at` as one compile-time number or one for each of `dims` dimensions; `default` when it is not given.
    pub fn pair(&mut self, at: usize, dims: usize, default: i64, least: i64) -> Ruled<[i64; 2]> {
        let Some(given) = self.args[at].clone() else { return Ok([default; 2]) };
        let value = match &given {
            Given::Ast(e) => self.checker.option_expr(e),
            Given::Val(val, _) => self.checker.val_as_option(val),
        };
        let numbers = match value {
            Some(OptionValue::Numbers(n)) => n,
            // What only a call can decide is left to the calls.
            _ if self.checker.generic => return Err(reported(Reported)),
            _ => {
                let message = format!("`{}` must be a number known at compile time", self.def.params[at].name);
                let help = if dims == 2 { "write a number or a pair such as `(1, 2)`" } else { "write a number" };
                return Err(self.error_at(at, message).help(help).into());
            }
        };
        let pair = match numbers[..] {
            [n] => [n, n],
            [a, b] if dims == 2 => [a, b],
            _ => {
                let message = format!("`{}` takes {dims} numbers, found {}", self.def.params[at].name, numbers.len());
                return Err(self.error_at(at, message).help("write one number for all dimensions").into());
            }
        };
        if pair.iter().any(|&n| n < least || n > 1 << 30) {
            let message =
                format!("`{}` must be at least {least}, found {}", self.def.params[at].name, pair[0].min(pair[1]));
            return Err(self.error_at(at, message).help(format!("write {least} or more")).into());
        }
        Ok(pair)
    }
    /// Argument `at` as compile-time numbers.
    pub fn numbers(&mut self, at: usize) -> Ruled<Vec<i64>> {
        let value = match self.args[at].clone() {
            Some(Given::Ast(e)) => self.checker.option_expr(e),
            Some(Given::Val(val, _)) => self.checker.val_as_option(&val),
            None => None,
        };
        match value {
            Some(OptionValue::Numbers(n)) => Ok(n),
            _ => {
                let message = format!("`{}` must be numbers known at compile time", self.def.params[at].name);
                Err(self.error_at(at, message).help("write them in brackets: `(1, 0, 2)`").into())
            }
        }
    }
    /// Argument `at` as a compile-time condition; `default` when it is not given.
    pub fn flag(&mut self, at: usize, default: bool) -> Ruled<bool> {
        let Some(given) = self.args[at].clone() else { return Ok(default) };
        let value = match &given {
            Given::Ast(e) => self.checker.option_expr(e),
            Given::Val(val, _) => self.checker.val_as_option(val),
        };
        match value {
            Some(OptionValue::Flag(b)) => Ok(b),
            _ if self.checker.generic => Err(reported(Reported)),
            _ => {
                let message = format!("`{}` must be `true` or `false`", self.def.params[at].name);
                Err(self.error_at(at, message).help("write `true` or `false`").into())
            }
        }
    }
    /// The axes that `over` (argument `over`) or `axis` (argument `axis`) name in `shape`, ascending. Without either:
    /// the only axis of a vector.
    pub fn axes(&mut self, shape: &[Size], over: usize, axis: usize) -> Ruled<Vec<usize>> {
        if self.given(axis) {
            let Some(OptionValue::Numbers(numbers)) = (match self.args[axis].clone() {
                Some(Given::Ast(e)) => self.checker.option_expr(e),
                _ => None,
            }) else {
                return Err(self
                    .error_at(axis, "`axis` must be a number")
                    .help("write for example `axis = -1`")
                    .into());
            };
            let rank = shape.len() as i64;
            let mut axes = Vec::new();
            for n in numbers {
                let at = if n < 0 { n + rank } else { n };
                if !(0..rank).contains(&at) {
                    let message = format!("there is no axis {n} in {}", self.shape_text(shape));
                    return Err(self.axis_error(axis, message, "axes count from 0, or from -1 at the end"));
                }
                axes.push(at as usize);
            }
            axes.sort_unstable();
            axes.dedup();
            return Ok(axes);
        }
        let Some(given) = self.args[over].clone() else {
            return match shape.len() {
                0 => Err(self.rank_error(0, "an array")),
                1 => Ok(vec![0]),
                _ => {
                    let names = shape.iter().map(|s| self.size_text(s)).collect::<Vec<_>>().join("`, `");
                    let message =
                        format!("`{}` of {} must say what it runs over", self.def.name, self.shape_text(shape));
                    let help = format!("write `over = …` with one of `{names}`, or `over = all`");
                    Err(Box::new(
                        Diagnostic::new(Code::E0310, message).label(self.span, "over which dimension?").help(help),
                    ))
                }
            };
        };
        let Given::Ast(e) = given else { return Err(self.error("`over` takes size names").into()) };
        if matches!(&e.kind, ExprKind::Name(n) if n == "all") {
            return Ok((0..shape.len()).collect());
        }
        let parts: Vec<&ast::Expr> = match &e.kind {
            ExprKind::Tuple(parts) | ExprKind::Array(parts) => parts.iter().collect(),
            _ => vec![e],
        };
        let mut axes = Vec::new();
        for part in parts {
            let size = self.checker.size_expr(part).map_err(reported)?;
            let found: Vec<usize> = (0..shape.len()).filter(|&i| self.agree(&shape[i], &size)).collect();
            match found[..] {
                [one] => axes.push(one),
                [] => {
                    let message = format!("there is no `{}` in {}", self.size_text(&size), self.shape_text(shape));
                    return Err(self.axis_error(over, message, "name one of its sizes, or use `axis`"));
                }
                _ => {
                    let message =
                        format!("`{}` stands more than once in {}", self.size_text(&size), self.shape_text(shape));
                    return Err(self.axis_error(over, message, "use `axis = 0` or `axis = -1`"));
                }
            }
        }
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }
    fn axis_error(&self, at: usize, message: String, help: &str) -> Box<Diagnostic> {
        Box::new(Diagnostic::new(Code::E0310, message).label(self.arg_span(at), "this one").help(help))
    }
    /// Notes that `w` is the weight of a layer whose outputs each sum over `fan_in` products and whose inputs each reach
    /// `fan_out` outputs (products of these sizes).
    pub fn mark_weight(&mut self, w: ExprId, fan_in: &[Size], fan_out: &[Size]) {
        self.checker.mark_weight(w, fan_in, fan_out);
    }
    /// Notes that `table` holds the vectors of an embedding.
    pub fn mark_table(&mut self, table: ExprId) {
        self.checker.mark_table(table);
    }
}
