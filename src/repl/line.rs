//! The line editor at a terminal: highlighting, completion, hints, history, input over several lines.

use super::commands::{self, COMMANDS, SETTINGS, Takes};
use super::{Look, doc, wants_more};
use crate::syntax::lexer::{Token, TokenKind, tokenize};
use anstyle::{AnsiColor, Style};
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use std::borrow::Cow;
use std::path::PathBuf;

/// More lines than this of the history file are forgotten.
const HISTORY: usize = 5000;

/// Words that begin an item or a statement.
const STARTERS: &[&str] = &[
    "data", "fn", "generate", "guide", "infer", "keep", "layer", "model", "net", "observe", "param", "size", "use",
    "factor",
];
/// Words that stand for themselves in any place.
const WORDS: &[&str] = &["real", "int", "bool", "over", "inf", "true", "false"];

/// What completion and hints know about the program.
#[derive(Default, Debug)]
pub struct Scope {
    /// Names of values, data, sizes and sites.
    pub names: Vec<String>,
    /// Names of modules.
    pub modules: Vec<String>,
    /// The program's functions and those of its modules, with signatures.
    pub functions: Vec<(String, String)>,
}

/// What came of a line.
pub enum Read {
    /// A whole input.
    Input(String),
    /// Ctrl-C.
    Cancelled,
    /// Ctrl-D.
    End,
}

/// An editor on this terminal.
pub struct Session {
    editor: Editor<Assistant, FileHistory>,
    history: Option<PathBuf>,
}

impl Session {
    /// Sets the terminal up and reads the history.
    ///
    /// Errors: the terminal cannot be used.
    pub fn new(look: Look) -> rustyline::Result<Session> {
        let config = Config::builder()
            .max_history_size(HISTORY)?
            .history_ignore_dups(true)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .color_mode(if look.color { rustyline::ColorMode::Enabled } else { rustyline::ColorMode::Disabled })
            .tab_stop(2)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Assistant {
            scope: Scope::default(),
            files: FilenameCompleter::new(),
            color: look.color,
        }));
        let history = history_file();
        if let Some(path) = &history {
            // It is not there the first time.
            let _ = editor.load_history(path);
        }
        Ok(Session { editor, history })
    }
    /// The columns of the terminal.
    pub fn columns(&mut self) -> Option<u16> {
        let columns = self.editor.dimensions()?.0;
        (columns >= 20).then_some(columns)
    }
    /// What completion and hints are to know.
    pub fn set_scope(&mut self, scope: Scope) {
        if let Some(helper) = self.editor.helper_mut() {
            helper.scope = scope;
        }
    }
    /// Reads one input, which may have several lines.
    pub fn read(&mut self, prompt: &str) -> Read {
        match self.editor.readline(prompt) {
            Ok(text) => {
                if !text.trim().is_empty() {
                    let _ = self.editor.add_history_entry(text.trim_end());
                    self.keep_history();
                }
                Read::Input(text)
            }
            Err(ReadlineError::Interrupted) => Read::Cancelled,
            Err(_) => Read::End,
        }
    }
    /// Writes the history after every input, so that nothing is lost however the process ends.
    fn keep_history(&mut self) {
        let Some(path) = &self.history else { return };
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if folder.and(self.editor.append_history(path).map_err(std::io::Error::other)).is_err() {
            self.history = None;
        }
    }
}

/// Where the history is kept: `BAYESC_HISTORY`, else the user's folder for state.
fn history_file() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(path) = variable("BAYESC_HISTORY") {
        return Some(path);
    }
    let state = variable("XDG_STATE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| std::env::home_dir().map(|home| home.join(".local").join("state")))?;
    Some(state.join("bayesc").join("history"))
}

/// Text with colours, by the lexer of the language.
pub fn highlight(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut at = 0;
    let tokens = tokenize(text);
    for (i, token) in tokens.iter().enumerate() {
        out.push_str(&text[at..token.start]);
        at = token.end;
        let part = token.text(text);
        match style(&tokens, i, text) {
            Some(style) => out.push_str(&format!("{style}{part}{style:#}")),
            None => out.push_str(part),
        }
    }
    out.push_str(&text[at..]);
    out
}

