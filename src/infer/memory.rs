//! What a run needs at most, counted before it begins.
//!
//! Counted are the data that are in memory (not those that stay in their files), parameters with gradient and optimizer
//! state, the plans of the steps, and draws with the copy that is written, or the plan of scores on held-out data.
//! Not counted are the program itself (some ten megabytes) and what reading a file needs for a moment.

use super::RunError;
use crate::diag::{Code, Diagnostic};
use crate::exec::plan::Options;
use crate::exec::{Executable, Needs};
use crate::ir::Graph;
use crate::kernels::Scalar;
use crate::source::Span;

/// Values that are named in a refusal, at most.
const NAMED: usize = 5;

/// The needs of a run [bytes].
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Memory {
    /// What may not be exceeded.
    pub limit: Option<u64>,
    /// From the beginning to the end.
    pub always: Vec<(&'static str, u64)>,
    /// During the fit.
    pub fit: Vec<(&'static str, u64)>,
    /// After it, for what is reported.
    pub report: Vec<(&'static str, u64)>,
    /// The largest values of the plans: bytes, operation with shape, place.
    pub largest: Vec<(u64, String, Option<Span>)>,
}

fn sum(parts: &[(&'static str, u64)]) -> u64 {
    parts.iter().map(|(_, bytes)| bytes).sum()
}

impl Memory {
    /// Nothing yet.
    pub fn new(limit: Option<u64>) -> Self {
        Self { limit, ..Self::default() }
    }
    /// The most that is needed at one time.
    pub fn peak(&self) -> u64 {
        sum(&self.always) + sum(&self.fit).max(sum(&self.report))
    }

    /// Plans a graph of the fit `copies` times and counts it, before any of its memory is taken.
    ///
    /// # Errors
    /// [`RunError::Memory`] when the run would need more than it may.
    pub fn compile<F: Scalar>(
        &mut self,
        graph: &Graph,
        options: Options,
        copies: usize,
    ) -> Result<Executable<F>, RunError> {
        let plan = Executable::<F>::prepare(graph, options);
        self.count(plan.needs(NAMED), copies)?;
        Ok(plan.build())
    }

    /// Counts the plan of a graph of the fit, of which there are `copies`.
    ///
    /// # Errors
    /// [`RunError::Memory`] when the run would need more than it may.
    pub fn count(&mut self, needs: Needs, copies: usize) -> Result<(), RunError> {
        self.fit.push(("plan", needs.bytes as u64 * copies as u64));
        self.largest.extend(needs.largest);
        self.largest.sort_by_key(|value| std::cmp::Reverse(value.0));
        self.largest.truncate(NAMED);
        self.check()
    }

    /// # Errors
    /// [`RunError::Memory`] when more is needed than may be.
    pub fn check(&self) -> Result<(), RunError> {
        match self.limit {
            Some(limit) if self.peak() > limit => Err(RunError::Memory(Box::new(self.clone()))),
            _ => Ok(()),
        }
    }

    /// The parts in words, equal names together: `data 12.1 MiB, plan 61.6 MiB`.
    fn parts(&self) -> String {
        let later = if sum(&self.fit) >= sum(&self.report) { &self.fit } else { &self.report };
        let mut parts: Vec<(&str, u64)> = Vec::new();
        for &(name, bytes) in self.always.iter().chain(later) {
            match parts.iter_mut().find(|(n, _)| *n == name) {
                Some((_, all)) => *all += bytes,
                None => parts.push((name, bytes)),
            }
        }
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(name, bytes)| format!("{name} {}", size_text(bytes)))
            .collect();
        parts.join(", ")
    }

    /// `memory: 83.2 MiB at most: data 12.1 MiB, plan 61.6 MiB, …`
    pub fn text(&self) -> String {
        format!("planned peak of memory {}: {}", size_text(self.peak()), self.parts())
    }

    /// The refusal.
    pub(super) fn diagnostic(&self) -> Diagnostic {
        let limit = size_text(self.limit.unwrap_or(u64::MAX));
        let message = format!("the run needs {} of memory, and `--max-memory` allows {limit}", size_text(self.peak()));
        let mut d = Diagnostic::new(Code::E1003, message).note(format!("this is {}", self.parts()));
        for (bytes, what, span) in &self.largest {
            let text = format!("{what} takes {}", size_text(*bytes));
            d = match span {
                Some(span) if !d.labels.iter().any(|l| l.span == *span) => d.label(*span, text),
                _ => d.note(text),
            };
        }
        let fitting = sum(&self.fit) >= sum(&self.report);
        d.note("particles are computed one after the other in the same memory: fewer of them save none").help(
            if fitting {
                "use a smaller `minibatch`, or f32: `--precision f32`"
            } else {
                "ask for fewer draws, for example `--set draws=200`"
            },
        )
    }
}

/// A number of bytes as people read it: `512 B`, `61.6 MiB`.
pub fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut x = bytes as f64 / 1024.0;
    let mut unit = 0;
    while x >= 1023.95 && unit + 1 < UNITS.len() {
        x /= 1024.0;
        unit += 1;
    }
    format!("{x:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_people() {
        let texts = [0, 1023, 1024, 64_589_312, 1 << 30, (1 << 30) - 1].map(size_text);
        assert_eq!(texts, ["0 B", "1023 B", "1.0 KiB", "61.6 MiB", "1.0 GiB", "1.0 GiB"]);
    }

    #[test]
    fn the_peak_is_the_larger_of_fit_and_report() {
        let mut memory = Memory::new(Some(3000));
        memory.always.push(("data", 1000));
        memory.fit.push(("plan", 1500));
        memory.fit.push(("plan", 500));
        memory.report.push(("draws", 900));
        assert_eq!(memory.peak(), 3000);
        assert_eq!(memory.check(), Ok(()));
        assert_eq!(memory.text(), "planned peak of memory 2.9 KiB: data 1000 B, plan 2.0 KiB");
        memory.report.push(("draws", 1200));
        let Err(RunError::Memory(refused)) = memory.check() else { panic!("3100 are more than 3000") };
        assert!(refused.diagnostic().help.is_some_and(|h| h.contains("draws")));
    }
}
