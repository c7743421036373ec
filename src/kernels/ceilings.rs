//! What this machine can do at best, measured in a tenth of a second: arithmetic in registers, reading from memory.
//!
//! The clock is handed in. The best of several trials counts, since other processes only make a trial slower.
use super::{Scalar, simd, threads};
use std::hint::black_box;

/// Rates that no loop can exceed for long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceilings {
    /// Threads that were used.
    pub threads: usize,
    /// Floating point operations [1/s], a fused multiply-add counted as two.
    pub flops: f64,
    /// Reading of memory that is in no cache [bytes/s].
    pub bytes: f64,
    /// One reading of the clock [seconds].
    pub clock_secs: f64,
}

/// Rounds of multiply-adds in one trial: some milliseconds.
const ROUNDS: usize = 1 << 20;
/// Trials of each kind.
const TRIALS: usize = 6;
/// The bytes that are read: several times the largest cache of today's desktop processors.
const BUFFER: usize = 128 << 20;
/// Readings of the clock that are timed together.
const READINGS: usize = 1000;

/// Measures the ceilings of the number type `F` with the threads in use. `clock` gives seconds.
pub fn measure<F: Scalar>(clock: fn() -> f64) -> Ceilings {
    let n = threads::count();
    let rounds = if size_of::<F>() == 4 { simd::peak::rounds_f32 } else { simd::peak::rounds_f64 };
    let operations = n as f64 * ROUNDS as f64 * rounds(1).1;
    let mut flops: f64 = 0.0;
    for _ in 0..TRIALS {
        let began = clock();
        threads::for_each_task(n, |_| {
            black_box(rounds(black_box(ROUNDS)));
        });
        flops = flops.max(operations / (clock() - began));
    }
    // Not zeros: those the system may keep in one page.
    let buffer: Vec<f64> = (0..BUFFER / 8).map(|i| i as f64).collect();
    let mut bytes: f64 = 0.0;
    for _ in 0..TRIALS / 2 {
        let began = clock();
        threads::for_each_task(n, |index| {
            black_box(sum(&buffer[threads::part(buffer.len(), n, index)]));
        });
        bytes = bytes.max(BUFFER as f64 / (clock() - began));
    }
    let began = clock();
    let last = (0..READINGS).map(|_| clock()).fold(began, |_, now| now);
    Ceilings { threads: n, flops, bytes, clock_secs: (last - began) / READINGS as f64 }
}

/// A sum in 32 parts, so that nothing but memory is waited for.
fn sum(x: &[f64]) -> f64 {
    simd::dispatch(
        #[inline(always)]
        || {
            let mut sums = [0.0; 32];
            for x in x.chunks_exact(32) {
                sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
            }
            sums.iter().sum()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;
    use std::time::Instant;

    #[test]
    fn the_machine_does_something() {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let single = measure::<f32>(|| START.elapsed().as_secs_f64());
        let double = measure::<f64>(|| START.elapsed().as_secs_f64());
        for c in [single, double] {
            assert!(c.flops > 1e8 && c.flops < 1e15, "{c:?}");
            assert!(c.bytes > 1e8 && c.bytes < 1e13, "{c:?}");
            assert!(c.clock_secs > 0.0 && c.clock_secs < 1e-4, "{c:?}");
            assert!(c.threads >= 1);
        }
    }
}
