//! Maximum and average over windows of an image, and their gradients.
//!
//! x [planes, H, W] -> y [planes, P, Q]; planes are images times channels. Padded cells never win a maximum; in an
//! average they count as zeros or not at all. One-dimensional pooling has height 1.
use super::finish::Finish;
use super::{Scalar, simd, threads};

/// Windows that are handled at a time.
const LANES: usize = 16;
/// Results that are finished together: they are in the first-level cache.
const FINISHED: usize = 2048;

/// The shape of a pooling operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2dShape {
    /// Images times channels.
    pub planes: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the window.
    pub window: [usize; 2],
    /// Steps between windows.
    pub stride: [usize; 2],
    /// Padded cells: [[top, bottom], [left, right]].
    pub padding: [[usize; 2]; 2],
    /// Steps between cells of a window.
    pub dilation: [usize; 2],
}

/// Whether `x` beats the best so far, as in [`Pool2dShape::winner`].
#[inline(always)]
fn wins<F: Scalar>(x: F, best: F) -> bool {
    (x > best) | (x.is_nan() & !best.is_nan())
}

#[inline(always)]
fn pick<F: Scalar>(wins: bool, a: F, b: F) -> F {
    if wins { a } else { b }
}

impl Pool2dShape {
    /// Height and width of the output; 0 where the window does not fit.
    pub fn output(&self) -> [usize; 2] {
        std::array::from_fn(|axis| {
            let padded = self.input[axis] + self.padding[axis][0] + self.padding[axis][1];
            let reach = self.dilation[axis] * (self.window[axis] - 1) + 1;
            if padded < reach { 0 } else { (padded - reach) / self.stride[axis] + 1 }
        })
    }

    /// Elements of x.
    pub fn x_len(&self) -> usize {
        self.planes * self.input[0] * self.input[1]
    }

    /// Elements of y.
    pub fn y_len(&self) -> usize {
        let [p, q] = self.output();
        self.planes * p * q
    }

    /// The first tap inside the image, one past the last, and the position of tap 0 (which may lie before the image).
    #[inline(always)]
    fn taps(&self, axis: usize, output: usize) -> (usize, usize, isize) {
        let start = (output * self.stride[axis]) as isize - self.padding[axis][0] as isize;
        let dilation = self.dilation[axis] as isize;
        let first = if start < 0 { (-start + dilation - 1) / dilation } else { 0 };
        let room = self.input[axis] as isize - start;
        let end = if room <= 0 { 0 } else { (room + dilation - 1) / dilation };
        (first as usize, (end as usize).min(self.window[axis]), start)
    }

    /// Calls `f` with the positions in the plane of the cells of window (p, q) that lie inside the image.
    #[inline(always)]
    fn cells(&self, p: usize, q: usize, mut f: impl FnMut(usize)) {
        let (r0, r1, top) = self.taps(0, p);
        let (s0, s1, left) = self.taps(1, q);
        for r in r0..r1 {
            let row = (top + (r * self.dilation[0]) as isize) as usize * self.input[1];
            for s in s0..s1 {
                f(row + (left + (s * self.dilation[1]) as isize) as usize);
            }
        }
    }

    /// The position of the largest cell of window (p, q): the first one at ties, a NaN before all; `None` for a window
    /// in the padding.
    #[inline(always)]
    fn winner<F: Scalar>(&self, x: &[F], p: usize, q: usize) -> Option<usize> {
        let mut best: Option<usize> = None;
        self.cells(p, q, |at| {
            let wins = match best {
                None => true,
                Some(b) => x[at] > x[b] || (x[at].is_nan() && !x[b].is_nan()),
            };
            if wins {
                best = Some(at);
            }
        });
        best
    }

    /// Whether this is the usual pool, whose windows are blocks of 2 x 2.
    fn is_two_by_two(&self) -> bool {
        self.window == [2, 2] && self.stride == [2, 2] && self.dilation == [1, 1] && self.padding == [[0, 0], [0, 0]]
    }

    /// The maxima of windows of 2 x 2 in some planes, as [`max_pool2d`].
    fn two_by_two<F: Scalar>(&self, x: &[F], y: &mut [F]) {
        simd::dispatch(
            #[inline(always)]
            || match self.output()[1] {
                16.. => self.maxima::<F, 16>(x, y),
                8.. => self.maxima::<F, 8>(x, y),
                4.. => self.maxima::<F, 4>(x, y),
                2.. => self.maxima::<F, 2>(x, y),
                _ => self.maxima::<F, 1>(x, y),
            },
        );
    }

