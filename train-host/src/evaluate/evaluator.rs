//! Runs every image of a dataset through a session. Reading and letterboxing happen in a second thread, a few images
//! ahead of the model; or once for all runs. Never judges the detections: `metrics` does.

use std::borrow::Borrow;
use std::sync::Once;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use artifact::{DType, Decode, Preprocess, Tensor, TensorSpec};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use repedge::backend::Session;
use repedge::decode::{Decoder, Detection};
use repedge::frame::read_image;
use repedge::preprocess::{LetterboxMap, Preprocessor};

use super::{Evaluation, Inputs, Matches, Options, Progress, Speed, measure};
use crate::dataset::{Broken, BrokenFile, Dataset, Sample, settle};
use crate::{Error, Result};

/// Images read ahead of the model; each holds a whole input tensor.
const AHEAD: usize = 4;
/// Images that share one preprocessor when all are read at once.
const CHUNK: usize = 16;

/// A dataset made ready for a model's input, to be run as often as wanted.
pub struct Evaluator {
    dataset: Dataset,
    preprocess: Preprocess,
    decode: Decode,
    input: TensorSpec,
    options: Options,
    kept: Option<Vec<Prepared>>,
    /// Skipped images are named after the first run only: every other finds the same.
    named: Once,
}

/// One image as the model takes it, or why it was skipped.
type Prepared = std::result::Result<Ready, BrokenFile>;

struct Ready {
    tensor: Tensor,
    map: LetterboxMap,
    took: Duration,
}

/// What the session made of the images that could be read, in their order.
#[derive(Default)]
struct Outcome {
    /// Indices of the images.
    images: Vec<usize>,
    skipped: Vec<BrokenFile>,
    detections: Vec<Vec<Detection>>,
    preprocess: Vec<Duration>,
    inference: Vec<Duration>,
    decode: Vec<Duration>,
}

impl Evaluator {
    /// Prepares `dataset` for sessions whose input is `input`. With [`Inputs::Keep`] all images are read here.
    ///
    /// # Errors
    /// [`Error::Data`] for an empty dataset or (unless [`Broken::Skip`]) an image that cannot be used;
    /// [`Error::Runtime`] when `preprocess` does not fit `input`.
    pub fn new(
        dataset: &Dataset,
        preprocess: &Preprocess,
        decode: &Decode,
        input: &TensorSpec,
        options: &Options,
    ) -> Result<Self> {
        if dataset.samples.is_empty() {
            return Err(no_images("the split holds none"));
        }
        Preprocessor::new(preprocess, input)?;
        let mut evaluator = Self {
            dataset: dataset.clone(),
            preprocess: *preprocess,
            decode: decode.clone(),
            input: input.clone(),
            options: options.clone(),
            kept: None,
            named: Once::new(),
        };
        let needed_bytes = input_bytes(input).saturating_mul(dataset.samples.len());
        if matches!(options.inputs, Inputs::Keep { limit_bytes } if needed_bytes <= limit_bytes) {
            evaluator.kept = Some(evaluator.prepare_all()?);
        }
        Ok(evaluator)
    }

    /// Runs `session` on every image and measures what it finds. Images left out under [`Broken::Skip`] are named on
    /// stderr.
    ///
    /// # Errors
    /// [`Error::Model`] when the session's input is not the one prepared for; [`Error::Runtime`] when the session or
    /// the decoder fails; [`Error::Data`] for an image that cannot be used, or when none could.
    pub fn run(&self, session: &mut dyn Session) -> Result<Evaluation> {
        let outcome = self.outcome(session)?;
        let mut named = Ok(());
        self.named.call_once(|| named = settle(&self.options.dataset, &outcome.skipped, self.options.broken));
        named?;
        self.summarize(&outcome)
    }

    /// As [`Evaluator::run`], and what was found on each image, to compare with another model's.
    ///
    /// # Errors
    /// As [`Evaluator::run`].
    pub fn run_matched(&self, session: &mut dyn Session) -> Result<(Evaluation, Matches)> {
        let outcome = self.outcome(session)?;
        let samples: Vec<&Sample> = outcome.images.iter().map(|&i| &self.dataset.samples[i]).collect();
        let matches = Matches::of(&self.dataset.classes, &samples, &outcome.detections)?;
        Ok((self.summarize(&outcome)?, matches))
    }

    fn outcome(&self, session: &mut dyn Session) -> Result<Outcome> {
        self.check_input(session.input())?;
        match &self.kept {
            Some(kept) => self.consume(session, kept.iter().map(Ok)),
            None => self.stream(session),
        }
    }

    fn check_input(&self, input: &TensorSpec) -> Result<()> {
        if (input.shape, input.dtype, input.layout) == (self.input.shape, self.input.dtype, self.input.layout)
        {
            return Ok(());
        }
        Err(Error::model(
            format!("a session that takes {:?} {:?}", input.dtype, input.shape),
            format!("{:?} {:?}, for which the images were prepared", self.input.dtype, self.input.shape),
            "evaluate at the image size the model was made for",
        ))
    }

    fn prepare_all(&self) -> Result<Vec<Prepared>> {
        let bar = self.bar("reading");
        let of_chunk = |chunk: &[Sample]| -> Result<Vec<Prepared>> {
            let mut preprocessor = Preprocessor::new(&self.preprocess, &self.input)?;
            let prepare = |sample| self.prepare(&mut preprocessor, sample).inspect(|_| bar.inc(1));
            chunk.iter().map(prepare).collect()
        };
        let chunks: Result<Vec<_>> = self.dataset.samples.par_chunks(CHUNK).map(of_chunk).collect();
        bar.finish_and_clear();
        Ok(chunks?.into_iter().flatten().collect())
    }

