//! The forward pass of a convolution: outputs, and means and variances of outputs.
use super::operands::Images;
use super::patches::{Patches, Runs};
use super::winograd::Weights;
use super::{Conv2d, filled, over_items};
use crate::kernels::finish::Finish;
use crate::kernels::gemm::{Blocking, Left, Matrix, pack_all, product, product_and_square, product_scratch};
use crate::kernels::{Scalar, threads};

impl Conv2d {
    pub(super) fn forward_sizes(&self) -> (usize, usize, usize) {
        (self.group().0, self.together * self.cells(), self.starts.len())
    }

    pub(super) fn forward_packed<F: Scalar>(&self) -> usize {
        let (m, n, k) = self.forward_sizes();
        Blocking::<F>::new(m, n, k, true).packed_len(m, k)
    }

    pub(super) fn forward_task<F: Scalar>(&self) -> usize {
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

    /// y = x cross-correlated with w, finished.
    pub fn forward<F: Scalar>(&self, x: &[F], w: &[F], finish: Finish<'_, F>, y: &mut [F], scratch: &mut [F]) {
        let s = &self.shape;
        assert!(
            x.len() == s.x_len() && w.len() == s.w_len() && y.len() == self.y_len(),
            "operands have the planned sizes"
        );
        if let Some(winograd) = self.fast::<F>() {
            return winograd.forward(x, Weights::Shared(w), finish, y, scratch);
        }
        if self.is_depthwise() {
            return self.depthwise_forward(x, w, finish, y, scratch);
        }
        let (x_len, y_len) = self.images();
        let (packed, scratch) = scratch.split_at_mut(s.groups * self.forward_packed::<F>());
        self.pack_forward(w, packed);
        let packed = &*packed;
        self.over_images(y, y_len, scratch, self.forward_task::<F>(), |first, y, scratch| {
            let images = y.len() / y_len;
            self.forward_images(&x[first * x_len..(first + images) * x_len], packed, y, scratch);
            finish.planes(first * s.out_channels, self.cells(), y);
        });
    }

    /// Packs the weights for [`Self::forward_images`].
    pub(super) fn pack_forward<F: Scalar>(&self, w: &[F], packed: &mut [F]) {
        let (_, _, weights) = self.group();
        let (m, n, k) = self.forward_sizes();
        let blocking = Blocking::<F>::new(m, n, k, true);
        for (w, packed) in w.chunks_exact(weights).zip(packed.chunks_exact_mut(self.forward_packed::<F>())) {
            pack_all(&blocking, m, k, &Matrix::row_major(w, k), packed);
        }
    }

    /// The patches of some images in the channels of group `g`.
    pub(super) fn patches<'a, F: Scalar>(&'a self, data: &'a [F], images: usize, g: usize) -> Patches<'a, F> {
        let step = self.shape.stride[0] * self.frame.columns();
        let runs = Runs::new(self.output[1], (self.output[0], step), data.len() / images);
        let most = self.starts.iter().copied().max().unwrap_or(0) as usize;
        let (_, c, _) = self.group();
        Patches { data: &data[g * c * self.frame.plane()..], starts: &self.starts, most, runs }
    }

    /// The forward pass of some images that share a product.
    pub(super) fn forward_images<F: Scalar>(&self, x: &[F], packed: &[F], y: &mut [F], scratch: &mut [F]) {
        let s = &self.shape;
        let (o, _, _) = self.group();
        let ((x_len, y_len), cells) = (self.images(), self.cells());
        let (m, _, k) = self.forward_sizes();
        let per_group = self.forward_packed::<F>();
        let images = y.len() / y_len;
        let (frames, scratch) = scratch.split_at_mut(self.frames(&self.frame, s.in_channels));
        let data = filled(&self.frame, x, x_len, s.in_channels, frames);
        for g in 0..s.groups {
            let patches = self.patches(data, images, g);
            let left: Left<'_, F, Matrix<'_, F>> = Left::Packed(&packed[g * per_group..(g + 1) * per_group]);
            let mut sink = Images { data: &mut y[g * o * cells..], image: y_len, cells };
            product((m, images * cells, k), left, &patches, &mut sink, scratch);
        }
    }

    /// Scratch of [`Self::forward_moments`] in elements, for the number of threads in use now.
    pub fn forward_moments_scratch<F: Scalar>(&self) -> usize {
        let direct = 2 * self.shape.groups * self.forward_packed::<F>() + self.tasks() * self.forward_task::<F>();
        match self.fast::<F>() {
            Some(winograd) => self.shape.x_len() + direct.max(winograd.forward_scratch(1)),
            None => direct,
        }
    }

    /// Means by minimal filtering; variances by the defining sums, which keep them from being negative.
    fn fast_moments<F: Scalar>(
        &self,
        x: &[F],
        loc: &[F],
        square: &[F],
        mean: &mut [F],
        variance: &mut [F],
        scratch: &mut [F],
    ) {
        self.forward(x, loc, Finish::NOTHING, mean, scratch);
        let (squares, scratch) = scratch.split_at_mut(x.len());
        threads::for_each_chunk(squares, 1, x.len(), |at, squares| {
            squares.iter_mut().zip(&x[at..]).for_each(|(s, &x)| *s = x * x);
        });
        let (packed, scratch) = scratch.split_at_mut(self.shape.groups * self.forward_packed::<F>());
        self.pack_forward(square, packed);
        let (packed, squares) = (&*packed, &*squares);
        let (x_len, y_len) = self.images();
        self.over_images(variance, y_len, scratch, self.forward_task::<F>(), |first, y, scratch| {
            let images = y.len() / y_len;
            self.forward_images(&squares[first * x_len..(first + images) * x_len], packed, y, scratch);
        });
    }

    /// Means and variances of the outputs for independent weights with means `loc` and variances `square`: x
    /// cross-correlated with `loc`, and x squared with `square`, from the same patches; then `finish(start, mean,
    /// variance)` for some images at a time, `start` being the position of their first element.
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
        let (o, _, _) = self.group();
        let ((x_len, y_len), cells) = (self.images(), self.cells());
        if self.fast::<F>().is_some() {
            self.fast_moments(x, loc, square, mean, variance, scratch);
            let len = (self.together * y_len).max(1);
            let n_tasks = self.tasks();
            return over_items([mean, variance], len, n_tasks, &mut [], 0, |group, [mean, variance], _| {
                finish(group * len, mean, variance);
            });
        }
        let (m, _, k) = self.forward_sizes();
        let per_group = self.forward_packed::<F>();
        let (packed, scratch) = scratch.split_at_mut(2 * s.groups * per_group);
        let (packed_loc, packed_square) = packed.split_at_mut(s.groups * per_group);
        self.pack_forward(loc, packed_loc);
        self.pack_forward(square, packed_square);
        let packed = [&*packed_loc, &*packed_square];
        let per_task = self.forward_task::<F>();
        assert!(scratch.len() >= per_task, "scratch of the planned size");
        let n_tasks = self.tasks().min(scratch.len() / per_task.max(1)).max(1);
        scratch[..n_tasks * per_task].fill(F::ZERO);
        let len = self.together * y_len;
        over_items([mean, variance], len, n_tasks, scratch, per_task, |group, [mean, variance], scratch| {
            let images = mean.len() / y_len;
            let first = group * self.together;
            let (frames, scratch) = scratch.split_at_mut(self.frames(&self.frame, s.in_channels));
            let data = filled(&self.frame, &x[first * x_len..(first + images) * x_len], x_len, s.in_channels, frames);
            for g in 0..s.groups {
                let patches = self.patches(data, images, g);
                let packed = packed.map(|p| &p[g * per_group..(g + 1) * per_group]);
                let mut mean = Images { data: &mut mean[g * o * cells..], image: y_len, cells };
                let mut variance = Images { data: &mut variance[g * o * cells..], image: y_len, cells };
                let sinks = [&mut mean, &mut variance];
                product_and_square((m, images * cells, k), packed, &patches, sinks, scratch);
            }
            finish(first * y_len, mean, variance);
        });
    }
}
