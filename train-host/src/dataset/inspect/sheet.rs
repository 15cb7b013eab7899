//! A contact sheet: some pictures of a split with their labels drawn in.

use std::path::Path;

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use rayon::prelude::*;
use repedge::Detection;
use repedge::draw::draw_detection;
use repedge::frame::{Image, read_image, write_png};

use crate::dataset::{Dataset, LabelBox, Sample};
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
    let heights: Vec<u32> =
        cells.chunks(COLUMNS).map(|row| row.iter().map(RgbImage::height).max().unwrap_or(0)).collect();
    let width = to_u32(count.min(COLUMNS)) * (CELL_PX + GAP_PX) + GAP_PX;
    let height = heights.iter().map(|height| height + GAP_PX).sum::<u32>() + GAP_PX;
    let mut sheet = RgbImage::from_pixel(width, height, PAPER);
    let mut top = GAP_PX;
    for (row, height) in cells.chunks(COLUMNS).zip(heights) {
        for (column, cell) in (0..).zip(row) {
            let left = GAP_PX + column * (CELL_PX + GAP_PX);
            let x = left + (CELL_PX - cell.width()) / 2;
            let y = top + (height - cell.height()) / 2;
            imageops::replace(&mut sheet, cell, i64::from(x), i64::from(y));
        }
        top += height + GAP_PX;
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
    for label in &sample.boxes {
        draw_detection(&mut small, &as_detection(label, [width, height]), &classes[label.class]);
    }
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

/// A label as a certain detection, in pixels of a picture of `size`.
fn as_detection(label: &LabelBox, size: [u32; 2]) -> Detection {
    #[expect(clippy::cast_precision_loss, reason = "cells are a few hundred pixels wide")]
    let [width, height] = size.map(|side| side as f32);
    Detection {
        class: label.class,
        score: 1.0,
        x0: (label.cx - label.w / 2.0) * width,
        y0: (label.cy - label.h / 2.0) * height,
        x1: (label.cx + label.w / 2.0) * width,
        y1: (label.cy + label.h / 2.0) * height,
    }
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
