//! Two-dimensional cross-correlation with zero padding, and its two gradients.
//!
//! ```text
//! y[n,o,p,q] = b[o] + sum over c,r,s of x[n, g C/G + c, p sh + r dh - top, q sw + s dw - left] w[o,c,r,s]
//! x [N,C,H,W]   w [O,C/G,R,S]   b [O]   y [N,O,P,Q],   g = the group of output channel o
//! ```
//!
//! Each product is an implicit one: element (k, j) of the right operand is `image[term[k] + site[j]]` in a zero-padded
//! copy of one image, with both tables computed once in [`Conv2d::new`]. The input gradient is cut into stride phases:
//! the cells (h, w) with the same residues modulo the strides see the same kernel taps, so that each phase is again
//! such a product and no multiplication by an inserted zero is done. A transposed convolution is the input gradient.
//! Source: Dumoulin & Visin 2016, arXiv:1603.07285.
pub mod rows;

use super::gemm::{Into, Matrix, PackA, PackB, Sink, product, product_and_square, product_scratch};
use super::{Scalar, simd, threads};

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

/// The weights of a convolution, which may differ from image to image.
pub trait ImageWeights<F: Scalar>: Sync {
    /// Elements of scratch that the weights of one image take.
    fn scratch(&self) -> usize;
    /// The weights of image `n` [O, C / G, R, S]; `scratch` has [`Self::scratch`] elements and may hold anything.
    fn of<'a>(&'a self, n: usize, scratch: &'a mut [F]) -> &'a [F];
}

/// One array of weights for all images.
#[derive(Clone, Copy, Debug)]
pub struct Shared<'a, F>(pub &'a [F]);

impl<F: Scalar> ImageWeights<F> for Shared<'_, F> {
    fn scratch(&self) -> usize {
        0
    }
    fn of<'a>(&'a self, _: usize, _: &'a mut [F]) -> &'a [F] {
        self.0
    }
}

/// What becomes of the weight gradients of the images.
pub trait ImageGradients<F: Scalar>: Sync {
    /// Arrays of the size of the weights in the result.
    fn arrays(&self) -> usize;
    /// Elements of scratch of one call of [`Self::add`].
    fn scratch(&self) -> usize;
    /// Adds what the gradient of image `n` contributes to `sums`. Of one array the sum is the plain one and this is
    /// never called.
    fn add(&self, n: usize, gradient: &[F], sums: &mut [F], scratch: &mut [F]);
}

/// The plain sum over the images.
#[derive(Clone, Copy, Debug)]
pub struct PlainSum;

impl<F: Scalar> ImageGradients<F> for PlainSum {
    fn arrays(&self) -> usize {
        1
    }
    fn scratch(&self) -> usize {
        0
    }
    fn add(&self, _: usize, _: &[F], _: &mut [F], _: &mut [F]) {
        unreachable!("images are summed as they come");
    }
}

/// Where the cells of an image and of its zero-padded copy are.
#[derive(Clone, Debug)]
struct Padded {
    size: [usize; 2],
    before: [usize; 2],
    padded: [usize; 2],
}

impl Padded {
    /// Elements of the copy; 0 when no padding is needed and the image serves itself.
    fn scratch(&self, channels: usize) -> usize {
        if self.size == self.padded { 0 } else { channels * self.plane() }
    }

    /// Elements of one padded channel.
    fn plane(&self) -> usize {
        self.padded[0] * self.padded[1]
    }

    /// The padded copy of `channels` channels in `scratch`, or the image itself.
    fn copy<'a, F: Scalar>(&self, channels: usize, image: &'a [F], scratch: &'a mut [F]) -> &'a [F] {
        if self.size == self.padded {
            return image;
        }
        let copy = &mut scratch[..channels * self.plane()];
        copy.fill(F::ZERO);
        let [height, width] = self.size;
        for (from, to) in image.chunks_exact(height * width).zip(copy.chunks_exact_mut(self.plane())) {
            for (row, from) in from.chunks_exact(width).enumerate() {
                let at = (row + self.before[0]) * self.padded[1] + self.before[1];
                to[at..at + width].copy_from_slice(from);
            }
        }
        copy
    }
}

