//! Matrix products: C = A B, any strides, packed panels and register tiles.
//!
//! The loops are numbered 5..1 from the outside as in BLIS (Van Zee & van de Geijn 2015): 5 over NC columns of B, 4 over
//! KC terms, 3 over MC rows of A, 2 over columns and 1 over rows of a packed block, a register tile at a time. Operands
//! arrive through `PackA` and `PackB`, so that a convolution packs patches straight from an image; a panel of B is packed
//! right before it is used, while it is in the first-level cache. Every element of C is summed in the same order whatever
//! the cut between threads: over k within blocks of KC, block after block.
use super::simd::{Start, Tiles};
use super::{Scalar, simd, threads};

/// How a product is cut into blocks.
///
/// | block | holds | lives in | bytes |
/// |---|---|---|---|
/// | panel of B | KC x columns of a tile | first-level cache, next to the rows of A that stream by | `PANEL_BYTES` |
/// | block of A | MC x KC | second-level cache, read once for each panel of B | `BLOCK_BYTES` |
/// | block of B | KC x NC, only when A has several blocks | second-level cache | `BLOCK_BYTES` |
/// | block of C | MC x NC | second-level cache, touched once for each block of terms | `BLOCK_BYTES` |
///
/// The terms are cut evenly, and rows as well: no tile is computed for nothing but zeros.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocking<F: 'static> {
    pub(crate) tiles: &'static Tiles<F>,
    /// Rows of a tile.
    pub(crate) rows: usize,
    /// Terms of a block.
    pub(crate) kc: usize,
    mc: usize,
    nc: usize,
}

const PANEL_BYTES: usize = 24 << 10;
const BLOCK_BYTES: usize = 192 << 10;
/// The largest register tile, rows x columns.
const TILE: usize = 14 * 32;
/// Products with so few rows (or columns) do not repay packing.
const THIN: usize = 3;

impl<F: Scalar> Blocking<F> {
    /// The blocks of a product [m, k] x [k, n]; with A `packed` beforehand it counts as one block.
    pub(crate) fn new(m: usize, n: usize, k: usize, packed: bool) -> Self {
        let tiles = F::tiles();
        let rows = tiles.even_rows(m).max(1);
        let most = PANEL_BYTES / (tiles.cols * size_of::<F>());
        let kc = k.div_ceil(k.div_ceil(most).max(1)).max(1);
        let elements = BLOCK_BYTES / size_of::<F>();
        let whole = m.next_multiple_of(rows);
        let mc = if packed { whole } else { (elements / kc / rows * rows).clamp(rows, whole) };
        let of_c = elements / mc;
        let of_b = if mc < whole { elements / kc } else { usize::MAX };
        let nc = (of_c.min(of_b).max(4 * tiles.cols)).min(n.max(1)).next_multiple_of(tiles.cols);
        Self { tiles, rows, kc, mc, nc }
    }
    /// Elements of a packed A of `m` rows and `k` terms.
    pub(crate) fn packed_len(&self, m: usize, k: usize) -> usize {
        m.next_multiple_of(self.rows) * k
    }
    fn a_block(&self, m: usize) -> usize {
        m.next_multiple_of(self.rows).min(self.mc) * self.kc
    }
    fn b_block(&self, m: usize) -> usize {
        if m > self.mc { self.nc * self.kc } else { self.tiles.cols * self.kc }
    }
}

/// A matrix in a slice: element (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, F> {
    /// The elements, from (0, 0) on.
    pub data: &'a [F],
    /// Steps from one row to the next.
    pub row_stride: usize,
    /// Steps from one column to the next.
    pub col_stride: usize,
}

impl<'a, F: Scalar> Matrix<'a, F> {
    /// A matrix with contiguous rows of `cols` elements.
    pub fn row_major(data: &'a [F], cols: usize) -> Self {
        Self { data, row_stride: cols, col_stride: 1 }
    }

    /// The transposed matrix.
    #[must_use]
    pub fn t(self) -> Self {
        Self { data: self.data, row_stride: self.col_stride, col_stride: self.row_stride }
    }

    fn from(self, start: usize) -> Self {
        Self { data: &self.data[start.min(self.data.len())..], ..self }
    }

