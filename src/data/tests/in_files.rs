//! Arrays that stay in their files against the same arrays in memory: the same numbers to the bit, the same messages.

use super::*;
use crate::data::npy::tests::file as npy;

/// The value of `text` beside the files of `folder`, whose arrays from `lazy_from` bytes on stay where they are.
fn value_in(folder: &Path, text: &str, lazy_from: usize) -> Fallible<Value> {
    let text = format!("x = {text}");
    let module = parse(&text);
    let mut files = Files::new().lazy_from(lazy_from);
    let mut evaluator = Evaluator::new(&mut files, folder);
    evaluator.define_module(&module);
    let span = module.items[0].span;
    evaluator.value("x", span).expect("defined")
}

/// Shape, element type and bits.
fn bits(value: Value) -> (Vec<usize>, Elem, Vec<u64>) {
    let array = value.into_array().expect("numbers");
    (array.shape().to_vec(), array.elem, array.data.iter().map(|x| x.to_bits()).collect())
}

/// Files of every element type: `[6, 2, 3]` with the numbers 0 to 35, or 0 and 1.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(folder.path().join(name), bytes).expect("writable");
    let shape = "(6, 2, 3)";
    let all = |f: &dyn Fn(u8) -> Vec<u8>| (0..36).flat_map(f).collect::<Vec<u8>>();
    write("u1.npy", npy("|u1", false, shape, &all(&|i| vec![i])));
    write("i1.npy", npy("|i1", false, shape, &all(&|i| vec![i.wrapping_sub(18)])));
    write("b1.npy", npy("|b1", false, shape, &all(&|i| vec![i % 2])));
    write("i2.npy", npy("<i2", false, shape, &all(&|i| (i16::from(i) * 100 - 7).to_le_bytes().to_vec())));
    write("u4.npy", npy(">u4", false, shape, &all(&|i| (u32::from(i) * 1000).to_be_bytes().to_vec())));
    write("i8.npy", npy("<i8", false, shape, &all(&|i| (i64::from(i) - 9).to_le_bytes().to_vec())));
    write("f2.npy", npy("<f2", false, shape, &all(&|i| (u16::from(i) * 300).to_le_bytes().to_vec())));
    write("f4.npy", npy("<f4", false, shape, &all(&|i| (f32::from(i) / 7.0 - 1.0).to_le_bytes().to_vec())));
    write("g4.npy", npy(">f4", false, shape, &all(&|i| (f32::from(i).sin()).to_be_bytes().to_vec())));
    write("f8.npy", npy("<f8", false, shape, &all(&|i| (f64::from(i) / 3.0).to_le_bytes().to_vec())));
    write("t8.npy", npy("<f8", true, shape, &all(&|i| (f64::from(i) / 3.0).to_le_bytes().to_vec())));
    write("v.npy", npy("<i4", false, "(6,)", &[3, 1, 0, 2, 3, 3].map(i32::to_le_bytes).concat()));
    let head = |kind: u8, sizes: &[u32]| -> Vec<u8> {
        [0, 0, kind, sizes.len() as u8].into_iter().chain(sizes.iter().flat_map(|s| s.to_be_bytes())).collect()
    };
    write("im.idx", [head(8, &[6, 2, 3]), all(&|i| vec![i * 7])].concat());
    write("la.idx", [head(8, &[6]), vec![0, 3, 2, 1, 1, 0]].concat());
    write("fl.idx", [head(13, &[6, 6]), all(&|i| f32::from(i).sqrt().to_be_bytes().to_vec())].concat());
    folder
}

const ARRAYS: [&str; 11] = [
    "npy(\"u1.npy\")",
    "npy(\"i1.npy\")",
    "npy(\"b1.npy\")",
    "npy(\"i2.npy\")",
    "npy(\"u4.npy\")",
    "npy(\"i8.npy\")",
    "npy(\"f2.npy\")",
    "npy(\"f4.npy\")",
    "npy(\"g4.npy\")",
    "npy(\"f8.npy\")",
    "idx(\"im.idx\")",
];

