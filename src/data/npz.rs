//! Reads NumPy's npz files: zip archives of npy files, stored or deflated.
//!
//! Only what `numpy.savez` and `numpy.savez_compressed` write: the central directory (with the 64-bit fields), methods
//! 0 and 8, no encryption, one volume (APPNOTE.TXT 6.3, sections 4.3.7 to 4.3.16 and 4.5.3).

use super::error::DataError;
use super::npy;
use super::value::{Record, Value};
use crate::diag::Code;
use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

/// The arrays in `bytes` by name; `name` is the file as messages show it.
///
/// Errors: no zip archive, a directory that points outside the file. A member that cannot be read is an error of its
/// key, raised when the key is asked for.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Value, DataError> {
    let broken = |what: &str| DataError::new(Code::E0902, format!("`{name}` {what}"));
    if !bytes.starts_with(b"PK") {
        return Err(broken("is no npz file: it does not begin like a zip archive"));
    }
    let members = directory(bytes).ok_or_else(|| broken("is truncated or damaged: its directory cannot be read"))?;
    let entries = members
        .into_iter()
        .map(|member| {
            let key = member.name.strip_suffix(".npy").unwrap_or(&member.name).to_string();
            let inside = format!("{name}:{key}");
            let value = member
                .content(bytes)
                .map_err(|what| DataError::new(Code::E0902, format!("`{inside}` {what}")))
                .and_then(|content| npy::parse(&inside, &content));
            (key, value)
        })
        .collect();
    Ok(Value::Record(Arc::new(Record { file: name.to_string(), entries })))
}

/// One file of the archive, as the central directory describes it.
struct Member {
    name: String,
    method: u16,
    encrypted: bool,
    crc: u32,
    packed: u64,
    unpacked: u64,
    header_at: u64,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The members of the archive, or `None` when the directory is damaged.
fn directory(bytes: &[u8]) -> Option<Vec<Member>> {
    // The end record has 22 bytes and a comment of at most 65,535.
    let earliest = bytes.len().saturating_sub(22 + 65_535);
    let end = (earliest..bytes.len().checked_sub(21)?).rev().find(|&i| bytes[i..].starts_with(b"PK\x05\x06"))?;
    let mut count = u64::from(u16_at(bytes, end + 10)?);
    let mut at = u64::from(u32_at(bytes, end + 16)?);
    if let Some(locator) = end.checked_sub(20).filter(|&l| bytes[l..].starts_with(b"PK\x06\x07")) {
        let end64 = usize::try_from(u64_at(bytes, locator + 8)?).ok()?;
        if bytes.get(end64..)?.starts_with(b"PK\x06\x06") {
            count = u64_at(bytes, end64.checked_add(32)?)?;
            at = u64_at(bytes, end64.checked_add(48)?)?;
        }
    }
    let mut at = usize::try_from(at).ok()?;
    let mut members = Vec::new();
    for _ in 0..count {
        let record = bytes.get(at..)?;
        if !record.starts_with(b"PK\x01\x02") {
            return None;
        }
        let name_length = usize::from(u16_at(record, 28)?);
        let extra_length = usize::from(u16_at(record, 30)?);
        let comment_length = usize::from(u16_at(record, 32)?);
        let mut member = Member {
            name: String::from_utf8_lossy(record.get(46..46 + name_length)?).into_owned(),
            method: u16_at(record, 10)?,
            encrypted: u16_at(record, 8)? & 1 == 1,
            crc: u32_at(record, 16)?,
            packed: u64::from(u32_at(record, 20)?),
            unpacked: u64::from(u32_at(record, 24)?),
            header_at: u64::from(u32_at(record, 42)?),
        };
        member.widen(record.get(46 + name_length..46 + name_length + extra_length)?)?;
        at = at.checked_add(46 + name_length + extra_length + comment_length)?;
        members.push(member);
    }
    Some(members)
}

impl Member {
    /// Takes the 64-bit fields from the extra field 1, for those that are all ones in the record.
    fn widen(&mut self, mut extra: &[u8]) -> Option<()> {
        while extra.len() >= 4 {
            let (id, length) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
            let field = extra.get(4..4 + length)?;
            if id == 1 {
                let mut at = 0;
                for value in [&mut self.unpacked, &mut self.packed, &mut self.header_at] {
                    if *value == u64::from(u32::MAX) {
                        *value = u64_at(field, at)?;
                        at += 8;
                    }
                }
            }
            extra = &extra[4 + length..];
        }
        Some(())
    }

