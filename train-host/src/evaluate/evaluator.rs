//! Runs every image of a dataset through a session. Reading and letterboxing happen in a second thread, a few images
//! ahead of the model; or once for all runs. Never judges the detections: `metrics` does.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use artifact::{Decode, Preprocess, Tensor, TensorSpec};
use indicatif::{ProgressBar, ProgressStyle};
use repedge::backend::Session;
use repedge::decode::{Decoder, Detection, Labels, Limits};
use repedge::frame::{Frame, read_image};
use repedge::preprocess::{LetterboxMap, Preprocessor};

use super::{Evaluation, Inputs, Options, Progress, Speed, measure};
use crate::dataset::{Broken, Dataset, Sample};
use crate::{Error, Result};

/// Images read ahead of the model; each holds a whole input tensor.
const AHEAD: usize = 4;

/// A dataset made ready for a model's input, to be run as often as wanted.
pub struct Evaluator {
    dataset: Dataset,
    preprocess: Preprocess,
    decode: Decode,
    input: TensorSpec,
    options: Options,
    kept: Option<Vec<Prepared>>,
}

/// One image as the model takes it; without a tensor when it was broken and skipped.
struct Prepared {
    ready: Option<(Tensor, LetterboxMap)>,
    preprocess: Duration,
}

/// What the session made of the images, in their order.
#[derive(Default)]
struct Outcome {
    measured: Vec<usize>,
    detections: Vec<Vec<Detection>>,
    preprocess: Vec<Duration>,
    inference: Vec<Duration>,
    decode: Vec<Duration>,
}

impl Evaluator {
    /// Prepares `dataset` for sessions whose input is `input`. With [`Inputs::Keep`] all images are read here.
    ///
    /// # Errors
    /// [`Error::Data`] for an empty dataset or (unless [`Broken::Skip`]) an image that cannot be read;
    /// [`Error::Runtime`] when `preprocess` does not fit `input`.
    pub fn new(
        dataset: &Dataset,
        preprocess: &Preprocess,
        decode: &Decode,
        input: &TensorSpec,
        options: &Options,
    ) -> Result<Self> {
        if dataset.samples.is_empty() {
            return Err(Error::data(
                "a dataset without images",
                "at least one image to evaluate",
                "check the split and the image folder in the data file",
            ));
        }
        let mut evaluator = Self {
            dataset: dataset.clone(),
            preprocess: preprocess.clone(),
            decode: decode.clone(),
            input: input.clone(),
            options: options.clone(),
            kept: None,
        };
        let preprocessor = Preprocessor::new(preprocess, input)?;
        let needed_bytes = Tensor::zeroed(input).byte_len().saturating_mul(dataset.samples.len());
        if matches!(options.inputs, Inputs::Keep { limit_bytes } if needed_bytes <= limit_bytes) {
            evaluator.kept = Some(evaluator.read_all(preprocessor)?);
        }
        Ok(evaluator)
    }

    /// Runs `session` on every image and measures what it finds. Replaces the name of what is measured by `model`.
    ///
    /// # Errors
    /// As [`Evaluator::run`].
    pub fn run_as(&mut self, model: &str, session: &mut dyn Session) -> Result<Evaluation> {
        self.options.model = model.to_owned();
        self.run(session)
    }

    /// Runs `session` on every image and measures what it finds.
    ///
    /// # Errors
    /// [`Error::Model`] when the session's input is not the one prepared for; [`Error::Runtime`] when the session or
    /// the decoder fails; [`Error::Data`] for an image that cannot be read, or when none could.
    pub fn run(&self, session: &mut dyn Session) -> Result<Evaluation> {
        self.check_input(session.input())?;
        let outcome = match &self.kept {
            Some(kept) => self.consume(session, kept.iter().map(|p| Ok(std::borrow::Cow::Borrowed(p))))?,
            None => self.stream(session)?,
        };
        self.summarize(&outcome)
    }
}
