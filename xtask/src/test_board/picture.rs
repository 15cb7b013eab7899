//! Pictures that a test looks at: PPM, as qemu takes them of displays, and JPEG, as the page of camera-demo has them. It reads
//! them, no more.

use anyhow::{Context, Result, ensure};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;

/// Red, green and blue.
pub type Color = [u8; 3];

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width and height.
    pub size: [usize; 2],
    /// Row by row.
    pixels: Vec<Color>,
}

impl Picture {
    /// Reads a PPM file of colors.
    ///
    /// # Errors
    /// Says what is not as expected.
    pub fn of_ppm(bytes: &[u8]) -> Result<Self> {
        let mut parts = bytes.splitn(5, u8::is_ascii_whitespace);
        let mut part = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        let (kind, width, height, most) = (part(), part(), part(), part());
        ensure!(
            kind == "P6" && most == "255",
            "a PPM file begins with {kind:?}, expected P6 with 255 levels"
        );
        let size = [width.parse().context("no width of a PPM file")?, height.parse().context("no height")?];
        Self::of_rgb(size, parts.next().unwrap_or_default())
    }

    /// Reads a JPEG file.
    ///
    /// # Errors
    /// When it is none of colors.
    pub fn of_jpeg(bytes: &[u8]) -> Result<Self> {
        let mut decoder = JpegDecoder::new(ZCursor::new(bytes));
        let rgb = decoder.decode().context("no JPEG file")?;
        let (width, height) = decoder.dimensions().context("a JPEG file without a size")?;
        Self::of_rgb([width, height], &rgb)
    }

    /// A picture of these bytes, three a pixel.
    ///
    /// # Errors
    /// When there are more or less than its size asks for.
    pub fn of_rgb(size: [usize; 2], bytes: &[u8]) -> Result<Self> {
        let [width, height] = size;
        let expected = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(3));
        ensure!(
            expected == Some(bytes.len()) && !bytes.is_empty(),
            "{} bytes for {width}x{height} pixels, expected 3 a pixel",
            bytes.len()
        );
        Ok(Self { size, pixels: bytes.as_chunks::<3>().0.to_vec() })
    }

    /// The color of a place within it.
    pub fn at(&self, [x, y]: [usize; 2]) -> Color {
        self.pixels[y * self.size[0] + x]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ppm_file_is_read_and_a_part_of_one_is_not() {
        let file = b"P6\n2 1\n255\n\x20\n\x01abc";
        let picture = Picture::of_ppm(file).unwrap();
        assert_eq!((picture.size, picture.at([0, 0]), picture.at([1, 0])), ([2, 1], [32, 10, 1], *b"abc"));
        for cut in 0..file.len() {
            assert!(Picture::of_ppm(&file[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Picture::of_ppm(b"P5\n1 1\n255\nabc").is_err());
        assert!(Picture::of_jpeg(file).is_err());
    }
}
