//! Labeled images on disk as plain data. Reads YOLO, COCO and Pascal VOC labels, names what is broken, renders the
//! embedded synthetic set, and augments for training. Never decides what a model does with it.

use std::path::PathBuf;

/// A box around an object, as fractions of the image's width and height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelBox {
    /// Index into [`Dataset::classes`].
    pub class: usize,
    /// Center, 0..1 of the width.
    pub cx: f32,
    /// Center, 0..1 of the height.
    pub cy: f32,
    /// Width, 0..1 of the image's width.
    pub w: f32,
    /// Height, 0..1 of the image's height.
    pub h: f32,
}

/// One image and its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The image file.
    pub image: PathBuf,
    /// Width of the image file in pixels.
    pub width_px: u32,
    /// Height of the image file in pixels.
    pub height_px: u32,
    /// Labeled objects; empty for a background image.
    pub boxes: Vec<LabelBox>,
}

/// One split of a dataset.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dataset {
    /// Class names.
    pub classes: Vec<String>,
    /// Images in a fixed order.
    pub samples: Vec<Sample>,
    /// How many samples were left out because they were broken (only under `--skip-broken`).
    pub skipped: usize,
}

/// Which part of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Split {
    /// Images to learn from.
    Train,
    /// Images to choose the best epoch by.
    Val,
    /// Images held out to the end.
    Test,
}
