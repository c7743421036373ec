//! Whole programs against numbers that are known from elsewhere: closed forms, an independent implementation, exact
//! identities of the estimators. Everything goes through the public interface, with fixed seeds.
//!
//! Tests of averages allow 4.5 standard errors (false alarms below 1 in 100,000 for one number, were the seed free).

#![allow(clippy::needless_range_loop)] // matrices by their indices, as the formulas have them

mod audit;
mod bounds_of_rows;
mod chain_starts;
mod common;
mod conjugate;
mod determinism;
mod digits;
mod discrete;
mod divergence;
mod dropout;
mod eight_schools;
mod ensembles;
mod estimators;
mod exact;
mod families;
mod flows;
mod functions;
mod guides;
mod held_out;
mod in_files;
mod init;
mod kron;
mod library;
mod linearized;
mod loo;
mod loops;
mod matrices;
mod modes;
mod modules;
mod networks;
mod nuts;
mod objectives;
mod operations;
mod optima;
mod pathfinder;
#[allow(dead_code, reason = "the bench uses more of it")]
mod posteriordb;
mod posteriors;
mod programs;
mod properties;
mod resume;
mod sbc;
mod scaling;
mod structured;
mod supports;
mod unseen;
mod wrappers;
