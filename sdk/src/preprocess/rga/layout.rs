//! Frames and inputs in DMA-BUFs, and whether RGA can read and write them as they lie. Pure: it asks no device.
//!
//! The limits are those of Rockchip's RGA developer guide, the narrowest of RGA2 and RGA3 where both may be at work, as on RK3588.

use std::os::fd::BorrowedFd;

use super::failure::{RgaError, RgaFailure};
use super::ffi::{self, Area, Surface};
use crate::frame::{Matrix, Range, YuvColor};
use crate::preprocess::LetterboxMap;

/// Longest side that is read, of RGA3.
const MOST_SOURCE_PX: usize = 8176;
/// Longest side that is written, of RGA2.
const MOST_TARGET_PX: usize = 4096;
/// Shortest side of anything.
const LEAST_PX: usize = 2;
/// Pixels that the distance of rows is a multiple of: RGA3 wants 16 bytes of each plane, and of three bytes a pixel.
const STRIDE_PX: usize = 16;
/// Times that a side may grow or shrink.
const MOST_SCALE: usize = 16;

/// A frame of a camera in a DMA-BUF, from its first byte.
#[derive(Debug, Clone, Copy)]
pub struct DmaFrame<'a> {
    /// The DMA-BUF.
    pub fd: BorrowedFd<'a>,
    /// How the frame lies there.
    pub layout: DmaLayout,
}

/// How a camera's frame lies in one buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaLayout {
    /// Pixels in a row.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// How they are packed.
    pub packing: DmaPacking,
    /// What the values mean.
    pub color: YuvColor,
}

/// How pixels are packed. A stride is the bytes from one row to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmaPacking {
    /// Rows of Y, and right behind the last one half as many rows of U and V, all `stride` apart.
    Nv12 {
        /// From row to row.
        stride: usize,
    },
    /// Rows of Y, U, Y, V.
    Yuyv {
        /// From row to row.
        stride: usize,
    },
}

/// A model's input in a DMA-BUF, from its first byte: rows of RGB.
#[derive(Debug, Clone, Copy)]
pub struct DmaTarget<'a> {
    /// The DMA-BUF.
    pub fd: BorrowedFd<'a>,
    /// Pixels in a row.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// From one row to the next.
    pub row_bytes: usize,
}

impl DmaLayout {
    /// How RGA reads it.
    pub(super) fn surface(&self) -> Result<Surface, RgaError> {
        let Self { width_px, height_px, packing, .. } = *self;
        let (format, stride, pixel_bytes) = match packing {
            DmaPacking::Nv12 { stride } => (ffi::FORMAT_NV12, stride, 1),
            DmaPacking::Yuyv { stride } => (ffi::FORMAT_YUYV, stride, 2),
        };
        let is_even = width_px.is_multiple_of(2) && height_px.is_multiple_of(2);
        if !is_even || !are_within([width_px, height_px], MOST_SOURCE_PX) {
            return Err(RgaFailure::Sides.with(format!("a frame of {width_px}x{height_px} pixels")));
        }
        let stride_px = stride_px(stride, pixel_bytes, width_px)?;
        let rows = match packing {
            DmaPacking::Nv12 { .. } => height_px + height_px / 2,
            DmaPacking::Yuyv { .. } => height_px,
        };
        Ok(surface(format, [width_px, height_px, stride_px], stride * rows))
    }

    /// The number of its way to RGB.
    pub(super) fn color_mode(&self) -> Result<u32, RgaError> {
        match (self.color.matrix, self.color.range) {
            (Matrix::Bt601, Range::Limited) => Ok(ffi::COLOR_BT601_LIMITED),
            (Matrix::Bt601, Range::Full) => Ok(ffi::COLOR_BT601_FULL),
            (Matrix::Bt709, Range::Limited) => Ok(ffi::COLOR_BT709_LIMITED),
            (Matrix::Bt709, Range::Full) => {
                Err(RgaFailure::Color.with("a frame whose colors are BT.709 of full range"))
            }
        }
    }
}

impl DmaTarget<'_> {
    /// How RGA writes it.
    pub(super) fn surface(&self) -> Result<Surface, RgaError> {
        let Self { width_px, height_px, row_bytes, .. } = *self;
        if !are_within([width_px, height_px], MOST_TARGET_PX) {
            return Err(RgaFailure::Sides.with(format!("a model input of {width_px}x{height_px} pixels")));
        }
        let stride_px = stride_px(row_bytes, 3, width_px)?;
        Ok(surface(ffi::FORMAT_RGB, [width_px, height_px, stride_px], row_bytes * height_px))
    }
}