    /// The gradient of [`Self::two_by_two`].
    fn two_by_two_grad<F: Scalar>(&self, x: &[F], dy: &[F], dx: &mut [F]) {
        let [height, width] = self.input;
        let [rows, cols] = self.output();
        if 2 * rows < height {
            dx.chunks_exact_mut(height * width).for_each(|plane| plane[2 * rows * width..].fill(F::ZERO));
        }
        if 2 * cols < width {
            dx.chunks_exact_mut(width).for_each(|row| row[width - 1] = F::ZERO);
        }
        simd::dispatch(
            #[inline(always)]
            || match cols {
                16.. => self.winners::<F, 16>(x, dy, dx),
                8.. => self.winners::<F, 8>(x, dy, dx),
                4.. => self.winners::<F, 4>(x, dy, dx),
                2.. => self.winners::<F, 2>(x, dy, dx),
                _ => self.winners::<F, 1>(x, dy, dx),
            },
        );
    }

    /// Calls `f` with the windows of `planes` planes in groups of [`LANES`], each made of stretches of `L` windows of a row:
    /// where the upper cells of every stretch begin in x, and its windows in y. A stretch that would pass the end of its
    /// row is moved back, and the last one is repeated where a group is not full, so some windows come up twice and none is
    /// left over: rows are short, and groups of a fixed size have neither branches nor a slow end.
    #[inline(always)]
    fn groups<const L: usize>(&self, planes: usize, mut f: impl FnMut(&[[usize; 2]])) {
        let [height, width] = self.input;
        let [rows, cols] = self.output();
        if cols < L {
            return;
        }
        let mut group = [[0; 2]; LANES];
        let mut n = 0;
        for plane in 0..planes {
            for p in 0..rows {
                let (x, y) = ((plane * height + 2 * p) * width, (plane * rows + p) * cols);
                for q in (0..cols).step_by(L).map(|q| q.min(cols - L)) {
                    group[n] = [x + 2 * q, y + q];
                    n += 1;
                    if n == LANES / L {
                        f(&group[..LANES / L]);
                        n = 0;
                    }
                }
            }
        }
        if n > 0 {
            let last = group[n - 1];
            group[n..].fill(last);
            f(&group[..LANES / L]);
        }
    }

    /// The four cells of the windows of a group.
    #[inline(always)]
    fn gather<F: Scalar, const L: usize>(&self, x: &[F], group: &[[usize; 2]]) -> [[F; LANES]; 4] {
        let mut cells = [[F::ZERO; LANES]; 4];
        for (k, &[start, _]) in group.iter().enumerate() {
            for half in 0..2 {
                let pairs = &x[start + half * self.input[1]..][..2 * L].as_chunks::<2>().0[..L];
                for i in 0..L {
                    cells[2 * half][k * L + i] = pairs[i][0];
                    cells[2 * half + 1][k * L + i] = pairs[i][1];
                }
            }
        }
        cells
    }

    #[inline(always)]
    fn maxima<F: Scalar, const L: usize>(&self, x: &[F], y: &mut [F]) {
        let larger = |a: F, b: F| pick((a > b) | a.is_nan(), a, b);
        self.groups::<L>(
            x.len() / (self.input[0] * self.input[1]),
            #[inline(always)]
            |group| {
                let [a, b, c, d] = self.gather::<F, L>(x, group);
                let best: [F; LANES] = std::array::from_fn(|i| larger(larger(a[i], b[i]), larger(c[i], d[i])));
                for (best, &[_, at]) in best.as_chunks::<L>().0.iter().zip(group) {
                    y[at..at + L].copy_from_slice(best);
                }
            },
        );
    }