#[test]
fn row_by_row_is_the_same_to_the_bit() {
    let folder = folder();
    // With `A` for the array, of which all stay in the file.
    let stay = [
        "A",
        "A / 255",
        "255 / (A + 300)",
        "2 * A - 1",
        "3 - A",
        "-A",
        "A ^ 2",
        "(A + 50) ^ 0.5",
        "A % 4",
        "A == 3",
        "A > 2.5",
        "not (A > 2)",
        "A in 2..9",
        "sqrt(A + 40)",
        "exp(A / 1000) |> log",
        "maximum(A, 5)",
        "minimum(2.5, A)",
        "A - [1, 2, 3]",
        "[[1.5, 2, 3], [4, 5, 6]] / (A + 40)",
        "A * [[[1, 2, 3], [4, 5, 6]]]",
        "A[:, new]",
        "A[:, :, new, :]",
        "A[2..5]",
        "A[2..5][1..]",
        "A[1..3, :, 1..]",
        "A[:, 1]",
        "A[:, 0, 2] / 3",
        "A[[5, 0, 0, 2]]",
        "A[[5, 0, 1]][1..3]",
        "A[:, :, [2, 0]]",
        "flatten(A)",
        "flatten(A)[:, [0, 5]] * [1, 10]",
        "reshape(A, [6, 3, 2]) / 2",
        "reshape(A, [6, 1, 6])[:, 0]",
        "round(A / 2)",
        "abs(A) |> floor",
    ];
    for array in ARRAYS {
        for text in stay {
            let text = text.replace('A', array);
            let (lazy, whole) = (value_in(folder.path(), &text, 0), value_in(folder.path(), &text, usize::MAX));
            let (lazy, whole) = match (lazy, whole) {
                (Ok(lazy), Ok(whole)) => (lazy, whole),
                // `not` needs truth values.
                (lazy, whole) => {
                    assert_eq!(lazy, whole, "{text}");
                    continue;
                }
            };
            // Several conditions at once are found in memory.
            assert!(matches!(lazy, Value::Lazy(_)) || text.contains(" in "), "{text}: {lazy:?}");
            assert!(matches!(whole, Value::Array(_)), "{text}");
            let Some(values) = Values::of(&lazy) else { panic!("{text}") };
            rows_agree::<f32>(&values, &text);
            rows_agree::<f64>(&values, &text);
            assert_eq!(bits(lazy), bits(whole), "{text}");
        }
    }
}

/// The rows that a reader reads are those of the whole array in that precision.
fn rows_agree<F: crate::kernels::Scalar>(values: &Values, text: &str) {
    let (n, unit) = (values.shape()[0], values.unit());
    let whole: Vec<F> = values.to_vec().into_iter().map(F::from_f64).collect();
    let mut filled = vec![F::ZERO; values.len()];
    values.fill(&mut filled);
    assert!(filled == whole, "{text}: filled");
    let rows: Vec<usize> = (0..n).rev().chain([0, n - 1]).collect();
    let mut some = vec![F::NAN; rows.len() * unit];
    let mut reader = values.reader::<F>();
    for _ in 0..2 {
        reader.read(&rows, &mut some);
        for (row, found) in rows.iter().zip(some.chunks(unit)) {
            assert!(found == &whole[row * unit..(row + 1) * unit], "{text}: row {row}");
        }
    }
}

