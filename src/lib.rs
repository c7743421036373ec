//! bayesc: a compiler and runtime for `.bayes`, a small probabilistic programming language.
//!
//! The modules stand in the order of the data flow; ARCHITECTURE.md is the map.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod diag;
pub mod driver;
pub mod index;
pub mod nearest;
pub mod rng;
pub mod session;
pub mod source;

pub mod syntax;

pub mod builtins;
pub mod check;

pub mod ir;
pub mod lower;
pub mod ops;

pub mod autodiff;

pub mod exec;
pub mod kernels;

pub mod dist;

pub mod infer;

pub mod data;
pub mod report;

pub mod cli;
pub mod repl;