    fn covers(&self, rows: usize, cols: usize) -> bool {
        rows * cols == 0 || (rows - 1) * self.row_stride + (cols - 1) * self.col_stride < self.data.len()
    }
}

/// A source of packed panels of the left operand.
pub(crate) trait PackA<F: Scalar>: Sync {
    /// Writes rows `i..i + m` and terms `k..k + kc` as a panel \[kc][rows], filled up with zeros; m is at most `rows`.
    fn pack_a(&self, i: usize, m: usize, k: usize, kc: usize, rows: usize, out: &mut [F]);
}

/// The left operand of a product: to be packed, or packed already for the same [`Blocking`].
#[derive(Clone, Copy)]
pub(crate) enum Left<'a, F, A> {
    /// Packed block by block as the product goes.
    Source(&'a A),
    /// All panels, block of terms after block of terms; made by [`pack_all`].
    Packed(&'a [F]),
}

/// Packs the whole left operand for [`Left::Packed`]: `blocking.packed_len(m, k)` elements.
pub(crate) fn pack_all<F: Scalar>(blocking: &Blocking<F>, m: usize, k: usize, a: &impl PackA<F>, out: &mut [F]) {
    let rows = blocking.rows;
    let mut rest = out;
    for kk in (0..k).step_by(blocking.kc) {
        let kc = (k - kk).min(blocking.kc);
        for i in (0..m).step_by(rows) {
            let (panel, tail) = rest.split_at_mut(rows * kc);
            a.pack_a(i, (m - i).min(rows), kk, kc, rows, panel);
            rest = tail;
        }
    }
}

/// A source of packed panels of the right operand.
pub(crate) trait PackB<F: Scalar>: Sync {
    /// Writes terms `k..k + kc` and columns `j..j + n` as a panel \[kc][cols], n at most `cols`; what the columns beyond
    /// n hold does not matter.
    fn pack_b(&self, k: usize, kc: usize, j: usize, n: usize, cols: usize, out: &mut [F]);
}

/// Packs lines `i..i + m` of a matrix into a panel of `width` lines, terms `k..k + kc` along `along`.
#[inline(always)]
fn pack_lines<F: Scalar>(
    data: &[F],
    (across, along): (usize, usize),
    (i, m): (usize, usize),
    (k, kc): (usize, usize),
    width: usize,
    out: &mut [F],
) {
    let out = &mut out[..width * kc];
    if across == 1 {
        for (t, out) in out.chunks_exact_mut(width).enumerate() {
            let at = (k + t) * along + i;
            copy_line(&data[at..at + m], &mut out[..m]);
        }
    } else if along == 1 {
        F::transpose(&data[i * across + k..], across, m, kc, width, out);
    } else {
        for line in 0..m {
            let at = (i + line) * across + k * along;
            for (out, &x) in out[line..].iter_mut().step_by(width).zip(data[at..].iter().step_by(along)).take(kc) {
                *out = x;
            }
        }
    }
}

/// Copies a few elements, eight at a time: lines of a panel are too short for a call to be worth it.
#[inline(always)]
fn copy_line<F: Scalar>(from: &[F], to: &mut [F]) {
    let (from, rest) = from.as_chunks::<8>();
    let (to, rest_to) = to.as_chunks_mut::<8>();
    from.iter().zip(to).for_each(|(from, to)| *to = *from);
    rest.iter().zip(rest_to).for_each(|(from, to)| *to = *from);
}

impl<F: Scalar> PackA<F> for Matrix<'_, F> {
    fn pack_a(&self, i: usize, m: usize, k: usize, kc: usize, rows: usize, out: &mut [F]) {
        simd::dispatch(
            #[inline(always)]
            || pack_lines(self.data, (self.row_stride, self.col_stride), (i, m), (k, kc), rows, out),
        );
    }
}

impl<F: Scalar> PackB<F> for Matrix<'_, F> {
    fn pack_b(&self, k: usize, kc: usize, j: usize, n: usize, cols: usize, out: &mut [F]) {
        simd::dispatch(
            #[inline(always)]
            || pack_lines(self.data, (self.col_stride, self.row_stride), (j, n), (k, kc), cols, out),
        );
    }
}

