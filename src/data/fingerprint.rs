//! Fingerprints of the files that were read, so that a fit can say which data it saw.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
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