#[test]
fn what_needs_all_rows_is_the_same_to_the_bit() {
    let folder = folder();
    let all = [
        "mean(A, axis = 0)",
        "mean(A, over = all)",
        "sd(A, axis = (0, 2))",
        "variance(A / 3, over = all)",
        "sum(A, axis = 0)",
        "sum(A, axis = (1, 2))",
        "max(A, over = all)",
        "min(A, axis = (0, 1))",
        "argmax(A, axis = 2)",
        "argmax(A, axis = 0)",
        "prod(A, axis = 1)",
        "standardize(A + 0.5)",
        "(A - mean(A, axis = 0)) / sd(A, over = all)",
        "A[3]",
        "A[3, :, 1]",
        "A[2, 1, 0]",
        "A[0..4][[1, 3], [0, 1]]",
        "A + A",
        "A[:, 0, :] @ [1, 2, 3]",
        "concat(A, A[1..2])",
        "where(A > 3, A, 0)",
        "A[:, 0, 0] * [1, 2, 3, 4, 5, 6]",
        "A[:, 0, 0][:, new] + [1, 2]",
        "one_hot(codes(A[:, 0, 0], levels(A[:, 0, 0])), 6)",
        "cumsum(A, axis = 0)",
        "npy(\"t8.npy\") / A",
    ];
    for array in ARRAYS {
        for text in all {
            let text = text.replace('A', array);
            let (lazy, whole) = (value_in(folder.path(), &text, 0), value_in(folder.path(), &text, usize::MAX));
            match (lazy, whole) {
                (Ok(lazy), Ok(whole)) => assert_eq!(bits(lazy), bits(whole), "{text}"),
                (lazy, whole) => assert_eq!(lazy, whole, "{text}"),
            }
        }
    }
}

#[test]
fn codes_of_labels_stay_too() {
    let folder = folder();
    for text in ["one_hot(idx(\"la.idx\"), 4)", "one_hot(npy(\"v.npy\")[1..], 4)[:, 1..]"] {
        let lazy = value_in(folder.path(), text, 0).expect("fits");
        assert!(matches!(lazy, Value::Lazy(_)));
        assert_eq!(bits(lazy), bits(value_in(folder.path(), text, usize::MAX).expect("fits")));
    }
}

/// Binds a program in both ways.
fn both(folder: &Path, text: &str) -> [(Binding, Vec<crate::diag::Diagnostic>); 2] {
    [0, usize::MAX].map(|lazy_from| {
        let module = parse(text);
        let mut files = Files::new().lazy_from(lazy_from);
        let mut evaluator = Evaluator::new(&mut files, folder);
        evaluator.define_module(&module);
        let mut out = Diagnostics::new();
        let binding = bind(&mut evaluator, &requests(&module, &[]), &[], &mut out);
        (binding, out.iter().cloned().collect())
    })
}

