//! Terms of the log density that no site has of its own: observations, factors, summed-out latents.

use super::{Lowering, Mode};
use crate::check::typed::*;
use crate::dist::Dist;
use crate::ir::ValueId;

/// A term of the log density.
pub struct DataTerm {
    /// What a message calls it.
    pub name: String,
    /// Its elements: one for each independent event [nats].
    pub each: ValueId,
    /// Their sum [nats].
    pub sum: ValueId,
    /// The expression whose shape says whether it has rows.
    pub like: ExprId,
}

impl Lowering<'_> {
    /// The log density of each event of an observation of data that the fit has not seen: a latent that only this
    /// observation has is summed out, one that several share is drawn.
    pub fn held_out_log_prob(&mut self, observation: usize, dist: &Dist) -> ValueId {
        let model = self.model;
        let o = &model.observations[observation];
        let x = self.expr(o.value);
        let shape = self.shape(&self.program.ty(o.value).shape);
        let alone =
            |m: &&Marginal| m.observations == [observation] && self.shape(&self.program.ty(m.value).shape) == shape;
        match model.marginals.iter().find(alone) {
            Some(marginal) => self.expr(marginal.value),
            None => dist.log_prob(&mut self.g, x),
        }
    }

    /// The term of a statement; `None` for a site, whose term depends on where its value comes from.
    pub fn data_term(&mut self, step: &Step) -> Option<DataTerm> {
        let model = self.model;
        let (span, name, like) = match step {
            Step::Site(_) => return None,
            Step::Observe(at) => {
                let o = &model.observations[*at];
                (o.span, format!("the log density of `{}`", o.name), o.value)
            }
            Step::Marginal(at) => {
                let m = &model.marginals[*at];
                let names: Vec<&str> = m.latents.iter().map(|&d| model.discrete[d].name.as_str()).collect();
                (m.span, format!("the log density with `{}` summed out", names.join("`, `")), m.value)
            }
            Step::Factor(e) => (self.program.exprs[*e].span, "a `factor`".to_string(), *e),
        };
        let before = self.g.set_origin(Some(span));
        let value = match step {
            Step::Observe(at) => {
                let dist = self.dist(&model.observations[*at].dist, Mode::Live);
                let x = self.expr(like);
                dist.log_prob(&mut self.g, x)
            }
            _ => {
                let value = self.expr(like);
                self.g.to_real(value)
            }
        };
        let sum = self.g.sum_all(value);
        self.g.set_origin(before);
        Some(DataTerm { name, each: value, sum, like })
    }
}
