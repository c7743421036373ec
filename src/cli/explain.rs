//! `bayesc explain`: the page of a code.

use super::args::{Explain, Format};
use super::markdown;
use super::shell::{Exit, Shell, grid};
use crate::diag::Code;
use crate::nearest::nearest;
use serde_json::{Value, json};

/// Prints the page of one code, or the list of all.
pub fn explain(args: &Explain, shell: &mut Shell) -> Result<(), Exit> {
    shell.json = args.format.format == Format::Json;
    let Some(name) = &args.code else { return list(shell) };
    let Some(code) = find(name) else {
        let names = Code::ALL.iter().map(|c| c.name());
        let help = match nearest(&name.to_uppercase(), names) {
            Some(near) => format!("there is `{near}`; `bayesc explain` lists them all"),
            None => "`bayesc explain` lists them all".into(),
        };
        return Err(shell.fail_with_help(Exit::CommandLine, format!("no message has the code `{name}`"), Some(&help)));
    };
    shell.set("code", code.name());
    shell.set("title", code.title());
    shell.set("page", code.page());
    let text = markdown::render(code.page(), &shell.out);
    shell.print(&text)
}

/// `E0301`, `e0301`, `error[E0301]`, `301`.
fn find(name: &str) -> Option<Code> {
    let name = name.trim().trim_start_matches("error").trim_start_matches("warning").trim_matches(['[', ']', ':']);
    let number = name.chars().all(|c| c.is_ascii_digit()).then(|| name.parse::<u32>().ok()).flatten();
    Code::from_name(name).or_else(|| Code::from_name(&format!("E{:04}", number?)))
}

fn list(shell: &mut Shell) -> Result<(), Exit> {
    let codes: Vec<Value> = Code::ALL.iter().map(|c| json!({ "code": c.name(), "title": c.title() })).collect();
    shell.set("codes", codes);
    let rows: Vec<Vec<String>> = Code::ALL.iter().map(|c| vec![c.name().into(), c.title().into()]).collect();
    let text = grid(&["code", "about"], &rows, &shell.out);
    shell.print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_as_people_write_them() {
        for name in ["E0301", "e0301", "error[E0301]", "301", "0301"] {
            assert_eq!(find(name), Some(Code::E0301), "{name}");
        }
        assert_eq!(find("W0001"), Some(Code::W0001));
        assert_eq!(find("E9999"), None);
        assert_eq!(find(""), None);
    }
}
