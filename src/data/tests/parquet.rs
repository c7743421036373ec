//! Parquet files, written here by the same crate: types, gaps, rows in any order, what is refused.

use super::*;
use ::parquet::basic::Compression;
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;
use std::fs::File;
use std::sync::Arc;

const SCHEMA: &str = "message table {
    required boolean flag;
    required int32 i;
    required int64 wide;
    required float f;
    required double d;
    optional double gap;
    optional int32 count;
    required binary name (STRING);
    required int32 day (DATE);
    repeated int32 list;
    required int32 u (INTEGER(32, false));
    optional boolean maybe;
}";

/// Rows of a row group, and the number of rows.
const GROUP: usize = 7;
const ROWS: usize = 25;

fn put<T: DataType>(group: &mut SerializedRowGroupWriter<'_, File>, values: &[T::T], levels: Option<&[i16]>) {
    let mut column = group.next_column().expect("a column is next").expect("a column is next");
    let repeated = levels.filter(|l| l.len() != values.len() && values.is_empty()).map(|l| vec![0; l.len()]);
    column.typed::<T>().write_batch(values, levels, repeated.as_deref()).expect("the file takes it");
    column.close().expect("the file takes it");
}

/// Writes a table of [`ROWS`] rows in groups of [`GROUP`].
fn write(path: &Path, compression: Compression, statistics: EnabledStatistics) {
    let schema = Arc::new(parse_message_type(SCHEMA).expect("a schema"));
    let properties =
        WriterProperties::builder().set_compression(compression).set_statistics_enabled(statistics).build();
    let mut writer = SerializedFileWriter::new(File::create(path).expect("writable"), schema, Arc::new(properties))
        .expect("a writer");
    for from in (0..ROWS).step_by(GROUP) {
        let rows: Vec<usize> = (from..(from + GROUP).min(ROWS)).collect();
        let mut group = writer.next_row_group().expect("the file takes it");
        let of = |f: &dyn Fn(usize) -> f64| rows.iter().map(|&i| f(i)).collect::<Vec<_>>();
        let ints = |f: &dyn Fn(usize) -> f64| of(f).iter().map(|&x| x as i32).collect::<Vec<_>>();
        put::<BoolType>(&mut group, &rows.iter().map(|i| i % 3 == 0).collect::<Vec<_>>(), None);
        put::<Int32Type>(&mut group, &ints(&int), None);
        put::<Int64Type>(&mut group, &of(&wide).iter().map(|&x| x as i64).collect::<Vec<_>>(), None);
        put::<FloatType>(&mut group, &of(&real).iter().map(|&x| x as f32).collect::<Vec<_>>(), None);
        put::<DoubleType>(&mut group, &of(&real), None);
        let present: Vec<i16> = rows.iter().map(|i| i16::from(i % 5 != 4)).collect();
        let some =
            |x: Vec<f64>| -> Vec<f64> { x.into_iter().zip(&present).filter(|p| *p.1 == 1).map(|p| p.0).collect() };
        put::<DoubleType>(&mut group, &some(of(&real)), Some(&present));
        let whole = some(of(&int)).iter().map(|&x| x as i32).collect::<Vec<_>>();
        put::<Int32Type>(&mut group, &whole, Some(&present));
        let names: Vec<ByteArray> = rows.iter().map(|i| ByteArray::from(["ä", "b", "c"][i % 3])).collect();
        put::<ByteArrayType>(&mut group, &names, None);
        put::<Int32Type>(&mut group, &ints(&int), None);
        put::<Int32Type>(&mut group, &[], Some(&vec![0; rows.len()]));
        put::<Int32Type>(&mut group, &vec![-1; rows.len()], None);
        put::<BoolType>(&mut group, &vec![true; rows.len()], Some(&vec![1; rows.len()]));
        group.close().expect("the file takes it");
    }
    writer.close().expect("the file takes it");
}

fn int(i: usize) -> f64 {
    i as f64 * 10.0 - 7.0
}
fn wide(i: usize) -> f64 {
    (i as f64 - 3.0) * 1e12
}
fn real(i: usize) -> f64 {
    (i as f64 * 0.7).sin()
}

/// The value of `text` beside the file `t.parquet`, from `lazy_from` bytes on left where it is.
fn value(folder: &Path, text: &str, lazy_from: usize, in_memory: usize) -> Fallible<Value> {
    let text = format!("x = {}", text.replace("T", "parquet(\"t.parquet\")"));
    let module = parse(&text);
    let mut files = Files::new().lazy_from(lazy_from).parquet_in_memory(in_memory);
    let mut evaluator = Evaluator::new(&mut files, folder);
    evaluator.define_module(&module);
    evaluator.value("x", module.items[0].span).expect("defined")
}

