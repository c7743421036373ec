//! Arrays of images: order, classes, what is refused, and rows unpacked when they are asked for.

use super::*;
use crate::data::png::tests::file as png;
use crate::driver::{self, Options};
use crate::infer::{RunError, Unobserved};
use crate::session::{self, Failure, RunOptions};
use ::png::{BitDepth, ColorType};
use std::fs;

fn grey(size: [u32; 2], samples: &[u8]) -> Vec<u8> {
    png(size, ColorType::Grayscale, BitDepth::Eight, samples)
}

/// A folder with these files.
fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        fs::write(path, content).expect("writable");
    }
    folder
}

/// Twelve grey images of 3 x 2 pixels in three classes.
fn classes() -> tempfile::TempDir {
    let image = |i: u8| grey([3, 2], &[i, 2 * i, 3 * i, 100 + i, 200, 0]);
    let name = |i: u8| format!("train/{}/{i:02}.png", ["circle", "line", "square"][usize::from(i % 3)]);
    let files: Vec<(String, Vec<u8>)> = (0..12).map(|i| (name(i), image(i))).collect();
    folder(&files.iter().map(|(n, f)| (n.as_str(), f.clone())).collect::<Vec<_>>())
}

fn value(folder: &Path, text: &str, in_memory: usize) -> Fallible<Value> {
    let text = format!("x = {text}");
    let module = parse(&text);
    let mut files = Files::new().images_in_memory(in_memory);
    let mut evaluator = Evaluator::new(&mut files, folder);
    evaluator.define_module(&module);
    evaluator.value("x", module.items[0].span).expect("defined")
}

#[test]
fn images_are_one_array_in_the_order_of_their_names() {
    let folder = classes();
    let order: Vec<f64> = [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11].map(f64::from).into();
    for in_memory in [0, 20, usize::MAX] {
        let images = value(folder.path(), "images(\"train/*/*.png\")", in_memory).expect("fits");
        let Value::Lazy(lazy) = &images else { panic!("{images:?}") };
        assert_eq!((lazy.is_made(), lazy.elem), (in_memory < 72, Elem::Int));
        let array = images.into_array().expect("numbers");
        assert_eq!((array.shape(), array.elem), ([12, 1, 2, 3].as_slice(), Elem::Int));
        let numbers: Vec<f64> = array.data.iter().copied().collect();
        for (image, &i) in numbers.chunks(6).zip(&order) {
            assert_eq!(image, [i, 2.0 * i, 3.0 * i, 100.0 + i, 200.0, 0.0]);
        }
        let halves = value(folder.path(), "images(\"train/*/*.png\")[2..5, 0] / 2", in_memory).expect("fits");
        let array = halves.into_array().expect("numbers");
        assert_eq!(array.shape(), [3, 2, 3]);
        assert_eq!(array.data.iter().step_by(6).copied().collect::<Vec<_>>(), [3.0, 4.5, 0.5]);
    }
}