fn style(tokens: &[Token], i: usize, text: &str) -> Option<Style> {
    use TokenKind::*;
    let color = |c: AnsiColor| Some(c.on_default());
    let part = tokens[i].text(text);
    match tokens[i].kind {
        Comment(_) | HashComment => Some(Style::new().dimmed()),
        Number(_) | Real | Inf | True | False => color(AnsiColor::Cyan),
        Str | UnclosedStr | SingleQuoted => color(AnsiColor::Green),
        If | Else | For | In | Return | And | Or | Not => color(AnsiColor::Magenta),
        Tilde => Some(Style::new().bold()),
        Unknown => color(AnsiColor::Red),
        Name => {
            let begins = tokens[..i].last().is_none_or(|t| t.kind == Newline);
            let called = tokens.get(i + 1).is_some_and(|t| t.kind == LParen);
            let named = |k: usize| tokens.get(k).is_some_and(|t| matches!(t.kind, Assign | Tilde | LBracket));
            if begins && STARTERS.contains(&part) && !named(i + 1) {
                color(AnsiColor::Magenta)
            } else if doc::is_family(part) {
                Some(AnsiColor::Yellow.on_default())
            } else if called && !doc::signatures(part).is_empty() {
                color(AnsiColor::Blue)
            } else if matches!(part, "real" | "int" | "bool") {
                color(AnsiColor::Magenta)
            } else {
                None
            }
        }
        _ => None,
    }
}

/// What the editor asks while a line is typed.
struct Assistant {
    scope: Scope,
    files: FilenameCompleter,
    color: bool,
}

impl Helper for Assistant {}

impl Validator for Assistant {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        // An empty last line ends what cannot be ended otherwise.
        let text = ctx.input();
        let given_up = text.ends_with("\n\n");
        Ok(if wants_more(text) && !given_up { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if !self.color {
            return Cow::Borrowed(line);
        }
        let Some(command) = line.trim_start().strip_prefix(':') else { return Cow::Owned(highlight(line)) };
        let (name, _) = commands::split(command);
        let style = match commands::find(name) {
            Ok(_) => AnsiColor::Magenta.on_default(),
            Err(_) => AnsiColor::Red.on_default(),
        };
        let begin = line.len() - command.len() - 1;
        let end = begin + 1 + name.len();
        if end > line.len() || !line[begin + 1..].starts_with(name) {
            return Cow::Borrowed(line);
        }
        let rest = match commands::find(name) {
            Ok(c) if c.takes == Takes::Expression => highlight(&line[end..]),
            _ => line[end..].to_string(),
        };
        Cow::Owned(format!("{}{style}{}{style:#}{rest}", &line[..begin], &line[begin..end]))
    }
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if !self.color {
            return Cow::Borrowed(prompt);
        }
        let style = AnsiColor::Green.on_default().bold();
        Cow::Owned(format!("{style}{prompt}{style:#}"))
    }
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        let style = Style::new().dimmed();
        if self.color { Cow::Owned(format!("{style}{hint}{style:#}")) } else { Cow::Borrowed(hint) }
    }
    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor && self.color
    }
}

/// Text that is shown behind the cursor; it cannot be taken over.
pub struct Signature(String);

impl Hint for Signature {
    fn display(&self) -> &str {
        &self.0
    }
    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Assistant {
    type Hint = Signature;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Signature> {
        if pos < line.len() {
            return None;
        }
        hint(line, &self.scope).map(Signature)
    }
}

/// What is still to be typed of the innermost open call, or the arguments of a command.
pub fn hint(line: &str, scope: &Scope) -> Option<String> {
    if let Some(command) = line.trim_start().strip_prefix(':') {
        let (name, rest) = commands::split(command);
        let command = commands::find(name).ok()?;
        if rest.is_empty() && command.name == name && !command.arguments.is_empty() {
            let blank = if line.ends_with(' ') { "" } else { " " };
            return Some(format!("{blank}{}", command.arguments));
        }
    }
    let tokens: Vec<Token> = tokenize(line);
    let mut open: Vec<usize> = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => open.push(i),
            TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace => {
                open.pop();
            }
            _ => {}
        }
    }
    let at = *open.last().filter(|&&i| tokens[i].kind == TokenKind::LParen)?;
    let callee = called(&tokens, at, line)?;
    let signature = scope
        .functions
        .iter()
        .find(|(name, _)| *name == callee)
        .map(|(_, signature)| signature.clone())
        .or_else(|| doc::signatures(&callee).into_iter().next())?;
    // Arguments that are complete.
    let mut depth = 0;
    let mut commas = 0;
    for token in &tokens[at + 1..] {
        match token.kind {
            TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => depth += 1,
            TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace => depth -= 1,
            TokenKind::Comma if depth == 0 => commas += 1,
            _ => {}
        }
    }
    let begun = tokens.last().is_some_and(|t| !matches!(t.kind, TokenKind::LParen | TokenKind::Comma));
    let params = parameters(&signature);
    let left = params.get(commas + usize::from(begun)..)?.join(", ");
    if left.is_empty() {
        return Some(")".into()).filter(|_| begun);
    }
    let glue = match tokens.last().map(|t| t.kind) {
        Some(TokenKind::Comma) if !line.ends_with(' ') => " ",
        _ if begun => ", ",
        _ => "",
    };
    Some(format!("{glue}{left})"))
}

