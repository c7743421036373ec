//! Reads NumPy's npy files, versions 1 to 3.
//!
//! `\x93NUMPY`, major and minor version, the length of the header (u16 in version 1, u32 later), a header that is a
//! Python dictionary with `descr`, `fortran_order` and `shape`, then the elements (NEP 1, "A simple file format for
//! NumPy arrays"). Floats of 2, 4 and 8 bytes, ints of 1 to 8, bool, and text (`S`, `U`), in either byte order and in
//! C or Fortran order.

use super::error::DataError;
use super::stored::{Element, Kind, Layout, inexact};
use super::value::{Array, TextArray, Value};
use crate::diag::Code;
use ndarray::{ArcArray, ArrayBase, IxDyn, OwnedArcRepr, ShapeBuilder};
use std::sync::Arc;

/// The array in `bytes`; `name` is the file as messages show it.
///
/// Errors: another magic number or version, a header that cannot be read, fewer or more bytes than the shape asks for,
/// an integer beyond 2^53, and element types that are no numbers (complex, dates, Python objects).
pub fn parse(name: &str, bytes: &[u8]) -> Result<Value, DataError> {
    let Npy { dtype, order, layout } = Npy::read(name, bytes)?;
    let too_large = || DataError::new(Code::E0902, format!("`{name}` has a shape larger than memory can hold"));
    let (shape, content) = (&layout.shape, &bytes[layout.at..]);
    match (dtype, order) {
        (Dtype::Text(text), _) => {
            let data = arrange(shape, order, text.entries(content, layout.count())).ok_or_else(too_large)?;
            Ok(Value::Text(TextArray { data, origin: None }))
        }
        (Dtype::Number(_), Order::C) => layout.array(name, bytes).map(Value::Array),
        (Dtype::Number(element), Order::Fortran) => {
            let values = element.numbers(content);
            if let Some(i) = layout.inexact(&values) {
                return Err(inexact(name, i));
            }
            Ok(Value::Array(Array::new(arrange(shape, order, values).ok_or_else(too_large)?, element.elem())))
        }
    }
}

/// Where the numbers lie in `bytes`, which hold all of them; `None` for text and for arrays in Fortran order, whose rows
/// do not lie together. The errors are those of [`parse`].
pub fn layout(name: &str, bytes: &[u8]) -> Result<Option<Layout>, DataError> {
    let npy = Npy::read(name, bytes)?;
    Ok((matches!(npy.dtype, Dtype::Number(_)) && npy.order == Order::C).then_some(npy.layout))
}

/// What the beginning of a file says of the rest.
struct Npy {
    dtype: Dtype,
    order: Order,
    /// Of the elements; those of text count as bytes of their width.
    layout: Layout,
}

