//! Weights that are drawn anew for every image: `W_n = loc + spread * M_n`, element by element.
//!
//! Of signs, W_n is made from panels of loc and spread that are packed once: for the row r and the term t of a panel the
//! sign is a[r] b[t], the same at all taps, so that a panel is combined in long runs. An image with few output cells does
//! not repay that, and its two convolutions, with loc and of flipped x with spread, run as they are.
//!
//! M_n is drawn where it is used, a number for each element of the weights or a sign for each channel; nothing is kept from
//! one image to the next, and the gradient draws the same numbers again. Element e of M_n is number e of the stream of
//! image n; of signs, the C before the layer come first and the O after it follow.
use super::input_grad::InputGrad;
use super::winograd::{WeightGrads, Weights, Winograd};
use super::{Conv2d, Conv2dShape, over_items};
use crate::kernels::finish::Finish;
use crate::kernels::gemm::Blocking;
use crate::kernels::{Scalar, simd, threads};
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
    /// Elements of scratch for one image in the weight gradient.
    fn scratch(&self) -> usize {
        let s = self.shape;
        let (channels, taps) = self.line();
        match self.law {
            RowLaw::Normal => 0,
            RowLaw::Signs => s.in_channels + s.out_channels + 2 * channels * taps,
        }
    }

    /// The signs of image `n`: those before the layer, then those after it.
    fn signs<F: Scalar>(&self, n: usize, out: &mut [F]) {
        fill_sign_bits(self.key.fold_in(n as u64), 0, out);
    }

    /// Elements of one output channel: (input channels of a group, taps).
    fn line(&self) -> (usize, usize) {
        let s = self.shape;
        (s.in_channels / s.groups, s.kernel[0] * s.kernel[1])
    }

    /// The signs of all images: those before the layer [N, C], then those after it [N, O].
    fn all_signs<'a, F: Scalar>(&self, out: &'a mut [F]) -> (&'a [F], &'a [F]) {
        let s = self.shape;
        let (before, after) = out.split_at_mut(s.batch * s.in_channels);
        let both = before.chunks_exact_mut(s.in_channels).zip(after.chunks_exact_mut(s.out_channels));
        for (n, (before, after)) in both.enumerate() {
            let key = self.key.fold_in(n as u64);
            fill_sign_bits(key, 0, before);
            fill_sign_bits(key, s.in_channels as u64, after);
        }
        (before, after)
    }

    /// Calls `f(start, multipliers)` for successive pieces of those of image `n`: normals in the order of the weights,
    /// signs as (output channel, tap, input channel).
    fn each<F: Scalar>(&self, n: usize, scratch: &mut [F], mut f: impl FnMut(usize, &[F])) {
        let s = self.shape;
        match self.law {
            RowLaw::Normal => each_normal(self.key.fold_in(n as u64), 0, s.w_len(), f),
            RowLaw::Signs => {
                let ((channels, taps), outputs) = (self.line(), s.out_channels / s.groups);
                let (signs, scratch) = scratch.split_at_mut(s.in_channels + s.out_channels);
                let (before, line) = scratch.split_at_mut(channels * taps);
                self.signs(n, signs);
                for o in 0..s.out_channels {
                    if o % outputs == 0 {
                        let mine = &signs[o / outputs * channels..][..channels];
                        before.chunks_exact_mut(channels).for_each(|before| before.copy_from_slice(mine));
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

impl<F: Scalar> RowWeights<'_, F> {
    /// Both kernels with the signs of all images, which are written to `signs`.
    fn two_kernels<'a>(&'a self, signs: &'a mut [F]) -> Weights<'a, F> {
        let (before, after) = self.multipliers.all_signs(signs);
        Weights::Flipout { loc: self.loc, perturbation: self.spread, before, after }
    }

    /// The weights of image `n`, of normal multipliers.
    fn drawn<'a>(&self, n: usize, weights: &'a mut [F]) -> &'a [F] {
        each_normal(self.multipliers.key.fold_in(n as u64), 0, weights.len(), |start, m: &[F]| {
            let range = start..start + m.len();
            let (loc, spread) = (&self.loc[range.clone()], &self.spread[range.clone()]);
            for (((w, &m), &loc), &spread) in weights[range].iter_mut().zip(m).zip(loc).zip(spread) {
                *w = m.mul_add(spread, loc);
            }
        });
        weights
    }
}

/// Packed left operands, one with the means and one with the spreads of the weights, and the signs of their lines and
/// of runs of `run` terms.
struct Signed<'a, F> {
    loc: &'a [F],
    spread: &'a [F],
    lines: &'a [F],
    terms: &'a [F],
    run: usize,
}

impl<F: Scalar> Signed<'_, F> {
    /// out = loc + lines terms^T * spread, in the same panels; `pattern` takes `run` times the rows of a tile.
    fn combine(&self, blocking: &Blocking<F>, k: usize, pattern: &mut [F], out: &mut [F]) {
        let (rows, most, run) = (blocking.rows, blocking.kc, self.run);
        let padded = self.lines.len().next_multiple_of(rows);
        simd::dispatch(
            #[inline(always)]
            || {
                for (panel, signs) in self.lines.chunks(rows).enumerate() {
                    for pattern in pattern[..rows * run].chunks_exact_mut(rows) {
                        pattern[..signs.len()].copy_from_slice(signs);
                        pattern[signs.len()..].fill(F::ONE);
                    }
                    for kk in (0..k).step_by(most) {
                        let kc = (k - kk).min(most);
                        let mut at = kk * padded + panel * rows * kc;
                        let mut t = kk;
                        while t < kk + kc {
                            let end = ((t / run + 1) * run).min(kk + kc);
                            let (range, sign) = (at..at + (end - t) * rows, self.terms[t / run]);
                            let (loc, spread) = (&self.loc[range.clone()], &self.spread[range.clone()]);
                            for (((w, &m), &l), &s) in out[range].iter_mut().zip(&*pattern).zip(loc).zip(spread) {
                                *w = (sign * m).mul_add(s, l);
                            }
                            at += (end - t) * rows;
                            t = end;
                        }
                    }
                }
            },
        );
    }
}

