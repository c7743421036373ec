//! Splittable, counter-based random numbers.
//!
//! A [`Key`] is passed in and split; a number is a function of (key, element index) alone, so that no result depends on
//! how the work is cut or on the number of threads. Use a key for one thing: either draw from it with one fill, or fold
//! indices into it and use the children.
//!
//! Source: Philox4x32-10 of Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
use std::convert::Infallible;

use rand::{SeedableRng, TryRng};

use crate::kernels::scalar::Scalar;
use crate::kernels::{simd, threads};

/// Multipliers and Weyl increments of Philox4x32 (Salmon et al. 2011, section 4 and table 2).
const M0: u32 = 0xd251_1f53;
const M1: u32 = 0xcd9e_8d57;
const W0: u32 = 0x9e37_79b9;
const W1: u32 = 0xbb67_ae85;

/// Separates the blocks that make child keys from the blocks that make numbers: xored into the Philox key.
const SPLIT: [u32; 2] = [0x5851_f42d, 0x1405_7b7e];

/// One block: four words from a 128-bit counter under a 64-bit key.
#[inline(always)]
fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let p0 = u64::from(M0) * u64::from(c0);
        let p1 = u64::from(M1) * u64::from(c2);
        (c0, c1, c2, c3) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
        k0 = k0.wrapping_add(W0);
        k1 = k1.wrapping_add(W1);
    }
    [c0, c1, c2, c3]
}

/// A 128-bit name of a stream of random numbers: a Philox key and the upper half of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    key: [u32; 2],
    stream: [u32; 2],
}

impl Key {
    /// The root key of a seed.
    pub fn new(seed: u64) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], stream: [0, 0] }
    }

    /// The child key with number `data`.
    ///
    /// Children of one key never collide: under a fixed Philox key a block is a one-to-one function of the counter.
    #[must_use]
    pub fn fold_in(self, data: u64) -> Self {
        let counter = [data as u32, (data >> 32) as u32, self.stream[0], self.stream[1]];
        let [a, b, c, d] = philox(counter, [self.key[0] ^ SPLIT[0], self.key[1] ^ SPLIT[1]]);
        Self { key: [a, b], stream: [c, d] }
    }

    /// The four words of block `index` of this stream.
    #[inline(always)]
    fn block(self, index: u64) -> [u32; 4] {
        philox([index as u32, (index >> 32) as u32, self.stream[0], self.stream[1]], self.key)
    }
}

/// Blocks computed side by side, so that the loops become vector code.
const LANES: usize = 16;

/// Fills `out` with elements `offset..offset + out.len()` of a stream in which `convert` turns a block into
/// `per_block` elements.
#[inline(always)]
fn fill_blocks<F: Scalar>(
    key: Key,
    offset: u64,
    out: &mut [F],
    per_block: usize,
    convert: impl Fn([u32; 4]) -> [F; 4] + Copy + Sync,
) {
    let work = 8 * out.len();
    threads::for_each_chunk(out, 4 * LANES, work, |start, out| {
        simd::dispatch_wide(
            #[inline(always)]
            || {
                let mut at = offset + start as u64;
                let mut rest = out;
                let mut buffer = [F::ZERO; 4 * LANES];
                while !rest.is_empty() {
                    let block = at / per_block as u64;
                    let skip = (at % per_block as u64) as usize;
                    let mut words = [[0u32; LANES]; 4];
                    for lane in 0..LANES {
                        let w = key.block(block.wrapping_add(lane as u64));
                        for (words, w) in words.iter_mut().zip(w) {
                            words[lane] = w;
                        }
                    }
                    let mut values = [[F::ZERO; LANES]; 4];
                    for lane in 0..LANES {
                        let v = convert([words[0][lane], words[1][lane], words[2][lane], words[3][lane]]);
                        for (values, v) in values.iter_mut().zip(v) {
                            values[lane] = v;
                        }
                    }
                    for lane in 0..LANES {
                        for i in 0..per_block {
                            buffer[lane * per_block + i] = values[i][lane];
                        }
                    }
                    let n = (LANES * per_block - skip).min(rest.len());
                    rest[..n].copy_from_slice(&buffer[skip..skip + n]);
                    rest = &mut rest[n..];
                    at += n as u64;
                }
            },
        );
    });
}

