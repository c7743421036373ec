//! The gradient of a convolution in its weights.
use super::operands::Cells;
use super::patches::{Patches, Runs};
use super::winograd::WeightGrads;
use super::{Conv2d, over_items};
use crate::kernels::gemm::{Into, Left, product, product_scratch};
use crate::kernels::{Scalar, threads};

impl Conv2d {
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

    pub(super) fn weight_grad_task<F: Scalar>(&self) -> usize {
        if self.is_depthwise() { self.depthwise_task() } else { self.weight_product_task::<F>() }
    }

    pub(super) fn weight_product_task<F: Scalar>(&self) -> usize {
        let (m, n, k) = self.weight_sizes();
        self.together * self.shape.in_channels * self.last.plane() + product_scratch::<F>(m, n, k, false)
    }

    /// Partial sums of the weight gradient: a number that depends on the shape alone.
    pub(super) fn weight_parts(&self) -> usize {
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
        let (parts, w_len) = (self.weight_parts(), s.w_len());
        let (x_len, y_len) = self.images();
        let per_task = self.weight_grad_task::<F>();
        let groups_of_images = s.batch.div_ceil(self.together);
        over_items([sums], w_len, n_tasks, scratch, per_task, |index, [sum], scratch| {
            let (frames, scratch) = self.weight_frames(scratch);
            let range = threads::part(groups_of_images, parts, index);
            for (i, group) in range.enumerate() {
                let first = group * self.together;
                let end = (first + self.together).min(s.batch);
                let (x, dy) = (&x[first * x_len..end * x_len], &dy[first * y_len..end * y_len]);
                self.weight_images(x, dy, sum, i > 0, frames, scratch);
            }
        });
    }

    /// The frames of [`Self::weight_images`], their padding zero, and the rest of the scratch.
    pub(super) fn weight_frames<'a, F: Scalar>(&self, scratch: &'a mut [F]) -> (&'a mut [F], &'a mut [F]) {
        let (frames, scratch) = scratch.split_at_mut(self.together * self.shape.in_channels * self.last.plane());
        frames.fill(F::ZERO);
        (frames, scratch)
    }

    /// The weight gradient of some images that share a product, in `sum` or added to what is `present` there: (output
    /// channel, tap, input channel).
    pub(super) fn weight_images<F: Scalar>(
        &self,
        x: &[F],
        dy: &[F],
        sum: &mut [F],
        present: bool,
        frames: &mut [F],
        scratch: &mut [F],
    ) {
        let s = &self.shape;
        let (o, c, weights) = self.group();
        let ((x_len, y_len), cells) = (self.images(), self.cells());
        let (m, n, _) = self.weight_sizes();
        let frame = s.in_channels * self.last.plane();
        for (x, to) in x.chunks_exact(x_len).zip(frames.chunks_exact_mut(frame)) {
            self.last.fill_channels_last(s.in_channels, x, to);
        }
        let images = x.len() / x_len;
        for g in 0..s.groups {
            // The roles are exchanged: the sum runs over output cells, the columns are the taps.
            let starts = &self.cells_last[..images * cells];
            let data = &frames[g * c..];
            let most = starts.iter().copied().max().unwrap_or(0) as usize;
            let patches = Patches { data, starts, most, runs: self.taps_last() };
            let left = Cells { dy: &dy[g * o * cells..], image: y_len, cells };
            let data = &mut sum[g * weights..(g + 1) * weights];
            let mut sink = Into { data, row_stride: n, present };
            product((m, n, images * cells), Left::Source(&left), &patches, &mut sink, scratch);
        }
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
        let (sums, scratch) = scratch.split_at_mut(parts * w_len);
        let per_task = self.weight_grad_task::<F>();
        let n_tasks = threads::tasks(parts, self.work()).min(scratch.len() / per_task.max(1)).max(1);
        if self.is_depthwise() {
            self.depthwise_weight_sums(x, dy, sums, n_tasks, scratch);
        } else {
            self.weight_sums(x, dy, sums, n_tasks, scratch);
        }
        self.gather_sums(sums, w_len, dw);
    }

    /// Adds up partial sums that stand `step` apart, from (output channel, tap, input channel) to (output channel, input
    /// channel, tap).
    pub(super) fn gather_sums<F: Scalar>(&self, sums: &[F], step: usize, dw: &mut [F]) {
        let s = &self.shape;
        let (_, c, _) = self.group();
        let taps = s.kernel[0] * s.kernel[1];
        for (o, dw) in dw.chunks_exact_mut(c * taps).enumerate() {
            for (channel, dw) in dw.chunks_exact_mut(taps).enumerate() {
                for (tap, dw) in dw.iter_mut().enumerate() {
                    let at = o * c * taps + tap * c + channel;
                    *dw = sums[at];
                    for sum in sums.chunks(step).skip(1) {
                        *dw += sum[at];
                    }
                }
            }
        }
    }
}