/// Where the frame goes, where it is what `map` is for and RGA can resize it so.
pub(super) fn placement(from: Surface, to: Surface, map: &LetterboxMap) -> Result<Area, RgaError> {
    let [left, top, width, height] =
        [map.left_px, map.top_px, map.resized_width_px, map.resized_height_px].map(pixels);
    let source = [map.source_width_px, map.source_height_px].map(pixels);
    let fits = left.saturating_add(width) <= to.width_px && top.saturating_add(height) <= to.height_px;
    if !fits
        || source != [from.width_px, from.height_px]
        || !are_within([map.resized_width_px, map.resized_height_px], MOST_TARGET_PX)
    {
        return Err(RgaFailure::Sides.with(format!(
            "{}x{} pixels to be placed as {map:?} in {}x{}",
            from.width_px, from.height_px, to.width_px, to.height_px
        )));
    }
    let may_become = |from: usize, to: usize| from <= to * MOST_SCALE && to <= from * MOST_SCALE;
    if !may_become(map.source_width_px, map.resized_width_px)
        || !may_become(map.source_height_px, map.resized_height_px)
    {
        return Err(RgaFailure::Scale
            .with(format!("{}x{} pixels to become {width}x{height}", from.width_px, from.height_px)));
    }
    Ok(Area { left_px: left, top_px: top, width_px: width, height_px: height })
}

/// The bars above, below, left and right of `frame`. None is thinner than RGA can fill: it then covers a row or column of the
/// frame, which is written afterwards.
pub(super) fn bars(to: Surface, frame: Area) -> impl Iterator<Item = Area> {
    let least = pixels(LEAST_PX);
    let whole = Area { left_px: 0, top_px: 0, width_px: to.width_px, height_px: to.height_px };
    let (right, bottom) = (frame.left_px + frame.width_px, frame.top_px + frame.height_px);
    let (behind, below) = (to.width_px - right, to.height_px - bottom);
    let (wide, high) = (behind.max(least), below.max(least));
    let bars = [
        (frame.top_px, Area { height_px: frame.top_px.max(least), ..whole }),
        (below, Area { top_px: to.height_px - high, height_px: high, ..whole }),
        (frame.left_px, Area { width_px: frame.left_px.max(least), ..whole }),
        (behind, Area { left_px: to.width_px - wide, width_px: wide, ..whole }),
    ];
    bars.into_iter().filter(|(needed, _)| *needed > 0).map(|(_, bar)| bar)
}

fn are_within(sides_px: [usize; 2], most_px: usize) -> bool {
    sides_px.iter().all(|side| (LEAST_PX..=most_px).contains(side))
}

fn stride_px(stride: usize, pixel_bytes: usize, width_px: usize) -> Result<usize, RgaError> {
    let in_pixels = stride / pixel_bytes;
    let is_whole = stride.is_multiple_of(pixel_bytes) && in_pixels.is_multiple_of(STRIDE_PX);
    if !is_whole || in_pixels < width_px || in_pixels > 2 * MOST_SOURCE_PX {
        return Err(RgaFailure::Stride
            .with(format!("rows of {width_px} pixels of {pixel_bytes} bytes, {stride} bytes apart")));
    }
    Ok(in_pixels)
}

fn surface(format: u32, sides_px: [usize; 3], bytes: usize) -> Surface {
    let [width_px, height_px, stride_px] = sides_px.map(pixels);
    Surface { format, width_px, height_px, stride_px, bytes: u64::try_from(bytes).unwrap_or(u64::MAX) }
}

