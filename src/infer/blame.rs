//! A failed run as a diagnostic: the place in the program that is to blame, what happened there, one thing to do.

use super::RunError;
use crate::diag::{Code, Diagnostic};

impl RunError {
    /// The message with its place in the program, for the same renderer as all others. Code E1001 for a number that is not
    /// finite, E1002 for what cannot be fitted, E1003 for too little memory, E1004 for a density without a peak.
    pub fn diagnostic(&self) -> Diagnostic {
        if let RunError::NoStart { cause, .. } = self {
            let mut d = cause.diagnostic();
            d.message = self.to_string();
            // A chain has no learning rate.
            if d.help.as_ref().is_none_or(|h| h.contains("learning rate")) {
                d.help = Some("use tighter priors, so that points near the origin are possible".into());
            }
            return d.note("starting points lie about the origin of unconstrained space");
        }
        if let RunError::Data(error) = self {
            let d = *error.as_ref().clone().into_diagnostic();
            return d.note("the file could be read when the run began");
        }
        if let RunError::Memory(memory) = self {
            return memory.diagnostic();
        }
        let peakless = |help: &str| Diagnostic::new(Code::E1004, self.to_string()).help(help);
        match self {
            RunError::NoMaximum { .. } => {
                return peakless(
                    "give scales that can come close to 0 a prior that keeps them away, such as \
                     `LogNormal(0, 1)`, or fit by `--infer nuts`, which needs no maximum",
                );
            }
            RunError::NoPeak { .. } => {
                return peakless(
                    "give it a prior that says more, see that no other site can make up for it, or fit by \
                     `--infer nuts`, which needs no peak",
                );
            }
            RunError::NotReached { .. } => return peakless("set `steps` higher, or fit by `--infer nuts`"),
            _ => {}
        }
        let RunError::NotFinite { what, step, value, origin } = self else {
            let d = Diagnostic::new(Code::E1002, self.to_string());
            return match self.span() {
                Some(span) => d.label(span, "the first number that is not finite comes from here"),
                None => d,
            };
        };
        let mut message = format!("{what} is {value}");
        if let Some(step) = step {
            message += &format!(" at step {step}");
        }
        let mut d = Diagnostic::new(Code::E1001, message);
        let Some((span, op)) = *origin else {
            return d.help("try a smaller learning rate, or `clip = 10`");
        };
        let (reason, help) = story(op);
        let reason = match reason {
            Some(reason) => format!("the first number that is not finite comes from here: {reason}"),
            None => format!("the first number that is not finite comes from here, by `{op}`"),
        };
        d = match span {
            Some(span) => d.label(span, reason),
            None => d.note(reason),
        };
        d.help(help)
    }
}

/// What must have happened when `op` is the first to give a number that is not finite, and what to do about it.
fn story(op: &str) -> (Option<&'static str>, &'static str) {
    match op {
        "log" => (
            Some("the logarithm of 0 or of a negative number"),
            "keep the argument positive: declare the site or parameter behind it `in 0..`, or take `softplus` of it",
        ),
        "log1p" => (Some("the logarithm of 0 or of a negative number"), "keep the argument above -1"),
        "log1m_exp" => (Some("the logarithm of 1 - e^x for an x that is not negative"), "keep the argument below 0"),
        "log_sub_exp" => {
            (Some("the logarithm of a difference that is not positive"), "see that the larger value comes first")
        }
        "sqrt" | "rsqrt" => (
            Some("the square root of a negative number, or its slope at 0"),
            "keep the argument positive, for example with `maximum(x, 1e-12)`",
        ),
        "cholesky" => (
            Some("the factor of a matrix that is not positive definite"),
            "add a small number to its diagonal: `k + 1e-6 * eye(n)` is positive definite if `k` almost is",
        ),
        "solve_triangular" => {
            (Some("a triangular matrix with a 0 on its diagonal"), "see that no entry of the diagonal is 0")
        }
        "gather" | "pick" => (
            Some("an index outside its range"),
            "declare the range of the ints, `int[N] in 0..K`, so that wrong ones are found before the run",
        ),
        "div" | "recip" => (Some("a division by 0, or a quotient beyond all numbers"), "keep the divisor away from 0"),
        "exp" | "expm1" | "cosh" | "sinh" => (
            Some("an exponential beyond the largest number"),
            "work with the logarithm, or use tighter priors; a smaller learning rate keeps the first steps shorter",
        ),
        "pow" => (
            Some("a power of a negative number, or one beyond the largest number"),
            "keep the base positive, and the exponent moderate",
        ),
        "lgamma" | "digamma" | "lbeta" => (Some("a pole of the gamma function"), "keep the argument positive"),
        "ndtri" | "erfinv" | "asin" | "acos" | "softplus_inv" => {
            (Some("an argument outside the domain of the function"), "keep the argument inside its domain")
        }
        "select" => (
            Some("a value that the distribution cannot give"),
            "see that parameters and data are inside the distribution's range for every value of the sites",
        ),
        "input" => (
            Some("the value itself is not finite"),
            "try a smaller learning rate, or `clip = 10`; if it is a datum, look for missing values",
        ),
        _ => (None, "try a smaller learning rate, `clip = 10`, or tighter priors"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Idx;
    use crate::source::{FileId, Span};

    #[test]
    fn the_place_the_step_and_the_reason_are_named() {
        let span = Span::new(FileId::new(0), 3, 5);
        let error = RunError::NotFinite {
            what: "the log density of `y`".into(),
            step: Some(7),
            value: f64::NAN,
            origin: Some((Some(span), "cholesky")),
        };
        let d = error.diagnostic();
        assert_eq!((d.code, d.span()), (Code::E1001, Some(span)));
        assert_eq!(d.message, "the log density of `y` is NaN at step 7");
        assert!(d.labels[0].message.contains("not positive definite") && d.help.is_some());
    }

    #[test]
    fn what_cannot_be_fitted_has_no_place() {
        let d = RunError::Unsupported("this cannot be".into()).diagnostic();
        assert_eq!((d.code, d.span(), d.message.as_str()), (Code::E1002, None, "this cannot be"));
    }

    #[test]
    fn operations_without_a_story_are_named() {
        let error = RunError::NotFinite {
            what: "the ELBO".into(),
            step: None,
            value: f64::INFINITY,
            origin: Some((None, "matmul")),
        };
        let d = error.diagnostic();
        assert!(d.message == "the ELBO is inf" && d.notes[0].contains("`matmul`"), "{d:?}");
    }
}
