//! Diagnostics as JSON: lines and columns from 1, columns in characters.

use super::{Diagnostic, Diagnostics, Severity};
use crate::source::{Sources, Span};
use serde_json::{Value, json};

/// One message: `code`, `severity`, `message`, the primary place as `file`, `start`, `end` (null without one), `labels`,
/// `notes`, `help` and `fix` (null without one).
pub fn to_json(diagnostic: &Diagnostic, sources: &Sources) -> Value {
    let mut object = json!({
        "code": diagnostic.code.name(),
        "severity": severity(diagnostic.severity),
        "message": diagnostic.message,
    });
    place(&mut object, diagnostic.span(), sources);
    let labels = diagnostic.labels.iter().map(|l| {
        let mut label = json!({ "message": l.message });
        place(&mut label, Some(l.span), sources);
        label
    });
    object["labels"] = labels.collect();
    object["notes"] = json!(diagnostic.notes);
    object["help"] = json!(diagnostic.help);
    object["fix"] = diagnostic.fix.as_ref().map_or(Value::Null, |f| {
        let mut fix = json!({ "replacement": f.replacement });
        place(&mut fix, Some(f.span), sources);
        fix
    });
    object
}

/// All messages in the order of their places: the value of the key `diagnostics` of every JSON document.
pub fn all_to_json(diagnostics: &Diagnostics, sources: &Sources) -> Value {
    let mut sorted = diagnostics.clone();
    sorted.sort();
    sorted.iter().map(|d| to_json(d, sources)).collect()
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// Adds `file`, `start` and `end`.
fn place(object: &mut Value, span: Option<Span>, sources: &Sources) {
    let Some(span) = span else {
        for key in ["file", "start", "end"] {
            object[key] = Value::Null;
        }
        return;
    };
    let file = sources.file(span.file);
    let at = |offset: u32| {
        let (line, column) = file.line_column(offset as usize);
        json!({ "line": line, "column": column })
    };
    object["file"] = json!(file.name);
    object["start"] = at(span.start);
    object["end"] = at(span.end);
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::*;

    #[test]
    fn columns_count_characters_from_one() {
        let mut sources = Sources::default();
        let file = sources.add("m.bayes", None, "a\nμμ ~ b");
        let d = Diagnostic::new(Code::E0101, "m").label(Span::new(file, 7, 8), "l").fix(Span::new(file, 7, 8), "=");
        let json = to_json(&d, &sources);
        assert_eq!(json["code"], "E0101");
        assert_eq!(json["severity"], "error");
        assert_eq!(json["file"], "m.bayes");
        assert_eq!(json["start"], json!({ "line": 2, "column": 4 }));
        assert_eq!(json["end"], json!({ "line": 2, "column": 5 }));
        assert_eq!(json["labels"][0]["message"], "l");
        assert_eq!(json["fix"]["replacement"], "=");
        assert_eq!(json["help"], Value::Null);
    }

    #[test]
    fn a_message_without_a_place_has_nulls() {
        let json = to_json(&Diagnostic::new(Code::E0101, "m"), &Sources::default());
        assert_eq!(json["file"], Value::Null);
        assert_eq!(json["start"], Value::Null);
        assert_eq!(json["labels"], json!([]));
    }
}
