//! The parser that pest makes of `grammar/bayes.pest`.
#![allow(missing_docs, reason = "the rules are described in the grammar")]

/// One method: `BayesParser::parse(rule, text)`.
#[derive(pest_derive::Parser)]
#[grammar = "grammar/bayes.pest"]
pub struct BayesParser;
