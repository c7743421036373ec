//! The order in which rows are seen.
//!
//! In: the number of rows, that of a step, a key.   Out: the rows of each step. The order of an epoch is a function of the
//! key and the number of the epoch, so that a run can go on anywhere.

use crate::rng::{Key, Philox};
use rand::seq::SliceRandom;

/// The order in which rows are seen: every epoch a new permutation, its last part as short as it is.
#[derive(Clone, Debug)]
pub struct Order {
    rows: Vec<usize>,
    /// The rows of a step.
    size: usize,
    /// Where the rows of this step begin.
    from: usize,
    /// Where they end.
    at: usize,
    key: Key,
    /// Epochs that are over, this step included.
    pub epochs_done: usize,
}

impl Order {
    /// Before the first step of `rows`: the number of all rows, of a step, and of the last step of an epoch.
    pub fn new(rows: Option<(usize, usize, usize)>, key: Key) -> Self {
        let (all, size) = rows.map_or((0, 0), |(all, rows, _)| (all, rows));
        let mut order = Self { rows: (0..all).collect(), size, from: 0, at: 0, key, epochs_done: 0 };
        order.shuffle();
        order
    }
    /// After `steps` steps: what [`Self::new`] and as many calls of [`Self::advance`] give.
    pub fn after(rows: Option<(usize, usize, usize)>, key: Key, steps: u64) -> Self {
        let mut order = Self::new(rows, key);
        let steps = usize::try_from(steps).unwrap_or(usize::MAX);
        let Some((all, size, _)) = rows.filter(|r| r.0 > 0) else {
            order.epochs_done = steps;
            return order;
        };
        let each = all.div_ceil(size);
        // The first steps of an epoch are those after a shuffle, which the last one of the epoch before does not make.
        if steps > 0 {
            order.epochs_done = (steps - 1) / each;
            order.shuffle();
            for _ in 0..=(steps - 1) % each {
                order.advance();
            }
        }
        order
    }
    fn shuffle(&mut self) {
        let n = self.rows.len();
        self.rows.clear();
        self.rows.extend(0..n);
        self.rows.shuffle(&mut Philox::from_key(self.key.fold_in(self.epochs_done as u64)));
    }
    /// Goes to the next step.
    pub fn advance(&mut self) {
        if self.rows.is_empty() {
            self.epochs_done += 1;
            return;
        }
        if self.at == self.rows.len() {
            self.at = 0;
            self.shuffle();
        }
        self.from = self.at;
        self.at = (self.from + self.size).min(self.rows.len());
        if self.at == self.rows.len() {
            self.epochs_done += 1;
        }
    }
    /// The rows of this step.
    pub fn batch(&self) -> &[usize] {
        &self.rows[self.from..self.at]
    }
    /// The rows of the step after this one, none at the end of an epoch.
    pub fn peek(&self) -> &[usize] {
        &self.rows[self.at..(self.at + self.size).min(self.rows.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_every_row_once() {
        for (all, batch) in [(10, 4), (12, 4), (7, 7), (5, 1)] {
            let mut order = Order::new(Some((all, batch, all % batch)), Key::new(3));
            let mut orders: Vec<Vec<usize>> = Vec::new();
            for epoch in 1..=5 {
                let mut seen = Vec::new();
                while seen.len() < all {
                    order.advance();
                    let rows = order.batch();
                    assert_eq!(rows.len(), batch.min(all - seen.len()), "only the last part is short");
                    seen.extend_from_slice(rows);
                    assert_eq!(order.epochs_done, if seen.len() < all { epoch - 1 } else { epoch });
                }
                let mut sorted = seen.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..all).collect::<Vec<_>>());
                assert!(!orders.contains(&seen), "every epoch has an order of its own");
                orders.push(seen);
            }
            let mut again = Order::new(Some((all, batch, all % batch)), Key::new(3));
            let first: Vec<usize> = (0..all.div_ceil(batch))
                .flat_map(|_| {
                    again.advance();
                    again.batch().to_vec()
                })
                .collect();
            assert_eq!(first, orders[0], "the key decides");
        }
    }

    #[test]
    fn without_rows_every_step_is_an_epoch() {
        let mut order = Order::new(None, Key::new(0));
        for _ in 0..2 {
            order.advance();
            assert!(order.batch().is_empty() && order.peek().is_empty());
        }
        assert_eq!(order.epochs_done, 2);
    }

    #[test]
    fn an_order_can_begin_after_any_step() {
        for rows in [Some((10, 4, 2)), Some((12, 4, 0)), Some((7, 7, 0)), Some((5, 1, 0)), None] {
            let mut order = Order::new(rows, Key::new(3));
            for steps in 0..20 {
                let mut there = Order::after(rows, Key::new(3), steps);
                let mut here = order.clone();
                for _ in 0..4 {
                    assert_eq!(
                        (here.batch(), here.peek(), here.epochs_done),
                        (there.batch(), there.peek(), there.epochs_done)
                    );
                    here.advance();
                    there.advance();
                }
                order.advance();
            }
        }
    }
}