#[test]
fn channels_and_sixteen_bits() {
    let rgb = png([2, 1], ColorType::Rgb, BitDepth::Eight, &[1, 2, 3, 4, 5, 6]);
    let wide = png([1, 1], ColorType::Grayscale, BitDepth::Sixteen, &[255, 255]);
    let folder = folder(&[("a/x.png", rgb.clone()), ("a/y.png", rgb), ("b/x.png", wide)]);
    for in_memory in [0, usize::MAX] {
        let of = |text: &str| value(folder.path(), text, in_memory).expect("fits").into_array().expect("numbers");
        let array = of("images(\"a/*.png\")");
        assert_eq!(array.shape(), [2, 3, 1, 2]);
        assert_eq!(array.data.iter().copied().take(6).collect::<Vec<_>>(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let array = of("images(\"b/x.png\")");
        assert_eq!((array.elem, array.data.iter().copied().collect::<Vec<_>>()), (Elem::Real, vec![255.0]));
    }
}

const PROGRAM: &str = "size Class = levels(images(\"train/*/*.png\").class)\n\
     data x: real[N, 1, H, W] in 0..=1 = images(\"train/*/*.png\") / 255\n\
     data label: int[N] in 0..3 = images(\"train/*/*.png\").label\n\
     data class: int[N] in 0..Class = codes(images(\"train/*/*.png\").class, Class)\n\
     data some: int[M] in 0..Class = images(\"train/*/*.png\")[[11, 0, 5]].label";

#[test]
fn folders_are_classes() {
    let folder = classes();
    let o = bind_in(folder.path(), PROGRAM, &[], SizeTable::new());
    let expected: Vec<f64> = [0.0, 1.0, 2.0].into_iter().flat_map(|c| [c; 4]).collect();
    assert_eq!(o.values("label"), expected);
    assert_eq!(o.values("class"), expected);
    assert_eq!(o.values("some"), [2.0, 0.0, 1.0]);
    assert_eq!(o.labels("Class"), ["circle", "line", "square"]);
    assert_eq!((o.size("N"), o.size("H"), o.size("W")), (12, 2, 3));
}

#[test]
fn classes_are_those_of_the_training_data() {
    let folder = classes();
    let learned = bind_in(folder.path(), PROGRAM, &[], SizeTable::new()).learned;
    let write = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        fs::write(path, grey([3, 2], &[0; 6])).expect("writable");
    };
    let text = "data label: int[N] in 0..3 = images(\"test/*/*.png\").label";
    let module = parse(text);
    let held_out = || {
        let mut files = Files::new();
        let mut evaluator = Evaluator::held_out(&mut files, folder.path(), learned.clone());
        evaluator.define_module(&module);
        let mut out = Diagnostics::new();
        let binding = bind(&mut evaluator, &requests(&module, &[]), &[], &mut out);
        Outcome { binding, learned: Learned::default(), messages: out.iter().cloned().collect() }
    };
    // There is no circle among the held-out images.
    write("test/line/a.png");
    write("test/square/a.png");
    assert_eq!(held_out().values("label"), [1.0, 2.0]);
    write("test/squares/a.png");
    let o = held_out();
    let d = o.one(Code::E0910);
    assert!(d.message.contains("`squares`") && d.help.as_ref().is_some_and(|h| h.contains("`square`")), "{d:?}");
}

#[test]
fn what_is_wrong_names_the_files() {
    let other = |size| ("other/b.png", grey(size, &[0; 6]));
    let folder = folder(&[
        ("one/a.png", grey([3, 2], &[0; 6])),
        ("other/a.png", grey([3, 2], &[0; 6])),
        other([2, 3]),
        ("jpeg/a.jpg", b"\xff\xd8\xff\xe0 \x00\x10JFIF".to_vec()),
        ("colour/a.png", grey([1, 1], &[0])),
        ("colour/b.png", png([1, 1], ColorType::Rgb, BitDepth::Eight, &[0; 3])),
        ("cut/a.png", grey([3, 2], &[0; 6])),
        ("cut/b.png", grey([3, 2], &[0; 6])[..50].to_vec()),
        ("none/readme.txt", b"hello".to_vec()),
    ]);
    for (text, code, parts) in [
        ("images(\"other/*.png\")", Code::E0903, ["a.png` has 3 x 2", "b.png` has 2 x 3"]),
        ("images(\"colour/*.png\")", Code::E0903, ["1 channel,", "3 channels"]),
        ("images(\"jpeg/*\")", Code::E0911, ["a.jpg` is a JPEG", "PNG"]),
        ("images(\"cut/*.png\")", Code::E0902, ["b.png`", "truncated"]),
        ("images(\"none/*.png\")", Code::E0901, ["no file matches", "readme.txt"]),
        ("images(\"none\")", Code::E0901, ["no file matches", "none/*.png"]),
        ("images(\"*.png\")", Code::E0901, ["no file matches", "`*/*.png`"]),
        ("images(\"nowhere/*.png\")", Code::E0901, ["no file matches", "no folder"]),
        ("images(\"none/*\")", Code::E0902, ["readme.txt", "no PNG"]),
        ("images(\"one/*.png\").label", Code::E0907, ["one folder", "dir/*/*.png"]),
        ("images(\"one/*.png\").name", Code::E0916, ["no part `name`", ""]),
        ("images(3)", Code::E0916, ["one string", ""]),
    ] {
        let d = value(folder.path(), text, usize::MAX).expect_err(text);
        assert_eq!(d.code, code, "{text}: {d:?}");
        let all = format!("{} {:?} {:?}", d.message, d.help, d.notes);
        assert!(parts.iter().all(|part| all.contains(part)), "{text}: {all}");
    }
}

/// A fit of a regression on images.
fn program(folder: &Path) -> String {
    let path = folder.display();
    format!(
        "data x: real[N, 1, 2, 3] = images(\"{path}/train/*/*.png\") / 255\n\
         data y: int[N] in 0..3 = images(\"{path}/train/*/*.png\").label\n\
         model {{\n  w: real[6, 3] ~ Normal(0, 1)\n  y ~ Categorical(logits = flatten(x) @ w)\n}}\n\
         infer svi {{\n  minibatch N = 5\n  epochs = 4\n  precision = f32\n}}\n"
    )
}

#[test]
fn a_fit_does_not_depend_on_where_the_images_are() {
    let folder = classes();
    let fit = |in_memory: usize| {
        let c = driver::compile_text(&program(folder.path()), &Options::default());
        let mut files = Files::new().images_in_memory(in_memory);
        let bound = session::bind(&c, &mut files, &[]).expect("the program is right");
        let fit = session::run(&bound, &RunOptions::default(), &mut Unobserved).expect("it runs");
        (fit.trace.iter().map(|row| row.elbo.to_bits()).collect::<Vec<_>>(), bound.fingerprints())
    };
    let memory = fit(usize::MAX);
    assert_eq!(memory.0.len(), 12);
    assert_eq!(fit(0), memory);
    assert_eq!(fit(30), memory);
}

#[test]
fn an_image_that_is_gone_ends_the_run() {
    let folder = classes();
    let c = driver::compile_text(&program(folder.path()), &Options::default());
    let mut files = Files::new().images_in_memory(0);
    let bound = session::bind(&c, &mut files, &[]).expect("the program is right");
    fs::remove_file(folder.path().join("train/line/04.png")).expect("it was there");
    let failed = session::run(&bound, &RunOptions::default(), &mut Unobserved).expect_err("an image is gone");
    let Failure::Run(error @ RunError::Data(_)) = failed else { panic!("{failed:?}") };
    let d = error.diagnostic();
    assert_eq!(d.code, Code::E0902);
    assert!(d.message.contains("line/04.png") && d.notes.iter().any(|n| n == "it is row 5"), "{d:?}");
}
