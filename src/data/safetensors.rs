//! Reads safetensors files: tensors by name.

use super::error::DataError;
use super::stored::{Element, Kind, inexact};
use super::value::{Array, Elem, MAX_EXACT_INT, Record, Value};
use crate::diag::Code;
use ::safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::sync::Arc;

/// The tensors in `bytes` by name; `name` is the file as messages show it.
///
/// Errors: a header that cannot be read, tensors that lie outside the file. Element types that are no numbers of ours
/// (complex, 8-bit floats) are an error of their key, raised when the key is asked for.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Value, DataError> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| {
        DataError::new(Code::E0902, format!("`{name}` is no safetensors file, or truncated"))
            .note(format!("its reader says: {e}"))
    })?;
    let mut entries: Vec<_> =
        tensors.iter().map(|(key, view)| (key.to_string(), convert(&format!("{name}:{key}"), &view))).collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Value::Record(Arc::new(Record { file: name.to_string(), entries })))
}

fn convert(name: &str, view: &TensorView<'_>) -> Result<Value, DataError> {
    let content = view.data();
    let number = |kind, width| Some(Element { kind, width, big_endian: false });
    let element = match view.dtype() {
        Dtype::F64 => number(Kind::Float, 8),
        Dtype::F32 => number(Kind::Float, 4),
        Dtype::F16 => number(Kind::Float, 2),
        Dtype::I64 => number(Kind::Int, 8),
        Dtype::U64 => number(Kind::Unsigned, 8),
        Dtype::I32 => number(Kind::Int, 4),
        Dtype::U32 => number(Kind::Unsigned, 4),
        Dtype::I16 => number(Kind::Int, 2),
        Dtype::U16 => number(Kind::Unsigned, 2),
        Dtype::I8 => number(Kind::Int, 1),
        Dtype::U8 => number(Kind::Unsigned, 1),
        Dtype::BOOL => number(Kind::Bool, 1),
        Dtype::BF16 => None,
        other => {
            return Err(DataError::new(Code::E0911, format!("`{name}` holds elements of the type {other:?}"))
                .help("store floats, ints or bools"));
        }
    };
    let (values, elem) = match element {
        Some(element) => (element.numbers(content), element.elem()),
        // The upper half of an f32.
        None => {
            let number = |&b: &[u8; 2]| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16));
            (content.as_chunks::<2>().0.iter().map(number).collect(), Elem::Real)
        }
    };
    if elem == Elem::Int
        && let Some(i) = values.iter().position(|v: &f64| v.abs() >= MAX_EXACT_INT)
    {
        return Err(inexact(name, i));
    }
    Array::from_shape(view.shape(), values, elem)
        .map(Value::Array)
        .ok_or_else(|| DataError::new(Code::E0902, format!("`{name}` has a shape that its content does not fill")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(dtype: Dtype, shape: Vec<usize>, content: &[u8]) -> Vec<u8> {
        let view = TensorView::new(dtype, shape, content).unwrap();
        ::safetensors::serialize([("w", view)], None).unwrap()
    }
    fn array(bytes: &[u8]) -> Array {
        match parse("f", bytes) {
            Ok(Value::Record(r)) => match r.get("w") {
                Ok(Value::Array(a)) => a,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn types_and_shapes() {
        let f = array(&file(Dtype::F32, vec![2, 1], &[1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat()));
        assert_eq!((f.shape(), f.elem, f.data[[1, 0].as_slice()]), ([2, 1].as_slice(), Elem::Real, -2.0));
        assert_eq!(array(&file(Dtype::BF16, vec![1], &[0x80, 0x3f])).data[[0].as_slice()], 1.0);
        assert_eq!(array(&file(Dtype::I8, vec![1], &[255])).data[[0].as_slice()], -1.0);
        assert_eq!(array(&file(Dtype::BOOL, vec![1], &[1])).elem, Elem::Bool);
    }

    #[test]
    fn truncated_files_are_refused() {
        let good = file(Dtype::F64, vec![4], &[0; 32]);
        for cut in [0, 4, 8, 20, good.len() - 1] {
            assert_eq!(parse("f", &good[..cut]).unwrap_err().code, Code::E0902, "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse("f", &bytes);
            let _ = parse("f", &[(bytes.len() as u64).to_le_bytes().as_slice(), &bytes].concat());
        }
        #[test]
        fn never_panics_on_damage(at in 0usize..200, byte: u8) {
            let mut bytes = file(Dtype::F64, vec![4], &[0; 32]);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = parse("f", &bytes);
        }
    }
}