/// Where the tiles of a product go.
pub(crate) trait Sink<F: Scalar> {
    /// The memory of rows `i..i + m`, columns `j..j + n`, and the distance of its rows, with what the first sums are added
    /// to; `None` when its rows do not lie evenly.
    fn place(&mut self, i: usize, m: usize, j: usize, n: usize) -> Option<(&mut [F], usize, Start)>;
    /// Adds `rows` (i, m), `columns` (j, n) of a tile with rows of `cols`, or overwrites with it when it is the `first`.
    fn add(&mut self, rows: (usize, usize), columns: (usize, usize), tile: &[F], cols: usize, first: bool);
}

/// Writes a matrix in a slice.
pub(crate) struct Into<'a, F> {
    pub(crate) data: &'a mut [F],
    pub(crate) row_stride: usize,
    /// Whether to add to what is there.
    pub(crate) present: bool,
}

impl<F: Scalar> Sink<F> for Into<'_, F> {
    #[inline(always)]
    fn place(&mut self, i: usize, m: usize, j: usize, n: usize) -> Option<(&mut [F], usize, Start)> {
        let at = i * self.row_stride + j;
        let start = if self.present { Start::Present } else { Start::Zero };
        Some((&mut self.data[at..at + (m - 1) * self.row_stride + n], self.row_stride, start))
    }
    #[inline(always)]
    fn add(&mut self, (i, m): (usize, usize), (j, n): (usize, usize), tile: &[F], cols: usize, first: bool) {
        for (r, tile) in tile.chunks_exact(cols).take(m).enumerate() {
            let at = (i + r) * self.row_stride + j;
            add_row(&mut self.data[at..at + n], tile, first && !self.present);
        }
    }
}

/// c += tile, or c = tile.
#[inline(always)]
pub(crate) fn add_row<F: Scalar>(c: &mut [F], tile: &[F], overwrite: bool) {
    if overwrite {
        c.copy_from_slice(&tile[..c.len()]);
    } else {
        c.iter_mut().zip(tile).for_each(|(c, &t)| *c += t);
    }
}

/// Scratch of [`product`] in elements: one packed block of each operand.
pub(crate) fn product_scratch<F: Scalar>(m: usize, n: usize, k: usize, packed: bool) -> usize {
    let blocking = Blocking::<F>::new(m, n, k, packed);
    blocking.b_block(m) + if packed { 0 } else { blocking.a_block(m) }
}

/// Computes A B into `sink` on this thread, rows 0..m, columns 0..n.
pub(crate) fn product<F: Scalar, A: PackA<F>>(
    (m, n, k): (usize, usize, usize),
    a: Left<'_, F, A>,
    b: &impl PackB<F>,
    sink: &mut impl Sink<F>,
    scratch: &mut [F],
) {
    let blocking = Blocking::<F>::new(m, n, k, matches!(a, Left::Packed(_)));
    let Blocking { tiles, rows, kc: most, mc, nc } = blocking;
    let cols = tiles.cols;
    let (b_block, a_block) = scratch.split_at_mut(blocking.b_block(m));
    let mut tile = [F::ZERO; TILE];
    for jc in (0..n).step_by(nc) {
        // loop 5
        let columns = (n - jc).min(nc);
        // An empty sum is a block of no terms.
        for kk in (0..k.max(1)).step_by(most) {
            // loop 4
            let kc = (k - kk).min(most);
            for ic in (0..m).step_by(mc) {
                // loop 3
                let mc = (m - ic).min(mc);
                let a_block = match a {
                    Left::Packed(all) => &all[kk * m.next_multiple_of(rows)..],
                    Left::Source(a) => {
                        for (panel, i) in a_block.chunks_exact_mut((rows * kc).max(1)).zip((ic..ic + mc).step_by(rows))
                        {
                            a.pack_a(i, (m - i).min(rows), kk, kc, rows, panel);
                        }
                        &*a_block
                    }
                };
                for (jr, j) in (jc..jc + columns).step_by(cols).enumerate() {
                    // loop 2
                    let n = (jc + columns - j).min(cols);
                    let slot = if m > blocking.mc { jr * cols * kc } else { 0 };
                    let b_panel = &mut b_block[slot..slot + cols * kc];
                    if ic == 0 {
                        b.pack_b(kk, kc, j, n, cols, b_panel);
                    }
                    let at = ((ic, mc), (j, n), (kk, kc));
                    strip(&blocking, m, at, a_block, b_panel, &mut tile, sink);
                }
            }
        }
    }
}

