//! The rows of the next minibatch, put together on a thread of its own while a step computes.
//!
//! A batch goes round: it is filled while a step computes on the inputs of its own, and copied into these when the next
//! step begins. What a step is given does not depend on it, as rows are a function of the order alone. Taking a batch
//! allocates nothing. A row that cannot be read is found out by the
//! one who takes the batch: see [`BoundData::check_read`](super::data::BoundData::check_read).

use super::data::Store;
use crate::check::typed::{ExprId, Program};
use crate::kernels::Scalar;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

/// The numbers of one step: for each expression its rows.
type Batch<F> = Vec<Vec<F>>;

/// Where batches change hands.
struct Exchange<F> {
    state: Mutex<State<F>>,
    changed: Condvar,
}

struct State<F> {
    /// Waits to be used.
    full: Option<Batch<F>>,
    /// Waits to be filled.
    empty: Option<Batch<F>>,
    /// One side has left.
    over: bool,
}

impl<F> Exchange<F> {
    fn lock(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// What `take` finds, as soon as it does; `None` when the other side has left first.
    fn wait(&self, take: impl Fn(&mut State<F>) -> Option<Batch<F>>) -> Option<Batch<F>> {
        let mut state = self.lock();
        loop {
            if let Some(batch) = take(&mut state) {
                return Some(batch);
            }
            if state.over {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
    fn put(&self, put: impl FnOnce(&mut State<F>)) {
        put(&mut self.lock());
        self.changed.notify_all();
    }
}

/// Says to the other side that this one has left, also when it panics.
struct Leave<F>(Arc<Exchange<F>>);

impl<F> Drop for Leave<F> {
    fn drop(&mut self) {
        self.0.put(|state| state.over = true);
    }
}

/// Batches that another thread fills; it ends when this is dropped.
pub struct Ahead<F>(Leave<F>);

impl<F: Scalar> Ahead<F> {
    /// Begins to read rows of `exprs`, each with its number of elements in one row, from `store`. `next` writes the rows of
    /// the next step and says whether there is one.
    pub fn begin<'scope>(
        scope: &'scope Scope<'scope, '_>,
        program: &'scope Program,
        mut store: Store<F>,
        exprs: Vec<(ExprId, usize)>,
        mut next: impl FnMut(&mut Vec<usize>) -> bool + Send + 'scope,
    ) -> Self {
        let state = State { full: None, empty: None, over: false };
        let exchange = Arc::new(Exchange { state: Mutex::new(state), changed: Condvar::new() });
        let leave = Leave(exchange.clone());
        let mut batch: Batch<F> = exprs.iter().map(|_| Vec::new()).collect();
        scope.spawn(move || {
            let mut rows = Vec::new();
            while next(&mut rows) {
                for (values, (_, unit)) in batch.iter_mut().zip(&exprs) {
                    values.resize(rows.len() * unit, F::ZERO);
                }
                let places = exprs.iter().map(|(e, _)| *e).zip(batch.iter_mut().map(Vec::as_mut_slice));
                store.read_rows(program, places, &rows);
                leave.0.put(|state| state.full = Some(std::mem::take(&mut batch)));
                // It comes back when it was copied.
                let Some(empty) = leave.0.wait(|state| state.empty.take()) else { return };
                batch = empty;
            }
        });
        Ahead(Leave(exchange))
    }
    /// Calls `with` with the rows of the next step, one slice for each expression, and lets them be filled again.
    ///
    /// False when there is none: all steps are done, or the thread has failed, which goes on where it is joined.
    pub fn take(&mut self, with: impl FnOnce(&[Vec<F>])) -> bool {
        let exchange = &self.0.0;
        let Some(batch) = exchange.wait(|state| state.full.take()) else { return false };
        with(&batch);
        exchange.put(|state| state.empty = Some(batch));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_ends_the_wait_of_the_other() {
        let exchange = Arc::new(Exchange::<f64> {
            state: Mutex::new(State { full: None, empty: None, over: false }),
            changed: Condvar::new(),
        });
        std::thread::scope(|scope| {
            let leave = Leave(exchange.clone());
            let waits = scope.spawn(|| exchange.wait(|state| state.full.take()));
            leave.0.put(|state| state.full = Some(vec![vec![1.0]]));
            assert_eq!(waits.join().expect("no panic"), Some(vec![vec![1.0]]));
            let waits = scope.spawn(|| exchange.wait(|state| state.full.take()));
            drop(leave);
            assert_eq!(waits.join().expect("no panic"), None);
        });
    }
}