#[test]
fn messages_are_the_same() {
    let folder = folder();
    let nan = [1.0f32, f32::NAN, 2.0, f32::NAN].map(f32::to_le_bytes).concat();
    std::fs::write(folder.path().join("nan.npy"), npy("<f4", false, "(2, 2)", &nan)).unwrap();
    let big = [1i64, 1 << 53].map(i64::to_le_bytes).concat();
    std::fs::write(folder.path().join("big.npy"), npy("<i8", false, "(2,)", &big)).unwrap();
    std::fs::write(folder.path().join("none.npy"), npy("<f4", false, "(0, 2)", &[])).unwrap();
    std::fs::write(folder.path().join("short.npy"), npy("<f4", false, "(2, 2)", &nan[..13])).unwrap();
    for (text, code) in [
        ("data x: real[N, K] = npy(\"nan.npy\")", Some(Code::E0906)),
        ("data x: real[N] = npy(\"nan.npy\")[:, 0]", None),
        ("data x: real[N, K] = npy(\"nan.npy\") |> standardize", Some(Code::E0906)),
        ("data x: int[N] = npy(\"big.npy\")", Some(Code::E0904)),
        ("data x: real[N, K] = npy(\"none.npy\")", Some(Code::E0912)),
        ("data x: real[N, K] = npy(\"short.npy\")", Some(Code::E0902)),
        ("data x: int[N, A, B] = npy(\"f4.npy\")", Some(Code::E0904)),
        ("data x: int[N, A, B] = npy(\"f4.npy\") * 0", None),
        ("data x: bool[N, A, B] = npy(\"u1.npy\")", Some(Code::E0904)),
        ("data x: bool[N, A, B] = npy(\"b1.npy\")", None),
        ("data x: real[N] = npy(\"f4.npy\")", Some(Code::E0903)),
        ("data x: int[N] in 0..3 = idx(\"la.idx\")", Some(Code::E0905)),
        ("data x: int[N] in 0..4 = idx(\"la.idx\")", None),
        ("data x: int[N] in 0..=3 = idx(\"la.idx\")", None),
        ("data x: real[N, A, B] in 0.. = npy(\"f4.npy\")", Some(Code::E0905)),
        ("data x: real[N, A, B] in ..[1, 2, 30] = npy(\"f4.npy\")", Some(Code::E0905)),
        ("data x: real[N, A, B] = log(npy(\"i1.npy\"))", Some(Code::E0906)),
        ("data x: real[N, A, B] = npy(\"u1.npy\") ^ 40 * 1", Some(Code::E0916)),
        ("data x: real[N, A, B] = npy(\"u1.npy\") * 0 |> standardize", Some(Code::E0913)),
        ("data x: real[N, A] = npy(\"u1.npy\")[:, 2]", Some(Code::E0916)),
        ("data x: real[N, A, B] = npy(\"u1.npy\") + [1, 2]", Some(Code::E0903)),
        ("data x: int[N, K] = one_hot(idx(\"la.idx\"), 3)", Some(Code::E0905)),
    ] {
        let [(lazy, from_file), (whole, from_memory)] = both(folder.path(), text);
        assert_eq!(from_file, from_memory, "{text}");
        assert_eq!(from_file.first().map(|d| d.code), code, "{text}: {from_file:?}");
        let bits = |b: &Binding| -> Vec<Vec<u64>> {
            b.data.iter().map(|d| d.data.to_vec().iter().map(|x| x.to_bits()).collect()).collect()
        };
        assert_eq!(bits(&lazy), bits(&whole), "{text}");
        assert_eq!(lazy.sizes, whole.sizes, "{text}");
    }
}

#[test]
fn several_blocks_are_joined() {
    // More rows than a block holds, and rows longer than a block.
    for (rows, unit) in [(70_000usize, 2usize), (3, 70_000)] {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..rows * unit).flat_map(|i| ((i as f32 * 0.37).sin()).to_le_bytes()).collect();
        let bytes = npy("<f4", false, &format!("({rows}, {unit})"), &content);
        std::fs::write(folder.path().join("a.npy"), bytes).unwrap();
        for text in ["A * 2", "standardize(A)", "mean(A, over = all)", "sd(A, axis = 0)", "sum(A, axis = 1)"] {
            let text = text.replace('A', "npy(\"a.npy\")");
            let [lazy, whole] = [0, usize::MAX].map(|from| bits(value_in(folder.path(), &text, from).expect("fits")));
            assert!(lazy == whole, "{text}");
        }
    }
}

#[test]
fn packed_files_keep_the_type_of_their_numbers() {
    use std::io::Write;
    let folder = folder();
    let plain = std::fs::read(folder.path().join("im.idx")).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    std::fs::write(folder.path().join("im.idx.gz"), encoder.finish().unwrap()).unwrap();
    let lazy = value_in(folder.path(), "idx(\"im.idx.gz\")", 0).expect("fits");
    let Value::Lazy(array) = &lazy else { panic!("{lazy:?}") };
    assert_eq!(array.mapped_bytes(), 0);
    assert_eq!(bits(lazy.clone()), bits(value_in(folder.path(), "idx(\"im.idx\")", usize::MAX).expect("fits")));
    let mapped = value_in(folder.path(), "idx(\"im.idx\")", 0).expect("fits");
    assert!(matches!(mapped, Value::Lazy(a) if a.mapped_bytes() == plain.len()));
}