    #[inline(always)]
    fn winners<F: Scalar, const L: usize>(&self, x: &[F], dy: &[F], dx: &mut [F]) {
        self.groups::<L>(
            x.len() / (self.input[0] * self.input[1]),
            #[inline(always)]
            |group| {
                let [a, b, c, d] = self.gather::<F, L>(x, group);
                let mut sent = [F::ZERO; LANES];
                for (sent, &[_, at]) in sent.as_chunks_mut::<L>().0.iter_mut().zip(group) {
                    sent.copy_from_slice(&dy[at..at + L]);
                }
                let mut parts = [[F::ZERO; LANES]; 4];
                for i in 0..LANES {
                    let (right, low_right) = (wins(b[i], a[i]), wins(d[i], c[i]));
                    let lower = wins(pick(low_right, d[i], c[i]), pick(right, b[i], a[i]));
                    let part = |wins: bool| pick(wins, sent[i], F::ZERO);
                    parts[0][i] = part(!lower & !right);
                    parts[1][i] = part(!lower & right);
                    parts[2][i] = part(lower & !low_right);
                    parts[3][i] = part(lower & low_right);
                }
                for (k, &[start, _]) in group.iter().enumerate() {
                    for half in 0..2 {
                        let pairs = &mut dx[start + half * self.input[1]..][..2 * L].as_chunks_mut::<2>().0[..L];
                        for i in 0..L {
                            pairs[i] = [parts[2 * half][k * L + i], parts[2 * half + 1][k * L + i]];
                        }
                    }
                }
            },
        );
    }

    /// What the sum over window (p, q) is divided by.
    #[inline(always)]
    fn divisor(&self, p: usize, q: usize, count_include_pad: bool) -> usize {
        if count_include_pad {
            return self.window[0] * self.window[1];
        }
        let (r0, r1, _) = self.taps(0, p);
        let (s0, s1, _) = self.taps(1, q);
        (r1.saturating_sub(r0) * s1.saturating_sub(s0)).max(1)
    }

    /// Calls `f(plane index, planes of out)` for runs of planes, in parallel; `len` is the length of one.
    fn over_runs<F: Scalar>(&self, out: &mut [F], len: usize, f: impl Fn(usize, &mut [F]) + Sync) {
        if len == 0 {
            return;
        }
        let work = self.y_len() * self.window[0] * self.window[1];
        threads::for_each_chunk(out, len, work, |start, out| f(start / len, out));
    }

    /// Calls `f(plane index, plane of out)` for every plane, in parallel.
    fn over_planes<F: Scalar>(&self, out: &mut [F], len: usize, f: impl Fn(usize, &mut [F]) + Sync) {
        self.over_runs(out, len, |first, out| {
            for (i, out) in out.chunks_exact_mut(len).enumerate() {
                f(first + i, out);
            }
        });
    }
}

/// y = the largest cell of every window; -inf for a window that lies in the padding, NaN when a cell is.
///
/// `finish` has a bias for each of the channels that the planes of an image are.
pub fn max_pool2d<F: Scalar>(shape: &Pool2dShape, x: &[F], finish: Finish<'_, F>, y: &mut [F]) {
    assert!(x.len() == shape.x_len() && y.len() == shape.y_len(), "operands have the planned sizes");
    let plane_len = shape.input[0] * shape.input[1];
    let [rows, cols] = shape.output();
    if shape.is_two_by_two() {
        return shape.over_runs(y, rows * cols, |first, y| {
            // So many planes at a time that they are finished where they have just been written.
            let some = FINISHED.div_ceil(rows * cols);
            for (i, y) in y.chunks_mut(some * rows * cols).enumerate() {
                let (first, planes) = (first + i * some, y.len() / (rows * cols));
                shape.two_by_two(&x[first * plane_len..(first + planes) * plane_len], y);
                finish.planes(first, rows * cols, y);
            }
        });
    }
    shape.over_planes(y, rows * cols, |plane, y| {
        let x = &x[plane * plane_len..(plane + 1) * plane_len];
        for p in 0..rows {
            for q in 0..cols {
                y[p * cols + q] = shape.winner(x, p, q).map_or(F::NEG_INFINITY, |at| x[at]);
            }
        }
        finish.planes(plane, rows * cols, y);
    });
}

/// dx = the gradient of sum(dy * max_pool2d(x)): each dy goes to the largest cell of its window, the first one at ties
/// in row-major order.
pub fn max_pool2d_grad<F: Scalar>(shape: &Pool2dShape, x: &[F], dy: &[F], dx: &mut [F]) {
    assert!(x.len() == shape.x_len() && dy.len() == shape.y_len() && dx.len() == x.len(), "planned sizes");
    let plane_len = shape.input[0] * shape.input[1];
    let [rows, cols] = shape.output();
    if shape.is_two_by_two() {
        return shape.over_runs(dx, plane_len, |first, dx| {
            let planes = dx.len() / plane_len;
            let dy = &dy[first * rows * cols..(first + planes) * rows * cols];
            shape.two_by_two_grad(&x[first * plane_len..(first + planes) * plane_len], dy, dx);
        });
    }
    shape.over_planes(dx, plane_len, |plane, dx| {
        let x = &x[plane * plane_len..(plane + 1) * plane_len];
        let dy = &dy[plane * rows * cols..(plane + 1) * rows * cols];
        dx.fill(F::ZERO);
        for p in 0..rows {
            for q in 0..cols {
                if let Some(at) = shape.winner(x, p, q) {
                    dx[at] += dy[p * cols + q];
                }
            }
        }
    });
}

