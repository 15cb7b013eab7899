//! JPEG decoding that refuses truncated and damaged files, which lenient decoders fill with gray; where an image begins and ends
//! among other bytes.

use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::Image;

/// Decodes to RGB and tells how the EXIF data wants the image turned.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Image, Orientation), String> {
    let mut rgb = Vec::new();
    let (decoder, [width_px, height_px]) = read(bytes, None, &mut rgb)?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    Ok((Image { width_px, height_px, rgb }, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Decodes to RGB, into memory that is used again, and gives width and height, which must be those that are expected, if any are.
/// As the image lies: a frame of video is not turned.
pub(crate) fn decode_into(
    bytes: &[u8],
    expected_px: Option<[usize; 2]>,
    rgb: &mut Vec<u8>,
) -> Result<[usize; 2], String> {
    read(bytes, expected_px, rgb).map(|(_, sides_px)| sides_px)
}

type Decoder<'b> = JpegDecoder<ZCursor<&'b [u8]>>;

fn read<'b>(
    bytes: &'b [u8],
    expected_px: Option<[usize; 2]>,
    rgb: &mut Vec<u8>,
) -> Result<(Decoder<'b>, [usize; 2]), String> {
    length(bytes).ok_or("JPEG: the file ends before the image does (no end marker)")?;
    let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| format!("JPEG: {e}"))?;
    let (width_px, height_px) = decoder.dimensions().ok_or("JPEG: no dimensions")?;
    if let Some([width, height]) = expected_px.filter(|expected| *expected != [width_px, height_px]) {
        return Err(format!("JPEG: {width_px}x{height_px} pixels where {width}x{height} were expected"));
    }
    rgb.resize(decoder.output_buffer_size().ok_or("JPEG: more pixels than memory can hold")?, 0);
    decoder.decode_into(rgb).map_err(|e| format!("JPEG: {e}"))?;
    Ok((decoder, [width_px, height_px]))
}

/// As [`decode_into`], for an image of a camera's Motion JPEG, which may leave out the Huffman tables that all of them share; it
/// is then put together in `scratch`.
#[cfg(feature = "v4l2")]
pub(crate) fn decode_motion(
    bytes: &[u8],
    expected_px: [usize; 2],
    rgb: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
) -> Result<(), String> {
    if has_tables(bytes) {
        return decode_into(bytes, Some(expected_px), rgb).map(|_| ());
    }
    let length = length(bytes).ok_or("JPEG: the image has no end marker")?;
    scratch.clear();
    for part in [&bytes[..2], &MOTION, &bytes[2..length]] {
        scratch.extend_from_slice(part);
    }
    decode_into(scratch, Some(expected_px), rgb).map(|_| ())
}

/// The segment by which AVI files mark images that leave the tables out (Library of Congress, "MJPEG", fdd000063); the
/// decoder then puts in those of ITU-T T.81, K.3.
#[cfg(feature = "v4l2")]
const MOTION: [u8; 9] = *b"\xff\xe0\x00\x07AVI1\0";

/// Whether there are Huffman tables in front of the first scan.
#[cfg(feature = "v4l2")]
fn has_tables(bytes: &[u8]) -> bool {
    const DHT: u8 = 0xc4;
    const SOS: u8 = 0xda;
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some((marker, after)) = next_marker(rest) {
        rest = match marker {
            DHT => return true,
            SOS | EOI => return false,
            RST0..=RST7 | TEM => after,
            _ => skip_segment(after).unwrap_or_default(),
        };
    }
    false
}

/// Bytes in front of the first image, or of what may be the beginning of one.
pub(crate) fn start(bytes: &[u8]) -> usize {
    let found = bytes.windows(2).position(|pair| pair == [0xff, SOI]);
    found.unwrap_or_else(|| bytes.len() - usize::from(bytes.last() == Some(&0xff)))
}

/// Bytes of the image that `bytes` begin with, up to its end marker; none where it is not there. Walks the segments
/// (ITU-T T.81, B.1): a decoder does not miss the last bytes, and thumbnails have end markers of their own.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes.get(2..)?;
    while let Some((marker, after)) = next_marker(rest) {
        rest = match marker {
            EOI => return Some(bytes.len() - after.len()),
            RST0..=RST7 | TEM => after,
            _ => skip_segment(after).unwrap_or_default(),
        };
    }
    None
}

const TEM: u8 = 0x01;
const RST0: u8 = 0xd0;
const RST7: u8 = 0xd7;
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;

/// The next marker and what follows it; entropy-coded bytes, `FF 00` and fill bytes are passed over.
fn next_marker(mut bytes: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        let at = bytes.iter().position(|&b| b == 0xff)?;
        bytes = &bytes[at + 1..];
        match *bytes.first()? {
            0 => bytes = &bytes[1..],
            0xff => {}
            marker => return Some((marker, &bytes[1..])),
        }
    }
}

/// Passes over a segment, whose length counts its own two bytes.
fn skip_segment(bytes: &[u8]) -> Option<&[u8]> {
    let [high, low, ..] = bytes else { return None };
    bytes.get(usize::from(u16::from_be_bytes([*high, *low])).max(2)..)
}
