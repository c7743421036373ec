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
mod operands;
mod patches;
pub mod winograd;

use super::gemm::{Blocking, Into, Left, Matrix, pack_all, product, product_scratch};
use super::{Scalar, simd, threads};
use operands::{Cells, Images, PhaseCells, PhaseWeights};
use patches::{Frame, Patches, Runs, narrow};
use winograd::{WeightGrads, Weights, Winograd};

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

/// The cells of the input with one residue modulo the strides, and the kernel taps that they see.
#[derive(Clone, Debug)]
struct Phase {
    /// Offset in the frame of the output gradient by (output channel of the group, tap).
    starts: Vec<u32>,
    /// Offset in the weights of the group by (output channel, tap), for input channel 0.
    weight: Vec<u32>,
    /// Rows and columns of the phase.
    cells: [usize; 2],
    /// The first row and column.
    first: [usize; 2],
}

/// How the input gradient is found.
#[derive(Clone, Debug)]
enum InputGrad {
    /// Products with patches of the output gradient, one for each phase.
    Phases(Frame, Vec<Phase>),
    /// The product with the output gradient itself gives the share of every tap, which is added where the tap lies: with
    /// few input channels that is the larger product of the two, and nothing needs packing.
    Scatter,
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

    /// Minimal filtering, if it is the method for this precision.
    fn fast<F: Scalar>(&self) -> Option<&Winograd> {
        self.winograd.as_ref().filter(|_| size_of::<F>() == size_of::<f32>())
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

    fn forward_sizes(&self) -> (usize, usize, usize) {
        (self.group().0, self.together * self.cells(), self.starts.len())
    }

    fn forward_packed<F: Scalar>(&self) -> usize {
        let (m, n, k) = self.forward_sizes();
        Blocking::<F>::new(m, n, k, true).packed_len(m, k)
    }

    fn forward_task<F: Scalar>(&self) -> usize {
        let (m, n, k) = self.forward_sizes();
        self.frames(&self.frame, self.shape.in_channels) + product_scratch::<F>(m, n, k, true)
    }

    /// Scratch of [`Self::forward`] in elements, for the number of threads in use now.
    pub fn forward_scratch<F: Scalar>(&self) -> usize {
        if let Some(winograd) = self.fast::<F>() {
            return winograd.forward_scratch(1);
        }
        if self.is_depthwise() {
            return self.tasks() * self.depthwise_task();
        }
        self.shape.groups * self.forward_packed::<F>() + self.tasks() * self.forward_task::<F>()
    }

    /// y = x cross-correlated with w, plus the bias.
    pub fn forward<F: Scalar>(&self, x: &[F], w: &[F], bias: Option<&[F]>, y: &mut [F], scratch: &mut [F]) {
        let s = &self.shape;
        assert!(
            x.len() == s.x_len() && w.len() == s.w_len() && y.len() == self.y_len(),
            "operands have the planned sizes"
        );
        if let Some(winograd) = self.fast::<F>() {
            return winograd.forward(x, Weights::Shared(w), bias, y, scratch);
        }
        if self.is_depthwise() {
            return self.depthwise_forward(x, w, bias, y, scratch);
        }
        let (o, c, weights) = self.group();
        let ((x_len, y_len), cells) = (self.images(), self.cells());
        let (m, n, k) = self.forward_sizes();
        let blocking = Blocking::<F>::new(m, n, k, true);
        let per_group = self.forward_packed::<F>();
        let (packed, scratch) = scratch.split_at_mut(s.groups * per_group);
        for (w, packed) in w.chunks_exact(weights).zip(packed.chunks_exact_mut(per_group)) {
            pack_all(&blocking, m, k, &Matrix::row_major(w, k), packed);
        }
        let packed = &*packed;
        let most = self.starts.iter().copied().max().unwrap_or(0) as usize;
        let step = s.stride[0] * self.frame.columns();
        self.over_images(y, y_len, scratch, self.forward_task::<F>(), |first, y, scratch| {
            let images = y.len() / y_len;
            let x = &x[first * x_len..(first + images) * x_len];
            let (frames, scratch) = scratch.split_at_mut(self.frames(&self.frame, s.in_channels));
            let data = filled(&self.frame, x, x_len, s.in_channels, frames);
            let block = data.len() / images;
            for g in 0..s.groups {
                let runs = Runs::new(self.output[1], (self.output[0], step), block);
                let data = &data[g * c * self.frame.plane()..];
                let patches = Patches { data, starts: &self.starts, most, runs };
                let left: Left<'_, F, Matrix<'_, F>> = Left::Packed(&packed[g * per_group..(g + 1) * per_group]);
                let bias = bias.map(|b| &b[g * o..(g + 1) * o]);
                let mut sink = Images { data: &mut y[g * o * cells..], image: y_len, cells, bias };
                product((m, images * cells, k), left, &patches, &mut sink, scratch);
            }
        });
    }

    /// Sizes of the product of a phase.
    fn phase_sizes(&self, phase: &Phase) -> (usize, usize, usize) {
        (self.group().1, self.together * phase.cells[0] * phase.cells[1], phase.starts.len())
    }

    /// Output rows whose shares are scattered at once: their products stay in the second-level cache.
    fn scatter_rows(&self) -> usize {
        let per_row = self.group().1 * self.shape.kernel[0] * self.shape.kernel[1] * self.output[1];
        ((32 << 10) / per_row.max(1)).clamp(1, self.output[0])
    }

    /// Sizes of the product of the scatter.
    fn scatter_sizes(&self) -> (usize, usize, usize) {
        let (o, c, _) = self.group();
        (c * self.shape.kernel[0] * self.shape.kernel[1], self.scatter_rows() * self.output[1], o)
    }

    /// Packed weights of the input gradient, of one group of channels.
    fn input_packed<F: Scalar>(&self) -> usize {
        let packed = |(m, n, k)| Blocking::<F>::new(m, n, k, true).packed_len(m, k);
        match &self.input_grad {
            InputGrad::Phases(_, phases) => phases.iter().map(|p| packed(self.phase_sizes(p))).sum(),
            InputGrad::Scatter => packed(self.scatter_sizes()),
        }
    }

    fn input_grad_task<F: Scalar>(&self) -> usize {
        let product = |(m, n, k)| product_scratch::<F>(m, n, k, true);
        match &self.input_grad {
            InputGrad::Phases(frame, phases) => {
                let most = phases.iter().map(|p| product(self.phase_sizes(p))).max().unwrap_or(0);
                self.frames(frame, self.shape.out_channels) + most
            }
            InputGrad::Scatter => {
                let (m, n, _) = self.scatter_sizes();
                self.shape.in_channels * self.last.plane() + m * n + product(self.scatter_sizes())
            }
        }
    }

    /// Scratch of [`Self::input_grad`] in elements, for the number of threads in use now.
    pub fn input_grad_scratch<F: Scalar>(&self) -> usize {
        if let Some(winograd) = self.fast::<F>() {
            return winograd.input_grad_scratch(1);
        }
        if self.is_depthwise() {
            return self.tasks() * self.depthwise_task();
        }
        self.shape.groups * self.input_packed::<F>() + self.tasks() * self.input_grad_task::<F>()
    }

    /// dx = the gradient of sum(dy * y) in x. Also the transposed convolution of dy with w.
    pub fn input_grad<F: Scalar>(&self, dy: &[F], w: &[F], dx: &mut [F], scratch: &mut [F]) {
        let s = &self.shape;
        assert!(
            dx.len() == s.x_len() && w.len() == s.w_len() && dy.len() == self.y_len(),
            "operands have the planned sizes"
        );
        if let Some(winograd) = self.fast::<F>() {
            return winograd.input_grad(dy, Weights::Shared(w), dx, scratch);
        }
        if self.is_depthwise() {
            return self.depthwise_input_grad(dy, w, dx, scratch);
        }
        let (o, c, weights) = self.group();
        let taps = s.kernel[0] * s.kernel[1];
        let ((x_len, y_len), plane) = (self.images(), s.input[0] * s.input[1]);
        let per_group = self.input_packed::<F>();
        let (packed, scratch) = scratch.split_at_mut(s.groups * per_group);
        for g in 0..s.groups {
            let w = &w[g * weights..(g + 1) * weights];
            let mut rest = &mut packed[g * per_group..(g + 1) * per_group];
            match &self.input_grad {
                InputGrad::Phases(_, phases) => {
                    for phase in phases {
                        let (m, n, k) = self.phase_sizes(phase);
                        let blocking = Blocking::<F>::new(m, n, k, true);
                        let (mine, others) = rest.split_at_mut(blocking.packed_len(m, k));
                        pack_all(&blocking, m, k, &PhaseWeights { w, taps, weight: &phase.weight }, mine);
                        rest = others;
                    }
                }
                InputGrad::Scatter => {
                    let (m, n, k) = self.scatter_sizes();
                    pack_all(&Blocking::<F>::new(m, n, k, true), m, k, &Matrix::row_major(w, m).t(), rest);
                }
            }
        }
        let packed = &*packed;
        self.over_images(dx, x_len, scratch, self.input_grad_task::<F>(), |first, dx, scratch| {
            let images = dx.len() / x_len;
            let dy = &dy[first * y_len..(first + images) * y_len];
            let (frame, phases) = match &self.input_grad {
                InputGrad::Phases(frame, phases) => (frame, phases),
                InputGrad::Scatter => return self.scatter(dy, packed, dx, scratch),
            };
            let covered: usize = phases.iter().map(|p| p.cells[0] * p.cells[1]).sum();
            if covered != plane {
                dx.fill(F::ZERO);
            }
            let (frames, scratch) = scratch.split_at_mut(self.frames(frame, s.out_channels));
            let data = filled(frame, dy, y_len, s.out_channels, frames);
            let block = data.len() / images;
            for g in 0..s.groups {
                let data = &data[g * o * frame.plane()..];
                let dx = &mut dx[g * c * plane..];
                let mut rest = &packed[g * per_group..(g + 1) * per_group];
                for phase in phases {
                    let (m, n, k) = self.phase_sizes(phase);
                    let (mine, others) = rest.split_at(Blocking::<F>::new(m, n, k, true).packed_len(m, k));
                    rest = others;
                    let runs = Runs::new(phase.cells[1], (phase.cells[0], frame.columns()), block);
                    let most = phase.starts.iter().copied().max().unwrap_or(0) as usize;
                    let patches = Patches { data, starts: &phase.starts, most, runs };
                    let left: Left<'_, F, Matrix<'_, F>> = Left::Packed(mine);
                    let n = images * phase.cells[0] * phase.cells[1];
                    if s.stride == [1, 1] {
                        let mut sink = Images { data: &mut *dx, image: x_len, cells: plane, bias: None };
                        product((m, n, k), left, &patches, &mut sink, scratch);
                    } else {
                        let (width, stride) = (s.input[1], s.stride);
                        let mut sink = PhaseCells { data: &mut *dx, image: x_len, plane, width, stride, phase };
                        product((m, n, k), left, &patches, &mut sink, scratch);
                    }
                }
            }
        });
    }

    /// The input gradient of some images, share by share: see [`InputGrad::Scatter`].
    fn scatter<F: Scalar>(&self, dy: &[F], packed: &[F], dx: &mut [F], scratch: &mut [F]) {
        let s = &self.shape;
        let (o, c, _) = self.group();
        let ((x_len, y_len), cells, width) = (self.images(), self.cells(), self.output[1]);
        let (m, n, k) = self.scatter_sizes();
        let per_group = packed.len() / s.groups;
        let (frames, scratch) = scratch.split_at_mut(s.in_channels * self.last.plane());
        let (shares, scratch) = scratch.split_at_mut(m * n);
        for (dy, dx) in dy.chunks_exact(y_len).zip(dx.chunks_exact_mut(x_len)) {
            frames.fill(F::ZERO);
            for g in 0..s.groups {
                let frames = &mut frames[g * c * self.last.plane()..(g + 1) * c * self.last.plane()];
                for top in (0..self.output[0]).step_by(self.scatter_rows()) {
                    let rows = (self.output[0] - top).min(self.scatter_rows());
                    let columns = rows * width;
                    let right = Matrix { data: &dy[g * o * cells + top * width..], row_stride: cells, col_stride: 1 };
                    let left: Left<'_, F, Matrix<'_, F>> = Left::Packed(&packed[g * per_group..(g + 1) * per_group]);
                    let mut sink = Into { data: &mut shares[..m * columns], row_stride: columns, present: false };
                    product((m, columns, k), left, &right, &mut sink, scratch);
                    let taps = shares[..m * columns].chunks_exact(columns);
                    simd::dispatch(
                        #[inline(always)]
                        || {
                            for (t, share) in taps.enumerate() {
                                let (c, r, v) =
                                    (t / (s.kernel[0] * s.kernel[1]), t / s.kernel[1] % s.kernel[0], t % s.kernel[1]);
                                let plane = &mut frames[c * self.last.plane()..(c + 1) * self.last.plane()];
                                for (p, share) in share.chunks_exact(width).enumerate() {
                                    let row = (top + p) * s.stride[0] + r * s.dilation[0];
                                    let to = &mut plane[self.last.at(row, v * s.dilation[1])..];
                                    if s.stride[1] == 1 {
                                        to.iter_mut().zip(share).for_each(|(t, &d)| *t += d);
                                    } else {
                                        to.iter_mut().step_by(s.stride[1]).zip(share).for_each(|(t, &d)| *t += d);
                                    }
                                }
                            }
                        },
                    );
                }
            }
            self.last.take(frames, dx);
        }
    }

    /// Terms of a row of the weight gradient as runs in an image whose channels are innermost.
    fn taps_last(&self) -> Runs {
        let s = &self.shape;
        let (_, c, _) = self.group();
        let (row, column) = (s.dilation[0] * self.last.padded[1] * s.in_channels, s.dilation[1] * s.in_channels);
        Runs::new(c, (s.kernel[1], column), row)
    }

    fn weight_sizes(&self) -> (usize, usize, usize) {
        (self.group().0, self.starts.len(), self.together * self.cells())
    }

    fn weight_grad_task<F: Scalar>(&self) -> usize {
        if self.is_depthwise() {
            return self.depthwise_task();
        }
        let (m, n, k) = self.weight_sizes();
        self.together * self.shape.in_channels * self.last.plane() + product_scratch::<F>(m, n, k, false)
    }

    /// Partial sums of the weight gradient: a number that depends on the shape alone.
    fn weight_parts(&self) -> usize {
        threads::parts(self.shape.batch.div_ceil(self.together), self.shape.w_len())
    }

    /// Scratch of [`Self::weight_grad`] in elements, for the number of threads in use now.
    pub fn weight_grad_scratch<F: Scalar>(&self) -> usize {
        if let Some(winograd) = self.fast::<F>() {
            return winograd.weight_grad_scratch(1);
        }
        let parts = self.weight_parts();
        parts * self.shape.w_len() + threads::tasks(parts, self.work()) * self.weight_grad_task::<F>()
    }

    /// Partial sums by part of the batch, in `sums`: (output channel, tap, input channel).
    fn weight_sums<F: Scalar>(&self, x: &[F], dy: &[F], sums: &mut [F], n_tasks: usize, scratch: &mut [F]) {
        let s = &self.shape;
        let (parts, w_len, cells) = (self.weight_parts(), s.w_len(), self.cells());
        let (o, c, weights) = self.group();
        let (x_len, y_len) = self.images();
        let (m, n, _) = self.weight_sizes();
        let per_task = self.weight_grad_task::<F>();
        let taps = self.taps_last();
        let frame: usize = s.in_channels * self.last.plane();
        let groups_of_images = s.batch.div_ceil(self.together);
        over_items(sums, w_len, n_tasks, scratch, per_task, |index, sum, scratch| {
            let (frames, scratch) = scratch.split_at_mut(self.together * frame);
            frames.fill(F::ZERO);
            let range = threads::part(groups_of_images, parts, index);
            for (i, group) in range.enumerate() {
                let first = group * self.together;
                let images = (s.batch - first).min(self.together);
                let x = x[first * x_len..].chunks_exact(x_len).take(images);
                for (x, to) in x.zip(frames.chunks_exact_mut(frame)) {
                    self.last.fill_channels_last(s.in_channels, x, to);
                }
                for g in 0..s.groups {
                    // The roles are exchanged: the sum runs over output cells, the columns are the taps.
                    let starts = &self.cells_last[..images * cells];
                    let data = &frames[g * c..];
                    let most = starts.iter().copied().max().unwrap_or(0) as usize;
                    let patches = Patches { data, starts, most, runs: taps };
                    let left = Cells { dy: &dy[first * y_len + g * o * cells..], image: y_len, cells };
                    let data = &mut sum[g * weights..(g + 1) * weights];
                    let mut sink = Into { data, row_stride: n, present: i > 0 };
                    product((m, n, images * cells), Left::Source(&left), &patches, &mut sink, scratch);
                }
            }
        });
    }

    /// dw = the gradient of sum(dy * y) in w: partial sums over fixed parts of the batch, added up in order.
    pub fn weight_grad<F: Scalar>(&self, x: &[F], dy: &[F], dw: &mut [F], scratch: &mut [F]) {
        let s = &self.shape;
        assert!(
            x.len() == s.x_len() && dw.len() == s.w_len() && dy.len() == self.y_len(),
            "operands have the planned sizes"
        );
        if let Some(winograd) = self.fast::<F>() {
            return winograd.weight_grad(x, dy, WeightGrads::Shared(dw), scratch);
        }
        if s.batch == 0 {
            return dw.fill(F::ZERO);
        }
        let (parts, w_len) = (self.weight_parts(), s.w_len());
        let (_, c, _) = self.group();
        let (sums, scratch) = scratch.split_at_mut(parts * w_len);
        let per_task = self.weight_grad_task::<F>();
        let n_tasks = threads::tasks(parts, self.work()).min(scratch.len() / per_task.max(1)).max(1);
        if self.is_depthwise() {
            self.depthwise_weight_sums(x, dy, sums, n_tasks, scratch);
        } else {
            self.weight_sums(x, dy, sums, n_tasks, scratch);
        }
        // From (output channel, tap, input channel) to (output channel, input channel, tap).
        let taps = s.kernel[0] * s.kernel[1];
        for (o, dw) in dw.chunks_exact_mut(c * taps).enumerate() {
            for (channel, dw) in dw.chunks_exact_mut(taps).enumerate() {
                for (tap, dw) in dw.iter_mut().enumerate() {
                    let at = o * c * taps + tap * c + channel;
                    *dw = sums[at];
                    for sum in sums[w_len..].chunks_exact(w_len) {
                        *dw += sum[at];
                    }
                }
            }
        }
    }

    /// db \[O] = the gradient of sum(dy * y) in the bias.
    pub fn bias_grad<F: Scalar>(&self, dy: &[F], db: &mut [F]) {
        let cells = self.cells();
        let channels = self.shape.out_channels;
        for (o, db) in db.iter_mut().enumerate() {
            let total: f64 = (0..self.shape.batch)
                .map(|n| super::reduce::sum(&dy[(n * channels + o) * cells..][..cells]).to_f64())
                .sum();
            *db = F::from_f64(total);
        }
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
        over_items(out, self.together * len, n_tasks, scratch, per_task, |group, out, scratch| {
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

/// Calls `f(index, item, scratch)` for every piece of `len` elements of `out` (the last one may be shorter), `n_tasks` at
/// a time.
fn over_items<F: Scalar>(
    out: &mut [F],
    len: usize,
    n_tasks: usize,
    scratch: &mut [F],
    per_task: usize,
    f: impl Fn(usize, &mut [F], &mut [F]) + Sync,
) {
    let len = len.max(1);
    let items = out.len().div_ceil(len);
    if n_tasks <= 1 {
        for (n, out) in out.chunks_mut(len).enumerate() {
            f(n, out, &mut scratch[..per_task]);
        }
        return;
    }
    rayon::scope(|scope| {
        let (mut rest, mut scratch) = (out, scratch);
        for index in 0..n_tasks {
            let range = threads::part(items, n_tasks, index);
            let (head, tail) = rest.split_at_mut((range.len() * len).min(rest.len()));
            let (mine, others) = scratch.split_at_mut(per_task);
            (rest, scratch) = (tail, others);
            let f = &f;
            scope.spawn(move |_| {
                for (n, out) in range.zip(head.chunks_mut(len)) {
                    f(n, out, mine);
                }
            });
        }
    });
}

/// Of one residue modulo a stride: the number of cells, and (tap, shift) with output row = cell + shift.
type Residue = (usize, Vec<(usize, isize)>);

/// The phases of the input gradient and the padding of the output gradient that they need.
fn phases(shape: &Conv2dShape, output: [usize; 2]) -> (Frame, Vec<Phase>) {
    let by_axis: [Vec<Residue>; 2] = std::array::from_fn(|axis| {
        let stride = shape.stride[axis];
        (0..stride.min(shape.input[axis]))
            .map(|residue| {
                let cells = (shape.input[axis] - residue).div_ceil(stride);
                let taps = (0..shape.kernel[axis])
                    .filter_map(|tap| {
                        let distance =
                            (residue + shape.padding[axis][0]) as isize - (tap * shape.dilation[axis]) as isize;
                        (distance.rem_euclid(stride as isize) == 0).then(|| (tap, distance.div_euclid(stride as isize)))
                    })
                    .collect();
                (cells, taps)
            })
            .collect()
    });
    let margins: [(usize, usize); 2] = std::array::from_fn(|axis| {
        let mut margin = (0isize, 0isize);
        for (cells, taps) in &by_axis[axis] {
            for &(_, shift) in taps {
                margin.0 = margin.0.max(-shift);
                margin.1 = margin.1.max(shift + *cells as isize - output[axis] as isize);
            }
        }
        (margin.0 as usize, margin.1 as usize)
    });
    let image = Frame {
        size: output,
        before: [margins[0].0, margins[1].0],
        padded: std::array::from_fn(|a| output[a] + margins[a].0 + margins[a].1),
        step: 1,
    };
    let width = image.padded[1];
    let out_channels = shape.out_channels / shape.groups;
    let in_channels = shape.in_channels / shape.groups;
    let mut phases = Vec::new();
    for (row_residue, (rows, row_taps)) in by_axis[0].iter().enumerate() {
        for (col_residue, (cols, col_taps)) in by_axis[1].iter().enumerate() {
            if row_taps.is_empty() || col_taps.is_empty() {
                continue;
            }
            let mut phase = Phase {
                starts: Vec::new(),
                weight: Vec::new(),
                cells: [*rows, *cols],
                first: [row_residue, col_residue],
            };
            for o in 0..out_channels {
                for &(r, row_shift) in row_taps {
                    for &(s, col_shift) in col_taps {
                        let row = (margins[0].0 as isize + row_shift) as usize;
                        let col = (margins[1].0 as isize + col_shift) as usize;
                        phase.starts.push(narrow(o * image.plane() + row * width + col));
                        let weight = (o * in_channels * shape.kernel[0] + r) * shape.kernel[1] + s;
                        phase.weight.push(narrow(weight));
                    }
                }
            }
            phases.push(phase);
        }
    }
    (image, phases)
}

#[cfg(test)]
mod tests;
