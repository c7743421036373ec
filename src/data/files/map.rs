//! Files as memory: the numbers of a large file are read where they lie.
//!
//! The only `unsafe` code outside `kernels/simd`. A map stays what it was when it was made as long as nobody changes the
//! file: writing into it changes the numbers that are seen, and cutting it short makes the next touch of the missing
//! part end the process. The user guide says so; `files.rs` compares the length with what the header asks for when the
//! file is opened.
#![allow(unsafe_code)]

use memmap2::{Advice, Mmap, MmapAsRawDesc, UncheckedAdvice};
use std::io;
use std::ops::{Deref, Range};

/// The bytes of a file, read on demand by the system and shared with everybody who has the file open.
#[derive(Debug)]
pub struct FileMap(Mmap);

impl FileMap {
    /// The whole of an open file.
    ///
    /// Errors: what the system says, for example that the file lies on a device that has no maps.
    pub fn new<F>(file: F) -> io::Result<FileMap>
    where
        F: MmapAsRawDesc,
    {
        // SAFETY: the map is private to this type, read-only, and handed out as plain bytes, every value of which is
        // valid. What other processes do to the file meanwhile is the user's agreement, stated at the top.
        let map = unsafe { Mmap::map(file)? };
        Ok(FileMap(map))
    }
    /// Says that these bytes will be wanted soon, so that the system fetches them while something else is done.
    pub fn want(&self, range: Range<usize>) {
        let range = self.clamp(range);
        // Advice that the system does not take costs time alone.
        let _ = self.0.advise_range(Advice::WillNeed, range.start, range.len());
    }
    /// Says that these bytes are not wanted for now: they no longer count as memory of this process.
    pub fn release(&self, range: Range<usize>) {
        let range = self.clamp(range);
        // SAFETY: the map is of a file and never written to, so that forgetting its pages loses nothing: the next touch
        // reads them again.
        let _ = unsafe { self.0.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
    }
    fn clamp(&self, range: Range<usize>) -> Range<usize> {
        let end = range.end.min(self.0.len());
        range.start.min(end)..end
    }
}

impl Deref for FileMap {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
