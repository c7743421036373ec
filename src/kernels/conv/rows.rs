//! Weights that are drawn anew for every image: `W_n = loc + spread * M_n`, element by element.
//!
//! M_n is drawn where it is used, a number for each element of the weights or a sign for each channel; nothing is kept from
//! one image to the next, and the gradient draws the same numbers again. Element e of M_n is number e of the stream of
//! image n; of signs, the C before the layer come first and the O after it follow.
use super::{Conv2dShape, ImageGradients, ImageWeights};
use crate::kernels::{Scalar, simd};
use crate::rng::{Key, each_normal, fill_sign_bits};

/// The law of the multipliers of an image's weights.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RowLaw {
    /// `M_n[o, c] = after[n, o] before[n, c]`, signs of the layer's channels, the same at every tap (Flipout, Wen et al.
    /// 2018, arXiv:1803.04386).
    Signs,
    /// Independent standard normals: a draw of the weights for each row.
    Normal,
}

/// The multipliers of one convolution in one run.
#[derive(Clone, Copy, Debug)]
pub struct Multipliers<'a> {
    /// Of the convolution.
    pub shape: &'a Conv2dShape,
    /// Their law.
    pub law: RowLaw,
    /// Image n draws from its child n.
    pub key: Key,
}

impl Multipliers<'_> {
    /// Elements of scratch for one image.
    pub fn scratch(&self) -> usize {
        let s = self.shape;
        match self.law {
            RowLaw::Normal => 0,
            RowLaw::Signs => s.in_channels + s.out_channels + 2 * s.in_channels / s.groups * s.kernel[0] * s.kernel[1],
        }
    }

    /// Calls `f(start, multipliers)` for successive pieces of those of image `n`.
    fn each<F: Scalar>(&self, n: usize, scratch: &mut [F], mut f: impl FnMut(usize, &[F])) {
        let key = self.key.fold_in(n as u64);
        let s = self.shape;
        match self.law {
            RowLaw::Normal => each_normal(key, 0, s.w_len(), f),
            RowLaw::Signs => {
                let taps = s.kernel[0] * s.kernel[1];
                let (channels, outputs) = (s.in_channels / s.groups, s.out_channels / s.groups);
                let (signs, scratch) = scratch.split_at_mut(s.in_channels + s.out_channels);
                let (before, line) = scratch.split_at_mut(channels * taps);
                fill_sign_bits(key, 0, signs);
                for o in 0..s.out_channels {
                    if o % outputs == 0 {
                        let first = o / outputs * channels;
                        for (before, &sign) in before.chunks_exact_mut(taps).zip(&signs[first..first + channels]) {
                            before.fill(sign);
                        }
                    }
                    let after = signs[s.in_channels + o];
                    line.iter_mut().zip(&*before).for_each(|(m, &b)| *m = after * b);
                    f(o * line.len(), line);
                }
            }
        }
    }
}

/// The weights of every image.
#[derive(Clone, Copy, Debug)]
pub struct RowWeights<'a, F> {
    /// Those of this run.
    pub multipliers: Multipliers<'a>,
    /// The part that all images share [O, C / G, R, S].
    pub loc: &'a [F],
    /// What is multiplied, in the same shape.
    pub spread: &'a [F],
}

impl<F: Scalar> ImageWeights<F> for RowWeights<'_, F> {
    fn scratch(&self) -> usize {
        self.loc.len() + self.multipliers.scratch()
    }
    fn of<'a>(&'a self, n: usize, scratch: &'a mut [F]) -> &'a [F] {
        let (weights, scratch) = scratch.split_at_mut(self.loc.len());
        self.multipliers.each(n, scratch, |start, m| {
            let range = start..start + m.len();
            let (loc, spread) = (&self.loc[range.clone()], &self.spread[range.clone()]);
            simd::dispatch(
                #[inline(always)]
                || {
                    for (((w, &m), &loc), &spread) in weights[range].iter_mut().zip(m).zip(loc).zip(spread) {
                        *w = m.mul_add(spread, loc);
                    }
                },
            );
        });
        weights
    }
}

impl<F: Scalar> ImageGradients<F> for Multipliers<'_> {
    fn arrays(&self) -> usize {
        2
    }
    fn scratch(&self) -> usize {
        self.scratch()
    }
    fn add(&self, n: usize, gradient: &[F], sums: &mut [F], scratch: &mut [F]) {
        let (loc, spread) = sums.split_at_mut(gradient.len());
        self.each(n, scratch, |start, m| {
            let range = start..start + m.len();
            let (loc, spread) = (&mut loc[range.clone()], &mut spread[range.clone()]);
            simd::dispatch(
                #[inline(always)]
                || {
                    for (((loc, spread), &m), &g) in loc.iter_mut().zip(spread).zip(m).zip(&gradient[range]) {
                        *loc += g;
                        *spread = m.mul_add(g, *spread);
                    }
                },
            );
        });
    }
}
