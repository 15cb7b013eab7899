use proptest::prelude::*;

use super::*;

const BASELINE: &[u8] = include_bytes!("../../tests/data/baseline.jpg");
const PROGRESSIVE: &[u8] = include_bytes!("../../tests/data/progressive.jpg");
const RESTARTS: &[u8] = include_bytes!("../../tests/data/restarts.jpg");
const GRAY: &[u8] = include_bytes!("../../tests/data/gray.jpg");

fn pixel(image: &Image, x: usize, y: usize) -> [u8; 3] {
    let start = (y * image.width_px + x) * 3;
    image.rgb[start..start + 3].try_into().unwrap()
}

/// `jpeg` with an EXIF segment that asks for `orientation`.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut tiff = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    tiff.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(tiff.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &tiff, &jpeg[2..]].concat()
}

fn png(image: &Image) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.to_rgb_image().unwrap().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A colorful image of 6x4 pixels.
fn sample() -> Image {
    Image { width_px: 6, height_px: 4, rgb: (0..72).map(|i| i * 3).collect() }
}

#[test]
fn jpegs_of_all_kinds_are_read() {
    for (name, jpeg) in [("baseline", BASELINE), ("progressive", PROGRESSIVE), ("restarts", RESTARTS)] {
        let image = decode_image(jpeg).unwrap();
        assert_eq!((image.width_px, image.height_px), (28, 20), "{name}");
        let [r, g, b] = pixel(&image, 10, 7);
        // OpenCV reads (34, 17, 255) and (250, 20, 30) in BGR was drawn.
        assert!(r.abs_diff(30) < 12 && g.abs_diff(20) < 12 && b.abs_diff(250) < 12, "{name}: {r} {g} {b}");
    }
    let gray = decode_image(GRAY).unwrap();
    let [r, g, b] = pixel(&gray, 20, 15);
    assert!(r == g && g == b && r.abs_diff(180) < 8, "{r} {g} {b}");
}

#[test]
fn jpegs_truncated_anywhere_are_refused() {
    for jpeg in [BASELINE, PROGRESSIVE, RESTARTS, GRAY] {
        for len in 0..jpeg.len() {
            assert!(decode_image(&jpeg[..len]).is_err(), "{len} of {} bytes passed for an image", jpeg.len());
        }
    }
}

#[test]
fn bytes_after_a_jpeg_do_no_harm() {
    assert_eq!(decode_image(&[BASELINE, b"trailer"].concat()), decode_image(BASELINE));
}

#[test]
fn exif_orientation_is_applied() {
    let upright = decode_image(BASELINE).unwrap();
    let turned = decode_image(&with_orientation(BASELINE, 6)).unwrap();
    assert_eq!((turned.width_px, turned.height_px), (20, 28));
    // 6: to be turned by 90° clockwise; the top left corner goes to the top right.
    assert_eq!(pixel(&turned, 19, 0), pixel(&upright, 0, 0));
    assert_eq!(pixel(&turned, 0, 0), pixel(&upright, 0, 19));
    let mirrored = decode_image(&with_orientation(BASELINE, 2)).unwrap();
    assert_eq!(pixel(&mirrored, 27, 5), pixel(&upright, 0, 5));
    assert_eq!(decode_image(&with_orientation(BASELINE, 1)).unwrap(), upright);
}

#[test]
fn pngs_survive_a_round_trip_and_truncated_ones_are_refused() {
    let png = png(&sample());
    assert_eq!(decode_image(&png).unwrap(), sample());
    // The last 12 bytes are the end chunk, which holds no pixels.
    for len in 0..png.len() - 12 {
        assert!(decode_image(&png[..len]).is_err(), "{len} of {} bytes passed for an image", png.len());
    }
}

#[test]
fn errors_name_the_file_and_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cell.jpg");
    let reason = |path: &Path| read_image(path).unwrap_err().to_string();
    assert!(reason(&path).contains("cell.jpg"));
    std::fs::write(&path, &BASELINE[..BASELINE.len() - 2]).unwrap();
    assert!(reason(&path).contains("cell.jpg: JPEG: the file ends before the image does"));
    std::fs::write(&path, b"").unwrap();
    assert!(reason(&path).contains("the file is empty"));
    std::fs::write(&path, b"<html>").unwrap();
    assert!(reason(&path).contains("no image format we know"));
    assert!(reason(dir.path()).contains(&dir.path().display().to_string()));
}

#[test]
fn a_written_png_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/deep/a.png");
    write_png(&path, &sample()).unwrap();
    assert_eq!(read_image(&path).unwrap(), sample());
    assert!(write_png(&path, &Image { width_px: 2, height_px: 2, rgb: vec![0; 3] }).is_err());
    assert_eq!(read_image(&path).unwrap(), sample());
}

#[test]
fn frames_know_their_size() {
    assert!(Frame::new(2, 2, &[0; 12]).is_ok());
    for (width_px, height_px, len) in [(2, 2, 13), (0, 2, 0), (usize::MAX, usize::MAX, 3)] {
        assert!(Frame::new(width_px, height_px, &vec![0; len]).is_err());
    }
}

proptest! {
    #[test]
    fn damaged_images_never_panic(
        at in any::<proptest::sample::Index>(),
        patch in proptest::collection::vec(any::<u8>(), 1..8),
        which in 0_usize..5,
    ) {
        let png = png(&sample());
        let mut bytes = [BASELINE, PROGRESSIVE, RESTARTS, GRAY, &png][which].to_vec();
        let at = at.index(bytes.len());
        let end = (at + patch.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&patch[..end - at]);
        if let Ok(image) = decode_image(&bytes) {
            prop_assert_eq!(image.rgb.len(), image.width_px * image.height_px * 3);
        }
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 2..300)) {
        bytes[..2].copy_from_slice(&[0xff, 0xd8]);
        let _ = decode_image(&bytes);
    }
}
