//! Pixels: frames on loan from a camera or a file, images that own theirs, and reading and writing image files.
//! Broken files are refused, never half-decoded. Never resizes (see `preprocess`).

pub(crate) mod jpeg;
mod yuv;

use std::io::Cursor;
use std::path::Path;

use artifact::Fault;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use crate::Error;

pub use yuv::{Matrix, Picture, Plane, Range, Samples, YuvColor, YuvFrame};

/// Endings of the files that [`read_image`] reads, in lower case.
pub const IMAGE_EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "bmp", "webp"];

/// Borrowed pixels: `height_px` rows of `width_px` RGB triples, densely packed.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Pixels in a row.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// `width_px * height_px * 3` bytes.
    pub rgb: &'a [u8],
}

impl<'a> Frame<'a> {
    /// A frame over `rgb`.
    ///
    /// # Errors
    /// [`Error::Input`] when a side is 0 or `rgb` has another length than `width_px * height_px * 3`.
    pub fn new(width_px: usize, height_px: usize, rgb: &'a [u8]) -> Result<Self, Error> {
        let frame = Self { width_px, height_px, rgb };
        frame.check()?;
        Ok(frame)
    }

    /// Fails unless the sides and the number of bytes fit together.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let expected = self.width_px.checked_mul(self.height_px).and_then(|n| n.checked_mul(3));
        if expected.is_some_and(|len| len > 0 && len == self.rgb.len()) {
            return Ok(());
        }
        Err(Error::Input(Fault::new(
            format!("a frame of {}x{} pixels with {} bytes", self.width_px, self.height_px, self.rgb.len()),
            "width * height * 3 bytes, and at least one pixel",
            "pass densely packed RGB without row padding",
        )))
    }
}

/// Owned pixels, as [`Frame`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Pixels in a row.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// `width_px * height_px * 3` bytes.
    pub rgb: Vec<u8>,
}

impl Image {
    /// An image of one color.
    pub fn filled(width_px: usize, height_px: usize, rgb: [u8; 3]) -> Self {
        Self { width_px, height_px, rgb: rgb.repeat(width_px * height_px) }
    }

    /// Lends the pixels.
    pub fn frame(&self) -> Frame<'_> {
        Frame { width_px: self.width_px, height_px: self.height_px, rgb: &self.rgb }
    }
}

/// Reads a JPEG, PNG, BMP or WebP file as RGB, upright (the EXIF orientation is applied, as OpenCV does). Alpha is
/// dropped, gray is repeated.
///
/// # Errors
/// [`Error::Input`] naming the file when it is missing, truncated, damaged, or of another format.
pub fn read_image(path: &Path) -> Result<Image, Error> {
    let bytes = std::fs::read(path).map_err(|e| {
        unusable(path, &e.to_string(), "an image file", "check the path and that you may read it")
    })?;
    parse_image(&path.display().to_string(), &bytes)
}

/// As [`read_image`], from the bytes of a file that errors call `name`.
///
/// # Errors
/// As [`read_image`].
pub fn parse_image(name: &str, bytes: &[u8]) -> Result<Image, Error> {
    decode_image(bytes).map_err(|reason| {
        unusable(
            Path::new(name),
            &reason,
            "a whole JPEG, PNG, BMP or WebP image",
            "copy or save the file again, or leave it out",
        )
    })
}

/// Writes `image` to `path` as PNG, atomically.
///
/// # Errors
/// [`Error::Artifact`] with the path when the file cannot be written.
pub fn write_png(path: &Path, image: &Image) -> Result<(), Error> {
    let mut png = Cursor::new(Vec::new());
    let encoded = image
        .to_rgb_image()
        .and_then(|pixels| pixels.write_to(&mut png, ImageFormat::Png).map_err(|e| e.to_string()));
    encoded.map_err(|reason| {
        unusable(path, &reason, "an image that PNG can hold", "give it at least one pixel")
    })?;
    Ok(artifact::atomic::write(path, png.get_ref())?)
}

/// Decodes the bytes of an image file; the error is a sentence.
fn decode_image(bytes: &[u8]) -> Result<Image, String> {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => {
            let (image, orientation) = jpeg::decode(bytes)?;
            Ok(upright(image.to_rgb_image()?, orientation))
        }
        Ok(format) => decode_other(bytes, format),
        Err(_) if bytes.is_empty() => Err("the file is empty".into()),
        Err(_) => Err("its first bytes are of no image format we know".into()),
    }
}

fn decode_other(bytes: &[u8], format: ImageFormat) -> Result<Image, String> {
    let reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let pixels = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    Ok(upright(pixels.into_rgb8(), orientation))
}

fn upright(pixels: RgbImage, orientation: Orientation) -> Image {
    let mut pixels = DynamicImage::ImageRgb8(pixels);
    pixels.apply_orientation(orientation);
    let pixels = pixels.into_rgb8();
    let (width_px, height_px) = (pixels.width() as usize, pixels.height() as usize);
    Image { width_px, height_px, rgb: pixels.into_raw() }
}

impl Image {
    fn to_rgb_image(&self) -> Result<RgbImage, String> {
        let side = |px: usize| u32::try_from(px).map_err(|_| format!("a side of {px} pixels"));
        RgbImage::from_raw(side(self.width_px)?, side(self.height_px)?, self.rgb.clone())
            .ok_or_else(|| "fewer bytes than pixels".into())
    }
}

fn unusable(path: &Path, reason: &str, expected: &str, hint: &str) -> Error {
    Error::Input(Fault::new(format!("{}: {reason}", path.display()), expected, hint))
}

#[cfg(test)]
mod tests;
