//! Convolutions of stride 1 with fewer multiplications: Winograd's minimal filtering in tiles of the plane.
//!
//! The output is cut into tiles of m x m cells. A tile needs t x t cells of the input, t = m + r - 1, and one product for
//! each of t x t points instead of m x m x r x r ([`transforms`]):
//!
//! ```text
//! V[ξ, tile, c] = B^T x B        U[ξ, c, o] = G w G^T        W[ξ, tile, o] = A dy A^T
//! y  = A^T (sum over c of V U) A          dw = G^T (sum over tiles of W V) G
//! ```
//!
//! At every point ξ that is a matrix product: over channels for y, over the tiles of the whole batch for dw. The input
//! gradient is the correlation of dy with the kernel turned around. Tiles are taken in blocks whose V and products stay
//! in the second-level cache. Matrices lie in lanes of 16 channels ([`Blocked`]), so that transforms work on whole vectors.
//!
//! In Flipout the kernel differs from image to image by signs: y_n = x_n * loc + after_n (x_n before_n) * perturbation.
//! Signs are constant over the plane and commute with the transforms: U_n = U_loc + after_n before_n U_perturbation at every
//! point. The product puts it together in registers, image by image, and dw adds one product to both gradients.
//!
//! Sums of products of transformed numbers round differently from the defining sums: zeros need not be exact, and sums of
//! positive terms may be negative where they are small. The largest errors relative to the largest result, for standard normal
//! operands and C = O channels on planes of 14x14 in single precision (direct sums: 2e-7 to 6e-7):
//!
//! | kernel | C | y | dx | dw |
//! |---|---|---|---|---|
//! | 3x3 | 16 | 8e-7 | 7e-7 | 9e-7 |
//! | 3x3 | 64 | 1.4e-6 | 2.0e-6 | 7e-7 |
//! | 3x3 | 256 | 3.3e-6 | 3.2e-6 | 7e-7 |
//! | 5x5 | 16 | 3.2e-6 | 4.7e-6 | 4.5e-6 |
//! | 5x5 | 64 | 5.8e-6 | 7.1e-6 | 4.7e-6 |
//! | 5x5 | 256 | 1.3e-5 | 1.1e-5 | 4.2e-6 |
//!
//! Source: Lavin & Gray 2016, arXiv:1509.09308; Wen et al. 2018, arXiv:1803.04386 (Flipout).
mod correlation;
mod sums;
mod tiles;
mod transforms;

use self::correlation::{Correlation, Reading};
use self::transforms::Filter;
use super::Conv2dShape;
use crate::kernels::finish::Finish;
use crate::kernels::simd::lanes::LANES;
use crate::kernels::{Scalar, threads};

/// The weights of a product.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a, F> {
    /// One kernel w [O,C,R,S] for all images.
    Shared(&'a [F]),
    /// Image n has the kernel loc\[o,c] + after\[n,o] before\[n,c] perturbation\[o,c].
    Flipout {
        /// [O,C,R,S]
        loc: &'a [F],
        /// [O,C,R,S]
        perturbation: &'a [F],
        /// Signs of input channels [N,C].
        before: &'a [F],
        /// Signs of output channels [N,O].
        after: &'a [F],
    },
}

/// Where the gradients in [`Weights`] go.
#[derive(Debug)]
pub enum WeightGrads<'a, F> {
    /// dw [O,C,R,S].
    Shared(&'a mut [F]),
    /// Of both kernels, and the signs as in [`Weights::Flipout`].
    Flipout {
        /// [O,C,R,S]
        loc: &'a mut [F],
        /// [O,C,R,S]
        perturbation: &'a mut [F],
        /// [N,C]
        before: &'a [F],
        /// [N,O]
        after: &'a [F],
    },
}

/// Outputs of a tile along an axis and taps of its filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tile {
    /// F(4x4, 3x3)
    F4x3,
    /// F(4x4, 5x5)
    F4x5,
    /// F(1x4, 1x3)
    Row4x3,
    /// F(1x4, 1x5)
    Row4x5,
}

