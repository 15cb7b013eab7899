//! A contact sheet: some pictures of a split with their labels drawn in.

use std::path::Path;

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use rayon::prelude::*;
use repedge::Detection;
use repedge::draw::draw_detections;
use repedge::frame::{Image, read_image, write_png};

use crate::dataset::{Dataset, Sample};
use crate::{Error, Result};

const COLUMNS: usize = 5;
const ROWS: usize = 4;
const CELL_PX: u32 = 320;
const GAP_PX: u32 = 6;
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);

/// Writes up to 20 pictures, evenly spread over the split, as one PNG. Nothing is written for an empty split.
///
/// # Errors
/// [`Error::Runtime`] when an image does not decode or the PNG cannot be written.
pub(super) fn write(path: &Path, dataset: &Dataset) -> Result<()> {
    let count = dataset.samples.len().min(COLUMNS * ROWS);
    if count == 0 {
        return Ok(());
    }
    let chosen: Vec<&Sample> =
        (0..count).map(|i| &dataset.samples[i * dataset.samples.len() / count]).collect();
    let cells: Vec<RgbImage> =
        chosen.into_par_iter().map(|sample| cell(sample, &dataset.classes)).collect::<Result<_>>()?;
    let rows = to_u32(count.div_ceil(COLUMNS));
    let columns = to_u32(count.min(COLUMNS));
    let pitch = CELL_PX + GAP_PX;
    let mut sheet = RgbImage::from_pixel(columns * pitch + GAP_PX, rows * pitch + GAP_PX, PAPER);
    for (index, cell) in cells.iter().enumerate() {
        let (column, row) = (to_u32(index % COLUMNS), to_u32(index / COLUMNS));
        let centered = |side: u32| i64::from((CELL_PX - side) / 2);
        let x = i64::from(GAP_PX + column * pitch) + centered(cell.width());
        let y = i64::from(GAP_PX + row * pitch) + centered(cell.height());
        imageops::replace(&mut sheet, cell, x, y);
    }
    Ok(write_png(path, &owned(sheet))?)
}

/// One picture, scaled to fit a cell, with its boxes.
fn cell(sample: &Sample, classes: &[String]) -> Result<RgbImage> {
    let Image { rgb, .. } = read_image(&sample.image)?;
    let full = RgbImage::from_raw(sample.width_px, sample.height_px, rgb).ok_or_else(|| {
        Error::data(
            format!("{} decodes to another size than its header says", sample.image.display()),
            "a whole image",
            "save the image again",
        )
    })?;
    let (width, height) = fitted(sample.width_px, sample.height_px);
    let mut small = owned(imageops::resize(&full, width, height, FilterType::Triangle));
    draw_detections(&mut small, &as_detections(sample, [width, height]), classes);
    Ok(RgbImage::from_raw(width, height, small.rgb).unwrap_or(full))
}

fn fitted(width: u32, height: u32) -> (u32, u32) {
    let longest = u64::from(width.max(height));
    let scaled = |side: u32| {
        let side = u64::from(side) * u64::from(CELL_PX) / longest;
        u32::try_from(side).unwrap_or(CELL_PX).max(1)
    };
    (scaled(width), scaled(height))
}

/// Labels as certain detections, in pixels of a picture of `size`.
fn as_detections(sample: &Sample, size: [u32; 2]) -> Vec<Detection> {
    #[expect(clippy::cast_precision_loss, reason = "cells are a few hundred pixels wide")]
    let [width, height] = size.map(|side| side as f32);
    let detection = |label: &crate::dataset::LabelBox| Detection {
        class: label.class,
        score: 1.0,
        x0: (label.cx - label.w / 2.0) * width,
        y0: (label.cy - label.h / 2.0) * height,
        x1: (label.cx + label.w / 2.0) * width,
        y1: (label.cy + label.h / 2.0) * height,
    };
    sample.boxes.iter().map(detection).collect()
}

fn owned(image: RgbImage) -> Image {
    Image { width_px: image.width() as usize, height_px: image.height() as usize, rgb: image.into_raw() }
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_keep_their_shape() {
        assert_eq!(fitted(640, 480), (320, 240));
        assert_eq!(fitted(100, 200), (160, 320));
        assert_eq!(fitted(10_000, 1), (320, 1));
    }
}
