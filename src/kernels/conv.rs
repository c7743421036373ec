//! Two-dimensional cross-correlation with zero padding, and its two gradients.
//!
//! ```text
//! y[n,o,p,q] = b[o] + sum over c,r,s of x[n, g C/G + c, p sh + r dh - top, q sw + s dw - left] w[o,c,r,s]
//! x [N,C,H,W]   w [O,C/G,R,S]   b [O]   y [N,O,P,Q],   g = the group of output channel o
//! ```
//!
//! Each pass is a matrix product with patches that are packed straight into its panels (implicit im2col), run by run, from
//! zero-padded copies of a few images at a time ([`patches::Frame`]):
//!
//! | pass | rows | columns | sum over |
//! |---|---|---|---|
//! | forward | output channels | cells of several images | input channels and taps |
//! | input gradient | input channels | cells of one stride phase of several images | output channels and taps |
//! | the same, few input channels | input channels and taps | output cells, added where they belong | output channels |
//! | weight gradient | output channels | taps and input channels | output cells |
//!
//! A frame of the forward pass keeps columns of one residue modulo the stride together, so that a row of cells is one run for
//! every stride; the weight gradient keeps channels innermost, so that a row of taps is one run. The input gradient is cut
//! into stride phases: the cells (h, w) with the same residues modulo the strides see the same kernel taps, so that no
//! multiplication by an inserted zero is done. A transposed convolution is the input gradient.
//! Source: Dumoulin & Visin 2016, arXiv:1603.07285.
mod depthwise;
mod forward;
mod input_grad;
mod operands;
mod patches;
pub mod rows;
mod weight_grad;
pub mod winograd;

use super::{Scalar, threads};
use input_grad::{InputGrad, phases};
use patches::{Frame, narrow};
use winograd::Winograd;

/// How a convolution is computed in single precision. In double precision it is always the direct sums.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Method {
    /// Minimal filtering where that is faster.
    #[default]
    Auto,
    /// The defining sums. Sums of numbers of one sign keep that sign, and zeros stay exact.
    Direct,
    /// Minimal filtering wherever it applies.
    Winograd,
}

/// The shape of a convolution. One-dimensional ones have height 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dShape {
    /// Images N.
    pub batch: usize,
    /// Channels C of the input.
    pub in_channels: usize,
    /// Channels O of the output.
    pub out_channels: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height R and width S of the kernel.
    pub kernel: [usize; 2],
    /// Steps between outputs.
    pub stride: [usize; 2],
    /// Zero rows above and below, zero columns left and right: [[top, bottom], [left, right]].
    pub padding: [[usize; 2]; 2],
    /// Steps between kernel taps.
    pub dilation: [usize; 2],
    /// Groups G of channels that do not mix; divides C and O.
    pub groups: usize,
}

impl Conv2dShape {
    /// Height P and width Q of the output; 0 where the kernel does not fit.
    pub fn output(&self) -> [usize; 2] {
        std::array::from_fn(|axis| {
            let padded = self.input[axis] + self.padding[axis][0] + self.padding[axis][1];
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            if padded < reach { 0 } else { (padded - reach) / self.stride[axis] + 1 }
        })
    }

    /// Elements of x.
    pub fn x_len(&self) -> usize {
        self.batch * self.in_channels * self.input[0] * self.input[1]
    }

    /// Elements of w.
    pub fn w_len(&self) -> usize {
        self.out_channels * self.in_channels / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// Elements of y.
    pub fn y_len(&self) -> usize {
        let [p, q] = self.output();
        self.batch * self.out_channels * p * q
    }
}

/// A convolution whose index tables are ready.
#[derive(Clone, Debug)]
pub struct Conv2d {
    shape: Conv2dShape,
    output: [usize; 2],
    /// The input as the forward pass reads it.
    frame: Frame,
    /// Offset in the frames of an image by (input channel of the group, tap).
    starts: Vec<u32>,
    /// The input with its channels innermost, as the weight gradient reads it.
    last: Frame,
    /// Offset in that by (image of a group of images, output cell).
    cells_last: Vec<u32>,
    input_grad: InputGrad,
    /// Images that share a product: their cells are columns side by side.
    together: usize,
    /// Minimal filtering, if that is the method.
    winograd: Option<Winograd>,
}

/// Cells of images together that make a product worth its packing.
const COLUMNS: usize = 768;
/// Bytes of the frames of images together, in single precision: they stay in the second-level cache.
const FRAMES: usize = 192 << 10;

/// How many images share a product, such that few columns of tiles are left over.
fn together(shape: &Conv2dShape, cells: usize, plane: usize) -> usize {
    let fits = |n: usize| n * cells <= COLUMNS.max(cells) && n * shape.in_channels * plane * 4 <= FRAMES;
    // Left over of tiles of 16 columns, relative to the cells; the smallest number among equals.
    let waste = |n: usize| (n * cells).next_multiple_of(16) * 1000 / (n * cells);
    (1..=shape.batch.min(16)).filter(|&n| n == 1 || fits(n)).min_by_key(|&n| waste(n)).unwrap_or(1)
}

impl Conv2d {
    /// Builds the tables of a convolution. Sizes, strides, dilations and groups are positive, groups divide both numbers
    /// of channels, and the kernel fits into the padded input.
    pub fn new(shape: Conv2dShape) -> Self {
        Self::with_output(shape, shape.output())
    }