/// Loop 1: rows `ic..ic + mc` of a packed block of A times columns `j..j + n`, a packed panel of B.
#[inline(always)]
fn strip<F: Scalar>(
    blocking: &Blocking<F>,
    m: usize,
    ((ic, mc), (j, n), (kk, kc)): ((usize, usize), (usize, usize), (usize, usize)),
    a_block: &[F],
    b_panel: &[F],
    tile: &mut [F; TILE],
    sink: &mut impl Sink<F>,
) {
    let &Blocking { tiles, rows, .. } = blocking;
    let width = tiles.width(n);
    let first = kk == 0;
    for (ir, i) in (ic..ic + mc).step_by(rows).enumerate() {
        // loop 1
        let a = &a_block[ir * rows * kc..][..rows * kc];
        let lines = (m - i).min(rows);
        if lines == rows
            && n == width
            && let Some((c, stride, start)) = sink.place(i, rows, j, n)
        {
            let start = if first { start } else { Start::Present };
            tiles.run(rows, n, kc, a, b_panel, c, stride, start);
        } else {
            tiles.run(rows, n, kc, a, b_panel, tile, tiles.cols, Start::Zero);
            sink.add((i, lines), (j, n), tile, tiles.cols, first);
        }
    }
}

/// Computes A B into the first sink, and A' times the squares of the elements of B into the second, on this thread. Both
/// left operands are packed, by [`pack_all`]; each panel of B is packed once and squared where it lies.
pub(crate) fn product_and_square<F: Scalar, S: Sink<F>>(
    (m, n, k): (usize, usize, usize),
    packed: [&[F]; 2],
    b: &impl PackB<F>,
    sinks: [&mut S; 2],
    scratch: &mut [F],
) {
    let blocking = Blocking::<F>::new(m, n, k, true);
    let Blocking { tiles, rows, kc: most, nc, .. } = blocking;
    let cols = tiles.cols;
    let [sink, squares] = sinks;
    let mut tile = [F::ZERO; TILE];
    for jc in (0..n).step_by(nc) {
        // loop 5
        let columns = (n - jc).min(nc);
        for kk in (0..k.max(1)).step_by(most) {
            // loop 4
            let kc = (k - kk).min(most);
            let [a, a_of_squares] = packed.map(|all| &all[kk * m.next_multiple_of(rows)..]);
            for j in (jc..jc + columns).step_by(cols) {
                // loop 2
                let at = ((0, m), (j, (jc + columns - j).min(cols)), (kk, kc));
                let panel = &mut scratch[..cols * kc];
                b.pack_b(kk, kc, j, at.1.1, cols, panel);
                strip(&blocking, m, at, a, panel, &mut tile, sink);
                simd::dispatch(
                    #[inline(always)]
                    || panel.iter_mut().for_each(|b| *b = *b * *b),
                );
                strip(&blocking, m, at, a_of_squares, panel, &mut tile, squares);
            }
        }
    }
}

/// Scratch of [`gemm`] in elements, for the number of threads in use now.
pub fn gemm_scratch<F: Scalar>(m: usize, n: usize, k: usize) -> usize {
    if m <= THIN || n <= THIN {
        return 0;
    }
    let n_tasks = threads::tasks(m.div_ceil(F::tiles().rows()), m * n * k);
    n_tasks * task_scratch::<F>(m, n, k, n_tasks)
}

/// The largest scratch of a task when the rows are cut into `n_tasks` pieces.
fn task_scratch<F: Scalar>(m: usize, n: usize, k: usize, n_tasks: usize) -> usize {
    let piece = |index| threads::part(m, n_tasks, index).len();
    (0..n_tasks).map(|index| product_scratch::<F>(piece(index), n, k, false)).max().unwrap_or(0)
}