impl Npy {
    fn read(name: &str, bytes: &[u8]) -> Result<Npy, DataError> {
        let broken = |what: String| DataError::new(Code::E0902, format!("`{name}` {what}"));
        let Some(rest) = bytes.strip_prefix(b"\x93NUMPY") else {
            return Err(broken("is no npy file: it does not begin with `\\x93NUMPY`".into()));
        };
        let truncated = || broken("is truncated: it ends within its header".into());
        let (&[major, _minor], rest) = rest.split_first_chunk::<2>().ok_or_else(truncated)?;
        let (length, rest) = match major {
            1 => rest.split_first_chunk::<2>().map(|(n, r)| (usize::from(u16::from_le_bytes(*n)), r)),
            2 | 3 => rest.split_first_chunk::<4>().map(|(n, r)| (u32::from_le_bytes(*n) as usize, r)),
            other => return Err(broken(format!("has npy version {other}, and versions 1 to 3 are known"))),
        }
        .ok_or_else(truncated)?;
        if rest.len() < length {
            return Err(truncated());
        }
        let (header, content) = rest.split_at(length);
        let header = Header::parse(&String::from_utf8_lossy(header)).ok_or_else(|| {
            broken("has a header that cannot be read: it needs `descr`, `fortran_order` and `shape`".into())
        })?;
        let dtype = Dtype::parse(&header.descr).ok_or_else(|| {
            DataError::new(Code::E0911, format!("`{name}` holds elements of the NumPy type `{}`", header.descr))
                .help("store floats, ints, bools or text, for example with `x.astype(\"float64\")`")
        })?;
        let width = dtype.width();
        let count = header.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let expected = count.and_then(|n| n.checked_mul(width));
        let (Some(count), Some(expected)) = (count, expected) else {
            return Err(broken("has a shape larger than memory can hold".into()));
        };
        if expected != content.len() {
            let verb = if content.len() > expected { "is too long" } else { "is truncated" };
            return Err(broken(format!(
                "{verb}: {count} elements of {width} bytes need {expected} bytes after the header, and there are {}",
                content.len()
            )));
        }
        let element = match dtype {
            Dtype::Number(element) => element,
            Dtype::Text(_) => Element { kind: Kind::Unsigned, width, big_endian: false },
        };
        let layout = Layout { element, shape: header.shape, at: bytes.len() - content.len() };
        let order = if header.fortran_order { Order::Fortran } else { Order::C };
        Ok(Npy { dtype, order, layout })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    C,
    Fortran,
}

/// The elements in row-major order and shape.
fn arrange<T: Clone>(shape: &[usize], order: Order, values: Vec<T>) -> Option<ArrayBase<OwnedArcRepr<T>, IxDyn>> {
    match order {
        Order::C => ArcArray::from_shape_vec(IxDyn(shape), values).ok(),
        Order::Fortran => {
            let array = ArcArray::from_shape_vec(IxDyn(shape).f(), values).ok()?;
            Some(array.as_standard_layout().into_owned().into_shared())
        }
    }
}

/// What the header says.
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Reads `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`.
    fn parse(text: &str) -> Option<Header> {
        let mut rest = text.trim().strip_prefix('{')?;
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        loop {
            rest = rest.trim_start_matches([',', ' ', '\n', '\t']);
            if rest.starts_with('}') {
                break;
            }
            let (key, after) = quoted(rest)?;
            rest = after.trim_start().strip_prefix(':')?.trim_start();
            match key {
                "descr" if rest.starts_with('[') => {
                    // A structured type: named whole, so that the message can show it.
                    let end = rest.find(']')?;
                    descr = Some(rest[..=end].to_string());
                    rest = &rest[end + 1..];
                }
                "descr" => {
                    let (value, after) = quoted(rest)?;
                    descr = Some(value.to_string());
                    rest = after;
                }
                "fortran_order" => {
                    let value = rest.starts_with("True");
                    rest = rest.strip_prefix(if value { "True" } else { "False" })?;
                    fortran_order = Some(value);
                }
                "shape" => {
                    let (inside, after) = rest.strip_prefix('(')?.split_once(')')?;
                    let sizes = inside.split(',').map(|s| s.trim().trim_end_matches('L')).filter(|s| !s.is_empty());
                    shape = Some(sizes.map(|s| s.parse().ok()).collect::<Option<Vec<usize>>>()?);
                    rest = after;
                }
                _ => return None,
            }
        }
        Some(Header { descr: descr?, fortran_order: fortran_order?, shape: shape? })
    }
}

/// A Python string at the start of `text`, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// An element type.
enum Dtype {
    Number(Element),
    Text(TextType),
}

/// Text of a fixed width.
struct TextType {
    /// Four bytes a character, else UTF-8.
    unicode: bool,
    /// In bytes.
    width: usize,
    big_endian: bool,
}

impl Dtype {
    /// `<f8`, `|u1`, `>i4`, `?`, `<U10`; `None` for what cannot be read.
    fn parse(descr: &str) -> Option<Dtype> {
        let (order, code) = match descr.chars().next()? {
            c @ ('<' | '>' | '|' | '=') => (c, &descr[1..]),
            _ => ('=', descr),
        };
        let big_endian = order == '>';
        let number = |kind, width| Some(Dtype::Number(Element { kind, width, big_endian }));
        if code == "?" {
            return number(Kind::Bool, 1);
        }
        let letter = code.chars().next()?;
        let width: usize = code.get(letter.len_utf8()..)?.parse().ok()?;
        match (letter, width) {
            ('f', 2 | 4 | 8) => number(Kind::Float, width),
            ('i', 1 | 2 | 4 | 8) => number(Kind::Int, width),
            ('u', 1 | 2 | 4 | 8) => number(Kind::Unsigned, width),
            ('b', 1) => number(Kind::Bool, 1),
            ('S', _) => Some(Dtype::Text(TextType { unicode: false, width, big_endian })),
            ('U', _) => Some(Dtype::Text(TextType { unicode: true, width: width.checked_mul(4)?, big_endian })),
            _ => None,
        }
    }
    /// In bytes.
    fn width(&self) -> usize {
        match self {
            Dtype::Number(element) => element.width,
            Dtype::Text(text) => text.width,
        }
    }
}

