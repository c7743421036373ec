//! Convolutions whose groups have one input channel: a product with one column is no product, so that every output row
//! is a sum of a few input rows, each times a number, in registers.

use super::patches::Frame;
use super::{Conv2d, filled, over_items};
use crate::kernels::finish::Finish;
use crate::kernels::{Scalar, simd, threads};

/// Elements of a row that are summed at once: half of the vector registers hold them.
const WIDE: usize = 32;

/// The sizes of one output channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane<'a> {
    /// The input in its frame.
    pub frame: &'a Frame,
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Where the rows of taps start in the frame, one for each kernel tap.
    pub starts: &'a [u32],
    /// The stride of the rows.
    pub stride: usize,
}

impl Plane<'_> {
    /// The distance in the frame of what two output rows read.
    fn row(&self) -> usize {
        self.stride * self.frame.columns()
    }
    /// y = sum over taps of w[tap] x.
    pub fn forward<F: Scalar>(&self, x: &[F], w: &[F], y: &mut [F]) {
        let width = self.output[1];
        simd::dispatch(
            #[inline(always)]
            || {
                for (p, y) in y.chunks_exact_mut(width).enumerate() {
                    let x = &x[p * self.row()..];
                    let (wide, rest) = y.as_chunks_mut::<WIDE>();
                    for (i, y) in wide.iter_mut().enumerate() {
                        let mut sum = [F::ZERO; WIDE];
                        for (&w, &start) in w.iter().zip(self.starts) {
                            let x = &x[start as usize + i * WIDE..][..WIDE];
                            sum.iter_mut().zip(x).for_each(|(s, &x)| *s = w.mul_add(x, *s));
                        }
                        *y = sum;
                    }
                    let done = width - rest.len();
                    rest.fill(F::ZERO);
                    for (&w, &start) in w.iter().zip(self.starts) {
                        let x = &x[start as usize + done..][..rest.len()];
                        rest.iter_mut().zip(x).for_each(|(s, &x)| *s = w.mul_add(x, *s));
                    }
                }
            },
        );
    }
    /// Adds w[tap] dy to where each tap read its input, in the frame of the input.
    pub fn input_grad<F: Scalar>(&self, dy: &[F], w: &[F], dx: &mut [F]) {
        let width = self.output[1];
        simd::dispatch(
            #[inline(always)]
            || {
                for (p, dy) in dy.chunks_exact(width).enumerate() {
                    let dx = &mut dx[p * self.row()..];
                    for (&w, &start) in w.iter().zip(self.starts) {
                        let dx = &mut dx[start as usize..][..width];
                        dx.iter_mut().zip(dy).for_each(|(s, &d)| *s = w.mul_add(d, *s));
                    }
                }
            },
        );
    }
    /// Adds the inner products of dy with what each tap read to dw[tap].
    pub fn weight_grad<F: Scalar>(&self, x: &[F], dy: &[F], dw: &mut [F]) {
        const LANES: usize = 16;
        let width = self.output[1];
        simd::dispatch(
            #[inline(always)]
            || {
                for (dw, &start) in dw.iter_mut().zip(self.starts) {
                    let mut sum = [F::ZERO; LANES];
                    for (p, dy) in dy.chunks_exact(width).enumerate() {
                        let x = &x[start as usize + p * self.row()..][..width];
                        let ((x, rest_x), (dy, rest_dy)) = (x.as_chunks::<LANES>(), dy.as_chunks::<LANES>());
                        for (x, dy) in x.iter().zip(dy) {
                            for l in 0..LANES {
                                sum[l] = x[l].mul_add(dy[l], sum[l]);
                            }
                        }
                        for (l, (&x, &dy)) in rest_x.iter().zip(rest_dy).enumerate() {
                            sum[l] = x.mul_add(dy, sum[l]);
                        }
                    }
                    let mut n = LANES / 2;
                    while n > 0 {
                        for l in 0..n {
                            sum[l] += sum[l + n];
                        }
                        n /= 2;
                    }
                    *dw += sum[0];
                }
            },
        );
    }
}

