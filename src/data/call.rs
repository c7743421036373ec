//! A call in a data expression: its arguments, matched to the parameters of the function.

use super::error::Fallible;
use super::eval::Evaluator;
use super::value::{Array, Elem, Labels, Value};
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use std::sync::Arc;

/// An argument that was evaluated.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Its name, when it is given by name.
    pub name: Option<String>,
    /// Its value.
    pub value: Value,
    /// Its place.
    pub span: Span,
}

/// A function that data expressions may call.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The names of its parameters in order.
    pub params: &'static [&'static str],
    /// How many of them must be given.
    pub required: usize,
    /// Whether more positional arguments may follow.
    pub variadic: bool,
    /// What it does.
    pub run: fn(&mut Call<'_, '_>) -> Fallible<Value>,
}

/// A call that is being evaluated.
pub struct Call<'e, 'a> {
    /// The evaluator, for files, sizes and what was learned.
    pub evaluator: &'e mut Evaluator<'a>,
    /// The function.
    pub function: &'static Function,
    /// The place of the whole call.
    pub span: Span,
    /// One entry for each parameter.
    args: Vec<Option<Argument>>,
    /// The positional arguments beyond the parameters.
    pub rest: Vec<Argument>,
}

/// A diagnostic that a data expression cannot be evaluated, blaming `span`.
pub(crate) fn cannot(span: Span, message: impl Into<String>, label: impl Into<String>) -> Diagnostic {
    Diagnostic::new(Code::E0916, message).label(span, label)
}

impl<'e, 'a> Call<'e, 'a> {
    /// Matches `args` to the parameters of `function`.
    ///
    /// Errors: an unknown or doubled name, too many or too few arguments.
    pub fn new(
        evaluator: &'e mut Evaluator<'a>,
        function: &'static Function,
        span: Span,
        args: Vec<Argument>,
    ) -> Fallible<Self> {
        let name = function.name;
        let mut slots: Vec<Option<Argument>> = vec![None; function.params.len()];
        let mut rest = Vec::new();
        let mut next = 0;
        for arg in args {
            let slot = match &arg.name {
                Some(key) => match function.params.iter().position(|p| p == key) {
                    Some(slot) => slot,
                    None => {
                        let known = function.params.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(", ");
                        let message = format!("`{name}` has no argument `{key}`");
                        let d = cannot(arg.span, message, "this argument is not known");
                        return Err(Box::new(d.help(format!("`{name}` takes {known}"))));
                    }
                },
                None if next < slots.len() => {
                    next += 1;
                    next - 1
                }
                None if function.variadic => {
                    rest.push(arg);
                    continue;
                }
                None => {
                    let most = slots.len();
                    let message = format!("`{name}` takes at most {most} arguments");
                    return Err(Box::new(cannot(arg.span, message, "this one is too many")));
                }
            };
            if let Some(earlier) = &slots[slot] {
                let message = format!("`{}` of `{name}` is given twice", function.params[slot]);
                let d = cannot(arg.span, message, "given again here").label(earlier.span, "first given here");
                return Err(Box::new(d));
            }
            slots[slot] = Some(arg);
        }
        if let Some(missing) = (0..function.required).find(|&i| slots[i].is_none()) {
            let message = format!("`{name}` needs the argument `{}`", function.params[missing]);
            return Err(Box::new(cannot(span, message, "it is missing in this call")));
        }
        Ok(Self { evaluator, function, span, args: slots, rest })
    }
    /// Whether argument `i` is given.
    pub fn has(&self, i: usize) -> bool {
        self.args[i].is_some()
    }
    /// Takes argument `i`, which is required.
    pub fn take(&mut self, i: usize) -> Argument {
        self.args[i].take().expect("a required argument is taken once")
    }
    /// Takes argument `i` if it is given.
    pub fn optional(&mut self, i: usize) -> Option<Argument> {
        self.args[i].take()
    }
    /// Takes argument `i` as an array of numbers.
    pub fn array(&mut self, i: usize) -> Fallible<(Array, Span)> {
        let arg = self.take(i);
        Ok((self.numbers(arg.value, arg.span)?, arg.span))
    }
    /// `value` as an array of numbers, or an error that says what it is instead.
    pub fn numbers(&self, value: Value, span: Span) -> Fallible<Array> {
        numbers(value, span, &format!("`{}`", self.function.name))
    }
    /// Takes argument `i` as a whole number from 0 on.
    pub fn count(&mut self, i: usize) -> Fallible<usize> {
        let arg = self.take(i);
        count(arg.value, arg.span, &format!("`{}` of `{}`", self.function.params[i], self.function.name))
    }
    /// Takes argument `i` as labels; `None` when it is something else, which is given back.
    pub fn labels(&mut self, i: usize) -> Result<Arc<Labels>, Box<Argument>> {
        let arg = self.take(i);
        match arg.value {
            Value::Labels(labels) => Ok(labels),
            _ => Err(Box::new(arg)),
        }
    }
    /// Takes argument `i` as a shape: a list of sizes, or one size.
    pub fn shape(&mut self, i: usize) -> Fallible<Vec<usize>> {
        let arg = self.take(i);
        let what = format!("the shape given to `{}`", self.function.name);
        let items: Vec<Value> = match arg.value {
            Value::Tuple(items) => items,
            Value::Array(a) if a.shape().len() == 1 => {
                a.data.iter().map(|&v| Value::Array(Array::scalar(v, a.elem))).collect()
            }
            other => vec![other],
        };
        let shape: Vec<usize> = items.into_iter().map(|v| count(v, arg.span, &what)).collect::<Fallible<_>>()?;
        check_size(&shape, arg.span)?;
        Ok(shape)
    }
    /// An error of this call.
    pub fn fail(&self, message: impl Into<String>, label: impl Into<String>) -> Box<Diagnostic> {
        Box::new(cannot(self.span, message, label))
    }
}