impl Multipliers<'_> {
    /// Adds G_n to the first of `sums` and M_n * G_n to the second, all as (output channel, tap, input channel).
    fn add<F: Scalar>(&self, n: usize, gradient: &[F], sums: &mut [F], scratch: &mut [F]) {
        let (plain, spread) = sums.split_at_mut(gradient.len());
        let (channels, taps) = self.line();
        let line = channels * taps;
        self.each(n, scratch, |start, m| {
            if self.law == RowLaw::Normal {
                for (e, &m) in (start..).zip(m) {
                    let (o, c, tap) = (e / line, e % line / taps, e % taps);
                    let at = o * line + tap * channels + c;
                    plain[at] += gradient[at];
                    spread[at] = m.mul_add(gradient[at], spread[at]);
                }
                return;
            }
            let range = start..start + m.len();
            let (plain, spread) = (&mut plain[range.clone()], &mut spread[range.clone()]);
            simd::dispatch(
                #[inline(always)]
                || {
                    for (((plain, spread), &m), &g) in plain.iter_mut().zip(spread).zip(m).zip(&gradient[range]) {
                        *plain += g;
                        *spread = m.mul_add(g, *spread);
                    }
                },
            );
        });
    }
}

/// Output cells of an image below which two convolutions of the whole batch cost less than weights for each image.
const FEW_CELLS: usize = 16;

/// The passes with weights for every image.
impl Conv2d {
    /// The same convolution, ready for weights of every image under `law`.
    #[must_use]
    pub fn for_rows(self, law: RowLaw) -> Self {
        if self.flips(law) { self } else { self.one_by_one() }
    }

    /// Whether the passes flip data instead of weights.
    fn flips(&self, law: RowLaw) -> bool {
        law == RowLaw::Signs && self.cells() < FEW_CELLS
    }