/// Calls a function that is generic over both axes with those of a tile.
macro_rules! with_axes {
    ($tile:expr, $object:ident.$function:ident::<$f:ident>($($argument:expr),*)) => {
        match $tile {
            Tile::F4x3 => $object.$function::<$f, Filter<4, 3>, Filter<4, 3>>($($argument),*),
            Tile::F4x5 => $object.$function::<$f, Filter<4, 5>, Filter<4, 5>>($($argument),*),
            Tile::Row4x3 => $object.$function::<$f, Filter<1, 1>, Filter<4, 3>>($($argument),*),
            Tile::Row4x5 => $object.$function::<$f, Filter<1, 1>, Filter<4, 5>>($($argument),*),
        }
    };
}
use with_axes;

impl Tile {
    /// m and r of both axes.
    fn sizes(self) -> [[usize; 2]; 2] {
        match self {
            Tile::F4x3 => [[4, 3], [4, 3]],
            Tile::F4x5 => [[4, 5], [4, 5]],
            Tile::Row4x3 => [[1, 1], [4, 3]],
            Tile::Row4x5 => [[1, 1], [4, 5]],
        }
    }

    /// Points of a tile.
    fn points(self) -> usize {
        self.sizes().iter().map(|[m, r]| m + r - 1).product()
    }
}

/// A convolution with minimal filtering, ready to run.
#[derive(Clone, Debug)]
pub struct Winograd {
    shape: Conv2dShape,
    output: [usize; 2],
    tile: Tile,
}

/// Bytes of transformed tiles and products that a block may hold: with the weights that stream by, they stay in the
/// second-level cache.
const BLOCK_BYTES: usize = 384 << 10;

/// Blocks of 16 output channels that are multiplied and transformed back together.
const GROUP: usize = 2;

impl Winograd {
    /// The plan of a convolution with this output, if the method covers it: stride 1, no dilation, no groups and a kernel
    /// of 3x3, 5x5, 1x3 or 1x5.
    pub fn new(shape: &Conv2dShape, output: [usize; 2]) -> Option<Self> {
        if shape.stride != [1, 1] || shape.dilation != [1, 1] || shape.groups != 1 {
            return None;
        }
        let tile = match shape.kernel {
            [3, 3] => Tile::F4x3,
            [5, 5] => Tile::F4x5,
            [1, 3] => Tile::Row4x3,
            [1, 5] => Tile::Row4x5,
            _ => return None,
        };
        Some(Self { shape: *shape, output, tile })
    }

    /// Whether this is faster than the direct loops: 8 channels and more on both sides, enough tiles to repay the transforms of
    /// the weights, and outputs that fill their tiles. Milliseconds on one thread of Zen 4 with AVX-512, forward, input and
    /// weight gradient:
    ///
    /// | images x channels, plane, kernel | direct | minimal filtering |
    /// |---|---|---|
    /// | 128 x 32 -> 64, 14x14, 5x5 | 31, 34, 31 | 10, 10, 11 |
    /// | 32 x 64 -> 64, 56x56, 3x3 | 97, 97, 96 | 28, 30, 36 |
    /// | 32 x 128 -> 128, 28x28, 3x3 | 80, 80, 93 | 26, 22, 29 |
    /// | 64 x 16 -> 32, 8x8, 3x3 | 0.51, 0.69, 0.47 | 0.17, 0.17, 0.18 |
    /// | 4 x 8 -> 8, 28x28, 3x3 | 0.060, 0.061, 0.074 | 0.046, 0.047, 0.050 |
    /// | 4 x 64 -> 64, 1x128, 1x5 | 0.21, 0.21, 0.25 | 0.12, 0.12, 0.09 |
    /// | 1 x 256 -> 256, 14x14, 3x3: few tiles | 2.6, 3.2, 3.8 | 1.7, 1.6, 8.2 |
    ///
    /// Flipout, whose direct loops put a kernel together for every image, gains as much wherever there is something to gain: 33, 37, 35
    /// to 12, 11, 15 ms in the first row, and from 0.28, 0.42, 0.40 to 0.20, 0.18, 0.32 ms for 64 x 16 -> 32, 4x4, 3x3, with one tile
    /// an image.
    pub fn pays(&self) -> bool {
        let s = &self.shape;
        let [rows, columns] = self.tiles(self.output);
        let cells = self.output[0] * self.output[1];
        s.in_channels.min(s.out_channels) >= 8
            && s.batch * rows * columns >= 32
            && 5 * rows * columns * self.tile.points() <= 3 * cells * s.kernel[0] * s.kernel[1]
    }