/// Fills `out` with standard normals: elements `offset..` of the stream `key`.
///
/// Element i does not depend on how a fill is cut into slices. Never NaN or infinite: magnitudes stay below 5.9 in
/// single and 8.7 in double precision. Source: Box & Muller 1958.
pub fn fill_normal<F: Scalar>(key: Key, offset: u64, out: &mut [F]) {
    fill_blocks(
        key,
        offset,
        out,
        F::PER_BLOCK,
        #[inline(always)]
        |w| F::normals_from_words(w),
    );
}

/// Fills `out` with uniforms in the open interval (0, 1): elements `offset..` of the stream `key`.
///
/// Values are odd multiples of 2^-24 (single) or 2^-53 (double precision), so that neither 0 nor 1 occurs.
pub fn fill_uniform<F: Scalar>(key: Key, offset: u64, out: &mut [F]) {
    fill_blocks(
        key,
        offset,
        out,
        F::PER_BLOCK,
        #[inline(always)]
        |w| F::uniforms_from_words(w),
    );
}

/// Fills `out` with -1 and 1, each with probability one half: elements `offset..` of the stream `key`.
pub fn fill_sign<F: Scalar>(key: Key, offset: u64, out: &mut [F]) {
    let sign = |w: u32| if w >> 31 == 0 { F::ONE } else { -F::ONE };
    fill_blocks(
        key,
        offset,
        out,
        4,
        #[inline(always)]
        |w| w.map(sign),
    );
}

/// Fills `out` with -1 and 1, each with probability one half: bits `offset..offset + out.len()` of the stream `key`, one
/// bit of a word for each. Runs on the calling thread.
pub fn fill_sign_bits<F: Scalar>(key: Key, offset: u64, out: &mut [F]) {
    let (mut block, mut skip) = (offset / 128, (offset % 128) as usize);
    let mut rest = out;
    while !rest.is_empty() {
        let words = key.block(block);
        let mut signs = [F::ONE; 128];
        for (signs, word) in signs.chunks_exact_mut(32).zip(words) {
            for (bit, sign) in signs.iter_mut().enumerate() {
                *sign = if word >> bit & 1 == 0 { F::ONE } else { -F::ONE };
            }
        }
        let n = (128 - skip).min(rest.len());
        rest[..n].copy_from_slice(&signs[skip..skip + n]);
        rest = &mut rest[n..];
        (block, skip) = (block.wrapping_add(1), 0);
    }
}

/// Calls `f(start, normals)` for the elements `offset..offset + n` of the stream `key` as [`fill_normal`] gives them, in
/// pieces that stay in cache and on the calling thread; `start` counts from `offset`.
pub fn each_normal<F: Scalar>(key: Key, offset: u64, n: usize, mut f: impl FnMut(usize, &[F])) {
    // Too few to be worth a second thread.
    const PIECE: usize = 1024;
    let mut piece = [F::ZERO; PIECE];
    for start in (0..n).step_by(PIECE) {
        let piece = &mut piece[..PIECE.min(n - start)];
        fill_normal(key, offset + start as u64, piece);
        f(start, piece);
    }
}

/// Lanes of [`fill_normal_lanes`].
const SHORT_LANES: usize = 8;

/// One block of normals: of which stream, which block of it, where its numbers go and how many of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lane {
    stream: u32,
    block: u32,
    to: u32,
    n: u32,
}

impl Lane {
    /// The blocks of elements `0..len` of a stream, which go to `to..to + len`; a block has `each` elements.
    pub(crate) fn cut(stream: u32, to: u32, len: usize, each: usize) -> impl Iterator<Item = Lane> {
        (0..len.div_ceil(each)).map(move |block| {
            let from = block * each;
            Lane { stream, block: block as u32, to: to + from as u32, n: each.min(len - from) as u32 }
        })
    }
}