/// C [m, n] = A [m, k] B [k, n], C row-major with rows `c_stride` apart; C may hold anything before, NaN included.
///
/// `scratch` has at least [`gemm_scratch`] elements; with less than that for all threads, one thread runs.
#[expect(clippy::too_many_arguments, reason = "operands and sizes of a product")]
pub fn gemm<F: Scalar>(
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'_, F>,
    b: Matrix<'_, F>,
    c: &mut [F],
    c_stride: usize,
    scratch: &mut [F],
) {
    if m * n == 0 {
        return;
    }
    assert!(a.covers(m, k) && b.covers(k, n), "operands hold the elements of the product");
    assert!(c_stride >= n && (m - 1) * c_stride + n <= c.len(), "C holds the elements of the product");
    if k == 0 || m <= THIN || n <= THIN {
        c.chunks_mut(c_stride).take(m).for_each(|row| row[..n].fill(F::ZERO));
    }
    if k == 0 {
        return;
    }
    if m <= THIN {
        thin_rows(m, n, k, a, b, c, c_stride);
        return;
    }
    if n <= THIN {
        thin_columns(n, k, a, b, &mut c[..(m - 1) * c_stride + n], c_stride);
        return;
    }
    // Threads share out the rows of C: contiguous pieces, and no sum is cut.
    let n_tasks = threads::tasks(m.div_ceil(F::tiles().rows()), m * n * k);
    let per_task = task_scratch::<F>(m, n, k, n_tasks);
    if n_tasks == 1 || scratch.len() < n_tasks * per_task {
        let mut sink = Into { data: c, row_stride: c_stride, present: false };
        product((m, n, k), Left::Source(&a), &b, &mut sink, scratch);
        return;
    }
    rayon::scope(|scope| {
        let mut rest = c;
        let mut scratch = scratch;
        for index in 0..n_tasks {
            let range = threads::part(m, n_tasks, index);
            let len = if range.end == m { rest.len() } else { range.len() * c_stride };
            let (head, tail) = rest.split_at_mut(len);
            let (mine, others) = scratch.split_at_mut(per_task);
            (rest, scratch) = (tail, others);
            scope.spawn(move |_| {
                let a = a.from(range.start * a.row_stride);
                let mut sink = Into { data: head, row_stride: c_stride, present: false };
                product((range.len(), n, k), Left::Source(&a), &b, &mut sink, mine);
            });
        }
    });
}

/// A few rows: each is a product of a row with B.
fn thin_rows<F: Scalar>(
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'_, F>,
    b: Matrix<'_, F>,
    c: &mut [F],
    c_stride: usize,
) {
    for (i, c) in c.chunks_mut(c_stride).take(m).enumerate() {
        let a = a.from(i * a.row_stride);
        threads::for_each_chunk(&mut c[..n], WIDE, n * k, |start, c| {
            thin_line(k, a, b.from(start * b.col_stride), c, 1, c.len());
        });
    }
}

/// A few columns: each is a product of the transposed A with a column of B.
fn thin_columns<F: Scalar>(n: usize, k: usize, a: Matrix<'_, F>, b: Matrix<'_, F>, c: &mut [F], c_stride: usize) {
    let work = c.len().div_ceil(c_stride) * n * k;
    threads::for_each_chunk(c, WIDE * c_stride, work, |start, c| {
        let rows = c.len().div_ceil(c_stride);
        let a = a.from(start / c_stride * a.row_stride);
        for j in 0..n {
            thin_line(k, b.t().from(j * b.col_stride), a.t(), &mut c[j..], c_stride, rows);
        }
    });
}

/// Columns of one pass of [`thin_line`]: their sums fit in half of the vector registers.
const WIDE: usize = 64;

