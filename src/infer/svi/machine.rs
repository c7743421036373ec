//! What a fit runs on and what stays the same from step to step: compiled steps, data, keys, room for gradients.
//!
//! Everything that moves is in [`Course`](super::course::Course).

use super::Svi;
use super::by_rows::ByRows;
use super::group::Group;
use super::step::Step;
use crate::infer::data::Store;
use crate::infer::profile::Laps;
use crate::kernels::Scalar;
use crate::rng::Key;

/// Up to so many parameters, their gradients are put together before the optimizer takes them.
const FEW: usize = 1 << 12;

/// What a fit runs on.
pub struct Machine<'a, 'p, F> {
    pub(super) svi: &'a Svi<'p>,
    /// A step with the usual number of rows.
    pub(super) whole: Step<F>,
    /// The last step of an epoch, where it is shorter.
    pub(super) short: Option<Step<F>>,
    /// The data.
    pub(super) store: Store<F>,
    /// The number of all rows, of a step, and of the last step of an epoch.
    pub(super) rows: Option<(usize, usize, usize)>,
    /// The randomness of all steps.
    pub(super) key: Key,
    /// Steps planned.
    pub(super) total: u64,
    /// Draws from the guide in each step.
    pub(super) particles: usize,
    /// Where the gradients of several particles are added, and small ones are put together: one sweep over everything is
    /// then shorter than one for each parameter. Empty where the optimizer takes gradients from where they are computed.
    pub(super) gradient: Vec<F>,
    /// Where a gradient is a function of several draws.
    pub(super) group: Option<Group<F>>,
    /// Where each row has a bound of its own.
    pub(super) by_rows: Option<ByRows<F>>,
}

impl<'a, 'p, F: Scalar> Machine<'a, 'p, F> {
    pub(super) fn new(
        svi: &'a Svi<'p>,
        whole: Step<F>,
        short: Option<Step<F>>,
        store: Store<F>,
        key: Key,
        total: u64,
    ) -> Self {
        let particles = svi.settings.particles.unwrap_or(1);
        let n = svi.slots.len();
        let by_rows = ByRows::new(svi, particles);
        let group = if by_rows.is_some() { None } else { Group::new(svi, particles, whole.graph.scored) };
        let together =
            particles > 1 || n <= FEW || group.is_some() || by_rows.is_some() || svi.settings.optimizer.is_gaussian();
        let gradient = vec![F::ZERO; if together { n } else { 0 }];
        Self { svi, whole, short, store, rows: svi.rows(), key, total, particles, gradient, group, by_rows }
    }
    /// Ends its work: the times of its steps go to `laps`, the data are left.
    pub(super) fn retire(self, laps: &mut Laps) -> Store<F> {
        [Some(self.whole), self.short].iter().flatten().for_each(|step| laps.take(&step.exe));
        self.store
    }
}