#[test]
fn columns_are_what_was_written_wherever_they_are() {
    let all = |f: &dyn Fn(usize) -> f64| (0..ROWS).map(f).collect::<Vec<_>>();
    let kept = |f: &dyn Fn(usize) -> f64| (0..ROWS).filter(|i| i % 5 != 4).map(f).collect::<Vec<_>>();
    let expected: Vec<(&str, Vec<f64>, Elem)> = vec![
        ("T.flag", all(&|i| f64::from(u8::from(i % 3 == 0))), Elem::Bool),
        ("T.i", all(&int), Elem::Int),
        ("T.wide", all(&wide), Elem::Int),
        ("T.f", all(&|i| f64::from(real(i) as f32)), Elem::Real),
        ("T.d", all(&real), Elem::Real),
        ("T.u", all(&|_| 4_294_967_295.0), Elem::Int),
        ("T.maybe", all(&|_| 1.0), Elem::Bool),
        ("T.drop_missing(\"gap\").gap", kept(&real), Elem::Real),
        ("T.drop_missing().count", kept(&int), Elem::Int),
        ("T.drop_missing(\"gap\").i[3..5]", kept(&int)[3..5].to_vec(), Elem::Int),
        ("T[[24, 0, 7, 6, 7]].i", [24, 0, 7, 6, 7].map(int).to_vec(), Elem::Int),
        ("T[2..20].d / 2", (2..20).map(|i| real(i) / 2.0).collect(), Elem::Real),
        ("T.columns(\"i\", \"d\", \"flag\")[:, 1]", all(&real), Elem::Real),
        ("T.columns(\"wide\", \"i\")[:, 0]", all(&wide), Elem::Int),
        (
            "flatten(T.drop_missing(\"gap\").columns(\"d\", \"gap\")[2..4])",
            {
                let kept = kept(&real);
                vec![kept[2], kept[2], kept[3], kept[3]]
            },
            Elem::Real,
        ),
    ];
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(Default::default())] {
        for statistics in [EnabledStatistics::None, EnabledStatistics::Chunk] {
            let folder = tempfile::tempdir().expect("a folder");
            write(&folder.path().join("t.parquet"), compression, statistics);
            for (lazy_from, in_memory) in [(usize::MAX, 0), (0, usize::MAX), (0, 0), (0, 100)] {
                for (text, numbers, elem) in &expected {
                    let value = value(folder.path(), text, lazy_from, in_memory).expect(text);
                    if lazy_from == 0 && *text != "flatten" {
                        assert!(matches!(value, Value::Lazy(_)), "{text}: {value:?}");
                    }
                    let array = value.into_array().expect("numbers");
                    let shape_free: Vec<f64> = array.data.iter().copied().collect();
                    assert_eq!((&shape_free, array.elem), (numbers, *elem), "{text}");
                }
                let Ok(Value::Labels(names)) = value(folder.path(), "levels(T[1..].name)", lazy_from, in_memory) else {
                    panic!("text is text")
                };
                assert_eq!(names.names, ["b", "c", "ä"]);
            }
        }
    }
}

#[test]
fn what_cannot_be_used_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join("t.parquet"), Compression::SNAPPY, EnabledStatistics::Chunk);
    for lazy_from in [0, usize::MAX] {
        for (text, code, part) in [
            ("T.gap", Code::E0906, "row 4"),
            ("T.columns(\"d\", \"gap\")", Code::E0906, "`gap`"),
            ("T.day", Code::E0911, "dates"),
            ("T.list", Code::E0911, "lists"),
            ("T.columns(\"d\", \"name\")", Code::E0904, "text"),
            ("T.nam", Code::E0907, "nam"),
        ] {
            let d = value(folder.path(), text, lazy_from, usize::MAX).expect_err(text);
            assert_eq!(d.code, code, "{text}: {d:?}");
            assert!(d.message.contains(part), "{text}: {}", d.message);
        }
    }
    std::fs::write(folder.path().join("t.parquet"), "PAR1 and nothing else PAR1").expect("writable");
    assert_eq!(value(folder.path(), "T", 0, 0).expect_err("damaged").code, Code::E0902);
}

#[test]
fn a_damaged_row_group_is_found_when_it_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.parquet");
    write(&path, Compression::ZSTD(Default::default()), EnabledStatistics::Chunk);
    let mut bytes = std::fs::read(&path).expect("written");
    // The pages come first and the footer last.
    bytes[4..600].fill(0xa5);
    std::fs::write(&path, bytes).expect("writable");
    let text = "data x: real[N] = parquet(\"t.parquet\").d";
    let module = parse(text);
    let mut files = Files::new().lazy_from(0);
    let mut evaluator = Evaluator::new(&mut files, folder.path());
    evaluator.define_module(&module);
    let mut out = Diagnostics::new();
    bind(&mut evaluator, &requests(&module, &[]), &[], &mut out);
    let failed = files.failure().get().expect("rows cannot be read");
    assert!(failed.code == Code::E0902 && failed.message.contains("rows 0..7"), "{failed:?}");
}
