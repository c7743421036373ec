//! Reads PNG images: the bytes of a file in, planes of samples out.
//!
//! Samples are `[C, H, W]`, one byte each, 0 to 255, or two for images of 16 bits, big-endian, 0 to 65535. Palettes are
//! replaced by their colours and grey of fewer than 8 bits is stretched to 0 to 255 (PNG specification, third edition,
//! section 13.12). C is 1 for grey, 2 for grey with alpha, 3 for colour, 4 for colour with alpha; a transparent colour
//! (chunk tRNS) makes an alpha channel. Gamma and colour profiles are not applied. Of an animation the first frame counts.

use super::error::DataError;
use crate::diag::Code;
use ::png::{BitDepth, Decoder, DecodingError, Reader, Transformations};
use std::fmt;
use std::io::{BufRead, Seek};

/// What the images of one array have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 to 4.
    pub channels: usize,
    /// The bytes of a sample: 1, or 2 for images of 16 bits.
    pub depth: usize,
}

impl Form {
    /// The bytes of all samples.
    pub fn bytes(&self) -> usize {
        self.width * self.height * self.channels * self.depth
    }
}

/// `28 x 28 pixels with 3 channels`, the width first, as image programs say it.
impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.channels == 1 { "" } else { "s" };
        write!(f, "{} x {} pixels with {} channel{s}", self.width, self.height, self.channels)?;
        if self.depth == 2 { f.write_str(" of 16 bits") } else { Ok(()) }
    }
}

/// Pixels of an image, at most: what a header asks for beyond that is damage or mischief.
const MOST_PIXELS: usize = 1 << 30;

/// Room that images are unpacked in, to be used again.
#[derive(Debug, Default)]
pub struct Scratch(Vec<u8>);

fn open<R: BufRead + Seek>(name: &str, input: R) -> Result<(Reader<R>, Form), DataError> {
    let mut decoder = Decoder::new(input);
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let reader = decoder.read_info().map_err(|e| broken(name, &e))?;
    let (color, depth) = reader.output_color_type();
    let info = reader.info();
    let form = Form {
        width: info.width as usize,
        height: info.height as usize,
        channels: color.samples(),
        depth: if depth == BitDepth::Sixteen { 2 } else { 1 },
    };
    if form.width.checked_mul(form.height).is_none_or(|n| n > MOST_PIXELS) {
        return Err(DataError::new(Code::E0902, format!("`{name}` says that it has {form}, more than can be read")));
    }
    Ok((reader, form))
}

fn broken(name: &str, error: &DecodingError) -> DataError {
    let what = match error {
        DecodingError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => "it is truncated".to_string(),
        error => error.to_string(),
    };
    DataError::new(Code::E0902, format!("the image `{name}` cannot be read: {what}"))
}

/// The form of the image in `input`, of which nothing is read but what stands before the samples.
///
/// Errors: another format, which is named where it is known; a damaged header. `name` is the file as messages show it.
pub fn form<R: BufRead + Seek>(name: &str, mut input: R) -> Result<Form, DataError> {
    let start = input.fill_buf().map_err(|e| broken(name, &DecodingError::IoError(e)))?;
    if let Some(format) = other_format(start) {
        let convert = "write them as PNG, for example with ImageMagick: `magick mogrify -format png FILES`";
        let message = format!("`{name}` is a {format} image, and only PNG images can be read");
        return Err(DataError::new(Code::E0911, message).help(convert));
    }
    if !start.starts_with(b"\x89PNG") {
        let message = format!("`{name}` is no PNG image: it does not begin like one");
        return Err(DataError::new(Code::E0902, message).help("let the pattern name PNG images alone: `*.png`"));
    }
    open(name, input).map(|(_, form)| form)
}

