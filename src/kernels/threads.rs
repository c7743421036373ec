//! How many threads the kernels use, and how work is cut so that results do not depend on it.
//!
//! All kernels run on rayon's global pool. Work is cut in two ways: over independent outputs ([`for_each_chunk`]),
//! where any cut gives the same bits, and over terms of a sum, where the number of partial sums is fixed by the shape
//! alone ([`parts`]).
use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Fewer elementary operations than this stay on one thread: below it, waking a thread costs more than it saves.
pub const MIN_PARALLEL_WORK: usize = 1 << 17;

/// The number asked for; 0 before anybody asked.
static LIMIT: AtomicUsize = AtomicUsize::new(0);

/// Held by tests that set the number of threads, or count memory that depends on it.
#[cfg(test)]
pub(crate) fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Sets the number of threads for all later kernel calls (0: one per core).
///
/// Creates rayon's global pool when it does not exist yet; once it exists, its size is the upper limit.
pub fn set_threads(n: usize) {
    // An error says that the pool exists already, which is fine: the limit below still holds.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(n).build_global();
    LIMIT.store(n, Ordering::Relaxed);
}

/// The number of threads in use.
pub fn count() -> usize {
    match LIMIT.load(Ordering::Relaxed) {
        1 => 1,
        0 => rayon::current_num_threads(),
        n => n.min(rayon::current_num_threads()),
    }
}

/// The number of tasks for `items` independent pieces that cost `work` elementary operations together.
pub fn tasks(items: usize, work: usize) -> usize {
    if work < MIN_PARALLEL_WORK { 1 } else { count().min(items).max(1) }
}

/// Piece `index` of `0..items` cut into `parts` ranges whose lengths differ by one at most.
pub fn part(items: usize, parts: usize, index: usize) -> Range<usize> {
    items * index / parts..items * (index + 1) / parts
}

/// The number of partial sums for a sum of `terms` terms, each of `len` elements: depends on the shape alone.
///
/// At most 16, and at most about 32 MiB of partial sums in double precision.
pub fn parts(terms: usize, len: usize) -> usize {
    terms.min(16).min(((1 << 22) / len.max(1)).max(2)).max(1)
}

/// Runs `f` on a thread of the pool: for whoever is about to call several kernels that share out their work.
///
/// Meanwhile, and for a little longer, the other threads of the pool stay awake. Otherwise they fall asleep after a few
/// microseconds without work, and a kernel that wakes one waits longer for it than its share takes. With one thread, `f`
/// runs where it is.
pub fn inside<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if count() == 1 {
        return f();
    }
    rayon::scope(|_| {
        let outer = LEADS.replace(true);
        let missing = (count() - 1).saturating_sub(AWAKE.load(Ordering::Relaxed));
        for _ in 0..missing {
            AWAKE.fetch_add(1, Ordering::Relaxed);
            rayon::spawn(stay_awake);
        }
        let result = f();
        LEADS.set(outer);
        result
    })
}

/// Threads of the pool that stay awake, or will when they have time.
static AWAKE: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    /// Whether this thread is [`inside`].
    static LEADS: Cell<bool> = const { Cell::new(false) };
}
/// How often a thread looks for work in vain before it lets others have its core between two looks, tens of microseconds,
/// and before it goes to sleep, some milliseconds.
const POLITE: usize = 500;
const ASLEEP: usize = 5_000;

/// Does the work of others until there has been none for a while.
fn stay_awake() {
    let mut looks = 0;
    // Who is inside waits for its own shares, and must not end up here meanwhile.
    while !LEADS.get() && looks < ASLEEP {
        match rayon::yield_now() {
            Some(rayon::Yield::Executed) => looks = 0,
            Some(rayon::Yield::Idle) if looks < POLITE => std::hint::spin_loop(),
            Some(rayon::Yield::Idle) => std::thread::yield_now(),
            None => break,
        }
        looks += 1;
    }
    AWAKE.fetch_sub(1, Ordering::Relaxed);
}

/// Calls `f(start, chunk)` on consecutive pieces of `data`, in parallel when `work` is large enough.
///
/// Pieces are multiples of `unit` elements (the last one may be shorter); `start` is the position of the piece.
pub fn for_each_chunk<T: Send>(data: &mut [T], unit: usize, work: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let unit = unit.max(1);
    let n_tasks = tasks(data.len().div_ceil(unit), work);
    if n_tasks <= 1 {
        return f(0, data);
    }
    let units = data.len().div_ceil(unit);
    rayon::scope(|scope| {
        let mut rest = data;
        let mut start = 0;
        for index in 0..n_tasks {
            let range = part(units, n_tasks, index);
            let len = (range.len() * unit).min(rest.len());
            let (head, tail) = rest.split_at_mut(len);
            rest = tail;
            let (f, at) = (&f, start);
            start += len;
            if index + 1 == n_tasks {
                f(at, head);
            } else {
                scope.spawn(move |_| f(at, head));
            }
        }
    });
}

/// Runs `f(index)` for every task, in parallel when there is more than one.
pub fn for_each_task(n_tasks: usize, f: impl Fn(usize) + Sync) {
    if n_tasks <= 1 {
        (0..n_tasks).for_each(f);
        return;
    }
    rayon::scope(|scope| {
        for index in 1..n_tasks {
            let f = &f;
            scope.spawn(move |_| f(index));
        }
        f(0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once() {
        for items in [0, 1, 5, 16, 17, 1000] {
            for parts in 1..20 {
                let mut next = 0;
                for index in 0..parts {
                    let range = part(items, parts, index);
                    assert_eq!(range.start, next);
                    next = range.end;
                }
                assert_eq!(next, items);
            }
        }
    }

    #[test]
    fn chunks_are_disjoint_and_complete() {
        for (len, unit) in [(0, 1), (1, 3), (10, 3), (1 << 18, 1000), ((1 << 18) + 1, 7)] {
            let mut data = vec![0usize; len];
            for_each_chunk(&mut data, unit, usize::MAX, |start, chunk| {
                assert_eq!(start % unit, 0);
                for (i, x) in chunk.iter_mut().enumerate() {
                    *x += start + i + 1;
                }
            });
            assert!(data.iter().enumerate().all(|(i, &x)| x == i + 1));
        }
    }
}