    fn prepare(&self, preprocessor: &mut Preprocessor, sample: &Sample) -> Result<Prepared> {
        match self.read(preprocessor, sample) {
            Ok(ready) => Ok(Ok(ready)),
            Err(error) if self.options.broken == Broken::Skip => Ok(Err(fault_of(sample, error))),
            Err(error) => Err(error),
        }
    }

    fn read(&self, preprocessor: &mut Preprocessor, sample: &Sample) -> Result<Ready> {
        let image = read_image(&sample.image)?;
        let size_px = (image.width_px, image.height_px);
        if size_px != (sample.width_px as usize, sample.height_px as usize) {
            return Err(Error::data(
                format!("{}: {}x{} pixels", sample.image.display(), size_px.0, size_px.1),
                format!("{}x{} pixels, as its labels say", sample.width_px, sample.height_px),
                "the image was changed after it was labeled: put the original back or label it anew",
            ));
        }
        let mut tensor = Tensor::zeroed(&self.input);
        let start = Instant::now();
        let map = preprocessor.run(image.frame(), &mut tensor)?;
        Ok(Ready { tensor, map, took: start.elapsed() })
    }

    /// Runs the session here while a second thread reads ahead. When this side fails, the channel closes and the
    /// reader stops.
    fn stream(&self, session: &mut dyn Session) -> Result<Outcome> {
        let mut preprocessor = Preprocessor::new(&self.preprocess, &self.input)?;
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(AHEAD);
            scope.spawn(move || {
                for sample in &self.dataset.samples {
                    let prepared = self.prepare(&mut preprocessor, sample);
                    let failed = prepared.is_err();
                    if sender.send(prepared).is_err() || failed {
                        break;
                    }
                }
            });
            self.consume(session, receiver.into_iter())
        })
    }

    fn consume<P: Borrow<Prepared>>(
        &self,
        session: &mut dyn Session,
        images: impl Iterator<Item = Result<P>>,
    ) -> Result<Outcome> {
        let mut decoder =
            Decoder::new(&self.decode, self.dataset.classes.len(), session.outputs(), self.options.limits)?;
        let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
        let mut outcome = Outcome::default();
        let bar = self.bar("evaluating");
        for (index, prepared) in images.enumerate() {
            bar.inc(1);
            let prepared = prepared?;
            let ready = match prepared.borrow() {
                Ok(ready) => ready,
                Err(fault) => {
                    outcome.skipped.push(fault.clone());
                    continue;
                }
            };
            let start = Instant::now();
            session.run(&ready.tensor, &mut outputs)?;
            let inferred = Instant::now();
            outcome.detections.push(decoder.detect(&outputs, &ready.map)?.to_vec());
            outcome.decode.push(inferred.elapsed());
            outcome.inference.push(inferred - start);
            outcome.preprocess.push(ready.took);
            outcome.images.push(index);
        }
        bar.finish_and_clear();
        Ok(outcome)
    }

    fn summarize(&self, outcome: &Outcome) -> Result<Evaluation> {
        if outcome.images.is_empty() {
            return Err(no_images("every image was broken and skipped"));
        }
        let samples: Vec<&Sample> = outcome.images.iter().map(|&i| &self.dataset.samples[i]).collect();
        let (height, width) = Tensor::zeroed(&self.input).height_width();
        Ok(Evaluation {
            model: self.options.model.clone(),
            dataset: self.options.dataset.clone(),
            backend: self.options.backend.clone(),
            input_px: [width, height],
            confidence: self.options.limits.confidence,
            iou: self.options.limits.iou,
            skipped: self.dataset.skipped + self.dataset.samples.len() - samples.len(),
            speed: Speed {
                preprocess_ms: median_ms(&outcome.preprocess),
                inference_ms: median_ms(&outcome.inference),
                decode_ms: median_ms(&outcome.decode),
            },
            metrics: measure(&self.dataset.classes, &samples, &outcome.detections)?,
        })
    }

    fn bar(&self, what: &'static str) -> ProgressBar {
        match self.options.progress {
            Progress::Hidden => ProgressBar::hidden(),
            Progress::Bar => {
                let style =
                    ProgressStyle::with_template("{msg:>12} [{bar:40}] {pos}/{len} images, {eta} left")
                        .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "));
                ProgressBar::new(self.dataset.samples.len() as u64).with_style(style).with_message(what)
            }
        }
    }
}

/// What is wrong with the image, in one line.
fn fault_of(sample: &Sample, error: Error) -> BrokenFile {
    let reason = match error {
        Error::Data(fault) | Error::Runtime(repedge::Error::Input(fault)) => fault.found,
        other => other.to_string(),
    };
    let path = format!("{}: ", sample.image.display());
    BrokenFile::whole(&sample.image, reason.strip_prefix(&path).unwrap_or(&reason))
}

fn no_images(why: &str) -> Error {
    Error::data(
        format!("no image to evaluate: {why}"),
        "at least one readable image",
        "check the split and the image folder in the data file",
    )
}

fn input_bytes(input: &TensorSpec) -> usize {
    let element_bytes = match input.dtype {
        DType::F32 => 4,
        DType::I8 | DType::U8 => 1,
    };
    input.len().saturating_mul(element_bytes)
}

fn median_ms(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests;
