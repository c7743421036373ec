//! The automatic families of guides by their words: `full_rank`, `flow(iaf, depth = 3)`, `mixture(2, full_rank)`.
//!
//! One reading serves a program's text and the command line: an expression in, a family, or what is wrong with it, out.

use super::typed::{Component, Family, Flow, FlowKind};
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::index::Idx;
use crate::nearest::nearest;
use crate::source::{FileId, Span};
use crate::syntax::ast::{Arg, Expr, ExprKind, UnaryOp};
use crate::syntax::parse::parse_expression;

/// Families that the language describes and that are not built yet.
pub(super) const LATER: &[&str] = &["matrix_normal"];
/// Families that can be used.
pub const FAMILIES: &[&str] =
    &["mean_field", "full_rank", "low_rank", "structured", "delta", "laplace", "flow", "mixture", "dropout"];
/// Normals of a mixture at most: each is one evaluation of the model in every step.
const MOST_COMPONENTS: i64 = 64;
/// Blocks of a flow at most.
const MOST_BLOCKS: i64 = 64;
/// Blocks of a flow unless it says otherwise.
const DEPTH: usize = 2;

/// What is wrong with the words of a family.
#[derive(Clone, PartialEq, Debug)]
pub struct Slip {
    code: Code,
    message: String,
    span: Span,
    label: &'static str,
    help: String,
    /// Whether the slip is in a name, with the one that was perhaps meant.
    near: Option<String>,
}

impl Slip {
    fn new(message: impl Into<String>, span: Span, label: &'static str, help: impl Into<String>) -> Self {
        Self { code: Code::E0605, message: message.into(), span, label, help: help.into(), near: None }
    }
    /// As a diagnostic; `placed` when the words stand in the program.
    pub fn diagnostic(self, placed: bool) -> Diagnostic {
        let mut d = Diagnostic::new(self.code, self.message).help(self.help);
        if placed {
            d = d.label(self.span, self.label);
            if let Some(near) = self.near {
                d = d.fix(self.span, near);
            }
        }
        d
    }
}

/// The family that a text names, as on the command line; `None` when it names none.
pub fn family(text: &str) -> Option<Result<Family, Slip>> {
    let e = parse_expression(FileId::new(0), text, &mut Diagnostics::default())?;
    read(&e).transpose()
}

