//! Measures a detector on a labeled dataset with the device's own pre-processing, decode and NMS, so that what is
//! measured is what ships. Any [`Session`] can be measured: tract, the NPU, or libtorch in the training loop.
//! Never changes a model, and never draws (see `report`).

mod bootstrap;
mod classes;
mod evaluator;
mod metrics;
mod operating_point;
mod result;
mod text;

use artifact::{Decode, Preprocess};
use repedge::backend::Session;
use repedge::decode::Limits;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::dataset::{Broken, Dataset};

pub use bootstrap::{Difference, Matches, Pair, paired_difference};
pub use classes::align;
pub use evaluator::Evaluator;
pub use metrics::measure;
pub use result::{ClassMetrics, Confusion, Metrics, PrCurve, PrCurves};

/// How to evaluate. The default is YOLOv5's: confidence 0.001, IoU 0.6, 300 detections an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// What is measured, for the record: a file name, or an epoch.
    pub model: String,
    /// What it is measured on, for the record: a data file and a split.
    pub dataset: String,
    /// Name of the engine that runs it, for the record: `tract`, `torch`, `rknn`.
    pub backend: String,
    /// Which detections are kept.
    pub limits: Limits,
    /// Whether a progress bar is drawn.
    pub progress: Progress,
    /// Whether pre-processed images stay in memory.
    pub inputs: Inputs,
    /// What to do about an image that cannot be read.
    pub broken: Broken,
}

/// Whether a progress bar is drawn to stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Drawn, when stderr is a terminal.
    Bar,
    /// Not drawn.
    Hidden,
}

/// Where pre-processed images live between two runs of an [`Evaluator`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inputs {
    /// Read anew for every run, in a second thread a few images ahead.
    Stream,
    /// Kept in memory when all of them take at most this many bytes, else as [`Inputs::Stream`].
    Keep {
        /// The most memory to use.
        limit_bytes: usize,
    },
}

impl Default for Options {
    fn default() -> Self {
        Self {
            model: String::new(),
            dataset: String::new(),
            backend: String::from("tract"),
            limits: Limits::evaluation(),
            progress: Progress::Bar,
            inputs: Inputs::Stream,
            broken: Broken::Refuse,
        }
    }
}

/// The result of an evaluation. In JSON one flat object: the fields of [`Metrics`] stand beside these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// What was measured.
    pub model: String,
    /// What it was measured on.
    pub dataset: String,
    /// Engine that ran it.
    pub backend: String,
    /// Width and height of the model's input in pixels.
    pub input_px: [usize; 2],
    /// Lowest confidence that counted.
    pub confidence: f32,
    /// IoU threshold of NMS.
    pub iou: f32,
    /// Images left out because they could not be read.
    pub skipped: usize,
    /// Time of each stage.
    pub speed: Speed,
    /// How good the detections are.
    #[serde(flatten)]
    pub metrics: Metrics,
}

/// Median time of each stage over all images, in milliseconds. Reading the file is not part of any.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Speed {
    /// Letterbox and conversion to the input tensor.
    pub preprocess_ms: f64,
    /// The model.
    pub inference_ms: f64,
    /// Decoding and NMS.
    pub decode_ms: f64,
}

/// Evaluates `session` on `dataset` once; see [`Evaluator`] for doing it again and again.
///
/// # Errors
/// As [`Evaluator::new`] and [`Evaluator::run`].
pub fn evaluate(
    session: &mut dyn Session,
    decode: &Decode,
    preprocess: &Preprocess,
    dataset: &Dataset,
    options: &Options,
) -> Result<Evaluation> {
    let input = session.input().clone();
    Evaluator::new(dataset, preprocess, decode, &input, options)?.run(session)
}
