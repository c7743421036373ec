//! The gradient of a convolution in its input, by stride phases or by scattered shares.
use super::operands::{Images, PhaseCells, PhaseWeights};
use super::patches::{Frame, Patches, Runs, narrow};
use super::winograd::Weights;
use super::{Conv2d, Conv2dShape, filled};
use crate::kernels::gemm::{Blocking, Into, Left, Matrix, pack_all, product, product_scratch};
use crate::kernels::{Scalar, simd};

/// The cells of the input with one residue modulo the strides, and the kernel taps that they see.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    /// Offset in the frame of the output gradient by (output channel of the group, tap).
    pub starts: Vec<u32>,
    /// Offset in the weights of the group by (output channel, tap), for input channel 0.
    pub weight: Vec<u32>,
    /// Rows and columns of the phase.
    pub cells: [usize; 2],
    /// The first row and column.
    pub first: [usize; 2],
}

/// How the input gradient is found.
#[derive(Clone, Debug)]
pub(super) enum InputGrad {
    /// Products with patches of the output gradient, one for each phase.
    Phases(Frame, Vec<Phase>),
    /// The product with the output gradient itself gives the share of every tap, which is added where the tap lies: with
    /// few input channels that is the larger product of the two, and nothing needs packing.
    Scatter,
}

impl Conv2d {
    /// Sizes of the product of a phase.
    pub(super) fn phase_sizes(&self, phase: &Phase) -> (usize, usize, usize) {
        (self.group().1, self.together * phase.cells[0] * phase.cells[1], phase.starts.len())
    }

    /// Output rows whose shares are scattered at once: their products stay in the second-level cache.
    fn scatter_rows(&self) -> usize {
        let per_row = self.group().1 * self.shape.kernel[0] * self.shape.kernel[1] * self.output[1];
        ((32 << 10) / per_row.max(1)).clamp(1, self.output[0])
    }

    /// Sizes of the product of the scatter.
    pub(super) fn scatter_sizes(&self) -> (usize, usize, usize) {
        let (o, c, _) = self.group();
        (c * self.shape.kernel[0] * self.shape.kernel[1], self.scatter_rows() * self.output[1], o)
    }

    /// Packed weights of the input gradient, of one group of channels.
    pub(super) fn input_packed<F: Scalar>(&self) -> usize {
        let packed = |(m, n, k)| Blocking::<F>::new(m, n, k, true).packed_len(m, k);
        match &self.input_grad {
            InputGrad::Phases(_, phases) => phases.iter().map(|p| packed(self.phase_sizes(p))).sum(),
            InputGrad::Scatter => packed(self.scatter_sizes()),
        }
    }

    pub(super) fn input_grad_task<F: Scalar>(&self) -> usize {
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
        let (x_len, y_len) = self.images();
        let (packed, scratch) = scratch.split_at_mut(s.groups * self.input_packed::<F>());
        self.pack_input(w, packed);
        let packed = &*packed;
        self.over_images(dx, x_len, scratch, self.input_grad_task::<F>(), |first, dx, scratch| {
            let images = dx.len() / x_len;
            self.input_images(&dy[first * y_len..(first + images) * y_len], packed, dx, scratch);
        });
    }

    /// Packs the weights for [`Self::input_images`].
    pub(super) fn pack_input<F: Scalar>(&self, w: &[F], packed: &mut [F]) {
        let (_, _, weights) = self.group();
        let taps = self.shape.kernel[0] * self.shape.kernel[1];
        for (w, mut rest) in w.chunks_exact(weights).zip(packed.chunks_exact_mut(self.input_packed::<F>().max(1))) {
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
    }

    /// The input gradient of some images that share a product.
    pub(super) fn input_images<F: Scalar>(&self, dy: &[F], packed: &[F], dx: &mut [F], scratch: &mut [F]) {
        let s = &self.shape;
        let (o, c, _) = self.group();
        let ((x_len, y_len), plane) = (self.images(), s.input[0] * s.input[1]);
        let per_group = self.input_packed::<F>();
        let images = dx.len() / x_len;
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
                    let mut sink = Images { data: &mut *dx, image: x_len, cells: plane };
                    product((m, n, k), left, &patches, &mut sink, scratch);
                } else {
                    let (width, stride) = (s.input[1], s.stride);
                    let mut sink = PhaseCells { data: &mut *dx, image: x_len, plane, width, stride, phase };
                    product((m, n, k), left, &patches, &mut sink, scratch);
                }
            }
        }
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
}

/// Of one residue modulo a stride: the number of cells, and (tap, shift) with output row = cell + shift.
type Residue = (usize, Vec<(usize, isize)>);

/// The phases of the input gradient and the padding of the output gradient that they need.
pub(super) fn phases(shape: &Conv2dShape, output: [usize; 2]) -> (Frame, Vec<Phase>) {
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