/// y = v at the largest cell of x in every window, 0 for a window in the padding: the adjoint of [`max_pool2d_grad`] in
/// its cotangent.
pub fn max_pool2d_take<F: Scalar>(shape: &Pool2dShape, x: &[F], v: &[F], y: &mut [F]) {
    assert!(x.len() == shape.x_len() && v.len() == x.len() && y.len() == shape.y_len(), "planned sizes");
    let plane_len = shape.input[0] * shape.input[1];
    let [rows, cols] = shape.output();
    shape.over_planes(y, rows * cols, |plane, y| {
        let plane = plane * plane_len..(plane + 1) * plane_len;
        let (x, v) = (&x[plane.clone()], &v[plane]);
        for p in 0..rows {
            for q in 0..cols {
                y[p * cols + q] = shape.winner(x, p, q).map_or(F::ZERO, |at| v[at]);
            }
        }
    });
}

/// y = the average of every window; with `count_include_pad`, padded cells count as zeros.
pub fn avg_pool2d<F: Scalar>(shape: &Pool2dShape, count_include_pad: bool, x: &[F], y: &mut [F]) {
    assert!(x.len() == shape.x_len() && y.len() == shape.y_len(), "operands have the planned sizes");
    let plane_len = shape.input[0] * shape.input[1];
    let [rows, cols] = shape.output();
    shape.over_planes(y, rows * cols, |plane, y| {
        let x = &x[plane * plane_len..(plane + 1) * plane_len];
        for p in 0..rows {
            for q in 0..cols {
                let mut total = F::ZERO;
                shape.cells(p, q, |at| total += x[at]);
                y[p * cols + q] = total / F::from_usize(shape.divisor(p, q, count_include_pad));
            }
        }
    });
}

