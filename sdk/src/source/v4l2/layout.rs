//! Where a camera's pixels lie in its buffers, what their values mean, and taking them out without padding. Pure: it
//! asks no driver, and trusts none: what a buffer does not hold is an error.

use std::fmt;

use artifact::Fault;

use super::offer::Code;
use crate::frame::jpeg::{self, Motion, Sides};
use crate::frame::{Matrix, Plane, Range, Samples, YuvColor, YuvFrame};
use crate::preprocess::rga::{DmaLayout, DmaPacking};
use crate::source::{Shot, unpack};

/// Longest side of a frame.
const MAX_SIDE_PX: u32 = 1 << 14;

/// The planes of a buffer; where there is one, the second is empty.
pub(super) type Planes<'a> = [&'a [u8]; 2];

/// What a driver says of the format it was set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DriverFormat {
    pub(super) code: Code,
    pub(super) sides_px: [u32; 2],
    /// Bytes from row to row of each plane.
    pub(super) strides: [u32; 2],
    pub(super) colorspace: u32,
    pub(super) encoding: u32,
    pub(super) quantization: u32,
}

/// Where pixels lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) width_px: usize,
    pub(super) height_px: usize,
    pub(super) packing: Packing,
}

/// How they are packed. Strides are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// U and V behind Y, all in rows of `stride`.
    Nv12 { stride: usize, color: YuvColor },
    /// Y in one plane, U and V in another.
    Nv12Planes { strides: [usize; 2], color: YuvColor },
    /// One plane.
    Yuyv { stride: usize, color: YuvColor },
    /// An image file.
    Jpeg,
}

impl DriverFormat {
    /// Where pixels lie in buffers of this format.
    ///
    /// # Errors
    /// When it is none that we read, or its sides or strides cannot be.
    pub(super) fn layout(&self) -> Result<Layout, Fault> {
        let [width_px, height_px] = self.sides_px.map(|side| side.min(MAX_SIDE_PX + 1) as usize);
        let strides = self.strides.map(|stride| stride as usize);
        let (color, wide) = (self.color(), width_px);
        let (packing, row) = match self.code {
            Code::NV12 => (Packing::Nv12 { stride: strides[0], color }, wide),
            Code::NM12 => (Packing::Nv12Planes { strides, color }, wide),
            Code::YUYV => (Packing::Yuyv { stride: strides[0], color }, 2 * wide),
            Code::MJPG | Code::JPEG => (Packing::Jpeg, 0),
            _ => return Err(self.fault("a format that we read")),
        };
        let is_even = packing == Packing::Jpeg || (width_px.is_multiple_of(2) && height_px.is_multiple_of(2));
        let is_sized = self.sides_px.iter().all(|side| (1..=MAX_SIDE_PX).contains(side));
        let is_wide = strides[0] >= row && (self.code != Code::NM12 || strides[1] >= row);
        if !(is_even && is_sized && is_wide) {
            return Err(self.fault("even sides of at most 16384 pixels and strides of at least a row"));
        }
        Ok(Layout { width_px, height_px, packing })
    }

    fn fault(&self, expected: &str) -> Fault {
        let found = format!("a driver that set {self} in rows of {:?} bytes", self.strides);
        Fault::new(found, expected, "wish for another size or format")
    }

    /// What the values mean. The defaults are those of `V4L2_MAP_YCBCR_ENC_DEFAULT` and
    /// `V4L2_MAP_QUANTIZATION_DEFAULT`, as the kernel's V4L2 documentation states them under "Defining Colorspaces"; the
    /// numbers are those of `enum v4l2_colorspace`, `v4l2_ycbcr_encoding` and `v4l2_quantization` there.
    fn color(&self) -> YuvColor {
        const REC709: u32 = 3;
        const SMPTE240M: u32 = 2;
        const JPEG: u32 = 7;
        const BT2020: u32 = 10;
        const DCI_P3: u32 = 12;
        let matrix = match (self.encoding, self.colorspace) {
            // 601, xvYCC 601 and sYCC.
            (1 | 3 | 5, _) => Matrix::Bt601,
            // 709, xvYCC 709; and what lies nearer to it than to 601: BT.2020 and SMPTE 240M.
            (2 | 4 | 6 | 7 | 8, _) | (_, REC709 | SMPTE240M | BT2020 | DCI_P3) => Matrix::Bt709,
            _ => Matrix::Bt601,
        };
        let range = match (self.quantization, self.colorspace) {
            (1, _) | (0, JPEG) => Range::Full,
            _ => Range::Limited,
        };
        YuvColor { matrix, range }
    }
}

