//! What a convolution or a pool does with its results where it writes them, while they are in cache.
use super::{Scalar, simd};

/// A number for each channel is added, then numbers below zero become zero: `relu(y + bias)`, to the bit as the maps do it.
#[derive(Clone, Copy, Debug)]
pub struct Finish<'a, F> {
    /// One number for each channel.
    pub bias: Option<&'a [F]>,
    /// Whether numbers below zero become zero.
    pub relu: bool,
}

impl<'a, F: Scalar> Finish<'a, F> {
    /// Results stay as they are.
    pub const NOTHING: Self = Self { bias: None, relu: false };

    /// Finishes planes of `cells` numbers; the first one is plane `first`, planes being images times channels.
    pub fn planes(&self, first: usize, cells: usize, planes: &mut [F]) {
        if self.bias.is_none() && !self.relu || cells == 0 {
            return;
        }
        simd::dispatch(
            #[inline(always)]
            || match cells {
                1 => self.short::<1>(first, planes),
                4 => self.short::<4>(first, planes),
                9 => self.short::<9>(first, planes),
                16 => self.short::<16>(first, planes),
                _ => {
                    for (plane, bias) in planes.chunks_exact_mut(cells).zip(self.numbers(first)) {
                        self.plane(bias, plane);
                    }
                }
            },
        );
    }

    /// Planes so short that their loop costs more than their numbers, unless its length is known.
    #[inline(always)]
    fn short<const N: usize>(&self, first: usize, planes: &mut [F]) {
        for (plane, bias) in planes.as_chunks_mut::<N>().0.iter_mut().zip(self.numbers(first)) {
            self.plane(bias, plane);
        }
    }

    /// The number for each plane from `first` on.
    #[inline(always)]
    fn numbers(&self, first: usize) -> impl Iterator<Item = Option<F>> {
        let channels = self.bias.map_or(1, <[F]>::len);
        let mut channel = first % channels.max(1);
        std::iter::repeat_with(move || {
            let number = self.bias.map(|b| b[channel]);
            channel = if channel + 1 == channels { 0 } else { channel + 1 };
            number
        })
    }

    #[inline(always)]
    fn plane(&self, bias: Option<F>, plane: &mut [F]) {
        let relu = |y: F| if y < F::ZERO { F::ZERO } else { y };
        match (bias, self.relu) {
            (Some(b), true) => plane.iter_mut().for_each(|y| *y = relu(*y + b)),
            (Some(b), false) => plane.iter_mut().for_each(|y| *y += b),
            (None, _) => plane.iter_mut().for_each(|y| *y = relu(*y)),
        }
    }

    /// One number of a channel with `bias`, which is zero where there is none to be added.
    #[inline(always)]
    pub(crate) fn one(&self, y: F, bias: F) -> F {
        let y = if self.bias.is_some() { y + bias } else { y };
        if self.relu && y < F::ZERO { F::ZERO } else { y }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::values;

    #[test]
    fn planes_are_finished_one_number_at_a_time() {
        let bias = values::<f32>(1, 5);
        for (cells, first) in [(1, 0), (3, 2), (4, 7), (9, 4), (16, 3), (100, 1)] {
            for (bias, relu) in [(None, false), (None, true), (Some(&bias[..]), false), (Some(&bias[..]), true)] {
                let finish = Finish { bias, relu };
                let before = values::<f32>(2, 11 * cells);
                let mut after = before.clone();
                finish.planes(first, cells, &mut after);
                for (i, (&after, &y)) in after.iter().zip(&before).enumerate() {
                    let sum = y + bias.map_or(0.0, |b| b[(first + i / cells) % 5]);
                    assert_eq!(after, if relu { sum.max(0.0) } else { sum }, "{finish:?}, planes of {cells}");
                    assert_eq!(after, finish.one(y, bias.map_or(0.0, |b| b[(first + i / cells) % 5])));
                }
            }
        }
    }
}