/// The cells of the input with one residue modulo the strides, and the kernel taps that they see.
#[derive(Clone, Debug)]
struct Phase {
    /// Offset in the padded output gradient by (output channel of the group, tap).
    term: Vec<u32>,
    /// Offset in the weights of the group by (output channel, tap), for input channel 0.
    weight: Vec<u32>,
    /// Offset in the padded output gradient by cell of the phase.
    site: Vec<u32>,
    /// Position in a channel of the input by cell of the phase.
    cell: Vec<u32>,
}

/// A convolution whose index tables are ready.
#[derive(Clone, Debug)]
pub struct Conv2d {
    shape: Conv2dShape,
    output: [usize; 2],
    x_image: Padded,
    /// Offset in the padded input by (input channel of the group, tap).
    term: Vec<u32>,
    /// Offset in the padded input by output cell.
    site: Vec<u32>,
    dy_image: Padded,
    phases: Vec<Phase>,
}

/// Element (k, j) = image[term[k] + site[j]], packed without writing the whole matrix.
struct Patches<'a, F> {
    image: &'a [F],
    term: &'a [u32],
    site: &'a [u32],
}

impl<F: Scalar> PackB<F> for Patches<'_, F> {
    fn pack_b(&self, k: usize, kc: usize, j: usize, n: usize, out: &mut [F]) {
        simd::dispatch(
            #[inline(always)]
            || {
                let terms = &self.term[k..k + kc];
                for (panel, out) in out[..n.div_ceil(F::NR) * F::NR * kc].chunks_exact_mut(F::NR * kc).enumerate() {
                    let first = j + panel * F::NR;
                    let sites = &self.site[first..(first + F::NR).min(j + n)];
                    pack_patch_panel(self.image, terms, sites, F::NR, out);
                }
            },
        );
    }
}

/// Packs one panel of at most `width` sites.
#[inline(always)]
fn pack_patch_panel<F: Scalar>(image: &[F], terms: &[u32], sites: &[u32], width: usize, out: &mut [F]) {
    let start = sites[0] as usize;
    let whole = sites.len() == width;
    if whole && sites[width - 1] as usize - start == width - 1 {
        for (out, &term) in out.chunks_exact_mut(width).zip(terms) {
            let at = term as usize + start;
            out.copy_from_slice(&image[at..at + width]);
        }
        return;
    }
    let mut steps = [0usize; 16];
    for (step, &site) in steps.iter_mut().zip(sites) {
        *step = site as usize;
    }
    for (out, &term) in out.chunks_exact_mut(width).zip(terms) {
        let image = &image[term as usize..];
        for (out, &step) in out.iter_mut().zip(&steps) {
            *out = image[step];
        }
        out[sites.len()..].fill(F::ZERO);
    }
}

/// Rows of the left operand of the input gradient: element (c, k) = w[c * taps + weight[k]].
struct PhaseWeights<'a, F> {
    w: &'a [F],
    taps: usize,
    weight: &'a [u32],
}

impl<F: Scalar> PackA<F> for PhaseWeights<'_, F> {
    fn pack_a(&self, i: usize, m: usize, k: usize, kc: usize, out: &mut [F]) {
        let weight = &self.weight[k..k + kc];
        for (panel, out) in out[..m.div_ceil(F::MR) * F::MR * kc].chunks_exact_mut(F::MR * kc).enumerate() {
            let first = i + panel * F::MR;
            let lines = (i + m - first).min(F::MR);
            for (out, &at) in out.chunks_exact_mut(F::MR).zip(weight) {
                for (line, out) in out.iter_mut().enumerate() {
                    *out = if line < lines { self.w[at as usize + (first + line) * self.taps] } else { F::ZERO };
                }
            }
        }
    }
}

/// Adds tiles to the cells of one phase.
struct Cells<'a, F> {
    data: &'a mut [F],
    plane: usize,
    cell: &'a [u32],
}

impl<F: Scalar> Sink<F> for Cells<'_, F> {
    #[inline(always)]
    fn add(&mut self, i: usize, m: usize, j: usize, n: usize, tile: &[F]) {
        for (r, tile) in tile.chunks_exact(F::NR).take(m).enumerate() {
            let plane = &mut self.data[(i + r) * self.plane..(i + r + 1) * self.plane];
            for (&cell, &t) in self.cell[j..j + n].iter().zip(tile) {
                plane[cell as usize] += t;
            }
        }
    }
}

fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).expect("one padded image has fewer than 2^32 elements")
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
        let x_image = Padded { size: shape.input, before, padded };
        let mut term = Vec::new();
        for c in 0..shape.in_channels / shape.groups {
            for r in 0..shape.kernel[0] {
                for s in 0..shape.kernel[1] {
                    let row = r * shape.dilation[0];
                    term.push(narrow(c * x_image.plane() + row * padded[1] + s * shape.dilation[1]));
                }
            }
        }
        let mut site = Vec::new();
        for p in 0..output[0] {
            for q in 0..output[1] {
                site.push(narrow(p * shape.stride[0] * padded[1] + q * shape.stride[1]));
            }
        }
        let (dy_image, phases) = phases(&shape, output);
        Self { shape, output, x_image, term, site, dy_image, phases }
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

    /// Multiplications of one pass over the batch.
    fn work(&self) -> usize {
        self.shape.batch * self.shape.out_channels * self.cells() * self.term.len()
    }

    fn tasks(&self) -> usize {
        threads::tasks(self.shape.batch, self.work())
    }

    fn forward_task<F: Scalar>(&self) -> usize {
        let (o, _, _) = self.group();
        self.x_image.scratch(self.shape.in_channels) + product_scratch::<F>(o, self.cells(), self.term.len())
    }

    /// Scratch of [`Self::forward`] in elements, for the number of threads in use now.
    pub fn forward_scratch<F: Scalar>(&self) -> usize {
        self.tasks() * self.forward_task::<F>()
    }

    /// Scratch beyond that of shared weights, of weights that take `each` elements for an image.
    pub fn weights_scratch(&self, each: usize) -> usize {
        self.tasks() * each
    }

    /// y = x cross-correlated with w, plus the bias.
    pub fn forward<F: Scalar>(&self, x: &[F], w: &[F], bias: Option<&[F]>, y: &mut [F], scratch: &mut [F]) {
        assert_eq!(w.len(), self.shape.w_len(), "weights have the planned size");
        self.forward_with(x, &Shared(w), bias, y, scratch);
    }

    /// As [`Self::forward`] with weights that may differ from image to image. Scratch: [`Self::forward_scratch`] and
    /// [`Self::weights_scratch`] together.
    pub fn forward_with<F: Scalar>(
        &self,
        x: &[F],
        weights: &impl ImageWeights<F>,
        bias: Option<&[F]>,
        y: &mut [F],
        scratch: &mut [F],
    ) {
        let s = &self.shape;
        assert!(x.len() == s.x_len() && y.len() == self.y_len(), "operands have the planned sizes");
        let cells = self.cells();
        let (o, c, len) = self.group();
        let (x_len, y_len) = (x.len() / s.batch.max(1), s.out_channels * cells);
        self.over_images(y, y_len, scratch, self.forward_task::<F>() + weights.scratch(), |n, y, scratch| {
            let (own, scratch) = scratch.split_at_mut(weights.scratch());
            let w = weights.of(n, own);
            match bias {
                Some(bias) => {
                    for (y, &b) in y.chunks_exact_mut(cells).zip(bias) {
                        y.fill(b);
                    }
                }
                None => y.fill(F::ZERO),
            }
            let (copy, scratch) = scratch.split_at_mut(self.x_image.scratch(s.in_channels));
            let image = self.x_image.copy(s.in_channels, &x[n * x_len..(n + 1) * x_len], copy);
            for g in 0..s.groups {
                let patches =
                    Patches { image: &image[g * c * self.x_image.plane()..], term: &self.term, site: &self.site };
                let w = Matrix::row_major(&w[g * len..(g + 1) * len], self.term.len());
                let data = &mut y[g * o * cells..(g + 1) * o * cells];
                let mut sink = Into { data, row_stride: cells, col_stride: 1, alpha: F::ONE };
                product(o, 0, cells, self.term.len(), &w, &patches, &mut sink, scratch);
            }
        });
    }

    /// Means and variances of the outputs for independent weights with means `loc` and variances `square`: x
    /// cross-correlated with `loc`, and x squared with `square`, from the same patches; then `finish(start, mean,
    /// variance)` for every image, `start` being the position of its first element. Scratch as of [`Self::forward`].
    #[expect(clippy::too_many_arguments, reason = "operands and results of two convolutions")]
    pub fn forward_moments<F: Scalar>(
        &self,
        x: &[F],
        loc: &[F],
        square: &[F],
        mean: &mut [F],
        variance: &mut [F],
        finish: impl Fn(usize, &mut [F], &mut [F]) + Sync,
        scratch: &mut [F],
    ) {
        let s = &self.shape;
        assert!(
            x.len() == s.x_len() && loc.len() == s.w_len() && square.len() == s.w_len(),
            "operands have the planned sizes"
        );
        assert!(mean.len() == self.y_len() && variance.len() == self.y_len(), "results have the planned sizes");
        let cells = self.cells();
        let (o, c, len) = self.group();
        let (x_len, y_len) = (s.x_len() / s.batch.max(1), s.out_channels * cells);
        let per_task = self.forward_task::<F>();
        assert!(scratch.len() >= per_task, "scratch of the planned size");
        let n_tasks = self.tasks().min(scratch.len() / per_task.max(1)).max(1);
        over_pairs(mean, variance, y_len, n_tasks, scratch, per_task, |n, mean, variance, scratch| {
            mean.fill(F::ZERO);
            variance.fill(F::ZERO);
            let (copy, scratch) = scratch.split_at_mut(self.x_image.scratch(s.in_channels));
            let image = self.x_image.copy(s.in_channels, &x[n * x_len..(n + 1) * x_len], copy);
            for g in 0..s.groups {
                let patches =
                    Patches { image: &image[g * c * self.x_image.plane()..], term: &self.term, site: &self.site };
                let [loc, square] =
                    [loc, square].map(|w| Matrix::row_major(&w[g * len..(g + 1) * len], self.term.len()));
                let rows = g * o * cells..(g + 1) * o * cells;
                let into = |data| Into { data, row_stride: cells, col_stride: 1, alpha: F::ONE };
                let (mut first, mut second) = (into(&mut mean[rows.clone()]), into(&mut variance[rows]));
                let sinks = [&mut first, &mut second];
                product_and_square(o, (0, cells), self.term.len(), &loc, &square, &patches, sinks, scratch);
            }
            finish(n * y_len, mean, variance);
        });
    }

    fn input_grad_task<F: Scalar>(&self) -> usize {
        let (_, c, _) = self.group();
        let blocks = self.phases.iter().map(|p| product_scratch::<F>(c, p.site.len(), p.term.len())).max();
        self.dy_image.scratch(self.shape.out_channels) + blocks.unwrap_or(0)
    }

    /// Scratch of [`Self::input_grad`] in elements, for the number of threads in use now.
    pub fn input_grad_scratch<F: Scalar>(&self) -> usize {
        self.tasks() * self.input_grad_task::<F>()
    }

    /// dx = the gradient of sum(dy * y) in x. Also the transposed convolution of dy with w.
    pub fn input_grad<F: Scalar>(&self, dy: &[F], w: &[F], dx: &mut [F], scratch: &mut [F]) {
        assert_eq!(w.len(), self.shape.w_len(), "weights have the planned size");
        self.input_grad_with(dy, &Shared(w), dx, scratch);
    }

    /// As [`Self::input_grad`] with weights that may differ from image to image. Scratch: [`Self::input_grad_scratch`]
    /// and [`Self::weights_scratch`] together.
    pub fn input_grad_with<F: Scalar>(
        &self,
        dy: &[F],
        weights: &impl ImageWeights<F>,
        dx: &mut [F],
        scratch: &mut [F],
    ) {
        let s = &self.shape;
        assert!(dx.len() == s.x_len() && dy.len() == self.y_len(), "operands have the planned sizes");
        let (o, c, len) = self.group();
        let (plane, taps) = (s.input[0] * s.input[1], s.kernel[0] * s.kernel[1]);
        let (x_len, y_len) = (s.in_channels * plane, s.out_channels * self.cells());
        self.over_images(dx, x_len, scratch, self.input_grad_task::<F>() + weights.scratch(), |n, dx, scratch| {
            let (own, scratch) = scratch.split_at_mut(weights.scratch());
            let w = weights.of(n, own);
            dx.fill(F::ZERO);
            let (copy, scratch) = scratch.split_at_mut(self.dy_image.scratch(s.out_channels));
            let image = self.dy_image.copy(s.out_channels, &dy[n * y_len..(n + 1) * y_len], copy);
            for g in 0..s.groups {
                let image = &image[g * o * self.dy_image.plane()..];
                let w = &w[g * len..(g + 1) * len];
                let dx = &mut dx[g * c * plane..(g + 1) * c * plane];
                for phase in &self.phases {
                    let left = PhaseWeights { w, taps, weight: &phase.weight };
                    let patches = Patches { image, term: &phase.term, site: &phase.site };
                    let (j1, k) = (phase.site.len(), phase.term.len());
                    if s.stride == [1, 1] {
                        let mut sink = Into { data: &mut *dx, row_stride: plane, col_stride: 1, alpha: F::ONE };
                        product(c, 0, j1, k, &left, &patches, &mut sink, scratch);
                    } else {
                        let mut sink = Cells { data: &mut *dx, plane, cell: &phase.cell };
                        product(c, 0, j1, k, &left, &patches, &mut sink, scratch);
                    }
                }
            }
        });
    }

    fn weight_grad_task<F: Scalar>(&self) -> usize {
        let (o, _, _) = self.group();
        self.x_image.scratch(self.shape.in_channels) + product_scratch::<F>(o, self.term.len(), self.cells())
    }

    /// Partial sums of the weight gradient, each of `arrays` arrays: a number that depends on the shape alone.
    fn weight_parts(&self, arrays: usize) -> usize {
        threads::parts(self.shape.batch, arrays * self.shape.w_len())
    }

    /// Scratch of [`Self::weight_grad`] in elements, for the number of threads in use now.
    pub fn weight_grad_scratch<F: Scalar>(&self) -> usize {
        self.weight_grad_scratch_with::<F>(1, 0)
    }

    /// Scratch of [`Self::weight_grad_with`] in elements for sums of `arrays` arrays that need `each` elements to add
    /// an image, for the number of threads in use now.
    pub fn weight_grad_scratch_with<F: Scalar>(&self, arrays: usize, each: usize) -> usize {
        let parts = self.weight_parts(arrays);
        parts * arrays * self.shape.w_len()
            + threads::tasks(parts, self.work()) * self.weight_grad_task_with::<F>(arrays, each)
    }

    fn weight_grad_task_with<F: Scalar>(&self, arrays: usize, each: usize) -> usize {
        // The gradient of one image, unless it goes into the sum directly.
        let own = if arrays == 1 { 0 } else { self.shape.w_len() };
        self.weight_grad_task::<F>() + own + each
    }

    /// dw = the gradient of sum(dy * y) in w: partial sums over fixed parts of the batch, added up in order.
    pub fn weight_grad<F: Scalar>(&self, x: &[F], dy: &[F], dw: &mut [F], scratch: &mut [F]) {
        self.weight_grad_with(x, dy, &PlainSum, dw, scratch);
    }

    /// As [`Self::weight_grad`] with sums of another kind over the gradients of the images; dw holds their arrays one
    /// after the other.
    pub fn weight_grad_with<F: Scalar>(
        &self,
        x: &[F],
        dy: &[F],
        gradients: &impl ImageGradients<F>,
        dw: &mut [F],
        scratch: &mut [F],
    ) {
        let s = &self.shape;
        let (arrays, w_len) = (gradients.arrays(), s.w_len());
        assert!(
            x.len() == s.x_len() && dw.len() == arrays * w_len && dy.len() == self.y_len(),
            "operands have the planned sizes"
        );
        if s.batch == 0 {
            return dw.fill(F::ZERO);
        }
        let (parts, cells) = (self.weight_parts(arrays), self.cells());
        let (o, c, len) = self.group();
        let (x_len, y_len) = (x.len() / s.batch, s.out_channels * cells);
        let (sums, scratch) = scratch.split_at_mut(parts * dw.len());
        let per_task = self.weight_grad_task_with::<F>(arrays, gradients.scratch());
        let n_tasks = threads::tasks(parts, self.work()).min(scratch.len() / per_task.max(1)).max(1);
        over_items(sums, dw.len(), n_tasks, scratch, per_task, |index, sum, scratch| {
            sum.fill(F::ZERO);
            let (copy, scratch) = scratch.split_at_mut(self.x_image.scratch(s.in_channels));
            let (own, scratch) = scratch.split_at_mut(if arrays == 1 { 0 } else { w_len });
            for n in threads::part(s.batch, parts, index) {
                let image = self.x_image.copy(s.in_channels, &x[n * x_len..(n + 1) * x_len], copy);
                let dy = &dy[n * y_len..(n + 1) * y_len];
                own.fill(F::ZERO);
                for g in 0..s.groups {
                    // The roles of terms and sites are exchanged: the sum runs over output cells.
                    let patches =
                        Patches { image: &image[g * c * self.x_image.plane()..], term: &self.site, site: &self.term };
                    let left = Matrix::row_major(&dy[g * o * cells..(g + 1) * o * cells], cells);
                    let data = if arrays == 1 { &mut *sum } else { &mut *own };
                    let data = &mut data[g * len..(g + 1) * len];
                    let mut sink = Into { data, row_stride: self.term.len(), col_stride: 1, alpha: F::ONE };
                    product(o, 0, self.term.len(), cells, &left, &patches, &mut sink, scratch);
                }
                if arrays != 1 {
                    gradients.add(n, own, sum, &mut scratch[..gradients.scratch()]);
                }
            }
        });
        let (first, rest) = sums.split_at(dw.len());
        dw.copy_from_slice(first);
        for sum in rest.chunks_exact(dw.len().max(1)) {
            for (dw, &s) in dw.iter_mut().zip(sum) {
                *dw += s;
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

    /// Calls `f(n, image of out, scratch)` for every image, in parallel.
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
        over_items(out, len, n_tasks, scratch, per_task, f);
    }
}

/// Calls `f(index, item, scratch)` for every piece of `len` elements of `out`, the last of which may be shorter, `n_tasks`
/// at a time.
pub(crate) fn over_items<F: Scalar>(
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

/// As [`over_items`] for the pieces of two arrays together.
pub(crate) fn over_pairs<F: Scalar>(
    a: &mut [F],
    b: &mut [F],
    len: usize,
    n_tasks: usize,
    scratch: &mut [F],
    per_task: usize,
    f: impl Fn(usize, &mut [F], &mut [F], &mut [F]) + Sync,
) {
    let len = len.max(1);
    let items = a.len().div_ceil(len);
    if n_tasks <= 1 {
        for (n, (a, b)) in a.chunks_mut(len).zip(b.chunks_mut(len)).enumerate() {
            f(n, a, b, &mut scratch[..per_task]);
        }
        return;
    }
    rayon::scope(|scope| {
        let (mut a, mut b, mut scratch) = (a, b, scratch);
        for index in 0..n_tasks {
            let range = threads::part(items, n_tasks, index);
            let here = (range.len() * len).min(a.len());
            let (a_head, a_tail) = a.split_at_mut(here);
            let (b_head, b_tail) = b.split_at_mut(here);
            let (mine, others) = scratch.split_at_mut(per_task);
            (a, b, scratch) = (a_tail, b_tail, others);
            let f = &f;
            scope.spawn(move |_| {
                for (n, (a, b)) in range.zip(a_head.chunks_mut(len).zip(b_head.chunks_mut(len))) {
                    f(n, a, b, mine);
                }
            });
        }
    });
}

/// Of one residue modulo a stride: the number of cells, and (tap, shift) with output row = cell + shift.
type Residue = (usize, Vec<(usize, isize)>);

/// The phases of the input gradient and the padding of the output gradient that they need.
fn phases(shape: &Conv2dShape, output: [usize; 2]) -> (Padded, Vec<Phase>) {
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
    let image = Padded {
        size: output,
        before: [margins[0].0, margins[1].0],
        padded: std::array::from_fn(|a| output[a] + margins[a].0 + margins[a].1),
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
            let mut phase = Phase { term: Vec::new(), weight: Vec::new(), site: Vec::new(), cell: Vec::new() };
            for o in 0..out_channels {
                for &(r, row_shift) in row_taps {
                    for &(s, col_shift) in col_taps {
                        let row = (margins[0].0 as isize + row_shift) as usize;
                        let col = (margins[1].0 as isize + col_shift) as usize;
                        phase.term.push(narrow(o * image.plane() + row * width + col));
                        let weight = (o * in_channels * shape.kernel[0] + r) * shape.kernel[1] + s;
                        phase.weight.push(narrow(weight));
                    }
                }
            }
            for i in 0..*rows {
                for j in 0..*cols {
                    phase.site.push(narrow(i * width + j));
                    let (h, w) = (row_residue + i * shape.stride[0], col_residue + j * shape.stride[1]);
                    phase.cell.push(narrow(h * shape.input[1] + w));
                }
            }
            phases.push(phase);
        }
    }
    (image, phases)
}

#[cfg(test)]
mod tests;