/// [`philox`] side by side.
#[inline(always)]
fn philox_lanes(counter: [[u32; SHORT_LANES]; 4], key: [[u32; SHORT_LANES]; 2]) -> [[u32; SHORT_LANES]; 4] {
    // Words in the lower halves of double words, as the products need them; the upper halves are never read.
    let wide = |words: [u32; SHORT_LANES]| words.map(u64::from);
    let [mut c0, mut c1, mut c2, mut c3] = counter.map(wide);
    let [mut k0, mut k1] = key.map(wide);
    let low = u64::from(u32::MAX);
    for _ in 0..10 {
        let p0 = c0.map(|c| u64::from(M0) * (c & low));
        let p1 = c2.map(|c| u64::from(M1) * (c & low));
        for i in 0..SHORT_LANES {
            c0[i] = (p1[i] >> 32) ^ c1[i] ^ k0[i];
            c2[i] = (p0[i] >> 32) ^ c3[i] ^ k1[i];
        }
        (c1, c3) = (p1, p0);
        k0 = k0.map(|k| k.wrapping_add(u64::from(W0)));
        k1 = k1.map(|k| k.wrapping_add(u64::from(W1)));
    }
    [c0, c1, c2, c3].map(|c| c.map(|c| c as u32))
}

/// Fills short pieces of many streams side by side: block `b` of stream `s` is that of `key.fold_in(s)`, so that the
/// numbers are those of [`fill_normal`].
#[inline(always)]
pub(crate) fn fill_normal_lanes<F: Scalar>(key: Key, lanes: &[Lane], out: &mut [F]) {
    for lanes in lanes.chunks(SHORT_LANES) {
        let (mut streams, mut blocks) = ([0; SHORT_LANES], [0; SHORT_LANES]);
        for (i, lane) in lanes.iter().enumerate() {
            streams[i] = lane.stream;
            blocks[i] = lane.block;
        }
        let all = |word: u32| [word; SHORT_LANES];
        let split = [all(key.key[0] ^ SPLIT[0]), all(key.key[1] ^ SPLIT[1])];
        let [k0, k1, s0, s1] = philox_lanes([streams, all(0), all(key.stream[0]), all(key.stream[1])], split);
        let words = philox_lanes([blocks, all(0), s0, s1], [k0, k1]);
        let mut values = [[F::ZERO; SHORT_LANES]; 4];
        for i in 0..SHORT_LANES {
            let v = F::normals_from_words([words[0][i], words[1][i], words[2][i], words[3][i]]);
            for (values, v) in values.iter_mut().zip(v) {
                values[i] = v;
            }
        }
        for (i, lane) in lanes.iter().enumerate() {
            for j in 0..lane.n as usize {
                out[lane.to as usize + j] = values[j][i];
            }
        }
    }
}

/// A sequential generator over the stream of a key; the distributions of `rand` and `rand_distr` run on it.
#[derive(Clone, Debug)]
pub struct Philox {
    key: Key,
    next_block: u64,
    buffer: [u32; 4],
    used: usize,
}

impl Philox {
    /// The generator that starts at the beginning of the stream `key`.
    pub fn from_key(key: Key) -> Self {
        Self { key, next_block: 0, buffer: [0; 4], used: 4 }
    }

    /// The generator of one element under `key`, independent of those of all other elements.
    pub fn at(key: Key, element: u64) -> Self {
        Self::from_key(key.fold_in(element))
    }

    fn word(&mut self) -> u32 {
        if self.used == 4 {
            self.buffer = self.key.block(self.next_block);
            self.next_block = self.next_block.wrapping_add(1);
            self.used = 0;
        }
        let word = self.buffer[self.used];
        self.used += 1;
        word
    }
}

