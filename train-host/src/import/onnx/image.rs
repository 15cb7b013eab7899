//! The image that a model takes: one, RGB, square, in floats. Finds its size; never touches pixels.

use artifact::MAX_SIDE_PX;

use super::super::Options;
use super::metadata::Metadata;
use super::proto::{ValueInfo, data_type};
use crate::{Error, Result};

/// Red, green, blue.
pub(super) const CHANNELS: usize = 3;

/// Side of the images that the model is understood for: its own, or where that is open the caller's or the exporter's.
///
/// # Errors
/// [`Error::Model`] when it takes anything but one square RGB image of floats, [`Error::Input`] when its size is open and
/// nobody gives one.
pub(super) fn side(image: &ValueInfo, metadata: &Metadata, options: &Options) -> Result<usize> {
    if !matches!(image.element, data_type::FLOAT | data_type::FLOAT16) {
        return Err(Error::model(
            format!("input {:?} of ONNX's data type {}", image.name, image.element),
            "an input of 32- or 16-bit floats",
            "export the bare detector, without its own pre-processing",
        ));
    }
    let stated = match size(image)? {
        (Some(height), Some(width)) if height != width => {
            return Err(Error::model(
                format!("a model of {height}x{width} px"),
                "a model of square images",
                "export the model with one image size, for example imgsz=640",
            ));
        }
        (height, width) => height.or(width),
    };
    let exported = || metadata.imgsz.filter(|[height, width]| height == width).map(|[height, _]| height);
    let side = stated.or(options.imgsz).or_else(exported).ok_or_else(|| {
        Error::input(
            "a model of images of any size",
            "the size to convert it for",
            "give it with --imgsz, for example --imgsz 640",
        )
    })?;
    if !(1..=MAX_SIDE_PX).contains(&side) {
        return Err(Error::input(
            format!("an image size of {side} px"),
            format!("1 to {MAX_SIDE_PX}"),
            "choose with --imgsz",
        ));
    }
    Ok(side)
}

/// Height and width, none where they are open.
fn size(image: &ValueInfo) -> Result<(Option<usize>, Option<usize>)> {
    let Some(dims) = &image.dims else { return Ok((None, None)) };
    // Exporters state an open side by a name, by 0 or by −1.
    let fixed =
        |side: &Option<i64>| side.and_then(|side| usize::try_from(side).ok()).filter(|side| *side > 0);
    match dims.iter().map(fixed).collect::<Vec<_>>()[..] {
        [None | Some(1), None | Some(CHANNELS), height, width] => Ok((height, width)),
        _ => Err(Error::model(
            format!("input {:?} of shape {dims:?}", image.name),
            "one RGB image, [1, 3, height, width]",
            "export the model with batch=1 and in NCHW layout",
        )),
    }
}
