//! Image sizes from file headers, and the cheap sign of a truncated file: its end marker is missing. Decodes no pixels.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use image::metadata::Orientation;
use image::{ImageDecoder, ImageReader};
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::BrokenFile;

/// Bytes at the end of a file searched for its end marker; cameras append a little.
const TAIL_BYTES: u64 = 4096;

/// Width and height in pixels of the image file at `path`, upright.
///
/// # Errors
/// Names the file when it is missing, no image, or ends before its end marker (JPEG's EOI, PNG's IEND).
pub(super) fn image_size(path: &Path) -> Result<(u32, u32), BrokenFile> {
    let broken = |reason: String| BrokenFile::whole(path, reason);
    let mut file = File::open(path).map_err(|e| broken(format!("cannot open the image: {e}")))?;
    let mut magic = [0_u8; 8];
    let read = file.read(&mut magic).map_err(|e| broken(format!("cannot read the image: {e}")))?;
    file.rewind().map_err(|e| broken(format!("cannot read the image: {e}")))?;
    let (size, end_marker): (_, &[u8]) = match &magic[..read] {
        [] => return Err(broken("the image file is empty".into())),
        [0xFF, 0xD8, ..] => (jpeg_size(&file).map_err(broken)?, &[0xFF, 0xD9]),
        b"\x89PNG\r\n\x1a\n" => (other_size(path).map_err(broken)?, b"IEND"),
        _ => (other_size(path).map_err(broken)?, &[]),
    };
    if size.0 == 0 || size.1 == 0 {
        return Err(broken(format!("the image is {} × {} pixels", size.0, size.1)));
    }
    if !tail_has(&mut file, end_marker).map_err(|e| broken(format!("cannot read the image: {e}")))? {
        return Err(broken("the image is truncated: its end marker is missing".into()));
    }
    Ok(size)
}

fn jpeg_size(file: &File) -> Result<(u32, u32), String> {
    let mut decoder = JpegDecoder::new_with_options(BufReader::new(file), DecoderOptions::default());
    decoder.decode_headers().map_err(|e| format!("not a readable JPEG: {e:?}"))?;
    let info = decoder.info().ok_or("not a readable JPEG: no frame header")?;
    let turned = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    Ok(upright((u32::from(info.width), u32::from(info.height)), turned))
}

fn other_size(path: &Path) -> Result<(u32, u32), String> {
    let mut decoder = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|e| format!("cannot read the image: {e}"))?
        .into_decoder()
        .map_err(|e| format!("not a readable image: {e}"))?;
    Ok(upright(decoder.dimensions(), decoder.orientation().ok()))
}

/// The size after the turn that `repedge::frame::read_image` makes for EXIF orientations.
fn upright((width, height): (u32, u32), orientation: Option<Orientation>) -> (u32, u32) {
    match orientation {
        Some(
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH,
        ) => (height, width),
        _ => (width, height),
    }
}

fn tail_has(file: &mut File, marker: &[u8]) -> std::io::Result<bool> {
    if marker.is_empty() {
        return Ok(true);
    }
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    Ok(tail.windows(marker.len()).any(|window| window == marker))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_from_the_header_and_truncation_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        image::RgbImage::new(31, 17).save(&path).unwrap();
        assert_eq!(image_size(&path).unwrap(), (31, 17));

        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 8]).unwrap();
        assert!(image_size(&path).unwrap_err().reason.contains("truncated"));
        std::fs::write(&path, []).unwrap();
        assert!(image_size(&path).unwrap_err().reason.contains("empty"));
        std::fs::write(&path, b"no image at all").unwrap();
        assert!(image_size(&path).is_err());
        assert!(image_size(&dir.path().join("none.png")).unwrap_err().reason.contains("cannot open"));
    }

    #[test]
    fn sizes_are_upright_as_the_image_reader_turns_them() {
        // A TIFF header and one directory entry: orientation (0x0112), one short, 6 = turn right by a quarter.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        let mut jpeg = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
        image::ImageEncoder::set_exif_metadata(&mut encoder, exif).unwrap();
        encoder.encode_image(&image::RgbImage::new(31, 17)).unwrap();
        std::fs::write(&path, jpeg).unwrap();
        assert_eq!(image_size(&path).unwrap(), (17, 31));
        let image = repedge::frame::read_image(&path).unwrap();
        assert_eq!((image.width_px, image.height_px), (17, 31));
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes: Vec<u8>, kind in 0..3) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.jpg");
            let magic: &[u8] = match kind { 0 => &[0xFF, 0xD8, 0xFF, 0xC0], 1 => b"\x89PNG\r\n\x1a\n", _ => b"" };
            bytes.splice(0..0, magic.iter().copied());
            std::fs::write(&path, bytes).unwrap();
            let _ = image_size(&path);
        }
    }
}
