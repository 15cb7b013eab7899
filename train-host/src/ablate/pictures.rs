//! What the models find, side by side on the same images: the labels, the plain model and one variant. Draws with the
//! device's overlay at the device's thresholds; measures nothing.

use std::path::{Path, PathBuf};

use artifact::Tensor;
use repedge::backend::Session;
use repedge::decode::{Decoder, Detection, Limits};
use repedge::draw::{draw_caption, draw_detection, draw_detections};
use repedge::frame::{Image, read_image, write_png};
use repedge::preprocess::Preprocessor;
use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::evaluation::{Labeled, trained};
use super::outputs::Output;
use super::plan::Plan;
use super::sealed;
use crate::Result;
use crate::dataset::{LabelBox, Sample};
use crate::export::{self, bundle, onnx};
use crate::fuse::fuse;

/// Between two panels, px.
const GAP_PX: usize = 8;
/// Height of the caption's strip: the overlay's largest font, px.
const STRIP_PX: usize = 22;
const PAPER: [u8; 3] = [255; 3];
/// Version of [`file_name`]: pictures under other names are drawn again.
const NAMING: u32 = 2;

/// The pictures of an ablation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pictures {
    /// One file a picture, relative to the folder of the results.
    pub files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Inputs<'a> {
    /// How the files are named.
    naming: u32,
    labels: &'a str,
    count: usize,
    baseline: usize,
    weights: Vec<(&'a str, String)>,
}

/// Draws the pictures of `plan` into `out/pictures`, with the weights of `cells` (one a variant), unless they are there.
///
/// # Errors
/// Those of reading images and running models; I/O errors.
pub fn draw(plan: &Plan, cells: &[&Cell], labeled: &Labeled, out: &Path) -> Result<Pictures> {
    let mut weights = Vec::new();
    for cell in cells {
        weights.push((cell.name.as_str(), sealed::file_digest(&cell.best_weights())?));
    }
    let samples = &labeled.dataset.samples;
    let count = plan.pictures.min(samples.len());
    let inputs = Inputs { naming: NAMING, labels: &labeled.digest, count, baseline: plan.baseline, weights };
    let record = Output::PICTURES.in_folder(out).join("pictures.json");
    let make = || {
        let mut finders: Vec<Finder> = cells.iter().map(|cell| Finder::new(cell)).collect::<Result<_>>()?;
        let chosen = (0..count).map(|at| (at + 1, &samples[at * samples.len() / count]));
        let files: Result<Vec<Vec<PathBuf>>> =
            chosen.map(|numbered| draw_one(plan, cells, &mut finders, labeled, numbered, out)).collect();
        Ok(Pictures { files: files?.concat() })
    };
    let pictures: Pictures = sealed::keep(&record, &inputs, make)?;
    if pictures.files.iter().all(|file| out.join(file).is_file()) {
        return Ok(pictures);
    }
    std::fs::remove_file(&record).map_err(|e| crate::Error::io(&record, e))?;
    sealed::keep(&record, &inputs, make)
}

/// One picture for each variant beside the baseline.
fn draw_one(
    plan: &Plan,
    cells: &[&Cell],
    finders: &mut [Finder],
    labeled: &Labeled,
    (number, sample): (usize, &Sample),
    out: &Path,
) -> Result<Vec<PathBuf>> {
    let image = read_image(&sample.image)?;
    let mut truth = image.clone();
    for label in &sample.boxes {
        let name = labeled.dataset.classes.get(label.class).map_or("", String::as_str);
        draw_detection(&mut truth, &as_detection(label, &image), name);
    }
    let truth = captioned(&truth, &format!("labels: {}", sample.boxes.len()));
    let panels: Vec<Image> = finders
        .iter_mut()
        .zip(cells)
        .map(|(finder, cell)| finder.panel(&image, &cell.name))
        .collect::<Result<_>>()?;
    let mut files = Vec::new();
    for (index, variant) in plan.variants.iter().enumerate().filter(|(index, _)| *index != plan.baseline) {
        let file = file_name(number, &sample.image, &variant.name);
        write_png(&out.join(&file), &beside(&[&truth, &panels[plan.baseline], &panels[index]]))?;
        files.push(file);
    }
    Ok(files)
}

/// Name of the picture of `variant` on the image with that number, relative to the folder of the results. Images of two
/// folders may be called alike, and so may two ends of names.
fn file_name(number: usize, image: &Path, variant: &str) -> PathBuf {
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    Path::new(Output::PICTURES.name()).join(format!("{number}-{stem}-{variant}.png"))
}

/// A deployed model that finds objects in images.
struct Finder {
    session: Box<dyn Session>,
    preprocessor: Preprocessor,
    decoder: Decoder,
    input: Tensor,
    outputs: Vec<Tensor>,
    classes: Vec<String>,
}