impl Conv2d {
    /// Whether the groups are so small that they are done plane by plane.
    pub(super) fn is_depthwise(&self) -> bool {
        let (o, c, _) = self.group();
        c == 1 && o <= 4 && self.shape.groups > 1
    }

    fn plane(&self) -> Plane<'_> {
        Plane { frame: &self.frame, output: self.output, starts: &self.starts, stride: self.shape.stride[0] }
    }

    /// Scratch of one task of each pass in elements.
    pub(super) fn depthwise_task(&self) -> usize {
        self.together * self.shape.in_channels * self.frame.plane()
    }

    pub(super) fn depthwise_forward<F: Scalar>(
        &self,
        x: &[F],
        w: &[F],
        finish: Finish<'_, F>,
        y: &mut [F],
        scratch: &mut [F],
    ) {
        let (o, ..) = self.group();
        let (x_len, y_len) = self.images();
        let taps = self.starts.len();
        self.over_images(y, y_len, scratch, self.depthwise_task(), |first, y, frames| {
            let images = y.len() / y_len;
            let data =
                filled(&self.frame, &x[first * x_len..][..images * x_len], x_len, self.shape.in_channels, frames);
            let planes = data.chunks_exact(self.frame.plane());
            // Images and groups are one after the other in frames and outputs alike.
            for (i, (plane, y)) in planes.zip(y.chunks_exact_mut(o * self.cells())).enumerate() {
                for (m, y) in y.chunks_exact_mut(self.cells()).enumerate() {
                    let channel = i % self.shape.groups * o + m;
                    self.plane().forward(plane, &w[channel * taps..][..taps], y);
                }
            }
            finish.planes(first * self.shape.out_channels, self.cells(), y);
        });
    }

    pub(super) fn depthwise_input_grad<F: Scalar>(&self, dy: &[F], w: &[F], dx: &mut [F], scratch: &mut [F]) {
        let (o, ..) = self.group();
        let (x_len, y_len) = self.images();
        let taps = self.starts.len();
        let frame = self.shape.in_channels * self.frame.plane();
        self.over_images(dx, x_len, scratch, self.depthwise_task(), |first, dx, frames| {
            for (n, dx) in dx.chunks_exact_mut(x_len).enumerate() {
                let frames = &mut frames[..frame];
                frames.fill(F::ZERO);
                let dy = &dy[(first + n) * y_len..][..y_len];
                for (channel, dy) in dy.chunks_exact(self.cells()).enumerate() {
                    let plane = &mut frames[channel / o * self.frame.plane()..][..self.frame.plane()];
                    self.plane().input_grad(dy, &w[channel * taps..][..taps], plane);
                }
                self.frame.take(frames, dx);
            }
        });
    }

    /// Partial sums by part of the batch, in `sums`.
    pub(super) fn depthwise_weight_sums<F: Scalar>(
        &self,
        x: &[F],
        dy: &[F],
        sums: &mut [F],
        n_tasks: usize,
        scratch: &mut [F],
    ) {
        let (o, ..) = self.group();
        let (x_len, y_len) = self.images();
        let taps = self.starts.len();
        let batch = self.shape.batch;
        let frame = self.shape.in_channels * self.frame.plane();
        let parts = self.weight_parts();
        over_items([sums], self.shape.w_len(), n_tasks, scratch, self.depthwise_task(), |index, [sum], frames| {
            sum.fill(F::ZERO);
            let frames = &mut frames[..frame];
            frames.fill(F::ZERO);
            let range = threads::part(batch.div_ceil(self.together), parts, index);
            for n in range.start * self.together..(range.end * self.together).min(batch) {
                let data = filled(&self.frame, &x[n * x_len..][..x_len], x_len, self.shape.in_channels, frames);
                let dy = dy[n * y_len..][..y_len].chunks_exact(self.cells());
                for (channel, (dy, dw)) in dy.zip(sum.chunks_exact_mut(taps)).enumerate() {
                    self.plane().weight_grad(&data[channel / o * self.frame.plane()..][..self.frame.plane()], dy, dw);
                }
            }
        });
    }
}