    /// As [`Self::new`], with fewer output rows or columns than fit. A transposed convolution whose output padding
    /// reaches its stride needs that: the cells beyond the last window get nothing.
    pub fn with_output(shape: Conv2dShape, output: [usize; 2]) -> Self {
        let whole = shape.output();
        assert!(output[0] <= whole[0] && output[1] <= whole[1], "the output fits");
        assert!(
            shape.groups > 0
                && shape.in_channels.is_multiple_of(shape.groups)
                && shape.out_channels.is_multiple_of(shape.groups),
            "groups divide the channels"
        );
        assert!(output[0] > 0 && output[1] > 0, "the kernel fits into the padded input");
        let before = [shape.padding[0][0], shape.padding[1][0]];
        let padded = std::array::from_fn(|a| shape.input[a] + shape.padding[a][0] + shape.padding[a][1]);
        let frame = Frame { size: shape.input, before, padded, step: shape.stride[1] };
        let last = Frame { step: 1, ..frame };
        let mut starts = Vec::new();
        for c in 0..shape.in_channels / shape.groups {
            for r in 0..shape.kernel[0] {
                for s in 0..shape.kernel[1] {
                    starts.push(narrow(c * frame.plane() + frame.at(r * shape.dilation[0], s * shape.dilation[1])));
                }
            }
        }
        let cells = output[0] * output[1];
        let together = together(&shape, cells, frame.plane().max(last.plane()));
        let mut cells_last = Vec::new();
        for n in 0..together {
            for p in 0..output[0] {
                for q in 0..output[1] {
                    let cell = n * last.plane() + last.at(p * shape.stride[0], q * shape.stride[1]);
                    cells_last.push(narrow(cell * shape.in_channels));
                }
            }
        }
        // Adding the shares costs about as much for each as 16 multiplications; with more input channels than these, packing
        // patches costs less.
        let few = shape.in_channels / shape.groups <= 4 && shape.out_channels / shape.groups >= 4;
        let input_grad = if few {
            InputGrad::Scatter
        } else {
            let (frame, phases) = phases(&shape, output);
            InputGrad::Phases(frame, phases)
        };
        Self { shape, output, frame, starts, last, cells_last, input_grad, together, winograd: None }
    }

    /// The same convolution by another method than the direct one.
    #[must_use]
    pub fn with_method(self, method: Method) -> Self {
        let plan = Winograd::new(&self.shape, self.output);
        let winograd = match method {
            Method::Auto => plan.filter(Winograd::pays),
            Method::Direct => None,
            Method::Winograd => plan,
        };
        Self { winograd, ..self }
    }

    /// As [`Self::with_method`] for weights of every image under `law`: minimal filtering is for signs alone.
    #[must_use]
    pub fn with_row_method(self, method: Method, law: rows::RowLaw) -> Self {
        match law {
            rows::RowLaw::Signs => self.with_method(method),
            rows::RowLaw::Normal => self.with_method(Method::Direct),
        }
    }

    /// Minimal filtering, if it is the method for this precision.
    fn fast<F: Scalar>(&self) -> Option<&Winograd> {
        self.winograd.as_ref().filter(|_| size_of::<F>() == size_of::<f32>())
    }

    /// The same convolution with its images worked on one by one, which weights of their own ask for.
    #[must_use]
    pub fn one_by_one(mut self) -> Self {
        self.together = 1;
        self.cells_last.truncate(self.cells());
        self
    }

