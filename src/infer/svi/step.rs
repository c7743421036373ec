//! One compiled step: its graph, its plan, and how it is given parameters and rows.

use crate::check::typed::ExprId;
use crate::exec::Executable;
use crate::infer::ahead::Ahead;
use crate::infer::elbo::ElboGraph;
use crate::infer::optim::sum_squares;
use crate::kernels::Scalar;
use crate::lower::{DataInput, Slots};
use crate::rng::Key;

/// One compiled step.
pub(super) struct Step<F> {
    pub(super) graph: ElboGraph,
    pub(super) exe: Executable<F>,
    /// The same step without its gradient, for the log ratios of rows, where weights follow from those.
    pub(super) forward: Option<(ElboGraph, Executable<F>)>,
}

impl<F: Scalar> Step<F> {
    /// The Euclidean norm of the gradient of the last run.
    pub(super) fn norm(&self, slots: &Slots) -> f64 {
        let squares = (0..slots.list.len()).map(|at| sum_squares(self.exe.output(3 + at)));
        squares.sum::<f64>().sqrt()
    }
    pub(super) fn give_params(&mut self, slots: &Slots, params: &[F]) {
        for (slot, &input) in slots.list.iter().zip(&self.graph.slots) {
            self.exe.set_data(input, &params[slot.offset..slot.offset + slot.shape.count()]);
        }
    }
    pub(super) fn give_indices(&mut self, batch: &[usize]) {
        let Some(input) = self.graph.rows else { return };
        let place = self.exe.input_mut(input);
        place.iter_mut().zip(batch).for_each(|(to, &row)| *to = F::from_usize(row));
    }
    /// Gives the step without gradient the rows and the parameters that this one was given.
    pub(super) fn give_forward(&mut self) {
        let Some((forward, forward_exe)) = &mut self.forward else { return };
        let same = |d: &DataInput| {
            let other = forward.inputs.iter().find(|f| f.expr == d.expr).expect("both read the same data");
            (d.input, other.input)
        };
        let inputs = self.graph.inputs.iter().filter(|d| d.rows).map(same);
        let slots = self.graph.slots.iter().copied().zip(forward.slots.iter().copied());
        for (from, to) in inputs.chain(slots).chain(self.graph.rows.zip(forward.rows)) {
            forward_exe.set_data(to, self.exe.input(from));
        }
    }
    /// The log ratios of the rows of one draw, without its gradient.
    pub(super) fn ratios(&mut self, key: Key) -> &[F] {
        let (forward, exe) = self.forward.as_mut().expect("rows that are bounds of their own are evaluated first");
        exe.run(&[], key);
        exe.output(forward.of_rows.expect("each row has a ratio").ratios)
    }
    /// The expressions whose rows a step takes, each with its elements in one of the `rows` rows of the step.
    pub(super) fn row_exprs(&mut self, rows: usize) -> Vec<(ExprId, usize)> {
        let Step { graph, exe, .. } = self;
        let unit = |d: &DataInput| (d.expr, exe.input_mut(d.input).len() / rows.max(1));
        graph.inputs.iter().filter(|d| d.rows).map(unit).filter(|(_, unit)| *unit > 0).collect()
    }
    /// Takes the rows that were read ahead for it.
    pub(super) fn take_rows(&mut self, ahead: &mut Ahead<F>, exprs: &[(ExprId, usize)]) {
        let Step { graph, exe, .. } = self;
        let taken = ahead.take(|batch| {
            for d in graph.inputs.iter().filter(|d| d.rows) {
                let place = exe.input_mut(d.input);
                if let Some(at) = exprs.iter().position(|(e, _)| *e == d.expr)
                    && place.len() == batch[at].len()
                {
                    place.copy_from_slice(&batch[at]);
                }
            }
        });
        assert!(taken, "the thread that reads rows ahead has failed");
    }
    pub(super) fn copy_gradient(&self, slots: &Slots, gradient: &mut [F]) {
        for (at, slot) in slots.list.iter().enumerate() {
            let place = &mut gradient[slot.offset..slot.offset + slot.shape.count()];
            place.iter_mut().zip(self.exe.output(3 + at)).for_each(|(g, &d)| *g = d);
        }
    }
    /// Copies the scores, which follow the gradient.
    pub(super) fn copy_scores(&self, slots: &Slots, scores: &mut [F]) {
        for (at, slot) in slots.list.iter().enumerate() {
            let place = &mut scores[slot.offset..slot.offset + slot.shape.count()];
            place.copy_from_slice(self.exe.output(3 + slots.list.len() + at));
        }
    }
    /// Chooses the noise of the next run or its mirror image, where there is a choice.
    pub(super) fn mirror(&mut self, mirrored: bool) {
        if let Some(sign) = self.graph.sign {
            self.exe.set_data(sign, &[F::from_f64(if mirrored { -1.0 } else { 1.0 })]);
        }
    }
    pub(super) fn add_gradient(&self, slots: &Slots, gradient: &mut [F]) {
        for (at, slot) in slots.list.iter().enumerate() {
            let place = &mut gradient[slot.offset..slot.offset + slot.shape.count()];
            place.iter_mut().zip(self.exe.output(3 + at)).for_each(|(g, &d)| *g += d);
        }
    }
}