/// dx = the gradient of sum(dy * avg_pool2d(x)).
pub fn avg_pool2d_grad<F: Scalar>(shape: &Pool2dShape, count_include_pad: bool, dy: &[F], dx: &mut [F]) {
    assert!(dx.len() == shape.x_len() && dy.len() == shape.y_len(), "operands have the planned sizes");
    let plane_len = shape.input[0] * shape.input[1];
    let [rows, cols] = shape.output();
    shape.over_planes(dx, plane_len, |plane, dx| {
        dx.fill(F::ZERO);
        let dy = &dy[plane * rows * cols..(plane + 1) * rows * cols];
        for p in 0..rows {
            for q in 0..cols {
                let share = dy[p * cols + q] / F::from_usize(shape.divisor(p, q, count_include_pad));
                shape.cells(p, q, |at| dx[at] += share);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::kernels::testing::{assert_close, counts, numbers, reference, values};

    /// The shape of a case of the reference file; one-dimensional ones get height 1.
    fn shape(case: &Value) -> Pool2dShape {
        let attrs = &case["attrs"];
        let mut x = counts(&case["inputs"]["x"]["shape"]);
        let flat = x.len() == 3;
        if flat {
            x.insert(2, 1);
        }
        let two = |name: &str| {
            let v = counts(&attrs[name]);
            if flat { [1, v[0]] } else { [v[0], v[1]] }
        };
        let input = [x[2], x[3]];
        let (window, stride) = (two("kernel"), two("stride"));
        let dilation = if attrs.get("dilation").is_some() { two("dilation") } else { [1, 1] };
        let padding = match &attrs["padding"] {
            Value::String(s) if s == "valid" => [[0, 0]; 2],
            Value::String(_) => std::array::from_fn(|a| {
                let out = input[a].div_ceil(stride[a]);
                let total = ((out - 1) * stride[a] + dilation[a] * (window[a] - 1) + 1).saturating_sub(input[a]);
                [total / 2, total - total / 2]
            }),
            list => {
                let p: Vec<Vec<usize>> = list.as_array().expect("a list").iter().map(counts).collect();
                [[p[0][0], p[0][1]], [p[1][0], p[1][1]]]
            }
        };
        Pool2dShape { planes: x[0] * x[1], input, window, stride, padding, dilation }
    }

    fn check<F: Scalar>(tol: f64) {
        let file = reference("nn_ops.json");
        let mut seen = 0;
        for c in file["cases"].as_array().expect("a list of cases") {
            let op = c["op"].as_str().expect("a name");
            let max = op.starts_with("max_pool");
            if !max && !op.starts_with("avg_pool") {
                continue;
            }
            seen += 1;
            let data = |v: &Value| numbers(&v["data"]).into_iter().map(F::from_f64).collect::<Vec<_>>();
            let (x, dy) = (data(&c["inputs"]["x"]), data(&c["grad_output"]));
            let s = shape(c);
            let what = format!("{op} {}", c["attrs"]);
            let (mut y, mut dx) = (vec![F::NAN; s.y_len()], vec![F::NAN; s.x_len()]);
            if max {
                max_pool2d(&s, &x, Finish::NOTHING, &mut y);
                max_pool2d_grad(&s, &x, &dy, &mut dx);
            } else {
                let count = c["attrs"]["count_include_pad"].as_bool().expect("a flag");
                avg_pool2d(&s, count, &x, &mut y);
                avg_pool2d_grad(&s, count, &dy, &mut dx);
            }
            assert_close(&y, &numbers(&c["output"]["data"]), tol, &what);
            assert_close(&dx, &numbers(&c["grads"]["x"]["data"]), tol, &what);
        }
        assert_eq!(seen, 18, "all poolings of the reference file");
    }

    #[test]
    fn reference_pooling() {
        check::<f64>(1e-12);
        check::<f32>(1e-5);
    }

    const HALVES: Pool2dShape = Pool2dShape {
        planes: 3,
        input: [7, 9],
        window: [2, 2],
        stride: [2, 2],
        padding: [[0, 0], [0, 0]],
        dilation: [1, 1],
    };

    #[test]
    fn first_cell_wins_ties_and_nan_wins_all() {
        let s = Pool2dShape { planes: 1, input: [2, 2], ..HALVES };
        let mut dx = [0.0; 4];
        max_pool2d_grad(&s, &[1.0, 1.0, 1.0, 1.0], &[5.0], &mut dx);
        assert_eq!(dx, [5.0, 0.0, 0.0, 0.0]);
        let mut y = [0.0];
        max_pool2d(&s, &[1.0, f64::NAN, 7.0, 1.0], Finish::NOTHING, &mut y);
        assert!(y[0].is_nan());
    }

    /// Values with ties and NaN.
    fn awkward(n: usize) -> Vec<f32> {
        let coarse = |(i, x): (usize, f32)| if i % 13 == 0 { f32::NAN } else { (2.0 * x).round() };
        values::<f32>(1, n).into_iter().enumerate().map(coarse).collect()
    }

    #[test]
    fn halving_agrees_with_the_general_loop() {
        for input in [[7, 9], [2, 2], [8, 40], [5, 33], [9, 14], [6, 29], [3, 7], [1, 4], [4, 1]] {
            let s = Pool2dShape { input, ..HALVES };
            let (x, dy) = (awkward(s.x_len()), values::<f32>(2, s.y_len()));
            let (mut y, mut dx) = (vec![0.0; s.y_len()], vec![f32::NAN; s.x_len()]);
            max_pool2d(&s, &x, Finish::NOTHING, &mut y);
            max_pool2d_grad(&s, &x, &dy, &mut dx);
            let [rows, cols] = s.output();
            let (mut slow, mut slow_dx) = (vec![0.0; s.y_len()], vec![0.0; s.x_len()]);
            let plane_len = input[0] * input[1];
            for i in 0..s.y_len() {
                let (plane, p, q) = (i / (rows * cols), i / cols % rows, i % cols);
                let x = &x[plane * plane_len..(plane + 1) * plane_len];
                let winner = s.winner(x, p, q).expect("a cell");
                slow[i] = x[winner];
                slow_dx[plane * plane_len + winner] += dy[i];
            }
            let bits = |v: &[f32]| {
                v.iter()
                    .map(|x| (x.is_nan(), x + 0.0))
                    .map(|(n, x)| if n { 1 } else { x.to_bits() })
                    .collect::<Vec<_>>()
            };
            assert_eq!(bits(&y), bits(&slow), "{input:?}");
            assert_eq!(bits(&dx), bits(&slow_dx), "{input:?}");
        }
    }
}