impl Finder {
    fn new(cell: &Cell) -> Result<Self> {
        let model = fuse(&trained(cell)?)?;
        let head = &model.architecture.head;
        let session = export::session(&model)?;
        let spec = onnx::model_specs(&model.architecture, model.imgsz)?.input;
        let limits = Limits::device(bundle::CONFIDENCE, bundle::IOU);
        Ok(Self {
            preprocessor: Preprocessor::new(&bundle::preprocess(model.imgsz), &spec)?,
            decoder: Decoder::new(&bundle::decode(head), head.classes.len(), session.outputs(), limits)?,
            input: Tensor::zeroed(&spec),
            outputs: session.outputs().iter().map(Tensor::zeroed).collect(),
            classes: head.classes.clone(),
            session: Box::new(session),
        })
    }

    /// The image with what was found in it, under the finder's name.
    fn panel(&mut self, image: &Image, name: &str) -> Result<Image> {
        let map = self.preprocessor.run(image.frame(), &mut self.input)?;
        self.session.run(&self.input, &mut self.outputs)?;
        let found = self.decoder.detect(&self.outputs, &map)?;
        let mut panel = image.clone();
        draw_detections(&mut panel, found, &self.classes);
        Ok(captioned(&panel, &format!("{name}: {}", found.len())))
    }
}

/// The image under a strip of paper with a caption.
fn captioned(image: &Image, text: &str) -> Image {
    let mut whole = Image::filled(image.width_px, image.height_px + STRIP_PX, PAPER);
    draw_caption(&mut whole, text);
    whole.rgb[image.width_px * STRIP_PX * 3..].copy_from_slice(&image.rgb);
    whole
}

/// Panels of one height in a row.
fn beside(panels: &[&Image]) -> Image {
    let height_px = panels.iter().map(|panel| panel.height_px).max().unwrap_or(0);
    let width_px = panels.iter().map(|panel| panel.width_px + GAP_PX).sum::<usize>().saturating_sub(GAP_PX);
    let mut row = Image::filled(width_px, height_px, PAPER);
    let mut left = 0;
    for panel in panels {
        for (y, pixels) in panel.rgb.chunks_exact(panel.width_px * 3).enumerate() {
            let start = (y * width_px + left) * 3;
            row.rgb[start..start + pixels.len()].copy_from_slice(pixels);
        }
        left += panel.width_px + GAP_PX;
    }
    row
}

/// A label as a certain detection, in pixels of `image`.
fn as_detection(label: &LabelBox, image: &Image) -> Detection {
    #[expect(clippy::cast_precision_loss, reason = "image sides are far below 2^24")]
    let [width, height] = [image.width_px, image.height_px].map(|side| side as f32);
    Detection {
        class: label.class,
        score: 1.0,
        x0: (label.cx - label.w / 2.0) * width,
        y0: (label.cy - label.h / 2.0) * height,
        x1: (label.cx + label.w / 2.0) * width,
        y1: (label.cy + label.h / 2.0) * height,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_stand_side_by_side_on_paper() {
        let (small, large) = (Image::filled(2, 1, [9; 3]), Image::filled(1, 2, [7; 3]));
        let row = beside(&[&small, &large]);
        assert_eq!((row.width_px, row.height_px), (2 + GAP_PX + 1, 2));
        let pixel = |x: usize, y: usize| row.rgb[(y * row.width_px + x) * 3];
        assert_eq!((pixel(0, 0), pixel(1, 0), pixel(2, 0), pixel(0, 1)), (9, 9, 255, 255));
        assert_eq!((pixel(2 + GAP_PX, 0), pixel(2 + GAP_PX, 1)), (7, 7));
    }

    #[test]
    fn no_two_pictures_share_a_name() {
        let name = |number, image: &str, variant| file_name(number, Path::new(image), variant);
        assert_eq!(name(1, "x/a.jpg", "rep"), Path::new("pictures/1-a-rep.png"));
        assert_ne!(name(1, "x/a.jpg", "rep"), name(2, "y/a.jpg", "rep"));
        assert_ne!(name(1, "a-b.jpg", "c"), name(2, "a.jpg", "b-c"));
    }

    #[test]
    fn a_caption_covers_nothing_of_the_image() {
        let image = Image::filled(60, 5, [90; 3]);
        let whole = captioned(&image, "rep: 3");
        assert_eq!(whole.height_px, 5 + STRIP_PX);
        let (strip, rest) = whole.rgb.split_at(60 * STRIP_PX * 3);
        assert!(rest == image.rgb && strip.contains(&0));
    }

    #[test]
    fn a_label_covers_its_part_of_the_image() {
        let image = Image::filled(200, 100, [0; 3]);
        let label = LabelBox { class: 2, cx: 0.5, cy: 0.5, w: 0.5, h: 1.0 };
        let box_ = as_detection(&label, &image);
        assert_eq!((box_.class, box_.x0, box_.y0, box_.x1, box_.y1), (2, 50.0, 0.0, 150.0, 100.0));
    }
}
