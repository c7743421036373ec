//! Text to syntax tree.
//!
//! `lexer` makes tokens; `brackets`, `depth`, `slips` and `layout` read them; `grammar` parses what layout leaves;
//! `build` makes the tree. `recover`, `expected` and `slips` see to it that every slip is reported once, in words.
pub mod ast;
pub mod format;
pub mod lexer;
pub mod parse;
pub mod print;

mod brackets;
mod build;
mod depth;
mod expected;
mod grammar;
mod layout;
mod recover;
mod slips;

#[cfg(test)]
mod messages;
#[cfg(test)]
pub(crate) mod roundtrip;

pub use lexer::{Token, TokenKind, tokenize};
pub use parse::{Fragment, is_incomplete, parse_expression, parse_module, parse_statement_or_item};
pub use print::{print_expr, print_item, print_module, print_stmt, print_type};