/// The format of a file that begins so, if it is a known one of images but not PNG.
fn other_format(start: &[u8]) -> Option<&'static str> {
    const STARTS: [(&[u8], &str); 6] = [
        (b"\xff\xd8\xff", "JPEG"),
        (b"GIF8", "GIF"),
        (b"BM", "BMP"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"\0\0\x01\0", "ICO"),
    ];
    if start.starts_with(b"RIFF") && start.get(8..12) == Some(b"WEBP") {
        return Some("WebP");
    }
    STARTS.iter().find(|(bytes, _)| start.starts_with(bytes)).map(|&(_, format)| format)
}

/// Writes the samples of the image in `input` to `out`, which has room for `form`; that must be the form of the image.
///
/// Errors: damaged samples, another form.
pub fn decode<R: BufRead + Seek>(
    name: &str,
    input: R,
    form: Form,
    out: &mut [u8],
    scratch: &mut Scratch,
) -> Result<(), DataError> {
    let (mut reader, found) = open(name, input)?;
    if found != form {
        return Err(other_form(name, found, form));
    }
    let out = &mut out[..form.bytes()];
    if form.channels == 1 {
        reader.next_frame(out).map_err(|e| broken(name, &e))?;
        return Ok(());
    }
    scratch.0.resize(form.bytes(), 0);
    reader.next_frame(&mut scratch.0).map_err(|e| broken(name, &e))?;
    planes(&scratch.0, form, out);
    Ok(())
}

fn other_form(name: &str, found: Form, form: Form) -> DataError {
    DataError::new(Code::E0903, format!("`{name}` has {found}, and the images before it have {form}"))
}