/// c[j * stride] += (a B)[j] for j < n: one row `a` [1, k] times B [k, n].
fn thin_line<F: Scalar>(k: usize, a: Matrix<'_, F>, b: Matrix<'_, F>, c: &mut [F], stride: usize, n: usize) {
    simd::dispatch(
        #[inline(always)]
        || {
            let mut acc = [F::ZERO; WIDE];
            for j0 in (0..n).step_by(WIDE) {
                let width = (n - j0).min(WIDE);
                if b.col_stride == 1 && width == WIDE {
                    acc = [F::ZERO; WIDE];
                    for t in 0..k {
                        let x = a.data[t * a.col_stride];
                        let row = &b.data[t * b.row_stride + j0..][..WIDE];
                        for (s, &b) in acc.iter_mut().zip(row) {
                            *s = x.mul_add(b, *s);
                        }
                    }
                } else if b.row_stride == 1 && a.col_stride == 1 {
                    for (j, s) in acc[..width].iter_mut().enumerate() {
                        let at = (j0 + j) * b.col_stride;
                        *s = inner_product(&a.data[..k], &b.data[at..at + k]);
                    }
                } else {
                    acc = [F::ZERO; WIDE];
                    for t in 0..k {
                        let x = a.data[t * a.col_stride];
                        for (j, s) in acc[..width].iter_mut().enumerate() {
                            *s = x.mul_add(b.data[t * b.row_stride + (j0 + j) * b.col_stride], *s);
                        }
                    }
                }
                for (j, &s) in acc[..width].iter().enumerate() {
                    let c = &mut c[(j0 + j) * stride];
                    *c += s;
                }
            }
        },
    );
}