/// A side that was looked at, or one too long to fit anything.
fn pixels(side_px: usize) -> u32 {
    u32::try_from(side_px).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use artifact::Preprocess;

    use super::*;

    fn nv12(width_px: usize, height_px: usize, stride: usize) -> DmaLayout {
        let packing = DmaPacking::Nv12 { stride };
        DmaLayout { width_px, height_px, packing, color: YuvColor::default() }
    }

    fn yuyv(width_px: usize, height_px: usize, stride: usize) -> DmaLayout {
        DmaLayout { packing: DmaPacking::Yuyv { stride }, ..nv12(width_px, height_px, 0) }
    }

    fn failure<T: std::fmt::Debug>(result: Result<T, RgaError>) -> RgaFailure {
        result.unwrap_err().failure
    }

    #[test]
    fn frames_take_the_bytes_of_their_rows() {
        let surface = nv12(1920, 1080, 1920).surface().unwrap();
        assert_eq!((surface.stride_px, surface.bytes), (1920, 1920 * 1620));
        let surface = yuyv(640, 480, 1344).surface().unwrap();
        assert_eq!((surface.stride_px, surface.bytes), (672, 1344 * 480));
    }

    #[test]
    fn what_rga_cannot_read_or_write_is_refused() {
        assert_eq!(failure(nv12(641, 480, 656).surface()), RgaFailure::Sides);
        assert_eq!(failure(nv12(640, 0, 640).surface()), RgaFailure::Sides);
        assert_eq!(failure(nv12(8192, 480, 8192).surface()), RgaFailure::Sides);
        assert_eq!(failure(nv12(640, 480, 648).surface()), RgaFailure::Stride);
        assert_eq!(failure(nv12(640, 480, 624).surface()), RgaFailure::Stride);
        assert_eq!(failure(yuyv(640, 480, 1281).surface()), RgaFailure::Stride);
        let file = std::fs::File::open("/dev/null").unwrap();
        let target =
            |width_px, row_bytes| DmaTarget { fd: file.as_fd(), width_px, height_px: 640, row_bytes };
        assert_eq!(target(640, 1920).surface().unwrap().bytes, 1920 * 640);
        assert_eq!(failure(target(640, 1924).surface()), RgaFailure::Stride);
        assert_eq!(failure(target(600, 1800).surface()), RgaFailure::Stride);
        assert_eq!(failure(target(4112, 12336).surface()), RgaFailure::Sides);
        let color = YuvColor { matrix: Matrix::Bt709, range: Range::Full };
        assert_eq!(failure(DmaLayout { color, ..nv12(64, 64, 64) }.color_mode()), RgaFailure::Color);
        assert_eq!(nv12(64, 64, 64).color_mode(), Ok(1));
    }

    fn placed(source_px: [usize; 2], input_px: [usize; 2]) -> Result<(Area, Vec<Area>), RgaError> {
        let from = surface(ffi::FORMAT_NV12, [source_px[0], source_px[1], source_px[0]], 0);
        let to = surface(ffi::FORMAT_RGB, [input_px[0], input_px[1], input_px[0]], 0);
        let recipe = Preprocess::yolo(input_px[0], input_px[1]);
        let area = placement(from, to, &LetterboxMap::fit(source_px[0], source_px[1], &recipe))?;
        Ok((area, bars(to, area).collect()))
    }

    #[test]
    fn bars_are_what_the_frame_leaves_and_never_too_thin() {
        let area = |left_px, top_px, width_px, height_px| Area { left_px, top_px, width_px, height_px };
        let (frame, bars) = placed([1280, 720], [640, 640]).unwrap();
        assert_eq!(frame, area(0, 140, 640, 360));
        assert_eq!(bars, [area(0, 0, 640, 140), area(0, 500, 640, 140)]);
        let (frame, bars) = placed([480, 640], [640, 640]).unwrap();
        assert_eq!(frame, area(80, 0, 480, 640));
        assert_eq!(bars, [area(0, 0, 80, 640), area(560, 0, 80, 640)]);
        // 640 - 639 = 1 row of bars: 0.5 - 0.1 rounds to none above, and one below.
        let (frame, bars) = placed([640, 640 - 1], [640, 640]).unwrap();
        assert_eq!(frame, area(0, 0, 640, 639));
        assert_eq!(bars, [area(0, 638, 640, 2)]);
        assert_eq!(placed([64, 64], [640, 640]).unwrap().1, []);
    }

    #[test]
    fn scales_and_maps_that_do_not_fit_are_refused() {
        placed([1024, 1024], [64, 64]).unwrap();
        assert_eq!(failure(placed([1040, 1040], [64, 64])), RgaFailure::Scale);
        assert_eq!(failure(placed([2, 2], [64, 64])), RgaFailure::Scale);
        assert_eq!(failure(placed([8000, 8], [64, 64])), RgaFailure::Sides, "a row is too little");
        let (from, to) = (nv12(64, 64, 64).surface().unwrap(), surface(ffi::FORMAT_RGB, [64, 64, 64], 0));
        let other = LetterboxMap::fit(64, 32, &Preprocess::yolo(64, 64));
        assert_eq!(failure(placement(from, to, &other)), RgaFailure::Sides);
        let larger = LetterboxMap::fit(64, 64, &Preprocess::yolo(128, 128));
        assert_eq!(failure(placement(from, to, &larger)), RgaFailure::Sides);
    }
}
