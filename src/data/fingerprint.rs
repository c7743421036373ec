//! Fingerprints of the files that were read, so that a fit can say which data it saw.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A file and the hash of its bytes as they lie on disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The path as it was opened.
    pub path: String,
    /// The number of bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes, 64 hexadecimal digits.
    pub sha256: String,
}

impl Fingerprint {
    /// The fingerprint of `content` read from `path`.
    pub fn of(path: impl Into<String>, content: &[u8]) -> Self {
        Self { path: path.into(), bytes: content.len() as u64, sha256: sha256(content) }
    }
}

/// SHA-256 of `content` as 64 hexadecimal digits (FIPS 180-4).
pub fn sha256(content: &[u8]) -> String {
    hexadecimal(&Sha256::digest(content))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes the fingerprint of content that comes in parts.
#[derive(Default)]
pub struct Hasher {
    hash: Sha256,
    bytes: u64,
}

impl Hasher {
    /// One more part.
    pub fn add(&mut self, part: &[u8]) {
        self.hash.update(part);
        self.bytes += part.len() as u64;
    }
    /// What is not a part of the content but matters: the name of one file of many.
    pub fn mark(&mut self, what: &[u8]) {
        self.hash.update(what);
    }
    /// The fingerprint of all parts, read from `path`.
    pub fn fingerprint(self, path: impl Into<String>) -> Fingerprint {
        Fingerprint { path: path.into(), bytes: self.bytes, sha256: hexadecimal(&self.hash.finalize()) }
    }
}

/// The fingerprints of several files by path; those of large ones are found on threads of their own. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Fingerprints {
    by_path: BTreeMap<PathBuf, Arc<Mutex<Pending>>>,
}

#[derive(Debug)]
enum Pending {
    Known(Fingerprint),
    Later(JoinHandle<Fingerprint>),
    /// The thread has failed, which only a defect of the program can bring about.
    Lost,
}

impl Fingerprints {
    /// Adds a file.
    pub fn insert(&mut self, path: PathBuf, fingerprint: Fingerprint) {
        self.by_path.insert(path, Arc::new(Mutex::new(Pending::Known(fingerprint))));
    }
    /// Adds a file whose fingerprint `find` finds, on a thread that begins now.
    pub fn insert_later(&mut self, path: PathBuf, find: impl FnOnce() -> Fingerprint + Send + 'static) {
        self.by_path.insert(path, Arc::new(Mutex::new(Pending::Later(std::thread::spawn(find)))));
    }
    /// All of them, in the order of their paths; waits for those that are not found yet.
    pub fn list(&self) -> Vec<Fingerprint> {
        self.by_path.values().filter_map(|pending| find(pending)).collect()
    }
}

fn find(pending: &Mutex<Pending>) -> Option<Fingerprint> {
    let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
    if let Pending::Later(_) = *pending
        && let Pending::Later(thread) = std::mem::replace(&mut *pending, Pending::Lost)
        && let Ok(found) = thread.join()
    {
        *pending = Pending::Known(found);
    }
    match &*pending {
        Pending::Known(known) => Some(known.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_example() {
        // FIPS 180-4, the one-block message "abc".
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Fingerprint::of("f", b"abc").bytes, 3);
    }
}
