//! Text to syntax tree.
//!
//! `lexer` makes tokens; `brackets`, `depth`, `slips` and `layout` read them; `grammar` parses what layout leaves;
//! `build` makes the tree. `recover`, `expected` and `slips` see to it that every slip is reported once, in words.
pub mod ast;
pub mod lexer;
pub mod parse;

mod brackets;
mod build;
mod depth;
mod expected;
mod grammar;
mod layout;
mod recover;
mod slips;

pub use parse::{Fragment, is_incomplete, parse_expression, parse_module, parse_statement_or_item};
pub use slips::nearest;