impl fmt::Display for DriverFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, sides_px: [width, height], .. } = self;
        write!(f, "{width}x{height} pixels as {code}")
    }
}

impl Layout {
    /// The pixels in `planes`, where they lie; none where they are an image file.
    ///
    /// # Errors
    /// A sentence, when the planes do not hold all rows.
    pub(super) fn look<'a>(&self, [first, second]: Planes<'a>) -> Result<Option<YuvFrame<'a>>, String> {
        if let Some(layout) = self.dma() {
            return unpack::look(&layout, first).map(Some).map_err(|error| error.to_string());
        }
        let Self { width_px, height_px, packing } = *self;
        let Packing::Nv12Planes { strides, color } = packing else { return Ok(None) };
        let luma = Plane { bytes: first, stride: strides[0] };
        let samples = Samples::Nv12 { luma, chroma: Plane { bytes: second, stride: strides[1] } };
        let frame = YuvFrame { width_px, height_px, samples, color };
        frame.check().map_err(|error| error.to_string())?;
        Ok(Some(frame))
    }

    /// How devices find the pixels in a buffer of one plane; none where they are an image file, or in two.
    pub(super) fn dma(&self) -> Option<DmaLayout> {
        let Self { width_px, height_px, packing } = *self;
        let (packing, color) = match packing {
            Packing::Nv12 { stride, color } => (DmaPacking::Nv12 { stride }, color),
            Packing::Yuyv { stride, color } => (DmaPacking::Yuyv { stride }, color),
            Packing::Nv12Planes { .. } | Packing::Jpeg => return None,
        };
        Some(DmaLayout { width_px, height_px, packing, color })
    }

    /// Says in `shot` what the frame in `planes` is, and leaves its pixels there.
    ///
    /// # Errors
    /// A sentence, when the planes do not hold all rows.
    pub(super) fn leave(&self, planes: Planes<'_>, shot: &mut Shot) -> Result<(), String> {
        let frame = self.look(planes)?;
        frame.iter().for_each(|frame| unpack::leave(frame, shot));
        Ok(())
    }

    /// Puts the pixels of `planes` into `shot`; images are decoded by `motion`, whose memory is used again.
    ///
    /// # Errors
    /// A sentence, when the planes do not hold all rows, or no whole image of the camera's size.
    pub(super) fn unpack(
        &self,
        planes: Planes<'_>,
        shot: &mut Shot,
        motion: &mut Motion,
    ) -> Result<(), String> {
        if let Some(frame) = self.look(planes)? {
            unpack::copy(&frame, shot);
            return Ok(());
        }
        // Some drivers put bytes in front of an image, and all leave the rest of the buffer as it was.
        let bytes = &planes[0][jpeg::start(planes[0])..];
        unpack::decode(motion, bytes, Sides::Exactly([self.width_px, self.height_px]), shot).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::source::Format;

    fn format(code: Code, sides_px: [u32; 2], strides: [u32; 2]) -> DriverFormat {
        DriverFormat { code, sides_px, strides, colorspace: 0, encoding: 0, quantization: 0 }
    }

    fn unpacked(format: DriverFormat, planes: Planes<'_>) -> Result<Shot, String> {
        let mut shot = Shot { bytes: vec![9; 3], ..Shot::default() };
        format.layout().unwrap().unpack(planes, &mut shot, &mut Motion::default())?;
        shot.picture().unwrap();
        Ok(shot)
    }

    #[test]
    fn padding_is_left_behind() {
        let expected = [1, 2, 3, 4, 5, 6, 7, 8, 21, 22, 23, 24];
        let padded = [1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 0, 0, 21, 22, 23, 24];
        let (nv12, nm12) = (Code::NV12, Code::NM12);
        assert_eq!(unpacked(format(nv12, [4, 2], [6, 0]), [&padded, &[]]).unwrap().bytes, expected);
        assert_eq!(unpacked(format(nv12, [4, 2], [4, 0]), [&expected, &[]]).unwrap().bytes, expected);
        let planes: Planes<'_> = [&padded[..10], &padded[12..]];
        assert_eq!(unpacked(format(nm12, [4, 2], [6, 8]), planes).unwrap().bytes, expected);
        let yuyv = unpacked(format(Code::YUYV, [2, 2], [6, 0]), [&padded[..10], &[]]).unwrap();
        assert_eq!((yuyv.bytes, yuyv.format), (expected[..8].to_vec(), Format::Yuyv(YuvColor::default())));
    }

    #[test]
    fn devices_are_told_of_what_lies_in_one_buffer() {
        let dma = |code| format(code, [4, 2], [32, 32]).layout().unwrap().dma().map(|dma| dma.packing);
        assert_eq!(dma(Code::NV12), Some(DmaPacking::Nv12 { stride: 32 }));
        assert_eq!(dma(Code::YUYV), Some(DmaPacking::Yuyv { stride: 32 }));
        assert_eq!((dma(Code::NM12), dma(Code::MJPG)), (None, None));
    }

    #[test]
    fn buffers_that_are_too_short_are_told() {
        let short = |code, len| unpacked(format(code, [4, 2], [6, 6]), [&vec![0; len], &[]]).unwrap_err();
        assert!(short(Code::NV12, 15).contains("4x2"));
        assert!(short(Code::NV12, 0).contains("NV12"));
        assert!(short(Code::NM12, 12).contains("NV12"));
    }

    #[test]
    fn a_shots_memory_is_used_again() {
        let layout = format(Code::NV12, [4, 2], [8, 0]).layout().unwrap();
        let (buffer, mut shot, mut motion) = ([7; 24], Shot::default(), Motion::default());
        layout.unpack([&buffer, &[]], &mut shot, &mut motion).unwrap();
        let place = shot.bytes.as_ptr();
        layout.unpack([&buffer, &[]], &mut shot, &mut motion).unwrap();
        assert_eq!((shot.bytes.as_ptr(), motion.capacity()), (place, 0));
    }

    #[test]
    fn memory_of_jpeg_is_used_again() {
        let layout = format(Code::MJPG, [16, 8], [0, 0]).layout().unwrap();
        let (mut shot, mut motion) = (Shot::default(), Motion::default());
        let (whole, bare) = (image(), without_tables(image()));
        layout.unpack([&whole, &[]], &mut shot, &mut motion).unwrap();
        let memory = (shot.bytes.as_ptr(), motion.capacity());
        for buffer in [&whole[..], &bare, &whole[..200], &whole] {
            let _ = layout.unpack([buffer, &[]], &mut shot, &mut motion);
            assert_eq!((shot.bytes.as_ptr(), motion.capacity()), memory);
        }
    }

    #[test]
    fn a_jpeg_of_another_size_than_the_cameras_is_damaged() {
        for bytes in [image(), without_tables(image())] {
            for sides_px in [[8, 16], [16, 16], [32, 8]] {
                let said = unpacked(format(Code::MJPG, sides_px, [0, 0]), [&bytes, &[]]).unwrap_err();
                let [width, height] = sides_px;
                let expected = format!("16x8 pixels where {width}x{height} were expected");
                assert!(said.contains(&expected), "{said}");
            }
        }
    }

    #[test]
    fn drivers_are_not_trusted() {
        let refused = |code, sides, strides| format(code, sides, strides).layout().unwrap_err().to_string();
        assert!(refused(Code::NV12, [4, 2], [3, 0]).contains("rows of [3, 0]"));
        assert!(refused(Code::NM12, [4, 2], [4, 3]).contains("rows of [4, 3]"));
        assert!(refused(Code::YUYV, [4, 2], [7, 0]).contains("YUYV"));
        assert!(refused(Code::NV12, [5, 2], [8, 0]).contains("5x2"));
        assert!(refused(Code::YUYV, [0, 2], [8, 0]).contains("0x2"));
        assert!(refused(Code::MJPG, [u32::MAX, 2], [0, 0]).contains("16384"));
        assert!(refused(Code(*b"NV16"), [4, 2], [4, 4]).contains("NV16"));
    }

    #[test]
    fn colors_are_what_the_driver_says_or_the_kernels_defaults() {
        let color = |colorspace, encoding, quantization| {
            DriverFormat { colorspace, encoding, quantization, ..format(Code::NV12, [4, 2], [4, 0]) }.color()
        };
        let is = |matrix, range| YuvColor { matrix, range };
        assert_eq!(color(0, 0, 0), YuvColor::default());
        // sRGB is what most UVC cameras state; JPEG is full by default.
        assert_eq!(color(8, 0, 0), is(Matrix::Bt601, Range::Limited));
        assert_eq!(color(7, 0, 0), is(Matrix::Bt601, Range::Full));
        assert_eq!(color(3, 0, 0), is(Matrix::Bt709, Range::Limited));
        assert_eq!(color(3, 1, 1), is(Matrix::Bt601, Range::Full));
        assert_eq!(color(7, 2, 2), is(Matrix::Bt709, Range::Limited));
    }

    /// A gray image, as a camera sends it.
    fn image() -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let pixels = image::RgbImage::from_pixel(16, 8, image::Rgb([90; 3]));
        pixels.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    /// The image without its Huffman tables.
    fn without_tables(mut bytes: Vec<u8>) -> Vec<u8> {
        while let Some(at) = bytes.windows(2).position(|mark| mark == [0xff, 0xc4]) {
            let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            bytes.drain(at..at + 2 + length);
        }
        bytes
    }

    #[test]
    fn jpeg_is_decoded_wherever_it_begins_and_whatever_follows() {
        let format = format(Code::MJPG, [16, 8], [0, 0]);
        let buffer = [&[0; 7][..], &image(), &[0; 50]].concat();
        let shot = unpacked(format, [&buffer, &[]]).unwrap();
        assert_eq!((shot.width_px, shot.height_px, shot.format), (16, 8, Format::Rgb));
        assert!(shot.bytes.iter().all(|value| value.abs_diff(90) <= 2));
        for broken in [&[][..], &[0; 9], &image()[..200]] {
            assert!(unpacked(format, [broken, &[]]).unwrap_err().starts_with("JPEG"));
        }
    }

    #[test]
    fn jpeg_without_tables_is_what_cameras_send_as_mjpeg() {
        let bytes = without_tables(image());
        let shot = unpacked(format(Code::MJPG, [16, 8], [0, 0]), [&bytes, &[]]).unwrap();
        assert!(shot.bytes.iter().all(|value| value.abs_diff(90) <= 2));
    }

    proptest! {
        #[test]
        fn no_buffer_and_no_format_makes_it_panic(
            code in prop::sample::select(vec![Code::NV12, Code::NM12, Code::YUYV, Code::MJPG]),
            sides in prop::array::uniform2(0u32..20), strides in prop::array::uniform2(0u32..50),
            first in prop::collection::vec(any::<u8>(), 0..700), second in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let Ok(layout) = format(code, sides, strides).layout() else { return Ok(()) };
            let mut shot = Shot::default();
            if layout.unpack([&first, &second], &mut shot, &mut Motion::default()).is_ok() {
                prop_assert!(shot.picture().is_ok());
            }
        }
    }
}