    /// Minimal filtering, if it is the method for this precision, with the length of all signs.
    fn fast_rows<F: Scalar>(&self, law: RowLaw) -> Option<(&Winograd, usize)> {
        let s = &self.shape;
        let signs = s.batch * (s.in_channels + s.out_channels);
        self.fast::<F>().filter(|_| law == RowLaw::Signs).map(|winograd| (winograd, signs))
    }

    /// Scratch of the signs of an image, with the pattern of a panel and the signs of lines.
    fn signs_scratch<F: Scalar>(&self) -> usize {
        let s = &self.shape;
        let (_, c, _) = self.group();
        let taps = s.kernel[0] * s.kernel[1];
        s.in_channels + s.out_channels + c * taps + F::tiles().rows() * taps
    }

    /// Scratch of one task for its own packed weights of `packed` elements in all and what makes them.
    fn own_weights<F: Scalar>(&self, packed: usize, law: RowLaw) -> usize {
        packed
            + match law {
                RowLaw::Normal => self.shape.w_len(),
                RowLaw::Signs => self.signs_scratch::<F>(),
            }
    }

    /// Packed weights that all tasks share: the means and the spreads, of signs.
    fn both_packed(packed: usize, law: RowLaw) -> usize {
        if law == RowLaw::Signs { 2 * packed } else { 0 }
    }

    /// Scratch of [`Self::forward_rows`] in elements, for the number of threads in use now.
    pub fn forward_rows_scratch<F: Scalar>(&self, law: RowLaw) -> usize {
        if let Some((winograd, signs)) = self.fast_rows::<F>(law) {
            return signs + winograd.forward_scratch(2);
        }
        if self.flips(law) {
            return self.shape.x_len() + self.y_len() + self.forward_scratch::<F>();
        }
        let packed = self.shape.groups * self.forward_packed::<F>();
        let task = self.forward_task::<F>() + self.own_weights::<F>(packed, law);
        Self::both_packed(packed, law) + self.tasks() * task
    }

    /// y = x cross-correlated with the weights of each image.
    pub fn forward_rows<F: Scalar>(&self, x: &[F], weights: &RowWeights<'_, F>, y: &mut [F], scratch: &mut [F]) {
        let s = &self.shape;
        let m = &weights.multipliers;
        assert!(
            x.len() == s.x_len() && weights.loc.len() == s.w_len() && y.len() == self.y_len(),
            "operands have the planned sizes"
        );
        let (x_len, y_len) = self.images();
        if let Some((winograd, signs)) = self.fast_rows::<F>(m.law) {
            let (signs, scratch) = scratch.split_at_mut(signs);
            return winograd.forward(x, weights.two_kernels(signs), Finish::NOTHING, y, scratch);
        }
        if self.flips(m.law) {
            let (flipped, scratch) = scratch.split_at_mut(x.len());
            let (noise, scratch) = scratch.split_at_mut(y.len());
            self.forward(x, weights.loc, Finish::NOTHING, y, scratch);
            m.flip(Side::Before, x, flipped);
            self.forward(flipped, weights.spread, Finish::NOTHING, noise, scratch);
            return m.add_flipped(Side::After, noise, y);
        }
        self.one_image_each(
            weights,
            (y, y_len),
            (self.forward_task::<F>(), s.groups * self.forward_packed::<F>()),
            scratch,
            |w, packed| self.pack_forward(w, packed),
            |n, both, packed, scratch| self.combine_forward(m, n, both, packed, scratch),
            |n, packed, y, scratch| self.forward_images(&x[n * x_len..(n + 1) * x_len], packed, y, scratch),
        );
    }