/// The name before the bracket at `open`, dots included.
fn called(tokens: &[Token], open: usize, line: &str) -> Option<String> {
    let mut first = open.checked_sub(1).filter(|&i| tokens[i].kind == TokenKind::Name)?;
    while first >= 2 && tokens[first - 1].kind == TokenKind::Dot && tokens[first - 2].kind == TokenKind::Name {
        first -= 2;
    }
    Some(line[tokens[first].start..tokens[open - 1].end].to_string())
}

/// The parameters between the outer brackets of a signature.
fn parameters(signature: &str) -> Vec<&str> {
    let Some(open) = signature.find('(') else { return Vec::new() };
    let mut out = Vec::new();
    let mut depth = 0;
    let mut start = open + 1;
    for (i, c) in signature[open..].char_indices().map(|(i, c)| (i + open, c)) {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 1 => {
                out.push(signature[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
        if depth == 0 {
            let last = signature[start..i].trim();
            if !last.is_empty() {
                out.push(last);
            }
            break;
        }
    }
    out
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, ctx: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        if let Some(command) = line[..pos].trim_start().strip_prefix(':') {
            let typed = command.find(char::is_whitespace).map(|_| commands::split(command).0);
            if let Some(Ok(command)) = typed.map(commands::find)
                && command.takes == Takes::File
            {
                return self.files.complete(line, pos, ctx);
            }
        }
        let (start, words) = complete(&line[..pos], &self.scope);
        Ok((start, words.into_iter().map(|w| Pair { display: w.clone(), replacement: w }).collect()))
    }
}

/// Where the word before the cursor begins, and all that it may become, sorted.
pub fn complete(before: &str, scope: &Scope) -> (usize, Vec<String>) {
    let begin = |c: char| before.rfind(c).map_or(0, |i| i + c.len_utf8());
    let word = before
        .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
        .map_or(0, |i| i + before[i..].chars().next().map_or(1, char::len_utf8));
    let mut candidates: Vec<String> = Vec::new();
    let mut start = word;
    let command = before.trim_start().strip_prefix(':');
    match command.map(|c| (c, c.find(char::is_whitespace))) {
        Some((_, None)) => {
            start = begin(':');
            candidates.extend(COMMANDS.iter().map(|c| c.name.to_string()));
        }
        Some((text, Some(_))) => match commands::find(commands::split(text).0).map(|c| c.takes) {
            Ok(Takes::Expression) => candidates.extend(expression_words(scope)),
            Ok(Takes::Name) => {
                candidates.extend(scope.names.iter().cloned());
                candidates.extend(scope.functions.iter().map(|(name, _)| name.clone()));
                candidates.extend(doc::families().chain(doc::functions()).map(String::from));
                candidates.extend(crate::check::modules::LIBRARY.iter().map(|(name, _)| name.to_string()));
                if before[..word].ends_with(':') {
                    candidates = COMMANDS.iter().map(|c| c.name.to_string()).collect();
                }
            }
            Ok(Takes::Setting) => candidates.extend(SETTINGS.iter().map(|(name, _)| name.to_string())),
            _ => {}
        },
        None => {
            let first = before[..word].trim();
            if first == "use" {
                candidates.extend(crate::check::modules::LIBRARY.iter().map(|(name, _)| name.to_string()));
            } else {
                if first.is_empty() || first.ends_with('\n') {
                    candidates.extend(STARTERS.iter().map(|w| format!("{w} ")));
                }
                candidates.extend(WORDS.iter().map(|w| w.to_string()));
                candidates.extend(expression_words(scope));
            }
        }
    }
    let typed = &before[start..];
    candidates.retain(|c| c.starts_with(typed));
    candidates.sort();
    candidates.dedup();
    (start, candidates)
}

/// All that may stand in an expression; what is called comes with its bracket.
fn expression_words(scope: &Scope) -> Vec<String> {
    let called = doc::families().chain(doc::functions()).map(|name| format!("{name}("));
    let own = scope.functions.iter().map(|(name, _)| format!("{name}("));
    let modules = scope.modules.iter().map(|name| format!("{name}."));
    scope.names.iter().cloned().chain(own).chain(modules).chain(called).collect()
}