/// The inner product in 32 lanes.
#[inline(always)]
fn inner_product<F: Scalar>(x: &[F], y: &[F]) -> F {
    const LANES: usize = 32;
    let mut lanes = [F::ZERO; LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let (xr, yr) = (xs.remainder(), ys.remainder());
    for (x, y) in xs.zip(ys) {
        for ((l, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *l = x.mul_add(y, *l);
        }
    }
    for ((l, &x), &y) in lanes.iter_mut().zip(xr).zip(yr) {
        *l = x.mul_add(y, *l);
    }
    let mut n = LANES / 2;
    while n > 0 {
        for i in 0..n {
            lanes[i] += lanes[i + n];
        }
        n /= 2;
    }
    lanes[0]
}

/// Scratch of [`gemm_batched`] in elements, for the number of threads in use now.
pub fn gemm_batched_scratch<F: Scalar>(batch: usize, m: usize, n: usize, k: usize) -> usize {
    if m <= THIN || n <= THIN {
        return 0;
    }
    let n_tasks = threads::tasks(batch, batch * m * n * k);
    (n_tasks * task_scratch::<F>(m, n, k, 1)).max(gemm_scratch::<F>(m, n, k))
}

/// `batch` products: C\[i] = A\[i] B\[i], operand i starting `a_step`, `b_step` or `m n` elements after
/// the one before (a step of 0 repeats an operand); every C\[i] is row-major and contiguous.
#[expect(clippy::too_many_arguments, reason = "the signature of BLAS")]
pub fn gemm_batched<F: Scalar>(
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'_, F>,
    a_step: usize,
    b: Matrix<'_, F>,
    b_step: usize,
    c: &mut [F],
    scratch: &mut [F],
) {
    assert_eq!(c.len(), batch * m * n, "C is [batch, m, n]");
    if c.is_empty() {
        return;
    }
    let thin = m <= THIN || n <= THIN;
    let per_task = if thin { 0 } else { task_scratch::<F>(m, n, k, 1) };
    let fits = if thin { usize::MAX } else { scratch.len() / per_task.max(1) };
    let n_tasks = threads::tasks(batch, batch * m * n * k).min(fits).max(1);
    // One product at a time uses the threads inside; many products share them out.
    if n_tasks == 1 || batch < threads::count() {
        for (i, c) in c.chunks_exact_mut(m * n).enumerate() {
            gemm(m, n, k, a.from(i * a_step), b.from(i * b_step), c, n, scratch);
        }
        return;
    }
    rayon::scope(|scope| {
        let (mut rest, mut scratch) = (c, scratch);
        for index in 0..n_tasks {
            let range = threads::part(batch, n_tasks, index);
            let (head, tail) = rest.split_at_mut(range.len() * m * n);
            let (mine, others) = scratch.split_at_mut(per_task);
            (rest, scratch) = (tail, others);
            scope.spawn(move |_| {
                for (i, c) in range.zip(head.chunks_exact_mut(m * n)) {
                    gemm(m, n, k, a.from(i * a_step), b.from(i * b_step), c, n, mine);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, values};

    /// Every element of the product, and the sum of the magnitudes of its terms, to which rounding is relative (Higham
    /// 2002, section 3.1).
    fn naive<F: Scalar>(m: usize, n: usize, k: usize, a: Matrix<'_, F>, b: Matrix<'_, F>) -> Vec<(f64, f64)> {
        let mut c = vec![(0.0, 0.0); m * n];
        for i in 0..m {
            for j in 0..n {
                for t in 0..k {
                    let term = a.data[i * a.row_stride + t * a.col_stride].to_f64()
                        * b.data[t * b.row_stride + j * b.col_stride].to_f64();
                    let (sum, magnitudes) = &mut c[i * n + j];
                    (*sum, *magnitudes) = (*sum + term, *magnitudes + term.abs());
                }
            }
        }
        c
    }

    fn check<F: Scalar>(m: usize, n: usize, k: usize, tol: f64) {
        let (a, b) = (values::<F>(1, m * k), values::<F>(2, k * n));
        let start = values::<F>(3, m * (n + 2));
        for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
            let a = if ta { Matrix::row_major(&a, m).t() } else { Matrix::row_major(&a, k) };
            let b = if tb { Matrix::row_major(&b, k).t() } else { Matrix::row_major(&b, n) };
            let expected = naive(m, n, k, a, b);
            let mut scratch = vec![F::NAN; gemm_scratch::<F>(m, n, k)];
            let mut c = start.clone();
            c.iter_mut().enumerate().filter(|(i, _)| i % (n + 2) < n).for_each(|(_, c)| *c = F::NAN);
            gemm(m, n, k, a, b, &mut c, n + 2, &mut scratch);
            for i in 0..m {
                let (got, beyond) = c[i * (n + 2)..][..n + 2].split_at(n);
                for (j, (got, (sum, magnitudes))) in got.iter().zip(&expected[i * n..]).enumerate() {
                    let error = (got.to_f64() - sum).abs();
                    assert!(error <= tol * magnitudes, "{m}x{n}x{k} {ta} {tb} [{i}, {j}]: {got} instead of {sum}");
                }
                assert_eq!(beyond, &start[i * (n + 2) + n..][..2], "what is beyond a row stays");
            }
        }
    }

    #[test]
    fn products_agree_with_the_plain_loop() {
        for (m, n, k) in [
            (1, 1, 1),
            (1, 130, 40),
            (3, 65, 7),
            (70, 1, 33),
            (65, 3, 9),
            (6, 16, 4),
            (7, 17, 5),
            (13, 40, 300),
            (29, 50, 700),
            (300, 70, 500),
            (80, 530, 20),
            (100, 90, 70),
            (4, 4, 0),
        ] {
            check::<f32>(m, n, k, 8.0 * f64::from(f32::EPSILON));
            check::<f64>(m, n, k, 8.0 * f64::EPSILON);
        }
    }

    #[test]
    fn batches_agree_with_single_products() {
        let (batch, m, n, k) = (5, 9, 21, 13);
        let (a, b) = (values::<f64>(1, batch * m * k), values::<f64>(2, k * n));
        let mut c = vec![0.0; batch * m * n];
        let mut scratch = vec![0.0; gemm_batched_scratch::<f64>(batch, m, n, k)];
        let (am, bm) = (Matrix::row_major(&a, k), Matrix::row_major(&b, n));
        gemm_batched(batch, m, n, k, am, m * k, bm, 0, &mut c, &mut scratch);
        for i in 0..batch {
            let want: Vec<f64> = naive(m, n, k, am.from(i * m * k), bm).into_iter().map(|(sum, _)| sum).collect();
            assert_close(&c[i * m * n..][..m * n], &want, 1e-13, "batched");
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        for (m, n, k) in [(97, 65, 300), (1, 4000, 60), (2000, 2, 90)] {
            let (a, b) = (values::<f32>(1, m * k), values::<f32>(2, k * n));
            let (am, bm) = (Matrix::row_major(&a, k), Matrix::row_major(&b, n));
            let whole = gemm_scratch::<f32>(m, n, k);
            let run = |scratch: usize| {
                let mut c = vec![0.0; m * n];
                // Less scratch than all threads need lets one do all.
                gemm(m, n, k, am, bm, &mut c, n, &mut vec![0.0; scratch]);
                c
            };
            assert_eq!(run(task_scratch::<f32>(m, n, k, 1)), run(whole), "{m}x{n}x{k}");
        }
    }
}
