//! Labeled images on disk as plain data. Reads YOLO, COCO and Pascal VOC labels, names what is broken, renders the
//! embedded synthetic set, and augments for training. Never decides what a model does with it.

pub mod augment;
mod boxes;
mod broken;
mod coco;
mod files;
mod header;
mod inspect;
mod one_file;
mod progress;
mod source;
pub mod synth;
mod verify;
mod voc;
mod yaml;
mod yolo;

use std::collections::BTreeSet;
use std::path::PathBuf;

pub(crate) use broken::settle;
pub use broken::{Broken, BrokenFile, Notes};
pub use inspect::{ClassCount, Inspection, Quantiles, SizeCount, inspect};
pub use source::{Scan, Source};
pub use verify::verify;
pub(crate) use yaml::yaml_names;

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
    /// What reading changed in the labels without calling them broken.
    pub notes: Notes,
}

impl Dataset {
    /// Images of which nobody has said what is in them.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) for a file that is no image.
    pub fn unlabeled(images: &[PathBuf]) -> crate::Result<Self> {
        let sample = |image: &PathBuf| {
            let (width_px, height_px) = header::image_size(image)?;
            Ok(Sample { image: image.clone(), width_px, height_px, boxes: Vec::new() })
        };
        let samples: Result<_, BrokenFile> = images.iter().map(sample).collect();
        let samples = samples.map_err(|broken| {
            crate::Error::data(broken.to_string(), "an image that can be read", "replace it or leave it out")
        })?;
        Ok(Self { samples, ..Self::default() })
    }
}

/// One sample as read, with what was changed in its labels, or what is broken.
type Reading = Result<(Sample, Notes), BrokenFile>;

/// Which part of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Split {
    /// Images to learn from.
    Train,
    /// Images to choose the best epoch by.
    Val,
    /// Images held out to the end.
    Test,
}

impl Split {
    /// All splits, in the order they are used.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// The key in a data.yaml and the folder name on disk: `train`, `val` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The first of `items` that was there before.
fn first_repeated<T: Copy + Ord>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = BTreeSet::new();
    items.find(|item| !seen.insert(*item))
}