    /// The unpacked content, or what is wrong with it.
    fn content<'b>(&self, archive: &'b [u8]) -> Result<Cow<'b, [u8]>, String> {
        if self.encrypted {
            return Err("is encrypted".into());
        }
        let packed = self.packed_bytes(archive).ok_or("is truncated or damaged: it lies outside the archive")?;
        let content: Cow<[u8]> = match self.method {
            0 => packed.into(),
            8 => {
                let mut out = Vec::new();
                let limit = self.unpacked.saturating_add(1);
                flate2::read::DeflateDecoder::new(packed)
                    .take(limit)
                    .read_to_end(&mut out)
                    .map_err(|e| format!("cannot be unpacked: {e}"))?;
                out.into()
            }
            other => return Err(format!("is packed with method {other}, and 0 (stored) and 8 (deflate) are known")),
        };
        let mut crc = flate2::Crc::new();
        crc.update(&content);
        if content.len() as u64 != self.unpacked || crc.sum() != self.crc {
            return Err("is damaged: its checksum does not agree".into());
        }
        Ok(content)
    }

    fn packed_bytes<'b>(&self, archive: &'b [u8]) -> Option<&'b [u8]> {
        let header = archive.get(usize::try_from(self.header_at).ok()?..)?;
        if !header.starts_with(b"PK\x03\x04") {
            return None;
        }
        let start = 30 + usize::from(u16_at(header, 26)?) + usize::from(u16_at(header, 28)?);
        header.get(start..start.checked_add(usize::try_from(self.packed).ok()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// A zip archive of the members `(name, method, content)`.
    fn archive(members: &[(&str, u16, &[u8])]) -> Vec<u8> {
        let (mut out, mut index) = (Vec::new(), Vec::new());
        for &(name, method, content) in members {
            let packed = if method == 8 {
                let mut e = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
                e.write_all(content).unwrap();
                e.finish().unwrap()
            } else {
                content.to_vec()
            };
            let mut crc = flate2::Crc::new();
            crc.update(content);
            let mut common = [20u16, 0, method, 0, 0].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
            for v in [crc.sum(), packed.len() as u32, content.len() as u32] {
                common.extend(v.to_le_bytes());
            }
            common.extend((name.len() as u16).to_le_bytes());
            common.extend([0, 0]);
            let at = out.len() as u32;
            out.extend([b"PK\x03\x04", common.as_slice(), name.as_bytes(), &packed].concat());
            index.extend([b"PK\x01\x02\x14\x00", common.as_slice(), &[0; 10], &at.to_le_bytes()].concat());
            index.extend(name.as_bytes());
        }
        let (at, count) = (out.len() as u32, members.len() as u16);
        out.extend(&index);
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
        out.extend([(index.len() as u32).to_le_bytes(), at.to_le_bytes()].concat());
        out.extend([0, 0]);
        out
    }
    fn sample() -> Vec<u8> {
        let a = npy::tests::file("|u1", false, "(3,)", &[1, 2, 3]);
        let b = npy::tests::file("<f8", false, "(100,)", &[0; 800]);
        archive(&[("a.npy", 0, &a), ("b.npy", 8, &b), ("odd.npy", 99, &a)])
    }
    fn record(bytes: &[u8]) -> Result<Arc<Record>, DataError> {
        match parse("f.npz", bytes)? {
            Value::Record(r) => Ok(r),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn stored_and_deflated_members() {
        let r = record(&sample()).unwrap();
        assert!(matches!(r.get("a"), Ok(Value::Array(a)) if a.shape() == [3]));
        assert!(matches!(r.get("b"), Ok(Value::Array(a)) if a.shape() == [100]));
        assert!(r.get("odd").unwrap_err().message.contains("method 99"));
        assert!(r.get("c").is_err());
    }

    #[test]
    fn damage_is_found() {
        let good = sample();
        for cut in [0, 1, 10, 30, 200, good.len() - 1] {
            assert_eq!(record(&good[..cut]).unwrap_err().code, Code::E0902, "cut at {cut}");
        }
        let mut flipped = good.clone();
        let content = flipped.windows(3).position(|w| w == [1, 2, 3]).unwrap();
        flipped[content] = 7;
        assert!(record(&flipped).unwrap().get("a").unwrap_err().message.contains("checksum"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse("f", &[b"PK".as_slice(), &bytes].concat());
            let _ = parse("f", &[b"PK".as_slice(), &bytes, b"PK\x05\x06", &[0; 18]].concat());
        }
        #[test]
        fn never_panics_on_damage(at in 0usize..1600, byte: u8) {
            let mut bytes = sample();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = parse("f", &bytes);
        }
    }
}