/// The family that an expression names, if its word is that of a family.
pub(super) fn read(e: &Expr) -> Result<Option<Family>, Slip> {
    let (name, args): (&str, &[Arg]) = match &e.kind {
        ExprKind::Name(name) => (name, &[]),
        ExprKind::Call { callee, args } => match &callee.kind {
            ExprKind::Name(name) => (name, args),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    if let Some(later) = LATER.iter().find(|l| **l == name) {
        return Ok(Some(Family::Later(later)));
    }
    let called = matches!(e.kind, ExprKind::Call { .. });
    Ok(Some(match name {
        "mean_field" | "full_rank" | "structured" | "delta" | "laplace" if called => {
            let message = format!("`{name}` takes no arguments");
            return Err(Slip::new(message, e.span, "not such a family", format!("write `{name}`")));
        }
        "mean_field" => Family::MeanField,
        "full_rank" => Family::FullRank,
        "structured" => Family::Structured,
        "delta" => Family::Delta,
        "laplace" => Family::Laplace,
        "low_rank" => Family::LowRank(if called { Some(rank(args, e.span)?) } else { None }),
        "flow" => Family::Flow(flow(args, e.span)?),
        "mixture" => mixture(args, e.span)?,
        "dropout" => Family::Dropout(dropout(args, e.span)?),
        _ => return Ok(None),
    }))
}

/// Arguments put at their places: those by position first, then those by name.
fn placed<'a, const N: usize>(names: [&str; N], args: &'a [Arg], family: &str) -> Result<[Option<&'a Expr>; N], Slip> {
    let mut found = [None; N];
    for (at, arg) in args.iter().enumerate() {
        let place = match &arg.name {
            None if at < N => at,
            None => {
                let message = format!("`{family}` takes {N} arguments at most");
                return Err(Slip::new(message, arg.value.span, "one too many", "leave it out"));
            }
            Some(name) => match names.iter().position(|n| *n == name.name) {
                Some(place) => place,
                None => {
                    let message = format!("`{family}` has no argument `{}`", name.name);
                    let help = match nearest(&name.name, names) {
                        Some(near) => format!("there is `{near}`"),
                        None => format!("its arguments are `{}`", names.join("`, `")),
                    };
                    return Err(Slip::new(message, name.span, "not an argument", help));
                }
            },
        };
        if found[place].replace(&arg.value).is_some() {
            let message = format!("`{family}` has two values for `{}`", names[place]);
            return Err(Slip::new(message, arg.value.span, "the second", "leave one out"));
        }
    }
    Ok(found)
}
fn whole(e: &Expr, most: i64) -> Option<usize> {
    match e.kind {
        ExprKind::Int(n) if n <= most => usize::try_from(n).ok().filter(|&n| n > 0),
        _ => None,
    }
}

fn rank(args: &[Arg], span: Span) -> Result<usize, Slip> {
    let wrong = || {
        let message = "`low_rank` takes its rank, a whole number of at least 1";
        Slip::new(message, span, "not such a family", "write for example `low_rank(4)`")
    };
    let [arg] = args else { return Err(wrong()) };
    let named = arg.name.as_ref().is_none_or(|n| n.name == "rank");
    whole(&arg.value, i64::MAX).filter(|_| named).ok_or_else(wrong)
}

fn flow(args: &[Arg], span: Span) -> Result<Flow, Slip> {
    let help = "write `flow(realnvp)` or `flow(iaf, depth = 3)`";
    let [kind, depth, hidden] = placed(["kind", "depth", "hidden"], args, "flow")?;
    let Some(kind) = kind else {
        return Err(Slip::new("`flow` needs its kind, `realnvp` or `iaf`", span, "not such a family", help));
    };
    let kind = match &kind.kind {
        ExprKind::Name(name) if name == "realnvp" => FlowKind::RealNvp,
        ExprKind::Name(name) if name == "iaf" => FlowKind::Iaf,
        ExprKind::Name(name) if name == "spline" => {
            let slip = Slip::new(
                "`flow(spline)` is not supported yet",
                kind.span,
                "this kind",
                "use `flow(realnvp)` or `flow(iaf)`, whose layers are affine",
            );
            return Err(Slip { code: Code::E0404, ..slip });
        }
        kind_of => {
            let found = match kind_of {
                ExprKind::Name(name) => format!(", found `{name}`"),
                _ => String::new(),
            };
            let message = format!("the kind of a flow is `realnvp` or `iaf`{found}");
            return Err(Slip::new(message, kind.span, "not a kind of flow", help));
        }
    };
    let depth = match depth {
        None => DEPTH,
        Some(e) => whole(e, MOST_BLOCKS).ok_or_else(|| {
            let message = format!("the depth of a flow is a whole number from 1 to {MOST_BLOCKS}");
            Slip::new(message, e.span, "not such a number", "write for example `depth = 2`")
        })?,
    };
    let hidden = match hidden {
        None => None,
        Some(e) => Some(whole(e, i64::from(u16::MAX)).ok_or_else(|| {
            let message = "the hidden units of a flow are a whole number of at least 1";
            Slip::new(message, e.span, "not such a number", "write for example `hidden = 32`")
        })?),
    };
    Ok(Flow { kind, depth, hidden })
}

fn mixture(args: &[Arg], span: Span) -> Result<Family, Slip> {
    let help = "write for example `mixture(3)` or `mixture(2, full_rank)`";
    let [number, of] = placed(["k", "family"], args, "mixture")?;
    let components = number.and_then(|e| whole(e, MOST_COMPONENTS)).filter(|&k| k > 1).ok_or_else(|| {
        let message = format!("`mixture` takes the number of its components, from 2 to {MOST_COMPONENTS}");
        Slip::new(message, number.map_or(span, |e| e.span), "not such a number", help)
    })?;
    let Some(e) = of else { return Ok(Family::Mixture { components, of: Component::MeanField }) };
    let of = match read(e)? {
        Some(Family::MeanField) => Component::MeanField,
        Some(Family::FullRank) => Component::FullRank,
        Some(Family::LowRank(rank)) => Component::LowRank(rank),
        _ => {
            let message = "the components of a `mixture` are `mean_field`, `full_rank` or `low_rank(k)`";
            return Err(Slip::new(message, e.span, "no component", help));
        }
    };
    Ok(Family::Mixture { components, of })
}

fn dropout(args: &[Arg], span: Span) -> Result<f64, Slip> {
    let [rate] = placed(["rate"], args, "dropout")?;
    let wrong = || {
        let message = "`dropout` takes its rate, a number between 0 and 1";
        Slip::new(message, rate.map_or(span, |e| e.span), "not such a number", "write for example `dropout(0.1)`")
    };
    let rate = match rate.map(|e| &e.kind) {
        Some(ExprKind::Real(x)) => *x,
        Some(ExprKind::Int(n)) => *n as f64,
        Some(ExprKind::Unary(UnaryOp::Neg, _)) | Some(_) | None => return Err(wrong()),
    };
    if rate > 0.0 && rate < 1.0 { Ok(rate) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_read_from_their_words() {
        let flow = |kind, depth, hidden| Family::Flow(Flow { kind, depth, hidden });
        let cases = [
            ("mean_field", Family::MeanField),
            ("low_rank", Family::LowRank(None)),
            ("low_rank(4)", Family::LowRank(Some(4))),
            ("low_rank(rank = 4)", Family::LowRank(Some(4))),
            ("flow(realnvp)", flow(FlowKind::RealNvp, 2, None)),
            ("flow(iaf, 3)", flow(FlowKind::Iaf, 3, None)),
            ("flow(iaf, hidden = 8, depth = 1)", flow(FlowKind::Iaf, 1, Some(8))),
            ("mixture(2)", Family::Mixture { components: 2, of: Component::MeanField }),
            ("mixture(k = 5, family = full_rank)", Family::Mixture { components: 5, of: Component::FullRank }),
            ("mixture(3, low_rank(2))", Family::Mixture { components: 3, of: Component::LowRank(Some(2)) }),
            ("dropout(0.25)", Family::Dropout(0.25)),
            ("dropout(rate = .5)", Family::Dropout(0.5)),
            ("laplace", Family::Laplace),
            ("matrix_normal", Family::Later("matrix_normal")),
        ];
        for (text, want) in cases {
            assert_eq!(family(text), Some(Ok(want)), "{text}");
        }
        for text in ["", "mean", "q1", "Normal(0, 1)", "a.b", "low_rank(", "1"] {
            assert_eq!(family(text), None, "{text}");
        }
        let wrong = [
            "mean_field()",
            "low_rank(0)",
            "low_rank()",
            "low_rank(n = 3)",
            "flow",
            "flow()",
            "flow(maf)",
            "flow(spline)",
            "flow(iaf, depth = 0)",
            "flow(iaf, depth = 1.5)",
            "flow(iaf, depht = 2)",
            "flow(iaf, 2, depth = 2)",
            "flow(iaf, 2, 8, 1)",
            "flow(iaf, hidden = 0)",
            "mixture",
            "mixture(1)",
            "mixture(65)",
            "mixture(2, delta)",
            "mixture(2, low_rank(0))",
            "dropout",
            "dropout(0)",
            "dropout(1)",
            "dropout(-0.1)",
        ];
        for text in wrong {
            assert!(matches!(family(text), Some(Err(_))), "{text}: {:?}", family(text));
        }
    }
}