/// Refuses shapes of more than 2^40 elements, which no memory holds.
pub(crate) fn check_size(shape: &[usize], span: Span) -> Fallible<()> {
    const MOST: usize = 1 << 40;
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
    match count {
        Some(n) if n <= MOST => Ok(()),
        _ => Err(Box::new(cannot(span, "an array of this shape is larger than memory can hold", "this shape"))),
    }
}

/// `value` as an array of numbers; `user` says who needs it.
pub(crate) fn numbers(value: Value, span: Span, user: &str) -> Fallible<Array> {
    value.into_array().map_err(|other| {
        let other = *other;
        let mut diagnostic =
            Diagnostic::new(Code::E0904, format!("{user} needs numbers, but got {}", other.describe()))
                .label(span, format!("this is {}", other.describe()));
        diagnostic.help = match &other {
            Value::Table(_) => {
                Some("take one column with `.name`, or several with `.columns(…)` or `.except(…)`".to_string())
            }
            Value::Record(_) => Some("take one part of it with `.name`".to_string()),
            Value::Text(text) => {
                if let Some(note) = culprit(text) {
                    diagnostic.notes.push(note);
                }
                Some("make numbers of labels with `levels` and `codes`".to_string())
            }
            _ => None,
        };
        Box::new(diagnostic)
    })
}

/// The entry that makes a column text although some of it are numbers.
pub(crate) fn culprit(text: &super::value::TextArray) -> Option<String> {
    let parses = |s: &Option<Arc<str>>| s.as_deref().is_some_and(|s| s.parse::<f64>().is_ok());
    if !text.data.iter().any(parses) {
        return None;
    }
    let (i, entry) = text.data.iter().enumerate().find(|(_, s)| s.is_some() && !parses(s))?;
    let place = super::value::place(text.shape(), i, text.origin.as_deref(), None);
    Some(format!("`{}` is no number: {place}", entry.as_deref().unwrap_or_default()))
}

/// `value` as a whole number from 0 on; `what` names it.
pub(crate) fn count(value: Value, span: Span, what: &str) -> Fallible<usize> {
    let described = value.describe();
    let number = match value.into_array() {
        Ok(a) if a.elem == Elem::Int => a.as_scalar(),
        _ => None,
    };
    match number {
        Some(n) if n >= 0.0 => Ok(n as usize),
        Some(n) => {
            Err(Box::new(cannot(span, format!("{what} must not be negative, but it is {n}"), "this is negative")))
        }
        None => {
            let message = format!("{what} must be a whole number, but it is {described}");
            Err(Box::new(cannot(span, message, format!("this is {described}"))))
        }
    }
}