impl TryRng for Philox {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.word())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let low = u64::from(self.word());
        Ok(low | (u64::from(self.word()) << 32))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for chunk in dst.chunks_mut(4) {
            let bytes = self.word().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

impl SeedableRng for Philox {
    type Seed = [u8; 16];

    fn from_seed(seed: Self::Seed) -> Self {
        let word = |i: usize| u32::from_le_bytes([seed[i], seed[i + 1], seed[i + 2], seed[i + 3]]);
        Self::from_key(Key { key: [word(0), word(4)], stream: [word(8), word(12)] })
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::kernels::special;

    #[test]
    fn known_answer() {
        // Salmon et al. 2011, the distributed test vectors.
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = u32::MAX;
        assert_eq!(philox([ones; 4], [ones; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn children_differ_from_each_other_and_from_their_parent() {
        let key = Key::new(7);
        let mut seen: std::collections::HashSet<Key> = (0..10_000).map(|i| key.fold_in(i)).collect();
        seen.extend((0..100).flat_map(|i| (0..100).map(move |j| key.fold_in(i).fold_in(j))));
        seen.insert(key);
        assert_eq!(seen.len(), 20_001);
        assert_ne!(Key::new(1).fold_in(2), Key::new(2).fold_in(1));
        // A child's name is no block of its parent's numbers.
        let child = key.fold_in(3);
        assert_ne!([child.key[0], child.key[1], child.stream[0], child.stream[1]], key.block(3));
    }

    /// Any cut of a fill, at any alignment, gives the bits of the whole.
    fn check_partition<F: Scalar>(fill: impl Fn(Key, u64, &mut [F])) {
        let key = Key::new(3).fold_in(9);
        let mut whole = vec![F::ZERO; 40_000];
        fill(key, 1_000_003, &mut whole);
        for size in [1, 2, 3, 5, 63, 64, 65, 127, 1000] {
            let mut cut = vec![F::ZERO; 2500];
            for (i, piece) in cut.chunks_mut(size).enumerate() {
                fill(key, 1_000_003 + (i * size) as u64, piece);
            }
            assert!(cut == whole[..2500], "pieces of {size}");
        }
    }

    #[test]
    fn fills_do_not_depend_on_the_cut() {
        check_partition::<f32>(fill_normal);
        check_partition::<f64>(fill_normal);
        check_partition::<f32>(fill_uniform);
        check_partition::<f64>(fill_uniform);
        check_partition::<f32>(fill_sign);
        check_partition::<f64>(fill_sign);
        check_partition::<f32>(fill_sign_bits);
        check_partition::<f64>(fill_sign_bits);
        let pieces = |key, offset, out: &mut [f32]| {
            each_normal(key, offset, out.len(), |start, x| out[start..start + x.len()].copy_from_slice(x));
        };
        check_partition::<f32>(pieces);
    }

    fn check_lanes<F: Scalar>() {
        let key = Key::new(5).fold_in(1);
        let pieces = [(7, 0, 1), (3, 1, 8), (7, 9, 13), (1, 30, 2), (0, 32, 5)];
        let lanes: Vec<Lane> =
            pieces.iter().flat_map(|&(stream, to, len)| Lane::cut(stream, to as u32, len, F::PER_BLOCK)).collect();
        let mut out = vec![F::ZERO; 40];
        fill_normal_lanes(key, &lanes, &mut out);
        let mut expected = vec![F::ZERO; 40];
        for (stream, to, len) in pieces {
            fill_normal(key.fold_in(u64::from(stream)), 0, &mut expected[to..to + len]);
        }
        assert!(out == expected, "{out:?} instead of {expected:?}");
    }

    #[test]
    fn pieces_of_streams_side_by_side_are_those_of_fills() {
        check_lanes::<f32>();
        check_lanes::<f64>();
    }

    /// Kolmogorov-Smirnov distance times the root of n; above 2.35 with probability 3e-5 for a correct sampler.
    fn kolmogorov_smirnov(draws: &[f64], cdf: impl Fn(f64) -> f64) -> f64 {
        let mut sorted = draws.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len() as f64;
        let distance = sorted.iter().enumerate().map(|(i, &x)| {
            let p = cdf(x);
            (p - i as f64 / n).abs().max((p - (i as f64 + 1.0) / n).abs())
        });
        distance.fold(0.0, f64::max) * n.sqrt()
    }

    fn check_distributions<F: Scalar>(seed: u64) {
        let n = 200_000;
        let root = f64::sqrt(n as f64);
        let key = Key::new(seed);
        let wide = |x: &[F]| x.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
        let mut x = vec![F::ZERO; n];
        fill_normal(key.fold_in(0), 0, &mut x);
        let x = wide(&x);
        let moment = |f: &dyn Fn(f64) -> f64| x.iter().map(|&x| f(x)).sum::<f64>() / n as f64;
        // Each within 4.5 standard errors: mean, variance (2), skewness (15), kurtosis (96), lag-1 correlation.
        assert!(moment(&|x| x).abs() * root < 4.5);
        assert!((moment(&|x| x * x) - 1.0).abs() * root < 4.5 * 2f64.sqrt());
        assert!(moment(&|x| x.powi(3)).abs() * root < 4.5 * 15f64.sqrt());
        assert!((moment(&|x| x.powi(4)) - 3.0).abs() * root < 4.5 * 96f64.sqrt());
        for lag in 1..5 {
            let product = x.windows(lag + 1).map(|w| w[0] * w[lag]).sum::<f64>() / n as f64;
            assert!(product.abs() * root < 4.5, "lag {lag}");
        }
        assert!(kolmogorov_smirnov(&x, special::ndtr) < 2.35);
        let mut u = vec![F::ZERO; n];
        fill_uniform(key.fold_in(1), 0, &mut u);
        assert!(u.iter().all(|&u| u > F::ZERO && u < F::ONE));
        assert!(kolmogorov_smirnov(&wide(&u), |u| u) < 2.35);
        let mut s = vec![F::ZERO; n];
        fill_sign(key.fold_in(2), 0, &mut s);
        assert!(s.iter().all(|s| s.abs() == F::ONE));
        assert!(wide(&s).iter().sum::<f64>().abs() / root < 4.5);
        fill_sign_bits(key.fold_in(3), 0, &mut s);
        let s = wide(&s);
        assert!(s.iter().all(|s| s.abs() == 1.0));
        assert!(s.iter().sum::<f64>().abs() / root < 4.5);
        // Bits of one word, of neighbouring words and of neighbouring blocks.
        for lag in [1, 2, 31, 32, 33, 64, 127, 128, 129] {
            let product = s.windows(lag + 1).map(|w| w[0] * w[lag]).sum::<f64>();
            assert!(product.abs() / root < 4.5, "lag {lag}");
        }
    }

    #[test]
    fn draws_have_their_distributions() {
        check_distributions::<f32>(1);
        check_distributions::<f64>(2);
    }

    /// The words at the ends of their range give finite normals, and uniforms inside the open interval.
    #[test]
    fn extreme_words_stay_finite() {
        for a in [0, 1, u32::MAX / 2, u32::MAX / 2 + 1, u32::MAX - 1, u32::MAX] {
            for b in [0, 1, 1 << 30, u32::MAX / 2, u32::MAX / 2 + 1, 3 << 30, u32::MAX] {
                let words = [a, b, b, a];
                assert!(f32::normals_from_words(words).iter().all(|x| x.abs() < 5.9));
                assert!(f64::normals_from_words(words)[..2].iter().all(|x| x.abs() < 8.7));
                assert!(f32::uniforms_from_words(words).iter().all(|&x| x > 0.0 && x < 1.0));
                assert!(f64::uniforms_from_words(words).iter().all(|&x| x > 0.0 && x < 1.0));
            }
        }
    }

    #[test]
    fn sequential_generator_walks_the_stream() {
        let key = Key::new(11);
        let mut rng = Philox::from_key(key);
        let words: Vec<u32> = (0..12).map(|_| rng.random()).collect();
        assert_eq!(words[..4], key.block(0));
        assert_eq!(words[8..], key.block(2));
        let draw = |element| Philox::at(key, element).random::<u64>();
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
        let gamma = rand_distr::Gamma::new(2.5, 1.0).expect("valid parameters");
        let x: Vec<f64> = (0..50_000).map(|i| Philox::at(key, i).sample(gamma)).collect();
        assert!(kolmogorov_smirnov(&x, |x| special::gammainc(2.5, x)) < 2.35);
        let mut seeded = Philox::seed_from_u64(1);
        assert_ne!(seeded.random::<u64>(), Philox::seed_from_u64(2).random::<u64>());
    }
}
