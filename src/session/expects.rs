//! The lines of `expect` against the data: the elements that they name must exist, before a long fit begins.

use super::SizeLabels;
use crate::check::expect::{Position, Term};
use crate::check::typed::Program;
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::infer::data::BoundData;
use crate::nearest::nearest;

/// Reports indices and labels that arrays of these sizes do not have.
pub(super) fn check(program: &Program, bound: &BoundData, labels: &SizeLabels, diags: &mut Diagnostics) {
    for side in program.expects.iter().flat_map(|e| e.test.sides()) {
        side.term.statistics(&mut |term| {
            let Term::Statistic { name, shape, element, .. } = term else { return };
            for (size, position) in shape.iter().zip(element) {
                let text = program.size_text(size);
                match position {
                    Position::All => {}
                    Position::At { index, span } => {
                        let n = size.evaluate(&|id| Some(bound.sizes[id])).and_then(|n| usize::try_from(n).ok());
                        if let Some(n) = n.filter(|n| index >= n) {
                            let message =
                                format!("the index {index} is outside `{text}`, which is {n} with these data");
                            let last = n.saturating_sub(1);
                            diags.push(
                                Diagnostic::new(Code::E0903, message)
                                    .label(*span, format!("`{name}` has no such element"))
                                    .help(format!("the last one is {last}")),
                            );
                        }
                    }
                    Position::Label { label, span } => {
                        let known = size.as_name().and_then(|id| labels.get(id)).and_then(Option::as_ref);
                        if known.is_some_and(|known| known.contains(label)) {
                            continue;
                        }
                        let d = Diagnostic::new(Code::E0910, format!("`{name}` has no element `{label}`"));
                        diags.push(match known {
                            None => d
                                .label(*span, format!("`{text}` counts no labels"))
                                .help("write a position, from 0; a size has labels by `levels(…)`"),
                            Some(known) => {
                                let d = d.label(*span, format!("not a label of `{text}`"));
                                match nearest(label, known.iter().map(String::as_str)) {
                                    Some(near) => d.help(format!("there is `{near}`")),
                                    None => d.help(match known.len() {
                                        1..=8 => format!("the labels are `{}`", known.join("`, `")),
                                        n => format!("its {n} labels begin with `{}`", known[..3].join("`, `")),
                                    }),
                                }
                            }
                        });
                    }
                }
            }
        });
    }
}