impl TextType {
    fn entries(&self, content: &[u8], count: usize) -> Vec<Option<Arc<str>>> {
        if self.width == 0 {
            return vec![Some("".into()); count];
        }
        let chars = |chunk: &[u8]| -> String {
            match self.unicode {
                true => chunk
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|&c| if self.big_endian { u32::from_be_bytes(c) } else { u32::from_le_bytes(c) })
                    .map(|c| char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER))
                    .collect(),
                false => String::from_utf8_lossy(chunk).into_owned(),
            }
        };
        content.chunks_exact(self.width).map(|c| Some(chars(c).trim_end_matches('\0').into())).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::value::Elem;
    use proptest::prelude::*;

    /// An npy file of version 1.
    pub(in crate::data) fn file(descr: &str, fortran: bool, shape: &str, content: &[u8]) -> Vec<u8> {
        let fortran = if fortran { "True" } else { "False" };
        let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(content);
        bytes
    }
    fn array(bytes: &[u8]) -> Array {
        match parse("f.npy", bytes) {
            Ok(Value::Array(a)) => a,
            other => panic!("{other:?}"),
        }
    }
    fn values(bytes: &[u8]) -> Vec<f64> {
        array(bytes).data.iter().copied().collect()
    }

    #[test]
    fn every_type_in_both_orders() {
        assert_eq!(values(&file("<f8", false, "(1,)", &0.1f64.to_le_bytes())), [0.1]);
        assert_eq!(values(&file(">f8", false, "(1,)", &0.1f64.to_be_bytes())), [0.1]);
        assert_eq!(values(&file(">f4", false, "(1,)", &1.5f32.to_be_bytes())), [1.5]);
        assert_eq!(values(&file("<i8", false, "(1,)", &(-3i64).to_le_bytes())), [-3.0]);
        assert_eq!(values(&file(">i2", false, "(2,)", &[255, 254, 1, 0])), [-2.0, 256.0]);
        assert_eq!(values(&file("|u1", false, "(2,)", &[1, 255])), [1.0, 255.0]);
        assert_eq!(values(&file("|i1", false, "(1,)", &[255])), [-1.0]);
        assert_eq!(values(&file("<u4", false, "()", &u32::MAX.to_le_bytes())), [4294967295.0]);
        assert_eq!(array(&file("|b1", false, "(2,)", &[0, 1])).elem, Elem::Bool);
        // Halves: 1, the smallest subnormal, -inf.
        assert_eq!(
            values(&file("<f2", false, "(3,)", &[0x00, 0x3c, 0x01, 0x00, 0x00, 0xfc])),
            [1.0, 2f64.powi(-24), f64::NEG_INFINITY]
        );
    }

    #[test]
    fn fortran_order_is_turned_round() {
        let bytes = file("|u1", true, "(2, 3)", &[1, 4, 2, 5, 3, 6]);
        assert_eq!(values(&bytes), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert!(array(&bytes).data.is_standard_layout());
    }

    #[test]
    fn version_two_and_text() {
        let mut bytes = file("<U2", false, "(2,)", &[b'a', 0, 0, 0, b'b', 0, 0, 0, b'c', 0, 0, 0, 0, 0, 0, 0]);
        let length = u16::from_le_bytes([bytes[8], bytes[9]]);
        bytes.splice(6..10, [2, 0].into_iter().chain(u32::from(length).to_le_bytes()));
        let Ok(Value::Text(t)) = parse("f", &bytes) else { panic!() };
        assert_eq!(t.data.iter().map(|s| s.as_deref().unwrap()).collect::<Vec<_>>(), ["ab", "c"]);
        let Ok(Value::Text(t)) = parse("f", &file("|S2", false, "(1,)", b"ab")) else { panic!() };
        assert_eq!(t.data[[0].as_slice()].as_deref(), Some("ab"));
    }

    #[test]
    fn broken_files_say_what_is_wrong() {
        let good = file("<f8", false, "(2,)", &[0; 16]);
        let message = |bytes: &[u8]| parse("f.npy", bytes).unwrap_err().message;
        assert!(message(b"").contains("no npy file"));
        assert!(message(&good[..7]).contains("truncated"));
        assert!(message(&good[..40]).contains("within its header"));
        assert!(message(&good[..good.len() - 1]).contains("2 elements of 8 bytes need 16 bytes"));
        assert!(message(&[good.as_slice(), &[0]].concat()).contains("too long"));
        assert!(message(b"\x93NUMPY\x09\x00aaaa").contains("version 9"));
        assert!(message(&file("<f8", false, "(2, x)", &[])).contains("header"));
        assert!(message(&file("<f8", false, "(99999999999, 99999999999)", &[])).contains("larger than memory"));
        assert_eq!(parse("f", &file("<c16", false, "(1,)", &[0; 16])).unwrap_err().code, Code::E0911);
        assert_eq!(parse("f", &file("|O", false, "(1,)", &[0; 8])).unwrap_err().code, Code::E0911);
        let big = file("<i8", false, "(1,)", &(1i64 << 53).to_le_bytes());
        assert!(message(&big).contains("too large to be exact"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse("f", &bytes);
            let _ = parse("f", &[b"\x93NUMPY\x01\x00".as_slice(), &bytes].concat());
        }
        #[test]
        fn never_panics_on_headers(descr in "[<>|=]?[fiubSUcO?é][0-9]{0,3}", shape in r"\([0-9, ]{0,40}\)", bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
            let _ = parse("f", &file(&descr, true, &shape, &bytes));
        }
    }
}
