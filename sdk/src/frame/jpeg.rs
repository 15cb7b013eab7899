//! JPEG decoding that refuses truncated and damaged files, which lenient decoders fill with gray; where an image begins and ends
//! among other bytes.

mod bits;
mod header;
mod huffman;
mod idct;
mod motion;
mod pack;
mod scan;
mod standard;

use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::Image;

pub(crate) use motion::{Motion, Packing};

/// Sides of frames of video are no longer: 7680x4320 is the largest that is made.
const MAX_VIDEO_PX: usize = 8192;
/// Pixels that a byte can stand for: 512 where blocks of 8x8 take a bit, which is the least there is for their mean; twice as many
/// leave room for every way of sampling colors.
const MAX_PX_PER_BYTE: usize = 1024;

/// Which width and height a picture may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sides {
    /// All that JPEG knows.
    Any,
    /// Those that a frame of video has: what is damaged may claim others, which take gigabytes to decode.
    Video,
    /// These.
    Exactly([usize; 2]),
}

impl Sides {
    /// Whether a picture of `length` bytes may be as large as it says.
    fn check(self, [width_px, height_px]: [usize; 2], length: usize) -> Result<(), String> {
        let expected = match self {
            Self::Any => return Ok(()),
            Self::Exactly(expected) if expected == [width_px, height_px] => return Ok(()),
            Self::Exactly([width, height]) => format!("{width}x{height} were expected"),
            Self::Video if width_px.max(height_px) > MAX_VIDEO_PX => {
                format!("{MAX_VIDEO_PX}x{MAX_VIDEO_PX} are the most that a frame of video has")
            }
            Self::Video if width_px * height_px > length.saturating_mul(MAX_PX_PER_BYTE) => {
                format!("{length} bytes cannot hold as many")
            }
            Self::Video => return Ok(()),
        };
        Err(format!("JPEG: {width_px}x{height_px} pixels where {expected}"))
    }
}

/// Decodes to RGB and tells how the EXIF data wants the image turned.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Image, Orientation), String> {
    let mut rgb = Vec::new();
    let (decoder, [width_px, height_px]) = read(bytes, Sides::Any, &mut rgb)?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    Ok((Image { width_px, height_px, rgb }, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Decodes to RGB, into memory that is used again and does not grow for an image of other sides than those; gives width and height.
/// As the image lies: a frame of video is not turned.
fn decode_into(bytes: &[u8], sides: Sides, rgb: &mut Vec<u8>) -> Result<[usize; 2], String> {
    read(bytes, sides, rgb).map(|(_, sides_px)| sides_px)
}

type Decoder<'b> = JpegDecoder<ZCursor<&'b [u8]>>;

fn read<'b>(bytes: &'b [u8], sides: Sides, rgb: &mut Vec<u8>) -> Result<(Decoder<'b>, [usize; 2]), String> {
    length(bytes).ok_or("JPEG: the file ends before the image does (no end marker)")?;
    let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| format!("JPEG: {e}"))?;
    let (width_px, height_px) = decoder.dimensions().ok_or("JPEG: no dimensions")?;
    sides.check([width_px, height_px], bytes.len())?;
    rgb.resize(decoder.output_buffer_size().ok_or("JPEG: more pixels than memory can hold")?, 0);
    decoder.decode_into(rgb).map_err(|e| format!("JPEG: {e}"))?;
    Ok((decoder, [width_px, height_px]))
}

/// Whether there are Huffman tables in front of the first scan.
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

/// Where an image ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Behind its end marker.
    Whole(usize),
    /// Without one, where another image begins.
    Cut(usize),
    /// Not among these bytes.
    Open,
}

/// Where the image that `bytes` begin with ends. Walks the segments (ITU-T T.81, B.1): a decoder does not miss the last bytes, and
/// thumbnails have end markers of their own.
pub(crate) fn end(bytes: &[u8]) -> End {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some((marker, after)) = next_marker(rest) {
        let at = bytes.len() - after.len();
        rest = match marker {
            EOI => return End::Whole(at),
            SOI => return End::Cut(at - 2),
            RST0..=RST7 | TEM => after,
            _ => skip_segment(after).unwrap_or_default(),
        };
    }
    End::Open
}

/// Bytes of the image that `bytes` begin with, up to its end marker; none where it is not there.
fn length(bytes: &[u8]) -> Option<usize> {
    match end(bytes) {
        End::Whole(length) => Some(length),
        End::Cut(_) | End::Open => None,
    }
}

const TEM: u8 = 0x01;
const RST0: u8 = 0xd0;
const RST7: u8 = 0xd7;
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;

/// The next marker and what follows it; entropy-coded bytes, `FF 00` and fill bytes are passed over.
fn next_marker(mut bytes: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        let at = first_ff(bytes)?;
        bytes = &bytes[at + 1..];
        match *bytes.first()? {
            0 => bytes = &bytes[1..],
            0xff => {}
            marker => return Some((marker, &bytes[1..])),
        }
    }
}

/// Where the first `FF` is. Most are far apart: eight bytes are looked at together.
fn first_ff(bytes: &[u8]) -> Option<usize> {
    let words = bytes.as_chunks().0.iter();
    let passed = 8 * words.take_while(|word| !bits::has_ff(u64::from_be_bytes(**word))).count();
    bytes[passed..].iter().position(|byte| *byte == 0xff).map(|at| passed + at)
}

/// Passes over a segment, whose length counts its own two bytes.
fn skip_segment(bytes: &[u8]) -> Option<&[u8]> {
    let [high, low, ..] = bytes else { return None };
    bytes.get(usize::from(u16::from_be_bytes([*high, *low])).max(2)..)
}

#[cfg(test)]
mod tests;
