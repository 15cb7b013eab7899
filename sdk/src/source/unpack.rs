//! What a camera's buffer holds: rows, where they lie and without the padding between them, or a compressed image. Believes nobody:
//! what a buffer does not hold is an error.

use super::{Format, Shot};
use crate::Error;
use crate::frame::jpeg::{Motion, Packing, Sides};
use crate::frame::{Matrix, Plane, Range, Samples, YuvColor, YuvFrame};
use crate::preprocess::rga::{DmaLayout, DmaPacking};

/// The pixels that lie in `bytes` as `layout` says.
///
/// # Errors
/// [`Error::Input`] when they are not all there.
pub(super) fn look<'a>(layout: &DmaLayout, bytes: &'a [u8]) -> Result<YuvFrame<'a>, Error> {
    let DmaLayout { width_px, height_px, packing, color } = *layout;
    let samples = match packing {
        DmaPacking::Nv12 { stride } => {
            let luma = stride.saturating_mul(height_px);
            let (luma, chroma) = bytes.split_at_checked(luma).unwrap_or((bytes, &[]));
            let plane = |bytes| Plane { bytes, stride };
            Samples::Nv12 { luma: plane(luma), chroma: plane(chroma) }
        }
        DmaPacking::Yuyv { stride } => Samples::Yuyv(Plane { bytes, stride }),
    };
    let frame = YuvFrame { width_px, height_px, samples, color };
    frame.check()?;
    Ok(frame)
}

/// Copies a frame that was checked into `shot`.
pub(super) fn copy(frame: &YuvFrame<'_>, shot: &mut Shot) {
    let (width, height) = (frame.width_px, frame.height_px);
    match frame.samples {
        Samples::Nv12 { luma, chroma } => {
            let bytes = shot.make_room((width, height), format(frame), width * height * 3 / 2);
            let (to_luma, to_chroma) = bytes.split_at_mut(width * height);
            copy_rows(luma, to_luma, width);
            copy_rows(chroma, to_chroma, width);
        }
        Samples::Yuyv(plane) => {
            let bytes = shot.make_room((width, height), format(frame), width * height * 2);
            copy_rows(plane, bytes, 2 * width);
        }
    }
}

/// Says in `shot` what a frame is whose pixels stay where they are.
#[cfg_attr(not(feature = "v4l2"), expect(dead_code, reason = "only cameras leave frames where they are"))]
pub(super) fn leave(frame: &YuvFrame<'_>, shot: &mut Shot) {
    shot.make_room((frame.width_px, frame.height_px), format(frame), 0);
}

/// Decodes the image that `bytes` begin with into `shot`: as NV12 or YUYV where it is sampled alike, as RGB otherwise.
///
/// # Errors
/// A sentence, when it is damaged or has other sides; what `shot` then holds is not said.
pub(super) fn decode(
    motion: &mut Motion,
    bytes: &[u8],
    sides: Sides,
    shot: &mut Shot,
) -> Result<[usize; 2], String> {
    const JFIF: YuvColor = YuvColor { matrix: Matrix::Bt601, range: Range::Full };
    let (sides_px, packing) = motion.decode(bytes, sides, &mut shot.bytes)?;
    [shot.width_px, shot.height_px] = sides_px;
    shot.format = match packing {
        Packing::Rgb => Format::Rgb,
        Packing::Nv12 => Format::Nv12(JFIF),
        Packing::Yuyv => Format::Yuyv(JFIF),
    };
    Ok(sides_px)
}

fn format(frame: &YuvFrame<'_>) -> Format {
    match frame.samples {
        Samples::Nv12 { .. } => Format::Nv12(frame.color),
        Samples::Yuyv(_) => Format::Yuyv(frame.color),
    }
}

fn copy_rows(from: Plane<'_>, to: &mut [u8], row: usize) {
    if from.stride == row {
        to.copy_from_slice(&from.bytes[..to.len()]);
        return;
    }
    for (number, to) in to.chunks_exact_mut(row).enumerate() {
        to.copy_from_slice(from.row(number, row));
    }
}
