//! What a run needs at most, counted before it begins.
//!
//! Counted are the data that are in memory (not those that stay in their files), parameters with gradient and optimizer
//! state, the plans of the steps, and draws with the copy that is written, or the plan of scores on held-out data.
//! Not counted are the program itself (some ten megabytes) and what reading a file needs for a moment.

use super::RunError;
use crate::diag::{Code, Diagnostic};
use crate::exec::plan::Options;
use crate::exec::{Executable, Needs, Prepared, Recomputed};
use crate::ir::Graph;
use crate::kernels::Scalar;
use crate::source::Span;
use std::cmp::Reverse;

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
    /// What the plans compute again.
    pub recomputed: Vec<Recomputed>,
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

    /// What is needed after the fit.
    pub fn reported(&self) -> u64 {
        sum(&self.always) + sum(&self.report)
    }

    /// Plans graphs of the fit, `copies` times each, and counts them, before any of their memory is taken. Where all of it is
    /// more than may be, values are computed again in the largest plan, and then in the others, as far as it helps.
    pub fn prepare<F: Scalar>(&mut self, graphs: &[&Graph], options: Options, copies: usize) -> Vec<Prepared<F>> {
        let plan = |graph: &Graph, room| Executable::<F>::prepare(graph, Options { room, ..options });
        let mut plans: Vec<Prepared<F>> = graphs.iter().map(|graph| plan(graph, None)).collect();
        let mut needs: Vec<Needs> = plans.iter().map(|plan| plan.needs(NAMED)).collect();
        let report = self.reported();
        if let Some(limit) = self.limit.filter(|&limit| report <= limit) {
            let mut order: Vec<usize> = (0..plans.len()).collect();
            order.sort_by_key(|&i| Reverse(needs[i].bytes));
            for i in order {
                let others: usize = needs.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, n)| n.bytes).sum();
                let taken = sum(&self.always) + sum(&self.fit) + (others * copies) as u64;
                let room = limit.saturating_sub(taken) / copies.max(1) as u64;
                let room = usize::try_from(room).unwrap_or(usize::MAX);
                if needs[i].bytes > room {
                    plans[i] = plan(graphs[i], Some(room));
                    needs[i] = plans[i].needs(NAMED);
                }
            }
        }
        for needs in needs {
            self.fit.push(("plan", (needs.bytes * copies) as u64));
            self.largest.extend(needs.largest);
            self.recomputed.extend(needs.recomputed.map(|r| Recomputed { without: r.without * copies, ..r }));
        }
        self.largest.sort_by_key(|value| Reverse(value.0));
        self.largest.truncate(NAMED);
        plans
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
        let recomputed = self.recomputed_text().map_or_else(String::new, |text| format!("; {text}"));
        format!("planned peak of memory {}: {}{recomputed}", size_text(self.peak()), self.parts())
    }

    /// What is computed again, and what that costs.
    fn recomputed_text(&self) -> Option<String> {
        let largest = self.recomputed.iter().max_by_key(|r| r.values.len())?;
        let n = largest.values.len();
        let names: Vec<&str> = largest.values.iter().map(|(name, _)| name.as_str()).take(NAMED).collect();
        let more = if n > names.len() { ", …" } else { "" };
        Some(format!(
            "{n} {} computed again rather than kept, at {:.1} % more operations ({}{more}); otherwise the plan would take {}",
            if n == 1 { "value is" } else { "values are" },
            100.0 * (largest.work - 1.0),
            names.join(", "),
            size_text(largest.without as u64),
        ))
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
        if let Some(text) = self.recomputed_text().filter(|_| fitting) {
            d = d.note(text);
        }
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