    /// Fills `out`, of `len` elements for each image, by `pass(image, packed weights, its part of out, scratch)` with the
    /// packed weights of every image: `pack` packs weights, `combine(image, packed means and spreads, packed, scratch)`
    /// gives those of signs. `task` and `packed` are what a pass needs of scratch and of packed weights.
    #[expect(clippy::too_many_arguments, reason = "the three steps of two passes")]
    fn one_image_each<F: Scalar>(
        &self,
        weights: &RowWeights<'_, F>,
        (out, len): (&mut [F], usize),
        (task, packed): (usize, usize),
        scratch: &mut [F],
        pack: impl Fn(&[F], &mut [F]) + Sync,
        combine: impl Fn(usize, (&[F], &[F]), &mut [F], &mut [F]) + Sync,
        pass: impl Fn(usize, &[F], &mut [F], &mut [F]) + Sync,
    ) {
        assert!(self.together == 1, "images one by one");
        let law = weights.multipliers.law;
        let (both, scratch) = scratch.split_at_mut(Self::both_packed(packed, law));
        let (loc, spread) = both.split_at_mut(both.len() / 2);
        if law == RowLaw::Signs {
            pack(weights.loc, loc);
            pack(weights.spread, spread);
        }
        let both = (&*loc, &*spread);
        let per_task = task + self.own_weights::<F>(packed, law);
        self.over_images(out, len, scratch, per_task, |n, out, scratch| {
            let (scratch, own) = scratch.split_at_mut(task);
            let (packed, own) = own.split_at_mut(packed);
            match law {
                RowLaw::Normal => pack(weights.drawn(n, &mut own[..self.shape.w_len()]), packed),
                RowLaw::Signs => combine(n, both, packed, own),
            }
            pass(n, packed, out, scratch);
        });
    }

    /// The packed weights of image `n` for the forward pass.
    fn combine_forward<F: Scalar>(
        &self,
        m: &Multipliers<'_>,
        n: usize,
        (loc, spread): (&[F], &[F]),
        packed: &mut [F],
        scratch: &mut [F],
    ) {
        let (signs, pattern) = scratch.split_at_mut(self.shape.in_channels + self.shape.out_channels);
        m.signs(n, signs);
        let (before, after) = signs.split_at(self.shape.in_channels);
        let (o, c, _) = self.group();
        let (lines, columns, k) = self.forward_sizes();
        let blocking = Blocking::<F>::new(lines, columns, k, true);
        let per_group = self.forward_packed::<F>();
        for (g, packed) in packed.chunks_exact_mut(per_group).enumerate() {
            let range = g * per_group..(g + 1) * per_group;
            let signed = Signed {
                loc: &loc[range.clone()],
                spread: &spread[range],
                lines: &after[g * o..(g + 1) * o],
                terms: &before[g * c..(g + 1) * c],
                run: k / c,
            };
            signed.combine(&blocking, k, pattern, packed);
        }
    }

    /// Scratch of [`Self::input_grad_rows`] in elements, for the number of threads in use now.
    pub fn input_grad_rows_scratch<F: Scalar>(&self, law: RowLaw) -> usize {
        if let Some((winograd, signs)) = self.fast_rows::<F>(law) {
            return signs + winograd.input_grad_scratch(2);
        }
        if self.flips(law) {
            return self.shape.x_len() + self.y_len() + self.input_grad_scratch::<F>();
        }
        let packed = self.shape.groups * self.input_packed::<F>();
        let task = self.input_grad_task::<F>() + self.own_weights::<F>(packed, law);
        Self::both_packed(packed, law) + self.tasks() * task
    }

    /// dx = the gradient of sum(dy * y) in x, for weights of each image.
    pub fn input_grad_rows<F: Scalar>(&self, dy: &[F], weights: &RowWeights<'_, F>, dx: &mut [F], scratch: &mut [F]) {
        let s = &self.shape;
        let m = &weights.multipliers;
        assert!(
            dx.len() == s.x_len() && weights.loc.len() == s.w_len() && dy.len() == self.y_len(),
            "operands have the planned sizes"
        );
        let (x_len, y_len) = self.images();
        if let Some((winograd, signs)) = self.fast_rows::<F>(m.law) {
            let (signs, scratch) = scratch.split_at_mut(signs);
            return winograd.input_grad(dy, weights.two_kernels(signs), dx, scratch);
        }
        if self.flips(m.law) {
            let (flipped, scratch) = scratch.split_at_mut(dy.len());
            let (noise, scratch) = scratch.split_at_mut(dx.len());
            self.input_grad(dy, weights.loc, dx, scratch);
            m.flip(Side::After, dy, flipped);
            self.input_grad(flipped, weights.spread, noise, scratch);
            return m.add_flipped(Side::Before, noise, dx);
        }
        self.one_image_each(
            weights,
            (dx, x_len),
            (self.input_grad_task::<F>(), s.groups * self.input_packed::<F>()),
            scratch,
            |w, packed| self.pack_input(w, packed),
            |n, both, packed, scratch| self.combine_input(m, n, both, packed, scratch),
            |n, packed, dx, scratch| self.input_images(&dy[n * y_len..(n + 1) * y_len], packed, dx, scratch),
        );
    }