    /// Multiplications of one pass over the batch.
    fn work(&self) -> usize {
        let s = &self.shape;
        let [rows, columns] = self.tiles(self.output);
        s.batch * rows * columns * self.tile.points() * s.in_channels * s.out_channels
    }

    fn tasks(&self) -> usize {
        threads::tasks(self.shape.batch, self.work())
    }

    /// Rows and columns of tiles of a plane.
    fn tiles(&self, size: [usize; 2]) -> [usize; 2] {
        let m = self.tile.sizes().map(|[m, _]| m);
        std::array::from_fn(|axis| size[axis].div_ceil(m[axis]))
    }

    /// Tiles of a block of `lanes` lanes for each tile and point, out of `tiles`.
    fn block(&self, lanes: usize, tiles: usize) -> usize {
        (BLOCK_BYTES / (lanes * self.tile.points() * LANES * 4)).clamp(12, 96).min(tiles.max(1))
    }

    /// The forward pass, or the input gradient.
    fn correlation(&self, turned: bool) -> Correlation {
        let s = &self.shape;
        let mut channels = [s.in_channels, s.out_channels];
        let mut size = [s.input, self.output];
        let mut pad = [s.padding[0][0] as isize, s.padding[1][0] as isize];
        if turned {
            channels.reverse();
            size.reverse();
            pad = std::array::from_fn(|axis| s.kernel[axis] as isize - 1 - pad[axis]);
        }
        let tiles = self.tiles(size[1]);
        let blocks = channels.map(|c| c.div_ceil(LANES));
        let block = self.block(blocks[0] + GROUP.min(blocks[1]), s.batch * tiles[0] * tiles[1]);
        Correlation { channels, size, pad, tiles, block }
    }

    fn scratch(&self, turned: bool, kernels: usize) -> usize {
        let pass = self.correlation(turned);
        let weights = kernels * pass.weight_lanes(self.tile.points());
        LANES * (weights + self.tasks() * pass.task_lanes(self.tile))
    }

    /// Scratch of [`Self::forward`] in elements, for the number of threads in use now and one or two kernels.
    pub fn forward_scratch(&self, kernels: usize) -> usize {
        self.scratch(false, kernels)
    }

    /// y [N,O,P,Q] = x [N,C,H,W] cross-correlated with the weights, finished.
    pub fn forward<F: Scalar>(
        &self,
        x: &[F],
        weights: Weights<'_, F>,
        finish: Finish<'_, F>,
        y: &mut [F],
        scratch: &mut [F],
    ) {
        if y.is_empty() {
            return;
        }
        let s = &self.shape;
        let taps = s.kernel[0] * s.kernel[1];
        let reading = Reading { input: taps, output: s.in_channels * taps, turned: false };
        let pass = self.correlation(false);
        with_axes!(self.tile, pass.run::<F>(self.tile, self.tasks(), x, weights, reading, finish, y, scratch));
    }

    /// Scratch of [`Self::input_grad`] in elements, for the number of threads in use now and one or two kernels.
    pub fn input_grad_scratch(&self, kernels: usize) -> usize {
        self.scratch(true, kernels)
    }

    /// dx = the gradient of sum(dy * y) in x.
    pub fn input_grad<F: Scalar>(&self, dy: &[F], weights: Weights<'_, F>, dx: &mut [F], scratch: &mut [F]) {
        if dx.is_empty() {
            return;
        }
        let s = &self.shape;
        let taps = s.kernel[0] * s.kernel[1];
        let reading = Reading { input: s.in_channels * taps, output: taps, turned: true };
        let pass = self.correlation(true);
        with_axes!(
            self.tile,
            pass.run::<F>(self.tile, self.tasks(), dy, weights, reading, Finish::NOTHING, dx, scratch)
        );
    }
}

impl<F> Weights<'_, F> {
    /// Kernels that are multiplied with: 1 or 2.
    pub fn kernels(&self) -> usize {
        match self {
            Weights::Shared(_) => 1,
            Weights::Flipout { .. } => 2,
        }
    }
}

#[cfg(test)]
mod tests;
