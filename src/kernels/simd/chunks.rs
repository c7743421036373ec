//! Packing of what lies in runs: whole vectors are copied, and what is too much is written over by the next run.
#![allow(unsafe_code)]

use super::dispatch;

/// Elements that one chunk copies: 64 bytes.
pub const fn chunk_len<T>() -> usize {
    64 / size_of::<T>()
}

/// A run of a row: `len` elements, at most [`chunk_len`], from `from` on to `to` on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The first element, from a row's own start.
    pub from: u32,
    /// Its place in the packed row.
    pub to: u32,
    /// The number of elements.
    pub len: u32,
}

/// Row t of `out`, `width` wide, gets the chunks of the row of `data` that starts at `starts[t]`.
///
/// The chunks are in the order of their places. What a packed row holds beyond the last chunk is unspecified. `most` is
/// not below any of `starts`.
pub fn pack_chunks<T: Copy + Send + Sync>(
    data: &[T],
    starts: &[u32],
    most: usize,
    chunks: &[Chunk],
    width: usize,
    out: &mut [T],
) {
    let reach = chunks.iter().map(|c| c.from as usize).max().unwrap_or(0) + chunk_len::<T>();
    let Some((&last, first)) = starts.split_last() else { return };
    assert!(out.len() >= starts.len() * width, "a place for every row");
    // A whole chunk may be written over the beginning of the next row, which is packed later, but not beyond the end.
    let fits = chunks.iter().all(|c| c.to as usize + chunk_len::<T>() <= 2 * width);
    if most + reach <= data.len() && fits {
        debug_assert!(starts.iter().all(|&s| s as usize <= most));
        dispatch(
            #[inline(always)]
            || match *chunks {
                [a] => whole(data, first, [a], width, out),
                [a, b] => whole(data, first, [a, b], width, out),
                [a, b, c] => whole(data, first, [a, b, c], width, out),
                [a, b, c, d] => whole(data, first, [a, b, c, d], width, out),
                _ => whole(data, first, chunks, width, out),
            },
        );
    } else {
        first.iter().zip(out.chunks_exact_mut(width)).for_each(|(&start, out)| exact(data, start, chunks, out));
    }
    exact(data, last, chunks, &mut out[first.len() * width..]);
}

/// Copies no element too many.
fn exact<T: Copy>(data: &[T], start: u32, chunks: &[Chunk], out: &mut [T]) {
    for chunk in chunks {
        let (from, to, len) = ((start + chunk.from) as usize, chunk.to as usize, chunk.len as usize);
        out[to..to + len].copy_from_slice(&data[from..from + len]);
    }
}

#[inline(always)]
fn whole<T: Copy>(data: &[T], starts: &[u32], chunks: impl AsRef<[Chunk]>, width: usize, out: &mut [T]) {
    let chunks = chunks.as_ref();
    for (t, &start) in starts.iter().enumerate() {
        for chunk in chunks {
            let (from, to) = (start as usize + chunk.from as usize, t * width + chunk.to as usize);
            debug_assert!(from + chunk_len::<T>() <= data.len() && to + chunk_len::<T>() <= out.len());
            // SAFETY: `from` is at most `most` plus the largest `chunk.from`, and `most + reach <= data.len()` was
            // checked (the caller vouches for `most`, which a debug assertion checks). The end of the copy is at most
            // (t + 2) width, and there is one more row after the last of `starts` here, so that it is in `out`. The two
            // slices do not overlap, since one is borrowed mutably.
            unsafe {
                std::ptr::copy_nonoverlapping(data.as_ptr().add(from), out.as_mut_ptr().add(to), chunk_len::<T>());
            }
        }
    }
}
