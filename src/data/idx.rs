//! Reads idx files, the format of MNIST.
//!
//! Four bytes: 0, 0, the element type, the number of dimensions; then one big-endian u32 for every dimension; then the
//! elements in row-major order, big-endian. Types: 8 u8, 9 i8, 11 i16, 12 i32, 13 f32, 14 f64
//! (LeCun, Cortes, Burges, "The MNIST database of handwritten digits").

use super::error::DataError;
use super::stored::{Element, Kind, Layout};
use super::value::Value;
use crate::diag::Code;

/// The array in `bytes`; `name` is the file as messages show it.
///
/// Errors: another magic number, an unknown element type, fewer or more bytes than the dimensions ask for.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Value, DataError> {
    layout(name, bytes)?.array(name, bytes).map(Value::Array)
}

/// Where the numbers lie in `bytes`, which hold all of them; the errors are those of [`parse`].
pub fn layout(name: &str, bytes: &[u8]) -> Result<Layout, DataError> {
    let broken = |what: String| DataError::new(Code::E0902, format!("`{name}` {what}"));
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else {
        return Err(broken(format!("is no idx file: it has {} bytes, fewer than the magic number", bytes.len())));
    };
    if magic[0] != 0 || magic[1] != 0 {
        return Err(broken(format!(
            "is no idx file: it begins with the bytes {:02x} {:02x}, and an idx file with 00 00",
            magic[0], magic[1]
        )));
    }
    let (width, kind) = match magic[2] {
        0x08 => (1, Kind::Unsigned),
        0x09 => (1, Kind::Int),
        0x0b => (2, Kind::Int),
        0x0c => (4, Kind::Int),
        0x0d => (4, Kind::Float),
        0x0e => (8, Kind::Float),
        other => {
            return Err(broken(format!("has the element type {other:#04x}, and idx knows 08, 09, 0b, 0c, 0d and 0e")));
        }
    };
    let rank = usize::from(magic[3]);
    if rest.len() < 4 * rank {
        return Err(broken(format!("is truncated: it ends within the sizes of its {rank} dimensions")));
    }
    let (sizes, content) = rest.split_at(4 * rank);
    let shape: Vec<usize> =
        sizes.chunks_exact(4).map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]]) as usize).collect();
    let expected = shape.iter().try_fold(width, |n: usize, &d| n.checked_mul(d));
    if expected != Some(content.len()) {
        let sizes = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
        let expected = expected.map_or("more than memory can hold".into(), |n| n.to_string());
        let found = content.len();
        let verb = if expected.parse().is_ok_and(|n: usize| found > n) { "is too long" } else { "is truncated" };
        return Err(broken(format!(
            "{verb}: {sizes} elements of {width} bytes need {expected} bytes after the header, and there are {found}"
        )));
    }
    Ok(Layout { element: Element { kind, width, big_endian: true }, shape, at: 4 + 4 * rank })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::value::{Array, Elem};
    use proptest::prelude::*;

    fn file(kind: u8, sizes: &[u32], content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, kind, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|s| s.to_be_bytes()));
        bytes.extend(content);
        bytes
    }
    fn array(bytes: &[u8]) -> Array {
        match parse("f", bytes) {
            Ok(Value::Array(a)) => a,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_element_type() {
        let be = |kind, content: &[u8]| array(&file(kind, &[2], content)).data.to_vec_();
        assert_eq!(be(0x08, &[1, 255]), [1.0, 255.0]);
        assert_eq!(be(0x09, &[1, 255]), [1.0, -1.0]);
        assert_eq!(be(0x0b, &[1, 0, 255, 254]), [256.0, -2.0]);
        assert_eq!(be(0x0c, &[0, 0, 1, 0, 255, 255, 255, 254]), [256.0, -2.0]);
        assert_eq!(be(0x0d, &[1.5f32.to_be_bytes(), (-2.25f32).to_be_bytes()].concat()), [1.5, -2.25]);
        assert_eq!(be(0x0e, &[0.1f64.to_be_bytes(), (-2.25f64).to_be_bytes()].concat()), [0.1, -2.25]);
        assert_eq!(array(&file(0x0d, &[1], &1f32.to_be_bytes())).elem, Elem::Real);
        assert_eq!(array(&file(0x08, &[1], &[1])).elem, Elem::Int);
    }

    trait ToVec {
        fn to_vec_(&self) -> Vec<f64>;
    }
    impl ToVec for super::super::value::Numbers {
        fn to_vec_(&self) -> Vec<f64> {
            self.iter().copied().collect()
        }
    }

    #[test]
    fn broken_files_say_what_is_wrong() {
        let message = |bytes: &[u8]| {
            let error = parse("f", bytes).unwrap_err();
            assert_eq!(error.code, Code::E0902);
            error.message
        };
        assert!(message(b"").contains("0 bytes"));
        assert!(message(b"PK\x03\x04").contains("50 4b"));
        assert!(message(&file(0x0a, &[1], &[0])).contains("0x0a"));
        assert!(message(&[0, 0, 8, 3, 0, 0]).contains("truncated"));
        assert!(message(&file(8, &[2, 3], &[0; 5])).contains("2 x 3 elements of 1 bytes need 6 bytes"));
        assert!(message(&file(8, &[2, 3], &[0; 7])).contains("too long"));
        assert!(message(&file(14, &[u32::MAX; 4], &[])).contains("more than memory"));
        assert!(message(&file(14, &[0, u32::MAX, u32::MAX, u32::MAX], &[])).contains("larger than memory"));
    }

    #[test]
    fn the_digits_of_the_examples() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/digits/");
        let images = array(&std::fs::read(format!("{path}train-images-idx3-ubyte")).unwrap());
        assert_eq!(images.shape(), [1437, 8, 8]);
        assert!(images.data.iter().all(|&v| (0.0..=16.0).contains(&v)));
        let labels = array(&std::fs::read(format!("{path}test-labels-idx1-ubyte")).unwrap());
        assert_eq!((labels.shape(), labels.elem), ([360].as_slice(), Elem::Int));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64), kind in 8u8..15, rank in 0u8..6) {
            let _ = parse("f", &bytes);
            let _ = parse("f", &[&[0, 0, kind, rank], bytes.as_slice()].concat());
        }
    }
}
