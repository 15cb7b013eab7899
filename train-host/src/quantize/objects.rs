//! What the float model finds on some images: objects to judge and to calibrate by that need no labels.

use artifact::Tensor;
use repedge::backend::Session;
use repedge::decode::{Decoder, Detection, Limits};
use repedge::frame::read_image;
use repedge::preprocess::Preprocessor;

use super::images::Images;
use crate::Result;
use crate::dataset::{Dataset, LabelBox, Sample};
use crate::export::{self, bundle};
use crate::model::FusedModel;

/// Score from which on a detection counts as an object: what devices show.
const CONFIDENCE: f32 = 0.25;
/// Overlap at which weaker detections are dropped, as in evaluation.
const IOU: f32 = 0.6;

/// The images with the detections of `model` for labels.
///
/// # Errors
/// [`Error::Runtime`](crate::Error::Runtime) when tract refuses the model or an image cannot be read.
pub(super) fn found(model: &FusedModel, images: &Images) -> Result<Dataset> {
    let head = &model.architecture.head;
    let mut session = export::session(model)?;
    let mut preprocessor = Preprocessor::new(&bundle::preprocess(model.imgsz), session.input())?;
    let limits = Limits::device(CONFIDENCE, IOU);
    let mut decoder = Decoder::new(&bundle::decode(head), head.classes.len(), session.outputs(), limits)?;
    let mut input = Tensor::zeroed(session.input());
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    let mut samples = Vec::with_capacity(images.paths().len());
    for path in images.paths() {
        let image = read_image(path)?;
        let map = preprocessor.run(image.frame(), &mut input)?;
        session.run(&input, &mut outputs)?;
        let size = [image.width_px, image.height_px];
        samples.push(Sample {
            image: path.clone(),
            width_px: u32::try_from(size[0]).unwrap_or(u32::MAX),
            height_px: u32::try_from(size[1]).unwrap_or(u32::MAX),
            boxes: decoder.detect(&outputs, &map)?.iter().map(|detection| label(detection, size)).collect(),
        });
    }
    Ok(Dataset { classes: head.classes.clone(), samples, ..Dataset::default() })
}

#[expect(clippy::cast_precision_loss, reason = "sides of images are small")]
fn label(detection: &Detection, [width, height]: [usize; 2]) -> LabelBox {
    let [width, height] = [width as f32, height as f32];
    LabelBox {
        class: detection.class,
        cx: (detection.x0 + detection.x1) / 2.0 / width,
        cy: (detection.y0 + detection.y1) / 2.0 / height,
        w: (detection.x1 - detection.x0) / width,
        h: (detection.y1 - detection.y0) / height,
    }
}