    /// The packed weights of image `n` for the input gradient.
    fn combine_input<F: Scalar>(
        &self,
        m: &Multipliers<'_>,
        n: usize,
        (loc, spread): (&[F], &[F]),
        packed: &mut [F],
        scratch: &mut [F],
    ) {
        let (signs, scratch) = scratch.split_at_mut(self.shape.in_channels + self.shape.out_channels);
        m.signs(n, signs);
        let (before, after) = signs.split_at(self.shape.in_channels);
        let (o, c, _) = self.group();
        let taps = self.shape.kernel[0] * self.shape.kernel[1];
        let (lines, pattern) = scratch.split_at_mut(c * taps);
        let mut at = 0;
        for g in 0..self.shape.groups {
            let (before, terms) = (&before[g * c..(g + 1) * c], &after[g * o..(g + 1) * o]);
            let mut product = |(m, n, k): (usize, usize, usize), lines: &[F]| {
                let blocking = Blocking::<F>::new(m, n, k, true);
                let range = at..at + blocking.packed_len(m, k);
                at = range.end;
                let signed =
                    Signed { loc: &loc[range.clone()], spread: &spread[range.clone()], lines, terms, run: k / o };
                signed.combine(&blocking, k, pattern, &mut packed[range]);
            };
            match &self.input_grad {
                InputGrad::Phases(_, phases) => phases.iter().for_each(|p| product(self.phase_sizes(p), before)),
                InputGrad::Scatter => {
                    lines.chunks_exact_mut(taps).zip(before).for_each(|(lines, &sign)| lines.fill(sign));
                    product(self.scatter_sizes(), lines);
                }
            }
        }
    }

    /// Partial sums of the weight gradients: a number that depends on the shape alone.
    fn weight_rows_parts(&self) -> usize {
        threads::parts(self.shape.batch, 2 * self.shape.w_len())
    }

    fn weight_rows_task<F: Scalar>(&self, multipliers: &Multipliers<'_>) -> usize {
        self.weight_product_task::<F>() + self.shape.w_len() + multipliers.scratch()
    }

    /// Scratch of [`Self::weight_grad_rows`] in elements, for the number of threads in use now.
    pub fn weight_grad_rows_scratch<F: Scalar>(&self, multipliers: &Multipliers<'_>) -> usize {
        if let Some((winograd, signs)) = self.fast_rows::<F>(multipliers.law) {
            return signs + winograd.weight_grad_scratch(2);
        }
        if self.flips(multipliers.law) {
            return self.shape.x_len() + self.y_len() + self.weight_grad_scratch::<F>();
        }
        let parts = self.weight_rows_parts();
        parts * 2 * self.shape.w_len() + threads::tasks(parts, self.work()) * self.weight_rows_task::<F>(multipliers)
    }

