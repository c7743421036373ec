//! Stands in for the session until it is there.
use crate::driver::Compilation; use crate::diag::Diagnostics; use crate::report::{Quantity,Fit}; use std::ops::ControlFlow;
pub struct BoundProgram; pub enum Failure{Diagnostics(Diagnostics),Run(String)}
#[derive(Default)] pub struct RunOptions; pub struct Status{pub step:u64,pub total:u64,pub elbo:f64,pub steps_per_sec:f64}
pub trait Observer{fn note(&mut self,t:&str);fn status(&mut self,s:&Status)->ControlFlow<()>;}
pub fn bind(_:&Compilation,_:&mut crate::data::Files,_:&[u8])->Result<BoundProgram,Failure>{Ok(BoundProgram)}
pub fn prior(_:&BoundProgram,_:usize,_:u64)->Result<Vec<Quantity>,Failure>{Err(Failure::Run("not yet".into()))}
pub fn run(_:&BoundProgram,_:&RunOptions,_:&mut dyn Observer)->Result<Fit,Failure>{Err(Failure::Run("not yet".into()))}
