//! mAP of a trained cell: its best weights, fused, in tract, with the device's pre-processing, decode and NMS, on the
//! plan's split. The result stands as `eval.json` in the run folder and is made once.

use serde::Serialize;

use super::cell::Cell;
use super::plan::Plan;
use super::sealed;
use crate::console::say;
use crate::dataset::{Dataset, Source, Split};
use crate::evaluate::{Evaluation, Options, align, evaluate};
use crate::export;
use crate::fuse::fuse;
use crate::import;
use crate::model::checkpoint::Checkpoint;
use crate::model::{FusedModel, TrainedModel};
use crate::{Error, Result};

/// The images that are measured on.
pub struct Labeled {
    /// Images and labels.
    pub dataset: Dataset,
    /// Digest of all labels and paths.
    pub digest: String,
    /// What it is, for the record.
    pub name: String,
}

/// What an evaluation depends on.
#[derive(Serialize)]
struct Inputs<'a> {
    weights: String,
    labels: &'a str,
    imgsz: usize,
    version: &'static str,
}

impl Labeled {
    /// Reads the labels of the plan's split.
    ///
    /// # Errors
    /// As [`Source::open`] and [`Source::split`].
    pub fn read(plan: &Plan) -> Result<Self> {
        let source = Source::open(&plan.data, plan.broken)?;
        if !source.is_divided() {
            say(format_args!(
                "note: {} has no splits: measured on the images trained on",
                plan.data.display()
            ));
        } else if plan.split != Split::Test && source.has(Split::Test) {
            say(format_args!("note: measured on the {} split; the dataset has a test split", plan.split));
        }
        let dataset = source.split(plan.split)?;
        let boxes = |sample: &crate::dataset::Sample| -> Vec<(usize, [f32; 4])> {
            sample.boxes.iter().map(|b| (b.class, [b.cx, b.cy, b.w, b.h])).collect()
        };
        let listing: Vec<_> =
            dataset.samples.iter().map(|s| (&s.image, s.width_px, s.height_px, boxes(s))).collect();
        let digest = sealed::digest(&(&dataset.classes, listing))?;
        Ok(Self { digest, name: format!("{} ({})", plan.data.display(), plan.split), dataset })
    }
}

/// Measures `cell`, or reads what was measured before.
///
/// # Errors
/// [`Error::Model`] for weights that cannot be fused or run; [`Error::Data`] for images that cannot be used.
pub fn evaluate_cell(cell: &Cell, labeled: &Labeled) -> Result<Evaluation> {
    let inputs = Inputs {
        weights: sealed::file_digest(&cell.best_weights())?,
        labels: &labeled.digest,
        imgsz: cell.config.imgsz,
        version: env!("CARGO_PKG_VERSION"),
    };
    sealed::keep(&cell.folder.join("eval.json"), &inputs, || {
        let fused = fuse(&trained(cell)?)?;
        measure(cell, &fused, labeled)
    })
}

fn measure(cell: &Cell, fused: &FusedModel, labeled: &Labeled) -> Result<Evaluation> {
    let head = &fused.architecture.head;
    let dataset = align(labeled.dataset.clone(), &head.classes)?;
    let mut session = export::session(fused)?;
    let options = Options {
        model: cell.name.clone(),
        dataset: labeled.name.clone(),
        backend: artifact::BackendKind::Tract.to_string(),
        broken: cell.config.broken,
        ..Options::default()
    };
    let (decode, preprocess) = (export::bundle::decode(head), export::bundle::preprocess(fused.imgsz));
    evaluate(&mut session, &decode, &preprocess, &dataset, &options)
}

/// The best weights of a cell as they were trained.
///
/// # Errors
/// As [`import::load`]; [`Error::Model`] for a fused model.
pub fn trained(cell: &Cell) -> Result<TrainedModel> {
    match import::load(&cell.best_weights())? {
        Checkpoint::Trained(model) => Ok(model),
        Checkpoint::Fused(_) => Err(Error::model(
            format!("{} is fused", cell.best_weights().display()),
            "the weights a training wrote",
            "remove the folder, so that it is trained again",
        )),
    }
}