    /// dw [2, O, C / G, R, S] = the gradients of sum(dy * y) in `loc` and in `spread`: partial sums over fixed parts of the
    /// batch, added up in order.
    pub fn weight_grad_rows<F: Scalar>(
        &self,
        x: &[F],
        dy: &[F],
        multipliers: &Multipliers<'_>,
        dw: &mut [F],
        scratch: &mut [F],
    ) {
        let s = &self.shape;
        let w_len = s.w_len();
        assert!(
            x.len() == s.x_len() && dw.len() == 2 * w_len && dy.len() == self.y_len(),
            "operands have the planned sizes"
        );
        let (plain, spread) = dw.split_at_mut(w_len);
        if s.batch == 0 {
            plain.fill(F::ZERO);
            return spread.fill(F::ZERO);
        }
        if let Some((winograd, signs)) = self.fast_rows::<F>(multipliers.law) {
            let (signs, scratch) = scratch.split_at_mut(signs);
            let (before, after) = multipliers.all_signs(signs);
            let grads = WeightGrads::Flipout { loc: plain, perturbation: spread, before, after };
            return winograd.weight_grad(x, dy, grads, scratch);
        }
        if self.flips(multipliers.law) {
            let (x_flipped, scratch) = scratch.split_at_mut(x.len());
            let (dy_flipped, scratch) = scratch.split_at_mut(dy.len());
            multipliers.flip(Side::Before, x, x_flipped);
            multipliers.flip(Side::After, dy, dy_flipped);
            self.weight_grad(x, dy, plain, scratch);
            return self.weight_grad(x_flipped, dy_flipped, spread, scratch);
        }
        assert!(self.together == 1, "images one by one");
        let parts = self.weight_rows_parts();
        let (x_len, y_len) = self.images();
        let (sums, scratch) = scratch.split_at_mut(parts * 2 * w_len);
        let per_task = self.weight_rows_task::<F>(multipliers);
        let n_tasks = threads::tasks(parts, self.work()).min(scratch.len() / per_task.max(1)).max(1);
        over_items([sums], 2 * w_len, n_tasks, scratch, per_task, |index, [sums], scratch| {
            sums.fill(F::ZERO);
            let (gradient, scratch) = scratch.split_at_mut(w_len);
            let (signs, scratch) = scratch.split_at_mut(multipliers.scratch());
            let (frames, scratch) = self.weight_frames(scratch);
            for n in threads::part(s.batch, parts, index) {
                let (x, dy) = (&x[n * x_len..(n + 1) * x_len], &dy[n * y_len..(n + 1) * y_len]);
                self.weight_images(x, dy, gradient, false, frames, scratch);
                multipliers.add(n, gradient, sums, signs);
            }
        });
        self.gather_sums(sums, 2 * w_len, plain);
        self.gather_sums(&sums[w_len..], 2 * w_len, spread);
    }
}

/// The side of a layer that signs are on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

impl Multipliers<'_> {
    /// Calls `f(position, plane of to, sign)` for every channel of every image.
    fn planes<F: Scalar>(&self, side: Side, to: &mut [F], f: impl Fn(usize, &mut [F], F) + Sync) {
        const PIECE: usize = 256;
        let s = self.shape;
        let (channels, offset) = match side {
            Side::Before => (s.in_channels, 0),
            Side::After => (s.out_channels, s.in_channels),
        };
        let plane = to.len() / (s.batch * channels).max(1);
        let work = to.len();
        threads::for_each_chunk(to, channels * plane, work, |at, to| {
            let mut signs = [F::ONE; PIECE];
            for (i, to) in to.chunks_mut((channels * plane).max(1)).enumerate() {
                let image = at + i * channels * plane;
                let key = self.key.fold_in((image / (channels * plane)) as u64);
                for (piece, to) in to.chunks_mut(PIECE * plane).enumerate() {
                    let signs = &mut signs[..to.len() / plane];
                    fill_sign_bits(key, (offset + piece * PIECE) as u64, signs);
                    for (c, (to, &sign)) in to.chunks_exact_mut(plane).zip(&*signs).enumerate() {
                        f(image + (piece * PIECE + c) * plane, to, sign);
                    }
                }
            }
        });
    }

    /// to = signs * x
    fn flip<F: Scalar>(&self, side: Side, x: &[F], to: &mut [F]) {
        self.planes(side, to, |at, to, sign| to.iter_mut().zip(&x[at..]).for_each(|(to, &x)| *to = sign * x));
    }

    /// to += signs * x
    fn add_flipped<F: Scalar>(&self, side: Side, x: &[F], to: &mut [F]) {
        self.planes(side, to, |at, to, sign| to.iter_mut().zip(&x[at..]).for_each(|(to, &x)| *to += sign * x));
    }
}