    /// The shape.
    pub fn shape(&self) -> &Conv2dShape {
        &self.shape
    }

    /// Elements of y.
    pub fn y_len(&self) -> usize {
        self.shape.batch * self.shape.out_channels * self.cells()
    }

    /// Output cells of one channel.
    fn cells(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// (output channels, input channels, weights) of one group.
    fn group(&self) -> (usize, usize, usize) {
        let s = &self.shape;
        let (o, c) = (s.out_channels / s.groups, s.in_channels / s.groups);
        (o, c, o * c * s.kernel[0] * s.kernel[1])
    }

    /// Elements of one image of x and of y.
    fn images(&self) -> (usize, usize) {
        let s = &self.shape;
        (s.in_channels * s.input[0] * s.input[1], s.out_channels * self.cells())
    }

    /// Multiplications of one pass over the batch.
    fn work(&self) -> usize {
        self.shape.batch * self.shape.out_channels * self.cells() * self.starts.len()
    }

    /// Threads for items that are groups of images.
    fn tasks(&self) -> usize {
        threads::tasks(self.shape.batch.div_ceil(self.together), self.work())
    }

    /// The frames of images together.
    fn frames(&self, frame: &Frame, channels: usize) -> usize {
        if frame.is_plain() { 0 } else { self.together * channels * frame.plane() }
    }

    /// Calls `f(first image, its images of out, scratch)` for every group of images, in parallel.
    fn over_images<F: Scalar>(
        &self,
        out: &mut [F],
        len: usize,
        scratch: &mut [F],
        per_task: usize,
        f: impl Fn(usize, &mut [F], &mut [F]) + Sync,
    ) {
        assert!(scratch.len() >= per_task, "scratch of the planned size");
        let n_tasks = self.tasks().min(scratch.len() / per_task.max(1)).max(1);
        // The padding of frames is zero before the first image and stays so.
        scratch[..n_tasks * per_task].fill(F::ZERO);
        over_items([out], self.together * len, n_tasks, scratch, per_task, |group, [out], scratch| {
            f(group * self.together, out, scratch);
        });
    }
}

/// The images in their frames, or as they are when they serve themselves.
fn filled<'a, F: Scalar>(frame: &Frame, x: &'a [F], len: usize, channels: usize, frames: &'a mut [F]) -> &'a [F] {
    if frame.is_plain() {
        return x;
    }
    let size = channels * frame.plane();
    let images = x.len() / len;
    for (x, to) in x.chunks_exact(len).zip(frames.chunks_exact_mut(size)) {
        frame.fill(x, to);
    }
    &frames[..images * size]
}

/// Calls `f(index, pieces, scratch)` for every piece of `len` elements of all of `outs`, which are equally long (the last
/// piece may be shorter), `n_tasks` at a time.
fn over_items<F: Scalar, const N: usize>(
    outs: [&mut [F]; N],
    len: usize,
    n_tasks: usize,
    scratch: &mut [F],
    per_task: usize,
    f: impl Fn(usize, [&mut [F]; N], &mut [F]) + Sync,
) {
    let len = len.max(1);
    let items = outs[0].len().div_ceil(len);
    let over = |range: std::ops::Range<usize>, mut outs: [&mut [F]; N], scratch: &mut [F]| {
        for n in range {
            f(n, take_pieces(&mut outs, len), scratch);
        }
    };
    if n_tasks <= 1 {
        return over(0..items, outs, &mut scratch[..per_task]);
    }
    rayon::scope(|scope| {
        let (mut outs, mut scratch) = (outs, scratch);
        for index in 0..n_tasks {
            let range = threads::part(items, n_tasks, index);
            let pieces = take_pieces(&mut outs, range.len() * len);
            let (mine, others) = scratch.split_at_mut(per_task);
            scratch = others;
            let over = &over;
            scope.spawn(move |_| over(range, pieces, mine));
        }
    });
}

/// Takes the first `len` elements of each of `outs`, or all where there are fewer.
fn take_pieces<'a, F, const N: usize>(outs: &mut [&'a mut [F]; N], len: usize) -> [&'a mut [F]; N] {
    outs.each_mut().map(|out| {
        let len = len.min(out.len());
        let (piece, rest) = std::mem::take(out).split_at_mut(len);
        *out = rest;
        piece
    })
}

#[cfg(test)]
mod tests;
