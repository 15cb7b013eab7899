//! Pixels as cameras give them: brightness for every pixel, color for two or four together. Never converts (see
//! `preprocess`).

use artifact::Fault;

use super::Frame;
use crate::Error;

/// Borrowed pixels of any kind that can be looked at.
#[derive(Debug, Clone, Copy)]
pub enum Picture<'a> {
    /// Red, green and blue.
    Rgb(Frame<'a>),
    /// Brightness and color.
    Yuv(YuvFrame<'a>),
}

/// Borrowed pixels of a camera: 8 bits of Y for each pixel, U and V for groups of them. Both sides are even.
#[derive(Debug, Clone, Copy)]
pub struct YuvFrame<'a> {
    /// Pixels in a row.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// Where the samples lie.
    pub samples: Samples<'a>,
    /// What the samples mean.
    pub color: YuvColor,
}

/// Samples in memory. A stride is the bytes from one row to the next, padding included.
#[derive(Debug, Clone, Copy)]
pub enum Samples<'a> {
    /// A plane of Y, and a plane of U and V in turn for every 2×2 pixels.
    Nv12 {
        /// Rows of Y.
        luma: Plane<'a>,
        /// Half as many rows of U, V, U, V.
        chroma: Plane<'a>,
    },
    /// Rows of Y, U, Y, V: color for every 2×1 pixels.
    Yuyv(Plane<'a>),
}

/// Rows of bytes; the last row may end without its padding.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// From one row to the next.
    pub stride: usize,
}

/// How samples become colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct YuvColor {
    /// The matrix.
    pub matrix: Matrix,
    /// The values that black and white have.
    pub range: Range,
}

/// Weights of red, green and blue in Y.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Matrix {
    /// ITU-R BT.601: most cameras, and JPEG.
    #[default]
    Bt601,
    /// ITU-R BT.709: video of high definition.
    Bt709,
}

/// Values of black and white in Y.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Range {
    /// 16 to 235, as in video.
    #[default]
    Limited,
    /// 0 to 255, as in JPEG.
    Full,
}

impl<'a> From<Frame<'a>> for Picture<'a> {
    fn from(frame: Frame<'a>) -> Self {
        Self::Rgb(frame)
    }
}

impl<'a> From<YuvFrame<'a>> for Picture<'a> {
    fn from(frame: YuvFrame<'a>) -> Self {
        Self::Yuv(frame)
    }
}

impl Picture<'_> {
    /// Width and height in pixels.
    pub fn size_px(&self) -> (usize, usize) {
        match self {
            Self::Rgb(frame) => (frame.width_px, frame.height_px),
            Self::Yuv(frame) => (frame.width_px, frame.height_px),
        }
    }

    /// Fails unless the sides and the number of bytes fit together.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Rgb(frame) => frame.check(),
            Self::Yuv(frame) => frame.check(),
        }
    }
}

impl<'a> YuvFrame<'a> {
    /// A frame of densely packed NV12: the plane of U and V follows that of Y.
    ///
    /// # Errors
    /// [`Error::Input`] when a side is 0 or odd, or `bytes` are fewer than `width_px * height_px * 3 / 2`.
    pub fn nv12(width_px: usize, height_px: usize, bytes: &'a [u8], color: YuvColor) -> Result<Self, Error> {
        let pixels = width_px.saturating_mul(height_px);
        let (luma, chroma) = bytes.split_at_checked(pixels).unwrap_or((bytes, &[]));
        let plane = |bytes| Plane { bytes, stride: width_px };
        let samples = Samples::Nv12 { luma: plane(luma), chroma: plane(chroma) };
        let frame = Self { width_px, height_px, samples, color };
        frame.check()?;
        Ok(frame)
    }

    /// A frame of densely packed YUYV.
    ///
    /// # Errors
    /// [`Error::Input`] when a side is 0 or odd, or `bytes` are fewer than `width_px * height_px * 2`.
    pub fn yuyv(width_px: usize, height_px: usize, bytes: &'a [u8], color: YuvColor) -> Result<Self, Error> {
        let samples = Samples::Yuyv(Plane { bytes, stride: width_px.saturating_mul(2) });
        let frame = Self { width_px, height_px, samples, color };
        frame.check()?;
        Ok(frame)
    }

    /// Fails unless sides are even and the planes hold all rows.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self { width_px, height_px, samples, .. } = *self;
        let is_even = |side: usize| side > 0 && side.is_multiple_of(2);
        let holds = |plane: Plane<'_>, rows: usize, row: Option<usize>| {
            let row = row.filter(|row| *row <= plane.stride);
            let whole = row.and_then(|row| (rows - 1).checked_mul(plane.stride)?.checked_add(row));
            whole.is_some_and(|len| plane.bytes.len() >= len)
        };
        let is_whole = is_even(width_px)
            && is_even(height_px)
            && match samples {
                Samples::Nv12 { luma, chroma } => {
                    holds(luma, height_px, Some(width_px)) && holds(chroma, height_px / 2, Some(width_px))
                }
                Samples::Yuyv(plane) => holds(plane, height_px, width_px.checked_mul(2)),
            };
        if is_whole {
            return Ok(());
        }
        Err(Error::Input(Fault::new(
            format!("a frame of {width_px}x{height_px} pixels in {samples}"),
            "sides that are even and not 0, strides of at least a row, and bytes for all rows",
            "pass the size, strides and lengths that the camera's driver states",
        )))
    }
}

impl std::fmt::Display for Samples<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nv12 { luma, chroma } => write!(f, "NV12: Y {luma}, UV {chroma}"),
            Self::Yuyv(plane) => write!(f, "YUYV: {plane}"),
        }
    }
}

impl std::fmt::Display for Plane<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes in rows of {}", self.bytes.len(), self.stride)
    }
}

impl Plane<'_> {
    /// The first `len` bytes of row `number`.
    pub(crate) fn row(&self, number: usize, len: usize) -> &[u8] {
        &self.bytes[number * self.stride..][..len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_must_hold_all_rows() {
        let color = YuvColor::default();
        assert!(YuvFrame::nv12(4, 2, &[0; 12], color).is_ok());
        assert!(YuvFrame::yuyv(4, 2, &[0; 16], color).is_ok());
        for (width, height, len) in [(4, 2, 11), (3, 2, 12), (4, 3, 18), (0, 2, 0), (usize::MAX - 1, 2, 8)] {
            let error = YuvFrame::nv12(width, height, &vec![0; len], color).unwrap_err().to_string();
            assert!(error.contains(&format!("{width}x{height}")) && error.contains("NV12"), "{error}");
        }
        assert!(YuvFrame::yuyv(4, 2, &[0; 15], color).is_err());
    }

    #[test]
    fn the_last_row_needs_no_padding_but_strides_hold_a_row() {
        let with = |stride: usize, len: usize| {
            let bytes = vec![0; len];
            let plane = Plane { bytes: &bytes, stride };
            let frame = YuvFrame {
                width_px: 4,
                height_px: 2,
                samples: Samples::Yuyv(plane),
                color: YuvColor::default(),
            };
            frame.check().is_ok()
        };
        assert!(with(10, 18));
        assert!(!with(10, 17));
        assert!(!with(7, 100));
    }
}