/// `[H, W, C]` to `[C, H, W]`.
fn planes(pixels: &[u8], form: Form, out: &mut [u8]) {
    let count = form.width * form.height;
    for (c, plane) in out.chunks_exact_mut((count * form.depth).max(1)).enumerate() {
        let samples = pixels.chunks_exact(form.channels * form.depth);
        match form.depth {
            1 => plane.iter_mut().zip(samples).for_each(|(to, pixel)| *to = pixel[c]),
            _ => plane
                .chunks_exact_mut(2)
                .zip(samples)
                .for_each(|(to, pixel)| to.copy_from_slice(&pixel[2 * c..2 * c + 2])),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ::png::{ColorType, Encoder};
    use proptest::prelude::*;
    use std::io::Cursor;

    /// A PNG file; `tune` sets what else it has.
    pub(crate) fn file_with(
        size: [u32; 2],
        color: ColorType,
        depth: BitDepth,
        samples: &[u8],
        tune: impl FnOnce(&mut Encoder<'_, &mut Vec<u8>>),
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, size[0], size[1]);
        encoder.set_color(color);
        encoder.set_depth(depth);
        tune(&mut encoder);
        encoder.write_header().and_then(|mut w| w.write_image_data(samples)).expect("memory takes it");
        bytes
    }
    /// A plain PNG file.
    pub(crate) fn file(size: [u32; 2], color: ColorType, depth: BitDepth, samples: &[u8]) -> Vec<u8> {
        file_with(size, color, depth, samples, |_| {})
    }
    fn image(bytes: &[u8]) -> (Form, Vec<u8>) {
        let form = form("f", Cursor::new(bytes)).expect("a PNG file");
        let mut out = vec![7; form.bytes()];
        decode("f", Cursor::new(bytes), form, &mut out, &mut Scratch::default()).expect("a whole one");
        (form, out)
    }

    #[test]
    fn channels_become_planes() {
        let (form, out) = image(&file([3, 1], ColorType::Rgb, BitDepth::Eight, &[1, 2, 3, 4, 5, 6, 7, 8, 9]));
        assert_eq!(form, Form { width: 3, height: 1, channels: 3, depth: 1 });
        assert_eq!(out, [1, 4, 7, 2, 5, 8, 3, 6, 9]);
        let (form, out) = image(&file([1, 2], ColorType::GrayscaleAlpha, BitDepth::Eight, &[1, 2, 3, 4]));
        assert_eq!((form.channels, out.as_slice()), (2, [1, 3, 2, 4].as_slice()));
        let (form, out) = image(&file([1, 2], ColorType::Rgba, BitDepth::Eight, &[1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!((form.channels, out.as_slice()), (4, [1, 5, 2, 6, 3, 7, 4, 8].as_slice()));
        let wide = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let (form, out) = image(&file([2, 1], ColorType::Rgb, BitDepth::Sixteen, &wide));
        assert_eq!(form.to_string(), "2 x 1 pixels with 3 channels of 16 bits");
        assert_eq!(out, [1, 2, 7, 8, 3, 4, 9, 10, 5, 6, 11, 12]);
    }

    #[test]
    fn few_bits_and_palettes_are_expanded() {
        let (form, out) = image(&file([4, 1], ColorType::Grayscale, BitDepth::Two, &[0b0001_1011]));
        assert_eq!((form.channels, out.as_slice()), (1, [0, 85, 170, 255].as_slice()));
        let (_, out) = image(&file([3, 1], ColorType::Grayscale, BitDepth::One, &[0b1010_0000]));
        assert_eq!(out, [255, 0, 255]);
        let palette = |e: &mut Encoder<'_, &mut Vec<u8>>| e.set_palette(vec![10, 20, 30, 40, 50, 60]);
        let (form, out) = image(&file_with([2, 1], ColorType::Indexed, BitDepth::Eight, &[1, 0], palette));
        assert_eq!((form.channels, out.as_slice()), (3, [40, 10, 50, 20, 60, 30].as_slice()));
        let clear = |e: &mut Encoder<'_, &mut Vec<u8>>| {
            palette(e);
            e.set_trns(vec![0, 255]);
        };
        let (form, out) = image(&file_with([2, 1], ColorType::Indexed, BitDepth::Eight, &[1, 0], clear));
        assert_eq!((form.channels, &out[6..]), (4, [255, 0].as_slice()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let fails = |bytes: &[u8]| form("f.png", Cursor::new(bytes)).expect_err("no PNG file");
        let error = fails(b"\xff\xd8\xff\xe0 and so on");
        assert_eq!(error.code, Code::E0911);
        assert!(error.message.contains("`f.png` is a JPEG image") && error.help.is_some());
        assert!(fails(b"RIFF\x01\x02\x03\x04WEBPVP8 ").message.contains("WebP"));
        assert!(fails(b"hello").message.contains("no PNG"));
        assert!(fails(b"").message.contains("no PNG"));
        let whole = file([8, 8], ColorType::Grayscale, BitDepth::Eight, &[9; 64]);
        assert!(fails(&whole[..20]).message.contains("truncated"));
        let form = form("f", Cursor::new(&whole)).expect("whole");
        let mut out = vec![0; 64];
        let mut read = |bytes: &[u8], form| decode("f", Cursor::new(bytes), form, &mut out, &mut Scratch::default());
        let error = read(&whole[..whole.len() - 20], form).expect_err("cut");
        assert!(error.code == Code::E0902 && error.message.contains("`f`"), "{error:?}");
        let error = read(&whole, Form { width: 9, ..form }).expect_err("another size");
        assert!(error.message.contains("8 x 8") && error.message.contains("9 x 8"), "{}", error.message);
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..200, with in any::<u8>(), cut in 0usize..200) {
            let mut bytes = file([5, 4], ColorType::Rgb, BitDepth::Eight, &[77; 60]);
            let at = at % bytes.len();
            bytes[at] = with;
            bytes.truncate(bytes.len().saturating_sub(cut % 40));
            if let Ok(form) = form("f", Cursor::new(&bytes))
                && form.bytes() < 1 << 20
            {
                let _ = decode("f", Cursor::new(&bytes), form, &mut vec![0; form.bytes()], &mut Scratch::default());
            }
        }
    }
}
